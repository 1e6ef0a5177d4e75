//! A message with its sender, its number and its time, so that a receiver can check that each arrives once
//! and in order.
//!
//! It is one line of visible text of a given size, so that it travels as a line, as a JSON string and as bytes:
//! stream, number and time in hexadecimal digits, and filling.

/// Bytes before the filling.
pub const HEAD: usize = 33;

/// Makes messages of one size.
#[derive(Debug)]
pub struct Maker {
    line: Vec<u8>,
}

impl Maker {
    /// Of this many bytes, at least 40.
    pub fn new(size: usize, seed: u64) -> Self {
        assert!(size >= 40, "a message of {size} bytes has no room for its head");
        let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut line: Vec<u8> =
            (0..size).map(|n| letters[(n + seed as usize) % letters.len()]).collect();
        line[8] = b':';
        line[19] = b':';
        line[HEAD - 1] = b':';
        line[size - 1] = b'\n';
        Self { line }
    }

    pub fn size(&self) -> usize {
        self.line.len()
    }

    /// Message `number` of `stream`, written `at` microseconds.
    pub fn write(&mut self, stream: u32, number: u64, at: u64) -> &[u8] {
        hex(&mut self.line[0..8], u64::from(stream));
        hex(&mut self.line[9..19], number);
        hex(&mut self.line[20..32], at);
        &self.line
    }

    /// What is in it, if it is one of these.
    pub fn read(&self, line: &[u8]) -> Option<Message> {
        if line.len() != self.line.len() || line[HEAD - 1..] != self.line[HEAD - 1..] {
            return None;
        }
        let (stream, number, at) =
            (unhex(&line[0..8])?, unhex(&line[9..19])?, unhex(&line[20..32])?);
        Some(Message { stream: stream as u32, number, at })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    pub stream: u32,
    pub number: u64,
    pub at: u64,
}

/// The stream of a message at the beginning of these bytes.
pub fn stream(bytes: &[u8]) -> Option<u32> {
    unhex(bytes.get(0..8)?).map(|stream| stream as u32)
}

fn hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// What came of one stream: whether each message came once and in order.
#[derive(Debug, Default)]
pub struct Received {
    /// Messages that came in their turn.
    pub messages: u64,
    /// Messages or bytes that did not.
    pub faults: u64,
    /// The number that comes next.
    next: u64,
    bytes: u64,
    /// The beginning of a message whose end is still to come.
    partial: Vec<u8>,
}

impl Received {
    /// Takes bytes of the stream, of which the peer says perhaps where they stand in it. `each` is called with the
    /// time of each message.
    pub fn take(
        &mut self,
        maker: &Maker,
        stream: u32,
        offset: Option<u64>,
        bytes: &[u8],
        mut each: impl FnMut(u64),
    ) {
        if offset.is_some_and(|offset| offset != self.bytes) {
            self.faults += 1;
        }
        self.bytes = offset.unwrap_or(self.bytes) + bytes.len() as u64;
        let mut rest = bytes;
        if !self.partial.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(maker.size() - self.partial.len()));
            self.partial.extend_from_slice(head);
            rest = tail;
            if self.partial.len() < maker.size() {
                return;
            }
            let whole = std::mem::take(&mut self.partial);
            self.line(maker, stream, &whole, &mut each);
        }
        let mut lines = rest.chunks_exact(maker.size());
        for line in &mut lines {
            self.line(maker, stream, line, &mut each);
        }
        self.partial.extend_from_slice(lines.remainder());
    }

    fn line(&mut self, maker: &Maker, stream: u32, line: &[u8], each: &mut impl FnMut(u64)) {
        match maker.read(line) {
            Some(message) if message.stream == stream => {
                if message.number == self.next {
                    self.messages += 1;
                    each(message.at);
                } else {
                    self.faults += 1;
                }
                self.next = message.number + 1;
            }
            _ => self.faults += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(maker: &mut Maker, numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| maker.write(5, *number, 77).to_vec()).collect()
    }

    fn received(pieces: &[(Option<u64>, &[u8])], maker: &Maker) -> (u64, u64) {
        let mut received = Received::default();
        for (offset, bytes) in pieces {
            received.take(maker, 5, *offset, bytes, |at| assert_eq!(at, 77));
        }
        (received.messages, received.faults)
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let mut maker = Maker::new(100, 1);
        let line = maker.write(5, 1 << 36, 99).to_vec();
        assert_eq!(maker.read(&line), Some(Message { stream: 5, number: 1 << 36, at: 99 }));
        assert_eq!(stream(&line), Some(5));
        assert_eq!(maker.read(&line[1..]), None);
    }

    #[test]
    fn pieces_may_be_cut_and_joined_anywhere() {
        let mut maker = Maker::new(40, 0);
        let all = lines(&mut maker, &[0, 1, 2, 3]);
        assert_eq!(received(&[(None, &all)], &maker), (4, 0));
        assert_eq!(
            received(
                &[(Some(0), &all[..50]), (Some(50), &all[50..51]), (Some(51), &all[51..])],
                &maker
            ),
            (4, 0)
        );
    }

    #[test]
    fn what_is_missing_twice_changed_or_out_of_order_is_a_fault() {
        let mut maker = Maker::new(40, 0);
        for numbers in [&[0, 2][..], &[0, 0], &[1, 0]] {
            let all = lines(&mut maker, numbers);
            assert_ne!(received(&[(None, &all)], &maker).1, 0, "{numbers:?}");
        }
        let mut all = lines(&mut maker, &[0]);
        all[35] ^= 1;
        assert_eq!(received(&[(None, &all)], &maker), (0, 1));
        let all = lines(&mut maker, &[0, 1]);
        assert_eq!(received(&[(Some(0), &all[..40]), (Some(41), &all[40..])], &maker), (2, 1));
    }
}
