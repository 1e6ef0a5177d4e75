//! `onsembl-agent doctor`: from arguments to an examination, and from its checks to a table.

use super::print;
use super::view::View;
use super::{DoctorArgs, run};
use crate::doctor::{Check, Examination, Verdict, examine};
use crate::engine::AgentOptions;
use crate::state_dir::locate;
use anyhow::{Context, Result};

/// Most failures that an exit code counts: above 125 others mean something of their own.
const MOST: usize = 100;

pub(super) fn doctor(args: DoctorArgs, view: View) -> Result<u8> {
    let view = view.or_json(args.json);
    let state_dir = match (args.state_dir, &args.name) {
        (Some(dir), _) => Some(dir),
        (None, Some(name)) => Some(locate(None, name)?),
        (None, None) => None,
    };
    let name = args.name.unwrap_or_else(|| "this machine".to_owned());
    let agent = AgentOptions {
        tls_ca: args.tls_ca,
        proxy: run::proxy(args.proxy.as_deref())?,
        ..AgentOptions::new(args.server, run::token(args.token)?, name)
    };
    let examination = Examination { agent, idle_hold: args.idle_hold, state_dir };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let checks = runtime.block_on(examine(examination));
    // A look-up at a silent name server may still block a thread.
    runtime.shutdown_background();
    let checks = checks?;
    let written = match view.is_json() {
        true => print::json(&serde_json::to_string_pretty(&checks)?),
        false => print::lines(table(&checks)),
    };
    written.context("cannot write to stdout")?;
    let failed = checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    Ok(failed.min(MOST) as u8)
}

fn table(checks: &[Check]) -> Vec<String> {
    let line = |check: &Check| {
        let word = match check.verdict {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Skip => "SKIP",
        };
        let found = format!("{word}  {:<16} {}", check.check, check.found);
        let action =
            (!check.action.is_empty()).then(|| format!("      {:<16} → {}", "", check.action));
        std::iter::once(found).chain(action)
    };
    checks.iter().flat_map(line).collect()
}
