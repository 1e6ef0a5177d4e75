//! When a terminal has answered what was typed into it: its program has written nothing for a while, asks for somebody, or
//! has ended. And what of its output is text for one who only reads. Pure; it is told the time.

use super::super::{Piece, SequenceKind, Sequences};
use super::TerminalPosition;
use crate::id::CommandId;
use crate::time::{Deadline, Timestamp};
use alloc::vec::Vec;
use core::time::Duration;

/// Why it is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The program wrote nothing for that long.
    Quiet,
    /// It rang, or sent a notification.
    Asks,
    /// The terminal ended.
    Ended,
    /// The time was over.
    TimedOut,
}

/// Where the answer to a text begins: in which terminal, and behind what of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AnswerFrom {
    pub terminal: CommandId,
    /// All of it, if there is none.
    pub from: Option<TerminalPosition>,
}

impl AnswerFrom {
    /// Where it begins now that the text was typed into this terminal. The program may have been started again between
    /// the look at the terminal and the typing: then nothing of the new one was seen before.
    #[must_use]
    pub fn typed_into(self, terminal: Option<CommandId>) -> Self {
        match terminal {
            Some(terminal) if terminal != self.terminal => Self { terminal, from: None },
            Some(_) | None => self,
        }
    }
}

/// Waits for the answer of one terminal.
#[derive(Debug)]
pub struct Answer {
    quiet: Duration,
    give_up: Deadline,
    watch: Watch,
    text: PlainText,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// It has written nothing since then.
    SilentSince(Timestamp),
    /// The link is lost: what it writes is not known, so it is not quiet.
    Away,
}

impl Answer {
    /// The shortest time that counts as quiet: a program that is asked for none at all may still write at once.
    pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest time that is waited.
    pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

    /// Something is typed now. The program is quiet when it has written nothing for `quiet`, and is given up after
    /// `timeout`.
    #[must_use]
    pub fn new(quiet: Duration, timeout: Duration, now: Timestamp) -> Self {
        Self {
            quiet: quiet.max(Self::SHORTEST),
            give_up: Deadline::At(now.saturating_add(timeout.min(Self::LONGEST))),
            watch: Watch::SilentSince(now),
            text: PlainText::default(),
        }
    }

    /// The program wrote this, which was not seen before. Its text, and that it asks, if it does: then it has answered.
    pub fn on_output(&mut self, bytes: &[u8], now: Timestamp) -> (Vec<u8>, Option<Settled>) {
        if !bytes.is_empty() {
            self.watch = Watch::SilentSince(now);
        }
        let (text, attention) = self.text.read(bytes);
        let settled = match attention {
            Attention::Asked => Some(Settled::Asks),
            Attention::None => None,
        };
        (text, settled)
    }

    /// The link to the server is lost.
    pub fn link_lost(&mut self) {
        self.watch = Watch::Away;
    }

    /// There is a link again.
    pub fn link_back(&mut self, now: Timestamp) {
        self.watch = Watch::SilentSince(now);
    }

    /// When to call [`on_time`](Self::on_time).
    pub fn deadline(&self) -> Deadline {
        self.quiet_at().min(self.give_up)
    }

    /// What has come of it by now.
    #[must_use]
    pub fn on_time(&self, now: Timestamp) -> Option<Settled> {
        if self.give_up.is_due(now) {
            return Some(Settled::TimedOut);
        }
        self.quiet_at().is_due(now).then_some(Settled::Quiet)
    }

    /// Whether the text so far ends within a line.
    #[must_use]
    pub fn is_within_a_line(&self) -> bool {
        self.text.last.is_some_and(|last| last != b'\n')
    }

    fn quiet_at(&self) -> Deadline {
        match self.watch {
            Watch::SilentSince(at) => Deadline::At(at.saturating_add(self.quiet)),
            Watch::Away => Deadline::Never,
        }
    }
}

/// Output without what only a terminal understands.
#[derive(Debug, Default)]
struct PlainText {
    sequences: Sequences,
    last: Option<u8>,
}

/// Whether the program asked for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attention {
    None,
    Asked,
}

