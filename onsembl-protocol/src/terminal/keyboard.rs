//! The keyboard of a terminal, from afar: one dashboard at a time holds it, and what that types is accepted in the order
//! of its numbers, each number at most once (P-400 to P-404).
//!
//! It is told how many bytes are typed and never which, so that it cannot keep, log or show them.

use crate::id::{DashboardId, HoldId, InputSequence};
use crate::shown::Shown;
use crate::time::{Deadline, Human, Now, Timestamp, WallTime};
use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;
use core::time::Duration;
use thiserror::Error;

/// Who may type into one terminal. A value of its fleet: each call gives what came of it, and
/// [`deadline`](Self::deadline) says when to call [`on_time`](Self::on_time).
#[derive(Debug, Default)]
pub(crate) struct Keyboard {
    hold: Option<Hold>,
}

/// One hold, from when it was taken.
#[derive(Debug)]
struct Hold {
    id: HoldId,
    by: DashboardId,
    name: String,
    since: WallTime,
    /// When it was taken, or something was last typed under it.
    touched: Timestamp,
    /// The last number that was accepted.
    accepted: InputSequence,
    /// Up to this number everything is in the terminal, as its agent says.
    taken: InputSequence,
    /// What the agent has not said that of: numbers and how many bytes each.
    under_way: VecDeque<(InputSequence, usize)>,
    /// How many bytes that is.
    outstanding: usize,
    /// Bytes that were accepted.
    bytes: u64,
}

/// Who wants the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taker {
    pub(crate) by: DashboardId,
    /// For the others, in its own words.
    pub(crate) name: String,
    pub(crate) force: TakeForce,
}

/// What is to be done about somebody who holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeForce {
    /// Nothing: it is taken if it is free.
    IfFree,
    /// It is taken from them.
    Over,
}

/// What came of a wish for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was held by this dashboard already.
    Kept,
    /// It is held from now on. Another hold ended with that, if one was there.
    Anew(Option<HoldRecord>),
}

/// What came of something that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is to go to the agent, once.
    Anew,
    /// It was accepted before, and is dropped.
    Repeated,
}

/// What is shown of the keyboard of a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyboardView {
    /// Who holds it.
    pub hold: Option<HoldView>,
    /// Why the hold before ended, or what became of something that was typed.
    pub because: String,
}

/// A hold as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct HoldView {
    pub hold: HoldId,
    /// Who has it, in that dashboard's own words.
    pub name: String,
    pub since: WallTime,
    /// Up to this number everything is in the terminal.
    pub taken: InputSequence,
}

/// A hold for the audit: who, from when to when, and how many bytes. Which, is written nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct HoldRecord {
    pub hold: HoldId,
    /// Who had it, in that dashboard's own words.
    pub name: String,
    pub since: WallTime,
    /// When it ended, and why; none while it lasts.
    pub ended: Option<(WallTime, HoldEnd)>,
    /// Bytes that were passed to the agent.
    pub bytes: u64,
    /// Of how many of them it is not known that they came into the terminal.
    pub unconfirmed: u64,
}

/// Why a hold ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum HoldEnd {
    Released,
    /// Another dashboard, of this name, took it over.
    TakenOver(String),
    /// The link of its dashboard ended.
    LinkLost,
    /// Nothing was typed for ten minutes.
    Idle,
    /// The agent's session ended.
    AgentAway,
    /// The terminal ended.
    TerminalEnded,
    /// A stop is in force.
    Stopped,
    /// The agent did not take something, for this reason.
    Refused(String),
}

impl fmt::Display for HoldEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::TakenOver(name) => {
                write!(f, "taken over by {}", Shown::new(name).within(Keyboard::NAME_BYTES))
            }
            Self::LinkLost => f.write_str("the link of its holder ended"),
            Self::Idle => write!(f, "nothing was typed for {}", Human(Keyboard::IDLE)),
            Self::AgentAway => f.write_str("the session of its agent ended"),
            Self::TerminalEnded => f.write_str("the terminal ended"),
            Self::Stopped => f.write_str("an emergency stop is in force"),
            Self::Refused(why) => write!(f, "{}", Shown::new(why).within(1024)),
        }
    }
}

