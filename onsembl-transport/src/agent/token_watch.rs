//! Looks for another token than the one in use, as the agent's machine wants it looked for.

use crate::link::{Dialer, Link};
use crate::log_limit::LogLimit;
use onsembl_protocol::session::TokenUse;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// How often the token source is read while another token is awaited. Reading a file costs nothing, and
/// a second is little compared with the 30 s that the wait may last.
const LOOK_WHILE_WAITING: Duration = Duration::from_secs(1);

/// The same in session: tokens are renewed minutes before they expire.
const LOOK_IN_SESSION: Duration = Duration::from_secs(10);

/// A watch for another token, or none.
#[derive(Default)]
pub(super) struct TokenWatch(Option<Watch>);

struct Watch {
    wanted: TokenUse,
    /// The next look is not to wait for its time.
    soon: Arc<Notify>,
    /// Completes when there is one, with a link that was opened with it if one was tried.
    task: AbortOnDropHandle<Option<Link>>,
}

impl TokenWatch {
    /// Watches for what is wanted from now on.
    pub(super) fn want(&mut self, wanted: TokenUse, dialer: &Arc<dyn Dialer>) {
        if self.0.as_ref().map_or(TokenUse::None, |watch| watch.wanted) == wanted {
            return;
        }
        let (dialer, soon) = (Arc::clone(dialer), Arc::new(Notify::new()));
        let asked = Arc::clone(&soon);
        let task = match wanted {
            TokenUse::None => None,
            TokenUse::EndsTheWait => Some(tokio::spawn(async move {
                while !dialer.has_another_token().await {
                    pause(LOOK_WHILE_WAITING, &asked).await;
                }
                None
            })),
            TokenUse::RenewsTheSession => Some(tokio::spawn(with_a_link(dialer, asked))),
        };
        self.0 = task.map(|task| Watch { wanted, soon, task: AbortOnDropHandle::new(task) });
    }

    /// Looks now, if another token is wanted at all, and continues from there.
    pub(super) fn look(&self) {
        if let Some(Watch { soon, .. }) = &self.0 {
            soon.notify_one();
        }
    }

    /// Completes once, when there is another token.
    pub(super) async fn another(&mut self) -> Option<Link> {
        let Some(Watch { task, .. }) = &mut self.0 else { return std::future::pending().await };
        let ended = task.await;
        self.0 = None;
        match ended {
            Ok(ready) => ready,
            // The token source panicked. The next event starts another watch.
            Err(_) => std::future::pending().await,
        }
    }
}

/// From one look to the next, unless somebody asks for it sooner.
async fn pause(time: Duration, asked: &Notify) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = asked.notified() => {}
    }
}

/// Waits for another token, and opens a link with it before that of the session is given up.
async fn with_a_link(dialer: Arc<dyn Dialer>, asked: Arc<Notify>) -> Option<Link> {
    let warned = LogLimit::new();
    loop {
        pause(LOOK_IN_SESSION, &asked).await;
        if !dialer.has_another_token().await {
            continue;
        }
        match dialer.dial().await {
            Ok(link) => return Some(link),
            Err(error) => {
                let cause = error.fault.as_str();
                if let Some(more) = warned.allow((), (error.fault, error.address)) {
                    warn!(cause, more, %error, "no link with the newer token yet; keeping the old one");
                }
            }
        }
    }
}
