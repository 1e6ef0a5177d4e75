//! What the programs of an agent do: a monitor for each run that is watched, and of them the one that matters most,
//! which is told to the server.

use super::Worker;
use super::note::WorkerNote;
use crate::activity::{ActivityConfig, ActivityMonitor, Fact, Input, Seen, Taken};
use crate::id::CommandId;
use crate::model::{Activity, ActivityBasis, ActivityLane, ActivityState, Capabilities, TypeIf};
use crate::terminal::{StrokeKind, Typing};
use crate::time::{Deadline, Now, Timestamp, WallTime};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

/// The runs that are watched: as many as there are slots, and the terminal.
#[derive(Debug)]
pub(super) struct Activities {
    config: ActivityConfig,
    runs: BTreeMap<CommandId, ActivityMonitor>,
    /// What was told last.
    told: Option<(CommandId, Seen)>,
    /// The same, for the agent's own machine.
    shown: Option<Activity>,
    looked_at: Timestamp,
}

impl Activities {
    pub(super) fn new(config: ActivityConfig, now: Timestamp) -> Self {
        Self { config, runs: BTreeMap::new(), told: None, shown: None, looked_at: now }
    }

    /// What was told last, if something is watched.
    pub(super) const fn shown(&self) -> Option<&Activity> {
        self.shown.as_ref()
    }

    fn begin(&mut self, id: &CommandId, now: Timestamp) {
        let is_watched = id.is_terminal() || self.config.stream.is_some();
        if is_watched {
            let _ = self.runs.insert(id.clone(), ActivityMonitor::new(self.config.clone(), now));
        }
    }

    fn end(&mut self, id: &CommandId) {
        let _ = self.runs.remove(id);
    }

    fn get(&mut self, id: &CommandId) -> Option<&mut ActivityMonitor> {
        self.runs.get_mut(id)
    }

    /// The run that somebody may have to look at first, and what is told of it.
    fn foremost(&mut self, now: Timestamp) -> Option<(CommandId, Seen)> {
        let told = self.runs.iter_mut().map(|(id, run)| (id, run.tell(now)));
        let foremost = told.max_by_key(|(_, seen)| urgency(&seen.state));
        foremost.map(|(id, seen)| (id.clone(), seen.clone()))
    }

    /// What is to be told now, if that is another thing than before. `Some(None)`: nothing runs any more.
    fn take_news(&mut self, now: Timestamp) -> Option<Option<(CommandId, Seen)>> {
        self.looked_at = now;
        let foremost = self.foremost(now);
        let is_same = match (&self.told, &foremost) {
            (None, None) => true,
            (Some((before, told)), Some((id, seen))) => before == id && !seen.is_another(told),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_same {
            return None;
        }
        self.told.clone_from(&foremost);
        Some(foremost)
    }

    pub(super) fn deadline(&self) -> Deadline {
        let now = self.looked_at;
        let all = self.runs.values().map(|run| run.deadline(now));
        all.fold(Deadline::Never, Deadline::min)
    }
}

const fn urgency(state: &ActivityState) -> u8 {
    match state {
        ActivityState::Asking => 5,
        ActivityState::Waiting => 4,
        ActivityState::Working => 3,
        ActivityState::Writing => 2,
        ActivityState::Quiet => 1,
        ActivityState::Gone | ActivityState::Unknown(_) => 0,
    }
}

/// By the wall's clock, for others.
fn told(command: Option<CommandId>, seen: &Seen, now: Now) -> Activity {
    let wall = |at: Timestamp| now.wall.before(now.monotonic.saturating_since(at));
    let basis = seen.basis.clone();
    Activity {
        command,
        state: seen.state.clone(),
        since: wall(seen.since),
        basis: basis.map(|(fact, lane, at)| ActivityBasis { fact, lane, at: wall(at) }),
        question: seen.question.clone(),
    }
}

fn gone(since: WallTime) -> Activity {
    Activity { command: None, state: ActivityState::Gone, since, basis: None, question: None }
}

impl Worker {
    pub(super) fn watch_activity(&mut self, id: &CommandId, now: Now) {
        self.activities.begin(id, now.monotonic);
    }

    pub(super) fn unwatch_activity(&mut self, id: &CommandId) {
        self.activities.end(id);
    }

