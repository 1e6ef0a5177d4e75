//! When the model of a terminal's screen is drawn, by which its program is answered while nobody is attached: in slices,
//! because some bytes keep the model of a large screen busy for minutes, and the agent has other things to do.
//! Meanwhile the program waits, and what waits for too long is left out. The model itself is at the edge.

use super::event::Waiting;
use super::note::WorkerNote;
use crate::terminal::{Modes, Query, ScreenFacts, TerminalSize};
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::mem;
use core::time::Duration;

/// How long the program waits for what it wrote to be drawn. Usual output takes a slice.
const LONGEST: Duration = Duration::from_secs(2);
/// Ends a sequence of which the rest is left out.
const CANCEL: &[u8] = b"\x18";

/// A model of a screen, for the time of one slice.
pub trait ScreenModel {
    /// Takes what the program wrote until the slice is over, and at least a little. How many bytes it took.
    fn draw(&mut self, bytes: &[u8]) -> usize;
    /// The terminal has this size from now on.
    fn resize(&mut self, size: TerminalSize);
    /// The size of the terminal.
    fn size(&self) -> TerminalSize;
    /// Column and row of the cursor, from 1.
    fn cursor(&self) -> (u16, u16);
    /// The modes that are switched.
    fn modes(&self) -> &Modes;
    /// How often the model failed and began again.
    fn faults(&self) -> u64;
    /// Whether the slice is over.
    fn is_over(&self) -> bool;
}

/// What is to be done with a model, in this order.
#[derive(Debug, Default)]
pub struct Drawing {
    steps: VecDeque<Step>,
    /// Since when something waits.
    since: Option<Timestamp>,
    /// What the program was last told to do.
    told: Waiting,
}

#[derive(Debug)]
enum Step {
    Draw(Bytes),
    Answer(Query),
    Resize(TerminalSize),
}

/// What came of a slice.
#[derive(Debug, Default)]
pub struct Drawn {
    /// What the program asked, and what is to be typed as the answer.
    pub answers: Vec<(Query, Vec<u8>)>,
    /// What is to be logged and counted.
    pub notes: Vec<WorkerNote>,
    /// Whether the program waits from now on, if that has changed.
    pub waiting: Option<Waiting>,
}

impl Drawing {
    /// How long is drawn before the agent looks at everything else.
    pub const SLICE: Duration = Duration::from_millis(20);

    /// Whether something waits.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The program wrote this.
    pub fn draw(&mut self, bytes: Bytes) {
        self.steps.push_back(Step::Draw(bytes));
    }

    /// It asks this, behind what is to be drawn.
    pub fn answer(&mut self, query: Query) {
        self.steps.push_back(Step::Answer(query));
    }

    /// The terminal got another size. Of sizes in a row the last one counts.
    pub fn resize(&mut self, size: TerminalSize) {
        match self.steps.back_mut() {
            Some(Step::Resize(last)) => *last = size,
            Some(Step::Draw(_) | Step::Answer(_)) | None => {
                self.steps.push_back(Step::Resize(size));
            }
        }
    }

    /// Nothing of what waits is awaited any more: the program has ended.
    pub fn forget(&mut self) {
        self.steps.clear();
        self.since = None;
    }

