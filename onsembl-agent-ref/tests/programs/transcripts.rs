//! The transcripts of docs/WRAP.md: each coding agent wrapped, watched, answered and stopped, as people do it.

use crate::bench::{Bench, FAST, Running};
use crate::coding::{CLAUDE, CODEX, GEMINI};
use crate::needs;
use crate::page::{self, Settled};
use crate::side::Side;
use crate::stand_in::StandIn;
use crate::table::Program;
use crate::walk::within;
use crate::wrapped::{person_binary, screen_of, spawn};
use Step::{Asks, Is, Refused, Shows, Starts};
use std::cell::RefCell;
use std::process::Command;
use std::time::Duration;

/// A screen that has not changed for this long is not being drawn.
const DRAWN: Duration = Duration::from_millis(500);

/// What is done with one program.
#[derive(Debug)]
pub struct Story {
    pub program: &'static Program,
    parts: &'static [Part],
}

/// What goes behind one marker of the page. A story may come back to a marker.
#[derive(Debug)]
struct Part {
    marker: &'static str,
    steps: &'static [Step],
}

#[derive(Debug)]
enum Step {
    /// An agent of this name is started with these arguments.
    Starts(&'static str, &'static [&'static str]),
    /// A command of people, which succeeds.
    Asks(&'static [&'static str]),
    /// A command of people, which ends with exit code 125.
    Refused(&'static [&'static str]),
    /// It is waited until the screen shows this.
    Shows(&'static str),
    /// It is waited until this is what is known of what the program does.
    Is(&'static str),
}

const fn part(marker: &'static str, steps: &'static [Step]) -> Part {
    Part { marker, steps }
}

pub const STORIES: &[Story] = &[
    Story {
        program: &CLAUDE,
        parts: &[
            part(
                "start-claude",
                &[
                    Starts("coder", &["--preset", "claude", "--", "--permission-mode", "default"]),
                    Shows(CLAUDE.ready),
                    Is("waiting"),
                    Asks(&["agents"]),
                    Asks(&["screen", "coder"]),
                ],
            ),
            part(
                "task",
                &[
                    Asks(&["exec", "--if", "waiting", "coder", "--", "say hello"]),
                    Shows("hello, says the stand-in"),
                    Is("waiting"),
                    Asks(&["screen", "coder"]),
                ],
            ),
            part(
                "answer-claude",
                &[
                    Asks(&["exec", "--if", "waiting", "coder", "--", "run touch made-here"]),
                    Is("asking"),
                    Shows("Do you want to proceed?"),
                    Asks(&["agents"]),
                    Asks(&["screen", "coder"]),
                ],
            ),
            part(
                "task-refused",
                &[Refused(&["exec", "--if", "waiting", "coder", "--", "say more"])],
            ),
            part(
                "answer-claude",
                &[
                    Asks(&["exec", "--keys", "coder", "--", "enter"]),
                    Shows("It ran, says the stand-in"),
                    Is("waiting"),
                    Asks(&["screen", "coder"]),
                ],
            ),
            part(
                "watch",
                &[
                    Asks(&["exec", "coder", "--", "think about it"]),
                    Is("working"),
                    Asks(&["agents"]),
                ],
            ),
            part(
                "interrupt",
                &[
                    Asks(&["exec", "--keys", "coder", "--", "escape"]),
                    // The prompt is in its line again, and the hint that is there for an empty line is not.
                    Shows("manual mode on\n"),
                    Asks(&["screen", "coder"]),
                    Asks(&["exec", "--keys", "coder", "--", "ctrl-u"]),
                    Shows(CLAUDE.ready),
                ],
            ),
            part(
                "stop",
                &[
                    Asks(&["stop", "coder", "--reason", "looks wrong"]),
                    Asks(&["agents"]),
                    Asks(&["release", "coder"]),
                ],
            ),
            part(
                "one-shot",
                &[
                    Starts("runs", &["--preset", "claude", "--runner", "program"]),
                    Asks(&["exec", "runs", "--", "say hello"]),
                ],
            ),
        ],
    },
    Story {
        program: &CODEX,
        parts: &[
            part(
                "start-codex",
                &[
                    Starts("coder", &["--preset", "codex"]),
                    Shows(CODEX.ready),
                    Asks(&["screen", "coder"]),
                ],
            ),
            part(
                "answer-codex",
                &[
                    // Behind its first prompt it says once more that a turn is over: that about the title.
                    Asks(&["exec", "coder", "--", "say hello"]),
                    Shows("hello, says the stand-in"),
                    Shows("· say hello"),
                    Is("waiting"),
                    Asks(&["exec", "coder", "--", "run touch made-here"]),
                    Shows("Would you like to run the following command?"),
                    Is("asking"),
                    Asks(&["agents"]),
                    Asks(&["screen", "coder"]),
                    Asks(&["exec", "--keys", "coder", "--", "y"]),
                    Shows("It ran, says the stand-in"),
                    Is("waiting"),
                    Asks(&["screen", "coder"]),
                    Asks(&["stop", "coder"]),
                ],
            ),
        ],
    },
    Story {
        program: &GEMINI,
        parts: &[
            part(
                "start-gemini",
                &[
                    Starts("coder", &["--preset", "gemini"]),
                    Shows(GEMINI.ready),
                    Is("waiting"),
                    Asks(&["screen", "coder"]),
                ],
            ),
            part(
                "answer-gemini",
                &[
                    Asks(&["exec", "--if", "waiting", "coder", "--", "run touch made-here"]),
                    Shows("Allow execution"),
                    Is("asking"),
                    Asks(&["agents"]),
                    Asks(&["screen", "coder"]),
                    Asks(&["exec", "--keys", "coder", "--", "enter"]),
                    Shows("It ran, says the stand-in"),
                    Is("waiting"),
                    Asks(&["screen", "coder"]),
                    Asks(&["stop", "coder"]),
                ],
            ),
        ],
    },
];

/// What came of a story, while it grows.
struct Told<'a> {
    bench: &'a Bench,
    side: &'a Side,
    agents: Vec<Running>,
    first: &'a str,
    /// The markers and the texts behind them.
    parts: Vec<(&'static str, String)>,
}

/// Runs a story, and writes it into the page or compares it with the page.
pub fn tell(story: &Story) {
    let bench = Bench::with(FAST, &[]);
    let stand_in = StandIn::start();
    let side = Side::new(&bench.folder.path().join("t"), 'a', story.program, &stand_in.address);
    let first =
        format!("# {}, answered by a local stand-in for its service", version(story.program));
    let mut told =
        Told { bench: &bench, side: &side, agents: Vec::new(), first: &first, parts: Vec::new() };
    for part in story.parts {
        println!("part: {}", part.marker);
        for step in part.steps {
            println!("step: {step:?}");
            told.step(part.marker, step);
        }
    }
    for mut agent in std::mem::take(&mut told.agents) {
        agent.signal("-TERM");
        assert!(agent.wait().success());
    }
    let settled = Settled::new(&bench, &side);
    let texts = told.parts.into_iter().map(|(marker, text)| (marker, settled.text(&text)));
    page::put_or_compare(&texts.collect::<Vec<_>>());
}

/// What a program says of its version.
fn version(program: &Program) -> String {
    let name = program.words.first().expect("a program");
    let asked = Command::new(name).arg("--version").env("PATH", needs::path()).output();
    let said = String::from_utf8(asked.expect("it can be run").stdout).expect("text");
    let number =
        said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    format!("{name} {}", number.expect("a version"))
}

impl Told<'_> {
    fn step(&mut self, marker: &'static str, step: &Step) {
        match step {
            Starts(name, arguments) => {
                self.line(
                    marker,
                    &format!("$ onsembl-agent run --name {name} {} &", arguments.join(" ")),
                );
                self.agents.push(spawn(self.bench, name, self.side, arguments));
                let _ = self.bench.await_status(name, "online");
            }
            Asks(words) => {
                if words.first() == Some(&"screen") {
                    self.is_drawn();
                }
                self.asks(marker, words, 0);
            }
            Refused(words) => self.asks(marker, words, 125),
            Shows(text) => {
                let seen = RefCell::new(String::new());
                let holds = || {
                    *seen.borrow_mut() = screen_of(self.bench, "coder");
                    seen.borrow().contains(text)
                };
                within(&format!("its screen shows {text:?}"), holds, || seen.borrow().clone());
            }
            Is(state) => {
                let activity =
                    || self.bench.agent_view("coder").unwrap_or_default()["activity"].clone();
                let shown = || format!("{}\n{}", activity(), screen_of(self.bench, "coder"));
                within(&format!("it is {state}"), || activity()["state"] == *state, shown);
            }
        }
    }

    /// Waits until the screen stays as it is: programs draw in pieces. Some also draw while they wait.
    fn is_drawn(&self) {
        let mut last = screen_of(self.bench, "coder");
        for _ in 0..4 {
            std::thread::sleep(DRAWN);
            let now = screen_of(self.bench, "coder");
            if now == last {
                return;
            }
            last = now;
        }
    }

    fn line(&mut self, marker: &'static str, line: &str) {
        let place = self.parts.iter().position(|(name, _)| *name == marker).unwrap_or_else(|| {
            self.parts.push((marker, format!("{}\n", self.first)));
            self.parts.len() - 1
        });
        let (_, text) = &mut self.parts[place];
        text.push_str(line.trim_end());
        text.push('\n');
    }

    /// Runs a command of people, and notes it with all that it says.
    fn asks(&mut self, marker: &'static str, words: &[&str], code: i32) {
        let shown: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        self.line(marker, &format!("$ onsembl {}", shown.join(" ")));
        let mut command = Command::new(person_binary());
        let output = command
            .args(words)
            .env("ONSEMBL_SERVER", self.bench.url())
            .env("ONSEMBL_TOKEN", &self.bench.dashboard_token)
            .output()
            .expect("the server can be run");
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        let mut empty = true;
        for line in String::from_utf8_lossy(&said).lines() {
            // Many lines of a screen are empty; one of them says as much.
            if !(empty && line.trim().is_empty()) {
                self.line(marker, line);
            }
            empty = line.trim().is_empty();
        }
        if code != 0 {
            self.line(marker, &format!("(exit code {code})"));
        }
        self.line(marker, "");
    }
}

fn quoted(word: &str) -> String {
    match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.to_owned(),
    }
}
