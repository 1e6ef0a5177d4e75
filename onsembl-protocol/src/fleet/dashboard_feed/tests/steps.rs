//! No wake-up of a dashboard looks at more the more agents and commands there are in which nothing happens: the elements
//! of collections that are looked at are counted.

use super::super::super::collections::counted::take_steps;
use super::*;
use crate::model::{SizeRecord, TerminalSize};
use crate::terminal::KeyboardView;

const FEW: usize = 10;
const MANY: usize = 10_000;
/// A search in 10,000 looks at 11 more than one in 10, and a wake-up searches some twenty times at most.
const MORE_AT_MOST: u64 = 300;

struct World {
    view: View,
    feed: DashboardFeed,
    written: u64,
}

impl World {
    /// This many agents, each with a command that runs and one that is over, and a dashboard that was told all of it.
    fn new(of: usize, watches: Subscriptions) -> Self {
        let (mut view, _) = feed();
        for n in 0..of {
            is(&mut view, n, 1, PresenceStatus::Online);
            moves(&mut view, &alloc::format!("open-{n}"), CommandStage::Running);
            moves(&mut view, &alloc::format!("over-{n}"), CommandStage::Completed);
        }
        is(&mut view, of, 1, PresenceStatus::Online);
        moves(&mut view, "mine", CommandStage::Running);
        moves(&mut view, "terminal-1", CommandStage::Running);
        let features = DASHBOARD_FEATURES.to_vec();
        let extended = DashboardExtensions { features, server_instance: None };
        let (server, now) = (ServerInstanceId::new("s"), WallTime::default());
        let mut feed = DashboardFeed::new(&view, server, watches, Some(&extended), now);
        feed.greet(None, now);
        feed.scan_agents(&view, now);
        let mut world = Self { view, feed, written: 0 };
        let _ = world.told();
        world
    }

    /// How many updates are told until there is nothing more.
    fn told(&mut self) -> usize {
        let items = core::iter::from_fn(|| match next(&mut self.feed, &self.view) {
            FeedItem::Nothing => None,
            item => Some(item),
        });
        items.filter(|item| matches!(item, FeedItem::Message(_) | FeedItem::Stream(_))).count()
    }

    /// What the dashboard looks at, and how much it is told, when this changes and it is woken.
    fn change(&mut self, change: Change) -> (u64, usize) {
        let _ = take_steps();
        let _ = self.view.apply(alloc::vec![change]);
        self.feed.scan_agents(&self.view, WallTime::default());
        let told = self.told();
        (take_steps(), told)
    }

    fn writes(&mut self, command: &str) -> Change {
        let offset = ByteOffset(self.written * 10);
        self.written += 1;
        Change::Output(
            CommandId::new(command),
            LogRecord {
                incarnation: Incarnation(1),
                sequence: ChunkSequence(self.written),
                stream: Stream::Stdout,
                offset,
                body: StoredBody::Chunk(Bytes::from_static(b"0123456789")),
                at: WallTime::default(),
            },
        )
    }

    /// What happens, by name, with what is looked at and how much is told.
    fn changes(&mut self) -> Vec<(&'static str, u64, usize)> {
        let mut seen = Vec::new();
        let mut note = |name, (steps, told)| seen.push((name, steps, told));
        let output = self.writes("mine");
        note("output", self.change(output));
        let stored = (Incarnation(1), ChunkSequence(1));
        note("stored", self.change(Change::Stored(CommandId::new("mine"), stored)));
        note("heard", self.change(Change::Heard(agent_of(0), WallTime::default())));
        let terminal = CommandId::new("terminal-1");
        let (incarnation, offset) = (Incarnation(1), ByteOffset(0));
        let record = SizeRecord { incarnation, offset, size: TerminalSize::DEFAULT };
        note("size", self.change(Change::TerminalSize(terminal.clone(), record)));
        let keyboard = KeyboardView { hold: None, because: String::new() };
        note("keyboard", self.change(Change::Keyboard(terminal, keyboard)));
        note("again", self.change(Change::CommandAgain(CommandId::new("mine"))));
        note("removed", self.change(Change::CommandRemoved(CommandId::new("open-3"))));

        let _ = take_steps();
        let command = Subscription {
            kind: SubscriptionKind::Command,
            id: Some("mine".to_owned()),
            all: false,
            replay: None,
            view: None,
        };
        self.feed.subscribe(&self.view, None, command.clone(), WallTime::default());
        let told = self.told();
        note("subscribe", (take_steps(), told));
        self.feed.unsubscribe(None, &command);
        let told = self.told();
        note("unsubscribe", (take_steps(), told));
        seen
    }
}

fn compare(watches: &Subscriptions) {
    let few = World::new(FEW, watches.clone()).changes();
    let many = World::new(MANY, watches.clone()).changes();
    let mut wrong = Vec::new();
    for ((name, few, told), (same, many, told_too)) in few.into_iter().zip(many) {
        assert_eq!((name, told), (same, told_too));
        if many > few + MORE_AT_MOST {
            wrong.push(alloc::format!("{name}: {few} steps with {FEW}, {many} with {MANY}"));
        }
    }
    assert!(wrong.is_empty(), "for a dashboard with {watches:?}: {wrong:#?}");
}

#[test]
fn a_wake_up_looks_at_no_more_the_more_there_is() {
    let all = Subscriptions {
        agents: Selection::All,
        commands: Selection::All,
        terminals: true,
        traces: false,
    };
    compare(&all);
    let one = Selection::Only(["mine".to_owned()].into());
    let of_one = Subscriptions { agents: Selection::None, commands: one, ..all };
    compare(&of_one);
}

/// One that watches everything is told of output, and of each agent that changes.
#[test]
fn what_happens_is_told() {
    let all = Subscriptions {
        agents: Selection::All,
        commands: Selection::All,
        terminals: true,
        traces: false,
    };
    let mut world = World::new(FEW, all);
    let output = world.writes("mine");
    assert_eq!(world.change(output).1, 1);
    is(&mut world.view, 3, 2, PresenceStatus::Stale);
    world.feed.scan_agents(&world.view, WallTime::default());
    assert_eq!(world.told(), 1);
    world.feed.scan_agents(&world.view, WallTime::default());
    assert_eq!(world.told(), 0);
    world.feed.refresh();
    world.feed.scan_agents(&world.view, WallTime::default());
    assert_eq!(world.told(), FEW + 1, "the status of each again");
}
