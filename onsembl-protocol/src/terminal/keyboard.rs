//! The keyboard of a terminal, typed remotely: one dashboard at a time holds it, and what that types is accepted in
//! the order
//! of its numbers, each number at most once (P-400 to P-404). Every hold ends by time: no dashboard, agent or link that
//! says nothing more can keep one.
//!
//! `hold.rs` is what is kept of one hold, `keyboard_edges.rs` the graph.

use super::hold::{Hold, HoldEnd, HoldRecord, HoldView};
use crate::id::{DashboardId, HoldId, InputSequence};
use crate::shown::Shown;
use crate::time::{Deadline, Now, WallTime};
use alloc::string::String;
use thiserror::Error;

/// Who may type into one terminal. A value of its fleet: each call gives what came of it, and
/// [`deadline`](Self::deadline) says when to call [`on_time`](Self::on_time).
#[derive(Debug, Default)]
pub(crate) struct Keyboard {
    hold: Option<Hold>,
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
pub enum TakeForce {
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

/// Why something is refused. Nothing of it is typed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) enum KeyboardRefusal {
    #[error(
        "the keyboard of this terminal is held by {} since {since}; nothing was typed. Take it over (attach --take), or wait until it is released",
        Shown::new(name).within(Hold::NAME_BYTES)
    )]
    Held { name: String, since: WallTime },
    #[error(
        "this dashboard does not hold the keyboard of this terminal under this hold; nothing was typed. Take it first"
    )]
    NotHolder,
    #[error(
        "sequence {got} arrived where {expected} was expected; nothing was typed. Continue from {expected}"
    )]
    Hole { expected: InputSequence, got: InputSequence },
    #[error(
        "{outstanding} bytes of input are not in the terminal yet; nothing more was typed. Continue when `taken` has grown"
    )]
    TooMuchWaits { outstanding: usize },
    #[error("at most {} bytes at once; nothing was typed", Hold::INPUT_BYTES)]
    TooLong,
}

impl Keyboard {
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
        let Taker { by, name, force } = taker;
        let ended = match (&self.hold, force) {
            // Nothing is typed by that, so it lasts no longer.
            (Some(hold), _) if hold.by == by => return Ok(Taken::Kept),
            (Some(hold), TakeForce::IfFree) => {
                let (name, since) = (hold.name.clone(), hold.since);
                return Err(KeyboardRefusal::Held { name, since });
            }
            (Some(_), TakeForce::Over) => self.end(HoldEnd::TakenOver(name.clone()), now.wall),
            (None, TakeForce::IfFree | TakeForce::Over) => None,
        };
        self.hold = Some(Hold::new(id, by, name, now));
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

