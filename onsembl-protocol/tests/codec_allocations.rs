//! What is read and written once an interval or more often allocates nothing: heartbeats read in
//! place, output written into a buffer that is kept. A test binary of its own, because it counts
//! what the whole process allocates.
#![allow(clippy::unwrap_used)]

use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, MessageId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{OutputContent, StreamType, TerminalOutput};
use onsembl_protocol::wire::{AgentFrame, AgentToServer, decode_in_place, encode_into};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const HEARTBEAT: &str = r#"{"type":"AGENT_HEARTBEAT","id":"0192-31","timestamp":1762100000000,"payload":{"agentId":"0192f7a0-0000-7000-8000-000000000000","healthMetrics":{"cpuUsage":12.5,"memoryUsage":48.0,"uptime":86400.0,"commandsProcessed":17},"sequence":31,"seen":{"sequence":30,"ageMs":12}}}"#;
const PONG: &str = r#"{"type":"PONG","id":"pong-1762041630001","timestamp":1762041630001,"payload":{"timestamp":1762041630000}}"#;

/// What a hundred calls allocate and reallocate, together.
fn allocated(mut f: impl FnMut()) -> usize {
    let counted = Region::new(ALLOCATOR);
    (0..100).for_each(|_| f());
    let change = counted.change();
    change.allocations + change.reallocations
}

/// The same of the best of some rounds: the thread that waits for this test may allocate meanwhile.
fn always_allocated(mut f: impl FnMut()) -> usize {
    (0..5).map(|_| allocated(&mut f)).min().unwrap_or_default()
}

fn output(content: OutputContent) -> AgentToServer {
    AgentToServer::Output(TerminalOutput {
        command_id: CommandId::new("cmd-0192f7a0"),
        agent_id: None,
        stream: StreamType::Stdout,
        content,
        sequence: Some(ChunkSequence(9)),
        offset: Some(ByteOffset(4096)),
        incarnation: Some(Incarnation(1_762_100_000_000)),
    })
}

/// One test, because a second one on another thread would be counted too.
#[test]
fn heartbeats_read_in_place_and_output_written_into_a_kept_buffer_allocate_nothing() {
    let limits = Limits::DEFAULT;
    let beat = || {
        let envelope = decode_in_place(HEARTBEAT, &limits).unwrap();
        assert!(matches!(envelope.message, AgentFrame::Heartbeat(_)));
    };
    let pong = || {
        let envelope = decode_in_place(PONG, &limits).unwrap();
        assert!(matches!(envelope.message, AgentFrame::Pong(_)));
    };
    assert_eq!((always_allocated(beat), always_allocated(pong)), (0, 0));

    let (id, at) = (MessageId::new("0192-32"), WallTime::from_unix_millis(1_762_100_000_000));
    let coloured = "\u{1b}[32mok\u{1b}[0m \"name\"\u{1}\r\n".repeat(40);
    let contents = [
        OutputContent::Text("   Compiling onsembl-protocol v0.1.0\n".repeat(8)),
        OutputContent::Text(coloured),
        OutputContent::Bytes(vec![0xff; 300].into()),
    ];
    for message in contents.map(output) {
        let mut buffer = String::new();
        let mut write = || {
            buffer.clear();
            encode_into(&mut buffer, &id, at, &message);
        };
        assert!(allocated(&mut write) > 0, "the count counts: the buffer grew");
        assert_eq!(always_allocated(&mut write), 0);
        assert!(buffer.len() > 300);
    }
}
