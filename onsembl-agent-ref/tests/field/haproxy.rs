//! haproxy in front of the server: over HTTP, and over TCP with the PROXY protocol.

use crate::Case;
use crate::bench::{Bench, FAST, Running, eventually};
use crate::programs::{Need, documented, find, free_port, listening};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const NEEDS: &[Need] = &[Need::Haproxy];

pub const CASES: &[Case] = &[
    Case { name: "haproxy/as-documented", needs: NEEDS, run: as_documented },
    Case { name: "haproxy/proxy-protocol", needs: NEEDS, run: proxy_protocol },
    Case { name: "haproxy/proxy-protocol-not-trusted", needs: NEEDS, run: not_trusted },
    Case { name: "haproxy/server-away", needs: NEEDS, run: server_away },
];

const TCP: &str = "mode tcp
    timeout client 10s
    timeout connect 5s
    timeout server 10s";

struct Haproxy {
    address: String,
    #[allow(dead_code, reason = "ends with this")]
    running: Running,
}

impl Haproxy {
    fn start(bench: &Bench, name: &str, conf: impl FnOnce(&str) -> String) -> Self {
        let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let file: PathBuf = bench.folder.path().join(format!("{name}.cfg"));
        std::fs::write(&file, conf(&address)).unwrap();
        let mut command = Command::new(find("haproxy").unwrap());
        command.arg("-db").arg("-f").arg(&file);
        let running = listening(&mut command, &address);
        Self { address, running }
    }

    /// Forwards connections, with `options` towards the server.
    fn passing(bench: &Bench, name: &str, options: &str) -> Self {
        Self::start(bench, name, |address| {
            format!(
                "listen onsembl\n    {TCP}\n    bind {address}\n    server one {} {options}\n",
                bench.address
            )
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn as_documented() {
    let bench = Bench::with(FAST, &["--trusted-proxy", "127.0.0.0/8"]);
    let haproxy = Haproxy::start(&bench, "documented", |address| {
        documented("haproxy", &bench.address).replace("bind :80", &format!("bind {address}"))
    });
    let _agent = bench.start_agent_at(&haproxy.url(), "dev");
    let before = bench.await_status("dev", "online");
    let work = bench.start_work("dev");
    sleep(Duration::from_secs(3));
    assert_eq!(before["since"], bench.await_status("dev", "online")["since"]);
    assert_eq!(work.ends_whole(), "");
}

/// Both versions of the header, which has the address of the client. A direct connection needs none.
fn proxy_protocol() {
    let bench = Bench::with(FAST, &["--trusted-proxy", "127.0.0.0/8"]);
    let ways = [("v1", "send-proxy"), ("v2", "send-proxy-v2"), ("none", "")];
    let _running: Vec<_> = ways
        .into_iter()
        .map(|(name, options)| {
            let haproxy = Haproxy::passing(&bench, name, options);
            let agent = bench.start_agent_at(&haproxy.url(), name);
            let _ = bench.await_status(name, "online");
            let said = bench.ask_at(&haproxy.url(), &["exec", name, "--", "echo here"]);
            assert_eq!(said.stdout, b"here\n", "{name}: {said:?}");
            (haproxy, agent)
        })
        .collect();
}

/// A server that does not trust the proxy reports it to the agent and to its operator.
fn not_trusted() {
    let bench = Bench::start();
    for (name, options) in [("v1", "send-proxy"), ("v2", "send-proxy-v2")] {
        let haproxy = Haproxy::passing(&bench, name, options);
        let _agent = bench.start_agent_at(&haproxy.url(), name);
        bench.tells_why(name, "--trusted-proxy");
    }
    assert!(bench.log("server.log").contains("--trusted-proxy"), "{}", bench.log("server.log"));
}

/// haproxy answers 503 by itself while there is no server.
fn server_away() {
    let mut bench = Bench::start();
    let haproxy = Haproxy::start(&bench, "away", |address| {
        documented("haproxy", &bench.address).replace("bind :80", &format!("bind {address}"))
    });
    let _agent = bench.start_agent_at(&haproxy.url(), "dev");
    let _ = bench.await_status("dev", "online");
    let work = bench.start_work("dev");
    bench.server = None;
    bench.tells_why("dev", "HTTP 503");
    work.goes_on();
    bench.start_server();
    let _ = bench.await_status("dev", "online");
    eventually("exec is back", || bench.exec("dev", "true").status.success());
    let _ = work.ends_whole();
}
