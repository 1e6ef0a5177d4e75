//! The model of the terminal's screen, by which its program is answered while nobody is attached. It is drawn in
//! slices:
//! some bytes keep the model of a large screen busy for minutes, and the agent has other things to do. Meanwhile the
//! program waits, and what waits for too long is left out.

use bytes::Bytes;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::terminal::{Query, ScreenFacts};
use onsembl_transport::screen::Screen;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long is drawn before the agent looks at everything else.
const SLICE: Duration = Duration::from_millis(20);
/// How long the program waits for what it wrote to be drawn. Usual output takes a slice.
const LONGEST: Duration = Duration::from_secs(2);
/// Ends a sequence of which the rest is left out.
const CANCEL: &[u8] = b"\x18";

/// What is to be done with the model, in this order.
#[derive(Debug)]
pub(super) enum Step {
    /// The program wrote this.
    Draw(Bytes),
    /// It asks this, behind what is to be drawn.
    Answer(Query),
    /// The terminal got another size.
    Resize(TerminalSize),
}

/// What came of a slice.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// What the program asked, and the answers.
    pub(super) answers: Vec<(Query, Vec<u8>)>,
    /// The model failed, and began again.
    pub(super) failed: bool,
    /// Something was left out.
    pub(super) left_out: bool,
}

/// A model, and what is to be done with it.
#[derive(Debug)]
pub(super) struct ScreenModel {
    screen: Screen,
    steps: VecDeque<Step>,
    /// Since when something waits.
    since: Option<Instant>,
}

impl ScreenModel {
    pub(super) fn new(size: TerminalSize) -> Self {
        Self { screen: Screen::new(size), steps: VecDeque::new(), since: None }
    }

    /// Whether something waits.
    pub(super) fn is_behind(&self) -> bool {
        !self.steps.is_empty()
    }

    pub(super) fn push(&mut self, step: Step) {
        match (self.steps.back_mut(), step) {
            (Some(Step::Resize(last)), Step::Resize(size)) => *last = size,
            (_, step) => self.steps.push_back(step),
        }
    }

    /// Nothing of what waits is awaited any more: the program has ended.
    pub(super) fn forget(&mut self) {
        self.steps.clear();
        self.since = None;
    }

    /// Goes on for a slice.
    pub(super) fn advance(&mut self) -> Slice {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let leaves_out = now.saturating_duration_since(since) >= LONGEST;
        self.advance_until(now + SLICE, leaves_out)
    }

    fn advance_until(&mut self, until: Instant, leaves_out: bool) -> Slice {
        let mut slice = Slice::default();
        let faults = self.screen.faults();
        if leaves_out {
            slice.left_out = true;
            self.screen.feed(CANCEL);
            self.steps.retain(|step| !matches!(step, Step::Draw(_)));
        }
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Draw(bytes) => {
                    let taken = self.screen.feed_until(&bytes, until);
                    if taken < bytes.len() {
                        self.steps.push_front(Step::Draw(bytes.slice(taken..)));
                    }
                }
                Step::Answer(query) => {
                    let (size, cursor) = (self.screen.size(), self.screen.cursor());
                    let facts = ScreenFacts { size, cursor, modes: self.screen.modes() };
                    slice.answers.push((query, query.answer(&facts)));
                }
                Step::Resize(size) => self.screen.resize(size),
            }
            if Instant::now() >= until {
                break;
            }
        }
        if self.steps.is_empty() {
            self.since = None;
        }
        slice.failed = self.screen.faults() > faults;
        slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest() -> TerminalSize {
        TerminalSize::new(TerminalSize::MOST.into(), TerminalSize::MOST.into()).unwrap()
    }

    /// Some minutes of drawing.
    fn costly() -> Step {
        Step::Draw(b"\x1bc".repeat(8 * 1024).into())
    }

    #[test]
    fn what_is_usual_is_drawn_and_answered_at_once() {
        let mut model = ScreenModel::new(TerminalSize::DEFAULT);
        model.push(Step::Draw(Bytes::from_static(b"abc")));
        model.push(Step::Answer(Query::Cursor));
        model.push(Step::Resize(TerminalSize::new(40, 10).unwrap()));
        model.push(Step::Answer(Query::Size));
        let slice = model.advance();
        let answers: Vec<&[u8]> = slice.answers.iter().map(|(_, text)| &text[..]).collect();
        assert_eq!(answers, [&b"\x1b[1;4R"[..], b"\x1b[8;10;40t"]);
        assert!(!model.is_behind() && !slice.failed && !slice.left_out);
    }

    #[test]
    fn what_keeps_a_model_busy_is_drawn_in_slices_and_answers_keep_their_place() {
        let mut model = ScreenModel::new(largest());
        model.push(costly());
        model.push(Step::Answer(Query::Cursor));
        let begun = Instant::now();
        let slice = model.advance();
        // A slice, and on a slow machine one piece more.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(model.is_behind() && slice.answers.is_empty() && !slice.left_out);
    }

    #[test]
    fn what_waits_for_too_long_is_left_out_and_questions_are_answered() {
        let mut model = ScreenModel::new(largest());
        model.push(costly());
        model.push(Step::Answer(Query::Cursor));
        let _ = model.advance();
        model.since = Instant::now().checked_sub(LONGEST);
        let slice = model.advance();
        assert!(slice.left_out && slice.answers.len() == 1 && !model.is_behind());
        model.push(Step::Draw(Bytes::from_static(b"\x1b[2;2Hx")));
        model.push(Step::Answer(Query::Cursor));
        let slice = model.advance();
        assert!(!slice.left_out);
        let answer = slice.answers.first().map(|(_, text)| &text[..]);
        assert_eq!(answer, Some(&b"\x1b[2;3R"[..]));
    }

    #[test]
    fn of_sizes_in_a_row_the_last_one_counts() {
        let mut model = ScreenModel::new(largest());
        model.push(costly());
        for rows in 1..1000 {
            model.push(Step::Resize(TerminalSize::new(500, rows).unwrap()));
        }
        assert_eq!(model.steps.len(), 2);
        model.forget();
        assert!(!model.is_behind());
    }
}
