//! Which token each link and each session of an agent was opened with, so that its end ends them.

use crate::auth::OpenRequest;
use onsembl_protocol::fleet::{OpenId, OpenKind, TokenEnd};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::supervisor::Key;
use std::collections::BTreeMap;

/// What links and sessions hold as long as they are open.
#[derive(Debug, Default)]
pub(super) struct Bearers {
    /// Of hellos that are not answered yet.
    joining: BTreeMap<LinkId, OpenRequest>,
    sessions: BTreeMap<Key, OpenRequest>,
    /// Of links that are kept beside sessions.
    parked: BTreeMap<LinkId, OpenRequest>,
    opened: BTreeMap<OpenId, Opened>,
}

/// What was opened with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// The session of this machine.
    Session(Key),
    /// A link whose hello is not answered yet, or that is kept beside a session.
    Link(LinkId),
}

impl Bearers {
    pub(super) fn hello(&mut self, link: LinkId, open: OpenRequest) -> Option<TokenEnd> {
        self.drop_link(link);
        let _ = self.opened.insert(open.id(), Opened::Link(link));
        let end = open.end();
        let _ = self.joining.insert(link, open);
        end
    }

    /// The hello of this link began a session of this machine. Whether its token has ended meanwhile.
    pub(super) fn welcomed(&mut self, link: LinkId, key: Key) -> Option<TokenEnd> {
        let open = self.joining.remove(&link)?;
        self.forgotten(key);
        let _ = self.opened.insert(open.id(), Opened::Session(key));
        let end = open.end();
        let _ = self.sessions.insert(key, open);
        end
    }

    pub(super) fn link_ended(&mut self, link: LinkId) {
        self.drop_link(link);
    }

    /// The hello of this link asked for a diagnosis connection, which is no session. Its holder is the link itself: no
    /// event tells how it ends.
    pub(super) fn probing(&mut self, link: LinkId) -> Option<OpenRequest> {
        let open = self.joining.remove(&link)?;
        let _ = self.opened.remove(&open.id());
        Some(open)
    }

    /// A link is kept that has said no hello.
    pub(super) fn parked_silent(&mut self, link: LinkId, open: OpenRequest) -> Option<TokenEnd> {
        self.drop_link(link);
        self.park(link, open)
    }

    /// A newer link took over from this one, which is kept. Whether its token has ended meanwhile.
    pub(super) fn parked(&mut self, link: LinkId, key: Key) -> Option<TokenEnd> {
        let joining = self.joining.get(&link);
        let of = joining.or_else(|| self.sessions.get(&key))?.again(OpenKind::ParkedLink);
        self.drop_link(link);
        self.park(link, of)
    }

    fn park(&mut self, link: LinkId, open: OpenRequest) -> Option<TokenEnd> {
        let _ = self.opened.insert(open.id(), Opened::Link(link));
        let end = open.end();
        let _ = self.parked.insert(link, open);
        end
    }

    pub(super) fn forgotten(&mut self, key: Key) {
        if let Some(open) = self.sessions.remove(&key) {
            let _ = self.opened.remove(&open.id());
        }
    }

    /// What is open under this number; nothing if it is over, or is a link that owes its hello or is for diagnosis.
    pub(super) fn opened(&self, id: OpenId) -> Option<Opened> {
        self.opened.get(&id).copied()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.joining.is_empty()
            && self.sessions.is_empty()
            && self.parked.is_empty()
            && self.opened.is_empty()
    }

    fn drop_link(&mut self, link: LinkId) {
        for open in [self.joining.remove(&link), self.parked.remove(&link)].into_iter().flatten() {
            let _ = self.opened.remove(&open.id());
        }
    }
}
