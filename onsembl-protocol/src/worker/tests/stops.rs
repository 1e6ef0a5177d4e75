//! Emergency stops: what is killed, and when that may be called verified.

use super::*;
use crate::command::CommandJournal;
use crate::id::RunMark;
use crate::wire::payload::{EmergencyStop, StopRelease, StopStage};

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
    let recovered = Recovered { journal, cleared, ..Recovered::default() };
    let config = WorkerConfig { journal: Journalling::Kept, ..config() };
    let mut worker = Worker::new(config, recovered, at(0));
    let session = WorkerSession { stopped: Some(StopId::new("s")), ..session() };
    worker.handle(WorkerEvent::Joined(session), at(0));
    assert_eq!(receipts(&sent(&mut worker, at(0))), [StopStage::Acted]);
}
