//! The world: its tables, its loop, and what it holds of itself to be a failure.

use super::agents::AgentHost;
use super::codec::Codec;
use super::coverage::Coverage;
use super::failure::Failure;
use super::host::{Host, span};
use super::links::{link as link_of, number};
use super::queue::{Queue, What};
use super::random::Random;
use super::scenario::Scenario;
use super::server::Server;
use super::store::Store;
use super::{MILLI, SECOND, World};
use crate::lab::fact::{self, Agent, AgentStatus, Fact, Process, Status, When, Witness};
use crate::session::ServerView;
use alloc::vec::Vec;

/// What came of a run.
#[derive(Clone, Debug)]
#[must_use = "a failure that is ignored is a test that cannot fail"]
#[allow(missing_docs, reason = "the names say all")]
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
        let mut agents = Vec::new();
        for number in 0..scenario.agents {
            let mut random = Random::of(scenario.seed, 16 + u64::from(number));
            let host = Host::new(&mut random);
            let legacy = scenario.legacy_one_in > 0
                && number % scenario.legacy_one_in == scenario.legacy_one_in - 1;
            queue.push(random.between(MILLI, 5 * SECOND), What::StartAgent(number));
            let (processes, weather) = (Vec::new(), Default::default());
            agents.push(AgentHost { host, legacy, processes, weather, random });
        }
        let count = agents.len();
        let host = Host::new(&mut Random::of(scenario.seed, 2));
        Self {
            witness,
            now: 0,
            queue,
            server_rules: scenario.server,
            agent_rules: scenario.agent,
            planted: scenario.planted,
            codec: scenario.codec.then(|| Codec::new(scenario.server)),
            struck: alloc::vec![None; faults.len()],
            faults,
            agents,
            processes: Vec::new(),
            wires: Vec::new(),
            server: Server::new(scenario.server, host, count, Random::of(scenario.seed, 4)),
            store: Store::new(count, Random::of(scenario.seed, 3)),
            shown: alloc::vec![Status::Offline; count],
            readers: alloc::vec![None; count],
            coverage: Coverage::default(),
            beats: 0,
            steps: 0,
            calm: false,
            failure: None,
            ends: duration + settling(scenario),
        }
    }

    /// Lets it all happen: the faults, then the healing, then the look at both ends.
    pub fn run(&mut self) -> Outcome {
        let (mut second, mut events) = (0, 0u64);
        while self.failure.is_none()
            && let Some(due) = self.queue.pop()
            && due.at <= self.ends
        {
            self.now = due.at;
            events += 1;
            if due.at / SECOND != second {
                (second, events) = (due.at / SECOND, 0);
            } else if events > 10_000 * (self.agents.len() as u64 + 10) {
                self.fail(Failure::Spinning);
            }
            self.happen(due.what);
            self.drain_events();
        }
        if self.failure.is_none() {
            self.look_at_the_end();
        }
        Outcome {
            failure: self.failure,
            coverage: self.coverage.clone(),
            beats: self.beats,
            steps: self.steps,
            lasted: self.now,
        }
    }

    /// Who watches.
    pub const fn witness(&self) -> &W {
        &self.witness
    }

    /// Who watched, for its last word; and the moment of it.
    pub fn into_witness(self) -> (W, When) {
        let when = self.world_when();
        (self.witness, when)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::ToAgent(wire) => self.on_to_agent(wire),
            What::ToServer(wire) => self.on_to_server(wire),
            What::DialArrives(wire) => self.on_dial(wire),
            What::Store => self.on_store(),
            What::Begin(fault) => self.begin(fault),
            What::Over(fault) => self.over(fault),
            What::StartAgent(agent) => {
                if self.agents[agent as usize].processes.is_empty() {
                    if self.agents[agent as usize].host.is_suspended() {
                        return self.queue.push(self.now + SECOND, What::StartAgent(agent));
                    }
                    self.start_agent(agent);
                }
            }
            What::StartServer => {
                if self.server.is_away() {
                    return self.queue.push(self.now + SECOND, What::StartServer);
                }
                self.start_server();
            }
            What::Calm => self.heal(),
            What::AgentTimer(process) => self.on_agent_timer(process),
            What::ServerTimer => self.on_server_timer(),
        }
    }

    /// Long after everything healed each agent is in session, and both ends say so.
    fn look_at_the_end(&mut self) {
        for agent in 0..self.agents.len() as u32 {
            let host = &self.agents[agent as usize];
            let key = self.server.machine_of(agent);
            let machine = key.and_then(|key| self.server.supervisor.get(key));
            let link = machine.and_then(ServerView::link);
            let server_epoch = machine.map_or(0, |machine| machine.presence().epoch.0);
            let mut at_agent = None;
            let mut agent_epoch = 0;
            let agrees = host.processes.iter().any(|process| {
                let process = &self.processes[*process as usize];
                at_agent = Some(process.status());
                agent_epoch = process.epoch;
                let wire = process.last_wire();
                at_agent == Some(AgentStatus::Connected)
                    && agent_epoch == server_epoch
                    && link.is_some()
                    && link == wire.map(link_of)
            });
            let shown = self.shown[agent as usize];
            if !agrees || !matches!(shown, Status::Online | Status::Error) {
                let at_server = machine.map(|_| shown);
                return self.fail(Failure::NotBack {
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
            let row = self.store.rows.of_agent(agent);
            let is_stored =
                row.zip(session).is_some_and(|(row, session)| row.open.contains(session));
            if self.readers[agent as usize] != is || !is_stored {
                return self.fail(Failure::NotShown { agent });
            }
        }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure = self.failure.or(Some(failure));
    }

    pub(super) const fn wire_id(&self, wire: u32) -> fact::Wire {
        fact::Wire(wire as u64)
    }

    pub(super) fn say_agent(&mut self, process: u32, fact: &Fact) {
        let agent = self.processes[process as usize].agent;
        let when = self.agents[agent as usize].host.when(self.now);
        self.witness.witness(when, fact);
    }

    pub(super) fn say_server(&mut self, fact: &Fact) {
        let when = self.server.host.when(self.now);
        self.witness.witness(when, fact);
    }

    pub(super) fn say_world(&mut self, fact: &Fact) {
        let when = self.world_when();
        self.witness.witness(when, fact);
    }

    fn world_when(&self) -> When {
        When { world: self.now, local: self.now, wall: (self.now / MILLI) as i64 }
    }

    pub(super) fn say_away(&mut self, process: u32, away: bool) {
        let id = Process(process);
        let fact = if away { Fact::ProcessAway(id) } else { Fact::ProcessBack(id) };
        self.say_agent(process, &fact);
    }

    /// The agent of a fault, if there is one of that number.
    pub(super) fn agent_there(&self, agent: u32) -> Option<Agent> {
        (agent < self.agents.len() as u32).then_some(Agent(agent))
    }
}

/// How long it may take until every agent is back: an unannounced silence, a dial and a
/// hello that are not answered, the longest waits between them, a start after a refusal for good.
fn settling(scenario: &Scenario) -> u64 {
    let timing = scenario.server.timing;
    let agent = &scenario.agent;
    let waits = agent.backoff.longest_wait().saturating_mul(3);
    let links = agent.dial_timeout + agent.hello_timeout + scenario.server.admission_timeout;
    span(timing.timeout_after().saturating_mul(3) + waits + links.saturating_mul(2)) + 400 * SECOND
}
