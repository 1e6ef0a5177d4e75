//! The course of a command on its agent: what is refused, written down, cancelled, paused.

use super::*;
use crate::session::EndOrder;
use crate::wire::payload::{AgentControl, CommandPhase, ControlAction};

#[test]
fn nothing_starts_before_it_is_written_down_and_nothing_is_reported_before_it_is() {
    let mut worker = worker(WorkerConfig { journal: Journalling::Kept, ..config() });
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    let asked = actions(&mut worker);
    let [WorkerAction::Journal(JournalEntry::Starting { .. })] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    journalled(&mut worker, Awaited::Start(id("c")), Ok(()));
    assert!(actions(&mut worker).iter().any(is_start));
    started(&mut worker, "c", at(0));
    ended(&mut worker, "c", Exit::Code(0), at(1));
    let is_report = |m: &AgentToServer| matches!(m, AgentToServer::CommandComplete(_));
    assert!(!sent(&mut worker, at(1)).iter().any(is_report));
    journalled(&mut worker, Awaited::End(id("c")), Ok(()));
    assert!(sent(&mut worker, at(1)).iter().any(is_report));
}

#[test]
fn a_start_that_cannot_be_written_down_is_refused_and_frees_its_slot() {
    let mut worker = worker(WorkerConfig { journal: Journalling::Kept, slots: 1, ..config() });
    worker.handle(request("a"), at(0));
    worker.handle(request("b"), at(0));
    journalled(&mut worker, Awaited::Start(id("a")), Err("full".into()));
    assert!(worker.journal_has_failed());
    let asked = actions(&mut worker);
    let starting = |a: &WorkerAction| matches!(a, WorkerAction::Journal(JournalEntry::Starting { command, .. }) if *command == id("b"));
    assert!(asked.iter().any(starting), "{asked:?}");
    assert!(!asked.iter().any(is_start), "{asked:?}");
}

#[test]
fn a_fenced_agent_refuses_a_request_that_holds_more_than_it_passes_on() {
    type Change<'a> = &'a dyn Fn(&mut CommandRequest);
    let fence = Fence::text_only().with_variable("LANG");
    let mut worker = worker(WorkerConfig { journal: Journalling::Kept, fence, ..config() });
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let holding = |name: &str, change: &dyn Fn(&mut CommandRequest)| {
        let mut request = CommandRequest::new(id(name), AgentId::new("a"), "text");
        change(&mut request);
        message(ServerToAgent::CommandRequest(request))
    };
    let variable = |name: &'static str| {
        move |request: &mut CommandRequest| drop(request.env.insert(name.into(), "x".into()))
    };
    let directory = |request: &mut CommandRequest| request.working_directory = Some("/".into());
    let refused: [(&str, Change<'_>, &str); 3] = [
        ("args", &|request| request.args.push("-la".into()), "--allow-args"),
        ("env", &variable("LD_PRELOAD"), "--allow-env LD_PRELOAD"),
        ("directory", &directory, "--allow-directory"),
    ];
    for (name, change, flag) in refused {
        // Asked again it is refused again.
        for _ in 0..2 {
            worker.handle(holding(name, change), at(0));
            assert!(actions(&mut worker).is_empty(), "{name} is not even written down");
            let sent = sent(&mut worker, at(0));
            let [AgentToServer::CommandComplete(report)] = sent.as_slice() else {
                panic!("{sent:?}")
            };
            assert_eq!(report.status, CommandPhase::Failed);
            assert!(report.error.as_ref().is_some_and(|why| why.contains(flag)), "{report:?}");
        }
    }
    worker.handle(holding("allowed", &variable("LANG")), at(0));
    let asked = actions(&mut worker);
    assert!(matches!(asked.as_slice(), [WorkerAction::Journal(_)]), "{asked:?}");
}

/// An executor may take its time to start something.
#[test]
fn what_is_cancelled_while_it_is_being_started_is_ended_as_soon_as_it_runs() {
    let mut worker = worker(config());
    worker.handle(request("c"), at(0));
    assert!(actions(&mut worker).iter().any(is_start));
    let cancel = CommandCancel { command_id: id("c"), agent_id: None, reason: None, force: false };
    worker.handle(message(ServerToAgent::CommandCancel(cancel)), at(0));
    assert!(actions(&mut worker).is_empty());
    started(&mut worker, "c", at(1));
    let asked = actions(&mut worker);
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::Cancel { .. })), "{asked:?}");
    worker.handle(WorkerEvent::Joined(session()), at(1));
    ended(&mut worker, "c", Exit::Signal(15), at(2));
    let sent = sent(&mut worker, at(2));
    let Some(AgentToServer::CommandComplete(report)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(report.status, CommandPhase::Cancelled);
}

#[test]
fn a_paused_agent_starts_what_waited_when_it_goes_on() {
    let control = |action| {
        let (agent_id, reason, graceful_shutdown, timeout, size) = (None, None, None, None, None);
        let control = AgentControl { agent_id, action, reason, graceful_shutdown, timeout, size };
        message(ServerToAgent::Control(control))
    };
    let mut worker = worker(config());
    worker.handle(control(ControlAction::Pause), at(0));
    worker.handle(request("c"), at(0));
    assert!(!actions(&mut worker).iter().any(is_start));
    assert_eq!(worker.pausing(), Pausing::Paused);
    worker.handle(control(ControlAction::Resume), at(1));
    assert!(actions(&mut worker).iter().any(is_start));
    worker.handle(control(ControlAction::Stop), at(2));
    started(&mut worker, "c", at(2));
    ended(&mut worker, "c", Exit::Signal(15), at(3));
    let ends =
        |a: &WorkerAction| matches!(a, WorkerAction::End(WorkerEnd::Ordered(EndOrder::Stop)));
    assert!(actions(&mut worker).iter().any(ends));
}
