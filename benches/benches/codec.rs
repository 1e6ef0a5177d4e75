//! Reading and writing one message, compared with `serde_json` alone for the same bytes, and with the same
//! work without our own code: our writer (`wire/json.rs`) and one-pass reader (`wire/one_pass.rs`) stay
//! only while the last pairs meet their goals.
//!
//! - `cargo bench -p onsembl-benches --bench codec` times both sides of each pair in turns and
//!   prints the median of the ratios beside its goal.
//! - `cargo bench -p onsembl-benches --bench codec -- instructions` counts instructions instead, on
//!   a machine that has `valgrind`: each side runs under `--tool=callgrind` for 100 and for 1,100
//!   rounds, and the difference is what 1,000 rounds cost. No noise: this is the number to compare.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::drop_non_drop
)]

use onsembl_protocol::id::{
    BeatSequence, ByteOffset, ChunkSequence, CommandId, Incarnation, MessageId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{OutputContent, StreamType, TerminalOutput};
use onsembl_protocol::wire::{self, AgentFrame, AgentToServer, MessageSet};
use serde::{Deserialize, Serialize, Serializer};
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

const HEARTBEAT: &str = r#"{"type":"AGENT_HEARTBEAT","id":"0192-31","timestamp":1762100000000,"payload":{"agentId":"0192f7a0-0000-7000-8000-000000000000","healthMetrics":{"cpuUsage":12.5,"memoryUsage":48.0,"uptime":86400.0,"commandsProcessed":17},"sequence":31,"seen":{"sequence":30,"ageMs":12}}}"#;
const PONG: &str = r#"{"type":"PONG","id":"pong-1762041630001","timestamp":1762041630001,"payload":{"timestamp":1762041630000}}"#;

/// The same messages for `serde_json` alone: no leniency, no limits, text borrowed.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Plain<'a, P> {
    r#type: &'a str,
    id: &'a str,
    timestamp: i64,
    payload: P,
}

#[derive(Deserialize)]
#[allow(dead_code)]
#[serde(rename_all = "camelCase")]
struct PlainBeat<'a> {
    agent_id: &'a str,
    health_metrics: PlainMetrics,
    sequence: BeatSequence,
    seen: PlainSeen,
}

/// The same again with owned text.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Owned<P> {
    r#type: String,
    id: String,
    timestamp: i64,
    payload: P,
}

#[derive(Deserialize)]
#[allow(dead_code)]
#[serde(rename_all = "camelCase")]
struct OwnedBeat {
    agent_id: String,
    health_metrics: PlainMetrics,
    sequence: BeatSequence,
    seen: PlainSeen,
}

#[derive(Deserialize)]
#[allow(dead_code)]
#[serde(rename_all = "camelCase")]
struct PlainMetrics {
    cpu_usage: f64,
    memory_usage: f64,
    uptime: f64,
    commands_processed: u64,
}

#[derive(Deserialize)]
#[allow(dead_code)]
#[serde(rename_all = "camelCase")]
struct PlainSeen {
    sequence: BeatSequence,
    age_ms: u64,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct PlainPong {
    timestamp: f64,
}

#[derive(Serialize)]
struct PlainEnvelope<'a> {
    r#type: &'a str,
    id: &'a str,
    timestamp: i64,
    payload: PlainOutput<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlainOutput<'a> {
    command_id: &'a str,
    stream_type: &'a str,
    content: &'a str,
    encoding: &'a str,
    sequence: u64,
    offset: u64,
    incarnation: u64,
}

const AT: WallTime = WallTime::from_unix_millis(1_762_100_000_000);

fn plain_output(content: &str) -> PlainEnvelope<'_> {
    PlainEnvelope {
        r#type: "TERMINAL_OUTPUT",
        id: "0192-32",
        timestamp: AT.unix_millis(),
        payload: PlainOutput {
            command_id: "cmd-0192f7a0",
            stream_type: "STDOUT",
            content,
            encoding: "utf-8",
            sequence: 9,
            offset: 4096,
            incarnation: 1_762_100_000_000,
        },
    }
}

fn output(content: &str) -> AgentToServer {
    AgentToServer::Output(TerminalOutput {
        command_id: CommandId::new("cmd-0192f7a0"),
        agent_id: None,
        stream: StreamType::Stdout,
        content: OutputContent::Text(content.to_owned()),
        sequence: Some(ChunkSequence(9)),
        offset: Some(ByteOffset(4096)),
        incarnation: Some(Incarnation(1_762_100_000_000)),
    })
}

/// What code of our own has to save, so that it is worth its lines: a fifth. Where it does not, it may cost
/// hardly more.
const OWN_CODE: f64 = 0.8;
const NO_WORSE: f64 = 1.1;

