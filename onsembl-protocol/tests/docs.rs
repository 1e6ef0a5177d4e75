//! The documents of the workspace speak of what exists: every path, type and function that they put in
//! backticks is in the sources, every rule that documents and comments cite is in `docs/PROTOCOL.md`, and every
//! file at the edge of fleet and worker has a line in `docs/ARCHITECTURE.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How documents shorten the folders of crates.
const SHORT: &[(&str, &str)] = &[
    ("protocol/tests/", "onsembl-protocol/tests/"),
    ("protocol/", "onsembl-protocol/src/"),
    ("transport/", "onsembl-transport/src/"),
    ("server/", "onsembl-server-ref/src/"),
    ("agent/", "onsembl-agent-ref/src/"),
];

/// Endings by which a word in backticks is a path.
const FILES: &[&str] = &[".rs", ".md", ".toml", ".jsonl", ".sql", ".patch"];

/// Files that commands of the documents make, and files that only a user has.
const MADE: &[&str] = &["mine.jsonl", "mine.json", "contexts/NAME/context.toml"];

/// Names in backticks that are not ours, or that are a placeholder.
const FOREIGN: &[&str] = &[
    "Authorization",
    "Upgrade",
    "Connection",
    "Retry",
    "TypeName",
    "FIONREAD",
    "OTEL_RESOURCE_ATTRIBUTES",
    "SIGTERM",
    "SIGKILL",
    "stop_grace_period",
];

/// Where files perform what the core decided. Each of them is to have its line in the table of effects.
const EDGES: &[&str] = &[
    "onsembl-server-ref/src/hub",
    "onsembl-server-ref/src/dashboard",
    "onsembl-server-ref/src/fleet_view.rs",
    "onsembl-server-ref/src/traces",
    "onsembl-agent-ref/src/engine",
    "onsembl-agent-ref/src/executor",
];

/// Terms that a newcomer can be asked to learn.
const MOST_TERMS: usize = 60;

/// Everything that documents may speak of.
struct Workspace {
    root: PathBuf,
    /// Files and folders, relative to the root.
    paths: BTreeSet<String>,
    /// Words of all sources outside of their comments.
    words: BTreeSet<String>,
}

impl Workspace {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
        let mut it = Self { root, paths: BTreeSet::new(), words: BTreeSet::new() };
        let mut folders = vec![it.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let file = entry.unwrap().path();
                let path = file.strip_prefix(&it.root).unwrap().to_str().unwrap().to_owned();
                let name = file.file_name().unwrap().to_str().unwrap();
                if name == "target" || name == ".git" {
                    continue;
                }
                if file.is_dir() {
                    folders.push(file);
                } else if is_source(&path) && !path.ends_with("tests/docs.rs") {
                    let text = fs::read_to_string(&file).unwrap();
                    it.words.extend(text.lines().flat_map(|line| words(code(line))));
                }
                let _ = it.paths.insert(path);
            }
        }
        assert!(it.paths.len() > 300, "the workspace is not where this test looks");
        it
    }

    /// Every document: `README.md` of the workspace and of crates, the change log, and `docs`.
    fn documents(&self) -> Vec<(String, String)> {
        let is_document = |path: &&String| path.ends_with(".md") && !path.contains("/src/");
        self.paths.iter().filter(is_document).map(|path| (path.clone(), self.text(path))).collect()
    }

    fn sources(&self) -> Vec<(String, String)> {
        let ours = |path: &&String| path.ends_with(".rs") && !path.ends_with("tests/docs.rs");
        self.paths.iter().filter(ours).map(|path| (path.clone(), self.text(path))).collect()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// Whether a path of a document is one of ours: from the root, by a short name of its crate, beside the
    /// document, or as the end of a path.
    fn has(&self, path: &str, document: &str) -> bool {
        if SHORT.iter().any(|(short, _)| *short == path) {
            return true;
        }
        let path = path.trim_end_matches('/');
        let path = path.strip_prefix("./").unwrap_or(path).trim_start_matches("../");
        let short =
            SHORT.iter().find_map(|(s, full)| Some(format!("{full}{}", path.strip_prefix(s)?)));
        let beside = Path::new(document).with_file_name(path).to_str().unwrap().to_owned();
        let ends = format!("/{path}");
        self.paths.contains(path)
            || self.paths.contains(&beside)
            || match short {
                // A short name says which crate is meant, so the file must be in that one.
                Some(full) => self.paths.contains(&full) || self.inside(path),
                None => self.paths.iter().any(|known| known.ends_with(&ends)),
            }
    }

    /// Whether it is a metric: its prefix, its unit and its kind are added to the name that stands in the sources.
    fn measures(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix("onsembl_") else { return false };
        let name = name.trim_end_matches("_total").trim_end_matches("_seconds");
        self.words.contains(name)
    }

    /// The texts of the files that a path of a document names.
    fn named(&self, path: &str) -> Vec<String> {
        let path = path.trim_end_matches('/');
        let short =
            SHORT.iter().find_map(|(s, full)| Some(format!("{full}{}", path.strip_prefix(s)?)));
        let ends = format!("/{path}");
        let is_meant = |known: &&String| match &short {
            Some(full) => *known == full || known.starts_with(&format!("{full}/")),
            None => known.ends_with(&ends),
        };
        let files = self.paths.iter().filter(is_meant).filter(|path| path.ends_with(".rs"));
        files.map(|path| self.text(path)).collect()
    }

    /// `agent/judge/` is a folder inside of the core as well as the short name of a crate.
    fn inside(&self, path: &str) -> bool {
        let ends = format!("/{path}");
        self.paths.iter().any(|known| known.ends_with(&ends) && !known.contains("-ref/src/"))
    }
}

