//! Several links of one agent: the newest session wins, and what an old link does late changes
//! nothing (P-57).

use super::solo::{Server, agent_beat};
use crate::support::{ms, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::{Epoch, InstanceId, LinkId};
use onsembl_protocol::session::{
    Claimant, Dialect, PresenceCause, ServerAction, ServerEvent, ServerInbound,
};
use onsembl_protocol::time::Deadline;

fn lost() -> CloseReason {
    CloseReason::broken(Breakage::Reset)
}

#[test]
fn the_same_process_takes_over_its_own_old_link() {
    let mut server = Server::in_session(Dialect::Extended);
    let before = server.machine.presence();
    server.run_until(secs(10));
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    assert_eq!(server.closes(), [(LinkId(1), CloseCause::Superseded)]);
    let after = server.machine.presence();
    assert_eq!((after.status, after.since), (before.status, before.since));
    assert_eq!((after.epoch, after.because.cause), (Epoch(2), PresenceCause::TakenOver));
    assert_eq!(server.machine.link(), Some(LinkId(2)));
}

#[test]
fn another_process_replaces_the_old_one_for_good() {
    for (dialect, code) in
        [(Dialect::Extended, CloseCause::Replaced), (Dialect::Legacy, CloseCause::Normal)]
    {
        let mut server = Server::in_session(dialect);
        server.join(2, Dialect::Extended, Claimant::OtherProcess);
        assert_eq!(server.closes(), [(LinkId(1), code)], "the only code that keeps it away");
        assert_eq!(server.machine.presence().because.cause, PresenceCause::ReplacedOther);
    }
}

#[test]
fn instances_tell_processes_apart() {
    let id = |text| InstanceId::new(text);
    let (a, also_a, b) = (id("a"), id("a"), id("b"));
    for same_id in [true, false] {
        let judge = |x, y| Claimant::judge(x, y, same_id);
        assert_eq!(judge(Some(&a), Some(&also_a)), Claimant::SameProcess);
        assert_eq!(judge(Some(&a), Some(&b)), Claimant::OtherProcess);
        assert_eq!(judge(Some(&a), None), Claimant::OtherProcess);
        assert_eq!(judge(None, Some(&a)), Claimant::OtherProcess);
    }
    assert_eq!(Claimant::judge(None, None, true), Claimant::SameProcess);
    assert_eq!(Claimant::judge(None, None, false), Claimant::OtherProcess);
}

#[test]
fn what_the_old_link_does_late_changes_nothing() {
    let mut server = Server::in_session(Dialect::Extended);
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    let before = server.machine.presence();
    for event in [
        ServerEvent::LinkDown(LinkId(1), lost()),
        ServerEvent::Received(LinkId(1), agent_beat(9, 9)),
        ServerEvent::Faulted(LinkId(1)),
        ServerEvent::Admitted { link: LinkId(1), epoch: Epoch(99) },
        ServerEvent::Rejected { link: LinkId(1), cause: CloseCause::TryLater },
    ] {
        assert_eq!(server.feed(event), [], "{event:?}");
        assert_eq!(server.machine.presence(), before);
    }
    // An agent that speaks over its old link only is silent.
    for n in 1..5 {
        server.run_until(secs(10 * n));
        server.hear(1, ServerInbound::Other);
    }
    server.run_until(secs(45));
    assert_eq!(server.status(), "stale");
}

#[test]
fn a_challenger_that_is_not_admitted_leaves_the_session_alone() {
    let quarrel = |end: fn(&mut Server)| {
        let mut server = Server::in_session(Dialect::Extended);
        server.admits = false;
        server.join(2, Dialect::Extended, Claimant::OtherProcess);
        assert_eq!((server.status(), server.machine.link()), ("online", Some(LinkId(1))));
        end(&mut server);
        assert_eq!((server.status(), server.machine.link()), ("online", Some(LinkId(1))));
        assert!(!server.closes().contains(&(LinkId(1), CloseCause::Replaced)));
        server
    };
    let rejected = quarrel(|server| {
        server.feed(ServerEvent::Rejected { link: LinkId(2), cause: CloseCause::Revoked });
    });
    assert_eq!(rejected.closes(), [(LinkId(2), CloseCause::Revoked)]);
    let slow = quarrel(|server| {
        server.run_beating_until(1, secs(5), secs(26));
    });
    assert_eq!(slow.closes(), [(LinkId(2), CloseCause::TryLater)]);
    let closed = quarrel(|server| {
        server.feed(ServerEvent::LinkDown(LinkId(2), lost()));
    });
    assert_eq!(closed.closes(), []);
}

#[test]
fn a_newer_challenger_takes_the_place_of_an_older_one() {
    let mut server = Server::in_session(Dialect::Extended);
    server.admits = false;
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    server.join(3, Dialect::Extended, Claimant::SameProcess);
    assert_eq!(server.closes(), [(LinkId(2), CloseCause::Superseded)]);
    server.admit(2);
    assert_eq!(server.machine.link(), Some(LinkId(1)), "what was opened for it is nobody's");
    server.admit(3);
    assert_eq!(server.machine.link(), Some(LinkId(3)));
}

#[test]
fn the_old_link_may_break_while_the_new_one_is_admitted() {
    let mut server = Server::in_session(Dialect::Extended);
    server.admits = false;
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    server.feed(ServerEvent::LinkDown(LinkId(1), lost()));
    assert_eq!(server.status(), "connecting");
    server.admit(2);
    assert_eq!((server.status(), server.machine.link()), ("online", Some(LinkId(2))));
    assert_eq!(server.closes(), []);
}

#[test]
fn the_old_link_may_time_out_while_the_new_one_is_admitted() {
    let mut server = Server::in_session(Dialect::Extended);
    server.admits = false;
    server.run_until(secs(80));
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    server.run_until(secs(90));
    assert_eq!(server.closes(), [(LinkId(1), CloseCause::Silent)]);
    assert_eq!(server.status(), "connecting");
    server.admit(2);
    assert_eq!(server.story(ms(1)).last().unwrap().1, "online");
}

#[test]
fn the_end_of_a_challenger_takes_no_look_away_from_the_old_link() {
    for joins in (60_000..62_000).step_by(50) {
        let mut server = Server::in_session(Dialect::Extended);
        server.admits = false;
        let mut joined = false;
        // Each wake-up is late, and none is so late that it is an absence.
        while let Deadline::At(due) = server.deadline
            && !server.closes().contains(&(LinkId(1), CloseCause::Silent))
        {
            let wakes = server.at.max(due.since_origin()) + ms(400);
            if !joined && due.since_origin() >= ms(joins) {
                server.at = server.at.max(ms(joins));
                server.join(2, Dialect::Extended, Claimant::SameProcess);
                joined = true;
                continue;
            }
            server.at = wakes;
            server.feed(ServerEvent::Wake);
        }
        let closes = [(LinkId(2), CloseCause::TryLater), (LinkId(1), CloseCause::Silent)];
        assert_eq!(server.closes(), closes, "joined at {joins} ms");
        assert_eq!(server.count(|a| matches!(a, ServerAction::Overslept(_))), 0, "{joins} ms");
        assert!(server.at <= ms(90_400), "timed out at {:?}, joined at {joins} ms", server.at);
        assert_eq!(server.status(), "timed-out");
    }
}

#[test]
fn what_a_session_speaks_is_known_while_it_lasts() {
    for dialect in [Dialect::Extended, Dialect::Legacy] {
        let mut server = Server::in_session(dialect);
        assert_eq!(server.machine.dialect(), Some(dialect));
        server.feed(ServerEvent::LinkDown(LinkId(1), lost()));
        assert_eq!(server.machine.dialect(), None);
    }
}

#[test]
fn the_end_of_a_link_without_a_part_leaves_the_challenger_alone() {
    let mut server = Server::in_session(Dialect::Extended);
    server.admits = false;
    server.at = secs(10);
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    server.feed(ServerEvent::LinkDown(LinkId(9), lost()));
    server.admit(2);
    assert_eq!(server.machine.link(), Some(LinkId(2)));
}

#[test]
fn an_attempt_that_fails_when_the_window_closes_is_the_last_one_awaited() {
    let mut server = Server::in_session(Dialect::Extended);
    server.admits = false;
    server.at = secs(10);
    server.feed(ServerEvent::LinkDown(LinkId(1), lost()));
    server.at = secs(300);
    server.join(2, Dialect::Extended, Claimant::SameProcess);
    let mut earlier = server.clone();
    earlier.at = ms(309_999);
    earlier.feed(ServerEvent::LinkDown(LinkId(2), lost()));
    assert_eq!(earlier.status(), "reconnecting");
    server.at = secs(310);
    server.feed(ServerEvent::LinkDown(LinkId(2), lost()));
    assert_eq!(server.status(), "offline");
}
