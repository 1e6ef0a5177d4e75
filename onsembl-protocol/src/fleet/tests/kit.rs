//! A fleet and the edge that the tests play: machines that open sessions at once, and a store that answers
//! what it is told to.

use crate::close::CloseReason;
use crate::fleet::*;
use crate::id::{
    AgentId, AgentKey, CommandId, Epoch, InstanceId, JournalId, LinkId, MessageId, PresenceVersion,
    StopId, UserId,
};
use crate::limits::Limits;
use crate::model::{AGENT_FEATURES, Capabilities, Dialect, Feature, SERVER_FEATURES};
use crate::output::Stream;
use crate::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
use crate::time::{Deadline, Now};
use crate::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandComplete, CommandPhase,
};
use crate::wire::{AgentToServer, ServerToAgent, encode};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

pub(super) struct Kit {
    pub(super) fleet: Fleet,
    pub(super) view: View,
    /// What the store has of commands.
    pub(super) rows: BTreeMap<CommandId, CommandRecord>,
    /// Whether it takes new ones.
    pub(super) takes: Result<(), StoreFault>,
    /// What was sent to agents.
    pub(super) sent: Vec<ServerToAgent>,
    /// Hellos that were refused, and why.
    pub(super) refused: Vec<(LinkId, String)>,
    /// Hellos that were joined to the machine of their agent.
    pub(super) joined: Vec<LinkId>,
    pub(super) notes: Vec<FleetNote>,
    /// Findings that are to be kept; the test says what becomes of them.
    pub(super) findings: Vec<FindingsRecord>,
    /// What was written down of keyboards.
    pub(super) holds: Vec<KeyboardRecord>,
    pub(super) answers: BTreeMap<Token, Answer>,
    pub(super) seat: Option<SeatId>,
    /// The stops that welcomes named.
    pub(super) welcomed: Vec<Option<StopId>>,
    /// Ids of stops that the store has.
    pub(super) stops: BTreeSet<StopId>,
    hellos: BTreeMap<LinkId, AgentConnect>,
    version: u64,
    pub(super) now: Duration,
}

pub(super) const AGENT: &str = "agent-1";

