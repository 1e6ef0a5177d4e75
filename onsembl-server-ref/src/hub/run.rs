//! The hub's loop: what it holds, and where each kind of event goes.

use super::audit::PendingAudit;
use super::ledger::{Done, Ledger};
use super::output::Sender;
use super::placing::{LogPlace, Unplaced};
use super::request::{BeatHop, BeatSeen, HubHandle, HubStats, Request};
use super::stops::{REPEAT, ReleaseReply, ReleaseReport, StopAnswer, StopState, StopWait};
use crate::auth::Identity;
use crate::board::Boards;
use crate::store::{
    Inserted, OpenError, OpenedSession, Receipts, Store, StoreError, StoreHealth,
    StoreTrouble as Trouble, StreamPosition,
};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::command::{CommandAction, CommandLife, CommandQueue};
use onsembl_protocol::id::{
    AgentId, AgentKey, BeatSequence, CommandId, Epoch, InstanceId, JournalId, LinkId,
    PresenceVersion, ServerInstanceId, SessionId, StopId, UserId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::SERVER_FEATURES;
use onsembl_protocol::output::Outbox;
use onsembl_protocol::record::Retired;
use onsembl_protocol::session::{Dialect, ServerConfig, StoreTrouble};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::{Deadline, Now, WallTime};
use onsembl_protocol::wire::payload::{AgentConnect, CommandRequest, ErrorReply, OutputState};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::server::{SessionRules, Shard, ShardEvent};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::request::Reply;

/// Requests that may wait for the hub; then the asker waits.
const INBOX: usize = 256;
/// How long the last writes may take when the server ends; what is left then is given to the store
/// to close with.
const LAST_WRITES: Duration = Duration::from_secs(3);
/// How often live links are held against the expiry and revocation of their tokens.
const TOKEN_CHECK: Duration = Duration::from_secs(10);

/// One command that is not over, or whose end is not stored yet.
#[derive(Debug)]
pub(super) struct OpenCommand {
    pub(super) life: CommandLife,
    pub(super) deadline: Deadline,
    pub(super) agent: AgentId,
    pub(super) dialect: Dialect,
    pub(super) request: Box<CommandRequest>,
    pub(super) stored: bool,
    /// It is a terminal that was given up: its agent is to drop it when that is stored.
    pub(super) given_up: bool,
    pub(super) replies: Vec<Reply>,
}

/// What the hub knows of an agent, with or without a machine.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) user: UserId,
    pub(super) version: PresenceVersion,
    pub(super) epoch: Epoch,
    pub(super) machine: Option<Key>,
    /// The journal that it kept in its last session.
    pub(super) journal: Option<JournalId>,
    /// How many commands it runs at once.
    pub(super) places: usize,
    /// Where its recording is while it has no machine.
    pub(super) history: Option<Retired>,
}

/// An agent that has a machine.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) user: UserId,
    pub(super) key: AgentKey,
    /// Unknown until the store has said it.
    pub(super) agent: Option<AgentId>,
    /// The presence version that its machine began with while the agent was not known.
    pub(super) floor: PresenceVersion,
    pub(super) instance: Option<InstanceId>,
    pub(super) claimed_id: String,
    pub(super) identity: Option<Identity>,
    /// It keeps stops and says how far it is.
    pub(super) latches_stops: bool,
    /// It knows terminals: it does not take the names of keys for a text.
    pub(super) knows_terminals: bool,
    /// Its terminal that somebody sits before, whose size is not for others to say.
    pub(super) attached: Option<CommandId>,
    /// Commands of which it was told in this session that nobody here knows them.
    pub(super) told_unknown: BTreeSet<CommandId>,
    pub(super) stop_receipt: Option<(StopId, StopState)>,
    pub(super) output_waiting: usize,
    pub(super) held_back: bool,
}

/// A hello whose session is being opened.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) hello: Box<AgentConnect>,
    pub(super) identity: Identity,
    pub(super) session: SessionId,
    pub(super) peer: String,
}

