//! How orders of a user change what an agent does.

/// Whether a command that is ended gets a grace period. The greater one holds: an order without grace is not taken back
/// by a later one with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Force {
    /// Its processes are asked to end, and killed after the grace period.
    #[default]
    Grace,
    /// Its processes are killed at once.
    AtOnce,
}

impl Force {
    /// As messages say it.
    pub(crate) const fn of(force: bool) -> Self {
        if force { Self::AtOnce } else { Self::Grace }
    }

    /// Whether there is no grace period.
    pub(crate) const fn is_at_once(self) -> bool {
        match self {
            Self::AtOnce => true,
            Self::Grace => false,
        }
    }
}

/// Whether an agent starts commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pausing {
    /// None, by order; what comes waits.
    Paused,
    /// Commands are started.
    #[default]
    Running,
}

impl Pausing {
    /// As messages say it.
    pub const fn of(paused: bool) -> Self {
        if paused { Self::Paused } else { Self::Running }
    }

    /// Whether nothing is started.
    pub const fn is_paused(self) -> bool {
        match self {
            Self::Paused => true,
            Self::Running => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_states_say_the_same() {
        for said in [false, true] {
            assert_eq!(Force::of(said).is_at_once(), said);
            assert_eq!(Pausing::of(said).is_paused(), said);
        }
        assert_eq!(Force::Grace.max(Force::AtOnce), Force::AtOnce);
    }
}
