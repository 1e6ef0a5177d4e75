//! Attackers that are the program in the terminal of an agent of their own user: what they do to that agent, and to the
//! server through it.

use crate::bench::{Bench, PATIENCE, Running};
use crate::effects::{HEARD, note, note_message};
use crate::target::{Target, message};
use crate::terminals::{field, input, take};
use futures::future::join_all;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::Message;

/// The most memory of such an agent in KiB: the program, its spool in memory, and the model of the largest screen, twice
/// for what an allocator keeps.
const MOST_MEMORY: u64 = 256 * 1024;
/// What it may write into its log during a round, in bytes.
const MOST_LOG: u64 = 4 << 20;
const NAME: &str = "host";

/// An agent of the attacker's with the largest terminal, in which an attack runs.
pub(crate) struct Host {
    agent: Running,
    lapses_before: u64,
    log_before: u64,
}

impl Host {
    pub(crate) fn start(bench: &Bench, token: &str, heard: &Path, attack: &[&str]) -> Self {
        let log_before = log_bytes(bench);
        let mut command = bench.agent_command(NAME);
        command
            .env("ONSEMBL_TOKEN", token)
            .env("ONSEMBL_LOG", "info")
            .args(["--runner", "terminal", "--size", "1000x1000", "--", "nice", "-n", "10", "env"])
            .arg(format!("{HEARD}={}", heard.display()))
            .args(attack)
            .stdin(Stdio::null());
        let agent = Running(command.spawn().expect("the agent can be run"));
        let by = Instant::now() + PATIENCE;
        while is_online(bench) == 0 && Instant::now() < by {
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { agent, lapses_before: lapses(bench), log_before }
    }

    /// What its agent suffered.
    pub(crate) fn faults(&self, bench: &Bench) -> Vec<String> {
        let mut faults = Vec::new();
        let lapses = lapses(bench) - self.lapses_before;
        if lapses > 0 || is_online(bench) == 0 {
            faults.push(format!("its own agent was not in session all the time: {lapses} lapses"));
        }
        let peak = self.agent.peak_memory();
        if peak > MOST_MEMORY {
            faults.push(format!("its own agent took {peak} KiB, of at most {MOST_MEMORY} KiB"));
        }
        let log = log_bytes(bench) - self.log_before;
        if log > MOST_LOG {
            faults.push(format!("its own agent wrote {log} bytes into its log"));
        }
        println!("    its own agent: {peak} KiB, {log} bytes of its log");
        faults
    }
}

fn log_bytes(bench: &Bench) -> u64 {
    let log = bench.folder.path().join(format!("{NAME}.log"));
    std::fs::metadata(log).map_or(0, |log| log.len())
}

fn lapses(bench: &Bench) -> u64 {
    crate::effects::rows(
        bench,
        "SELECT count(*) FROM presence_events WHERE status NOT IN ('online', 'connecting')
         AND agent_id IN (SELECT agent_id FROM agents WHERE user_id = 'mallory')",
    )
}

fn is_online(bench: &Bench) -> u64 {
    crate::effects::rows(
        bench,
        "SELECT count(*) FROM agents WHERE user_id = 'mallory' AND status = 'online'",
    )
}

fn hook() -> Option<(String, String)> {
    let variable = |name| std::env::var(name).ok();
    Some((variable("ONSEMBL_HOOK")?, variable("ONSEMBL_HOOK_RUN")?))
}

/// Hooks that say nothing, hooks that say too much, and hooks that say something all the time.
pub(crate) async fn hooks(_: Target) {
    let Some((socket, run)) = hook() else { return };
    let nested = format!(r#"{{"run":"{run}","event":"stop","input":{}"#, "[".repeat(60_000));
    let title = "\\u001b".repeat(9_000);
    let asks = format!(
        r#"{{"run":"{run}","event":"permission","ago_ms":18446744073709551615,"input":{{"tool_name":"{title}","tool_input":{{"command":"x"}}}}}}"#
    );
    let of_nobody = r#"{"run":"terminal-of-nobody","event":"stop"}"#.to_owned();
    let stop = format!(r#"{{"run":"{run}","event":"stop"}}"#);
    let texts = [nested, asks, of_nobody, stop, "x".repeat(1 << 20), String::new()];
    let one = |n: usize| {
        let (socket, text) = (&socket, &texts[n % texts.len()]);
        async move {
            loop {
                let Ok(mut stream) = UnixStream::connect(socket).await else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                };
                let _ = stream.write_all(text.as_bytes()).await;
                if !text.is_empty() {
                    let _ = stream.write_all(b"\n").await;
                }
                if matches!(stream.read(&mut [0; 8]).await, Ok(1..)) {
                    note("hooked");
                }
            }
        }
    };
    join_all((0..64).map(one)).await;
}

/// Output that is expensive to draw on the largest screen, questions whose answers are not read, and marks.
pub(crate) async fn draws(_: Target) {
    let kinds: [Vec<u8>; 6] = [
        b"\x1bc".repeat(30_000),
        b"\x1b[6n\x1b[c\x1b[18t".repeat(5_000),
        b"\x1b#8\x1b[H\x1b[J".repeat(5_000),
        b"\x07\x1b]9;asks\x07\x1b]133;A\x07\x1b]133;C\x07".repeat(3_000),
        [b"\x1b]777;notify;".to_vec(), vec![b'x'; 200_000], b"\x07".to_vec()].concat(),
        b"\x1b[1000L\x1b[65535b\x1b[?1049h\x1b[?1049l".repeat(2_000),
    ];
    let write = move || {
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        for kind in kinds.iter().cycle() {
            if out.write_all(kind).and_then(|()| out.flush()).is_err() {
                return;
            }
            note("written");
        }
    };
    let _ = tokio::task::spawn_blocking(write).await;
}

/// Who holds the keyboard of this terminal types what its program does not read and keys that suspend, resizes it, and
/// asks for texts that wait.
pub(crate) async fn typed_at(target: Target) {
    let Some((_, terminal)) = hook() else { return };
    let agent = target.agent_of(&terminal).await;
    let (target, terminal, agent) = (&target, terminal.as_str(), agent.as_str());
    let (suspends, large) =
        (crate::terminals::largest_input(0x1a), crate::terminals::largest_input(b'x'));
    let (suspends, large) = (&suspends, &large);
    let types = async {
        loop {
            let mut socket = target.typist().await;
            for round in 0_u64.. {
                let mut hold = None;
                let _ = socket.send(Message::text(take(terminal, &format!("{round}")))).await;
                for sequence in 1..100 {
                    let wait = Duration::from_millis(5);
                    while let Ok(Some(Ok(heard))) = tokio::time::timeout(wait, socket.next()).await
                    {
                        let Message::Text(text) = heard else { continue };
                        note_message(&text);
                        hold = field(&text, "holder").map(str::to_owned).or(hold);
                    }
                    let bytes = if round.is_multiple_of(2) { suspends } else { large };
                    let hold = hold.as_deref().unwrap_or("none");
                    let sent = socket.send(Message::text(input(terminal, hold, sequence, bytes)));
                    if sent.await.is_err() {
                        break;
                    }
                }
            }
        }
    };
    let resizes = async {
        let mut socket = target.typist().await;
        for n in 0_u64.. {
            let payload = format!(
                r#"{{"agentId":"{agent}","action":"RESIZE","size":{{"columns":{},"rows":{}}}}}"#,
                1 + n * 997 % 1000,
                1 + n * 991 % 1000
            );
            let _ = socket.send(Message::text(message("AGENT_CONTROL", &payload))).await;
            let read = tokio::time::timeout(Duration::from_millis(1), socket.next());
            if let Ok(Some(Ok(Message::Text(text)))) = read.await {
                note_message(&text);
            }
        }
    };
    let texts = async {
        let mut socket = target.typist().await;
        let long = "t".repeat(4_000);
        for n in 0_u64.. {
            let more = ["\"input\":\"secret\"", "\"openLine\":\"take\"", "\"input\":\"keys\""]
                [usize::try_from(n).unwrap() % 3];
            let id = std::process::id();
            let payload = format!(
                r#"{{"agentId":"{agent}","commandId":"t-{id}-{n}","command":"{long}","args":[],"env":{{}},"type":"NATURAL","priority":5,{more}}}"#
            );
            let _ = socket.send(Message::text(message("COMMAND_REQUEST", &payload))).await;
            let read = tokio::time::timeout(Duration::from_millis(5), socket.next());
            if let Ok(Some(Ok(Message::Text(text)))) = read.await {
                note_message(&text);
            }
        }
    };
    // Nothing of a terminal is read.
    futures::future::join3(types.boxed(), resizes.boxed(), texts.boxed()).await;
}
