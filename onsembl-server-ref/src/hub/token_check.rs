//! When the tokens of live sessions are looked up, and how.

use crate::auth::Authenticator;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// How often live links are checked against the expiry and revocation of their tokens.
const EVERY: Duration = Duration::from_secs(10);

/// The check of the tokens in use, which is repeated as long as the server runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum TokenCheck {
    At(Instant),
    UnderWay,
}

impl TokenCheck {
    /// The next one, an interval from now.
    pub(super) fn after_a_while() -> Self {
        Self::At(Instant::now() + EVERY)
    }

    /// Returns when it is due; never while one is under way.
    pub(super) async fn due(self) {
        match self {
            Self::At(at) => tokio::time::sleep_until(at).await,
            Self::UnderWay => std::future::pending().await,
        }
    }
}

/// Which of these tokens were revoked. After a failed lookup the rest are left to the next check.
pub(super) async fn revoked(auth: &Authenticator, tokens: BTreeSet<String>) -> Vec<String> {
    // One after the other: however many sessions there are, that is the work of one reader.
    let mut revoked = Vec::new();
    for token in tokens {
        match auth.is_revoked(&token).await {
            Ok(true) => revoked.push(token),
            Ok(false) => {}
            Err(error) => {
                warn!(%error, "cannot look up revoked tokens; retrying later");
                break;
            }
        }
    }
    revoked
}
