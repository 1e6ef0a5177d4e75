//! Look-ups of one token that are asked for at one moment: a fleet that returns shows the same token thousands of times.
//! Whoever asks gets what a read found that began after that, so that a token that was revoked before is not admitted;
//! those who wait for a read share the next one.

use crate::store::{StoreError, TokenRow};
use onsembl_protocol::id::TokenId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// The tokens that are being looked up. A read stands in the line of the one who makes it: of each address few requests
/// are worked for at a time, so that none has a long one.
#[derive(Debug, Default)]
pub(super) struct Lookups(Mutex<HashMap<TokenId, Arc<Lookup>>>);

#[derive(Debug, Default)]
struct Lookup {
    /// Reads that have begun.
    begun: AtomicU64,
    /// What the last read found, and its number. Held by whoever reads.
    last: AsyncMutex<(u64, Option<TokenRow>)>,
}

/// One who asks.
struct Asking<'a> {
    lookups: &'a Lookups,
    token: TokenId,
    lookup: Arc<Lookup>,
}

impl Lookups {
    /// What is stored of a token: as `read` finds it, or the read of another who asked at the same time.
    pub(super) async fn get<F>(
        &self,
        token: &TokenId,
        read: impl FnOnce() -> F,
    ) -> Result<Option<TokenRow>, StoreError>
    where
        F: Future<Output = Result<Option<TokenRow>, StoreError>>,
    {
        let lookup = Arc::clone(self.all().entry(token.clone()).or_default());
        let asking = Asking { lookups: self, token: token.clone(), lookup };
        // The read in progress, if there is one, may have begun before what is to be seen.
        let next = asking.lookup.begun.load(Ordering::SeqCst) + 1;
        let mut last = asking.lookup.last.lock().await;
        if last.0 < next {
            let number = asking.lookup.begun.fetch_add(1, Ordering::SeqCst) + 1;
            // After a failure, whoever waits reads.
            *last = (number, read().await?);
        }
        Ok(last.1.clone())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<TokenId, Arc<Lookup>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut all = self.lookups.all();
        // The table has one, and this is the other; another can only be had from the table.
        if Arc::strong_count(&self.lookup) == 2 {
            let _ = all.remove(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::{LineageId, UserId};
    use onsembl_protocol::time::WallTime;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    fn row(kind: usize) -> TokenRow {
        TokenRow {
            token: TokenId::new("t"),
            user: UserId::new("u"),
            kind: kind.to_string(),
            lineage: LineageId::new("t"),
            form: crate::store::TokenForm::Signed,
            made_for: None,
            agent: None,
            bound_at: None,
            made_at: WallTime::from_unix_millis(0),
            expires_at: None,
            shown_at: None,
            shown_from: None,
            revoked: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_one_moment_share_a_read_that_began_after_they_asked() {
        let (lookups, reads, stored) =
            (Lookups::default(), AtomicUsize::new(0), AtomicUsize::new(1));
        let token = TokenId::new("t");
        let get = || {
            lookups.get(&token, || async {
                let _ = reads.fetch_add(1, Ordering::SeqCst);
                let found = row(stored.load(Ordering::SeqCst));
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(Some(found))
            })
        };
        let kind = |found: Result<Option<TokenRow>, StoreError>| found.unwrap().unwrap().kind;
        let early = async {
            let all = futures::future::join_all((0..1000).map(|_| get())).await;
            assert!(all.into_iter().map(kind).all(|kind| kind == "1" || kind == "2"));
        };
        let late = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            // The read in progress has found the old one already.
            stored.store(2, Ordering::SeqCst);
            let all = futures::future::join_all((0..1000).map(|_| get())).await;
            assert!(all.into_iter().map(kind).all(|kind| kind == "2"));
        };
        let ((), ()) = tokio::join!(early, late);
        assert!(reads.load(Ordering::SeqCst) <= 3, "{reads:?}");
        assert!(lookups.all().is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn a_read_that_fails_or_is_given_up_is_nobody_elses() {
        let lookups = Lookups::default();
        let of = TokenId::new("t");
        let fails = lookups.get(&of, || async { Err(StoreError::Closed) });
        let finds = lookups.get(&of, || async { Ok(None) });
        let (failed, found) = tokio::join!(fails, finds);
        assert!(matches!(failed, Err(StoreError::Closed)) && matches!(found, Ok(None)));
        let hangs = lookups.get(&of, std::future::pending);
        let given_up = tokio::time::timeout(Duration::from_millis(1), hangs).await;
        assert!(given_up.is_err());
        let again = lookups.get(&of, || async { Ok(Some(row(1))) }).await;
        assert!(matches!(again, Ok(Some(_))));
        assert!(lookups.all().is_empty());
    }
}
