//! The reference model: what must be true of a fleet, told from its facts alone.
//!
//! It imports nothing of this crate but [`fact`](super::fact): it does not know how the machines
//! come to what they do, only what an observer demands who knows what really happened. `docs/
//! INVARIANTS.md` lists the demands. Each fact costs constant time and, once every agent and process
//! has its slot, no allocation.

mod agent_end;
mod deadline;
mod dialling;
mod heartbeats;
mod host;
mod links;
mod presence;
mod recording;
mod rules;
mod runner;
mod seat;
mod served;
mod sessions;
mod silence;
mod violation;

pub use crate::lab::Invariant;
pub use rules::Rules;
pub use violation::{Subject, Violation};

use super::fact::{
    Agent, AgentStatus, Fact, HowEnded, LocalNanos, Process, Status, When, Wire, Witness,
};
use alloc::format;
use alloc::vec::Vec;
use host::Host;
use runner::{Phase, Runner};
use seat::{Came, Seat};
use violation::{Broken, Checked, demand};

/// Watches a world and remembers the first demand that was not met.
#[derive(Debug)]
pub struct Model {
    rules: Rules,
    legacy: Rules,
    server: Host,
    seats: Vec<Seat>,
    runners: Vec<Option<Runner>>,
    /// The latest process of each agent.
    latest: Vec<Option<Process>>,
    found: Option<Violation>,
}

