//! What commands leave running when they end: kept or ended, ended by a stop, and not forgotten by a successor.

use super::*;
use crate::command::{CommandJournal, Remains};
use crate::id::RunMark;
use crate::model::GapCause;
use crate::wire::payload::{EmergencyStop, StopRelease, StopStage};

fn stop(name: &str) -> WorkerEvent {
    let stop_id = Some(StopId::new(name));
    message(ServerToAgent::EmergencyStop(EmergencyStop { stop_id, ..EmergencyStop::default() }))
}

fn leaves(worker: &mut Worker, name: &str, open: Vec<Stream>, now: Now) {
    let (command, exit, rest) = (id(name), Exit::Code(0), Rest::Watched);
    worker.handle(WorkerEvent::Ended { command, exit, rest, open }, now);
}

/// A command that ran, ended, and left something.
fn left(config: WorkerConfig) -> Worker {
    let is_kept = config.journal == Journalling::Kept;
    let mut worker = worker(config);
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    if is_kept {
        journalled(&mut worker, Awaited::Start(id("c")), Ok(()));
    }
    started(&mut worker, "c", at(0));
    let _ = (actions(&mut worker), sent(&mut worker, at(0)));
    leaves(&mut worker, "c", vec![], at(1));
    worker
}

fn kept() -> WorkerConfig {
    WorkerConfig { journal: Journalling::Kept, ..config() }
}

fn receipts(sent: &[AgentToServer]) -> Vec<StopStage> {
    let stage = |m: &AgentToServer| match m {
        AgentToServer::StopReceipt(receipt) => Some(receipt.stage.clone()),
        _ => None,
    };
    sent.iter().filter_map(stage).collect()
}

fn ended_entries(actions: &[WorkerAction]) -> Vec<Option<RunMark>> {
    let entry = |a: &WorkerAction| match a {
        WorkerAction::Journal(JournalEntry::Ended { remains, .. }) => {
            Some(remains.as_ref().map(|remains| remains.mark.clone()))
        }
        _ => None,
    };
    actions.iter().filter_map(entry).collect()
}

#[test]
fn what_is_kept_stays_and_its_command_is_over() {
    let mut worker = left(kept());
    let asked = actions(&mut worker);
    assert!(!is_ended(&asked), "{asked:?}");
    assert!(matches!(ended_entries(&asked).as_slice(), [Some(_)]), "{asked:?}");
    assert_eq!(worker.background().collect::<Vec<_>>(), [&id("c")]);
    journalled(&mut worker, Awaited::End(id("c")), Ok(()));
    let said = sent(&mut worker, at(1));
    let report = said.iter().find_map(|m| match m {
        AgentToServer::CommandComplete(report) => Some(report.clone()),
        _ => None,
    });
    let why = report.unwrap().error.unwrap();
    assert!(why.contains("keeps running in the background"), "{why}");
    worker.handle(WorkerEvent::Cleared(id("c")), at(100));
    assert_eq!(worker.background().count(), 0);
    assert_eq!(
        worker.deadline(),
        worker.course.handover.reports.deadline(),
        "nothing is waited for"
    );
}

#[test]
fn under_the_other_policy_and_over_the_bound_it_is_asked_to_end() {
    let kill = WorkerConfig { background: BackgroundPolicy::Kill, ..kept() };
    assert!(is_ended(&actions(&mut left(kill))));

    let mut worker = left(config());
    for n in 0..=crate::worker::background::MOST_KEPT {
        let name = alloc::format!("c-{n}");
        worker.handle(request(&name), at(2));
        started(&mut worker, &name, at(2));
        let _ = actions(&mut worker);
        leaves(&mut worker, &name, vec![], at(2));
        let is_over = n + 1 >= crate::worker::background::MOST_KEPT;
        assert_eq!(is_ended(&actions(&mut worker)), is_over, "{n}");
    }
}

