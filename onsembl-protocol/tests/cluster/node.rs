//! A node: the edge around its machines. It decides nothing that is not in one of them, but for what its parts of other
//! rooms do elsewhere: the wait for a database that does not answer, and the repetition of writes.

use super::agent::millis;
use super::judge::Judge;
use super::wires::{Answer, Down, Input, LinkEnd, Message, Request, Row, Up};
use super::{Millis, now, rules};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::cluster::{
    Destination, Ending, Hearing, HearingAction, HearingEvent, Held, Kept, Membership,
    MembershipAction, MembershipEvent, Outcome, Owner, Ownership, OwnershipAction, OwnershipEvent,
    Reception, Route, RouteAction, RouteEvent, Standing,
};
use onsembl_protocol::id::{Epoch, LinkId, NodeRun, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, Presence, PresenceStatus, ServerAction, ServerConnection, ServerEvent,
    ServerInbound,
};
use onsembl_protocol::step::{Actions, Step};
use onsembl_protocol::time::Deadline;
use std::collections::{BTreeMap, VecDeque};

/// A write that was not answered is repeated.
const AGAIN_AFTER: Millis = 2_000;

/// What a node wants of the world.
#[derive(Debug)]
pub(super) enum Wish {
    Database(Request),
    /// To one node.
    Send(NodeRun, Message),
    /// To all others, or to itself.
    Broadcast(Message),
    ToItself(Message),
    Reply(usize, Message),
    Frame(LinkId, Down),
    Close(LinkId, CloseCause),
    /// The dial is let in, or refused.
    Accept(LinkId),
    Refuse(LinkId),
    Later(Millis, Input),
}

/// An agent, as a node knows it.
#[derive(Debug)]
struct Seat {
    ownership: Ownership,
    wakes_at: Deadline,
    machine: Option<ServerConnection>,
    machine_wakes: Deadline,
    /// What is to be stored of its presence, under which epoch, and when that is asked for again.
    unstored: Option<(Epoch, Presence, Millis)>,
    /// What readers of this node are shown.
    view: (PresenceVersion, PresenceStatus),
    /// The latest version that a machine of this node made, shown or not.
    issued: PresenceVersion,
    is_stopped: bool,
    /// The agent said that it has stopped.
    has_stopped: bool,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: usize,
    pub(super) membership: Membership,
    membership_wakes: Deadline,
    hearing: Hearing,
    hearing_wakes: Deadline,
    seats: Vec<Seat>,
    links: BTreeMap<LinkId, usize>,
    routes: BTreeMap<u64, (Route, usize, Deadline)>,
    /// What is done next; nothing is fed while actions are performed.
    work: VecDeque<Work>,
    wishes: Vec<Wish>,
    life: u32,
}

/// What a machine wants done.
#[derive(Debug)]
enum Work {
    Membership(MembershipAction),
    Hearing(HearingAction),
    Ownership(usize, OwnershipAction),
    Machine(usize, ServerAction),
    Route(u64, RouteAction),
    Owner(usize, OwnershipEvent),
}

impl Node {
    pub(super) fn start(name: usize, life: u32, agents: usize, at: Millis) -> Self {
        let (membership, step) = Membership::start(now(at));
        let (hearing, heard) = Hearing::start(now(at));
        let seat = || Seat {
            ownership: Ownership::default(),
            wakes_at: Deadline::Never,
            machine: None,
            machine_wakes: Deadline::Never,
            unstored: None,
            view: (PresenceVersion(0), PresenceStatus::Offline),
            issued: PresenceVersion(0),
            is_stopped: false,
            has_stopped: false,
        };
        let mut work: VecDeque<Work> = step.actions.iter().map(Work::Membership).collect();
        work.extend(heard.actions.iter().map(Work::Hearing));
        Self {
            name,
            membership,
            membership_wakes: step.deadline,
            hearing,
            hearing_wakes: heard.deadline,
            seats: (0..agents).map(|_| seat()).collect(),
            links: BTreeMap::new(),
            routes: BTreeMap::new(),
            work,
            wishes: Vec::new(),
            life,
        }
    }

    pub(super) fn reception(&self) -> Reception {
        self.hearing.reception()
    }

    pub(super) fn view(&self, agent: usize) -> (PresenceVersion, PresenceStatus) {
        self.seats[agent].view
    }

    /// Whether the node takes the agent for its own.
    pub(super) fn owns(&self, agent: usize) -> bool {
        self.seats[agent].ownership.fence().is_some()
    }

