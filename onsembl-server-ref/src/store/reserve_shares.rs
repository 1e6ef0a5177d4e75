//! How much of the reserve each user has written. One that writes without end (an agent that comes and goes, stops that
//! are given and released) uses up its share, and never all: the rest of what it has to write waits for room, and the
//! stops, ends and sessions of others are written.

use super::reader::Asker;
use std::collections::HashMap;

/// What one write counts: its row, its part of the indices, and a short text.
pub(crate) const COST: u64 = 1024;
/// Writes of one user that count for nothing: whoever comes when others have used up their shares is served as long as
/// the disk takes it.
pub(crate) const FREE_WRITES: u64 = 128;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct ReserveShares {
    total: u64,
    all: u64,
    of: HashMap<Asker, u64>,
}

impl ReserveShares {
    /// Of a reserve of this many bytes, of which nothing is used.
    pub(super) fn new(total: u64) -> Self {
        Self { total, ..Self::default() }
    }

    /// Whether more of this one is written: while it has used less than is left for others. Alone, that is half of it.
    pub(super) fn may(&self, asker: &Asker) -> bool {
        let used = match asker {
            // Its revocations and its housekeeping are for all.
            Asker::Server => return true,
            Asker::User(_) | Asker::Address(_) => self.of.get(asker).copied().unwrap_or(0),
        };
        used < FREE_WRITES * COST || used < self.total.saturating_sub(self.all)
    }

    /// This one has written something.
    pub(super) fn charge(&mut self, asker: &Asker) {
        match asker {
            Asker::Server => {}
            Asker::User(_) | Asker::Address(_) => {
                *self.of.entry(asker.clone()).or_default() += COST;
                self.all = self.all.saturating_add(COST);
            }
        }
    }

    /// The reserve is whole again.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::UserId;

    fn user(name: &str) -> Asker {
        Asker::User(UserId::new(name))
    }

    /// How many writes it gets.
    fn writes(shares: &mut ReserveShares, of: &Asker) -> u64 {
        let mut count = 0;
        while shares.may(of) && count < 1_000_000 {
            shares.charge(of);
            count += 1;
        }
        count
    }

    #[test]
    fn one_user_alone_gets_half_and_leaves_the_rest_to_others() {
        let mut shares = ReserveShares::new(64 << 20);
        assert_eq!(writes(&mut shares, &user("loud")), 32 * 1024);
        assert_eq!(writes(&mut shares, &user("next")), 16 * 1024);
        assert!(!shares.may(&user("loud")));
        let others: Vec<u64> =
            (0..100).map(|n| writes(&mut shares, &user(&format!("user {n}")))).collect();
        assert!(others.iter().all(|writes| *writes >= FREE_WRITES), "{others:?}");
        assert!(shares.may(&Asker::Server));
        shares.reset();
        assert_eq!(writes(&mut shares, &user("loud")), 32 * 1024);
    }
}
