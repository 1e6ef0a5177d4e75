//! The names of the demands, each with its sentence and the defects that it excludes, by
//! their numbers in `docs/INVARIANTS.md`. Where
//! a demand is checked is told by the file that uses its name.

macro_rules! invariants {
    ($($(#[$doc:meta])* $name:ident: $sentence:literal, [$($defect:literal),*];)*) => {
        /// What must be true of a fleet, whoever builds it and however.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $(#[doc = $sentence] $name,)*
        }

        impl Invariant {
            /// Every demand.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it demands, in one sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            /// The defects that cannot be where it holds, as numbered in `docs/INVARIANTS.md`.
            pub const fn defects(self) -> &'static [u8] {
                match self { $(Self::$name => &[$($defect),*],)* }
            }
        }
    };
}

invariants! {
    VersionsGrow: "Presence versions of an agent grow by one with each presence and never repeat, restarts of the server included.", [31, 39];
    SinceMovesWithStatus: "`since` moves when the status changes, then to now, and never else.", [31, 32, 45];
    StatusEdges: "A status of an agent changes only along the published edges.", [3, 31, 38];
    StatusIsTrue: "After each step the status shown is the one that the links and sessions of the agent amount to.", [3, 13, 32, 33, 38, 39];
    AnyFrameIsLife: "A frame over the current wire ends staleness in that very step.", [3, 35, 36];
    ReasonIsTrue: "The reason shown is what happened.", [32, 60];
    OneReportAStep: "A step reports at most one status.", [31, 40];
    NoEmptyReport: "A report differs from the one before it.", [31, 40];
    RestartIsHonest: "After a restart of the server an agent that had a session is awaited, because the server was restarted, before anything else is said of it.", [33];
    EpochsGrow: "Epochs of an agent strictly grow, and a presence never goes back to an older one.", [13, 39];
    IdentityHolds: "A session belongs to the agent and the process that said hello.", [42];
    WelcomeIsCommitted: "A hello is accepted only under an epoch that the store holds for it, before anything else is said over its wire.", [42, 44, 59];
    HelloIsServed: "A hello brings the question for a session at once, and an answer or a close in time.", [44, 59];
    BothEndsAgree: "Agent and server name the same epoch while both are in session over one wire.", [42, 44];
    TakeoverIsTold: "The same process takes over its own wire, another one replaces it; the loser is told which, and a replaced one stays away.", [13, 27, 60];
    OwnCloseCode: "Every close carries a code of the table, never 1005 or 1006.", [60];
    NormalOnlyToLegacy: "1000 goes to a legacy agent that was replaced, and to nobody else.", [27];
    GivenUpIsClosed: "A wire that an end gives up is closed by that end in the same step.", [13, 14, 34, 56];
    GivenUpForAReason: "A wire is given up for a reason, with the code of that reason.", [3, 28, 31, 37, 60];
    OldWireChangesNothing: "What comes over a wire that is neither current nor joining, and the end of such a wire, changes nothing.", [5, 13, 44];
    SpeaksOverCurrentWire: "An end speaks only over its current wire.", [5, 13, 42];
    SilenceNotEarly: "Nobody is called silent before stale-after or timeout-after by the observer's monotonic clock.", [3, 31, 36, 37, 45];
    SilenceInTime: "Silence is named stale at stale-after, and the link given up at timeout-after, while the observer is there.", [32, 33, 34, 56];
    AbsenceCondemnsNobody: "An observer that was away does not count its absence against its peer.", [31, 37];
    TimedOutWasWatched: "A time-out follows only a stale phase that was watched.", [36, 37];
    ResumeWindowKept: "An agent that is away is offline exactly when the resume window is over, its server's absence not counted.", [31, 33];
    HeardIsRecorded: "Each heartbeat that is heard is to be recorded, in the step in which it came, under its session and number; nothing else is.", [3, 32, 35];
    RecordedIsCommitted: "A heartbeat is called recorded only if the store holds it.", [32, 59];
    SeenIsHeard: "A heartbeat names as seen the latest one heard in this session.", [32, 36];
    BeatsAreCounted: "Heartbeats of a session are numbered from 1, by one.", [35, 36];
    BeatsEachInterval: "In session each end speaks at least once an interval while it is there.", [3, 31, 35];
    NoBurst: "Missed heartbeats are not made up for.", [40];
    AnsweredInTime: "A heartbeat is answered within half an interval.", [35];
    LagNamedInTime: "A heartbeat that is not recorded is named on both ends within two intervals.", [59];
    LagIsTrue: "Recording is said to lag only if a heartbeat has waited too long.", [59];
    LagHeals: "When everything is recorded nobody says that recording lags.", [59];
    AilmentOnlyInSession: "Only a session ails.", [31];
    FaultIsShown: "An agent that reports that it cannot go on is shown so.", [38, 59];
    EvictionIsObeyed: "An agent that must go is gone, and its wires are closed, in the same step.", [28, 56];
    EndIsTheEnd: "Who is done does nothing more.", [28];
    AgentStatusEdges: "A status of an agent's own end changes only along the published edges.", [38];
    AgentStatusIsTrue: "After each step an agent's own status is the one that its dials, links and sessions amount to.", [10, 32, 38];
    OneLinkAtATime: "An agent dials only when it has neither a link nor a dial, and each wire is new.", [11, 14];
    NeverGivesUp: "An agent closes for good only when it is stopped or told to stay away.", [10, 27];
    StaysAway: "An agent that is told to stay away stops for good.", [12, 27];
    StopIsObeyed: "An agent that is stopped closes its link with 4103, or with the code of the order that ended it, and is closed.", [27, 60];
    HelloFirst: "The hello goes first over each wire, as soon as it is up, once; until it is accepted only probes are answered.", [44];
    PingAnswered: "A probe is answered in the step in which it came.", [35];
    DialNotEarly: "An attempt does not come before its window, and windows start anew only after a stable session or a sleep.", [11, 12];
    RetryAfterObeyed: "An agent does not dial before the time that the server asked for.", [12];
    DialInTime: "An attempt comes at the end of its window at the latest.", [10, 11];
    WaitsHaveAnEnd: "A dial, an unanswered hello and an unopened session are given up in time.", [10, 14, 44, 56];
    DeadlineAhead: "A deadline is later than the step that names it.", [40];
    DeadlinePresent: "Every state but the first and the last has a deadline, and these have none.", [10, 33];
    DeadlineSoonEnough: "A deadline is not later than the next thing that must be done.", [3, 10, 33, 56];
    ServedInTime: "A present driver serves a deadline in time.", [34, 56];
    AbsenceIsReal: "Only who was away says so.", [59];
    ConnectedInTheEnd: "When everything is healed, both ends are in session, over one wire.", [3, 10, 13, 31, 33, 39];
}
