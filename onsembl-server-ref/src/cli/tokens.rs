//! `onsembl-server token list` and `tokens`: which tokens there are, and what was done with one.

use super::ages::{age, until};
use super::find::by_short_id;
use super::print;
use super::table::{Cell, Column, Fit, Table, Tone};
use super::token::{CLOSE, open};
use super::view::{Format, Shape, View};
use crate::store::Store;
use crate::token_view::{TokenSessionView, TokenState, TokenView};
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::id::{TokenId, UserId};
use onsembl_protocol::time::WallTime;
use serde_json::{Value, json};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  onsembl-server token list --user me             all tokens of a user, newest first
  onsembl-server token list 5f0c8a91d2b3e476      every session that one of them opened";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListTokens {
    /// The server's data folder.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Only those of this user.
    #[arg(long, env = "ONSEMBL_USER", value_name = "NAME")]
    user: Option<String>,
    /// Show the history of this token instead, by its id.
    #[arg(value_name = "ID")]
    token: Option<String>,
}

impl ListTokens {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let (store, now) = open(&self.data).await?;
        let shown = self.show(&store, view, now).await;
        store.close(CLOSE).await?;
        shown
    }

    async fn show(&self, store: &Store, view: View, now: WallTime) -> anyhow::Result<()> {
        let user = self.user.as_deref().map(UserId::new);
        let agents = store.agents().list(user.as_ref()).await?;
        let Some(wanted) = &self.token else {
            let rows = store.tokens().list(user.as_ref()).await?;
            let tokens: Vec<_> = rows.iter().map(|row| TokenView::of(row, &agents, now)).collect();
            return list(&tokens, view, now, "make one with `onsembl-server token`");
        };
        let id = find(store, wanted).await?;
        let row = store.tokens().get(&id).await?;
        let row = row.with_context(|| unknown(wanted))?;
        let token = TokenView::of(&row, &agents, now);
        let sessions = store.tokens().sessions_of(&id).await?;
        let sessions: Vec<TokenSessionView> = sessions.into_iter().map(Into::into).collect();
        let mut all = serde_json::to_value(&token)?;
        if let Some(fields) = all.as_object_mut() {
            let _ = fields.insert("sessions".to_owned(), json!(sessions));
        }
        view.one(&all, id.as_str(), || {
            let mut lines = table(std::slice::from_ref(&token), view.format, now).lines(view);
            lines.push(String::new());
            lines.extend(history(&sessions, view));
            Ok(print::table(&lines)?)
        })
    }
}

/// The id of a listed token, which may be short.
pub(super) async fn find(store: &Store, wanted: &str) -> anyhow::Result<TokenId> {
    if store.tokens().get(&TokenId::new(wanted)).await?.is_some() {
        return Ok(TokenId::new(wanted));
    }
    let rows = store.tokens().list(None).await?;
    let ids = rows.iter().map(|row| row.token.as_str());
    let id = by_short_id(wanted, ids, "tokens")?.with_context(|| unknown(wanted))?;
    Ok(TokenId::new(id))
}

pub(super) fn unknown(wanted: &str) -> String {
    format!("unknown token {wanted:?}; `onsembl-server tokens` lists them")
}

/// Prints tokens. `remedy` is what to do if there are none.
pub(super) fn list(
    tokens: &[TokenView],
    view: View,
    now: WallTime,
    remedy: &str,
) -> anyhow::Result<()> {
    let entries = tokens.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    let named = |token: &Value| {
        token.get("token_id").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    view.list("tokens", &entries, named, || {
        if tokens.is_empty() {
            return Ok(Shape::Nothing(format!("no tokens yet; {remedy}")));
        }
        Ok(Shape::Table(table(tokens, view.format, now)))
    })
}

fn tone(state: TokenState) -> Tone {
    match state {
        TokenState::Good => Tone::Good,
        TokenState::Unused => Tone::Plain,
        TokenState::Expired | TokenState::Revoked => Tone::Dim,
    }
}

fn table(tokens: &[TokenView], format: Format, now: WallTime) -> Table {
    match format {
        Format::Wide => wide(tokens),
        Format::Table | Format::Json | Format::Jsonl | Format::Name => narrow(tokens, now),
    }
}

fn narrow(tokens: &[TokenView], now: WallTime) -> Table {
    let mut table = Table::new([
        Column::new("ID", Fit::AtMost(20)),
        Column::new("USER", Fit::AtMost(16)),
        Column::new("FOR", Fit::Rest),
        Column::new("STATE", Fit::Whole),
        Column::new("EXPIRES", Fit::Whole),
        Column::new("LAST SHOWN", Fit::Whole),
        Column::new("MADE", Fit::Whole).spare(),
        Column::new("HOLDS", Fit::Rest).spare(),
        Column::new("FROM", Fit::AtMost(24)).spare(),
    ]);
    for token in tokens {
        let expires = token.expires_at.as_deref().and_then(WallTime::parse_rfc3339);
        let ago =
            |at: &Option<String>| at.as_ref().map_or_else(|| "-".to_owned(), |at| age(at, now));
        let state = match token.current {
            true => format!("{}, in use here", token.state.as_str()),
            false => token.state.as_str().to_owned(),
        };
        table.row([
            Cell::new(&token.token_id),
            Cell::new(&token.user),
            Cell::new(token.purpose()),
            Cell::new(state).toned(tone(token.state)),
            expires.map_or_else(|| "never".to_owned(), |at| until(at, now)).into(),
            ago(&token.shown_at).into(),
            age(&token.made_at, now).into(),
            holds(token),
            Cell::new(token.shown_from.as_deref().unwrap_or("-")),
        ]);
    }
    table
}

fn holds(token: &TokenView) -> Cell {
    if token.holds.is_empty() { "-".into() } else { token.holds.join(", ").into() }
}

fn wide(tokens: &[TokenView]) -> Table {
    let heads =
        ["ID", "USER", "FOR", "STATE", "HOLDS", "MADE", "LAST SHOWN", "FROM", "EXPIRES", "REVOKED"];
    let mut table = Table::new(heads.map(|head| Column::new(head, Fit::Whole)));
    for token in tokens {
        let or_none = |text: &Option<String>| Cell::new(text.as_deref().unwrap_or("-"));
        let revoked = token.revoked_at.as_deref().zip(token.revoked_because.as_deref());
        table.row([
            Cell::new(&token.token_id),
            Cell::new(&token.user),
            Cell::new(token.purpose()),
            Cell::new(token.state.as_str()).toned(tone(token.state)),
            holds(token),
            Cell::new(&token.made_at),
            or_none(&token.shown_at),
            or_none(&token.shown_from),
            or_none(&token.expires_at),
            revoked.map(|(at, why)| format!("{at}: {why}")).unwrap_or_default().into(),
        ]);
    }
    table
}

fn history(sessions: &[TokenSessionView], view: View) -> Vec<String> {
    if sessions.is_empty() {
        return vec!["it has opened no session".to_owned()];
    }
    let heads = ["AGENT", "ID", "FROM", "OPENED", "CLOSED", "BECAUSE"];
    let mut table = Table::new(heads.map(|head| Column::new(head, Fit::Whole)));
    for session in sessions {
        table.row([
            Cell::new(&session.name),
            Cell::new(&session.agent_id),
            Cell::new(&session.peer),
            Cell::new(&session.opened_at),
            Cell::new(session.closed_at.as_deref().unwrap_or("-")),
            Cell::new(session.because.as_deref().unwrap_or_default()),
        ]);
    }
    table.lines(view)
}