fn is_source(path: &str) -> bool {
    [".rs", ".toml", ".sql", ".sh", ".patch"].iter().any(|end| path.ends_with(end))
        || path.starts_with(".ci/")
}

/// A line without its comment.
fn code(line: &str) -> &str {
    match line.trim_start() {
        rest if rest.starts_with("//") => "",
        _ => line.split(" // ").next().unwrap_or(line),
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned)
}

/// What a line of a document is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Text,
    /// A drawing: a block of code without a language.
    Drawing,
    /// A block of code in some language.
    Code,
}

/// What stands in backticks outside of blocks of code, and every name of a type in drawings, with their lines.
fn spans(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut part = Part::Text;
    for (number, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            part = match (part, language) {
                (Part::Text, "") => Part::Drawing,
                (Part::Text, _) => Part::Code,
                (Part::Drawing | Part::Code, _) => Part::Text,
            };
            continue;
        }
        let parts: Vec<String> = match part {
            Part::Text => line.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
            Part::Drawing => words(line).filter(|word| is_type(word)).collect(),
            Part::Code => Vec::new(),
        };
        found.extend(parts.into_iter().map(|span| (number + 1, span)));
    }
    found
}

/// `FleetLimits`, and not `Fleet` or `SIGTERM`: what can only be a name of ours.
fn is_type(word: &str) -> bool {
    let capitals = word.chars().filter(char::is_ascii_uppercase).count();
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && capitals > 1
        && word.chars().any(|c| c.is_ascii_lowercase())
}

/// Targets of links to files of ours, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                found.push((number + 1, file.to_owned()));
            }
        }
    }
    found
}

