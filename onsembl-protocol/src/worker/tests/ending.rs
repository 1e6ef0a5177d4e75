//! An agent whose place another process took, and what it waits for before it ends.

use super::*;
use crate::command::{AgentCommands, CancelDecision};
use crate::session::AgentCause;

fn replaced() -> WorkerEvent {
    use crate::close::{CloseCode, CloseReason};
    let reason = CloseReason::peer(Some(CloseCode::REPLACED));
    WorkerEvent::Refused(AgentCause::LinkEnded(reason))
}

fn end_of(actions: &[WorkerAction]) -> Option<&WorkerEnd> {
    actions.iter().find_map(|action| match action {
        WorkerAction::End(end) => Some(end),
        _ => None,
    })
}

#[test]
fn an_agent_that_was_replaced_ends_with_its_last_command_and_ends_none() {
    let mut worker = running_in(session());
    worker.handle(replaced(), at(2));
    // One that waits is not started.
    worker.handle(request("d"), at(3));
    let done = actions(&mut worker);
    assert!(!is_ended(&done) && end_of(&done).is_none() && !done.iter().any(is_start), "{done:?}");
    for hours in [1, 100, 10_000] {
        worker.handle(WorkerEvent::Wake, at(hours * 3600));
        let done = actions(&mut worker);
        assert!(!is_ended(&done) && end_of(&done).is_none(), "{done:?}");
    }
    ended(&mut worker, "c", Exit::Code(0), at(40_000_000));
    let done = actions(&mut worker);
    assert!(matches!(end_of(&done), Some(WorkerEnd::Refused(_))), "{done:?}");
}

#[test]
fn an_idle_agent_that_was_replaced_ends_at_once_and_one_that_is_stopped_then_ends_what_runs() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(1));
    worker.handle(replaced(), at(2));
    assert!(end_of(&actions(&mut worker)).is_some());
    let mut worker = running_in(session());
    worker.handle(replaced(), at(2));
    let _ = actions(&mut worker);
    worker.handle(WorkerEvent::ShutDown, at(10));
    let done = actions(&mut worker);
    assert!(is_ended(&done), "{done:?}");
    assert_eq!(worker.deadline(), Deadline::At(at(15).monotonic), "it is killed then");
    worker.handle(WorkerEvent::Wake, at(15));
    assert!(end_of(&actions(&mut worker)).is_none());
    worker.handle(WorkerEvent::Wake, at(18));
    assert!(matches!(end_of(&actions(&mut worker)), Some(WorkerEnd::Refused(_))));
}

#[test]
fn with_too_many_ends_that_wait_for_their_output_nothing_new_is_begun() {
    let mut worker = running_in(session());
    let _ = sent(&mut worker, at(1));
    for n in 0..report::MOST_WITHHELD {
        let never = AgentCommands::default().on_cancel(&id(&alloc::format!("w{n}")));
        let CancelDecision::NeverRan(report) = never else { panic!("{never:?}") };
        worker.course.handover.reports.withhold(report);
    }
    worker.handle(request("new"), at(2));
    assert!(!actions(&mut worker).iter().any(is_start));
    let said = alloc::format!("{:?}", sent(&mut worker, at(2)));
    assert!(said.contains("whose output the server has not stored"), "{said}");
    // One is stored, and there is room again.
    let _ = worker.course.handover.reports.release(&id("w0"));
    worker.handle(request("newer"), at(3));
    assert!(actions(&mut worker).iter().any(is_start));
}
