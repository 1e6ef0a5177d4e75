//! The way of a command to its agent and back: whose turn it is, what is sent and what is not, what the
//! return of an agent means, and what is published and stored of where a command is.

use super::action::{Token, Write};
use super::command::{
    AfterEnd, Command, Course, Heard, Log, Open, Row, as_sent, misread, too_long,
};
use super::commands::Fed;
use super::event::{Inserted, StoreFault};
use super::note::FleetNote;
use super::output;
use super::roster::{Began, LossCourse, Lost, LostAgent, SessionCourse};
use super::row::{CommandRecord, CommandUpdate};
use super::state::State;
use super::view::{self, Change};
use super::waits::why_it_waits;
use super::work::Todo;
use crate::command::{
    CommandAction, CommandCause, CommandEvent, CommandStage, CommandView, Exit, Returned,
};
use crate::id::{AgentId, CommandId};
use crate::model::{Dialect, Force, Pausing, TYPED_INTO};
use crate::output::Written;
use crate::terminal::HoldView;
use crate::time::Now;
use crate::wire::ServerToAgent;
use crate::wire::payload::{
    CommandAck, CommandCancel, CommandComplete, CommandPhase, CommandRequest, ErrorCode,
    ErrorReply, LongText,
};
use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// Slots of an agent without a queue: what comes goes out at once.
pub(super) const NO_QUEUE: usize = usize::MAX;

/// Feeds the lifecycle of a command, and has its step performed.
pub(super) fn feed(state: &mut State, id: &CommandId, event: CommandEvent, now: Now) {
    let fed = state.commands.feed(id, event, now);
    follow(state, id, fed, now);
}

fn follow(state: &mut State, id: &CommandId, fed: Fed, now: Now) {
    let Fed { actions, reached } = fed;
    state.work.perform(id, actions);
    // Most events (output, repeated acknowledgements) leave a command where it is, and its queue as it was.
    if reached.is_some() {
        line_up(state, id, now);
    }
}

/// An agent acknowledged a command. Nothing else is being worked on, so its lifecycle is fed at once.
/// `holder`: who has the keyboard of its terminal.
pub(super) fn on_acknowledged(
    state: &mut State,
    agent: &AgentId,
    ack: CommandAck,
    holder: Option<&HoldView>,
    now: Now,
) {
    let CommandAck { command_id: id, status, waits_for, line_idle_ms, .. } = ack;
    let idle = line_idle_ms.map(Duration::from_millis);
    let said = waits_for.map(|waits| shortened(&why_it_waits(&waits, idle, holder)).to_owned());
    let own = state.commands.get_mut(&id).filter(|command| command.agent == *agent);
    let is_another = own.and_then(Command::open_mut).is_some_and(|open| {
        let before = core::mem::replace(&mut open.waits_for, said.clone());
        before != said && open.lifecycle.is_before_start()
    });
    let event = CommandEvent::Acknowledged(status);
    match state.commands.feed_of(agent, &id, event, now) {
        Some(fed) => follow(state, &id, fed, now),
        None => return state.note_foreign(agent, &id),
    }
    if is_another {
        state.show_command(&id);
    }
}

/// Performs one action of a step.
pub(super) fn perform(state: &mut State, id: &CommandId, action: CommandAction, now: Now) {
    match action {
        CommandAction::Send => send(state, id),
        CommandAction::SendCancel { force } => {
            if let Some(agent) = state.commands.get(id).map(|command| command.agent.clone()) {
                state.cancel_at(&agent, id, force);
            }
        }
        CommandAction::Publish(view) => publish(state, id, view, now),
    }
}

/// Where a command stands in the queue of its agent follows from where it is in its lifecycle.
pub(super) fn line_up(state: &mut State, id: &CommandId, now: Now) {
    let Some(command) = state.commands.get(id) else { return };
    let Some(open) = command.open().filter(|_| !id.is_terminal()) else { return };
    let (stage, priority) = (open.lifecycle.view().status, open.request.priority);
    let name = command.agent.clone();
    let Some(agent) = state.roster.agent_mut(&name) else { return };
    match stage {
        // Not in the database yet: it must not run before its row is there (P-94).
        CommandStage::Pending => return,
        CommandStage::Queued => agent.queue.join(id.clone(), priority, now.monotonic),
        CommandStage::Delivered | CommandStage::Running | CommandStage::Cancelling => {
            // One whose cancellation is not confirmed still runs.
            agent.queue.occupy(id);
        }
        CommandStage::Completed
        | CommandStage::Failed
        | CommandStage::Cancelled
        | CommandStage::Lost
        | CommandStage::Unknown => agent.queue.leave(id),
    }
    let _ = state.queues_changed.insert(name);
}

