//! What people mean: agents by name or id, commands and tokens by id, and each id also by its beginning or its end.

use super::remote::{NOT_OURS, PATIENCE, Remote, escape, read};
use anyhow::{Context as _, bail};
use onsembl_protocol::fleet::{Candidate, Unroutable, choose_agent};
use onsembl_protocol::id::{AgentId, CommandId, LineageId};
use onsembl_protocol::shown::Shown;
use serde::Deserialize;
use serde_json::Value;

/// Characters of a shortened id, at least.
const LEAST: usize = 4;
/// Characters of an id that lists show: its end, which is random where its beginning is a time.
const SHOWN: usize = 8;
/// Ids up to this long are shown whole.
const WHOLE: usize = 12;
/// Candidates that are named.
const NAMED: usize = 6;
/// The latest commands, among which a shortened id is looked for.
const LOOKED_AT: usize = 10_000;

/// An id as lists show it.
pub(super) fn short_id(id: &str) -> String {
    let count = id.chars().count();
    if count <= WHOLE { id.to_owned() } else { id.chars().skip(count - SHOWN).collect() }
}

/// Whether `text` is short for `id`.
fn is_short_for(text: &str, id: &str) -> bool {
    text.chars().count() >= LEAST && (id.starts_with(text) || id.ends_with(text))
}

/// The only id that `text` is short for; `None` if there is none.
///
/// # Errors
/// There are several; the text lists them. `what` says of what they are.
pub(super) fn by_short_id<'a>(
    text: &str,
    ids: impl IntoIterator<Item = &'a str>,
    what: &str,
) -> anyhow::Result<Option<&'a str>> {
    let mut meant = ids.into_iter().filter(|id| is_short_for(text, id));
    let (Some(first), second) = (meant.next(), meant.next()) else { return Ok(None) };
    let Some(second) = second else { return Ok(Some(first)) };
    let mut named: Vec<&str> = [first, second].into_iter().chain(meant.by_ref()).collect();
    let count = named.len();
    named.truncate(NAMED);
    let more = if count > NAMED { ", …" } else { "" };
    bail!("{text:?} is ambiguous: it is short for {count} {what}: {}{more}", named.join(", "))
}

/// What the client commands need to know of an agent.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct KnownAgent {
    pub(super) agent_id: AgentId,
    pub(super) name: String,
    #[serde(default)]
    status: String,
    /// The tokens that hold it.
    #[serde(default)]
    token_lineage: Option<LineageId>,
}

impl KnownAgent {
    /// Whether it is there.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.status.as_str(), "online" | "stale" | "error")
    }
}

impl Remote {
    /// The agents there are.
    pub(super) fn agents(&self) -> anyhow::Result<Vec<KnownAgent>> {
        read(self.list("/api/agents?with=token", "agents", usize::MAX)?)
    }

    /// The agent of this name or id.
    pub(super) fn find_agent(&self, wanted: &str) -> anyhow::Result<AgentId> {
        self.look_for_agent(wanted)?.map_err(|why| anyhow::anyhow!("{why}"))
    }

    /// The agent of this id, or all of this name.
    pub(super) fn find_agents(&self, wanted: &str) -> anyhow::Result<Vec<AgentId>> {
        let agents = self.agents()?;
        if let Some(agent) = agents.iter().find(|agent| agent.agent_id.as_str() == wanted) {
            return Ok(vec![agent.agent_id.clone()]);
        }
        let named = agents.into_iter().filter(|agent| agent.name == wanted);
        let named: Vec<AgentId> = named.map(|agent| agent.agent_id).collect();
        // One that goes by another of its ids; or none, with the reason.
        if named.is_empty() { Ok(vec![self.find_agent(wanted)?]) } else { Ok(named) }
    }

    /// The agent of this name or id, or why none is meant.
    pub(super) fn look_for_agent(&self, wanted: &str) -> anyhow::Result<Result<AgentId, String>> {
        choose(&self.agents()?, wanted)
    }

    /// The id of the command that is meant: that of this id, or the only one that it is short for.
    pub(super) fn find_command(&self, wanted: &str) -> anyhow::Result<CommandId> {
        let found = self.look_for_command(wanted)?;
        found.context("no command of yours has this id; `onsembl commands` lists them")
    }

