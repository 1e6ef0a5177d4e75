//! What a program has switched on in its terminal, read from what it writes: whether it takes pasted
//! text as one piece, how its cursor keys are sent, and what must be switched off when it has ended.

use super::beyond::{self, Beyond, CommandText};
use super::switched::{Charsets, Keyboard, Margins};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

/// Cursor keys are sent as `ESC O` instead of `ESC [`.
const APPLICATION_CURSOR: u16 = 1;
/// Positions are counted from the margins. To switch it off moves the cursor to the corner.
const ORIGIN: u16 = 6;
/// Off, the terminal is a VT52.
const VT52: u16 = 2;
/// Bracketed paste: pasted text comes in brackets.
const BRACKETED_PASTE: u16 = 2004;
/// The other screen, in three ways.
const OTHER_SCREEN: [u16; 3] = [47, 1047, 1049];

/// Private modes that a model of the screen knows itself.
const OF_THE_SCREEN: [u16; 7] = [APPLICATION_CURSOR, ORIGIN, 7, 25, 47, 1047, 1049];
/// The same of [`STANDARD`].
const STANDARD_OF_THE_SCREEN: [u16; 2] = [4, 20];

/// Private modes that programs switch and a user would miss, and whether each is on by default (XTerm
/// Control Sequences, "DEC Private Mode Set"). The other screen is left last: what is switched for it
/// is switched back there.
const KNOWN: [(u16, bool); 26] = [
    (APPLICATION_CURSOR, false),
    (5, false), // all colours are reversed
    (7, true),  // lines wrap
    (9, false), // the mouse, in six ways
    (1000, false),
    (1001, false),
    (1002, false),
    (1003, false),
    (1004, false), // focus is reported
    (12, false),   // the cursor blinks
    (25, true),    // the cursor is shown
    (66, false),   // the numeric keypad sends sequences of its own
    (69, false),   // there are margins at the sides
    (1005, false), // how the mouse is reported, in four ways
    (1006, false),
    (1015, false),
    (1016, false),
    (1007, false), // the wheel sends cursor keys
    (BRACKETED_PASTE, false),
    (2026, false), // drawing is deferred
    (2031, false), // a change between dark and light is reported
    (2048, false), // a change of the size is reported
    (ORIGIN, false),
    (47, false),
    (1047, false),
    (1049, false),
];

/// The modes of ECMA-48 that would be missed: a locked keyboard, inserting, local echo (on means none),
/// a carriage return with each line feed.
const STANDARD: [(u16, bool); 4] = [(2, false), (4, false), (12, true), (20, false)];

/// How keys with modifiers are sent, `CSI > n ; value m` and `CSI > n ; value f`, by this number (XTerm
/// Control Sequences, XTMODKEYS and XTFMTKEYS).
const MOST_KEY_FORMATS: u16 = 7;

/// Numbers of one sequence that are read; no program sends more.
const MOST_NUMBERS: usize = 16;

/// The modes of one terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Known modes that are not at their default.
    changed: BTreeSet<u16>,
    /// The same of [`STANDARD`].
    standard: BTreeSet<u16>,
    /// Which formats of keys are set and to what, by the letter that sets them; `None`: switched off by `n`.
    key_formats: BTreeMap<(u8, u16), Option<u16>>,
    /// The numeric keypad sends sequences of its own.
    keypad: bool,
    /// The shape of the cursor; 0 is the terminal's own.
    cursor_shape: u16,
    margins: Margins,
    charsets: Charsets,
    /// The enhanced keyboard of each screen: the usual one, and the other.
    keyboards: [Keyboard; 2],
    /// Private modes that were kept to be restored later, and whether each was changed.
    kept: BTreeMap<u16, bool>,
    beyond: Beyond,
    scan: Scan,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Scan {
    #[default]
    Ground,
    Escape,
    /// Behind `ESC` and a byte that one more follows.
    EscapeWith(u8),
    /// In a text that matters to no mode. It ends with `ESC`, `BEL`, `CAN` or `SUB`.
    Text,
    /// In a text for the terminal itself, such as a title. It ends with the same.
    Command(CommandText),
    /// Behind `ESC [`.
    Control {
        /// `?`, `<`, `>`, `=` or nothing.
        mark: u8,
        numbers: Vec<u16>,
        /// A space, `!` or the like in front of the last byte, or nothing.
        intermediate: u8,
    },
}

