//! Emergency stops: acted on at once, answered when they are durable, repeated until the agents say that
//! nothing runs, and the first thing that an agent gets when it comes back.

use super::action::{Answer, Question, SeatId, Token};
use super::event::StoreFault;
use super::note::FleetNote;
use super::report::{ReleaseReport, StopReport, StopState, StoppedAgent};
use super::state::State;
use super::work::Todo;
use crate::command::CommandEvent;
use crate::id::{AgentId, StopId};
use crate::limits::Limits;
use crate::model::{Capabilities, Dialect, Force};
use crate::stop::{StopOrder, StopScope};
use crate::time::{Deadline, Now, Timestamp};
use crate::wire::ServerToAgent;
use crate::wire::payload::{EmergencyStop, ErrorCode, ErrorReply, StopReceipt, StopRelease};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// How often a stop is repeated to agents until they say that nothing runs.
const REPEAT: Duration = Duration::from_secs(2);
/// How long the sender of a stop waits for the agents' receipts.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(3);

/// Stops and releases that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Stops {
    waits: Vec<Wait>,
    releases: Vec<Releasing>,
    repeat_at: Deadline,
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

/// Open commands of the agents of a stop.
#[derive(Clone, Copy, Debug, Default)]
struct Stopped {
    /// Those that are being killed.
    killed: usize,
    /// Those of agents that cannot confirm anything.
    notified: usize,
}

/// What is answered to a stop.
#[derive(Debug)]
enum Report {
    /// That it is durable. A dashboard is shown how far its agents are.
    Stored,
    /// How far these agents are, once they have said all that they will.
    Receipts {
        agents: Vec<AgentId>,
        /// Those of them that may still say something.
        awaited: Vec<AgentId>,
    },
}

/// A release that is not answered yet.
#[derive(Debug)]
struct Releasing {
    token: Token,
    count: usize,
    /// What keeps the agent stopped all the same.
    still: Option<ErrorReply>,
}

impl Wait {
    /// Whether an agent may still say how far it is. Each agent is looked at until it is done and never again,
    /// so that a stop of all costs one look an event, however many agents there are.
    fn awaits_receipts(&mut self, state: &State) -> bool {
        let Some(order) = self.orders.first() else { return false };
        let awaited = match &mut self.report {
            Report::Receipts { awaited, .. } => awaited,
            Report::Stored => return false,
        };
        while let Some(agent) = awaited.last() {
            if state.stop_state(agent, &order.id).is_pending() {
                return true;
            }
            let _ = awaited.pop();
        }
        false
    }
}

