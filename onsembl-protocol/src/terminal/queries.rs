//! What programs ask their terminal, and what a plain one answers. While nobody sits before the terminal of an agent,
//! the agent answers: no viewer does, so each question has one answer (P-390).

use super::modes::Modes;
use super::sequences::{Piece, SequenceKind, Sequences};
use crate::model::TerminalSize;
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Answers within one [`WINDOW`]. Programs ask some ten things at their start.
const MOST_ANSWERS: u32 = 256;
/// In this time no more than [`MOST_ANSWERS`] are given.
const WINDOW: Duration = Duration::from_secs(1);

/// Modes that are tracked for a screen, but in which a terminal would have to send what an agent does not.
const NOT_OFFERED: [u16; 3] = [69, 2031, 2048];

/// Light grey on nearly black, as programs expect where they do not ask.
const FOREGROUND: &str = "d8d8/d8d8/d8d8";
const BACKGROUND: &str = "1818/1818/1818";

/// The first sixteen colours, red, green and blue, as xterm has them.
const COLORS: [(u8, u8, u8); 16] = [
    (0, 0, 0),
    (205, 0, 0),
    (0, 205, 0),
    (205, 205, 0),
    (0, 0, 238),
    (205, 0, 205),
    (0, 205, 205),
    (229, 229, 229),
    (127, 127, 127),
    (255, 0, 0),
    (0, 255, 0),
    (255, 255, 0),
    (92, 92, 255),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
];

/// A question to a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// `CSI 5 n`: whether it works.
    Status,
    /// `CSI 6 n`, where the cursor is.
    Cursor,
    /// `CSI ? 6 n`, the same in another form.
    ExtendedCursor,
    /// `CSI c`, `ESC Z`: what it is.
    Attributes,
    /// `CSI > c`: which version of it.
    SecondaryAttributes,
    /// `CSI > q`: its name.
    Name,
    /// `CSI = c`: which one of its kind.
    TertiaryAttributes,
    /// `DCS $ q`: how something is set. It is not said.
    Setting,
    /// `DCS + q`: a capability. None is said.
    Capability,
    /// `OSC 4 ; n`: one of 256 colours.
    NumberedColor {
        /// Which.
        number: u8,
        /// How the question ended, and the answer is to end.
        terminator: Terminator,
    },
    /// `OSC 10`, `OSC 11` or `OSC 12`: a colour.
    Color {
        /// Which.
        of: ColorOf,
        /// How the question ended, and the answer is to end.
        terminator: Terminator,
    },
    /// `CSI ? u`: what of the enhanced keyboard is on.
    Keyboard,
    /// `CSI ? n $ p`: whether a private mode is on.
    PrivateMode(u16),
    /// `CSI n $ p`: whether a mode of ECMA-48 is on.
    Mode(u16),
    /// `CSI 18 t`: its size in characters.
    Size,
}

/// Whose colour is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ColorOf {
    Text,
    Background,
    Cursor,
}

/// What ends a text for a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminator {
    /// `BEL`.
    Bell,
    /// `ESC \`.
    String,
}

/// What an answer depends on, at the position of its query in what the program wrote.
#[derive(Clone, Copy, Debug)]
pub struct ScreenFacts<'a> {
    /// The size of the terminal.
    pub size: TerminalSize,
    /// Column and row of the cursor, from 1.
    pub cursor: (u16, u16),
    /// The modes that are switched.
    pub modes: &'a Modes,
}

impl Query {
    /// What a sequence asks, if that is one of the questions that are answered.
    fn of(kind: SequenceKind, bytes: &[u8], body: &[u8]) -> Option<Self> {
        match kind {
            SequenceKind::Escape => (body == b"Z").then_some(Self::Attributes),
            SequenceKind::Control => Self::of_control(body),
            SequenceKind::Command => {
                let terminator = match bytes.last() {
                    Some(0x07) => Terminator::Bell,
                    _ => Terminator::String,
                };
                let of = match body {
                    b"10;?" => ColorOf::Text,
                    b"11;?" => ColorOf::Background,
                    b"12;?" => ColorOf::Cursor,
                    _ => {
                        let number = body.strip_prefix(b"4;")?.strip_suffix(b";?")?;
                        let number = core::str::from_utf8(number).ok()?.parse().ok()?;
                        return Some(Self::NumberedColor { number, terminator });
                    }
                };
                Some(Self::Color { of, terminator })
            }
            SequenceKind::Device if body.starts_with(b"$q") => Some(Self::Setting),
            SequenceKind::Device if body.starts_with(b"+q") => Some(Self::Capability),
            SequenceKind::Device | SequenceKind::Application | SequenceKind::Ignored => None,
        }
    }

