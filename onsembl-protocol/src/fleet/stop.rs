//! Emergency stops: acted on at once, answered when they are durable, repeated until the agents say that
//! nothing runs, and the first thing that an agent gets when it comes back.

use super::action::{Answer, Question, SeatId, Token};
use super::collections::Set;
use super::event::StoreFault;
use super::note::FleetNote;
use super::report::{ReleaseReport, StopReport, StopState, StoppedAgent};
use super::state::State;
use super::stop_turns::{
    AGENTS_A_TURN, Stopped, Told, Turns, agents_behind, one_of, send_order, stop_once, tell,
    tell_release,
};
use crate::id::{AgentId, StopId};
use crate::limits::Limits;
use crate::stop::{StopOrder, StopScope};
use crate::time::{Deadline, Now, Timestamp};
use crate::wire::json_len;
use crate::wire::payload::{EmergencyStop, ErrorCode, ErrorReply, StopReceipt};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// How often a stop is repeated to agents until they say that nothing runs.
const REPEAT: Duration = Duration::from_secs(2);
/// How long the sender of a stop waits for the agents' receipts.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of the list of agents in a momentary stop that each of them is sent. One that is longer is not repeated to
/// each: the agent is sent its own name.
const LONGEST_LIST: usize = 4096;

/// Stops and releases that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Stops {
    waits: Vec<Wait>,
    releases: Vec<Releasing>,
    repeat_at: Deadline,
    turns: Turns,
    /// When the next turn is due, of the passes over agents and of the reports.
    turn_at: Deadline,
}

/// A stop that is not answered yet.
#[derive(Debug)]
struct Wait {
    token: Token,
    /// The orders in force for it, of which the first is reported.
    orders: Vec<StopOrder>,
    /// Those of them that the store has not taken.
    unstored: BTreeSet<StopId>,
    /// Those that were not in force before.
    new: BTreeSet<StopId>,
    fault: Option<StoreFault>,
    commands: Stopped,
    until: Timestamp,
    report: Report,
}

/// What is answered to a stop.
#[derive(Debug)]
enum Report {
    /// That it is durable. A dashboard is shown how far its agents are.
    Stored,
    /// How far this agent is, once it has said all that it will.
    OfOne(AgentId),
    /// The same of all agents.
    OfAll(Course),
}

/// How far the report of a stop of all is. No list of agents is kept for it: it goes by their ids.
#[derive(Debug)]
enum Course {
    /// The agents are being told.
    Telling,
    /// All agents up to this one have said all that they will.
    Awaiting { behind: Option<AgentId> },
    /// What they said is written down, up to this one.
    Reporting { behind: Option<AgentId>, agents: Vec<StoppedAgent> },
}

/// A release that is not answered yet.
#[derive(Debug)]
struct Releasing {
    token: Token,
    count: usize,
    /// What keeps the agent stopped all the same.
    still: Option<ErrorReply>,
}

/// What came of looking at a report.
enum Progress {
    Complete,
    /// Something is to be heard first.
    Waits,
    /// The event has looked at as many agents as it may.
    Cut,
}

impl Wait {
    /// Goes on with the report, by at most `room` looks at agents, which it takes from it. Each agent is looked at until
    /// it is done and never again.
    fn goes_on(&mut self, state: &State, room: &mut usize, now: Now) -> Progress {
        let Some(order) = self.orders.first().map(|order| order.id.clone()) else {
            return Progress::Complete;
        };
        let is_late = self.until <= now.monotonic;
        let course = match &mut self.report {
            Report::Stored => return Progress::Complete,
            Report::OfOne(agent) if is_late || !state.stop_state(agent, &order).is_pending() => {
                return Progress::Complete;
            }
            Report::OfOne(_) => return Progress::Waits,
            Report::OfAll(course) => course,
        };
        if let Course::Awaiting { behind } = course {
            // Nobody is waited for any more when the time is over.
            let next = |behind: Option<&AgentId>| match is_late {
                true => None,
                false => agents_behind(state, behind, 1).pop(),
            };
            while let Some(agent) = next(behind.as_ref()) {
                if *room == 0 {
                    return Progress::Cut;
                }
                *room = room.saturating_sub(1);
                if state.stop_state(&agent, &order).is_pending() {
                    return Progress::Waits;
                }
                *behind = Some(agent);
            }
            *course = Course::Reporting { behind: None, agents: Vec::new() };
        }
        match course {
            Course::Telling | Course::Awaiting { .. } => Progress::Waits,
            Course::Reporting { behind, agents } => {
                let next = agents_behind(state, behind.as_ref(), *room);
                let is_all = next.len() < *room;
                *room = room.saturating_sub(next.len());
                agents.extend(next.iter().map(|agent| told_of(state, agent, &order)));
                *behind = next.into_iter().next_back().or_else(|| behind.take());
                if is_all { Progress::Complete } else { Progress::Cut }
            }
        }
    }
}