impl Stops {
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty() && self.releases.is_empty()
    }

    /// When [`on_time`](Self::on_time) must be called.
    pub(super) fn deadline(&self) -> Deadline {
        let waits = self.waits.iter().map(|wait| Deadline::At(wait.until));
        waits.fold(self.repeat_at, Deadline::min)
    }

    pub(super) fn on_time(&mut self, state: &mut State, now: Now) {
        if self.repeat_at.is_due(now.monotonic) {
            self.repeat(state, now);
        }
        self.answer(state, now);
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
        let Carried { order, is_new, agents, commands } = carry_out(state, scope, reason, now);
        let wait = Wait {
            token,
            new: is_new.then(|| order.id.clone()).into_iter().collect(),
            unstored: BTreeSet::from([order.id.clone()]),
            orders: alloc::vec![order],
            fault: None,
            commands,
            until: now.monotonic.saturating_add(RECEIPTS_WITHIN),
            report: Report::Receipts { awaited: agents.clone(), agents },
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
                    let carried = carry_out(state, scope, reason.clone(), now);
                    commands.killed += carried.commands.killed;
                    commands.notified += carried.commands.notified;
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
            let why = "the stop is carried out, but too many stops wait for the database to know whether it is durable";
            return state.out.reply(wait.token, Err(ErrorReply::new(ErrorCode::QueueFull, why)));
        }
        self.waits.push(wait);
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
        state.out.note(FleetNote::StopReceipt { agent: agent.clone(), stop, stage });
        state.show_stop(agent);
        self.answer(state, now);
    }

    /// Answers stops that are durable, and seen through or waited for long enough.
    pub(super) fn answer(&mut self, state: &mut State, now: Now) {
        for mut wait in core::mem::take(&mut self.waits) {
            if !wait.unstored.is_empty() {
                // The database decides when; then there is nothing more to wait for.
                let again = now.monotonic.saturating_add(RECEIPTS_WITHIN);
                if wait.until <= now.monotonic {
                    wait.until = again;
                }
                self.waits.push(wait);
            } else if now.monotonic < wait.until && wait.awaits_receipts(state) {
                self.waits.push(wait);
            } else {
                answer(state, wait);
            }
        }
    }

    /// Tells agents again that have not said that nothing runs.
    fn repeat(&mut self, state: &mut State, now: Now) {
        if state.latch.orders().next().is_none() {
            self.repeat_at = Deadline::Never;
            return;
        }
        self.repeat_at = Deadline::At(now.monotonic.saturating_add(REPEAT));
        let orders: Vec<(AgentId, SeatId, StopOrder)> = state
            .roster
            .agents()
            .keys()
            .filter_map(|agent| {
                let (seat, session) = state.roster.session(agent)?;
                let order = state.stop_of(agent)?;
                // Only to a peer that confirms: any other is shown as not confirmed (P-197).
                let pending = session.capabilities.latches_stops()
                    && session.stop_state(&order.id).is_pending();
                pending.then(|| (agent.clone(), seat, order.clone()))
            })
            .collect();
        for (agent, seat, order) in orders {
            send_order(state, seat, &order);
            state.out.note(FleetNote::StopRepeated { agent, stop: order.id });
        }
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
    pub(super) fn on_release(&mut self, state: &mut State, token: Token, scope: &StopScope) {
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
        for order in &released {
            state.out.note(FleetNote::StopReleased { stop: order.id.clone() });
            tell_release(state, order);
        }
        covered(state, scope).iter().for_each(|agent| state.show_stop(agent));
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
    match (report, orders.first()) {
        (Report::Receipts { agents, .. }, Some(order)) => {
            let agents = agents.into_iter().map(|agent| StoppedAgent {
                name: state
                    .roster
                    .agent(&agent)
                    .map_or_else(|| agent.as_str().to_owned(), |known| known.shown.name.clone()),
                state: state.stop_state(&agent, &order.id),
                agent_id: agent.as_str().to_owned(),
            });
            let Stopped { killed, notified } = commands;
            let (stop_id, agents) = (order.id.as_str().to_owned(), agents.collect());
            let report = StopReport { stop_id, agents, commands: killed, notified };
            state.out.answer(token, Answer::Stopped(report));
        }
        (Report::Stored, _) | (Report::Receipts { .. }, None) => state.out.reply(token, Ok(())),
    }
}

/// An order in force, and what was done.
struct Carried {
    order: StopOrder,
    /// Whether it was not in force before.
    is_new: bool,
    agents: Vec<AgentId>,
    commands: Stopped,
}

/// Puts an order in force, and kills what runs.
fn carry_out(state: &mut State, scope: StopScope, reason: String, now: Now) -> Carried {
    // Each agent that it is for is shown with it.
    let mut reason = reason;
    reason.truncate(reason.floor_char_boundary(Limits::DEFAULT.name_bytes));
    let id = state.ids.stop(now.wall);
    let minted = id.clone();
    let order = StopOrder { id, scope, reason, by: state.user.clone(), at: now.wall };
    let order = state.latch.set(order).clone();
    let agents = covered(state, &order.scope);
    // The order goes to the agents first; everything else can wait.
    for agent in &agents {
        if let Some((seat, _)) = state.roster.session(agent) {
            send_order(state, seat, &order);
        }
    }
    let mut commands = Stopped::default();
    for agent in &agents {
        let session = state.roster.session(agent).map(|(_, session)| session.capabilities);
        let count = match session.map(Capabilities::dialect) {
            Some(Dialect::Legacy) => &mut commands.notified,
            Some(Dialect::Extended) | None => &mut commands.killed,
        };
        for command in state.commands.open_of(agent) {
            *count += 1;
            state.work.feed(&command, CommandEvent::Cancel { force: Force::AtOnce });
        }
        state.show_stop(agent);
    }
    state.out.note(FleetNote::Stop {
        stop: Some(order.id.clone()),
        reason: order.reason.clone(),
        agents: agents.len(),
        commands: commands.killed.saturating_add(commands.notified),
    });
    Carried { is_new: order.id == minted, order, agents, commands }
}

/// Cancels every open command without grace, and tells the agents to stop all that they run. Nothing is held
/// back afterwards.
pub(super) fn on_stop_once(state: &mut State, token: Token, mut stop: EmergencyStop, now: Now) {
    let only: BTreeSet<AgentId> = stop.affected_agents.iter().map(AgentId::new).collect();
    let agents: Vec<AgentId> = match only.is_empty() {
        true => state.roster.agents().keys().cloned().collect(),
        false => only.into_iter().filter(|id| state.roster.agent(id).is_some()).collect(),
    };
    stop.triggered_by = Some(state.user.as_str().to_owned());
    stop.timestamp = Some(now.wall);
    let mut commands = 0;
    for agent in &agents {
        for command in state.commands.open_of(agent) {
            commands += 1;
            state.work.feed(&command, CommandEvent::Cancel { force: Force::AtOnce });
        }
        // Legacy wrappers stop for good at it, so that the cancellations come first.
        let message = Box::new(ServerToAgent::EmergencyStop(stop.clone()));
        state.work.add(Todo::Send(agent.clone(), message));
    }
    let reason = stop.reason.unwrap_or_default();
    state.out.note(FleetNote::Stop { stop: None, reason, agents: agents.len(), commands });
    state.out.reply(token, Ok(()));
}

/// An agent came back: before anything else it gets the stop in force.
pub(super) fn repeat_to(state: &mut State, agent: &AgentId, seat: SeatId) {
    if let Some(order) = state.stop_of(agent).cloned() {
        send_order(state, seat, &order);
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

/// The agents that an order of this scope is for.
fn covered(state: &State, scope: &StopScope) -> Vec<AgentId> {
    match scope {
        StopScope::All => state.roster.agents().keys().cloned().collect(),
        StopScope::Agent(agent) => {
            state.roster.agent(agent).map(|_| agent.clone()).into_iter().collect()
        }
    }
}

fn unknown_agent(state: &State, scope: &StopScope) -> Option<ErrorReply> {
    let agent = scope.agent()?;
    let error = ErrorReply::new(ErrorCode::AgentNotFound, "no agent of yours has this id");
    // One that is deleted may have a machine for a moment more; a stop for it would never be released.
    (!state.is_listed(agent)).then(|| error.for_agent(Some(agent.clone())))
}

/// Says to an agent in session that it is stopped.
fn send_order(state: &mut State, seat: SeatId, order: &StopOrder) {
    let stop = EmergencyStop {
        reason: Some(order.reason.clone()),
        triggered_by: Some(order.by.as_str().to_owned()),
        timestamp: Some(order.at),
        stop_id: Some(order.id.clone()),
        ..EmergencyStop::default()
    };
    state.out.send(seat, ServerToAgent::EmergencyStop(stop));
}

/// Tells the agents that were stopped by this order. Those for whom another one is in force now hear of that;
/// those that are away learn it from the next welcome.
fn tell_release(state: &mut State, order: &StopOrder) {
    for agent in covered(state, &order.scope) {
        let Some((seat, session)) = state.roster.session(&agent) else { continue };
        // It holds nothing that could be released: to it the stop was momentary (P-107).
        if !session.capabilities.latches_stops() {
            continue;
        }
        let release = StopRelease { stop_id: order.id.clone() };
        state.out.send(seat, ServerToAgent::StopRelease(release));
        if let Some(other) = state.stop_of(&agent).cloned() {
            send_order(state, seat, &other);
        }
    }
}
