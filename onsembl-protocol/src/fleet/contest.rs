//! Two live processes of one agent, as after a state directory was copied: which of them has the session.
//!
//! A process that comes while another is in session proves nothing of that one: it may be its successor, whose
//! predecessor died without a close, or a second one beside it. So the one in session is asked first. If
//! it answers, it keeps the session, and the other is refused, told why, and comes back by its backoff; neither
//! ends, and no command of either is touched. If it does not answer in time it is replaced (P-57). How often
//! that happened lately, and from which hosts, is shown of the agent.

use super::action::{FleetAction, SeatId};
use super::agent::cost_of_hello;
use super::agent_view::AgentContest;
use super::claims::Bearer;
use super::collections::{Map, Set};
use super::hello::admit;
use super::note::FleetNote;
use super::state::State;
use crate::close::CloseCause;
use crate::id::{AgentId, InstanceId, LinkId};
use crate::model::Dialect;
use crate::session::PresenceStatus;
use crate::time::{Deadline, Now, Timestamp};
use crate::wire::ServerToAgent;
use crate::wire::payload::{AgentConnect, ErrorCode, ErrorReply, Ping};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// How long the process in session may take to answer: an agent answers a `PING` at once, ahead of its output,
/// and a bad network takes a second or two. A successor whose predecessor left a half-open link waits as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Hellos of one agent that wait for the answer. One more is refused at once.
const MOST_WAITING: usize = 4;
/// Those of all agents of a user, who are looked at with each event; and no more than
/// [`hello_bytes`](super::FleetLimits::hello_bytes).
const MOST_OF_USER: usize = 64;
/// The period over which contests are counted.
const COUNTED: Duration = Duration::from_secs(60);
/// How long after the last contest it is shown: twice the longest wait between two dials of an agent.
const SHOWN: Duration = Duration::from_secs(120);
/// Agents of a user of which contests are shown at once. Of one more, those of the agent that was contested the
/// longest time ago are forgotten: two or three clones are what happens, and this is more than anybody looks at.
const MOST_SHOWN: usize = 256;
/// Contests of one agent that are counted. More are shown as this number.
const MOST_COUNTED: usize = 100;
/// Hosts of one agent that are named.
const MOST_HOSTS: usize = 4;
/// How often the log says that an agent is contested.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// Contested sessions of a fleet.
#[derive(Debug, Default)]
pub(super) struct Contests {
    waiting: Vec<Contender>,
    recent: Map<AgentId, Recent>,
    /// Until when each of those is shown.
    ends: Set<(Timestamp, AgentId)>,
}

/// A hello that waits for the answer of the process in session.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) link: LinkId,
    pub(super) said: Said,
    seat: SeatId,
    until: Timestamp,
}

/// A hello, and who said it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) hello: Box<AgentConnect>,
    pub(super) peer: String,
    pub(super) bearer: Option<Bearer>,
}

impl Contender {
    fn instance(&self) -> Option<&InstanceId> {
        self.said.hello.extensions.as_ref().map(|extensions| &extensions.instance)
    }
}

/// What happened lately to the session of one agent.
#[derive(Debug)]
struct Recent {
    refused: VecDeque<Timestamp>,
    replaced: VecDeque<Timestamp>,
    hosts: Vec<String>,
    until: Timestamp,
    noted_at: Option<Timestamp>,
}

/// How a contest went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Replaced,
}

impl Contests {
    /// A hello came. Gives it back if it is to be taken now; else it waits, or is refused.
    pub(super) fn on_hello(
        &mut self,
        state: &mut State,
        link: LinkId,
        said: Said,
        now: Now,
    ) -> Option<Contender> {
        let until = now.monotonic.saturating_add(ANSWER_WITHIN);
        let (hello, peer) = (&said.hello, &said.peer);
        let (rival, seat) = match rival(state, &said) {
            Some((seat, Rival::Heard)) => (true, seat),
            // It was silent for stale-after already: asking it would only take longer.
            Some((seat, Rival::Silent)) => {
                self.count(state, seat, hello, peer, Outcome::Replaced, now);
                (false, seat)
            }
            None => (false, SeatId(0)),
        };
        let cost = cost_of_hello(hello);
        let mut contender = Contender { link, said, seat, until };
        if !rival {
            return Some(contender);
        }
        if let Some(until) = self.supersede(state, &contender) {
            contender.until = until;
        }
        let of_seat = self.waiting.iter().filter(|waiting| waiting.seat == seat).count();
        let bytes = self.waiting.iter().map(|waiting| cost_of_hello(&waiting.said.hello));
        let is_full = self.waiting.len() >= MOST_OF_USER
            || bytes.fold(cost, usize::saturating_add) > state.limits.hello_bytes;
        // Refused unheard, and it comes back by its backoff (P-239).
        if of_seat >= MOST_WAITING || is_full {
            self.refuse(state, contender, now);
            return None;
        }
        // One question for all that wait: its answer decides for each.
        if of_seat == 0 {
            let ping = Ping { timestamp: Some(now.wall.unix_millis() as f64), sequence: None };
            state.out.send(seat, ServerToAgent::Ping(ping));
        }
        self.waiting.push(contender);
        None
    }

