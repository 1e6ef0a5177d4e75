//! What is typed remotely, at the agent: in the order of its numbers, each at most once, and no more than waits for
//! a program that does not read (P-405, P-406). One piece at a time is on its way into the terminal, so that nothing
//! stands behind one that was not typed.

use super::hold::Hold;
use super::settings::TerminalSettings;
use crate::id::{HoldId, InputSequence};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use bytes::Bytes;

/// The input of the hold that the server named last. A value of its worker.
#[derive(Debug, Default)]
pub(crate) struct RemoteKeys {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    hold: HoldId,
    accepted: InputSequence,
    /// Up to this number everything is in the terminal.
    taken: InputSequence,
    /// Bytes that are not in the terminal.
    waiting: usize,
    /// What of them waits for its turn.
    inputs: VecDeque<(InputSequence, Bytes)>,
    /// What of the input whose turn it is has not been given out yet.
    queue: VecDeque<RemoteStroke>,
    hand: Hand,
    course: Course,
}

/// Whether a piece is on its way into the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    Free,
    Pressing,
}

/// Whether more is taken of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    GoesOn,
    /// Something of it was refused, and that was said: what comes behind is dropped, since it would stand in the
    /// wrong position.
    Over,
}

/// What came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// It is typed, once.
    Typed,
    /// It was typed before, or stands behind something that was refused: it is dropped.
    Dropped,
    /// It is not typed, nor is anything more of its hold.
    Refused(String),
}

/// One piece of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct RemoteStroke {
    pub hold: HoldId,
    pub sequence: InputSequence,
    pub piece: RemotePiece,
    /// Its bytes.
    pub keys: HiddenBytes,
    /// Whether it is the last one of its input.
    pub order: PieceOrder,
}

/// What becomes of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemotePiece {
    /// It is typed.
    Plain,
    /// It suspends what is in the foreground: it is typed if that is a [job](super::Foreground::Job).
    Suspending,
}

impl RemotePiece {
    /// Whether it may be typed into a terminal that is set like this.
    pub fn may_be_typed(self, settings: Option<TerminalSettings>) -> bool {
        match self {
            Self::Plain => true,
            Self::Suspending => TerminalSettings::may_suspend(settings),
        }
    }
}

/// Where a piece stands in its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum PieceOrder {
    Inside,
    Last,
}

/// Bytes that no `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenBytes(pub Bytes);

impl core::fmt::Debug for HiddenBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl RemoteKeys {
    /// Pieces of one input: 64. Each key that suspends is one, and what stands between two of them another, and each is
    /// answered for itself.
    pub(crate) const PIECES: usize = 64;

    /// This many bytes came under this number of this hold.
    pub(crate) fn take(
        &mut self,
        hold: &HoldId,
        sequence: InputSequence,
        bytes: usize,
    ) -> Incoming {
        // Ids of holds grow within a session, so that one that ended begins no second time.
        if self.current.as_ref().is_some_and(|current| *hold < current.hold) {
            return Incoming::Dropped;
        }
        if self.current.as_ref().is_none_or(|current| current.hold != *hold) {
            self.current = Some(Current {
                hold: hold.clone(),
                accepted: InputSequence(0),
                taken: InputSequence(0),
                waiting: 0,
                inputs: VecDeque::new(),
                queue: VecDeque::new(),
                hand: Hand::Free,
                course: Course::GoesOn,
            });
        }
        let Some(current) = &mut self.current else { return Incoming::Dropped };
        match current.course {
            Course::GoesOn => {}
            Course::Over => return Incoming::Dropped,
        }
        if sequence <= current.accepted {
            return Incoming::Dropped;
        }
        let expected = current.accepted.next();
        if sequence != expected {
            current.course = Course::Over;
            return Incoming::Refused(format!(
                "sequence {sequence} arrived where {expected} was expected"
            ));
        }
        if current.waiting.saturating_add(bytes) > Hold::OUTSTANDING {
            current.course = Course::Over;
            let waiting = current.waiting;
            return Incoming::Refused(format!(
                "the program does not read its terminal: {waiting} bytes wait"
            ));
        }
        current.accepted = sequence;
        current.waiting = current.waiting.saturating_add(bytes);
        Incoming::Typed
    }

