//! `onsembl attach` under a terminal of its own: what is typed arrives, what is shown is right, and the terminal
//! of the one who attaches is afterwards as it was.

use crate::bench::{Bench, PATIENCE, Running, eventually};
use crate::relay::Relay;
use onsembl_protocol::time::WallTime;
use pty_process::Size;
use pty_process::blocking::{Command, Pts, Pty, open};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Ctrl-].
const DETACH: &[u8] = b"\x1d";

/// A person at a terminal.
struct Seat {
    pty: Arc<Pty>,
    /// Held open, so that it stays as it is left.
    pts: Pts,
    child: Running,
    seen: Arc<Mutex<Vec<u8>>>,
    looks: Arc<AtomicBool>,
}

impl Seat {
    fn attach(bench: &Bench, server: &str, of: &str, options: &[&str]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(30, 100)).unwrap();
        let mut command = Command::new(bench.client().get_program());
        command = command.arg("attach").args(options).arg(of).args(["--server", server]);
        command = command.env("ONSEMBL_TOKEN", &bench.dashboard_token).env("USER", "ann");
        let child = Running(command.spawn_borrowed(&pts).unwrap());
        let (pty, seen) = (Arc::new(pty), Arc::new(Mutex::new(Vec::new())));
        let looks = Arc::new(AtomicBool::new(true));
        let (read, into, may) = (Arc::clone(&pty), Arc::clone(&seen), Arc::clone(&looks));
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                if !may.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
                match (&*read).read(&mut buffer) {
                    Ok(n @ 1..) => into.lock().unwrap().extend_from_slice(&buffer[..n]),
                    Ok(0) | Err(_) => return,
                }
            }
        });
        Self { pty, pts, child, seen, looks }
    }

    fn at(bench: &Bench, options: &[&str]) -> Self {
        Self::attach(bench, &bench.url(), "ada", options)
    }

    fn types(&self, keys: &[u8]) {
        (&*self.pty).write_all(keys).unwrap();
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn awaits(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen().contains(what) {
            assert!(Instant::now() < deadline, "never saw {what}: {}", self.seen().escape_debug());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.pts).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Leaves, and is at a terminal as it was.
    fn leaves(&mut self) {
        assert!(self.is_raw());
        self.types(DETACH);
        assert_eq!(self.child.wait().code(), Some(0), "{}", self.seen());
        assert!(!self.is_raw(), "the terminal is as it was");
    }
}

fn terminal(bench: &Bench, program: &str) -> Running {
    let mut command = bench.agent_command("ada");
    command.args(["--runner", "terminal", "--", "/bin/sh", "-c", program]);
    let running = Running(command.spawn().unwrap());
    bench.await_status("ada", "online");
    eventually("a terminal runs", || id(bench).is_some());
    running
}

fn id(bench: &Bench) -> Option<String> {
    let listed = bench.ask(&["commands", "--json"]);
    let listing: Value = serde_json::from_slice(&listed.stdout).ok()?;
    let all = listing["commands"].as_array()?;
    let terminal = all.iter().find(|command| command["status"] == "running")?;
    Some(terminal["command_id"].as_str()?.to_owned())
}

fn screen(bench: &Bench) -> String {
    String::from_utf8_lossy(&bench.ask(&["screen", "ada", "--text"]).stdout).into_owned()
}

fn holds(bench: &Bench, id: &str) -> Vec<Value> {
    let shown = bench.ask(&["commands", id, "--json"]);
    let detail: Value = serde_json::from_slice(&shown.stdout).unwrap();
    detail["keyboard"].as_array().cloned().unwrap_or_default()
}

#[test]
fn what_is_typed_arrives_and_is_written_nowhere() {
    let bench = Bench::start();
    let program =
        "stty -echo; echo ready; while read -r line; do echo heard ${#line}; stty size; done";
    let _ada = terminal(&bench, program);
    let id = id(&bench).unwrap();
    let mut seat = Seat::at(&bench, &[]);
    seat.awaits("ready");
    eventually("the keyboard is held", || !holds(&bench, &id).is_empty());
    seat.types(b"hunter2-opensesame\r");
    seat.awaits("heard 18");
    // It has the size of the one who types, also when that changes.
    seat.types(b"\r");
    seat.awaits("30 100");
    seat.pty.resize(Size::new(40, 120)).unwrap();
    let sized = || {
        seat.types(b"\r");
        thread::sleep(Duration::from_millis(100));
        seat.seen().contains("40 120")
    };
    eventually("it follows", sized);
    seat.leaves();
    seat.awaits("which keeps running");
    eventually("the hold is recorded", || holds(&bench, &id)[0]["ended_at"].is_string());
    let hold = &holds(&bench, &id)[0];
    assert_eq!((&hold["name"], &hold["because"]), (&"ann".into(), &"released".into()), "{hold}");
    assert!(hold["bytes"].as_u64().unwrap() >= 20, "{hold}");
    let shown = bench.ask(&["commands", &id]).stdout;
    assert!(String::from_utf8_lossy(&shown).contains("KEYBOARD HELD BY"));

    // Neither in the database, nor in a log, nor in the files of the agent.
    let mut folders = vec![bench.folder.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    files += 1;
                    for form in [&b"opensesame"[..], b"aHVudGVyMi1vcGVuc2VzYW1l"] {
                        let found = bytes.windows(form.len()).any(|window| window == form);
                        assert!(!found, "{}", entry.path().display());
                    }
                }
            }
        }
    }
    assert!(files > 2, "the database and both logs are there");
}