/// A command is over for this server: its slot is free.
pub(super) fn leave_queue(state: &mut State, agent: &AgentId, id: &CommandId) {
    if let Some(known) = state.roster.agent_mut(agent) {
        known.queue.leave(id);
        let _ = state.queues_changed.insert(agent.clone());
    }
}

/// Gives the next free slot of an agent to the command whose turn it is. Whether there was one of each.
pub(super) fn fill_slots(state: &mut State, agent: &AgentId, now: Now) -> bool {
    let Some((_, session)) = state.roster.session(agent) else { return false };
    let dialect = session.capabilities.dialect();
    let Some(known) = state.roster.agent_mut(agent) else { return false };
    known.queue.set_slots(match dialect {
        Dialect::Extended => known.slots,
        // A wrapper reports no end, so a slot of it would never become free.
        Dialect::Legacy => NO_QUEUE,
    });
    let Some(id) = known.queue.take_next(now.monotonic) else { return false };
    // It may have waited for an agent that came back as another, or was stopped meanwhile. Refused before
    // its lifecycle takes the slot for a start, it is never shown as running.
    if may_be_sent(state, &id) {
        state.work.feed(&id, CommandEvent::SlotGranted);
    }
    true
}

/// Whether a command may go to its agent now. If not, it ends.
fn may_be_sent(state: &mut State, id: &CommandId) -> bool {
    let Some(command) = state.commands.get(id) else { return false };
    let Some(open) = command.open() else { return false };
    // It never came to the agent, so that it did not run is known.
    if state.stop_of(&command.agent).is_some() {
        let phase = CommandPhase::Cancelled;
        state.work.feed(id, CommandEvent::Completed { phase, exit: None });
        return false;
    }
    let session = state.roster.session(&command.agent).map(|(_, session)| session);
    let dialect = session.map_or(Dialect::Extended, |session| session.capabilities.dialect());
    // An earlier version of this server took requests of any length; and the agent may come back as a wrapper.
    if let Some(why) = too_long(&open.request, dialect) {
        state.end_because(id, CommandPhase::Failed, &why);
        return false;
    }
    if let Some(LongText::Declared(_)) = open.request.long_text {
        let why = "the server was restarted before this text was typed, and texts of more than 64 KiB are kept in memory only; send it again under a new id";
        state.end_because(id, CommandPhase::Failed, why);
        return false;
    }
    // A run of this server before this one had it, in memory.
    if open.request.is_secret() && open.request.text == CommandRequest::SECRET {
        let why = "the server was restarted before this secret was typed, and secrets are not stored; send it again under a new id";
        state.end_because(id, CommandPhase::Failed, why);
        return false;
    }
    // Without a session there is nothing to hold it against, and it is not sent either.
    let Some(session) = session else { return true };
    match misread(dialect, Some(session), &open.request) {
        Some(why) => {
            state.end_because(id, CommandPhase::Failed, why);
            false
        }
        None => true,
    }
}

fn send(state: &mut State, id: &CommandId) {
    let is_again = |open: &Open| open.lifecycle.is_sent_again();
    let command = state.commands.get(id);
    if let Some(command) = command.filter(|command| command.open().is_some_and(is_again))
        && state.stop_of(&command.agent).is_some()
    {
        // Its agent may have it, and says what became of it: that it never started is unknown.
        return;
    }
    if !may_be_sent(state, id) {
        return;
    }
    let Some(command) = state.commands.get(id) else { return };
    let (agent, Some(open)) = (command.agent.clone(), command.open()) else { return };
    let Some((seat, session)) = state.roster.session(&agent) else {
        return state.no_session(&agent, id);
    };
    let dialect = session.capabilities.dialect();
    let mut request = as_sent(&open.request, dialect);
    if !session.capabilities.says_what_typing_waits_for() {
        request.open_line = None;
    }
    if dialect == Dialect::Legacy {
        // A legacy wrapper reports no ends: that it gets the next one is all that is known of the others.
        for other in state.commands.others_of(&agent, id) {
            state.work.feed(&other, CommandEvent::NextCommand);
        }
    }
    if !session.capabilities.traces_commands() {
        request.trace = None;
    }
    for piece in request.long_text.iter().flat_map(|long| long.pieces(id)) {
        state.out.send(seat, ServerToAgent::CommandText(piece));
    }
    state.out.send(seat, ServerToAgent::CommandRequest(request));
    state.out.note(FleetNote::CommandSent { command: id.clone(), agent });
}

