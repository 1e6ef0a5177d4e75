//! Output for a dashboard in a binary message: a head of fixed form, then the bytes as the process wrote them, of one
//! chunk or of several that follow each other (PROTOCOL.md, P-460 to P-463).
//!
//! It says what `TERMINAL_STREAM` says. The chunks are joined only when it is written.

use super::binary::{code, stream_of, unnamed};
use super::bounds::within;
use super::error::{DecodeCause, DecodeError};
use super::payload::{OutputContent, StreamContent, TerminalStream};
use crate::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::limits::Limits;
use crate::model::Stream;
use crate::time::WallTime;
use alloc::vec::Vec;
use bytes::Bytes;

/// The first byte: what the message is.
const STREAM: u8 = 2;
/// Kind, stream, lengths of the command's id and of the agent's, incarnation, sequence, offset, timestamp.
const HEAD: usize = 1 + 1 + 2 + 2 + 8 + 8 + 8 + 8;

/// Chunks of one stream that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StreamFrame {
    pub command_id: CommandId,
    /// The agent that runs it.
    pub agent_id: AgentId,
    pub incarnation: Incarnation,
    pub stream: Stream,
    /// Number of the last chunk.
    pub sequence: ChunkSequence,
    /// Where in the stream the first chunk begins.
    pub offset: ByteOffset,
    /// When the first chunk was received, by the server's clock.
    pub timestamp: WallTime,
    /// The chunks, each behind the one before it; one if it was read.
    pub chunks: Vec<Bytes>,
}

impl StreamFrame {
    /// How many bytes of output it has.
    pub fn byte_count(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// The message. `None` if an id is longer than 65,535 bytes, which none is that came over a link.
    pub fn encode(&self) -> Option<Bytes> {
        let (command, agent) = (self.command_id.as_str(), self.agent_id.as_str());
        let lengths = (u16::try_from(command.len()).ok()?, u16::try_from(agent.len()).ok()?);
        let ids = command.len().saturating_add(agent.len());
        let mut out =
            Vec::with_capacity(HEAD.saturating_add(ids).saturating_add(self.byte_count()));
        out.push(STREAM);
        out.push(code(self.stream));
        out.extend_from_slice(&lengths.0.to_be_bytes());
        out.extend_from_slice(&lengths.1.to_be_bytes());
        out.extend_from_slice(&self.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.sequence.0.to_be_bytes());
        out.extend_from_slice(&self.offset.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.unix_millis().to_be_bytes());
        out.extend_from_slice(command.as_bytes());
        out.extend_from_slice(agent.as_bytes());
        self.chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
        Some(out.into())
    }

    /// Reads a message; its bytes are shared, not copied.
    ///
    /// # Errors
    /// [`DecodeError`]: the peer sent no output, or more than `limits` allow.
    pub fn decode(mut message: Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        if message.len() > limits.message_bytes {
            let (bytes, limit) = (message.len(), limits.message_bytes);
            return Err(unnamed(DecodeCause::TooLarge { bytes, limit }));
        }
        let wrong = |what| unnamed(DecodeCause::NotOutput(what));
        let short = || wrong("it is shorter than its head");
        let (head, rest) = message.split_first_chunk::<HEAD>().ok_or_else(short)?;
        let head = Head::read(head).ok_or_else(short)?;
        if head.kind != STREAM {
            return Err(wrong("it is of an unknown kind"));
        }
        let (command, rest) =
            rest.split_at_checked(head.command).ok_or(wrong("it is shorter than its ids"))?;
        let agent = rest.get(..head.agent).ok_or(wrong("it is shorter than its ids"))?;
        let command = name("commandId", command, limits)?;
        let agent = name("agentId", agent, limits)?;
        let (command_id, agent_id) = (CommandId::new(command), AgentId::new(agent));
        let Some(stream) = stream_of(head.stream) else {
            let cause = DecodeCause::NotOutput("it is of an unknown stream");
            return Err(DecodeError { cause, message_id: None, command_id: Some(command_id) });
        };
        let bytes = message.split_off(HEAD + head.command + head.agent);
        Ok(Self {
            command_id,
            agent_id,
            incarnation: Incarnation(head.incarnation),
            stream,
            sequence: ChunkSequence(head.sequence),
            offset: ByteOffset(head.offset),
            timestamp: WallTime::from_unix_millis(head.timestamp),
            chunks: Vec::from([bytes]),
        })
    }
}

fn name<'a>(field: &'static str, id: &'a [u8], limits: &Limits) -> Result<&'a str, DecodeError> {
    let id = core::str::from_utf8(id)
        .map_err(|_| unnamed(DecodeCause::NotOutput("one of its ids is no text")))?;
    within(field, Some(id), limits.name_bytes).map_err(|long| {
        let (field, limit) = (long.field, long.limit);
        unnamed(DecodeCause::TooLong { kind: "TERMINAL_STREAM".into(), field, limit })
    })?;
    Ok(id)
}

/// The same as it would have come in a text.
impl From<StreamFrame> for TerminalStream {
    fn from(frame: StreamFrame) -> Self {
        let StreamFrame { command_id, agent_id, incarnation, stream, .. } = frame;
        let StreamFrame { sequence, offset, timestamp, chunks, .. } = frame;
        let bytes = match <[Bytes; 1]>::try_from(chunks) {
            Ok([only]) => only,
            Err(several) => several.iter().flat_map(|chunk| chunk.iter().copied()).collect(),
        };
        Self {
            command_id,
            agent_id: Some(agent_id),
            stream: stream.into(),
            content: StreamContent::Bytes(OutputContent::Bytes(bytes)),
            timestamp: Some(timestamp),
            sequence: Some(sequence),
            offset: Some(offset),
            incarnation: Some(incarnation),
        }
    }
}

struct Head {
    kind: u8,
    stream: u8,
    command: usize,
    agent: usize,
    incarnation: u64,
    sequence: u64,
    offset: u64,
    timestamp: i64,
}

impl Head {
    fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let ([kind, stream], rest) = bytes.split_first_chunk()?;
        let (command, rest) = rest.split_first_chunk()?;
        let (agent, rest) = rest.split_first_chunk()?;
        let (incarnation, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (timestamp, _) = rest.split_first_chunk()?;
        Some(Self {
            kind: *kind,
            stream: *stream,
            command: usize::from(u16::from_be_bytes(*command)),
            agent: usize::from(u16::from_be_bytes(*agent)),
            incarnation: u64::from_be_bytes(*incarnation),
            sequence: u64::from_be_bytes(*sequence),
            offset: u64::from_be_bytes(*offset),
            timestamp: i64::from_be_bytes(*timestamp),
        })
    }
}
