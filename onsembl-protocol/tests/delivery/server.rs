//! The server's edge around the real [`Fleet`] of one user: it hands in what happens, keeps what is to be
//! written in order, and applies what is to be shown. It decides nothing.

use super::database::Database;
use super::now;
use super::story::show_record;
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::fleet::{
    AgentRecord, CommandRecord, Cursor, Fetch, Fleet, FleetAction, FleetEvent, FleetLimits,
    FleetNote, Flow, Inserted, LogRecord, OpenedSession, Question, Receipt, RecordOutcome, Request,
    SeatId, SeatOrigin, StoreAnswer, StoreFault, StreamPosition, Token, View, Write,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, CommandId, Epoch, LinkId, PresenceVersion, SessionId, UserId,
};
use onsembl_protocol::model::Capabilities;
use onsembl_protocol::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
use onsembl_protocol::wire::payload::{AgentConnect, CommandRequest};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a process of the server holds of one agent's connection.
#[derive(Debug)]
struct Seat {
    id: SeatId,
    version: PresenceVersion,
    session: Option<(LinkId, SessionId)>,
    flow: Flow,
}

/// A process of the server.
#[derive(Debug)]
pub(super) struct Server {
    fleet: Fleet,
    view: View,
    writes: VecDeque<Write>,
    questions: VecDeque<Question>,
    /// What became of writes.
    settled: VecDeque<FleetEvent>,
    seats: BTreeMap<AgentId, Seat>,
    /// Machines whose agent the store has not named yet.
    newcomers: BTreeMap<SeatId, Seat>,
    sent: Vec<(AgentId, ServerToAgent)>,
    links: u64,
    requests: u64,
    /// Terminals that were given up, because too many were open.
    pub(super) given_up: BTreeSet<CommandId>,
    /// Those of them of which the end is committed.
    closed: BTreeSet<CommandId>,
}

impl Server {
    /// A new process. Of what the database has it knows the commands that are not over, and of those that are
    /// it `remembers` some.
    pub(super) fn start(
        database: &Database,
        limits: FleetLimits,
        seed: u64,
        remembers: impl Fn(&CommandId) -> bool,
        at: Duration,
    ) -> Self {
        let mut server = Self {
            fleet: Fleet::new(UserId::new("u"), SeatId(1), seed, limits),
            view: View::default(),
            writes: VecDeque::new(),
            questions: VecDeque::new(),
            settled: VecDeque::new(),
            seats: BTreeMap::new(),
            newcomers: BTreeMap::new(),
            sent: Vec::new(),
            links: 0,
            requests: 0,
            given_up: BTreeSet::new(),
            closed: BTreeSet::new(),
        };
        for agent in database.agents.values() {
            server.fleet.recover_agent(agent.clone().of_next_run(), now(at));
            server.perform_for(Some(&agent.agent));
        }
        for (id, record) in &database.commands {
            if record.ended_at.is_none() || remembers(id) {
                server.fleet.recover_command(
                    record.clone(),
                    &database.log_position(id),
                    now(at).wall,
                    now(at),
                );
                server.perform();
            }
        }
        server
    }

    fn feed(&mut self, event: FleetEvent, at: Duration) {
        self.fleet.handle(event, now(at));
        self.perform();
    }

    fn perform(&mut self) {
        self.perform_for(None);
    }

