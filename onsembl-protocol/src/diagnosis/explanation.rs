//! The one explanation of an agent's presence: a pure function of what its machine published.
//!
//! The status is the machine's, word for word; nothing here judges liveness. What is added is what follows from the
//! transitions: on what evidence, and what becomes of it if nothing more happens, and when.

use crate::close::{CloseReason, Initiator};
use crate::model::{Confidence, Evidence};
use crate::session::{Ground, Presence, PresenceCause, PresenceStatus, ServerConfig};
use crate::time::WallTime;
use alloc::string::{String, ToString};
use core::time::Duration;
use serde::{Deserialize, Serialize, Serializer};

/// What the transitions of one agent add up to, from the birth of its machine: the latest one, and how it left its
/// session if it is away. As small as it is, it goes with each transition into the log, so that a reader who has
/// the latest needs no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceTrack {
    latest: Presence,
    away: Option<Away>,
}

/// How an agent left its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Away {
    from: WallTime,
    /// What is shown of it while no hello is being looked at.
    shown: PresenceStatus,
    cause: PresenceCause,
}

impl PresenceTrack {
    /// Begins with the first that a machine published.
    #[must_use]
    pub fn begin(first: Presence) -> Self {
        Self { latest: first, away: None }.behind(first, PresenceStatus::Offline)
    }

    /// The next transition. One that is not newer changes nothing.
    #[must_use]
    pub fn then(self, next: Presence) -> Self {
        if next.version <= self.latest.version {
            return self;
        }
        self.behind(next, self.latest.status)
    }

    fn behind(self, next: Presence, before: PresenceStatus) -> Self {
        let cause = next.because.cause;
        let left = |shown| Away { from: next.since, shown, cause };
        // A machine that was offline is over; what comes is another one's.
        let away_before = self.away.filter(|_| before != PresenceStatus::Offline);
        let away = match (next.status, before.is_in_session()) {
            (PresenceStatus::Online | PresenceStatus::Stale | PresenceStatus::Error, _) => None,
            // A newer link was there already when the session ended.
            (PresenceStatus::Connecting, true) => Some(left(match cause.ground() {
                Ground::Silence(_) => PresenceStatus::TimedOut,
                Ground::Said(_) | Ground::Link(_) | Ground::Time(_) => PresenceStatus::Reconnecting,
            })),
            (PresenceStatus::Connecting, false) => away_before,
            (PresenceStatus::TimedOut | PresenceStatus::Reconnecting, _) => {
                away_before.or(Some(left(next.status)))
            }
            (PresenceStatus::Offline, true) => Some(left(next.status)),
            (PresenceStatus::Offline, false) => away_before.or(Some(left(next.status))),
        };
        Self { latest: next, away }
    }

    /// The latest that was published.
    pub(crate) const fn latest(&self) -> &Presence {
        &self.latest
    }
}

/// What a reader is told of an agent's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The status of its machine.
    #[serde(serialize_with = "status_name")]
    pub state: PresenceStatus,
    /// Since when it holds.
    #[serde(serialize_with = "rfc3339")]
    pub since: WallTime,
    /// The reason, for people; the same text as in `status` and the log.
    pub because: String,
    /// What that rests on.
    pub evidence: Evidence,
    /// What comes next, if nothing but time happens. `None` if nothing does.
    #[serde(serialize_with = "status_name_if")]
    pub next_state: Option<PresenceStatus>,
    /// When, at the earliest: a server that does not run for a while adds that time. `None` if it is unknown.
    #[serde(serialize_with = "rfc3339_if")]
    pub next_change_at: Option<WallTime>,
    /// How sure it is that `because` is the whole reason.
    pub confidence: Confidence,
}

impl Explanation {
    /// What can be said of a presence whose transitions are unknown, such as one that an earlier run published.
    #[must_use]
    pub fn without_transitions(state: PresenceStatus, since: WallTime, because: String) -> Self {
        Self {
            state,
            since,
            because,
            evidence: Evidence::NONE,
            next_state: None,
            next_change_at: None,
            confidence: Confidence::Low,
        }
    }
}

/// Explains a presence. `heard` is when the last frame of the agent came, in its present session.
#[must_use]
pub fn explain(
    track: &PresenceTrack,
    heard: Option<WallTime>,
    config: &ServerConfig,
) -> Explanation {
    let Presence { status, since, because, .. } = track.latest;
    let (next_state, next_change_at) = next(track, heard, config);
    Explanation {
        state: status,
        since,
        because: because.to_string(),
        evidence: evidence(track, heard),
        next_state,
        next_change_at,
        confidence: confidence(track.reason()),
    }
}

/// The shortest time between two readings of the same agent as `stale`, which is all that silence alone can bring:
/// so often a reader may be told, and no oftener. Other changes come as often as links open and end.
pub const fn dwell(config: &ServerConfig) -> Duration {
    config.timing.stale_after()
}

