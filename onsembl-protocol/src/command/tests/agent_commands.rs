//! What an agent process knows of its commands: each id is run at most once.

use super::{now, secs, stamp};
use crate::command::agent_commands::MOST_WAITING;
use crate::command::{
    AgentCommands, CancelDecision, CommandJournal, Decision, Exit, Fate, JournalEntry,
    ProcessIdentity, RunTag,
};
use crate::id::{ByteOffset, CommandId, Incarnation, RunMark};
use crate::model::{CommandAckStatus, CommandComplete, CommandPhase, OutputTotals, Pausing};
use crate::time::Deadline;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::prelude::rust_2024::*;
use std::time::Duration;

fn id(n: impl std::fmt::Display) -> CommandId {
    CommandId::new(format!("c-{n}"))
}

fn start(commands: &mut AgentCommands, id: &CommandId, limit: Option<Duration>) {
    assert_eq!(commands.on_request(id), Decision::Keep);
    assert_eq!(commands.take_next().as_ref(), Some(id));
    assert_eq!(commands.may_start(id), Ok(()));
    commands.on_started(id, limit, stamp(secs(1)));
}

fn end(commands: &mut AgentCommands, id: &CommandId, exit: Exit) -> Option<CommandComplete> {
    commands.on_ended(id, exit, None, stamp(secs(3)), now(secs(3)).wall)
}

#[test]
fn a_command_is_run_once_however_often_it_arrives() {
    let mut commands = AgentCommands::default();
    let c = id(1);
    start(&mut commands, &c, None);
    for _ in 0..3 {
        let again = Decision::Acknowledge(CommandAckStatus::Executing);
        assert_eq!(commands.on_request(&c), again);
    }
    let report = end(&mut commands, &c, Exit::Code(0)).unwrap();
    assert_eq!((report.status.clone(), report.exit_code), (CommandPhase::Completed, Some(0)));
    assert_eq!(report.duration_ms, Some(2000));
    for _ in 0..3 {
        assert_eq!(commands.on_request(&c), Decision::Report(report.clone()));
    }
    assert_eq!(end(&mut commands, &c, Exit::Code(1)), None, "an end is final");
    assert_eq!((commands.finished(), commands.running().len()), (1, 0));
}

#[test]
fn ends_say_how() {
    for (exit, phase, code, signal, error) in [
        (Exit::Code(0), CommandPhase::Completed, Some(0), None, None),
        (Exit::Code(2), CommandPhase::Failed, Some(2), None, Some("exit code 2")),
        (Exit::Signal(9), CommandPhase::Failed, None, Some(9), Some("ended by signal 9")),
    ] {
        let mut commands = AgentCommands::default();
        start(&mut commands, &id(1), None);
        let totals = OutputTotals {
            incarnation: Incarnation(1),
            stdout_bytes: ByteOffset(5),
            stderr_bytes: ByteOffset(0),
            terminal_bytes: ByteOffset(0),
            unstored: false,
        };
        let wall = now(secs(3)).wall;
        let report = commands.on_ended(&id(1), exit, Some(totals), stamp(secs(3)), wall).unwrap();
        assert_eq!((report.status, report.exit_code, report.signal), (phase, code, signal));
        assert_eq!(report.error.as_deref(), error);
        assert_eq!((report.timestamp, report.output), (Some(wall), Some(totals)));
    }
}

#[test]
fn a_cancelled_command_is_cancelled_whatever_its_process_says() {
    for exit in [Exit::Code(0), Exit::Code(1), Exit::Signal(15)] {
        let mut commands = AgentCommands::default();
        start(&mut commands, &id(1), None);
        assert_eq!(commands.on_cancel(&id(1)), CancelDecision::Kill);
        assert_eq!(commands.on_cancel(&id(1)), CancelDecision::Kill, "again, if asked again");
        assert_eq!(commands.running(), [id(1)], "until its process is gone");
        let report = end(&mut commands, &id(1), exit).unwrap();
        assert_eq!(report.status, CommandPhase::Cancelled);
        assert_eq!(commands.on_cancel(&id(1)), CancelDecision::Report(report));
    }
}

#[test]
fn a_cancel_that_overtakes_its_request_prevents_it() {
    let mut commands = AgentCommands::default();
    let CancelDecision::NeverRan(report) = commands.on_cancel(&id(1)) else { unreachable!() };
    assert_eq!(report.status, CommandPhase::Cancelled);
    assert_eq!(commands.on_request(&id(1)), Decision::Report(report));
}

