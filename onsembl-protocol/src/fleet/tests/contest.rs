//! Two live processes of one agent.

use super::kit::{Kit, hello};
use crate::fleet::*;
use crate::id::{AgentId, LinkId};
use crate::session::PresenceStatus;
use crate::time::Deadline;
use crate::wire::payload::Pong;
use crate::wire::{AgentToServer, ServerToAgent};
use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn kit() -> Kit {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("p", "a", &[]));
    assert_eq!(kit.joined, [LinkId(1)]);
    kit
}

fn answer(kit: &mut Kit) {
    kit.say(AgentToServer::Pong(Pong::default()));
}

fn is_asked(kit: &Kit) -> usize {
    kit.sent.iter().filter(|message| matches!(message, ServerToAgent::Ping(_))).count()
}

fn shown(kit: &Kit) -> Option<String> {
    let agent = kit.view.agents().get(&AgentId::new(super::kit::AGENT)).unwrap();
    assert_eq!(
        agent.contest.is_some(),
        agent.because().contains("times") || agent.because().contains("once")
    );
    agent.contest.as_ref().map(ToString::to_string)
}

#[test]
fn a_process_that_answers_keeps_the_session_and_the_other_is_told_why() {
    let mut kit = kit();
    kit.hello(2, hello("q", "b", &[]));
    assert_eq!((is_asked(&kit), kit.joined.len(), kit.refused.len()), (1, 1, 0));
    answer(&mut kit);
    assert_eq!(kit.joined, [LinkId(1)]);
    let (link, why) = kit.refused[0].clone();
    assert_eq!(link, LinkId(2));
    for word in ["on host a", "state directory", "contested once", "hosts a and b"] {
        assert!(why.contains(word), "{word}: {why}");
    }
    assert_eq!(shown(&kit).unwrap(), "contested once in a minute by processes on hosts a and b");
    // The wait for an answer is over: nothing comes of it later.
    kit.wait(10 * SECOND);
    assert_eq!(kit.joined, [LinkId(1)]);
}

#[test]
fn a_process_that_does_not_answer_is_replaced_after_three_seconds_and_no_sooner() {
    let mut kit = kit();
    kit.hello(2, hello("q", "b", &[]));
    kit.wait(3 * SECOND - Duration::from_millis(1));
    assert_eq!(kit.joined, [LinkId(1)]);
    kit.wait(Duration::from_millis(1));
    assert_eq!(kit.joined, [LinkId(1), LinkId(2)]);
    assert_eq!(shown(&kit).unwrap(), "replaced once in a minute by processes on hosts a and b");
}

#[test]
fn a_successor_of_a_process_whose_link_ended_waits_for_nothing() {
    let mut kit = kit();
    kit.lose(1);
    kit.hello(2, hello("q", "a", &[]));
    assert_eq!(kit.joined, [LinkId(1), LinkId(2)]);
    assert_eq!((is_asked(&kit), shown(&kit)), (0, None));
    // Nor one that came before the server knew of that end.
    kit.hello(3, hello("r", "a", &[]));
    assert_eq!(kit.joined.len(), 2);
    kit.lose(2);
    assert_eq!(kit.joined, [LinkId(1), LinkId(2), LinkId(3)]);
    assert_eq!(shown(&kit), None);
}

#[test]
fn a_silent_process_is_not_asked_and_the_same_process_never() {
    let mut kit = kit();
    kit.hello(2, hello("p", "a", &[]));
    assert_eq!((kit.joined.len(), is_asked(&kit)), (2, 0), "a newer link of the same process");
    let stale = kit.presence(kit.seat.unwrap(), PresenceStatus::Stale);
    kit.feed(stale);
    kit.hello(3, hello("q", "a", &[]));
    assert_eq!((kit.joined.len(), is_asked(&kit)), (3, 0));
}

#[test]
fn contests_are_counted_noted_now_and_again_and_forgotten() {
    let mut kit = kit();
    for n in 0..20 {
        kit.hello(2 + n, hello("q", if n % 2 == 0 { "b" } else { "c" }, &[]));
        answer(&mut kit);
        kit.wait(4 * SECOND);
    }
    let text = shown(&kit).unwrap();
    assert_eq!(text, "contested 16 times in a minute by processes on hosts a, b and c");
    let noted = kit.notes.iter().filter(|n| matches!(n, FleetNote::Contested { .. })).count();
    assert_eq!(noted, 2, "in 80 s");
    kit.wait(117 * SECOND);
    assert_eq!(shown(&kit), None);
    assert_eq!(kit.fleet.deadline(), Deadline::Never);
}

#[test]
fn few_hellos_wait_for_an_answer_and_all_get_it() {
    let mut kit = kit();
    for n in 0..10 {
        kit.hello(2 + n, hello(&format!("q-{n}"), "b", &[]));
    }
    assert_eq!((is_asked(&kit), kit.refused.len()), (1, 6));
    answer(&mut kit);
    assert_eq!((kit.joined.len(), kit.refused.len()), (1, 10));
}
