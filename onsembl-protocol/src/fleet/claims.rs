//! Whose tokens may speak for an agent (PROTOCOL.md, P-260 to P-268). Which agent a hello is of stands in
//! [`Directory`](super::directory::Directory); here it is decided whether its token lets it be that one.

use super::directory::{said_name, stands_in};
use crate::id::{AgentId, AgentKey, LineageId, TokenId};
use crate::model::Dialect;
use crate::wire::payload::AgentConnect;
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use thiserror::Error;

/// The token by which a peer speaks. A peer without one is vouched for by the service that admitted it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Bearer {
    pub token: TokenId,
    pub lineage: LineageId,
    pub scope: TokenScope,
}

/// What a token may speak for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Any number of agents that no other lineage has claimed.
    Any,
    /// One agent of this name, which its first session says.
    New(String),
    /// This agent, which its first session takes from its present lineage, under any key.
    Heir(AgentId),
    /// This agent, with the key that it has.
    Bound(AgentId),
}

/// Who has claimed an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Claim {
    pub lineage: LineageId,
    /// The token of its latest session, for people.
    pub token: TokenId,
}

impl Bearer {
    /// The claim of a session that is opened with this token.
    pub fn claim(&self) -> Claim {
        Claim { lineage: self.lineage.clone(), token: self.token.clone() }
    }

    /// The agent that it is for, if there is one already.
    pub(super) const fn agent(&self) -> Option<&AgentId> {
        match &self.scope {
            TokenScope::Any | TokenScope::New(_) => None,
            TokenScope::Heir(agent) | TokenScope::Bound(agent) => Some(agent),
        }
    }

    /// Whether this claim is its lineage's, or there is none.
    pub(super) fn may_claim(&self, claim: Option<&Claim>) -> bool {
        claim.is_none_or(|claim| claim.lineage == self.lineage)
    }

    /// Whether the token may speak for this agent, as far as its id and its claim say.
    pub(super) fn speaks_for(&self, agent: &AgentId, claim: Option<&Claim>) -> bool {
        match &self.scope {
            // Whichever lineage has claimed it: a token of this kind is made to take the agent over (P-264).
            TokenScope::Heir(heir) if heir == agent => true,
            TokenScope::Any | TokenScope::New(_) => self.may_claim(claim),
            TokenScope::Heir(of) | TokenScope::Bound(of) => of == agent && self.may_claim(claim),
        }
    }

    /// Why it may not speak for an agent that it does not [speak for](Self::speaks_for).
    pub(super) fn why_not(&self, id: &AgentId, name: &str, claim: Option<&Claim>) -> String {
        let (name, token) = (name.to_owned(), self.token.clone());
        match claim.filter(|claim| !self.may_claim(Some(claim))) {
            Some(claim) => Denied::Claimed { id: id.clone(), name, token: claim.token.clone() },
            None => Denied::OfAnother { token, name },
        }
        .to_string()
    }
}

/// What a hello shows of who it is, besides a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    /// A legacy wrapper has no key.
    pub(super) dialect: Dialect,
    pub(super) name: Option<&'a str>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(hello: &'a AgentConnect) -> Self {
        let dialect = match hello.extensions {
            Some(_) => Dialect::Extended,
            None => Dialect::Legacy,
        };
        Self { dialect, name: said_name(hello) }
    }
}

/// An agent, as far as claims are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) id: &'a AgentId,
    pub(super) key: &'a AgentKey,
    pub(super) name: &'a str,
    pub(super) claim: Option<&'a Claim>,
}

/// Which agent a hello is admitted as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// As the one that it shows itself to be, which may be a new one.
    Itself,
    /// As the one that has this key.
    KeyOwner(AgentKey),
    /// As this one, whatever key that had.
    HeirOf(AgentId),
}

