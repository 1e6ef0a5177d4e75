//! `onsembl-agent status`: reads status files, tells the live from the stale, and shows them.

use super::print;
use super::view::View;
use super::{NOT_RUNNING, OK, StatusArgs};
use crate::state_dir::{StateDirError, default_base, locate};
use crate::status_file::{AgentStatusFile, is_live};
use anyhow::{Context, Result};
use onsembl_protocol::diagnosis::BeatReport;
use onsembl_protocol::model::HeartbeatTiming;
use onsembl_protocol::shown::Shown;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One agent as its directory shows it.
#[derive(Debug, Serialize)]
struct Found {
    live: bool,
    state_dir: PathBuf,
    #[serde(flatten)]
    file: AgentStatusFile,
}

pub(super) fn status(args: &StatusArgs, view: View) -> Result<u8> {
    let is_json = view.or_json(args.json).is_json();
    let named = match (&args.state_dir, &args.name) {
        (Some(dir), _) => Some(dir.clone()),
        (None, Some(name)) => Some(locate(None, name)?),
        (None, None) => None,
    };
    let (found, folder) = match named {
        Some(dir) => (look(&dir)?.into_iter().collect(), dir),
        None => {
            let base = default_base()?;
            (look_under(&base)?, base)
        }
    };
    let now = SystemClock::new().now().wall;
    let written = match found.as_slice() {
        [] => {
            print::note(format_args!("no agent has run with its state in {}", folder.display()));
            return Ok(NOT_RUNNING);
        }
        [one] if is_json => print::json(&json(one)?),
        [one] => print::lines(table(one, now)),
        several if is_json => print::json(&json(&several)?),
        several => print::lines(list(several, now)),
    };
    written.context("cannot write to stdout")?;
    Ok(if found.iter().any(|agent| agent.live) { OK } else { NOT_RUNNING })
}

/// The file is read first: if the agent ends in between, what it says is called stale, not live.
fn look(dir: &Path) -> Result<Option<Found>, StateDirError> {
    let Some(file) = AgentStatusFile::read(dir)? else { return Ok(None) };
    Ok(Some(Found { live: is_live(dir)?, state_dir: dir.to_owned(), file }))
}

fn look_under(base: &Path) -> Result<Vec<Found>> {
    let entries = match std::fs::read_dir(base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", base.display()));
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", base.display()))?.path();
        if !path.is_dir() {
            continue;
        }
        match look(&path) {
            Ok(agent) => found.extend(agent),
            // One damaged file must not hide the others.
            Err(error) => {
                print::note(format_args!("onsembl-agent: {error}"));
            }
        }
    }
    found.sort_by(|a, b| a.state_dir.cmp(&b.state_dir));
    Ok(found)
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).context("cannot write the status as JSON")
}

/// A status file is written at each heartbeat: one that is older than two of them says what was.
const OLD: Duration = HeartbeatTiming::DEFAULT.interval().saturating_mul(2);

fn state(agent: &Found, now: WallTime) -> String {
    let file = &agent.file;
    if !agent.live {
        return format!("not running (last known: {})", file.state);
    }
    let written = WallTime::parse_rfc3339(&file.updated_at);
    let age = written.map(|at| now.unix_millis().saturating_sub(at.unix_millis()));
    let age = age.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    match age.filter(|age| *age > OLD && file.state == "connected") {
        None => file.state.clone(),
        Some(age) => format!(
            "{} when it last wrote this, {} ago: since then it hangs, is stopped, or cannot write here (a full disk?)",
            file.state,
            humantime::format_duration(Duration::from_secs(age.as_secs()))
        ),
    }
}

