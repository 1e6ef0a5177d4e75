//! The server's one way to an [`Auth`]: with a deadline, and with the rules that hold for each.

use super::{Auth, Credentials, Identity, LookupError, Refusal};
use futures::future::BoxFuture;
use onsembl_protocol::id::UserId;
use onsembl_protocol::session::TokenFault;
use onsembl_transport::clock::SystemClock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::warn;

/// Longest wait for an [`Auth`]: half of the 10 s that an agent waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// [`Auth`] as an object: the same with boxed futures, so that users of the trait need none.
trait DynAuth: Send + Sync {
    fn identify<'a>(
        &'a self,
        credentials: &'a Credentials<'a>,
    ) -> BoxFuture<'a, Result<Identity, Refusal>>;

    fn is_revoked<'a>(&'a self, token_id: &'a str) -> BoxFuture<'a, Result<bool, LookupError>>;

    fn is_revoked_of<'a>(
        &'a self,
        user: &'a UserId,
        token_id: &'a str,
    ) -> BoxFuture<'a, Result<bool, LookupError>>;
}

impl<A: Auth> DynAuth for A {
    fn identify<'a>(
        &'a self,
        credentials: &'a Credentials<'a>,
    ) -> BoxFuture<'a, Result<Identity, Refusal>> {
        Box::pin(Auth::identify(self, credentials))
    }

    fn is_revoked<'a>(&'a self, token_id: &'a str) -> BoxFuture<'a, Result<bool, LookupError>> {
        Box::pin(Auth::is_revoked(self, token_id))
    }

    fn is_revoked_of<'a>(
        &'a self,
        user: &'a UserId,
        token_id: &'a str,
    ) -> BoxFuture<'a, Result<bool, LookupError>> {
        Box::pin(Auth::is_revoked_of(self, user, token_id))
    }
}

/// A peer that may not connect.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) why: Refusal,
    /// Whose credentials they are, if they are somebody's.
    pub(crate) of: Option<Identity>,
}

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Authenticator {
    auth: Arc<dyn DynAuth>,
    clock: SystemClock,
}

impl Authenticator {
    pub(crate) fn new(auth: impl Auth) -> Self {
        Self { auth: Arc::new(auth), clock: SystemClock::new() }
    }

    /// Whose credentials these are, if the peer may connect with them now.
    pub(crate) async fn admit(&self, credentials: &Credentials<'_>) -> Result<Identity, Refusal> {
        self.admit_or_name(credentials).await.map_err(|refused| refused.why)
    }

    /// The same; of a peer that may not, whose credentials they are, if that is known anyway.
    pub(crate) async fn admit_or_name(
        &self,
        credentials: &Credentials<'_>,
    ) -> Result<Identity, Box<Refused>> {
        let nobody = |why| Box::new(Refused { why, of: None });
        let checked = async {
            let identity = self.auth.identify(credentials).await.map_err(nobody)?;
            match self.check(credentials, &identity).await {
                Ok(()) => Ok(identity),
                Err(why) => Err(Box::new(Refused { why, of: Some(identity) })),
            }
        };
        match timeout(PATIENCE, checked).await {
            Ok(checked) => checked,
            Err(_) => {
                warn!(?credentials, "credentials were not checked within {PATIENCE:?}");
                Err(nobody(not_now()))
            }
        }
    }

