//! What storing costs, without a network: processor time of the writer's thread, commits, and bytes that are written.
//!
//! `store_cost beats AGENTS PER_SECOND SECONDS` and `store_cost output STREAMS BYTES SECONDS [PER_SECOND]`, each over a
//! database of its own in the current folder, which is removed at the end. Prints one line of JSON.

#![allow(clippy::print_stdout, reason = "it is what it is for")]

mod rows;

use anyhow::{Context as _, bail};
use onsembl_protocol::id::{CommandId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::store::{HeartbeatRow, OpenedSession, Receipts, Store, StoredRecord};
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of output that are in flight of one stream, with what each record counts besides: the window of an agent.
const WINDOW: usize = 1 << 20;
const OF_RECORD: usize = 256;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| -> anyhow::Result<usize> {
        Ok(args.get(at).context("see the head of this file")?.parse()?)
    };
    let dir = std::env::current_dir()?.join(format!("store-cost-{}", std::process::id()));
    let (store, receipts) = Store::open(&dir, now()).await?;
    let told = match args.first().map(String::as_str) {
        Some("beats") => beats(&store, receipts, number(1)?, number(2)?, number(3)?).await?,
        Some("output") => {
            let rate = number(4).ok();
            output(&store, receipts, number(1)?, number(2)?, number(3)?, rate).await?
        }
        Some(_) | None => bail!("see the head of this file"),
    };
    println!("{told}");
    store.close(Duration::from_secs(60)).await?;
    fs::remove_dir_all(dir)?;
    Ok(())
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

async fn agents(store: &Store, count: usize) -> anyhow::Result<Vec<OpenedSession>> {
    let open = (0..count as u64).map(|n| {
        store.sessions().open(rows::session(UserId::new(format!("user {}", n % 8)), n, now()))
    });
    Ok(futures::future::try_join_all(open).await?)
}

/// What was used so far: nanoseconds of the writer's thread and of all, commits, bytes written.
struct Used {
    at: Instant,
    writer: u64,
    all: u64,
    commits: u64,
    bytes: u64,
}

fn used(store: &Store) -> anyhow::Result<Used> {
    let (mut writer, mut all) = (0, 0);
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let text = fs::read_to_string(task.join("schedstat"))?;
        let ran: u64 = text.split(' ').next().context("no time")?.parse()?;
        all += ran;
        if fs::read_to_string(task.join("comm"))?.trim() == "onsembl-store" {
            writer += ran;
        }
    }
    let io = fs::read_to_string("/proc/self/io")?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    let bytes = bytes.context("no bytes")?.parse()?;
    Ok(Used { at: Instant::now(), writer, all, commits: store.counters().commits, bytes })
}

fn tell(before: &Used, after: &Used, count: usize, mut lags: Vec<i64>) -> String {
    lags.sort_unstable();
    let part = |of: usize| lags.get(lags.len().saturating_sub(1) * of / 100).copied().unwrap_or(-1);
    let each = |from: u64, to: u64| (to - from) as f64 / count.max(1) as f64;
    let seconds = (after.at - before.at).as_secs_f64();
    format!(
        r#"{{"count":{count},"per_second":{:.0},"writer_us":{:.2},"all_us":{:.2},"commits_per_second":{:.1},"bytes_each":{:.0},"lag_ms":{{"p50":{},"p99":{},"max":{}}}}}"#,
        count as f64 / seconds,
        each(before.writer, after.writer) / 1000.0,
        each(before.all, after.all) / 1000.0,
        (after.commits - before.commits) as f64 / seconds,
        each(before.bytes, after.bytes),
        part(50),
        part(99),
        part(100),
    )
}