/// The path in a span, if it is one: `protocol/fleet/mod.rs`, `hub/`, `tests/model.rs::name`.
fn as_path(span: &str) -> Option<&str> {
    let path = span.split("::").next()?;
    let is_path = FILES.iter().any(|end| path.ends_with(end)) || path.ends_with('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let is_plain = path.chars().all(plain) && !path.starts_with('/') && !path.starts_with('.');
    (is_path && is_plain && !MADE.contains(&path)).then_some(path)
}

/// The names of ours in a span: types, constants, `snake_case`, and each part of `path::Type` and `Type::method`.
fn as_names(span: &str) -> Vec<&str> {
    let span = span.split(['(', '{', '<', ' ']).next().unwrap_or_default().trim_end_matches("::");
    let parts: Vec<&str> = span.rsplit(".rs::").next().unwrap_or_default().split("::").collect();
    let is_name = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !parts.iter().all(is_name) {
        return Vec::new();
    }
    let is_qualified = parts.len() > 1;
    let is_ours = |part: &&str| {
        let has = |test: fn(&char) -> bool| part.chars().any(|c| test(&c));
        let begins = part.starts_with(|c: char| c.is_ascii_uppercase());
        let is_type = begins && has(char::is_ascii_lowercase);
        let is_constant = begins && part.contains('_') && !has(char::is_ascii_lowercase);
        is_qualified || is_type || is_constant || is_snake_case(part)
    };
    parts.into_iter().filter(is_ours).filter(|part| !FOREIGN.contains(part)).collect()
}

/// `on_message`: what can only be a name in a source, if it is none of the wire.
fn is_snake_case(part: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    part.trim_matches('_').contains('_') && part.chars().all(is_part)
}

#[test]
fn what_documents_name_exists() {
    let workspace = Workspace::read();
    let mut rotten = Vec::new();
    for (document, text) in workspace.documents() {
        for (line, file) in links(&text) {
            if !workspace.has(&file, &document) {
                rotten.push(format!("{document}:{line}: no file {file}"));
            }
        }
        for (line, span) in spans(&text) {
            let path = as_path(&span);
            if let Some(path) = path.filter(|path| !workspace.has(path, &document)) {
                rotten.push(format!("{document}:{line}: no file {path}"));
            }
            if path.is_some() && !span.contains("::") {
                continue;
            }
            for name in as_names(&span) {
                if !workspace.words.contains(name) && !workspace.measures(name) {
                    rotten.push(format!("{document}:{line}: no {name} in the sources ({span})"));
                }
            }
        }
    }
    assert!(rotten.is_empty(), "{} names of nothing:\n{}", rotten.len(), rotten.join("\n"));
}

/// Rules cited in a line: `P-12`.
fn rules(line: &str) -> impl Iterator<Item = u32> {
    line.match_indices("P-").filter_map(|(at, _)| {
        let before = line[..at].chars().next_back();
        // The curve in `ec_paramgen_curve:P-256` is none of ours.
        let is_word = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != ':');
        let digits = line[at + 2..].split(|c: char| !c.is_ascii_digit()).next()?;
        if is_word { digits.parse().ok() } else { None }
    })
}

#[test]
fn rules_that_are_cited_are_in_the_protocol() {
    let workspace = Workspace::read();
    let protocol = workspace.text("docs/PROTOCOL.md");
    let given: BTreeSet<u32> = protocol
        .lines()
        .filter_map(|line| line.strip_prefix("- **P-")?.split("**").next()?.parse().ok())
        .collect();
    assert!(given.len() > 150, "the rules of PROTOCOL.md are not written as this test reads them");
    let mut unknown = Vec::new();
    for (path, text) in workspace.documents().into_iter().chain(workspace.sources()) {
        for (number, line) in text.lines().enumerate() {
            let missing = rules(line).filter(|rule| !given.contains(rule));
            unknown.extend(missing.map(|rule| format!("{path}:{}: P-{rule}", number + 1)));
        }
    }
    assert!(unknown.is_empty(), "no such rules:\n{}", unknown.join("\n"));
}

/// Numbers of lists that are not in this repository say nothing to its readers.
#[test]
fn nothing_cites_lists_that_readers_do_not_have() {
    const LISTS: &[&str] = &["defect ", "defects ", "study ", "wire reference", "seed document"];
    let workspace = Workspace::read();
    let mut cited = Vec::new();
    for (path, text) in workspace.documents().into_iter().chain(workspace.sources()) {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            let is_cite = |list: &&&str| {
                let needs_number = list.ends_with(' ');
                let behind =
                    |rest: &str| !needs_number || rest.starts_with(|c: char| c.is_ascii_digit());
                line.split(**list).skip(1).any(behind)
            };
            cited.extend(
                LISTS.iter().filter(is_cite).map(|_| format!("{path}:{}: {line}", number + 1)),
            );
        }
    }
    assert!(
        cited.is_empty(),
        "cite a rule of PROTOCOL.md, or carry the fact:\n{}",
        cited.join("\n")
    );
}

/// The rows of the table below a heading, without its head.
fn rows<'a>(text: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let below = text.split(heading).nth(1).expect("the heading is there");
    let table = below.lines().skip_while(|line| !line.starts_with("| ---"));
    table.skip(1).take_while(|line| line.starts_with('|'))
}

