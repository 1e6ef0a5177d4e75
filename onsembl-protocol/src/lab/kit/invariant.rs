//! The published invariants as data: a stable name, one sentence, and where each comes from.
//!
//! Nothing here judges; the judges of both ends name what they found by these names.

use core::fmt;
use core::time::Duration;
use std::string::String;

macro_rules! invariants {
    ($($name:ident = $text:literal, $says:literal, $source:literal;)*) => {
        /// What must always hold. The names are stable: a test may be written against them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Invariant {
            $(#[doc = $says] #[doc = ""] #[doc = concat!("Source: ", $source, ".")] $name,)*
        }

        impl Invariant {
            /// Every invariant, those of every machine first, then the agent's, then the server's.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it says, in one sentence.
            pub const fn says(self) -> &'static str {
                match self { $(Self::$name => $says,)* }
            }

            /// Where it comes from: "P-" is a rule of `docs/PROTOCOL.md`, "contract" the contract of
            /// every machine ([`step`](crate::step), [`time`](crate::time)).
            pub const fn source(self) -> &'static str {
                match self { $(Self::$name => $source,)* }
            }
        }
    };
}

invariants! {
    DeadlineAfterNow = "deadline-after-now",
        "A returned deadline is later than the moment it was returned at.", "contract";
    EveryWaitHasADeadline = "every-wait-has-a-deadline",
        "There is always a deadline, except before the start and after the end.", "contract";
    NoSpinning = "no-spinning",
        "Wake-ups that bring nothing are not asked for again and again at one moment.", "contract";
    EarlyWakeIsSilent = "early-wake-is-silent",
        "A wake-up before the deadline does nothing and leaves the deadline.", "contract";
    BackwardsTimeStandsStill = "backwards-time-stands-still",
        "A moment before the last one is taken for the last one.", "contract";
    OneReportPerStep = "one-report-per-step-along-edges",
        "A step shows at most one status, it is the true one, and the graph has the edge.", "contract";
    TimedOutOnlyAfterObservedStale = "timed-out-only-after-observed-stale",
        "A peer is timed out only after a stale phase that was watched.", "P-77";
    TerminalIsFinal = "terminal-is-final",
        "After the end there is no action and no deadline, whatever happens.", "contract";
    OldLinkChangesNothing = "old-link-changes-nothing",
        "An event of another link than the current one changes nothing.", "P-57";
    SameInputsSameOutputs = "same-inputs-same-outputs",
        "The same inputs lead to the same outputs.", "contract";
    AtMostFourActions = "at-most-four-actions",
        "One input causes at most four actions.", "contract";
    SilentPeerGoesStaleExactly = "silent-peer-goes-stale-exactly",
        "A peer is stale when it was silent for stale-after: not before, not later.", "P-50";
    SilentPeerTimesOutExactly = "silent-peer-times-out-exactly",
        "A peer is timed out when it was silent for timeout-after: not before, not later.",
        "P-50, P-78";
    AnyFrameProvesLife = "any-frame-proves-life",
        "Any frame over the link of the session ends a stale phase.", "P-50";
    AbsenceIsNotSilence = "absence-is-not-silence",
        "Time in which the process itself was away is not counted as silence of the peer.", "P-77";
    NoChangeWithoutReason = "no-change-without-reason",
        "The status changes only for a reason that the rules name.", "P-62";
    CloseHasACause = "close-has-a-cause",
        "Each close has a code that may be sent and that says what happened.", "P-80";
    BeatsEveryInterval = "beats-every-interval-while-in-session",
        "A session begins with a beat, one follows each interval, and one tells news; never a burst.",
        "P-70, P-71, P-232";
    BeatsAreNumbered = "beats-are-numbered",
        "The beats of a session are numbered from 1 without gaps.", "P-72";

    OneLinkAtATime = "one-link-at-a-time",
        "An agent holds at most one link; a new one is dialled after the old one is gone.", "P-185";
    EachDialANewLink = "each-dial-a-new-link",
        "Each dial has a link number that is greater than all before.", "contract";
    HelloGoesFirst = "hello-goes-first",
        "The hello is sent at once, once, and nothing else but pongs before it is accepted.",
        "P-51";
    AcceptedIsConnected = "accepted-is-connected",
        "An agent whose hello was accepted is connected.", "P-54";
    GivesUpInTime = "gives-up-in-time",
        "A dial or a hello without an answer is given up in time, and its link closed.",
        "P-55, P-65";
    ComesBack = "comes-back",
        "After any end but a permanent refusal the agent dials again in its window.",
        "P-64, P-65";
    RedialsByBackoff = "redials-by-backoff",
        "No dial comes before its window of the backoff.", "P-64";
    NoDialAfterRefusal = "no-dial-after-refusal",
        "A permanent refusal ends the agent; it does not dial again.", "P-65, P-82";
    StopIsObeyed = "stop-is-obeyed",
        "Stop closes the link and ends the agent at once.", "P-84, P-230";
    SleepIsNoticed = "sleep-is-noticed",
        "After the host slept, waits are over, and a session beats at once or is begun anew.", "P-66";
    PingIsAnswered = "ping-is-answered",
        "A ping over the current link is answered at once with its timestamp.", "P-79";

    OnlineNeedsASession = "online-needs-a-session",
        "Online, stale and error are shown of an agent exactly while it has a session.",
        "P-60";
    OneSessionAtATime = "one-session-at-a-time",
        "A new session closes the link of the old one in the same step.", "P-57";
    NewestHelloCounts = "newest-hello-counts",
        "Of several hellos that wait the last counts, and the others are closed.", "P-58";
    HelloIsAnswered = "hello-is-answered",
        "A hello is welcomed when admitted, and closed when rejected or when the store is too slow.",
        "P-53, P-55";
    BeatIsRecorded = "beat-is-recorded",
        "Each heartbeat of the session is handed to the store under its epoch.", "P-71, P-74";
    BeatIsAnswered = "beat-is-answered",
        "A heartbeat is answered within half an interval.", "P-71";
    DeadLinkIsClosed = "dead-link-is-closed",
        "The link of an agent that timed out or must go is closed in the same step.",
        "P-78";
    ResumeWindowIsKept = "resume-window-is-kept",
        "An agent whose link ended is awaited for the resume window, and offline right after it.",
        "P-59";
    StoppedIsOffline = "stopped-is-offline",
        "An agent that was stopped, on its machine or by an order, or sent away, is offline at once.",
        "P-84, P-230";
    VersionGrowsByOne = "version-grows-by-one",
        "Each published presence has the version after the last one's.", "P-62";
    SinceMovesOnlyWithStatus = "since-moves-only-with-status",
        "`since` moves exactly when the status changes.", "P-62";
    ForgetIsLast = "forget-is-last",
        "Forget follows the report of offline, as the last action of all.", "contract";
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An invariant that did not hold: which, when, what was expected and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When, counted from the first input.
    pub at: Duration,
    /// The input that was handled.
    pub input: String,
    /// What should have happened.
    pub expected: String,
    /// What happened.
    pub happened: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} ({})", self.invariant, self.invariant.says(), self.invariant.source())?;
        writeln!(f, "  at:       {}, {}", Elapsed(self.at), self.input)?;
        writeln!(f, "  expected: {}", self.expected)?;
        write!(f, "  happened: {}", self.happened)
    }
}

impl std::error::Error for Violation {}

/// `+45.000s`; with as many digits as it takes when milliseconds do not tell.
pub(super) struct Elapsed(pub(super) Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos.is_multiple_of(1_000_000) {
            write!(f, "+{seconds}.{:03}s", nanos / 1_000_000)
        } else {
            write!(f, "+{seconds}.{nanos:09}s")
        }
    }
}
