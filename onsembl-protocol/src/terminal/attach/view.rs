//! How far the screen of an attached terminal is in its output: what is new of what comes, and what was missed. Pure.

use crate::id::{ByteOffset, Incarnation};

/// A position in the output of a terminal: everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say all")]
pub struct TerminalPosition {
    pub incarnation: Incarnation,
    pub offset: ByteOffset,
}

/// What a viewer has seen. It shows each byte once; where something is missing, or too much is, a screen takes its
/// place.
#[derive(Debug, Default)]
pub struct View {
    /// What comes next; none if nothing was written yet.
    next: Option<TerminalPosition>,
    pace: Pace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    /// What comes is shown.
    #[default]
    Live,
    /// The same, but what was on its way before output was asked for from here may come first, and is dropped.
    Joining,
    /// Too much waits; a screen is to come.
    Behind,
    /// The link was lost; output resumes where it was, or with a screen.
    Away,
    /// Something is missing; a screen is to come.
    Lost,
}

impl View {
    /// From where on output is missing.
    pub fn position(&self) -> Option<TerminalPosition> {
        self.next
    }

    /// This screen is shown.
    pub fn drawn(&mut self, at: Option<TerminalPosition>) {
        (self.next, self.pace) = (at, Pace::Joining);
    }

    /// What of this is to be shown; `None` if nothing is.
    pub fn take<'a>(&mut self, at: TerminalPosition, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.pace {
            Pace::Live | Pace::Joining => {}
            Pace::Behind | Pace::Away | Pace::Lost => return None,
        }
        let next = self.next.unwrap_or(at);
        if at.incarnation < next.incarnation {
            return None;
        }
        let Some(known) = next.offset.0.checked_sub(at.offset.0) else {
            self.lose();
            return None;
        };
        if at.incarnation > next.incarnation {
            self.lose();
            return None;
        }
        let new = usize::try_from(known).ok().and_then(|known| bytes.get(known..))?;
        let end = at.offset.0.saturating_add(bytes.len() as u64);
        self.next = Some(TerminalPosition { offset: ByteOffset(end), ..at });
        Some(new)
    }

    /// These bytes are lost.
    pub fn on_gap(&mut self, at: TerminalPosition, length: u64) {
        let end = TerminalPosition { offset: ByteOffset(at.offset.0.saturating_add(length)), ..at };
        if self.pace == Pace::Live || self.pace == Pace::Joining && Some(at) <= self.next {
            self.next = self.next.max(Some(end));
        }
    }

    /// Whether this position is not behind what is shown.
    pub(crate) fn is_news(&self, at: TerminalPosition) -> bool {
        self.pace == Pace::Live && self.next.is_none_or(|next| at >= next)
    }

    /// Too much waits to be shown.
    pub(crate) fn fell_behind(&mut self) {
        self.pace = Pace::Behind;
    }

    /// Whether something is missing because too much waited, or the link was lost.
    pub(crate) fn was_behind(&self) -> bool {
        matches!(self.pace, Pace::Behind | Pace::Away)
    }

    /// Output resumes where it was when there is a link again, if that is not too far back.
    pub(crate) fn link_lost(&mut self) {
        self.pace = match self.pace {
            Pace::Live | Pace::Joining | Pace::Away => Pace::Away,
            Pace::Behind => Pace::Behind,
            Pace::Lost => Pace::Lost,
        };
    }

    /// Whether something is missing in what came.
    pub(crate) fn is_lost(&self) -> bool {
        self.pace == Pace::Lost
    }

    /// How many bytes were written between what is shown and that screen.
    pub(crate) fn missed(&self, screen: Option<TerminalPosition>) -> u64 {
        match (self.next, screen) {
            (Some(next), Some(screen)) if next.incarnation == screen.incarnation => {
                screen.offset.0.saturating_sub(next.offset.0)
            }
            _ => 0,
        }
    }

    /// Whether so much is shown as it comes, and not by a screen.
    pub(crate) fn resumes(&self, missed: u64, most: u64) -> bool {
        self.pace == Pace::Away && self.next.is_some() && missed <= most
    }

    /// Output is shown as it comes.
    pub(crate) fn go_on(&mut self) {
        self.pace = Pace::Joining;
    }

    /// The server sends from where it was asked to: from now on nothing of before comes.
    pub(crate) fn joined(&mut self) {
        if self.pace == Pace::Joining {
            self.pace = Pace::Live;
        }
    }

    fn lose(&mut self) {
        if self.pace == Pace::Live {
            self.pace = Pace::Lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(run: u64, offset: u64) -> TerminalPosition {
        TerminalPosition { incarnation: Incarnation(run), offset: ByteOffset(offset) }
    }

    #[test]
    fn bytes_are_shown_once_and_a_hole_asks_for_a_screen() {
        let mut view = View::default();
        view.drawn(Some(at(1, 10)));
        assert_eq!(view.take(at(1, 30), b"old"), None, "it was on its way before");
        assert!(!view.is_lost());
        view.joined();
        assert_eq!(view.take(at(1, 8), b"abcd"), Some(&b"cd"[..]));
        assert_eq!(view.take(at(1, 0), b"ab"), None, "known");
        assert_eq!(view.take(at(1, 12), b"e"), Some(&b"e"[..]));
        assert!(!view.is_lost());
        view.on_gap(at(1, 13), 5);
        assert_eq!(view.take(at(1, 18), b"f"), Some(&b"f"[..]));
        assert_eq!(view.take(at(1, 30), b"g"), None);
        assert!(view.is_lost());
        assert_eq!(view.take(at(1, 19), b"h"), None, "a screen comes first");
        view.drawn(Some(at(1, 31)));
        view.joined();
        assert_eq!(view.take(at(1, 31), b"i"), Some(&b"i"[..]));
        assert_eq!(view.take(at(2, 0), b"j"), None, "another program");
        assert!(view.is_lost());
    }

    #[test]
    fn after_a_lost_link_little_is_shown_as_it_came_and_much_by_a_screen() {
        let mut view = View::default();
        view.drawn(Some(at(1, 10)));
        view.link_lost();
        assert_eq!(view.take(at(1, 10), b"a"), None);
        assert!(view.resumes(view.missed(Some(at(1, 100))), 100));
        assert!(!view.resumes(view.missed(Some(at(1, 200))), 100));
        view.go_on();
        assert_eq!(view.take(at(1, 10), b"a"), Some(&b"a"[..]));
        view.fell_behind();
        assert!(!view.resumes(view.missed(Some(at(1, 20))), 100), "what waited is not repeated");
    }

    #[test]
    fn a_terminal_that_wrote_nothing_yet_begins_with_its_first_byte() {
        let mut view = View::default();
        view.drawn(None);
        assert_eq!(view.take(at(5, 0), b"a"), Some(&b"a"[..]));
        assert_eq!(view.position(), Some(at(5, 1)));
    }
}