    fn perform_for(&mut self, recovered: Option<&AgentId>) {
        while let Some(action) = self.fleet.poll_action() {
            match action {
                FleetAction::Show(changes) => drop(self.view.apply(changes)),
                FleetAction::Install { seat, origin } => {
                    let (SeatOrigin::New { version, .. } | SeatOrigin::Recovered { version, .. }) =
                        origin;
                    let new = Seat { id: seat, version, session: None, flow: Flow::Resumed };
                    match recovered {
                        Some(agent) => drop(self.seats.insert(agent.clone(), new)),
                        None => drop(self.newcomers.insert(seat, new)),
                    }
                }
                FleetAction::Join { .. } | FleetAction::Admit { .. } => {}
                FleetAction::Send { seat, message } => {
                    let of = |(_, entry): &(&AgentId, &Seat)| entry.id == seat;
                    if let Some((agent, _)) = self.seats.iter().find(of) {
                        self.sent.push((agent.clone(), *message));
                    }
                }
                FleetAction::Throttle { seat, flow } => {
                    if let Some(entry) = self.seats.values_mut().find(|entry| entry.id == seat) {
                        entry.flow = flow;
                    }
                }
                FleetAction::Ask(question) => self.questions.push_back(question),
                FleetAction::Write(write) => self.writes.push_back(write),
                FleetAction::Note(FleetNote::TerminalGivenUp { command, .. }) => {
                    self.given_up.insert(command);
                }
                FleetAction::Note(_) | FleetAction::Reply { .. } | FleetAction::Faulted(_) => {}
                other => panic!("in no world of output: {other:?}"),
            }
        }
    }

    // --- links

    /// An agent says hello, and its session is opened at once.
    pub(super) fn on_session(
        &mut self,
        agent: &AgentId,
        hello: AgentConnect,
        capabilities: Capabilities,
        database: &mut Database,
        at: Duration,
    ) {
        self.links += 1;
        // An agent that died before it had dropped a terminal may have all of it, and sends all of it.
        if hello.extensions.is_some() {
            self.closed.clear();
        }
        let (link, peer) = (LinkId(self.links), "somewhere".to_owned());
        self.feed(FleetEvent::Hello { link, hello: Box::new(hello), peer, bearer: None }, at);
        let newcomer = self.newcomers.pop_first().map(|(_, seat)| seat);
        if let Some(newcomer) = newcomer {
            self.seats.insert(agent.clone(), newcomer);
        }
        let seat = self.seats[agent].id;
        self.feed(FleetEvent::Admit { seat, link }, at);
        let Some(Question::Session { new, .. }) = self.questions.pop_back() else {
            panic!("no session is asked for")
        };
        let session = new.session.clone();
        let opened = database.open_session(agent, *new);
        let epoch = opened.epoch;
        let answer =
            StoreAnswer::Session { seat, link, session: session.clone(), opened: Ok(opened) };
        self.feed(FleetEvent::Store(answer), at);
        if let Some(entry) = self.seats.get_mut(agent) {
            (entry.session, entry.flow) = (Some((link, session)), Flow::Resumed);
        }
        self.feed(FleetEvent::Welcomed { seat, link, capabilities }, at);
        self.present(agent, PresenceStatus::Online, PresenceCause::SessionOpened, epoch, at);
    }

    fn present(
        &mut self,
        agent: &AgentId,
        status: PresenceStatus,
        cause: PresenceCause,
        epoch: Epoch,
        at: Duration,
    ) {
        let Some(entry) = self.seats.get_mut(agent) else { return };
        entry.version = entry.version.next_in(epoch);
        let (seat, version) = (entry.id, entry.version);
        let because = StatusCause { cause, impairment: None, trouble: None };
        let presence = Presence { status, since: now(at).wall, because, version, epoch };
        self.feed(FleetEvent::Presence { seat, presence, beats: None }, at);
    }

    pub(super) fn on_link_lost(&mut self, agent: &AgentId, epoch: Epoch, at: Duration) {
        let Some(entry) = self.seats.get_mut(agent) else { return };
        let Some((link, session)) = entry.session.take() else { return };
        let (seat, reason) = (entry.id, CloseReason::broken(Breakage::Reset));
        self.sent.retain(|(to, _)| to != agent);
        self.feed(FleetEvent::LinkEnded { seat, link, session: Some(session), reason }, at);
        let cause = PresenceCause::LinkEnded(reason);
        self.present(agent, PresenceStatus::Reconnecting, cause, epoch, at);
    }

    /// An agent was not back in time.
    pub(super) fn forget_agent(&mut self, agent: &AgentId, at: Duration) {
        if self.seats.get(agent).is_some_and(|entry| entry.session.is_none())
            && let Some(entry) = self.seats.remove(agent)
        {
            self.feed(FleetEvent::Forgotten { seat: entry.id, history: None }, at);
        }
    }

