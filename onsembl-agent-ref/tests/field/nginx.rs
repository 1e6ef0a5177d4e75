//! nginx in front of the server in common set-ups: correct, incorrect, under a prefix, with short time-outs, during a
//! reload, and when it answers in place of the server.

use crate::Case;
use crate::bench::{Bench, FAST, Running, Times, eventually};
use crate::programs::{Need, documented, find, free_port, listening};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case { name: "nginx/as-documented", needs: &[Need::Nginx], run: as_documented },
    Case { name: "nginx/http-1.0-upstream", needs: &[Need::Nginx], run: http_1_0_upstream },
    Case { name: "nginx/no-upgrade-headers", needs: &[Need::Nginx], run: no_upgrade_headers },
    Case { name: "nginx/path-prefix", needs: &[Need::Nginx], run: path_prefix },
    Case { name: "nginx/idle-timeout-above-interval", needs: &[Need::Nginx], run: patient },
    Case { name: "nginx/idle-timeout-below-interval", needs: &[Need::Nginx], run: impatient },
    Case { name: "nginx/reload", needs: &[Need::Nginx], run: reload },
    Case { name: "nginx/answers-in-the-servers-place", needs: &[Need::Nginx], run: answers },
];

/// The directives that forward WebSockets, without the braces.
fn passing(upstream: &str) -> String {
    format!(
        "proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection \"upgrade\";"
    )
}

struct Nginx {
    address: String,
    conf: PathBuf,
    running: Running,
}

impl Nginx {
    /// One server with these locations.
    fn start(bench: &Bench, locations: &str) -> Self {
        let folder = bench.folder.path().join("nginx");
        std::fs::create_dir(&folder).unwrap();
        let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let conf = folder.join("nginx.conf");
        std::fs::write(&conf, Self::conf(&address, locations)).unwrap();
        let mut command = Command::new(find("nginx").unwrap());
        command.arg("-p").arg(&folder).arg("-c").arg(&conf).args(["-e", "error.log"]);
        let running = listening(&mut command, &address);
        Self { address, conf, running }
    }

    fn conf(address: &str, locations: &str) -> String {
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let user = if is_root { "user root;" } else { "" };
        format!(
            "{user} daemon off; worker_processes 1; worker_shutdown_timeout 1s; pid nginx.pid;
             events {{ worker_connections 256; }}
             http {{ access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c;
                     uwsgi_temp_path d; scgi_temp_path e;
                     server {{ listen {address}; {locations} }} }}"
        )
    }

