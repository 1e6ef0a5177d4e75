//! What can be seen of a fleet from outside, in plain words and numbers.
//!
//! This file imports nothing of the crate: the reference model is written against it, and may not
//! know how the machines come to what they do. The simulator translates what it does to the
//! machines and what they answer into [`Fact`]s, in the order in which things happen.

/// Nanoseconds of true time since the world began, the same on every host.
pub type TrueNanos = u64;
/// Nanoseconds on one host's monotonic clock, which may drift and which stands still in suspend.
pub type LocalNanos = u64;
/// Milliseconds on one host's wall clock, which may jump.
pub type WallMillis = i64;

/// When a fact became one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// The true time, which no machine sees.
    pub world: TrueNanos,
    /// The monotonic clock of the host where it happened; equal to `world` for facts of the world.
    pub local: LocalNanos,
    /// The wall clock of that host.
    pub wall: WallMillis,
}

/// One agent: an identity that outlives processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agent(pub u32);

/// One run of an agent's program, numbered through the world, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u32);

/// One dialled connection, numbered through the world, never used twice; both ends use one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wire(pub u64);

/// Something that happened, that was handed to a machine, or that a machine asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    // The world, which no machine sees directly.
    /// An agent's program was started.
    ProcessStarted(Process, Agent),
    /// It ended: in order (it was told to stop) or not.
    ProcessEnded(Process, HowEnded),
    /// It stopped being executed: stalled, frozen, or its host suspended.
    ProcessAway(Process),
    /// It is executed again.
    ProcessBack(Process),
    /// The server's process was started.
    ServerStarted,
    /// It ended: its memory is lost, the store is not.
    ServerEnded(HowEnded),
    /// It stopped being executed.
    ServerAway,
    /// It is executed again.
    ServerBack,
    /// Nothing travels over this wire any more, in one or both directions, until it is healed.
    WireStalled(Wire),
    /// What was stalled travels on.
    WireHealed(Wire),
    /// The wire is cut; both ends learn it when the news gets through.
    WireCut(Wire),

    // An agent's end.
    /// Its machine asked for a connection.
    Dialled(Process, Wire),
    /// Its machine was given the outcome of the dial.
    DialEnded(Process, Wire, DialOutcome),
    /// Its machine was given a frame.
    AgentHeard(Process, Wire, Down),
    /// Its machine asked to send a frame.
    AgentSent(Process, Wire, Up),
    /// Its program sent a frame of its own over the wire of the session; the machine is not asked.
    AgentForwarded(Process, Wire),
    /// Its machine asked to close a wire.
    AgentClosed(Process, Wire, Code),
    /// Its machine was given the end of a wire.
    AgentLost(Process, Wire, End),
    /// Its machine was ordered to stop permanently: on the spot, or by a remote order.
    AgentOrderedToStop(Process, Option<Order>),
    /// Its machine reported a status.
    AgentShows(Process, AgentStatus),
    /// Its machine named the impairment of the session, or that it is over.
    AgentNames(Process, Option<Ailment>),
    /// Its machine noticed that its own process had been away.
    AgentOverslept(Process),
    /// One step of its machine is over; it wants to be woken then, by its own monotonic clock.
    AgentServed(Process, Option<LocalNanos>),

    // The server's end of one agent.
    /// The server put a machine in for this agent: from nothing, or for one that had a session with
    /// an earlier run of the server.
    Installed(Agent, Installed),
    /// A hello was given to the agent's machine.
    Joined(Agent, Wire, Process),
    /// The agent's machine was given a frame.
    ServerHeard(Agent, Wire, Up),
    /// The agent's machine asked to send a frame.
    ServerSent(Agent, Wire, Down),
    /// The agent's machine asked to close a wire.
    ServerClosed(Agent, Wire, Code),
    /// The agent's machine was given the end of a wire.
    ServerLost(Agent, Wire, End),
    /// The agent's machine was given the order to evict it.
    EvictionAsked(Agent),
    /// The agent's machine was given a fault that the agent reported.
    FaultReported(Agent, Wire),
    /// The agent's machine published its presence.
    Shown(Agent, Presence),
    /// The agent's machine noticed that the server itself had been away.
    ServerOverslept(Agent),
    /// The agent's machine is done.
    Forgotten(Agent),
    /// One step of the agent's machine is over; it wants to be woken then.
    ServerServed(Agent, Option<LocalNanos>),

    // The store.
    /// The agent's machine asked for a session for this wire.
    SessionAsked(Agent, Wire),
    /// The store holds a new session, whether or not the server knows.
    SessionCommitted(Agent, Epoch, Process),
    /// The agent's machine was given its open session.
    SessionAnswered(Agent, Wire, Epoch),
    /// The agent's machine was given the refusal of a session.
    SessionDenied(Agent, Wire),
    /// The agent's machine asked for a heartbeat to be recorded.
    BeatAsked(Agent, Epoch, Sequence),
    /// The store holds it, whether or not the server knows.
    BeatCommitted(Agent, Epoch, Sequence),
    /// The agent's machine was given that.
    BeatAnswered(Agent, Epoch, Sequence),
    /// The agent's machine was given the state of the store.
    StoreReported(Agent, bool),
}

