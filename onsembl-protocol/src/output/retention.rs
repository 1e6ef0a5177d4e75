//! How history is cut: by which clock it ages, which chunks at the beginning of a stream go, and the gap that
//! stands for them.
//!
//! Sums of a stream stay what they are. Which stream has the oldest chunk, and deleting it, is an effect.

use super::stored::{Cursor, StoredBody};
use crate::id::{ByteOffset, ChunkSequence, Incarnation};
use crate::model::GapCause;
use crate::time::{Now, Timestamp, WallTime};

/// The clock by which history ages. What is cut never comes back, and wall clocks jump: a dead battery, a wrong
/// answer of a time server, a machine that was put back. So this one counts time that was observed, on the clock
/// that runs through suspend and cannot be set. From the wall it only takes how far it is behind, by the time in
/// which no server ran, and makes up for that by going at twice the speed. So a wall clock that is ahead for a
/// time costs history no more of its age than that time, whatever it shows; one that is behind costs nothing.
///
/// It is a label as wall times are, and continues from where the run before left it.
#[derive(Clone, Copy, Debug)]
pub struct RetentionClock {
    shows: WallTime,
    last: Option<Timestamp>,
}

impl RetentionClock {
    /// A clock that shows what it was kept at. If it never was, the newest time that is known of what is kept,
    /// but nothing that the wall clock does not show either: one of the two may be wrong, and then history is
    /// kept longer. With nothing stored, what the wall clock shows.
    #[must_use]
    pub fn resumed(kept: Option<WallTime>, newest: Option<WallTime>, wall: WallTime) -> Self {
        let shows = kept.or(newest.map(|newest| newest.min(wall))).unwrap_or(wall);
        Self { shows, last: None }
    }

    /// What it shows.
    #[must_use]
    pub const fn shows(&self) -> WallTime {
        self.shows
    }

    /// Goes on. What it shows then: never less than before, and at most twice the time more that was observed
    /// since.
    pub fn advance(&mut self, now: Now) -> WallTime {
        let last = self.last.replace(now.boot).unwrap_or(now.boot);
        let passed = now.boot.saturating_since(last).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let shows = self.shows.unix_millis().saturating_add(passed);
        let behind = now.wall.unix_millis().saturating_sub(shows).clamp(0, passed);
        self.shows = WallTime::from_unix_millis(shows.saturating_add(behind));
        self.shows
    }
}

/// What one transaction cuts of the beginning of one stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamCut {
    before: WallTime,
    over: u64,
    most: usize,
    bytes: u64,
    chunks: usize,
    end: ByteOffset,
    last: ChunkSequence,
    oldest_at: Option<WallTime>,
}

impl StreamCut {
    /// Cuts chunks that began to age before a time, and as many as hold `over` bytes; at most `most`
    /// chunks.
    pub const fn new(before: WallTime, over: u64, most: usize) -> Self {
        Self {
            before,
            over,
            most,
            bytes: 0,
            chunks: 0,
            end: ByteOffset(0),
            last: ChunkSequence(0),
            oldest_at: None,
        }
    }

    /// Looks at the next chunk, in the order of their offsets; gaps between them go with what is before
    /// them. Whether it goes: if it stays, so do all behind it.
    pub fn look(
        &mut self,
        sequence: ChunkSequence,
        offset: ByteOffset,
        length: u64,
        at: WallTime,
    ) -> bool {
        if self.chunks >= self.most || (at >= self.before && self.bytes >= self.over) {
            self.oldest_at = Some(at);
            return false;
        }
        self.pass(sequence, offset, length);
        self.bytes = self.bytes.saturating_add(length);
        true
    }

    /// Looks at a gap that comes before the next chunk: it goes as long as there is room in the transaction. If
    /// it stays, so do all behind it. A gap of itself frees no bytes of output, but its record.
    pub fn look_gap(
        &mut self,
        sequence: ChunkSequence,
        offset: ByteOffset,
        length: u64,
        at: WallTime,
    ) -> bool {
        if self.chunks >= self.most {
            self.oldest_at = Some(at);
            return false;
        }
        self.pass(sequence, offset, length);
        true
    }

    fn pass(&mut self, sequence: ChunkSequence, offset: ByteOffset, length: u64) {
        self.end = ByteOffset(offset.0.saturating_add(length));
        self.last = self.last.max(sequence);
        self.chunks += 1;
    }