    /// An input that is to be typed waits for its turn.
    pub(crate) fn wait(&mut self, sequence: InputSequence, bytes: Bytes) {
        if let Some(current) = &mut self.current {
            current.inputs.push_back((sequence, bytes));
        }
    }

    /// The input whose turn it is now, once all before it is in the terminal: it is to be cut into pieces as the
    /// terminal
    /// is now.
    pub(crate) fn next_input(&mut self) -> Option<(HoldId, InputSequence, Bytes)> {
        let current = self.current.as_mut()?;
        if current.hand == Hand::Pressing || !current.queue.is_empty() {
            return None;
        }
        let (sequence, bytes) = current.inputs.pop_front()?;
        Some((current.hold.clone(), sequence, bytes))
    }

    /// What the input whose turn it is consists of.
    pub(crate) fn put(&mut self, pieces: impl IntoIterator<Item = RemoteStroke>) {
        if let Some(current) = &mut self.current {
            current.queue.extend(pieces);
        }
    }

    /// What is to be typed now: say what came of it by [`on_typed`](Self::on_typed) or [`fail`](Self::fail).
    pub(crate) fn next(&mut self) -> Option<RemoteStroke> {
        let current = self.current.as_mut()?;
        match current.hand {
            Hand::Pressing => None,
            Hand::Free => {
                let stroke = current.queue.pop_front()?;
                current.hand = Hand::Pressing;
                Some(stroke)
            }
        }
    }

    /// Whether an input has been begun, and something of it has not been given out yet.
    pub(crate) fn is_within_input(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !current.queue.is_empty())
    }

    /// A piece of this many bytes is in the terminal. Whether that is news of the present hold.
    pub(crate) fn on_typed(
        &mut self,
        hold: &HoldId,
        sequence: InputSequence,
        bytes: usize,
    ) -> bool {
        let Some(current) = self.current.as_mut().filter(|current| current.hold == *hold) else {
            return false;
        };
        current.hand = Hand::Free;
        current.waiting = current.waiting.saturating_sub(bytes);
        let is_news = sequence > current.taken;
        current.taken = current.taken.max(sequence);
        is_news && current.course == Course::GoesOn
    }

    /// An input was not typed, or not all of it: nothing more of its hold is. Whether that is news.
    pub(crate) fn fail(&mut self, hold: &HoldId) -> bool {
        let Some(current) = self.current.as_mut().filter(|current| current.hold == *hold) else {
            return false;
        };
        current.stop()
    }

    /// The hold that is there, and up to which number everything of it is in the terminal.
    pub(crate) fn taken(&self) -> Option<(&HoldId, InputSequence)> {
        self.current.as_ref().map(|current| (&current.hold, current.taken))
    }

    /// The program ended: nothing more of the hold is typed into another. Gives the hold if it continued.
    pub(crate) fn end(&mut self) -> Option<HoldId> {
        let current = self.current.as_mut()?;
        current.waiting = 0;
        current.stop().then(|| current.hold.clone())
    }
}

impl Current {
    /// Nothing more of it is typed. Whether it continued until now.
    fn stop(&mut self) -> bool {
        self.inputs.clear();
        self.queue.clear();
        core::mem::replace(&mut self.course, Course::Over) == Course::GoesOn
    }
}

