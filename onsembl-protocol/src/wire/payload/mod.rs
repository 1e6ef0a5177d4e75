//! What each message carries: one struct per payload, with the fields that existing peers send
//! and our extensions (PROTOCOL.md, section 14).
//!
//! A payload reads every variant that existing peers send and writes one canonical form. Ids inside
//! payloads are claims: after the hello only the session's own agent id counts (P-37).

mod activity;
mod agent;
mod black_box;
mod command;
mod control;
mod dashboard;
mod delivery;
mod heartbeat;
mod hello;
mod long_text;
mod output;
mod reply;
mod terminal;

/// Words of the shared vocabulary, under their old path.
#[doc(no_inline)]
pub use crate::model::{
    CommandAckStatus, CommandComplete, CommandInput, CommandPhase, Feature, OfflinePolicy,
    OpenLine, OutputTotals, Priority, Question, SecretEcho, Selection, StopProgress, StopStage,
    Subscriptions, TypeIf, WaitsFor,
};
pub use activity::AgentActivity;
pub use agent::{AgentErrorReport, AgentErrorType, Opaque};
pub use black_box::{AgentBlackBox, BlackBoxAck};
pub use command::{CommandAck, CommandCancel, CommandRequest, CommandStatus, ExecutionConstraints};
pub use control::{
    AgentControl, AgentStopped, ControlAction, EmergencyStop, ReleaseRequest, Secret, StopReceipt,
    StopRelease, TokenRefresh,
};
pub use dashboard::{
    AgentConnected, AgentDisconnect, AgentStatus, AgentSummary, DashboardConnected,
    DashboardExtensions, DashboardInit, PresenceWhy, Replay, SleptSpan, Subscription,
    SubscriptionKind, ViewMode,
};
pub use delivery::{
    OutputCredit, OutputGap, OutputQuery, OutputResume, OutputState, ReportedStream, ResumePosition,
};
pub use heartbeat::{
    AgentHeartbeat, HealthMetrics, Ping, Pong, RecordedBeat, RecordingLag, SeenBeat,
    ServerHeartbeat,
};
pub use hello::{
    AgentConnect, AgentExtensions, AgentType, LegacyCapabilities,
    LegacyCapabilities as Capabilities, Welcome,
};
pub use long_text::{CommandText, LongText};
pub use output::{
    OutputAck, OutputContent, StreamContent, StreamType, TerminalOutput, TerminalStream,
};
pub use reply::{Ack, ErrorCode, ErrorContext, ErrorReply};
pub use terminal::{
    KeyboardRelease, KeyboardState, KeyboardTake, OutputBehind, OutputTaken, TakeMode,
    TerminalInput, TerminalInputState, TerminalOpened, TerminalSized, TypedBytes,
};
