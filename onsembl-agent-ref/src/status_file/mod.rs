//! `status.json`: what a running agent reports of itself to other processes on the same machine.
//!
//! Holds no token. Whether it is current, [`is_live`] tells: a file outlives its writer. `writer` keeps it up to date.

mod observer;
mod writer;

use crate::state_dir::{Durability, STATUS_FILE, StateDir, StateDirError, io_error, replace_file};
use onsembl_protocol::diagnosis::BeatReport;
use onsembl_protocol::model::Activity;
use onsembl_protocol::session;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use crate::state_dir::is_live;
pub(crate) use writer::{Haste, StatusWriter};

/// The most that is read of a status file, which has about 1,500 bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The content of the status file. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatusFile {
    /// The process that wrote it.
    pub pid: u32,
    /// The agent's name.
    pub name: String,
    /// The server's address as [`public_server`] gives it.
    pub server: String,
    /// The state of the connection.
    pub state: String,
    /// Since when it is in this state.
    pub since: String,
    /// Why it is.
    pub because: String,
    /// What went wrong last with its connection, also when that is over.
    #[serde(default)]
    pub last_failure: Option<LastFailure>,
    /// The id that the server gave it, once it did.
    pub agent_id: Option<String>,
    /// The epoch of the session, while there is one.
    pub epoch: Option<u64>,
    /// When the last heartbeat was sent.
    pub last_heartbeat_sent: Option<String>,
    /// When the server last answered one.
    pub last_heartbeat_answered: Option<String>,
    /// When the server last said that it has recorded a further one.
    #[serde(default)]
    pub last_heartbeat_recorded: Option<String>,
    /// What the hop tracker says of the session; none without one, and with a legacy server.
    #[serde(default, deserialize_with = "read_beats")]
    pub beats: Option<BeatReport>,
    /// Commands whose processes run.
    pub running_commands: u32,
    /// Commands that have ended and left something running in the background.
    #[serde(default)]
    pub background_commands: u32,
    /// The first of them.
    #[serde(default)]
    pub background: Vec<String>,
    /// Whether the disk takes no output, so that it is kept in memory only.
    #[serde(default)]
    pub spool_failed: bool,
    /// Whether the journal took nothing when something was last to be written; no command is started
    /// then.
    #[serde(default)]
    pub journal_failed: bool,
    /// The emergency stop that is in force: nothing starts.
    #[serde(default)]
    pub stopped: Option<String>,
    /// Nothing starts, by order of the server, until an order to resume.
    #[serde(default)]
    pub paused: bool,
    /// What its program does, if that is watched.
    #[serde(default)]
    pub activity: Option<ProgramActivity>,
    /// When this was written.
    pub updated_at: String,
}

/// What another version writes there may not be read, and the rest of the file is anyway.
fn read_beats<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BeatReport>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(d)?).unwrap_or_default())
}

/// What the program of an agent does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProgramActivity {
    /// `working`, `waiting`, `asking`, `writing` or `quiet`.
    pub state: String,
    /// Since when.
    pub since: String,
    /// The fact that shows it.
    pub fact: Option<String>,
    /// While it asks.
    pub question: Option<String>,
}

impl ProgramActivity {
    /// As the file has it.
    pub(crate) fn of(activity: &Activity) -> Self {
        Self {
            state: activity.state.as_str().to_owned(),
            since: activity.since.to_string(),
            fact: activity.basis.as_ref().map(|basis| basis.fact.as_str().to_owned()),
            question: activity.question.as_ref().map(ToString::to_string),
        }
    }
}

/// What went wrong with a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LastFailure {
    /// Its id: one of [`DialFault`](onsembl_protocol::session::DialFault), `link-ended`, `hello-refused`,
    /// `hello-unanswered` or `silence`.
    pub cause: String,
    /// In words: what, on what, why, and what to do.
    pub text: String,
    /// The address that was dialled, if it was about a dial and there was one.
    pub address: Option<String>,
    /// The error number of the operating system, if it gave one.
    pub os_error: Option<i32>,
    /// When it last happened.
    pub at: String,
    /// How often it happened without anything else between.
    pub times: u64,
}

impl LastFailure {
    /// As the file has it.
    pub(crate) fn of(last: &session::LastFailure) -> Self {
        let session::LastFailure { failure, at, times } = last;
        Self {
            cause: failure.id.to_owned(),
            text: failure.text.clone(),
            address: failure.address.clone(),
            os_error: failure.os_error,
            at: at.to_string(),
            times: *times,
        }
    }
}

impl AgentStatusFile {
    /// Writes it into `dir`; readers see the old or the new content, never a part. Short, but
    /// blocks.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn write(&self, dir: &StateDir) -> Result<(), StateDirError> {
        let path = dir.path().join(STATUS_FILE);
        let failed = io_error("write the status file", &path);
        let mut json = match serde_json::to_vec_pretty(self) {
            Ok(json) => json,
            Err(error) => return Err(failed(error.into())),
        };
        json.push(b'\n');
        replace_file(&path, &json, Durability::SurvivesExit).map_err(failed)
    }

    /// Reads what is in the directory `dir`; `None` if no agent ever wrote there.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not a status file.
    pub fn read(dir: &Path) -> Result<Option<Self>, StateDirError> {
        let path = dir.join(STATUS_FILE);
        let mut json = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut json)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("read the status file", &path)(source)),
        }
        match serde_json::from_slice(&json) {
            Ok(status) => Ok(Some(status)),
            Err(why) => Err(StateDirError::StatusCorrupt { path, why }),
        }
    }
}

/// `url` without what may hold a secret: user and password, query and fragment.
pub fn public_server(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = url.get(..end).unwrap_or_default();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match scheme {
        Some(scheme) => format!("{scheme}://{host}{path}"),
        None => format!("{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_server_address_holds_no_secret() {
        for (url, public) in [
            ("wss://host.example:8443/ws/agent", "wss://host.example:8443/ws/agent"),
            ("ws://host/ws?token=secret", "ws://host/ws"),
            ("ws://host?token=a/b", "ws://host"),
            ("ws://host/#secret", "ws://host/"),
            ("https://user:secret@host/p@th", "https://host/p@th"),
            ("https://user:se@cret@host", "https://host"),
            ("user:secret@host:80", "host:80"),
            ("ws://[::1]:8080/", "ws://[::1]:8080/"),
            ("", ""),
        ] {
            assert_eq!(public_server(url), public);
        }
    }
}
