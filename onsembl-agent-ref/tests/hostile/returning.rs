//! A fleet of one address that returns after a crash of its server while an attack runs.
//!
//! The time until every agent is in session again is measured twice: beside processes that load all processors
//! without using the server, and under the attack. `ONSEMBL_FLEET` is the number of agents (200).

use crate::bench::{Bench, Running, Times};
use crate::{CONNECTIONS, Tokens, attacker, burners, niced, number};
use serde_json::json;
use std::time::{Duration, Instant};

/// The attacks on what newcomers need: sockets, slots and the time of the acceptor.
pub const ATTACKS: [&str; 4] = [
    "pages-asked-for-and-never-read",
    "sockets-that-say-nothing",
    "sockets-of-many-addresses",
    "connections-that-come-and-go",
];
/// The windows of backoff up to the fourth: what the phase of one unlucky dial may cost.
const SLACK: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(300);
/// Heartbeats as in production.
const TIMES: Times = Times(["25s", "45s", "90s", "5m"]);

/// The faults that were found.
pub fn run(attack: &str) -> Vec<String> {
    let count = number("ONSEMBL_FLEET").unwrap_or(200);
    let connections = ["--connections", "16384"];
    let mut bench = Bench::with(TIMES, if count * 2 > 4096 { &connections } else { &CONNECTIONS });
    bench.server_log = "warn";
    let program = std::env::current_exe().expect("this program");
    let words = ["crowd", &bench.url(), &bench.agent_token, &count.to_string()];
    let _fleet = niced(&program.to_string_lossy(), &words);
    let mut faults = Vec::new();
    if online_after(&bench, 0, count).is_none() {
        return vec![format!("{count} agents did not connect at all")];
    }
    let calm = {
        let _load = burners();
        returned(&mut bench, count)
    };
    let attacked = {
        let _attack: Running = attacker(attack, &bench, &Tokens::of_attacker(&bench), None);
        std::thread::sleep(Duration::from_secs(2));
        returned(&mut bench, count)
    };
    let most = calm.unwrap_or(PATIENCE) * 3 + SLACK;
    match (calm, attacked) {
        (None, _) => faults.push(format!("{count} agents did not return beside the burners")),
        (_, None) => faults.push(format!("{count} agents did not return under the attack")),
        (Some(_), Some(attacked)) if attacked > most => faults.push(format!(
            "{count} agents were back after {attacked:?} under the attack, of at most {most:?}"
        )),
        (Some(_), Some(_)) => {}
    }
    let millis = |time: Option<Duration>| time.map(|time| time.as_millis() as u64);
    println!(
        "    {count} agents are back after {:?} ms beside burners, {:?} ms under attack",
        millis(calm),
        millis(attacked)
    );
    crate::record(&json!({
        "attack": format!("{NAME}/{attack}"),
        "commit": crate::commit(),
        "agents": count,
        "usual_ms": millis(calm),
        "most_ms": most.as_millis() as u64,
        "attacked_ms": millis(attacked),
        "faults": faults,
    }));
    faults
}

/// The name of this case, in front of the attack's.
pub const NAME: &str = "agents-return";

/// Kills the server and starts it again. How long it took until every agent was back.
fn returned(bench: &mut Bench, count: u64) -> Option<Duration> {
    let before = events(bench);
    bench.server = None;
    let began = Instant::now();
    bench.start_server();
    online_after(bench, before, count).map(|at| at - began)
}

/// When this many agents have come online in an event after that one.
fn online_after(bench: &Bench, event: i64, count: u64) -> Option<Instant> {
    let by = Instant::now() + PATIENCE;
    while Instant::now() < by {
        let query = "SELECT count(DISTINCT agent_id) FROM presence_events WHERE rowid > ?1 AND status = 'online'";
        let online: i64 = database(bench).query_row(query, [event], |row| row.get(0)).unwrap();
        if online.cast_unsigned() >= count {
            return Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    None
}

fn events(bench: &Bench) -> i64 {
    let query = "SELECT coalesce(max(rowid), 0) FROM presence_events";
    database(bench).query_row(query, [], |row| row.get(0)).unwrap()
}

fn database(bench: &Bench) -> rusqlite::Connection {
    rusqlite::Connection::open(bench.data().join("onsembl.db")).unwrap()
}
