//! Framed links: over pipes that pass one byte at a time, over TCP and over Unix sockets.
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::session::DialFailure;
use onsembl_transport::framed::{self, FramedDialer, FramedListener};
use onsembl_transport::{Dialer, Frame, Link, LinkLimits, Listener, Received};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

const LIMITS: LinkLimits = LinkLimits::DEFAULT;

fn over(stream: DuplexStream, limits: LinkLimits) -> Link {
    let (read, write) = split(stream);
    framed::link(read, write, "peer", limits)
}

/// Two links over a pipe that holds `bytes` bytes.
fn pair(bytes: usize) -> (Link, Link) {
    let (a, b) = duplex(bytes);
    (over(a, LIMITS), over(b, LIMITS))
}

async fn send(link: &mut Link, text: &str) {
    link.writer.send(Frame::Text(text.to_owned())).await.unwrap();
    link.writer.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_whole_however_the_bytes_are_split() {
    for pipe in [1, 2, 3, 7, 1 << 16] {
        let (mut a, mut b) = pair(pipe);
        for message in ["", "a", "grüße", &"x".repeat(5000)] {
            let ((), got) = tokio::join!(send(&mut a, message), text(&mut b));
            assert_eq!(got, message);
            let ((), got) = tokio::join!(send(&mut b, message), text(&mut a));
            assert_eq!(got, message);
        }
        a.writer.send(Frame::Ping).await.unwrap();
        let far_end = async {
            assert_eq!(b.reader.receive().await, Ok(Received::Control));
            b.reader.receive().await // the pong goes out byte by byte meanwhile
        };
        let near_end = async {
            a.writer.flush().await.unwrap();
            a.reader.receive().await
        };
        let pong = tokio::select! {
            pong = soon(near_end) => pong,
            other = far_end => panic!("pipe of {pipe}: {other:?}"),
        };
        assert_eq!(pong, Ok(Received::Control), "pipe of {pipe}");
        let (closed, at_a, at_b) =
            tokio::join!(b.writer.close(CloseCause::Replaced), end(&mut a), b.reader.receive());
        closed.unwrap();
        assert_eq!(at_a.reason, CloseReason::peer(Some(CloseCause::Replaced.code())));
        assert_eq!(at_a.detail, CloseCause::Replaced.text());
        assert_eq!(at_b.unwrap_err().reason, CloseReason::local(CloseCause::Replaced));
    }
}

#[tokio::test(start_paused = true)]
async fn the_bytes_on_the_wire_are_the_documented_ones() {
    let (near, mut far) = duplex(4096);
    let mut link = over(near, LIMITS);
    link.writer.send(Frame::Text("hi".into())).await.unwrap();
    link.writer.send(Frame::Ping).await.unwrap();
    link.writer.flush().await.unwrap();
    let mut bytes = [0; 12];
    far.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"\0\0\0\x03\x01hi\0\0\0\x01\x09");
    far.write_all(b"\0\0\0\x01\x09\0\0\0\x03\x01yo").await.unwrap();
    assert_eq!(link.reader.receive().await, Ok(Received::Control));
    assert_eq!(link.reader.receive().await, Ok(Received::Text("yo".into())));
    let mut pong = [0; 5];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\0\0\0\x01\x0a");
}

