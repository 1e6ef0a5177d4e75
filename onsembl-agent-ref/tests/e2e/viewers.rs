//! An agent that prints without end, and dashboards that never read: the server's memory stays within the
//! bound of DEFAULTS.md ("Memory of the server"), and readers get everything.

use crate::bench::{Bench, PATIENCE, Running, runs};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const MIB: u64 = 1 << 20;
/// Dashboards that never read.
const DEAF: usize = 50;
/// The bound: the program and its database, an agent, two commands, and the dashboards with the two that
/// read.
const BOUND: u64 = 64 * MIB + 8 * MIB + 2 * MIB / 4 + (DEAF as u64 + 2) * 4 * MIB;
/// The run takes so long, and so much must come through meanwhile.
const AT_LEAST: (Duration, u64) = (Duration::from_secs(15), 24 * MIB);

/// What costs most: each byte is six in JSON; each byte is a line of its own.
const LOUD: [(&str, &str); 2] =
    [("dense", r"exec tr '\000' '\001' < /dev/zero"), ("lines", "exec yes ''")];

type Socket = WebSocketStream<tokio::net::TcpStream>;

struct Viewer {
    socket: Socket,
    /// How far each command is.
    next: BTreeMap<String, u64>,
    ended: BTreeMap<String, String>,
    bytes: u64,
    slowest: Duration,
    pinged: Option<Instant>,
    slowest_pong: Duration,
}

impl Viewer {
    /// A dashboard that watches everything.
    async fn open(address: &str, token: &str, extended: bool, buffer: Option<u32>) -> Self {
        let all = json!({"agents": {"all": true}, "commands": {"all": true}, "terminals": true});
        Self::watching(address, token, &all, extended, buffer).await
    }

    async fn watching(
        address: &str,
        token: &str,
        subscriptions: &Value,
        extended: bool,
        buffer: Option<u32>,
    ) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            tcp.set_recv_buffer_size(bytes).unwrap();
        }
        let tcp = tcp.connect(address.parse().unwrap()).await.unwrap();
        let mut request =
            format!("ws://{address}/ws/dashboard").into_client_request().expect("an address");
        let bearer = format!("Bearer {token}").parse().unwrap();
        let _ = request.headers_mut().insert("Authorization", bearer);
        let (socket, _) = timeout(PATIENCE, tokio_tungstenite::client_async(request, tcp))
            .await
            .unwrap()
            .unwrap();
        let mut viewer = Self {
            socket,
            next: BTreeMap::new(),
            ended: BTreeMap::new(),
            bytes: 0,
            slowest: Duration::ZERO,
            pinged: None,
            slowest_pong: Duration::ZERO,
        };
        let mut hello = json!({ "subscriptions": subscriptions });
        if extended {
            let features = ["output-bytes", "output-spool", "output-replay"];
            hello["extensions"] = json!({ "features": features });
        }
        viewer.say("DASHBOARD_INIT", &hello).await;
        viewer
    }

    async fn say(&mut self, kind: &str, payload: &Value) {
        let text = json!({"type": kind, "id": kind, "timestamp": 1, "payload": payload});
        self.socket.send(Message::text(text.to_string())).await.unwrap();
    }

    async fn replay(&mut self, command: &str, incarnation: u64, offset: u64) {
        let replay = json!({"incarnation": incarnation, "offset": offset});
        let what = json!({"type": "command", "id": command, "replay": replay});
        self.say("DASHBOARD_SUBSCRIBE", &what).await;
    }

    /// Takes one message; `None` when the link is over. Output must continue where it was.
    async fn take(&mut self) -> Option<Value> {
        let asked = Instant::now();
        let message = timeout(PATIENCE, self.socket.next()).await.expect("something comes")?;
        self.slowest = self.slowest.max(asked.elapsed());
        let text = match message.ok()? {
            Message::Text(text) => text,
            Message::Close(_) => return None,
            _ => return Some(Value::Null),
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        let payload = &message["payload"];
        let command = payload["commandId"].as_str().unwrap_or_default();
        match message["type"].as_str().unwrap() {
            "TERMINAL_STREAM" => {
                let content = payload["content"].as_str().unwrap();
                let want = if command == "dense" { '\u{1}' } else { '\n' };
                assert!(content.chars().all(|c| c == want), "other bytes than were written");
                let offset = payload["offset"].as_u64().unwrap();
                let end = offset + content.len() as u64;
                let next = self.next.entry(command.to_owned()).or_insert(offset);
                assert!(offset <= *next, "a hole in {command}: {next} to {offset}");
                self.bytes += end.saturating_sub(*next);
                *next = end.max(*next);
            }
            "OUTPUT_GAP" => panic!("nothing was to be lost: {payload}"),
            "COMMAND_STATUS" => {
                let status = payload["status"].as_str().unwrap().to_owned();
                if payload["completedAt"].is_number() {
                    let _ = self.ended.insert(command.to_owned(), status);
                }
            }
            "PONG" => {
                if let Some(asked) = self.pinged.take() {
                    self.slowest_pong = self.slowest_pong.max(asked.elapsed());
                }
            }
            _ => {}
        }
        Some(message)
    }

    async fn until_both_ended(&mut self) {
        while self.ended.len() < LOUD.len() {
            assert!(self.take().await.is_some(), "the link ended");
        }
    }
}

