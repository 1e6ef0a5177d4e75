//! The server's part of the trace of each command, out of what the fleets say of it. Nothing is decided here, and
//! nothing waits for a collector.
//!
//! ```text
//! command                          from its request to its end; under the caller's span, if the request named one
//! ├── command.store                until the database has it
//! ├── command.queue                until it is handed to its agent's link
//! ├── command.deliver              until the agent acknowledges it
//! ├── command.wait                 until the agent starts it
//! ├── command.run, command.cancel  until its end is reported
//! ├── command.output               from the first to the last record
//! └── agent.command                the agent's part, by the agent
//! ```
//!
//! What is stored with a command is the context that its request came with. The id of its own span is derived from
//! that, so that a server that is started again continues the same span: it is exported once, at its end.

use crate::bounds::{Share, Shares};
use onsembl_protocol::fleet::{
    CommandCause, CommandRecord, CommandStage, CommandView, FleetNote, StoredBody, Write,
};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::model::{Exit, Feature, TraceContext};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::CommandRequest;
use onsembl_transport::counters::Counters;
use onsembl_transport::traces::{
    Attribute, Events, Outcome, Span, SpanKind, Tracer, child_of, new_trace_id,
};
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Commands that are traced at a time; a user has at most as many as are free.
pub(crate) const TRACED: usize = 4096;
/// What one of them takes at most: its ids, and 32 events.
pub(crate) const TRACE_BYTES: usize = 8 * 1024;
/// How long the last spans may take when the server ends.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// The traces of a server.
#[derive(Debug, Default)]
pub struct Traces(Option<On>);

#[derive(Debug)]
struct On {
    tracer: Tracer,
    counters: Counters,
    open: BTreeMap<(UserId, CommandId), Open>,
    slots: Shares<UserId>,
    /// The request that its fleet is being asked about.
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    command: Option<CommandId>,
    place: Place,
    at: SystemTime,
}

/// Where the span of a command stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    own: TraceContext,
    parent: Option<[u8; 8]>,
}

#[derive(Debug)]
struct Open {
    place: Place,
    agent: AgentId,
    began: SystemTime,
    phase: Phase,
    /// When the phase began, or this server did.
    since: SystemTime,
    continued: Continued,
    events: Events,
    output: Option<Written>,
    /// Its part of what is traced at a time.
    _slot: Option<Share<UserId>>,
}

/// Whether the beginning of a phase was seen by this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continued {
    /// It was.
    No,
    /// An earlier run of the server saw it.
    AfterRestart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Store,
    Queue,
    Deliver,
    Wait,
    Run,
    Cancel,
}

#[derive(Debug)]
struct Written {
    first: SystemTime,
    last: SystemTime,
    bytes: u64,
    records: u64,
    gaps: u64,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Store => "command.store",
            Self::Queue => "command.queue",
            Self::Deliver => "command.deliver",
            Self::Wait => "command.wait",
            Self::Run => "command.run",
            Self::Cancel => "command.cancel",
        }
    }

    /// The phase of a stage; `None` of one that is final.
    const fn of(stage: CommandStage) -> Option<Self> {
        match stage {
            CommandStage::Pending => Some(Self::Store),
            CommandStage::Queued => Some(Self::Queue),
            CommandStage::Delivered => Some(Self::Wait),
            CommandStage::Running => Some(Self::Run),
            CommandStage::Cancelling => Some(Self::Cancel),
            CommandStage::Completed
            | CommandStage::Failed
            | CommandStage::Cancelled
            | CommandStage::Lost
            | CommandStage::Unknown => None,
        }
    }
}

impl Place {
    /// The span of a command whose request came with this context.
    fn of(given: TraceContext, user: &UserId, command: &CommandId) -> Option<Self> {
        // One that the server made itself names the span that is derived from no parent.
        let root = derived(&given, [0; 8], user, command);
        if given.span() == root {
            return Some(Self { own: given, parent: None });
        }
        let own = given.with_span(derived(&given, given.span(), user, command))?;
        Some(Self { own, parent: Some(given.span()) })
    }

    /// A trace that begins with this command.
    fn new(user: &UserId, command: &CommandId) -> Option<Self> {
        let trace = TraceContext::new(new_trace_id(), [1; 8], TraceContext::SAMPLED)?;
        let own = trace.with_span(derived(&trace, [0; 8], user, command))?;
        Some(Self { own, parent: None })
    }
}

