//! The simulator itself: the same seed is the same world, a defect of a driver is noticed, a failing
//! world shrinks to what it needs.

use crate::watch;
use onsembl_protocol::lab::fact::{Fact, When, Witness};
use onsembl_protocol::lab::sim::{
    Digest, Failure, Fault, FaultKind, Faults, Outcome, Planned, Planted, Scenario, World, shrink,
};

fn run<W: Witness>(scenario: &Scenario, witness: W) -> (Outcome, W) {
    let mut world = World::new(scenario, witness);
    let outcome = world.run();
    (outcome, world.into_witness().0)
}

const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
struct Count {
    facts: u64,
    backwards: u64,
    last: u64,
}

impl Witness for Count {
    fn witness(&mut self, when: When, _: &Fact) {
        self.facts += 1;
        self.backwards += u64::from(when.world < self.last);
        self.last = when.world;
    }
}

#[test]
fn a_quiet_hour_has_a_beat_each_interval_and_nothing_else_happens() {
    let (outcome, count) = run(&Scenario::quiet(1), Count::default());
    assert_eq!(outcome.failure, None);
    let intervals = outcome.lasted / 30_000_000_000;
    assert!((intervals..=intervals + 2).contains(&outcome.beats), "{}", outcome.beats);
    assert_eq!(count.backwards, 0);
    assert!(count.facts > outcome.beats * 8, "{}", count.facts);
}

#[test]
fn the_same_seed_is_the_same_world_and_another_is_another() {
    let digest = |seed| run(&Scenario::from_seed(seed), Digest::default()).1;
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn faults_as_a_list_are_the_faults_of_the_seed() {
    let scenario = Scenario::from_seed(9);
    let spelled = scenario.clone().spelled_out();
    assert!(spelled.planned().len() >= 10);
    let digest = |scenario: &Scenario| run(scenario, Digest::default()).1;
    assert_eq!(digest(&scenario), digest(&spelled));
}

#[test]
fn a_dropped_deadline_is_noticed() {
    let scenario = Scenario { planted: Some(Planted::DropsDeadlines), ..Scenario::quiet(1) };
    let (outcome, ()) = run(&scenario, ());
    assert!(matches!(outcome.failure, Some(Failure::AgentWithoutDeadline { .. })), "{outcome:?}");
}

#[test]
fn a_deadline_that_does_not_move_on_is_noticed() {
    let scenario = Scenario { planted: Some(Planted::RepeatsDeadlines), ..Scenario::quiet(1) };
    let (outcome, ()) = run(&scenario, ());
    assert!(matches!(outcome.failure, Some(Failure::AgentDeadlineNotLater { .. })), "{outcome:?}");
}

#[test]
fn a_wake_up_that_comes_a_day_late_is_noticed() {
    let cut = Fault { kind: FaultKind::CutUnnoticed, agent: 0, lasts: 1, code: 0 };
    let scenario = Scenario {
        planted: Some(Planted::SleepsIn),
        faults: Faults::These(vec![Planned { at: 60_000_000_000, fault: cut }]),
        ..Scenario::quiet(1)
    };
    let (outcome, ()) = run(&scenario, ());
    assert!(matches!(outcome.failure, Some(Failure::NotBack { agent: 0, .. })), "{outcome:?}");
    let awake = Scenario { planted: None, ..scenario };
    assert_eq!(run(&awake, ()).0.failure, None);
}

#[allow(clippy::needless_pass_by_value)]
fn with_faults(scenario: Scenario, faults: &[(u64, FaultKind, u64)]) -> Scenario {
    let planned = faults.iter().map(|&(at, kind, lasts)| Planned {
        at: at * SECOND,
        fault: Fault { kind, agent: 0, lasts: lasts * SECOND, code: 0 },
    });
    Scenario { faults: Faults::These(planned.collect()), ..scenario }
}

#[test]
fn a_host_that_is_suspended_twice_at_once_slept_for_all_of_it() {
    // Together longer than the time-out, and neither is.
    let twice = [(100, FaultKind::Suspend, 80), (150, FaultKind::Suspend, 80)];
    assert_eq!(watch::run(&with_faults(Scenario::quiet(1), &twice)).1, None);
    let one_in_the_other = [(100, FaultKind::Suspend, 120), (110, FaultKind::Suspend, 80)];
    assert_eq!(watch::run(&with_faults(Scenario::quiet(1), &one_in_the_other)).1, None);
}

#[test]
fn a_sleep_of_just_the_time_out_is_one_or_is_none() {
    for more in 0..30 {
        let scenario = Scenario { legacy_one_in: 1, ..Scenario::quiet(1) };
        let timeout_after = scenario.server.timing.timeout_after().as_nanos() as u64;
        let lasts = timeout_after + more * 1_000_000;
        let fault = Fault { kind: FaultKind::Suspend, agent: 0, lasts, code: 0 };
        let faults = Faults::These(vec![Planned { at: 100 * SECOND, fault }]);
        let wrong = watch::run(&Scenario { faults, ..scenario }).1;
        assert_eq!(wrong, None, "{more} ms more");
    }
}

#[test]
fn a_program_may_send_before_the_machine_could_notice_a_sleep() {
    let story = [(100, FaultKind::CutUnnoticed, 1), (101, FaultKind::Suspend, 500)];
    for at in 601..640 {
        let chatter = [(at, FaultKind::Chatter, 1)];
        let story = [&story[..], &chatter].concat();
        assert_eq!(watch::run(&with_faults(Scenario::quiet(1), &story)).1, None, "{at} s");
    }
}

#[test]
fn who_has_a_session_is_awaited_after_a_restart_whatever_is_stored_of_its_presence() {
    for seed in 0..200 {
        let quiet = Scenario { seed, ..Scenario::quiet(1) };
        let story = [
            (60, FaultKind::StoreSlow, 100),
            (70, FaultKind::AgentStop, 20),
            (92 + seed % 6, FaultKind::ServerPowerLoss, 60),
        ];
        assert_eq!(watch::run(&with_faults(quiet, &story)).1, None, "seed {seed}");
    }
}

#[test]
fn a_failing_world_shrinks_to_the_faults_it_needs() {
    let has = |scenario: &Scenario, kind| scenario.planned().iter().any(|p| p.fault.kind == kind);
    let fails = |scenario: &Scenario| {
        has(scenario, FaultKind::ServerCrash) && has(scenario, FaultKind::StoreSlow)
    };
    let scenario = (0..).map(Scenario::from_seed).find(|s| fails(s)).unwrap();
    assert!(scenario.planned().len() > 10);
    let small = shrink(&scenario, |candidate| {
        let _every_candidate_is_a_world = watch::run(candidate);
        fails(candidate)
    });
    let mut kinds: Vec<_> = small.planned().iter().map(|p| p.fault.kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [FaultKind::ServerCrash, FaultKind::StoreSlow]);
    assert!(small.agents <= scenario.agents && small.duration < scenario.duration);
    assert_eq!(small.to_string().lines().count(), 3);
    assert_eq!(shrink(&scenario, |_| false), scenario);
}

#[test]
fn a_world_that_writes_and_reads_every_message_is_the_same_world() {
    for seed in 0..20 {
        let scenario = Scenario::from_seed(seed);
        let (plain, digest) = run(&scenario, Digest::default());
        let (coded, digest_coded) = run(&Scenario { codec: true, ..scenario }, Digest::default());
        assert_eq!((plain.failure, digest), (coded.failure, digest_coded), "seed {seed}");
    }
}
