//! The agent's part of the trace of each command, out of what its worker is told and does. Nothing is decided here, and
//! nothing waits for a collector.
//!
//! ```text
//! agent.command                from its receipt to the confirmation of its report; under the server's span
//! ├── agent.wait               until its turn comes
//! ├── agent.journal            until its start is written down
//! ├── agent.start              until its process runs, or it is typed into the terminal
//! ├── agent.run                until its process has ended
//! └── agent.report             until the server has stored its output, and confirmed its report
//! ```

use crate::options::{AgentError, AgentOptions};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{Exit, Feature, TraceContext};
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::worker::{
    Awaited, JournalEntry, TypingOutcome, WorkerAction, WorkerEvent, WorkerNote,
};
use onsembl_transport::counters::Counters;
use onsembl_transport::traces::{Attribute, Events, Outcome, Span, SpanKind, Tracer, child_of};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Commands that are traced at a time. Each takes at most 10 KiB.
const TRACED: usize = 1024;
/// How long the last spans may take when the agent ends.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// The traces of an agent.
pub(crate) struct Traces(Option<On>);

struct On {
    tracer: Tracer,
    counters: Counters,
    agreed: Agreed,
    open: BTreeMap<CommandId, Open>,
    /// Which of them the message that the worker is told now began.
    begun: Option<CommandId>,
}

/// Whether the server of this session says in which trace a command is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Agreed {
    Yes,
    No,
}

struct Open {
    own: TraceContext,
    parent: TraceContext,
    began: SystemTime,
    phase: Phase,
    since: SystemTime,
    written: u64,
    outcome: Outcome,
    attributes: Vec<Attribute>,
    events: Events,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Wait,
    Journal,
    Start,
    Run,
    Report,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Wait => "agent.wait",
            Self::Journal => "agent.journal",
            Self::Start => "agent.start",
            Self::Run => "agent.run",
            Self::Report => "agent.report",
        }
    }
}

impl Traces {
    /// Where the options say, if they do. Call it within a Tokio runtime.
    pub(crate) fn new(options: &AgentOptions, counters: &Counters) -> Result<Self, AgentError> {
        let Some(settings) = &options.traces else { return Ok(Self(None)) };
        let tracer = Tracer::start(settings, counters.clone())
            .map_err(|error| AgentError::Traces(error.into()))?;
        let counters = counters.clone();
        let (agreed, open) = (Agreed::No, BTreeMap::new());
        Ok(Self(Some(On { tracer, counters, agreed, open, begun: None })))
    }

    /// What the hello offers.
    pub(crate) fn feature(&self) -> Option<Feature> {
        self.0.as_ref().map(|_| Feature::CommandTrace)
    }

    /// The worker is told this.
    pub(crate) fn happened(&mut self, event: &WorkerEvent) {
        let Some(on) = &mut self.0 else { return };
        on.begun = None;
        if let WorkerEvent::Joined(session) = event {
            on.agreed = match session.capabilities.traces_commands() {
                true => Agreed::Yes,
                false => Agreed::No,
            };
            on.all("in session again");
        }
        if let WorkerEvent::SessionEnded = event {
            on.all("session ended; running commands continue");
        }
        if let WorkerEvent::Message(message) = event {
            on.said(message);
        }
        if let WorkerEvent::Journalled { awaited: Awaited::Start(command), outcome } = event {
            match outcome {
                Ok(()) => on.enter(command, Phase::Start),
                Err(_) => on.fails(command, "its start could not be recorded"),
            }
        }
        if let WorkerEvent::Started { command, .. } = event {
            on.enter(command, Phase::Run);
        }
        if let WorkerEvent::NotStarted { command, .. } = event {
            on.fails(command, "it could not be started");
            on.enter(command, Phase::Report);
        }
        if let WorkerEvent::Output { command, bytes, .. } = event
            && let Some(open) = on.open.get_mut(command)
        {
            open.written += bytes.len() as u64;
        }
        if let WorkerEvent::Typed { command, outcome } = event {
            match outcome {
                TypingOutcome::Typed => on.enter(command, Phase::Report),
                TypingOutcome::Broken { .. } | TypingOutcome::Refused(_) => {
                    on.fails(command, "it was not typed completely");
                    on.enter(command, Phase::Report);
                }
                // The worker types it another way.
                TypingOutcome::OtherMode => {}
            }
        }
        if let WorkerEvent::Ended { command, exit, .. } = event {
            on.ended(command, *exit);
        }
    }