/// Why nothing is typed into a terminal whose program has ended.
pub(crate) fn program_ended() -> String {
    "the program in the terminal has ended".to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn hold(name: &str) -> HoldId {
        HoldId::new(name)
    }

    fn take(keys: &mut RemoteKeys, name: &str, n: u64) -> Incoming {
        keys.take(&hold(name), InputSequence(n), 10)
    }

    #[test]
    fn each_number_is_typed_once_and_behind_a_hole_nothing() {
        let mut keys = RemoteKeys::default();
        assert_eq!(take(&mut keys, "a", 1), Incoming::Typed);
        assert_eq!(take(&mut keys, "a", 1), Incoming::Dropped);
        assert_eq!(take(&mut keys, "a", 2), Incoming::Typed);
        assert!(matches!(take(&mut keys, "a", 4), Incoming::Refused(_)));
        assert_eq!(take(&mut keys, "a", 3), Incoming::Dropped, "it ended, and that was reported");
        assert_eq!(take(&mut keys, "b", 1), Incoming::Typed);
        assert_eq!(take(&mut keys, "a", 1), Incoming::Dropped, "that hold ended");
        assert!(matches!(take(&mut keys, "c", 2), Incoming::Refused(_)));
    }

    #[test]
    fn what_waits_for_a_program_that_does_not_read_has_a_bound() {
        let mut keys = RemoteKeys::default();
        let id = hold("a");
        let half = Hold::OUTSTANDING / 2;
        assert_eq!(keys.take(&id, InputSequence(1), half), Incoming::Typed);
        assert_eq!(keys.take(&id, InputSequence(2), half), Incoming::Typed);
        assert!(keys.on_typed(&id, InputSequence(1), half));
        assert!(!keys.on_typed(&id, InputSequence(1), 0), "it is no news");
        assert_eq!(keys.take(&id, InputSequence(3), half), Incoming::Typed);
        assert!(matches!(keys.take(&id, InputSequence(4), 1), Incoming::Refused(_)));
        assert!(!keys.fail(&id), "it was said");
        assert!(!keys.on_typed(&id, InputSequence(3), half), "and nothing more is said of it");
    }

    #[test]
    fn nothing_of_a_hold_is_typed_into_the_next_program() {
        let mut keys = RemoteKeys::default();
        assert_eq!(take(&mut keys, "a", 1), Incoming::Typed);
        assert_eq!(keys.end(), Some(hold("a")));
        assert_eq!(keys.end(), None);
        assert_eq!(take(&mut keys, "a", 2), Incoming::Dropped);
        assert_eq!(take(&mut keys, "b", 1), Incoming::Typed);
    }

    fn stroke(name: &str, n: u64) -> RemoteStroke {
        RemoteStroke {
            hold: hold(name),
            sequence: InputSequence(n),
            piece: RemotePiece::Plain,
            keys: HiddenBytes(Bytes::from_static(b"x")),
            order: PieceOrder::Last,
        }
    }

    #[test]
    fn behind_what_was_not_typed_nothing_is() {
        let mut keys = RemoteKeys::default();
        for n in 1..=3 {
            assert_eq!(take(&mut keys, "a", n), Incoming::Typed);
            keys.put([stroke("a", n)]);
        }
        assert_eq!(keys.next(), Some(stroke("a", 1)));
        assert_eq!(keys.next(), None, "one at a time");
        assert!(keys.on_typed(&hold("a"), InputSequence(1), 1));
        assert_eq!(keys.next(), Some(stroke("a", 2)));
        assert!(keys.fail(&hold("a")));
        assert_eq!(keys.next(), None, "it would stand in the wrong position");
        assert_eq!(take(&mut keys, "b", 1), Incoming::Typed);
        keys.put([stroke("b", 1)]);
        assert_eq!(keys.next(), Some(stroke("b", 1)));
        let _ = keys.end();
        assert_eq!(keys.next(), None);
    }

    proptest! {
        /// Whatever comes, what is typed of a hold are the numbers from 1 on, each once, without a hole.
        #[test]
        fn what_is_typed_are_the_numbers_in_order(
            inputs in proptest::collection::vec((0..2_usize, 0..8_u64), 0..60),
        ) {
            let mut keys = RemoteKeys::default();
            let mut typed: Vec<(usize, u64)> = Vec::new();
            for (which, n) in inputs {
                if keys.take(&hold(["a", "b"][which]), InputSequence(n), 1) == Incoming::Typed {
                    let last = typed.last().filter(|(of, _)| *of == which).map_or(0, |(_, n)| *n);
                    prop_assert_eq!(n, last + 1);
                    typed.push((which, n));
                }
            }
        }
    }
}
