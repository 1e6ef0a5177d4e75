//! How fast one user may type remotely, in bytes.

use crate::time::Timestamp;
use core::time::Duration;

/// How fast one user may type, into all terminals together.
#[derive(Debug)]
pub(crate) struct TypingRate {
    /// Bytes that may be typed now.
    left: usize,
    at: Timestamp,
}

impl TypingRate {
    /// Bytes a second: 128 KiB. A person types ten.
    pub(crate) const A_SECOND: usize = 128 * 1024;
    /// Bytes at once: 256 KiB, a large paste.
    pub(crate) const AT_ONCE: usize = 256 * 1024;

    pub(crate) const fn new() -> Self {
        Self { left: Self::AT_ONCE, at: Timestamp::ORIGIN }
    }

    /// Whether this many bytes are typed now.
    ///
    /// # Errors
    /// After how long they may be.
    pub(crate) fn take(&mut self, bytes: usize, now: Timestamp) -> Result<(), Duration> {
        let millis = u64::try_from(now.saturating_since(self.at).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            let grown = usize::try_from(millis).unwrap_or(usize::MAX);
            let grown = grown.saturating_mul(Self::A_SECOND / 1000);
            self.left = self.left.saturating_add(grown).min(Self::AT_ONCE);
            self.at = now;
        }
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let missing = bytes.saturating_sub(self.left);
                let millis = missing.div_ceil(Self::A_SECOND / 1000);
                Err(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;

    fn now(seconds: u64) -> Now {
        Now::without_suspend(Duration::from_secs(seconds))
    }

    #[test]
    fn a_user_types_at_a_rate() {
        let mut rate = TypingRate::new();
        assert_eq!(rate.take(TypingRate::AT_ONCE, now(1).monotonic), Ok(()));
        let wait = rate.take(TypingRate::A_SECOND, now(1).monotonic).unwrap_err();
        assert!(
            wait > Duration::from_millis(900) && wait < Duration::from_millis(1100),
            "{wait:?}"
        );
        assert_eq!(rate.take(TypingRate::A_SECOND / 2, now(2).monotonic), Ok(()));
        assert!(rate.take(TypingRate::A_SECOND, now(2).monotonic).is_err());
        assert_eq!(rate.take(TypingRate::AT_ONCE, now(60).monotonic), Ok(()));
        assert!(rate.take(TypingRate::AT_ONCE + 1, now(600).monotonic).is_err(), "more than ever");
    }
}
