//! Real processes, run by `/bin/sh` and watched through the public interface.
//!
//! No test sleeps to synchronise: a script says when it is ready, and each wait is for a condition
//! with a deadline far beyond what a loaded machine needs.

// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod ending;
mod inner;
mod output;
mod pressure;
mod starting;
mod terminal;

use onsembl_agent_ref::process::{ProcessEvent, ProcessHandle, ProcessSpec, spawn};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{Exit, Stream};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use std::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The deadline of every wait.
const PATIENCE: Duration = Duration::from_secs(60);
/// A grace that no test waits for.
const LONG_GRACE: Duration = Duration::from_secs(3600);

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A started process and what was received of it.
struct Run {
    handle: ProcessHandle,
    events: mpsc::Receiver<ProcessEvent<CommandId>>,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    largest: usize,
}

#[derive(Debug)]
struct Done {
    exit: Exit,
    group_empty: bool,
    open: Vec<Stream>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    largest: usize,
}

impl Done {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

fn start(text: &str) -> Run {
    start_spec(&ProcessSpec::shell(text), 16)
}

fn start_spec(spec: &ProcessSpec, capacity: usize) -> Run {
    let (sender, events) = mpsc::channel(capacity);
    let handle = spawn(spec, CommandId::new("cmd-1"), sender).unwrap();
    Run { handle, events, seen: Seen::default() }
}

impl Run {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.handle.pid()).unwrap()).unwrap()
    }

    fn group_is_gone(&self) -> bool {
        living_of_group(self.pid()).is_empty()
    }

    fn take(&mut self, event: ProcessEvent<CommandId>) -> Option<(Exit, bool, Vec<Stream>)> {
        match event {
            ProcessEvent::Output { key, stream, bytes } => {
                assert_eq!(key, CommandId::new("cmd-1"));
                assert!(!bytes.is_empty());
                self.seen.largest = self.seen.largest.max(bytes.len());
                match stream {
                    Stream::Stdout => self.seen.stdout.extend_from_slice(&bytes),
                    Stream::Stderr => self.seen.stderr.extend_from_slice(&bytes),
                    Stream::Terminal => panic!("no terminal runs here"),
                }
                None
            }
            ProcessEvent::Ended { key, exit, group_empty, open, .. } => {
                assert_eq!(key, CommandId::new("cmd-1"));
                Some((exit, group_empty, open))
            }
            other @ (ProcessEvent::Cleared { .. }
            | ProcessEvent::Program { .. }
            | ProcessEvent::EndedUnwatched { .. }) => {
                panic!("{other:?} before its end")
            }
        }
    }

    /// Takes output until stdout holds `text`.
    async fn says(&mut self, text: &str) {
        while !self.seen.stdout.windows(text.len()).any(|w| w == text.as_bytes()) {
            let event = soon(text, self.events.recv()).await.expect("ended silently");
            assert_eq!(self.take(event), None, "ended before it said {text:?}");
        }
    }

    /// Takes everything to the end, and checks that there is one end and nothing behind it, unless something
    /// lives on.
    async fn done(mut self) -> Done {
        let done = self.ended().await;
        if done.group_empty {
            assert!(soon("the close", self.events.recv()).await.is_none(), "came after the end");
        }
        done
    }

    /// Takes everything to the end.
    async fn ended(&mut self) -> Done {
        loop {
            let event = soon("an event", self.events.recv()).await.expect("no end was told");
            if let Some((exit, group_empty, open)) = self.take(event) {
                let Seen { stdout, stderr, largest } = std::mem::take(&mut self.seen);
                return Done { exit, group_empty, open, stdout, stderr, largest };
            }
        }
    }

    /// Nothing is left of it: behind its end, and last.
    async fn cleared(mut self) {
        let event = soon("the clearing", self.events.recv()).await;
        assert_eq!(event, Some(ProcessEvent::Cleared { key: CommandId::new("cmd-1") }));
        assert!(soon("the close", self.events.recv()).await.is_none(), "came after that");
    }
}

/// The living processes of a group, by `ps`: an independent observation.
fn living_of_group(group: Pid) -> Vec<String> {
    let output = Command::new("ps").args(["-e", "-o", "pgid=,stat=,pid=,args="]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| {
            let mut fields = line.split_whitespace();
            fields.next() == Some(&group.to_string()) && !fields.next().unwrap().starts_with('Z')
        })
        .map(str::to_owned)
        .collect()
}

/// Whether a process with this command line lives, by `ps`.
fn lives(arguments: &str) -> bool {
    let output = Command::new("ps").args(["-e", "-o", "stat=,args="]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().any(|line| {
        let (state, line) = line.trim().split_once(char::is_whitespace).unwrap_or_default();
        !state.starts_with('Z') && line.trim() == arguments
    })
}

/// Removes what a test left running on purpose.
fn sweep(group: Pid) {
    match kill_process_group(group, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => panic!("cannot clean up {group}: {errno}"),
    }
}
