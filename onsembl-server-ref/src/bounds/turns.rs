//! Turns at something that many share: holders take slots round robin, each from a line of its own, so that what
//! one of them asks for costs another at most what is in progress already.
//!
//! Where slots are few, a holder that has something may have more as long as it then has no more than `weight`
//! times what is left free. So something is free for a newcomer at nearly any time, and a holder that is alone is
//! hardly held back. In front of a queue that all share, a limited number of each holder are in it at a time
//! ([`TurnLimits::each`]), and no holder waits behind the whole queue of another. Within one holder the order of
//! asking is kept.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::oneshot;

/// Places that many share. See the [module](self).
#[derive(Debug)]
pub(crate) struct Turns<K: Eq + Hash + Clone>(Arc<Shared<K>>);

/// How many slots there are, and how much one holder may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnLimits {
    pub(crate) slots: usize,
    /// A holder has at most this many of them, whatever is free.
    pub(crate) each: usize,
    /// A holder that has something has at most this multiple of what is left free.
    pub(crate) weight: usize,
    /// Requests of one holder that may wait.
    pub(crate) waiting: usize,
    /// Bytes that the waiting requests of one holder may hold.
    pub(crate) waiting_bytes: usize,
}

impl TurnLimits {
    /// This many slots for each holder, whatever the others have. All that it wants besides waits.
    pub(crate) const fn each(each: usize) -> Self {
        let all = usize::MAX;
        Self { slots: all, each, weight: all, waiting: all, waiting_bytes: all }
    }
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoTurn {
    /// Too many requests of this holder wait.
    #[error("{limit} requests are already waiting")]
    TooMany { limit: usize },
    /// What waits of this holder holds too many bytes.
    #[error("the waiting requests already hold {limit} bytes")]
    TooLarge { limit: usize },
    /// No more turns are given.
    #[error("closed")]
    Closed,
}

/// Some slots, given back when this is dropped.
#[derive(Debug)]
#[must_use = "the slots are given back when this is dropped"]
pub(crate) struct Turn<K: Eq + Hash + Clone> {
    of: Arc<Shared<K>>,
    holder: K,
    slots: usize,
}

#[derive(Debug)]
struct Shared<K: Eq + Hash + Clone> {
    limits: TurnLimits,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    taken: usize,
    holders: HashMap<K, Holder>,
    /// Holders with something that waits and that may have more, the next one first.
    order: VecDeque<K>,
    next: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Holder {
    taken: usize,
    waiting: VecDeque<Waiter>,
    bytes: usize,
    standing: Standing,
}

/// Whether a holder with something that waits is in the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    InOrder,
    /// It has what one may have, and comes back when it gives something back.
    Full,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    slots: usize,
    bytes: usize,
    go: oneshot::Sender<()>,
}

/// A request that waits, taken back when its future is dropped.
struct Waiting<'a, K: Eq + Hash + Clone> {
    of: &'a Arc<Shared<K>>,
    holder: &'a K,
    number: u64,
    slots: usize,
    go: oneshot::Receiver<()>,
    over: bool,
}

impl<K: Eq + Hash + Clone> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash + Clone> Turns<K> {
    pub(crate) fn new(limits: TurnLimits) -> Self {
        let state = State {
            taken: 0,
            holders: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            closed: false,
        };
        Self(Arc::new(Shared { limits, state: Mutex::new(state) }))
    }

    /// Waits for this many slots; more than there are count as all of them. `bytes` is what the request holds
    /// while it waits.
    ///
    /// # Errors
    /// Too much of this holder waits already, or it is closed.
    pub(crate) async fn take(
        &self,
        holder: &K,
        slots: usize,
        bytes: usize,
    ) -> Result<Turn<K>, NoTurn> {
        let slots = slots.clamp(1, self.0.limits.slots.min(self.0.limits.each).max(1));
        if self.0.takes_at_once(holder, slots) {
            return Ok(Turn { of: Arc::clone(&self.0), holder: holder.clone(), slots });
        }
        let mut waiting = self.0.line_up(holder, slots, bytes)?;
        self.0.serve();
        let went = (&mut waiting.go).await;
        waiting.over = true;
        match went {
            Ok(()) => Ok(Turn { of: Arc::clone(&self.0), holder: holder.clone(), slots }),
            Err(_) => Err(NoTurn::Closed),
        }
    }

    /// Waits for one slot where none is refused, as within [`TurnLimits::each`]. `None` once it is
    /// closed.
    pub(crate) async fn take_one(&self, holder: &K) -> Option<Turn<K>> {
        self.take(holder, 1, 0).await.ok()
    }