    /// The number and the body of the gap that stands at the beginning of the stream, instead of all
    /// its records before [`end`](Self::end); `None` if nothing goes. It has the number of the last chunk
    /// that went: a reader that is behind that has missed nothing.
    pub fn marker(&self) -> Option<(ChunkSequence, StoredBody)> {
        let body = StoredBody::Gap { length: Some(self.end.0), because: GapCause::Retention };
        (self.chunks > 0).then_some((self.last, body))
    }

    /// Everything of the stream before it goes.
    pub const fn end(&self) -> ByteOffset {
        self.end
    }

    /// How many bytes go.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many chunks, and gaps that were looked at, go.
    pub const fn chunks(&self) -> usize {
        self.chunks
    }

    /// When the first chunk began to age that stays; `None` if none does.
    pub const fn oldest_at(&self) -> Option<WallTime> {
        self.oldest_at
    }
}

/// The cursor of a reader that is to begin with the record that holds some position of a stream, or with the
/// last one before it: its number and body, if there is one. Records of other streams may come first.
///
/// The gap that stands for what was cut has the number of the last chunk that it stands for. What other
/// streams wrote beside the first may still be there: a reader begins in front of all of it.
pub fn cursor_before(
    incarnation: Incarnation,
    record: Option<(ChunkSequence, &StoredBody)>,
) -> Cursor {
    let number = match record {
        Some((_, StoredBody::Gap { because: GapCause::Retention, .. })) | None => 0,
        Some((number, StoredBody::Gap { .. } | StoredBody::Chunk(_))) => number.0.saturating_sub(1),
    };
    Some((incarnation, ChunkSequence(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(ms)
    }

    /// Looks at chunks of 10 bytes, numbered by twos, one a millisecond; how many went.
    fn cut(mut cut: StreamCut) -> StreamCut {
        let mut chunks = 0..9_u64;
        while let Some(n) = chunks.next()
            && cut.look(ChunkSequence(2 * n + 1), ByteOffset(10 * n), 10, at(n as i64))
        {}
        cut
    }

    #[test]
    fn what_is_too_old_or_too_much_goes_and_no_more_than_a_transaction_takes() {
        let old = cut(StreamCut::new(at(3), 0, 100));
        assert_eq!((old.chunks(), old.bytes(), old.end()), (3, 30, ByteOffset(30)));
        assert_eq!(old.oldest_at(), Some(at(3)));
        let gap = StoredBody::Gap { length: Some(30), because: GapCause::Retention };
        assert_eq!(old.marker(), Some((ChunkSequence(5), gap)));
        let much = cut(StreamCut::new(at(0), 41, 100));
        assert_eq!((much.chunks(), much.oldest_at()), (5, Some(at(5))));
        let both = cut(StreamCut::new(at(3), 41, 100));
        assert_eq!(both.chunks(), 5);
        assert_eq!(cut(StreamCut::new(at(9), 0, 4)).chunks(), 4);
        let all = cut(StreamCut::new(at(9), 0, 100));
        assert_eq!((all.end(), all.oldest_at()), (ByteOffset(90), None));
        assert_eq!(cut(StreamCut::new(at(0), 0, 100)).marker(), None);
    }

    use crate::time::Timestamp;
    use core::time::Duration;

    const DAY: i64 = 24 * 3600 * 1000;

    /// A host in virtual time: what its clocks show after a duration, the wall off by an offset.
    fn host(seconds: u64, wall_off: i64) -> Now {
        let since = Duration::from_secs(seconds);
        Now {
            monotonic: Timestamp::from_origin(since),
            boot: Timestamp::from_origin(since),
            wall: at(1000 * DAY + 1000 * seconds as i64 + wall_off),
        }
    }

    /// Looks every ten seconds until then, as the keeper of history does.
    fn run(clock: &mut RetentionClock, seconds: core::ops::Range<u64>, wall_off: i64) {
        for second in seconds.step_by(10) {
            let _ = clock.advance(host(second, wall_off));
        }
    }

    #[test]
    fn a_wall_clock_that_jumps_while_it_runs_costs_no_more_age_than_the_time_it_is_wrong() {
        for jump in [400 * DAY, DAY, 36_500 * DAY] {
            let mut clock = RetentionClock::resumed(None, None, host(0, 0).wall);
            run(&mut clock, 0..3600, 0);
            assert_eq!(clock.shows(), host(3590, 0).wall);
            run(&mut clock, 3600..3620, jump);
            let ahead = clock.shows().unix_millis() - host(3610, 0).wall.unix_millis();
            assert_eq!(ahead, 20_000, "12 s of nonsense are worth seconds, not years");
            run(&mut clock, 3620..7200, 0);
            let ahead = clock.shows().unix_millis() - host(7190, 0).wall.unix_millis();
            assert_eq!(ahead, 20_000, "and nothing more for ever");
        }
    }

    #[test]
    fn a_wall_clock_that_falls_back_changes_nothing() {
        let mut clock = RetentionClock::resumed(None, None, host(0, 0).wall);
        run(&mut clock, 0..3600, 0);
        run(&mut clock, 3600..7200, -400 * DAY);
        assert_eq!(clock.shows(), host(7190, 0).wall, "observed time goes on");
        run(&mut clock, 7200..7300, 0);
        assert_eq!(clock.shows(), host(7290, 0).wall);
    }

    #[test]
    fn a_start_with_a_wrong_clock_ages_nothing() {
        let left = host(100, 0).wall;
        for jump in [60 * DAY, 400 * DAY, -400 * DAY] {
            let mut clock = RetentionClock::resumed(Some(left), None, host(100, jump).wall);
            assert_eq!(clock.shows(), left);
            // The clocks of a host restart with it.
            let _ = clock.advance(host(5, jump));
            assert_eq!(clock.shows(), left, "one reading is no time");
            run(&mut clock, 10..20, jump);
            let gained = clock.shows().unix_millis() - left.unix_millis();
            assert!((5000..=10_000).contains(&gained), "{gained}");
        }
    }

    #[test]
    fn what_no_server_saw_is_made_up_for_in_the_time_it_took() {
        let left = host(0, -40 * DAY).wall;
        let mut clock = RetentionClock::resumed(Some(left), None, host(0, 0).wall);
        run(&mut clock, 0..40 * 86_400, 0);
        let behind = host(40 * 86_400 - 10, 0).wall.unix_millis() - clock.shows().unix_millis();
        assert!(behind < 30_000, "{behind}");
        run(&mut clock, 40 * 86_400..40 * 86_400 + 100, 0);
        assert_eq!(clock.shows(), host(40 * 86_400 + 90, 0).wall);
    }

    #[test]
    fn a_database_without_the_clock_begins_at_its_newest_time_unless_the_wall_is_behind() {
        let wall = host(0, 0).wall;
        let newest = |off| Some(host(0, off).wall);
        let shows = |newest, wall| RetentionClock::resumed(None, newest, wall).shows();
        assert_eq!(shows(newest(-DAY), wall), host(0, -DAY).wall);
        assert_eq!(shows(newest(DAY), wall), wall, "written while the clock was ahead");
        assert_eq!(shows(newest(-DAY), host(0, 400 * DAY).wall), host(0, -DAY).wall);
        assert_eq!(shows(None, wall), wall);
    }

    #[test]
    fn gaps_go_with_what_is_before_the_next_chunk() {
        let mut cut = StreamCut::new(at(0), 5, 3);
        assert!(cut.look_gap(ChunkSequence(1), ByteOffset(0), 7, at(9)));
        assert!(cut.look(ChunkSequence(2), ByteOffset(7), 5, at(9)));
        assert!(cut.look_gap(ChunkSequence(3), ByteOffset(12), 1, at(9)));
        assert!(
            !cut.look_gap(ChunkSequence(4), ByteOffset(13), 1, at(9)),
            "no more than a transaction takes"
        );
        assert_eq!((cut.bytes(), cut.chunks(), cut.end()), (5, 3, ByteOffset(13)));
    }

    #[test]
    fn a_reader_begins_with_the_record_that_has_its_position_and_with_all_that_a_cut_stands_before()
    {
        let run = Incarnation(7);
        let cursor = |number, body: &StoredBody| {
            cursor_before(run, Some((ChunkSequence(number), body))).unwrap().1.0
        };
        assert_eq!(cursor(4, &StoredBody::Chunk(Bytes::from_static(b"x"))), 3);
        let gap = |because| StoredBody::Gap { length: Some(5), because };
        assert_eq!(cursor(4, &gap(GapCause::SpoolFull)), 3);
        assert_eq!(cursor(4, &gap(GapCause::Retention)), 0);
        assert_eq!(cursor_before(run, None), Some((run, ChunkSequence(0))));
    }
}
