//! What goes wrong in a world, drawn from its seed.

use super::Millis;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The process of a node ends, and another one starts later.
    Kill,
    /// A node stands still, and goes on with what it was doing.
    Freeze,
    /// A node does not reach the database, the bus, or both.
    CutDatabase,
    CutBus,
    CutBoth,
    /// What others publish does not arrive at a node.
    Deafen,
    DatabaseDown,
    DatabaseSlow,
    BusDown,
    /// The clock of the database's host jumps, for good.
    ClockJump,
    /// The link of an agent breaks.
    BreakLink,
    /// The link of an agent carries nothing, and nobody is told.
    HalfOpen,
    /// Agents dial any node, whatever it says of itself.
    Flip,
    /// A node is told to end, and another process of it starts later.
    Drain,
    /// An agent ends for good.
    AgentDies,
}

impl Kind {
    pub(super) const ALL: [Self; 15] = [
        Self::Kill,
        Self::Freeze,
        Self::CutDatabase,
        Self::CutBus,
        Self::CutBoth,
        Self::Deafen,
        Self::DatabaseDown,
        Self::DatabaseSlow,
        Self::BusDown,
        Self::ClockJump,
        Self::BreakLink,
        Self::HalfOpen,
        Self::Flip,
        Self::Drain,
        Self::AgentDies,
    ];
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) at: Millis,
    pub(super) lasts: Millis,
    /// A number that picks the node or the agent.
    pub(super) whom: usize,
}

/// Faults of a world that lasts so long until it heals.
pub(super) fn draw(random: &mut fastrand::Rng, until: Millis) -> Vec<Fault> {
    let count = random.usize(4..16);
    let mut faults: Vec<Fault> = (0..count)
        .map(|_| {
            let kind = Kind::ALL[random.usize(..Kind::ALL.len())];
            let longest = match kind {
                Kind::DatabaseDown => 25_000,
                Kind::Drain | Kind::Kill => 15_000,
                _ => 40_000,
            };
            let at = random.u64(5_000..until);
            let lasts = random.u64(200..longest).min(until - at);
            Fault { kind, at, lasts, whom: random.usize(..) }
        })
        .collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}