    /// The worker has this done.
    pub(crate) fn performing(&mut self, action: &WorkerAction) {
        let Some(on) = &mut self.0 else { return };
        if let WorkerAction::Journal(JournalEntry::Starting { command, .. }) = action {
            on.enter(command, Phase::Journal);
        }
        if let WorkerAction::Note(WorkerNote::Refused(command, _)) = action {
            on.fails(command, "refused");
            on.enter(command, Phase::Report);
        }
        if let WorkerAction::Note(WorkerNote::AskedAgain(command)) = action {
            on.asked_again(command);
        }
        if let WorkerAction::Note(WorkerNote::Cancelling(command)) = action
            && let Some(open) = on.open.get_mut(command)
        {
            open.events.add("cancelled", SystemTime::now());
        }
        if let WorkerAction::Note(WorkerNote::UnknownToServer(command)) = action {
            on.fails(command, "the server does not know it");
            on.close(command, Vec::new());
        }
    }

    /// The agent ends: what is open ends with it, and says so.
    pub(crate) async fn finish(self) {
        let Some(mut on) = self.0 else { return };
        for command in on.open.keys().cloned().collect::<Vec<_>>() {
            on.close(&command, vec![Attribute::text("onsembl.ended_by", "the agent was stopped")]);
        }
        on.tracer.flush(LAST_SPANS).await;
    }
}

impl On {
    fn said(&mut self, message: &ServerToAgent) {
        if let ServerToAgent::CommandRequest(request) = message
            && self.agreed == Agreed::Yes
            && let (Some(trace), Some(command)) = (request.trace, &request.command_id)
        {
            self.begin(command, trace);
        }
        if let ServerToAgent::Ack(ack) = message
            && ack.success
            && let Some(command) = &ack.command_id
        {
            self.close(command, Vec::new());
        }
    }

    fn begin(&mut self, command: &CommandId, parent: TraceContext) {
        let now = SystemTime::now();
        if !parent.is_sampled() {
            return;
        }
        if let Some(open) = self.open.get_mut(command) {
            return open.events.add("asked for again", now);
        }
        if self.open.len() >= TRACED {
            return self.counters.count("commands_not_traced");
        }
        let open = Open {
            own: child_of(parent),
            parent,
            began: now,
            phase: Phase::Wait,
            since: now,
            written: 0,
            outcome: Outcome::Unset,
            attributes: Vec::new(),
            events: Events::default(),
        };
        let _ = self.open.insert(command.clone(), open);
        self.begun = Some(command.clone());
    }

    /// Of a command that is known already and whose trace is not, the request began none.
    fn asked_again(&mut self, command: &CommandId) {
        if self.begun.as_ref() == Some(command) {
            let _ = self.open.remove(command);
        }
    }

    fn all(&mut self, what: &str) {
        let now = SystemTime::now();
        for open in self.open.values_mut() {
            open.events.add(what, now);
        }
    }

    fn enter(&mut self, command: &CommandId, phase: Phase) {
        let Some(open) = self.open.get_mut(command) else { return };
        if open.phase != phase {
            open.since = open.close_phase(&self.tracer, command);
            open.phase = phase;
        }
    }

    fn fails(&mut self, command: &CommandId, why: &str) {
        if let Some(open) = self.open.get_mut(command) {
            open.outcome = Outcome::Failed(why.to_owned());
        }
    }

    fn ended(&mut self, command: &CommandId, exit: Exit) {
        let Some(open) = self.open.get_mut(command) else { return };
        let number = |number: i32| u64::try_from(number).unwrap_or_default();
        open.attributes.push(match exit {
            Exit::Code(code) => Attribute::number("process.exit.code", number(code)),
            Exit::Signal(signal) => Attribute::number("onsembl.command.signal", number(signal)),
        });
        open.outcome = match exit {
            Exit::Code(0) => Outcome::Done,
            Exit::Code(_) | Exit::Signal(_) => Outcome::Failed(exit.to_string()),
        };
        self.enter(command, Phase::Report);
    }

    fn close(&mut self, command: &CommandId, attributes: Vec<Attribute>) {
        let Some(mut open) = self.open.remove(command) else { return };
        let ended = open.close_phase(&self.tracer, command);
        open.attributes.extend(attributes);
        open.attributes.extend([
            Attribute::text("onsembl.command.id", command.as_str()),
            Attribute::number("onsembl.output.bytes", open.written),
        ]);
        self.tracer.record(Span {
            context: open.own,
            parent: Some(open.parent.span()),
            kind: SpanKind::Consumer,
            name: "agent.command",
            began: open.began,
            ended,
            attributes: open.attributes,
            events: open.events,
            outcome: open.outcome,
        });
    }
}

impl Open {
    /// Exports the phase that is in progress. When it ended.
    fn close_phase(&self, tracer: &Tracer, command: &CommandId) -> SystemTime {
        let ended = SystemTime::now();
        tracer.record(Span {
            context: child_of(self.own),
            parent: Some(self.own.span()),
            kind: SpanKind::Internal,
            name: self.phase.name(),
            began: self.since,
            ended,
            attributes: vec![Attribute::text("onsembl.command.id", command.as_str())],
            events: Events::default(),
            outcome: Outcome::Unset,
        });
        ended
    }
}
