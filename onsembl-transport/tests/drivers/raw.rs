//! A peer that writes its frames by hand, at either end of a memory link.

use onsembl_protocol::close::CloseReason;
use onsembl_transport::{Frame, Link, Received};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) struct Raw(pub(crate) Link);

impl Raw {
    pub(crate) async fn say(&mut self, text: &str) {
        self.0.writer.send(Frame::Text(text.to_owned())).await.unwrap();
    }

    /// A hello with extensions.
    pub(crate) async fn hello(&mut self, instance: &str) {
        self.say(&format!(
            r#"{{"type":"AGENT_CONNECT","id":"h-1","timestamp":1762041600000,"payload":{{"agentId":"k","agentType":"CUSTOM","extensions":{{"features":["heartbeats"],"agentKey":"k","instance":"{instance}"}}}}}}"#
        ))
        .await;
    }

    /// The next text, as JSON; `Err` is how the link ended.
    pub(crate) async fn next(&mut self) -> Result<Value, CloseReason> {
        loop {
            match self.0.reader.receive().await {
                Ok(Received::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Received::Control) => {}
                Ok(Received::Binary { .. }) => panic!("binary"),
                Err(end) => return Err(end.reason),
            }
        }
    }

    /// Whatever comes within `time`, and how the link ended if it did.
    pub(crate) async fn gather(&mut self, time: Duration) -> (Vec<Value>, Option<CloseReason>) {
        let mut texts = Vec::new();
        let reading = async {
            loop {
                match self.next().await {
                    Ok(text) => texts.push(text),
                    Err(reason) => return reason,
                }
            }
        };
        let ended = timeout(time, reading).await.ok();
        (texts, ended)
    }

    /// The next text of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let text = self.next().await.unwrap_or_else(|end| panic!("no {kind} but {end}"));
            if text["type"] == kind {
                return text;
            }
        }
    }
}

/// The types of some texts.
pub(crate) fn types(texts: &[Value]) -> Vec<&str> {
    texts.iter().map(|text| text["type"].as_str().unwrap()).collect()
}
