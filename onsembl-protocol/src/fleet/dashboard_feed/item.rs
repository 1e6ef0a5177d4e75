//! What a feed returns when it is polled.

use crate::id::{ByteOffset, CommandId, Incarnation};
use crate::model::Stream;
use crate::output::Cursor;
use crate::wire::payload::{Replay, StreamType};
use crate::wire::{ServerToDashboard, StreamFrame};
use alloc::boxed::Box;

/// Where in the stored output of a command to begin. The store looks it up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Seek {
    /// This many bytes before its end.
    Tail(usize),
    /// Before the record that holds this offset of a stream, or the next one.
    Offset {
        /// The process that wrote it.
        incarnation: Incarnation,
        stream: Stream,
        /// The offset in the stream.
        offset: ByteOffset,
    },
    /// The same, for the process that wrote the first stored record; the beginning if nothing is stored.
    OffsetOfFirst {
        stream: Stream,
        /// The offset in the stream.
        offset: ByteOffset,
    },
}

impl Seek {
    /// What a replay from this position requires; nothing is to be looked up if it starts at the beginning.
    pub(super) fn of(from: &Replay) -> Option<Self> {
        let stream = from.stream_type.as_ref().map_or(Stream::Stdout, StreamType::stream);
        let offset = from.offset;
        match from.incarnation {
            Some(incarnation) => Some(Self::Offset { incarnation, stream, offset }),
            None if offset == ByteOffset(0) => None,
            None => Some(Self::OffsetOfFirst { stream, offset }),
        }
    }
}

/// What is next for a dashboard.
#[derive(Debug)]
pub(in crate::fleet) enum FeedItem {
    /// Send this.
    Message(Box<ServerToDashboard>),
    /// Send this output as a binary message.
    Stream(Box<StreamFrame>),
    /// Read on in the store, and hand the records to `stored`.
    Read(CommandId, Cursor),
    /// Look up where to begin, and hand the position to `located`.
    Seek(CommandId, Seek),
    /// Tell the fleet that all output of this unstored command up to this record is taken.
    Viewed(CommandId, Cursor),
    /// Nothing new.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_begins_where_it_says_and_else_at_the_first_byte_of_the_first_process() {
        let stderr = Some(StreamType::from(Stream::Stderr));
        let replay = |incarnation: Option<u64>, stream_type: Option<StreamType>, offset| Replay {
            incarnation: incarnation.map(Incarnation),
            stream_type,
            offset: ByteOffset(offset),
        };
        let (first, fourth) = (Incarnation(1), Incarnation(4));
        for (from, seek) in [
            (replay(None, None, 0), None),
            (replay(None, stderr.clone(), 0), None),
            (
                replay(Some(1), None, 0),
                Some(Seek::Offset {
                    incarnation: first,
                    stream: Stream::Stdout,
                    offset: ByteOffset(0),
                }),
            ),
            (
                replay(Some(4), stderr.clone(), 7),
                Some(Seek::Offset {
                    incarnation: fourth,
                    stream: Stream::Stderr,
                    offset: ByteOffset(7),
                }),
            ),
            (
                replay(None, None, 7),
                Some(Seek::OffsetOfFirst { stream: Stream::Stdout, offset: ByteOffset(7) }),
            ),
            (
                replay(None, stderr, 7),
                Some(Seek::OffsetOfFirst { stream: Stream::Stderr, offset: ByteOffset(7) }),
            ),
        ] {
            assert_eq!(Seek::of(&from), seek, "{from:?}");
        }
    }
}
