//! Whether a line has been begun at the agent's own terminal, as far as what they type tells. In doubt
//! it is begun: then a remote text waits, and its report says why.

use super::pressed::{Pressed, Scanner};
use alloc::vec::Vec;
use core::ops::Range;

/// Who presses keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typist {
    /// Whoever sits at the agent's own terminal. The line is theirs.
    Local,
    /// A remote user, by keys: these may end or clear a line, and never begin one.
    Remote,
}

/// A line as it is typed.
#[derive(Debug, Default)]
pub(super) struct LocalLine {
    content: Content,
    /// Between the brackets of a paste, where an Enter is only a line end.
    paste: Paste,
    scanner: Scanner,
    /// Which of the characters before the cursor are backslashes, the last one in the lowest bit.
    backslashes: u64,
}

/// What was found among bytes that were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// How many keys, without those that are none of a line, and what the terminal itself sends.
    pub(super) pressed: usize,
    /// Where keys are that suspend what is in the foreground: of one that was cut, what came of it now.
    pub(super) suspends: Vec<Range<usize>>,
}

/// What stands in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    #[default]
    Empty,
    /// This many characters, and the cursor is behind them.
    Characters(u32),
    /// Something.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Paste {
    #[default]
    Outside,
    Inside,
}

impl LocalLine {
    pub(super) const fn content(&self) -> Content {
        self.content
    }

    pub(super) fn is_begun(&self) -> bool {
        self.content != Content::Empty
    }

