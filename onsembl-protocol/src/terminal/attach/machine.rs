//! One attachment: the machine that joins what is shown, what is typed and how it is left.

use super::detach::{DetachKey, DetachWatch, Typed};
use super::typist::{KeyboardSaid, Refused, Typist, TypistSays, Wish};
use super::view::{TerminalPosition, View};
use crate::model::TerminalSize;
use crate::time::{Deadline, Timestamp};
use alloc::borrow::ToOwned as _;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use bytes::Bytes;
use core::time::Duration;

/// A viewer that is further behind gets the screen instead of what it missed: 256 KiB, which a terminal shows in some
/// 20 ms. More nobody reads.
const BEHIND: u64 = 256 * 1024;
/// Between two fresh screens: 100 ms.
const FRESH_EVERY: Duration = Duration::from_millis(100);
/// How long a screen that could not be had is waited for before it is asked for again: 1 s.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a notice stands on the screen: 4 s.
const NOTICE: Duration = Duration::from_secs(4);
/// The server is told of what is shown in steps of 8 KiB, a quarter of what may be on its way.
const TOLD_EVERY: u64 = 8 * 1024;
/// What ends a look besides the key that detaches.
const CTRL_C: u8 = 3;

/// What is to be attached to what.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AttachConfig {
    pub wish: Wish,
    pub detach: DetachKey,
    pub sizing: Sizing,
    /// The size of the person's own terminal, if it says one.
    pub here: Option<TerminalSize>,
}

/// What becomes of the size of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// It follows the one of the person who types.
    Follow,
    /// It stays.
    Keep,
}

/// A screen, as a text that draws it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Drawing {
    /// Everything before it was drawn; none if nothing was written yet.
    pub at: Option<TerminalPosition>,
    pub size: TerminalSize,
    pub bytes: Bytes,
}

/// What happens to an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AttachEvent {
    /// The server greets over a new link.
    Greeted {
        /// It knows remote typing.
        typing: bool,
        /// It wants to be told what is shown.
        live: bool,
    },
    /// The link is lost, for this reason, and is being dialled again.
    Lost(String),
    /// There is a new link.
    Back,
    /// The server sends from where it was asked to.
    Watching,
    /// It does not send, for this reason.
    NotWatching(String),
    Output {
        at: TerminalPosition,
        bytes: Bytes,
    },
    /// This many bytes are lost.
    Gap {
        at: TerminalPosition,
        length: u64,
    },
    Sized {
        at: TerminalPosition,
        size: TerminalSize,
    },
    /// The server says that so much is missing that the present is to be shown; it sends nothing more.
    Behind,
    Keyboard(KeyboardSaid),
    /// The server refuses something, for this reason.
    Refused(Option<Refused>, String),
    /// The terminal ended, for this reason.
    Ended(String),
    /// The screen that was asked for.
    Fetched(Drawing),
    /// It could not be had.
    NotFetched,
    /// Keys were pressed here.
    Keys(Bytes),
    /// The person's terminal has this size.
    Resized(Option<TerminalSize>),
    /// Somebody else had the person's terminal meanwhile.
    Continued,
    /// The person's terminal is closed.
    Closed,
    /// This process is to end, by this signal.
    Signal(i32),
    /// A deadline passed, or something that waited was shown.
    Wake,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AttachAction {
    /// Ask the server for the output from there on; from its beginning if there is no position.
    Watch(Option<TerminalPosition>),
    Unwatch,
    /// Tell the server that everything before this is shown.
    Taken(TerminalPosition),
    Type(TypistSays),
    /// Ask the server to give the terminal this size.
    Resize(TerminalSize),
    /// Have the screen fetched, instead of one that is being fetched.
    Fetch,
    /// What is fetched is not needed any more.
    DropFetch,
    /// Show this screen instead of what is shown.
    Draw(Bytes),
    /// Show this output behind what is shown.
    Show(Bytes),
    /// Say this where it is seen.
    Notice(String),
    /// It is over.
    Leave(Departure),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Departure {
    Detached,
    /// The terminal ended, or cannot be looked at, for this reason.
    Ended(String),
    Signal(i32),
    /// The person's terminal is closed.
    Closed,
}

/// Whether a screen is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetching {
    Idle,
    /// One is to be asked for then.
    Due(Timestamp),
    UnderWay,
}

/// What the server wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// What is shown; this was said last.
    Shown(Option<TerminalPosition>),
}

/// One attachment. A [queue machine](crate::step#two-contracts).
#[derive(Debug)]
pub struct Attach {
    view: View,
    typist: Typist,
    keys: DetachWatch,
    key: DetachKey,
    sizing: Sizing,
    /// Of the person's terminal.
    here: Option<TerminalSize>,
    /// Of the terminal that is looked at.
    size: TerminalSize,
    fetching: Fetching,
    /// Until when a notice is on the screen.
    notice_until: Option<Timestamp>,
    told: Told,
    /// Bytes that are not shown yet.
    unshown: u64,
    actions: VecDeque<AttachAction>,
}

