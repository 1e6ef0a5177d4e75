//! A connection from its first byte to its last: in the waiting room until a token is good, then in the share
//! of that token's user.

use super::waiting_room::{RoomLimits, Source, Ticket, WaitingRoom};
use crate::bounds::{LogLimit, Share, Shares, Turn, TurnLimits, Turns};
use crate::hub::Joining;
use crate::store::Asker;
use onsembl_protocol::id::UserId;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Of the descriptors that users' connections may take, one user gets this many times what is free: alone
/// four fifths of them.
const WEIGHT: usize = 4;
/// Descriptors that connections never take: the database, the log, the listeners.
const KEPT_BACK: u64 = 64;
/// Requests of one address that are worked for at a time before their tokens are checked, and of one user
/// afterwards. The others wait in a queue of their own, so that no other request waits behind them.
pub(crate) const AT_WORK_WAITING: usize = 4;
pub(crate) const AT_WORK_KNOWN: usize = 16;
/// Connections whose token is not checked yet, with agents whose sessions are being opened, at which the next ones are
/// left to the operating system for a moment: what is accepted is served within half a second on a small machine, and
/// the queue of the system keeps the others.
const BUSY: usize = 256;
/// How often it is looked how many of them left, for whom as many are accepted; and for how long if none does. Then some
/// are still accepted: those that are there may be of peers that say nothing.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const MOMENT: Duration = Duration::from_millis(20);
/// How long the other side may take nothing of an answer before its token is good, and afterwards.
const STALLED_WAITING: Duration = Duration::from_secs(10);
const STALLED_KNOWN: Duration = Duration::from_secs(60);

/// All connections of a server.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    room: Mutex<WaitingRoom>,
    users: Shares<UserId>,
    /// Whose requests are worked for.
    turns_waiting: Turns<Source>,
    turns_known: Turns<UserId>,
    refusals: LogLimit<UserId, ()>,
    joining: Joining,
}

impl Connections {
    /// For a process that may have this many descriptors, with at most this many connections of users.
    pub(crate) fn new(descriptors: u64, most: usize, joining: Joining) -> Self {
        let limits = RoomLimits::within(descriptors);
        let waiting = u64::try_from(limits.all).unwrap_or(u64::MAX);
        let known = descriptors.saturating_sub(waiting).saturating_sub(KEPT_BACK).max(16);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(most.max(1));
        Self(Arc::new(Shared {
            room: Mutex::new(WaitingRoom::new(limits)),
            users: Shares::new(known, WEIGHT),
            turns_waiting: Turns::new(TurnLimits::each(AT_WORK_WAITING)),
            turns_known: Turns::new(TurnLimits::each(AT_WORK_KNOWN)),
            refusals: LogLimit::new(),
            joining,
        }))
    }

    /// Whether those that were accepted lately keep the server busy.
    pub(super) fn are_busy(&self) -> bool {
        self.0.room().len().saturating_add(self.0.joining.get()) >= BUSY
    }

    /// Waits until some of them left, and says how many; `None` if none did for a moment.
    pub(super) async fn calm(&self) -> Option<u64> {
        let before = self.0.room().left();
        let some_left = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let left = self.0.room().left().saturating_sub(before);
                if left > 0 || !self.are_busy() {
                    return left.max(1);
                }
            }
        };
        tokio::time::timeout(MOMENT, some_left).await.ok()
    }

    /// An agent of this user came from there lately: before a restart, after which it comes back.
    pub(crate) fn remember_agent(&self, user: &UserId, address: IpAddr) {
        self.0.room().remember(user, Source::of(address));
    }

    /// A connection comes.
    pub(super) fn enter(&self, source: Source, end: CancellationToken) -> Connection {
        let ticket = self.0.room().enter(source, end);
        self.connection(Standing::Waiting {
            ticket: Some(ticket),
            source: Some(source),
            turn: None,
        })
    }

    /// A connection that came through the listener of another service, which bounds those that wait.
    pub(super) fn of_another_listener(&self) -> Connection {
        self.connection(Standing::Waiting { ticket: None, source: None, turn: None })
    }

    fn connection(&self, standing: Standing) -> Connection {
        let shared = Arc::clone(&self.0);
        Connection(Arc::new(One { shared, standing: Mutex::new(standing) }))
    }
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, WaitingRoom> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection. Its socket and the requests on it hold it; its slot is free when the last is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<One>);

