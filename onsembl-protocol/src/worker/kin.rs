//! Which processes of a machine belong to which run of an agent: one notion for cancelling, stopping, verifying
//! and ending. The edge looks through the processes; here is what a look means.
//!
//! A process belongs to a run if
//!
//! - it is the leader, or bears the run's mark or its tag, or
//! - it is in the leader's group or session, as long as that number is certain to be the run's, or
//! - it descends from one that belongs to it, or once belonged to it.
//!
//! Daemons shed most of that: a session of their own, an empty environment, and a parent that ends before anybody looks.
//! The tag they keep ([`RunTag`]), unless they look for it. Where orphans come to the agent, one that shed the tag too
//! stays among the agent's descendants. Such a *stray* is of the only run that can have started it, if there is only
//! one. If there are several, none of them is said to have ended, and an emergency stop ends it with all of them, and so
//! does the end of the agent.

pub use crate::command::RunTag;
use crate::id::RunMark;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A process, as its machine tells it from every other that ever had its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say all")]
pub struct ProcessName {
    pub pid: i32,
    /// When it started, in the system's own count.
    pub started: u64,
}

/// A living process at the moment of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct SeenProcess {
    pub name: ProcessName,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// The marks that it bears, the outer ones first, with `:` between them.
    pub marks: Option<String>,
    /// What may be the tag of a run.
    pub tag: Option<RunTag>,
}

/// Whose children orphans become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// The agent's: it is a subreaper. They come from its own descendants.
    Adopted,
    /// The agent's, as process 1 of a container, from wherever in it.
    AdoptedFromAnywhere,
    /// Somebody else's.
    Lost,
}

/// A run among those of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunKey(u64);

/// What is left of a run, as of the latest look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunRest {
    /// Nothing.
    Ended,
    /// A process lives that may be its own, or another run's.
    Unclear,
    /// A process of it lives.
    Lives,
}

/// Processes by their numbers, for people: the first of them, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SomeProcesses {
    first: [i32; Self::MOST],
    count: usize,
}

impl SomeProcesses {
    /// This many are named.
    const MOST: usize = 4;

    /// These; `None` if there are none.
    pub fn new(pids: impl IntoIterator<Item = i32>) -> Option<Self> {
        let (mut first, mut count) = ([0; Self::MOST], 0);
        for pid in pids {
            if let Some(slot) = first.get_mut(count) {
                *slot = pid;
            }
            count += 1;
        }
        (count > 0).then_some(Self { first, count })
    }

    /// Whether there is more than one.
    pub(super) const fn are_several(self) -> bool {
        self.count > 1
    }
}

/// `process 12`, `processes 12, 13`, `processes 12, 13, 14, 15 and 3 more`.
impl fmt::Display for SomeProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.are_several() { "processes" } else { "process" })?;
        let mut separator = " ";
        for pid in self.first.iter().take(self.count) {
            write!(f, "{separator}{pid}")?;
            separator = ", ";
        }
        match self.count.saturating_sub(Self::MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// The runs of an agent, and what of the machine's processes belongs to them.
#[derive(Debug)]
pub struct Kinship {
    own: i32,
    orphans: Orphans,
    runs: BTreeMap<RunKey, Run>,
    begun: u64,
    /// Descendants of the agent that none of its runs started.
    strangers: BTreeSet<ProcessName>,
    strays: BTreeSet<ProcessName>,
    /// The numbers of all descendants of the agent at the latest look.
    below: BTreeSet<i32>,
}

#[derive(Debug)]
struct Run {
    leader: ProcessName,
    mark: Option<RunMark>,
    tag: Option<RunTag>,
    number: Number,
    /// Those of the latest look, each with its group.
    members: BTreeMap<ProcessName, i32>,
    /// Strays of the latest look that it may have started.
    maybe: BTreeSet<ProcessName>,
}

/// Whether the number of a leader's group and session is the run's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// The leader keeps it, alive or not reaped.
    Kept,
    /// The leader is reaped. A member keeps it, for as long as there is one.
    WhileUsed,
    /// Nobody had it at a look: whoever has it now is a stranger.
    GivenUp,
}

