//! The task behind a [`LinkHandle`](super::LinkHandle): a reading and a writing future side by
//! side, and the verdict on how the link ended.
//!
//! There is one task for each link, and most links are idle. So what an idle one does not need is not in its future:
//! timers and waits for room are made when something waits, and all changes come by one waker.

#![allow(
    clippy::manual_async_fn,
    reason = "what an `async fn` is given stands in its future twice"
)]

use super::queues::{Ending, Next, Queues};
use super::{LinkEvent, LinkInput};
use crate::link::{LinkEnd, LinkReader, LinkWriter, Received};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason, Initiator};
use onsembl_protocol::id::LinkId;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

/// How long an abort may try to get its close frame out. A healthy socket takes it at once.
const ABORT_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a pump waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For one frame, or one flush.
    pub(super) write: Duration,
    /// For a close, in all.
    pub(super) close: Duration,
}

/// Drives a link to its end, then says so.
pub(super) fn run(
    (mut reader, mut writer): (Box<dyn LinkReader>, Box<dyn LinkWriter>),
    id: LinkId,
    patience: Patience,
    queues: Arc<Queues>,
    events: mpsc::Sender<LinkEvent>,
) -> impl Future<Output = ()> + Send {
    let mut judge = Judge::new(patience.close);
    let mut undelivered = None;
    async move {
        let verdict = {
            let _open = Open(&queues);
            let mut reading = pin!(read(&mut *reader, id, &events, &queues, &mut undelivered));
            let mut writing = pin!(write(&mut *writer, patience.write, &queues));
            let mut unheard = pin!(events.closed());
            poll_fn(|cx| {
                queues.register(cx.waker());
                let (reading, writing) = (reading.as_mut(), writing.as_mut());
                judge.poll(cx, &queues, reading, writing, unheard.as_mut())
            })
            .await
        };
        if queues.ending().is_some() {
            undelivered = None;
        }
        let end = match verdict {
            Verdict::Over(end) => end,
            Verdict::Abort(cause) => Box::pin(abort(&mut *writer, cause)).await,
        };
        tracing::debug!(link = %id, peer = %queues.peer(), %end, "link ended");
        // The connection is closed from here on: a consumer that does not take the news holds only this task.
        drop((reader, writer));
        Box::pin(tell(id, end, undelivered, &events)).await;
    }
}

/// Passes on what was not delivered yet, and the end.
async fn tell(
    id: LinkId,
    end: LinkEnd,
    undelivered: Option<Received>,
    events: &mpsc::Sender<LinkEvent>,
) {
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

/// Takes nothing any more once it is dropped, whatever became of the task.
struct Open<'a>(&'a Queues);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let _never_written = self.0.close();
    }
}

/// Tries to say that the link ends, for a moment.
async fn abort(writer: &mut dyn LinkWriter, cause: CloseCause) -> LinkEnd {
    match timeout(ABORT_TIMEOUT, writer.close(cause)).await {
        Ok(Ok(())) => LinkEnd::local(cause, ""),
        Ok(Err(error)) => LinkEnd::local(cause, format!("no close frame sent: {error}")),
        Err(_) => LinkEnd::local(cause, "no close frame sent: the peer does not read"),
    }
}

