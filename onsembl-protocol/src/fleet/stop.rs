//! Emergency stops: acted on at once, answered when they are durable, repeated until the agents say that
//! nothing runs, and the first thing that an agent gets when it comes back.

use super::action::{Question, SeatId, Token};
use super::collections::Set;
use super::event::StoreFault;
use super::note::FleetNote;
use super::releases::Releases;
use super::report::StopState;
use super::state::State;
use super::stop_turns::{
    AGENTS_A_TURN, Stopped, Told, Turns, one_of, send_order, stop_once, tell, tell_release,
};
use super::stop_wait::{Course, Progress, Report, Wait};
use crate::id::{AgentId, StopId};
use crate::limits::Limits;
use crate::stop::{StopOrder, StopScope};
use crate::time::{Deadline, Now};
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
    releases: Releases,
    repeat_at: Deadline,
    turns: Turns,
    /// When the next turn is due, of the passes over agents and of the reports.
    turn_at: Deadline,
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
                if let Report::OfAll(course @ Course::Sending) = &mut wait.report {
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
            StopScope::All => Report::OfAll(Course::Sending),
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
            // Those that are known are stopped anyway.
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

    /// Cancels every open command without grace, and tells the agents to stop all that they run. Nothing is
    /// latched afterwards.
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
            let is_told = !matches!(wait.report, Report::OfAll(Course::Sending));
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
                Progress::Complete => wait.answer(state),
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
            reason: "adopted: its agent is stopped, and the database has no reason".to_owned(),
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
        self.releases.add(token, count, still);
    }

    /// The store took a release, or did not.
    pub(super) fn on_released(
        &mut self,
        state: &mut State,
        token: Token,
        stored: Result<(), StoreFault>,
    ) {
        self.releases.on_stored(state, token, stored);
    }
}

/// A reason, as far as it is kept.
fn shortened(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(Limits::DEFAULT.name_bytes));
    reason
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
        "an emergency stop by {by} at {at} is in force ({reason}); `onsembl {how}` ends it"
    );
    ErrorReply::new(ErrorCode::AgentStopped, why).for_agent(Some(agent.clone()))
}

fn unknown_agent(state: &State, scope: &StopScope) -> Option<ErrorReply> {
    let agent = scope.agent()?;
    let error = ErrorReply::new(ErrorCode::AgentNotFound, "no agent of yours has this id");
    // One that is deleted may have a machine for a moment more; a stop for it would never be released.
    (!state.is_listed(agent)).then(|| error.for_agent(Some(agent.clone())))
}
