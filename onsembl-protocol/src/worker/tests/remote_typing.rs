//! A holder of the keyboard types key by key: at once, in order, once, and said to be there when it is.

use super::terminals::{after, asks, ends, looked, started, typed, with_terminal};
use super::*;
use crate::id::{HoldId, InputSequence, StopId};
use crate::model::Feature;
use crate::terminal::{Hold, RemoteKeys};
use crate::wire::payload::{
    EmergencyStop, TerminalInput, TerminalInputState, TypedBytes, WaitsFor,
};
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

/// Each piece goes in as soon as it is given out; all of them.
fn all_are_in(worker: &mut Worker, now: Now) -> Vec<RemoteStroke> {
    let mut typed = Vec::new();
    loop {
        let next = strokes(worker);
        assert!(next.len() <= 1, "one at a time: {next:?}");
        let Some(stroke) = next.into_iter().next() else { return typed };
        let (outcome, in_it) = (RemoteOutcome::Typed, stroke.clone());
        worker.handle(WorkerEvent::TypedRemotely { stroke: in_it, outcome }, now);
        typed.push(stroke);
    }
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
    let first = strokes(&mut worker);
    assert_eq!(first.len(), 1, "one at a time: {first:?}");
    assert!(said(&mut worker).is_empty(), "it is not there yet");
    let mut typed = first.clone();
    for stroke in first {
        is_in(&mut worker, stroke);
    }
    typed.extend(all_are_in(&mut worker, at(0)));
    let keys: Vec<&[u8]> = typed.iter().map(|stroke| &stroke.keys.0[..]).collect();
    assert_eq!(keys, [&b"l"[..], b"s\r"]);
    let said = said(&mut worker);
    let [state] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((state.taken, &state.refused), (InputSequence(2), &None));
}

#[test]
fn keys_pass_a_text_that_waits_and_a_line_that_somebody_began() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"half a li", at(0));
    assert_eq!(all_are_in(&mut worker, at(0)).len(), 1);
    // A text of somebody else waits for the line of the one who types.
    asks(&mut worker, "c", at(1), |_| {});
    assert!(typed(&mut worker, at(1)).is_empty());
    types_as(&mut worker, &terminal, "h", 2, b"ne", at(2));
    assert_eq!(all_are_in(&mut worker, at(2)).len(), 1, "and keys do not wait for the text");
    types_as(&mut worker, &terminal, "h", 3, b"\r", at(3));
    assert_eq!(typed(&mut worker, at(3)), [id("c")]);
}

#[test]
fn a_text_that_waits_for_a_remote_line_says_so_and_to_whom_it_means_nothing_as_before() {
    let waits = |worker: &mut Worker, now| {
        let acks = sent(worker, now).into_iter().filter_map(|message| match message {
            // The terminal itself waits for nothing.
            AgentToServer::CommandAck(ack) if !ack.command_id.is_terminal() => {
                Some((ack.waits_for, ack.line_idle_ms))
            }
            _ => None,
        });
        acks.last()
    };
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"half a li", at(0));
    let _ = all_are_in(&mut worker, at(0));
    asks(&mut worker, "c", at(1), |_| {});
    let _ = typed(&mut worker, at(1));
    assert_eq!(waits(&mut worker, at(1)), Some((Some(WaitsFor::RemoteLine), Some(60_000))));
    let features: Vec<_> =
        SERVER_FEATURES.iter().filter(|f| **f != Feature::LineOrigin).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &features, Dialect::Extended);
    worker.handle(WorkerEvent::Joined(WorkerSession { capabilities, ..session() }), at(2));
    asks(&mut worker, "d", at(2), |_| {});
    let _ = typed(&mut worker, at(2));
    assert_eq!(waits(&mut worker, at(2)), Some((Some(WaitsFor::BegunLine), None)));
}