    /// A process that came again over a newer link waits with that alone, and no longer than it would have. Gives
    /// until when that is.
    fn supersede(&mut self, state: &mut State, by: &Contender) -> Option<Timestamp> {
        let process = by.instance();
        let mut until = None;
        for older in self.take(|older| older.seat == by.seat && older.instance() == process) {
            let why = "a newer hello of the same process waits for a session";
            let error = ErrorReply::new(ErrorCode::SessionContested, why);
            let (link, cause) = (older.link, CloseCause::Superseded);
            state.out.act(FleetAction::RefuseHello { link, error, cause });
            until = Some(older.until);
        }
        until
    }

    /// The process in session answered a `PING`: it lives, and keeps the session.
    pub(super) fn on_answer(&mut self, state: &mut State, seat: SeatId, now: Now) {
        for contender in self.take(|waiting| waiting.seat == seat) {
            self.refuse(state, contender, now);
        }
    }

    /// Hellos that may continue: the process in session did not answer in time, or is in session no more.
    pub(super) fn settle(&mut self, state: &mut State, now: Now) -> Vec<Contender> {
        // As behind nearly every event.
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let is_free = |waiting: &Contender| {
            rival(state, &waiting.said).is_none_or(|(seat, _)| seat != waiting.seat)
        };
        let free = self.take(is_free);
        let overdue = self.take(|waiting| waiting.until <= now.monotonic);
        for contender in &overdue {
            let Contender { seat, said: Said { hello, peer, .. }, .. } = contender;
            self.count(state, *seat, hello, peer, Outcome::Replaced, now);
        }
        free.into_iter().chain(overdue).collect()
    }

    /// Nothing is shown any more of agents whose session was not contested for a while.
    pub(super) fn on_time(&mut self, state: &mut State, now: Now) {
        while self.ends.first().is_some_and(|(until, _)| *until <= now.monotonic) {
            self.forget_oldest(state);
        }
    }

    fn forget_oldest(&mut self, state: &mut State) {
        if let Some((_, agent)) = self.ends.pop_first() {
            let _ = self.recent.remove(&agent);
            state.show_contest(&agent, None);
        }
    }

    /// When [`settle`](Self::settle) and [`on_time`](Self::on_time) must be called.
    pub(super) fn deadline(&self) -> Deadline {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let recent = self.ends.first().map(|(until, _)| *until);
        waiting.chain(recent).map(Deadline::At).fold(Deadline::Never, Deadline::min)
    }

    /// Whether none waits and none is shown.
    pub(super) fn are_none(&self) -> bool {
        self.waiting.is_empty() && self.recent.is_empty()
    }

    fn take(&mut self, which: impl Fn(&Contender) -> bool) -> Vec<Contender> {
        let (taken, kept) = core::mem::take(&mut self.waiting).into_iter().partition(which);
        self.waiting = kept;
        taken
    }

    fn refuse(&mut self, state: &mut State, contender: Contender, now: Now) {
        let Contender { link, said: Said { hello, peer, .. }, seat, .. } = contender;
        let contest = self.count(state, seat, &hello, &peer, Outcome::Refused, now);
        let why = match contest {
            Some(contest) => format!(
                "another process of this agent, on host {}, is in session and answers, and keeps the session; {contest}; if this process runs from a copy of the other's state directory, give it a state directory of its own, or stop one of the two",
                host_in_session(state, seat).escape_debug(),
            ),
            None => "another process of this agent is in session, and answers".to_owned(),
        };
        let error = ErrorReply::new(ErrorCode::SessionContested, why);
        state.out.act(FleetAction::RefuseHello { link, error, cause: CloseCause::Contested });
    }

