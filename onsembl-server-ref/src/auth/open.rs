//! Whatever is open under a token: each holds an [`OpenRequest`], and is told when the token ends. When that is,
//! the core
//! decides ([`OpenRequests`]); here tokens are looked up, and those concerned are told.
//!
//! Links and long answers take an [`OpenRequest`] where they begin, so that none can be made without one.

use super::signing::SecretNumber;
use super::{Authenticator, Identity, TokenKind};
use crate::bounds::LogLimit;
use onsembl_protocol::fleet::{
    Ended, OpenHandle, OpenId, OpenKind, OpenRequests, TokenEnd, TokenTerm,
};
use onsembl_protocol::id::{LinkId, TokenId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often it is looked for tokens whose time is over.
const EXPIRED_EVERY: Duration = Duration::from_secs(1);
/// From one round of look-ups of revocations to the next.
const REVOKED_EVERY: Duration = Duration::from_secs(5);
/// Tokens that are taken out of the book at a time.
const PAGE: usize = 256;
/// Look-ups that may fail before the others are left to the next round: then it is what they are looked up in that
/// fails,
/// and not something about a token.
const FAILURES: usize = 3;
/// How often it is said that a token ends soon: whoever renews it has days.
const WARNINGS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The link of an agent whose token has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkEnd {
    pub(crate) id: OpenId,
    pub(crate) end: TokenEnd,
    /// Which link the hub made of it.
    pub(crate) link: Option<LinkId>,
}

/// All that is open on a server.
#[derive(Clone, Debug)]
pub(crate) struct Opens(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    counters: Counters,
    /// Links of agents are ended by the hub. There are no more in it than links.
    links: mpsc::UnboundedSender<LinkEnd>,
    warnings: LogLimit<UserId, TokenId>,
    /// A round of look-ups is not to wait for its time.
    soon: Notify,
}

#[derive(Debug, Default)]
struct Book {
    requests: OpenRequests,
    holders: BTreeMap<OpenId, Holder>,
    /// Tokens that an earlier secret signed are good no longer.
    secret: SecretNumber,
}

impl Book {
    /// What is known of a token, as it stands with what is open under it already: each connection holds it.
    fn known(&self, token: &TokenId, identity: Arc<Identity>) -> Arc<Identity> {
        let one = self.requests.one_of(token).and_then(|id| self.holders.get(&id));
        match one.filter(|one| one.identity == identity) {
            Some(one) => Arc::clone(&one.identity),
            None => identity,
        }
    }

    /// Those that are open under tokens which a secret before that in use signed.
    fn outdated(&self) -> Vec<OpenId> {
        let is_outdated =
            |holder: &Holder| holder.identity.signed_by.is_some_and(|by| by < self.secret);
        let outdated = self.holders.iter().filter(|(_, holder)| is_outdated(holder));
        outdated.map(|(id, _)| *id).collect()
    }
}

#[derive(Debug)]
struct Holder {
    end: Arc<EndCell>,
    identity: Arc<Identity>,
    link: Option<LinkId>,
}

/// How the token of something that is open ended, once it has. One for each connection, so it is no larger than that takes.
#[derive(Debug, Default)]
struct EndCell {
    end: OnceLock<TokenEnd>,
    told: Notify,
}

impl EndCell {
    fn tell(&self, end: TokenEnd) {
        let _ = self.end.set(end);
        self.told.notify_waiters();
    }

    async fn told(&self) -> TokenEnd {
        loop {
            // Made first: what is told from here on is not missed.
            let told = self.told.notified();
            if let Some(end) = self.end.get() {
                return *end;
            }
            told.await;
        }
    }
}

/// One thing that is open: to be held as long as it is.
#[derive(Debug)]
#[must_use = "it is not open any more when this is dropped"]
pub(crate) struct OpenRequest {
    opens: Opens,
    id: OpenId,
    kind: OpenKind,
    identity: Arc<Identity>,
    end: Arc<EndCell>,
}

impl Opens {
    /// With nothing open; and what says of which agents' links the tokens ended.
    pub(crate) fn new(counters: Counters) -> (Self, mpsc::UnboundedReceiver<LinkEnd>) {
        let (links, ended) = mpsc::unbounded_channel();
        let warnings = LogLimit::every(WARNINGS_EVERY);
        let soon = Notify::new();
        let shared = Shared { book: Mutex::default(), counters, links, warnings, soon };
        (Self(Arc::new(shared)), ended)
    }

    /// Something is opened with a token that was checked now.
    pub(crate) fn open(&self, kind: OpenKind, identity: Identity) -> OpenRequest {
        self.open_shared(kind, Arc::new(identity))
    }

    fn open_shared(&self, kind: OpenKind, identity: Arc<Identity>) -> OpenRequest {
        let token = TokenId::new(&identity.token_id);
        let end = Arc::<EndCell>::default();
        let mut book = self.book();
        let identity = book.known(&token, identity);
        let term = TokenTerm { token, user: identity.user.clone(), expires: identity.expires };
        let id = book.requests.open(kind, term);
        let holder = Holder { end: Arc::clone(&end), identity: Arc::clone(&identity), link: None };
        let is_outdated = holder.identity.signed_by.is_some_and(|by| by < book.secret);
        let _ = book.holders.insert(id, holder);
        if is_outdated {
            // It was checked just before the secret was replaced.
            let ended = book.requests.outdate(vec![id]);
            self.tell(&mut book, ended);
        }
        drop(book);
        OpenRequest { opens: self.clone(), id, kind, identity, end }
    }

    /// Ends what is open under a token that is valid no longer, until `stop`.
    pub(crate) async fn keep(self, auth: Authenticator, stop: CancellationToken) {
        let expire = async {
            let clock = SystemClock::new();
            loop {
                tokio::time::sleep(EXPIRED_EVERY).await;
                self.expire(clock.now().wall);
            }
        };
        let revoke = async {
            let mut behind = None;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(REVOKED_EVERY) => {}
                    () = self.0.soon.notified() => {}
                }
                behind = self.look_up(&auth, behind).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = expire => {}
            () = revoke => {}
        }
    }

    /// Ends what is open under a token that a secret before this one signed. How many that were.
    pub(crate) fn signed_before(&self, secret: SecretNumber) -> usize {
        let mut book = self.book();
        book.secret = book.secret.max(secret);
        let outdated = book.outdated();
        let ended = book.requests.outdate(outdated);
        let count = ended.len();
        self.tell(&mut book, ended);
        count
    }

    /// The next round of look-ups of revocations begins now.
    pub(crate) fn look_up_soon(&self) {
        self.0.soon.notify_one();
    }

    fn expire(&self, now: WallTime) {
        let mut book = self.book();
        let ended = book.requests.expire(now);
        self.tell(&mut book, ended);
    }

    /// Looks up each token once, from where the round before stopped. Where this one stopped, if it did.
    async fn look_up(&self, auth: &Authenticator, behind: Option<TokenId>) -> Option<TokenId> {
        let (first, mut at, mut failures) = (behind.clone(), behind, 0);
        let mut is_second_part = first.is_none();
        loop {
            let page = self.book().requests.tokens(at.as_ref(), PAGE);
            if page.is_empty() && is_second_part {
                return None;
            }
            if page.is_empty() {
                (at, is_second_part) = (None, true);
                continue;
            }
            for token in page {
                if is_second_part && first.as_ref().is_some_and(|first| token > *first) {
                    return None;
                }
                self.warn_of_end(&token);
                match auth.is_revoked(token.as_str()).await {
                    Ok(true) => {
                        let mut book = self.book();
                        let ended = book.requests.revoke(&token);
                        self.tell(&mut book, ended);
                    }
                    Ok(false) => {}
                    Err(error) => {
                        warn!(%token, %error, "cannot look up whether a token was revoked; retrying later");
                        failures += 1;
                        if failures >= FAILURES {
                            return Some(token);
                        }
                    }
                }
                at = Some(token);
            }
        }
    }

    fn tell(&self, book: &mut Book, ended: Vec<Ended>) {
        for Ended { id, kind, user, end } in ended {
            self.0.counters.count(kind.counter(end));
            debug!(%user, %kind, ?end, "closing links and responses whose token has expired or was revoked");
            let holder = book.holders.remove(&id);
            let link = holder.as_ref().and_then(|holder| holder.link);
            if let Some(holder) = holder {
                if (kind, end) == (OpenKind::AgentLink, TokenEnd::Expired) {
                    let token = TokenId::new(&holder.identity.token_id);
                    if let Some(more) = self.0.warnings.allow(user.clone(), token.clone()) {
                        warn!(%user, %token, more, "the token of an agent in session has expired; it is refused until it has a newer one (onsembl-server token --renew)");
                    }
                }
                holder.end.tell(end);
            }
            match kind {
                // The hub ends before its links do.
                OpenKind::AgentLink | OpenKind::ParkedLink => {
                    let _ = self.0.links.send(LinkEnd { id, end, link });
                }
                OpenKind::Dashboard | OpenKind::Output | OpenKind::Recording => {}
            }
        }
    }

    /// The token of an agent is about to expire.
    fn warn_of_end(&self, token: &TokenId) {
        let identity = {
            let book = self.book();
            let one = book.requests.one_of(token).and_then(|id| book.holders.get(&id));
            one.map(|holder| Arc::clone(&holder.identity))
        };
        let Some(identity) = identity.filter(|identity| identity.kind == TokenKind::Agent) else {
            return;
        };
        let Some(left) = identity.ends_soon(SystemClock::new().now().wall) else { return };
        let user = &identity.user;
        if self.0.warnings.allow(user.clone(), token.clone()).is_some() {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs() / 60 * 60));
            warn!(%user, %token, %left, "the token of an agent in session is about to expire; make a newer one (onsembl-server token --renew) and put it where the agent reads it");
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenRequest {
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The hub made this link of it.
    pub(crate) fn is_link(&self, link: LinkId) {
        if let Some(holder) = self.opens.book().holders.get_mut(&self.id) {
            holder.link = Some(link);
        }
    }

    /// Returns when its token ends. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> TokenEnd {
        self.end.told().await
    }

    /// It continues under this token, which was checked now.
    pub(crate) fn renew(&mut self, identity: Identity) {
        *self = self.opens.open(self.kind, identity);
    }
}

