//! The shared vocabulary: what messages and machines both speak of, with its spelling on the wire.
//!
//! Nothing here decides or waits, and nothing of a machine or of a message set is imported: this is
//! the floor that both stand on.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

mod activity;
mod capabilities;
mod cause;
mod command;
mod dialect;
mod evidence;
mod exit;
mod feature;
mod finding;
mod gap;
mod hop;
pub(crate) mod lenient;
mod mint;
mod order;
mod program_fault;
mod report;
mod severity;
mod spelling;
mod stop;
mod stream;
mod subscription;
mod terminal;
mod timing;
pub(crate) mod trace;

pub use crate::text::Text;
pub use activity::{
    Activity, ActivityBasis, ActivityFact, ActivityLane, ActivityState, Question, QuestionKind,
    TypeIf,
};
pub use capabilities::Capabilities;
pub(crate) use capabilities::OutputFormat;
pub use cause::{Cause, Confidence};
pub(crate) use command::TYPED_INTO;
pub use command::{
    CommandAckStatus, CommandInput, CommandPhase, OfflinePolicy, OpenLine, PROGRAM_ENDED, Priority,
    SecretEcho, WaitsFor, typed_into,
};
pub use dialect::Dialect;
pub use evidence::{Evidence, Fact};
pub use exit::Exit;
pub use feature::{AGENT_FEATURES, DASHBOARD_FEATURES, Feature, SERVER_FEATURES};
pub use finding::{Finding, PastFinding};
pub use gap::{GapCause, gap_notice};
pub use hop::Hop;
pub(crate) use mint::IdMint;
pub(crate) use order::Force;
pub use order::Pausing;
pub use program_fault::{ProgramFault, ToldFault};
pub use report::CommandComplete;
pub use severity::Severity;
pub(crate) use spelling::wire_enum;
pub use stop::{StopProgress, StopScope, StopStage};
pub use stream::{OutputTotals, PerStream, Stream};
pub use subscription::{Selection, Subscriptions};
pub use terminal::{SizeRecord, TERMINAL_PREFIX, TerminalSize};
pub use timing::{HeartbeatTiming, InvalidTiming, WireTiming};
pub use trace::TraceContext;
