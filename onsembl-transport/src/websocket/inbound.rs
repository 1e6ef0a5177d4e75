//! Bytes of a peer, until they are messages. No I/O: bytes go in, messages come out.
//!
//! Between messages it holds no memory; of a message that is on its way it holds what has come, and at most as much
//! again.

use super::fault::Fault;
use super::header::{Header, HeaderBytes, Mask, Opcode, Role, mask};
use crate::link::may_travel;
use bytes::Bytes;
use std::str::from_utf8;

/// What a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A message.
    Text(String),
    /// A message that is no text.
    Binary(Bytes),
    /// To be answered with a pong of the same payload.
    Ping(Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// The peer closes, with a code and a text, or without.
    Close(Option<(u16, String)>),
}

/// The code and the text of a close frame whose code is none that may travel.
const BAD_CODE: (u16, &str) = (1002, "Protocol violation");

/// Reads the frames of one peer.
#[derive(Debug)]
pub(super) struct Inbound {
    role: Role,
    /// Bytes of the longest message.
    most: usize,
    header: HeaderBytes,
    frame: Option<InFrame>,
    /// The message that has begun, if it has.
    message: Option<Message>,
    /// What was read of a control frame, which may stand between those of a message.
    control: Vec<u8>,
}

/// The frame whose payload is on its way.
#[derive(Clone, Copy, Debug)]
struct InFrame {
    opcode: Opcode,
    is_final: bool,
    mask: Option<Mask>,
    /// Bytes of its payload that were read, and that are to come.
    read: usize,
    left: usize,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    payload: Vec<u8>,
    /// Bytes of a text that are known to be UTF-8.
    good: usize,
}

impl Message {
    /// Looks at what has come of a text, which may end within a character.
    fn check(&mut self) -> Result<(), Fault> {
        match from_utf8(self.payload.get(self.good..).unwrap_or_default()) {
            Ok(text) => self.good += text.len(),
            Err(error) if error.error_len().is_none() => self.good += error.valid_up_to(),
            Err(_) => return Err(Fault::NotUtf8),
        }
        Ok(())
    }

    fn complete(self) -> Result<Incoming, Fault> {
        match self.is_text {
            true => String::from_utf8(self.payload).map(Incoming::Text).map_err(|_| Fault::NotUtf8),
            false => Ok(Incoming::Binary(self.payload.into())),
        }
    }
}

impl Inbound {
    pub(super) fn new(role: Role, most: usize) -> Self {
        let (header, control) = (HeaderBytes::default(), Vec::new());
        Self { role, most, header, frame: None, message: None, control }
    }

