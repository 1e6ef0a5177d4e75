//! What every decision of a fleet reads and changes, and the steps that all of them share. What is decided
//! stands in the files beside it, one for each kind of decision.

use super::action::{FleetAction, Flow, SeatId, Token, Write};
use super::agent::{Listing, Session};
use super::agent_view::{AgentContest, AgentStop, PauseOrder};
use super::collections::Set;
use super::command::Command;
use super::commands::Commands;
use super::limits::FleetLimits;
use super::note::FleetNote;
use super::out::Out;
use super::report::StopState;
use super::roster::Roster;
use super::told::ReportedUnknown;
use super::uncredited::Uncredited;
use super::view::Change;
use super::work::WorkList;
use crate::command::{CommandEvent, CommandOrigin};
use crate::diagnosis::Sleep;
use crate::id::{AgentId, CommandId, JournalId, StopId, UserId};
use crate::model::{Activity, Dialect, Force, IdMint, Keeping, Pausing, ToldFault};
use crate::stop::{StopLatch, StopOrder};
use crate::time::WallTime;
use crate::wire::ServerToAgent;
use crate::wire::payload::{Ack, CommandCancel, CommandPhase, ErrorCode, ErrorReply};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

/// The memory of a fleet.
#[derive(Debug)]
pub(super) struct State {
    pub(super) user: UserId,
    pub(super) limits: FleetLimits,
    pub(super) roster: Roster,
    pub(super) commands: Commands,
    /// What becomes of the output of commands whose requests say nothing of it.
    pub(super) keeping: Keeping,
    /// Relayed output that waits for viewers.
    pub(super) uncredited: Uncredited,
    /// The emergency stops in force: a rule of the user, not of one agent.
    pub(super) latch: StopLatch,
    /// Agents that were told of a stop and have not said, as far as is known, that nothing runs.
    pub(super) unverified: Set<AgentId>,
    /// Agents that the store is asked to delete.
    pub(super) deletions: usize,
    /// Unknown commands that were reported to agents.
    pub(super) told: ReportedUnknown,
    /// Commands that could not be taken up in the sessions of their agents, to which that was reported: nothing of
    /// them is
    /// heard there.
    pub(super) not_taken: ReportedUnknown,
    pub(super) ids: IdMint,
    pub(super) work: WorkList,
    /// Agents in whose queue something changed.
    pub(super) queues_changed: Set<AgentId>,
    pub(super) out: Out,
}

impl State {
    pub(super) fn new(user: UserId, first_seat: SeatId, seed: u64, limits: FleetLimits) -> Self {
        Self {
            user,
            limits,
            roster: Roster::new(first_seat, limits),
            commands: Commands::new(&limits),
            keeping: Keeping::Stored,
            uncredited: Uncredited::new(),
            latch: StopLatch::default(),
            unverified: Set::new(),
            deletions: 0,
            told: ReportedUnknown::new(limits.told_bytes / 2),
            not_taken: ReportedUnknown::new(limits.told_bytes / 2),
            ids: IdMint::new(seed),
            work: WorkList::default(),
            queues_changed: Set::new(),
            out: Out::default(),
        }
    }

    /// The session of an agent that takes commands now.
    pub(super) fn working_session(&self, agent: &AgentId) -> Option<(SeatId, &Session)> {
        let (seat, session) = self.roster.session(agent)?;
        session.takes_commands().then_some((seat, session))
    }

    /// Sends this to an agent in session. Whether it is in session.
    pub(super) fn send(&mut self, agent: &AgentId, message: ServerToAgent) -> bool {
        match self.roster.session(agent) {
            Some((seat, _)) => {
                self.out.send(seat, message);
                true
            }
            None => false,
        }
    }

    /// Why an agent cannot be reached.
    pub(super) fn offline(&self, agent: &AgentId) -> ErrorReply {
        let why = match self.roster.agent(agent) {
            Some(known) => {
                let presence = &known.shown.presence;
                format!("the agent is {} ({})", presence.status.as_str(), presence.because)
            }
            None => "the agent is unknown".to_owned(),
        };
        let why = format!("{why}; try again when it is online");
        ErrorReply::new(ErrorCode::AgentOffline, why).for_agent(Some(agent.clone()))
    }

    /// An agent of this user that is listed has this id.
    pub(super) fn is_listed(&self, agent: &AgentId) -> bool {
        let listing = self.roster.agent(agent).map(|known| known.listing);
        listing == Some(Listing::Listed)
    }

    /// So much more output of an agent waits for the store.
    pub(super) fn throttle_by(&mut self, agent: &AgentId, cost: usize) {
        for (agent, flow) in self.roster.backpressure.add(agent, cost) {
            self.out.note(FleetNote::Throttled { agent: agent.clone() });
            self.throttle(&agent, flow);
        }
    }

    /// So much less does.
    pub(super) fn release(&mut self, agent: &AgentId, cost: usize) {
        for (agent, flow) in self.roster.backpressure.release(agent, cost) {
            self.throttle(&agent, flow);
        }
    }

