//! The database: one request after the other, by the rules of `OwnerRow`, and leases by a clock of its own that may jump.

use super::Millis;
use super::judge::Judge;
use super::wires::{Answer, Request, Row};
use onsembl_protocol::cluster::{
    Hold, LEASE, Lease, NodeProcess, Owner, OwnerRow, Registration, WriteKind, WriteVerdict,
};
use onsembl_protocol::id::{NodeRun, PresenceVersion};
use onsembl_protocol::session::PresenceStatus;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct NodeRow {
    name: usize,
    renewals: u64,
    /// By the clock of the database.
    lease_until: i64,
    registration: Registration,
}

#[derive(Debug)]
pub(super) struct AgentRow {
    pub(super) row: OwnerRow,
    pub(super) version: PresenceVersion,
    pub(super) status: PresenceStatus,
    pub(super) is_stopped: bool,
    /// How much of its output is stored.
    pub(super) stored: u64,
}

#[derive(Debug)]
pub(super) struct Database {
    nodes: BTreeMap<NodeRun, NodeRow>,
    pub(super) agents: Vec<AgentRow>,
    /// Commands without an outcome, and those with one.
    pub(super) open: BTreeMap<u64, usize>,
    pub(super) ended: BTreeSet<u64>,
    /// How wrong its clock is.
    pub(super) skew: i64,
    runs: u64,
}

impl Database {
    pub(super) fn new(agents: usize) -> Self {
        let agent = || AgentRow {
            row: OwnerRow::default(),
            version: PresenceVersion(0),
            status: PresenceStatus::Offline,
            is_stopped: false,
            stored: 0,
        };
        Self {
            nodes: BTreeMap::new(),
            agents: (0..agents).map(|_| agent()).collect(),
            open: BTreeMap::new(),
            ended: BTreeSet::new(),
            skew: 0,
            runs: 0,
        }
    }

    pub(super) fn is_in_force(&self, run: NodeRun) -> bool {
        self.registration(run) == Registration::InForce
    }

    fn registration(&self, run: NodeRun) -> Registration {
        self.nodes.get(&run).map_or(Registration::Over, |node| node.registration)
    }

    pub(super) fn row(&self, agent: usize) -> Row {
        let AgentRow { row, version, status, is_stopped, .. } = self.agents[agent];
        let OwnerRow { epoch, owner } = row;
        Row { epoch, owner, version, status, is_stopped }
    }

