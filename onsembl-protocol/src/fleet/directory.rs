//! By what the agents of a user are found: keys, names, and ids that wrappers made up themselves. Whose tokens
//! may speak for them is decided in [`claims`](super::claims).
//!
//! A legacy wrapper has no key: the id that a server taught it stands in for one, then its name, then the
//! id that it made for itself.

use super::aliases::Aliases;
use super::collections::{Map, Set};
use crate::id::{AgentId, AgentKey, LineageId};
use crate::wire::payload::AgentConnect;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

const BY_NAME: &str = "name:";
const BY_ID: &str = "id:";

/// What stands in for the key of a wrapper that was taught no id.
pub(super) fn stand_in(hello: &AgentConnect) -> AgentKey {
    match said_name(hello) {
        Some(name) => AgentKey::new(format!("{BY_NAME}{name}")),
        None => AgentKey::new(format!("{BY_ID}{}", hello.agent_id)),
    }
}

/// Whether this is no key, but what stands in for one.
pub(super) fn stands_in(key: &AgentKey) -> bool {
    [BY_NAME, BY_ID].iter().any(|kind| key.as_str().starts_with(kind))
}

/// The name that a peer says, if it says one.
pub(super) fn said_name(hello: &AgentConnect) -> Option<&str> {
    hello.name.as_deref().filter(|name| !name.is_empty())
}

/// The agents of a user, by what they are found by. Nothing here looks at all of them.
#[derive(Debug)]
pub(super) struct Directory {
    by_key: Map<AgentKey, AgentId>,
    aliases: Aliases,
    /// Their names, under which several may go.
    names: Aliases,
    /// Those that the user sees, by name and by whose they are.
    listed: Set<(AgentId, Option<LineageId>, AgentId)>,
    /// How many there are of each name.
    count: Map<AgentId, usize>,
    /// Those of them that take commands now, by name.
    available: Set<(AgentId, AgentId)>,
}

/// How an agent stands among those that a request may mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Its name, and the tokens that have claimed it; `None` if the user does not see it.
    pub(super) listed: Option<(AgentId, Option<LineageId>)>,
    pub(super) available: bool,
}

impl Directory {
    pub(super) const fn new() -> Self {
        Self {
            by_key: Map::new(),
            aliases: Aliases::new(),
            names: Aliases::new(),
            listed: Set::new(),
            count: Map::new(),
            available: Set::new(),
        }
    }

    /// The agent that has this key.
    pub(super) fn key_owner(&self, key: &AgentKey) -> Option<&AgentId> {
        self.by_key.get(key)
    }

    /// How many keys are known.
    pub(super) fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// An agent has this key now. A hello with its former one is of another agent.
    pub(super) fn rekey(&mut self, agent: &AgentId, before: Option<&AgentKey>, now: &AgentKey) {
        if let Some(before) = before.filter(|before| *before != now) {
            self.drop_key(agent, before);
        }
        let _ = self.by_key.insert(now.clone(), agent.clone());
    }

    fn drop_key(&mut self, agent: &AgentId, key: &AgentKey) {
        // Unless another agent has it by now.
        if self.by_key.get(key) == Some(agent) {
            let _ = self.by_key.remove(key);
        }
    }

    /// An agent goes by these ids now; before, it went by those.
    pub(super) fn realias(&mut self, agent: &AgentId, before: &[AgentId], now: &[AgentId]) {
        self.aliases.replace(agent, before, now);
    }

    /// The agents that go by this id of their own making.
    pub(super) fn by_alias<'a>(&'a self, alias: &'a AgentId) -> impl Iterator<Item = &'a AgentId> {
        self.aliases.of(alias)
    }

    /// An agent has this name now. Gives the others that go by it as an alias, and must not any more.
    pub(super) fn rename(&mut self, agent: &AgentId, before: &str, now: &str) -> Vec<AgentId> {
        let (before, now) = (AgentId::new(before), AgentId::new(now));
        self.names.replace(agent, &[before], core::slice::from_ref(&now));
        self.aliases.of(&now).filter(|other| *other != agent).cloned().collect()
    }

    /// Whether an agent besides this one has this name.
    pub(super) fn is_name_of_another(&self, name: &AgentId, than: Option<&AgentId>) -> bool {
        self.names.of(name).any(|agent| Some(agent) != than)
    }

    /// An agent stands like this now; before, it stood like that.
    pub(super) fn stands(&mut self, agent: &AgentId, before: &Standing, now: &Standing) {
        if before == now {
            return;
        }
        if let Some((name, lineage)) = &before.listed {
            let _ = self.available.remove(&(name.clone(), agent.clone()));
            let _ = self.listed.remove(&(name.clone(), lineage.clone(), agent.clone()));
            match self.count(name) {
                0 | 1 => drop(self.count.remove(name)),
                more => drop(self.count.insert(name.clone(), more - 1)),
            }
        }
        if let Some((name, lineage)) = &now.listed {
            let _ = self.listed.insert((name.clone(), lineage.clone(), agent.clone()));
            let _ = self.count.insert(name.clone(), self.count(name) + 1);
            if now.available {
                let _ = self.available.insert((name.clone(), agent.clone()));
            }
        }
    }

