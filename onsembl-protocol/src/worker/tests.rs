//! The worker alone, with an edge that performs each action at once.

use super::*;
use crate::command::{AgentCommands, Awaited, CommandJournal, Exit};
use crate::id::{AgentId, ByteOffset, Incarnation, RunMark};
use crate::model::{AGENT_FEATURES, Capabilities, Dialect, SERVER_FEATURES};
use crate::output::{PerStream, StreamState};
use crate::output::{RECORD_COST, RecoveredRun, Run, SpoolBounds, SpoolPolicy, Stream};
use crate::session::EndOrder;
use crate::terminal::TerminalSize;
use crate::wire::payload::{
    AgentControl, CommandAckStatus, CommandCancel, CommandPhase, CommandRequest, ControlAction,
    EmergencyStop, OutputAck, OutputTotals, StopRelease, StopStage,
};
use crate::wire::{AgentToServer, ServerToAgent};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use bytes::Bytes;
use core::time::Duration;

const CHUNK: usize = 16 * 1024;

fn at(seconds: u64) -> Now {
    Now::from_origin(Duration::from_secs(1000 + seconds))
}

fn config() -> WorkerConfig {
    WorkerConfig {
        slots: 4,
        spool: SpoolBounds::MEMORY_ONLY,
        policy: None,
        journal: Journalling::Off,
        terminal: None,
        fence: Fence::open(),
        unique: "u".into(),
    }
}

fn worker(config: WorkerConfig) -> Worker {
    Worker::new(config, Recovered::default(), at(0))
}

/// A server that does all that ours does.
fn session() -> WorkerSession {
    WorkerSession {
        agent: Some(AgentId::new("a")),
        capabilities: Capabilities::negotiate(AGENT_FEATURES, SERVER_FEATURES, Dialect::Extended),
        output_window: 256 * 1024,
        stopped: None,
    }
}

fn id(name: &str) -> CommandId {
    CommandId::new(name)
}

fn request(name: &str) -> WorkerEvent {
    let request = CommandRequest::new(id(name), AgentId::new("a"), "yes");
    WorkerEvent::Message(Box::new(ServerToAgent::CommandRequest(request)))
}

fn message(message: ServerToAgent) -> WorkerEvent {
    WorkerEvent::Message(Box::new(message))
}

fn stored(
    command: &CommandId,
    run: Incarnation,
    stream: Stream,
    offset: ByteOffset,
) -> WorkerEvent {
    message(ServerToAgent::OutputAck(OutputAck {
        command_id: command.clone(),
        incarnation: run,
        stream_type: stream.into(),
        offset,
        open_gap: false,
    }))
}

/// The actions but for notes.
fn actions(worker: &mut Worker) -> Vec<WorkerAction> {
    let next = || worker.poll_action();
    core::iter::from_fn(next).filter(|action| !matches!(action, WorkerAction::Note(_))).collect()
}

/// All that is said, handed to the link.
fn sent(worker: &mut Worker, now: Now) -> Vec<AgentToServer> {
    let mut sent = Vec::new();
    while let Some(message) = worker.next_message(now) {
        if let WorkerMessage::Text(message) = message {
            sent.push(*message);
        }
        worker.handle(WorkerEvent::Sent, now);
    }
    sent
}

fn started(worker: &mut Worker, name: &str, now: Now) {
    worker.handle(WorkerEvent::Started { command: id(name), process: None }, now);
}

fn ended(worker: &mut Worker, name: &str, exit: Exit, now: Now) {
    let rest = Fate::Ended;
    worker.handle(WorkerEvent::Ended { command: id(name), exit, rest }, now);
}

fn journalled(worker: &mut Worker, awaited: Awaited, outcome: Result<(), String>) {
    worker.handle(WorkerEvent::Journalled { awaited, outcome }, at(0));
}

fn is_start(action: &WorkerAction) -> bool {
    matches!(action, WorkerAction::Start { .. })
}

/// A command that writes without end, and an outbox that it has filled.
fn flooded() -> (Worker, CommandId) {
    let mut worker = worker(config());
    worker.handle(request("c"), at(0));
    assert!(actions(&mut worker).iter().any(is_start));
    started(&mut worker, "c", at(0));
    while !worker.delivery.outbox().is_full() {
        write(&mut worker);
    }
    let deferred = actions(&mut worker);
    assert!(deferred.iter().any(|a| matches!(a, WorkerAction::PauseReading(_))), "{deferred:?}");
    (worker, id("c"))
}