async fn beats(
    store: &Store,
    mut receipts: Receipts,
    count: usize,
    rate: usize,
    seconds: usize,
) -> anyhow::Result<String> {
    let agents = agents(store, count).await?;
    let beat = |n: usize| -> Option<HeartbeatRow> {
        let of = agents.get((n * 7919) % count)?;
        Some(rows::beat(of, 1 + (n / count) as u64, now()))
    };
    let heard = tokio::spawn(async move {
        let mut lags = Vec::new();
        while let Some(recorded) = receipts.recorded.recv().await {
            let lag = |r: &onsembl_server_ref::store::Recorded| {
                r.committed_at.unix_millis() - r.at.unix_millis()
            };
            lags.extend(recorded.iter().map(lag));
        }
        lags
    });
    // One lap before, so that what is measured is a fleet that beats for a while.
    let lap = count.min(rate * 30);
    let (mut n, mut before) = (0, used(store)?);
    let began = Instant::now();
    while n < lap + rate * seconds {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as usize;
        while n < due.min(lap + rate * seconds) {
            if n == lap {
                before = used(store)?;
            }
            if let Some(beat) = beat(n) {
                store.record_heartbeat(beat);
            }
            n += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = used(store)?;
    store.clone().close(Duration::from_secs(60)).await?;
    Ok(tell(&before, &after, rate * seconds, heard.await?))
}

async fn output(
    store: &Store,
    mut receipts: Receipts,
    streams: usize,
    bytes: usize,
    seconds: usize,
    rate: Option<usize>,
) -> anyhow::Result<String> {
    let opened = agents(store, 1).await?.remove(0);
    let user = UserId::new("user 0");
    let mut ids: Vec<CommandId> = Vec::new();
    for number in 0..streams as u64 {
        let row = rows::command(&user, number, &opened, now());
        ids.push(row.command.clone());
        let _ = store.commands().insert(row).await?;
    }
    let body = bytes::Bytes::from(vec![b'x'; bytes]);
    let record = |stream: usize, n: u64| -> Option<StoredRecord> {
        Some(rows::chunk(&user, ids.get(stream)?, n, &body, now()))
    };
    let most = (WINDOW / (bytes + OF_RECORD)).max(1) as u64;
    let (mut sent, mut stored, mut lags) = (vec![0_u64; streams], 0, Vec::new());
    let mut under_way: u64 = 0;
    let before = used(store)?;
    let end = before.at + Duration::from_secs(seconds as u64);
    let mut next = 0;
    loop {
        let open = Instant::now() < end;
        let due = match rate {
            _ if !open => 0,
            Some(rate) => {
                let due = (before.at.elapsed().as_secs_f64() * rate as f64) as u64;
                due.saturating_sub(stored + under_way)
            }
            None => (most * streams as u64).saturating_sub(under_way),
        };
        for _ in 0..due {
            let Some(n) = sent.get_mut(next) else { bail!("no stream") };
            if let Some(record) = record(next, *n) {
                store.output().append(record).await?;
            }
            *n += 1;
            under_way += 1;
            next = (next + 1) % streams;
            while let Ok(batch) = receipts.output.try_recv() {
                under_way -= batch.len() as u64;
                stored += batch.len() as u64;
            }
        }
        if !open && under_way == 0 {
            break;
        }
        let wait = Duration::from_millis(1);
        if let Ok(batch) = tokio::time::timeout(wait, receipts.output.recv()).await {
            let batch = batch.context("the store has ended")?;
            if batch.iter().any(|receipt| receipt.outcome.is_err() || receipt.is_gap) {
                bail!("lost");
            }
            under_way -= batch.len() as u64;
            stored += batch.len() as u64;
            lags.push(i64::try_from(batch.len())?);
        }
    }
    let after = used(store)?;
    for (command, sent) in ids.iter().zip(sent) {
        let found = store.streams().positions(&user, vec![command.clone()]).await?;
        let delivered = found.first().map_or(0, |position| position.delivered);
        if delivered != sent * bytes as u64 {
            bail!("{delivered} bytes are stored, and {sent} records were sent");
        }
    }
    Ok(tell(&before, &after, usize::try_from(stored)?, lags))
}
