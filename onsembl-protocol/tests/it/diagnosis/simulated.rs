//! The causes of the fault matrix that no real process can be brought to, or only in hours: the real machines and records
//! of both ends in virtual time, twenty runs of each with another seed.
//!
//! `ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it diagnosis::simulated` writes the runs into
//! `docs/verdicts.jsonl`, beside those of the real binaries.

use super::relay::{INTERVAL, Planted, Relay};
use super::why::Agent;
use crate::support::{is_packaged, ms, now, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{
    BlackBox, Cause, Confidence, HopTracker, ToldAt, found_by_agent,
};
use onsembl_protocol::model::Evidence;
use onsembl_protocol::session::{AgentCause, Claimant, DialFailure, DialFault, ServerEvent};
use serde_json::{Value, json};
use std::fs::{read_to_string, write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs of each fault.
const RUNS: u64 = 20;

/// What was found, how sure that is, and how long it took.
type Found = (Cause, Confidence, Duration);

struct Fault {
    name: &'static str,
    expected: Cause,
    run: fn(&mut Random) -> Found,
}

const FAULTS: [Fault; 10] = [
    Fault {
        name: "beats-never-made",
        expected: Cause::HeartbeatNeverStarted,
        run: |random| planted(random, Planted::TimerNeverStarted, |relay| &relay.agent),
    },
    Fault {
        name: "beats-never-written",
        expected: Cause::HeartbeatNotWritten,
        run: |random| planted(random, Planted::StaysQueued, |relay| &relay.agent),
    },
    Fault {
        name: "beats-not-routed",
        expected: Cause::HeartbeatNotHandled,
        run: |random| planted(random, Planted::NotRouted, |relay| &relay.server),
    },
    Fault {
        name: "beats-never-answered",
        expected: Cause::HeartbeatNotAnswered,
        run: |random| planted(random, Planted::NoAnswers, |relay| &relay.server),
    },
    Fault { name: "connection-lifetime", expected: Cause::MiddleboxLifetime, run: lifetime },
    Fault { name: "evictions", expected: Cause::InstancesEvictEachOther, run: evictions },
    Fault { name: "not-reading", expected: Cause::SlowConsumer, run: not_reading },
    Fault { name: "agent-deleted", expected: Cause::AgentDeleted, run: deleted },
    Fault {
        name: "proxy",
        expected: Cause::Proxy,
        run: |random| {
            kept_away(
                random,
                &[
                    (DialFault::ProxyUnreachable, DialFailure::Unreachable),
                    (DialFault::ProxyCredentials, DialFailure::NotAServer(407)),
                    (DialFault::ProxyRefused, DialFailure::NotAServer(403)),
                    (DialFault::ProxyUnanswered, DialFailure::TimedOut),
                ],
            )
        },
    },
    Fault {
        name: "server-busy",
        expected: Cause::ServerBusy,
        run: |random| {
            let busy = DialFailure::Busy { retry_after: None };
            kept_away(random, &[(DialFault::ServerBusy, busy)])
        },
    },
];

/// Numbers that a seed stands for (SplitMix64).
struct Random(u64);

impl Random {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (z ^ (z >> 31)) % (most - least + 1)
    }
}

/// A session in which heartbeats stop at a hop, as the end that sees it tells.
fn planted(random: &mut Random, planted: Planted, of: fn(&Relay) -> &HopTracker) -> Found {
    let mut relay = Relay::new(ms(random.between(0, 1500)), planted);
    let from = relay.at;
    let mut found = None;
    relay.run_for(3 * INTERVAL, |relay| {
        if let (None, Some(stop)) = (found, of(relay).verdict(now(relay.at)).stopped) {
            found = Some((stop.cause, stop.confidence, relay.at - from));
        }
    });
    found.unwrap_or((Cause::Unknown, Confidence::Low, relay.at - from))
}

/// An agent that was in session for so long, heard all the time.
fn lives(agent: &mut Agent, time: Duration, silent: Duration) {
    let until = agent.at + time;
    while agent.at + INTERVAL < until.saturating_sub(silent) {
        agent.at += INTERVAL;
        agent.hear();
    }
    agent.at = until.saturating_sub(silent);
    agent.hear();
    agent.at = until;
}

/// The verdict as it is told: what the drops have in common, or that on the latest.
fn told(agent: &Agent, from: Duration) -> Found {
    let why = agent.told();
    let latest = why.drops.last().map(|drop| drop.finding.clone());
    let finding = why.pattern.or(latest).expect("it fell");
    (finding.cause, finding.confidence, agent.at - from)
}

/// Something on the way ends each connection at the same age.
fn lifetime(random: &mut Random) -> Found {
    let mut agent = Agent::new();
    let age = random.between(120, 7200);
    let from = agent.at;
    agent.join(Claimant::SameProcess);
    for _ in 0..5 {
        let silent = random.between(0, 25_000);
        lives(&mut agent, secs(age) + ms(random.between(0, 400)), ms(silent));
        agent.breaks();
        agent.at += ms(random.between(100, 3000));
        agent.join(Claimant::SameProcess);
    }
    told(&agent, from)
}

/// Two processes of one agent, each of which dials again when it was evicted.
fn evictions(random: &mut Random) -> Found {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    lives(&mut agent, secs(random.between(60, 600)), Duration::ZERO);
    let from = agent.at;
    for _ in 0..random.between(5, 12) {
        agent.at += ms(random.between(500, 30_000));
        agent.join(Claimant::OtherProcess);
    }
    told(&agent, from)
}

/// It beats, and takes nothing of what is sent to it until the queue of its link is full.
fn not_reading(random: &mut Random) -> Found {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    lives(&mut agent, secs(random.between(60, 600)), ms(random.between(0, 25_000)));
    let from = agent.at;
    let full = CloseReason::local(CloseCause::NotReading);
    let _ = agent.feed(ServerEvent::LinkDown(agent.link, full));
    agent.at += ms(random.between(100, 60_000));
    agent.join(Claimant::SameProcess);
    told(&agent, from)
}

fn deleted(random: &mut Random) -> Found {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    lives(&mut agent, secs(random.between(60, 600)), ms(random.between(0, 25_000)));
    let from = agent.at;
    let _ = agent.feed(ServerEvent::Evict(CloseCause::Deleted));
    told(&agent, from)
}

/// The link breaks, and dials fail for one of these reasons each until one does not.
fn kept_away(random: &mut Random, faults: &[(DialFault, DialFailure)]) -> Found {
    let mut agent = Agent::new();
    agent.join(Claimant::SameProcess);
    lives(&mut agent, secs(random.between(60, 600)), ms(random.between(0, 25_000)));
    let from = agent.at;
    let mut black_box = BlackBox::new();
    let mut finds = |word: AgentCause, fault, at: Duration| {
        let found = found_by_agent(&word, fault, Evidence::NONE);
        let (finding, lasted) = found.expect("a fault");
        black_box.note_lasting(finding, lasted, now(at).boot);
    };
    agent.breaks();
    finds(AgentCause::LinkEnded(CloseReason::broken(Breakage::Reset)), None, agent.at);
    let mut wait = random.between(100, 1000);
    for _ in 0..random.between(4, 40) {
        agent.at += ms(wait);
        wait = (wait * 2).min(30_000) - random.between(0, wait / 4);
        let which = random.between(0, faults.len() as u64 - 1) as usize;
        let (fault, failure) = faults[which];
        finds(AgentCause::DialFailed(failure), Some(fault), agent.at);
    }
    agent.at += ms(wait);
    agent.join(Claimant::SameProcess);
    let (_, entries) = black_box.hand_over(now(agent.at).boot).expect("it found something");
    let at = now(agent.at).wall;
    agent.told = entries.into_iter().map(|told| ToldAt { at, told }).collect();
    told(&agent, from)
}

/// The runs, as `docs/verdicts.jsonl` has them.
pub(super) fn runs() -> Vec<Value> {
    let each = FAULTS.iter().flat_map(|fault| (1..=RUNS).map(move |run| (fault, run)));
    each.map(|(fault, run)| {
        let (cause, confidence, took) = (fault.run)(&mut Random(run));
        json!({
            "fault": fault.name, "expected": [fault.expected], "cause": cause, "confidence": confidence,
            "right": cause == fault.expected, "run": run.to_string(), "ms": took.as_millis() as u64,
            "simulated": true,
        })
    })
    .collect()
}

/// The file of all runs.
pub(super) fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verdicts.jsonl")
}

#[test]
fn what_the_simulator_finds_stands_beside_what_the_binaries_find() {
    if is_packaged() {
        return;
    }
    let is = read_to_string(file()).expect("the runs");
    let all: Vec<Value> = is.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (simulated, real): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|run| run["simulated"] == true);
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        let text: String = real.iter().chain(&runs()).map(|run| format!("{run}\n")).collect();
        write(file(), text).expect("the file can be written");
    } else {
        assert!(
            simulated == runs(),
            "the simulator finds something else; write it anew with\n    \
             ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it diagnosis::simulated",
        );
    }
}
