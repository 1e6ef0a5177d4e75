//! Ends: exit codes, signals, cancellation, and background processes that outlive the command.

use super::*;
use onsembl_agent_ref::process::{LONGEST_AFTER_EXIT, SILENCE_AFTER_EXIT};
use onsembl_protocol::id::RunMark;

#[tokio::test]
async fn exit_codes_are_the_shells() {
    for (text, code) in [("true", 0), ("exit 3", 3), ("exit 255", 255), ("/no/such/program", 127)] {
        let done = start(text).done().await;
        assert_eq!((done.exit, done.group_empty), (Exit::Code(code), true), "{text}");
    }
}

#[tokio::test]
async fn a_signal_is_told_from_a_code() {
    for (text, signal) in [("kill -KILL $$", 9), ("kill -SEGV $$", 11), ("kill -TERM $$", 15)] {
        assert_eq!(start(text).done().await.exit, Exit::Signal(signal), "{text}");
    }
    assert_eq!(start("exit 137").done().await.exit, Exit::Code(137));
}

#[tokio::test]
async fn cancel_leaves_nobody_of_the_group() {
    let mut run = start("sleep 1000 & echo up; sleep 1000");
    run.says("up\n").await;
    let group = run.pid();
    run.handle.cancel(LONG_GRACE);
    let done = run.done().await;
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(15), true));
    assert_eq!(living_of_group(group), [""; 0]);
}

#[tokio::test]
async fn a_cancelled_process_may_clean_up_and_choose_its_code() {
    let mut run = start("trap 'echo bye; exit 7' TERM; echo up; while :; do :; done");
    run.says("up\n").await;
    run.handle.cancel(LONG_GRACE);
    let done = run.done().await;
    assert_eq!((done.exit, done.text()), (Exit::Code(7), "up\nbye\n"));
    assert!(done.group_empty);
}

#[tokio::test]
async fn a_process_that_ignores_term_is_killed_after_the_grace() {
    let grace = Duration::from_millis(400);
    let mut run = start("trap '' TERM; echo up; while :; do sleep 0.05; done");
    run.says("up\n").await;
    let asked = Instant::now();
    run.handle.cancel(grace);
    run.handle.cancel(Duration::ZERO);
    let done = run.done().await;
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(9), true));
    assert!(asked.elapsed() >= grace, "killed after {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_member_that_ignores_term_gets_the_grace_too_when_its_leader_is_gone() {
    let grace = Duration::from_millis(400);
    let mut run =
        start("(trap '' TERM; echo up; while :; do sleep 0.05; done) >&2 & echo up; wait");
    run.says("up\n").await;
    while run.seen.stderr.is_empty() {
        let event = soon("the member", run.events.recv()).await.unwrap();
        assert_eq!(run.take(event), None);
    }
    let asked = Instant::now();
    run.handle.cancel(grace);
    let done = run.done().await;
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(15), true));
    assert!(asked.elapsed() >= grace, "killed after {:?}", asked.elapsed());
}

#[tokio::test]
async fn kill_does_not_wait_for_a_grace_that_runs() {
    let mut run = start("trap '' TERM; echo up; while :; do sleep 0.05; done");
    run.says("up\n").await;
    run.handle.cancel(LONG_GRACE);
    run.handle.kill();
    let done = run.done().await;
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(9), true));
}

#[tokio::test]
async fn a_stopped_process_hears_that_it_is_cancelled() {
    let mut run = start("echo up; kill -STOP $$; sleep 1000");
    run.says("up\n").await;
    run.handle.cancel(LONG_GRACE);
    assert_eq!(run.done().await.exit, Exit::Signal(15));
}

#[tokio::test]
async fn a_background_process_does_not_hold_up_the_end() {
    let run = start("sleep 1000 & echo done");
    let group = run.pid();
    let started = Instant::now();
    let done = run.done().await;
    assert_eq!((done.exit, done.text()), (Exit::Code(0), "done\n"));
    assert!(!done.group_empty, "the background process lives on");
    assert_eq!(done.open, [Stream::Stdout, Stream::Stderr], "and can write there");
    assert!(started.elapsed() >= SILENCE_AFTER_EXIT);
    assert_eq!(living_of_group(group).len(), 1);
    sweep(group);
}

#[tokio::test]
async fn a_background_process_without_the_pipes_does_not_delay_the_end() {
    let run = start("sleep 1000 >/dev/null 2>&1 & echo done");
    let group = run.pid();
    let done = run.done().await;
    assert_eq!((done.exit, done.group_empty), (Exit::Code(0), false));
    assert_eq!(done.open, [], "its output is whole");
    sweep(group);
}

