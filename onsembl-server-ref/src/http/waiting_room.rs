//! Connections whose token is not checked yet: a bounded room with a share for each address.
//!
//! A newcomer is always let in. If there is no room, it takes the slot of another: of a connection that was
//! answered without a token, since it has had what it came for, else of the oldest; of its own address if that
//! has its share, else of the address with the most. So a peer that fills the room with connections that do nothing
//! only loses them. A connection has as long to show a token as it takes to accept its address's share of
//! others, and the server itself is what limits how fast that goes.
//!
//! Addresses from which an agent was lately in session are counted apart from the others: a fleet that returns has many
//! connections of one address, and would give way to an attacker with thousands of addresses. If there is no room,
//! whichever of the two groups has more gives a slot, so neither can take more than half from the other.
//!
//! Once its token is checked, a connection leaves the room.

use onsembl_protocol::id::UserId;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
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
        Self::Address(network_of(address))
    }
}

/// What counts as one address: of IPv6 the first 64 bits, which one customer has to itself.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
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
    /// How many addresses are remembered as those of agents.
    pub(crate) remembered: usize,
}

impl RoomLimits {
    /// As many as a server can have in their handshakes at a time, with 32 KiB each.
    pub(crate) const DEFAULT: Self =
        Self { all: 4096, of_address: 1024, reserved: 512, remembered: 16_384 };

    /// The same for a process that may have this many descriptors: a quarter of them at most.
    pub(crate) fn within(descriptors: u64) -> Self {
        let most = usize::try_from(descriptors / 4).unwrap_or(usize::MAX).max(16);
        let all = Self::DEFAULT.all.min(most);
        Self { all, of_address: all / 4, reserved: all / 8, ..Self::DEFAULT }
    }
}

/// Names a connection in the room.
pub(crate) type Ticket = u64;

/// The connections whose token is not checked yet.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    limits: RoomLimits,
    next: Ticket,
    /// Connections that left by themselves, so far.
    left: u64,
    waiting: HashMap<Ticket, Waiting>,
    of_agents: Group,
    of_others: Group,
    agents: Remembered,
}

#[derive(Debug)]
struct Waiting {
    source: Source,
    /// The group in which it is listed. Its address may become that of an agent meanwhile.
    of: Of,
    claim: Claim,
    end: CancellationToken,
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// One from which an agent was lately in session.
    Agents,
    Others,
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
            left: 0,
            waiting: HashMap::new(),
            of_agents: Group::default(),
            of_others: Group::default(),
            agents: Remembered::default(),
        }
    }

    /// A connection comes. `end` ends it when another takes its slot.
    pub(crate) fn enter(&mut self, source: Source, end: CancellationToken) -> Ticket {
        let of = self.whose(source);
        let unreserved = self.limits.all.saturating_sub(self.limits.reserved);
        // A fleet behind one address returns at once.
        let share = match (source, of) {
            (Source::Address(_), Of::Agents) => unreserved,
            (Source::Address(_), Of::Others) => self.limits.of_address,
            (Source::Proxy(_), Of::Agents | Of::Others) => self.limits.all,
        };
        if self.group(of).of_source(source) >= share {
            self.evict(self.group(of).first_of(source));
        } else if of == Of::Others && self.of_others.len >= unreserved {
            self.evict(self.of_others.first_of_largest());
        } else if self.waiting.len() >= self.limits.all {
            let larger = match self.of_agents.len.cmp(&self.of_others.len) {
                Ordering::Greater => Of::Agents,
                Ordering::Less => Of::Others,
                Ordering::Equal => of,
            };
            self.evict(self.group(larger).first_of_largest());
        }
        let ticket = self.next;
        self.next += 1;
        let claim = Claim::Unanswered;
        let _ = self.waiting.insert(ticket, Waiting { source, of, claim, end });
        self.group_mut(of).list(source, claim, ticket);
        ticket
    }

    /// How many connections left by themselves, so far: they are known, or are closed.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// How many connections are in it.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// It was answered without a token: a health check, a refusal.
    pub(crate) fn answered(&mut self, ticket: Ticket) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        let (source, of, before) = (waiting.source, waiting.of, waiting.claim);
        waiting.claim = Claim::Answered;
        let group = self.group_mut(of);
        group.unlist(source, before, ticket);
        group.list(source, Claim::Answered, ticket);
    }

    /// A trusted proxy says for whom it connects.
    pub(crate) fn moved(&mut self, ticket: Ticket, to: Source) {
        let now_of = self.whose(to);
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        let (from, of, claim) = (waiting.source, waiting.of, waiting.claim);
        (waiting.source, waiting.of) = (to, now_of);
        self.group_mut(of).unlist(from, claim, ticket);
        self.group_mut(now_of).list(to, claim, ticket);
    }

    /// It is closed, or its token is good.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        if self.remove(ticket) {
            self.left += 1;
        }
    }

    fn remove(&mut self, ticket: Ticket) -> bool {
        let Some(Waiting { source, of, claim, .. }) = self.waiting.remove(&ticket) else {
            return false;
        };
        self.group_mut(of).unlist(source, claim, ticket);
        true
    }

    /// An agent came in from there.
    pub(crate) fn remember(&mut self, user: &UserId, source: Source) {
        self.agents.add(user, source, self.limits.remembered);
    }

    fn whose(&self, source: Source) -> Of {
        if self.agents.contains(&source) { Of::Agents } else { Of::Others }
    }

    fn group(&self, of: Of) -> &Group {
        match of {
            Of::Agents => &self.of_agents,
            Of::Others => &self.of_others,
        }
    }

    fn group_mut(&mut self, of: Of) -> &mut Group {
        match of {
            Of::Agents => &mut self.of_agents,
            Of::Others => &mut self.of_others,
        }
    }

    fn evict(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket
            && let Some(waiting) = self.waiting.get(&ticket)
        {
            waiting.end.cancel();
            let _ = self.remove(ticket);
        }
    }
}

