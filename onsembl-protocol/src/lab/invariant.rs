//! The invariants of a connection: one catalogue for all that judges.
//!
//! The reference model judges them by the facts of a whole world, the test kit by the calls of one
//! machine; both name what they found by these names. Nothing here judges.

use core::fmt;

/// Who judges an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) enum JudgedBy {
    /// The reference model only: it takes a whole world to see it.
    Model,
    /// The test kit only: it takes the calls of one machine to see it.
    Kit,
    Both,
}

macro_rules! invariants {
    ($($name:ident = $word:literal, $judges:ident,
        $says:literal, $source:literal, [$($defect:literal),*];)*) => {
        /// What must always hold. The names are stable: a test may be written against them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Invariant {
            $(#[doc = $says] $name,)*
        }

        impl Invariant {
            /// Every invariant.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it says, in one sentence.
            pub const fn says(self) -> &'static str {
                match self { $(Self::$name => $says,)* }
            }

            /// Who judges it.
            pub(crate) const fn judged_by(self) -> JudgedBy {
                match self { $(Self::$name => JudgedBy::$judges,)* }
            }

            /// Where it comes from: "P-" is a rule of `docs/PROTOCOL.md`, "contract" the contract of
            /// every machine ([`step`](crate::step), [`time`](crate::time)).
            pub const fn source(self) -> &'static str {
                match self { $(Self::$name => $source,)* }
            }

            /// The defects that cannot be where it holds, as numbered in `docs/INVARIANTS.md`.
            pub const fn defects(self) -> &'static [u8] {
                match self { $(Self::$name => &[$($defect),*],)* }
            }
        }
    };
}

impl Invariant {
    /// Those that the reference model judges.
    pub fn of_model() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|invariant| invariant.judged_by() != JudgedBy::Kit)
    }

    /// Those that the test kit judges.
    pub fn of_kit() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|invariant| invariant.judged_by() != JudgedBy::Model)
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