#[tokio::test]
async fn a_chatty_background_process_does_not_hold_its_command_open() {
    let run = start("(while :; do sleep 0.1; echo t; done) & echo started");
    let group = run.pid();
    let started = Instant::now();
    let done = run.done().await;
    assert!(done.text().starts_with("started\nt\nt\n"), "{}", done.text());
    assert_eq!((done.exit, done.group_empty), (Exit::Code(0), false));
    assert_eq!(done.open, [Stream::Stdout, Stream::Stderr]);
    let within = LONGEST_AFTER_EXIT..LONGEST_AFTER_EXIT + PATIENCE / 2;
    assert!(within.contains(&started.elapsed()), "after {:?}", started.elapsed());
    sweep(group);
}

#[tokio::test]
async fn what_outlives_its_command_can_be_ended_later_wherever_it_went() {
    let nap = format!("sleep 3000.{}", std::process::id());
    // Orphans do not come to this process, so that only a mark tells whose it is.
    let spec = ProcessSpec {
        mark: Some(RunMark::new(format!("ending-{}", std::process::id()))),
        ..ProcessSpec::shell(format!("setsid {nap} >/dev/null 2>&1 & echo $!"))
    };
    let mut run = start_spec(&spec, 4);
    run.says("\n").await;
    until("it left", || lives(&nap)).await;
    let done = run.ended().await;
    assert!(!done.group_empty, "{done:?}");
    assert!(lives(&nap));
    run.handle.kill();
    run.cleared().await;
    assert!(!lives(&nap));
}

#[tokio::test]
async fn what_a_background_process_writes_soon_still_counts() {
    // 1 s of silence is less than the bound; the whole lasts longer than it.
    let done = start("(for i in 1 2 3; do sleep 1; echo late $i; done) & echo early").done().await;
    assert_eq!(done.text(), "early\nlate 1\nlate 2\nlate 3\n");
    assert!(done.group_empty);
}

#[tokio::test]
async fn a_background_process_survives_writing_after_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ProcessSpec {
        working_directory: Some(dir.path().to_owned()),
        ..ProcessSpec::shell(
            "(while [ ! -e go ]; do sleep 0.05; done; seq 1 100000 && echo yes > survived) & :",
        )
    };
    let done = start_spec(&spec, 4).done().await;
    assert_eq!((done.exit, done.group_empty, done.text()), (Exit::Code(0), false, ""));
    std::fs::write(dir.path().join("go"), "").unwrap();
    until("the background process", || dir.path().join("survived").exists()).await;
}

#[tokio::test]
async fn cancel_reaches_a_background_process_whose_leader_is_gone() {
    let mut run = start("sleep 1000 & echo $!");
    run.says("\n").await;
    run.handle.cancel(LONG_GRACE);
    let done = run.done().await;
    assert!(done.group_empty, "{done:?}");
    assert!(matches!(done.exit, Exit::Code(0) | Exit::Signal(15)), "{done:?}");
}

#[tokio::test]
async fn one_that_left_the_group_ends_with_a_cancelled_command() {
    let script = format!("exit=4000.{}; while :; do echo x; done", std::process::id());
    let mut run = start(&format!("setsid sh -c '{script}' & echo up; wait"));
    run.says("x\n").await;
    run.handle.cancel(LONG_GRACE);
    assert!(run.done().await.group_empty);
    assert!(!lives(&format!("sh -c {script}")));
}

#[tokio::test]
async fn one_that_left_the_group_and_ignores_the_signal_is_killed_after_the_grace() {
    let script = format!(
        "exit=4001.{}; trap \"\" TERM; echo x; while :; do sleep 0.05; done",
        std::process::id()
    );
    let mut run = start(&format!("setsid sh -c '{script}' & echo up; wait"));
    run.says("x\n").await;
    let asked = Instant::now();
    run.handle.cancel(Duration::from_millis(400));
    assert!(run.done().await.group_empty);
    assert!(asked.elapsed() >= Duration::from_millis(400));
    assert!(!lives(&format!("sh -c {script}")));
}

#[tokio::test]
async fn orders_after_the_end_do_nothing() {
    let (sender, mut events) = mpsc::channel(4);
    let handle = spawn(&ProcessSpec::shell("exit 5"), 7_u8, sender).unwrap();
    let ended = soon("the end", events.recv()).await.unwrap();
    assert_eq!(
        ended,
        ProcessEvent::Ended {
            key: 7,
            exit: Exit::Code(5),
            group_empty: true,
            unclear: vec![],
            open: vec![]
        }
    );
    handle.cancel(Duration::ZERO);
    handle.kill();
    handle.pause_reading();
    assert!(soon("the close", events.recv()).await.is_none());
}
