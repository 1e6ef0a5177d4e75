//! The owner of the shard: a fleet for each user, and a store that takes everything at once.

use super::peers::{Given, Order};
use onsembl_protocol::fleet::{
    CommandRecord, Fleet, FleetAction, FleetEvent, FleetLimits, Flow, Inserted, LogPosition,
    OpenedSession, Question, Receipt, RecordOutcome, SeatId, SeatOrigin, StoreAnswer, Token, Write,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, CommandId, Epoch, PresenceVersion, ServerInstanceId, UserId,
};
use onsembl_protocol::limits::{Limits, OUTPUT_WINDOW};
use onsembl_protocol::model::SERVER_FEATURES;
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::Deadline;
use onsembl_transport::counters::Counters;
use onsembl_transport::server::{Lane, SessionRules, Shard, ShardEvent};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Whose agents one fleet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fleets {
    OfEach,
    /// The mistake that the property is to notice.
    OfAll,
}

#[derive(Debug, Default)]
struct Store {
    agents: BTreeMap<AgentKey, (AgentId, Epoch)>,
    commands: BTreeMap<CommandId, CommandRecord>,
}

struct User {
    fleet: Fleet,
    store: Store,
    tokens: u64,
}

pub(super) struct Owner {
    shard: Shard<UserId>,
    watched: UserId,
    given: Given,
    fleets: Fleets,
    users: BTreeMap<UserId, User>,
    keys: BTreeMap<SeatId, Key>,
    seats: BTreeMap<Key, (UserId, SeatId)>,
}

