//! A shell with a home directory of its own: what a document calls a machine. Commands are run in it one after another,
//! as somebody types them there.

use crate::bench::{PATIENCE, agent_binary, binary_of_server, demo_binary};
use crate::stand_in::StandIn;
use crate::typed::{Keys, shown_in_the_end};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Before the exit code, behind all that a command says.
const END: &str = "=== end of the command: ";

pub struct Machine {
    shell: Child,
    words: ChildStdin,
    lines: Receiver<String>,
    pub home: PathBuf,
    path: String,
    _systemd: StandIn,
}

/// What came of a command.
#[derive(Debug)]
pub struct Said {
    /// Standard output and standard error, as they came.
    pub text: String,
    pub code: i32,
}

impl Machine {
    pub fn new(home: &Path) -> Self {
        std::fs::create_dir(home).expect("a folder");
        let stand_ins = home.with_extension("stand-ins");
        std::fs::create_dir(&stand_ins).expect("a folder");
        let systemd = StandIn::new(&stand_ins, &demo_binary());
        let agent = agent_binary();
        let programs = agent.parent().expect("a folder");
        for name in ["onsembl", "onsembl-server"] {
            let _ = binary_of_server(name);
        }
        let (programs, stand_ins) = (programs.display(), stand_ins.display());
        let path = format!("{stand_ins}:{programs}:/usr/local/bin:/usr/bin:/bin");
        let mut shell = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .env_clear()
            .envs(environment(&path, home))
            .current_dir(home)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash can be run");
        let (lines_in, lines) = channel();
        let said = BufReader::new(shell.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in said.split(b'\n').map_while(Result::ok) {
                if lines_in.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        let mut words = shell.stdin.take().expect("piped");
        writeln!(words, "exec 2>&1").expect("the shell reads");
        Self { shell, words, lines, home: home.to_owned(), path, _systemd: systemd }
    }

    /// Runs this in a terminal, where these keys are typed, until it has ended. The rows that are shown then.
    pub fn run_in_terminal(&self, command: &str, keys: &[Keys]) -> Vec<String> {
        let shell = pty_process::blocking::Command::new("bash");
        let shell = shell.args(["--noprofile", "--norc", "-c", command]).env_clear();
        let shell = shell.envs(environment(&self.path, &self.home)).env("TERM", "xterm-256color");
        shown_in_the_end(shell.current_dir(&self.home), keys)
    }

    /// Runs this, and waits until it has ended; what it starts in the background goes on.
    pub fn run(&mut self, command: &str) -> Said {
        // It reads nothing of what the shell is to read next.
        writeln!(self.words, "{{ {command}\n}} </dev/null\nprintf '\\n{END}%s\\n' $?")
            .expect("the shell reads");
        let deadline = Instant::now() + PATIENCE;
        let mut text = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|why| panic!("{command}: {why}; it said: {text}"));
            if let Some(code) = line.strip_prefix(END) {
                // The line end before the mark is not the command's.
                let _ = text.pop();
                return Said { text, code: code.parse().expect("a number") };
            }
            text += &line;
            text.push('\n');
        }
    }

    /// Runs this again and again, until it succeeds.
    pub fn until(&mut self, command: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.run(command);
            if said.code == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "it does not come: {command}: {}", said.text);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, signal: &str) -> bool {
        let group = format!("-{}", self.shell.id());
        let sent = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
        sent.is_ok_and(|status| status.success())
    }
}

/// Of every program on a machine.
fn environment(path: &str, home: &Path) -> [(&'static str, String); 4] {
    let home = home.display().to_string();
    // Where there is a service manager of the user, this is set.
    let runtime = format!("{home}.stand-ins");
    [
        ("PATH", path.to_owned()),
        ("HOME", home),
        ("LANG", "C.UTF-8".to_owned()),
        ("XDG_RUNTIME_DIR", runtime),
    ]
}

/// What runs in the background ends what it runs itself, and is given the time for it.
impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.signal("-TERM");
        let _ = self.shell.wait();
        for _ in 0..100 {
            if !self.signal("-0") {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.signal("-KILL");
    }
}