/// Shows and stores where a command is.
pub(super) fn publish(state: &mut State, id: &CommandId, view: CommandView, now: Now) {
    state.out.note(FleetNote::Command { command: id.clone(), view });
    let Some(command) = state.commands.get_mut(id) else { return };
    let cause = view::reason(command.detail.as_deref(), &view);
    let Some(open) = command.open_mut() else { return };
    let (row, waiters) = match view.status.is_final() {
        true => (open.row, core::mem::take(&mut open.waiters)),
        false => (open.row, Vec::new()),
    };
    // It ended before the store had it: accepted is what is stored, and this will not be run.
    for token in waiters {
        state.refuse(token, ErrorCode::StorageUnavailable, view.because.to_string(), id);
    }
    state.show_command(id);
    // While its row is not there: if that never comes, neither must an update; if it comes late, what is
    // decided by then is written behind it.
    if row == Row::Stored {
        let update = CommandUpdate::new(&view, cause, now.wall);
        state.out.write(Write::Command { command: id.clone(), update });
    }
}

/// The store took a command, has one of this id, or refused it.
pub(super) fn inserted(
    state: &mut State,
    id: &CommandId,
    inserted: Result<Inserted, StoreFault>,
    now: Now,
) {
    match inserted {
        Ok(Inserted::New) => taken(state, id, now),
        Ok(Inserted::Existing(record)) => existed(state, id, &record),
        Err(fault) => not_taken(state, id, &fault),
    }
}

fn taken(state: &mut State, id: &CommandId, now: Now) {
    let Some(open) = state.commands.get_mut(id).and_then(Command::open_mut) else { return };
    open.row = Row::Stored;
    let view = open.lifecycle.view();
    if view.status.is_final() {
        // It ended while the database did not take it. Its row must say so, or it would be run after the
        // next start.
        return publish(state, id, view, now);
    }
    let waiters = core::mem::take(&mut open.waiters);
    let is_secret = open.request.is_secret();
    state.show_command(id);
    for token in waiters {
        state.out.reply(token, Ok(()));
    }
    state.work.feed(id, CommandEvent::Stored);
    let agent = state.commands.get(id).map(|command| command.agent.clone());
    if is_secret && agent.is_some_and(|agent| state.roster.session(&agent).is_none()) {
        let why = "its agent disconnected before this secret was sent, and secrets are not queued; nothing was typed";
        state.end_because(id, CommandPhase::Failed, why);
    }
}

fn existed(state: &mut State, id: &CommandId, record: &CommandRecord) {
    state.out.note(FleetNote::CommandRepeated { command: id.clone() });
    let Some(command) = state.commands.remove(id) else { return };
    let Command { agent, log, course, .. } = command;
    leave_queue(state, &agent, id);
    if let Course::Open(open) = course {
        for token in open.waiters {
            state.out.reply(token, Ok(()));
        }
    }
    if id.is_terminal() {
        // It is over here, so it must not continue there.
        state.cancel_at(&agent, id, Force::AtOnce);
    }
    // A terminal writes at once, and has had its position since it was opened; of any other command it is unknown
    // here yet where its output continues.
    let log = match id.is_terminal() {
        true => log,
        false => {
            // What it wrote under this id meanwhile is in the store's queue, and nothing here awaits it.
            state.release(&agent, log.waiting());
            output::ask_log_position(state, id)
        }
    };
    show_ended(state, id, record, log);
    // Such an end may be one that this server declared for want of room, as its agent has not heard yet.
    if id.is_terminal() && matches!(record.stage, CommandStage::Lost | CommandStage::Unknown) {
        output::close(state, id);
        state.report_unknown(&agent, id);
    }
    state.store_journal(&agent);
}

/// Shows a command that ended earlier, as the store has it, to those who ask for it again.
pub(super) fn show_ended(state: &mut State, id: &CommandId, record: &CommandRecord, log: Log) {
    // If nothing was stored of how it ended, this server does not know.
    let status = match record.stage.is_final() {
        true => record.stage,
        false => CommandStage::Unknown,
    };
    let view = CommandView {
        status,
        because: CommandCause::AgentReported(record.exit),
        exit: record.exit,
        started_at: Some(record.created_at),
        ended_at: record.ended_at,
    };
    let command =
        Command { agent: record.agent.clone(), log, detail: None, course: Course::Over(view) };
    state.commands.insert(id.clone(), command);
    state.show_command(id);
    state.commands.make_room_for_ended(&mut state.out);
}

/// The error code that a user gets for a fault.
const fn code_of(fault: &StoreFault) -> ErrorCode {
    match fault {
        StoreFault::OverLimit(_) => ErrorCode::QueueFull,
        StoreFault::Refused(_) | StoreFault::Unavailable(_) => ErrorCode::StorageUnavailable,
    }
}

