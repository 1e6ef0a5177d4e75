//! The fault matrix: each fault is planted between the real binaries, and `onsembl-server why` must name it.
//!
//! With `ONSEMBL_VERDICT_FILE` each case appends a line of JSON to that file, and a wrong verdict is a line and no
//! failure: `.ci/verdicts` runs each case many times and the table in `docs/EVIDENCE.md` is made of the lines.

use crate::Case;
use crate::bench::{AGENT, Bench, FAST, PATIENCE, Running, Times, eventually, server_binary};
use crate::middlebox::Middlebox;
use crate::programs::{ADDRESS, Need, OTHER_ADDRESS, SWALLOWS, find, put_in_place_of};
use serde_json::{Value, json};
use std::any::Any;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// As long as it takes to prove something was away, and longer than the server waits for a silent agent.
pub const AWAY: Duration = Duration::from_secs(5);
/// How long a verdict may take behind the return: what the agent found is told at once and stored in a moment.
const JUDGED_WITHIN: Duration = Duration::from_secs(5);
/// How soon behind the return that must be so: until then the server judges by its own record.
const STORED: Duration = Duration::from_millis(700);

macro_rules! faults {
    ($($name:literal $(needs $($need:ident)+)? => [$($cause:literal),+] $plant:expr;)*) => {
        pub const CASES: &[Case] = &[$(Case {
            name: concat!("verdicts/", $name),
            needs: &[$($(Need::$need),+)?],
            run: || planted($name, &[$($cause),+], $plant),
        },)*];

        /// The causes that are right, of each fault.
        pub const EXPECTED: &[(&str, &[&str])] = &[$(($name, &[$($cause),+]),)*];
    };
}

