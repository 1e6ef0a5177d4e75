//! One span as plain values. Texts that peers choose are cut, and events beyond a bound are counted only.

use onsembl_protocol::model::TraceContext;
use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::time::SystemTime;

/// Longest text of an attribute or event in bytes: ids and names of peers have at most as many.
const TEXT: usize = 256;
/// Events of one span; of the others it says how many there were.
const MOST_EVENTS: usize = 32;

/// A span that is over.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Span {
    /// Its trace, and its own id.
    pub context: TraceContext,
    /// The id of the span that it is part of.
    pub parent: Option<[u8; 8]>,
    pub kind: SpanKind,
    pub name: &'static str,
    pub began: SystemTime,
    pub ended: SystemTime,
    pub attributes: Vec<Attribute>,
    pub events: Events,
    pub outcome: Outcome,
}

/// On which side of a request a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// It takes a request.
    Server,
    /// It takes what was queued for it.
    Consumer,
    /// It is a part of another one.
    Internal,
}

/// How a span ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Outcome {
    /// Neither.
    Unset,
    Done,
    /// For this reason; a text of this program, not of a peer.
    Failed(String),
}

/// One fact about a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute(KeyValue);

impl Attribute {
    /// A text; cut to 256 bytes.
    #[must_use]
    pub fn text(name: &'static str, text: &str) -> Self {
        Self(KeyValue::new(name, short(text)))
    }

    /// A number; the greatest that there is if it is larger.
    #[must_use]
    pub fn number(name: &'static str, number: u64) -> Self {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        Self(KeyValue::new(name, Value::I64(number)))
    }
}

/// What happened during a span.
#[derive(Clone, Debug, Default)]
pub struct Events {
    kept: Vec<(String, SystemTime)>,
    left_out: u32,
}

impl Events {
    /// Something happened.
    pub fn add(&mut self, what: &str, at: SystemTime) {
        if self.kept.len() < MOST_EVENTS {
            self.kept.push((short(what), at));
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }
}

fn short(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default().to_owned()
}

impl Span {
    /// As the library has it.
    pub(super) fn into_data(self, scope: InstrumentationScope) -> SpanData {
        let mut events = SpanEvents::default();
        let event = |(name, at)| Event::new::<String>(name, at, Vec::new(), 0);
        events.events = self.events.kept.into_iter().map(event).collect();
        events.dropped_count = self.events.left_out;
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(self.context.trace()),
                SpanId::from_bytes(self.context.span()),
                TraceFlags::new(self.context.flags()),
                false,
                TraceState::NONE,
            ),
            parent_span_id: self.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: match self.kind {
                SpanKind::Server | SpanKind::Consumer => self.parent.is_some(),
                SpanKind::Internal => false,
            },
            span_kind: match self.kind {
                SpanKind::Server => Kind::Server,
                SpanKind::Consumer => Kind::Consumer,
                SpanKind::Internal => Kind::Internal,
            },
            name: self.name.into(),
            start_time: self.began,
            // A clock that was set back must not make a span that ends before it began.
            end_time: self.ended.max(self.began),
            attributes: self.attributes.into_iter().map(|attribute| attribute.0).collect(),
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: match self.outcome {
                Outcome::Unset => Status::Unset,
                Outcome::Done => Status::Ok,
                Outcome::Failed(why) => Status::error(short(&why)),
            },
            instrumentation_scope: scope,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_chose_is_cut_and_events_beyond_the_bound_are_counted() {
        let at = SystemTime::UNIX_EPOCH;
        let mut events = Events::default();
        for _ in 0..MOST_EVENTS + 3 {
            events.add(&"é".repeat(TEXT), at);
        }
        let span = Span {
            context: TraceContext::new([1; 16], [2; 8], 1).unwrap(),
            parent: None,
            kind: SpanKind::Internal,
            name: "n",
            began: at + std::time::Duration::from_secs(1),
            ended: at,
            attributes: vec![Attribute::text("a", &"é".repeat(TEXT))],
            events,
            outcome: Outcome::Failed("x".repeat(2 * TEXT)),
        };
        let data = span.into_data(InstrumentationScope::builder("test").build());
        assert_eq!((data.events.len(), data.events.dropped_count), (MOST_EVENTS, 3));
        assert!(data.events.iter().all(|event| event.name.len() == TEXT));
        assert_eq!(data.attributes[0].value.as_str().len(), TEXT);
        assert_eq!(data.end_time, data.start_time);
    }
}
