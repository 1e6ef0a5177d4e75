//! A program that an agent wraps: started, typed into and looked at as users do.

use crate::bench::{Bench, Running, eventually, server_binary};
use crate::side::Side;
use crate::table::Input;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::PathBuf;

pub struct Wrapped<'a> {
    pub bench: &'a Bench,
    pub name: &'static str,
    side: &'a Side,
    size: (u16, u16),
    agent: Running,
}

/// The command line of people.
pub fn person_binary() -> PathBuf {
    server_binary().with_file_name("onsembl")
}

/// Starts an agent on a side, with the environment of that side and no other.
pub fn spawn(bench: &Bench, name: &str, side: &Side, arguments: &[impl AsRef<OsStr>]) -> Running {
    let mut command = bench.agent_command(name);
    for (inherited, _) in std::env::vars_os() {
        if !inherited.to_string_lossy().starts_with("ONSEMBL_") {
            command.env_remove(inherited);
        }
    }
    command.envs(side.environment()).current_dir(side.work()).args(arguments);
    Running(command.spawn().expect("the agent can be run"))
}

/// The screen of an agent as users see it.
pub fn screen_of(bench: &Bench, name: &str) -> String {
    let looked = bench.ask(&["screen", name, "--text"]);
    // While it has no terminal, or the server has not heard of it.
    match looked.status.success() {
        true => String::from_utf8_lossy(&looked.stdout).into_owned(),
        false => String::from_utf8_lossy(&looked.stderr).into_owned(),
    }
}

impl<'a> Wrapped<'a> {
    pub fn start(bench: &'a Bench, name: &'static str, side: &'a Side, size: (u16, u16)) -> Self {
        let agent = spawn(bench, name, side, &Self::arguments(side, size));
        Self { bench, name, side, size, agent }
    }

    fn arguments(side: &Side, (columns, rows): (u16, u16)) -> Vec<String> {
        let size = format!("{columns}x{rows}");
        let own = ["--runner", "terminal", "--size", &size, "--"].map(ToOwned::to_owned);
        own.into_iter().chain(side.words().iter().cloned()).collect()
    }

    pub fn screen(&self) -> String {
        screen_of(self.bench, self.name)
    }

    pub fn types(&self, input: &Input) {
        let (options, text): (&[&str], _) = match input {
            Input::Text(text) => (&[], text),
            Input::Keys(keys) => (&["--keys"], keys),
        };
        let typed =
            self.bench.exec_command(self.name, options, text).output().expect("exec can be run");
        assert!(typed.status.success(), "{input:?}: {typed:?}");
    }

    pub fn resize(&self, (columns, rows): (u16, u16)) {
        let size = format!("{columns}x{rows}");
        let resized = self.bench.ask(&["control", self.name, "resize", "--size", &size]);
        assert!(resized.status.success(), "{resized:?}");
    }

    /// The terminals of this agent, the newest first, each with its status.
    pub fn terminals(&self) -> Vec<(String, String)> {
        let listed = self.bench.ask(&["commands", "--json"]);
        let listing: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        let commands = listing["commands"].as_array().cloned().unwrap_or_default();
        let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
        let all = commands.iter().map(|c| (text(c, "command_id"), text(c, "status")));
        all.filter(|(id, _)| id.starts_with("terminal-")).collect()
    }

    /// The terminal that runs, once one does.
    pub fn terminal(&self) -> String {
        self.terminal_after("")
    }

    /// The terminal that runs after this one, once one does.
    pub fn terminal_after(&self, ended: &str) -> String {
        let running = |(id, status): &(String, String)| status == "running" && id != ended;
        let found = || self.terminals().into_iter().find(running);
        eventually("a terminal runs, and the program in it", || {
            found().is_some() && !self.side.processes().is_empty()
        });
        found().expect("it was there").0
    }

    /// Cancels its terminal, and waits until none of the processes that it had is left. Returns its id.
    pub fn cancel(&self) -> String {
        let (id, before) = (self.terminal(), self.side.processes());
        let cancelled = self.bench.ask(&["cancel", &id]);
        assert!(cancelled.status.success(), "{cancelled:?}");
        eventually("its terminal is cancelled", || {
            self.terminals().contains(&(id.clone(), "cancelled".into()))
        });
        self.none_of(&before, "after it was cancelled");
        id
    }

    /// Stops it, and checks that what is said of it is true at that moment. Returns the terminal that it had.
    pub fn stop(&self) -> String {
        let id = self.terminal();
        let stopped = self.bench.ask(&["stop", self.name]);
        let said = String::from_utf8_lossy(&stopped.stdout).into_owned();
        assert!(stopped.status.success() && said.contains("verified"), "{stopped:?}");
        assert_eq!(self.side.processes(), Vec::<u32>::new(), "lives after a verified stop");
        id
    }

    pub fn release(&self) {
        let released = self.bench.ask(&["release", self.name]);
        assert!(released.status.success(), "{released:?}");
    }

    /// Kills its agent, and starts it again: nothing of the time before may be left. Returns the
    /// terminal that it had.
    pub fn kill(&mut self) -> String {
        let (id, before) = (self.terminal(), self.side.processes());
        self.agent.signal("-KILL");
        let _ = self.agent.wait();
        self.agent =
            spawn(self.bench, self.name, self.side, &Self::arguments(self.side, self.size));
        eventually("its terminal is lost", || {
            self.terminals().contains(&(id.clone(), "lost".into()))
        });
        self.none_of(&before, "after its agent was killed");
        id
    }

    /// Ends its agent: nothing of the program may be left.
    pub fn end(mut self) {
        self.agent.signal("-TERM");
        let status = self.agent.wait();
        assert!(status.success(), "{status}");
        assert_eq!(self.side.processes(), Vec::<u32>::new(), "lives after its agent has ended");
    }

    fn none_of(&self, before: &[u32], when: &str) {
        eventually(&format!("none of {before:?} is left {when}"), || {
            let now = self.side.processes();
            before.iter().all(|pid| !now.contains(pid))
        });
    }
}
