//! `why --all`: incidents first, then the agents that are away or unwell, then how many are well.

use super::{Finding, apart};
use serde::Deserialize;

/// Incidents and agents that are told of to people, so that it is one screen; --json has all.
const INCIDENTS: usize = 3;
const AGENTS: usize = 12;

#[derive(Debug, Deserialize)]
pub(super) struct FleetAnswer {
    incidents: Vec<Incident>,
    agents: Vec<Agent>,
    total: usize,
    well: usize,
    #[serde(default)]
    not_listed: usize,
    #[serde(default)]
    not_judged: usize,
}

#[derive(Debug, Deserialize)]
struct Incident {
    from: String,
    until: String,
    agents: usize,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Debug, Deserialize)]
struct Agent {
    name: String,
    state: String,
    since: String,
    because: String,
    #[serde(flatten)]
    finding: Finding,
}

impl FleetAnswer {
    pub(super) fn lines(&self, since: &str) -> Vec<String> {
        let Self { incidents, agents, total, well, not_listed, not_judged } = self;
        let mut lines = Vec::new();
        let earlier = incidents.len().saturating_sub(INCIDENTS);
        // The latest is what people ask for.
        for incident in incidents.iter().skip(earlier).rev() {
            lines.push(incident.sentence());
            lines.push(format!("  What to do: {}.", incident.finding.action()));
        }
        if earlier > 0 {
            lines.push(format!(
                "{earlier} earlier incidents within the last {since} are not shown; --json has them"
            ));
        }
        lines.extend(agents.iter().take(AGENTS).map(Agent::sentence));
        let left_out = agents.len().saturating_sub(AGENTS) + not_listed;
        if left_out > 0 {
            lines.push(format!(
                "{left_out} more agents are away or unhealthy; see `onsembl agents`"
            ));
        }
        lines.push(match (total, well) {
            (0, _) => "no agents yet; start one with `onsembl-agent run`".to_owned(),
            (1, 1) => "The only agent is healthy.".to_owned(),
            (total, well) if total == well => format!("All {total} agents are healthy."),
            (total, well) => format!("{well} of {total} agents are healthy."),
        });
        if *not_judged > 0 {
            lines.push(format!(
                "{not_judged} of them were not checked for drops, for lack of memory; a shorter --since needs less"
            ));
        }
        lines
    }
}

impl Incident {
    fn sentence(&self) -> String {
        let Self { from, until, agents, finding } = self;
        let whom = match agents {
            0 => "no agent dropped".to_owned(),
            1 => "one agent dropped".to_owned(),
            more => format!("{more} agents dropped"),
        };
        let lasted = apart(from, until).map(|time| format!(" ({time})")).unwrap_or_default();
        format!("Incident from {from} to {until}{lasted}, {whom}: {}", finding.sentence())
    }
}

impl Agent {
    fn sentence(&self) -> String {
        let Self { name, state, since, because, finding } = self;
        let Finding { cause, confidence, evidence } = finding;
        let on = if evidence.is_empty() { String::new() } else { format!("; {evidence}") };
        let action = finding.action();
        format!(
            "{name} is {state} since {since}: {because}. {cause} (confidence {confidence}{on}). What to do: {action}."
        )
    }
}
