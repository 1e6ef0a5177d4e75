//! A machine whose processes shed whatever they can, and what is said of the runs on it.

use super::*;
use alloc::format;
use alloc::string::ToString;
use proptest::prelude::*;

const AGENT: i32 = 100;
const INIT: i32 = 1;

/// What really is.
#[derive(Clone, Debug)]
struct Process {
    seen: SeenProcess,
    /// The run that started it; `None` for one that was there before.
    truth: Option<usize>,
}

#[derive(Debug)]
struct Machine {
    kinship: Kinship,
    living: BTreeMap<i32, Process>,
    runs: Vec<(RunKey, ProcessName)>,
    clock: u64,
    next: i32,
}

impl Machine {
    fn new(orphans: Orphans) -> Self {
        let mut machine = Self {
            kinship: Kinship::new(AGENT, Orphans::Lost),
            living: BTreeMap::new(),
            runs: Vec::new(),
            clock: 0,
            next: AGENT,
        };
        // A child that whatever started the agent had before.
        let before = machine.born(AGENT, 50, 50, (None, None), None);
        let seen = machine.seen();
        machine.kinship.adopt(orphans, &seen);
        assert!(machine.living.contains_key(&before));
        machine
    }

    fn born(
        &mut self,
        parent: i32,
        group: i32,
        session: i32,
        (marks, tag): (Option<String>, Option<RunTag>),
        truth: Option<usize>,
    ) -> i32 {
        self.next += 1;
        self.clock += 1;
        let name = ProcessName { pid: self.next, started: self.clock };
        let seen = SeenProcess { name, parent, group, session, marks, tag };
        let _ = self.living.insert(self.next, Process { seen, truth });
        self.next
    }

    fn begin(&mut self) -> usize {
        let (run, mark) = (self.runs.len(), format!("m{}", self.runs.len()));
        let tag = Some(RunTag(1000 + self.clock));
        let pid = self.born(AGENT, 0, 50, (Some(mark.clone()), tag), Some(run));
        let process = self.living.get_mut(&pid).unwrap();
        process.seen.group = pid;
        let name = process.seen.name;
        let key = self.kinship.begin(name, Some(RunMark::new(mark)), tag);
        self.runs.push((key, name));
        run
    }

    fn fork(&mut self, parent: i32) -> Option<i32> {
        let Process { seen, truth } = self.living.get(&parent)?.clone();
        Some(self.born(parent, seen.group, seen.session, (seen.marks, seen.tag), truth))
    }

    fn end(&mut self, pid: i32) {
        let Some(ended) = self.living.remove(&pid) else { return };
        let heir = match self.kinship.orphans() {
            Orphans::Adopted | Orphans::AdoptedFromAnywhere => AGENT,
            Orphans::Lost => INIT,
        };
        for process in self.living.values_mut().filter(|process| process.seen.parent == pid) {
            process.seen.parent = heir;
        }
        let led = self.runs.iter().find(|(_, leader)| *leader == ended.seen.name);
        if let Some((key, _)) = led {
            self.kinship.on_leader_reaped(*key);
        }
    }

    fn seen(&self) -> Vec<SeenProcess> {
        self.living.values().map(|process| process.seen.clone()).collect()
    }

    fn look(&mut self) {
        let seen = self.seen();
        self.kinship.look(&seen);
    }

    fn lives_of(&self, run: usize) -> usize {
        self.living.values().filter(|process| process.truth == Some(run)).count()
    }

    /// Does what the two numbers choose.
    fn act(&mut self, what: u8, who: u8) {
        let mut pids: Vec<i32> = self.living.keys().copied().collect();
        let Some(pid) = (!pids.is_empty()).then(|| pids.remove(usize::from(who) % pids.len()))
        else {
            return;
        };
        let Some(process) = self.living.get_mut(&pid) else { return };
        match what % 9 {
            // A stranger that hides what it starts is taken for one of a run; nothing tells.
            0 | 1 if process.truth.is_some() => drop(self.fork(pid)),
            2 => (process.seen.session, process.seen.group) = (pid, pid),
            3 => process.seen.group = pid,
            4 => process.seen.marks = None,
            7 => process.seen.tag = None,
            5 => self.end(pid),
            6 if self.runs.len() < 4 => drop(self.begin()),
            _ => self.look(),
        }
    }
}

fn acts() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((any::<u8>(), any::<u8>()), 0..80)
}

