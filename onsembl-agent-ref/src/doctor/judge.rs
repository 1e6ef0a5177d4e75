//! What follows from what was seen: one check after the other, each passed, failed or skipped, with what was
//! measured and what to do. Pure.

use super::ledger::ledger;
use super::observed::{
    Hello, Observed, Process, Running, ServerKind, State, StateFound, TokenForm,
};
use crate::status_file::AgentStatusFile;
use onsembl_protocol::model::HeartbeatTiming;
use onsembl_protocol::session::DialStage;
use onsembl_protocol::time::WallTime;
use onsembl_transport::DialError;
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) enum Verdict {
    Pass,
    Fail,
    /// It could not be looked at, or means nothing here.
    Skip,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Its id, which stays.
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    /// What was measured, or why nothing was.
    pub(crate) found: String,
    /// What to do; empty if there is nothing.
    pub(crate) action: String,
}

impl Check {
    fn pass(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Pass, found: found.into(), action: String::new() }
    }

    pub(super) fn fail(
        check: &'static str,
        found: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), action: action.into() }
    }

    fn skip(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Skip, found: found.into(), action: String::new() }
    }
}

/// A clock that is this far off is wrong: certificates and tokens are judged by it, and people compare times.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// A certificate that ends sooner was not renewed in time.
const CERTIFICATE_LEFT: Duration = Duration::from_secs(7 * 24 * 3600);
/// An agent with less room on its disk cannot keep output for long.
const LEAST_DISK: u64 = 64 * 1024 * 1024;
const LEAST_FILES: u64 = 1000;
/// Descriptors that an agent and its commands need at least.
const LEAST_DESCRIPTORS: u64 = 64;

/// What follows from what was seen.
pub(super) fn judge(seen: &Observed) -> Vec<Check> {
    let failed = seen.dial.as_ref().err();
    let failed = failed.map(|error| (error.fault.stage(), error));
    let hello = seen.probe.as_ref().and_then(|probe| probe.hello.as_ref().ok());
    vec![
        names(seen, failed),
        connect(seen, failed),
        proxy(seen, failed),
        tls(seen, failed),
        upgrade(seen, failed),
        token(seen, failed),
        accepted(seen),
        answered(seen),
        large(seen),
        idle(seen),
        clock(seen),
        running(seen, hello),
        machine::second(seen),
        machine::state(seen),
        machine::disk(seen),
        machine::descriptors(seen),
    ]
}

/// Where a dial failed.
type Failed<'a> = Option<(DialStage, &'a DialError)>;

/// The check of a step where the dial failed, or that was not reached.
fn unless_passed(check: &'static str, at: DialStage, failed: Failed<'_>) -> Option<Check> {
    let (stage, error) = failed?;
    match stage.cmp(&at) {
        std::cmp::Ordering::Less => Some(Check::skip(check, "not reached")),
        std::cmp::Ordering::Equal => {
            let what = match error.detail.as_str() {
                "" => error.fault.what().to_owned(),
                detail => format!("{}: {detail}", error.fault.what()),
            };
            let action = match error.fault.advice() {
                // The particulars say what to do: for readers of the field it stands there too.
                "" => error.detail.as_str(),
                advice => advice,
            };
            Some(Check::fail(check, what, action))
        }
        std::cmp::Ordering::Greater => None,
    }
}

fn names(seen: &Observed, failed: Failed<'_>) -> Check {
    const CHECK: &str = "dns";
    match &seen.path.addresses {
        Ok(found) => {
            let list: Vec<String> = found.iter().map(|(address, _)| address.to_string()).collect();
            Check::pass(CHECK, list.join(", "))
        }
        Err(error) if error.fault.stage() == DialStage::Resolve => Check::fail(
            CHECK,
            format!("{}: {}", error.fault.what(), error.detail),
            error.fault.advice(),
        ),
        Err(error) => unless_passed(CHECK, DialStage::Resolve, failed)
            .unwrap_or_else(|| Check::skip(CHECK, error.to_string())),
    }
}

fn connect(seen: &Observed, failed: Failed<'_>) -> Check {
    const CHECK: &str = "tcp";
    let Ok(addresses) = &seen.path.addresses else { return Check::skip(CHECK, "not reached") };
    let told: Vec<String> = addresses
        .iter()
        .map(|(address, reached)| match reached {
            Ok(took) => format!("{address} in {}", ms(*took)),
            Err(error) => format!("{}: not connected", error.detail),
        })
        .collect();
    let told = told.join("; ");
    let first_fault = addresses.iter().find_map(|(_, reached)| reached.as_ref().err());
    match (addresses.iter().any(|(_, reached)| reached.is_ok()), first_fault) {
        // One that does not answer costs a quarter of a second at each dial, and no more.
        (true, _) => Check::pass(CHECK, told),
        (false, Some(error)) => Check::fail(CHECK, told, error.fault.advice()),
        (false, None) => unless_passed(CHECK, DialStage::Connect, failed)
            .unwrap_or_else(|| Check::skip(CHECK, "no address")),
    }
}

