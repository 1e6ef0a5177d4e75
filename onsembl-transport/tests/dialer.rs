//! Dialling by WebSocket: what is asked, what the answers mean, and what is left behind.
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use onsembl_protocol::session::{DialFailure, DialFault};
use onsembl_transport::secret::{Secret, TokenFile};
use onsembl_transport::{DialError, Dialer, ProxyRule};
use std::io;
use std::net::SocketAddr;
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
        assert_eq!(refused.failure, DialFailure::NotAServer(401));
        assert!(request.starts_with(line), "{request}");
        assert_eq!(header(&request, "host"), Some(address.to_string().as_str()), "{request}");
        let bearer = format!("Bearer token-{n}");
        assert_eq!(header(&request, "authorization"), Some(bearer.as_str()), "{request}");
        assert_eq!(header(&request, "x-version"), Some("1.2"), "{request}");
    }
}

#[tokio::test]
async fn answers_that_are_no_websocket_are_told_apart() {
    let busy = |s| DialFailure::Busy { retry_after: s };
    let not = DialFailure::NotAServer;
    let page = "HTTP/1.1 502 x\r\nServer: box/1\r\n\r\n<html><b>No</b> way</html>";
    let moved = "HTTP/1.1 302 x\r\nLocation: ws://elsewhere/a?secret=1\r\n\r\n";
    for (answer, failure, fault, says) in [
        ("HTTP/1.1 401 x\r\n\r\n", not(401), DialFault::RefusedOnTheWay, "HTTP 401"),
        ("HTTP/1.1 403 x\r\n\r\n", not(403), DialFault::RefusedOnTheWay, "HTTP 403"),
        (
            "HTTP/1.1 503 x\r\nRetry-After: 7\r\n\r\n",
            busy(Some(Duration::from_secs(7))),
            DialFault::Busy,
            "Retry-After of 7 s",
        ),
        ("HTTP/1.1 429 x\r\n\r\n", busy(None), DialFault::Busy, "HTTP 429"),
        (moved, not(302), DialFault::Redirected, "Found to ws://elsewhere/a; put"),
        (page, not(502), DialFault::Gateway, "502 Bad Gateway (Server: box/1): No way;"),
        ("HTTP/1.1 200 x\r\n\r\nlogin", not(200), DialFault::NoWebsocket, "HTTP 200 OK: login"),
        ("220 mail ESMTP\r\n", not(0), DialFault::NoHttp, "begins with \"220 mail ESMTP\""),
        ("\x15\x03\x03\x00\x02\x02\x28", not(0), DialFault::SpeaksTls, "use https or wss"),
        ("", DialFailure::Unreachable, DialFault::ClosedUnanswered, "closed without an answer"),
    ] {
        let (tcp, address) = tcp_port().await;
        let dialer = dialer(&format!("ws://{address}"));
        let (_, refused) = tokio::join!(answer_once(&tcp, answer), refused(&dialer));
        assert_eq!((refused.failure, refused.fault), (failure, fault), "{answer:?}: {refused}");
        assert!(refused.to_string().contains(says), "{answer:?}: {refused}");
        assert_eq!(refused.address, Some(address));
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}

#[tokio::test]
async fn who_speaks_before_being_asked_is_told_from_who_is_not_there() {
    let (tcp, address) = tcp_port().await;
    let server = async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        let _ = read_head(&mut stream).await;
    };
    let dialer = dialer(&format!("ws://{address}"));
    let (_, refused) = tokio::join!(server, refused(&dialer));
    assert_eq!(refused.fault, DialFault::NoHttp, "{refused}");
    assert!(refused.detail.contains("begins with \"SSH-2.0-OpenSSH_9.2\""), "{refused}");
}

