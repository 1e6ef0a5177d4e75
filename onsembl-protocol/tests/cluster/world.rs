//! The world: time, the ways between its parts, and what breaks them.

use super::agent::{self, Agent};
use super::database::Database;
use super::judge::Judge;
use super::node::{self, Node, agent_of};
use super::weather::{self, Fault, Kind};
use super::wires::{Down, Input, LinkEnd, Message, Request, Up};
use super::{Millis, RESUME_WINDOW};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::cluster::{Outcome, Reception, Standing};
use onsembl_protocol::id::{LinkId, NodeRun};
use onsembl_protocol::session::{DialFailure, PresenceStatus};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// When faults end.
const HEALS_AT: Millis = 130_000;
/// When agents write no more, so that all can be stored.
const QUIET_AT: Millis = HEALS_AT + 55_000;
const ENDS_AT: Millis = QUIET_AT + 30_000;
/// Between two looks at what must hold at any moment.
const LOOKS_EVERY: Millis = 500;
/// Within this an order reaches an agent whose node is well: a look, and the ways.
const REACHES_WITHIN: Millis = 3_500;
/// Within these a node says that it is cut from the database, or deaf: of the machine, and a look of the judge.
const ISLAND_WITHIN: Millis = 6_000 + LOOKS_EVERY;
const DEAF_WITHIN: Millis = 4_000 + LOOKS_EVERY;

#[derive(Debug)]
enum What {
    AtNode(usize, u32, Input),
    AtDatabase(usize, u32, Request),
    AgentTimer(usize),
    Accepted(usize, LinkId),
    DialFailed(usize, LinkId, DialFailure),
    ToAgent(usize, LinkId, Down),
    AgentLinkEnded(usize, LinkId, LinkEnd),
    Begin(usize),
    Over(usize),
    Start(usize),
    User,
    Look,
    Heal,
    Quiet,
}

/// A node's process and its surroundings.
#[derive(Debug)]
struct Place {
    node: Option<Node>,
    life: u32,
    frozen: u32,
    backlog: Vec<Input>,
    cut_database: u32,
    cut_bus: u32,
    deaf: u32,
    /// Since when each of these is as it is: with the database, with the bus.
    database_since: Millis,
    bus_since: Millis,
    armed: Millis,
}

/// A link between an agent and a node.
#[derive(Debug)]
struct Wire {
    place: usize,
    life: u32,
    half_open: bool,
    open: bool,
    up_at: Millis,
    down_at: Millis,
}

