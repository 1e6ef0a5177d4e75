//! The programs, as data: how each is started, what its screen shows once it is ready, what is typed into it, and
//! what its screen shows then. To add one, add a row.

use crate::needs::Need;
use Input::{Keys, Text};
use Need::{Python, System};

/// A program. In words, files and the environment `{home}` is the folder of the side, and `{stand-in}` the address of
/// the stand-in for its service.
#[derive(Debug)]
pub struct Program {
    pub name: &'static str,
    pub needs: &'static [Need],
    pub words: &'static [&'static str],
    pub environment: &'static [(&'static str, &'static str)],
    pub files: &'static [File],
    /// Scripts for `sh` that run before it, in its working directory.
    pub before: &'static [&'static str],
    /// What its screen shows once it takes input.
    pub ready: &'static str,
    /// A folder below its home that is there once it is ready, where its screen shows that too early.
    pub begun: Option<&'static str>,
    pub turns: &'static [Turn],
    /// One more, which is typed remotely.
    pub last: Turn,
    /// Lines with one of these are not compared: clocks, and random words.
    pub varies: &'static [&'static str],
}

/// A file below the home of a side.
#[derive(Debug)]
pub struct File {
    pub path: &'static str,
    pub text: fn() -> String,
}

/// What is typed, and what the screen shows then.
#[derive(Debug)]
pub struct Turn {
    pub input: Input,
    pub shows: &'static str,
}