fn not_taken(state: &mut State, id: &CommandId, fault: &StoreFault) {
    let why = fault.to_string();
    state.out.note(FleetNote::CommandNotStored { command: id.clone(), why: why.clone() });
    let Some(command) = state.commands.get_mut(id) else { return };
    let agent = command.agent.clone();
    let Some(open) = command.open_mut() else { return };
    for token in core::mem::take(&mut open.waiters) {
        state.refuse(token, code_of(fault), why.clone(), id);
    }
    leave_queue(state, &agent, id);
    if id.is_terminal() {
        output::drop_log(state, id);
        if state.commands.remove(id).is_some() {
            state.out.show(Change::CommandRemoved(id.clone()));
        }
        match fault {
            // Refused permanently; for the other faults its agent names it again in the next session.
            StoreFault::Refused(_) => state.report_unknown(&agent, id),
            StoreFault::OverLimit(_) | StoreFault::Unavailable(_) => {}
        }
    } else {
        // No reader saw it. Its sender is to ask again, and then it must not be taken for one that is
        // over, which would be answered as accepted.
        if let Some(command) = state.commands.remove(id) {
            state.release(&agent, command.log.waiting());
        }
    }
    state.store_journal(&agent);
}

/// The end of a command is stored: its agent may forget it.
pub(super) fn end_stored(
    state: &mut State,
    id: &CommandId,
    stored: Result<(), StoreFault>,
    now: Now,
) {
    let Some(command) = state.commands.get(id) else { return };
    let agent = command.agent.clone();
    let Some(open) = command.open() else { return };
    let (view, after_end) = (open.lifecycle.view(), open.after_end);
    if let Err(fault) = stored {
        let why = fault.to_string();
        state.out.note(FleetNote::EndNotStored { command: id.clone(), why });
        // Not confirmed until then: the agent's journal alone has the end (P-101).
        return state.commands.write_end_later(id, now.monotonic);
    }
    leave_queue(state, &agent, id);
    state.commands.close(id, view, &mut state.out);
    state.store_journal(&agent);
    match after_end {
        AfterEnd::Confirm => state.confirm(&agent, id),
        AfterEnd::Drop => state.report_unknown(&agent, id),
    }
}

/// Writes an end again that could not be stored.
pub(super) fn write_end_again(state: &mut State, id: &CommandId, now: Now) {
    let Some(command) = state.commands.get(id) else { return };
    let Some(view) = command.open().map(|open| open.lifecycle.view()) else { return };
    let cause = view::reason(command.detail.as_deref(), &view);
    let update = CommandUpdate::new(&view, cause, now.wall);
    state.out.write(Write::Command { command: id.clone(), update });
}

/// An agent is in session: both sides say what they know of its commands. Gives those that this server does
/// not know.
pub(super) fn reconcile(state: &mut State, began: Began, now: Now) -> Vec<CommandId> {
    let mut unknown = Vec::new();
    let Began { agent, returned, commands, journal, course } = began;
    let known: BTreeSet<&CommandId> = commands.iter().collect();
    for id in state.commands.open_of(&agent) {
        match (returned.dialect, course) {
            // After a restart of this server; else its output ends there already.
            (Dialect::Legacy, SessionCourse::Resumed) => output::interrupt(state, &id, now),
            (Dialect::Legacy, SessionCourse::Unbroken) | (Dialect::Extended, _) => {}
        }
        let returned = Returned { known: known.contains(&id), ..returned };
        state.work.feed(&id, CommandEvent::LinkBack(returned));
    }
    if returned.dialect == Dialect::Extended {
        for id in commands {
            match state.commands.get(&id).map(|command| &command.course) {
                // Terminals are reported again in each session, and judged then.
                Some(Course::Over(_)) if !id.is_terminal() => {
                    // It is over here, so it must not continue there.
                    state.cancel_at(&agent, &id, Force::AtOnce);
                }
                Some(Course::Open(_) | Course::Over(_)) => {}
                // Not known is not over (P-242): adopted, and not cancelled.
                Some(Course::Loose) | None => unknown.push(id),
            }
        }
    }
    state.work.add(Todo::Journal(agent.clone(), journal));
    let _ = state.queues_changed.insert(agent);
    unknown
}

