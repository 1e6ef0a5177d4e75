//! A long-lived program under a terminal: when it is started, who may type, and what reaches it.
//!
//! A command for such an agent is one submission: exactly its text is typed, followed by Enter, or
//! it is refused (P-222, P-223). What the program writes belongs to no command but to the terminal
//! itself, which is a command that the agent opened: its id begins with [`TERMINAL_PREFIX`]. Nothing is typed before the
//! program has shown that it reads, and what was typed counts as taken when the program has read it and lives (P-350).
//!
//! Here are decisions only: nothing opens a terminal, and nothing draws one.

mod environment;
#[cfg(test)]
mod half_written;
mod keyboard;
mod keys;
mod line;
mod modes;
mod pressed;
mod queries;
mod readiness;
mod refusal;
mod remote_keys;
mod sequences;
mod settings;
mod submission;
mod supervisor;
mod switched;
mod typing_queue;
mod viewing;

pub(crate) use crate::model::{TERMINAL_PREFIX, TerminalSize};
pub use environment::{EnvironmentChange, Surroundings};
pub(crate) use keyboard::{
    Accepted, Keyboard, KeyboardRefusal, TakeForce, Taken, Taker, TypingRate,
};
pub use keyboard::{HoldEnd, HoldRecord, HoldView};
pub use modes::Modes;
pub use queries::{Asked, ColorOf, Query, ScreenFacts, Terminator};
pub(crate) use queries::{Found, Queries};
pub(crate) use readiness::Readiness;
pub(crate) use refusal::Untypeable;
pub use remote_keys::{HiddenBytes, Place, RemotePiece, RemoteStroke};
pub(crate) use remote_keys::{Incoming, RemoteKeys, program_ended};
pub use sequences::{Piece, SequenceKind, Sequences};
pub use settings::{CarriageReturn, Echo, Foreground, LineMode, TerminalSettings};
pub use submission::{Stroke, StrokeKind, Typing};
pub(crate) use supervisor::{AfterEnd, TerminalSupervisor};
pub use typing_queue::Typed;
pub(crate) use typing_queue::{Expecting, Passing, Person, ProgramLeft, TypingAction, TypingQueue};
pub use viewing::Viewing;
