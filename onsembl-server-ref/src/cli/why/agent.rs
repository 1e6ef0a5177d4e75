//! `why AGENT`: the present, what its drops have in common, the latest of them, and what to do.

use super::Finding;
use onsembl_protocol::model::Cause;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// Drops that are told of to people; --json has all.
pub(in crate::cli) const SHOWN: usize = 5;

#[derive(Debug, Deserialize)]
pub(super) struct AgentAnswer {
    presence: Presence,
    #[serde(flatten)]
    judged: Judged,
    availability: Availability,
    #[serde(default)]
    beats: Beats,
    /// What is wrong now.
    #[serde(default)]
    now: Option<Finding>,
    /// What to do; a server of an earlier version leaves that to its reader.
    #[serde(default = "unsaid", deserialize_with = "said")]
    action: Action,
}

/// What the server says of what to do.
#[derive(Debug)]
enum Action {
    Said(Option<String>),
    Unsaid,
}

const fn unsaid() -> Action {
    Action::Unsaid
}

fn said<'de, D: Deserializer<'de>>(d: D) -> Result<Action, D::Error> {
    Option::deserialize(d).map(Action::Said)
}

/// Where heartbeats stop, if they do.
#[derive(Debug, Default, Deserialize)]
struct Beats {
    trouble: Option<Trouble>,
    /// `both`, or which direction is lost.
    ways: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Trouble {
    hop: String,
    cause: String,
    since: String,
    confidence: String,
}

/// Its drops, and what they have in common: also what a recording says of them.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Judged {
    drops: Vec<Drop>,
    pattern: Option<Finding>,
}

#[derive(Debug, Deserialize)]
struct Presence {
    state: String,
    since: String,
    because: String,
    next_state: Option<String>,
    next_change_at: Option<String>,
    confidence: String,
}

#[derive(Debug, Deserialize)]
struct Drop {
    at: String,
    until: Option<String>,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Debug, Deserialize)]
struct Availability {
    permille: Option<u16>,
    there_ms: u64,
    missing_ms: u64,
}

impl Availability {
    /// The time that is known of, without that in which its machine slept: a new agent has less than was asked
    /// for.
    fn observed(&self) -> humantime::FormattedDuration {
        let seconds = self.there_ms.saturating_add(self.missing_ms) / 1000;
        humantime::format_duration(Duration::from_secs(seconds))
    }
}

impl AgentAnswer {
    /// At most ten lines: the present, the pattern, the latest drops, the availability, and what to do.
    pub(super) fn lines(&self, since: &str) -> Vec<String> {
        let Self { presence, judged, availability, beats, now, action } = self;
        let mut lines = vec![presence.sentences()];
        let trouble = beats.trouble.as_ref().map(|trouble| trouble.sentence(beats.ways.as_deref()));
        // Of an agent that is away its open drop says it.
        let is_told = trouble.is_some() || judged.is_told(now.as_ref());
        let now = now.as_ref().filter(|_| !is_told).map(|now| format!("Now: {}", now.sentence()));
        let present: Vec<String> = trouble.into_iter().chain(now).collect();
        let shown = SHOWN - present.len();
        lines.extend(present);
        lines.extend(judged.lines(shown));
        if let Some(permille) = availability.permille {
            let (whole, tenth) = (permille / 10, permille % 10);
            let drops = match judged.drops.len() {
                0 => "no drop".to_owned(),
                1 => "one drop".to_owned(),
                n => format!("{n} drops"),
            };
            let observed = availability.observed();
            lines.push(format!(
                "It was available {whole}.{tenth} % of {observed}, within the last {since}, with {drops}."
            ));
        }
        lines.extend(match (action, &beats.trouble) {
            (Action::Said(action), _) => {
                action.as_ref().map(|action| format!("What to do: {action}."))
            }
            // What is wrong now goes before what was.
            (Action::Unsaid, Some(trouble)) => {
                Some(format!("What to do: {}.", Cause::parse(&trouble.cause).action()))
            }
            (Action::Unsaid, None) => judged.action(),
        });
        lines
    }
}

impl Judged {
    /// The pattern and this many of the latest drops: at most two lines more.
    pub(in crate::cli) fn lines(&self, shown: usize) -> Vec<String> {
        let Self { drops, pattern } = self;
        let mut lines = Vec::new();
        if let Some(pattern) = pattern {
            lines.push(format!("Pattern: {}", pattern.sentence()));
        }
        let earlier = drops.len().saturating_sub(shown);
        if earlier > 0 {
            lines.push(format!("{earlier} earlier drops are not shown; --json has them"));
        }
        for drop in drops.iter().skip(earlier) {
            let until = drop.until.as_deref().unwrap_or("now");
            lines.push(format!("{} to {until}: {}", drop.at, drop.finding.sentence()));
        }
        lines
    }

    /// Whether the pattern, or the latest drop, tells this already.
    fn is_told(&self, now: Option<&Finding>) -> bool {
        let Some(now) = now else { return true };
        let open = self.drops.last().filter(|drop| drop.until.is_none());
        let told = self.pattern.iter().chain(open.map(|drop| &drop.finding));
        told.into_iter().any(|told| told.cause == now.cause)
    }

    /// What to do about them.
    fn action(&self) -> Option<String> {
        let latest = self.drops.last().map(|drop| &drop.finding);
        let finding = self.pattern.as_ref().or(latest)?;
        Some(format!("What to do: {}.", finding.action()))
    }
}

