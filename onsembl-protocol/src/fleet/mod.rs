//! A fleet: all agents of one user on a server, as one machine.
//!
//! It holds the agents, the admission of requests, commands and their output, stops, terminals, audits, and the
//! updates of dashboards. It is a [queue machine](crate::step#two-contracts):
//! [`Fleet::handle`] takes an event, [`Fleet::poll_action`] returns actions until there are none,
//! [`Fleet::deadline`] is the next wake-up. Sockets, stores, clocks, tokens and logs are at the edge.
//!
//! # Rules
//!
//! - No machine inside is fed while its own actions are being performed: they go on the work list.
//! - One fleet serves one user, so no decision can affect another user.
//! - Readers see a [`View`], a copy that is made of the fleet's changes, and never its memory.
//! - The work of an event does not grow with the number of open commands.
//! - Everything that a peer can make grow is bounded: [`FleetLimits`].
//!
//! # Several servers
//!
//! All state of one agent is built from the store by [`Fleet::recover_agent`] and
//! [`Fleet::recover_command`], one agent at a time, so that a fleet may hold only those agents of its user
//! that are in session on this server. State of the user as a whole is separate: the bounds on open commands,
//! terminals and agents, the stops for all agents, deletions, and the names by which agents are found.
//! Contests, links beside a session, and commands reported as unknown belong to the server that has the links.
//!
//! Tier 2 of the [crate](crate#what-is-public-in-tiers): an agent's work and a server's fleet.

mod action;
mod admission;
mod adoption;
mod agent;
mod agent_view;
mod aliases;
mod audit;
mod backpressure;
mod by_id;
mod claims;
mod collections;
mod command;
mod command_course;
mod commands;
mod contest;
mod dashboard_feed;
mod dashboard_link;
mod directory;
mod dispatch;
mod encode;
mod event;
mod findings;
mod fleets;
mod forgetting;
mod hello;
mod keyboards;
mod limits;
mod link_tokens;
mod long_texts;
mod note;
mod open_requests;
mod out;
mod output;
mod parking;
mod releases;
mod report;
mod resume;
mod roster;
mod row;
mod standing;
mod state;
#[cfg(test)]
mod steps_tests;
mod stop;
mod stop_turns;
mod stop_wait;
mod stored_request;
mod terminal;
mod told;
mod view;
mod waits;
mod work;
mod write_admission;

pub use crate::command::{
    Candidate, CommandCause, CommandOrigin, CommandStage, CommandView, Unroutable, choose_agent,
};
pub use crate::output::{
    Cursor, Fetch, LineAssembler, LogRecord, OutputFollower, OutputPosition, OutputTail, Pieces,
    RetentionClock, StoredBody, StoredPosition, StreamCut, StreamSums, cursor_before,
};
pub use crate::stop::StopOrder;
pub use crate::terminal::{HoldEnd, HoldRecord, HoldView};
pub use action::{
    Admission, Answer, FleetAction, Flow, Question, SeatId, SeatOrigin, Token, Write,
};
pub use agent::ALIASES;
pub use agent_view::{
    AgentContest, AgentFacts, AgentStop, AgentView, HEARTBEATS_MISS, PauseOrder, ShownPresence,
};
pub use claims::{Bearer, Claim, TokenScope};
pub use command_course::{
    CommandCourse, CourseEnd, CoursePhase, CourseStep, PastPhase, PhaseBegan, WrittenOutput,
};
pub use dashboard_feed::Seek;
pub use dashboard_link::{
    DashboardAction, DashboardEvent, DashboardLink, DashboardNote, DashboardToken,
};
pub use event::{
    FleetEvent, Inserted, KeyboardRequest, LogPosition, OpenFault, Receipt, RecordOutcome, Request,
    StoreAnswer, StoreFault,
};
pub use findings::LONGEST_FINDINGS;
pub use fleets::{Beside, FleetSums, Fleets};
pub use forgetting::{EPHEMERAL, KeptFor, is_forgotten};
pub use limits::{FleetLimits, RECOVERED_COMMANDS, RECOVERED_FOR};
pub use link_tokens::{Ending, LinkTokens, OpenHandle};
pub use note::FleetNote;
pub use open_requests::{Ended, OpenId, OpenKind, OpenRequests, TokenEnd, TokenTerm};
pub use report::{AuditReport, AuditedStream, ReleaseReport, StopReport, StopState, StoppedAgent};
pub use row::{
    AgentRecord, CommandRecord, CommandUpdate, FindingsRecord, KeyboardRecord, NewSession,
    OpenedSession, PresenceRecord, StreamPosition,
};
pub use standing::OpenCommand;
pub use stored_request::StoredRequest;
pub use view::{Change, CommandEntry, Door, Noticed, Revision, View};
pub use write_admission::{AdmittedWrite, WriteAdmission};