    pub(super) fn handle(&mut self, request: Request, now: Millis, judge: &mut Judge) -> Answer {
        let clock = now as i64 + self.skew;
        let lease = LEASE.as_millis() as i64;
        match request {
            Request::Register { asked_at, name } => {
                self.runs += 1;
                let run = NodeRun(self.runs);
                let lease_until = clock + lease;
                let registration = Registration::InForce;
                let _ = self
                    .nodes
                    .insert(run, NodeRow { name, renewals: 0, lease_until, registration });
                judge.renewed(run, now);
                Answer::Registered { run, asked_at }
            }
            Request::Renew { run, asked_at } => match self.nodes.get_mut(&run) {
                Some(node) if node.registration == Registration::InForce => {
                    node.renewals += 1;
                    node.lease_until = clock + lease;
                    judge.renewed(run, now);
                    Answer::Renewed { run, asked_at }
                }
                Some(_) | None => Answer::Over(run),
            },
            Request::ReadNodes { name } => Answer::Nodes(
                self.nodes
                    .iter()
                    .map(|(run, node)| {
                        let left = node.lease_until - clock;
                        let holds = node.registration == Registration::InForce
                            && (0..=lease).contains(&left);
                        let lease = if holds { Lease::Holds } else { Lease::Over };
                        let earlier = node.name == name;
                        let process =
                            if earlier { NodeProcess::EarlierOfThis } else { NodeProcess::Other };
                        (*run, node.renewals, lease, process)
                    })
                    .collect(),
            ),
            Request::Sweep { by, run, renewals } => self.sweep(by, run, renewals, now, judge),
            Request::Leave { run } => {
                if let Some(node) = self.nodes.get_mut(&run) {
                    // What it still owns, the others sweep.
                    node.registration = Registration::Over;
                }
                Answer::Done
            }
            Request::Claim { run, agent, link } => {
                let registration = self.registration(run);
                let known = &mut self.agents[agent];
                let before = known.row.owner;
                match known.row.claimed(run, registration, known.version) {
                    Ok(row) => {
                        known.row = row;
                        let (epoch, owner) = (row.epoch, row.owner.unwrap());
                        judge.granted(agent, epoch, owner);
                        let is_stopped = known.is_stopped;
                        Answer::Claimed { agent, link, epoch, owner, before, is_stopped }
                    }
                    Err(_) => Answer::Over(run),
                }
            }
            Request::Present { run, agent, epoch, version, status } => {
                let known = &mut self.agents[agent];
                match known.row.judge(WriteKind::Present, epoch) {
                    WriteVerdict::Accepted | WriteVerdict::AcceptedIfNext => {
                        judge.presented(agent, (run, epoch), version, status, now);
                        if known.version < version {
                            (known.version, known.status) = (version, status);
                        }
                        Answer::Presented { agent, epoch, version, status }
                    }
                    WriteVerdict::Refused => Answer::Bounced { agent, epoch },
                }
            }
            Request::Output { agent, epoch, from, to, link } => {
                let known = &mut self.agents[agent];
                let is_next = from <= known.stored;
                match known.row.judge(WriteKind::Past, epoch) {
                    WriteVerdict::AcceptedIfNext if is_next => known.stored = known.stored.max(to),
                    WriteVerdict::Accepted => {
                        judge.demand(is_next && to >= known.stored, || {
                            format!("output of agent {agent} has a hole, or goes back")
                        });
                        known.stored = to;
                    }
                    WriteVerdict::AcceptedIfNext | WriteVerdict::Refused => {}
                }
                Answer::Output { to: known.stored, link }
            }
            Request::Outcome { agent, epoch, command, link } => {
                match self.agents[agent].row.judge(WriteKind::Past, epoch) {
                    WriteVerdict::Accepted | WriteVerdict::AcceptedIfNext => {
                        let _ = self.open.remove(&command);
                        let _ = self.ended.insert(command);
                        Answer::Outcome { command, link }
                    }
                    WriteVerdict::Refused => Answer::Bounced { agent, epoch },
                }
            }
            Request::Look => Answer::Looked {
                rows: (0..self.agents.len()).map(|agent| self.row(agent)).collect(),
                open: self.open.iter().map(|(command, agent)| (*agent, *command)).collect(),
            },
            Request::ReadOwner { agent } => Answer::Owner { agent, row: self.row(agent) },
            Request::Insert { agent, command } => {
                let _ = self.open.insert(command, agent);
                judge.inserted(command);
                Answer::Inserted { agent, command, row: self.row(agent) }
            }
            Request::Stop { agent } => {
                self.agents[agent].is_stopped = true;
                judge.stop_ordered(agent);
                Answer::Stopped { agent }
            }
        }
    }

    fn sweep(
        &mut self,
        by: NodeRun,
        run: NodeRun,
        renewals: u64,
        now: Millis,
        judge: &mut Judge,
    ) -> Answer {
        if !self.is_in_force(by) {
            return Answer::Over(by);
        }
        let Some(node) = self.nodes.get_mut(&run).filter(|node| node.renewals == renewals) else {
            return Answer::Done;
        };
        if node.registration == Registration::InForce {
            judge.swept(run, now);
        }
        node.registration = Registration::Over;
        let mut passed = Vec::new();
        for (agent, known) in self.agents.iter_mut().enumerate() {
            let before = known.row.owner;
            if let Some(row) = known.row.swept(run, by, known.version) {
                judge.demand(row.epoch > known.row.epoch, || {
                    format!("a sweep leaves agent {agent} its epoch")
                });
                known.row = row;
                let owner = Owner { run: by, hold: Hold::Guard };
                judge.granted(agent, row.epoch, owner);
                passed.push((agent, row.epoch, owner, before, known.status));
            }
        }
        let _ = self.nodes.remove(&run);
        Answer::Swept(passed)
    }
}
