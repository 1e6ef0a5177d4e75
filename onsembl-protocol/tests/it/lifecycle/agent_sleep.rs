//! Hosts that sleep, processes that stall, clocks that step: none of it is the server's fault.

use super::solo::{Agent, TERMS};
use crate::support::{awake_and_asleep, ms, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::session::{AgentAction, AgentCause, AgentEvent, DialFailure};
use onsembl_protocol::time::{Deadline, Timestamp};

fn beats(actions: &[AgentAction]) -> usize {
    actions.iter().filter(|a| matches!(a, AgentAction::SendBeat { .. })).count()
}

#[test]
fn after_a_nap_a_beat_goes_at_once() {
    let mut agent = Agent::in_session(TERMS);
    agent.run_until(secs(10));
    agent.asleep += secs(60);
    let out = agent.feed(AgentEvent::Wake);
    assert_eq!(beats(&out), 1);
    assert_eq!(agent.status(), "connected");
}

#[test]
fn from_a_second_on_it_is_a_sleep() {
    for (asleep, expected) in [(ms(999), 0), (secs(1), 1)] {
        let mut agent = Agent::in_session(TERMS);
        agent.run_until(secs(10));
        agent.asleep += asleep;
        assert_eq!(beats(&agent.feed(AgentEvent::Wake)), expected, "{asleep:?}");
    }
}

#[test]
fn after_a_long_sleep_the_link_is_dialled_anew_at_once() {
    let mut agent = Agent::in_session(TERMS);
    let old = agent.link();
    agent.run_until(secs(10));
    agent.asleep += secs(8 * 3600);
    let out = agent.feed(AgentEvent::Wake);
    assert_eq!(out[0], AgentAction::Close(old, CloseCause::Silent));
    let AgentAction::Report(report) = out[1] else { panic!("{out:?}") };
    assert_eq!(report.cause, AgentCause::Slept(secs(8 * 3600)));
    agent.run_until(ms(10_001));
    assert_eq!(agent.status(), "connecting");
}

#[test]
fn after_sleep_every_wait_is_over_and_the_backoff_begins_anew() {
    let mut agent = Agent::new(4);
    agent.feed(AgentEvent::Start);
    for _ in 0..10 {
        let link = agent.link();
        agent.feed(AgentEvent::DialFailed(link, DialFailure::Unreachable));
        let retry = agent.retry_at();
        agent.run_until(retry);
    }
    let link = agent.link();
    agent.feed(AgentEvent::DialFailed(link, DialFailure::Unreachable));
    agent.asleep += secs(5);
    agent.feed(AgentEvent::Wake);
    let now = agent.at;
    agent.run_until(now + ms(1));
    assert_eq!(agent.status(), "connecting");
    let link = agent.link();
    agent.feed(AgentEvent::DialFailed(link, DialFailure::Unreachable));
    assert!(agent.retry_at() - agent.at <= secs(1));
}

#[test]
fn a_server_that_asked_for_peace_gets_it_also_when_the_host_sleeps() {
    let busy = DialFailure::Busy { retry_after: Some(secs(60)) };
    let waiting = || {
        let mut agent = Agent::new(4);
        agent.feed(AgentEvent::Start);
        let link = agent.link();
        agent.feed(AgentEvent::DialFailed(link, busy));
        agent
    };
    let mut nap = waiting();
    nap.asleep += secs(20);
    nap.feed(AgentEvent::Wake);
    assert!(nap.retry_at() >= secs(40), "{:?}", nap.retry_at());
    assert!(nap.retry_at() <= secs(42), "the sleep counts as waiting: {:?}", nap.retry_at());
    let mut night = waiting();
    night.asleep += secs(700);
    night.feed(AgentEvent::Wake);
    assert!(night.retry_at() <= ms(1));
}

#[test]
fn a_sleep_puts_off_no_attempt_that_was_due() {
    let mut agent = Agent::new(4);
    agent.feed(AgentEvent::Start);
    let link = agent.link();
    let busy = DialFailure::Busy { retry_after: Some(secs(1)) };
    agent.feed(AgentEvent::DialFailed(link, busy));
    agent.at += secs(60);
    agent.asleep += secs(120);
    agent.feed(AgentEvent::Wake);
    assert_eq!(agent.status(), "connecting");
}

#[test]
fn a_stop_right_after_sleep_is_one_report_and_closes_the_link() {
    for asleep in [secs(5), secs(8 * 3600)] {
        let mut agent = Agent::in_session(TERMS);
        let link = agent.link();
        agent.run_until(secs(10));
        agent.asleep += asleep;
        let out = agent.feed(AgentEvent::Stop);
        let reports = out.iter().filter(|a| matches!(a, AgentAction::Report(_))).count();
        assert_eq!(reports, 1, "{out:?}");
        assert!(out.contains(&AgentAction::Close(link, CloseCause::AgentStopped)), "{out:?}");
        assert_eq!(agent.status(), "closed");
    }
}

#[test]
fn a_process_that_stalled_blames_nobody() {
    for stall in [1, 40, 50, 100, 3600] {
        let mut agent = Agent::in_session(TERMS);
        agent.run_until(secs(44));
        agent.stall_until(secs(45 + stall));
        let out = agent.feed(AgentEvent::Wake);
        assert!(matches!(out[0], AgentAction::Overslept(_)), "{out:?}");
        assert_eq!(agent.status(), "connected", "after {stall}s");
        // From here on the silence counts.
        let from = agent.at;
        agent.run_until(from + secs(200));
        let story = agent.story(ms(1));
        assert_eq!(story[0].1, "stale");
        assert!(story[0].0 >= from + ms(900), "{story:?}");
        assert_eq!(story[1].1, "timed-out");
        assert!(story[1].0 - story[0].0 >= secs(45), "{story:?}");
    }
}

#[test]
fn a_clock_that_steps_back_stands_still_and_is_no_sleep() {
    for back in [1, 10, 100, 1000] {
        let mut agent = Agent::in_session(TERMS);
        agent.run_healthy_until(secs(2000));
        let before = agent.log.len();
        let earlier = awake_and_asleep(secs(2000 - back), ms(0));
        assert!(agent.machine.handle(AgentEvent::Wake, earlier).actions.is_empty());
        let step = agent.machine.handle(AgentEvent::Wake, awake_and_asleep(secs(2001), ms(0)));
        assert!(step.actions.is_empty(), "after {back}s back: {:?}", step.actions);
        assert_eq!((agent.status(), agent.log.len()), ("connected", before));
    }
}

#[test]
fn every_wait_ends_whatever_the_clocks_do() {
    let mut agent = Agent::in_session(TERMS);
    agent.lose(CloseReason::broken(Breakage::Reset));
    let far = awake_and_asleep(secs(u64::MAX / 2_000_000_000), ms(0));
    let step = agent.machine.handle(AgentEvent::Wake, far);
    let Deadline::At(at) = step.deadline else { panic!("no way out") };
    assert!(at > far.monotonic || at == Timestamp::MAX);
}
