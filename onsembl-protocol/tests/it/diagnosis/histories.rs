//! A history of each cause, as both ends record it: how a session ended, and what its agent says when it is back.

use crate::support::{EPOCH_MS, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{
    Cause, Confidence, DropRecord, Evidence, Finding, LastBoot, LastEnd, LastRun, LastVersion,
    OutOfMemory, PastFinding, Process, Return, SinceThen, Ways, found_by_agent,
};
use onsembl_protocol::session::{
    AgentCause, DialFailure, DialFault, Dialect, EndOrder, PresenceCause,
};
use onsembl_protocol::time::WallTime;
use std::time::Duration;

const AT: WallTime = WallTime::from_unix_millis(EPOCH_MS);

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) truth: Cause,
    pub(super) sure: Confidence,
    pub(super) drop: DropRecord,
    pub(super) back: Option<Return>,
}

pub(super) fn ended(how: PresenceCause, quiet: u64) -> DropRecord {
    DropRecord {
        at: AT,
        how,
        lived: secs(3600),
        quiet: secs(quiet),
        stalled: Duration::ZERO,
        ways: Ways::Both,
        stopped_at: None,
        dialect: Dialect::Extended,
        since: SinceThen::default(),
    }
}

pub(super) fn silence() -> DropRecord {
    ended(PresenceCause::Silence(secs(90)), 90)
}

pub(super) fn broke() -> DropRecord {
    ended(PresenceCause::LinkEnded(CloseReason::broken(Breakage::Reset)), 10)
}

pub(super) fn by_agent(cause: CloseCause) -> DropRecord {
    ended(PresenceCause::LinkEnded(CloseReason::peer(Some(cause.code()))), 5)
}

pub(super) fn by_server(cause: CloseCause) -> DropRecord {
    ended(PresenceCause::LinkEnded(CloseReason::local(cause)), 5)
}

/// A finding this many seconds after the end of the session (or before it), of this length, this often.
#[derive(Clone, Debug)]
pub(super) struct Note(pub(super) Finding, pub(super) i64, pub(super) u64, pub(super) u32);

pub(super) fn noted(
    word: AgentCause,
    evidence: Evidence,
    after: i64,
    lasted: u64,
    times: u32,
) -> Note {
    let (finding, _) = found_by_agent(&word, None, evidence).expect("a fault");
    Note(finding, after, lasted, times)
}

pub(super) fn dialled(fault: DialFault, after: i64, lasted: u64, times: u32) -> Note {
    let word = AgentCause::DialFailed(DialFailure::Unreachable);
    let (finding, _) = found_by_agent(&word, Some(fault), Evidence::NONE).expect("a fault");
    Note(finding, after, lasted, times)
}

pub(super) fn dials(fault: DialFault, times: u32) -> Note {
    dialled(fault, 2, 270, times)
}

pub(super) fn sure(cause: Cause, after: i64, lasted: u64) -> Note {
    Note(Finding::new(cause, Confidence::High), after, lasted, 1)
}

pub(super) fn back(process: Process, absence: u64, notes: &[Note]) -> Option<Return> {
    let told = notes.iter().map(|Note(finding, after, lasted, times)| PastFinding {
        finding: finding.clone(),
        ago: secs((absence as i64 - after) as u64),
        lasted: secs(*lasted),
        times: *times,
    });
    let at = WallTime::from_unix_millis(EPOCH_MS + absence as i64 * 1000);
    Some(Return { at, process, told: told.collect() })
}

pub(super) fn last_run(end: LastEnd, boot: LastBoot, version: LastVersion, after: i64) -> Note {
    Note(LastRun { end, boot, version }.finding(), after, 0, 1)
}

