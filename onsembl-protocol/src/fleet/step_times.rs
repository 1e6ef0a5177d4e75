//! How long each event holds up a server, whose one task serves all users: an event that is slow is named with its user
//! before many are, and no time is counted twice.

use core::mem;
use core::time::Duration;

/// What the events of a step took. See the [module](self).
#[derive(Debug, Default)]
pub struct StepTimes {
    /// What events of users took of the present step.
    of_users: Duration,
}

impl StepTimes {
    /// What an event may take with all that it decides: half of what deadlines may be late (100 ms).
    const SLOW: Duration = Duration::from_millis(50);

    /// An event of a user took this long. Whether that is slow.
    pub fn of_user(&mut self, took: Duration) -> bool {
        self.of_users = self.of_users.saturating_add(took);
        took > Self::SLOW
    }

    /// A whole step took this long, also what is no user's. Whether it is slow by what it took besides the events of
    /// users.
    pub fn of_step(&mut self, took: Duration) -> bool {
        took.saturating_sub(mem::take(&mut self.of_users)) > Self::SLOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_users_is_measured_too_and_no_time_counts_twice() {
        let (mut times, ms) = (StepTimes::default(), Duration::from_millis);
        assert!(!times.of_step(ms(50)) && times.of_step(ms(51)));
        assert!(!times.of_user(ms(50)) && times.of_user(ms(51)));
        assert!(!times.of_step(ms(151)), "events of users were named");
        assert!(times.of_step(ms(51)), "which counts for one step");
    }
}
