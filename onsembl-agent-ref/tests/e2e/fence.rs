//! `--runner program` as a fence: what a dashboard can put into a request besides its text.

use crate::bench::{Bench, Running, eventually};
use serde_json::{Value, json};
use std::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// Shows all that it gets.
const SHOWS: &str =
    r#"printf '%s|' "$@"; printf '%s|%s|' "${COLOR-none}" "${LD_PRELOAD-none}"; pwd"#;

struct Dashboard {
    socket: WebSocket<TcpStream>,
    agent: String,
}

impl Dashboard {
    fn open(bench: &Bench, agent: &str) -> Self {
        let agent = bench.await_status(agent, "online")["agent_id"].as_str().unwrap().to_owned();
        let mut request =
            format!("ws://{}/ws/dashboard", bench.address).into_client_request().unwrap();
        let bearer = format!("Bearer {}", bench.dashboard_token).parse().unwrap();
        let _ = request.headers_mut().insert("Authorization", bearer);
        let tcp = TcpStream::connect(&bench.address).unwrap();
        let (socket, _) = tungstenite::client(request, tcp).unwrap();
        let mut dashboard = Self { socket, agent };
        dashboard.say("DASHBOARD_INIT", &json!({"extensions": {"features": ["output-bytes"]}}));
        dashboard
    }

    fn say(&mut self, kind: &str, payload: &Value) {
        let text = json!({"type": kind, "id": kind, "timestamp": 1, "payload": payload});
        self.socket.send(Message::text(text.to_string())).unwrap();
    }

    /// Runs a command with this besides its text; how it ended, why, and what it wrote.
    fn run(&mut self, bench: &Bench, id: &str, besides: &Value) -> (String, String, String) {
        let mut request = json!({"commandId": id, "agentId": self.agent, "command": "text"});
        for (name, value) in besides.as_object().unwrap() {
            request[name] = value.clone();
        }
        self.say("COMMAND_REQUEST", &request);
        let shown = || -> Value {
            serde_json::from_slice(&bench.ask(&["commands", id, "--json"]).stdout)
                .unwrap_or_default()
        };
        let is_over = |shown: &Value| shown["ended_at"].is_string();
        eventually("the command is over", || is_over(&shown()));
        let shown = shown();
        let output = bench.ask(&["output", id]);
        let [status, cause] =
            ["status", "cause"].map(|key| shown[key].as_str().unwrap_or("").into());
        (status, cause, String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn agent(bench: &Bench, name: &str, allowed: &[&str]) -> Running {
    let mut command = bench.agent_command(name);
    command.args(["--runner", "program"]).args(allowed);
    command.args(["--", "/bin/sh", "-c", SHOWS, "sh"]).current_dir("/usr");
    Running(command.env_remove("COLOR").spawn().unwrap())
}

#[test]
fn a_program_gets_the_text_and_nothing_besides_it_that_was_not_allowed() {
    let bench = Bench::start();
    let _agent = agent(&bench, "strict", &[]);
    let mut dashboard = Dashboard::open(&bench, "strict");
    let (status, _, output) = dashboard.run(&bench, "text", &json!({}));
    assert_eq!((status.as_str(), output.as_str()), ("completed", "text|none|none|/usr\n"));
    for (id, besides, flag) in [
        ("args", json!({"args": ["-la"]}), "--allow-args"),
        ("env", json!({"env": {"LD_PRELOAD": "/tmp/x.so"}}), "--allow-env LD_PRELOAD"),
        ("directory", json!({"workingDirectory": "/tmp"}), "--allow-directory /tmp"),
    ] {
        let (status, cause, output) = dashboard.run(&bench, id, &besides);
        assert_eq!((status.as_str(), output.as_str()), ("failed", ""), "{id}");
        assert!(cause.contains(flag), "{id}: {cause}");
    }
}

#[test]
fn what_is_allowed_reaches_the_program_and_no_link_leads_out_of_a_directory() {
    let bench = Bench::start();
    let work = bench.folder.path().join("work");
    std::fs::create_dir_all(work.join("inner")).unwrap();
    std::os::unix::fs::symlink("/", work.join("out")).unwrap();
    std::os::unix::fs::symlink("inner", work.join("in")).unwrap();
    let work = std::fs::canonicalize(work).unwrap().display().to_string();
    let allowed = ["--allow-args", "--allow-env", "COLOR", "--allow-directory", &work];
    let _agent = agent(&bench, "lax", &allowed);
    let mut dashboard = Dashboard::open(&bench, "lax");
    let besides = |directory: &str| json!({"args": ["a b"], "env": {"COLOR": "red"}, "workingDirectory": directory});
    for (id, directory) in [("here", work.clone()), ("below", format!("{work}/in"))] {
        let (status, cause, output) = dashboard.run(&bench, id, &besides(&directory));
        assert_eq!(status, "completed", "{cause}");
        let resolved = std::fs::canonicalize(&directory).unwrap().display().to_string();
        assert_eq!(output, format!("a b|text|red|none|{resolved}\n"));
    }
    for (id, directory) in [("link", format!("{work}/out")), ("up", format!("{work}/.."))] {
        let (status, cause, _) = dashboard.run(&bench, id, &besides(&directory));
        assert_eq!(status, "failed", "{id}");
        assert!(cause.contains("--allow-directory"), "{id}: {cause}");
    }
    let (status, cause, _) = dashboard.run(&bench, "env", &json!({"env": {"LD_PRELOAD": "x"}}));
    assert_eq!(status, "failed");
    assert!(cause.contains("--allow-env LD_PRELOAD"), "{cause}");
}

#[test]
fn a_fence_around_what_is_none_is_refused() {
    let bench = Bench::start();
    for arguments in [
        &["--allow-args"][..],
        &["--allow-env", "COLOR", "--runner", "terminal", "--", "cat"],
        &["--allow-directory", "/no/such/folder", "--runner", "program", "--", "cat"],
        &["--allow-env", "A=B", "--runner", "program", "--", "cat"],
    ] {
        let mut refused = Running(bench.agent_command("no").args(arguments).spawn().unwrap());
        assert!(!refused.wait().success(), "{arguments:?}");
    }
    let log = bench.log("no.log");
    assert!(log.contains("apply to --runner program only"), "{log}");
    assert!(log.contains("/no/such/folder"), "{log}");
}
