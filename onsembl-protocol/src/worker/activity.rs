//! What the programs of an agent do: a monitor for each run that is watched, and of them the one that matters most,
//! which is told to the server.

use super::note::WorkerNote;
use super::outputs::Outputs;
use super::uplink::Uplink;
use crate::activity::{ActivityConfig, ActivityMonitor, Fact, Input, Seen, Taken};
use crate::id::CommandId;
use crate::model::{Activity, ActivityBasis, ActivityLane, ActivityState, Capabilities, TypeIf};
use crate::terminal::{NO_PROGRAM, Stroke, StrokeKind};
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

    /// This runs from now on.
    pub(super) fn begin(&mut self, id: &CommandId, now: Timestamp) {
        // Of a command of its own only structured output shows what it does.
        let is_watched = id.is_terminal() || self.config.stream.is_some();
        if is_watched {
            let _ = self.runs.insert(id.clone(), ActivityMonitor::new(self.config.clone(), now));
        }
    }

    /// It has ended.
    pub(super) fn end(&mut self, id: &CommandId) {
        let _ = self.runs.remove(id);
    }

    /// A run wrote this.
    pub(super) fn on_output(
        &mut self,
        id: &CommandId,
        bytes: &[u8],
        now: Timestamp,
        out: &mut Outputs,
    ) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let taken = match id.is_terminal() {
            true => run.on_terminal_output(bytes, now),
            false => run.on_piped_output(bytes, now),
        };
        note_taken(taken, id, out);
    }

    /// A hook of the program of a run says something, which happened so long ago.
    pub(super) fn on_fact(
        &mut self,
        id: &CommandId,
        fact: &Fact,
        age: Duration,
        now: Timestamp,
        out: &mut Outputs,
    ) {
        let Some(run) = self.runs.get_mut(id) else {
            // Its run has just ended, or is one that nobody watches.
            return out.note(WorkerNote::FactOfNoRun(id.clone()));
        };
        let taken = run.on_fact(ActivityLane::Hook, fact, age, now);
        note_taken(taken, id, out);
    }

    /// This is typed into the terminal, by whomever.
    pub(super) fn on_input(&mut self, bytes: &[u8], now: Timestamp) {
        let inputs = Input::of_keys(bytes);
        for run in self.terminals() {
            inputs.clone().for_each(|input| run.on_input(input, now));
        }
    }

    /// These are typed into the terminal for a command.
    pub(super) fn on_typing(&mut self, strokes: &[Stroke], now: Timestamp) {
        for stroke in strokes {
            match &stroke.what {
                StrokeKind::Text(bytes) | StrokeKind::Keys(bytes) if bytes.is_empty() => {}
                // What stands in a text is part of it, as long as nothing submits it.
                StrokeKind::Text(_) => self.on_input(b"x", now),
                StrokeKind::Keys(bytes) => self.on_input(bytes, now),
                StrokeKind::Settle => {}
                StrokeKind::Enter | StrokeKind::Submit(_) => self.on_input(b"\r", now),
            }
        }
    }

    /// The program of the terminal reads.
    pub(super) fn on_reads(&mut self, now: Timestamp) {
        self.terminals().for_each(|run| run.on_reads(now));
    }

    fn terminals(&mut self) -> impl Iterator<Item = &mut ActivityMonitor> {
        self.runs.iter_mut().filter(|(id, _)| id.is_terminal()).map(|(_, run)| run)
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

    /// Whether a text may be typed now that is wanted only if the program does this.
    ///
    /// # Errors
    /// It may not, and why.
    pub(super) fn allow_typing(&self, wanted: Option<&TypeIf>, now: Now) -> Result<(), String> {
        match wanted {
            None => return Ok(()),
            Some(TypeIf::Waiting) => {}
            Some(TypeIf::Unknown(word)) => {
                let known = TypeIf::Waiting;
                return Err(format!(
                    "unknown condition {word:?}; this agent knows {known}; nothing was typed"
                ));
            }
        }
        let run = self.runs.iter().find(|(id, _)| id.is_terminal());
        let Some((_, run)) = run else {
            return Err(NO_PROGRAM.to_string());
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
                "the program in the terminal has never reported its activity, and Onsembl does not guess from the screen: {is}; nothing was typed; start the agent with a --preset for its program, or send the text without a condition"
            ),
        })
    }

    /// Queues what there is to tell of what programs do.
    pub(super) fn tell(&mut self, uplink: &mut Uplink, now: Now) {
        let Some(news) = self.take_news(now.monotonic) else { return };
        let activity = match news {
            Some((id, seen)) => told(Some(id), &seen, now),
            None => gone(now.wall),
        };
        say(&activity, uplink, now);
        self.shown = Some(activity).filter(|shown| shown.state != ActivityState::Gone);
    }

    /// A session began: the server knows nothing yet.
    pub(super) fn repeat(&self, uplink: &mut Uplink, now: Now) {
        if let Some((id, seen)) = self.told.clone() {
            say(&told(Some(id), &seen, now), uplink, now);
        }
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

fn note_taken(taken: Taken, id: &CommandId, out: &mut Outputs) {
    match taken {
        Taken::Yes => {}
        Taken::TooMany => out.note(WorkerNote::TooManyFacts(id.clone())),
    }
}

fn say(activity: &Activity, uplink: &mut Uplink, now: Now) {
    if uplink.capabilities().is_some_and(Capabilities::tells_activity) {
        uplink.queue.activity(activity, now.wall);
    }
}
