//! Versions of presences around a machine whose agent becomes known late. The fleet is alone here: no link, no machine,
//! and a store that answers when a test says so.

use super::now;
use onsembl_protocol::close::{CloseCause, CloseReason};
use onsembl_protocol::fleet::{
    Fleet, FleetAction, FleetEvent, FleetLimits, OpenedSession, Question, SeatId, SeatOrigin,
    StoreAnswer, View, Write,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, Epoch, InstanceId, LinkId, PresenceVersion, SessionId, UserId,
};
use onsembl_protocol::model::{AGENT_FEATURES, Capabilities, Dialect};
use onsembl_protocol::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, LegacyCapabilities,
};
use std::time::Duration;

const AGENT: &str = "agent";

struct Alone {
    fleet: Fleet,
    view: View,
}

impl Alone {
    fn feed(&mut self, event: FleetEvent) -> Vec<FleetAction> {
        self.fleet.handle(event, now(Duration::from_secs(1)));
        let mut actions = Vec::new();
        while let Some(action) = self.fleet.poll_action() {
            if let FleetAction::Show(changes) = &action {
                let _ = self.view.apply(changes.clone());
            }
            actions.push(action);
        }
        actions
    }

    /// A hello under this key.
    fn say_hello(&mut self, key: u64, link: u64) -> Vec<FleetAction> {
        let hello = AgentConnect {
            agent_id: format!("claimed {key}"),
            name: Some("name".to_owned()),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: Some(AgentExtensions {
                features: AGENT_FEATURES.to_vec(),
                agent_key: AgentKey::new(format!("key {key}")),
                instance: InstanceId::new(format!("instance {key}")),
                probe: false,
                commands: Vec::new(),
                journal: None,
                max_parallel: None,
                stop_id: None,
            }),
        };
        let (link, hello, peer) = (LinkId(link), Box::new(hello), "somewhere".to_owned());
        self.feed(FleetEvent::Hello { link, hello, peer, bearer: None })
    }

    /// A hello under this key, which is the number of its link too: the machine that is put in for it.
    fn hello(&mut self, key: u64) -> (SeatId, PresenceVersion, Epoch) {
        let actions = self.say_hello(key, key);
        let installed = actions.into_iter().find_map(|action| match action {
            FleetAction::Install { seat, origin: SeatOrigin::New { version, epoch, .. } } => {
                Some((seat, version, epoch))
            }
            _ => None,
        });
        installed.expect("a machine is put in")
    }

    /// The machine asks for a session.
    fn ask(&mut self, seat: SeatId, link: u64) -> SessionId {
        let asked = self.feed(FleetEvent::Admit { seat, link: LinkId(link) });
        let session = asked.into_iter().find_map(|action| match action {
            FleetAction::Ask(Question::Session { new, .. }) => Some(new.session),
            _ => None,
        });
        session.expect("a session is asked for")
    }

    /// The store opens it: it is the one agent, under this epoch.
    fn answer(
        &mut self,
        seat: SeatId,
        link: u64,
        session: SessionId,
        epoch: u64,
    ) -> Vec<FleetAction> {
        let (agent, epoch) = (AgentId::new(AGENT), Epoch(epoch));
        let opened = Ok(OpenedSession { agent, epoch, unknown_stop: None });
        let answer = StoreAnswer::Session { seat, link: LinkId(link), session, opened };
        self.feed(FleetEvent::Store(answer))
    }

    fn welcome(&mut self, seat: SeatId, link: u64) {
        let capabilities =
            Capabilities::negotiate(AGENT_FEATURES, AGENT_FEATURES, Dialect::Extended);
        let _ = self.feed(FleetEvent::Welcomed { seat, link: LinkId(link), capabilities });
    }

    /// The machine says this. Gives what is stored of it.
    fn says(
        &mut self,
        seat: SeatId,
        status: PresenceStatus,
        version: PresenceVersion,
        epoch: u64,
    ) -> Option<PresenceVersion> {
        let cause = PresenceCause::HelloReceived;
        let because = StatusCause { cause, impairment: None, trouble: None };
        let since = now(Duration::from_secs(1)).wall;
        let presence = Presence { status, since, because, version, epoch: Epoch(epoch) };
        let actions = self.feed(FleetEvent::Presence { seat, presence, beats: None });
        actions.into_iter().find_map(|action| match action {
            FleetAction::Write(Write::Presence(record)) => Some(record.presence.version),
            _ => None,
        })
    }

