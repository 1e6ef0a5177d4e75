//! What goes wrong, and how: who is killed, what a successor finds, which disk or database fails, what
//! is cut and forgotten.

use super::agent::{Agent, is_written};
use super::now;
use super::server::Server;
use super::story::show_states;
use super::truth::ProcessState;
use super::viewer::Viewer;
use super::world::{World, agent, commands};
use super::wrapper;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::GapCause;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::worker::{SpoolPolicy, WorkerEvent};
use std::collections::BTreeSet;

/// What happens in a world at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) cuts: bool,
    pub(super) agent_dies: bool,
    pub(super) agent_stops: bool,
    pub(super) server_dies: bool,
    pub(super) disk_fails: bool,
    pub(super) rots: bool,
    pub(super) database_busy: bool,
    pub(super) restored: bool,
    /// The server does not remember all that is over.
    pub(super) forgets: bool,
    /// History is cut.
    pub(super) retention: bool,
    /// The agent keeps a terminal, whose output has this policy.
    pub(super) terminal: Option<SpoolPolicy>,
    /// A legacy wrapper works beside the agent.
    pub(super) has_wrapper: bool,
    /// The output of some commands is not to be stored.
    pub(super) unstored: bool,
}

impl Weather {
    pub(super) fn draw(random: &mut fastrand::Rng, has_disk: bool) -> Self {
        let mut often = |n: u8| random.u8(0..n) == 0;
        let mut weather = Self {
            cuts: !often(3),
            agent_dies: often(2),
            agent_stops: often(3),
            server_dies: often(2),
            disk_fails: often(3) && has_disk,
            rots: often(6) && has_disk,
            database_busy: often(2),
            restored: often(8),
            forgets: often(4),
            retention: often(3),
            terminal: often(2).then_some(SpoolPolicy::DropOldest),
            has_wrapper: often(3),
            unstored: false,
        };
        if weather.terminal.is_some() && random.u8(0..4) == 0 {
            weather.terminal = Some(SpoolPolicy::ALL[random.usize(0..3)]);
        }
        weather.unstored = random.u8(0..3) > 0;
        weather
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        let weather = self.weather;
        match self.random.u8(0..24) {
            0..4 if weather.cuts => self.cut(),
            4..6 if weather.cuts && self.linked => {
                self.log(|_| "the link swallows everything".into());
                self.swallows = true;
            }
            6 if weather.agent_dies => self.kill_agent(),
            7 if weather.agent_stops => self.stop_agent(),
            8 if weather.server_dies => self.kill_server(),
            9..11 if weather.disk_fails => {
                self.disk.is_full = !self.disk.is_full;
                self.log(|w| format!("the disk is full: {}", w.disk.is_full));
            }
            11 if weather.disk_fails => {
                self.disk.is_unreadable = !self.disk.is_unreadable;
                self.log(|w| format!("the disk is unreadable: {}", w.disk.is_unreadable));
            }
            12 if weather.rots && self.disk.damage(&mut self.random) => {
                self.faults.damage = true;
                self.log(|_| "something on the disk is damaged".into());
            }
            13..17 if weather.database_busy => {
                self.database_busy = !self.database_busy;
                self.log(|w| format!("the database is busy: {}", w.database_busy));
            }
            17 if weather.restored && self.backup.is_none() => {
                self.backup = Some(self.database.clone());
            }
            18 if weather.restored => self.restore(),
            19 if weather.cuts && !self.linked => {
                self.log(|_| "the agent is not awaited any more".into());
                self.server.forget_agent(&agent(), self.at);
            }
            20..23 if weather.retention => self.cut_history(),
            _ => {}
        }
    }

    pub(super) fn kill_agent(&mut self) {
        self.log(|_| "the agent is killed".into());
        self.note_agent();
        self.cut();
        for process in self.processes.iter_mut().filter(|p| p.is_alive()) {
            process.state = ProcessState::Orphaned;
        }
        self.agent.die(&mut self.journal, &mut self.random);
        self.start_agent();
    }