proptest! {
    /// "Verified", "cancelled" and "nothing of it is left" mean that none lives. Nobody looks while a process gets
    /// away.
    #[test]
    fn a_run_that_is_gone_has_no_living_process_whatever_it_shed(acts in acts()) {
        let mut machine = Machine::new(Orphans::Adopted);
        machine.begin();
        let rounds = acts.chunks(12).count();
        for (round, acts) in acts.chunks(12).enumerate() {
            for (what, who) in acts {
                machine.act(*what, *who);
            }
            // In the end the leaders end, and what they left is what it is about.
            if round + 1 == rounds {
                for (_, leader) in machine.runs.clone() {
                    machine.end(leader.pid);
                }
            }
            machine.look();
            for (run, (key, leader)) in machine.runs.clone().into_iter().enumerate() {
                let is_reaped = !machine.living.contains_key(&leader.pid);
                if is_reaped && machine.kinship.rest(key) == RunRest::Ended {
                    prop_assert_eq!(machine.lives_of(run), 0, "run {} of {:?}", run, machine);
                }
            }
        }
    }

    /// Who is signalled as a member of a run is one, or nothing is signalled.
    #[test]
    fn nobody_is_taken_for_a_member_of_a_run_that_did_not_start_it(acts in acts()) {
        let mut machine = Machine::new(Orphans::Adopted);
        machine.begin();
        for (what, who) in acts {
            machine.act(what, who);
            machine.look();
            for (run, (key, _)) in machine.runs.iter().enumerate() {
                for (member, _) in machine.kinship.members(*key) {
                    let truth = machine.living.get(&member.pid).and_then(|one| one.truth);
                    prop_assert_eq!(truth, Some(run), "{:?} in {:?}", member, machine);
                }
            }
            for stray in machine.kinship.strays() {
                prop_assert!(machine.living[&stray.pid].truth.is_some(), "{:?}", machine);
            }
        }
    }

    /// A stop that ends all members and strays, and looks again, leaves nothing.
    #[test]
    fn ending_all_members_and_strays_ends_every_run(acts in acts()) {
        let mut machine = Machine::new(Orphans::Adopted);
        machine.begin();
        for (what, who) in acts {
            machine.act(what, who);
        }
        for _ in 0..3 {
            machine.look();
            let keys: Vec<RunKey> = machine.runs.iter().map(|(key, _)| *key).collect();
            let members = keys.iter().flat_map(|key| machine.kinship.members(*key));
            let mut ended: Vec<i32> = members.map(|(name, _)| name.pid).collect();
            ended.extend(machine.kinship.strays().map(|name| name.pid));
            for pid in ended {
                machine.end(pid);
            }
        }
        machine.look();
        for (run, (key, _)) in machine.runs.clone().into_iter().enumerate() {
            prop_assert_eq!(machine.lives_of(run), 0);
            prop_assert_eq!(machine.kinship.rest(key), RunRest::Ended);
        }
        prop_assert!(machine.living.values().all(|process| process.truth.is_none()));
    }
}

#[test]
fn each_way_to_shed_one_tie_leaves_another() {
    // setsid; an empty environment; both; both behind a parent that ended (a daemon); that without its tag; nohup sheds
    // nothing.
    for shed in [&[2][..], &[4], &[2, 4], &[2, 4, 5], &[3, 4, 5], &[2, 4, 7], &[2, 4, 7, 5], &[]] {
        let mut machine = Machine::new(Orphans::Adopted);
        let run = machine.begin();
        let (key, leader) = machine.runs[run];
        let child = machine.fork(leader.pid).unwrap();
        let grandchild = machine.fork(child).unwrap();
        let who = |machine: &Machine, pid| {
            u8::try_from(machine.living.keys().position(|one| *one == pid).unwrap()).unwrap()
        };
        for what in shed {
            for pid in [grandchild, child] {
                if *what != 5 || pid == child {
                    let who = who(&machine, pid);
                    machine.act(*what, who);
                }
            }
        }
        machine.end(leader.pid);
        machine.look();
        let members: Vec<i32> =
            machine.kinship.members(key).map(|(member, _)| member.pid).collect();
        assert!(members.contains(&grandchild), "{shed:?}: {members:?}");
        machine.end(child);
        machine.end(grandchild);
        machine.look();
        assert_eq!(machine.kinship.rest(key), RunRest::Ended, "{shed:?}");
    }
}

#[test]
fn a_stray_of_two_runs_is_of_neither_for_sure_and_both_are_said_to_be_unclear() {
    for (orphans, alone) in
        [(Orphans::Adopted, RunRest::Lives), (Orphans::AdoptedFromAnywhere, RunRest::Unclear)]
    {
        let mut machine = Machine::new(orphans);
        let (one, two) = (machine.begin(), machine.begin());
        let (key, leader) = machine.runs[two];
        let child = machine.fork(leader.pid).unwrap();
        let stray = machine.fork(child).unwrap();
        let process = machine.living.get_mut(&stray).unwrap();
        (process.seen.session, process.seen.group, process.seen.marks) = (stray, stray, None);
        process.seen.tag = None;
        machine.end(child);
        machine.look();
        assert_eq!(machine.kinship.unclear(key).map(|name| name.pid).collect::<Vec<_>>(), [stray]);
        assert_eq!(machine.kinship.strays().map(|name| name.pid).collect::<Vec<_>>(), [stray]);
        let other = machine.runs[one].1.pid;
        machine.end(other);
        machine.end(leader.pid);
        machine.look();
        assert_eq!(machine.kinship.rest(machine.runs[one].0), RunRest::Unclear);
        assert_eq!(machine.kinship.rest(key), RunRest::Unclear);
        assert_eq!(machine.kinship.members(key).count(), 0);
        // Only one of them is left to have started it, unless it can be from elsewhere.
        machine.kinship.forget(machine.runs[one].0);
        machine.look();
        assert_eq!(machine.kinship.rest(key), alone);
    }
}