    /// Whether an agent's link is not read, because too much of what came is not stored.
    pub(super) fn throttles(&self, agent: &AgentId) -> bool {
        self.seats.get(agent).is_none_or(|entry| entry.flow == Flow::Paused)
    }

    pub(super) fn hear(&mut self, agent: &AgentId, message: AgentToServer, at: Duration) {
        if let Some(entry) = self.seats.get(agent) {
            let event = FleetEvent::Message { seat: entry.id, message: Box::new(message) };
            self.feed(event, at);
        }
    }

    /// What is said to agents in session.
    pub(super) fn take_sent(&mut self) -> Vec<(AgentId, ServerToAgent)> {
        std::mem::take(&mut self.sent)
    }

    // --- its user

    pub(super) fn request(&mut self, request: CommandRequest, at: Duration) {
        self.requests += 1;
        let (token, request) = (Token(self.requests), Request::Command(Box::new(request)));
        self.feed(FleetEvent::Request { token, request }, at);
    }

    pub(super) fn on_time(&mut self, at: Duration) {
        if self.fleet.deadline().is_due(now(at).monotonic) {
            self.feed(FleetEvent::Wake, at);
            let deadline = self.fleet.deadline();
            assert!(
                !deadline.is_due(now(at).monotonic),
                "woken at {at:?}, it asks for {deadline:?}"
            );
        }
    }

    // --- the database

    pub(super) fn is_idle(&self) -> bool {
        self.writes.is_empty() && self.settled.is_empty() && self.questions.is_empty()
    }

    /// One transaction of at most this many writes. What is new in the database comes back.
    pub(super) fn commit(
        &mut self,
        database: &mut Database,
        most: usize,
    ) -> Vec<(CommandId, LogRecord)> {
        let mut new = Vec::new();
        for write in self.writes.drain(..most.min(self.writes.len())).collect::<Vec<_>>() {
            match write {
                Write::Output { command, record } => {
                    let is_known = database.commands.contains_key(&command);
                    let outcome = match is_known {
                        true => RecordOutcome::Stored,
                        false => RecordOutcome::NoSuchCommand,
                    };
                    if is_known {
                        let is_closed = self.closed.contains(&command);
                        let shown = show_record(&record);
                        assert!(!is_closed, "{command} was given up, and then {shown} is stored");
                        let rows = database.write(&command, &record);
                        new.extend(rows.into_iter().map(|row| (command.clone(), row)));
                    }
                    let LogRecord { incarnation, sequence, stream, offset, .. } = record;
                    let end = record.end();
                    self.settled.push_back(FleetEvent::Receipts(vec![Receipt {
                        command,
                        incarnation,
                        sequence,
                        stream,
                        offset,
                        end,
                        outcome,
                    }]));
                }
                Write::Terminal(record) => {
                    let answer = inserted(database, *record);
                    self.settled.push_back(FleetEvent::Store(answer));
                }
                Write::Command { command, update } => {
                    let is_end = update.stage.is_final();
                    if is_end && self.given_up.contains(&command) {
                        self.closed.insert(command.clone());
                    }
                    database.update(&command, &update);
                    if is_end {
                        let answer = StoreAnswer::EndStored { command, stored: Ok(()) };
                        self.settled.push_back(FleetEvent::Store(answer));
                    }
                }
                Write::Alias { agent, alias } => {
                    if let Some(known) = database.agents.get_mut(&agent)
                        && !known.aliases.contains(&alias)
                    {
                        known.aliases.push(alias);
                    }
                }
                Write::Journal { agent, journal } => {
                    if let Some(known) = database.agents.get_mut(&agent) {
                        known.journal = journal;
                    }
                }
                Write::Presence(record) => {
                    if let Some(known) = database.agents.get_mut(&record.agent) {
                        known.status = record.presence.status;
                        known.presence_version = record.presence.version;
                    }
                }
                Write::TerminalSize { command, record } => database.note_size(&command, record),
                Write::Keyboard(_) => {}
                Write::SessionEnd { .. } => {}
            }
        }
        new
    }

