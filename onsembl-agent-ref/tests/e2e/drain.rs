//! How fast a backlog goes out after a reconnect, beside two floors taken in the same run: the same bytes
//! over a plain WebSocket, and the same bytes written durably by plain batched inserts. What drained is
//! asserted, the figures are printed. `ONSEMBL_DRAIN=104857600` in a release build is the run of
//! DELIVERY.md.

use crate::bench::{Bench, PATIENCE, Running, Times, eventually};
use futures::{SinkExt as _, StreamExt as _};
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

const CHUNK: usize = 32 * 1024;

/// What a tool prints: 64 bytes with its end.
const LINE: &str = "[12:34:56] compiling onsembl-protocol v0.1.0 (step 17 of 42) ok";

fn spooled(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => spooled(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// The same bytes over a plain WebSocket on loopback.
fn socket_floor(bytes: usize) -> Duration {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
            let mut read = 0;
            while read < bytes {
                read += socket.next().await.unwrap().unwrap().len();
            }
        });
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/");
        let (mut socket, _) = tokio_tungstenite::client_async(url, tcp).await.unwrap();
        let text = format!("{LINE}\n").repeat(CHUNK / 64);
        let begin = Instant::now();
        for _ in 0..bytes.div_ceil(CHUNK) {
            socket.send(Message::text(text.clone())).await.unwrap();
        }
        reading.await.unwrap();
        begin.elapsed()
    })
}

/// The same bytes in rows of a chunk, 64 to a transaction, each synced.
fn database_floor(folder: &Path, bytes: usize) -> Duration {
    let mut db = Connection::open(folder.join("floor.db")).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    db.execute_batch("CREATE TABLE chunks (n INTEGER PRIMARY KEY, bytes BLOB NOT NULL)").unwrap();
    let chunk = format!("{LINE}\n").repeat(CHUNK / 64).into_bytes();
    let numbers: Vec<usize> = (0..bytes.div_ceil(CHUNK)).collect();
    let begin = Instant::now();
    for batch in numbers.chunks(64) {
        let transaction = db.transaction().unwrap();
        for n in batch {
            transaction
                .prepare_cached("INSERT INTO chunks VALUES (?1, ?2)")
                .unwrap()
                .execute((*n as i64, &chunk))
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    begin.elapsed()
}

/// Seconds of the day at which a line of a log was written.
fn seconds(line: &str) -> Option<f64> {
    let clock = line.split_once('T')?.1.split_once('Z')?.0;
    let parts: Vec<f64> = clock.split(':').map_while(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// The number behind this word of a line.
fn number(line: &str, word: &str) -> Option<u64> {
    let digits = line.split_once(word)?.1.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// How long the server's word that a heartbeat arrived took to come back to its agent, for each
/// heartbeat of its last session.
fn pings(log: &str) -> Vec<Duration> {
    let session = log.rfind("link open").map_or("", |at| &log[at..]);
    let mut waiting: Vec<(u64, f64)> = Vec::new();
    let mut pings = Vec::new();
    for line in session.lines() {
        let Some(at) = seconds(line) else { continue };
        if line.contains("heartbeat sent") {
            waiting.extend(number(line, " sequence=").map(|n| (n, at)));
        } else if line.contains("server heartbeat received")
            && let Some(seen) = number(line, " seen=Some")
        {
            waiting.retain(|(n, sent)| {
                let answered = *n <= seen;
                if answered {
                    pings.push(Duration::from_secs_f64((at - sent).max(0.0)));
                }
                !answered
            });
        }
    }
    pings
}

/// Heartbeats are the pings of an agent's link: many of them while a backlog drains.
const TIMES: Times = Times(["25ms", "10s", "20s", "60s"]);

#[test]
fn a_backlog_drains_whole_and_neither_pings_nor_commands_wait_for_it() {
    let bytes: usize =
        std::env::var("ONSEMBL_DRAIN").map_or(4 << 20, |text| text.parse().expect("a number"));
    let mut bench = Bench::with(TIMES, &[]);
    let mut agent = bench.agent_command("ada");
    let heard = "info,onsembl_transport::agent=debug";
    let _agent = Running(agent.env("ONSEMBL_LOG", heard).spawn().unwrap());
    let _ = bench.await_status("ada", "online");
    let go = bench.folder.path().join("go");
    let text = format!(
        "until [ -e {} ]; do sleep 0.1; done; yes '{LINE}' | head -c {bytes}",
        go.display()
    );
    let mut exec = bench.exec_command("ada", &[], &text);
    let exec = Running(exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let db = Connection::open(bench.data().join("onsembl.db")).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
    eventually("it runs", || count("SELECT count(*) FROM commands WHERE status = 'running'") == 1);
    // Nobody watches: what is measured is the way to the disk.
    drop(exec);
    let mut server = bench.server.take().unwrap();
    server.signal("-TERM");
    let _ = server.wait();
    fs::write(&go, "").unwrap();
    let spool = bench.folder.path().join("ada/spool");
    eventually("all is spooled", || spooled(&spool) >= bytes as u64);

    bench.server_log = "info";
    bench.start_server();
    let stored = || count("SELECT coalesce(sum(delivered), 0) FROM output_streams");
    let deadline = Instant::now() + 2 * PATIENCE;
    while stored() == 0 {
        assert!(Instant::now() < deadline, "nothing comes");
        sleep(Duration::from_millis(1));
    }
    let begin = Instant::now();
    let mut end = None;
    let mut slowest = Duration::ZERO;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let slowest = &mut slowest;
        let (bench, done) = (&bench, &done);
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                let asked = Instant::now();
                assert_eq!(bench.exec("ada", "true").status.code(), Some(0));
                *slowest = (*slowest).max(asked.elapsed());
                sleep(Duration::from_millis(50));
            }
        });
        while end.is_none() && begin.elapsed() < 10 * PATIENCE {
            if stored() >= bytes as i64 {
                end = Some(begin.elapsed());
            }
            sleep(Duration::from_millis(1));
        }
        done.store(true, Ordering::SeqCst);
    });
    let drain = end.unwrap_or_else(|| panic!("{} of {bytes}", stored()));
    eventually("a heartbeat is answered", || !pings(&bench.log("ada.log")).is_empty());
    let pings = pings(&bench.log("ada.log"));
    let ping = pings.iter().max().copied();
    let other = bench.folder.path();
    let (socket, database) = (socket_floor(bytes), database_floor(other, bytes));
    let rate = |took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
    eprintln!(
        "{bytes} bytes: drained at {:.1} MB/s; plain socket {:.1}, plain inserts {:.1}: {:.0} % of the slower; slowest of {} pings {ping:?}, slowest `exec true` {slowest:?}",
        rate(drain),
        rate(socket),
        rate(database),
        100.0 * rate(drain) / rate(socket).min(rate(database)),
        pings.len(),
    );
    assert_eq!(stored(), bytes as i64);
    assert_eq!(count("SELECT sum(gaps) FROM output_streams"), 0);
}
