//! The time between an open link and its hello, and the patience with nonsense.
//!
//! Before the hello a peer is unknown: nothing it sends is obeyed, answered in kind or forwarded,
//! and it has a deadline (P-16, P-17).

use crate::close::CloseCause;
use crate::limits::Limits;
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;

/// Longest wait for a hello. Existing wrappers and dashboards send theirs at once; their server
/// waits 30 s, which lets any caller keep a socket that long.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How many frames other than a hello a peer may send before it. A legacy wrapper may flush a few
/// older messages first.
const FRAMES_BEFORE_HELLO: u32 = 64;

/// A link that waits for its hello. A [reducer](crate::step#two-contracts) with one output: a verdict.
#[derive(Clone, Copy, Debug)]
pub struct Greeting {
    give_up_at: Timestamp,
    ignored: u32,
}

/// What happens to a link before its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreetingEvent {
    /// The hello came.
    Hello,
    /// Anything else came.
    Other,
    /// The deadline came.
    Wake,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a peer that is not told off keeps its socket"]
pub enum GreetingVerdict {
    /// Go on waiting; what came has no effect.
    Wait,
    /// Find out who it is.
    Identify,
    /// Close the link.
    Close(CloseCause),
}

impl Greeting {
    /// A link that opened now.
    pub fn new(now: Now) -> Self {
        Self { give_up_at: now.monotonic.saturating_add(HELLO_TIMEOUT), ignored: 0 }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: GreetingEvent, now: Now) -> GreetingVerdict {
        match event {
            // It came; if late, then by a delay of this side, which looks at input first.
            GreetingEvent::Hello => GreetingVerdict::Identify,
            GreetingEvent::Other | GreetingEvent::Wake if self.give_up_at <= now.monotonic => {
                GreetingVerdict::Close(CloseCause::HelloTimeout)
            }
            GreetingEvent::Wake => GreetingVerdict::Wait,
            GreetingEvent::Other => {
                self.ignored = self.ignored.saturating_add(1);
                if self.ignored > FRAMES_BEFORE_HELLO {
                    GreetingVerdict::Close(CloseCause::HelloTimeout)
                } else {
                    GreetingVerdict::Wait
                }
            }
        }
    }

    /// Whether more came before a hello than is borne. If not, only the time can be over.
    pub(crate) const fn is_overrun(&self) -> bool {
        self.ignored > FRAMES_BEFORE_HELLO
    }

    /// When to call with [`GreetingEvent::Wake`].
    pub fn deadline(&self) -> Deadline {
        Deadline::At(self.give_up_at)
    }
}

/// How many undecodable messages a link has sent lately: each is answered once, too many close it.
#[derive(Clone, Copy, Debug)]
pub struct UndecodableQuota {
    window_from: Timestamp,
    count: u32,
}

impl UndecodableQuota {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { window_from: Timestamp::ORIGIN, count: 0 }
    }

    /// One more; whether it may still be answered. If not, close with
    /// [`CloseCause::TooManyUndecodable`].
    #[must_use = "an over-long series must close the link"]
    pub fn allow(&mut self, limits: &Limits, now: Timestamp) -> bool {
        if now.saturating_since(self.window_from) >= limits.undecodable_window {
            self.window_from = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= limits.undecodable
    }
}

impl Default for UndecodableQuota {
    fn default() -> Self {
        Self::new()
    }
}
