//! Which sequences of a program may reach the terminal of somebody who only looks on: those that are listed here, and
//! no others. Each of them draws, or is put back by [`Modes::restoring`].

use super::modes::{self, Modes};
use super::sequences::SequenceKind;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

/// Modes in which a terminal reports by itself: the mouse, focus, colours, its size.
const REPORTING: [u16; 12] = [9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2031, 2048];

/// Of the modes that are only put back those that change how something is drawn.
const DRAWING: [u16; 7] = [41, 45, 80, 1045, 1070, 2027, 8452];

/// To keep the cursor, as a mode.
const KEPT_CURSOR: u16 = 1048;

/// Modes of ECMA-48 that change how something is drawn: inserting, and a carriage return with each line feed.
const STANDARD: [u16; 2] = [4, 20];

/// How keys with modifiers are sent is put back up to this number.
const MOST_KEY_FORMATS: u16 = 7;

/// Modes of one sequence that are put back whatever terminal it is: some read no more.
const AT_ONCE: usize = 16;

/// What is done in place of a reset of the terminal, which would also throw away what scrolled out of it.
const RESET: &[u8] = b"\x1b[!p\x1b[?7h\x1b[H\x1b[2J";

/// What becomes of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Drop,
    /// This is passed on in its place.
    Instead(Vec<u8>),
}

impl Verdict {
    const fn passes(passes: bool) -> Self {
        if passes { Self::Pass } else { Self::Drop }
    }
}

/// What becomes of this one. `modes`: those of the terminal by what was passed on before.
pub(super) fn verdict(kind: SequenceKind, body: &[u8], modes: &Modes) -> Verdict {
    match kind {
        SequenceKind::Control => control(&seen(body), modes),
        SequenceKind::Escape => escape(&seen(body), modes),
        SequenceKind::Command => command(body, modes),
        SequenceKind::Device => Verdict::passes(is_picture(body)),
        SequenceKind::Application | SequenceKind::Ignored => Verdict::Drop,
    }
}

/// A sequence without the control bytes within it, in its usual form: terminals differ in what they make of others.
pub(super) fn usual(kind: SequenceKind, body: &[u8], is_ended_by_bell: bool) -> Vec<u8> {
    let (introducer, body): (&[u8], Vec<u8>) = match kind {
        SequenceKind::Control => return [&b"\x1b["[..], &*seen(body)].concat(),
        SequenceKind::Escape => return [&b"\x1b"[..], &*seen(body)].concat(),
        SequenceKind::Command => (b"\x1b]", words(body)),
        SequenceKind::Device => (b"\x1bP", picture(body).collect()),
        SequenceKind::Application => (b"\x1b_", words(body)),
        SequenceKind::Ignored => (b"\x1bX", words(body)),
    };
    let terminator: &[u8] = if is_ended_by_bell { b"\x07" } else { b"\x1b\\" };
    [introducer, &*body, terminator].concat()
}

/// What of the data of a picture is passed on.
pub(super) fn picture(data: &[u8]) -> impl Iterator<Item = u8> {
    data.iter().copied().filter(|byte| matches!(byte, b'\r' | b'\n' | 0x20..=0x7e))
}

/// Sixel pictures: numbers, and a `q`.
pub(super) fn is_picture(body: &[u8]) -> bool {
    let behind = body.iter().find(|byte| !matches!(byte, b'0'..=b'9' | b';'));
    behind == Some(&b'q')
}

/// A control byte that draws. Others answer, are ignored, or cut sequences.
pub(super) const fn draws(byte: u8) -> bool {
    matches!(byte, 0x07..=0x0f)
}

/// The sequence itself, without the control bytes within it, which act by themselves.
fn seen(body: &[u8]) -> Vec<u8> {
    body.iter().copied().filter(|byte| (0x20..0x7f).contains(byte)).collect()
}

/// A text without control characters.
fn words(text: &[u8]) -> Vec<u8> {
    let mut words: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0..=0x1f | 0x7f => {}
            // The controls from U+0080 to U+009F.
            0x80..=0x9f if words.last() == Some(&0xc2) => {
                let _ = words.pop();
            }
            other => words.push(*other),
        }
    }
    words
}

fn escape(seen: &[u8], modes: &Modes) -> Verdict {
    match seen {
        b"c" => Verdict::Instead([&*modes.restoring(), RESET].concat()),
        // The cursor, lines, a tab stop, the keypad, columns.
        [b'7' | b'8' | b'D' | b'E' | b'M' | b'H' | b'=' | b'>' | b'6' | b'9'] => Verdict::Pass,
        // Character sets, and which of them is used.
        [b'n' | b'o'] | [b'(' | b')' | b'*' | b'+', 0x30..=0x7e] => Verdict::Pass,
        // The size of the characters of a line, a test picture.
        [b'#', b'3'..=b'6' | b'8'] => Verdict::Pass,
        _ => Verdict::Drop,
    }
}

