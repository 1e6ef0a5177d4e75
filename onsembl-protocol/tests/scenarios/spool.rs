//! A spool whose disk does not take everything.

use bytes::Bytes;
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::CommandRequest;
use onsembl_protocol::worker::{
    Fence, Journalling, Recovered, Rest, SpoolBounds, SpoolEvent, SpoolRequest, Worker,
    WorkerAction, WorkerConfig, WorkerEvent,
};
use std::time::Duration;

fn now(seconds: u64) -> Now {
    Now::without_suspend(Duration::from_secs(seconds))
}

/// The next that the disk is told to do.
fn write(worker: &mut Worker) -> Option<SpoolRequest> {
    let of_disk = |action| match action {
        WorkerAction::Spool(request) => Some(request),
        _ => None,
    };
    std::iter::from_fn(|| worker.poll_action()).find_map(of_disk)
}

#[test]
fn a_run_is_marked_as_ended_on_disk_only_behind_all_of_its_records() {
    let config = WorkerConfig {
        slots: 1,
        spool: SpoolBounds::DEFAULT,
        policy: None,
        journal: Journalling::Off,
        terminal: None,
        fence: Fence::open(),
        background: Default::default(),
        activity: Default::default(),
        unique: "u".into(),
    };
    let mut worker = Worker::new(config, Recovered::default(), now(0));
    let id = CommandId::new("c-00");
    let request = CommandRequest::new(id.clone(), AgentId::new("a"), "yes");
    let request = Box::new(ServerToAgent::CommandRequest(request));
    worker.handle(WorkerEvent::Message(request), now(0));
    worker.handle(WorkerEvent::Started { command: id.clone(), process: None }, now(0));
    for bytes in [&b"one"[..], b"two"] {
        let (command, stream, bytes) = (id.clone(), Stream::Stdout, Bytes::from_static(bytes));
        worker.handle(WorkerEvent::Output { command, stream, bytes }, now(0));
    }
    let end =
        WorkerEvent::Ended { command: id, exit: Exit::Code(0), rest: Rest::Ended, open: vec![] };
    worker.handle(end, now(0));
    assert!(matches!(write(&mut worker), Some(SpoolRequest::Open(..))));
    assert!(matches!(write(&mut worker), Some(SpoolRequest::Append(..))));
    worker.handle(WorkerEvent::Spool(SpoolEvent::Failed("it is full".into())), now(1));
    let next = write(&mut worker);
    assert_eq!(next, None, "nothing follows a record that the disk did not take");
    worker.handle(WorkerEvent::Wake, now(60));
    let again: Vec<_> = std::iter::from_fn(|| write(&mut worker)).collect();
    let Some((SpoolRequest::End(_), before)) = again.split_last() else { panic!("{again:?}") };
    let kept = |request: &SpoolRequest| match request {
        SpoolRequest::Append(_, record) => record.length(),
        _ => 0,
    };
    assert_eq!(before.iter().map(kept).sum::<u64>(), 6, "all that it wrote: {again:?}");
}