/// Why something is refused. Nothing of it is typed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) enum KeyboardRefusal {
    #[error(
        "the keyboard of this terminal is held by {} since {since}; nothing was typed. Take it over on purpose (attach --take), or wait until it is released",
        Shown::new(name).within(Keyboard::NAME_BYTES)
    )]
    Held { name: String, since: WallTime },
    #[error(
        "this dashboard does not hold the keyboard of this terminal under this hold; nothing was typed. Take it first"
    )]
    NotHolder,
    #[error(
        "number {got} came where {expected} was due; nothing was typed. Send on from {expected}"
    )]
    Hole { expected: InputSequence, got: InputSequence },
    #[error(
        "{outstanding} bytes that were typed are not in the terminal yet; nothing more was typed. Send on when `taken` has grown"
    )]
    TooMuchWaits { outstanding: usize },
    #[error("at most {} bytes are typed at once; nothing was typed", Keyboard::INPUT_BYTES)]
    TooLong,
}

impl Keyboard {
    /// How long a hold lasts under which nothing is typed: 10 minutes. Whoever comes back takes it again.
    pub(crate) const IDLE: Duration = Duration::from_secs(10 * 60);

    /// Bytes of one input: 16 KiB, a large paste in a handful of messages.
    pub(crate) const INPUT_BYTES: usize = 16 * 1024;

    /// Bytes that may be on their way into a terminal: 64 KiB. A terminal holds some 4 KiB, so that more waits only for
    /// a program that does not read.
    pub(crate) const OUTSTANDING: usize = 64 * 1024;

    /// The same in messages: 64, of a person some seconds at a slow link.
    pub(crate) const OUTSTANDING_INPUTS: usize = 64;

    /// Bytes that are kept of what a dashboard calls itself: 128.
    pub(crate) const NAME_BYTES: usize = 128;

    /// A dashboard wants it; `id` names the hold if it begins one.
    ///
    /// # Errors
    /// Another dashboard holds it, and it is not to be taken over.
    pub(crate) fn take(
        &mut self,
        taker: Taker,
        id: HoldId,
        now: Now,
    ) -> Result<Taken, KeyboardRefusal> {
        let Taker { by, mut name, force } = taker;
        name.truncate(name.floor_char_boundary(Self::NAME_BYTES));
        let ended = match (&mut self.hold, force) {
            (Some(hold), _) if hold.by == by => {
                hold.touched = now.monotonic;
                return Ok(Taken::Kept);
            }
            (Some(hold), TakeForce::IfFree) => {
                let (name, since) = (hold.name.clone(), hold.since);
                return Err(KeyboardRefusal::Held { name, since });
            }
            (Some(_), TakeForce::Over) => self.end(HoldEnd::TakenOver(name.clone()), now.wall),
            (None, TakeForce::IfFree | TakeForce::Over) => None,
        };
        self.hold = Some(Hold {
            id,
            by,
            name,
            since: now.wall,
            touched: now.monotonic,
            accepted: InputSequence(0),
            taken: InputSequence(0),
            under_way: VecDeque::new(),
            outstanding: 0,
            bytes: 0,
        });
        Ok(Taken::Anew(ended))
    }

    /// Its holder gives it up.
    ///
    /// # Errors
    /// This dashboard does not hold it under this hold.
    pub(crate) fn release(
        &mut self,
        by: DashboardId,
        hold: &HoldId,
        now: Now,
    ) -> Result<Option<HoldRecord>, KeyboardRefusal> {
        self.held(by, hold)?;
        Ok(self.end(HoldEnd::Released, now.wall))
    }

