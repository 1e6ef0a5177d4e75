//! What is open on a server under a token, and when the token ends it: the only file that decides this, for every kind
//! of link and of answer that outlives the moment in which its token was checked.
//!
//! Looking up revocations is for the edge, and so is ending what is ended here. Every call takes a number of steps
//! logarithmic in what is open, besides those for what it returns.

use crate::close::CloseCause;
use crate::id::{TokenId, UserId};
use crate::time::WallTime;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound;

/// The kinds of what is open longer than a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenKind {
    /// The link of an agent, from its request on: with a session, before it has one, or for diagnosis.
    AgentLink,
    /// The link of an agent that is kept beside that of its session.
    ParkedLink,
    /// The link of a dashboard: also a command line that waits for a command, and one that watches.
    Dashboard,
    /// Output that is read, or followed.
    Output,
    /// A recording that is exported.
    Recording,
}

impl OpenKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::AgentLink, Self::ParkedLink, Self::Dashboard, Self::Output, Self::Recording];

    /// What counts its ends of this cause.
    #[must_use]
    pub const fn counter(self, end: TokenEnd) -> &'static str {
        match (self, end) {
            (Self::AgentLink | Self::ParkedLink | Self::Dashboard, TokenEnd::Expired) => {
                "tokens_expired_in_session"
            }
            (Self::AgentLink | Self::ParkedLink | Self::Dashboard, TokenEnd::Revoked) => {
                "tokens_revoked_in_session"
            }
            (Self::Output | Self::Recording, TokenEnd::Expired) => "readers_expired",
            (Self::Output | Self::Recording, TokenEnd::Revoked) => "readers_revoked",
        }
    }
}

impl fmt::Display for OpenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AgentLink => "link of an agent",
            Self::ParkedLink => "second link of an agent",
            Self::Dashboard => "dashboard",
            Self::Output => "reader of output",
            Self::Recording => "export of a recording",
        })
    }
}

/// Why a token is valid no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEnd {
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

impl TokenEnd {
    /// With what a link is closed for it.
    #[must_use]
    pub const fn close_cause(self) -> CloseCause {
        match self {
            Self::Expired => CloseCause::TokenExpired,
            Self::Revoked => CloseCause::Revoked,
        }
    }
}

/// Names one open request for as long as a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenId(u64);

/// A token, as far as its end goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerm {
    /// Which one.
    pub token: TokenId,
    /// Whose.
    pub user: UserId,
    /// When its time is over; never if absent.
    pub expires: Option<WallTime>,
}

/// All that is open. Nothing else decides when each ends.
#[derive(Clone, Debug, Default)]
pub struct OpenRequests {
    open: BTreeMap<OpenId, Open>,
    of_token: BTreeMap<TokenId, BTreeSet<OpenId>>,
    ends: BTreeSet<(WallTime, OpenId)>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Open {
    kind: OpenKind,
    term: TokenTerm,
}

/// One that is ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: OpenId,
    /// What it is.
    pub kind: OpenKind,
    /// Whose.
    pub user: UserId,
    /// Why.
    pub end: TokenEnd,
}

impl OpenRequests {
    /// Something is opened under a token that is valid now.
    pub fn open(&mut self, kind: OpenKind, mut term: TokenTerm) -> OpenId {
        if let Some((known, _)) = self.of_token.get_key_value(&term.token) {
            // One text for all that is open under it.
            term.token = known.clone();
        }
        let id = OpenId(self.next);
        self.next = self.next.saturating_add(1);
        let _ = self.of_token.entry(term.token.clone()).or_default().insert(id);
        if let Some(at) = term.expires {
            let _ = self.ends.insert((at, id));
        }
        let _ = self.open.insert(id, Open { kind, term });
        id
    }

    /// It is over by itself, or was ended.
    pub fn close(&mut self, id: OpenId) {
        let Some(Open { term, .. }) = self.open.remove(&id) else { return };
        if let Some(at) = term.expires {
            let _ = self.ends.remove(&(at, id));
        }
        if let Some(ids) = self.of_token.get_mut(&term.token) {
            let _ = ids.remove(&id);
            if ids.is_empty() {
                let _ = self.of_token.remove(&term.token);
            }
        }
    }

    /// What ends at this time, because its token does. It is not open any more.
    pub fn expire(&mut self, now: WallTime) -> Vec<Ended> {
        let due = self.ends.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<OpenId> = due.map(|(_, id)| *id).collect();
        self.end(due, TokenEnd::Expired)
    }