    fn shown(&self) -> (PresenceStatus, PresenceVersion) {
        let presence = &self.view.agents()[&AgentId::new(AGENT)].presence;
        (presence.status, presence.version)
    }
}

fn version(epoch: u64, number: u64) -> PresenceVersion {
    PresenceVersion((epoch << 20) + number)
}

#[test]
fn what_a_machine_says_of_an_agent_that_it_did_not_know_is_newer_than_all_that_was_said_of_it() {
    use PresenceStatus::{Connecting, Offline, Online};
    let limits = FleetLimits::DEFAULT;
    let fleet = Fleet::new(UserId::new("u"), SeatId(1), 1, limits);
    let mut alone = Alone { fleet, view: View::new(&limits) };
    let (first, begins, epoch) = alone.hello(1);
    assert_eq!((begins, epoch), (PresenceVersion(0), Epoch(0)));
    let session = alone.ask(first, 1);
    assert_eq!(alone.says(first, Connecting, PresenceVersion(1), 0), None, "nobody knows of whom");
    let _ = alone.answer(first, 1, session, 3);
    alone.welcome(first, 1);
    assert_eq!(alone.says(first, Online, version(3, 1), 3), Some(version(3, 1)));
    assert_eq!(alone.shown(), (Online, version(3, 1)));

    // It comes back under another key. Its link ends, but the store was asked.
    let (second, begins, epoch) = alone.hello(2);
    assert_eq!((begins, epoch), (PresenceVersion(0), Epoch(0)));
    let session = alone.ask(second, 2);
    assert_eq!(alone.says(second, Connecting, PresenceVersion(1), 0), None);
    let actions = alone.answer(second, 2, session, 4);
    let is_evicted = |action: &FleetAction| matches!(action, FleetAction::Evict { seat, cause: CloseCause::Superseded } if *seat == first);
    assert!(actions.iter().any(is_evicted), "{actions:?}");
    let _ = alone.says(first, Offline, version(3, 2), 3);
    let _ = alone.feed(FleetEvent::Forgotten { seat: first, history: None });
    assert_ne!(alone.shown().0, Offline, "the newer machine has not said so");
    let reason = CloseReason::peer(None);
    let _ =
        alone.feed(FleetEvent::LinkEnded { seat: second, link: LinkId(2), session: None, reason });
    assert_eq!(alone.says(second, Offline, PresenceVersion(2), 0), Some(version(4, 2)));
    assert_eq!(alone.shown(), (Offline, version(4, 2)));
    let _ = alone.feed(FleetEvent::Forgotten { seat: second, history: None });

    // The next machine of the agent, which is known by that key now, continues from there.
    let (third, begins, epoch) = alone.hello(2);
    assert_eq!((begins, epoch), (version(4, 2), Epoch(4)));
    assert_eq!(alone.says(third, Connecting, version(4, 3), 4), Some(version(4, 3)));
    assert_eq!(alone.shown(), (Connecting, version(4, 3)));
}

#[test]
fn a_session_that_is_opened_for_a_link_that_ended_leaves_the_versions_of_the_agent_as_they_are() {
    use PresenceStatus::{Online, Stale};
    let limits = FleetLimits::DEFAULT;
    let fleet = Fleet::new(UserId::new("u"), SeatId(1), 1, limits);
    let mut alone = Alone { fleet, view: View::new(&limits) };
    let (seat, ..) = alone.hello(1);
    let session = alone.ask(seat, 1);
    let _ = alone.answer(seat, 1, session, 1);
    alone.welcome(seat, 1);
    let _ = alone.says(seat, Online, version(1, 1), 1);
    // The store grants an epoch that its machine never begins, because the newer link ended.
    let _ = alone.say_hello(1, 2);
    let session = alone.ask(seat, 2);
    let _ = alone.answer(seat, 2, session, 2);
    assert_eq!(alone.says(seat, Stale, version(1, 2), 1), Some(version(1, 2)));
    assert_eq!(alone.shown(), (Stale, version(1, 2)));
}
