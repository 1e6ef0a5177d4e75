//! What is to be written to a peer. No I/O: messages go in, bytes come out.
//!
//! When all is written it holds no memory.

use super::header::{self, CONTROL, LONGEST, Mask, Opcode, Role, mask};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

/// Bytes of pongs and of the close frame that may wait beside what else waits.
const HEADROOM: usize = 16 * 1024;

/// Frames as bytes, as far as they are not written.
#[derive(Debug)]
pub(super) struct Outbound {
    /// What waits, from `written` on.
    bytes: Vec<u8>,
    written: usize,
    /// Bytes that are gathered before a write.
    gather: usize,
    /// The pong that has no room yet. A later ping takes its place: the latest is to be answered (RFC 6455,
    /// section 5.5.3).
    pong: Option<Vec<u8>>,
    /// A server has none.
    masks: Option<Box<Masks>>,
}

/// The masks of a client, which nobody can foresee who does not know the keys: no peer, and no proxy on the way.
#[derive(Debug)]
struct Masks {
    keys: RandomState,
    next: u64,
}

impl Masks {
    fn next(&mut self) -> Mask {
        self.next = self.next.wrapping_add(1);
        let [a, b, c, d, ..] = self.keys.hash_one(self.next).to_ne_bytes();
        [a, b, c, d]
    }
}

impl Outbound {
    /// Gathers this many bytes before it asks to be written.
    pub(super) fn new(role: Role, gather: usize) -> Self {
        let masks = match role {
            Role::Client => Some(Box::new(Masks { keys: RandomState::new(), next: 0 })),
            Role::Server => None,
        };
        Self { bytes: Vec::new(), written: 0, gather, pong: None, masks }
    }

    /// A frame behind all that waits.
    pub(super) fn frame(&mut self, kind: (Opcode, bool), payload: &[u8]) {
        if self.written > self.waiting() {
            drop(self.bytes.drain(..self.written));
            self.written = 0;
        }
        let key = self.masks.as_deref_mut().map(Masks::next);
        self.bytes.reserve(LONGEST + payload.len());
        header::write(&mut self.bytes, kind, payload.len(), key);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        if let (Some(key), Some(payload)) = (key, self.bytes.get_mut(at..)) {
            mask(payload, key, 0);
        }
    }

    /// The answer to a ping.
    pub(super) fn pong(&mut self, payload: Vec<u8>) {
        self.pong = Some(payload);
        self.place_pong();
    }

    /// A close frame, with as much of the text as fits. No pong follows it.
    pub(super) fn close(&mut self, said: Option<(u16, &str)>) {
        let mut payload = Vec::new();
        if let Some((code, text)) = said {
            payload.extend_from_slice(&code.to_be_bytes());
            let end = text.floor_char_boundary(CONTROL - payload.len());
            payload.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
        }
        self.pong = None;
        self.frame((Opcode::Close, true), &payload);
    }

    fn place_pong(&mut self) {
        if self.waiting() <= self.gather.saturating_add(HEADROOM)
            && let Some(payload) = self.pong.take()
        {
            self.frame((Opcode::Pong, true), &payload);
        }
    }

    /// Bytes that wait.
    fn waiting(&self) -> usize {
        self.bytes.len().saturating_sub(self.written)
    }

    /// Whether more waits than is to be gathered.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() > self.gather
    }

    /// What is to be written next; nothing if nothing waits.
    pub(super) fn unwritten(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// This many bytes of it were written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
        if self.written >= self.bytes.len() {
            (self.bytes, self.written) = (Vec::new(), 0);
        }
        self.place_pong();
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbound::{Inbound, Incoming};
    use super::*;

    #[test]
    fn what_one_end_writes_the_other_reads_and_nothing_is_kept() {
        for (from, to) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
            let mut out = Outbound::new(from, 100);
            out.frame((Opcode::Text, false), "h\u{e4}".as_bytes());
            out.pong(b"p".to_vec());
            out.frame((Opcode::Continuation, true), b"llo");
            assert!(!out.is_full());
            out.frame((Opcode::Binary, true), &[7; 70_000]);
            assert!(out.is_full());
            out.close(Some((1001, &"\u{20ac}".repeat(100))));
            let mut inbound = Inbound::new(to, 1 << 20);
            let mut all = Vec::new();
            while !out.unwritten().is_empty() {
                let part = out.unwritten().len().min(1000);
                let mut bytes = out.unwritten()[..part].to_vec();
                while !bytes.is_empty() {
                    let (taken, incoming) = inbound.read(&bytes).unwrap();
                    all.extend(incoming);
                    bytes.drain(..taken);
                }
                out.wrote(part);
            }
            let closed = Incoming::Close(Some((1001, "\u{20ac}".repeat(41))));
            let binary = Incoming::Binary(vec![7; 70_000].into());
            let text = Incoming::Text("h\u{e4}llo".to_owned());
            assert_eq!(all, [Incoming::Pong, text, binary, closed]);
            assert_eq!(out.bytes.capacity(), 0);
        }
    }

    #[test]
    fn pongs_that_are_not_taken_have_a_bound_and_the_latest_is_sent() {
        let mut out = Outbound::new(Role::Server, 100);
        for n in 0..10_000u32 {
            out.pong(n.to_be_bytes().to_vec());
        }
        assert!(out.waiting() <= 100 + HEADROOM + CONTROL);
        let mut last = Vec::new();
        while !out.unwritten().is_empty() {
            last = out.unwritten()[out.unwritten().len() - 4..].to_vec();
            out.wrote(out.unwritten().len());
        }
        assert_eq!(last, 9_999u32.to_be_bytes());
    }

    #[test]
    fn a_peer_that_is_always_behind_makes_nothing_grow() {
        let mut out = Outbound::new(Role::Server, 100);
        for _ in 0..10_000 {
            out.frame((Opcode::Binary, true), &[7; 50]);
            while out.is_full() {
                out.wrote(1);
            }
        }
        assert!(out.bytes.capacity() < 1000, "{} bytes", out.bytes.capacity());
    }

    #[test]
    fn no_two_masks_in_a_row_are_the_same() {
        let mut masks = Masks { keys: RandomState::new(), next: 0 };
        let all: std::collections::BTreeSet<Mask> = (0..1000).map(|_| masks.next()).collect();
        assert!(all.len() > 990);
    }
}
