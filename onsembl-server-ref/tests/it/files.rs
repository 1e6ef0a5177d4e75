//! The data folder: who may use what is in it, and what a start does with what it finds there.

use crate::command_line::{program, run};
use crate::fixture::{PATIENCE, is_packaged};
use onsembl_server_ref::auth::{SecretError, Tokens};
use onsembl_server_ref::server::{Server, ServerOptions, StartError};
use onsembl_server_ref::store::{FILE_NAME, Store, StoreError, check};
use rusqlite::Connection;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::time::timeout;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

async fn start(data: &Path) -> Result<(), StartError> {
    let began = timeout(PATIENCE, Server::start(ServerOptions::new(data)));
    began.await.expect("a start never hangs")?.stop().await;
    Ok(())
}

/// As in the README, by somebody whose umask leaves files open.
#[tokio::test]
async fn the_first_steps_leave_nothing_open() {
    let top = tempfile::tempdir().unwrap();
    let (data, token) = (top.path().join("data"), top.path().join("agent.token"));
    for _ in 0..2 {
        let mut command = program();
        let _ = command.args(["token", "--user", "me", "--kind", "agent", "--data"]).arg(&data);
        let (code, text) = run(command.arg("--out").arg(&token)).await;
        assert!(code == Some(0) && text.starts_with("token ") && text.len() < 30, "{text}");
        assert_eq!((mode(&data), mode(&token)), (0o700, 0o600));
        assert!(fs::read_to_string(&token).unwrap().starts_with("onsembl_agent_"));
        set(&token, 0o644);
    }
    start(&data).await.unwrap();
    for file in ["server.lock", FILE_NAME, "token.secret"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let mut command = program();
    let _ = command.args(["token", "--user", "me", "--data"]).arg(&data);
    let (code, text) = run(command.arg("--out").arg(top.path())).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("not a regular file") && text.lines().count() == 1, "{text}");
}

/// Neither in files that a shell makes for everybody to read, nor in arguments that everybody sees.
#[test]
fn no_step_in_the_documents_leaves_a_token_open() {
    if is_packaged() {
        return;
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut documents = vec![top.join("README.md"), top.join("CHANGELOG.md")];
    documents.extend(fs::read_dir(top.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut steps = 0;
    for document in documents.iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(document).unwrap();
        let shown = document.display();
        for line in text.lines() {
            // A further line of a command that is shown.
            let line = line.strip_prefix("> ").unwrap_or(line);
            steps += usize::from(line.contains("onsembl-server token "));
            let into_a_file = line.split_once('>').is_some_and(|(_, to)| to.contains(".token"));
            assert!(!into_a_file || line.contains("| "), "{shown}: {line}");
            assert!(!line.contains("--token \""), "{shown}: {line}");
            assert!(!line.contains("TOKEN=\"$(onsembl-server token"), "{shown}: {line}");
        }
    }
    assert!(steps > 3, "{steps} steps were looked at");
}

#[tokio::test]
async fn what_an_earlier_version_left_open_is_closed_or_refused() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.unwrap();
    set(data.path(), 0o755);
    for file in ["server.lock", FILE_NAME] {
        set(&data.path().join(file), 0o666);
    }
    start(data.path()).await.unwrap();
    for file in ["server.lock", FILE_NAME] {
        assert_eq!(mode(&data.path().join(file)), 0o660, "{file}");
    }
    set(&data.path().join("token.secret"), 0o644);
    let refused = start(data.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::Secret(SecretError::Exposed { .. })), "{refused}");
    set(&data.path().join("token.secret"), 0o600);
    set(data.path(), 0o777);
    let refused = start(data.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::OpenFolder { .. }), "{refused}");
}

#[tokio::test]
async fn a_lost_secret_is_replaced_only_by_order() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.unwrap();
    fs::remove_file(data.path().join("token.secret")).unwrap();
    let lost = start(data.path()).await.unwrap_err();
    assert!(matches!(lost, StartError::Secret(SecretError::Lost { .. })), "{lost}");
    let mut command = program();
    let _ = command.arg("serve").arg("--data").arg(data.path()).args(["--listen", "127.0.0.1:0"]);
    let (code, text) = run(&mut command).await;
    assert_eq!(code, Some(3), "{text}");
    for said in ["token.secret", "--new-secret", "backup", "new token"] {
        assert!(text.contains(said), "{text}");
    }
    let mut server = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--new-secret", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    let _ = timeout(PATIENCE, out.read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.starts_with("127.0.0.1:"), "{line}");
    server.kill().await.unwrap();
    drop(Tokens::open(data.path()).unwrap());
}

