//! The queue of spans, and the task that hands them to the collector.

use super::collector::Collector;
use super::settings::{TraceSettings, TracesError};
use super::span::Span;
use crate::counters::Counters;
use crate::log_limit::LogLimit;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// Spans that may wait, as the specification has it.
pub const QUEUE: usize = 2048;
/// Spans of one request, as the specification has it.
const BATCH: usize = 512;

/// Takes spans, and exports them by a task of its own.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

struct Shared {
    queue: mpsc::Sender<Message>,
    scope: InstrumentationScope,
    counters: Counters,
    full: LogLimit<(), ()>,
}

enum Message {
    Span(Box<SpanData>),
    /// Say so when everything before this is exported, or could not be.
    Flush(oneshot::Sender<()>),
}

impl Tracer {
    /// Begins. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// These settings cannot be used. Whether a collector is there does not matter.
    pub fn start(settings: &TraceSettings, counters: Counters) -> Result<Self, TracesError> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(settings)?)
            .with_endpoint(settings.endpoint.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(settings.timeout)
            .build()
            .map_err(|error| TracesError::Exporter(error.into()))?;
        exporter.set_resource(&resource(&settings.service));
        let (queue, waiting) = mpsc::channel(QUEUE);
        let scope = InstrumentationScope::builder("onsembl")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let export = Export {
            exporter,
            waiting,
            // What an export waits for is bounded inside it too; this bounds all attempts of it together.
            within: 2 * settings.timeout,
            delay: settings.delay,
            counters: counters.clone(),
            failures: LogLimit::new(),
        };
        drop(tokio::spawn(export.run()));
        Ok(Self(Arc::new(Shared { queue, scope, counters, full: LogLimit::new() })))
    }

    /// Takes a span. Never waits: while the queue is full it is dropped and counted.
    pub fn record(&self, span: Span) {
        let Shared { queue, scope, counters, full } = &*self.0;
        if !span.context.is_sampled() {
            return;
        }
        let data = Box::new(span.into_data(scope.clone()));
        if queue.try_send(Message::Span(data)).is_err() {
            counters.count("trace_spans_dropped");
            if let Some(more) = full.allow((), ()) {
                tracing::warn!(
                    more,
                    "the trace collector does not keep up; spans are dropped, nothing else is affected"
                );
            }
        }
    }

    /// Exports what waits, as far as that takes no longer.
    pub async fn flush(&self, within: Duration) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.0.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        if timeout(within, flush).await.is_err() {
            self.0.counters.count("trace_flushes_unfinished");
            tracing::warn!("the trace collector did not accept all spans in time");
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}

/// Who exports. `OTEL_RESOURCE_ATTRIBUTES` is in it.
fn resource(service: &str) -> Resource {
    let found = Resource::builder().build();
    let named = found.get(&Key::from_static_str("service.name"));
    match named.filter(|name| !name.as_str().starts_with("unknown_service")) {
        Some(_) => found,
        None => Resource::builder()
            .with_attribute(KeyValue::new("service.name", service.to_owned()))
            .build(),
    }
}

/// The task.
struct Export {
    exporter: SpanExporter,
    waiting: mpsc::Receiver<Message>,
    within: Duration,
    delay: Duration,
    counters: Counters,
    failures: LogLimit<(), ()>,
}

impl Export {
    /// Runs until every tracer is dropped.
    async fn run(mut self) {
        let mut batch = Vec::new();
        let mut due = None;
        loop {
            let message = match due {
                None => self.waiting.recv().await,
                Some(at) => match timeout_at(at, self.waiting.recv()).await {
                    Ok(message) => message,
                    Err(_) => {
                        due = None;
                        self.export(std::mem::take(&mut batch)).await;
                        continue;
                    }
                },
            };
            match message {
                Some(Message::Span(span)) => {
                    batch.push(*span);
                    let _ = due.get_or_insert_with(|| Instant::now() + self.delay);
                    if batch.len() < BATCH {
                        continue;
                    }
                    due = None;
                    self.export(std::mem::take(&mut batch)).await;
                }
                Some(Message::Flush(done)) => {
                    due = None;
                    self.export(std::mem::take(&mut batch)).await;
                    // Who asked may have given up.
                    let _ = done.send(());
                }
                None => return self.export(batch).await,
            }
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len();
        let why = match timeout(self.within, self.exporter.export(batch)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in time".to_owned(),
        };
        for _ in 0..spans {
            self.counters.count("trace_spans_not_exported");
        }
        if let Some(more) = self.failures.allow((), ()) {
            tracing::warn!(
                spans,
                more,
                error = ?why,
                "the trace collector did not accept spans; they are lost, nothing else is affected"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Events, Outcome, SpanKind, child_of};
    use super::*;
    use onsembl_protocol::model::TraceContext;
    use std::time::SystemTime;
    use tokio::net::TcpListener;

    fn span(flags: u8) -> Span {
        let root = TraceContext::new([1; 16], [2; 8], flags).unwrap();
        Span {
            context: child_of(root),
            parent: Some(root.span()),
            kind: SpanKind::Internal,
            name: "n",
            began: SystemTime::now(),
            ended: SystemTime::now(),
            attributes: Vec::new(),
            events: Events::default(),
            outcome: Outcome::Done,
        }
    }

    fn count(counters: &Counters, name: &str) -> u64 {
        counters.snapshot().get(name).copied().unwrap_or(0)
    }

    /// It accepts connections and says nothing.
    #[tokio::test]
    async fn a_collector_that_hangs_costs_spans_and_never_who_records() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let counters = Counters::default();
        let tracer = Tracer::start(&TraceSettings::new(endpoint, "t"), counters.clone()).unwrap();
        let before = std::time::Instant::now();
        for _ in 0..QUEUE + 100 {
            tracer.record(span(1));
        }
        assert!(before.elapsed() < Duration::from_secs(5));
        assert!(count(&counters, "trace_spans_dropped") >= 100, "{counters:?}");
        tracer.flush(Duration::from_millis(50)).await;
        assert_eq!(count(&counters, "trace_flushes_unfinished"), 1);
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_costs_spans_that_are_counted() {
        let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", nowhere.local_addr().unwrap());
        drop(nowhere);
        let counters = Counters::default();
        let tracer = Tracer::start(&TraceSettings::new(endpoint, "t"), counters.clone()).unwrap();
        tracer.record(span(1));
        // Who calls does not want it recorded.
        tracer.record(span(0));
        tracer.flush(Duration::from_secs(30)).await;
        assert_eq!(count(&counters, "trace_spans_not_exported"), 1, "{counters:?}");
    }

    #[tokio::test]
    async fn an_endpoint_that_is_no_url_is_refused_by_name() {
        for endpoint in ["collector", "ftp://collector", "http://", ""] {
            let settings = TraceSettings::new(endpoint, "t");
            let error = Tracer::start(&settings, Counters::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("{endpoint:?}")), "{error}");
        }
    }
}
