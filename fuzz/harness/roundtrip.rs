// What is written is read back as it was: for messages built from parts, for payloads of any shape
// under every type of every direction, and for any text that can be read at all.

use super::bytes::Bytes;
use core::fmt::Debug;
use onsembl_protocol::id::{
    AgentId, BeatSequence, ByteOffset, ChunkSequence, CommandId, Incarnation, MessageId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{
    AgentHeartbeat, CommandCancel, OutputAck, OutputContent, SeenBeat, StreamType, TerminalOutput,
};
use onsembl_protocol::wire::{
    self, AgentToServer, Bounded, DashboardToServer, MessageSet, OutputFrame, ServerToAgent,
    ServerToDashboard, StreamFrame,
};

/// Names of fields that mean something to one type or another.
const FIELDS: &[&str] = &[
    "agentId",
    "commandId",
    "messageId",
    "content",
    "encoding",
    "streamType",
    "type",
    "sequence",
    "offset",
    "incarnation",
    "seen",
    "recorded",
    "recordingLag",
    "healthMetrics",
    "ageMs",
    "status",
    "exitCode",
    "signal",
    "duration",
    "executionTime",
    "error",
    "reason",
    "force",
    "command",
    "prompt",
    "args",
    "env",
    "workingDirectory",
    "priority",
    "executionConstraints",
    "extensions",
    "capabilities",
    "agentKey",
    "instanceId",
    "features",
    "timing",
    "heartbeatIntervalMs",
    "staleAfterMs",
    "timeoutAfterMs",
    "timestamp",
    "serverTime",
    "nextPingExpected",
    "subscriptions",
    "agents",
    "commands",
    "lines",
    "output",
    "code",
    "message",
    "recoverable",
    "token",
    "expiresIn",
    "metadata",
    "name",
    "version",
    "success",
    "queuePosition",
    "text",
    "stdoutBytes",
    "stderrBytes",
];

/// Words that an enumeration may know.
const WORDS: &[&str] = &[
    "stdout",
    "stderr",
    "base64",
    "utf-8",
    "online",
    "offline",
    "pending",
    "running",
    "completed",
    "failed",
    "cancelled",
    "high",
    "normal",
    "low",
    "2026-01-02T03:04:05.678Z",
    "STOP",
    "///=",
];

/// Any bytes, in each of the three ways.
pub fn roundtrip(bytes: &[u8]) {
    let mut parts = Bytes(bytes);
    match parts.byte() % 3 {
        0 => from_parts(&mut parts),
        1 => {
            let way = parts.byte();
            match way % 4 {
                0 => of_any_shape::<AgentToServer>(&mut parts),
                1 => of_any_shape::<ServerToAgent>(&mut parts),
                2 => of_any_shape::<DashboardToServer>(&mut parts),
                _ => of_any_shape::<ServerToDashboard>(&mut parts),
            }
        }
        _ => {
            let Ok(text) = core::str::from_utf8(parts.0) else { return };
            settles::<AgentToServer>(text);
            settles::<ServerToAgent>(text);
            settles::<DashboardToServer>(text);
            settles::<ServerToDashboard>(text);
        }
    }
}

fn limits() -> Limits {
    // A canonical form may be longer than what it was read from (escapes, both names of a field).
    {
        let mut it = Limits::DEFAULT;
        it.message_bytes = 4 << 20;
        it
    }
}

fn written<M: MessageSet>(message: &M) -> String {
    wire::encode(&MessageId::new("m"), WallTime::from_unix_millis(1_700_000_000_000), message)
}

/// Written and read, it is the same.
fn comes_back<M: MessageSet + Bounded + PartialEq + Debug>(message: &M) {
    let text = written(message);
    match wire::decode::<M>(&text, &limits()) {
        Ok(read) => assert_eq!(read.message, *message, "{text}"),
        Err(error) => panic!("our own form is not read: {error}\n{text}"),
    }
}

/// What a lenient reader took may say more than the canonical form; what that form says comes back.
fn settles<M: MessageSet + Bounded + PartialEq + Debug>(text: &str) {
    let Ok(lenient) = wire::decode::<M>(text, &limits()) else { return };
    let canonical = written(&lenient.message);
    match wire::decode::<M>(&canonical, &limits()) {
        Ok(read) => {
            assert_eq!(read.message.kind(), lenient.message.kind(), "{text}\n{canonical}");
            assert_eq!(written(&read.message), canonical, "the form is not stable: {text}");
            comes_back(&read.message);
        }
        Err(error) => panic!("our own form is not read: {error}\n{canonical}"),
    }
}

fn of_any_shape<M: MessageSet + Bounded + PartialEq + Debug>(parts: &mut Bytes<'_>) {
    let kind = parts.pick(M::TYPES);
    let mut text = format!(r#"{{"type":"{kind}","id":"i","timestamp":1700000000000,"payload":"#);
    object(parts, 0, &mut text);
    text.push('}');
    settles::<M>(&text);
}

fn object(parts: &mut Bytes<'_>, depth: u8, out: &mut String) {
    out.push('{');
    for n in 0..parts.byte() % 8 {
        if n > 0 {
            out.push(',');
        }
        quoted(parts.pick(FIELDS), out);
        out.push(':');
        value(parts, depth + 1, out);
    }
    out.push('}');
}

fn value(parts: &mut Bytes<'_>, depth: u8, out: &mut String) {
    match parts.byte() % 10 {
        0 => out.push_str("null"),
        1 => out.push_str("true"),
        2 => *out += &parts.short().to_string(),
        3 => *out += &format!("-{}.{}", parts.byte(), parts.byte()),
        4 => *out += &format!("17{:011}", parts.short()),
        5 => quoted(parts.pick(WORDS), out),
        6 | 7 => quoted(&parts.text(), out),
        8 if depth < 5 => object(parts, depth, out),
        9 if depth < 5 => {
            out.push('[');
            for n in 0..parts.byte() % 4 {
                if n > 0 {
                    out.push(',');
                }
                value(parts, depth + 1, out);
            }
            out.push(']');
        }
        _ => out.push_str("false"),
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => *out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn from_parts(parts: &mut Bytes<'_>) {
    binary(&mut parts.clone());
    match parts.byte() % 4 {
        0 => comes_back(&AgentToServer::Output(TerminalOutput {
            command_id: CommandId::new(parts.text()),
            agent_id: agent_id(parts),
            stream: stream(parts),
            sequence: parts.number().filter(exact).map(ChunkSequence),
            offset: parts.number().filter(exact).map(ByteOffset),
            incarnation: parts.number().filter(exact).map(Incarnation),
            content: OutputContent::from_bytes(parts.0),
        })),
        1 => comes_back(&AgentToServer::Heartbeat(AgentHeartbeat {
            agent_id: agent_id(parts),
            health_metrics: None,
            sequence: parts.number().filter(exact).map(BeatSequence),
            seen: parts
                .number()
                .filter(exact)
                .map(|n| SeenBeat { sequence: BeatSequence(n), age_ms: parts.short() }),
            paused: parts.short().is_multiple_of(2),
        })),
        2 => comes_back(&ServerToAgent::OutputAck(OutputAck {
            command_id: CommandId::new(parts.text()),
            incarnation: Incarnation(parts.short()),
            stream_type: stream(parts),
            offset: ByteOffset(parts.short()),
            open_gap: parts.number().is_some(),
        })),
        _ => comes_back(&ServerToAgent::CommandCancel(CommandCancel {
            command_id: CommandId::new(parts.text()),
            agent_id: agent_id(parts),
            reason: parts.number().map(|_| parts.text()),
            force: parts.byte() > 127,
        })),
    }
}

/// A chunk comes back from a binary message, and from one that was cut it does not.
fn binary(parts: &mut Bytes<'_>) {
    let frame = OutputFrame {
        command_id: CommandId::new(parts.text()),
        incarnation: Incarnation(parts.number().unwrap_or_default()),
        stream: parts.pick(&Stream::ALL),
        sequence: ChunkSequence(parts.short()),
        offset: ByteOffset(parts.number().unwrap_or_default()),
        bytes: parts.0.to_vec().into(),
    };
    let Some(written) = frame.encode() else { panic!("a short id has a form: {frame:?}") };
    let cut = written.len() - frame.bytes.len() - 1;
    assert!(OutputFrame::decode(written.slice(..cut), &limits()).is_err(), "cut: {frame:?}");
    assert_eq!(OutputFrame::decode(written, &limits()), Ok(frame.clone()));
    let OutputFrame { command_id, incarnation, stream, sequence, offset, bytes } = frame;
    let (agent_id, timestamp) = (AgentId::new("a"), WallTime::from_unix_millis(-1));
    let chunks = vec![bytes];
    let shown = StreamFrame {
        command_id,
        agent_id,
        incarnation,
        stream,
        sequence,
        offset,
        timestamp,
        chunks,
    };
    let Some(written) = shown.encode() else { panic!("a short id has a form: {shown:?}") };
    let cut = written.len() - shown.byte_count() - 1;
    assert!(StreamFrame::decode(written.slice(..cut), &limits()).is_err(), "cut: {shown:?}");
    assert_eq!(StreamFrame::decode(written, &limits()), Ok(shown));
}

/// Whether a number survives a reader that keeps numbers as doubles.
fn exact(n: &u64) -> bool {
    *n < 1 << 53
}

fn agent_id(parts: &mut Bytes<'_>) -> Option<AgentId> {
    parts.number().map(|_| AgentId::new(parts.text()))
}

fn stream(parts: &mut Bytes<'_>) -> StreamType {
    if parts.byte().is_multiple_of(2) { StreamType::Stdout } else { StreamType::Stderr }
}
