//! All agents at a glance: what many have in common, who is unwell, and the server's own faults.

use crate::support::{EPOCH_MS, awake_and_asleep, ms, now, secs};
use onsembl_protocol::diagnosis::{
    Availability, Cause, Confidence, Explanation, Fall, Finding, FleetWhy, KeptFaults, Member,
    OwnFault, OwnFaults, Verdict, Why, incidents,
};
use onsembl_protocol::id::AgentId;
use onsembl_protocol::model::Evidence;
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::time::{Now, WallTime};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(30);

fn at(secs: i64) -> WallTime {
    WallTime::from_unix_millis(EPOCH_MS + secs * 1000)
}

fn drop(from: i64, until: Option<i64>, cause: Cause) -> Verdict {
    let finding = Finding::new(cause, Confidence::Medium);
    Verdict { at: at(from), until: until.map(at), finding }
}

fn member(n: usize, state: PresenceStatus, since: i64, drops: Vec<Verdict>) -> Member {
    let presence = Explanation::without_transitions(state, at(since), "because".into());
    let availability = Availability::default();
    let why = Why { presence, drops, pattern: None, now: None, action: None, availability };
    seen(Member { agent: AgentId::new(format!("id-{n}")), name: format!("a{n}"), why }, None)
}

/// What is wrong with it, behind a change of what is known.
#[allow(clippy::needless_pass_by_value, reason = "tests read better")]
fn seen(mut member: Member, fault: Option<Finding>) -> Member {
    member.why.now = member.why.wrong_now(fault.as_ref(), at(0)).cloned();
    member
}

fn of(members: &[Member], others: usize, own: &[OwnFault]) -> FleetWhy {
    since(at(0), members, others, own)
}

fn since(from: WallTime, members: &[Member], others: usize, own: &[OwnFault]) -> FleetWhy {
    let mut tally = FleetWhy::since(from, others);
    members.iter().for_each(|member| tally.add(member));
    tally.told(own, WINDOW)
}

#[test]
fn one_agent_that_falls_again_and_again_is_no_incident_of_many() {
    let fall = |agent, n| Fall { agent, at: at(n), cause: Cause::NetworkCut };
    let of_one: Vec<Fall> = (0..9).map(|n| fall(7, n)).collect();
    assert_eq!(incidents(&of_one, &[], 9, WINDOW), []);
    let of_three = [of_one.as_slice(), &[fall(8, 9), fall(9, 10)]].concat();
    let found = incidents(&of_three, &[], 9, WINDOW);
    assert_eq!(found.iter().map(|incident| incident.agents).collect::<Vec<_>>(), [3]);
    assert_eq!(
        found[0].finding.evidence.to_string(),
        "agents 3, in session 9, alike 3, within 10s"
    );
    let own = OwnFault { from: at(0), until: at(1), cause: Cause::ServerStalled };
    assert_eq!(incidents(&of_one, &[own], 9, WINDOW)[0].agents, 1);
}

#[test]
fn incidents_come_first_and_who_is_back_is_well() {
    let back =
        |n| member(n, PresenceStatus::Online, 40, vec![drop(10, Some(40), Cause::NetworkCut)]);
    let members: Vec<Member> = (0..4).map(back).collect();
    let told = of(&members, 6, &[]);
    assert_eq!((told.incidents.len(), told.agents.len(), told.well), (1, 0, 10));
    let (incident, finding) = (&told.incidents[0], &told.incidents[0].finding);
    assert_eq!(
        (incident.agents, finding.cause, finding.confidence),
        (4, Cause::NetworkCut, Confidence::High)
    );
    // The same of a large fleet is a coincidence.
    assert_eq!(of(&members, 600, &[]).incidents, []);
    // And drops of before are none of this time.
    let told = since(at(20), &members, 6, &[]);
    assert_eq!((told.incidents.len(), told.well), (0, 10));
}

#[test]
fn who_is_away_is_told_of_by_the_verdict_on_its_drop_and_what_needs_somebody_first() {
    let mut flapping =
        member(3, PresenceStatus::Online, 90, vec![drop(80, Some(90), Cause::NetworkCut)]);
    let timer = Finding::new(Cause::MiddleboxIdleTimeout, Confidence::High);
    flapping.why.pattern = Some(timer);
    let fault = Finding::new(Cause::HeartbeatNotRecorded, Confidence::High);
    let impaired = seen(member(4, PresenceStatus::Online, -500, vec![]), Some(fault));
    let mut over =
        member(5, PresenceStatus::Online, -500, vec![drop(-600, Some(-500), Cause::NetworkCut)]);
    over.why.pattern = flapping.why.pattern.clone();
    let members = [
        member(0, PresenceStatus::Offline, 50, vec![drop(45, None, Cause::AgentStopped)]),
        member(1, PresenceStatus::Reconnecting, 70, vec![drop(70, None, Cause::TokenExpired)]),
        member(2, PresenceStatus::Stale, 95, vec![]),
        seen(flapping, None),
        impaired,
        seen(over, None),
        member(6, PresenceStatus::Offline, -900, vec![]),
    ];
    let told = of(&members, 0, &[]);
    let shown: Vec<_> =
        told.agents.iter().map(|one| (one.name.as_str(), one.finding.cause, one.drops)).collect();
    assert_eq!(
        shown,
        [
            ("a2", Cause::NetworkOneWayOrCut, 0),
            ("a1", Cause::TokenExpired, 1),
            ("a3", Cause::MiddleboxIdleTimeout, 1),
            ("a4", Cause::HeartbeatNotRecorded, 0),
            ("a0", Cause::AgentStopped, 1),
            ("a6", Cause::Unknown, 0),
        ],
    );
    assert_eq!((told.well, told.not_listed), (1, 0), "a pattern of before is over");
    let text = serde_json::to_string(&told.agents[1]).unwrap();
    assert_eq!(
        text,
        r#"{"agent_id":"id-1","name":"a1","state":"reconnecting","since":"2025-11-02T00:01:10.000Z","because":"because","cause":"token-expired","confidence":"medium","drops":1}"#,
    );
}