invariants! {
    DeadlineAfterNow = "deadline-after-now", Both,
        "A returned deadline is later than the moment it was returned at.",
        "contract", [40];
    EveryWaitHasADeadline = "every-wait-has-a-deadline", Both,
        "There is always a deadline, except before the start and after the end.",
        "contract", [10, 33];
    NoSpinning = "no-spinning", Kit,
        "Wake-ups that bring nothing are not asked for again and again at one moment.",
        "contract", [];
    EarlyWakeIsSilent = "early-wake-is-silent", Kit,
        "A wake-up before the deadline does nothing and leaves the deadline.",
        "contract", [];
    BackwardsTimeStandsStill = "backwards-time-stands-still", Kit,
        "A moment before the last one is taken for the last one.",
        "contract", [45];
    OneReportPerStep = "one-report-per-step-along-edges", Both,
        "A step shows at most one status, it is the true one, and the graph has the edge.",
        "contract", [31, 40];
    TimedOutOnlyAfterObservedStale = "timed-out-only-after-observed-stale", Both,
        "A peer is timed out only after a stale phase that was watched.",
        "P-77", [36, 37];
    TerminalIsFinal = "terminal-is-final", Both,
        "After the end there is no action and no deadline, whatever happens.",
        "contract", [28];
    OldLinkChangesNothing = "old-link-changes-nothing", Both,
        "An event of another link than the current one changes nothing.",
        "P-57", [5, 13, 44];
    SameInputsSameOutputs = "same-inputs-same-outputs", Kit,
        "The same inputs lead to the same outputs.",
        "contract", [];
    AtMostFourActions = "at-most-four-actions", Kit,
        "One input causes at most four actions.",
        "contract", [];
    SilentPeerGoesStaleExactly = "silent-peer-goes-stale-exactly", Both,
        "A peer is stale when it was silent for stale-after: not before, not later.",
        "P-50", [3, 31, 34, 36, 37, 45];
    SilentPeerTimesOutExactly = "silent-peer-times-out-exactly", Both,
        "A peer is timed out when it was silent for timeout-after: not before, not later.",
        "P-50, P-78", [3, 32, 33, 34, 36, 56];
    AnyFrameProvesLife = "any-frame-proves-life", Both,
        "Any frame over the link of the session ends a stale phase.",
        "P-50", [3, 35, 36];
    AbsenceIsNotSilence = "absence-is-not-silence", Both,
        "Time in which the process itself was away is not counted as silence of the peer.",
        "P-77", [31, 37];
    NoChangeWithoutReason = "no-change-without-reason", Kit,
        "The status changes only for a reason that the rules name.",
        "P-62", [31, 60];
    CloseHasACause = "close-has-a-cause", Both,
        "Each close has a code that may be sent and that says what happened.",
        "P-80", [60];
    BeatsEveryInterval = "beats-every-interval-while-in-session", Both,
        "A session begins with a beat, one follows each interval, and one tells news; never a burst.",
        "P-70, P-71, P-232", [3, 31, 35, 40];
    BeatsAreNumbered = "beats-are-numbered", Both,
        "The beats of a session are numbered from 1 without gaps.",
        "P-72", [35, 36];
    OneLinkAtATime = "one-link-at-a-time", Both,
        "An agent holds at most one link; a new one is dialled after the old one is closed.",
        "P-185", [11, 14];
    EachDialANewLink = "each-dial-a-new-link", Kit,
        "Each dial has a link number that is greater than all before.",
        "contract", [13];
    HelloGoesFirst = "hello-goes-first", Both,
        "The hello is sent at once, once, and nothing else but pongs before it is accepted.",
        "P-51", [44];
    AcceptedIsConnected = "accepted-is-connected", Kit,
        "An agent whose hello was accepted is connected.",
        "P-54", [];
    GivesUpInTime = "gives-up-in-time", Both,
        "A dial, a hello or a session without an answer is given up in time, and its link closed.",
        "P-55, P-65", [10, 14, 44, 56];
    ComesBack = "comes-back", Both,
        "After any end but a permanent refusal the agent dials again in its window.",
        "P-64, P-65", [10, 11, 27];
    RedialsByBackoff = "redials-by-backoff", Both,
        "No dial comes before its window of the backoff.",
        "P-64", [11, 12];
    NoDialAfterRefusal = "no-dial-after-refusal", Both,
        "A permanent refusal ends the agent; it does not dial again.",
        "P-65, P-82", [12, 27];
    StopIsObeyed = "stop-is-obeyed", Both,
        "Stop closes the link with the code of who ended it, and ends the agent at once.",
        "P-84, P-230", [27, 60];
    SleepIsNoticed = "sleep-is-noticed", Kit,
        "After the host slept, waits are over, and a session beats at once or is replaced by a new one.",
        "P-66", [];
    StopIsConfirmed = "stop-is-confirmed", Kit,
        "An agent that offers `stop-latch` confirms each emergency stop, and each repetition of it.",
        "P-196", [];
    StopOutlivesTheLink = "stop-outlives-the-link", Kit,
        "A stop is in force until it is released: each hello until then names it, and none after that.",
        "P-196, P-197, P-245", [];
    PauseShows = "pause-shows", Kit,
        "An agent that takes commands says in its heartbeats whether it is paused.",
        "P-106, P-232", [];
    NothingStartsUnderAnOrder = "nothing-starts-under-an-order", Kit,
        "While an agent is stopped or paused it starts nothing.",
        "P-106, P-196", [];
    PingIsAnswered = "ping-is-answered", Both,
        "A ping over the current link is answered at once with its timestamp.",
        "P-79", [35];
    SentCanBeRead = "sent-can-be-read", Kit,
        "What an agent sends is a message that a server can read.",
        "P-23", [35];
    OnlineNeedsASession = "online-needs-a-session", Kit,
        "Online, stale and error are shown of an agent exactly while it has a session.",
        "P-60", [3, 33];
    OneSessionAtATime = "one-session-at-a-time", Kit,
        "A new session closes the link of the old one in the same step.",
        "P-57", [13];
    NewestHelloCounts = "newest-hello-counts", Kit,
        "Of several hellos that wait the last counts, and the others are closed.",
        "P-58", [];
    HelloIsAnswered = "hello-is-answered", Both,
        "A hello brings the question for a session at once; it is welcomed when admitted, and closed when rejected or when the store is too slow.",
        "P-53, P-55", [44, 59];
    BeatIsRecorded = "beat-is-recorded", Both,
        "Each heartbeat of the session is handed to the store under its epoch and number, in the step in which it came; nothing else is.",
        "P-71, P-74", [3, 32, 35];
    BeatIsAnswered = "beat-is-answered", Both,
        "A heartbeat is answered within half an interval.",
        "P-71", [35];
    DeadLinkIsClosed = "dead-link-is-closed", Both,
        "A link that its end gives up is closed by that end in the same step.",
        "P-78", [13, 14, 34, 56];
    ResumeWindowIsKept = "resume-window-is-kept", Both,
        "An agent whose link ended is awaited for the resume window, and offline right after it.",
        "P-59", [31, 33];
    StoppedIsOffline = "stopped-is-offline", Kit,
        "An agent that was stopped, on its machine or by an order, or evicted, is offline at once.",
        "P-84, P-230", [];
    VersionGrowsByOne = "version-grows-by-one", Both,
        "Each published presence has the version after the last one's, or the first one of a newer epoch, over restarts of the server too.",
        "P-62", [31, 39];
    SinceMovesOnlyWithStatus = "since-moves-only-with-status", Both,
        "`since` moves exactly when the status changes, and then to now.",
        "P-62", [31, 32, 45];
    ForgetIsLast = "forget-is-last", Kit,
        "Forget follows the report of offline, as the last action of all.",
        "contract", [];
    StatusEdges = "status-edges", Model,
        "A status of an agent changes only along the published edges.",
        "contract", [3, 31, 38];
    StatusIsTrue = "status-is-true", Model,
        "After each step the status shown is the one that the links and sessions of the agent amount to.",
        "P-60, P-62", [3, 13, 32, 33, 38, 39];
    ReasonIsTrue = "reason-is-true", Model,
        "The reason shown is what happened.",
        "P-62", [32, 60];
    NoEmptyReport = "no-empty-report", Model,
        "A report differs from the one before it.",
        "P-62", [31, 40];
    RestartIsHonest = "restart-is-honest", Model,
        "After a restart of the server an agent that had a session is awaited, because the server was restarted, before anything else is said of it.",
        "P-60", [33];
    EpochsGrow = "epochs-grow", Model,
        "Epochs of an agent strictly grow, and a presence never goes back to an older one.",
        "P-53", [13, 39];
    IdentityHolds = "identity-holds", Model,
        "A session belongs to the agent and the process that said hello.",
        "P-52", [42];
    WelcomeIsCommitted = "welcome-is-committed", Model,
        "A hello is accepted only under an epoch that the store holds for it, before anything else is said over its wire.",
        "P-53", [42, 44, 59];
    BothEndsAgree = "both-ends-agree", Model,
        "Agent and server name the same epoch while both are in session over one wire.",
        "P-53, P-54", [42, 44];
    TakeoverIsTold = "takeover-is-told", Model,
        "The same process takes over its own wire, another one replaces it; the close code says which, and a replaced one stays away.",
        "P-57", [13, 27, 60];
    NormalOnlyToLegacy = "normal-only-to-legacy", Model,
        "1000 goes only to a legacy agent that was replaced.",
        "P-57, P-80", [27];
    GivenUpForAReason = "given-up-for-a-reason", Model,
        "A wire is given up for a reason, with the code of that reason.",
        "P-80, P-81", [3, 28, 31, 37, 60];
    SpeaksOverCurrentWire = "speaks-over-current-wire", Model,
        "An end speaks only over its current wire.",
        "P-57", [5, 13, 42];
    RecordedIsCommitted = "recorded-is-committed", Model,
        "A heartbeat is called recorded only if the store holds it.",
        "P-74", [32, 59];
    SeenIsHeard = "seen-is-heard", Model,
        "A heartbeat names as seen the latest one heard in this session.",
        "P-73", [32, 36];
    LagNamedInTime = "lag-named-in-time", Model,
        "A heartbeat that is not recorded is named on both ends within two intervals.",
        "P-75", [59];
    LagIsTrue = "lag-is-true", Model,
        "Recording is said to lag only if a heartbeat has waited too long.",
        "P-75", [59];
    LagHeals = "lag-heals", Model,
        "When everything is recorded, neither end reports that recording lags.",
        "P-75, P-76", [59];
    AilmentOnlyInSession = "ailment-only-in-session", Model,
        "Trouble with heartbeats is shown only of an agent in session.",
        "P-76", [31];
    FaultIsShown = "fault-is-shown", Model,
        "An agent that reports that it cannot continue is shown so.",
        "P-62", [38, 59];
    EvictionIsObeyed = "eviction-is-obeyed", Model,
        "An agent that is evicted is removed, and its wires are closed, in the same step.",
        "P-18, P-81", [28, 56];
    AgentStatusEdges = "agent-status-edges", Model,
        "A status of an agent's own end changes only along the published edges.",
        "contract", [38];
    AgentStatusIsTrue = "agent-status-is-true", Model,
        "After each step an agent's own status is the one that its dials, links and sessions amount to.",
        "contract", [10, 32, 38];
    NeverGivesUp = "never-gives-up", Model,
        "An agent closes for good only when it is stopped or told to stay away.",
        "P-65", [10, 27];
    RetryAfterObeyed = "retry-after-obeyed", Model,
        "An agent does not dial before the time that the server asked for, a minute at most.",
        "P-13, P-66", [12];
    DeadlineSoonEnough = "deadline-soon-enough", Model,
        "A deadline is not later than the next thing that must be done.",
        "contract", [3, 10, 33, 56];
    ServedInTime = "served-in-time", Model,
        "A present driver serves a deadline in time.",
        "contract", [34, 56];
    AbsenceIsReal = "absence-is-real", Model,
        "Only who was away says so.",
        "P-77", [59];
    ConnectedInTheEnd = "connected-in-the-end", Model,
        "When everything is healed, both ends are in session, over one wire.",
        "P-65, P-76", [3, 10, 13, 31, 33, 39];
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_invariant_has_a_name_of_its_own_a_sentence_and_a_source() {
        let mut names: Vec<_> = Invariant::ALL.iter().map(|i| i.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Invariant::ALL.len());
        for invariant in Invariant::ALL {
            assert!(
                invariant.says().ends_with('.') && !invariant.source().is_empty(),
                "{invariant}"
            );
        }
    }
}
