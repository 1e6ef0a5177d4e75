//! Wrong clocks of the server and of an agent, which jump forwards and back, from the start and while they run.
//! Nothing ends, nothing is deleted, and the times that are shown are right again once the clock is.

use crate::Case;
use crate::bench::{AGENT, Bench, FAST, Running, eventually, server_binary};
use crate::programs::{Need, libfaketime};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const NEEDS: &[Need] = &[Need::Faketime];

pub const CASES: &[Case] = &[
    Case { name: "clocks/agent-jumps", needs: NEEDS, run: agent_jumps },
    Case { name: "clocks/agent-wrong-from-the-start", needs: NEEDS, run: agent_wrong },
    Case { name: "clocks/server-jumps-ahead-and-back", needs: NEEDS, run: || server_jumps("+60d") },
    Case { name: "clocks/server-jumps-back-and-ahead", needs: NEEDS, run: || server_jumps("-60d") },
    Case { name: "clocks/server-wrong-from-the-start", needs: NEEDS, run: server_wrong },
];

/// The offsets of the clocks, in the syntax of libfaketime.
pub const RIGHT: &str = "+0";

/// A clock for the programs that get these variables, and no others.
pub struct Clock(PathBuf);

impl Clock {
    pub fn new(bench: &Bench, name: &str, offset: &str) -> Self {
        let clock = Self(bench.folder.path().join(name));
        clock.is(offset);
        clock
    }

    pub fn is(&self, offset: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    /// Only the wall clock is changed; time passes at its normal rate.
    fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.variables())
    }

    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut all = self.variables_of_sleep();
        all.push(("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()));
        all
    }

    /// The clock by which the program waits is changed too, and the one that runs through sleep is not, because it is
    /// read past the library: set back, it is that of a machine that slept.
    pub fn variables_of_sleep(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", libfaketime().unwrap().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
        ]
    }
}

/// The server, restarted with a clock of its own.
pub fn restart(bench: &mut Bench, clock: &Clock) {
    bench.server = None;
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(bench.folder.path().join("server.log"))
        .unwrap();
    let mut command = Command::new(server_binary());
    command
        .args(["serve", "--listen", &bench.address, "--data"])
        .arg(bench.data())
        .args(["--heartbeat-interval", "500ms", "--stale-after", "1250ms"])
        .args(["--timeout-after", "3s", "--resume-window", "4s"])
        .stdout(Stdio::null())
        .stderr(log);
    bench.server = Some(Running(clock.of(&mut command).spawn().unwrap()));
    let address = bench.address.clone();
    eventually("the server listens", || std::net::TcpStream::connect(&address).is_ok());
}

fn stored(bench: &Bench) -> String {
    let said = bench.exec("dev", "echo precious; echo $PPID >/dev/null");
    assert_eq!(said.stdout, b"precious\n", "{said:?}");
    let listed: serde_json::Value =
        serde_json::from_slice(&bench.ask(&["commands", "--json"]).stdout).unwrap();
    let all = listed["commands"].as_array().unwrap();
    let found = all.iter().find(|c| c["text"].as_str().unwrap().contains("precious")).unwrap();
    found["command_id"].as_str().unwrap().to_owned()
}

fn agent_jumps() {
    let bench = Bench::with(FAST, &[]);
    let clock = Clock::new(&bench, "clock", RIGHT);
    let mut agent = bench.agent_at(&bench.url(), "dev");
    let _agent = Running(clock.of(&mut agent).spawn().unwrap());
    let before = bench.await_status("dev", "online");
    let work = bench.start_work("dev");
    for offset in ["+400d", "-400d", RIGHT, "+2h", "-2h", RIGHT] {
        clock.is(offset);
        sleep(Duration::from_millis(1200));
        work.goes_on();
        let now = bench.await_status("dev", "online");
        assert_eq!(now["since"], before["since"], "{offset}: one session");
    }
    let said =
        Command::new(AGENT).args(["status", "--state-dir"]).arg(bench.state_dir("dev")).output();
    assert!(said.unwrap().status.success());
    assert_eq!(work.ends_whole(), "");
}