/// Never reads. The server gives it up now and then; it comes again at once.
async fn deaf(address: String, token: String, number: usize) {
    loop {
        let extended = number.is_multiple_of(2);
        let mut viewer = Viewer::open(&address, &token, extended, Some(4096)).await;
        if extended {
            viewer.replay(LOUD[number / 2 % 2].0, 0, 0).await;
        }
        sleep(Duration::from_millis(4000 + 100 * number as u64)).await;
    }
}

/// Reads a little, then not for so long that the server gives it up, and then continues where it was.
async fn sleepy(address: String, token: String) -> BTreeMap<String, u64> {
    let mut viewer = Viewer::open(&address, &token, true, Some(4096)).await;
    let incarnation = loop {
        let message = viewer.take().await.unwrap();
        if message["payload"]["commandId"] == "dense" && viewer.bytes > MIB {
            break message["payload"]["incarnation"].as_u64().unwrap();
        }
    };
    sleep(Duration::from_secs(12)).await;
    while viewer.take().await.is_some() {}
    // Nothing yet: what is written now would come before what it asks for.
    let nothing = json!({"terminals": true});
    let mut again = Viewer::watching(&address, &token, &nothing, true, None).await;
    again.next = BTreeMap::from([("dense".to_owned(), viewer.next["dense"])]);
    again.replay("dense", incarnation, viewer.next["dense"]).await;
    while !again.ended.contains_key("dense") {
        assert!(again.take().await.is_some(), "the link ended");
    }
    again.next
}

fn memory(server: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

#[test]
fn dashboards_that_never_read_cost_no_more_than_is_declared_and_hurt_nobody() {
    let bench = Bench::start();
    // A short backlog, so that what is left after the cancels is soon through.
    let agent = bench.agent_command("ada").args(["--spool-bytes", "8388608"]).spawn();
    let _agent = Running(agent.expect("the agent can be run"));
    let id = bench.await_status("ada", "online")["agent_id"].as_str().unwrap().to_owned();
    let (address, token) = (bench.address.clone(), bench.dashboard_token.clone());
    let server = bench.server().0.id();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut reads = Viewer::open(&address, &token, true, None).await;
        for (command, text) in LOUD {
            let request = json!({"commandId": command, "agentId": id, "command": text});
            reads.say("COMMAND_REQUEST", &request).await;
        }
        let sleepy = tokio::spawn(sleepy(address.clone(), token.clone()));
        let deaf: Vec<_> = (0..DEAF)
            .map(|number| tokio::spawn(deaf(address.clone(), token.clone(), number)))
            .collect();
        let begin = Instant::now();
        let mut asked = begin;
        while begin.elapsed() < AT_LEAST.0 || reads.bytes < AT_LEAST.1 {
            assert!(begin.elapsed() < 4 * PATIENCE, "only {} bytes", reads.bytes);
            if asked.elapsed() > Duration::from_millis(500) {
                asked = Instant::now();
                reads.pinged = reads.pinged.or(Some(asked));
                reads.say("PING", &json!({"timestamp": 1})).await;
            }
            assert!(reads.take().await.is_some(), "the one that reads is not to be cut");
        }
        let took = begin.elapsed();
        let each: Vec<u64> = reads.next.values().copied().collect();
        assert!(each.len() == 2 && each.iter().all(|b| *b > AT_LEAST.1 / 4), "{each:?}");
        assert!(runs(r"tr \000 \001"), "both run");
        let cancelled = Instant::now();
        for (command, _) in LOUD {
            reads.say("COMMAND_CANCEL", &json!({ "commandId": command })).await;
        }
        // The order overtakes the output of both ways; the last word comes behind it.
        while runs(r"tr \000 \001") {
            assert!(cancelled.elapsed() < PATIENCE, "it still runs");
            assert!(reads.take().await.is_some(), "the link ended");
        }
        let killed = cancelled.elapsed();
        reads.until_both_ended().await;
        assert!(reads.ended.values().all(|status| status == "cancelled"), "{:?}", reads.ended);
        let cancelled = cancelled.elapsed();
        assert!(deaf.iter().all(|task| !task.is_finished()), "each was there all the time");
        let caught_up = timeout(4 * PATIENCE, sleepy).await.expect("it catches up").unwrap();
        assert_eq!(caught_up["dense"], reads.next["dense"], "to the last byte");
        let (now, most) = memory(server);
        eprintln!(
            "{} MiB in {took:?} past {DEAF} that never read; memory {} MiB, {} at most, of {}; longest wait for a message {:?}, for a pong {:?}; gone {killed:?} after the cancel, all told after {cancelled:?}",
            reads.bytes / MIB, now / MIB, most / MIB, BOUND / MIB, reads.slowest, reads.slowest_pong,
        );
        assert!(most < BOUND, "{} MiB of {}", most / MIB, BOUND / MIB);
        assert!(reads.slowest < Duration::from_secs(5), "{:?}", reads.slowest);
        assert!(killed < Duration::from_secs(5), "{killed:?}");
        assert!(reads.slowest_pong < Duration::from_secs(5), "{:?}", reads.slowest_pong);
    });
}
