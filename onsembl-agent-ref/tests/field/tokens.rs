//! Token files, in the forms in which they are written and renewed in the field.

use crate::Case;
use crate::bench::{Bench, Running, eventually, server_binary};
use std::path::Path;
use std::process::Command;

pub const CASES: &[Case] = &[
    Case { name: "tokens/renewed-in-time", needs: &[], run: renewed_in_time },
    Case { name: "tokens/forms-of-files", needs: &[], run: forms },
];

fn token(bench: &Bench, what: &[&str]) -> String {
    let made = Command::new(server_binary())
        .arg("token")
        .args(what)
        .arg("--data")
        .arg(bench.data())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap()
}

/// As Kubernetes mounts secrets: the file is a link into a folder that is itself a link, and that link is replaced
/// atomically.
fn mount(folder: &Path, version: &str, token: &str) {
    std::fs::create_dir(folder.join(version)).unwrap();
    std::fs::write(folder.join(version).join("token"), token).unwrap();
    std::os::unix::fs::symlink(version, folder.join("new")).unwrap();
    std::fs::rename(folder.join("new"), folder.join("data")).unwrap();
}

/// The old token expires a while after the new one is there. A running `exec` notices nothing.
fn renewed_in_time() {
    let bench = Bench::start();
    let folder = bench.folder.path().join("secret");
    std::fs::create_dir(&folder).unwrap();
    let old = token(&bench, &["--user", "ann", "--kind", "agent", "--ttl", "22s"]);
    mount(&folder, "one", &old);
    std::os::unix::fs::symlink("data/token", folder.join("token")).unwrap();
    let mut agent = bench.agent_at(&bench.url(), "dev");
    agent.env_remove("ONSEMBL_TOKEN").env("ONSEMBL_TOKEN_FILE", folder.join("token"));
    let _agent = Running(agent.spawn().unwrap());
    let _ = bench.await_status("dev", "online");
    let work = bench.start_work("dev");
    // A token of another lineage would not authorize this agent.
    mount(&folder, "two", &token(&bench, &["--renew", old.trim(), "--ttl", "1h"]));
    eventually("the newer token is taken", || bench.log("dev.log").contains("newer token"));
    let _ = bench.await_status("dev", "online");
    // By then the old one has expired, and its link is closed.
    std::thread::sleep(std::time::Duration::from_secs(20));
    let _ = bench.await_status("dev", "online");
    let log = bench.log("dev.log");
    assert!(!log.contains("4105"), "{log}");
    assert_eq!(work.ends_whole(), "", "exec reports nothing");
}

/// Line breaks, blanks and a byte order mark are not part of a token; any other fault is reported before anything is
/// sent.
fn forms() {
    let bench = Bench::start();
    let good = bench.agent_token.clone();
    let start = |name: &str, content: &[u8]| {
        let file = bench.folder.path().join(format!("{name}.token"));
        std::fs::write(&file, content).unwrap();
        let mut agent = bench.agent_at(&bench.url(), name);
        agent.env_remove("ONSEMBL_TOKEN").env("ONSEMBL_TOKEN_FILE", file);
        Running(agent.spawn().unwrap())
    };
    let fine = [
        ("newline", format!("{good}\n")),
        ("crlf", format!("{good}\r\n\r\n")),
        ("blanks", format!("  {good}\t")),
        ("mark", format!("\u{feff}{good}\r\n")),
    ];
    let wrong = [
        ("bearer", format!("Bearer {good}"), "has characters"),
        ("two", format!("{good}\n{good}\n"), "has characters"),
        ("empty", "\n".to_owned(), "is empty"),
        ("cut", good[..good.len() - 2].to_owned(), "401"),
    ];
    let mut agents: Vec<_> =
        fine.iter().map(|(name, content)| start(name, content.as_bytes())).collect();
    agents.extend(wrong.iter().map(|(name, content, _)| start(name, content.as_bytes())));
    agents.push(start("utf-16", b"\xff\xfee\0y\0"));
    for (name, _) in &fine {
        let _ = bench.await_status(name, "online");
    }
    for (name, _, why) in &wrong {
        bench.tells_why(name, why);
    }
    bench.tells_why("utf-16", "UTF-8");
}