    /// Counts one contest, and shows what there were lately.
    fn count(
        &mut self,
        state: &mut State,
        seat: SeatId,
        hello: &AgentConnect,
        peer: &str,
        outcome: Outcome,
        now: Now,
    ) -> Option<AgentContest> {
        let at = now.monotonic;
        let agent = state.roster.who(seat)?;
        let in_session = host_in_session(state, seat);
        let newcomer = host_of(hello.host_machine.as_deref());
        if !self.recent.contains_key(&agent) && self.recent.len() >= MOST_SHOWN {
            self.forget_oldest(state);
        }
        let recent = self.recent.entry(agent.clone()).or_insert_with(|| Recent::new(at));
        let _ = self.ends.remove(&(recent.until, agent.clone()));
        recent.add(outcome, [in_session, newcomer.clone()], at);
        let _ = self.ends.insert((recent.until, agent.clone()));
        let contest = recent.shown(at);
        if recent.is_to_be_noted(at) {
            let (peer, contest) = (peer.to_owned(), contest.clone());
            let (agent, host) = (agent.clone(), newcomer);
            state.out.note(FleetNote::Contested { agent, host, peer, contest });
        }
        state.show_contest(&agent, Some(contest.clone()));
        Some(contest)
    }
}

impl Recent {
    const fn new(at: Timestamp) -> Self {
        Self {
            refused: VecDeque::new(),
            replaced: VecDeque::new(),
            hosts: Vec::new(),
            until: at,
            noted_at: None,
        }
    }

    fn add(&mut self, outcome: Outcome, hosts: [String; 2], at: Timestamp) {
        let events = match outcome {
            Outcome::Refused => &mut self.refused,
            Outcome::Replaced => &mut self.replaced,
        };
        if events.len() >= MOST_COUNTED {
            let _ = events.pop_front();
        }
        events.push_back(at);
        for host in hosts {
            if !self.hosts.contains(&host) && self.hosts.len() < MOST_HOSTS {
                self.hosts.push(host);
            }
        }
        self.until = at.saturating_add(SHOWN);
    }

    fn shown(&mut self, at: Timestamp) -> AgentContest {
        let is_old = |then: &mut Timestamp| at.saturating_since(*then) > COUNTED;
        for events in [&mut self.refused, &mut self.replaced] {
            while events.pop_front_if(is_old).is_some() {}
        }
        AgentContest {
            refused: self.refused.len(),
            replaced: self.replaced.len(),
            hosts: self.hosts.clone(),
        }
    }

    /// At the first one, and now and again while there are more.
    fn is_to_be_noted(&mut self, at: Timestamp) -> bool {
        let is_due = self.noted_at.is_none_or(|then| at.saturating_since(then) >= NOTED_EVERY);
        if is_due {
            self.noted_at = Some(at);
        }
        is_due
    }
}

/// A process in session that is not the one of a hello.
enum Rival {
    /// It was heard lately.
    Heard,
    Silent,
}

/// The process in session that a hello would replace. One whose token may not speak for the agent replaces none.
fn rival(state: &State, said: &Said) -> Option<(SeatId, Rival)> {
    let Said { hello, bearer, .. } = said;
    // The roster refuses it when it takes the hello; it must not touch the session before (P-261).
    let _may_speak = admit(&state.roster, hello, bearer.as_ref()).ok()?;
    // A probe takes no session (P-45), and a wrapper has no `instance` that could tell two processes apart.
    let theirs = hello.extensions.as_ref().filter(|extensions| !extensions.probe)?;
    let seat = state.roster.seat_of(&theirs.agent_key)?;
    let entry = state.roster.seats.get(&seat)?;
    let session = entry.session.as_ref()?;
    let is_other = entry.instance.as_ref().is_some_and(|own| *own != theirs.instance);
    if session.capabilities.dialect() != Dialect::Extended || !is_other {
        return None;
    }
    let agent = state.roster.agent(entry.agent.as_ref()?)?;
    Some((
        seat,
        match agent.shown.presence.status {
            PresenceStatus::Online | PresenceStatus::Error | PresenceStatus::Connecting => {
                Rival::Heard
            }
            // Silent for stale-after already, or without a link: it is never waited for (P-239).
            PresenceStatus::Stale
            | PresenceStatus::TimedOut
            | PresenceStatus::Reconnecting
            | PresenceStatus::Offline => Rival::Silent,
        },
    ))
}

fn host_in_session(state: &State, seat: SeatId) -> String {
    let agent = state.roster.who(seat);
    let known = agent.as_ref().and_then(|agent| state.roster.agent(agent));
    host_of(known.map(|known| known.shown.host.as_str()))
}

fn host_of(said: Option<&str>) -> String {
    said.filter(|host| !host.is_empty()).unwrap_or("unknown").to_owned()
}
