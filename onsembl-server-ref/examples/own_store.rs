//! A service takes agents in with keys and a store of its own: here a file. It uses the driver of `onsembl-transport` and
//! nothing of the reference server: who is there, since when and why not. Commands and output are not in it.
//!
//! ```text
//! cargo run -p onsembl-server-ref --example own_store
//! onsembl-agent run --server http://127.0.0.1:3000 --token key-of-ann --name laptop
//! curl http://127.0.0.1:3000/agents
//! ```

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use onsembl_transport::counters::Counters;
use onsembl_transport::protocol::close::CloseCause;
use onsembl_transport::protocol::id::{
    AgentId, Epoch, InstanceId, PresenceVersion, ServerInstanceId, SessionId,
};
use onsembl_transport::protocol::limits::Limits;
use onsembl_transport::protocol::model::Feature;
use onsembl_transport::protocol::session::{Claimant, ServerConfig};
use onsembl_transport::protocol::supervisor::Key;
use onsembl_transport::protocol::wire::payload::{ErrorCode, ErrorReply};
use onsembl_transport::server::{Admission, Lane, LinkTicket, SessionRules, Shard, ShardEvent};
use onsembl_transport::{LinkLimits, websocket};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

/// What is kept of an agent. Version and epoch never go back, also not over a restart.
#[derive(Clone, Default, Deserialize, Serialize)]
pub(crate) struct Row {
    status: String,
    because: String,
    version: u64,
    epoch: u64,
    last_beat_ms: i64,
}

/// All agents, by user and key, in one file.
pub(crate) struct Store {
    path: PathBuf,
    rows: BTreeMap<String, Row>,
}

impl Store {
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let rows = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).context("the file of agents is damaged")?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, rows })
    }

    /// What is true once this returns is on disk. A database would do it on a thread of its own.
    fn change(&mut self, agent: &str, change: impl FnOnce(&mut Row)) -> anyhow::Result<Row> {
        let row = self.rows.entry(agent.to_owned()).or_default();
        change(row);
        let row = row.clone();
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(&self.rows)?)?;
        std::fs::rename(beside, &self.path)?;
        Ok(row)
    }
}

type Shared = Arc<Mutex<Store>>;
/// The links of agents, each with its user.
type Links = mpsc::Sender<LinkTicket<String>>;

async fn agents(State((store, _)): State<(Shared, Links)>) -> Json<BTreeMap<String, Row>> {
    Json(store.lock().await.rows.clone())
}

/// Whose key it is. Yours is a look at your accounts.
fn user_of(request: &Request) -> Option<String> {
    let header = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer key-of-").map(str::to_owned)
}

async fn agent(
    State((_, links)): State<(Shared, Links)>,
    mut request: Request,
) -> Result<Response<Body>, (StatusCode, &'static str)> {
    let user = user_of(&request).ok_or((StatusCode::UNAUTHORIZED, "unknown key\n"))?;
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let accept =
        key.map(websocket::accept_key).ok_or((StatusCode::BAD_REQUEST, "no WebSocket\n"))?;
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let limits = LinkLimits::DEFAULT;
        let Ok(Ok(stream)) = tokio::time::timeout(limits.handshake, upgraded).await else { return };
        let link = websocket::upgraded(TokioIo::new(stream), Vec::new(), "agent", limits).await;
        let lane = Lane::new(user.clone());
        let _at_its_end = links.send(LinkTicket::new(link, user, lane)).await;
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
        .body(Body::empty())
        .map_err(|_| (StatusCode::BAD_REQUEST, "a key that HTTP cannot carry\n"))
}

/// The agents that have a machine: by which, and which process of theirs was here last.
#[derive(Default)]
struct Present {
    keys: HashMap<String, (Key, InstanceId)>,
    names: HashMap<Key, String>,
}

