//! A server and agents in a folder of their own, and ways to look at them and to hurt them.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything that must happen may take. Far above what is promised, because machines that
/// run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const AGENT: &str = env!("CARGO_BIN_EXE_onsembl-agent");

/// The agent's binary: that of this build, or the one in the folder that `ONSEMBL_BIN_DIR` says.
pub fn agent_binary() -> PathBuf {
    match std::env::var_os("ONSEMBL_BIN_DIR") {
        Some(folder) => Path::new(&folder).join("onsembl-agent"),
        None => AGENT.into(),
    }
}

/// The server's binary lies beside the agent's: both belong to this workspace.
pub fn server_binary() -> PathBuf {
    binary_of_server("onsembl-server")
}

/// The same for each of the server's programs.
pub fn binary_of_server(name: &str) -> PathBuf {
    let path = agent_binary().with_file_name(name);
    build(&path, &["--package", "onsembl-server-ref", "--bins"]);
    path
}

/// The demo, an example of the agent.
pub fn demo_binary() -> PathBuf {
    let path = Path::new(AGENT).with_file_name("examples").join("demo");
    build(&path, &["--package", "onsembl-agent-ref", "--example", "demo"]);
    path
}

/// Builds this, unless it is there.
fn build(path: &Path, what: &[&str]) {
    if path.exists() {
        return;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile: &[&str] = if cfg!(debug_assertions) { &[] } else { &["--release"] };
    let built = Command::new(cargo).arg("build").args(what).args(profile).status();
    let built = built.expect("cargo can be run");
    assert!(built.success() && path.exists(), "build it first: {}", path.display());
}

/// A process that does not outlive its test.
pub struct Running(pub Child);

impl Running {
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.0.id().to_string()).status();
        assert!(sent.expect("kill can be run").success());
    }

    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Times of the server under test.
