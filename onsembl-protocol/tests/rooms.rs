//! The rooms of the core have a floor each: what a room may import is below it. A circle between
//! rooms, or between two files of one room, is found here, by reading every import of `src`.
//!
//! A facade (`mod.rs`, `lib.rs`) may gather what its files hold, and they may share what it defines;
//! that is no circle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may import, besides itself; the picture in `docs/ARCHITECTURE.md` draws the same.
const FLOORS: &[(&str, &[&[&str]])] = &[
    ("shown", &[]),
    ("text", &[]),
    ("time", &[]),
    ("limits", &[]),
    ("close", &[]),
    ("shared_pool", &[]),
    ("step", &[&["time"]]),
    ("id", &[&["shown", "text"]]),
    ("model", &[VALUES]),
    ("wire", &[&["shown", "text", "time", "limits", "id", "model"]]),
    ("liveness", &[VALUES, &["model"]]),
    ("session", &[VALUES, &["model", "wire", "liveness"]]),
    ("supervisor", &[VALUES, &["model", "session"]]),
    ("replay", &[VALUES, &["model", "wire", "session", "supervisor", "diagnosis"]]),
    ("diagnosis", &[VALUES, &["model", "liveness", "session"]]),
    ("command", &[VALUES, &["model"]]),
    ("output", &[VALUES, &["model"]]),
    ("terminal", &[VALUES, &["model"]]),
    ("stop", &[VALUES, &["model"]]),
    ("activity", &[VALUES, &["model"]]),
    ("worker", &[VALUES, &["model", "wire", "session", "diagnosis"], SMALL_MACHINES]),
    (
        "fleet",
        &[VALUES, &["model", "wire", "liveness", "session", "replay", "diagnosis"], SMALL_MACHINES],
    ),
    (
        "lab",
        &[
            VALUES,
            &["model", "wire", "liveness", "session", "supervisor", "replay"],
            SMALL_MACHINES,
            &["worker", "fleet"],
        ],
    ),
];
const VALUES: &[&str] = &["shown", "text", "time", "limits", "close", "step", "id", "shared_pool"];
const SMALL_MACHINES: &[&str] = &["command", "output", "terminal", "stop", "activity"];

/// Where frames and machines meet: the only files of a room of machines that may read messages.
const MEETS_THE_WIRE: &[&str] = &["session/frames"];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// A module with a file of its own.
struct Module {
    /// Its path: `["session", "server", "turn"]`.
    path: Vec<String>,
    /// It stands for a folder.
    facade: bool,
    text: String,
}

impl Module {
    fn name(&self) -> String {
        self.path.join("/")
    }

    fn room(&self) -> &str {
        self.path.first().unwrap()
    }
}

fn modules() -> Vec<Module> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                folders.push(file);
            } else if file.extension().is_some_and(|e| e == "rs") {
                found.extend(module(&src, &file));
            }
        }
    }
    assert!(found.len() > 100, "the sources are not where this test looks");
    found
}

fn module(src: &Path, file: &PathBuf) -> Option<Module> {
    let inside = file.strip_prefix(src).unwrap().with_extension("");
    let mut path: Vec<String> =
        inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if path == ["lib"] {
        return None;
    }
    let facade = path.last().is_some_and(|last| last == "mod");
    if facade {
        path.pop();
    }
    let text = code_of(&fs::read_to_string(file).unwrap());
    Some(Module { path, facade, text })
}

/// A source without its comments and without the tests in it, which may import what they like.
fn code_of(source: &str) -> String {
    let tests = source.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at);
    // Only where they begin: `mod tests;` names a file, and code may follow.
    let mut inline = tests.filter(|at| {
        let head = source.get(*at..).unwrap().split(['{', ';']).next().unwrap();
        source.get(at + head.len()..).unwrap().starts_with('{')
    });
    let source = source.get(..inline.next().unwrap_or(source.len())).unwrap();
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| format!("{line}\n")).collect()
}

/// The paths that a module imports, each from the root of the crate, and inline paths of the crate.
fn imports(module: &Module) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (at, _) in module.text.match_indices("use ") {
        let before = module.text.get(..at).unwrap();
        if before.ends_with(|c: char| c.is_whitespace() || c == ')') || before.is_empty() {
            let tree = module.text.get(at + 4..).unwrap().split(';').next().unwrap();
            expand(tree.trim(), &[], &mut paths);
        }
    }
    for (at, _) in module.text.match_indices("crate::") {
        let rest = module.text.get(at..).unwrap();
        let path = rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
        paths.push(path.unwrap().split("::").map(str::to_owned).collect());
    }
    paths.into_iter().filter_map(|path| rooted(module, &path)).collect()
}

fn expand(tree: &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    match tree.split_once('{') {
        Some((head, rest)) => {
            path.extend(head.split("::").filter(|s| !s.trim().is_empty()).map(|s| s.trim().into()));
            let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
            let (mut depth, mut from) = (0, 0);
            for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        let part = inner.get(from..at).unwrap().trim();
                        if !part.is_empty() {
                            expand(part, &path, paths);
                        }
                        from = at + 1;
                    }
                    _ => {}
                }
            }
        }
        None => {
            let plain = tree.split(" as ").next().unwrap();
            path.extend(plain.split("::").map(|s| s.trim().to_owned()));
            paths.push(path);
        }
    }
}

