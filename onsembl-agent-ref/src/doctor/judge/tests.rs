//! Observations, and the verdicts that follow from them.

use super::super::observed::{Addresses, Descriptors, Idle, Local, Path, Probe, TokenSeen};
use super::*;
use crate::status_file::LastFailure;
use onsembl_protocol::session::{DialFailure, DialFault};
use onsembl_transport::Clocks;
use serde_json::json;
use std::path::PathBuf;

const NOW: &str = "2026-01-02T03:10:00Z";

fn now() -> WallTime {
    WallTime::parse_rfc3339(NOW).unwrap()
}

fn ago(seconds: i64) -> Option<String> {
    Some(WallTime::from_unix_millis(now().unix_millis() - seconds * 1000).to_string())
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn status() -> AgentStatusFile {
    AgentStatusFile {
        pid: 7,
        name: "dev".into(),
        server: "https://h".into(),
        state: "connected".into(),
        since: ago(600).unwrap(),
        because: "the server accepted the hello".into(),
        last_failure: None::<LastFailure>,
        agent_id: None,
        epoch: Some(3),
        last_heartbeat_sent: ago(10),
        last_heartbeat_answered: ago(10),
        last_heartbeat_recorded: ago(10),
        beats: None,
        running_commands: 0,
        background_commands: 0,
        background: Vec::new(),
        spool_failed: false,
        journal_failed: false,
        stopped: None,
        paused: false,
        activity: None,
        updated_at: ago(1).unwrap(),
    }
}

fn well() -> Observed {
    let address = "10.0.0.1:443".parse().unwrap();
    let found = StateFound {
        path: PathBuf::from("/state"),
        unwritable: None,
        disk: Ok((1 << 30, 1 << 20)),
        copies: Vec::new(),
        agent: Running::Yes { status: Box::new(status()), process: Process::default() },
    };
    let timing = HeartbeatTiming::DEFAULT;
    let here = system_time(now());
    Observed {
        now: now(),
        token: TokenSeen {
            from: "mine.token".into(),
            outcome: Ok(TokenForm::Random { kind: "agent".into(), id: "t-1".into() }),
        },
        path: Path {
            addresses: Ok(vec![(address, Ok(secs(0)))]),
            proxy: None,
            tls: true,
            certificate_ends: Some(here + secs(90 * 24 * 3600)),
        },
        dial: Ok("wss://h".into()),
        probe: Some(Probe {
            hello: Ok(Hello { took: secs(0), server: ServerKind::Extended, timing }),
            ping: Some(Ok(secs(0))),
            idle: Some(Idle { asked: secs(40), lasted: secs(40), outcome: Ok(()) }),
            large: Some((50_000, Ok(secs(0)))),
        }),
        clocks: Some(Clocks { server: here, here }),
        local: Some(Local {
            state: State::Found(Box::new(found)),
            descriptors: Some(Descriptors { open: 10, allowed: 1024 }),
        }),
    }
}

fn with_status(change: impl FnOnce(&mut AgentStatusFile, &mut Process)) -> Observed {
    let mut seen = well();
    if let Some(Local { state: State::Found(found), .. }) = &mut seen.local
        && let Running::Yes { status, process } = &mut found.agent
    {
        change(status, process);
    }
    seen
}

fn failed(failure: DialFailure, fault: DialFault, addresses: Addresses) -> Observed {
    let mut seen = well();
    seen.dial = Err(DialError::new(failure, "10.0.0.1:443: why").with_fault(fault));
    seen.path.addresses = addresses;
    seen.probe = None;
    seen.clocks = None;
    seen
}

fn of(seen: &Observed, check: &str) -> Check {
    judge(seen).into_iter().find(|one| one.check == check).unwrap()
}

fn failures(seen: &Observed) -> Vec<&'static str> {
    let all = judge(seen).into_iter();
    all.filter(|check| check.verdict == Verdict::Fail).map(|check| check.check).collect()
}

#[test]
fn where_all_is_well_nothing_fails_and_only_the_proxy_is_skipped() {
    for check in judge(&well()) {
        let wanted = if check.check == "proxy" { Verdict::Skip } else { Verdict::Pass };
        assert_eq!(check.verdict, wanted, "{check:?}");
        assert!(check.action.is_empty(), "{check:?}");
    }
}

