//! `login`, `logout` and `context`: servers and tokens under names, so that no command has to say them.

mod login;
mod store;

pub(super) use login::{Login, Logout};
#[cfg(test)]
pub(super) use store::Settings;
pub(super) use store::{ContextName, ContextStore};

use super::table::{Cell, Column, Fit, Table, Tone};
use super::view::{Shape, View};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  onsembl context list
  onsembl context use staging
  onsembl context show -o name      the name of the current context
  onsembl --help                    `--context NAME` is a flag of every command that asks a server";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ContextCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the contexts.
    #[command(after_help = EXAMPLES)]
    List,
    /// Select the current context, used where none is given.
    #[command(after_help = EXAMPLES)]
    Use {
        /// Which one.
        #[arg(value_parser = ContextName::parse)]
        name: ContextName,
    },
    /// Show a context: its server, and where its token is.
    #[command(after_help = EXAMPLES)]
    Show {
        /// Which one; the current one if none is named.
        #[arg(value_parser = ContextName::parse)]
        name: Option<ContextName>,
        /// The same, given before the command.
        #[arg(long, hide = true, value_parser = ContextName::parse)]
        context: Option<ContextName>,
    },
}

impl ContextCommand {
    pub(super) fn run(self, view: View) -> anyhow::Result<()> {
        let store = ContextStore::open()?;
        match self.action {
            Action::List => list(&store, view),
            Action::Use { name } => {
                store.use_context(&name)?;
                let text = format!("{name} is the current context");
                view.done(&of(&store, &name, true)?, &name.to_string(), text)
            }
            Action::Show { name, context } => {
                let current = store.current()?;
                let name = name.or(context).or_else(|| current.clone());
                let name =
                    name.context("there is no current context; log in with `onsembl login URL`")?;
                let shown = of(&store, &name, current.as_ref() == Some(&name))?;
                view.one(&shown, &name.to_string(), || {
                    let text = |field: &str| match shown.get(field) {
                        Some(Value::String(text)) => text.clone(),
                        Some(Value::Bool(is)) => if *is { "yes" } else { "no" }.to_owned(),
                        Some(_) | None => "-".to_owned(),
                    };
                    let fields = ["name", "server", "current", "token_file", "tls_ca", "proxy"];
                    let mut table = Table::new(["", ""].map(|head| Column::new(head, Fit::Whole)));
                    for field in fields {
                        table.row([Cell::new(field.replace('_', " ")), text(field).into()]);
                    }
                    let lines = table.lines(view);
                    // It has no head.
                    Ok(super::print::table(lines.get(1..).unwrap_or_default())?)
                })
            }
        }
    }
}

fn list(store: &ContextStore, view: View) -> anyhow::Result<()> {
    let current = store.current()?;
    let names = store.names()?;
    let all = names.iter().map(|name| of(store, name, current.as_ref() == Some(name)));
    let all = all.collect::<anyhow::Result<Vec<_>>>()?;
    let text = |context: &Value, field: &str| {
        context.get(field).and_then(Value::as_str).unwrap_or("-").to_owned()
    };
    view.list(
        "contexts",
        &all,
        |context| text(context, "name"),
        || {
            if all.is_empty() {
                return Ok(Shape::Nothing(
                    "no contexts yet; log in with `onsembl login URL`".to_owned(),
                ));
            }
            let mut table = Table::new([
                Column::new("", Fit::Whole),
                Column::new("NAME", Fit::AtMost(30)),
                Column::new("SERVER", Fit::Rest),
                Column::new("TLS CA", Fit::Rest).spare(),
                Column::new("PROXY", Fit::Rest).spare(),
            ]);
            for context in &all {
                let is_current = context.get("current") == Some(&Value::Bool(true));
                table.row([
                    Cell::new(if is_current { "*" } else { "" }).toned(Tone::Good),
                    text(context, "name").into(),
                    text(context, "server").into(),
                    text(context, "tls_ca").into(),
                    text(context, "proxy").into(),
                ]);
            }
            Ok(Shape::Table(table))
        },
    )
}

/// A context as JSON. Its token is not in it, nor the password of its proxy.
fn of(store: &ContextStore, name: &ContextName, is_current: bool) -> anyhow::Result<Value> {
    let settings = store.settings(name)?;
    let proxy =
        settings.proxy.map(|proxy| match (proxy.split_once("://"), proxy.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            (_, None) => proxy,
        });
    Ok(json!({
        "name": name.to_string(),
        "server": settings.server,
        "current": is_current,
        "token_file": store.token_file(name),
        "tls_ca": settings.tls_ca,
        "proxy": proxy,
    }))
}