#[test]
fn a_text_waits_for_the_end_of_a_line_that_waits_for_its_beginning() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"half a li", at(0));
    let first = strokes(&mut worker).remove(0);
    types_as(&mut worker, &terminal, "h", 2, b"ne\r", at(1));
    asks(&mut worker, "c", at(1), |_| {});
    assert!(typed(&mut worker, at(1)).is_empty(), "the end of that line is not typed yet");
    assert!(!worker.deadline().is_due(at(1).monotonic), "and nothing is due");
    let outcome = RemoteOutcome::Typed;
    worker.handle(WorkerEvent::TypedRemotely { stroke: first, outcome }, at(1));
    let order = |action: &WorkerAction| match action {
        WorkerAction::TypeRemotely(_) => Some("keys"),
        WorkerAction::Type { .. } => Some("text"),
        _ => None,
    };
    let asked = looked(&mut worker, TerminalSettings::AS_OPENED, at(1));
    assert_eq!(asked.iter().filter_map(order).collect::<Vec<_>>(), ["keys", "text"]);
}

#[test]
fn keys_that_were_dropped_end_no_line_and_no_text_is_typed_within_an_input() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"half a li", at(0));
    let first = strokes(&mut worker).remove(0);
    types_as(&mut worker, &terminal, "h", 2, b"ne\r", at(0));
    let outcome = RemoteOutcome::Lost("it did not read for 10s".to_string());
    worker.handle(WorkerEvent::TypedRemotely { stroke: first, outcome }, at(0));
    asks(&mut worker, "c", at(1), |_| {});
    assert!(typed(&mut worker, at(1)).is_empty(), "half a line may stand there");
    // Within an input that ends its line.
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"a\x1ab\r", at(0));
    let first = strokes(&mut worker).remove(0);
    asks(&mut worker, "c", at(0), |_| {});
    assert!(typed(&mut worker, at(0)).is_empty());
    is_in(&mut worker, first);
    assert!(typed(&mut worker, at(0)).is_empty(), "its end waits for what may suspend");
}

#[test]
fn what_waits_when_a_stop_comes_is_not_typed() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"x", at(0));
    types_as(&mut worker, &terminal, "h", 2, b"y", at(0));
    let first = strokes(&mut worker).remove(0);
    let stop = EmergencyStop { stop_id: Some(StopId::new("s")), ..EmergencyStop::default() };
    worker.handle(message(ServerToAgent::EmergencyStop(stop)), at(1));
    let _ = (actions(&mut worker), sent(&mut worker, at(1)));
    is_in(&mut worker, first);
    assert!(strokes(&mut worker).is_empty());
    let said = said(&mut worker);
    assert!(said.iter().any(|state| state.refused.is_some()), "{said:?}");
}

#[test]
fn the_reason_says_who_began_the_line() {
    let (mut worker, terminal) = in_session();
    asks(&mut worker, "c", at(0), |_| {});
    let mut n = 0;
    for second in 0..40 {
        n += 1;
        types_as(&mut worker, &terminal, "h", n, b"x", after(second, 1));
        let _ = all_are_in(&mut worker, after(second, 1));
        worker.handle(WorkerEvent::Wake, after(second, 2));
    }
    let report = worker.course.commands.all.report(&id("c")).cloned();
    let why = report.and_then(|report| report.error).unwrap_or_default();
    assert!(why.contains("by the holder of the keyboard"), "{why:?}");
}

#[test]
fn what_suspends_is_a_piece_of_its_own_and_may_be_withheld() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"a\x1ab", at(0));
    let mut pieces = Vec::new();
    while let Some(stroke) = strokes(&mut worker).pop() {
        pieces.push((stroke.piece, stroke.order));
        let outcome = match stroke.piece {
            RemotePiece::Plain => RemoteOutcome::Typed,
            RemotePiece::Suspending => RemoteOutcome::Withheld,
        };
        worker.handle(WorkerEvent::TypedRemotely { stroke, outcome }, at(0));
    }
    let expected = [
        (RemotePiece::Plain, PieceOrder::Inside),
        (RemotePiece::Suspending, PieceOrder::Inside),
        (RemotePiece::Plain, PieceOrder::Last),
    ];
    assert_eq!(pieces, expected);
    let said = said(&mut worker);
    let [notice, last] = said.as_slice() else { panic!("{said:?}") };
    assert!(notice.notice.as_deref().is_some_and(|text| text.contains("Ctrl-Z")), "{notice:?}");
    assert_eq!((notice.taken, last.taken), (InputSequence(0), InputSequence(1)));
}

