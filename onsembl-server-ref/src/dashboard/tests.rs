//! A dashboard's session in virtual time, over a link in memory.

use super::serve;
use crate::auth::{Identity, TokenKind};
use crate::server::{Server, ServerOptions};
use futures::FutureExt as _;
use onsembl_protocol::id::UserId;
use onsembl_transport::{Frame, Link, Received, memory};
use std::path::Path;
use std::time::Duration;

/// More than a dashboard is told of in the time of the test, one message a second.
const AGENTS: usize = 600;

async fn server(data: &Path) -> Server {
    Server::start(ServerOptions::new(data)).await.unwrap()
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
/// that probes wait behind the rest.
#[tokio::test]
async fn a_dashboard_that_reads_slowly_is_not_taken_for_a_silent_one() {
    let data = tempfile::tempdir().unwrap();
    server(data.path()).await.stop().await;
    add_agents(data.path());
    let server = server(data.path()).await;
    let (near, far) = memory::pair(1);
    let Link { mut reader, mut writer, .. } = near;
    let identity = Identity::new(UserId::new("ann"), TokenKind::Dashboard, "token");
    let session = tokio::spawn(serve(far, identity, server.dashboard()));
    let hello = r#"{"type":"DASHBOARD_INIT","id":"1","timestamp":1,"payload":
                    {"subscriptions":{"agents":{"all":true}},"extensions":{"features":[]}}}"#;
    writer.send(Frame::Text(hello.to_owned())).await.unwrap();
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
    assert!(!session.is_finished());
    drop(awake);
    let _ = blocked.await;
    session.abort();
}
