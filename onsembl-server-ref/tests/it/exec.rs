//! Clients that run a command, with a server that does what a real one rarely does.

use crate::fixture::PATIENCE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use onsembl_protocol::model::Exit;
use onsembl_server_ref::client::{Canceller, Followed, RemoteCommand};
use onsembl_transport::ProxyRule;
use onsembl_transport::secret::Secret;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

struct Script {
    listener: TcpListener,
}

impl Script {
    async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn command(&self, limit: Duration) -> RemoteCommand {
        let server = format!("http://{}", self.listener.local_addr().unwrap());
        let mut command = RemoteCommand::new(server, Secret::new("token"), "ada", "work", limit);
        command.proxy = ProxyRule::direct();
        command
    }

    /// A link over which the command was asked for, and the id of that.
    async fn asked(&self) -> (WebSocketStream<TcpStream>, String) {
        let asked = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut link = accept_async(stream).await.unwrap();
            loop {
                let text = link.next().await.unwrap().unwrap().into_text().unwrap();
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "COMMAND_REQUEST" {
                    let id = message["payload"]["commandId"].as_str().unwrap().to_owned();
                    return (link, id);
                }
            }
        };
        timeout(PATIENCE, asked).await.expect("a request")
    }
}

async fn run(command: RemoteCommand) -> anyhow::Result<Followed> {
    let run = command.run(tokio::io::sink(), tokio::io::sink(), std::future::pending());
    timeout(PATIENCE, run).await.expect("an end")
}

#[tokio::test]
async fn who_is_not_let_in_any_more_is_told_which_command_goes_on() {
    for code in [4105_u16, 4201] {
        let script = Script::new().await;
        let command = tokio::spawn(run(script.command(PATIENCE)));
        let (mut link, id) = script.asked().await;
        link.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await.unwrap();
        let why = command.await.unwrap().unwrap_err().to_string();
        assert!(why.contains("the token"), "{why}");
        assert!(why.contains(&format!("`onsembl commands {id}`")), "{why}");
    }
}

/// Nothing is dialled for it.
#[tokio::test]
async fn a_command_that_no_server_takes_is_refused_at_once() {
    for length in [1_100_000, 3_000_000] {
        let script = Script::new().await;
        let command = RemoteCommand { text: "x".repeat(length), ..script.command(PATIENCE) };
        let why = run(command).await.unwrap_err().to_string();
        assert!(why.contains("too long") && why.contains("1048576"), "{why}");
        let dialled = timeout(Duration::from_millis(1), script.listener.accept()).await;
        assert!(dialled.is_err(), "it was dialled");
    }
}

/// Tells a dashboard which features its server has, and collects what it sends up to its request.
async fn greeted(script: &Script, features: Value) -> (WebSocketStream<TcpStream>, Vec<Value>) {
    let (stream, _) = script.listener.accept().await.unwrap();
    let mut link = accept_async(stream).await.unwrap();
    let mut said: Vec<Value> = Vec::new();
    while let Some(Ok(message)) = link.next().await {
        let Ok(text) = message.into_text() else { continue };
        let Ok(message) = serde_json::from_str::<Value>(&text) else { break };
        if message["type"] == "DASHBOARD_INIT" {
            let payload = json!({ "agents": [], "extensions": { "features": features } });
            let connected = json!({ "type": "DASHBOARD_CONNECTED", "id": "m", "timestamp": 1, "payload": payload });
            link.send(Message::text(connected.to_string())).await.unwrap();
        }
        let is_asked = message["type"] == "COMMAND_REQUEST";
        said.push(message);
        if is_asked {
            break;
        }
    }
    (link, said)
}

