//! One attachment in virtual time.

use super::*;
use crate::id::{ByteOffset, HoldId, Incarnation, InputSequence};
use crate::terminal::TakeForce;
use crate::terminal::attach::SaidAbout;
use alloc::vec;
use alloc::vec::Vec;

fn ms(n: u64) -> Timestamp {
    Timestamp::ORIGIN.saturating_add(Duration::from_millis(n))
}

fn at(offset: u64) -> TerminalPosition {
    TerminalPosition { incarnation: Incarnation(1), offset: ByteOffset(offset) }
}

fn size(columns: u64) -> TerminalSize {
    TerminalSize::new(columns, 24).unwrap()
}

fn screen(offset: u64) -> Drawing {
    Drawing { at: Some(at(offset)), size: size(80), bytes: Bytes::from_static(b"screen") }
}

fn output(offset: u64, bytes: usize) -> AttachEvent {
    AttachEvent::Output { at: at(offset), bytes: vec![b'x'; bytes].into() }
}

struct Viewer {
    attach: Attach,
    now: u64,
    unshown: usize,
}

impl Viewer {
    fn new(wish: Wish) -> Self {
        let config = AttachConfig {
            wish,
            detach: DetachKey::DEFAULT,
            sizing: Sizing::Follow,
            here: Some(size(100)),
        };
        Self { attach: Attach::new(config, screen(10), ms(0)), now: 0, unshown: 0 }
    }

    /// In use, over a link to a server of this version.
    fn looking(wish: Wish) -> Self {
        let mut viewer = Self::new(wish);
        let _ = viewer.does();
        let _ = viewer.on(AttachEvent::Greeted { typing: true, live: true });
        let _ = viewer.on(AttachEvent::Watching);
        viewer
    }

    fn typing() -> Self {
        let mut viewer = Self::looking(Wish::Type);
        let _ = viewer.on(AttachEvent::Keyboard(said(Some("h"), SaidAbout::Wish)));
        viewer
    }

    fn does(&mut self) -> Vec<AttachAction> {
        core::iter::from_fn(|| self.attach.poll_action()).collect()
    }

    fn on(&mut self, event: AttachEvent) -> Vec<AttachAction> {
        self.attach.handle(event, self.unshown, ms(self.now));
        self.does()
    }

    fn wait(&mut self, millis: u64) -> Vec<AttachAction> {
        self.now += millis;
        self.on(AttachEvent::Wake)
    }
}

fn said(holder: Option<&str>, about: SaidAbout) -> KeyboardSaid {
    KeyboardSaid {
        about,
        holder: holder.map(HoldId::new),
        name: "ann".to_owned(),
        taken: InputSequence(0),
        because: String::new(),
    }
}

fn notices(actions: &[AttachAction]) -> Vec<&str> {
    let text = |action: &'_ AttachAction| match action {
        AttachAction::Notice(text) => Some(text.clone()),
        _ => None,
    };
    actions
        .iter()
        .filter(|action| text(action).is_some())
        .map(|action| match action {
            AttachAction::Notice(text) => text.as_str(),
            _ => "",
        })
        .collect()
}

#[test]
fn it_begins_with_the_screen_and_shows_each_byte_once() {
    let mut viewer = Viewer::new(Wish::Look);
    let begun = viewer.does();
    assert_eq!(
        begun[..2],
        [AttachAction::Draw(Bytes::from_static(b"screen")), AttachAction::Watch(Some(at(10)))]
    );
    assert!(notices(&begun)[0].contains("80x24"), "{begun:?}");
    assert!(viewer.on(AttachEvent::Greeted { typing: true, live: true }).is_empty());
    assert!(viewer.on(AttachEvent::Watching).is_empty());
    let shown = viewer.on(AttachEvent::Output { at: at(8), bytes: Bytes::from_static(b"abcd") });
    assert_eq!(shown, [AttachAction::Show(Bytes::from_static(b"cd"))]);
    assert!(viewer.on(output(8, 4)).is_empty(), "known");
}