#[derive(Debug)]
struct One {
    shared: Arc<Shared>,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
enum Standing {
    /// No token was good yet.
    Waiting { ticket: Option<Ticket>, source: Option<Source>, turn: Option<Turn<Source>> },
    /// Of this user. A later token of another one changes nothing: a proxy may carry several.
    Known { share: Share<UserId>, source: Option<Source>, turn: Option<Turn<UserId>> },
}

/// The user has its share of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    /// How many connections users may have together.
    pub(super) of: usize,
    /// Refusals that were not logged since the last one that is; `None` if this one is not to be.
    pub(super) to_log: Option<u64>,
}

impl Connection {
    /// A token of this user is good: the connection leaves the waiting room for the user's share.
    pub(super) fn belongs_to(&self, user: &UserId) -> Result<(), TooMany> {
        let shared = &self.0.shared;
        let mut standing = self.standing();
        let Standing::Waiting { ticket, source, .. } = &*standing else { return Ok(()) };
        let Some(share) = shared.users.take(user) else {
            let to_log = shared.refusals.allow(user.clone(), ());
            return Err(TooMany { of: shared.users.capacity(), to_log });
        };
        let (ticket, source) = (*ticket, *source);
        *standing = Standing::Known { share, source, turn: None };
        if let Some(ticket) = ticket {
            shared.room().leave(ticket);
        }
        Ok(())
    }

    /// A request comes by it. Waits until it is its address's turn; of a user's connection nothing is known yet
    /// but that its last token was good, and [`admitted`](Self::admitted) waits. A trusted proxy that names nobody has no
    /// share (behind it may be anybody), so that what comes through it is not held back by what else does.
    pub(super) async fn asked(&self) {
        let of = match &*self.standing() {
            Standing::Waiting { source: source @ Some(Source::Address(_)), turn: None, .. } => {
                *source
            }
            Standing::Waiting { source: None | Some(Source::Proxy(_)), .. }
            | Standing::Waiting { turn: Some(_), .. }
            | Standing::Known { .. } => None,
        };
        let Some(source) = of else { return };
        let taken = self.0.shared.turns_waiting.take_one(&source).await;
        if let Standing::Waiting { turn, .. } = &mut *self.standing() {
            *turn = taken;
        }
    }

    /// The token of its request is good. Waits until it is its user's turn.
    pub(super) async fn admitted(&self, user: &UserId) {
        let is_known =
            matches!(&*self.standing(), Standing::Known { turn: None, source: Some(_), .. });
        if is_known {
            let taken = self.0.shared.turns_known.take_one(user).await;
            if let Standing::Known { turn, .. } = &mut *self.standing() {
                *turn = taken;
            }
        }
    }

    /// Its request was answered; without a good token, it has had what it came for.
    pub(super) fn answered(&self) {
        match &mut *self.standing() {
            Standing::Waiting { ticket, turn, .. } => {
                *turn = None;
                if let Some(ticket) = ticket {
                    self.0.shared.room().answered(*ticket);
                }
            }
            Standing::Known { turn, .. } => *turn = None,
        }
    }

    /// A trusted proxy says that it connects for this address.
    pub(super) fn comes_from(&self, address: IpAddr) {
        let to = Source::of(address);
        if let Standing::Waiting { ticket: Some(ticket), source, .. } = &mut *self.standing() {
            *source = Some(to);
            self.0.shared.room().moved(*ticket, to);
        }
    }

    /// For whom the store looks up what is shown over it; `None` if it came through the listener of another service,
    /// and no token was good yet.
    pub(crate) fn asker(&self) -> Option<Asker> {
        match &*self.standing() {
            Standing::Known { share, .. } => Some(Asker::User(share.holder().clone())),
            Standing::Waiting { source: None, .. } => None,
            Standing::Waiting { source: Some(Source::Address(at) | Source::Proxy(at)), .. } => {
                Some(Asker::Address(Some(*at)))
            }
        }
    }

    /// An agent comes in by it.
    pub(super) fn is_an_agents(&self) {
        if let Standing::Known { share, source: Some(source), .. } = &*self.standing() {
            self.0.shared.room().remember(share.holder(), *source);
        }
    }