#[test]
fn a_command_over_its_limit_is_named_once_and_fails() {
    let mut commands = AgentCommands::default();
    start(&mut commands, &id(1), Some(secs(10)));
    start(&mut commands, &id(2), Some(secs(20)));
    start(&mut commands, &id(3), None);
    assert_eq!(commands.deadline(), Deadline::At(stamp(secs(11))));
    assert_eq!(commands.take_expired(stamp(secs(10))), []);
    assert_eq!(commands.take_expired(stamp(secs(11))), [id(1)]);
    assert_eq!(commands.take_expired(stamp(secs(12))), []);
    assert_eq!(commands.deadline(), Deadline::At(stamp(secs(21))));
    let report = end(&mut commands, &id(1), Exit::Code(0)).unwrap();
    assert_eq!(report.status, CommandPhase::Failed);
    assert_eq!(report.error.as_deref(), Some("it ran longer than its limit of 10s"));
    end(&mut commands, &id(2), Exit::Code(0)).unwrap();
    assert_eq!(commands.deadline(), Deadline::Never);
}

#[test]
fn so_many_run_at_once_and_the_others_wait_up_to_a_bound() {
    let mut commands = AgentCommands::new(2);
    for n in 0..MOST_WAITING + 2 {
        assert_eq!(commands.on_request(&id(n)), Decision::Keep);
        if n < 2 {
            assert_eq!(commands.take_next(), Some(id(n)));
            assert_eq!(commands.status(&id(n)), CommandAckStatus::Received);
            assert_eq!(commands.may_start(&id(n)), Ok(()));
            commands.on_started(&id(n), None, stamp(secs(1)));
        } else {
            assert_eq!(commands.take_next(), None);
            assert_eq!(commands.status(&id(n)), CommandAckStatus::Queued);
        }
    }
    let Decision::Refuse(report) = commands.on_request(&id("more")) else { unreachable!() };
    assert_eq!(report.status, CommandPhase::Failed);
    assert!(report.error.as_deref().is_some_and(|e| e.contains("64 commands")));
    end(&mut commands, &id(0), Exit::Code(0)).unwrap();
    commands.pause(Pausing::Paused);
    assert_eq!(commands.take_next(), None);
    commands.pause(Pausing::Running);
    assert_eq!((commands.take_next(), commands.take_next()), (Some(id(2)), None));
    assert_eq!(commands.on_request(&id("next")), Decision::Keep);
    assert_eq!(
        commands.on_request(&id("more")),
        Decision::Report(report),
        "a refusal is an end, too"
    );
}

#[test]
fn what_is_cancelled_before_it_starts_never_starts() {
    let mut commands = AgentCommands::new(1);
    for n in 0..3 {
        assert_eq!(commands.on_request(&id(n)), Decision::Keep);
    }
    assert_eq!(commands.take_next(), Some(id(0)));
    assert_eq!(commands.on_cancel(&id(0)), CancelDecision::Withheld);
    let CancelDecision::NeverRan(_) = commands.on_cancel(&id(1)) else { unreachable!() };
    let report = commands.may_start(&id(0)).unwrap_err().unwrap();
    assert_eq!(report.status, CommandPhase::Cancelled);
    assert_eq!(commands.may_start(&id(0)), Err(None));
    assert_eq!(commands.take_next(), Some(id(2)), "its slot is free, and the second left the line");
    assert_eq!(commands.unfinished(), [id(2)]);
}

#[test]
fn a_journal_tells_a_successor_what_became_of_every_command() {
    let mark = |n: &str| RunMark::new(n);
    let process = ProcessIdentity {
        pid: 7,
        started: 9,
        boot: "b".into(),
        namespace: "n".into(),
        tag: Some(RunTag(5)),
    };
    let starting = |n: &str| JournalEntry::Starting { command: id(n), mark: mark(n) };
    let mut commands = AgentCommands::default();
    start(&mut commands, &id("done"), None);
    let report = end(&mut commands, &id("done"), Exit::Code(0)).unwrap();
    let mut heard = report.clone();
    heard.command_id = id("heard");
    let mut journal = CommandJournal::default();
    for entry in [
        starting("begun"),
        starting("ran"),
        JournalEntry::Started { command: id("ran"), process: process.clone() },
        starting("done"),
        JournalEntry::Ended { report: report.clone(), remains: None },
        starting("heard"),
        JournalEntry::Ended { report: heard.clone(), remains: None },
        JournalEntry::Confirmed { command: id("heard") },
        // Of no command that it knows: without effect.
        JournalEntry::Confirmed { command: id("never") },
        JournalEntry::Started { command: id("never"), process },
    ] {
        journal.apply(entry);
    }
    let mut again = CommandJournal::default();
    journal.entries().for_each(|entry| again.apply(entry));
    assert_eq!(again, journal, "the rewritten journal holds the same");

    let mut successor = AgentCommands::default();
    successor.recover(&journal);
    assert_eq!(successor.unconfirmed(), [report]);
    assert_eq!(successor.on_request(&id("heard")), Decision::Report(heard));
    for (command, fate, phase) in [
        ("begun", Fate::Unknown, CommandPhase::OutcomeUnknown),
        ("ran", Fate::Ended, CommandPhase::Lost),
    ] {
        let report = successor.lose(&id(command), fate, "why".into());
        assert_eq!(report.status, phase);
        assert_eq!(successor.on_request(&id(command)), Decision::Report(report));
    }
    assert_eq!(successor.on_request(&id("never")), Decision::Keep, "it was never started");
}