    async fn check(
        &self,
        credentials: &Credentials<'_>,
        identity: &Identity,
    ) -> Result<(), Refusal> {
        let (is, wanted) = (identity.kind, credentials.kind());
        if is != wanted {
            let why = format!(
                "these are credentials of kind `{is}`; this address requires kind `{wanted}`"
            );
            return Err(Refusal::Unfit(TokenFault::WrongKind, why));
        }
        // An expired identity would be admitted, closed at the next check, and come back at once.
        if identity.has_expired(self.clock.now().wall) {
            let when = identity.expires.map_or_else(String::new, |at| format!(" at {at}"));
            let why = format!(
                "the token {} expired{when} by the server's clock; renew it (onsembl-server token --renew)",
                identity.token_id
            );
            return Err(Refusal::Unfit(TokenFault::Expired, why));
        }
        if identity.is_unrevoked {
            return Ok(());
        }
        match self.auth.is_revoked_of(&identity.user, &identity.token_id).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(Refusal::Forbidden("the token was revoked; stay away".into())),
            Err(error) => {
                // Not known to be good, so not admitted; not known to be bad, so not refused for
                // good either.
                warn!(%error, "cannot look up revoked tokens");
                Err(not_now())
            }
        }
    }

    /// Whether a token that was good is so no longer: the server looks by itself.
    pub(crate) async fn is_revoked(&self, token_id: &str) -> Result<bool, LookupError> {
        in_time(self.auth.is_revoked(token_id)).await
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

async fn in_time(
    lookup: impl Future<Output = Result<bool, LookupError>>,
) -> Result<bool, LookupError> {
    match timeout(PATIENCE, lookup).await {
        Ok(answer) => answer,
        Err(_) => Err(LookupError::new(format_args!("no answer within {PATIENCE:?}"))),
    }
}

fn not_now() -> Refusal {
    Refusal::Unavailable("the token cannot be checked now; try again later".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenKind;
    use onsembl_protocol::time::WallTime;

    /// Gives the answer that it was made with.
    #[derive(Clone)]
    struct Scripted {
        /// `None`: never.
        identity: Option<Identity>,
        /// `None`: never.
        revoked: Option<Result<bool, LookupError>>,
    }

    impl Auth for Scripted {
        async fn identify(&self, _: &Credentials<'_>) -> Result<Identity, Refusal> {
            match &self.identity {
                Some(identity) => Ok(identity.clone()),
                None => std::future::pending().await,
            }
        }

        async fn is_revoked(&self, _: &str) -> Result<bool, LookupError> {
            match &self.revoked {
                Some(answer) => answer.clone(),
                None => std::future::pending().await,
            }
        }
    }

    fn ann() -> Identity {
        Identity::new(UserId::new("ann"), TokenKind::Agent, "t-1")
    }

    async fn admit(auth: Scripted) -> Result<Identity, Refusal> {
        Authenticator::new(auth).admit(&Credentials::of_token(TokenKind::Agent, "secret")).await
    }

    fn good() -> Scripted {
        Scripted { identity: Some(ann()), revoked: Some(Ok(false)) }
    }

    #[tokio::test]
    async fn only_an_identity_of_the_kind_that_is_neither_expired_nor_revoked_is_admitted() {
        assert_eq!(admit(good()).await, Ok(ann()));
        let lasting = ann().expiring_at(WallTime::from_unix_millis(i64::MAX));
        assert_eq!(
            admit(Scripted { identity: Some(lasting.clone()), ..good() }).await,
            Ok(lasting)
        );
        let dashboard = Identity { kind: TokenKind::Dashboard, ..ann() };
        let expired = ann().expiring_at(WallTime::from_unix_millis(1));
        for (refused, fault) in [(dashboard, TokenFault::WrongKind), (expired, TokenFault::Expired)]
        {
            let answer = admit(Scripted { identity: Some(refused), ..good() }).await;
            assert!(matches!(&answer, Err(Refusal::Unfit(is, _)) if *is == fault), "{answer:?}");
        }
        let answer = admit(Scripted { revoked: Some(Ok(true)), ..good() }).await;
        assert!(matches!(answer, Err(Refusal::Forbidden(_))), "{answer:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_fails_or_hangs_sends_nobody_away_for_good() {
        let failed = Err(LookupError::new("disk gone"));
        for auth in [
            Scripted { revoked: Some(failed.clone()), ..good() },
            Scripted { revoked: None, ..good() },
            Scripted { identity: None, ..good() },
        ] {
            match admit(auth).await {
                Err(Refusal::Unavailable(why)) => assert!(!why.contains("disk gone"), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        let hanging = Authenticator::new(Scripted { revoked: None, ..good() });
        assert!(hanging.is_revoked("t-1").await.is_err());
        let failing = Authenticator::new(Scripted { revoked: Some(failed.clone()), ..good() });
        assert_eq!(failing.is_revoked("t-1").await, failed);
    }

    #[test]
    fn credentials_are_shown_without_the_token() {
        let shown = format!("{:?}", Credentials::of_token(TokenKind::Agent, "secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
