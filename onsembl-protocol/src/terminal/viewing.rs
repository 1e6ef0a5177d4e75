//! What of a program's output is passed on to the terminal of somebody who only looks on: all that is seen, and
//! nothing that makes that terminal answer, report, or change what lies beyond its screen.

use super::modes::Modes;
use super::sequences::{Piece, SequenceKind, Sequences};
use alloc::vec::Vec;

/// Modes in which a terminal reports by itself: the mouse, focus, colours, its size; and number 2, in which it is a
/// VT52 that reads sequences in another way.
const REPORTING: [u16; 14] =
    [2, 9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2031, 2048, 5522];

/// Commands for a terminal that reach its clipboard, its files or its windows, or that it answers, by number.
const COMMANDS: [u16; 8] = [50, 51, 52, 60, 61, 99, 1337, 5522];

/// How the controls from U+0080 to U+009F begin in UTF-8.
const C1: u8 = 0xc2;
/// Ends what was begun, and shows nothing.
const CANCEL: u8 = 0x18;

/// A filter for one terminal that looks on. What it passes on is what was written, without
///
/// - queries, whatever they ask for, and modes in which a terminal reports by itself;
/// - what reaches the clipboard, the printer, the windows or the keys of the one who looks on;
/// - sequences that were broken off, and texts that no terminal shows.
///
/// It is for terminals that read UTF-8. A [pure machine](crate::step#two-contracts) without time, which holds no more
/// than 4 KiB.
#[derive(Clone, Debug, Default)]
pub struct Viewing {
    sequences: Sequences,
    modes: Modes,
    long: Long,
    /// The last byte that was passed on.
    last: u8,
}

/// What becomes of the rest of a sequence that is too long to be held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Long {
    #[default]
    Dropped,
    Passed,
}

impl Viewing {
    /// What of this is passed on. What may become a sequence that is not waits for what follows.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        let (long, last) = (&mut self.long, self.last);
        self.sequences.read(bytes, |piece| match piece {
            Piece::Plain(plain) => passed.extend_from_slice(plain),
            Piece::Sequence { kind, bytes, body } => match verdict(kind, body) {
                Verdict::Pass => passed.extend_from_slice(bytes),
                Verdict::Without(numbers) => without(bytes, body, &numbers, &mut passed),
                Verdict::Drop => drop_sequence(bytes, last, &mut passed),
            },
            Piece::Broken(bytes) => drop_sequence(bytes, last, &mut passed),
            Piece::Long { kind, start } => {
                // Pictures only: everything else of such a length is no text for a viewer.
                let is_picture = kind == SequenceKind::Device
                    && verdict(kind, start.get(2..).unwrap_or_default()) == Verdict::Pass;
                *long = if is_picture { Long::Passed } else { Long::Dropped };
                if is_picture {
                    passed.extend_from_slice(start);
                }
            }
            Piece::Rest(bytes) => match long {
                Long::Passed => passed.extend_from_slice(bytes),
                Long::Dropped => {}
            },
        });
        self.modes.read(&passed);
        self.last = passed.last().copied().unwrap_or(self.last);
        passed
    }

    /// What to write to the terminal when nothing more is passed on, so that it is as it was.
    pub fn restoring(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.long == Long::Passed {
            // It may be within a picture.
            bytes.push(CANCEL);
        }
        bytes.extend_from_slice(&self.modes.restoring());
        bytes
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Drop,
    /// Without these of its numbers.
    Without(Vec<u16>),
}

/// Of a sequence that is dropped only the control bytes within it are passed on. `last` was passed on before all of
/// `passed`.
fn drop_sequence(bytes: &[u8], last: u8, passed: &mut Vec<u8>) {
    if bytes.starts_with(b"\x1b[") {
        passed.extend(bytes.iter().filter(|byte| acts_alone(**byte)));
    }
    // What follows must not continue a character, which would begin a sequence.
    if passed.last().copied().unwrap_or(last) == C1 {
        passed.push(CANCEL);
    }
}

/// A control byte within a sequence acts as it does outside of one. Those that end it do nothing else.
fn acts_alone(byte: u8) -> bool {
    matches!(byte, 0x07..=0x0f)
}

fn verdict(kind: SequenceKind, body: &[u8]) -> Verdict {
    let is_passed = match kind {
        SequenceKind::Control => return control(body),
        SequenceKind::Escape => body != b"Z",
        SequenceKind::Command => passes_command(body),
        SequenceKind::Device => is_picture(body),
        SequenceKind::Application | SequenceKind::Ignored => false,
    };
    if is_passed { Verdict::Pass } else { Verdict::Drop }
}

/// Sixel pictures: numbers, and a `q`.
fn is_picture(body: &[u8]) -> bool {
    let behind = body.iter().find(|byte| !matches!(byte, b'0'..=b'9' | b';'));
    behind == Some(&b'q')
}

