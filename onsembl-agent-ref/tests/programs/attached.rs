//! People before a wrapped program: at the desk where the agent runs, and from afar.

use crate::bench::{Bench, agent_binary, eventually, server_binary};
use crate::side::Side;
use crate::table::Program;
use crate::tmux::{Pane, Tmux};
use crate::walk::{Both, OTHER_SIZE, SIZE, differences, within};
use crate::wrapped::Wrapped;
use std::cell::RefCell;
use std::path::Path;

/// Leaves `onsembl-server attach`, by its name in tmux.
const DETACH: &str = "C-]";

/// A shell that runs these words, and then shows whether they left its terminal as it was.
fn shell(words: &[&str], notes: &Path) -> [String; 3] {
    let words: Vec<String> =
        words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    let (words, notes) = (words.join(" "), notes.display());
    let script = format!(
        "stty -a >{notes}.before; {words}; echo \"code:$?\"; stty -a >{notes}.after; cmp {notes}.before {notes}.after && echo same; read x"
    );
    ["sh".to_owned(), "-c".to_owned(), script]
}

/// Whether this server has the command.
pub fn is_known() -> bool {
    let asked = std::process::Command::new(server_binary()).args(["attach", "--help"]).output();
    asked.is_ok_and(|asked| asked.status.success())
}

/// `onsembl-server attach` in a terminal of tmux: it shows what both others show, what is typed there arrives, and the
/// program outlives it.
pub fn from_afar(both: &Both<'_>, tmux: &Tmux, wrapped: &Wrapped<'_>, reference: &Pane<'_>) {
    let (bench, before) = (wrapped.bench, wrapped.terminal());
    let folder = bench.folder.path();
    let (server, url) = (server_binary().display().to_string(), bench.url());
    let words = shell(&[&server, "attach", "--server", &url, wrapped.name], &folder.join("afar"));
    let path = std::env::var("PATH").unwrap_or_default();
    let mark = std::env::var(crate::CASE_MARK).unwrap_or_default();
    let environment = [
        ("PATH", path.as_str()),
        ("TERM", "xterm-256color"),
        ("LANG", "C.UTF-8"),
        ("ONSEMBL_TOKEN", &bench.dashboard_token),
        (crate::CASE_MARK, &mark),
    ];
    let pane = tmux.pane("afar", OTHER_SIZE, folder, environment.into_iter(), &words);
    let same = |what: &str| {
        let seen = RefCell::new((String::new(), String::new()));
        within(
            what,
            || {
                let (afar, theirs) =
                    (both.of_ours(&pane.screen()), both.of_theirs(&reference.screen()));
                let holds = afar == theirs;
                *seen.borrow_mut() = (afar, theirs);
                holds
            },
            || differences(&seen.borrow().0, &seen.borrow().1),
        );
    };
    same("who attaches from afar sees the screen");
    let last = &both.program.last;
    pane.types(&last.input);
    reference.types(&last.input);
    let _ = both.alike(wrapped, reference, last.shows);
    same("who typed from afar sees the answer");
    pane.key(DETACH);
    pane.shows("code:0");
    pane.shows("same");
    assert_eq!(wrapped.terminal(), before, "the program goes on");
}

/// The agent in a terminal of tmux, as somebody starts it at a desk: it shows what the program shows without it, what is
/// typed arrives, and the terminal is left as it was.
pub fn at_a_desk(bench: &Bench, tmux: &Tmux, program: &Program, side: &Side, first: &str) {
    let url = bench.url();
    let folder = bench.folder.path().join("bob");
    let (state, work) = (folder.display().to_string(), side.work());
    let agent = agent_binary().display().to_string();
    let run = [agent.as_str(), "run", "--server", &url, "--name", "bob", "--state-dir", &state];
    let how = ["--runner", "terminal", "--attach", "--"];
    let own = side.words().iter().map(String::as_str);
    let words: Vec<&str> = run.into_iter().chain(how).chain(own).collect();
    let words = shell(&words, &bench.folder.path().join("desk"));
    let environment = side.environment().chain([("ONSEMBL_TOKEN", bench.agent_token.as_str())]);
    let pane = tmux.pane("attached", SIZE, &work, environment, &words);
    let seen = RefCell::new(String::new());
    within(
        "the attached terminal shows what the program shows",
        || {
            *seen.borrow_mut() = program.masked(&side.without_folder(&pane.screen()));
            *seen.borrow() == first
        },
        || differences(&seen.borrow(), first),
    );
    side.has_begun();
    let turn = program.turns.first().expect("a turn");
    pane.types(&turn.input);
    pane.shows(turn.shows);
    let _ = bench.await_status("bob", "online");
    let status: serde_json::Value =
        serde_json::from_str(&bench.log("bob/status.json")).unwrap_or_default();
    let pid = status["pid"].as_u64().expect("the agent's process").to_string();
    let ended = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(ended.expect("kill can be run").success());
    pane.shows("code:0");
    pane.shows("same");
    eventually("nothing of it is left but the shell", || {
        let left = side.processes();
        left.len() <= 1
    });
}