impl PlainText {
    fn read(&mut self, bytes: &[u8]) -> (Vec<u8>, Attention) {
        let (mut text, mut attention) = (Vec::new(), Attention::None);
        self.sequences.read(bytes, |piece| match piece {
            Piece::Plain(plain) => {
                if plain.contains(&0x07) {
                    attention = Attention::Asked;
                }
                let is_text = |byte: &&u8| {
                    **byte >= 0x20 && **byte != 0x7f || matches!(**byte, b'\n' | b'\t')
                };
                text.extend(plain.iter().filter(is_text));
            }
            // Two kinds of notifications; a progress bar, which is 9;4, is none.
            Piece::Sequence { kind: SequenceKind::Command, body, .. } => {
                let is_notification = body.starts_with(b"777;notify")
                    || body.starts_with(b"9;") && !body.starts_with(b"9;4;");
                if is_notification {
                    attention = Attention::Asked;
                }
            }
            Piece::Sequence { .. } | Piece::Broken(_) | Piece::Long { .. } | Piece::Rest(_) => {}
        });
        self.last = text.last().copied().or(self.last);
        (text, attention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ByteOffset, Incarnation};
    use proptest::prelude::*;

    fn ms(n: u64) -> Timestamp {
        Timestamp::ORIGIN.saturating_add(Duration::from_millis(n))
    }

    fn answer() -> Answer {
        Answer::new(Duration::from_millis(500), Duration::from_secs(10), ms(0))
    }

    #[test]
    fn text_is_what_is_left_and_a_bell_or_a_notification_asks() {
        let mut text = PlainText::default();
        let (shown, attention) = text.read(b"\x1b[31mre\x1b[0md\r\nn\xc3\xa4chste\x1b]0;t\x07");
        assert_eq!(
            (shown.as_slice(), attention),
            ("red\nn\u{e4}chste".as_bytes(), Attention::None)
        );
        assert_eq!(text.last, Some(b'e'));
        assert_eq!(text.read(b"\x1b]9;4;1;50\x07\n").1, Attention::None);
        assert_eq!(text.last, Some(b'\n'));
        for asks in [&b"\x07"[..], b"\x1b]9;look\x07", b"\x1b]777;notify;a;b\x1b\\"] {
            assert_eq!(text.read(asks).1, Attention::Asked, "{}", asks.escape_ascii());
        }
    }

    #[test]
    fn a_program_is_quiet_when_it_has_written_nothing_for_that_long() {
        let mut answer = answer();
        assert_eq!(answer.deadline(), Deadline::At(ms(500)));
        assert_eq!(answer.on_time(ms(499)), None);
        assert_eq!(answer.on_output(b"a", ms(499)), (b"a".to_vec(), None));
        assert!(answer.is_within_a_line());
        assert_eq!(answer.on_time(ms(500)), None, "it wrote something meanwhile");
        let _ = answer.on_output(b"", ms(900));
        assert_eq!(answer.deadline(), Deadline::At(ms(999)), "nothing is no output");
        assert_eq!(answer.on_time(ms(999)), Some(Settled::Quiet));
        assert_eq!(answer.on_output(b"\n\x07", ms(999)).1, Some(Settled::Asks));
        assert!(!answer.is_within_a_line());
    }

    #[test]
    fn one_that_never_stops_is_given_up() {
        let mut answer = answer();
        for at in (0..10_000).step_by(100) {
            let _ = answer.on_output(b".", ms(at));
            assert_eq!(answer.on_time(ms(at)), None);
        }
        assert_eq!(answer.deadline(), Deadline::At(ms(10_000)));
        assert_eq!(answer.on_time(ms(10_000)), Some(Settled::TimedOut));
    }

    #[test]
    fn nobody_is_quiet_behind_a_link_that_is_lost() {
        let mut answer = answer();
        answer.link_lost();
        assert_eq!(
            (answer.on_time(ms(5_000)), answer.deadline()),
            (None, Deadline::At(ms(10_000)))
        );
        answer.link_back(ms(6_000));
        assert_eq!(answer.on_time(ms(6_499)), None);
        assert_eq!(answer.on_time(ms(6_500)), Some(Settled::Quiet));
        answer.link_lost();
        assert_eq!(answer.on_time(ms(10_000)), Some(Settled::TimedOut));
    }

    #[test]
    fn no_time_at_all_is_still_a_moment_and_no_limit_is_a_year() {
        let answer = Answer::new(Duration::ZERO, Duration::MAX, ms(0));
        assert_eq!(answer.on_time(ms(0)), None);
        assert_eq!(answer.on_time(ms(1)), Some(Settled::Quiet));
        let mut away = Answer::new(Duration::MAX, Duration::MAX, ms(0));
        away.link_lost();
        let year = Timestamp::ORIGIN.saturating_add(Answer::LONGEST);
        assert_eq!(away.deadline(), Deadline::At(year));
    }

    proptest! {
        /// Whoever waits until the deadline, and no longer, learns what came of it.
        #[test]
        fn the_deadline_is_when_something_comes_of_it(
            steps in proptest::collection::vec((0..4_u8, 1..400_u64), 0..60),
        ) {
            let (mut answer, mut now) = (answer(), 0);
            for (what, pause) in steps {
                let Deadline::At(due) = answer.deadline() else { panic!("it is always given up") };
                now += pause;
                prop_assert_eq!(answer.on_time(ms(now)).is_some(), due <= ms(now));
                match what {
                    0 => answer.link_lost(),
                    1 => answer.link_back(ms(now)),
                    2 => drop(answer.on_output(b"", ms(now))),
                    _ => drop(answer.on_output(b"x", ms(now))),
                }
            }
        }
    }

    #[test]
    fn the_answer_is_that_of_the_program_into_which_the_text_was_typed() {
        let position = TerminalPosition { incarnation: Incarnation(1), offset: ByteOffset(40) };
        let before = AnswerFrom { terminal: CommandId::new("terminal-1"), from: Some(position) };
        let typed =
            |terminal: Option<&str>| before.clone().typed_into(terminal.map(CommandId::new));
        assert_eq!(typed(Some("terminal-1")), before);
        // A command that ended its program, and one of a server that does not say.
        assert_eq!(typed(None), before);
        // It was started again meanwhile.
        let again = AnswerFrom { terminal: CommandId::new("terminal-2"), from: None };
        assert_eq!(typed(Some("terminal-2")), again);
    }
}