#[test]
fn one_types_at_a_time_and_all_see_it() {
    let bench = Bench::start();
    let _ada =
        terminal(&bench, "stty -echo; echo ready; while read -r line; do echo heard:$line; done");
    let mut first = Seat::at(&bench, &["--name", "first"]);
    first.awaits("ready");
    first.types(b"one\r");
    first.awaits("heard:one");
    let mut second = Seat::at(&bench, &["--name", "second"]);
    second.awaits("held by first");
    second.awaits("heard:one");
    second.types(b"nothing\r");
    first.types(b"two\r");
    second.awaits("heard:two");
    let mut third = Seat::at(&bench, &["--name", "third", "--take"]);
    third.awaits("heard:two");
    first.awaits("third holds the keyboard");
    third.types(b"three\r");
    first.awaits("heard:three");
    first.types(b"stolen\r");
    let mut looks = Seat::at(&bench, &["--view"]);
    looks.awaits("heard:three");
    for seat in [&mut third, &mut second, &mut first, &mut looks] {
        seat.leaves();
    }
    assert!(!screen(&bench).contains("nothing") && !screen(&bench).contains("stolen"));
}

#[test]
fn a_late_viewer_begins_with_the_screen_and_the_terminal_is_restored_by_a_signal() {
    let bench = Bench::start();
    let program = "seq 1 100000; printf '\\033[?1049h\\033[?25l\\033[2J\\033[Hnow this'; while :; do sleep 1; done";
    let _ada = terminal(&bench, program);
    eventually("it is shown", || screen(&bench).contains("now this"));
    let mut seat = Seat::at(&bench, &[]);
    seat.awaits("now this");
    assert!(seat.seen.lock().unwrap().len() < 16 * 1024, "not all that was ever written");
    assert!(seat.is_raw());
    seat.child.signal("-TERM");
    assert_eq!(seat.child.wait().code(), Some(143));
    assert!(!seat.is_raw(), "the terminal is as it was");
    // A dump switches by the older form.
    eventually("the other screen is left", || {
        ["\x1b[?1047l", "\x1b[?1049l"].iter().any(|leave| seat.seen().contains(leave))
    });
    let seen = seat.seen();
    assert!(seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l"), "the cursor is shown again");
}

#[test]
fn a_lost_link_is_dialled_again_and_nothing_is_shown_twice_or_not_at_all() {
    let bench = Bench::start();
    let relay = Relay::to(&bench.address);
    let program =
        "stty -echo; echo ready; n=0; while read -r line; do n=$((n+1)); echo \"<$n:$line>\"; done";
    let _ada = terminal(&bench, program);
    let server = format!("http://{}", relay.address);
    let mut seat = Seat::attach(&bench, &server, "ada", &[]);
    seat.awaits("ready");
    seat.types(b"a\r");
    seat.awaits("<1:a>");
    relay.cut();
    seat.awaits("lost the link to the server");
    seat.awaits("the link to the server is back");
    let typed = bench.exec("ada", "meanwhile");
    assert!(typed.status.success(), "{typed:?}");
    seat.awaits(":meanwhile>");
    let id = id(&bench).unwrap();
    eventually("the keyboard is held again", || {
        holds(&bench, &id).iter().any(|hold| hold["ended_at"].is_null())
    });
    seat.types(b"b\r");
    seat.awaits("<3:b>");
    seat.leaves();
}

#[test]
fn who_is_far_behind_gets_the_screen_and_is_told_what_was_skipped() {
    let bench = Bench::start();
    let program = "stty -echo; echo ready; read -r go; seq 1 600000; echo the end; read -r go";
    let _ada = terminal(&bench, program);
    let mut seat = Seat::at(&bench, &[]);
    seat.awaits("ready");
    let id = id(&bench).unwrap();
    eventually("the keyboard is held", || !holds(&bench, &id).is_empty());
    seat.looks.store(false, Ordering::SeqCst);
    seat.types(b"\r");
    eventually("all is written", || screen(&bench).contains("the end"));
    seat.looks.store(true, Ordering::SeqCst);
    seat.awaits("bytes were skipped here");
    seat.awaits("the end");
    let shown = seat.seen.lock().unwrap().len();
    assert!(shown < 1024 * 1024, "{shown}");
    seat.leaves();
}

/// What waits on the way does not have to be shown first: the sockets and the relay between would hold all of it.
#[test]
fn over_a_slow_link_the_present_is_shown_and_not_what_was_written_long_ago() {
    let bench = Bench::start();
    let relay = Relay::to(&bench.address);
    let program =
        "stty -echo; echo ready; read -r go; seq 1000001 1300000; echo the end; read -r go";
    let _ada = terminal(&bench, program);
    let mut seat = Seat::attach(&bench, &format!("http://{}", relay.address), "ada", &[]);
    seat.awaits("ready");
    let id = id(&bench).unwrap();
    eventually("the keyboard is held", || !holds(&bench, &id).is_empty());
    relay.slow_down(100_000);
    seat.types(b"\r");
    eventually("all is written", || screen(&bench).contains("the end"));
    let written = Instant::now();
    seat.awaits("the end");
    // 2.4 MB would take 24 s.
    let (took, shown) = (written.elapsed(), seat.seen.lock().unwrap().len());
    println!("over 100 kB/s the end was seen after {took:?}, and {shown} bytes were shown");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(shown < 1024 * 1024, "{shown}");
    assert!(seat.seen().contains("bytes were skipped here"));
    relay.slow_down(0);
    seat.leaves();
}

#[test]
fn a_server_that_is_killed_while_a_keyboard_is_held_leaves_no_hold_open() {
    let mut bench = Bench::start();
    let program = "stty -echo; echo ready; while read -r line; do echo heard:$line; done";
    let _ada = terminal(&bench, program);
    let id = id(&bench).unwrap();
    let relay = Relay::to(&bench.address);
    let mut seat = Seat::attach(&bench, &format!("http://{}", relay.address), "ada", &[]);
    seat.awaits("ready");
    eventually("the keyboard is held", || !holds(&bench, &id).is_empty());
    seat.types(b"one\r");
    seat.awaits("heard:one");
    // What was typed is counted while the hold lasts.
    eventually("it is counted", || holds(&bench, &id)[0]["bytes"].as_u64() >= Some(4));
    assert!(holds(&bench, &id)[0]["ended_at"].is_null());
    bench.server.take().expect("running").signal("-KILL");
    seat.awaits("lost the link to the server");
    let killed = now();
    bench.start_server();
    relay.point_to(&bench.address);
    let hold = || holds(&bench, &id).first().cloned().unwrap_or_default();
    eventually("the hold is over", || hold()["ended_by"].is_string());
    let left = hold();
    assert!(left["ended_at"].is_null(), "nobody knows when: {left}");
    assert!(left["because"].as_str().unwrap().contains("server ended"), "{left}");
    assert!(left["bytes"].as_u64() >= Some(4), "{left}");
    let by = left["ended_by"].as_str().unwrap();
    assert!(by >= killed.as_str(), "at the latest {by}, and it was there until {killed}");
    let shown = bench.ask(&["commands", &id]).stdout;
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("at the latest") && shown.contains("at least"), "{shown}");
    // Nobody is kept out: whoever was attached has it again.
    seat.awaits("the link to the server is back");
    eventually("it is held again", || {
        let all = holds(&bench, &id);
        all.iter().any(|hold| hold["ended_at"].is_null() && hold["ended_by"].is_null())
    });
    seat.types(b"two\r");
    seat.awaits("heard:two");
    seat.leaves();
}