    /// This many bytes are typed under this number.
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
        let expected = held.due();
        if sequence < expected {
            return Ok(Accepted::Repeated);
        }
        if sequence > expected {
            return Err(KeyboardRefusal::Hole { expected, got: sequence });
        }
        if bytes > Hold::INPUT_BYTES {
            return Err(KeyboardRefusal::TooLong);
        }
        if let Some(outstanding) = held.too_much_with(bytes) {
            return Err(KeyboardRefusal::TooMuchWaits { outstanding });
        }
        held.accept(bytes, now.monotonic);
        Ok(Accepted::Anew)
    }

    /// Whether [`input`](Self::input) would take this for the next one of the holder.
    pub(crate) fn is_anew(&self, by: DashboardId, hold: &HoldId, sequence: InputSequence) -> bool {
        let held = self.hold.as_ref().filter(|held| held.by == by && held.id == *hold);
        held.is_some_and(|held| held.due() == sequence)
    }

    /// Its agent says that everything up to this number is in the terminal. Whether that is news.
    pub(crate) fn on_taken(&mut self, hold: &HoldId, upto: InputSequence) -> bool {
        let held = self.hold.as_mut().filter(|held| held.id == *hold);
        held.is_some_and(|held| held.on_taken(upto))
    }

    /// The hold ends, if there is one.
    pub(crate) fn end(&mut self, why: HoldEnd, at: WallTime) -> Option<HoldRecord> {
        let record = self.record()?;
        self.hold = None;
        // A wall clock may step back.
        Some(HoldRecord { ended: Some((at.max(record.since), why)), ..record })
    }

    /// What is to be written down by now: that the hold ended because nothing was typed for too long, or how much was
    /// typed so far.
    pub(crate) fn on_time(&mut self, now: Now) -> Option<HoldRecord> {
        let hold = self.hold.as_mut()?;
        if hold.idle_at().is_due(now.monotonic) {
            return self.end(HoldEnd::Idle, now.wall);
        }
        hold.take_note(now.monotonic).then(|| hold.record())
    }

    /// When to call [`on_time`](Self::on_time).
    pub(crate) fn deadline(&self) -> Deadline {
        let of = |hold: &Hold| hold.idle_at().min(hold.note_at());
        self.hold.as_ref().map_or(Deadline::Never, of)
    }

    /// The dashboard that holds it, and its hold.
    pub(crate) fn holder(&self) -> Option<(DashboardId, &HoldId)> {
        self.hold.as_ref().map(|hold| (hold.by, &hold.id))
    }

    /// The hold as others may see it.
    pub(crate) fn view(&self) -> Option<HoldView> {
        self.hold.as_ref().map(Hold::view)
    }

    /// The hold for the audit, as far as it is.
    pub(crate) fn record(&self) -> Option<HoldRecord> {
        self.hold.as_ref().map(Hold::record)
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;

    fn now(seconds: u64) -> Now {
        Now::without_suspend(Duration::from_secs(seconds))
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
            let input = (InputSequence(n), Hold::INPUT_BYTES);
            keyboard.input(DashboardId(1), &hold("a"), input, now(1))
        };
        let fit = (Hold::OUTSTANDING / Hold::INPUT_BYTES) as u64;
        for n in 1..=fit {
            assert_eq!(input(&mut keyboard, n), Ok(Accepted::Anew));
        }
        let outstanding = Hold::OUTSTANDING;
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
        for n in fit + 2..fit + 2 + Hold::OUTSTANDING_INPUTS as u64 {
            assert_eq!(typed(&mut keyboard, 1, "a", n), Ok(Accepted::Anew));
        }
        let n = fit + 2 + Hold::OUTSTANDING_INPUTS as u64;
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
        let idle = Hold::IDLE.as_secs();
        assert_eq!(keyboard.deadline(), Deadline::At(now(idle).monotonic));
        let at = now(idle / 2);
        keyboard.input(DashboardId(1), &hold("a"), (InputSequence(1), 1), at).unwrap();
        let noted = keyboard.on_time(now(idle)).unwrap();
        assert_eq!((noted.bytes, noted.ended), (1, None));
        assert_eq!(keyboard.deadline(), Deadline::At(now(idle + idle / 2).monotonic));
        let ended = keyboard.on_time(now(idle + idle / 2)).unwrap();
        assert_eq!(ended.ended.unwrap().1, HoldEnd::Idle);
        assert_eq!((keyboard.holder(), keyboard.deadline()), (None, Deadline::Never));
    }

    #[test]
    fn taking_it_again_does_not_make_a_hold_last() {
        let mut keyboard = Keyboard::default();
        for at in 0..Hold::IDLE.as_secs() {
            let taken = keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(at)).unwrap();
            assert_eq!(taken == Taken::Kept, at > 0);
            assert_eq!(keyboard.on_time(now(at)), None);
        }
        assert!(keyboard.on_time(now(Hold::IDLE.as_secs())).is_some());
    }

    #[test]
    fn typing_nothing_does_not_make_a_hold_last() {
        let mut keyboard = Keyboard::default();
        keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(0)).unwrap();
        for at in 1..Hold::IDLE.as_secs() {
            let nothing = (InputSequence(at), 0);
            let accepted = keyboard.input(DashboardId(1), &hold("a"), nothing, now(at));
            assert_eq!(accepted, Ok(Accepted::Anew), "its number counts");
            assert!(keyboard.on_taken(&hold("a"), InputSequence(at)));
            assert_eq!(keyboard.on_time(now(at)), None, "there is nothing to be written down");
        }
        let ended = keyboard.on_time(now(Hold::IDLE.as_secs())).unwrap();
        assert_eq!((ended.ended.unwrap().1, ended.bytes), (HoldEnd::Idle, 0));
    }

    #[test]
    fn a_hold_ends_although_its_agent_never_says_that_anything_is_in_the_terminal() {
        let mut keyboard = Keyboard::default();
        keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(0)).unwrap();
        let inputs = Hold::OUTSTANDING_INPUTS as u64;
        for n in 1..=inputs {
            assert_eq!(typed(&mut keyboard, 1, "a", n), Ok(Accepted::Anew));
        }
        // What is refused is nothing that was typed.
        for at in 1..Hold::IDLE.as_secs() {
            let more = (InputSequence(inputs + 1), 10);
            assert!(keyboard.input(DashboardId(1), &hold("a"), more, now(at)).is_err());
        }
        let ended = keyboard.on_time(now(1 + Hold::IDLE.as_secs())).unwrap();
        assert_eq!(ended.ended.unwrap().1, HoldEnd::Idle);
        assert_eq!(ended.unconfirmed, 10 * inputs);
    }

    #[test]
    fn what_is_typed_is_counted_where_a_server_that_is_killed_does_not_lose_it() {
        let mut keyboard = Keyboard::default();
        keyboard.take(taker(1, TakeForce::IfFree), hold("a"), now(0)).unwrap();
        assert_eq!(typed(&mut keyboard, 1, "a", 1), Ok(Accepted::Anew));
        assert_eq!(typed(&mut keyboard, 1, "a", 2), Ok(Accepted::Anew));
        let due = 1 + Hold::NOTED_WITHIN.as_secs();
        assert_eq!(keyboard.deadline(), Deadline::At(now(due).monotonic));
        assert_eq!(keyboard.on_time(now(due - 1)), None);
        let noted = keyboard.on_time(now(due)).unwrap();
        assert_eq!((noted.bytes, noted.unconfirmed, noted.ended), (20, 20, None));
        assert_eq!(keyboard.on_time(now(due)), None, "once");
        assert!(keyboard.holder().is_some());
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
        /// Whatever happens: of two dashboards never both are accepted under one hold, a hold that ended accepts
        /// nothing,
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
                        let noted = keyboard.on_time(now(time));
                        ended.extend(noted.filter(|record| record.ended.is_some()));
                    }
                }
                let outstanding = keyboard.record().map_or(0, |record| record.unconfirmed);
                prop_assert!(outstanding <= Hold::OUTSTANDING as u64);
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
