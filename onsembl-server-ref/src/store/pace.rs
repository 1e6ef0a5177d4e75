//! When the writer commits: at once what somebody waits for and what comes alone, and in company what nobody waits for or
//! what comes in floods. A decision only: it is told what waits, and says until when.

use super::line::{BATCH_REQUESTS, Lane, QueuedWrite, Waits};
use super::request::Request;
use std::time::{Duration, Instant};

/// From the begin of one transaction to that of the next for writes that only record, and so the longest that one of
/// them waits for others: heartbeats are promised within 100 ms, and the transaction takes its part of that.
pub(crate) const GATHERED: Duration = Duration::from_millis(60);
/// From the begin of one transaction to that of the next, while output comes or many wait for answers.
pub(crate) const SPACING: Duration = Duration::from_millis(20);
/// Output that is committed without waiting for more: a quarter of an agent's window, which would stand still else.
pub(crate) const OUTPUT_ENOUGH: usize = 256 * 1024;
/// Records of output that are committed without waiting for more.
pub(crate) const RECORDS_ENOUGH: usize = 1024;
/// This many answers in one transaction mean that many ask, and that the next ones are worth waiting for.
pub(crate) const COMPANY: usize = 8;

/// Until when the writer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Now,
    At(Instant),
    /// Nothing waits.
    Never,
}

/// What waits besides heartbeats.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    orders: usize,
    /// Requests that somebody waits for.
    answers: usize,
    /// Requests that only record.
    records: usize,
    /// Since when the oldest of them and of the heartbeats waits.
    since: Option<Instant>,
    output: usize,
    output_bytes: usize,
}

impl Waiting {
    /// A request came.
    pub(super) fn add(&mut self, queued: &QueuedWrite, now: impl FnOnce() -> Instant) {
        match &queued.request {
            Request::Output(_) => {
                self.output += 1;
                self.output_bytes += queued.request.output_len();
            }
            Request::Call(_) => match (queued.routing.lane, queued.routing.waits) {
                (Lane::Orders, _) => self.orders += 1,
                (Lane::Control | Lane::Data, Waits::ForIt) => self.answers += 1,
                (Lane::Control | Lane::Data, Waits::Nobody) => {
                    self.records += 1;
                    let _ = self.since.get_or_insert_with(now);
                }
            },
        }
    }

    /// A heartbeat came.
    pub(super) fn beat(&mut self, now: impl FnOnce() -> Instant) {
        let _ = self.since.get_or_insert_with(now);
    }

    /// These were taken, and with them all heartbeats. How many somebody waits for.
    pub(super) fn took(&mut self, taken: &[QueuedWrite], now: impl FnOnce() -> Instant) -> usize {
        let mut answers = 0;
        for queued in taken {
            match &queued.request {
                Request::Output(_) => {
                    self.output = self.output.saturating_sub(1);
                    self.output_bytes =
                        self.output_bytes.saturating_sub(queued.request.output_len());
                }
                Request::Call(_) => match (queued.routing.lane, queued.routing.waits) {
                    (Lane::Orders, _) => self.orders = self.orders.saturating_sub(1),
                    (Lane::Control | Lane::Data, Waits::ForIt) => {
                        self.answers = self.answers.saturating_sub(1);
                        answers += 1;
                    }
                    (Lane::Control | Lane::Data, Waits::Nobody) => {
                        self.records = self.records.saturating_sub(1);
                    }
                },
            }
        }
        self.since = (self.records > 0).then(now);
        answers
    }
}

/// The pace of transactions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    last_began: Option<Instant>,
    /// Answers in the last one.
    answers: usize,
    /// How long what only records may wait.
    gathered: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { last_began: None, answers: 0, gathered: GATHERED }
    }
}

impl Pace {
    /// What only records waits no longer than this, nor than [`GATHERED`].
    pub(super) fn gather_within(&mut self, longest: Duration) {
        self.gathered = longest.min(GATHERED);
    }

    /// When the next transaction begins, with what waits now.
    pub(super) fn due(self, waiting: &Waiting) -> Due {
        let spaced = self.last_began.map_or(Due::Now, |at| Due::At(at + SPACING));
        let many_ask = self.answers >= COMPANY;
        // More does not go into one anyway.
        let is_a_batch = waiting.answers + waiting.records >= BATCH_REQUESTS;
        let is_enough = waiting.output_bytes >= OUTPUT_ENOUGH || waiting.output >= RECORDS_ENOUGH;
        let of_output = match waiting.output {
            0 => Due::Never,
            _ if is_enough => Due::Now,
            _ => spaced,
        };
        let of_answers = match waiting.answers {
            0 => Due::Never,
            _ if many_ask && !is_a_batch => spaced,
            _ => Due::Now,
        };
        let of_orders = if waiting.orders > 0 { Due::Now } else { Due::Never };
        let of_records = match waiting.since {
            Some(_) if is_a_batch => Due::Now,
            Some(since) => {
                let spaced = self.last_began.map_or(since, |at| at + self.gathered);
                Due::At(spaced.max(since))
            }
            None => Due::Never,
        };
        of_orders.min(of_answers).min(of_output).min(of_records)
    }

