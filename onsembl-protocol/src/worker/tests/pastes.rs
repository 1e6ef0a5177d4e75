//! What is typed behind a paste: when, and what it is.

use super::terminals::{
    after, asks, ends, is_typed, looked, report, terminal, typed, with_terminal,
};
use super::*;
use crate::terminal::{Stroke, StrokeKind};
use crate::wire::payload::CommandPhase;

fn wrote(worker: &mut Worker, terminal: &CommandId, now: Now) {
    let (command, bytes) = (terminal.clone(), Bytes::from_static(b"drawn"));
    worker.handle(WorkerEvent::Output { command, stream: Stream::Terminal, bytes }, now);
}

/// The commands whose paste is over now.
fn over(worker: &mut Worker, now: Now) -> Vec<CommandId> {
    worker.handle(WorkerEvent::Wake, now);
    let ended = |a| match a {
        WorkerAction::EndPaste(command) => Some(command),
        _ => None,
    };
    actions(worker).into_iter().filter_map(ended).collect()
}

#[test]
fn the_enter_behind_a_paste_waits_until_the_program_has_drawn_it() {
    let (mut worker, terminal) = with_terminal(Screen::Detached);
    asks(&mut worker, "c", at(0), |_| ());
    assert_eq!(typed(&mut worker, at(0)), [id("c")]);
    // What it wrote before it read the paste is about something else.
    wrote(&mut worker, &terminal, after(0, 100));
    assert!(over(&mut worker, after(5, 0)).is_empty(), "it is not read");
    worker.handle(WorkerEvent::PasteRead(id("c")), after(5, 100));
    assert_eq!(worker.deadline(), Deadline::At(after(7, 100).monotonic));
    assert!(over(&mut worker, after(5, 600)).is_empty());
    wrote(&mut worker, &terminal, after(5, 700));
    // It was slow.
    assert_eq!(worker.deadline(), Deadline::At(after(6, 700).monotonic));
    assert!(over(&mut worker, after(6, 699)).is_empty());
    assert_eq!(over(&mut worker, after(6, 700)), [id("c")]);
    assert!(over(&mut worker, after(7, 100)).is_empty(), "once");
    assert_eq!(report(&worker, "c"), None, "its Enter is not read");
    is_typed(&mut worker, "c", after(7, 200));
    worker.handle(WorkerEvent::Wake, after(7, 399));
    assert_eq!(report(&worker, "c"), None);
    worker.handle(WorkerEvent::Wake, after(7, 400));
    assert_eq!(report(&worker, "c").unwrap().status, CommandPhase::Completed);
}

#[test]
fn a_program_that_ends_or_does_not_read_gets_no_enter() {
    for does_end in [true, false] {
        let (mut worker, terminal) = with_terminal(Screen::Detached);
        asks(&mut worker, "c", at(0), |_| ());
        assert_eq!(typed(&mut worker, at(0)), [id("c")]);
        if does_end {
            worker.handle(WorkerEvent::PasteRead(id("c")), after(0, 10));
            wrote(&mut worker, &terminal, after(0, 20));
            ends(&mut worker, &terminal, Exit::Code(1), after(0, 50));
        } else {
            let outcome = TypingOutcome::Broken { much: Typed::Part, why: "not read".into() };
            worker.handle(WorkerEvent::Typed { command: id("c"), outcome }, after(0, 50));
            worker.handle(WorkerEvent::PasteRead(id("c")), after(0, 51));
            assert_eq!(report(&worker, "c").unwrap().status, CommandPhase::Failed);
        }
        assert!(over(&mut worker, at(60)).is_empty(), "{does_end}");
    }
}

#[test]
fn a_text_is_submitted_by_the_key_of_the_program() {
    let config = terminal(Screen::Detached);
    let submit = SubmitKey::parse("ctrl-s").unwrap();
    let terminal = config.terminal.map(|terminal| TerminalConfig { submit, ..terminal });
    let mut worker = worker(WorkerConfig { terminal, ..config });
    let asked = actions(&mut worker);
    let [WorkerAction::Start { command, .. }] = asked.as_slice() else { panic!("{asked:?}") };
    let (command, bytes) = (command.clone(), Bytes::from_static(b"\x1b[?2004h"));
    worker.handle(WorkerEvent::Started { command: command.clone(), process: None }, at(0));
    worker.handle(WorkerEvent::Output { command, stream: Stream::Terminal, bytes }, at(0));
    asks(&mut worker, "c", at(0), |_| ());
    let asked = looked(&mut worker, TerminalSettings::AS_OPENED, at(0));
    let strokes = asked.iter().find_map(|a| match a {
        WorkerAction::Type { typing, .. } => Some(typing.strokes.as_slice()),
        _ => None,
    });
    let Some([_, _, Stroke { what: StrokeKind::Submit(keys), .. }]) = strokes else {
        panic!("{asked:?}")
    };
    assert_eq!(keys, b"\x13");
}
