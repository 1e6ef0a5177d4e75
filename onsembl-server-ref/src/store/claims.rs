//! Which lineage of tokens holds an agent, settled in the transaction that opens its session: what the fleet
//! decided is compared with what the database has, since a token may have been made, used or revoked meanwhile.

use super::sessions::{Found, NewSession};
use super::tokens::revoke_lineage;
use onsembl_protocol::fleet::{Bearer, TokenScope};
use onsembl_protocol::id::AgentId;
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, params};

/// Who holds an agent.
#[derive(Debug)]
pub(super) struct Holder {
    lineage: String,
    /// The token of its latest session.
    held_by: Option<String>,
}

impl Holder {
    /// Out of two columns; `None` if nobody holds it.
    pub(super) fn of(lineage: Option<String>, held_by: Option<String>) -> Option<Self> {
        lineage.map(|lineage| Self { lineage, held_by })
    }

    fn token(&self) -> &str {
        self.held_by.as_ref().unwrap_or(&self.lineage)
    }
}

fn holder(db: &Connection, agent: &AgentId) -> rusqlite::Result<Option<Holder>> {
    let holder = db
        .prepare_cached("SELECT lineage, held_by FROM agents WHERE agent_id = ?1")?
        .query_row([agent.as_str()], |row| Ok(Holder::of(row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(holder.flatten())
}

/// Whether the token of a new session may speak for its agent, which is a new one if there is `None`. If not,
/// the reason that its user gets.
pub(super) fn refusal(
    db: &Connection,
    new: &NewSession,
    found: Option<&Found>,
) -> rusqlite::Result<Option<String>> {
    let Some(bearer) = &new.known.bearer else { return Ok(None) };
    let name = &new.known.name;
    let of_token = agent_of(db, bearer)?;
    if let Some(bound) = of_token.bound
        && found.is_none_or(|found| found.agent.as_str() != bound)
    {
        let token = &bearer.token;
        return Ok(Some(format!(
            "the token {token} is bound to another agent than {name:?}; make one with `onsembl-server token --agent`"
        )));
    }
    if let Some(token) = reserved(db, new, found)? {
        return Ok(Some(format!(
            "the name {name:?} is reserved for the token {token}; use that token, revoke it if it is lost (`onsembl-server token revoke {token}`), or start this agent under another name"
        )));
    }
    let Some(Found { agent, holder, .. }) = found else { return Ok(None) };
    match (holder, &bearer.scope) {
        (None, _) => Ok(None),
        (Some(holder), _) if holder.lineage == bearer.lineage.as_str() => Ok(None),
        (Some(_), TokenScope::Heir(heir)) if heir == agent && of_token.is_heir => Ok(None),
        (Some(holder), _) => Ok(Some(format!(
            "the agent {name:?} is held by the token {}, and this token is not of its lineage; `onsembl-server token --agent {agent}` makes one that takes it over",
            holder.token()
        ))),
    }
}

/// The token of another lineage that was made for the agent of this name, if this is not that agent. Whoever has the
/// name gets the commands that are meant for it, and a second one of that name makes it mean neither. An agent
/// that went by the name before keeps it.
fn reserved(
    db: &Connection,
    new: &NewSession,
    found: Option<&Found>,
) -> rusqlite::Result<Option<String>> {
    let Some(bearer) = &new.known.bearer else { return Ok(None) };
    if found.is_some_and(|found| found.has_name) {
        return Ok(None);
    }
    let agent = found.map(|found| found.agent.as_str());
    db.prepare_cached(
        "SELECT token_id FROM tokens
         WHERE user_id = ?1 AND agent_name = ?2 AND lineage <> ?3
           AND (agent_id IS NULL OR ?4 IS NULL OR agent_id <> ?4)
           AND (expires_at IS NULL OR expires_at > ?5)
           AND NOT EXISTS (SELECT 1 FROM revoked_tokens AS gone
                           WHERE gone.token_id = tokens.token_id)
         ORDER BY made_at DESC LIMIT 1",
    )?
    .query_row(
        params![
            new.user.as_str(),
            new.known.name,
            bearer.lineage.as_str(),
            agent,
            new.known.at.unix_millis()
        ],
        |row| row.get(0),
    )
    .optional()
}

/// What the database has of the agent of a token.
#[derive(Default)]
struct OfToken {
    /// The agent to which its lineage is bound.
    bound: Option<String>,
    /// It passes an agent on, and no session has taken that yet.
    is_heir: bool,
}

fn agent_of(db: &Connection, bearer: &Bearer) -> rusqlite::Result<OfToken> {
    let of_token = db
        .prepare_cached("SELECT agent_id, bound_at IS NOT NULL FROM tokens WHERE token_id = ?1")?
        .query_row([bearer.token.as_str()], |row| {
            let (agent, is_bound): (Option<String>, bool) = (row.get(0)?, row.get(1)?);
            Ok(match is_bound {
                true => OfToken { bound: agent, is_heir: false },
                false => OfToken { bound: None, is_heir: agent.is_some() },
            })
        })
        .optional()?;
    // A service that keeps its tokens itself says what they are.
    Ok(of_token.unwrap_or(OfToken { bound: None, is_heir: true }))
}

/// The lineage of a new session's token holds its agent from now on. A lineage from which it was taken may end.
pub(super) fn take(
    db: &Connection,
    new: &NewSession,
    agent: &AgentId,
    before: Option<&Holder>,
) -> rusqlite::Result<()> {
    let Some(Bearer { token, lineage, scope }) = &new.known.bearer else { return Ok(()) };
    let holds_already = before.is_some_and(|before| {
        before.lineage == lineage.as_str() && before.held_by.as_deref() == Some(token.as_str())
    });
    if !holds_already {
        db.prepare_cached("UPDATE agents SET lineage = ?2, held_by = ?3 WHERE agent_id = ?1")?
            .execute(params![agent.as_str(), lineage.as_str(), token.as_str()])?;
    }
    match scope {
        TokenScope::Any => {}
        TokenScope::New(_) | TokenScope::Heir(_) | TokenScope::Bound(_) => {
            db.prepare_cached(
                "UPDATE tokens SET agent_id = ?3, bound_at = coalesce(bound_at, ?4)
                 WHERE user_id = ?1 AND lineage = ?2 AND agent_name IS NOT NULL",
            )?
            .execute(params![
                new.user.as_str(),
                lineage.as_str(),
                agent.as_str(),
                new.known.at.unix_millis(),
            ])?;
        }
    }
    match before {
        Some(before) if before.lineage != lineage.as_str() => {
            let note = format!("the agent {agent} was passed on to the token {token}");
            end_if_idle(db, new.user.as_str(), &before.lineage, new.known.at, &note)
        }
        Some(_) | None => Ok(()),
    }
}

/// An agent is deleted. A lineage that was there for it alone ends with it.
pub(super) fn deleted(
    db: &Connection,
    user: &str,
    agent: &AgentId,
    at: WallTime,
) -> rusqlite::Result<()> {
    let Some(holder) = holder(db, agent)? else { return Ok(()) };
    let note = format!("the agent {agent} was deleted");
    end_if_idle(db, user, &holder.lineage, at, &note)
}

/// Revokes the tokens of a lineage that lost an agent: if it was made for one agent, or if it holds no other
/// and there is none of the user that may yet turn out to be its own.
fn end_if_idle(
    db: &Connection,
    user: &str,
    lineage: &str,
    at: WallTime,
    note: &str,
) -> rusqlite::Result<()> {
    let is_of_one = db
        .prepare_cached(
            "SELECT 1 FROM tokens
             WHERE user_id = ?1 AND lineage = ?2 AND agent_name IS NOT NULL",
        )?
        .exists(params![user, lineage])?;
    let has_others = || {
        db.prepare_cached(
            "SELECT 1 FROM agents
             WHERE user_id = ?1 AND deleted_at IS NULL AND (lineage = ?2 OR lineage IS NULL)",
        )?
        .exists(params![user, lineage])
    };
    if is_of_one || !has_others()? {
        let _ = revoke_lineage(db, user, lineage, at, note)?;
    }
    Ok(())
}
