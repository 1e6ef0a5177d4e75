//! HTTP: the accept loop, the upgrade to WebSocket, and the few pages that are no WebSocket.

mod accept;
mod api;
mod ask;
mod audit;
mod command_why;
mod commands;
mod connection;
mod control;
mod cors;
mod fleet_why;
mod frame_headers;
mod large_messages;
mod metrics;
mod order_body;
mod output;
mod page;
mod paths;
mod patient_io;
mod proxies;
mod recording;
mod screen;
mod signed_in;
mod stops;
mod streamed;
mod terminal_output;
mod tokens;
mod upgrade;
mod waiting_room;
mod why;

pub(crate) use accept::{AcceptLimits, Listener, accept};
pub(crate) use api::{health, router, standalone};
pub(crate) use commands::{CommandDetail, CommandSummary};
pub(crate) use connection::{AT_WORK_KNOWN, AT_WORK_WAITING, Connection, Connections};
pub(crate) use control::Control;
pub use cors::{CorsOrigin, NoOrigin};
pub(crate) use large_messages::{LARGE_MESSAGES, LargeMessages, SMALL};
pub(crate) use metrics::open as open_metrics;
pub(crate) use output::{OutputLine, PAGE, READER, READERS};
pub(crate) use page::{PAGE_BYTES, PAGES};
pub(crate) use proxies::TrustedProxies;
pub(crate) use recording::EXPORTS;
pub(crate) use screen::{ANSWER as SCREEN_ANSWER, ScreenDump};
pub(crate) use signed_in::Refusals;
pub(crate) use stops::Order;
pub(crate) use waiting_room::{RoomLimits, network_of};

use crate::auth::{Authenticator, Opens};
use crate::bounds::Shares;
use crate::dashboard::Dashboard;
use crate::fleet_view::FleetViews;
use crate::hub::HubHandle;
use crate::metrics::Metrics;
use crate::own_faults::FaultRecord;
use crate::screens::Screens;
use crate::store::Store;
use crate::turned_away::TurnedAwayAgents;
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::session::ServerConfig;
use onsembl_transport::counters::Counters;
use std::ops::Deref;
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// What every request handler may use: one of it for all, since each layer and each handler of a request has its own.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<AppParts>);

impl App {
    pub(crate) fn new(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// See [`App`].
#[derive(Debug)]
pub(crate) struct AppParts {
    pub(crate) auth: Authenticator,
    /// What is open under which token.
    pub(crate) opens: Opens,
    pub(crate) fleet_views: FleetViews,
    pub(crate) store: Store,
    pub(crate) hub: HubHandle,
    /// The times by which agents are judged.
    pub(crate) rules: ServerConfig,
    pub(crate) counters: Counters,
    pub(crate) metrics: Metrics,
    /// What this server suffered itself.
    pub(crate) own_faults: FaultRecord,
    pub(crate) dashboard: Arc<Dashboard>,
    pub(crate) connections: Connections,
    /// Whose pages may use the API from a browser.
    pub(crate) origins: Arc<[CorsOrigin]>,
    /// Recordings that may be on their way at a time.
    pub(crate) exports: Shares<UserId>,
    /// Large messages on their way from all links.
    pub(crate) large_messages: LargeMessages,
    /// Readers of stored output at a time.
    pub(crate) readers: Shares<UserId>,
    /// The screens that somebody looks at.
    pub(crate) screens: Screens,
    /// Links that named an agent in session and have not said hello.
    pub(crate) doorways: Shares<(UserId, AgentId)>,
    /// Pages of lists on their way at a time.
    pub(crate) pages: Shares<UserId>,
    /// Who was turned away lately, for the log.
    pub(crate) refusals: Arc<Refusals>,
    /// Which agents were, for `why`.
    pub(crate) turned_away: TurnedAwayAgents,
    /// Upgraded links outlive their request; the server waits for them when it ends.
    pub(crate) links: TaskTracker,
}
