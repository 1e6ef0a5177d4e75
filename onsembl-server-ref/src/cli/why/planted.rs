//! What `why` says of three planted incidents, told to the machines of the core in virtual time, judged by the core
//! and written by the same lines as on a terminal. `docs/EVIDENCE.md` shows them.
//!
//! `ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --lib planted` writes them there.

use super::{agent, fleet, read};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{
    Evidence, FleetWhy, KeptFaults, Member, OwnFaults, PastFinding, PresenceTrack, Records, ToldAt,
    Transition, Why, explain, found_by_agent,
};
use onsembl_protocol::id::{AgentId, Epoch, InstanceId, LinkId, PresenceVersion};
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::{
    AgentCause, Claimant, DialFailure, DialFault, Dialect, ServerAction, ServerConfig,
    ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::step::Step;
use onsembl_protocol::time::{Deadline, Now, Timestamp, WallTime};
use std::path::Path;
use std::time::Duration;

const BEGIN: &str = "<!-- What is said of three incidents, written by a test. -->\n";
const END: &str = "<!-- End of the incidents. -->\n";

/// A day before what is told of.
const ORIGIN_MS: i64 = 1_796_040_000_000;

const BROKEN: CloseReason = CloseReason::broken(Breakage::Reset);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn now(at: Duration) -> Now {
    let at_clock = Timestamp::from_origin(at);
    Now { monotonic: at_clock, boot: at_clock, wall: wall(at) }
}

fn wall(at: Duration) -> WallTime {
    WallTime::from_unix_millis(ORIGIN_MS + i64::try_from(at.as_millis()).unwrap())
}

/// An agent on a server, and the log of what its machine publishes.
struct Agent {
    at: Duration,
    rules: ServerConfig,
    machine: ServerConnection,
    deadline: Deadline,
    link: LinkId,
    run: u32,
    heard: Option<WallTime>,
    log: Vec<Transition>,
    /// What its black box had.
    told: Vec<ToldAt>,
}

impl Agent {
    /// One that comes to a session at this time.
    fn joined(at: Duration, rules: ServerConfig) -> Self {
        let machine = ServerConnection::new(rules, PresenceVersion(0), Epoch(0), now(at));
        let deadline = Deadline::Never;
        let (link, run, heard, log, told) = (LinkId(0), 1, None, Vec::new(), Vec::new());
        let mut agent = Self { at, rules, machine, deadline, link, run, heard, log, told };
        agent.join(Claimant::SameProcess);
        agent
    }

    fn take(&mut self, step: Step<ServerAction>) {
        for action in step.actions {
            if let ServerAction::Report(presence) = action {
                let instance = Some(InstanceId::new(format!("run-{}", self.run)));
                let at = wall(self.at);
                let (heard, beats) = (self.heard, None);
                self.log.push(Transition { at, presence, heard, instance, beats });
            }
        }
        self.deadline = step.deadline;
    }

    fn feed(&mut self, event: ServerEvent) {
        let step = self.machine.handle(event, now(self.at));
        self.take(step);
    }

    fn join(&mut self, claimant: Claimant) {
        self.link = self.link.next();
        let (link, dialect) = (self.link, Dialect::Extended);
        self.feed(ServerEvent::Joined { link, dialect, claimant });
        self.run += u32::from(claimant == Claimant::OtherProcess);
        self.feed(ServerEvent::Admitted { link, epoch: Epoch(link.0) });
        self.hear();
    }

    fn hear(&mut self) {
        self.heard = Some(wall(self.at));
        self.feed(ServerEvent::Received(self.link, ServerInbound::Other));
    }

    fn link_breaks(&mut self) {
        self.feed(ServerEvent::LinkDown(self.link, BROKEN));
    }

    /// It hands over now what it found so long ago, as its engine notes it.
    fn tells(
        &mut self,
        word: &AgentCause,
        fault: Option<DialFault>,
        ago: Duration,
        lasted: Duration,
    ) {
        let (finding, _) = found_by_agent(word, fault, Evidence::NONE).expect("a fault");
        let times = if lasted.is_zero() { 1 } else { 4 };
        let told = PastFinding { finding, ago, lasted, times };
        self.told.push(ToldAt { at: wall(self.at), told });
    }

    /// Time passes, in which its machine is woken when it is due.
    fn run_until(&mut self, until: Duration) {
        while let Deadline::At(at) = self.deadline
            && at.since_origin() <= until
        {
            self.at = at.since_origin();
            self.feed(ServerEvent::Wake);
        }
        self.at = until;
    }

    /// It is in session and heard each quarter of a minute.
    fn well_until(&mut self, until: Duration) {
        while self.at + secs(15) <= until {
            self.run_until(self.at + secs(15));
            self.hear();
        }
        self.run_until(until);
    }

    /// The server is another process, which recovers it.
    fn server_restarts(&mut self) {
        let latest = self.log.last().unwrap().presence;
        let (version, epoch) = (latest.version.after_restart(), latest.epoch);
        let (machine, step) = ServerConnection::recovered(self.rules, version, epoch, now(self.at));
        self.machine = machine;
        self.take(step);
    }

    fn why(&self, from: Duration) -> Why {
        let mut log = self.log.iter();
        let first = PresenceTrack::begin(log.next().unwrap().presence);
        let track = log.fold(first, |track, next| track.then(next.presence));
        let presence = explain(&track, self.heard, &self.rules);
        let records = Records { told: &self.told, ..Records::default() };
        Why::of(presence, &self.log, records, wall(from), wall(self.at))
    }

    /// What `why` says of it.
    fn said(&self) -> Vec<String> {
        let why = serde_json::to_string(&self.why(Duration::ZERO)).unwrap();
        read::<agent::AgentAnswer>(&why).unwrap().lines("1day")
    }
}

/// A link lies idle for a minute, and something in between cuts it; nine times.
fn cut_after_a_minute() -> Vec<String> {
    // Heartbeats each 90 s: more seldom than the timer allows.
    let timing = HeartbeatTiming::new(secs(90), secs(180), secs(270)).unwrap();
    let rules = ServerConfig::DEFAULT.with_timing(timing);
    let mut agent = Agent::joined(secs(10), rules);
    for n in 0..9 {
        agent.at += secs(600 + 7 * n);
        agent.hear();
        agent.at += secs(60) + Duration::from_millis(10 * n);
        agent.link_breaks();
        agent.at += secs(2);
        agent.join(Claimant::SameProcess);
        agent.tells(&AgentCause::LinkEnded(BROKEN), None, secs(2), Duration::ZERO);
    }
    agent.at += secs(30);
    agent.said()
}

/// Two processes of one identity, each started again by its supervisor as soon as the other has evicted it.
fn two_of_one_identity() -> Vec<String> {
    let mut agent = Agent::joined(secs(10), ServerConfig::DEFAULT);
    agent.well_until(secs(3600));
    for _ in 0..10 {
        agent.at += secs(1);
        agent.join(Claimant::OtherProcess);
        // What the run before it found, kept in the state directory that both have a copy of.
        let replaced = CloseReason::peer(Some(CloseCause::Replaced.code()));
        agent.tells(&AgentCause::LinkEnded(replaced), None, secs(1), Duration::ZERO);
    }
    agent.at += Duration::from_millis(400);
    agent.said()
}

/// Twelve agents: the server is killed and started again, and all but one come back; later it does not run for two
/// minutes, in which nobody is lost.
fn server_at_fault() -> Vec<String> {
    let (killed, back) = (secs(3600), secs(3612));
    let (frozen, thawed, end) = (secs(7200), secs(7320), secs(7500));
    let mut agents: Vec<Agent> =
        (0..12).map(|n| Agent::joined(secs(10 + n), ServerConfig::DEFAULT)).collect();
    for (n, agent) in agents.iter_mut().enumerate() {
        agent.well_until(killed);
        agent.at = back;
        agent.server_restarts();
        if n == 4 {
            agent.run_until(end);
            continue;
        }
        let late = Duration::from_millis(300 * n as u64);
        agent.run_until(back + late);
        agent.join(Claimant::SameProcess);
        let lost = back - killed + late;
        agent.tells(&AgentCause::LinkEnded(BROKEN), None, lost, Duration::ZERO);
        let refused = AgentCause::DialFailed(DialFailure::Unreachable);
        agent.tells(&refused, Some(DialFault::ConnectRefused), lost - secs(1), secs(10));
        agent.well_until(frozen);
        // Their frames wait in the kernel meanwhile, and are there when the server runs again.
        agent.at = thawed;
        agent.hear();
        agent.well_until(end);
    }
    let kept = KeptFaults { alive: wall(killed), faults: Vec::new() };
    let mut own = OwnFaults::resumed(Some(kept), wall(back));
    // It looks each second whether it runs.
    own.looked(now(frozen - secs(1)), secs(1), now(thawed));
    let member = |(n, agent): (usize, &Agent)| Member {
        agent: AgentId::new(format!("id-{n}")),
        name: format!("builder-{n}"),
        why: agent.why(Duration::ZERO),
    };
    let mut tally = FleetWhy::since(wall(Duration::ZERO), 0);
    agents.iter().enumerate().for_each(|agent| tally.add(&member(agent)));
    let why = tally.told(&own.known(wall(end)), ServerConfig::DEFAULT.timing.interval());
    let answer = serde_json::to_string(&why).unwrap();
    let answer = answer.replacen('{', &format!("{{\"total\":{},", agents.len()), 1);
    read::<fleet::FleetAnswer>(&answer).unwrap().lines("1day")
}

fn assert_says(lines: &[String], parts: &[&str]) {
    assert!(lines.len() <= 10, "{lines:#?}");
    let text = lines.join("\n");
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_timer_in_between_is_named_with_its_seconds_and_what_to_do() {
    let parts = [
        "middlebox-idle-timeout (confidence high)",
        "idle timeout 60s, times 9",
        "connection-cut (confidence high)",
        "set `--heartbeat-interval` below",
    ];
    assert_says(&cut_after_a_minute(), &parts);
}

#[test]
fn two_processes_of_one_identity_are_named_with_their_seconds_and_what_to_do() {
    let parts = [
        "instances-evict-each-other (confidence high)",
        "times 10, within 9s",
        "a state directory of its own",
    ];
    assert_says(&two_of_one_identity(), &parts);
}

#[test]
fn the_fault_of_the_server_is_one_incident_of_all_its_agents() {
    let lines = server_at_fault();
    let parts = [
        "(2m), no agent dropped: server-stalled (confidence high)",
        "lasted 120s, agents 0",
        "What to do: check the load of the server's machine",
        "(12s), 12 agents dropped: server-restarted (confidence high)",
        "lasted 12s, agents 12",
        "builder-4 is offline",
        "unknown (confidence low; began as server-restarted",
        "What to do: run `onsembl-agent doctor` on the agent's machine",
        "11 of 12 agents are healthy.",
    ];
    assert_says(&lines, &parts);
    assert_eq!(lines.iter().filter(|line| line.starts_with("Incident")).count(), 2, "{lines:#?}");
}

#[test]
fn the_document_shows_what_is_said() {
    // As it is published the crate has no documents beside it.
    if Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml.orig")).exists() {
        return;
    }
    let part =
        |what: &str, lines: Vec<String>| format!("{what}:\n\n```text\n{}\n```\n", lines.join("\n"));
    let shown = [
        part(
            "Something in between cuts links that are idle for a minute (`why coder`)",
            cut_after_a_minute(),
        ),
        part("Two processes share one identity (`why coder`)", two_of_one_identity()),
        part(
            "The server was killed, and later did not run for two minutes (`why --all`)",
            server_at_fault(),
        ),
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EVIDENCE.md");
    let is = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = is.split_once(BEGIN).expect("the mark where they begin");
    let (_, after) = rest.split_once(END).expect("the mark where they end");
    let should = format!("{before}{BEGIN}\n{}\n{END}{after}", shown.join("\n"));
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        std::fs::write(&path, should).unwrap();
    } else {
        assert!(
            is == should,
            "{} shows something else; write it anew with\n    \
             ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --lib planted",
            path.display(),
        );
    }
}