#[tokio::test]
async fn each_dial_has_a_nonce_of_its_own_and_a_refusal_with_it_counts() {
    let (tcp, address) = tcp_port().await;
    let dialer = dialer(&format!("ws://{address}"));
    let mut nonces = Vec::new();
    for (word, failure) in
        [("unauthorized", DialFailure::Unauthorized), ("forbidden", DialFailure::Forbidden)]
    {
        let server = async {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let request = read_head(&mut stream).await;
            let nonce = header(&request, "onsembl-nonce").unwrap();
            let head = format!("Onsembl-Nonce: {nonce}\r\nOnsembl-Refusal: {word}");
            let answer = format!("HTTP/1.1 403 x\r\n{head}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            nonce.to_owned()
        };
        let (nonce, refused) = tokio::join!(server, refused(&dialer));
        assert_eq!(refused.failure, failure);
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
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
    let here = refused(&dialer(&format!("ws://{address}"))).await;
    assert_eq!((here.failure, here.fault), (DialFailure::Unreachable, DialFault::ConnectRefused));
    assert_eq!((here.address, here.errno()), (Some(address), Some("ECONNREFUSED")));
    let nowhere = refused(&dialer("ws://host.invalid")).await;
    assert_eq!(nowhere.failure, DialFailure::Unreachable, "{nowhere}");
    // Without a network the name servers do not answer.
    let fault = nowhere.fault;
    assert!(matches!(fault, DialFault::NameUnknown | DialFault::NameUnanswered), "{nowhere}");
    assert!(nowhere.detail.contains("host.invalid"), "{nowhere}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_no_socket_stays() {
    let (tcp, address) = tcp_port().await;
    let dialer = dialer(&format!("ws://{address}")).with_timeout(Duration::from_millis(200));
    let refused = refused(&dialer).await;
    assert_eq!(refused.failure, DialFailure::TimedOut);
    assert_eq!(refused.fault, DialFault::Unanswered);
    assert_eq!(refused.detail, format!("{address} accepted the connection, and sent nothing"));
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
    assert_eq!(missing.failure, DialFailure::NoToken);
    assert!(missing.detail.contains("cannot read the token file"), "{missing}");

    std::fs::write(&file, TOKEN).unwrap();
    let (request, _) = tokio::join!(answer_once(&tcp, "HTTP/1.1 401 x\r\n\r\n"), refused(&dialer));
    assert!(request.contains(TOKEN));
}

/// A pipe that nobody writes into, or a file system that is gone.
#[tokio::test]
async fn a_source_of_tokens_that_hangs_holds_one_thread_however_often_it_is_asked() {
    let (tcp, address) = tcp_port().await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let source = move || {
        let _ = count.fetch_add(1, Ordering::SeqCst);
        let _ = held.lock().unwrap().recv();
        Ok(Secret::new(TOKEN))
    };
    let dialer = dialer(&format!("ws://{address}"))
        .with_timeout(Duration::from_millis(50))
        .with_token(source);
    for _ in 0..3 {
        let hangs = refused(&dialer).await;
        assert_eq!(hangs.failure, DialFailure::TimedOut);
        assert_eq!(hangs.fault, DialFault::TokenUnanswered);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    drop(release);
    let dialer = dialer.with_timeout(Duration::from_secs(10));
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
    log::trace!("lines are kept");
    let lines = LINES.0.lock().unwrap().clone();
    assert!(lines.contains("lines are kept"), "the log holds nothing, so this test shows nothing");
    assert!(!lines.contains("swordfish"), "{lines}");
    assert!(!format!("{dialer:?} {link:?}").contains("swordfish"));
}

/// Accepts connections for as long as the test lasts, and answers each with this. Counts them.
async fn edge(answer: &'static str) -> (SocketAddr, Arc<AtomicU32>) {
    let (tcp, address) = tcp_port().await;
    let accepted = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                read_head(&mut stream).await;
                match answer {
                    "" => std::future::pending().await,
                    answer => stream.write_all(answer.as_bytes()).await.unwrap(),
                }
            });
        }
    });
    (address, accepted)
}