#[tokio::test]
async fn a_long_text_goes_in_pieces_before_its_request() {
    let script = Script::new().await;
    let text = "é".repeat(150_000);
    let command = RemoteCommand { text: text.clone(), ..script.command(PATIENCE) };
    let running = tokio::spawn(run(command));
    let (link, said) = timeout(PATIENCE, greeted(&script, json!(["long-text"]))).await.unwrap();
    let pieces: Vec<&Value> = said.iter().filter(|m| m["type"] == "COMMAND_TEXT").collect();
    let offsets: Vec<_> = pieces.iter().map(|m| m["payload"]["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [0, 131_072, 262_144]);
    let joined: Vec<u8> = pieces
        .iter()
        .flat_map(|m| STANDARD.decode(m["payload"]["bytes"].as_str().unwrap()).unwrap())
        .collect();
    assert!(joined == text.into_bytes());
    let request = &said.last().unwrap()["payload"];
    assert_eq!(request["textBytes"], 300_000);
    assert!(request["command"].as_str().unwrap().len() < 500, "{request}");
    running.abort();
    drop(link);
}

#[tokio::test]
async fn an_older_server_is_sent_nothing_of_a_long_text() {
    let script = Script::new().await;
    let command = RemoteCommand { text: "x".repeat(100_000), ..script.command(PATIENCE) };
    let running = tokio::spawn(run(command));
    let (_, said) = timeout(PATIENCE, greeted(&script, json!(["output-bytes"]))).await.unwrap();
    let why = running.await.unwrap().unwrap_err().to_string();
    assert!(why.contains("64 KiB") && why.contains("nothing was sent"), "{why}");
    assert!(!said.iter().any(|m| m["type"].as_str().unwrap().starts_with("COMMAND_")), "{said:?}");
}

#[tokio::test]
async fn a_time_limit_that_no_clock_can_count_to_is_none() {
    let script = Script::new().await;
    let command = tokio::spawn(run(script.command(Duration::MAX)));
    let (mut link, _) = script.asked().await;
    let revoked = CloseFrame { code: 4201.into(), reason: "".into() };
    link.close(Some(revoked)).await.unwrap();
    assert!(command.await.unwrap().is_err());
}

#[tokio::test]
async fn who_is_interrupted_before_there_is_a_link_asks_for_nothing() {
    // It is connected to, and never answers.
    let script = Script::new().await;
    let interrupted = async {
        let (_stream, _) = script.listener.accept().await.unwrap();
        2
    };
    let run = script.command(PATIENCE).run(tokio::io::sink(), tokio::io::sink(), interrupted);
    let ended = timeout(PATIENCE, run).await.expect("an end").unwrap();
    let by = Canceller::Signal(2);
    assert_eq!(ended, Followed::Cancelled { by, confirmed: true });
}

/// A firewall or a captive portal on the way: it may be over in a second.
#[tokio::test]
async fn a_refusal_of_something_on_the_way_is_ridden_out() {
    let script = Script::new().await;
    let command = tokio::spawn(run(script.command(PATIENCE)));
    let (link, _) = script.asked().await;
    drop(link);
    for status in ["403 Forbidden", "401 Unauthorized"] {
        let (mut stream, _) = script.listener.accept().await.unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nServer: edge\r\nContent-Length: 0\r\n\r\n");
        let mut request = [0; 4096];
        assert_ne!(stream.read(&mut request).await.unwrap(), 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    let (mut link, _) = script.asked().await;
    let revoked = CloseFrame { code: 4201.into(), reason: "".into() };
    link.close(Some(revoked)).await.unwrap();
    let why = command.await.unwrap().unwrap_err().to_string();
    assert!(why.contains("4201"), "{why}");
}

/// Something that takes the upgrade and says nothing: a proxy, or an address of the name that is not the server's.
#[tokio::test]
async fn a_server_that_says_nothing_is_dialled_again_and_at_the_end_nothing_is_claimed() {
    let script = Script::new().await;
    let silent = tokio::spawn(run(script.command(Duration::from_secs(2))));
    let _kept = script.asked().await;
    let failed = timeout(PATIENCE, silent).await.unwrap().unwrap().unwrap_err().to_string();
    assert!(failed.contains("did not answer") && failed.contains("unknown"), "{failed}");

    let patient = tokio::spawn(run(script.command(Duration::from_secs(60))));
    let _first = script.asked().await;
    let (mut second, id) = script.asked().await;
    let ended = json!({
        "type": "COMMAND_STATUS", "id": "m", "timestamp": 1,
        "payload": {"commandId": id, "agentId": "a", "status": "completed", "exitCode": 0},
    });
    second.send(Message::text(ended.to_string())).await.unwrap();
    let followed = timeout(PATIENCE, patient).await.unwrap().unwrap().unwrap();
    assert_eq!(followed, Followed::Exited(Exit::Code(0)));
}
