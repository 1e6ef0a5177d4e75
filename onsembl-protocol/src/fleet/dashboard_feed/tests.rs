//! What one dashboard is told, in which order.

use super::super::view::Change;
use super::*;
use crate::command::{CommandCause, CommandStage};
use crate::id::{ByteOffset, ChunkSequence, Incarnation};
use crate::output::{StoredBody, Stream};
use crate::wire::payload::Selection;
use bytes::Bytes;

fn moves(view: &mut View, id: &str, status: CommandStage) {
    let shown = CommandView {
        status,
        because: CommandCause::Started,
        exit: None,
        started_at: None,
        ended_at: None,
    };
    let _ = view.apply(alloc::vec![Change::Command {
        command: CommandId::new(id),
        agent: AgentId::new("ada"),
        view: Some(shown),
        detail: None,
    }]);
}

/// A dashboard that watches everything, and two commands that run.
fn feed() -> (View, DashboardFeed) {
    let mut view = View::default();
    moves(&mut view, "a", CommandStage::Running);
    moves(&mut view, "b", CommandStage::Running);
    let all = Subscriptions {
        agents: Selection::All,
        commands: Selection::All,
        terminals: true,
        traces: false,
    };
    let features = alloc::vec![crate::model::Feature::OutputBytes];
    let extended = DashboardExtensions { features, server_instance: None };
    let server = ServerInstanceId::new("s");
    let now = WallTime::default();
    let feed = DashboardFeed::new(&view, server, all, Some(&extended), now);
    (view, feed)
}

fn write(view: &mut View, id: &str, sequence: u64) {
    let _ = view.apply(alloc::vec![Change::Output(
        CommandId::new(id),
        LogRecord {
            incarnation: Incarnation(1),
            sequence: ChunkSequence(sequence),
            stream: Stream::Stdout,
            offset: ByteOffset((sequence - 1) * 32 * 1024),
            body: StoredBody::Chunk(Bytes::from_static(&[b'x'; 32 * 1024])),
            at: WallTime::default(),
        },
    )]);
}

/// What is told while the first command writes as fast as it is read.
fn sent_beside_a_flood(view: &mut View, feed: &mut DashboardFeed, from: u64) -> Vec<FeedItem> {
    let mut sent = Vec::new();
    for sequence in from..from + 19 {
        write(view, "a", sequence);
        sent.push(feed.next(view));
    }
    sent
}

#[test]
fn output_without_end_holds_up_neither_other_output_nor_how_commands_are() {
    let (mut view, mut feed) = feed();
    write(&mut view, "b", 1);
    let sent = sent_beside_a_flood(&mut view, &mut feed, 1);
    let wrote = |of: &str| {
        let of = CommandId::new(of);
        sent.iter().any(|t| matches!(t, FeedItem::Output { shown, .. } if *shown == of))
    };
    assert!(wrote("a") && wrote("b"));
    moves(&mut view, "b", CommandStage::Cancelling);
    let sent = sent_beside_a_flood(&mut view, &mut feed, 20);
    let moved = |t: &FeedItem| match t {
        FeedItem::Message(message) => {
            matches!(&**message, ServerToDashboard::CommandStatus(s) if s.command_id.as_str() == "b")
        }
        _ => false,
    };
    assert!(sent.iter().any(moved));
}

#[test]
fn the_end_of_a_command_comes_behind_all_that_it_wrote_and_once() {
    let (mut view, mut feed) = feed();
    write(&mut view, "a", 1);
    write(&mut view, "a", 2);
    moves(&mut view, "a", CommandStage::Completed);
    let mut story = Vec::new();
    loop {
        match feed.next(&view) {
            FeedItem::Output { .. } => story.push("output"),
            FeedItem::Ended { .. } => story.push("over"),
            FeedItem::Message(_) => {}
            FeedItem::Nothing => break,
            FeedItem::Read(..) | FeedItem::Seek(..) => panic!("nothing is in the store only"),
        }
    }
    assert_eq!(story, ["output", "output", "over"]);
    moves(&mut view, "a", CommandStage::Completed);
    assert!(matches!(feed.next(&view), FeedItem::Nothing), "told once");
}

#[test]
fn a_dashboard_watches_only_so_many_one_by_one() {
    let (view, mut feed) = feed();
    feed.subscriptions = Subscriptions::default();
    let most = Limits::DEFAULT.list_entries;
    let mut answers = (0..=most).map(|n| {
        let what = Subscription {
            kind: SubscriptionKind::Command,
            id: Some(alloc::format!("c-{n}")),
            all: false,
            replay: None,
        };
        feed.subscribe(&view, None, what, WallTime::default());
        feed.ready.pop_back()
    });
    let is_taken = |answer| matches!(answer, Some(Some(ServerToDashboard::Ack(_))));
    assert!((0..most).all(|_| is_taken(answers.next())));
    let refused = answers.next().flatten();
    assert!(
        matches!(refused, Some(ServerToDashboard::Error(error)) if error.code == ErrorCode::QueueFull)
    );
}