    /// Reloads with other locations. Open connections last for another second.
    fn reload(&self, locations: &str) {
        std::fs::write(&self.conf, Self::conf(&self.address, locations)).unwrap();
        self.running.signal("-HUP");
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn as_documented() {
    let bench = Bench::start();
    let nginx = Nginx::start(&bench, &documented("nginx", &bench.address));
    let _agent = bench.start_agent_at(&nginx.url(), "dev");
    let before = bench.await_status("dev", "online");
    let said = bench.ask_at(&nginx.url(), &["exec", "dev", "--", "seq 3"]);
    assert_eq!(said.stdout, b"1\n2\n3\n", "{said:?}");
    sleep(Duration::from_secs(3));
    let after = bench.await_status("dev", "online");
    assert_eq!(before["since"], after["since"], "one session, despite the idle time-out of nginx");
}

/// By default nginx speaks HTTP/1.0 to the server, which cannot be upgraded.
fn http_1_0_upstream() {
    let bench = Bench::start();
    let right = format!("location / {{ {} }}", passing(&bench.url()));
    let wrong = right.replace("proxy_http_version 1.1;", "");
    let nginx = Nginx::start(&bench, &wrong);
    let _agent = bench.start_agent_at(&nginx.url(), "dev");
    bench.tells_why("dev", "proxy_http_version 1.1");
    let said = bench.ask_at(&nginx.url(), &["exec", "dev", "--", "true"]);
    let printed = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(printed.contains("proxy_http_version 1.1"), "{printed}");
    nginx.reload(&right);
    let _ = bench.await_status("dev", "online");
}

fn no_upgrade_headers() {
    let bench = Bench::start();
    let right = format!("location / {{ {} }}", passing(&bench.url()));
    let wrong = format!("location / {{ proxy_pass {}; proxy_http_version 1.1; }}", bench.url());
    let nginx = Nginx::start(&bench, &wrong);
    let _agent = bench.start_agent_at(&nginx.url(), "dev");
    bench.tells_why("dev", "request an upgrade");
    nginx.reload(&right);
    let _ = bench.await_status("dev", "online");
}

fn path_prefix() {
    let bench = Bench::start();
    let locations = format!(
        "location /onsembl/ {{ {} }} location / {{ return 404; }}",
        passing(&format!("{}/", bench.url()))
    );
    let nginx = Nginx::start(&bench, &locations);
    let urls = ["/onsembl", "/onsembl/", "//onsembl//"].map(|path| nginx.url() + path);
    for (n, url) in urls.iter().enumerate() {
        let name = format!("dev-{n}");
        let agent = bench.start_agent_at(url, &name);
        let _ = bench.await_status(&name, "online");
        let name = name.as_str();
        for arguments in [
            &["agents"][..],
            &["exec", name, "--", "true"],
            &["commands"],
            &["audit", name],
            &["control", name, "pause"],
            &["control", name, "resume"],
            &["stop", name],
            &["release", name],
            &["export", name],
        ] {
            let said = bench.ask_at(url, arguments);
            assert!(said.status.success(), "{url} {arguments:?}: {said:?}");
        }
        agent.signal("-TERM");
    }
}

/// Heartbeats keep an otherwise idle link open.
fn patient() {
    let bench = Bench::with(FAST, &[]);
    let locations = format!("location / {{ {} proxy_read_timeout 2s; }}", passing(&bench.url()));
    let nginx = Nginx::start(&bench, &locations);
    let _agent = bench.start_agent_at(&nginx.url(), "dev");
    let before = bench.await_status("dev", "online");
    sleep(Duration::from_secs(5));
    assert_eq!(before["since"], bench.await_status("dev", "online")["since"]);
}

/// An agent behind a proxy that cuts idle links before the heartbeat interval reconnects each time.
fn impatient() {
    let bench = Bench::with(Times(["5s", "10s", "15s", "20s"]), &[]);
    let locations = format!("location / {{ {} proxy_read_timeout 1s; }}", passing(&bench.url()));
    let nginx = Nginx::start(&bench, &locations);
    let _agent = bench.start_agent_at(&nginx.url(), "dev");
    let _ = bench.await_status("dev", "online");
    let said = bench.exec("dev", "sleep 3; echo whole");
    assert_eq!(said.stdout, b"whole\n", "{said:?}");
    let log = bench.log("dev.log");
    assert!(log.contains("without a close frame"), "{log}");
    let _ = bench.await_status("dev", "online");
}

fn reload() {
    let bench = Bench::start();
    let locations = format!("location / {{ {} }}", passing(&bench.url()));
    let nginx = Nginx::start(&bench, &locations);
    let _agent = bench.start_agent_at(&nginx.url(), "dev");
    let _ = bench.await_status("dev", "online");
    let work = bench.start_work("dev");
    for _ in 0..2 {
        let lost = bench.log("dev.log").matches("reconnecting").count();
        nginx.reload(&locations);
        eventually("the old worker process closes its links", || {
            bench.log("dev.log").matches("reconnecting").count() > lost
        });
        let _ = bench.await_status("dev", "online");
        work.goes_on();
    }
    let _ = work.ends_whole();
}

/// Any answer of the proxy itself is a failed dial: no command is touched, no agent stops dialling, and the answer
/// is reported.
fn answers() {
    const ANSWERS: [(u16, &str, &str); 12] = [
        (301, "http://elsewhere.test/", "to http://elsewhere.test/"),
        (307, "http://elsewhere.test/", "to http://elsewhere.test/"),
        (308, "https://$host$request_uri", "to https://127.0.0.1/"),
        (200, "\"Welcome to the guest network\"", "Welcome to the guest network"),
        (401, "\"who are you\"", "401"),
        (403, "\"blocked by policy\"", "blocked by policy"),
        (404, "", "404"),
        (407, "", "407"),
        (429, "", "429"),
        (500, "", "500"),
        (502, "", "502"),
        (503, "", "503"),
    ];
    let bench = Bench::start();
    let passed = |status: u16| {
        format!("location /{status}/ {{ {} }}", passing(&format!("{}/", bench.url())))
    };
    let answered = |(status, text, _): (u16, &str, &str)| {
        format!(
            "location /{status}/ {{ add_header Retry-After 1 always; return {status} {text}; }}"
        )
    };
    let all_passed: String = ANSWERS.iter().map(|answer| passed(answer.0)).collect();
    let nginx = Nginx::start(&bench, &all_passed);
    let agents: Vec<_> = ANSWERS
        .iter()
        .map(|(status, ..)| {
            let url = format!("{}/{status}", nginx.url());
            bench.start_agent_at(&url, &format!("of-{status}"))
        })
        .collect();
    let name = |status: u16| format!("of-{status}");
    for (status, ..) in ANSWERS {
        let _ = bench.await_status(&name(status), "online");
    }
    let work: Vec<_> =
        ANSWERS.iter().map(|(status, ..)| bench.start_work(&name(*status))).collect();
    nginx.reload(&ANSWERS.into_iter().map(answered).collect::<String>());
    for (status, _, why) in ANSWERS {
        bench.tells_why(&name(status), why);
    }
    work.iter().for_each(crate::site::Work::goes_on);
    nginx.reload(&all_passed);
    for (status, ..) in ANSWERS {
        let _ = bench.await_status(&name(status), "online");
    }
    for work in work {
        let _ = work.ends_whole();
    }
    drop(agents);
}
