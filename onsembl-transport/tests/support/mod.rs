//! What the tests of links share: real connected pairs, and a WebSocket peer of bare bytes.
#![allow(dead_code)] // each test binary uses its part

use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::{WebSocketDialer, WebSocketListener, accept_key};
use onsembl_transport::{Dialer, Link, LinkEnd, LinkLimits, Listener, ProxyRule, Received};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Real sockets answer within this, or the test has failed.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.expect("this should not have taken so long")
}

pub(crate) async fn tcp_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) fn dialer(url: &str) -> WebSocketDialer {
    // Whatever the environment of the tests says.
    let dialer = WebSocketDialer::new(url, "/ws/agent", &TlsRoots::Native).unwrap();
    dialer.with_proxy(&ProxyRule::direct()).unwrap()
}

/// A dialled and an accepted WebSocket link, joined over loopback.
pub(crate) async fn websocket_pair(limits: LinkLimits) -> (Link, Link) {
    let (tcp, address) = tcp_port().await;
    let mut listener = WebSocketListener::new(tcp, None, limits);
    let dialer = dialer(&format!("ws://{address}")).with_limits(limits);
    let (client, server) = soon(async { tokio::join!(dialer.dial(), listener.accept()) }).await;
    (client.unwrap(), server.unwrap())
}

/// An accepted WebSocket link, and its client as bare bytes behind a finished handshake.
pub(crate) async fn raw_client(limits: LinkLimits) -> (RawPeer, Link) {
    let (tcp, address) = tcp_port().await;
    let mut listener = WebSocketListener::new(tcp, None, limits);
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(upgrade_request().as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.contains(&accept_key(KEY)), "{answer}");
        stream
    };
    let (stream, link) = soon(async { tokio::join!(client, listener.accept()) }).await;
    (RawPeer { stream, masked: true }, link.unwrap())
}

/// A dialled WebSocket link, and its server as bare bytes behind a finished handshake.
pub(crate) async fn raw_server(limits: LinkLimits) -> (RawPeer, Link) {
    let (tcp, address) = tcp_port().await;
    let dialer = dialer(&format!("ws://{address}")).with_limits(limits);
    let server = async {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let request = read_head(&mut stream).await;
        stream.write_all(grant(&request).as_bytes()).await.unwrap();
        stream
    };
    let (stream, link) = soon(async { tokio::join!(server, dialer.dial()) }).await;
    (RawPeer { stream, masked: false }, link.unwrap())
}

pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub(crate) fn upgrade_request() -> String {
    format!(
        "GET /ws/agent HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// The first header of this name in a request.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = request.lines().filter_map(|line| line.split_once(": "));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The answer that grants `request`.
pub(crate) fn grant(request: &str) -> String {
    let key = header(request, "sec-websocket-key").expect("a request without a key");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    )
}

/// Reads up to the blank line, and not one byte further.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A peer that writes WebSocket frames by hand.
pub(crate) struct RawPeer {
    pub(crate) stream: TcpStream,
    masked: bool,
}

impl RawPeer {
    /// A client that leaves the handshake to its caller.
    pub(crate) fn client(stream: TcpStream) -> Self {
        Self { stream, masked: true }
    }

    /// The bytes of a final frame.
    pub(crate) fn frame(&self, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = if self.masked { 0x80u8 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..126 => frame.push(mask | n as u8),
            n @ 126..65536 => {
                frame.push(mask | 126);
                frame.extend((n as u16).to_be_bytes());
            }
            n => {
                frame.push(mask | 127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        if self.masked {
            frame.extend([0; 4]); // a mask of zeros leaves the payload as it is
        }
        frame.extend(payload);
        frame
    }

    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let frame = self.frame(opcode, payload);
        self.write(&frame).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    /// The next frame: opcode and payload, unmasked.
    pub(crate) async fn next(&mut self) -> (u8, Vec<u8>) {
        soon(async {
            let opcode = self.stream.read_u8().await.unwrap() & 0x0f;
            let short = self.stream.read_u8().await.unwrap();
            let length = match short & 0x7f {
                126 => self.stream.read_u16().await.unwrap() as usize,
                127 => self.stream.read_u64().await.unwrap() as usize,
                n => n as usize,
            };
            let mut mask = [0u8; 4];
            if short & 0x80 != 0 {
                self.stream.read_exact(&mut mask).await.unwrap();
            }
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.unwrap();
            payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= mask[i % 4]);
            (opcode, payload)
        })
        .await
    }

    /// Expects a close frame, and gives its code and text.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let (opcode, payload) = self.next().await;
        assert_eq!(opcode, CLOSE, "{:?}", String::from_utf8_lossy(&payload));
        let (code, text) = payload.split_first_chunk().expect("a close frame without a code");
        (u16::from_be_bytes(*code), String::from_utf8(text.to_vec()).unwrap())
    }
}

/// Receives a text, or panics.
pub(crate) async fn text(link: &mut Link) -> String {
    match soon(link.reader.receive()).await {
        Ok(Received::Text(text)) => text,
        other => panic!("no text but {other:?}"),
    }
}

/// Receives until the link ends.
pub(crate) async fn end(link: &mut Link) -> LinkEnd {
    loop {
        if let Err(end) = soon(link.reader.receive()).await {
            return end;
        }
    }
}
