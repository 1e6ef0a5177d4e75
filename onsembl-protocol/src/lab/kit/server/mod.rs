//! Tests of the server's end: a machine or a policy with the events and actions of
//! [`ServerConnection`].

mod judge;
mod story;

pub use judge::Judge;
pub use story::{Happening, Link, scripts};

use super::drive::{Stage, play};
use super::plan::{Plan, Verdict, hunt};
use super::reaction::{Log, Reaction, Subject};
use super::script::Script;
use super::violation::Violation;
use crate::id::{BeatSequence, Epoch, LinkId};
use crate::model::Dialect;
use crate::session::{
    Claimant, Presence, ServerAction, ServerConfig, ServerConnection, ServerEvent,
};
use crate::time::{Deadline, Now, WallTime};
use core::time::Duration;
use std::vec::Vec;

/// The server's end of one agent that has no session yet and no hello.
pub trait ServerUnderTest {
    /// Takes one event at one moment.
    fn handle(&mut self, event: ServerEvent, now: Now) -> Reaction<ServerAction>;

    /// What is published of the agent.
    fn presence(&self) -> Presence;
}

impl ServerUnderTest for ServerConnection {
    fn handle(&mut self, event: ServerEvent, now: Now) -> Reaction<ServerAction> {
        Self::handle(self, event, now).into()
    }

    fn presence(&self) -> Presence {
        Self::presence(self)
    }
}

/// Tells the scripts of [`Plan::default`] to a server's end with [`ServerConfig::DEFAULT`].
///
/// # Panics
///
/// If an invariant does not hold, with the shortest script that shows it.
#[track_caller]
#[allow(clippy::panic, reason = "how a test fails")]
pub fn check<S: ServerUnderTest>(make: impl Fn() -> S) {
    if let Err(failure) = check_with(&Plan::default(), ServerConfig::DEFAULT, make) {
        panic!("{failure}");
    }
}

/// Tells the scripts of a plan to a server's end of this configuration. `make` is called for each.
pub fn check_with<S: ServerUnderTest>(
    plan: &Plan,
    config: ServerConfig,
    make: impl Fn() -> S,
) -> Verdict<Happening> {
    let make = || Policy(make());
    let tail = config.resume_window + config.timing.timeout_after() + Duration::from_secs(10);
    hunt(plan, &scripts(config, plan.longest_script()), |script: &Script<Happening>| {
        let policy = make();
        let mut stage = ServerStage {
            judge: Judge::new(config, policy.0.presence()).waiving(plan.waived()),
            policy,
            log: Log::new(),
            hellos: Vec::new(),
            record: None,
            epoch: Epoch(0),
        };
        let outcome = play(&mut stage, script, None, tail);
        stage.log.twins_agree(make, plan.waived())?;
        outcome
    })
}

struct Policy<S>(S);

impl<S: ServerUnderTest> Subject for Policy<S> {
    type Event = ServerEvent;
    type Output = ServerAction;

    fn handle(&mut self, event: ServerEvent, now: Now) -> Reaction<ServerAction> {
        self.0.handle(event, now)
    }
}

struct ServerStage<S> {
    policy: Policy<S>,
    judge: Judge,
    log: Log<ServerEvent, ServerAction>,
    hellos: Vec<LinkId>,
    record: Option<(Epoch, BeatSequence)>,
    epoch: Epoch,
}

impl<S: ServerUnderTest> ServerStage<S> {
    fn feed(&mut self, event: ServerEvent, now: Now) -> Result<Deadline, Violation> {
        if let ServerEvent::Joined { link, .. } = event
            && !self.hellos.contains(&link)
        {
            self.hellos.push(link);
        }
        let reaction = self.policy.handle(event, now);
        for action in &reaction.actions {
            if let ServerAction::Record { epoch, sequence } = action {
                self.record = Some((*epoch, *sequence));
            }
        }
        self.log.push(event, now, reaction.clone());
        self.judge.saw(event, now, &reaction, self.policy.0.presence())?;
        Ok(reaction.deadline)
    }

    fn link(&self, link: Link) -> Option<LinkId> {
        let mut newest_first = self.hellos.iter().rev().copied();
        match link {
            Link::Newest => newest_first.next(),
            Link::Previous => newest_first.nth(1),
            Link::Unknown => Some(LinkId(9_999_999)),
        }
    }

    /// Each link says hello once.
    fn hello(&self, dialect: Dialect, claimant: Claimant) -> ServerEvent {
        let link = LinkId(self.hellos.len() as u64 + 1);
        ServerEvent::Joined { link, dialect, claimant }
    }

    fn event(&mut self, what: Happening, wall: WallTime) -> Option<ServerEvent> {
        match what {
            Happening::Joins(dialect, who) | Happening::Hello(dialect, who) => {
                Some(self.hello(dialect, who))
            }
            Happening::Admitted(link) => {
                self.epoch = self.epoch.next();
                Some(ServerEvent::Admitted { link: self.link(link)?, epoch: self.epoch })
            }
            Happening::Rejected(link, cause) => {
                Some(ServerEvent::Rejected { link: self.link(link)?, cause })
            }
            Happening::Frame(link, frame) => Some(ServerEvent::Received(self.link(link)?, frame)),
            Happening::Recorded => self.record.map(|(epoch, sequence)| ServerEvent::Recorded {
                epoch,
                sequence,
                at: wall,
            }),
            Happening::Store(trouble) => Some(ServerEvent::Store(trouble)),
            Happening::Faulted(link) => Some(ServerEvent::Faulted(self.link(link)?)),
            Happening::LinkEnds(link, reason) => {
                Some(ServerEvent::LinkDown(self.link(link)?, reason))
            }
            Happening::Evicted(cause) => Some(ServerEvent::Evict(cause)),
        }
    }
}

impl<S: ServerUnderTest> Stage for ServerStage<S> {
    type Happening = Happening;

    fn wake(&mut self, now: Now) -> Result<Deadline, Violation> {
        self.feed(ServerEvent::Wake, now)
    }

    fn happen(&mut self, what: Happening, now: Now) -> Result<Option<Deadline>, Violation> {
        let Some(event) = self.event(what, now.wall) else {
            return Ok(Some(self.judge.deadline()));
        };
        let deadline = self.feed(event, now)?;
        if let Happening::Joins(..) = what {
            return self.happen(Happening::Admitted(Link::Newest), now);
        }
        Ok(Some(deadline))
    }

    fn again(&mut self, now: Now) -> Result<Option<Deadline>, Violation> {
        // A link that says hello twice is the greeter's to refuse, and the store opens a session once.
        match self.log.last_event() {
            Some(ServerEvent::Joined { .. } | ServerEvent::Admitted { .. }) | None => Ok(None),
            Some(event) => self.feed(event, now).map(Some),
        }
    }

    fn comes(&mut self, step: usize) {
        self.log.step = step;
    }
}
