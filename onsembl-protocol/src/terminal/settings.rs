//! How a terminal is set at one moment, as far as it matters to what is typed into it.

/// How a terminal is set, and who is before it. A snapshot: its program may change it at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct TerminalSettings {
    pub lines: LineMode,
    pub echo: Echo,
    pub carriage_return: CarriageReturn,
    pub foreground: Foreground,
}

/// Who gathers the characters of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum LineMode {
    /// The terminal, which has a bound.
    Terminal,
    Program,
}

/// Whether the terminal shows what is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Echo {
    On,
    Off,
}

/// What the terminal makes of a carriage return (`ICRNL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarriageReturn {
    /// A line feed.
    Translated,
    /// It stays one.
    Kept,
}

/// Whose process group gets the keys, and the signals that keys send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreground {
    /// That of the terminal's own program, which nobody could continue if it were suspended.
    Program,
    /// That of a job, which the program can continue.
    Job,
}

impl TerminalSettings {
    /// As terminals are when they are opened.
    pub const AS_OPENED: Self = Self {
        lines: LineMode::Terminal,
        echo: Echo::On,
        carriage_return: CarriageReturn::Translated,
        foreground: Foreground::Program,
    };

    /// What ends a line, or submits what was typed. A terminal that gathers lines ends one at a line feed, and may
    /// not make one of a carriage return.
    pub const fn enter(&self) -> &'static [u8] {
        match (self.lines, self.carriage_return) {
            (LineMode::Terminal, CarriageReturn::Kept) => b"\n",
            (LineMode::Terminal, CarriageReturn::Translated) | (LineMode::Program, _) => b"\r",
        }
    }

    /// Whether what suspends the foreground may be typed. The terminal's own program would stay suspended, since nothing
    /// could continue it; what cannot be seen is taken for a job.
    pub fn may_suspend(settings: Option<Self>) -> bool {
        match settings.map(|settings| settings.foreground) {
            Some(Foreground::Program) => false,
            Some(Foreground::Job) | None => true,
        }
    }

    /// Whether what must be typed in this mode may be, if that matters.
    pub fn is_in(settings: Option<Self>, required: Option<LineMode>) -> bool {
        required.is_none() || required == settings.map(|settings| settings.lines)
    }

    /// Whether a program has set it for reading from it.
    pub(super) const fn show_a_reader(&self) -> bool {
        !matches!((self.lines, self.echo), (LineMode::Terminal, Echo::On))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_is_what_ends_a_line_in_the_mode_of_the_terminal() {
        let opened = TerminalSettings::AS_OPENED;
        assert_eq!(opened.enter(), b"\r");
        let kept = TerminalSettings { carriage_return: CarriageReturn::Kept, ..opened };
        assert_eq!(kept.enter(), b"\n", "a carriage return would be a character of the line");
        assert_eq!(TerminalSettings { lines: LineMode::Program, ..kept }.enter(), b"\r");
    }

    #[test]
    fn only_a_job_is_suspended() {
        let opened = TerminalSettings::AS_OPENED;
        assert!(!TerminalSettings::may_suspend(Some(opened)), "nothing could continue it");
        let job = TerminalSettings { foreground: Foreground::Job, ..opened };
        assert!(TerminalSettings::may_suspend(Some(job)) && TerminalSettings::may_suspend(None));
    }

    #[test]
    fn a_mode_that_is_required_must_be_seen() {
        let opened = Some(TerminalSettings::AS_OPENED);
        assert!(TerminalSettings::is_in(opened, None) && TerminalSettings::is_in(None, None));
        assert!(TerminalSettings::is_in(opened, Some(LineMode::Terminal)));
        assert!(!TerminalSettings::is_in(opened, Some(LineMode::Program)));
        assert!(!TerminalSettings::is_in(None, Some(LineMode::Terminal)));
    }
}
