//! The agent under a service manager, which a socket stands in for.

use super::binary::{TOKEN, program, signal};
use super::server::Server;
use super::soon;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

/// Waits until the manager hears this.
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
    soon(wanted, heard).await
}

fn managed(dir: &Path, url: &str, socket: &Path) -> Command {
    let mut command = program(dir);
    command
        .args(["run", "--server", url, "--name", "managed"])
        .env("ONSEMBL_TOKEN", TOKEN)
        .env("NOTIFY_SOCKET", socket)
        .env("WATCHDOG_USEC", "600000")
        .stderr(Stdio::null());
    command
}

#[tokio::test]
async fn it_is_ready_without_a_server_and_lives_until_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let mut child = managed(dir.path(), "ws://127.0.0.1:9", &socket).spawn().unwrap();
    hears(&manager, "READY=1").await;
    hears(&manager, "WATCHDOG=1").await;
    hears(&manager, "STATUS=").await;
    hears(&manager, "WATCHDOG=1").await;
    signal(&child, "-HUP");
    let reloading = hears(&manager, "RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    hears(&manager, "READY=1").await;
    // A process that does not run gives no sign of life.
    signal(&child, "-STOP");
    let mut bytes = [0; 4096];
    while timeout(Duration::from_millis(300), manager.recv(&mut bytes)).await.is_ok() {}
    assert!(timeout(Duration::from_secs(1), manager.recv(&mut bytes)).await.is_err());
    signal(&child, "-CONT");
    hears(&manager, "WATCHDOG=1").await;
    signal(&child, "-TERM");
    hears(&manager, "STOPPING=1").await;
    assert!(soon("the end", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn its_commands_do_not_speak_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let _manager = UnixDatagram::bind(&socket).unwrap();
    let mut server = Server::new().await;
    let mut command = managed(dir.path(), &server.url, &socket);
    command.env("CREDENTIALS_DIRECTORY", "/run/credentials/x").env("LISTEN_FDS", "1");
    let mut child = command.spawn().unwrap();
    let mut peer = server.session().await;
    peer.run("c", "env").await;
    let said = String::from_utf8(peer.all().await.0).unwrap();
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "LISTEN_FDS"] {
        assert!(!said.contains(name), "{said}");
    }
    assert!(said.contains("PATH="), "{said}");
    signal(&child, "-TERM");
    peer.end().await;
    assert!(soon("the end", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_hang_up_takes_new_log_rules_and_never_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    let config = |log: &str, more: &str| {
        format!("server = 'ws://127.0.0.1:9'\nname = 'n'\ntoken = 'x'\nlog = '{log}'\n{more}")
    };
    std::fs::write(&file, config("info", "")).unwrap();
    let mut child = program(dir.path())
        .args(["run", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut says = async |wanted: &str| {
        loop {
            let line = soon(wanted, log.next_line()).await.unwrap().expect("it ended");
            if line.contains(wanted) {
                return line;
            }
        }
    };
    says("agent started").await;
    std::fs::write(&file, config("debug", "max-parallel = 2\n")).unwrap();
    signal(&child, "-HUP");
    let line = says("takes effect after a restart").await;
    assert!(line.contains("max-parallel"), "{line}");
    std::fs::write(&file, config("debug", "max-paralel = 2\n")).unwrap();
    signal(&child, "-HUP");
    let line = says("keeping the current one").await;
    assert!(line.contains("agent.toml:5") && line.contains("max-parallel"), "{line}");
    assert!(child.try_wait().unwrap().is_none());
    signal(&child, "-TERM");
    assert!(soon("the end", child.wait()).await.unwrap().success());
}

/// A program in front of the real one: it writes down what it is asked for, and the unit is seen to be written.
#[tokio::test]
async fn a_service_is_installed_shown_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let calls = dir.path().join("calls");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {}\ncase \"$*\" in *show*) printf 'ActiveState=active\\nSubState=running\\nMainPID=77\\nStatusText=online\\nNRestarts=0\\nResult=success\\nExecMainStatus=0\\n';; esac\n",
        calls.display()
    );
    let systemctl = bin.join("systemctl");
    std::fs::write(&systemctl, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&systemctl, mode).unwrap();
    let home = dir.path().join("config");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let service = async |words: &[&str]| {
        let mut command = program(dir.path());
        command.arg("service").args(words).env("XDG_CONFIG_HOME", &home).env("PATH", &path);
        let done = soon("the program", command.output()).await.unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, said) = service(&["install", "--user"]).await;
    assert!(code == Some(1) && said.contains("config example"), "{said}");
    let config = home.join("onsembl/agent.toml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, "server = 'ws://h'\nname = 'n'\n").unwrap();
    let (code, said) = service(&["install", "--user"]).await;
    assert!(code == Some(1) && said.contains("token-file"), "{said}");
    std::fs::write(&config, "server = 'ws://h'\nname = 'n'\ntoken-file = '/t'\n").unwrap();
    let unit = home.join("systemd/user/onsembl-agent.service");
    let (code, shown) = service(&["install", "--user", "--print"]).await;
    assert!(code == Some(0) && !unit.exists() && !calls.exists(), "{shown}");
    let (code, said) = service(&["install", "--user"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_to_string(&unit).unwrap(), shown);
    let asked = std::fs::read_to_string(&calls).unwrap();
    let wanted = ["daemon-reload", "enable onsembl-agent.service", "restart onsembl-agent.service"];
    assert_eq!(asked.lines().collect::<Vec<_>>(), wanted.map(|words| format!("--user {words}")));
    let (code, said) = service(&["status", "--user"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("active (running), process 77") && said.contains("online"), "{said}");
    let (code, said) = service(&["uninstall", "--user"]).await;
    assert!(code == Some(0) && !unit.exists(), "{said}");
    let (code, said) = service(&["status", "--user"]).await;
    assert!(code == Some(1) && said.contains("service install"), "{said}");
    let (code, said) = service(&["install", "--system"]).await;
    assert!(code == Some(1) && said.contains("--run-as"), "{said}");
}
