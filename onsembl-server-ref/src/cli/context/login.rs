//! `login` and `logout`.

use super::store::{ContextName, ContextStore, Settings};
use crate::cli::print;
use crate::cli::remote::{NOT_OURS, PATIENCE, Remote};
use crate::cli::view::View;
use crate::client::ClientToken;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use onsembl_transport::secret::{Secret, TokenFile, TokenSource as _};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Read as _, stdin};
use std::path::PathBuf;

const LOGIN_EXAMPLES: &str = "\
Examples:
  onsembl login https://control.example                        prompts for the token
  onsembl login https://control.example --token-file me.token
  ssh host onsembl-server token --user me --data DIR | onsembl login https://control.example
  onsembl login https://staging.example --context staging

The operator of the server makes tokens: onsembl-server token --user NAME --out FILE";

/// Longest token that is read, in bytes.
const LONGEST_TOKEN: u64 = 64 * 1024;

#[derive(Debug, Args)]
#[command(after_help = LOGIN_EXAMPLES)]
pub(in crate::cli) struct Login {
    /// The server, as http, https, ws or wss URL, with the path prefix of a reverse proxy, if any.
    #[arg(value_name = "URL")]
    server: String,
    /// The file that holds the token. By default the token is read from standard input, or prompted for at a terminal.
    #[arg(long, env = "ONSEMBL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name of the context; by default the host of the server.
    #[arg(long, value_name = "NAME", value_parser = ContextName::parse)]
    context: Option<ContextName>,
    /// Certificates to trust instead of the system's, as a PEM file.
    #[arg(long, env = "ONSEMBL_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The proxy to go through, or none; by default from the environment at each command.
    #[arg(long, env = "ONSEMBL_PROXY", hide_env_values = true, value_name = "URL")]
    proxy: Option<String>,
}

impl Login {
    pub(in crate::cli) async fn run(self, view: View) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.login(view)).await?
    }

    fn login(self, view: View) -> anyhow::Result<()> {
        let Self { server, token_file, context, tls_ca, proxy } = self;
        let store = ContextStore::open()?;
        let name = match context {
            Some(name) => name,
            None => ContextName::of_server(&server).with_context(|| {
                format!("cannot derive a name from {server:?}; give one with --context")
            })?,
        };
        if let Ok(known) = store.settings(&name) {
            ensure!(
                known.server == server,
                "there is a context {name} for {}; give this one another name with --context, or `onsembl logout {name}`",
                known.server
            );
        }
        let tls_ca = tls_ca.map(std::path::absolute).transpose()?;
        let token = token(token_file)?;
        ensure!(
            token.can_be_shown(),
            "invalid token: it is empty, or has spaces or line breaks in it"
        );
        let of = ClientToken::Text(token.clone());
        let remote = Remote::new(server.clone(), of, tls_ca.clone(), proxy.as_deref())?;
        let whose = whose(&remote)?;
        store.keep(&name, &Settings { server: server.clone(), tls_ca, proxy }, &token)?;
        let user = whose.as_ref().and_then(|token| token.get("user")).and_then(Value::as_str);
        let expires =
            whose.as_ref().and_then(|token| token.get("expires_at")).and_then(Value::as_str);
        let text = [
            format!("logged in to {server}"),
            user.map(|user| format!(" as {user}")).unwrap_or_default(),
            format!("; context {name}"),
            expires.map(|at| format!(", until {at}")).unwrap_or_default(),
        ];
        let json = json!({ "name": name.to_string(), "server": server, "user": user, "expires_at": expires });
        view.done(&json, &name.to_string(), text.concat())
    }
}

/// Whose the token is, once the server has taken it; `None` if it is of a version that does not say.
fn whose(remote: &Remote) -> anyhow::Result<Option<Value>> {
    if let Some(mut answer) = remote.find("/api/token", PATIENCE)? {
        return serde_json::from_str(&answer.text()?).map(Some).context(NOT_OURS);
    }
    let _list = remote.list("/api/agents", "agents", 1)?;
    Ok(None)
}

fn token(file: Option<PathBuf>) -> anyhow::Result<Secret> {
    if let Some(file) = file {
        return Ok(TokenFile(file).token()?);
    }
    if stdin().is_terminal() {
        let token = rpassword::prompt_password("Token: ").context("cannot ask for the token")?;
        return Ok(Secret::new(token));
    }
    let mut text = String::new();
    let read = stdin().lock().take(LONGEST_TOKEN).read_to_string(&mut text);
    let read = read.context("cannot read the token from standard input")?;
    if read as u64 == LONGEST_TOKEN {
        bail!("standard input is longer than a token");
    }
    Ok(Secret::new(text))
}

const LOGOUT_EXAMPLES: &str = "\
Examples:
  onsembl logout              remove the current context and its token
  onsembl logout staging      remove another context

The token itself stays valid; `onsembl token revoke ID` revokes it.";

#[derive(Debug, Args)]
#[command(after_help = LOGOUT_EXAMPLES)]
pub(in crate::cli) struct Logout {
    /// The context; by default the current one.
    #[arg(value_name = "CONTEXT", value_parser = ContextName::parse)]
    name: Option<ContextName>,
    /// The same, given before the command.
    #[arg(long, hide = true, value_parser = ContextName::parse)]
    context: Option<ContextName>,
}

impl Logout {
    pub(in crate::cli) fn run(self, view: View) -> anyhow::Result<()> {
        let store = ContextStore::open()?;
        let current = store.current()?;
        let name = self.name.or(self.context).or_else(|| current.clone());
        let name = name.context("there is no current context; name one")?;
        ensure!(store.remove(&name)?, "there is no context {name}");
        if current.as_ref() == Some(&name)
            && let Some(other) = store.names()?.first()
            && !view.quiet
        {
            print::say(format_args!(
                "no current context now; select another with `onsembl context use {other}`"
            ))?;
        }
        let json = json!({ "name": name.to_string(), "removed": true });
        view.done(
            &json,
            &name.to_string(),
            format_args!("removed the context {name} and its token"),
        )
    }
}
