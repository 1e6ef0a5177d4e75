//! Times as people read them in a list: how long ago, and how long something took.

use onsembl_protocol::time::WallTime;
use std::time::Duration;

/// How long before `now` that was, in one unit: `12s`, `5m`, `3h`, `4d`.
pub(super) fn age(at: &str, now: WallTime) -> String {
    WallTime::parse_rfc3339(at).map_or_else(|| "-".to_owned(), |at| age_of(at, now))
}

/// The same.
pub(super) fn age_of(at: WallTime, now: WallTime) -> String {
    // The clocks of two machines are not the same.
    let seconds = now.unix_millis().saturating_sub(at.unix_millis()).max(0) / 1000;
    length(seconds)
}

/// How long after `now` that is: `in 3h`, or `3h ago`.
pub(super) fn until(at: WallTime, now: WallTime) -> String {
    let seconds = at.unix_millis().saturating_sub(now.unix_millis()) / 1000;
    match seconds {
        0.. => format!("in {}", length(seconds)),
        _ => format!("{} ago", length(seconds.saturating_neg())),
    }
}

fn length(seconds: i64) -> String {
    match seconds {
        // As with other tools: two minutes are told in seconds, two hours in minutes, two days in hours.
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// From one time to another, in two units at most: `1m 20s`.
pub(super) fn took(from: &str, to: Option<&str>) -> String {
    let between = || {
        let (from, to) = (WallTime::parse_rfc3339(from)?, WallTime::parse_rfc3339(to?)?);
        u64::try_from(to.unix_millis() - from.unix_millis()).ok()
    };
    between().map_or_else(|| "-".to_owned(), |millis| taken(Duration::from_millis(millis)))
}

fn taken(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..10 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit_and_a_clock_that_is_behind_makes_nothing_up() {
        let now = WallTime::parse_rfc3339("2026-11-30T12:00:00.000Z").unwrap();
        for (at, shown) in [
            ("2026-11-30T11:59:48.400Z", "11s"),
            ("2026-11-30T11:58:01Z", "119s"),
            ("2026-11-30T11:55:00Z", "5m"),
            ("2026-11-30T09:00:00Z", "3h"),
            ("2026-11-26T12:00:00Z", "4d"),
            ("2026-11-30T12:00:05Z", "0s"),
            ("yesterday", "-"),
        ] {
            assert_eq!(age(at, now), shown, "{at}");
        }
        let at = |text: &str| WallTime::parse_rfc3339(text).unwrap();
        assert_eq!(until(at("2026-11-30T15:00:00Z"), now), "in 3h");
        assert_eq!(until(at("2026-11-30T11:00:00Z"), now), "60m ago");
    }

    #[test]
    fn how_long_something_took_is_short_and_nothing_is_made_up() {
        let created = "2026-11-25T16:19:14.260Z";
        assert_eq!(took(created, Some("2026-11-25T16:19:14.380Z")), "120ms");
        assert_eq!(took(created, Some("2026-11-25T16:19:17.380Z")), "3.1s");
        assert_eq!(took(created, Some("2026-11-25T16:20:14.380Z")), "1m00s");
        assert_eq!(took(created, Some("2026-11-25T18:20:14.380Z")), "2h01m");
        assert_eq!(took(created, None), "-");
        assert_eq!(took(created, Some("2026-11-25T16:19:14.000Z")), "-", "its clock went back");
    }
}
