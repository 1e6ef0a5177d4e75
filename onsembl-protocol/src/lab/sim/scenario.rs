//! A world in a few numbers, and the faults that a seed stands for.

use super::fault::{Fault, FaultKind, Planned};
use super::host::span;
use super::random::Random;
use super::{MILLI, SECOND};
use crate::close::CloseCause;
use crate::liveness::BackoffPolicy;
use crate::model::HeartbeatTiming;
use crate::session::{AgentConfig, ServerConfig};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Where the faults of a scenario come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Faults {
    /// From the seed: this many in each hour.
    PerHour(u32),
    /// Exactly these.
    These(Vec<Planned>),
}

/// A defect of the driver that a test plants to see it noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The deadlines of agent 0 are dropped.
    DropsDeadlines,
    /// The deadlines of agent 0 come a day late.
    SleepsIn,
    /// The deadlines of agent 0 are those of the step before.
    RepeatsDeadlines,
}

/// A world in a few numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Scenario {
    /// Decides everything that is not said here.
    pub seed: u64,
    pub agents: u32,
    /// For how long faults happen; afterwards everything heals and must come back.
    pub duration: Duration,
    /// The rules of the server.
    pub server: ServerConfig,
    /// The rules of the agents.
    pub agent: AgentConfig,
    /// One agent in this many speaks the legacy dialect; 0 for none.
    pub legacy_one_in: u32,
    pub faults: Faults,
    /// Whether every message is written and read again on its way.
    pub codec: bool,
    /// A defect of the driver.
    pub planted: Option<Planted>,
}

impl Scenario {
    /// One agent and one server with the default rules, for one hour, and nothing goes wrong.
    pub const fn quiet(seed: u64) -> Self {
        Self {
            seed,
            agents: 1,
            duration: Duration::from_secs(3600),
            server: ServerConfig::DEFAULT,
            agent: AgentConfig::DEFAULT,
            legacy_one_in: 0,
            faults: Faults::These(Vec::new()),
            codec: false,
            planted: None,
        }
    }

