//! A supervisor and a naive scan of machines that stand alone: the same operations, the same
//! outcome, whatever the budget and the clock.

use super::Fleet;
use crate::support::{ms, now};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
    StoreTrouble,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::{Deadline, Now};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::time::Duration;

#[derive(Clone, Debug)]
enum Operation {
    Insert { recovered: bool },
    Remove(Index),
    Event(Index, Event),
    Batch(Vec<(Index, Event)>),
    EventAll(Event),
    Sweep { budget: usize },
    SweepAll { budget: usize },
    OfStaleKey(Index),
    Pass(Passing),
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Joined(Dialect, Claimant),
    Admitted,
    Received(ServerInbound),
    Recorded(u64),
    Store(Option<StoreTrouble>),
    LinkDown,
    Evict,
    Wake,
}

#[derive(Clone, Copy, Debug)]
enum Passing {
    By(Duration),
    Back(Duration),
    ToNextWake(Duration),
}

fn event() -> impl Strategy<Value = Event> {
    let number = || (0u64..30).prop_map(BeatSequence);
    let frame = prop_oneof![
        3 => (of(number()), of(number()))
            .prop_map(|(sequence, seen)| ServerInbound::Heartbeat { sequence, seen }),
        1 => Just(ServerInbound::Pong),
        1 => Just(ServerInbound::Other),
    ];
    let dialect = select(vec![Dialect::Extended, Dialect::Legacy]);
    let claimant = select(vec![Claimant::SameProcess, Claimant::OtherProcess]);
    prop_oneof![
        3 => (dialect, claimant).prop_map(|(d, c)| Event::Joined(d, c)),
        4 => Just(Event::Admitted),
        10 => frame.prop_map(Event::Received),
        4 => (0u64..30).prop_map(Event::Recorded),
        1 => trouble().prop_map(Event::Store),
        1 => Just(Event::LinkDown),
        1 => Just(Event::Wake),
    ]
}

fn trouble() -> impl Strategy<Value = Option<StoreTrouble>> {
    select(vec![None, Some(StoreTrouble::Busy), Some(StoreTrouble::Full)])
}

fn operation() -> impl Strategy<Value = Operation> {
    let passing = prop_oneof![
        4 => (0u64..2_000).prop_map(|n| Passing::By(ms(n))),
        2 => (0u64..60_000).prop_map(|n| Passing::By(ms(n))),
        1 => (0u64..1_000_000).prop_map(|n| Passing::By(ms(n))),
        1 => (0u64..200_000).prop_map(|n| Passing::Back(ms(n))),
        8 => Just(Passing::ToNextWake(ms(0))),
        2 => (0u64..900).prop_map(|n| Passing::ToNextWake(ms(n))),
    ];
    prop_oneof![
        6 => any::<bool>().prop_map(|recovered| Operation::Insert { recovered }),
        2 => any::<Index>().prop_map(Operation::Remove),
        30 => (any::<Index>(), event()).prop_map(|(i, e)| Operation::Event(i, e)),
        4 => vec((any::<Index>(), event()), 0..40).prop_map(Operation::Batch),
        1 => (any::<Index>(), Just(Event::Evict)).prop_map(|(i, e)| Operation::Event(i, e)),
        1 => trouble().prop_map(|t| Operation::EventAll(Event::Store(t))),
        6 => (0usize..6).prop_map(|budget| Operation::Sweep { budget }),
        8 => (1usize..40).prop_map(|budget| Operation::SweepAll { budget }),
        1 => any::<Index>().prop_map(Operation::OfStaleKey),
        16 => passing.prop_map(Operation::Pass),
    ]
}

/// A machine that stands alone, with the deadline that its driver has armed.
struct Alone {
    key: Key,
    machine: ServerConnection,
    armed: Deadline,
}

impl Alone {
    fn handle(&mut self, event: ServerEvent, now: Now) -> Actions<ServerAction> {
        let step = self.machine.handle(event, now);
        self.armed = step.deadline;
        step.actions
    }
}

struct Pair {
    fleet: Fleet,
    naive: Vec<Alone>,
    stale: Vec<Key>,
    at: Duration,
    newest: u64,
}

type Outcome = Result<(), TestCaseError>;

