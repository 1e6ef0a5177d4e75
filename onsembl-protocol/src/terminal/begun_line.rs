//! The one line into which persons and submissions type: whether it has been begun and not ended, by whom, and what of
//! earlier texts stands in it. A text that is typed into such a line would be sent with it.

use super::line::{Content, LocalLine, Typist};
use super::submission::{Standing, Typing, standing_behind};
use crate::time::{Human, Timestamp};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// The line of a terminal, as far as it shows from what was typed.
#[derive(Debug)]
pub(crate) struct BegunLine {
    line: LocalLine,
    /// The same of what persons typed while a submission was being typed: it stands behind that.
    meanwhile: LocalLine,
    /// When a person last pressed a key, and where.
    touched: Option<(Timestamp, Person)>,
    /// How long a begun line that nobody touches defers texts of others.
    idle: Duration,
    rest: Rest,
    /// Bytes that keys left in a line that the terminal gathers.
    standing: Standing,
}

/// What stands in the line of a text that was not typed whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// A part of it, where the next one would go.
    PartOfText,
}

/// Who types key by key into the one line that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    /// Whoever sits at the agent's own terminal.
    AtMachine,
    /// The holder of the keyboard.
    Remote,
}

/// What is in progress while a person types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    Nothing,
    /// A submission is being typed.
    Submission,
}

/// A line that defers texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocker {
    touched: Timestamp,
    pub(super) by: Person,
    /// Until when, if nobody touches it.
    pub(super) until: Timestamp,
}

impl BegunLine {
    pub(super) fn new(idle: Duration) -> Self {
        let (line, meanwhile) = (LocalLine::default(), LocalLine::default());
        Self { line, meanwhile, touched: None, idle, rest: Rest::Nothing, standing: 0 }
    }

    /// A person typed something. Gives where in it are keys that suspend.
    pub(super) fn on_person(
        &mut self,
        bytes: &[u8],
        by: Person,
        during: During,
        now: Timestamp,
    ) -> Vec<Range<usize>> {
        let keys = self.line.read(bytes, Typist::Local);
        match during {
            During::Submission => {
                let _ = self.meanwhile.read(bytes, Typist::Local);
            }
            During::Nothing => {}
        }
        self.standing = standing_behind(bytes, self.standing);
        if keys.pressed > 0 {
            self.touched = Some((now, by));
        }
        if keys.pressed > 0 && !self.line.is_begun() {
            // The line was submitted or cleared at the keyboard.
            self.rest = Rest::Nothing;
        }
        keys.suspends
    }

    /// A submission is being typed from now on.
    pub(super) fn on_typing(&mut self) {
        self.meanwhile = LocalLine::default();
    }

    /// This was typed whole.
    pub(super) fn on_whole(&mut self, typing: &Typing) {
        let mut are_keys = false;
        for keys in typing.pressed() {
            are_keys = true;
            let _ = self.line.read(keys, Typist::Remote);
        }
        if are_keys {
            // Their sender sees the line, and is responsible for it.
            self.rest = Rest::Nothing;
        } else {
            // What a person typed behind it stands there still.
            self.line = core::mem::take(&mut self.meanwhile);
        }
        self.standing = typing.standing_after(self.standing);
    }

    /// Of a text a part was typed.
    pub(super) fn on_part(&mut self) {
        self.rest = Rest::PartOfText;
    }

    /// The program ended, and the line with it.
    pub(super) fn on_program_ended(&mut self) {
        self.line = LocalLine::default();
        self.touched = None;
        self.rest = Rest::Nothing;
        self.standing = 0;
    }

    /// Whether a part of an earlier text stands where the next one would go.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.rest == Rest::PartOfText
    }

    /// Bytes that keys left in a line that the terminal gathers.
    pub(crate) const fn standing(&self) -> Standing {
        self.standing
    }

    /// How long a line that nobody touches defers texts.
    pub(super) const fn idle(&self) -> Duration {
        self.idle
    }

    /// By what it defers texts, if it does: they would be sent with it.
    pub(super) fn blocker(&self, now: Timestamp) -> Option<Blocker> {
        let (touched, by) = self.touched.filter(|_| self.line.is_begun())?;
        let until = touched.saturating_add(self.idle);
        (now < until).then_some(Blocker { touched, by, until })
    }

    /// Whether a person pressed a key since.
    pub(super) fn is_touched_after(&self, asked_at: Timestamp) -> bool {
        self.touched.is_some_and(|(touched, _)| touched > asked_at)
    }

    /// Why a text is refused that it deferred for too long.
    pub(super) fn refusal(&self, blocker: Blocker, now: Timestamp) -> String {
        let origin = match blocker.by {
            Person::AtMachine => "at the agent's own terminal",
            Person::Remote => "by the holder of the keyboard",
        };
        let what = match self.line.content() {
            Content::Empty => "nothing".into(),
            Content::Characters(1) => "1 character".into(),
            Content::Characters(characters) => format!("{characters} characters"),
            Content::Unknown => "something".into(),
        };
        format!(
            "{origin} an unfinished line is being typed ({what} in it, last key {} ago), and this text would be submitted with it; nothing was typed. Send it again under a new id when the line is finished or has been untouched for {}; or clear the line (exec --keys … -- ctrl-u), or append to it on purpose (exec --take)",
            Human(now.saturating_since(blocker.touched)),
            Human(self.idle),
        )
    }
}
