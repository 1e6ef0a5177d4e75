//! The server's machine against scripted links: presence, silence, absence, and what ends it.

use super::solo::{Server, agent_beat, peer_closed};
use crate::support::{ms, now, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, PresenceCause, ServerAction, ServerEvent, ServerInbound,
};
use onsembl_protocol::time::Deadline;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn lost() -> CloseReason {
    CloseReason::broken(Breakage::Reset)
}

#[test]
fn a_hello_is_joined_admitted_and_welcomed() {
    let mut server = Server::new();
    server.admits = false;
    server.join(1, Dialect::Extended, Claimant::SameProcess);
    assert_eq!((server.status(), server.machine.link()), ("connecting", None));
    assert_eq!(server.log[0].1, ServerAction::Admit(LinkId(1)));
    server.at = secs(3);
    server.admit(1);
    assert_eq!((server.status(), server.machine.link()), ("online", Some(LinkId(1))));
    let welcome = ServerAction::Welcome { link: LinkId(1), epoch: Epoch(1) };
    assert!(server.log.contains(&(secs(3), welcome)));
    assert_eq!(server.machine.presence().epoch, Epoch(1));
    assert_eq!(server.because(), "session opened");
}

#[test]
fn a_day_of_beats_changes_no_status_and_no_since() {
    let mut server = Server::in_session(Dialect::Extended);
    let before = server.machine.presence();
    server.run_beating_until(1, secs(30), DAY);
    assert_eq!(server.machine.presence(), before);
    let recorded = server.count(|a| matches!(a, ServerAction::Record { .. }));
    assert_eq!(recorded, 2879);
}

#[test]
fn silence_is_stale_then_timed_out_then_offline() {
    let mut server = Server::in_session(Dialect::Extended);
    server.run_until(DAY);
    assert_eq!(
        server.story(ms(1)),
        [(secs(45), "stale"), (secs(90), "timed-out"), (secs(390), "offline")]
    );
    assert_eq!(server.closes(), [(LinkId(1), CloseCause::Silent)]);
    let becauses: Vec<String> =
        server.presences().iter().map(|(_, p)| p.because.to_string()).collect();
    assert_eq!(
        becauses[2..],
        [
            "no frame from the agent for 45s",
            "no frame from the agent for 90s",
            "not back within the resume window of 5m"
        ]
    );
    assert_eq!(server.log.last().unwrap().1, ServerAction::Forget);
    assert_eq!(server.deadline, Deadline::Never);
}

#[test]
fn a_silent_legacy_agent_ends_like_any_other_and_costs_few_wakes() {
    let mut server = Server::in_session(Dialect::Legacy);
    let mut wakes = 0;
    while let Deadline::At(at) = server.deadline {
        server.run_until(at.since_origin());
        wakes += 1;
        assert!(wakes < 200, "busy at {:?}", server.at);
    }
    assert_eq!(
        server.story(ms(1)),
        [(secs(45), "stale"), (secs(90), "timed-out"), (secs(390), "offline")]
    );
}

#[test]
fn any_frame_is_life() {
    for frame in [ServerInbound::Other, ServerInbound::Pong, agent_beat(1, 1)] {
        let mut server = Server::in_session(Dialect::Extended);
        for n in 1..10 {
            server.run_until(secs(44 * n));
            server.hear(1, frame);
        }
        assert_eq!(server.story(ms(1)), [], "{frame:?}");
    }
}

#[test]
fn a_stale_agent_that_speaks_is_online_again() {
    let mut server = Server::in_session(Dialect::Extended);
    server.run_until(secs(60));
    server.hear(1, ServerInbound::Other);
    assert_eq!(server.story(ms(1)), [(secs(45), "stale"), (secs(60), "online")]);
    assert_eq!(server.machine.presence().since, server.now().wall);
    assert_eq!(server.machine.presence().because.cause, PresenceCause::HeardAgain);
}

#[test]
fn a_server_that_was_frozen_calls_nobody_timed_out() {
    for (frozen, dialect) in
        [50, 100, 3600].into_iter().flat_map(|s| [(s, Dialect::Extended), (s, Dialect::Legacy)])
    {
        let mut server = Server::in_session(dialect);
        server.records = false;
        server.hear(1, agent_beat(1, 0));
        server.run_until(secs(10));
        server.stall_until(secs(10 + frozen));
        server.feed(ServerEvent::Wake);
        assert_eq!(server.status(), "online", "after {frozen}s");
        assert_eq!(server.machine.presence().because.impairment, None, "after {frozen}s");
        assert_eq!(server.count(|a| matches!(a, ServerAction::Overslept(_))), 1);
        server.records = true;
        server.run_until(secs(10 + frozen + 4));
        server.hear(1, agent_beat(2, 1));
        assert_eq!(server.story(ms(1)), []);
    }
}

