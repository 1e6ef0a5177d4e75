//! When tokens were last shown: gathered in memory, and written now and again, so that a page that is asked
//! for each second costs no write each second.

use crate::store::{Store, StoreError, TokenRow, TokenUse};
use onsembl_protocol::id::{TokenId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often what was gathered is written.
const EVERY: Duration = Duration::from_secs(10);
/// How old what is written of a token may become while it is in use.
const NEWS_AFTER_MS: i64 = 60_000;
/// Tokens that are remembered, of one user as many as are free; of one more nothing is noted until they are written.
pub(crate) const MOST: usize = 4096;

/// The uses that are not written yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    seen: Arc<Mutex<Seen>>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Seen {
    waiting: BTreeMap<TokenId, TokenUse>,
    /// How many of those are of each user.
    of: BTreeMap<UserId, usize>,
    written: BTreeMap<TokenId, WallTime>,
}

impl Uses {
    pub(crate) fn new(counters: Counters) -> Self {
        Self { counters, ..Self::default() }
    }

    /// A token was shown, and is good but for what only the database knows.
    pub(super) fn shown(&self, token: TokenRow, peer: Option<SocketAddr>) {
        let at = SystemClock::new().now().wall;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = seen.written.get(&token.token).is_none_or(|written| {
            at.unix_millis().saturating_sub(written.unix_millis()).abs() >= NEWS_AFTER_MS
        });
        if !is_news {
            return;
        }
        if !seen.waiting.contains_key(&token.token) {
            let free = MOST.saturating_sub(seen.waiting.len());
            let has = seen.of.entry(token.user.clone()).or_default();
            if *has >= free {
                return self.counters.count("uses_of_tokens_not_noted");
            }
            *has += 1;
        }
        let from = peer.map(|peer| peer.to_string());
        let _ = seen.waiting.insert(token.token.clone(), TokenUse { token, at, from });
    }

    fn take(&self) -> Vec<TokenUse> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<TokenUse> = std::mem::take(&mut seen.waiting).into_values().collect();
        seen.of.clear();
        if seen.written.len() + taken.len() > MOST {
            seen.written.clear();
        }
        seen.written.extend(taken.iter().map(|shown| (shown.token.token.clone(), shown.at)));
        taken
    }
}

/// Writes what was gathered until `stop`, and once more then.
pub(crate) async fn keep(uses: Uses, store: Store, stop: CancellationToken) {
    loop {
        let is_last = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let taken = uses.take();
        if !taken.is_empty() {
            match store.tokens().note_uses(taken).await {
                Ok(()) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    uses.counters.count("uses_of_tokens_not_noted");
                    warn!(%error, "cannot record the last use of tokens");
                }
            }
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Identity, TokenKind};

    fn shown(uses: &Uses, user: &str, token: usize) {
        let identity =
            Identity::new(UserId::new(user), TokenKind::Agent, format!("{user}-{token}"));
        let made_at = WallTime::from_unix_millis(0);
        uses.shown(super::super::tokens::Signed { identity, made_at }.row(), None);
    }

    /// However many tokens the issuer of one user makes.
    #[test]
    fn the_tokens_of_one_user_leave_room_for_those_of_others() {
        let counters = Counters::default();
        let uses = Uses::new(counters.clone());
        (0..MOST * 2).for_each(|token| shown(&uses, "a", token));
        (0..100).for_each(|token| shown(&uses, "b", token));
        // What is noted already changes nothing.
        (0..100).for_each(|token| shown(&uses, "b", token));
        let taken = uses.take();
        let of = |user: &str| taken.iter().filter(|one| one.token.user.as_str() == user).count();
        assert_eq!((of("a"), of("b")), (MOST / 2, 100));
        let left_out = (MOST + MOST / 2) as u64;
        assert_eq!(counters.snapshot().get("uses_of_tokens_not_noted"), Some(&left_out));
        shown(&uses, "a", MOST);
        assert_eq!(uses.take().len(), 1, "there is room again");
    }
}
