//! A server that comes back without its database, or with an older one: *not known* is not *over*. What runs on
//! its agents continues, is adopted, and ends with an outcome.

use crate::bench::{AGENT, Bench, Running, eventually, runs};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn commands(bench: &Bench) -> Vec<Value> {
    let output = bench.ask(&["commands", "--json"]);
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    listing["commands"].as_array().cloned().unwrap_or_default()
}

fn adopted(bench: &Bench) -> Option<Value> {
    commands(bench).into_iter().find(|command| command["adopted"] == true)
}

fn has_status(bench: &Bench, status: &str) -> bool {
    adopted(bench).is_some_and(|command| command["status"] == status)
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// The agent, with its token in a file.
fn agent(bench: &Bench, token: &Path) -> Running {
    let mut command = Command::new(AGENT);
    command
        .args(["run", "--server", &bench.url(), "--name", "ada", "--token-file"])
        .arg(token)
        .arg("--state-dir")
        .arg(bench.folder.path().join("ada"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(bench.folder.path().join("ada.log")).unwrap());
    Running(command.spawn().unwrap())
}

fn start(bench: &Bench, text: &str) -> Running {
    let mut exec = bench.exec_command("ada", &[], text);
    Running(exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn database(bench: &Bench) -> [PathBuf; 3] {
    ["onsembl.db", "onsembl.db-wal", "onsembl.db-shm"].map(|name| bench.data().join(name))
}

fn kill_server(bench: &mut Bench) {
    bench.server.take().expect("running").signal("-KILL");
}

fn lose_database(bench: &Bench) {
    for file in database(bench) {
        let _ = fs::remove_file(file);
    }
}

/// Writes a line a tenth of a second until it is told to end, and then ends with 7.
fn writer(progress: &Path, end: &Path) -> String {
    let (progress, end) = (progress.display(), end.display());
    format!(
        "n=0; while [ ! -e {end} ]; do n=$((n+1)); echo line $n; echo $n >> {progress}; sleep 0.1; done; exit 7"
    )
}

struct World {
    bench: Bench,
    _agent: Running,
    _exec: Running,
    token: PathBuf,
    progress: PathBuf,
    end: PathBuf,
}

impl World {
    fn with(prepare: impl FnOnce(&mut Bench)) -> Self {
        let mut bench = Bench::start();
        let token = bench.folder.path().join("token");
        fs::write(&token, &bench.agent_token).unwrap();
        let agent = agent(&bench, &token);
        bench.await_status("ada", "online");
        prepare(&mut bench);
        let folder = bench.folder.path();
        let (progress, end) = (folder.join("progress"), folder.join("end"));
        let exec = start(&bench, &writer(&progress, &end));
        eventually("it writes", || lines(&progress) > 3);
        Self { bench, _agent: agent, _exec: exec, token, progress, end }
    }

    /// The server dies, and comes back with an empty database. Whether it still knows the tokens that it made
    /// does not matter: there are new ones.
    fn lose_database(&mut self) {
        kill_server(&mut self.bench);
        lose_database(&self.bench);
        self.bench.start_server();
        self.bench.dashboard_token = self.bench.token("dashboard");
        fs::write(&self.token, self.bench.token("agent")).unwrap();
    }

    /// That the command continued and is adopted, and its outcome is recorded.
    fn goes_on_to_its_end(&self) {
        let Self { bench, progress, end, .. } = self;
        eventually("it is adopted and shown to run", || has_status(bench, "running"));
        let before = lines(progress);
        eventually("it writes on", || lines(progress) > before + 3);
        let id = adopted(bench).unwrap()["command_id"].as_str().unwrap().to_owned();
        assert_eq!(commands(bench).len(), 1, "it is neither sent again nor listed twice");
        let cause = bench.ask(&["commands", &id, "--json"]);
        let cause = String::from_utf8_lossy(&cause.stdout).into_owned();
        assert!(cause.contains("adopted: its agent has it"), "{cause}");
        fs::write(end, "").unwrap();
        eventually("its end is recorded", || has_status(bench, "failed"));
        assert_eq!(adopted(bench).unwrap()["exit_code"], 7);
        let output = bench.ask(&["output", &id]);
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = lines(progress);
        assert!(output.contains(&format!("line {last}\n")), "its last line is stored: {output}");
        let numbers = fs::read_to_string(progress).unwrap();
        let numbers: Vec<usize> = numbers.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "it ran once");
    }
}

#[test]
fn a_server_without_its_database_adopts_what_its_agents_run() {
    let mut world = World::with(|_| {});
    world.lose_database();
    world.goes_on_to_its_end();
    let listed = world.bench.ask(&["commands"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("(adopted: unknown)"), "{listed}");
}

#[test]
fn a_server_with_an_older_database_adopts_what_was_begun_since() {
    let mut world = World::with(|bench| {
        kill_server(bench);
        let old = bench.folder.path().join("old");
        fs::create_dir(&old).unwrap();
        for file in database(bench) {
            if file.exists() {
                let _ = fs::copy(&file, old.join(file.file_name().unwrap())).unwrap();
            }
        }
        bench.start_server();
        bench.await_status("ada", "online");
    });
    kill_server(&mut world.bench);
    lose_database(&world.bench);
    for entry in fs::read_dir(world.bench.folder.path().join("old")).unwrap().flatten() {
        let _ = fs::copy(entry.path(), world.bench.data().join(entry.file_name())).unwrap();
    }
    world.bench.start_server();
    world.goes_on_to_its_end();
}

#[test]
fn an_adopted_command_can_be_cancelled_and_stopped() {
    for order in ["cancel", "stop"] {
        let mut world = World::with(|_| {});
        world.lose_database();
        let bench = &world.bench;
        eventually("it is adopted", || has_status(bench, "running"));
        let id = adopted(bench).unwrap()["command_id"].as_str().unwrap().to_owned();
        let ordered = match order {
            "cancel" => bench.ask(&["cancel", &id]),
            _ => bench.ask(&["stop", "ada", "--reason", "a test"]),
        };
        assert!(ordered.status.success(), "{ordered:?}");
        eventually("it is gone", || has_status(bench, "cancelled"));
        assert!(!runs(&world.progress.display().to_string()), "{order}");
    }
}

#[test]
fn with_the_tokens_void_too_the_agent_keeps_its_work_and_is_back_with_a_new_token() {
    let mut bench = Bench::start();
    let token = bench.folder.path().join("token");
    fs::write(&token, &bench.agent_token).unwrap();
    let mut agent = agent(&bench, &token);
    bench.await_status("ada", "online");
    let (progress, end) = (bench.folder.path().join("progress"), bench.folder.path().join("end"));
    let _exec = start(&bench, &writer(&progress, &end));
    eventually("it writes", || lines(&progress) > 3);
    kill_server(&mut bench);
    fs::remove_dir_all(bench.data()).unwrap();
    bench.start_server();
    bench.dashboard_token = bench.token("dashboard");
    eventually("the token is refused", || bench.log("ada.log").contains("refused the token"));
    let before = lines(&progress);
    eventually("it writes on", || lines(&progress) > before + 3);
    assert!(agent.0.try_wait().unwrap().is_none(), "{}", bench.log("ada.log"));
    fs::write(&token, bench.token("agent")).unwrap();
    eventually("it is adopted", || has_status(&bench, "running"));
    fs::write(&end, "").unwrap();
    eventually("its end is recorded", || has_status(&bench, "failed"));
}

#[test]
fn a_stop_outlives_the_database_that_knew_it() {
    let mut bench = Bench::start();
    let token = bench.folder.path().join("token");
    fs::write(&token, &bench.agent_token).unwrap();
    let _agent = agent(&bench, &token);
    bench.await_status("ada", "online");
    assert!(bench.ask(&["stop", "ada", "--reason", "a test"]).status.success());
    kill_server(&mut bench);
    lose_database(&bench);
    bench.start_server();
    bench.dashboard_token = bench.token("dashboard");
    fs::write(&token, bench.token("agent")).unwrap();
    let shown = || {
        let listed = bench.ask(&["agents"]);
        String::from_utf8_lossy(&listed.stdout).into_owned()
    };
    eventually("it is back, and still stopped", || shown().contains("stopped"));
    let refused = bench.exec("ada", "true");
    assert!(!refused.status.success(), "{refused:?}");
    assert!(bench.ask(&["release", "ada"]).status.success());
    eventually("it works again", || bench.exec("ada", "true").status.success());
}