use crate::command::CommandEvent;
use crate::id::{AgentId, CommandId, UserId};
use crate::model::{ActivityState, Pausing, ProgramFault, ToldFault};
use crate::replay::Retired;
use crate::time::{Deadline, Now, WallTime};
use crate::wire::AgentToServer;
use crate::wire::payload::WaitsFor;
use agent::Listing;
use audit::Audits;
use command::Log;
use contest::{Contender, Contests, Said};
use findings::Findings;
use keyboards::Keyboards;
use resume::Resumes;
use state::State;
use stop::Stops;
use work::{Next, Todo};

/// All agents of one user on a server. See the [module](self).
#[derive(Debug)]
pub struct Fleet {
    state: State,
    stops: Stops,
    audits: Audits,
    resumes: Resumes,
    findings: Findings,
    contests: Contests,
    keyboards: Keyboards,
}

/// Where the recording of an agent's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingSource {
    /// With the agent's machine.
    Seat(SeatId),
    /// Where the last machine left it.
    Retired(Retired),
}

/// How much a fleet holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct FleetSize {
    /// Machines: agents in session, joining, or awaited.
    pub seats: usize,
    /// Commands that are open, or whose end is not stored.
    pub open_commands: usize,
    /// Keys by which agents are found.
    pub keys: usize,
    pub stops: usize,
}

impl Fleet {
    /// The fleet of a user of whom nothing is known yet. It numbers its machines from `first_seat` on;
    /// fleets of one server need ranges that do not overlap. `seed` keeps its ids distinct from those of other fleets.
    pub fn new(user: UserId, first_seat: SeatId, seed: u64, limits: FleetLimits) -> Self {
        Self {
            state: State::new(user, first_seat, seed, limits),
            stops: Stops::default(),
            audits: Audits::default(),
            resumes: Resumes::default(),
            findings: Findings::default(),
            contests: Contests::default(),
            keyboards: Keyboards::new(),
        }
    }

    /// Takes one event. What follows from it waits in [`poll_action`](Self::poll_action). Several [signs of
    /// life](FleetEvent::Heard) and [messages](FleetEvent::Message) of agents may be handed in before that is asked: they
    /// were said before any of it is done.
    pub fn handle(&mut self, event: FleetEvent, now: Now) {
        self.decide(event, now);
        for contender in self.contests.settle(&mut self.state, now) {
            Self::take_hello(&mut self.state, contender, now);
        }
        self.settle(now);
        self.keyboards.settle(&mut self.state, now);
    }

    /// The next thing to do. To be called until there is nothing more, after each event.
    #[must_use = "an action that is not performed leaves the fleet waiting for its outcome"]
    pub fn poll_action(&mut self) -> Option<FleetAction> {
        self.state.out.poll()
    }

    /// When to hand in [`FleetEvent::Wake`], if nothing else comes first.
    pub fn deadline(&self) -> Deadline {
        let orders = self.stops.deadline().min(self.audits.deadline());
        let others = self.contests.deadline().min(self.keyboards.deadline());
        self.state.commands.deadline().min(orders).min(others)
    }

