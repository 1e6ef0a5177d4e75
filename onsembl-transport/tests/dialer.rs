//! Dialling by WebSocket: what is asked, what the answers mean, and what is left behind.
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use onsembl_protocol::session::DialFailure;
use onsembl_transport::secret::{Secret, TokenFile};
use onsembl_transport::{DialError, Dialer};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.swordfish";

/// Accepts one connection, reads the request, answers with `answer`, and hangs up.
async fn answer_once(tcp: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = tcp.accept().await.unwrap();
    let request = read_head(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    request
}

async fn refused(dialer: &impl Dialer) -> DialError {
    soon(dialer.dial()).await.expect_err("this dial should have failed")
}

#[tokio::test]
async fn each_dial_shows_the_token_and_the_parameters_of_its_time() {
    let (tcp, address) = tcp_port().await;
    let dials = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&dials);
    let dialer = dialer(&format!("http://{address}/?keep=1"))
        .with_token(move || {
            let n = dials.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Secret::new(format!("token-{n}")))
        })
        .with_query("agentId", move || {
            Some(counted.load(Ordering::Relaxed)).filter(|n| *n > 1).map(|n| format!("agent {n}"))
        })
        .with_header("X-Version", "1.2")
        .unwrap();
    let expected =
        ["GET /ws/agent?keep=1 HTTP/1.1", "GET /ws/agent?keep=1&agentId=agent+2 HTTP/1.1"];
    for (n, line) in expected.into_iter().enumerate() {
        let (request, refused) =
            tokio::join!(answer_once(&tcp, "HTTP/1.1 401 Unauthorized\r\n\r\n"), refused(&dialer));
        assert_eq!(refused.failure, DialFailure::Unauthorized);
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains(&format!("\r\nHost: {address}\r\n")), "{request}");
        assert!(request.contains(&format!("\r\nAuthorization: Bearer token-{n}\r\n")), "{request}");
        assert!(request.contains("\r\nx-version: 1.2\r\n"), "{request}");
    }
}

#[tokio::test]
async fn answers_that_are_no_websocket_are_told_apart() {
    let busy = |s| DialFailure::Busy { retry_after: s };
    for (answer, failure) in [
        ("HTTP/1.1 401 x\r\n\r\n", DialFailure::Unauthorized),
        ("HTTP/1.1 403 x\r\n\r\n", DialFailure::Forbidden),
        ("HTTP/1.1 503 x\r\nRetry-After: 7\r\n\r\n", busy(Some(Duration::from_secs(7)))),
        ("HTTP/1.1 429 x\r\n\r\n", busy(None)),
        ("HTTP/1.1 302 x\r\nLocation: ws://elsewhere\r\n\r\n", DialFailure::NotAServer(302)),
        ("220 mail.example ESMTP\r\n", DialFailure::NotAServer(0)),
        ("", DialFailure::Unreachable),
    ] {
        let (tcp, address) = tcp_port().await;
        let dialer = dialer(&format!("ws://{address}"));
        let (_, refused) = tokio::join!(answer_once(&tcp, answer), refused(&dialer));
        assert_eq!(refused.failure, failure, "{answer:?}: {refused}");
    }
}

#[tokio::test]
async fn a_frame_right_behind_the_servers_answer_is_kept() {
    let (tcp, address) = tcp_port().await;
    let server = async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut bytes = grant(&read_head(&mut stream).await).into_bytes();
        bytes.extend(b"\x81\x05early");
        stream.write_all(&bytes).await.unwrap();
        stream
    };
    let dialer = dialer(&format!("ws://{address}"));
    let (_stream, link) = soon(async { tokio::join!(server, dialer.dial()) }).await;
    assert_eq!(text(&mut link.unwrap()).await, "early");
}

#[tokio::test]
async fn where_nobody_listens_nobody_is_reached() {
    let (tcp, address) = tcp_port().await;
    drop(tcp);
    for url in [format!("ws://{address}"), "ws://host.invalid".to_owned()] {
        let refused = refused(&dialer(&url)).await;
        assert_eq!(refused.failure, DialFailure::Unreachable, "{refused}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_no_socket_stays() {
    let (tcp, address) = tcp_port().await;
    let dialer = dialer(&format!("ws://{address}")).with_timeout(Duration::from_millis(200));
    let refused = refused(&dialer).await;
    assert_eq!(refused.failure, DialFailure::TimedOut);
    assert_eq!(refused.detail, "while upgrading");
    assert_hung_up(&tcp).await;
}

#[tokio::test]
async fn a_dial_that_is_dropped_leaves_no_socket() {
    let (tcp, address) = tcp_port().await;
    let dialer = dialer(&format!("ws://{address}"));
    let mut stream = tokio::select! {
        _ = dialer.dial() => panic!("nobody answered"),
        accepted = async {
            let (mut stream, _) = tcp.accept().await.unwrap();
            read_head(&mut stream).await;
            stream
        } => accepted,
    };
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.unwrap();
}

async fn assert_hung_up(tcp: &TcpListener) {
    let (mut stream, _) = soon(tcp.accept()).await.unwrap();
    let mut all = Vec::new();
    soon(stream.read_to_end(&mut all)).await.unwrap();
}

#[tokio::test]
async fn without_a_token_to_show_nothing_is_dialled() {
    let (tcp, address) = tcp_port().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let dialer = dialer(&format!("ws://{address}")).with_token(TokenFile(file.clone()));
    let missing = refused(&dialer).await;
    assert_eq!(missing.failure, DialFailure::Unauthorized);
    assert!(missing.detail.contains("cannot read the token file"), "{missing}");

    std::fs::write(&file, TOKEN).unwrap();
    let (request, _) = tokio::join!(answer_once(&tcp, "HTTP/1.1 401 x\r\n\r\n"), refused(&dialer));
    assert!(request.contains(TOKEN));
}

/// Keeps every line that any library writes, at every level.
struct Lines(Mutex<String>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push_str(&format!("{} {}\n", record.target(), record.args()));
    }

    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(String::new()));

#[tokio::test]
async fn the_token_reaches_no_log_and_no_debug_output() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let (tcp, address) = tcp_port().await;
    let dialer = dialer(&format!("ws://{address}")).with_token(Secret::new(TOKEN));
    let server = async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let request = read_head(&mut stream).await;
        assert!(request.contains(TOKEN));
        stream.write_all(grant(&request).as_bytes()).await.unwrap();
        stream.write_all(b"\x81\x05hello").await.unwrap();
        stream
    };
    let (_stream, link) = soon(async { tokio::join!(server, dialer.dial()) }).await;
    let mut link = link.unwrap();
    assert_eq!(text(&mut link).await, "hello");
    let lines = LINES.0.lock().unwrap().clone();
    assert!(lines.contains("tungstenite"), "the log holds nothing, so this test shows nothing");
    assert!(!lines.contains("swordfish"), "{lines}");
    assert!(!format!("{dialer:?} {link:?}").contains("swordfish"));
}