fn table(agent: &Found, now: WallTime) -> Vec<String> {
    let file = &agent.file;
    let since = |time: &Option<String>| match time {
        Some(time) => with_age(time, now),
        None => "-".to_owned(),
    };
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![
        ("agent", file.name.clone()),
        ("state", state(agent, now)),
        ("since", with_age(&file.since, now)),
        ("because", file.because.clone()),
        ("last failure", last_failure(file, now)),
        ("server", file.server.clone()),
        ("agent id", or_none(file.agent_id.clone())),
        ("epoch", or_none(file.epoch.map(|epoch| epoch.to_string()))),
        ("heartbeat sent", since(&file.last_heartbeat_sent)),
        ("heartbeat answered", since(&file.last_heartbeat_answered)),
        ("heartbeat recorded", since(&file.last_heartbeat_recorded)),
        ("heartbeats", or_none(file.beats.as_ref().map(BeatReport::hops_of_agent))),
        ("running commands", file.running_commands.to_string()),
        ("process", file.pid.to_string()),
    ];
    if let Some(activity) = &file.activity {
        let question = activity.question.as_ref().map_or_else(String::new, |q| format!(": {q}"));
        let since = with_age(&activity.since, now);
        rows.push(("activity", format!("{}{question}, since {since}", activity.state)));
    }
    if let Some(beats) = &file.beats {
        rows.push(("i hear you", with_age(&beats.i_hear_you, now)));
        rows.push(("you hear me", since(&beats.you_hear_me)));
        if let Some(trouble) = &beats.trouble {
            let since = with_age(&trouble.since, now);
            rows.push(("trouble", format!("{}: {}, since {since}", trouble.cause, trouble.text)));
        }
        if beats.ways != "both" {
            rows.push(("directions", beats.ways.clone()));
        }
    }
    if file.background_commands > 0 {
        let more = match file.background_commands as usize > file.background.len() {
            true => ", …",
            false => "",
        };
        let text =
            format!("left by {}: {}{more}", file.background_commands, file.background.join(", "));
        rows.push(("background", text));
    }
    if file.spool_failed {
        let text = "its disk is not writable; output is kept in memory only, up to its bound";
        rows.push(("spool", text.to_owned()));
    }
    if file.journal_failed {
        let text = "its disk is not writable; commands are refused, since none starts unrecorded";
        rows.push(("journal", text.to_owned()));
    }
    if let Some(stop) = &file.stopped {
        rows.push((
            "stopped",
            format!("emergency stop {stop}; nothing starts until it is released"),
        ));
    }
    if file.paused {
        let text = format!("starts nothing until `onsembl control {} resume`", file.name);
        rows.push(("paused", text));
    }
    let rows: Vec<_> = rows.into_iter().map(|(label, value)| [label.to_owned(), value]).collect();
    aligned(rows)
}

/// When it was and what it is called; the words stand under `because` while it lasts.
fn last_failure(file: &AgentStatusFile, now: WallTime) -> String {
    let Some(failure) = &file.last_failure else { return "-".to_owned() };
    let times = match failure.times {
        1 => String::new(),
        times => format!(", {times} times in a row"),
    };
    let text = match file.because.contains(&failure.text) {
        true => String::new(),
        false => format!(": {}", failure.text),
    };
    format!("{} at {}{times}{text}", failure.cause, with_age(&failure.at, now))
}

fn list(agents: &[Found], now: WallTime) -> Vec<String> {
    let heads = ["AGENT", "STATE", "SERVER", "STATE DIRECTORY"].map(str::to_owned);
    let rows = agents.iter().map(|agent| {
        let dir = agent.state_dir.display().to_string();
        [agent.file.name.clone(), state(agent, now), agent.file.server.clone(), dir]
    });
    aligned(std::iter::once(heads).chain(rows))
}

