//! Whether the token of an answer that takes long is still good: one rule for output that is followed and for
//! recordings, the same as for links.

use super::App;
use crate::auth::{Authenticator, Identity};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use std::time::{Duration, Instant};
use tracing::warn;

/// How often it is looked up whether the token is revoked.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The token of one answer that is being given.
#[derive(Debug)]
pub(super) struct TokenWatch {
    auth: Authenticator,
    counters: Counters,
    identity: Identity,
    /// When it was last looked up whether it is revoked.
    checked: Instant,
}

impl TokenWatch {
    /// Of a token that is good now.
    pub(super) fn new(app: &App, identity: Identity) -> Self {
        let (auth, counters) = (app.auth.clone(), app.counters.clone());
        Self { auth, counters, identity, checked: Instant::now() }
    }

    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the answer may go on. To be asked before each part of it.
    pub(super) async fn may_go_on(&mut self) -> bool {
        if self.identity.has_expired(SystemClock::new().now().wall) {
            self.counters.count("readers_expired");
            return false;
        }
        if self.checked.elapsed() < CHECK_EVERY {
            return true;
        }
        self.checked = Instant::now();
        match self.auth.is_revoked_of(&self.identity).await {
            Ok(false) => true,
            Ok(true) => {
                self.counters.count("readers_revoked");
                false
            }
            Err(error) => {
                warn!(%error, "cannot look up revoked tokens; retrying later");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Auth, Credentials, LookupError, Refusal, TokenKind};
    use onsembl_protocol::id::UserId;
    use onsembl_protocol::time::WallTime;

    struct Says(Result<bool, LookupError>);

    impl Auth for Says {
        async fn identify(&self, _: &Credentials<'_>) -> Result<Identity, Refusal> {
            Err(Refusal::Unauthorized("nobody".to_owned()))
        }

        async fn is_revoked(&self, _: &str) -> Result<bool, LookupError> {
            self.0.clone()
        }
    }

    fn watch(says: Result<bool, LookupError>, age: Duration) -> TokenWatch {
        TokenWatch {
            auth: Authenticator::new(Says(says)),
            counters: Counters::default(),
            identity: Identity::new(UserId::new("ann"), TokenKind::Dashboard, "t"),
            checked: Instant::now().checked_sub(age).unwrap(),
        }
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_token() {
        let long = CHECK_EVERY * 2;
        assert!(watch(Ok(false), long).may_go_on().await);
        assert!(!watch(Ok(true), long).may_go_on().await);
        assert!(watch(Ok(true), Duration::ZERO).may_go_on().await, "looked up lately");
        assert!(watch(Err(LookupError::new("disk")), long).may_go_on().await);
        let mut expired = watch(Ok(false), Duration::ZERO);
        expired.identity.expires = Some(WallTime::from_unix_millis(1));
        assert!(!expired.may_go_on().await);
    }
}
