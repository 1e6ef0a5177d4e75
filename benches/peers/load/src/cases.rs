//! What is measured: each case with its exact meaning, its goal, and for whom.

use crate::payloads::Keeping;
use crate::scenario::Scenario;
use std::time::Duration;

/// Whom a case is run with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    /// All peers.
    All,
    /// Ours, and the relay that flushes.
    OursAndFloor,
    /// Ours, in both dialects.
    Both,
    /// Ours, extended.
    Ours,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub measure: &'static str,
    pub variant: String,
    pub who: Who,
    pub users: usize,
    pub interval: Duration,
    pub kind: CaseKind,
}

impl Case {
    /// Our server stores none of its output.
    pub fn leave_unstored(&mut self) {
        if let CaseKind::Load(Scenario::Output { keeping, .. }) = &mut self.kind {
            *keeping = Keeping::Unstored;
            self.variant.push_str(", unstored");
        }
    }
}

#[derive(Clone, Debug)]
pub enum CaseKind {
    /// One load generator against one server.
    Load(Scenario),
    /// The same, and the server is killed in between.
    Return { agents: usize, dials: usize },
    /// Two real agents beside it.
    Exec { count: usize, flood: bool },
    /// A server that knows this many agents starts.
    Start { agents: usize },
    /// The programs on the disk.
    Sizes,
}

/// A measure, for the tables.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    pub name: &'static str,
    pub title: &'static str,
    /// What is counted, and when the clock starts.
    pub meaning: &'static str,
    /// Values that the table shows: name, title.
    pub values: &'static [(&'static str, &'static str)],
}

