//! A holder of the keyboard types key by key: at once, in order, once, and said to be there when it is.

use super::terminals::{after, asks, ends, started, typed, with_terminal};
use super::*;
use crate::id::{HoldId, InputSequence, StopId};
use crate::terminal::Keyboard;
use crate::wire::payload::{EmergencyStop, TerminalInput, TerminalInputState, TypedBytes};
use alloc::string::ToString;

fn types_as(worker: &mut Worker, terminal: &CommandId, hold: &str, n: u64, keys: &[u8], now: Now) {
    let input = TerminalInput {
        command_id: terminal.clone(),
        holder: HoldId::new(hold),
        sequence: InputSequence(n),
        bytes: TypedBytes(Bytes::copy_from_slice(keys)),
    };
    worker.handle(message(ServerToAgent::TerminalInput(input)), now);
}

fn strokes(worker: &mut Worker) -> Vec<RemoteStroke> {
    let stroke = |action| match action {
        WorkerAction::TypeRemotely(stroke) => Some(stroke),
        _ => None,
    };
    actions(worker).into_iter().filter_map(stroke).collect()
}

fn said(worker: &mut Worker) -> Vec<TerminalInputState> {
    let state = |message| match message {
        AgentToServer::TerminalInputState(state) => Some(state),
        _ => None,
    };
    sent(worker, at(0)).into_iter().filter_map(state).collect()
}

fn is_in(worker: &mut Worker, stroke: RemoteStroke) {
    let outcome = RemoteOutcome::Typed;
    worker.handle(WorkerEvent::TypedRemotely { stroke, outcome }, at(0));
}

fn in_session() -> (Worker, CommandId) {
    let (mut worker, terminal) = with_terminal(Screen::Detached);
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let _ = (actions(&mut worker), sent(&mut worker, at(0)));
    (worker, terminal)
}

#[test]
fn keys_go_to_the_program_at_once_and_are_said_to_be_there_when_they_are() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"l", at(0));
    types_as(&mut worker, &terminal, "h", 2, b"s\r", at(0));
    types_as(&mut worker, &terminal, "h", 2, b"s\r", at(0));
    let strokes = strokes(&mut worker);
    let keys: Vec<&[u8]> = strokes.iter().map(|stroke| &stroke.keys.0[..]).collect();
    assert_eq!(keys, [&b"l"[..], b"s\r"]);
    assert!(said(&mut worker).is_empty(), "they are not there yet");
    for stroke in strokes {
        is_in(&mut worker, stroke);
    }
    let said = said(&mut worker);
    let [state] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((state.taken, &state.refused), (InputSequence(2), &None));
}

#[test]
fn keys_pass_a_text_that_waits_and_a_line_that_somebody_began() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"half a li", at(0));
    assert_eq!(strokes(&mut worker).len(), 1);
    // A text of somebody else waits for the line of the one who types.
    asks(&mut worker, "c", at(1), |_| {});
    assert!(typed(&mut worker, at(1)).is_empty());
    types_as(&mut worker, &terminal, "h", 2, b"ne", at(2));
    assert_eq!(strokes(&mut worker).len(), 1, "and keys do not wait for the text");
    types_as(&mut worker, &terminal, "h", 3, b"\r", at(3));
    assert_eq!(typed(&mut worker, at(3)), [id("c")]);
}

#[test]
fn the_reason_says_who_began_the_line() {
    let (mut worker, terminal) = in_session();
    asks(&mut worker, "c", at(0), |_| {});
    let mut n = 0;
    for second in 0..40 {
        n += 1;
        types_as(&mut worker, &terminal, "h", n, b"x", after(second, 1));
        let _ = strokes(&mut worker);
        worker.handle(WorkerEvent::Wake, after(second, 2));
    }
    let report = worker.commands.all.report(&id("c")).cloned();
    let why = report.and_then(|report| report.error).unwrap_or_default();
    assert!(why.contains("by the holder of the keyboard"), "{why:?}");
}

