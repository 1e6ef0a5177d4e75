//! The world: its tables, its loop, and what it holds of itself to be a failure.

use super::agents::{AgentHost, Agents};
use super::codec::Codec;
use super::coverage::Coverage;
use super::env::Env;
use super::failure::Failure;
use super::host::{Host, span};
use super::links::{link as link_of, number};
use super::network::{Network, Way};
use super::queue::{Queue, What};
use super::random::Random;
use super::scenario::Scenario;
use super::server::Server;
use super::store::Store;
use super::{MILLI, SECOND, World};
use crate::lab::fact::{AgentStatus, Status, When, Witness};
use crate::session::ServerView;
use alloc::vec::Vec;

/// What came of a run.
#[derive(Clone, Debug)]
#[must_use = "a failure that is ignored is a test that cannot fail"]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Outcome {
    /// What was wrong, if anything was.
    pub failure: Option<Failure>,
    pub coverage: Coverage,
    /// Heartbeats that agents sent.
    pub beats: u64,
    /// Events that machines handled.
    pub steps: u64,
    /// True time at the end, in nanoseconds.
    pub lasted: u64,
}

impl<W: Witness> World<W> {
    /// The world of a scenario, before its first moment.
    pub fn new(scenario: &Scenario, witness: W) -> Self {
        let faults = scenario.planned();
        let mut queue = Queue::default();
        for (planned, number) in faults.iter().zip(0..) {
            queue.push(planned.at, What::Begin(number));
        }
        let duration = span(scenario.duration);
        queue.push(duration, What::Calm);
        queue.push(0, What::StartServer);
        let (mut hosts, mut ways) = (Vec::new(), Vec::new());
        for number in 0..scenario.agents {
            let mut random = Random::of(scenario.seed, 16 + u64::from(number));
            let host = Host::new(&mut random);
            let legacy = scenario.legacy_one_in > 0
                && number % scenario.legacy_one_in == scenario.legacy_one_in - 1;
            queue.push(random.between(MILLI, 5 * SECOND), What::StartAgent(number));
            hosts.push(AgentHost { host, legacy, processes: Vec::new() });
            ways.push(Way::new(random));
        }
        let store = Store::new(hosts.len(), Random::of(scenario.seed, 3));
        let host = Host::new(&mut Random::of(scenario.seed, 2));
        let env = Env {
            witness,
            now: 0,
            queue,
            net: Network::new(ways),
            codec: scenario.codec.then(|| Codec::new(scenario.server)),
            dial_timeout: span(scenario.agent.dial_timeout),
            coverage: Coverage::default(),
            beats: 0,
            steps: 0,
            failure: None,
        };
        let agents = Agents {
            rules: scenario.agent,
            server_rules: scenario.server,
            planted: scenario.planted,
            hosts,
            processes: Vec::new(),
        };
        Self {
            env,
            agents,
            server: Server::new(scenario.server, host, store, Random::of(scenario.seed, 4)),
            struck: alloc::vec![None; faults.len()],
            faults,
            calm: false,
            ends: duration + settling(scenario),
        }
    }

    /// Lets it all happen: the faults, then the healing, then the look at both ends.
    pub fn run(&mut self) -> Outcome {
        let (mut second, mut events) = (0, 0u64);
        while self.env.failure.is_none()
            && let Some(due) = self.env.queue.pop()
            && due.at <= self.ends
        {
            self.env.now = due.at;
            events += 1;
            if due.at / SECOND != second {
                (second, events) = (due.at / SECOND, 0);
            } else if events > 10_000 * (self.agents.hosts.len() as u64 + 10) {
                self.env.fail(Failure::Spinning);
            }
            self.happen(due.what);
            self.server.drain_events(&mut self.env);
        }
        if self.env.failure.is_none() {
            self.look_at_the_end();
        }
        Outcome {
            failure: self.env.failure,
            coverage: self.env.coverage.clone(),
            beats: self.env.beats,
            steps: self.env.steps,
            lasted: self.env.now,
        }
    }

