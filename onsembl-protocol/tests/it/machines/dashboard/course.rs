//! What a dashboard's link is told and asks in the course of time.

use super::{CANCEL, HELLO, NONSENSE, PING, REFRESH, Watched, refused};
use crate::support::{EPOCH_MS, ms, now, secs};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::fleet::{
    AgentFacts, Answer, Change, DashboardAction, DashboardEvent, DashboardNote, DashboardToken,
    LogRecord, ShownPresence, StoredBody, Token, TokenEnd, View,
};
use onsembl_protocol::id::{
    AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation, PresenceVersion, UserId,
};
use onsembl_protocol::model::Stream;
use onsembl_protocol::session::{PresenceStatus, RefusalReason};
use onsembl_protocol::time::{Deadline, WallTime};
use onsembl_protocol::wire::payload::ErrorCode;
use onsembl_protocol::wire::{MessageSet as _, ServerToDashboard};

fn numbers(actions: &[DashboardAction]) -> Vec<Token> {
    let number = |action: &DashboardAction| match action {
        DashboardAction::Ask(number, _) | DashboardAction::CheckToken(number, _) => Some(*number),
        _ => None,
    };
    actions.iter().filter_map(number).collect()
}

fn agent(view: &mut View, n: usize) {
    agent_is(view, n, PresenceStatus::Online);
}

fn agent_is(view: &mut View, n: usize, status: PresenceStatus) {
    let agent = AgentFacts {
        name: format!("name of {n}"),
        agent_type: "custom".into(),
        version: "1".into(),
        host: "h".into(),
        capabilities: Vec::new(),
        aliases: Vec::new(),
        presence: ShownPresence {
            status,
            since: WallTime::default(),
            because: "x".into(),
            version: PresenceVersion(1),
            track: None,
            ended_with: None,
        },
        pausing: onsembl_protocol::model::Pausing::Running,
        paused: None,
        program_fault: None,
        activity: None,
        stopped: None,
        link_room: 0,
        claim: None,
        contest: None,
        slept: None,
    };
    let _ =
        view.apply(vec![Change::Agent(AgentId::new(format!("a-{n:06}")), Box::new(agent.into()))]);
}

#[test]
fn how_many_agents_have_each_status_is_kept_through_every_change() {
    let mut view = View::default();
    for n in 0..500 {
        let status = PresenceStatus::ALL[n * 7 % PresenceStatus::ALL.len()];
        agent_is(&mut view, n * 11 % 40, status);
        if n % 5 == 0 {
            let id = AgentId::new(format!("a-{:06}", n * 13 % 40));
            let _ = view.apply(vec![Change::AgentRemoved(id)]);
        }
        let mut counted = std::collections::BTreeMap::new();
        for agent in view.agents().values() {
            *counted.entry(agent.presence.status).or_insert(0_usize) += 1;
        }
        assert_eq!(*view.statuses(), counted);
    }
}