    /// A transaction begins, with this many answers in it.
    pub(super) fn began(&mut self, now: Instant, answers: usize) {
        (self.last_began, self.answers) = (Some(now), answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock of milliseconds.
    struct Clock(Instant);

    impl Clock {
        fn at(&self, millis: u64) -> Instant {
            self.0 + Duration::from_millis(millis)
        }
    }

    fn clock() -> Clock {
        Clock(Instant::now())
    }

    fn output(records: usize, bytes: usize) -> Waiting {
        Waiting { output: records, output_bytes: bytes, ..Waiting::default() }
    }

    fn answers(answers: usize) -> Waiting {
        Waiting { answers, ..Waiting::default() }
    }

    #[test]
    fn nothing_is_due_while_nothing_waits() {
        assert_eq!(Pace::default().due(&Waiting::default()), Due::Never);
    }

    #[test]
    fn a_heartbeat_that_comes_alone_is_committed_at_once() {
        let (clock, mut waiting) = (clock(), Waiting::default());
        waiting.beat(|| clock.at(500));
        assert_eq!(Pace::default().due(&waiting), Due::At(clock.at(500)), "the first of all");
        let pace = Pace { last_began: Some(clock.at(0)), ..Pace::default() };
        assert_eq!(pace.due(&waiting), Due::At(clock.at(500)));
    }

    #[test]
    fn a_heartbeat_behind_a_transaction_waits_for_company_whatever_comes_behind_it() {
        let (clock, mut waiting) = (clock(), Waiting::default());
        waiting.beat(|| clock.at(5));
        waiting.beat(|| clock.at(50));
        let mut pace = Pace { last_began: Some(clock.at(0)), answers: 99, ..Pace::default() };
        assert_eq!(pace.due(&waiting), Due::At(clock.at(0) + GATHERED));
        pace.gather_within(Duration::from_millis(10));
        assert_eq!(pace.due(&waiting), Due::At(clock.at(10)), "less where beats come faster");
        pace.gather_within(Duration::from_secs(10));
        assert_eq!(pace.due(&waiting), Due::At(clock.at(0) + GATHERED));
        assert_eq!(waiting.took(&[], || clock.at(65)), 0);
        assert_eq!(pace.due(&waiting), Due::Never);
    }

    #[test]
    fn one_who_waits_for_an_answer_does_not_wait_for_others() {
        let (clock, mut pace) = (clock(), Pace::default());
        for millis in [0, 3, 6] {
            assert_eq!(pace.due(&answers(1)), Due::Now);
            pace.began(clock.at(millis), 1);
        }
        let with_beats = Waiting { since: Some(clock.at(8)), ..answers(1) };
        assert_eq!(pace.due(&with_beats), Due::Now, "and takes along what waits");
    }

    #[test]
    fn where_many_ask_several_go_into_one_transaction() {
        let (clock, mut pace) = (clock(), Pace::default());
        pace.began(clock.at(0), COMPANY);
        assert_eq!(pace.due(&answers(1)), Due::At(clock.at(0) + SPACING));
        assert_eq!(pace.due(&Waiting { orders: 1, ..answers(1) }), Due::Now, "but a stop");
        pace.began(clock.at(20), COMPANY - 1);
        assert_eq!(pace.due(&answers(1)), Due::Now);
    }

    #[test]
    fn output_is_committed_fifty_times_a_second_or_when_there_is_enough() {
        let (clock, mut pace) = (clock(), Pace::default());
        assert_eq!(pace.due(&output(1, 1)), Due::Now, "the first of a while");
        pace.began(clock.at(0), 0);
        assert_eq!(pace.due(&output(1, 1)), Due::At(clock.at(0) + SPACING));
        let few = output(RECORDS_ENOUGH - 1, OUTPUT_ENOUGH - 1);
        assert_eq!(pace.due(&few), Due::At(clock.at(0) + SPACING));
        assert_eq!(pace.due(&output(RECORDS_ENOUGH, 1)), Due::Now);
        assert_eq!(pace.due(&output(1, OUTPUT_ENOUGH)), Due::Now);
    }

    #[test]
    fn what_fills_a_transaction_waits_for_nothing() {
        let (clock, mut pace) = (clock(), Pace::default());
        pace.began(clock.at(0), COMPANY);
        let records = |records| Waiting { records, since: Some(clock.at(1)), ..answers(1) };
        assert_eq!(pace.due(&records(BATCH_REQUESTS - 2)), Due::At(clock.at(0) + SPACING));
        assert_eq!(pace.due(&records(BATCH_REQUESTS - 1)), Due::Now);
    }

    /// As many transactions as the pace allows, with a heartbeat each millisecond.
    #[test]
    fn a_thousand_beats_a_second_take_few_transactions_and_none_is_late() {
        let (clock, mut pace, mut waiting) = (clock(), Pace::default(), Waiting::default());
        let (mut commits, mut oldest, mut latest) = (0, None, 0);
        for now in 0..1000 {
            waiting.beat(|| clock.at(now));
            let since = *oldest.get_or_insert(now);
            if pace.due(&waiting) <= Due::At(clock.at(now)) {
                latest = latest.max(now - since);
                oldest = None;
                let answers = waiting.took(&[], || clock.at(now));
                pace.began(clock.at(now), answers);
                commits += 1;
            }
        }
        assert!(commits <= 17, "{commits}");
        assert!(latest <= 60, "{latest}");
    }

    /// However they are spread: each that is late enough to be alone has a transaction of its own.
    #[test]
    fn no_rate_of_beats_takes_more_transactions_than_one_each_gathering() {
        for every in 1..200 {
            let (clock, mut pace, mut waiting) = (clock(), Pace::default(), Waiting::default());
            let (mut commits, mut oldest, mut latest) = (0, None, 0);
            for now in 0..10_000 {
                if now % every == 0 {
                    waiting.beat(|| clock.at(now));
                    let _ = oldest.get_or_insert(now);
                }
                if pace.due(&waiting) <= Due::At(clock.at(now)) {
                    latest = latest.max(oldest.take().map_or(0, |since| now - since));
                    let answers = waiting.took(&[], || clock.at(now));
                    pace.began(clock.at(now), answers);
                    commits += 1;
                }
            }
            assert!(commits <= 10_000 / 60 + 1, "{commits} with one each {every} ms");
            assert!(latest < 60, "{latest} with one each {every} ms");
        }
    }
}
