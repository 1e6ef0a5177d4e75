//! Output that fills the outbox.

use super::*;
use crate::output::{RECORD_COST, StreamState};

/// A command that writes without end, and an outbox that it has filled.
fn flooded() -> (Worker, CommandId) {
    let mut worker = worker(config());
    worker.handle(request("c"), at(0));
    assert!(actions(&mut worker).iter().any(is_start));
    started(&mut worker, "c", at(0));
    while !worker.course.handover.delivery.outbox().is_full() {
        write(&mut worker);
    }
    let deferred = actions(&mut worker);
    assert!(deferred.iter().any(|a| matches!(a, WorkerAction::PauseReading(_))), "{deferred:?}");
    (worker, id("c"))
}

#[test]
fn a_stop_takes_no_more_than_the_outbox_holds_and_the_report_says_what_is_missing() {
    let (mut worker, id) = flooded();
    worker.handle(WorkerEvent::ShutDown, at(1));
    let asked = actions(&mut worker);
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::Cancel { .. })), "{asked:?}");
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::ResumeReading(_))), "{asked:?}");
    (0..8).for_each(|_| write(&mut worker));
    ended(&mut worker, "c", Exit::Signal(15), at(2));
    // The bound, and the chunk that reached it.
    let bound = SpoolBounds::MEMORY_ONLY.memory + CHUNK as u64 + RECORD_COST;
    assert!(worker.course.handover.delivery.outbox().unstored() <= bound);
    let totals = worker.course.handover.delivery.outbox().totals(&id).unwrap();
    let is_stdout = |s: &StreamState| s.stream == Stream::Stdout;
    let missing = worker.course.handover.delivery.outbox().states().find(is_stdout).unwrap().gaps;
    assert!(
        missing > 0
            && totals.stdout_bytes.0 - missing
                < worker.course.handover.delivery.outbox().unstored()
    );
    worker.handle(WorkerEvent::Joined(session()), at(2));
    let end = totals.stdout_bytes;
    worker.handle(stored(&id, totals.incarnation, Stream::Stdout, end), at(2));
    let sent = sent(&mut worker, at(2));
    let Some(AgentToServer::CommandComplete(report)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(report.output, Some(totals));
    let why = report.error.clone().unwrap();
    assert!(why.contains("the agent was stopped") && why.contains("discarded"), "{why}");
}

#[test]
fn a_cancel_is_obeyed_while_reading_waits_and_loses_nothing_that_was_written() {
    let (mut worker, id) = flooded();
    let cancel =
        CommandCancel { command_id: id.clone(), agent_id: None, reason: None, force: true };
    worker.handle(message(ServerToAgent::CommandCancel(cancel)), at(0));
    let asked = actions(&mut worker);
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::Kill(_))), "{asked:?}");
    let totals = worker.course.handover.delivery.outbox().totals(&id).unwrap();
    worker.handle(stored(&id, totals.incarnation, Stream::Stdout, totals.stdout_bytes), at(0));
    assert!(!worker.course.handover.delivery.outbox().is_full());
    write(&mut worker);
    ended(&mut worker, "c", Exit::Signal(9), at(0));
    assert!(worker.course.handover.reports.withholds(&id), "the rest is not stored yet");
    let all = worker.course.handover.delivery.outbox().totals(&id).unwrap();
    assert_eq!(all.stdout_bytes.0, totals.stdout_bytes.0 + CHUNK as u64);
    worker.handle(WorkerEvent::Joined(session()), at(1));
    worker.handle(stored(&id, all.incarnation, Stream::Stdout, all.stdout_bytes), at(1));
    let sent = sent(&mut worker, at(1));
    let Some(AgentToServer::CommandComplete(report)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!((report.output, report.error.as_deref()), (Some(all), Some("cancelled")));
}
