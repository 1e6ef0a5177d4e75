//! The server under a service manager, which a socket stands in for; and its configuration, read again while it runs.

use crate::command_line::{program, run};
use crate::fixture::{PATIENCE, now};
use crate::peer::{Peer, Request};
use onsembl_protocol::id::UserId;
use onsembl_server_ref::auth::{TokenKind, Tokens};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixDatagram;
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

async fn hears(manager: &UnixDatagram, wanted: &str) -> String {
    let heard = async {
        let mut bytes = vec![0; 4096];
        loop {
            let length = manager.recv(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("the manager never heard {wanted}"))
}

async fn says(log: &mut Lines<BufReader<ChildStderr>>, wanted: &str) -> String {
    let found = async {
        loop {
            let line = log.next_line().await.unwrap().expect("the server ended");
            if line.contains(wanted) {
                return line;
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("the log never said {wanted}"))
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[tokio::test]
async fn it_is_ready_lives_reloads_and_stops_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let mut server = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(dir.path().join("data"))
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "600000")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    hears(&manager, "STATUS=starting").await;
    let ready = hears(&manager, "READY=1").await;
    assert!(ready.contains("STATUS=listening on 127.0.0.1:"), "{ready}");
    let alive = hears(&manager, "WATCHDOG=1").await;
    assert!(alive.contains("STATUS=0 of 0 agents connected"), "{alive}");
    hears(&manager, "WATCHDOG=1").await;
    signal(&server, "-HUP");
    let reloading = hears(&manager, "RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    hears(&manager, "READY=1").await;
    // A process that does not run gives no sign of life.
    signal(&server, "-STOP");
    let mut bytes = [0; 4096];
    while timeout(Duration::from_millis(300), manager.recv(&mut bytes)).await.is_ok() {}
    assert!(timeout(Duration::from_secs(1), manager.recv(&mut bytes)).await.is_err());
    signal(&server, "-CONT");
    hears(&manager, "WATCHDOG=1").await;
    signal(&server, "-TERM");
    hears(&manager, "STOPPING=1").await;
    assert!(timeout(PATIENCE, server.wait()).await.unwrap().unwrap().success());
}

fn config(dir: &Path, log: &str, more: &str) -> String {
    let data = dir.join("data");
    format!("listen = '127.0.0.1:0'\ndata = '{}'\nlog = '{log}'\n{more}", data.display())
}

#[tokio::test]
async fn a_hang_up_takes_new_log_rules_and_names_what_needs_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    std::fs::write(&file, config(dir.path(), "info", "")).unwrap();
    let mut server = program()
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    drop(timeout(PATIENCE, out.next_line()).await.unwrap().unwrap().unwrap());
    std::fs::write(
        &file,
        config(dir.path(), "info,onsembl_server_ref=trace", "connections = 99\n"),
    )
    .unwrap();
    signal(&server, "-HUP");
    let line = says(&mut log, "takes effect after a restart").await;
    assert!(line.contains("connections"), "{line}");
    std::fs::write(&file, "listn = '127.0.0.1:0'\n").unwrap();
    signal(&server, "-HUP");
    let line = says(&mut log, "keeping the current one").await;
    assert!(line.contains("server.toml:1") && line.contains("did you mean listen?"), "{line}");
    std::fs::write(&file, config(dir.path(), "error", "")).unwrap();
    signal(&server, "-HUP");
    // From here on nothing but errors is logged, and so nothing of its end.
    signal(&server, "-TERM");
    let mut rest = String::new();
    while let Some(line) = timeout(PATIENCE, log.next_line()).await.unwrap().unwrap() {
        rest.push_str(&line);
    }
    assert!(timeout(PATIENCE, server.wait()).await.unwrap().unwrap().success(), "{rest}");
}

#[tokio::test]
async fn a_hang_up_takes_a_new_signing_secret_and_ends_what_the_old_one_opened() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = timeout(PATIENCE, out.next_line()).await.unwrap().unwrap().unwrap();
    let address: std::net::SocketAddr = address.parse().unwrap();
    let issue = || {
        let (ann, hour) = (UserId::new("ann"), Duration::from_secs(3600));
        let tokens = Tokens::open(&data).unwrap();
        tokens.issue(&ann, TokenKind::Agent, hour, now()).unwrap().0
    };
    let status = async |token: &str| {
        Request::upgrade("/ws/agent").bearer(Some(token)).send(address).await.status
    };
    let old = issue();
    let mut link = Peer::open(address, "/ws/agent", Some(&old)).await;
    let made = timeout(
        PATIENCE,
        program().args(["token", "--user", "ann", "--kind", "agent", "--data"]).arg(&data).output(),
    );
    let random = String::from_utf8(made.await.unwrap().unwrap().stdout).unwrap();
    let random = random.trim();

    let secret = data.join("token.secret");
    std::fs::write(&secret, "too short").unwrap();
    signal(&server, "-HUP");
    let line = says(&mut log, "keeping the one in use").await;
    assert!(line.contains("ERROR") && line.contains("at least 32 bytes"), "{line}");
    assert_eq!((status(&old).await, status(random).await), (101, 101));

    std::fs::write(&secret, [7; 48]).unwrap();
    signal(&server, "-HUP");
    let line = says(&mut log, "a new signing secret is in use").await;
    assert!(line.contains("ended="), "{line}");
    assert_eq!(link.ended().await.code(), 4105);
    let new = issue();
    let admitted = (status(&old).await, status(&new).await, status(random).await);
    assert_eq!(admitted, (401, 101, 101));
    signal(&server, "-TERM");
    assert!(timeout(PATIENCE, server.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn exit_codes_say_whether_another_start_may_help() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    std::fs::write(&file, "keep-for = 'x'\n").unwrap();
    let (code, said) = run(program().args(["serve", "--config"]).arg(&file)).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("server.toml:1: keep-for: "), "{said}");

    let serve = async |data: &Path| {
        run(program().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data)).await
    };
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::set_permissions(&foreign, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    std::fs::write(foreign.join("onsembl.db"), "this is no database at all, but a text").unwrap();
    std::fs::write(foreign.join("token.secret"), [7; 48]).unwrap();
    std::fs::set_permissions(
        foreign.join("token.secret"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let (code, said) = serve(&foreign).await;
    assert_eq!(code, Some(3), "{said}");
    let (code, said) = serve(Path::new("/proc/onsembl")).await;
    assert_eq!(code, Some(1), "{said}");
}

#[tokio::test]
async fn a_configuration_is_checked_shown_and_proposed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    let config = async |words: &[&str], file: Option<&Path>| {
        let mut command = program();
        let _ = command.arg("config").args(words).args(file);
        run(&mut command).await
    };
    let (code, example) = config(&["example"], None).await;
    assert_eq!(code, Some(0));
    std::fs::write(&file, &example).unwrap();
    let (code, said) = config(&["check"], Some(&file)).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("server.toml: 2 keys, all valid"), "{said}");
    std::fs::write(&file, "data = '/srv'\n\nheartbeat = '3s'\nstale-after = 45\n").unwrap();
    let (code, said) = config(&["check"], Some(&file)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(":3: heartbeat: unknown key; did you mean"), "{said}");
    assert!(said.contains(":4: stale-after: "), "{said}");
    std::fs::write(&file, "data = '/srv'\nstale-after = '1s'\n").unwrap();
    let (code, said) = config(&["check"], Some(&file)).await;
    assert!(code == Some(1) && said.contains("these times are inconsistent"), "{said}");
    std::fs::write(&file, "keep-for = '1d'\n").unwrap();
    let (code, said) = config(&["check"], Some(&file)).await;
    assert!(code == Some(0) && said.contains("data is not set"), "{said}");

    let mut command = program();
    let _ = command.args(["config", "show", "--data", "/srv/a", "--config"]).arg(&file);
    let (code, shown) = run(command.env("ONSEMBL_CONNECTIONS", "77")).await;
    assert_eq!(code, Some(0), "{shown}");
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.split_whitespace().next() == Some(key));
        found.unwrap_or_else(|| panic!("{key}: {shown}")).to_owned()
    };
    assert!(line("data").ends_with("flag --data"));
    assert!(line("connections").ends_with("variable ONSEMBL_CONNECTIONS"));
    assert!(line("keep-for").ends_with("server.toml:1"));
    assert!(line("listen").contains("127.0.0.1:8080") && line("listen").ends_with("default"));
}
