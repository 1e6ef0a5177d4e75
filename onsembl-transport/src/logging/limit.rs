//! How often a line may come: for one peer, for all peers, and for the whole process.

use super::budget::{Bucket, Budgets};
use onsembl_protocol::shared_pool::SharedPool;
use onsembl_protocol::shown::Shown;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, subscriber::Interest, warn};
use tracing_subscriber::layer::{Context, Filter};

/// Peers that are counted apart at all places together, each as often as there are places where it was heard of. They
/// choose how many they are, so beyond this the oldest of whoever is counted at most places makes room.
const MOST_PEERS: usize = 8192;
/// How often those that may do what they like again are looked for while there is no room: it takes a step for each.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Characters of a line that its count is shown with.
const SAMPLE: usize = 160;
/// What this module logs itself is not counted.
const OWN: &str = "onsembl_transport::log";

/// Lets each line come a limited number of times, and counts the rest: a filter for a layer of `tracing-subscriber`.
///
/// Lines are the same if they come from one place in the program. Whose they are is what their fields say: the
/// `user`; else the address of the `peer`; else the `agent`; else the `link`. [`report`](Self::report) writes how
/// many were left out. [`begin`](super::begin) does all of that; a program with a subscriber of its own adds
/// `layer.with_filter(limit.clone())` and calls `report` every ten seconds.
///
/// The budgets are in DEFAULTS.md.
#[derive(Clone, Debug, Default)]
pub struct LineLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: fn() -> Instant,
    seed: RandomState,
    books: Mutex<Books>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { clock: Instant::now, seed: RandomState::new(), books: Mutex::default() }
    }
}

