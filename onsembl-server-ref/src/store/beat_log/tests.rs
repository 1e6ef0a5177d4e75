//! The log against a model: what is newest of each agent, whatever is committed, undone or read again.

use super::super::schema::open_writer;
use super::super::wall_now;
use super::*;
use std::collections::BTreeMap;
use tempfile::TempDir;

const USER: &str = "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities, epoch, status,
                        since, because, presence_version, created_at)
                    VALUES (?1, 'u', ?1, 'n', 't', '[]', 1, 'online', 0, '', 1, 0)";

type Known = BTreeMap<AgentId, (Epoch, WallTime, Option<String>)>;

fn with_agents(count: usize) -> (TempDir, Connection, Vec<AgentId>) {
    let dir = tempfile::tempdir().unwrap();
    let db = open_writer(dir.path(), wall_now()).unwrap();
    db.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let agents: Vec<_> = (0..count).map(|n| AgentId::new(format!("agent {n}"))).collect();
    for agent in &agents {
        let _ = db.execute(USER, [agent.as_str()]).unwrap();
    }
    (dir, db, agents)
}

/// As a reader sees it: the log over the rows.
fn read(db: &Connection, last: &LastBeats) -> Known {
    let logged = last.of(None);
    let mut query =
        db.prepare("SELECT agent_id, last_heartbeat, last_metrics FROM agents").unwrap();
    let rows = query
        .query_map([], |row| {
            Ok((
                AgentId::new(row.get::<_, String>(0)?),
                row.get::<_, Option<i64>>(1)?.map(WallTime::from_unix_millis),
                row.get::<_, Option<String>>(2)?,
            ))
        })
        .unwrap();
    rows.filter_map(|row| {
        let (agent, at, metrics) = row.unwrap();
        let of_log = logged.get(&agent);
        let at = of_log.map(|last| last.at).or(at)?;
        let metrics =
            of_log.and_then(|last| last.metrics.as_deref().map(str::to_owned)).or(metrics);
        Some((agent, (Epoch(1), at, metrics)))
    })
    .collect()
}

fn slots(db: &Connection) -> usize {
    let count: i64 = db.query_row("SELECT count(*) FROM beat_log", [], |row| row.get(0)).unwrap();
    count as usize
}

fn add(log: &mut BeatLog, db: &Connection, agent: &AgentId, at: i64, metrics: Option<&str>) {
    log.add(db, agent, Epoch(1), WallTime::from_unix_millis(at), metrics).unwrap();
}

#[test]
fn the_log_says_what_a_model_says_whatever_fails_and_ends() {
    fastrand::seed(11);
    for round in 0..12 {
        let (_dir, db, agents) = with_agents(1 + fastrand::usize(..400));
        let (mut log, mut known, mut now) = (BeatLog::open(&db).unwrap(), Known::new(), 0);
        for _ in 0..150 {
            let mut then = known.clone();
            db.execute_batch("BEGIN").unwrap();
            // Some beat often, and some hardly ever.
            for _ in 0..fastrand::usize(1..40) {
                let at = fastrand::usize(..agents.len());
                let at = if round % 2 == 0 { at } else { at * at / agents.len() };
                now += fastrand::i64(0..2000);
                let length = fastrand::usize(..if round == 3 { 6000 } else { 120 });
                let metrics = fastrand::bool().then(|| format!("{now}{}", " ".repeat(length)));
                add(&mut log, &db, &agents[at], now, metrics.as_deref());
                let entry = then.entry(agents[at].clone());
                let entry = entry.or_insert((Epoch(1), WallTime::default(), None));
                entry.1 = WallTime::from_unix_millis(now);
                entry.2 = metrics.or_else(|| entry.2.take());
            }
            log.write(&db).unwrap();
            assert_eq!(read(&Connection::open(db.path().unwrap()).unwrap(), &log.last), known);
            if fastrand::u8(..5) == 0 {
                db.execute_batch("ROLLBACK").unwrap();
                log.failed();
            } else {
                db.execute_batch("COMMIT").unwrap();
                log.committed();
                known = then;
            }
            if fastrand::u8(..8) == 0 {
                log = BeatLog::open(&db).unwrap();
            }
            assert_eq!(read(&db, &log.last), known);
        }
    }
}

#[test]
fn a_log_stays_as_large_as_its_agents_make_it() {
    let (_dir, db, agents) = with_agents(500);
    let mut log = BeatLog::open(&db).unwrap();
    let metrics = "x".repeat(85);
    let mut most = 0;
    for lap in 0..40 {
        db.execute_batch("BEGIN").unwrap();
        for agent in &agents {
            add(&mut log, &db, agent, lap * 1000, Some(&metrics));
        }
        log.write(&db).unwrap();
        db.execute_batch("COMMIT").unwrap();
        log.committed();
        most = most.max(slots(&db));
    }
    assert_eq!(most, slots(&db));
    assert!((10..=30).contains(&most), "{most} slots for 55 kB that are newest");
    let rows: i64 =
        db.query_row("SELECT count(last_heartbeat) FROM agents", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0, "who beats costs no page of its own");
}

#[test]
fn what_was_silent_for_long_is_in_its_row() {
    let (_dir, db, agents) = with_agents(2);
    let mut log = BeatLog::open(&db).unwrap();
    let mut commit = |agent: &AgentId, from: i64, beats: i64| {
        db.execute_batch("BEGIN").unwrap();
        for n in 0..beats {
            add(&mut log, &db, agent, from + n * 100, Some("{}"));
        }
        log.write(&db).unwrap();
        db.execute_batch("COMMIT").unwrap();
        log.committed();
        log.last.of(None).len()
    };
    assert_eq!(commit(&agents[0], 1, 1), 1);
    assert_eq!(commit(&agents[1], 1, 1), 2);
    for n in 0..20 {
        let _ = commit(&agents[1], n * 100_000, 1000);
    }
    assert_eq!(commit(&agents[1], 3_000_000, 1), 1, "the other went");
    let row: Option<i64> = db
        .query_row("SELECT last_heartbeat FROM agents WHERE agent_id = 'agent 0'", [], |r| r.get(0))
        .unwrap();
    assert_eq!(row, Some(1));
    assert_eq!(slots(&db), LEAST_SLOTS);
}

#[test]
fn only_agents_in_this_session_are_present() {
    let (_dir, db, agents) = with_agents(1);
    assert!(is_present(&db, &agents[0], Epoch(1)).unwrap());
    assert!(!is_present(&db, &agents[0], Epoch(2)).unwrap());
    assert!(!is_present(&db, &AgentId::new("x"), Epoch(1)).unwrap());
}