    /// It is told to end, and its processes are ended first.
    pub(super) fn stop_agent(&mut self) {
        self.log(|_| "the agent is stopped".into());
        self.agent.feed(WorkerEvent::ShutDown, self.at);
        // What it was about to start does not run yet.
        while !self.agent.to_start.is_empty() {
            self.start_and_end();
        }
        for n in 0..self.processes.len() {
            if self.processes[n].is_alive() {
                self.faults.wound_up.insert(self.processes[n].run.command.clone());
            }
            self.exit(n);
            while self.processes[n].is_alive() {
                self.read(n);
            }
        }
        for _ in 0..self.random.u8(0..20) {
            self.sync();
            self.speak();
            self.hear();
            self.commit();
            self.receive();
            self.listen();
        }
        while !self.agent.thread.requests.is_empty() {
            self.agent.thread.perform(&mut self.disk);
        }
        self.agent.close(&mut self.journal);
        self.note_agent();
        self.cut();
        self.start_agent();
    }

    pub(super) fn start_agent(&mut self) {
        self.log(|w| format!("the disk has {}", w.disk.show()));
        for process in self.processes.iter().filter(|p| p.state == ProcessState::Done) {
            if !is_written(&self.journal, &process.run.command) {
                self.faults.broken.insert(process.run.command.clone());
            }
        }
        self.agents += 1;
        self.agent = Agent::start(self.make, self.agents, &mut self.disk, &self.journal, self.at);
        self.faults.on_found(&self.agent);
        self.log(|w| format!("it starts with {}", show_states(&w.agent.held().streams)));
    }

    pub(super) fn kill_server(&mut self) {
        self.log(|_| "the server is killed".into());
        self.cut();
        wrapper::on_server_died(self);
        self.faults.server_died = true;
        let forgets = self.weather.forgets;
        let forgotten: BTreeSet<_> =
            commands(&self.processes).filter(|_| forgets && self.random.bool()).collect();
        let seed = self.random.u64(..);
        let remembers = |id: &CommandId| !forgotten.contains(id);
        self.server = Server::start(&self.database, self.limits, seed, remembers, self.at);
        for viewer in &mut self.viewers {
            viewer.resume(&self.server, &self.database);
        }
    }

    pub(super) fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.log(|_| "an older database is put back".into());
        self.database = backup;
        self.faults.restored = true;
        let states: BTreeSet<_> =
            self.agent.held().streams.into_iter().map(|(state, _)| state.run.command).collect();
        for process in &self.processes {
            if !states.contains(&process.run.command) {
                self.faults.closed_before.insert(process.run.command.clone());
            }
        }
        // A reader that goes by the numbers of what is stored must start over.
        self.viewers.retain(Viewer::is_dashboard);
        // What has no row any more is shown until that is found out, and shows nothing for sure.
        let has_row = |v: &Viewer| {
            let id = &self.processes[v.n].run.command;
            id.is_terminal() || self.database.commands.contains_key(id)
        };
        self.viewers.retain(has_row);
        self.kill_server();
    }

    /// History is cut, by its age or because it is too much.
    fn cut_history(&mut self) {
        let at = now(self.at).wall.unix_millis();
        let (mut before, mut most) = (at - 1_000_000, u64::MAX);
        if self.random.bool() {
            before = at - self.random.i64(0..1000);
        } else {
            most = self.unit * self.random.u64(0..8192);
        }
        let batch = self.random.usize(1..40);
        let cut = self.database.cut(WallTime::from_unix_millis(before), most, batch);
        for (run, stream) in cut {
            self.faults.met.insert(GapCause::Retention);
            self.log(|w| {
                let end = w.database.cut_of(&run, stream);
                format!("{stream} of {} is cut up to {end}", run.command)
            });
        }
    }
}