    /// The link of the agent's session here.
    pub(super) fn session(&self, agent: usize) -> Option<LinkId> {
        self.seats[agent]
            .machine
            .as_ref()
            .and_then(ServerConnection::link)
            .filter(|_| self.owns(agent))
    }

    pub(super) fn wakes_at(&self) -> Millis {
        let own = self.membership_wakes.min(self.hearing_wakes);
        let seats = self.seats.iter().map(|seat| seat.wakes_at.min(seat.machine_wakes));
        let routes = self.routes.values().map(|(_, _, deadline)| *deadline);
        let first = seats.chain(routes).fold(own, Deadline::min);
        let unstored =
            self.seats.iter().filter_map(|seat| seat.unstored.as_ref().map(|(_, _, at)| *at));
        let first = match first {
            Deadline::At(due) => millis(due),
            Deadline::Never => Millis::MAX,
        };
        unstored.fold(first, Millis::min)
    }

    /// Takes an input, and says what is to be done.
    pub(super) fn take(&mut self, input: Input, at: Millis, judge: &mut Judge) -> Vec<Wish> {
        match input {
            Input::Timer(_) => self.wake(at),
            Input::Dialled(link) => self.wishes.push(match self.membership.standing().admits() {
                true => Wish::Accept(link),
                false => Wish::Refuse(link),
            }),
            Input::Frame(link, up) => self.hears(link, up, at),
            Input::LinkEnded(link, end) => {
                if let Some(agent) = self.links.remove(&link) {
                    let reason = match end {
                        LinkEnd::Closed(cause) => CloseReason::peer(Some(cause.code())),
                        LinkEnd::Broken => CloseReason::broken(Breakage::Reset),
                    };
                    self.feed(agent, ServerEvent::LinkDown(link, reason), at);
                }
            }
            Input::Database(answer) => self.answered(answer, at, judge),
            Input::Bus(message) => self.bus(message, at, judge),
            Input::Recorded { agent, epoch, sequence } => {
                self.feed(agent, ServerEvent::Recorded { epoch, sequence, at: now(at).wall }, at);
            }
            Input::Command { agent, command } => {
                self.wishes.push(Wish::Database(Request::Insert { agent, command }));
            }
            Input::StopAgent { agent } => self.wishes.push(Wish::Database(Request::Stop { agent })),
            Input::Drain => {
                self.member(MembershipEvent::Drain, at);
                let links: Vec<LinkId> = self.links.keys().copied().collect();
                for link in links {
                    self.close(link, CloseCause::GoingAway);
                    let agent = self.links.remove(&link).unwrap();
                    let reason = CloseReason::local(CloseCause::GoingAway);
                    self.feed(agent, ServerEvent::LinkDown(link, reason), at);
                }
            }
        }
        loop {
            while let Some(work) = self.work.pop_front() {
                self.perform(work, at, judge);
            }
            if self.membership.standing() != Standing::Draining || !self.links.is_empty() {
                return std::mem::take(&mut self.wishes);
            }
            self.member(MembershipEvent::Drained, at);
        }
    }

    fn wake(&mut self, at: Millis) {
        let stamp = now(at).monotonic;
        self.member(MembershipEvent::Wake, at);
        if self.hearing_wakes.is_due(stamp) {
            self.hear(HearingEvent::Wake, at);
        }
        for agent in 0..self.seats.len() {
            if self.seats[agent].wakes_at.is_due(stamp) {
                self.own(agent, OwnershipEvent::Wake, at);
            }
            if self.seats[agent].machine_wakes.is_due(stamp) {
                self.feed(agent, ServerEvent::Wake, at);
            }
            if self.seats[agent].unstored.as_ref().is_some_and(|(_, _, due)| *due <= at) {
                self.store(agent, at);
            }
        }
        let due: Vec<u64> = self
            .routes
            .iter()
            .filter(|(_, (_, _, due))| due.is_due(stamp))
            .map(|(id, _)| *id)
            .collect();
        for route in due {
            self.route(route, RouteEvent::Wake, at);
        }
    }

    // --- machines, whose actions are performed in order

    fn member(&mut self, event: MembershipEvent, at: Millis) {
        let Step { actions, deadline } = self.membership.handle(event, now(at));
        self.membership_wakes = deadline;
        self.work.extend(actions.iter().map(Work::Membership));
    }

    fn hear(&mut self, event: HearingEvent, at: Millis) {
        let Step { actions, deadline } = self.hearing.handle(event, now(at));
        self.hearing_wakes = deadline;
        self.work.extend(actions.iter().map(Work::Hearing));
    }

