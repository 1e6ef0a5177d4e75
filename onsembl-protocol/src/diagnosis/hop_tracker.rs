//! The hop tracker of one connection's heartbeats: how far each got, at both ends, and which hop is missed.
//!
//! It stands beside the machine of the connection, and is told of each hop by whoever performs it. It decides
//! nothing: it says where heartbeats stop, and which direction of the link is lost if its evidence tells that.
//!
//! # How a lost direction is told from a slow one, and from a peer that did not run
//!
//! A peer says in each heartbeat which of ours it saw last, and how long ago. That age is a time between two events
//! at the peer, so neither the way nor a difference of clocks is in it. If the next one of ours was written *g* after
//! that one, and the peer's age exceeds *g* by half an interval, then the next one is lost or late by so much, on the
//! way to the peer. But a peer that did not run saw nothing either. So each end leaves out of the age what it cannot
//! [vouch](HopTracker::vouch) for: the time before it noticed that it had not run. It looks four times an interval and
//! notices half an interval. So two heartbeats of the peer must say so, no more than an interval and an eighth apart by
//! its own clock, or one by almost a whole interval: likely then, and sure when another one says the same. A link
//! keeps the order of what it carries, so a peer that once saw a later heartbeat and names an earlier one says nothing.
//! Nothing that is heard says nothing of the other direction.
//!
//! A peer that itself knows where our heartbeats stop says so, and then no direction is lost.

use super::ring::{Direction, Entry, Whose, short};
use crate::id::BeatSequence;
use crate::liveness::Seen;
use crate::model::{Cause, Confidence, Hop};
use crate::time::{Deadline, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Which end keeps a hop tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum End {
    Agent,
    Server,
}

impl Ways {
    /// Its word, by names that are the same at both ends, if this end says it.
    #[must_use]
    pub const fn word(self, end: End) -> &'static str {
        match (self, end) {
            (Self::Both, _) => "both",
            (Self::OneWayOrCut, _) => "one-way-or-cut",
            (Self::OutwardLost(_), End::Agent) => "to-server-lost",
            (Self::OutwardLost(_), End::Server) => "to-agent-lost",
        }
    }
}

/// What one end can say of the two directions of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ways {
    /// Each end hears the other, as far as is known.
    Both,
    /// The peer is heard, and does not hear this end.
    OutwardLost(Confidence),
    /// The peer is not heard. Whether it hears this end cannot be told from here.
    OneWayOrCut,
}

/// Where heartbeats stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Trouble {
    pub whose: Whose,
    /// The first hop that is missed.
    pub hop: Hop,
    /// The first heartbeat that missed it.
    pub sequence: BeatSequence,
    /// When that one was at the hop before.
    pub since: Timestamp,
    pub confidence: Confidence,
}

/// What the peer said of our heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    /// The latest that it saw; 0 if none.
    sequence: u32,
    /// How long ago in milliseconds, when it said so; since our first one left, of one that saw none.
    age: u32,
}

/// The heartbeats of one connection, as one end sees them. Times are of the clock that runs through sleep
/// ([`Now::boot`](crate::time::Now::boot)).
///
/// It takes at most [`MOST_BYTES`](Self::MOST_BYTES), and never allocates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopTracker {
    end: End,
    /// In milliseconds.
    interval: u32,
    begun: Timestamp,
    looked_at: Timestamp,
    /// Since when this process has run without a break: what it did not do before is no sign of a fault.
    awake_since: Timestamp,
    heard_at: Timestamp,
    own: Direction,
    peers: Direction,
    said: Said,
    /// How many of its heartbeats in a row found the next one of ours overdue.
    overdue: u8,
    /// The hop at which heartbeats stop that only the peer can see, as it says: an agent of its own before they are
    /// written, a server of the agent's behind their receipt.
    told: Option<Hop>,
    trouble: Option<Trouble>,
}

impl HopTracker {
    /// The most that it takes of memory.
    pub const MOST_BYTES: usize = 512;

    /// The hop tracker of a connection whose session begins now, with a heartbeat each `interval`.
    #[must_use]
    pub fn new(end: End, interval: Duration, now: Timestamp) -> Self {
        Self {
            end,
            interval: millis(interval),
            begun: now,
            looked_at: now,
            awake_since: now,
            heard_at: now,
            own: Direction::new(Whose::Own),
            peers: Direction::new(Whose::Peers),
            said: Said { sequence: 0, age: 0 },
            overdue: 0,
            told: None,
            trouble: None,
        }
    }

