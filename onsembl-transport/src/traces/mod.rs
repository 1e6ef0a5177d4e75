//! Spans of distributed traces, exported by OTLP over HTTP (feature `otel`).
//!
//! Nothing that a collector does reaches who records: [`Tracer::record`] never waits, what a queue of fixed length does
//! not hold is dropped and counted, and that there is trouble is said once a minute.
//!
//! | file | idea |
//! | --- | --- |
//! | `span` | a span, with bounds on what peers choose |
//! | `settings` | what the environment says |
//! | `export` | the queue, and the task that empties it |
//! | `collector` | one request to the collector, over our own connections |

mod collector;
mod export;
mod settings;
mod span;

pub use export::{QUEUE, Tracer};
pub use settings::{TraceSettings, TracesError};
pub use span::{Attribute, Events, Outcome, Span, SpanKind};

use onsembl_protocol::model::TraceContext;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};

/// The id of a new span.
#[must_use]
pub fn new_span_id() -> [u8; 8] {
    RandomIdGenerator::default().new_span_id().to_bytes()
}

/// The id of a new trace.
#[must_use]
pub fn new_trace_id() -> [u8; 16] {
    RandomIdGenerator::default().new_trace_id().to_bytes()
}

/// A new span of the same trace.
#[must_use]
pub fn child_of(parent: TraceContext) -> TraceContext {
    // An id of zero is never made; if it were, the span would be its own parent.
    parent.with_span(new_span_id()).unwrap_or(parent)
}
