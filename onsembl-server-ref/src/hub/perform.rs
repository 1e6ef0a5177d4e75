//! Performs each action of a fleet: on links, on the store, on what its user sees.

use super::notes::{self, TurnedAway};
use super::request::{BeatHop, BeatSeen, Joining};
use super::rows;
use super::seats::Seats;
use super::unread::Unread;
use super::write_queue::WriteQueue;
use crate::auth::OpenRequest;
use crate::bounds::Turns;
use crate::fleet_view::FleetView;
use crate::metrics::Metrics;
use crate::store::{NewSession, Store};
use crate::traces::Traces;
use onsembl_protocol::fleet::{
    Answer, Ending, FleetAction, Flow, LinkTokens, Question, SeatId, SeatOrigin, StoreAnswer, Token,
};
use onsembl_protocol::id::{AgentId, BeatSequence, UserId};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::WallTime;
use onsembl_transport::counters::Counters;
use onsembl_transport::server::{Lane, Shard};
use std::collections::BTreeMap;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::debug;

/// What came of something that was asked of the store for a user.
pub(super) type Outcome = (UserId, StoreAnswer);

/// Everything that effects need.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) shard: Shard<OpenRequest>,
    pub(super) store: Store,
    pub(super) writes: WriteQueue,
    pub(super) counters: Counters,
    pub(super) seats: Seats,
    /// Requests that are not answered yet.
    pub(super) waiters: BTreeMap<Token, oneshot::Sender<Answer>>,
    /// What was asked and is not answered yet.
    pub(super) outcomes: JoinSet<Outcome>,
    pub(super) unread: Unread,
    pub(super) joining: Joining,
    /// Whose questions the store has.
    pub(super) asking: Turns<UserId>,
    /// What opened sessions and links.
    pub(super) tokens: LinkTokens<Key, OpenRequest>,
    /// Which agents' hellos were refused lately, and why.
    pub(super) turned_away: TurnedAway,
    pub(super) observer: Option<mpsc::Sender<BeatSeen>>,
    pub(super) metrics: Metrics,
    pub(super) traces: Traces,
}

impl Edge {
    pub(super) fn perform(&mut self, user: &UserId, fleet_view: &FleetView, action: FleetAction) {
        match action {
            FleetAction::Show(changes) => fleet_view.apply(changes),
            FleetAction::Install { seat, origin } => self.install(user, seat, origin),
            FleetAction::Join { link, seat, claimant } => {
                self.at(seat, |shard, key| shard.join(link, key, claimant));
            }
            // The shard reports the end of a link only if it joined a machine.
            FleetAction::RefuseHello { link, error, cause } => {
                self.tokens.link_ended(link);
                self.shard.refuse(link, error, cause);
            }
            FleetAction::Park { link, seat } => {
                let open = self.shard.bearer(link);
                let ending = open.and_then(|open| self.tokens.parked_silent(link, open));
                self.at(seat, |shard, key| shard.park(link, key));
                self.end(ending);
            }
            FleetAction::GiveUpSilent(link) => self.shard.give_up_silent(link),
            FleetAction::WelcomeProbe { link, admission } => {
                self.shard.welcome_probe(link, &admission);
                if let Some((open, ending)) = self.tokens.probing(link) {
                    self.shard.entrust(link, open);
                    self.end(ending);
                }
            }
            FleetAction::Admit { seat, link, admission } => {
                if let Some(key) = self.seats.key(seat) {
                    self.seats.bind(key, &admission.agent);
                }
                self.at(seat, |shard, key| shard.admitted(key, link, admission));
            }
            FleetAction::Reject { seat, link, cause, why } => {
                self.at(seat, |shard, key| shard.rejected(key, link, cause, &why));
            }
            FleetAction::Send { seat, mut message } => {
                self.traces.sending(user, &mut message);
                self.at(seat, |shard, key| {
                    if !shard.send(key, &message) {
                        // The link has ended, and the event that says so is on its way to the fleet.
                        debug!(?key, "a message for a session that has ended");
                    }
                });
            }
            FleetAction::Throttle { seat, flow } => self.at(seat, |shard, key| match flow {
                Flow::Paused => shard.pause(key),
                Flow::Resumed => shard.resume(key),
            }),
            FleetAction::Evict { seat, cause } => {
                self.at(seat, |shard, key| shard.evict(key, cause));
            }
            FleetAction::Faulted(seat) => self.at(seat, Shard::faulted),
            FleetAction::Ask(question) => self.ask(user, question),
            FleetAction::Write(write) => {
                self.traces.writing(user, &write);
                self.writes.write(user, write);
            }
            FleetAction::Reply { token, answer } => self.reply(token, answer),
            FleetAction::Note(note) => {
                self.traces.noted(user, &note);
                notes::note(user, &note, &self.counters, &self.metrics, &self.turned_away);
            }
        }
    }

