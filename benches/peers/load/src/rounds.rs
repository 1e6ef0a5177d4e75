//! Rounds: each case with each peer in turn, so that other load on the machine affects all of them.

use crate::cases::{self, Case, CaseKind, MEASURES, Who};
use crate::dialect::Dialect;
use crate::payloads::Keeping;
use crate::peers::{Earlier, Kind, Peer, Places, Running, others, serve};
use crate::process;
use crate::results::{Record, append, distinct, values};
use crate::scenario::{Outcome, Params, Scenario};
use crate::stats::{Spread, median, ratios};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is asked for on the command line.
#[derive(Debug, Default)]
pub struct Wanted {
    pub measures: Vec<String>,
    /// A part of the name of a variant.
    pub variant: Option<String>,
    pub rounds: u64,
    pub seed: u64,
    pub quick: bool,
    pub peers: Vec<String>,
    /// Names and binaries of our server.
    pub servers: Vec<(String, PathBuf)>,
    pub legacy: bool,
    /// Whether our server is to store what commands write.
    pub keeping: Keeping,
    pub out: Option<PathBuf>,
    /// What is measured, where that is not what is checked out.
    pub commit: Option<String>,
}

pub fn run(wanted: &Wanted, places: &Places) -> Result<Vec<Record>> {
    let peers = peers(wanted, places);
    ensure!(!peers.is_empty(), "no peer is left");
    let mut cases: Vec<Case> = cases::all(wanted.quick)
        .into_iter()
        .filter(|case| {
            wanted.measures.is_empty() || wanted.measures.iter().any(|one| one == case.measure)
        })
        .filter(|case| wanted.variant.as_ref().is_none_or(|part| case.variant.contains(part)))
        .collect();
    ensure!(!cases.is_empty(), "no such measure; there are {}", names());
    if wanted.keeping == Keeping::Unstored {
        ensure!(!wanted.legacy, "--unstored is not for --legacy: a legacy agent cannot be told");
        for case in &mut cases {
            ensure!(case.measure == "output", "--unstored is for --measure output");
            case.leave_unstored();
        }
    }
    let (commit, date, machine) =
        (wanted.commit.clone().unwrap_or_else(|| commit(&places.root)), date(), machine());
    let mut records = Vec::new();
    let mut known = BTreeMap::new();
    for round in 1..=wanted.rounds {
        for case in &cases {
            let mut turn: Vec<&Peer> = peers.iter().filter(|peer| takes_part(case, peer)).collect();
            let first = round as usize % turn.len().max(1);
            turn.rotate_left(first);
            for peer in turn {
                let (began, machine_load) = (Instant::now(), machine_load());
                let seed = wanted.seed + round;
                let outcome = one(case, peer, places, seed, &mut known).unwrap_or_else(|error| {
                    Outcome { faults: vec![format!("{error:#}")], ..Outcome::default() }
                });
                let record = Record {
                    commit: commit.clone(),
                    date: date.clone(),
                    machine: machine.clone(),
                    round,
                    seed,
                    measure: case.measure.into(),
                    variant: case.variant.clone(),
                    peer: peer.name.clone(),
                    ok: outcome.faults.is_empty(),
                    faults: outcome.faults,
                    values: outcome.values,
                    load_cpu_s: (outcome.load_cpu_s * 100.0).round() / 100.0,
                    seconds: began.elapsed().as_secs_f64().round(),
                    machine_load,
                };
                println!("{}", line(&record));
                if let Some(file) = &wanted.out {
                    append(file, &record)?;
                }
                records.push(record);
            }
        }
    }
    for folder in known.into_values() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(records)
}

pub fn names() -> String {
    MEASURES.iter().map(|measure| measure.name).collect::<Vec<_>>().join(", ")
}

fn peers(wanted: &Wanted, places: &Places) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (name, path) in &wanted.servers {
        let ours = |name: String, dialect| Peer { name, kind: Kind::Ours(path.clone()), dialect };
        peers.push(ours(name.clone(), Dialect::Extended));
        if wanted.legacy {
            peers.push(ours(format!("{name}-legacy"), Dialect::Legacy));
        }
    }
    peers.extend(others());
    peers.retain(|peer| wanted.peers.is_empty() || wanted.peers.contains(&peer.name));
    peers.retain(|peer| match places.install(peer) {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: {}: {error:#}", peer.name);
            false
        }
    });
    peers
}