#[test]
fn a_server_that_was_frozen_calls_no_awaited_agent_offline() {
    let mut server = Server::in_session(Dialect::Extended);
    server.run_until(secs(10));
    server.feed(ServerEvent::LinkDown(LinkId(1), lost()));
    server.run_until(secs(20));
    server.stall_until(secs(3600));
    server.feed(ServerEvent::Wake);
    assert_eq!(server.status(), "reconnecting", "it could not come back to a frozen server");
    assert_eq!(server.count(|a| matches!(a, ServerAction::Overslept(_))), 1);
    server.run_until(secs(3660));
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    assert_eq!(server.status(), "online");
    // But the window does run out for one that never comes back.
    server.feed(ServerEvent::LinkDown(LinkId(2), lost()));
    server.run_until(secs(4000));
    assert_eq!(server.status(), "offline");
}

#[test]
fn a_server_that_was_frozen_blames_no_agent_for_a_slow_admission() {
    let mut server = Server::new();
    server.admits = false;
    server.join(1, Dialect::Extended, Claimant::SameProcess);
    server.stall_until(secs(60));
    server.feed(ServerEvent::Wake);
    assert_eq!((server.status(), server.closes()), ("connecting", vec![]));
    server.admit(1);
    assert_eq!(server.status(), "online");
}

#[test]
fn the_pong_of_a_legacy_agent_is_its_heartbeat() {
    let mut server = Server::in_session(Dialect::Legacy);
    for n in 1..=2880u64 {
        server.run_until(secs(30 * n));
        server.hear(1, ServerInbound::Pong);
    }
    assert_eq!(server.story(ms(1)), []);
    let recorded: Vec<BeatSequence> = server
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            ServerAction::Record { sequence, .. } => Some(*sequence),
            _ => None,
        })
        .collect();
    assert_eq!(recorded, (1..=2880).map(BeatSequence).collect::<Vec<_>>());
    assert_eq!(server.count(|a| matches!(a, ServerAction::SendPing(_))), 2881);
    assert_eq!(server.count(|a| matches!(a, ServerAction::SendBeat { .. })), 0);
    assert_eq!(server.machine.presence().because.impairment, None);
}

#[test]
fn a_legacy_agent_that_does_send_a_heartbeat_gets_its_answer() {
    let mut server = Server::in_session(Dialect::Legacy);
    server.hear(1, ServerInbound::Heartbeat { sequence: None, seen: None });
    assert_eq!(server.count(|a| matches!(a, ServerAction::SendBeat { .. })), 1);
}

#[test]
fn a_code_that_no_agent_of_ours_sends_stops_none() {
    for cause in [CloseCause::Normal, CloseCause::GoingAway] {
        let mut server = Server::in_session(Dialect::Extended);
        server.feed(ServerEvent::LinkDown(LinkId(1), peer_closed(cause)));
        assert_eq!(server.status(), "reconnecting", "{cause}");
        let because = server.because();
        assert!(because.starts_with("closed by the peer (100"), "{because}");
        assert!(!because.contains("the server"), "{because}");
    }
}

#[test]
fn an_agent_that_was_stopped_is_offline_at_once() {
    for (dialect, cause) in [
        (Dialect::Extended, CloseCause::AgentStopped),
        (Dialect::Legacy, CloseCause::AgentStopped),
        (Dialect::Legacy, CloseCause::Normal),
    ] {
        let mut server = Server::in_session(dialect);
        server.feed(ServerEvent::LinkDown(LinkId(1), peer_closed(cause)));
        assert_eq!(server.status(), "offline", "{cause}");
        assert_eq!(server.because(), "the agent was stopped on its machine");
        assert_eq!(server.log.last().unwrap().1, ServerAction::Forget);
    }
    for (cause, because) in [
        (CloseCause::ToldToStop, "it was stopped by an order (control stop)"),
        (
            CloseCause::ToldToRestart,
            "it was restarted by an order (control restart), and should be back in a moment",
        ),
    ] {
        let mut server = Server::in_session(Dialect::Extended);
        server.feed(ServerEvent::LinkDown(LinkId(1), peer_closed(cause)));
        assert_eq!((server.status(), server.because().as_str()), ("offline", because));
        assert_eq!(server.log.last().unwrap().1, ServerAction::Forget);
    }
    for reason in [
        lost(),
        CloseReason::local(CloseCause::ToldToStop),
        peer_closed(CloseCause::GoingAway),
        CloseReason::peer(None),
    ] {
        let mut server = Server::in_session(Dialect::Extended);
        server.feed(ServerEvent::LinkDown(LinkId(1), reason));
        assert_eq!(server.status(), "reconnecting", "{reason}");
    }
}

