//! What many peers share, and how much of it one of them may have. Nothing here knows what is shared.

mod shares;
mod turns;

pub(crate) use onsembl_transport::log_limit::LogLimit;
pub(crate) use shares::{Share, Shares};
pub(crate) use turns::{NoTurn, Turn, TurnLimits, Turns};
