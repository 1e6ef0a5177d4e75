//! Output in binary messages: its form to the byte, its bounds, and what is no such message.

use bytes::Bytes;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Stream;
use onsembl_protocol::wire::payload::{OutputContent, TerminalOutput};
use onsembl_protocol::wire::{DecodeCause, DecodeError, OutputFrame};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: Limits = {
    let mut it = Limits::DEFAULT;
    it.message_bytes = 4096;
    it.name_bytes = 16;
    it
};

fn frame() -> OutputFrame {
    OutputFrame {
        command_id: CommandId::new("c-é"),
        incarnation: Incarnation(0x0102),
        stream: Stream::Stderr,
        sequence: ChunkSequence(3),
        offset: ByteOffset(u64::MAX),
        bytes: Bytes::from_static(b"a\n\xff"),
    }
}

const WRITTEN: &[u8] = b"\x01\x01\0\x04\
    \0\0\0\0\0\0\x01\x02\
    \0\0\0\0\0\0\0\x03\
    \xff\xff\xff\xff\xff\xff\xff\xff\
    c-\xc3\xa9\
    a\n\xff";

fn read(bytes: &[u8]) -> Result<OutputFrame, DecodeError> {
    OutputFrame::decode(Bytes::copy_from_slice(bytes), &LIMITS)
}

fn refused(bytes: &[u8]) -> DecodeCause {
    read(bytes).expect_err("it is no output").cause
}

#[test]
fn a_chunk_as_literal_bytes() {
    assert_eq!(frame().encode().unwrap(), WRITTEN);
    assert_eq!(read(WRITTEN), Ok(frame()));
}

#[test]
fn it_says_what_a_text_would_say() {
    let output = TerminalOutput::from(frame());
    assert_eq!(output.content, OutputContent::Bytes(frame().bytes));
    assert_eq!((output.command_id, output.stream.stream()), (frame().command_id, Stream::Stderr));
    assert_eq!(
        (output.incarnation, output.sequence, output.offset),
        (Some(frame().incarnation), Some(frame().sequence), Some(frame().offset))
    );
}

#[test]
fn its_bytes_stay_where_they_were_received() {
    let message = Bytes::copy_from_slice(WRITTEN);
    let end = message.as_ptr_range().end;
    let read = OutputFrame::decode(message, &LIMITS).unwrap();
    assert_eq!(read.bytes.as_ptr_range().end, end);
}

#[test]
fn what_ends_before_its_bytes_begin_is_none() {
    let least = WRITTEN.len() - 3;
    for end in 0..least {
        assert!(matches!(refused(&WRITTEN[..end]), DecodeCause::NotOutput(_)), "{end}");
    }
    assert_eq!(read(&WRITTEN[..least]).unwrap().bytes, Bytes::new());
}

#[test]
fn kinds_and_streams_that_nobody_knows_are_none() {
    for kind in (0..=255).filter(|kind| *kind != 1) {
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
    let with = |id: usize, bytes: usize| OutputFrame {
        command_id: CommandId::new("n".repeat(id)),
        bytes: vec![7; bytes].into(),
        ..frame()
    };
    let written = |id, bytes| with(id, bytes).encode().unwrap();
    assert_eq!(read(&written(16, 0)), Ok(with(16, 0)));
    match refused(&written(17, 0)) {
        DecodeCause::TooLong { limit, field, .. } => assert_eq!((limit, field), (16, "commandId")),
        other => panic!("{other}"),
    }
    let most = LIMITS.message_bytes - written(1, 0).len();
    assert_eq!(read(&written(1, most)), Ok(with(1, most)));
    assert_eq!(
        refused(&written(1, most + 1)),
        DecodeCause::TooLarge { bytes: 4097, limit: LIMITS.message_bytes }
    );
    assert!(with(65_535, 1).encode().is_some());
    assert_eq!(with(65_536, 1).encode(), None, "its length has two bytes");
}

#[test]
fn an_id_that_is_no_text_is_none() {
    let mut bytes = WRITTEN.to_vec();
    let at = bytes.iter().position(|b| *b == 0xa9).unwrap();
    bytes[at] = b'x';
    assert!(matches!(refused(&bytes), DecodeCause::NotOutput(_)));
}

fn frames() -> impl Strategy<Value = OutputFrame> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let stream = prop::sample::select(&Stream::ALL[..]);
    ("\\PC{0,5}", numbers, stream, vec(any::<u8>(), 0..200)).prop_map(
        |(id, (incarnation, sequence, offset), stream, bytes)| OutputFrame {
            command_id: CommandId::new(id),
            incarnation: Incarnation(incarnation),
            stream,
            sequence: ChunkSequence(sequence),
            offset: ByteOffset(offset),
            bytes: bytes.into(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_written_comes_back(frame in frames()) {
        let written = frame.encode().unwrap();
        prop_assert_eq!(OutputFrame::decode(written, &Limits::DEFAULT), Ok(frame));
    }

    #[test]
    fn any_bytes_get_an_answer_and_what_is_read_is_written_as_it_came(
        mut bytes in vec(any::<u8>(), 0..80),
        plausible in any::<bool>(),
    ) {
        if plausible {
            for (byte, value) in bytes.iter_mut().zip([1, 2, 0, 3]) {
                *byte = value;
            }
        }
        match read(&bytes) {
            Ok(frame) => prop_assert_eq!(frame.encode().unwrap(), bytes),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