#[test]
fn an_agent_may_come_back_within_the_resume_window_and_not_later() {
    let mut server = Server::in_session(Dialect::Extended);
    server.feed(ServerEvent::LinkDown(LinkId(1), lost()));
    server.run_until(ms(299_999));
    assert_eq!(server.status(), "reconnecting");
    let mut late = server.clone();
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    assert_eq!((server.status(), server.machine.presence().epoch), ("online", Epoch(2)));
    late.run_until(secs(300));
    assert_eq!(late.status(), "offline");
}

#[test]
fn a_session_that_does_not_come_about_leaves_the_agent_where_it_was() {
    let mut server = Server::in_session(Dialect::Extended);
    server.feed(ServerEvent::LinkDown(LinkId(1), lost()));
    server.admits = false;
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    assert_eq!(server.status(), "connecting");
    server.feed(ServerEvent::Rejected { link: LinkId(2), cause: CloseCause::TryLater });
    assert_eq!(server.status(), "reconnecting");
    server.run_until(secs(300));
    assert_eq!(server.status(), "offline", "the window of the first loss still holds");
}

#[test]
fn an_admission_that_the_store_does_not_answer_ends_with_try_later() {
    let mut server = Server::new();
    server.admits = false;
    server.join(1, Dialect::Extended, Claimant::SameProcess);
    server.run_until(secs(25));
    assert_eq!(server.closes(), [(LinkId(1), CloseCause::TryLater)]);
    assert_eq!(server.status(), "offline");
    server.admit(1);
    assert_eq!(server.machine.link(), None, "a session that comes too late is nobody's");
}

#[test]
fn after_a_restart_nothing_is_online_without_a_session() {
    let mut server = Server::recovered();
    let presence = server.machine.presence();
    assert_eq!((server.status(), server.because().as_str()), ("reconnecting", "server restarted"));
    assert_eq!((presence.version, presence.epoch), (PresenceVersion((7 << 20) + 1), Epoch(7)));
    let mut never_back = server.clone();
    server.run_until(secs(5));
    server.join(1, Dialect::Extended, Claimant::SameProcess);
    assert_eq!((server.status(), server.machine.presence().epoch), ("online", Epoch(8)));
    never_back.run_until(secs(300));
    assert_eq!(never_back.status(), "offline");
}

#[test]
fn an_agent_that_reports_a_fault_is_in_error_until_its_next_session() {
    let mut server = Server::in_session(Dialect::Extended);
    server.feed(ServerEvent::Faulted(LinkId(9)));
    assert_eq!(server.status(), "online", "another link's fault");
    server.feed(ServerEvent::Faulted(LinkId(1)));
    assert_eq!(server.status(), "error");
    assert_eq!(server.feed(ServerEvent::Faulted(LinkId(1))), []);
    server.run_beating_until(1, secs(30), secs(300));
    assert_eq!(server.status(), "error");
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    assert_eq!(server.status(), "online");
}

#[test]
fn an_evicted_agent_is_gone_from_every_state() {
    for cause in [CloseCause::Deleted, CloseCause::Revoked] {
        let mut server = Server::in_session(Dialect::Extended);
        server.feed(ServerEvent::Evict(cause));
        assert_eq!((server.status(), server.closes()), ("offline", vec![(LinkId(1), cause)]));

        let mut away = Server::in_session(Dialect::Extended);
        away.feed(ServerEvent::LinkDown(LinkId(1), lost()));
        away.feed(ServerEvent::Evict(cause));
        assert_eq!(away.status(), "offline");
        assert_eq!(away.log.last().unwrap().1, ServerAction::Forget);
    }
}

#[test]
fn nothing_follows_forget() {
    let mut server = Server::in_session(Dialect::Extended);
    server.feed(ServerEvent::Evict(CloseCause::Deleted));
    let joined = ServerEvent::Joined {
        link: LinkId(5),
        dialect: Dialect::Extended,
        claimant: Claimant::SameProcess,
    };
    for event in [
        joined,
        ServerEvent::Admitted { link: LinkId(5), epoch: Epoch(9) },
        ServerEvent::Received(LinkId(1), ServerInbound::Other),
        ServerEvent::LinkDown(LinkId(1), lost()),
        ServerEvent::Evict(CloseCause::Revoked),
        ServerEvent::Wake,
    ] {
        assert_eq!(server.feed(event), [], "{event:?}");
        assert_eq!(server.deadline, Deadline::Never, "{event:?}");
    }
}

#[test]
fn versions_grow_and_since_moves_only_with_the_status() {
    let mut server = Server::in_session(Dialect::Extended);
    server.records = false;
    server.run_beating_until(1, secs(30), secs(120));
    server.records = true;
    server.run_until(secs(600));
    let presences = server.presences();
    assert!(presences.len() > 5);
    for pair in presences.windows(2) {
        let (before, (at, after)) = (pair[0].1, pair[1]);
        assert!(after.version > before.version);
        let since = if after.status == before.status { before.since } else { now(at).wall };
        assert_eq!(after.since, since, "{after:?}");
    }
}
