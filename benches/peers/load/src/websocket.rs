//! As much of RFC 6455 as a client of a benchmark needs, by hand: whole frames out, whole messages in.

use std::fmt::Write;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A request to upgrade.
pub fn upgrade(out: &mut Vec<u8>, path: &str, token: &str) {
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    );
    head.push_str("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    if !token.is_empty() {
        let _ = write!(head, "Authorization: Bearer {token}\r\n");
    }
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether the answer is there and agrees: the bytes that it took, or what it said instead.
pub fn upgraded(input: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    if input.starts_with(b"HTTP/1.1 101") {
        return Ok(Some(end + 4));
    }
    let line = input.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(format!("the upgrade was answered with {}", String::from_utf8_lossy(line)))
}

/// Writes a frame that is a whole message. The mask is one of zeros: that is a mask too, and leaves the bytes as
/// they are.
pub fn frame(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode);
    match size {
        0..126 => out.push(0x80 | size as u8),
        126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A frame of a server.
#[derive(Debug, PartialEq)]
pub struct Frame<'a> {
    pub opcode: u8,
    /// The last one of its message.
    pub last: bool,
    pub body: &'a [u8],
    /// Bytes of the input that it took.
    pub size: usize,
}

/// The frame at the beginning of the input, if it is there as a whole.
pub fn next(input: &[u8]) -> Result<Option<Frame<'_>>, String> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err("a frame of a server that is masked".into());
    }
    let (length, head) = match second & 0x7f {
        126 => {
            let Some((bytes, _)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), 4)
        }
        127 => {
            let Some((bytes, _)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), 10)
        }
        length => (u64::from(length), 2),
    };
    let size = head + length as usize;
    Ok(input.get(head..size).map(|body| Frame {
        opcode: first & 0x0f,
        last: first & 0x80 != 0,
        body,
        size,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length_are_read_whole_or_not() {
        for length in [0usize, 1, 125, 126, 70_000] {
            let body = vec![b'x'; length];
            let mut bytes = vec![0x80 | BINARY];
            match length {
                0..126 => bytes.push(length as u8),
                126..0x1_0000 => {
                    bytes.push(126);
                    bytes.extend((length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend((length as u64).to_be_bytes());
                }
            }
            bytes.extend(&body);
            let size = bytes.len();
            for cut in [0, 1, size / 2, size - 1] {
                assert_eq!(next(&bytes[..cut]).unwrap(), None, "{cut} of {size}");
            }
            bytes.push(0xff);
            assert_eq!(
                next(&bytes).unwrap(),
                Some(Frame { opcode: BINARY, last: true, body: &body, size })
            );
        }
    }

    #[test]
    fn a_client_masks_its_frames() {
        let mut out = Vec::new();
        frame(&mut out, TEXT, &[b"he", b"llo"]);
        assert_eq!(out, b"\x81\x85\0\0\0\0hello");
    }

    #[test]
    fn an_upgrade_is_accepted_or_refused() {
        assert_eq!(upgraded(b"HTTP/1.1 101 Switching").unwrap(), None);
        assert_eq!(upgraded(b"HTTP/1.1 101 X\r\nA: b\r\n\r\nrest").unwrap(), Some(24));
        assert_eq!(
            upgraded(b"HTTP/1.1 503 No\r\n\r\n").unwrap_err(),
            "the upgrade was answered with HTTP/1.1 503 No"
        );
    }
}
