//! The programs as people run them: under a prefix, beside a proxy, and while certificates are renewed.

use crate::fixture::{PATIENCE, now};
use crate::frames::extended_hello;
use crate::peer::Peer;
use axum::Router;
use onsembl_protocol::id::UserId;
use onsembl_server_ref::auth::{TokenKind, Tokens};
use onsembl_server_ref::server::{Server, ServerOptions};
use onsembl_transport::Dialer as _;
use onsembl_transport::secret::Secret;
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::WebSocketDialer;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn token(data: &Path, kind: TokenKind) -> String {
    Tokens::open(data).unwrap().issue(&UserId::new("ann"), kind, DAY, now()).unwrap().0
}

/// The program, without this environment's settings.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onsembl-server"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ONSEMBL_") || name.to_ascii_uppercase().ends_with("_PROXY") {
            let _ = command.env_remove(name);
        }
    }
    let _ = command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, command.output()).await.expect("an end").unwrap();
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).unwrap())
}

/// Every command that asks a server for something.
const VERBS: [&[&str]; 9] = [
    &["agents"],
    &["commands"],
    &["stop", "--all"],
    &["release", "--all"],
    &["audit", "key-1"],
    &["why", "key-1"],
    &["why", "--all"],
    &["export", "key-1"],
    &["exec", "--timeout", "10s", "nobody", "--", "true"],
];

async fn each_verb_is_answered(server: &str, token: &str, proxy: Option<&str>) {
    for verb in VERBS {
        let mut command = program();
        let (first, rest) = verb.split_first().unwrap();
        let _ = command.arg(first).args(["--server", server]).args(rest);
        let _ = command.env("ONSEMBL_TOKEN", token);
        if let Some(proxy) = proxy {
            let _ = command.env("http_proxy", proxy).env("ALL_PROXY", proxy);
        }
        let (code, said) = run(&mut command).await;
        assert_ne!(code, Some(2), "{verb:?}: {said}");
        // What it answers is no matter here: some agents of this test do not exist.
        for failed in
            ["cannot reach", "HTTP 404", "HTTP 405", "answers 404", "not reachable", "<html"]
        {
            let lacks_agent = said.contains("AGENT_NOT_FOUND") || said.contains("no agent");
            assert!(!said.contains(failed) || lacks_agent, "{server} {verb:?}: {said}");
        }
    }
}