fn next(
    track: &PresenceTrack,
    heard: Option<WallTime>,
    config: &ServerConfig,
) -> (Option<PresenceStatus>, Option<WallTime>) {
    let Presence { status, since, .. } = track.latest;
    let timing = config.timing;
    match (status, track.away) {
        // It began by being heard, whatever is known of later frames.
        (PresenceStatus::Online, _) => {
            let heard = heard.map_or(since, |heard| heard.max(since));
            (Some(PresenceStatus::Stale), Some(later(heard, timing.stale_after())))
        }
        (PresenceStatus::Error, _) => {
            let at = heard.map(|heard| later(heard, timing.stale_after()));
            (Some(PresenceStatus::Stale), at)
        }
        (PresenceStatus::Stale, _) => {
            let at = heard.map(|heard| later(heard, timing.timeout_after()));
            (Some(PresenceStatus::TimedOut), at)
        }
        (PresenceStatus::TimedOut | PresenceStatus::Reconnecting, away) => {
            let from = away.map(|away| later(away.from, config.resume_window));
            (Some(PresenceStatus::Offline), from)
        }
        (PresenceStatus::Connecting, None) => {
            (Some(PresenceStatus::Offline), Some(later(since, config.admission_timeout)))
        }
        // Its hello came while the session still lived, at a time that was not published.
        (PresenceStatus::Connecting, Some(away)) if away.from == since => (Some(away.shown), None),
        (PresenceStatus::Connecting, Some(away)) => {
            let given_up = later(since, config.admission_timeout);
            let to = match given_up < later(away.from, config.resume_window) {
                true => away.shown,
                false => PresenceStatus::Offline,
            };
            (Some(to), Some(given_up))
        }
        (PresenceStatus::Offline, _) => (None, None),
    }
}

fn later(at: WallTime, by: Duration) -> WallTime {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(at.unix_millis().saturating_add(millis))
}

impl PresenceTrack {
    /// What the status comes from: of an agent that is away, how it left.
    fn reason(&self) -> PresenceCause {
        match (self.latest.because.cause, self.away) {
            (PresenceCause::ResumeWindowOver(_) | PresenceCause::NotAdmitted(_), Some(away)) => {
                away.cause
            }
            (cause, _) => cause,
        }
    }
}

/// Whether the server did it or was told, saw a link end without a reason, or saw nothing at all.
const fn confidence(cause: PresenceCause) -> Confidence {
    match cause.ground() {
        Ground::Said(_) => Confidence::High,
        Ground::Link(reason) => match reason.initiator {
            Initiator::Local | Initiator::Peer => Confidence::High,
            Initiator::Link => Confidence::Low,
        },
        Ground::Silence(_) | Ground::Time(_) => Confidence::Low,
    }
}

fn evidence(track: &PresenceTrack, heard: Option<WallTime>) -> Evidence {
    let because = track.latest.because;
    let mut evidence = Evidence::NONE.with("cause", because.cause.kind().as_str());
    evidence = of_cause(evidence, because.cause);
    if let Some(away) = track.away {
        evidence = evidence.with("left", away.from);
        if away.cause != because.cause {
            evidence = of_cause(evidence.with("left_by", away.cause.kind().as_str()), away.cause);
        }
    }
    if let Some(fault) = because.impairment {
        evidence = evidence.with("impairment", fault.to_string());
    }
    if let Some(trouble) = because.trouble {
        evidence = evidence.with("store", trouble.to_string());
    }
    match heard {
        Some(heard) => evidence.with("heard", heard),
        None => evidence,
    }
}

fn of_cause(evidence: Evidence, cause: PresenceCause) -> Evidence {
    match cause.ground() {
        Ground::Said(None) => evidence,
        Ground::Said(Some(close)) => evidence.with("close_code", close.code().0),
        Ground::Silence(silence) => evidence.with("silence", silence),
        Ground::Link(reason) => of_end(evidence, reason),
        Ground::Time(window) => evidence.with("resume_window", window),
    }
}

/// How a link ended, as the server has it.
fn of_end(evidence: Evidence, reason: CloseReason) -> Evidence {
    let by = match reason.initiator {
        Initiator::Local => "server",
        Initiator::Peer => "agent",
        Initiator::Link => "neither",
    };
    evidence.with("ended_by", by).with("close_code", reason.cause.code().0)
}

pub(super) fn status_name<S: Serializer>(status: &PresenceStatus, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(status.as_str())
}

fn status_name_if<S: Serializer>(status: &Option<PresenceStatus>, s: S) -> Result<S::Ok, S::Error> {
    status.map(PresenceStatus::as_str).serialize(s)
}

pub(super) fn rfc3339<S: Serializer>(at: &WallTime, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(at)
}

pub(super) fn rfc3339_if<S: Serializer>(at: &Option<WallTime>, s: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(s)
}