#[tokio::test]
async fn a_database_of_another_program_is_named() {
    let data = tempfile::tempdir().unwrap();
    drop(Tokens::open(data.path()).unwrap());
    let path = data.path().join(FILE_NAME);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE bookmarks (url); PRAGMA user_version = 3;").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    let refused = start(data.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::Store(StoreError::Foreign { .. })), "{refused}");
    assert!(refused.to_string().contains("bookmarks"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// A folder whose database has many pages, and these of them overwritten.
fn damaged(data: &Path, pages: impl Iterator<Item = u64>) {
    let path = data.join(FILE_NAME);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000)
         INSERT INTO meta (key, value) SELECT 'k' || x, hex(randomblob(3000)) FROM n;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    drop(db);
    let file = fs::File::options().write(true).open(&path).unwrap();
    for page in pages {
        file.write_all_at(&[0xa5; 8192], page * 8192).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_database_ends_the_start_and_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.unwrap();
    damaged(data.path(), (60..2000).step_by(10));
    let began = Instant::now();
    let refused = start(data.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::Store(StoreError::Damaged { .. })), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn each_page_that_a_start_needs_may_be_damaged() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.unwrap();
    let db = Connection::open(data.path().join(FILE_NAME)).unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(db);
    let whole = fs::read(data.path().join(FILE_NAME)).unwrap();
    for page in 0..whole.len() / 8192 {
        let mut bytes = whole.clone();
        bytes[page * 8192..(page + 1) * 8192].fill(0xa5);
        fs::write(data.path().join(FILE_NAME), bytes).unwrap();
        let refused = start(data.path()).await.expect_err("a damaged page");
        assert!(
            matches!(refused, StartError::Store(StoreError::Damaged { .. })),
            "{page}: {refused}"
        );
    }
}

/// The log says what was open, and what was done.
#[tokio::test]
async fn what_is_open_is_warned_of() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.unwrap();
    set(data.path(), 0o755);
    set(&data.path().join("server.lock"), 0o644);
    set(&data.path().join("token.secret"), 0o640);
    let mut server = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    let _ = timeout(PATIENCE, out.read_line(&mut line)).await.unwrap().unwrap();
    server.start_kill().unwrap();
    let mut log = String::new();
    let _ = server.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    for warned in ["chmod 700", "server.lock", "0644", "chmod 600", "0640"] {
        assert!(log.contains(warned), "{warned}: {log}");
    }
}

/// Neither a signal that somebody tries, nor a file that may not grow, ends it without a word to its peers.
#[tokio::test]
async fn signals_end_it_in_order_or_not_at_all() {
    let data = tempfile::tempdir().unwrap();
    let mut server = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    let _ = timeout(PATIENCE, out.read_line(&mut line)).await.unwrap().unwrap();
    let id = server.id().unwrap().to_string();
    let send = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &id]).status().unwrap();
        assert!(sent.success(), "{name}");
    };
    ["-USR1", "-USR2", "-XFSZ", "-ALRM", "-VTALRM", "-PROF", "-IO", "-PWR"]
        .into_iter()
        .for_each(send);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.try_wait().unwrap().is_none(), "it was ended");
    let answer = crate::peer::Request::get("/healthz").send(line.trim().parse().unwrap()).await;
    assert_eq!(answer.status, 200);
    send("-QUIT");
    let ended = timeout(PATIENCE, server.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended}");
}

/// Rows that another program changed, in each table that holds JSON: each is named, and none keeps the others away.
#[tokio::test]
async fn a_row_whose_json_cannot_be_read_is_named_and_ends_no_start() {
    let data = tempfile::tempdir().unwrap();
    start(data.path()).await.unwrap();
    let db = Connection::open(data.path().join(FILE_NAME)).unwrap();
    let planted = "{\"half";
    for agent in ["whole", "torn"] {
        let torn = agent == "torn";
        let json = |right: &str| if torn { planted.to_owned() } else { right.to_owned() };
        let presence = format!(
            "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities, epoch, status, since,
                                 because, presence_version, last_metrics, created_at)
             VALUES ('{agent}', 'ann', '{agent}', '{agent}', 'CUSTOM', '{}', 1, 'offline', 1, '', 1, '{}', 1);
             INSERT INTO presence_events (agent_id, version, epoch, status, because, evidence, at)
             VALUES ('{agent}', 1, 1, 'offline', '', '{}', 1);
             INSERT INTO findings (agent_id, instance, number, epoch, at, told)
             VALUES ('{agent}', 'i', 1, 1, 1, '{}');",
            json("[]"),
            json("{}"),
            json("{}"),
            json("[]"),
        );
        db.execute_batch(&presence).unwrap();
        for (command, ended) in [("open", "NULL"), ("over", "9999999999999")] {
            let command = format!(
                "INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, created_at, updated_at, ended_at)
                 VALUES ('ann', '{command}-{agent}', '{agent}', 'true', '{}', 'queued', 1, 1, {ended})",
                json("null")
            );
            db.execute_batch(&command).unwrap();
        }
    }
    drop(db);
    let found = check(data.path(), PATIENCE).unwrap();
    let named: Vec<_> =
        found.unreadable.iter().map(|row| (row.table, row.column, row.key.as_str())).collect();
    let findings = named.iter().find(|(table, ..)| *table == "findings").expect("it is named");
    let expected = [
        ("agents", "capabilities", "agent_id=torn"),
        ("agents", "last_metrics", "agent_id=torn"),
        ("commands", "spec", "user_id=ann command_id=open-torn"),
        ("commands", "spec", "user_id=ann command_id=over-torn"),
        *findings,
        ("presence_events", "evidence", "agent_id=torn version=1"),
    ];
    assert_eq!(named, expected);
    assert!(findings.2.starts_with("agent_id=torn id="), "{findings:?}");
    for _ in 0..2 {
        let server = Server::start(ServerOptions::new(data.path())).await.unwrap();
        assert_eq!(server.counters().snapshot()["unreadable_rows"], 6);
        server.stop().await;
    }
    let now = onsembl_protocol::time::WallTime::from_unix_millis(10);
    let (store, receipts) = Store::open(data.path(), now).await.unwrap();
    drop(receipts);
    let agents = store.agents().list(None).await.unwrap();
    let names: Vec<_> = agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["torn", "whole"]);
    let ann = onsembl_protocol::id::UserId::new("ann");
    assert_eq!(store.commands().list(&ann, None, 10).await.unwrap().len(), 4);
    // What could not be read is there still, for who mends it.
    let db = Connection::open(data.path().join(FILE_NAME)).unwrap();
    let left: i64 = db
        .query_row("SELECT count(*) FROM findings WHERE told = ?1", [planted], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 1);
}
