//! The course of things: links are cut or swallow what is said, either side dies and comes back with what was
//! durable, journals are lost, users give orders. Then all heals, and everything must come to rest.

use super::host::{Kind, Program};
use super::judge;
use super::requests::{Wanted, control};
use super::server::Server;
use super::store::Health;
use super::world::World;
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::fleet::{CommandStage, Request};
use onsembl_protocol::id::{CommandId, LinkId};
use onsembl_protocol::model::{Exit, StopScope};
use onsembl_protocol::wire::payload::ControlAction;
use onsembl_protocol::worker::{CommandJournal, WorkerEvent};
use std::collections::BTreeSet;
use std::time::Duration;

/// After this many quiet rounds something waits forever. A legacy wrapper's command takes ten minutes.
const ROUNDS: usize = 1500;

impl World {
    /// This many things happen, then all heals. The stages that were met.
    pub(super) fn live(mut self, steps: usize) -> BTreeSet<CommandStage> {
        for _ in 0..steps {
            self.step();
        }
        self.rest();
        judge::check_end(&mut self);
        self.met
    }

    fn some_link(&mut self) -> Option<LinkId> {
        self.random.choice(self.wires.keys().copied().collect::<Vec<_>>())
    }

    pub(super) fn step(&mut self) {
        self.at += Duration::from_millis(self.random.u64(0..4));
        let n = self.random.usize(0..self.hosts.len());
        match self.random.u32(0..200) {
            0..16 => self.ask(),
            16..20 => self.cancel(),
            20..44 => self.answer_one(),
            44..62 => self.commit(),
            62..76 => {
                self.server.settle(self.at);
                self.look();
            }
            76..100 => {
                if let Some(link) = self.some_link() {
                    self.hear(link);
                }
            }
            100..122 => {
                if let Some(link) = self.some_link() {
                    self.listen(link);
                }
            }
            122..142 => drop(self.speak(n)),
            142..156 => self.sync(n),
            156..166 => self.act(n),
            166..172 => self.end_one(),
            172..176 => self.dial(n),
            176..179 => {
                self.server.reap(self.at);
                self.look();
            }
            179..182 if self.weather.orders => self.order(),
            182..186 => {
                let by = self.random.u64(1..8000);
                self.wait(Duration::from_millis(by));
            }
            186..200 => self.fault(n),
            _ => {}
        }
        self.finish(n);
        judge::check(self);
    }

    fn answer_one(&mut self) {
        let most = self.server.questions();
        if most > 0 {
            let n = self.random.usize(0..most);
            let health = self.some_health();
            self.server.answer(n, &mut self.store, health, self.at);
            self.look();
        }
    }

    fn commit(&mut self) {
        for _ in 0..self.random.u8(1..5) {
            let health = self.some_health();
            self.server.commit(&mut self.store, health);
        }
    }

    fn some_health(&mut self) -> Health {
        match self.health {
            Health::Fails if self.random.bool() => Health::Fails,
            Health::Fails | Health::Works => Health::Works,
        }
    }

    fn sync(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        if let Program::Worker(agent) = &mut host.program {
            agent.sync(&mut host.journal, self.at);
        }
    }

    fn end_one(&mut self) {
        if let Some(id) = self.any_process() {
            let exit = if self.random.bool() { Exit::Code(0) } else { Exit::Code(3) };
            self.end(&id, exit);
        }
    }

