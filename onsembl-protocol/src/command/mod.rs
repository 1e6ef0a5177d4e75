//! Commands: how they live, who may give them, and how they end.

mod book;
mod life;
mod outcome;
mod routing;

pub use book::{CancelDecision, CommandBook, Decision, MOST_RUNNING};
pub use life::{CommandAction, CommandCause, CommandEvent, CommandLife, CommandStage, CommandView};
pub use outcome::Exit;
pub use routing::{
    Candidate, Unroutable, choose_agent, watches_agent, watches_command, watches_output,
};
