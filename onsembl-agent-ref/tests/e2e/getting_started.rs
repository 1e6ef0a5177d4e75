//! docs/GETTING_STARTED.md, and the first commands of the README: each command that they show is run, in their order.
//!
//! A comment before a fence of the page says how it is run:
//! - `on: control`: on this machine;
//! - `copied: FILE from control to desk`: after this file was copied;
//! - `until: COMMAND`: after this command has succeeded, which is tried again and again;
//! - `keys: TEXT => KEYS`: in a terminal, where these keys are typed as soon as the text is shown;
//! - `needs: PROGRAM`: only where this program is.
//!
//! `ONSEMBL_BLESS=1` writes what the commands said into the page; without it, it is compared.

use crate::machine::Machine;
use crate::masked::Masks;
use crate::typed::Keys;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The machines, and their home directories as the page has them.
const MACHINES: [(&str, &str); 3] =
    [("control", "/home/ops"), ("build-1", "/home/build"), ("desk", "/home/ann")];
const ADDRESS: &str = "127.0.0.1:8080";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn free_address() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address").to_string()
}

/// A page that is run.
struct Tour {
    machines: Vec<(&'static str, Machine)>,
    /// What stands on the page, and what is used in its place.
    used: Vec<(String, String)>,
    masks: Masks,
    _folder: tempfile::TempDir,
}

impl Tour {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut used = vec![(ADDRESS.to_owned(), free_address())];
        let mut machines = Vec::new();
        for (name, home) in MACHINES {
            let real = folder.path().join(name);
            used.push((home.to_owned(), real.display().to_string()));
            machines.push((name, Machine::new(&real)));
        }
        let mut named: Vec<(String, String)> =
            used.iter().map(|(page, real)| (real.clone(), page.clone())).collect();
        // The name of a context has the address too.
        named.push((used[0].1.replace(':', "-"), ADDRESS.replace(':', "-")));
        let programs = crate::bench::agent_binary().parent().expect("a folder").to_owned();
        named.push((programs.display().to_string(), "/usr/local/bin".to_owned()));
        Self { machines, used, masks: Masks::new(named), _folder: folder }
    }

    fn machine(&mut self, name: &str) -> &mut Machine {
        let machine = self.machines.iter_mut().find(|(known, _)| *known == name);
        &mut machine.unwrap_or_else(|| panic!("there is no machine {name}")).1
    }

    /// A command of the page, as it is run here.
    fn real(&self, command: &str) -> String {
        let replaced = |text: String, (page, real): &(String, String)| text.replace(page, real);
        self.used.iter().fold(command.to_owned(), replaced)
    }

    /// `build-1.token from control to build-1`
    fn copy(&mut self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let &[file, "from", from, "to", to] = words.as_slice() else { panic!("{words:?}") };
        let (from, to) = (self.machine(from).home.join(file), self.machine(to).home.join(file));
        let _ = std::fs::copy(from, to).expect("it can be copied");
    }

    /// The fence with what its commands say now: in a terminal, if there are keys.
    fn fence(&mut self, machine: &str, fence: &str, keys: &[Keys]) -> String {
        let mut told = String::new();
        for command in commands(fence) {
            let real = self.real(&command);
            let said = match keys {
                [] => self.machine(machine).run(&real).text,
                keys => once(self.machine(machine).run_in_terminal(&real, keys)),
            };
            let shown = command.replace('\n', "\n> ");
            writeln!(told, "$ {shown}").expect("a text");
            let said = self.masks.text(&said);
            if !said.is_empty() {
                writeln!(told, "{said}").expect("a text");
            }
        }
        told
    }
}

/// Its commands, each with its further lines.
fn commands(fence: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for line in fence.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
        } else if let (Some(more), Some(last)) = (line.strip_prefix("> "), commands.last_mut()) {
            last.push('\n');
            last.push_str(more);
        }
    }
    commands
}

/// What is shown in a terminal, without what differs from run to run: on a busy machine the demo shows more than one
/// heartbeat, and standard error of its command may come before standard output.
fn once(rows: Vec<String>) -> String {
    let is_beat = |row: &String| row.starts_with("beat ");
    let first = rows.iter().position(is_beat);
    let rows = rows.into_iter().enumerate();
    let rows = rows.filter(|(at, row)| !is_beat(row) || Some(*at) == first);
    let (error, mut rows): (Vec<_>, Vec<_>) =
        rows.map(|(_, row)| row).partition(|row| row == "to stderr");
    let end = rows.iter().position(|row| row.starts_with("command    over"));
    let _: Vec<_> = rows.splice(end.unwrap_or(0)..end.unwrap_or(0), error).collect();
    rows.join("\n") + "\n"
}

fn is_there(program: &str) -> bool {
    let mut asked = Command::new("sh");
    let asked = asked.args(["-c", &format!("command -v {program}")]).stdout(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

/// Ages may be one digit longer on a busy machine, and a column with them.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn the_page_shows_what_its_commands_say() {
    let path = top().join("docs/GETTING_STARTED.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let mut tour = Tour::new();
    let (mut now, mut machine, mut until, mut is_skipped, mut keys) =
        (String::new(), String::new(), None, false, Vec::new());
    let mut lines = page.lines();
    let mut run = 0;
    while let Some(line) = lines.next() {
        now += line;
        now.push('\n');
        let note = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
        match note.and_then(|note| note.split_once(": ")) {
            Some(("on", name)) => machine = name.to_owned(),
            Some(("copied", words)) => tour.copy(words),
            Some(("until", command)) => until = Some(command.to_owned()),
            Some(("keys", text)) => keys.push(Keys::parse(&tour.real(text))),
            Some(("needs", program)) => is_skipped = !is_there(program),
            Some((note, _)) => panic!("{note} is no word of this test"),
            None => {}
        }
        if line != "```console" {
            continue;
        }
        let fence: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| line.to_owned() + "\n")
            .collect();
        if let Some(command) = until.take() {
            let command = tour.real(&command);
            tour.machine(&machine).until(&command);
        }
        let told = match std::mem::take(&mut is_skipped) {
            true => {
                println!("skipped: what needs a program that is not here: {fence}");
                fence
            }
            false => tour.fence(&machine, &fence, &keys),
        };
        keys.clear();
        now += &told;
        now += "```\n";
        run += commands(&told).len();
    }
    assert!(run > 30, "only {run} commands were run");
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        std::fs::write(&path, now).expect("the page can be written");
        return;
    }
    for (shown, told) in page.lines().zip(now.lines()) {
        assert_eq!(words(shown), words(told), "ONSEMBL_BLESS=1 writes what is told now:\n{now}");
    }
    assert_eq!(page.lines().count(), now.lines().count(), "{now}");
}

/// But for the build, whose programs are there.
#[test]
fn the_first_commands_of_the_readme_succeed() {
    let readme = std::fs::read_to_string(top().join("README.md")).expect("the README");
    let (_, section) = readme.split_once("\n## Run it on one machine\n").expect("a section");
    let (_, fence) = section.split_once("```sh\n").expect("a fence");
    let (fence, _) = fence.split_once("```").expect("its end");
    let mut tour = Tour::new();
    let mut run = 0;
    for line in fence.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("cargo build") || line.starts_with("export PATH=") {
            continue;
        }
        let line = tour.real(line);
        let line = match line.starts_with("onsembl-server serve") {
            true => line.replace(" serve ", &format!(" serve --listen {} ", tour.used[0].1)),
            false => line,
        };
        let said = tour.machine("control").run(&line);
        assert_eq!(said.code, 0, "{line}: {}", said.text);
        run += 1;
    }
    assert!(run > 14, "{run}");
}
