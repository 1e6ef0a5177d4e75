//! Screens of terminals and commands, built on demand from what is stored: the last keyframe, the output behind it, and
//! the sizes of the terminal. So they are there while an agent is away, and nothing is drawn that nobody looks at.
//!
//! A screen is kept for a minute after it was looked at last, and what comes meanwhile is drawn when the next one
//! looks. Whoever looks also leaves a keyframe for each 256 KiB of output, so that the next one has less to draw.
//!
//! What users share is bounded: the memory of all screens, of which one user has at most half of what is free, and the
//! time to draw, for which users take turns.

mod drawing;

pub(crate) use drawing::Shown;

use crate::bounds::{NoTurn, Shares, TurnLimits, Turns};
use crate::store::{Store, StoreError};
use drawing::{Drawing, Page};
use onsembl_protocol::id::{AgentId, ByteOffset, CommandId, Incarnation, UserId};
use onsembl_protocol::model::TerminalSize;
use onsembl_transport::screen::{Look, Screen};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;

/// Memory of all screens.
pub(crate) const BYTES: usize = 32 << 20;
/// What a screen counts at least, so that small ones are not many either.
const LEAST_BYTES: usize = 128 * 1024;
/// How long a screen is kept after it was looked at last.
const KEPT: Duration = Duration::from_secs(60);
/// Between two looks for those that are not to be kept any more.
const SWEEP: Duration = Duration::from_secs(10);
/// Pages of output that are drawn at a time, for all users.
pub(crate) const DRAWING: usize = 2;
/// How long one turn draws.
const TURN: Duration = Duration::from_millis(100);
/// How long one look draws. Usual output takes half a second at most.
const LONGEST: Duration = Duration::from_secs(10);
/// Looks of one user that may wait for their turn to draw.
const WAITING: usize = 64;
/// What a screen takes while it is being shown, each cell in a colour of its own: the cells of the largest screen of a
/// user who looks alone, and their text.
pub(crate) const SHOWING: usize = BYTES / 2 + (24 << 20);
/// Keyframes that wait to be written, of all users.
pub(crate) const FRAMES: usize = 16;
/// Output that is drawn at most behind a keyframe. Of more, only the end is.
pub(crate) const FURTHEST: u64 = 8 << 20;

/// The screens that somebody looks at. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Screens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    turns: Turns<UserId>,
    frames: Shares<UserId>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    screens: HashMap<(UserId, CommandId), Entry>,
    bytes: usize,
    sweeper: Sweeper,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sweeper {
    #[default]
    Idle,
    Runs,
}

#[derive(Debug)]
struct Entry {
    drawing: Arc<AsyncMutex<Drawing>>,
    bytes: usize,
    used: Instant,
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScreenError {
    #[error("no command of yours has this id")]
    NoCommand,
    #[error("this agent has no terminal, and has run no command, whose screen could be shown")]
    NothingShown,
    #[error(
        "your open screens, or this one alone ({size}), take too much memory; open fewer, or try again in a minute"
    )]
    NoRoom { size: TerminalSize },
    #[error("this screen takes long to draw; request it again to continue")]
    Slow,
    #[error("too many screens of yours are being drawn: {0}")]
    Busy(#[from] NoTurn),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a screen is in its terminal's output, and what brings a fresh terminal there.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The run; `None` if nothing is stored of any.
    pub(crate) incarnation: Option<Incarnation>,
    /// What follows begins here.
    pub(crate) offset: ByteOffset,
    pub(crate) size: TerminalSize,
    /// For a fresh terminal of this size.
    pub(crate) dump: Vec<u8>,
    /// Whether all is drawn that was written: nothing of the output is missing, or was left out.
    pub(crate) whole: bool,
}

impl Screens {
    pub(crate) fn new(store: Store) -> Self {
        let turns = Turns::new(TurnLimits {
            slots: DRAWING,
            each: 1,
            weight: 1,
            waiting: WAITING,
            waiting_bytes: usize::MAX,
        });
        let frames = Shares::new(FRAMES, 1);
        Self(Arc::new(Inner { store, turns, frames, held: Mutex::default() }))
    }

