//! One waker for both halves of a link.
//!
//! Either half may drive the connection in both directions (a reader answers pings, a writer
//! flushes those answers), but a connection remembers only the last waker per direction. So both
//! halves show it the same one, which wakes them both.

use futures::task::AtomicWaker;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

#[derive(Default)]
struct Both {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

/// Which half is asking.
#[derive(Clone, Copy)]
pub(crate) enum Half {
    Reader,
    Writer,
}

/// The waker that the connection sees.
pub(crate) struct HalfWakers {
    both: Arc<Both>,
    waker: Waker,
}

impl HalfWakers {
    pub(crate) fn new() -> Self {
        let both = Arc::new(Both::default());
        Self { waker: Waker::from(Arc::clone(&both)), both }
    }

    /// Notes who waits, and gives the context to poll the connection with.
    pub(crate) fn context(&self, half: Half, cx: &Context<'_>) -> Context<'_> {
        let slot = match half {
            Half::Reader => &self.both.reader,
            Half::Writer => &self.both.writer,
        };
        slot.register(cx.waker());
        Context::from_waker(&self.waker)
    }

    /// Wakes both halves.
    pub(crate) fn wake(&self) {
        self.waker.wake_by_ref();
    }
}
