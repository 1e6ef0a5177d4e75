//! Whether the bus delivers to this node: it publishes to itself, and counts what comes back. A subscription that was lost
//! silently is found by that and by nothing else.

use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// How often a node publishes to itself.
const EVERY: Duration = Duration::from_secs(1);
/// So many in a row that do not come back are no lost messages: with the interval, within 4 s.
const UNHEARD: u64 = 3;

/// Whether a node hears the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say all")]
pub enum Reception {
    Hears,
    /// What others publish does not arrive, so it is read from the database more often.
    Deaf,
}

/// Events of [`Hearing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum HearingEvent {
    /// This message of its own came back.
    Heard(u64),
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// Actions of [`Hearing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum HearingAction {
    /// Publish this message to this node itself.
    Publish(u64),
    /// Show this to operators, and act by it.
    Show(Reception),
}

/// The self-check of a node on the bus. A [reducer](crate::step#two-contracts).
#[derive(Clone, Copy, Debug)]
pub struct Hearing {
    sent: u64,
    heard: u64,
    publish_at: Timestamp,
    reception: Reception,
}

impl Hearing {
    /// A node that subscribes now. It counts as deaf until it hears itself.
    pub fn start(now: Now) -> (Self, Step<HearingAction>) {
        let mut this =
            Self { sent: 0, heard: 0, publish_at: now.monotonic, reception: Reception::Deaf };
        let step = this.handle(HearingEvent::Wake, now);
        (this, step)
    }

    /// Handles one event at one moment; returns the actions and the next deadline.
    pub fn handle(&mut self, event: HearingEvent, now: Now) -> Step<HearingAction> {
        let mut actions = Actions::none();
        match event {
            HearingEvent::Heard(number) if number > self.heard && number <= self.sent => {
                self.heard = number;
                self.show(Reception::Hears, &mut actions);
            }
            // An older one, or one of an earlier process.
            HearingEvent::Heard(_) => {}
            HearingEvent::Wake if self.publish_at <= now.monotonic => {
                // Counted, not timed: a process that was suspended has sent nothing that could come back.
                if self.sent - self.heard >= UNHEARD {
                    self.show(Reception::Deaf, &mut actions);
                }
                self.sent += 1;
                self.publish_at = now.monotonic.saturating_add(EVERY);
                actions.push(HearingAction::Publish(self.sent));
            }
            HearingEvent::Wake => {}
        }
        Step { actions, deadline: Deadline::At(self.publish_at).after(now.monotonic) }
    }

    fn show(&mut self, reception: Reception, actions: &mut Actions<HearingAction>) {
        if self.reception != reception {
            self.reception = reception;
            actions.push(HearingAction::Show(reception));
        }
    }

    /// Whether the node hears the bus.
    pub const fn reception(&self) -> Reception {
        self.reception
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now::without_suspend(Duration::from_millis(millis))
    }

    #[test]
    fn a_node_that_does_not_hear_itself_knows_within_four_seconds() {
        let (mut node, step) = Hearing::start(at(0));
        assert!(step.actions.iter().eq([HearingAction::Publish(1)]));
        assert_eq!(node.reception(), Reception::Deaf);
        let step = node.handle(HearingEvent::Heard(1), at(3));
        assert!(step.actions.iter().eq([HearingAction::Show(Reception::Hears)]));
        let mut told = None;
        for second in 1..=4 {
            let step = node.handle(HearingEvent::Wake, at(second * 1000));
            if step.actions.iter().any(|a| a == HearingAction::Show(Reception::Deaf)) {
                told = told.or(Some(second));
            }
        }
        assert_eq!(told, Some(4));
        // One of them that arrives late is enough.
        let _ = node.handle(HearingEvent::Heard(3), at(4100));
        assert_eq!(node.reception(), Reception::Hears);
    }

    #[test]
    fn a_pause_of_the_process_or_a_few_lost_messages_make_nobody_deaf() {
        let (mut node, _) = Hearing::start(at(0));
        let _ = node.handle(HearingEvent::Heard(1), at(3));
        for millis in [1000, 2000, 60_000] {
            let _ = node.handle(HearingEvent::Wake, at(millis));
            assert_eq!(node.reception(), Reception::Hears);
        }
        let _ = node.handle(HearingEvent::Heard(9), at(60_001));
        let _ = node.handle(HearingEvent::Heard(1), at(60_001));
        let _ = node.handle(HearingEvent::Wake, at(61_000));
        assert_eq!(node.reception(), Reception::Deaf, "neither was one of these");
    }
}
