//! Commands that an agent has and its fleet does not know: the database was lost, or put back as it was
//! earlier. *Not known* is not *over*: such a command is taken up under the user of the agent's token, within
//! that user's bounds, and is never sent. Only one whose end the store has is over.

use super::action::Write;
use super::command::{AfterEnd, Command, Course, Log, Open, Row, SizesTaken};
use super::event::{Inserted, StoreFault};
use super::note::FleetNote;
use super::output;
use super::row::CommandRecord;
use super::state::State;
use super::{command, dispatch};
use crate::command::{CommandEvent, CommandLifecycle, CommandTerms, Returned};
use crate::id::{AgentId, CommandId};
use crate::model::{Dialect, Force};
use crate::time::{Now, WallTime};
use crate::wire::payload::{CommandRequest, ErrorCode, ErrorReply};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// An agent named a command of its own. If that is unknown here, it is taken up.
pub(super) fn on_named(state: &mut State, agent: &AgentId, id: &CommandId, now: Now) {
    let is_known = match state.commands.get(id).map(|command| &command.course) {
        Some(Course::Open(_) | Course::Over(_)) => true,
        Some(Course::Loose) => !state.is_of(agent, id),
        None => false,
    };
    // Terminals are named in each session by a message of their own.
    if !is_known && !id.is_terminal() && dialect(state, agent) == Some(Dialect::Extended) {
        adopt(state, agent, id, now);
    }
}

fn dialect(state: &State, agent: &AgentId) -> Option<Dialect> {
    state.roster.session(agent).map(|(_, session)| session.capabilities.dialect())
}

fn adopt(state: &mut State, agent: &AgentId, id: &CommandId, now: Now) {
    let request = Box::new(CommandRequest::new(id.clone(), agent.clone(), String::new()));
    // It counts like any other (P-243): else an agent could open commands around the bound of its user.
    if let Some(why) = no_room(state, &request) {
        return not_taken(state, agent, id, ErrorCode::QueueFull, &why);
    }
    // There may be room by now.
    if let Some((seat, _)) = state.roster.session(agent) {
        state.not_taken.take_back(seat, id);
    }
    let lifecycle = CommandLifecycle::adopted(now);
    let open = Open::new(lifecycle, request, Vec::new());
    let record = open.record(id, agent, now.wall);
    // The store may have it anyway, and output of it.
    let log = match state.commands.remove(id) {
        Some(loose) => loose.log,
        None => output::ask_log_position(state, id),
    };
    state.commands.insert(id.clone(), Command::opened(agent.clone(), log, open));
    dispatch::line_up(state, id, now);
    // In front of its output, which takes the same way behind it.
    state.out.write(Write::Terminal(Box::new(record)));
}

/// Why the bounds of the user do not allow one more command, if they do not.
fn no_room(state: &State, request: &CommandRequest) -> Option<String> {
    let (count, bytes) = (state.limits.open_commands, state.limits.open_command_bytes);
    let would_be = state.commands.open_bytes().saturating_add(command::cost_of(request));
    (state.commands.open_by_user() >= count || would_be > bytes).then(|| {
        format!(
            "this server does not have this command, and its user has {count} open ones or {bytes} bytes of them, which is the limit; keep it, and report it again in the next session"
        )
    })
}

/// The command cannot be taken up now. Its agent keeps it; what comes of it in this session is dropped.
fn not_taken(state: &mut State, agent: &AgentId, id: &CommandId, code: ErrorCode, why: &str) {
    if !state.report_not_taken(agent, id, code, why) {
        return;
    }
    let (agent, command, why) = (agent.clone(), id.clone(), why.to_string());
    state.out.note(FleetNote::NotAdopted { agent, command, why });
}

/// The store took an adopted command, has one of this id, or refused it.
pub(super) fn inserted(
    state: &mut State,
    id: &CommandId,
    inserted: Result<Inserted, StoreFault>,
    now: Now,
) {
    match inserted {
        Ok(Inserted::New) => taken(state, id, now),
        Ok(Inserted::Existing(record)) => existed(state, id, *record, now),
        Err(fault) => refused(state, id, &fault.to_string()),
    }
}

