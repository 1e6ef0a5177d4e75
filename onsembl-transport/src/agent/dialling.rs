//! From the decision to dial to a link, or to the reason why there is none: the dial that is in progress, the watch for
//! another token, and the link that was opened with it.

use super::token_watch::TokenWatch;
use crate::link::{DialError, Dialer, Link};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::session::{DialFailure, TokenUse};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The dials of one agent, one at a time.
pub(super) struct Dialling {
    dialer: Arc<dyn Dialer>,
    under_way: Option<(LinkId, JoinHandle<Result<Link, DialError>>)>,
    token_watch: TokenWatch,
    /// A link that was opened with a newer token, for the next dial.
    ready: Option<Link>,
}

/// What came of it.
pub(super) enum Dialled {
    /// The dial is over.
    Over(LinkId, Result<Link, DialError>),
    /// There is another token than the one in use.
    AnotherToken,
}

impl Dialling {
    pub(super) fn new(dialer: impl Dialer + 'static) -> Self {
        let (under_way, token_watch, ready) = (None, TokenWatch::default(), None);
        Self { dialer: Arc::new(dialer), under_way, token_watch, ready }
    }

    pub(super) fn begin(&mut self, link: LinkId) {
        let (dialer, ready) = (Arc::clone(&self.dialer), self.ready.take());
        let dial = async move {
            match ready {
                Some(opened) => Ok(opened),
                None => dialer.dial().await,
            }
        };
        self.under_way = Some((link, tokio::spawn(dial)));
    }

    /// Gives up the dial of this link, if it is in progress.
    pub(super) fn abort(&mut self, link: LinkId) {
        if let Some((_, dial)) = self.under_way.take_if(|(dialling, _)| *dialling == link) {
            dial.abort();
        }
    }

    /// Whether to look for another token from now on, and what for.
    pub(super) fn want_token(&mut self, wanted: TokenUse) {
        self.token_watch.want(wanted, &self.dialer);
    }

    /// Looks now whether there is another token, if one is wanted at all.
    pub(super) fn look_at_token(&self) {
        self.token_watch.look();
    }

    /// The address that was dialled last leads to no session.
    pub(super) fn blame_address(&self) {
        self.dialer.hello_failed();
    }

    /// What happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Dialled {
        tokio::select! {
            biased;
            (link, dialled) = outcome(&mut self.under_way) => Dialled::Over(link, dialled),
            ready = self.token_watch.another() => {
                self.ready = ready;
                Dialled::AnotherToken
            }
        }
    }
}

async fn outcome(
    under_way: &mut Option<(LinkId, JoinHandle<Result<Link, DialError>>)>,
) -> (LinkId, Result<Link, DialError>) {
    let Some((link, task)) = under_way else { return std::future::pending().await };
    let link = *link;
    let outcome = match task.await {
        Ok(outcome) => outcome,
        Err(closed) => Err(DialError::new(DialFailure::Unreachable, closed.to_string())),
    };
    *under_way = None;
    (link, outcome)
}