/// Why a token may not speak for the agent that a hello is of. The texts are for the user who started it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Denied {
    #[error(
        "the agent {name:?} is held by the token {token}, and this token is not of its lineage; `onsembl-server token --agent {id}` makes one that takes it over, and a state directory or name of its own makes this another agent"
    )]
    Claimed { id: AgentId, name: String, token: TokenId },
    #[error(
        "this agent is being registered with the token {0}, and this token is not of its lineage; use one token for it"
    )]
    BeingTakenIn(TokenId),
    #[error(
        "the token {token} was made for the agent {made_for:?}, and this one is named {says:?}; start it under that name, or make it a token with `onsembl-server token --agent`"
    )]
    OtherName { token: TokenId, made_for: String, says: String },
    #[error(
        "the token {token} is for the agent {name:?}, whose key this one does not have; use the state directory of that agent, or make a token with `onsembl-server token --agent`"
    )]
    OtherKey { token: TokenId, name: String },
    #[error(
        "the token {token} was made for another agent than {name:?}; `onsembl-server token --agent` makes one for this"
    )]
    OfAnother { token: TokenId, name: String },
    #[error(
        "the token {token} is for the agent {name:?}, and this one has the key of the agent {has:?}; use a state directory of its own, or the token of that agent"
    )]
    KeyOfAnother { token: TokenId, name: String, has: String },
}

/// Decides whether a hello may be the agent that it shows itself to be: `known`, or a new one. `own` is
/// the agent that its token is for, if that is known.
pub(super) fn judge(
    bearer: &Bearer,
    shown: Shown<'_>,
    known: Option<Known<'_>>,
    own: Option<Known<'_>>,
) -> Result<Admitted, Denied> {
    let token = || bearer.token.clone();
    match &bearer.scope {
        TokenScope::Any => claimable(bearer, known).map(|()| Admitted::Itself),
        TokenScope::New(made_for) => match shown.name {
            Some(says) if says != made_for => {
                let (made_for, says) = (made_for.clone(), says.to_owned());
                Err(Denied::OtherName { token: token(), made_for, says })
            }
            Some(_) | None => claimable(bearer, known).map(|()| Admitted::Itself),
        },
        TokenScope::Heir(heir) => match known {
            Some(known) if known.id == heir => Ok(Admitted::Itself),
            Some(known) => Err(Denied::KeyOfAnother {
                token: token(),
                name: own.map_or_else(|| heir.to_string(), |own| own.name.to_owned()),
                has: known.name.to_owned(),
            }),
            // A new key: the old one may be lost with its machine, and tokens of this kind exist for that case.
            None => Ok(Admitted::HeirOf(heir.clone())),
        },
        TokenScope::Bound(agent) => {
            claimable(bearer, own)?;
            let Some(own) = own else {
                // It is deleted or was never seen here: the store knows.
                return Ok(Admitted::Itself);
            };
            let is_own = known.is_some_and(|known| known.id == agent);
            match (shown.dialect, shown.name) {
                (Dialect::Extended, _) if is_own => Ok(Admitted::Itself),
                // Who has no key must not pass for one that has.
                (Dialect::Legacy, _) if is_own && stands_in(own.key) => Ok(Admitted::Itself),
                (Dialect::Legacy, None) if known.is_none() && stands_in(own.key) => {
                    Ok(Admitted::KeyOwner(own.key.clone()))
                }
                (Dialect::Extended | Dialect::Legacy, _) => {
                    Err(Denied::OtherKey { token: token(), name: own.name.to_owned() })
                }
            }
        }
    }
}