    fn fault(&mut self, n: usize) {
        let weather = self.weather;
        match self.random.u8(0..24) {
            0..4 if weather.cuts => self.cut(n, CloseReason::broken(Breakage::Reset)),
            4..6 if weather.freezes => {
                let link = self.some_link();
                if let Some(wire) = link.and_then(|link| self.wires.get_mut(&link)) {
                    wire.is_frozen = true;
                    wire.up.clear();
                    wire.down.clear();
                }
                self.log(|| "a link swallows everything".to_owned());
            }
            // Who notices is the agent.
            6..9 if weather.freezes => self.drop_frozen(n),
            9..11 if weather.agent_dies && !self.hosts[n].is_banned => {
                self.kill(n);
                self.start(n);
            }
            11 if weather.server_dies => self.kill_server(),
            12 if weather.forgets && self.random.bool() => self.lose_journal(n),
            13..15 if weather.masks => self.mask(n),
            15 if weather.deletes && self.random.u8(0..4) == 0 => self.delete(),
            16..18 if weather.store_fails => {
                self.health = match self.health {
                    Health::Works => Health::Fails,
                    Health::Fails => Health::Works,
                };
                self.log(|| "the store changes its mind".to_owned());
            }
            18 if weather.orders => {
                self.with_agent_shut_down(n);
            }
            19 => {
                let by = self.random.u64(10..120);
                self.wait(Duration::from_secs(by));
            }
            20..24 => {
                if let Program::Dead = self.hosts[n].program
                    && !self.hosts[n].is_banned
                {
                    self.start(n);
                }
            }
            _ => {}
        }
    }

    fn with_agent_shut_down(&mut self, n: usize) {
        let at = self.at;
        self.with_agent(n, |agent| agent.feed(WorkerEvent::ShutDown, at));
    }

    fn drop_frozen(&mut self, n: usize) {
        let link = self.hosts[n].link;
        let is_frozen = |link: &LinkId| self.wires.get(link).is_some_and(|wire| wire.is_frozen);
        if link.filter(is_frozen).is_some() {
            self.cut(n, CloseReason::broken(Breakage::Reset));
        }
    }

    fn kill_server(&mut self) {
        self.log(|| "the server dies".to_owned());
        for n in 0..self.hosts.len() {
            self.cut(n, CloseReason::broken(Breakage::Reset));
        }
        self.wires.clear();
        // Their connections died with it.
        self.wanted.clear();
        if self.weather.loses_rows {
            self.lose_rows();
        }
        let seed = self.random.u64(..);
        let user = self.user.clone();
        self.server = Server::start(&mut self.store, user, self.limits, self.config, seed, self.at);
        self.look();
    }

    /// The database is put back as it was before some of its commands came. What a legacy wrapper runs is
    /// known to nobody else.
    fn lose_rows(&mut self) {
        let is_kept = |id: &CommandId| {
            let truth = self.truth.get(id);
            let host = truth.and_then(|truth| self.hosts.get(truth.host));
            host.is_none_or(|host| host.kind != Kind::Extended)
        };
        let ids = self.store.commands.keys().filter(|id| !is_kept(id));
        let lost: Vec<CommandId> = ids.filter(|_| self.random.bool()).cloned().collect();
        for id in lost {
            if let Some(truth) = self.truth.get_mut(&id) {
                truth.is_owed |= truth.is_alive && !truth.is_orphaned;
            }
            self.log(|| format!("the database has lost {id}"));
            let _ = self.store.commands.remove(&id);
            let _ = self.lost_rows.insert(id);
        }
    }

    /// The disk forgets; its processes are found by nobody.
    fn lose_journal(&mut self, n: usize) {
        if self.hosts[n].kind != Kind::Extended || self.hosts[n].is_banned {
            return;
        }
        self.kill(n);
        let host = &mut self.hosts[n];
        host.journal = CommandJournal::default();
        host.journals += 1;
        self.log(|| format!("host {n} has lost its journal"));
        self.start(n);
    }

    /// A legacy wrapper comes instead of an extended agent, or goes again.
    fn mask(&mut self, n: usize) {
        let host = &self.hosts[n];
        if host.kind != Kind::Extended || host.is_banned || host.taught.is_none() {
            return;
        }
        let is_masked = matches!(host.program, Program::Wrapper(_));
        self.kill(n);
        if is_masked {
            for truth in self.truth.values_mut().filter(|truth| truth.host == n) {
                truth.is_orphaned |= truth.is_alive;
            }
            self.start(n);
        } else {
            self.start_as(n, Kind::Wrapper);
        }
    }

