//! What a program writes to its terminal, cut into characters and control sequences, wherever its pieces were cut.
//! What a sequence means is for who reads it: queries, what may be shown to a viewer, the title of a screen.

use alloc::vec::Vec;
use core::mem;

/// Bytes of a sequence that are buffered until it is whole. A longer one is passed on in parts.
const LONGEST: usize = 4096;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
/// They end any sequence without effect.
const ABORTS: [u8; 2] = [0x18, 0x1a];
/// How the controls from U+0080 to U+009F begin in UTF-8; one byte follows.
const C1: u8 = 0xc2;

/// What a sequence is by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceKind {
    /// `ESC` and a letter, perhaps with something between them.
    Escape,
    /// `CSI`: `ESC [`, numbers and a letter.
    Control,
    /// `OSC`: `ESC ]` and a text for the terminal itself.
    Command,
    /// `DCS`: `ESC P` and a text for a device of the terminal.
    Device,
    /// `APC`: `ESC _`.
    Application,
    /// `SOS` and `PM`: `ESC X`, `ESC ^`. No terminal makes anything of them.
    Ignored,
}

impl SequenceKind {
    /// By the byte behind `ESC`; `None` where that byte ends the sequence or is no such byte.
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'[' => Some(Self::Control),
            b']' => Some(Self::Command),
            b'P' => Some(Self::Device),
            b'_' => Some(Self::Application),
            b'X' | b'^' => Some(Self::Ignored),
            _ => None,
        }
    }

    const fn introducer(self) -> &'static [u8] {
        match self {
            Self::Escape => b"\x1b",
            Self::Control => b"\x1b[",
            Self::Command => b"\x1b]",
            Self::Device => b"\x1bP",
            Self::Application => b"\x1b_",
            Self::Ignored => b"\x1bX",
        }
    }
}

