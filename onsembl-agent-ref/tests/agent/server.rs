//! A server that does what a test says and nothing else.

use super::soon;
use onsembl_protocol::id::{
    AgentId, ByteOffset, CommandId, Epoch, MessageId, ServerInstanceId, SessionId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{
    Ack, AgentConnect, AgentHeartbeat, CommandAck, CommandCancel, CommandComplete, CommandRequest,
    Feature, OutputAck, SeenBeat, ServerHeartbeat, TerminalOutput, Welcome,
};
use onsembl_protocol::wire::{self, AgentToServer, ServerToAgent};
use onsembl_transport::websocket::{WebSocketListener, accept_key, upgraded};
use onsembl_transport::{Frame, Link, LinkEnd, LinkLimits, Listener, Received};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const AGENT: &str = "11111111-2222-4333-8444-555555555555";

pub(crate) struct Server {
    listener: WebSocketListener,
    pub(crate) url: String,
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let tcp = TcpListener::bind(address).await.unwrap();
        let url = format!("ws://{}", tcp.local_addr().unwrap());
        Self { listener: WebSocketListener::new(tcp, None, LinkLimits::DEFAULT), url }
    }

    /// The next link, with its hello read and not answered.
    pub(crate) async fn accept(&mut self) -> Peer {
        Peer::greet(soon("a link", self.listener.accept()).await.unwrap()).await
    }

    /// The next link, in session.
    pub(crate) async fn session(&mut self) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome(256 * 1024).await;
        peer
    }
}

/// Takes a WebSocket handshake by hand: gives the request's head and the link.
pub(crate) async fn upgrade(mut stream: TcpStream) -> (String, Link) {
    let head = read_head(&mut stream).await;
    let key = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
        })
        .unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let link = upgraded(stream, Vec::new(), "agent", LinkLimits::DEFAULT).await;
    (head, link)
}

/// The head of an HTTP request.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a request", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The server's end of one link.
pub(crate) struct Peer {
    link: Link,
    pub(crate) hello: AgentConnect,
    pub(crate) hello_id: Option<MessageId>,
    pub(crate) beats: Vec<AgentHeartbeat>,
    /// Native pings and pongs that came.
    pub(crate) controls: usize,
    /// Chunks that came in binary messages.
    pub(crate) binary: usize,
    sent: u64,
}

impl Peer {
    pub(crate) async fn greet(link: Link) -> Self {
        let hello = wire::decode::<AgentToServer>(
            r#"{"type":"AGENT_CONNECT","payload":{}}"#,
            &Limits::DEFAULT,
        );
        let AgentToServer::Connect(empty) = hello.unwrap().message else { unreachable!() };
        let (beats, hello_id) = (Vec::new(), None);
        let mut peer =
            Self { link, hello: empty, hello_id, beats, controls: 0, binary: 0, sent: 0 };
        let text = peer.text().await.unwrap();
        let envelope = wire::decode::<AgentToServer>(&text, &Limits::DEFAULT).unwrap();
        let AgentToServer::Connect(hello) = envelope.message else { panic!("no hello: {text}") };
        peer.hello = hello;
        peer.hello_id = envelope.id;
        peer
    }

    /// Accepts the hello as a server with the extensions, but for resuming output.
    pub(crate) async fn welcome(&mut self, window: u64) {
        let features = vec![Feature::Heartbeats, Feature::OutputBytes, Feature::CommandReports];
        self.welcome_with(features, window).await;
    }

    /// Accepts the hello as a server with all extensions.
    pub(crate) async fn welcome_resuming(&mut self, window: u64) {
        let features = vec![
            Feature::Heartbeats,
            Feature::OutputBytes,
            Feature::OutputSpool,
            Feature::CommandReports,
        ];
        self.welcome_with(features, window).await;
    }

    pub(crate) async fn welcome_with(&mut self, features: Vec<Feature>, window: u64) {
        let welcome = Welcome {
            features,
            session_id: SessionId::new("session"),
            epoch: Epoch(7),
            server_instance: ServerInstanceId::new("server"),
            timing: HeartbeatTiming::DEFAULT.into(),
            resume_window_ms: 300_000,
            output_window_bytes: window,
            stopped: None,
        };
        self.accept_hello(Some(welcome)).await;
    }

    pub(crate) async fn accept_hello(&mut self, extensions: Option<Welcome>) {
        let ack = Ack {
            message_id: self.hello_id.clone(),
            success: true,
            agent_id: Some(AgentId::new(AGENT)),
            authenticated: Some(true),
            extensions,
            ..Ack::default()
        };
        self.send(ServerToAgent::Ack(ack)).await;
    }