fn takes_part(case: &Case, peer: &Peer) -> bool {
    let extended = peer.dialect == Dialect::Extended;
    match case.who {
        Who::All => true,
        Who::OursAndFloor => extended || peer.name == "tungstenite-flush",
        Who::Both => peer.is_ours(),
        Who::Ours => extended,
    }
}

fn one(
    case: &Case,
    peer: &Peer,
    places: &Places,
    seed: u64,
    known: &mut BTreeMap<String, PathBuf>,
) -> Result<Outcome> {
    let folder = places.folder(&format!("{}-{}", case.measure, peer.name))?;
    let outcome = match &case.kind {
        CaseKind::Load(scenario) => {
            let server = places.start(peer, case.users, case.interval, &folder)?;
            load(scenario.clone(), peer, &server, seed)?.end()
        }
        CaseKind::Return { agents, dials } => {
            come_back(case, peer, places, seed, &folder, *agents, *dials)
        }
        CaseKind::Exec { count, flood } => exec(case, peer, places, seed, &folder, *count, *flood),
        CaseKind::Start { agents } => {
            let kept = start(case, peer, places, seed, *agents, known);
            std::fs::remove_dir_all(&folder)?;
            return kept;
        }
        CaseKind::Sizes => sizes(peer, places, &folder),
    };
    std::fs::remove_dir_all(&folder)?;
    outcome
}

/// A load generator that runs.
struct Generator(Child);

impl Generator {
    fn end(self) -> Result<Outcome> {
        let out = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&out.stdout);
        let last = text.lines().last().context("the load generator said nothing")?;
        Ok(serde_json::from_str(last)?)
    }
}