/// One side of a pair: a name for the command line, and what it does a number of times.
type Side = (&'static str, Box<dyn Fn(u32)>);

struct Pair {
    what: &'static str,
    goal: f64,
    plain: Side,
    ours: Side,
}

fn rounds(f: impl Fn() + 'static) -> Box<dyn Fn(u32)> {
    Box::new(move |n| (0..n).for_each(|_| f()))
}

fn decoded<'a, T: Deserialize<'a>>(text: &'a str) -> T {
    serde_json::from_str(text).unwrap()
}

fn decode_pairs() -> [Pair; 3] {
    [
        Pair {
            what: "decode a heartbeat in place",
            goal: 1.3,
            plain: (
                "heartbeat-plain",
                rounds(|| {
                    drop(black_box(decoded::<Plain<'_, PlainBeat<'_>>>(black_box(HEARTBEAT))));
                }),
            ),
            ours: ("heartbeat", rounds(|| drop(black_box(in_place(black_box(HEARTBEAT)))))),
        },
        Pair {
            what: "decode a legacy PONG in place",
            goal: 1.3,
            plain: (
                "pong-plain",
                rounds(|| drop(black_box(decoded::<Plain<'_, PlainPong>>(black_box(PONG))))),
            ),
            ours: ("pong", rounds(|| drop(black_box(in_place(black_box(PONG)))))),
        },
        Pair {
            what: "decode a heartbeat into owned text",
            goal: 1.3,
            plain: (
                "heartbeat-owned-plain",
                rounds(|| drop(black_box(decoded::<Owned<OwnedBeat>>(black_box(HEARTBEAT))))),
            ),
            ours: (
                "heartbeat-owned",
                rounds(|| {
                    let decoded =
                        wire::decode::<AgentToServer>(black_box(HEARTBEAT), &Limits::DEFAULT);
                    drop(black_box(decoded.unwrap()));
                }),
            ),
        },
    ]
}

fn in_place(text: &str) -> wire::Envelope<AgentFrame<'_>, wire::Text<'_>> {
    wire::decode_in_place(text, &Limits::DEFAULT).unwrap()
}

fn encode_pair(
    what: &'static str,
    [plain, ours]: [&'static str; 2],
    content: &'static str,
) -> Pair {
    let (id, message) = (MessageId::new("0192-32"), output(content));
    let expected = serde_json::to_string(&plain_output(content)).unwrap();
    assert_eq!(wire::encode(&id, AT, &message), expected, "the two sides write the same bytes");
    Pair {
        what,
        goal: 1.2,
        plain: (
            plain,
            Box::new(move |n| {
                let mut buffer = Vec::new();
                for _ in 0..n {
                    buffer.clear();
                    serde_json::to_writer(&mut buffer, &plain_output(black_box(content))).unwrap();
                    black_box(&buffer);
                }
            }),
        ),
        ours: (
            ours,
            Box::new(move |n| {
                let mut buffer = String::new();
                for _ in 0..n {
                    buffer.clear();
                    wire::encode_into(&mut buffer, &id, AT, black_box(&message));
                    black_box(&buffer);
                }
            }),
        ),
    }
}

/// The same message by way of `serde_json`.
#[derive(Serialize)]
struct Derived<'a> {
    r#type: &'a str,
    id: &'a MessageId,
    timestamp: i64,
    #[serde(serialize_with = "payload")]
    payload: &'a AgentToServer,
}

fn payload<S: Serializer>(message: &&AgentToServer, serializer: S) -> Result<S::Ok, S::Error> {
    message.write_payload(serializer)
}

/// What `serde_json` offers without std, which the core does not have: a text of its own for each message, then
/// copied behind what the buffer of a sender holds.
fn writer_pair(
    what: &'static str,
    goal: f64,
    [plain, ours]: [&'static str; 2],
    content: &'static str,
) -> Pair {
    let (id, message) = (MessageId::new("0192-32"), output(content));
    let (same_id, same) = (id.clone(), message.clone());
    let derived = move |buffer: &mut String| {
        let timestamp = AT.unix_millis();
        let out = Derived { r#type: same.kind(), id: &same_id, timestamp, payload: &same };
        buffer.push_str(&serde_json::to_string(black_box(&out)).unwrap());
    };
    let mut expected = String::new();
    derived(&mut expected);
    assert_eq!(wire::encode(&id, AT, &message), expected, "the two sides write the same bytes");
    let kept = |write: Box<dyn Fn(&mut String)>| -> Box<dyn Fn(u32)> {
        Box::new(move |n| {
            let mut buffer = String::new();
            for _ in 0..n {
                buffer.clear();
                write(&mut buffer);
                black_box(&buffer);
            }
        })
    };
    let own = move |buffer: &mut String| wire::encode_into(buffer, &id, AT, black_box(&message));
    let (derived, own) = (kept(Box::new(derived)), kept(Box::new(own)));
    Pair { what, goal, plain: (plain, derived), ours: (ours, own) }
}

/// The careful way is what would be left: the envelope by `serde_json` with its payload as raw text, then the payload.
fn reader_pair(what: &'static str, [plain, ours]: [&'static str; 2], text: &'static str) -> Pair {
    let carefully = move || {
        let read = wire::decode_carefully::<AgentToServer>(black_box(text), &Limits::DEFAULT);
        drop(black_box(read.unwrap()));
    };
    let own = move || drop(black_box(in_place(black_box(text))));
    Pair { what, goal: OWN_CODE, plain: (plain, rounds(carefully)), ours: (ours, rounds(own)) }
}

fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::from(decode_pairs());
    let compiling = "   Compiling onsembl-protocol v0.1.0\n".repeat(8).leak();
    let coloured = "\u{1b}[32mok\u{1b}[0m \"name\"\n".repeat(40).leak();
    pairs.push(encode_pair("encode 296 bytes of output", ["lines-plain", "lines"], compiling));
    pairs.push(encode_pair("encode output full of escapes", ["colour-plain", "colour"], coloured));
    pairs.push(encode_pair("encode two bytes of output", ["short-plain", "short"], "x\n"));
    let chunk = wire::encode(&MessageId::new("0192-32"), AT, &output(compiling)).leak();
    for (what, sides, text) in [
        ("read a heartbeat in one pass", ["beat-careful", "beat-once"], HEARTBEAT),
        ("read a legacy PONG in one pass", ["pong-careful", "pong-once"], PONG),
        ("read 296 bytes of output in one pass", ["chunk-careful", "chunk-once"], chunk),
    ] {
        pairs.push(reader_pair(what, sides, text));
    }
    for (what, goal, sides, content) in [
        (
            "write 296 bytes without serde_json",
            OWN_CODE,
            ["lines-derived", "lines-own"],
            &*compiling,
        ),
        (
            "write escapes without serde_json",
            NO_WORSE,
            ["colour-derived", "colour-own"],
            &*coloured,
        ),
        ("write two bytes without serde_json", OWN_CODE, ["short-derived", "short-own"], "x\n"),
    ] {
        pairs.push(writer_pair(what, goal, sides, content));
    }
    pairs
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["side", name, count] => {
            let sides = pairs().into_iter().flat_map(|pair| [pair.plain, pair.ours]);
            let (_, run) = sides.into_iter().find(|side| side.0 == *name).unwrap();
            run(count.parse().unwrap());
        }
        words if words.contains(&"instructions") => report("instructions", instructions),
        _ => report("time", time),
    }
}

fn report(unit: &str, measure: impl Fn(&Pair) -> (f64, String)) {
    println!("ratio of {unit}, ours to serde_json alone");
    for pair in pairs() {
        let (ratio, detail) = measure(&pair);
        let met = if ratio <= pair.goal { "met" } else { "MISSED" };
        println!("{:<36} {ratio:>6.2}  goal {:.1} {met:<7} {detail}", pair.what, pair.goal);
    }
}

/// The median of the ratios of many short runs, each pair of runs next to each other.
fn time(pair: &Pair) -> (f64, String) {
    const RUNS: usize = 301;
    const ROUNDS: u32 = 500;
    let nanos = |side: &Side| {
        let start = Instant::now();
        (side.1)(ROUNDS);
        start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    };
    let mut runs: Vec<(f64, f64)> =
        (0..RUNS).map(|_| (nanos(&pair.plain), nanos(&pair.ours))).collect();
    runs.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (plain, ours) = runs[RUNS / 2];
    (ours / plain, format!("({ours:.0} ns to {plain:.0} ns)"))
}

fn instructions(pair: &Pair) -> (f64, String) {
    let a_round = |side: &Side| (collected(side.0, 1_100) - collected(side.0, 100)) / 1_000.0;
    let (plain, ours) = (a_round(&pair.plain), a_round(&pair.ours));
    (ours / plain, format!("({ours:.0} to {plain:.0} instructions)"))
}

/// What callgrind counts when one side runs `rounds` times, from the line `Collected : N`.
fn collected(side: &str, rounds: u32) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["side", side, &rounds.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind cannot be started: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected : "));
    count.unwrap_or_else(|| panic!("valgrind counted nothing: {text}")).1.trim().parse().unwrap()
}
