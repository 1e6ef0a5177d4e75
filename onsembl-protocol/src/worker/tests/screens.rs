//! What an agent makes of the screen of its terminal: questions that it answers, and sizes that it tells.

use super::*;
use crate::model::Feature;
use crate::terminal::{Query, TerminalSize};
use crate::wire::payload::TerminalSized;

fn worker_with(screen: Screen) -> (Worker, CommandId) {
    let (program, size) = ("shell".into(), TerminalSize::DEFAULT);
    let line_idle = TerminalConfig::LINE_IDLE;
    let submit = SubmitKey::Enter;
    let terminal = TerminalConfig { program, size, screen, line_idle, submit };
    let mut worker = worker(WorkerConfig { terminal: Some(terminal), ..config() });
    let asked = actions(&mut worker);
    let [WorkerAction::Start { command, .. }] = asked.as_slice() else { panic!("{asked:?}") };
    worker.handle(WorkerEvent::Started { command: command.clone(), process: None }, at(0));
    let _ = actions(&mut worker);
    (worker, command.clone())
}

fn writes(worker: &mut Worker, id: &CommandId, bytes: &'static [u8]) {
    let (command, stream) = (id.clone(), Stream::Terminal);
    let output = WorkerEvent::Output { command, stream, bytes: Bytes::from_static(bytes) };
    worker.handle(output, at(1));
}

/// What is drawn and answered, in order.
fn drawn(worker: &mut Worker) -> Vec<String> {
    core::iter::from_fn(|| worker.poll_action())
        .filter_map(|action| match action {
            WorkerAction::Draw(bytes) => Some(alloc::format!("draw {}", bytes.escape_ascii())),
            WorkerAction::Answer(query) => Some(alloc::format!("answer {query:?}")),
            _ => None,
        })
        .collect()
}

#[test]
fn a_question_is_answered_behind_what_was_written_before_it() {
    let (mut worker, id) = worker_with(Screen::Detached);
    writes(&mut worker, &id, b"ab\x1b[6ncd\x1b[");
    writes(&mut worker, &id, b"c\x1b[?u");
    assert_eq!(
        drawn(&mut worker),
        [
            "draw ab\\x1b[6n",
            "answer Cursor",
            "draw cd\\x1b[",
            "draw c",
            "answer Attributes",
            "draw \\x1b[?u",
            "answer Keyboard",
        ]
    );
}

#[test]
fn nothing_is_answered_while_somebody_sits_before_the_terminal() {
    let (mut worker, id) = worker_with(Screen::Attached);
    writes(&mut worker, &id, b"ab\x1b[6n");
    assert_eq!(drawn(&mut worker), [] as [&str; 0]);
}

#[test]
fn a_program_that_asks_in_a_loop_is_answered_up_to_the_bound_and_it_is_said() {
    let (mut worker, id) = worker_with(Screen::Detached);
    let mut notes = 0;
    let mut answers = 0;
    for _ in 0..1000 {
        writes(&mut worker, &id, b"\x1b[6n");
        for action in core::iter::from_fn(|| worker.poll_action()) {
            match action {
                WorkerAction::Answer(Query::Cursor) => answers += 1,
                WorkerAction::Note(WorkerNote::AsksTooMuch) => notes += 1,
                _ => {}
            }
        }
    }
    assert_eq!((answers, notes), (256, 1));
}

/// The positions and columns of the sizes that are said.
fn sizes(worker: &mut Worker) -> Vec<(u64, u16)> {
    sent(worker, at(2))
        .into_iter()
        .filter_map(|message| match message {
            AgentToServer::TerminalSize(TerminalSized { offset, size, .. }) => {
                Some((offset.0, size.columns()))
            }
            _ => None,
        })
        .collect()
}

fn resized(columns: u64) -> WorkerEvent {
    WorkerEvent::Screen(ScreenEvent::Resized(TerminalSize::new(columns, 30).unwrap()))
}

#[test]
fn sizes_are_told_with_their_positions_until_output_behind_them_is_stored() {
    let (mut worker, id) = worker_with(Screen::Detached);
    writes(&mut worker, &id, b"0123456789");
    worker.handle(resized(100), at(1));
    worker.handle(WorkerEvent::Joined(session()), at(2));
    assert_eq!(sizes(&mut worker), [(0, 80), (10, 100)]);
    worker.handle(WorkerEvent::SessionEnded, at(2));
    worker.handle(WorkerEvent::Joined(session()), at(2));
    assert_eq!(sizes(&mut worker), [(0, 80), (10, 100)], "nothing says that they are stored");
    let run = worker.course.handover.delivery.outbox().totals(&id).unwrap().incarnation;
    worker.handle(stored(&id, run, Stream::Terminal, ByteOffset(10)), at(2));
    worker.handle(WorkerEvent::SessionEnded, at(2));
    worker.handle(WorkerEvent::Joined(session()), at(2));
    assert_eq!(sizes(&mut worker), [(10, 100)], "the last one is said in each session");
    worker.handle(resized(100), at(3));
    assert_eq!(sizes(&mut worker), [], "it is no other size");
}

#[test]
fn a_server_without_the_feature_is_told_no_size() {
    let (mut worker, _) = worker_with(Screen::Detached);
    let others: Vec<Feature> =
        SERVER_FEATURES.iter().filter(|f| **f != Feature::TerminalSize).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &others, Dialect::Extended);
    worker.handle(WorkerEvent::Joined(WorkerSession { capabilities, ..session() }), at(2));
    let said = sent(&mut worker, at(2));
    assert!(said.iter().all(|message| !matches!(message, AgentToServer::TerminalSize(_))));
    let opened = said.iter().find_map(|message| match message {
        AgentToServer::TerminalOpened(opened) => Some(opened.size),
        _ => None,
    });
    assert_eq!(opened, Some(None));
}