/// An agent is in session no more.
pub(super) fn lost(state: &mut State, Lost { agent, dialect, course }: Lost, now: Now) {
    for id in state.commands.open_of(&agent) {
        match dialect {
            Dialect::Legacy => output::interrupt(state, &id, now),
            Dialect::Extended => {}
        }
        let open = state.commands.get(&id).and_then(Command::open);
        let is_secret_on_its_way =
            open.is_some_and(|open| open.request.is_secret() && open.lifecycle.is_before_start());
        if is_secret_on_its_way && matches!(course, LossCourse::Lost) {
            let why = "its agent disconnected before it confirmed typing this secret, and secrets are not queued; whether it was typed is unknown";
            state.end_because(&id, CommandPhase::OutcomeUnknown, why);
            continue;
        }
        let event = match course {
            LossCourse::HandedOver => CommandEvent::LinkHandedOver,
            LossCourse::Lost => CommandEvent::LinkLost,
        };
        state.work.feed(&id, event);
    }
    state.show_pausing(&agent, Pausing::Running, now.wall);
    state.show_program_fault(&agent, None);
    state.show_activity(&agent, None);
    state.show_stop(&agent);
}

/// An agent is not awaited any more.
pub(super) fn agent_lost(state: &mut State, lost: LostAgent, now: Now) {
    let LostAgent { agent, journals } = lost;
    state.show_pausing(&agent, Pausing::Running, now.wall);
    for id in state.commands.open_of(&agent) {
        state.work.feed(&id, CommandEvent::AgentLost { journals });
    }
}

/// A user cancels a command.
pub(super) fn on_cancel(state: &mut State, token: Token, cancel: &CommandCancel) {
    let id = &cancel.command_id;
    let result = match state.commands.get(id).map(|command| &command.course) {
        Some(Course::Open(_)) => {
            state.work.feed(id, CommandEvent::Cancel { force: Force::of(cancel.force) });
            Ok(())
        }
        // What the sender wants is so already; a repeated cancel must not fail.
        Some(Course::Over(_)) => Ok(()),
        Some(Course::Loose) | None => {
            let why = "no open command of yours has this id";
            Err(ErrorReply::new(ErrorCode::CommandNotFound, why).for_command(Some(id.clone())))
        }
    };
    state.out.reply(token, result);
}

/// An agent reports that a command is over.
pub(super) fn on_complete(state: &mut State, agent: &AgentId, report: CommandComplete, now: Now) {
    let id = report.command_id.clone();
    if !state.is_of(agent, &id) {
        return;
    }
    let Some(report) = output::defer(state, agent, &id, Heard::Complete(report)) else { return };
    let Heard::Complete(report) = report else { return };
    if let Some(text) = &report.error {
        state.out.note(FleetNote::AgentSays { command: id.clone(), text: text.clone() });
    }
    let is_open = state.commands.get(&id).is_some_and(|command| command.open().is_some());
    if !is_open {
        // It is over here already, and the agent only wants to hear that. If this server gave it up by
        // itself, what is missing of its output is declared now: only this server knows.
        if state.commands.get(&id).is_some_and(Command::was_given_up) {
            output::finish(state, &id, Written::of(&report), now);
        }
        return state.confirm(agent, &id);
    }
    // In front of the end, so that a reader who sees the end has seen what is missing.
    output::finish(state, &id, Written::of(&report), now);
    let terminal = typed_into(state, agent, &report);
    if let Some(command) = state.commands.get_mut(&id) {
        let said = report.error.as_deref().map(|text| shortened(text).to_owned());
        command.detail = said.or(terminal);
    }
    let exit = match (report.exit_code, report.signal) {
        // P-31.
        (_, Some(signal)) => Some(Exit::Signal(signal)),
        (Some(code), None) => Some(Exit::Code(code)),
        (None, None) => None,
    };
    state.work.feed(&id, CommandEvent::Completed { phase: report.status, exit });
}

/// Where a command was typed into, and how to look at it: its own output is empty. An agent has one terminal at a
/// time, and what was typed into an earlier one would have ended with that.
fn typed_into(state: &State, agent: &AgentId, report: &CommandComplete) -> Option<String> {
    let is_typed = report.status == CommandPhase::Completed
        && report.exit_code.is_none()
        && report.signal.is_none()
        && !report.command_id.is_terminal()
        && state
            .roster
            .session(agent)
            .is_some_and(|(_, session)| session.capabilities.is_extended());
    let known = state.commands.open_of(agent);
    let terminal = known.iter().rev().find(|id| id.is_terminal()).filter(|_| is_typed)?;
    Some(format!("{TYPED_INTO}{terminal}; follow with `onsembl output --follow {terminal}`"))
}

/// What is kept of what an agent says about an end.
const DETAIL: usize = 4096;

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(DETAIL)).unwrap_or(text)
}