#[derive(Debug)]
struct Books {
    /// Of a peer, at a place.
    peers: SharedPool<u64, u64, (Bucket, &'static Budgets)>,
    swept: Option<Instant>,
    places: HashMap<Place, Line>,
    levels: HashMap<Level, Bucket>,
}

impl Default for Books {
    fn default() -> Self {
        let peers = SharedPool::new(MOST_PEERS);
        Self { peers, swept: None, places: HashMap::new(), levels: HashMap::new() }
    }
}

type Place = tracing::callsite::Identifier;

/// A place in the program that logs.
#[derive(Debug)]
struct Line {
    bucket: Bucket,
    left_out: u64,
    sample: String,
}

impl LineLimit {
    /// Nothing was logged yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes how many lines of each place were left out since it was last called.
    pub fn report(&self, now: Instant) {
        let mut left_out = Vec::new();
        let mut books = self.books();
        for line in books.places.values_mut() {
            if line.left_out > 0 {
                left_out
                    .push((std::mem::take(&mut line.left_out), std::mem::take(&mut line.sample)));
            }
        }
        books.make_room(now);
        drop(books);
        for (more, like) in left_out {
            warn!(target: OWN, more, %like, "more lines like this were left out");
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allows(&self, event: &Event<'_>, now: Instant) -> bool {
        let meta = event.metadata();
        if meta.target() == OWN {
            return true;
        }
        let mut whose = Whose::default();
        event.record(&mut whose);
        let place = meta.callsite();
        let peer = whose.0.map(|(_, name)| (name, self.0.seed.hash_one((&place, name))));
        let allowed = self.books().allow(place.clone(), peer, meta.level(), now);
        if allowed == Allowed::FirstLeftOut {
            let mut said = Said::default();
            event.record(&mut said);
            if let Some(line) = self.books().places.get_mut(&place) {
                line.sample = said.0;
            }
        }
        allowed == Allowed::Yes
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    Yes,
    /// No, and it is the first since the last report.
    FirstLeftOut,
    No,
}

impl Books {
    /// A peer is who it is, and where it was heard of.
    fn allow(
        &mut self,
        place: Place,
        peer: Option<(u64, u64)>,
        level: &Level,
        now: Instant,
    ) -> Allowed {
        let budgets = Budgets::of(level);
        if let Some((whose, at)) = peer.filter(|(whose, at)| !self.peers.contains(whose, at)) {
            self.make_room_in_time(now);
            let fresh = (Bucket::full(budgets.peer, now), budgets);
            let _ = self.peers.insert(whose, at, fresh);
        }
        let of_peer = peer.and_then(|(whose, at)| self.peers.get_mut(&whose, &at));
        let of_peer = of_peer.map(|(bucket, _)| bucket);
        let line = self.places.entry(place).or_insert_with(|| Line {
            bucket: Bucket::full(budgets.place, now),
            left_out: 0,
            sample: String::new(),
        });
        let process =
            self.levels.entry(*level).or_insert_with(|| Bucket::full(budgets.process, now));
        let mut buckets = [
            of_peer.map(|bucket| (bucket, budgets.peer)),
            Some((&mut line.bucket, budgets.place)),
            Some((process, budgets.process)),
        ];
        // Of none if not of all: what one of them refuses costs the others nothing.
        if buckets.iter_mut().flatten().all(|(bucket, budget)| bucket.has_one(*budget, now)) {
            buckets.into_iter().flatten().for_each(|(bucket, _)| bucket.take_one());
            return Allowed::Yes;
        }
        line.left_out += 1;
        if line.left_out == 1 { Allowed::FirstLeftOut } else { Allowed::No }
    }

    fn make_room_in_time(&mut self, now: Instant) {
        let is_due = |at| now.saturating_duration_since(at) >= SWEEP_EVERY;
        if self.peers.free() == 0 && self.swept.is_none_or(is_due) {
            self.make_room(now);
        }
    }

    /// Forgets those that may do what they like again.
    fn make_room(&mut self, now: Instant) {
        self.peers.retain(|_, _, (bucket, budgets)| !bucket.is_full(budgets.peer, now));
        self.swept = Some(now);
    }
}

impl<S: Subscriber> Filter<S> for LineLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// Not `always`, although it is: `enabled` is to be called before `event_enabled`. A layer's filter that is
    /// asked by the latter alone, and refuses, leaves its refusal behind for the next event of this thread.
    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.allows(event, (self.0.clock)())
    }
}

/// Whose line it is, with the rank of the field that says so.
#[derive(Debug, Default)]
struct Whose(Option<(usize, u64)>);

/// The fields that say so: the first of them that is there.
const FIELDS: [&str; 4] = ["user", "peer", "agent", "link"];

impl Visit for Whose {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let rank = FIELDS.iter().position(|name| *name == field.name());
        let Some(rank) = rank.filter(|rank| self.0.is_none_or(|(before, _)| *rank < before)) else {
            return;
        };
        let text = String::from(Shown::new(format_args!("{value:?}")).within(256));
        let name = match (field.name(), address(&text)) {
            ("peer", Some(address)) => address,
            _ => text,
        };
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(name.as_bytes());
        self.0 = Some((rank, hasher.finish()));
    }
}

/// The address of a peer without its port; of IPv6 the network, of which a peer has all addresses.
fn address(peer: &str) -> Option<String> {
    let peer = peer.trim_matches('"');
    let ip = peer.parse::<SocketAddr>().map(|a| a.ip()).or_else(|_| peer.parse()).ok()?;
    Some(match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("{:x}", ip.to_bits() >> 64),
    })
}