    fn of_control(body: &[u8]) -> Option<Self> {
        match body {
            b"5n" => Some(Self::Status),
            b"6n" => Some(Self::Cursor),
            b"?6n" => Some(Self::ExtendedCursor),
            b"c" | b"0c" => Some(Self::Attributes),
            b">c" | b">0c" => Some(Self::SecondaryAttributes),
            b"=c" | b"=0c" => Some(Self::TertiaryAttributes),
            b">q" | b">0q" => Some(Self::Name),
            b"?u" => Some(Self::Keyboard),
            b"18t" => Some(Self::Size),
            _ => {
                let mode = body.strip_suffix(b"$p")?;
                let (number, is_private) = match mode.strip_prefix(b"?") {
                    Some(number) => (number, true),
                    None => (mode, false),
                };
                let number = core::str::from_utf8(number).ok()?.parse().ok()?;
                Some(if is_private { Self::PrivateMode(number) } else { Self::Mode(number) })
            }
        }
    }

    /// What a plain terminal answers: at most 64 bytes.
    pub fn answer(self, facts: &ScreenFacts<'_>) -> Vec<u8> {
        let (column, row) = facts.cursor;
        let answer: String = match self {
            Self::Status => "\x1b[0n".into(),
            Self::Cursor => format!("\x1b[{row};{column}R"),
            Self::ExtendedCursor => format!("\x1b[?{row};{column}R"),
            // A VT220 with colours.
            Self::Attributes => "\x1b[?62;22c".into(),
            Self::SecondaryAttributes => "\x1b[>1;0;0c".into(),
            Self::Name => concat!("\x1bP>|onsembl ", env!("CARGO_PKG_VERSION"), "\x1b\\").into(),
            Self::TertiaryAttributes => "\x1bP!|00000000\x1b\\".into(),
            // A program that gets no answer waits for one.
            Self::Setting => "\x1bP0$r\x1b\\".into(),
            Self::Capability => "\x1bP0+r\x1b\\".into(),
            Self::NumberedColor { number, terminator } => {
                let (red, green, blue) = numbered(number);
                let end = terminator.as_text();
                format!(
                    "\x1b]4;{number};rgb:{red:02x}{red:02x}/{green:02x}{green:02x}/{blue:02x}{blue:02x}{end}"
                )
            }
            Self::Color { of, terminator } => {
                let (number, color) = match of {
                    ColorOf::Text => (10, FOREGROUND),
                    ColorOf::Background => (11, BACKGROUND),
                    ColorOf::Cursor => (12, FOREGROUND),
                };
                format!("\x1b]{number};rgb:{color}{}", terminator.as_text())
            }
            Self::Keyboard => format!("\x1b[?{}u", facts.modes.keyboard_flags()),
            Self::PrivateMode(number) => {
                let is_on = facts.modes.private(number).filter(|_| !NOT_OFFERED.contains(&number));
                format!("\x1b[?{number};{}$y", state(is_on))
            }
            Self::Mode(number) => {
                format!("\x1b[{number};{}$y", state(facts.modes.standard(number)))
            }
            Self::Size => format!("\x1b[8;{};{}t", facts.size.rows(), facts.size.columns()),
        };
        answer.into_bytes()
    }
}

impl Terminator {
    const fn as_text(self) -> &'static str {
        match self {
            Self::Bell => "\x07",
            Self::String => "\x1b\\",
        }
    }
}

/// Red, green and blue of a numbered colour: sixteen, a cube of six by six by six, and 24 shades of grey.
fn numbered(number: u8) -> (u8, u8, u8) {
    if let Some(color) = COLORS.get(usize::from(number)) {
        return *color;
    }
    if number >= 232 {
        let grey = 8 + 10 * (number - 232);
        return (grey, grey, grey);
    }
    let at = number - 16;
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    (level(at / 36), level(at / 6 % 6), level(at % 6))
}

/// As a report of a mode says it.
const fn state(is_on: Option<bool>) -> u8 {
    match is_on {
        None => 0,
        Some(true) => 1,
        Some(false) => 2,
    }
}

/// A query, and where in the piece that was read it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What is asked.
    pub(crate) query: Query,
    /// This many bytes of what was read stand before the answer.
    pub(crate) at: usize,
}

/// Finds the queries in what a program writes, and answers no more than a bound. A
/// [pure machine](crate::step#two-contracts), which holds no more than 4 KiB.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    sequences: Sequences,
    window: Option<Timestamp>,
    answered: u32,
}

/// What was found in a piece of output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// What is to be answered, in order.
    pub(crate) asked: Vec<Asked>,
    /// From here on within this second nothing is answered any more; said once in it.
    pub(crate) exceeded: bool,
}