impl Pair {
    fn new(crowd: usize) -> Self {
        let fleet = Fleet::new(ServerConfig::DEFAULT);
        let at = ms(1_000_000);
        let mut pair = Self { fleet, naive: Vec::new(), stale: Vec::new(), at, newest: 10 };
        for n in 0..crowd {
            pair.at += ms(37 * (n as u64 % 11));
            pair.insert(n % 3 == 0);
            let last = pair.naive.len() - 1;
            for event in [Event::Joined(Dialect::Extended, Claimant::SameProcess), Event::Admitted]
            {
                pair.event(last, event).unwrap();
            }
        }
        pair
    }

    fn now(&self) -> Now {
        now(self.at)
    }

    fn insert(&mut self, recovered: bool) {
        let (config, version, epoch) = (ServerConfig::DEFAULT, PresenceVersion(3), Epoch(3));
        let machine = if recovered {
            ServerConnection::recovered(config, version, epoch, self.now()).0
        } else {
            ServerConnection::new(config, version, epoch, self.now())
        };
        let (key, armed) = (self.fleet.insert(machine.clone()), machine.deadline());
        self.naive.push(Alone { key, machine, armed });
    }

    fn of(&mut self, event: Event, machine: usize) -> ServerEvent {
        let machine = &self.naive[machine].machine;
        let link = machine.link().unwrap_or(LinkId(self.newest));
        match event {
            Event::Joined(dialect, claimant) => {
                self.newest += 1;
                ServerEvent::Joined { link: LinkId(self.newest), dialect, claimant }
            }
            Event::Admitted => {
                ServerEvent::Admitted { link: LinkId(self.newest), epoch: Epoch(self.newest) }
            }
            Event::Received(frame) => ServerEvent::Received(link, frame),
            Event::Recorded(n) => ServerEvent::Recorded {
                epoch: machine.presence().epoch,
                sequence: BeatSequence(n),
                at: self.now().wall,
            },
            Event::Store(trouble) => ServerEvent::Store(trouble),
            Event::LinkDown => ServerEvent::LinkDown(link, CloseReason::broken(Breakage::Reset)),
            Event::Evict => ServerEvent::Evict(CloseCause::Deleted),
            Event::Wake => ServerEvent::Wake,
        }
    }

    fn event(&mut self, of: usize, event: Event) -> Outcome {
        let (event, now) = (self.of(event, of), self.now());
        let alone = &mut self.naive[of];
        let out = alone.handle(event, now);
        prop_assert_eq!(self.fleet.handle(alone.key, event, now), Some(out), "{:?}", event);
        Ok(())
    }

    /// Every third event of a batch is behind one for a key that names nothing.
    fn batch(&mut self, batch: &[(Index, Event)]) -> Outcome {
        let now = self.now();
        let (mut events, mut expected) = (Vec::new(), Vec::new());
        for (n, (index, event)) in batch.iter().enumerate() {
            if let Some(stale) = self.stale.last().filter(|_| n % 3 == 0) {
                events.push((*stale, ServerEvent::Wake));
                expected.push((*stale, None));
            }
            let of = index.index(self.naive.len());
            let event = self.of(*event, of);
            let alone = &mut self.naive[of];
            events.push((alone.key, event));
            expected.push((alone.key, Some(alone.handle(event, now))));
        }
        let mut out = Vec::new();
        self.fleet.handle_batch(&events, now, |key, actions| out.push((key, actions.copied())));
        prop_assert_eq!(out, expected);
        Ok(())
    }

    fn event_all(&mut self, trouble: Option<StoreTrouble>) -> Outcome {
        let (event, now) = (ServerEvent::Store(trouble), self.now());
        let mut outputs = Vec::new();
        self.fleet.handle_all(event, now, |key, out| outputs.push((key, out)));
        let mut expected = Vec::new();
        for alone in &mut self.naive {
            let out = alone.handle(event, now);
            if !out.is_empty() {
                expected.push((alone.key, out));
            }
        }
        outputs.sort_by_key(|(key, _)| *key);
        expected.sort_by_key(|(key, _)| *key);
        prop_assert_eq!(outputs, expected);
        Ok(())
    }

