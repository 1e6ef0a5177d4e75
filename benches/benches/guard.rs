//! The hot paths whose instructions `.ci/guard` counts, each repeated N times; and the server, for its measurement of
//! the memory of an idle connection.
//!
//! - `guard beat N`: heartbeats through reader, machine and writer. With `ONSEMBL_GUARD_SLOWER` set each is read
//!   twice, to check that the guard fails.
//! - `guard store-beat N`, `guard store-output N`: writes of the store, until they are committed.
//! - `guard serve …`, `guard token …`: `onsembl-server serve …`, `onsembl-server token …`.
//!
//! The bench `fleet` counts the cost of a chunk of output for a fleet and its readers.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "../../onsembl-server-ref/examples/store_cost/rows.rs"]
mod rows;

use bytes::Bytes;
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, MessageId, PresenceVersion, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::frames;
use onsembl_protocol::session::{
    Claimant, Dialect, ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::time::{Now, WallTime};
use onsembl_protocol::wire::{AgentFrame, ServerToAgent, decode_in_place, encode_into};
use onsembl_server_ref::store::{OpenedSession, Receipts, Store};
use rows::METRICS;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

const LINK: LinkId = LinkId(1);
/// Agents whose beats are in flight together, and chunks of a stream.
const AT_ONCE: u64 = 50;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["beat", count] => beats(count.parse().unwrap()),
        ["store-beat", count] => with_store(count.parse().unwrap(), true),
        ["store-output", count] => with_store(count.parse().unwrap(), false),
        ["serve" | "token", ..] => return onsembl_server_ref::cli::main(),
        _ => println!("`.ci/guard` runs it"),
    }
    ExitCode::SUCCESS
}

/// What arrives is read, handled, recorded and answered.
fn beats(count: u64) {
    let at = |n: u64| Now::without_suspend(Duration::from_millis(n * 1000));
    let mut machine =
        ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(0), Epoch(0), at(0));
    let (dialect, claimant) = (Dialect::Extended, Claimant::SameProcess);
    let _ = machine.handle(ServerEvent::Joined { link: LINK, dialect, claimant }, at(0));
    let _ = machine.handle(ServerEvent::Admitted { link: LINK, epoch: Epoch(1) }, at(0));
    let mut answer = String::new();
    let slower = std::env::var_os("ONSEMBL_GUARD_SLOWER").is_some();
    for n in 1..=count {
        let text = format!(
            r#"{{"type":"AGENT_HEARTBEAT","id":"0192-{n}","timestamp":1762100000000,"payload":{{"agentId":"0192f7a0-0000-7000-8000-000000000000","healthMetrics":{METRICS},"sequence":{n},"seen":{{"sequence":{n},"ageMs":12}}}}}}"#
        );
        if slower {
            let _ = black_box(decode_in_place(&text, &Limits::DEFAULT));
        }
        let read = decode_in_place(&text, &Limits::DEFAULT).unwrap();
        let AgentFrame::Heartbeat(beat) = read.message else { panic!("a heartbeat: {text}") };
        let (sequence, seen) = (beat.sequence, beat.seen.map(|seen| seen.sequence));
        let inbound = ServerInbound::Heartbeat { sequence, seen };
        let _ = black_box(machine.handle(ServerEvent::Received(LINK, inbound), at(n)));
        let (sequence, wall) = (BeatSequence(n), at(n).wall);
        let recorded = ServerEvent::Recorded { epoch: Epoch(1), sequence, at: wall };
        let reaction = machine.handle(recorded, at(n));
        for action in reaction.actions {
            if let ServerAction::SendBeat { beat, .. } = action {
                let message = frames::heartbeat(&beat, ServerConfig::DEFAULT.timing, wall);
                answer.clear();
                let message = ServerToAgent::Heartbeat(message);
                encode_into(&mut answer, &MessageId::new("1"), wall, &message);
                let _ = black_box(&answer);
            }
        }
    }
}

fn with_store(count: u64, beats: bool) {
    let folder = std::env::temp_dir().join(format!("onsembl-guard-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (store, receipts) = Store::open(&folder, wall(0)).await.unwrap();
        if beats {
            store_beats(&store, receipts, count).await;
        } else {
            store_output(&store, receipts, count).await;
        }
        store.close(Duration::from_secs(60)).await.unwrap();
    });
    std::fs::remove_dir_all(folder).unwrap();
}

fn wall(n: u64) -> WallTime {
    WallTime::from_unix_millis(1_762_100_000_000 + n as i64)
}

async fn session(store: &Store, n: u64) -> OpenedSession {
    store.sessions().open(rows::session(UserId::new("user"), n, wall(0))).await.unwrap()
}

/// Beats of [`AT_ONCE`] agents together; the next ones when these are committed.
async fn store_beats(store: &Store, mut receipts: Receipts, count: u64) {
    let mut agents = Vec::new();
    for n in 0..AT_ONCE {
        agents.push(session(store, n).await);
    }
    for n in 0..count / AT_ONCE {
        for opened in &agents {
            store.record_heartbeat(rows::beat(opened, n + 1, wall(n + 1)));
        }
        let mut waiting = AT_ONCE;
        while waiting > 0 {
            waiting -= receipts.recorded.recv().await.unwrap().len() as u64;
        }
    }
}

/// Chunks of 100 bytes of one stream, [`AT_ONCE`] together; the next ones when these are committed.
async fn store_output(store: &Store, mut receipts: Receipts, count: u64) {
    let user = UserId::new("user");
    let opened = session(store, 0).await;
    let row = rows::command(&user, 0, &opened, wall(0));
    let command = row.command.clone();
    let _ = store.commands().insert(row).await.unwrap();
    let body = Bytes::from_static(&[b'x'; 100]);
    for first in (0..count).step_by(AT_ONCE as usize) {
        for n in first..first + AT_ONCE {
            let record = rows::chunk(&user, &command, n, &body, wall(n));
            store.output().append(record).await.unwrap();
        }
        let mut waiting = AT_ONCE;
        while waiting > 0 {
            waiting -= receipts.output.recv().await.unwrap().len() as u64;
        }
    }
}