    /// An own heartbeat was made. It was due an interval after the one before, or now, if it is ahead of that.
    pub fn on_made(&mut self, sequence: BeatSequence, now: Timestamp) {
        let before = self.own.latest().and_then(|entry| entry.at(Whose::Own, Hop::Made));
        let due = before.map_or(self.begun, |made| made.after_millis(self.interval));
        self.own.begin(sequence, due.min(now));
        self.own.reach(Hop::Made, sequence, now);
    }

    /// An own heartbeat stands in the queue to the connection.
    pub fn on_queued(&mut self, sequence: BeatSequence, now: Timestamp) {
        self.own.reach(Hop::Queued, sequence, now);
    }

    /// The connection took an own heartbeat.
    pub fn on_written(&mut self, sequence: BeatSequence, now: Timestamp) {
        self.own.reach(Hop::Written, sequence, now);
    }

    /// Whether the connection is not known to have taken the latest own heartbeat, and with it all before it.
    #[must_use]
    pub fn awaits_written(&self) -> bool {
        self.own.latest().is_some_and(|entry| entry.at(Whose::Own, Hop::Written).is_none())
    }

    /// All own heartbeats so far were taken by the connection, the latest at this time.
    pub fn on_all_written(&mut self, at: Timestamp) {
        if let Some(latest) = self.own.latest() {
            let latest = BeatSequence(u64::from(latest.sequence()));
            self.own.reach_all(Hop::Written, latest, at);
        }
    }

    /// A heartbeat of the peer came off the connection.
    pub fn on_received(&mut self, sequence: BeatSequence, now: Timestamp) {
        self.peers.begin(sequence, now);
        if self.end == End::Server {
            self.told = None;
        }
        self.on_heard(now);
    }

    /// The peer says at which hop heartbeats stop that only it can see: an agent of its own, a server of the agent's.
    /// Of an agent this holds until a heartbeat of it comes, of a server until it says otherwise.
    pub fn on_told(&mut self, hop: Option<Hop>, now: Timestamp) {
        let is_for_it_to_say = |hop: &Hop| match self.end {
            End::Server => *hop <= Hop::Written,
            End::Agent => *hop > Hop::Written,
        };
        let told = hop.filter(is_for_it_to_say);
        if self.told != told {
            self.told = told;
            self.look(now);
        }
    }

    /// The machine took a heartbeat of the peer, which says what the peer saw of ours and recorded.
    pub fn on_handled(
        &mut self,
        sequence: BeatSequence,
        seen: Option<Seen>,
        recorded: Option<BeatSequence>,
        now: Timestamp,
    ) {
        self.peers.reach(Hop::Handled, sequence, now);
        if let Some(seen) = seen {
            self.own.reach_all(Hop::Received, seen.sequence, now);
            self.own.reach_all(Hop::AnswerReceived, seen.sequence, now);
        }
        if let Some(recorded) = recorded {
            self.own.reach_all(Hop::Recorded, recorded, now);
        }
        self.on_seen(seen, now);
        self.look(now);
    }

    /// The database holds the peer's heartbeats up to this one.
    pub fn on_recorded(&mut self, through: BeatSequence, now: Timestamp) {
        self.peers.reach_all(Hop::Recorded, through, now);
    }

    /// An own heartbeat was made that tells of the peer's up to this one.
    pub fn on_answered(&mut self, through: BeatSequence, now: Timestamp) {
        self.peers.reach_all(Hop::Answered, through, now);
    }

    /// Some frame of the peer came. Costs next to nothing: judged at the next look.
    pub fn on_heard(&mut self, now: Timestamp) {
        self.heard_at = self.heard_at.max(now);
    }

    /// Time has passed. To be called by [`deadline`](Self::deadline); harmless at any other time.
    pub fn look(&mut self, now: Timestamp) {
        let now = now.max(self.looked_at);
        // This process did not run in between, or its machine slept.
        if now.is_past(self.looked_at, self.half()) {
            self.awake_since = now;
        }
        self.looked_at = now;
        let found = self.judge();
        if let Some(Trouble { whose, hop, sequence, .. }) = found
            && self.trouble.is_none_or(|known| (known.hop, known.sequence) != (hop, sequence))
        {
            let after = now.saturating_since(self.begun);
            match whose {
                Whose::Own => self.own.miss(hop, sequence, after),
                Whose::Peers => self.peers.miss(hop, sequence, after),
            }
        }
        self.trouble = found;
    }

    /// What to tell the peer of its heartbeat, by the time for which this process can vouch: if it did not run, what
    /// came meanwhile may wait in its socket.
    #[must_use]
    pub fn vouch(&mut self, seen: Seen, now: Timestamp) -> Seen {
        // Without a break since the last look there is nothing to find out for this.
        if now.is_past(self.looked_at, self.half()) {
            self.look(now);
        }
        Seen { age: seen.age.min(now.saturating_since(self.awake_since)), ..seen }
    }

