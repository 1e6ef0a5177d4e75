//! The task behind a [`LinkHandle`](super::LinkHandle): a reading and a writing future side by
//! side, and the verdict on how the link ended.

use super::handle::{Ending, EndingCell, Queues, set_ending};
use super::{LinkEvent, LinkInput, PumpConfig};
use crate::link::{Link, LinkEnd, LinkReader, LinkWriter, Received};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason, Initiator};
use onsembl_protocol::id::LinkId;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// How long an abort may try to get its close frame out. A healthy socket takes it at once.
const ABORT_TIMEOUT: Duration = Duration::from_millis(250);

/// Drives `link` to its end, then says so.
pub(super) async fn run(
    link: Link,
    id: LinkId,
    config: PumpConfig,
    queues: Queues,
    events: mpsc::Sender<LinkEvent>,
) {
    let peer = link.peer.clone();
    let mut undelivered = None;
    let end = drive(link, id, &config, queues, &events, &mut undelivered).await;
    tracing::debug!(link = %id, %peer, %end, "link ended");
    // The connection is closed by now: a consumer that does not take the news holds only this task.
    let last = undelivered.map(LinkInput::Received).into_iter().chain([LinkInput::Ended(end)]);
    for what in last {
        if events.send(LinkEvent::new(id, what)).await.is_err() {
            tracing::debug!(link = %id, "the receiver of the end was dropped");
            return;
        }
    }
}

enum Verdict {
    Over(LinkEnd),
    Abort(CloseCause),
}

async fn drive(
    link: Link,
    id: LinkId,
    config: &PumpConfig,
    queues: Queues,
    events: &mpsc::Sender<LinkEvent>,
    undelivered: &mut Option<Received>,
) -> LinkEnd {
    let Link { mut reader, mut writer, peer: _, local: _ } = link;
    let ending = queues.ending.clone();
    let verdict = {
        let paused = queues.paused.clone();
        let reading = read(&mut *reader, id, events, paused, ending.subscribe(), undelivered);
        let writing = write(&mut *writer, config.write_timeout, queues);
        judge(reading, writing, events, &ending, config.close_timeout).await
    };
    if ending.borrow().is_some() {
        *undelivered = None;
    }
    match verdict {
        Verdict::Over(end) => end,
        Verdict::Abort(cause) => match timeout(ABORT_TIMEOUT, writer.close(cause)).await {
            Ok(Ok(())) => LinkEnd::local(cause, ""),
            Ok(Err(error)) => LinkEnd::local(cause, format!("no close frame sent: {error}")),
            Err(_) => LinkEnd::local(cause, "no close frame sent: the peer does not read"),
        },
    }
}

/// Runs both directions until the link is over.
async fn judge(
    reading: impl Future<Output = LinkEnd>,
    writing: impl Future<Output = Result<(), LinkEnd>>,
    events: &mpsc::Sender<LinkEvent>,
    cell: &EndingCell,
    close_timeout: Duration,
) -> Verdict {
    let (mut reading, mut writing) = (pin!(reading), pin!(writing));
    let mut ending = cell.subscribe();
    ending.mark_changed();
    let mut closing: Option<CloseCause> = None;
    let mut write_failure: Option<LinkEnd> = None;
    let mut writing_done = false;
    let mut give_up: Option<Instant> = None;
    loop {
        tokio::select! {
            end = &mut reading => return Verdict::Over(match (closing, write_failure) {
                (Some(cause), _) => LinkEnd::local(cause, detail_of(&end, cause)),
                // Our write may fail because the peer has closed; its close frame says why.
                (None, Some(failure)) if end.reason.initiator != Initiator::Peer => failure,
                (None, _) => end,
            }),
            wrote = &mut writing, if !writing_done => {
                writing_done = true;
                if let Err(failure) = wrote {
                    let stalled = CloseReason::broken(Breakage::WriteStalled);
                    match closing {
                        None if failure.reason == stalled => return Verdict::Over(failure),
                        None => give_up = Some(Instant::now() + close_timeout),
                        Some(_) => {}
                    }
                    write_failure = Some(failure);
                }
            }
            // The cell outlives this loop, so this cannot fail.
            Ok(()) = ending.changed() => match *ending.borrow_and_update() {
                None => {}
                Some(Ending::Close(cause)) => {
                    closing = Some(cause);
                    give_up = Some(Instant::now() + close_timeout);
                }
                Some(Ending::Abort(cause)) => return Verdict::Abort(cause),
            },
            () = events.closed(), if closing.is_none() => {
                set_ending(cell, Ending::Close(CloseCause::GoingAway));
                closing = Some(CloseCause::GoingAway);
                give_up = Some(Instant::now() + close_timeout);
            }
            () = at(give_up) => return Verdict::Over(match (closing, write_failure) {
                (Some(cause), Some(failure)) => LinkEnd::local(cause, failure.to_string()),
                (Some(cause), None) => LinkEnd::local(cause, "the peer did not answer the close"),
                (None, Some(failure)) => failure,
                (None, None) => LinkEnd::broken(Breakage::Io, ""),
            }),
        }
    }
}

