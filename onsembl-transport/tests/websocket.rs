//! WebSocket links over loopback, against each other and against peers of bare bytes.
// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use bytes::Bytes;
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::limits::Limits;
use onsembl_transport::websocket::{WebSocketListener, accept_websocket, upgraded};
use onsembl_transport::{BufferSizes, Frame, LinkLimits, Listener, Received};
use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A further frame of a message.
const CONTINUATION: u8 = 0;

const LIMITS: LinkLimits = LinkLimits::DEFAULT;

#[tokio::test]
async fn messages_of_every_size_go_both_ways() {
    for limits in [LIMITS, LIMITS.with_buffers(BufferSizes::LARGE)] {
        let (mut client, mut server) = websocket_pair(limits).await;
        for size in [0, 1, 125, 126, 4096, 65_535, 65_536, Limits::DEFAULT.message_bytes] {
            let message = "ä".repeat(size / 2) + if size % 2 == 1 { "x" } else { "" };
            for (from, to) in [(0, 1), (1, 0)] {
                let mut links = [&mut client, &mut server];
                let send = async {
                    let writer = &mut links[from].writer;
                    writer.send(Frame::Text(message.clone())).await.unwrap();
                    writer.flush().await.unwrap();
                };
                soon(send).await;
                assert!(text(links[to]).await == message, "{size} bytes from {from}");
            }
        }
    }
}

#[tokio::test]
async fn a_whole_message_goes_out_while_one_comes_in() {
    let (mut client, mut server) = websocket_pair(LIMITS).await;
    let big = "x".repeat(1 << 20);
    let both = |link: &mut onsembl_transport::Link| {
        let (mut writer, big) = (std::mem::replace(&mut link.writer, no_writer()), big.clone());
        async move {
            for _ in 0..20 {
                writer.send(Frame::Text(big.clone())).await.unwrap();
            }
            writer.flush().await.unwrap();
            writer
        }
    };
    // Each half in a task of its own: neither may take the other's wake-ups.
    let writers = [tokio::spawn(both(&mut client)), tokio::spawn(both(&mut server))];
    let readers = [client, server].map(|mut link| {
        tokio::spawn(async move {
            for _ in 0..20 {
                assert_eq!(text(&mut link).await.len(), 1 << 20);
            }
            link
        })
    });
    for reader in readers {
        soon(reader).await.unwrap();
    }
    for writer in writers {
        soon(writer).await.unwrap();
    }
}

fn no_writer() -> Box<dyn onsembl_transport::LinkWriter> {
    onsembl_transport::memory::pair(1).0.writer
}

