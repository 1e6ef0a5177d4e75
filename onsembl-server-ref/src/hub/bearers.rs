//! Which token each session was opened with, so that the end of a token ends its sessions.

use crate::auth::Identity;
use onsembl_protocol::id::LinkId;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};

/// The identities behind links and sessions.
#[derive(Debug, Default)]
pub(super) struct Bearers {
    /// Of hellos that are not answered yet.
    joining: BTreeMap<LinkId, Identity>,
    sessions: BTreeMap<Key, Identity>,
}

impl Bearers {
    pub(super) fn hello(&mut self, link: LinkId, identity: Identity) {
        let _ = self.joining.insert(link, identity);
    }

    /// The hello of this link began a session of this machine.
    pub(super) fn welcomed(&mut self, link: LinkId, key: Key) {
        if let Some(identity) = self.joining.remove(&link) {
            let _ = self.sessions.insert(key, identity);
        }
    }

    pub(super) fn link_ended(&mut self, link: LinkId) {
        let _ = self.joining.remove(&link);
    }

    pub(super) fn forgotten(&mut self, key: Key) {
        let _ = self.sessions.remove(&key);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.joining.is_empty() && self.sessions.is_empty()
    }

    /// Sessions whose token has expired, and the tokens of all others.
    pub(super) fn check(&self, at: WallTime) -> (Vec<Key>, BTreeSet<String>) {
        let (expired, valid): (Vec<_>, Vec<_>) =
            self.sessions.iter().partition(|(_, identity)| identity.has_expired(at));
        let expired = expired.into_iter().map(|(key, _)| *key).collect();
        (expired, valid.into_iter().map(|(_, identity)| identity.token_id.clone()).collect())
    }

    /// Sessions that were opened with this token.
    pub(super) fn of_token(&self, token: &str) -> Vec<Key> {
        let of = |(_, identity): &(&Key, &Identity)| identity.token_id == token;
        self.sessions.iter().filter(of).map(|(key, _)| *key).collect()
    }
}
