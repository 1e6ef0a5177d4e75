//! Both halves of the rule for live viewers, the server's and that of who looks, over a link that cannot keep up (P-398).

use crate::id::{ByteOffset, Incarnation};
use crate::model::TerminalSize;
use crate::output::{LiveView, Mark, Turn};
use crate::terminal::attach::{
    Attach, AttachAction, AttachConfig, AttachEvent, DetachKey, Drawing, Sizing, TerminalPosition,
    Wish,
};
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

fn ms(n: u64) -> Timestamp {
    Timestamp::ORIGIN.saturating_add(Duration::from_millis(n))
}

fn mark(offset: u64) -> Mark {
    Mark { incarnation: Incarnation(1), offset: ByteOffset(offset) }
}

fn screen(offset: u64) -> Drawing {
    let at = TerminalPosition { incarnation: Incarnation(1), offset: ByteOffset(offset) };
    Drawing { at: Some(at), size: TerminalSize::DEFAULT, bytes: Bytes::from_static(b"screen") }
}

/// Who looks, and shows at once what comes.
struct Viewer {
    attach: Attach,
    now: u64,
}

impl Viewer {
    fn new() -> Self {
        let config = AttachConfig {
            wish: Wish::Look,
            detach: DetachKey::DEFAULT,
            sizing: Sizing::Keep,
            here: None,
        };
        let mut viewer = Self { attach: Attach::new(config, screen(10), ms(0)), now: 0 };
        for event in [AttachEvent::Greeted { typing: true, live: true }, AttachEvent::Watching] {
            let _ = viewer.on(event);
        }
        viewer
    }

    fn on(&mut self, event: AttachEvent) -> Vec<AttachAction> {
        self.attach.handle(event, 0, ms(self.now));
        core::iter::from_fn(|| self.attach.poll_action()).collect()
    }
}

fn output(offset: u64, bytes: usize) -> AttachEvent {
    let at = TerminalPosition { incarnation: Incarnation(1), offset: ByteOffset(offset) };
    AttachEvent::Output { at, bytes: vec![b'x'; bytes].into() }
}

/// The other half of the rule is the server's: a link of 20 KB/s to a program that writes 400 KB/s, through a path that
/// buffers as much as it gets.
#[test]
fn over_a_slow_link_what_is_seen_is_never_far_from_the_present() {
    const LINK: u64 = 20;
    const PROGRAM: u64 = 400;
    const BATCH: u64 = LiveView::BATCH as u64;
    let mut viewer = Viewer::new();
    let (mut written, mut sent) = (10, 10);
    let mut server = LiveView::from(Some(mark(10)));
    // What is on its way, and how much of its first part the link has carried.
    let mut wire: VecDeque<AttachEvent> = VecDeque::new();
    let (mut carried, mut shown, mut screens, mut most) = (0, 10, 0, 0);
    let mut fetched_at = None;
    for now in 0..60_000 {
        viewer.now = now;
        written += PROGRAM;
        match server.turn(Some(mark(written)), ms(now)) {
            Turn::Send if written - sent >= BATCH => {
                wire.push_back(output(sent, LiveView::BATCH));
                sent += BATCH;
                server.on_sent(mark(sent), BATCH);
            }
            Turn::Send | Turn::Wait => {}
            Turn::Jump(_) => wire.push_back(AttachEvent::Behind),
        }
        let mut actions = Vec::new();
        carried += LINK;
        while let Some(event) = wire.front() {
            let bytes = match event {
                AttachEvent::Output { bytes, .. } => bytes.len() as u64,
                _ => 100,
            };
            if carried < bytes {
                break;
            }
            carried -= bytes;
            actions.extend(wire.pop_front().map(|event| viewer.on(event)).into_iter().flatten());
        }
        if wire.is_empty() {
            carried = 0;
        }
        if fetched_at.take_if(|at| *at <= now).is_some() {
            actions.extend(viewer.on(AttachEvent::Fetched(screen(written))));
        }
        actions.extend(viewer.on(AttachEvent::Wake));
        for action in actions {
            match action {
                AttachAction::Show(bytes) => shown += bytes.len() as u64,
                AttachAction::Taken(TerminalPosition { incarnation, offset }) => {
                    server.on_taken(Mark { incarnation, offset });
                }
                AttachAction::Fetch => fetched_at = Some(now + 200),
                AttachAction::Draw(_) => screens += 1,
                AttachAction::Watch(Some(TerminalPosition { incarnation, offset })) => {
                    (sent, shown) = (offset.0, offset.0);
                    server = LiveView::from(Some(Mark { incarnation, offset }));
                    wire.push_back(AttachEvent::Watching);
                }
                AttachAction::Notice(_) => {}
                other => panic!("{other:?}"),
            }
        }
        most = most.max(written - shown);
    }
    // Half a second of what is on its way, and what is written while that and a screen come.
    let seconds = (LiveView::WINDOW + BATCH) / (LINK * 1000) + 2;
    assert!(most < LiveView::BEHIND + seconds * PROGRAM * 1000, "{most} bytes behind");
    assert!(screens > 5, "{screens} screens");
}
