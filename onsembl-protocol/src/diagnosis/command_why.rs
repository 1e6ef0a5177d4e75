//! What a command waits for, or what became of it, step by step: one sentence, decided from what its fleet and the
//! store say of it, and from the explanation of its agent.
//!
//! A command is where its lifecycle says (`command/lifecycle/`); nothing here moves it. What is added is what it
//! waits for, and who can do something about that.

use super::explanation::{Explanation, rfc3339, rfc3339_if};
use super::known_command::{
    AgentOf, CommandStep, KnownCommand, LinkRead, MissingOutput, OrderInForce, Sent, Standing,
    WaitsFor, shell_quoted,
};
use super::obstacles::{Obstacle, obstacles, paused};
use super::record::between;
use crate::id::CommandId;
use crate::model::{Cause, CommandPhase, Finding};
use crate::session::PresenceStatus;
use crate::time::{Human, WallTime};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use serde::Serialize;

/// Why a command is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct CommandWhy {
    pub command_id: CommandId,
    pub status: CommandPhase,
    /// When it came there.
    #[serde(serialize_with = "rfc3339")]
    pub since: WallTime,
    /// What it waits for; `None` if it is over.
    pub waits_for: Option<WaitsFor>,
    /// What it waits for, or what became of it, for people.
    pub summary: String,
    /// What a person can do; `None` if there is nothing to do.
    pub action: Option<String>,
    /// While it is not started: all that keeps it from that, what has to go first before the rest.
    pub waits_on: Vec<Obstacle>,
    /// How it came there, the oldest first.
    pub steps: Vec<CommandStep>,
    /// When the latest of its output came that is stored.
    #[serde(serialize_with = "rfc3339_if")]
    pub last_output: Option<WallTime>,
    /// What is missing of its output, for people, a sentence a stream.
    pub gaps: Vec<String>,
}

impl CommandWhy {
    /// Tells of a command at this moment.
    #[must_use]
    pub fn of(known: KnownCommand, now: WallTime) -> Self {
        let Saying { waits_for, summary, action } =
            known.saying(now).of_silent(known.agent.as_ref());
        let gaps = known.missing.iter().filter_map(missing).collect();
        let waits_on = obstacles(&known);
        Self {
            command_id: known.command,
            status: known.status,
            since: known.since,
            waits_for,
            summary,
            action,
            waits_on,
            steps: known.steps,
            last_output: known.last_output,
            gaps,
        }
    }
}

/// What is decided of a command.
struct Saying {
    waits_for: Option<WaitsFor>,
    summary: String,
    action: Option<String>,
}

impl Saying {
    /// Of an agent that is in session and silent, all that is said is as of when it was last heard.
    fn of_silent(self, agent: Option<&AgentOf>) -> Self {
        let silent = agent.filter(|agent| agent.presence.state == PresenceStatus::Stale);
        let of_agent = self.waits_for.filter(|waits| waits.is_for_what_agent_does());
        let (Some(agent), Some(_)) = (silent, of_agent) else { return self };
        let AgentOf { name, presence: Explanation { since, because, .. }, .. } = agent;
        Self {
            summary: format!(
                "{} Its agent {name} is silent since {since} ({because}); its last known state is shown.",
                self.summary
            ),
            action: Some(format!("`onsembl why {}`", shell_quoted(name))),
            ..self
        }
    }
}

fn waits(waits_for: WaitsFor, summary: String, action: impl Into<Option<String>>) -> Saying {
    Saying { waits_for: Some(waits_for), summary, action: action.into() }
}

impl KnownCommand {
    fn saying(&self, now: WallTime) -> Saying {
        let Self { status, because, .. } = self;
        match status {
            CommandPhase::Pending => self.awaits_store(),
            CommandPhase::Queued => self.queued(),
            CommandPhase::Delivered => self.delivered(),
            CommandPhase::Running => self.running(now),
            CommandPhase::Cancelling => self.cancelling(),
            CommandPhase::Completed => self.over("It ended well", None),
            CommandPhase::Failed => {
                let id = shell_quoted(self.command.as_str());
                self.over("It failed", Some(format!("look at `onsembl output {id}`")))
            }
            CommandPhase::Cancelled => self.over("It was cancelled, and that is confirmed", None),
            CommandPhase::Lost => self.over(
                "Its end was not observed, and its processes are confirmed to have ended",
                Some("run it again if a partial run does no harm".into()),
            ),
            CommandPhase::OutcomeUnknown => self.over(
                "It is over for this server, and whether it completed is unknown",
                Some("check on the agent's machine what it did before running it again".into()),
            ),
            CommandPhase::Unknown(word) => Saying {
                waits_for: None,
                summary: format!("It is {word}, which this version does not know: {because}."),
                action: None,
            },
        }
    }