fn rooted(module: &Module, path: &[String]) -> Option<Vec<String>> {
    let mut at: Vec<String> = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.path.clone(),
        _ if module.facade => {
            let mut inside = module.path.clone();
            inside.extend_from_slice(path);
            return Some(inside);
        }
        _ => return None,
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            part => at.push(part.to_owned()),
        }
    }
    Some(at)
}

/// The module that a path leads to, and whether it is a facade.
fn target<'a>(modules: &'a BTreeMap<String, &Module>, path: &[String]) -> Option<&'a Module> {
    (1..=path.len()).rev().find_map(|n| modules.get(&path.get(..n)?.join("/")).copied())
}

/// A circle, if there is one, as the names along it.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn walk(
        at: &str,
        graph: &Graph,
        done: &mut BTreeSet<String>,
        way: &mut Vec<String>,
    ) -> Option<Vec<String>> {
        if let Some(from) = way.iter().position(|name| name == at) {
            let mut found = way.split_off(from);
            found.push(at.to_owned());
            return Some(found);
        }
        if !done.insert(at.to_owned()) {
            return None;
        }
        way.push(at.to_owned());
        for next in graph.get(at).into_iter().flatten() {
            if let Some(found) = walk(next, graph, done, way) {
                return Some(found);
            }
        }
        way.pop();
        None
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| walk(start, graph, &mut done, &mut Vec::new()))
}

#[test]
fn no_room_imports_one_that_imports_it() {
    let modules = modules();
    let by_name = modules.iter().map(|m| (m.name(), m)).collect();
    let mut rooms = Graph::new();
    for module in &modules {
        let entry = rooms.entry(module.room().to_owned()).or_default();
        let targets = imports(module).into_iter().filter_map(|path| target(&by_name, &path));
        entry.extend(targets.map(|m| m.room().to_owned()).filter(|room| room != module.room()));
    }
    assert!(rooms.len() > 10 && rooms.values().any(|to| to.contains("model")), "{rooms:?}");
    assert_eq!(circle(&rooms), None, "rooms import each other");
}

#[test]
fn each_room_imports_only_what_is_below_its_floor() {
    let modules = modules();
    let by_name = modules.iter().map(|m| (m.name(), m)).collect();
    for (room, floors) in FLOORS {
        assert!(by_name_has(&modules, room), "there is no room {room}");
        let allowed = floors.concat();
        for module in modules.iter().filter(|m| m.room() == *room) {
            for path in imports(module) {
                let Some(to) = target(&by_name, &path) else { continue };
                assert!(
                    to.room() == *room || allowed.contains(&to.room()),
                    "{} imports {}, and {room} may import only {allowed:?}",
                    module.name(),
                    path.join("::")
                );
            }
        }
    }
}

#[test]
fn each_room_has_a_floor() {
    for module in &modules() {
        let listed = FLOORS.iter().any(|(room, _)| *room == module.room());
        assert!(listed, "{} is in no room of FLOORS", module.name());
    }
}

/// The lines of the picture from top to bottom, each with the rooms in it. Rooms and descriptions stand apart by
/// two spaces or more.
fn drawn() -> Vec<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ARCHITECTURE.md");
    let text = fs::read_to_string(file).unwrap();
    let (_, picture) = text.split_once("```\nthe laboratory ").expect("the picture of the rooms");
    let is_room = |part: &&str| FLOORS.iter().any(|(room, _)| room == part);
    let rooms =
        |line: &str| line.split("  ").map(str::trim).filter(is_room).map(str::to_owned).collect();
    picture.split("```").next().unwrap().lines().map(rooms).collect()
}

#[test]
fn the_picture_draws_each_room_once_and_above_what_it_imports() {
    let lines = drawn();
    let line_of = |room: &str| {
        let has = |line: &&Vec<String>| line.iter().any(|drawn| drawn == room);
        assert_eq!(lines.iter().filter(has).count(), 1, "the picture does not have {room} once");
        lines.iter().position(|line| has(&line)).unwrap()
    };
    for (room, floors) in FLOORS {
        for allowed in floors.concat() {
            assert!(line_of(room) <= line_of(allowed), "{allowed} is drawn above {room}");
        }
    }
}

#[test]
fn only_where_they_meet_does_a_machine_of_a_session_read_messages() {
    let modules = modules();
    let by_name = modules.iter().map(|m| (m.name(), m)).collect();
    for module in modules.iter().filter(|m| m.room() == "session" || m.room() == "supervisor") {
        let name = module.name();
        if MEETS_THE_WIRE.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for path in imports(module) {
            let to = target(&by_name, &path).map(Module::room);
            assert_ne!(to, Some("wire"), "{name} imports {}", path.join("::"));
        }
    }
}

