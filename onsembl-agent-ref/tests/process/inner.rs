//! Tests that need a process with properties of its own: each runs this test binary again, as a
//! child that is set up accordingly and runs one ignored test.

use super::*;
use onsembl_agent_ref::process::adopt_orphans;
use rustix::process::{WaitId, WaitIdOptions, waitid};

fn run_inner(test: &str, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_token_of_the_agent_is_not_inherited() {
    run_inner("inner::with_a_token", &[("ONSEMBL_TOKEN", "secret"), ("ONSEMBL_NAME", "ada")]);
}

#[tokio::test]
#[ignore = "run by the_token_of_the_agent_is_not_inherited"]
async fn with_a_token() {
    assert_eq!(std::env::var("ONSEMBL_TOKEN").unwrap(), "secret");
    let text = "echo ${ONSEMBL_TOKEN-none} ${ONSEMBL_NAME-none}";
    assert_eq!(start(text).done().await.text(), "none none\n");
    let given = ProcessSpec {
        environment: vec![("ONSEMBL_TOKEN".into(), "given".into())],
        ..ProcessSpec::shell(text)
    };
    assert_eq!(start_spec(&given, 4).done().await.text(), "given none\n");
}

#[test]
fn the_place_where_the_agent_was_started_is_not_that_of_its_terminal() {
    let place = [
        ("COLUMNS", "200"),
        ("LINES", "70"),
        ("TERM", "xterm-kitty"),
        ("TERM_PROGRAM", "tmux"),
        ("TMUX", "/tmp/tmux-0/default,1,0"),
        ("STY", "1.pts"),
        ("LANG", ""),
        ("LC_ALL", ""),
        ("LC_CTYPE", ""),
        ("COLORTERM", ""),
    ];
    run_inner("inner::started_in_tmux", &place);
}

#[tokio::test]
#[ignore = "run by the_place_where_the_agent_was_started_is_not_that_of_its_terminal"]
async fn started_in_tmux() {
    assert_eq!(std::env::var("COLUMNS").unwrap(), "200");
    let place = "${COLUMNS-none} ${LINES-none} ${TERM_PROGRAM-none} ${TMUX-none} ${STY-none}";
    let script = format!("echo {place} $TERM $COLORTERM $LANG; stty size");
    let (_, _, text) = terminal::open(&script).end().await;
    let expected = "none none none none none xterm-256color truecolor C.UTF-8\r\n30 100\r\n";
    assert_eq!(text, expected);
    assert_eq!(start("echo ${COLUMNS-none} $TERM").done().await.text(), "none xterm-kitty\n");
}

#[test]
fn whatever_a_process_sheds_it_is_found_where_orphans_come_to_the_agent() {
    run_inner("inner::as_a_household", &[]);
}

/// Each way, and all of them behind a parent that has ended.
#[tokio::test]
#[ignore = "run by whatever_a_process_sheds_it_is_found_where_orphans_come_to_the_agent"]
async fn as_a_household() {
    let _reaper = tokio::spawn(adopt_orphans().unwrap());
    let nap = format!("sleep 5000.{}", std::process::id());
    for (n, way) in [
        "NAP &",
        "setsid NAP &",
        "env -i NAP &",
        "setsid env -i NAP &",
        "(NAP &);",
        "(setsid env -i NAP &);",
        "(setsid sh -c '(setsid env -i NAP &)' &);",
        "nohup NAP &",
    ]
    .into_iter()
    .enumerate()
    {
        let nap = format!("{nap}{n}");
        let way = way.replace("NAP", &format!("{nap} >/dev/null 2>&1"));
        for text in [format!("{way} echo up; exec sleep 1000"), format!("{way} echo up")] {
            let mut run = start(&text);
            run.says("up\n").await;
            until(&text, || lives(&nap)).await;
            if text.contains("exec") {
                run.handle.cancel(LONG_GRACE);
                let done = run.done().await;
                assert!(done.group_empty, "{text}: {done:?}");
            } else {
                let done = run.ended().await;
                assert!(!done.group_empty, "{text}: {done:?}");
                assert!(lives(&nap), "{text}");
                run.handle.kill();
                run.cleared().await;
            }
            assert!(!lives(&nap), "{text}");
        }
    }
    until("nobody is left to be buried", has_no_children).await;
}

#[test]
fn a_daemon_is_told_to_be_of_one_of_two_runs_though_it_shed_what_shows_that() {
    run_inner("inner::with_two_runs", &[]);
}

/// Without environment, session and parent, while another run that did the same goes on.
#[tokio::test]
#[ignore = "run by a_daemon_is_told_to_be_of_one_of_two_runs_though_it_shed_what_shows_that"]
async fn with_two_runs() {
    let _reaper = tokio::spawn(adopt_orphans().unwrap());
    let before = limit_of_locks();
    let nap = |n: u32| format!("sleep 5100.{}{n}", std::process::id());
    let text =
        |nap: &str| format!("(setsid env -i {nap} >/dev/null 2>&1 &); echo up; exec sleep 1000");
    let (one, two) = (nap(1), nap(2));
    let (mut first, mut second) = (start(&text(&one)), start(&text(&two)));
    first.says("up\n").await;
    second.says("up\n").await;
    until("both daemons", || lives(&one) && lives(&two)).await;
    first.handle.cancel(LONG_GRACE);
    let done = first.done().await;
    assert!(done.group_empty, "{done:?}");
    assert!(!lives(&one) && lives(&two), "that of the other is left alone");
    assert_eq!(limit_of_locks(), before, "it bears the tag only while it starts one");
    second.handle.kill();
    let done = second.done().await;
    assert!(done.group_empty && !lives(&two), "{done:?}");
}

fn limit_of_locks() -> String {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    limits.lines().find(|line| line.starts_with("Max file locks")).unwrap().to_owned()
}

#[test]
fn one_that_is_born_again_before_each_look_is_never_said_to_have_ended() {
    run_inner("inner::with_a_chain", &[]);
}

/// Each of them starts the next one in a session of its own and ends, faster than all processes are looked through.
#[tokio::test]
#[ignore = "run by one_that_is_born_again_before_each_look_is_never_said_to_have_ended"]
async fn with_a_chain() {
    let _reaper = tokio::spawn(adopt_orphans().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (chain, go) = (dir.path().join("chain"), dir.path().join("go"));
    let next = "test -e \"$1\" || exit 0\nsetsid env -i PATH=\"$PATH\" sh \"$0\" \"$1\" >/dev/null 2>&1 &\n";
    std::fs::write(&chain, next).unwrap();
    std::fs::write(&go, "").unwrap();
    let text = format!("sh '{}' '{}'", chain.display(), go.display());
    let mut run = start(&text);
    let done = run.ended().await;
    assert!(!done.group_empty, "{done:?}");
    run.handle.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let lives = run.events.try_recv();
    let caught = lives.is_ok();
    // It may have been hit. What must not be is that it is said to have ended, and lives.
    if caught {
        let listed = Command::new("ps").args(["-e", "-o", "args="]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(!listed.contains(&chain.display().to_string()), "{listed}");
        return;
    }
    std::fs::remove_file(&go).unwrap();
    run.cleared().await;
}

fn has_no_children() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, look), Err(Errno::CHILD))
}

#[test]
fn orphans_that_come_to_the_agent_are_reaped() {
    run_inner("inner::as_the_parent_of_orphans", &[]);
}

/// As in a container whose process 1 is the agent.
#[tokio::test]
#[ignore = "run by orphans_that_come_to_the_agent_are_reaped"]
async fn as_the_parent_of_orphans() {
    let _reaper = tokio::spawn(adopt_orphans().unwrap());
    let mut run = start("sleep 1000 & sleep 1000 & sleep 1000 & echo up; wait");
    run.says("up\n").await;
    run.handle.cancel(LONG_GRACE);
    let done = run.done().await;
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(15), true));
    until("no dead children are left", has_no_children).await;
    // Those that are in no group of ours, and end after their command.
    let text =
        "for n in 1 2 3; do setsid sleep 0.2 >/dev/null 2>&1 & (sleep 0.2 >/dev/null 2>&1 &); done";
    assert_eq!(start(text).done().await.exit, Exit::Code(0));
    until("no dead children are left", has_no_children).await;
}
