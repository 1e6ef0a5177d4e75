//! The head of an entry in the ring: how far back the one before it is, what it is, and when it was.

use super::compact::{CompactError, Reader, Writer};
use crate::time::{Now, Timestamp, WallTime};
use core::time::Duration;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Origin,
    Checkpoint,
    Event,
    EventWithFrame,
}

pub(super) fn read_link(reader: &mut Reader<'_>) -> Result<(u64, Kind), CompactError> {
    let back = reader.value()?;
    let kind = match reader.value::<u8>()? {
        0 => Kind::Origin,
        1 => Kind::Checkpoint,
        2 => Kind::Event,
        3 => Kind::EventWithFrame,
        _ => return Err(CompactError::Refused),
    };
    Ok((back, kind))
}

const fn nanos(at: Timestamp) -> u64 {
    at.since_origin().as_nanos() as u64
}

pub(super) const fn wall_origin(now: Now) -> i64 {
    now.wall.unix_millis().wrapping_sub((nanos(now.monotonic) / NANOS_PER_MILLI) as i64)
}

/// The boot clock and the wall run beside the monotonic clock, so only how far they are off is kept.
pub(super) fn write_now(
    writer: &mut Writer<'_>,
    wall_origin: i64,
    now: Now,
) -> Result<(), CompactError> {
    let monotonic = nanos(now.monotonic);
    writer.value(&monotonic)?;
    writer.value(&(nanos(now.boot).wrapping_sub(monotonic) as i64))?;
    let expected = wall_origin.wrapping_add((monotonic / NANOS_PER_MILLI) as i64);
    writer.value(&now.wall.unix_millis().wrapping_sub(expected))
}

pub(super) fn read_now(reader: &mut Reader<'_>, wall_origin: i64) -> Result<Now, CompactError> {
    let monotonic: u64 = reader.value()?;
    let boot = monotonic.wrapping_add(reader.value::<i64>()? as u64);
    let expected = wall_origin.wrapping_add((monotonic / NANOS_PER_MILLI) as i64);
    let stamp = |nanos| Timestamp::from_origin(Duration::from_nanos(nanos));
    Ok(Now {
        monotonic: stamp(monotonic),
        boot: stamp(boot),
        wall: WallTime::from_unix_millis(expected.wrapping_add(reader.value()?)),
    })
}
