//! Many sockets at once, slow ones, silent ones: they end by a deadline, and a good agent beside
//! them does not notice.

use crate::extended::agent;
use crate::fixture::{World, rules};
use crate::frames::beat;
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const MANY: usize = 1000;

/// A well-behaved agent that beats until it is asked how it went.
struct Bystander {
    stop: oneshot::Sender<()>,
    task: JoinHandle<(usize, Duration)>,
}

impl Bystander {
    async fn start(world: &World) -> Self {
        let (mut link, _) = agent(world, "good", "key-1", "run-1").await;
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut answered, mut slowest) = (0, Duration::ZERO);
            for n in 1.. {
                let began = Instant::now();
                link.send(beat(n, 1_000_000)).await;
                let recorded = |b: &Value| b["recorded"]["sequence"] == n;
                let _ = link.expect_that("SERVER_HEARTBEAT", recorded).await;
                answered += 1;
                slowest = slowest.max(began.elapsed());
                let pause = tokio::time::timeout(Duration::from_millis(200), &mut stopped).await;
                if pause.is_ok() {
                    break;
                }
            }
            (answered, slowest)
        });
        Self { stop, task }
    }

    async fn stay_well(self, world: &World) {
        let shown = world.agent("good").await;
        assert_eq!(
            (&shown["status"], &shown["because"]),
            (&json!("online"), &json!("session opened"))
        );
        self.stop.send(()).unwrap();
        let (answered, slowest) = self.task.await.unwrap();
        assert!(answered > 0);
        assert!(slowest < Duration::from_secs(3), "a beat waited {slowest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sockets_without_a_token_are_refused() {
    let world = World::with(rules(1000, 4000, 8000, 8000)).await;
    let good = Bystander::start(&world).await;
    let address = world.address();
    let refused = (0..MANY).map(|n| async move {
        let token = (n % 2 == 0).then_some("nonsense");
        let path = if n % 3 == 0 { "/ws/dashboard" } else { "/ws/agent" };
        match Peer::try_open(address, path, token).await {
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => answer.status().as_u16(),
            Err(error) => panic!("not refused but {error}"),
            Ok(_) => panic!("let in"),
        }
    });
    let statuses = futures::future::join_all(refused).await;
    assert!(statuses.iter().all(|status| *status == 401));
    good.stay_well(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_that_never_say_hello_and_some_that_drip_end_by_a_deadline() {
    let world = World::with(rules(1000, 4000, 8000, 8000)).await;
    let good = Bystander::start(&world).await;
    tokio::join!(never_say_hello(&world), drip(&world));
    good.stay_well(&world).await;
    world.metric_when("onsembl_greeting_links", 0).await;
    assert!(world.agents("eve").await.is_empty());
}

async fn never_say_hello(world: &World) {
    let agent = world.token("eve", TokenKind::Agent);
    let dashboard = world.token("eve", TokenKind::Dashboard);
    let address = world.address();
    let began = Instant::now();
    let open = (0..MANY).map(|n| {
        let (path, token) =
            if n % 4 == 0 { ("/ws/dashboard", &dashboard) } else { ("/ws/agent", &agent) };
        async move {
            let mut peer = Peer::open(address, path, Some(token)).await;
            if n % 3 == 0 {
                peer.send(r#"{"type":"PONG","id":"x","timestamp":1,"payload":{}}"#).await;
            }
            let opened = Instant::now();
            let (ended, heard) = peer.ended_by(Duration::from_secs(20)).await;
            (ended, heard, opened.elapsed())
        }
    });
    let all = futures::future::join_all(open).await;
    for (ended, heard, after) in &all {
        assert_eq!(ended.code(), 4102, "{heard:?}");
        let last = heard.last().unwrap();
        assert_eq!(
            (&last["type"], &last["payload"]["code"]),
            (&json!("ERROR"), &json!("AUTH_TIMEOUT"))
        );
        assert!(*after >= Duration::from_secs(9) && *after < Duration::from_secs(15), "{after:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Requests that are begun and never ended, or never even begun.
async fn drip(world: &World) {
    // What is sent on is right at each moment, also if it is read at once with what was before it.
    let drips = [("", ""), ("GET /ws/agent HTTP/1.1\r\nHost: x\r\n", "X-Drip: 1\r\n"), ("G", "E")];
    let cut = drips.map(|(begin, more)| {
        let address = world.address();
        async move {
            let began = Instant::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            let drip = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    if more.is_empty() || write.write_all(more.as_bytes()).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            let mut rest = Vec::new();
            tokio::select! {
                () = drip => {}
                // A reset is an end as well.
                _ = read.read_to_end(&mut rest) => {}
                () = tokio::time::sleep(Duration::from_secs(18)) => panic!("never cut: {begin:?}"),
            }
            (began.elapsed(), begin)
        }
    });
    for (after, begin) in futures::future::join_all(cut).await {
        assert!(
            after > Duration::from_secs(8) && after < Duration::from_secs(15),
            "{begin:?}: {after:?}"
        );
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let line = format!("X-Long: {}\r\n", "x".repeat(4096));
    for _ in 0..16 {
        if stream.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(8), read).await.expect("an end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(world.get("/healthz", None).await.status, 200);
}

/// A dashboard that does not read while its agent floods it hurts only itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_that_does_not_read_hurts_only_itself() {
    let world = World::start().await;
    let (mut link, ack) = agent(&world, "good", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut dashboards = Vec::new();
    for _ in 0..2 {
        let mut dashboard = world.dashboard_link("good").await;
        dashboard.send(crate::frames::extended_dashboard_hello()).await;
        let _ = dashboard.expect("ACK").await;
        dashboards.push(dashboard);
    }
    let (mut reads, _does_not) = (dashboards.remove(0), dashboards.remove(0));
    reads.send(crate::frames::page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    let piece = "y".repeat(16 * 1024);
    let pieces = 1500u64;
    let flood = async {
        let mut acknowledged = 0;
        for n in 0..pieces {
            let chunk = crate::frames::Chunk {
                command: "cmd-1",
                stream: "STDOUT",
                sequence: n + 1,
                offset: n * 16 * 1024,
                encoding: "utf-8",
                content: &piece,
            };
            link.send(chunk.text()).await;
            let far = (n + 1).saturating_sub(8) * 16 * 1024;
            while acknowledged < far {
                let ack = link.expect("OUTPUT_ACK").await;
                acknowledged = ack["offset"].as_u64().unwrap();
            }
        }
    };
    let watch = async {
        let mut at = 0;
        while at < pieces * 16 * 1024 {
            let stream = reads.expect("TERMINAL_STREAM").await;
            assert_eq!(stream["offset"], at, "in order, once");
            at += stream["content"].as_str().unwrap().len() as u64;
        }
    };
    tokio::join!(flood, watch);
}
