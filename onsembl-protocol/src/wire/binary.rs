//! Output in a binary message: a head of fixed form, then the bytes as the process wrote them
//! (PROTOCOL.md, P-209 to P-212).
//!
//! It says what `TERMINAL_OUTPUT` says, without the escapes that a JSON text needs. Nothing is copied
//! when it is read: the bytes stay where they were received, and who keeps them for long copies them, as the
//! buffer around them lives as long as they do.

use super::bounds::within;
use super::error::{DecodeCause, DecodeError};
use super::payload::{OutputContent, TerminalOutput};
use crate::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use crate::limits::Limits;
use crate::model::Stream;
use alloc::vec::Vec;
use bytes::Bytes;

/// The first byte: what the message is.
const OUTPUT: u8 = 1;
/// Kind, stream, length of the command's id, incarnation, sequence, offset.
const HEAD: usize = 1 + 1 + 2 + 8 + 8 + 8;

/// One chunk of output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputFrame {
    pub command_id: CommandId,
    pub incarnation: Incarnation,
    pub stream: Stream,
    /// Number of the chunk.
    pub sequence: ChunkSequence,
    /// Where in the stream it begins.
    pub offset: ByteOffset,
    pub bytes: Bytes,
}

impl OutputFrame {
    /// The message. `None` if the id of the command is longer than 65,535 bytes, which none is that
    /// came over a link.
    pub fn encode(&self) -> Option<Bytes> {
        let id = self.command_id.as_str().as_bytes();
        let length = u16::try_from(id.len()).ok()?;
        let mut out = Vec::with_capacity(HEAD + id.len() + self.bytes.len());
        out.push(OUTPUT);
        out.push(code(self.stream));
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.sequence.0.to_be_bytes());
        out.extend_from_slice(&self.offset.0.to_be_bytes());
        out.extend_from_slice(id);
        out.extend_from_slice(&self.bytes);
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
        let (head, rest) =
            message.split_first_chunk::<HEAD>().ok_or(wrong("it is shorter than its header"))?;
        let Some(Head { kind, stream, length, incarnation, sequence, offset }) = Head::read(head)
        else {
            return Err(wrong("it is shorter than its header"));
        };
        if kind != OUTPUT {
            return Err(wrong("its kind is unknown"));
        }
        let id = rest.get(..length).ok_or(wrong("it is shorter than the id of its command"))?;
        let id =
            core::str::from_utf8(id).map_err(|_| wrong("the id of its command is not UTF-8"))?;
        within("commandId", Some(id), limits.name_bytes).map_err(|long| {
            let (field, limit) = (long.field, long.limit);
            unnamed(DecodeCause::TooLong { kind: "TERMINAL_OUTPUT".into(), field, limit })
        })?;
        let command_id = CommandId::new(id);
        let Some(stream) = stream_of(stream) else {
            let cause = DecodeCause::NotOutput("its stream is unknown");
            return Err(DecodeError { cause, message_id: None, command_id: Some(command_id) });
        };
        let bytes = message.split_off(HEAD + length);
        Ok(Self { command_id, incarnation, stream, sequence, offset, bytes })
    }
}

/// The same as it would have come in a text.
impl From<OutputFrame> for TerminalOutput {
    fn from(frame: OutputFrame) -> Self {
        let OutputFrame { command_id, incarnation, stream, sequence, offset, bytes } = frame;
        Self {
            command_id,
            agent_id: None,
            stream: stream.into(),
            content: OutputContent::Bytes(bytes),
            sequence: Some(sequence),
            offset: Some(offset),
            incarnation: Some(incarnation),
        }
    }
}

struct Head {
    kind: u8,
    stream: u8,
    length: usize,
    incarnation: Incarnation,
    sequence: ChunkSequence,
    offset: ByteOffset,
}

impl Head {
    fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let ([kind, stream], rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (incarnation, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (offset, _) = rest.split_first_chunk()?;
        Some(Self {
            kind: *kind,
            stream: *stream,
            length: usize::from(u16::from_be_bytes(*length)),
            incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
            sequence: ChunkSequence(u64::from_be_bytes(*sequence)),
            offset: ByteOffset(u64::from_be_bytes(*offset)),
        })
    }
}

pub(super) const fn code(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
        Stream::Terminal => 2,
    }
}

pub(super) fn stream_of(byte: u8) -> Option<Stream> {
    Stream::ALL.into_iter().find(|stream| code(*stream) == byte)
}

pub(super) const fn unnamed(cause: DecodeCause) -> DecodeError {
    DecodeError { cause, message_id: None, command_id: None }
}