#[test]
fn each_fault_of_a_dial_fails_one_check_and_skips_what_is_behind() {
    let order = ["dns", "tcp", "proxy", "tls", "upgrade", "token", "hello"];
    for fault in DialFault::ALL {
        let at = match fault.stage() {
            DialStage::Resolve => 0,
            DialStage::Connect => 1,
            DialStage::Proxy => 2,
            DialStage::Tls => 3,
            DialStage::Upgrade => 4,
            DialStage::Token => 5,
        };
        let error = || DialError::new(DialFailure::Unreachable, "why").with_fault(*fault);
        let address = "10.0.0.1:443".parse().unwrap();
        let addresses = match at {
            0 => Err(error()),
            1 => Ok(vec![(address, Err(error()))]),
            _ => Ok(vec![(address, Ok(secs(0)))]),
        };
        let seen = failed(DialFailure::Unreachable, *fault, addresses);
        assert_eq!(failures(&seen), [order[at]], "{fault:?}: {:#?}", judge(&seen));
        for check in &order[at + 1..] {
            let behind = of(&seen, check);
            let is_known = *check == "token" && behind.found.contains("no server has checked it");
            assert!(behind.verdict == Verdict::Skip || is_known, "{fault:?}: {behind:?}");
        }
        for check in ["heartbeat", "idle", "large-frame", "clock"] {
            assert_eq!(of(&seen, check).verdict, Verdict::Skip, "{fault:?}");
        }
    }
}

#[test]
fn one_address_of_several_is_enough_and_the_others_are_told() {
    let dead = DialError::new(DialFailure::TimedOut, "[::1]:443: no answer");
    let mut seen = well();
    if let Ok(addresses) = &mut seen.path.addresses {
        addresses.insert(0, ("[::1]:443".parse().unwrap(), Err(dead)));
    }
    let check = of(&seen, "tcp");
    assert_eq!(check.verdict, Verdict::Pass);
    assert!(check.found.contains("[::1]:443: no answer"), "{check:?}");
}

#[test]
fn a_heartbeat_timer_that_never_started_is_seen() {
    let seen = with_status(|status, _| status.last_heartbeat_sent = None);
    let check = of(&seen, "running-agent");
    assert!(check.found.contains("timer never started"), "{check:?}");
    // What an earlier session sent is no proof of this one.
    let earlier = with_status(|status, _| status.last_heartbeat_sent = ago(5000));
    assert!(of(&earlier, "running-agent").found.contains("timer never started"));
    let young = with_status(|status, _| {
        status.last_heartbeat_sent = None;
        status.since = ago(5).unwrap();
    });
    assert_eq!(of(&young, "running-agent").verdict, Verdict::Pass);
}

#[test]
fn the_hop_at_which_heartbeats_end_is_named() {
    type Change = fn(&mut AgentStatusFile, &mut Process);
    let cases: [(&str, Change); 6] = [
        ("its timer has stopped", |s, _| s.last_heartbeat_sent = ago(200)),
        ("the server answered none", |s, _| s.last_heartbeat_answered = ago(300)),
        ("the server answered none", |s, _| s.last_heartbeat_answered = None),
        ("the server records none", |s, _| s.last_heartbeat_recorded = ago(400)),
        ("is stopped (state T)", |_, p| p.state = Some('T')),
        ("is reconnecting", |s, _| s.state = "reconnecting".into()),
    ];
    for (says, change) in cases {
        let seen = with_status(change);
        let check = of(&seen, "running-agent");
        assert_eq!(check.verdict, Verdict::Fail, "{says}: {check:?}");
        assert!(check.found.contains(says) && !check.action.is_empty(), "{says}: {check:?}");
        assert_eq!(failures(&seen), ["running-agent"], "{says}");
    }
    let legacy = with_status(|s, _| {
        s.epoch = Some(0);
        s.last_heartbeat_sent = None;
    });
    assert_eq!(of(&legacy, "running-agent").verdict, Verdict::Skip);
}

#[test]
fn the_ledger_of_the_running_agent_names_the_hop() {
    let beats = json!({
        "ways": "both", "ways_confidence": null, "i_hear_you": NOW, "you_hear_me": null,
        "trouble": {
            "hop": "written", "cause": "heartbeat-not-written", "confidence": "high", "sequence": 2,
            "since": NOW, "text": "they wait",
        },
        "agent_heartbeats": { "due": 2, "made": 2, "queued": 2, "written": 0 },
        "server_heartbeats": {}, "round_trip_ms": null,
    });
    // All that the status file said before is well.
    let seen = with_status(|status, _| status.beats = serde_json::from_value(beats).unwrap());
    let check = of(&seen, "running-agent");
    assert_eq!(check.verdict, Verdict::Fail, "{check:?}");
    for part in ["`written`", "heartbeat-not-written", "queued 2, written 0"] {
        assert!(check.found.contains(part), "{part}: {check:?}");
    }
    assert_eq!(failures(&seen), ["running-agent"]);
}

