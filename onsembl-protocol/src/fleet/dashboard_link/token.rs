//! The token of a dashboard's link: which one is in force, when it has expired, and whether its revocation is being
//! looked up.

use super::super::action::Token;
use crate::id::UserId;
use crate::session::RefusalReason;
use crate::time::WallTime;
use crate::wire::payload::{ErrorCode, ErrorReply};
use alloc::format;
use alloc::string::String;

/// What a link needs to know about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DashboardToken {
    /// The user that it belongs to.
    pub user: UserId,
    /// When it expires, and its links are closed; never if absent.
    pub expires: Option<WallTime>,
}

/// The token in force.
#[derive(Clone, Debug)]
pub(super) struct TokenInForce {
    token: DashboardToken,
    /// The refresh that brought it; none for the first token.
    by: Option<Token>,
    lookup: Lookup,
}

/// Whether a lookup of a revocation is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookup {
    Idle,
    /// For the token in force.
    UnderWay,
    /// For the previous one, whose result no longer matters.
    OfOlder,
}

/// What a periodic check of the token calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It has expired.
    Expired,
    /// Look up whether it is revoked.
    LookUp,
    /// Nothing: a lookup is under way.
    Nothing,
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
        Self { token, by: None, lookup: Lookup::Idle }
    }

    pub(super) const fn user(&self) -> &UserId {
        &self.token.user
    }

    /// Checks it again.
    pub(super) fn again(&mut self, now: WallTime) -> Again {
        if self.token.expires.is_some_and(|at| at <= now) {
            return Again::Expired;
        }
        match self.lookup {
            Lookup::Idle => {
                self.lookup = Lookup::UnderWay;
                Again::LookUp
            }
            Lookup::UnderWay | Lookup::OfOlder => Again::Nothing,
        }
    }

    /// A lookup ended. Whether its result is about the token in force.
    pub(super) fn looked_up(&mut self) -> bool {
        core::mem::replace(&mut self.lookup, Lookup::Idle) == Lookup::UnderWay
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
                if self.lookup == Lookup::UnderWay {
                    self.lookup = Lookup::OfOlder;
                }
                return Renewed::InForce;
            }
            Ok(_) => (ErrorCode::Unauthorized, "the new token is another user's".into()),
            Err((RefusalReason::Unauthorized | RefusalReason::Forbidden, why)) => {
                (ErrorCode::Unauthorized, why)
            }
            Err((RefusalReason::Unavailable, why)) => (ErrorCode::StorageUnavailable, why),
        };
        Renewed::Refused(ErrorReply::new(code, format!("{why}; the old token stays")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(user: &str, expires: Option<i64>) -> DashboardToken {
        let expires = expires.map(WallTime::from_unix_millis);
        DashboardToken { user: UserId::new(user), expires }
    }

    const NOW: WallTime = WallTime::from_unix_millis(1000);

    #[test]
    fn the_token_asked_for_last_stays_in_whatever_order_they_are_checked() {
        let mut in_force = TokenInForce::new(token("ann", None));
        assert_eq!(in_force.checked(Token(2), Ok(token("ann", Some(2)))), Renewed::InForce);
        assert_eq!(in_force.checked(Token(1), Ok(token("ann", Some(1)))), Renewed::Older);
        assert_eq!(in_force.token, token("ann", Some(2)));
    }

    #[test]
    fn a_bad_token_leaves_the_old_one() {
        let mut in_force = TokenInForce::new(token("ann", None));
        for (number, checked, code) in [
            (1, Ok(token("bob", None)), ErrorCode::Unauthorized),
            (2, Err((RefusalReason::Forbidden, "revoked".into())), ErrorCode::Unauthorized),
            (3, Err((RefusalReason::Unauthorized, "unknown".into())), ErrorCode::Unauthorized),
            (4, Err((RefusalReason::Unavailable, "later".into())), ErrorCode::StorageUnavailable),
        ] {
            match in_force.checked(Token(number), checked) {
                Renewed::Refused(error) => {
                    assert_eq!(error.code, code);
                    assert!(error.message.ends_with("; the old token stays"), "{error:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(in_force.token, token("ann", None));
        assert_eq!(in_force.checked(Token(1), Ok(token("ann", None))), Renewed::InForce);
    }

    #[test]
    fn a_token_is_looked_up_once_at_a_time_until_it_has_run_out() {
        let mut in_force = TokenInForce::new(token("ann", Some(1001)));
        assert_eq!(in_force.again(NOW), Again::LookUp);
        assert_eq!(in_force.again(NOW), Again::Nothing);
        assert!(in_force.looked_up());
        assert_eq!(in_force.again(NOW), Again::LookUp);
        assert_eq!(in_force.again(WallTime::from_unix_millis(1001)), Again::Expired);
    }

    #[test]
    fn what_was_looked_up_of_a_token_says_nothing_of_the_next_one() {
        let mut in_force = TokenInForce::new(token("ann", None));
        assert_eq!(in_force.again(NOW), Again::LookUp);
        assert_eq!(in_force.checked(Token(1), Ok(token("ann", None))), Renewed::InForce);
        assert!(!in_force.looked_up());
        assert_eq!(in_force.again(NOW), Again::LookUp);
        assert!(in_force.looked_up());
    }
}