/// The number of a session.
pub type Epoch = u64;
/// The number of a heartbeat.
pub type Sequence = u64;
/// A close code as it travels.
pub type Code = u16;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowEnded {
    /// It said goodbye.
    InOrder,
    /// It was killed, or the power went.
    Killed,
}

/// A remote order that ends an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Order {
    Stop,
    /// To end, and to be started again.
    Restart,
}

/// How a machine came into the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// For an agent that says hello and has none.
    Fresh {
        /// The presence version that it continues from.
        version: u64,
        /// The greatest epoch stored.
        epoch: Epoch,
    },
    /// For an agent that the store shows in session, after a restart of the server.
    Recovered {
        /// The presence version that it continues from.
        version: u64,
        /// The greatest epoch stored.
        epoch: Epoch,
    },
}

/// How a dial came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialOutcome {
    /// The wire is up.
    Up,
    /// No way to the server, or no answer, or nonsense.
    Failed,
    /// The token is not good now.
    Unauthorised,
    /// The server asked for a pause, of this length if it gave one.
    Busy(Option<LocalNanos>),
    /// A refusal permanently: the agent is not to dial again.
    Forbidden,
}

/// Who ended a wire, and with which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct End {
    pub by: EndedBy,
    /// The code, if the other end sent one.
    pub code: Option<Code>,
}

/// Who ended a wire, seen from the end that reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum EndedBy {
    /// The end that reports it.
    Here,
    /// The other end, by a close frame.
    There,
    Network,
}

/// A frame from an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Up {
    Hello,
    /// A heartbeat, and the latest of the server's heartbeats it has seen (0: none).
    Beat {
        sequence: Sequence,
        seen: Sequence,
    },
    /// The answer to a probe.
    Pong,
    Other,
}

/// A frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Down {
    /// The hello was accepted, under this epoch.
    Welcome(Epoch),
    Beat {
        sequence: Sequence,
        /// The agent's latest heartbeat that the server saw (0: none).
        seen: Sequence,
        /// The agent's latest heartbeat that the store holds (0: none).
        recorded: Sequence,
        /// Whether it reports that recording lags.
        lagging: bool,
    },
    Ping,
    /// The hello was refused.
    Refused,
    Other,
}

/// The status of an agent's own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentStatus {
    Idle,
    Connecting,
    Joining,
    Connected,
    /// In session, the server is silent.
    Stale,
    /// The silent link was given up; waiting to dial.
    TimedOut,
    /// The link ended otherwise; waiting to dial.
    Reconnecting,
    Closed,
}

/// The status of an agent on its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Status {
    /// Its session is being opened.
    Connecting,
    Online,
    /// In session, silent.
    Stale,
    /// The silent link was given up.
    TimedOut,
    /// The link ended otherwise.
    Reconnecting,
    Offline,
    /// In session, cannot continue.
    Error,
}

/// What the server shows of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Presence {
    pub status: Status,
    /// Since when, by the server's wall clock.
    pub since: WallMillis,
    pub why: Why,
    /// The impairment of the session.
    pub ailment: Option<Ailment>,
    /// Grows with each presence of an agent.
    pub version: u64,
    pub epoch: Epoch,
}

/// A fault that does not change the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// Heartbeats come and are not recorded.
    NotRecorded,
    /// Heartbeats are sent and not seen by the peer.
    NotSeen,
    /// Probes are sent and not answered.
    ProbeUnanswered,
}

/// Why a presence is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Why {
    Hello,
    /// The session was opened.
    Opened,
    /// A newer link of the same process took over.
    TakenOver,
    /// Another process of the same agent took over.
    Replaced,
    /// The session could not be opened.
    NotAdmitted,
    /// No frame was received for this long.
    Silence(LocalNanos),
    /// It was heard again.
    HeardAgain,
    LinkEnded(End),
    /// It was stopped on its machine.
    Stopped,
    /// A remote order ended it.
    Ordered(Order),
    /// It was not back in time.
    WindowOver,
    /// The server was restarted.
    ServerRestarted,
    Evicted,
    /// It reported that it cannot continue.
    Faulted,
}

/// An observer of a world.
pub trait Witness {
    /// Takes each fact, in order.
    fn witness(&mut self, when: When, fact: &Fact);
}

/// Watches nothing: for measuring what watching costs.
impl Witness for () {
    fn witness(&mut self, _: When, _: &Fact) {}
}