fn write(worker: &mut Worker) {
    let bytes = Bytes::from(vec![b'y'; CHUNK]);
    worker.handle(WorkerEvent::Output { command: id("c"), stream: Stream::Stdout, bytes }, at(0));
}

#[test]
fn a_stop_takes_no_more_than_the_outbox_holds_and_the_report_says_what_is_missing() {
    let (mut worker, id) = flooded();
    worker.handle(WorkerEvent::ShutDown, at(1));
    let asked = actions(&mut worker);
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::Cancel { .. })), "{asked:?}");
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::ResumeReading(_))), "{asked:?}");
    (0..8).for_each(|_| write(&mut worker));
    ended(&mut worker, "c", Exit::Signal(15), at(2));
    // The bound, and the chunk that reached it.
    let bound = SpoolBounds::MEMORY_ONLY.memory + CHUNK as u64 + RECORD_COST;
    assert!(worker.delivery.outbox().unstored() <= bound);
    let totals = worker.delivery.outbox().totals(&id).unwrap();
    let is_stdout = |s: &StreamState| s.stream == Stream::Stdout;
    let missing = worker.delivery.outbox().states().find(is_stdout).unwrap().gaps;
    assert!(missing > 0 && totals.stdout_bytes.0 - missing < worker.delivery.outbox().unstored());
    worker.handle(WorkerEvent::Joined(session()), at(2));
    let end = totals.stdout_bytes;
    worker.handle(stored(&id, totals.incarnation, Stream::Stdout, end), at(2));
    let sent = sent(&mut worker, at(2));
    let Some(AgentToServer::CommandComplete(report)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(report.output, Some(totals));
    let why = report.error.clone().unwrap();
    assert!(why.contains("the agent was stopped") && why.contains("thrown away"), "{why}");
}

#[test]
fn a_cancel_is_obeyed_while_reading_waits_and_loses_nothing_that_was_written() {
    let (mut worker, id) = flooded();
    let cancel =
        CommandCancel { command_id: id.clone(), agent_id: None, reason: None, force: true };
    worker.handle(message(ServerToAgent::CommandCancel(cancel)), at(0));
    let asked = actions(&mut worker);
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::Kill(_))), "{asked:?}");
    let totals = worker.delivery.outbox().totals(&id).unwrap();
    worker.handle(stored(&id, totals.incarnation, Stream::Stdout, totals.stdout_bytes), at(0));
    assert!(!worker.delivery.outbox().is_full());
    write(&mut worker);
    ended(&mut worker, "c", Exit::Signal(9), at(0));
    assert!(worker.reports.withholds(&id), "the rest is not stored yet");
    let all = worker.delivery.outbox().totals(&id).unwrap();
    assert_eq!(all.stdout_bytes.0, totals.stdout_bytes.0 + CHUNK as u64);
    worker.handle(WorkerEvent::Joined(session()), at(1));
    worker.handle(stored(&id, all.incarnation, Stream::Stdout, all.stdout_bytes), at(1));
    let sent = sent(&mut worker, at(1));
    let Some(AgentToServer::CommandComplete(report)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!((report.output, report.error.as_deref()), (Some(all), Some("cancelled")));
}

fn left_behind(ended: bool) -> (Run, LeftRun) {
    let run = Run { command: id("c"), incarnation: Incarnation(1) };
    let recovered = RecoveredRun::new(run.clone(), SpoolPolicy::Block, PerStream::default());
    (run, LeftRun { recovered, ended })
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
    journal.apply(JournalEntry::Ended { report: report.clone() });
    let recovered = Recovered { journal, cleared: Vec::new(), runs: vec![left] };
    let mut worker = Worker::new(config(), recovered, at(0));
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let sent = sent(&mut worker, at(0));
    assert!(!sent.iter().any(|m| matches!(m, AgentToServer::OutputGap(_))), "{sent:?}");
    report.agent_id = Some(AgentId::new("a"));
    assert!(sent.contains(&AgentToServer::CommandComplete(report)), "{sent:?}");
}