impl Stops {
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty() && self.releases.is_empty()
    }

    /// When [`on_time`](Self::on_time) must be called.
    pub(super) fn deadline(&self) -> Deadline {
        let waits = self.waits.iter().map(|wait| Deadline::At(wait.until));
        waits.fold(self.repeat_at.min(self.turn_at), Deadline::min)
    }

    pub(super) fn on_time(&mut self, state: &mut State, now: Now) {
        if self.repeat_at.is_due(now.monotonic) {
            self.repeat(state, now);
        }
        if self.turn_at.is_due(now.monotonic) {
            self.turn(state, now);
        }
        self.answer(state, now);
    }

    /// One turn of the passes over agents.
    fn turn(&mut self, state: &mut State, now: Now) {
        for Told { order, stopped } in self.turns.take(state) {
            let of_it = |wait: &&mut Wait| wait.orders.first().is_some_and(|o| o.id == order);
            for wait in self.waits.iter_mut().filter(of_it) {
                if let Report::OfAll(course @ Course::Telling) = &mut wait.report {
                    *course = Course::Awaiting { behind: None };
                    wait.commands = stopped;
                    wait.until = now.monotonic.saturating_add(RECEIPTS_WITHIN);
                }
            }
        }
        self.turn_at = self.turns.deadline(now);
    }

    /// A stop for one scope, which is answered with what the agents say.
    pub(super) fn on_stop(
        &mut self,
        state: &mut State,
        token: Token,
        scope: StopScope,
        reason: String,
        now: Now,
    ) {
        if let Some(error) = unknown_agent(state, &scope) {
            return state.out.reply(token, Err(error));
        }
        let Carried { order, is_new, commands } = self.carry_out(state, scope, reason, now);
        let report = match &order.scope {
            StopScope::All => Report::OfAll(Course::Telling),
            StopScope::Agent(agent) => Report::OfOne(agent.clone()),
        };
        let wait = Wait {
            token,
            new: is_new.then(|| order.id.clone()).into_iter().collect(),
            unstored: BTreeSet::from([order.id.clone()]),
            orders: alloc::vec![order],
            fault: None,
            commands,
            until: now.monotonic.saturating_add(RECEIPTS_WITHIN),
            report,
        };
        self.wait(state, wait, now);
    }

    /// A stop of a dashboard that can release it.
    pub(super) fn on_latch_stop(
        &mut self,
        state: &mut State,
        token: Token,
        stop: EmergencyStop,
        now: Now,
    ) {
        let reason = stop.reason.unwrap_or_else(|| "no reason given".to_owned());
        let only: BTreeSet<AgentId> = stop.affected_agents.into_iter().map(AgentId::new).collect();
        let scopes: Vec<StopScope> = match only.is_empty() {
            true => alloc::vec![StopScope::All],
            false => only.into_iter().map(StopScope::Agent).collect(),
        };
        let mut unknown = None;
        let (mut orders, mut new, mut commands) = (Vec::new(), BTreeSet::new(), Stopped::default());
        for scope in scopes {
            match unknown_agent(state, &scope) {
                Some(error) => unknown = unknown.or(Some(error)),
                None => {
                    let carried = self.carry_out(state, scope, reason.clone(), now);
                    commands.add(carried.commands);
                    if carried.is_new {
                        let _ = new.insert(carried.order.id.clone());
                    }
                    orders.push(carried.order);
                }
            }
        }
        if let Some(error) = unknown {
            // Those that are known are stopped all the same.
            orders
                .into_iter()
                .filter(|order| new.contains(&order.id))
                .for_each(|order| state.out.ask(Question::Stop(order)));
            return state.out.reply(token, Err(error));
        }
        let wait = Wait {
            token,
            unstored: orders.iter().map(|order| order.id.clone()).collect(),
            new,
            orders,
            fault: None,
            commands,
            until: now.monotonic.saturating_add(RECEIPTS_WITHIN),
            report: Report::Stored,
        };
        self.wait(state, wait, now);
    }

    fn wait(&mut self, state: &mut State, wait: Wait, now: Now) {
        let is_full = self.waits.len() >= state.limits.waiting_stops;
        for order in &wait.orders {
            // One that was in force before has been asked for; beyond the bound that must be enough.
            if !is_full || wait.new.contains(&order.id) {
                state.out.ask(Question::Stop(order.clone()));
            }
        }
        if self.repeat_at == Deadline::Never {
            self.repeat_at = Deadline::At(now.monotonic.saturating_add(REPEAT));
        }
        // Stops are never refused for want of room: only the answer is, which says so.
        if is_full {
            self.turn(state, now);
            let why = "the stop is carried out, but too many stops wait for the database to know whether it is durable";
            return state.out.reply(wait.token, Err(ErrorReply::new(ErrorCode::QueueFull, why)));
        }
        self.waits.push(wait);
        self.turn(state, now);
    }

    /// Puts an order in force, and has what runs killed: of one agent now, of all in turns.
    fn carry_out(
        &mut self,
        state: &mut State,
        scope: StopScope,
        reason: String,
        now: Now,
    ) -> Carried {
        // Each agent that it is for is shown with it.
        let reason = shortened(reason);
        let id = state.ids.stop(now.wall);
        let minted = id.clone();
        let order = StopOrder { id, scope, reason, by: state.user.clone(), at: now.wall };
        let order = state.latch.set(order).clone();
        let commands = match &order.scope {
            StopScope::All => {
                self.turns.stop(order.id.clone());
                self.turn_at = Deadline::At(now.monotonic);
                Stopped::default()
            }
            StopScope::Agent(_) => {
                let agents = one_of(state, &order.scope);
                let commands = tell(state, &agents, &order);
                state.out.note(FleetNote::Stop {
                    stop: Some(order.id.clone()),
                    reason: order.reason.clone(),
                    agents: agents.len(),
                    commands: commands.all(),
                });
                commands
            }
        };
        Carried { is_new: order.id == minted, order, commands }
    }

    /// Cancels every open command without grace, and tells the agents to stop all that they run. Nothing is held
    /// back afterwards.
    pub(super) fn on_stop_once(
        &mut self,
        state: &mut State,
        token: Token,
        mut stop: EmergencyStop,
        now: Now,
    ) {
        stop.reason = stop.reason.map(shortened);
        stop.triggered_by = Some(state.user.as_str().to_owned());
        stop.timestamp = Some(now.wall);
        let only: BTreeSet<AgentId> = stop.affected_agents.iter().map(AgentId::new).collect();
        if only.is_empty() {
            self.turns.stop_once(stop);
            self.turn(state, now);
        } else {
            let agents: Vec<AgentId> =
                only.into_iter().filter(|id| state.roster.agent(id).is_some()).collect();
            let named = stop.affected_agents.iter().map(|agent| json_len(agent));
            let is_short = named.sum::<usize>() <= LONGEST_LIST;
            let mut commands: usize = 0;
            for agent in &agents {
                if !is_short {
                    stop.affected_agents = alloc::vec![agent.as_str().to_owned()];
                }
                let one = core::slice::from_ref(agent);
                commands = commands.saturating_add(stop_once(state, one, &stop));
            }
            let reason = stop.reason.unwrap_or_default();
            state.out.note(FleetNote::Stop { stop: None, reason, agents: agents.len(), commands });
        }
        state.out.reply(token, Ok(()));
    }

    /// The store took an order, or did not.
    pub(super) fn on_stored(
        &mut self,
        state: &mut State,
        stop: &StopId,
        fault: Option<&StoreFault>,
        now: Now,
    ) {
        // Of two requests at one moment, both are answered with what became of the first.
        let mut is_awaited = false;
        for wait in &mut self.waits {
            if wait.unstored.remove(stop) {
                is_awaited = true;
                wait.fault = wait.fault.take().or_else(|| fault.cloned());
            }
        }
        // Of one that was adopted: it is in force, and is adopted again after a restart.
        if let Some(fault) = fault.filter(|_| !is_awaited) {
            let why = fault.to_string();
            state.out.note(FleetNote::StopNotStored { stop: stop.clone(), why });
        }
        self.answer(state, now);
    }

    /// An agent says how far it is.
    pub(super) fn on_receipt(
        &mut self,
        state: &mut State,
        agent: &AgentId,
        receipt: &StopReceipt,
        now: Now,
    ) {
        let (stop, stage) = (receipt.stop_id.clone(), receipt.stage.clone());
        if let Some((_, session)) = state.roster.session_mut(agent) {
            session.stop_receipt = Some((stop.clone(), StopState::of(&stage)));
        }
        if state.stop_of(agent).is_none_or(|o| !state.stop_state(agent, &o.id).is_pending()) {
            let _ = state.unverified.remove(agent);
        }
        state.out.note(FleetNote::StopReceipt { agent: agent.clone(), stop, stage });
        state.show_stop(agent);
        self.answer(state, now);
    }

    /// Answers stops that are durable, and seen through or waited for long enough.
    pub(super) fn answer(&mut self, state: &mut State, now: Now) {
        // Each may look at one agent that it waits for.
        let mut room = AGENTS_A_TURN.saturating_add(self.waits.len());
        let mut is_cut = false;
        for mut wait in core::mem::take(&mut self.waits) {
            let is_told = !matches!(wait.report, Report::OfAll(Course::Telling));
            if !wait.unstored.is_empty() || !is_told {
                // The database, or the turns, decide when; then there is nothing more to wait for.
                let again = now.monotonic.saturating_add(RECEIPTS_WITHIN);
                if wait.until <= now.monotonic {
                    wait.until = again;
                }
                self.waits.push(wait);
                continue;
            }
            match wait.goes_on(state, &mut room, now) {
                Progress::Complete => answer(state, wait),
                Progress::Waits => self.waits.push(wait),
                Progress::Cut => {
                    is_cut = true;
                    self.waits.push(wait);
                }
            }
        }
        if is_cut {
            self.turn_at = Deadline::At(now.monotonic);
        }
    }

    /// Tells agents again that have not said that nothing runs.
    fn repeat(&mut self, state: &mut State, now: Now) {
        if state.latch.orders().next().is_none() {
            state.unverified = Set::new();
            self.repeat_at = Deadline::Never;
            return;
        }
        self.repeat_at = Deadline::At(now.monotonic.saturating_add(REPEAT));
        self.turns.repeat();
        self.turn_at = Deadline::At(now.monotonic);
    }

    /// An order that an earlier run of this server left in force.
    pub(super) fn recover(&mut self, state: &mut State, order: StopOrder, now: Now) {
        let (stop, reason) = (order.id.clone(), order.reason.clone());
        state.out.note(FleetNote::StopRecovered { stop, reason });
        let _ = state.latch.set(order);
        self.repeat_at = Deadline::At(now.monotonic.saturating_add(REPEAT));
    }

    /// The session of an agent on which a stop is in force that the store does not have: *not known* is not
    /// *released*. The order is adopted for this agent alone, whomever it was for (P-245).
    pub(super) fn adopt(&mut self, state: &mut State, agent: &AgentId, stop: &StopId, now: Now) {
        if state.stop_of(agent).is_some() {
            // What is in force is at least as much, and the agent obeys it.
            return;
        }
        let order = StopOrder {
            id: stop.adopted_for(agent),
            scope: StopScope::Agent(agent.clone()),
            reason: "adopted: its agent is stopped, and the database does not know why".to_owned(),
            by: state.user.clone(),
            at: now.wall,
        };
        state.out.note(FleetNote::StopAdopted { agent: agent.clone(), stop: order.id.clone() });
        state.out.ask(Question::Stop(order.clone()));
        let _ = state.latch.set(order);
        self.repeat_at = self.repeat_at.min(Deadline::At(now.monotonic.saturating_add(REPEAT)));
    }

    /// A user releases stops.
    pub(super) fn on_release(
        &mut self,
        state: &mut State,
        token: Token,
        scope: &StopScope,
        now: Now,
    ) {
        if self.releases.len() >= state.limits.waiting_stops {
            let why = "too many releases wait for the database; try again later";
            return state.out.reply(token, Err(ErrorReply::new(ErrorCode::QueueFull, why)));
        }
        let released = state.latch.release(scope);
        let still = match scope {
            StopScope::All => None,
            // A stop of all continues for this agent when its own is released, and the answer must not promise more.
            StopScope::Agent(agent) => unknown_agent(state, scope)
                .or_else(|| state.stop_of(agent).map(|order| stopped(order, agent))),
        };
        match scope {
            StopScope::All => self.turns.release(released.clone()),
            StopScope::Agent(agent) => {
                for order in &released {
                    state.out.note(FleetNote::StopReleased { stop: order.id.clone() });
                    tell_release(state, agent, order);
                }
            }
        }
        self.turn(state, now);
        let count = released.len();
        state.out.ask(Question::Release { token, orders: released });
        self.releases.push(Releasing { token, count, still });
    }

    /// The store took a release, or did not.
    pub(super) fn on_released(
        &mut self,
        state: &mut State,
        token: Token,
        stored: Result<(), StoreFault>,
    ) {
        let Some(at) = self.releases.iter().position(|releasing| releasing.token == token) else {
            return;
        };
        let Releasing { count, still, .. } = self.releases.swap_remove(at);
        let answer = match (stored, still) {
            (Err(why), _) => Answer::Refused(ErrorReply::new(
                ErrorCode::StorageUnavailable,
                format!("released, but a restart of the server would bring it back: {why}"),
            )),
            (Ok(()), Some(error)) => Answer::Refused(error),
            (Ok(()), None) => Answer::Released(ReleaseReport { released: count }),
        };
        state.out.answer(token, answer);
    }
}