impl Queries {
    /// Reads on.
    pub(crate) fn read(&mut self, bytes: &[u8], now: Timestamp) -> Found {
        let mut found = Found::default();
        if self.window.is_none_or(|begun| begun.saturating_add(WINDOW) <= now) {
            self.window = Some(now);
            self.answered = 0;
        }
        let carried = self.sequences.pending_len();
        let mut read = 0_usize;
        let answered = &mut self.answered;
        self.sequences.read(bytes, |piece| {
            let (Piece::Plain(bytes)
            | Piece::Broken(bytes)
            | Piece::Rest(bytes)
            | Piece::Long { start: bytes, .. }
            | Piece::Sequence { bytes, .. }) = piece;
            read += bytes.len();
            let Piece::Sequence { kind, bytes, body } = piece else { return };
            let Some(query) = Query::of(kind, bytes, body) else { return };
            *answered = answered.saturating_add(1);
            if *answered > MOST_ANSWERS {
                found.exceeded |= *answered == MOST_ANSWERS + 1;
                return;
            }
            let at = read.saturating_sub(carried);
            found.asked.push(Asked { query, at });
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    fn answers(written: &[u8]) -> Vec<u8> {
        let mut modes = Modes::default();
        modes.read(written);
        let size = TerminalSize::new(120, 40).unwrap();
        let facts = ScreenFacts { size, cursor: (7, 3), modes: &modes };
        let found = Queries::default().read(written, at(0));
        found.asked.iter().flat_map(|asked| asked.query.answer(&facts)).collect()
    }

    #[test]
    fn each_question_has_the_answer_of_a_plain_terminal() {
        for (asked, answer) in [
            (&b"\x1b[5n"[..], &b"\x1b[0n"[..]),
            (b"\x1b[6n", b"\x1b[3;7R"),
            (b"\x1b[?6n", b"\x1b[?3;7R"),
            (b"\x1b[c", b"\x1b[?62;22c"),
            (b"\x1b[0c", b"\x1b[?62;22c"),
            (b"\x1bZ", b"\x1b[?62;22c"),
            (b"\x1b[>c", b"\x1b[>1;0;0c"),
            (
                b"\x1b[>0q",
                concat!("\x1bP>|onsembl ", env!("CARGO_PKG_VERSION"), "\x1b\\").as_bytes(),
            ),
            (b"\x1b]10;?\x07", b"\x1b]10;rgb:d8d8/d8d8/d8d8\x07"),
            (b"\x1b]11;?\x1b\\", b"\x1b]11;rgb:1818/1818/1818\x1b\\"),
            (b"\x1b]12;?\x07", b"\x1b]12;rgb:d8d8/d8d8/d8d8\x07"),
            (b"\x1b]4;1;?\x07", b"\x1b]4;1;rgb:cdcd/0000/0000\x07"),
            (b"\x1b]4;21;?\x1b\\", b"\x1b]4;21;rgb:0000/0000/ffff\x1b\\"),
            (b"\x1b]4;196;?\x1b\\", b"\x1b]4;196;rgb:ffff/0000/0000\x1b\\"),
            (b"\x1b]4;255;?\x07", b"\x1b]4;255;rgb:eeee/eeee/eeee\x07"),
            (b"\x1b]4;256;?\x07\x1b]4;1;red\x07", b""),
            (b"\x1b[=c", b"\x1bP!|00000000\x1b\\"),
            (b"\x1bP$qm\x1b\\", b"\x1bP0$r\x1b\\"),
            (b"\x1bP+q544e\x1b\\", b"\x1bP0+r\x1b\\"),
            (b"\x1b[?u", b"\x1b[?0u"),
            (b"\x1b[>5u\x1b[?u", b"\x1b[?5u"),
            (b"\x1b[>5u\x1b[>1u\x1b[<u\x1b[?u", b"\x1b[?5u"),
            (b"\x1b[?2026$p", b"\x1b[?2026;2$y"),
            (b"\x1b[?2004h\x1b[?2004$p", b"\x1b[?2004;1$y"),
            (b"\x1b[?25$p", b"\x1b[?25;1$y"),
            (b"\x1b[?2048$p", b"\x1b[?2048;0$y"),
            (b"\x1b[?12345$p", b"\x1b[?12345;0$y"),
            (b"\x1b[4$p", b"\x1b[4;2$y"),
            (b"\x1b[18t", b"\x1b[8;40;120t"),
            (b"\x1b[6n\x1b[c", b"\x1b[3;7R\x1b[?62;22c"),
            // What asks nothing, or nothing that is answered.
            (b"6n\x1b[6m\x1b]0;\x1b[?6h\x1b]52;c;?\x07\x1b[?99999999$p\x1b[?1;2$p", b""),
        ] {
            let answered = answers(asked);
            assert_eq!(
                answered.escape_ascii().to_string(),
                answer.escape_ascii().to_string(),
                "{}",
                asked.escape_ascii()
            );
            assert!(answer.len() <= 64);
        }
    }

    #[test]
    fn a_question_stands_where_its_last_byte_stands_however_it_was_cut() {
        let mut queries = Queries::default();
        assert_eq!(queries.read(b"ab\x1b[", at(0)), Found::default());
        let found = queries.read(b"6ncd\x1b[5n", at(0));
        let asked = [(Query::Cursor, 2), (Query::Status, 8)];
        assert_eq!(found.asked, asked.map(|(query, at)| Asked { query, at }));
    }

    #[test]
    fn a_program_that_asks_in_a_loop_is_answered_up_to_a_bound() {
        let mut queries = Queries::default();
        let many = b"\x1b[6n".repeat(1000);
        let found = queries.read(&many, at(0));
        assert_eq!((found.asked.len(), found.exceeded), (256, true));
        let found = queries.read(&many, at(999));
        assert_eq!((found.asked.len(), found.exceeded), (0, false), "said once");
        assert_eq!(queries.read(&many, at(1000)).asked.len(), 256);
    }
}