    fn over(&self, how: &str, action: Option<String>) -> Saying {
        let Self { since, because, .. } = self;
        Saying { waits_for: None, summary: format!("{how} (at {since}): {because}."), action }
    }

    fn awaits_store(&self) -> Saying {
        let (why, action) = match &self.store {
            Some(store) => (format!(": {store}"), Some("check the server's disk and database")),
            None => (String::new(), None),
        };
        let summary = format!("{}{why}.", sentence(WaitsFor::Store));
        waits(WaitsFor::Store, summary, action.map(String::from))
    }

    fn queued(&self) -> Saying {
        let Some(agent) = &self.agent else { return self.without_agent() };
        // Also of one that is away: it starts nothing when it is back.
        if let OrderInForce::Stopped { .. } = agent.order
            && let Some(blocked) = agent.blocked_by_order()
        {
            return blocked;
        }
        let sent = self.standing.map_or(Sent::Never, |standing| standing.sent);
        if !agent.is_there() {
            let what = match sent {
                Sent::Never => "it will be sent when the agent is back",
                Sent::Times(..) | Sent::Maybe => {
                    "it may have been sent already; the agent reports that when it is back, and does not run it twice"
                }
            };
            return self.awaits_agent(agent, what);
        }
        if let Some(blocked) = agent.blocked_by_order() {
            return blocked;
        }
        let Some(standing) = self.standing else {
            let summary = format!("It waits for {}: {}.", agent.name, self.because);
            return waits(WaitsFor::Turn, summary, None);
        };
        match (standing.sent, standing.slots) {
            (Sent::Times(times, ago), _) => {
                let often = if times == 1 { "once".into() } else { format!("{times} times") };
                let summary = format!(
                    "It was sent to {} {often}, last {} ago, and is not acknowledged yet{}.",
                    agent.name,
                    Human(ago),
                    standing.read_pause()
                );
                let action = format!(
                    "if this lasts longer than a minute, `onsembl why {}`",
                    shell_quoted(&agent.name)
                );
                waits(WaitsFor::Acknowledgement, summary, action)
            }
            (Sent::Never | Sent::Maybe, Some(slots)) if standing.occupied >= slots => {
                let summary = format!(
                    "It waits for its turn: {} runs {} of at most {slots} commands, and {} before it{}.",
                    agent.name,
                    standing.occupied,
                    match standing.ahead {
                        0 => "none comes".into(),
                        1 => "one comes".into(),
                        more => format!("{more} come"),
                    },
                    standing.read_pause()
                );
                let action = "wait, or cancel a running one (`onsembl commands`)".to_string();
                waits(WaitsFor::Turn, summary, action)
            }
            (Sent::Never | Sent::Maybe, Some(_) | None) => {
                let summary = format!("It is its turn: it is about to be sent to {}.", agent.name);
                waits(WaitsFor::Turn, summary, None)
            }
        }
    }

    fn delivered(&self) -> Saying {
        let Some(agent) = &self.agent else { return self.without_agent() };
        if !agent.is_there() {
            let what = "it has the command, and says what became of it when it is back";
            return self.awaits_agent(agent, what);
        }
        if let Some(blocked) = agent.blocked_by_order() {
            return blocked;
        }
        let summary = format!(
            "{} has had it since {} and has not started it{}: {}.",
            agent.name,
            self.since,
            self.read_pause(),
            self.because
        );
        let action = "see what else the agent runs (`onsembl commands --agent`)";
        waits(WaitsFor::Start, summary, action.to_string())
    }

