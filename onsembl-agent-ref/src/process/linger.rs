//! What is left of a run that has ended: it is looked after until nothing is, and ended when that is ordered. What it
//! writes is thrown away, so that it neither blocks on a full pipe nor dies of a closed one.

use super::ProcessEvent;
use super::group::Group;
use super::handle::{Orders, Stop};
use super::pipes::Outputs;
use super::stopping::{LONGEST_GRACE, Members as _};
use onsembl_protocol::worker::RunRest;
use rustix::process::Signal;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How soon it is looked at again after an order; the pause doubles.
const SOON: Duration = Duration::from_millis(10);
/// The longest pause while it is to end.
const WHILE_ENDING: Duration = Duration::from_millis(500);
/// The pause while nobody wants anything of it. A look reads all processes of the machine.
const AT_LEISURE: Duration = Duration::from_secs(10);

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

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// It was asked to end, and is killed then.
    Ending(Instant),
    Killed,
}

pub(super) async fn linger<K>(lingering: Lingering<K>) {
    let Lingering { key, mut group, mut rest, mut outputs, mut orders, events } = lingering;
    tracing::info!(pid = %group.leader(), ?rest, "a background process outlives its command; its output is thrown away from now on");
    let must_be_told = rest != RunRest::Gone;
    let mut wanted = Wanted::Nothing;
    let mut owned = true;
    // An order may have come with the end.
    orders.mark_changed();
    let mut pause = SOON;
    let mut look_at = Instant::now() + pause;
    while rest != RunRest::Gone {
        let wake_at = match wanted {
            Wanted::Ending(kill_at) => look_at.min(kill_at),
            Wanted::Nothing | Wanted::Killed => look_at,
        };
        tokio::select! {
            _thrown_away = outputs.next(), if !outputs.are_closed() => {}
            changed = orders.changed(), if owned => {
                owned = changed.is_ok();
                let stop = orders.borrow_and_update().stop;
                let before = wanted;
                wanted = obey(stop, wanted, &mut group);
                if wanted != before {
                    pause = SOON;
                    look_at = Instant::now() + pause;
                }
            }
            () = sleep_until(wake_at) => {
                let now = Instant::now();
                let longest = match wanted {
                    Wanted::Ending(kill_at) if kill_at <= now => {
                        wanted = Wanted::Killed;
                        pause = SOON;
                        WHILE_ENDING
                    }
                    Wanted::Ending(_) | Wanted::Killed => WHILE_ENDING,
                    Wanted::Nothing => AT_LEISURE,
                };
                if wanted == Wanted::Killed {
                    // Also what was born while the others were killed.
                    group.signal(Signal::KILL);
                }
                rest = group.rest();
                pause = (pause * 2).min(longest);
                look_at = now + pause;
            }
        }
    }
    // From here on nothing is of this run.
    let pid = group.leader();
    drop(group);
    if must_be_told && events.send(ProcessEvent::Cleared { key }).await.is_err() {
        tracing::debug!(%pid, "nobody waits for what was left of a run");
    }
    drop(events);
    // It was handed to a process of another run or of none.
    while outputs.next().await.is_some() {}
}

fn obey(stop: Option<Stop>, wanted: Wanted, group: &mut Group) -> Wanted {
    match (stop, wanted) {
        (Some(Stop::Terminate(grace)), Wanted::Nothing) => {
            group.ask_to_end();
            Wanted::Ending(Instant::now() + grace.min(LONGEST_GRACE))
        }
        (Some(Stop::Kill), Wanted::Nothing | Wanted::Ending(_)) => {
            group.signal(Signal::KILL);
            Wanted::Killed
        }
        (Some(Stop::Terminate(_)), wanted @ (Wanted::Ending(_) | Wanted::Killed))
        | (Some(Stop::Kill), wanted @ Wanted::Killed)
        | (None, wanted) => wanted,
    }
}
