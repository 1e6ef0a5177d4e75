//! What this agent found while it was away, for the server to judge its absence by.

use super::outbound::OutboundQueue;
use crate::diagnosis::{BlackBox, ClockWatch, NetworkWatch};
use crate::model::{Capabilities, Cause, Confidence, Finding, PastFinding};
use crate::time::Now;
use crate::wire::payload::AgentBlackBox;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

/// What was found, and what is handed over of it.
#[derive(Debug)]
pub(super) struct Findings {
    black_box: BlackBox,
    clocks: ClockWatch,
    network: NetworkWatch,
}

impl Findings {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            black_box: BlackBox::new(),
            clocks: ClockWatch::new(now),
            network: NetworkWatch::new(),
        }
    }

    /// Looks whether the clock was set meanwhile: what else was found may be for that.
    fn look(&mut self, now: Now) {
        if let Some(jump) = self.clocks.look(now) {
            self.black_box.note(jump, now.boot);
        }
    }

    /// This was found, and had lasted so long.
    pub(super) fn note(&mut self, finding: Finding, lasted: Duration, now: Now) {
        self.look(now);
        self.black_box.note_lasting(finding, lasted, now.boot);
    }

    /// This process itself was away this long past its deadline. Its own clock shows it, and nothing else does.
    pub(super) fn note_stall(&mut self, late: Duration, now: Now) {
        self.note(Finding::new(Cause::AgentStalled, Confidence::High), late, now);
    }

    /// A link was opened, at this address of the own machine.
    pub(super) fn on_link_opened(&mut self, local: Option<IpAddr>, now: Now) {
        if let Some((finding, lasted)) = self.network.link_opened(local, now.boot) {
            self.note(finding, lasted, now);
        }
    }

    pub(super) fn on_link_ended(&mut self, now: Now) {
        self.network.link_ended(now.boot);
    }

    /// An earlier process of this agent left this, so long ago.
    pub(super) fn recover(&mut self, left: Vec<PastFinding>, ago: Duration, now: Now) {
        self.black_box.recover(left, ago, now.boot);
    }

    /// A session began: everything is handed over in it, to a server that keeps it.
    pub(super) fn on_session(&mut self, agreed: Capabilities, queue: &mut OutboundQueue, now: Now) {
        self.look(now);
        // For a server that keeps nothing it would be handed over years later, to another one.
        if !agreed.keeps_black_boxes() {
            self.black_box.clear();
        } else if let Some((number, entries)) = self.black_box.hand_over(now.boot) {
            queue.black_box(AgentBlackBox { number, entries });
        }
    }

    /// The server has stored it.
    pub(super) fn on_stored(&mut self, number: u64) {
        self.black_box.confirm(number);
    }

    /// A number that is another one whenever there is something else to tell.
    pub(super) const fn changes(&self) -> u64 {
        self.black_box.changes()
    }

    /// What is not confirmed yet, the oldest first.
    pub(super) fn unconfirmed(&self, now: Now) -> Vec<PastFinding> {
        self.black_box.told(now.boot)
    }
}