/// Connections of some addresses, and which of them gives way first.
#[derive(Debug, Default)]
struct Group {
    len: usize,
    /// By address: who is answered already comes first, then the oldest.
    of: HashMap<Source, BTreeSet<(Claim, Ticket)>>,
    /// The addresses by how many they have, and of those with as many by which of them goes first.
    by_size: BTreeSet<Rank>,
}

/// How many connections an address has, and which of them is the first to go: of addresses with as many the oldest goes,
/// whatever the addresses are.
type Rank = (usize, Reverse<Option<(Claim, Ticket)>>, Source);

fn rank(tickets: &BTreeSet<(Claim, Ticket)>, source: Source) -> Rank {
    (tickets.len(), Reverse(tickets.first().copied()), source)
}

impl Group {
    fn of_source(&self, source: Source) -> usize {
        self.of.get(&source).map_or(0, BTreeSet::len)
    }

    /// The connection of that address with the least claim.
    fn first_of(&self, source: Source) -> Option<Ticket> {
        self.of.get(&source)?.first().map(|(_, ticket)| *ticket)
    }

    fn first_of_largest(&self) -> Option<Ticket> {
        let (_, _, largest) = self.by_size.last().copied()?;
        self.first_of(largest)
    }

    fn list(&mut self, source: Source, claim: Claim, ticket: Ticket) {
        let tickets = self.of.entry(source).or_default();
        let _ = self.by_size.remove(&rank(tickets, source));
        self.len += usize::from(tickets.insert((claim, ticket)));
        let _ = self.by_size.insert(rank(tickets, source));
    }

    fn unlist(&mut self, source: Source, claim: Claim, ticket: Ticket) {
        let Some(tickets) = self.of.get_mut(&source) else { return };
        let _ = self.by_size.remove(&rank(tickets, source));
        self.len -= usize::from(tickets.remove(&(claim, ticket)));
        if tickets.is_empty() {
            let _ = self.of.remove(&source);
        } else {
            let _ = self.by_size.insert(rank(tickets, source));
        }
    }
}

