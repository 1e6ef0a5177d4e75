//! The work of a load generator in a run, and its measurements of the peer. It runs as a process of its own.

use crate::dialect::{Dialect, Role, Wire};
use crate::engine::{Load, Writing};
use crate::message::Maker;
use crate::payloads::Keeping;
use crate::process::{self, Flushes};
use crate::stats::percentile;
use anyhow::{Context, Result, bail, ensure};
use mio::Events;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Tokens of a user; empty where a peer knows no users.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct User {
    pub agent: String,
    pub dashboard: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Params {
    pub scenario: Scenario,
    pub dialect: Dialect,
    pub target: SocketAddr,
    pub pid: u32,
    pub seed: u64,
    pub users: Vec<User>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Scenario {
    /// Agents that do nothing but beat, once in 25 s.
    Idle { agents: usize },
    /// Agents that beat, each once in this period, for this many seconds.
    Beats { agents: usize, period_ms: u64, seconds: u64 },
    /// As many messages as fast as the peer takes them.
    Output {
        /// That write. Each has the streams of its part.
        agents: usize,
        /// Others, of another user, in session.
        others: usize,
        /// Open commands, spread over the agents.
        streams: usize,
        /// Of them those that write.
        writers: usize,
        size: usize,
        batch: u64,
        messages: u64,
        /// By our server.
        keeping: Keeping,
    },
    /// Each agent writes this many messages of 100 bytes a second.
    Latency { agents: usize, rate: u64, seconds: u64 },
    /// The server is killed and started again.
    Return { agents: usize, dials: usize },
    /// Agents come once and leave, so that they are known.
    Known { agents: usize },
    /// Commands at a real agent, one after the other, alone or while another one floods.
    Exec { count: usize, flood: bool },
    /// Commands that end at once, one after the other.
    Ended { commands: usize, block: usize },
}

/// What came out.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Outcome {
    pub faults: Vec<String>,
    pub values: BTreeMap<String, f64>,
    pub load_cpu_s: f64,
}

const PATIENCE: Duration = Duration::from_secs(120);

struct Run {
    load: Load,
    events: Events,
    params: Params,
    /// Whether our server stores what is written.
    keeping: Keeping,
    values: BTreeMap<String, f64>,
}

pub fn run(params: Params) -> Outcome {
    let size = match params.scenario {
        Scenario::Output { size, .. } => size,
        _ => 100,
    };
    let (mut values, mut faults) = (BTreeMap::new(), Vec::new());
    match Load::new(params.target, Maker::new(size, params.seed), params.seed) {
        Ok(load) => {
            let events = Events::with_capacity(1024);
            let mut run = Run { load, events, params, keeping: Keeping::Stored, values };
            if let Err(error) = run.all() {
                faults.push(format!("{error:#}"));
            }
            if run.load.fault_count > 0 {
                faults.push(format!(
                    "{} faults, such as: {}",
                    run.load.fault_count,
                    run.load.faults.join("; ")
                ));
            }
            values = run.values;
        }
        Err(error) => faults.push(error.to_string()),
    }
    Outcome { faults, values, load_cpu_s: process::own_cpu().as_secs_f64() }
}

impl Run {
    fn all(&mut self) -> Result<()> {
        match self.params.scenario.clone() {
            Scenario::Idle { agents } => self.idle(agents),
            Scenario::Beats { agents, period_ms, seconds } => {
                self.beats(agents, period_ms, seconds)
            }
            Scenario::Output {
                agents,
                others,
                streams,
                writers,
                size: _,
                batch,
                messages,
                keeping,
            } => {
                self.keeping = keeping;
                self.output(agents, others, streams, writers, batch, messages)
            }
            Scenario::Latency { agents, rate, seconds } => self.latency(agents, rate, seconds),
            Scenario::Return { agents, dials } => self.come_back(agents, dials),
            Scenario::Known { agents } => self.known(agents),
            Scenario::Exec { count, flood } => self.exec(count, flood),
            Scenario::Ended { commands, block } => self.ended(commands, block),
        }
    }

    fn value(&mut self, name: &str, value: f64) {
        self.values.insert(name.into(), (value * 1e4).round() / 1e4);
    }

    fn cpu(&self) -> Result<Duration> {
        process::cpu(self.params.pid)
    }

    fn turn(&mut self, wait: Duration) -> Result<()> {
        self.load.turn(&mut self.events, wait)?;
        ensure!(self.load.fault_count < 1000, "given up after a thousand faults");
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(rest) =
            end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
        {
            self.turn(rest.min(Duration::from_millis(50)))?;
        }
        Ok(())
    }

    /// Until this holds. What never comes ends the run.
    fn until(&mut self, what: &str, holds: impl Fn(&Load) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.load) {
            ensure!(Instant::now() < end, "waited {} s for {what}", PATIENCE.as_secs());
            self.turn(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Until the peer takes next to no time any more, so that what it does behind is counted too.
    fn quiet(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(5);
        let mut before = self.cpu()?;
        while Instant::now() < end {
            self.pass(Duration::from_millis(250))?;
            let now = self.cpu()?;
            if now - before < Duration::from_millis(2) {
                break;
            }
            before = now;
        }
        Ok(())
    }

    fn user(&self, number: usize) -> User {
        self.params.users.get(number % self.params.users.len().max(1)).cloned().unwrap_or_default()
    }

    fn agent(&mut self, number: usize, user: usize) -> usize {
        let token = self.user(user).agent;
        self.load.join(Wire::new(
            self.params.dialect,
            Role::Agent,
            format!("bench-{number}"),
            token,
        ))
    }

    fn dashboard(&mut self, user: usize, role: Role, name: &str) -> usize {
        let token = self.user(user).dashboard;
        self.load.join(Wire::new(self.params.dialect, role, name.into(), token))
    }

    fn agents(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            let users = self.params.users.len().max(1);
            self.agent(number, number % users);
        }
        let all = self.load.links.len();
        self.until("all to be in session", |load| load.live == all)
    }

    fn idle(&mut self, agents: usize) -> Result<()> {
        const WARM: usize = 10;
        self.agents(WARM)?;
        self.pass(Duration::from_secs(1))?;
        let (memory, cpu) = (process::resident(self.params.pid)?, self.cpu()?);
        for number in WARM..WARM + agents {
            self.agent(number, number);
        }
        self.until("all to be in session", |load| load.live == WARM + agents)?;
        self.quiet()?;
        let spent = self.cpu()? - cpu;
        self.load.beat_every(Duration::from_secs(25));
        self.pass(Duration::from_secs(2))?;
        let now = process::resident(self.params.pid)?;
        self.value(
            "rss_kib_per_connection",
            now.saturating_sub(memory) as f64 / 1024.0 / agents as f64,
        );
        self.value("rss_mib", now as f64 / 1048576.0);
        self.value("connect_cpu_us", spent.as_secs_f64() * 1e6 / agents as f64);
        Ok(())
    }

    fn beats(&mut self, agents: usize, period_ms: u64, seconds: u64) -> Result<()> {
        self.agents(agents)?;
        let period = Duration::from_millis(period_ms);
        self.quiet()?;
        self.load.beat_every(period);
        self.pass(period.clamp(Duration::from_secs(2), Duration::from_secs(4)))?;
        let flushes = Flushes::count(self.params.pid)?;
        self.pass(Duration::from_millis(300))?;
        self.load.beats = 0;
        self.load.lags.clear();
        let (cpu, written, began) =
            (self.cpu()?, process::written(self.params.pid)?, Instant::now());
        self.pass(Duration::from_secs(seconds))?;
        let (spent, bytes, took) =
            (self.cpu()? - cpu, process::written(self.params.pid)? - written, began.elapsed());
        let beats = self.load.beats as f64;
        if let Some(flushes) = flushes {
            let whole = began.elapsed() + Duration::from_millis(150);
            self.value("fsyncs_per_s", flushes.end()? as f64 / whole.as_secs_f64());
        }
        ensure!(beats > 0.0, "no beat was answered");
        self.value("cpu_us_per_beat", spent.as_secs_f64() * 1e6 / beats);
        self.value(
            "cpu_us_per_agent_second",
            spent.as_secs_f64() * 1e6 / agents as f64 / took.as_secs_f64(),
        );
        self.value("beats_per_s", beats / took.as_secs_f64());
        self.value("written_bytes_per_beat", bytes as f64 / beats);
        self.percentiles("lag");
        let expected = seconds as f64 * agents as f64 / period.as_secs_f64();
        ensure!(beats > expected * 0.9, "{beats} beats were answered, about {expected} were due");
        Ok(())
    }

    /// Of what was measured in microseconds, in milliseconds.
    fn percentiles(&mut self, name: &str) {
        let mut all = std::mem::take(if name == "lag" {
            &mut self.load.lags
        } else {
            &mut self.load.latencies
        });
        self.percentiles_of(name, &mut all);
    }

    fn percentiles_of(&mut self, name: &str, all: &mut [u64]) {
        for percent in [50, 99] {
            if let Some(value) = percentile(all, f64::from(percent)) {
                self.value(&format!("{name}_p{percent}_ms"), value as f64 / 1000.0);
            }
        }
    }

    /// Agents of each user in turn, a dashboard of each user, and commands that run.
    fn open(&mut self, agents: usize, streams: usize) -> Result<Vec<usize>> {
        let users = self.params.users.len().max(1);
        let boards: Vec<usize> =
            (0..users).map(|user| self.dashboard(user, Role::Dashboard, "board")).collect();
        let links: Vec<usize> =
            (0..agents).map(|number| self.agent(number, number % users)).collect();
        let all = self.load.links.len();
        self.until("all to be in session", |load| load.live == all)?;
        let commands = matches!(self.params.dialect, Dialect::Extended | Dialect::Legacy);
        let mut numbers = Vec::new();
        for n in 0..streams {
            let link = links[n % agents];
            let command = format!("7a9e0c1d-5b21-4c68-9d3e-{n:012x}");
            numbers.push(self.load.stream(link, command.clone(), !commands));
            if !commands {
                continue;
            }
            let agent = self.load.links[link].wire.id().to_owned();
            let board = boards[n % agents % users];
            self.load.links[board].wire.keeping = self.keeping;
            self.load.links[board].wire.ask(&agent, &command, "true");
            self.load.flush(board);
            // A dashboard may have 64 requests in flight.
            let least = (n + 1).saturating_sub(32);
            self.until("commands to run", |load| running(load) >= least)?;
        }
        if commands {
            self.until("commands to run", |load| {
                running(load) == streams && load.streams.iter().all(|one| one.open)
            })?;
        }
        Ok(numbers)
    }

    fn output(
        &mut self,
        agents: usize,
        others: usize,
        streams: usize,
        writers: usize,
        batch: u64,
        messages: u64,
    ) -> Result<()> {
        // Of the last user, who has no other part.
        let idle = if others > 0 { self.params.users.pop() } else { None };
        for number in 0..others {
            let token = idle.clone().unwrap_or_default().agent;
            self.load.join(Wire::new(
                self.params.dialect,
                Role::Agent,
                format!("idle-{number}"),
                token,
            ));
        }
        self.until("all to be in session", |load| load.live == others)?;
        let mut all = self.open(agents, streams)?;
        all.truncate(writers);
        let in_flight = ((1 << 20) / writers as u64).clamp(32 << 10, 256 << 10);
        let writing = Writing { batch, in_flight };
        let warm = 2_000.max(writers as u64 * batch) / writers as u64;
        self.write(&all, warm, writing)?;
        self.quiet()?;
        let (before, frames) = (self.load.delivered, self.load.frames);
        let (cpu, written, began) =
            (self.cpu()?, process::written(self.params.pid)?, Instant::now());
        self.write(&all, warm + messages / writers as u64, writing)?;
        let took = began.elapsed();
        self.quiet()?;
        let done = (self.load.delivered - before) as f64;
        let spent = self.cpu()? - cpu;
        self.value("cpu_us_per_message", spent.as_secs_f64() * 1e6 / done);
        self.value(
            "written_bytes_per_message",
            (process::written(self.params.pid)? - written) as f64 / done,
        );
        self.value("frames_per_message", (self.load.frames - frames) as f64 / done);
        self.value("messages", done);
        self.value("seconds", took.as_secs_f64());
        self.value("rss_mib", process::resident(self.params.pid)? as f64 / 1048576.0);
        Ok(())
    }

    /// Each of these streams until it has written this many messages in all, and until they are there and, where output is
    /// stored, stored.
    fn write(&mut self, streams: &[usize], until: u64, writing: Writing) -> Result<()> {
        let total = until * streams.len() as u64;
        let (mut last, mut progress) = (Instant::now(), 0);
        loop {
            let mut written = 0;
            for stream in streams {
                written += self.load.write(*stream, until, writing);
            }
            let wait = if written > 0 { Duration::ZERO } else { Duration::from_millis(5) };
            self.turn(wait)?;
            let left = self.load.unstored();
            // Of output that is not stored our server leaves a rest without credit.
            let settled = left == 0
                || self.params.dialect == Dialect::Extended && self.keeping == Keeping::Unstored;
            if self.load.delivered >= total && settled {
                return Ok(());
            }
            let now = self.load.delivered + u64::MAX / 2 - left.min(u64::MAX / 4);
            if now != progress {
                (last, progress) = (Instant::now(), now);
            }
            if last.elapsed() > Duration::from_secs(20) {
                bail!(
                    "lost {} of {total} messages; {left} bytes unstored",
                    total.saturating_sub(self.load.delivered)
                );
            }
        }
    }

    fn latency(&mut self, agents: usize, rate: u64, seconds: u64) -> Result<()> {
        let streams = self.open(agents, agents)?;
        let period = 1_000_000 / rate;
        let begin = self.load.now() + 100_000;
        let mut due: Vec<u64> =
            streams.iter().map(|_| begin + self.load.random() % period).collect();
        let order = {
            let mut order: Vec<usize> = (0..due.len()).collect();
            order.sort_by_key(|n| due[*n]);
            order
        };
        let (warm, end) = (begin + 1_000_000, begin + 1_000_000 + seconds * 1_000_000);
        let writing = Writing { batch: 1, in_flight: u64::MAX };
        let (mut measured, mut late) = (None, Vec::new());
        // Each period has all streams in the same order, so that one place says who is next.
        let mut next = 0;
        loop {
            let now = self.load.now();
            if measured.is_none() && now >= warm {
                self.load.latencies.clear();
                measured = Some((self.cpu()?, self.load.delivered));
            }
            if now >= end {
                break;
            }
            let stream = order[next];
            if due[stream] > now {
                let wait = Duration::from_micros((due[stream] - now).min(5_000));
                self.turn(wait)?;
                continue;
            }
            let number = streams[stream];
            let sent = self.load.streams[number].sent;
            if self.load.write(number, sent + 1, writing) == 0 {
                // Its window is used up.
                self.turn(Duration::from_millis(1))?;
                continue;
            }
            late.push(now - due[stream]);
            due[stream] += period;
            next = (next + 1) % order.len();
            if next % 16 == 0 {
                self.turn(Duration::ZERO)?;
            }
        }
        let total: u64 = streams.iter().map(|number| self.load.streams[*number].sent).sum();
        self.until("all messages to arrive", |load| load.delivered >= total)?;
        let (cpu, before) = measured.context("a time that was measured")?;
        let (spent, done) = (self.cpu()? - cpu, (self.load.delivered - before) as f64);
        self.value("cpu_us_per_message", spent.as_secs_f64() * 1e6 / done);
        self.value("messages_per_s", done / seconds as f64);
        self.percentiles("latency");
        self.percentiles_of("late", &mut late);
        let due = (agents as u64 * rate * seconds) as f64;
        ensure!(done > due * 0.9, "saturated: {done} of {due} messages were taken in time");
        Ok(())
    }

    fn come_back(&mut self, agents: usize, dials: usize) -> Result<()> {
        self.load.dials = 512;
        self.agents(agents)?;
        self.quiet()?;
        self.load.dials = dials;
        // Those who redial at once; refused as long as nobody listens.
        self.load.redial = Some(50_000);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        println!("in session");
        let end = Instant::now() + PATIENCE;
        let pid = loop {
            self.turn(Duration::from_millis(5))?;
            if let Ok(line) = receiver.try_recv() {
                break line.trim().parse()?;
            }
            ensure!(Instant::now() < end, "nobody started the server again");
        };
        self.params.pid = pid;
        self.load.first_connected = 0;
        let mut cpu = None;
        let patience = PATIENCE / 2;
        let end = Instant::now() + patience;
        while self.load.live < agents {
            self.turn(Duration::from_millis(5))?;
            if cpu.is_none() && self.load.first_connected > 0 {
                cpu = Some(self.cpu()?);
            }
            ensure!(
                Instant::now() < end,
                "{} of {agents} came back in {} s",
                self.load.live,
                patience.as_secs()
            );
        }
        let spent = self.cpu()? - cpu.unwrap_or_default();
        let last = self.load.links.iter().map(|link| link.at).max().unwrap_or(0);
        self.value("all_back_s", (last - self.load.first_connected) as f64 / 1e6);
        self.value("cpu_us_per_agent", spent.as_secs_f64() * 1e6 / agents as f64);
        let mut connected: Vec<u64> =
            self.load.links.iter().map(|link| link.at - link.connected).collect();
        let mut upgraded: Vec<u64> =
            self.load.links.iter().map(|link| link.at - link.upgraded).collect();
        self.percentiles_of("connected_to_ack", &mut connected);
        self.percentiles_of("upgraded_to_ack", &mut upgraded);
        self.value("failed_dials", self.load.failed_dials as f64);
        Ok(())
    }

    fn known(&mut self, agents: usize) -> Result<()> {
        self.load.leaves = true;
        self.load.dials = 256;
        for number in 0..agents {
            self.agent(number, number);
        }
        let (mut left, mut last) = (0, Instant::now());
        while self.load.left < agents {
            self.turn(Duration::from_millis(20))?;
            if self.load.left > left {
                (left, last) = (self.load.left, Instant::now());
            }
            ensure!(
                last.elapsed() < Duration::from_secs(30),
                "{left} of {agents} agents were taken in"
            );
        }
        self.quiet()
    }

    fn exec(&mut self, count: usize, flood: bool) -> Result<()> {
        let board = self.dashboard(0, Role::Commands, "board");
        let viewer = self.dashboard(0, Role::Viewer, "flood-1");
        self.until("dashboards to be there", |load| {
            load.links[board].live && load.links[viewer].live
        })?;
        let warm = 20;
        let mut took = Vec::new();
        let (mut cpu, mut seen, mut began) = (self.cpu()?, 0, Instant::now());
        for n in 0..warm + count {
            if n == warm {
                if flood {
                    self.load.links[board].wire.ask("bench-1", "flood-1", "yes");
                    self.load.flush(board);
                    self.until("the flood", |load| load.other_output > 4 << 20)?;
                }
                (cpu, seen, began) = (self.cpu()?, self.load.other_output, Instant::now());
            }
            let command = format!("exec-{n}");
            self.load.links[board].wire.ask("bench-0", &command, "true");
            let start = self.load.now();
            self.load.flush(board);
            let ended = |load: &Load| {
                load.statuses.get(&command).is_some_and(|(status, _)| status == "completed")
            };
            self.until("a command to end", ended)?;
            took.push(self.load.statuses[&command].1 - start);
            self.pass(Duration::from_millis(2))?;
        }
        let seconds = began.elapsed().as_secs_f64();
        self.value("server_cores", (self.cpu()? - cpu).as_secs_f64() / seconds);
        self.value("flood_mib_per_s", (self.load.other_output - seen) as f64 / 1048576.0 / seconds);
        self.percentiles_of("exec", &mut took[warm..]);
        Ok(())
    }

    fn ended(&mut self, commands: usize, block: usize) -> Result<()> {
        let board = self.dashboard(0, Role::Commands, "board");
        let agent = self.agent(0, 0);
        self.load.links[agent].wire.ends_commands = true;
        self.until("both to be there", |load| load.live == 2)?;
        let id = self.load.links[agent].wire.id().to_owned();
        let (mut marks, mut asked) = (Vec::new(), 0);
        for done in (0..=commands).step_by(block) {
            while asked < done {
                self.load.links[board].wire.ask(&id, &format!("ended-{asked}"), "true");
                self.load.flush(board);
                asked += 1;
                let least = asked.saturating_sub(8) as u64;
                self.until("commands to end", |load| load.ended >= least)?;
            }
            self.until("commands to end", |load| load.ended >= done as u64)?;
            marks.push(self.cpu()?);
        }
        let costs: Vec<f64> = marks
            .windows(2)
            .map(|two| (two[1] - two[0]).as_secs_f64() * 1e6 / block as f64)
            .collect();
        // The first block warms up.
        if let [_, first, .., last] = costs.as_slice() {
            self.value("cpu_us_first", *first);
            self.value("cpu_us_last", *last);
            self.value("growth", last / first);
        }
        Ok(())
    }
}

fn running(load: &Load) -> usize {
    load.statuses.values().filter(|(status, _)| status == "running").count()
}
