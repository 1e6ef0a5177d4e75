//! Tokens and TLS.

use crate::bench::{Bench, FAST, server_binary};
use std::process::Command;

#[test]
fn a_revoked_agent_is_sent_away_and_says_why() {
    let bench = Bench::start();
    let mut agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let revoked = Command::new(server_binary())
        .args(["revoke", "--data"])
        .arg(bench.data())
        .arg(&bench.agent_token)
        .status();
    assert!(revoked.expect("the server can be run").success());
    assert_eq!(agent.wait().code(), Some(5), "it needs another token");
    let log = bench.log("dev.log");
    assert!(log.contains("revoked"), "{log}");
    let mut again = bench.agent("dev");
    assert_eq!(again.wait().code(), Some(5), "and so it is when it dials");
}

#[test]
fn no_token_is_ever_logged() {
    let bench = Bench::start();
    let agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    assert!(bench.exec("dev", "true").status.success());
    agent.signal("-TERM");
    let _ = bench.await_status("dev", "offline");
    for log in ["server.log", "dev.log"] {
        let text = bench.log(log);
        assert!(!text.is_empty());
        for token in [&bench.agent_token, &bench.dashboard_token] {
            assert!(!text.contains(token.as_str()), "{log} holds a token");
            let secret = token.rsplit(['.', '_']).next().expect("a token has a secret part");
            assert!(!text.contains(secret), "{log} holds a part of a token");
        }
    }
}

#[test]
fn everything_works_over_tls_and_a_stranger_is_not_trusted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let [cert, key] = [cert, key].map(|p| p.to_str().expect("text").to_owned());
    let mut bench = Bench::with(FAST, &["--tls-cert", &cert, "--tls-key", &key]);
    bench.scheme = "https";
    // Not trusted: neither side is fooled into plaintext, and the reason is said.
    let mut stranger = bench.agent("stranger");
    crate::bench::eventually("the reason", || {
        bench.log("stranger.log").contains("certificate-untrusted")
    });
    assert!(stranger.0.try_wait().expect("our child").is_none(), "it goes on trying");
    let mut agent = bench.agent_command("dev");
    agent.env("ONSEMBL_TLS_CA", &cert);
    let _agent = crate::bench::Running(agent.spawn().expect("the agent can be run"));
    let exec = |scheme: &'static str| {
        let url = format!("{scheme}://{}", bench.address);
        Command::new(server_binary())
            .args(["exec", "--server", &url, "dev", "--", "echo over TLS"])
            .env("ONSEMBL_TOKEN", &bench.dashboard_token)
            .env("ONSEMBL_TLS_CA", &cert)
            .output()
            .expect("the server can be run")
    };
    crate::bench::eventually("exec over wss", || exec("wss").stdout == b"over TLS\n");
    let plain = exec("ws");
    assert_eq!(plain.status.code(), Some(125), "plaintext to a TLS port does not work");
}
