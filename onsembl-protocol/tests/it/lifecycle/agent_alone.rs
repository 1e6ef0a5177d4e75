//! The agent's machine against a scripted server: dialling, joining, silence, and what ends it.

use super::solo::{Agent, TERMS, healthy_beat, peer_closed, peer_code, server_beat};
use crate::support::{ms, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::liveness::{BackoffPolicy, HeartbeatTiming};
use onsembl_protocol::session::{
    AgentAction, AgentCause, AgentEvent, AgentInbound, AgentStatus, DialFailure, Dialect, EndOrder,
    HelloRefusal, SessionTerms, TokenUse,
};
use onsembl_protocol::time::Deadline;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn dialling(seed: u64) -> Agent {
    let mut agent = Agent::new(seed);
    agent.feed(AgentEvent::Start);
    agent
}

fn fail(agent: &mut Agent, failure: DialFailure) {
    let link = agent.link();
    agent.feed(AgentEvent::DialFailed(link, failure));
}

fn attempt(agent: &Agent) -> u32 {
    match agent.machine.status() {
        AgentStatus::Connecting { attempt } => attempt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_agent_that_was_not_started_does_nothing() {
    let mut agent = Agent::new(1);
    agent.run_until(DAY);
    assert_eq!((agent.status(), agent.log.len()), ("idle", 0));
}

#[test]
fn the_first_beat_goes_at_once_and_the_others_once_an_interval() {
    let mut agent = Agent::in_session(TERMS);
    agent.run_healthy_until(secs(120));
    let beats: Vec<Duration> = agent
        .log
        .iter()
        .filter(|(_, action)| matches!(action, AgentAction::SendBeat { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(beats, [0, 30, 60, 90, 120].map(secs));
}

#[test]
fn the_servers_times_are_obeyed() {
    let timing = HeartbeatTiming::new(secs(1), ms(2500), secs(5)).unwrap();
    let mut agent = Agent::in_session(SessionTerms { timing, ..TERMS });
    agent.run_until(ms(5000));
    assert_eq!(agent.story(ms(1)), [(ms(2500), "stale"), (ms(5000), "timed-out")]);
    assert_eq!(agent.count(|a| matches!(a, AgentAction::SendBeat { .. })), 5);
}

#[test]
fn a_silent_server_is_stale_then_given_up_and_dialled_again() {
    let mut agent = Agent::in_session(TERMS);
    let old = agent.link();
    agent.run_until(secs(90));
    assert_eq!(agent.story(ms(1)), [(secs(45), "stale"), (secs(90), "timed-out")]);
    let given_up = AgentAction::Close(old, CloseCause::Silent);
    assert!(agent.log.contains(&(secs(90), given_up)));
    agent.run_until(secs(92));
    assert!(agent.link() > old, "the first window of the backoff is one second");
}

#[test]
fn one_frame_makes_a_stale_server_live_again() {
    let mut agent = Agent::in_session(TERMS);
    agent.run_until(secs(60));
    agent.hear(AgentInbound::Other);
    assert_eq!(agent.story(ms(1)), [(secs(45), "stale"), (secs(60), "connected")]);
    agent.run_until(ms(104_999));
    assert_eq!(agent.status(), "connected");
}

#[test]
fn a_day_of_answered_beats_changes_no_status() {
    let mut agent = Agent::in_session(TERMS);
    agent.run_healthy_until(DAY);
    assert_eq!(agent.story(ms(1)), []);
    assert_eq!(agent.machine.impairment(), None);
    assert_eq!(agent.count(|a| matches!(a, AgentAction::SendBeat { .. })), 2881);
}

#[test]
fn network_failures_never_end_the_attempts() {
    for failure in [
        DialFailure::Unreachable,
        DialFailure::TimedOut,
        DialFailure::Tls,
        DialFailure::NotAServer(404),
        DialFailure::NotAServer(401),
        DialFailure::NotAServer(403),
        DialFailure::NoToken,
        DialFailure::NotAServer(0),
        DialFailure::Busy { retry_after: None },
        DialFailure::Unauthorized,
    ] {
        let mut agent = dialling(3);
        let mut before = Duration::ZERO;
        while agent.at < 3 * DAY {
            fail(&mut agent, failure);
            let retry = agent.retry_at();
            let wait = retry - before;
            assert!(wait <= BackoffPolicy::DEFAULT.longest_wait(), "{failure:?} waits {wait:?}");
            agent.run_until(retry);
            assert_eq!(agent.status(), "connecting");
            before = retry;
        }
    }
}

#[test]
fn ten_minutes_of_rejection_cost_less_than_thirty_attempts() {
    // Also when each link opens and is closed before the hello is answered.
    for seed in 0..50 {
        let mut agent = dialling(seed);
        while agent.at < secs(600) {
            let link = agent.link();
            agent.feed(AgentEvent::LinkUp(link));
            agent.lose(peer_code(1011));
            let retry = agent.retry_at();
            agent.run_until(retry);
        }
        assert!(agent.link().0 < 30, "{} attempts", agent.link());
    }
}

#[test]
fn the_backoff_begins_anew_only_after_a_stable_session() {
    let mut agent = dialling(5);
    for expected in 1..=6 {
        assert_eq!(attempt(&agent), expected);
        agent.join(TERMS);
        let lost = agent.at + ms(9_999);
        agent.run_until(lost);
        agent.lose(CloseReason::broken(Breakage::Reset));
        let retry = agent.retry_at();
        agent.run_until(retry);
    }
    agent.join(TERMS);
    let lost = agent.at + ms(10_000);
    agent.run_until(lost);
    agent.lose(CloseReason::broken(Breakage::Reset));
    let retry = agent.retry_at();
    assert!(retry - lost <= secs(1), "the first window is one second, not {:?}", retry - lost);
    agent.run_until(retry);
    assert_eq!(attempt(&agent), 1);
}

#[test]
fn an_accepted_link_without_an_accepted_hello_resets_nothing() {
    let mut agent = dialling(5);
    for expected in 1..=8 {
        assert_eq!(attempt(&agent), expected);
        let link = agent.link();
        agent.feed(AgentEvent::LinkUp(link));
        let lost = agent.at + secs(20);
        agent.run_until(lost);
        agent.lose(CloseReason::broken(Breakage::Reset));
        let retry = agent.retry_at();
        agent.run_until(retry);
    }
}

#[test]
fn a_retry_after_is_obeyed() {
    for seed in 0..50 {
        let mut agent = dialling(seed);
        fail(&mut agent, DialFailure::Busy { retry_after: Some(secs(45)) });
        let retry = agent.retry_at();
        assert!(retry >= secs(45) && retry <= secs(46), "{retry:?}");
    }
}

#[test]
fn nobody_puts_an_agent_to_sleep_for_more_than_a_minute() {
    for asked in [61, 86_400, 31_536_000, u64::MAX] {
        let mut agent = dialling(7);
        fail(&mut agent, DialFailure::Busy { retry_after: Some(Duration::from_secs(asked)) });
        let retry = agent.retry_at();
        assert!(retry >= secs(60) && retry <= secs(61), "{asked}: {retry:?}");
    }
}

#[test]
fn a_missing_token_and_a_refusal_of_a_proxy_are_tried_again_by_the_ordinary_backoff() {
    for failure in
        [DialFailure::NoToken, DialFailure::NotAServer(401), DialFailure::NotAServer(403)]
    {
        let mut agent = dialling(7);
        fail(&mut agent, failure);
        assert!(agent.retry_at() <= secs(1), "{failure:?}: {:?}", agent.retry_at());
        assert_eq!(agent.machine.token_use(), TokenUse::None, "{failure:?}");
    }
}

#[test]
fn another_token_ends_the_wait_for_one() {
    for lost in [false, true] {
        let mut agent = if lost { Agent::in_session(TERMS) } else { dialling(7) };
        match lost {
            true => {
                agent.run_until(secs(20));
                agent.lose(peer_closed(CloseCause::TokenExpired));
            }
            false => fail(&mut agent, DialFailure::Unauthorized),
        }
        assert_eq!(agent.machine.token_use(), TokenUse::EndsTheWait);
        let now = agent.at;
        assert!(agent.retry_at() - now >= secs(30));
        agent.feed(AgentEvent::TokenChanged);
        assert_eq!(agent.machine.token_use(), TokenUse::None);
        assert!(agent.retry_at() - now <= secs(1), "{:?}", agent.retry_at() - now);
        // The next change finds nobody waiting for it.
        let retry = agent.retry_at();
        agent.feed(AgentEvent::TokenChanged);
        assert_eq!(agent.retry_at(), retry);
    }
}

#[test]
fn a_session_goes_on_with_a_newer_token_at_once_and_with_a_legacy_server_when_the_old_one_ends() {
    let mut agent = Agent::in_session(TERMS);
    agent.run_healthy_until(secs(100));
    assert_eq!(agent.machine.token_use(), TokenUse::RenewsTheSession);
    let (link, now) = (agent.link(), agent.at);
    let done = agent.feed(AgentEvent::TokenChanged);
    assert_eq!(done.first(), Some(&AgentAction::Close(link, CloseCause::Superseded)));
    assert!(agent.retry_at() - now <= ms(1), "{:?}", agent.retry_at() - now);
    agent.run_until(now + ms(1));
    assert_eq!((agent.status(), attempt(&agent)), ("connecting", 1));

    let mut agent = Agent::in_session(SessionTerms { dialect: Dialect::Legacy, ..TERMS });
    assert_eq!(agent.machine.token_use(), TokenUse::None);
    assert_eq!(agent.feed(AgentEvent::TokenChanged), []);
    assert_eq!(agent.status(), "connected");
}

#[test]
fn a_source_that_changes_all_the_time_does_not_make_a_storm() {
    let mut agent = dialling(7);
    while agent.at < secs(600) {
        fail(&mut agent, DialFailure::Unauthorized);
        agent.feed(AgentEvent::TokenChanged);
        let retry = agent.retry_at();
        agent.run_until(retry);
    }
    assert!(agent.link().0 < 60, "{} attempts", agent.link());
}

#[test]
fn a_refused_token_is_tried_again_slowly_and_for_ever() {
    let mut agent = dialling(9);
    for _ in 0..1000 {
        let from = agent.at;
        fail(&mut agent, DialFailure::Unauthorized);
        let wait = agent.retry_at() - from;
        assert!(wait >= secs(30) && wait <= secs(60), "{wait:?}");
        agent.run_until(from + wait);
    }
    agent.join(TERMS);
    assert_eq!(agent.status(), "connected");
}

#[test]
fn forbidden_stops_for_good() {
    let mut agent = dialling(1);
    fail(&mut agent, DialFailure::Forbidden);
    assert_eq!((agent.status(), agent.deadline), ("closed", Deadline::Never));
    assert_eq!(agent.feed(AgentEvent::Start), []);
    agent.run_until(3 * DAY);
    assert_eq!(agent.link(), LinkId(1));
}

#[test]
fn only_an_explicit_refusal_of_the_server_stops_the_agent() {
    for &cause in CloseCause::ALL {
        let stops =
            matches!(cause, CloseCause::Replaced | CloseCause::Revoked | CloseCause::Deleted);
        let mut agent = Agent::in_session(TERMS);
        agent.lose(peer_closed(cause));
        assert_eq!(agent.status() == "closed", stops, "{cause}");
        if !stops {
            let patience = if cause == CloseCause::TokenExpired { secs(60) } else { secs(1) };
            assert!(agent.retry_at() <= patience, "{cause}: {:?}", agent.retry_at());
        }
        // The same code from this end, or from a broken link, stops nothing.
        let mut agent = Agent::in_session(TERMS);
        agent.lose(CloseReason::local(cause));
        assert_eq!(agent.status(), "reconnecting", "{cause}");
    }
    for code in [1000, 1001, 1005, 1006, 1012, 1015, 3000, 4000, 4999] {
        let mut agent = Agent::in_session(TERMS);
        agent.lose(peer_code(code));
        assert_eq!(agent.status(), "reconnecting", "{code}");
    }
    let mut agent = Agent::in_session(TERMS);
    agent.lose(CloseReason::peer(None));
    assert_eq!(agent.status(), "reconnecting");
}

#[test]
fn a_dial_without_outcome_is_given_up_and_its_late_link_is_closed() {
    let mut agent = dialling(1);
    let late = agent.link();
    agent.run_until(secs(10));
    assert_eq!(agent.status(), "reconnecting");
    assert!(agent.log.contains(&(secs(10), AgentAction::Close(late, CloseCause::NoAnswer))));
    let orphan = AgentAction::Close(late, CloseCause::Superseded);
    assert_eq!(agent.feed(AgentEvent::LinkUp(late)), [orphan]);
    agent.run_until(secs(11));
    assert_eq!(agent.feed(AgentEvent::LinkUp(late)), [orphan]);
    assert_eq!(agent.status(), "connecting");
    assert_ne!(agent.link(), late);
}

#[test]
fn a_hello_without_answer_is_given_up() {
    let mut agent = dialling(1);
    let link = agent.link();
    agent.feed(AgentEvent::LinkUp(link));
    for n in 1..30 {
        agent.run_until(secs(n));
        agent.hear(AgentInbound::Other);
    }
    assert_eq!(agent.status(), "joining", "frames are no answer");
    agent.run_until(secs(30));
    assert_eq!(agent.status(), "reconnecting");
    assert!(agent.log.contains(&(secs(30), AgentAction::Close(link, CloseCause::NoAnswer))));
}

#[test]
fn a_hello_that_is_refused_is_said_again_later() {
    for (refusal, least, most) in
        [(HelloRefusal::Unauthorized, 30, 60), (HelloRefusal::Other, 0, 1)]
    {
        let mut agent = dialling(1);
        let link = agent.link();
        agent.feed(AgentEvent::LinkUp(link));
        agent.hear(AgentInbound::HelloRefused(refusal));
        assert!(agent.retry_at() >= secs(least) && agent.retry_at() <= secs(most), "{refusal:?}");
        assert_eq!(agent.count(|a| matches!(a, AgentAction::Close(l, _) if *l == link)), 1);
    }
}

#[test]
fn a_stop_ends_every_state_and_says_so_to_the_server() {
    let states: [(&str, fn() -> Agent, bool); 6] = [
        ("idle", || Agent::new(1), false),
        ("connecting", || dialling(1), true),
        (
            "joining",
            || {
                let mut agent = dialling(1);
                agent.feed(AgentEvent::LinkUp(LinkId(1)));
                agent
            },
            true,
        ),
        ("connected", || Agent::in_session(TERMS), true),
        (
            "stale",
            || {
                let mut agent = Agent::in_session(TERMS);
                agent.run_until(secs(50));
                agent
            },
            true,
        ),
        (
            "timed-out",
            || {
                let mut agent = Agent::in_session(TERMS);
                agent.run_until(secs(90));
                agent
            },
            false,
        ),
    ];
    for (name, state, has_link) in states {
        let mut agent = state();
        assert_eq!(agent.status(), name);
        let close = AgentAction::Close(agent.link(), CloseCause::AgentStopped);
        let out = agent.feed(AgentEvent::Stop);
        assert_eq!(out.contains(&close), has_link, "{name}");
        assert_eq!((agent.status(), agent.deadline), ("closed", Deadline::Never), "{name}");
        for event in [AgentEvent::Start, AgentEvent::Wake, AgentEvent::Stop] {
            assert_eq!(agent.feed(event), [], "{name}");
        }
    }
}

#[test]
fn an_agent_that_an_order_ended_says_so_to_a_server_that_knows_the_word() {
    let older = SessionTerms { end_orders: false, ..TERMS };
    let legacy = SessionTerms { dialect: Dialect::Legacy, ..older };
    for (terms, order, code) in [
        (TERMS, EndOrder::Stop, 4107),
        (TERMS, EndOrder::Restart, 4108),
        (older, EndOrder::Stop, 4103),
        (older, EndOrder::Restart, 4103),
        (legacy, EndOrder::Stop, 4103),
        (legacy, EndOrder::Restart, 4103),
    ] {
        let mut agent = Agent::in_session(terms);
        let link = agent.link();
        let out = agent.feed(AgentEvent::EndOrdered(order));
        let closes = |a: &AgentAction| matches!(a, AgentAction::Close(l, cause) if (*l, cause.code().0) == (link, code));
        assert!(out.iter().any(closes), "{terms:?}, {order:?}: {out:?}");
        let because = |a: &AgentAction| matches!(a, AgentAction::Report(r) if r.cause == AgentCause::EndOrdered(order));
        assert!(out.iter().any(because), "{terms:?}, {order:?}: {out:?}");
        assert_eq!((agent.status(), agent.deadline), ("closed", Deadline::Never));
    }
    // Whether a server that has not answered the hello yet knows the word, nobody can say.
    let mut joining = Agent::new(3);
    joining.feed(AgentEvent::Start);
    let link = joining.link();
    joining.feed(AgentEvent::LinkUp(link));
    let out = joining.feed(AgentEvent::EndOrdered(EndOrder::Stop));
    assert!(out.contains(&AgentAction::Close(link, CloseCause::AgentStopped)), "{out:?}");
}

#[test]
fn news_is_told_at_once_and_in_quick_succession_once_a_round_trip() {
    let beats = |out: &[AgentAction]| {
        out.iter().filter(|a| matches!(a, AgentAction::SendBeat { .. })).count()
    };
    let mut agent = Agent::in_session(TERMS);
    // The first beat of the session is not answered yet: the news waits for that, and goes with it.
    assert_eq!(beats(&agent.feed(AgentEvent::News)), 0);
    assert_eq!(beats(&agent.feed(AgentEvent::News)), 0);
    assert_eq!(beats(&agent.hear(AgentInbound::Other)), 0);
    assert_eq!(beats(&agent.hear(server_beat(1, 1, 1, false))), 1);
    assert_eq!(beats(&agent.hear(server_beat(2, 1, 1, false))), 0, "told once");
    assert_eq!(beats(&agent.hear(server_beat(3, 2, 2, false))), 0, "told once");
    // With everything answered it goes at once, and the schedule stays as it was.
    agent.run_until(secs(7));
    assert_eq!(beats(&agent.feed(AgentEvent::News)), 1);
    let sent = |agent: &Agent| agent.count(|a| matches!(a, AgentAction::SendBeat { .. }));
    assert_eq!(sent(&agent), 3);
    agent.run_until(ms(29_999));
    assert_eq!(sent(&agent), 3);
    // Also if nobody answers: then it goes with the next beat, whose time has come.
    assert_eq!(beats(&agent.feed(AgentEvent::News)), 0);
    agent.run_until(secs(30));
    assert_eq!(sent(&agent), 4);
    agent.hear(server_beat(4, 4, 4, false));
    assert_eq!(sent(&agent), 4, "told already");
    // Neither to a legacy server nor without a session.
    let legacy = SessionTerms { dialect: Dialect::Legacy, end_orders: false, ..TERMS };
    let mut agent = Agent::in_session(legacy);
    agent.run_until(secs(7));
    assert_eq!(agent.feed(AgentEvent::News), []);
    assert_eq!(Agent::new(3).feed(AgentEvent::News), []);
}

#[test]
fn a_legacy_server_gets_pings_and_pongs_and_no_heartbeat() {
    let terms = SessionTerms { dialect: Dialect::Legacy, ..TERMS };
    let mut agent = Agent::in_session(terms);
    for n in 1..100 {
        agent.run_until(secs(30 * n));
        let echo = Some(f64::from(7 + n as u32).into());
        let out = agent.hear(AgentInbound::Ping { echo });
        assert_eq!(out, [AgentAction::SendPong { link: LinkId(1), echo }]);
    }
    assert_eq!(agent.count(|a| matches!(a, AgentAction::SendBeat { .. })), 0);
    assert_eq!(agent.count(|a| matches!(a, AgentAction::Probe(_))), 100);
    assert_eq!(agent.story(ms(1)), []);
    assert_eq!(agent.machine.impairment(), None);
}

#[test]
fn frames_of_an_old_link_are_nobodys() {
    let mut agent = Agent::in_session(TERMS);
    let old = agent.link();
    agent.run_until(secs(20));
    agent.lose(CloseReason::broken(Breakage::Reset));
    let retry = agent.retry_at();
    agent.run_until(retry);
    agent.join(TERMS);
    let from = agent.at;
    // A server that answers on the old link only is a silent one.
    for n in 1..5 {
        agent.run_until(from + secs(10 * n));
        assert_eq!(agent.feed(AgentEvent::Received(old, healthy_beat(n))), []);
    }
    agent.run_until(from + secs(45));
    assert_eq!(agent.status(), "stale");
    let late = CloseReason::broken(Breakage::EndOfStream);
    assert_eq!(agent.feed(AgentEvent::LinkDown(old, late)), []);
    assert_eq!(agent.status(), "stale");
}