impl Modes {
    /// Puts the title of a terminal on its stack of titles, from which [`restoring`](Self::restoring) takes it if this was
    /// [read](Self::read) too. Terminals without such a stack ignore both.
    pub const KEEP_TITLE: &[u8] = b"\x1b[22;0t";

    /// Reads what the program wrote; sequences may be cut anywhere.
    pub fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.scan = match (core::mem::take(&mut self.scan), *byte) {
                // Whether a text counts that is followed by anything else than its end depends on the terminal.
                (Scan::Command(text), 0x1b) => {
                    self.beyond.on_command(text);
                    Scan::Escape
                }
                (Scan::Command(text), 0x07) => {
                    self.beyond.on_command(text);
                    Scan::Ground
                }
                (Scan::Command(_), 0x18 | 0x1a) => Scan::Ground,
                (Scan::Command(text), byte) => Scan::Command(text.read(byte)),
                (_, 0x1b) => Scan::Escape,
                (Scan::Ground, shift @ (0x0e | 0x0f)) => {
                    self.charsets.shift(shift == 0x0e);
                    Scan::Ground
                }
                (Scan::Ground, _) | (Scan::Text, 0x07 | 0x18 | 0x1a) => Scan::Ground,
                (Scan::Text, _) => Scan::Text,
                (Scan::Escape, b'[') => {
                    Scan::Control { mark: 0, numbers: Vec::new(), intermediate: 0 }
                }
                (Scan::Escape, b']') => Scan::Command(CommandText::default()),
                (Scan::Escape, b'P' | b'X' | b'^' | b'_') => Scan::Text,
                (Scan::Escape, byte @ 0x20..=0x2f) => Scan::EscapeWith(byte),
                (Scan::Escape, last) => {
                    self.escape(last);
                    Scan::Ground
                }
                (Scan::EscapeWith(slot), last) => {
                    self.charsets.designate(slot, last);
                    self.beyond.on_escape_with(slot, last);
                    Scan::Ground
                }
                (Scan::Control { mark, numbers, intermediate }, byte) => {
                    self.control(mark, numbers, intermediate, byte)
                }
            };
        }
    }

    fn escape(&mut self, last: u8) {
        self.beyond.on_escape(last);
        match last {
            b'c' => {
                let beyond = core::mem::take(&mut self.beyond);
                *self = Self { beyond, ..Self::default() };
            }
            b'=' => self.keypad = true,
            b'>' => self.keypad = false,
            b'n' | b'o' => self.charsets.shift(true),
            _ => {}
        }
    }

    fn control(&mut self, mark: u8, mut numbers: Vec<u16>, intermediate: u8, byte: u8) -> Scan {
        match byte {
            b'?' | b'<' | b'>' | b'=' if mark == 0 && numbers.is_empty() && intermediate == 0 => {
                Scan::Control { mark: byte, numbers, intermediate }
            }
            b'0'..=b'9' => {
                if numbers.is_empty() {
                    numbers.push(0);
                }
                if let Some(last) = numbers.last_mut() {
                    *last = last.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
                Scan::Control { mark, numbers, intermediate }
            }
            b';' | b':' if numbers.len() < MOST_NUMBERS => {
                if numbers.is_empty() {
                    numbers.push(0);
                }
                numbers.push(0);
                Scan::Control { mark, numbers, intermediate }
            }
            b';' | b':' => Scan::Ground,
            intermediate @ 0x20..=0x2f => Scan::Control { mark, numbers, intermediate },
            // A control within a sequence acts, and the sequence continues.
            0..=0x17 | 0x19 | 0x1c..=0x1f => Scan::Control { mark, numbers, intermediate },
            last => {
                self.apply(mark, &numbers, intermediate, last);
                Scan::Ground
            }
        }
    }

    fn apply(&mut self, mark: u8, numbers: &[u16], intermediate: u8, last: u8) {
        let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
        match (mark, intermediate, last) {
            (b'?', 0, b'h' | b'l') => {
                for number in numbers {
                    // However it was switched, there is one other screen.
                    if OTHER_SCREEN.contains(number) {
                        self.changed.retain(|other| !OTHER_SCREEN.contains(other));
                    }
                    set(&mut self.changed, &KNOWN, *number, last == b'h');
                    set(&mut self.changed, &beyond::PRIVATE, *number, last == b'h');
                    if (*number, last) == (VT52, b'l') {
                        self.beyond.on_vt52();
                    }
                }
            }
            (b'?', 0, b's') => {
                for number in numbers.iter().filter(|number| is_tracked(**number)) {
                    self.kept.insert(*number, self.changed.contains(number));
                }
            }
            (b'?', 0, b'r') => {
                for number in numbers {
                    match self.kept.get(number) {
                        Some(true) => self.changed.insert(*number),
                        Some(false) => self.changed.remove(number),
                        None => false,
                    };
                }
            }
            (0, 0, b'h' | b'l') => {
                for number in numbers {
                    set(&mut self.standard, &STANDARD, *number, last == b'h');
                }
            }
            (0, 0, b'r') => self.margins.set(number(0), number(1)),
            (0, b' ', b'q') => self.cursor_shape = number(0),
            (b'>', 0, b'm' | b'f' | b'n') if number(0) <= MOST_KEY_FORMATS => {
                let is_reset = numbers.len() < 2 && last != b'n';
                // `n` switches off what `m` sets, and that is no default either.
                let format = (if last == b'f' { b'f' } else { b'm' }, number(0));
                let value = (last != b'n').then(|| number(1));
                match is_reset {
                    true => self.key_formats.remove(&format),
                    false => self.key_formats.insert(format, value),
                };
            }
            (b'>', 0, b'u') => self.keyboard().push(number(0)),
            (b'<', 0, b'u') => self.keyboard().pop(number(0).max(1)),
            (b'=', 0, b'u') => self.keyboard().set(number(0), number(1)),
            _ => self.beyond.on_control(mark, numbers, intermediate, last),
        }
    }

    /// The enhanced keyboard of the screen that is shown.
    fn keyboard(&mut self) -> &mut Keyboard {
        let is_other = self.is_other_screen();
        let [usual, other] = &mut self.keyboards;
        if is_other { other } else { usual }
    }

    /// Whether the program takes pasted text as one piece, line ends and all.
    pub(crate) fn takes_pastes(&self) -> bool {
        self.changed.contains(&BRACKETED_PASTE)
    }

    /// Whether cursor keys are to be sent in the form of applications.
    pub(crate) fn has_application_cursor(&self) -> bool {
        self.changed.contains(&APPLICATION_CURSOR)
    }

    /// Whether the keys of the numeric keypad are told from the others.
    pub(crate) const fn has_application_keypad(&self) -> bool {
        self.keypad
    }

    /// Whether the program put a title on the stack of titles that it did not take from it.
    pub(super) const fn has_title(&self) -> bool {
        self.beyond.has_title()
    }

    /// How many levels of the enhanced keyboard the program may take away on this screen: those that it added.
    pub(super) fn keyboard_levels(&self) -> u16 {
        let [usual, other] = self.keyboards;
        if self.is_other_screen() { other.levels() } else { usual.levels() }
    }

    /// Whether what is printed shifts what stands behind it.
    pub fn inserts(&self) -> bool {
        self.standard(4) == Some(true)
    }

    /// What is known of a private mode: `None` if it is none of those that are tracked.
    pub(super) fn private(&self, number: u16) -> Option<bool> {
        let (_, by_default) = KNOWN.iter().find(|(known, _)| *known == number)?;
        Some(self.changed.contains(&number) != *by_default)
    }

    /// The same of a mode of ECMA-48.
    pub(super) fn standard(&self, number: u16) -> Option<bool> {
        let (_, by_default) = STANDARD.iter().find(|(known, _)| *known == number)?;
        Some(self.standard.contains(&number) != *by_default)
    }

    /// The flags of the enhanced keyboard on the screen that is shown.
    pub(super) fn keyboard_flags(&self) -> u16 {
        let [usual, other] = self.keyboards;
        if self.is_other_screen() { other.flags() } else { usual.flags() }
    }

    fn is_other_screen(&self) -> bool {
        OTHER_SCREEN.iter().any(|screen| self.changed.contains(screen))
    }

    /// What to write to a fresh terminal whose screen is built behind it, so that it has these modes too: all but
    /// those that belong to the screen itself, which are the cursor's, the margins, the character sets, and which
    /// screen is shown.
    pub fn setting(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, by_default) in KNOWN {
            if self.changed.contains(&number) && !OF_THE_SCREEN.contains(&number) {
                let word = if by_default { 'l' } else { 'h' };
                bytes.extend_from_slice(format!("\x1b[?{number}{word}").as_bytes());
            }
        }
        for (number, by_default) in STANDARD {
            if self.standard.contains(&number) && !STANDARD_OF_THE_SCREEN.contains(&number) {
                let word = if by_default { 'l' } else { 'h' };
                bytes.extend_from_slice(format!("\x1b[{number}{word}").as_bytes());
            }
        }
        for ((letter, number), value) in &self.key_formats {
            let sequence = match value {
                Some(value) => format!("\x1b[>{number};{value}{}", char::from(*letter)),
                None => format!("\x1b[>{number}n"),
            };
            bytes.extend_from_slice(sequence.as_bytes());
        }
        if self.keypad {
            bytes.extend_from_slice(b"\x1b=");
        }
        if self.cursor_shape != 0 {
            bytes.extend_from_slice(format!("\x1b[{} q", self.cursor_shape).as_bytes());
        }
        let [usual, other] = self.keyboards;
        usual.setting(&mut bytes);
        if other != Keyboard::default() {
            bytes.extend_from_slice(b"\x1b[?1047h");
            other.setting(&mut bytes);
            bytes.extend_from_slice(b"\x1b[?1047l");
        }
        bytes
    }

    /// What to write to a terminal, so that nothing is left of what the program switched.
    pub fn restoring(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.beyond.restore_reading(&mut bytes);
        let [usual, other] = &self.keyboards;
        let is_other = self.is_other_screen();
        if is_other {
            other.restore(&mut bytes);
        }
        for (number, on) in beyond::PRIVATE {
            if self.changed.contains(&number) {
                let word = if on { 'h' } else { 'l' };
                bytes.extend_from_slice(format!("\x1b[?{number}{word}").as_bytes());
            }
        }
        for (number, on) in KNOWN {
            if self.changed.contains(&number) {
                let word = if on { 'h' } else { 'l' };
                bytes.extend_from_slice(format!("\x1b[?{number}{word}").as_bytes());
            }
        }
        if self.changed.contains(&ORIGIN) && !is_other {
            // The cursor is in the corner now; what is written there would cover what stands there.
            bytes.extend_from_slice(b"\x1b[999;1H");
        }
        for (number, on) in STANDARD {
            if self.standard.contains(&number) {
                let word = if on { 'h' } else { 'l' };
                bytes.extend_from_slice(format!("\x1b[{number}{word}").as_bytes());
            }
        }
        for (letter, number) in self.key_formats.keys() {
            bytes.extend_from_slice(format!("\x1b[>{number}{}", char::from(*letter)).as_bytes());
        }
        self.margins.restore(&mut bytes);
        self.charsets.restore(&mut bytes);
        if self.keypad {
            bytes.extend_from_slice(b"\x1b>");
        }
        if self.cursor_shape != 0 {
            bytes.extend_from_slice(b"\x1b[0 q");
        }
        usual.restore(&mut bytes);
        self.beyond.restore(&mut bytes);
        // Colours and the like are switched in too many ways to be tracked.
        bytes.extend_from_slice(b"\x1b[0m");
        bytes
    }
}

