//! Everything that can go wrong in a world, as data: what, when, for whom, for how long.

use super::{MILLI, SECOND};
use crate::lab::fact::TrueNanos;
use core::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind {
            $($(#[$doc])* $name,)*
        }

        impl FaultKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// A short name for lists.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// Half-open: nothing gets from the agent to the server over the present wire.
    StallUp = "half-open to the server";
    /// Half-open: nothing gets from the server to the agent over the present wire.
    StallDown = "half-open to the agent";
    /// Nothing travels over the present wire either way.
    Freeze = "frozen wire";
    /// The agent's network is down, for new dials too.
    Partition = "partition";
    /// Everything the agent sends and gets is late by seconds.
    Lag = "slow network";
    /// The wire is cut, both ends learn at once.
    Cut = "cut";
    /// The wire is cut, the agent learns when the time is over.
    CutAgentLater = "cut, the agent learns late";
    /// The wire is cut, the server learns when the time is over.
    CutServerLater = "cut, the server learns late";
    /// The wire is cut, and neither end is notified.
    CutUnnoticed = "cut, neither end notified";
    /// Dials fail: no way there.
    DialUnreachable = "dials: unreachable";
    /// Dials fail: time-out.
    DialTimedOut = "dials: timed out";
    /// Dials fail: TLS.
    DialTls = "dials: TLS";
    /// Dials fail: something else answers.
    DialNotAServer = "dials: not a server";
    /// Dials fail: 401.
    DialUnauthorized = "dials: unauthorised";
    /// Dials fail: 403, permanently.
    DialForbidden = "dials: forbidden";
    /// Dials fail: 503.
    DialBusy = "dials: busy";
    /// Dials fail: 429 with a time to wait.
    DialRetryAfter = "dials: busy, retry after";
    /// Dials are never answered.
    DialHangs = "dials: no answer";
    /// Dials succeed after they were given up.
    DialLate = "dials: success too late";
    /// Something accepts and closes, with a code.
    AcceptThenClose = "accepted, then closed";
    /// Something accepts and never answers the hello.
    HelloUnanswered = "hello never answered";
    /// The hello is refused because of the token.
    HelloUnauthorized = "hello refused: token";
    /// The hello is refused permanently.
    HelloForbidden = "hello refused for good";
    /// The hello is refused for another reason.
    HelloRefused = "hello refused";
    /// The agent's host is suspended.
    Suspend = "host suspended";
    /// The agent's wall clock jumps ahead.
    WallAhead = "wall clock ahead";
    /// The agent's wall clock jumps back.
    WallBack = "wall clock back";
    /// The agent's monotonic clock repeats itself or steps back a little.
    Wobble = "monotonic clock wobbles";
    /// The agent's process is killed, and started again when the time is over.
    AgentCrash = "agent killed";
    /// The agent is stopped in order, and started again when the time is over.
    AgentStop = "agent stopped";
    /// The agent's process is not executed.
    AgentStall = "agent stalled";
    /// A second process of the same agent is started.
    SecondCopy = "second copy";
    /// The agent reports that it cannot continue.
    AgentFault = "agent reports a fault";
    /// A legacy agent does not answer probes.
    Mute = "legacy agent mute";
    /// The agent sends something else than heartbeats, many times.
    Chatter = "agent chatters";
    /// The server is killed, and started again when the time is over.
    ServerCrash = "server killed";
    /// The power of the server fails: no agent is notified.
    ServerPowerLoss = "server loses power";
    /// The server is stopped in order, and started again when the time is over.
    ServerStop = "server stopped";
    /// The server's process is not executed.
    ServerStall = "server stalled";
    /// The server's host is suspended.
    ServerSuspend = "server suspended";
    /// The server's wall clock jumps ahead.
    ServerWallAhead = "server's wall clock ahead";
    /// The server's wall clock jumps back.
    ServerWallBack = "server's wall clock back";
    /// The server's monotonic clock repeats itself or steps back a little.
    ServerWobble = "server's monotonic clock wobbles";
    /// The server closes every link at once, with a code: a herd comes back.
    CloseAll = "server closes all links";
    /// The server closes the agent's link, with a code.
    CloseOne = "server closes the link";
    /// The agent is evicted.
    Evict = "evicted";
    /// A peer with a token of another lineage says the agent's hello, and opens a link in its name.
    OtherToken = "hello with another token";
    /// The store takes long.
    StoreSlow = "store slow";
    /// The store is locked by another process and says so.
    StoreBusy = "store busy";
    /// The store does nothing and says nothing.
    StoreStuck = "store stuck";
    /// The store fails.
    StoreFails = "store fails";
    /// The store commits and then says that it failed, or nothing.
    StoreFailsAfterCommit = "store fails after commit";
}

/// One fault: numbers that its kind has no use for are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Fault {
    pub kind: FaultKind,
    pub agent: u32,
    /// How long it lasts, in nanoseconds of true time.
    pub lasts: TrueNanos,
    /// With this close code.
    pub code: u16,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, agent, lasts, code } = *self;
        let (seconds, millis) = (lasts / SECOND, lasts % SECOND / MILLI);
        write!(f, "{} (agent {agent}, for {seconds}.{millis:03}s, code {code})", kind.name())
    }
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Planned {
    /// True time of its beginning.
    pub at: TrueNanos,
    pub fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}.{:03}s  {}", self.at / SECOND, self.at % SECOND / MILLI, self.fault)
    }
}
