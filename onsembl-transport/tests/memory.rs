//! Memory links: as bounded and as honest as sockets, with a cable to cut and to freeze.
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::session::DialFailure;
use onsembl_transport::memory::{self, Direction};
use onsembl_transport::{Dialer, Frame, Link, Listener, Received};
use std::time::Duration;
use support::{end, text};
use tokio::time::timeout;

const MOMENT: Duration = Duration::from_millis(10);

async fn send(link: &mut Link, text: &str) {
    link.writer.send(Frame::Text(text.to_owned())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn frames_pings_and_closes_go_both_ways() {
    let (a, b) = memory::pair(4);
    let mut links = [a, b];
    for _ in 0..2 {
        let [from, to] = &mut links;
        send(from, "hello").await;
        assert_eq!(text(to).await, "hello");
        from.writer.send(Frame::Ping).await.unwrap();
        assert_eq!(to.reader.receive().await, Ok(Received::Control));
        assert_eq!(from.reader.receive().await, Ok(Received::Control));
        links.reverse();
    }
    for &cause in CloseCause::ALL {
        let (mut a, mut b) = memory::pair(2);
        send(&mut a, "before").await;
        a.writer.close(cause).await.unwrap();
        assert!(a.writer.send(Frame::Ping).await.is_err());
        assert_eq!(end(&mut b).await.reason, CloseReason::peer(Some(cause.code())));
        assert_eq!(end(&mut a).await.reason, CloseReason::local(cause));
        assert_eq!(end(&mut a).await.reason, CloseReason::local(cause), "again, when asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_lane_makes_the_sender_wait_until_somebody_reads() {
    let (mut a, mut b) = memory::pair(2);
    send(&mut a, "1").await;
    send(&mut a, "2").await;
    assert!(timeout(MOMENT, a.writer.send(Frame::Ping)).await.is_err());
    let third = async { send(&mut a, "3").await };
    let ((), first) = tokio::join!(third, text(&mut b));
    assert_eq!(first, "1");
    assert_eq!((text(&mut b).await, text(&mut b).await), ("2".into(), "3".into()));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_dropped_is_an_end_of_stream_behind_what_was_sent() {
    let (mut a, mut b) = memory::pair(2);
    send(&mut a, "last words").await;
    drop(a);
    assert_eq!(text(&mut b).await, "last words");
    assert_eq!(end(&mut b).await.reason, CloseReason::broken(Breakage::EndOfStream));
    let refused = b.writer.send(Frame::Ping).await.unwrap_err();
    assert_eq!(refused.reason, CloseReason::broken(Breakage::Reset));
}

#[tokio::test(start_paused = true)]
async fn a_cut_cable_resets_both_ends_even_while_they_wait() {
    let (mut a, mut b, cable) = memory::pair_with_cable(1);
    send(&mut a, "lost").await;
    let cut = async {
        tokio::time::sleep(MOMENT).await;
        cable.cut();
    };
    let (sent, received, ()) = tokio::join!(a.writer.send(Frame::Ping), a.reader.receive(), cut);
    let reset = CloseReason::broken(Breakage::Reset);
    assert_eq!(sent.unwrap_err().reason, reset);
    assert_eq!(received.unwrap_err().reason, reset);
    assert_eq!(b.reader.receive().await.unwrap_err().reason, reset);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_direction_holds_everything_back_until_it_thaws() {
    let (mut a, mut b, cable) = memory::pair_with_cable(1);
    cable.freeze(Direction::FirstToSecond);
    send(&mut a, "held back").await;
    assert_eq!(cable.on_the_way(Direction::FirstToSecond), 1);
    assert!(timeout(MOMENT, b.reader.receive()).await.is_err());
    assert!(timeout(MOMENT, a.writer.send(Frame::Ping)).await.is_err());
    send(&mut b, "the other way is free").await;
    assert_eq!(text(&mut a).await, "the other way is free");
    let thaw = async {
        tokio::time::sleep(MOMENT).await;
        cable.thaw();
    };
    let (got, ()) = tokio::join!(text(&mut b), thaw);
    assert_eq!(got, "held back");

    cable.freeze_both();
    drop(a);
    assert!(timeout(MOMENT, b.reader.receive()).await.is_err(), "the end cannot be seen either");
}

#[tokio::test(start_paused = true)]
async fn a_dialer_reaches_its_listener_unless_told_otherwise() {
    let (dialer, mut listener) = memory::network(4);
    let mut near = dialer.dial().await.unwrap();
    let mut far = listener.accept().await.unwrap();
    send(&mut near, "hello").await;
    assert_eq!(text(&mut far).await, "hello");
    dialer.cable().unwrap().cut();
    assert_eq!(end(&mut far).await.reason, CloseReason::broken(Breakage::Reset));

    dialer.refuse(Some(DialFailure::Forbidden));
    assert_eq!(dialer.dial().await.unwrap_err().failure, DialFailure::Forbidden);
    dialer.refuse(None);
    dialer.dial().await.unwrap();

    drop(listener);
    assert_eq!(dialer.dial().await.unwrap_err().failure, DialFailure::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn a_listener_without_dialers_says_so() {
    let (dialer, mut listener) = memory::network(1);
    drop(dialer);
    assert!(listener.accept().await.is_err());
}