/// What `exec` says before it asks for anything.
#[tokio::test]
async fn exec_says_what_is_wrong_with_a_command_before_it_asks_for_it() {
    let exec = |words: &[&str]| {
        let mut command = program();
        let _ =
            command.args(["exec", "--server", "http://127.0.0.1:9", "--token", "t"]).args(words);
        command
    };
    let (code, said) = run(&mut exec(&["ada", "--", ""])).await;
    assert!(code == Some(125) && said.contains("there is nothing to run"), "{said}");
    assert!(!said.contains("COMMAND_REQUEST") && !said.contains("payload"), "{said}");
    let (code, said) = run(&mut exec(&["ada", "ls", "-l"])).await;
    assert!(code == Some(2) && said.contains("put the command after `--`"), "{said}");
    let (code, said) = run(&mut exec(&["ada"])).await;
    assert!(code == Some(2) && said.contains("exec AGENT -- ls -l"), "{said}");
    let (code, said) = run(&mut exec(&["--help"])).await;
    assert_eq!(code, Some(0));
    for key in ["page-down", "shift-enter", "0x1b", "ctrl-alt-x"] {
        assert!(said.contains(key), "{key}: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    let from = path.to_str().unwrap();
    std::fs::write(&path, "x".repeat(70_000)).unwrap();
    for words in [&["--secret-from", from, "ada"][..], &["--text-from", from, "--all"]] {
        let (code, said) = run(&mut exec(words)).await;
        let is_named = said.contains("70000 bytes") && said.contains("64 KiB");
        assert!(code == Some(125) && is_named, "{said}");
    }
    std::fs::write(&path, "x".repeat(1_100_000)).unwrap();
    let (code, said) = run(&mut exec(&["--text-from", from, "ada"])).await;
    let is_named = said.contains("1100000 bytes") && said.contains("1 MiB");
    assert!(code == Some(125) && is_named, "{said}");
    // Text that would be dropped in silence.
    let mut cat = exec(&["ada", "--", "cat"]);
    let _ = cat.stdin(std::fs::File::open(&path).unwrap());
    let (code, said) = run(&mut cat).await;
    assert!(code == Some(125) && said.contains("--text-from -"), "{said}");
}

/// A server below `/onsembl` of another service, and an agent of it.
async fn under_a_prefix() -> (TempDir, Server, SocketAddr, Peer) {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(ServerOptions::new(data.path())).await.unwrap();
    let app = Router::new()
        .nest("/onsembl", server.router())
        .fallback(|| async { (axum::http::StatusCode::NOT_FOUND, "<html>nothing here</html>") })
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let _service = tokio::spawn(async move { axum::serve(listener, app).await });
    let bearer = token(data.path(), TokenKind::Agent);
    let mut agent = Peer::open(to, "/onsembl/ws/agent", Some(&bearer)).await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let _ = agent.expect("ACK").await;
    (data, server, to, agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_works_below_a_prefix_however_its_url_ends() {
    let (data, _server, to, _agent) = under_a_prefix().await;
    let bearer = token(data.path(), TokenKind::Dashboard);
    for server in [
        format!("http://{to}/onsembl"),
        format!("ws://{to}//onsembl//"),
        format!("http://{to}/onsembl/ws/dashboard"),
    ] {
        each_verb_is_answered(&server, &bearer, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_goes_through_a_proxy_to_its_own_machine() {
    let (data, _server, to, _agent) = under_a_prefix().await;
    let bearer = token(data.path(), TokenKind::Dashboard);
    let server = format!("http://{to}/onsembl");
    each_verb_is_answered(&server, &bearer, Some("http://127.0.0.1:9")).await;
}

#[tokio::test]
async fn a_command_that_fails_at_a_proxy_names_it() {
    for verb in VERBS {
        let mut command = program();
        let (first, rest) = verb.split_first().unwrap();
        let _ = command.arg(first).args(["--server", "https://control.invalid"]).args(rest);
        let _ = command.env("ONSEMBL_TOKEN", "t.o.k");
        let _ = command.env("HTTPS_PROXY", "http://ann:secret@127.0.0.1:9");
        let (code, said) = run(&mut command).await;
        assert_ne!(code, Some(0), "{verb:?}");
        assert!(said.contains("the proxy http://127.0.0.1:9"), "{verb:?}: {said}");
        assert!(!said.contains("secret"), "{verb:?}: {said}");
    }
}

fn certify(name: &str, dir: &Path) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
}

#[tokio::test]
async fn sighup_brings_the_renewed_certificate_and_never_the_end() {
    let (data, dir, newer) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certify("localhost", dir.path());
    certify("localhost", newer.path());
    let mut server = program()
        .args(["serve", "--listen", "localhost:0", "--data"])
        .arg(data.path())
        .arg("--tls-cert")
        .arg(dir.path().join("cert.pem"))
        .arg("--tls-key")
        .arg(dir.path().join("key.pem"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
    let address = timeout(PATIENCE, out.next_line()).await.unwrap().unwrap().unwrap();
    let address: SocketAddr = address.parse().unwrap();
    assert!(address.ip().is_loopback(), "{address}");

    let url = format!("wss://localhost:{}", address.port());
    let agent = Secret::new(token(data.path(), TokenKind::Agent));
    let dials = async |trusted: &Path| {
        let roots = TlsRoots::Pem(trusted.join("cert.pem"));
        let dialer = WebSocketDialer::new(&url, "/ws/agent", &roots).unwrap();
        dialer.with_token(agent.clone()).dial().await.is_ok()
    };
    assert!(dials(dir.path()).await && !dials(newer.path()).await);

    // The certificate is there, its key is not yet.
    std::fs::copy(newer.path().join("cert.pem"), dir.path().join("cert.pem")).unwrap();
    signal(&server, "-HUP");
    let line = next_with(&mut log, "certificate").await;
    assert!(line.contains("keeping the current one"), "{line}");
    std::fs::copy(newer.path().join("key.pem"), dir.path().join("key.pem")).unwrap();
    signal(&server, "-HUP");
    let line = next_with(&mut log, "reloaded").await;
    assert!(line.contains("SIGHUP"), "{line}");
    assert!(dials(newer.path()).await);
    // A key that others can use is taken, and said so each time.
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(dir.path().join("key.pem"), open).unwrap();
    signal(&server, "-HUP");
    let line = next_with(&mut log, "private key").await;
    assert!(line.contains("chmod 600") && line.contains("0644"), "{line}");
    signal(&server, "-TERM");
    assert!(timeout(PATIENCE, server.wait()).await.unwrap().unwrap().success());
}

async fn next_with(
    log: &mut tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    wanted: &str,
) -> String {
    let found = async {
        loop {
            let line = log.next_line().await.unwrap().expect("the server ended");
            if line.contains(wanted) {
                return line;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("a line of the log")
}