    /// Goes on for a slice.
    pub fn advance(&mut self, model: &mut impl ScreenModel, now: Timestamp) -> Drawn {
        let (mut drawn, faults) = (Drawn::default(), model.faults());
        let since = *self.since.get_or_insert(now);
        if now.saturating_since(since) >= LONGEST {
            drawn.notes.push(WorkerNote::ScreenModelBehind);
            let _ = model.draw(CANCEL);
            self.steps.retain(|step| !matches!(step, Step::Draw(_)));
        }
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Draw(bytes) => {
                    let taken = model.draw(&bytes);
                    if taken < bytes.len() {
                        self.steps.push_front(Step::Draw(bytes.slice(taken..)));
                    }
                }
                Step::Answer(query) => {
                    let (size, cursor, modes) = (model.size(), model.cursor(), model.modes());
                    let answer = query.answer(&ScreenFacts { size, cursor, modes });
                    drawn.answers.push((query, answer));
                }
                Step::Resize(size) => model.resize(size),
            }
            if model.is_over() {
                break;
            }
        }
        let waiting = match self.is_behind() {
            true => Waiting::Waits,
            false => {
                self.since = None;
                Waiting::GoesOn
            }
        };
        if model.faults() > faults {
            drawn.notes.push(WorkerNote::ScreenModelFailed);
        }
        drawn.waiting = (mem::replace(&mut self.told, waiting) != waiting).then_some(waiting);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A model fails with this.
    const FAILS: &[u8] = b"fails";

    /// Draws this many bytes in a slice; its cursor stands behind the bytes that it was given.
    struct Model {
        bytes_of_slice: usize,
        left: usize,
        drawn: Vec<u8>,
        size: TerminalSize,
        modes: Modes,
        faults: u64,
    }

    impl Model {
        fn new(bytes_of_slice: usize) -> Self {
            let (size, modes) = (TerminalSize::DEFAULT, Modes::default());
            Self { bytes_of_slice, left: 0, drawn: Vec::new(), size, modes, faults: 0 }
        }

        fn slice(&mut self, drawing: &mut Drawing, ms: u64) -> Drawn {
            self.left = self.bytes_of_slice;
            drawing.advance(self, Timestamp::from_origin(Duration::from_millis(ms)))
        }
    }

    impl ScreenModel for Model {
        fn draw(&mut self, bytes: &[u8]) -> usize {
            let taken = bytes.len().min(self.left.max(1));
            self.left = self.left.saturating_sub(taken);
            self.faults += u64::from(bytes == FAILS);
            self.drawn.extend(bytes.iter().take(taken));
            taken
        }
        fn resize(&mut self, size: TerminalSize) {
            self.size = size;
        }
        fn size(&self) -> TerminalSize {
            self.size
        }
        fn cursor(&self) -> (u16, u16) {
            (self.drawn.len() as u16 + 1, 1)
        }
        fn modes(&self) -> &Modes {
            &self.modes
        }
        fn faults(&self) -> u64 {
            self.faults
        }
        fn is_over(&self) -> bool {
            self.left == 0
        }
    }

    fn answers(drawn: &Drawn) -> Vec<&[u8]> {
        drawn.answers.iter().map(|(_, answer)| answer.as_slice()).collect()
    }

    #[test]
    fn what_is_usual_is_drawn_and_answered_at_once() {
        let (mut model, mut drawing) = (Model::new(100), Drawing::default());
        drawing.draw(Bytes::from_static(b"abc"));
        drawing.answer(Query::Cursor);
        drawing.resize(TerminalSize::new(40, 10).unwrap());
        drawing.answer(Query::Size);
        let drawn = model.slice(&mut drawing, 0);
        assert_eq!(answers(&drawn), [&b"\x1b[1;4R"[..], b"\x1b[8;10;40t"]);
        assert!(!drawing.is_behind() && drawn.notes.is_empty() && drawn.waiting.is_none());
    }

    #[test]
    fn what_keeps_a_model_busy_is_drawn_in_slices_while_the_program_waits() {
        let (mut model, mut drawing) = (Model::new(10), Drawing::default());
        drawing.draw(Bytes::from_static(&[b'x'; 25]));
        drawing.answer(Query::Cursor);
        let drawn = model.slice(&mut drawing, 0);
        assert!(drawing.is_behind() && drawn.answers.is_empty());
        assert_eq!(drawn.waiting, Some(Waiting::Waits));
        assert_eq!(model.slice(&mut drawing, 20).waiting, None, "it waits already");
        let drawn = model.slice(&mut drawing, 40);
        assert_eq!(answers(&drawn), [b"\x1b[1;26R"], "an answer keeps its place");
        assert_eq!((model.drawn.len(), drawn.waiting), (25, Some(Waiting::GoesOn)));
    }

    #[test]
    fn what_waits_for_too_long_is_left_out_and_questions_are_answered() {
        let (mut model, mut drawing) = (Model::new(10), Drawing::default());
        drawing.draw(Bytes::from_static(&[b'x'; 1000]));
        drawing.answer(Query::Cursor);
        let longest = LONGEST.as_millis() as u64;
        let _ = model.slice(&mut drawing, 5);
        assert!(model.slice(&mut drawing, longest + 4).notes.is_empty(), "it has its time");
        let drawn = model.slice(&mut drawing, longest + 5);
        assert_eq!((drawn.notes, drawn.answers.len()), (vec![WorkerNote::ScreenModelBehind], 1));
        assert_eq!((drawing.is_behind(), drawn.waiting), (false, Some(Waiting::GoesOn)));
        assert_eq!(model.drawn.last(), CANCEL.first(), "and no sequence is left open");
        drawing.draw(Bytes::from_static(b"y"));
        assert!(model.slice(&mut drawing, 2 * longest).notes.is_empty(), "its time is its own");
    }

    #[test]
    fn of_sizes_in_a_row_the_last_one_counts() {
        let (mut model, mut drawing) = (Model::new(1), Drawing::default());
        drawing.draw(Bytes::from_static(b"abc"));
        for rows in 1..1000 {
            drawing.resize(TerminalSize::new(500, rows).unwrap());
        }
        assert_eq!(drawing.steps.len(), 2);
        drawing.forget();
        assert!(!drawing.is_behind());
        assert_eq!(model.slice(&mut drawing, 0).waiting, None);
    }

    #[test]
    fn a_model_that_failed_is_told_of() {
        let (mut model, mut drawing) = (Model::new(100), Drawing::default());
        drawing.draw(Bytes::from_static(b"a"));
        assert!(model.slice(&mut drawing, 0).notes.is_empty());
        drawing.draw(Bytes::from_static(FAILS));
        assert_eq!(model.slice(&mut drawing, 0).notes, [WorkerNote::ScreenModelFailed]);
    }
}
