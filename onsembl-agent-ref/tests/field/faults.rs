//! Every way in which a dial fails that can be had on one machine: the status names each by its id, on what it
//! failed, and what the system or the other side said.

use crate::Case;
use crate::bench::{Bench, FAST, Running, eventually};
use crate::programs::{ADDRESS, Need, SWALLOWS, free_port, put_in_place_of};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;

pub const CASES: &[Case] =
    &[Case { name: "faults/each-is-named", needs: &[Need::Network], run: each_is_named }];

/// A name server: it knows `control.test`, nothing else, and fails for names that begin with `fails`.
fn name_server() {
    let socket = UdpSocket::bind((ADDRESS, 53)).unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut query) {
            let query = &query[..length];
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let first = &query[13..13 + usize::from(query[12])];
            let is_ipv4 = query[end - 4..end - 2] == [0, 1];
            let (code, count) = match first {
                b"control" if is_ipv4 => (0, 1),
                b"control" => (0, 0),
                b"fails" => (2, 0),
                _ => (3, 0),
            };
            let mut answer =
                [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
            answer.extend(&query[12..end]);
            if count == 1 {
                let octets = ADDRESS.parse::<std::net::Ipv4Addr>().unwrap().octets();
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(octets);
            }
            let _ = socket.send_to(&answer, peer);
        }
    });
}

/// Says this to everybody, before or behind what it reads.
fn says(before: &'static str, behind: &'static str) -> u16 {
    let listener = TcpListener::bind((ADDRESS, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, before, behind));
        }
    });
    port
}

fn answer(mut stream: TcpStream, before: &str, behind: &str) {
    let _ = stream.write_all(before.as_bytes());
    let _ = stream.read(&mut [0; 4096]);
    match behind {
        "silence" => thread::sleep(std::time::Duration::from_secs(60)),
        text => drop(stream.write_all(text.as_bytes())),
    }
}

fn each_is_named() {
    let bench = Bench::listening(&format!("{ADDRESS}:0"), FAST, &[]);
    let conf = bench.folder.path().join("resolv.conf");
    std::fs::write(&conf, format!("nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")).unwrap();
    put_in_place_of(&conf, "/etc/resolv.conf");
    let hosts = bench.folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    put_in_place_of(&hosts, "/etc/hosts");
    name_server();
    let at = |port: u16| format!("http://control.test:{port}");
    let server: u16 = bench.address.rsplit_once(':').unwrap().1.parse().unwrap();
    let moved = "HTTP/1.1 301 x\r\nLocation: https://login.test/in?secret=1\r\n\r\n";
    let page = "HTTP/1.1 502 x\r\nServer: box/1\r\nContent-Length: 11\r\n\r\n<b>away</b>";
    let closed = free_port(ADDRESS);
    let cases: Vec<(&str, String, &str)> = vec![
        ("name-unknown", "http://nobody.test".into(), "nobody.test: Name or service not known"),
        ("name-unanswered", "http://fails.test".into(), "name server 10.9.9.9"),
        ("connect-refused", at(closed), "Connection refused (os error 111)"),
        (
            "no-route",
            "http://192.0.2.1".into(),
            "192.0.2.1:80: Network is unreachable (os error 101)",
        ),
        ("connect-timeout", format!("http://{SWALLOWS}"), "no answer to any attempt to connect"),
        ("redirected", at(says("", moved)), "to https://login.test/in;"),
        ("gateway", at(says("", page)), "(Server: box/1): away;"),
        ("refused-on-the-way", at(says("", "HTTP/1.1 403 x\r\n\r\nBlocked")), "Blocked"),
        ("no-websocket", at(says("", "HTTP/1.1 200 x\r\n\r\nlogin")), "HTTP 200 OK: login"),
        ("busy", at(says("", "HTTP/1.1 503 x\r\nRetry-After: 1\r\n\r\n")), "Retry-After of 1 s"),
        ("closed-unanswered", at(says("", "")), "closed without an answer"),
        ("unanswered", at(says("", "silence")), "accepted the connection, and sent nothing"),
        ("no-http", at(says("SSH-2.0-x\r\n", "")), "begins with \"SSH-2.0-x\""),
        ("no-tls", format!("https://control.test:{server}"), "use http or ws"),
        ("token-unknown", at(server), "was it copied completely?"),
    ];
    let agents: Vec<Running> = cases
        .iter()
        .map(|(cause, url, _)| {
            let mut command = bench.agent_at(url, cause);
            Running(command.env("ONSEMBL_TOKEN", "nonsense").spawn().unwrap())
        })
        .collect();
    for (cause, url, says) in &cases {
        let failure = || bench.status(cause)["last_failure"].clone();
        // It stands in `because` until the next dial begins.
        eventually(&format!("{cause} of {url} is named"), || {
            let status = bench.status(cause);
            let because = status["because"].as_str().unwrap_or_default();
            status["last_failure"]["cause"] == *cause && because.contains(says)
        });
        let text = failure()["text"].as_str().unwrap().to_owned();
        assert!(text.contains(says), "{cause}: {text}");
        assert!(!text.contains("secret"), "{cause}: {text}");
        let log = bench.log(&format!("{cause}.log"));
        assert!(log.contains(&format!("cause=\"{cause}\"")), "{cause}: {log}");
    }
    drop(agents);
}