impl OpenHandle for OpenRequest {
    fn id(&self) -> OpenId {
        self.id
    }

    fn end(&self) -> Option<TokenEnd> {
        self.end.end.get().copied()
    }

    fn again(&self, kind: OpenKind) -> Self {
        let mut another = self.opens.open_shared(kind, Arc::clone(&self.identity));
        if self.end().is_some() {
            // A revocation that was found already.
            another.end = Arc::clone(&self.end);
        }
        another
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut book = self.opens.book();
        book.requests.close(self.id);
        let _ = book.holders.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Auth, Credentials, LookupError, Refusal};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Of tokens with an `x` it cannot say anything, and those with a `z` were revoked.
    #[derive(Clone, Default)]
    struct Flaky(Arc<AtomicUsize>);

    impl Auth for Flaky {
        async fn identify(&self, _: &Credentials<'_>) -> Result<Identity, Refusal> {
            Err(Refusal::Unauthorized("nobody".to_owned()))
        }

        async fn is_revoked(&self, token_id: &str) -> Result<bool, LookupError> {
            let _ = self.0.fetch_add(1, Ordering::Relaxed);
            match token_id.contains('x') {
                true => Err(LookupError::new("unreadable")),
                false => Ok(token_id.contains('z')),
            }
        }
    }

