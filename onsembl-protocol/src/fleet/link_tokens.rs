//! Which token each link and each session of an agent was opened with, and how the end of that token ends it: a session
//! whose token expired is expected back with a newer one, and of an agent whose token was revoked no link stays.

use super::open_requests::{OpenId, OpenKind, TokenEnd};
use crate::close::CloseCause;
use crate::id::LinkId;
use alloc::collections::BTreeMap;

/// What stands for something open at the edge: it is open for as long as this exists.
pub trait OpenHandle {
    /// Which one.
    fn id(&self) -> OpenId;
    /// Whether its token has ended.
    fn end(&self) -> Option<TokenEnd>;
    /// The same token, for something else of this kind.
    #[must_use]
    fn again(&self, kind: OpenKind) -> Self;
}

/// What the links and sessions of agents were opened with. `S` names a session, by the machine that it is of.
#[derive(Debug)]
pub struct LinkTokens<S, O> {
    /// Of hellos that are not answered yet.
    joining: BTreeMap<LinkId, O>,
    sessions: BTreeMap<S, O>,
    /// Of links that are kept beside sessions.
    parked: BTreeMap<LinkId, O>,
    opened: BTreeMap<OpenId, Opened<S>>,
}

/// What was opened with a token.
#[derive(Clone, Copy, Debug)]
enum Opened<S> {
    Session(S),
    /// A link whose hello is not answered yet, or that is kept beside a session.
    Link(LinkId),
}

/// What is to be ended because its token has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<S> {
    /// The present link of a session; its agent is expected back.
    Session(S, CloseCause),
    /// An agent, with all its links.
    Agent(S, CloseCause),
    /// One link that has no session.
    Link(LinkId, CloseCause),
}

impl<S> Opened<S> {
    fn ended_by(self, end: TokenEnd) -> Ending<S> {
        match (self, end) {
            (Self::Session(session), TokenEnd::Expired) => {
                Ending::Session(session, end.close_cause())
            }
            // Not one of its links may stay.
            (Self::Session(session), TokenEnd::Revoked) => {
                Ending::Agent(session, end.close_cause())
            }
            (Self::Link(link), TokenEnd::Expired | TokenEnd::Revoked) => {
                Ending::Link(link, end.close_cause())
            }
        }
    }
}

impl<S, O> Default for LinkTokens<S, O> {
    fn default() -> Self {
        Self {
            joining: BTreeMap::new(),
            sessions: BTreeMap::new(),
            parked: BTreeMap::new(),
            opened: BTreeMap::new(),
        }
    }
}

impl<S: Copy + Ord, O: OpenHandle> LinkTokens<S, O> {
    /// A link was accepted, whose hello is to come: what keeps it open is with the link.
    pub fn accepted(&self, link: LinkId, open: &O) -> Option<Ending<S>> {
        open.end().map(|end| Opened::Link(link).ended_by(end))
    }

    /// A hello came over this link. If its token has ended meanwhile nothing is kept, and nobody is to be asked
    /// about the hello.
    pub fn hello(&mut self, link: LinkId, open: O) -> Option<Ending<S>> {
        self.link_ended(link);
        if let Some(end) = open.end() {
            return Some(Opened::Link(link).ended_by(end));
        }
        let _ = self.opened.insert(open.id(), Opened::Link(link));
        let _ = self.joining.insert(link, open);
        None
    }

    /// The hello of this link began this session.
    pub fn welcomed(&mut self, link: LinkId, session: S) -> Option<Ending<S>> {
        let open = self.joining.remove(&link)?;
        self.forgotten(session);
        let opened = Opened::Session(session);
        let _ = self.opened.insert(open.id(), opened);
        let end = open.end();
        let _ = self.sessions.insert(session, open);
        end.map(|end| opened.ended_by(end))
    }

    /// A link has ended, or its hello was refused.
    pub fn link_ended(&mut self, link: LinkId) {
        for open in [self.joining.remove(&link), self.parked.remove(&link)].into_iter().flatten() {
            let _ = self.opened.remove(&open.id());
        }
    }

    /// The hello of this link asked for a diagnosis connection, which is no session: whatever has the link is to keep
    /// this, because no event tells how such a link ends.
    pub fn probing(&mut self, link: LinkId) -> Option<(O, Option<Ending<S>>)> {
        let open = self.joining.remove(&link)?;
        let _ = self.opened.remove(&open.id());
        let ending = self.accepted(link, &open);
        Some((open, ending))
    }

    /// A link is kept that has said no hello.
    pub fn parked_silent(&mut self, link: LinkId, open: &O) -> Option<Ending<S>> {
        self.park(link, open.again(OpenKind::ParkedLink))
    }

    /// A newer link took over from this one of this session, which is kept.
    pub fn parked(&mut self, link: LinkId, session: S) -> Option<Ending<S>> {
        let joining = self.joining.get(&link);
        let of = joining.or_else(|| self.sessions.get(&session))?.again(OpenKind::ParkedLink);
        self.park(link, of)
    }