faults! {
    "killed" => ["agent-killed"] |w| { w.agent().signal("-KILL"); w.start_again(); };
    "stopped" => ["agent-stopped"] |w| { w.agent().signal("-TERM"); w.stays_away(); };
    "restarted" => ["agent-restarted"] |w| { w.ends_by("-TERM"); w.start_again(); };
    "upgraded" => ["agent-upgraded"] |w| {
        w.ends_by("-TERM");
        w.edit_run(|run| run["version"] = json!("0.0.1"));
        w.start_again();
    };
    "rebooted" => ["host-rebooted"] |w| {
        w.agent().signal("-KILL");
        w.middlebox.cut();
        w.edit_run(|run| run["boot"] = json!("an earlier one"));
        w.start_again();
    };
    "killed-while-away" => ["connection-refused", "agent-killed"] |w| {
        w.obstructed(|w| w.middlebox.listens(false), |w| {
            w.agent().signal("-KILL");
            w.start_again();
            sleep(AWAY);
            w.middlebox.listens(true);
        });
    };
    "stalled" => ["agent-stalled"] |w| { w.agent().freeze(); sleep(AWAY); w.agent().thaw(); };
    "ordered" => ["agent-ended-by-order"] |w| {
        assert!(w.bench.ask(&["control", "dev", "stop"]).status.success());
        w.stays_away();
    };
    "server-restarted" => ["server-restarted"] |w| { w.server_ends("-TERM"); w.bench.start_server(); };
    "server-killed" => ["server-restarted"] |w| { w.server_ends("-KILL"); w.bench.start_server(); };
    "cut" => ["connection-cut"] |w| w.middlebox.cut();
    "black-hole" => ["network-cut"] |w| w.lossy(false, false);
    "nothing-to-server" => ["network-one-way"] |w| w.lossy(false, true);
    "nothing-to-agent" => ["network-one-way"] |w| w.lossy(true, false);
    "garbled" => ["protocol-error"] |w| w.middlebox.garble();
    "refused" => ["connection-refused"] |w| w.obstructed(|w| w.middlebox.listens(false), |w| w.middlebox.listens(true));
    "redirect" => ["redirect"] |w| w.answered("HTTP/1.1 302 Found\r\nLocation: https://login.test/\r\nContent-Length: 0\r\n\r\n");
    "portal" => ["middlebox-answer"] |w| w.answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlogin");
    "filter" => ["middlebox-answer"] |w| w.answered("HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nblocked");
    "gateway" => ["middlebox-answer"] |w| w.answered("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    "http-1.0" => ["middlebox-answer"] |w| w.answered("HTTP/1.0 426 Upgrade Required\r\n\r\n");
    "not-http" => ["middlebox-answer"] |w| w.answered("SSH-2.0-box\r\n");
    "no-token" => ["token-missing"] |w| {
        w.obstructed(|w| std::fs::remove_file(w.token_file()).unwrap(), World::put_token);
    };
    "wrong-token" => ["token-wrong-kind"] |w| {
        w.obstructed(|w| w.write_token(&w.bench.dashboard_token), World::put_token);
    };
    "foreign-token" => ["token-refused"] |w| {
        w.obstructed(|w| w.write_token(&Bench::start().agent_token), World::put_token);
    };
    "revoked-token" => ["token-revoked"] |w| {
        let mut revoke = Command::new(server_binary());
        revoke.args(["revoke", "--data"]).arg(w.bench.data()).arg(&w.bench.agent_token);
        assert!(revoke.status().unwrap().success());
        w.stays_away();
    };
    "second-instance" => ["second-instance", "instances-evict-each-other"] |w| { w.slow(); w.taken_over(); };
    "no-descriptors" => ["host-out-of-descriptors"] |w| {
        w.obstructed(|w| w.limit_descriptors("3"), |w| w.limit_descriptors("1024"));
    };
    "idle-timeout" => ["middlebox-idle-timeout"] |w| {
        w.slow();
        w.middlebox.cuts_idle(Duration::from_millis(2500));
        sleep(Duration::from_secs(22));
        w.middlebox.cuts_idle(Duration::ZERO);
    };
    "name-unknown" needs Network => ["name-resolution"] |w| w.renamed("127.0.0.1 localhost\n", None);
    "name-server-silent" needs Network => ["name-resolution"] |w| {
        let silent = UdpSocket::bind((ADDRESS, 53)).unwrap();
        w.renamed("127.0.0.1 localhost\n", Some(silent));
    };
    "swallowed" needs Network => ["network-cut"] |w| w.renamed(&format!("{SWALLOWS} control.test\n"), None);
    "no-route" needs Network => ["no-route"] |w| w.unrouted();
    "another-network" needs Network => ["network-changed"] |w| w.moves();
    "crashed" => ["agent-crashed"] |w| {
        w.agent().signal("-KILL");
        w.edit_run(|run| run["ended"] = json!("crashed"));
        w.start_again();
    };
    "slept" needs Faketime => ["agent-slept"] |w| w.sleeps();
    "out-of-memory" needs MemoryGroup => ["host-out-of-memory"] |w| w.runs_out_of_memory();
    "agent-clock-ahead" needs Faketime => ["clock-jump"] |w| w.is_set("+400d");
    "agent-clock-back" needs Faketime => ["clock-jump"] |w| w.is_set("-400d");
    "server-clock-ahead" needs Faketime => ["connection-cut"] |w| w.server_is_set("+2h");
    "server-clock-back" needs Faketime => ["connection-cut"] |w| w.server_is_set("-2h");
    "server-stalled" => ["server-stalled"] |w| {
        w.bench.server().freeze();
        sleep(AWAY);
        w.bench.server().thaw();
    };
    "server-stalled-and-cut" => ["server-stalled"] |w| {
        w.bench.server().freeze();
        sleep(AWAY);
        w.middlebox.cut();
        sleep(Duration::from_millis(200));
        w.bench.server().thaw();
    };
    "untrusted" => ["tls"] |w| w.has_another_certificate();
    "token-expired" => ["token-expired"] |w| w.token_runs_out();
    "database-locked" => ["heartbeat-not-recorded"] |w| w.database_is_held();
    "disk-full" needs Network => ["heartbeat-not-recorded"] |w| w.disk_is_full();
    "proxy-closes-1000" => ["connection-cut"] |w| w.middlebox.closes(1000);
    "proxy-closes-1001" => ["connection-cut"] |w| w.middlebox.closes(1001);
    "proxy-closes-1011" => ["connection-cut"] |w| w.middlebox.closes(1011);
    "idle-closes-1001" => ["middlebox-idle-timeout"] |w| w.idle_closes(1001);
    "aborted" => ["agent-killed"] |w| { w.agent().signal("-ABRT"); w.start_again(); };
    "restart-then-no-token" => ["token-missing"] |w| w.restarted_behind(
        |w| std::fs::remove_file(w.token_file()).unwrap(), World::put_token);
    "restart-then-refused" => ["connection-refused"] |w| w.restarted_behind(
        |w| w.middlebox.listens(false), |w| w.middlebox.listens(true));
    "restart-then-certificate" => ["tls"] |w| w.restarted_with_another_certificate();
    "swallowing-relay" => ["network-cut"] |w| w.swallowed_for_long(false, false);
    "swallowing-relay-to-server" => ["network-one-way"] |w| w.swallowed_for_long(false, true);
    "given-up-frozen-server" => ["server-stalled"] |w| {
        w.bench.server().freeze();
        sleep(4 * AWAY);
        w.bench.server().thaw();
    };
    "proxy-refuses" needs Network Tinyproxy => ["proxy"] |w| w.behind_proxy_that(Some("ConnectPort 443"));
    "proxy-wants-credentials" needs Network Tinyproxy => ["proxy"] |w| w.behind_proxy_that(Some("BasicAuth ann secret1"));
    "proxy-gone" needs Network Tinyproxy => ["proxy"] |w| w.behind_proxy_that(None);
}

/// A server, and an agent that reaches it through a middlebox.
pub struct World {
    /// What must live as long, and no longer than what is below: another process of the same agent, a lock, a disk.
    pub kept: Vec<Box<dyn Any>>,
    pub bench: Bench,
    pub middlebox: Middlebox,
    pub agent: Option<Running>,
    agent_id: String,
    pub url: String,
    hosts: Option<PathBuf>,
    pub ends: Ends,
    /// What the agent is started with besides.
    pub environment: Vec<(&'static str, OsString)>,
    pub arguments: &'static [&'static str],
}

/// How it is when the verdict is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The agent is back.
    Back,
    /// It is away.
    Away,
    /// It is in session, and not well.
    Unwell,
}

