//! Scripts: what happens to the thing under test, one line a step, and what else can befall its
//! process and its host meanwhile.
//!
//! Links are named by their part in the story and not by number, so a script keeps its meaning
//! when steps are taken out of it.

use super::violation::Elapsed;
use core::fmt;
use core::time::Duration;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::vec::Vec;

/// How the driver keeps deadlines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It wakes exactly at each deadline.
    Obedient,
    /// It wakes so much after each deadline, as a busy host does.
    Late(Duration),
    /// It also wakes half way to each deadline.
    Hasty,
}

impl fmt::Display for Habit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Obedient => f.write_str("wakes exactly at each deadline"),
            Self::Late(by) => write!(f, "wakes {by:?} after each deadline"),
            Self::Hasty => f.write_str("also wakes half way to each deadline"),
        }
    }
}

impl fmt::Debug for Habit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a step of a script brings: something of the protocol, or something that befalls the process
/// or its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<H> {
    /// Something happens that the protocol knows.
    Happens(H),
    /// The last event comes once more.
    Again,
    /// A wake-up comes, whether it is time or not.
    Woken,
    /// The process stands still for the time before this step: no wake-up comes in it.
    Stalled,
    /// All clocks of the host step back, and a wake-up comes.
    ClocksStepBack(Duration),
    /// The host sleeps: its boot clock and its wall clock continue, its monotonic clock does not.
    HostSleeps(Duration),
}

impl<H: fmt::Display> fmt::Display for What<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Happens(what) => fmt::Display::fmt(what, f),
            Self::Again => f.write_str("the same once more"),
            Self::Woken => f.write_str("woken"),
            Self::Stalled => f.write_str("the process stood still until now"),
            Self::ClocksStepBack(by) => write!(f, "all clocks step back by {by:?}; woken"),
            Self::HostSleeps(by) => write!(f, "the host sleeps for {by:?}"),
        }
    }
}

/// A step of a script.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Moment<H> {
    /// Time since the step before.
    pub after: Duration,
    pub what: What<H>,
}

impl<H: fmt::Display> fmt::Display for Moment<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Elapsed(self.after), self.what)
    }
}

impl<H: fmt::Display> fmt::Debug for Moment<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A story to tell the thing under test.
#[derive(Clone, PartialEq, Eq)]
pub struct Script<H> {
    /// How its driver keeps deadlines.
    pub habit: Habit,
    /// What happens, in order.
    pub steps: Vec<Moment<H>>,
}

impl<H: fmt::Display> fmt::Display for Script<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the driver {}", self.habit)?;
        self.steps.iter().enumerate().try_for_each(|(n, step)| write!(f, "\n{:>3}. {step}", n + 1))
    }
}

impl<H: fmt::Display> fmt::Debug for Script<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Scripts whose happenings come from `happening` and whose delays gather around `instants`.
pub(super) fn scripts<H>(
    instants: &[Duration],
    happening: impl Strategy<Value = H> + 'static,
    longest: usize,
) -> BoxedStrategy<Script<H>>
where
    H: Clone + fmt::Debug + fmt::Display + 'static,
{
    // Two late wake-ups in a row stay within the oversleep tolerance: when two things fall due at
    // about one instant, each gets a wake-up of its own, and the delays of both add up.
    let habit = prop_oneof![
        6 => Just(Habit::Obedient),
        2 => select(&[1u64, 40, 200][..]).prop_map(|ms| Habit::Late(Duration::from_millis(ms))),
        1 => Just(Habit::Hasty),
    ];
    let long = prop_oneof![
        (1u64..5_000).prop_map(Duration::from_millis),
        delays(instants),
        (5_000u64..7_200_000).prop_map(Duration::from_millis),
    ];
    let what = prop_oneof![
        30 => happening.prop_map(What::Happens),
        2 => Just(What::Again),
        3 => Just(What::Woken),
        2 => Just(What::Stalled),
        1 => (1u64..200_000).prop_map(|ms| What::ClocksStepBack(Duration::from_millis(ms))),
        1 => long.prop_map(What::HostSleeps),
    ];
    let step = (delays(instants), what).prop_map(|(after, what)| Moment { after, what });
    (habit, vec(step, 1..longest.max(2))).prop_map(|(habit, steps)| Script { habit, steps }).boxed()
}

/// Delays that gather around the interesting instants: a millisecond and the oversleep tolerance
/// before and after, and the instant itself; else anything up to two minutes. Short ones come first,
/// so that scripts shrink to short times.
pub fn delays(instants: &[Duration]) -> BoxedStrategy<Duration> {
    let ms = Duration::from_millis;
    let mut sharp: Vec<Duration> = instants
        .iter()
        .flat_map(|at| {
            let before = [1, 500].map(|n| at.saturating_sub(ms(n)));
            let after = [0, 1, 500, 501].map(|n| at.saturating_add(ms(n)));
            before.into_iter().chain(after)
        })
        .chain([Duration::ZERO])
        .collect();
    sharp.sort_unstable();
    sharp.dedup();
    prop_oneof![
        4 => Just(Duration::ZERO),
        2 => (0u64..5_000).prop_map(ms),
        6 => select(sharp),
        1 => (0u64..120_000).prop_map(ms),
    ]
    .boxed()
}