async fn keep(mut links: mpsc::Receiver<LinkTicket<String>>, store: Shared) {
    let rules = SessionRules::new(
        ServerInstanceId::new(format!("own-store-{}", std::process::id())),
        vec![Feature::Heartbeats],
    )
    .with_output_window(0);
    let mut shard = Shard::new(rules, ServerConfig::DEFAULT, Limits::DEFAULT, Counters::default());
    let mut present = Present::default();
    loop {
        let event = tokio::select! {
            Some(ticket) = links.recv() => {
                let _link = shard.accept(ticket);
                continue;
            }
            event = shard.next() => event,
        };
        let mut store = store.lock().await;
        if let Err(error) = on_event(event, &mut shard, &mut present, &mut store) {
            tracing::error!(%error, "the store refuses");
        }
    }
}

/// What is not stored is not confirmed: an error here leaves a session unopened, a heartbeat unrecorded.
fn on_event(
    event: ShardEvent<String>,
    shard: &mut Shard<String>,
    present: &mut Present,
    store: &mut Store,
) -> anyhow::Result<()> {
    match event {
        ShardEvent::Hello(claim) => {
            let Some(said) = claim.hello.extensions else {
                let why =
                    ErrorReply::new(ErrorCode::Forbidden, "this service needs the extensions");
                shard.refuse(claim.link, why, CloseCause::TryLater);
                return Ok(());
            };
            let name = format!("{}/{}", claim.auth, said.agent_key.as_str());
            let (key, before) = match present.keys.get(&name) {
                Some((key, instance)) => (*key, Some(instance.clone())),
                None => {
                    let row = store.rows.get(&name).cloned().unwrap_or_default();
                    let (version, epoch) = (PresenceVersion(row.version), Epoch(row.epoch));
                    (shard.insert(&Lane::new(claim.auth), version, epoch, None), None)
                }
            };
            let claimant = Claimant::judge(before.as_ref(), Some(&said.instance), true);
            let _before = present.keys.insert(name.clone(), (key, said.instance));
            let _before = present.names.insert(key, name);
            shard.join(claim.link, key, claimant);
        }
        ShardEvent::Admit { key, link } => {
            let Some(name) = present.names.get(&key) else { return Ok(()) };
            let row = store.change(name, |row| row.epoch += 1)?;
            let session = SessionId::new(format!("{name}-{}", row.epoch));
            let (agent, epoch) = (AgentId::new(name.as_str()), Epoch(row.epoch));
            shard.admitted(key, link, Admission::new(agent, session, epoch));
        }
        ShardEvent::Record { key, epoch, sequence, at, .. } => {
            let Some(name) = present.names.get(&key) else { return Ok(()) };
            let _row = store.change(name, |row| row.last_beat_ms = at.unix_millis())?;
            shard.recorded(key, epoch, sequence, at);
        }
        ShardEvent::Presence { key, presence, .. } => {
            let Some(name) = present.names.get(&key) else { return Ok(()) };
            let _row = store.change(name, |row| {
                row.status = presence.status.as_str().to_owned();
                row.because = presence.because.to_string();
                row.version = presence.version.0;
            })?;
        }
        ShardEvent::Forgotten { key, .. } => {
            if let Some(name) = present.names.remove(&key) {
                let _machine = present.keys.remove(&name);
            }
        }
        ShardEvent::Message { key, message, .. } => {
            tracing::info!(
                ?key,
                ?message,
                "an agent says something that this service does not use"
            );
        }
        _ => {}
    }
    Ok(())
}

/// Serves until its task ends.
pub(crate) async fn serve(listener: TcpListener, store: Store) -> anyhow::Result<()> {
    let (links, taken) = mpsc::channel(64);
    let store = Arc::new(Mutex::new(store));
    let keeper = keep(taken, Arc::clone(&store));
    let app = Router::new()
        .route("/agents", get(agents))
        .route("/ws/agent", get(agent))
        .with_state((store, links));
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        () = keeper => Ok(()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let store = Store::open(std::env::temp_dir().join("onsembl-own-store.json"))?;
    serve(TcpListener::bind("127.0.0.1:3000").await?, store).await
}
