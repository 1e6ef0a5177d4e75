//! What is typed for a command, or why nothing is.

use super::keys;
use super::modes::Modes;
use super::refusal::{LINE_BYTES, Untypeable};
use alloc::vec::Vec;
use core::time::Duration;

/// Who gathers the characters of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum LineMode {
    /// The terminal, which has a bound.
    Terminal,
    Program,
}

/// What is to be typed for one command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Typing {
    pub bytes: Vec<u8>,
    /// Then, after a pause, this; nothing if it is empty.
    pub enter: Vec<u8>,
    /// The program must have read all of it in this time.
    pub within: Duration,
}

impl Typing {
    /// Between the text and the Enter behind it: programs that see both at once take the Enter for
    /// a part of a paste.
    pub const PAUSE: Duration = Duration::from_millis(50);

    /// How long a program may leave its terminal unread, if no time limit is shorter. A terminal holds
    /// some 4 KiB, so that only a program that hangs needs this long.
    pub const TAKEN_WITHIN: Duration = Duration::from_secs(10);

    /// A text as one submission. One line end behind it stands for the Enter and is not typed twice.
    ///
    /// # Errors
    /// It cannot be typed as exactly this text.
    pub(crate) fn submission(
        text: &str,
        modes: &Modes,
        lines: LineMode,
    ) -> Result<Self, Untypeable> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(Untypeable::Nothing);
        }
        // A terminal acts on it instead of passing it on (P-223).
        let acts = |c: &char| c.is_control() && !matches!(c, '\t' | '\n');
        if let Some(control) = text.chars().find(acts) {
            return Err(Untypeable::Control(control));
        }
        let pastes = modes.takes_pastes();
        // Outside of a bracketed paste each line end submits what is before it.
        if !pastes && text.contains(['\t', '\n']) {
            return Err(Untypeable::NotPastable);
        }
        if lines == LineMode::Terminal && text.len() > LINE_BYTES {
            return Err(Untypeable::TooLong(text.len()));
        }
        let mut bytes = Vec::with_capacity(text.len() + 12);
        if pastes {
            bytes.extend_from_slice(b"\x1b[200~");
        }
        bytes.extend_from_slice(text.as_bytes());
        if pastes {
            bytes.extend_from_slice(b"\x1b[201~");
        }
        Ok(Self { bytes, enter: b"\r".to_vec(), within: Self::TAKEN_WITHIN })
    }

    /// Keys, named one after another with spaces between them.
    ///
    /// # Errors
    /// A name that no key has, or too many of them.
    pub fn keys(text: &str, modes: &Modes) -> Result<Self, Untypeable> {
        let bytes = keys::bytes_of(text, modes)?;
        Ok(Self { bytes, enter: Vec::new(), within: Self::TAKEN_WITHIN })
    }

    /// The same within the time limit of its command.
    #[must_use = "the time limit is kept by the typing that comes back"]
    pub fn limited(self, limit: Option<Duration>) -> Self {
        Self { within: limit.map_or(self.within, |limit| self.within.min(limit)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    fn pasting() -> Modes {
        let mut modes = Modes::default();
        modes.read(b"\x1b[?2004h");
        modes
    }

    #[test]
    fn a_line_is_typed_as_it_is_and_a_paste_in_brackets() {
        let plain = Typing::submission("echo hi\n", &Modes::default(), LineMode::Terminal).unwrap();
        assert_eq!((&plain.bytes[..], &plain.enter[..]), (&b"echo hi"[..], &b"\r"[..]));
        let paste = Typing::submission("a\n\tb", &pasting(), LineMode::Program).unwrap();
        assert_eq!(paste.bytes, b"\x1b[200~a\n\tb\x1b[201~");
    }

    #[test]
    fn the_shorter_of_the_time_limit_and_our_own_is_kept() {
        let second = Duration::from_secs(1);
        for (limit, within) in [
            (None, Typing::TAKEN_WITHIN),
            (Some(second), second),
            (Some(Typing::TAKEN_WITHIN * 2), Typing::TAKEN_WITHIN),
        ] {
            let typing = Typing::keys("y", &Modes::default()).unwrap().limited(limit);
            assert_eq!(typing.within, within, "{limit:?}");
        }
    }

    #[test]
    fn what_could_not_arrive_as_one_piece_is_refused() {
        let of = |text: &str, lines| Typing::submission(text, &Modes::default(), lines);
        assert_eq!(of("", LineMode::Program), Err(Untypeable::Nothing));
        assert_eq!(of("\r\n", LineMode::Program), Err(Untypeable::Nothing));
        assert_eq!(of("a\nb", LineMode::Program), Err(Untypeable::NotPastable));
        assert_eq!(of("a\tb", LineMode::Program), Err(Untypeable::NotPastable));
        assert_eq!(of("a\u{3}", LineMode::Program), Err(Untypeable::Control('\u{3}')));
        // C1 is a control sequence introducer in one character for some terminals.
        assert_eq!(of("a\u{9b}", LineMode::Program), Err(Untypeable::Control('\u{9b}')));
        let long = "x".repeat(LINE_BYTES + 1);
        assert_eq!(of(&long, LineMode::Terminal), Err(Untypeable::TooLong(LINE_BYTES + 1)));
        assert!(of(&long, LineMode::Program).is_ok());
        assert!(of(&long[1..], LineMode::Terminal).is_ok());
    }

    proptest! {
        /// P-222 and P-223: any text is one submission exactly as it is, or is refused, and no byte
        /// that acts reaches the program but the Enter and the brackets of a paste.
        #[test]
        fn exactly_the_text_or_nothing(
            text in proptest::collection::vec(
                prop_oneof![
                    4 => any::<char>(),
                    1 => prop_oneof![Just('\u{1b}'), Just('\r'), Just('\n'), Just('\t'), Just('~')],
                    1 => prop_oneof![Just('['), Just('2'), Just('0'), Just('1')],
                ],
                0..40,
            ),
            pastes in any::<bool>(),
        ) {
            let text: String = text.into_iter().collect();
            let modes = if pastes { pasting() } else { Modes::default() };
            let Ok(typing) = Typing::submission(&text, &modes, LineMode::Program) else {
                return Ok(());
            };
            prop_assert_eq!(&typing.enter, b"\r");
            let typed = String::from_utf8(typing.bytes).unwrap();
            let inner = if pastes {
                typed.strip_prefix("\x1b[200~").and_then(|t| t.strip_suffix("\x1b[201~")).unwrap()
            } else {
                typed.as_str()
            };
            let same = [inner.into(), format!("{inner}\n"), format!("{inner}\r\n"), format!("{inner}\r")];
            prop_assert!(same.contains(&text));
            let acts = |c: char| c.is_control() && !(pastes && matches!(c, '\n' | '\t'));
            prop_assert!(!inner.contains(acts));
        }
    }
}
