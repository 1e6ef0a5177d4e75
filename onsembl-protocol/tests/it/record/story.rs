//! Stories of one server machine in virtual time, written down as they happen.

use crate::support::{EPOCH_MS, ms, secs, stamp};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::replay::{FrameNote, Head, Script, ServerOrigin};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::time::{Deadline, Now, WallTime};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::AgentHeartbeat;
use std::time::Duration;

pub(super) struct Story {
    script: Script<ServerConnection>,
    pub(super) out: Vec<u8>,
    pub(super) at: Duration,
    deadline: Deadline,
    link: LinkId,
    epoch: Epoch,
    beats: u64,
    /// Whether the store answers.
    pub(super) records: bool,
}

impl Story {
    pub(super) fn begin(config: ServerConfig, origin: ServerOrigin) -> Self {
        let head = Head { agent: "agent-1".into(), config, seeds: vec![], dropped: 0 };
        let mut out = Vec::new();
        let at = secs(3);
        let (script, step) = Script::begin(&head, origin, clocks(at), &mut out).unwrap();
        let deadline = step.deadline;
        let (link, epoch) = (LinkId(0), Epoch(0));
        Self { script, out, at, deadline, link, epoch, beats: 0, records: true }
    }

    pub(super) fn new() -> Self {
        let origin = ServerOrigin::New { version: PresenceVersion(0), epoch: Epoch(0) };
        Self::begin(ServerConfig::DEFAULT, origin)
    }

    pub(super) fn in_session() -> Self {
        let mut story = Self::new();
        story.join(Claimant::SameProcess);
        story
    }

    pub(super) fn feed(&mut self, event: ServerEvent) -> Vec<ServerAction> {
        let frame = match event {
            ServerEvent::Received(_, ServerInbound::Heartbeat { .. }) => {
                let beat = AgentToServer::Heartbeat(AgentHeartbeat::default());
                Some(FrameNote::message(&beat, 214))
            }
            _ => None,
        };
        let step = self.script.handle(event, clocks(self.at), frame, &mut self.out);
        self.deadline = step.deadline;
        step.actions.into_iter().collect()
    }

    /// The clocks as they continue to `until`, with a wake-up a little late at each deadline.
    pub(super) fn run_until(&mut self, until: Duration) {
        while let Deadline::At(due) = self.deadline {
            let due = due.since_origin() + Duration::from_micros(400);
            if due > until {
                break;
            }
            self.at = due;
            self.feed(ServerEvent::Wake);
        }
        self.at = until;
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        self.run_until(self.at + time);
    }

    pub(super) fn join(&mut self, claimant: Claimant) {
        let link = self.link.next();
        self.feed(ServerEvent::Joined { link, dialect: Dialect::Extended, claimant });
        self.run_for(ms(12));
        self.link = link;
        self.epoch = self.epoch.next();
        self.beats = 0;
        self.feed(ServerEvent::Admitted { link, epoch: self.epoch });
    }

    /// A heartbeat comes, and is stored soon after.
    pub(super) fn beat(&mut self) {
        self.beats += 1;
        let sequence = BeatSequence(self.beats);
        let at = clocks(self.at).wall;
        let frame = ServerInbound::Heartbeat { sequence: Some(sequence), seen: Some(sequence) };
        self.feed(ServerEvent::Received(self.link, frame));
        if self.records {
            self.run_for(ms(7));
            self.feed(ServerEvent::Recorded { epoch: self.epoch, sequence, at });
        }
    }

    pub(super) fn beat_for(&mut self, time: Duration, interval: Duration) {
        let end = self.at + time;
        while self.at + interval <= end {
            let next = self.at + interval;
            self.beat();
            self.run_until(next);
        }
    }

    pub(super) fn link(&self) -> LinkId {
        self.link
    }

    pub(super) fn status(&self) -> &'static str {
        self.script.machine().presence().status.as_str()
    }

    pub(super) fn finish(self) -> String {
        let Self { script, mut out, .. } = self;
        script.finish(&mut out);
        String::from_utf8(out).unwrap()
    }
}

/// Clocks as a real host has them: sampled one after the other, with a wall that was set once.
pub(super) fn clocks(at: Duration) -> Now {
    Now {
        monotonic: stamp(at),
        boot: stamp(at + Duration::from_nanos(83)),
        wall: WallTime::from_unix_millis(EPOCH_MS + 417 + at.as_millis() as i64),
    }
}