    fn park(&mut self, link: LinkId, open: O) -> Option<Ending<S>> {
        self.link_ended(link);
        let opened = Opened::Link(link);
        let _ = self.opened.insert(open.id(), opened);
        let end = open.end();
        let _ = self.parked.insert(link, open);
        end.map(|end| opened.ended_by(end))
    }

    /// The machine of this session is gone.
    pub fn forgotten(&mut self, session: S) {
        if let Some(open) = self.sessions.remove(&session) {
            let _ = self.opened.remove(&open.id());
        }
    }

    /// The token of what is open under this number has ended. Of what is unknown here it ends the link that the
    /// edge made of it, if it did: one that owes its hello, or is for diagnosis.
    pub fn token_ended(
        &self,
        id: OpenId,
        end: TokenEnd,
        link: Option<LinkId>,
    ) -> Option<Ending<S>> {
        let opened = self.opened.get(&id).copied().or_else(|| link.map(Opened::Link));
        opened.map(|opened| opened.ended_by(end))
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.joining.is_empty()
            && self.sessions.is_empty()
            && self.parked.is_empty()
            && self.opened.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::open_requests::{OpenRequests, TokenTerm};
    use super::*;
    use crate::id::{TokenId, UserId};
    use std::cell::RefCell;
    use std::rc::Rc;

    /// What is open in a test, and the ends of tokens that were found.
    #[derive(Clone)]
    struct Handle {
        requests: Rc<RefCell<OpenRequests>>,
        id: OpenId,
        end: Option<TokenEnd>,
    }

    impl Handle {
        fn new(
            requests: &Rc<RefCell<OpenRequests>>,
            kind: OpenKind,
            end: Option<TokenEnd>,
        ) -> Self {
            let (token, user) = (TokenId::new("t"), UserId::new("ann"));
            let term = TokenTerm { token, user, expires: None };
            let id = requests.borrow_mut().open(kind, term);
            Self { requests: Rc::clone(requests), id, end }
        }
    }

    impl OpenHandle for Handle {
        fn id(&self) -> OpenId {
            self.id
        }

        fn end(&self) -> Option<TokenEnd> {
            self.end
        }

        fn again(&self, kind: OpenKind) -> Self {
            Self::new(&self.requests, kind, self.end)
        }
    }

    const LINK: LinkId = LinkId(1);

    fn opened(end: Option<TokenEnd>) -> Handle {
        Handle::new(&Rc::default(), OpenKind::AgentLink, end)
    }

    #[test]
    fn a_session_whose_token_expires_is_expected_back_and_one_whose_token_is_revoked_is_not() {
        let mut all = LinkTokens::<u8, _>::default();
        let handle = opened(None);
        let id = handle.id();
        assert_eq!(all.hello(LINK, handle), None);
        let of_link = all.token_ended(id, TokenEnd::Revoked, None);
        assert_eq!(of_link, Some(Ending::Link(LINK, CloseCause::Revoked)));
        assert_eq!(all.welcomed(LINK, 7), None);
        let expired = all.token_ended(id, TokenEnd::Expired, None);
        assert_eq!(expired, Some(Ending::Session(7, CloseCause::TokenExpired)));
        let revoked = all.token_ended(id, TokenEnd::Revoked, None);
        assert_eq!(revoked, Some(Ending::Agent(7, CloseCause::Revoked)));
        all.forgotten(7);
        assert!(all.is_empty());
        assert_eq!(all.token_ended(id, TokenEnd::Revoked, None), None);
    }

    #[test]
    fn a_hello_whose_token_has_ended_asks_nobody_and_leaves_nothing() {
        let mut all = LinkTokens::<u8, _>::default();
        let ending = all.hello(LINK, opened(Some(TokenEnd::Expired)));
        assert_eq!(ending, Some(Ending::Link(LINK, CloseCause::TokenExpired)));
        assert!(all.is_empty());
    }

    #[test]
    fn a_link_that_is_kept_beside_a_session_has_the_token_of_its_own_hello() {
        let mut all = LinkTokens::<u8, _>::default();
        let _ = all.hello(LINK, opened(None));
        let _ = all.welcomed(LINK, 7);
        assert_eq!(all.parked(LINK, 7), None, "the session of the newer link holds the other");
        all.forgotten(7);
        assert!(!all.is_empty());
        all.link_ended(LINK);
        assert!(all.is_empty());
    }

    #[test]
    fn nothing_is_kept_of_a_link_for_diagnosis_and_its_token_ends_it() {
        let mut all = LinkTokens::<u8, _>::default();
        let _ = all.hello(LINK, opened(None));
        let (open, ending) = all.probing(LINK).unwrap();
        assert!(all.is_empty() && ending.is_none());
        let ended = all.token_ended(open.id(), TokenEnd::Revoked, Some(LINK));
        assert_eq!(ended, Some(Ending::Link(LINK, CloseCause::Revoked)));
    }
}