#[tokio::test]
async fn every_close_code_arrives_and_is_answered_both_ways() {
    for &cause in CloseCause::ALL {
        for closing in [0, 1] {
            let (client, server) = websocket_pair(LIMITS).await;
            let mut links = [client, server];
            if closing == 1 {
                links.reverse();
            }
            let [mut near, mut far] = links;
            soon(near.writer.close(cause)).await.unwrap();
            let (far_end, near_end) = tokio::join!(end(&mut far), end(&mut near));
            assert_eq!(far_end.reason, CloseReason::peer(Some(cause.code())), "{cause:?}");
            assert_eq!(far_end.detail, cause.text());
            assert_eq!(near_end.reason, CloseReason::local(cause), "{cause:?}");
            assert!(near.writer.send(Frame::Ping).await.is_err());
            assert!(far.writer.send(Frame::Ping).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_cause_without_a_code_of_its_own_is_sent_as_internal() {
    let (mut raw, mut link) = raw_client(LIMITS).await;
    link.writer.close(CloseCause::NoCode).await.unwrap();
    assert_eq!(raw.closed().await.0, 1011);
}

#[tokio::test]
async fn a_close_frame_without_a_code_is_that_and_is_answered() {
    for (mut raw, mut link) in [raw_client(LIMITS).await, raw_server(LIMITS).await] {
        raw.send(CLOSE, &[]).await;
        assert_eq!(end(&mut link).await.reason, CloseReason::peer(None));
        assert_eq!(raw.next().await, (CLOSE, vec![]));
        assert_eq!(end(&mut link).await.reason, CloseReason::peer(None), "again, when asked again");
    }
}

#[tokio::test]
async fn binary_arrives_as_it_was_sent() {
    let (mut raw, mut link) = raw_client(LIMITS).await;
    let data: Vec<u8> = (0..300).map(|n| n as u8).collect();
    raw.send(BINARY, &data).await;
    raw.send(TEXT, b"on we go").await;
    assert_eq!(soon(link.reader.receive()).await, Ok(Received::Binary(data.into())));
    assert_eq!(text(&mut link).await, "on we go");
    link.writer.send(Frame::Binary(Bytes::from_static(b"\xff\0"))).await.unwrap();
    link.writer.flush().await.unwrap();
    assert_eq!(raw.next().await, (BINARY, vec![0xff, 0]));
}

#[tokio::test]
async fn fragments_make_one_message_with_pings_between_them() {
    let (mut raw, mut link) = raw_client(LIMITS).await;
    raw.write(&[0x01, 0x82, 0, 0, 0, 0, b'a', b'b']).await;
    raw.send(PING, b"p").await;
    raw.write(&[0x80, 0x81, 0, 0, 0, 0, b'c']).await;
    assert_eq!(soon(link.reader.receive()).await, Ok(Received::Control));
    assert_eq!(text(&mut link).await, "abc");
}

#[tokio::test]
async fn a_ping_is_answered_even_if_nothing_is_received_or_sent_after_it() {
    let (mut raw, mut link) = raw_client(LIMITS).await;
    raw.send(PING, b"are you there").await;
    assert_eq!(soon(link.reader.receive()).await, Ok(Received::Control));
    assert_eq!(raw.next().await, (PONG, b"are you there".to_vec()));
}

#[tokio::test]
async fn our_pings_are_answered_and_the_answers_are_proof_of_life() {
    let (mut client, mut server) = websocket_pair(LIMITS).await;
    client.writer.send(Frame::Ping).await.unwrap();
    client.writer.flush().await.unwrap();
    assert_eq!(soon(server.reader.receive()).await, Ok(Received::Control));
    assert_eq!(soon(client.reader.receive()).await, Ok(Received::Control));
}

#[tokio::test]
async fn pings_of_a_peer_that_does_not_read_fill_no_memory_and_lose_no_message() {
    let (mut raw, link) = raw_client(LIMITS).await;
    let ping = raw.frame(PING, &[b'p'; 125]).repeat(1000);
    let (mut reader, mut writer) = (link.reader, link.writer);
    let reading = tokio::spawn(async move {
        for _ in 0..100_000 {
            assert_eq!(soon(reader.receive()).await, Ok(Received::Control));
        }
        reader
    });
    for _ in 0..100 {
        raw.write(&ping).await;
    }
    let _reader = soon(reading).await.unwrap();
    let message = "m".repeat(1 << 20);
    let sending = tokio::spawn(async move {
        writer.send(Frame::Text(message)).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let (mut pongs, mut received) = (0, 0);
    while received < 1 << 20 {
        match raw.next().await {
            (PONG, _) => pongs += 1,
            // In fragments, with pongs between them.
            (TEXT | CONTINUATION, payload) => received += payload.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, 1 << 20);
    assert!(pongs < 100_000, "there was no pressure on the buffer, so this test shows nothing");
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn an_oversized_message_is_refused_to_the_peers_face() {
    let limits = LIMITS.with_message_bytes(100_000);
    for (mut raw, mut link) in [raw_client(limits).await, raw_server(limits).await] {
        raw.send(TEXT, &vec![b'a'; 100_000]).await;
        assert_eq!(text(&mut link).await.len(), 100_000);
        // The peer writes all of it before it looks; a socket dropped in between would be reset,
        // and the close frame lost.
        let frame = raw.frame(TEXT, &vec![b'a'; 30_000_000]);
        let (end, ()) = tokio::join!(end(&mut link), raw.write(&frame));
        drop(link);
        assert_eq!(end.reason, CloseReason::local(CloseCause::TooBig));
        assert_eq!(raw.closed().await.0, 1009);
    }
}

/// The same message would end the next link too.
#[tokio::test]
async fn a_message_of_our_own_that_is_too_long_is_dropped_and_the_link_goes_on() {
    let limits = LIMITS.with_message_bytes(1000);
    let (mut raw, mut link) = raw_client(limits).await;
    link.writer.send(Frame::Text("m".repeat(1001))).await.unwrap();
    link.writer.send(Frame::Text("next".into())).await.unwrap();
    link.writer.flush().await.unwrap();
    assert_eq!(raw.next().await, (TEXT, b"next".to_vec()));
}

#[tokio::test]
async fn an_oversized_message_in_fragments_is_refused_too() {
    let limits = LIMITS.with_message_bytes(1000);
    let (mut raw, mut link) = raw_client(limits).await;
    let mut fragment = raw.frame(TEXT, &[b'a'; 600]);
    fragment[0] = 0x01;
    raw.write(&fragment).await;
    fragment[0] = 0x00;
    raw.write(&fragment).await;
    assert_eq!(end(&mut link).await.reason, CloseReason::local(CloseCause::TooBig));
    assert_eq!(raw.closed().await.0, 1009);
}

#[tokio::test]
async fn broken_framing_is_answered_with_its_code() {
    let frames: [(&[u8], CloseCause); 5] = [
        (&[0xc1, 0x80, 0, 0, 0, 0], CloseCause::ProtocolError), // a reserved bit
        (&[0x81, 0x01, b'a'], CloseCause::ProtocolError),       // unmasked
        (&[0x83, 0x80, 0, 0, 0, 0], CloseCause::ProtocolError), // an unknown opcode
        (&[0x88, 0x81, 0, 0, 0, 0, 3], CloseCause::ProtocolError), // half a close code
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], CloseCause::InvalidText), // not UTF-8
    ];
    for (bytes, cause) in frames {
        let (mut raw, mut link) = raw_client(LIMITS).await;
        raw.write(bytes).await;
        assert_eq!(end(&mut link).await.reason, CloseReason::local(cause), "{bytes:?}");
        assert_eq!(raw.closed().await, (cause.code().0, cause.text().to_owned()), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_says_how() {
    let (raw, mut link) = raw_client(LIMITS).await;
    drop(raw);
    assert_eq!(end(&mut link).await.reason, CloseReason::broken(Breakage::EndOfStream));

    let (raw, mut link) = raw_client(LIMITS).await;
    raw.stream.set_zero_linger().unwrap();
    drop(raw);
    assert_eq!(end(&mut link).await.reason, CloseReason::broken(Breakage::Reset));
}

#[tokio::test]
async fn a_message_of_our_own_that_is_too_large_is_left_out_and_the_link_stays() {
    let limits = LIMITS.with_message_bytes(10);
    let (mut raw, mut link) = raw_client(limits).await;
    link.writer.send(Frame::Text("x".repeat(11))).await.unwrap();
    link.writer.send(Frame::Text("fits".into())).await.unwrap();
    link.writer.flush().await.unwrap();
    assert_eq!(raw.next().await, (TEXT, b"fits".to_vec()));
}

#[tokio::test]
async fn receiving_can_be_given_up_at_any_point_without_loss() {
    let (mut raw, mut link) = raw_client(LIMITS).await;
    let bytes = raw.frame(TEXT, b"piece by piece");
    let mut received = None;
    for byte in bytes {
        assert_eq!(received, None);
        raw.write(&[byte]).await;
        let wait = Duration::from_millis(5);
        received = tokio::time::timeout(wait, link.reader.receive()).await.ok();
    }
    let received = match received {
        Some(received) => received,
        None => soon(link.reader.receive()).await,
    };
    assert_eq!(received, Ok(Received::Text("piece by piece".into())));
}

#[tokio::test]
async fn a_frame_right_behind_the_upgrade_request_is_kept() {
    let (tcp, address) = tcp_port().await;
    let mut raw = RawPeer::client(TcpStream::connect(address).await.unwrap());
    let mut bytes = upgrade_request().into_bytes();
    bytes.extend(raw.frame(TEXT, b"early"));
    bytes.extend(&raw.frame(TEXT, b"half")[..5]);
    raw.write(&bytes).await;
    raw.stream.flush().await.unwrap();

    let (mut stream, _) = tcp.accept().await.unwrap();
    let mut read = vec![0; bytes.len()];
    soon(stream.read_exact(&mut read)).await.unwrap();
    let head = read.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let request = String::from_utf8(read[..head].to_vec()).unwrap();
    stream.write_all(grant(&request).as_bytes()).await.unwrap();
    let mut link = upgraded(stream, read[head..].to_vec(), "peer", LIMITS).await;

    assert_eq!(link.peer, "peer");
    assert_eq!(text(&mut link).await, "early");
    let rest = raw.frame(TEXT, b"half")[5..].to_vec();
    raw.write(&rest).await;
    assert_eq!(text(&mut link).await, "half");
}

#[tokio::test]
async fn what_asks_for_no_websocket_is_told_so() {
    for request in
        ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\n\r\n", "\x16\x03\x01\r\n\r\n"]
    {
        let (mut near, far) = tokio::io::duplex(4096);
        near.write_all(request.as_bytes()).await.unwrap();
        let refused = soon(accept_websocket(far, "peer", LIMITS)).await.unwrap_err();
        assert!(refused.to_string().contains("did not request a WebSocket"), "{refused}");
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_dawdles_ends_by_its_deadline() {
    let (mut near, far) = tokio::io::duplex(4096);
    let dawdling = async {
        for byte in upgrade_request().bytes() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if near.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    };
    let began = tokio::time::Instant::now();
    let (refused, ()) = tokio::join!(accept_websocket(far, "peer", LIMITS), dawdling);
    assert!(refused.unwrap_err().to_string().contains("in time"));
    assert!(began.elapsed() < Duration::from_secs(12));
}

#[tokio::test]
async fn callers_that_say_nothing_keep_nobody_waiting() {
    let (tcp, address) = tcp_port().await;
    let mut listener = WebSocketListener::new(tcp, None, LIMITS);
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let client = async {
        use onsembl_transport::Dialer;
        dialer(&format!("http://{address}")).dial().await.unwrap()
    };
    let (_client, server) = soon(async { tokio::join!(client, listener.accept()) }).await;
    server.unwrap();
}
