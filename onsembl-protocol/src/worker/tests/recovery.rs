//! What an earlier process of the agent left: runs in the spool, entries in the journal.

use super::*;
use crate::command::{AgentCommands, CommandJournal};
use crate::id::{ChunkSequence, RunMark};
use crate::model::{SizeRecord, TerminalSize};
use crate::output::{PerStream, RecoveredRun, Run, SpoolPolicy};
use crate::wire::payload::{CommandPhase, OutputTotals};

fn left_behind(ended: bool) -> (Run, LeftRun) {
    let run = Run { command: id("c"), incarnation: Incarnation(1) };
    let recovered = RecoveredRun::new(run.clone(), SpoolPolicy::Block, PerStream::default());
    (run, LeftRun { recovered, ended, sizes: Vec::new() })
}

/// An end that is written down is known, also if the spool did not hear of it before its agent died.
#[test]
fn the_end_of_a_run_whose_report_counts_its_output_is_not_open() {
    let (run, left) = left_behind(false);
    let mut report = AgentCommands::default().lose(&run.command, Fate::Ended, String::new());
    report.status = CommandPhase::Completed;
    report.output = Some(OutputTotals { incarnation: run.incarnation, ..OutputTotals::default() });
    let mut journal = CommandJournal::default();
    let mark = RunMark::new("m");
    journal.apply(JournalEntry::Starting { command: run.command.clone(), mark });
    journal.apply(JournalEntry::Ended { report: report.clone(), remains: None });
    let recovered = Recovered { journal, runs: vec![left], ..Recovered::default() };
    let mut worker = Worker::new(config(), recovered, at(0));
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let sent = sent(&mut worker, at(0));
    assert!(!sent.iter().any(|m| matches!(m, AgentToServer::OutputGap(_))), "{sent:?}");
    report.agent_id = Some(AgentId::new("a"));
    assert!(sent.contains(&AgentToServer::CommandComplete(report)), "{sent:?}");
}

/// What the disk did not take may have reached the server anyway.
#[test]
fn a_successor_that_knows_less_than_the_server_still_ends_the_command() {
    let (run, left) = left_behind(false);
    let recovered = Recovered { runs: vec![left], ..Recovered::default() };
    let mut worker = Worker::new(config(), recovered, at(0));
    worker.handle(WorkerEvent::Joined(session()), at(0));
    assert_eq!(worker.open_commands(9), core::slice::from_ref(&run.command));
    let first = sent(&mut worker, at(0));
    let kinds: Vec<_> = first.iter().map(crate::wire::MessageSet::kind).collect();
    assert_eq!(kinds, ["OUTPUT_STATE", "OUTPUT_GAP", "OUTPUT_GAP"]);
    for stream in [Stream::Stdout, Stream::Stderr] {
        let ack = OutputAck {
            command_id: run.command.clone(),
            incarnation: run.incarnation,
            stream_type: stream.into(),
            offset: ByteOffset(5),
            open_gap: true,
        };
        worker.handle(message(ServerToAgent::OutputAck(ack)), at(0));
    }
    let sent = sent(&mut worker, at(0));
    let [AgentToServer::CommandComplete(report)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(report.status, CommandPhase::OutcomeUnknown);
    let why = report.error.as_deref().unwrap();
    assert!(why.contains("the agent's process ended while this command ran"), "{why}");
}

/// The first successor has a journal of its own, and dies too.
#[test]
fn what_was_found_of_a_run_that_did_not_end_is_no_count_for_the_next_process() {
    let mut journal = CommandJournal::default();
    for _ in 0..2 {
        let (_, left) = left_behind(false);
        let recovered =
            Recovered { journal: journal.clone(), runs: vec![left], ..Recovered::default() };
        let config = WorkerConfig { journal: Journalling::Kept, ..config() };
        let mut worker = Worker::new(config, recovered, at(0));
        for action in actions(&mut worker) {
            if let WorkerAction::Journal(entry) = action {
                let awaited = entry.awaited();
                journal.apply(entry);
                awaited.into_iter().for_each(|a| journalled(&mut worker, a, Ok(())));
            }
        }
        worker.handle(WorkerEvent::Joined(session()), at(0));
        let sent = sent(&mut worker, at(0));
        let gaps = sent.iter().filter(|m| matches!(m, AgentToServer::OutputGap(_))).count();
        assert_eq!(gaps, 2, "{sent:?}");
    }
}

/// A run that ended whole is lost with its count, which only the spool has.
#[test]
fn the_count_of_a_run_that_ended_is_told_though_its_agent_died_before_it_wrote_that_down() {
    let (run, left) = left_behind(true);
    let (command, mark) = (run.command, RunMark::new("m"));
    let mut journal = CommandJournal::default();
    journal.apply(JournalEntry::Starting { command: command.clone(), mark });
    let cleared = vec![Cleared { command, fate: Fate::Ended, why: "gone".into() }];
    let recovered = Recovered { journal, cleared, runs: vec![left], ..Recovered::default() };
    let mut worker = Worker::new(config(), recovered, at(0));
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let sent = sent(&mut worker, at(0));
    let Some(AgentToServer::CommandComplete(report)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(report.status, CommandPhase::Lost);
    assert!(report.output.is_some_and(|all| all.incarnation == run.incarnation), "{report:?}");
}

/// The size is said before the output that was drawn at it, and before the terminal is reported to be over.
#[test]
fn the_sizes_of_a_terminal_outlive_the_agent_with_its_output() {
    let run = Run { command: CommandId::of_terminal("1"), incarnation: Incarnation(1) };
    let starts = PerStream { terminal: ByteOffset(10), ..PerStream::default() };
    let mut recovered = RecoveredRun::new(run.clone(), SpoolPolicy::Block, starts);
    recovered.add(&Record {
        sequence: ChunkSequence(4),
        stream: Stream::Terminal,
        offset: ByteOffset(10),
        body: RecordBody::Chunk(Bytes::from_static(b"drawn at 120 columns")),
    });
    let record = |offset, columns| SizeRecord {
        incarnation: run.incarnation,
        offset: ByteOffset(offset),
        size: TerminalSize::new(columns, 40).unwrap(),
    };
    let sizes = alloc::vec![record(0, 80), record(10, 120)];
    let left = LeftRun { recovered, ended: false, sizes };
    let recovered = Recovered { runs: alloc::vec![left], ..Recovered::default() };
    let mut worker = Worker::new(config(), recovered, at(0));
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let sizes: Vec<_> = sent(&mut worker, at(0))
        .into_iter()
        .take_while(|message| !matches!(message, AgentToServer::CommandComplete(_)))
        .filter_map(|message| match message {
            AgentToServer::TerminalSize(sized) => Some((sized.offset.0, sized.size.columns())),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [(0, 80), (10, 120)]);
}