    fn throttle(&mut self, agent: &AgentId, flow: Flow) {
        if let Some((seat, _)) = self.roster.session(agent) {
            self.out.act(FleetAction::Throttle { seat, flow });
        }
    }

    /// Whether this agent may speak of this command: not if it is another agent's.
    pub(super) fn is_of(&mut self, agent: &AgentId, command: &CommandId) -> bool {
        let own = self.commands.get(command).is_none_or(|known| known.agent == *agent);
        if !own {
            self.note_foreign(agent, command);
        }
        own
    }

    /// An agent spoke of a command of another agent.
    pub(super) fn note_foreign(&mut self, agent: &AgentId, command: &CommandId) {
        let (agent, command) = (agent.clone(), command.clone());
        self.out.note(FleetNote::ForeignCommand { agent, command });
    }

    /// The agent's report of an end is stored: it may forget the command.
    pub(super) fn confirm(&mut self, agent: &AgentId, command: &CommandId) {
        let ack = Ack { command_id: Some(command.clone()), success: true, ..Ack::default() };
        if !self.send(agent, ServerToAgent::Ack(ack)) {
            self.no_session(agent, command);
        }
    }

    pub(super) fn cancel_at(&mut self, agent: &AgentId, command: &CommandId, force: Force) {
        let cancel = CommandCancel {
            command_id: command.clone(),
            agent_id: None,
            reason: Some("cancelled".to_owned()),
            force: force.is_at_once(),
        };
        if !self.send(agent, ServerToAgent::CommandCancel(cancel)) {
            self.no_session(agent, command);
        }
    }

    /// What is to be said of a command is said again when its agent has a session.
    pub(super) fn no_session(&mut self, agent: &AgentId, command: &CommandId) {
        let (agent, command) = (agent.clone(), command.clone());
        self.out.note(FleetNote::NoSession { agent, command });
    }

    /// Tells an agent, once in a session, that this command is unknown here: what it keeps of it would be
    /// sent forever.
    pub(super) fn report_unknown(&mut self, agent: &AgentId, command: &CommandId) {
        let Some((seat, session)) = self.roster.session(agent) else { return };
        // A wrapper keeps nothing that it could drop.
        if session.capabilities.dialect() == Dialect::Legacy || !self.told.tell(seat, command) {
            return;
        }
        let why =
            "this server does not have this command and does not accept its output; drop both";
        let error = ErrorReply::new(ErrorCode::CommandNotFound, why);
        let error = error.for_command(Some(command.clone()));
        self.out.send(seat, ServerToAgent::Error(error));
        let (agent, command) = (agent.clone(), command.clone());
        self.out.note(FleetNote::UnknownCommandReported { agent, command });
    }

    /// Tells an agent, once in a session, that this command cannot be taken up now: it keeps what it has of it.
    /// Whether it was not told before. One without the feature would not understand it.
    pub(super) fn report_not_taken(
        &mut self,
        agent: &AgentId,
        command: &CommandId,
        code: ErrorCode,
        why: &str,
    ) -> bool {
        let Some((seat, session)) = self.roster.session(agent) else { return false };
        if !self.not_taken.tell(seat, command) {
            return false;
        }
        if session.capabilities.adopts_commands() {
            let error = ErrorReply::new(code, why).for_command(Some(command.clone()));
            self.out.send(seat, ServerToAgent::Error(error));
        }
        true
    }

    /// Whether this command is open here because its agent has it, and was not asked for here.
    pub(super) fn is_adopted(&self, command: &CommandId) -> bool {
        let open = self.commands.get(command).and_then(Command::open);
        open.is_some_and(|open| open.lifecycle.origin() == CommandOrigin::Adopted)
    }

    /// Whether this command of an agent could not be taken up in the present session.
    pub(super) fn was_not_taken(&self, agent: &AgentId, command: &CommandId) -> bool {
        let seat = self.roster.session(agent).map(|(seat, _)| seat);
        seat.is_some_and(|seat| self.not_taken.was_told(seat, command))
    }

    /// The stop that keeps this agent from starting anything.
    pub(super) fn stop_of(&self, agent: &AgentId) -> Option<&StopOrder> {
        self.latch.in_force(agent)
    }

    /// How far an agent is with a stop.
    pub(super) fn stop_state(&self, agent: &AgentId, stop: &StopId) -> StopState {
        let session = self.roster.session(agent);
        session.map_or(StopState::Away, |(_, session)| session.stop_state(stop))
    }

    /// Shows how far an agent is with the stop that is in force for it, if one is.
    pub(super) fn show_stop(&mut self, agent: &AgentId) {
        let stopped = self.stop_of(agent).map(|order| {
            let state = self.stop_state(agent, &order.id);
            Box::new(AgentStop { state, order: order.clone() })
        });
        let Some(known) = self.roster.agent_mut(agent) else { return };
        if known.shown.stopped != stopped {
            known.facts().stopped = stopped;
            self.roster.show(agent, &mut self.out);
        }
    }

