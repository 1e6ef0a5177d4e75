//! Every limit of a server that a peer can reach, with whom it is for and what happens at it, and the most memory
//! that follows from them. The numbers are the constants themselves; nothing here decides anything.

use crate::auth::USES;
use crate::{dashboard, http, hub, screens, store};
use onsembl_protocol::fleet::{DashboardLink, FleetLimits, LONGEST_FINDINGS, RECOVERED_COMMANDS};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::wire::payload::LongText;
use onsembl_transport::server::{LANE_BACKLOG, LANE_FRAMES};
use serde::Serialize;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The program, its code and threads, and four connections of the database with 2 MiB each: measured are 14 MiB, and
/// an allocator keeps some of what was given back.
const PROGRAM: usize = 64 * MIB;
/// A connection whose token is unknown: a request head and its answer, TLS, and the task.
const WAITING_CONNECTION: usize = 48 * KIB;
/// A connection of an agent or a dashboard: 8 KiB when it is idle, 16 KiB of buffers while it reads and writes, and the
/// beginning of a message that needs no slot yet. What waits to be written to it is counted per user.
const KNOWN_CONNECTION: usize = 24 * KIB + http::SMALL;
/// A large message: the buffer that it is put together in, and its text.
const LARGE_MESSAGE: usize = 2 * Limits::DEFAULT.message_bytes;
/// A write that waits besides output: what it says is shortened to 4 KiB.
const WRITE: usize = 6 * KIB;

/// For whom a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Per {
    Server,
    Address,
    User,
    Agent,
    Connection,
    Dashboard,
    Request,
}

impl Per {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Address => "address",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Connection => "connection",
            Self::Dashboard => "dashboard",
            Self::Request => "request",
        }
    }
}

/// One limit.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) value: usize,
    pub(crate) unit: Unit,
    pub(crate) per: Per,
    /// What happens at it.
    pub(crate) then: &'static str,
    /// What changes it.
    pub(crate) set_by: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Count,
    Bytes,
}

impl Limit {
    /// The value as people write it, and as it stands in DEFAULTS.
    pub(crate) fn shown(&self) -> String {
        match self.unit {
            Unit::Count => grouped(self.value),
            Unit::Bytes => bytes(self.value),
        }
    }
}

/// What an operator sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    pub(crate) connections: usize,
    pub(crate) recording: usize,
    pub(crate) user_bytes: u64,
    pub(crate) keep_bytes: u64,
}