    /// Reads from `bytes` up to the end of a message or a control frame. Gives how many bytes it took, which are all if
    /// nothing ends there.
    ///
    /// # Errors
    /// No peer may send that. What follows cannot be read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Incoming>), Fault> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(mut frame) = self.frame else {
                let (taken, header) = self.header.read(rest, self.role, self.most)?;
                at += taken;
                match header {
                    Some(header) => self.frame = Some(self.begin(header)?),
                    None => return Ok((at, None)),
                }
                continue;
            };
            let part = rest.get(..frame.left.min(rest.len())).unwrap_or_default();
            self.take(&frame, part);
            at += part.len();
            frame.read += part.len();
            frame.left -= part.len();
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok((at, None));
            }
            self.frame = None;
            if let Some(incoming) = self.end(frame)? {
                return Ok((at, Some(incoming)));
            }
        }
    }

    fn begin(&mut self, header: Header) -> Result<InFrame, Fault> {
        let Header { opcode, is_final, mask, length } = header;
        match (opcode, &self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
            (Opcode::Continuation, None) => return Err(Fault::NothingToContinue),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Fault::WithinAnother),
            (Opcode::Continuation, Some(message)) => {
                let bytes = message.payload.len().saturating_add(length);
                if bytes > self.most {
                    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                    return Err(Fault::TooLong { bytes, most: self.most });
                }
            }
            (Opcode::Text | Opcode::Binary, None) => {
                let is_text = opcode == Opcode::Text;
                self.message = Some(Message { is_text, payload: Vec::new(), good: 0 });
            }
        }
        Ok(InFrame { opcode, is_final, mask, read: 0, left: length })
    }

    /// Takes a part of a frame's payload.
    fn take(&mut self, frame: &InFrame, part: &[u8]) {
        let payload = match (&mut self.message, frame.opcode.is_control()) {
            (Some(message), false) => &mut message.payload,
            (Some(_) | None, _) => &mut self.control,
        };
        let had = payload.len();
        // As much again as there is, but never more than the frame has: nobody gets memory for what is only announced.
        payload.reserve_exact(part.len().max(had).min(frame.left));
        payload.extend_from_slice(part);
        if let (Some(key), Some(part)) = (frame.mask, payload.get_mut(had..)) {
            mask(part, key, frame.read);
        }
    }

    fn end(&mut self, frame: InFrame) -> Result<Option<Incoming>, Fault> {
        Ok(match frame.opcode {
            Opcode::Ping => Some(Incoming::Ping(std::mem::take(&mut self.control))),
            Opcode::Pong => {
                self.control = Vec::new();
                Some(Incoming::Pong)
            }
            Opcode::Close => Some(Incoming::Close(close(&std::mem::take(&mut self.control))?)),
            Opcode::Continuation | Opcode::Text | Opcode::Binary if frame.is_final => {
                self.message.take().map(Message::complete).transpose()?
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                if let Some(message) = self.message.as_mut().filter(|message| message.is_text) {
                    message.check()?;
                }
                None
            }
        })
    }

    /// Bytes that are still to come of the frame that is on its way.
    pub(super) fn left(&self) -> usize {
        self.frame.map_or(0, |frame| frame.left)
    }

    /// Whether nothing has begun that is not at its end.
    #[cfg(test)]
    fn is_between(&self) -> bool {
        self.header.is_empty() && self.frame.is_none() && self.message.is_none()
    }
}