/// A server that grants every upgrade.
async fn good() -> (SocketAddr, Arc<AtomicU32>) {
    let (tcp, address) = tcp_port().await;
    let accepted = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let request = read_head(&mut stream).await;
            stream.write_all(grant(&request).as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    (address, accepted)
}

#[tokio::test]
async fn an_address_that_answers_wrongly_or_never_does_not_hide_the_next() {
    for answer in
        ["HTTP/1.1 502 Bad Gateway\r\n\r\n", "HTTP/1.1 403 No\r\n\r\n", "SSH-2.0-x\r\n", ""]
    {
        let (bad, tried) = edge(answer).await;
        let (good, _) = good().await;
        let dialer = dialer("ws://control.invalid")
            .with_addresses([bad, good])
            .with_timeout(Duration::from_secs(2));
        let link = soon(dialer.dial()).await.unwrap_or_else(|e| panic!("{answer:?}: {e}"));
        assert!(link.peer.contains(&good.to_string()), "{}", link.peer);
        // The next dial begins with the one that got through.
        let again = soon(dialer.dial()).await.unwrap();
        assert!(again.peer.contains(&good.to_string()), "{}", again.peer);
        assert_eq!(tried.load(Ordering::Relaxed), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_dial_that_fails_everywhere_says_why_at_each_address() {
    let (bad, _) = edge("HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    let (worse, _) = edge("HTTP/1.1 404 Not Found\r\n\r\n").await;
    let gone = tcp_port().await.1;
    let dialer = dialer("ws://control.invalid").with_addresses([gone, bad, worse]);
    let refused = refused(&dialer).await;
    assert_eq!(refused.failure, DialFailure::NotAServer(404));
    for (address, why) in [(gone, "refused"), (bad, "502"), (worse, "404")] {
        let said = refused.detail.contains(&address.to_string());
        assert!(said && refused.detail.contains(why), "{address}: {refused}");
    }
}

#[tokio::test]
async fn an_address_whose_hello_failed_goes_last() {
    let ((first, _), (second, _)) = (good().await, good().await);
    let dialer = dialer("ws://control.invalid").with_addresses([first, second]);
    let link = soon(dialer.dial()).await.unwrap();
    assert!(link.peer.contains(&first.to_string()), "{}", link.peer);
    dialer.hello_failed();
    let link = soon(dialer.dial()).await.unwrap();
    assert!(link.peer.contains(&second.to_string()), "{}", link.peer);
}

#[tokio::test]
async fn a_refusal_of_our_server_is_not_asked_for_again_elsewhere() {
    let (tcp, first) = tcp_port().await;
    let (second, tried) = good().await;
    let dialer = dialer("ws://control.invalid").with_addresses([first, second]);
    let server = async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let request = read_head(&mut stream).await;
        let nonce = header(&request, "onsembl-nonce").unwrap();
        let head = format!("Onsembl-Nonce: {nonce}\r\nOnsembl-Refusal: unauthorized");
        let answer = format!("HTTP/1.1 401 x\r\n{head}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let (_, refused) = tokio::join!(server, refused(&dialer));
    assert_eq!(refused.failure, DialFailure::Unauthorized);
    assert!(refused.detail.contains(&first.to_string()), "{refused}");
    assert_eq!(tried.load(Ordering::Relaxed), 0);
}

/// A proxy that takes one CONNECT, says what it was asked, and answers; with 200 it then is the server.
async fn proxy_once(tcp: &TcpListener, answer: &str) -> (String, String) {
    let (mut stream, _) = tcp.accept().await.unwrap();
    let connect = read_head(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    let request = read_head(&mut stream).await;
    if !request.is_empty() {
        stream.write_all(grant(&request).as_bytes()).await.unwrap();
        tokio::spawn(async move {
            let _stream = stream;
            std::future::pending::<()>().await;
        });
    }
    (connect, request)
}

#[tokio::test]
async fn a_link_goes_through_a_proxy_with_credentials() {
    let (tcp, address) = tcp_port().await;
    let rule = ProxyRule::through(&format!("http://ann:secret@{address}")).unwrap();
    let dialer = dialer("ws://control.invalid/onsembl/").with_proxy(&rule).unwrap();
    let proxy = proxy_once(&tcp, "HTTP/1.1 200 Connection established\r\n\r\n");
    let ((connect, request), link) = soon(async { tokio::join!(proxy, dialer.dial()) }).await;
    assert!(connect.starts_with("CONNECT control.invalid:80 HTTP/1.1\r\n"), "{connect}");
    let credentials = header(&connect, "proxy-authorization");
    assert_eq!(credentials, Some("Basic YW5uOnNlY3JldA=="), "{connect}");
    assert!(request.starts_with("GET /onsembl/ws/agent HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "proxy-authorization"), None, "{request}");
    let _ = link.unwrap();
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_ends_nothing() {
    for (status, failure, fault) in [
        (
            "407 Proxy Authentication Required",
            DialFailure::NotAServer(407),
            DialFault::ProxyCredentials,
        ),
        ("403 Forbidden", DialFailure::NotAServer(403), DialFault::ProxyRefused),
        ("502 Bad Gateway", DialFailure::NotAServer(502), DialFault::ProxyFailed),
    ] {
        let (tcp, address) = tcp_port().await;
        let rule = ProxyRule::through(&format!("http://ann:secret@{address}")).unwrap();
        let dialer = dialer("ws://control.invalid").with_proxy(&rule).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let (_, refused) = tokio::join!(proxy_once(&tcp, &answer), refused(&dialer));
        assert_eq!((refused.failure, refused.fault), (failure, fault), "{refused}");
        assert!(refused.detail.contains(&format!("the proxy http://{address}")), "{refused}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
    let (tcp, address) = tcp_port().await;
    drop(tcp);
    let rule = ProxyRule::through(&format!("http://{address}")).unwrap();
    let gone = refused(&dialer("ws://control.invalid").with_proxy(&rule).unwrap()).await;
    assert!(gone.detail.contains(&format!("the proxy http://{address}")), "{gone}");
    assert_eq!(gone.fault, DialFault::ProxyUnreachable);
}

#[tokio::test]
async fn the_machine_itself_is_not_reached_through_a_proxy() {
    let (address, _) = good().await;
    let rule = ProxyRule::through("http://proxy.invalid:1").unwrap();
    let dialer = dialer(&format!("ws://{address}")).with_proxy(&rule).unwrap();
    let _ = soon(dialer.dial()).await.unwrap();
}