fn passes_command(body: &[u8]) -> bool {
    let mut parts = body.split(|byte| *byte == b';');
    let number = number(parts.next().unwrap_or_default());
    !COMMANDS.contains(&number) && !parts.any(|part| part.starts_with(b"?"))
}

fn control(body: &[u8]) -> Verdict {
    let seen: Vec<u8> = body.iter().copied().filter(|byte| (0x20..0x7f).contains(byte)).collect();
    let Some((last, body)) = seen.split_last() else { return Verdict::Drop };
    let mark = body.first().copied().filter(|byte| (0x3c..=0x3f).contains(byte)).unwrap_or(0);
    let between = body.iter().copied().find(|byte| (0x20..=0x2f).contains(byte)).unwrap_or(0);
    let numbers = body.strip_prefix(&[mark]).unwrap_or(body);
    let first = number(numbers);
    let is_query = match (mark, between, *last) {
        // What it is, its state, its parameters, its keyboard, what it stores.
        (_, 0, b'c' | b'i' | b'x') | (_, b'$', b'p' | b'w' | b'u') => true,
        (mark, 0, b'n' | b'q') => mark != b'>' && *last == b'n' || mark == b'>' && *last == b'q',
        (mark, _, b'u') => mark == b'?' || between != 0,
        (b'?', 0, b'm' | b'g' | b'S') => true,
        // Macros, sums over the screen, the mouse, colours on the stack.
        (_, b'*', b'y' | b'z') | (_, b'\'', b'|' | b'z') | (_, b'#', b'R' | b'S' | b'|') => true,
        // Its window and title, but for keeping the title.
        (0, 0, b't') => !matches!(first, 22 | 23),
        _ => false,
    };
    if is_query {
        return Verdict::Drop;
    }
    if (mark, between) == (b'?', 0) && matches!(*last, b'h' | b'l' | b's' | b'r') {
        let parts = numbers.split(|byte| matches!(byte, b';' | b':'));
        let reporting: Vec<u16> =
            parts.map(number).filter(|number| REPORTING.contains(number)).collect();
        if !reporting.is_empty() {
            return Verdict::Without(reporting);
        }
    }
    Verdict::Pass
}

/// A mode sequence without these numbers; nothing if no number is left.
fn without(bytes: &[u8], body: &[u8], numbers: &[u16], passed: &mut Vec<u8>) {
    passed.extend(bytes.iter().filter(|byte| acts_alone(**byte)));
    let seen: Vec<u8> = body.iter().copied().filter(|byte| (0x20..0x7f).contains(byte)).collect();
    let Some((last, body)) = seen.split_last() else { return };
    let body = body.strip_prefix(b"?").unwrap_or(body);
    let parts = body.split(|byte| matches!(byte, b';' | b':'));
    let kept: Vec<&[u8]> = parts.filter(|part| !numbers.contains(&number(part))).collect();
    if !kept.is_empty() {
        passed.extend_from_slice(b"\x1b[?");
        passed.extend_from_slice(&kept.join(&b';'));
        passed.push(*last);
    }
}

