//! `onsembl-server backup` and `onsembl-server restore`.

use super::print;
use super::view::View;
use crate::server::{Restored, restore};
use crate::store::backup::{self, Contents, InTheWay, Pace};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A tenth of what a disk of a small machine gives, so that a server beside it notices little.
const PACE: u64 = 64 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
The copy is a consistent snapshot, even while the server writes. It is checked before it gets its final name, and has mode 0600,
since it holds output and hashes of tokens. It does not include token.secret of the data folder, which never changes: keep a copy
of that file too.

Examples:
  onsembl-server backup --data data backup.db
  onsembl-server backup --data /var/lib/onsembl /backup/onsembl-$(date +%F).db

Exit codes:
  0  the copy is complete
  1  no copy was made
  2  the command line is wrong")]
pub(super) struct Backup {
    /// The data folder of the server.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Most bytes to copy a second; 0: no limit. Writes of the server during the copy stay in its log, so a slow
    /// copy needs disk space for them.
    #[arg(long, env = "ONSEMBL_BACKUP_PACE", default_value_t = PACE, value_name = "BYTES")]
    pace: u64,
    /// Replace FILE if it exists.
    #[arg(long)]
    force: bool,
    /// The copy.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The work of agents since the copy is not lost: the server adopts their running commands, agents report how commands ended, and
nothing runs twice (each agent remembers its last 4,096 commands). Emergency stops ordered since stay in force on the agents that
received them. See the chapter about a lost database in docs/OPERATING.md.

Examples:
  onsembl-server restore --data data backup.db
  onsembl-server restore --data data --force backup.db

Exit codes:
  0  restored
  1  not restored, and nothing was changed
  2  the command line is wrong")]
pub(super) struct Restore {
    /// The data folder of the server, which must be stopped.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Replace an existing database, which is kept beside it.
    #[arg(long)]
    force: bool,
    /// A copy made by `backup`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const fn in_the_way(force: bool) -> InTheWay {
    if force { InTheWay::IsReplaced } else { InTheWay::Stays }
}

fn figures(contents: Contents) -> String {
    let Contents { bytes, schema, agents, commands } = contents;
    let bytes = crate::limits::bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    let s = |count| if count == 1 { "" } else { "s" };
    format!(
        "{bytes}, {agents} agent{}, {commands} command{}, schema {schema}",
        s(agents),
        s(commands)
    )
}

/// The object with these fields too.
fn with<const N: usize>(mut object: Value, more: [(&str, Value); N]) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    object
}

fn as_json(contents: Contents) -> Value {
    let Contents { bytes, schema, agents, commands } = contents;
    json!({ "bytes": bytes, "schema": schema, "agents": agents, "commands": commands })
}

impl Backup {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let Self { data, pace, force, file } = self;
        let to = file.clone();
        let pace = if pace == 0 { Pace::Unbounded } else { Pace::BytesPerSecond(pace) };
        let copying = move || backup::backup(&data, &to, pace, in_the_way(force));
        let contents = tokio::task::spawn_blocking(copying).await??;
        let all = with(as_json(contents), [("file", json!(file))]);
        let name = file.display().to_string();
        view.done(&all, &name, format_args!("{name}: {}; checked", figures(contents)))?;
        if !view.is_json() && !view.quiet {
            let text =
                "it does not include token.secret of the data folder; keep a copy of that file too";
            print::note(text)?;
        }
        Ok(())
    }
}

impl Restore {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let Self { data, force, file } = self;
        let Restored { contents, kept, has_secret } =
            restore(&file, &data, in_the_way(force)).await?;
        let more = [("kept", json!(kept)), ("has_secret", json!(has_secret))];
        let all = with(as_json(contents), more);
        let name = data.display().to_string();
        view.done(&all, &name, format_args!("restored {name}: {}", figures(contents)))?;
        if view.is_json() {
            return Ok(());
        }
        if let Some(kept) = kept.filter(|_| !view.quiet) {
            print::note(format_args!("the previous database is {}", kept.display()))?;
        }
        if !has_secret {
            print::note(
                "token.secret is missing: copy it back, or start the server with --new-secret once, which makes signed tokens invalid",
            )?;
        }
        Ok(())
    }
}
