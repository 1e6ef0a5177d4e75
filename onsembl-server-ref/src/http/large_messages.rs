//! Messages that are large are read a few at a time: each takes a slot of a pool that all users share, from its
//! first bytes until it was acted on. Many links that each send most of a large message take no more memory
//! than these slots.
//!
//! A message that has begun takes memory as it comes. So the end of the header of a large frame is withheld from
//! whoever reads frames until the message has a slot.

use super::frame_headers::{FrameHeaders, MessageNumber};
use crate::bounds::{Share, Shares};
use async_trait::async_trait;
use bytes::Bytes;
use onsembl_protocol::id::UserId;
use onsembl_transport::link::BudgetShare;
use onsembl_transport::{Link, LinkEnd, LinkReader, Received};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Large messages that are on their way at a time. One user gets as many as are free: alone half of them.
pub(crate) const LARGE_MESSAGES: usize = 64;
/// Bytes that are read of a message before it needs a slot.
pub(crate) const SMALL: usize = 16 * 1024;
/// How long a message that has a slot may take: the largest at 18 KB/s. Longer, and a few that never end would
/// keep out those of the same user.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a link that waits for a slot looks for one.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The slots.
pub(crate) type LargeMessages = Shares<UserId>;

/// What was read of the message that is on its way.
#[derive(Debug, Default)]
struct Progress {
    bytes: usize,
    /// Most messages have none.
    slot: Option<Box<Slot>>,
}

#[derive(Debug)]
struct Slot {
    share: Share<UserId>,
    of: MessageNumber,
    /// When the message's time is up.
    until: Instant,
}

type Shared = Arc<Mutex<Progress>>;

fn locked(progress: &Shared) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream whose large messages are read only when it has a slot.
pub(super) struct MeteredIo<S> {
    stream: S,
    user: UserId,
    slots: LargeMessages,
    progress: Shared,
    /// There while something is awaited that has a time.
    timer: Option<Pin<Box<Sleep>>>,
    headers: FrameHeaders,
    /// What was read without a slot, from the length of a large frame on: fewer than [`SMALL`] bytes.
    withheld: Bytes,
}

/// The messages of such a stream.
struct MeteredReader {
    reader: Box<dyn LinkReader>,
    progress: Shared,
}

/// Says when a message of the stream ends.
pub(super) struct Meter(Shared);

impl<S> MeteredIo<S> {
    pub(super) fn new(stream: S, user: UserId, slots: LargeMessages) -> (Self, Meter) {
        let progress = Shared::default();
        let meter = Meter(Arc::clone(&progress));
        let (headers, withheld) = (FrameHeaders::new(SMALL), Bytes::new());
        (Self { stream, user, slots, progress, timer: None, headers, withheld }, meter)
    }

    /// How much may be read now.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let now = Instant::now();
            let wait_until = {
                let mut progress = locked(&self.progress);
                if progress.bytes < SMALL && self.withheld.is_empty() {
                    self.timer = None;
                    return Poll::Ready(Ok(SMALL - progress.bytes));
                }
                let of = self.headers.message();
                // The slot of an earlier message goes with that one.
                if progress.slot.as_ref().is_none_or(|slot| slot.of != of) {
                    let until = now + PATIENCE;
                    progress.slot = None;
                    progress.slot = self
                        .slots
                        .take(&self.user)
                        .map(|share| Box::new(Slot { share, of, until }));
                }
                if let Some(slot) = &progress.slot {
                    return Poll::Ready(match slot.until > now {
                        true => Ok(usize::MAX),
                        false => {
                            let why =
                                format!("a message took longer than {} s", PATIENCE.as_secs());
                            Err(io::Error::new(io::ErrorKind::TimedOut, why))
                        }
                    });
                }
                now + LOOK_AGAIN
            };
            let timer = timer_of(&mut self.timer, wait_until);
            // It may still stand where the time of the message before would have been up.
            if timer.deadline() <= now || timer.deadline() > wait_until {
                timer.as_mut().reset(wait_until);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }

