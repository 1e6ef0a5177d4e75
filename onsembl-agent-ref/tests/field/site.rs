//! A server and its agents, with the connection between them set up by each case, and what users see of them.

use crate::bench::{AGENT, Bench, Running, eventually};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

impl Bench {
    /// An agent that dials `url`, with the default log level.
    pub fn agent_at(&self, url: &str, name: &str) -> Command {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{name}.log")))
            .unwrap();
        let mut command = Command::new(AGENT);
        command
            .args(["run", "--server", url, "--name", name, "--state-dir"])
            .arg(self.state_dir(name))
            .env("ONSEMBL_TOKEN", &self.agent_token)
            .env("ONSEMBL_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn start_agent_at(&self, url: &str, name: &str) -> Running {
        Running(self.agent_at(url, name).spawn().expect("the agent can be run"))
    }

    /// The output of `onsembl-agent status`.
    pub fn status(&self, name: &str) -> Value {
        let said = Command::new(AGENT)
            .args(["status", "--json", "--state-dir"])
            .arg(self.state_dir(name))
            .output()
            .expect("the agent can be run");
        serde_json::from_slice(&said.stdout).unwrap_or_default()
    }

    /// Waits until both the log and the status of the agent contain this, at their default verbosity.
    pub fn tells_why(&self, name: &str, why: &str) {
        let log = || self.log(&format!("{name}.log"));
        let status = || self.status(name)["because"].as_str().unwrap_or_default().to_owned();
        eventually(&format!("{name} says {why:?}"), || {
            let said = log().contains(why) && status().contains(why);
            if !said && std::env::var_os("ONSEMBL_FIELD_SHOW").is_some() {
                println!("{name}: {}\n{}", status(), log());
            }
            said
        });
    }

    /// A command that runs until it is told to end, and the file to which it writes a count.
    pub fn start_work(&self, agent: &str) -> Work {
        let file = self.folder.path().join(format!("{agent}.beats"));
        let text = format!(
            "n=0; while [ ! -e {0}.end ]; do n=$((n+1)); echo $n; echo $n > {0}; sleep 0.05; done",
            file.display()
        );
        let output = self.folder.path().join(format!("{agent}.work"));
        let errors = self.folder.path().join(format!("{agent}.work-errors"));
        let exec = self
            .exec_command(agent, &["--timeout", "5m"], &text)
            .stdout(std::fs::File::create(&output).unwrap())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .expect("exec can be run");
        eventually("the work begins", || file.exists());
        Work { file, output, errors, exec: Running(exec) }
    }

    /// Asks the server at this URL, as a dashboard.
    pub fn ask_at(&self, url: &str, arguments: &[&str]) -> Output {
        let (verb, rest) = arguments.split_first().expect("a verb");
        self.client()
            .arg(verb)
            .args(["--server", url])
            .args(rest)
            .env("ONSEMBL_TOKEN", &self.dashboard_token)
            .stdin(Stdio::null())
            .output()
            .expect("the server can be run")
    }
}

/// A command whose process must survive every fault of the link.
pub struct Work {
    file: PathBuf,
    output: PathBuf,
    errors: PathBuf,
    exec: Running,
}

impl Work {
    fn beats(&self) -> u64 {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// It is still the same process, and makes progress.
    pub fn goes_on(&self) {
        let before = self.beats();
        eventually("the command makes progress", || self.beats() > before);
    }

    /// Ends it, and checks that no line was lost, none came twice, and that `exec` saw its end. Returns what `exec`
    /// printed to standard error.
    pub fn ends_whole(mut self) -> String {
        std::fs::write(self.file.with_extension("beats.end"), "").unwrap();
        let status = self.exec.wait();
        let said = std::fs::read_to_string(&self.errors).unwrap();
        assert!(status.success(), "{status}: {said}");
        let text = std::fs::read_to_string(&self.output).unwrap();
        let lines: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert!(!lines.is_empty(), "it wrote nothing");
        assert!(lines.iter().copied().eq(1..=lines.len() as u64), "{lines:?}");
        said
    }
}
