//! The token of a dashboard's link: which one is in force. When it ends, [`OpenRequests`](super::super::OpenRequests)
//! decides.

use super::super::action::Token;
use crate::id::UserId;
use crate::session::RefusalReason;
use crate::wire::payload::{ErrorCode, ErrorReply};
use alloc::format;
use alloc::string::String;

/// What a link needs to know about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DashboardToken {
    /// The user that it belongs to.
    pub user: UserId,
}

/// The token in force.
#[derive(Clone, Debug)]
pub(super) struct TokenInForce {
    token: DashboardToken,
    /// The refresh that brought it; none for the first token.
    by: Option<Token>,
}

/// The outcome of checking a newer token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Renewed {
    InForce,
    /// It is valid, but the one of a later refresh is in force.
    Older,
    /// It is not valid.
    Refused(ErrorReply),
}

impl TokenInForce {
    pub(super) const fn new(token: DashboardToken) -> Self {
        Self { token, by: None }
    }

    pub(super) const fn user(&self) -> &UserId {
        &self.token.user
    }

    /// The token of a refresh was checked. Checks may end out of order: the token of the latest refresh wins.
    pub(super) fn checked(
        &mut self,
        number: Token,
        checked: Result<DashboardToken, (RefusalReason, String)>,
    ) -> Renewed {
        let (code, why) = match checked {
            Ok(token) if token.user == self.token.user => {
                if self.by >= Some(number) {
                    return Renewed::Older;
                }
                (self.token, self.by) = (token, Some(number));
                return Renewed::InForce;
            }
            Ok(_) => (ErrorCode::Unauthorized, "the new token belongs to another user".into()),
            Err((RefusalReason::Unauthorized | RefusalReason::Forbidden, why)) => {
                (ErrorCode::Unauthorized, why)
            }
            Err((RefusalReason::Unavailable, why)) => (ErrorCode::StorageUnavailable, why),
        };
        Renewed::Refused(ErrorReply::new(code, format!("{why}; keeping the old token")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(user: &str) -> DashboardToken {
        DashboardToken { user: UserId::new(user) }
    }

    #[test]
    fn the_token_asked_for_last_stays_in_whatever_order_they_are_checked() {
        let mut in_force = TokenInForce::new(token("ann"));
        assert_eq!(in_force.checked(Token(2), Ok(token("ann"))), Renewed::InForce);
        assert_eq!(in_force.checked(Token(1), Ok(token("ann"))), Renewed::Older);
        assert_eq!(in_force.by, Some(Token(2)));
    }

    #[test]
    fn a_bad_token_leaves_the_old_one() {
        let mut in_force = TokenInForce::new(token("ann"));
        for (number, checked, code) in [
            (1, Ok(token("bob")), ErrorCode::Unauthorized),
            (2, Err((RefusalReason::Forbidden, "revoked".into())), ErrorCode::Unauthorized),
            (3, Err((RefusalReason::Unauthorized, "unknown".into())), ErrorCode::Unauthorized),
            (4, Err((RefusalReason::Unavailable, "later".into())), ErrorCode::StorageUnavailable),
        ] {
            match in_force.checked(Token(number), checked) {
                Renewed::Refused(error) => {
                    assert_eq!(error.code, code);
                    assert!(error.message.ends_with("; keeping the old token"), "{error:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(in_force.token, token("ann"));
        assert_eq!(in_force.checked(Token(1), Ok(token("ann"))), Renewed::InForce);
    }
}
