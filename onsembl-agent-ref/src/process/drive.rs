//! The task of one process: reads, obeys orders, and finds the end by the rules of the module.

use super::group::Group;
use super::handle::Orders;
use super::leader::Leader;
use super::pipes::Outputs;
use super::stopping::{ASK_AGAIN, Members as _, Stopping};
use super::{ProcessEvent, SILENCE_AFTER_EXIT};
use bytes::Bytes;
use onsembl_protocol::model::{Exit, Stream};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Reported when the system kept the status from us. No real exit code is negative.
const STATUS_LOST: Exit = Exit::Code(-1);

/// How long the members of a group that ended by itself may take to vanish.
const CONFIRMATION: Duration = Duration::from_millis(100);

/// A process and everything that its task needs.
#[derive(Debug)]
pub(super) struct Process<K> {
    pub(super) key: K,
    pub(super) child: Child,
    pub(super) group: Group,
    pub(super) leader: Leader,
    pub(super) outputs: Outputs,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) events: mpsc::Sender<ProcessEvent<K>>,
}

/// Runs until the process has ended and its end was reported.
pub(super) async fn drive<K: Clone>(process: Process<K>) {
    let Process { key, mut child, mut group, leader, mut outputs, mut orders, events } = process;
    let mut leader_exit = pin!(leader.exited());
    let mut exited = false;
    let mut exit = None;
    let mut stopping = Stopping::unwanted(Instant::now());
    let mut finishing = false;
    let mut owned = true;
    let mut paused = false;
    let mut taken = true;
    let mut pending: Option<(Stream, Bytes)> = None;
    let mut silent_since = Instant::now();

    loop {
        if exited && stopping.is_wanted() && exit.is_none() {
            exit = Some(reap(&mut child, &mut group).await);
        }
        let now = Instant::now();
        stopping.advance(&mut group, now);
        if stopping.is_settled() && !finishing {
            outputs.finish();
            finishing = true;
        }
        let delivered = pending.is_none() && outputs.are_closed();
        if exited && delivered && (stopping.is_settled() || !stopping.is_wanted()) {
            break;
        }
        let listens_for_silence = exited && !stopping.is_wanted() && pending.is_none() && !paused;
        let silent_at = silent_since + SILENCE_AFTER_EXIT;
        if listens_for_silence && silent_at <= now {
            if outputs.waiting_bytes() == 0 {
                break;
            }
            silent_since = now;
            continue;
        }
        let wake_at = [stopping.wake_at(&group), listens_for_silence.then_some(silent_at)]
            .into_iter()
            .flatten()
            .min();

        tokio::select! {
            chunk = outputs.next(), if pending.is_none() && !paused && !outputs.are_closed() => {
                silent_since = Instant::now();
                pending = chunk.filter(|_| taken);
            }
            permit = events.reserve(), if pending.is_some() => {
                silent_since = Instant::now();
                match (permit, pending.take()) {
                    (Ok(permit), Some((stream, bytes))) => {
                        permit.send(ProcessEvent::Output { key: key.clone(), stream, bytes });
                    }
                    (Ok(_), None) => {}
                    (Err(_), _) => {
                        tracing::warn!(pid = %group.leader(), "the receiver of a process's output was dropped; discarding the output");
                        taken = false;
                    }
                }
            }
            () = &mut leader_exit, if !exited => {
                silent_since = Instant::now();
                exited = true;
            }
            changed = orders.changed(), if owned => {
                owned = changed.is_ok();
                let standing = *orders.borrow_and_update();
                if paused {
                    silent_since = Instant::now();
                }
                if let Some(stop) = standing.stop {
                    stopping.order(stop, &mut group, Instant::now());
                }
                // An observer of the screen does not keep it from ending.
                let watched_slowly = standing.watched_slowly && !stopping.is_wanted();
                paused = owned && (standing.paused || watched_slowly);
            }
            () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
        }
    }

    let exit = match exit {
        Some(exit) => exit,
        None => reap(&mut child, &mut group).await,
    };
    let group_empty = confirm_empty(&mut group).await;
    if !outputs.are_closed() {
        tracing::info!(pid = %group.leader(), "a background process outlives its command; its output is thrown away from now on");
        tokio::spawn(discard(outputs));
    }
    tracing::debug!(pid = %group.leader(), %exit, group_empty, "process ended");
    if events.send(ProcessEvent::Ended { key, exit, group_empty }).await.is_err() {
        tracing::warn!(pid = %group.leader(), %exit, "the receiver of a process's end was dropped");
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

/// A group that was stopped is empty by now; one that ended by itself gets a moment.
async fn confirm_empty(group: &mut Group) -> bool {
    let until = Instant::now() + CONFIRMATION;
    while !group.is_empty() {
        if until <= Instant::now() {
            return false;
        }
        sleep(ASK_AGAIN).await;
    }
    true
}

/// Keeps a background process from blocking on a full pipe, or dying of a closed one.
async fn discard(mut outputs: Outputs) {
    while outputs.next().await.is_some() {}
}