#[test]
fn what_cuts_idle_links_is_named_with_its_seconds() {
    let cut = |held| {
        let mut seen = well();
        let outcome = Err("link lost".to_owned());
        seen.probe.as_mut().unwrap().idle =
            Some(Idle { asked: secs(200), lasted: secs(held), outcome });
        of(&seen, "idle")
    };
    let check = cut(60);
    assert_eq!(check.verdict, Verdict::Fail);
    assert!(check.found.contains("1m") && check.action.contains("below 1m"), "{check:?}");
    assert_eq!(cut(91).verdict, Verdict::Skip, "the server's own time-out");
}

#[test]
fn what_is_about_to_fail_fails() {
    let mut seen = well();
    let here = system_time(now());
    seen.path.certificate_ends = Some(here + secs(3600));
    seen.clocks = Some(Clocks { server: here + secs(3600), here });
    if let Some(Local { state: State::Found(found), .. }) = &mut seen.local {
        found.disk = Ok((1024, 1 << 20));
        found.unwritable = Some("Permission denied".into());
        found.copies = vec![PathBuf::from("/other")];
        if let Running::Yes { process, .. } = &mut found.agent {
            process.descriptors = Some(Descriptors { open: 1020, allowed: 1024 });
        }
    }
    let all = ["tls", "clock", "second-instance", "state-directory", "disk", "descriptors"];
    assert_eq!(failures(&seen), all);
    assert!(of(&seen, "clock").found.contains("behind"), "{:?}", of(&seen, "clock"));
}

#[test]
fn a_token_that_cannot_be_read_is_named_though_the_server_was_reached() {
    let mut seen = failed(
        DialFailure::Unauthorized,
        DialFault::TokenRefused,
        Ok(vec![("10.0.0.1:443".parse().unwrap(), Ok(secs(0)))]),
    );
    seen.token.outcome = Err("cannot read the token file x: No such file".into());
    assert_eq!(failures(&seen), ["token"]);
    assert!(of(&seen, "token").found.contains("No such file"));
    assert_eq!(of(&seen, "upgrade").verdict, Verdict::Pass);
}

/// A full disk, or a process that hangs: what the file says is as old as the file.
#[test]
fn a_status_that_is_not_written_any_more_is_no_fault_of_the_timer() {
    let seen = with_status(|status, _| {
        status.updated_at = ago(300).unwrap();
        status.last_heartbeat_sent = ago(300);
    });
    let check = of(&seen, "running-agent");
    assert_eq!(check.verdict, Verdict::Fail);
    assert!(check.found.contains("a full disk?") && !check.found.contains("timer"), "{check:?}");
    assert!(!check.action.contains("report this as a bug"), "{check:?}");
}

#[test]
fn a_state_directory_that_cannot_be_made_fails() {
    let mut seen = well();
    let unmakeable = Some((PathBuf::from("/ro"), "Read-only file system".to_owned()));
    let state = |unmakeable| State::Missing { path: PathBuf::from("/ro/a"), unmakeable };
    let mut with = |unmakeable| {
        if let Some(local) = &mut seen.local {
            local.state = state(unmakeable);
        }
        of(&seen, "state-directory")
    };
    let check = with(unmakeable);
    assert_eq!(check.verdict, Verdict::Fail);
    assert!(check.found.contains("/ro is not writable: Read-only file system"), "{check:?}");
    assert_eq!(with(None).verdict, Verdict::Skip);
}

#[test]
fn a_token_that_was_not_shown_was_not_refused() {
    let mut seen = failed(
        DialFailure::Unauthorized,
        DialFault::TokenRefused,
        Ok(vec![("10.0.0.1:443".parse().unwrap(), Ok(secs(0)))]),
    );
    assert!(of(&seen, "upgrade").found.ends_with("refused the token"));
    seen.token.outcome = Err("no such file".to_owned());
    assert!(of(&seen, "upgrade").found.ends_with("requires a token"));
}