    /// What ends because this token was revoked. It is not open any more.
    pub fn revoke(&mut self, token: &TokenId) -> Vec<Ended> {
        let of_token = self.of_token.get(token).into_iter().flatten();
        let of_token: Vec<OpenId> = of_token.copied().collect();
        self.end(of_token, TokenEnd::Revoked)
    }

    /// These end because their tokens are valid no longer, though their time is not over: what signed them was replaced.
    /// They are not open any more. To a peer it is as if the time were over: it may come back with a newer token.
    pub fn outdate(&mut self, ids: Vec<OpenId>) -> Vec<Ended> {
        self.end(ids, TokenEnd::Expired)
    }

    /// Tokens under which something is open, behind this one, a number of them: each is to be looked up now and again.
    #[must_use]
    pub fn tokens(&self, behind: Option<&TokenId>, most: usize) -> Vec<TokenId> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let tokens = self.of_token.range((from, Bound::Unbounded));
        tokens.take(most).map(|(token, _)| token.clone()).collect()
    }

    /// One of those that are open under this token.
    #[must_use]
    pub fn one_of(&self, token: &TokenId) -> Option<OpenId> {
        self.of_token.get(token)?.first().copied()
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn end(&mut self, ids: Vec<OpenId>, end: TokenEnd) -> Vec<Ended> {
        let mut ended = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(Open { kind, term }) = self.open.get(&id).cloned() {
                ended.push(Ended { id, kind, user: term.user, end });
                self.close(id);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn term(token: &str, expires: Option<i64>) -> TokenTerm {
        let expires = expires.map(WallTime::from_unix_millis);
        TokenTerm { token: TokenId::new(token), user: UserId::new("ann"), expires }
    }

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(ms)
    }

    fn kinds(ended: &[Ended]) -> Vec<OpenKind> {
        ended.iter().map(|ended| ended.kind).collect()
    }

    #[test]
    fn every_kind_ends_with_its_token_by_either_cause() {
        let mut all = OpenRequests::default();
        for kind in OpenKind::ALL {
            let _ = all.open(kind, term("a", Some(10)));
            let _ = all.open(kind, term("b", None));
        }
        assert!(all.expire(at(9)).is_empty());
        let expired = all.expire(at(10));
        assert_eq!(kinds(&expired), OpenKind::ALL);
        assert!(expired.iter().all(|ended| ended.end == TokenEnd::Expired));
        assert!(all.expire(at(10)).is_empty(), "once");
        assert!(all.revoke(&TokenId::new("a")).is_empty());
        let revoked = all.revoke(&TokenId::new("b"));
        assert_eq!(kinds(&revoked), OpenKind::ALL);
        assert!(revoked.iter().all(|ended| ended.end == TokenEnd::Revoked));
        assert!(all.is_empty() && all.of_token.is_empty() && all.ends.is_empty());
    }

    #[test]
    fn of_one_token_only_those_end_that_are_outdated() {
        let mut all = OpenRequests::default();
        let [old, new] = [10, 20].map(|at| all.open(OpenKind::Dashboard, term("a", Some(at))));
        let ended = all.outdate(vec![old, old]);
        assert_eq!(
            ended.iter().map(|e| (e.id, e.end)).collect::<Vec<_>>(),
            [(old, TokenEnd::Expired)]
        );
        assert_eq!(all.one_of(&TokenId::new("a")), Some(new));
        assert!(all.outdate(vec![old]).is_empty());
        assert_eq!(all.expire(at(20)).len(), 1);
        assert!(all.is_empty() && all.of_token.is_empty() && all.ends.is_empty());
    }

    #[test]
    fn what_is_over_by_itself_is_not_ended() {
        let mut all = OpenRequests::default();
        let id = all.open(OpenKind::Output, term("a", Some(10)));
        all.close(id);
        all.close(id);
        assert!(all.expire(at(99)).is_empty() && all.revoke(&TokenId::new("a")).is_empty());
        assert!(all.is_empty() && all.of_token.is_empty() && all.ends.is_empty());
    }

    #[test]
    fn each_token_is_looked_up_once_in_a_round_however_much_is_open_under_it() {
        let mut all = OpenRequests::default();
        for token in ["c", "a", "b", "a", "d"] {
            let _ = all.open(OpenKind::Dashboard, term(token, None));
        }
        let first = all.tokens(None, 3);
        assert_eq!(first, ["a", "b", "c"].map(TokenId::new));
        assert_eq!(all.tokens(first.last(), 3), ["d"].map(TokenId::new));
        assert!(all.tokens(Some(&TokenId::new("d")), 3).is_empty());
    }
}