    /// So many bytes are typed under this number.
    ///
    /// # Errors
    /// Why they are not.
    pub(crate) fn input(
        &mut self,
        by: DashboardId,
        hold: &HoldId,
        (sequence, bytes): (InputSequence, usize),
        now: Now,
    ) -> Result<Accepted, KeyboardRefusal> {
        let held = self.held(by, hold)?;
        if sequence <= held.accepted {
            return Ok(Accepted::Repeated);
        }
        let expected = held.accepted.next();
        if sequence != expected {
            return Err(KeyboardRefusal::Hole { expected, got: sequence });
        }
        if bytes > Self::INPUT_BYTES {
            return Err(KeyboardRefusal::TooLong);
        }
        let outstanding = held.outstanding;
        if outstanding.saturating_add(bytes) > Self::OUTSTANDING
            || held.under_way.len() >= Self::OUTSTANDING_INPUTS
        {
            return Err(KeyboardRefusal::TooMuchWaits { outstanding });
        }
        held.touched = now.monotonic;
        held.accepted = sequence;
        held.under_way.push_back((sequence, bytes));
        held.outstanding = held.outstanding.saturating_add(bytes);
        held.bytes = held.bytes.saturating_add(bytes as u64);
        Ok(Accepted::Anew)
    }

    /// Whether [`input`](Self::input) would take this for the next one of the holder.
    pub(crate) fn is_anew(&self, by: DashboardId, hold: &HoldId, sequence: InputSequence) -> bool {
        let held = self.hold.as_ref().filter(|held| held.by == by && held.id == *hold);
        held.is_some_and(|held| held.accepted.next() == sequence)
    }

    /// Its agent says that everything up to this number is in the terminal. Whether that is news.
    pub(crate) fn on_taken(&mut self, hold: &HoldId, upto: InputSequence) -> bool {
        let Some(held) = self.hold.as_mut().filter(|held| held.id == *hold) else { return false };
        // An agent cannot have taken what it was not sent.
        let upto = upto.min(held.accepted);
        if upto <= held.taken {
            return false;
        }
        held.taken = upto;
        while let Some((_, bytes)) = held.under_way.pop_front_if(|(sequence, _)| *sequence <= upto)
        {
            held.outstanding = held.outstanding.saturating_sub(bytes);
        }
        true
    }

    /// The hold ends, if there is one.
    pub(crate) fn end(&mut self, why: HoldEnd, at: WallTime) -> Option<HoldRecord> {
        let record = self.record()?;
        self.hold = None;
        // A wall clock may step back.
        Some(HoldRecord { ended: Some((at.max(record.since), why)), ..record })
    }

    /// The hold ends if it lasted too long with nothing typed.
    pub(crate) fn on_time(&mut self, now: Now) -> Option<HoldRecord> {
        if !self.deadline().is_due(now.monotonic) {
            return None;
        }
        self.end(HoldEnd::Idle, now.wall)
    }

    /// When to call [`on_time`](Self::on_time).
    pub(crate) fn deadline(&self) -> Deadline {
        let idle_at = |hold: &Hold| hold.touched.saturating_add(Self::IDLE);
        self.hold.as_ref().map_or(Deadline::Never, |hold| Deadline::At(idle_at(hold)))
    }

    /// The dashboard that holds it, and its hold.
    pub(crate) fn holder(&self) -> Option<(DashboardId, &HoldId)> {
        self.hold.as_ref().map(|hold| (hold.by, &hold.id))
    }

    /// The hold as others may see it.
    pub(crate) fn view(&self) -> Option<HoldView> {
        self.hold.as_ref().map(|hold| HoldView {
            hold: hold.id.clone(),
            name: hold.name.clone(),
            since: hold.since,
            taken: hold.taken,
        })
    }

    /// The hold for the audit, as far as it is.
    pub(crate) fn record(&self) -> Option<HoldRecord> {
        self.hold.as_ref().map(|hold| HoldRecord {
            hold: hold.id.clone(),
            name: hold.name.clone(),
            since: hold.since,
            ended: None,
            bytes: hold.bytes,
            unconfirmed: hold.outstanding as u64,
        })
    }

    fn held(&mut self, by: DashboardId, id: &HoldId) -> Result<&mut Hold, KeyboardRefusal> {
        let hold = self.hold.as_mut().ok_or(KeyboardRefusal::NotHolder)?;
        if hold.by != by {
            return Err(KeyboardRefusal::Held { name: hold.name.clone(), since: hold.since });
        }
        if hold.id != *id {
            return Err(KeyboardRefusal::NotHolder);
        }
        Ok(hold)
    }
}

/// How fast one user may type, into all terminals together.
#[derive(Debug)]
pub(crate) struct TypingRate {
    /// Bytes that may be typed now.
    left: usize,
    at: Timestamp,
}

