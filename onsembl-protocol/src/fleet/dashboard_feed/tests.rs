//! What one dashboard is told, in which order.

use super::super::agent_view::AgentFacts;
use super::super::view::Change;
use super::*;
use crate::command::{CommandCause, CommandStage};
use crate::id::PresenceVersion;
use crate::id::{ByteOffset, ChunkSequence, Incarnation};
use crate::limits::Limits;
use crate::output::{LiveView, StoredBody, Stream};
use crate::session::PresenceStatus;
use crate::wire::payload::{OutputBehind, Selection, StreamContent, TerminalStream, ViewMode};
use agents::AGENTS_AT_ONCE;
use alloc::borrow::ToOwned;
use alloc::string::String;
use bytes::Bytes;
use watched::REPEATED_BYTES;

mod relayed;
mod steps;

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

/// The next thing to tell, at a moment at which no line is due.
fn next(feed: &mut DashboardFeed, view: &View) -> FeedItem {
    feed.next(view, Timestamp::ORIGIN)
}

/// The command of this output, if it is that.
fn wrote_by(item: &FeedItem) -> Option<&str> {
    let FeedItem::Message(message) = item else { return None };
    match &**message {
        ServerToDashboard::TerminalStream(TerminalStream {
            command_id,
            content: StreamContent::Bytes(_),
            ..
        }) => Some(command_id.as_str()),
        _ => None,
    }
}

/// What is told while the first command writes as fast as it is read.
fn sent_beside_a_flood(view: &mut View, feed: &mut DashboardFeed, from: u64) -> Vec<FeedItem> {
    let mut sent = Vec::new();
    for sequence in from..from + 19 {
        write(view, "a", sequence);
        sent.push(next(feed, view));
    }
    sent
}

