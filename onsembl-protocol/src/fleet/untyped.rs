//! Sums of the long texts that agents have not begun to type, so that admission looks at no command. What a text counts is
//! noted with its command, and no text is looked at here.

use super::collections::Map;
use crate::id::AgentId;
use alloc::borrow::ToOwned as _;

/// Bytes of long texts on their way, to each agent and to all of a user.
#[derive(Debug)]
pub(super) struct Untyped {
    all: usize,
    of: Map<AgentId, usize>,
}

impl Untyped {
    pub(super) const fn new() -> Self {
        Self { all: 0, of: Map::new() }
    }

    /// To all agents.
    pub(super) const fn all(&self) -> usize {
        self.all
    }

    /// To this agent.
    pub(super) fn of(&self, agent: &AgentId) -> usize {
        self.of.get(agent).copied().unwrap_or(0)
    }

    /// A command for this agent that counted `before` bytes counts `now` bytes.
    pub(super) fn changed(&mut self, agent: &AgentId, before: usize, now: usize) {
        if before == now {
            return;
        }
        self.all = self.all.saturating_sub(before).saturating_add(now);
        let of = self.of(agent).saturating_sub(before).saturating_add(now);
        let _ = match of {
            0 => self.of.remove(agent),
            of => self.of.insert(agent.to_owned(), of),
        };
    }
}