    /// The command whose screen an agent shows.
    ///
    /// # Errors
    /// There is none, or the database cannot be read.
    pub(crate) async fn shown_by(
        &self,
        user: &UserId,
        agent: &AgentId,
    ) -> Result<CommandId, ScreenError> {
        let found = self.0.store.screens().shown_by(user, agent).await?;
        found.ok_or(ScreenError::NothingShown)
    }

    /// What the screen of a command shows now, in this form. It is made in the user's turn, since a screen that is
    /// shown
    /// takes more memory than one that is drawn.
    ///
    /// # Errors
    /// See [`ScreenError`].
    pub(crate) async fn look_as<T: Send + 'static>(
        &self,
        user: &UserId,
        command: &CommandId,
        form: impl FnOnce(Shown, Look) -> T + Send + 'static,
    ) -> Result<T, ScreenError> {
        self.with(user, command, |drawing| form(drawing.shown(), drawing.look())).await
    }

    /// What brings a fresh terminal to this screen, in this form.
    ///
    /// # Errors
    /// See [`ScreenError`].
    pub(crate) async fn snapshot_as<T: Send + 'static>(
        &self,
        user: &UserId,
        command: &CommandId,
        form: impl FnOnce(Snapshot) -> T + Send + 'static,
    ) -> Result<T, ScreenError> {
        self.with(user, command, |drawing| {
            let Shown { incarnation, offset, size, whole } = drawing.shown();
            form(Snapshot { incarnation, offset, size, dump: drawing.dump(), whole })
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        user: &UserId,
        command: &CommandId,
        read: impl FnOnce(&Drawing) -> T + Send + 'static,
    ) -> Result<T, ScreenError> {
        let store = &self.0.store;
        if store.commands().get(user, command).await?.is_none() {
            return Err(ScreenError::NoCommand);
        }
        let sizes = store.screens().sizes(user, command).await?;
        let size = sizes.last().map_or(TerminalSize::DEFAULT, |last| last.size);
        let largest = sizes.iter().map(|record| record.size).max_by_key(area).unwrap_or(size);
        let begun = Instant::now();
        let entry = self.entry(user, command, largest)?;
        let mut drawing = Arc::clone(&entry).lock_owned().await;
        let mut cursor = drawing.begin(sizes);
        if drawing.is_new() {
            let frame = store.screens().last_keyframe(user, command).await?;
            // One of a size that is not kept any more may be larger than what it is counted as.
            let frame = frame.filter(|frame| cost(frame.size) <= cost(largest));
            cursor = drawing.begin_behind(frame);
            let positions = store.streams().positions(user, vec![command.clone()]).await?;
            if drawing.is_far_behind(&positions, FURTHEST) {
                let tail = usize::try_from(FURTHEST).unwrap_or(usize::MAX);
                cursor = drawing.begin_at_tail(store.reading().tail(user, command, tail).await?);
            }
        }
        loop {
            let only = drawing.stream(command);
            let records =
                store.reading().read(user, command, only, cursor, crate::http::PAGE).await?;
            let Some(last) = records.last() else { break };
            cursor = Some((last.incarnation, last.sequence));
            let mut page: Page = records.into();
            while !page.is_empty() {
                if begun.elapsed() > LONGEST {
                    return Err(ScreenError::Slow);
                }
                let turn = self.0.turns.take(user, 1, 0).await?;
                let draw = move || {
                    let frames = drawing.draw(&mut page, Instant::now() + TURN);
                    drop(turn);
                    (drawing, page, frames)
                };
                let drawn = tokio::task::spawn_blocking(draw).await;
                let frames;
                (drawing, page, frames) = drawn.map_err(|_| StoreError::Closed)?;
                for frame in frames {
                    // Nobody waits for it: without it the next one has more to draw.
                    if let Some(place) = self.0.frames.take(user) {
                        drop(store.screens().put_keyframe(user, command, frame, place)?);
                    }
                }
            }
        }
        let turn = self.0.turns.take(user, 1, 0).await?;
        let read = move || {
            let read = read(&drawing);
            drop(turn);
            read
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Closed)?;
        drop(entry);
        Ok(read)
    }

    /// The screen of this command, with room for one of this size; an empty one if nobody looked at it lately.
    fn entry(
        &self,
        user: &UserId,
        command: &CommandId,
        size: TerminalSize,
    ) -> Result<Arc<AsyncMutex<Drawing>>, ScreenError> {
        let now = Instant::now();
        let mut held = self.held();
        let key = (user.clone(), command.clone());
        let bytes = cost(size);
        let known = held.screens.get_mut(&key).map(|entry| {
            entry.used = now;
            (Arc::clone(&entry.drawing), entry.bytes)
        });
        let counted = known.as_ref().map_or(0, |(_, counted)| *counted);
        // What it holds of it keeps it from being dropped itself.
        while bytes > counted && !held.has_room(user, bytes - counted) {
            if !held.drop_oldest_of(user) {
                drop(known);
                held.drop_idle(&key);
                return Err(ScreenError::NoRoom { size });
            }
        }
        if let Some((drawing, _)) = known {
            held.grow(&key, bytes);
            return Ok(drawing);
        }
        let drawing = Arc::new(AsyncMutex::new(Drawing::new(command)));
        let entry = Entry { drawing: Arc::clone(&drawing), bytes, used: now };
        held.bytes = held.bytes.saturating_add(bytes);
        held.screens.insert(key, entry);
        if held.sweeper == Sweeper::Idle {
            held.sweeper = Sweeper::Runs;
            let inner = Arc::downgrade(&self.0);
            drop(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SWEEP).await;
                    let Some(inner) = inner.upgrade() else { return };
                    if inner.held().sweep(Instant::now()) == Sweeper::Idle {
                        return;
                    }
                }
            }));
        }
        Ok(drawing)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held()
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// A user has at most half of what is free.
    fn has_room(&self, user: &UserId, bytes: usize) -> bool {
        let of_user = self.screens.iter().filter(|((of, _), _)| of == user);
        let has: usize = of_user.map(|(_, entry)| entry.bytes).sum();
        has.saturating_add(bytes) <= BYTES.saturating_sub(self.bytes) / 2
    }

    /// Drops the screen that this user looked at the longest ago. Whether there is one. One that is being looked at
    /// would
    /// stay in memory without being counted.
    fn drop_oldest_of(&mut self, user: &UserId) -> bool {
        let is_idle = |entry: &Entry| Arc::strong_count(&entry.drawing) == 1;
        let of_user = self.screens.iter().filter(|((of, _), entry)| of == user && is_idle(entry));
        let oldest = of_user.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
        oldest.is_some_and(|key| self.drop_idle(&key))
    }

    /// Drops this one, unless it is being looked at. Whether it was there.
    fn drop_idle(&mut self, key: &(UserId, CommandId)) -> bool {
        let is_idle = |entry: &Entry| Arc::strong_count(&entry.drawing) == 1;
        if !self.screens.get(key).is_some_and(is_idle) {
            return false;
        }
        let Some(entry) = self.screens.remove(key) else { return false };
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        true
    }

    /// This one counts as so much, before it is drawn at that size.
    fn grow(&mut self, key: &(UserId, CommandId), bytes: usize) {
        if let Some(entry) = self.screens.get_mut(key)
            && bytes > entry.bytes
        {
            self.bytes = self.bytes.saturating_add(bytes - entry.bytes);
            entry.bytes = bytes;
        }
    }

    fn sweep(&mut self, now: Instant) -> Sweeper {
        let bytes = &mut self.bytes;
        self.screens.retain(|_, entry| {
            let is_used = Arc::strong_count(&entry.drawing) > 1;
            let is_kept = is_used || now.saturating_duration_since(entry.used) < KEPT;
            if !is_kept {
                *bytes = bytes.saturating_sub(entry.bytes);
            }
            is_kept
        });
        self.sweeper = if self.screens.is_empty() { Sweeper::Idle } else { Sweeper::Runs };
        self.sweeper
    }
}

fn area(size: &TerminalSize) -> u32 {
    u32::from(size.columns()) * u32::from(size.rows())
}

fn cost(size: TerminalSize) -> usize {
    usize::try_from(Screen::bytes(size)).unwrap_or(usize::MAX).max(LEAST_BYTES)
}

#[cfg(test)]
mod tests;