#[test]
fn a_decision_is_in_the_file_that_is_named_for_it() {
    let workspace = Workspace::read();
    let architecture = workspace.text("docs/ARCHITECTURE.md");
    let (mut count, mut elsewhere) = (0, Vec::new());
    for row in rows(&architecture, "### Where decisions live") {
        let spans: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let paths = spans.iter().filter_map(|span| as_path(span));
        let texts: Vec<String> = paths.flat_map(|path| workspace.named(path)).collect();
        assert!(!texts.is_empty(), "no file is named in: {row}");
        for name in spans.iter().filter(|span| as_path(span).is_none()) {
            count += 1;
            let has =
                |text: &String| text.lines().any(|line| words(code(line)).any(|w| w == *name));
            if !texts.iter().any(has) {
                elsewhere.push(format!("{name} is in none of the files of: {row}"));
            }
        }
    }
    assert!(count > 5, "the table is not where this test looks");
    assert!(elsewhere.is_empty(), "{}", elsewhere.join("\n"));
}

#[test]
fn the_glossary_is_short_and_in_order() {
    let glossary = Workspace::read().text("docs/GLOSSARY.md");
    let terms: Vec<&str> = rows(&glossary, "# Glossary")
        .filter_map(|row| row.split('|').nth(1))
        .map(str::trim)
        .collect();
    assert!(terms.len() > 30, "the glossary is not written as this test reads it");
    assert!(terms.len() <= MOST_TERMS, "{} terms; explain some where they stand", terms.len());
    assert!(terms.is_sorted(), "out of order: {terms:?}");
}

#[test]
fn each_file_at_the_edge_says_which_effect_it_performs() {
    let workspace = Workspace::read();
    let architecture = workspace.text("docs/ARCHITECTURE.md");
    let mut count = 0;
    for path in workspace.paths.iter().filter(|path| path.ends_with(".rs")) {
        if !EDGES.iter().any(|edge| path.starts_with(edge)) {
            continue;
        }
        count += 1;
        let short = path.replace("onsembl-server-ref/src/", "server/");
        let short = short.replace("onsembl-agent-ref/src/", "agent/");
        let row = format!("| `{short}` | ");
        assert!(
            architecture.contains(&row),
            "docs/ARCHITECTURE.md lacks a line that begins: {row}"
        );
    }
    assert!(count > 10, "the edges are not where this test looks");
    for line in architecture.lines().filter(|line| line.starts_with("| `")) {
        let path = line.trim_start_matches("| `").split('`').next().unwrap_or_default();
        let is_edge = [
            "server/hub/",
            "server/dashboard/",
            "server/traces/",
            "agent/engine/",
            "agent/executor/",
        ];
        if is_edge.iter().any(|edge| path.starts_with(edge)) {
            assert!(workspace.has(path, "docs/ARCHITECTURE.md"), "there is no {path}");
        }
    }
}

#[test]
fn the_readers_of_this_test_see_what_is_rotten() {
    let workspace = Workspace::read();
    let here = "docs/LESSONS.md";
    assert!(workspace.has("protocol/fleet/mod.rs", here));
    assert!(workspace.has("PROTOCOL.md", here));
    assert!(!workspace.has("protocol/session/server.rs", here));
    assert!(!workspace.has("protocol/command/lifecycle.rs", here));
    assert!(!workspace.has("protocol/supervisor.rs", here));
    assert!(!workspace.words.contains("StreamLedger"));
    assert_eq!(as_path("protocol/supervisor.rs"), Some("protocol/supervisor.rs"));
    assert_eq!(as_path("exec --keys coder"), None);
    assert_eq!(as_names("StreamLedger"), ["StreamLedger"]);
    assert_eq!(as_names("Deadline::after"), ["Deadline", "after"]);
    assert_eq!(as_names("cancelled"), Vec::<&str>::new());
    assert_eq!(rules("(P-12, XP-13; P-9999)").collect::<Vec<_>>(), [12, 9999]);
    let found = spans("a `b` c\n```\n─▶ StreamLedger ─▶ x\n```\n`e`\n```sh\nMyName\n```");
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 5]);
}
