//! Output to dashboards in binary messages: its form to the byte, its bounds, and what is no such message.

use bytes::Bytes;
use onsembl_protocol::id::{AgentId, ByteOffset, ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{OutputContent, StreamContent, TerminalStream};
use onsembl_protocol::wire::{DecodeCause, DecodeError, StreamFrame};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: Limits = {
    let mut it = Limits::DEFAULT;
    it.message_bytes = 4096;
    it.name_bytes = 16;
    it
};

fn frame() -> StreamFrame {
    StreamFrame {
        command_id: CommandId::new("c-é"),
        agent_id: AgentId::new("ada"),
        incarnation: Incarnation(0x0102),
        stream: Stream::Terminal,
        sequence: ChunkSequence(3),
        offset: ByteOffset(u64::MAX),
        timestamp: WallTime::from_unix_millis(-2),
        chunks: vec![Bytes::from_static(b"a\n\xff")],
    }
}

const WRITTEN: &[u8] = b"\x02\x02\0\x04\0\x03\
    \0\0\0\0\0\0\x01\x02\
    \0\0\0\0\0\0\0\x03\
    \xff\xff\xff\xff\xff\xff\xff\xff\
    \xff\xff\xff\xff\xff\xff\xff\xfe\
    c-\xc3\xa9ada\
    a\n\xff";

fn read(bytes: &[u8]) -> Result<StreamFrame, DecodeError> {
    StreamFrame::decode(Bytes::copy_from_slice(bytes), &LIMITS)
}

fn refused(bytes: &[u8]) -> DecodeCause {
    read(bytes).expect_err("it is no output").cause
}

#[test]
fn chunks_as_literal_bytes() {
    assert_eq!(frame().encode().unwrap(), WRITTEN);
    assert_eq!(read(WRITTEN), Ok(frame()));
    let chunks = [&b"a"[..], b"", b"\n\xff"].map(Bytes::from_static).to_vec();
    let several = StreamFrame { chunks, ..frame() };
    assert_eq!((several.byte_count(), several.encode().unwrap()), (3, WRITTEN.into()));
}

#[test]
fn it_says_what_a_text_would_say() {
    let text = TerminalStream {
        command_id: CommandId::new("c-é"),
        agent_id: Some(AgentId::new("ada")),
        stream: Stream::Terminal.into(),
        content: StreamContent::Bytes(OutputContent::Bytes(Bytes::from_static(b"a\n\xff"))),
        timestamp: Some(WallTime::from_unix_millis(-2)),
        sequence: Some(ChunkSequence(3)),
        offset: Some(ByteOffset(u64::MAX)),
        incarnation: Some(Incarnation(0x0102)),
    };
    assert_eq!(TerminalStream::from(frame()), text);
    let chunks = [&b"a\n"[..], b"\xff"].map(Bytes::from_static).to_vec();
    assert_eq!(TerminalStream::from(StreamFrame { chunks, ..frame() }), text);
}

#[test]
fn its_bytes_stay_where_they_were_received() {
    let message = Bytes::copy_from_slice(WRITTEN);
    let end = message.as_ptr_range().end;
    let read = StreamFrame::decode(message, &LIMITS).unwrap();
    assert_eq!(read.chunks[0].as_ptr_range().end, end);
}

#[test]
fn what_ends_before_its_bytes_begin_is_none() {
    let least = WRITTEN.len() - 3;
    for end in 0..least {
        assert!(matches!(refused(&WRITTEN[..end]), DecodeCause::NotOutput(_)), "{end}");
    }
    assert_eq!(read(&WRITTEN[..least]).unwrap().byte_count(), 0);
}

#[test]
fn kinds_and_streams_that_nobody_knows_are_none() {
    for kind in (0..=255).filter(|kind| *kind != 2) {
        let mut bytes = WRITTEN.to_vec();
        bytes[0] = kind;
        assert!(matches!(refused(&bytes), DecodeCause::NotOutput(_)), "{kind}");
    }
    for stream in 3..=255 {
        let mut bytes = WRITTEN.to_vec();
        bytes[1] = stream;
        let error = read(&bytes).unwrap_err();
        assert!(matches!(error.cause, DecodeCause::NotOutput(_)), "{stream}");
        assert_eq!(error.command_id, Some(frame().command_id));
    }
}

#[test]
fn each_bound_holds_to_the_byte() {
    let with = |command: usize, agent: usize, bytes: usize| StreamFrame {
        command_id: CommandId::new("n".repeat(command)),
        agent_id: AgentId::new("n".repeat(agent)),
        chunks: vec![vec![7; bytes].into()],
        ..frame()
    };
    let written = |command, agent, bytes| with(command, agent, bytes).encode().unwrap();
    let too_long = |bytes: &[u8]| match refused(bytes) {
        DecodeCause::TooLong { limit, field, .. } => (limit, field),
        other => panic!("{other}"),
    };
    assert_eq!(read(&written(16, 16, 0)), Ok(with(16, 16, 0)));
    assert_eq!(too_long(&written(17, 1, 0)), (16, "commandId"));
    assert_eq!(too_long(&written(1, 17, 0)), (16, "agentId"));
    let most = LIMITS.message_bytes - written(1, 1, 0).len();
    assert_eq!(read(&written(1, 1, most)), Ok(with(1, 1, most)));
    let cause = DecodeCause::TooLarge { bytes: 4097, limit: LIMITS.message_bytes };
    assert_eq!(refused(&written(1, 1, most + 1)), cause);
    assert!(with(65_535, 65_535, 1).encode().is_some());
    assert_eq!(with(65_536, 1, 1).encode(), None, "its length has two bytes");
    assert_eq!(with(1, 65_536, 1).encode(), None);
}

#[test]
fn ids_that_are_no_text_are_none() {
    for wrong in [b"\xc3\xa9".as_slice(), b"ada"] {
        let mut bytes = WRITTEN.to_vec();
        let at = bytes.windows(wrong.len()).position(|window| window == wrong).unwrap();
        bytes[at] = 0x80;
        assert!(matches!(refused(&bytes), DecodeCause::NotOutput(_)));
    }
}

fn frames() -> impl Strategy<Value = StreamFrame> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<i64>());
    let stream = prop::sample::select(&Stream::ALL[..]);
    let ids = ("\\PC{0,5}", "\\PC{0,5}");
    (ids, numbers, stream, vec(vec(any::<u8>(), 0..50), 0..5)).prop_map(
        |((command, agent), (incarnation, sequence, offset, at), stream, chunks)| StreamFrame {
            command_id: CommandId::new(command),
            agent_id: AgentId::new(agent),
            incarnation: Incarnation(incarnation),
            stream,
            sequence: ChunkSequence(sequence),
            offset: ByteOffset(offset),
            timestamp: WallTime::from_unix_millis(at),
            chunks: chunks.into_iter().map(Bytes::from).collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_written_comes_back_joined(frame in frames()) {
        let read = StreamFrame::decode(frame.encode().unwrap(), &Limits::DEFAULT).unwrap();
        prop_assert_eq!(read.chunks.len(), 1);
        prop_assert_eq!(TerminalStream::from(read), TerminalStream::from(frame));
    }

    #[test]
    fn any_bytes_get_an_answer_and_what_is_read_is_written_as_it_came(
        mut bytes in vec(any::<u8>(), 0..90),
        plausible in any::<bool>(),
    ) {
        if plausible {
            for (byte, value) in bytes.iter_mut().zip([2, 2, 0, 3, 0, 2]) {
                *byte = value;
            }
        }
        match read(&bytes) {
            Ok(frame) => prop_assert_eq!(frame.encode().unwrap(), bytes),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