fn load(scenario: Scenario, peer: &Peer, server: &Running, seed: u64) -> Result<Generator> {
    let params = Params {
        scenario,
        dialect: peer.dialect,
        target: server.address,
        pid: server.pid(),
        seed,
        users: server.users.clone(),
    };
    let child = Command::new(std::env::current_exe()?)
        .arg("load")
        .arg(serde_json::to_string(&params)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(Generator(child))
}

fn binary(peer: &Peer) -> Result<&Path> {
    match &peer.kind {
        Kind::Ours(path) => Ok(path),
        other => anyhow::bail!("{other:?} is not ours"),
    }
}

fn come_back(
    case: &Case,
    peer: &Peer,
    places: &Places,
    seed: u64,
    folder: &Path,
    agents: usize,
    dials: usize,
) -> Result<Outcome> {
    let mut server = places.start(peer, case.users, case.interval, folder)?;
    let mut generator = load(Scenario::Return { agents, dials }, peer, &server, seed)?;
    let mut out = BufReader::new(generator.0.stdout.take().context("its standard output")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    let mut again = None;
    if line.trim() == "in session" {
        server.kill()?;
        let new = serve(binary(peer)?, case.users, case.interval, folder, Some(&server.earlier()))?;
        let mut input = generator.0.stdin.take().context("its standard input")?;
        writeln!(input, "{}", new.pid())?;
        again = Some((new, input));
        line.clear();
        out.read_line(&mut line)?;
    }
    generator.0.wait()?;
    drop(again);
    Ok(serde_json::from_str(&line)?)
}

fn exec(
    case: &Case,
    peer: &Peer,
    places: &Places,
    seed: u64,
    folder: &Path,
    count: usize,
    flood: bool,
) -> Result<Outcome> {
    let server = places.start(peer, case.users, case.interval, folder)?;
    let mut agents = Vec::new();
    for n in 0..2 {
        let errors = std::fs::File::create(folder.join(format!("agent-{n}")))?;
        let child = Command::new(&places.agent)
            .args([
                "run",
                "--server",
                &format!("http://{}", server.address),
                "--name",
                &format!("bench-{n}"),
            ])
            .arg("--state-dir")
            .arg(folder.join(format!("state-{n}")))
            .env("ONSEMBL_TOKEN", &server.users[0].agent)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", places.agent.display()))?;
        agents.push(child);
    }
    std::thread::sleep(Duration::from_secs(1));
    let outcome = load(Scenario::Exec { count, flood }, peer, &server, seed)?.end();
    for mut agent in agents {
        agent.kill()?;
        agent.wait()?;
    }
    outcome
}

fn start(
    case: &Case,
    peer: &Peer,
    places: &Places,
    seed: u64,
    agents: usize,
    known: &mut BTreeMap<String, PathBuf>,
) -> Result<Outcome> {
    if !known.contains_key(&peer.name) {
        let folder = places.folder(&format!("known-{}", peer.name))?;
        let mut server = places.start(peer, case.users, case.interval, &folder)?;
        let outcome = load(Scenario::Known { agents }, peer, &server, seed)?.end()?;
        ensure!(outcome.faults.is_empty(), "{}", outcome.faults.join("; "));
        server.terminate()?;
        known.insert(peer.name.clone(), folder);
    }
    let folder = &known[&peer.name];
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    // Nothing that is measured depends on how often it was started before, and a start is short.
    for _ in 0..3 {
        let began = Instant::now();
        let before = Earlier { address: "127.0.0.1:0".parse()?, users: Vec::new() };
        let mut server = serve(binary(peer)?, 0, case.interval, folder, Some(&before))?;
        server.read_address()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_secs(2));
        memory.push(process::resident(server.pid())? as f64 / 1048576.0);
        server.terminate()?;
    }
    let values = [("start_ms", times), ("rss_mib", memory)]
        .into_iter()
        .filter_map(|(name, all)| Some((name.to_owned(), median(&all)?)))
        .collect();
    Ok(Outcome { values, ..Outcome::default() })
}

fn sizes(peer: &Peer, places: &Places, folder: &Path) -> Result<Outcome> {
    let mut values = BTreeMap::new();
    for (name, path) in [("server_mib", binary(peer)?), ("agent_mib", places.agent.as_path())] {
        let copy = folder.join(name);
        let done =
            Command::new("strip").arg("-o").arg(&copy).arg(path).stdin(Stdio::null()).status();
        ensure!(done.is_ok_and(|status| status.success()), "strip is not available");
        values.insert(name.to_owned(), std::fs::metadata(&copy)?.len() as f64 / 1048576.0);
    }
    Ok(Outcome { values, ..Outcome::default() })
}

fn line(record: &Record) -> String {
    let place = format!("{} {}: {}, {}", record.round, record.measure, record.variant, record.peer);
    if !record.ok {
        return format!("{place}: FAILED: {}", record.faults.join("; "));
    }
    let values: Vec<String> = record
        .values
        .iter()
        .map(|(name, value)| format!("{name} {}", crate::stats::number(*value)))
        .collect();
    format!("{place}: {} (load generator {} s CPU)", values.join(", "), record.load_cpu_s)
}

/// Medians of all rounds, and ratios to the first peer of each case.
pub fn summary(records: &[Record]) -> String {
    let mut out = String::new();
    for measure in MEASURES {
        let of: Vec<&Record> =
            records.iter().filter(|record| record.measure == measure.name).collect();
        for variant in distinct(of.iter().map(|record| record.variant.as_str())) {
            let peers = distinct(
                of.iter().filter(|one| one.variant == variant).map(|one| one.peer.as_str()),
            );
            for (value, title) in measure.values {
                let mut base: Option<Vec<(u64, f64)>> = None;
                for peer in &peers {
                    let all = values(records, measure.name, variant, peer, value);
                    let only: Vec<f64> = all.iter().map(|(_, value)| *value).collect();
                    let Some(spread) = Spread::of(&only) else { continue };
                    let ratio = base.as_ref().and_then(|base| Spread::of(&ratios(&all, base)));
                    let ratio =
                        ratio.map_or(String::new(), |ratio| format!("   × {}", ratio.shown()));
                    let place = format!("{}: {variant}", measure.name);
                    out +=
                        &format!("{place:<36} {title:<32} {peer:<22} {}{ratio}\n", spread.shown());
                    base.get_or_insert(all);
                }
            }
        }
    }
    let failed = records.iter().filter(|record| !record.ok).count();
    if failed > 0 {
        out += &format!("{failed} runs FAILED and are left out\n");
    }
    out
}

fn commit(root: &Path) -> String {
    let out = Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root).output();
    out.ok().map_or(String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().into())
}

fn date() -> String {
    let out = Command::new("date").args(["-u", "+%F"]).output();
    out.ok().map_or(String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().into())
}

fn machine_load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':']))
}