#[derive(Debug)]
pub enum Input {
    /// A text, and Enter behind it.
    Text(&'static str),
    /// Keys by their names.
    Keys(&'static str),
}

impl Program {
    pub const NONE: Self = Self {
        name: "",
        needs: &[],
        words: &[],
        environment: &[],
        files: &[],
        before: &[],
        ready: "",
        begun: None,
        turns: &[],
        last: turn(Keys(""), ""),
        varies: &[],
    };

    /// A screen, without what differs from run to run, and without blanks at the ends.
    pub fn masked(&self, screen: &str) -> String {
        let lines =
            screen.lines().map(|line| match self.varies.iter().any(|part| line.contains(part)) {
                true => "~",
                false => line.trim_end(),
            });
        let text: Vec<&str> = lines.collect();
        text.join("\n").trim_end().to_owned()
    }
}

pub const fn turn(input: Input, shows: &'static str) -> Turn {
    Turn { input, shows }
}

fn lines() -> String {
    (1..=200).map(|n| format!("line {n}\n")).collect()
}

/// No clock and no banner.
fn nushell() -> String {
    "$env.config.show_banner = false\n$env.PROMPT_COMMAND_RIGHT = ''\n".to_owned()
}

/// No meters, and one process whose line does not change.
fn htop() -> String {
    "htop_version=3.2.2\nconfig_reader_min_version=3\nfields=0 1\nheader_layout=one_100\ncolumn_meters_0=Blank\ncolumn_meter_modes_0=2\nscreen:Main=PID Command\n.sort_key=PID\n".to_owned()
}

pub const TOOLS: &[Program] = &[
    Program {
        name: "bash",
        needs: &[System("bash")],
        words: &["bash", "--norc", "--noprofile"],
        environment: &[("PS1", "$ ")],
        ready: "$",
        turns: &[
            turn(Text("echo $((6 * 7))"), "\n42\n"),
            turn(Keys("7 backspace e c h o space O K enter"), "\nOK\n"),
            turn(Keys("up up enter"), "\n42\n$ echo OK\nOK\n$ echo $((6 * 7))\n42\n"),
        ],
        last: turn(Text("echo $((8 * 8))"), "\n64\n"),
        ..Program::NONE
    },
    Program {
        name: "nushell",
        needs: &[Need::Npm("nu")],
        words: &["nu", "--config", "{home}/config.nu", "--env-config", "{home}/env.nu"],
        files: &[
            File { path: "config.nu", text: nushell },
            File { path: "env.nu", text: String::new },
        ],
        ready: "work>",
        turns: &[turn(Text("6 * 7"), "\n42\n"), turn(Keys("7 space * space 7 enter"), "\n49\n")],
        last: turn(Text("8 * 8"), "\n64\n"),
        ..Program::NONE
    },
    Program {
        name: "python",
        needs: &[System("python3")],
        words: &["python3", "-q", "-i"],
        ready: ">>>",
        turns: &[turn(Text("6 * 7"), "\n42\n"), turn(Keys("7 * 7 enter"), "\n49\n")],
        last: turn(Text("8 * 8"), "\n64\n"),
        ..Program::NONE
    },
    Program {
        name: "ipython",
        needs: &[Python("IPython")],
        words: &["python3", "-m", "IPython", "--no-banner", "--no-confirm-exit"],
        ready: "In [1]:",
        turns: &[turn(Text("6 * 7"), "Out[1]: 42"), turn(Keys("7 * 7 enter"), "Out[2]: 49")],
        last: turn(Text("8 * 8"), "Out[3]: 64"),
        ..Program::NONE
    },
    Program {
        name: "node",
        needs: &[System("node")],
        words: &["node"],
        ready: ">",
        turns: &[turn(Text("6 * 7"), "\n42\n"), turn(Keys("7 * 7 enter"), "\n49\n")],
        last: turn(Text("8 * 8"), "\n64\n"),
        ..Program::NONE
    },
    Program {
        name: "vim",
        needs: &[System("vim")],
        words: &["vim", "-u", "NONE", "-i", "NONE", "-n", "lines"],
        files: &[File { path: "work/lines", text: lines }],
        ready: "200 lines",
        turns: &[
            turn(Keys(": s e t space n u m b e r enter"), "  1 line 1"),
            // It takes pastes.
            turn(Text("what is pasted"), "what is pasted"),
            turn(Keys("G o H i escape"), "201 Hi"),
        ],
        last: turn(Keys("g g x"), "1 hat is pasted"),
        ..Program::NONE
    },
    Program {
        name: "less",
        needs: &[System("less")],
        words: &["less", "lines"],
        files: &[File { path: "work/lines", text: lines }],
        ready: "line 19",
        turns: &[
            turn(Text("/line 50"), "line 72"),
            turn(Keys("G"), "(END)"),
            turn(Keys("g"), "line 1\n"),
        ],
        last: turn(Keys("G"), "(END)"),
        ..Program::NONE
    },
    Program {
        name: "htop",
        needs: &[System("htop")],
        words: &["htop", "-p", "1", "-d", "100"],
        files: &[File { path: "htoprc", text: htop }],
        environment: &[("HTOPRC", "{home}/htoprc")],
        ready: "F10",
        turns: &[
            turn(Keys("f1"), "GNU GPLv2+"),
            turn(Keys("space"), "F10"),
            turn(Text("/1"), "F10"),
        ],
        last: turn(Keys("f1"), "GNU GPLv2+"),
        ..Program::NONE
    },
    Program {
        name: "whiptail",
        needs: &[System("whiptail")],
        words: &[
            "sh",
            "-c",
            "while name=$(whiptail --inputbox 'Your name?' 8 40 3>&1 1>&2 2>&3); do whiptail --msgbox \"Hello $name\" 8 40; done",
        ],
        ready: "Your name?",
        turns: &[
            turn(Text("ann"), "Hello ann"),
            turn(Keys("enter"), "Your name?"),
            turn(Keys("A b c tab"), "Abc"),
        ],
        last: turn(Keys("tab tab D"), "AbcD"),
        ..Program::NONE
    },
    Program {
        name: "tmux",
        words: &[
            "tmux",
            "-S",
            "{home}/inner",
            "-f",
            "{home}/inner.conf",
            "new-session",
            "-A",
            "-s",
            "in",
        ],
        files: &[File {
            path: "inner.conf",
            text: || {
                "set -g status-right ''\nset -g default-command 'bash --norc --noprofile'\n"
                    .to_owned()
            },
        }],
        environment: &[("PS1", "$ ")],
        ready: "[in]",
        turns: &[
            turn(Text("echo $((6 * 7))"), "\n42\n"),
            turn(Keys("ctrl-b %"), "│"),
            turn(Text("echo $((7 * 7))"), "│49"),
        ],
        last: turn(Text("echo $((8 * 8))"), "│64"),
        ..Program::NONE
    },
    Program {
        name: "git",
        needs: &[System("git")],
        words: &["git", "add", "--patch"],
        environment: &[("GIT_CONFIG_NOSYSTEM", "1")],
        before: &[
            "git init -q; git config user.email a@b; git config user.name a; seq 3 >numbers; git add .; git commit -qm one; sed -i s/2/two/ numbers",
        ],
        ready: "Stage this hunk",
        turns: &[
            turn(Text("?"), "do not stage this hunk"),
            turn(Keys("s enter"), "Sorry, cannot split this hunk"),
        ],
        last: turn(Text("?"), "do not stage this hunk"),
        ..Program::NONE
    },
];
