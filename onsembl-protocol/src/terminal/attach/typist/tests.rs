//! What is typed, alone and against the keyboard of a server.

use super::*;
use alloc::vec;
use alloc::vec::Vec;

fn ms(n: u64) -> Timestamp {
    Timestamp::ORIGIN.saturating_add(Duration::from_millis(n))
}

fn state(holder: Option<&str>, taken: u64, about: SaidAbout) -> KeyboardSaid {
    KeyboardSaid {
        about,
        holder: holder.map(HoldId::new),
        name: "somebody".to_owned(),
        taken: InputSequence(taken),
        because: String::new(),
    }
}

fn sent(typist: &mut Typist) -> Vec<(u64, Vec<u8>)> {
    core::iter::from_fn(|| typist.next_message())
        .filter_map(|message| match message {
            TypistSays::Input { sequence, bytes, .. } => Some((sequence.0, bytes.to_vec())),
            TypistSays::Take(_) | TypistSays::Release(_) => None,
        })
        .collect()
}

fn wish(typist: &mut Typist) -> Option<TakeForce> {
    match typist.next_message()? {
        TypistSays::Take(force) => Some(force),
        other => panic!("{other:?}"),
    }
}

fn types(typist: &mut Typist, bytes: &[u8]) -> bool {
    typist.typed(Bytes::copy_from_slice(bytes), ms(0))
}

fn holding(of: Wish) -> Typist {
    let mut typist = Typist::new(of);
    typist.connected(true, ms(0));
    let _ = wish(&mut typist);
    typist.on_state(state(Some("h"), 0, SaidAbout::Wish));
    assert!(typist.holds());
    typist
}

/// After a restart of the server an agent may be back later than who looks at it.
#[test]
fn the_keyboard_of_an_agent_that_was_away_is_asked_for_again() {
    let mut typist = holding(Wish::Type);
    typist.link_lost();
    typist.connected(true, ms(0));
    assert_eq!(wish(&mut typist), Some(TakeForce::IfFree));
    assert!(typist.on_refused(Refused::WishWhileAway, "the agent is away", ms(10)));
    assert_eq!(typist.take_notice().as_deref(), Some("the agent is away"));
    for second in 1..=3 {
        let again = ms(second * 1000 + 10);
        assert_eq!(typist.deadline(), Deadline::At(again));
        typist.on_time(ms(second * 1000 + 9));
        assert_eq!(wish(&mut typist), None);
        typist.on_time(again);
        assert_eq!(wish(&mut typist), Some(TakeForce::IfFree));
        assert!(typist.on_refused(Refused::WishWhileAway, "the agent is away", again));
        assert_eq!(typist.take_notice(), None, "it was told");
    }
    // A key asks at once, and is told that it was not typed.
    assert!(typist.typed(Bytes::from_static(b"a"), ms(3100)));
    assert_eq!(wish(&mut typist), Some(TakeForce::IfFree));
    assert!(typist.on_refused(Refused::WishWhileAway, "nothing was typed", ms(3100)));
    assert_eq!(typist.take_notice().as_deref(), Some("nothing was typed"));
    typist.on_time(ms(4100));
    assert_eq!(wish(&mut typist), Some(TakeForce::IfFree));
    typist.on_state(state(Some("another"), 0, SaidAbout::Wish));
    assert!(typist.holds());
    assert!(sent(&mut typist).is_empty(), "what was refused is not typed later");
}

#[test]
fn what_is_typed_goes_out_in_order_and_is_bounded_on_its_way() {
    let mut typist = holding(Wish::Type);
    assert!(types(&mut typist, b"a") && types(&mut typist, b"b"));
    assert_eq!(sent(&mut typist), [(1, b"a".to_vec()), (2, b"b".to_vec())]);
    assert!(types(&mut typist, &[b'x'; 200_000]));
    assert!(!types(&mut typist, &vec![b'x'; WAITING]));
    assert!(typist.take_notice().unwrap().contains("does not read"));
    let first = sent(&mut typist);
    assert!(first.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= UNDER_WAY + PIECE);
    assert!(first.iter().all(|(_, bytes)| bytes.len() <= PIECE));
    typist.on_state(state(Some("h"), 100, SaidAbout::News));
    assert!(!sent(&mut typist).is_empty());
}