impl Model {
    /// A model of a world that goes by these rules and in which nothing has happened.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            legacy: rules.for_legacy(),
            server: Host::default(),
            seats: Vec::new(),
            runners: Vec::new(),
            latest: Vec::new(),
            found: None,
        }
    }

    /// The first demand that was not met. It stays; what follows it is not looked at.
    pub const fn violation(&self) -> Option<&Violation> {
        self.found.as_ref()
    }

    /// The world is over. All faults were healed, long enough before that every agent that runs
    /// must be in session again.
    pub fn finish(&mut self, when: When) {
        if self.found.is_some() || !self.server.running {
            return;
        }
        for index in 0..self.latest.len() {
            let Some(process) = self.latest.get(index).copied().flatten() else { continue };
            let Some(agent) = u32::try_from(index).ok().map(Agent) else { continue };
            if let Err(broken) = self.is_connected(agent, process) {
                return self.breaks(when, Subject::Server(agent), *broken);
            }
        }
    }

    fn is_connected(&self, agent: Agent, process: Process) -> Checked {
        let Some(seat) = self.seats.get(index(agent.0)) else { return Ok(()) };
        let running = |p: Process| self.runners.get(index(p.0)).and_then(Option::as_ref);
        // Of several legacy processes any one may hold the session.
        let holder = seat.session.and_then(|s| running(s.process));
        let Some(runner) = holder.or_else(|| running(process)) else { return Ok(()) };
        if !runner.host.running || matches!(runner.phase, Phase::Closed) {
            return Ok(());
        }
        let here = match &runner.phase {
            Phase::InSession(wire, s) => Some((*wire, s.epoch)),
            Phase::Idle
            | Phase::Dialling(..)
            | Phase::Joining(..)
            | Phase::Waiting(_)
            | Phase::Leaving { .. }
            | Phase::Closed => None,
        };
        let here = here.filter(|_| runner.shown == AgentStatus::Connected);
        let there = match seat.shown.status {
            Status::Online | Status::Error => seat.session.map(|s| (s.wire, s.epoch)),
            Status::Connecting
            | Status::Stale
            | Status::TimedOut
            | Status::Reconnecting
            | Status::Offline => None,
        };
        demand(
            here.is_some() && here == there,
            Invariant::ConnectedInTheEnd,
            "both ends in session over one wire",
            || format!("{:?} here, {:?} there", runner.shown, seat.shown.status),
        )
    }

    fn seat(&mut self, agent: Agent) -> &mut Seat {
        entry(&mut self.seats, agent.0, || Seat::EMPTY)
    }

    #[cold]
    fn breaks(&mut self, when: When, subject: Subject, broken: Broken) {
        let Broken { invariant, expected, found } = broken;
        self.found = Some(Violation { invariant, when, subject, expected, found });
    }

    /// Facts of an agent's end.
    #[inline]
    fn at_end(
        &mut self,
        wakes: bool,
        process: Process,
        when: When,
        check: impl FnOnce(&mut Runner, &Rules, Option<&Seat>) -> Checked,
    ) {
        let Some(Some(runner)) = self.runners.get_mut(index(process.0)) else { return };
        if !runner.host.running {
            return;
        }
        let rules = if runner.legacy { &self.legacy } else { &self.rules };
        if wakes {
            runner.awake(when.local, rules);
        }
        if let Err(broken) = check(runner, rules, self.seats.get(index(runner.agent.0))) {
            self.breaks(when, Subject::End(process), *broken);
        }
    }

    /// Facts of the server's end.
    #[inline]
    fn at_server(
        &mut self,
        agent: Agent,
        when: When,
        check: impl FnOnce(&mut Seat, &Host, &Rules) -> Checked,
    ) {
        let seat = entry(&mut self.seats, agent.0, || Seat::EMPTY);
        if let Err(broken) = check(seat, &self.server, &self.rules) {
            self.breaks(when, Subject::Server(agent), *broken);
        }
    }

    fn process_started(&mut self, process: Process, agent: Agent, when: When) {
        let runner = Runner::new(agent, Host::started(when));
        *entry(&mut self.runners, process.0, || None) = Some(runner);
        *entry(&mut self.latest, agent.0, || None) = Some(process);
        let _ = self.seat(agent);
    }

    fn process_ended(&mut self, process: Process) {
        // What is over needs no room: long worlds start many processes.
        if let Some(entry) = self.runners.get_mut(index(process.0)) {
            *entry = None;
        }
    }

    fn process_back(&mut self, process: Process, when: When) {
        let Some(Some(runner)) = self.runners.get_mut(index(process.0)) else { return };
        let before = runner.host.back;
        if let (Some(absence), Phase::InSession(_, s)) =
            (runner.host.returns(when), &mut runner.phase)
        {
            s.silence.absent(absence, before, &self.rules);
        }
    }

    fn server_back(&mut self, when: When) {
        let before = self.server.back;
        if let Some(absence) = self.server.returns(when) {
            for seat in &mut self.seats {
                seat.absent(absence, before, &self.rules);
            }
        }
    }

    fn joined(&mut self, agent: Agent, wire: Wire, process: Process, when: When) {
        let says = match self.runners.get(index(process.0)) {
            Some(Some(runner)) => Some(runner.agent),
            Some(None) | None => None,
        };
        self.at_server(agent, when, |seat, _, _| {
            demand(
                says.is_none_or(|says| says == agent),
                Invariant::IdentityHolds,
                "a hello given to the agent that said it",
                || format!("one of {says:?}"),
            )?;
            sessions::joined(seat, wire, process, when.local)
        });
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[allow(clippy::indexing_slicing, reason = "the list was made long enough just before")]
fn entry<T>(entries: &mut Vec<T>, number: u32, empty: fn() -> T) -> &mut T {
    let at = index(number);
    if at >= entries.len() {
        entries.resize_with(at + 1, empty);
    }
    &mut entries[at]
}

fn overslept(host: &Host, now: LocalNanos, rules: &Rules) -> Checked {
    demand(
        host.absences > 0 && now <= host.back + rules.tolerance,
        Invariant::AbsenceIsReal,
        "an absence that is just over",
        || "none".into(),
    )
}

impl Witness for Model {
    #[inline]
    fn witness(&mut self, when: When, fact: &Fact) {
        if self.found.is_some() {
            return;
        }
        let now = when.local;
        match *fact {
            Fact::ProcessStarted(process, agent) => self.process_started(process, agent, when),
            Fact::ProcessEnded(process, HowEnded::InOrder | HowEnded::Killed) => {
                self.process_ended(process);
            }
            Fact::ProcessAway(process) => {
                if let Some(Some(runner)) = self.runners.get_mut(index(process.0)) {
                    runner.host.leaves(when);
                }
            }
            Fact::ProcessBack(process) => self.process_back(process, when),
            Fact::ServerStarted => self.server = Host::started(when),
            Fact::ServerEnded(HowEnded::InOrder | HowEnded::Killed) => {
                self.server.running = false;
                let loses = !self.rules.presence_is_durable;
                self.seats.iter_mut().for_each(|seat| seat.forget_all(loses));
            }
            Fact::ServerAway => self.server.leaves(when),
            Fact::ServerBack => self.server_back(when),
            Fact::WireStalled(_) | Fact::WireHealed(_) | Fact::WireCut(_) => {}

            Fact::Dialled(p, wire) => {
                self.at_end(true, p, when, |r, rules, _| r.dials(wire, now, rules));
            }
            Fact::DialEnded(p, wire, outcome) => self.at_end(true, p, when, |r, rules, _| {
                r.dial_ended(wire, outcome, now, rules);
                Ok(())
            }),
            Fact::AgentHeard(p, wire, frame) => self.at_end(true, p, when, |r, rules, seat| {
                let session = seat.and_then(|s| s.session.as_ref()).filter(|s| s.wire == wire);
                r.hears(wire, frame, session.map(|s| s.epoch), now, rules)
            }),
            Fact::AgentSent(p, wire, frame) => {
                self.at_end(true, p, when, |r, rules, _| r.says(wire, frame, now, rules));
            }
            // No step of the machine: a sleep that it could not notice yet is none to it.
            Fact::AgentForwarded(p, wire) => {
                self.at_end(false, p, when, |r, _, _| r.forwards(wire));
            }
            Fact::AgentClosed(p, wire, code) => {
                self.at_end(true, p, when, |r, rules, _| r.closes(wire, code, now, rules));
            }
            Fact::AgentLost(p, wire, end) => self.at_end(true, p, when, |r, rules, _| {
                r.loses(wire, end, now, rules);
                Ok(())
            }),
            Fact::AgentOrderedToStop(p, order) => self.at_end(false, p, when, |r, _, _| {
                r.ordered_to_stop(order);
                Ok(())
            }),
            Fact::AgentShows(p, status) => {
                self.at_end(true, p, when, |r, rules, _| r.shows(status, now, rules));
            }
            Fact::AgentNames(p, ailment) => {
                self.at_end(true, p, when, |r, rules, _| r.names(ailment, now, rules));
            }
            Fact::AgentOverslept(p) => {
                self.at_end(true, p, when, |r, rules, _| overslept(&r.host, now, rules));
            }
            Fact::AgentServed(p, deadline) => {
                self.at_end(true, p, when, |r, rules, _| r.served(deadline, now, rules));
            }

            Fact::Installed(a, how) => self.at_server(a, when, |s, _, _| s.install(how, when)),
            Fact::Joined(agent, wire, process) => self.joined(agent, wire, process, when),
            Fact::ServerHeard(a, wire, frame) => {
                self.at_server(a, when, |s, _, _| heartbeats::heard(s, wire, frame, now));
            }
            Fact::ServerSent(a, wire, frame) => {
                self.at_server(a, when, |s, host, rules| {
                    heartbeats::says(s, wire, frame, now, host, rules)
                });
            }
            Fact::ServerClosed(a, wire, code) => {
                self.at_server(a, when, |s, host, rules| {
                    links::closes(s, wire, code, now, host, rules)
                });
            }
            Fact::ServerLost(a, wire, end) => {
                self.at_server(a, when, |s, _, _| links::lost(s, wire, end, now));
            }
            Fact::EvictionAsked(a) => self.at_server(a, when, |s, _, _| links::evicted(s)),
            Fact::FaultReported(a, wire) => {
                self.at_server(a, when, |s, _, _| heartbeats::fault_reported(s, wire));
            }
            Fact::Shown(a, presence) => {
                self.at_server(a, when, |s, host, rules| {
                    presence::shows(s, presence, when, host, rules)
                });
            }
            Fact::ServerOverslept(a) => {
                self.at_server(a, when, |_, host, rules| overslept(host, now, rules));
            }
            Fact::Forgotten(a) => self.at_server(a, when, |s, _, _| presence::forgotten(s)),
            Fact::ServerServed(a, deadline) => {
                self.at_server(a, when, |s, host, rules| {
                    served::served(s, deadline, now, host, rules)
                });
            }

            Fact::SessionAsked(a, wire) => {
                self.at_server(a, when, |s, _, _| sessions::session_asked(s, wire));
            }
            Fact::SessionCommitted(a, epoch, process) => {
                self.at_server(a, when, |s, _, _| sessions::session_committed(s, epoch, process));
            }
            Fact::SessionAnswered(a, wire, epoch) => {
                self.at_server(a, when, |s, _, _| sessions::session_answered(s, wire, epoch, now));
            }
            Fact::SessionDenied(a, wire) => {
                self.at_server(a, when, |s, _, _| sessions::session_denied(s, wire));
            }
            Fact::BeatAsked(a, epoch, sequence) => {
                self.at_server(a, when, |s, _, _| heartbeats::beat_asked(s, epoch, sequence, now));
            }
            Fact::BeatCommitted(a, epoch, sequence) => {
                self.at_server(a, when, |s, _, _| heartbeats::beat_committed(s, epoch, sequence));
            }
            Fact::BeatAnswered(a, epoch, sequence) => {
                self.at_server(a, when, |s, _, _| heartbeats::beat_answered(s, epoch, sequence));
            }
            Fact::StoreReported(a, _) => self.at_server(a, when, |s, _, _| s.informed(Came::Store)),
        }
    }
}
