//! A fleet behind one address returns at one moment, when its server is back, while somebody else fills the waiting
//! room.

use crate::fixture::{World, rules};
use crate::frames::extended_hello;
use crate::peer::Peer;
use futures::future::join_all;
use onsembl_server_ref::auth::TokenKind;
use onsembl_server_ref::server::raise_descriptor_limit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// More than the places of one address (1,024), and more than all that are kept for addresses of agents.
const FLEET: usize = 1500;
const ATTACKERS: usize = 2000;

/// An agent in session, and how many of its dials failed before.
async fn comes_in(to: SocketAddr, token: &str, n: usize) -> (Peer, usize) {
    for failed in 0.. {
        if let Ok(mut link) = Peer::try_open(to, "/ws/agent", Some(token)).await {
            link.send(extended_hello(&format!("key-{n}"), &format!("run-{n}"), &[])).await;
            let _ = link.expect("ACK").await;
            return (link, failed);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    unreachable!("it is tried until it succeeds")
}

/// The beginning of a request from another address, over and over.
async fn waits_for_ever(to: SocketAddr, open: Arc<AtomicUsize>) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        if let Ok(mut stream) = socket.connect(to).await {
            let _ = stream.write_all(b"GET /ws/agent HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
            let _ = open.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 64]).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_behind_one_address_returns_at_once_although_the_waiting_room_is_full() {
    let _ = raise_descriptor_limit();
    let mut world = World::with(rules(30_000, 60_000, 120_000, 120_000)).await;
    let token = world.token("ann", TokenKind::Agent);
    let mut fleet = Vec::new();
    for some in (0..FLEET).collect::<Vec<_>>().chunks(100) {
        let to = world.address();
        fleet.extend(join_all(some.iter().map(|n| comes_in(to, &token, *n))).await);
    }
    drop(fleet);
    world.restart().await;
    let (to, open) = (world.address(), Arc::new(AtomicUsize::new(0)));
    let mut attackers = JoinSet::new();
    (0..ATTACKERS).for_each(|_| drop(attackers.spawn(waits_for_ever(to, Arc::clone(&open)))));
    while open.load(Ordering::SeqCst) < ATTACKERS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all = join_all((0..FLEET).map(|n| comes_in(to, &token, n)));
    let back = timeout(Duration::from_secs(120), all).await.expect("all are back");
    let failed: usize = back.iter().map(|(_, failed)| failed).sum();
    assert_eq!((back.len(), failed), (FLEET, 0), "dials of the fleet that failed");
}
