//! Dialling. It demands: attempt *k* falls into window *k*; each window begins where the last one
//! ended, and they are reset only by a stable session or a sleep; a server that asks for peace
//! gets it; a refused token waits long; and no wait is without end.

use super::host::Host;
use super::rules::Rules;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::LocalNanos;
use alloc::format;

/// A server that asks for more peace than this gets so much (P-13).
const LONGEST_RETRY_AFTER: u64 = 60_000_000_000;

/// The windows of one agent, as the protocol defines them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Windows {
    attempts: u32,
    ends: LocalNanos,
    /// A refusal whose kind is not among the facts left it open where the next window is.
    vague: bool,
}

/// How a link was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    LinkEnded,
    Silence,
}

/// A wait for the next attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) after: Loss,
    earliest: LocalNanos,
    /// The server asked for peace until then.
    peace: Option<LocalNanos>,
    latest: LocalNanos,
}

impl Windows {
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The next attempt after a failure that says nothing of its own.
    pub(super) fn next(&mut self, now: LocalNanos, rules: &Rules) -> Wait {
        let factor = 1u64.checked_shl(self.attempts).unwrap_or(u64::MAX);
        let window = rules.first_window.saturating_mul(factor).min(rules.longest_window);
        self.attempts = self.attempts.saturating_add(1).min(63);
        let start = self.ends.max(now);
        self.ends = start + window;
        if self.vague {
            let latest = now + 2 * (rules.longest_window + rules.refused_wait);
            return Wait { after: Loss::LinkEnded, earliest: now, peace: None, latest };
        }
        Wait { after: Loss::LinkEnded, earliest: start, peace: None, latest: self.ends }
    }

    /// The next attempt after the server asked for so much time.
    pub(super) fn after(&mut self, asked: u64, now: LocalNanos, rules: &Rules) -> Wait {
        let asked = asked.min(LONGEST_RETRY_AFTER);
        let until = now.saturating_add(asked);
        self.ends = self.ends.max(until);
        let wait = self.next(now, rules);
        Wait { peace: Some(until), latest: wait.latest.saturating_add(asked), ..wait }
    }

    /// The next attempt after a refused token.
    pub(super) fn refused(&mut self, now: LocalNanos, rules: &Rules) -> Wait {
        let least = rules.refused_wait;
        self.ends = now + least;
        Wait { after: Loss::LinkEnded, earliest: now + least, peace: None, latest: now + 2 * least }
    }

    /// The next attempt after a refused hello: as after a refused token, or as after any failure.
    pub(super) fn either(&mut self, now: LocalNanos, rules: &Rules) -> Wait {
        self.vague = true;
        self.next(now, rules)
    }

    /// The host slept, and the server has given the link up: at once.
    pub(super) fn at_once(&mut self, now: LocalNanos, rules: &Rules) -> Wait {
        self.reset();
        Wait { after: Loss::LinkEnded, earliest: now, peace: None, latest: now + rules.tolerance }
    }
}

impl Wait {
    /// This wait, after a link that was silent.
    pub(super) fn after_silence(self) -> Self {
        Self { after: Loss::Silence, ..self }
    }

    /// The host slept: a wait is over, but one that the server asked for is only shortened.
    pub(super) fn slept(&mut self, slept: u64, rules: &Rules, windows: &mut Windows) {
        match &mut self.peace {
            Some(until) => {
                let gained = slept + rules.tolerance;
                *until = until.saturating_sub(gained);
                self.earliest = self.earliest.saturating_sub(gained);
            }
            None => {
                self.earliest = 0;
                if slept >= rules.slept {
                    windows.reset();
                } else {
                    windows.vague = true;
                }
            }
        }
    }

    pub(super) fn due(&self, host: &Host) -> LocalNanos {
        host.latest(self.latest, 0)
    }

    /// The attempt is made now.
    pub(super) fn ends(&self, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
        if let Some(until) = self.peace {
            let latest = now + rules.wobble;
            demand(latest >= until, Invariant::RetryAfterObeyed, "the server left alone", || {
                format!("a dial {} ns too early", until - now)
            })?;
        }
        demand(
            now + rules.wobble >= self.earliest,
            Invariant::RedialsByBackoff,
            "no dial before its window",
            || format!("one {} ns before it", self.earliest - now),
        )?;
        self.goes_on(now, host, rules)
    }

    /// No attempt was made until now.
    pub(super) fn goes_on(&self, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
        demand(
            now <= self.due(host) + rules.tolerance,
            Invariant::ComesBack,
            "a dial by the end of its window",
            || format!("none {} ns after it", now - self.latest),
        )
    }
}