/// Runs both directions until the link is over.
struct Judge {
    closing: Option<CloseCause>,
    write_failure: Option<Box<LinkEnd>>,
    is_writing_done: bool,
    is_read_first: bool,
    give_up: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl Judge {
    fn new(patience: Duration) -> Self {
        let (closing, write_failure, give_up) = (None, None, None);
        let (is_writing_done, is_read_first) = (false, false);
        Self { closing, write_failure, is_writing_done, is_read_first, give_up, patience }
    }

    fn poll_reading(
        &mut self,
        cx: &mut Context<'_>,
        reading: Pin<&mut impl Future<Output = LinkEnd>>,
    ) -> Option<Verdict> {
        match reading.poll(cx) {
            Poll::Ready(end) => Some(Verdict::Over(self.verdict_on(end))),
            Poll::Pending => None,
        }
    }

    fn poll_writing(
        &mut self,
        cx: &mut Context<'_>,
        writing: Pin<&mut impl Future<Output = Result<(), LinkEnd>>>,
    ) -> Option<Verdict> {
        if self.is_writing_done {
            return None;
        }
        let Poll::Ready(wrote) = writing.poll(cx) else { return None };
        self.is_writing_done = true;
        let failure = wrote.err()?;
        match self.closing {
            None if failure.reason == CloseReason::broken(Breakage::WriteStalled) => {
                return Some(Verdict::Over(failure));
            }
            None => self.give_up_later(),
            Some(_) => {}
        }
        self.write_failure = Some(Box::new(failure));
        None
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        queues: &Queues,
        mut reading: Pin<&mut impl Future<Output = LinkEnd>>,
        mut writing: Pin<&mut impl Future<Output = Result<(), LinkEnd>>>,
        mut unheard: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Verdict> {
        // Each may use up all that the runtime lets a task do at once, so each is first in its turn.
        self.is_read_first = !self.is_read_first;
        loop {
            match queues.ending() {
                Some(Ending::Abort(cause)) => return Poll::Ready(Verdict::Abort(cause)),
                Some(Ending::Close(cause)) if self.closing.is_none() => {
                    self.closing = Some(cause);
                    self.give_up_later();
                }
                Some(Ending::Close(_)) | None => {}
            }
            let verdict = match self.is_read_first {
                true => self
                    .poll_reading(cx, reading.as_mut())
                    .or_else(|| self.poll_writing(cx, writing.as_mut())),
                false => self
                    .poll_writing(cx, writing.as_mut())
                    .or_else(|| self.poll_reading(cx, reading.as_mut())),
            };
            if let Some(verdict) = verdict {
                return Poll::Ready(verdict);
            }
            if self.closing.is_none() && unheard.as_mut().poll(cx).is_ready() {
                queues.end(Ending::Close(CloseCause::GoingAway));
                continue;
            }
            if let Some(give_up) = &mut self.give_up
                && is_over(give_up, cx)
            {
                return Poll::Ready(Verdict::Over(self.verdict_on_silence()));
            }
            return Poll::Pending;
        }
    }

    fn give_up_later(&mut self) {
        self.give_up = Some(Box::pin(sleep_until(Instant::now() + self.patience)));
    }

    /// The reader has seen the end.
    fn verdict_on(&mut self, end: LinkEnd) -> LinkEnd {
        match (self.closing, self.write_failure.take()) {
            (Some(cause), _) => LinkEnd::local(cause, detail_of(&end, cause)),
            // Our write may fail because the peer has closed; its close frame says why.
            (None, Some(failure)) if end.reason.initiator != Initiator::Peer => *failure,
            (None, _) => end,
        }
    }

    /// It was waited for long enough.
    fn verdict_on_silence(&mut self) -> LinkEnd {
        match (self.closing, self.write_failure.take()) {
            (Some(cause), Some(failure)) => LinkEnd::local(cause, failure.to_string()),
            (Some(cause), None) => LinkEnd::local(cause, "the peer did not answer the close"),
            (None, Some(failure)) => *failure,
            (None, None) => LinkEnd::broken(Breakage::Io, ""),
        }
    }
}

/// What the end of a link that we are closing adds to our own cause.
fn detail_of(end: &LinkEnd, cause: CloseCause) -> String {
    if end.reason == CloseReason::local(cause) { end.detail.clone() } else { end.to_string() }
}

/// Receives until the link ends, and passes everything on; once we are closing, nothing more.
fn read(
    reader: &mut dyn LinkReader,
    id: LinkId,
    events: &mpsc::Sender<LinkEvent>,
    queues: &Queues,
    undelivered: &mut Option<Received>,
) -> impl Future<Output = LinkEnd> + Send {
    async move {
        loop {
            poll_fn(|_| queues.poll_may_read()).await;
            let share = match reader.receive().await {
                Ok(received) => {
                    *undelivered = Some(received);
                    reader.take_share()
                }
                Err(end) => return end,
            };
            // What is passed on has no hole: behind what was dropped nothing is.
            let room = match events.try_reserve() {
                _ if queues.ending().is_some() => None,
                Ok(room) => Some(room),
                Err(TrySendError::Full(())) => Box::pin(room(events, queues)).await,
                Err(TrySendError::Closed(())) => {
                    queues.end(Ending::Close(CloseCause::GoingAway));
                    None
                }
            };
            if let (Some(room), Some(received)) = (room, undelivered.take()) {
                let what = LinkInput::Received(received);
                room.send(LinkEvent { link: id, what, share });
            }
            // Other tasks get their turn, however much the peer sends.
            consume_budget().await;
        }
    }
}

/// Waits until there is room for an event; not while we are closing, nor without a receiver of events.
async fn room<'a>(
    events: &'a mpsc::Sender<LinkEvent>,
    queues: &Queues,
) -> Option<mpsc::Permit<'a, LinkEvent>> {
    let mut reserved = pin!(events.reserve());
    poll_fn(|cx| match queues.ending() {
        Some(_) => Poll::Ready(None),
        None => reserved.as_mut().poll(cx).map(Result::ok),
    })
    .await
}

