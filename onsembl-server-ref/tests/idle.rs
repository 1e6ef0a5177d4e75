//! What an idle agent takes of a server's memory, counted at the allocator and held against the table of
//! `docs/ARCHITECTURE.md`, section 9. A test binary of its own with one test, because it counts what the whole process
//! allocates; the clients are sockets without any memory of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stderr, reason = "the measured figures, for whoever changes the table")]

use onsembl_protocol::id::{LinkId, UserId};
use onsembl_server_ref::auth::{TokenKind, TokenOrder, make_token};
use onsembl_server_ref::server::{Server, ServerOptions};
use onsembl_server_ref::store::Store;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::websocket::upgraded;
use onsembl_transport::{LinkLimits, PumpConfig, pump};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Agents that are there before it is counted, and when it is: all that grows by doubling has done so then.
const FIRST: usize = 64;
const ALL: usize = 512;
/// By so much, of a hundred, a part may be larger than the table says.
const TOLERANCE: usize = 5;

fn held() -> usize {
    let counted = ALLOCATOR.stats();
    counted.bytes_allocated.saturating_sub(counted.bytes_deallocated)
}

/// The least that is held within a second: what is in flight is not kept.
async fn settled() -> usize {
    let mut least = usize::MAX;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        least = least.min(held());
    }
    least
}

/// The rows of the table: a part, and its bytes.
fn table() -> Option<Vec<(String, usize)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ARCHITECTURE.md");
    // The crate as it is published comes without it.
    let text = std::fs::read_to_string(path).ok()?;
    let below = text.split("### Memory of an idle connection").nth(1).expect("the heading");
    let rows = below.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        (cells[1].trim_matches('*').to_owned(), cells[2].replace(',', "").parse().expect("bytes"))
    };
    Some(rows.take_while(|line| line.starts_with('|')).map(row).collect())
}

/// Connected sockets, of which the server's are in the runtime.
fn sockets(count: usize) -> (Vec<TcpStream>, Vec<tokio::net::TcpStream>, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut near, mut far) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let before = held();
    for _ in 0..count {
        near.push(TcpStream::connect(address).unwrap());
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        far.push(tokio::net::TcpStream::from_std(stream).unwrap());
    }
    (near, far, held().saturating_sub(before) / count)
}

/// Bytes of an idle socket, of a link over it, and of the link's pump.
async fn parts() -> [usize; 3] {
    const COUNT: usize = 256;
    let _first = sockets(1);
    let (_near, far, socket) = sockets(COUNT);
    let mut links = Vec::with_capacity(COUNT);
    let before = held();
    for stream in far {
        links.push(upgraded(stream, Vec::new(), "127.0.0.1:50000", LinkLimits::DEFAULT).await);
    }
    let link = held().saturating_sub(before) / COUNT;
    let (events, _inbox) = tokio::sync::mpsc::channel(1);
    let mut handles = Vec::with_capacity(COUNT);
    let before = held();
    for (n, link) in links.into_iter().enumerate() {
        handles.push(pump::spawn(link, LinkId(n as u64), PumpConfig::DEFAULT, events.clone()));
    }
    [socket, link, settled().await.saturating_sub(before) / COUNT]
}

/// A client that allocates nothing that it keeps: connected, with its hello said.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr, token: &str, n: usize) -> Self {
        let mut client = Self(TcpStream::connect(address).unwrap());
        client.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!(
            "GET /ws/agent HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        client.0.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        client.send(&format!(
            r#"{{"type":"AGENT_CONNECT","id":"h","timestamp":1762080000000,"payload":{{"agentId":"key-{n:04}","name":"agent {n:04}","agentType":"CLAUDE","version":"0.2.0","hostMachine":"host-{n:04}","capabilities":{{"maxTokens":0,"supportsInterrupt":true,"supportsTrace":false}},"extensions":{{"features":["heartbeats","output-bytes","output-binary","output-spool","command-journal","stop-latch"],"agentKey":"key-{n:04}","instance":"run-{n:04}","maxParallel":4}}}}}}"#
        ));
        client
    }

    fn beat(&mut self) {
        self.send(r#"{"type":"AGENT_HEARTBEAT","id":"b","timestamp":1762080000000,"payload":{"agentId":"x","healthMetrics":{"cpuUsage":12.5,"memoryUsage":64,"uptime":100,"commandsProcessed":1},"sequence":1,"seen":{"sequence":0,"ageMs":3}}}"#);
    }

    /// A text, under a mask of zeros.
    fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0xfe];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    fn await_message(&mut self, kind: &str) {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let mut length = usize::from(head[1]);
            if length == 126 {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).unwrap();
                length = usize::from(u16::from_be_bytes(long));
            }
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).unwrap();
            let text = String::from_utf8_lossy(&payload);
            assert!(head[0] == 0x81 || head[0] == 0x89, "{text}");
            if text.contains(&format!(r#""type":"{kind}""#)) {
                return;
            }
        }
    }
}

/// Agents up to this number come, some at a time, and each gets an answer to a heartbeat.
fn come(clients: &mut Vec<Client>, address: SocketAddr, token: &str, all: usize) {
    while clients.len() < all {
        let first = clients.len();
        clients.extend((first..all.min(first + 64)).map(|n| Client::connect(address, token, n)));
        let newcomers = &mut clients[first..];
        newcomers.iter_mut().for_each(|client| client.await_message("ACK"));
        newcomers.iter_mut().for_each(Client::beat);
        newcomers.iter_mut().for_each(|client| client.await_message("SERVER_HEARTBEAT"));
    }
}

/// Bytes of an idle agent in session.
async fn whole() -> usize {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(ServerOptions::new(dir.path())).await.unwrap();
    let listening = server.listen(SocketAddr::from(([127, 0, 0, 1], 0)), None).await.unwrap();
    let order = TokenOrder {
        user: UserId::new("ann"),
        kind: TokenKind::Agent,
        agent: None,
        ttl: Duration::from_secs(3600),
    };
    let now = SystemClock::new().now().wall;
    let (store, _receipts) = Store::open(dir.path(), now).await.unwrap();
    let token = make_token(&store, order, now).await.unwrap().text;
    store.close(Duration::from_secs(20)).await.unwrap();
    let mut clients = Vec::with_capacity(ALL);
    come(&mut clients, listening.address(), &token, FIRST);
    let before = settled().await;
    come(&mut clients, listening.address(), &token, ALL);
    let each = settled().await.saturating_sub(before) / (ALL - FIRST);
    drop(clients);
    server.stop().await;
    each
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_agent_takes_what_the_table_says() {
    let [socket, link, pump] = parts().await;
    let whole = whole().await;
    let rest = whole.saturating_sub(socket + link + pump);
    let measured = [socket, link, pump, rest, whole];
    eprintln!("socket, link, pump, the rest, all: {measured:?}");
    let Some(table) = table() else { return };
    assert_eq!(table.len(), measured.len(), "{table:?}");
    let parts: usize = table.iter().rev().skip(1).map(|(_, bytes)| bytes).sum();
    assert_eq!(Some(parts), table.last().map(|(_, bytes)| *bytes), "the parts add up to all");
    for ((part, said), bytes) in table.iter().zip(measured) {
        let most = said * (100 + TOLERANCE) / 100;
        assert!(bytes <= most, "{part}: {bytes} bytes, and the table says {said}");
        assert!(bytes * 4 >= said * 3, "{part}: {bytes} bytes; the table may say less than {said}");
    }
}