#[test]
fn the_server_is_told_what_is_shown_and_not_what_waits_to_be() {
    let mut viewer = Viewer::looking(Wish::Look);
    let told = |actions: Vec<AttachAction>| {
        actions.into_iter().find_map(|action| match action {
            AttachAction::Taken(position) => Some(position.offset.0),
            _ => None,
        })
    };
    assert_eq!(told(viewer.on(output(10, 4096))), None);
    viewer.unshown = 4096;
    assert_eq!(told(viewer.on(output(4106, 8192))), None, "nothing of it is shown");
    viewer.unshown = 0;
    assert_eq!(told(viewer.wait(1)), Some(10 + 4096 + 8192));
    assert_eq!(told(viewer.wait(1)), None, "once");
    // A server that does not know of it is told nothing.
    let _ = viewer.on(AttachEvent::Greeted { typing: true, live: false });
    assert_eq!(told(viewer.on(output(10 + 4096 + 8192, 100_000))), None);
}

#[test]
fn one_that_is_far_behind_is_shown_the_present_and_told_what_was_skipped() {
    let mut viewer = Viewer::looking(Wish::Look);
    assert!(viewer.on(AttachEvent::Behind).is_empty());
    assert!(viewer.on(output(10, 5)).is_empty(), "what was on its way is not shown");
    assert_eq!(viewer.attach.deadline(), Deadline::At(ms(100)));
    assert_eq!(viewer.wait(100), [AttachAction::Fetch]);
    let drawn = viewer.on(AttachEvent::Fetched(screen(1_000_010)));
    let [AttachAction::Draw(_), AttachAction::Notice(text), AttachAction::Watch(from)] =
        drawn.as_slice()
    else {
        panic!("{drawn:?}")
    };
    assert!(text.starts_with("1000000 bytes were skipped"), "{text}");
    assert_eq!(*from, Some(at(1_000_010)));
    let _ = viewer.on(AttachEvent::Watching);
    assert_eq!(viewer.on(output(1_000_010, 1)), [AttachAction::Show(Bytes::from_static(b"x"))]);
    // The notice goes with a fresh screen.
    assert_eq!(viewer.wait(4000), [AttachAction::Fetch]);
    // One that cannot be had is asked for again.
    assert!(viewer.on(AttachEvent::NotFetched).is_empty());
    assert!(viewer.wait(999).is_empty());
    assert_eq!(viewer.wait(1), [AttachAction::Fetch]);
}

#[test]
fn a_terminal_that_shows_slowly_gets_a_screen_when_it_has_shown_what_it_got() {
    let mut viewer = Viewer::looking(Wish::Look);
    let (mut offset, mut shown) = (10, Vec::new());
    for _ in 0..6 {
        shown = viewer.on(output(offset, 50_000));
        viewer.unshown += 50_000;
        offset += 50_000;
    }
    assert!(shown.contains(&AttachAction::Unwatch), "{shown:?}");
    assert!(viewer.wait(500).is_empty(), "it would be drawn behind what waits");
    assert_eq!(viewer.attach.deadline(), Deadline::At(ms(4000)), "only the first notice");
    viewer.unshown = 0;
    let then = viewer.wait(1);
    assert!(then.contains(&AttachAction::Fetch), "{then:?}");
}

#[test]
fn after_a_lost_link_it_goes_on_where_it_was_or_with_a_screen() {
    for (missed, draws) in [(1000, false), (BEHIND + 1, true)] {
        let mut viewer = Viewer::looking(Wish::Look);
        let lost = viewer.on(AttachEvent::Lost("gone".to_owned()));
        assert!(notices(&lost)[0].contains("(gone)"), "{lost:?}");
        assert!(viewer.wait(60_000).is_empty(), "the notice stays");
        let back = viewer.on(AttachEvent::Back);
        assert!(back.contains(&AttachAction::Fetch), "{back:?}");
        let _ = viewer.on(AttachEvent::Greeted { typing: true, live: true });
        let then = viewer.on(AttachEvent::Fetched(screen(10 + missed)));
        assert_eq!(then.iter().any(|action| matches!(action, AttachAction::Draw(_))), draws);
        let from = if draws { 10 + missed } else { 10 };
        assert!(then.contains(&AttachAction::Watch(Some(at(from)))), "{then:?}");
    }
}

#[test]
fn a_screen_that_was_under_way_when_the_link_was_lost_is_not_drawn() {
    let mut viewer = Viewer::looking(Wish::Look);
    assert_eq!(viewer.on(AttachEvent::Continued), [AttachAction::Fetch]);
    let lost = viewer.on(AttachEvent::Lost("gone".to_owned()));
    assert!(lost.contains(&AttachAction::DropFetch), "{lost:?}");
    assert!(viewer.on(AttachEvent::Fetched(screen(99))).is_empty());
}