fn command(body: &[u8], modes: &Modes) -> Verdict {
    let mut parts = body.split(|byte| *byte == b';');
    let Some(number) = whole_number(parts.next().unwrap_or_default()) else {
        return Verdict::Drop;
    };
    match number {
        // The title.
        0..=2 if modes.has_title() => Verdict::Pass,
        0..=2 => Verdict::Instead(
            [Modes::KEEP_TITLE, &*usual(SequenceKind::Command, body, true)].concat(),
        ),
        // Colours, unless it asks for one.
        4 | 5 | 10..=19 => Verdict::passes(!parts.any(|part| part.starts_with(b"?"))),
        104 | 105 | 110..=119 => Verdict::Pass,
        // A link, a text of another size.
        8 | 66 => Verdict::Pass,
        _ => Verdict::Drop,
    }
}

fn control(seen: &[u8], modes: &Modes) -> Verdict {
    let Some((last, body)) = seen.split_last() else { return Verdict::Drop };
    let mark = body.first().copied().filter(|byte| (0x3c..=0x3f).contains(byte)).unwrap_or(0);
    let numbers = body.strip_prefix(&[mark]).unwrap_or(body);
    let at = numbers.iter().position(|byte| (0x20..=0x2f).contains(byte));
    let (numbers, between) = numbers.split_at(at.unwrap_or(numbers.len()));
    let is_usual = numbers.iter().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'));
    if !is_usual {
        return Verdict::Drop;
    }
    let first = number(numbers);
    let passes = match (mark, between, *last) {
        // All of it, and what scrolled out: that is not the program's.
        (0 | b'?', [], b'J') => first != 3,
        // The cursor, what is erased, inserted and scrolled.
        (0, [], b'@'..=b'M' | b'P' | b'S' | b'T' | b'X' | b'Z') => true,
        (0, [], b'`' | b'a' | b'b' | b'd' | b'e' | b'f' | b'j' | b'k' | b's' | b'u') => true,
        // Tab stops, colours, margins.
        (0, [], b'g' | b'W' | b'm' | b'r') | (b'?', [], b'K' | b'W') => true,
        (0, [], b't') => first == 22 || first == 23 && modes.has_title(),
        (0, [], b'h' | b'l') => {
            return numbers_of("", numbers, *last, |number| STANDARD.contains(&number));
        }
        (b'?', [], b'h' | b'l' | b's' | b'r') => {
            return numbers_of("?", numbers, *last, draws_mode);
        }
        // Columns, the shape of the cursor, a soft reset, protection.
        (0, b" ", b'@' | b'A' | b'q') | (0, b"!", b'p') | (0, b"\"", b'q') => true,
        (0, b"'", b'}' | b'~') => true,
        // Colours on a stack of their own, rectangles.
        (0, b"#", b'p' | b'q' | b'{' | b'}') => true,
        (0, b"$", b'r' | b't' | b'v' | b'x' | b'z' | b'{') => true,
        // How keys are sent, for those who have the keyboard.
        (b'>', [], b'm' | b'f' | b'n') => first <= MOST_KEY_FORMATS,
        (b'>' | b'=', [], b'u') => true,
        (b'<', [], b'u') => return levels_of(first.max(1), modes.keyboard_levels()),
        _ => false,
    };
    // Colours are put back in any case.
    let is_read = (mark, *last) == (0, b'm') || separators(numbers) < AT_ONCE;
    Verdict::passes(passes && is_read)
}

fn separators(numbers: &[u8]) -> usize {
    numbers.iter().filter(|byte| !byte.is_ascii_digit()).count()
}

/// Whether a private mode changes how something is drawn or how keys are sent, and is put back.
fn draws_mode(number: u16) -> bool {
    let is_known = modes::is_known(number) && !REPORTING.contains(&number);
    is_known || DRAWING.contains(&number) || number == KEPT_CURSOR
}

/// A sequence of modes with those of its numbers that may pass; nothing if none does.
fn numbers_of(mark: &str, numbers: &[u8], last: u8, may_pass: impl Fn(u16) -> bool) -> Verdict {
    let all: Vec<u16> = numbers.split(|byte| matches!(byte, b';' | b':')).map(number).collect();
    let kept: Vec<_> = all.iter().filter(|number| may_pass(**number)).map(u16::to_string).collect();
    if !kept.is_empty() && kept.len() == all.len() && kept.len() <= AT_ONCE {
        return Verdict::Pass;
    }
    let sequences = kept.chunks(AT_ONCE).map(|kept| {
        let last = char::from(last);
        format!("\x1b[{mark}{}{last}", kept.join(";"))
    });
    let sequences: Vec<_> = sequences.collect();
    match sequences.is_empty() {
        true => Verdict::Drop,
        false => Verdict::Instead(sequences.concat().into_bytes()),
    }
}

/// Levels of the enhanced keyboard that are taken away: not more than the program added, since others are those of
/// whoever looks on.
fn levels_of(wanted: u16, added: u16) -> Verdict {
    match (added, wanted <= added) {
        (0, _) => Verdict::Drop,
        (_, true) => Verdict::Pass,
        (_, false) => Verdict::Instead(format!("\x1b[<{added}u").into_bytes()),
    }
}

/// The number that this is; `None` if it is none, or too large.
fn whole_number(text: &[u8]) -> Option<u16> {
    let is_number = text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// The number that stands first, as terminals read it; 0 if none does.
fn number(text: &[u8]) -> u16 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u16, |number, digit| {
        number.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
    })
}