/// What the disk did not take may have reached the server all the same.
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
            Recovered { journal: journal.clone(), cleared: Vec::new(), runs: vec![left] };
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
    let recovered = Recovered { journal, cleared, runs: vec![left] };
    let mut worker = Worker::new(config(), recovered, at(0));
    worker.handle(WorkerEvent::Joined(session()), at(0));
    let sent = sent(&mut worker, at(0));
    let Some(AgentToServer::CommandComplete(report)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(report.status, CommandPhase::Lost);
    assert!(report.output.is_some_and(|all| all.incarnation == run.incarnation), "{report:?}");
}

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

fn stop(name: &str) -> WorkerEvent {
    let stop_id = Some(StopId::new(name));
    message(ServerToAgent::EmergencyStop(EmergencyStop { stop_id, ..EmergencyStop::default() }))
}

fn receipts(sent: &[AgentToServer]) -> Vec<StopStage> {
    let stage = |m: &AgentToServer| match m {
        AgentToServer::StopReceipt(receipt) => Some(receipt.stage.clone()),
        _ => None,
    };
    sent.iter().filter_map(stage).collect()
}

#[test]
fn a_stop_kills_at_once_holds_until_it_is_released_and_is_verified_only_when_nothing_is_left() {
    let mut worker = worker(WorkerConfig { journal: Journalling::Kept, ..config() });
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    journalled(&mut worker, Awaited::Start(id("c")), Ok(()));
    started(&mut worker, "c", at(0));
    let _ = (actions(&mut worker), sent(&mut worker, at(0)));
    worker.handle(stop("s"), at(1));
    let asked = actions(&mut worker);
    let [WorkerAction::Kill(_), WorkerAction::Journal(JournalEntry::Stopped { .. })] =
        asked.as_slice()
    else {
        panic!("{asked:?}")
    };
    assert_eq!(receipts(&sent(&mut worker, at(1))), [], "it would not survive a crash yet");
    journalled(&mut worker, Awaited::Stop(StopId::new("s")), Ok(()));
    assert_eq!(receipts(&sent(&mut worker, at(1))), [StopStage::Acted]);
    worker.handle(request("d"), at(1));
    assert!(!actions(&mut worker).iter().any(is_start));
    ended(&mut worker, "c", Exit::Signal(9), at(2));
    assert_eq!(receipts(&sent(&mut worker, at(2))), [StopStage::Verified]);
    let release = StopRelease { stop_id: StopId::new("s") };
    worker.handle(message(ServerToAgent::StopRelease(release)), at(3));
    worker.handle(request("e"), at(3));
    let asked = actions(&mut worker);
    let released =
        |a: &WorkerAction| matches!(a, WorkerAction::Journal(JournalEntry::Released { .. }));
    assert!(asked.iter().any(released), "{asked:?}");
    journalled(&mut worker, Awaited::Start(id("e")), Ok(()));
    assert!(actions(&mut worker).iter().any(is_start));
}

/// What an earlier process left may live: "verified" would be a lie.
#[test]
fn a_stop_is_not_verified_over_what_an_earlier_process_left_and_nobody_found() {
    let mut journal = CommandJournal::default();
    let (command, mark) = (id("c"), RunMark::new("m"));
    journal.apply(JournalEntry::Starting { command: command.clone(), mark });
    journal.apply(JournalEntry::Stopped { stop: StopId::new("s") });
    let cleared = vec![Cleared { command, fate: Fate::Unknown, why: "who knows".into() }];
    let recovered = Recovered { journal, cleared, runs: Vec::new() };
    let config = WorkerConfig { journal: Journalling::Kept, ..config() };
    let mut worker = Worker::new(config, recovered, at(0));
    let session = WorkerSession { stopped: Some(StopId::new("s")), ..session() };
    worker.handle(WorkerEvent::Joined(session), at(0));
    assert_eq!(receipts(&sent(&mut worker, at(0))), [StopStage::Acted]);
}

