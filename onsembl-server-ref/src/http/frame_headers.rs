//! Where frames begin in the bytes of a WebSocket, and their lengths. Nothing else of a frame is looked at: the
//! library that reads it checks it.

/// The first two bytes and a length of eight: what must be known of a header to know the frame's length.
const LONGEST: usize = 10;
const MASK: u64 = 4;

/// Counts the messages of a peer. A message is one frame or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageNumber(u64);

/// Follows the frames of a stream from its first byte on.
#[derive(Debug)]
pub(super) struct FrameHeaders {
    /// Longer frames are large.
    small: u32,
    header: [u8; LONGEST],
    /// Bytes of the header that were read.
    known: u8,
    /// Bytes of the frame's mask and payload that are still to come.
    rest: u64,
    last: Last,
    message: MessageNumber,
}

/// Whether a message ends with the frame that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

impl FrameHeaders {
    pub(super) fn new(small: usize) -> Self {
        Self {
            small: u32::try_from(small).unwrap_or(u32::MAX),
            header: [0; LONGEST],
            known: 0,
            rest: 0,
            last: Last::No,
            message: MessageNumber::default(),
        }
    }

    /// The message that is on its way, or the next.
    pub(super) fn message(&self) -> MessageNumber {
        self.message
    }

    /// How many of these bytes come before the length of a large frame is known: all of them, if none begins
    /// there or it is of the message that is `allowed`. Those have been read then; the others are to be given
    /// again.
    pub(super) fn read(&mut self, bytes: &[u8], allowed: Option<MessageNumber>) -> usize {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.rest > 0 {
                let left = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX);
                let skipped = self.rest.min(left);
                self.rest -= skipped;
                at = at.saturating_add(usize::try_from(skipped).unwrap_or(usize::MAX));
                self.ends();
                continue;
            }
            let Some(slot) = self.header.get_mut(usize::from(self.known)) else { break };
            *slot = *byte;
            if let Some(length) = length(self.header, usize::from(self.known) + 1) {
                if length > u64::from(self.small) && allowed != Some(self.message) {
                    break;
                }
                let [first, second, ..] = self.header;
                let mask = if second & 0x80 == 0 { 0 } else { MASK };
                self.rest = length.saturating_add(mask);
                // A control frame may stand between those of a message.
                let is_control = first & 0x08 != 0;
                self.last = if first & 0x80 != 0 && !is_control { Last::Yes } else { Last::No };
                self.known = 0;
                self.ends();
            } else {
                self.known += 1;
            }
            at += 1;
        }
        at
    }

    fn ends(&mut self) {
        if self.rest == 0 && self.last == Last::Yes {
            self.message = MessageNumber(self.message.0.wrapping_add(1));
            self.last = Last::No;
        }
    }
}

/// The length of a frame's payload, if the first `known` bytes of its header say it.
fn length(header: [u8; LONGEST], known: usize) -> Option<u64> {
    let [_, second, a, b, c, d, e, f, g, h] = header;
    match (second & 0x7f, known) {
        (_, 0 | 1) => None,
        (126, 4..) => Some(u64::from(u16::from_be_bytes([a, b]))),
        (127, LONGEST..) => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (126 | 127, _) => None,
        (length, _) => Some(u64::from(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = 1000;

    /// A masked frame, and where its length is known.
    fn frame(first: u8, length: usize) -> (Vec<u8>, usize) {
        let mut bytes = vec![first];
        match length {
            0..=125 => bytes.push(0x80 | length as u8),
            126..=0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let known = bytes.len() - 1;
        bytes.extend(vec![0xff; 4 + length]);
        (bytes, known)
    }

    #[test]
    fn one_allowed_message_passes_and_the_next_large_one_does_not() {
        let mut headers = FrameHeaders::new(SMALL);
        let (begun, known) = frame(0x01, SMALL + 1);
        let (ping, _) = frame(0x89, 0);
        let (ended, _) = frame(0x80, 70_000);
        let bytes = [&begun[..], &ping, &ended, &begun].concat();
        assert_eq!(headers.read(&bytes, None), known);
        let rest = &bytes[known..];
        let first = headers.message();
        let passes = headers.read(rest, Some(first));
        assert_eq!(passes, bytes.len() - begun.len());
        assert_ne!(headers.message(), first);
        // What is allowed is over.
        assert_eq!(headers.read(&rest[passes..], Some(first)), 0);
        let last = headers.message();
        assert_eq!(headers.read(&rest[passes..], Some(last)), begun.len() - known);
    }

    #[test]
    fn however_the_bytes_come_the_same_ones_pass() {
        let lengths = [0, 125, 126, SMALL, 0, 3, 5, SMALL + 1, 5, 70_000, 1];
        let firsts = [0x81, 0x01, 0x89, 0x80];
        let (mut bytes, mut expected) = (Vec::new(), None);
        for (length, first) in lengths.into_iter().zip(firsts.into_iter().cycle()) {
            let (frame, known) = frame(first, length);
            if length > SMALL && expected.is_none() {
                expected = Some(bytes.len() + known);
            }
            bytes.extend(frame);
        }
        let expected = expected.unwrap();
        for piece in 1..=bytes.len().min(3000) {
            let mut headers = FrameHeaders::new(SMALL);
            let mut passed = 0;
            for bytes in bytes.chunks(piece) {
                let passes = headers.read(bytes, None);
                passed += passes;
                if passes < bytes.len() {
                    break;
                }
            }
            assert_eq!(passed, expected, "in pieces of {piece}");
            let rest = headers.read(&bytes[passed..], Some(headers.message()));
            assert!(
                rest > SMALL && passed + rest < bytes.len(),
                "the next large one does not pass"
            );
        }
    }
}
