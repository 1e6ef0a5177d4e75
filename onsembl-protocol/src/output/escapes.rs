//! Escape sequences in output (ECMA-48): which characters are left without them. A sequence may be cut by the
//! end of a chunk, and continues with the next one of its stream.

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';

/// Where a stream stands within a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EscapeScan {
    /// In none.
    #[default]
    Ground,
    /// Behind `ESC`, until its final byte.
    Escape,
    /// Behind `ESC [`, until its final byte.
    Control,
    /// Behind `ESC ]`, until `BEL` or `ESC \`.
    Command,
    /// Behind `ESC P` and its like, until `ESC \`.
    String,
}

impl EscapeScan {
    /// Takes a character. Whether it belongs to the text; control characters within a sequence do, as they do for
    /// a terminal, which obeys them at once.
    pub(crate) fn take(&mut self, c: char) -> bool {
        let (next, is_text) = match (*self, c) {
            (_, ESCAPE) => (Self::Escape, false),
            (Self::Ground, _) => (Self::Ground, true),
            // Cancel and substitute end whatever was begun.
            (_, '\u{18}' | '\u{1a}') => (Self::Ground, false),
            (Self::Escape | Self::Control, '\0'..='\u{1f}') => (*self, true),
            (Self::Escape, '[') => (Self::Control, false),
            (Self::Escape, ']') => (Self::Command, false),
            (Self::Escape, 'P' | 'X' | '^' | '_') => (Self::String, false),
            (Self::Escape, ' '..='/') => (Self::Escape, false),
            (Self::Escape, _) => (Self::Ground, false),
            (Self::Control, '@'..='~') => (Self::Ground, false),
            (Self::Control, _) => (Self::Control, false),
            (Self::Command, BELL) => (Self::Ground, false),
            (Self::Command, _) => (Self::Command, false),
            (Self::String, _) => (Self::String, false),
        };
        *self = next;
        is_text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn nothing_is_left_of_a_sequence_however_it_is_cut() {
        for (text, left) in [
            ("\u{1b}[7mecho\u{1b}[27m a\u{1b}[C", "echo a"),
            ("\u{1b}]0;title\u{7}b\u{1b}]8;;x\u{1b}\\c\u{1b}=d\ttab\r\n", "bcd\ttab\r\n"),
            // A character set, as `tput sgr0` writes it.
            ("\u{1b}(Bplain\u{1b}[m", "plain"),
            ("\u{1b}Pq#0;2;0\u{1b}\\after\u{1b}_apc\u{1b}\\.", "after."),
            // What is cut off by another sequence, or cancelled.
            ("\u{1b}]0;never ended\u{1b}[1mbold", "bold"),
            ("\u{1b}[12\u{18}text", "text"),
            ("\u{1b}[3\n1mred", "\nred"),
        ] {
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let mut scan = EscapeScan::default();
                let (first, second) = text.split_at(cut);
                let mut is = String::new();
                for part in [first, second] {
                    is.extend(part.chars().filter(|c| scan.take(*c)));
                }
                assert_eq!(is, left, "{text:?} cut at {cut}");
                assert_eq!(scan, EscapeScan::Ground, "{text:?}");
            }
        }
    }
}
