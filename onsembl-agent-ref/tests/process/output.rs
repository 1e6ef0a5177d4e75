//! Output: every byte, in order, of both streams.

use super::*;
use onsembl_agent_ref::process::CHUNK_BYTES;

#[tokio::test]
async fn both_streams_are_identical_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let every_byte: Vec<u8> = (0..=255).collect();
    let out: Vec<u8> = every_byte.repeat(700);
    let err: Vec<u8> = every_byte.iter().rev().copied().collect::<Vec<_>>().repeat(300);
    std::fs::write(dir.path().join("out"), &out).unwrap();
    std::fs::write(dir.path().join("err"), &err).unwrap();
    let spec = ProcessSpec {
        working_directory: Some(dir.path().to_owned()),
        ..ProcessSpec::shell("cat err >&2 & cat out; wait")
    };
    let done = start_spec(&spec, 2).done().await;
    assert_eq!(done.exit, Exit::Code(0));
    assert!(done.stdout == out, "stdout differs ({} bytes)", done.stdout.len());
    assert!(done.stderr == err, "stderr differs ({} bytes)", done.stderr.len());
}

#[tokio::test]
async fn a_script_with_the_line_ends_of_windows_is_one_for_the_shell() {
    let done = start("printf a\r\nif true\r\nthen printf b\r\nfi\r\n").done().await;
    assert_eq!((done.exit, done.text()), (Exit::Code(0), "ab"));
}

#[tokio::test]
async fn twenty_megabytes_arrive_complete_and_in_order() {
    let done = start("seq 1 2850000").done().await;
    let mut expected = String::with_capacity(22 << 20);
    for number in 1..=2_850_000 {
        expected.push_str(&number.to_string());
        expected.push('\n');
    }
    assert!(expected.len() > 20_000_000);
    assert!(done.stdout == expected.as_bytes(), "{} of {}", done.stdout.len(), expected.len());
    assert!(done.largest <= CHUNK_BYTES);
    assert_eq!((done.exit, done.group_empty), (Exit::Code(0), true));
}

#[tokio::test]
async fn a_flooding_stream_does_not_starve_the_other() {
    // The flood never ends by itself, so the line on stderr must get through beside it.
    let mut run = start("yes & echo here >&2; wait");
    while run.seen.stderr.is_empty() {
        let event = soon("stderr", run.events.recv()).await.unwrap();
        assert_eq!(run.take(event), None);
    }
    run.handle.kill();
    let done = run.done().await;
    assert_eq!(done.stderr, b"here\n");
    assert!(done.group_empty);
}

#[tokio::test]
async fn output_comes_while_the_process_runs() {
    let mut run = start("echo first; sleep 1000");
    run.says("first\n").await;
    assert!(!run.group_is_gone());
    run.handle.kill();
    assert_eq!(run.done().await.exit, Exit::Signal(9));
}

#[tokio::test]
async fn what_was_written_just_before_the_exit_is_there() {
    for _ in 0..50 {
        let done = start("printf %060000d 7; printf tail >&2; exit 4").done().await;
        assert_eq!(done.stdout.len(), 60_000);
        assert_eq!(done.stderr, b"tail");
        assert_eq!(done.exit, Exit::Code(4));
    }
}
