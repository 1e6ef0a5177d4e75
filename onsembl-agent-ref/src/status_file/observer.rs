//! The way of observations to who observes the agent. An observer that does not read costs the agent neither time nor
//! memory: heartbeats are left out, and of statuses all but the latest, which is said as soon as there is room.

use crate::options::AgentObservation;
use onsembl_transport::counters::Counters;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// Counts observations that were left out.
const DROPPED: &str = "observations_dropped";

/// The observer, if there is one.
#[derive(Debug)]
pub(super) struct Observer {
    to: Option<Sender<AgentObservation>>,
    /// The latest status, if there was no room for it.
    unsaid: Option<AgentObservation>,
    counters: Counters,
}

impl Observer {
    pub(super) const fn new(to: Option<Sender<AgentObservation>>, counters: Counters) -> Self {
        Self { to, unsaid: None, counters }
    }

    pub(super) fn see(&mut self, observation: AgentObservation) {
        let is_status = matches!(&observation, AgentObservation::Status { .. });
        if is_status && self.unsaid.take().is_some() {
            self.counters.count(DROPPED);
        }
        self.say_unsaid();
        let is_behind = self.unsaid.is_some();
        let not_said = if is_behind { Some(observation) } else { self.say(observation) };
        match not_said {
            None => {}
            Some(status) if is_status => self.unsaid = Some(status),
            Some(_beat) => self.counters.count(DROPPED),
        }
    }

    /// Says the status for which there was no room, if there is some now.
    pub(super) fn say_unsaid(&mut self) {
        if let Some(status) = self.unsaid.take() {
            self.unsaid = self.say(status);
        }
    }

    /// What there is no room for comes back.
    fn say(&mut self, observation: AgentObservation) -> Option<AgentObservation> {
        match self.to.as_ref()?.try_send(observation) {
            Ok(()) => None,
            Err(TrySendError::Full(observation)) => Some(observation),
            Err(TrySendError::Closed(_)) => {
                tracing::debug!("the observer was dropped");
                self.to = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::BeatSequence;
    use onsembl_protocol::session::{AgentCause, AgentStatus};
    use onsembl_protocol::time::WallTime;
    use tokio::sync::mpsc::{Receiver, channel};

    fn status(attempt: u32) -> AgentObservation {
        let (status, cause) = (AgentStatus::Connecting { attempt }, AgentCause::Started);
        AgentObservation::Status { status, cause, at: WallTime::from_unix_millis(0) }
    }

    fn beat(number: u64) -> AgentObservation {
        let sequence = BeatSequence(number);
        AgentObservation::BeatSent { sequence, at: WallTime::from_unix_millis(0) }
    }

    fn read(seen: &mut Receiver<AgentObservation>) -> Vec<String> {
        std::iter::from_fn(|| seen.try_recv().ok())
            .map(|observation| match observation {
                AgentObservation::Status {
                    status: AgentStatus::Connecting { attempt }, ..
                } => {
                    format!("status {attempt}")
                }
                AgentObservation::BeatSent { sequence, .. } => format!("beat {}", sequence.0),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn an_observer_that_does_not_read_misses_beats_and_learns_the_latest_status() {
        let counters = Counters::default();
        let (to, mut seen) = channel(2);
        let mut observer = Observer::new(Some(to), counters.clone());
        (1..=4).for_each(|number| observer.see(beat(number)));
        (1..=100).for_each(|attempt| observer.see(status(attempt)));
        observer.see(beat(5));
        let dropped = || counters.snapshot().get(DROPPED).copied();
        assert_eq!(dropped(), Some(2 + 99 + 1));
        assert_eq!(read(&mut seen), ["beat 1", "beat 2"]);
        observer.see(beat(6));
        assert_eq!(read(&mut seen), ["status 100", "beat 6"]);
        assert_eq!(dropped(), Some(102));
    }

    #[test]
    fn the_last_status_is_said_when_there_is_room_and_a_newer_one_goes_in_its_place() {
        let (to, mut seen) = channel(1);
        let mut observer = Observer::new(Some(to), Counters::default());
        observer.see(beat(1));
        observer.see(status(1));
        observer.say_unsaid();
        assert_eq!(read(&mut seen), ["beat 1"]);
        observer.see(status(2));
        assert_eq!(read(&mut seen), ["status 2"]);
        observer.see(beat(2));
        observer.see(status(3));
        let _ = read(&mut seen);
        observer.say_unsaid();
        assert_eq!(read(&mut seen), ["status 3"]);
        drop(seen);
        observer.see(status(4));
        observer.see(status(5));
    }
}