    /// Nothing goes wrong any more: everything must come to rest.
    pub(super) fn rest(&mut self) {
        self.log(|| "all heals".to_owned());
        self.health = Health::Works;
        for n in 0..self.hosts.len() {
            self.drop_frozen(n);
            self.heal(n);
        }
        self.drain();
        self.request(Wanted::Other, Request::Release(StopScope::All));
        for round in 0..ROUNDS {
            for n in 0..self.hosts.len() {
                if let Program::Dead = self.hosts[n].program
                    && !self.hosts[n].is_banned
                {
                    self.start(n);
                }
                self.dial(n);
            }
            self.drain();
            if round == 2 {
                self.resume_all();
            }
            while let Some(id) = self.process_of_user() {
                self.end(&id, Exit::Code(0));
            }
            self.drain();
            self.wait(Duration::from_secs(if round > 20 { 10 } else { 1 }));
            self.drain();
            let open = self.store.commands.values().filter(|row| row.ended_at.is_none());
            let (users, terminals): (Vec<_>, Vec<_>) =
                open.partition(|row| !row.command.is_terminal());
            let are_over = users.is_empty() && round > 40;
            if are_over && terminals.is_empty() && self.wanted.is_empty() {
                assert_eq!(self.server.fleet.size().open_commands, 0, "they are all stored");
                return;
            }
            self.is_over |= are_over;
        }
        let open: Vec<_> =
            self.store.commands.values().filter(|row| row.ended_at.is_none()).collect();
        panic!("no rest: {open:?}, {:?}", self.wanted);
    }

    /// Runs what usually runs on this machine, and nothing that lies.
    fn heal(&mut self, n: usize) {
        if self.hosts[n].is_banned {
            return;
        }
        let is_usual = match (&self.hosts[n].program, self.hosts[n].kind) {
            (Program::Worker(_), Kind::Extended) | (Program::Wrapper(_), Kind::Wrapper) => true,
            (Program::Hostile, Kind::Hostile) => false,
            (Program::Dead, _) => false,
            (Program::Worker(_) | Program::Wrapper(_) | Program::Hostile, _) => false,
        };
        if is_usual {
            return;
        }
        self.kill(n);
        if self.hosts[n].kind == Kind::Hostile {
            self.hosts[n].kind = Kind::Extended;
            self.hosts[n].journals += 1;
        }
        self.start(n);
    }

    /// A process that may end now: terminals continue until everything else is over.
    fn process_of_user(&self) -> Option<CommandId> {
        let ends = |id: &CommandId| self.is_over || !id.is_terminal();
        let mut alive = self.truth.iter().filter(|(_, t)| t.is_alive && !t.is_orphaned);
        alive.find(|(id, _)| ends(id)).map(|(id, _)| id.clone())
    }

    fn resume_all(&mut self) {
        for n in 0..self.hosts.len() {
            if let (Some(agent), Kind::Extended) = (self.agent_of(n), self.hosts[n].kind) {
                let order = control(agent, ControlAction::Resume);
                self.request(Wanted::Other, Request::Control(order));
            }
        }
        self.drain();
    }

    /// Everything that can happen now happens.
    fn drain(&mut self) {
        for _ in 0..2000 {
            let mut out = false;
            while self.server.questions() > 0 {
                out = true;
                self.server.answer(0, &mut self.store, Health::Works, self.at);
                self.look();
            }
            while !self.server.is_idle() {
                out = true;
                self.server.commit(&mut self.store, Health::Works);
                self.server.settle(self.at);
                self.server.reap(self.at);
                self.look();
                if self.server.questions() > 0 {
                    self.server.answer(0, &mut self.store, Health::Works, self.at);
                    self.look();
                }
            }
            for link in self.wires.keys().copied().collect::<Vec<_>>() {
                while self.hear(link) {
                    out = true;
                }
                while self.listen(link) {
                    out = true;
                }
            }
            for n in 0..self.hosts.len() {
                let is_worker = matches!(self.hosts[n].program, Program::Worker(_));
                while is_worker && self.speak(n) {
                    out = true;
                }
                if self.hosts[n].worker().is_some_and(|agent| !agent.is_at_rest()) {
                    self.sync(n);
                    self.act(n);
                    out |= self.hosts[n].in_session;
                }
                self.finish(n);
            }
            judge::check(self);
            if !out {
                return;
            }
        }
        panic!("it never comes to rest at one moment");
    }
}