pub const MEASURES: &[Measure] = &[
    Measure {
        name: "idle",
        title: "Memory of an idle connection",
        meaning: "Resident memory of the peer (VmRSS), all included, without TLS: two seconds after the last of N agents \
                  was in session, less what it was with ten agents, divided by N. Each agent said hello and beat once. \
                  Connecting: processor time of the peer from before the first of the N dials until all are in session \
                  and it is quiet, divided by N; for ours the agents are new, so each is stored.",
        values: &[
            ("rss_kib_per_connection", "KiB a connection"),
            ("connect_cpu_us", "connecting, µs of CPU each"),
        ],
    },
    Measure {
        name: "beats",
        title: "Heartbeats",
        meaning: "Agents beat evenly spread. A beat counts when its answer came; ours is answered when the beat is committed \
                  to the database, the others record nothing (MQTT: PINGREQ, NATS: PING). Processor time, bytes written to \
                  the disk (`write_bytes` of /proc) and calls of fsync and fdatasync of the peer in a window that starts \
                  two to four seconds after all are in session, divided by the beats answered in it. Lag: from the moment \
                  at which the agent wrote the beat until it read that it is recorded or answered.",
        values: &[
            ("cpu_us_per_beat", "µs of CPU a beat"),
            ("cpu_us_per_agent_second", "µs of CPU per agent and second"),
            ("fsyncs_per_s", "flushes a second"),
            ("written_bytes_per_beat", "bytes written a beat"),
            ("lag_p99_ms", "lag p99, ms"),
        ],
    },
    Measure {
        name: "output",
        title: "Output from agents to a dashboard",
        meaning: "Agents write as fast as the dashboard receives: at most 256 KiB (1 agent) or 32 KiB each (100 agents) are on \
                  their way. Processor time of the peer from the first of the counted messages (after 2,000 others) until \
                  all are delivered, for ours also acknowledged as stored (unless the variant says `unstored`: then it stores \
                  none), and the peer is quiet, divided by the messages. \
                  Unbatched: one frame a message, 8 KiB in a write. Batched: one frame has 16 KiB of messages, as our agent \
                  makes them of what a program writes. Each message must arrive exactly once and in order.",
        values: &[
            ("cpu_us_per_message", "µs of CPU a message"),
            ("written_bytes_per_message", "bytes written a message"),
        ],
    },
    Measure {
        name: "latency",
        title: "Latency from agents to a dashboard",
        meaning: "100 B messages at a steady rate, one write each, from a write of the agent until the dashboard has read it, \
                  by one clock; the first second is left out. A run fails if a tenth of the messages could not be sent in time.",
        values: &[
            ("latency_p50_ms", "p50, ms"),
            ("latency_p99_ms", "p99, ms"),
            ("cpu_us_per_message", "µs of CPU a message"),
        ],
    },
    Measure {
        name: "exec",
        title: "A command that ends at once",
        meaning: "`true` at a real agent, one after the other: from the request on an open dashboard link until its final status \
                  is read. Flood: meanwhile another real agent runs `yes`, and a second dashboard reads it.",
        values: &[
            ("exec_p50_ms", "p50, ms"),
            ("exec_p99_ms", "p99, ms"),
            ("server_cores", "cores taken by the server"),
        ],
    },
    Measure {
        name: "return",
        title: "Return of a fleet after kill -9",
        meaning: "The server is killed and started again over its database; agents redial at once (every 50 to 100 ms while \
                  nobody listens), at most `dials` of them opening a session at a time, from many addresses. The clock \
                  starts when the first dial is accepted by the system and ends when the last agent has read its ACK. \
                  Processor time of the server in that time, divided by the agents. Accept to ACK: from the moment at which \
                  the system accepted the connection for the server, so time in the listen backlog is in it; the lower bound \
                  starts when the agent has read that the upgrade was granted.",
        values: &[
            ("all_back_s", "all back, s"),
            ("cpu_us_per_agent", "µs of CPU each"),
            ("connected_to_ack_p99_ms", "accept to ACK p99, ms"),
            ("upgraded_to_ack_p99_ms", "lower bound of it, ms"),
        ],
    },
    Measure {
        name: "start",
        title: "Start with many known agents",
        meaning: "Agents came once each, over the protocol, and were stopped; the server was ended by SIGTERM. From starting the \
                  process until its line with the address; resident memory two seconds later.",
        values: &[("start_ms", "ms"), ("rss_mib", "MiB")],
    },
    Measure {
        name: "sizes",
        title: "Programs",
        meaning: "Sizes of the release builds on the disk, without symbols (`strip`).",
        values: &[("server_mib", "server, MiB"), ("agent_mib", "agent, MiB")],
    },
    Measure {
        name: "growth-beats",
        title: "Growth: beats by connections",
        meaning: "A thousand beats a second from ever more agents; as under heartbeats.",
        values: &[("cpu_us_per_beat", "µs of CPU a beat")],
    },
    Measure {
        name: "growth-connections",
        title: "Growth: output by connections",
        meaning: "One agent writes 100 B messages, unbatched, while ever more agents of another user are in session and idle; \
                  as under output.",
        values: &[("cpu_us_per_message", "µs of CPU a message")],
    },
    Measure {
        name: "growth-open",
        title: "Growth: output by open commands",
        meaning: "Ten commands write 100 B messages, unbatched, while ever more commands are open and silent: of one user over \
                  ten agents, 10,000 of twenty users; as under output.",
        values: &[("cpu_us_per_message", "µs of CPU a message")],
    },
    Measure {
        name: "growth-ended",
        title: "Growth: a command by commands that ended",
        meaning: "Commands that end at once, eight in flight. Processor time of the server for a command, over the second block \
                  of 500 and over the last one.",
        values: &[("cpu_us_first", "first, µs"), ("cpu_us_last", "last, µs"), ("growth", "ratio")],
    },
];

