//! The task of one process: reads, obeys orders, and finds the end by the rules of the module.

use super::ProcessEvent;
use super::census;
use super::group::Group;
use super::handle::Orders;
use super::leader::Leader;
use super::linger::{Lingering, linger};
use super::pipes::Outputs;
use super::stopping::Stopping;
use bytes::Bytes;
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::time::Timestamp;
use onsembl_protocol::worker::{AfterExit, ProgramState, RunRest};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// Reported when the system kept the status from us. No real exit code is negative.
const STATUS_LOST: Exit = Exit::Code(-1);

/// How long the members of a group that ended by itself may take to vanish, and how soon they are looked at again.
const CONFIRMATION: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How often it is looked whether the program of a terminal is stopped.
const LOOK_WHETHER_STOPPED: Duration = Duration::from_secs(1);

/// A process and everything that its task needs.
#[derive(Debug)]
pub(super) struct Process<K> {
    pub(super) key: K,
    pub(super) child: Child,
    pub(super) group: Group,
    pub(super) leader: Leader,
    pub(super) outputs: Outputs,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) has_terminal: bool,
    pub(super) events: mpsc::Sender<ProcessEvent<K>>,
}

/// Runs until the process has ended and its end was reported, and nothing of it is left.
pub(super) async fn drive<K: Clone>(process: Process<K>) {
    let Process {
        key,
        mut child,
        mut group,
        leader,
        mut outputs,
        mut orders,
        has_terminal,
        events,
    } = process;
    let mut looks = interval(LOOK_WHETHER_STOPPED);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut program = ProgramState::Runs;
    let mut leader_exit = pin!(leader.exited());
    let begun = Instant::now();
    let since = |now: Instant| Timestamp::from_origin(now.saturating_duration_since(begun));
    let mut after_exit: Option<AfterExit> = None;
    let mut exit = None;
    let mut stopping = Stopping::unwanted(begun);
    let mut finishing = false;
    let mut owned = true;
    let mut paused = false;
    let mut taken = true;
    let mut pending: Option<(Stream, Bytes)> = None;
    // What lay in the pipes when the time for the rest was over, and is still delivered.
    let mut last: Option<u64> = None;

    loop {
        if after_exit.is_some() && stopping.is_wanted() && exit.is_none() {
            exit = Some(reap(&mut child, &mut group).await);
        }
        let now = Instant::now();
        stopping.advance(&group, now);
        if stopping.is_settled() && !finishing {
            outputs.finish();
            finishing = true;
        }
        let delivered = pending.is_none() && outputs.are_closed();
        let is_over = stopping.is_settled() || !stopping.is_wanted();
        if after_exit.is_some() && delivered && is_over {
            break;
        }
        let mut over_at = None;
        if let Some(after_exit) = &mut after_exit {
            match paused {
                true => after_exit.pause(since(now)),
                false => after_exit.resume(since(now)),
            }
            let listens = pending.is_none() && !stopping.is_wanted();
            over_at = after_exit.over_at().filter(|_| listens);
        }
        match over_at {
            Some(at) if at <= since(now) => {
                let waiting = *last.get_or_insert_with(|| outputs.waiting_bytes());
                if waiting == 0 {
                    break;
                }
            }
            // It was silence, and what came ended it.
            Some(_) => last = None,
            None => {}
        }
        let over_at = over_at.filter(|_| last.is_none()).map(|at| begun + at.since_origin());
        let wake_at = [stopping.wake_at(&group), over_at].into_iter().flatten().min();

        tokio::select! {
            chunk = outputs.next(), if pending.is_none() && !paused && !outputs.are_closed() => {
                if let (Some(after_exit), Some((_, bytes))) = (&mut after_exit, &chunk) {
                    after_exit.on_output(since(Instant::now()));
                    last = last.map(|last| last.saturating_sub(bytes.len() as u64));
                }
                pending = chunk.filter(|_| taken);
            }
            permit = events.reserve(), if pending.is_some() => {
                match (permit, pending.take()) {
                    (Ok(permit), Some((stream, bytes))) => {
                        if let Some(after_exit) = &mut after_exit {
                            after_exit.on_output(since(Instant::now()));
                        }
                        permit.send(ProcessEvent::Output { key: key.clone(), stream, bytes });
                    }
                    (Ok(_), None) => {}
                    (Err(_), _) => {
                        tracing::warn!(pid = %group.leader(), "the receiver of a process's output was dropped; discarding the output");
                        taken = false;
                    }
                }
            }
            () = &mut leader_exit, if after_exit.is_none() => {
                after_exit = Some(AfterExit::new(since(Instant::now())));
            }
            changed = orders.changed(), if owned => {
                owned = changed.is_ok();
                let standing = *orders.borrow_and_update();
                if let Some(stop) = standing.stop {
                    stopping.order(stop, &group, Instant::now());
                }
                // An observer of the screen does not keep it from ending.
                let watched_slowly = standing.watched_slowly && !stopping.is_wanted();
                paused = owned && (standing.paused || watched_slowly);
            }
            _ = looks.tick(), if has_terminal && after_exit.is_none() => {
                let seen = census::program(group.leader());
                let event = || ProcessEvent::Program { key: key.clone(), state: seen };
                // Without room it is said after the next look.
                if seen != program && events.try_send(event()).is_ok() {
                    program = seen;
                }
            }
            () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
        }
    }

    let exit = match exit {
        Some(exit) => exit,
        None => reap(&mut child, &mut group).await,
    };
    let rest = confirm_rest(&group).await;
    let group_empty = rest == RunRest::Ended;
    // One that nobody has open any more ended with its last writer.
    let open = if group_empty && outputs.are_closed() { Vec::new() } else { outputs.unfinished() };
    tracing::debug!(pid = %group.leader(), %exit, ?rest, "process ended");
    let unclear = match rest {
        RunRest::Unclear => group.unclear(),
        RunRest::Ended | RunRest::Lives => Vec::new(),
    };
    let ended = ProcessEvent::Ended { key: key.clone(), exit, group_empty, unclear, open };
    if events.send(ended).await.is_err() {
        tracing::warn!(pid = %group.leader(), %exit, "the receiver of a process's end was dropped");
    }
    match rest {
        RunRest::Ended if outputs.are_closed() => {}
        RunRest::Ended | RunRest::Unclear | RunRest::Lives => {
            linger(Lingering { key, group, rest, outputs, orders, events }).await;
        }
    }
}

/// Takes the status of an exited child; from here on its number is only kept by other members.
async fn reap(child: &mut Child, group: &mut Group) -> Exit {
    let status = child.wait().await;
    group.leader_was_reaped();
    exit_of(status).unwrap_or_else(|error| {
        tracing::error!(pid = %group.leader(), %error, "the exit status of a process is lost");
        STATUS_LOST
    })
}

fn exit_of(status: io::Result<ExitStatus>) -> io::Result<Exit> {
    let status = status?;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(Exit::Code(code)),
        (None, Some(signal)) => Ok(Exit::Signal(signal)),
        (None, None) => Err(io::Error::other(format!("neither code nor signal: {status}"))),
    }
}

/// A run that was stopped is gone by now; one that ended by itself gets a moment.
async fn confirm_rest(group: &Group) -> RunRest {
    let until = Instant::now() + CONFIRMATION;
    loop {
        let rest = group.rest();
        if rest == RunRest::Ended || until <= Instant::now() {
            return rest;
        }
        sleep(LOOK_AGAIN).await;
    }
}
