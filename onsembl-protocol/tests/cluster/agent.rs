//! An agent: the real machine of its connection, and work that is simple enough to be judged. It keeps output until that is
//! acknowledged, runs each command once, and tells the outcome until that is stored.

use super::wires::{Down, LinkEnd, Up};
use super::{Millis, now, rules};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::{Epoch, LinkId};
use onsembl_protocol::liveness::BackoffPolicy;
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, DialFailure, Dialect,
    HelloRefusal, ServerBeat, SessionTerms,
};
use onsembl_protocol::step::Step;
use onsembl_protocol::time::{Deadline, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two looks at what is to be sent.
const WORKS_EVERY: Millis = 500;
/// Between two pieces of output.
const WRITES_EVERY: Millis = 1_500;
/// What is not acknowledged is sent again after this.
const AGAIN_AFTER: Millis = 3_000;

/// What an agent wants of the world.
#[derive(Debug)]
pub(super) enum Wish {
    Dial(LinkId),
    Send(LinkId, Up),
    Close(LinkId, CloseCause),
}

#[derive(Debug)]
pub(super) struct Agent {
    machine: AgentConnection,
    deadline: Deadline,
    /// The link of the session.
    pub(super) session: Option<(LinkId, Epoch)>,
    /// When it was last in session.
    pub(super) in_session_at: Option<Millis>,
    works_at: Millis,
    writes_at: Millis,
    /// Bytes that its commands wrote, that were acknowledged, and that were sent in this session.
    pub(super) written: u64,
    pub(super) acknowledged: u64,
    sent: u64,
    sent_at: Millis,
    /// How often each command ran.
    pub(super) ran: BTreeMap<u64, u32>,
    /// Outcomes that are not stored yet, and when each is told next.
    outcomes: BTreeMap<u64, Millis>,
    done: BTreeSet<u64>,
    pub(super) is_stopped: bool,
    /// It has ended for good.
    pub(super) is_dead: bool,
    /// It writes no more.
    pub(super) is_quiet: bool,
}

impl Agent {
    pub(super) fn new(seed: u64) -> Self {
        let seconds = Duration::from_secs;
        let mut config = AgentConfig::DEFAULT;
        config.dial_timeout = seconds(3);
        config.hello_timeout = seconds(12);
        config.backoff = BackoffPolicy::new(seconds(1), seconds(8), seconds(10)).unwrap();
        Self {
            machine: AgentConnection::new(config, seed),
            deadline: Deadline::Never,
            session: None,
            in_session_at: None,
            works_at: 0,
            writes_at: 0,
            written: 0,
            acknowledged: 0,
            sent: 0,
            sent_at: 0,
            ran: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            done: BTreeSet::new(),
            is_stopped: false,
            is_dead: false,
            is_quiet: false,
        }
    }

    pub(super) fn start(&mut self, at: Millis) -> Vec<Wish> {
        self.feed(AgentEvent::Start, at)
    }

    /// When it is to be woken.
    pub(super) fn wakes_at(&self) -> Millis {
        match self.deadline {
            Deadline::At(due) => self.works_at.min(millis(due)),
            Deadline::Never => self.works_at,
        }
    }

    pub(super) fn wake(&mut self, at: Millis) -> Vec<Wish> {
        if self.is_dead {
            return Vec::new();
        }
        let mut wishes = match self.deadline.is_due(now(at).monotonic) {
            true => self.feed(AgentEvent::Wake, at),
            false => Vec::new(),
        };
        if self.works_at <= at {
            self.works_at = at + WORKS_EVERY;
            self.work(at, &mut wishes);
        }
        wishes
    }

    pub(super) fn link_up(&mut self, link: LinkId, at: Millis) -> Vec<Wish> {
        self.feed(AgentEvent::LinkUp(link), at)
    }

    pub(super) fn dial_failed(&mut self, link: LinkId, why: DialFailure, at: Millis) -> Vec<Wish> {
        self.feed(AgentEvent::DialFailed(link, why), at)
    }

    pub(super) fn link_ended(&mut self, link: LinkId, end: LinkEnd, at: Millis) -> Vec<Wish> {
        let reason = match end {
            LinkEnd::Closed(cause) => CloseReason::peer(Some(cause.code())),
            LinkEnd::Broken => CloseReason::broken(Breakage::Reset),
        };
        self.session = self.session.filter(|(of, _)| *of != link);
        self.feed(AgentEvent::LinkDown(link, reason), at)
    }

    pub(super) fn hears(&mut self, link: LinkId, down: Down, at: Millis) -> Vec<Wish> {
        let inbound = match &down {
            Down::Welcome { epoch } => AgentInbound::HelloAccepted(SessionTerms {
                dialect: Dialect::Extended,
                epoch: *epoch,
                timing: rules().timing,
                end_orders: true,
            }),
            Down::Refused => AgentInbound::HelloRefused(HelloRefusal::Other),
            Down::Beat { sequence, seen, recorded } => AgentInbound::Heartbeat(ServerBeat {
                sequence: Some(*sequence),
                seen: *seen,
                recorded: *recorded,
                lagging: false,
            }),
            _ => AgentInbound::Other,
        };
        let mut wishes = self.feed(AgentEvent::Received(link, inbound), at);
        if self.session.is_none_or(|(of, _)| of != link) {
            return wishes;
        }
        match down {
            Down::Stored { to } => self.acknowledged = self.acknowledged.max(to),
            Down::Command { command } if self.is_stopped && !self.ran.contains_key(&command) => {}
            Down::Command { command } => {
                if !self.ran.contains_key(&command) {
                    *self.ran.entry(command).or_default() += 1;
                    let _ = self.outcomes.insert(command, at + 700);
                } else if !self.done.contains(&command) {
                    let _ = self.outcomes.entry(command).or_insert(at);
                }
            }
            Down::OutcomeStored { command } => {
                let _ = self.outcomes.remove(&command);
                let _ = self.done.insert(command);
            }
            Down::Stop => {
                self.is_stopped = true;
                wishes.push(Wish::Send(link, Up::Stopped));
            }
            Down::Welcome { .. } => (self.sent, self.works_at) = (self.acknowledged, at),
            Down::Refused | Down::Beat { .. } | Down::Other => {}
        }
        wishes
    }

    fn work(&mut self, at: Millis, wishes: &mut Vec<Wish>) {
        if !self.is_quiet && self.writes_at <= at {
            self.writes_at = at + WRITES_EVERY;
            self.written += 100;
        }
        let Some((link, _)) = self.session else { return };
        if self.sent > self.acknowledged && at >= self.sent_at + AGAIN_AFTER {
            self.sent = self.acknowledged;
        }
        if self.written > self.sent {
            wishes.push(Wish::Send(link, Up::Output { from: self.sent, to: self.written }));
            (self.sent, self.sent_at) = (self.written, at);
        }
        for (command, due) in &mut self.outcomes {
            if *due <= at {
                *due = at + AGAIN_AFTER;
                wishes.push(Wish::Send(link, Up::Outcome { command: *command }));
            }
        }
    }

    fn feed(&mut self, event: AgentEvent, at: Millis) -> Vec<Wish> {
        if self.is_dead {
            return Vec::new();
        }
        let Step { actions, deadline } = self.machine.handle(event, now(at));
        self.deadline = deadline;
        let mut wishes = Vec::new();
        for action in actions {
            match action {
                AgentAction::Dial(link) => wishes.push(Wish::Dial(link)),
                AgentAction::SendHello(link) => wishes.push(Wish::Send(link, Up::Hello)),
                AgentAction::SendBeat { link, sequence, seen } => {
                    let seen = seen.map(|seen| seen.sequence);
                    wishes.push(Wish::Send(link, Up::Beat { sequence, seen }));
                }
                AgentAction::Probe(link) | AgentAction::SendPong { link, .. } => {
                    wishes.push(Wish::Send(link, Up::Other));
                }
                AgentAction::Close(link, cause) => {
                    self.session = self.session.filter(|(of, _)| *of != link);
                    wishes.push(Wish::Close(link, cause));
                }
                AgentAction::Report(report) => {
                    if let (Some(epoch), AgentEvent::Received(link, _)) =
                        (report.status.epoch(), event)
                        && self.session.is_none()
                    {
                        self.session = Some((link, epoch));
                    }
                }
                AgentAction::Impaired(_) | AgentAction::Overslept(_) => {}
            }
        }
        if self.session.is_some() {
            self.in_session_at = Some(at);
        }
        wishes
    }
}

/// So many milliseconds after the world began, and no less.
pub(super) fn millis(stamp: Timestamp) -> Millis {
    stamp.since_origin().as_nanos().div_ceil(1_000_000) as Millis
}