    fn own(&mut self, agent: usize, event: OwnershipEvent, at: Millis) {
        let seat = &mut self.seats[agent];
        let Step { actions, deadline } = seat.ownership.handle(event, now(at));
        seat.wakes_at = deadline;
        self.work.extend(actions.iter().map(|action| Work::Ownership(agent, action)));
    }

    fn route(&mut self, id: u64, event: RouteEvent, at: Millis) {
        if let Some((route, _, due)) = self.routes.get_mut(&id) {
            let Step { actions, deadline } = route.handle(event, now(at));
            *due = deadline;
            self.work.extend(actions.iter().map(|action| Work::Route(id, action)));
        }
    }

    fn feed(&mut self, agent: usize, event: ServerEvent, at: Millis) {
        let seat = &mut self.seats[agent];
        let Some(machine) = &mut seat.machine else { return };
        let Step { actions, deadline } = machine.handle(event, now(at));
        seat.machine_wakes = deadline;
        self.machine_does(agent, actions);
    }

    fn machine_does(&mut self, agent: usize, actions: Actions<ServerAction>) {
        self.work.extend(actions.iter().map(|action| Work::Machine(agent, action)));
    }

    // --- what comes

    fn hears(&mut self, link: LinkId, up: Up, at: Millis) {
        if let Up::Hello = up {
            return self.hello(link, at);
        }
        let Some(agent) = self.links.get(&link).copied() else { return };
        let inbound = match &up {
            Up::Beat { sequence, seen } => {
                ServerInbound::Heartbeat { sequence: Some(*sequence), seen: *seen }
            }
            _ => ServerInbound::Other,
        };
        self.feed(agent, ServerEvent::Received(link, inbound), at);
        let epoch = self.seats[agent].machine.as_ref().map_or(Epoch(0), |m| m.presence().epoch);
        match up {
            Up::Output { from, to } => {
                self.wishes.push(Wish::Database(Request::Output { agent, epoch, from, to, link }));
            }
            Up::Outcome { command } => {
                self.wishes.push(Wish::Database(Request::Outcome { agent, epoch, command, link }));
            }
            Up::Stopped => self.seats[agent].has_stopped = true,
            Up::Hello | Up::Beat { .. } | Up::Other => {}
        }
    }

    /// The agent of a link is named by its number: an agent has a thousand links at most.
    fn hello(&mut self, link: LinkId, at: Millis) {
        let agent = agent_of(link);
        if !self.membership.standing().admits() {
            self.wishes.push(Wish::Frame(link, Down::Refused));
            return self.close(link, CloseCause::TryLater);
        }
        let seat = &mut self.seats[agent];
        if seat.machine.is_none() {
            // Of an agent that is not its own the node knows nothing that may be shown.
            let (version, epoch) = match seat.ownership.fence() {
                Some(epoch) => (seat.issued.max(PresenceVersion::base_of(epoch)), epoch),
                None => (PresenceVersion(0), Epoch(0)),
            };
            seat.machine = Some(ServerConnection::new(rules(), version, epoch, now(at)));
        }
        let _ = self.links.insert(link, agent);
        let claimant = Claimant::SameProcess;
        self.feed(agent, ServerEvent::Joined { link, dialect: Dialect::Extended, claimant }, at);
    }

    fn close(&mut self, link: LinkId, cause: CloseCause) {
        self.wishes.push(Wish::Close(link, cause));
    }

    fn bus(&mut self, message: Message, at: Millis, judge: &mut Judge) {
        match message {
            Message::SelfCheck(number) => self.hear(HearingEvent::Heard(number), at),
            Message::Presence { agent, epoch, owner, version, status } => {
                self.own(agent, OwnershipEvent::Heard { epoch, owner }, at);
                self.show(agent, version, status);
            }
            Message::Tell { agent, epoch, owner } => {
                self.own(agent, OwnershipEvent::Heard { epoch, owner }, at);
            }
            Message::Stop { agent } => self.stop(agent),
            Message::Ask { from, life, route, agent, command } => {
                let outcome = match self.owns(agent) {
                    true => {
                        self.run_command(agent, command);
                        Outcome::Handled
                    }
                    false => Outcome::NotMine(match self.seats[agent].ownership.held() {
                        Held::Elsewhere(owner) => {
                            Some((owner.run, self.seats[agent].ownership.epoch()))
                        }
                        Held::Nothing | Held::Own(_) | Held::Doubted(_) => None,
                    }),
                };
                if let Some(by) = self.membership.run() {
                    let answer = Message::Answer { route, by, outcome };
                    let _ = life;
                    self.wishes.push(Wish::Reply(from, answer));
                }
            }
            Message::Answer { route, by, outcome } => {
                self.route(route, RouteEvent::Answered { by, outcome }, at);
            }
        }
        let _ = judge;
    }

