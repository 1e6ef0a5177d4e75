//! Texts that arrive in pieces before their request: typed whole, or not at all.

use super::terminals::{asks, is_typed, looked, report, started, typed, with_terminal};
use super::*;
use crate::terminal::StrokeKind;
use crate::wire::payload::{CommandPhase, CommandText, LongText};
use alloc::borrow::ToOwned as _;

fn long(name: &str, text: &str) -> (Vec<CommandText>, CommandRequest) {
    let command = id(name);
    let whole = CommandRequest::of_any_length(command.clone(), AgentId::new("a"), text.to_owned());
    let pieces = whole.long_text.as_ref().unwrap().pieces(&command).collect();
    let mut request = whole;
    request.long_text = request.long_text.map(|long| LongText::Declared(long.bytes()));
    (pieces, request)
}

fn arrives(worker: &mut Worker, piece: &CommandText, now: Now) {
    worker.handle(message(ServerToAgent::CommandText(piece.clone())), now);
}

fn arrives_whole(worker: &mut Worker, (pieces, request): &(Vec<CommandText>, CommandRequest)) {
    for piece in pieces {
        arrives(worker, piece, at(1));
    }
    worker.handle(message(ServerToAgent::CommandRequest(request.clone())), at(1));
}

/// What is to be typed first.
fn text_typed(asked: Vec<WorkerAction>) -> Option<Vec<u8>> {
    asked.into_iter().find_map(|action| match action {
        WorkerAction::Type { typing, .. } => match &typing.strokes.first()?.what {
            StrokeKind::Text(bytes) => Some(bytes.clone()),
            _ => None,
        },
        _ => None,
    })
}

#[test]
fn a_long_text_is_one_paste_and_one_enter() {
    let (mut worker, _) = with_terminal(Screen::Detached);
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let text = "line é\n".repeat(60_000);
    arrives_whole(&mut worker, &long("c", &text));
    let asked = looked(&mut worker, TerminalSettings::AS_OPENED, at(1));
    let is_unlike_a_line = |a: &WorkerAction| {
        matches!(a, WorkerAction::Type { required_mode: Some(LineMode::Program), .. })
    };
    assert!(asked.iter().any(is_unlike_a_line), "more than a terminal gathers");
    let pasted = text_typed(asked).unwrap();
    let expected = ["\x1b[200~", text.trim_end_matches('\n'), "\x1b[201~"].concat();
    assert!(pasted == expected.as_bytes());
}

/// The link goes away behind each piece. What arrived is not used, and nothing of it is typed.
#[test]
fn of_a_text_that_is_cut_on_its_way_nothing_is_typed() {
    let text = "x".repeat(LongText::MOST);
    let whole = long("c", &text);
    let cuts = whole.0.len();
    assert_eq!(cuts, 8);
    for cut in 0..cuts {
        for comes_again in [false, true] {
            let (mut worker, _) = with_terminal(Screen::Detached);
            worker.handle(WorkerEvent::Joined(session()), at(0));
            for piece in whole.0.iter().take(cut + 1) {
                arrives(&mut worker, piece, at(0));
            }
            worker.handle(WorkerEvent::Joined(session()), at(1));
            if comes_again {
                arrives_whole(&mut worker, &whole);
                assert_eq!(typed(&mut worker, at(1)), [id("c")], "{cut}");
                continue;
            }
            // A server that did not repeat it: it is refused, and said to be.
            for piece in whole.0.iter().skip(cut + 1) {
                arrives(&mut worker, piece, at(1));
            }
            let request = ServerToAgent::CommandRequest(whole.1.clone());
            worker.handle(message(request), at(1));
            assert!(typed(&mut worker, at(1)).is_empty(), "{cut}");
            let why = said_of(&mut worker, "c");
            assert!(why.contains("nothing was done"), "{cut}: {why}");
            // The next one is not held up.
            asks(&mut worker, "next", at(1), |_| ());
            assert_eq!(typed(&mut worker, at(1)), [id("next")]);
        }
    }
}

#[test]
fn a_piece_that_is_lost_alone_is_missed() {
    let text = "x".repeat(LongText::MOST);
    let (pieces, request) = long("c", &text);
    for lost in 0..pieces.len() {
        let (mut worker, _) = with_terminal(Screen::Detached);
        worker.handle(WorkerEvent::Joined(session()), at(0));
        let kept = pieces.iter().enumerate().filter(|(at, _)| *at != lost);
        let kept = kept.map(|(_, piece)| piece.clone()).collect();
        arrives_whole(&mut worker, &(kept, request.clone()));
        assert!(typed(&mut worker, at(1)).is_empty(), "{lost}");
        let why = said_of(&mut worker, "c");
        assert!(why.contains("nothing was done"), "{lost}: {why}");
    }
}

/// Why a command failed, as the server is told.
fn said_of(worker: &mut Worker, name: &str) -> String {
    let said = sent(worker, at(2));
    let why = said.iter().find_map(|said| match said {
        AgentToServer::CommandComplete(complete) if complete.command_id == id(name) => {
            assert_eq!(complete.status, CommandPhase::Failed);
            complete.error.clone()
        }
        _ => None,
    });
    let why = why.or_else(|| report(worker, name)?.error);
    why.unwrap_or_else(|| panic!("{said:?}"))
}

#[test]
fn a_program_that_takes_no_pastes_gets_a_long_line_and_no_long_lines() {
    let raw = TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };
    for (text, is_taken) in [("x".repeat(100_000), true), ("x\n".repeat(50_000), false)] {
        let (mut worker, terminal) = started(Screen::Detached);
        worker.handle(WorkerEvent::Joined(session()), at(0));
        let (command, bytes) = (terminal, Bytes::from_static(b"$ "));
        worker.handle(WorkerEvent::Output { command, stream: Stream::Terminal, bytes }, at(0));
        arrives_whole(&mut worker, &long("c", &text));
        worker.handle(WorkerEvent::Wake, at(2));
        let asked = looked(&mut worker, raw, at(2));
        assert_eq!(text_typed(asked).is_some(), is_taken);
        if is_taken {
            is_typed(&mut worker, "c", at(3));
        } else {
            assert!(said_of(&mut worker, "c").contains("bracketed paste"));
        }
    }
}

#[test]
fn an_agent_without_a_terminal_refuses_it_and_says_why() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    arrives_whole(&mut worker, &long("c", &"x".repeat(100_000)));
    assert!(!actions(&mut worker).iter().any(is_start));
    let why = said_of(&mut worker, "c");
    assert!(why.contains("128 KiB") && why.contains("100000") && why.contains("a file"), "{why}");
}
