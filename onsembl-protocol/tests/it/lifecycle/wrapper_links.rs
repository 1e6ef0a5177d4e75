//! A legacy wrapper that takes the end of any of its links for the end of the one that it uses, and the
//! server's machines at the other end, in virtual time.

use crate::support::{now, secs};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{Epoch, LinkId, PresenceVersion};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Capabilities;
use onsembl_protocol::session::{
    AcceptedAction, AcceptedEvent, AcceptedLink, Claimant, Dialect, FrameForm, Opening, Reading,
    ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerInbound, Unwanted,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the server does with a link that is not wanted any more.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    Real,
    /// As servers do that know nothing of wrappers: it closes.
    ClosesAll,
}

struct World {
    server: Server,
    at: Duration,
    machine: ServerConnection,
    links: BTreeMap<LinkId, AcceptedLink>,
    next: u64,
    epoch: u64,
    /// The link that the wrapper uses; `None` while it dials.
    uses: Option<LinkId>,
    redial_at: Option<Duration>,
    /// Links that the server closed.
    closed: Vec<CloseCause>,
    written: u32,
    heard: u32,
}

impl World {
    fn new(server: Server) -> Self {
        let at = Duration::ZERO;
        let (version, epoch) = (PresenceVersion(0), Epoch(0));
        let mut world = Self {
            server,
            at,
            machine: ServerConnection::new(ServerConfig::DEFAULT, version, epoch, now(at)),
            links: BTreeMap::new(),
            next: 1,
            epoch: 0,
            uses: None,
            redial_at: None,
            closed: Vec::new(),
            written: 0,
            heard: 0,
        };
        world.dial();
        world
    }

    /// A link opens over which nothing is said: a dial that the wrapper had given up.
    fn opens_late(&mut self) -> LinkId {
        let link = LinkId(self.next);
        self.next += 1;
        let machine = AcceptedLink::new(Opening::NamesAgent, Limits::DEFAULT, now(self.at));
        self.links.insert(link, machine);
        link
    }

    /// The wrapper opens a link, says hello and uses it.
    fn dial(&mut self) {
        let link = self.opens_late();
        self.uses = Some(link);
        self.redial_at = None;
        self.at_link(link, AcceptedEvent::Read(Reading::Hello(Capabilities::LEGACY)));
    }

    fn at_link(&mut self, link: LinkId, event: AcceptedEvent) {
        let Some(machine) = self.links.get_mut(&link) else { return };
        let step = machine.handle(event, now(self.at));
        for action in step.actions {
            match action {
                AcceptedAction::Identify => {
                    self.at_link(link, AcceptedEvent::Identified);
                    let (dialect, claimant) = (Dialect::Legacy, Claimant::SameProcess);
                    self.at_machine(ServerEvent::Joined { link, dialect, claimant });
                }
                AcceptedAction::AskToPark => self.at_link(
                    link,
                    match self.server {
                        Server::Real => AcceptedEvent::Parked(ServerConfig::DEFAULT.timing),
                        Server::ClosesAll => AcceptedEvent::Refused(CloseCause::HelloTimeout),
                    },
                ),
                // A link answers pings of itself by itself.
                AcceptedAction::SendNativePing => {
                    self.at_link(link, AcceptedEvent::Arrived(FrameForm::Control));
                }
                AcceptedAction::Hear(what) => self.at_machine(ServerEvent::Received(link, what)),
                AcceptedAction::Deliver => self.heard += 1,
                AcceptedAction::Close(cause) => self.close(link, cause),
                AcceptedAction::Read
                | AcceptedAction::Defer
                | AcceptedAction::Discard(_)
                | AcceptedAction::Release
                | AcceptedAction::Pong
                | AcceptedAction::WelcomeAgain
                | AcceptedAction::Complain(_) => {}
            }
        }
    }

