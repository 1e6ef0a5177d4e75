//! The numbers that a world goes by, as plain nanoseconds, so that the model needs no type of the
//! machines. The simulation fills them in from the configuration that the machines were given.

/// The times of a world, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Heartbeat interval that the server names.
    pub interval: u64,
    /// Silence after which a peer is stale.
    pub stale_after: u64,
    /// Silence after which a link is given up.
    pub timeout_after: u64,
    /// Interval, stale-after and timeout-after of an agent whose server named none (P-180).
    pub legacy: (u64, u64, u64),
    /// How long the server keeps the session of an agent that is away.
    pub resume_window: u64,
    /// How long a dial may take.
    pub dial_timeout: u64,
    /// How long an agent waits for the answer to its hello.
    pub hello_timeout: u64,
    /// How long a server waits for its store to open a session.
    pub admission_timeout: u64,
    /// The first window of the backoff.
    pub first_window: u64,
    /// The longest window of the backoff.
    pub longest_window: u64,
    /// How long a session must last to restart the windows.
    pub stable_after: u64,
    /// The shortest wait after a refused token; the longest is twice as long.
    pub refused_wait: u64,
    /// A wake-up later than this is an absence (P-77).
    pub absence: u64,
    /// In a stale phase a present observer looks at least so often.
    pub look_every: u64,
    /// How long a suspension must last to count as sleep (P-66).
    pub slept: u64,
    /// How late a present driver may serve a deadline.
    pub tolerance: u64,
    /// How far a sample of a monotonic clock may fall back behind the clock.
    pub wobble: u64,
    /// Whether each presence is in the store when it is shown. Where it is not, a server that
    /// ends may forget the last ones and number them again.
    pub presence_is_durable: bool,
}

const SECOND: u64 = 1_000_000_000;

impl Rules {
    /// The defaults of the protocol, with a driver that is at most 100 ms late.
    pub const DEFAULT: Self = Self {
        interval: 30 * SECOND,
        stale_after: 45 * SECOND,
        timeout_after: 90 * SECOND,
        legacy: (30 * SECOND, 45 * SECOND, 90 * SECOND),
        resume_window: 300 * SECOND,
        dial_timeout: 10 * SECOND,
        hello_timeout: 30 * SECOND,
        admission_timeout: 25 * SECOND,
        first_window: SECOND,
        longest_window: 30 * SECOND,
        stable_after: 10 * SECOND,
        refused_wait: 30 * SECOND,
        absence: SECOND / 2,
        look_every: SECOND,
        slept: SECOND,
        tolerance: SECOND / 10,
        wobble: 0,
        presence_is_durable: true,
    };

    /// The rules of an agent's end whose server names none.
    pub(super) fn for_legacy(self) -> Self {
        let (interval, stale_after, timeout_after) = self.legacy;
        Self { interval, stale_after, timeout_after, ..self }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::DEFAULT
    }
}
