//! Sessions: what is offered again in the next one, and what of a server's word is doubted.

use super::*;
use crate::wire::payload::CommandAckStatus;

/// A server of an earlier version: it does not adopt commands.
fn older_session() -> WorkerSession {
    let adopts = crate::model::Feature::CommandAdoption;
    let features: Vec<_> =
        SERVER_FEATURES.iter().filter(|feature| **feature != adopts).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &features, Dialect::Extended);
    WorkerSession { capabilities, ..session() }
}

fn about(name: &str, code: crate::wire::payload::ErrorCode) -> WorkerEvent {
    let error = crate::wire::payload::ErrorReply::new(code, "why").for_command(Some(id(name)));
    message(ServerToAgent::Error(error))
}

fn sends_output(worker: &mut Worker, now: Now) -> bool {
    let mut any = false;
    while let Some(message) = worker.next_message(now) {
        any |= matches!(message, WorkerMessage::Binary(_));
        worker.handle(WorkerEvent::Sent, now);
    }
    any
}

#[test]
fn what_a_link_did_not_take_is_offered_again_and_all_of_it_in_the_next_session() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    started(&mut worker, "c", at(0));
    let offered = worker.next_message(at(0));
    let Some(WorkerMessage::Text(ack)) = &offered else { panic!("{offered:?}") };
    let AgentToServer::CommandAck(ack) = &**ack else { panic!("{ack:?}") };
    assert_eq!(ack.status, CommandAckStatus::Executing);
    assert_eq!(worker.next_message(at(0)), offered, "the link did not confirm it");
    worker.handle(WorkerEvent::SessionEnded, at(1));
    assert_eq!(worker.next_message(at(1)), None);
    worker.handle(WorkerEvent::Joined(session()), at(2));
    let again = sent(&mut worker, at(2));
    assert!(again.contains(&AgentToServer::CommandAck(ack.clone())), "{again:?}");
}

#[test]
fn of_an_older_server_a_cancel_of_what_was_brought_counts_when_it_is_repeated() {
    let mut worker = running_in(older_session());
    worker.handle(cancel("c", true), at(1));
    assert!(!is_ended(&actions(&mut worker)), "perhaps its database was lost");
    worker.handle(cancel("c", true), at(6));
    assert!(is_ended(&actions(&mut worker)), "a user means it");
}

#[test]
fn of_an_older_server_a_cancel_with_grace_and_one_of_a_new_command_count_at_once() {
    let mut worker = running_in(older_session());
    worker.handle(cancel("c", false), at(1));
    assert!(is_ended(&actions(&mut worker)));
    worker.handle(request("d"), at(2));
    let _ = actions(&mut worker);
    started(&mut worker, "d", at(2));
    worker.handle(cancel("d", true), at(3));
    assert!(is_ended(&actions(&mut worker)));
}

#[test]
fn of_a_server_that_adopts_a_cancel_counts_at_once() {
    let mut worker = running_in(session());
    worker.handle(cancel("c", true), at(1));
    assert!(is_ended(&actions(&mut worker)));
}

#[test]
fn what_a_server_does_not_take_is_kept_and_offered_again_in_the_next_session() {
    use crate::wire::payload::ErrorCode;
    for (terms, code) in [
        (older_session(), ErrorCode::CommandNotFound),
        (session(), ErrorCode::QueueFull),
        (session(), ErrorCode::StorageUnavailable),
    ] {
        let mut worker = running_in(terms.clone());
        assert!(sends_output(&mut worker, at(1)), "{code}");
        worker.handle(about("c", code.clone()), at(2));
        assert!(!is_ended(&actions(&mut worker)), "{code}");
        write(&mut worker);
        assert!(!sends_output(&mut worker, at(2)), "nothing goes out in this session: {code}");
        // Others are not held up by it: the window is free.
        worker.handle(request("d"), at(3));
        let _ = actions(&mut worker);
        started(&mut worker, "d", at(3));
        let bytes = Bytes::from_static(b"d");
        let output = WorkerEvent::Output { command: id("d"), stream: Stream::Stdout, bytes };
        worker.handle(output, at(3));
        assert!(sends_output(&mut worker, at(3)), "{code}");
        worker.handle(WorkerEvent::SessionEnded, at(4));
        worker.handle(WorkerEvent::Joined(session()), at(5));
        let resume = crate::wire::payload::OutputResume { streams: vec![], more: false };
        worker.handle(message(ServerToAgent::OutputResume(resume)), at(5));
        let held = worker.course.handover.delivery.outbox().written(&id("c"), Stream::Stdout);
        assert_eq!(held, Some(ByteOffset(2 * CHUNK as u64)), "{code}");
        assert!(sends_output(&mut worker, at(5)), "{code}");
    }
}

#[test]
fn an_older_server_that_says_so_for_a_day_is_believed_and_one_that_adopts_at_once() {
    use crate::wire::payload::ErrorCode::CommandNotFound;
    let mut worker = running_in(older_session());
    worker.handle(about("c", CommandNotFound), at(2));
    worker.handle(about("c", CommandNotFound), at(24 * 3600 + 1));
    assert!(!worker.course.handover.delivery.outbox().is_settled(&id("c")));
    worker.handle(about("c", CommandNotFound), at(24 * 3600 + 2));
    assert!(worker.course.handover.delivery.outbox().is_settled(&id("c")));
    let mut worker = running_in(session());
    worker.handle(about("c", CommandNotFound), at(2));
    assert!(worker.course.handover.delivery.outbox().is_settled(&id("c")));
}