    /// Readers keep the greatest version.
    fn show(&mut self, agent: usize, version: PresenceVersion, status: PresenceStatus) {
        let seat = &mut self.seats[agent];
        if seat.view.0 < version {
            seat.view = (version, status);
        }
    }

    fn answered(&mut self, answer: Answer, at: Millis, judge: &mut Judge) {
        match answer {
            Answer::Registered { run, asked_at } => {
                self.member(MembershipEvent::Registered { run, asked_at }, at);
            }
            Answer::Renewed { run, asked_at } => {
                self.member(MembershipEvent::Renewed { run, asked_at }, at);
            }
            Answer::Over(run) => self.member(MembershipEvent::Over(run), at),
            Answer::Nodes(nodes) => {
                for (run, renewals, lease, process) in nodes {
                    self.member(MembershipEvent::Seen { run, renewals, lease, process }, at);
                }
                self.member(MembershipEvent::Read, at);
            }
            Answer::Swept(agents) => {
                for (agent, epoch, owner, before, status) in agents {
                    if self.membership.run() == Some(owner.run) {
                        self.granted(agent, epoch, owner, before);
                        if status != PresenceStatus::Offline {
                            self.await_return(agent, epoch, at);
                        }
                    }
                }
            }
            Answer::Claimed { agent, link, epoch, owner, before, is_stopped } => {
                if self.membership.run() != Some(owner.run) {
                    return;
                }
                let event = OwnershipEvent::Granted { epoch, owner, before };
                self.own(agent, event, at);
                if self.seats[agent].ownership.fence() != Some(epoch) {
                    return;
                }
                self.seats[agent].unstored = None;
                self.seats[agent].is_stopped |= is_stopped;
                self.feed(agent, ServerEvent::Admitted { link, epoch }, at);
                if self.session(agent) != Some(link) {
                    self.await_return(agent, epoch, at);
                } else {
                    self.stop_if_ordered(agent);
                }
            }
            Answer::Presented { agent, epoch, version, status } => {
                let seat = &mut self.seats[agent];
                let is_it = |(of, presence, _): &mut (Epoch, Presence, Millis)| {
                    *of == epoch && presence.version == version
                };
                if seat.unstored.take_if(is_it).is_some() && status == PresenceStatus::Offline {
                    self.tell(agent, version, status, judge);
                }
            }
            Answer::Bounced { agent, epoch } => self.own(agent, OwnershipEvent::Bounced(epoch), at),
            Answer::Output { to, link } => self.wishes.push(Wish::Frame(link, Down::Stored { to })),
            Answer::Outcome { command, link } => {
                self.wishes.push(Wish::Frame(link, Down::OutcomeStored { command }));
            }
            Answer::Looked { rows, open } => {
                for (agent, row) in rows.into_iter().enumerate() {
                    self.read(agent, row, at);
                }
                for (agent, command) in open {
                    self.run_command(agent, command);
                }
            }
            Answer::Owner { agent, row } => self.read(agent, row, at),
            Answer::Inserted { agent, command, row } => {
                let to = match (row.owner, self.membership.run()) {
                    (Some(owner), Some(own)) if owner.run == own => Destination::Here,
                    (Some(owner), _) => Destination::There { run: owner.run, epoch: row.epoch },
                    (None, _) => Destination::Nowhere,
                };
                let (route, step) = Route::begin(Kept::Stored, to, now(at));
                let _ = self.routes.insert(command, (route, agent, step.deadline));
                self.work.extend(step.actions.iter().map(|action| Work::Route(command, action)));
            }
            Answer::Stopped { agent } => {
                self.wishes.push(Wish::Broadcast(Message::Stop { agent }));
                self.stop(agent);
            }
            Answer::Done => {}
        }
    }

    fn read(&mut self, agent: usize, row: Row, at: Millis) {
        if let Some(owner) = row.owner {
            self.own(agent, OwnershipEvent::Heard { epoch: row.epoch, owner }, at);
        }
        self.show(agent, row.version, row.status);
        if row.is_stopped {
            self.stop(agent);
        }
    }