impl TypingRate {
    /// Bytes a second: 128 KiB. A person types ten.
    pub(crate) const A_SECOND: usize = 128 * 1024;
    /// Bytes at once: 256 KiB, a large paste.
    pub(crate) const AT_ONCE: usize = 256 * 1024;

    pub(crate) const fn new() -> Self {
        Self { left: Self::AT_ONCE, at: Timestamp::ORIGIN }
    }

    /// Whether so many bytes are typed now.
    ///
    /// # Errors
    /// After how long they may be.
    pub(crate) fn take(&mut self, bytes: usize, now: Timestamp) -> Result<(), Duration> {
        let millis = u64::try_from(now.saturating_since(self.at).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            let grown = usize::try_from(millis).unwrap_or(usize::MAX);
            let grown = grown.saturating_mul(Self::A_SECOND / 1000);
            self.left = self.left.saturating_add(grown).min(Self::AT_ONCE);
            self.at = now;
        }
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let missing = bytes.saturating_sub(self.left);
                let millis = missing.div_ceil(Self::A_SECOND / 1000);
                Err(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn now(seconds: u64) -> Now {
        Now::from_origin(Duration::from_secs(seconds))
    }

    fn taker(by: u64, force: TakeForce) -> Taker {
        Taker { by: DashboardId(by), name: format!("d{by}"), force }
    }

    fn hold(name: &str) -> HoldId {
        HoldId::new(name)
    }

    fn typed(
        keyboard: &mut Keyboard,
        by: u64,
        id: &str,
        n: u64,
    ) -> Result<Accepted, KeyboardRefusal> {
        keyboard.input(DashboardId(by), &hold(id), (InputSequence(n), 10), now(1))
    }

    #[test]
    fn one_dashboard_at_a_time_holds_it() {
        let mut keyboard = Keyboard::default();
        let taken = keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(0));
        assert_eq!(taken, Ok(Taken::Anew(None)));
        let again = keyboard.take(taker(1, TakeForce::IfFree), hold("a2"), now(0));
        assert_eq!(again, Ok(Taken::Kept));
        let other = keyboard.take(taker(2, TakeForce::IfFree), hold("b"), now(0));
        assert!(matches!(other, Err(KeyboardRefusal::Held { .. })));
        assert_eq!(typed(&mut keyboard, 1, "a", 1), Ok(Accepted::Anew));
        assert!(matches!(typed(&mut keyboard, 2, "b", 1), Err(KeyboardRefusal::Held { .. })));
        let Ok(Taken::Anew(Some(ended))) =
            keyboard.take(taker(2, TakeForce::Over), hold("b"), now(7))
        else {
            panic!("it is taken over")
        };
        assert_eq!((ended.bytes, ended.unconfirmed, ended.name.as_str()), (10, 10, "d1"));
        assert_eq!(ended.ended, Some((now(7).wall, HoldEnd::TakenOver("d2".into()))));
        // What is still on its way under the hold that ended is not typed.
        assert!(matches!(typed(&mut keyboard, 1, "a", 2), Err(KeyboardRefusal::Held { .. })));
        assert_eq!(typed(&mut keyboard, 2, "b", 1), Ok(Accepted::Anew));
    }

    #[test]
    fn a_number_counts_once_and_none_is_left_out() {
        let mut keyboard = Keyboard::default();
        keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(0)).unwrap();
        for n in 1..=3 {
            assert_eq!(typed(&mut keyboard, 1, "a", n), Ok(Accepted::Anew));
        }
        assert_eq!(typed(&mut keyboard, 1, "a", 2), Ok(Accepted::Repeated));
        assert_eq!(typed(&mut keyboard, 1, "a", 3), Ok(Accepted::Repeated));
        let (expected, got) = (InputSequence(4), InputSequence(6));
        assert_eq!(typed(&mut keyboard, 1, "a", 6), Err(KeyboardRefusal::Hole { expected, got }));
        assert_eq!(typed(&mut keyboard, 1, "a", 4), Ok(Accepted::Anew), "refused is not accepted");
    }

