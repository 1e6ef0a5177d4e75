//! A peer that speaks text: what it sends is literal, what it gets is looked at as plain JSON.

use crate::fixture::PATIENCE;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};
use tokio_tungstenite::{WebSocketStream, client_async};

pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
}

/// How a link ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a close frame with this code and text.
    With(u16, String),
    /// By a close frame without a code.
    NoCode,
    /// Without a close frame.
    Cut,
}

impl Ended {
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::With(code, _) => *code,
            Self::NoCode => 1005,
            Self::Cut => 1006,
        }
    }
}

impl Peer {
    /// Opens a link that must be let in.
    pub(crate) async fn open(to: SocketAddr, path: &str, bearer: Option<&str>) -> Self {
        Self::try_open(to, path, bearer).await.unwrap()
    }

    pub(crate) async fn try_open(
        to: SocketAddr,
        path: &str,
        bearer: Option<&str>,
    ) -> Result<Self, Error> {
        let mut request = format!("ws://{to}{path}").into_client_request()?;
        if let Some(token) = bearer {
            let value = format!("Bearer {token}").parse().unwrap();
            let _ = request.headers_mut().insert("Authorization", value);
        }
        let stream = TcpStream::connect(to).await?;
        let upgrade = client_async(request, stream);
        let (socket, _) = timeout(PATIENCE, upgrade).await.expect("an answer to the upgrade")?;
        Ok(Self { socket })
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub(crate) async fn send_message(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// Closes with a code, or without one, and reads what is left.
    pub(crate) async fn close(mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        let _ = self.socket.close(frame).await;
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.socket.next()).await {}
    }

    /// The next JSON message, or how the link ended.
    pub(crate) async fn next_by(&mut self, by: Instant) -> Option<Result<Value, Ended>> {
        loop {
            let message = timeout_at(by, self.socket.next()).await.ok()?;
            if let Some(Ok(Message::Close(_))) = message {
                // The library writes its answer to the close frame only when it is driven on.
                let _ = self.socket.flush().await;
            }
            return Some(match message {
                Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    Err(Ended::With(frame.code.into(), frame.reason.as_str().to_owned()))
                }
                Some(Ok(Message::Close(None))) => Err(Ended::NoCode),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => panic!("not expected of a server: {other:?}"),
                Some(Err(_)) | None => Err(Ended::Cut),
            });
        }
    }

    /// The next JSON message.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_by(Instant::now() + PATIENCE).await {
            Some(Ok(message)) => message,
            Some(Err(ended)) => panic!("the link ended: {ended:?}"),
            None => panic!("nothing came"),
        }
    }

    /// The payload of the next message of this type; others are passed over.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        self.expect_that(kind, |_| true).await
    }

    /// The payload of the next message of this type that is as wanted; others are passed over.
    pub(crate) async fn expect_that(&mut self, kind: &str, want: impl Fn(&Value) -> bool) -> Value {
        let by = Instant::now() + PATIENCE;
        let mut passed = Vec::new();
        loop {
            match self.next_by(by).await {
                Some(Ok(m)) if m["type"] == kind && want(&m["payload"]) => {
                    return m["payload"].clone();
                }
                Some(Ok(other)) => passed.push(other),
                Some(Err(ended)) => panic!("no {kind}: the link ended: {ended:?}; {passed:#?}"),
                None => panic!("no such {kind}; instead {passed:#?}"),
            }
        }
    }

    /// Everything that comes within this time. The link must stay open.
    pub(crate) async fn all_within(&mut self, time: Duration) -> Vec<Value> {
        let by = Instant::now() + time;
        let mut all = Vec::new();
        while let Some(next) = self.next_by(by).await {
            all.push(next.unwrap_or_else(|ended| panic!("the link ended: {ended:?}")));
        }
        all
    }

    /// Everything up to the answer to a PING sent now, that excluded.
    pub(crate) async fn all_until_pong(&mut self) -> Vec<Value> {
        const MARK: i64 = 1_234_567_890_123;
        self.send(format!(
            r#"{{"type":"PING","id":"mark","timestamp":{MARK},"payload":{{"timestamp":{MARK}}}}}"#
        ))
        .await;
        let mut all = Vec::new();
        loop {
            let next = self.next().await;
            if next["type"] == "PONG" && next["payload"]["timestamp"] == MARK {
                return all;
            }
            all.push(next);
        }
    }

    /// How the link ended; messages before the end are passed over.
    pub(crate) async fn ended(&mut self) -> Ended {
        self.ended_by(PATIENCE).await.0
    }

    /// How the link ended within this time, and the messages before the end.
    pub(crate) async fn ended_by(&mut self, time: Duration) -> (Ended, Vec<Value>) {
        let by = Instant::now() + time;
        let mut before = Vec::new();
        loop {
            match self.next_by(by).await {
                Some(Ok(message)) => before.push(message),
                Some(Err(ended)) => return (ended, before),
                None => panic!("the link did not end; {before:#?}"),
            }
        }
    }
}

/// A plain HTTP request over a TCP connection of its own.
pub(crate) struct Request {
    head: String,
    body: String,
}

/// The answer to it.
pub(crate) struct Http {
    pub(crate) status: u16,
    /// Everything before the body.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn new(method: &str, path: &str) -> Self {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: onsembl.test\r\nConnection: close\r\n");
        Self { head, body: String::new() }
    }

    /// An upgrade request, and nothing of a WebSocket behind it.
    pub(crate) fn upgrade(path: &str) -> Self {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: onsembl.test\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        Self { head, body: String::new() }
    }

    pub(crate) fn header(mut self, line: &str) -> Self {
        self.head.push_str(line);
        self.head.push_str("\r\n");
        self
    }

    pub(crate) fn version_1_0(mut self) -> Self {
        self.head = self.head.replacen("HTTP/1.1", "HTTP/1.0", 1);
        self
    }

    pub(crate) fn bearer(self, token: Option<&str>) -> Self {
        match token {
            Some(token) => self.header(&format!("Authorization: Bearer {token}")),
            None => self,
        }
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body.push_str(body);
        self.header(&format!("Content-Length: {}", body.len()))
    }

    pub(crate) async fn send(self, to: SocketAddr) -> Http {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(format!("{}\r\n{}", self.head, self.body).as_bytes()).await.unwrap();
        Http::read(&mut stream).await
    }
}

impl Http {
    /// Reads the head, and as much of a body as it says.
    async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let read = async {
            let head = loop {
                if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                    break end + 4;
                }
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "cut within a head");
            };
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let length = text
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.trim().parse().unwrap());
            while bytes.len() < head + length {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "cut within a body");
            }
            let status = text.split(' ').nth(1).unwrap().parse().unwrap();
            if text.to_ascii_lowercase().contains("transfer-encoding: chunked") {
                while stream.read_buf(&mut bytes).await.unwrap() > 0 {}
                return Self { status, head: text, body: unchunked(&bytes[head..]) };
            }
            let body = String::from_utf8(bytes[head..head + length].to_vec()).unwrap();
            Self { status, head: text, body }
        };
        timeout(PATIENCE, read).await.expect("an answer")
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A body that came in chunks, to its end.
fn unchunked(mut bytes: &[u8]) -> String {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|w| w == b"\r\n").expect("the size of a chunk");
        let size = std::str::from_utf8(&bytes[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let (begin, end) = (end + 2, end + 2 + size);
        body.extend_from_slice(&bytes[begin..end]);
        bytes = &bytes[end + 2..];
        if size == 0 {
            return String::from_utf8(body).unwrap();
        }
    }
}
