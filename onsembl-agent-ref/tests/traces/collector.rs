//! A collector of spans, as small as one can be: OTLP over HTTP, as protobuf.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(60);

/// A span, as it was exported.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: String,
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
    pub began: u64,
    pub ended: u64,
    pub attributes: BTreeMap<String, String>,
    pub events: Vec<String>,
    /// 0 unset, 1 ok, 2 error.
    pub status: i32,
}

#[derive(Clone, Debug, Default)]
struct Received {
    spans: Vec<Seen>,
    bytes: Vec<u8>,
}

pub struct Collector {
    pub endpoint: String,
    received: watch::Receiver<Received>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (add, received) = watch::channel(Received::default());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let Some(body) = body(&mut stream).await else { continue };
                let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
                add.send_modify(|received| {
                    received.spans.extend(spans(request));
                    received.bytes.extend_from_slice(&body);
                });
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(answer).await;
            }
        });
        Self { endpoint, received }
    }

    /// The spans so far, once this holds of them.
    pub async fn until(&self, what: &str, holds: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut received = self.received.clone();
        let found = received.wait_for(|received| holds(&received.spans));
        let found = match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => Some(found.unwrap().spans.clone()),
            Err(_) => None,
        };
        found.unwrap_or_else(|| panic!("{what} never came: {:#?}", self.received.borrow().spans))
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.received.borrow().spans.clone()
    }

    /// Whether this text was anywhere in what was exported.
    pub fn heard(&self, text: &str) -> bool {
        let received = self.received.borrow();
        received.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

async fn body(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut all = Vec::new();
    for resource in request.resource_spans {
        let of = resource.resource.map(|resource| text(resource.attributes)).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Seen {
                service: of["service.name"].clone(),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                attributes: text(span.attributes),
                events: span.events.into_iter().map(|event| event.name).collect(),
                status: span.status.map_or(0, |status| status.code),
            });
        }
    }
    all
}

fn text(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    };
    let pair = |attribute: KeyValue| (attribute.key.clone(), value(&attribute).unwrap_or_default());
    attributes.into_iter().map(pair).collect()
}