/// What a line says, without its fields.
#[derive(Debug, Default)]
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = Shown::new(format_args!("{value:?}")).within(SAMPLE).into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budgets;
    use super::*;
    use std::sync::OnceLock;
    use std::time::Duration;
    use tracing_subscriber::layer::{Layer, SubscriberExt as _};

    /// Counts what comes through, and keeps what was said of the rest.
    #[derive(Clone, Default)]
    struct Count(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            struct All(String);
            impl Visit for All {
                fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                    self.0.push_str(&format!("{field}={value:?} "));
                }
            }
            let mut all = All(String::new());
            event.record(&mut all);
            self.0.lock().unwrap().push(all.0);
        }
    }

    /// Nothing is refilled, however long a test takes.
    fn stopped_clock() -> Instant {
        static AT: OnceLock<Instant> = OnceLock::new();
        *AT.get_or_init(Instant::now)
    }

    fn with_limit(log: impl FnOnce(&LineLimit)) -> Vec<String> {
        let inner = Inner { clock: stopped_clock, ..Inner::default() };
        let (limit, count) = (LineLimit(Arc::new(inner)), Count::default());
        let layer = count.clone().with_filter(limit.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            log(&limit);
        });
        count.0.lock().unwrap().clone()
    }

    const PEER: usize = 20;
    const PLACE: usize = 200;

    #[test]
    fn these_are_the_budgets_that_the_tests_speak_of() {
        let budgets = Budgets::of(&Level::WARN);
        assert_eq!((budgets.peer.burst as usize, budgets.place.burst as usize), (PEER, PLACE));
    }

    #[test]
    fn a_peer_that_repeats_a_line_gets_a_burst_and_a_count() {
        let lines = with_limit(|limit| {
            for n in 0..5000 {
                warn!(user = "ann", n, "it fails again");
            }
            warn!(user = "ben", "something else");
            limit.report(Instant::now());
            limit.report(Instant::now());
        });
        assert_eq!(lines.len(), PEER + 1 + 1, "{lines:?}");
        let report = lines.last().unwrap();
        assert!(report.contains("more=4980") && report.contains("it fails again"), "{report}");
    }

    #[test]
    fn one_peer_leaves_the_line_to_others_and_all_of_them_have_a_bound() {
        let lines = with_limit(|_| {
            for n in 0..100_000 {
                let user = if n < 1000 { 0 } else { n };
                warn!(user, "it fails");
            }
        });
        assert_eq!(lines.len(), PLACE);
    }

    #[test]
    fn a_peer_is_its_user_before_its_address_and_has_one_however_many_ports_it_has() {
        let lines = with_limit(|_| {
            for n in 0..1000_u16 {
                let peer = SocketAddr::from(([203, 0, 113, 9], n));
                warn!(%peer, link = n, "it fails");
                warn!(%peer, user = "ann", agent = n, "it fails here");
            }
            let peer = "203.0.113.10:1";
            warn!(%peer, "it fails");
        });
        assert_eq!(lines.len(), 2 * PEER + 1, "the last is of another place and peer");
        assert_eq!(address("[2001:db8::1]:7"), address("[2001:db8::ffff]:8"));
        assert_eq!(address("a proxy"), None);
    }

    #[test]
    fn what_was_used_up_comes_back_and_peers_are_forgotten() {
        let limit = LineLimit::new();
        let now = Instant::now();
        let mut books = limit.books();
        let place = place();
        let allowed = |books: &mut Books, peer: u64, now| {
            books.allow(place.clone(), Some((peer, peer)), &Level::WARN, now) == Allowed::Yes
        };
        assert_eq!((0..100).filter(|_| allowed(&mut books, 1, now)).count(), PEER);
        let later = now + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| allowed(&mut books, 1, later)).count(), 2);
        for peer in 2..3 * MOST_PEERS as u64 {
            let _ = allowed(&mut books, peer, later);
        }
        assert!(books.peers.len() <= MOST_PEERS);
        books.make_room(later + Duration::from_secs(1000));
        assert!(books.peers.is_empty());
    }

    #[test]
    fn a_peer_that_is_heard_of_everywhere_leaves_the_others_counted() {
        let limit = LineLimit::new();
        let now = Instant::now();
        let mut books = limit.books();
        let place = place();
        let mut count = |peer: u64, at: u64| {
            (0..2 * PEER)
                .filter(|_| {
                    let peer = Some((peer, at));
                    books.allow(place.clone(), peer, &Level::WARN, now) == Allowed::Yes
                })
                .count()
        };
        assert_eq!(count(1, 1), PEER);
        for at in 0..2 * MOST_PEERS as u64 {
            let _ = count(2, at);
        }
        assert!(books.peers.contains(&1, &1), "it is not forgotten, and gets no new budget");
    }

    fn place() -> Place {
        struct Find(Mutex<Option<Place>>);
        impl<S: Subscriber> Layer<S> for &'static Find {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                *self.0.lock().unwrap() = Some(event.metadata().callsite());
            }
        }
        static FIND: Find = Find(Mutex::new(None));
        let registry = tracing_subscriber::registry().with(&FIND);
        tracing::subscriber::with_default(registry, || warn!("here"));
        FIND.0.lock().unwrap().clone().unwrap()
    }
}