    /// When to look next: each quarter of an interval.
    pub fn deadline(&self) -> Deadline {
        Deadline::At(self.looked_at.after_millis(self.interval / 4)).after(self.looked_at)
    }

    /// Where heartbeats stop, at the latest look.
    pub const fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// What that means.
    pub const fn cause(&self) -> Option<Cause> {
        let Some(Trouble { whose, hop, .. }) = self.trouble else { return None };
        Some(match (self.end, whose) {
            (End::Agent, Whose::Own) | (End::Server, Whose::Peers) => hop.missed_by_agents_beat(),
            (End::Agent, Whose::Peers) | (End::Server, Whose::Own) => hop.missed_by_servers_beat(),
        })
    }

    /// The two directions of the link, at the latest look.
    pub fn ways(&self) -> Ways {
        if self.waited(self.heard_at, self.interval.saturating_add(self.half())) {
            return Ways::OneWayOrCut;
        }
        match self.overdue {
            0 | 1 => Ways::Both,
            2 => Ways::OutwardLost(Confidence::Medium),
            _ => Ways::OutwardLost(Confidence::High),
        }
    }

    /// *I hear you*: when the last frame of the peer came.
    pub(crate) const fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    /// *You hear me*: the latest own heartbeat that the peer saw.
    pub fn confirmed(&self) -> Option<BeatSequence> {
        (self.said.sequence > 0).then(|| BeatSequence(u64::from(self.said.sequence)))
    }

    /// When that was heard of, while the heartbeat is one of the latest.
    pub(crate) fn confirmed_at(&self) -> Option<Timestamp> {
        self.own.find(self.said.sequence)?.at(Whose::Own, Hop::AnswerReceived)
    }

    /// Which end keeps it.
    pub const fn end(&self) -> End {
        self.end
    }

    /// How many heartbeats got to a hop, as far as this end sees it.
    pub fn passed(&self, whose: Whose, hop: Hop) -> u32 {
        self.direction(whose).passed(hop)
    }

    /// The last heartbeat that missed a hop, and how long after the beginning of the connection that was noticed,
    /// in whole seconds.
    pub fn missed(&self, whose: Whose, hop: Hop) -> Option<(BeatSequence, Duration)> {
        self.direction(whose).missed(hop)
    }

    /// The latest own heartbeats that were answered, each with its time from written to answered.
    pub fn round_trips(&self) -> impl Iterator<Item = (BeatSequence, Duration)> {
        self.own.in_order().filter_map(|entry| {
            let answered = entry.at(Whose::Own, Hop::AnswerReceived)?;
            let trip = answered.saturating_since(entry.written()?);
            Some((BeatSequence(u64::from(entry.sequence())), trip))
        })
    }

    const fn direction(&self, whose: Whose) -> &Direction {
        match whose {
            Whose::Own => &self.own,
            Whose::Peers => &self.peers,
        }
    }

    const fn half(&self) -> u32 {
        self.interval / 2
    }

    /// Whether something has been so long ago at the latest look, counting only time in which this process ran.
    fn waited(&self, since: Timestamp, millis: u32) -> bool {
        self.looked_at.is_past(since.max(self.awake_since), millis)
    }

    /// The peer said what it saw of ours last.
    fn on_seen(&mut self, seen: Option<Seen>, now: Timestamp) {
        let (sequence, age) = match seen {
            Some(seen) => (short(seen.sequence), millis(seen.age)),
            None => {
                let first = self.own.find(1).and_then(Entry::written);
                (0, first.map_or(0, |first| millis(now.saturating_since(first))))
            }
        };
        let before = self.said;
        // It saw a later one: this was said, or seen, in another order than it was sent. Or one that is not there.
        let latest = self.own.latest().map_or(0, Entry::sequence);
        if sequence < before.sequence || sequence > latest {
            return;
        }
        let overdue = match self.overdue_by(sequence, age).filter(|_| self.told.is_none()) {
            None => 0,
            Some(late) => {
                let alone = if late >= self.beyond_doubt() { 2 } else { 1 };
                // One before that did not find it overdue is no witness.
                if self.overdue == 0 || sequence != before.sequence || age < before.age {
                    alone
                } else {
                    let ran = age - before.age;
                    // Two in quick succession are one witness.
                    if ran < self.interval / 4 {
                        return;
                    }
                    let without_a_break = ran <= self.interval.saturating_add(self.interval / 8);
                    if without_a_break { self.overdue.saturating_add(1).max(alone) } else { alone }
                }
            }
        };
        self.said = Said { sequence, age };
        self.overdue = overdue;
    }

