//! Connections whose token is not checked yet: a bounded room with a share for each address.
//!
//! A newcomer for whom there is no room takes the slot of another: of a connection that was answered without
//! a token first, since it has had what it came for, else of the oldest that had time enough to show one. The
//! slot comes from its own address if that has its share, else from the address with the most. So whoever
//! fills the room with connections that do nothing only loses them, and everybody else is let in.
//!
//! Once its token is checked, a connection leaves the room. Pure but for the tokens that end connections: the
//! time is handed in.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Where a connection comes from, as far as shares are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// An address. Of IPv6 the first 64 bits, which one customer has to itself.
    Address(IpAddr),
    /// A trusted proxy that did not say for whom it connects. It has no share of its own: behind it may be
    /// anybody.
    Proxy(IpAddr),
}

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

/// How large the room is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoomLimits {
    /// Connections in it.
    pub(crate) all: usize,
    /// Of one address.
    pub(crate) of_address: usize,
    /// Slots that only addresses may take from which an agent was in session lately.
    pub(crate) reserved: usize,
    /// How long a connection has to show a token before another may take its slot.
    pub(crate) grace: Duration,
    /// How many addresses are remembered as those of agents.
    pub(crate) remembered: usize,
}

impl RoomLimits {
    /// A handshake and a request take a tenth of a second on a bad network; two seconds are a machine that is
    /// starved. At that grace a full room lets in 2,000 connections a second whatever the others do.
    pub(crate) const DEFAULT: Self = Self {
        all: 4096,
        of_address: 1024,
        reserved: 512,
        grace: Duration::from_secs(2),
        remembered: 16_384,
    };

    /// The same for a process that may have so many descriptors: a quarter of them at most.
    pub(crate) fn within(descriptors: u64) -> Self {
        let most = usize::try_from(descriptors / 4).unwrap_or(usize::MAX).max(16);
        let all = Self::DEFAULT.all.min(most);
        Self { all, of_address: all / 4, reserved: all / 8, ..Self::DEFAULT }
    }
}

/// Names a connection in the room.
pub(crate) type Ticket = u64;

/// What becomes of a newcomer.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It is in.
    Admitted(Ticket),
    /// There is no room, and everybody in it came a moment ago.
    Full,
    /// Its address has its share, and all of that came a moment ago.
    OverShare,
}

/// The connections whose token is not checked yet.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    limits: RoomLimits,
    next: Ticket,
    waiting: HashMap<Ticket, Waiting>,
    /// The same by address: who is answered already comes first, then the oldest.
    of: HashMap<Source, BTreeSet<(Claim, Ticket)>>,
    /// The addresses by how many they have.
    by_size: BTreeSet<(usize, Source)>,
    agents: Remembered,
}

#[derive(Debug)]
struct Waiting {
    source: Source,
    since: Instant,
    claim: Claim,
    end: CancellationToken,
}

/// What a connection may still expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// It was answered without a token.
    Answered,
    /// It has asked for nothing yet.
    Unanswered,
}

impl WaitingRoom {
    pub(crate) fn new(limits: RoomLimits) -> Self {
        Self {
            limits,
            next: 0,
            waiting: HashMap::new(),
            of: HashMap::new(),
            by_size: BTreeSet::new(),
            agents: Remembered::default(),
        }
    }

    /// A connection comes. `end` ends it when another takes its slot.
    pub(crate) fn enter(&mut self, source: Source, end: CancellationToken, now: Instant) -> Entry {
        let has = self.of.get(&source).map_or(0, BTreeSet::len);
        let is_agents = self.agents.contains(&source);
        let unreserved = self.limits.all.saturating_sub(self.limits.reserved);
        // A fleet behind one address returns at once.
        let share = match source {
            Source::Address(_) if is_agents => unreserved,
            Source::Address(_) => self.limits.of_address,
            Source::Proxy(_) => self.limits.all,
        };
        let room = if is_agents { self.limits.all } else { unreserved };
        if has >= share {
            if !self.evict(source, now) {
                return Entry::OverShare;
            }
        } else if self.waiting.len() >= room {
            let largest = self.by_size.last().map(|(_, largest)| *largest);
            if !largest.is_some_and(|largest| self.evict(largest, now)) {
                return Entry::Full;
            }
        }
        let ticket = self.next;
        self.next += 1;
        let claim = Claim::Unanswered;
        let _ = self.waiting.insert(ticket, Waiting { source, since: now, claim, end });
        self.list(source, claim, ticket);
        Entry::Admitted(ticket)
    }

