//! Everything at once, in one process: a server with a fresh database, an agent over a real
//! loopback WebSocket, a command, and then a line for each heartbeat until Ctrl-C.
//!
//! Run it with `cargo demo`.

#![allow(clippy::disallowed_methods, reason = "all that it shows it runs itself")]

use anyhow::Context as _;
use onsembl_agent_ref::engine::{self, AgentObservation, AgentOptions, TokenSourceKind};
use onsembl_protocol::id::{BeatSequence, UserId};
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::auth::{TokenKind, Tokens};
use onsembl_server_ref::client::{Followed, RemoteCommand};
use onsembl_server_ref::server::{BeatHop, BeatObserver, BeatSeen, Server, ServerOptions};
use onsembl_transport::ProxyRule;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::logging::{self, LogFormat, LogRules, LogTo, Targets};
use onsembl_transport::secret::Secret;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

const AGENT: &str = "demo-agent";
const COMMAND: &str = "echo hello from $(uname -sr), process $$; seq 1 3; echo to stderr >&2";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rules = LogRules::choose(std::env::var("ONSEMBL_LOG").ok().as_deref(), "error");
    let _log = logging::begin(&rules, LogTo::Stderr, Targets::Shown, LogFormat::Text)?;
    let folder = std::env::temp_dir().join(format!("onsembl-demo-{}", std::process::id()));
    let outcome = demo(&folder).await;
    std::fs::remove_dir_all(&folder)
        .with_context(|| format!("cannot remove {}", folder.display()))?;
    outcome
}

async fn demo(folder: &std::path::Path) -> anyhow::Result<()> {
    let (seen_in, seen) = mpsc::unbounded_channel();
    let (observed_in, mut observed) = mpsc::channel(64);
    let second = Duration::from_secs(1);
    let timing = HeartbeatTiming::new(second, second * 5 / 2, second * 5)?;
    let mut server_options = ServerOptions::new(folder.join("server"));
    server_options.agents = ServerConfig::DEFAULT.with_timing(timing);
    server_options.observer = Some(BeatObserver::new(move |beat| {
        // Heartbeats that come while the demo ends are not shown.
        let _ = seen_in.send(beat);
    }));
    let mut server = Server::start(server_options).await?;
    let url = server.listen(([127, 0, 0, 1], 0).into(), None).await?.url();
    say(&format!(
        "server     {url} with the database {}",
        folder.join("server/onsembl.db").display()
    ))?;

    let now = SystemClock::new().now().wall;
    let user = UserId::new("demo");
    let tokens = Tokens::open(&folder.join("server"))?;
    let token = |kind| tokens.issue(&user, kind, second * 3600, now).map(|(t, _)| Secret::new(t));
    let mut options =
        AgentOptions::new(&url, TokenSourceKind::Literal(token(TokenKind::Agent)?), AGENT);
    options.state_dir = Some(folder.join("agent"));
    options.observer = Some(observed_in);
    let (stop, mut stopped) = watch::channel(false);
    let agent = tokio::spawn(engine::run(options, async move {
        // An error means that the sender was dropped and it can no longer be stopped, which is a reason to stop.
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    while let Some(observation) = observed.recv().await {
        if let AgentObservation::Status { status, cause, .. } = observation {
            say(&format!("agent      {}: {cause}", status.as_str()))?;
            if status.as_str() == "connected" {
                break;
            }
        }
    }

    say(&format!("command    {COMMAND}"))?;
    let token = token(TokenKind::Dashboard)?;
    let mut command = RemoteCommand::new(url, token, AGENT, COMMAND, second * 60);
    command.proxy = ProxyRule::direct();
    let followed =
        command.run(tokio::io::stdout(), tokio::io::stderr(), std::future::pending()).await?;
    match followed {
        Followed::Exited(exit) => say(&format!("command    over: {exit}"))?,
        Followed::Cancelled { .. } => say("command    cancelled")?,
        Followed::Typed(terminal) => say(&format!("command    typed into {terminal}"))?,
        Followed::Taken => say("command    keeps running")?,
    }

    say("heartbeats, one each second, until Ctrl-C")?;
    tokio::select! {
        shown = show(seen, observed) => shown?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    say("\nstopping")?;
    let _ = stop.send_replace(true);
    agent.await??;
    server.stop().await;
    Ok(())
}

/// When a heartbeat passed each hop.
#[derive(Default)]
struct Hops {
    sent: Option<WallTime>,
    received: Option<WallTime>,
    recorded: Option<WallTime>,
}

/// One line for each heartbeat, when its answer has come.
async fn show(
    mut seen: mpsc::UnboundedReceiver<BeatSeen>,
    mut observed: mpsc::Receiver<AgentObservation>,
) -> anyhow::Result<()> {
    let mut beats: BTreeMap<BeatSequence, Hops> = BTreeMap::new();
    let mut shown = BeatSequence(0);
    loop {
        tokio::select! {
            biased;
            Some(beat) = seen.recv() => {
                let hops = beats.entry(beat.sequence).or_default();
                match beat.hop {
                    BeatHop::Received => hops.received = Some(beat.at),
                    BeatHop::Recorded => hops.recorded = Some(beat.at),
                    BeatHop::Answered => {}
                }
            }
            observation = observed.recv() => match observation {
                None => return Ok(()),
                Some(AgentObservation::BeatSent { sequence, at }) => {
                    beats.entry(sequence).or_default().sent = Some(at);
                }
                Some(AgentObservation::BeatAnswered { recorded, lag, at, .. }) => {
                    if let Some(lag) = lag {
                        say(&format!("not recorded for {} ms: {}", lag.age_ms, lag.why))?;
                    }
                    let Some(sequence) = recorded.map(|r| r.sequence).filter(|s| *s > shown) else {
                        continue;
                    };
                    if let Some(Hops { sent: Some(sent), received, recorded }) = beats.remove(&sequence) {
                        say(&format!(
                            "beat {sequence:>4}  sent {sent}  received {}  recorded {}  answered {}",
                            after(received, sent), after(recorded, sent), after(Some(at), sent),
                        ))?;
                    }
                    shown = sequence;
                    beats.retain(|s, _| *s > shown);
                }
                Some(AgentObservation::Status { status, cause, .. }) => {
                    say(&format!("agent      {}: {cause}", status.as_str()))?;
                }
            }
        }
    }
}

/// How many milliseconds after `sent` a heartbeat passed a hop, with the sign: agent and server read the wall clock
/// each for itself, so a hop may seem to come a millisecond before.
fn after(hop: Option<WallTime>, sent: WallTime) -> String {
    hop.map_or_else(|| "?".into(), |at| format!("{:+} ms", at.unix_millis() - sent.unix_millis()))
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_has_one_sign() {
        let at = WallTime::from_unix_millis;
        let shown = [999, 1000, 1003].map(|ms| after(Some(at(ms)), at(1000)));
        assert_eq!(shown, ["-1 ms", "+0 ms", "+3 ms"]);
        assert_eq!(after(None, at(1000)), "?");
    }
}