impl Kinship {
    /// The runs of the process `own`. There are none yet.
    pub const fn new(own: i32, orphans: Orphans) -> Self {
        Self {
            own,
            orphans,
            runs: BTreeMap::new(),
            begun: 0,
            strangers: BTreeSet::new(),
            strays: BTreeSet::new(),
            below: BTreeSet::new(),
        }
    }

    /// From now on orphans become children of this process. What descends from it already is of none of its runs.
    pub fn adopt(&mut self, orphans: Orphans, seen: &[SeenProcess]) {
        self.orphans = orphans;
        self.strangers = self.descendants(seen);
    }

    /// Whose children orphans become.
    pub const fn orphans(&self) -> Orphans {
        self.orphans
    }

    /// A run begins with this leader. Tag: `None` where there is none.
    pub fn begin(
        &mut self,
        leader: ProcessName,
        mark: Option<RunMark>,
        tag: Option<RunTag>,
    ) -> RunKey {
        self.begun += 1;
        let (key, number) = (RunKey(self.begun), Number::Kept);
        let (members, maybe) = (BTreeMap::from([(leader, leader.pid)]), BTreeSet::new());
        let _ = self.runs.insert(key, Run { leader, mark, tag, number, members, maybe });
        key
    }

    /// The end of the leader was taken: nothing keeps its number but members of the run.
    pub fn on_leader_reaped(&mut self, key: RunKey) {
        if let Some(run) = self.runs.get_mut(&key)
            && run.number == Number::Kept
        {
            run.number = Number::WhileUsed;
            let _ = run.members.remove(&run.leader);
        }
    }

    /// Nothing is left of it, or nobody asks any more.
    pub fn forget(&mut self, key: RunKey) {
        let _ = self.runs.remove(&key);
    }

    /// All living processes of the machine, or at least all that descend from the agent or bear a mark.
    pub fn look(&mut self, seen: &[SeenProcess]) {
        let below = self.descendants(seen);
        self.below = below.iter().map(|name| name.pid).collect();
        let children = children(seen);
        let here: BTreeSet<ProcessName> = seen.iter().map(|process| process.name).collect();
        self.strangers.retain(|stranger| here.contains(stranger));
        let mut of_runs = BTreeSet::new();
        for run in self.runs.values_mut() {
            run.look(seen, &children);
            of_runs.extend(run.members.keys().copied());
        }
        // What a stranger starts is strange, and stays so when the stranger ends.
        let strange = closure(self.strangers.iter().copied(), &children);
        self.strangers.extend(strange.difference(&of_runs));
        self.strays = match self.orphans {
            Orphans::Lost => BTreeSet::new(),
            Orphans::Adopted | Orphans::AdoptedFromAnywhere => below
                .into_iter()
                .filter(|name| !of_runs.contains(name) && !self.strangers.contains(name))
                .collect(),
        };
        self.assign_strays(seen);
    }

    /// A stray is of a run that began before it.
    fn assign_strays(&mut self, seen: &[SeenProcess]) {
        for run in self.runs.values_mut() {
            run.maybe.clear();
        }
        for stray in core::mem::take(&mut self.strays) {
            let began_before = |run: &&mut Run| run.leader.started <= stray.started;
            let mut candidates: Vec<&mut Run> =
                self.runs.values_mut().filter(began_before).collect();
            match (candidates.as_mut_slice(), self.orphans) {
                // None of those that are left can have started it, and those that are gone left nothing.
                ([], Orphans::Adopted | Orphans::AdoptedFromAnywhere | Orphans::Lost) => {
                    let _ = self.strangers.insert(stray);
                }
                ([run], Orphans::Adopted) => {
                    let group = seen.iter().find(|seen| seen.name == stray).map(|seen| seen.group);
                    let _ = run.members.insert(stray, group.unwrap_or_default());
                }
                (several, Orphans::Adopted | Orphans::AdoptedFromAnywhere | Orphans::Lost) => {
                    for run in several {
                        let _ = run.maybe.insert(stray);
                    }
                    let _ = self.strays.insert(stray);
                }
            }
        }
    }