    /// What a seed stands for: 3 to 8 agents, an hour, 12 to 30 faults, and rules that are the
    /// defaults half of the time and faster ones else.
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::of(seed, 0);
        let agents = random.between(3, 8) as u32;
        let interval = random.pick([2_000, 5_000, 10_000, 15_000, 30_000, 30_000, 30_000, 30_000]);
        let timing = HeartbeatTiming::new(
            Duration::from_millis(interval),
            Duration::from_millis(interval * 3 / 2),
            Duration::from_millis(interval * random.pick([2, 3, 3, 4])),
        );
        let backoff = BackoffPolicy::new(
            Duration::from_millis(random.pick([100, 1000, 1000])),
            Duration::from_secs(random.pick([5, 30, 30])),
            Duration::from_secs(random.pick([2, 10, 10])),
        );
        Self {
            seed,
            agents,
            duration: Duration::from_secs(3600),
            server: ServerConfig {
                timing: timing.unwrap_or_default(),
                resume_window: Duration::from_secs(random.pick([20, 90, 300, 300])),
                admission_timeout: Duration::from_secs(random.pick([8, 25, 25])),
                ..ServerConfig::DEFAULT
            },
            agent: AgentConfig {
                dial_timeout: Duration::from_secs(random.pick([3, 10, 10])),
                hello_timeout: Duration::from_secs(random.pick([12, 30, 30])),
                backoff: backoff.unwrap_or_default(),
            },
            legacy_one_in: random.pick([0, 3, 5]),
            faults: Faults::PerHour(random.between(12, 30) as u32),
            codec: false,
            planted: None,
        }
    }

    /// The faults as a list, in order of time.
    pub fn planned(&self) -> Vec<Planned> {
        match &self.faults {
            Faults::These(list) => list.clone(),
            Faults::PerHour(per_hour) => self.draw(*per_hour),
        }
    }

    /// The same world with its faults as a list.
    #[must_use]
    pub fn spelled_out(mut self) -> Self {
        self.faults = Faults::These(self.planned());
        self
    }

    fn draw(&self, per_hour: u32) -> Vec<Planned> {
        let mut random = Random::of(self.seed, 1);
        let duration = span(self.duration);
        let count = u64::from(per_hour) * duration.div_ceil(3600 * SECOND);
        let mut list: Vec<Planned> = Vec::new();
        for _ in 0..count {
            let kinds = FaultKind::ALL;
            // A session in error lives on as any other, and is to meet as much.
            let any = match random.below(10) {
                0 => FaultKind::AgentFault,
                _ => kinds[random.below(kinds.len() as u64) as usize],
            };
            let (kind, at, agent) = match list.last() {
                // The worst comes of two troubles together; a stop right after a time-out is rare
                // else.
                Some(earlier) if random.once_in(2) => {
                    let kind = if random.once_in(6) { FaultKind::AgentStop } else { any };
                    (kind, self.draw_follow_up(earlier, &mut random), earlier.fault.agent)
                }
                Some(_) | None => (
                    any,
                    random.between(duration / 50, duration - duration / 50),
                    random.below(u64::from(self.agents)) as u32,
                ),
            };
            let lasts = self.draw_span(&mut random);
            let fault = Fault { kind, agent, lasts, code: draw_code(&mut random) };
            list.push(Planned { at: at.min(duration - 1), fault });
        }
        list.extend(self.draw_takeover(&mut random));
        list.sort_by_key(|planned| planned.at);
        list
    }

    /// One arrangement that chance brings too seldom: an agent in error returns over a new wire, and
    /// while the store still opens its session the server learns that the old wire is closed.
    fn draw_takeover(&self, random: &mut Random) -> [Planned; 3] {
        let duration = span(self.duration);
        let at = random.between(duration / 2, duration - duration / 10);
        let agent = random.below(u64::from(self.agents)) as u32;
        let learns = random.seconds(2, 8);
        let planned = |kind, after, lasts| {
            let code = CloseCause::GoingAway.code().0;
            Planned { at: at + after, fault: Fault { kind, agent, lasts, code } }
        };
        [
            planned(FaultKind::AgentFault, 0, 1),
            planned(FaultKind::StoreStuck, SECOND, 9 * SECOND),
            planned(FaultKind::CutServerLater, SECOND, learns),
        ]
    }

    /// When the earlier fault has just begun, is just over, or its silence is about to be noticed.
    fn draw_follow_up(&self, earlier: &Planned, random: &mut Random) -> u64 {
        let timing = self.server.timing;
        let interval = span(timing.interval());
        let noticed = |after: Duration, random: &mut Random| {
            span(after) - random.below(interval) + random.below(SECOND)
        };
        earlier.at
            + match random.below(4) {
                0 => random.below(3 * SECOND),
                1 => earlier.fault.lasts + random.below(SECOND),
                2 => noticed(timing.stale_after(), random),
                _ => noticed(timing.timeout_after(), random),
            }
    }

    /// A moment, about as long as one of the times of liveness, or some minutes.
    fn draw_span(&self, random: &mut Random) -> u64 {
        let timing = self.server.timing;
        let near = |time: Duration, random: &mut Random| {
            let time = span(time);
            random.between(time - time / 5, time + time / 5)
        };
        match random.below(8) {
            0 => random.between(MILLI, SECOND),
            1 => random.seconds(1, 10),
            2 => near(timing.interval(), random),
            3 | 4 => near(timing.stale_after(), random),
            5 => near(timing.timeout_after(), random),
            6 => near(self.server.resume_window, random),
            _ => random.seconds(60, 600),
        }
    }
}

fn draw_code(random: &mut Random) -> u16 {
    match random.below(6) {
        0 => random.between(1000, 1015) as u16,
        1 => random.between(3000, 4999) as u16,
        _ => {
            let all = CloseCause::ALL;
            all[random.below(all.len() as u64) as usize].code().0
        }
    }
}

/// One line for the world and one for each fault.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timing = self.server.timing;
        writeln!(
            f,
            "seed {}: {} agents for {:?}; interval {:?}, stale {:?}, timeout {:?}, resume {:?}, \
             legacy one in {}",
            self.seed,
            self.agents,
            self.duration,
            timing.interval(),
            timing.stale_after(),
            timing.timeout_after(),
            self.server.resume_window,
            self.legacy_one_in,
        )?;
        self.planned().iter().try_for_each(|planned| writeln!(f, "{planned}"))
    }
}