fn claimable(bearer: &Bearer, known: Option<Known<'_>>) -> Result<(), Denied> {
    // Claimed by none: the first token that comes claims it (P-261).
    let Some(Known { id, name, claim: Some(claim), .. }) = known else { return Ok(()) };
    match bearer.may_claim(Some(claim)) {
        true => Ok(()),
        false => {
            let (id, name) = (id.clone(), name.to_owned());
            Err(Denied::Claimed { id, name, token: claim.token.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(lineage: &str, scope: TokenScope) -> Bearer {
        let token = TokenId::new(alloc::format!("token of {lineage}"));
        Bearer { token, lineage: LineageId::new(lineage), scope }
    }

    fn id(text: &str) -> AgentId {
        AgentId::new(text)
    }

    /// What becomes of a hello that shows itself to be agent 1, agent 2 or a new one (0), under each kind of
    /// token, where agent 1 is claimed by the lineage "a" and agent 2 by "b".
    #[test]
    fn a_token_speaks_for_what_its_lineage_has_claimed_and_for_what_it_was_made() {
        use Dialect::{Extended, Legacy};
        let (one, two) = (id("1"), id("2"));
        let key = AgentKey::new("key");
        let claim = |lineage| bearer(lineage, TokenScope::Any).claim();
        let (of_a, of_b) = (claim("a"), claim("b"));
        let known = |which: u8| match which {
            1 => Some(Known { id: &one, key: &key, name: "one", claim: Some(&of_a) }),
            2 => Some(Known { id: &two, key: &key, name: "two", claim: Some(&of_b) }),
            _ => None,
        };
        let new = |name: &str| TokenScope::New(name.to_owned());
        let (heir, bound) = (TokenScope::Heir(id("1")), TokenScope::Bound(id("1")));
        let say = |name| Shown { dialect: Extended, name };
        let wrapper = |name| Shown { dialect: Legacy, name };
        let cases = [
            ("a", TokenScope::Any, say(None), 1, "shown"),
            ("a", TokenScope::Any, say(None), 0, "shown"),
            ("a", TokenScope::Any, say(None), 2, "claimed"),
            ("b", TokenScope::Any, wrapper(Some("one")), 1, "claimed"),
            ("c", new("three"), say(Some("three")), 0, "shown"),
            ("c", new("three"), say(None), 0, "shown"),
            ("c", new("three"), say(Some("one")), 0, "other name"),
            ("c", new("one"), say(Some("one")), 1, "claimed"),
            ("c", heir.clone(), say(None), 1, "shown"),
            ("c", heir.clone(), say(None), 0, "heir"),
            ("c", heir, say(None), 2, "key of another"),
            ("a", bound.clone(), say(None), 1, "shown"),
            ("a", bound.clone(), say(None), 0, "other key"),
            ("a", bound.clone(), say(None), 2, "other key"),
            ("a", bound.clone(), wrapper(None), 1, "other key"),
            ("a", bound.clone(), wrapper(None), 0, "other key"),
            ("b", bound, say(None), 1, "claimed"),
        ];
        for (lineage, scope, shown, which, wanted) in cases {
            let case = alloc::format!("{lineage} {scope:?} {shown:?} {which}");
            let own =
                known(1).filter(|_| matches!(scope, TokenScope::Heir(_) | TokenScope::Bound(_)));
            let got = match judge(&bearer(lineage, scope), shown, known(which), own) {
                Ok(Admitted::Itself) => "shown",
                Ok(Admitted::KeyOwner(_)) => "owner",
                Ok(Admitted::HeirOf(_)) => "heir",
                Err(Denied::Claimed { .. }) => "claimed",
                Err(Denied::BeingTakenIn(_)) => "being taken in",
                Err(Denied::OtherName { .. }) => "other name",
                Err(Denied::OtherKey { .. }) => "other key",
                Err(Denied::KeyOfAnother { .. }) => "key of another",
                Err(Denied::OfAnother { .. }) => "of another",
            };
            assert_eq!(got, wanted, "{case}");
        }
    }

    #[test]
    fn a_wrapper_without_a_name_is_the_one_of_its_token() {
        let (one, key) = (id("1"), AgentKey::new("id:claude-1"));
        let of_a = bearer("a", TokenScope::Any).claim();
        let own = Known { id: &one, key: &key, name: "one", claim: Some(&of_a) };
        let a = bearer("a", TokenScope::Bound(id("1")));
        let wrapper = |name| Shown { dialect: Dialect::Legacy, name };
        let admitted = judge(&a, wrapper(None), None, Some(own));
        assert_eq!(admitted, Ok(Admitted::KeyOwner(key.clone())));
        assert!(judge(&a, wrapper(Some("two")), None, Some(own)).is_err(), "two of one HOME");
        assert!(judge(&a, wrapper(Some("one")), Some(own), Some(own)).is_ok());
        let ours = Shown { dialect: Dialect::Extended, name: None };
        assert!(judge(&a, ours, None, Some(own)).is_err(), "bound to what it was");
    }

    #[test]
    fn a_refusal_names_the_token_that_has_claimed_the_agent() {
        let (one, key) = (id("1"), AgentKey::new("key"));
        let claim = bearer("a", TokenScope::Any).claim();
        let known = Known { id: &one, key: &key, name: "one", claim: Some(&claim) };
        let shown = Shown { dialect: Dialect::Extended, name: None };
        let denied = judge(&bearer("b", TokenScope::Any), shown, Some(known), None).unwrap_err();
        assert!(denied.to_string().contains("held by the token token of a"), "{denied}");
    }
}