#[test]
fn a_stop_kills_what_ended_commands_left_and_is_verified_when_nothing_of_it_lives() {
    let mut worker = left(kept());
    let _ = actions(&mut worker);
    worker.handle(stop("s"), at(2));
    let asked = actions(&mut worker);
    let kills = |a: &WorkerAction| matches!(a, WorkerAction::Kill(command) if *command == id("c"));
    assert!(asked.iter().any(kills), "{asked:?}");
    let sweeps = |a: &WorkerAction| matches!(a, WorkerAction::Sweep(RunSignal::Kill));
    assert!(asked.iter().any(sweeps), "it may be of this run or of another: {asked:?}");
    journalled(&mut worker, Awaited::Stop(StopId::new("s")), Ok(()));
    assert_eq!(receipts(&sent(&mut worker, at(2))), [StopStage::Acted]);
    assert_eq!(worker.deadline(), Deadline::At(at(3).monotonic), "it is looked for again");
    worker.handle(WorkerEvent::Wake, at(3));
    assert!(actions(&mut worker).iter().any(sweeps));
    worker.handle(WorkerEvent::Cleared(id("c")), at(4));
    assert_eq!(receipts(&sent(&mut worker, at(4))), [StopStage::Verified]);
    let release = StopRelease { stop_id: StopId::new("s") };
    worker.handle(message(ServerToAgent::StopRelease(release)), at(5));
    worker.handle(WorkerEvent::Wake, at(6));
    assert!(!actions(&mut worker).iter().any(sweeps));
}

#[test]
fn a_stop_while_commands_run_sweeps_only_when_none_does() {
    let mut worker = left(kept());
    worker.handle(request("d"), at(1));
    journalled(&mut worker, Awaited::Start(id("d")), Ok(()));
    started(&mut worker, "d", at(1));
    let _ = actions(&mut worker);
    worker.handle(stop("s"), at(2));
    let sweeps = |a: &WorkerAction| matches!(a, WorkerAction::Sweep(RunSignal::Kill));
    assert!(!actions(&mut worker).iter().any(sweeps));
    assert!(!worker.deadline().is_due(at(2).monotonic), "or it would spin");
    journalled(&mut worker, Awaited::Stop(StopId::new("s")), Ok(()));
    // A process was born while the others were killed.
    leaves(&mut worker, "d", vec![], at(3));
    let asked = actions(&mut worker);
    let kills = |a: &WorkerAction| matches!(a, WorkerAction::Kill(command) if *command == id("d"));
    assert!(asked.iter().any(sweeps) && asked.iter().any(kills), "{asked:?}");
    worker.handle(WorkerEvent::Cleared(id("c")), at(3));
    assert!(!receipts(&sent(&mut worker, at(3))).contains(&StopStage::Verified));
    worker.handle(WorkerEvent::Cleared(id("d")), at(3));
    assert_eq!(receipts(&sent(&mut worker, at(3))), [StopStage::Verified]);
}

#[test]
fn over_what_nobody_looks_after_no_stop_is_verified_and_nothing_waits_for_it() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    started(&mut worker, "c", at(0));
    let (command, exit, rest) = (id("c"), Exit::Code(0), Rest::Unwatched);
    worker.handle(WorkerEvent::Ended { command, exit, rest, open: vec![] }, at(1));
    worker.handle(stop("s"), at(2));
    journalled(&mut worker, Awaited::Stop(StopId::new("s")), Ok(()));
    assert_eq!(receipts(&sent(&mut worker, at(3))), [StopStage::Acted]);
    worker.handle(WorkerEvent::SessionEnded, at(4));
    worker.handle(WorkerEvent::ShutDown, at(4));
    let ends = |a: &WorkerAction| matches!(a, WorkerAction::End(_));
    assert!(actions(&mut worker).iter().any(ends));
}

#[test]
fn an_agent_that_ends_ends_what_its_commands_left_and_awaits_that_with_a_deadline() {
    let mut worker = left(config());
    let _ = actions(&mut worker);
    worker.handle(WorkerEvent::ShutDown, at(2));
    assert!(is_ended(&actions(&mut worker)));
    worker.handle(WorkerEvent::Wake, at(7));
    assert!(
        actions(&mut worker).iter().any(|a| matches!(a, WorkerAction::Sweep(RunSignal::Kill))),
        "5 s of grace"
    );
    let ends = |a: &WorkerAction| matches!(a, WorkerAction::End(_));
    let mut stuck = left(config());
    stuck.handle(WorkerEvent::ShutDown, at(2));
    stuck.handle(WorkerEvent::Wake, at(10));
    assert!(actions(&mut stuck).iter().any(ends), "the kernel may hold it for ever");
    worker.handle(WorkerEvent::Cleared(id("c")), at(8));
    worker.handle(WorkerEvent::SessionEnded, at(8));
    assert!(actions(&mut worker).iter().any(ends));
}