#[derive(Debug)]
pub(super) struct World {
    now: Millis,
    queue: BinaryHeap<Reverse<(Millis, u64)>>,
    whats: BTreeMap<u64, What>,
    number: u64,
    random: fastrand::Rng,
    database: Database,
    places: Vec<Place>,
    agents: Vec<Agent>,
    wires: BTreeMap<LinkId, Wire>,
    faults: Vec<Fault>,
    database_down: u32,
    database_slow: u32,
    bus_down: u32,
    flips: u32,
    calm: bool,
    commands: u64,
    pub(super) judge: Judge,
    pub(super) kinds: BTreeSet<Kind>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (nodes, agents) = (random.usize(2..=4), random.usize(2..=5));
        let faults = weather::draw(&mut random, HEALS_AT);
        let place = || Place {
            node: None,
            life: 0,
            frozen: 0,
            backlog: Vec::new(),
            cut_database: 0,
            cut_bus: 0,
            deaf: 0,
            database_since: 0,
            bus_since: 0,
            armed: Millis::MAX,
        };
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            whats: BTreeMap::new(),
            number: 0,
            database: Database::new(agents),
            places: (0..nodes).map(|_| place()).collect(),
            agents: (0..agents).map(|agent| Agent::new(seed ^ (agent as u64) << 20)).collect(),
            wires: BTreeMap::new(),
            database_down: 0,
            database_slow: 0,
            bus_down: 0,
            flips: 0,
            calm: false,
            commands: 0,
            judge: Judge::new(agents),
            kinds: faults.iter().map(|fault| fault.kind).collect(),
            faults,
            random,
        };
        for index in 0..nodes {
            let at = world.random.u64(..2_000);
            world.push(at, What::Start(index));
        }
        for (index, fault) in world.faults.clone().into_iter().enumerate() {
            world.push(fault.at, What::Begin(index));
            world.push(fault.at + fault.lasts, What::Over(index));
        }
        for agent in 0..agents {
            let wishes = world.agents[agent].start(0);
            world.agent_does(agent, wishes);
        }
        for _ in 0..world.random.usize(5..25) {
            let at = world.random.u64(3_000..HEALS_AT);
            world.push(at, What::User);
        }
        world.push(LOOKS_EVERY, What::Look);
        world.push(HEALS_AT, What::Heal);
        world.push(QUIET_AT, What::Quiet);
        world
    }

    fn push(&mut self, at: Millis, what: What) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number)));
        let _ = self.whats.insert(self.number, what);
    }

    pub(super) fn live(&mut self) {
        while let Some(Reverse((at, number))) = self.queue.pop() {
            if at > ENDS_AT {
                break;
            }
            self.now = at;
            let what = self.whats.remove(&number).unwrap();
            self.happen(what);
        }
        self.now = ENDS_AT;
        self.look_at_the_end();
    }

    fn happen(&mut self, what: What) {
        match what {
            What::AtNode(place, life, input) => self.at_node(place, life, input),
            What::AtDatabase(place, life, request) => self.at_database(place, life, request),
            What::AgentTimer(agent) => {
                if self.agents[agent].wakes_at() <= self.now {
                    let wishes = self.agents[agent].wake(self.now);
                    self.agent_does(agent, wishes);
                }
            }
            What::Accepted(agent, link) => {
                let wishes = self.agents[agent].link_up(local(link), self.now);
                self.agent_does(agent, wishes);
            }
            What::DialFailed(agent, link, why) => {
                let wishes = self.agents[agent].dial_failed(local(link), why, self.now);
                self.agent_does(agent, wishes);
            }
            What::ToAgent(agent, link, down) => {
                let committed = self.database.agents[agent].stored;
                if let Down::Stored { to } = &down {
                    self.judge.demand(*to <= committed, || {
                        format!("output of agent {agent} up to {to} is acknowledged, and {committed} is stored")
                    });
                }
                let wishes = self.agents[agent].hears(local(link), down, self.now);
                self.agent_does(agent, wishes);
            }
            What::AgentLinkEnded(agent, link, end) => {
                let wishes = self.agents[agent].link_ended(local(link), end, self.now);
                self.agent_does(agent, wishes);
            }
            What::Begin(index) => self.begin(self.faults[index]),
            What::Over(index) => self.over(self.faults[index]),
            What::Start(place) => self.start(place),
            What::User => self.user(),
            What::Look => self.look(),
            What::Heal => self.calm = true,
            What::Quiet => self.agents.iter_mut().for_each(|agent| agent.is_quiet = true),
        }
    }

    // --- nodes

    fn start(&mut self, place: usize) {
        let here = &mut self.places[place];
        if here.node.is_some() {
            return;
        }
        here.life += 1;
        here.backlog.clear();
        (here.database_since, here.bus_since) = (self.now, self.now);
        here.node = Some(Node::start(place, here.life, self.agents.len(), self.now));
        here.armed = Millis::MAX;
        let life = here.life;
        self.at_node(place, life, Input::Timer(self.now));
    }

    fn at_node(&mut self, place: usize, life: u32, input: Input) {
        let here = &mut self.places[place];
        if here.life != life || here.node.is_none() {
            return;
        }
        if here.frozen > 0 {
            // Its timer goes off when it goes on.
            if !matches!(input, Input::Timer(_)) {
                here.backlog.push(input);
            }
            return;
        }
        if let Input::Timer(at) = input
            && at != here.armed
            && here.armed != Millis::MAX
        {
            return;
        }
        let wishes = here.node.as_mut().unwrap().take(input, self.now, &mut self.judge);
        self.node_does(place, wishes);
        self.arm(place);
    }

    fn arm(&mut self, place: usize) {
        let here = &mut self.places[place];
        let Some(node) = &here.node else { return };
        let at = node.wakes_at().max(self.now + 1);
        if at != Millis::MAX && at != here.armed {
            here.armed = at;
            let life = here.life;
            self.push(at, What::AtNode(place, life, Input::Timer(at)));
        }
    }

    fn node_does(&mut self, place: usize, wishes: Vec<node::Wish>) {
        for wish in wishes {
            let life = self.places[place].life;
            match wish {
                node::Wish::Database(request) => {
                    let takes = self.way();
                    self.push(self.now + takes, What::AtDatabase(place, life, request));
                }
                node::Wish::Send(run, message) => self.send(place, run, message),
                node::Wish::Broadcast(message) => {
                    for other in (0..self.places.len()).filter(|other| *other != place) {
                        self.publish(place, other, message.clone());
                    }
                }
                node::Wish::ToItself(message) => self.publish(place, place, message),
                node::Wish::Reply(to, message) => self.publish(place, to, message),
                node::Wish::Frame(link, down) => self.to_agent(link, down),
                node::Wish::Close(link, cause) => self.close_at_node(link, cause),
                node::Wish::Accept(link) => {
                    let takes = self.way();
                    self.push(self.now + takes, What::Accepted(agent_of(link), link));
                }
                node::Wish::Refuse(link) => {
                    if let Some(wire) = self.wires.get_mut(&link) {
                        wire.open = false;
                    }
                    let takes = self.way();
                    let why = DialFailure::Busy { retry_after: None };
                    self.push(self.now + takes, What::DialFailed(agent_of(link), link, why));
                }
                node::Wish::Later(after, input) => {
                    self.push(self.now + after, What::AtNode(place, life, input));
                }
            }
        }
    }

    fn way(&mut self) -> Millis {
        self.random.u64(1..20)
    }

    // --- the database

    fn reaches_database(&self, place: usize, life: u32) -> bool {
        let here = &self.places[place];
        self.database_down == 0 && here.cut_database == 0 && here.life == life
    }

    fn at_database(&mut self, place: usize, life: u32, request: Request) {
        // What a process sent before it ended may still be done.
        let sent = self.places[place].life == life || self.random.bool();
        if self.database_down > 0 || self.places[place].cut_database > 0 || !sent {
            return;
        }
        let answer = self.database.handle(request, self.now, &mut self.judge);
        let slow = if self.database_slow > 0 { self.random.u64(..2_500) } else { 0 };
        let takes = self.way() + slow;
        if self.reaches_database(place, life) {
            self.push(self.now + takes, What::AtNode(place, life, Input::Database(answer)));
        }
    }

    // --- the bus

    fn publish(&mut self, from: usize, to: usize, message: Message) {
        let is_cut = |place: &Place| place.cut_bus > 0;
        let hears = self.places[to].node.is_some() && self.places[to].deaf == 0;
        if self.bus_down > 0 || is_cut(&self.places[from]) || is_cut(&self.places[to]) || !hears {
            return;
        }
        if !self.calm && self.random.u8(..) < 50 {
            return;
        }
        let copies = if self.random.u8(..) < 25 { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.random.u8(..) < 20 { self.random.u64(..1_500) } else { 0 };
            let takes = self.way() + late;
            let life = self.places[to].life;
            self.push(self.now + takes, What::AtNode(to, life, Input::Bus(message.clone())));
        }
    }

    /// To whoever has this registration now.
    fn send(&mut self, from: usize, run: NodeRun, message: Message) {
        let has = |place: &Place| {
            place.node.as_ref().is_some_and(|node| node.membership.run() == Some(run))
        };
        match self.places.iter().position(has) {
            Some(to) => self.publish(from, to, message),
            None => {
                if let Message::Ask { route, .. } = message
                    && self.bus_down == 0
                    && self.places[from].cut_bus == 0
                {
                    let answer = Message::Answer { route, by: run, outcome: Outcome::Nobody };
                    let life = self.places[from].life;
                    self.push(self.now + 1, What::AtNode(from, life, Input::Bus(answer)));
                }
            }
        }
    }

    // --- links

    fn agent_does(&mut self, agent: usize, wishes: Vec<agent::Wish>) {
        for wish in wishes {
            match wish {
                agent::Wish::Dial(link) => self.dial(agent, global(agent, link)),
                agent::Wish::Send(link, up) => self.to_node(global(agent, link), up),
                agent::Wish::Close(link, cause) => self.close_at_agent(global(agent, link), cause),
            }
        }
        if self.agents[agent].session.is_some() {
            self.judge.in_session[agent] = Some(self.now);
        }
        if !self.agents[agent].is_dead {
            let at = self.agents[agent].wakes_at().max(self.now + 1);
            self.push(at, What::AgentTimer(agent));
        }
    }

    fn dial(&mut self, agent: usize, link: LinkId) {
        let ready = |place: &Place| {
            place.node.as_ref().is_some_and(|node| node.membership.standing().admits())
        };
        let all: Vec<usize> = (0..self.places.len()).collect();
        let some: Vec<usize> = match self.flips {
            0 => all.iter().copied().filter(|place| ready(&self.places[*place])).collect(),
            _ => Vec::new(),
        };
        let from = if some.is_empty() { &all } else { &some };
        let place = from[self.random.usize(..from.len())];
        let takes = self.way();
        if self.places[place].node.is_none() {
            let why = DialFailure::Unreachable;
            return self.push(self.now + takes, What::DialFailed(agent, link, why));
        }
        let life = self.places[place].life;
        let (up_at, down_at) = (self.now, self.now);
        let wire = Wire { place, life, half_open: false, open: true, up_at, down_at };
        let _ = self.wires.insert(link, wire);
        self.up(link, Input::Dialled(link));
    }

    fn to_node(&mut self, link: LinkId, up: Up) {
        self.up(link, Input::Frame(link, up));
    }

    fn up(&mut self, link: LinkId, input: Input) {
        let takes = self.way();
        let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.open && !wire.half_open)
        else {
            return;
        };
        wire.up_at = wire.up_at.max(self.now + takes);
        let (at, place, life) = (wire.up_at, wire.place, wire.life);
        self.push(at, What::AtNode(place, life, input));
    }

    fn down(&mut self, link: LinkId, what: What) {
        let takes = self.way();
        let Some(wire) = self.wires.get_mut(&link).filter(|wire| !wire.half_open) else { return };
        wire.down_at = wire.down_at.max(self.now + takes);
        let at = wire.down_at;
        self.push(at, what);
    }

    fn to_agent(&mut self, link: LinkId, down: Down) {
        if self.wires.get(&link).is_some_and(|wire| wire.open) {
            self.down(link, What::ToAgent(agent_of(link), link, down));
        }
    }

    fn close_at_node(&mut self, link: LinkId, cause: CloseCause) {
        let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.open) else { return };
        wire.open = false;
        self.down(link, What::AgentLinkEnded(agent_of(link), link, LinkEnd::Closed(cause)));
    }

    fn close_at_agent(&mut self, link: LinkId, cause: CloseCause) {
        self.up(link, Input::LinkEnded(link, LinkEnd::Closed(cause)));
        if let Some(wire) = self.wires.get_mut(&link) {
            wire.open = false;
        }
    }

    fn break_link(&mut self, link: LinkId) {
        self.up(link, Input::LinkEnded(link, LinkEnd::Broken));
        self.down(link, What::AgentLinkEnded(agent_of(link), link, LinkEnd::Broken));
        if let Some(wire) = self.wires.get_mut(&link) {
            wire.open = false;
        }
    }

    // --- users

    fn user(&mut self) {
        let (place, agent) =
            (self.random.usize(..self.places.len()), self.random.usize(..self.agents.len()));
        let life = self.places[place].life;
        let input = match self.random.u8(..) {
            0..20 => Input::StopAgent { agent },
            _ => {
                self.commands += 1;
                Input::Command { agent, command: self.commands }
            }
        };
        self.push(self.now, What::AtNode(place, life, input));
    }

    // --- faults

    fn begin(&mut self, fault: Fault) {
        let place = fault.whom % self.places.len();
        let agent = fault.whom % self.agents.len();
        let here = &mut self.places[place];
        match fault.kind {
            Kind::Kill => self.kill(place),
            Kind::Freeze => here.frozen += 1,
            Kind::CutDatabase => {
                here.cut_database += 1;
                here.database_since = here.database_since.max(self.now);
            }
            Kind::CutBus => {
                here.cut_bus += 1;
                here.bus_since = self.now;
            }
            Kind::CutBoth => {
                (here.cut_database, here.cut_bus) = (here.cut_database + 1, here.cut_bus + 1);
                (here.database_since, here.bus_since) = (self.now, self.now);
            }
            Kind::Deafen => {
                here.deaf += 1;
                here.bus_since = self.now;
            }
            Kind::DatabaseDown => {
                self.database_down += 1;
                self.places.iter_mut().for_each(|place| place.database_since = self.now);
            }
            Kind::DatabaseSlow => self.database_slow += 1,
            Kind::BusDown => {
                self.bus_down += 1;
                self.places.iter_mut().for_each(|place| place.bus_since = self.now);
            }
            Kind::ClockJump => {
                let by = self.random.i64(-7_200_000..7_200_000);
                self.database.skew += by;
            }
            Kind::BreakLink => {
                if let Some((link, _)) = self.agents[agent].session {
                    self.break_link(global(agent, link));
                }
            }
            Kind::HalfOpen => {
                if let Some((link, _)) = self.agents[agent].session
                    && let Some(wire) = self.wires.get_mut(&global(agent, link))
                {
                    wire.half_open = true;
                }
            }
            Kind::Flip => self.flips += 1,
            Kind::Drain => {
                let life = here.life;
                self.at_node(place, life, Input::Drain);
            }
            Kind::AgentDies => {
                // Never the last one.
                let alive = self.agents.iter().filter(|agent| !agent.is_dead).count();
                if alive > 1 && !self.agents[agent].is_dead {
                    let links: Vec<LinkId> = self
                        .wires
                        .keys()
                        .copied()
                        .filter(|link| agent_of(*link) == agent)
                        .collect();
                    for link in links {
                        self.break_link(link);
                    }
                    self.agents[agent].is_dead = true;
                    self.agents[agent].session = None;
                    self.judge.ended[agent] = Some(self.now);
                }
            }
        }
    }

    fn over(&mut self, fault: Fault) {
        let place = fault.whom % self.places.len();
        let here = &mut self.places[place];
        match fault.kind {
            Kind::Kill => self.start(place),
            Kind::Drain => {
                self.kill(place);
                self.start(place);
            }
            Kind::Freeze => {
                here.frozen -= 1;
                if here.frozen == 0 {
                    self.thaw(place);
                }
            }
            Kind::CutDatabase => here.cut_database -= 1,
            Kind::CutBus => here.cut_bus -= 1,
            Kind::CutBoth => {
                (here.cut_database, here.cut_bus) = (here.cut_database - 1, here.cut_bus - 1);
            }
            Kind::Deafen => here.deaf -= 1,
            Kind::DatabaseDown => self.database_down -= 1,
            Kind::DatabaseSlow => self.database_slow -= 1,
            Kind::BusDown => self.bus_down -= 1,
            Kind::Flip => self.flips -= 1,
            Kind::ClockJump | Kind::BreakLink | Kind::HalfOpen | Kind::AgentDies => {}
        }
    }

    /// The process of a node ends without a word.
    fn kill(&mut self, place: usize) {
        let Some(node) = self.places[place].node.take() else { return };
        if let Some(run) = node.membership.run() {
            self.judge.process_ended(run);
        }
        let links: Vec<LinkId> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.place == place && wire.open)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.down(link, What::AgentLinkEnded(agent_of(link), link, LinkEnd::Broken));
            if let Some(wire) = self.wires.get_mut(&link) {
                wire.open = false;
            }
        }
    }

    /// What has arrived first, and then time.
    fn thaw(&mut self, place: usize) {
        let here = &mut self.places[place];
        (here.database_since, here.bus_since) =
            (here.database_since.max(self.now), here.bus_since.max(self.now));
        let life = here.life;
        for input in std::mem::take(&mut here.backlog) {
            self.at_node(place, life, input);
        }
        self.places[place].armed = Millis::MAX;
        self.at_node(place, life, Input::Timer(self.now));
    }

    // --- what must hold

    fn look(&mut self) {
        self.push(self.now + LOOKS_EVERY, What::Look);
        for place in &self.places {
            let (Some(node), 0) = (&place.node, place.frozen) else { continue };
            let standing = node.membership.standing();
            let is_cut = self.database_down > 0 || place.cut_database > 0;
            let for_long = |since: Millis, within: Millis| self.now >= since + within;
            self.judge.demand(
                !(is_cut && for_long(place.database_since, ISLAND_WITHIN) && standing.admits()),
                || {
                    format!(
                        "node {} is cut from the database since {}, and {standing:?}",
                        node.name, place.database_since
                    )
                },
            );
            let is_deaf = self.bus_down > 0 || place.cut_bus > 0 || place.deaf > 0;
            let late = is_deaf && for_long(place.bus_since, DEAF_WITHIN);
            self.judge.demand(!late || node.reception() == Reception::Deaf, || {
                format!("node {} is deaf since {}, and does not know", node.name, place.bus_since)
            });
        }
        for agent in 0..self.agents.len() {
            let link = self.agents[agent].session.map(|(link, _)| global(agent, link));
            let is_well =
                !self.agents[agent].is_dead && link.is_some_and(|link| self.is_well(agent, link));
            let is_stopped = self.agents[agent].is_stopped;
            let waits = is_well && self.judge.stopped.contains(&agent) && !is_stopped;
            self.judge.owed(agent, 0, waits, self.now, REACHES_WITHIN);
            let open: Vec<u64> = self
                .database
                .open
                .iter()
                .filter(|(_, of)| **of == agent)
                .map(|(command, _)| *command)
                .collect();
            for command in open {
                let ran = self.agents[agent].ran.contains_key(&command);
                let is_stopped = self.judge.stopped.contains(&agent);
                let waits = is_well && !ran && !is_stopped;
                self.judge.owed(agent, command, waits, self.now, REACHES_WITHIN);
            }
        }
    }

    /// Whether nothing keeps an order from an agent.
    fn is_well(&self, agent: usize, link: LinkId) -> bool {
        let Some(wire) = self.wires.get(&link).filter(|wire| wire.open && !wire.half_open) else {
            return false;
        };
        let place = &self.places[wire.place];
        let is_there = place.frozen == 0 && place.cut_database == 0 && place.life == wire.life;
        let is_up = self.database_down == 0 && self.database_slow == 0;
        is_there
            && is_up
            && place.node.as_ref().is_some_and(|node| {
                node.session(agent) == Some(link) && node.membership.standing() == Standing::Member
            })
    }

    fn look_at_the_end(&mut self) {
        for place in &self.places {
            let Some(node) = &place.node else { panic!("a node is down at the end") };
            assert_eq!(node.membership.standing(), Standing::Member, "node {}", node.name);
            assert_eq!(node.reception(), Reception::Hears, "node {}", node.name);
        }
        for agent in 0..self.agents.len() {
            let row = self.database.row(agent);
            let known = &self.agents[agent];
            let owners: Vec<usize> = self
                .places
                .iter()
                .enumerate()
                .filter(|(_, place)| place.node.as_ref().unwrap().owns(agent))
                .map(|(n, _)| n)
                .collect();
            assert!(owners.len() <= 1, "agent {agent} is of the nodes {owners:?}");
            for place in &self.places {
                let node = place.node.as_ref().unwrap();
                let shown = node.view(agent);
                assert_eq!(shown, (row.version, row.status), "agent {agent} at node {}", node.name);
            }
            if let Some(ended) = self.judge.ended[agent] {
                let is_over = self.now >= ended.max(HEALS_AT) + RESUME_WINDOW + 15_000;
                let is_offline = row.status == PresenceStatus::Offline;
                assert!(
                    is_offline || !is_over,
                    "agent {agent} ended at {ended}, and is {:?}",
                    row.status
                );
                continue;
            }
            let owner = self.places
                [*owners.first().unwrap_or_else(|| panic!("agent {agent} has no owner"))]
            .node
            .as_ref()
            .unwrap();
            let link = known.session.map(|(link, _)| global(agent, link));
            assert!(
                link.is_some() && owner.session(agent) == link,
                "agent {agent}: {link:?} at its end, {:?} at node {}",
                owner.session(agent),
                owner.name
            );
            assert_eq!(row.owner.map(|owner| owner.run), owner.membership.run(), "agent {agent}");
            assert_eq!(row.status, PresenceStatus::Online, "agent {agent}");
            let stored = self.database.agents[agent].stored;
            assert_eq!(
                (stored, known.acknowledged),
                (known.written, known.written),
                "output of agent {agent}"
            );
            let must_stop = self.judge.stopped.contains(&agent);
            assert_eq!(known.is_stopped, must_stop, "agent {agent}");
            for (command, ran) in &known.ran {
                assert_eq!(*ran, 1, "command {command} of agent {agent}");
                assert!(self.database.ended.contains(command), "command {command} has no outcome");
            }
            let waits = self.database.open.values().any(|of| *of == agent);
            assert!(!waits || must_stop, "a command of agent {agent} waits");
        }
    }
}

/// Links of an agent's own numbering, and of the world's.
fn global(agent: usize, link: LinkId) -> LinkId {
    LinkId(((agent as u64) << 32) + link.0)
}

fn local(link: LinkId) -> LinkId {
    LinkId(link.0 & u64::from(u32::MAX))
}
