//! Who may command whom, and who gets to see what.
//!
//! A user reaches only agents of that user; nothing else about a request, and nothing in its text,
//! decides where it goes (P-90).

use crate::id::{AgentId, CommandId, LineageId};
use crate::model::Subscriptions;
use alloc::vec::Vec;
use thiserror::Error;

/// An agent of the user who asks.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Candidate<'a> {
    pub id: &'a AgentId,
    pub name: &'a str,
    /// Ids it went by before a server taught it this one.
    pub aliases: &'a [AgentId],
    /// Whether it takes commands now.
    pub available: bool,
    /// The tokens that have claimed it.
    pub lineage: Option<&'a LineageId>,
}

/// Why a request reaches no agent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unroutable {
    /// None of the user's agents has this id or name.
    #[error("no agent of yours is called \"{0}\"; list them with `onsembl agents`")]
    NotFound(AgentId),
    /// Several of the user's agents have this name.
    #[error("{count} agents of yours are called \"{wanted}\"; name one by its id")]
    Ambiguous {
        /// What was asked for.
        wanted: AgentId,
        /// How many have that name.
        count: usize,
    },
    /// The request names no agent, and not exactly one could be meant.
    #[error("the request names no agent, and {0} of yours match")]
    Unnamed(usize),
}

/// Finds the agent that a request means: by id, then by name, then by an id that it made itself, which it
/// merely claims; and a request that names none means the only agent that is available. Of several of a name the
/// only one that is available is meant, if the same tokens have claimed them: taking another's name gets an agent nothing.
///
/// # Errors
/// [`Unroutable`]: the requester must name an agent, or another one.
pub fn choose_agent<'a>(
    wanted: Option<&AgentId>,
    agents: &[Candidate<'a>],
) -> Result<&'a AgentId, Unroutable> {
    let Some(wanted) = wanted else {
        let mut available = agents.iter().filter(|a| a.available);
        return match (available.next(), available.count()) {
            (Some(only), 0) => Ok(only.id),
            (first, more) => Err(Unroutable::Unnamed(usize::from(first.is_some()) + more)),
        };
    };
    if let Some(agent) = agents.iter().find(|a| a.id == wanted) {
        return Ok(agent.id);
    }
    let named: Vec<_> = agents.iter().filter(|a| a.name == wanted.as_str()).collect();
    match named.as_slice() {
        [] => match agents.iter().find(|a| a.aliases.contains(wanted)) {
            Some(agent) => Ok(agent.id),
            None => Err(Unroutable::NotFound(wanted.clone())),
        },
        [only] => Ok(only.id),
        [first, ..] if named.iter().any(|other| other.lineage != first.lineage) => {
            Err(Unroutable::Ambiguous { wanted: wanted.clone(), count: named.len() })
        }
        // One that lost its state came back as another agent; who is meant is the one that is there.
        several => match several.iter().filter(|a| a.available).collect::<Vec<_>>().as_slice() {
            [only] => Ok(only.id),
            [] | [..] => {
                Err(Unroutable::Ambiguous { wanted: wanted.clone(), count: several.len() })
            }
        },
    }
}

/// Whether a dashboard with these subscriptions receives the state of this agent.
pub(crate) fn watches_agent(subscriptions: &Subscriptions, agent: &AgentId) -> bool {
    subscriptions.agents.contains(agent.as_str())
}

/// Whether it receives the stages of this command: it does if it watches the command or its agent.
pub(crate) fn watches_command(
    subscriptions: &Subscriptions,
    agent: &AgentId,
    command: &CommandId,
) -> bool {
    subscriptions.commands.contains(command.as_str()) || watches_agent(subscriptions, agent)
}

/// Whether it gets this command's output.
pub(crate) fn watches_output(
    subscriptions: &Subscriptions,
    agent: &AgentId,
    command: &CommandId,
) -> bool {
    subscriptions.terminals && watches_command(subscriptions, agent, command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_before_names_and_ambiguity_is_said() {
        let ids = ["a", "b", "c"].map(AgentId::new);
        let names = ["dev", "dev", "a"];
        let agents: Vec<_> = ids
            .iter()
            .zip(names)
            .map(|(id, name)| {
                let available = name == "a";
                Candidate { id, name, aliases: &[], available, lineage: None }
            })
            .collect();
        let ask = |text: &str| choose_agent(Some(&AgentId::new(text)), &agents);
        assert_eq!(ask("a"), Ok(&ids[0]));
        assert!(matches!(ask("dev"), Err(Unroutable::Ambiguous { count: 2, .. })));
        let mut back = agents.clone();
        back[1].available = true;
        assert_eq!(
            choose_agent(Some(&AgentId::new("dev")), &back),
            Ok(&ids[1]),
            "the one there is"
        );
        back[0].available = true;
        assert!(choose_agent(Some(&AgentId::new("dev")), &back).is_err());
        assert!(matches!(ask("x"), Err(Unroutable::NotFound(_))));
        assert_eq!(choose_agent(None, &agents), Ok(&ids[2]));
        assert_eq!(choose_agent(None, &agents[..2]), Err(Unroutable::Unnamed(0)));
    }

    /// With a leaked token an attacker makes an agent that is called like another, or goes by its name or id.
    #[test]
    fn no_agent_gets_commands_by_the_name_of_another() {
        let (victim, rogue) = (AgentId::new("v"), AgentId::new("r"));
        let (of_victim, of_rogue) = (LineageId::new("1"), LineageId::new("2"));
        let (claimed, none) = ([AgentId::new("dev"), AgentId::new("v")], []);
        let agent = |id, name, lineage, available, aliases| Candidate {
            id,
            name,
            aliases,
            available,
            lineage: Some(lineage),
        };
        let ask = |rogue: Candidate<'_>, text: &str| {
            let agents = [rogue, agent(&victim, "dev", &of_victim, false, &none)];
            choose_agent(Some(&AgentId::new(text)), &agents).cloned()
        };
        let by_alias = agent(&rogue, "harmless", &of_rogue, true, &claimed);
        assert_eq!(ask(by_alias, "dev"), Ok(victim.clone()));
        assert_eq!(ask(by_alias, "v"), Ok(victim.clone()));
        let by_name = agent(&rogue, "dev", &of_rogue, true, &none);
        assert!(matches!(ask(by_name, "dev"), Err(Unroutable::Ambiguous { count: 2, .. })));
        let came_back = Candidate { lineage: Some(&of_victim), ..by_name };
        assert_eq!(ask(came_back, "dev"), Ok(rogue.clone()), "it lost its state");
    }
}