#[test]
fn a_number_that_was_given_up_is_a_strangers_when_it_comes_back() {
    let mut kinship = Kinship::new(AGENT, Orphans::Lost);
    let leader = ProcessName { pid: 7, started: 1 };
    let key = kinship.begin(leader, None, None);
    let process = |pid, started, group| SeenProcess {
        name: ProcessName { pid, started },
        parent: INIT,
        group,
        session: group,
        marks: Some("another:yet-another".to_string()),
        tag: None,
    };
    kinship.look(&[process(7, 1, 7), process(8, 2, 7)]);
    assert_eq!(kinship.members(key).count(), 2);
    kinship.on_leader_reaped(key);
    assert!(kinship.has_group(key));
    kinship.look(&[process(8, 2, 7)]);
    assert_eq!((kinship.rest(key), kinship.has_group(key)), (RunRest::Lives, true));
    kinship.look(&[]);
    assert_eq!((kinship.rest(key), kinship.has_group(key)), (RunRest::Ended, false));
    kinship.look(&[process(7, 9, 7), process(10, 10, 7)]);
    assert_eq!((kinship.rest(key), kinship.has_group(key)), (RunRest::Ended, false));
    // Reused between two looks: the leader of that number is another one.
    let key = kinship.begin(leader, None, None);
    kinship.on_leader_reaped(key);
    kinship.look(&[process(7, 9, 7), process(10, 10, 7)]);
    assert_eq!((kinship.rest(key), kinship.has_group(key)), (RunRest::Ended, false));
}

#[test]
fn who_was_seen_to_descend_from_a_run_is_of_it_whatever_it_sheds_then() {
    let mut machine = Machine::new(Orphans::Lost);
    let run = machine.begin();
    let (key, leader) = machine.runs[run];
    let child = machine.fork(leader.pid).unwrap();
    let process = machine.living.get_mut(&child).unwrap();
    (process.seen.session, process.seen.group, process.seen.marks) = (child, child, None);
    machine.look();
    machine.end(leader.pid);
    machine.look();
    assert_eq!(machine.kinship.members(key).map(|(name, _)| name.pid).collect::<Vec<_>>(), [child]);
}

#[test]
fn where_orphans_are_lost_a_mark_finds_what_left_everything_else() {
    let mut machine = Machine::new(Orphans::Lost);
    let run = machine.begin();
    let (key, leader) = machine.runs[run];
    let child = machine.fork(leader.pid).unwrap();
    let daemon = machine.fork(child).unwrap();
    let process = machine.living.get_mut(&daemon).unwrap();
    (process.seen.session, process.seen.group) = (daemon, daemon);
    machine.end(child);
    machine.end(leader.pid);
    machine.look();
    assert_eq!(
        machine.kinship.members(key).map(|(name, _)| name.pid).collect::<Vec<_>>(),
        [daemon]
    );
    assert_eq!(machine.kinship.strays().count(), 0);
}

/// The way of a daemon, while another command runs: the environment, the session and the parents are gone.
#[test]
fn a_daemon_among_several_runs_is_of_the_one_whose_tag_it_bears() {
    for orphans in [Orphans::Adopted, Orphans::AdoptedFromAnywhere] {
        let mut machine = Machine::new(orphans);
        let (one, two) = (machine.begin(), machine.begin());
        let (key, leader) = machine.runs[two];
        let child = machine.fork(leader.pid).unwrap();
        let daemon = machine.fork(child).unwrap();
        let process = machine.living.get_mut(&daemon).unwrap();
        (process.seen.session, process.seen.group, process.seen.marks) = (daemon, daemon, None);
        machine.end(child);
        machine.look();
        let members: Vec<i32> = machine.kinship.members(key).map(|(name, _)| name.pid).collect();
        assert_eq!(members, [leader.pid, daemon]);
        machine.end(leader.pid);
        machine.look();
        assert_eq!(machine.kinship.rest(key), RunRest::Lives);
        let other = machine.runs[one];
        machine.end(other.1.pid);
        machine.look();
        assert_eq!(machine.kinship.rest(other.0), RunRest::Ended, "it was not its own");
        assert_eq!(machine.kinship.strays().count(), 0);
    }
}
