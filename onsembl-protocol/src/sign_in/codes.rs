//! One-time codes, from being made to being used: in memory only, so a restart ends them, and using one needs no write.

use super::SecretHash;
use crate::id::UserId;
use crate::time::{Now, Timestamp};
use alloc::collections::BTreeMap;
use core::time::Duration;

/// The codes of a server, each with what it gives. Their times are of the clock that runs through sleep, so neither a
/// clock that is set nor a sleep makes one last longer.
#[derive(Clone, Debug)]
pub struct Codes<G> {
    known: BTreeMap<SecretHash, Code<G>>,
}

#[derive(Clone, Debug)]
struct Code<G> {
    user: UserId,
    made: Timestamp,
    state: State<G>,
}

#[derive(Clone, Debug)]
enum State<G> {
    Fresh(G),
    Used,
}

/// Why a code gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFault {
    /// There is none, or no longer.
    Unknown,
    /// It was used before.
    Used,
    /// It is too old.
    Expired,
}

impl<G> Default for Codes<G> {
    fn default() -> Self {
        Self { known: BTreeMap::new() }
    }
}

impl<G> Codes<G> {
    /// How long a code is good: 5 minutes, the time to change to a browser or to another device.
    pub const LIFE: Duration = Duration::from_secs(300);
    /// How long it is known why one is not good: 10 minutes after it was made.
    pub const REMEMBERED: Duration = Duration::from_secs(600);
    /// Codes that are kept of one user: 8. The oldest makes room.
    pub const OF_USER: usize = 8;

    /// A code was made for this user.
    pub fn make(&mut self, hash: SecretHash, user: UserId, gives: G, now: Now) {
        self.forget(now);
        let of_user = || self.known.iter().filter(|(_, code)| code.user == user);
        if of_user().count() >= Self::OF_USER
            && let Some((oldest, _)) = of_user().min_by_key(|(_, code)| code.made)
        {
            let oldest = *oldest;
            let _ = self.known.remove(&oldest);
        }
        let code = Code { user, made: now.boot, state: State::Fresh(gives) };
        let _ = self.known.insert(hash, code);
    }

    /// Somebody shows a code. It gives what it is for once.
    ///
    /// # Errors
    /// [`CodeFault`]: it gives nothing.
    pub fn take(&mut self, hash: &SecretHash, now: Now) -> Result<G, CodeFault> {
        self.forget(now);
        let code = self.known.get_mut(hash).ok_or(CodeFault::Unknown)?;
        if now.boot.saturating_since(code.made) >= Self::LIFE {
            return Err(match code.state {
                State::Fresh(_) => CodeFault::Expired,
                State::Used => CodeFault::Used,
            });
        }
        match core::mem::replace(&mut code.state, State::Used) {
            State::Fresh(gives) => Ok(gives),
            State::Used => Err(CodeFault::Used),
        }
    }

    /// All codes of this user end.
    pub fn end_of(&mut self, user: &UserId) {
        self.known.retain(|_, code| code.user != *user);
    }

    fn forget(&mut self, now: Now) {
        self.known.retain(|_, code| now.boot.saturating_since(code.made) < Self::REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    fn hash(n: u8) -> SecretHash {
        SecretHash([n; 32])
    }

    fn at(secs: u64) -> Now {
        Now::without_suspend(Duration::from_secs(secs))
    }

    fn made(codes: &mut Codes<u8>, n: u8, user: &str, secs: u64) {
        codes.make(hash(n), UserId::new(user), n, at(secs));
    }

    #[test]
    fn a_code_is_good_once_and_for_five_minutes() {
        let mut codes = Codes::default();
        made(&mut codes, 1, "ann", 0);
        made(&mut codes, 2, "ann", 0);
        assert_eq!(codes.take(&hash(3), at(1)), Err(CodeFault::Unknown));
        assert_eq!(codes.take(&hash(1), at(299)), Ok(1));
        assert_eq!(codes.take(&hash(1), at(299)), Err(CodeFault::Used));
        assert_eq!(codes.take(&hash(1), at(599)), Err(CodeFault::Used));
        assert_eq!(codes.take(&hash(2), at(300)), Err(CodeFault::Expired));
        assert_eq!(codes.take(&hash(2), at(599)), Err(CodeFault::Expired));
        assert_eq!(codes.take(&hash(2), at(600)), Err(CodeFault::Unknown));
        assert!(codes.known.is_empty());
    }

    #[test]
    fn no_clock_makes_a_code_last_longer() {
        let mut codes = Codes::default();
        made(&mut codes, 1, "ann", 1000);
        let wall = WallTime::from_unix_millis(0);
        // The wall clock was set back, and the machine slept.
        let later = Now::new(Duration::from_secs(1001), Duration::from_secs(1300), wall);
        assert_eq!(codes.take(&hash(1), later), Err(CodeFault::Expired));
    }

    #[test]
    fn the_oldest_code_of_a_user_makes_room_and_those_of_others_stay() {
        let mut codes = Codes::default();
        made(&mut codes, 100, "bob", 0);
        for n in 0..=8 {
            made(&mut codes, n, "ann", u64::from(n));
        }
        assert_eq!(codes.take(&hash(0), at(9)), Err(CodeFault::Unknown));
        assert_eq!(codes.take(&hash(1), at(9)), Ok(1));
        assert_eq!(codes.take(&hash(100), at(9)), Ok(100));
        assert_eq!(codes.known.len(), Codes::<u8>::OF_USER + 1);
        codes.end_of(&UserId::new("ann"));
        assert_eq!(codes.take(&hash(2), at(9)), Err(CodeFault::Unknown));
        assert_eq!(codes.known.len(), 1);
    }
}
