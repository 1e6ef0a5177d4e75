//! The page of a server: made from its options, and the link by which its operator gets there.

use super::{Listening, PageSwitch, Server, ServerOptions};
use crate::auth::{Authenticator, PageSessions, Signing};
use crate::http::{self, PageService};
use crate::store::Store;
use onsembl_protocol::id::UserId;
use onsembl_transport::counters::Counters;
use tracing::warn;

/// The user of a server that nobody uses yet, as in the examples.
const FIRST_USER: &str = "me";

/// How an operator gets to the page.
#[derive(Debug)]
pub(crate) enum PageLink {
    /// By this link, once.
    SignIn(String),
    /// There, but it is not clear as whom.
    Of(String),
    NoPage,
}

/// The page, if there is one, and the accounts with the sessions that are signed in to it.
pub(super) fn of(
    options: &ServerOptions,
    store: &Store,
    (auth, signing): (Authenticator, Option<Signing>),
    counters: &Counters,
) -> (Authenticator, Option<PageService>) {
    match options.page {
        PageSwitch::Off => (auth, None),
        PageSwitch::On => {
            let sessions =
                PageSessions::new(store.clone(), auth.clone(), signing, counters.clone());
            let page = PageService {
                sessions: sessions.clone(),
                public_url: options.public_url.clone().map(|url| url.0),
                retention: options.retention,
                kept: options.kept,
                user_bytes: options.store.user_bytes,
            };
            (auth.with_sessions(sessions), Some(page))
        }
    }
}

impl Server {
    /// A link by which the operator signs in once, with what it begins with.
    pub(crate) async fn page_link(&self, listening: &Listening) -> PageLink {
        let Some(page) = &self.app.page else { return PageLink::NoPage };
        let base =
            page.public_url.as_ref().map_or_else(|| by_address(listening), ToString::to_string);
        let users = match self.app.store.page_sessions().users(2).await {
            Ok(users) => users,
            Err(error) => {
                warn!(%error, "the users of this server cannot be read; no link to its page is made");
                return PageLink::Of(base);
            }
        };
        let user = match users.as_slice() {
            [] => UserId::new(FIRST_USER),
            [only] => only.clone(),
            [_, _, ..] => return PageLink::Of(base),
        };
        match page.sessions.make_code(page.sessions.grant_of_operator(user)) {
            Ok((code, _)) => PageLink::SignIn(http::link_of(&base, &code)),
            Err(error) => {
                warn!(%error, "no link to the page is made");
                PageLink::Of(base)
            }
        }
    }
}

/// How a server is reached from its own machine.
fn by_address(listening: &Listening) -> String {
    let (url, address) = (listening.url(), listening.address());
    match address.ip().is_unspecified() {
        true => url.replace(&address.to_string(), &format!("localhost:{}", address.port())),
        false => url,
    }
}
