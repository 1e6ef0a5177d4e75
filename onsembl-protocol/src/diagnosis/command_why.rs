//! What a command waits for, or what became of it, step by step: one sentence, decided from what its fleet and the
//! store say of it, and from the explanation of its agent.
//!
//! A command is where its lifecycle says (`command/lifecycle/`); nothing here moves it. What is added is what it
//! waits for, and who can do something about that.

use super::explanation::{Explanation, rfc3339, rfc3339_if};
use super::record::between;
use crate::id::CommandId;
use crate::model::{Cause, CommandPhase, Finding, GapCause, Stream};
use crate::session::PresenceStatus;
use crate::time::{Human, WallTime};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::{Serialize, Serializer};

/// What a command waits for. The ids are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitsFor {
    /// The database, which has not taken it yet.
    Store,
    /// Its agent, which is away.
    Agent,
    /// The release of an emergency stop.
    Release,
    /// That its agent is resumed: it was paused.
    Resume,
    /// Its turn: a free slot of its agent.
    Turn,
    /// The acknowledgement of its agent, to which it was sent.
    Acknowledgement,
    /// Its start, by the agent that has it.
    Start,
    /// Its end: it runs.
    End,
    /// The confirmation that it was cancelled.
    CancelConfirmation,
}

impl WaitsFor {
    /// All of them, in the order of a command's life.
    pub const ALL: [Self; 9] = [
        Self::Store,
        Self::Agent,
        Self::Release,
        Self::Resume,
        Self::Turn,
        Self::Acknowledgement,
        Self::Start,
        Self::End,
        Self::CancelConfirmation,
    ];

    /// Its id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Agent => "agent",
            Self::Release => "release",
            Self::Resume => "resume",
            Self::Turn => "turn",
            Self::Acknowledgement => "acknowledgement",
            Self::Start => "start",
            Self::End => "end",
            Self::CancelConfirmation => "cancel-confirmation",
        }
    }

    /// Whether the agent has it, or is about to, and says how far it is.
    const fn is_for_what_agent_does(self) -> bool {
        match self {
            Self::Turn
            | Self::Acknowledgement
            | Self::Start
            | Self::End
            | Self::CancelConfirmation => true,
            Self::Store | Self::Agent | Self::Release | Self::Resume => false,
        }
    }

    /// What that means, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Store => {
                "the database has not taken the command yet; it was neither accepted nor sent"
            }
            Self::Agent => "its agent is away",
            Self::Release => "an emergency stop is in force",
            Self::Resume => "its agent is paused, and starts nothing",
            Self::Turn => "every slot of its agent is taken",
            Self::Acknowledgement => "it was sent, and its agent has not acknowledged it",
            Self::Start => "its agent has it and has not started it",
            Self::End => "its process runs",
            Self::CancelConfirmation => {
                "it was cancelled, and its agent has not confirmed that its processes ended"
            }
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WaitsFor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// How often a command was sent to its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was not.
    Never,
    /// So often; the last time this long ago.
    Times(u8, Duration),
    /// An earlier run of the server may have done it.
    Maybe,
}

/// Where a command that is not over stands with its fleet, beside what is published of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How often it was sent.
    pub sent: Sent,
    /// Commands whose turn comes before it.
    pub ahead: usize,
    /// Commands that occupy a slot of its agent.
    pub occupied: usize,
    /// How many commands its agent runs at once; `None` if it has no queue.
    pub slots: Option<usize>,
    /// Whether its agent's link is read. It is not while too much of the output waits for the database.
    pub read: LinkRead,
}

/// Whether the link of an agent is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum LinkRead {
    Read,
    /// Not until half of the output that waits for the database is stored.
    HeldBack,
}

/// What is known of the agent of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentOf {
    pub name: String,
    pub presence: Explanation,
    /// Why it is away, if it is and that is known.
    pub finding: Option<Finding>,
    /// What keeps it from starting anything, by order.
    pub order: OrderInForce,
}

/// What keeps an agent from starting anything, by order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum OrderInForce {
    None,
    Paused,
    /// An emergency stop is in force.
    Stopped {
        /// Who ordered it.
        by: String,
        at: WallTime,
        reason: String,
    },
}

/// One change of a command's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandStep {
    #[serde(serialize_with = "rfc3339")]
    pub at: WallTime,
    /// What it was from then on.
    pub status: CommandPhase,
    pub because: String,
}

/// What is missing of one stream of a command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct MissingOutput {
    pub stream: Stream,
    /// Bytes in declared gaps.
    pub bytes: u64,
    /// Why the stream ends with a gap of unknown length, if it does.
    pub open: Option<GapCause>,
}

/// What is known of a command: of its row, of its fleet, of its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct KnownCommand {
    pub command: CommandId,
    pub status: CommandPhase,
    /// When it came there.
    pub since: WallTime,
    pub because: String,
    /// How it came there, the oldest first.
    pub steps: Vec<CommandStep>,
    /// Where it stands; `None` if it is over, or its fleet did not say.
    pub standing: Option<Standing>,
    /// Its agent; `None` if that was deleted.
    pub agent: Option<AgentOf>,
    /// When the latest of its output came that is stored.
    pub last_output: Option<WallTime>,
    /// What is missing of its output, without what was cut as too old.
    pub missing: Vec<MissingOutput>,
    /// What keeps the database from taking anything, if it takes nothing.
    pub store: Option<String>,
}

