//! How a step is written into a table: times relative to now, causes in the words people see.

use onsembl_protocol::session::{
    AgentAction, AgentReport, AgentStatus, BeatOut, Presence, ServerAction,
};
use onsembl_protocol::time::{Deadline, Timestamp};
use std::time::Duration;

/// `+1.250s`, `now` for anything that has passed.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let ahead = at.saturating_since(now);
    if ahead <= Duration::from_nanos(1) {
        "now".into()
    } else {
        format!("+{}.{:03}s", ahead.as_secs(), ahead.subsec_millis())
    }
}

pub(super) fn deadline(deadline: Deadline, now: Timestamp) -> String {
    match deadline {
        Deadline::Never => "never".into(),
        Deadline::At(at) => relative(at, now),
    }
}

pub(super) fn agent_status(status: AgentStatus, now: Timestamp) -> String {
    match status {
        AgentStatus::Idle | AgentStatus::Joining | AgentStatus::Closed => status.as_str().into(),
        AgentStatus::Connecting { attempt } => format!("connecting({attempt})"),
        AgentStatus::Connected { epoch } | AgentStatus::Stale { epoch } => {
            format!("{}({epoch})", status.as_str())
        }
        AgentStatus::TimedOut { retry_at } | AgentStatus::Reconnecting { retry_at } => {
            format!("{}({})", status.as_str(), relative(retry_at, now))
        }
    }
}

pub(super) fn agent_action(action: AgentAction, _: Timestamp) -> String {
    match action {
        AgentAction::Dial(link) => format!("dial {link}"),
        AgentAction::SendHello(link) => format!("hello over {link}"),
        AgentAction::SendBeat { link, sequence, seen } => match seen {
            Some(s) => format!("beat {sequence} over {link}, seen {}", s.sequence),
            None => format!("beat {sequence} over {link}"),
        },
        AgentAction::Probe(link) => format!("ping over {link}"),
        AgentAction::SendPong { link, echo } => {
            format!("pong {:?} over {link}", echo.map(f64::from))
        }
        AgentAction::Close(link, cause) => format!("close {link} {}", cause.code()),
        AgentAction::Report(AgentReport { status, cause }) => {
            format!("report {} ({cause})", status.as_str())
        }
        AgentAction::Impaired(fault) => match fault {
            Some(fault) => format!("impaired ({fault})"),
            None => "impaired no more".into(),
        },
        AgentAction::Overslept(late) => format!("overslept {late:?}"),
    }
}

pub(super) fn presence(presence: Presence) -> String {
    presence.status.as_str().into()
}

pub(super) fn server_action(action: ServerAction, _: Timestamp) -> String {
    match action {
        ServerAction::Admit(link) => format!("admit {link}"),
        ServerAction::Welcome { link, epoch } => format!("welcome {link} epoch {epoch}"),
        ServerAction::Record { epoch, sequence } => format!("record {epoch}/{sequence}"),
        ServerAction::SendBeat { link, beat } => format!("beat over {link}{}", beat_out(beat)),
        ServerAction::SendPing(link) => format!("ping over {link}"),
        ServerAction::Close(link, cause) => format!("close {link} {}", cause.code()),
        ServerAction::Report(p) => {
            let (epoch, number) = (p.version.0 >> 20, p.version.0 & 0xf_ffff);
            format!("report {} v{epoch}.{number} ({})", p.status.as_str(), p.because)
        }
        ServerAction::Overslept(late) => format!("overslept {late:?}"),
        ServerAction::Forget => "forget".into(),
    }
}

fn beat_out(beat: BeatOut) -> String {
    let mut text = format!(" {}", beat.sequence);
    if let Some(seen) = beat.seen {
        text += &format!(", seen {}", seen.sequence);
    }
    if let Some((recorded, _)) = beat.recorded {
        text += &format!(", recorded {recorded}");
    }
    if let Some((age, why)) = beat.lag {
        text += &format!(", lag {age:?} {why}");
    }
    text
}

/// One line: state, event, what becomes of it, what is done, when to wake.
pub(super) fn line(
    state: &str,
    event: &str,
    after: &str,
    actions: &[String],
    wake: &str,
) -> String {
    let output = if actions.is_empty() { "-".into() } else { actions.join("; ") };
    format!("{state:<22} | {event:<44} -> {after:<24} | {output} | wake {wake}\n")
}