#[test]
fn an_end_is_open_until_the_server_confirmed_it() {
    let mut commands = AgentCommands::default();
    start(&mut commands, &id(1), None);
    start(&mut commands, &id(2), None);
    let report = end(&mut commands, &id(1), Exit::Code(0)).unwrap();
    assert_eq!(commands.unconfirmed(), [report]);
    assert_eq!(commands.open(), [id(1), id(2)]);
    commands.on_confirmed(&id(1));
    commands.on_confirmed(&id(2));
    assert_eq!(commands.unconfirmed(), []);
    assert_eq!(commands.open(), [id(2)], "a running command cannot be confirmed as ended");
}

#[test]
fn memory_is_bounded_and_what_is_confirmed_goes_first() {
    let mut commands = AgentCommands::default();
    start(&mut commands, &id("kept"), None);
    end(&mut commands, &id("kept"), Exit::Code(0)).unwrap();
    for n in 0..10_000 {
        start(&mut commands, &id(n), None);
        end(&mut commands, &id(n), Exit::Code(0)).unwrap();
        commands.on_confirmed(&id(n));
    }
    assert!(matches!(commands.on_request(&id("kept")), Decision::Report(_)), "nobody has it yet");
    assert!(matches!(commands.on_request(&id(9_999)), Decision::Report(_)));
    assert_eq!(commands.on_request(&id(0)), Decision::Keep, "forgotten");
    for n in 10_000..14_500 {
        let _ = commands.refuse(&id(n), "no".into());
    }
    assert!(commands.unconfirmed().len() <= 4096);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Request(u8),
    End(u8, bool),
    Cancel(u8),
    Confirm(u8),
    Expire(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..6).prop_map(Op::Request),
        ((0u8..6), any::<bool>()).prop_map(|(n, ok)| Op::End(n, ok)),
        (0u8..6).prop_map(Op::Cancel),
        (0u8..6).prop_map(Op::Confirm),
        (0u64..100).prop_map(Op::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn at_most_one_run_and_exactly_one_end(ops in vec(op(), 1..200)) {
        let mut commands = AgentCommands::new(8);
        let mut runs: BTreeMap<u8, u32> = BTreeMap::new();
        let mut running: BTreeSet<u8> = BTreeSet::new();
        let mut ends: BTreeMap<u8, CommandComplete> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Request(n) => match commands.on_request(&id(n)) {
                    Decision::Keep => {
                        prop_assert!(!ends.contains_key(&n) && !running.contains(&n));
                        *runs.entry(n).or_default() += 1;
                        prop_assert_eq!(commands.take_next(), Some(id(n)));
                        prop_assert_eq!(commands.may_start(&id(n)), Ok(()));
                        commands.on_started(&id(n), Some(secs(50)), stamp(secs(1)));
                        running.insert(n);
                    }
                    Decision::Acknowledge(_) => prop_assert!(running.contains(&n)),
                    Decision::Report(report) => prop_assert_eq!(ends.get(&n), Some(&report)),
                    Decision::Refuse(_) => prop_assert!(false, "far below the bound"),
                },
                Op::End(n, ok) => {
                    let exit = if ok { Exit::Code(0) } else { Exit::Signal(15) };
                    let report = end(&mut commands, &id(n), exit);
                    prop_assert_eq!(report.is_some(), running.remove(&n));
                    if let Some(report) = report {
                        prop_assert!(ends.insert(n, report).is_none(), "ended twice");
                    }
                }
                Op::Cancel(n) => match commands.on_cancel(&id(n)) {
                    CancelDecision::Kill => prop_assert!(running.contains(&n)),
                    CancelDecision::Withheld => prop_assert!(false, "started at once"),
                    CancelDecision::Report(report) => prop_assert_eq!(ends.get(&n), Some(&report)),
                    CancelDecision::NeverRan(report) => {
                        prop_assert!(!runs.contains_key(&n));
                        prop_assert!(ends.insert(n, report).is_none());
                    }
                },
                Op::Confirm(n) => commands.on_confirmed(&id(n)),
                Op::Expire(at) => {
                    for c in commands.take_expired(stamp(secs(at))) {
                        prop_assert!(running.iter().any(|n| id(n) == c));
                    }
                }
            }
            prop_assert!(runs.values().all(|n| *n <= 1));
            let names: Vec<CommandId> = running.iter().map(id).collect();
            prop_assert_eq!(commands.running(), names);
        }
    }
}