/// A board without a battery starts in 1970; another one is years ahead.
fn agent_wrong() {
    let bench = Bench::with(FAST, &[]);
    let agents: Vec<_> = [("past", "@1970-01-02 00:00:00"), ("future", "+3000d")]
        .into_iter()
        .map(|(name, offset)| {
            let clock = Clock::new(&bench, &format!("{name}.clock"), offset);
            let mut agent = bench.agent_at(&bench.url(), name);
            (name, Running(clock.of(&mut agent).spawn().unwrap()), clock)
        })
        .collect();
    for (name, _, clock) in &agents {
        let _ = bench.await_status(name, "online");
        let work = bench.start_work(name);
        clock.is(RIGHT);
        work.goes_on();
        assert_eq!(work.ends_whole(), "", "{name}");
        let view = bench.await_status(name, "online");
        // The times that are shown are the server's.
        assert!(view["since"].as_str().unwrap().starts_with("20"), "{view}");
        assert_eq!(bench.exec(name, "echo 1; exit 3").status.code(), Some(3));
    }
}

/// Stored data stays, and agents stay or return. The tokens last longer than the jump, since one that has expired
/// by the server's clock has expired.
fn server_jumps(offset: &str) {
    let mut bench = Bench::with(FAST, &[]);
    let clock = Clock::new(&bench, "clock", RIGHT);
    restart(&mut bench, &clock);
    let dashboard = Command::new(server_binary())
        .args(["token", "--user", "ann", "--ttl", "3000d", "--data"])
        .arg(bench.data())
        .output()
        .unwrap();
    bench.dashboard_token = String::from_utf8(dashboard.stdout).unwrap().trim().to_owned();
    let _agent = bench.start_agent_at(&bench.url(), "dev");
    let _ = bench.await_status("dev", "online");
    let precious = stored(&bench);
    let work = bench.start_work("dev");
    for offset in [offset, RIGHT] {
        clock.is(offset);
        // The server applies its retention every ten seconds.
        sleep(Duration::from_secs(12));
        work.goes_on();
        let _ = bench.await_status("dev", "online");
    }
    let _ = work.ends_whole();
    let said = bench.ask(&["output", &precious]);
    assert_eq!(said.stdout, b"precious\n", "{said:?}\n{}", bench.log("server.log"));
}

/// The server starts with a wrong clock, which is corrected later.
fn server_wrong() {
    let mut bench = Bench::with(FAST, &[]);
    let clock = Clock::new(&bench, "clock", RIGHT);
    let dashboard = Command::new(server_binary())
        .args(["token", "--user", "ann", "--ttl", "3000d", "--data"])
        .arg(bench.data())
        .output()
        .unwrap();
    bench.dashboard_token = String::from_utf8(dashboard.stdout).unwrap().trim().to_owned();
    let _agent = bench.start_agent_at(&bench.url(), "dev");
    let _ = bench.await_status("dev", "online");
    let precious = stored(&bench);
    let work = bench.start_work("dev");
    // A command that waits for an agent that is away is not refused by a clock that is ahead for a while.
    let away = bench.start_agent_at(&bench.url(), "away");
    let _ = bench.await_status("away", "online");
    drop(away);
    let _ = bench.await_status("away", "offline");
    let mut waits = bench.exec_command("away", &["--offline", "queue"], "echo later");
    let waits = waits.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the command waits", || {
        let listed = bench.ask(&["commands", "--json"]).stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        listed.contains("echo later") && listed.contains("queued")
    });
    for offset in ["+60d", "-60d"] {
        clock.is(offset);
        restart(&mut bench, &clock);
        let _ = bench.await_status("dev", "online");
        sleep(Duration::from_secs(4));
        clock.is(RIGHT);
        sleep(Duration::from_secs(2));
        work.goes_on();
        let _ = bench.await_status("dev", "online");
    }
    let _ = work.ends_whole();
    let _away = bench.start_agent_at(&bench.url(), "away");
    let said = waits.wait_with_output().unwrap();
    assert_eq!(said.stdout, b"later\n", "{said:?}\n{}", bench.log("server.log"));
    let said = bench.ask(&["output", &precious]);
    assert_eq!(said.stdout, b"precious\n", "{said:?}\n{}", bench.log("server.log"));
}
