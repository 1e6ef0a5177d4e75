//! What happens to the output of a process when nobody takes it and the agent must end.

use super::*;
use crate::spool::LeftRun;
use onsembl_protocol::command::{CommandJournal, Fate};
use onsembl_protocol::id::AgentId;
use onsembl_protocol::id::Incarnation;
use onsembl_protocol::output::{RECORD_COST, RecoveredRun, StreamState};
use onsembl_protocol::wire::payload::{CommandPhase, OutputAck, OutputTotals};
use std::time::Duration;

type Events = mpsc::Receiver<ProcessEvent<CommandId>>;

/// Takes one event as the loop does; whether it was the end.
async fn step(commands: &mut Commands, events: &mut Events) -> bool {
    let event = tokio::time::timeout(Duration::from_secs(60), events.recv()).await;
    match event.expect("waited too long for a process").unwrap() {
        ProcessEvent::Output { key, stream, bytes } => {
            commands.on_output(&key, stream, bytes);
            false
        }
        ProcessEvent::Ended { key, exit, group_empty } => {
            commands.on_ended(&key, exit, group_empty);
            true
        }
    }
}

/// A process that writes without end, and an outbox that it has filled.
async fn flooded() -> (Commands, Events, CommandId) {
    let (mut commands, mut events) = Commands::new(4, SystemClock::new(), Counters::default());
    let id = CommandId::new("c");
    commands.on_request(CommandRequest::new(id.clone(), AgentId::new("a"), "exec yes"));
    while !commands.outbox.is_full() {
        assert!(!step(&mut commands, &mut events).await);
    }
    (commands, events, id)
}

#[tokio::test]
async fn a_stop_takes_no_more_than_the_outbox_holds_and_the_report_says_what_is_missing() {
    let (mut commands, mut events, id) = flooded().await;
    commands.wind_up(true);
    while !step(&mut commands, &mut events).await {}
    // The bound, and the chunk that reached it.
    assert!(
        commands.outbox.held()
            <= SpoolBounds::MEMORY_ONLY.memory + process::CHUNK_BYTES as u64 + RECORD_COST
    );
    assert!(commands.due.next() == Some(Word::Has(id.clone())) && commands.due.is_empty());

    let totals = commands.outbox.totals(&id).unwrap();
    let is_stdout = |s: &StreamState| s.stream == Stream::Stdout;
    let missing = commands.outbox.states().find(is_stdout).unwrap().gaps;
    assert!(missing > 0 && totals.stdout_bytes.0 - missing < commands.outbox.held());
    commands.on_stored(
        &OutputAck {
            command_id: id,
            incarnation: totals.incarnation,
            stream_type: Stream::Stdout.into(),
            offset: totals.stdout_bytes,
            open_gap: false,
        },
        None,
    );
    let Some(Word::Over(report)) = commands.next_word() else { panic!("no report") };
    assert_eq!(report.output, Some(totals));
    let why = report.error.unwrap();
    assert!(why.contains("the agent was stopped") && why.contains("thrown away"), "{why}");
}

#[tokio::test]
async fn a_cancel_is_obeyed_while_reading_waits_and_loses_nothing_that_was_written() {
    let (mut commands, mut events, id) = flooded().await;
    commands.on_cancel(&id, true);
    let totals = commands.outbox.totals(&id).unwrap();
    commands.on_stored(
        &OutputAck {
            command_id: id.clone(),
            incarnation: totals.incarnation,
            stream_type: Stream::Stdout.into(),
            offset: totals.stdout_bytes,
            open_gap: false,
        },
        None,
    );
    assert!(!commands.outbox.is_full());
    while !step(&mut commands, &mut events).await {}
    let report = commands.held.get(&id).expect("the rest is not stored yet");
    assert_eq!(report.output, commands.outbox.totals(&id));
    assert!(commands.notes.get(&id).is_none_or(|notes| !notes.output_cut));
}

/// A server that does all that ours does.
const EXTENDED: Rules = Rules {
    output_is_stored: true,
    output_is_binary: true,
    output_resumes: true,
    knows_journals: true,
    knows_terminals: true,
    open_ends_are_stored: true,
    latches_stops: true,
    reports_are_confirmed: true,
};

/// An end that is written down is known, also if the spool did not hear of it before its agent died.
#[tokio::test]
async fn the_end_of_a_run_whose_report_counts_its_output_is_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _events, _) = Spool::open(dir.path()).unwrap();
    let run = Run { command: CommandId::new("c"), incarnation: Incarnation(1) };
    let mut report = CommandBook::default().lose(&run.command, Fate::Gone, String::new());
    report.status = CommandPhase::Completed;
    report.output = Some(OutputTotals { incarnation: run.incarnation, ..OutputTotals::default() });
    let mut journal = CommandJournal::default();
    let mark = RunMark::new("m");
    journal.apply(JournalEntry::Starting { command: run.command.clone(), mark });
    journal.apply(JournalEntry::Ended { report: report.clone() });
    let (mut commands, _processes) = Commands::new(4, SystemClock::new(), Counters::default());
    commands.book.recover(&journal);
    let recovered = RecoveredRun::new(run.clone(), SpoolPolicy::Block, PerStream::default());
    let left = vec![LeftRun { recovered, ended: false }];
    let mut commands = commands.with_spool(spool, 1 << 20, None, left);
    commands.on_joined(256 * 1024, EXTENDED);
    let mut said = Vec::new();
    while let Some(word) = commands.next_word() {
        said.push(word);
    }
    assert!(!said.iter().any(|word| matches!(word, Word::BrokeOff(..))), "{said:?}");
    assert!(said.contains(&Word::Over(report)), "{said:?}");
}

/// What the disk did not take may have reached the server all the same.
#[tokio::test]
async fn a_successor_that_knows_less_than_the_server_still_ends_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _events, _) = Spool::open(dir.path()).unwrap();
    let run = Run { command: CommandId::new("c"), incarnation: Incarnation(1) };
    let recovered = RecoveredRun::new(run.clone(), SpoolPolicy::Block, PerStream::default());
    let left = vec![LeftRun { recovered, ended: false }];
    let (commands, _processes) = Commands::new(4, SystemClock::new(), Counters::default());
    let mut commands = commands.with_spool(spool, 1 << 20, Some(SpoolPolicy::Block), left);
    let rules = EXTENDED;
    commands.on_joined(256 * 1024, rules);
    assert_eq!(commands.open(9), std::slice::from_ref(&run.command));
    assert!(matches!(commands.next_word(), Some(Word::Holds(_))));
    for stream in [Stream::Stdout, Stream::Stderr] {
        let said = commands.next_word();
        assert_eq!(said, Some(Word::BrokeOff(run.clone(), stream, ByteOffset(0))));
    }
    assert_eq!(commands.next_word(), None);
    for stream in [Stream::Stdout, Stream::Stderr] {
        let ack = OutputAck {
            command_id: run.command.clone(),
            incarnation: run.incarnation,
            stream_type: stream.into(),
            offset: ByteOffset(5),
            open_gap: true,
        };
        commands.on_stored(&ack, Some(rules));
    }
    let Some(Word::Over(report)) = commands.next_word() else { panic!("no report") };
    assert_eq!(report.status, CommandPhase::OutcomeUnknown);
    assert!(report.error.unwrap().contains("the agent's process ended while this command ran"));
}