/// All limits.
pub(crate) fn all(set: &Set) -> Vec<Limit> {
    use Per::{Address, Agent, Connection, Dashboard, Request, Server, User};
    let fleet = FleetLimits::DEFAULT;
    let wire = Limits::DEFAULT;
    let room = http::RoomLimits::DEFAULT;
    let fixed =
        |name, value, unit, per, then| Limit { name, value, unit, per, then, set_by: "–" };
    let count = |name, value, per, then| fixed(name, value, Unit::Count, per, then);
    let size = |name, value, per, then| fixed(name, value, Unit::Bytes, per, then);
    let full = "refused with QUEUE_FULL";
    let unread = "its links are not read";
    let next = "it is the next user's turn";
    let oldest = "the oldest are removed";
    let mut limits = vec![
        size("message", wire.message_bytes, Connection, "the link is closed with 1009"),
        size("command text", wire.command_bytes, Request, "ERROR"),
        size("text in pieces", LongText::MOST, Request, "ERROR"),
        count("list entries", wire.list_entries, Request, "ERROR"),
        count("waiting connections", room.all, Server, "a newcomer takes the slot of another"),
        count(
            "waiting connections of an address",
            room.of_address,
            Address,
            "a newcomer takes the slot of another of its own",
        ),
        count(
            "requests at work before a token",
            http::AT_WORK_WAITING,
            Address,
            "the others wait in line",
        ),
        count("requests at work", http::AT_WORK_KNOWN, User, "the others wait in line"),
        count(
            "large messages",
            http::LARGE_MESSAGES,
            Server,
            "one more is read when one is done; a user has at most as many as are free",
        ),
        size(
            "small message",
            http::SMALL,
            Connection,
            "a larger one needs a slot of the large ones",
        ),
        count("requests in the hub's inbox", hub::INBOX, Server, "the others wait"),
        count(
            "requests in the hub's inbox of a user",
            hub::INBOX_OF_USER,
            User,
            "the others wait in line",
        ),
        count("frames in the shard's inbox", LANE_FRAMES, User, unread),
        size(
            "backlog to agents",
            LANE_BACKLOG,
            User,
            "the link that does not read is closed with 4104",
        ),
        count(
            "slots of dashboards",
            dashboard::SLOTS,
            Server,
            "closed, to come back later; a user has at most three times what is free",
        ),
        size("slot of a dashboard", dashboard::SLOT, Dashboard, "it takes one more"),
        count("dashboards at work", dashboard::AT_WORK, User, "the others wait in line"),
        count(
            "requests of a dashboard in progress",
            DashboardLink::MOST_UNDER_WAY,
            Dashboard,
            full,
        ),
        count(
            "readers of output",
            http::READERS,
            Server,
            "503; a user has at most as many as are free",
        ),
        size(
            "watched screens",
            screens::BYTES,
            Server,
            "429; a user has at most half of what is free, and loses the oldest of its own first",
        ),
        count("screens drawn at a time", screens::DRAWING, Server, "the others wait in line"),
        count(
            "keyframes that wait",
            screens::FRAMES,
            Server,
            "not kept; a user has at most as many as are free",
        ),
        size(
            "output drawn behind a keyframe",
            screens::FURTHEST as usize,
            Request,
            "only the end is drawn, and the answer says so",
        ),
        size("answer with a screen", http::SCREEN_ANSWER, Request, "422"),
        size("page of a reader", http::PAGE, Request, "the rest comes in further pages"),
        count(
            "recordings exported",
            http::EXPORTS,
            Server,
            "503; a user has at most as many as are free",
        ),
        count("questions to the store", hub::ASKED_OF_USER, User, "the others wait in line"),
        count(
            "presence events that wait besides",
            hub::PRESENCE_OF_AGENT,
            Agent,
            "dropped, counted and logged",
        ),
        count(
            "writes that wait",
            hub::WRITES,
            Server,
            "dropped, counted and logged; a user has at most as many as are free",
        ),
        size(
            "queue of the store",
            STORE_QUEUE,
            Server,
            "the others wait; a user has at most as much as is free",
        ),
        count("requests in one turn of the writer", store::TURN_REQUESTS, User, next),
        size("output in one turn of the writer", store::TURN_OUTPUT, User, next),
        count("requests that wait for the store", store::WAITING_FOR_ROOM, User, full),
        size("bytes of requests that wait for the store", store::WAITING_BYTES, User, full),
        count(
            "reads of the store",
            store::READERS,
            Server,
            "the others wait; a user has at most twice what is free",
        ),
        count("reads that wait", store::READS_WAITING, User, full),
        size("bytes of reads that wait", store::READS_WAITING_BYTES, User, full),
        count(
            "lists on their way",
            http::PAGES,
            Server,
            "429; a user has at most as many as are free",
        ),
        size("page of a list", http::PAGE_BYTES, Request, "the rest comes in further pages"),
        count("agents", fleet.agents, User, "a new one is refused"),
        size("texts of agents", fleet.agent_bytes, User, "a hello that needs more is refused"),
        size("hellos", fleet.hello_bytes, User, "refused, and it comes back"),
        count("parked links", fleet.parked_links, Agent, "the newest is refused"),
        count("open commands", fleet.open_commands, User, full),
        size("requests of open commands", fleet.open_command_bytes, User, full),
        count("repetitions", fleet.repetitions, Request, full),
        count("terminals of an agent", fleet.terminals_of_agent, Agent, "the oldest is lost"),
        count("terminals", fleet.terminals, User, "not taken"),
        count("ended commands", fleet.ended_commands, User, "the oldest is dropped"),
        count("output without a command", fleet.loose_outputs, User, "the oldest is dropped"),
        size("unstored output of an agent", fleet.unstored_output, Agent, "its link is not read"),
        size("unstored output", fleet.unstored_output_of_user, User, unread),
        size(
            "output kept in memory",
            fleet.tail_bytes,
            User,
            "the quietest command's is left to the store",
        ),
        size("unknown commands reported", fleet.told_bytes, User, "an agent may be notified twice"),
        count("pages of an agent", fleet.pages_of_agent, Agent, "dropped; it is reported again"),
        count("pages", fleet.pages, User, "dropped; it is reported again"),
        size("bytes of pages", fleet.page_bytes, User, "dropped; it is reported again"),
        count("audits", fleet.audits, User, full),
        size("bytes of audits", fleet.audit_bytes, User, full),
        count(
            "waiting stops",
            fleet.waiting_stops,
            User,
            "carried out, and reported as not known to be durable",
        ),
        count("deletions", fleet.deletions, User, full),
        count(
            "ends reported after a restart",
            RECOVERED_COMMANDS,
            User,
            "older ones are not reported",
        ),
        count(
            "addresses of agents",
            room.remembered,
            Server,
            "the oldest of the user with the most is forgotten",
        ),
        count(
            "uses of tokens that are not written",
            USES,
            Server,
            "not noted, and counted; a user has at most as many as are free",
        ),
    ];
    limits.push(Limit {
        set_by: "serve --connections",
        ..count(
            "connections",
            set.connections,
            Server,
            "429; a user has at most four times what is free",
        )
    });
    limits.push(Limit {
        set_by: "serve --recording",
        ..size("recording", set.recording, Server, "the oldest inputs go")
    });
    limits.push(Limit {
        set_by: "serve --user-bytes",
        ..size(
            "bytes on the disk",
            on_disk(set.user_bytes),
            User,
            "the oldest of that user is cut; without any, refused with QUEUE_FULL",
        )
    });
    limits.push(Limit {
        set_by: "serve --keep-bytes",
        ..size(
            "output on the disk",
            on_disk(set.keep_bytes),
            Server,
            "the oldest of the user who has the most is cut",
        )
    });
    limits.extend([
        size(
            "reserve on the disk",
            on_disk(store::RESERVE),
            Server,
            "out of it what stops, ends or reports is written; what is new is refused",
        ),
        count("sessions on the disk", store::SESSIONS_KEPT, Agent, oldest),
        count("presence events on the disk", store::PRESENCE_KEPT, Agent, oldest),
        size(
            "findings of absences on the disk",
            store::FINDINGS_KEPT_BYTES + LONGEST_FINDINGS,
            Agent,
            oldest,
        ),
        count("released stops on the disk", store::STOPS_KEPT, User, oldest),
        count(
            "tokens",
            store::TOKENS_OF_USER,
            User,
            "revoked ones make room, without any one more is refused; of signed ones the oldest leaves the list",
        ),
        count("deleted agents on the disk", store::DELETED_KEPT, User, "the oldest are forgotten"),
        size(
            "agents and their history on the disk",
            on_disk(store::of_agents(set.user_bytes)),
            User,
            "the oldest events and sessions of each go; no new agent is taken",
        ),
    ]);
    #[cfg(feature = "otel")]
    limits.extend([
        count(
            "commands traced",
            crate::traces::TRACED,
            Server,
            "the others run without; a user has at most as many as are free",
        ),
        count("spans that wait", onsembl_transport::traces::QUEUE, Server, "dropped and counted"),
    ]);
    limits
}