#[derive(Clone, Copy)]
pub struct Times(pub [&'static str; 4]);

/// Fast enough for a test, slow enough for a busy machine.
pub const FAST: Times = Times(["500ms", "1250ms", "3s", "4s"]);

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub server: Option<Running>,
    pub address: String,
    times: Times,
    extra: Vec<String>,
    environment: Option<(&'static str, &'static str)>,
    /// What the server writes into its log.
    pub server_log: &'static str,
    pub scheme: &'static str,
    /// Whom the commands of people trust, if not the authorities of the system.
    pub tls_ca: Option<PathBuf>,
    pub dashboard_token: String,
    pub agent_token: String,
}

impl Bench {
    pub fn start() -> Self {
        Self::with(FAST, &[])
    }

    pub fn with(times: Times, extra: &[&str]) -> Self {
        Self::listening("127.0.0.1:0", times, extra)
    }

    pub fn listening(address: &str, times: Times, extra: &[&str]) -> Self {
        Self::begin(address, times, extra, None)
    }

    /// A server with something more in its environment.
    pub fn with_environment(
        times: Times,
        extra: &[&str],
        more: Option<(&'static str, &'static str)>,
    ) -> Self {
        Self::begin("127.0.0.1:0", times, extra, more)
    }

    fn begin(
        address: &str,
        times: Times,
        extra: &[&str],
        environment: Option<(&'static str, &'static str)>,
    ) -> Self {
        let mut bench = Self {
            environment,
            folder: tempfile::tempdir().expect("a temporary folder"),
            server: None,
            address: address.to_owned(),
            times,
            extra: extra.iter().map(|&e| e.to_owned()).collect(),
            server_log: "debug",
            scheme: "http",
            tls_ca: None,
            dashboard_token: String::new(),
            agent_token: String::new(),
        };
        bench.start_server();
        bench.dashboard_token = bench.token("dashboard");
        bench.agent_token = bench.token("agent");
        bench
    }

    /// Starts the server where it was, or on a free port the first time.
    pub fn start_server(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .expect("a log file");
        self.start_server_with_log(log);
    }

    pub fn start_server_with_log(&mut self, log: std::fs::File) {
        let [interval, stale, timeout, resume] = self.times.0;
        let mut child = Command::new(server_binary())
            .args(["serve", "--listen", &self.address, "--data"])
            .arg(self.data())
            .args(["--heartbeat-interval", interval, "--stale-after", stale])
            .args(["--timeout-after", timeout, "--resume-window", resume])
            .args(&self.extra)
            .env("ONSEMBL_LOG", self.server_log)
            .envs(self.environment)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server can be run");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
        self.address = first.trim().to_owned();
        assert!(self.address.contains(':'), "no address, see {}", self.log("server.log"));
        self.server = Some(Running(child));
    }

    pub fn server(&self) -> &Running {
        self.server.as_ref().expect("the server was started")
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    pub fn token(&self, kind: &str) -> String {
        let made = Command::new(server_binary())
            .args(["token", "--user", "ann", "--kind", kind, "--data"])
            .arg(self.data())
            .output()
            .expect("the server can be run");
        assert!(made.status.success(), "{made:?}");
        let text = String::from_utf8(made.stdout).expect("text");
        assert_eq!(text.lines().count(), 1, "one token and nothing else: {text:?}");
        text.trim().to_owned()
    }

    pub fn agent_command(&self, name: &str) -> Command {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{name}.log")))
            .expect("a log file");
        let mut command = Command::new(agent_binary());
        command
            .args(["run", "--server", &self.url(), "--name", name, "--state-dir"])
            .arg(self.folder.path().join(name))
            .env("ONSEMBL_TOKEN", &self.agent_token)
            .env("ONSEMBL_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    pub fn agent(&self, name: &str) -> Running {
        Running(self.agent_command(name).spawn().expect("the agent can be run"))
    }

    /// A command of people.
    pub fn client(&self) -> Command {
        let mut command = Command::new(server_binary());
        if let Some(ca) = &self.tls_ca {
            command.env("ONSEMBL_TLS_CA", ca);
        }
        command
    }

    pub fn exec_command(&self, agent: &str, arguments: &[&str], command: &str) -> Command {
        let mut exec = self.client();
        exec.args(["exec", "--server", &self.url()])
            .args(arguments)
            .args([agent, "--", command])
            .env("ONSEMBL_TOKEN", &self.dashboard_token)
            .stdin(Stdio::null());
        exec
    }

    pub fn exec(&self, agent: &str, command: &str) -> Output {
        self.exec_command(agent, &[], command).output().expect("the server can be run")
    }

    /// Asks the server by its command line, as a dashboard.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        self.client()
            .args(arguments)
            .args(["--server", &self.url()])
            .env("ONSEMBL_TOKEN", &self.dashboard_token)
            .output()
            .expect("the server can be run")
    }

    /// The same under a terminal of its own, by the program `script`.
    pub fn under_script(&self, words: &str) -> Command {
        let client = self.client();
        let run = format!("{} {words} --server {}", client.get_program().display(), self.url());
        let mut command = Command::new("script");
        command.args(["-qec", &run, "/dev/null"]).env("ONSEMBL_TOKEN", &self.dashboard_token);
        if let Some(ca) = &self.tls_ca {
            command.env("ONSEMBL_TLS_CA", ca);
        }
        command
    }

    /// What the API says of the agents; `None` while the server does not answer.
    pub fn agents(&self) -> Option<Vec<Value>> {
        let listed = self
            .client()
            .args(["agents", "--json", "--server", &self.url()])
            .env("ONSEMBL_TOKEN", &self.dashboard_token)
            .output()
            .expect("the server can be run");
        let listing: Value = serde_json::from_slice(&listed.stdout).ok()?;
        Some(listing["agents"].as_array()?.clone())
    }

    pub fn agent_view(&self, name: &str) -> Option<Value> {
        self.agents()?.into_iter().find(|a| a["name"] == name)
    }

    /// Waits until the agent is shown with this status, and gives what is shown.
    pub fn await_status(&self, name: &str, status: &str) -> Value {
        self.await_view(name, &format!("status {status}"), |view| view["status"] == status)
    }

    pub fn await_view(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < deadline {
            if let Some(view) = self.agent_view(name) {
                if holds(&view) {
                    return view;
                }
                last = Some(view);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never saw {what}; last seen {last:?}\n{}", self.log("server.log"));
    }

    /// Every status the agent ever had, from the append-only history.
    pub fn history(&self, agent_id: &str) -> Vec<(String, String)> {
        let path = self.data().join("onsembl.db");
        let db = rusqlite::Connection::open(path).expect("the database");
        let mut statement = db
            .prepare(
                "SELECT status, because FROM presence_events WHERE agent_id = ?1 ORDER BY version",
            )
            .expect("the history");
        let rows = statement.query_map([agent_id], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }
}

/// Whether a process with this text in its command line runs, `exec` itself aside.
pub fn runs(text: &str) -> bool {
    std::fs::read_dir("/proc").expect("/proc").flatten().any(|entry| {
        let mut line = Vec::new();
        let file = std::fs::File::open(entry.path().join("cmdline"));
        let read = file.and_then(|mut f| f.read_to_end(&mut line));
        // Arguments are separated by zero bytes there.
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        read.is_ok() && line.contains(text) && !line.contains("onsembl")
    })
}

pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