#[test]
fn what_a_link_did_not_take_is_offered_again_and_all_of_it_in_the_next_session() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    started(&mut worker, "c", at(0));
    let offered = worker.next_message(at(0));
    let Some(WorkerMessage::Text(ack)) = &offered else { panic!("{offered:?}") };
    let AgentToServer::CommandAck(ack) = &**ack else { panic!("{ack:?}") };
    assert_eq!(ack.status, CommandAckStatus::Executing);
    assert_eq!(worker.next_message(at(0)), offered, "the link did not confirm it");
    worker.handle(WorkerEvent::SessionEnded, at(1));
    assert_eq!(worker.next_message(at(1)), None);
    worker.handle(WorkerEvent::Joined(session()), at(2));
    let again = sent(&mut worker, at(2));
    assert!(again.contains(&AgentToServer::CommandAck(ack.clone())), "{again:?}");
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
        WorkerEvent::Ended { command: first.clone(), exit: Exit::Code(0), rest: Fate::Ended },
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

/// A server of an earlier version: it does not adopt commands.
fn older_session() -> WorkerSession {
    let adopts = crate::model::Feature::CommandAdoption;
    let features: Vec<_> =
        SERVER_FEATURES.iter().filter(|feature| **feature != adopts).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &features, Dialect::Extended);
    WorkerSession { capabilities, ..session() }
}

fn about(name: &str, code: crate::wire::payload::ErrorCode) -> WorkerEvent {
    let error = crate::wire::payload::ErrorReply::new(code, "why").for_command(Some(id(name)));
    message(ServerToAgent::Error(error))
}

fn cancel(name: &str, force: bool) -> WorkerEvent {
    let cancel = CommandCancel { command_id: id(name), agent_id: None, reason: None, force };
    message(ServerToAgent::CommandCancel(cancel))
}

fn is_ended(actions: &[WorkerAction]) -> bool {
    let ends = |a: &WorkerAction| matches!(a, WorkerAction::Kill(_) | WorkerAction::Cancel { .. });
    actions.iter().any(ends)
}

/// A command that runs and wrote something, and a session after that.
fn running_in(session: WorkerSession) -> Worker {
    let mut worker = worker(config());
    worker.handle(request("c"), at(0));
    let _ = actions(&mut worker);
    started(&mut worker, "c", at(0));
    write(&mut worker);
    worker.handle(WorkerEvent::Joined(session), at(1));
    let resume = crate::wire::payload::OutputResume { streams: vec![], more: false };
    worker.handle(message(ServerToAgent::OutputResume(resume)), at(1));
    let _ = actions(&mut worker);
    worker
}

fn sends_output(worker: &mut Worker, now: Now) -> bool {
    let mut any = false;
    while let Some(message) = worker.next_message(now) {
        any |= matches!(message, WorkerMessage::Binary(_));
        worker.handle(WorkerEvent::Sent, now);
    }
    any
}

#[test]
fn of_an_older_server_a_cancel_of_what_was_brought_counts_when_it_is_repeated() {
    let mut worker = running_in(older_session());
    worker.handle(cancel("c", true), at(1));
    assert!(!is_ended(&actions(&mut worker)), "perhaps its database was lost");
    worker.handle(cancel("c", true), at(6));
    assert!(is_ended(&actions(&mut worker)), "a user means it");
}

#[test]
fn of_an_older_server_a_cancel_with_grace_and_one_of_a_new_command_count_at_once() {
    let mut worker = running_in(older_session());
    worker.handle(cancel("c", false), at(1));
    assert!(is_ended(&actions(&mut worker)));
    worker.handle(request("d"), at(2));
    let _ = actions(&mut worker);
    started(&mut worker, "d", at(2));
    worker.handle(cancel("d", true), at(3));
    assert!(is_ended(&actions(&mut worker)));
}

#[test]
fn of_a_server_that_adopts_a_cancel_counts_at_once() {
    let mut worker = running_in(session());
    worker.handle(cancel("c", true), at(1));
    assert!(is_ended(&actions(&mut worker)));
}