    /// Hears what became of writes.
    pub(super) fn take_receipts(&mut self, at: Duration) {
        for event in std::mem::take(&mut self.settled) {
            self.feed(event, at);
        }
    }

    /// Hears the answer to the oldest question.
    pub(super) fn answer(&mut self, database: &mut Database, at: Duration) {
        let Some(question) = self.questions.pop_front() else { return };
        let answer = match question {
            Question::Insert(record) => inserted(database, *record),
            Question::LogPosition(command) => {
                let position = Ok(database.log_position(&command));
                StoreAnswer::LogPosition { command, position }
            }
            Question::Positions { ticket, commands } => {
                let of = |id: &CommandId| database.positions(id);
                let positions: Vec<StreamPosition> = commands.iter().flat_map(of).collect();
                StoreAnswer::Positions { ticket, positions: Ok(positions) }
            }
            other => panic!("in no world of output: {other:?}"),
        };
        self.feed(FleetEvent::Store(answer), at);
    }

    /// The database cannot be read: agents wait for positions and get none.
    pub(super) fn fail_to_answer(&mut self, at: Duration) {
        let fails = |q: &Question| matches!(q, Question::Positions { .. });
        let Some(n) = self.questions.iter().position(fails) else { return };
        if let Some(Question::Positions { ticket, .. }) = self.questions.remove(n) {
            let positions = Err(StoreFault::Unavailable("it is busy".to_owned()));
            self.feed(FleetEvent::Store(StoreAnswer::Positions { ticket, positions }), at);
        }
    }

    // --- readers

    /// What readers see.
    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    /// The next records for a viewer, and where it is then.
    pub(super) fn show(
        &self,
        database: &Database,
        command: &CommandId,
        cursor: Cursor,
        most: usize,
    ) -> (Cursor, Vec<LogRecord>) {
        let Some(entry) = self.view.command(command) else { return (cursor, Vec::new()) };
        let records = match entry.tail.after(cursor, most) {
            Fetch::UpToDate => return (cursor, Vec::new()),
            Fetch::Records(records) => records,
            Fetch::InStore => database.page(command, None, cursor, most),
        };
        match records.last() {
            Some(last) => (Some(last.position()), records),
            None => (cursor.max(entry.tail.begin()), records),
        }
    }
}

fn inserted(database: &mut Database, record: CommandRecord) -> StoreAnswer {
    let command = record.command.clone();
    let inserted = match database.commands.get(&command) {
        Some(existing) => Inserted::Existing(Box::new(existing.clone())),
        None => {
            database.commands.insert(command.clone(), record);
            Inserted::New
        }
    };
    StoreAnswer::Inserted { command, inserted: Ok(inserted) }
}

impl Database {
    /// The next session of an agent.
    fn open_session(
        &mut self,
        agent: &AgentId,
        new: onsembl_protocol::fleet::NewSession,
    ) -> OpenedSession {
        let known = self.agents.entry(agent.clone()).or_insert_with(|| AgentRecord {
            agent: agent.clone(),
            key: AgentKey::new(new.key.as_str()),
            name: new.name.clone(),
            agent_type: new.agent_type.clone(),
            version: String::new(),
            host: String::new(),
            capabilities: Vec::new(),
            aliases: Vec::new(),
            epoch: Epoch(0),
            instance: None,
            status: PresenceStatus::Connecting,
            since: new.at,
            because: String::new(),
            presence_version: PresenceVersion(0),
            last_heard: None,
            metrics: None,
            journal: None,
            claim: None,
        });
        known.epoch = known.epoch.next_above(known.presence_version);
        known.instance = new.instance;
        if let Some(alias) = new.alias.map(AgentId::new)
            && !known.aliases.contains(&alias)
        {
            known.aliases.push(alias);
        }
        OpenedSession { agent: agent.clone(), epoch: known.epoch, unknown_stop: None }
    }

    pub(super) fn epoch(&self, agent: &AgentId) -> Epoch {
        self.agents.get(agent).map_or(Epoch(0), |known| known.epoch)
    }
}
