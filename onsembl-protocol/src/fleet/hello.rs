//! What a hello is answered with: whether its token may speak for the agent, whether there is room for it, and which
//! machine its link is for. What is known of agents stands in [`roster`](super::roster).

use super::action::{Admission, FleetAction};
use super::agent::{FoundBy, Joining, Seat, cost_of_hello};
use super::claims::{Admitted, Bearer, Denied, Shown, TokenScope, judge};
use super::directory::{said_name, stand_in};
use super::note::FleetNote;
use super::out::Out;
use super::roster::Roster;
use crate::close::CloseCause;
use crate::id::{AgentId, AgentKey, Epoch, LinkId, SessionId};
use crate::session::Claimant;
use crate::session::frames::PROBE_FOR;
use crate::wire::payload::{AgentConnect, ErrorCode, ErrorReply};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

/// An agent says hello: which machine it is for, and whose link this is.
pub(super) fn on_hello(
    roster: &mut Roster,
    link: LinkId,
    (mut hello, peer): (Box<AgentConnect>, String),
    bearer: Option<Bearer>,
    session: SessionId,
    out: &mut Out,
) {
    if hello.extensions.as_ref().is_some_and(|extensions| extensions.probe) {
        // It reaches no machine, so it can take over no session (P-45).
        out.note(FleetNote::Probe { link });
        if let Some(denied) =
            bearer.as_ref().and_then(|bearer| denies_agent_of(roster, &hello, bearer))
        {
            let error = ErrorReply::new(ErrorCode::Unauthorized, denied.to_string());
            let cause = CloseCause::TokenExpired;
            return out.act(FleetAction::RefuseHello { link, error, cause });
        }
        let agent = AgentId::new("probe");
        let admission = Admission { agent, session, epoch: Epoch(0), stopped: None };
        return out.act(FleetAction::WelcomeProbe { link, admission });
    }
    if let Some(Bearer { scope: TokenScope::New(name), .. }) = &bearer
        && said_name(&hello).is_none()
    {
        // P-263.
        hello.name = Some(name.clone());
    }
    // A parked link that says hello asks for a session like any other.
    roster.unpark(link, out);
    let (key, heir_of) = match admit(roster, &hello, bearer.as_ref()) {
        Ok(admitted) => admitted,
        Err(denied) => {
            // It has reached nothing of the agent that it asks for.
            out.note(FleetNote::Denied { link, why: denied.to_string() });
            let error = ErrorReply::new(ErrorCode::Unauthorized, denied.to_string());
            let cause = CloseCause::TokenExpired;
            return out.act(FleetAction::RefuseHello { link, error, cause });
        }
    };
    if let Some(why) = no_room(roster, &key, &hello) {
        out.note(FleetNote::TooManyAgents { link });
        let error = ErrorReply::new(ErrorCode::QueueFull, why);
        return out.act(FleetAction::RefuseHello { link, error, cause: CloseCause::TryLater });
    }
    let (seat, claimant) = match roster.seat_of(&key) {
        // Older links of an extended agent are closed; only those of a wrapper stay and need room (P-236).
        Some(seat) if hello.extensions.is_none() && roster.is_crowded(seat) => {
            return roster.refuse_crowded(link, seat, out);
        }
        Some(seat) => {
            let claimant = roster.seats.get(&seat).map_or(Claimant::OtherProcess, |entry| {
                entry.judge(&hello, aliases_of(roster, entry))
            });
            (seat, claimant)
        }
        None if is_full(roster, &key) => {
            out.note(FleetNote::TooManyAgents { link });
            let (error, cause) = (roster.limits.too_many_agents(), CloseCause::TryLater);
            return out.act(FleetAction::RefuseHello { link, error, cause });
        }
        None => {
            let found = match heir_of {
                Some(agent) => FoundBy::Heir(agent),
                None if is_anothers(roster, &key, &hello, bearer.as_ref()) => FoundBy::Key,
                None => FoundBy::Anything,
            };
            let seat = roster.seat_down(&key, out);
            if let Some(entry) = roster.seats.get_mut(&seat) {
                entry.found = found;
                entry.taken_in_by = bearer.as_ref().map(Bearer::claim);
            }
            // Its machine is new: there is no session of another process that it could replace.
            (seat, Claimant::SameProcess)
        }
    };
    out.note(FleetNote::Hello { link, name: hello.name.clone(), peer: peer.clone() });
    let cost = cost_of_hello(&hello);
    roster.join(seat, link, Joining { hello, bearer, session, peer, cost });
    out.act(FleetAction::Join { link, seat, claimant });
}