    /// Ends all waits. Turns that were given stay good.
    pub(crate) fn close(&self) {
        let mut state = self.0.state();
        state.closed = true;
        state.order.clear();
        for holder in state.holders.values_mut() {
            holder.waiting.clear();
            holder.bytes = 0;
            holder.standing = Standing::InOrder;
        }
        state.holders.retain(|_, holder| holder.taken > 0);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.state().closed
    }
}

impl<K: Eq + Hash + Clone> Shared<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        // Nothing in a critical section can be left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes slots that are free while nobody is in the order for any. Whether there were such.
    fn takes_at_once(&self, holder: &K, slots: usize) -> bool {
        let mut state = self.state();
        let State { taken, holders, order, closed, .. } = &mut *state;
        let left = self.limits.slots.saturating_sub(*taken).checked_sub(slots);
        let (Some(left), false, true) = (left, *closed, order.is_empty()) else { return false };
        match holders.get_mut(holder) {
            None => {
                let own = Holder { taken: slots, ..Holder::default() };
                let _ = holders.insert(holder.clone(), own);
            }
            Some(own) => {
                let would_have = own.taken + slots;
                let is_too_much = would_have > self.limits.each
                    || own.taken > 0 && would_have > self.limits.weight.saturating_mul(left);
                if is_too_much || !own.waiting.is_empty() {
                    return false;
                }
                own.taken = would_have;
            }
        }
        *taken += slots;
        true
    }

    fn line_up<'a>(
        self: &'a Arc<Self>,
        holder: &'a K,
        slots: usize,
        bytes: usize,
    ) -> Result<Waiting<'a, K>, NoTurn> {
        let (go_in, go) = oneshot::channel();
        let mut state = self.state();
        if state.closed {
            return Err(NoTurn::Closed);
        }
        let number = state.next;
        state.next += 1;
        let TurnLimits { waiting, waiting_bytes, .. } = self.limits;
        let own = state.holders.entry(holder.clone()).or_default();
        if own.waiting.len() >= waiting {
            return Err(NoTurn::TooMany { limit: waiting });
        }
        // One that is alone may be of any size: its asker bounds it.
        if !own.waiting.is_empty() && own.bytes.saturating_add(bytes) > waiting_bytes {
            return Err(NoTurn::TooLarge { limit: waiting_bytes });
        }
        let is_first = own.waiting.is_empty();
        own.bytes = own.bytes.saturating_add(bytes);
        own.waiting.push_back(Waiter { number, slots, bytes, go: go_in });
        if is_first {
            state.order.push_back(holder.clone());
        }
        Ok(Waiting { of: self, holder, number, slots, go, over: false })
    }

    /// Gives out what is free, one request of each holder in turn.
    fn serve(&self) {
        let mut state = self.state();
        let mut passed = 0;
        while passed < state.order.len() {
            let Some(holder) = state.order.pop_front() else { return };
            let free = self.limits.slots.saturating_sub(state.taken);
            let Some(own) = state.holders.get_mut(&holder) else { continue };
            let Some(first) = own.waiting.front() else { continue };
            if first.slots > free {
                // The next request waits for that, or something large would never get its turn.
                state.order.push_front(holder);
                return;
            }
            let would_have = own.taken + first.slots;
            if would_have > self.limits.each {
                own.standing = Standing::Full;
                continue;
            }
            let left = free - first.slots;
            if own.taken > 0 && would_have > self.limits.weight.saturating_mul(left) {
                passed += 1;
                state.order.push_back(holder);
                continue;
            }
            passed = 0;
            let Some(first) = own.waiting.pop_front() else { continue };
            own.bytes = own.bytes.saturating_sub(first.bytes);
            let more = !own.waiting.is_empty();
            // One whose future is being dropped gives its slots back, see `Waiting`.
            own.taken += first.slots;
            state.taken += first.slots;
            if more {
                state.order.push_back(holder);
            }
            let _ = first.go.send(());
        }
    }

    fn give_back(&self, holder: &K, slots: usize) {
        let mut state = self.state();
        state.taken = state.taken.saturating_sub(slots);
        if let Some(own) = state.holders.get_mut(holder) {
            own.taken = own.taken.saturating_sub(slots);
            let is_back = own.standing == Standing::Full;
            own.standing = Standing::InOrder;
            if own.taken == 0 && own.waiting.is_empty() {
                let _ = state.holders.remove(holder);
            } else if is_back {
                state.order.push_back(holder.clone());
            }
        }
        let is_awaited = !state.order.is_empty();
        drop(state);
        if is_awaited {
            self.serve();
        }
    }

    /// Takes back a request. Whether it was still waiting.
    fn leave(&self, holder: &K, number: u64) -> bool {
        let mut state = self.state();
        let Some(own) = state.holders.get_mut(holder) else { return false };
        let Ok(at) = own.waiting.binary_search_by_key(&number, |waiter| waiter.number) else {
            return false;
        };
        if let Some(left) = own.waiting.remove(at) {
            own.bytes = own.bytes.saturating_sub(left.bytes);
        }
        // Something smaller may be the next of it now.
        let is_back = own.standing == Standing::Full;
        own.standing = Standing::InOrder;
        if own.waiting.is_empty() {
            let gone = own.taken == 0;
            if !is_back {
                state.order.retain(|other| other != holder);
            }
            if gone {
                let _ = state.holders.remove(holder);
            }
        } else if is_back {
            state.order.push_back(holder.clone());
        }
        true
    }
}

