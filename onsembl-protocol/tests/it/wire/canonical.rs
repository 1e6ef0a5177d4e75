//! The one form in which each message is written, as snapshots that a person can read, and its
//! way back.

use super::samples::{self, AT};
use onsembl_protocol::id::MessageId;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::{Bounded, MessageSet, decode, encode};
use std::collections::BTreeSet;
use std::fmt::{Debug, Write};

fn text<M: MessageSet>(message: &M) -> String {
    encode(&MessageId::new("m-1"), AT, message)
}

/// One line a message. Every type of the set must be among the samples.
fn lines<M: MessageSet>(samples: &[M], synonyms: &[&str]) -> String {
    let mut kinds: BTreeSet<&str> = synonyms.iter().copied().collect();
    let mut out = String::new();
    for sample in samples {
        kinds.insert(sample.kind());
        writeln!(out, "{}", text(sample)).unwrap();
    }
    assert_eq!(kinds, M::TYPES.iter().copied().collect(), "a type has no sample");
    out
}

#[test]
fn what_an_agent_writes() {
    insta::assert_snapshot!(lines(&samples::from_agents(), &[]));
}

#[test]
fn what_a_server_writes_to_an_agent() {
    insta::assert_snapshot!(lines(&samples::to_agents(), &[]));
}

#[test]
fn what_a_dashboard_writes() {
    insta::assert_snapshot!(lines(&samples::from_dashboards(), &[]));
}

#[test]
fn what_a_server_writes_to_a_dashboard() {
    insta::assert_snapshot!(lines(&samples::to_dashboards(), &["TRACE_UPDATE"]));
}

fn read_back<M: MessageSet + Bounded + PartialEq + Debug>(samples: Vec<M>) {
    for sample in samples {
        let text = text(&sample);
        let envelope =
            decode::<M>(&text, &Limits::DEFAULT).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(envelope.message, sample, "{text}");
        assert_eq!(envelope.id, Some(MessageId::new("m-1")));
        assert_eq!(envelope.timestamp, Some(AT));
    }
}

#[test]
pub(super) fn every_sample_is_read_back_by_its_own_type() {
    read_back(samples::from_agents());
    read_back(samples::to_agents());
    read_back(samples::from_dashboards());
    read_back(samples::to_dashboards());
}
