//! A reader of one command's output that loses its link: what is new of what comes, and from where to ask
//! again. Links and what is done with the bytes are effects.

use super::stored::StoredBody;
use crate::id::{ByteOffset, Incarnation};
use crate::model::{PerStream, Stream};

/// A position in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct OutputPosition {
    pub incarnation: Incarnation,
    pub stream: Stream,
    pub offset: ByteOffset,
}

/// What a reader of the output of one command has had.
///
/// Records come in the order in which they are stored, those of an earlier process first. After a lost
/// link a replay from [`OutputFollower::resume`] brings everything that is missing, and before it some
/// of what was had; [`OutputFollower::take`] tells them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputFollower {
    latest: Option<OutputPosition>,
    had: PerStream<Had>,
}

/// How much of a stream was had, of the latest process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Had {
    end: ByteOffset,
    open_gap: bool,
}

impl OutputFollower {
    /// A reader that has had nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is new of a record; `None` if all of it was had.
    #[must_use = "what is new is to be shown; it does not come again"]
    pub fn take(&mut self, at: OutputPosition, body: StoredBody) -> Option<StoredBody> {
        let current = self.latest.map(|latest| latest.incarnation);
        if current.is_some_and(|current| at.incarnation < current) {
            return None;
        }
        if current != Some(at.incarnation) {
            self.had = PerStream::default();
        }
        // Its beginning, because what was stored between it and the next of its stream comes behind it.
        self.latest = Some(at);
        let had = self.had.get_mut(at.stream);
        if body.is_open() {
            return (!core::mem::replace(&mut had.open_gap, true)).then_some(body);
        }
        let end = ByteOffset(at.offset.0.saturating_add(body.length()));
        if end <= had.end {
            return None;
        }
        let old = had.end.0.saturating_sub(at.offset.0);
        *had = Had { end, open_gap: false };
        Some(body.without_first(old))
    }

    /// The position from which a replay leaves nothing out; `None` is the beginning.
    pub const fn resume(&self) -> Option<OutputPosition> {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::GapCause;
    use alloc::vec::Vec;
    use bytes::Bytes;
    use proptest::prelude::*;

    type Log = Vec<(OutputPosition, StoredBody)>;

    /// Records of two streams of up to three processes, as a server stores them.
    fn logs() -> impl Strategy<Value = Log> {
        let record = (any::<bool>(), 1u64..5, 0u8..8);
        proptest::collection::vec(proptest::collection::vec(record, 0..12), 1..4).prop_map(|runs| {
            let mut log = Log::new();
            let mut byte = 0u8;
            for (run, records) in (1u64..).zip(runs) {
                let mut ends = PerStream::<u64>::default();
                for (out, length, what) in records {
                    let stream = if out { Stream::Stdout } else { Stream::Stderr };
                    let end = ends.get_mut(stream);
                    let at = OutputPosition {
                        incarnation: Incarnation(run),
                        stream,
                        offset: ByteOffset(*end),
                    };
                    *end += length;
                    let body = if what == 0 {
                        StoredBody::Gap { length: Some(length), because: GapCause::NeverCame }
                    } else {
                        let bytes: Vec<u8> = (0..length)
                            .map(|_| {
                                byte = byte.wrapping_add(1);
                                byte
                            })
                            .collect();
                        StoredBody::Chunk(Bytes::from(bytes))
                    };
                    log.push((at, body));
                }
                let at = OutputPosition {
                    incarnation: Incarnation(run),
                    stream: Stream::Stdout,
                    offset: ByteOffset(ends.stdout),
                };
                log.push((at, StoredBody::Gap { length: None, because: GapCause::SpoolFull }));
            }
            log
        })
    }

    /// Where a server begins: in front of the last record of the stream that begins at the position or
    /// before it, or with the first of its process.
    fn cursor(log: &Log, position: Option<OutputPosition>) -> usize {
        let Some(position) = position else { return 0 };
        let of_run = |at: &OutputPosition| at.incarnation == position.incarnation;
        log.iter()
            .rposition(|(at, _)| {
                of_run(at) && at.stream == position.stream && at.offset <= position.offset
            })
            .or_else(|| log.iter().position(|(at, _)| of_run(at)))
            .unwrap_or(0)
    }

    /// Bytes and lengths, however they were cut.
    fn flat(log: &Log) -> Vec<(OutputPosition, Option<u8>)> {
        let mut all = Vec::new();
        for (at, body) in log {
            let position = |n: u64| OutputPosition { offset: ByteOffset(at.offset.0 + n), ..*at };
            match body {
                StoredBody::Chunk(bytes) => {
                    all.extend((0..).zip(bytes).map(|(n, byte)| (position(n), Some(*byte))));
                }
                StoredBody::Gap { length: Some(length), .. } => {
                    all.extend((0..*length).map(|n| (position(n), None)));
                }
                StoredBody::Gap { length: None, .. } => all.push((*at, None)),
            }
        }
        all
    }

    proptest! {
        /// However often the link is lost, and wherever: each byte comes once, and in order.
        #[test]
        fn every_byte_comes_once_whatever_the_link_does(
            log in logs(),
            cuts in proptest::collection::vec(0usize..20, 0..6),
        ) {
            let mut follower = OutputFollower::new();
            let mut shown = Log::new();
            for reach in cuts.into_iter().chain([usize::MAX]) {
                let begin = cursor(&log, follower.resume());
                for (at, body) in log.iter().skip(begin).take(reach) {
                    let length = body.length();
                    if let Some(new) = follower.take(*at, body.clone()) {
                        let skipped = length - new.length();
                        let offset = ByteOffset(at.offset.0 + skipped);
                        shown.push((OutputPosition { offset, ..*at }, new));
                    }
                }
            }
            prop_assert_eq!(flat(&shown), flat(&log));
        }
    }

    #[test]
    fn a_record_that_was_cut_anew_is_new_behind_what_was_had() {
        let at = |offset| OutputPosition {
            incarnation: Incarnation(7),
            stream: Stream::Stdout,
            offset: ByteOffset(offset),
        };
        let chunk = |text: &'static str| StoredBody::Chunk(Bytes::from_static(text.as_bytes()));
        let mut follower = OutputFollower::new();
        assert_eq!(follower.take(at(0), chunk("abc")), Some(chunk("abc")));
        assert_eq!(follower.take(at(0), chunk("abcde")), Some(chunk("de")));
        assert_eq!(follower.take(at(2), chunk("cd")), None);
        assert_eq!(follower.resume(), Some(at(2)));
    }
}
