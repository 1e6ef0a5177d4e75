//! `agents --watch` where it is no screen: each agent at first, and again whenever it has changed.

use super::print;
use super::view::{Format, View};
use onsembl_protocol::time::WallTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What differs from one look to the next of an agent in which nothing happens.
const MEASURED: [&str; 5] =
    ["last_heartbeat", "last_metrics", "beats", "next_change_at", "evidence"];

/// The agents as they were when they were last told of, by their ids, without what is measured.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeMap<String, Value>);

/// What has changed since.
#[derive(Debug, PartialEq)]
pub(super) enum Change<'a> {
    /// It is new, or otherwise than before.
    Is(&'a Value),
    /// It is listed no more: forgotten.
    Gone { id: String, name: String },
}

impl Watched {
    /// What to tell of the list as it is now.
    pub(super) fn changes<'a>(&mut self, agents: &'a [Value]) -> Vec<Change<'a>> {
        let mut before = std::mem::take(&mut self.0);
        let mut changes = Vec::new();
        for agent in agents {
            let (id, now) = (text(agent, "agent_id").to_owned(), lasting(agent));
            if before.remove(&id).is_none_or(|then| then != now) {
                changes.push(Change::Is(agent));
            }
            let _ = self.0.insert(id, now);
        }
        let gone = before.into_iter().map(|(id, then)| {
            let name = text(&then, "name").to_owned();
            Change::Gone { id, name }
        });
        changes.extend(gone);
        changes
    }
}

/// An entry without what is measured.
fn lasting(agent: &Value) -> Value {
    let mut lasting = agent.clone();
    if let Value::Object(fields) = &mut lasting {
        fields.retain(|field, _| !MEASURED.contains(&field.as_str()));
    }
    lasting
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Prints a line for each change. `named` is how an agent is named where others have its name, `because` why it is as
/// it is.
pub(super) fn print(
    changes: &[Change<'_>],
    view: View,
    now: WallTime,
    named: impl Fn(&Value) -> String,
    because: impl Fn(&Value) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    for change in changes {
        match (view.format, change) {
            (Format::Json | Format::Jsonl, Change::Is(agent)) => print::json(agent)?,
            (Format::Json | Format::Jsonl, Change::Gone { id, name }) => {
                print::json(json!({ "agent_id": id, "name": name, "removed": true }))?;
            }
            (Format::Name, Change::Is(agent)) => print::line(named(agent))?,
            // No command takes that name any more.
            (Format::Name, Change::Gone { .. }) => {}
            (Format::Table | Format::Wide, Change::Is(agent)) => {
                let (name, status, why) = (named(agent), text(agent, "status"), because(agent)?);
                print::line(format_args!("{now}  {name}  {status}: {why}"))?;
            }
            (Format::Table | Format::Wide, Change::Gone { name, .. }) => {
                print::line(format_args!("{now}  {name}  forgotten"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str, status: &str, beat: &str) -> Value {
        json!({ "agent_id": id, "name": format!("name of {id}"), "status": status, "last_heartbeat": beat })
    }

    #[test]
    fn an_agent_is_told_of_once_and_again_when_it_changed_or_is_gone() {
        let mut watched = Watched::default();
        let first = [agent("a", "online", "1"), agent("b", "online", "1")];
        assert_eq!(watched.changes(&first), [Change::Is(&first[0]), Change::Is(&first[1])]);
        let beats = [agent("a", "online", "2"), agent("b", "online", "2")];
        assert_eq!(watched.changes(&beats), [], "a heartbeat is no news");
        let stale = [agent("a", "online", "3"), agent("b", "stale", "2")];
        assert_eq!(watched.changes(&stale), [Change::Is(&stale[1])]);
        let one = [agent("a", "online", "4")];
        let gone = Change::Gone { id: "b".to_owned(), name: "name of b".to_owned() };
        assert_eq!(watched.changes(&one), [gone]);
        assert_eq!(watched.changes(&one), []);
        let back = [agent("a", "online", "4"), agent("b", "online", "5")];
        assert_eq!(watched.changes(&back), [Change::Is(&back[1])]);
    }
}
