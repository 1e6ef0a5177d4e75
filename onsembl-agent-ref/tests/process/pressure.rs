//! Back-pressure: a consumer that does not take, a pause, and what is lost when neither ends well.

use super::*;
use std::path::Path;
use tempfile::TempDir;

/// What a pipe holds on Linux, unless told otherwise.
const PIPE: u64 = 64 * 1024;

/// Writes 4 KiB at a time and notes each success in the file `progress`.
const COUNTING: &str = "i=0; while :; do head -c 4096 /dev/zero; i=$((i+4096)); echo $i > next; mv next progress; done";

fn counting(capacity: usize) -> (Run, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let spec = ProcessSpec {
        working_directory: Some(dir.path().to_owned()),
        ..ProcessSpec::shell(COUNTING)
    };
    (start_spec(&spec, capacity), dir)
}

fn written(dir: &Path) -> u64 {
    let text = std::fs::read_to_string(dir.join("progress")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Waits until nothing was written for a while, in which an unhindered process writes megabytes.
async fn stands_still(dir: &Path) -> u64 {
    soon("the process to block", async {
        let mut before = written(dir);
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let now = written(dir);
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    })
    .await
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_stops_the_process() {
    let (mut run, dir) = counting(2);
    let stood = stands_still(dir.path()).await;
    let bound = PIPE + 3 * 16 * 1024;
    assert!(stood <= bound, "{stood} bytes were written, of {bound} that have room");
    while run.seen.stdout.len() < 1 << 20 {
        let event = soon("more", run.events.recv()).await.unwrap();
        assert_eq!(run.take(event), None);
    }
    assert!(written(dir.path()) > bound, "it went on when we took");
    run.handle.kill();
    assert!(run.done().await.group_empty);
}

#[tokio::test]
async fn a_pause_stops_the_process_and_a_resume_lets_it_go_on() {
    let (mut run, dir) = counting(1024);
    while run.seen.stdout.len() < 64 * 1024 {
        let event = soon("output", run.events.recv()).await.unwrap();
        assert_eq!(run.take(event), None);
    }
    run.handle.pause_reading();
    let stood = stands_still(dir.path()).await;
    while let Ok(event) = run.events.try_recv() {
        assert_eq!(run.take(event), None);
    }
    let read = run.seen.stdout.len() as u64;
    assert!(stood <= read + PIPE, "{stood} bytes were written, {read} read");
    assert_eq!(written(dir.path()), stood, "it wrote on although nothing is read");
    assert!(run.events.try_recv().is_err(), "read during the pause");

    run.handle.resume_reading();
    let more = run.seen.stdout.len() + (1 << 20);
    while run.seen.stdout.len() < more {
        let event = soon("more", run.events.recv()).await.unwrap();
        assert_eq!(run.take(event), None);
    }
    run.handle.kill();
    assert!(run.done().await.group_empty);
}

#[tokio::test]
async fn cancel_acts_during_a_pause_and_the_bytes_in_the_pipe_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ProcessSpec {
        working_directory: Some(dir.path().to_owned()),
        ..ProcessSpec::shell("printf %050000d 7; echo tail >&2; echo > ready; sleep 1000")
    };
    let mut run = start_spec(&spec, 1);
    run.handle.pause_reading();
    until("the process", || dir.path().join("ready").exists()).await;
    run.handle.cancel(LONG_GRACE);
    until("the group to end", || run.group_is_gone()).await;
    assert!(
        !matches!(run.events.try_recv(), Ok(ProcessEvent::Ended { .. })),
        "the end was told before the output"
    );
    // Whatever was taken by that look was read before the pause came through.
    let looked_away = run.events.is_empty();
    run.handle.resume_reading();
    let done = run.done().await;
    assert!(looked_away);
    assert_eq!(done.stdout.len(), 50_000);
    assert_eq!(done.stderr, b"tail\n");
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(15), true));
}

#[tokio::test]
async fn cancel_acts_while_nobody_takes() {
    let (run, dir) = counting(1);
    let stood = stands_still(dir.path()).await;
    run.handle.cancel(LONG_GRACE);
    until("the group to end", || run.group_is_gone()).await;
    let done = run.done().await;
    assert!(done.stdout.len() as u64 >= stood, "{} of {stood}", done.stdout.len());
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(15), true));
}

#[tokio::test]
async fn silent_processes_take_no_room_from_others() {
    let (sender, mut events) = mpsc::channel(1);
    let silent: Vec<_> = (0..20)
        .map(|key| spawn(&ProcessSpec::shell("sleep 1000"), key, sender.clone()).unwrap())
        .collect();
    let _loud = spawn(&ProcessSpec::shell("seq 1 100000"), 99, sender.clone()).unwrap();
    drop(sender);
    let mut bytes_seen = 0;
    loop {
        match soon("the loud one", events.recv()).await.unwrap() {
            ProcessEvent::Output { key, bytes, .. } => {
                assert_eq!(key, 99);
                bytes_seen += bytes.len();
            }
            ProcessEvent::Ended { key, exit, .. } => {
                assert_eq!((key, exit), (99, Exit::Code(0)));
                break;
            }
            other @ (ProcessEvent::Cleared { .. }
            | ProcessEvent::Program { .. }
            | ProcessEvent::EndedUnwatched { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!(bytes_seen, 588_895);
    silent.iter().for_each(ProcessHandle::kill);
    for _ in 0..20 {
        let end = soon("a silent one", events.recv()).await.unwrap();
        assert!(matches!(end, ProcessEvent::Ended { exit: Exit::Signal(9), .. }), "{end:?}");
    }
    assert!(soon("the close", events.recv()).await.is_none());
}

#[tokio::test]
async fn a_dropped_handle_leaves_the_process_alone_and_ends_its_pause() {
    let (sender, mut events) = mpsc::channel(4);
    let handle = spawn(&ProcessSpec::shell("seq 1 100000; exit 6"), (), sender).unwrap();
    handle.pause_reading();
    drop(handle);
    let mut bytes_seen = 0;
    loop {
        match soon("an event", events.recv()).await.unwrap() {
            ProcessEvent::Output { bytes, .. } => bytes_seen += bytes.len(),
            ProcessEvent::Ended { exit, .. } => {
                assert_eq!(exit, Exit::Code(6));
                break;
            }
            other @ (ProcessEvent::Cleared { .. }
            | ProcessEvent::Program { .. }
            | ProcessEvent::EndedUnwatched { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!(bytes_seen, 588_895);
}

#[tokio::test]
async fn a_dropped_consumer_leaves_the_process_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ProcessSpec {
        working_directory: Some(dir.path().to_owned()),
        ..ProcessSpec::shell("seq 1 100000 && echo > survived")
    };
    let run = start_spec(&spec, 1);
    drop(run.events);
    until("the process", || dir.path().join("survived").exists()).await;
}