    /// Reads what was typed; sequences may be cut anywhere.
    pub(super) fn read(&mut self, bytes: &[u8], by: Typist) -> Keys {
        let mut keys = Keys::default();
        let mut start = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if self.scanner.is_between_keys() {
                start = at;
            }
            let Some(pressed) = self.scanner.read(*byte) else { continue };
            if pressed == Pressed::Suspend && self.paste == Paste::Outside {
                keys.suspends.push(start..at + 1);
            }
            if pressed != Pressed::Silent {
                keys.pressed += 1;
            }
            self.press(pressed, by);
        }
        keys
    }

    fn press(&mut self, pressed: Pressed, by: Typist) {
        match (self.paste, pressed) {
            (_, Pressed::PasteBegins) => self.paste = Paste::Inside,
            (_, Pressed::PasteEnds) => self.paste = Paste::Outside,
            (Paste::Inside, _) => self.becomes(Content::Unknown, by),
            (Paste::Outside, pressed) => self.key(pressed, by),
        }
    }

    fn key(&mut self, pressed: Pressed, by: Typist) {
        let is_behind_backslash = self.backslashes & 1 == 1;
        match pressed {
            // For many programs that is a line end within a message, behind which the backslash may come back.
            Pressed::Enter if is_behind_backslash => return self.line_end(by),
            Pressed::LineEnd => return self.line_end(by),
            Pressed::Enter | Pressed::Interrupt => self.content = Content::Empty,
            Pressed::Recall => self.becomes(Content::Unknown, by),
            Pressed::Kill => match self.content {
                Content::Empty | Content::Characters(_) => self.content = Content::Empty,
                // It kills up to the cursor, or one of several lines. A backspace then reaches what stood before it, which
                // may have been backslashes.
                Content::Unknown => {
                    self.backslashes = u64::MAX << 1;
                    return;
                }
            },
            Pressed::Backspace => {
                self.backslashes >>= 1;
                match self.content {
                    Content::Characters(0 | 1) => self.content = Content::Empty,
                    Content::Characters(more) => self.content = Content::Characters(more - 1),
                    Content::Empty | Content::Unknown => {}
                }
                return;
            }
            Pressed::Edit => match self.content {
                Content::Characters(_) => self.content = Content::Unknown,
                Content::Empty | Content::Unknown => {}
            },
            Pressed::Character(character) => {
                let is_backslash = u64::from(character == u32::from('\\'));
                self.backslashes = (self.backslashes << 1) | is_backslash;
                match self.content {
                    Content::Empty => self.becomes(Content::Characters(1), by),
                    Content::Characters(so_far) => {
                        self.becomes(Content::Characters(so_far.saturating_add(1)), by);
                    }
                    Content::Unknown => {}
                }
                return;
            }
            Pressed::Silent | Pressed::Suspend | Pressed::PasteBegins | Pressed::PasteEnds => {
                return;
            }
        }
        self.backslashes = 0;
    }

    /// A character of the message, which a backspace takes away again.
    fn line_end(&mut self, by: Typist) {
        self.backslashes <<= 1;
        self.becomes(Content::Unknown, by);
    }

    /// Something is in the line that was not. What a remote user typed into an empty one is none of the local user's.
    fn becomes(&mut self, content: Content, by: Typist) {
        match (by, self.content) {
            (Typist::Local, _) => self.content = content,
            (Typist::Remote, Content::Empty) => {}
            (Typist::Remote, Content::Characters(_) | Content::Unknown) => {
                self.content = Content::Unknown;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(typed: &[&[u8]]) -> LocalLine {
        let mut line = LocalLine::default();
        for bytes in typed {
            let _ = line.read(bytes, Typist::Local);
        }
        line
    }

    fn begun(typed: &[&[u8]]) -> bool {
        after(typed).is_begun()
    }

    #[test]
    fn a_line_is_begun_by_characters_and_ends_with_a_plain_enter_or_ctrl_c() {
        assert!(begun(&[b"a"]) && begun(&["é".as_bytes()]) && begun(&[b"\t"]));
        assert!(!begun(&[b"a\r"]) && !begun(&[b"a\x03"]));
        assert!(begun(&[b"a\x04"]), "nothing is known to throw it away");
    }

    #[test]
    fn an_enter_that_is_a_line_end_within_a_message_ends_no_line() {
        for newline in [
            &b"\n"[..],
            b"\\\r",
            b"\x1b\r",
            b"\x1b[13;2u",
            b"\x1b[13;5u",
            b"\x1b[13;3u",
            b"\x1b[27;2;13~",
            b"\x1b[106;5u",
            b"\x1b[92u\x1b[13u",
        ] {
            let mut typed = b"another".to_vec();
            typed.extend_from_slice(newline);
            assert!(begun(&[&typed]), "{newline:?}");
            typed.extend_from_slice(b"line\r");
            assert!(!begun(&[&typed]), "{newline:?} and then a plain one");
        }
        // It is the last character that counts.
        assert!(!begun(&[b"a\\b\r"]) && !begun(&[b"a\\\x7f\r"]));
        assert!(begun(&[b"a\\b\x7f\r"]));
    }

    #[test]
    fn what_clears_all_of_it_clears_it() {
        for clears in [
            &b"abc\x15"[..],
            b"abc\x7f\x7f\x7f",
            b"abc\x08\x08\x7f",
            b"abc\x1b[99;5u",
            b"abc\x1b[117;5u",
            b"abc\x1b[27;5;99~",
            b"\x1b[97u\x1b[127u",
            "é\x7f".as_bytes(),
            // With the lock of capitals or of numbers on.
            b"abc\x1b[99;69u",
            b"abc\x1b[99;133u",
        ] {
            assert!(!begun(&[clears]), "{clears:?}");
        }
        for keeps in [
            &b"abc\x7f\x7f"[..],
            b"abc\x1b[D\x15",
            b"abc\x01\x7f\x7f\x7f",
            b"a\nb\x15",
            b"\x1b[200~pasted\x1b[201~\x15",
            // Going up is what brings a line back from the history.
            b"\x1b[A\x15",
            // A key that is released.
            b"abc\x1b[99;5:3u",
        ] {
            assert!(begun(&[keeps]), "{keeps:?}");
        }
        assert_eq!(after(&["ab\u{e9}".as_bytes()]).content(), Content::Characters(3));
    }

    #[test]
    fn keys_without_a_character_and_answers_of_the_terminal_begin_none_wherever_they_are_cut() {
        for silent in [
            &b"\x1b[B"[..],
            b"\x1bOB",
            b"\x1b[24;80R",
            b"\x1b[?1;2c",
            b"\x1bP1$r0m\x1b\\",
            b"\x1b]11;rgb:0\x07",
            b"\x1b[I",
            b"\x1b[<0;10;20M",
            b"\x1b[M !!",
            b"\x1b[57358u",
            b"\x1b[99;5u",
            b"\x1b[13u",
            b"\x1b[13;1:3u",
            b"\x1b[97;1:3u",
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
        assert!(begun(&[b"\x1b[97u"]) && begun(&[b"\x1b[97;5:1u\x1b[97u"]));
        assert!(begun(&[b"\x1b[97;2u"]) && begun(&[b"\x1b[97;1:2u"]));
        assert!(!begun(&[b"\x1b[97u\x1b[13u"]));
    }

    #[test]
    fn a_remote_user_ends_a_line_by_keys_and_begins_none() {
        for (local, remote, is_begun) in [
            (&b""[..], &b"y"[..], false),
            (b"", b"hello\x1b[A", false),
            (b"abc", b"\r", false),
            (b"abc", b"\x15", false),
            (b"abc", b"\x1b[99;5u", false),
            (b"abc", b"x", true),
            (b"abc", b"x\x15", true),
            (b"abc", b"\rx", false),
        ] {
            let mut line = after(&[local]);
            let _ = line.read(remote, Typist::Remote);
            assert_eq!(line.is_begun(), is_begun, "{local:?} and {remote:?}");
        }
    }

    #[test]
    fn keys_that_suspend_are_found_where_they_are() {
        let mut line = LocalLine::default();
        let mut read = |bytes: &[u8]| line.read(bytes, Typist::Local).suspends;
        assert_eq!(read(b"a\x1ab\x1b[122;5uc"), [1..2, 3..11]);
        assert!(read(b"\x1b[122;5").is_empty());
        assert_eq!(read(b"ux"), alloc::vec![0..1]);
        assert!(read(b"\x1b[200~\x1a\x1b[201~").is_empty(), "it is pasted");
        assert_eq!(line.read(b"\x1b[I\x1b[<0;1;1Mx", Typist::Local).pressed, 1);
    }
}