    fn at_machine(&mut self, event: ServerEvent) {
        let step = self.machine.handle(event, now(self.at));
        for action in step.actions {
            match action {
                ServerAction::Admit(link) => {
                    self.epoch += 1;
                    self.at_machine(ServerEvent::Admitted { link, epoch: Epoch(self.epoch) });
                }
                ServerAction::Welcome { link, .. } => self.at_link(link, AcceptedEvent::Welcomed),
                ServerAction::SendPing(link) => {
                    let pong = Reading::Beat(ServerInbound::Pong);
                    self.at_link(link, AcceptedEvent::Read(pong));
                }
                ServerAction::Record { epoch, sequence } => {
                    let at = now(self.at).wall;
                    self.at_machine(ServerEvent::Recorded { epoch, sequence, at });
                }
                ServerAction::Close(link, cause) => {
                    let machine = self.links.get(&link);
                    match (self.server, machine.map(|machine| machine.when_closed_for(cause))) {
                        (Server::Real, Some(Unwanted::Park)) => {
                            let timing = ServerConfig::DEFAULT.timing;
                            self.at_link(link, AcceptedEvent::Parked(timing));
                        }
                        (_, Some(_)) => self.close(link, cause),
                        (_, None) => {}
                    }
                }
                ServerAction::SendBeat { .. }
                | ServerAction::Report(_)
                | ServerAction::Overslept(_)
                | ServerAction::Forget => {}
            }
        }
    }

    /// Whichever of its links ends: the wrapper takes it for the one that it uses.
    fn close(&mut self, link: LinkId, cause: CloseCause) {
        self.closed.push(cause);
        self.links.remove(&link);
        self.redials();
    }

    fn redials(&mut self) {
        self.uses = None;
        let soon = self.at + secs(1);
        self.redial_at = self.redial_at.or(Some(soon));
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.at += secs(1);
            let moment = now(self.at).monotonic;
            while self.machine.deadline().is_due(moment) {
                self.at_machine(ServerEvent::Wake);
            }
            let due: Vec<LinkId> = self
                .links
                .iter()
                .filter(|(_, link)| link.deadline().is_due(moment))
                .map(|(id, _)| *id)
                .collect();
            for link in due {
                self.at_link(link, AcceptedEvent::Wake);
            }
            if self.redial_at.is_some_and(|at| at <= self.at) {
                self.dial();
            }
            self.written += 1;
            if let Some(link) = self.uses {
                self.at_link(link, AcceptedEvent::Read(Reading::Message));
            }
        }
    }
}

#[test]
fn a_dial_that_opens_late_starts_no_storm() {
    let mut world = World::new(Server::Real);
    world.run(30);
    world.opens_late();
    world.run(600);
    assert_eq!((world.epoch, world.closed.len()), (1, 0));
    assert_eq!(world.heard, world.written, "all that it wrote is heard");
    // Against a server that closes what it does not need.
    let mut naive = World::new(Server::ClosesAll);
    naive.run(30);
    naive.opens_late();
    naive.run(600);
    assert!(naive.epoch > 100 && naive.heard < naive.written, "the storm is not modelled");
}

#[test]
fn a_wrapper_that_dials_again_although_its_link_is_good_loses_nothing() {
    let mut world = World::new(Server::Real);
    for dials in 1..=4 {
        world.run(60);
        let older = world.uses.unwrap();
        world.redials();
        world.dial();
        // What was on its way over the older link counts too.
        world.written += 1;
        world.at_link(older, AcceptedEvent::Read(Reading::Message));
        world.run(60);
        assert_eq!((world.epoch, world.closed.len()), (1 + dials, 0));
    }
    world.run(600);
    assert_eq!(world.epoch, 5, "a session for each dial, and no more");
    assert_eq!(world.heard, world.written);
    assert_eq!(world.machine.link(), world.uses);
}

#[test]
fn who_died_leaves_no_link_behind() {
    let mut world = World::new(Server::Real);
    let dead = world.opens_late();
    world.run(20);
    let mut link = world.links[&dead];
    // Nothing comes back any more: its pings are not answered.
    let mut at = world.at;
    while at < world.at + secs(120) {
        at += secs(1);
        while link.deadline().is_due(now(at).monotonic) {
            let step = link.handle(AcceptedEvent::Wake, now(at));
            let closes = AcceptedAction::Close(CloseCause::Silent);
            if step.actions.iter().any(|action| action == closes) {
                return assert!(at - world.at <= secs(90), "{at:?}");
            }
        }
    }
    panic!("it stays for ever");
}
