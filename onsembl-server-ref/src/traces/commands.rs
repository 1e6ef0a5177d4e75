//! The server's part of the trace of each command, out of what the fleets say of it. Which phase a command
//! is in the core decides ([`CommandCourse`]), and nothing waits for a collector.
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

use super::place::Place;
use crate::bounds::{Share, Shares};
use onsembl_protocol::fleet::{
    CommandCourse, CommandRecord, CommandView, CourseEnd, CourseStep, FleetNote, PastPhase,
    PhaseBegan, Write, WrittenOutput,
};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::model::{Exit, Feature};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::CommandRequest;
use onsembl_transport::counters::Counters;
use onsembl_transport::traces::{Attribute, Events, Outcome, Span, SpanKind, Tracer, child_of};
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

#[derive(Debug)]
struct Open {
    place: Place,
    agent: AgentId,
    began: SystemTime,
    course: CommandCourse<SystemTime>,
    events: Events,
    /// Its part of what is traced at a time.
    _slot: Option<Share<UserId>>,
}

impl Traces {
    /// Traces that go there.
    pub(crate) fn new(tracer: Tracer, counters: Counters) -> Self {
        let (open, slots) = (BTreeMap::new(), Shares::new(TRACED, 1));
        Self(Some(On { tracer, counters, open, slots, asked: None }))
    }

    /// What agents are offered.
    pub(crate) fn feature(&self) -> Option<Feature> {
        self.0.as_ref().map(|_| Feature::CommandTrace)
    }

