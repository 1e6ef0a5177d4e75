//! A proxy through which the agent connects by CONNECT, with credentials, and the faults of such a proxy.

use crate::Case;
use crate::bench::{Bench, FAST, Running, server_binary};
use crate::programs::{ADDRESS, Need, find, free_port, listening};
use std::net::TcpListener;
use std::process::Command;

const NEEDS: &[Need] = &[Need::Tinyproxy, Need::Network];

pub const CASES: &[Case] = &[
    Case { name: "connect/credentials", needs: NEEDS, run: credentials },
    Case { name: "connect/faults-of-the-proxy", needs: NEEDS, run: faults },
    Case { name: "connect/exceptions", needs: NEEDS, run: exceptions },
];

const PASSWORD: &str = "gro55-geheim";

pub struct Tinyproxy {
    pub address: String,
    #[allow(dead_code, reason = "ends with this")]
    running: Running,
}

impl Tinyproxy {
    fn start(bench: &Bench, name: &str, options: &str) -> Self {
        let port = free_port(ADDRESS);
        Self::start_at(bench, name, port, options)
    }

    pub fn start_at(bench: &Bench, name: &str, port: u16, options: &str) -> Self {
        let address = format!("{ADDRESS}:{port}");
        let file = bench.folder.path().join(format!("{name}.conf"));
        let conf = format!(
            "Port {port}\nListen {ADDRESS}\nTimeout 60\nMaxClients 20\nLogLevel Info\n{options}\n"
        );
        std::fs::write(&file, conf).unwrap();
        let mut command = Command::new(find("tinyproxy").unwrap());
        command.arg("-d").arg("-c").arg(&file).stdout(std::process::Stdio::null());
        let running = listening(&mut command, &address);
        Self { address, running }
    }

    fn url(&self, user: &str) -> String {
        format!("http://{user}@{}", self.address)
    }
}

fn bench() -> Bench {
    Bench::listening(&format!("{ADDRESS}:0"), FAST, &[])
}

/// Configured by the environment and by the flag, for agents and for clients.
fn credentials() {
    let bench = bench();
    let basic = format!("BasicAuth ann {PASSWORD}");
    let proxy = Tinyproxy::start(&bench, "proxy", &basic);
    let url = proxy.url(&format!("ann:{PASSWORD}"));
    let by_environment = bench.agent_at(&bench.url(), "env").env("http_proxy", &url).spawn();
    let by_flag = bench.agent_at(&bench.url(), "flag").args(["--proxy", &url]).spawn();
    let _agents = [by_environment, by_flag].map(|agent| Running(agent.unwrap()));
    for name in ["env", "flag"] {
        let _ = bench.await_status(name, "online");
        let said = Command::new(server_binary())
            .args(["exec", "--server", &bench.url(), "--proxy", &url, name, "--", "echo here"])
            .env("ONSEMBL_TOKEN", &bench.dashboard_token)
            .output()
            .unwrap();
        assert_eq!(said.stdout, b"here\n", "{name}: {said:?}");
    }
    let work = bench.start_work("flag");
    let port: u16 = proxy.address.rsplit_once(':').unwrap().1.parse().unwrap();
    // The proxy is restarted with another password, then with the right one.
    drop(proxy);
    let other = Tinyproxy::start_at(&bench, "other", port, "BasicAuth ann another");
    bench.tells_why("flag", "the proxy requires credentials");
    work.goes_on();
    drop(other);
    let _proxy = Tinyproxy::start_at(&bench, "again", port, &basic);
    let _ = bench.await_status("flag", "online");
    let _ = work.ends_whole();
    for name in ["env.log", "flag.log", "server.log"] {
        assert!(!bench.log(name).contains(PASSWORD), "{name} holds the password");
    }
}

/// A fault at a proxy names the proxy and the request; each fault has its own text.
fn faults() {
    let mut bench = bench();
    let gone = format!("{ADDRESS}:{}", free_port(ADDRESS));
    let silent = TcpListener::bind((ADDRESS, 0)).unwrap();
    let at_silent = silent.local_addr().unwrap().to_string();
    let locked = Tinyproxy::start(&bench, "locked", &format!("BasicAuth ann {PASSWORD}"));
    let filtering = Tinyproxy::start(&bench, "filtering", "ConnectPort 443");
    let open = Tinyproxy::start(&bench, "open", "");
    let of = |proxy: &Tinyproxy| format!("http://{}", proxy.address);
    let cases = [
        ("locked", of(&locked), "answered HTTP 407"),
        ("filtered", of(&filtering), "answered HTTP 403"),
        ("gone", format!("http://{gone}"), "refused"),
        ("silent", format!("http://{at_silent}"), "the proxy did not answer"),
        ("socks", format!("socks5://ann:{PASSWORD}@{gone}"), "SOCKS"),
        ("unreached", of(&open), "answered HTTP 5"),
        ("no-tls", of(&open).replace("http:", "https:"), "the TLS handshake was not finished"),
    ];
    // Only the last two get far enough for that to matter.
    bench.server = None;
    let agents: Vec<_> = cases
        .iter()
        .map(|(name, proxy, _)| {
            let mut command = bench.agent_at(&bench.url(), name);
            Running(command.env("ALL_PROXY", proxy).spawn().unwrap())
        })
        .collect();
    for (name, proxy, why) in &cases {
        bench.tells_why(name, why);
        let because = bench.status(name)["because"].as_str().unwrap().to_owned();
        let shown =
            proxy.rsplit_once('@').map_or(proxy.trim_start_matches("http://"), |_| "ALL_PROXY");
        let shown = shown.trim_start_matches("https://");
        assert!(because.contains(shown), "{name} does not name its proxy: {because}");
        assert!(!bench.log(&format!("{name}.log")).contains(PASSWORD), "{name}");
    }
    bench.start_server();
    let _ = bench.await_status("unreached", "online");
    drop(agents);
}

/// `NO_PROXY` in the forms that people write. The proxy itself refuses everything.
fn exceptions() {
    let bench = bench();
    let gone = format!("http://{ADDRESS}:{}", free_port(ADDRESS));
    let port = bench.address.rsplit_once(':').unwrap().1;
    let forms = [
        ADDRESS.to_owned(),
        "10.9.0.0/16".to_owned(),
        "localhost, 10.9.9.9 ,example.test".to_owned(),
        format!("{ADDRESS}:{port}"),
        "*".to_owned(),
    ];
    let agents: Vec<_> = forms
        .iter()
        .enumerate()
        .map(|(n, form)| {
            let mut command = bench.agent_at(&bench.url(), &format!("form-{n}"));
            Running(command.env("ALL_PROXY", &gone).env("NO_PROXY", form).spawn().unwrap())
        })
        .collect();
    for n in 0..forms.len() {
        let _ = bench.await_status(&format!("form-{n}"), "online");
    }
    drop(agents);
    let other = format!("{ADDRESS}:1");
    let mut command = bench.agent_at(&bench.url(), "other-port");
    let _other = Running(command.env("ALL_PROXY", &gone).env("NO_PROXY", other).spawn().unwrap());
    bench.tells_why("other-port", "refused");
}