    /// How much it holds.
    pub fn size(&self) -> FleetSize {
        FleetSize {
            seats: self.state.roster.seats.len(),
            open_commands: self.state.commands.open(),
            keys: self.state.roster.directory.keys(),
            stops: self.state.latch.orders().count(),
        }
    }

    /// Its machines and its open commands, without looking at them.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.state.roster.seats.len(), self.state.commands.open())
    }

    /// Whether it holds nothing: no agent, no command, no stop, and no request that waits for an answer. Then it may be
    /// dropped, and made again when its user has something again.
    pub fn is_idle(&self) -> bool {
        let Self { state, stops, audits, resumes, findings, contests, keyboards } = self;
        state.roster.is_empty()
            && state.commands.is_empty()
            && state.latch.orders().next().is_none()
            && state.deletions == 0
            && stops.is_empty()
            && audits.is_empty()
            && resumes.is_empty()
            && findings.is_empty()
            && contests.are_none()
            && keyboards.is_empty()
            && self.deadline() == Deadline::Never
    }

    /// Where the recording of an agent is that the user may see; `None` if there is no such agent,
    /// `Some(None)` if nothing of it is recorded.
    pub fn recording(&self, agent: &AgentId) -> Option<Option<RecordingSource>> {
        let known = self.state.roster.agent(agent).filter(|a| a.listing == Listing::Listed)?;
        let retired = known.history.map(RecordingSource::Retired);
        Some(known.seat.map(RecordingSource::Seat).or(retired))
    }

    /// Where a command stands that is not over; `None` if there is no such command. Looks at all that wait for its
    /// agent.
    pub fn open_command(&self, command: &CommandId, now: Now) -> Option<OpenCommand> {
        standing::open_command(&self.state, command, now)
    }

    /// An agent as an earlier run of this server, or another server, left it. Its commands come behind it.
    pub fn recover_agent(&mut self, record: AgentRecord, now: Now) {
        let id = record.agent.clone();
        self.state.roster.recover(record, &mut self.state.out);
        self.state.show_stop(&id);
        self.settle(now);
    }

    /// A stop that is in force. Stops come in front of the agents.
    pub fn recover_stop(&mut self, order: StopOrder, now: Now) {
        self.stops.recover(&mut self.state, order, now);
    }

    /// A command as it is stored, and where its output continues: an open one, or one that ended lately. It
    /// comes behind its agent. `observed` is the time as the store has observed it, which a wall clock that was set
    /// is ahead of.
    pub fn recover_command(
        &mut self,
        mut record: CommandRecord,
        position: &LogPosition,
        observed: WallTime,
        now: Now,
    ) {
        let id = record.command.clone();
        let log = Log::Known(Log::behind(position));
        if record.ended_at.is_some() {
            dispatch::show_ended(&mut self.state, &id, &record, log);
            output::show_log(&mut self.state, &id);
            return self.settle(now);
        }
        let known = self.state.roster.agent(&record.agent);
        let is_awaited = known.is_some_and(|known| known.seat.is_some());
        let journals = known.is_some_and(|known| known.journal.is_some());
        record.has_waited_as_observed(observed, now.wall);
        adoption::recover(&mut self.state, record, log, now);
        if !is_awaited {
            self.state.work.feed(&id, CommandEvent::AgentLost { journals });
        }
        self.settle(now);
    }

    fn take_hello(state: &mut State, contender: Contender, now: Now) {
        let Contender { link, said: Said { hello, peer, bearer }, .. } = contender;
        let session = state.ids.session(now.wall);
        hello::on_hello(&mut state.roster, link, (hello, peer), bearer, session, &mut state.out);
    }

    fn decide(&mut self, event: FleetEvent, now: Now) {
        let state = &mut self.state;
        match event {
            FleetEvent::Hello { link, hello, peer, bearer } => {
                let said = Said { hello, peer, bearer };
                if let Some(contender) = self.contests.on_hello(state, link, said, now) {
                    Self::take_hello(state, contender, now);
                }
            }
            FleetEvent::Silent { link, named, bearer } => {
                state.roster.silent(link, &named, bearer.as_ref(), &mut state.out);
            }
            FleetEvent::Parked { seat, link, session } => {
                state.roster.parked((seat, link), session, now.wall, &mut state.out);
            }
            FleetEvent::Admit { seat, link } => {
                state.roster.admit(seat, link, now.wall, &mut state.out);
            }
            FleetEvent::Welcomed { seat, link, capabilities } => {
                let began = state.roster.welcomed(seat, link, capabilities, &mut state.out);
                if let Some(began) = began {
                    state.told.forget(seat);
                    state.not_taken.forget(seat);
                    // Until this session says so.
                    state.show_pausing(&began.agent, Pausing::Running, now.wall);
                    state.show_program_fault(&began.agent, None);
                    state.show_activity(&began.agent, None);
                    stop::repeat_to(state, &began.agent, seat);
                    let agent = began.agent.clone();
                    for unknown in dispatch::reconcile(state, began, now) {
                        adoption::on_named(state, &agent, &unknown, now);
                    }
                }
            }
            FleetEvent::Presence { seat, presence, beats } => {
                let State { roster, out, .. } = state;
                if let Some(lost) = roster.presence(seat, (presence, beats), now, out) {
                    dispatch::lost(state, lost, now);
                }
            }
            FleetEvent::Beats { seat, verdict } => {
                state.roster.beats(seat, verdict, &mut state.out);
            }
            FleetEvent::Heard { seat, at } => state.roster.heard(seat, at, &mut state.out),
            FleetEvent::Metrics { seat, metrics } => {
                state.roster.measured(seat, metrics, &mut state.out);
            }
            FleetEvent::Paused { seat, pausing } => {
                if let Some(agent) = state.roster.who(seat) {
                    state.out.note(FleetNote::Paused { agent: agent.clone(), pausing });
                    if !pausing.is_paused() {
                        state.order_pausing(&agent, pausing, now.wall);
                    }
                    state.show_pausing(&agent, pausing, now.wall);
                }
            }
            FleetEvent::Message { seat, message } => {
                if let Some(agent) = self.state.roster.who(seat) {
                    self.on_message(seat, &agent, *message, now);
                }
            }
            FleetEvent::LinkEnded { seat, link, session, reason } => {
                let State { roster, out, .. } = state;
                let ended = roster.link_ended((seat, link), session, &reason, now.wall, out);
                if let Some(lost) = ended {
                    dispatch::lost(state, lost, now);
                }
            }
            FleetEvent::Forgotten { seat, history } => {
                state.told.forget(seat);
                state.not_taken.forget(seat);
                if let Some(lost) = state.roster.forgotten(seat, history) {
                    dispatch::agent_lost(state, lost, now);
                }
            }
            FleetEvent::Request { token, request } => self.on_request(token, request, now),
            FleetEvent::Store(answer) => self.on_store(answer, now),
            FleetEvent::Receipts(receipts) => output::on_receipts(state, receipts, now),
            FleetEvent::Wake => self.on_wake(now),
        }
    }

    fn on_message(&mut self, seat: SeatId, agent: &AgentId, message: AgentToServer, now: Now) {
        let state = &mut self.state;
        match message {
            AgentToServer::Output(mut output) => {
                if let Some(said) = &output.agent_id {
                    state.roster.goes_by(seat, said, &mut state.out);
                }
                output.command_id = terminal::command_of(state, agent, output.command_id, now);
                output::on_output(state, agent, output, now);
            }
            AgentToServer::OutputGap(gap) => output::on_gap(state, agent, &gap, now),
            AgentToServer::OutputState(reported) if reported.query.is_some() => {
                self.audits.on_answer(state, agent, reported);
            }
            AgentToServer::OutputState(reported) => self.resumes.on_state(state, agent, reported),
            AgentToServer::StopReceipt(receipt) => {
                self.stops.on_receipt(state, agent, &receipt, now);
            }
            AgentToServer::TerminalOpened(opened) => {
                terminal::on_opened(state, agent, opened, now);
            }
            AgentToServer::TerminalInputState(said) => {
                self.keyboards.on_state(state, agent, said, now);
            }
            AgentToServer::TerminalSize(sized) => terminal::on_size(state, agent, &sized, now),
            AgentToServer::CommandAck(ack) => {
                adoption::on_named(state, agent, &ack.command_id, now);
                let is_remote = ack.waits_for == Some(WaitsFor::RemoteLine);
                let holder = is_remote.then(|| self.keyboards.holder(agent)).flatten();
                dispatch::on_acknowledged(state, agent, ack, holder.as_ref(), now);
            }
            AgentToServer::CommandComplete(report) => {
                adoption::on_named(state, agent, &report.command_id, now);
                // One that is not taken up is said again, and confirmed when it is stored.
                if !state.was_not_taken(agent, &report.command_id) {
                    dispatch::on_complete(state, agent, report, now);
                }
            }
            AgentToServer::Fault(fault) => {
                let recoverable = fault.recoverable;
                if let Some(fault) = ProgramFault::read(fault.details.as_ref()) {
                    state.show_program_fault(agent, Some(ToldFault { fault, at: now.wall }));
                }
                if ProgramFault::is_over(fault.details.as_ref()) {
                    state.show_program_fault(agent, None);
                }
                state.out.note(FleetNote::AgentFault {
                    agent: agent.clone(),
                    kind: alloc::string::ToString::to_string(&fault.error_type),
                    recoverable,
                    text: fault.message,
                });
                if !recoverable {
                    state.out.act(FleetAction::Faulted(seat));
                }
            }
            AgentToServer::Activity(said) => {
                let activity = said.read(now.wall);
                let (agent_id, what) = (agent.clone(), activity.words(now.wall));
                state.out.note(FleetNote::Activity { agent: agent_id, what });
                let shown = Some(activity).filter(|activity| activity.state != ActivityState::Gone);
                state.show_activity(agent, shown);
            }
            AgentToServer::BlackBox(told) => self.findings.on_told(state, agent, told, now),
            AgentToServer::Trace(_) | AgentToServer::Report(_) => {
                state.out.note(FleetNote::TraceNotKept { agent: agent.clone() });
            }
            AgentToServer::Pong(_) => self.contests.on_answer(state, seat, now),
            // These are about the connection, and its machine has them.
            AgentToServer::Connect(_)
            | AgentToServer::Heartbeat(_)
            | AgentToServer::Ping(_)
            | AgentToServer::Unknown(_) => {}
        }
    }

    fn on_request(&mut self, token: Token, request: Request, now: Now) {
        let state = &mut self.state;
        match request {
            Request::Command(request) => admission::on_command(state, token, request, now),
            Request::Cancel(cancel) => dispatch::on_cancel(state, token, &cancel),
            Request::Control(control) => admission::on_control(state, token, control, now),
            Request::StopOnce(stop) => self.stops.on_stop_once(state, token, stop, now),
            Request::LatchStop(stop) => self.stops.on_latch_stop(state, token, stop, now),
            Request::Stop { scope, reason } => {
                self.stops.on_stop(state, token, scope, reason, now);
            }
            Request::Release(scope) => self.stops.on_release(state, token, &scope, now),
            Request::DeleteAgent(agent) => admission::on_delete(state, token, agent),
            Request::Audit(agent) => self.audits.on_request(state, token, agent, now),
            Request::Keyboard(by, request) => {
                self.keyboards.on_request(state, token, (by, request), now);
            }
        }
    }

    fn on_store(&mut self, answer: StoreAnswer, now: Now) {
        let state = &mut self.state;
        match answer {
            StoreAnswer::Session { seat, link, session, opened } => {
                if let Ok(OpenedSession { agent, unknown_stop: Some(stop), .. }) = &opened {
                    self.stops.adopt(state, agent, stop, now);
                }
                let State { roster, latch, out, .. } = state;
                let stop_of = |agent: &AgentId| latch.in_force(agent).map(|order| order.id.clone());
                let other = roster.opened((seat, link), session, opened, stop_of, now, out);
                if let Some(agent) = state.roster.who(seat) {
                    state.show_stop(&agent);
                }
                if let Some(lost) = other {
                    dispatch::lost(state, lost, now);
                }
            }
            StoreAnswer::Inserted { command, inserted } if state.is_adopted(&command) => {
                adoption::inserted(state, &command, inserted, now);
            }
            StoreAnswer::Inserted { command, inserted } => {
                dispatch::inserted(state, &command, inserted, now);
            }
            StoreAnswer::EndStored { command, stored } => {
                dispatch::end_stored(state, &command, stored, now);
            }
            StoreAnswer::Positions { ticket, positions } => {
                self.resumes.on_positions(state, ticket, positions);
            }
            StoreAnswer::LogPosition { command, position } => {
                output::on_log_position(state, &command, position);
            }
            StoreAnswer::Balance { query, positions } => {
                self.audits.on_positions(state, &query, positions);
            }
            StoreAnswer::FindingsKept { agent, number, kept } => {
                self.findings.on_kept(state, &agent, number, kept);
            }
            StoreAnswer::Deleted { token, agent, deleted } => {
                admission::on_deleted(state, token, &agent, deleted);
            }
            StoreAnswer::Stopped { stop, stored } => {
                self.stops.on_stored(state, &stop, stored.err().as_ref(), now);
            }
            StoreAnswer::Released { token, stored } => {
                self.stops.on_released(state, token, stored);
            }
        }
    }

    fn on_wake(&mut self, now: Now) {
        for id in self.state.commands.due(now.monotonic) {
            self.state.work.feed(&id, CommandEvent::Wake);
        }
        for id in self.state.commands.take_ends_again(now.monotonic) {
            dispatch::write_end_again(&mut self.state, &id, now);
        }
        self.stops.on_time(&mut self.state, now);
        self.audits.on_time(&mut self.state, now);
        self.contests.on_time(&mut self.state, now);
        self.keyboards.on_time(&mut self.state, now);
    }

    /// Does all that is still to be done, and then gives free slots to the commands whose turn it is.
    fn settle(&mut self, now: Now) {
        let state = &mut self.state;
        loop {
            match state.work.pop() {
                Some(Next::Perform(id, action)) => dispatch::perform(state, &id, action, now),
                Some(Next::Do(todo)) => Self::work(state, todo, now),
                None => match state.queues_changed.pop_first() {
                    Some(agent) if dispatch::fill_slots(state, &agent, now) => {
                        // There may be a slot for one more.
                        let _ = state.queues_changed.insert(agent);
                    }
                    Some(_) => {}
                    None => break,
                },
            }
        }
        self.stops.answer(state, now);
    }

    fn work(state: &mut State, todo: Todo, now: Now) {
        match todo {
            Todo::Feed(id, event) => dispatch::feed(state, &id, event, now),
            Todo::Hear(id, agent, command::Heard::Piece(piece)) => {
                output::on_piece(state, &agent, &id, piece, now);
            }
            Todo::Hear(_, agent, command::Heard::Complete(report)) => {
                dispatch::on_complete(state, &agent, report, now);
            }
            Todo::Send(agent, message) => {
                // An agent that is away runs nothing new.
                let _ = state.send(&agent, *message);
            }
            Todo::GiveUp(id) => terminal::give_up_now(state, &id, now),
            Todo::Journal(agent, journal) => {
                state.note_journal(&agent, journal);
            }
        }
    }
}

#[cfg(test)]
mod tests;
