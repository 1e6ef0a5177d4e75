//! Which token each session was opened with, so that the end of a token ends its sessions.

use crate::auth::{Identity, TokenKind};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The identities behind links and sessions.
#[derive(Debug, Default)]
pub(super) struct Bearers {
    /// Of hellos that are not answered yet.
    joining: BTreeMap<LinkId, Identity>,
    sessions: BTreeMap<Key, Identity>,
    /// Of links that are kept beside sessions.
    parked: BTreeMap<LinkId, Identity>,
}

/// What was opened with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// The session of this machine.
    Session(Key),
    /// A link that is kept beside a session.
    Parked(LinkId),
}

impl Bearers {
    pub(super) fn hello(&mut self, link: LinkId, identity: Identity) {
        let _ = self.parked.remove(&link);
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
        let _ = self.parked.remove(&link);
    }

    /// A link is kept that has said no hello.
    pub(super) fn parked_silent(&mut self, link: LinkId, identity: Identity) {
        let _ = self.parked.insert(link, identity);
    }

    /// A newer link took over from this one, which is kept.
    pub(super) fn parked(&mut self, link: LinkId, key: Key) {
        let joining = self.joining.remove(&link);
        if let Some(identity) = joining.or_else(|| self.sessions.get(&key).cloned()) {
            let _ = self.parked.insert(link, identity);
        }
    }

    pub(super) fn forgotten(&mut self, key: Key) {
        let _ = self.sessions.remove(&key);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.joining.is_empty() && self.sessions.is_empty() && self.parked.is_empty()
    }

    /// What was opened with a token that has expired, and the tokens of all others.
    pub(super) fn check(&self, at: WallTime) -> (Vec<Opened>, BTreeSet<String>) {
        let (expired, valid): (Vec<_>, Vec<_>) =
            self.all().partition(|(_, identity)| identity.has_expired(at));
        let expired = expired.into_iter().map(|(opened, _)| opened).collect();
        (expired, valid.into_iter().map(|(_, identity)| identity.token_id.clone()).collect())
    }

    /// The agents' tokens that end soon, and when they do.
    pub(super) fn ending(&self, at: WallTime) -> Vec<(Identity, Duration)> {
        let mut seen = BTreeSet::new();
        let agents = self.sessions.values().filter(|identity| identity.kind == TokenKind::Agent);
        let ending = agents.filter_map(|identity| Some((identity, identity.ends_soon(at)?)));
        let first = ending.filter(|(identity, _)| seen.insert(&identity.token_id));
        first.map(|(identity, left)| (identity.clone(), left)).collect()
    }

    /// What was opened with this token.
    pub(super) fn of_token(&self, token: &str) -> Vec<Opened> {
        let of = |(_, identity): &(Opened, &Identity)| identity.token_id == token;
        self.all().filter(of).map(|(opened, _)| opened).collect()
    }

    fn all(&self) -> impl Iterator<Item = (Opened, &Identity)> {
        let sessions = self.sessions.iter().map(|(key, of)| (Opened::Session(*key), of));
        sessions.chain(self.parked.iter().map(|(link, of)| (Opened::Parked(*link), of)))
    }
}
