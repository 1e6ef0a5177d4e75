//! How long stored output is kept, and the task that sees to it. What is cut, and the marker that stays,
//! is the store's.

use crate::store::{Store, StoreError};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it is looked whether something is to be cut.
const EVERY: Duration = Duration::from_secs(10);

/// Pause between two transactions, in which others write.
const PAUSE: Duration = Duration::from_millis(20);

/// How much stored output is kept. What is cut leaves a gap behind, `retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long.
    pub keep_for: Duration,
    /// How many bytes, over all users.
    pub keep_bytes: u64,
}

impl Retention {
    /// 30 days, and 10 GiB: a month to ask what happened, on any disk.
    pub const DEFAULT: Self =
        Self { keep_for: Duration::from_secs(30 * 24 * 3600), keep_bytes: 10 << 30 };
}

impl Default for Retention {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Cuts until `stop`.
pub(crate) async fn keep(store: Store, rules: Retention, stop: CancellationToken) {
    let clock = SystemClock::new();
    let keep_for = i64::try_from(rules.keep_for.as_millis()).unwrap_or(i64::MAX);
    loop {
        let now = clock.now().wall.unix_millis();
        let before = WallTime::from_unix_millis(now.saturating_sub(keep_for));
        let (mut bytes, mut more) = (0_u64, true);
        while more && !stop.is_cancelled() {
            match store.cut_output(before, rules.keep_bytes).await {
                Ok(cut) => {
                    bytes = bytes.saturating_add(cut.bytes);
                    more = cut.more;
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    warn!(%error, "old output cannot be cut; the next attempt follows");
                    more = false;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        if bytes > 0 {
            info!(bytes, "old output was cut; gaps say where");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
