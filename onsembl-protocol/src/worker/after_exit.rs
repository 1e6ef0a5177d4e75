//! How long a command is read whose leader has exited while something that it started holds its output open. What
//! comes later belongs to no command that still runs: the end of its output is unknown then, and said to be.

use crate::time::Timestamp;
use core::time::Duration;

/// The wait for the rest of a command's output, from the exit of its leader on. Time in which nothing is read,
/// because nothing takes what comes, does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterExit {
    exited_at: Timestamp,
    heard_at: Timestamp,
    /// Since when nothing is read.
    paused_since: Option<Timestamp>,
}

impl AfterExit {
    /// So much silence is the end: what was written last has come by then, also from a pipeline that is being
    /// wound up.
    pub const SILENCE: Duration = Duration::from_secs(2);
    /// However much comes, no longer than this: a command ends with its leader, not with a daemon that it started,
    /// be that as chatty as it will.
    pub const LONGEST: Duration = Duration::from_secs(10);

    /// The leader has exited.
    pub const fn new(now: Timestamp) -> Self {
        Self { exited_at: now, heard_at: now, paused_since: None }
    }

    /// Something came, or was taken.
    pub fn on_output(&mut self, now: Timestamp) {
        self.heard_at = now;
    }

    /// From now on nothing is read.
    pub fn pause(&mut self, now: Timestamp) {
        let _ = self.paused_since.get_or_insert(now);
    }

    /// It is read again.
    pub fn resume(&mut self, now: Timestamp) {
        if let Some(since) = self.paused_since.take() {
            self.exited_at = self.exited_at.saturating_add(now.saturating_since(since));
            self.heard_at = now;
        }
    }

    /// When no more is waited for; `None` while nothing is read.
    pub fn over_at(&self) -> Option<Timestamp> {
        let silent = self.heard_at.saturating_add(Self::SILENCE);
        let longest = self.exited_at.saturating_add(Self::LONGEST);
        self.paused_since.is_none().then(|| silent.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn silence_ends_it_and_each_output_begins_the_silence_again() {
        let mut after = AfterExit::new(at(0));
        assert_eq!(after.over_at(), Some(at(2_000)));
        after.on_output(at(1_500));
        assert_eq!(after.over_at(), Some(at(3_500)));
    }

    #[test]
    fn a_chatty_process_does_not_hold_its_command_open() {
        let mut after = AfterExit::new(at(0));
        for second in 1..100 {
            after.on_output(at(second * 1_000));
        }
        assert_eq!(after.over_at(), Some(at(10_000)));
    }

    #[test]
    fn time_in_which_nothing_is_read_does_not_count() {
        let mut after = AfterExit::new(at(0));
        after.pause(at(1_000));
        after.pause(at(5_000));
        assert_eq!(after.over_at(), None);
        after.resume(at(3_601_000));
        assert_eq!(after.over_at(), Some(at(3_603_000)));
        for second in 3_602..3_700 {
            after.on_output(at(second * 1_000));
        }
        assert_eq!(after.over_at(), Some(at(3_610_000)), "nine of ten seconds were left");
        after.resume(at(3_700_000));
        assert_eq!(after.over_at(), Some(at(3_610_000)), "it was not paused");
    }
}