#[test]
fn no_two_files_import_each_other() {
    let modules = modules();
    let by_name: BTreeMap<String, &Module> = modules.iter().map(|m| (m.name(), m)).collect();
    let mut files = Graph::new();
    for module in &modules {
        let entry = files.entry(module.name()).or_default();
        let targets = imports(module).into_iter().filter_map(|path| target(&by_name, &path));
        entry.extend(
            targets.filter(|m| !m.facade).map(Module::name).filter(|n| *n != module.name()),
        );
    }
    assert!(files.values().any(|to| to.len() > 3), "{files:?}");
    assert_eq!(circle(&files), None, "files import each other");
}

/// Who meets a module in the documentation knows what it is part of.
#[test]
fn every_public_module_says_its_tier_and_the_crate_lists_it_there() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(src.join("lib.rs")).unwrap();
    let tiers: Vec<&str> = root.split("//! **").skip(1).collect();
    assert_eq!(tiers.len(), 5);
    let public = root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut seen = 0;
    for module in public {
        let file = src.join(module).with_extension("rs");
        let file = if file.exists() { file } else { src.join(module).join("mod.rs") };
        let text = fs::read_to_string(file).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix("//! Tier ")?.chars().next());
        let said = said.unwrap_or_else(|| panic!("{module} does not say its tier"));
        let listed = tiers.iter().find(|tier| tier.starts_with(said)).unwrap();
        assert!(listed.contains(&format!("`{module}`")), "the crate does not list {module} there");
        seen += 1;
    }
    assert!(seen > 15, "{seen} public modules");
}

/// A machine is what takes events or has actions to be taken, whether embedders see it or other machines own it.
/// (A method that is `pub(super)` is part of the machine around it.)
fn is_machine(code: &str) -> bool {
    let code: String = code.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let method = |sight: &str, name: &str| code.contains(&format!("{sight} fn {name}(&mut self"));
    ["pub", "pub(crate)"]
        .iter()
        .any(|sight| method(sight, "handle") || method(sight, "poll_action"))
}

#[test]
fn every_machine_says_which_contract_it_keeps() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let machines = modules().into_iter().filter(|module| {
        !["lab", "replay", "supervisor"].contains(&module.room()) && is_machine(&module.text)
    });
    let mut seen = 0;
    for module in machines {
        let file = match module.facade {
            true => src.join(module.name()).join("mod.rs"),
            false => src.join(module.name()).with_extension("rs"),
        };
        let text = fs::read_to_string(file).unwrap();
        let says =
            ["[reducer](crate::step#two-contracts)", "[queue machine](crate::step#two-contracts)"];
        assert!(says.iter().any(|says| text.contains(says)), "{} does not say", module.name());
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} machines");
}

fn by_name_has(modules: &[Module], room: &str) -> bool {
    modules.iter().any(|m| m.room() == room)
}

#[test]
fn a_circle_is_seen() {
    let edge = |from: &str, to: &[&str]| {
        (from.to_owned(), to.iter().map(|to| (*to).to_owned()).collect::<BTreeSet<_>>())
    };
    let straight: Graph = [edge("a", &["b", "c"]), edge("b", &["c"]), edge("c", &[])].into();
    assert_eq!(circle(&straight), None);
    let round: Graph = [edge("a", &["b"]), edge("b", &["c"]), edge("c", &["b"])].into();
    assert_eq!(circle(&round), Some(vec!["b".into(), "c".into(), "b".into()]));
}

#[test]
fn machines_that_only_the_core_sees_are_seen() {
    assert!(is_machine("pub(crate) fn handle(&mut self, event: E, now: Now) -> Step<A> {"));
    assert!(is_machine("    pub fn handle(\n        &mut self,\n        event: E,\n"));
    assert!(is_machine("pub(crate) fn poll_action(&mut self) -> Option<A> {"));
    assert!(!is_machine("pub(super) fn poll_action(&mut self) -> Option<A> {"));
    assert!(!is_machine("pub(crate) fn handle(config: &C, hot: &mut H) -> Deadline {"));
}

#[test]
fn code_behind_tests_in_another_file_is_read() {
    let beside =
        "#[cfg(test)]\nmod tests;\nuse crate::id;\n#[cfg(test)]\nmod more {\nuse crate::lab;\n}\n";
    let code = code_of(beside);
    assert!(code.contains("crate::id") && !code.contains("crate::lab"), "{code}");
}

#[test]
fn every_form_of_an_import_is_read() {
    let module = Module {
        path: vec!["session".into(), "agent".into()],
        facade: false,
        text: code_of(
            "use super::dial::{self, Failure as F};\npub use crate::{id::LinkId, step::{Step, \
             Actions}};\n// use crate::wire::X;\nuse core::fmt;\nfn f() { crate::lab::fact::g() }\n",
        ),
    };
    let found: Vec<String> = imports(&module).iter().map(|path| path.join("::")).collect();
    for expected in [
        "session::dial",
        "session::dial::Failure",
        "id::LinkId",
        "step::Step",
        "step::Actions",
        "lab::fact::g",
    ] {
        assert!(found.iter().any(|path| path == expected), "{expected} in {found:?}");
    }
    assert!(!found.iter().any(|path| path.contains("wire") || path.contains("fmt")), "{found:?}");
}