/// Addresses from which agents came lately. Beyond a number the oldest of the user with the most is forgotten: nobody's
/// agents put out the addresses of others'.
#[derive(Debug, Default)]
struct Remembered {
    of: HashMap<UserId, VecDeque<Source>>,
    /// The users by how many they have.
    by_size: BTreeSet<(usize, UserId)>,
    /// How often each address stands in a line.
    known: HashMap<Source, u32>,
    len: usize,
}

impl Remembered {
    fn contains(&self, source: &Source) -> bool {
        self.known.contains_key(source)
    }

    fn add(&mut self, user: &UserId, source: Source, most: usize) {
        let line = self.of.entry(user.clone()).or_default();
        if line.back() == Some(&source) {
            return;
        }
        line.push_back(source);
        let size = line.len();
        self.sized(user, size - 1, size);
        self.len += 1;
        *self.known.entry(source).or_insert(0) += 1;
        if self.len > most
            && let Some((_, user)) = self.by_size.last().cloned()
        {
            self.forget_oldest(&user);
        }
    }

    fn forget_oldest(&mut self, user: &UserId) {
        let Some(line) = self.of.get_mut(user) else { return };
        let Some(oldest) = line.pop_front() else { return };
        let size = line.len();
        if size == 0 {
            let _ = self.of.remove(user);
        }
        self.sized(user, size + 1, size);
        self.len -= 1;
        if let Some(times) = self.known.get_mut(&oldest) {
            *times -= 1;
            if *times == 0 {
                let _ = self.known.remove(&oldest);
            }
        }
    }

