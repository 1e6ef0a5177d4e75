//! Results: one JSON line for each run of a case with a peer.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    pub commit: String,
    pub date: String,
    pub machine: String,
    pub round: u64,
    pub seed: u64,
    pub measure: String,
    pub variant: String,
    pub peer: String,
    /// Nothing was lost, repeated or out of order, and nobody gave up.
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    pub values: BTreeMap<String, f64>,
    /// Processor time of the load generator itself.
    pub load_cpu_s: f64,
    pub seconds: f64,
    /// What else ran: the load average of the last minute, when the run began.
    #[serde(default)]
    pub machine_load: f64,
}

pub fn append(file: &Path, record: &Record) -> Result<()> {
    let mut out = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(out, "{}", serde_json::to_string(record)?)?;
    Ok(())
}

pub fn read(file: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// The values of a peer in a case, each with its round. Failed runs have none.
pub fn values(
    records: &[Record],
    measure: &str,
    variant: &str,
    peer: &str,
    value: &str,
) -> Vec<(u64, f64)> {
    records
        .iter()
        .filter(|one| {
            one.ok && one.measure == measure && one.variant == variant && one.peer == peer
        })
        .filter_map(|one| Some((one.round, *one.values.get(value)?)))
        .collect()
}

/// In the order in which they come first.
pub fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}