/// As the server writes times.
fn now() -> String {
    let now = std::time::SystemTime::now();
    let millis = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    WallTime::from_unix_millis(i64::try_from(millis).unwrap()).to_string()
}

/// Under a flood that the viewer can follow, what is typed comes back soon.
#[test]
fn an_echo_does_not_wait_behind_a_flood() {
    let bench = Bench::start();
    let flood = "while :; do head -c 32768 /dev/zero | tr '\\0' .; sleep 0.02; done";
    let program = format!("stty raw -echo; echo ready; ({flood}) & exec cat");
    let _ada = terminal(&bench, &program);
    let mut seat = Seat::at(&bench, &["--keep-size"]);
    seat.awaits("....");
    let id = id(&bench).unwrap();
    eventually("the keyboard is held", || !holds(&bench, &id).is_empty());
    let mut took = Vec::new();
    for n in 0..100_u8 {
        let key = b'A' + n % 26;
        let from = seat.seen.lock().unwrap().len();
        let begun = Instant::now();
        seat.types(&[key]);
        while !seat.seen.lock().unwrap()[from..].contains(&key) {
            assert!(begun.elapsed() < PATIENCE, "{key} never came back");
            thread::sleep(Duration::from_micros(500));
        }
        took.push(begun.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    took.sort();
    let (half, p99) = (took[50], took[98]);
    println!("echo under a flood: half within {half:?}, p99 {p99:?}");
    // A build without optimisation, on a machine that runs other tests, is to show only that it does not queue.
    let most = if cfg!(debug_assertions) { 1000 } else { 50 };
    assert!(p99 <= Duration::from_millis(most), "{p99:?}, half within {half:?}");
    seat.leaves();
}

#[test]
fn exec_waits_for_the_answer_and_prints_it_as_text() {
    let bench = Bench::start();
    let program = "stty -echo; echo before; while read -r line; do sleep 1; printf '\\033[32mheard\\033[0m %s\\n' \"$line\"; if [ \"$line\" = ring ]; then printf '\\007'; fi; done";
    let _ada = terminal(&bench, program);
    eventually("it is shown", || screen(&bench).contains("before"));
    let waits = |wait: &str, text: &str| {
        let begun = Instant::now();
        let answer = bench.exec_command("ada", &[wait], text).output().unwrap();
        assert!(answer.status.success(), "{answer:?}");
        (String::from_utf8_lossy(&answer.stdout).into_owned(), begun.elapsed())
    };
    assert_eq!(waits("--wait", "a text").0, "heard a text\n");
    let (answer, took) = waits("--wait=60", "ring");
    assert_eq!(answer, "heard ring\n");
    assert!(took < Duration::from_secs(50), "a bell asks for somebody: {took:?}");
}