/// What came of something the hub asked the store.
#[derive(Debug)]
pub(super) enum Answer {
    Session {
        key: Key,
        link: LinkId,
        opened: Result<OpenedSession, OpenError>,
    },
    Inserted {
        user: UserId,
        command: CommandId,
        inserted: Result<Inserted, StoreError>,
    },
    Deleted {
        user: UserId,
        agent: AgentId,
        reply: Reply,
        deleted: Result<bool, StoreError>,
    },
    Positions {
        from: Sender,
        state: OutputState,
        positions: Result<Vec<StreamPosition>, StoreError>,
    },
    Place {
        key: (UserId, CommandId),
        place: Result<LogPlace, StoreError>,
    },
    DashboardStop {
        reply: Reply,
        result: Result<(), ErrorReply>,
    },
    Stopped {
        stop: StopId,
        stored: Result<(), StoreError>,
    },
    Released {
        reply: ReleaseReply,
        result: Result<ReleaseReport, ErrorReply>,
    },
    AuditOverdue {
        query: String,
    },
    Revoked {
        token_id: String,
    },
    Nothing,
}

/// The hub. See the [module](super).
#[derive(Debug)]
pub struct Hub {
    pub(super) shard: Shard<Identity>,
    pub(super) clock: SystemClock,
    pub(super) store: Store,
    pub(super) boards: Boards,
    pub(super) ledger: Ledger,
    pub(super) counters: Counters,
    pub(super) known: BTreeMap<AgentId, Known>,
    pub(super) by_key: HashMap<(UserId, AgentKey), AgentId>,
    /// No presence of any agent of the user has a greater version.
    pub(super) newest: HashMap<UserId, PresenceVersion>,
    /// Keys of machines whose agent has no id yet.
    pub(super) newcomers: HashMap<(UserId, AgentKey), Key>,
    pub(super) live: BTreeMap<Key, Live>,
    pub(super) joining: BTreeMap<LinkId, Joining>,
    pub(super) commands: BTreeMap<(UserId, CommandId), OpenCommand>,
    /// Those of which it is being looked up where their logs go on.
    pub(super) unplaced: BTreeMap<(UserId, CommandId), Unplaced>,
    pub(super) queues: BTreeMap<AgentId, CommandQueue<(UserId, CommandId)>>,
    /// Agents in whose line something changed.
    pub(super) lines_changed: BTreeSet<AgentId>,
    pub(super) stop_waits: Vec<StopWait>,
    next_stop_repeat: tokio::time::Instant,
    pub(super) audits: BTreeMap<String, PendingAudit>,
    pub(super) answers: JoinSet<Answer>,
    inbox: mpsc::Receiver<Request>,
    done: mpsc::UnboundedReceiver<Done>,
    receipts: Receipts,
    observer: Option<mpsc::UnboundedSender<BeatSeen>>,
    health: watch::Receiver<StoreHealth>,
    pub(super) next_token_check: tokio::time::Instant,
}

/// What a hub is made of.
#[derive(Debug)]
pub struct HubParts {
    /// The database.
    pub store: Store,
    /// What comes out of it.
    pub receipts: Receipts,
    /// The boards to write.
    pub boards: Boards,
    /// Where to count.
    pub counters: Counters,
    /// The rules for agents.
    pub config: ServerConfig,
    /// This process.
    pub instance: ServerInstanceId,
    /// Bytes for the recording of inputs; none with zero.
    pub recording: usize,
    /// Who watches heartbeats.
    pub observer: Option<mpsc::UnboundedSender<BeatSeen>>,
}

impl Hub {
    /// A hub that has read what the database knows. Run it with [`run`](Self::run).
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(parts: HubParts) -> Result<(Self, HubHandle), StoreError> {
        let HubParts { store, receipts, boards, counters, config, instance, recording, observer } =
            parts;
        let rules = SessionRules {
            server_instance: instance,
            features: SERVER_FEATURES.to_vec(),
            output_window: Outbox::DEFAULT_WINDOW,
        };
        let shard =
            Shard::new(rules, config, Limits::DEFAULT, counters.clone()).with_recording(recording);
        let (requests, inbox) = mpsc::channel(INBOX);
        let (done_in, done) = mpsc::unbounded_channel();
        let mut hub = Self {
            clock: shard.clock(),
            shard,
            ledger: Ledger::start(store.clone(), counters.clone(), done_in),
            health: store.health(),
            store,
            boards,
            counters,
            known: BTreeMap::new(),
            by_key: HashMap::new(),
            newest: HashMap::new(),
            newcomers: HashMap::new(),
            live: BTreeMap::new(),
            joining: BTreeMap::new(),
            commands: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            queues: BTreeMap::new(),
            lines_changed: BTreeSet::new(),
            stop_waits: Vec::new(),
            next_stop_repeat: tokio::time::Instant::now() + REPEAT,
            audits: BTreeMap::new(),
            answers: JoinSet::new(),
            inbox,
            done,
            receipts,
            observer,
            next_token_check: tokio::time::Instant::now() + TOKEN_CHECK,
        };
        hub.recover().await?;
        Ok((hub, HubHandle(requests)))
    }