#[test]
fn room_is_found_before_anything_is_told() {
    let mut watched = Watched::new();
    let asked = watched.text(HELLO, now(secs(1)));
    let [DashboardAction::Note(DashboardNote::Connected), DashboardAction::Reserve(bytes)] =
        asked.as_slice()
    else {
        panic!("{asked:?}")
    };
    assert!(*bytes > 1 << 20, "{bytes}");
    assert!(!watched.link.is_read());
    let mut refused_one = watched.clone();
    let told = watched.feed(DashboardEvent::Reserved, now(secs(1)));
    let words: Vec<&str> = told
        .iter()
        .map(|action| match action {
            DashboardAction::Tell(message) => message.kind(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["DASHBOARD_CONNECTED", "ACK"]);
    assert!(watched.link.is_read());

    let no_room = DashboardEvent::NoRoom { slots: 512, needed: 3 };
    let actions = refused_one.feed(no_room, now(secs(1)));
    assert_eq!(refused(&actions), (Some(ErrorCode::QueueFull), Some(CloseCause::TryLater)));
    assert!(matches!(actions.first(), Some(DashboardAction::Note(DashboardNote::NoRoom))));
    let said = format!("{actions:?}");
    assert!(said.contains("this one needs 3 of 512 slots"), "{said}");
    assert!(refused_one.feed(DashboardEvent::Reserved, now(secs(1))).is_empty());
}

#[test]
fn room_is_asked_for_again_when_the_fleet_has_grown() {
    let mut watched = Watched::open();
    let asked = |actions: &[DashboardAction]| {
        actions.iter().any(|action| matches!(action, DashboardAction::Reserve(_)))
    };
    assert!(!asked(&watched.feed(DashboardEvent::Wake, now(secs(2)))));
    (0..100).for_each(|n| agent(&mut watched.view, n));
    assert!(asked(&watched.feed(DashboardEvent::Wake, now(secs(3)))));
    assert!(!asked(&watched.feed(DashboardEvent::Wake, now(secs(4)))), "once");
    let no_room = DashboardEvent::NoRoom { slots: 512, needed: 3 };
    assert_eq!(refused(&watched.feed(no_room, now(secs(4)))).1, Some(CloseCause::TryLater));
}

#[test]
fn it_is_not_read_while_it_takes_no_answers_or_too_much_is_under_way() {
    let mut watched = Watched::open();
    watched.has_room = false;
    assert!(watched.drain(now(secs(1))).is_empty());
    assert!(watched.link.is_read() && watched.link.waits_for_room(), "nothing waits for it");
    // A hello in the middle is answered before more is read.
    assert!(watched.text(HELLO, now(secs(1))).is_empty());
    assert!(!watched.link.is_read());
    watched.has_room = true;
    assert!(!watched.feed(DashboardEvent::Room, now(secs(2))).is_empty());
    assert!(watched.link.is_read() && !watched.link.waits_for_room());

    let long = format!(
        r#"{{"type":"COMMAND_REQUEST","id":"m","payload":{{"commandId":"c","command":"{}"}}}}"#,
        "x".repeat(60 * 1024)
    );
    let mut asked = Vec::new();
    for n in 0..5 {
        assert!(watched.link.is_read(), "{n}");
        asked.extend(numbers(&watched.text(&long, now(secs(2)))));
    }
    assert_eq!((asked.len(), watched.link.is_read()), (5, false));
    let answered = DashboardEvent::Answered(asked[0], Some(Answer::Done));
    let said = watched.feed(answered.clone(), now(secs(3)));
    assert!(matches!(said.as_slice(), [DashboardAction::Say(_)]), "{said:?}");
    assert!(watched.link.is_read());
    assert!(watched.feed(answered, now(secs(3))).is_empty(), "answered once");
    let ended = watched.feed(DashboardEvent::Answered(asked[1], None), now(secs(3)));
    assert_eq!(refused(&ended), (Some(ErrorCode::Internal), None));
}

#[test]
fn what_it_takes_is_a_sign_of_life_and_silence_is_the_end() {
    let end = |takes: bool| {
        let mut watched = Watched::open();
        for second in 2..600 {
            let at = now(secs(second));
            let mut actions = watched.feed(DashboardEvent::Wake, at);
            if takes {
                actions.extend(watched.feed(DashboardEvent::Room, at));
            }
            if let (_, Some(cause)) = refused(&actions) {
                return Some((second, cause));
            }
        }
        None
    };
    assert_eq!(end(true), None);
    assert!(matches!(end(false), Some((90..=95, CloseCause::Silent))), "{:?}", end(false));
}

/// A legacy dashboard leaves when no JSON came for 30 s, and shows an agent as offline whose status is older than
/// 120 s (P-125, P-126). Ten minutes, second by second.
#[test]
fn something_comes_at_least_each_25_seconds_and_statuses_each_30() {
    let mut watched = Watched::open();
    agent(&mut watched.view, 1);
    let (mut pinged, mut refreshed) = (0, 0);
    for second in 1..=600 {
        let at = now(secs(second));
        let mut actions = watched.feed(DashboardEvent::Control, at);
        while watched.link.deadline().is_due(at.monotonic) {
            actions.extend(watched.feed(DashboardEvent::Wake, at));
        }
        for action in actions {
            match action {
                DashboardAction::Say(message) => {
                    assert!(matches!(*message, ServerToDashboard::Ping(_)), "{message:?}");
                    pinged = second;
                }
                DashboardAction::Tell(message) => {
                    if let ServerToDashboard::AgentStatus(_) = *message {
                        refreshed = second;
                    }
                }
                DashboardAction::Reserve(_) => {
                    assert!(watched.feed(DashboardEvent::Reserved, at).is_empty());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(second - pinged <= 25, "nothing said from {pinged} to {second}");
        assert!(second - refreshed <= 31, "no status from {refreshed} to {second}");
    }
}

#[test]
fn an_unfinished_line_is_shown_after_a_silence() {
    let mut watched = Watched::open();
    let record = LogRecord {
        incarnation: Incarnation(1),
        sequence: ChunkSequence(1),
        stream: Stream::Stdout,
        offset: ByteOffset(0),
        body: StoredBody::Chunk(bytes::Bytes::from_static(b"Proceed? [y/N] ")),
        at: WallTime::from_unix_millis(EPOCH_MS),
    };
    let (command, agent) = (CommandId::new("c"), AgentId::new("a"));
    let shown = Change::Command { command: command.clone(), agent, view: None, detail: None };
    let _ = watched.view.apply(vec![shown, Change::Output(command, record)]);
    assert!(watched.feed(DashboardEvent::Changed, now(ms(2000))).is_empty());
    let _shown = watched.feed(DashboardEvent::Wake, now(ms(2100)));
    assert_eq!(watched.link.deadline(), Deadline::At(now(ms(2300)).monotonic));
    let told = format!("{:?}", watched.feed(DashboardEvent::Wake, now(ms(2300))));
    assert!(told.contains("Proceed? [y/N] "), "{told}");
}

#[test]
fn a_token_that_has_run_out_or_is_revoked_ends_the_session() {
    for (end, cause) in
        [(TokenEnd::Expired, CloseCause::TokenExpired), (TokenEnd::Revoked, CloseCause::Revoked)]
    {
        let mut watched = Watched::open();
        let actions = watched.feed(DashboardEvent::TokenEnded(end), now(secs(2)));
        assert_eq!(refused(&actions), (None, Some(cause)));
    }
}

#[test]
fn a_newer_token_of_the_same_user_is_used_from_then_on() {
    let mut watched = Watched::open();
    let number = numbers(&watched.text(REFRESH, now(secs(2))))[0];
    let token = DashboardToken { user: UserId::new("ann") };
    let actions = watched.feed(DashboardEvent::Checked(number, Ok(token)), now(secs(2)));
    let said = actions.as_slice();
    assert!(matches!(said, [DashboardAction::UseToken, DashboardAction::Say(_)]), "{said:?}");
}

#[test]
fn a_bad_new_token_is_answered_and_leaves_the_old_one() {
    let mut watched = Watched::open();
    for (checked, code) in [
        (Err((RefusalReason::Forbidden, "revoked".into())), ErrorCode::Unauthorized),
        (Err((RefusalReason::Unavailable, "later".into())), ErrorCode::StorageUnavailable),
        (Ok(DashboardToken { user: UserId::new("bob") }), ErrorCode::Unauthorized),
    ] {
        let number = numbers(&watched.text(REFRESH, now(secs(2))))[0];
        let actions = watched.feed(DashboardEvent::Checked(number, checked), now(secs(2)));
        assert_eq!(refused(&actions), (Some(code), None));
        assert!(!actions.iter().any(|a| matches!(a, DashboardAction::UseToken)));
    }
}

#[test]
fn a_closing_link_gets_no_more_actions_and_is_reported_gone_once() {
    let mut watched = Watched::open();
    let number = numbers(&watched.text(CANCEL, now(secs(2))))[0];
    let not_read = DashboardEvent::NotRead(CommandId::new("c"), "the disk is gone".into());
    let actions = watched.feed(not_read, now(secs(2)));
    let [DashboardAction::Note(note), DashboardAction::Close(CloseCause::TryLater)] =
        actions.as_slice()
    else {
        panic!("{actions:?}")
    };
    assert_eq!(note.counter(), Some("output_not_read"));
    assert!(watched.link.is_read(), "until it is over");
    for event in [
        DashboardEvent::Answered(number, Some(Answer::Done)),
        DashboardEvent::Text(PING),
        DashboardEvent::Text(NONSENSE),
        DashboardEvent::Changed,
        DashboardEvent::Wake,
        DashboardEvent::ServerEnding,
    ] {
        let actions = watched.feed(event.clone(), now(secs(200)));
        assert!(actions.is_empty(), "{event:?}: {actions:?}");
    }
    let gone = watched.feed(DashboardEvent::Ended, now(secs(200)));
    assert!(matches!(gone.as_slice(), [DashboardAction::Note(DashboardNote::Gone)]), "{gone:?}");
    assert!(watched.feed(DashboardEvent::Ended, now(secs(200))).is_empty());
    // A dashboard that was never connected is not reported as gone.
    assert!(Watched::new().feed(DashboardEvent::Ended, now(secs(1))).is_empty());
}