/// All cases; `quick` is shorter, for a look.
pub fn all(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |measure, variant: String, who, users, interval_ms: u64, kind| {
        cases.push(Case {
            measure,
            variant,
            who,
            users,
            interval: Duration::from_millis(interval_ms),
            kind,
        });
    };
    let less = if quick { 4 } else { 1 };
    for agents in [1000, 3000, 9000] {
        add("idle", count(agents), Who::All, 1, 25_000, CaseKind::Load(Scenario::Idle { agents }));
    }
    for (agents, period_ms, label, who) in [
        (9000, 25_000, "9,000 agents, 25 s", Who::All),
        (9000, 9_000, "9,000 agents, 9 s", Who::OursAndFloor),
        (1000, 1_000, "1,000 agents, 1 s", Who::All),
    ] {
        let seconds = if period_ms == 25_000 {
            25
        } else if quick {
            5
        } else {
            10
        };
        let scenario = Scenario::Beats { agents, period_ms, seconds };
        add("beats", label.into(), who, 1, period_ms, CaseKind::Load(scenario));
    }
    for (size, label) in [(100, "100 B"), (4096, "4 KiB")] {
        for agents in [1, 100] {
            for batched in [false, true] {
                let batch = if batched { 16_384 / size as u64 } else { 1 };
                let who = if batched { Who::OursAndFloor } else { Who::All };
                let mut messages = if size == 100 { 200_000 / less } else { 20_000 / less.min(2) };
                if batched {
                    messages *= 10;
                }
                let scenario = Scenario::Output {
                    agents,
                    others: 0,
                    streams: agents,
                    writers: agents,
                    size,
                    batch,
                    messages,
                    keeping: Keeping::Stored,
                };
                let s = if agents == 1 { "" } else { "s" };
                let label =
                    format!("{label}, {agents} agent{s}{}", if batched { ", batched" } else { "" });
                add("output", label, who, 1, 30_000, CaseKind::Load(scenario));
            }
        }
    }
    for (agents, rate) in [(10, 100), (500, 20), (1000, 20)] {
        let scenario = Scenario::Latency { agents, rate, seconds: if quick { 4 } else { 10 } };
        let label = format!("{} × {rate}/s", count(agents));
        add("latency", label, Who::All, 1, 30_000, CaseKind::Load(scenario));
    }
    for flood in [false, true] {
        let label = if flood { "while another agent floods" } else { "idle" };
        add(
            "exec",
            label.into(),
            Who::Ours,
            1,
            30_000,
            CaseKind::Exec { count: 200 / less as usize, flood },
        );
    }
    for agents in [3000, 9000, 10_000] {
        // As many as the system queues for a listener.
        add(
            "return",
            count(agents),
            Who::Both,
            1,
            30_000,
            CaseKind::Return { agents, dials: backlog() },
        );
    }
    add(
        "return",
        "10,000, all dials at once".into(),
        Who::Both,
        1,
        30_000,
        CaseKind::Return { agents: 10_000, dials: 10_000 },
    );
    add("start", "100,000".into(), Who::Ours, 20, 30_000, CaseKind::Start { agents: 100_000 });
    add("sizes", "stripped".into(), Who::Ours, 1, 30_000, CaseKind::Sizes);
    for agents in [100, 1000, 9000] {
        let scenario = Scenario::Beats {
            agents,
            period_ms: agents as u64,
            seconds: if quick { 5 } else { 10 },
        };
        add("growth-beats", count(agents), Who::OursAndFloor, 1, 25_000, CaseKind::Load(scenario));
    }
    let output = |agents, others, streams, writers| Scenario::Output {
        agents,
        others,
        streams,
        writers,
        size: 100,
        batch: 1,
        messages: 100_000 / less,
        keeping: Keeping::Stored,
    };
    for others in [10, 1000, 10_000] {
        let scenario = output(1, others, 1, 1);
        add(
            "growth-connections",
            count(others),
            Who::OursAndFloor,
            2,
            30_000,
            CaseKind::Load(scenario),
        );
    }
    for (users, open) in [(1, 10), (1, 100), (1, 1000), (20, 10_000)] {
        let scenario = output(10 * users, 0, open, 10);
        let label =
            if users == 1 { count(open) } else { format!("{} of {users} users", count(open)) };
        add("growth-open", label, Who::Ours, users, 30_000, CaseKind::Load(scenario));
    }
    let commands = 11_000;
    add(
        "growth-ended",
        count(commands),
        Who::Ours,
        1,
        30_000,
        CaseKind::Load(Scenario::Ended { commands, block: 500 }),
    );
    cases
}

/// Connections that the system queues for a listener.
pub fn backlog() -> usize {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(4096)
}

fn count(number: usize) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", number / 1000, number % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_is_of_a_measure_and_no_two_are_called_alike() {
        for quick in [false, true] {
            let cases = all(quick);
            for case in &cases {
                assert!(
                    MEASURES.iter().any(|measure| measure.name == case.measure),
                    "{}",
                    case.measure
                );
                let alike = cases
                    .iter()
                    .filter(|one| one.measure == case.measure && one.variant == case.variant);
                assert_eq!(alike.count(), 1, "{} {}", case.measure, case.variant);
            }
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([count(10), count(1000), count(10_050)], ["10", "1,000", "10,050"]);
    }
}