/// What a close frame says.
fn close(payload: &[u8]) -> Result<Option<(u16, String)>, Fault> {
    let (code, text) = match payload {
        [] => return Ok(None),
        [_] => return Err(Fault::HalfCode),
        [high, low, text @ ..] => (u16::from_be_bytes([*high, *low]), text),
    };
    let text = from_utf8(text).map_err(|_| Fault::NotUtf8)?;
    let (code, text) = if may_travel(code) { (code, text) } else { BAD_CODE };
    Ok(Some((code, text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::super::header;
    use super::*;

    const MOST: usize = 70_000;
    const KEY: Mask = [0xa1, 0x02, 0xf3, 0x44];

    fn frame(opcode: Opcode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        header::write(&mut bytes, (opcode, is_final), payload.len(), Some(KEY));
        let mut payload = payload.to_vec();
        mask(&mut payload, KEY, 0);
        bytes.extend(payload);
        bytes
    }

    /// All that comes of these bytes, in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Incoming>, Result<Inbound, Fault>) {
        let (mut inbound, mut all) = (Inbound::new(Role::Server, MOST), Vec::new());
        for mut bytes in bytes.chunks(piece) {
            while !bytes.is_empty() {
                match inbound.read(bytes) {
                    Ok((taken, incoming)) => {
                        all.extend(incoming);
                        bytes = &bytes[taken..];
                    }
                    Err(fault) => return (all, Err(fault)),
                }
            }
        }
        (all, Ok(inbound))
    }

    fn fault(frames: &[Vec<u8>]) -> Fault {
        let (_, end) = read(&frames.concat(), 1);
        end.expect_err("no peer may send that")
    }

    fn text(text: &str) -> Incoming {
        Incoming::Text(text.to_owned())
    }

    #[test]
    fn however_the_bytes_come_the_same_messages_do() {
        use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
        let long = "ä".repeat(MOST / 2);
        let frames = [
            frame(Text, true, b""),
            frame(Text, true, b"one"),
            frame(Text, false, "z\u{e4}".as_bytes()),
            frame(Ping, true, b"between"),
            // In the middle of a character.
            frame(Continuation, false, &"\u{1f600}".as_bytes()[..3]),
            frame(Pong, true, b""),
            frame(Continuation, false, b""),
            frame(Continuation, true, &"\u{1f600}".as_bytes()[3..]),
            frame(Binary, false, &[0xff]),
            frame(Continuation, true, &[0xfe]),
            frame(Text, true, long.as_bytes()),
            frame(Binary, true, &[7; 126]),
            frame(Close, true, b"\x0f\xa1bye"),
        ];
        let expected = [
            text(""),
            text("one"),
            Incoming::Ping(b"between".to_vec()),
            Incoming::Pong,
            text("z\u{e4}\u{1f600}"),
            Incoming::Binary(Bytes::from_static(&[0xff, 0xfe])),
            text(&long),
            Incoming::Binary(vec![7; 126].into()),
            Incoming::Close(Some((4001, "bye".to_owned()))),
        ];
        let bytes = frames.concat();
        for piece in (1..300).chain([4096, 4097, bytes.len()]) {
            let (all, end) = read(&bytes, piece);
            assert!(all == expected, "in pieces of {piece}");
            let inbound = end.unwrap();
            assert!(inbound.is_between());
            assert_eq!(inbound.control.capacity(), 0, "nothing is kept between messages");
        }
    }

    #[test]
    fn frames_out_of_order_and_over_the_limit_are_refused() {
        use Opcode::{Binary, Close, Continuation, Text};
        assert_eq!(fault(&[frame(Continuation, true, b"x")]), Fault::NothingToContinue);
        let begun = frame(Text, false, b"x");
        assert_eq!(fault(&[begun.clone(), begun.clone()]), Fault::WithinAnother);
        assert_eq!(fault(&[begun.clone(), frame(Binary, true, b"")]), Fault::WithinAnother);
        let long = frame(Continuation, false, &vec![b'x'; MOST]);
        let too_long = |bytes: usize| Fault::TooLong { bytes: bytes as u64, most: MOST };
        assert_eq!(fault(&[begun, long]), too_long(MOST + 1));
        assert_eq!(fault(&[frame(Text, true, &vec![b'x'; MOST + 1])]), too_long(MOST + 1));
        assert_eq!(fault(&[frame(Close, true, &[3])]), Fault::HalfCode);
        assert_eq!(fault(&[frame(Close, true, &[3, 0xe8, 0xff])]), Fault::NotUtf8);
    }

    #[test]
    fn what_is_not_utf8_is_refused_as_soon_as_its_fragment_ends() {
        use Opcode::{Continuation, Text};
        for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"] {
            assert_eq!(fault(&[frame(Text, true, bad)]), Fault::NotUtf8, "{bad:?}");
        }
        assert_eq!(fault(&[frame(Text, false, b"a\xff")]), Fault::NotUtf8);
        let cut = [frame(Text, false, b"a\xe2"), frame(Continuation, true, b"\x82")];
        assert_eq!(fault(&cut), Fault::NotUtf8);
        let wrong = [frame(Text, false, b"a\xe2"), frame(Continuation, false, b"a")];
        assert_eq!(fault(&wrong), Fault::NotUtf8);
    }

    #[test]
    fn close_frames_with_and_without_codes() {
        let of = |payload: &[u8]| {
            let (mut all, end) = read(&frame(Opcode::Close, true, payload), 1);
            assert!(end.is_ok());
            all.remove(0)
        };
        assert_eq!(of(b""), Incoming::Close(None));
        for code in [1000u16, 1001, 1003, 1007, 1014, 3000, 4999] {
            let expected = Incoming::Close(Some((code, String::new())));
            assert_eq!(of(&code.to_be_bytes()), expected);
        }
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535] {
            let (bad, text) = BAD_CODE;
            assert_eq!(of(&code.to_be_bytes()), Incoming::Close(Some((bad, text.to_owned()))));
        }
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut inbound = Inbound::new(Role::Server, MOST);
        let bytes = frame(Opcode::Binary, true, &vec![0; MOST]);
        let (taken, incoming) = inbound.read(&bytes[..1000]).unwrap();
        assert_eq!((taken, incoming), (1000, None));
        assert!(inbound.message.unwrap().payload.capacity() < 2000);
    }
}
