//! The whole comparison with one command; see the README beside this workspace.

mod cases;
mod dialect;
mod engine;
mod goals;
mod links;
mod message;
mod mqtt;
mod payloads;
mod peers;
mod process;
mod report;
mod results;
mod rounds;
mod scenario;
mod stats;
mod svg;
mod websocket;

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
bench-peers [run] [OPTIONS]   measures; without a choice everything, into docs/performance.jsonl, and writes the page
bench-peers report            writes docs/PERFORMANCE.md and its plots from docs/performance.jsonl

  --measure NAME[,NAME]    only these
  --variant PART           only variants with this in their name
  --peers NAME[,NAME]      only these peers; `ours` are ours
  --server [NAME=]PATH     a binary of our server in place of a release build; may be repeated, to compare versions
  --agent PATH             a binary of our agent
  --unstored               our server relays output without storing it; with --measure output
  --legacy                 ours in the legacy dialect too (the default where everything is measured)
  --rounds N               how often (3)
  --quick                  fewer messages and shorter windows
  --seed N                 of the random numbers (1)
  --out FILE               results, a JSON line each, appended
  --commit NAME            what is measured, where that is not what is checked out
  --scratch FOLDER         where data folders go; they should be on a disk

Servers before and after a change, 100 B messages only:
  bench-peers --measure output --variant '100 B, 1 agent' --peers before,after --server before=A --server after=B
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match start(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no run failed.
fn start(words: &[String]) -> Result<bool> {
    match words.first().map(String::as_str) {
        Some("load") => {
            let params = serde_json::from_str(words.get(1).context("what to do")?)?;
            println!("{}", serde_json::to_string(&scenario::run(params))?);
            Ok(true)
        }
        Some("help" | "--help" | "-h") => {
            print!("{HELP}\nMeasures: {}\n", rounds::names());
            Ok(true)
        }
        Some("report") => {
            let docs = root()?.join("docs");
            report::write(&results::read(&docs.join("performance.jsonl"))?, &docs)?;
            Ok(true)
        }
        Some("run") => measure(&words[1..]),
        _ => measure(words),
    }
}

fn measure(words: &[String]) -> Result<bool> {
    let binaries = std::env::current_exe()?.parent().context("a folder")?.to_owned();
    let root = root()?;
    let mut places = peers::Places {
        root: root.clone(),
        cache: binaries.join("bench-peers-cache"),
        scratch: std::env::temp_dir().join(format!("onsembl-bench-peers-{}", std::process::id())),
        agent: binaries.join("onsembl-agent"),
        binaries,
    };
    let mut wanted = rounds::Wanted { rounds: 3, seed: 1, ..rounds::Wanted::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().with_context(|| format!("a value behind {word}"));
        let list = |text: String| text.split(',').map(str::to_owned).collect();
        match word.as_str() {
            "--measure" => wanted.measures = list(value()?),
            "--variant" => wanted.variant = Some(value()?),
            "--peers" => wanted.peers = list(value()?),
            "--server" => wanted.servers.push(named(&value()?)),
            "--agent" => places.agent = value()?.into(),
            "--unstored" => wanted.keeping = payloads::Keeping::Unstored,
            "--legacy" => wanted.legacy = true,
            "--rounds" => wanted.rounds = value()?.parse()?,
            "--quick" => wanted.quick = true,
            "--seed" => wanted.seed = value()?.parse()?,
            "--out" => wanted.out = Some(value()?.into()),
            "--commit" => wanted.commit = Some(value()?),
            "--scratch" => places.scratch = value()?.into(),
            other => bail!("{other} is not known\n{HELP}"),
        }
    }
    let whole = wanted.measures.is_empty() && wanted.variant.is_none() && wanted.peers.is_empty();
    let wants_ours =
        wanted.peers.is_empty() || wanted.peers.iter().any(|name| name.starts_with("ours"));
    if wanted.servers.is_empty() && wants_ours {
        wanted.servers.push(("ours".into(), build(&root, &places.binaries)?));
    }
    let docs = root.join("docs");
    let keeps = whole && wanted.out.is_none();
    if whole {
        wanted.legacy = true;
        // An earlier run goes when a new one begins: results of two commits do not belong on one page.
        let file = docs.join("performance.jsonl");
        if keeps && file.exists() {
            std::fs::remove_file(&file)?;
        }
        wanted.out.get_or_insert(file);
    }
    let records = rounds::run(&wanted, &places)?;
    std::fs::remove_dir_all(&places.scratch)?;
    println!("\n{}", rounds::summary(&records));
    if keeps {
        report::write(&records, &docs)?;
    }
    Ok(records.iter().all(|record| record.ok))
}

/// The repository.
fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize()?)
}

fn named(text: &str) -> (String, PathBuf) {
    match text.split_once('=') {
        Some((name, path)) => (name.into(), path.into()),
        None => ("ours".into(), text.into()),
    }
}

/// Our programs, as users build them.
fn build(root: &Path, binaries: &Path) -> Result<PathBuf> {
    let target = binaries.parent().context("a folder")?;
    let done = Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "onsembl-server-ref",
            "--package",
            "onsembl-agent-ref",
            "--bins",
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(root)
        .status()?;
    ensure!(done.success(), "our programs cannot be built");
    Ok(binaries.join("onsembl-server"))
}
