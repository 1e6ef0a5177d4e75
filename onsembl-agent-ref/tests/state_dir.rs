//! State directories on a real file system, and a second process that holds one.

#![allow(clippy::unwrap_used)] // Clippy's leave for tests ends at their helper functions.

use onsembl_agent_ref::state_dir::{StateDir, StateDirError, is_live, locate};
use onsembl_agent_ref::status_file::AgentStatusFile;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const HELD_DIR: &str = "STATE_DIR_TEST_HELD";

fn open(path: &Path) -> Result<StateDir, StateDirError> {
    StateDir::open(Some(path.to_owned()), "ignored, since a path is given")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_fresh_directory_is_private_and_its_key_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let first = open(&path).unwrap();
    assert_eq!(first.path(), path);
    assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o700, 0o700));
    assert_eq!((mode(&path.join("agent.key")), mode(&path.join("lock"))), (0o600, 0o600));
    let key = first.key();
    let uuid = uuid::Uuid::try_parse(key.as_str()).unwrap();
    assert_eq!(uuid.get_version_num(), 4);
    assert_eq!(fs::read_to_string(path.join("agent.key")).unwrap(), format!("{key}\n"));
    drop(first);
    for _ in 0..3 {
        assert_eq!(open(&path).unwrap().key(), key);
    }
    assert_ne!(open(&dir.path().join("other")).unwrap().key(), key);
}

#[test]
fn a_damaged_key_is_reported_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.key");
    let nil = "00000000-0000-0000-0000-000000000000";
    for damaged in ["", "\n", "not a key", "\0\0\0\0", nil, &"7".repeat(4096)] {
        fs::write(&file, damaged).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StateDirError::KeyCorrupt { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!(
                "{} does not hold an agent key (a UUID); restore it from a backup, or remove it to start as a new agent",
                file.display()
            )
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    }
    fs::remove_file(&file).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn a_crash_while_the_key_was_written_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("agent.key.new"), "half a k").unwrap();
    let key = open(dir.path()).unwrap().key();
    assert_eq!(open(dir.path()).unwrap().key(), key);
}

#[test]
fn a_place_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let text = open(&file.join("below")).unwrap_err().to_string();
    assert!(text.starts_with("cannot create the state directory "), "{text}");
    assert!(text.contains("file/below") && text.contains("permissions"), "{text}");
}

#[test]
fn a_given_path_is_taken_as_it_is() {
    assert_eq!(locate(Some("x/y".into()), "name").unwrap(), Path::new("x/y"));
}

/// Another process that holds a state directory until its input ends or it is killed.
struct Holder {
    child: Child,
    input: Option<ChildStdin>,
    /// Open to the end, else the holder fails to write its summary.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "hold_until_told"])
            .env(HELD_DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("holding")), "it never held {dir:?}");
        Self { child, input, _output: lines }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

#[test]
#[ignore = "run as another process by the tests around it"]
fn hold_until_told() {
    let dir = PathBuf::from(std::env::var_os(HELD_DIR).unwrap());
    let _held = open(&dir).unwrap();
    #[expect(clippy::disallowed_methods, reason = "its parent reads it")]
    let mut out = std::io::stdout();
    writeln!(out, "holding").and_then(|()| out.flush()).unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn a_second_process_is_kept_out_and_told_who_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let holder = Holder::start(dir.path());
    let error = open(dir.path()).unwrap_err();
    let pid = holder.child.id();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is in use by another onsembl-agent (process {pid}); stop that one, or give this one a name or --state-dir of its own",
            dir.path().display()
        )
    );
    assert!(matches!(error, StateDirError::InUse { pid: Some(p), .. } if p == pid));
    assert!(is_live(dir.path()).unwrap());
    drop(holder);
    assert!(!is_live(dir.path()).unwrap());
    open(dir.path()).unwrap();
}

#[test]
fn a_killed_process_leaves_no_lock_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Holder::start(dir.path());
    holder.child.kill().unwrap();
    holder.child.wait().unwrap();
    assert!(dir.path().join("lock").exists());
    assert!(!is_live(dir.path()).unwrap());
    open(dir.path()).unwrap();
}

#[test]
fn the_same_process_cannot_open_it_twice_either() {
    let dir = tempfile::tempdir().unwrap();
    let locked = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    let own = std::process::id();
    assert!(matches!(error, StateDirError::InUse { pid: Some(p), .. } if p == own), "{error:?}");
    drop(locked);
    open(dir.path()).unwrap();
}

