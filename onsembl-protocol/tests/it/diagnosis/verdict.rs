//! Each cause, as both ends record it, is judged right; and whatever else is recorded, or missing, no wrong one is
//! called sure.

use super::histories::{
    History, Note, back, broke, by_server, dialled, dials, ended, histories, last_run, noted,
    silence, sure,
};
use crate::support::{EPOCH_MS, ms, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseCode, CloseReason};
use onsembl_protocol::diagnosis::{
    Cause, Confidence, DropRecord, Evidence, Finding, LastBoot, LastEnd, LastVersion, OutOfMemory,
    PastFinding, Process, Return, TurnedAway, found_by_agent, judge,
};
use onsembl_protocol::session::{AgentCause, DialFailure, DialFault, Dialect, PresenceCause};
use onsembl_protocol::time::WallTime;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeSet;

#[test]
fn a_clock_that_was_set_there_and_back_around_a_fault_of_dates_is_proven() {
    let jump = |after| sure(Cause::ClockJump, after, 0);
    let judged = |notes: &[Note]| {
        let Finding { cause, confidence, .. } =
            judge(&broke(), back(Process::Same, 280, notes).as_ref()).finding;
        (cause, confidence)
    };
    let dates = || dials(DialFault::CertificateExpired, 12);
    let proven = [jump(1), dates(), jump(279)];
    assert_eq!(judged(&proven), (Cause::ClockJump, Confidence::High));
    assert_eq!(judged(&[jump(1), dates()]), (Cause::ClockJump, Confidence::Medium));
    assert_eq!(judged(&[dates(), jump(279)]), (Cause::ClockJump, Confidence::Medium));
    assert_eq!(judged(&[dates()]), (Cause::Tls, Confidence::Medium));
    let untrusted = [jump(1), dials(DialFault::CertificateUntrusted, 12), jump(279)];
    assert_eq!(judged(&untrusted), (Cause::Tls, Confidence::High));
}

/// A machine that kills any process for want of memory does not prove that it killed this one.
#[test]
fn only_the_own_group_proves_that_memory_was_short() {
    let judged = |among| {
        let end = LastEnd::OutOfMemory(among);
        let notes = [last_run(end, LastBoot::Same, LastVersion::Same, 29)];
        let Finding { cause, confidence, .. } =
            judge(&broke(), back(Process::Other, 30, &notes).as_ref()).finding;
        (cause, confidence)
    };
    assert_eq!(judged(OutOfMemory::OwnGroup), (Cause::HostOutOfMemory, Confidence::High));
    assert_eq!(judged(OutOfMemory::Machine), (Cause::HostOutOfMemory, Confidence::Medium));
}

#[test]
fn each_cause_is_judged_right() {
    let mut judged = BTreeSet::new();
    for history in histories() {
        let verdict = judge(&history.drop, history.back.as_ref());
        let is = (verdict.finding.cause, verdict.finding.confidence);
        assert_eq!(is, (history.truth, history.sure), "{history:#?}\n{verdict:#?}");
        assert_eq!(verdict.until, history.back.as_ref().map(|back| back.at));
        assert!(verdict.finding.evidence.get("ended").is_some());
        let _ = judged.insert(history.truth);
    }
    // One of them is that nothing is known.
    assert!(judged.len() > 24, "{} causes", judged.len());
}

#[test]
fn the_direction_that_was_lost_is_in_the_evidence() {
    let lost = |history: &History| {
        let verdict = judge(&history.drop, history.back.as_ref());
        verdict.finding.evidence.text("lost").map(str::to_owned)
    };
    let one_way: Vec<_> = histories()
        .iter()
        .filter(|history| history.truth == Cause::NetworkOneWay)
        .map(|history| lost(history).expect("a direction"))
        .collect();
    assert_eq!(one_way, ["to-server", "to-agent"]);
}

#[test]
fn a_verdict_reads_as_the_documents_say() {
    let mut drop = silence();
    drop.quiet = secs(60);
    let verdict = judge(&drop, None);
    assert_eq!(
        serde_json::to_string(&verdict).unwrap(),
        r#"{"at":"2025-11-02T00:00:00.000Z","until":null,"cause":"unknown","confidence":"low","evidence":{"ended":"silence","quiet_ms":60000,"lived_ms":3600000}}"#,
    );
}