    fn of(token: &str) -> Identity {
        Identity::new(UserId::new("ann"), TokenKind::Dashboard, token)
    }

    fn opens() -> Opens {
        Opens::new(Counters::default()).0
    }

    #[tokio::test]
    async fn tokens_whose_look_ups_fail_hide_no_others() {
        let (opens, auth) = (opens(), Authenticator::new(Flaky::default()));
        let open = |token| opens.open(OpenKind::Output, of(token));
        let all = ["a", "b-x", "c-x", "d-x", "e-x", "f-z"].map(open);
        let ended = |n: usize| all[n].end();
        let left = opens.look_up(&auth, None).await;
        assert_eq!((ended(5), left.as_ref()), (None, Some(&TokenId::new("d-x"))));
        let _ = opens.look_up(&auth, left).await;
        assert_eq!(ended(5), Some(TokenEnd::Revoked));
        assert!((0..5).all(|n| ended(n).is_none()));
    }

    #[tokio::test]
    async fn a_token_is_looked_up_once_a_round_however_much_is_open_under_it() {
        let (opens, asked) = (opens(), Flaky::default());
        let auth = Authenticator::new(asked.clone());
        let all: Vec<_> = (0..1000).map(|_| opens.open(OpenKind::Dashboard, of("a"))).collect();
        assert_eq!(opens.look_up(&auth, None).await, None);
        assert_eq!(asked.0.load(Ordering::Relaxed), 1);
        drop(all);
        assert_eq!(opens.look_up(&auth, None).await, None);
        assert_eq!(asked.0.load(Ordering::Relaxed), 1, "nothing is open any more");
        assert!(opens.book().holders.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_is_asked_for_does_not_wait_for_its_time() {
        let opens = opens();
        let mut open = opens.open(OpenKind::Output, of("z"));
        let auth = Authenticator::new(Flaky::default());
        let kept = tokio::spawn(opens.clone().keep(auth, CancellationToken::new()));
        let soon = REVOKED_EVERY / 100;
        assert!(tokio::time::timeout(soon, open.ended()).await.is_err());
        opens.look_up_soon();
        assert_eq!(tokio::time::timeout(soon, open.ended()).await, Ok(TokenEnd::Revoked));
        kept.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn every_kind_is_told_of_either_end_within_seconds_and_counted() {
        let counters = Counters::default();
        let (opens, mut links) = Opens::new(counters.clone());
        let now = SystemClock::new().now().wall;
        let mut all = Vec::new();
        for kind in OpenKind::ALL {
            let expiring = of("a").expiring_at(now);
            all.push((opens.open(kind, expiring), TokenEnd::Expired));
            all.push((opens.open(kind, of("z")), TokenEnd::Revoked));
        }
        let good = opens.open(OpenKind::Output, of("a"));
        let stop = CancellationToken::new();
        let auth = Authenticator::new(Flaky::default());
        let kept = tokio::spawn(opens.clone().keep(auth, stop.clone()));
        for (open, end) in &mut all {
            assert_eq!(tokio::time::timeout(2 * REVOKED_EVERY, open.ended()).await, Ok(*end));
            let again = open.again(OpenKind::ParkedLink);
            assert_eq!(again.end(), Some(*end), "what it is continued in has ended, too");
        }
        assert_eq!(good.end(), None);
        let mut told = 0;
        while links.try_recv().is_ok() {
            told += 1;
        }
        assert_eq!(told, 4, "the hub is told of both kinds of links");
        let counted = counters.snapshot();
        for (name, count) in [
            ("tokens_expired_in_session", 3),
            ("tokens_revoked_in_session", 3),
            ("readers_expired", 2),
            ("readers_revoked", 2),
        ] {
            assert_eq!(counted.get(name), Some(&count), "{name}");
        }
        stop.cancel();
        kept.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_renewed_goes_on_under_the_newer_token() {
        let (opens, auth) = (opens(), Authenticator::new(Flaky::default()));
        let mut open = opens.open(OpenKind::Dashboard, of("z"));
        open.renew(of("a"));
        let _ = opens.look_up(&auth, None).await;
        assert_eq!(open.end(), None);
        open.renew(of("z"));
        let _ = opens.look_up(&auth, None).await;
        assert_eq!(open.ended().await, TokenEnd::Revoked);
        open.renew(of("a"));
        assert_eq!(open.end(), None);
    }
}