impl Kit {
    pub(super) fn new(limits: FleetLimits) -> Self {
        Self {
            fleet: Fleet::new(UserId::new("ann"), SeatId(0), 1, limits),
            view: View::default(),
            rows: BTreeMap::new(),
            takes: Ok(()),
            sent: Vec::new(),
            refused: Vec::new(),
            joined: Vec::new(),
            notes: Vec::new(),
            findings: Vec::new(),
            holds: Vec::new(),
            answers: BTreeMap::new(),
            seat: None,
            welcomed: Vec::new(),
            stops: BTreeSet::new(),
            hellos: BTreeMap::new(),
            version: 0,
            now: Duration::from_secs(1000),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now::without_suspend(self.now)
    }

    pub(super) fn feed(&mut self, event: FleetEvent) {
        let mut events = alloc::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.fleet.handle(event, self.now());
            while let Some(action) = self.fleet.poll_action() {
                events.extend(self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: FleetAction) -> Vec<FleetEvent> {
        match action {
            FleetAction::Show(changes) => drop(self.view.apply(changes)),
            FleetAction::Install { seat, .. } => self.seat = Some(seat),
            FleetAction::Join { link, seat, .. } => {
                self.joined.push(link);
                return alloc::vec![FleetEvent::Admit { seat, link }];
            }
            FleetAction::RefuseHello { link, error, .. } => {
                self.refused.push((link, error.message));
            }
            FleetAction::Admit { seat, link, admission } => {
                self.welcomed.push(admission.stopped);
                let features = self.hellos.get(&link).and_then(|h| h.extensions.as_ref());
                let theirs: Vec<Feature> = features.map(|e| e.features.clone()).unwrap_or_default();
                // A server that exports traces.
                let ours = [SERVER_FEATURES, &[Feature::CommandTrace]].concat();
                let capabilities = Capabilities::negotiate(&ours, &theirs, Dialect::Extended);
                return alloc::vec![
                    FleetEvent::Welcomed { seat, link, capabilities },
                    self.presence(seat, PresenceStatus::Online),
                ];
            }
            FleetAction::Send { message, .. } => {
                // A law: no message of our own is longer than a link takes (P-380).
                let bytes = encode(&MessageId::new("m"), self.now().wall, &*message).len();
                assert!(bytes <= Limits::DEFAULT.message_bytes, "{bytes} bytes: {message:?}");
                self.sent.push(*message);
            }
            FleetAction::Note(note) => self.notes.push(note),
            FleetAction::Ask(Question::Session { seat, link, new }) => {
                self.version += 1;
                let opened = OpenedSession {
                    agent: AgentId::new(AGENT),
                    epoch: Epoch(self.version),
                    presence_version: PresenceVersion(self.version),
                    unknown_stop: new.stop.clone().filter(|stop| {
                        let adopted = stop.adopted_for(&AgentId::new(AGENT));
                        !self.stops.contains(stop) && !self.stops.contains(&adopted)
                    }),
                };
                let answer =
                    StoreAnswer::Session { seat, link, session: new.session, opened: Ok(opened) };
                return alloc::vec![FleetEvent::Store(answer)];
            }
            FleetAction::Ask(Question::Stop(order)) => {
                let stop = order.id;
                let _ = self.stops.insert(stop.clone());
                return alloc::vec![FleetEvent::Store(StoreAnswer::Stopped {
                    stop,
                    stored: Ok(())
                })];
            }
            FleetAction::Write(Write::Terminal(record))
            | FleetAction::Ask(Question::Insert(record)) => {
                let command = record.command.clone();
                let inserted = match (&self.takes, self.rows.get(&command)) {
                    (Err(fault), _) => Err(fault.clone()),
                    (Ok(()), Some(row)) => Ok(Inserted::Existing(Box::new(row.clone()))),
                    (Ok(()), None) => {
                        let _ = self.rows.insert(command.clone(), *record);
                        Ok(Inserted::New)
                    }
                };
                return alloc::vec![FleetEvent::Store(StoreAnswer::Inserted { command, inserted })];
            }
            FleetAction::Write(Write::Command { command, update }) => {
                let Some(row) = self.rows.get_mut(&command) else { return Vec::new() };
                (row.stage, row.cause, row.exit) = (update.stage, Some(update.cause), update.exit);
                if update.stage.is_final() {
                    row.ended_at = Some(update.at);
                    let answer = StoreAnswer::EndStored { command, stored: Ok(()) };
                    return alloc::vec![FleetEvent::Store(answer)];
                }
            }
            FleetAction::Ask(Question::KeepFindings(record)) => self.findings.push(record),
            FleetAction::Write(Write::Keyboard(record)) => self.holds.push(record),
            FleetAction::Reply { token, answer } => {
                let _ = self.answers.insert(token, answer);
            }
            FleetAction::Ask(Question::LogPosition(command)) => {
                let position = Ok((Cursor::default(), Vec::new()));
                let answer = StoreAnswer::LogPosition { command, position };
                return alloc::vec![FleetEvent::Store(answer)];
            }
            FleetAction::Write(Write::Output { command, record }) => {
                let receipt = Receipt {
                    incarnation: record.incarnation,
                    sequence: record.sequence,
                    stream: record.stream,
                    offset: record.offset,
                    end: record.end(),
                    outcome: match self.rows.contains_key(&command) {
                        true => RecordOutcome::Stored,
                        false => RecordOutcome::NoSuchCommand,
                    },
                    command,
                };
                return alloc::vec![FleetEvent::Receipts(alloc::vec![receipt])];
            }
            _ => {}
        }
        Vec::new()
    }

    pub(super) fn presence(&mut self, seat: SeatId, status: PresenceStatus) -> FleetEvent {
        self.version += 1;
        let cause = PresenceCause::SessionOpened;
        let presence = Presence {
            status,
            since: self.now().wall,
            because: StatusCause { cause, impairment: None, trouble: None },
            version: PresenceVersion(self.version),
            epoch: Epoch(self.version),
        };
        FleetEvent::Presence { seat, presence, beats: None }
    }

    pub(super) fn hello(&mut self, link: u64, hello: AgentConnect) {
        let _ = self.hellos.insert(LinkId(link), hello.clone());
        let (link, hello) = (LinkId(link), Box::new(hello));
        let peer = "10.0.0.1:5".to_owned();
        self.feed(FleetEvent::Hello { link, hello, peer, bearer: None });
    }

    pub(super) fn lose(&mut self, link: u64) {
        let Some(seat) = self.seat else { return };
        let reason = CloseReason::broken(crate::close::Breakage::Reset);
        let away = self.presence(seat, PresenceStatus::Reconnecting);
        self.feed(FleetEvent::LinkEnded { seat, link: LinkId(link), session: None, reason });
        self.feed(away);
    }

    pub(super) fn say(&mut self, message: AgentToServer) {
        let Some(seat) = self.seat else { return };
        self.feed(FleetEvent::Message { seat, message: Box::new(message) });
    }

    /// Goes on to the deadline of the fleet, at most so far.
    pub(super) fn wait(&mut self, most: Duration) {
        let end = self.now + most;
        while let Deadline::At(at) = self.fleet.deadline()
            && at.since_origin() <= end
        {
            self.now = at.since_origin().max(self.now);
            self.feed(FleetEvent::Wake);
        }
        self.now = end;
    }

    pub(super) fn stage(&self, id: &str) -> Option<CommandStage> {
        self.view.command(&CommandId::new(id))?.view.map(|view| view.status)
    }

    /// The order to cancel, or the error, that was sent of this command.
    pub(super) fn said_of(&self, id: &str) -> Vec<String> {
        let id = CommandId::new(id);
        let said = self.sent.iter().filter_map(|message| match message {
            ServerToAgent::CommandCancel(c) if c.command_id == id => Some("cancel".to_owned()),
            ServerToAgent::CommandRequest(r) if r.command_id.as_ref() == Some(&id) => {
                Some("request".to_owned())
            }
            ServerToAgent::Ack(a) if a.command_id.as_ref() == Some(&id) => Some("ack".to_owned()),
            ServerToAgent::Error(e) if e.context.command_id.as_ref() == Some(&id) => {
                Some(e.code.to_string())
            }
            _ => None,
        });
        said.collect()
    }
}

pub(super) fn hello(instance: &str, host: &str, commands: &[&str]) -> AgentConnect {
    AgentConnect {
        agent_id: "a".to_owned(),
        name: Some("ada".to_owned()),
        agent_type: AgentType::Custom,
        version: None,
        host_machine: Some(host.to_owned()),
        capabilities: crate::wire::payload::LegacyCapabilities::default(),
        extensions: Some(AgentExtensions {
            features: AGENT_FEATURES.to_vec(),
            agent_key: AgentKey::new("key"),
            instance: InstanceId::new(instance),
            probe: false,
            commands: commands.iter().map(|id| CommandId::new(*id)).collect(),
            journal: Some(JournalId::new("j")),
            max_parallel: None,
            stop_id: None,
        }),
    }
}

pub(super) fn complete(id: &str) -> AgentToServer {
    AgentToServer::CommandComplete(CommandComplete {
        command_id: CommandId::new(id),
        agent_id: None,
        status: CommandPhase::Failed,
        exit_code: Some(7),
        signal: None,
        duration_ms: None,
        tokens_used: 0,
        error: None,
        timestamp: None,
        output: None,
    })
}

pub(super) const STDOUT: Stream = Stream::Stdout;
