//! A diagnosis connection (P-45): it is listed nowhere, and takes no session over.

use super::observed::{Hello, Idle, Probe, ServerKind};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{AgentKey, InstanceId, LinkId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{Dialect, SERVER_FEATURES};
use onsembl_protocol::session::frames::{AgentFrames, AgentProfile, FromServer, PROBE_FOR};
use onsembl_protocol::session::{AgentAction, AgentInbound};
use onsembl_protocol::wire::payload::{HealthMetrics, Ping};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent, decode};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::{Frame, Link, LinkReader, LinkWriter, Received};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

/// Longest wait for each answer: half of what an agent waits for the answer to its hello.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of the large frame: more than one record of TLS and than the buffers of most proxies, and less than any
/// output of an agent may be.
const LARGE: usize = 48 * 1024;

/// Sends a hello, a ping and a large frame, holds the connection idle, and closes it.
pub(super) async fn speak(
    link: Link,
    (name, key): (&str, Option<AgentKey>),
    idle_hold: Duration,
) -> Probe {
    // With the key of its state directory the server says whether the token may speak for that agent.
    let key = key.unwrap_or_else(|| AgentKey::new(Uuid::new_v4().to_string()));
    let instance = InstanceId::new(Uuid::new_v4().to_string());
    // A legacy server does not know probes: it lists this one until it leaves.
    let mut profile = AgentProfile::new(format!("{PROBE_FOR}{name}"), key, instance);
    profile.version = env!("CARGO_PKG_VERSION").to_owned();
    profile.features = SERVER_FEATURES.to_vec();
    profile.probe = true;
    let Link { reader, writer, .. } = link;
    let frames = AgentFrames::new(profile, Limits::DEFAULT);
    let mut talk = Talk { reader, writer, frames, clock: SystemClock::new() };
    let mut probe = Probe { hello: talk.hello().await, ping: None, idle: None, large: None };
    if probe.hello.is_ok() {
        let ping = talk.ping(0).await.map(|(_, took)| took);
        let goes_on = ping.is_ok();
        probe.ping = Some(ping);
        if goes_on {
            let large = talk.ping(LARGE).await;
            probe.large = Some(match large {
                Ok((bytes, took)) => (bytes, Ok(took)),
                Err(why) => (LARGE, Err(why)),
            });
        }
        if goes_on && probe.large.as_ref().is_some_and(|(_, answer)| answer.is_ok()) {
            probe.idle = Some(talk.stay_idle(idle_hold).await);
        }
    }
    // Whether it arrives is of no interest any more.
    let _ = timeout(Duration::from_secs(1), talk.writer.close(CloseCause::Normal)).await;
    probe
}

struct Talk {
    reader: Box<dyn LinkReader>,
    writer: Box<dyn LinkWriter>,
    frames: AgentFrames,
    clock: SystemClock,
}

const LINK: LinkId = LinkId(1);

impl Talk {
    async fn hello(&mut self) -> Result<Hello, String> {
        let began = Instant::now();
        let (wall, action) = (self.clock.now().wall, AgentAction::SendHello(LINK));
        let written = self.frames.outgoing(&action, wall, HealthMetrics::default);
        let text = written.map(|(_, text)| text.to_owned()).unwrap_or_default();
        self.send(text).await?;
        loop {
            let text = self.text(began + PATIENCE, "no answer to the hello").await?;
            let read = self.frames.read(LINK, &text, self.clock.now().wall);
            match (read.content, read.inbound) {
                (FromServer::Joined(..), AgentInbound::HelloAccepted(terms)) => {
                    let server = match terms.dialect {
                        Dialect::Extended => ServerKind::Extended,
                        Dialect::Legacy => ServerKind::Legacy,
                    };
                    return Ok(Hello { took: began.elapsed(), server, timing: terms.timing });
                }
                (FromServer::Refused(error), _) => {
                    return Err(format!(
                        "the server refused it ({}): {}",
                        error.code, error.message
                    ));
                }
                // Not the answer yet.
                (
                    FromServer::Nothing
                    | FromServer::Joined(..)
                    | FromServer::Heartbeat(_)
                    | FromServer::Message(_)
                    | FromServer::BeforeSession
                    | FromServer::Unknown(_)
                    | FromServer::Undecodable(..),
                    _,
                ) => {}
            }
        }
    }

    /// Sends a ping with this many bytes of padding, which a server ignores (P-22), and waits for the answer.
    /// Gives the length of what was sent.
    async fn ping(&mut self, padding: usize) -> Result<(usize, Duration), String> {
        let wall = self.clock.now().wall;
        let stamp = wall.unix_millis() as f64;
        let ping = AgentToServer::Ping(Ping { timestamp: Some(stamp), sequence: None });
        let mut text = self.frames.write(&ping, wall).to_owned();
        if padding > 0
            && let Ok(mut json) = serde_json::from_str::<serde_json::Value>(&text)
            && let Some(payload) = json.get_mut("payload").and_then(|p| p.as_object_mut())
        {
            let _ = payload.insert("padding".to_owned(), "x".repeat(padding).into());
            text = json.to_string();
        }
        let (length, began) = (text.len(), Instant::now());
        self.send(text).await?;
        loop {
            let text = self.text(began + PATIENCE, "no answer to a ping").await?;
            let pong = match decode::<ServerToAgent>(&text, &Limits::DEFAULT) {
                Ok(envelope) => envelope.message,
                Err(_) => continue,
            };
            if let ServerToAgent::Pong(_) = pong {
                return Ok((length, began.elapsed()));
            }
        }
    }

    /// Keeps silent for so long, and asks then whether the link is still there.
    async fn stay_idle(&mut self, asked: Duration) -> Idle {
        let began = Instant::now();
        let ended = loop {
            match timeout_at(began + asked, self.reader.receive()).await {
                Err(_) => break None,
                Ok(Ok(_)) => {}
                Ok(Err(end)) => break Some(end.to_string()),
            }
        };
        let lasted = began.elapsed();
        let outcome = match ended {
            Some(end) => Err(end),
            None => self.ping(0).await.map(drop),
        };
        Idle { asked, lasted, outcome }
    }

    async fn send(&mut self, text: String) -> Result<(), String> {
        let sent = async {
            self.writer.send(Frame::Text(text)).await?;
            self.writer.flush().await
        };
        match timeout(PATIENCE, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(end)) => Err(end.to_string()),
            Err(_) => Err(format!("it could not be written within {} s", PATIENCE.as_secs())),
        }
    }

    async fn text(&mut self, by: Instant, late: &str) -> Result<String, String> {
        loop {
            match timeout_at(by, self.reader.receive()).await {
                Ok(Ok(Received::Text(text))) => return Ok(text),
                Ok(Ok(Received::Binary(_) | Received::Control)) => {}
                Ok(Err(end)) => return Err(end.to_string()),
                Err(_) => return Err(format!("{late} within {} s", PATIENCE.as_secs())),
            }
        }
    }
}