    /// Shows that the session of an agent is contested, or is not any more.
    pub(super) fn show_contest(&mut self, agent: &AgentId, contest: Option<AgentContest>) {
        let Some(known) = self.roster.agent_mut(agent) else { return };
        if known.shown.contest != contest {
            known.facts().contest = contest;
            self.roster.show(agent, &mut self.out);
        }
    }

    /// Shows that an agent slept, which it proved when it was back.
    pub(super) fn show_slept(&mut self, agent: &AgentId, slept: Sleep) {
        let Some(known) = self.roster.agent_mut(agent) else { return };
        if known.shown.slept != Some(slept) {
            known.facts().slept = Some(slept);
            self.roster.show(agent, &mut self.out);
        }
    }

    /// Shows that the program of an agent's terminal does not run, or that nothing is known of it.
    pub(super) fn show_program_fault(&mut self, agent: &AgentId, told: Option<ToldFault>) {
        let Some(known) = self.roster.agent_mut(agent) else { return };
        if known.shown.program_fault.as_deref() != told.as_ref() {
            known.facts().program_fault = told.map(Box::new);
            self.roster.show(agent, &mut self.out);
        }
    }

    /// Shows the activity of an agent's program, or that it is unknown.
    pub(super) fn show_activity(&mut self, agent: &AgentId, activity: Option<Activity>) {
        let Some(known) = self.roster.agent_mut(agent) else { return };
        if known.shown.activity.as_deref() != activity.as_ref() {
            known.facts().activity = activity.map(Box::new);
            self.roster.show(agent, &mut self.out);
        }
    }

    /// Shows whether an agent is paused, and with it why those of its commands wait that it could start.
    pub(super) fn show_pausing(&mut self, agent: &AgentId, pausing: Pausing, now: WallTime) {
        let Some(known) = self.roster.agent_mut(agent) else { return };
        if known.shown.pausing == pausing {
            return;
        }
        let paused = match pausing {
            // An agent whose link was lost is paused still, by the same order.
            Pausing::Paused => {
                let unknown = || PauseOrder { by: None, at: now };
                Some(known.pause.get_or_insert_with(unknown).clone())
            }
            Pausing::Running => None,
        };
        let facts = known.facts();
        (facts.pausing, facts.paused) = (pausing, paused);
        self.roster.show(agent, &mut self.out);
        for command in self.commands.open_of(agent) {
            let view = self.commands.get(&command).and_then(Command::view);
            if view.is_some_and(|view| super::agent_view::awaits_agent(view.status)) {
                self.out.show(Change::CommandAgain(command));
            }
        }
    }

    /// An order to pause is on its way to this agent, or one to go on.
    pub(super) fn order_pausing(&mut self, agent: &AgentId, pausing: Pausing, now: WallTime) {
        let by = Some(self.user.clone());
        if let Some(known) = self.roster.agent_mut(agent) {
            known.pause = match pausing {
                // Asked for again it is paused since the first time.
                Pausing::Paused if known.shown.pausing.is_paused() => {
                    Some(known.pause.take().unwrap_or(PauseOrder { by, at: now }))
                }
                Pausing::Paused => Some(PauseOrder { by, at: now }),
                Pausing::Running => None,
            };
        }
    }

    /// Which journal an agent keeps in its present session.
    pub(super) fn note_journal(&mut self, agent: &AgentId, journal: Option<JournalId>) {
        if let Some(known) = self.roster.agent_mut(agent) {
            known.journal = journal;
        }
        self.store_journal(agent);
    }

    /// Stores which journal an agent keeps, once every end that its return decided is stored: a later run of
    /// the server takes those decisions for stored when it finds the journal. That it keeps none proves
    /// nothing, and is stored at once.
    pub(super) fn store_journal(&mut self, agent: &AgentId) {
        let Some(known) = self.roster.agent_mut(agent) else { return };
        let journal = known.journal.clone();
        if known.stored_journal == journal
            || journal.is_some() && self.commands.has_unstored_end(agent)
        {
            return;
        }
        known.stored_journal.clone_from(&journal);
        self.out.write(Write::Journal { agent: agent.clone(), journal });
    }

    /// Shows a command as it is now, if it is shown.
    pub(super) fn show_command(&mut self, id: &CommandId) {
        let Some(command) = self.commands.get(id).filter(|command| command.is_shown(id)) else {
            return;
        };
        self.out.show(Change::Command {
            command: id.clone(),
            agent: command.agent.clone(),
            view: command.view(),
            detail: command.detail.clone().or_else(|| command.waits_for()),
        });
    }

    /// Ends a command for a reason of this server's.
    pub(super) fn end_because(&mut self, id: &CommandId, phase: CommandPhase, why: &str) {
        if let Some(command) = self.commands.get_mut(id) {
            command.detail = Some(why.to_owned());
        }
        self.work.feed(id, CommandEvent::Completed { phase, exit: None });
    }

    /// Refuses a request about a command.
    pub(super) fn refuse(
        &mut self,
        token: Token,
        code: ErrorCode,
        why: impl Into<String>,
        id: &CommandId,
    ) {
        let error = ErrorReply::new(code, why).for_command(Some(id.clone()));
        self.out.reply(token, Err(error));
    }
}
