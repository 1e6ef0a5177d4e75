//! `onsembl token`: the tokens of the user who asks, by the API. They are made by the operator.

use super::connect::ServerArgs;
use super::find::by_short_id;
use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape, read};
use super::tokens::list;
use super::view::View;
use crate::token_view::TokenView;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use onsembl_transport::clock::SystemClock;
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  onsembl token list                       your tokens: kind, last use, expiry
  onsembl token revoke 5f0c8a91d2b3e476

Tokens are made by the operator of the server: onsembl-server token --user NAME --out FILE";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UserToken {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List your tokens: kind, last use and its address, expiry.
    #[command(after_help = EXAMPLES)]
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Revoke one of your tokens and close what it opened.
    #[command(after_help = EXAMPLES)]
    Revoke {
        #[command(flatten)]
        server: ServerArgs,
        /// The token, by its id.
        #[arg(value_name = "ID")]
        id: String,
        /// Revoke it even if it is the one in use here.
        #[arg(long)]
        own: bool,
    },
}

impl UserToken {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        match self.action {
            Action::List { server } => {
                let remote = server.connect()?;
                let tokens = tokio::task::spawn_blocking(move || tokens(&remote)).await??;
                let remedy = "the operator of the server makes them";
                list(&tokens, view, SystemClock::new().now().wall, remedy)
            }
            Action::Revoke { server, id, own } => {
                let remote = server.connect()?;
                let revoke = move || revoke(&remote, id.trim(), own);
                let (id, answer) = tokio::task::spawn_blocking(revoke).await??;
                let text = |field: &str| answer.get(field).and_then(Value::as_str);
                let kind = text("kind").unwrap_or("unknown kind");
                let made_for = text("made_for").map(|name| format!(" for {name}"));
                let made_for = made_for.unwrap_or_default();
                let was = match answer.get("was_revoked") {
                    Some(Value::Bool(true)) => ", which was revoked already",
                    Some(_) | None => "",
                };
                view.done(
                    &answer,
                    &id,
                    format_args!("revoked the token {id} ({kind}{made_for}){was}"),
                )
            }
        }
    }
}

fn tokens(remote: &Remote) -> anyhow::Result<Vec<TokenView>> {
    read(remote.list("/api/tokens", "tokens", usize::MAX)?)
}

fn revoke(remote: &Remote, wanted: &str, own: bool) -> anyhow::Result<(String, Value)> {
    let tokens = tokens(remote)?;
    let ids = || tokens.iter().map(|token| token.token_id.as_str());
    let exact = ids().find(|id| *id == wanted);
    let id = match exact {
        Some(id) => id,
        None => by_short_id(wanted, ids(), "tokens")?.with_context(|| {
            format!("no token of yours has the id {wanted:?}; `onsembl token list` lists them")
        })?,
    };
    let is_own = tokens.iter().any(|token| token.token_id == id && token.current);
    if is_own && !own {
        bail!("{id} is the token in use here; use --own to revoke it anyway");
    }
    let mut answer = remote.delete(&format!("/api/tokens/{}", escape(id)), PATIENCE)?;
    let answer = serde_json::from_str(&answer.text()?).context(NOT_OURS)?;
    if is_own {
        print::say("the token in use here is revoked; log in again with another one")?;
    }
    Ok((id.to_owned(), answer))
}
