//! A peer that writes its frames by hand, at either end of a memory link, and reads what `M` holds.

use onsembl_protocol::close::CloseReason;
use onsembl_protocol::id::MessageId;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::{AgentToServer, Bounded, Envelope, MessageSet, ServerToAgent, decode};
use onsembl_transport::{Frame, Link, Received};
use std::marker::PhantomData;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) struct Raw<M> {
    link: Link,
    reads: PhantomData<M>,
}

/// Plays an agent.
pub(crate) fn agent(link: Link) -> Raw<ServerToAgent> {
    Raw { link, reads: PhantomData }
}

/// Plays a server.
pub(crate) fn server(link: Link) -> Raw<AgentToServer> {
    Raw { link, reads: PhantomData }
}

impl Raw<ServerToAgent> {
    /// A hello with extensions.
    pub(crate) async fn hello(&mut self, instance: &str) {
        self.say(&format!(
            r#"{{"type":"AGENT_CONNECT","id":"h-1","timestamp":1762041600000,"payload":{{"agentId":"k","agentType":"CUSTOM","extensions":{{"features":["heartbeats"],"agentKey":"k","instance":"{instance}"}}}}}}"#
        ))
        .await;
    }
}

impl Raw<AgentToServer> {
    /// Waits for the hello; its id, and the agent id that it claims.
    pub(crate) async fn hello(&mut self) -> (MessageId, String) {
        match self.next().await.unwrap() {
            Envelope { id: Some(id), message: AgentToServer::Connect(hello), .. } => {
                (id, hello.agent_id)
            }
            other => panic!("no hello but {other:?}"),
        }
    }

    /// Accepts the hello as the existing server does.
    pub(crate) async fn accept(&mut self, hello: &MessageId, agent: &str) {
        self.say(&format!(
            r#"{{"type":"ACK","id":"msg-1","timestamp":1762041600010,"payload":{{"messageId":"{hello}","success":true,"connectionId":"agent-1","agentId":"{agent}","authenticated":true}}}}"#
        ))
        .await;
    }
}

impl<M: MessageSet + Bounded> Raw<M> {
    pub(crate) async fn say(&mut self, text: &str) {
        self.link.writer.send(Frame::Text(text.to_owned())).await.unwrap();
    }

    /// The next message; `Err` is how the link ended.
    pub(crate) async fn next(&mut self) -> Result<Envelope<M>, CloseReason> {
        loop {
            match self.link.reader.receive().await {
                Ok(Received::Text(text)) => return Ok(decode(&text, &Limits::DEFAULT).unwrap()),
                Ok(Received::Control) => {}
                Ok(Received::Binary(_)) => panic!("binary"),
                Err(end) => return Err(end.reason),
            }
        }
    }

    /// Whatever comes within `time`, and how the link ended if it did.
    pub(crate) async fn gather(&mut self, time: Duration) -> (Vec<M>, Option<CloseReason>) {
        let mut messages = Vec::new();
        let reading = async {
            loop {
                match self.next().await {
                    Ok(envelope) => messages.push(envelope.message),
                    Err(reason) => return reason,
                }
            }
        };
        let ended = timeout(time, reading).await.ok();
        (messages, ended)
    }

    /// The next message of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> M {
        loop {
            let next = self.next().await.unwrap_or_else(|end| panic!("no {kind} but {end}"));
            if next.message.kind() == kind {
                return next.message;
            }
        }
    }
}

/// The types of some messages.
pub(crate) fn types<M: MessageSet>(messages: &[M]) -> Vec<&str> {
    messages.iter().map(MessageSet::kind).collect()
}