/// Why a command is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
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
        Self {
            command_id: known.command,
            status: known.status,
            since: known.since,
            waits_for,
            summary,
            action,
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
                "{} Its agent {name} is silent since {since} ({because}): what is said of it is as of before.",
                self.summary
            ),
            action: Some(format!("`onsembl-server why {}`", shell_quoted(name))),
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
                self.over("It failed", Some(format!("look at `onsembl-server output {id}`")))
            }
            CommandPhase::Cancelled => self.over("It was cancelled, and that is confirmed", None),
            CommandPhase::Lost => self.over(
                "Its end was not seen, and its processes are confirmed to have ended",
                Some("run it again if half of it does no harm".into()),
            ),
            CommandPhase::OutcomeUnknown => self.over(
                "It is over for this server, and whether it ran to its end is not known",
                Some("look on the agent's machine for what it did before it is run again".into()),
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
            Some(store) => (format!(": {store}"), Some("look at the server's disk and database")),
            None => (String::new(), None),
        };
        let summary = format!("{}{why}.", sentence(WaitsFor::Store));
        waits(WaitsFor::Store, summary, action.map(String::from))
    }

    fn queued(&self) -> Saying {
        let Some(agent) = &self.agent else { return self.without_agent() };
        // Also of one that is away: it starts nothing when it is back.
        if let OrderInForce::Stopped { .. } = agent.order
            && let Some(held) = agent.held_by_order()
        {
            return held;
        }
        let sent = self.standing.map_or(Sent::Never, |standing| standing.sent);
        if !agent.is_there() {
            let what = match sent {
                Sent::Never => "it is sent when the agent is back",
                Sent::Times(..) | Sent::Maybe => {
                    "it may have been sent already; the agent says so when it is back, \
                     and nothing is sent twice to one that has it"
                }
            };
            return self.awaits_agent(agent, what);
        }
        if let Some(held) = agent.held_by_order() {
            return held;
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
                    standing.held_back()
                );
                let action = format!(
                    "if this lasts longer than a minute, `onsembl-server why {}`",
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
                    standing.held_back()
                );
                let action =
                    "wait, or cancel one that runs (`onsembl-server commands`)".to_string();
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
        if let Some(held) = agent.held_by_order() {
            return held;
        }
        let summary = format!(
            "{} has it since {} and has not started it{}: {}.",
            agent.name,
            self.since,
            self.held_back(),
            self.because
        );
        let action = "look at what else the agent runs (`onsembl-server commands --agent`)";
        waits(WaitsFor::Start, summary, action.to_string())
    }

    fn running(&self, now: WallTime) -> Saying {
        let Some(agent) = &self.agent else { return self.without_agent() };
        if !agent.is_there() {
            let what = "its process may go on, and the agent says how it ended when it is back";
            return self.awaits_agent(agent, what);
        }
        let output = match self.last_output {
            Some(at) => format!("its latest stored output came {} ago", Human(between(at, now))),
            None => "it has written nothing yet".into(),
        };
        let running = |step: &&CommandStep| step.status == CommandPhase::Running;
        let started = self.steps.iter().find(running).map_or(self.since, |step| step.at);
        let summary = format!(
            "It runs on {} since {started}{}: {}; {output}.",
            agent.name,
            self.held_back(),
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
            "Its cancellation was asked of {} at {}: {}{}.",
            agent.name,
            self.since,
            self.because,
            self.held_back()
        );
        let id = shell_quoted(self.command.as_str());
        let action =
            format!("`onsembl-server cancel --force {id}` kills it without a grace period");
        waits(WaitsFor::CancelConfirmation, summary, action)
    }

    /// Its agent was deleted, and it will end for that.
    fn without_agent(&self) -> Saying {
        let summary = format!(
            "It is {}, and its agent is not there any more: {}.",
            self.status, self.because
        );
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

    fn held_back(&self) -> &'static str {
        self.standing.map_or("", |standing| standing.held_back())
    }
}

impl Standing {
    const fn held_back(&self) -> &'static str {
        match self.read {
            LinkRead::Read => "",
            LinkRead::HeldBack => {
                " (the agent's link is not read until half of its output is stored, so that what it says comes late)"
            }
        }
    }
}

impl AgentOf {
    const fn is_there(&self) -> bool {
        self.presence.state.is_in_session()
    }

    fn held_by_order(&self) -> Option<Saying> {
        let (name, quoted) = (&self.name, shell_quoted(&self.name));
        match &self.order {
            OrderInForce::None => None,
            OrderInForce::Paused => Some(waits(
                WaitsFor::Resume,
                format!("Its agent {name} is paused, and starts nothing until it is resumed."),
                format!("`onsembl-server control {quoted} resume`"),
            )),
            OrderInForce::Stopped { by, at, reason } => Some(waits(
                WaitsFor::Release,
                format!(
                    "An emergency stop by {by} at {at} ({reason}) is in force: nothing starts."
                ),
                format!("`onsembl-server release {quoted}`, or `release --all`"),
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

/// A name or an id as one word of a command line, whoever chose it.
fn shell_quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