    fn granted(&mut self, agent: usize, epoch: Epoch, owner: Owner, before: Option<Owner>) {
        // The event is handled behind what ends in its place.
        self.work.push_back(Work::Owner(agent, OwnershipEvent::Granted { epoch, owner, before }));
    }

    /// Nobody is in session: the agent is awaited under this epoch.
    fn await_return(&mut self, agent: usize, epoch: Epoch, at: Millis) {
        let base = PresenceVersion::base_of(epoch);
        let (machine, step) = ServerConnection::recovered(rules(), base, epoch, now(at));
        let links: Vec<LinkId> = self.links_of(agent);
        for link in links {
            let _ = self.links.remove(&link);
            self.close(link, CloseCause::GoingAway);
        }
        let seat = &mut self.seats[agent];
        (seat.machine, seat.machine_wakes) = (Some(machine), step.deadline);
        seat.unstored = None;
        self.machine_does(agent, step.actions);
    }

    fn links_of(&self, agent: usize) -> Vec<LinkId> {
        self.links.iter().filter(|(_, of)| **of == agent).map(|(link, _)| *link).collect()
    }

    // --- work for agents

    fn run_command(&mut self, agent: usize, command: u64) {
        if let Some(link) = self.session(agent).filter(|_| !self.seats[agent].is_stopped) {
            self.wishes.push(Wish::Frame(link, Down::Command { command }));
        }
    }

    fn stop(&mut self, agent: usize) {
        self.seats[agent].is_stopped = true;
        self.stop_if_ordered(agent);
    }

    fn stop_if_ordered(&mut self, agent: usize) {
        let seat = &self.seats[agent];
        if seat.is_stopped
            && !seat.has_stopped
            && let Some(link) = self.session(agent)
        {
            self.wishes.push(Wish::Frame(link, Down::Stop));
        }
    }

    // --- presence

    fn report(&mut self, agent: usize, presence: Presence, at: Millis, judge: &mut Judge) {
        let Some(epoch) = self.seats[agent].ownership.fence() else { return };
        // Of a machine that has not begun its session.
        if presence.version <= PresenceVersion::base_of(epoch) {
            return;
        }
        self.seats[agent].issued = presence.version;
        if presence.status != PresenceStatus::Offline {
            self.tell(agent, presence.version, presence.status, judge);
        }
        self.seats[agent].unstored = Some((epoch, presence, at));
        self.store(agent, at);
    }

    fn tell(
        &mut self,
        agent: usize,
        version: PresenceVersion,
        status: PresenceStatus,
        judge: &mut Judge,
    ) {
        judge.shown(agent, version, status);
        self.show(agent, version, status);
        let ownership = &self.seats[agent].ownership;
        if let Held::Own(owner) = ownership.held() {
            let epoch = ownership.epoch();
            self.wishes.push(Wish::Broadcast(Message::Presence {
                agent,
                epoch,
                owner,
                version,
                status,
            }));
        }
    }

    fn store(&mut self, agent: usize, at: Millis) {
        let seat = &mut self.seats[agent];
        let fence = seat.ownership.fence();
        // What was to be said under an epoch that is over is dropped.
        let _ = seat.unstored.take_if(|(epoch, _, _)| Some(*epoch) != fence);
        if let (Some((epoch, presence, due)), Some(run)) =
            (&mut seat.unstored, self.membership.run())
        {
            *due = at + AGAIN_AFTER;
            let (version, status, epoch) = (presence.version, presence.status, *epoch);
            self.wishes.push(Wish::Database(Request::Present {
                run,
                agent,
                epoch,
                version,
                status,
            }));
        } else if let Some((_, _, due)) = &mut seat.unstored {
            *due = at + AGAIN_AFTER;
        }
    }

    // --- what machines want done

    fn perform(&mut self, work: Work, at: Millis, judge: &mut Judge) {
        match work {
            Work::Membership(action) => self.perform_membership(action, at),
            Work::Hearing(HearingAction::Publish(number)) => {
                self.wishes.push(Wish::ToItself(Message::SelfCheck(number)));
            }
            Work::Hearing(HearingAction::Show(_)) => {}
            Work::Owner(agent, event) => self.own(agent, event, at),
            Work::Ownership(agent, action) => self.perform_ownership(agent, action),
            Work::Machine(agent, action) => self.perform_machine(agent, action, at, judge),
            Work::Route(command, action) => self.perform_route(command, action, judge),
        }
    }

