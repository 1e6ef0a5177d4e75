//! An agent with a terminal: when it is opened, what is typed into it.

use super::*;
use crate::terminal::TerminalSize;

fn terminal() -> WorkerConfig {
    let program = "shell".into();
    let terminal =
        TerminalConfig { program, size: TerminalSize::DEFAULT, screen: Screen::Detached };
    WorkerConfig { slots: 2, terminal: Some(terminal), ..config() }
}

/// The worker of an agent whose terminal runs, and its id.
fn with_terminal() -> (Worker, CommandId) {
    let mut worker = worker(terminal());
    let asked = actions(&mut worker);
    let [WorkerAction::Start { command, task: Task::Terminal(_), .. }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    worker.handle(WorkerEvent::Started { command: command.clone(), process: None }, at(0));
    (worker, command.clone())
}

#[test]
fn what_is_cancelled_while_it_waits_to_be_typed_is_never_typed() {
    let (mut worker, _) = with_terminal();
    worker.handle(request("a"), at(0));
    worker.handle(request("b"), at(0));
    let typed = |worker: &mut Worker| -> Vec<CommandId> {
        let typed = |a| match a {
            WorkerAction::Type { command, .. } => Some(command),
            _ => None,
        };
        actions(worker).into_iter().filter_map(typed).collect()
    };
    assert_eq!(typed(&mut worker), [id("a")]);
    let cancel = CommandCancel { command_id: id("b"), agent_id: None, reason: None, force: false };
    worker.handle(message(ServerToAgent::CommandCancel(cancel)), at(0));
    let outcome = TypingOutcome::Typed;
    worker.handle(WorkerEvent::Typed { command: id("a"), outcome }, at(0));
    assert!(typed(&mut worker).is_empty());
    worker.handle(request("c"), at(0));
    assert_eq!(typed(&mut worker), [id("c")]);
}

#[test]
fn a_text_that_is_not_begun_is_refused_without_a_word_that_it_ran() {
    let (mut worker, _) = with_terminal();
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let _ = sent(&mut worker, at(0));
    let mut long = CommandRequest::new(id("c"), AgentId::new("a"), "x".repeat(5000));
    long.priority = crate::wire::payload::Priority::High;
    worker.handle(message(ServerToAgent::CommandRequest(long)), at(0));
    let asked = actions(&mut worker);
    let needs = |a: &WorkerAction| matches!(a, WorkerAction::Type { required_mode: Some(_), .. });
    assert!(asked.iter().any(needs), "{asked:?}");
    let outcome = TypingOutcome::OtherMode;
    worker.handle(WorkerEvent::Typed { command: id("c"), outcome }, at(0));
    let sent = sent(&mut worker, at(0));
    let [AgentToServer::CommandComplete(report)] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(report.error.as_deref().unwrap().contains("5000 bytes"), "{report:?}");
}

#[test]
fn terminals_have_ids_in_the_order_in_which_they_were_opened() {
    let (mut worker, first) = with_terminal();
    assert!(first.is_terminal());
    worker.handle(
        WorkerEvent::Ended {
            command: first.clone(),
            exit: Exit::Code(0),
            rest: Rest::Gone,
            open: vec![],
        },
        at(1),
    );
    worker.handle(WorkerEvent::Wake, at(60));
    let asked = actions(&mut worker);
    let second = asked.iter().find_map(|a| match a {
        WorkerAction::Start { command, .. } => Some(command.clone()),
        _ => None,
    });
    assert!(second.as_ref().is_some_and(|second| *second > first), "{second:?}, {first:?}");
}