fn proxy(seen: &Observed, failed: Failed<'_>) -> Check {
    const CHECK: &str = "proxy";
    if let Some((DialStage::Proxy, _)) = failed
        && let Some(check) = unless_passed(CHECK, DialStage::Proxy, failed)
    {
        return check;
    }
    match &seen.path.proxy {
        None => Check::skip(CHECK, "none is used"),
        Some(proxy) => unless_passed(CHECK, DialStage::Proxy, failed)
            .unwrap_or_else(|| Check::pass(CHECK, format!("through {proxy}"))),
    }
}

fn tls(seen: &Observed, failed: Failed<'_>) -> Check {
    const CHECK: &str = "tls";
    if !seen.path.tls {
        return Check::skip(CHECK, "the URL uses no TLS; anyone on the path can read the token");
    }
    if let Some(check) = unless_passed(CHECK, DialStage::Tls, failed) {
        return check;
    }
    let now = system_time(seen.now);
    match seen.path.certificate_ends.map(|ends| (ends, ends.duration_since(now))) {
        None => Check::pass(
            CHECK,
            "chain and name are valid; the expiry of the certificate cannot be read",
        ),
        Some((ends, Ok(left))) if left >= CERTIFICATE_LEFT => Check::pass(
            CHECK,
            format!("chain and name are valid; the certificate expires on {}", date(ends)),
        ),
        Some((ends, _)) => Check::fail(
            CHECK,
            format!("chain and name are valid, and the certificate expires on {}", date(ends)),
            "renew the server's certificate before agents refuse it",
        ),
    }
}

fn upgrade(seen: &Observed, failed: Failed<'_>) -> Check {
    const CHECK: &str = "upgrade";
    match (unless_passed(CHECK, DialStage::Upgrade, failed), &seen.dial) {
        (Some(check), _) => check,
        (None, Ok(peer)) => Check::pass(CHECK, format!("a WebSocket to {peer}")),
        (None, Err(_)) if seen.token.outcome.is_err() => {
            Check::pass(CHECK, "an onsembl server answered and requires a token")
        }
        (None, Err(_)) => Check::pass(CHECK, "an onsembl server answered and refused the token"),
    }
}

fn token(seen: &Observed, failed: Failed<'_>) -> Check {
    const CHECK: &str = "token";
    let form = match &seen.token.outcome {
        Err(why) => {
            return Check::fail(
                CHECK,
                why.clone(),
                "put a token into the file (onsembl-server token --agent NAME)",
            );
        }
        Ok(form) => form,
    };
    let what = match form {
        TokenForm::Random { kind, id } => {
            format!("token {id} for {kind}s, from {}", seen.token.from)
        }
        TokenForm::Signed { kind, id, expires } => {
            let id = id.as_deref().unwrap_or("without an id");
            let kind = kind.as_deref().unwrap_or("unknown peer");
            let until = expires.map_or_else(String::new, |at| format!(", until {at}"));
            format!("signed token {id} for {kind}s{until}, from {}", seen.token.from)
        }
        TokenForm::Other => format!("a token of unknown form, from {}", seen.token.from),
    };
    if let Some(check) = unless_passed(CHECK, DialStage::Token, failed) {
        let found = match check.verdict {
            Verdict::Pass | Verdict::Skip => format!("{what}; no server has checked it"),
            Verdict::Fail => format!("{what}; {}", check.found),
        };
        return Check { found, ..check };
    }
    Check::pass(CHECK, format!("{what}; the server accepts it"))
}

fn accepted(seen: &Observed) -> Check {
    const CHECK: &str = "hello";
    match seen.probe.as_ref().map(|probe| &probe.hello) {
        None => Check::skip(CHECK, "not reached"),
        Some(Ok(Hello { took, server: ServerKind::Extended, timing })) => Check::pass(
            CHECK,
            format!("accepted in {}; heartbeats every {}", ms(*took), short(timing.interval())),
        ),
        Some(Ok(Hello { took, server: ServerKind::Legacy, .. })) => Check::pass(
            CHECK,
            format!(
                "accepted in {}, by a legacy server, which sends no heartbeat times and lists this connection as an agent until it ends",
                ms(*took)
            ),
        ),
        Some(Err(why)) => Check::fail(
            CHECK,
            why.clone(),
            "read the server's reply; if it is empty, the peer may not be an onsembl server: check the path in the URL",
        ),
    }
}

