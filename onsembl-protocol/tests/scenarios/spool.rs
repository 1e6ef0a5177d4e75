//! A spool whose disk does not take everything.

use bytes::Bytes;
use onsembl_protocol::id::{CommandId, Incarnation};
use onsembl_protocol::output::{Outbox, Run, SpoolAction, SpoolBounds, SpoolPolicy, Stream};
use onsembl_protocol::time::Timestamp;
use std::time::Duration;

fn drain(outbox: &mut Outbox) -> Vec<SpoolAction> {
    std::iter::from_fn(|| outbox.poll_action()).collect()
}

#[test]
fn a_run_is_marked_as_ended_on_disk_only_behind_all_of_its_records() {
    let id = CommandId::new("c-00");
    let run = Run { command: id.clone(), incarnation: Incarnation(7) };
    let mut outbox = Outbox::new(SpoolBounds::DEFAULT);
    outbox.open(run.clone(), SpoolPolicy::Block);
    outbox.push(&id, Stream::Stdout, Bytes::from_static(b"one"));
    outbox.push(&id, Stream::Stdout, Bytes::from_static(b"two"));
    outbox.end(&id);
    let first = outbox.poll_action();
    assert!(matches!(first, Some(SpoolAction::Append { .. })), "{first:?}");
    outbox.on_append_failed(Timestamp::from_origin(Duration::from_secs(1)));
    assert_eq!(drain(&mut outbox), [], "nothing follows a record that the disk did not take");
    outbox.on_time(Timestamp::from_origin(Duration::from_secs(10)));
    let again = drain(&mut outbox);
    let (last, before) = again.split_last().expect("the disk is tried again");
    assert_eq!(*last, SpoolAction::End { run });
    assert!(
        !before.is_empty() && before.iter().all(|a| matches!(a, SpoolAction::Append { .. })),
        "{before:?}"
    );
}
