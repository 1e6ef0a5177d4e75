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

/// Look-ups that may fail before the others are left to the next check: then it is what they are looked up in that fails,
/// and not something about a token.
const FAILURES: usize = 3;

/// What came of a check.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) revoked: Vec<String>,
    /// The last token that was looked at, if others were left to the next check.
    pub(super) left_behind: Option<String>,
}

/// Which of these tokens were revoked. It begins behind the one where the check before stopped: those whose look-ups
/// fail do not hide the others.
pub(super) async fn revoked(
    auth: &Authenticator,
    tokens: BTreeSet<String>,
    behind: Option<String>,
) -> Checked {
    // One after the other: however many sessions there are, that is the work of one reader.
    let (mut checked, mut failures) = (Checked::default(), 0);
    let (first, last): (Vec<_>, Vec<_>) =
        tokens.into_iter().partition(|token| behind.as_ref().is_none_or(|behind| token > behind));
    for token in first.into_iter().chain(last) {
        match auth.is_revoked(&token).await {
            Ok(true) => checked.revoked.push(token),
            Ok(false) => {}
            Err(error) => {
                warn!(%token, %error, "cannot look up whether a token was revoked; retrying later");
                failures += 1;
                if failures >= FAILURES {
                    checked.left_behind = Some(token);
                    break;
                }
            }
        }
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Auth, Credentials, Identity, LookupError, Refusal};

    /// Of tokens with an `x` it cannot say anything, and those with a `z` were revoked.
    struct Flaky;

    impl Auth for Flaky {
        async fn identify(&self, _: &Credentials<'_>) -> Result<Identity, Refusal> {
            Err(Refusal::Unauthorized("nobody".to_owned()))
        }

        async fn is_revoked(&self, token_id: &str) -> Result<bool, LookupError> {
            match token_id.contains('x') {
                true => Err(LookupError::new("unreadable")),
                false => Ok(token_id.contains('z')),
            }
        }
    }

    #[tokio::test]
    async fn tokens_whose_look_ups_fail_hide_no_others() {
        let auth = Authenticator::new(Flaky);
        let tokens = BTreeSet::from(["a", "b-x", "c-x", "d-x", "e-x", "f-z"].map(str::to_owned));
        let first = revoked(&auth, tokens.clone(), None).await;
        assert_eq!((first.revoked.len(), first.left_behind.as_deref()), (0, Some("d-x")));
        let second = revoked(&auth, tokens.clone(), first.left_behind).await;
        assert_eq!(second.revoked, ["f-z"]);
        let few = BTreeSet::from(["a", "b-x", "f-z"].map(str::to_owned));
        let all = revoked(&auth, few, None).await;
        assert_eq!((all.revoked.len(), all.left_behind), (1, None));
    }
}
