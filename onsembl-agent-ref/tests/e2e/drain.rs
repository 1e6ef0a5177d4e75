//! How fast a backlog goes out after a reconnect, beside two floors taken in the same run: the same bytes
//! over a plain WebSocket, and the same bytes written durably by plain batched inserts. What drained is
//! asserted, the figures are printed. `ONSEMBL_DRAIN=104857600` in a release build is the run of
//! DELIVERY.md.

use crate::bench::{Bench, PATIENCE, Running, eventually};
use crate::relay::Relay;
use futures::{SinkExt as _, StreamExt as _};
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
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

#[test]
fn a_backlog_drains_whole_and_other_commands_do_not_wait_for_it() {
    let bytes: usize =
        std::env::var("ONSEMBL_DRAIN").map_or(4 << 20, |text| text.parse().expect("a number"));
    let mut bench = Bench::start();
    let relay = Relay::to(&bench.address);
    let server = std::mem::replace(&mut bench.address, relay.address.clone());
    let _agent = Running(bench.agent_command("ada").env("ONSEMBL_LOG", "info").spawn().unwrap());
    bench.address = server;
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
    relay.refuse(true);
    relay.cut();
    fs::write(&go, "").unwrap();
    let spool = bench.folder.path().join("ada/spool");
    eventually("all is spooled", || spooled(&spool) >= bytes as u64);

    relay.refuse(false);
    let stored = || count("SELECT coalesce(sum(delivered), 0) FROM output_streams");
    let deadline = Instant::now() + PATIENCE;
    while stored() == 0 {
        assert!(Instant::now() < deadline, "nothing comes");
        sleep(Duration::from_millis(1));
    }
    let begin = Instant::now();
    let mut slowest = Duration::ZERO;
    while stored() < bytes as i64 {
        assert!(begin.elapsed() < 10 * PATIENCE, "{} of {bytes}", stored());
        let asked = Instant::now();
        assert_eq!(bench.exec("ada", "true").status.code(), Some(0));
        slowest = slowest.max(asked.elapsed());
    }
    let drain = begin.elapsed();
    let other = bench.folder.path();
    let (socket, database) = (socket_floor(bytes), database_floor(other, bytes));
    let rate = |took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
    eprintln!(
        "{bytes} bytes: drained at {:.1} MB/s; plain socket {:.1}, plain inserts {:.1}: {:.0} % of the slower; slowest `exec true` meanwhile {slowest:?}",
        rate(drain),
        rate(socket),
        rate(database),
        100.0 * rate(drain) / rate(socket).min(rate(database)),
    );
    assert_eq!(stored(), bytes as i64);
    assert_eq!(count("SELECT sum(gaps) FROM output_streams"), 0);
}
