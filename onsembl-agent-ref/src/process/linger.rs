//! What is left of a run that has ended: it is looked after until nothing is, and ended when that is ordered. What it
//! writes is thrown away, so that it neither blocks on a full pipe nor dies of a closed one.

use super::ProcessEvent;
use super::group::Group;
use super::handle::Orders;
use super::pipes::Outputs;
use onsembl_protocol::time::{Deadline, Timestamp};
use onsembl_protocol::worker::{Leftovers, RunRest};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// What is left.
#[derive(Debug)]
pub(super) struct Lingering<K> {
    pub(super) key: K,
    pub(super) group: Group,
    pub(super) rest: RunRest,
    pub(super) outputs: Outputs,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) events: mpsc::Sender<ProcessEvent<K>>,
}

pub(super) async fn linger<K>(lingering: Lingering<K>) {
    let Lingering { key, group, mut rest, mut outputs, mut orders, events } = lingering;
    tracing::info!(pid = %group.leader(), ?rest, "a background process outlives its command; its output is discarded from now on");
    let must_be_told = rest != RunRest::Ended;
    let begun = Instant::now();
    let since = |now: Instant| Timestamp::from_origin(now.saturating_duration_since(begun));
    let mut left = Leftovers::new(since(begun));
    let mut owned = true;
    // An order may have come with the end.
    orders.mark_changed();
    while rest != RunRest::Ended {
        let wake_at = match left.deadline() {
            Deadline::At(at) => Some(begun + at.since_origin()),
            Deadline::Never => None,
        };
        tokio::select! {
            _thrown_away = outputs.next(), if !outputs.are_closed() => {}
            changed = orders.changed(), if owned => {
                owned = changed.is_ok();
                let stop = orders.borrow_and_update().stop;
                let now = since(Instant::now());
                group.signal(stop.and_then(|stop| left.order(stop, now)));
            }
            () = sleep_until(wake_at.unwrap_or(begun)), if wake_at.is_some() => {
                group.signal(left.look(since(Instant::now())));
                rest = group.rest();
            }
        }
    }
    // From here on nothing is of this run.
    let pid = group.leader();
    drop(group);
    if must_be_told && events.send(ProcessEvent::Cleared { key }).await.is_err() {
        tracing::debug!(%pid, "nothing waits for the remaining processes of a run");
    }
    drop(events);
    // It was handed to a process of another run or of none.
    while outputs.next().await.is_some() {}
}