impl Attach {
    /// Attaches, beginning with this screen.
    pub fn new(config: AttachConfig, first: Drawing, now: Timestamp) -> Self {
        let AttachConfig { wish, detach, sizing, here } = config;
        let size = first.size;
        let mut new = Self {
            view: View::default(),
            typist: Typist::new(wish),
            keys: DetachWatch::new(detach),
            key: detach,
            sizing,
            here,
            size,
            fetching: Fetching::Idle,
            notice_until: None,
            told: Told::Nothing,
            unshown: 0,
            actions: VecDeque::new(),
        };
        new.draw(first, 0, now);
        if let Some(here) = here.filter(|here| *here != size)
            && wish == Wish::Look
        {
            new.notice(format!("the remote terminal is {size}, this one is {here}"), now);
        }
        new
    }

    /// Takes one event. `unshown` is how many bytes were to be shown and are not yet.
    pub fn handle(&mut self, event: AttachEvent, unshown: usize, now: Timestamp) {
        self.unshown = unshown as u64;
        match event {
            AttachEvent::Greeted { typing, live } => {
                self.told = if live { Told::Shown(None) } else { Told::Nothing };
                self.typist.connected(typing, now);
            }
            AttachEvent::Lost(why) => self.on_lost(&why, now),
            AttachEvent::Back => {
                self.notice("the link to the server is back".to_owned(), now);
                self.refresh(now);
            }
            AttachEvent::Watching => self.view.joined(),
            AttachEvent::NotWatching(why) | AttachEvent::Ended(why) => {
                self.leave(Departure::Ended(why));
            }
            AttachEvent::Output { at, bytes } => self.on_output(at, &bytes, now),
            AttachEvent::Gap { at, length } => self.view.on_gap(at, length),
            AttachEvent::Sized { at, size } => {
                if size != self.size && self.view.is_news(at) {
                    self.size = size;
                    self.refresh(now.saturating_add(FRESH_EVERY));
                }
            }
            AttachEvent::Behind => self.fall_behind(now),
            AttachEvent::Keyboard(said) => {
                let held = self.typist.holds();
                self.typist.on_state(said);
                if self.typist.holds() && !held {
                    self.take_size();
                }
            }
            AttachEvent::Refused(what, why) => {
                let is_known = what.is_some_and(|what| self.typist.on_refused(what, &why, now));
                if !is_known {
                    self.notice(why, now);
                }
            }
            AttachEvent::Fetched(drawing) => self.on_fetched(drawing, now),
            AttachEvent::NotFetched => {
                self.fetching = Fetching::Idle;
                self.refresh(now.saturating_add(AGAIN_AFTER));
            }
            AttachEvent::Keys(keys) => self.on_keys(keys, now),
            AttachEvent::Resized(here) => {
                self.here = here;
                self.take_size();
                self.refresh(now);
            }
            AttachEvent::Continued => self.refresh(now),
            AttachEvent::Closed => self.leave(Departure::Closed),
            AttachEvent::Signal(signal) => self.leave(Departure::Signal(signal)),
            AttachEvent::Wake => {}
        }
        self.on_time(now);
        self.tell_shown();
        self.say(now);
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<AttachAction> {
        self.actions.pop_front()
    }

    /// When to say [`AttachEvent::Wake`], if nothing else happens first.
    pub fn deadline(&self) -> Deadline {
        let fetch = match self.fetching {
            // What is not shown yet would be thrown away; or it would be shown behind the screen.
            Fetching::Due(at) if self.unshown == 0 => Deadline::At(at),
            Fetching::Due(_) | Fetching::Idle | Fetching::UnderWay => Deadline::Never,
        };
        let notice = self.notice_until.map_or(Deadline::Never, Deadline::At);
        fetch.min(notice).min(self.typist.deadline()).min(self.keys.deadline())
    }

    fn on_time(&mut self, now: Timestamp) {
        self.typist.on_time(now);
        if let Some(keys) = self.keys.on_time(now) {
            self.pass(keys, now);
        }
        if self.notice_until.take_if(|until| *until <= now).is_some() {
            // A fresh screen takes the notice away.
            self.refresh(now);
        }
        if let Fetching::Due(at) = self.fetching
            && at <= now
            && self.unshown == 0
        {
            self.fetching = Fetching::UnderWay;
            self.actions.push_back(AttachAction::Fetch);
        }
    }

    fn on_lost(&mut self, why: &str, now: Timestamp) {
        self.typist.link_lost();
        self.view.link_lost();
        self.told = Told::Nothing;
        if self.fetching == Fetching::UnderWay {
            self.actions.push_back(AttachAction::DropFetch);
        }
        self.fetching = Fetching::Idle;
        self.notice(format!("lost the link to the server ({why}); reconnecting"), now);
        // It stays until there is one.
        self.notice_until = None;
    }

    fn on_output(&mut self, at: TerminalPosition, bytes: &Bytes, now: Timestamp) {
        match self.view.take(at, bytes) {
            Some([]) => {}
            Some(new) => {
                let new = bytes.slice_ref(new);
                self.unshown = self.unshown.saturating_add(new.len() as u64);
                self.actions.push_back(AttachAction::Show(new));
                if self.unshown > BEHIND {
                    self.actions.push_back(AttachAction::Unwatch);
                    self.fall_behind(now);
                }
            }
            // Something is missing before it, or another program runs.
            None if self.view.is_lost() => self.refresh(now),
            None => {}
        }
    }

    /// Too much waits to be shown, here or on the way.
    fn fall_behind(&mut self, now: Timestamp) {
        self.view.fell_behind();
        self.refresh(now.saturating_add(FRESH_EVERY));
    }

    fn on_fetched(&mut self, drawing: Drawing, now: Timestamp) {
        if self.fetching != Fetching::UnderWay {
            return;
        }
        self.fetching = Fetching::Idle;
        let missed = self.view.missed(drawing.at);
        if self.view.resumes(missed, BEHIND) {
            // It is so little that it is shown as it came.
            self.view.go_on();
            self.watch();
        } else {
            self.draw(drawing, missed, now);
        }
    }

    /// Shows a screen instead of what is shown, and continues from there.
    fn draw(&mut self, drawing: Drawing, missed: u64, now: Timestamp) {
        let Drawing { at, size, bytes } = drawing;
        let was_behind = self.view.was_behind();
        self.size = size;
        self.view.drawn(at);
        self.actions.push_back(AttachAction::Draw(bytes));
        if was_behind && missed > 0 {
            self.notice(format!("{missed} bytes were skipped here; all of them are stored, and `output` shows them"), now);
        }
        self.watch();
    }

    fn watch(&mut self) {
        if let Told::Shown(said) = &mut self.told {
            *said = self.view.position();
        }
        self.actions.push_back(AttachAction::Watch(self.view.position()));
    }

    /// Says what is shown, if that is so much more than was said.
    fn tell_shown(&mut self) {
        let (Told::Shown(said), Some(next)) = (&mut self.told, self.view.position()) else {
            return;
        };
        let shown = next.offset.0.saturating_sub(self.unshown);
        let known = said.filter(|said| said.incarnation == next.incarnation);
        if shown.saturating_sub(known.map_or(0, |known| known.offset.0)) >= TOLD_EVERY {
            let position = TerminalPosition { offset: crate::id::ByteOffset(shown), ..next };
            *said = Some(position);
            self.actions.push_back(AttachAction::Taken(position));
        }
    }

    /// A fresh screen is to come.
    fn refresh(&mut self, at: Timestamp) {
        self.fetching = match self.fetching {
            Fetching::Idle => Fetching::Due(at),
            Fetching::Due(before) => Fetching::Due(before.min(at)),
            Fetching::UnderWay => Fetching::UnderWay,
        };
    }

    fn on_keys(&mut self, keys: Bytes, now: Timestamp) {
        match self.keys.typed(keys, now) {
            Typed::Keys(keys) => self.pass(keys, now),
            Typed::Detach(before) => {
                let _ = before.is_empty() || self.typist.typed(before, now);
                self.say(now);
                self.leave(Departure::Detached);
            }
        }
    }

    fn pass(&mut self, keys: Bytes, now: Timestamp) {
        let ends_look = keys.contains(&CTRL_C) && !self.typist.is_away();
        if keys.is_empty() || self.typist.typed(keys, now) {
            return;
        }
        if ends_look {
            return self.leave(Departure::Detached);
        }
        self.notice(format!("view only; {} detaches", self.key), now);
    }

    /// The terminal gets the size of this one, while its keyboard is held from here.
    fn take_size(&mut self) {
        if let (Some(here), true, Sizing::Follow) = (self.here, self.typist.holds(), self.sizing)
            && here != self.size
        {
            self.actions.push_back(AttachAction::Resize(here));
        }
    }

    /// What the typist has to say, to the server and to the person.
    fn say(&mut self, now: Timestamp) {
        self.actions
            .extend(core::iter::from_fn(|| self.typist.next_message()).map(AttachAction::Type));
        if let Some(notice) = self.typist.take_notice() {
            self.notice(notice, now);
        }
    }

    fn notice(&mut self, text: String, now: Timestamp) {
        self.actions.push_back(AttachAction::Notice(text));
        self.notice_until = Some(now.saturating_add(NOTICE));
    }

    fn leave(&mut self, how: Departure) {
        self.typist.release();
        self.actions
            .extend(core::iter::from_fn(|| self.typist.next_message()).map(AttachAction::Type));
        self.actions.push_back(AttachAction::Leave(how));
    }
}

#[cfg(test)]
mod tests;
