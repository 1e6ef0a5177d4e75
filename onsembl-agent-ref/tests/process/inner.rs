//! Tests that need a process with properties of its own: each runs this test binary again, as a
//! child that is set up accordingly and runs one ignored test.

use super::*;
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
    let text = "echo ${ONSEMBL_TOKEN-none} $ONSEMBL_NAME";
    assert_eq!(start(text).done().await.text(), "none ada\n");
    let given = ProcessSpec {
        environment: vec![("ONSEMBL_TOKEN".into(), "given".into())],
        ..ProcessSpec::shell(text)
    };
    assert_eq!(start_spec(&given, 4).done().await.text(), "given ada\n");
}

#[test]
fn orphans_that_come_to_the_agent_are_reaped() {
    run_inner("inner::as_the_parent_of_orphans", &[]);
}

/// As in a container whose process 1 is the agent.
#[tokio::test]
#[ignore = "run by orphans_that_come_to_the_agent_are_reaped"]
async fn as_the_parent_of_orphans() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut run = start("sleep 1000 & sleep 1000 & sleep 1000 & echo up; wait");
    run.says("up\n").await;
    run.handle.cancel(LONG_GRACE);
    let done = run.done().await;
    assert_eq!((done.exit, done.group_empty), (Exit::Signal(15), true));
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    assert!(matches!(waitid(WaitId::All, look), Err(Errno::CHILD)), "dead children are left");
}
