//! The server's edge around the real [`Fleet`] of one user and the real machines of its agents: it opens
//! and closes links, keeps what is to be asked and written, and hands in what happens. It decides nothing.

use super::now;
use super::store::{Health, Store};
use onsembl_protocol::close::{CloseCause, CloseReason};
use onsembl_protocol::fleet::{
    Admission, Answer, Bearer, Change, CommandStage, Fleet, FleetAction, FleetEvent, FleetLimits,
    Flow, Question, Request, SeatId, SeatOrigin, Token, View, Write,
};
use onsembl_protocol::id::{AgentId, CommandId, LinkId, MessageId, SessionId, StopId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{Capabilities, Dialect, Pausing, SERVER_FEATURES};
use onsembl_protocol::session::{
    ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::time::{Deadline, WallTime};
use onsembl_protocol::wire::payload::AgentConnect;
use onsembl_protocol::wire::{self, AgentToServer, MessageSet as _, ServerToAgent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What comes down a link.
#[derive(Clone, Debug)]
pub(super) enum Down {
    Welcome { agent: AgentId, capabilities: Capabilities, stopped: Option<StopId> },
    Message(Box<ServerToAgent>),
    Closed(CloseCause),
}

#[derive(Debug)]
struct Link {
    seat: Option<SeatId>,
    capabilities: Capabilities,
    admission: Option<Admission>,
    session: Option<SessionId>,
}

/// What the fleet said to the world, to be judged.
#[derive(Debug)]
pub(super) enum Sent {
    /// To the agent at the other end of this link.
    Down(LinkId, Down),
    Reply(Token, Answer),
    Write(Write),
    Change(Change),
}

/// A process of the server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) fleet: Fleet,
    view: View,
    config: ServerConfig,
    machines: BTreeMap<SeatId, ServerConnection>,
    links: BTreeMap<LinkId, Link>,
    /// Links that this server closed, and of which the end is not noticed yet.
    closing: VecDeque<(LinkId, CloseReason)>,
    paused: BTreeSet<SeatId>,
    writes: VecDeque<Write>,
    questions: Vec<Question>,
    settled: VecDeque<FleetEvent>,
    /// What the machines have for the fleet.
    events: VecDeque<FleetEvent>,
    pub(super) sent: Vec<Sent>,
    /// The final stages that were shown, and those that were written, which must not change.
    shown: BTreeMap<CommandId, CommandStage>,
    written: BTreeMap<CommandId, CommandStage>,
}

impl Server {
    pub(super) fn start(
        store: &mut Store,
        (user, seat): (UserId, SeatId),
        limits: FleetLimits,
        config: ServerConfig,
        seed: u64,
        at: Duration,
    ) -> Self {
        let mut server = Self {
            fleet: Fleet::new(user, seat, seed, limits),
            view: View::default(),
            config,
            machines: BTreeMap::new(),
            links: BTreeMap::new(),
            closing: VecDeque::new(),
            paused: BTreeSet::new(),
            writes: VecDeque::new(),
            questions: Vec::new(),
            settled: VecDeque::new(),
            events: VecDeque::new(),
            sent: Vec::new(),
            shown: BTreeMap::new(),
            written: BTreeMap::new(),
        };
        for order in store.stops.values() {
            server.fleet.recover_stop(order.clone(), now(at));
            server.perform(at);
        }
        let deleted = &store.deleted;
        for agent in store.agents.values_mut().filter(|agent| !deleted.contains(&agent.agent)) {
            let record = agent.clone().of_next_run();
            agent.epoch = record.epoch;
            server.fleet.recover_agent(record, now(at));
            server.perform(at);
        }
        for record in store.commands.values().filter(|record| record.ended_at.is_none()) {
            server.fleet.recover_command(
                record.clone(),
                &(None, Vec::new()),
                now(at).wall,
                now(at),
            );
            server.perform(at);
        }
        server
    }

    pub(super) fn feed(&mut self, event: FleetEvent, at: Duration) {
        self.fleet.handle(event, now(at));
        self.perform(at);
    }

    /// What the machines have for the fleet, until there is nothing more.
    fn drain(&mut self, at: Duration) {
        while let Some(event) = self.events.pop_front() {
            self.feed(event, at);
        }
    }

    fn perform(&mut self, at: Duration) {
        while let Some(action) = self.fleet.poll_action() {
            match action {
                FleetAction::Show(changes) => {
                    changes.iter().for_each(|change| self.check_change(change));
                    self.sent.extend(changes.iter().cloned().map(Sent::Change));
                    let _ = self.view.apply(changes);
                }
                FleetAction::Install { seat, origin } => self.install(seat, origin, at),
                FleetAction::Join { link, seat, claimant } => {
                    let Some(entry) = self.links.get_mut(&link) else { continue };
                    entry.seat = Some(seat);
                    let dialect = entry.capabilities.dialect();
                    self.machine(seat, ServerEvent::Joined { link, dialect, claimant }, at);
                }
                FleetAction::RefuseHello { link, cause, .. } => self.close(link, cause),
                FleetAction::Park { .. } | FleetAction::GiveUpSilent(_) => {
                    panic!("every agent of this world says hello")
                }
                FleetAction::Admit { seat, link, admission } => {
                    let epoch = admission.epoch;
                    if let Some(entry) = self.links.get_mut(&link) {
                        entry.admission = Some(admission);
                    }
                    self.machine(seat, ServerEvent::Admitted { link, epoch }, at);
                }
                FleetAction::Reject { seat, link, cause, .. } => {
                    self.machine(seat, ServerEvent::Rejected { link, cause }, at);
                }
                FleetAction::Send { seat, message } => {
                    let link = self.machines.get(&seat).and_then(ServerConnection::link);
                    if let Some(link) = link {
                        goes_out(&message);
                        self.sent.push(Sent::Down(link, Down::Message(message)));
                    }
                }
                FleetAction::Throttle { seat, flow } => match flow {
                    Flow::Paused => drop(self.paused.insert(seat)),
                    Flow::Resumed => drop(self.paused.remove(&seat)),
                },
                FleetAction::Evict { seat, cause } => {
                    self.machine(seat, ServerEvent::Evict(cause), at);
                }
                FleetAction::Faulted(seat) => {
                    if let Some(link) = self.machines.get(&seat).and_then(ServerConnection::link) {
                        self.machine(seat, ServerEvent::Faulted(link), at);
                    }
                }
                FleetAction::Ask(question) => self.questions.push(question),
                FleetAction::Write(write) => {
                    if let Write::Command { command, update } = &write {
                        check_stage(&mut self.written, command, update.stage);
                    }
                    self.sent.push(Sent::Write(write.clone()));
                    self.writes.push_back(write);
                }
                FleetAction::Reply { token, answer } => self.sent.push(Sent::Reply(token, answer)),
                FleetAction::Note(_) => {}
                other => panic!("in no world of commands: {other:?}"),
            }
        }
    }

    fn check_change(&mut self, change: &Change) {
        match change {
            // A terminal that its agent still has is opened once more until the store says that it is over.
            Change::Command { command, view: Some(view), .. } if !command.is_terminal() => {
                check_stage(&mut self.shown, command, view.status);
            }
            // It may be shown again, as the store has it.
            Change::CommandRemoved(command) => drop(self.shown.remove(command)),
            _ => {}
        }
    }

    // --- machines and links

    fn install(&mut self, seat: SeatId, origin: SeatOrigin, at: Duration) {
        match origin {
            SeatOrigin::New { version, epoch, .. } => {
                let machine = ServerConnection::new(self.config, version, epoch, now(at));
                self.machines.insert(seat, machine);
            }
            SeatOrigin::Recovered { version, epoch } => {
                let (machine, step) =
                    ServerConnection::recovered(self.config, version, epoch, now(at));
                self.machines.insert(seat, machine);
                self.perform_machine(seat, step.actions);
                // Its presence is the fleet's to know behind its own recovery.
                self.drain(at);
            }
        }
    }

    fn machine(&mut self, seat: SeatId, event: ServerEvent, at: Duration) {
        let Some(machine) = self.machines.get_mut(&seat) else { return };
        let step = machine.handle(event, now(at));
        self.perform_machine(seat, step.actions);
    }

    fn perform_machine(&mut self, seat: SeatId, actions: Actions<ServerAction>) {
        for action in actions {
            match action {
                ServerAction::Admit(link) => {
                    self.events.push_back(FleetEvent::Admit { seat, link });
                }
                ServerAction::Welcome { link, .. } => self.welcome(seat, link),
                ServerAction::Close(link, cause) => self.close(link, cause),
                ServerAction::Report(presence) => {
                    self.events.push_back(FleetEvent::Presence { seat, presence, beats: None });
                }
                ServerAction::Forget => {
                    self.machines.remove(&seat);
                    self.paused.remove(&seat);
                    self.events.push_back(FleetEvent::Forgotten { seat, history: None });
                }
                ServerAction::Record { .. }
                | ServerAction::SendBeat { .. }
                | ServerAction::SendPing(_)
                | ServerAction::Overslept(_) => {}
            }
        }
    }

    fn welcome(&mut self, seat: SeatId, link: LinkId) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let Some(Admission { agent, session, stopped, .. }) = entry.admission.take() else {
            return;
        };
        entry.session = Some(session);
        let capabilities = entry.capabilities;
        self.paused.remove(&seat);
        let welcome = Down::Welcome { agent, capabilities, stopped };
        self.sent.push(Sent::Down(link, welcome));
        self.events.push_back(FleetEvent::Welcomed { seat, link, capabilities });
    }

    fn close(&mut self, link: LinkId, cause: CloseCause) {
        if self.links.contains_key(&link) {
            self.sent.push(Sent::Down(link, Down::Closed(cause)));
            self.closing.push_back((link, CloseReason::local(cause)));
        }
    }

    pub(super) fn on_hello(
        &mut self,
        link: LinkId,
        hello: AgentConnect,
        bearer: Option<Bearer>,
        at: Duration,
    ) {
        let theirs = hello.extensions.as_ref().map(|extensions| extensions.features.clone());
        let capabilities = match theirs {
            Some(theirs) => Capabilities::negotiate(SERVER_FEATURES, &theirs, Dialect::Extended),
            None => Capabilities::LEGACY,
        };
        let entry = Link { seat: None, capabilities, admission: None, session: None };
        self.links.insert(link, entry);
        let (hello, peer) = (Box::new(hello), "somewhere".to_owned());
        self.feed(FleetEvent::Hello { link, hello, peer, bearer }, at);
        self.drain(at);
    }

    /// Whether what an agent says over this link is read now.
    pub(super) fn reads(&self, link: LinkId) -> bool {
        match self.links.get(&link) {
            None => true,
            Some(entry) => match entry.seat {
                // A hello is being answered: what is behind it waits.
                Some(_) | None if entry.session.is_none() => false,
                Some(seat) => !self.paused.contains(&seat),
                None => true,
            },
        }
    }

    /// The machine of the session of this link, if it is the present one.
    fn live(&self, link: LinkId) -> Option<SeatId> {
        let seat = self.links.get(&link)?.seat?;
        let current = self.machines.get(&seat)?.link();
        (current == Some(link)).then_some(seat)
    }

    pub(super) fn on_message(&mut self, link: LinkId, message: AgentToServer, at: Duration) {
        let Some(seat) = self.live(link) else { return };
        self.on_frame(link, at);
        self.feed(FleetEvent::Message { seat, message: Box::new(message) }, at);
        self.drain(at);
    }

    /// Any frame of an agent in session.
    pub(super) fn on_frame(&mut self, link: LinkId, at: Duration) {
        let Some(seat) = self.live(link) else { return };
        self.machine(seat, ServerEvent::Received(link, ServerInbound::Other), at);
        self.feed(FleetEvent::Heard { seat, at: now(at).wall }, at);
        self.drain(at);
    }

    pub(super) fn on_paused(&mut self, link: LinkId, paused: bool, at: Duration) {
        let Some(seat) = self.live(link) else { return };
        self.on_frame(link, at);
        self.feed(FleetEvent::Paused { seat, pausing: Pausing::of(paused) }, at);
        self.drain(at);
    }

    pub(super) fn on_link_end(&mut self, link: LinkId, reason: CloseReason, at: Duration) {
        let Some(Link { seat, session, .. }) = self.links.remove(&link) else { return };
        let Some(seat) = seat else { return };
        // As the shard does: first that the link ended, then what that means for the presence.
        self.events.push_back(FleetEvent::LinkEnded { seat, link, session, reason });
        self.machine(seat, ServerEvent::LinkDown(link, reason), at);
        self.drain(at);
    }

    /// Notices the end of the link that it closed first.
    pub(super) fn reap(&mut self, at: Duration) {
        if let Some((link, reason)) = self.closing.pop_front() {
            self.on_link_end(link, reason, at);
        }
    }

    // --- time

    pub(super) fn on_time(&mut self, at: Duration) {
        let due = |machine: &ServerConnection| machine.deadline().is_due(now(at).monotonic);
        let due: Vec<SeatId> =
            self.machines.iter().filter(|(_, m)| due(m)).map(|(seat, _)| *seat).collect();
        for seat in due {
            self.machine(seat, ServerEvent::Wake, at);
        }
        self.drain(at);
        if self.fleet.deadline().is_due(now(at).monotonic) {
            self.feed(FleetEvent::Wake, at);
            let deadline = self.fleet.deadline();
            let spins = deadline != Deadline::Never && deadline.is_due(now(at).monotonic);
            assert!(!spins, "woken at {at:?}, it asks for {deadline:?}");
        }
        self.drain(at);
    }

    // --- its user and its store

    pub(super) fn request(&mut self, token: Token, request: Request, at: Duration) {
        self.feed(FleetEvent::Request { token, request }, at);
        self.drain(at);
    }

    pub(super) fn questions(&self) -> usize {
        self.questions.len()
    }

    /// The store answers this question.
    pub(super) fn answer(&mut self, n: usize, store: &mut Store, health: Health, at: Duration) {
        if n >= self.questions.len() {
            return;
        }
        let answer = store.answer(self.questions.remove(n), health);
        self.feed(FleetEvent::Store(answer), at);
        self.drain(at);
    }

    /// The store writes what is to be written first.
    pub(super) fn commit(&mut self, store: &mut Store, health: Health) {
        if let Some(write) = self.writes.pop_front() {
            self.settled.extend(store.write(write, health));
        }
    }

    /// The fleet hears what became of the oldest write.
    pub(super) fn settle(&mut self, at: Duration) {
        if let Some(event) = self.settled.pop_front() {
            self.feed(event, at);
            self.drain(at);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.writes.is_empty()
            && self.questions.is_empty()
            && self.settled.is_empty()
            && self.closing.is_empty()
    }

    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    /// Which agent is at the other end of this link.
    pub(super) fn agent_of(&self, link: LinkId) -> Option<AgentId> {
        let seat = self.links.get(&link)?.seat?;
        let of = |id: &&AgentId| {
            self.fleet.recording(id).flatten().is_some_and(|source| {
                source == onsembl_protocol::fleet::RecordingSource::Seat(seat)
            })
        };
        self.view.agents().keys().find(of).cloned()
    }
}

/// One that is final never changes.
fn check_stage(
    ended: &mut BTreeMap<CommandId, CommandStage>,
    command: &CommandId,
    stage: CommandStage,
) {
    match ended.get(command) {
        Some(ended) => assert_eq!(*ended, stage, "{command} had ended"),
        None if stage.is_final() => drop(ended.insert(command.clone(), stage)),
        None => {}
    }
}

/// A law: no message of our own is longer than a link takes (P-380).
fn goes_out(message: &ServerToAgent) {
    let id = MessageId::new("a-server-instance-1000000");
    let bytes = wire::encode(&id, WallTime::default(), message).len();
    let most = Limits::DEFAULT.message_bytes;
    assert!(bytes <= most, "a message of our own, {}, has {bytes} bytes", message.kind());
}
