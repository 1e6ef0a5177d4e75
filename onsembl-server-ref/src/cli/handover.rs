//! Where a new token goes: to standard output, or into a file that is opened before the token is made. One that does not
//! get there is revoked, because nobody has it.

use super::print;
use super::view::{Format, View};
use crate::auth::NewToken;
use crate::store::Store;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use onsembl_protocol::time::WallTime;
use onsembl_transport::private::{Draft, Existing};
use serde_json::json;
use std::io::Write as _;
use std::path::PathBuf;

/// Where it is to go.
#[derive(Debug, Default, Args)]
pub(super) struct Destination {
    /// Write it to this file, readable only by you, instead of printing it.
    #[arg(long, env = "ONSEMBL_OUT", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace FILE of --out if it exists.
    #[arg(long, requires = "out")]
    force: bool,
}

/// Where it can go now.
#[derive(Debug)]
pub(super) enum Place {
    Stdout,
    File { draft: Draft, path: PathBuf },
}

impl Destination {
    /// Opens it.
    ///
    /// # Errors
    /// There is a file of this name, none can be written, or the token would be nowhere.
    pub(super) fn open(self, view: View) -> anyhow::Result<Place> {
        let Some(path) = self.out else {
            ensure!(
                view.format != Format::Name,
                "-o name prints only the id, so nobody would have the token; add --out FILE"
            );
            return Ok(Place::Stdout);
        };
        let existing = if self.force { Existing::IsReplaced } else { Existing::Stays };
        match Draft::new(&path, existing) {
            Ok(draft) => Ok(Place::File { draft, path }),
            Err(_) if existing == Existing::Stays && path.is_file() => bail!(
                "{} exists, and no token was made; choose another name, or replace the file with --force",
                path.display()
            ),
            Err(error) => Err(error).with_context(|| {
                format!("cannot write to {}, and no token was made", path.display())
            }),
        }
    }
}

impl Place {
    /// Hands a new token over, and says what a person is to know of it.
    ///
    /// # Errors
    /// It did not get there, and was revoked.
    pub(super) async fn hand_over(
        self,
        made: &NewToken,
        store: &Store,
        view: View,
        now: WallTime,
    ) -> anyhow::Result<()> {
        let Err(error) = self.write(made, view) else {
            say(made, view);
            return Ok(());
        };
        let (id, note) = (made.id.as_str(), "it could not be handed over");
        Err(error.context(match store.tokens().revoke(id, now, note).await {
            Ok(()) => format!("the token {id} could not be handed over and was revoked"),
            Err(undone) => format!(
                "the token {id} could not be handed over, and not be revoked either ({undone}); nobody has it, and `onsembl-server token revoke {id}` ends it"
            ),
        }))
    }

    fn write(self, made: &NewToken, view: View) -> anyhow::Result<()> {
        let (token, out) = match self {
            Self::File { draft, path } => {
                draft
                    .finish(format!("{}\n", made.text).as_bytes())
                    .with_context(|| format!("cannot write to {}", path.display()))?;
                (None, Some(path))
            }
            Self::Stdout => (Some(&made.text), None),
        };
        let json = json!({ "token_id": made.id, "token": token, "out": out, "takes": made.takes });
        view.one(json, made.id.as_ref(), || {
            if let Some(token) = token {
                writeln!(print::raw(), "{token}").context("cannot write to standard output")?;
            }
            Ok(())
        })
    }
}

/// What a person is to know of a token that is not in it.
fn say(made: &NewToken, view: View) {
    match view.format {
        Format::Json | Format::Jsonl | Format::Name => return,
        Format::Table | Format::Wide => {}
    }
    // It was handed over: a closed standard error is no reason to revoke it.
    let _ = print::note(format_args!("token {}", made.id));
    if let Some(agent) = &made.takes {
        let from = made.from.as_ref().map(|from| format!(" from the token {from}"));
        let from = from.unwrap_or_default();
        let _ = print::note(format_args!("its first use takes over the agent {agent}{from}"));
    }
}
