//! Dashboards of a whole server over links in memory.

use super::session::{SLOTS, serve};
use crate::auth::{Identity, TokenKind};
use crate::bounds::Shares;
use crate::server::{Server, ServerOptions};
use futures::FutureExt as _;
use onsembl_protocol::fleet::OpenKind;
use onsembl_protocol::id::UserId;
use onsembl_transport::{Frame, Link, Received, memory};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

/// More than a dashboard is told of in the time of the test, one message a second.
const AGENTS: usize = 600;

/// A dashboard of a user with many agents, whose link holds one message.
struct Scene {
    _server: Server,
    near: Link,
    session: JoinHandle<()>,
    slots: Shares<UserId>,
}

impl Scene {
    async fn new(data: &Path) -> Self {
        let user = UserId::new("ann");
        let start = || Server::start(ServerOptions::new(data));
        start().await.unwrap().stop().await;
        add_agents(data);
        let server = start().await.unwrap();
        let (near, far) = memory::pair(1);
        let identity = Identity::new(user.clone(), TokenKind::Dashboard, "token");
        let open = server.open(OpenKind::Dashboard, identity);
        let dashboard = server.dashboard();
        // As where a dashboard is admitted.
        assert!(dashboard.hub.read(&user).await);
        let slots = dashboard.slots.clone();
        let session = tokio::spawn(serve(far, open, None, dashboard));
        Self { _server: server, near, session, slots }
    }

    async fn say_hello(&mut self) {
        let hello = r#"{"type":"DASHBOARD_INIT","id":"1","timestamp":1,"payload":
                        {"subscriptions":{"agents":{"all":true}},"extensions":{"features":[]}}}"#;
        self.near.writer.send(Frame::Text(hello.to_owned())).await.unwrap();
    }
}

fn add_agents(data: &Path) {
    let mut db = rusqlite::Connection::open(data.join("onsembl.db")).unwrap();
    let transaction = db.transaction().unwrap();
    for n in 0..AGENTS {
        let add = "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities, epoch,
                       status, since, because, presence_version, created_at)
                   VALUES (?1, 'ann', ?1, ?1, 'custom', '[]', 1, 'offline', 1, 'gone', 1, 1)";
        let _ = transaction.execute(add, [format!("agent-{n}")]).unwrap();
    }
    transaction.commit().unwrap();
}

/// It sends nothing, as a program that is busy with what it reads; and it takes less than there is for it, so
/// that probes wait behind the rest. In virtual time.
#[tokio::test]
async fn a_dashboard_that_reads_slowly_is_not_taken_for_a_silent_one() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(data.path()).await;
    scene.say_hello().await;
    let reader = &mut scene.near.reader;
    assert!(matches!(reader.receive().await.unwrap(), Received::Text(_)));

    // While something blocks, time passes only when it is told to.
    let (awake, held) = std::sync::mpsc::channel::<()>();
    let blocked = tokio::task::spawn_blocking(move || held.recv());
    tokio::time::pause();
    let mut taken = 0;
    for second in 0..240 {
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
        match reader.receive().now_or_never() {
            Some(Ok(_)) => taken += 1,
            Some(Err(end)) => panic!("closed after {second} s: {end}"),
            None => {}
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(taken > 120, "there was not always something to take: {taken}");
    assert!(!scene.session.is_finished());
    drop(awake);
    let _ = blocked.await;
    scene.session.abort();
}

/// Answers wait for it, more than its link holds, and it goes without having read any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_that_goes_while_answers_wait_for_it_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(data.path()).await;
    for _ in 0..4 {
        scene.say_hello().await;
    }
    // Time enough for its link to be full.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let Scene { near, session, slots, .. } = scene;
    assert!(!session.is_finished());
    drop(near);
    let ended = tokio::time::timeout(Duration::from_secs(20), session).await;
    ended.expect("it ends with its link").unwrap();
    let all: Vec<_> = std::iter::from_fn(|| slots.take(&UserId::new("ann"))).collect();
    assert!(all.len() > SLOTS / 2, "its slots are free again: {}", all.len());
}
