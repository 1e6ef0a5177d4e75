//! Links of a legacy agent beside the one of its session: which are kept, and how many.
//!
//! A wrapper dials again whenever any of its links ends, also one that it had given up. So none is closed
//! while it answers pings; with too many of them, the newest is refused.

use super::action::{FleetAction, SeatId, Write};
use super::agent::Agent;
use super::claims::Bearer;
use super::note::FleetNote;
use super::out::Out;
use super::roster::Roster;
use crate::close::CloseCause;
use crate::id::{AgentId, LinkId, SessionId};
use crate::time::WallTime;
use crate::wire::payload::{ErrorCode, ErrorReply};
use alloc::borrow::ToOwned;
use alloc::format;

impl Roster {
    /// A link is silent whose request named an agent: it is kept if it is one of a wrapper in session.
    pub(super) fn silent(
        &mut self,
        link: LinkId,
        named: &AgentId,
        bearer: Option<&Bearer>,
        out: &mut Out,
    ) {
        let seat = self.named(named, bearer).and_then(|agent| agent.seat);
        let room = seat.filter(|seat| self.is_of_wrapper(*seat) && !self.is_crowded(*seat));
        match room {
            Some(seat) => {
                out.act(FleetAction::Park { link, seat });
                self.park(seat, link, out);
            }
            // Of no wrapper in session, or one too many: a link that owes its hello ends (P-16).
            None => out.act(FleetAction::GiveUpSilent(link)),
        }
    }

    /// A newer link took over from this one, which is kept.
    pub(super) fn parked(
        &mut self,
        (seat, link): (SeatId, LinkId),
        session: Option<SessionId>,
        at: WallTime,
        out: &mut Out,
    ) {
        // The machine has the newer session already; nothing else would end the row of this one.
        if let Some(session) = session {
            let because = "a newer link of the agent took over; this one is parked".to_owned();
            out.write(Write::SessionEnd { session, at, because });
        }
        let _ = self.leave(seat, link);
        self.park(seat, link, out);
    }

    /// A parked link is over, or says hello.
    pub(super) fn unpark(&mut self, link: LinkId, out: &mut Out) {
        let Some(seat) = self.parked.remove(&link) else { return };
        if let Some(entry) = self.seats.get_mut(&seat) {
            let _ = entry.parked.remove(&link);
        }
        self.show_room(seat, out);
    }

    /// Whether this machine is of a legacy agent that has as many links as one may have. A hello that waits
    /// for its session will leave one link behind.
    pub(super) fn is_crowded(&self, seat: SeatId) -> bool {
        let Some(entry) = self.seats.get(&seat) else { return false };
        let waits = !entry.joining.is_empty();
        let is_taken = self.is_of_wrapper(seat) || waits;
        is_taken
            && entry.parked.len().saturating_add(usize::from(waits)) >= self.limits.parked_links
    }

    /// Refuses the hello of one link too many.
    pub(super) fn refuse_crowded(&self, link: LinkId, seat: SeatId, out: &mut Out) {
        if let Some(agent) = self.who(seat) {
            out.note(FleetNote::TooManyLinks { link, agent });
        }
        let why = format!(
            "this agent is in session, and {} more of its links are open, which is the limit; close some, or wait until they end",
            self.limits.parked_links
        );
        let error = ErrorReply::new(ErrorCode::QueueFull, why);
        out.act(FleetAction::RefuseHello { link, error, cause: CloseCause::TryLater });
    }

    fn park(&mut self, seat: SeatId, link: LinkId, out: &mut Out) {
        let Some(entry) = self.seats.get_mut(&seat) else { return };
        let _ = entry.parked.insert(link);
        let _ = self.parked.insert(link, seat);
        let parked = entry.parked.len();
        if let Some(agent) = entry.agent.clone() {
            out.note(FleetNote::Parked { link, agent, parked });
        }
        self.show_room(seat, out);
    }

    /// Shows how many more links would be let in.
    fn show_room(&mut self, seat: SeatId, out: &mut Out) {
        let Some(entry) = self.seats.get(&seat) else { return };
        // Read where requests are let in: one link too many gets 503 before its upgrade, and no close after it
        // (P-236).
        let room = self.limits.parked_links.saturating_sub(entry.parked.len());
        let Some(id) = self.who(seat) else { return };
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.shown.link_room != room {
            agent.facts().link_room = room;
            self.show(&id, out);
        }
    }

    fn is_of_wrapper(&self, seat: SeatId) -> bool {
        self.seats.get(&seat).is_some_and(|entry| entry.is_of_wrapper())
    }

    /// The agent that goes by this id, its own or one that it said before, and that this token may speak for.
    fn named(&self, id: &AgentId, bearer: Option<&Bearer>) -> Option<&Agent> {
        let spoken_for = |id: &AgentId| {
            let agent = self.agent(id)?;
            let claim = agent.shown.claim.as_ref();
            bearer.is_none_or(|bearer| bearer.speaks_for(id, claim)).then_some(agent)
        };
        let by_alias = || self.directory.by_alias(id).find_map(spoken_for);
        spoken_for(id).or_else(by_alias)
    }
}