#[test]
fn what_was_refused_for_now_is_sent_again_under_its_numbers() {
    let mut typist = holding(Wish::Type);
    let now = ms(0);
    assert!(types(&mut typist, b"a") && types(&mut typist, b"b"));
    let before = sent(&mut typist);
    typist.on_state(state(Some("h"), 1, SaidAbout::News));
    assert!(typist.on_refused(Refused::InputForNow, "why", now));
    typist.on_time(now);
    assert!(sent(&mut typist).is_empty());
    typist.on_time(now.saturating_add(AGAIN_AFTER));
    assert_eq!(sent(&mut typist), before[1..]);
}

#[test]
fn what_was_on_its_way_when_the_link_was_lost_is_not_sent_again() {
    let mut typist = holding(Wish::Type);
    assert!(types(&mut typist, b"secret"));
    let _ = sent(&mut typist);
    typist.link_lost();
    assert!(typist.take_notice().unwrap().contains("6 bytes"));
    assert!(!types(&mut typist, b"away"), "it is not accepted");
    typist.connected(true, ms(0));
    assert_eq!(wish(&mut typist), Some(TakeForce::IfFree));
    // The server has not noticed that the old link is lost.
    typist.on_state(state(Some("h"), 0, SaidAbout::News));
    assert!(typist.on_refused(Refused::WishWhileHeld, "why", ms(0)));
    assert_eq!(wish(&mut typist), Some(TakeForce::Over));
    typist.on_state(state(Some("i"), 0, SaidAbout::Wish));
    assert!(typist.holds() && sent(&mut typist).is_empty());
}

#[test]
fn nobody_takes_back_by_a_key_what_another_took_over() {
    let mut typist = holding(Wish::TakeOver);
    typist.on_state(state(Some("other"), 0, SaidAbout::News));
    assert!(!typist.holds() && !types(&mut typist, b"x"));
    assert!(typist.take_notice().unwrap().contains("somebody holds the keyboard"));
    typist.on_state(state(None, 0, SaidAbout::News));
    assert!(types(&mut typist, b"x"), "it is free again");
    assert_eq!(wish(&mut typist), Some(TakeForce::IfFree));
}

#[test]
fn what_is_typed_before_the_first_link_is_there_waits_for_it() {
    let mut typist = Typist::new(Wish::Type);
    assert!(types(&mut typist, b"early"));
    typist.connected(true, ms(0));
    let _ = wish(&mut typist);
    typist.on_state(state(Some("h"), 0, SaidAbout::Wish));
    assert_eq!(sent(&mut typist), [(1, b"early".to_vec())]);
}