    /// It was answered without a token: a health check, a refusal.
    pub(crate) fn answered(&mut self, ticket: Ticket) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        let (source, before) = (waiting.source, waiting.claim);
        waiting.claim = Claim::Answered;
        self.unlist(source, before, ticket);
        self.list(source, Claim::Answered, ticket);
    }

    /// A trusted proxy says for whom it connects.
    pub(crate) fn moved(&mut self, ticket: Ticket, to: Source) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        let (from, claim) = (waiting.source, waiting.claim);
        waiting.source = to;
        self.unlist(from, claim, ticket);
        self.list(to, claim, ticket);
    }

    /// It is closed, or its token is good.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        if let Some(Waiting { source, claim, .. }) = self.waiting.remove(&ticket) {
            self.unlist(source, claim, ticket);
        }
    }

    /// An agent came in from there.
    pub(crate) fn remember(&mut self, source: Source) {
        self.agents.add(source, self.limits.remembered);
    }

    /// Ends the connection of that address with the least claim, if it had its time.
    fn evict(&mut self, source: Source, now: Instant) -> bool {
        let Some((claim, ticket)) = self.of.get(&source).and_then(BTreeSet::first).copied() else {
            return false;
        };
        let Some(waiting) = self.waiting.get(&ticket) else { return false };
        let had_its_time = now.saturating_duration_since(waiting.since) >= self.limits.grace;
        if claim == Claim::Unanswered && !had_its_time {
            return false;
        }
        waiting.end.cancel();
        self.leave(ticket);
        true
    }

    fn list(&mut self, source: Source, claim: Claim, ticket: Ticket) {
        let tickets = self.of.entry(source).or_default();
        let _ = self.by_size.remove(&(tickets.len(), source));
        let _ = tickets.insert((claim, ticket));
        let _ = self.by_size.insert((tickets.len(), source));
    }

    fn unlist(&mut self, source: Source, claim: Claim, ticket: Ticket) {
        let Some(tickets) = self.of.get_mut(&source) else { return };
        let _ = self.by_size.remove(&(tickets.len(), source));
        let _ = tickets.remove(&(claim, ticket));
        if tickets.is_empty() {
            let _ = self.of.remove(&source);
        } else {
            let _ = self.by_size.insert((tickets.len(), source));
        }
    }
}

/// Addresses from which an agent came lately: of so many, the oldest is forgotten.
#[derive(Debug, Default)]
struct Remembered {
    order: VecDeque<Source>,
    known: HashMap<Source, u32>,
}

impl Remembered {
    fn contains(&self, source: &Source) -> bool {
        self.known.contains_key(source)
    }

    fn add(&mut self, source: Source, most: usize) {
        if self.order.back() == Some(&source) {
            return;
        }
        self.order.push_back(source);
        *self.known.entry(source).or_insert(0) += 1;
        if self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
            && let Some(times) = self.known.get_mut(&oldest)
        {
            *times -= 1;
            if *times == 0 {
                let _ = self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RoomLimits = RoomLimits {
        all: 16,
        of_address: 8,
        reserved: 2,
        grace: Duration::from_secs(2),
        remembered: 3,
    };

    struct Bench {
        room: WaitingRoom,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { room: WaitingRoom::new(LIMITS), now: Instant::now() }
        }

        fn enter(&mut self, from: u8) -> Option<(Ticket, CancellationToken)> {
            let end = CancellationToken::new();
            match self.room.enter(at(from), end.clone(), self.now) {
                Entry::Admitted(ticket) => Some((ticket, end)),
                Entry::Full | Entry::OverShare => None,
            }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    fn at(last: u8) -> Source {
        Source::of(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn an_address_with_its_share_takes_the_slots_of_its_own_oldest() {
        let mut bench = Bench::new();
        let first: Vec<_> = (0..8).filter_map(|_| bench.enter(1)).collect();
        assert_eq!(first.len(), 8);
        assert!(bench.enter(1).is_none(), "all of them came a moment ago");
        assert!(bench.enter(2).is_some(), "another address has a share of its own");
        bench.pass(2);
        assert!(bench.enter(1).is_some());
        assert!(first[0].1.is_cancelled() && !first[1].1.is_cancelled());
    }

    #[test]
    fn what_was_answered_without_a_token_makes_room_at_once() {
        let mut bench = Bench::new();
        let all: Vec<_> = (0..8).filter_map(|_| bench.enter(1)).collect();
        bench.room.answered(all[5].0);
        assert!(bench.enter(1).is_some());
        assert!(all[5].1.is_cancelled());
        assert_eq!(all.iter().filter(|(_, end)| end.is_cancelled()).count(), 1);
    }

    #[test]
    fn a_full_room_takes_from_the_address_with_the_most_and_keeps_a_reserve_for_agents() {
        let mut bench = Bench::new();
        let most: Vec<_> = (0..8).filter_map(|_| bench.enter(1)).collect();
        let _more: Vec<_> = (0..6).filter_map(|_| bench.enter(2)).collect();
        assert!(bench.enter(3).is_none(), "14 of 16, and two are for those who had agents");
        bench.room.remember(at(4));
        assert!(bench.enter(4).is_some() && bench.enter(4).is_some());
        assert!(bench.enter(4).is_none(), "16 of 16");
        bench.pass(2);
        assert!(bench.enter(3).is_some() && most[0].1.is_cancelled());
    }

    #[test]
    fn whoever_leaves_or_moves_is_counted_where_it_is() {
        let mut bench = Bench::new();
        let all: Vec<_> = (0..8).filter_map(|_| bench.enter(1)).collect();
        bench.room.leave(all[0].0);
        bench.room.leave(all[0].0);
        bench.room.moved(all[1].0, at(2));
        assert!(bench.enter(1).is_some() && bench.enter(1).is_some());
        assert!(bench.enter(1).is_none());
        let sizes: usize = bench.room.by_size.iter().map(|(size, _)| size).sum();
        assert_eq!((sizes, bench.room.waiting.len()), (9, 9));
    }

    #[test]
    fn the_oldest_address_of_an_agent_is_forgotten() {
        let mut bench = Bench::new();
        for last in [1, 1, 2, 1, 3] {
            bench.room.remember(at(last));
        }
        let known = |last| bench.room.agents.contains(&at(last));
        assert!(known(1) && known(2) && known(3), "1 came again");
        bench.room.remember(at(4));
        let known = |last| bench.room.agents.contains(&at(last));
        assert!(known(1) && !known(2) && known(3) && known(4));
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