impl Owner {
    pub(super) fn new(watched: UserId, given: Given, fleets: Fleets) -> Self {
        let rules = SessionRules::new(ServerInstanceId::new("srv"), SERVER_FEATURES.to_vec())
            .with_output_window(OUTPUT_WINDOW);
        let shard = Shard::new(rules, ServerConfig::DEFAULT, Limits::DEFAULT, Counters::default());
        let (users, keys, seats) = Default::default();
        Self { shard, watched, given, fleets, users, keys, seats }
    }

    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>, end: Instant) {
        let clock = self.shard.clock();
        loop {
            while let Some(event) = self.shard.take_event() {
                self.on_event(event);
            }
            let wakes = self.users.values().map(|user| user.fleet.deadline());
            let wake = wakes.fold(Deadline::Never, Deadline::min);
            tokio::select! {
                biased;
                event = self.shard.next() => self.on_event(event),
                Some(order) = orders.recv() => match order {
                    Order::Link(ticket) => {
                        let _ = self.shard.accept(ticket);
                    }
                    Order::Request(user, request) => {
                        let asker = self.user(&user);
                        asker.tokens += 1;
                        let number = asker.tokens;
                        self.feed(&user, FleetEvent::Request { token: Token(number), request });
                    }
                },
                () = clock.sleep_until(wake) => self.wake(),
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }

    fn wake(&mut self) {
        let now = self.shard.clock().now().monotonic;
        let is_due = |user: &User| user.fleet.deadline().is_due(now);
        let due: Vec<_> =
            self.users.iter().filter(|(_, u)| is_due(u)).map(|(id, _)| id.clone()).collect();
        due.iter().for_each(|user| self.feed(user, FleetEvent::Wake));
    }

    /// Which fleet a user's agents are in.
    fn holder(&self, user: &UserId) -> UserId {
        match self.fleets {
            Fleets::OfEach => user.clone(),
            Fleets::OfAll => self.watched.clone(),
        }
    }

    fn user(&mut self, user: &UserId) -> &mut User {
        let holder = self.holder(user);
        self.users.entry(holder.clone()).or_insert_with(|| {
            // As in a server, each fleet numbers its machines from a place of its own.
            let first = if holder.as_str() == "u" { 0 } else { 1 << 32 };
            let fleet = Fleet::new(holder, SeatId(first), 1, FleetLimits::DEFAULT);
            User { fleet, store: Store::default(), tokens: 0 }
        })
    }

    fn feed(&mut self, user: &UserId, event: FleetEvent) {
        let holder = self.holder(user);
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.shard.clock().now();
            self.user(user).fleet.handle(event, now);
            while let Some(action) = self.user(user).fleet.poll_action() {
                if holder == self.watched && reaches_user(&action) {
                    self.given.say(&format!("{action:?}"));
                }
                events.extend(self.perform(&holder, action));
            }
        }
    }

    fn at(&mut self, seat: SeatId, act: impl FnOnce(&mut Shard<UserId>, Key)) {
        if let Some(key) = self.keys.get(&seat) {
            act(&mut self.shard, *key);
        }
    }

    fn perform(&mut self, user: &UserId, action: FleetAction) -> Option<FleetEvent> {
        match action {
            FleetAction::Install { seat, origin } => {
                let lane = Lane::new(user.as_str());
                let key = match origin {
                    SeatOrigin::New { version, epoch, history } => {
                        self.shard.insert(&lane, version, epoch, history)
                    }
                    SeatOrigin::Recovered { version, epoch } => {
                        self.shard.recover(&lane, version, epoch)
                    }
                };
                self.keys.insert(seat, key);
                self.seats.insert(key, (user.clone(), seat));
            }
            FleetAction::Join { link, seat, claimant } => {
                self.at(seat, |shard, key| shard.join(link, key, claimant));
            }
            FleetAction::RefuseHello { link, error, cause } => {
                self.shard.refuse(link, error, cause);
            }
            FleetAction::Park { link, seat } => self.at(seat, |shard, key| shard.park(link, key)),
            FleetAction::GiveUpSilent(link) => self.shard.give_up_silent(link),
            FleetAction::WelcomeProbe { link, admission } => {
                self.shard.welcome_probe(link, &admission);
            }
            FleetAction::Admit { seat, link, admission } => {
                self.at(seat, |shard, key| shard.admitted(key, link, admission));
            }
            FleetAction::Reject { seat, link, cause, why } => {
                self.at(seat, |shard, key| shard.rejected(key, link, cause, &why));
            }
            FleetAction::Send { seat, message } => {
                self.at(seat, |shard, key| {
                    let _ = shard.send(key, &message);
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
            FleetAction::Ask(question) => {
                return Some(FleetEvent::Store(self.user(user).store.answer(question)));
            }
            FleetAction::Write(write) => return self.user(user).store.write(write),
            FleetAction::Show(_) | FleetAction::Reply { .. } | FleetAction::Note(_) => {}
        }
        None
    }

    fn on_event(&mut self, event: ShardEvent<UserId>) {
        let (key, event): (Key, Box<dyn FnOnce(SeatId) -> FleetEvent>) = match event {
            ShardEvent::Hello(claim) => {
                let (link, hello, peer, bearer) = (claim.link, claim.hello, claim.peer, None);
                return self.feed(&claim.auth, FleetEvent::Hello { link, hello, peer, bearer });
            }
            ShardEvent::Silent { link, named } => {
                let Some(user) = self.shard.bearer(link).cloned() else { return };
                return self.feed(&user, FleetEvent::Silent { link, named, bearer: None });
            }
            ShardEvent::Record { key, epoch, sequence, at, metrics } => {
                self.shard.recorded(key, epoch, sequence, at);
                let Some(metrics) = metrics else { return };
                (key, Box::new(move |seat| FleetEvent::Metrics { seat, metrics }))
            }
            ShardEvent::Forgotten { key, history } => {
                let Some((user, seat)) = self.seats.remove(&key) else { return };
                self.keys.remove(&seat);
                return self.feed(&user, FleetEvent::Forgotten { seat, history });
            }
            ShardEvent::Parked { key, link, session } => {
                (key, Box::new(move |seat| FleetEvent::Parked { seat, link, session }))
            }
            ShardEvent::Admit { key, link } => {
                (key, Box::new(move |seat| FleetEvent::Admit { seat, link }))
            }
            ShardEvent::Welcomed { key, link, capabilities, dialect: _ } => {
                (key, Box::new(move |seat| FleetEvent::Welcomed { seat, link, capabilities }))
            }
            ShardEvent::Paused { key, pausing } => {
                (key, Box::new(move |seat| FleetEvent::Paused { seat, pausing }))
            }
            ShardEvent::Presence { key, presence, beats } => {
                (key, Box::new(move |seat| FleetEvent::Presence { seat, presence, beats }))
            }
            ShardEvent::Beats { key, verdict } => {
                (key, Box::new(move |seat| FleetEvent::Beats { seat, verdict }))
            }
            ShardEvent::Message { key, message, now: _ } => {
                (key, Box::new(move |seat| FleetEvent::Message { seat, message }))
            }
            ShardEvent::Heard { key, at } => {
                (key, Box::new(move |seat| FleetEvent::Heard { seat, at }))
            }
            ShardEvent::LinkEnded { key, link, session, reason } => {
                (key, Box::new(move |seat| FleetEvent::LinkEnded { seat, link, session, reason }))
            }
            ShardEvent::Answered { .. } | ShardEvent::Overslept(_) => return,
        };
        if let Some((user, seat)) = self.seats.get(&key).cloned() {
            self.feed(&user, event(seat));
        }
    }
}

/// Whether a user sees what comes of it: on a dashboard, in an answer, in what is stored, at an agent.
fn reaches_user(action: &FleetAction) -> bool {
    match action {
        FleetAction::Show(_)
        | FleetAction::Send { .. }
        | FleetAction::Write(_)
        | FleetAction::Reply { .. } => true,
        FleetAction::Install { .. }
        | FleetAction::Join { .. }
        | FleetAction::RefuseHello { .. }
        | FleetAction::Park { .. }
        | FleetAction::GiveUpSilent(_)
        | FleetAction::WelcomeProbe { .. }
        | FleetAction::Admit { .. }
        | FleetAction::Reject { .. }
        | FleetAction::Throttle { .. }
        | FleetAction::Evict { .. }
        | FleetAction::Faulted(_)
        | FleetAction::Ask(_)
        | FleetAction::Note(_) => false,
    }
}

impl Store {
    fn answer(&mut self, question: Question) -> StoreAnswer {
        match question {
            Question::Session { seat, link, new } => {
                let next = AgentId::new(format!("agent-{}", self.agents.len()));
                let known = self.agents.entry(new.key).or_insert((next, Epoch(0)));
                known.1 = known.1.next();
                let (agent, epoch) = known.clone();
                let presence_version = new.presence_floor.max(PresenceVersion(epoch.0 << 20));
                let opened = OpenedSession { agent, epoch, presence_version, unknown_stop: None };
                StoreAnswer::Session { seat, link, session: new.session, opened: Ok(opened) }
            }
            Question::Insert(record) => self.insert(*record),
            Question::Positions { ticket, .. } => {
                StoreAnswer::Positions { ticket, positions: Ok(Vec::new()) }
            }
            Question::LogPosition(command) => {
                let position = Ok(LogPosition::default());
                StoreAnswer::LogPosition { command, position }
            }
            Question::Balance { query, .. } => {
                StoreAnswer::Balance { query, positions: Ok(Vec::new()) }
            }
            Question::KeepFindings(record) => {
                let (agent, number) = (record.agent, record.number);
                StoreAnswer::FindingsKept { agent, number, kept: Ok(()) }
            }
            Question::DeleteAgent { token, agent } => {
                StoreAnswer::Deleted { token, agent, deleted: Ok(false) }
            }
            Question::Stop(order) => StoreAnswer::Stopped { stop: order.id, stored: Ok(()) },
            Question::Release { token, orders: _ } => {
                StoreAnswer::Released { token, stored: Ok(()) }
            }
        }
    }

    fn insert(&mut self, record: CommandRecord) -> StoreAnswer {
        let command = record.command.clone();
        let inserted = match self.commands.get(&command) {
            Some(known) => Inserted::Existing(Box::new(known.clone())),
            None => {
                self.commands.insert(command.clone(), record);
                Inserted::New
            }
        };
        StoreAnswer::Inserted { command, inserted: Ok(inserted) }
    }

    fn write(&mut self, write: Write) -> Option<FleetEvent> {
        match write {
            Write::Terminal(record) => Some(FleetEvent::Store(self.insert(*record))),
            Write::Command { command, update } => {
                let row = self.commands.get_mut(&command)?;
                (row.stage, row.cause) = (update.stage, Some(update.cause));
                update
                    .stage
                    .is_final()
                    .then(|| FleetEvent::Store(StoreAnswer::EndStored { command, stored: Ok(()) }))
            }
            Write::Output { command, record } => {
                let outcome = match self.commands.contains_key(&command) {
                    true => RecordOutcome::Stored,
                    false => RecordOutcome::NoSuchCommand,
                };
                let (incarnation, sequence) = (record.incarnation, record.sequence);
                let (stream, offset, end) = (record.stream, record.offset, record.end());
                let receipt =
                    Receipt { command, incarnation, sequence, stream, offset, end, outcome };
                Some(FleetEvent::Receipts(vec![receipt]))
            }
            Write::Presence(_)
            | Write::SessionEnd { .. }
            | Write::Alias { .. }
            | Write::TerminalSize { .. }
            | Write::Keyboard(_)
            | Write::Journal { .. } => None,
        }
    }
}
