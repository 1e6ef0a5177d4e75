//! The goals, and whether the medians of one file of results reach them.

use crate::results::{Record, values};
use crate::stats::{Spread, median, number, ratios};

/// What a value is held against. Costs, so less is better.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    /// At most this many times what another peer has in the same variant, and as much more.
    Of(&'static str, f64, f64),
    /// The same of another variant of that peer.
    OfVariant(&'static str, &'static str, f64, f64),
}

#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub what: &'static str,
    pub measure: &'static str,
    pub variant: &'static str,
    pub value: &'static str,
    pub unit: &'static str,
    pub peer: &'static str,
    pub goal: (&'static str, Bound),
    /// To be met in any case.
    pub must: Option<(&'static str, Bound)>,
}

const FLOOR: &str = "tungstenite-flush";
const OURS: &str = "ours";

const fn share(of: f64) -> Bound {
    Bound::Of(FLOOR, 1.0 / of, 0.0)
}

const fn ours(
    what: &'static str,
    place: (&'static str, &'static str, &'static str, &'static str),
    goal: (&'static str, Bound),
    must: Option<(&'static str, Bound)>,
) -> Goal {
    Goal {
        what,
        measure: place.0,
        variant: place.1,
        value: place.2,
        unit: place.3,
        peer: OURS,
        goal,
        must,
    }
}

const fn legacy(goal: Goal) -> Goal {
    Goal { peer: "ours-legacy", ..goal }
}

const US: &str = "cpu_us_per_message";
const LATE: (&str, Bound) = ("≤ 3 × the flushing relay + 5 ms", Bound::Of(FLOOR, 3.0, 5.0));
const BACK: Goal = ours(
    "10,000 agents back in session after `kill -9`, with a listen backlog of dials in flight",
    ("return", "10,000", "all_back_s", "s"),
    ("≤ 3 s", Bound::AtMost(3.0)),
    Some(("≤ 3 s", Bound::AtMost(3.0))),
);
const BEYOND: Goal = ours(
    "the same, all dials at once",
    ("return", "10,000, all dials at once", "all_back_s", "s"),
    ("≤ 6 s", Bound::AtMost(6.0)),
    Some(("≤ 6 s", Bound::AtMost(6.0))),
);
const RETURN_CPU: Goal = ours(
    "the same, CPU each",
    ("return", "10,000", "cpu_us_per_agent", "µs"),
    ("≤ 120 µs", Bound::AtMost(120.0)),
    Some(("≤ 120 µs", Bound::AtMost(120.0))),
);

pub const GOALS: &[Goal] = &[
    ours(
        "memory of an idle agent, at 9,000",
        ("idle", "9,000", "rss_kib_per_connection", "KiB"),
        ("≤ the fastwebsockets relay", Bound::Of("fastwebsockets", 1.0, 0.0)),
        Some(("≤ 9 KiB", Bound::AtMost(9.0))),
    ),
    ours(
        "CPU of a recorded beat, 9,000 agents at 25 s",
        ("beats", "9,000 agents, 25 s", "cpu_us_per_beat", "µs"),
        ("≤ 60 µs", Bound::AtMost(60.0)),
        Some(("≤ 100 µs", Bound::AtMost(100.0))),
    ),
    ours(
        "transactions for 1,000 beats/s (flushes)",
        ("beats", "1,000 agents, 1 s", "fsyncs_per_s", "/s"),
        ("≤ 50/s", Bound::AtMost(50.0)),
        Some(("≤ 50/s", Bound::AtMost(50.0))),
    ),
    ours(
        "the same, lag p99",
        ("beats", "1,000 agents, 1 s", "lag_p99_ms", "ms"),
        ("≤ 250 ms", Bound::AtMost(250.0)),
        None,
    ),
    ours(
        "the same, written a beat",
        ("beats", "1,000 agents, 1 s", "written_bytes_per_beat", "B"),
        ("≤ 500 B", Bound::AtMost(500.0)),
        None,
    ),
    ours(
        "output 100 B, 1 agent, stored",
        ("output", "100 B, 1 agent", US, "µs"),
        ("≥ 60 % of the flushing relay", share(0.6)),
        Some(("≥ 40 %", share(0.4))),
    ),
    ours(
        "the same, against Node `ws`",
        ("output", "100 B, 1 agent", US, "µs"),
        ("above Node `ws`", Bound::Of("ws", 1.0, 0.0)),
        None,
    ),
    ours(
        "the same, batched",
        ("output", "100 B, 1 agent, batched", US, "µs"),
        (
            "above the flushing relay, unbatched",
            Bound::OfVariant(FLOOR, "100 B, 1 agent", 1.0, 0.0),
        ),
        None,
    ),
    ours(
        "output 100 B, 100 agents, stored",
        ("output", "100 B, 100 agents", US, "µs"),
        ("≥ 60 % of the flushing relay", share(0.6)),
        Some(("≥ 40 %", share(0.4))),
    ),
    ours(
        "the same, against Node `ws`",
        ("output", "100 B, 100 agents", US, "µs"),
        ("above Node `ws`", Bound::Of("ws", 1.0, 0.0)),
        None,
    ),
    ours(
        "the same, batched",
        ("output", "100 B, 100 agents, batched", US, "µs"),
        (
            "above the flushing relay, unbatched",
            Bound::OfVariant(FLOOR, "100 B, 100 agents", 1.0, 0.0),
        ),
        None,
    ),
    ours(
        "output 4 KiB, 1 agent, stored",
        ("output", "4 KiB, 1 agent", US, "µs"),
        ("≥ 40 % of the flushing relay", share(0.4)),
        Some(("≥ 25 %", share(0.25))),
    ),
    ours(
        "the same, against Node `ws`",
        ("output", "4 KiB, 1 agent", US, "µs"),
        ("above Node `ws`", Bound::Of("ws", 1.0, 0.0)),
        Some(("above Node `ws`", Bound::Of("ws", 1.0, 0.0))),
    ),
    ours(
        "output 4 KiB, 100 agents, stored",
        ("output", "4 KiB, 100 agents", US, "µs"),
        ("≥ 40 % of the flushing relay", share(0.4)),
        Some(("≥ 25 %", share(0.25))),
    ),
    ours(
        "the same, against Node `ws`",
        ("output", "4 KiB, 100 agents", US, "µs"),
        ("above Node `ws`", Bound::Of("ws", 1.0, 0.0)),
        Some(("above Node `ws`", Bound::Of("ws", 1.0, 0.0))),
    ),
    ours(
        "latency at 500 × 20/s, p50",
        ("latency", "500 × 20/s", "latency_p50_ms", "ms"),
        LATE,
        None,
    ),
    ours(
        "latency at 500 × 20/s, p99",
        ("latency", "500 × 20/s", "latency_p99_ms", "ms"),
        LATE,
        None,
    ),
    ours(
        "latency at 1,000 × 20/s, p50",
        ("latency", "1,000 × 20/s", "latency_p50_ms", "ms"),
        LATE,
        Some(LATE),
    ),
    ours(
        "latency at 1,000 × 20/s, p99",
        ("latency", "1,000 × 20/s", "latency_p99_ms", "ms"),
        LATE,
        Some(LATE),
    ),
    ours(
        "`exec true` p99 while another agent floods",
        ("exec", "while another agent floods", "exec_p99_ms", "ms"),
        ("≤ 3 × idle + 10 ms", Bound::OfVariant(OURS, "idle", 3.0, 10.0)),
        None,
    ),
    BACK,
    RETURN_CPU,
    ours(
        "the same, accept to ACK p99",
        ("return", "10,000", "connected_to_ack_p99_ms", "ms"),
        ("≤ 500 ms", Bound::AtMost(500.0)),
        None,
    ),
    BEYOND,
    legacy(BACK),
    legacy(RETURN_CPU),
    legacy(BEYOND),
    ours(
        "start with 100,000 known agents",
        ("start", "100,000", "start_ms", "ms"),
        ("≤ 300 ms", Bound::AtMost(300.0)),
        None,
    ),
    ours(
        "the same, memory",
        ("start", "100,000", "rss_mib", "MiB"),
        ("≤ 60 MiB", Bound::AtMost(60.0)),
        None,
    ),
    ours(
        "server, stripped",
        ("sizes", "stripped", "server_mib", "MiB"),
        ("≤ 10 MiB", Bound::AtMost(10.0)),
        None,
    ),
    ours(
        "agent, stripped",
        ("sizes", "stripped", "agent_mib", "MiB"),
        ("≤ 6 MiB", Bound::AtMost(6.0)),
        None,
    ),
    growth("a beat, from 100 to 9,000 agents", "growth-beats", "9,000", "100", "cpu_us_per_beat"),
    growth("a message, from 10 to 10,000 connections", "growth-connections", "10,000", "10", US),
    growth(
        "a message, from 10 to 1,000 open commands of one user",
        "growth-open",
        "1,000",
        "10",
        US,
    ),
    growth(
        "a message, to 10,000 open commands of 20 users",
        "growth-open",
        "10,000 of 20 users",
        "10",
        US,
    ),
    ours(
        "a command, to 10,000 that ended",
        ("growth-ended", "11,000", "growth", "×"),
        ("≤ 1.3 ×", Bound::AtMost(1.3)),
        Some(("≤ 1.3 ×", Bound::AtMost(1.3))),
    ),
];

const fn growth(
    what: &'static str,
    measure: &'static str,
    variant: &'static str,
    from: &'static str,
    value: &'static str,
) -> Goal {
    let bound = ("≤ 1.3 ×", Bound::OfVariant(OURS, from, 1.3, 0.0));
    ours(what, (measure, variant, value, "µs"), bound, Some(bound))
}

/// A goal beside what was measured.
#[derive(Debug, PartialEq)]
pub struct Judged {
    pub ours: String,
    /// What the goal is held against, where that was measured too.
    pub beside: String,
    pub goal: Option<bool>,
    pub must: Option<bool>,
}

pub fn judge(goal: &Goal, records: &[Record]) -> Judged {
    let mine = values(records, goal.measure, goal.variant, goal.peer, goal.value);
    let only: Vec<f64> = mine.iter().map(|(_, value)| *value).collect();
    let Some(spread) = Spread::of(&only) else {
        let failed = records.iter().any(|one| {
            !one.ok
                && one.measure == goal.measure
                && one.variant == goal.variant
                && one.peer == goal.peer
        });
        let ours = if failed { "failed" } else { "not measured" };
        let not = failed.then_some(false);
        return Judged {
            ours: ours.into(),
            beside: String::new(),
            goal: not,
            must: goal.must.and(not),
        };
    };
    let mut beside = String::new();
    let (peer, variant) = match goal.goal.1 {
        Bound::AtMost(_) => ("", ""),
        Bound::Of(peer, ..) => (peer, goal.variant),
        Bound::OfVariant(peer, variant, ..) => (peer, variant),
    };
    let theirs = values(records, goal.measure, variant, peer, goal.value);
    if let Some(ratio) = Spread::of(&ratios(&mine, &theirs)) {
        let other =
            median(&theirs.iter().map(|(_, value)| *value).collect::<Vec<_>>()).unwrap_or(0.0);
        beside = format!("{} {}; ours {} ×", number(other), goal.unit, ratio.shown());
    }
    Judged {
        ours: format!("{} {}", spread.shown(), goal.unit),
        beside,
        goal: met(goal.goal.1, goal, spread.median, records),
        must: goal.must.and_then(|must| met(must.1, goal, spread.median, records)),
    }
}

fn met(bound: Bound, goal: &Goal, ours: f64, records: &[Record]) -> Option<bool> {
    let (peer, variant, factor, plus) = match bound {
        Bound::AtMost(most) => return Some(ours <= most),
        Bound::Of(peer, factor, plus) => (peer, goal.variant, factor, plus),
        Bound::OfVariant(peer, variant, factor, plus) => (peer, variant, factor, plus),
    };
    let theirs: Vec<f64> = values(records, goal.measure, variant, peer, goal.value)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    Some(ours <= median(&theirs)? * factor + plus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    #[test]
    fn each_goal_is_of_a_case_that_is_run() {
        let cases = cases::all(false);
        let there = |measure: &str, variant: &str| {
            cases.iter().any(|one| one.measure == measure && one.variant == variant)
        };
        for goal in GOALS {
            assert!(there(goal.measure, goal.variant), "{}", goal.what);
            let measure = cases::MEASURES.iter().find(|one| one.name == goal.measure).unwrap();
            assert!(measure.values.iter().any(|(name, _)| *name == goal.value), "{}", goal.what);
            if let Bound::OfVariant(_, variant, ..) = goal.goal.1 {
                assert!(there(goal.measure, variant), "{}", goal.what);
            }
        }
    }
}