    /// Who watches.
    pub const fn witness(&self) -> &W {
        &self.env.witness
    }

    /// Who watched, for its last word; and the moment of it.
    pub fn into_witness(self) -> (W, When) {
        let when = self.env.when();
        (self.env.witness, when)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::ToAgent(wire) => self.on_to_agent(wire),
            What::ToServer(wire) => self.server.on_to_server(&mut self.env, &self.agents, wire),
            What::DialArrives(wire) => self.server.on_dial(&mut self.env, wire),
            What::Store => self.server.on_store(&mut self.env),
            What::Begin(fault) => self.begin(fault),
            What::Over(fault) => self.over(fault),
            What::StartAgent(agent) => {
                if self.agents.hosts[agent as usize].processes.is_empty() {
                    if self.agents.hosts[agent as usize].host.is_suspended() {
                        return self.env.queue.push(self.env.now + SECOND, What::StartAgent(agent));
                    }
                    self.agents.start_agent(&mut self.env, agent);
                }
            }
            What::StartServer => {
                if self.server.is_away() {
                    return self.env.queue.push(self.env.now + SECOND, What::StartServer);
                }
                self.server.start_server(&mut self.env);
            }
            What::Calm => self.heal(),
            What::AgentTimer(process) => self.agents.on_agent_timer(&mut self.env, process),
            What::ServerTimer => self.server.on_server_timer(&mut self.env),
        }
    }

    /// Long after everything healed each agent is in session, and both ends say so.
    fn look_at_the_end(&mut self) {
        for agent in 0..self.agents.hosts.len() as u32 {
            let host = &self.agents.hosts[agent as usize];
            let key = self.server.machine_of(agent);
            let machine = key.and_then(|key| self.server.supervisor.get(key));
            let link = machine.and_then(ServerView::link);
            let server_epoch = machine.map_or(0, |machine| machine.presence().epoch.0);
            let mut at_agent = None;
            let mut agent_epoch = 0;
            let agrees = host.processes.iter().any(|process| {
                let process = &self.agents.processes[*process as usize];
                at_agent = Some(process.status());
                agent_epoch = process.epoch;
                let wire = process.last_wire();
                at_agent == Some(AgentStatus::Connected)
                    && agent_epoch == server_epoch
                    && link.is_some()
                    && link == wire.map(link_of)
            });
            let shown = self.server.shown[agent as usize];
            if !agrees || !matches!(shown, Status::Online | Status::Error) {
                let at_server = machine.map(|_| shown);
                return self.env.fail(Failure::NotBack {
                    agent,
                    at_agent,
                    at_server,
                    agent_epoch,
                    server_epoch,
                });
            }
            let is = machine.map(|machine| (machine.presence().version, machine.presence().status));
            let session = link.and_then(|link| {
                let link = self.server.links.get(&number(link))?;
                link.session.as_ref()
            });
            let row = self.server.store.rows.of_agent(agent);
            let is_stored =
                row.zip(session).is_some_and(|(row, session)| row.open.contains(session));
            if self.server.readers[agent as usize] != is || !is_stored {
                return self.env.fail(Failure::NotShown { agent });
            }
        }
    }

    /// Hands over to an agent all that has arrived over a wire.
    pub(super) fn on_to_agent(&mut self, wire: u32) {
        let server_wall = self.server.host.wall(self.env.now);
        self.agents.on_to_agent(&mut self.env, wire, server_wall);
    }
}

/// How long it may take until every agent is back: an unannounced silence, a dial and a
/// hello that are not answered, the longest waits between them, a start after a refusal permanently.
fn settling(scenario: &Scenario) -> u64 {
    let timing = scenario.server.timing;
    let agent = &scenario.agent;
    let waits = agent.backoff.longest_wait().saturating_mul(3);
    let links = agent.dial_timeout + agent.hello_timeout + scenario.server.admission_timeout;
    span(timing.timeout_after().saturating_mul(3) + waits + links.saturating_mul(2)) + 400 * SECOND
}