    /// By how much the heartbeat behind `sequence` is overdue at a peer that saw that one so long ago, if by half an
    /// interval at least.
    fn overdue_by(&self, sequence: u32, age: u32) -> Option<u32> {
        let written = |sequence| self.own.find(sequence).map(Entry::written);
        let late = match (written(sequence), written(sequence.saturating_add(1))) {
            (Some(Some(this)), Some(Some(next))) => {
                age.checked_sub(millis(next.saturating_since(this)))?
            }
            // It saw none: as if one had left an interval before the first. The age is ours, and the peer does not
            // vouch for it.
            (None, Some(Some(_))) if sequence == 0 => {
                age.checked_sub(self.interval)?.min(self.beyond_doubt().saturating_sub(1))
            }
            // Forgotten meanwhile: nothing is taken back.
            (None, _) if self.said.sequence == sequence && self.overdue > 0 => self.half(),
            // It was not written, or it is unknown when.
            (Some(_) | None, _) => return None,
        };
        (late >= self.half()).then_some(late)
    }

    /// Overdue by so much, one report is enough: the peer vouches for having run so long but for half an interval,
    /// which
    /// leaves almost another half for a way that has become longer.
    const fn beyond_doubt(&self) -> u32 {
        self.interval - self.interval / 16
    }

    /// The first hop that is missed: of the agent's heartbeats before those of the server.
    fn judge(&self) -> Option<Trouble> {
        match self.end {
            End::Agent => self.own_trouble(),
            End::Server => self.peers_trouble().or_else(|| self.own_trouble()),
        }
    }

    fn own_trouble(&self) -> Option<Trouble> {
        let whose = Whose::Own;
        let latest = self.own.latest();
        let made = latest.and_then(|entry| entry.at(whose, Hop::Made)).unwrap_or(self.begun);
        if self.waited(made, self.interval.saturating_add(self.half())) {
            let sequence = latest.map_or(1, |entry| entry.sequence().saturating_add(1));
            let sequence = BeatSequence(u64::from(sequence));
            let (hop, confidence) = (Hop::Made, Confidence::High);
            return Some(Trouble { whose, hop, sequence, since: made, confidence });
        }
        let (half, sure) = (self.half(), Confidence::High);
        self.stuck(whose, Hop::Made, Hop::Queued, half, sure)
            .or_else(|| self.stuck(whose, Hop::Queued, Hop::Written, half, sure))
            .or_else(|| self.told_by_server())
            .or_else(|| match self.ways() {
                Ways::OutwardLost(sure) => {
                    self.stuck(whose, Hop::Written, Hop::Received, half, sure)
                }
                Ways::Both | Ways::OneWayOrCut => None,
            })
            .or_else(|| match self.end {
                End::Agent => self.stuck(whose, Hop::Received, Hop::Recorded, self.interval, sure),
                End::Server => None,
            })
    }

    /// What a server says of the agent's heartbeats.
    fn told_by_server(&self) -> Option<Trouble> {
        let hop = self.told.filter(|_| self.end == End::Agent)?;
        let (whose, confidence) = (Whose::Own, Confidence::High);
        let (sequence, since) = self
            .own
            .stuck(Hop::Written, Hop::Recorded)
            .unwrap_or((BeatSequence(u64::from(self.said.sequence)), self.begun));
        Some(Trouble { whose, hop, sequence, since, confidence })
    }

    /// What becomes of the agent's heartbeats on its server.
    fn peers_trouble(&self) -> Option<Trouble> {
        let (whose, half, sure) = (Whose::Peers, self.half(), Confidence::High);
        let told = self.told.map(|hop| {
            let latest = self.peers.latest();
            let sequence = latest.map_or(1, |entry| entry.sequence().saturating_add(1));
            let since = latest.and_then(|entry| entry.at(whose, Hop::Received));
            Trouble {
                whose,
                hop,
                sequence: BeatSequence(u64::from(sequence)),
                since: since.unwrap_or(self.begun),
                confidence: sure,
            }
        });
        told.or_else(|| self.stuck(whose, Hop::Received, Hop::Handled, half, sure))
            .or_else(|| self.stuck(whose, Hop::Handled, Hop::Recorded, half, sure))
            .or_else(|| self.stuck(whose, Hop::Recorded, Hop::Answered, self.interval, sure))
    }

