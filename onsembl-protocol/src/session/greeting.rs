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
pub(crate) struct Greeting {
    give_up_at: Timestamp,
    ignored: u32,
}

/// What happens to a link before its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GreetingEvent {
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
pub(crate) enum GreetingVerdict {
    /// Go on waiting; what came has no effect.
    Wait,
    /// Find out who it is.
    Identify,
    /// Close the link.
    Close(CloseCause),
}

impl Greeting {
    /// A link that opened now.
    pub(crate) fn new(now: Now) -> Self {
        Self { give_up_at: now.monotonic.saturating_add(HELLO_TIMEOUT), ignored: 0 }
    }

    /// Takes one event.
    pub(crate) fn handle(&mut self, event: GreetingEvent, now: Now) -> GreetingVerdict {
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
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::At(self.give_up_at)
    }
}

/// How many undecodable messages a link has sent lately: each is answered once, too many close it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UndecodableQuota {
    window_from: Timestamp,
    count: u32,
}

impl UndecodableQuota {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self { window_from: Timestamp::ORIGIN, count: 0 }
    }

    /// One more; whether it may still be answered. If not, close with
    /// [`CloseCause::TooManyUndecodable`].
    #[must_use = "an over-long series must close the link"]
    pub(crate) fn allow(&mut self, limits: &Limits, now: Timestamp) -> bool {
        if now.saturating_since(self.window_from) >= limits.undecodable_window {
            self.window_from = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= limits.undecodable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: GreetingVerdict = GreetingVerdict::Close(CloseCause::HelloTimeout);

    fn secs(n: u64) -> Now {
        Now::from_origin(Duration::from_secs(n))
    }

    fn ms(n: u64) -> Now {
        Now::from_origin(Duration::from_millis(n))
    }

    #[test]
    fn a_link_that_says_hello_is_identified_and_one_that_does_not_is_closed() {
        let mut greeting = Greeting::new(secs(1));
        assert_eq!(greeting.deadline(), Deadline::At(secs(11).monotonic));
        assert_eq!(greeting.handle(GreetingEvent::Wake, ms(10_999)), GreetingVerdict::Wait);
        let mut silent = greeting;
        assert_eq!(silent.handle(GreetingEvent::Wake, secs(11)), CLOSED);
        assert_eq!(silent.handle(GreetingEvent::Other, secs(12)), CLOSED);
        assert_eq!(greeting.handle(GreetingEvent::Hello, ms(10_999)), GreetingVerdict::Identify);
    }

    #[test]
    fn a_hello_that_this_side_sees_late_is_still_one() {
        let mut greeting = Greeting::new(secs(1));
        assert_eq!(greeting.handle(GreetingEvent::Hello, secs(60)), GreetingVerdict::Identify);
    }

    #[test]
    fn a_link_may_send_sixty_four_other_frames_first() {
        let mut greeting = Greeting::new(secs(1));
        for _ in 0..64 {
            assert_eq!(greeting.handle(GreetingEvent::Other, secs(2)), GreetingVerdict::Wait);
        }
        let mut patient = greeting;
        assert_eq!(patient.handle(GreetingEvent::Hello, secs(2)), GreetingVerdict::Identify);
        assert_eq!(greeting.handle(GreetingEvent::Other, secs(2)), CLOSED);
    }

    #[test]
    fn twenty_undecodable_messages_a_minute_are_borne() {
        let limits = Limits::DEFAULT;
        let mut quota = UndecodableQuota::new();
        let at = |n: u64| ms(1_000_000 + n).monotonic;
        for n in 0..20 {
            assert!(quota.allow(&limits, at(n)), "{n}");
        }
        assert!(!quota.allow(&limits, at(59_999)));
        assert!(quota.allow(&limits, at(60_000)), "a new minute");
        // One every four seconds can go on for ever.
        let mut slow = UndecodableQuota::new();
        assert!((0..1000).all(|n| slow.allow(&limits, at(4000 * n))));
    }
}