#[test]
fn who_only_looks_asks_for_nothing() {
    let mut typist = Typist::new(Wish::Look);
    typist.connected(true, ms(0));
    typist.on_state(state(None, 0, SaidAbout::News));
    assert!(typist.next_message().is_none() && !types(&mut typist, b"x"));
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for_without_end() {
    let mut typist = Typist::new(Wish::Type);
    typist.connected(true, ms(0));
    let _ = wish(&mut typist);
    assert!(types(&mut typist, b"x"));
    assert_eq!(typist.deadline(), Deadline::At(ms(10_000)));
    typist.on_time(ms(9_999));
    assert_eq!(typist.take_notice(), None);
    typist.on_time(ms(10_000));
    assert!(typist.take_notice().unwrap().contains("did not say"));
    assert_eq!(typist.deadline(), Deadline::Never);
    assert!(types(&mut typist, b"y"));
    assert_eq!(wish(&mut typist), Some(TakeForce::IfFree));
    typist.on_state(state(Some("h"), 0, SaidAbout::Wish));
    assert_eq!(sent(&mut typist), [(1, b"y".to_vec())], "what was dropped is not typed later");
}

proptest::proptest! {
    /// Against the keyboard of a server, over links that are lost at any moment: what a person typed comes there in
    /// order,
    /// and nothing of it twice.
    #[test]
    fn what_is_typed_arrives_once_and_in_order(steps in proptest::collection::vec(0..9_u8, 1..120)) {
        use super::super::super::keyboard::{Accepted, Keyboard, KeyboardRefusal, Taken, Taker};
        use crate::id::DashboardId;
        use crate::terminal::HoldEnd;
        use crate::time::Now;
        let mut keyboard = Keyboard::default();
        let mut typist = Typist::new(Wish::Type);
        let (mut dashboard, mut holds, mut now, mut letter) = (1, 0_u32, 0, 0_u32);
        let (mut typed, mut arrived): (Vec<u32>, Vec<u32>) = (vec![], vec![]);
        let mut wire: VecDeque<TypistSays> = VecDeque::new();
        typist.connected(true, ms(0));
        for step in steps {
            now += 100;
            let at = Now::without_suspend(Duration::from_millis(now));
            match step {
                0..=3 => {
                    letter += 1;
                    if typist.typed(Bytes::copy_from_slice(&letter.to_le_bytes()), ms(now)) {
                        typed.push(letter);
                    }
                }
                4..=6 => {
                    let Some(message) = wire.pop_front() else { continue };
                    match message {
                        TypistSays::Take(force) => {
                            holds += 1;
                            let id = HoldId::new(format!("h-{holds}"));
                            let taker = Taker { by: DashboardId(dashboard), name: String::new(), force };
                            match keyboard.take(taker, id, at) {
                                Ok(Taken::Anew(_) | Taken::Kept) => {
                                    let view = keyboard.view().unwrap();
                                    typist.on_state(state(Some(view.hold.as_str()), 0, SaidAbout::Wish));
                                }
                                Err(KeyboardRefusal::Held { .. }) => {
                                    let _ = typist.on_refused(Refused::WishWhileHeld, "held", ms(now));
                                }
                                Err(other) => panic!("{other}"),
                            }
                        }
                        TypistSays::Input { hold, sequence, bytes } => {
                            let input = (sequence, bytes.len());
                            match keyboard.input(DashboardId(dashboard), &hold, input, at) {
                                Ok(Accepted::Anew) => {
                                    arrived.extend(bytes.chunks(4).map(|n| u32::from_le_bytes(n.try_into().unwrap())));
                                    let _ = keyboard.on_taken(&hold, sequence);
                                    typist.on_state(state(Some(hold.as_str()), sequence.0, SaidAbout::News));
                                }
                                Ok(Accepted::Repeated) => {}
                                Err(KeyboardRefusal::Hole { .. } | KeyboardRefusal::TooMuchWaits { .. }) => {
                                    let _ = typist.on_refused(Refused::InputForNow, "later", ms(now));
                                }
                                Err(_) => {
                                    let _ = typist.on_refused(Refused::Input, "no", ms(now));
                                }
                            }
                        }
                        TypistSays::Release(_) => {}
                    }
                }
                7 => {
                    // The link is lost with all that was on it; the server notices at once or never.
                    wire.clear();
                    typist.link_lost();
                    if letter % 2 == 0 {
                        let _ = keyboard.end(HoldEnd::LinkLost, at.wall);
                    }
                    dashboard += 1;
                    typist.connected(true, ms(now));
                    let holder = keyboard.view().map(|view| view.hold);
                    typist.on_state(state(holder.as_ref().map(HoldId::as_str), 0, SaidAbout::News));
                }
                _ => typist.on_time(ms(now)),
            }
            wire.extend(core::iter::from_fn(|| typist.next_message()));
        }
        let mut rest = typed.iter();
        for letter in &arrived {
            proptest::prop_assert!(rest.any(|one| one == letter), "{letter} twice or out of order");
        }
    }
}
