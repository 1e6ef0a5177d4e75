//! What a program has switched on in its terminal, read from what it writes: whether it takes pasted
//! text as one piece, how its cursor keys are sent, and what must be switched off when it has ended.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

/// Cursor keys are sent as `ESC O` instead of `ESC [`.
const APPLICATION_CURSOR: u16 = 1;
/// Pasted text comes in brackets.
const BRACKETED_PASTE: u16 = 2004;

/// Private modes that programs switch and a user would miss, and whether each is on by default (XTerm
/// Control Sequences, "DEC Private Mode Set").
const KNOWN: [(u16, bool); 15] = [
    (APPLICATION_CURSOR, false),
    (7, true),     // lines wrap
    (25, true),    // the cursor is shown
    (47, false),   // the other screen, in three ways
    (1000, false), // the mouse, in four ways
    (1002, false),
    (1003, false),
    (1004, false), // focus is reported
    (1005, false), // how the mouse is reported, in three ways
    (1006, false),
    (1015, false),
    (1047, false),
    (1049, false),
    (BRACKETED_PASTE, false),
    (2026, false), // drawing is held back
];

/// Numbers of one sequence that are read; no program sends more.
const MOST_NUMBERS: usize = 16;
/// Levels of the enhanced keyboard that are counted.
const MOST_LEVELS: u8 = 16;

/// The modes of one terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Known modes that are not at their default.
    changed: BTreeSet<u16>,
    /// The numeric keypad sends sequences of its own.
    keypad: bool,
    /// How often the enhanced keyboard was switched on and not off.
    keyboard: u8,
    scan: Scan,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Scan {
    #[default]
    Ground,
    Escape,
    /// Behind `ESC [`.
    Control {
        /// `?`, `<`, `>` or nothing.
        mark: u8,
        numbers: Vec<u16>,
    },
}

impl Modes {
    /// Reads what the program wrote; sequences may be cut anywhere.
    pub fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.scan = match (core::mem::take(&mut self.scan), *byte) {
                (_, 0x1b) => Scan::Escape,
                (Scan::Ground, _) => Scan::Ground,
                (Scan::Escape, b'[') => Scan::Control { mark: 0, numbers: Vec::new() },
                (Scan::Escape, last) => {
                    self.escape(last);
                    Scan::Ground
                }
                (Scan::Control { mark, numbers }, byte) => self.control(mark, numbers, byte),
            };
        }
    }

    fn escape(&mut self, last: u8) {
        match last {
            b'c' => *self = Self::default(),
            b'=' => self.keypad = true,
            b'>' => self.keypad = false,
            _ => {}
        }
    }

    fn control(&mut self, mark: u8, mut numbers: Vec<u16>, byte: u8) -> Scan {
        match byte {
            b'?' | b'<' | b'>' | b'=' if mark == 0 && numbers.is_empty() => {
                Scan::Control { mark: byte, numbers }
            }
            b'0'..=b'9' => {
                if numbers.is_empty() {
                    numbers.push(0);
                }
                if let Some(last) = numbers.last_mut() {
                    *last = last.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
                Scan::Control { mark, numbers }
            }
            b';' | b':' if numbers.len() < MOST_NUMBERS => {
                if numbers.is_empty() {
                    numbers.push(0);
                }
                numbers.push(0);
                Scan::Control { mark, numbers }
            }
            b';' | b':' => Scan::Ground,
            // A control within a sequence acts, and the sequence continues.
            0..=0x17 | 0x19 | 0x1c..=0x2f => Scan::Control { mark, numbers },
            last => {
                self.apply(mark, &numbers, last);
                Scan::Ground
            }
        }
    }

    fn apply(&mut self, mark: u8, numbers: &[u16], last: u8) {
        match (mark, last) {
            (b'?', b'h' | b'l') => {
                for number in numbers {
                    self.set(*number, last == b'h');
                }
            }
            (b'>', b'u') => self.keyboard = (self.keyboard + 1).min(MOST_LEVELS),
            (b'<', b'u') => {
                let levels = numbers.first().map_or(1, |n| u8::try_from(*n).unwrap_or(u8::MAX));
                self.keyboard = self.keyboard.saturating_sub(levels.max(1));
            }
            _ => {}
        }
    }

    fn set(&mut self, number: u16, on: bool) {
        let Some((_, by_default)) = KNOWN.iter().find(|(known, _)| *known == number) else {
            return;
        };
        if on == *by_default {
            self.changed.remove(&number);
        } else {
            self.changed.insert(number);
        }
    }

    /// Whether the program takes pasted text as one piece, line ends and all.
    pub(crate) fn takes_pastes(&self) -> bool {
        self.changed.contains(&BRACKETED_PASTE)
    }

    /// Whether cursor keys are to be sent in the form of applications.
    pub(crate) fn has_application_cursor(&self) -> bool {
        self.changed.contains(&APPLICATION_CURSOR)
    }

    /// What to write to a terminal, so that nothing is left of what the program switched.
    pub fn restoring(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, on) in KNOWN {
            if self.changed.contains(&number) {
                let word = if on { 'h' } else { 'l' };
                bytes.extend_from_slice(format!("\x1b[?{number}{word}").as_bytes());
            }
        }
        if self.keypad {
            bytes.extend_from_slice(b"\x1b>");
        }
        if self.keyboard > 0 {
            bytes.extend_from_slice(format!("\x1b[<{}u", self.keyboard).as_bytes());
        }
        // Colours and the like are switched in too many ways to be tracked.
        bytes.extend_from_slice(b"\x1b[0m");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let back = b"\x1b[?25h\x1b[?1000l\x1b[?1006l\x1b[?1049l\x1b>\x1b[<1u\x1b[0m";
        assert_eq!(modes.restoring(), back);
        let mut restored = modes.clone();
        restored.read(&modes.restoring());
        assert_eq!(restored, Modes::default());
    }

    proptest! {
        #[test]
        fn cuts_change_nothing_and_memory_is_bounded(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just(b"\x1b[?2004h".to_vec()),
                    Just(b"\x1b[?1049;25l".to_vec()),
                    Just(b"\x1b[>1u".to_vec()),
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
            prop_assert!(modes.changed.len() <= KNOWN.len());
            if let Scan::Control { numbers, .. } = &modes.scan {
                prop_assert!(numbers.len() <= MOST_NUMBERS + 1);
            }
            let mut restored = modes.clone();
            restored.scan = Scan::Ground;
            restored.read(&modes.restoring());
            prop_assert_eq!(restored, Modes::default());
        }
    }
}