/// What else an agent may record, or fail to, without that being the cause.
#[derive(Clone, Debug)]
enum Noise {
    /// It tells nothing, because it is of an older version.
    Mute,
    /// One entry is lost.
    Forgets(Index),
    /// It tells the times by so much wrong.
    Skewed(i64),
    /// Something short that came later.
    Later(Cause, u64),
    /// The server heard it for a moment less or more.
    Quiet(u64),
}

fn noise() -> impl Strategy<Value = Noise> {
    let causes = vec![
        Cause::AgentSlept,
        Cause::AgentStalled,
        Cause::NetworkCut,
        Cause::ConnectionRefused,
        Cause::NameResolution,
        Cause::ServerBusy,
        Cause::NetworkChanged,
        Cause::ClockJump,
    ];
    prop_oneof![
        1 => Just(Noise::Mute),
        2 => any::<Index>().prop_map(Noise::Forgets),
        2 => (-1500i64..1500).prop_map(Noise::Skewed),
        3 => (select(causes), 0u64..20).prop_map(|(cause, lasted)| Noise::Later(cause, lasted)),
        1 => (0u64..5).prop_map(Noise::Quiet),
    ]
}

fn disturbed(mut history: History, noise: &Noise) -> History {
    if let Noise::Quiet(by) = noise {
        history.drop.quiet += secs(*by);
    }
    let Some(back) = &mut history.back else { return history };
    match noise {
        Noise::Mute => back.told.clear(),
        Noise::Forgets(which) if !back.told.is_empty() => {
            let _ = back.told.remove(which.index(back.told.len()));
        }
        Noise::Skewed(by) => {
            for told in &mut back.told {
                let ago = told.ago.as_millis() as i64 + by;
                told.ago = ms(ago.max(0) as u64);
            }
        }
        Noise::Later(cause, lasted) => {
            // In the second half, when the agent is long away.
            let absence = back.at.unix_millis() - EPOCH_MS;
            let ago = ms(absence as u64 / 3);
            if absence > 100_000 {
                let finding = Finding::new(*cause, Confidence::High);
                back.told.push(PastFinding {
                    finding,
                    ago,
                    lasted: secs(*lasted).min(ago),
                    times: 1,
                });
            }
        }
        Noise::Forgets(_) | Noise::Quiet(_) => {}
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_wrong_cause_is_called_sure(which in any::<Index>(), noise in vec(noise(), 0..4)) {
        let all = histories();
        let history = all[which.index(all.len())].clone();
        let truth = history.truth;
        // Of a cause that is unknown, a later fault tells as little.
        if truth == Cause::Unknown {
            return Ok(());
        }
        let disturbed = noise.iter().fold(history, disturbed);
        let verdict = judge(&disturbed.drop, disturbed.back.as_ref());
        let Finding { cause, confidence, .. } = verdict.finding;
        // An upgrade is a restart, of which an agent that tells nothing does not say more.
        let is_true = cause == truth
            || (truth == Cause::AgentUpgraded && cause == Cause::AgentRestarted);
        prop_assert!(
            is_true || confidence < Confidence::High,
            "{} is called {} for sure: {:#?}", truth, cause, disturbed
        );
    }
}

#[test]
fn a_hop_that_is_missed_explains_only_the_silence_that_follows_from_it() {
    let cause = |drop: DropRecord, stopped| {
        judge(&DropRecord { stopped_at: Some(stopped), ..drop }, None).finding.cause
    };
    let silent = CloseReason::peer(Some(CloseCause::Silent.code()));
    let of_agent = ended(PresenceCause::LinkEnded(silent), 5);
    assert_eq!(cause(silence(), Cause::HeartbeatNotHandled), Cause::HeartbeatNotHandled);
    assert_eq!(cause(silence(), Cause::HeartbeatNotWritten), Cause::HeartbeatNotWritten);
    assert_eq!(cause(of_agent, Cause::HeartbeatNotAnswered), Cause::HeartbeatNotAnswered);
    // A database that is busy while the network is cut.
    assert_ne!(cause(silence(), Cause::HeartbeatNotRecorded), Cause::HeartbeatNotRecorded);
    assert_ne!(cause(of_agent, Cause::HeartbeatNotRecorded), Cause::HeartbeatNotRecorded);
}

#[allow(clippy::needless_pass_by_value, reason = "tests read better")]
fn judged(drop: &DropRecord, back: Option<Return>) -> (Cause, Confidence, String) {
    let Finding { cause, confidence, evidence } = judge(drop, back.as_ref()).finding;
    (cause, confidence, evidence.to_string())
}

fn sure_of(drop: &DropRecord, back: Option<Return>) -> (Cause, Confidence) {
    let (cause, confidence, _) = judged(drop, back);
    (cause, confidence)
}

fn shut(code: Option<u16>) -> CloseReason {
    CloseReason::peer(code.map(CloseCode))
}

/// A proxy may close both ways with any code of the standard, or one of its own.
#[test]
fn no_code_that_anything_on_the_way_may_send_is_surely_an_ends_own() {
    let codes = (1000..=1015).chain([3000, 3999, 4000, 4099, 4999]).map(Some).chain([None]);
    for code in codes {
        let (drop, told) = (
            ended(PresenceCause::LinkEnded(shut(code)), 5),
            found_by_agent(&AgentCause::LinkEnded(shut(code)), None, Evidence::NONE),
        );
        let found = told.map(|(finding, _)| finding);
        assert!(
            found.as_ref().is_none_or(|f| f.confidence < Confidence::High),
            "{code:?}: {found:?}"
        );
        for process in [Process::Same, Process::Unknown] {
            let (cause, confidence) = sure_of(&drop, back(process, 1, &[]));
            assert!(confidence < Confidence::High, "{code:?}: {cause}");
            let blamed = [Cause::ServerRestarted, Cause::AgentStopped, Cause::ServerBusy];
            assert!(!blamed.contains(&cause), "{code:?}: {cause}");
        }
        assert!(sure_of(&drop, None).1 < Confidence::High, "{code:?}");
        // Each end was told that the other one closed, and neither did.
        if let Some(finding) = found {
            let both = sure_of(&drop, back(Process::Same, 1, &[Note(finding, 0, 0, 1)]));
            if code != Some(1006) {
                assert_eq!(both, (Cause::ConnectionCut, Confidence::High), "{code:?}");
            }
        }
    }
}

#[test]
fn a_process_that_is_back_was_not_stopped() {
    let stopped = ended(PresenceCause::AgentStopped, 3);
    assert_eq!(
        sure_of(&stopped, back(Process::Same, 1, &[])),
        (Cause::ConnectionCut, Confidence::Medium)
    );
    // A legacy wrapper says it by a code that a proxy sends too.
    let legacy = DropRecord { dialect: Dialect::Legacy, ..stopped };
    assert_eq!(sure_of(&legacy, None), (Cause::AgentStopped, Confidence::Medium));
}

fn restarted() -> DropRecord {
    ended(PresenceCause::ServerRestarted, 0)
}

#[test]
fn an_end_is_sure_for_longer_than_it_explains_only_if_the_agent_told_what_it_met() {
    let judged_after =
        |absence, notes: &[Note]| sure_of(&restarted(), back(Process::Same, absence, notes));
    let (medium, high) = (Confidence::Medium, Confidence::High);
    assert_eq!(judged_after(28, &[]), (Cause::ServerRestarted, medium));
    assert_eq!(judged_after(8, &[]), (Cause::ServerRestarted, high));
    // It waited before it dialled again, or dials failed while a server begins to run, or for a while longer.
    let closed = AgentCause::LinkEnded(CloseReason::peer(Some(CloseCause::GoingAway.code())));
    assert_eq!(
        judged_after(28, &[noted(closed, Evidence::NONE, 0, 0, 1)]),
        (Cause::ServerRestarted, high)
    );
    let refused = [dialled(DialFault::ConnectRefused, 1, 8, 4)];
    assert_eq!(judged_after(28, &refused), (Cause::ServerRestarted, medium));
    // That follows from no server that is away, however soon it dialled last.
    let untrusted = [dialled(DialFault::CertificateUntrusted, 1, 8, 4)];
    assert_eq!(judged_after(28, &untrusted), (Cause::Tls, high));
    let no_token = [dialled(DialFault::TokenMissing, 1, 26, 5)];
    assert_eq!(judged_after(28, &no_token), (Cause::TokenMissing, high));
}

#[test]
fn what_kept_an_agent_away_longer_than_the_restart_is_the_cause_and_both_are_told() {
    let (cause, confidence, evidence) = judged(
        &restarted(),
        back(Process::Same, 56, &[dialled(DialFault::TokenMissing, 8, 40, 5)]),
    );
    assert_eq!((cause, confidence), (Cause::TokenMissing, Confidence::High));
    assert!(evidence.contains("began as server-restarted"), "{evidence}");
    assert!(evidence.contains("kept away 48s"), "{evidence}");
    // A server that closes in order, runs again after 5 s, with a certificate that has run out.
    let mut planned = by_server(CloseCause::GoingAway);
    planned.since.restarted_after = secs(5);
    let notes = [
        dialled(DialFault::ConnectRefused, 1, 3, 2),
        dialled(DialFault::CertificateExpired, 6, 22, 4),
    ];
    assert_eq!(
        sure_of(&planned, back(Process::Same, 33, &notes)),
        (Cause::Tls, Confidence::Medium)
    );
    // While it does not run, nobody can dial it: that is the restart.
    planned.since.restarted_after = secs(60);
    let refused = [dialled(DialFault::ConnectRefused, 1, 58, 9)];
    let (cause, confidence, _) = judged(&planned, back(Process::Same, 80, &refused));
    assert_eq!((cause, confidence), (Cause::ServerRestarted, Confidence::High));
    // And less than the end explains is told behind it.
    let mut long = by_server(CloseCause::GoingAway);
    long.since.restarted_after = secs(300);
    let late = [dialled(DialFault::TokenMissing, 302, 30, 5)];
    let (cause, _, evidence) = judged(&long, back(Process::Same, 335, &late));
    assert_eq!(cause, Cause::ServerRestarted);
    assert!(evidence.contains("then token-missing"), "{evidence}");
    // An upgrade that comes back to a certificate that does not fit.
    let stopped = ended(PresenceCause::AgentStopped, 1);
    let notes = [
        last_run(LastEnd::Stopped, LastBoot::Same, LastVersion::Other, 4),
        dialled(DialFault::CertificateUntrusted, 5, 28, 5),
    ];
    let (cause, _, evidence) = judged(&stopped, back(Process::Other, 36, &notes));
    assert_eq!(cause, Cause::Tls);
    assert!(evidence.contains("began as agent-upgraded"), "{evidence}");
}

#[test]
fn who_does_not_come_back_after_a_restart_is_kept_away_by_something_that_is_not_known() {
    let after = |n| {
        let mut drop = restarted();
        drop.since.away = secs(n);
        judged(&drop, None)
    };
    assert_eq!(after(60).0, Cause::ServerRestarted);
    let (cause, confidence, evidence) = after(120);
    assert_eq!((cause, confidence), (Cause::Unknown, Confidence::Low));
    assert!(evidence.starts_with("began as server-restarted"), "{evidence}");
    // Who was stopped stays away.
    let mut stopped = ended(PresenceCause::AgentStopped, 1);
    stopped.since.away = secs(100_000);
    assert_eq!(sure_of(&stopped, None), (Cause::AgentStopped, Confidence::High));
}

#[test]
fn an_agent_that_the_server_turns_away_itself_is_told_of_while_it_is_away() {
    let mut drop = restarted();
    drop.since.away = secs(150);
    let at = |n: i64| WallTime::from_unix_millis(EPOCH_MS + n * 1000);
    let turned = TurnedAway { cause: Cause::TokenExpired, first: at(3), last: at(140), times: 5 };
    drop.since.turned_away = Some(turned);
    let (cause, confidence, evidence) = judged(&drop, None);
    assert_eq!((cause, confidence), (Cause::TokenExpired, Confidence::High));
    for part in
        ["turned away 5", "began as server-restarted", "last turned away 2025-11-02T00:02:20"]
    {
        assert!(evidence.contains(part), "{part}: {evidence}");
    }
    assert_eq!(TurnedAway::now(Some(turned), Cause::TokenExpired, at(200)).times, 6);
    assert_eq!(TurnedAway::now(Some(turned), Cause::TokenRevoked, at(200)).times, 1);
    assert_eq!(TurnedAway::now(Some(turned), Cause::TokenExpired, at(4000)).times, 1);
}

#[test]
fn a_server_that_did_not_run_while_the_agent_was_away_kept_it_away() {
    // It stalled for 10 s, and then the server was frozen for 20 s.
    let mut drop = silence();
    drop.quiet = secs(8);
    drop.since.stalled = secs(20);
    let stalled = sure(Cause::AgentStalled, -8, 10);
    let unanswered = dialled(DialFault::Unanswered, 3, 18, 2);
    let (cause, _, evidence) = judged(&drop, back(Process::Same, 30, &[stalled, unanswered]));
    assert_eq!(cause, Cause::ServerStalled, "{evidence}");
    assert!(evidence.contains("began as agent-stalled"), "{evidence}");
}

#[test]
fn dials_that_nobody_answers_behind_a_silence_are_the_same_outage() {
    let heard_nothing = noted(AgentCause::Silence(secs(90)), Evidence::NONE, 3, 0, 1);
    let silent = CloseReason::peer(Some(CloseCause::Silent.code()));
    let told_silent = noted(AgentCause::LinkEnded(silent), Evidence::NONE, 0, 0, 1);
    for fault in [DialFault::TlsTimeout, DialFault::Unanswered, DialFault::ClosedUnanswered] {
        let dials = dialled(fault, 3, 40, 4);
        // Both directions; what the agent sends; what it is sent.
        let cut = back(Process::Same, 48, &[heard_nothing.clone(), dials.clone()]);
        assert_eq!(sure_of(&silence(), cut), (Cause::NetworkCut, Confidence::High), "{fault:?}");
        let up = back(Process::Same, 48, &[told_silent.clone(), dials.clone()]);
        assert_eq!(sure_of(&silence(), up), (Cause::NetworkOneWay, Confidence::High), "{fault:?}");
        let given_up = ended(PresenceCause::LinkEnded(silent), 5);
        let down = back(Process::Same, 48, &[heard_nothing.clone(), dials.clone()]);
        assert_eq!(sure_of(&given_up, down), (Cause::NetworkOneWay, Confidence::High), "{fault:?}");
        let mute = back(Process::Same, 48, &[dials]);
        assert_eq!(sure_of(&silence(), mute), (Cause::NetworkCut, Confidence::Medium), "{fault:?}");
    }
}

/// What an agent of an earlier version told of a handshake that was not answered is no word on a certificate.
#[test]
fn no_certificate_is_blamed_that_nobody_saw() {
    let old = |cause, confidence, fault: &str| {
        let evidence = Evidence::NONE.with("fault", fault);
        let cut = noted(
            AgentCause::LinkEnded(CloseReason::broken(Breakage::Reset)),
            Evidence::NONE,
            0,
            0,
            1,
        );
        let dials = Note(Finding::new(cause, confidence).on(evidence), 2, 270, 9);
        sure_of(&broke(), back(Process::Same, 280, &[cut, dials])).0
    };
    let (low, medium) = (Confidence::Low, Confidence::Medium);
    assert_eq!(old(Cause::Tls, low, "tls-timeout"), Cause::DialUnanswered);
    assert_eq!(old(Cause::ServerBusy, low, "unanswered"), Cause::DialUnanswered);
    assert_eq!(old(Cause::MiddleboxAnswer, medium, "closed-unanswered"), Cause::DialUnanswered);
    assert_eq!(old(Cause::Tls, medium, "certificate-expired"), Cause::Tls);
    for fault in DialFault::ALL {
        let (finding, _) = found_by_agent(
            &AgentCause::DialFailed(DialFailure::Unreachable),
            Some(*fault),
            Evidence::NONE,
        )
        .expect("a fault");
        let seen = fault.as_str().starts_with("certificate-")
            || [DialFault::NoTls, DialFault::TlsFailed].contains(fault);
        assert_eq!(finding.cause == Cause::Tls, seen, "{fault:?}");
    }
}