impl Presence {
    fn sentences(&self) -> String {
        let Self { state, since, because, confidence, .. } = self;
        let now = format!("It is {state} since {since}: {because} (confidence {confidence}).");
        match (&self.next_state, &self.next_change_at) {
            (Some(next), Some(at)) => format!("{now} If nothing happens, it is {next} at {at}."),
            (Some(next), None) => format!("{now} If nothing happens, it is {next} next."),
            (None, _) => format!("{now} It stays so until it connects."),
        }
    }
}

impl Trouble {
    fn sentence(&self, ways: Option<&str>) -> String {
        let Self { hop, cause, since, confidence } = self;
        let text = Cause::parse(cause).text();
        let lost = match ways {
            Some("to-agent-lost") => "; lost to-agent",
            Some("to-server-lost") => "; lost to-server",
            Some(_) | None => "",
        };
        format!(
            "Heartbeats do not reach the hop `{hop}` since {since}: {cause} (confidence {confidence}): {text}{lost}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lines(drops: usize, drop: &Value, pattern: &Value) -> String {
        let told = json!({
            "presence": {
                "state": "online",
                "since": "2026-11-30T12:00:00.000Z",
                "because": "session opened",
                "next_state": "stale",
                "next_change_at": "2026-11-30T12:00:45.000Z",
                "confidence": "high",
                "evidence": {},
            },
            "drops": vec![drop; drops],
            "pattern": pattern,
            "availability": { "permille": 987, "there_ms": 987_000, "missing_ms": 13_000 },
        });
        let told: AgentAnswer = serde_json::from_value(told).unwrap();
        let lines = told.lines("1day");
        assert!(lines.len() <= 10, "{lines:#?}");
        lines.join("\n")
    }

    fn drop(cause: &str, confidence: &str, evidence: &Value) -> Value {
        let (at, until) = ("2026-11-30T11:59:00.000Z", "2026-11-30T11:59:02.000Z");
        json!({ "at": at, "until": until, "cause": cause, "confidence": confidence, "evidence": evidence })
    }

    #[test]
    fn what_is_wrong_now_is_named_with_its_direction_and_goes_before_what_was() {
        let told = |now: &Value, beats: &Value, action: Option<&str>| {
            let told = json!({
                "presence": {
                    "state": "stale",
                    "since": "2026-11-30T12:00:00.000Z",
                    "because": "no frame from the agent for 45s",
                    "confidence": "low",
                },
                "drops": [drop("server-busy", "low", &json!({}))],
                "pattern": null,
                "now": now,
                "action": action,
                "beats": beats,
                "availability": { "permille": 987, "there_ms": 987_000, "missing_ms": 13_000 },
            });
            let told: AgentAnswer = serde_json::from_value(told).unwrap();
            told.lines("1day").join("\n")
        };
        let silent = json!({ "cause": "network-one-way-or-cut", "confidence": "low" });
        let text = told(&silent, &json!({}), Some("look there"));
        assert!(text.contains("\nNow: network-one-way-or-cut (confidence low)"), "{text}");
        assert!(text.ends_with("What to do: look there."), "{text}");
        let trouble = json!({
            "hop": "received", "cause": "network-one-way", "since": "2026-11-30T12:00:00.000Z", "confidence": "high",
        });
        let beats = json!({ "trouble": trouble, "ways": "to-agent-lost" });
        let text = told(&Value::Null, &beats, None);
        assert!(text.contains("; lost to-agent\n"), "{text}");
        assert!(!text.contains("What to do"), "{text}");
    }

    #[test]
    fn a_timer_in_between_is_named_with_its_seconds_and_what_to_do() {
        let evidence = json!({ "idle_timeout_ms": 60_000, "times": 9 });
        let pattern = json!({ "cause": "middlebox-idle-timeout", "confidence": "high", "evidence": evidence });
        let text = lines(9, &drop("network-cut", "low", &json!({ "quiet_ms": 60_010 })), &pattern);
        for part in [
            "middlebox-idle-timeout",
            "idle timeout 60s, times 9",
            "`--heartbeat-interval` below",
            "4 earlier drops",
            "98.7 %",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn two_processes_of_one_identity_are_named_and_what_to_do() {
        let evidence = json!({ "times": 10, "within_ms": 10_000 });
        let pattern = json!({ "cause": "instances-evict-each-other", "confidence": "high", "evidence": evidence });
        let text = lines(10, &drop("second-instance", "high", &json!({})), &pattern);
        for part in
            ["instances-evict-each-other", "times 10, within 10s", "a state directory of its own"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_single_drop_is_named_with_its_evidence_and_what_to_do() {
        let evidence = json!({ "stage": "resolve", "errno": "EAI_AGAIN", "dials": 12 });
        let text = lines(1, &drop("name-resolution", "high", &evidence), &Value::Null);
        assert_eq!(
            text,
            "It is online since 2026-11-30T12:00:00.000Z: session opened (confidence high). \
             If nothing happens, it is stale at 2026-11-30T12:00:45.000Z.\n\
             2026-11-30T11:59:00.000Z to 2026-11-30T11:59:02.000Z: name-resolution (confidence high): \
             the name of the server could not be resolved; dials 12, errno EAI_AGAIN, stage resolve\n\
             It was available 98.7 % of 16m 40s, within the last 1day, with one drop.\n\
             What to do: check the server's name and the resolver of the agent's machine.",
        );
        assert!(lines(0, &Value::Null, &Value::Null).ends_with("with no drop."));
    }
}