    /// Wakes when the time of the message that is on its way is up.
    fn watch(&mut self, cx: &mut Context<'_>) {
        let until = {
            let progress = locked(&self.progress);
            progress.slot.as_ref().map(|slot| slot.until)
        };
        if let Some(until) = until {
            let timer = timer_of(&mut self.timer, until);
            timer.as_mut().reset(until);
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// The timer, which is made if it is not there.
fn timer_of(timer: &mut Option<Pin<Box<Sleep>>>, until: Instant) -> &mut Pin<Box<Sleep>> {
    timer.get_or_insert_with(|| Box::pin(sleep_until(until)))
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let room = ready!(this.poll_room(cx))?.min(buffer.remaining());
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
            if this.withheld.is_empty() {
                let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, &mut part) else {
                    this.watch(cx);
                    return Poll::Pending;
                };
                read?;
            } else {
                let count = room.min(this.withheld.len());
                part.put_slice(&this.withheld.split_to(count));
            }
            let read = part.filled();
            let ended = read.is_empty();
            let allowed = locked(&this.progress).slot.as_ref().map(|slot| slot.of);
            let passed = this.headers.read(read, allowed);
            if let Some(rest) = read.get(passed..)
                && !rest.is_empty()
            {
                this.withheld = [rest, &this.withheld].concat().into();
            }
            buffer.advance(passed);
            locked(&this.progress).bytes += passed;
            // To read nothing would say that the stream has ended.
            if passed > 0 || ended {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Meter {
    /// The same link, whose messages hold their slots.
    pub(super) fn over(self, link: Link) -> Link {
        let reader = MeteredReader { reader: link.reader, progress: self.0 };
        Link { reader: Box::new(reader), ..link }
    }
}

#[async_trait]
impl LinkReader for MeteredReader {
    // The very future of what it wraps: one of its own would be held by each connection.
    fn receive<'receives, 'async_trait>(
        &'receives mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Received, LinkEnd>> + Send + 'async_trait>>
    where
        'receives: 'async_trait,
        Self: 'async_trait,
    {
        self.reader.receive()
    }

    fn take_share(&mut self) -> BudgetShare {
        let mut progress = locked(&self.progress);
        progress.bytes = 0;
        progress.slot.take().map(|slot| BudgetShare::new(slot.share)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const LARGE: usize = 3 * SMALL;

    fn metered(user: &str, slots: &LargeMessages) -> (MeteredIo<tokio::io::DuplexStream>, Meter) {
        let (mut theirs, ours) = tokio::io::duplex(1 << 20);
        let sent = theirs.write_all(&vec![7; LARGE]).now_or_never();
        assert!(matches!(sent, Some(Ok(()))));
        // Its other end stays open, and silent.
        std::mem::forget(theirs);
        MeteredIo::new(ours, UserId::new(user), slots.clone())
    }

    async fn read(stream: &mut MeteredIo<tokio::io::DuplexStream>) -> usize {
        let mut all = 0;
        let mut page = vec![0; 8192];
        while let Some(Ok(count)) = stream.read(&mut page).now_or_never() {
            assert!(page.iter().take(count).all(|byte| *byte == 7));
            all += count;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_many_large_messages_on_their_way_waits_and_nobody_else() {
        let slots = LargeMessages::new(4, 1);
        let mut greedy: Vec<_> = (0..5).map(|_| metered("greedy", &slots)).collect();
        let mut counts = Vec::new();
        for (stream, _) in &mut greedy {
            counts.push(read(stream).await);
        }
        assert_eq!(counts, [LARGE, LARGE, SMALL, SMALL, SMALL]);
        let (mut other, meter) = metered("other", &slots);
        assert_eq!(read(&mut other).await, LARGE);
        let share = MeteredReader { reader: Box::new(Nothing), progress: meter.0 }.take_share();
        // A message that was received holds its slot until it is acted on.
        let (mut next, _) = metered("other", &slots);
        assert_eq!(read(&mut next).await, SMALL);
        drop(share);
        tokio::time::sleep(LOOK_AGAIN).await;
        assert_eq!(read(&mut next).await, LARGE - SMALL);
    }

    #[tokio::test(start_paused = true)]
    async fn the_library_learns_no_length_of_a_large_frame_before_it_has_a_slot() {
        const HEAD: [u8; 10] = [0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40];
        let slots = LargeMessages::new(2, 1);
        let (mut holder, _meter) = metered("a", &slots);
        assert_eq!(read(&mut holder).await, LARGE);
        let (mut theirs, ours) = tokio::io::duplex(1 << 20);
        let (mut stream, _other) = MeteredIo::new(ours, UserId::new("a"), slots.clone());
        theirs.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
        theirs.write_all(&HEAD).await.unwrap();
        theirs.write_all(&[b'x'; 1000]).await.unwrap();
        let mut page = [0; 4096];
        assert_eq!(stream.read(&mut page).await.unwrap(), 7 + HEAD.len() - 1);
        assert!(stream.read(&mut page).now_or_never().is_none(), "no slot is free");
        drop((holder, _meter));
        let rest =
            tokio::time::timeout(PATIENCE / 2, stream.read(&mut page)).await.unwrap().unwrap();
        assert_eq!((rest, page[0], page[1]), (1001, HEAD[9], b'x'));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_waits_goes_on_soon_after_a_slot_is_free() {
        let slots = LargeMessages::new(2, 1);
        let (mut stream, meter) = metered("a", &slots);
        // Nothing more is there: the timer stands at the end of the message's time.
        assert_eq!(read(&mut stream).await, LARGE);
        let mut reader = MeteredReader { reader: Box::new(Nothing), progress: meter.0 };
        let share = reader.take_share();
        locked(&reader.progress).bytes = SMALL;
        let mut page = [0; 8];
        assert!(stream.read(&mut page).now_or_never().is_none(), "its slot is still held");
        drop(share);
        let began = Instant::now();
        let _ = tokio::time::timeout(PATIENCE / 2, stream.read(&mut page)).await;
        assert!(locked(&reader.progress).slot.is_some(), "after {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_never_ends_gives_its_slot_back() {
        let slots = LargeMessages::new(4, 1);
        let (mut stream, _meter) = metered("a", &slots);
        assert_eq!(read(&mut stream).await, LARGE);
        let began = Instant::now();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= PATIENCE && began.elapsed() < PATIENCE * 2);
    }

    struct Nothing;

    #[async_trait]
    impl LinkReader for Nothing {
        async fn receive(&mut self) -> Result<Received, LinkEnd> {
            std::future::pending().await
        }
    }
}