/// Two commands run when the agent is asked to end, and each has left a process of which it is not clear whose it is.
#[test]
fn an_agent_that_ends_kills_what_is_of_no_single_run_within_the_grace_of_all_however_slow_a_command_is()
 {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    for name in ["quick", "slow"] {
        worker.handle(request(name), at(0));
        started(&mut worker, name, at(0));
    }
    let _ = actions(&mut worker);
    let sweeps = |asked: &[WorkerAction], with: RunSignal| {
        asked.iter().any(|a| matches!(a, WorkerAction::Sweep(signal) if *signal == with))
    };
    worker.handle(WorkerEvent::ShutDown, at(2));
    let asked = actions(&mut worker);
    assert!(is_ended(&asked) && sweeps(&asked, RunSignal::End), "{asked:?}");
    leaves(&mut worker, "quick", vec![], at(2));
    assert!(!sweeps(&actions(&mut worker), RunSignal::Kill), "they have a grace");
    // The slow one runs on.
    assert_eq!(worker.deadline(), Deadline::At(at(7).monotonic));
    worker.handle(WorkerEvent::Wake, at(7));
    let asked = actions(&mut worker);
    let kills = |a: &WorkerAction| matches!(a, WorkerAction::Kill(id) if id.as_str() == "quick");
    assert!(sweeps(&asked, RunSignal::Kill) && asked.iter().any(kills), "{asked:?}");
    // What it leaves, born while the others were killed, gets no grace of its own.
    leaves(&mut worker, "slow", vec![], at(7));
    let asked = actions(&mut worker);
    let kills = |a: &WorkerAction| matches!(a, WorkerAction::Kill(id) if id.as_str() == "slow");
    assert!(asked.iter().any(kills), "{asked:?}");
    worker.handle(WorkerEvent::Wake, at(8));
    assert!(sweeps(&actions(&mut worker), RunSignal::Kill), "until nothing is left");
    worker.handle(WorkerEvent::Cleared(id("quick")), at(8));
    worker.handle(WorkerEvent::Cleared(id("slow")), at(8));
    worker.handle(WorkerEvent::SessionEnded, at(8));
    let asked = actions(&mut worker);
    assert!(asked.iter().any(|a| matches!(a, WorkerAction::End(_))), "{asked:?}");
}

#[test]
fn an_agent_that_ends_at_once_gives_no_grace_to_anything_and_an_idle_one_ends_nothing() {
    use crate::wire::payload::{AgentControl, ControlAction};
    let at_once = message(ServerToAgent::Control(AgentControl {
        agent_id: None,
        action: ControlAction::Stop,
        reason: None,
        graceful_shutdown: Some(false),
        timeout: None,
        size: None,
    }));
    let killing = |a: &WorkerAction| matches!(a, WorkerAction::Sweep(RunSignal::Kill));
    let mut worker = left(config());
    let _ = actions(&mut worker);
    worker.handle(WorkerEvent::ShutDown, at(2));
    assert!(!actions(&mut worker).iter().any(killing));
    worker.handle(at_once, at(3));
    assert!(actions(&mut worker).iter().any(killing), "the order takes the grace back");
    let mut idle = super::worker(config());
    idle.handle(WorkerEvent::ShutDown, at(2));
    let asked = actions(&mut idle);
    assert!(!asked.iter().any(|a| matches!(a, WorkerAction::Sweep(_))), "{asked:?}");
}

#[test]
fn of_a_process_that_may_be_of_another_command_the_report_says_which_it_is() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    started(&mut worker, "c", at(0));
    let _ = (actions(&mut worker), sent(&mut worker, at(0)));
    worker.handle(cancel("c", false), at(1));
    let rest = Rest::Unclear(SomeProcesses::new([7402]).unwrap());
    let (command, exit) = (id("c"), Exit::Signal(15));
    worker.handle(WorkerEvent::Ended { command, exit, rest, open: vec![] }, at(1));
    let said = alloc::format!("{:?}", sent(&mut worker, at(1)));
    assert!(said.contains("process 7402 may be left of it"), "{said}");
    assert_eq!(worker.background().collect::<Vec<_>>(), [&id("c")], "it is looked after");
}