    /// Ends what is to be ended because its token has.
    pub(super) fn end(&mut self, ending: Option<Ending<Key>>) {
        match ending {
            Some(Ending::Session(key, cause)) => self.shard.close_session(key, cause),
            Some(Ending::Agent(key, cause)) => self.shard.evict(key, cause),
            Some(Ending::Link(link, cause)) => self.shard.end_parked(link, cause),
            None => {}
        }
    }

    fn at(&mut self, seat: SeatId, does: impl FnOnce(&mut Shard<OpenRequest>, Key)) {
        match self.seats.key(seat) {
            Some(key) => does(&mut self.shard, key),
            // It was forgotten while the fleet decided, which is on its way to the fleet.
            None => self.counters.count("actions_of_forgotten_agents"),
        }
    }

    fn install(&mut self, user: &UserId, seat: SeatId, origin: SeatOrigin) {
        let lane = Lane::new(user.as_str());
        let key = match origin {
            SeatOrigin::New { version, epoch, history } => {
                self.shard.insert(&lane, version, epoch, history)
            }
            SeatOrigin::Recovered { version, epoch } => self.shard.recover(&lane, version, epoch),
        };
        self.seats.insert(key, user.clone(), seat);
    }

    fn reply(&mut self, token: Token, answer: Answer) {
        let waiter = self.waiters.remove(&token);
        if waiter.is_none_or(|waiter| waiter.send(answer).is_err()) {
            self.counters.count("answers_nobody_took");
        }
    }

    fn ask(&mut self, user: &UserId, question: Question) {
        let (store, user, counters) = (self.store.clone(), user.clone(), self.counters.clone());
        let at = self.shard.clock().now().wall;
        let asking = self.asking.clone();
        self.outcomes.spawn(async move {
            let _turn = asking.take_one(&user).await;
            let answer = answer(&store, &user, question, at, &counters).await;
            (user, answer)
        });
        self.joining.set(self.outcomes.len());
    }

    /// Tells the observer of one hop of a heartbeat.
    pub(super) fn observe(
        &self,
        agent: &AgentId,
        sequence: BeatSequence,
        hop: BeatHop,
        at: WallTime,
    ) {
        let Some(observer) = &self.observer else { return };
        match observer.try_send(BeatSeen { agent: agent.clone(), sequence, hop, at }) {
            // An observer that was dropped must not disturb the hub.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            // Nor one that does not keep up: it misses some.
            Err(TrySendError::Full(_)) => self.counters.count("observations_dropped"),
        }
    }
}

async fn answer(
    store: &Store,
    user: &UserId,
    question: Question,
    at: WallTime,
    counters: &Counters,
) -> StoreAnswer {
    match question {
        Question::Session { seat, link, new } => {
            let session = new.session.clone();
            let opened =
                store.sessions().open(NewSession { user: user.clone(), known: *new }).await;
            let opened = opened.map(rows::opened_session).map_err(|e| rows::open_fault(&e));
            StoreAnswer::Session { seat, link, session, opened }
        }
        Question::Insert(record) => {
            let command = record.command.clone();
            let inserted = store.commands().insert(rows::command_row(user.clone(), *record)).await;
            let inserted = inserted.map(|inserted| rows::inserted(inserted, counters));
            StoreAnswer::Inserted { command, inserted: inserted.map_err(|e| rows::fault(&e)) }
        }
        Question::Positions { ticket, commands } => {
            let positions = store.streams().positions(user, commands).await.map(rows::positions);
            StoreAnswer::Positions { ticket, positions: positions.map_err(|e| rows::fault(&e)) }
        }
        Question::LogPosition(command) => {
            let position =
                store.streams().log_position(user, &command).await.map_err(|e| rows::fault(&e));
            StoreAnswer::LogPosition { command, position }
        }
        Question::Balance { query, agent, reported, limit } => {
            let positions = store.streams().balance(user, &agent, reported, limit).await;
            let positions = positions.map(rows::positions);
            StoreAnswer::Balance { query, positions: positions.map_err(|e| rows::fault(&e)) }
        }
        Question::KeepFindings(record) => {
            let (agent, number) = (record.agent.clone(), record.number);
            let kept = store.findings().keep(user, record).await.map_err(|e| rows::fault(&e));
            StoreAnswer::FindingsKept { agent, number, kept }
        }
        Question::DeleteAgent { token, agent } => {
            let deleted =
                store.deletion().delete_agent(user, &agent, at).await.map_err(|e| rows::fault(&e));
            StoreAnswer::Deleted { token, agent, deleted }
        }
        Question::Stop(order) => {
            let stop = order.id.clone();
            let stored = store.stops().insert(user, order).await.map_err(|e| rows::fault(&e));
            StoreAnswer::Stopped { stop, stored }
        }
        Question::Release { token, orders } => {
            let stored = store.stops().release(user, orders, user, at).await;
            StoreAnswer::Released { token, stored: stored.map_err(|e| rows::fault(&e)) }
        }
    }
}
