//! Why: what is known of an agent's presence, its heartbeats and its drops, as pure functions over what both
//! ends recorded.
//!
//! Here are values and judgements. Nothing here changes what a machine does, and no machine asks: a reader of the
//! records does. Nothing here may know how a record is stored or sent. The design is in `docs/EVIDENCE.md`.
//!
//! The causes are in `model/cause.rs`, what a statement rests on in `model/evidence.rs`, a statement in
//! `model/finding.rs`. `explanation.rs` explains a presence.
//! `hop_tracker.rs` follows the heartbeats of a connection over their hops (`model/hop.rs`), which it keeps in `ring.rs`;
//! `beats.rs` has what it tells its readers.
//! `found.rs`, `clock_watch.rs` and `network_watch.rs` have what one end finds by itself, `black_box.rs` keeps what an agent finds while it is away, and
//! `verdict.rs` judges a drop by both ends' records (`record.rs`), with what kept the agent away by `absence.rs`. `pattern.rs` looks at many drops of one agent, `incident.rs` at many
//! agents, `own_faults.rs` keeps those of the server itself, `timeline.rs` corrects what was shown by what was proven later. `why.rs` puts together what is told of one
//! agent, `fleet_why.rs` of all agents of a user, `command_why.rs` of a command.
//!
//! Tier 3 of the [crate](crate#what-is-public-in-tiers): evidence.

mod absence;
mod beats;
mod black_box;
mod clock_watch;
mod command_why;
mod explanation;
mod fleet_why;
mod found;
mod hop_tracker;
mod incident;
mod known_command;
mod network_watch;
mod obstacles;
mod own_faults;
mod pattern;
mod record;
mod ring;
mod timeline;
mod verdict;
mod why;

#[doc(no_inline)]
pub use crate::model::{Cause, Confidence, Evidence, Fact, Finding, Hop, PastFinding};
pub use beats::{BeatReport, BeatStop, BeatTrouble, BeatVerdict, MissedHop};
pub use black_box::{BlackBox, LastBoot, LastEnd, LastRun, LastVersion, OutOfMemory};
pub(crate) use clock_watch::ClockWatch;
pub use command_why::CommandWhy;
pub use explanation::{Explanation, PresenceTrack, dwell, explain};
pub use fleet_why::{FleetTally, FleetWhy, Member, Unwell};
pub(crate) use found::failed_dials;
pub use found::{found_by_agent, found_by_refusal};
pub use hop_tracker::{End, HopTracker, Trouble, Ways};
pub use incident::{Fall, Incident, OwnFault, incidents};
pub use known_command::{
    AgentOf, CommandStep, KnownCommand, LinkRead, MissingOutput, OrderInForce, Sent, Standing,
    WaitsFor,
};
pub(crate) use network_watch::NetworkWatch;
pub use obstacles::Obstacle;
pub use own_faults::{KeptFaults, OwnFaults};
pub use pattern::{PastDrop, pattern};
pub use record::{DropRecord, Process, Return, SinceThen, ToldAt, TurnedAway};
pub use ring::Whose;
pub use timeline::{Availability, Condition, Logged, Sleep, Span, timeline};
pub use verdict::{Verdict, judge};
pub use why::{Records, Transition, Why};