/// What the end of a link that we are closing adds to our own cause.
fn detail_of(end: &LinkEnd, cause: CloseCause) -> String {
    if end.reason == CloseReason::local(cause) { end.detail.clone() } else { end.to_string() }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

/// Receives until the link ends, and passes everything on; once we are closing, nothing more.
async fn read(
    reader: &mut dyn LinkReader,
    id: LinkId,
    events: &mpsc::Sender<LinkEvent>,
    mut paused: watch::Receiver<bool>,
    mut ending: watch::Receiver<Option<Ending>>,
    undelivered: &mut Option<Received>,
) -> LinkEnd {
    loop {
        tokio::select! {
            _ = paused.wait_for(|paused| !paused) => {}
            _ = ending.wait_for(Option::is_some) => {}
        }
        let share = match reader.receive().await {
            Ok(received) => {
                *undelivered = Some(received);
                reader.take_share()
            }
            Err(end) => return end,
        };
        tokio::select! {
            // In this order: what is passed on has no hole, so behind what was dropped nothing is.
            biased;
            _ = ending.wait_for(Option::is_some) => *undelivered = None,
            room = events.reserve() => {
                if let (Ok(room), Some(received)) = (room, undelivered.take()) {
                    let what = LinkInput::Received(received);
                    room.send(LinkEvent { link: id, what, share });
                }
            }
        }
    }
}

/// Sends until told to close, or until it fails. If the fault is ours, the close code says so.
async fn write(
    writer: &mut dyn LinkWriter,
    patience: Duration,
    queues: Queues,
) -> Result<(), LinkEnd> {
    let sent = send(writer, patience, queues).await;
    if let Err(end) = &sent
        && end.reason.initiator == Initiator::Local
        && let Err(error) = within(patience, writer.close(end.reason.cause)).await
    {
        tracing::debug!(%end, %error, "no close frame sent");
    }
    sent
}

/// Sends what is queued, control first, and flushes when nothing more is; told to close, it closes.
async fn send(
    writer: &mut dyn LinkWriter,
    patience: Duration,
    queues: Queues,
) -> Result<(), LinkEnd> {
    let Queues { mut control, mut data, backlog, paused: _, ending } = queues;
    let mut ending = ending.subscribe();
    let mut unflushed = false;
    // Control frames that were taken, counted around like those that were queued.
    let mut taken = 0u32;
    #[cfg(onsembl_faults)]
    let mut kept = Vec::new();
    let cause = loop {
        let current = *ending.borrow_and_update();
        if let Some(Ending::Close(cause) | Ending::Abort(cause)) = current {
            break cause;
        }
        if let Ok(frame) = control.try_recv() {
            #[cfg(onsembl_faults)]
            if is_kept(&backlog, taken) {
                taken = taken.wrapping_add(1);
                kept.push(frame);
                continue;
            }
            let bytes = frame.len();
            within(patience, writer.send(frame)).await?;
            backlog.less_control(bytes);
            taken = taken.wrapping_add(1);
            unflushed = true;
            continue;
        }
        if let Ok(frame) = data.try_recv() {
            let bytes = frame.len();
            within(patience, writer.send(frame)).await?;
            backlog.less_data(bytes);
            unflushed = true;
            continue;
        }
        if unflushed {
            within(patience, writer.flush()).await?;
            #[cfg(onsembl_faults)]
            if !kept.is_empty() {
                unflushed = false;
                continue;
            }
            backlog.flushed(taken);
            unflushed = false;
            continue;
        }
        tokio::select! {
            biased;
            _ = ending.changed() => {}
            Some(frame) = control.recv() => {
                #[cfg(onsembl_faults)]
                if is_kept(&backlog, taken) {
                    taken = taken.wrapping_add(1);
                    kept.push(frame);
                    continue;
                }
                let bytes = frame.len();
                within(patience, writer.send(frame)).await?;
                backlog.less_control(bytes);
                taken = taken.wrapping_add(1);
                unflushed = true;
            }
            Some(frame) = data.recv() => {
                let bytes = frame.len();
                within(patience, writer.send(frame)).await?;
                backlog.less_data(bytes);
                unflushed = true;
            }
        }
    };
    data.close();
    control.close();
    while let Ok(frame) = control.try_recv() {
        within(patience, writer.send(frame)).await?;
    }
    within(patience, writer.close(cause)).await
}

/// Whether the next control frame is a heartbeat that is kept, for a connection that is taken not to be up.
#[cfg(onsembl_faults)]
fn is_kept(backlog: &super::backlog::Backlog, taken: u32) -> bool {
    crate::planted::PlantedFault::StaysQueued.is_planted() && backlog.is_beat(taken.wrapping_add(1))
}

async fn within(
    patience: Duration,
    work: impl Future<Output = Result<(), LinkEnd>>,
) -> Result<(), LinkEnd> {
    match timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => Err(LinkEnd::broken(Breakage::WriteStalled, "")),
    }
}
