//! What happens to links: hellos, admissions, refusals, ends.

use super::super::agent_types::EndOrder;
use super::super::server_types::{Claimant, PresenceCause, ServerAction};
use super::session::{Joining, Session, SessionCold};
use super::state::{Absence, Away, State};
use super::turn::Turn;
use crate::close::{CloseCause, CloseReason, Initiator};
use crate::id::{Epoch, LinkId};
use crate::model::Dialect;

impl Turn<'_> {
    pub(super) fn joined(&mut self, joining: Joining) {
        if self.hot.state == State::Closed {
            return;
        }
        self.out.push(ServerAction::Admit(joining.link));
        match self.hot.state {
            State::Online(session) => {
                // The session continues until the newer one is stored (P-57). Of several hellos the last counts
                // (P-58).
                if let Some(earlier) = self.cold.challenger_of(&session) {
                    self.out.push(ServerAction::Close(earlier.link, CloseCause::Superseded));
                }
                self.challenge(session, Some(joining));
            }
            State::Connecting(earlier, away) => {
                self.out.push(ServerAction::Close(earlier.link, CloseCause::Superseded));
                self.hot.state = State::Connecting(joining, away);
            }
            State::Reconnecting(away) => {
                // With its resume window: a hello that fails must not lengthen it.
                self.hot.state = State::Connecting(joining, Some(away));
                self.publish(PresenceCause::HelloReceived);
            }
            State::Offline | State::Closed => {
                self.hot.state = State::Connecting(joining, None);
                self.publish(PresenceCause::HelloReceived);
            }
        }
    }

    pub(super) fn admitted(&mut self, link: LinkId, epoch: Epoch) {
        let (joining, cause) = match self.hot.state {
            State::Connecting(joining, _) if joining.link == link => {
                (joining, PresenceCause::SessionOpened)
            }
            State::Online(old) => match self.challenger_over(&old, link) {
                Some(joining) => (joining, self.replace(old, joining.claimant)),
                None => return,
            },
            // The session was opened for a link that is not wanted any more; its epoch is spent,
            // and the next one is greater.
            State::Offline | State::Connecting(..) | State::Reconnecting(_) | State::Closed => {
                return;
            }
        };
        let (timing, at) = (self.timing(), self.at());
        let mut session = Session::new(joining, epoch, at);
        self.out.push(ServerAction::Welcome { link, epoch });
        self.cold.session = SessionCold::new(at);
        let probe = session.beat(timing, at, &mut self.cold.session, self.cold.store);
        self.challenge(session, None);
        self.looked = true;
        self.cold.published.epoch = epoch;
        self.publish(cause);
        self.out.push(probe);
    }

    /// Closes the link of a session that a newer link takes over, and says whose that one is.
    fn replace(&mut self, old: Session, by: Claimant) -> PresenceCause {
        let (cause, close) = match (by, old.dialect) {
            (Claimant::SameProcess, _) => (PresenceCause::TakenOver, CloseCause::Superseded),
            (Claimant::OtherProcess, Dialect::Extended) => {
                (PresenceCause::ReplacedOther, CloseCause::Replaced)
            }
            // The one code that keeps a legacy wrapper away.
            (Claimant::OtherProcess, Dialect::Legacy) => {
                (PresenceCause::ReplacedOther, CloseCause::Normal)
            }
        };
        self.out.push(ServerAction::Close(old.link, close));
        cause
    }

    pub(super) fn rejected(&mut self, link: LinkId, cause: CloseCause) {
        match self.hot.state {
            State::Connecting(joining, away) if joining.link == link => {
                self.out.push(ServerAction::Close(link, cause));
                self.end_joining(away, PresenceCause::NotAdmitted(cause));
            }
            State::Online(session) if self.challenger_over(&session, link).is_some() => {
                // The session continues: a newcomer that is refused proves nothing of it.
                self.out.push(ServerAction::Close(link, cause));
                self.challenge(session, None);
            }
            State::Offline
            | State::Connecting(..)
            | State::Online(_)
            | State::Reconnecting(_)
            | State::Closed => {}
        }
    }

    pub(super) fn end_joining(&mut self, away: Option<Away>, cause: PresenceCause) {
        match away {
            Some(away) if away.until > self.at() => {
                self.hot.state = State::Reconnecting(away);
                self.publish(cause);
            }
            // The window is over, or nothing was awaited before this hello.
            Some(_) | None => self.go(cause),
        }
    }

    pub(super) fn link_down(&mut self, link: LinkId, reason: CloseReason) {
        match self.hot.state {
            State::Online(session) if session.link == link => {
                match (self.cold.challenger_of(&session), ended_for_good(reason, session.dialect)) {
                    // A newer link is there already: however the old one ended, the agent did not.
                    (Some(challenger), _) => {
                        self.hot.state =
                            State::Connecting(challenger, Some(self.away(Absence::LinkEnded)));
                        self.publish(PresenceCause::HelloReceived);
                    }
                    (None, Some(cause)) => self.go(cause),
                    (None, None) => {
                        self.hot.state = State::Reconnecting(self.away(Absence::LinkEnded));
                        self.publish(PresenceCause::LinkEnded(reason));
                    }
                }
            }
            State::Online(session) if self.challenger_over(&session, link).is_some() => {
                self.challenge(session, None);
            }
            State::Connecting(joining, away) if joining.link == link => {
                self.end_joining(away, PresenceCause::LinkEnded(reason));
            }
            State::Offline
            | State::Connecting(..)
            | State::Online(_)
            | State::Reconnecting(_)
            | State::Closed => {}
        }
    }

    pub(super) fn evict(&mut self, cause: CloseCause) {
        match self.hot.state {
            State::Connecting(joining, _) => {
                self.out.push(ServerAction::Close(joining.link, cause));
            }
            State::Online(session) => {
                self.out.push(ServerAction::Close(session.link, cause));
                if let Some(challenger) = self.cold.challenger_of(&session) {
                    self.out.push(ServerAction::Close(challenger.link, cause));
                }
            }
            State::Offline | State::Reconnecting(_) => {}
            State::Closed => return,
        }
        self.go(PresenceCause::Evicted(cause));
    }

    /// The session continues, and beside it waits this link or none.
    pub(super) fn challenge(&mut self, mut session: Session, challenger: Option<Joining>) {
        self.cold.set_challenger(&mut session, challenger);
        self.hot.state = State::Online(session);
    }

    fn challenger_over(&self, session: &Session, link: LinkId) -> Option<Joining> {
        self.cold.challenger_of(session).filter(|joining| joining.link == link)
    }
}

/// Why an agent that ended its link so ended itself; `None` if it did not.
fn ended_for_good(reason: CloseReason, dialect: Dialect) -> Option<PresenceCause> {
    let by_agent = reason.initiator == Initiator::Peer;
    let stopped = match dialect {
        // Anything on the way may send the code of a normal closure, and no agent of ours does.
        Dialect::Extended => reason.cause == CloseCause::AgentStopped,
        Dialect::Legacy => {
            matches!(reason.cause, CloseCause::AgentStopped | CloseCause::Normal)
        }
    };
    if by_agent && stopped {
        return Some(PresenceCause::AgentStopped);
    }
    EndOrder::obeyed_by(reason.cause).filter(|_| by_agent).map(PresenceCause::EndOrdered)
}
