//! The facts of a fleet as log lines and counters, as they word and rate themselves.

use onsembl_protocol::fleet::FleetNote;
use onsembl_protocol::id::UserId;
use onsembl_protocol::model::Severity;
use onsembl_transport::counters::Counters;

/// Logs and counts a fact of this user's fleet.
pub(super) fn note(user: &UserId, note: &FleetNote, counters: &Counters) {
    if let Some(counter) = note.counter() {
        counters.count(counter);
    }
    let about = note.fields();
    // Each fact has a fixed sentence, and is limited by itself: see `LineLimit`.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                name: "fact",
                %user,
                link = about.link.map(display),
                agent = about.agent.map(display),
                command = about.command.map(display),
                name = about.name,
                peer = about.peer.map(display),
                host = about.host,
                contest = about.contest.map(display),
                status = about.status.as_deref(),
                because = about.because.as_ref().map(display),
                epoch = about.epoch.map(display),
                version = about.version.map(display),
                paused = about.paused,
                parked = about.parked,
                kind = about.kind,
                recoverable = about.recoverable,
                text = about.text,
                stream = about.stream.map(display),
                offset = about.offset.map(display),
                length = about.length,
                action = about.action.map(display),
                stop = about.stop.map(display),
                stage = about.stage.map(display),
                agents = about.agents,
                commands = about.commands,
                reason = about.reason,
                why = about.why.map(display),
                "{note}"
            )
        };
    }
    match note.severity() {
        Severity::Debug => line!(debug),
        Severity::Info => line!(info),
        Severity::Warn => line!(warn),
        Severity::Error => line!(error),
    }
}