    /// How long the other side may take nothing of what is written to it.
    pub(super) fn patience(&self) -> Duration {
        match &*self.standing() {
            Standing::Waiting { .. } => STALLED_WAITING,
            Standing::Known { .. } => STALLED_KNOWN,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let standing = self.standing.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Standing::Waiting { ticket: Some(ticket), .. } = standing {
            self.shared.room().leave(*ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn connections() -> Connections {
        Connections::new(4096, 1024, Joining::default())
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Ten times as many as one address has turns ask at once: how many of them are worked for.
    fn worked_for(source: Source) -> usize {
        let connections = connections();
        let all: Vec<_> = (0..10 * AT_WORK_WAITING)
            .map(|_| connections.enter(source, CancellationToken::new()))
            .collect();
        all.iter().filter(|connection| connection.asked().now_or_never().is_some()).count()
    }

    #[test]
    fn an_address_has_a_few_turns_and_a_proxy_that_names_nobody_as_many_as_it_asks_for() {
        assert_eq!(worked_for(Source::of(at("192.0.2.1"))), AT_WORK_WAITING);
        assert_eq!(worked_for(Source::Proxy(at("192.0.2.1"))), 10 * AT_WORK_WAITING);
    }

    /// When the server is back, a fleet behind one address returns at once.
    #[test]
    fn an_address_from_which_agents_came_before_the_start_has_the_share_of_one() {
        let ended_of_800_from = |address| {
            let connections = connections();
            connections.remember_agent(&UserId::new("ann"), at("192.0.2.7"));
            let ends: Vec<_> = (0..800).map(|_| CancellationToken::new()).collect();
            let enter =
                |end: &CancellationToken| connections.enter(Source::of(at(address)), end.clone());
            let all: Vec<_> = ends.iter().map(enter).collect();
            let ended = ends.iter().filter(|end| end.is_cancelled()).count();
            drop(all);
            ended
        };
        // Of 1,024 places an address has 256, and one of agents all that are not reserved.
        assert_eq!(ended_of_800_from("192.0.2.7"), 0);
        assert_eq!(ended_of_800_from("192.0.2.8"), 800 - 256);
    }

    /// The next ones stay in the queue of the operating system meanwhile.
    #[tokio::test(start_paused = true)]
    async fn those_that_are_not_known_yet_and_agents_that_join_keep_the_server_busy_for_a_moment() {
        let joining = Joining::default();
        let connections = Connections::new(16_384, 1024, joining.clone());
        let enter = |n: usize| {
            let source = Source::of(at(&format!("192.0.2.{}", n % 64)));
            connections.enter(source, CancellationToken::new())
        };
        let mut waiting: Vec<_> = (0..BUSY - 1).map(enter).collect();
        assert!(!connections.are_busy());
        joining.set(1);
        assert!(connections.are_busy());
        let begin = tokio::time::Instant::now();
        assert_eq!(connections.calm().await, None);
        assert_eq!(begin.elapsed(), MOMENT, "those that say nothing hold up others no longer");
        let known = waiting.pop().unwrap();
        let knows = async {
            tokio::time::sleep(2 * LOOK_EVERY).await;
            known.belongs_to(&UserId::new("ann")).unwrap();
        };
        let begin = tokio::time::Instant::now();
        let (left, ()) = tokio::join!(connections.calm(), knows);
        assert_eq!(left, Some(1), "for which one is accepted");
        assert!(begin.elapsed() < MOMENT, "{:?}", begin.elapsed());
        assert!(!connections.are_busy());
    }

    /// Whatever token is shown over it.
    #[test]
    fn what_is_looked_up_for_a_connection_stands_in_the_line_of_its_user_or_its_address() {
        let (connections, user) = (connections(), UserId::new("ann"));
        let of = |source| connections.enter(source, CancellationToken::new());
        let connection = of(Source::of(at("2001:db8::1")));
        assert_eq!(connection.asker(), of(Source::of(at("2001:db8::2"))).asker(), "one network");
        assert_eq!(connection.asker(), Some(Asker::Address(Some(at("2001:db8::")))));
        connection.belongs_to(&user).unwrap();
        assert_eq!(connection.asker(), Some(Asker::User(user)));
        assert_eq!(connections.of_another_listener().asker(), None);
    }
}
