//! The course of things: links are cut or swallow what is said, either end dies and comes back with what was
//! durable, disks fill up, fail and rot, the database is busy, cut or put back. Then all heals, and everything
//! must come to rest.

use super::judge;
use super::truth::Process;
use super::viewer::Viewer;
use super::world::World;
use super::wrapper;
use onsembl_protocol::model::GapCause;
use std::collections::BTreeSet;
use std::time::Duration;

impl World {
    /// This many things happen, then all heals. The gaps that were met.
    pub(super) fn live(mut self, steps: usize) -> BTreeSet<GapCause> {
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.faults.met
    }

    pub(super) fn wait(&mut self, by: Duration) {
        self.at += by;
        self.agent.on_time(self.at);
        self.server.on_time(self.at);
        self.say();
        self.start_and_end();
    }

    pub(super) fn step(&mut self) {
        self.at += Duration::from_millis(self.random.u64(0..4));
        if self.wrapper.is_some() && self.random.u8(0..6) == 0 {
            wrapper::wrap(self);
        }
        match self.random.u32(0..200) {
            0..6 => self.begin(),
            6..48 => self.write(),
            48..50 => self.resize(),
            50..76 => {
                if let Some(n) = self.somebody() {
                    self.read(n);
                }
            }
            76..78 => {
                if let Some(n) = self.somebody() {
                    self.exit(n);
                }
            }
            78..84 => self.work_on_disk(),
            84..92 => self.sync(),
            92..104 => self.hear_of_disk(),
            104..122 => self.speak(),
            122..140 => self.hear(),
            140..152 => self.commit(),
            152..160 => self.receive(),
            160..164 => self.answer(),
            164..176 => self.listen(),
            176..182 => self.view(),
            182..187 => self.link(),
            187..190 => {
                let by = self.random.u64(1..4000);
                self.wait(Duration::from_millis(by));
            }
            _ => self.fault(),
        }
        self.start_and_end();
        self.check();
    }

    pub(super) fn check(&mut self) {
        self.note_agent();
        judge::check_step(
            &self.agent,
            &self.processes,
            &self.database,
            &self.faults,
            self.bounds,
            self.most_read(),
        );
    }

    /// Nothing goes wrong any more: everything must come to rest.
    pub(super) fn settle(&mut self) {
        self.log(|_| "all heals".into());
        (self.disk.is_full, self.disk.is_unreadable, self.database_busy) = (false, false, false);
        if self.swallows {
            self.cut();
        }
        for round in 0..600 {
            self.link();
            wrapper::link_wrapper(self);
            while wrapper::hear_wrapper(self) {}
            if round < 20 {
                self.write();
            }
            self.over = round >= 20;
            for n in 0..self.processes.len() {
                if self.over {
                    self.exit(n);
                }
                self.read(n);
            }
            self.work_on_disk();
            self.sync();
            self.start_and_end();
            self.hear_of_disk();
            self.speak();
            self.hear();
            self.commit();
            self.receive();
            self.answer();
            self.listen();
            self.check();
            self.wait(Duration::from_millis(50));
            let over = !self.processes.iter().any(Process::is_alive);
            let is_quiet = self.agent.is_at_rest()
                && wrapper::wrapper_is_quiet(self)
                && self.up.is_empty()
                && self.down.is_empty();
            if round > 20 && over && is_quiet && self.server.is_idle() && self.is_all_over() {
                break;
            }
        }
        self.log(|_| "it comes to rest".into());
        let held = self.agent.held();
        assert!(held.streams.is_empty() && held.relayed.is_empty(), "unsent for ever: {held:?}");
        assert!(self.disk.is_empty(), "left on the disk: {:?}", self.disk);
        assert_eq!((held.unstored, held.memory, held.relayed_memory), (0, 0, 0));
        wrapper::check_wrapper(self);
        let most = self.unit as usize * 256;
        for viewer in &mut self.viewers {
            let process = &self.processes[viewer.n];
            let looks = (0..10_000)
                .take_while(|_| viewer.look(&self.server, &self.database, process, most))
                .count();
            assert!(looks < 10_000, "a viewer never comes to an end");
        }
        // Nobody shows what is forgotten.
        let is_shown =
            |v: &Viewer| self.server.view().command(&self.processes[v.n].run.command).is_some();
        self.viewers.retain(|v| !v.is_dashboard() || is_shown(v));
        judge::check_end(&self.processes, &self.database, &self.faults, &self.viewers);
        judge::check_sizes(&self.processes, &self.database, &self.faults);
    }
}