    /// The living of a run, each with its group.
    pub fn members(&self, key: RunKey) -> impl Iterator<Item = (ProcessName, i32)> + '_ {
        let members = self.runs.get(&key).into_iter().flat_map(|run| &run.members);
        members.map(|(name, group)| (*name, *group))
    }

    /// The living that this run may have started, or another one.
    pub fn unclear(&self, key: RunKey) -> impl Iterator<Item = ProcessName> + '_ {
        self.runs.get(&key).into_iter().flat_map(|run| run.maybe.iter().copied())
    }

    /// Those that one of several runs started.
    pub fn strays(&self) -> impl Iterator<Item = ProcessName> + '_ {
        self.strays.iter().copied()
    }

    /// Whether the latest look found a descendant of the agent under this number.
    pub fn has_seen(&self, pid: i32) -> bool {
        self.below.contains(&pid)
    }

    /// Whether anything of this run is left.
    pub fn rest(&self, key: RunKey) -> RunRest {
        match self.runs.get(&key) {
            Some(run) if !run.members.is_empty() => RunRest::Lives,
            Some(run) if !run.maybe.is_empty() => RunRest::Unclear,
            Some(_) | None => RunRest::Ended,
        }
    }

    /// Whether the group of this run may be signalled by its number: it is certain to be the run's.
    pub fn has_group(&self, key: RunKey) -> bool {
        self.runs.get(&key).is_some_and(|run| match run.number {
            Number::Kept => true,
            Number::WhileUsed => run.members.values().any(|group| *group == run.leader.pid),
            Number::GivenUp => false,
        })
    }

    fn descendants(&self, seen: &[SeenProcess]) -> BTreeSet<ProcessName> {
        let children = children(seen);
        closure(children.get(&self.own).into_iter().flatten().copied(), &children)
    }
}

impl Run {
    fn look(&mut self, seen: &[SeenProcess], children: &BTreeMap<i32, Vec<ProcessName>>) {
        let mark = self.mark.as_ref().map(RunMark::as_str);
        let bears = |process: &SeenProcess| {
            let borne = process.marks.as_deref().unwrap_or_default();
            mark.is_some_and(|mark| borne.split(':').any(|one| one == mark))
                || (self.tag.is_some() && process.tag == self.tag)
        };
        let number = self.leader.pid;
        // A number that lives on under another leader was reused: no process of the run had it.
        let is_reused = seen.iter().any(|p| p.name.pid == number && p.name != self.leader);
        if is_reused {
            self.number = Number::GivenUp;
        }
        let has_number = |process: &SeenProcess| {
            self.number != Number::GivenUp && (process.group == number || process.session == number)
        };
        let base: BTreeSet<ProcessName> = seen
            .iter()
            .filter(|process| {
                self.members.contains_key(&process.name) || bears(process) || has_number(process)
            })
            .map(|process| process.name)
            .collect();
        let is_used = seen.iter().any(has_number);
        let all = closure(base.into_iter(), children);
        let groups = seen.iter().filter(|process| all.contains(&process.name));
        self.members = groups.map(|process| (process.name, process.group)).collect();
        if self.number == Number::WhileUsed && !is_used {
            self.number = Number::GivenUp;
        }
    }
}

fn children(seen: &[SeenProcess]) -> BTreeMap<i32, Vec<ProcessName>> {
    let mut children: BTreeMap<i32, Vec<ProcessName>> = BTreeMap::new();
    for process in seen {
        children.entry(process.parent).or_default().push(process.name);
    }
    children
}

/// These and all that descend from them.
fn closure(
    first: impl Iterator<Item = ProcessName>,
    children: &BTreeMap<i32, Vec<ProcessName>>,
) -> BTreeSet<ProcessName> {
    let mut all: BTreeSet<ProcessName> = BTreeSet::new();
    let mut next: Vec<ProcessName> = first.collect();
    while let Some(name) = next.pop() {
        if all.insert(name) {
            next.extend(children.get(&name.pid).into_iter().flatten());
        }
    }
    all
}

#[cfg(test)]
mod tests;
