//! Which agents go by an id that they made up themselves: an index, so that no hello and no link looks at all
//! agents of its user.

use super::collections::Set;
use crate::id::AgentId;

/// Each alias with each agent that goes by it; wrappers of one machine may share one.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases(Set<(AgentId, AgentId)>);

impl Aliases {
    pub(super) const fn new() -> Self {
        Self(Set::new())
    }

    /// An agent goes by these ids now; before, it went by those.
    pub(super) fn replace(&mut self, agent: &AgentId, before: &[AgentId], now: &[AgentId]) {
        if before == now {
            return;
        }
        for alias in before {
            let _ = self.0.remove(&(alias.clone(), agent.clone()));
        }
        self.0.extend(now.iter().map(|alias| (alias.clone(), agent.clone())));
    }

    /// The agents that go by this id.
    pub(super) fn of<'a>(&'a self, alias: &'a AgentId) -> impl Iterator<Item = &'a AgentId> {
        let first = (alias.clone(), AgentId::new(""));
        self.0.range(first..).take_while(move |(by, _)| by == alias).map(|(_, agent)| agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn an_alias_names_those_who_go_by_it_now() {
        let id = |text: &str| AgentId::new(text);
        let (a, b) = (id("agent a"), id("agent b"));
        let mut aliases = Aliases::new();
        aliases.replace(&a, &[], &[id("x"), id("y")]);
        aliases.replace(&b, &[], &[id("x")]);
        assert_eq!(aliases.of(&id("x")).collect::<Vec<_>>(), [&a, &b]);
        aliases.replace(&a, &[id("x"), id("y")], &[id("y"), id("z")]);
        assert_eq!(aliases.of(&id("x")).collect::<Vec<_>>(), [&b]);
        assert_eq!(aliases.of(&id("z")).count(), 1);
        aliases.replace(&b, &[id("x")], &[]);
        assert_eq!(aliases.of(&id("x")).count(), 0);
    }
}