impl<K: Eq + Hash + Clone> Drop for Waiting<'_, K> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.of.leave(self.holder, self.number) {
            // What it waited for may do for the next one.
            self.of.serve();
        } else if self.go.try_recv().is_ok() {
            self.of.give_back(self.holder, self.slots);
        }
    }
}

impl<K: Eq + Hash + Clone> Drop for Turn<K> {
    fn drop(&mut self) {
        self.of.give_back(&self.holder, self.slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    const LIMITS: TurnLimits =
        TurnLimits { slots: 3, each: 3, weight: 2, waiting: 100, waiting_bytes: 1000 };

    type Asked<'a> = BoxFuture<'a, Result<Turn<&'static str>, NoTurn>>;

    fn ask<'a>(turns: &'a Turns<&'static str>, holder: &'a &'static str) -> Asked<'a> {
        let mut asked = turns.take(holder, 1, 1).boxed();
        match (&mut asked).now_or_never() {
            Some(outcome) => std::future::ready(outcome).boxed(),
            None => asked,
        }
    }

    fn now(asked: &mut Asked<'_>) -> Option<Turn<&'static str>> {
        asked.now_or_never().map(Result::unwrap)
    }

    #[test]
    fn holders_take_turns_and_a_newcomer_waits_for_no_more_than_what_is_under_way() {
        let turns = Turns::new(LIMITS);
        let mut heavy: Vec<_> = (0..50).map(|_| ask(&turns, &"a")).collect();
        let mut running: Vec<_> = heavy.iter_mut().filter_map(now).collect();
        assert_eq!(running.len(), 2, "one slot is left for others");
        let first_of_b = now(&mut ask(&turns, &"b")).expect("at once");
        let (mut c, mut d) = (ask(&turns, &"c"), ask(&turns, &"d"));
        assert!(now(&mut c).is_none());
        drop(running.pop());
        let of_c = now(&mut c).expect("the first slot that is given back");
        drop(of_c);
        assert!(now(&mut d).is_some(), "and not one of the 48 that wait of the first");
        drop(first_of_b);
        assert!(heavy.iter_mut().skip(2).any(|asked| now(asked).is_some()));
    }

    #[test]
    fn what_is_given_back_goes_to_each_holder_in_turn() {
        let turns = Turns::new(TurnLimits { slots: 1, weight: usize::MAX, ..LIMITS });
        let mut running = now(&mut ask(&turns, &"x"));
        let mut waiting: Vec<(&str, Asked<'_>)> = Vec::new();
        for holder in [&"a", &"b"] {
            waiting.extend((0..3).map(|_| (*holder, ask(&turns, holder))));
        }
        let mut order = Vec::new();
        while running.take().is_some() {
            let next = waiting.iter_mut().position(|(_, asked)| {
                running = now(asked);
                running.is_some()
            });
            order.extend(next.map(|next| waiting.remove(next).0));
        }
        assert_eq!(order, ["a", "b", "a", "b", "a", "b"]);
    }

    #[test]
    fn one_that_is_dropped_while_it_waits_leaves_nothing_behind() {
        let turns = Turns::new(LIMITS);
        let first = now(&mut ask(&turns, &"a")).unwrap();
        let second = now(&mut ask(&turns, &"b")).unwrap();
        let third = now(&mut ask(&turns, &"c")).unwrap();
        let mut given_up = ask(&turns, &"d");
        assert!(now(&mut given_up).is_none());
        drop(given_up);
        // Given, but not looked at before it is dropped.
        let unseen = ask(&turns, &"e");
        drop((first, second, third));
        drop(unseen);
        let state = turns.0.state();
        assert_eq!((state.taken, state.holders.len(), state.order.len()), (0, 0, 0));
    }

    #[test]
    fn what_waits_of_one_holder_is_bounded_and_others_do_not_feel_it() {
        let turns = Turns::new(TurnLimits { waiting: 3, waiting_bytes: 10, ..LIMITS });
        let _running: Vec<_> = (0..2).map(|_| now(&mut ask(&turns, &"a")).unwrap()).collect();
        let _waiting: Vec<_> = (0..3).map(|_| ask(&turns, &"a")).collect();
        let refused = ask(&turns, &"a").now_or_never().unwrap().unwrap_err();
        assert_eq!(refused, NoTurn::TooMany { limit: 3 });
        let _b = now(&mut ask(&turns, &"b")).unwrap();
        let mut large = turns.take(&"b", 1, 1000).boxed();
        assert!((&mut large).now_or_never().is_none(), "alone it may be of any size");
        let refused = turns.take(&"b", 1, 1).now_or_never().unwrap().unwrap_err();
        assert_eq!(refused, NoTurn::TooLarge { limit: 10 });
        assert!(ask(&turns, &"c").now_or_never().is_none(), "it may wait");
    }

    #[test]
    fn something_large_is_not_overtaken_for_ever() {
        let turns = Turns::new(TurnLimits { slots: 10, each: 10, ..LIMITS });
        let small: Vec<_> =
            ["a", "b"].iter().map(|holder| now(&mut ask(&turns, holder)).unwrap()).collect();
        let mut large = turns.take(&"l", 10, 1).boxed();
        assert!((&mut large).now_or_never().is_none());
        let mut later = ask(&turns, &"c");
        assert!(now(&mut later).is_none(), "it would take what the large one waits for");
        drop(small);
        drop((&mut large).now_or_never().expect("all of it").unwrap());
        assert!(now(&mut later).is_some());
    }

    #[test]
    fn one_that_wants_much_waits_in_its_own_line() {
        let turns = Turns::new(TurnLimits::each(2));
        let first = turns.take_one(&"loud").now_or_never().unwrap();
        let _second = turns.take_one(&"loud").now_or_never().unwrap();
        let mut third = turns.take_one(&"loud").boxed();
        assert!((&mut third).now_or_never().is_none());
        let _quiet = turns.take_one(&"quiet").now_or_never().unwrap();
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        let _third = (&mut third).now_or_never().unwrap();
        assert!(turns.take_one(&"loud").now_or_never().is_none());
    }

    #[test]
    fn nothing_is_kept_of_who_wants_nothing() {
        let turns = Turns::new(TurnLimits::each(1));
        let first = turns.take_one(&"a").now_or_never().unwrap();
        assert!(turns.take_one(&"a").now_or_never().is_none(), "and it gives up waiting");
        assert_eq!(turns.0.state().holders.len(), 1);
        drop(first);
        let state = turns.0.state();
        assert_eq!((state.holders.len(), state.order.len()), (0, 0));
    }

    #[test]
    fn of_one_that_has_all_it_may_have_the_next_comes_when_something_is_given_back() {
        let turns = Turns::new(TurnLimits::each(2));
        let first = turns.take(&"a", 1, 1).now_or_never().unwrap().unwrap();
        let mut large = turns.take(&"a", 2, 1).boxed();
        assert!((&mut large).now_or_never().is_none());
        let mut small = turns.take(&"a", 1, 1).boxed();
        assert!((&mut small).now_or_never().is_none(), "its own order is kept");
        drop(large);
        let second = (&mut small).now_or_never().expect("what it waited for is gone").unwrap();
        let mut third = turns.take(&"a", 1, 1).boxed();
        assert!((&mut third).now_or_never().is_none());
        drop((first, second));
        drop((&mut third).now_or_never().unwrap().unwrap());
        assert!(turns.0.state().holders.is_empty());
    }

    #[test]
    fn nobody_waits_at_something_closed() {
        let turns = Turns::new(LIMITS);
        let _held: Vec<_> =
            ["a", "b", "c"].iter().map(|holder| now(&mut ask(&turns, holder)).unwrap()).collect();
        let waiting = ask(&turns, &"d");
        turns.close();
        assert_eq!(waiting.now_or_never().unwrap().unwrap_err(), NoTurn::Closed);
        assert_eq!(ask(&turns, &"a").now_or_never().unwrap().unwrap_err(), NoTurn::Closed);
        assert!(turns.is_closed());
    }
}