/// Sends until told to close, or until it fails. If the fault is ours, the close code says so.
fn write(
    writer: &mut dyn LinkWriter,
    patience: Duration,
    queues: &Queues,
) -> impl Future<Output = Result<(), LinkEnd>> + Send {
    async move {
        let sent = send(writer, patience, queues).await;
        let _never_written = queues.close();
        if let Err(end) = &sent
            && end.reason.initiator == Initiator::Local
            && let Err(error) = within(patience, writer.close(end.reason.cause)).await
        {
            tracing::debug!(%end, %error, "no close frame sent");
        }
        sent
    }
}

/// What is being written.
enum Written {
    Control(usize),
    Data(usize),
    Flush,
}

/// Sends what is queued, control first, and flushes when nothing more is; told to close, it closes.
fn send(
    writer: &mut dyn LinkWriter,
    patience: Duration,
    queues: &Queues,
) -> impl Future<Output = Result<(), LinkEnd>> + Send {
    async move {
        let mut is_unflushed = false;
        // Control frames that were taken, counted around like those that were queued.
        let mut taken = 0u32;
        #[cfg(onsembl_faults)]
        let mut kept = Vec::new();
        let cause = loop {
            let (written, work) = match poll_fn(|_| queues.poll_next(is_unflushed)).await {
                Next::End(cause) => break cause,
                Next::Control(frame) => {
                    taken = taken.wrapping_add(1);
                    #[cfg(onsembl_faults)]
                    if is_kept(queues, taken) {
                        kept.push(frame);
                        continue;
                    }
                    (Written::Control(frame.len()), writer.send(frame))
                }
                Next::Data(frame) => (Written::Data(frame.len()), writer.send(frame)),
                Next::Flush => (Written::Flush, writer.flush()),
            };
            within(patience, work).await?;
            is_unflushed = true;
            match written {
                Written::Control(bytes) => queues.less_control(bytes),
                Written::Data(bytes) => queues.less_data(bytes),
                Written::Flush => {
                    is_unflushed = false;
                    #[cfg(onsembl_faults)]
                    if !kept.is_empty() {
                        continue;
                    }
                    queues.beat.flushed(taken);
                }
            }
        };
        for frame in queues.close() {
            within(patience, writer.send(frame)).await?;
        }
        within(patience, writer.close(cause)).await
    }
}

/// Whether this control frame is a heartbeat that is kept, for a connection that is taken not to be up.
#[cfg(onsembl_faults)]
fn is_kept(queues: &Queues, number: u32) -> bool {
    crate::planted::PlantedFault::StaysQueued.is_planted() && queues.beat.is(number)
}

/// The work, or that it took too long. Its timer is made when it has to wait.
fn within(
    patience: Duration,
    mut work: Pin<Box<dyn Future<Output = Result<(), LinkEnd>> + Send + '_>>,
) -> impl Future<Output = Result<(), LinkEnd>> + Send {
    let mut late: Option<Pin<Box<Sleep>>> = None;
    poll_fn(move |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        match is_over(late.get_or_insert_with(|| Box::pin(sleep(patience))), cx) {
            true => Poll::Ready(Err(LinkEnd::broken(Breakage::WriteStalled, ""))),
            false => Poll::Pending,
        }
    })
}

/// Whether the time of a timer has come. A task that has used up all that the runtime lets it do at once cannot ask the
/// timer itself, and a peer that never stops sending would make that so each time.
fn is_over(timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> bool {
    timer.as_mut().poll(cx).is_ready() || timer.deadline() <= Instant::now()
}
