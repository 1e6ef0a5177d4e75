//! The header of a frame (RFC 6455, section 5.2), read and written.

use super::fault::Fault;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    /// More of the message that has begun.
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        match self {
            Self::Continuation | Self::Text | Self::Binary => false,
            Self::Close | Self::Ping | Self::Pong => true,
        }
    }
}

/// Which end of the connection we are: a client masks what it sends, and a server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

pub(super) type Mask = [u8; 4];

/// Bytes of the longest header.
pub(super) const LONGEST: usize = 14;
/// Payload of the longest control frame.
pub(super) const CONTROL: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) is_final: bool,
    pub(super) mask: Option<Mask>,
    pub(super) length: usize,
}

/// The bytes of a header, as far as they were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderBytes {
    bytes: [u8; LONGEST],
    known: u8,
}

impl HeaderBytes {
    /// Reads from `bytes`, and not further than the header goes. Gives how many bytes it took, and the header if it is
    /// complete; then the next one is expected.
    ///
    /// # Errors
    /// No such frame may come from the peer of `role`, or its payload is longer than `most` bytes.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        role: Role,
        most: usize,
    ) -> Result<(usize, Option<Header>), Fault> {
        let mut taken = 0;
        loop {
            if let Some(header) = self.complete(role, most)? {
                self.known = 0;
                return Ok((taken, Some(header)));
            }
            let (Some(byte), Some(slot)) =
                (bytes.get(taken), self.bytes.get_mut(usize::from(self.known)))
            else {
                return Ok((taken, None));
            };
            *slot = *byte;
            self.known += 1;
            taken += 1;
        }
    }

    /// Whether nothing of a header was read yet.
    #[cfg(test)]
    pub(super) const fn is_empty(&self) -> bool {
        self.known == 0
    }

    /// The header, if that is all of it. What is wrong with it is said as soon as it can be known.
    fn complete(&self, role: Role, most: usize) -> Result<Option<Header>, Fault> {
        let [first, second, rest @ ..] = self.bytes;
        let known = usize::from(self.known);
        if known == 0 {
            return Ok(None);
        }
        if first & RESERVED != 0 {
            return Err(Fault::ReservedBits);
        }
        let opcode = Opcode::of(first & 0x0f).ok_or(Fault::UnknownOpcode(first & 0x0f))?;
        let is_final = first & FINAL != 0;
        if opcode.is_control() && !is_final {
            return Err(Fault::FragmentedControl);
        }
        if known < 2 {
            return Ok(None);
        }
        let is_masked = second & MASKED != 0;
        match (role, is_masked) {
            (Role::Server, false) => return Err(Fault::Unmasked),
            (Role::Client, true) => return Err(Fault::Masked),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let [a, b, c, d, e, f, g, h, mask @ ..] = rest;
        let (length, behind) = match second & !MASKED {
            126 if known < 4 => return Ok(None),
            126 => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
            127 if known < 10 => return Ok(None),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), mask),
            length => (u64::from(length), [a, b, c, d]),
        };
        let extended = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if opcode.is_control() && length > CONTROL as u64 {
            return Err(Fault::LongControl);
        }
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= most)
            .ok_or(Fault::TooLong { bytes: length, most })?;
        if known < 2 + extended + if is_masked { 4 } else { 0 } {
            return Ok(None);
        }
        let mask = is_masked.then_some(behind);
        Ok(Some(Header { opcode, is_final, mask, length }))
    }
}

/// Writes a header.
pub(super) fn write(
    out: &mut Vec<u8>,
    (opcode, is_final): (Opcode, bool),
    length: usize,
    mask: Option<Mask>,
) {
    let masked = if mask.is_some() { MASKED } else { 0 };
    out.push(opcode.bits() | if is_final { FINAL } else { 0 });
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(masked | short),
        (_, Ok(medium)) => {
            out.push(masked | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
}

/// Masks or unmasks what stands `at` bytes behind the beginning of a payload.
pub(super) fn mask(bytes: &mut [u8], mask: Mask, at: usize) {
    let [a, b, c, d] = mask;
    let turned = match at % 4 {
        0 => [a, b, c, d],
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        _ => [d, a, b, c],
    };
    let wide = u64::from(u32::from_ne_bytes(turned));
    let wide = wide | wide << 32;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 20;

    fn read(bytes: &[u8], role: Role) -> Result<Option<Header>, Fault> {
        HeaderBytes::default().read(bytes, role, MOST).map(|(_, header)| header)
    }

    #[test]
    fn what_is_written_is_read_in_pieces_of_any_size() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, MOST];
        for (length, key) in lengths.iter().flat_map(|n| [(*n, None), (*n, Some([1, 2, 3, 4]))]) {
            let role = if key.is_some() { Role::Server } else { Role::Client };
            let mut bytes = Vec::new();
            write(&mut bytes, (Opcode::Text, true), length, key);
            let expected = Header { opcode: Opcode::Text, is_final: true, mask: key, length };
            bytes.extend([0xff; 20]);
            for piece in 1..=bytes.len() {
                let mut header = HeaderBytes::default();
                let mut taken = 0;
                let found = bytes.chunks(piece).find_map(|bytes| {
                    let (more, found) = header.read(bytes, role, MOST).unwrap();
                    taken += more;
                    found
                });
                assert_eq!(found, Some(expected), "in pieces of {piece}");
                assert_eq!(taken, bytes.len() - 20);
                assert!(header.is_empty());
            }
        }
    }

    #[test]
    fn what_no_peer_may_send_is_told_by_its_first_bytes() {
        let (server, client) = (Role::Server, Role::Client);
        assert_eq!(read(&[0xc1], server), Err(Fault::ReservedBits));
        assert_eq!(read(&[0x83], server), Err(Fault::UnknownOpcode(3)));
        assert_eq!(read(&[0x8b], server), Err(Fault::UnknownOpcode(11)));
        assert_eq!(read(&[0x09], server), Err(Fault::FragmentedControl));
        assert_eq!(read(&[0x81, 0x01], server), Err(Fault::Unmasked));
        assert_eq!(read(&[0x81, 0x81], client), Err(Fault::Masked));
        assert_eq!(read(&[0x89, 0xfe, 0, 126], server), Err(Fault::LongControl));
        let long = Fault::TooLong { bytes: u64::MAX, most: MOST };
        assert_eq!(read(&[&[0x82, 0xff][..], &[0xff; 8]].concat(), server), Err(long));
        assert_eq!(read(&[0x81], server), Ok(None));
        assert_eq!(read(&[0x89, 0xfd, 0, 0], server), Ok(None), "125 bytes");
    }

    #[test]
    fn a_mask_goes_on_where_it_was() {
        let plain: Vec<u8> = (0..100).collect();
        let key = [0x12, 0x34, 0x56, 0x78];
        let expected: Vec<u8> =
            plain.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        for cut in 0..=plain.len() {
            let mut bytes = plain.clone();
            let (first, second) = bytes.split_at_mut(cut);
            mask(first, key, 0);
            mask(second, key, cut);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }
}
