//! The pump: nothing waits for what it need not wait for, and every wait has an end.
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::LinkId;
use onsembl_transport::memory::{self, Cable, Direction};
use onsembl_transport::pump::{self, Closed, QueueFull, TryDataError};
use onsembl_transport::{
    Frame, Link, LinkEnd, LinkEvent, LinkHandle, LinkInput, LinkLimits, PumpConfig, Received,
};
use std::time::Duration;
use support::{TEXT, end, raw_client, soon, text};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const ID: LinkId = LinkId(7);
const CONFIG: PumpConfig = PumpConfig::DEFAULT;

fn frame(text: &str) -> Frame {
    Frame::Text(text.to_owned())
}

/// A pumped link, its bare far end, and the cable between them. The lanes hold `capacity` frames.
struct Bench {
    handle: LinkHandle,
    events: mpsc::Receiver<LinkEvent>,
    far: Link,
    cable: Cable,
}

fn bench(capacity: usize, config: PumpConfig, event_capacity: usize) -> Bench {
    let (near, far, cable) = memory::pair_with_cable(capacity);
    let (sender, events) = mpsc::channel(event_capacity);
    Bench { handle: pump::spawn(near, ID, config, sender), events, far, cable }
}

impl Bench {
    /// Expects that the link ends, with no event left behind that.
    async fn ended(&mut self) -> LinkEnd {
        loop {
            let event = self.events.recv().await.expect("events ended without an end of the link");
            assert_eq!(event.link, ID);
            if let LinkInput::Ended(end) = event.what {
                assert!(self.events.recv().await.is_none(), "something came after the end");
                return end;
            }
        }
    }
}

/// Lets the pump do all that it can do now. Virtual time moves only when nothing else can.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn frames_go_out_and_events_come_in_with_the_id_of_the_link() {
    let mut b = bench(8, CONFIG, 8);
    b.handle.data(frame("data")).await.unwrap();
    assert_eq!(text(&mut b.far).await, "data");
    b.handle.control(Frame::Ping).unwrap();
    assert_eq!(b.far.reader.receive().await, Ok(Received::Control));
    b.far.writer.send(frame("hello")).await.unwrap();
    let events = [b.events.recv().await.unwrap(), b.events.recv().await.unwrap()];
    let received = |what| LinkEvent::new(ID, LinkInput::Received(what));
    assert_eq!(events, [received(Received::Control), received(Received::Text("hello".into()))]);
}