#[test]
fn what_a_server_does_not_take_is_kept_and_offered_again_in_the_next_session() {
    use crate::wire::payload::ErrorCode;
    for (terms, code) in [
        (older_session(), ErrorCode::CommandNotFound),
        (session(), ErrorCode::QueueFull),
        (session(), ErrorCode::StorageUnavailable),
    ] {
        let mut worker = running_in(terms.clone());
        assert!(sends_output(&mut worker, at(1)), "{code}");
        worker.handle(about("c", code.clone()), at(2));
        assert!(!is_ended(&actions(&mut worker)), "{code}");
        write(&mut worker);
        assert!(!sends_output(&mut worker, at(2)), "nothing goes out in this session: {code}");
        // Others are not held up by it: the window is free.
        worker.handle(request("d"), at(3));
        let _ = actions(&mut worker);
        started(&mut worker, "d", at(3));
        let bytes = Bytes::from_static(b"d");
        let output = WorkerEvent::Output { command: id("d"), stream: Stream::Stdout, bytes };
        worker.handle(output, at(3));
        assert!(sends_output(&mut worker, at(3)), "{code}");
        worker.handle(WorkerEvent::SessionEnded, at(4));
        worker.handle(WorkerEvent::Joined(session()), at(5));
        let resume = crate::wire::payload::OutputResume { streams: vec![], more: false };
        worker.handle(message(ServerToAgent::OutputResume(resume)), at(5));
        let held = worker.delivery.outbox().written(&id("c"), Stream::Stdout);
        assert_eq!(held, Some(ByteOffset(2 * CHUNK as u64)), "{code}");
        assert!(sends_output(&mut worker, at(5)), "{code}");
    }
}

#[test]
fn an_older_server_that_says_so_for_a_day_is_believed_and_one_that_adopts_at_once() {
    use crate::wire::payload::ErrorCode::CommandNotFound;
    let mut worker = running_in(older_session());
    worker.handle(about("c", CommandNotFound), at(2));
    worker.handle(about("c", CommandNotFound), at(24 * 3600 + 1));
    assert!(!worker.delivery.outbox().is_settled(&id("c")));
    worker.handle(about("c", CommandNotFound), at(24 * 3600 + 2));
    assert!(worker.delivery.outbox().is_settled(&id("c")));
    let mut worker = running_in(session());
    worker.handle(about("c", CommandNotFound), at(2));
    assert!(worker.delivery.outbox().is_settled(&id("c")));
}

fn replaced() -> WorkerEvent {
    use crate::close::{CloseCode, CloseReason};
    let reason = CloseReason::peer(Some(CloseCode::REPLACED));
    WorkerEvent::Refused(AgentCause::LinkEnded(reason))
}

fn end_of(actions: &[WorkerAction]) -> Option<&WorkerEnd> {
    actions.iter().find_map(|action| match action {
        WorkerAction::End(end) => Some(end),
        _ => None,
    })
}

#[test]
fn an_agent_that_was_replaced_ends_with_its_last_command_and_ends_none() {
    let mut worker = running_in(session());
    worker.handle(replaced(), at(2));
    // One that waits is not started.
    worker.handle(request("d"), at(3));
    let done = actions(&mut worker);
    assert!(!is_ended(&done) && end_of(&done).is_none() && !done.iter().any(is_start), "{done:?}");
    for hours in [1, 100, 10_000] {
        worker.handle(WorkerEvent::Wake, at(hours * 3600));
        let done = actions(&mut worker);
        assert!(!is_ended(&done) && end_of(&done).is_none(), "{done:?}");
    }
    ended(&mut worker, "c", Exit::Code(0), at(40_000_000));
    let done = actions(&mut worker);
    assert!(matches!(end_of(&done), Some(WorkerEnd::Refused(_))), "{done:?}");
}

#[test]
fn an_idle_agent_that_was_replaced_ends_at_once_and_one_that_is_stopped_then_ends_what_runs() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(1));
    worker.handle(replaced(), at(2));
    assert!(end_of(&actions(&mut worker)).is_some());
    let mut worker = running_in(session());
    worker.handle(replaced(), at(2));
    let _ = actions(&mut worker);
    worker.handle(WorkerEvent::ShutDown, at(10));
    let done = actions(&mut worker);
    assert!(is_ended(&done), "{done:?}");
    assert_eq!(worker.deadline(), Deadline::At(at(18).monotonic));
    worker.handle(WorkerEvent::Wake, at(18));
    assert!(matches!(end_of(&actions(&mut worker)), Some(WorkerEnd::Refused(_))));
}