#[test]
fn keys_are_typed_and_the_one_that_detaches_leaves_behind_what_was_typed_before() {
    let mut viewer = Viewer::typing();
    let typed = viewer.on(AttachEvent::Keys(Bytes::from_static(b"ls")));
    let [AttachAction::Type(TypistSays::Input { bytes, .. })] = typed.as_slice() else {
        panic!("{typed:?}")
    };
    assert_eq!(bytes.as_ref(), b"ls");
    let left = viewer.on(AttachEvent::Keys(Bytes::from_static(b"x\x1dy")));
    let [
        AttachAction::Type(TypistSays::Input { bytes, .. }),
        AttachAction::Type(TypistSays::Release(_)),
        AttachAction::Leave(Departure::Detached),
    ] = left.as_slice()
    else {
        panic!("{left:?}")
    };
    assert_eq!(bytes.as_ref(), b"x");
}

#[test]
fn a_key_that_may_begin_the_one_that_detaches_is_typed_a_moment_later() {
    let mut viewer = Viewer::typing();
    assert!(viewer.on(AttachEvent::Keys(Bytes::from_static(b"\x1b["))).is_empty());
    assert_eq!(viewer.attach.deadline(), Deadline::At(ms(50)));
    assert!(matches!(viewer.wait(50).as_slice(), [AttachAction::Type(TypistSays::Input { .. })]));
}

#[test]
fn who_only_looks_leaves_by_ctrl_c_and_types_nothing() {
    let mut viewer = Viewer::looking(Wish::Look);
    let typed = viewer.on(AttachEvent::Keys(Bytes::from_static(b"q")));
    assert!(notices(&typed)[0].contains("ctrl-]"), "{typed:?}");
    let left = viewer.on(AttachEvent::Keys(Bytes::from_static(&[CTRL_C])));
    assert_eq!(left, [AttachAction::Leave(Departure::Detached)]);
    // Not while the link is lost: it may have been meant for the program.
    let mut viewer = Viewer::typing();
    let _ = viewer.on(AttachEvent::Lost("gone".to_owned()));
    let typed = viewer.on(AttachEvent::Keys(Bytes::from_static(&[CTRL_C])));
    assert!(!typed.iter().any(|action| matches!(action, AttachAction::Leave(_))), "{typed:?}");
}

#[test]
fn the_terminal_gets_the_size_of_who_types() {
    let mut viewer = Viewer::looking(Wish::Type);
    let held = viewer.on(AttachEvent::Keyboard(said(Some("h"), SaidAbout::Wish)));
    assert_eq!(held, [AttachAction::Resize(size(100))]);
    let resized = viewer.on(AttachEvent::Resized(Some(size(120))));
    assert_eq!(resized, [AttachAction::Resize(size(120)), AttachAction::Fetch]);
    // Said by the server, it is drawn again; and nobody who looks changes it.
    let mut viewer = Viewer::looking(Wish::Look);
    assert!(viewer.on(AttachEvent::Sized { at: at(10), size: size(90) }).is_empty());
    assert_eq!(viewer.wait(100), [AttachAction::Fetch]);
    assert!(
        !viewer
            .on(AttachEvent::Resized(Some(size(70))))
            .iter()
            .any(|action| matches!(action, AttachAction::Resize(_)))
    );
}

#[test]
fn it_is_over_with_the_terminal_with_the_person_and_with_the_process() {
    let ends = [
        (AttachEvent::Ended("exit code 0".to_owned()), Departure::Ended("exit code 0".to_owned())),
        (AttachEvent::NotWatching("gone".to_owned()), Departure::Ended("gone".to_owned())),
        (AttachEvent::Closed, Departure::Closed),
        (AttachEvent::Signal(15), Departure::Signal(15)),
    ];
    for (event, departure) in ends {
        let mut viewer = Viewer::typing();
        let left = viewer.on(event);
        let [AttachAction::Type(TypistSays::Release(_)), AttachAction::Leave(how)] =
            left.as_slice()
        else {
            panic!("{left:?}")
        };
        assert_eq!(*how, departure);
    }
}

#[test]
fn the_first_wish_goes_out_when_the_server_greets() {
    let mut viewer = Viewer::new(Wish::TakeOver);
    let _ = viewer.does();
    let asks = viewer.on(AttachEvent::Greeted { typing: true, live: true });
    assert_eq!(asks, [AttachAction::Type(TypistSays::Take(TakeForce::Over))]);
}
