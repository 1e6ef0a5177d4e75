//! Our frames held against those of tungstenite, whatever a peer sends and in whatever pieces.

use super::header::{self, Opcode, Role, mask};
use super::inbound::{Inbound, Incoming};
use super::outbound::Outbound;
use onsembl_protocol::close::CloseCause;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::{self, Cursor, Read, Write};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// Bytes of the longest message.
const MOST: usize = 400;

/// How what was read ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing more came.
    OfStream,
    /// The peer's close frame.
    Closed,
    Fault(CloseCause),
}

/// What tungstenite reads, and what it writes goes nowhere.
struct Stream(Cursor<Vec<u8>>);

impl Read for Stream {
    fn read(&mut self, page: &mut [u8]) -> io::Result<usize> {
        self.0.read(page)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
fn theirs(bytes: &[u8], role: TheirRole) -> (Vec<Incoming>, End) {
    let config = WebSocketConfig::default()
        .read_buffer_size(512)
        .max_message_size(Some(MOST))
        .max_frame_size(Some(MOST));
    let stream = Stream(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(stream, role, Some(config));
    let mut all = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Text(text)) => all.push(Incoming::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => all.push(Incoming::Binary(bytes)),
            Ok(Message::Ping(payload)) => all.push(Incoming::Ping(payload.to_vec())),
            Ok(Message::Pong(_)) => all.push(Incoming::Pong),
            Ok(Message::Close(said)) => {
                let said = said.map(|said| (said.code.into(), said.reason.as_str().to_owned()));
                all.push(Incoming::Close(said));
                break End::Closed;
            }
            Ok(Message::Frame(_)) => panic!("it gives no frames"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                break End::OfStream;
            }
            Err(Error::Protocol(_)) => break End::Fault(CloseCause::ProtocolError),
            Err(Error::Capacity(_)) => break End::Fault(CloseCause::TooBig),
            Err(Error::Utf8(_)) => break End::Fault(CloseCause::InvalidText),
            Err(error) => panic!("{error}"),
        }
    };
    (all, end)
}

fn ours(bytes: &[u8], role: Role, piece: usize) -> (Vec<Incoming>, End) {
    let (mut inbound, mut all) = (Inbound::new(role, MOST), Vec::new());
    for mut bytes in bytes.chunks(piece) {
        while !bytes.is_empty() {
            match inbound.read(bytes) {
                Ok((taken, incoming)) => {
                    bytes = &bytes[taken..];
                    let is_closed = matches!(incoming, Some(Incoming::Close(_)));
                    all.extend(incoming);
                    if is_closed {
                        return (all, End::Closed);
                    }
                }
                Err(fault) => return (all, End::Fault(fault.end().reason.cause)),
            }
        }
    }
    (all, End::OfStream)
}

/// Payloads as peers send them, and as they should not.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z\u{e4}\u{20ac}\u{1f600}]{0,40}".prop_map(String::into_bytes),
        2 => ("[\u{20ac}\u{1f600}]{1,3}", 0usize..6).prop_map(|(text, cut)| {
            let bytes = text.into_bytes();
            bytes[cut.min(bytes.len())..].to_vec()
        }),
        1 => vec(any::<u8>(), 0..10),
        1 => (prop_oneof![Just(1000u16), 3000u16..5000, any::<u16>()], "[a-z\u{e4}]{0,9}")
            .prop_map(|(code, text)| [&code.to_be_bytes()[..], text.as_bytes()].concat()),
        1 => (100usize..300).prop_map(|length| vec![b'x'; length]),
    ]
}

/// A frame of a client, or one that no client may send.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        30 => prop_oneof![Just(0x81u8), Just(0x82), Just(0x01), Just(0x02), Just(0x00), Just(0x80)],
        8 => prop_oneof![Just(0x89u8), Just(0x8a)],
        1 => Just(0x88u8),
        1 => any::<u8>(),
    ];
    (first, payload(), any::<[u8; 4]>(), prop::bool::weighted(0.99)).prop_map(
        |(first, mut payload, key, is_masked)| {
            let mut bytes = Vec::new();
            let kind = (Opcode::Text, true);
            header::write(&mut bytes, kind, payload.len(), is_masked.then_some(key));
            bytes[0] = first;
            if is_masked {
                mask(&mut payload, key, 0);
            }
            bytes.extend(payload);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_a_peer_sends_means_the_same(
        frames in vec(frame(), 0..12),
        cut in prop_oneof![3 => Just(usize::MAX), 1 => 0usize..200],
        piece in 1usize..600,
    ) {
        let mut bytes = frames.concat();
        bytes.truncate(cut);
        let (their_all, their_end) = theirs(&bytes, TheirRole::Server);
        let (our_all, our_end) = ours(&bytes, Role::Server, piece);
        prop_assert_eq!(&our_all, &their_all);
        // We say what is wrong with a frame by its header, and tungstenite once all of it is there.
        let is_sooner = their_end == End::OfStream && matches!(our_end, End::Fault(_));
        prop_assert!(our_end == their_end || is_sooner, "{:?}, {:?}", our_end, their_end);
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in vec(any::<u8>(), 0..600), piece in 1usize..600) {
        for role in [Role::Server, Role::Client] {
            let whole = ours(&bytes, role, usize::MAX);
            prop_assert_eq!(ours(&bytes, role, piece), whole);
        }
    }

    #[test]
    fn what_we_send_means_the_same(
        messages in vec((any::<bool>(), "[a-z\u{20ac}]{0,100}"), 0..10),
        code in prop_oneof![Just(1000u16), 3000u16..5000],
    ) {
        for (role, their_role) in
            [(Role::Client, TheirRole::Server), (Role::Server, TheirRole::Client)]
        {
            let mut out = Outbound::new(role, 100);
            let mut expected = Vec::new();
            for (is_text, text) in &messages {
                let bytes = text.as_bytes();
                let (first, second) = bytes.split_at(bytes.len() / 2);
                let opcode = if *is_text { Opcode::Text } else { Opcode::Binary };
                out.frame((opcode, false), first);
                out.pong(Vec::new());
                out.frame((Opcode::Ping, true), b"p");
                out.frame((Opcode::Continuation, true), second);
                expected.extend([Incoming::Pong, Incoming::Ping(b"p".to_vec())]);
                expected.push(match is_text {
                    true => Incoming::Text(text.clone()),
                    false => Incoming::Binary(text.clone().into()),
                });
            }
            out.close(Some((code, "over")));
            expected.push(Incoming::Close(Some((code, "over".to_owned()))));
            prop_assert_eq!(theirs(out.unwritten(), their_role), (expected, End::Closed));
        }
    }
}