    fn perform_membership(&mut self, action: MembershipAction, at: Millis) {
        let name = self.name;
        let request = match action {
            MembershipAction::Register { asked_at } => Request::Register { asked_at, name },
            MembershipAction::Renew { run, asked_at } => Request::Renew { run, asked_at },
            MembershipAction::Read => Request::ReadNodes { name },
            MembershipAction::Look => Request::Look,
            MembershipAction::Sweep { run, renewals } => {
                let Some(by) = self.membership.run() else { return };
                Request::Sweep { by, run, renewals }
            }
            MembershipAction::Leave(run) => Request::Leave { run },
            MembershipAction::Depose(run) => {
                for agent in 0..self.seats.len() {
                    self.own(agent, OwnershipEvent::Deposed(run), at);
                }
                return;
            }
            MembershipAction::Show(_) => return,
        };
        self.wishes.push(Wish::Database(request));
    }

    fn perform_ownership(&mut self, agent: usize, action: OwnershipAction) {
        match action {
            OwnershipAction::Tell { run, epoch } => {
                if let Held::Own(owner) = self.seats[agent].ownership.held() {
                    self.wishes.push(Wish::Send(run, Message::Tell { agent, epoch, owner }));
                }
            }
            OwnershipAction::ReadOwner => {
                self.wishes.push(Wish::Database(Request::ReadOwner { agent }));
            }
            OwnershipAction::End { epoch: _, how } => {
                let cause = match how {
                    Ending::NewerSession => CloseCause::Superseded,
                    Ending::ComeBack => CloseCause::GoingAway,
                };
                for link in self.links_of(agent) {
                    let _ = self.links.remove(&link);
                    self.close(link, cause);
                }
                let seat = &mut self.seats[agent];
                (seat.machine, seat.machine_wakes) = (None, Deadline::Never);
                seat.unstored = None;
                // What its machine wanted is over with it.
                self.work.retain(|work| !matches!(work, Work::Machine(of, _) if *of == agent));
            }
        }
    }

    fn perform_machine(
        &mut self,
        agent: usize,
        action: ServerAction,
        at: Millis,
        judge: &mut Judge,
    ) {
        match action {
            ServerAction::Admit(link) => match self.membership.run() {
                Some(run) => self.wishes.push(Wish::Database(Request::Claim { run, agent, link })),
                None => {
                    let cause = CloseCause::TryLater;
                    self.feed(agent, ServerEvent::Rejected { link, cause }, at);
                }
            },
            ServerAction::Welcome { link, epoch } => {
                self.wishes.push(Wish::Frame(link, Down::Welcome { epoch }));
            }
            ServerAction::Record { epoch, sequence } => {
                self.wishes.push(Wish::Later(10, Input::Recorded { agent, epoch, sequence }));
            }
            ServerAction::SendBeat { link, beat } => {
                let seen = beat.seen.map(|seen| seen.sequence);
                let recorded = beat.recorded.map(|(sequence, _)| sequence);
                let down = Down::Beat { sequence: beat.sequence, seen, recorded };
                self.wishes.push(Wish::Frame(link, down));
            }
            ServerAction::SendPing(link) => self.wishes.push(Wish::Frame(link, Down::Other)),
            ServerAction::Close(link, cause) => {
                let _ = self.links.remove(&link);
                self.close(link, cause);
            }
            ServerAction::Report(presence) => self.report(agent, presence, at, judge),
            ServerAction::Overslept(_) => {}
            ServerAction::Forget => {
                let seat = &mut self.seats[agent];
                (seat.machine, seat.machine_wakes) = (None, Deadline::Never);
            }
        }
    }

    fn perform_route(&mut self, command: u64, action: RouteAction, judge: &mut Judge) {
        let Some((_, agent, _)) = self.routes.get(&command) else { return };
        let agent = *agent;
        match action {
            RouteAction::Deliver => {
                self.run_command(agent, command);
                let _ = self.routes.remove(&command);
            }
            RouteAction::Send { run, epoch: _ } => {
                let (from, life) = (self.name, self.life);
                let ask = Message::Ask { from, life, route: command, agent, command };
                self.wishes.push(Wish::Send(run, ask));
            }
            RouteAction::Reply(reply) => {
                judge.replied(command, reply);
                let _ = self.routes.remove(&command);
            }
        }
    }
}

/// Links are numbered so that the number says whose they are.
pub(super) fn agent_of(link: LinkId) -> usize {
    (link.0 >> 32) as usize
}