    fn sized(&mut self, user: &UserId, before: usize, now: usize) {
        let _ = self.by_size.remove(&(before, user.clone()));
        if now > 0 {
            let _ = self.by_size.insert((now, user.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RoomLimits = RoomLimits { all: 16, of_address: 8, reserved: 2, remembered: 3 };

    type Entered = Vec<(Ticket, CancellationToken)>;

    fn enter(room: &mut WaitingRoom, from: u8, times: usize) -> Entered {
        let one = |_| {
            let end = CancellationToken::new();
            (room.enter(at(from), end.clone()), end)
        };
        (0..times).map(one).collect()
    }

    fn ended(entered: &Entered) -> Vec<usize> {
        let is_ended =
            |(n, (_, end)): (usize, &(Ticket, CancellationToken))| end.is_cancelled().then_some(n);
        entered.iter().enumerate().filter_map(is_ended).collect()
    }

    fn user(name: &str) -> UserId {
        UserId::new(name)
    }

    fn at(last: u8) -> Source {
        Source::of(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn an_address_with_its_share_takes_the_slots_of_its_own_oldest() {
        let mut room = WaitingRoom::new(LIMITS);
        let first = enter(&mut room, 1, 8);
        let other = enter(&mut room, 2, 1);
        let more = enter(&mut room, 1, 2);
        assert_eq!(ended(&first), [0, 1]);
        assert!(ended(&other).is_empty() && ended(&more).is_empty());
    }

    #[test]
    fn what_was_answered_without_a_token_makes_room_first() {
        let mut room = WaitingRoom::new(LIMITS);
        let all = enter(&mut room, 1, 8);
        room.answered(all[5].0);
        let _more = enter(&mut room, 1, 1);
        assert_eq!(ended(&all), [5]);
    }

    #[test]
    fn a_full_room_takes_from_the_address_with_the_most_and_keeps_a_reserve_for_agents() {
        let mut room = WaitingRoom::new(LIMITS);
        let most = enter(&mut room, 1, 8);
        let fewer = enter(&mut room, 2, 6);
        let _newcomer = enter(&mut room, 3, 1);
        assert_eq!((ended(&most), ended(&fewer)), (vec![0], vec![]), "14 of 16, and two are kept");
        room.remember(&user("u"), at(4));
        let agents = enter(&mut room, 4, 2);
        assert_eq!(ended(&most), [0], "16 of 16");
        let _more = enter(&mut room, 4, 1);
        assert_eq!((ended(&most), ended(&agents)), (vec![0, 1], vec![]));
    }

    /// Attackers with an address for each connection, and a fleet behind one.
    #[test]
    fn a_fleet_of_one_address_does_not_give_way_to_thousands_of_addresses() {
        let mut room = WaitingRoom::new(LIMITS);
        room.remember(&user("u"), at(250));
        let many = |room: &mut WaitingRoom, from: u8, to: u8| -> Entered {
            (from..=to).flat_map(|n| enter(room, n, 1)).collect()
        };
        let attackers = many(&mut room, 1, 20);
        assert_eq!(ended(&attackers).len(), 6, "14 of 16 are for anybody");
        let fleet = enter(&mut room, 250, 8);
        assert_eq!(ended(&attackers).len(), 12);
        let more = many(&mut room, 21, 60);
        assert!(ended(&fleet).is_empty());
        assert_eq!(ended(&more).len(), 32, "eight have room");
        // And the other way round: a fleet does not keep out newcomers.
        let rest = enter(&mut room, 250, 100);
        assert_eq!(ended(&more).len(), 32, "half of it is theirs");
        assert_eq!(ended(&fleet).len() + ended(&rest).len(), 100);
    }

    #[test]
    fn of_addresses_with_as_many_the_oldest_makes_room_whatever_the_addresses_are() {
        let mut room = WaitingRoom::new(LIMITS);
        // The oldest of them have the greatest addresses, and then the smallest.
        for order in [(100..114).rev().collect::<Vec<u8>>(), (150..164).collect()] {
            let all: Entered = order.iter().flat_map(|n| enter(&mut room, *n, 1)).collect();
            let newcomers = [enter(&mut room, 250, 1), enter(&mut room, 1, 1)];
            assert_eq!(ended(&all), [0, 1]);
            assert!(newcomers.iter().all(|newcomer| ended(newcomer).is_empty()));
            all.iter().chain(newcomers.iter().flatten()).for_each(|(one, _)| room.leave(*one));
        }
    }

    #[test]
    fn whoever_leaves_or_moves_is_counted_where_it_is() {
        let mut room = WaitingRoom::new(LIMITS);
        let all = enter(&mut room, 1, 8);
        room.leave(all[0].0);
        room.leave(all[0].0);
        room.moved(all[1].0, at(2));
        let more = enter(&mut room, 1, 2);
        assert!(ended(&all).is_empty());
        let _more = enter(&mut room, 1, 1);
        assert_eq!((ended(&all), ended(&more)), (vec![2], vec![]));
        let sizes: usize = room.of_others.by_size.iter().map(|(size, ..)| size).sum();
        assert_eq!((sizes, room.of_others.len, room.waiting.len()), (9, 9, 9));
    }

    #[test]
    fn the_oldest_address_of_an_agent_is_forgotten() {
        let mut room = WaitingRoom::new(LIMITS);
        let known = |room: &WaitingRoom| {
            (1..=4).filter(|last| room.agents.contains(&at(*last))).collect::<Vec<_>>()
        };
        for last in [1, 1, 2, 1, 3] {
            room.remember(&user("u"), at(last));
        }
        assert_eq!(known(&room), [1, 2, 3]);
        room.remember(&user("u"), at(4));
        assert_eq!(known(&room), [1, 3, 4]);
    }

    /// However many addresses the agents of one user come from.
    #[test]
    fn no_user_puts_out_the_addresses_of_another() {
        let limits = RoomLimits { remembered: 8, ..LIMITS };
        let mut room = WaitingRoom::new(limits);
        room.remember(&user("quiet"), at(1));
        (2..=200).for_each(|last| room.remember(&user("busy"), at(last)));
        assert!(room.agents.contains(&at(1)));
        assert!(room.agents.contains(&at(200)) && !room.agents.contains(&at(190)));
        // As many as both have is what each keeps.
        (201..=220).for_each(|last| room.remember(&user("quiet"), at(last)));
        let of = |from, to| (from..=to).filter(|n| room.agents.contains(&at(*n))).count();
        assert_eq!((of(2, 200), of(201, 220), room.agents.len), (4, 4, 8));
        assert_eq!(room.agents.known.len(), 8);
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
