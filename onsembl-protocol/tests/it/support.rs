//! What all tests share: moments in virtual time.

use onsembl_protocol::time::{Now, Timestamp, WallTime};
use std::path::Path;
use std::time::Duration;

/// Wall time of the origin of all virtual clocks.
pub(crate) const EPOCH_MS: i64 = 1_762_041_600_000;

/// Whether this is the crate as it is published, without the documents that are beside it in the repository.
pub(crate) fn is_packaged() -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml.orig").exists()
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn stamp(elapsed: Duration) -> Timestamp {
    Timestamp::from_origin(elapsed)
}

/// All clocks of a host that never slept, so long after their origin.
pub(crate) fn now(elapsed: Duration) -> Now {
    awake_and_asleep(elapsed, Duration::ZERO)
}

/// The clocks of a host that was awake and asleep for so long.
pub(crate) fn awake_and_asleep(awake: Duration, asleep: Duration) -> Now {
    Now {
        monotonic: stamp(awake),
        boot: stamp(awake + asleep),
        wall: WallTime::from_unix_millis(EPOCH_MS + (awake + asleep).as_millis() as i64),
    }
}