/// The id of a command's span. Several commands may be asked for under one span.
fn derived(of: &TraceContext, parent: [u8; 8], user: &UserId, command: &CommandId) -> [u8; 8] {
    let mut hash = Context::new(&SHA256);
    for part in
        [&of.trace()[..], &parent, user.as_str().as_bytes(), &[0], command.as_str().as_bytes()]
    {
        hash.update(part);
    }
    let mut id = [0; 8];
    for (to, from) in id.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    id
}

impl Traces {
    /// Traces that go there.
    pub(crate) fn new(tracer: Tracer, counters: Counters) -> Self {
        let (open, slots) = (BTreeMap::new(), Shares::new(TRACED, 1));
        Self(Some(On { tracer, counters, open, slots, asked: None }))
    }

    /// What agents are offered.
    pub(super) fn feature(&self) -> Option<Feature> {
        self.0.as_ref().map(|_| Feature::CommandTrace)
    }

    /// A user asks for a command; its fleet is asked next.
    pub(super) fn asked(&mut self, user: &UserId, request: &mut CommandRequest) {
        let Some(on) = &mut self.0 else { return };
        let none = CommandId::new("");
        let command = request.command_id.as_ref().unwrap_or(&none);
        let given = request.trace.and_then(|given| Place::of(given, user, command));
        let Some(place) = given.or_else(|| Place::new(user, command)) else { return };
        if request.trace.is_none() {
            request.trace = Some(place.own);
        }
        let command = request.command_id.clone();
        on.asked = Some(Asked { command, place, at: SystemTime::now() });
    }

    /// Its fleet was asked: if it did not take the request, that is all there is of it.
    pub(super) fn answered(&mut self, user: &UserId) {
        let Some(on) = &mut self.0 else { return };
        let Some(Asked { command, place, at }) = on.asked.take() else { return };
        let command = command.unwrap_or_else(|| CommandId::new(""));
        on.tracer.record(Span {
            // Not the span of the command: that may be there, of an earlier request.
            context: child_of(place.own),
            parent: place.parent,
            kind: SpanKind::Server,
            name: "command",
            began: at,
            ended: SystemTime::now(),
            attributes: vec![
                Attribute::text("onsembl.user.id", user.as_str()),
                Attribute::text("onsembl.command.id", command.as_str()),
            ],
            events: Events::default(),
            outcome: Outcome::Failed("refused".to_owned()),
        });
    }

    /// A command that an earlier run of this server took. The record counts its wait by observed time, and so does not
    /// say when it was asked for.
    pub(super) fn recovered(&mut self, user: &UserId, record: &CommandRecord, asked_at: WallTime) {
        let Some(on) = &mut self.0 else { return };
        let (Some(given), Some(phase)) = (record.request.trace, Phase::of(record.stage)) else {
            return;
        };
        if record.ended_at.is_some() {
            return;
        }
        let Some(place) = Place::of(given, user, &record.command) else { return };
        let now = SystemTime::now();
        let mut events = Events::default();
        events.add("the server was started again", now);
        let open = Open {
            place,
            agent: record.agent.clone(),
            began: time(asked_at).min(now),
            phase,
            since: now,
            continued: Continued::AfterRestart,
            events,
            output: None,
            _slot: None,
        };
        on.add(user, &record.command, open);
    }

    /// A fleet says something.
    pub(super) fn noted(&mut self, user: &UserId, note: &FleetNote) {
        let Some(on) = &mut self.0 else { return };
        if let FleetNote::CommandTaken { command, agent } = note
            && let Some(Asked { place, at, .. }) = on.asked.take()
        {
            let open = Open {
                place,
                agent: agent.clone(),
                began: at,
                phase: Phase::Store,
                since: at,
                continued: Continued::No,
                events: Events::default(),
                output: None,
                _slot: None,
            };
            return on.add(user, command, open);
        }
        if let FleetNote::CommandRepeated { .. } = note {
            on.asked = None;
        }
        if let FleetNote::CommandSent { command, .. } = note {
            on.sent(user, command);
        }
        if let FleetNote::Command { command, view } = note {
            on.changed(user, command, view);
        }
        if let FleetNote::CommandNotStored { command, .. } = note {
            let outcome = Outcome::Failed("it could not be stored".to_owned());
            on.end(user, command, outcome, Vec::new());
        }
    }