/// What waits of a user for each of the three lanes of the store, and for its readers.
const WAITING_FOR_STORE: usize = 3 * store::WAITING_BYTES + store::READS_WAITING_BYTES;
const STORE_QUEUE: usize =
    (store::ORDER_UNITS + store::CONTROL_UNITS + store::DATA_UNITS) * store::UNIT;

/// The most memory of a part of the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) of: &'static str,
    pub(crate) count: usize,
    pub(crate) each_bytes: usize,
}

impl Part {
    pub(crate) const fn bytes(&self) -> usize {
        self.count.saturating_mul(self.each_bytes)
    }
}

/// The most memory, part by part, while this many users use all that they may at a time.
pub(crate) fn memory(set: &Set, users: usize) -> Vec<Part> {
    let part = |of, count, each_bytes| Part { of, count, each_bytes };
    #[allow(unused_mut, reason = "without traces nothing is added")]
    let mut parts = vec![
        part("the program and its database", 1, PROGRAM),
        part("the queue of the store", 1, STORE_QUEUE),
        part("writes that wait", hub::WRITES, WRITE),
        part(
            "users: presence events that wait",
            users.saturating_mul(FleetLimits::DEFAULT.agents * hub::PRESENCE_OF_AGENT),
            KIB,
        ),
        part("the recording", 1, set.recording),
        part("recordings exported", http::EXPORTS, set.recording + 128 * KIB),
        part("readers of output", http::READERS, http::READER),
        part("watched screens", 1, screens::BYTES),
        part("screens being shown", screens::DRAWING, screens::SHOWING),
        part("keyframes that wait", screens::FRAMES, store::KEYFRAME_BYTES),
        // The entries, and their text; or a screen.
        part("lists on their way", http::PAGES, 2 * http::PAGE_BYTES),
        part("waiting connections", http::RoomLimits::DEFAULT.all, WAITING_CONNECTION),
        part("connections", set.connections, KNOWN_CONNECTION),
        part("large messages", http::LARGE_MESSAGES, LARGE_MESSAGE),
        part("dashboards", dashboard::SLOTS, dashboard::SLOT),
        part("users: agents, commands and output", users, FleetLimits::DEFAULT.held_bytes()),
        part("users: what waits for the store", users, WAITING_FOR_STORE),
        part(
            "users: what comes from and goes to agents",
            users,
            LANE_BACKLOG + LANE_FRAMES * http::SMALL,
        ),
    ];
    #[cfg(feature = "otel")]
    parts.extend([
        part("traces of commands", crate::traces::TRACED, crate::traces::TRACE_BYTES),
        part("spans", onsembl_transport::traces::QUEUE, crate::traces::TRACE_BYTES),
    ]);
    parts
}