fn planted(name: &str, expected: &[&str], plant: fn(&mut World)) {
    let began = Instant::now();
    let separate = matches!(
        name,
        "name-unknown"
            | "name-server-silent"
            | "swallowed"
            | "no-route"
            | "another-network"
            | "disk-full"
            | "proxy-refuses"
            | "proxy-wants-credentials"
            | "proxy-gone"
    );
    let mut world = World::new(separate);
    // A few heartbeats each way.
    sleep(Duration::from_millis(1200));
    plant(&mut world);
    let (cause, confidence) = world.verdict(expected);
    let right = expected.contains(&cause.as_str());
    let line = json!({
        "fault": name, "expected": expected, "cause": cause, "confidence": confidence,
        "right": right, "run": std::env::var("ONSEMBL_RUN").unwrap_or_default(), "ms": began.elapsed().as_millis() as u64,
        "commit": std::env::var("ONSEMBL_COMMIT").unwrap_or_default(),
    });
    println!("{line}");
    match std::env::var_os("ONSEMBL_VERDICT_FILE") {
        Some(file) => {
            let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        None => {
            let asked = world.bench.ask(&["why", "dev"]);
            let [said, failed] = [asked.stdout, asked.stderr]
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(right, "{line}\n{said}{failed}\n{}", world.bench.log("dev.log"));
        }
    }
}

impl World {
    fn new(separate: bool) -> Self {
        let host = if separate { ADDRESS } else { "127.0.0.1" };
        let bench = Bench::listening(&format!("{host}:0"), FAST, &[]);
        let at = if separate { OTHER_ADDRESS } else { host };
        let middlebox = Middlebox::new(at, &bench.address);
        let mut world = Self {
            url: middlebox.url(),
            bench,
            middlebox,
            agent: None,
            agent_id: String::new(),
            hosts: None,
            ends: Ends::Back,
            environment: Vec::new(),
            arguments: &[],
            kept: Vec::new(),
        };
        if separate {
            world.url = format!("http://control.test:{}", world.middlebox.port());
            let file = world.bench.folder.path().join("hosts");
            std::fs::write(&file, format!("{OTHER_ADDRESS} control.test\n")).unwrap();
            put_in_place_of(&file, "/etc/hosts");
            let conf = world.bench.folder.path().join("resolv.conf");
            std::fs::write(&conf, format!("nameserver {ADDRESS}\noptions timeout:1 attempts:1\n"))
                .unwrap();
            put_in_place_of(&conf, "/etc/resolv.conf");
            world.hosts = Some(file);
        }
        world.put_token();
        world.joins();
        world
    }

    /// Starts the agent, behind an end of the one before, and waits until it is in session.
    pub fn joins(&mut self) {
        self.start_again();
        let shown = self.bench.await_status("dev", "online");
        self.agent_id = shown["agent_id"].as_str().or(shown["id"].as_str()).unwrap().to_owned();
    }

    pub fn agent(&self) -> &Running {
        self.agent.as_ref().expect("it was started")
    }

    /// Starts the agent, behind an end of the one before.
    pub fn start_again(&mut self) {
        if let Some(mut before) = self.agent.take() {
            let _ = before.wait();
        }
        let mut command = self.bench.agent_at(&self.url, "dev");
        command.env_remove("ONSEMBL_TOKEN").env("ONSEMBL_TOKEN_FILE", self.token_file());
        command.args(self.arguments).envs(self.environment.clone());
        self.agent = Some(Running(command.spawn().unwrap()));
    }

    pub fn ends_by(&mut self, signal: &str) {
        self.agent().signal(signal);
        let _ = self.agent.as_mut().unwrap().wait();
    }

    pub fn server_ends(&mut self, signal: &str) {
        let mut server = self.bench.server.take().unwrap();
        server.signal(signal);
        let _ = server.wait();
    }

    fn stays_away(&mut self) {
        self.ends = Ends::Away;
    }

    pub fn token_file(&self) -> PathBuf {
        self.bench.folder.path().join("agent.token")
    }

    pub fn write_token(&self, token: &str) {
        std::fs::write(self.token_file(), token).unwrap();
    }

    pub fn put_token(&mut self) {
        self.write_token(&self.bench.agent_token);
    }

    /// Changes what the run before has left, as only a reboot or an upgrade could.
    fn edit_run(&mut self, edit: fn(&mut Value)) {
        if let Some(mut before) = self.agent.take() {
            let _ = before.wait();
        }
        let file = self.bench.state_dir("dev").join("run.json");
        let mut run = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        edit(&mut run);
        std::fs::write(&file, run.to_string()).unwrap();
    }

    /// Its link ends, and this is in its way for a while.
    pub fn obstructed(&mut self, obstruct: fn(&mut Self), clear: fn(&mut Self)) {
        obstruct(self);
        self.middlebox.cut();
        sleep(AWAY);
        clear(self);
    }

    fn answered(&mut self, answer: &'static str) {
        self.middlebox.answers(Some(answer));
        self.middlebox.cut();
        sleep(AWAY);
        self.middlebox.answers(None);
    }

    /// The middlebox throws away what goes in a direction, on every connection, until it is mended.
    fn lossy(&mut self, to_server: bool, to_agent: bool) {
        self.middlebox.passes(to_server, to_agent);
        sleep(AWAY);
        self.middlebox.passes(true, true);
        self.middlebox.cut();
    }

    /// Another process takes the session while the first is frozen.
    fn taken_over(&mut self) {
        self.agent().freeze();
        let copy = self.bench.folder.path().join("copy");
        let done =
            Command::new("cp").arg("-r").arg(self.bench.state_dir("dev")).arg(&copy).status();
        assert!(done.unwrap().success());
        let mut other = Command::new(AGENT);
        other.args(["run", "--server", &self.url, "--name", "dev", "--state-dir"]).arg(&copy);
        other.env("ONSEMBL_TOKEN", &self.bench.agent_token).stdout(std::process::Stdio::null());
        let other = Running(other.stderr(std::process::Stdio::null()).spawn().unwrap());
        eventually("the other one has the session", || {
            self.why().is_some_and(|why| why["drops"].as_array().is_some_and(|d| !d.is_empty()))
        });
        self.ends = Ends::Away;
        self.kept.push(Box::new(other));
    }

    fn limit_descriptors(&mut self, most: &str) {
        let mut limit = Command::new(find("prlimit").expect("util-linux"));
        let pid = self.agent().0.id().to_string();
        limit.args(["--pid", &pid, &format!("--nofile={most}:")]);
        assert!(limit.status().unwrap().success());
    }

    /// A server whose heartbeats leave room for an idle timeout.
    pub fn slow(&mut self) {
        drop(self.agent.take());
        self.bench = Bench::with(Times(["5s", "12s", "30s", "40s"]), &[]);
        self.middlebox = Middlebox::new("127.0.0.1", &self.bench.address);
        self.url = self.middlebox.url();
        self.put_token();
        self.joins();
    }

    fn renamed(&mut self, hosts: &str, server: Option<UdpSocket>) {
        let file = self.hosts.clone().unwrap();
        let before = std::fs::read(&file).unwrap();
        std::fs::write(&file, hosts).unwrap();
        self.middlebox.cut();
        sleep(2 * AWAY);
        std::fs::write(&file, before).unwrap();
        drop(server);
    }

    fn unrouted(&mut self) {
        let own = format!("{OTHER_ADDRESS}/32");
        let ip = |verb: &str| {
            let words = ["address", verb, own.as_str(), "dev", "lo"];
            assert!(Command::new(find("ip").unwrap()).args(words).status().unwrap().success());
        };
        // It must not dial in between.
        self.agent().freeze();
        self.middlebox.cut();
        sleep(Duration::from_millis(100));
        ip("del");
        self.agent().thaw();
        sleep(AWAY);
        ip("add");
    }

    /// The machine gets another address, by which it reaches the server from then on.
    fn moves(&mut self) {
        let ip = |words: &[&str]| {
            assert!(Command::new(find("ip").unwrap()).args(words).status().unwrap().success());
        };
        ip(&["address", "add", "10.9.9.7/32", "dev", "lo"]);
        let to = format!("{OTHER_ADDRESS}/32");
        ip(&["route", "replace", "local", &to, "dev", "lo", "src", "10.9.9.7", "table", "local"]);
        self.middlebox.cut();
    }

    fn why(&self) -> Option<Value> {
        let said = self.bench.ask(&["why", &self.agent_id, "--json"]);
        serde_json::from_slice(&said.stdout).ok()
    }

    /// The verdict on the latest drop, once it is one of those expected, or when it had its time.
    fn verdict(&self, expected: &[&str]) -> (String, String) {
        let by = Instant::now() + PATIENCE;
        let is_over = || {
            self.why().is_some_and(|why| {
                let fell = why["drops"].as_array().is_some_and(|drops| !drops.is_empty());
                match self.ends {
                    Ends::Back => fell && why["presence"]["state"] == "online",
                    Ends::Away => fell,
                    Ends::Unwell => true,
                }
            })
        };
        while !is_over() && Instant::now() < by {
            sleep(Duration::from_millis(100));
        }
        let by = Instant::now() + JUDGED_WITHIN;
        // What the agent found comes with its return, and is stored in a moment.
        sleep(STORED);
        loop {
            let told = match self.ends {
                Ends::Back | Ends::Away => self.told_of_drop(),
                Ends::Unwell => self.unwell().into_iter().collect(),
            };
            let words: Vec<(String, String)> = told
                .iter()
                .map(|told| {
                    let word = |name: &str| told[name].as_str().unwrap_or("none").to_owned();
                    (word("cause"), word("confidence"))
                })
                .collect();
            let is_right = |cause: &str| expected.contains(&cause);
            // Whatever is shown of it counts, also before the right one, and beside a pattern.
            let beside = |cause: &str| words.len() > 1 && cause == "connection-cut";
            let wrong = words.iter().find(|(cause, confidence)| {
                confidence == "high" && !is_right(cause) && !beside(cause)
            });
            let right = words.iter().find(|(cause, _)| is_right(cause));
            let first = || words.first().cloned().unwrap_or(("none".into(), "none".into()));
            match (wrong, right) {
                (Some(wrong), _) => return wrong.clone(),
                (None, Some(right)) => return right.clone(),
                (None, None) if Instant::now() > by => return first(),
                (None, None) => sleep(Duration::from_millis(200)),
            }
        }
    }

    /// The pattern of its drops, if there is one, and the verdict on the latest.
    fn told_of_drop(&self) -> Vec<Value> {
        let Some(why) = self.why() else { return Vec::new() };
        let latest = why["drops"].as_array().and_then(|drops| drops.last()).cloned();
        let pattern = Some(why["pattern"].clone()).filter(|pattern| !pattern.is_null());
        pattern.into_iter().chain(latest).collect()
    }

    /// What is wrong with it though it is in session.
    fn unwell(&self) -> Option<Value> {
        let said = self.bench.ask(&["why", "--all", "--json"]);
        let why: Value = serde_json::from_slice(&said.stdout).ok()?;
        why["agents"].as_array()?.iter().find(|agent| agent["name"] == "dev").cloned()
    }
}