    /// Something is to be stored.
    pub(super) fn writing(&mut self, user: &UserId, write: &Write) {
        let Some(on) = &mut self.0 else { return };
        let Write::Output { command, record } = write else { return };
        if on.open.is_empty() {
            return;
        }
        let Some(open) = on.open.get_mut(&(user.clone(), command.clone())) else { return };
        let now = SystemTime::now();
        let written = open.output.get_or_insert(Written {
            first: now,
            last: now,
            bytes: 0,
            records: 0,
            gaps: 0,
        });
        written.last = now;
        written.records += 1;
        match &record.body {
            StoredBody::Chunk(bytes) => written.bytes += bytes.len() as u64,
            StoredBody::Gap { .. } => written.gaps += 1,
        }
    }

    /// A message goes to an agent. What it does is part of the command's span, not of the caller's.
    pub(super) fn sending(&self, user: &UserId, message: &mut ServerToAgent) {
        let Some(_) = &self.0 else { return };
        if let ServerToAgent::CommandRequest(request) = message
            && let (Some(given), Some(command)) = (request.trace, &request.command_id)
        {
            request.trace = Place::of(given, user, command).map(|place| place.own);
        }
    }

    /// The server ends. What was seen of the commands that are open is exported; their own spans are left to the run
    /// of the server that sees their ends.
    pub(super) async fn finish(&mut self) {
        let Some(on) = &mut self.0 else { return };
        for ((_, command), mut open) in std::mem::take(&mut on.open) {
            let stopped = vec![Attribute::text("onsembl.ended_by", "the server was stopped")];
            open.close_phase(&on.tracer, &command, stopped);
            open.close_output(&on.tracer, &command);
        }
        on.tracer.flush(LAST_SPANS).await;
    }
}

impl On {
    fn add(&mut self, user: &UserId, command: &CommandId, open: Open) {
        if !open.place.own.is_sampled() {
            return;
        }
        let Some(slot) = self.slots.take(user) else {
            return self.counters.count("commands_not_traced");
        };
        let open = Open { _slot: Some(slot), ..open };
        let _ = self.open.insert((user.clone(), command.clone()), open);
    }

    fn sent(&mut self, user: &UserId, command: &CommandId) {
        let Some(open) = self.open.get_mut(&(user.clone(), command.clone())) else { return };
        match open.phase {
            Phase::Store | Phase::Queue => {
                open.enter(Phase::Deliver, &self.tracer, command);
            }
            Phase::Deliver | Phase::Wait | Phase::Run | Phase::Cancel => {
                open.events.add("sent to the agent again", SystemTime::now());
            }
        }
    }

    fn changed(&mut self, user: &UserId, command: &CommandId, view: &CommandView) {
        let Some(phase) = Phase::of(view.status) else {
            let (outcome, attributes) = end_of(view);
            return self.end(user, command, outcome, attributes);
        };
        let Some(open) = self.open.get_mut(&(user.clone(), command.clone())) else { return };
        // It waits for its turn, and was sent a moment before that is shown.
        let was_sent = phase == Phase::Queue && open.phase == Phase::Deliver;
        if was_sent && view.because == CommandCause::Waits {
            return;
        }
        if open.phase == phase {
            open.events.add(&view.because.to_string(), SystemTime::now());
        } else {
            open.enter(phase, &self.tracer, command);
        }
    }

    fn end(
        &mut self,
        user: &UserId,
        command: &CommandId,
        outcome: Outcome,
        mut attributes: Vec<Attribute>,
    ) {
        let Some(mut open) = self.open.remove(&(user.clone(), command.clone())) else { return };
        let ended = open.close_phase(&self.tracer, command, Vec::new());
        open.close_output(&self.tracer, command);
        attributes.extend([
            Attribute::text("onsembl.user.id", user.as_str()),
            Attribute::text("onsembl.command.id", command.as_str()),
            Attribute::text("onsembl.agent.id", open.agent.as_str()),
        ]);
        self.tracer.record(Span {
            context: open.place.own,
            parent: open.place.parent,
            kind: SpanKind::Server,
            name: "command",
            began: open.began,
            ended,
            attributes,
            events: open.events,
            outcome,
        });
    }
}

