//! What of a program's output is passed on to the terminal of somebody who only looks on: all that is seen, and
//! nothing that makes that terminal answer, report, or change what lies beyond its screen.

use super::modes::Modes;
use super::passing::{self, Verdict, verdict};
use super::sequences::{Piece, SequenceKind, Sequences};
use alloc::vec::Vec;

/// How the controls from U+0080 to U+009F begin in UTF-8.
const C1: u8 = 0xc2;
const BELL: u8 = 0x07;
/// Ends what was begun, and shows nothing.
const CANCEL: u8 = 0x18;

/// A filter for one terminal that looks on. What it passes on is what was written, without
///
/// - queries, whatever they ask for, and modes in which a terminal reports by itself;
/// - what reaches the clipboard, the printer, the windows, the keys or what scrolled out of the one who looks on;
/// - sequences that were broken off, and texts that no terminal shows;
/// - whatever else is not known to draw, or to be put back by [`restoring`](Self::restoring).
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
    /// A picture, which has not ended.
    Passed,
}

impl Viewing {
    /// What of this is passed on. What may become a sequence that is not waits for what follows.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Self { sequences, modes, long, last } = self;
        let mut passed = Vec::with_capacity(bytes.len());
        let mut read = 0;
        sequences.read(bytes, |piece| {
            if *long == Long::Passed && !matches!(piece, Piece::Rest(_)) {
                // The picture was broken off by what did not come to be passed on.
                passed.push(CANCEL);
                *long = Long::Dropped;
            }
            match piece {
                Piece::Plain(plain) => pass_plain(plain, *last, &mut passed),
                Piece::Sequence { kind, bytes, body } => match verdict(kind, body, modes) {
                    Verdict::Pass => {
                        pass_controls(kind, body, &mut passed);
                        let is_ended_by_bell = bytes.ends_with(&[BELL]);
                        passed.extend_from_slice(&passing::usual(kind, body, is_ended_by_bell));
                    }
                    Verdict::Instead(other) => {
                        pass_controls(kind, body, &mut passed);
                        passed.extend_from_slice(&other);
                    }
                    Verdict::Drop => {
                        pass_controls(kind, body, &mut passed);
                        separate(*last, &mut passed);
                    }
                },
                Piece::Broken(bytes) => {
                    let body = bytes.strip_prefix(b"\x1b[").unwrap_or_default();
                    pass_controls(SequenceKind::Control, body, &mut passed);
                    separate(*last, &mut passed);
                }
                Piece::Long { kind, start } => {
                    // Pictures only: everything else of such a length is no text for a viewer.
                    let data = start.get(2..).unwrap_or_default();
                    if kind == SequenceKind::Device && passing::is_picture(data) {
                        *long = Long::Passed;
                        passed.extend_from_slice(b"\x1bP");
                        passed.extend(passing::picture(data));
                    }
                }
                Piece::Rest(bytes) => match (*long, bytes) {
                    (Long::Passed, b"\x1b\\" | b"\xc2\x9c") => {
                        passed.extend_from_slice(b"\x1b\\");
                        *long = Long::Dropped;
                    }
                    (Long::Passed, data) => passed.extend(passing::picture(data)),
                    (Long::Dropped, _) => {}
                },
            }
            modes.read(passed.get(read..).unwrap_or_default());
            read = passed.len();
        });
        *last = passed.last().copied().unwrap_or(*last);
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

/// Of one line of a program, which stands by itself between others, what is passed on to a terminal: characters and
/// their colours, which end with it.
pub fn viewed_line(line: &[u8]) -> Vec<u8> {
    let (mut passed, mut has_colors) = (Vec::with_capacity(line.len()), false);
    Sequences::default().read(line, |piece| match piece {
        Piece::Plain(plain) => {
            let shown: Vec<u8> = plain
                .iter()
                .copied()
                .filter(|byte| matches!(byte, b'\t' | b'\r' | 0x20..=0x7e | 0x80..))
                .collect();
            pass_plain(&shown, 0, &mut passed);
        }
        Piece::Sequence { kind: SequenceKind::Control, body, .. }
            if matches!(body, [b'0'..=b'9' | b';' | b':', .., b'm'] | b"m")
                && verdict(SequenceKind::Control, body, &Modes::default()) == Verdict::Pass =>
        {
            has_colors = true;
            passed.extend_from_slice(&passing::usual(SequenceKind::Control, body, false));
        }
        Piece::Sequence { .. } | Piece::Broken(_) | Piece::Long { .. } | Piece::Rest(_) => {
            separate(0, &mut passed);
        }
    });
    if has_colors {
        passed.extend_from_slice(b"\x1b[0m");
    }
    passed
}

/// Characters, and the control bytes that draw. `last` was passed on before all of `passed`.
fn pass_plain(plain: &[u8], last: u8, passed: &mut Vec<u8>) {
    for byte in plain {
        match byte {
            // A control from U+0080 to U+009F that begins no sequence: some answer to one of them.
            0x80..=0x9f if passed.last() == Some(&C1) => {
                let _ = passed.pop();
            }
            0x20..=0x7e | 0x80.. => passed.push(*byte),
            control if passing::draws(*control) => passed.push(*control),
            _ => separate(last, passed),
        }
    }
}

/// A control byte within a sequence acts as it does outside of one.
fn pass_controls(kind: SequenceKind, body: &[u8], passed: &mut Vec<u8>) {
    match kind {
        SequenceKind::Control | SequenceKind::Escape => {
            passed.extend(body.iter().filter(|byte| passing::draws(**byte)));
        }
        SequenceKind::Command
        | SequenceKind::Device
        | SequenceKind::Application
        | SequenceKind::Ignored => {}
    }
}

/// Something was left out here: what follows must not continue a character, which would begin a sequence.
fn separate(last: u8, passed: &mut Vec<u8>) {
    if passed.last().copied().unwrap_or(last) == C1 {
        passed.push(CANCEL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
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
        // A terminal with an answer types it.
        b"\x05",
        b"\x00\x11\x13\x14\x7f",
        b"\xc2\x9a",
        b"\xc2\x88",
        // How bytes are read, and how it answers.
        b"\x1b%@",
        b"\x1b%G",
        b"\x1b G",
        b"\x1b[62;0\"p",
        b"\x1b[?2l",
        // The pointer, the keyboard, the size, what scrolled out, and what is kept for whoever looks on.
        b"\x1b]22;text\x07",
        b"\x1b[>1p",
        b"\x1b[>1t",
        b"\x1b[?67h",
        b"\x1b[?8l",
        b"\x1b[?3h",
        b"\x1b[?9001h",
        b"\x1b[?1034l",
        b"\x1b[2h",
        b"\x1b[12l",
        b"\x1b[1q",
        b"\x1b[3J",
        b"\x1b[80$|",
        b"\x1b[24*|",
        b"\x1b[<u",
        b"\x1b[<9u",
        b"\x1b[23;0t",
        b"\x1bl",
        b"\x1bN",
        // Notices, the working directory, marks of a shell, and what nobody knows.
        b"\x1b]9;4;1;50\x07",
        b"\x1b]777;notify;a;b\x07",
        b"\x1b]7;file:///tmp\x07",
        b"\x1b]133;A\x07",
        b"\x1b]21;foreground=red\x07",
        b"\x1b]+4;1;red\x07",
        b"\x1b]ltitle\x07",
        b"\x1b[?12345h",
        b"\x1b[5v",
    ];

    const PASSED: &[&[u8]] = &[
        b"plain \xc3\xa9 \xc2\xa9 text\r\n",
        b"\x1b[1;31m",
        b"\x1b[2J\x1b[H",
        b"\x1b[?1049h",
        b"\x1b[?25l",
        b"\x1b]4;1;red\x07",
        b"\x1b]11;#000;#fff\x1b\\",
        b"\x1b]110\x07",
        b"\x1b]8;;\x07",
        b"\x1b[3g\x1bH\x1b[5W\x1b[9G\x1b[W",
        b"\x1b[?45h",
        b"\x1b[?2027h",
        b"\x1b[1\"q",
        b"\x1b[4h\x1b[20l",
        b"\x1b]8;;https://example.org/?a=b\x1b\\",
        b"\x1b[6 q",
        b"\x1b[!p",
        b"\x1b7\x1b8",
        b"\x1b(0",
        b"\x1b[>4;2m",
        b"\x1b[>1u",
        b"\x1b[>1u\x1b[<u",
        b"\x1b[22;0t\x1b]0;title\x07",
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
        assert_eq!(passed(b"\x1b[3\x051m\x1b]0;a\x05\nb\x07"), b"\x1b[31m\x1b[22;0t\x1b]0;ab\x07");
        assert_eq!(passed(b"\xc2\x9b1m\xc2\x9d8;;x\xc2\x9c"), b"\x1b[1m\x1b]8;;x\x1b\\");
        assert_eq!(passed(b"\xc2\x05\x9b6n"), b"\xc2\x18\x9b6n");
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
    fn what_belongs_to_the_one_who_looks_on_is_kept_for_them() {
        // A title is put on the stack first, once.
        let mut viewing = Viewing::default();
        assert_eq!(viewing.pass(b"\x1b]2;a\x07"), b"\x1b[22;0t\x1b]2;a\x07");
        assert_eq!(viewing.pass(b"\x1b]0;b\x07"), b"\x1b]0;b\x07");
        assert_eq!(viewing.restoring(), b"\x1b[23;0t\x1b[0m");
        // Only what the program put on a stack is taken from it.
        assert_eq!(passed(b"\x1b[>1u\x1b[<9u\x1b[<u"), b"\x1b[>1u\x1b[<1u");
        assert_eq!(passed(b"\x1b[22t\x1b[23t\x1b[23t"), b"\x1b[22t\x1b[23t");
        // A reset keeps what scrolled out, and leaves nothing on.
        let mut viewing = Viewing::default();
        assert_eq!(
            viewing.pass(b"\x1b[?25l\x1bc"),
            b"\x1b[?25l\x1b[?25h\x1b[0m\x1b[!p\x1b[?7h\x1b[H\x1b[2J"
        );
        assert_eq!(viewing.restoring(), b"\x1b[0m");
        // No more modes at once than are read.
        let many: Vec<String> = (0..40).map(|_| "25".into()).collect();
        let mut viewing = Viewing::default();
        viewing.pass(format!("\x1b[?{}l", many.join(";")).as_bytes());
        assert_eq!(viewing.restoring(), b"\x1b[?25h\x1b[0m");
        let many = format!("\x1b[>4{}m", ";2".repeat(20));
        assert_eq!(passed(many.as_bytes()), b"", "it would not be put back");
        let many = format!("\x1b[1{}m", ";2".repeat(20));
        assert_eq!(passed(many.as_bytes()), many.as_bytes());
    }

    #[test]
    fn a_picture_that_is_broken_off_swallows_nothing() {
        let mut bytes = b"\x1bP0;0q".to_vec();
        bytes.resize(5000, b'0');
        let picture = bytes.clone();
        bytes.extend_from_slice(b"\x1b[6ntext");
        assert_eq!(passed(&bytes), [&picture[..], b"\x18text"].concat());
    }

    #[test]
    fn a_line_between_others_keeps_its_characters_and_colours() {
        for (line, shown) in [
            (&b"a\tb \xc3\xa9\r"[..], &b"a\tb \xc3\xa9\r"[..]),
            (b"\x1b[31mred", b"\x1b[31mred\x1b[0m"),
            (b"\x1b[2J\x1b[>4;2m\x1b[6n\x1b]0;x\x07a\x05\x07", b"a"),
            (b"a\xc2\x9b", b"a"),
            (b"a\x1b[3", b"a"),
        ] {
            assert_eq!(viewed_line(line), shown, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_was_switched_is_restored() {
        let mut viewing = Viewing::default();
        viewing.pass(b"\x1b[?1049h\x1b[?25l\x1b[?1000h");
        assert_eq!(viewing.restoring(), b"\x1b[?25h\x1b[?1049l\x1b[0m");
    }

    /// Reads as the strictest terminal would: whether anything that asks is left.
    fn asks(bytes: &[u8]) -> bool {
        let (mut asks, mut modes) = (false, Modes::default());
        Sequences::default().read(bytes, |piece| match piece {
            Piece::Sequence { kind, body, bytes } => {
                asks |= verdict(kind, body, &modes) != Verdict::Pass;
                modes.read(bytes);
            }
            Piece::Plain(plain) => asks |= plain.contains(&5),
            Piece::Broken(_) | Piece::Long { .. } | Piece::Rest(_) => {}
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
        fn whatever_was_passed_on_is_put_back(bytes in written()) {
            let mut viewing = Viewing::default();
            let mut whole = viewing.pass(&bytes);
            whole.extend(viewing.restoring());
            // As a terminal reads it that knows more modes than may pass.
            let mut terminal = Modes::default();
            terminal.read(&whole);
            prop_assert_eq!(terminal.restoring(), b"\x1b[0m");
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
