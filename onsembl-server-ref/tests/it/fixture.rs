//! A server in this process over a fresh folder, and what the tests ask of it over HTTP.

use crate::peer::{Http, Peer, Request};
use onsembl_protocol::id::UserId;
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::auth::{NewToken, TokenKind, TokenOrder, Tokens, make_token};
use onsembl_server_ref::server::{CorsOrigin, Listening, Server, ServerOptions};
use onsembl_server_ref::store::{FILE_NAME, Store, StoreLimits};
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Longer than anything here takes, so that a hang is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A day: tokens of the tests outlive them.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether this is the crate as it is published, without the documents that are beside it in the repository.
pub(crate) fn is_packaged() -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml.orig").exists()
}

/// Heartbeats each 400 ms, stale after 1.2 s, timed out after 2.5 s, given up after 2 s more.
pub(crate) fn fast() -> ServerConfig {
    rules(400, 1200, 2500, 2000)
}

pub(crate) fn rules(interval: u64, stale: u64, timeout: u64, resume: u64) -> ServerConfig {
    let ms = Duration::from_millis;
    ServerConfig::DEFAULT
        .with_timing(HeartbeatTiming::new(ms(interval), ms(stale), ms(timeout)).unwrap())
        .with_resume_window(ms(resume))
}

pub(crate) struct World {
    dir: TempDir,
    rules: ServerConfig,
    /// Origins whose pages may use the API.
    origins: Vec<CorsOrigin>,
    limits: StoreLimits,
    server: Option<Server>,
    listening: Option<Listening>,
    /// The one token of each kind of each user: another is of another lineage, and holds other agents.
    tokens: Mutex<BTreeMap<(String, String), String>>,
}

impl World {
    /// A server with the default times: nothing happens by itself within a test.
    pub(crate) async fn start() -> Self {
        Self::with(ServerConfig::DEFAULT).await
    }

    pub(crate) async fn with(rules: ServerConfig) -> Self {
        Self::boot_over(tempfile::tempdir().unwrap(), rules).await
    }

    /// A server over what this folder has.
    pub(crate) async fn over(dir: TempDir) -> Self {
        // Their databases come without the secret of the server that made them.
        drop(Tokens::open_or_make(dir.path()).unwrap());
        Self::boot_over(dir, ServerConfig::DEFAULT).await
    }

    async fn boot_over(dir: TempDir, rules: ServerConfig) -> Self {
        let mut world = Self::not_booted(dir, rules);
        world.boot().await;
        world
    }

    /// A server whose API pages of these origins may use.
    pub(crate) async fn serving_pages_of(origins: &[&str]) -> Self {
        let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        let (dir, rules) = (tempfile::tempdir().unwrap(), ServerConfig::DEFAULT);
        let mut world = Self { origins, ..Self::not_booted(dir, rules) };
        world.boot().await;
        world
    }

    /// A server that may store so much.
    pub(crate) async fn within(limits: StoreLimits) -> Self {
        let (dir, rules) = (tempfile::tempdir().unwrap(), ServerConfig::DEFAULT);
        let mut world = Self { limits, ..Self::not_booted(dir, rules) };
        world.boot().await;
        world
    }

    fn not_booted(dir: TempDir, rules: ServerConfig) -> Self {
        Self {
            dir,
            rules,
            origins: Vec::new(),
            limits: StoreLimits::DEFAULT,
            server: None,
            listening: None,
            tokens: Mutex::default(),
        }
    }

    pub(crate) async fn boot(&mut self) {
        let mut options = ServerOptions::new(self.dir.path());
        options.agents = self.rules;
        options.cors_origins.clone_from(&self.origins);
        options.store = self.limits;
        let mut server = Server::start(options).await.unwrap();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        self.listening = Some(server.listen(anywhere, None).await.unwrap());
        self.server = Some(server);
    }

    /// The server itself.
    pub(crate) fn server_mut(&mut self) -> &mut Server {
        self.server.as_mut().unwrap()
    }