    /// The same; `None` if there is none.
    pub(super) fn look_for_command(&self, wanted: &str) -> anyhow::Result<Option<CommandId>> {
        if self.find(&format!("/api/commands/{}", escape(wanted)), PATIENCE)?.is_some() {
            return Ok(Some(CommandId::new(wanted)));
        }
        if wanted.chars().count() < LEAST {
            return Ok(None);
        }
        let commands = self.list("/api/commands", "commands", LOOKED_AT)?;
        let ids: Option<Vec<&str>> = commands.iter().map(command_id).collect();
        let found = by_short_id(wanted, ids.context(NOT_OURS)?, "commands")?;
        Ok(found.map(CommandId::new))
    }
}

fn command_id(command: &Value) -> Option<&str> {
    command.get("command_id")?.as_str()
}

/// The agent of this name or id, or the only one whose id this is short for.
fn choose(agents: &[KnownAgent], wanted: &str) -> anyhow::Result<Result<AgentId, String>> {
    let candidates: Vec<Candidate<'_>> = agents
        .iter()
        .map(|a| {
            let lineage = a.token_lineage.as_ref();
            let available = a.is_there();
            Candidate { id: &a.agent_id, name: &a.name, aliases: &[], available, lineage }
        })
        .collect();
    let why = match choose_agent(Some(&AgentId::new(wanted)), &candidates) {
        Ok(agent) => return Ok(Ok(agent.clone())),
        Err(why) => why,
    };
    match &why {
        Unroutable::NotFound(_) => {
            let ids = agents.iter().map(|agent| agent.agent_id.as_str());
            if let Some(id) = by_short_id(wanted, ids, "agents")? {
                return Ok(Ok(AgentId::new(id)));
            }
            Ok(Err(why.to_string()))
        }
        Unroutable::Ambiguous { .. } => {
            let named = agents.iter().filter(|agent| agent.name == wanted).take(NAMED);
            let named: Vec<String> = named
                .map(|agent| {
                    let (id, status) = (agent.agent_id.as_str(), &agent.status);
                    format!("{} ({})", Shown::new(id), Shown::new(status))
                })
                .collect();
            Ok(Err(format!("{why}: {}", named.join(", "))))
        }
        Unroutable::Unnamed(_) => Ok(Err(why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str, name: &str) -> KnownAgent {
        KnownAgent {
            agent_id: AgentId::new(id),
            name: name.to_owned(),
            status: "offline".to_owned(),
            token_lineage: None,
        }
    }

    fn chosen(wanted: &str) -> Result<String, String> {
        let agents = [
            agent("0193-aaaa-1111", "ada"),
            agent("0193-bbbb-2222", "bob"),
            agent("0194-cccc-3333", "twin"),
            agent("0194-dddd-4444", "twin"),
        ];
        match choose(&agents, wanted) {
            Ok(Ok(agent)) => Ok(agent.as_str().to_owned()),
            Ok(Err(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn an_id_may_be_short_at_either_end_if_one_is_meant() {
        assert_eq!(chosen("ada").unwrap(), "0193-aaaa-1111");
        assert_eq!(chosen("0193-aaaa-1111").unwrap(), "0193-aaaa-1111");
        assert_eq!(chosen("2222").unwrap(), "0193-bbbb-2222");
        assert_eq!(chosen("0193-b").unwrap(), "0193-bbbb-2222");
        let why = chosen("0193").unwrap_err();
        assert!(why.contains("0193-aaaa-1111") && why.contains("0193-bbbb-2222"), "{why}");
        let why = chosen("twin").unwrap_err();
        assert!(
            why.contains("0194-cccc-3333 (offline)") && why.contains("0194-dddd-4444"),
            "{why}"
        );
        assert!(chosen("222").is_err(), "too short");
        assert!(chosen("eve").is_err());
    }

    #[test]
    fn many_candidates_are_not_all_listed() {
        let ids: Vec<String> = (0..40).map(|n| format!("same-{n:02}")).collect();
        let why = by_short_id("same", ids.iter().map(String::as_str), "commands").unwrap_err();
        let why = why.to_string();
        assert!(why.contains("40 commands") && why.ends_with('…') && why.len() < 120, "{why}");
    }

    #[test]
    fn the_end_of_a_long_id_is_shown() {
        assert_eq!(short_id("cmd-0193aaaa-bbbb-7ccc-8ddd-eeeeffff0001"), "ffff0001");
        assert_eq!(short_id("5f0c8a91"), "5f0c8a91");
    }
}