#[test]
fn what_suspends_is_a_piece_of_its_own_and_may_be_withheld() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"a\x1ab", at(0));
    let strokes = strokes(&mut worker);
    let pieces: Vec<_> = strokes.iter().map(|stroke| (stroke.piece, stroke.place)).collect();
    let expected = [
        (RemotePiece::Plain, Place::Inside),
        (RemotePiece::Suspending, Place::Inside),
        (RemotePiece::Plain, Place::Last),
    ];
    assert_eq!(pieces, expected);
    for stroke in strokes {
        let outcome = match stroke.piece {
            RemotePiece::Plain => RemoteOutcome::Typed,
            RemotePiece::Suspending => RemoteOutcome::Withheld,
        };
        worker.handle(WorkerEvent::TypedRemotely { stroke, outcome }, at(0));
    }
    let said = said(&mut worker);
    let [notice, last] = said.as_slice() else { panic!("{said:?}") };
    assert!(notice.notice.as_deref().is_some_and(|text| text.contains("Ctrl-Z")), "{notice:?}");
    assert_eq!((notice.taken, last.taken), (InputSequence(0), InputSequence(1)));
}

#[test]
fn what_cannot_be_typed_is_refused_once_and_nothing_behind_it_is_typed() {
    // Too much waits for a program that does not read.
    let (mut worker, terminal) = in_session();
    let large = vec![b'x'; Keyboard::INPUT_BYTES];
    for n in 1..8 {
        types_as(&mut worker, &terminal, "h", n, &large, at(0));
    }
    assert_eq!(strokes(&mut worker).len(), Keyboard::OUTSTANDING / Keyboard::INPUT_BYTES);
    let refused = said(&mut worker);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].refused.as_deref().is_some_and(|why| why.contains("does not read")));
    // The terminal did not take it.
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"x", at(0));
    let stroke = strokes(&mut worker).remove(0);
    let outcome = RemoteOutcome::Lost("it did not read for 10s".to_string());
    worker.handle(WorkerEvent::TypedRemotely { stroke, outcome }, at(0));
    assert_eq!(said(&mut worker)[0].refused.as_deref(), Some("it did not read for 10s"));
    types_as(&mut worker, &terminal, "h", 2, b"y", at(0));
    assert!(strokes(&mut worker).is_empty() && said(&mut worker).is_empty());
    types_as(&mut worker, &terminal, "i", 1, b"y", at(0));
    assert_eq!(strokes(&mut worker).len(), 1, "another hold begins anew");
}

#[test]
fn nothing_is_typed_into_what_is_over_or_stopped() {
    let refused = |worker: &mut Worker| {
        assert!(strokes(worker).is_empty());
        said(worker)[0].refused.clone().unwrap_or_default()
    };
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &CommandId::of_terminal("another"), "h", 1, b"x", at(0));
    assert!(refused(&mut worker).contains("ended"));
    ends(&mut worker, &terminal, Exit::Code(0), at(0));
    let _ = (actions(&mut worker), sent(&mut worker, at(0)));
    types_as(&mut worker, &terminal, "h", 1, b"x", at(0));
    assert!(refused(&mut worker).contains("ended"));

    let (mut worker, terminal) = in_session();
    let stop_id = Some(StopId::new("s"));
    let stop = EmergencyStop { stop_id, ..EmergencyStop::default() };
    worker.handle(message(ServerToAgent::EmergencyStop(stop)), at(0));
    let _ = (actions(&mut worker), sent(&mut worker, at(0)));
    types_as(&mut worker, &terminal, "h", 1, b"x", at(0));
    assert!(refused(&mut worker).contains("stop"));
}

#[test]
fn a_server_that_does_not_know_it_is_told_nothing_and_keys_need_no_readiness() {
    let (mut worker, terminal) = started(Screen::Detached);
    worker.handle(WorkerEvent::Joined(session()), at(0));
    types_as(&mut worker, &terminal, "h", 1, b"x", at(0));
    assert_eq!(strokes(&mut worker).len(), 1, "the program has shown nothing");
    let legacy = WorkerSession { capabilities: Capabilities::LEGACY, ..session() };
    worker.handle(WorkerEvent::Joined(legacy), at(0));
    types_as(&mut worker, &terminal, "h", 7, b"x", at(0));
    assert!(said(&mut worker).is_empty());
}