#[tokio::test(start_paused = true)]
async fn receiving_can_be_given_up_at_any_byte() {
    let (near, mut far) = duplex(4096);
    let mut link = over(near, LIMITS);
    let (last, first) = b"\0\0\0\x03\x01hi".split_last().unwrap();
    for byte in first {
        far.write_all(&[*byte]).await.unwrap();
        let wait = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(wait, link.reader.receive()).await.is_err());
    }
    far.write_all(&[*last]).await.unwrap();
    assert_eq!(link.reader.receive().await, Ok(Received::Text("hi".into())));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_rules_is_told_so_before_the_link_ends() {
    let limits = LIMITS.with_message_bytes(1000);
    let oversized = [&2_000_000u32.to_be_bytes()[..], &[1; 2_000_000]].concat();
    for (bytes, cause) in [
        (&oversized[..], CloseCause::TooBig),
        (b"GET / HTTP/1.1\r\n\r\n", CloseCause::TooBig),
        (b"\0\0\0\0", CloseCause::ProtocolError),
        (b"\0\0\0\x01\x03", CloseCause::ProtocolError),
        (b"\0\0\0\x02\x01\xff", CloseCause::InvalidText),
    ] {
        let (near, far) = duplex(64);
        let mut link = over(near, limits);
        let (mut read, mut write) = split(far);
        let peer = async {
            write.write_all(bytes).await.unwrap();
            let mut head = [0; 7];
            read.read_exact(&mut head).await.unwrap();
            head
        };
        let (end, head) = tokio::join!(end(&mut link), peer);
        assert_eq!(end.reason, CloseReason::local(cause));
        assert_eq!(head[4], 8);
        assert_eq!(u16::from_be_bytes([head[5], head[6]]), cause.code().0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_without_a_code_and_an_end_without_a_close() {
    for (bytes, reason) in [
        (&b"\0\0\0\x01\x08"[..], CloseReason::peer(None)),
        (b"", CloseReason::broken(Breakage::EndOfStream)),
        (b"\0\0\0\x05\x01h", CloseReason::broken(Breakage::EndOfStream)),
    ] {
        let (near, mut far) = duplex(64);
        let mut link = over(near, LIMITS);
        far.write_all(bytes).await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(end(&mut link).await.reason, reason);
        assert!(link.writer.send(Frame::Ping).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn pings_of_a_peer_that_reads_no_pongs_cost_one_pong() {
    let (near, far) = duplex(16);
    let mut link = over(near, LIMITS);
    let (mut read, mut write) = split(far);
    let pings = async {
        for _ in 0..10_000 {
            write.write_all(b"\0\0\0\x01\x09").await.unwrap();
        }
        write.write_all(b"\0\0\0\x02\x01x").await.unwrap();
    };
    let receive = async {
        for _ in 0..10_000 {
            assert_eq!(link.reader.receive().await, Ok(Received::Control));
        }
        assert_eq!(text(&mut link).await, "x");
    };
    tokio::join!(pings, receive);
    let reading = async {
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        all.len()
    };
    let ending = async {
        link.writer.close(CloseCause::GoingAway).await.unwrap();
        drop(link);
    };
    let (pongs, ()) = tokio::join!(reading, ending);
    assert!(pongs < 10_000, "{pongs} bytes were kept for a peer that did not read");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_answers_a_ping_does_not_take_the_wake_ups_of_a_blocked_writer() {
    let (near, mut far) = duplex(64);
    let Link { mut reader, mut writer, .. } = over(near, LIMITS);
    let writing = tokio::spawn(async move {
        for _ in 0..3 {
            writer.send(Frame::Text("x".repeat(10_000))).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer
    });
    tokio::task::yield_now().await; // the writer fills the pipe and is blocked
    let reading = tokio::spawn(async move {
        assert_eq!(reader.receive().await, Ok(Received::Control));
        reader.receive().await
    });
    far.write_all(b"\0\0\0\x01\x09").await.unwrap();
    tokio::task::yield_now().await; // the reader tries to answer, and is blocked too
    let mut all = vec![0; 3 * 10_005 + 5];
    soon(far.read_exact(&mut all)).await.unwrap();
    soon(writing).await.unwrap();
    reading.abort();
}

#[tokio::test]
async fn links_by_tcp_and_by_unix_socket() {
    let (tcp, address) = tcp_port().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let unix = tokio::net::UnixListener::bind(&path).unwrap();
    let ways = [
        (FramedDialer::tcp(address.to_string()), FramedListener::tcp(tcp, LIMITS)),
        (FramedDialer::unix(&path), FramedListener::unix(unix, LIMITS)),
    ];
    for (dialer, mut listener) in ways {
        let (a, b) = soon(async { tokio::join!(dialer.dial(), listener.accept()) }).await;
        let (mut a, mut b) = (a.unwrap(), b.unwrap());
        let big = "x".repeat(1 << 20);
        let ((), got) = tokio::join!(send(&mut a, &big), text(&mut b));
        assert!(got == big);
        b.writer.close(CloseCause::GoingAway).await.unwrap();
        assert_eq!(end(&mut a).await.reason, CloseReason::peer(Some(CloseCause::GoingAway.code())));
        drop(listener);
        let refused = soon(dialer.dial()).await.unwrap_err();
        assert_eq!(refused.failure, DialFailure::Unreachable, "{refused}");
    }
}
