//! `onsembl-agent doctor` on real servers and agents: each fault in its check, and an agent that is not disturbed.

use crate::bench::{AGENT, Bench, FAST, Running, eventually};
use serde_json::Value;
use std::net::TcpListener;
use std::process::{Command, Output};

fn doctor(bench: &Bench, url: &str, token: &str, more: &[&str]) -> Command {
    let mut command = Command::new(AGENT);
    command
        .args(["doctor", "--json", "--idle-hold", "700ms", "--server", url])
        .args(more)
        .env("ONSEMBL_TOKEN", token)
        .env("HOME", bench.folder.path());
    command
}

/// The verdict of each check.
fn checks(output: &Output) -> Vec<(String, String, String)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let list: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    let word = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let of = |check: &Value| {
        (
            word(check, "check"),
            word(check, "verdict"),
            word(check, "found") + " " + &word(check, "action"),
        )
    };
    list.as_array().unwrap().iter().map(of).collect()
}

fn is(all: &[(String, String, String)], check: &str, verdict: &str, says: &str) {
    let found = all.iter().find(|(name, ..)| name == check).unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!(found.1, verdict, "{found:?} in {all:#?}");
    assert!(found.2.contains(says), "{found:?}");
}

#[test]
fn where_all_is_well_it_says_so_and_disturbs_nobody() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let before = bench.await_status("dev", "online");
    eventually("its beats are recorded", || {
        let file = std::fs::read_to_string(bench.folder.path().join("dev/status.json"));
        let status: Value = serde_json::from_str(&file.unwrap_or_default()).unwrap_or_default();
        status["last_heartbeat_recorded"].is_string()
            && status["beats"]["agent_heartbeats"]["recorded"].as_u64() >= Some(1)
            && status["beats"]["trouble"].is_null()
    });
    let state = bench.folder.path().join("dev");
    let args = ["--state-dir", state.to_str().unwrap()];
    let output = doctor(&bench, &bench.url(), &bench.agent_token, &args).output().unwrap();
    let all = checks(&output);
    for check in
        ["dns", "tcp", "upgrade", "token", "hello", "heartbeat", "large-frame", "idle", "clock"]
    {
        is(&all, check, "PASS", "");
    }
    for check in ["running-agent", "second-instance", "state-directory", "disk", "descriptors"] {
        is(&all, check, "PASS", "");
    }
    for check in ["proxy", "tls"] {
        is(&all, check, "SKIP", "");
    }
    assert_eq!(output.status.code(), Some(0), "{all:#?}");
    let after = bench.agent_view("dev").unwrap();
    assert_eq!(before["since"], after["since"], "the agent's session went on");
    assert_eq!(bench.agents().unwrap().len(), 1, "the doctor is listed nowhere");
}

/// They are in a build of their own (`.ci/planted-faults`), and in none that people use.
#[test]
#[cfg(not(onsembl_faults))]
fn no_fault_is_planted_into_what_people_use() {
    for path in [std::path::PathBuf::from(AGENT), crate::bench::server_binary()] {
        let binary = std::fs::read(&path).unwrap();
        // Names are ASCII, whatever is around them.
        let binary = String::from_utf8_lossy(&binary);
        assert!(binary.contains("onsembl"), "a name that is there is found");
        for name in [
            "ONSEMBL_PLANTED_FAULT",
            "planted-timer",
            "planted-stays",
            "planted-not",
            "planted-record",
        ] {
            let found = binary.contains(name);
            assert!(!found, "{name} in {}", path.display());
        }
    }
}

#[test]
fn an_agent_that_beats_no_more_is_found_by_its_status() {
    let bench = Bench::start();
    let agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    agent.freeze();
    let state = bench.folder.path().join("dev");
    let args = ["--state-dir", state.to_str().unwrap()];
    let output = doctor(&bench, &bench.url(), &bench.agent_token, &args).output().unwrap();
    let all = checks(&output);
    is(&all, "running-agent", "FAIL", "is stopped (state T)");
    is(&all, "hello", "PASS", "");
    assert_eq!(output.status.code(), Some(1), "{all:#?}");
    agent.thaw();
}

#[test]
fn each_fault_is_in_its_check_and_the_exit_code_counts_them() {
    let bench = Bench::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let token = bench.agent_token.as_str();
    for (url, token, failed, says) in [
        (format!("http://{free}"), token, "tcp", "refused"),
        (format!("https://{}", bench.address), token, "tls", "does not speak TLS"),
        (bench.url(), "nonsense", "token", "invalid token"),
        (bench.url(), bench.dashboard_token.as_str(), "token", "for dashboards"),
        ("http://no-such-host.invalid".to_owned(), token, "dns", "no-such-host.invalid"),
    ] {
        let output = doctor(&bench, &url, token, &[]).output().unwrap();
        let all = checks(&output);
        is(&all, failed, "FAIL", says);
        is(&all, "hello", "SKIP", "not reached");
        assert_eq!(output.status.code(), Some(1), "{all:#?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains(token), "{all:#?}");
    }
    let output = Command::new(AGENT).arg("doctor").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_copied_key_is_a_second_instance() {
    let bench = Bench::with(FAST, &[]);
    let agent: Running = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    drop(agent);
    let (state, copy) = (bench.folder.path().join("dev"), bench.folder.path().join("copy"));
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(state.join("agent.key"), copy.join("agent.key")).unwrap();
    let args = ["--state-dir", state.to_str().unwrap()];
    let output = doctor(&bench, &bench.url(), &bench.agent_token, &args).output().unwrap();
    let all = checks(&output);
    is(&all, "second-instance", "FAIL", "copy");
    is(&all, "running-agent", "SKIP", "does not run");
}
