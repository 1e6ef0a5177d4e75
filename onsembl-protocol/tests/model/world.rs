//! One server, one agent, and the facts of an ordinary life, so that a story only has to tell what
//! is not ordinary in it.

use onsembl_protocol::lab::fact::{
    Agent, AgentStatus, DialOutcome, Down, End, EndedBy, Fact, Installed, Presence, Process,
    Status, Up, When, Why, Wire, Witness,
};
use onsembl_protocol::lab::model::{Invariant, Model, Rules};

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000 * MS;
pub const A: Agent = Agent(0);
pub const P: Process = Process(0);
/// A second process of the same agent.
pub const Q: Process = Process(1);
pub const W: Wire = Wire(1);
pub const BROKEN: End = End { by: EndedBy::Network, code: None };

pub fn closed_there(code: u16) -> End {
    End { by: EndedBy::There, code: Some(code) }
}

pub struct World {
    pub model: Model,
    pub now: u64,
    /// How wrong the wall clocks are, in milliseconds.
    pub skew: i64,
    pub shown: Presence,
    pub server_sent_at: u64,
    pub server_heard_at: u64,
    pub agent_sent_at: u64,
    pub agent_heard_at: u64,
    pub server_sequence: u64,
    pub agent_sequence: u64,
    pub recorded: u64,
    pub wire: Wire,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            model: Model::new(Rules::DEFAULT),
            now: 1000 * S,
            skew: 0,
            shown: Presence {
                status: Status::Offline,
                since: 0,
                why: Why::Hello,
                ailment: None,
                version: 0,
                epoch: 0,
            },
            server_sent_at: 0,
            server_heard_at: 0,
            agent_sent_at: 0,
            agent_heard_at: 0,
            server_sequence: 0,
            agent_sequence: 0,
            recorded: 0,
            wire: W,
        };
        world.fact(Fact::ServerStarted);
        world.fact(Fact::ProcessStarted(P, A));
        world
    }

    /// A world in which the agent is in session, its first beat answered.
    pub fn in_session() -> Self {
        let mut world = Self::new();
        world.dial(W);
        world.link_up();
        world.fact(Fact::Installed(A, Installed::Fresh { version: 0, epoch: 0 }));
        world.hello(P);
        world.open(P, Why::Opened);
        world.welcomed();
        world.exchange();
        world
    }

    pub fn when(&self) -> When {
        When { world: self.now, local: self.now, wall: self.wall() }
    }

    fn wall(&self) -> i64 {
        (self.now / MS) as i64 + self.skew
    }

    pub fn fact(&mut self, fact: Fact) {
        let when = self.when();
        self.model.witness(when, &fact);
    }

    pub fn after(&mut self, nanos: u64) -> &mut Self {
        self.now += nanos;
        self
    }

    // The agent's end.

    pub fn dial(&mut self, wire: Wire) {
        self.wire = wire;
        self.fact(Fact::Dialled(P, wire));
        self.fact(Fact::AgentShows(P, AgentStatus::Connecting));
        self.agent_waits(10 * S);
    }

    pub fn link_up(&mut self) {
        self.fact(Fact::DialEnded(P, self.wire, DialOutcome::Up));
        self.fact(Fact::AgentSent(P, self.wire, Up::Hello));
        self.fact(Fact::AgentShows(P, AgentStatus::Joining));
        self.agent_waits(30 * S);
    }

    pub fn welcomed(&mut self) {
        self.fact(Fact::AgentHeard(P, self.wire, Down::Welcome(self.shown.epoch)));
        self.fact(Fact::AgentShows(P, AgentStatus::Connected));
        (self.agent_sequence, self.agent_heard_at) = (0, self.now);
        self.agent_beats(0);
        self.agent_done();
    }

    pub fn agent_beats(&mut self, seen: u64) {
        self.agent_sequence += 1;
        self.agent_sent_at = self.now;
        let beat = Up::Beat { sequence: self.agent_sequence, seen };
        self.fact(Fact::AgentSent(P, self.wire, beat));
    }

    pub fn agent_hears(&mut self, frame: Down) {
        self.agent_heard_at = self.now;
        self.fact(Fact::AgentHeard(P, self.wire, frame));
    }

    pub fn agent_waits(&mut self, nanos: u64) {
        self.fact(Fact::AgentServed(P, Some(self.now + nanos)));
    }

    /// The step of an agent in session is over.
    pub fn agent_done(&mut self) {
        let silent = self.now.saturating_sub(self.agent_heard_at);
        let patience = if silent >= 45 * S { 90 * S } else { 45 * S };
        let due = (self.agent_sent_at + 30 * S).min(self.agent_heard_at + patience);
        self.fact(Fact::AgentServed(P, Some(due.max(self.now + 1))));
    }

    // The server's end.

    pub fn hello(&mut self, process: Process) {
        self.fact(Fact::Joined(A, self.wire, process));
        self.fact(Fact::SessionAsked(A, self.wire));
        self.shows(Status::Connecting, Why::Hello);
        self.server_waits(25 * S);
    }

    /// The store opens the session, and the server tells the agent.
    pub fn open(&mut self, process: Process, why: Why) {
        let epoch = self.shown.epoch + 1;
        self.fact(Fact::SessionCommitted(A, epoch, process));
        self.fact(Fact::SessionAnswered(A, self.wire, epoch));
        self.shown.epoch = epoch;
        self.fact(Fact::ServerSent(A, self.wire, Down::Welcome(epoch)));
        self.shows(Status::Online, why);
        (self.server_sequence, self.recorded, self.server_heard_at) = (0, 0, self.now);
        self.server_beats(0);
        self.server_done();
    }

    pub fn shows(&mut self, status: Status, why: Why) {
        let next = self.next(status, why);
        self.publish(next);
    }

    /// The presence that would be right.
    pub fn next(&self, status: Status, why: Why) -> Presence {
        let wall = self.wall();
        let since = if status == self.shown.status { self.shown.since } else { wall };
        let version = self.shown.version.max(self.shown.epoch << 20) + 1;
        Presence { status, why, since, version, ailment: None, ..self.shown }
    }

    pub fn publish(&mut self, next: Presence) {
        self.shown = next;
        self.fact(Fact::Shown(A, next));
    }

    pub fn down(&self, seen: u64) -> Down {
        let sequence = self.server_sequence + 1;
        Down::Beat { sequence, seen, recorded: self.recorded, lagging: false }
    }

    pub fn server_beats(&mut self, seen: u64) {
        let beat = self.down(seen);
        self.server_sequence += 1;
        self.server_sent_at = self.now;
        self.fact(Fact::ServerSent(A, self.wire, beat));
    }

    pub fn server_hears(&mut self, frame: Up) {
        self.server_heard_at = self.now;
        self.fact(Fact::ServerHeard(A, self.wire, frame));
    }

    pub fn server_hears_beat(&mut self) {
        let sequence = self.agent_sequence;
        self.server_hears(Up::Beat { sequence, seen: self.server_sequence });
        self.fact(Fact::BeatAsked(A, self.shown.epoch, sequence));
    }

    pub fn server_waits(&mut self, nanos: u64) {
        self.fact(Fact::ServerServed(A, Some(self.now + nanos)));
    }

    /// The step of a server in session is over.
    pub fn server_done(&mut self) {
        let silent = self.now.saturating_sub(self.server_heard_at);
        let patience = if silent >= 45 * S { 90 * S } else { 45 * S };
        let due = (self.server_sent_at + 30 * S).min(self.server_heard_at + patience);
        self.fact(Fact::ServerServed(A, Some(due.max(self.now + 1))));
    }

    /// A step that ends in a session with a heartbeat unanswered.
    pub fn server_owes_answer(&mut self) {
        let due = (self.server_sent_at + 30 * S).min(self.server_heard_at + 15 * S);
        self.fact(Fact::ServerServed(A, Some(due.max(self.now + 1))));
    }

    pub fn store_tells(&mut self, sequence: u64) {
        self.fact(Fact::BeatCommitted(A, self.shown.epoch, sequence));
        self.fact(Fact::BeatAnswered(A, self.shown.epoch, sequence));
        self.recorded = sequence;
    }

    /// The agent's latest beat reaches the server, is recorded and answered.
    pub fn exchange(&mut self) {
        self.server_hears_beat();
        self.server_owes_answer();
        self.store_tells(self.agent_sequence);
        self.server_beats(self.agent_sequence);
        let beat = Down::Beat {
            sequence: self.server_sequence,
            seen: self.agent_sequence,
            recorded: self.agent_sequence,
            lagging: false,
        };
        self.server_done();
        self.agent_hears(beat);
        self.agent_done();
    }

    /// This many intervals of ordinary life.
    pub fn lives(&mut self, intervals: u64) -> &mut Self {
        for _ in 0..intervals {
            self.after(30 * S);
            self.agent_beats(self.server_sequence);
            self.agent_done();
            self.exchange();
        }
        self
    }

    /// The server beats on its schedule for this many intervals and hears nothing.
    pub fn server_beats_alone(&mut self) {
        self.after(30 * S);
        self.server_beats(self.agent_sequence);
        self.server_done();
    }

    pub fn agent_beats_alone(&mut self) {
        self.after(30 * S);
        self.agent_beats(self.server_sequence);
        self.agent_done();
    }

    /// The server shows the silent agent stale, 45 s after it was heard.
    pub fn goes_stale(&mut self) {
        self.server_beats_alone();
        self.after(15 * S);
        self.shows(Status::Stale, Why::Silence(45 * S));
        self.server_done();
    }

    /// And gives it up, 45 s later.
    pub fn times_out(&mut self) {
        self.goes_stale();
        self.after(15 * S);
        self.server_beats(self.agent_sequence);
        self.server_done();
        self.after(30 * S);
        self.fact(Fact::ServerClosed(A, self.wire, 4100));
        self.shows(Status::TimedOut, Why::Silence(90 * S));
        self.server_waits(300 * S);
    }

    /// The server is told that the link broke.
    pub fn server_loses(&mut self) {
        self.fact(Fact::ServerLost(A, self.wire, BROKEN));
        self.shows(Status::Reconnecting, Why::LinkEnded(BROKEN));
        self.server_waits(300 * S);
    }

    /// The agent is told so, and waits for its first window.
    pub fn agent_loses(&mut self) {
        self.fact(Fact::AgentLost(P, self.wire, BROKEN));
        self.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
        self.agent_waits(S);
    }
}

/// The story is caught, under this name.
#[track_caller]
pub fn caught(invariant: Invariant, world: &World) {
    match world.model.violation() {
        Some(v) if v.invariant == invariant => {}
        Some(v) => panic!("not {} but {v}", invariant.name()),
        None => panic!("{} is blind", invariant.name()),
    }
}

/// The story is legal.
#[track_caller]
pub fn legal(world: &World) {
    if let Some(v) = world.model.violation() {
        panic!("{v}");
    }
}
