//! Marks in what a program writes into its terminal: the bell, notifications (OSC 9, OSC 777) and the marks of shells
//! around prompts and commands (OSC 133). Everything else, and all that is drawn, is passed over.

use super::fact::Fact;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest text of a mark that is kept; the rest of it is passed over.
const MOST: usize = 512;

const BELL: u8 = 0x07;
const ESCAPE: u8 = 0x1b;

/// Finds marks in a stream of bytes, wherever it is cut.
#[derive(Debug, Default)]
pub(super) struct Marks(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    /// Behind `ESC ]`.
    Osc(Vec<u8>),
    /// The same, and an `ESC` came, which ends it.
    OscEscape(Vec<u8>),
    /// In another text for the terminal, in which a bell ends nothing but it.
    Text,
    TextEscape,
}

impl Marks {
    /// The facts in what follows in the stream.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Fact> {
        let mut facts = Vec::new();
        for byte in bytes {
            let state = core::mem::take(&mut self.0);
            self.0 = next(state, *byte, &mut facts);
        }
        facts
    }
}

fn next(state: State, byte: u8, facts: &mut Vec<Fact>) -> State {
    match (state, byte) {
        (State::Ground, ESCAPE) => State::Escape,
        (State::Ground, BELL) => {
            facts.push(Fact::Bell);
            State::Ground
        }
        (State::Ground, _) => State::Ground,
        (State::Escape, b']') => State::Osc(Vec::new()),
        (State::Escape, b'P' | b'X' | b'^' | b'_') => State::Text,
        (State::Escape, ESCAPE) => State::Escape,
        (State::Escape, BELL) => {
            facts.push(Fact::Bell);
            State::Ground
        }
        (State::Escape, _) => State::Ground,
        (State::Osc(text), BELL) => {
            facts.extend(fact_of(&text));
            State::Ground
        }
        (State::Osc(text), ESCAPE) => State::OscEscape(text),
        // They take a sequence back.
        (State::Osc(_) | State::Text, 0x18 | 0x1a) => State::Ground,
        (State::Osc(mut text), byte) => {
            if text.len() < MOST {
                text.push(byte);
            }
            State::Osc(text)
        }
        (State::OscEscape(text), b'\\') => {
            facts.extend(fact_of(&text));
            State::Ground
        }
        // The text was cut short by another sequence.
        (State::OscEscape(_) | State::TextEscape, byte) => next(State::Escape, byte, facts),
        (State::Text, BELL) => State::Ground,
        (State::Text, ESCAPE) => State::TextEscape,
        (State::Text, _) => State::Text,
    }
}

fn fact_of(text: &[u8]) -> Option<Fact> {
    let text = String::from_utf8_lossy(text);
    let (number, rest) = text.split_once(';')?;
    match number {
        // `9;4;…` is how far something is (ConEmu), and no notification.
        "9" if rest.split(';').next() == Some("4") => None,
        "9" => Some(Fact::TerminalNotified(rest.into())),
        "777" => {
            let said = rest.strip_prefix("notify;")?;
            Some(Fact::TerminalNotified(said.replacen(';', ": ", 1)))
        }
        "133" => match rest.split(';').next()? {
            "A" | "B" => Some(Fact::PromptStarted),
            "C" => Some(Fact::CommandStarted),
            "D" => Some(Fact::CommandEnded),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Fact> {
        Marks::default().read(text)
    }

    #[test]
    fn each_mark_is_found_and_nothing_that_is_drawn() {
        let notified = |text: &str| Fact::TerminalNotified(text.into());
        assert_eq!(read(b"\x1b]9;Approval requested\x07"), [notified("Approval requested")]);
        assert_eq!(read(b"\x1b]777;notify;codex;done\x1b\\"), [notified("codex: done")]);
        assert_eq!(
            read(b"\x1b]133;A\x07$ \x1b]133;B\x07ls\r\n\x1b]133;C;x=1\x1b\\a\r\n\x1b]133;D;0\x07"),
            [Fact::PromptStarted, Fact::PromptStarted, Fact::CommandStarted, Fact::CommandEnded]
        );
        assert_eq!(read(b"a\x07b"), [Fact::Bell]);
        for nothing in [
            &b"> waiting for your input... Allow? [y/n]"[..],
            b"\x1b]0;\xe2\x9c\xb3 Claude Code\x07",
            b"\x1b]9;4;1;50\x07",
            b"\x1b]133;Z\x07",
            b"\x1b]52;c;QQ==\x07",
            b"\x1bP>|term\x07\x1b\\",
            b"\x1b]9;gone\x18",
        ] {
            assert_eq!(read(nothing), [], "{nothing:?}");
        }
    }

    #[test]
    fn marks_are_found_wherever_the_stream_is_cut() {
        let text =
            b"x\x1b]133;A\x1b\\\x1b]9;a\x07\x07\x1bPq\x07\x1b]777;notify;a;b\x07\x1b]133;C\x07";
        let whole = read(text);
        assert_eq!(whole.len(), 5);
        for cut in 0..text.len() {
            let (one, two) = text.split_at(cut);
            let mut marks = Marks::default();
            let mut found = marks.read(one);
            found.extend(marks.read(two));
            assert_eq!(found, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_text_without_end_keeps_a_bounded_part() {
        let mut marks = Marks::default();
        assert_eq!(marks.read(b"\x1b]9;"), []);
        for _ in 0..100 {
            assert_eq!(marks.read(&[b'x'; 1000]), []);
        }
        let State::Osc(text) = &marks.0 else { panic!("{marks:?}") };
        assert_eq!(text.len(), MOST);
    }
}
