//! Output that is relayed and not stored, as one dashboard is shown it.

use super::*;
use crate::model::{DASHBOARD_FEATURES, Feature, GapCause};

const PIECE: u64 = 32 * 1024;

/// What a dashboard is shown of a command: from where in its output, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Bytes(u64, u64),
    Gap(u64, u64, GapCause),
    /// No message: its fleet is told that everything before this record was taken.
    Told(u64),
}

fn command() -> CommandId {
    CommandId::new("a")
}

fn at(sequence: u64) -> (Incarnation, ChunkSequence) {
    (Incarnation(1), ChunkSequence(sequence))
}

/// A dashboard that watches everything, and a command whose output is not stored.
fn watcher(features: Vec<Feature>) -> (View, DashboardFeed) {
    let mut view = View::default();
    moves(&mut view, "a", CommandStage::Running);
    let _ = view.apply(alloc::vec![Change::Unstored(command())]);
    let all =
        Subscriptions { commands: Selection::All, terminals: true, ..Subscriptions::default() };
    let extended = DashboardExtensions { features, server_instance: None };
    let (server, now) = (ServerInstanceId::new("s"), WallTime::default());
    let feed = DashboardFeed::new(&view, server, all, Some(&extended), now);
    (view, feed)
}

/// The piece of this number, from one on.
fn relay(view: &mut View, sequence: u64) {
    let record = LogRecord {
        incarnation: Incarnation(1),
        sequence: ChunkSequence(sequence),
        stream: Stream::Stdout,
        offset: ByteOffset((sequence - 1) * PIECE),
        body: StoredBody::Chunk(Bytes::from_static(&[b'x'; PIECE as usize])),
        at: WallTime::default(),
    };
    let _ = view.apply(alloc::vec![Change::Relayed(command(), record)]);
}

fn credit(view: &mut View, through: u64) {
    let _ = view.apply(alloc::vec![Change::Credited(command(), at(through))]);
}

/// Everything of its output that is due, neighbours as one.
fn shown(feed: &mut DashboardFeed, view: &View) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    loop {
        let new = match next(feed, view) {
            FeedItem::Nothing => return all,
            FeedItem::Viewed(id, through) => {
                assert_eq!(id, command());
                Shown::Told(through.map_or(0, |(_, sequence)| sequence.0))
            }
            FeedItem::Stream(frame) => Shown::Bytes(frame.offset.0, frame.byte_count() as u64),
            FeedItem::Message(message) => match *message {
                ServerToDashboard::OutputGap(gap) => {
                    Shown::Gap(gap.offset.0, gap.length.unwrap(), gap.because)
                }
                ServerToDashboard::CommandStatus(status) => {
                    assert_eq!(status.unstored, feed.capabilities().leaves_output_unstored());
                    continue;
                }
                other => panic!("{other:?}"),
            },
            FeedItem::Read(..) | FeedItem::Seek(..) => panic!("the store has nothing of it"),
        };
        match (all.last_mut(), new) {
            (Some(Shown::Bytes(from, length)), Shown::Bytes(at, more)) if *from + *length == at => {
                *length += more;
            }
            (_, new) => all.push(new),
        }
    }
}

#[test]
fn who_keeps_up_is_shown_everything_and_its_fleet_told_when_it_waits() {
    let (mut view, mut feed) = watcher(DASHBOARD_FEATURES.to_vec());
    assert_eq!(shown(&mut feed, &view), [Shown::Told(0)]);
    relay(&mut view, 1);
    assert_eq!(shown(&mut feed, &view), [Shown::Bytes(0, PIECE)], "nobody waits for it");
    relay(&mut view, 2);
    let _ = view.apply(alloc::vec![Change::Awaited(command(), at(2))]);
    assert_eq!(shown(&mut feed, &view), [Shown::Bytes(PIECE, PIECE), Shown::Told(2)]);
    credit(&mut view, 2);
    assert_eq!(shown(&mut feed, &view), []);
}

#[test]
fn who_is_slow_is_told_what_it_missed_and_shown_what_is_kept() {
    let (mut view, mut feed) = watcher(DASHBOARD_FEATURES.to_vec());
    relay(&mut view, 1);
    assert_eq!(shown(&mut feed, &view), [Shown::Told(0), Shown::Bytes(0, PIECE)]);
    (2..=20).for_each(|n| relay(&mut view, n));
    credit(&mut view, 20);
    let kept = 256 * 1024;
    let missed = 19 * PIECE - kept;
    assert_eq!(
        shown(&mut feed, &view),
        [Shown::Gap(PIECE, missed, GapCause::NotKept), Shown::Bytes(PIECE + missed, kept),]
    );
}

/// It takes the cause of a gap as one of those that it knows.
#[test]
fn an_older_dashboard_is_told_that_what_it_missed_never_came() {
    let older = alloc::vec![Feature::OutputBytes, Feature::OutputSpool, Feature::OutputBinary];
    let (mut view, mut feed) = watcher(older);
    (1..=20).for_each(|n| relay(&mut view, n));
    credit(&mut view, 20);
    let kept = 256 * 1024;
    assert_eq!(
        shown(&mut feed, &view),
        [
            Shown::Told(0),
            Shown::Gap(0, 20 * PIECE - kept, GapCause::NeverCame),
            Shown::Bytes(20 * PIECE - kept, kept),
        ]
    );
}

#[test]
fn who_asks_for_what_is_not_kept_is_told_so() {
    let (mut view, mut feed) = watcher(DASHBOARD_FEATURES.to_vec());
    (1..=20).for_each(|n| relay(&mut view, n));
    credit(&mut view, 20);
    let _ = shown(&mut feed, &view);
    replays(&mut feed, &view, "a", 1, PIECE / 2);
    let (kept, all) = (256 * 1024, 20 * PIECE);
    let begin = all - kept;
    assert_eq!(
        shown(&mut feed, &view),
        [Shown::Gap(PIECE / 2, begin - PIECE / 2, GapCause::NotKept), Shown::Bytes(begin, kept),]
    );
    // Where it is kept, it begins with the record that has the first byte that is wanted.
    replays(&mut feed, &view, "a", 1, all - PIECE - 1);
    assert_eq!(shown(&mut feed, &view), [Shown::Bytes(all - 2 * PIECE, 2 * PIECE)]);
}

#[test]
fn the_end_comes_behind_what_was_relayed() {
    let (mut view, mut feed) = watcher(DASHBOARD_FEATURES.to_vec());
    relay(&mut view, 1);
    moves(&mut view, "a", CommandStage::Completed);
    let mut story = Vec::new();
    loop {
        match next(&mut feed, &view) {
            FeedItem::Nothing => break,
            FeedItem::Viewed(..) => {}
            FeedItem::Stream(_) => story.push("output"),
            FeedItem::Message(message) => {
                assert!(matches!(*message, ServerToDashboard::CommandStatus(_)), "{message:?}");
                story.push("over");
            }
            FeedItem::Read(..) | FeedItem::Seek(..) => panic!("the store has nothing of it"),
        }
    }
    assert_eq!(story, ["output", "over"]);
}