/// One history of each cause, of some two.
pub(super) fn histories() -> Vec<History> {
    use Confidence::{High, Low, Medium};
    use Process::{Other, Same};
    let (lost, heard_nothing) = (
        CloseReason::broken(Breakage::Reset),
        noted(AgentCause::Silence(secs(90)), Evidence::NONE, 3, 0, 1),
    );
    let cut = noted(AgentCause::LinkEnded(lost), Evidence::NONE, 0, 0, 1);
    let closed_for_silence = CloseReason::peer(Some(CloseCause::Silent.code()));
    let none = Evidence::NONE;
    let stopped = PresenceCause::AgentStopped;
    let mut stalled = silence();
    stalled.stalled = secs(88);
    let mut not_handled = silence();
    not_handled.stopped_at = Some(Cause::HeartbeatNotHandled);
    let history = |truth, sure, drop, back| History { truth, sure, drop, back };
    let away =
        |truth, note: Note| history(truth, High, broke(), back(Same, 280, &[cut.clone(), note]));
    vec![
        history(
            Cause::HeartbeatNeverStarted,
            High,
            silence(),
            back(Same, 4, &[sure(Cause::HeartbeatNeverStarted, -45, 45)]),
        ),
        history(
            Cause::HeartbeatNotWritten,
            High,
            silence(),
            back(Same, 4, &[sure(Cause::HeartbeatNotWritten, -70, 70)]),
        ),
        history(Cause::HeartbeatNotHandled, High, not_handled, back(Same, 4, &[])),
        history(
            Cause::AgentSlept,
            High,
            silence(),
            back(Same, 500, &[noted(AgentCause::Slept(secs(590)), none.clone(), -90, 590, 1)]),
        ),
        history(
            Cause::AgentSlept,
            High,
            ended(PresenceCause::LinkEnded(closed_for_silence), 600),
            back(Same, 1, &[noted(AgentCause::Slept(secs(600)), none.clone(), -600, 600, 1)]),
        ),
        history(
            Cause::AgentStalled,
            High,
            silence(),
            back(Same, 40, &[sure(Cause::AgentStalled, -90, 128)]),
        ),
        history(
            Cause::AgentCrashed,
            High,
            broke(),
            back(Other, 5, &[last_run(LastEnd::Crashed, LastBoot::Same, LastVersion::Same, 4)]),
        ),
        history(
            Cause::AgentKilled,
            Medium,
            broke(),
            back(Other, 5, &[last_run(LastEnd::Vanished, LastBoot::Same, LastVersion::Same, 4)]),
        ),
        history(
            Cause::AgentRestarted,
            High,
            ended(stopped, 3),
            back(Other, 20, &[last_run(LastEnd::Stopped, LastBoot::Same, LastVersion::Same, 19)]),
        ),
        history(Cause::AgentRestarted, Low, broke(), back(Other, 20, &[])),
        history(Cause::AgentStopped, High, ended(stopped, 3), None),
        history(
            Cause::AgentStopped,
            High,
            ended(stopped, 3),
            back(
                Other,
                40_000,
                &[last_run(LastEnd::Stopped, LastBoot::Same, LastVersion::Same, 39_999)],
            ),
        ),
        history(
            Cause::AgentUpgraded,
            High,
            ended(stopped, 3),
            back(Other, 20, &[last_run(LastEnd::Stopped, LastBoot::Same, LastVersion::Other, 19)]),
        ),
        history(
            Cause::AgentEndedByOrder,
            High,
            ended(PresenceCause::EndOrdered(EndOrder::Stop), 3),
            None,
        ),
        history(
            Cause::AgentDeleted,
            High,
            ended(PresenceCause::Evicted(CloseCause::Deleted), 3),
            None,
        ),
        history(
            Cause::HostRebooted,
            High,
            silence(),
            back(
                Other,
                200,
                &[last_run(LastEnd::Vanished, LastBoot::Other, LastVersion::Same, 199)],
            ),
        ),
        history(
            Cause::HostOutOfMemory,
            High,
            broke(),
            back(
                Other,
                30,
                &[last_run(
                    LastEnd::OutOfMemory(OutOfMemory::OwnGroup),
                    LastBoot::Same,
                    LastVersion::Same,
                    29,
                )],
            ),
        ),
        away(Cause::HostOutOfDescriptors, dials(DialFault::OutOfDescriptors, 12)),
        away(Cause::HostOutOfDisk, sure(Cause::HostOutOfDisk, 1, 270)),
        away(Cause::ClockJump, dials(DialFault::CertificateExpired, 12)),
        history(
            Cause::NetworkChanged,
            High,
            silence(),
            back(
                Same,
                9,
                &[sure(Cause::NetworkChanged, -80, 0), dialled(DialFault::NoRoute, 2, 0, 1)],
            ),
        ),
        history(
            Cause::NetworkCut,
            High,
            silence(),
            back(Same, 300, &[heard_nothing.clone(), dials(DialFault::ConnectTimeout, 9)]),
        ),
        history(Cause::ConnectionCut, High, broke(), back(Same, 3, std::slice::from_ref(&cut))),
        history(
            Cause::NetworkCut,
            Medium,
            broke(),
            back(Same, 200, &[cut.clone(), dialled(DialFault::ConnectTimeout, 0, 150, 9)]),
        ),
        history(
            Cause::DialUnanswered,
            Medium,
            broke(),
            back(Same, 280, &[cut.clone(), dials(DialFault::Unanswered, 12)]),
        ),
        history(
            Cause::NetworkCut,
            Medium,
            silence(),
            back(Same, 300, &[heard_nothing.clone(), dials(DialFault::NameUnanswered, 9)]),
        ),
        history(
            Cause::NetworkOneWay,
            High,
            silence(),
            back(
                Same,
                4,
                &[noted(AgentCause::LinkEnded(closed_for_silence), none.clone(), 0, 0, 1)],
            ),
        ),
        history(
            Cause::NetworkOneWay,
            High,
            ended(PresenceCause::LinkEnded(closed_for_silence), 5),
            back(Same, 4, &[noted(AgentCause::Silence(secs(90)), none.clone(), 0, 0, 1)]),
        ),
        away(Cause::NameResolution, dials(DialFault::NameUnanswered, 12)),
        away(Cause::NoRoute, dials(DialFault::NoRoute, 12)),
        away(Cause::ConnectionRefused, dials(DialFault::ConnectRefused, 12)),
        away(Cause::Tls, dials(DialFault::CertificateUntrusted, 12)),
        away(Cause::Proxy, dials(DialFault::ProxyCredentials, 12)),
        away(Cause::Proxy, dials(DialFault::ProxyUnreachable, 12)),
        away(Cause::Redirect, dials(DialFault::Redirected, 12)),
        away(Cause::MiddleboxAnswer, dials(DialFault::NoWebsocket, 12)),
        history(
            Cause::ServerRestarted,
            High,
            ended(PresenceCause::ServerRestarted, 0),
            back(Same, 6, &[cut.clone(), dialled(DialFault::ConnectRefused, 1, 4, 3)]),
        ),
        history(Cause::ServerRestarted, High, by_server(CloseCause::GoingAway), back(Same, 6, &[])),
        history(Cause::ServerStalled, High, stalled, back(Same, 2, &[])),
        history(
            Cause::ServerStalled,
            Medium,
            DropRecord { stalled: secs(8), ..broke() },
            back(Same, 2, std::slice::from_ref(&cut)),
        ),
        away(Cause::ServerBusy, dials(DialFault::ServerBusy, 12)),
        away(Cause::TokenMissing, dials(DialFault::TokenMissing, 12)),
        history(Cause::TokenExpired, High, by_server(CloseCause::TokenExpired), None),
        history(
            Cause::TokenRevoked,
            High,
            ended(PresenceCause::Evicted(CloseCause::Revoked), 3),
            None,
        ),
        away(Cause::TokenWrongKind, dials(DialFault::TokenWrongKind, 4)),
        away(Cause::TokenRefused, dials(DialFault::TokenUnknown, 4)),
        history(
            Cause::TokenRefused,
            Medium,
            broke(),
            back(Same, 280, &[cut.clone(), dials(DialFault::TokenRefused, 4)]),
        ),
        history(Cause::SecondInstance, High, ended(PresenceCause::ReplacedOther, 3), None),
        history(Cause::SlowConsumer, High, by_server(CloseCause::NotReading), back(Same, 2, &[])),
        history(
            Cause::ProtocolError,
            High,
            by_agent(CloseCause::ProtocolError),
            back(
                Same,
                2,
                &[noted(
                    AgentCause::LinkEnded(CloseReason::local(CloseCause::ProtocolError)),
                    none.clone(),
                    0,
                    0,
                    1,
                )],
            ),
        ),
        history(
            Cause::ProtocolError,
            Medium,
            by_agent(CloseCause::ProtocolError),
            back(Same, 2, &[]),
        ),
        history(Cause::Unknown, Low, silence(), None),
        history(Cause::Unknown, Low, broke(), None),
        history(Cause::Unknown, Low, silence(), back(Process::Unknown, 300, &[])),
    ]
    .into_iter()
    .map(with_a_clock_that_jumped)
    .collect()
}

/// A certificate that has not run out is taken for one that has when the clock jumped.
pub(super) fn with_a_clock_that_jumped(mut history: History) -> History {
    if history.truth == Cause::ClockJump {
        let Note(finding, ..) = sure(Cause::ClockJump, 1, 0);
        let told = PastFinding { finding, ago: secs(279), lasted: Duration::ZERO, times: 1 };
        history.back.as_mut().expect("it is back").told.push(told);
        history.sure = Confidence::Medium;
    }
    history
}
