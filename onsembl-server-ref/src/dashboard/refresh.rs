//! `TOKEN_REFRESH`: another token of the same user takes the place of the session's.

use crate::auth::{Authenticator, Credentials, Identity, Refusal, TokenKind};
use onsembl_protocol::id::MessageId;
use onsembl_protocol::wire::ServerToDashboard;
use onsembl_protocol::wire::payload::{Ack, ErrorCode, ErrorReply, TokenRefresh};

/// The refreshes of one session. Their checks may end in another order than they were asked for.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    asked: u64,
    in_force: u64,
}

/// A new token that was checked.
#[derive(Debug)]
pub(super) struct CheckedToken {
    id: Option<MessageId>,
    number: u64,
    identity: Result<Identity, Refusal>,
}

impl Refreshes {
    /// Checks a new token.
    pub(super) fn check(
        &mut self,
        auth: Authenticator,
        id: Option<MessageId>,
        refresh: TokenRefresh,
    ) -> impl Future<Output = CheckedToken> + Send + 'static {
        self.asked += 1;
        let number = self.asked;
        async move {
            let token = refresh.access_token.reveal();
            let credentials = Credentials::of_token(TokenKind::Dashboard, token);
            let identity = auth.admit(&credentials).await;
            CheckedToken { id, number, identity }
        }
    }

    /// Puts a good token in force, unless a newer one is, and says what the dashboard is told.
    pub(super) fn conclude(
        &mut self,
        token: CheckedToken,
        current: &mut Identity,
    ) -> ServerToDashboard {
        let CheckedToken { id, number, identity } = token;
        let (code, why) = match identity {
            Ok(identity) if identity.user == current.user => {
                if number > self.in_force {
                    self.in_force = number;
                    *current = identity;
                }
                let ack = Ack { message_id: id, success: true, ..Ack::default() };
                return ServerToDashboard::Ack(ack);
            }
            Ok(_) => (ErrorCode::Unauthorized, "the new token is another user's".to_owned()),
            Err(Refusal::Unauthorized(why) | Refusal::Forbidden(why)) => {
                (ErrorCode::Unauthorized, why)
            }
            Err(Refusal::Unavailable(why)) => (ErrorCode::StorageUnavailable, why),
        };
        let why = format!("{why}; the old token stays");
        ServerToDashboard::Error(ErrorReply::new(code, why).about(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::UserId;

    fn identity(user: &str, token: &str) -> Identity {
        Identity::new(UserId::new(user), TokenKind::Dashboard, token)
    }

    fn checked(number: u64, identity: Result<Identity, Refusal>) -> CheckedToken {
        CheckedToken { id: None, number, identity }
    }

    #[test]
    fn the_newest_token_stays_in_whatever_order_they_are_checked() {
        let mut refreshes = Refreshes { asked: 2, in_force: 0 };
        let mut current = identity("ann", "first");
        for (number, token) in [(2, "newest"), (1, "older")] {
            let token = checked(number, Ok(identity("ann", token)));
            let answer = refreshes.conclude(token, &mut current);
            assert!(matches!(answer, ServerToDashboard::Ack(_)), "{answer:?}");
        }
        assert_eq!(current.token_id, "newest");
    }

    #[test]
    fn a_bad_token_leaves_the_old_one() {
        let mut refreshes = Refreshes { asked: 3, in_force: 0 };
        let mut current = identity("ann", "first");
        let cases = [
            (Ok(identity("bob", "his")), ErrorCode::Unauthorized),
            (Err(Refusal::Forbidden("revoked".into())), ErrorCode::Unauthorized),
            (Err(Refusal::Unavailable("later".into())), ErrorCode::StorageUnavailable),
        ];
        for (number, (identity, code)) in (1..).zip(cases) {
            match refreshes.conclude(checked(number, identity), &mut current) {
                ServerToDashboard::Error(error) => assert_eq!(error.code, code),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(current.token_id, "first");
    }
}