/// How far an agent is.
fn told_of(state: &State, agent: &AgentId, order: &StopId) -> StoppedAgent {
    let known = state.roster.agent(agent);
    StoppedAgent {
        name: known.map_or_else(|| agent.as_str().to_owned(), |known| known.shown.name.clone()),
        state: state.stop_state(agent, order),
        agent_id: agent.as_str().to_owned(),
    }
}

/// A reason, as far as it is kept.
fn shortened(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(Limits::DEFAULT.name_bytes));
    reason
}

fn answer(state: &mut State, wait: Wait) {
    let Wait { token, orders, fault, commands, report, .. } = wait;
    if let Some(fault) = fault {
        let why = fault.to_string();
        let text =
            format!("the stop is in force, but would not survive a restart of the server: {why}");
        for order in &orders {
            let why = why.clone();
            state.out.note(FleetNote::StopNotStored { stop: order.id.clone(), why });
        }
        let error = ErrorReply::new(ErrorCode::StorageUnavailable, text);
        return state.out.reply(token, Err(error));
    }
    let Some(order) = orders.first().map(|order| &order.id) else {
        return state.out.reply(token, Ok(()));
    };
    let agents = match report {
        Report::Stored => return state.out.reply(token, Ok(())),
        Report::OfOne(agent) => {
            let known = state.roster.agent(&agent);
            known.map(|_| told_of(state, &agent, order)).into_iter().collect()
        }
        Report::OfAll(Course::Reporting { agents, .. }) => agents,
        Report::OfAll(Course::Telling | Course::Awaiting { .. }) => Vec::new(),
    };
    let Stopped { killed, notified } = commands;
    let report =
        StopReport { stop_id: order.as_str().to_owned(), agents, commands: killed, notified };
    state.out.answer(token, Answer::Stopped(report));
}