impl Open {
    fn enter(&mut self, phase: Phase, tracer: &Tracer, command: &CommandId) {
        self.since = self.close_phase(tracer, command, Vec::new());
        self.phase = phase;
        self.continued = Continued::No;
    }

    /// Exports the phase that is under way. When it ended.
    fn close_phase(
        &self,
        tracer: &Tracer,
        command: &CommandId,
        mut attributes: Vec<Attribute>,
    ) -> SystemTime {
        let ended = SystemTime::now();
        match self.continued {
            Continued::No => {}
            Continued::AfterRestart => {
                attributes
                    .push(Attribute::text("onsembl.continued", "after a restart of the server"));
            }
        }
        attributes.push(Attribute::text("onsembl.command.id", command.as_str()));
        tracer.record(self.part(self.phase.name(), (self.since, ended), attributes));
        ended
    }

    fn close_output(&mut self, tracer: &Tracer, command: &CommandId) {
        let Some(Written { first, last, bytes, records, gaps }) = self.output.take() else {
            return;
        };
        let attributes = vec![
            Attribute::text("onsembl.command.id", command.as_str()),
            Attribute::number("onsembl.output.bytes", bytes),
            Attribute::number("onsembl.output.records", records),
            Attribute::number("onsembl.output.gaps", gaps),
        ];
        tracer.record(self.part("command.output", (first, last), attributes));
    }

    fn part(
        &self,
        name: &'static str,
        (began, ended): (SystemTime, SystemTime),
        attributes: Vec<Attribute>,
    ) -> Span {
        Span {
            context: child_of(self.place.own),
            parent: Some(self.place.own.span()),
            kind: SpanKind::Internal,
            name,
            began,
            ended,
            attributes,
            events: Events::default(),
            outcome: Outcome::Unset,
        }
    }
}

/// What an end says of the span of its command.
fn end_of(view: &CommandView) -> (Outcome, Vec<Attribute>) {
    let because = view.because.to_string();
    let mut attributes = vec![
        Attribute::text("onsembl.command.status", view.status.phase().as_str()),
        Attribute::text("onsembl.command.because", &because),
    ];
    match view.exit {
        None => {}
        Some(Exit::Code(code)) => {
            let code = u64::try_from(code).unwrap_or(u64::from(u32::MAX));
            attributes.push(Attribute::number("process.exit.code", code));
        }
        Some(Exit::Signal(signal)) => {
            let signal = u64::try_from(signal).unwrap_or_default();
            attributes.push(Attribute::number("onsembl.command.signal", signal));
        }
    }
    let outcome = match view.status {
        CommandStage::Completed => Outcome::Done,
        CommandStage::Failed | CommandStage::Lost | CommandStage::Unknown => {
            Outcome::Failed(because)
        }
        CommandStage::Cancelled
        | CommandStage::Pending
        | CommandStage::Queued
        | CommandStage::Delivered
        | CommandStage::Running
        | CommandStage::Cancelling => Outcome::Unset,
    };
    (outcome, attributes)
}

fn time(at: WallTime) -> SystemTime {
    let millis = u64::try_from(at.unix_millis()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_of_a_command_is_the_same_after_a_restart_and_hangs_under_its_caller() {
        let (ann, c) = (UserId::new("ann"), CommandId::new("c"));
        let new = Place::new(&ann, &c).unwrap();
        let again = Place::of(new.own, &ann, &c).unwrap();
        assert_eq!((again.own, again.parent), (new.own, None));

        let caller = TraceContext::new([7; 16], [9; 8], 1).unwrap();
        let place = Place::of(caller, &ann, &c).unwrap();
        assert_eq!(place.parent, Some([9; 8]));
        assert_eq!(place.own.trace(), caller.trace());
        assert_eq!(Place::of(caller, &ann, &c).unwrap().own, place.own);
        let other = Place::of(caller, &ann, &CommandId::new("d")).unwrap();
        assert_ne!(other.own, place.own);
        let of_other = Place::of(caller, &UserId::new("bob"), &c).unwrap();
        assert_ne!(of_other.own, place.own);
    }
}
