//! How far output is stored: what the server is told of it, what it says, and what waits for that.

use super::Commands;
use crate::engine::due::Rules;
use onsembl_protocol::id::{ByteOffset, CommandId};
use onsembl_protocol::wire::payload::{HeldStream, OutputAck, OutputResume, OutputState};

impl Commands {
    pub(in super::super) fn on_stored(&mut self, ack: &OutputAck, rules: Option<Rules>) {
        let stream = ack.stream_type.stream();
        let stored = |end: ByteOffset| ack.offset >= end;
        let reached = || self.outbox.written(&ack.command_id, stream).is_some_and(stored);
        let by_place = rules.is_some_and(|rules| !rules.open_ends_are_stored);
        if ack.open_gap || (by_place && reached()) {
            self.left.on_stored(&ack.command_id, ack.incarnation, stream);
        }
        self.outbox.on_stored(&ack.command_id, ack.incarnation, stream, ack.offset);
        if rules.is_some_and(|rules| !rules.output_resumes) {
            self.outbox.pass_gaps(&ack.command_id);
        }
        self.settle(&ack.command_id);
        self.perform();
    }

    /// The report goes out once nothing is before it.
    pub(super) fn settle(&mut self, id: &CommandId) {
        if !self.outbox.is_settled(id) || self.unwritten.contains(id) {
            return;
        }
        if self.left.has(id) && !self.joined {
            return;
        }
        if self.resumes && self.left.is_open(id) {
            self.due.break_off(self.left.tell(id, &self.outbox));
            return;
        }
        if let Some(report) = self.held.remove(id) {
            self.left.close(id);
            self.outbox.close(id);
            self.due.report(report);
            self.perform();
        }
    }

    /// Says what is held of which streams: to go on where the server is, or because it asks.
    pub(in super::super) fn say_what_is_held(&mut self, query: Option<String>) {
        let streams: Vec<HeldStream> = self
            .outbox
            .states()
            .filter(|state| state.produced > ByteOffset(0) || query.is_none())
            .map(|state| HeldStream {
                command_id: state.run.command,
                incarnation: state.run.incarnation,
                stream_type: state.stream.into(),
                produced: state.produced,
                stored: state.stored,
                gaps: state.gaps,
            })
            .collect();
        if streams.is_empty() && query.is_none() {
            return;
        }
        let mut pages: Vec<OutputState> = streams
            .chunks(OutputState::STREAMS_A_PAGE)
            .map(|page| OutputState { streams: page.to_vec(), more: true, query: query.clone() })
            .collect();
        match pages.last_mut() {
            Some(last) => last.more = false,
            None => pages.push(OutputState { streams, more: false, query }),
        }
        self.due.hold(pages);
    }

    /// The server says how far it is.
    pub(in super::super) fn on_resume(&mut self, resume: &OutputResume) {
        for place in &resume.streams {
            let stream = place.stream_type.stream();
            self.outbox.on_stored(&place.command_id, place.incarnation, stream, place.offset);
            self.settle(&place.command_id);
        }
        if !resume.more {
            self.outbox.on_resume();
        }
        self.perform();
    }
}
