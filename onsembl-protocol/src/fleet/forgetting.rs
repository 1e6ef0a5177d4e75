//! Which agents are forgotten by themselves: those that are away for longer than their server keeps them.

use crate::session::PresenceStatus;
use crate::time::WallTime;
use alloc::string::String;
use core::time::Duration;

/// The capability of an agent whose identity ends when it leaves permanently.
pub const EPHEMERAL: &str = "ephemeral";

/// How long agents that are away are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFor {
    /// An agent that said that its identity ends with it.
    pub ephemeral: Duration,
    /// Any other; `None`: permanently.
    pub others: Option<Duration>,
}

impl KeptFor {
    /// Long enough for a machine that is restarted, and short enough that yesterday's containers are not listed.
    pub const EPHEMERAL: Duration = Duration::from_secs(600);

    /// How long an agent with these capabilities is kept; `None`: permanently.
    #[must_use]
    pub fn of(&self, capabilities: &[String]) -> Option<Duration> {
        match capabilities.iter().any(|word| word == EPHEMERAL) {
            true => Some(self.others.map_or(self.ephemeral, |others| others.min(self.ephemeral))),
            false => self.others,
        }
    }

    /// The shortest time that any agent is kept.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        self.others.map_or(self.ephemeral, |others| others.min(self.ephemeral))
    }
}

/// Whether an agent is forgotten that is in `status` since then.
///
/// `observed` is the time that the server has observed, which a clock that is set moves no faster than time passes:
/// by the
/// wall clock alone one that is set to next year would forget a whole fleet. The earlier of both counts.
#[must_use]
pub fn is_forgotten(
    status: PresenceStatus,
    since: WallTime,
    keep: Duration,
    now: WallTime,
    observed: WallTime,
) -> bool {
    let is_away = match status {
        PresenceStatus::Offline => true,
        PresenceStatus::Connecting
        | PresenceStatus::Online
        | PresenceStatus::Stale
        | PresenceStatus::TimedOut
        | PresenceStatus::Reconnecting
        | PresenceStatus::Error => false,
    };
    let age = now.min(observed).unix_millis().saturating_sub(since.unix_millis());
    is_away && u128::try_from(age).is_ok_and(|age| age >= keep.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn an_ephemeral_agent_is_kept_for_a_while_and_others_as_long_as_it_is_said() {
        let seconds = Duration::from_secs;
        let words =
            |words: &[&str]| words.iter().map(|word| String::from(*word)).collect::<Vec<_>>();
        let (ephemeral, other) = (words(&["x", "ephemeral"]), words(&["x"]));
        let kept = |others| KeptFor { ephemeral: seconds(10), others };
        assert_eq!((kept(None).of(&ephemeral), kept(None).of(&other)), (Some(seconds(10)), None));
        let both = kept(Some(seconds(100)));
        assert_eq!((both.of(&ephemeral), both.of(&other)), (Some(seconds(10)), Some(seconds(100))));
        assert_eq!(kept(Some(seconds(5))).of(&ephemeral), Some(seconds(5)));
        assert_eq!(both.shortest(), seconds(10));
    }

    #[test]
    fn who_is_away_for_long_enough_by_both_clocks_is_forgotten_and_nobody_else() {
        let at = |seconds: i64| WallTime::from_unix_millis(seconds * 1000);
        let keep = Duration::from_secs(100);
        let told =
            |status, now, observed| is_forgotten(status, at(1000), keep, at(now), at(observed));
        assert!(told(PresenceStatus::Offline, 1100, 1100));
        assert!(!told(PresenceStatus::Offline, 1099, 1200), "not yet");
        assert!(!told(PresenceStatus::Offline, 99_000, 1050), "the clock was set");
        assert!(!told(PresenceStatus::Offline, 900, 99_000), "it was set back");
        assert!(!told(PresenceStatus::Online, 99_000, 99_000));
        assert!(!told(PresenceStatus::Reconnecting, 99_000, 99_000));
    }
}