/// A line for each row of texts, with each column as wide as its widest text but the last one. Texts are escaped
/// here, because a column is as wide as what is seen of it.
fn aligned<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> Vec<String> {
    let rows: Vec<[String; N]> =
        rows.into_iter().map(|row| row.map(|text| Shown::new(text).into())).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(text, width)| format!("{text:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn with_age(time: &str, now: WallTime) -> String {
    let age = WallTime::parse_rfc3339(time)
        .and_then(|at| u64::try_from(now.unix_millis().saturating_sub(at.unix_millis())).ok())
        .map(|ms| humantime::format_duration(Duration::from_secs(ms / 1000)));
    match age {
        Some(age) => format!("{time} ({age} ago)"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status_file::LastFailure;

    fn agent(name: &str, live: bool) -> Found {
        let file = AgentStatusFile {
            pid: 7,
            name: name.to_owned(),
            server: "wss://host/ws/agent".to_owned(),
            state: "connected".to_owned(),
            since: "2026-01-02T03:04:05.000Z".to_owned(),
            because: "the server accepted the hello".to_owned(),
            last_failure: Some(LastFailure {
                cause: "connect-refused".to_owned(),
                text: "the connection was refused".to_owned(),
                address: None,
                os_error: Some(111),
                at: "2026-01-02T03:04:00.000Z".to_owned(),
                times: 2,
            }),
            agent_id: Some("id-1".to_owned()),
            epoch: Some(3),
            last_heartbeat_sent: Some("2026-01-02T03:05:05.000Z".to_owned()),
            last_heartbeat_answered: None,
            last_heartbeat_recorded: None,
            beats: None,
            running_commands: 2,
            background_commands: 0,
            background: Vec::new(),
            spool_failed: false,
            journal_failed: false,
            stopped: None,
            paused: false,
            activity: None,
            updated_at: "2026-01-02T03:05:05.000Z".to_owned(),
        };
        Found { live, state_dir: PathBuf::from("/state").join(name), file }
    }

    fn now() -> WallTime {
        WallTime::parse_rfc3339("2026-01-02T03:05:10Z").unwrap()
    }

    #[test]
    fn what_was_written_long_ago_is_not_what_is_now() {
        let later = |by: i64| WallTime::from_unix_millis(now().unix_millis() + by * 1000);
        let mut found = agent("builder", true);
        assert_eq!(state(&found, later(30)), "connected");
        let old = state(&found, later(300));
        assert!(old.starts_with("connected when it last wrote this, 5m 5s ago: "), "{old}");
        assert!(old.contains("a full disk?"), "{old}");
        // Away it writes when something happens.
        found.file.state = "reconnecting".to_owned();
        assert_eq!(state(&found, later(300)), "reconnecting");
    }

    #[test]
    fn one_agent_is_a_table() {
        let now = WallTime::parse_rfc3339("2026-01-02T03:05:10Z").unwrap();
        let text = "\
agent               builder
state               connected
since               2026-01-02T03:04:05.000Z (1m 5s ago)
because             the server accepted the hello
last failure        connect-refused at 2026-01-02T03:04:00.000Z (1m 10s ago), 2 times in a row: the connection was refused
server              wss://host/ws/agent
agent id            id-1
epoch               3
heartbeat sent      2026-01-02T03:05:05.000Z (5s ago)
heartbeat answered  -
heartbeat recorded  -
heartbeats          -
running commands    2
process             7
";
        assert_eq!(table(&agent("builder", true), now), text.lines().collect::<Vec<_>>());
    }

    #[test]
    fn what_keeps_an_agent_from_working_is_said() {
        let mut found = agent("builder", true);
        found.file.spool_failed = true;
        found.file.journal_failed = true;
        found.file.stopped = Some("s-1".to_owned());
        found.file.paused = true;
        let text = table(&found, WallTime::default());
        for line in ["spool", "journal", "stopped             emergency stop s-1;", "paused"] {
            assert!(text.iter().any(|l| l.starts_with(line)), "{text:?}");
        }
    }

    #[test]
    fn nothing_that_a_server_said_reaches_the_terminal_as_it_is() {
        let mut found = agent("builder", true);
        let bad = "x\u{1b}]0;owned\u{7}\nagent  forged\u{202e}\u{9b}2J";
        found.file.because = bad.to_owned();
        found.file.agent_id = Some(bad.to_owned());
        found.file.stopped = Some(bad.to_owned());
        let one = table(&found, WallTime::default());
        let all = list(&[found], now());
        for line in one.iter().chain(&all) {
            assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
        }
        assert_eq!(one.len(), 15, "{one:?}");
    }

    #[test]
    fn several_agents_are_a_list_and_the_stale_are_told_from_the_live() {
        let text = "\
AGENT  STATE                                SERVER               STATE DIRECTORY
a      connected                            wss://host/ws/agent  /state/a
bb     not running (last known: connected)  wss://host/ws/agent  /state/bb
";
        assert_eq!(
            list(&[agent("a", true), agent("bb", false)], now()),
            text.lines().collect::<Vec<_>>()
        );
    }

    #[test]
    fn json_says_whether_it_is_live() {
        let value: serde_json::Value =
            serde_json::from_str(&json(&agent("a", false)).unwrap()).unwrap();
        assert_eq!(value["live"], false);
        assert_eq!(value["state"], "connected");
        assert_eq!(value["state_dir"], "/state/a");
    }
}