    fn stuck(
        &self,
        whose: Whose,
        at: Hop,
        hop: Hop,
        patience: u32,
        confidence: Confidence,
    ) -> Option<Trouble> {
        let (sequence, since) = self.direction(whose).stuck(at, hop)?;
        self.waited(since, patience).then_some(Trouble { whose, hop, sequence, since, confidence })
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_small_as_it_says() {
        let size = size_of::<HopTracker>();
        assert!(size <= HopTracker::MOST_BYTES, "{size} bytes");
    }

    #[test]
    fn two_reports_in_quick_succession_are_one_witness() {
        let at = |secs| Timestamp::from_origin(Duration::from_secs(secs));
        let mut hops = HopTracker::new(End::Agent, Duration::from_secs(30), at(0));
        for (n, secs) in [(1, 0), (2, 30), (3, 60)] {
            hops.on_made(BeatSequence(n), at(secs));
            hops.on_queued(BeatSequence(n), at(secs));
            hops.on_written(BeatSequence(n), at(secs));
        }
        // The peer saw the first one at 0 s, and no other.
        let mut report = |secs| {
            let seen = Seen { sequence: BeatSequence(1), age: Duration::from_secs(secs) };
            hops.on_received(BeatSequence(secs), at(secs));
            hops.on_handled(BeatSequence(secs), Some(seen), None, at(secs));
            hops.ways()
        };
        assert_eq!(report(20), Ways::Both);
        // A peer that was frozen since the first report says the same.
        assert_eq!(report(50), Ways::Both);
        assert_eq!(report(51), Ways::Both);
        assert_eq!(report(80), Ways::OutwardLost(Confidence::Medium));
        assert_eq!(report(110), Ways::OutwardLost(Confidence::High));
        // After a break nothing is sure again.
        assert_eq!(report(150), Ways::OutwardLost(Confidence::Medium));
    }

    #[test]
    fn one_report_is_enough_if_it_is_late_by_an_interval_and_the_peer_vouches_for_it() {
        let at = |secs| Timestamp::from_origin(Duration::from_secs(secs));
        let report = |hops: &mut HopTracker, secs, age| {
            let seen = Seen { sequence: BeatSequence(1), age: Duration::from_secs(age) };
            hops.on_handled(BeatSequence(secs), Some(seen), None, at(secs));
            hops.ways()
        };
        let mut hops = HopTracker::new(End::Agent, Duration::from_secs(30), at(0));
        for n in 1..=3 {
            hops.on_made(BeatSequence(n), at(30 * (n - 1)));
            hops.on_written(BeatSequence(n), at(30 * (n - 1)));
        }
        hops.on_heard(at(60));
        assert_eq!(report(&mut hops.clone(), 60, 57), Ways::Both);
        assert_eq!(report(&mut hops, 60, 59), Ways::OutwardLost(Confidence::Medium));

        // A peer that was frozen from 10 s to 59 s cannot vouch for that time.
        let mut peer = HopTracker::new(End::Server, Duration::from_secs(30), at(0));
        peer.look(at(7));
        let seen = Seen { sequence: BeatSequence(1), age: Duration::from_secs(59) };
        assert_eq!(peer.vouch(seen, at(59)).age, Duration::ZERO);
    }

    #[test]
    fn what_the_peer_says_of_a_hop_is_no_lost_direction() {
        let at = |secs| Timestamp::from_origin(Duration::from_secs(secs));
        let mut hops = HopTracker::new(End::Agent, Duration::from_secs(30), at(0));
        for n in 1..=4 {
            hops.on_made(BeatSequence(n), at(30 * (n - 1)));
            hops.on_queued(BeatSequence(n), at(30 * (n - 1)));
            hops.on_all_written(at(30 * (n - 1)));
        }
        for secs in [50, 80, 110] {
            hops.on_told(Some(Hop::Handled), at(secs));
            hops.on_received(BeatSequence(secs), at(secs));
            hops.on_handled(BeatSequence(secs), None, None, at(secs));
        }
        assert_eq!((hops.ways(), hops.cause()), (Ways::Both, Some(Cause::HeartbeatNotHandled)));
        // What only this end can see, the peer cannot know.
        hops.on_told(Some(Hop::Made), at(111));
        assert_eq!(hops.trouble(), None);

        let mut server = HopTracker::new(End::Server, Duration::from_secs(30), at(0));
        server.on_told(Some(Hop::Written), at(20));
        assert_eq!(server.cause(), Some(Cause::HeartbeatNotWritten));
        server.on_received(BeatSequence(1), at(21));
        server.look(at(21));
        assert_eq!(server.trouble(), None, "it came");
    }
}