/// An order in force, and what was done.
struct Carried {
    order: StopOrder,
    /// Whether it was not in force before.
    is_new: bool,
    commands: Stopped,
}

/// An agent came back: before anything else it gets the stop in force.
pub(super) fn repeat_to(state: &mut State, agent: &AgentId, seat: SeatId) {
    if let Some(order) = state.stop_of(agent).cloned() {
        send_order(state, agent, seat, &order);
        state.out.note(FleetNote::StopAwaitedAgent { agent: agent.clone(), stop: order.id });
    }
    state.show_stop(agent);
}

/// Why a command for this agent is refused.
pub(super) fn stopped(order: &StopOrder, agent: &AgentId) -> ErrorReply {
    let (by, at, reason) = (&order.by, order.at, &order.reason);
    let how = match &order.scope {
        StopScope::All => "release --all".to_owned(),
        StopScope::Agent(agent) => format!("release {}", agent.as_str()),
    };
    let why = format!(
        "an emergency stop by {by} at {at} is in force ({reason}); `onsembl-server {how}` ends it"
    );
    ErrorReply::new(ErrorCode::AgentStopped, why).for_agent(Some(agent.clone()))
}

fn unknown_agent(state: &State, scope: &StopScope) -> Option<ErrorReply> {
    let agent = scope.agent()?;
    let error = ErrorReply::new(ErrorCode::AgentNotFound, "no agent of yours has this id");
    // One that is deleted may have a machine for a moment more; a stop for it would never be released.
    (!state.is_listed(agent)).then(|| error.for_agent(Some(agent.clone())))
}
