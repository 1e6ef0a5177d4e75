//! A long-lived program under a terminal: when it is started, who may type, and what reaches it.
//!
//! A command for such an agent is one submission: exactly its text is typed, followed by Enter, or
//! it is refused (P-222, P-223). What the program writes belongs to no command but to the terminal
//! itself, which is a command that the agent opened: its id begins with [`TERMINAL_PREFIX`]. Nothing is typed before the
//! program has shown that it reads, and what was typed counts as taken when the program has read it and lives (P-350).
//!
//! Here are decisions only: nothing opens a terminal, and nothing draws one. [`attach`] is the end of a person who looks at
//! one remotely.
//!
//! Tier 2 of the [crate](crate#what-is-public-in-tiers): an agent's work and a server's fleet.

pub mod attach;
mod begun_line;
mod beyond;
mod environment;
#[cfg(test)]
mod half_written;
mod hold;
mod keyboard;
mod keyboard_edges;
mod keys;
mod line;
mod modes;
mod passing;
mod pressed;
mod queries;
mod readiness;
mod refusal;
mod remote_keys;
mod sequences;
mod settings;
mod settling;
mod submission;
mod supervisor;
mod switched;
mod typing_queue;
mod typing_rate;
mod viewing;

pub(crate) use crate::model::{TERMINAL_PREFIX, TerminalSize};
pub(crate) use begun_line::Person;
pub use environment::{EnvironmentChange, Surroundings};
#[cfg(test)]
pub(crate) use hold::Hold;
pub use hold::{HoldEnd, HoldRecord, HoldView, KeyboardView};
pub use keyboard::TakeForce;
pub(crate) use keyboard::{Accepted, Keyboard, KeyboardRefusal, Taken, Taker};
pub use keyboard_edges::{KEYBOARD_EDGES, KeyboardCause, KeyboardEdge, KeyboardStatus};
pub use modes::Modes;
pub(crate) use queries::{Asked, Found, Queries};
pub use queries::{ColorOf, Query, ScreenFacts, Terminator};
pub(crate) use readiness::Readiness;
pub(crate) use refusal::{NO_PROGRAM, Untypeable};
pub use remote_keys::{HiddenBytes, PieceOrder, RemotePiece, RemoteStroke};
pub(crate) use remote_keys::{Incoming, RemoteKeys, program_ended};
pub use sequences::{Piece, SequenceKind, Sequences};
pub use settings::{CarriageReturn, Echo, Foreground, LineMode, TerminalSettings};
pub(crate) use settling::Settling;
pub use submission::{Stroke, StrokeKind, SubmitKey, Typing, script_lines};
pub(crate) use supervisor::{AfterEnd, TerminalSupervisor};
pub use typing_queue::Typed;
pub(crate) use typing_queue::{Expecting, Passing, ProgramLeft, TypingAction, TypingQueue};
pub(crate) use typing_rate::TypingRate;
pub use viewing::{Viewing, viewed_line};