fn answered(seen: &Observed) -> Check {
    const CHECK: &str = "heartbeat";
    match seen.probe.as_ref().and_then(|probe| probe.ping.as_ref()) {
        None => Check::skip(CHECK, "not reached"),
        Some(Ok(took)) => Check::pass(
            CHECK,
            format!(
                "a ping was answered in {}; whether beats are recorded, `running-agent` says",
                ms(*took)
            ),
        ),
        Some(Err(why)) => Check::fail(
            CHECK,
            why.clone(),
            "the server accepts connections but does not answer on them: see its log and /readyz",
        ),
    }
}

fn large(seen: &Observed) -> Check {
    const CHECK: &str = "large-frame";
    match seen.probe.as_ref().and_then(|probe| probe.large.as_ref()) {
        None => Check::skip(CHECK, "not reached"),
        Some((bytes, Ok(took))) => {
            Check::pass(CHECK, format!("{bytes} bytes were answered in {}", ms(*took)))
        }
        Some((bytes, Err(why))) => Check::fail(
            CHECK,
            format!("{bytes} bytes were not answered: {why}"),
            "something on the path drops large packets or messages: check the MTU of a VPN, and the limits of a proxy",
        ),
    }
}

fn idle(seen: &Observed) -> Check {
    const CHECK: &str = "idle";
    let Some(probe) = &seen.probe else { return Check::skip(CHECK, "not reached") };
    let (Some(idle), Ok(hello)) = (&probe.idle, &probe.hello) else {
        return Check::skip(CHECK, "not reached");
    };
    let interval = hello.timing.interval();
    match &idle.outcome {
        Ok(()) if idle.asked < interval => Check::pass(
            CHECK,
            format!(
                "held idle for {}; heartbeats come every {}, so hold it for longer (--idle-hold) to learn more",
                short(idle.lasted),
                short(interval)
            ),
        ),
        Ok(()) => Check::pass(CHECK, format!("held idle for {}", short(idle.lasted))),
        // The server itself gives up who is silent for that long.
        Err(why) if idle.lasted >= hello.timing.timeout_after() => Check::skip(
            CHECK,
            format!("the server closed the link after {}, as expected: {why}", short(idle.lasted)),
        ),
        Err(why) => Check::fail(
            CHECK,
            format!("cut after {} idle: {why}", short(idle.lasted)),
            format!(
                "something on the path cuts idle links; set --heartbeat-interval of the server below {}",
                short(idle.lasted)
            ),
        ),
    }
}

fn clock(seen: &Observed) -> Check {
    const CHECK: &str = "clock";
    let Some(clocks) = seen.clocks else {
        return Check::skip(CHECK, "no reply contained a time");
    };
    let (way, apart) = match clocks.server.duration_since(clocks.here) {
        Ok(ahead) => ("behind", ahead),
        Err(error) => ("ahead of", error.duration()),
    };
    // It is named to the second, and was in progress.
    let found = match apart < Duration::from_secs(2) {
        true => "this machine and the server agree to the second".to_owned(),
        false => format!("this machine is {} {way} the server", short(apart)),
    };
    match apart < CLOCKS_APART {
        true => Check::pass(CHECK, found),
        false => Check::fail(CHECK, found, "correct the wrong clock (timedatectl, chrony, ntp)"),
    }
}

fn found(seen: &Observed) -> Result<&StateFound, String> {
    match seen.local.as_ref().map(|local| &local.state) {
        None => Err("this machine could not be checked".to_owned()),
        Some(State::NotNamed) => Err("no agent given; use --name or --state-dir".to_owned()),
        Some(State::Missing { path, .. }) => {
            Err(format!("no agent has run with its state in {}", path.display()))
        }
        Some(State::Found(found)) => Ok(found),
    }
}

fn running(seen: &Observed, hello: Option<&Hello>) -> Check {
    const CHECK: &str = "running-agent";
    let found = match found(seen) {
        Ok(found) => found,
        Err(why) => return Check::skip(CHECK, why),
    };
    match &found.agent {
        Running::Not => Check::skip(CHECK, "it does not run"),
        Running::Unreadable(why) => Check::fail(CHECK, why.clone(), "restart the agent"),
        Running::Yes { status, process } => {
            let timing = hello.map_or(HeartbeatTiming::DEFAULT, |hello| hello.timing);
            beats(CHECK, status, *process, timing, seen.now)
        }
    }
}

