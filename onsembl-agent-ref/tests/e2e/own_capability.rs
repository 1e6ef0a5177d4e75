//! The example with a capability of its own, before a real server: what it does not do itself, the agent
//! does.

use crate::bench::{Bench, eventually};
use onsembl_agent_ref::engine::{AgentEnd, AgentOptions, TokenSourceKind};
use onsembl_transport::secret::Secret;
use std::process::Output;
use tokio::sync::oneshot;

#[path = "../../examples/own_capability.rs"]
#[expect(dead_code, reason = "a test has no use for its main")]
mod example;

/// The agent of the example, within this process.
struct Counter {
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<AgentEnd>,
}

impl Counter {
    fn start(bench: &Bench) -> Self {
        let token = TokenSourceKind::Literal(Secret::new(bench.agent_token.clone()));
        let mut options = AgentOptions::new(bench.url(), token, "ada");
        options.state_dir = Some(bench.folder.path().join("ada"));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let shutdown = async { drop(stopped.await) };
            runtime.block_on(example::run(options, shutdown)).unwrap()
        });
        bench.await_status("ada", "online");
        Self { stop, thread }
    }

    fn stop(self) -> AgentEnd {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

fn order(bench: &Bench, order: &str) {
    let given = bench.ask(&["control", "ada", order]);
    assert!(given.status.success(), "{given:?}");
}

#[test]
fn a_capability_of_ones_own_is_paused_stopped_audited_and_survives_its_server() {
    let mut bench = Bench::start();
    let counter = Counter::start(&bench);
    let counted = bench.exec("ada", "3");
    assert_eq!((counted.status.code(), &counted.stdout[..]), (Some(0), &b"1\n2\n3\n"[..]));
    let refused = bench.exec("ada", "many");
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    assert!(text(&refused).contains("send a whole number"), "{refused:?}");

    // A server that is killed and comes back loses nothing of what was counted meanwhile.
    let mut exec = bench.exec_command("ada", &[], "30");
    let exec = exec.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let status = bench.folder.path().join("ada/status.json");
    let counts = || std::fs::read_to_string(&status).unwrap().contains("\"running_commands\": 1");
    eventually("it counts", counts);
    bench.server.take().unwrap().signal("-KILL");
    bench.start_server();
    let counted = exec.wait_with_output().unwrap();
    let all: String = (1..=30).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&counted.stdout), all, "{counted:?}");
    bench.await_status("ada", "online");

    order(&bench, "pause");
    bench.await_view("ada", "a pause", |view| view["paused"] == true);
    let mut waits = bench.exec_command("ada", &[], "1").spawn().unwrap();
    eventually("it waits", || text(&bench.ask(&["commands"])).contains("its agent is paused"));
    order(&bench, "resume");
    assert!(waits.wait().unwrap().success());

    let mut long = bench.exec_command("ada", &[], "100000").spawn().unwrap();
    eventually("it counts", counts);
    let report = bench.ask(&["stop", "ada"]);
    assert!(text(&report).contains("everything killed; verified: ada"), "{report:?}");
    assert!(!long.wait().unwrap().success());
    assert_eq!(bench.exec("ada", "1").status.code(), Some(125), "nothing starts");
    assert!(bench.ask(&["release", "ada"]).status.success());
    assert_eq!(bench.exec("ada", "1").stdout, b"1\n");

    let balance = bench.ask(&["audit", "ada"]);
    assert!(balance.status.success(), "{balance:?}");
    assert_eq!(counter.stop(), AgentEnd::Shutdown);
}
