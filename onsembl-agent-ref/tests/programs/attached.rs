//! People before a wrapped program: at the desk where the agent runs, and remotely.

use crate::bench::{Bench, agent_binary, eventually};
use crate::side::Side;
use crate::tmux::{Pane, Tmux};
use crate::walk::{Both, OTHER_SIZE, SIZE, differences, within};
use crate::wrapped::{Wrapped, person_binary};
use std::cell::RefCell;
use std::path::Path;

/// Leaves `onsembl attach`, by its name in tmux.
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

/// `onsembl attach` in a terminal of tmux: it shows what both others show, what is typed there arrives, and the
/// program outlives it.
pub fn from_afar(both: &Both<'_>, tmux: &Tmux, wrapped: &Wrapped<'_>, reference: &Pane<'_>) {
    let (bench, before) = (wrapped.bench, wrapped.terminal());
    let folder = bench.folder.path();
    let (onsembl, url) = (person_binary().display().to_string(), bench.url());
    let words = shell(&[&onsembl, "attach", "--server", &url, wrapped.name], &folder.join("afar"));
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
    same("who attaches remotely sees the screen");
    let last = &both.program.last;
    pane.types(&last.input);
    reference.types(&last.input);
    both.alike(wrapped, reference, last.shows);
    same("who typed remotely sees the answer");
    pane.key(DETACH);
    pane.shows("code:0");
    pane.shows("same");
    assert_eq!(wrapped.terminal(), before, "the program goes on");
}

/// The agent in a terminal of tmux, as somebody starts it at a desk: it shows what the program shows without it,
/// what is
/// typed arrives, and the terminal is left as it was. Nothing may have been typed into `reference`.
///
/// What it is compared with is what `reference` shows at that moment. Claude Code raises its logo line by line for a
/// second after its prompt is there, or does not, at random: a screen that was kept from then may never be shown here.
pub fn at_a_desk(bench: &Bench, tmux: &Tmux, both: &Both<'_>, side: &Side, reference: &Pane<'_>) {
    let program = both.program;
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
    let seen = RefCell::new((String::new(), String::new()));
    within(
        "the attached terminal shows what the program shows without it",
        || {
            let here = program.masked(&side.without_folder(&pane.screen()));
            let there = both.of_theirs(&reference.screen());
            let holds = here == there && here.contains(program.ready);
            *seen.borrow_mut() = (here, there);
            holds
        },
        || differences(&seen.borrow().0, &seen.borrow().1),
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