    /// One sweep; whether there is more to do.
    fn sweep(&mut self, budget: usize) -> Result<bool, TestCaseError> {
        let now = self.now();
        let was_due = self.fleet.next_wake().is_due(now.monotonic);
        let mut woken = Vec::new();
        let swept = self.fleet.sweep(now, budget, |key, out| woken.push((key, out)));
        prop_assert_eq!(swept.woken, woken.len());
        prop_assert!(swept.woken + swept.in_vain <= budget);
        let worked = swept.woken + swept.in_vain > 0;
        prop_assert_eq!(worked, was_due && budget > 0, "no progress, or work for nothing");
        for (n, (key, out)) in woken.iter().enumerate() {
            prop_assert!(woken[..n].iter().all(|(k, _)| k != key), "woken twice");
            let Some(alone) = self.naive.iter_mut().find(|alone| alone.key == *key) else {
                return Err(TestCaseError::fail("woke a machine that is not there"));
            };
            prop_assert!(alone.armed.is_due(now.monotonic), "woken too early");
            prop_assert_eq!(alone.handle(ServerEvent::Wake, now), *out);
        }
        let due = self.naive.iter().any(|alone| alone.armed.is_due(now.monotonic));
        prop_assert!(swept.more_due || !due, "somebody was left");
        // No busy loop: what is left to wait for is ahead.
        prop_assert_eq!(swept.more_due, self.fleet.next_wake().is_due(now.monotonic));
        Ok(swept.more_due)
    }

    fn operate(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Insert { recovered } => self.insert(*recovered),
            Operation::Remove(index) if !self.naive.is_empty() => {
                let alone = self.naive.swap_remove(index.index(self.naive.len()));
                let machine = self.fleet.remove(alone.key).unwrap();
                prop_assert_eq!(machine.presence(), alone.machine.presence());
                prop_assert_eq!(machine.deadline(), alone.machine.deadline());
                self.stale.push(alone.key);
            }
            Operation::Event(index, event) if !self.naive.is_empty() => {
                self.event(index.index(self.naive.len()), *event)?;
            }
            Operation::Batch(batch) if !self.naive.is_empty() => self.batch(batch)?,
            Operation::EventAll(Event::Store(trouble)) => self.event_all(*trouble)?,
            Operation::Sweep { budget } => drop(self.sweep(*budget)?),
            Operation::SweepAll { budget } => while self.sweep(*budget)? {},
            Operation::OfStaleKey(index) if !self.stale.is_empty() => {
                let (key, now) = (self.stale[index.index(self.stale.len())], self.now());
                prop_assert!(self.fleet.get(key).is_none() && self.fleet.remove(key).is_none());
                prop_assert!(self.fleet.handle(key, ServerEvent::Wake, now).is_none());
            }
            Operation::Pass(Passing::By(time)) => self.at += *time,
            Operation::Pass(Passing::Back(time)) => self.at = self.at.saturating_sub(*time),
            Operation::Pass(Passing::ToNextWake(late)) => {
                if let Deadline::At(due) = self.fleet.next_wake() {
                    self.at = self.at.max(due.since_origin()) + *late;
                }
            }
            Operation::Remove(_)
            | Operation::Event(..)
            | Operation::Batch(_)
            | Operation::EventAll(_)
            | Operation::OfStaleKey(_) => {}
        }
        self.never_late()
    }

    fn never_late(&self) -> Outcome {
        let earliest = self.naive.iter().fold(Deadline::Never, |d, alone| d.min(alone.armed));
        let wake = self.fleet.next_wake();
        prop_assert!(!earliest.is_before(wake), "late: {:?}, due {:?}", wake, earliest);
        prop_assert_eq!(self.fleet.len(), self.naive.len());
        Ok(())
    }

    fn agree(&self) -> Outcome {
        for Alone { key, machine: alone, .. } in &self.naive {
            let view = self.fleet.get(*key).unwrap();
            prop_assert_eq!(view.presence(), alone.presence());
            prop_assert_eq!((view.link(), view.dialect()), (alone.link(), alone.dialect()));
        }
        let mut keys: Vec<Key> = self.naive.iter().map(|alone| alone.key).collect();
        keys.sort_unstable();
        prop_assert!(self.fleet.keys().eq(keys));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_supervisor_does_what_a_naive_scan_would(
        crowd in prop_oneof![Just(0usize), 1usize..40, 250usize..300],
        operations in vec(operation(), 1..300),
    ) {
        let mut pair = Pair::new(crowd);
        for operation in &operations {
            pair.operate(operation)?;
        }
        pair.agree()?;
        // An obedient driver comes to an end: all machines go, or wait for something ahead.
        for _ in 0..50 {
            pair.operate(&Operation::Pass(Passing::ToNextWake(ms(0))))?;
            pair.operate(&Operation::SweepAll { budget: 16 })?;
        }
        pair.agree()?;
    }
}