fn taken(state: &mut State, id: &CommandId, now: Now) {
    let Some(command) = state.commands.get_mut(id) else { return };
    let agent = command.agent.clone();
    let Some(open) = command.open_mut() else { return };
    open.row = Row::Stored;
    let view = open.lifecycle.view();
    let waiters = core::mem::take(&mut open.waiters);
    waiters.into_iter().for_each(|token| state.out.reply(token, Ok(())));
    state.out.note(FleetNote::CommandAdopted { agent, command: id.clone() });
    // What was heard of it meanwhile is stored behind its row.
    dispatch::publish(state, id, view, now);
}

/// The store has the command, so that this fleet need not take it up: it is over, or not, as it says there.
fn existed(state: &mut State, id: &CommandId, record: CommandRecord, now: Now) {
    let Some(mut command) = state.commands.remove(id) else { return };
    // Who asked for it again meanwhile asked for what there is.
    let waiters = command.open_mut().map(|open| core::mem::take(&mut open.waiters));
    waiters.into_iter().flatten().for_each(|token| state.out.reply(token, Ok(())));
    let Command { agent, log, course, .. } = command;
    dispatch::leave_queue(state, &agent, id);
    if record.agent != agent {
        // What it says of another agent's command is ignored.
        output::forget(state, &agent, log);
        return state.note_foreign(&agent, id);
    }
    let has_ended = match &course {
        Course::Open(open) => open.lifecycle.view().status.is_final(),
        Course::Over(_) | Course::Loose => false,
    };
    let reported = has_ended || matches!(&log, Log::Deferred(deferred) if deferred.has_end());
    if record.stage.is_final() || record.ended_at.is_some() {
        dispatch::show_ended(state, id, &record, log);
        output::show_log(state, id);
        match reported {
            true => state.confirm(&agent, id),
            // It is over here, so it must not continue there.
            false => state.cancel_at(&agent, id, Force::AtOnce),
        }
        return state.store_journal(&agent);
    }
    // It is not over: what is stored of it says who asked for it and for how long, which adoption cannot.
    recover(state, record, log, now);
    let session = state.roster.session(&agent).map(|(_, session)| session.capabilities.dialect());
    if let Some(dialect) = session {
        let returned = Returned { dialect, same_process: false, remembers: false, known: true };
        state.work.feed(id, CommandEvent::LinkBack(returned));
    }
    // Its end came while the store was asked, and is not said again once it was heard.
    if let Course::Open(open) = course
        && open.lifecycle.view().status.is_final()
    {
        let view = open.lifecycle.view();
        let phase = view.status.phase();
        state.work.feed(id, CommandEvent::Completed { phase, exit: view.exit });
    }
}

/// The store does not take it.
fn refused(state: &mut State, id: &CommandId, why: &str) {
    let Some(mut command) = state.commands.remove(id) else { return };
    let waiters = command.open_mut().map(|open| core::mem::take(&mut open.waiters));
    for token in waiters.into_iter().flatten() {
        let error = ErrorReply::new(ErrorCode::StorageUnavailable, why);
        state.out.reply(token, Err(error.for_command(Some(id.clone()))));
    }
    let Command { agent, log, .. } = command;
    dispatch::leave_queue(state, &agent, id);
    output::forget(state, &agent, log);
    let why = format!("{why}; keep this command, and report it again in the next session");
    not_taken(state, &agent, id, ErrorCode::StorageUnavailable, &why);
    state.store_journal(&agent);
}

/// Puts in a command as it is stored, which is not over. Its agent is away.
pub(super) fn recover(state: &mut State, record: CommandRecord, log: Log, now: Now) {
    let since = |then: WallTime| {
        let millis = now.wall.unix_millis().saturating_sub(then.unix_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    };
    let asked = command::terms(&record.request);
    // Only labels of wall clocks know of the time before a restart. Who recovers gives those that were observed.
    let start_within = asked.start_within.saturating_sub(since(record.created_at));
    let terms = CommandTerms { start_within, ..asked };
    let lifecycle = CommandLifecycle::recovered(record.origin, terms, record.stage, now);
    let open = Open {
        deadline: lifecycle.deadline(),
        lifecycle,
        request: record.request,
        row: Row::Stored,
        waiters: Vec::new(),
        after_end: AfterEnd::Confirm,
        waits_for: None,
        sizes: SizesTaken::default(),
        untyped: 0,
    };
    let id = record.command;
    state.commands.insert(id.clone(), Command::opened(record.agent, log, open));
    state.show_command(&id);
    output::show_log(state, &id);
    dispatch::line_up(state, &id, now);
}