/// Whether this is a private mode that programs switch and a user would miss.
pub(super) fn is_known(number: u16) -> bool {
    KNOWN.iter().any(|(known, _)| *known == number)
}

/// Whether it is known how this private mode is put back.
fn is_tracked(number: u16) -> bool {
    is_known(number) || beyond::PRIVATE.iter().any(|(known, _)| *known == number)
}

fn set(changed: &mut BTreeSet<u16>, known: &[(u16, bool)], number: u16, on: bool) {
    let Some((_, by_default)) = known.iter().find(|(known, _)| *known == number) else { return };
    if on == *by_default {
        changed.remove(&number);
    } else {
        changed.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn after(bytes: &[u8]) -> Modes {
        let mut modes = Modes::default();
        modes.read(bytes);
        modes
    }

    #[test]
    fn pastes_and_cursor_keys_follow_what_the_program_switches() {
        assert!(!after(b"").takes_pastes());
        assert!(after(b"\x1b[?2004h$ ").takes_pastes());
        assert!(!after(b"\x1b[?2004h$ \x1b[?2004l").takes_pastes());
        assert!(after(b"\x1b[?1;2004h").takes_pastes());
        assert!(after(b"\x1b[?1;2004h").has_application_cursor());
        // A reset of the terminal, and a soft text that looks alike.
        assert!(!after(b"\x1b[?2004h\x1bc").takes_pastes());
        assert!(!after(b"[?2004h").takes_pastes());
        assert!(!after(b"\x1b[2004h").takes_pastes());
    }

    #[test]
    fn what_was_switched_is_switched_back_and_nothing_else() {
        assert_eq!(after(b"hello").restoring(), b"\x1b[0m");
        let modes = after(b"\x1b[?1049h\x1b[?25l\x1b[?1000;1006h\x1b=\x1b[>1u");
        let back = b"\x1b[<1u\x1b[?1000l\x1b[?25h\x1b[?1006l\x1b[?1049l\x1b>\x1b[0m";
        assert_eq!(modes.restoring(), back);
    }

    /// What real programs leave when they are killed: each alone, and what undoes it.
    #[test]
    fn each_thing_that_a_killed_program_leaves_is_undone() {
        for (left, undone) in [
            (&b"\x1b[>4;2m"[..], &b"\x1b[>4m"[..]),
            (b"\x1b[>1;3m", b"\x1b[>1m"),
            (b"\x1b[>4;1f", b"\x1b[>4f"),
            (b"\x1b[>4n", b"\x1b[>4m"),
            (b"\x1b[=5u", b"\x1b[=0u"),
            (b"\x1b[=1;2u\x1b[=4;2u", b"\x1b[=0u"),
            (b"\x1b[>7u\x1b[>1u", b"\x1b[<2u"),
            (b"\x1b[?1007h", b"\x1b[?1007l"),
            (b"\x1b[?1016h", b"\x1b[?1016l"),
            (b"\x1b[?2031h", b"\x1b[?2031l"),
            (b"\x1b[?2048h", b"\x1b[?2048l"),
            (b"\x1b[?9h", b"\x1b[?9l"),
            (b"\x1b[?5h", b"\x1b[?5l"),
            (b"\x1b[?6h", b"\x1b[?6l\x1b[999;1H"),
            (b"\x1b[?69h", b"\x1b[?69l"),
            (b"\x1b[4h", b"\x1b[4l"),
            (b"\x1b[20h", b"\x1b[20l"),
            (b"\x1b[12l", b"\x1b[12h"),
            (b"\x1b[5;20r", b"\x1b7\x1b[r\x1b8"),
            (b"\x1b(0", b"\x1b(B"),
            (b"\x1b)0\x0e", b"\x0f\x1b)B"),
            (b"\x1b[6 q", b"\x1b[0 q"),
            (b"\x1b%@", b"\x1b%G"),
            (b"\x1b G", b"\x1b F"),
            (b"\x1b[?2l", b"\x1b<"),
            (b"\x1b]4;1;red\x07", b"\x1b]104\x1b\\"),
            (b"\x1b]4;1;?;2;red\x07", b"\x1b]104\x1b\\"),
            (b"\x1b]5;0;red\x1b\\", b"\x1b]105\x1b\\"),
            (b"\x1b]10;red\x07", b"\x1b]110\x1b\\"),
            (b"\x1b]10;?;#000\x07", b"\x1b]111\x1b\\"),
            (b"\x1b]11;red;blue\x07", b"\x1b]111\x1b\\\x1b]112\x1b\\"),
            (b"\x1b]8;id=1;https://example.org/;x\x1b\\text", b"\x1b]8;;\x1b\\"),
            (b"\x1b]22;text\x07", b"\x1b]22;\x1b\\"),
            (b"\x1b[>1p", b"\x1b[>p"),
            (b"\x1b[?67h", b"\x1b[?67l"),
            (b"\x1b[?45h", b"\x1b[?45l"),
            (b"\x1b[?3h", b"\x1b[?3l"),
            (b"\x1b[?8l", b"\x1b[?8h"),
            (b"\x1b[?9001h", b"\x1b[?9001l"),
            (b"\x1b[?2027h", b"\x1b[?2027l"),
            (b"\x1b[1\"q", b"\x1b[0\"q"),
            (b"\x1b[1q", b"\x1b[0q"),
            (b"\x1b[22;0t\x1b]0;title\x07", b"\x1b[23;0t"),
            (b"\x1b[?25l\x1b[?25s\x1b[?25h\x1b[?25r", b"\x1b[?25h"),
        ] {
            let expected = [undone, b"\x1b[0m"].concat();
            assert_eq!(after(left).restoring(), expected, "{}", left.escape_ascii());
        }
        // What the program undid itself, what only looks alike, and what is in a title.
        for whole in [
            &b"\x1b[>4;2m\x1b[>4m"[..],
            b"\x1b[=5u\x1b[=0u",
            b"\x1b[=5u\x1b[=5;3u",
            b"\x1b[5;20r\x1b[r",
            b"\x1b(0\x1b(B",
            b"\x0e\x0f",
            b"\x1b[6 q\x1b[ q",
            b"\x1b[6q",
            b"\x1b[!p",
            b"\x1b#8",
            b"\x1b]0;\x0e\x07",
            b"\x1b[>4;2m\x1b[=5u\x1b(0\x1b[2;3r\x1bc",
            b"\x1b]10;?\x07\x1b]4;1;?\x1b\\\x1b]11;\x07",
            b"\x1b]10;red\x07\x1b]110\x07",
            b"\x1b]4;1;red\x07\x1b]104\x07",
            b"\x1b]8;;https://example.org\x07text\x1b]8;;\x07",
            b"\x1b]8;id=1;\x07",
            b"\x1b]l10;red\x07\x1b]266;red\x07\x1b]10;red\x18",
            b"\x1b[3g\x1b[?5W",
            b"\x1b[22;0t\x1b[23;0t\x1b[23t",
            b"\x1b%@\x1b%G\x1b G\x1b F",
        ] {
            assert_eq!(after(whole).restoring(), b"\x1b[0m", "{}", whole.escape_ascii());
        }
    }

    #[test]
    fn tab_stops_are_set_again_in_each_eighth_column() {
        for left in [&b"\x1b[3g"[..], b"\x1bH", b"\x1b[5W"] {
            let restored = after(left).restoring();
            let begins = b"\x1b7\x1b[3g\x1b[9G\x1bH\x1b[17G\x1bH";
            assert!(restored.starts_with(begins), "{}", restored.escape_ascii());
            assert!(restored.ends_with(b"\x1b[?5W\x1b8\x1b[0m"), "{}", restored.escape_ascii());
        }
    }

    #[test]
    fn each_screen_has_a_keyboard_of_its_own() {
        let modes = after(b"\x1b[>1u\x1b[?1049h\x1b[>7u\x1b[>7u");
        assert_eq!(modes.restoring(), b"\x1b[<2u\x1b[?1049l\x1b[<1u\x1b[0m");
        // What was switched on for the other screen does not matter on the usual one.
        let modes = after(b"\x1b[?1049h\x1b[>7u\x1b[?1049l");
        assert_eq!(modes.restoring(), b"\x1b[0m");
    }

    proptest! {
        #[test]
        fn cuts_change_nothing_and_memory_is_bounded(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just(b"\x1b[?2004h".to_vec()),
                    Just(b"\x1b[?1049;25l".to_vec()),
                    Just(b"\x1b[?1049h".to_vec()),
                    Just(b"\x1b[>1u".to_vec()),
                    Just(b"\x1b[=3;2u".to_vec()),
                    Just(b"\x1b[>4;2m".to_vec()),
                    Just(b"\x1b[2;9r\x1b(0\x0e".to_vec()),
                    Just(b"\x1b[4h\x1b[3 q".to_vec()),
                    Just(b"\x1b]10;red;?;blue\x1b\\\x1b]8;;x\x07".to_vec()),
                    Just(b"\x1b[22t\x1b[3g\x1b%@\x1b G".to_vec()),
                    Just(b"\x1b[?9001;67h\x1b[?2027s\x1b[?25;2027r".to_vec()),
                    Just(b"\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18".to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..8),
                ],
                0..20,
            ),
            cut in 0_usize..200,
        ) {
            let whole: Vec<u8> = pieces.concat();
            let (first, second) = whole.split_at(cut.min(whole.len()));
            let mut modes = after(first);
            modes.read(second);
            prop_assert_eq!(&modes, &after(&whole));
            prop_assert!(modes.changed.len() <= KNOWN.len() + beyond::PRIVATE.len());
            prop_assert!(modes.kept.len() <= KNOWN.len() + beyond::PRIVATE.len());
            prop_assert!(modes.key_formats.len() <= 2 * (1 + usize::from(MOST_KEY_FORMATS)));
            if let Scan::Control { numbers, .. } = &modes.scan {
                prop_assert!(numbers.len() <= MOST_NUMBERS + 1);
            }
            let mut restored = modes.clone();
            restored.scan = Scan::Ground;
            restored.read(&modes.restoring());
            prop_assert_eq!(restored.restoring(), b"\x1b[0m");
        }
    }
}