#[test]
fn what_is_told_is_bounded_and_says_what_is_left_out() {
    let away = |n| member(n, PresenceStatus::Offline, 50, vec![]);
    let members: Vec<Member> = (0..3 * FleetWhy::MOST_AGENTS).map(away).collect();
    let own: Vec<OwnFault> = (0..100)
        .map(|n| OwnFault {
            from: at(n * 100),
            until: at(n * 100 + 60),
            cause: Cause::ServerStalled,
        })
        .collect();
    let told = of(&members, 0, &own);
    assert_eq!(
        (told.agents.len(), told.not_listed),
        (FleetWhy::MOST_AGENTS, 2 * FleetWhy::MOST_AGENTS)
    );
    assert_eq!(told.incidents.len(), FleetWhy::MOST_INCIDENTS);
    assert_eq!(told.incidents.last().map(|last| last.from), Some(at(9900)), "the latest");
}

#[test]
fn a_moment_of_the_server_that_nobody_felt_is_no_incident() {
    let stall = |lasted: i64| OwnFault {
        from: at(10),
        until: at(10 + lasted),
        cause: Cause::ServerStalled,
    };
    assert_eq!(of(&[], 9, &[stall(14)]).incidents.len(), 0);
    assert_eq!(of(&[], 9, &[stall(15)]).incidents.len(), 1);
    let felt = [member(0, PresenceStatus::Online, 12, vec![drop(11, Some(12), Cause::Unknown)])];
    assert_eq!(of(&felt, 9, &[stall(1)]).incidents.len(), 1);
    let restart = OwnFault { cause: Cause::ServerRestarted, ..stall(1) };
    assert_eq!(of(&[], 9, &[restart]).incidents.len(), 1);
    let over = OwnFault { from: at(-200), until: at(-100), cause: Cause::ServerRestarted };
    assert_eq!(of(&[], 9, &[over]).incidents.len(), 0, "it is not of this time");
}

#[test]
fn a_server_that_looks_late_did_not_run_and_one_whose_machine_slept_neither() {
    let mut own = OwnFaults::resumed(None, at(0));
    let look = |own: &mut OwnFaults, before: Now, after: Now| own.looked(before, secs(1), after);
    look(&mut own, now(secs(10)), now(secs(11) + ms(500)));
    assert_eq!(own.known(at(20)), [], "timers are late by that");
    look(&mut own, now(secs(20)), now(secs(141)));
    look(&mut own, now(secs(200)), awake_and_asleep(secs(201), secs(3600)));
    let stall =
        |from, until| OwnFault { from: at(from), until: at(until), cause: Cause::ServerStalled };
    assert_eq!(own.known(at(9999)), [stall(21, 141), stall(201, 3801)]);
}

#[test]
fn a_server_remembers_its_own_faults_over_its_restart() {
    let mut own = OwnFaults::resumed(None, at(0));
    assert_eq!(own.known(at(0)), [], "it never ran before");
    own.stalled(secs(120), at(200));
    own.stalled(secs(90), at(200));
    own.stalled(secs(119), at(201));
    own.stalled(secs(2), at(300));
    own.store(Some(at(400)), at(401));
    own.store(Some(at(400)), at(410));
    let stall =
        |from, until| OwnFault { from: at(from), until: at(until), cause: Cause::ServerStalled };
    let failing =
        |until| OwnFault { from: at(400), until: at(until), cause: Cause::HeartbeatNotRecorded };
    assert_eq!(own.known(at(420)), [stall(80, 201), stall(298, 300), failing(420)]);
    own.store(None, at(430));
    assert_eq!(own.known(at(999)), [stall(80, 201), stall(298, 300), failing(430)]);

    let text = serde_json::to_string(&own.kept(at(500))).unwrap();
    let kept: KeptFaults = serde_json::from_str(&text).unwrap();
    let next = OwnFaults::resumed(Some(kept), at(530));
    let restart = OwnFault { from: at(500), until: at(530), cause: Cause::ServerRestarted };
    let known = [stall(80, 201), stall(298, 300), failing(430), restart];
    assert_eq!(next.known(at(540)), known);
    // A clock that was set back says nothing of how long no server ran.
    let early = OwnFaults::resumed(Some(next.kept(at(9000))), at(600));
    let restart = OwnFault { from: at(600), until: at(600), cause: Cause::ServerRestarted };
    assert_eq!(early.known(at(600)).last(), Some(&restart));

    let mut flood = OwnFaults::default();
    for n in 0..1000 {
        flood.stalled(secs(1), at(n * 10));
    }
    assert_eq!(flood.known(at(10_000)).len(), OwnFaults::MOST);
    let evidence = Evidence::NONE.with("lasted", secs(1)).with("agents", 0u64);
    assert_eq!(incidents(&[], &flood.known(at(10_000)), 0, WINDOW)[0].finding.evidence, evidence);
}
