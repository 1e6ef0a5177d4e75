//! A server of tmux of this case alone: the terminal that everybody knows, beside ours.

use crate::bench::eventually;
use crate::table::Input;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Programs tell a press of Escape from Alt with a key by the pause behind it.
const BEHIND_ESCAPE: Duration = Duration::from_millis(150);
/// Programs tell Enter from a line within a paste by the pause before it; one that took long to show the paste gets as
/// long again.
const BEFORE_ENTER: Duration = Duration::from_millis(150);
const LONGEST_BEFORE_ENTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Tmux {
    socket: PathBuf,
    configuration: PathBuf,
}

/// What runs in a window of its own.
#[derive(Debug)]
pub struct Pane<'a> {
    tmux: &'a Tmux,
    name: String,
}

impl Tmux {
    pub fn new(folder: &Path) -> Self {
        let configuration = folder.join("tmux.conf");
        let lines = "set -g status off\nset -g remain-on-exit on\nset -s escape-time 0\n";
        std::fs::write(&configuration, lines).expect("a file");
        Self { socket: folder.join("tmux"), configuration }
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).arg("-f").arg(&self.configuration).args(arguments);
        tmux.env_remove("TMUX").stdin(Stdio::null());
        tmux.output().expect("tmux can be run")
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a program in a terminal of this size, with this environment and no other.
    pub fn pane<'a>(
        &self,
        name: &str,
        (columns, rows): (u16, u16),
        folder: &Path,
        environment: impl Iterator<Item = (&'a str, &'a str)>,
        words: &[String],
    ) -> Pane<'_> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let folder = folder.display().to_string();
        let mut arguments = vec!["new-session", "-d", "-s", name, "-x", &columns, "-y", &rows];
        arguments.extend(["-c", &folder, "env", "-i"]);
        let variables: Vec<String> =
            environment.map(|(name, value)| format!("{name}={value}")).collect();
        arguments.extend(variables.iter().map(String::as_str));
        arguments.extend(words.iter().map(String::as_str));
        let _ = self.done(&arguments);
        Pane { tmux: self, name: name.to_owned() }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.ask(&["kill-server"]);
    }
}

impl Pane<'_> {
    pub fn screen(&self) -> String {
        self.tmux.done(&["capture-pane", "-p", "-t", &self.name])
    }

    pub fn resize(&self, (columns, rows): (u16, u16)) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let _ = self.tmux.done(&["resize-window", "-t", &self.name, "-x", &columns, "-y", &rows]);
    }

    pub fn types(&self, input: &Input) {
        match input {
            Input::Text(text) => {
                let (before, begun) = (self.screen(), Instant::now());
                let _ = self.tmux.done(&["set-buffer", "--", text]);
                // As a paste where the program takes pastes.
                let _ = self.tmux.done(&["paste-buffer", "-p", "-t", &self.name]);
                eventually("the text is shown", || self.screen() != before);
                std::thread::sleep(begun.elapsed().clamp(BEFORE_ENTER, LONGEST_BEFORE_ENTER));
                self.key("Enter");
            }
            Input::Keys(keys) => {
                for key in keys.split(' ') {
                    self.key(&name_of(key));
                }
            }
        }
    }

    /// A key by its name in tmux, or a character.
    pub fn key(&self, key: &str) {
        let _ = self.tmux.done(&["send-keys", "-t", &self.name, "--", key]);
        if key == "Escape" {
            std::thread::sleep(BEHIND_ESCAPE);
        }
    }

    pub fn shows(&self, text: &str) {
        let what = format!("{} shows {text:?}", self.name);
        let shown = std::cell::RefCell::new(String::new());
        crate::walk::within(
            &what,
            || {
                *shown.borrow_mut() = self.screen();
                shown.borrow().contains(text)
            },
            || shown.borrow().clone(),
        );
    }
}

impl Drop for Pane<'_> {
    fn drop(&mut self) {
        let _ = self.tmux.ask(&["kill-session", "-t", &self.name]);
    }
}

/// The name that tmux has for a key of ours.
fn name_of(key: &str) -> String {
    match key {
        "enter" => "Enter".to_owned(),
        "escape" => "Escape".to_owned(),
        "up" => "Up".to_owned(),
        "down" => "Down".to_owned(),
        "tab" => "Tab".to_owned(),
        "space" => "Space".to_owned(),
        "backspace" => "BSpace".to_owned(),
        "f1" => "F1".to_owned(),
        other => match other.strip_prefix("ctrl-") {
            Some(letter) => format!("C-{letter}"),
            None => {
                assert_eq!(other.chars().count(), 1, "what does tmux call the key {other:?}?");
                other.to_owned()
            }
        },
    }
}