    /// A user asks for a command; its fleet is asked next.
    pub(crate) fn asked(&mut self, user: &UserId, request: &mut CommandRequest) {
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
    pub(crate) fn answered(&mut self, user: &UserId) {
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
    pub(crate) fn recovered(&mut self, user: &UserId, record: &CommandRecord, asked_at: WallTime) {
        let Some(on) = &mut self.0 else { return };
        let now = SystemTime::now();
        let course = CommandCourse::recovered(record.stage, now);
        let (Some(given), Some(course), None) = (record.request.trace, course, record.ended_at)
        else {
            return;
        };
        let Some(place) = Place::of(given, user, &record.command) else { return };
        let mut events = Events::default();
        events.add("the server was started again", now);
        let open = Open {
            place,
            agent: record.agent.clone(),
            began: time(asked_at).min(now),
            course,
            events,
            _slot: None,
        };
        on.add(user, &record.command, open);
    }

    /// A fleet says something.
    pub(crate) fn noted(&mut self, user: &UserId, note: &FleetNote) {
        let Some(on) = &mut self.0 else { return };
        if let FleetNote::CommandTaken { command, agent } = note
            && let Some(Asked { place, at, .. }) = on.asked.take()
        {
            let open = Open {
                place,
                agent: agent.clone(),
                began: at,
                course: CommandCourse::new(at),
                events: Events::default(),
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
    pub(crate) fn writing(&mut self, user: &UserId, write: &Write) {
        let Some(on) = &mut self.0 else { return };
        let Write::Output { command, record } = write else { return };
        if on.open.is_empty() {
            return;
        }
        let Some(open) = on.open.get_mut(&(user.clone(), command.clone())) else { return };
        open.course.wrote(&record.body, SystemTime::now());
    }

    /// A message goes to an agent. What it does is part of the command's span, not of the caller's.
    pub(crate) fn sending(&self, user: &UserId, message: &mut ServerToAgent) {
        let Some(_) = &self.0 else { return };
        if let ServerToAgent::CommandRequest(request) = message
            && let (Some(given), Some(command)) = (request.trace, &request.command_id)
        {
            request.trace = Place::of(given, user, command).map(|place| place.own);
        }
    }

    /// The server ends. What was seen of the commands that are open is exported; their own spans are left to the run
    /// of the server that sees their ends.
    pub(crate) async fn finish(&mut self) {
        let Some(on) = &mut self.0 else { return };
        for ((_, command), open) in std::mem::take(&mut on.open) {
            let stopped = vec![Attribute::text("onsembl.ended_by", "the server was stopped")];
            open.close(&on.tracer, &command, SystemTime::now(), stopped);
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
        let now = SystemTime::now();
        match open.course.sent(now) {
            CourseStep::Entered(past) => open.export(&self.tracer, command, past, now, Vec::new()),
            CourseStep::Again => open.events.add("sent to the agent again", now),
            CourseStep::Nothing | CourseStep::Over => {}
        }
    }

    fn changed(&mut self, user: &UserId, command: &CommandId, view: &CommandView) {
        let Some(open) = self.open.get_mut(&(user.clone(), command.clone())) else { return };
        let now = SystemTime::now();
        match open.course.shown(view, now) {
            CourseStep::Entered(past) => open.export(&self.tracer, command, past, now, Vec::new()),
            CourseStep::Again => open.events.add(&view.because.to_string(), now),
            CourseStep::Nothing => {}
            CourseStep::Over => {
                let (outcome, attributes) = end_of(view);
                self.end(user, command, outcome, attributes);
            }
        }
    }

    fn end(
        &mut self,
        user: &UserId,
        command: &CommandId,
        outcome: Outcome,
        mut attributes: Vec<Attribute>,
    ) {
        let Some(open) = self.open.remove(&(user.clone(), command.clone())) else { return };
        let (Place { own, parent }, began, ended) = (open.place, open.began, SystemTime::now());
        attributes.extend([
            Attribute::text("onsembl.user.id", user.as_str()),
            Attribute::text("onsembl.command.id", command.as_str()),
            Attribute::text("onsembl.agent.id", open.agent.as_str()),
        ]);
        let events = open.close(&self.tracer, command, ended, Vec::new());
        self.tracer.record(Span {
            context: own,
            parent,
            kind: SpanKind::Server,
            name: "command",
            began,
            ended,
            attributes,
            events,
            outcome,
        });
    }
}

impl Open {
    /// Exports what is left when nothing more comes: the phase that is in progress, and the output. What else happened.
    fn close(
        self,
        tracer: &Tracer,
        command: &CommandId,
        ended: SystemTime,
        of_phase: Vec<Attribute>,
    ) -> Events {
        let (past, output) = self.course.clone().ended();
        self.export(tracer, command, past, ended, of_phase);
        if let Some(WrittenOutput { first, last, bytes, records, gaps }) = output {
            let attributes = vec![
                Attribute::text("onsembl.command.id", command.as_str()),
                Attribute::number("onsembl.output.bytes", bytes),
                Attribute::number("onsembl.output.records", records),
                Attribute::number("onsembl.output.gaps", gaps),
            ];
            tracer.record(self.part("command.output", (first, last), attributes));
        }
        self.events
    }

    /// Exports a phase that ended now.
    fn export(
        &self,
        tracer: &Tracer,
        command: &CommandId,
        past: PastPhase<SystemTime>,
        ended: SystemTime,
        mut attributes: Vec<Attribute>,
    ) {
        match past.began {
            PhaseBegan::Seen => {}
            PhaseBegan::BeforeRestart => {
                attributes
                    .push(Attribute::text("onsembl.continued", "after a restart of the server"));
            }
        }
        attributes.push(Attribute::text("onsembl.command.id", command.as_str()));
        tracer.record(self.part(past.phase.name(), (past.since, ended), attributes));
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
    let outcome = match CourseEnd::of(view.status) {
        CourseEnd::Done => Outcome::Done,
        CourseEnd::Failed => Outcome::Failed(because),
        CourseEnd::Unset => Outcome::Unset,
    };
    (outcome, attributes)
}

fn time(at: WallTime) -> SystemTime {
    let millis = u64::try_from(at.unix_millis()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(millis)
}