    fn running(&self, now: WallTime) -> Saying {
        let Some(agent) = &self.agent else { return self.without_agent() };
        if !agent.is_there() {
            let what =
                "its process may still be running; the agent reports how it ended when it is back";
            return self.awaits_agent(agent, what);
        }
        let output = match self.last_output {
            Some(at) => format!("its latest stored output came {} ago", Human(between(at, now))),
            None => "it has written no output yet".into(),
        };
        let running = |step: &&CommandStep| step.status == CommandPhase::Running;
        let started = self.steps.iter().find(running).map_or(self.since, |step| step.at);
        let summary = format!(
            "It runs on {} since {started}{}: {}; {output}.",
            agent.name,
            self.read_pause(),
            self.because
        );
        waits(WaitsFor::End, summary, None)
    }

    fn cancelling(&self) -> Saying {
        let Some(agent) = &self.agent else { return self.without_agent() };
        if !agent.is_there() {
            let what = "it is cancelled when the agent is back, if it still runs";
            return self.awaits_agent(agent, what);
        }
        let summary = format!(
            "Its cancellation was requested from {} at {}: {}{}.",
            agent.name,
            self.since,
            self.because,
            self.read_pause()
        );
        let id = shell_quoted(self.command.as_str());
        let action = format!("`onsembl cancel --force {id}` kills it without a grace period");
        waits(WaitsFor::CancelConfirmation, summary, action)
    }

    /// Its agent was deleted, and it will end for that.
    fn without_agent(&self) -> Saying {
        let summary =
            format!("It is {}, and its agent no longer exists: {}.", self.status, self.because);
        waits(WaitsFor::Agent, summary, None)
    }

    fn awaits_agent(&self, agent: &AgentOf, what: &str) -> Saying {
        let AgentOf { name, presence, finding, .. } = agent;
        let Explanation { state, since, because, .. } = presence;
        let (cause, action) = match finding {
            Some(Finding { cause, confidence, evidence }) if *cause != Cause::Unknown => {
                let on = if evidence.is_empty() { String::new() } else { format!("; {evidence}") };
                (format!(" ({cause}, confidence {confidence}{on})"), cause.action())
            }
            Some(_) | None => (String::new(), Cause::Unknown.action()),
        };
        let summary = format!(
            "It is {} and its agent {name} is {state} since {since}: {because}{cause}. {}.",
            self.status,
            capitalised(what)
        );
        waits(WaitsFor::Agent, summary, action.to_string())
    }

    fn read_pause(&self) -> &'static str {
        self.standing.map_or("", |standing| standing.read_pause())
    }
}

impl Standing {
    const fn read_pause(&self) -> &'static str {
        match self.read {
            LinkRead::Read => "",
            LinkRead::Paused => {
                " (reading from the agent is paused until half of its output is stored, so its messages are delayed)"
            }
        }
    }
}

impl AgentOf {
    fn blocked_by_order(&self) -> Option<Saying> {
        let (name, quoted) = (&self.name, shell_quoted(&self.name));
        match &self.order {
            OrderInForce::None => None,
            OrderInForce::Paused { by, since } => Some(waits(
                WaitsFor::Resume,
                format!(
                    "Its agent {name} {}, and starts nothing until it is resumed.",
                    paused(by.as_deref(), *since)
                ),
                format!("`onsembl control {quoted} resume`"),
            )),
            OrderInForce::Stopped { by, at, reason } => Some(waits(
                WaitsFor::Release,
                format!(
                    "An emergency stop by {by} at {at} ({reason}) is in force: nothing starts."
                ),
                format!("`onsembl release {quoted}`, or `release --all`"),
            )),
        }
    }
}

fn missing(of: &MissingOutput) -> Option<String> {
    let MissingOutput { stream, bytes, open } = of;
    match (*bytes, open) {
        (0, None) => None,
        (0, Some(why)) => Some(format!("the rest of {stream} is missing: {why}")),
        (bytes, None) => Some(format!("{bytes} bytes of {stream} are missing")),
        (bytes, Some(why)) => {
            Some(format!("{bytes} bytes of {stream} are missing, and the rest of it: {why}"))
        }
    }
}

fn sentence(of: WaitsFor) -> String {
    capitalised(of.text())
}

fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}
