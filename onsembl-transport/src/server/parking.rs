//! Links of legacy agents that are kept beside the ones of their sessions, as the machines decide.

use super::events::ShardEvent;
use super::shard::Shard;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::LinkId;
use onsembl_protocol::session::AcceptedEvent;
use onsembl_protocol::supervisor::Key;
use tracing::debug;

impl<A> Shard<A> {
    /// A silent link is kept beside the session of the agent behind `key`.
    pub fn park(&mut self, link: LinkId, key: Key) {
        if let Some(entry) = self.links.get_mut(&link) {
            entry.key = Some(key);
            self.keep(key, link);
        }
    }

    /// A silent link is of no use to anybody.
    pub fn give_up_silent(&mut self, link: LinkId) {
        self.at_link(link, AcceptedEvent::Refused(CloseCause::HelloTimeout));
    }

    /// What was established when a link was accepted that has not said hello yet, or is for diagnosis.
    pub fn bearer(&self, link: LinkId) -> Option<&A> {
        self.links.get(&link)?.auth.as_ref()
    }

    /// Keeps what was established with a link for as long as it is open: of a diagnosis connection, which is no session.
    pub fn entrust(&mut self, link: LinkId, auth: A) {
        if let Some(entry) = self.links.get_mut(&link) {
            entry.auth = Some(auth);
        }
    }

    /// Closes one link that is kept beside a session, or is none's.
    pub fn end_parked(&mut self, link: LinkId, cause: CloseCause) {
        self.close(link, cause);
    }

    /// A newer link took over from this one, which is kept.
    pub(super) fn keep_older(&mut self, key: Key, link: LinkId) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let session = entry.session.take();
        self.events.push_back(ShardEvent::Parked { key, link, session });
        self.keep(key, link);
    }

    /// Nothing is left of an agent beside which links were kept.
    pub(super) fn end_parked_of(&mut self, key: Key, cause: CloseCause) {
        for link in self.parked.remove(&key).into_iter().flatten() {
            self.close(link, cause);
        }
    }

    /// A link is kept no more: it ended, or said hello.
    pub(super) fn unpark(&mut self, link: LinkId) {
        let Some(key) = self.links.get(&link).and_then(|entry| entry.key) else { return };
        if let Some(links) = self.parked.get_mut(&key) {
            let _ = links.remove(&link);
            if links.is_empty() {
                let _ = self.parked.remove(&key);
            }
        }
    }

    fn keep(&mut self, key: Key, link: LinkId) {
        self.counters.count("links_parked");
        debug!(%link, ?key, "a second link of a legacy agent is kept open beside that of its session");
        let _ = self.parked.entry(key).or_default().insert(link);
        let timing = self.supervisor.rules().timing;
        self.at_link(link, AcceptedEvent::Parked(timing));
    }
}