fn on_disk(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A count with commas.
pub(crate) fn grouped(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in the largest unit that it is a whole number of.
pub(crate) fn bytes(value: usize) -> String {
    match value {
        0 => "0".to_owned(),
        value if value.is_multiple_of(MIB) => format!("{} MiB", grouped(value / MIB)),
        value if value.is_multiple_of(KIB) => format!("{} KiB", grouped(value / KIB)),
        value => format!("{} B", grouped(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::Retention;
    use crate::server::CONNECTIONS;
    use crate::store::StoreLimits;
    use onsembl_transport::server::RECORDING;
    use std::path::Path;

    const DEFAULT: Set = Set {
        connections: CONNECTIONS,
        recording: RECORDING,
        user_bytes: StoreLimits::DEFAULT.user_bytes,
        keep_bytes: Retention::DEFAULT.keep_bytes,
    };

    /// One source: the table of DEFAULTS repeats what is printed, word for word.
    #[test]
    fn defaults_has_each_limit_with_its_value() {
        // As it is published the crate has no documents beside it.
        if Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml.orig")).exists() {
            return;
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/DEFAULTS.md");
        let defaults = std::fs::read_to_string(path).unwrap();
        let missing: Vec<String> = all(&DEFAULT)
            .iter()
            .map(|limit| format!("| {} | {} | {} |", limit.name, limit.shown(), limit.per.as_str()))
            .filter(|row| !defaults.contains(row.as_str()))
            .collect();
        assert!(missing.is_empty(), "not in DEFAULTS.md:\n{}", missing.join("\n"));
        for part in memory(&DEFAULT, 1) {
            let row =
                format!("| {} | {} | {} |", part.of, grouped(part.count), bytes(part.each_bytes));
            assert!(defaults.contains(&row), "not in DEFAULTS.md:\n{row}");
        }
    }

    #[test]
    fn names_are_told_apart_and_values_are_read_by_people() {
        let names: std::collections::BTreeSet<_> =
            all(&DEFAULT).iter().map(|limit| limit.name).collect();
        assert_eq!(names.len(), all(&DEFAULT).len());
        assert_eq!((grouped(65_536), grouped(999)), ("65,536".to_owned(), "999".to_owned()));
        assert_eq!((bytes(16 * MIB), bytes(48 * KIB)), ("16 MiB".to_owned(), "48 KiB".to_owned()));
    }
}
