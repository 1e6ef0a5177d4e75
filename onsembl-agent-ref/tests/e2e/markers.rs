//! No secret gets where people or programs look: every token and password of a run through successes and failures is
//! searched for in all that the binaries wrote, by log, status, page, export and database.

use crate::bench::{AGENT, Bench, FAST, Running, eventually, server_binary};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PASSWORD: &str = "marker-proxy-password";
const BAD_TOKEN: &str = "marker-bad-token";
const IN_QUERY: &str = "marker-in-query";
const IN_FILE: &str = "marker in a file";
const IN_VARIABLE: &str = "marker-of-a-variable";

/// A proxy that refuses everybody, and repeats what it was sent, as a debugging proxy does.
fn refusing_proxy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream: TcpStream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address.to_string()
}

fn agent(bench: &Bench, name: &str, url: &str, more: &[&str]) -> Command {
    let log = bench.folder.path().join(format!("{name}.log"));
    let mut command = Command::new(AGENT);
    command
        .args(["run", "--log", "trace", "--server", url, "--name", name, "--state-dir"])
        .arg(bench.folder.path().join(name))
        .args(more)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(log).unwrap());
    command
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    format!("{out}{err}")
}

#[test]
fn no_secret_is_in_anything_that_is_written() {
    let mut bench = Bench::with(FAST, &["--metrics-listen", "127.0.0.1:0"]);
    bench.server_log = "trace";
    bench.server = None;
    bench.start_server();
    let folder = bench.folder.path().to_owned();
    let mut said: Vec<(String, String)> = Vec::new();

    // What succeeds.
    let own = bench.agent_command("good").env("ONSEMBL_LOG", "trace").spawn().unwrap();
    let own = Running(own);
    let _ = bench.await_status("good", "online");
    said.push(("exec".into(), text(&bench.exec("good", "true"))));

    // What fails, each in its way.
    let bad_url = format!("{}/?token={IN_QUERY}", bench.url());
    let proxy = format!("http://joe:{PASSWORD}@{}", refusing_proxy());
    let file = folder.join("file.token");
    std::fs::write(&file, IN_FILE).unwrap();
    let _ = Command::new("chmod").arg("600").arg(&file).status();
    let file_path = file.to_str().unwrap().to_owned();
    let mut failing = vec![
        ("bad", agent(&bench, "bad", &bench.url(), &[])),
        ("query", agent(&bench, "query", &bad_url, &[])),
        ("proxied", agent(&bench, "proxied", "https://control.invalid", &["--proxy", &proxy])),
        ("filed", agent(&bench, "filed", &bench.url(), &["--token-file", &file_path])),
    ];
    let mut agents = Vec::new();
    for (_, command) in &mut failing {
        command.env("ONSEMBL_TOKEN", BAD_TOKEN).env("MARKER", IN_VARIABLE);
        agents.push(Running(command.spawn().unwrap()));
    }
    for (name, _) in &failing {
        eventually(&format!("{name} fails"), || {
            bench.log(&format!("{name}.log")).contains("dial failed")
        });
    }
    for (name, _) in &failing {
        for json in [&[][..], &["--json"]] {
            let state = folder.join(name);
            let status =
                Command::new(AGENT).args(["status", "--state-dir"]).arg(state).args(json).output();
            said.push((format!("status of {name}"), text(&status.unwrap())));
        }
    }
    for (url, more) in [
        (bench.url(), &[][..]),
        (bad_url.clone(), &[]),
        ("https://control.invalid".to_owned(), &["--proxy", &proxy]),
        (bench.url(), &["--token-file", &file_path]),
    ] {
        let doctor = Command::new(AGENT)
            .args(["doctor", "--idle-hold", "10ms", "--server", &url])
            .args(more)
            .env("ONSEMBL_TOKEN", BAD_TOKEN)
            .output();
        said.push((format!("doctor of {url}"), text(&doctor.unwrap())));
    }
    let good = Command::new(AGENT)
        .args(["doctor", "--idle-hold", "10ms", "--json", "--server", &bench.url()])
        .env("ONSEMBL_TOKEN", &bench.agent_token)
        .output();
    said.push(("doctor with a good token".into(), text(&good.unwrap())));
    for words in [&["agents"][..], &["commands"], &["export", "good"], &["audit", "good"]] {
        said.push((words.join(" "), text(&bench.ask(words))));
        let refused = Command::new(server_binary())
            .args(words)
            .args(["--server", &bench.url()])
            .env("ONSEMBL_TOKEN", BAD_TOKEN)
            .output();
        said.push((format!("{} refused", words.join(" ")), text(&refused.unwrap())));
    }
    let log = bench.log("server.log");
    let (_, rest) = log.rsplit_once("serving metrics address=").expect("it serves metrics");
    let metrics = get(rest.split_whitespace().next().unwrap(), "/metrics");
    assert!(metrics.contains("onsembl_agent_links"), "{metrics}");
    said.push(("metrics".into(), metrics));
    said.push(("healthz".into(), get(&bench.address, "/healthz")));
    drop((own, agents));
    bench.server = None;

    let secret = |token: &str| token.rsplit(['.', '_']).next().unwrap().to_owned();
    let mut secrets: Vec<String> =
        [PASSWORD, BAD_TOKEN, IN_QUERY, IN_FILE, IN_VARIABLE].map(str::to_owned).into();
    secrets.extend([secret(&bench.agent_token), secret(&bench.dashboard_token)]);
    // As a proxy is told it.
    secrets.push("am9lOm1hcmtlci1wcm94eS1wYXNzd29yZA".to_owned());
    for secret in &secrets {
        for (what, text) in &said {
            assert!(!text.contains(secret.as_str()), "{what} holds {secret}: {text}");
        }
    }
    // That the search finds what is there: the host that the proxied agent and the doctor were to reach.
    assert!(
        said.iter()
            .any(|(what, text)| what == "status of proxied" && text.contains("control.invalid"))
    );
    let (mut files, mut seen) = (0, 0);
    in_files(&folder, &mut |path, bytes| {
        files += 1;
        seen += usize::from(bytes.windows(15).any(|part| part == b"control.invalid"));
        if path == file {
            return;
        }
        for secret in &secrets {
            let holds = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!holds, "{} holds {secret}", path.display());
        }
    });
    assert!(files > 10, "logs, databases, state directories: {files}");
    assert!(seen >= 2, "the log and the status of the agent name it: {seen}");
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).unwrap();
    answer
}

fn in_files(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            in_files(&path, look);
        } else if path.is_file() {
            look(&path, &std::fs::read(&path).unwrap());
        }
    }
}