/// The number that stands first, as terminals read it; 0 if none does.
fn number(text: &[u8]) -> u16 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u16, |number, digit| {
        number.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(bytes: &[u8]) -> Vec<u8> {
        Viewing::default().pass(bytes)
    }

    const DROPPED: &[&[u8]] = &[
        b"\x1b[c",
        b"\x1b[0c",
        b"\x1b[>c",
        b"\x1b[=c",
        b"\x1bZ",
        b"\x1b[5n",
        b"\x1b[6n",
        b"\x1b[?6n",
        b"\x1b[?996n",
        b"\x1b[>q",
        b"\x1b[>0q",
        b"\x1b[?u",
        b"\x1b[?2026$p",
        b"\x1b[4$p",
        b"\x1b[14t",
        b"\x1b[18t",
        b"\x1b[21t",
        b"\x1b[8;50;100t",
        b"\x1b[?4m",
        b"\x1b[1$w",
        b"\x1b[1;1;1;1;1;1*y",
        b"\x1b[0x",
        b"\x1b[5i",
        b"\x1b]10;?\x07",
        b"\x1b]11;?\x1b\\",
        b"\x1b]4;1;?\x07",
        b"\x1b]52;c;aGk=\x07",
        b"\x1b]52;c;?\x1b\\",
        b"\x1b]1337;Copy=:aGk=\x07",
        b"\x1bP+q544e\x1b\\",
        b"\x1bP$qm\x1b\\",
        b"\x1bP0;1|17/41\x1b\\",
        b"\x1b_Ga=q,i=1;AAAA\x1b\\",
        b"\x1bPtmux;x\x1b\\",
        b"\xc2\x9b6n",
        b"\xc2\x9bc",
        b"\x1b[?1000h",
        b"\x1b[?1003;1006h",
        b"\x1b[?2048h",
        b"\x1b[?1004h",
        b"\x1b^x\x1b\\",
    ];

    const PASSED: &[&[u8]] = &[
        b"plain \xc3\xa9 \xc2\xa9 text\r\n",
        b"\x1b[1;31m",
        b"\x1b[2J\x1b[H",
        b"\x1b[?1049h",
        b"\x1b[?25l",
        b"\x1b]0;title\x07",
        b"\x1b]8;;https://example.org/?a=b\x1b\\",
        b"\x1b[6 q",
        b"\x1b[!p",
        b"\x1b7\x1b8",
        b"\x1b(0",
        b"\x1b[>4;2m",
        b"\x1b[>1u",
        b"\x1b[<u",
        b"\x1b[22;0t",
        b"\x1b[s\x1b[u",
        b"\x1b[>4n",
        b"\x1bP0;1q#0;2;0;0;0\x1b\\",
        b"\x1b[3S",
        b"\x1b[?2026h",
    ];

    #[test]
    fn what_a_terminal_answers_is_dropped_and_what_it_shows_is_passed() {
        for dropped in DROPPED {
            assert_eq!(passed(dropped), b"", "{}", dropped.escape_ascii());
        }
        for whole in PASSED {
            assert_eq!(&passed(whole), whole, "{}", whole.escape_ascii());
        }
        assert_eq!(passed(b"\x1b[?1000;25;1006l"), b"\x1b[?25l");
        assert_eq!(passed(b"a\x1b[6\nnb"), b"a\nb", "a control byte within it acts");
        assert_eq!(passed(b"a\x1b[6\x1b[31mb"), b"a\x1b[31mb");
    }

    #[test]
    fn a_long_write_to_the_clipboard_is_dropped_and_a_long_picture_is_not() {
        let long = |start: &[u8], end: &[u8]| {
            let mut bytes = start.to_vec();
            bytes.resize(100_000, b'0');
            bytes.extend_from_slice(end);
            bytes
        };
        assert_eq!(passed(&long(b"\x1b]52;c;", b"\x07b")), b"b");
        let picture = long(b"\x1bP0;0q", b"\x1b\\b");
        assert_eq!(passed(&picture), picture);
        assert_eq!(passed(&long(b"\x1b[", b"nb")), b"b");
    }

    #[test]
    fn what_was_switched_is_restored() {
        let mut viewing = Viewing::default();
        viewing.pass(b"\x1b[?1049h\x1b[?25l\x1b[?1000h");
        assert_eq!(viewing.restoring(), b"\x1b[?25h\x1b[?1049l\x1b[0m");
    }

    /// Reads as the strictest terminal would: whether anything that asks is left.
    fn asks(bytes: &[u8]) -> bool {
        let mut asks = false;
        Sequences::default().read(bytes, |piece| match piece {
            Piece::Sequence { kind, body, .. } => asks |= verdict(kind, body) != Verdict::Pass,
            Piece::Plain(_) | Piece::Broken(_) | Piece::Long { .. } | Piece::Rest(_) => {}
        });
        asks
    }

    fn written() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::sample::select(DROPPED).prop_map(<[u8]>::to_vec),
            proptest::sample::select(PASSED).prop_map(<[u8]>::to_vec),
            // Parts of them, that may come to be one with what follows.
            (proptest::sample::select(DROPPED), 1_usize..6).prop_map(|(bytes, at)| bytes
                .iter()
                .copied()
                .take(at)
                .collect()),
            proptest::collection::vec(any::<u8>(), 0..5),
            Just(alloc::vec![b'0'; 2000]),
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_that_asks_gets_through_and_cuts_change_nothing(bytes in written(), at in 0_usize..2000) {
            let whole = passed(&bytes);
            prop_assert!(!asks(&whole), "{}", whole.escape_ascii());
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            let mut viewing = Viewing::default();
            let mut parts = viewing.pass(first);
            parts.extend(viewing.pass(second));
            prop_assert_eq!(parts, whole);
        }

        #[test]
        fn what_asks_nothing_is_not_changed(
            pieces in proptest::collection::vec(proptest::sample::select(PASSED), 0..20),
            cuts in proptest::collection::vec(0_usize..200, 0..5),
        ) {
            let bytes: Vec<u8> = pieces.concat();
            let mut viewing = Viewing::default();
            let mut all = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (first, others) = rest.split_at(cut.min(rest.len()));
                all.extend(viewing.pass(first));
                rest = others;
            }
            all.extend(viewing.pass(rest));
            prop_assert_eq!(all, bytes);
        }
    }
}
