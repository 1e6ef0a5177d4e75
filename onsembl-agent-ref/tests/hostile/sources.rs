//! Texts for `exec` from files and standard input that never end, are huge, come slowly or are no text. `exec` refuses what
//! is no text of a command without asking the server for anything, within little memory; what is one is a command as any
//! other.

use crate::bench::server_binary;
use crate::effects::note;
use crate::target::Target;
use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Address space of one `exec`, in KiB: one that kept an endless text would end by it, and not by a refusal.
const ROOM: u64 = 2 * 1024 * 1024;
/// How long one may take beside processes that load all processors.
const WITHIN: Duration = Duration::from_secs(20);
/// A text of the longest length that a command may have.
const LONGEST: usize = 64 * 1024;
/// `exec` itself failed.
const FAILED: i32 = 125;

/// All of them at once, again and again.
pub async fn sources(target: Target) {
    let (mut agent, id) = target.agent_with_id("sources").await;
    let reads = async move { while agent.next().await.is_some() {} };
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "x".repeat(LONGEST)).expect("a text");
    let longest = file.path().to_str().expect("a path").to_owned();
    let each: [BoxFuture<'_, ()>; 6] = [
        Box::pin(refused(&target, &id, "endless", "/dev/zero", "more than")),
        Box::pin(refused(&target, &id, "endless to be stripped", "/dev/zero --strip", "more than")),
        Box::pin(refused(&target, &id, "random", "/dev/urandom", "")),
        Box::pin(flooded(&target, &id)),
        Box::pin(slow(&target, &id)),
        Box::pin(taken(&target, &id, &longest)),
    ];
    tokio::join!(reads, join_all(each));
}

/// `exec` with this text, within its room.
fn exec(target: &Target, agent: &str, source: &str) -> Child {
    let mut run = format!("ulimit -v {ROOM}; exec '{}' exec", server_binary().display());
    write!(run, " --detach --text-from {source} {agent}").expect("a text");
    let mut command = Command::new("sh");
    target.as_client(&mut command);
    command
        .args(["-c", &run])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("sh can be run")
}

/// Notes how it ended: by a refusal that says `why`, or otherwise.
async fn ended(child: Child, what: &str, why: &str) {
    match timeout(WITHIN, child.wait_with_output()).await {
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let is_short = said.len() < 1024 && said.lines().count() == 1;
            match output.status.code() {
                Some(FAILED) if is_short && said.contains(why) => note(&format!("refused: {what}")),
                code => note(&format!("not refused: {what}: {code:?} {said}")),
            }
        }
        Ok(Err(error)) => note(&format!("not run: {what}: {error}")),
        Err(_) => note(&format!("it does not end: {what}")),
    }
}

async fn refused(target: &Target, agent: &str, what: &str, source: &str, why: &str) {
    loop {
        let mut child = exec(target, agent, source);
        drop(child.stdin.take());
        ended(child, what, why).await;
    }
}

/// Standard input gives more as long as somebody reads.
async fn flooded(target: &Target, agent: &str) {
    let much = vec![b'x'; 256 * 1024];
    loop {
        let mut child = exec(target, agent, "-");
        let mut input = child.stdin.take().expect("it is piped");
        let feeds = async { while input.write_all(&much).await.is_ok() {} };
        let ((), ()) = tokio::join!(feeds, ended(child, "flooded", "more than"));
    }
}

/// A byte now and then: whoever called it may wait as long as they like, and a signal ends it.
async fn slow(target: &Target, agent: &str) {
    loop {
        let mut child = exec(target, agent, "-");
        let mut input = child.stdin.take().expect("it is piped");
        for _ in 0..10 {
            let _ = input.write_all(b"x").await;
            sleep(Duration::from_millis(50)).await;
        }
        let waits = child.try_wait().expect("it is ours").is_none();
        let pid = child.id().unwrap_or_default().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status().await;
        match timeout(WITHIN, child.wait()).await {
            Ok(_) if waits => note("ended: slow"),
            other => note(&format!("slow: waits {waits}, {other:?}")),
        }
    }
}

/// The longest text that there may be is a command.
async fn taken(target: &Target, agent: &str, longest: &str) {
    loop {
        let mut child = exec(target, agent, longest);
        drop(child.stdin.take());
        match timeout(WITHIN, child.wait()).await {
            Ok(Ok(status)) if status.success() => note("taken: longest"),
            // What the attacker may have on the server is full after a while.
            other => note(&format!("not taken: longest: {other:?}")),
        }
        sleep(Duration::from_millis(100)).await;
    }
}