    /// Runs until somebody asks for a shutdown.
    pub async fn run(mut self) {
        loop {
            self.place_commands();
            let command_deadline = self.command_deadline();
            let stop_deadline = self.stop_deadline();
            tokio::select! {
                biased;
                request = self.inbox.recv() => match request {
                    Some(Request::Shutdown(done)) => return self.shut_down(done).await,
                    Some(request) => self.on_request(request),
                    None => return,
                },
                event = self.shard.next() => self.on_shard(event),
                Some(recorded) = self.receipts.recorded.recv() => self.on_recorded(recorded),
                Some(stored) = self.receipts.output.recv() => self.on_stored(stored),
                Some(done) = self.done.recv() => self.on_done(done),
                Some(answer) = self.answers.join_next(), if !self.answers.is_empty() => {
                    match answer {
                        Ok(answer) => self.on_answer(answer),
                        Err(error) => {
                            self.counters.count("tasks_lost");
                            warn!(%error, "a request to the database was lost");
                        }
                    }
                }
                Ok(()) = self.health.changed() => self.on_health(),
                () = self.clock.sleep_until(command_deadline) => self.wake_commands(),
                () = sleep_until(stop_deadline) => self.answer_stops(),
                () = tokio::time::sleep_until(self.next_stop_repeat) => {
                    self.next_stop_repeat = tokio::time::Instant::now() + REPEAT;
                    self.repeat_stops();
                }
                () = tokio::time::sleep_until(self.next_token_check) => {
                    self.next_token_check = tokio::time::Instant::now() + TOKEN_CHECK;
                    self.check_tokens();
                }
            }
        }
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::AgentLink(ticket) => {
                let _ = self.shard.accept(ticket);
            }
            Request::Command { user, request, reply } => self.on_command(user, request, reply),
            Request::Cancel { user, cancel, reply } => self.on_cancel(&user, &cancel, reply),
            Request::Control { user, control, reply } => self.on_control(&user, control, reply),
            Request::EmergencyStop { user, stop, holds: true, reply } => {
                self.on_dashboard_stop(&user, stop, reply);
            }
            Request::EmergencyStop { user, stop, holds: false, reply } => {
                self.on_emergency_stop(&user, stop, reply);
            }
            Request::Stop { user, scope, reason, reply } => {
                self.on_stop(user, scope, reason, StopAnswer::Verified, reply);
            }
            Request::Release { user, scope, reply } => self.on_release(user, &scope, reply),
            Request::DeleteAgent { user, agent, reply } => self.on_delete(user, agent, reply),
            Request::Recording { user, agent, reply } => {
                if reply.send(self.recording(&user, &agent)).is_err() {
                    self.counters.count("answers_nobody_took");
                }
            }
            Request::Audit { user, agent, reply } => self.on_audit(user, agent, reply),
            Request::Stats(reply) => {
                let stats = HubStats {
                    links: self.shard.link_count(),
                    greeting: self.shard.greeting_count(),
                    sessions: self.live.len(),
                    open_commands: self.commands.len(),
                    unwritten: self.ledger.waiting(),
                };
                if reply.send(stats).is_err() {
                    self.counters.count("answers_nobody_took");
                }
            }
            Request::Shutdown(done) => drop(done),
        }
    }

    fn on_shard(&mut self, event: ShardEvent<Identity>) {
        match event {
            ShardEvent::Hello(claim) => self.on_hello(claim),
            ShardEvent::Admit { key, link } => self.on_admit(key, link),
            ShardEvent::Welcomed { key, link, dialect, .. } => self.on_welcomed(key, link, dialect),
            ShardEvent::Record { key, epoch, sequence, at, metrics } => {
                self.on_beat(key, epoch, sequence, at, metrics);
            }
            ShardEvent::Paused { key, paused } => self.on_paused(key, paused),
            ShardEvent::Presence { key, presence } => self.on_presence(key, presence),
            ShardEvent::Message { key, message, now } => self.on_message(key, *message, now),
            ShardEvent::Heard { key, at } => self.on_heard(key, at),
            ShardEvent::LinkEnded { key, session, reason } => {
                self.on_link_ended(key, session, reason);
            }
            ShardEvent::Forgotten { key, history } => self.on_forgotten(key, history),
            ShardEvent::Overslept(late) => {
                warn!(
                    late_ms = late.as_millis() as u64,
                    "this server was away; no agent is blamed for it"
                );
            }
            ShardEvent::Answered { key, sequence } => {
                if let Some((_, agent)) = self.who(key) {
                    self.observe(&agent, sequence, BeatHop::Answered, self.now().wall);
                }
            }
            other => {
                self.counters.count("unhandled_shard_events");
                warn!(?other, "an event of the shard that this version does not handle");
            }
        }
    }

    fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Session { key, link, opened } => self.on_session(key, link, opened),
            Answer::Inserted { user, command, inserted } => {
                self.on_inserted(user, command, inserted);
            }
            Answer::Deleted { user, agent, reply, deleted } => {
                self.on_deleted(&user, &agent, reply, deleted);
            }
            Answer::Positions { from, state, positions } => {
                self.on_positions(&from, &state, positions);
            }
            Answer::Place { key, place } => self.on_place(&key, place),
            Answer::DashboardStop { reply, result } => self.answer(reply, result),
            Answer::Stopped { stop, stored } => self.on_stopped(&stop, stored),
            Answer::Released { reply, result } => {
                if reply.send(result).is_err() {
                    self.counters.count("answers_nobody_took");
                }
            }
            Answer::AuditOverdue { query } => self.on_audit_overdue(&query),
            Answer::Revoked { token_id } => self.on_revoked(&token_id),
            Answer::Nothing => {}
        }
    }

    fn on_health(&mut self) {
        let health = *self.health.borrow_and_update();
        let trouble = match health {
            StoreHealth::Healthy => {
                info!("the database takes writes again");
                None
            }
            StoreHealth::Troubled { trouble, .. } => {
                self.counters.count("store_troubles");
                warn!(%trouble, "the database does not take writes; agents stay connected");
                Some(match trouble {
                    Trouble::Busy => StoreTrouble::Busy,
                    Trouble::Full => StoreTrouble::Full,
                    Trouble::Failed => StoreTrouble::Failed,
                })
            }
        };
        self.shard.store_health(trouble);
    }

    /// Says goodbye on every link and waits a little for it to arrive.
    async fn shut_down(mut self, done: oneshot::Sender<()>) {
        self.shard.close_all(CloseCause::GoingAway);
        let patience = tokio::time::sleep(Duration::from_secs(3));
        tokio::pin!(patience);
        while !self.shard.is_done() {
            tokio::select! {
                event = self.shard.next() => self.on_shard(event),
                () = &mut patience => break,
            }
        }
        drop(done);
        self.ledger.finish(LAST_WRITES).await;
    }

    pub(super) fn observe(
        &self,
        agent: &AgentId,
        sequence: BeatSequence,
        hop: BeatHop,
        at: WallTime,
    ) {
        if let Some(observer) = &self.observer {
            // Whoever stopped watching is not to disturb the hub.
            let _ = observer.send(BeatSeen { agent: agent.clone(), sequence, hop, at });
        }
    }

    pub(super) fn answer(&self, reply: Reply, answer: Result<(), ErrorReply>) {
        if reply.send(answer).is_err() {
            self.counters.count("answers_nobody_took");
        }
    }

    pub(super) fn perform_all(
        &mut self,
        key: &(UserId, CommandId),
        actions: Actions<CommandAction>,
    ) {
        for action in actions {
            self.perform_command(key, action);
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
