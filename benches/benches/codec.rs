//! Reading and writing one message, beside what `serde_json` alone costs for the same bytes.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onsembl_protocol::id::{
    BeatSequence, ByteOffset, ChunkSequence, CommandId, Incarnation, MessageId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{OutputContent, StreamType, TerminalOutput};
use onsembl_protocol::wire::{self, AgentToServer};
use serde::Deserialize;
use std::hint::black_box;

const HEARTBEAT: &str = r#"{"type":"AGENT_HEARTBEAT","id":"0192-31","timestamp":1762100000000,"payload":{"agentId":"0192f7a0-0000-7000-8000-000000000000","healthMetrics":{"cpuUsage":12.5,"memoryUsage":48,"uptime":86400,"commandsProcessed":17},"sequence":31,"seen":{"sequence":30,"ageMs":12}}}"#;

/// The same message for `serde_json` alone: no envelope of ours, no leniency, no limits.
#[derive(Deserialize)]
#[allow(dead_code)]
#[serde(rename_all = "camelCase")]
struct Plain {
    r#type: String,
    id: String,
    timestamp: i64,
    payload: PlainBeat,
}

#[derive(Deserialize)]
#[allow(dead_code)]
#[serde(rename_all = "camelCase")]
struct PlainBeat {
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

fn heartbeat(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode a heartbeat");
    group.throughput(Throughput::Bytes(HEARTBEAT.len() as u64));
    group.bench_function("serde_json into a plain struct", |b| {
        b.iter(|| serde_json::from_str::<Plain>(black_box(HEARTBEAT)).unwrap());
    });
    group.bench_function("onsembl", |b| {
        b.iter(|| wire::decode::<AgentToServer>(black_box(HEARTBEAT), &Limits::DEFAULT).unwrap());
    });
    group.finish();
}

fn output(c: &mut Criterion) {
    let line = "   Compiling onsembl-protocol v0.1.0\n".repeat(8);
    let message = AgentToServer::Output(TerminalOutput {
        command_id: CommandId::new("cmd-0192f7a0"),
        agent_id: None,
        stream: StreamType::Stdout,
        content: OutputContent::Text(line.clone()),
        sequence: Some(ChunkSequence(9)),
        offset: Some(ByteOffset(4096)),
        incarnation: Some(Incarnation(1_762_100_000_000)),
    });
    let id = MessageId::new("0192-32");
    let mut group = c.benchmark_group("encode output");
    group.throughput(Throughput::Bytes(line.len() as u64));
    group.bench_function("serde_json of the text alone", |b| {
        b.iter(|| serde_json::to_string(black_box(&line)).unwrap());
    });
    group.bench_function("onsembl", |b| {
        b.iter(|| wire::encode(&id, WallTime::from_unix_millis(1), black_box(&message)));
    });
    group.finish();
}

criterion_group!(benches, heartbeat, output);
criterion_main!(benches);