    /// Ends the server in order and starts another on the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    /// The same, while these peers listen: those that do not cost the server its patience.
    pub(crate) async fn restart_heard_by(&mut self, peers: &mut [&mut Peer]) {
        let heard = futures::future::join_all(peers.iter_mut().map(|peer| peer.ended()));
        let _ = tokio::join!(self.restart(), heard);
    }

    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.unwrap().address()
    }

    /// The token of this kind that the user has, the same one each time.
    pub(crate) fn token(&self, user: &str, kind: TokenKind) -> String {
        let mut tokens = self.tokens.lock().unwrap();
        let known = tokens.entry((user.to_owned(), kind.to_string()));
        known.or_insert_with(|| self.token_from(user, kind, now()).0).clone()
    }

    /// The folder with the database.
    pub(crate) fn data(&self) -> &Path {
        self.dir.path()
    }

    /// A random token, made as the command line makes one, perhaps for one agent only.
    pub(crate) async fn made(&self, user: &str, agent: Option<&str>) -> NewToken {
        let (store, _receipts) = Store::open(self.data(), now()).await.unwrap();
        let order = TokenOrder {
            user: UserId::new(user),
            kind: TokenKind::Agent,
            agent: agent.map(str::to_owned),
            ttl: DAY,
        };
        let made = make_token(&store, order, now()).await.unwrap();
        store.close(PATIENCE).await.unwrap();
        made
    }

    /// A token issued at that time, and its id.
    pub(crate) fn token_from(&self, user: &str, kind: TokenKind, at: WallTime) -> (String, String) {
        Tokens::open(self.dir.path()).unwrap().issue(&UserId::new(user), kind, DAY, at).unwrap()
    }

    /// A link of an agent that has not said hello.
    pub(crate) async fn agent_link(&self, user: &str) -> Peer {
        let token = self.token(user, TokenKind::Agent);
        Peer::open(self.address(), "/ws/agent", Some(&token)).await
    }

    /// A link of a dashboard that has not said hello.
    pub(crate) async fn dashboard_link(&self, user: &str) -> Peer {
        let token = self.token(user, TokenKind::Dashboard);
        Peer::open(self.address(), &format!("/ws/dashboard?token={token}"), None).await
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Http {
        Request::get(path).bearer(token).send(self.address()).await
    }

    pub(crate) async fn delete(&self, path: &str, user: &str) -> Http {
        let token = self.token(user, TokenKind::Dashboard);
        Request::new("DELETE", path).bearer(Some(&token)).send(self.address()).await
    }

    /// `/api/agents` as that user sees it.
    pub(crate) async fn agents(&self, user: &str) -> Vec<Value> {
        let token = self.token(user, TokenKind::Dashboard);
        let answer = self.get("/api/agents", Some(&token)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["agents"].as_array().unwrap().clone()
    }

    /// The token that holds the only agent of that user.
    pub(crate) async fn held_by(&self, user: &str) -> Value {
        let token = self.token(user, TokenKind::Dashboard);
        let answer = self.get("/api/agents?with=token", Some(&token)).await.json();
        let agents = answer["agents"].as_array().unwrap();
        assert_eq!(agents.len(), 1, "{agents:?}");
        agents[0]["token_id"].clone()
    }

    /// The only agent of that user.
    pub(crate) async fn agent(&self, user: &str) -> Value {
        let mut agents = self.agents(user).await;
        assert_eq!(agents.len(), 1, "{agents:?}");
        agents.remove(0)
    }

    /// Asks until the only agent of that user is as wanted.
    pub(crate) async fn agent_when(&self, user: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let agents = self.agents(user).await;
            match agents.as_slice() {
                [only] if wanted(only) => return only.clone(),
                _ => assert!(begin.elapsed() < PATIENCE, "never as wanted: {agents:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn agent_is(&self, user: &str, status: &str) -> Value {
        self.agent_when(user, |a| a["status"] == status).await
    }

    /// The page of metrics.
    pub(crate) async fn metrics(&self) -> String {
        let token = self.token("ops", TokenKind::Metrics);
        let page = self.get("/metrics", Some(&token)).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page.body
    }

    /// Asks until a metric is as wanted.
    pub(crate) async fn metric_when(&self, name: &str, wanted: u64) {
        let begin = Instant::now();
        loop {
            let page = self.metrics().await;
            if page.lines().any(|line| line == format!("{name} {wanted}")) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{name} is never {wanted}: {page}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A connection beside the server's own.
    pub(crate) fn database(&self) -> Connection {
        Connection::open(self.dir.path().join(FILE_NAME)).unwrap()
    }

    /// Another program that holds the database for writing until it is released.
    pub(crate) fn hold_database(&self) -> HeldLock {
        let other = self.database();
        other.busy_timeout(PATIENCE).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        HeldLock(other)
    }

    /// Asks the database until a text is as wanted.
    pub(crate) async fn stored_when(&self, query: &str, wanted: &str) {
        let begin = Instant::now();
        loop {
            let stored: Option<String> = self.database().query_row(query, [], |r| r.get(0)).ok();
            if stored.as_deref() == Some(wanted) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{query} is {stored:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) struct HeldLock(Connection);

impl HeldLock {
    pub(crate) fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap())
}