#[test]
fn a_successor_is_told_of_it_until_nothing_is_left() {
    let mut journal = CommandJournal::default();
    let keep = |journal: &mut CommandJournal, actions: Vec<WorkerAction>| {
        for action in actions {
            if let WorkerAction::Journal(entry) = action {
                journal.apply(entry);
            }
        }
    };
    let mut worker = worker(kept());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    worker.handle(request("c"), at(0));
    keep(&mut journal, actions(&mut worker));
    journalled(&mut worker, Awaited::Start(id("c")), Ok(()));
    started(&mut worker, "c", at(0));
    leaves(&mut worker, "c", vec![], at(1));
    keep(&mut journal, actions(&mut worker));
    let behind = journal.left_behind();
    assert_eq!(behind.len(), 1, "{behind:?}");
    assert!(journal.has_remains(&id("c")));

    // A successor that found it and ended it, and one that did not.
    for (fate, is_written) in [(Fate::Ended, true), (Fate::Unknown, false)] {
        let cleared = vec![Cleared { command: id("c"), fate, why: "found".into() }];
        let recovered = Recovered { journal: journal.clone(), cleared, ..Recovered::default() };
        let mut successor = Worker::new(kept(), recovered, at(10));
        let asked = actions(&mut successor);
        assert_eq!(ended_entries(&asked), vec![None; usize::from(is_written)], "{asked:?}");
        let report = successor.course.commands.all.report(&id("c")).unwrap();
        assert_eq!(report.exit_code, Some(0), "it ended as it did");
    }

    // It ended by itself: what is written stays until the report is confirmed.
    worker.handle(WorkerEvent::Cleared(id("c")), at(2));
    assert_eq!(ended_entries(&actions(&mut worker)), []);
    worker.course.confirm(&id("c"));
    keep(&mut journal, actions(&mut worker));
    assert_eq!(journal.left_behind(), []);
    let standing = journal.standings().next().map(|(_, standing)| standing.clone());
    assert!(matches!(standing, Some(Standing::Ended { confirmed: true, remains: None, .. })));
    let same: Vec<JournalEntry> = journal.entries().collect();
    let mut copy = CommandJournal::default();
    same.into_iter().for_each(|entry| copy.apply(entry));
    assert_eq!(copy, journal);
}

#[test]
fn what_it_has_open_ends_with_a_gap_of_unknown_length_before_the_report() {
    let mut worker = running_in(session());
    let written = worker.course.handover.delivery.outbox().totals(&id("c")).unwrap();
    let first = sent(&mut worker, at(1));
    assert!(!first.iter().any(|m| matches!(m, AgentToServer::OutputGap(_))));
    leaves(&mut worker, "c", vec![Stream::Stdout], at(2));
    assert_eq!(gaps(&sent(&mut worker, at(2))), []);
    let end = ByteOffset(CHUNK as u64);
    worker.handle(stored(&id("c"), written.incarnation, Stream::Stdout, end), at(3));
    let said = sent(&mut worker, at(3));
    assert_eq!(gaps(&said), [(end, GapCause::Background)]);
    assert!(!said.iter().any(|m| matches!(m, AgentToServer::CommandComplete(_))), "{said:?}");
    let ack = OutputAck {
        command_id: id("c"),
        incarnation: written.incarnation,
        stream_type: Stream::Stdout.into(),
        offset: end,
        open_gap: true,
    };
    worker.handle(message(ServerToAgent::OutputAck(ack)), at(4));
    let said = sent(&mut worker, at(4));
    assert!(said.iter().any(|m| matches!(m, AgentToServer::CommandComplete(_))), "{said:?}");
}

fn gaps(sent: &[AgentToServer]) -> Vec<(ByteOffset, GapCause)> {
    let gap = |m: &AgentToServer| match m {
        AgentToServer::OutputGap(gap) if gap.length.is_none() => Some((gap.offset, gap.because)),
        _ => None,
    };
    sent.iter().filter_map(gap).collect()
}

#[test]
fn what_is_found_by_is_written_as_it_was_before_unless_something_is_left() {
    let plain = serde_json::json!({ "entry": "ended", "report": { "commandId": "c" } });
    let entry: JournalEntry = serde_json::from_value(plain).unwrap();
    assert!(matches!(&entry, JournalEntry::Ended { remains: None, .. }));
    let text = serde_json::to_string(&entry).unwrap();
    assert!(!text.contains("remains"), "{text}");
    let mark = RunMark::new("m");
    let JournalEntry::Ended { report, .. } = entry else { panic!("another entry") };
    let remains = Some(Remains { mark, process: None });
    let left = JournalEntry::Ended { report, remains: remains.clone() };
    let text = serde_json::to_string(&left).unwrap();
    let again: JournalEntry = serde_json::from_str(&text).unwrap();
    let JournalEntry::Ended { remains: read, .. } = again else { panic!("another entry") };
    assert_eq!(read, remains);
}
