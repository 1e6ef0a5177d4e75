//! What the logs of the real binaries say at their default level, and in which form.

use crate::bench::{AGENT, Bench, FAST, Running, eventually};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

fn agent(log: &Path, url: &str, state: &Path, token: &str) -> Command {
    let mut command = Command::new(AGENT);
    command
        .args(["run", "--server", url, "--name", "dev", "--state-dir"])
        .arg(state)
        .env("ONSEMBL_TOKEN", token)
        .env_remove("ONSEMBL_LOG")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(log).unwrap());
    command
}

fn running(mut command: Command) -> Running {
    Running(command.spawn().expect("the agent can be run"))
}

#[test]
fn a_server_warns_of_an_agent_that_it_turns_away_once_a_minute() {
    let mut bench = Bench::with(FAST, &[]);
    bench.server_log = "info";
    bench.server = None;
    bench.start_server();
    let log = || bench.log("server.log");
    let folder = bench.folder.path();
    // Twice, as it would come back after 30 s.
    for n in 0..2 {
        let own = folder.join(format!("away{n}.log"));
        let _agent = running(agent(&own, &bench.url(), &folder.join("away"), "nonsense"));
        eventually("the agent is refused", || {
            std::fs::read_to_string(&own).unwrap().contains("cause=\"token-unknown\"")
        });
    }
    eventually("the server says so", || log().contains("was refused"));
    let text = log();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("was refused")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains(" WARN "), "{text}");
    for part in ["cause=\"unauthorized\"", "peer=\"127.0.0.1:", "more=0", "invalid token"] {
        assert!(lines[0].contains(part), "{part}: {text}");
    }
}

#[test]
fn an_agent_warns_of_dials_that_fail_once_a_minute_for_each_cause() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = folder.path().join("log");
    let mut agent = agent(&log, &format!("http://{free}"), &folder.path().join("s"), "t");
    let _ = agent.env("ONSEMBL_LOG", "debug");
    let _agent = running(agent);
    let text = || std::fs::read_to_string(&log).unwrap();
    // Several dials: the connection line comes with each.
    eventually("it dials again", || text().matches("status=\"reconnecting\"").count() >= 4);
    let all = text();
    let warnings: Vec<_> = all.lines().filter(|line| line.contains(" WARN ")).collect();
    assert_eq!(warnings.len(), 1, "{all}");
    for part in ["cause=\"connect-refused\"", "(os error 111)", &free.to_string()] {
        assert!(warnings[0].contains(part), "{part}: {all}");
    }
}

#[test]
fn lines_are_json_if_that_is_asked_for() {
    let mut bench = Bench::with(FAST, &["--log-format", "json"]);
    let folder = bench.folder.path().to_owned();
    let log = folder.join("json.log");
    let mut command = agent(&log, &bench.url(), &folder.join("json"), &bench.agent_token);
    command.args(["--log-format", "json"]);
    let own = running(command);
    let _ = bench.await_status("dev", "online");
    drop(own);
    bench.server = None;
    for text in [bench.log("server.log"), bench.log("json.log")] {
        assert!(text.lines().count() > 2, "{text}");
        for line in text.lines() {
            let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            for name in ["time", "level", "target", "message"] {
                assert!(object[name].is_string(), "{name}: {line}");
            }
            assert!(object["fields"].is_object(), "{line}");
        }
    }
}

#[test]
fn the_option_goes_before_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = |variable: &str, option: &[&str], wanted: &str| {
        let log = folder.path().join("log");
        let url = format!("http://{free}");
        let mut command = agent(&log, &url, &folder.path().join("s"), "t");
        command.env("RUST_LOG", variable).args(option);
        let own = running(command);
        eventually(wanted, || std::fs::read_to_string(&log).unwrap().contains(wanted));
        drop(own);
        std::fs::read_to_string(&log).unwrap()
    };
    let by_variable = said("debug", &[], "dial failed again");
    assert!(by_variable.contains("DEBUG"));
    let by_option = said("debug", &["--log", "warn"], "dial failed");
    assert!(!by_option.contains("DEBUG") && !by_option.contains("INFO"), "{by_option}");
    let unread = said("a=b=c=d", &[], "dial failed");
    assert!(unread.contains("RUST_LOG cannot be read") && unread.contains("INFO"), "{unread}");
}

#[test]
fn a_server_warns_of_a_certificate_that_is_about_to_end() {
    use onsembl_protocol::time::WallTime;
    use std::time::{SystemTime, UNIX_EPOCH};

    let files = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| files.path().join(name));
    let write = |days: u64| {
        let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let ends = WallTime::from_unix_millis((ends + days * 24 * 3_600_000) as i64).to_string();
        let [year, month, day] = [0..4, 5..7, 8..10].map(|part| ends[part].parse::<u32>().unwrap());
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year as i32, month as u8, day as u8);
        let pair = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
    };
    write(100);
    let [cert_path, key_path] = [&cert, &key].map(|path| path.to_str().unwrap().to_owned());
    let bench = Bench::with(FAST, &["--tls-cert", &cert_path, "--tls-key", &key_path]);
    assert!(!bench.log("server.log").contains("about to expire"));
    // While it runs, and at once.
    write(5);
    bench.server().signal("-HUP");
    eventually("it is warned of", || bench.log("server.log").contains("about to expire"));
    let log = bench.log("server.log");
    let line = log.lines().find(|line| line.contains("about to expire")).unwrap();
    assert!(
        line.contains(" WARN ") && line.contains("cert.pem") && line.contains("left=\"4days"),
        "{line}"
    );
    drop(bench);
    let bench = Bench::with(FAST, &["--tls-cert", &cert_path, "--tls-key", &key_path]);
    eventually("at the start too", || bench.log("server.log").contains("about to expire"));
}
