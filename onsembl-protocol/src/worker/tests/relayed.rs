//! Output that is relayed and not stored.

use super::*;
use crate::model::{Feature, OutputTotals};
use crate::wire::payload::OutputCredit;

/// What is said of the only command.
#[derive(Debug, PartialEq)]
enum Said {
    /// It runs; whether its output is declared not to be stored.
    Runs(bool),
    /// From there on.
    Output(u64),
    Over(OutputTotals),
}

fn unstored() -> WorkerEvent {
    let mut request = CommandRequest::new(id("c"), AgentId::new("a"), "yes");
    request.unstored = true;
    message(ServerToAgent::CommandRequest(request))
}

/// A session with a server that lacks this; four chunks may be on the link.
fn without(lacks: &[Feature]) -> WorkerSession {
    let theirs: Vec<Feature> =
        SERVER_FEATURES.iter().filter(|feature| !lacks.contains(feature)).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &theirs, Dialect::Extended);
    WorkerSession { capabilities, output_window: 4 * CHUNK as u64, ..session() }
}

/// A command that runs in such a session.
fn running(session: WorkerSession) -> Worker {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session), at(0));
    worker.handle(unstored(), at(0));
    assert!(actions(&mut worker).iter().any(is_start));
    started(&mut worker, "c", at(0));
    worker
}

fn text() -> WorkerSession {
    without(&[Feature::OutputBinary])
}

fn said(worker: &mut Worker) -> Vec<Said> {
    let of_it = |message| match message {
        AgentToServer::CommandAck(ack) if ack.status == CommandAckStatus::Executing => {
            Some(Said::Runs(ack.unstored))
        }
        AgentToServer::Output(output) => output.offset.map(|offset| Said::Output(offset.0)),
        AgentToServer::CommandComplete(report) => report.output.map(Said::Over),
        _ => None,
    };
    sent(worker, at(1)).into_iter().filter_map(of_it).collect()
}

fn chunks(of: core::ops::Range<u64>) -> Vec<Said> {
    of.map(|n| Said::Output(n * CHUNK as u64)).collect()
}

fn credit(worker: &mut Worker, chunks: u64) {
    let credit = OutputCredit {
        command_id: id("c"),
        incarnation: worker.course.handover.delivery.totals(&id("c")).unwrap().incarnation,
        stream_type: Stream::Stdout.into(),
        offset: ByteOffset(chunks * CHUNK as u64),
    };
    worker.handle(message(ServerToAgent::OutputCredit(credit)), at(1));
}

#[test]
fn it_goes_out_as_far_as_there_is_credit_and_its_end_behind_it() {
    let mut worker = running(text());
    (0..8).for_each(|_| write(&mut worker));
    let spooled = |a: &WorkerAction| matches!(a, WorkerAction::Spool(_));
    assert!(!actions(&mut worker).iter().any(spooled), "it has no spool");
    let first = said(&mut worker);
    assert_eq!(first.first(), Some(&Said::Runs(true)));
    assert_eq!(first.get(1..), Some(&*chunks(0..4)));
    credit(&mut worker, 2);
    assert_eq!(said(&mut worker), chunks(4..6));
    ended(&mut worker, "c", Exit::Code(0), at(1));
    assert_eq!(said(&mut worker), [], "what is before it waits");
    // Said twice, and late: a position changes nothing then.
    credit(&mut worker, 6);
    credit(&mut worker, 1);
    let rest = said(&mut worker);
    assert_eq!(rest.get(..2), Some(&*chunks(6..8)));
    let Some(Said::Over(totals)) = rest.get(2) else { panic!("{rest:?}") };
    assert_eq!((totals.stdout_bytes.0, totals.unstored), (8 * CHUNK as u64, true));
}

#[test]
fn a_new_session_begins_with_all_credit_and_nothing_is_sent_again() {
    let mut worker = running(text());
    (0..12).for_each(|_| write(&mut worker));
    let _ = said(&mut worker);
    worker.handle(WorkerEvent::SessionEnded, at(1));
    worker.handle(WorkerEvent::Joined(text()), at(1));
    assert_eq!(said(&mut worker), chunks(4..8));
    // Of the last session: it covers nothing of this one.
    credit(&mut worker, 4);
    assert_eq!(said(&mut worker), []);
}

#[test]
fn without_a_server_no_process_waits_and_the_oldest_is_dropped() {
    let mut worker = running(text());
    let _ = said(&mut worker);
    worker.handle(WorkerEvent::SessionEnded, at(1));
    (0..100).for_each(|_| write(&mut worker));
    let waits = |a: &WorkerAction| matches!(a, WorkerAction::PauseReading(_));
    assert!(!actions(&mut worker).iter().any(waits));
    worker.handle(WorkerEvent::Joined(text()), at(1));
    let mut all = Vec::new();
    for _ in 0..100 {
        all.extend(said(&mut worker));
        credit(&mut worker, 100);
    }
    let Some(Said::Output(first)) = all.first() else { panic!("{all:?}") };
    let first = first / CHUNK as u64;
    assert!(first >= 84, "256 KiB at most are kept: {first}");
    assert_eq!(all, chunks(first..100));
    ended(&mut worker, "c", Exit::Code(0), at(1));
    let end = said(&mut worker);
    let [Said::Over(totals)] = end.as_slice() else { panic!("{end:?}") };
    assert_eq!(totals.stdout_bytes.0, 100 * CHUNK as u64);
}

#[test]
fn in_a_session_a_process_waits_for_credit() {
    let mut worker = running(text());
    (0..40).for_each(|_| write(&mut worker));
    let waits = |a: &WorkerAction| matches!(a, WorkerAction::PauseReading(_));
    assert!(actions(&mut worker).iter().any(waits));
    for n in 0..10 {
        let _ = said(&mut worker);
        credit(&mut worker, 4 * n);
    }
    let goes_on = |a: &WorkerAction| matches!(a, WorkerAction::ResumeReading(_));
    assert!(actions(&mut worker).iter().any(goes_on));
}

#[test]
fn to_a_server_that_does_not_know_of_it_output_goes_to_be_stored() {
    let mut worker = running(without(&[Feature::OutputBinary, Feature::UnstoredOutput]));
    write(&mut worker);
    assert_eq!(said(&mut worker), [Said::Runs(false), Said::Output(0)]);
    ended(&mut worker, "c", Exit::Code(0), at(1));
    assert_eq!(said(&mut worker), [], "it is not stored yet");
    let totals = worker.course.handover.delivery.totals(&id("c")).unwrap();
    let end = totals.stdout_bytes;
    worker.handle(stored(&id("c"), totals.incarnation, Stream::Stdout, end), at(1));
    assert_eq!(said(&mut worker), [Said::Over(OutputTotals { unstored: false, ..totals })]);
}