#[tokio::test(start_paused = true)]
async fn control_overtakes_all_data_that_is_still_queued() {
    let mut b = bench(1, CONFIG, 8);
    b.cable.freeze(Direction::FirstToSecond);
    for n in 0..4 {
        b.handle.data(frame(&format!("data {n}"))).await.unwrap();
    }
    settle().await;
    for n in 0..2 {
        b.handle.control(frame(&format!("control {n}"))).unwrap();
    }
    b.cable.thaw();
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(text(&mut b.far).await);
    }
    // One frame was on the way and one in the pump's hand when the control frames came.
    assert_eq!(order, ["data 0", "data 1", "control 0", "control 1", "data 2", "data 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_given_up_when_the_write_time_is_over() {
    let mut b = bench(1, CONFIG, 8);
    b.cable.freeze(Direction::FirstToSecond);
    let began = Instant::now();
    for _ in 0..3 {
        b.handle.data(frame("x")).await.unwrap();
    }
    assert_eq!(b.ended().await.reason, CloseReason::broken(Breakage::WriteStalled));
    let took = began.elapsed();
    assert!(
        (CONFIG.write_timeout..CONFIG.write_timeout + Duration::from_millis(10)).contains(&took)
    );
    assert_eq!(b.handle.data(frame("x")).await, Err(Closed));
    assert_eq!(b.handle.try_data(frame("x")), Err(TryDataError::Closed));
    assert_eq!(b.handle.control(Frame::Ping), Ok(()));
}

#[tokio::test]
async fn a_real_socket_whose_peer_never_reads_is_given_up_too() {
    let (raw, link) = raw_client(LinkLimits::DEFAULT).await;
    let (sender, mut events) = mpsc::channel(8);
    let config = {
        let mut it = CONFIG;
        it.write_timeout = Duration::from_millis(300);
        it
    };
    let handle = pump::spawn(link, ID, config, sender);
    let flood = async { while handle.data(frame(&"x".repeat(1 << 20))).await.is_ok() {} };
    soon(flood).await;
    let event = soon(events.recv()).await.unwrap();
    let stalled = LinkEnd::broken(Breakage::WriteStalled, "");
    assert_eq!(event, LinkEvent::new(ID, LinkInput::Ended(stalled)));
    drop(raw);
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_while_writing_is_stuck() {
    let mut b = bench(1, CONFIG, 8);
    b.cable.freeze(Direction::FirstToSecond);
    for _ in 0..3 {
        b.handle.data(frame("x")).await.unwrap();
    }
    settle().await;
    b.far.writer.send(frame("still heard")).await.unwrap();
    let event = timeout(Duration::from_secs(1), b.events.recv()).await.unwrap().unwrap();
    assert_eq!(event.what, LinkInput::Received(Received::Text("still heard".into())));
}

#[tokio::test(start_paused = true)]
async fn writing_goes_on_while_nobody_takes_events_and_the_peer_feels_it() {
    let mut b = bench(2, CONFIG, 1);
    let mut sent = 0;
    while timeout(Duration::from_secs(1), b.far.writer.send(frame(&sent.to_string()))).await.is_ok()
    {
        sent += 1;
        assert!(sent < 100, "no back-pressure");
    }
    assert_eq!(sent, 4, "one event, one in the pump's hand, two in the lane");
    b.handle.control(frame("out")).unwrap();
    assert_eq!(text(&mut b.far).await, "out");
    for n in 0..sent {
        let event = b.events.recv().await.unwrap();
        assert_eq!(event.what, LinkInput::Received(Received::Text(n.to_string())));
    }
}

#[tokio::test(start_paused = true)]
async fn close_and_abort_are_obeyed_while_nobody_takes_events() {
    for abort in [false, true] {
        let mut b = bench(4, CONFIG, 1);
        for _ in 0..4 {
            b.far.writer.send(frame("x")).await.unwrap();
        }
        settle().await;
        match abort {
            false => b.handle.close(CloseCause::Superseded),
            true => b.handle.abort(CloseCause::Superseded),
        }
        let seen = end(&mut b.far).await;
        assert_eq!(seen.reason, CloseReason::peer(Some(CloseCause::Superseded.code())));
        settle().await;
        assert!(!b.cable.is_whole(), "the connection must not wait for the events to be taken");
        assert_eq!(b.ended().await.reason, CloseReason::local(CloseCause::Superseded));
    }
}

#[tokio::test(start_paused = true)]
async fn data_waits_for_room_and_try_data_gives_the_frame_back() {
    let config = {
        let mut it = CONFIG;
        it.data_queue = 2;
        it
    };
    let mut b = bench(1, config, 8);
    b.cable.freeze(Direction::FirstToSecond);
    for _ in 0..4 {
        b.handle.data(frame("x")).await.unwrap(); // lane, hand, queue, queue
        settle().await;
    }
    let again = Err(TryDataError::Full(frame("y")));
    assert_eq!(b.handle.try_data(frame("y")), again);
    assert!(timeout(Duration::from_secs(1), b.handle.data(frame("y"))).await.is_err());
    b.cable.thaw();
    let ((), first) =
        tokio::join!(async { b.handle.data(frame("y")).await.unwrap() }, text(&mut b.far));
    assert_eq!(first, "x");
}

#[tokio::test(start_paused = true)]
async fn a_full_control_queue_ends_the_link_as_not_reading() {
    let config = {
        let mut it = CONFIG;
        it.control_queue = 4;
        it
    };
    let mut b = bench(1, config, 8);
    b.cable.freeze(Direction::FirstToSecond);
    let began = Instant::now();
    for _ in 0..6 {
        b.handle.control(Frame::Ping).unwrap();
        settle().await;
    }
    assert_eq!(b.handle.control(Frame::Ping), Err(QueueFull));
    assert_eq!(b.ended().await.reason, CloseReason::local(CloseCause::NotReading));
    assert!(began.elapsed() < Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn a_close_sends_control_first_drops_data_and_waits_for_the_answer() {
    let mut b = bench(1, CONFIG, 8);
    b.cable.freeze(Direction::FirstToSecond);
    for n in 0..4 {
        b.handle.data(frame(&format!("data {n}"))).await.unwrap();
    }
    settle().await;
    b.handle.control(frame("goodbye")).unwrap();
    b.handle.close(CloseCause::AgentStopped);
    b.handle.close(CloseCause::Internal); // the first word counts
    settle().await;
    b.cable.thaw();
    assert_eq!(text(&mut b.far).await, "data 0");
    assert_eq!(text(&mut b.far).await, "data 1", "it was in the pump's hand");
    assert_eq!(text(&mut b.far).await, "goodbye");
    let seen = b.far.reader.receive().await.unwrap_err();
    assert_eq!(seen.reason, CloseReason::peer(Some(CloseCause::AgentStopped.code())));
    assert_eq!(b.ended().await.reason, CloseReason::local(CloseCause::AgentStopped));
    assert_eq!(b.handle.data(frame("late")).await, Err(Closed));
}

/// What a peer still sends while its link is being closed may be dropped, but not what is in the middle:
/// a reader that counts bytes would find a hole in a stream of output.
#[tokio::test(start_paused = true)]
async fn what_is_passed_on_of_a_link_that_closes_has_no_hole() {
    const SENT: usize = 40;
    for before in 0..SENT {
        let mut b = bench(SENT, CONFIG, SENT + 1);
        for n in 0..SENT {
            if n == before {
                b.handle.close(CloseCause::GoingAway);
            }
            b.far.writer.send(frame(&n.to_string())).await.unwrap();
            if n % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(b.far);
        let mut passed_on = Vec::new();
        while let Some(event) = b.events.recv().await {
            if let LinkInput::Received(Received::Text(text)) = event.what {
                passed_on.push(text);
            }
        }
        let prefix: Vec<String> = (0..passed_on.len()).map(|n| n.to_string()).collect();
        assert_eq!(passed_on, prefix, "closed before {before}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_not_answered_has_a_deadline_whatever_is_stuck() {
    // (is the way out frozen, does data wait)
    for (frozen, waiting) in [(false, false), (true, false), (true, true)] {
        let mut b = bench(1, CONFIG, 8);
        if frozen {
            b.cable.freeze(Direction::FirstToSecond);
        }
        if waiting {
            for _ in 0..5 {
                b.handle.data(frame("x")).await.unwrap();
            }
        }
        settle().await;
        let began = Instant::now();
        b.handle.close(CloseCause::GoingAway);
        let end = b.ended().await;
        assert_eq!(end.reason, CloseReason::local(CloseCause::GoingAway));
        assert_eq!(began.elapsed(), CONFIG.close_timeout, "frozen {frozen}, waiting {waiting}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_over_in_a_moment_even_if_nothing_can_be_written_and_overrules_a_close() {
    for stuck in [false, true] {
        let mut b = bench(1, CONFIG, 8);
        b.cable.freeze(Direction::FirstToSecond);
        if stuck {
            for _ in 0..5 {
                b.handle.data(frame("x")).await.unwrap();
            }
            settle().await;
            b.handle.close(CloseCause::GoingAway);
        }
        settle().await;
        let began = Instant::now();
        b.handle.abort(CloseCause::Silent);
        assert_eq!(b.ended().await.reason, CloseReason::local(CloseCause::Silent));
        let patience = Duration::from_millis(if stuck { 250 } else { 0 });
        assert_eq!(began.elapsed(), patience);
        b.cable.thaw();
        let seen = end(&mut b.far).await;
        let broken = CloseReason::broken(Breakage::EndOfStream);
        let shown = CloseReason::peer(Some(CloseCause::Silent.code()));
        assert_eq!(seen.reason, if stuck { broken } else { shown });
    }
}

#[tokio::test]
async fn an_abort_of_a_real_socket_that_is_stuck_is_over_in_a_moment() {
    let (raw, link) = raw_client(LinkLimits::DEFAULT).await;
    let (sender, mut events) = mpsc::channel(8);
    let handle = pump::spawn(link, ID, CONFIG, sender);
    let big = "x".repeat(1 << 20);
    // Until the queue stays full: then the socket takes nothing any more.
    while timeout(Duration::from_millis(200), handle.data(frame(&big))).await.is_ok() {}
    let began = std::time::Instant::now();
    handle.abort(CloseCause::Silent);
    let event = soon(events.recv()).await.unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
    let LinkInput::Ended(end) = event.what else { panic!("{event:?}") };
    assert_eq!(end.reason, CloseReason::local(CloseCause::Silent));
    drop(raw);
}

#[tokio::test(start_paused = true)]
async fn the_end_tells_who_ended_it_and_nothing_before_it_is_lost() {
    let mut b = bench(8, CONFIG, 1);
    for n in 0..5 {
        b.far.writer.send(frame(&n.to_string())).await.unwrap();
    }
    b.far.writer.close(CloseCause::Replaced).await.unwrap();
    settle().await;
    for n in 0..5 {
        let event = b.events.recv().await.unwrap();
        assert_eq!(event.what, LinkInput::Received(Received::Text(n.to_string())));
    }
    assert_eq!(b.ended().await.reason, CloseReason::peer(Some(CloseCause::Replaced.code())));

    let mut b = bench(8, CONFIG, 8);
    b.cable.cut();
    assert_eq!(b.ended().await.reason, CloseReason::broken(Breakage::Reset));

    let mut b = bench(8, CONFIG, 8);
    drop(std::mem::replace(&mut b.far, memory::pair(1).0));
    assert_eq!(b.ended().await.reason, CloseReason::broken(Breakage::EndOfStream));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_because_the_peer_has_closed_reports_the_peers_reason() {
    let mut b = bench(8, CONFIG, 8);
    b.cable.freeze(Direction::SecondToFirst);
    b.far.writer.close(CloseCause::Replaced).await.unwrap();
    drop(std::mem::replace(&mut b.far, memory::pair(1).0));
    b.handle.data(frame("into the void")).await.unwrap(); // fails: the other end is gone
    settle().await;
    b.cable.thaw(); // only now can the close frame be read
    assert_eq!(b.ended().await.reason, CloseReason::peer(Some(CloseCause::Replaced.code())));

    let mut b = bench(8, CONFIG, 8);
    b.cable.freeze(Direction::SecondToFirst);
    drop(std::mem::replace(&mut b.far, memory::pair(1).0));
    b.handle.data(frame("into the void")).await.unwrap();
    let began = Instant::now();
    assert_eq!(b.ended().await.reason, CloseReason::broken(Breakage::Reset));
    assert_eq!(
        began.elapsed(),
        CONFIG.close_timeout,
        "it looked for a close frame, but not for ever"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_dropped_closes_as_going_away() {
    let Bench { handle, mut events, mut far, cable: _ } = bench(8, CONFIG, 8);
    drop(handle);
    assert_eq!(end(&mut far).await.reason, CloseReason::peer(Some(CloseCause::GoingAway.code())));
    let event = events.recv().await.unwrap();
    let LinkInput::Ended(end) = event.what else { panic!("{event:?}") };
    assert_eq!(end.reason, CloseReason::local(CloseCause::GoingAway));
}

#[tokio::test(start_paused = true)]
async fn when_nobody_takes_events_any_more_the_link_is_closed() {
    let Bench { handle, events, mut far, cable: _ } = bench(8, CONFIG, 8);
    drop(events);
    assert_eq!(end(&mut far).await.reason, CloseReason::peer(Some(CloseCause::GoingAway.code())));
    settle().await;
    assert_eq!(handle.data(frame("x")).await, Err(Closed));
}

#[tokio::test]
async fn a_message_of_ours_that_is_too_large_is_left_out_and_the_link_stays() {
    let limits = LinkLimits::DEFAULT.with_message_bytes(100);
    let (mut raw, link) = raw_client(limits).await;
    let (sender, _events) = mpsc::channel(8);
    let handle = pump::spawn(link, ID, CONFIG, sender);
    handle.data(frame(&"x".repeat(101))).await.unwrap();
    handle.data(frame("fits")).await.unwrap();
    assert_eq!(soon(raw.next()).await.1, b"fits");
}

#[tokio::test]
async fn many_small_frames_arrive_in_order_over_a_real_socket() {
    let (mut raw, link) = raw_client(LinkLimits::DEFAULT).await;
    let (sender, _events) = mpsc::channel(8);
    let handle = pump::spawn(link, ID, CONFIG, sender);
    let sending = async {
        for n in 0..20_000 {
            handle.data(frame(&n.to_string())).await.unwrap();
        }
    };
    let receiving = async {
        for n in 0..20_000 {
            assert_eq!(raw.next().await.1, n.to_string().into_bytes());
        }
    };
    soon(async { tokio::join!(sending, receiving) }).await;
}

/// A task may do so much at once, and a peer that always has more would have it do nothing but read.
#[tokio::test]
async fn a_peer_that_never_stops_sending_is_written_to_and_closed_in_time() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (raw, link) = raw_client(LinkLimits::DEFAULT).await;
    let bytes = raw.frame(TEXT, b"x").repeat(1000);
    let (mut far, mut flood) = raw.stream.into_split();
    let flooding = tokio::spawn(async move { while flood.write_all(&bytes).await.is_ok() {} });
    let (sender, mut events) = mpsc::channel(8);
    let handle = pump::spawn(link, ID, CONFIG, sender);
    let ended = tokio::spawn(async move {
        loop {
            if let LinkInput::Ended(end) = events.recv().await.expect("the end comes first").what {
                return end;
            }
        }
    });
    sleep(Duration::from_millis(50)).await;
    handle.control(frame("out")).unwrap();
    let mut read = [0; 5];
    soon(far.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"\x81\x03out");
    let began = std::time::Instant::now();
    handle.close(CloseCause::AgentStopped);
    let end = soon(ended).await.unwrap();
    assert_eq!(end.reason, CloseReason::local(CloseCause::AgentStopped));
    assert!(began.elapsed() < CONFIG.close_timeout + Duration::from_secs(2));
    flooding.abort();
}