/// A part of what was written. All parts together are what was written, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Characters and single control bytes; a character may be cut.
    Plain(&'a [u8]),
    /// A whole sequence.
    Sequence {
        /// What it is.
        kind: SequenceKind,
        /// All of it.
        bytes: &'a [u8],
        /// What stands behind its introducer, without its terminator if it is a text.
        body: &'a [u8],
    },
    /// A sequence that something else interrupted. Terminals make nothing of it.
    Broken(&'a [u8]),
    /// The beginning of a sequence that is longer than what is buffered.
    Long {
        /// What it is.
        kind: SequenceKind,
        /// What there is of it, introducer and all.
        start: &'a [u8],
    },
    /// More of it.
    Rest(&'a [u8]),
}

/// Cuts a stream of bytes into [`Piece`]s. A [pure machine](crate::step#two-contracts) without time, which holds no
/// more than 4 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    state: State,
    /// Of the sequence that is not whole yet.
    buffered: Vec<u8>,
    /// Of the sequence so far everything but what is buffered was passed on.
    is_long: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// Behind the first byte of what may be a control from U+0080 to U+009F.
    GroundC1,
    Escape,
    /// Behind `ESC` and a byte from 0x20 to 0x2f.
    Intermediate,
    Control,
    Text(SequenceKind),
    /// In a text, behind the first byte of what may end it in UTF-8.
    TextC1(SequenceKind),
    /// In a text, behind `ESC`.
    TextEscape(SequenceKind),
}

impl Sequences {
    /// Reads on, and hands each part that is complete to `each`.
    pub fn read(&mut self, bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            if self.state == State::Ground {
                let plain = rest.iter().position(|byte| matches!(*byte, ESCAPE | C1));
                let (plain, others) = rest.split_at(plain.unwrap_or(rest.len()));
                if !plain.is_empty() {
                    each(Piece::Plain(plain));
                    rest = others;
                    continue;
                }
            }
            self.take(*byte, &mut each);
            rest = behind;
        }
    }

    /// What to read in a fresh machine to bring it to where this one is: the bytes of a sequence that is not
    /// whole yet. In place of one that was too long something of the same length and kind that means nothing.
    pub fn pending(&self) -> Vec<u8> {
        if !self.is_long {
            return self.buffered.clone();
        }
        let (introducer, filler, tail): (&[u8], u8, &[u8]) = match self.state {
            State::Ground | State::GroundC1 => (b"", b' ', b""),
            State::Escape => (&[ESCAPE], 0, b""),
            State::Intermediate => (b"\x1b ", b' ', b""),
            State::Control => (b"\x1b[", b'0', b""),
            State::Text(kind) => (kind.introducer(), b'0', b""),
            State::TextC1(kind) => (kind.introducer(), b'0', &[C1]),
            State::TextEscape(kind) => (kind.introducer(), b'0', &[ESCAPE]),
        };
        let mut bytes = introducer.to_vec();
        bytes.resize(LONGEST, filler);
        bytes.extend_from_slice(tail);
        bytes
    }

    /// How many bytes of a sequence that is not whole yet are buffered.
    pub(super) fn pending_len(&self) -> usize {
        self.buffered.len()
    }

    fn take(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) {
        match (self.state, byte) {
            (State::Ground, ESCAPE) => self.begin(State::Escape, byte),
            (State::Ground, C1) => self.begin(State::GroundC1, byte),
            (State::Ground, other) => each(Piece::Plain(&[other])),
            (State::GroundC1, byte) => match c1_kind(byte) {
                Some(kind) => {
                    self.state = State::of(kind);
                    self.buffer(byte, each);
                }
                None => {
                    self.state = State::Ground;
                    let buffered = mem::take(&mut self.buffered);
                    each(Piece::Plain(&buffered));
                    self.take(byte, each);
                }
            },
            (State::TextEscape(kind), b'\\') => self.terminated(kind, [ESCAPE, byte], each),
            (State::TextEscape(_), byte) => {
                self.buffered.pop();
                self.broken(each);
                self.begin(State::Escape, ESCAPE);
                self.take(byte, each);
            }
            (State::TextC1(kind), 0x9c) => self.terminated(kind, [C1, byte], each),
            (State::TextC1(kind), byte) => match c1_kind(byte) {
                Some(next) => {
                    self.buffered.pop();
                    self.broken(each);
                    self.begin(State::of(next), C1);
                    self.buffer(byte, each);
                }
                None => {
                    self.state = State::Text(kind);
                    self.buffered.pop();
                    self.buffer(C1, each);
                    self.take(byte, each);
                }
            },
            (_, byte) if ABORTS.contains(&byte) => {
                self.buffer(byte, each);
                self.broken(each);
            }
            (State::Text(kind), ESCAPE) => self.defer(State::TextEscape(kind), byte),
            (State::Text(kind), C1) => self.defer(State::TextC1(kind), byte),
            (State::Text(SequenceKind::Command), BELL) => {
                self.buffer(byte, each);
                self.whole(SequenceKind::Command, 1, each);
            }
            (State::Text(_), byte) => self.buffer(byte, each),
            // What interrupts a sequence begins another.
            (State::Escape | State::Intermediate | State::Control, ESCAPE | 0x80..) => {
                self.broken(each);
                self.take(byte, each);
            }
            // A control byte within a sequence acts, and the sequence continues.
            (State::Escape | State::Intermediate | State::Control, 0..=0x1f | 0x7f) => {
                self.buffer(byte, each);
            }
            (State::Escape, byte) => {
                let kind = SequenceKind::of(byte);
                self.state = match kind {
                    Some(kind) => State::of(kind),
                    None if byte <= 0x2f => State::Intermediate,
                    None => State::Escape,
                };
                self.buffer(byte, each);
                if kind.is_none() && byte > 0x2f {
                    self.whole(SequenceKind::Escape, 0, each);
                }
            }
            (State::Intermediate, byte) => {
                self.buffer(byte, each);
                if byte > 0x2f {
                    self.whole(SequenceKind::Escape, 0, each);
                }
            }
            (State::Control, byte) => {
                self.buffer(byte, each);
                if byte > 0x3f {
                    self.whole(SequenceKind::Control, 0, each);
                }
            }
        }
    }

    fn begin(&mut self, state: State, byte: u8) {
        self.state = state;
        self.is_long = false;
        self.buffered.clear();
        self.buffered.push(byte);
    }

    /// A byte that may end the text or belong to it: it is passed on when the next one shows which.
    fn defer(&mut self, state: State, byte: u8) {
        self.state = state;
        if !self.is_long {
            self.buffered.push(byte);
        }
    }

    /// The two bytes that end a text, of which the first was deferred.
    fn terminated(
        &mut self,
        kind: SequenceKind,
        terminator: [u8; 2],
        each: &mut impl FnMut(Piece<'_>),
    ) {
        let [_, last] = terminator;
        if self.is_long {
            each(Piece::Rest(&terminator));
            self.end();
        } else {
            self.buffered.push(last);
            self.whole(kind, 2, each);
        }
    }

    fn buffer(&mut self, byte: u8, each: &mut impl FnMut(Piece<'_>)) {
        if self.is_long {
            each(Piece::Rest(&[byte]));
            return;
        }
        self.buffered.push(byte);
        if self.buffered.len() >= LONGEST {
            let kind = match self.state {
                State::Ground | State::GroundC1 | State::Escape | State::Intermediate => {
                    SequenceKind::Escape
                }
                State::Control => SequenceKind::Control,
                State::Text(kind) | State::TextC1(kind) | State::TextEscape(kind) => kind,
            };
            let start = mem::take(&mut self.buffered);
            each(Piece::Long { kind, start: &start });
            self.is_long = true;
        }
    }

    fn whole(&mut self, kind: SequenceKind, terminator: usize, each: &mut impl FnMut(Piece<'_>)) {
        let bytes = self.end();
        if bytes.is_empty() {
            return;
        }
        // An introducer has two bytes, of which a short sequence is only the first.
        let introducer = if kind == SequenceKind::Escape { 1 } else { 2 };
        let until = bytes.len().saturating_sub(terminator);
        let body = bytes.get(introducer..until).unwrap_or_default();
        each(Piece::Sequence { kind, bytes: &bytes, body });
    }

    fn broken(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        let bytes = self.end();
        if !bytes.is_empty() {
            each(Piece::Broken(&bytes));
        }
    }

    fn end(&mut self) -> Vec<u8> {
        self.state = State::Ground;
        self.is_long = false;
        mem::take(&mut self.buffered)
    }
}

impl State {
    const fn of(kind: SequenceKind) -> Self {
        match kind {
            SequenceKind::Escape => Self::Escape,
            SequenceKind::Control => Self::Control,
            SequenceKind::Command
            | SequenceKind::Device
            | SequenceKind::Application
            | SequenceKind::Ignored => Self::Text(kind),
        }
    }
}

/// What the control U+0080 to U+009F begins whose second byte this is.
const fn c1_kind(byte: u8) -> Option<SequenceKind> {
    match byte {
        0x80..=0x9f => SequenceKind::of(byte - 0x40),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    /// Each part in a line, plain parts that touch as one.
    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut sequences = Sequences::default();
        let mut lines = Vec::new();
        let mut plain = Vec::new();
        for chunk in chunks {
            sequences.read(chunk, |piece| {
                if let Piece::Plain(bytes) = piece {
                    plain.extend_from_slice(bytes);
                    return;
                }
                if !plain.is_empty() {
                    lines.push(format!("plain {}", mem::take(&mut plain).escape_ascii()));
                }
                lines.push(match piece {
                    Piece::Plain(_) => String::new(),
                    Piece::Sequence { kind, body, .. } => {
                        format!("{kind:?} {}", body.escape_ascii())
                    }
                    Piece::Broken(bytes) => format!("broken {}", bytes.escape_ascii()),
                    Piece::Long { kind, start } => format!("long {kind:?} {}", start.len()),
                    Piece::Rest(bytes) => format!("rest {}", bytes.escape_ascii()),
                });
            });
        }
        if !plain.is_empty() {
            lines.push(format!("plain {}", plain.escape_ascii()));
        }
        lines
    }

    #[test]
    fn a_stream_is_cut_into_what_terminals_make_of_it() {
        for (written, parts) in [
            (&b"a\r\n\xc3\xa9"[..], &["plain a\\r\\n\\xc3\\xa9"][..]),
            (b"a\x1b[6nb", &["plain a", "Control 6n", "plain b"]),
            (b"\x1b[?2004$p", &["Control ?2004$p"]),
            (b"\x1b]0;x\x07\x1b]2;y\x1b\\", &["Command 0;x", "Command 2;y"]),
            (b"\x1bP+q\x07\x1b\\", &["Device +q\\x07"]),
            (b"\x1b_Gi=1\x1b\\", &["Application Gi=1"]),
            (b"\x1bc\x1b(0\x1bZ", &["Escape c", "Escape (0", "Escape Z"]),
            (b"\xc2\x9b6n\xc2\x9d0;x\xc2\x9c", &["Control 6n", "Command 0;x"]),
            (b"\xc2\xa9\xc2", &["plain \\xc2\\xa9"]),
            (b"\x1b[6\x1b[n", &["broken \\x1b[6", "Control n"]),
            (b"\x1b[6\x18n", &["broken \\x1b[6\\x18", "plain n"]),
            (b"\x1b[6\nn", &["Control 6\\nn"]),
            (b"\x1b]0;x\x1b[6n", &["broken \\x1b]0;x", "Control 6n"]),
            (b"\x1b]0;x\xc2\x9b6n", &["broken \\x1b]0;x", "Control 6n"]),
            (b"\x1b[6\xc3\xa9n", &["broken \\x1b[6", "plain \\xc3\\xa9n"]),
            (b"\x1b\x1b[A", &["broken \\x1b", "Control A"]),
        ] {
            assert_eq!(cut(&[written]), parts, "{}", written.escape_ascii());
        }
    }

    #[test]
    fn a_long_sequence_is_passed_on_and_ends_where_it_ends() {
        let mut written = b"\x1b]52;c;".to_vec();
        written.resize(LONGEST + 2, b'A');
        written.extend_from_slice(b"\x07b");
        let parts = cut(&[&written]);
        let expected = ["long Command 4096", "rest A", "rest A", "rest \\x07", "plain b"];
        assert_eq!(parts, expected);
    }

    /// What says most about terminals, cut from real sequences and from nothing.
    pub(crate) fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\x1b".to_vec()),
            Just(b"\x1b[".to_vec()),
            Just(b"\x1b]52;".to_vec()),
            Just(b"\x1bP".to_vec()),
            Just(b"\xc2\x9b".to_vec()),
            Just(b"\xc2\x9c".to_vec()),
            Just(b"\x1b\\".to_vec()),
            Just(b"\x07".to_vec()),
            Just(b"6n".to_vec()),
            Just(b"\x18".to_vec()),
            Just(alloc::vec![b'0'; 1500]),
            proptest::collection::vec(any::<u8>(), 0..6),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    fn joined(sequences: &mut Sequences, bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        sequences.read(bytes, |piece| {
            all.extend_from_slice(match piece {
                Piece::Plain(bytes)
                | Piece::Sequence { bytes, .. }
                | Piece::Broken(bytes)
                | Piece::Rest(bytes)
                | Piece::Long { start: bytes, .. } => bytes,
            });
        });
        all
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_cuts_change_nothing(written in pieces(), at in 0_usize..4000) {
            let (first, second) = written.split_at(at.min(written.len()));
            prop_assert_eq!(cut(&[first, second]), cut(&[&written]));
            let mut sequences = Sequences::default();
            let mut all = joined(&mut sequences, &written);
            prop_assert!(sequences.buffered.len() <= LONGEST + 1);
            match (sequences.is_long, sequences.state) {
                (true, State::TextEscape(_)) => all.push(ESCAPE),
                (true, State::TextC1(_)) => all.push(C1),
                (true, _) => {}
                (false, _) => all.extend_from_slice(&sequences.pending()),
            }
            prop_assert_eq!(all, written);
        }

        #[test]
        fn what_is_pending_brings_a_fresh_machine_to_the_same_state(written in pieces()) {
            let mut sequences = Sequences::default();
            sequences.read(&written, |_| {});
            let mut fresh = Sequences::default();
            fresh.read(&sequences.pending(), |_| {});
            prop_assert_eq!(fresh, sequences);
        }
    }
}
