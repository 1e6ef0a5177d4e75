//! Processes that shed what tells whose they are, while more than one command runs; and an agent whose death nobody took.

use crate::bench::{Bench, Running, agent_binary, eventually};
use crate::ends::{all_run, lives, living, nap};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// As a daemon gets away: it has no environment, a session of its own, and its parent has ended. It starts when all
/// commands of a test have: by its time it may be of any of them.
fn daemon(nap: &str) -> String {
    format!("sleep 2; (setsid env -i {nap} >/dev/null 2>&1 &)")
}

/// The same without the tag of its run. Nothing but its being below the agent is left.
fn stray(nap: &str) -> String {
    daemon(&format!("prlimit --locks=unlimited {nap}"))
}

/// Starts a command that goes on.
fn begin(bench: &Bench, text: &str) -> Running {
    let mut exec = bench.exec_command("ada", &[], text);
    Running(exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// The command whose text has this in it.
fn id_of(bench: &Bench, text: &str) -> String {
    let listed = bench.ask(&["commands", "--json"]).stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    let all = listed["commands"].as_array().unwrap();
    let one = all.iter().find(|c| c.to_string().contains(text)).expect("it is listed");
    one["command_id"].as_str().unwrap().to_owned()
}

fn pid_of(nap: &str) -> String {
    let line = nap.replace(' ', "\0") + "\0";
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes.find(|entry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|found| found == line.as_bytes())
    });
    found.unwrap().file_name().into_string().unwrap()
}

/// Two commands, each of which left one, and one that does not end when it is asked to.
#[test]
fn an_agent_that_ends_leaves_no_stray_of_several_commands_and_says_nothing_else() {
    let bench = Bench::start();
    let mut ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let naps: Vec<String> = (70..74).map(nap).collect();
    let slow = format!("trap '' TERM; {}; {}", stray(&naps[0]), naps[1]);
    let quick = format!("{}; exec {}", stray(&naps[2]), naps[3]);
    let _execs = [begin(&bench, &slow), begin(&bench, &quick)];
    all_run(&naps);
    let asked = Instant::now();
    ada.signal("-TERM");
    assert!(ada.wait().success());
    assert_eq!(living(&naps), [""; 0], "{}", bench.log("ada.log"));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let log = bench.log("ada.log");
    assert!(!log.contains("leaving them"), "{log}");
}

#[test]
fn a_cancel_ends_a_daemon_of_its_command_and_not_that_of_another() {
    let bench = Bench::start();
    let _ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let naps: Vec<String> = (74..78).map(nap).collect();
    let texts = [
        format!("{}; {}", daemon(&naps[0]), naps[1]),
        format!("{}; {}", daemon(&naps[2]), naps[3]),
    ];
    let _execs = [begin(&bench, &texts[0]), begin(&bench, &texts[1])];
    all_run(&naps);
    let id = id_of(&bench, &naps[0]);
    let cancelled = bench.ask(&["cancel", &id]);
    assert!(cancelled.status.success(), "{cancelled:?}");
    eventually("it is cancelled", || {
        let why = bench.ask(&["why", &id, "--json"]).stdout;
        String::from_utf8_lossy(&why).contains("\"status\":\"cancelled\"")
    });
    assert_eq!(living(&naps), [&naps[2], &naps[3]], "of the other one nothing is ended");
}

#[test]
fn of_a_stray_that_may_be_of_two_commands_the_cancel_says_which_it_is_and_a_stop_ends_it() {
    let bench = Bench::start();
    let _ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let naps: Vec<String> = (78..81).map(nap).collect();
    let _other = begin(&bench, &naps[2]);
    eventually("the other one runs", || lives(&naps[2]));
    let _exec = begin(&bench, &format!("{}; {}", stray(&naps[0]), naps[1]));
    all_run(&naps);
    let (id, pid) = (id_of(&bench, &naps[0]), pid_of(&naps[0]));
    let _ = bench.ask(&["cancel", &id]);
    let why = || String::from_utf8(bench.ask(&["why", &id]).stdout).unwrap();
    eventually("it is over", || why().contains("It failed"));
    let why = why();
    assert!(why.contains(&format!("process {pid} may be left of it")), "{why}");
    assert!(why.contains("only by an emergency stop or with the agent"), "{why}");
    assert!(lives(&naps[0]));
    let stopped = bench.ask(&["stop", "ada"]);
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    assert_eq!(living(&naps), [""; 0]);
}

#[test]
fn the_successor_of_an_agent_that_was_killed_ends_a_daemon_by_the_tag_of_its_run() {
    let bench = Bench::start();
    let mut ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let naps: Vec<String> = (82..86).map(nap).collect();
    let _execs = [
        begin(&bench, &format!("{}; {}", daemon(&naps[0]), naps[1])),
        begin(&bench, &format!("{}; exec {}", daemon(&naps[2]), naps[3])),
    ];
    all_run(&naps);
    let id = id_of(&bench, &naps[0]);
    ada.signal("-KILL");
    let _ = ada.wait();
    let _again = bench.agent("ada");
    eventually("what it left is ended", || living(&naps).is_empty());
    eventually("its command is lost", || {
        String::from_utf8_lossy(&bench.ask(&["why", &id, "--json"]).stdout).contains("\"lost\"")
    });
}

/// In a container whose process 1 buries nobody.
#[test]
fn a_successor_of_an_agent_whom_nobody_buried_ends_what_that_left() {
    let bench = Bench::start();
    let agent = bench.agent_command("ada");
    let mut command = Command::new("sh");
    command.args(["-c", "\"$@\" & exec sleep 1000", "sh"]).arg(agent_binary());
    command.args(agent.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).env("ONSEMBL_TOKEN", &bench.agent_token);
    let parent = Running(command.spawn().unwrap());
    bench.await_status("ada", "online");
    let nap = nap(81);
    let _exec = begin(&bench, &nap);
    eventually("it runs", || lives(&nap));
    let id = id_of(&bench, &nap);
    let children = format!("/proc/{0}/task/{0}/children", parent.0.id());
    let agent = std::fs::read_to_string(children).unwrap().trim().to_owned();
    assert!(Command::new("kill").args(["-KILL", &agent]).status().unwrap().success());
    let stat = || std::fs::read_to_string(format!("/proc/{agent}/stat")).unwrap();
    eventually("it is a zombie", || stat().contains(") Z "));
    let _ada = bench.agent("ada");
    eventually("what it left is ended", || !lives(&nap));
    eventually("its command is lost", || {
        String::from_utf8_lossy(&bench.ask(&["why", &id, "--json"]).stdout).contains("\"lost\"")
    });
    assert!(stat().contains(") Z "), "nobody has buried it");
    assert_eq!(bench.ask(&["stop", "ada"]).status.code(), Some(0));
}
