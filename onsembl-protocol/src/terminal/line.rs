//! Whether a line has been begun at the agent's own terminal, as far as what they type tells. In doubt
//! it is begun: then a remote command waits, and its report says why.

/// Numbers of one sequence that are read.
const MOST_DIGITS: u32 = 999_999;

/// A line as it is typed.
#[derive(Debug, Default)]
pub(super) struct LocalLine {
    begun: bool,
    /// Between the brackets of a paste, where an Enter is only a line end.
    pasting: bool,
    scan: Scan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scan {
    #[default]
    Ground,
    Escape,
    /// Behind `ESC [`: its first number.
    Control {
        number: u32,
        first: bool,
    },
    /// Behind `ESC O`.
    Single,
    /// An answer of the terminal, up to a bell or `ESC \\`.
    Text,
    TextEscape,
}

impl LocalLine {
    pub(super) const fn is_begun(&self) -> bool {
        self.begun
    }

    /// Reads what was typed; sequences may be cut anywhere.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.scan = match (self.scan, *byte) {
                (Scan::Ground, 0x1b) => Scan::Escape,
                (Scan::Ground, byte) => {
                    self.key(byte);
                    Scan::Ground
                }
                (Scan::Escape, b'[') => Scan::Control { number: 0, first: true },
                (Scan::Escape, b'O') => Scan::Single,
                (Scan::Escape, b'P' | b']' | b'_' | b'^' | b'X') => Scan::Text,
                (Scan::Escape, 0x1b) => Scan::Escape,
                (Scan::Escape | Scan::Single, _) => Scan::Ground,
                (Scan::Control { number, first: true }, digit @ b'0'..=b'9') => {
                    let number = number * 10 + u32::from(digit - b'0');
                    Scan::Control { number: number.min(MOST_DIGITS), first: true }
                }
                (Scan::Control { number, .. }, 0x20..=0x3f) => {
                    Scan::Control { number, first: false }
                }
                (Scan::Control { number, .. }, last) => {
                    self.sequence(number, last);
                    Scan::Ground
                }
                (Scan::Text, 0x07) | (Scan::TextEscape, b'\\') => Scan::Ground,
                (Scan::Text | Scan::TextEscape, 0x1b) => Scan::TextEscape,
                (Scan::Text | Scan::TextEscape, _) => Scan::Text,
            };
        }
    }

    const fn key(&mut self, byte: u8) {
        match byte {
            _ if self.pasting => self.begun = true,
            // Enter, and Ctrl-C, which throws a line away wherever the cursor is in it.
            b'\r' | b'\n' | 0x03 => self.begun = false,
            b'\t' | b' '..=b'~' | 0x80.. => self.begun = true,
            _ => {}
        }
    }

    const fn sequence(&mut self, number: u32, last: u8) {
        match (number, last) {
            (200, b'~') => self.pasting = true,
            (201, b'~') => self.pasting = false,
            // A key of the enhanced keyboard, by its character.
            (13, b'u') => self.begun = false,
            (32.., b'u') => self.begun = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(typed: &[&[u8]]) -> bool {
        let mut line = LocalLine::default();
        typed.iter().for_each(|bytes| line.read(bytes));
        line.is_begun()
    }

    #[test]
    fn a_line_is_begun_by_characters_and_ends_with_enter_or_ctrl_c() {
        assert!(begun(&[b"a"]) && begun(&["é".as_bytes()]) && begun(&[b"\t"]));
        assert!(!begun(&[b"a\r"]) && !begun(&[b"a\x03"]));
        // These throw away only a part, or nothing.
        assert!(begun(&[b"a\x04"]) && begun(&[b"a\x15"]) && begun(&[b"a\x7f"]));
    }

    #[test]
    fn keys_without_a_character_and_answers_of_the_terminal_begin_none_wherever_they_are_cut() {
        for silent in [
            &b"\x1b[A"[..],
            b"\x1bOB",
            b"\x1b[24;80R",
            b"\x1bP1$r0m\x1b\\",
            b"\x1b]11;rgb:0\x07",
            b"\x1b[I",
        ] {
            for cut in 0..=silent.len() {
                let (first, second) = silent.split_at(cut);
                assert!(!begun(&[first, second]), "{silent:?} at {cut}");
            }
        }
    }

    #[test]
    fn the_end_of_a_paste_is_no_enter() {
        assert!(begun(&[b"\x1b[200~two\rlines\r\x1b[201~"]));
        assert!(!begun(&[b"\x1b[200~two\rlines\r\x1b[201~", b"\r"]));
    }

    #[test]
    fn keys_of_an_enhanced_keyboard_count_by_their_character() {
        assert!(begun(&[b"\x1b[97u"]) && begun(&[b"\x1b[97;5:1u"]));
        assert!(!begun(&[b"\x1b[97u\x1b[13u"]));
    }
}