    #[test]
    fn what_is_on_its_way_has_a_bound_and_the_agent_makes_room() {
        let mut keyboard = Keyboard::default();
        keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(0)).unwrap();
        let input = |keyboard: &mut Keyboard, n| {
            let input = (InputSequence(n), Keyboard::INPUT_BYTES);
            keyboard.input(DashboardId(1), &hold("a"), input, now(1))
        };
        let fit = (Keyboard::OUTSTANDING / Keyboard::INPUT_BYTES) as u64;
        for n in 1..=fit {
            assert_eq!(input(&mut keyboard, n), Ok(Accepted::Anew));
        }
        let outstanding = Keyboard::OUTSTANDING;
        let refused = Err(KeyboardRefusal::TooMuchWaits { outstanding });
        assert_eq!(input(&mut keyboard, fit + 1), refused);
        assert!(!keyboard.on_taken(&hold("another"), InputSequence(1)));
        assert!(keyboard.on_taken(&hold("a"), InputSequence(1)));
        assert!(!keyboard.on_taken(&hold("a"), InputSequence(1)), "it is no news");
        assert_eq!(input(&mut keyboard, fit + 1), Ok(Accepted::Anew));
        // An agent that says more than it can know frees no more than there is.
        assert!(keyboard.on_taken(&hold("a"), InputSequence(u64::MAX)));
        assert_eq!(keyboard.view().unwrap().taken, InputSequence(fit + 1));
        assert_eq!(keyboard.record().unwrap().unconfirmed, 0);
        for n in fit + 2..fit + 2 + Keyboard::OUTSTANDING_INPUTS as u64 {
            assert_eq!(typed(&mut keyboard, 1, "a", n), Ok(Accepted::Anew));
        }
        let n = fit + 2 + Keyboard::OUTSTANDING_INPUTS as u64;
        assert!(matches!(
            typed(&mut keyboard, 1, "a", n),
            Err(KeyboardRefusal::TooMuchWaits { .. })
        ));
    }

    #[test]
    fn a_hold_under_which_nothing_is_typed_ends() {
        let mut keyboard = Keyboard::default();
        assert_eq!(keyboard.deadline(), Deadline::Never);
        keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(0)).unwrap();
        let idle = Keyboard::IDLE.as_secs();
        let at = now(idle / 2);
        keyboard.input(DashboardId(1), &hold("a"), (InputSequence(1), 1), at).unwrap();
        assert_eq!(keyboard.on_time(now(idle)), None);
        assert_eq!(keyboard.deadline(), Deadline::At(now(idle + idle / 2).monotonic));
        let ended = keyboard.on_time(now(idle + idle / 2)).unwrap();
        assert_eq!(ended.ended.unwrap().1, HoldEnd::Idle);
        assert_eq!((keyboard.holder(), keyboard.deadline()), (None, Deadline::Never));
    }

    #[test]
    fn a_user_types_at_a_rate() {
        let mut rate = TypingRate::new();
        assert_eq!(rate.take(TypingRate::AT_ONCE, now(1).monotonic), Ok(()));
        let wait = rate.take(TypingRate::A_SECOND, now(1).monotonic).unwrap_err();
        assert!(
            wait > Duration::from_millis(900) && wait < Duration::from_millis(1100),
            "{wait:?}"
        );
        assert_eq!(rate.take(TypingRate::A_SECOND / 2, now(2).monotonic), Ok(()));
        assert!(rate.take(TypingRate::A_SECOND, now(2).monotonic).is_err());
        assert_eq!(rate.take(TypingRate::AT_ONCE, now(60).monotonic), Ok(()));
        assert!(rate.take(TypingRate::AT_ONCE + 1, now(600).monotonic).is_err(), "more than ever");
    }

    #[derive(Clone, Debug)]
    enum Does {
        Takes(u64, bool),
        Releases(u64),
        Types(u64, u64),
        TypesUnderOld(u64, u64),
        AgentTook(u64),
        Ends,
        Waits(u64),
    }

    fn does() -> impl Strategy<Value = Does> {
        prop_oneof![
            3 => (0..3_u64, any::<bool>()).prop_map(|(by, over)| Does::Takes(by, over)),
            1 => (0..3_u64).prop_map(Does::Releases),
            8 => (0..3_u64, 0..4_u64).prop_map(|(by, n)| Does::Types(by, n)),
            1 => (0..3_u64, 0..4_u64).prop_map(|(by, n)| Does::TypesUnderOld(by, n)),
            2 => (0..6_u64).prop_map(Does::AgentTook),
            1 => Just(Does::Ends),
            1 => (0..700_u64).prop_map(Does::Waits),
        ]
    }

    proptest! {
        /// Whatever happens: of two dashboards never both are accepted under one hold, a hold that ended accepts nothing,
        /// numbers come once and in order, and a record counts what was accepted.
        #[test]
        fn only_the_holder_types_and_each_number_once(steps in proptest::collection::vec(does(), 0..80)) {
            let mut keyboard = Keyboard::default();
            let (mut time, mut holds) = (0, 0_u64);
            let mut own: BTreeMap<u64, Vec<HoldId>> = BTreeMap::new();
            let mut next: BTreeMap<HoldId, (u64, u64)> = BTreeMap::new();
            let mut ended: Vec<HoldRecord> = Vec::new();
            for step in steps {
                match step {
                    Does::Takes(by, over) => {
                        let force = if over { TakeForce::Over } else { TakeForce::IfFree };
                        holds += 1;
                        let id = hold(&format!("h{holds}"));
                        let before = keyboard.holder().map(|(by, _)| by.0);
                        match keyboard.take(taker(by, force), id.clone(), now(time)) {
                            Ok(Taken::Anew(record)) => {
                                prop_assert_eq!(record.is_some(), before.is_some());
                                ended.extend(record);
                                own.entry(by).or_default().push(id.clone());
                                next.insert(id, (by, 0));
                            }
                            Ok(Taken::Kept) => prop_assert_eq!(before, Some(by)),
                            Err(_) => prop_assert!(before.is_some_and(|before| before != by) && !over),
                        }
                    }
                    Does::Releases(by) => {
                        if let Some(id) = own.get(&by).and_then(|own| own.last()) {
                            ended.extend(keyboard.release(DashboardId(by), id, now(time)).ok().flatten());
                        }
                    }
                    Does::Types(by, ahead) | Does::TypesUnderOld(by, ahead) => {
                        let ids = own.get(&by).cloned().unwrap_or_default();
                        let id = match step {
                            Does::TypesUnderOld(..) => ids.first(),
                            _ => ids.last(),
                        };
                        let Some(id) = id else { continue };
                        let (owner, last) = next[id];
                        prop_assert_eq!(owner, by);
                        let n = InputSequence(last.saturating_sub(1) + ahead);
                        let is_holder = keyboard.holder() == Some((DashboardId(by), id));
                        match keyboard.input(DashboardId(by), id, (n, 3), now(time)) {
                            Ok(Accepted::Anew) => {
                                prop_assert!(is_holder && n.0 == last + 1);
                                next.insert(id.clone(), (by, n.0));
                            }
                            Ok(Accepted::Repeated) => prop_assert!(is_holder && n.0 <= last),
                            Err(KeyboardRefusal::Hole { .. }) => prop_assert!(n.0 > last + 1),
                            Err(KeyboardRefusal::TooMuchWaits { .. }) => prop_assert!(is_holder),
                            Err(_) => prop_assert!(!is_holder),
                        }
                    }
                    Does::AgentTook(upto) => {
                        if let Some(id) = keyboard.holder().map(|(_, id)| id.clone()) {
                            let _ = keyboard.on_taken(&id, InputSequence(upto));
                        }
                    }
                    Does::Ends => ended.extend(keyboard.end(HoldEnd::AgentAway, now(time).wall)),
                    Does::Waits(seconds) => {
                        time += seconds;
                        ended.extend(keyboard.on_time(now(time)));
                    }
                }
                let outstanding = keyboard.record().map_or(0, |record| record.unconfirmed);
                prop_assert!(outstanding <= Keyboard::OUTSTANDING as u64);
            }
            ended.extend(keyboard.end(HoldEnd::Released, now(time).wall));
            prop_assert_eq!(ended.len(), next.len(), "each hold ends once");
            for record in ended {
                prop_assert_eq!(record.bytes, 3 * next[&record.hold].1);
                prop_assert!(record.ended.is_some_and(|(at, _)| at >= record.since));
            }
        }
    }
}