/// Whether a running agent beats. Two intervals are allowed for, as a beat may just be in progress, and the status is
/// written once a second.
fn beats(
    check: &'static str,
    status: &AgentStatusFile,
    process: Process,
    timing: HeartbeatTiming,
    now: WallTime,
) -> Check {
    let pid = status.pid;
    if matches!(process.state, Some('T' | 't')) {
        let action = format!("resume it (kill -CONT {pid})");
        return Check::fail(check, format!("process {pid} is stopped (state T)"), action);
    }
    let age = |time: &Option<String>| time.as_deref().and_then(|time| since(time, now));
    let most = timing.interval() * 2 + Duration::from_secs(3);
    // It is written at each heartbeat: what it says of heartbeats is as old as itself.
    if let Some(old) =
        since(&status.updated_at, now).filter(|old| *old > most && status.state == "connected")
    {
        let found = format!(
            "process {pid} holds the state directory and has not written its status for {}: it hangs, or cannot write there (a full disk?); its last status is out of date",
            short(old)
        );
        let action = "see the checks of state directory and disk, and whether the server receives heartbeats (`onsembl why`): if so, free disk space; if not, restart the agent";
        return Check::fail(check, found, action);
    }
    let in_state = since(&status.since, now).unwrap_or_default();
    if status.state != "connected" {
        let found = format!(
            "process {pid} is {} for {}: {}",
            status.state,
            short(in_state),
            status.because
        );
        return Check::fail(
            check,
            found,
            "see the checks above; `onsembl-agent status` has the last failure",
        );
    }
    if status.epoch == Some(0) {
        return Check::skip(
            check,
            format!(
                "process {pid} is connected to a legacy server, which has no numbered heartbeats"
            ),
        );
    }
    if let Some(check) = ledger(check, status) {
        return check;
    }
    let restart =
        format!("restart the agent, and report this as a bug, with its log (process {pid})");
    let (sent, answered, recorded) = (
        age(&status.last_heartbeat_sent),
        age(&status.last_heartbeat_answered),
        age(&status.last_heartbeat_recorded),
    );
    // What was sent before this session began says nothing of it.
    let sent_now = sent.filter(|sent| *sent <= in_state + most);
    match (sent_now, answered, recorded) {
        (None, _, _) if in_state > most => Check::fail(
            check,
            format!(
                "process {pid} is connected for {} and has sent no heartbeat: its timer never started",
                short(in_state)
            ),
            restart,
        ),
        (Some(sent), _, _) if sent > most => Check::fail(
            check,
            format!(
                "process {pid} is connected and sent its last heartbeat {} ago, with one due every {}: its timer has stopped, or the process hangs",
                short(sent),
                short(timing.interval())
            ),
            restart,
        ),
        (Some(sent), answered, _)
            if in_state > most && answered.is_none_or(|answered| answered > sent + most) =>
        {
            Check::fail(
                check,
                format!(
                    "process {pid} sent a heartbeat {} ago, and the server answered none for {}",
                    short(sent),
                    answered.map_or_else(|| short(in_state), short)
                ),
                "the server does not handle incoming messages, or something drops one direction: see `onsembl agents` and its log",
            )
        }
        (Some(_), Some(answered), recorded)
            if in_state > most && recorded.is_none_or(|recorded| recorded > answered + most) =>
        {
            Check::fail(
                check,
                format!(
                    "process {pid}: heartbeats are answered ({} ago), and the server records none ({})",
                    short(answered),
                    recorded.map_or_else(
                        || "none in this session".to_owned(),
                        |age| format!("the last {} ago", short(age))
                    )
                ),
                "the database of the server is not writable: see its log and /readyz",
            )
        }
        (sent, answered, recorded) => {
            let told = |age: Option<Duration>| {
                age.map_or_else(|| "not yet".to_owned(), |age| format!("{} ago", short(age)))
            };
            Check::pass(
                check,
                format!(
                    "process {pid} is connected for {}; heartbeat sent {}, answered {}, recorded {}",
                    short(in_state),
                    told(sent),
                    told(answered),
                    told(recorded)
                ),
            )
        }
    }
}

fn since(time: &str, now: WallTime) -> Option<Duration> {
    let at = WallTime::parse_rfc3339(time)?;
    let ms = now.unix_millis().saturating_sub(at.unix_millis());
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

fn system_time(at: WallTime) -> SystemTime {
    let ms = u64::try_from(at.unix_millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

fn date(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn short(time: Duration) -> String {
    let whole = match time.as_secs() {
        0..10 => Duration::from_millis(time.as_millis() as u64 / 100 * 100),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(whole).to_string()
}

mod machine;
#[cfg(test)]
mod tests;