#[test]
fn asking_whether_it_lives_never_keeps_an_agent_out() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap();
    let path = dir.path();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..2000).for_each(|_| assert!(is_live(path).is_ok())));
        for _ in 0..200 {
            open(path).unwrap();
        }
    });
}

#[test]
fn a_directory_without_an_agent_is_not_live() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_live(dir.path()).unwrap());
    assert!(!is_live(&dir.path().join("missing")).unwrap());
    assert_eq!(AgentStatusFile::read(&dir.path().join("missing")).unwrap(), None);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "asking creates nothing");
}

fn status(because: &str) -> AgentStatusFile {
    AgentStatusFile {
        pid: std::process::id(),
        name: "builder".into(),
        server: "wss://host.example/ws/agent".into(),
        state: "connected".into(),
        since: "2026-11-23T10:00:00.000Z".into(),
        because: because.into(),
        last_failure: None,
        last_heartbeat_recorded: None,
        beats: None,
        agent_id: Some("0195".into()),
        epoch: Some(u64::MAX),
        last_heartbeat_sent: Some("2026-11-23T10:00:30.000Z".into()),
        last_heartbeat_answered: None,
        running_commands: 2,
        background_commands: 1,
        background: vec!["c".to_owned()],
        spool_failed: false,
        journal_failed: false,
        stopped: None,
        paused: false,
        activity: None,
        updated_at: "2026-11-23T10:00:30.001Z".into(),
    }
}

#[test]
fn a_status_is_read_as_it_was_written_and_outlives_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path()).unwrap();
    assert_eq!(AgentStatusFile::read(dir.path()).unwrap(), None);
    status("hello accepted").write(&state).unwrap();
    status("heartbeat answered").write(&state).unwrap();
    assert!(is_live(dir.path()).unwrap());
    drop(state);
    assert_eq!(AgentStatusFile::read(dir.path()).unwrap(), Some(status("heartbeat answered")));
    assert!(!is_live(dir.path()).unwrap());
    assert_eq!(mode(&dir.path().join("status.json")), 0o600);
    assert!(!dir.path().join("status.json.new").exists());
}

#[test]
fn a_reader_never_finds_half_a_status() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path()).unwrap();
    status("first").write(&state).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..2000_usize {
                status(&"x".repeat(n % 97 * 50)).write(&state).unwrap();
            }
        });
        for _ in 0..2000 {
            assert!(AgentStatusFile::read(dir.path()).unwrap().is_some());
        }
    });
}

#[test]
fn a_damaged_status_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("status.json"), "{\"pid\":").unwrap();
    let text = AgentStatusFile::read(dir.path()).unwrap_err().to_string();
    assert!(text.contains("status.json is not a status file of this version"), "{text}");
}

#[test]
fn what_others_could_use_is_closed_and_where_they_could_write_is_refused() {
    let top = tempfile::tempdir().unwrap();
    let dir = top.path().join("state");
    drop(open(&dir).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for file in ["lock", "agent.key"] {
        set(&dir.join(file), 0o666);
    }
    set(&dir, 0o755);
    drop(open(&dir).unwrap());
    for file in ["lock", "agent.key"] {
        assert_eq!(mode(&dir.join(file)), 0o660, "{file}");
    }
    set(&dir, 0o777);
    let refused = open(&dir).unwrap_err();
    assert!(matches!(refused, StateDirError::Open { .. }), "{refused}");
    assert!(refused.to_string().contains("chmod 700"), "{refused}");
}

/// Of another process, because the environment of this one is everybody's.
#[test]
fn the_default_place_follows_xdg_and_then_home() {
    let home = tempfile::tempdir().unwrap();
    let shown = |variables: &[(&str, &str)]| {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_onsembl-agent"));
        let output = agent.env_clear().envs(variables.iter().copied()).arg("status").output();
        String::from_utf8(output.unwrap().stderr).unwrap()
    };
    let at = home.path().to_str().unwrap();
    let fallback = format!("{at}/.local/state/onsembl");
    let elsewhere = format!("{at}/elsewhere");
    let own = shown(&[("HOME", at), ("XDG_STATE_HOME", &elsewhere)]);
    assert!(own.contains(&format!("{elsewhere}/onsembl")), "{own}");
    for ignored in ["", "relative"] {
        let text = shown(&[("HOME", at), ("XDG_STATE_HOME", ignored)]);
        assert!(text.contains(&fallback), "{ignored:?}: {text}");
    }
    assert!(shown(&[("HOME", at)]).contains(&fallback));
    let lost = shown(&[("HOME", "nowhere")]);
    assert!(lost.contains("no home directory is known"), "{lost}");
}