/// Why the agent that a probe is made for would be denied a session with this token (P-370); `None` also for a
/// probe that
/// names none. One without the agent's state directory does not have its key, which proves nothing.
fn denies_agent_of(roster: &Roster, probe: &AgentConnect, bearer: &Bearer) -> Option<Denied> {
    let name = said_name(probe)?.strip_prefix(PROBE_FOR)?;
    let like = AgentConnect { name: Some(name.to_owned()), ..probe.clone() };
    match admit(roster, &like, Some(bearer)) {
        Err(Denied::OtherKey { name: own, .. }) if own == name => None,
        Err(denied) => Some(denied),
        Ok(_) => None,
    }
}

/// The key under which a hello is admitted, and the agent that it is the heir of under a key that is new.
pub(super) fn admit(
    roster: &Roster,
    hello: &AgentConnect,
    bearer: Option<&Bearer>,
) -> Result<(AgentKey, Option<AgentId>), Denied> {
    let key = key_of(roster, hello);
    let Some(bearer) = bearer else { return Ok((key, None)) };
    let known = |id| roster.agents.get_key_value(id).map(|(id, agent)| agent.known_as(id));
    let own = bearer.agent().and_then(known);
    let known = roster.directory.key_owner(&key).and_then(known);
    let admitted = judge(bearer, Shown::of(hello), known, own)?;
    let newcomer = roster.newcomer(&key);
    if let Some(claim) = newcomer.and_then(|entry| entry.taken_in_by.as_ref())
        && !bearer.may_claim(Some(claim))
    {
        return Err(Denied::BeingTakenIn(claim.token.clone()));
    }
    Ok(match admitted {
        Admitted::Itself => (key, None),
        Admitted::KeyOwner(key) => (key, None),
        Admitted::HeirOf(agent) => (key, Some(agent)),
    })
}

/// Why there is no room for a hello, if there is none: for what it says of an agent, or while its session is
/// being opened.
fn no_room(roster: &Roster, key: &AgentKey, hello: &AgentConnect) -> Option<String> {
    if roster.joining_bytes.saturating_add(cost_of_hello(hello)) > roster.limits.hello_bytes {
        let why = "too many sessions of this user are being opened; try again later";
        return Some(why.to_owned());
    }
    let known = roster.directory.key_owner(key).and_then(|id| roster.agents.get(id));
    // The texts of an agent that is known may become shorter, however full it is.
    let grows = known.is_none_or(|known| known.grows_by(hello));
    (grows && roster.bytes >= roster.limits.agent_bytes).then(|| {
        format!(
            "the descriptions of this user's agents take {} bytes, which is the limit; delete some agents",
            roster.limits.agent_bytes
        )
    })
}

/// Whether the user has as many agents as one may have, and this one would be another.
fn is_full(roster: &Roster, key: &AgentKey) -> bool {
    roster.directory.key_owner(key).is_none()
        && roster.agents.len().saturating_add(roster.newcomers.len()) >= roster.limits.agents
}

fn aliases_of<'r>(roster: &'r Roster, entry: &Seat) -> &'r [AgentId] {
    let agent = entry.agent.as_ref().and_then(|id| roster.agents.get(id));
    agent.map_or(&[], |agent| &agent.shown.aliases)
}

fn key_of(roster: &Roster, hello: &AgentConnect) -> AgentKey {
    if let Some(extensions) = &hello.extensions {
        return extensions.agent_key.clone();
    }
    let taught = roster.agents.get(&AgentId::new(&hello.agent_id));
    taught.map_or_else(|| stand_in(hello), |taught| taught.key.clone())
}

/// Whether a legacy wrapper whose key is unknown claims an id by which an agent of another key goes that
/// is in session: two wrappers of one machine share the id of one configuration file, and are two agents
/// by their names. One that comes when the other has no session was renamed, but not if others have claimed it.
fn is_anothers(
    roster: &Roster,
    key: &AgentKey,
    hello: &AgentConnect,
    bearer: Option<&Bearer>,
) -> bool {
    if hello.extensions.is_some() || roster.directory.key_owner(key).is_some() {
        return false;
    }
    let claimed = AgentId::new(&hello.agent_id);
    let is_claimed = |agent: &AgentId| {
        let claim = roster.agents.get(agent).and_then(|agent| agent.shown.claim.as_ref());
        bearer.is_some_and(|bearer| !bearer.speaks_for(agent, claim))
    };
    let mut others = roster.directory.by_alias(&claimed);
    others.any(|agent| roster.session(agent).is_some() || is_claimed(agent))
}