    /// A run that is watched wrote this.
    pub(super) fn watch_output(&mut self, id: &CommandId, bytes: &[u8], now: Now) {
        let Some(run) = self.activities.get(id) else { return };
        let taken = match id.is_terminal() {
            true => run.on_terminal_output(bytes, now.monotonic),
            false => run.on_piped_output(bytes, now.monotonic),
        };
        self.note_taken(taken, id);
    }

    /// A hook of the program of a run says something, which happened so long ago.
    pub(super) fn on_fact(&mut self, id: &CommandId, fact: &Fact, age: Duration, now: Now) {
        let Some(run) = self.activities.get(id) else {
            // Its run has just ended, or is one that nobody watches.
            return self.note(WorkerNote::FactOfNoRun(id.clone()));
        };
        let taken = run.on_fact(ActivityLane::Hook, fact, age, now.monotonic);
        self.note_taken(taken, id);
    }

    fn note_taken(&mut self, taken: Taken, id: &CommandId) {
        match taken {
            Taken::Yes => {}
            Taken::TooMany => self.note(WorkerNote::TooManyFacts(id.clone())),
        }
    }

    /// This is typed into the terminal, by whomever.
    pub(super) fn watch_input(&mut self, bytes: &[u8], now: Now) {
        let inputs = Input::of_keys(bytes);
        for run in self.activities.runs.iter_mut().filter(|(id, _)| id.is_terminal()) {
            inputs.clone().for_each(|input| run.1.on_input(input, now.monotonic));
        }
    }

    pub(super) fn watch_typing(&mut self, typing: &Typing, now: Now) {
        for stroke in &typing.strokes {
            match &stroke.what {
                StrokeKind::Text(bytes) | StrokeKind::Keys(bytes) if bytes.is_empty() => {}
                // What stands in a text is part of it, as long as nothing submits it.
                StrokeKind::Text(_) => self.watch_input(b"x", now),
                StrokeKind::Keys(bytes) => self.watch_input(bytes, now),
                StrokeKind::Enter => self.watch_input(b"\r", now),
            }
        }
    }

    /// The program of the terminal reads.
    pub(super) fn watch_reads(&mut self, now: Now) {
        for (_, run) in self.activities.runs.iter_mut().filter(|(id, _)| id.is_terminal()) {
            run.on_reads(now.monotonic);
        }
    }

    /// Whether a text may be typed now that is wanted only if the program does this.
    ///
    /// # Errors
    /// It may not, and why.
    pub(super) fn allows_typing(&self, wanted: Option<&TypeIf>, now: Now) -> Result<(), String> {
        match wanted {
            None => return Ok(()),
            Some(TypeIf::Waiting) => {}
            Some(TypeIf::Unknown(word)) => {
                let known = TypeIf::Waiting;
                return Err(format!(
                    "this agent knows no condition {word:?}; it knows {known}; nothing was typed"
                ));
            }
        }
        let run = self.activities.runs.iter().find(|(id, _)| id.is_terminal());
        let Some((_, run)) = run else {
            return Err(
                "the program in the terminal has ended; ask again under a new id".to_string()
            );
        };
        let seen = run.now(now.monotonic);
        if seen.state == ActivityState::Waiting {
            return Ok(());
        }
        let is = told(None, &seen, now).with_basis(now.wall);
        Err(match run.has_spoken() {
            true => format!(
                "the program in the terminal is not known to wait for a prompt: {is}; nothing was typed"
            ),
            false => format!(
                "the program in the terminal has never said what it does, and its screen is not guessed from: {is}; nothing was typed; start the agent with a --preset for its program, or type without a condition"
            ),
        })
    }

    /// Queues what there is to tell of what programs do.
    pub(super) fn tell_activity(&mut self, now: Now) {
        let Some(news) = self.activities.take_news(now.monotonic) else { return };
        let activity = match news {
            Some((id, seen)) => told(Some(id), &seen, now),
            None => gone(now.wall),
        };
        self.say_activity(&activity, now);
        self.activities.shown = Some(activity).filter(|shown| shown.state != ActivityState::Gone);
    }

    /// A session began: the server knows nothing yet.
    pub(super) fn repeat_activity(&mut self, now: Now) {
        if let Some((id, seen)) = self.activities.told.clone() {
            let activity = told(Some(id), &seen, now);
            self.say_activity(&activity, now);
        }
    }

    fn say_activity(&mut self, activity: &Activity, now: Now) {
        let agreed = self.uplink.capabilities();
        if agreed.is_some_and(Capabilities::tells_activity) {
            self.uplink.queue.activity(activity, now.wall);
        }
    }
}
