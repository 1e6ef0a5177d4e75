//! The inbox of a shard: a queue for each lane, and a like turn for each lane that has something in its queue.
//! Which links share a lane is for the owner of the shard to say; nothing here knows what a frame means.
//!
//! One queue for all would make each wait for the user who sends most: behind a few hundred of the largest messages
//! a heartbeat of another user waits for seconds.

use super::link::Lane;
use crate::pump::{LinkEvent, SharedBacklog};
use futures::future::FutureExt as _;
use futures::stream::{SelectAll, Stream, StreamExt as _};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Frames of all links of a lane that may wait for the shard; then these links feel it.
pub const LANE_FRAMES: usize = 32;
/// Bytes of frames that may wait to be written to all agents of a lane: 16 MiB, a thousand acknowledgements to each
/// of some fifty. With more, the agent that does not take the next one is taken not to be reading.
pub const LANE_BACKLOG: usize = 16 << 20;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    turns: SelectAll<Queue>,
    /// The way into each. A link holds one; without any the queue ends.
    entries: BTreeMap<Lane, Entry>,
}

#[derive(Debug)]
struct Entry {
    events: mpsc::WeakSender<LinkEvent>,
    backlog: Arc<SharedBacklog>,
}

impl Lanes {
    /// The way into a lane, and the bound on what waits to be written to all of its links.
    pub(super) fn entry(&mut self, lane: &Lane) -> (mpsc::Sender<LinkEvent>, Arc<SharedBacklog>) {
        let known = self.entries.get(lane);
        if let Some((events, known)) =
            known.and_then(|known| Some((known.events.upgrade()?, known)))
        {
            return (events, Arc::clone(&known.backlog));
        }
        let (events, queue) = mpsc::channel(LANE_FRAMES);
        let backlog = SharedBacklog::new(LANE_BACKLOG);
        let entry = Entry { events: events.downgrade(), backlog: Arc::clone(&backlog) };
        let _ = self.entries.insert(lane.clone(), entry);
        self.turns.push(Queue { lane: lane.clone(), queue: Some(queue) });
        (events, backlog)
    }

    /// The next event of the lane whose turn it is. Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        loop {
            match self.turns.next().await {
                Some(Turn::Event(event)) => return event,
                Some(Turn::Left(lane)) => self.leave(&lane),
                // The next link brings a lane, and is counted again when it is let in.
                None => std::future::pending().await,
            }
        }
    }

    /// The same, if there is one. Asks whatever the runtime thinks of this task's share: "nothing" would be
    /// taken for the silence of a peer.
    pub(super) fn try_next(&mut self) -> Option<LinkEvent> {
        tokio::task::unconstrained(self.next()).now_or_never()
    }

    fn leave(&mut self, lane: &Lane) {
        // A link may have come meanwhile, with a queue of its own.
        if self.entries.get(lane).is_some_and(|entry| entry.events.strong_count() == 0) {
            let _ = self.entries.remove(lane);
        }
    }
}

#[derive(Debug)]
struct Queue {
    lane: Lane,
    queue: Option<mpsc::Receiver<LinkEvent>>,
}

enum Turn {
    Event(LinkEvent),
    /// No link is left in this lane.
    Left(Lane),
}

impl Stream for Queue {
    type Item = Turn;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Turn>> {
        let Some(queue) = &mut self.queue else { return Poll::Ready(None) };
        match ready!(queue.poll_recv(cx)) {
            Some(event) => Poll::Ready(Some(Turn::Event(event))),
            None => {
                self.queue = None;
                Poll::Ready(Some(Turn::Left(self.lane.clone())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Received;
    use crate::pump::LinkInput;
    use onsembl_protocol::id::LinkId;

    fn event(link: u64) -> LinkEvent {
        LinkEvent::new(LinkId(link), LinkInput::Received(Received::Control))
    }

    fn taken(lanes: &mut Lanes) -> Vec<u64> {
        std::iter::from_fn(|| lanes.try_next()).map(|event| event.link.0).collect()
    }

    #[tokio::test]
    async fn who_sends_most_makes_nobody_wait() {
        let mut lanes = Lanes::default();
        let (loud, quiet) = (Lane::new("loud"), Lane::new("quiet"));
        let (first, second) = (lanes.entry(&loud).0, lanes.entry(&loud).0);
        let other = lanes.entry(&quiet).0;
        while first.try_send(event(1)).is_ok() && second.try_send(event(1)).is_ok() {}
        other.try_send(event(2)).unwrap();
        other.try_send(event(2)).unwrap();
        let order = taken(&mut lanes);
        assert_eq!(order.len(), LANE_FRAMES + 2, "links of a lane share its queue");
        let last = order.iter().rposition(|link| *link == 2).unwrap();
        assert!(last <= 4, "the quiet one's second frame was number {last}");
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_lane_without_links() {
        let mut lanes = Lanes::default();
        let lane = Lane::new("a");
        drop(lanes.entry(&lane));
        let (again, _) = lanes.entry(&lane);
        assert!(taken(&mut lanes).is_empty());
        again.try_send(event(3)).unwrap();
        drop(again);
        assert_eq!(taken(&mut lanes), [3]);
        assert!(lanes.entries.is_empty() && lanes.turns.is_empty());
    }
}
