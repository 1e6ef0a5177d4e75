//! Frames as bytes, and back. Pure: no socket, no time.

use crate::limits::LinkLimits;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LENGTH_BYTES: usize = 4;
/// Longest close frame: kind, code and 123 bytes of text, as in WebSocket.
const CLOSE_BYTES: usize = 1 + 2 + 123;

/// One frame on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Text(String),
    Binary(Bytes),
    Ping,
    Pong,
    /// Code and text, or neither.
    Close(Option<(u16, String)>),
}

/// Bytes that are no frame.
#[derive(Debug, Error)]
pub(super) enum Malformed {
    #[error("a frame of {length} bytes, the limit is {limit}")]
    TooBig { length: usize, limit: usize },
    #[error("{0}")]
    Framing(&'static str),
    #[error("text that is not UTF-8")]
    Utf8,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Turns bytes into frames and frames into bytes.
#[derive(Debug)]
pub(super) struct Codec {
    message_bytes: usize,
}

impl Codec {
    pub(super) const fn new(limits: &LinkLimits) -> Self {
        Self { message_bytes: limits.message_bytes }
    }

    /// The largest frame, without its length field.
    fn limit(&self) -> usize {
        self.message_bytes.saturating_add(1).max(CLOSE_BYTES)
    }
}

impl Decoder for Codec {
    type Item = Wire;
    type Error = Malformed;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Wire>, Malformed> {
        let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let limit = self.limit();
        if length > limit {
            return Err(Malformed::TooBig { length, limit });
        }
        let whole = LENGTH_BYTES.saturating_add(length);
        if bytes.len() < whole {
            // Only as much as the peer has really sent is ever allocated ahead, and as much again.
            bytes.reserve((whole - bytes.len()).min(bytes.len().max(4096)));
            return Ok(None);
        }
        let mut frame = bytes.split_to(whole);
        frame.advance(LENGTH_BYTES);
        let Some((&kind, payload)) = frame.split_first() else {
            return Err(Malformed::Framing("a frame without a kind"));
        };
        if kind == BINARY {
            frame.advance(1);
            return Ok(Some(Wire::Binary(frame.freeze())));
        }
        decode_frame(kind, payload).map(Some)
    }

    fn decode_eof(&mut self, bytes: &mut BytesMut) -> Result<Option<Wire>, Malformed> {
        match self.decode(bytes)? {
            None if !bytes.is_empty() => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            frame => Ok(frame),
        }
    }
}

fn decode_frame(kind: u8, payload: &[u8]) -> Result<Wire, Malformed> {
    match kind {
        TEXT => Ok(Wire::Text(text(payload)?)),
        PING => Ok(Wire::Ping),
        PONG => Ok(Wire::Pong),
        CLOSE if payload.is_empty() => Ok(Wire::Close(None)),
        CLOSE => match payload.split_first_chunk::<2>() {
            Some((code, reason)) => {
                Ok(Wire::Close(Some((u16::from_be_bytes(*code), text(reason)?))))
            }
            None => Err(Malformed::Framing("a close frame with half a code")),
        },
        _ => Err(Malformed::Framing("a frame of unknown kind")),
    }
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::Utf8)
}

impl Encoder<Wire> for Codec {
    type Error = Malformed;

    fn encode(&mut self, frame: Wire, bytes: &mut BytesMut) -> Result<(), Malformed> {
        match &frame {
            Wire::Text(text) => put(bytes, self.limit(), TEXT, &[text.as_bytes()]),
            Wire::Binary(data) => put(bytes, self.limit(), BINARY, &[data]),
            Wire::Ping => put(bytes, self.limit(), PING, &[]),
            Wire::Pong => put(bytes, self.limit(), PONG, &[]),
            Wire::Close(None) => put(bytes, self.limit(), CLOSE, &[]),
            Wire::Close(Some((code, text))) => {
                put(bytes, self.limit(), CLOSE, &[&code.to_be_bytes(), text.as_bytes()])
            }
        }
    }
}

fn put(bytes: &mut BytesMut, limit: usize, kind: u8, parts: &[&[u8]]) -> Result<(), Malformed> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>().saturating_add(1);
    let field = match u32::try_from(length) {
        Ok(field) if length <= limit => field,
        Ok(_) | Err(_) => return Err(Malformed::TooBig { length, limit }),
    };
    bytes.reserve(LENGTH_BYTES + length);
    bytes.put_u32(field);
    bytes.put_u8(kind);
    for part in parts {
        bytes.put_slice(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec() -> Codec {
        Codec::new(&LinkLimits { message_bytes: 200, ..LinkLimits::DEFAULT })
    }

    fn decode(bytes: &[u8]) -> Result<Option<Wire>, Malformed> {
        codec().decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn frames_as_literal_bytes() {
        let frames: [(Wire, &[u8]); 7] = [
            (Wire::Text("hé".into()), b"\0\0\0\x04\x01h\xc3\xa9"),
            (Wire::Text(String::new()), b"\0\0\0\x01\x01"),
            (Wire::Binary(Bytes::from_static(b"\xff")), b"\0\0\0\x02\x02\xff"),
            (Wire::Ping, b"\0\0\0\x01\x09"),
            (Wire::Pong, b"\0\0\0\x01\x0a"),
            (Wire::Close(None), b"\0\0\0\x01\x08"),
            (Wire::Close(Some((4200, "bye".into()))), b"\0\0\0\x06\x08\x10\x68bye"),
        ];
        for (frame, bytes) in frames {
            let mut out = BytesMut::new();
            codec().encode(frame.clone(), &mut out).unwrap();
            assert_eq!(out, bytes);
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).unwrap().is_none());
            }
            assert_eq!(decode(bytes).unwrap(), Some(frame));
        }
    }

    #[test]
    fn what_is_no_frame_is_named() {
        assert!(matches!(decode(b"\0\0\0\0"), Err(Malformed::Framing(_))));
        assert!(matches!(decode(b"\0\0\0\x01\x03"), Err(Malformed::Framing(_))));
        assert!(matches!(decode(b"\0\0\0\x02\x08\x10"), Err(Malformed::Framing(_))));
        assert!(matches!(decode(b"\0\0\0\x02\x01\xff"), Err(Malformed::Utf8)));
        assert!(matches!(decode(b"\0\0\0\xca"), Err(Malformed::TooBig { length: 202, .. })));
        assert!(decode(b"\0\0\0\xc9").unwrap().is_none());
        assert!(matches!(decode(b"\xff\xff\xff\xff"), Err(Malformed::TooBig { .. })));
        let eof = codec().decode_eof(&mut BytesMut::from(&b"\0\0"[..]));
        assert!(matches!(eof, Err(Malformed::Io(_))));
    }

    #[test]
    fn a_length_alone_makes_nobody_allocate() {
        let mut codec = Codec::new(&LinkLimits::DEFAULT);
        let mut bytes = BytesMut::from(&b"\0\x10\0\0"[..]);
        assert!(codec.decode(&mut bytes).unwrap().is_none());
        assert!(bytes.capacity() <= 8192, "{}", bytes.capacity());
    }
}