#[test]
fn output_without_end_holds_up_neither_other_output_nor_how_commands_are() {
    let (mut view, mut feed) = feed();
    write(&mut view, "b", 1);
    let sent = sent_beside_a_flood(&mut view, &mut feed, 1);
    let wrote = |of: &str| sent.iter().any(|item| wrote_by(item) == Some(of));
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

/// A batch that makes no whole line does not let the next one overtake what is left of it.
#[test]
fn lines_keep_the_order_of_what_was_written_across_batches() {
    let mut view = View::default();
    moves(&mut view, "a", CommandStage::Running);
    let all =
        Subscriptions { commands: Selection::All, terminals: true, ..Subscriptions::default() };
    let (server, now) = (ServerInstanceId::new("s"), WallTime::default());
    let mut feed = DashboardFeed::new(&view, server, all, None, now);
    for (sequence, letter) in (1..).zip("abcdef".bytes()) {
        let body = alloc::vec![letter; 30 * 1024];
        let record = LogRecord {
            incarnation: Incarnation(1),
            sequence: ChunkSequence(sequence),
            stream: Stream::Stdout,
            offset: ByteOffset((sequence - 1) * 30 * 1024),
            body: StoredBody::Chunk(Bytes::from(body)),
            at: now,
        };
        let _ = view.apply(alloc::vec![Change::Output(CommandId::new("a"), record)]);
    }
    let mut shown = String::new();
    loop {
        match next(&mut feed, &view) {
            FeedItem::Seek(command, _) => feed.located(&command, None),
            FeedItem::Message(message) => {
                if let ServerToDashboard::TerminalStream(TerminalStream {
                    command_id,
                    content: StreamContent::Lines(lines),
                    ..
                }) = *message
                    && command_id.as_str() == "a"
                {
                    lines.iter().for_each(|line| shown.push_str(line));
                }
            }
            FeedItem::Nothing => break,
            FeedItem::Read(..) | FeedItem::Viewed(..) => panic!("all of it is in memory"),
            FeedItem::Stream(_) => panic!("it takes lines"),
        }
    }
    assert!(shown.len() >= 2 * 64 * 1024, "{}", shown.len());
    assert!(shown.as_bytes().is_sorted(), "another order than it was written in");
}

#[test]
fn the_end_of_a_command_comes_behind_all_that_it_wrote_and_once() {
    let (mut view, mut feed) = feed();
    write(&mut view, "a", 1);
    write(&mut view, "a", 2);
    moves(&mut view, "a", CommandStage::Completed);
    let mut story = Vec::new();
    loop {
        match next(&mut feed, &view) {
            FeedItem::Message(message) => story.push(match *message {
                ServerToDashboard::TerminalStream(_) => "output",
                ServerToDashboard::CommandStatus(_) => "over",
                other => panic!("{other:?}"),
            }),
            FeedItem::Nothing => break,
            FeedItem::Read(..) | FeedItem::Seek(..) => panic!("nothing is in the store only"),
            FeedItem::Stream(_) | FeedItem::Viewed(..) => panic!("it takes stored texts"),
        }
    }
    assert_eq!(story, ["over", "output", "output", "over"], "of the other command, then of this");
    moves(&mut view, "a", CommandStage::Completed);
    assert!(matches!(next(&mut feed, &view), FeedItem::Nothing), "told once");
}

/// Asks for the output of a command from there on.
fn replays(feed: &mut DashboardFeed, view: &View, id: &str, incarnation: u64, offset: u64) {
    let from = Replay {
        incarnation: (incarnation > 0).then_some(Incarnation(incarnation)),
        stream_type: None,
        offset: ByteOffset(offset),
    };
    assert!(feed.replay(view, &CommandId::new(id), &from));
}

/// What the store is asked next.
fn asked(feed: &mut DashboardFeed, view: &View) -> FeedItem {
    loop {
        match next(feed, view) {
            FeedItem::Message(_) | FeedItem::Stream(_) | FeedItem::Viewed(..) => {}
            item @ (FeedItem::Read(..) | FeedItem::Seek(..) | FeedItem::Nothing) => return item,
        }
    }
}

#[test]
fn an_answer_of_the_store_counts_only_as_long_as_it_is_wanted() {
    let (mut view, mut feed) = feed();
    let id = CommandId::new("a");
    (1..=3).for_each(|n| write(&mut view, "a", n));
    let position = |sequence| (Incarnation(1), ChunkSequence(sequence));
    // One position, and another before the first was found.
    replays(&mut feed, &view, "a", 1, 10);
    assert!(matches!(asked(&mut feed, &view), FeedItem::Seek(..)));
    replays(&mut feed, &view, "a", 1, 20);
    assert!(matches!(asked(&mut feed, &view), FeedItem::Nothing), "one at a time");
    feed.located(&id, Some(position(1)));
    let again = asked(&mut feed, &view);
    let second = Seek::Offset {
        incarnation: Incarnation(1),
        stream: Stream::Stdout,
        offset: ByteOffset(20),
    };
    assert!(matches!(&again, FeedItem::Seek(_, seek) if *seek == second), "{again:?}");
    // From the beginning, and the position comes behind it.
    replays(&mut feed, &view, "a", 0, 0);
    feed.located(&id, Some(position(3)));
    let told: Vec<FeedItem> = (0..3).map(|_| next(&mut feed, &view)).collect();
    assert!(told.iter().filter(|item| wrote_by(item) == Some("a")).count() >= 2, "{told:?}");
    // Answers to no question.
    feed.stored(&view, &id, Vec::new());
    feed.located(&id, None);
    while !matches!(next(&mut feed, &view), FeedItem::Nothing) {}
}

const FLEET: usize = 5000;

fn agent_of(n: usize) -> AgentId {
    AgentId::new(alloc::format!("agent-{n:06}"))
}

fn is(view: &mut View, n: usize, version: u64, status: PresenceStatus) {
    let agent = AgentFacts {
        name: alloc::format!("name of {n}"),
        agent_type: "custom".into(),
        version: "1".into(),
        host: "h".into(),
        capabilities: Vec::new(),
        aliases: Vec::new(),
        presence: super::super::agent_view::ShownPresence {
            status,
            since: WallTime::default(),
            because: "x".repeat(300),
            version: PresenceVersion(version),
            track: None,
            ended_with: None,
        },
        pausing: crate::model::Pausing::Running,
        paused: None,
        program_fault: None,
        activity: None,
        stopped: None,
        link_room: 0,
        claim: None,
        contest: None,
        slept: None,
    };
    let _ = view.apply(alloc::vec![Change::Agent(agent_of(n), Box::new(agent.into()))]);
}

fn large_fleet() -> (View, DashboardFeed) {
    let (mut view, _) = feed();
    (0..FLEET).for_each(|n| is(&mut view, n, 1, PresenceStatus::Online));
    let all = Subscriptions { agents: Selection::All, ..Subscriptions::default() };
    let server = ServerInstanceId::new("s");
    let feed = DashboardFeed::new(&view, server, all, None, WallTime::default());
    (view, feed)
}

/// What is told until there is nothing more, with the most that ever waited in the feed.
fn told(view: &View, feed: &mut DashboardFeed) -> (Vec<ServerToDashboard>, usize) {
    let (mut told, mut most) = (Vec::new(), 0);
    loop {
        most = most.max(feed.answers.len());
        match next(feed, view) {
            FeedItem::Message(message) => told.push(*message),
            FeedItem::Nothing => return (told, most),
            FeedItem::Read(..)
            | FeedItem::Seek(..)
            | FeedItem::Stream(_)
            | FeedItem::Viewed(..) => {}
        }
    }
}

fn status_of(message: &ServerToDashboard) -> Option<&AgentId> {
    match message {
        ServerToDashboard::AgentStatus(status) => Some(&status.agent_id),
        _ => None,
    }
}

fn listed(told: &[ServerToDashboard]) -> Vec<&AgentId> {
    let lists = told.iter().filter_map(|message| match message {
        ServerToDashboard::Connected(list) => Some(&list.agents),
        _ => None,
    });
    lists.flatten().map(|agent| &agent.agent_id).collect()
}

#[test]
fn a_large_fleet_is_told_in_parts_and_does_not_wait_in_memory() {
    let (view, mut feed) = large_fleet();
    feed.greet(Some(MessageId::new("m")), WallTime::default());
    assert!(feed.is_behind());
    let (told, most) = told(&view, &mut feed);
    assert!(most <= AGENTS_AT_ONCE + 4, "{most} messages waited");
    let all: Vec<AgentId> = (0..FLEET).map(agent_of).collect();
    assert_eq!(listed(&told), all.iter().collect::<Vec<_>>());
    assert!(matches!(told.first(), Some(ServerToDashboard::Connected(_))));
    let statuses: Vec<&AgentId> = told.iter().filter_map(status_of).collect();
    assert_eq!(statuses, all.iter().collect::<Vec<_>>());
    let is_command = |m: &&ServerToDashboard| matches!(m, ServerToDashboard::CommandStatus(_));
    let last = told.iter().rev().find(|m| !is_command(m));
    assert!(matches!(last, Some(ServerToDashboard::Ack(_))), "the answer comes last, not {last:?}");
    feed.refresh();
    feed.scan_agents(&view, WallTime::default());
    assert!(!feed.is_behind(), "nobody waits for that");
    let (again, most) = self::told(&view, &mut feed);
    assert_eq!((again.len(), most <= AGENTS_AT_ONCE + 4), (FLEET, true));
}

#[test]
fn what_changes_while_a_large_fleet_is_told_is_told_once_more_or_only_as_it_is() {
    let (mut view, mut feed) = large_fleet();
    feed.greet(None, WallTime::default());
    let mut told = Vec::new();
    while told.len() < FLEET / 2 {
        let FeedItem::Message(message) = next(&mut feed, &view) else { panic!("there is more") };
        told.push(*message);
    }
    let (passed, ahead, new) = (3, FLEET - 3, FLEET);
    for n in [passed, ahead] {
        is(&mut view, n, 2, PresenceStatus::Offline);
    }
    is(&mut view, new, 1, PresenceStatus::Online);
    for _ in 0..3 {
        feed.scan_agents(&view, WallTime::default());
    }
    told.extend(self::told(&view, &mut feed).0);
    let times = |n| told.iter().filter(|m| status_of(m) == Some(&agent_of(n))).count();
    assert_eq!((times(passed), times(ahead), times(new)), (2, 1, 1));
    assert_eq!(listed(&told).iter().filter(|id| ***id == agent_of(new)).count(), 1);
    let gone = |n| {
        let is_gone = |m: &&ServerToDashboard| matches!(m, ServerToDashboard::AgentDisconnect(gone) if gone.agent_id == agent_of(n));
        told.iter().filter(is_gone).count()
    };
    assert_eq!((gone(passed), gone(ahead)), (1, 1));
    let last = told.iter().rev().find_map(|m| match m {
        ServerToDashboard::AgentStatus(status) if status.agent_id == agent_of(ahead) => {
            Some(status)
        }
        _ => None,
    });
    assert_eq!(last.unwrap().presence_version, Some(PresenceVersion(2)));
}

#[test]
fn a_dashboard_watches_only_so_many_one_by_one() {
    let (view, mut feed) = feed();
    let _ = feed.watched.replace(Subscriptions::default());
    let most = Limits::DEFAULT.list_entries;
    let mut answers = (0..=most).map(|n| {
        let what = Subscription {
            kind: SubscriptionKind::Command,
            id: Some(alloc::format!("c-{n}")),
            all: false,
            replay: None,
            view: None,
        };
        feed.subscribe(&view, None, what, WallTime::default());
        feed.answers.take_latest()
    });
    let is_taken = |answer| matches!(answer, Some(Some(ServerToDashboard::Ack(_))));
    assert!((0..most).all(|_| is_taken(answers.next())));
    let refused = answers.next().flatten();
    assert!(
        matches!(refused, Some(ServerToDashboard::Error(error)) if error.code == ErrorCode::QueueFull)
    );
}

/// Each message of a dashboard would be answered with all that it ever said, and one of them could not go out.
#[test]
fn subscriptions_that_are_long_are_not_repeated_in_acknowledgements() {
    let (view, mut feed) = feed();
    feed.watch(&view, Subscriptions::default());
    let (mut longest, mut repeated) = (0, 0);
    for n in 0..1000 {
        let what = Subscription {
            kind: SubscriptionKind::Command,
            id: Some(alloc::format!("{n:04}{}", "\u{1}".repeat(250))),
            all: false,
            replay: None,
            view: None,
        };
        feed.subscribe(&view, None, what, WallTime::default());
        while let FeedItem::Message(message) = next(&mut feed, &view) {
            let bytes = crate::wire::encode(&MessageId::new("m"), WallTime::default(), &*message);
            longest = longest.max(bytes.len());
            if let ServerToDashboard::Ack(ack) = *message {
                repeated += usize::from(ack.subscriptions.is_some());
            }
        }
    }
    assert!(longest < 2 * REPEATED_BYTES, "{longest} bytes");
    assert!((1..20).contains(&repeated), "{repeated} of 1,000 acknowledgements repeat them");
}

/// A terminal that a dashboard with `live-view` views.
fn live() -> (View, DashboardFeed, CommandId) {
    let (mut view, _) = feed();
    let terminal = CommandId::of_terminal("1");
    moves(&mut view, terminal.as_str(), CommandStage::Running);
    let features = DASHBOARD_FEATURES.to_vec();
    let extended = DashboardExtensions { features, server_instance: None };
    let (server, now) = (ServerInstanceId::new("s"), WallTime::default());
    let watches = Subscriptions { terminals: true, ..Subscriptions::default() };
    let mut feed = DashboardFeed::new(&view, server, watches, Some(&extended), now);
    let what = Subscription {
        kind: SubscriptionKind::Command,
        id: Some(terminal.as_str().to_owned()),
        all: false,
        replay: None,
        view: Some(ViewMode::Live),
    };
    feed.subscribe(&view, None, what, now);
    (view, feed, terminal)
}

const PIECE: usize = 8 * 1024;

/// The program writes this many pieces behind what it wrote.
fn draws(view: &mut View, terminal: &CommandId, pieces: core::ops::Range<u64>) {
    for n in pieces {
        let _ = view.apply(alloc::vec![Change::Output(
            terminal.clone(),
            LogRecord {
                incarnation: Incarnation(1),
                sequence: ChunkSequence(n + 1),
                stream: Stream::Terminal,
                offset: ByteOffset(n * PIECE as u64),
                body: StoredBody::Chunk(Bytes::from_static(&[b'x'; PIECE])),
                at: WallTime::default(),
            },
        )]);
    }
}

/// Bytes of output that are sent now, and whether it is told that it is behind.
fn gets(feed: &mut DashboardFeed, view: &View, at: Timestamp) -> (usize, Option<OutputBehind>) {
    let (mut bytes, mut behind) = (0, None);
    loop {
        match feed.next(view, at) {
            FeedItem::Message(message) => match *message {
                ServerToDashboard::TerminalStream(TerminalStream {
                    content: StreamContent::Bytes(content),
                    ..
                }) => bytes += content.as_bytes().len(),
                ServerToDashboard::OutputBehind(said) => behind = Some(said),
                _ => {}
            },
            FeedItem::Stream(frame) => bytes += frame.byte_count(),
            FeedItem::Read(..) | FeedItem::Seek(..) | FeedItem::Viewed(..) => {}
            FeedItem::Nothing => return (bytes, behind),
        }
    }
}

fn shows(feed: &mut DashboardFeed, terminal: &CommandId, offset: usize) {
    feed.taken(&OutputTaken {
        command_id: terminal.clone(),
        incarnation: Incarnation(1),
        offset: ByteOffset(offset as u64),
    });
}

fn after(millis: u64) -> Timestamp {
    Timestamp::ORIGIN.saturating_add(core::time::Duration::from_millis(millis))
}

#[test]
fn a_live_viewer_is_sent_no_more_than_the_window_beyond_what_it_has_shown() {
    let (mut view, mut feed, terminal) = live();
    draws(&mut view, &terminal, 0..16);
    let (first, behind) = gets(&mut feed, &view, after(0));
    let most = usize::try_from(LiveView::WINDOW).unwrap() + LiveView::BATCH;
    assert!((PIECE..=most).contains(&first), "{first} bytes");
    assert_eq!(behind, None);
    shows(&mut feed, &terminal, first);
    let mut all = first;
    while all < 16 * PIECE {
        let (more, _) = gets(&mut feed, &view, after(1));
        assert!((1..=most).contains(&more), "{more} bytes after {all}");
        all += more;
        shows(&mut feed, &terminal, all);
    }
    assert_eq!(feed.deadline(), Deadline::Never);
}

#[test]
fn a_live_viewer_that_stays_far_behind_is_told_to_show_the_present_and_begins_anew() {
    let (mut view, mut feed, terminal) = live();
    let far = LiveView::BEHIND / PIECE as u64 + 2;
    draws(&mut view, &terminal, 0..far);
    let (sent, behind) = gets(&mut feed, &view, after(0));
    assert_eq!(behind, None);
    assert_eq!(feed.deadline(), Deadline::At(after(200)));
    feed.flush(after(200));
    let (more, behind) = gets(&mut feed, &view, after(200));
    assert_eq!((more, behind.map(|said| said.offset)), (0, Some(ByteOffset(sent as u64))));
    // Whatever it says and whatever is written, nothing more is sent and nothing is said again.
    shows(&mut feed, &terminal, sent);
    draws(&mut view, &terminal, far..far + 4);
    assert_eq!(gets(&mut feed, &view, after(900)), (0, None));
    assert_eq!(feed.deadline(), Deadline::Never);
    // With a screen in its hand it continues from there.
    let from = Replay {
        incarnation: Some(Incarnation(1)),
        stream_type: Some(Stream::Terminal.into()),
        offset: ByteOffset((far + 4) * PIECE as u64),
    };
    let what = Subscription {
        kind: SubscriptionKind::Command,
        id: Some(terminal.as_str().to_owned()),
        all: false,
        replay: Some(from),
        view: Some(ViewMode::Live),
    };
    feed.subscribe(&view, None, what, WallTime::default());
    let _ = gets(&mut feed, &view, after(900));
    feed.located(&terminal, Some((Incarnation(1), ChunkSequence(far + 4))));
    draws(&mut view, &terminal, far + 4..far + 5);
    assert_eq!(gets(&mut feed, &view, after(950)), (PIECE, None));
}

#[test]
fn a_viewer_that_did_not_ask_for_the_present_gets_all_of_the_output() {
    let (mut view, mut feed, terminal) = live();
    let what = Subscription {
        kind: SubscriptionKind::Command,
        id: Some(terminal.as_str().to_owned()),
        all: false,
        replay: None,
        view: None,
    };
    feed.subscribe(&view, None, what, WallTime::default());
    let far = LiveView::BEHIND / PIECE as u64 + 2;
    draws(&mut view, &terminal, 0..far);
    assert_eq!(gets(&mut feed, &view, after(0)), (far as usize * PIECE, None));
}