    pub(crate) async fn send(&mut self, message: ServerToAgent) {
        self.sent += 1;
        let id = MessageId::new(format!("msg-{}", self.sent));
        let text = wire::encode(&id, WallTime::from_unix_millis(1), &message);
        self.send_text(text).await;
    }

    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        soon("a send", self.link.writer.send(Frame::Text(text.into()))).await.unwrap();
        soon("a flush", self.link.writer.flush()).await.unwrap();
    }

    /// The next text, or how the link ended.
    pub(crate) async fn text(&mut self) -> Result<String, LinkEnd> {
        loop {
            match soon("a frame", self.link.reader.receive()).await? {
                Received::Text(text) => return Ok(text),
                Received::Control => self.controls += 1,
                Received::Binary(_) => panic!("a binary frame"),
            }
        }
    }

    /// The next message but heartbeats, as text or binary.
    pub(crate) async fn next(&mut self) -> AgentToServer {
        loop {
            let message = match soon("a frame", self.link.reader.receive()).await.unwrap() {
                Received::Text(text) => {
                    wire::decode::<AgentToServer>(&text, &Limits::DEFAULT).unwrap().message
                }
                Received::Binary(bytes) => {
                    self.binary += 1;
                    let frame = wire::OutputFrame::decode(bytes, &Limits::DEFAULT).unwrap();
                    AgentToServer::Output(frame.into())
                }
                Received::Control => {
                    self.controls += 1;
                    continue;
                }
            };
            match message {
                AgentToServer::Heartbeat(beat) => self.beats.push(beat),
                message => return message,
            }
        }
    }

    /// The next message, which is a heartbeat.
    pub(crate) async fn beat(&mut self) -> AgentHeartbeat {
        let text = self.text().await.unwrap();
        match wire::decode::<AgentToServer>(&text, &Limits::DEFAULT).unwrap().message {
            AgentToServer::Heartbeat(beat) => beat,
            other => panic!("no heartbeat: {other:?}"),
        }
    }

    /// Says that this heartbeat was seen.
    pub(crate) async fn answer(&mut self, beat: &AgentHeartbeat) {
        let seen = beat.sequence.map(|sequence| SeenBeat { sequence, age_ms: 0 });
        let answer = ServerHeartbeat { seen, ..ServerHeartbeat::default() };
        self.send(ServerToAgent::Heartbeat(answer)).await;
    }

    /// Reads to the end of the link.
    pub(crate) async fn end(&mut self) -> LinkEnd {
        loop {
            if let Err(end) = self.text().await {
                return end;
            }
        }
    }

    pub(crate) async fn close(mut self, cause: onsembl_protocol::close::CloseCause) {
        soon("a close", self.link.writer.close(cause)).await.unwrap();
        self.end().await;
    }

    pub(crate) async fn run(&mut self, id: &str, text: &str) {
        self.request(request(id, text)).await;
    }

    pub(crate) async fn request(&mut self, request: CommandRequest) {
        self.send(ServerToAgent::CommandRequest(request)).await;
    }

    pub(crate) async fn cancel(&mut self, id: &str, force: bool) {
        let command_id = CommandId::new(id);
        let cancel = CommandCancel { command_id, agent_id: None, reason: None, force };
        self.send(ServerToAgent::CommandCancel(cancel)).await;
    }

    pub(crate) async fn acknowledged(&mut self) -> CommandAck {
        match self.next().await {
            AgentToServer::CommandAck(ack) => ack,
            other => panic!("no acknowledgement: {other:?}"),
        }
    }

    pub(crate) async fn output(&mut self) -> TerminalOutput {
        match self.next().await {
            AgentToServer::Output(output) => output,
            other => panic!("no output: {other:?}"),
        }
    }

    pub(crate) async fn complete(&mut self) -> CommandComplete {
        match self.next().await {
            AgentToServer::CommandComplete(report) => report,
            other => panic!("no report: {other:?}"),
        }
    }

    /// Reads one line of output, stores it, and gives it.
    pub(crate) async fn line(&mut self) -> String {
        let output = self.output().await;
        self.store(&output).await;
        String::from_utf8(output.content.as_bytes().to_vec()).unwrap()
    }

    /// Says that a chunk is stored.
    pub(crate) async fn store(&mut self, output: &TerminalOutput) {
        let end = output.offset.unwrap().0 + output.content.as_bytes().len() as u64;
        let ack = OutputAck {
            command_id: output.command_id.clone(),
            incarnation: output.incarnation.unwrap(),
            stream_type: output.stream.clone(),
            offset: ByteOffset(end),
            open_gap: false,
        };
        self.send(ServerToAgent::OutputAck(ack)).await;
    }

    /// Says that a report arrived.
    pub(crate) async fn confirm(&mut self, id: &str) {
        let ack = Ack { success: true, command_id: Some(CommandId::new(id)), ..Ack::default() };
        self.send(ServerToAgent::Ack(ack)).await;
    }

    /// Stores what comes until the report, which it confirms and gives with the output.
    pub(crate) async fn all(&mut self) -> (Vec<u8>, Vec<u8>, CommandComplete) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.next().await {
                AgentToServer::CommandAck(_) => {}
                AgentToServer::Output(output) => {
                    let stream = match output.stream.stream() {
                        Stream::Stdout => &mut stdout,
                        Stream::Stderr => &mut stderr,
                        Stream::Terminal => panic!("no terminal runs here"),
                    };
                    assert_eq!(output.offset.unwrap().0, stream.len() as u64);
                    stream.extend_from_slice(output.content.as_bytes());
                    self.store(&output).await;
                }
                AgentToServer::CommandComplete(report) => {
                    self.confirm(report.command_id.as_str()).await;
                    return (stdout, stderr, report);
                }
                other => panic!("not expected: {other:?}"),
            }
        }
    }
}

pub(crate) fn request(id: &str, text: &str) -> CommandRequest {
    CommandRequest::new(CommandId::new(id), AgentId::new(AGENT), text)
}