    /// How many agents have this name that the user sees.
    pub(super) fn count(&self, name: &AgentId) -> usize {
        self.count.get(name).copied().unwrap_or(0)
    }

    /// How many agents take commands now.
    pub(super) fn count_available(&self) -> usize {
        self.available.len()
    }

    /// Two agents that take commands now, as far as there are.
    pub(super) fn available(&self) -> impl Iterator<Item = &AgentId> {
        self.available.iter().map(|(_, agent)| agent).take(2)
    }

    /// Those agents of this name from which it is known which one is meant, however many there are: two that take
    /// commands now, and two whose tokens differ if those of any do.
    pub(super) fn named(&self, name: &AgentId) -> BTreeSet<&AgentId> {
        let first = (name.clone(), None, AgentId::new(""));
        // No text is between a text and the same with a zero behind it.
        let behind = AgentId::new(format!("{}\0", name.as_str()));
        let all = || self.listed.range(first.clone()..(behind.clone(), None, AgentId::new("")));
        let (from, to) = ((name.clone(), AgentId::new("")), (behind.clone(), AgentId::new("")));
        let available = self.available.range(from..to).map(|(_, agent)| agent).take(2);
        // By whose they are: if the last is whose the first is, so are all.
        let ends = all().next().into_iter().chain(all().next_back());
        available.chain(ends.map(|(_, _, agent)| agent)).collect()
    }

    /// An agent was removed.
    pub(super) fn remove(
        &mut self,
        agent: &AgentId,
        key: &AgentKey,
        aliases: &[AgentId],
        name: &str,
        standing: &Standing,
    ) {
        self.stands(agent, standing, &Standing::default());
        self.drop_key(agent, key);
        self.aliases.replace(agent, aliases, &[]);
        self.names.replace(agent, &[AgentId::new(name)], &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_a_name_takes_it_from_those_who_only_go_by_it() {
        let id = |text: &str| AgentId::new(text);
        let mut directory = Directory::new();
        let (one, two) = (id("1"), id("2"));
        assert!(directory.rename(&one, "", "one").is_empty());
        directory.realias(&one, &[], &[id("two")]);
        assert_eq!(directory.rename(&two, "", "two").as_slice(), core::slice::from_ref(&one));
        assert!(directory.is_name_of_another(&id("two"), Some(&one)));
        assert!(!directory.is_name_of_another(&id("two"), Some(&two)));
        directory.remove(&two, &AgentKey::new("k"), &[], "two", &Standing::default());
        assert!(!directory.is_name_of_another(&id("two"), Some(&one)));
    }

    /// However many there are: which one is meant is found among those that are given.
    #[test]
    fn of_many_of_a_name_those_are_given_that_decide() {
        let mut directory = Directory::new();
        let (name, none) = (AgentId::new("crowd"), Standing::default());
        let as_of = |lineage: &str, available| Standing {
            listed: Some((name.clone(), Some(LineageId::new(lineage)))),
            available,
        };
        let id = |n: usize| AgentId::new(format!("{n:04}"));
        for n in 0..1000 {
            directory.stands(&id(n), &none, &as_of("m", n == 500));
        }
        for other in ["crowd0", "crow"] {
            let listed = Some((AgentId::new(other), None));
            directory.stands(&AgentId::new(other), &none, &Standing { listed, available: true });
        }
        let named = directory.named(&name);
        assert!(named.contains(&id(500)) && named.len() == 3, "{named:?}");
        assert_eq!((directory.count(&name), directory.count_available()), (1000, 3));
        assert!(named.iter().all(|agent| !agent.as_str().starts_with("crow")));
        for lineage in ["a", "z"] {
            directory.stands(&id(700), &as_of("m", false), &as_of(lineage, false));
            assert!(directory.named(&name).contains(&id(700)), "another's: {lineage}");
            directory.stands(&id(700), &as_of(lineage, false), &as_of("m", false));
        }
        directory.stands(&id(500), &as_of("m", true), &none);
        assert!(!directory.named(&name).contains(&id(500)));
        assert_eq!((directory.count(&name), directory.count_available()), (999, 2));
    }

    #[test]
    fn a_key_names_the_agent_that_had_it_last() {
        let key = |text: &str| AgentKey::new(text);
        let mut directory = Directory::new();
        let one = AgentId::new("1");
        directory.rekey(&one, None, &key("a"));
        directory.rekey(&one, Some(&key("a")), &key("b"));
        assert_eq!((directory.key_owner(&key("a")), directory.keys()), (None, 1));
        assert_eq!(directory.key_owner(&key("b")), Some(&one));
        assert!(stands_in(&key("name:x")) && stands_in(&key("id:y")) && !stands_in(&key("b")));
    }
}
