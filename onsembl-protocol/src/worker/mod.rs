//! The work of one agent as one machine: running commands, the journal before their start, unacknowledged output,
//! messages to the server and their repetition, and what must finish before the agent may end.
//!
//! A [`Worker`] is a [queue machine](crate::step#two-contracts): its outputs own bytes, so they are queued inside
//! until they are taken.
//!
//! 1. [`handle`](Worker::handle) each event, with the time.
//! 2. Take and perform actions until [`poll_action`](Worker::poll_action) returns none. The outcome of an action is
//!    an event.
//! 3. While the link has room, take [`next_message`](Worker::next_message), hand it to the link and feed
//!    [`WorkerEvent::Sent`]; then continue with 2.
//! 4. Wait for an event or the [`deadline`](Worker::deadline), whichever comes first; the latter is
//!    the event [`Wake`](WorkerEvent::Wake).
//!
//! It opens no process, file or link, and draws no randomness: the seed of unique ids is in its [`WorkerConfig`].
//!
//! # Its parts
//!
//! `machine` dispatches each event to its part, and `orders` the requests of the server. `course` and `ended`
//! decide about commands, `terminal_work` about the terminal and what is typed into it, `handover` about reports to
//! the server, `stops` about ends that the user did not request, `activity` about the activity of programs. Their
//! outputs are in `outputs`.
//!
//! # Guarantees
//!
//! - A command starts at most once under one journal: its start is durable before
//!   [`WorkerAction::Start`].
//! - An end is reported after it is durable, after all output before it is stored, and until the server
//!   has confirmed it. In a new session everything that is not confirmed is sent again.
//! - While an emergency stop is in force nothing starts, also not in a successor of this process; the server learns so
//!   only once that is durable, and that everything has ended only once it has.
//!
//! # Bounds
//!
//! A server can make a worker hold: 64 commands that wait (one
//! more is refused), 4,096 ended commands (the oldest confirmed one is forgotten first), 4,096 ends whose
//! output is not stored (then commands are refused, and the program of a terminal is not started), 64 pages
//! of answers to its questions (the oldest go). Output is bounded by [`SpoolBounds`].
//!
//! Tier 2 of the [crate](crate#what-is-public-in-tiers): an agent's work and a server's fleet.

mod activity;
mod after_exit;
mod background;
mod background_policy;
mod carrier;
mod commands;
mod course;
mod delivery;
mod doubts;
mod emergency;
mod end;
mod ended;
mod escapes;
mod event;
mod fence;
mod findings;
mod form;
mod handover;
mod journal;
mod kin;
mod leftovers;
mod local_screen;
mod machine;
mod message;
mod note;
mod orders;
mod outbound;
mod outputs;
mod recovery;
mod remote_typing;
mod report;
mod run_stop;
mod shutdown;
mod sizes;
mod stopped_program;
mod stops;
mod terminal;
mod terminal_work;
mod typed_commands;
#[cfg(any(feature = "sim", feature = "testing"))]
mod unstored;
mod uplink;
mod work;

pub use crate::activity::{ActivityConfig, Call, Fact, HookEvent, Meaning, StreamFormat, ToolUser};
pub use crate::command::{
    Awaited, Cleared, CommandJournal, DEFAULT_SLOTS, Fate, JournalEntry, LeftBehind,
    ProcessIdentity, Remains, Standing,
};
pub use crate::model::Severity;
pub use crate::output::{
    Appending, CHUNK_BYTES, LeftRun, RECORD_COST, Record, RecordBody, RecoveredRun, Run,
    SpoolBounds, SpoolEvent, SpoolPolicy, SpoolRequest, StreamState,
};
pub use crate::terminal::{
    CarriageReturn, Echo, EnvironmentChange, Foreground, HiddenBytes, LineMode, Modes, PieceOrder,
    RemotePiece, RemoteStroke, Stroke, StrokeKind, SubmitKey, Surroundings, TerminalSettings,
    Typed, Typing,
};
pub use after_exit::AfterExit;
pub use background_policy::BackgroundPolicy;
pub use end::WorkerEnd;
pub use escapes::plain_text;
pub use event::{
    Journalling, Predecessor, Recovered, RemoteOutcome, Rest, Screen, ScreenAction, ScreenEvent,
    Task, TerminalConfig, TypingOutcome, Waiting, WorkerAction, WorkerConfig, WorkerEvent,
    WorkerMessage, WorkerSession,
};
pub use fence::Fence;
pub use kin::{Kinship, Orphans, ProcessName, RunKey, RunRest, RunTag, SeenProcess, SomeProcesses};
pub use leftovers::Leftovers;
pub use machine::Worker;
pub use note::WorkerNote;
pub use run_stop::{RunLeader, RunSignal, RunStop, RunStopNote, RunStopOrder, RunStopStep};
pub use stopped_program::ProgramState;
#[cfg(any(feature = "sim", feature = "testing"))]
pub use unstored::{UnstoredOutput, WriterState};

#[cfg(test)]
mod tests;
