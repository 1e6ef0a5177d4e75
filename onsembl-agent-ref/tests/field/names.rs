//! Names and their addresses: a silent name server, a name with two addresses of which the first is unusable, an
//! address that changes.

use crate::Case;
use crate::bench::{Bench, FAST};
use crate::programs::{ADDRESS, Need, OTHER_ADDRESS, SWALLOWS, put_in_place_of};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

const NEEDS: &[Need] = &[Need::Network];

pub const CASES: &[Case] = &[
    Case { name: "names/silent-name-server", needs: NEEDS, run: silent_name_server },
    Case { name: "names/first-address-swallows", needs: NEEDS, run: first_swallows },
    Case { name: "names/first-address-refuses", needs: NEEDS, run: first_refuses },
    Case { name: "names/first-address-says-nothing", needs: NEEDS, run: first_says_nothing },
    Case { name: "names/first-address-answers-502", needs: NEEDS, run: first_answers },
    Case { name: "names/address-moves", needs: NEEDS, run: address_moves },
];

/// The hosts file of this case.
struct Hosts(PathBuf);

impl Hosts {
    fn new(bench: &Bench, lines: &str) -> Self {
        let file = bench.folder.path().join("hosts");
        std::fs::write(&file, lines).unwrap();
        put_in_place_of(&file, "/etc/hosts");
        Self(file)
    }

    fn are(&self, lines: &str) {
        std::fs::write(&self.0, lines).unwrap();
    }
}

fn bench() -> Bench {
    Bench::listening(&format!("{ADDRESS}:0"), FAST, &[])
}

fn port(bench: &Bench) -> u16 {
    bench.address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// The agent keeps asking, reports what it waits for, and ends at once when it is stopped.
fn silent_name_server() {
    let bench = bench();
    let silent = UdpSocket::bind((ADDRESS, 53)).unwrap();
    let conf = bench.folder.path().join("resolv.conf");
    std::fs::write(&conf, format!("nameserver {ADDRESS}\noptions timeout:15 attempts:3\n"))
        .unwrap();
    put_in_place_of(&conf, "/etc/resolv.conf");
    let mut agent = bench.start_agent_at(&format!("http://control.test:{}", port(&bench)), "dev");
    bench.tells_why("dev", "the host name could not be resolved: control.test");
    // Another lookup is in progress.
    let mut query = [0; 512];
    assert_ne!(silent.recv(&mut query).unwrap(), 0);
    let asked = Instant::now();
    agent.signal("-TERM");
    assert!(agent.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

/// The name has this address first and the server's second: the agent reaches the server, stays connected, and
/// connects faster the next time.
fn second_address(first: &str) {
    let bench = bench();
    let _hosts = Hosts::new(&bench, &format!("{first} control.test\n{ADDRESS} control.test\n"));
    let relay_port = port(&bench);
    let _agent = bench.start_agent_at(&format!("http://control.test:{relay_port}"), "dev");
    let _ = bench.await_status("dev", "online");
    let log = bench.log("dev.log");
    assert!(log.contains(&bench.address), "the log does not say where the link goes: {log}");
}

fn first_swallows() {
    let began = Instant::now();
    second_address(SWALLOWS);
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "this costs a quarter of a second, not a failed dial"
    );
}

fn first_refuses() {
    second_address(OTHER_ADDRESS);
}

/// The program on the first address takes connections on every port.
fn at_first(answer: &'static str) -> impl FnOnce(u16) {
    move |port| {
        let listener = TcpListener::bind((OTHER_ADDRESS, port)).unwrap();
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                if !answer.is_empty() {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(answer.as_bytes());
                }
                open.push(stream);
                if !answer.is_empty() {
                    open.clear();
                }
            }
        });
    }
}

fn second_address_behind(listen: impl FnOnce(u16)) {
    let bench = bench();
    let (address, port) = (bench.address.clone(), port(&bench));
    listen(port);
    let _hosts =
        Hosts::new(&bench, &format!("{OTHER_ADDRESS} control.test\n{ADDRESS} control.test\n"));
    let url = format!("http://control.test:{port}");
    let _agent = bench.start_agent_at(&url, "dev");
    let _ = bench.await_status("dev", "online");
    // Each of these is a process of its own, which has not learned that an address is of no use.
    for order in [&["agents"][..], &["stop", "--all"], &["release", "--all"]] {
        let mut client = bench.client();
        client.args(order).args(["--server", &url]).env("ONSEMBL_TOKEN", &bench.dashboard_token);
        let said = client.output().unwrap();
        assert!(said.status.success(), "{order:?}: {}", String::from_utf8_lossy(&said.stderr));
    }
    let work = bench.start_work("dev");
    // From now on the address that failed is tried last.
    bench.server().signal("-KILL");
    let mut bench = bench;
    bench.server = None;
    bench.tells_why("dev", &address);
    bench.start_server();
    let _ = bench.await_status("dev", "online");
    let _ = work.ends_whole();
}

fn first_says_nothing() {
    second_address_behind(at_first(""));
}

fn first_answers() {
    second_address_behind(at_first("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"));
}

/// The server moves to another address while an agent is in session and runs a command.
fn address_moves() {
    let mut bench = bench();
    let port = port(&bench);
    let hosts = Hosts::new(&bench, &format!("{ADDRESS} control.test\n"));
    let _agent = bench.start_agent_at(&format!("http://control.test:{port}"), "dev");
    let _ = bench.await_status("dev", "online");
    let work = bench.start_work("dev");
    bench.server = None;
    bench.address = format!("{OTHER_ADDRESS}:{port}");
    hosts.are(&format!("{OTHER_ADDRESS} control.test\n"));
    bench.start_server();
    let _ = bench.await_status("dev", "online");
    work.goes_on();
    let log = bench.log("dev.log");
    assert!(log.contains(&bench.address), "{log}");
}