#[test]
fn an_input_that_is_nothing_but_suspending_keys_is_refused_as_a_whole() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, &[0x1a; RemoteKeys::PIECES], at(0));
    assert_eq!(all_are_in(&mut worker, at(0)).len(), RemoteKeys::PIECES);
    assert!(said(&mut worker).iter().all(|state| state.refused.is_none()));
    types_as(&mut worker, &terminal, "h", 2, &vec![0x1a; Hold::INPUT_BYTES], at(0));
    assert!(strokes(&mut worker).is_empty());
    let said = said(&mut worker);
    let [state] = said.as_slice() else { panic!("{said:?}") };
    assert!(state.refused.as_deref().is_some_and(|why| why.contains("suspend")), "{state:?}");
    types_as(&mut worker, &terminal, "h", 3, b"x", at(0));
    assert!(strokes(&mut worker).is_empty(), "nothing more of that hold");
}

#[test]
fn what_cannot_be_typed_is_refused_once_and_nothing_behind_it_is_typed() {
    // Too much waits for a program that does not read.
    let (mut worker, terminal) = in_session();
    let large = vec![b'x'; Hold::INPUT_BYTES];
    for n in 1..8 {
        types_as(&mut worker, &terminal, "h", n, &large, at(0));
    }
    let refused = said(&mut worker);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let typed = all_are_in(&mut worker, at(0));
    assert_eq!(typed.len(), Hold::OUTSTANDING / Hold::INPUT_BYTES, "what was accepted before");
    assert!(refused[0].refused.as_deref().is_some_and(|why| why.contains("does not read")));
    // The terminal did not take it.
    let (mut worker, terminal) = in_session();
    for n in 1..=3 {
        types_as(&mut worker, &terminal, "h", n, b"x", at(0));
    }
    let stroke = strokes(&mut worker).remove(0);
    let outcome = RemoteOutcome::Lost("it did not read for 10s".to_string());
    worker.handle(WorkerEvent::TypedRemotely { stroke, outcome }, at(0));
    assert_eq!(said(&mut worker)[0].refused.as_deref(), Some("it did not read for 10s"));
    assert!(
        strokes(&mut worker).is_empty(),
        "what came behind it is not typed, whenever it is read"
    );
    types_as(&mut worker, &terminal, "h", 4, b"y", at(0));
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

#[test]
fn an_input_without_bytes_is_there_when_what_stands_before_it_is() {
    let (mut worker, terminal) = in_session();
    types_as(&mut worker, &terminal, "h", 1, b"x", at(0));
    types_as(&mut worker, &terminal, "h", 2, b"", at(0));
    assert!(said(&mut worker).is_empty());
    assert_eq!(all_are_in(&mut worker, at(0)).len(), 2);
    assert_eq!(said(&mut worker).last().map(|state| state.taken), Some(InputSequence(2)));
}

#[test]
fn what_of_a_hold_waits_for_a_program_that_does_not_read_ends_with_the_session() {
    let (mut worker, terminal) = in_session();
    for n in 1..=3 {
        types_as(&mut worker, &terminal, "h", n, b"x", at(0));
    }
    let stuck = strokes(&mut worker).remove(0);
    // The server died, and another one minted a smaller id by a clock that stepped back.
    worker.handle(WorkerEvent::Joined(session()), at(5));
    let _ = (actions(&mut worker), sent(&mut worker, at(5)));
    is_in(&mut worker, stuck);
    assert!(strokes(&mut worker).is_empty(), "the rest of the hold that ended is not typed");
    assert!(said(&mut worker).is_empty());
    types_as(&mut worker, &terminal, "a", 1, b"y", at(5));
    assert_eq!(all_are_in(&mut worker, at(5)).len(), 1);
}
