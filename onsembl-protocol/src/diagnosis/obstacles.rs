//! What keeps a command from being started, thing by thing: its agent is away, paused, stopped or busy.

use super::explanation::Explanation;
use super::known_command::{KnownCommand, OrderInForce, Sent, Standing, WaitsFor, shell_quoted};
use crate::id::CommandId;
use crate::model::CommandPhase;
use crate::time::WallTime;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// One thing that keeps a command from being started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Obstacle {
    pub waits_for: WaitsFor,
    /// In one line for people.
    pub text: String,
}

/// What keeps a command from being started. There can be more than one thing: an agent that is away may be paused.
pub(super) fn obstacles(of: &KnownCommand) -> Vec<Obstacle> {
    let Some(agent) = of.agent.as_ref().filter(|_| of.status.is_unstarted()) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut add = |waits_for, text: String| all.push(Obstacle { waits_for, text });
    let (name, quoted) = (&agent.name, shell_quoted(&agent.name));
    match &agent.order {
        OrderInForce::None | OrderInForce::Paused { .. } => {}
        OrderInForce::Stopped { by, at, reason } => add(
            WaitsFor::Release,
            format!(
                "an emergency stop by {by} at {at} ({reason}) is in force; `onsembl release {quoted}` ends it"
            ),
        ),
    }
    if !agent.is_there() {
        let Explanation { state, since, because, .. } = &agent.presence;
        add(WaitsFor::Agent, format!("its agent {name} is {state} since {since}: {because}"));
    }
    match &agent.order {
        OrderInForce::None | OrderInForce::Stopped { .. } => {}
        OrderInForce::Paused { by, since } => add(
            WaitsFor::Resume,
            format!(
                "its agent {name} {}; `onsembl control {quoted} resume` ends it",
                paused(by.as_deref(), *since)
            ),
        ),
    }
    // One that is delivered has its slot.
    let has_slot = of.status == CommandPhase::Delivered;
    let waiting = of.standing.filter(|s| !has_slot && s.sent == Sent::Never);
    if let Some(Standing { occupied, ahead, slots: Some(slots), .. }) = waiting
        && occupied >= slots
    {
        let ahead = match ahead {
            0 => String::new(),
            1 => ", and one comes before it".into(),
            more => format!(", and {more} come before it"),
        };
        add(
            WaitsFor::Turn,
            format!(
                "its agent {name} is busy with {occupied} of at most {slots} commands: {}{ahead}",
                some(&of.busy_with)
            ),
        );
    }
    all
}

/// `is paused by ann since …`, as far as that is known.
pub(super) fn paused(by: Option<&str>, since: Option<WallTime>) -> String {
    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    format!("is paused{by}{since}")
}

/// The first of them, and how many more there are.
fn some(commands: &[CommandId]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<&str> = commands.iter().take(SHOWN).map(CommandId::as_str).collect();
    match commands.len().saturating_sub(SHOWN) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
