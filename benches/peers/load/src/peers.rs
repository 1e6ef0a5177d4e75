//! The compared systems: how each is installed, started and connected to.

use crate::dialect::Dialect;
use crate::scenario::User;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Our server, by its binary.
    Ours(PathBuf),
    /// A relay of this workspace, and its words.
    Relay(&'static str, &'static [&'static str]),
    Node(&'static str),
    Python(&'static str),
    Mosquitto,
    Nats,
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    pub kind: Kind,
    pub dialect: Dialect,
}

impl Peer {
    pub fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Ours(_))
    }
}

/// All but ours, in the order of the tables: the floor first.
pub fn others() -> Vec<Peer> {
    let peer = |name: &str, kind, dialect| Peer { name: name.into(), kind, dialect };
    vec![
        peer("tungstenite-flush", Kind::Relay("relay-tungstenite", &[]), Dialect::Relay),
        peer(
            "tungstenite-coalesce",
            Kind::Relay("relay-tungstenite", &["--coalesce"]),
            Dialect::Relay,
        ),
        peer("fastwebsockets", Kind::Relay("relay-fastwebsockets", &[]), Dialect::Relay),
        peer("ws", Kind::Node("relay-ws.js"), Dialect::Relay),
        peer("socket.io", Kind::Node("relay-socketio.js"), Dialect::SocketIo),
        peer("websockets", Kind::Python("relay_websockets.py"), Dialect::Relay),
        peer("mosquitto", Kind::Mosquitto, Dialect::Mqtt),
        peer("nats-server", Kind::Nats, Dialect::Nats),
    ]
}

/// Where things are on this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// The repository.
    pub root: PathBuf,
    /// Where this program was built.
    pub binaries: PathBuf,
    /// What is installed for the comparison only.
    pub cache: PathBuf,
    /// Data folders.
    pub scratch: PathBuf,
    pub agent: PathBuf,
}

impl Places {
    fn others(&self) -> PathBuf {
        self.root.join("benches/peers/others")
    }

    /// Has a peer ready to be started. An error says why it is not available.
    pub fn install(&self, peer: &Peer) -> Result<()> {
        match &peer.kind {
            Kind::Ours(path) => ensure!(path.is_file(), "{} is not there", path.display()),
            Kind::Relay(name, _) => {
                // Under cargo it is built again where it changed.
                if std::env::var_os("CARGO").is_some() || !self.binaries.join(name).is_file() {
                    let manifest = self.root.join("benches/peers/Cargo.toml");
                    call(
                        Command::new("cargo")
                            .args([
                                "build",
                                "--quiet",
                                "--release",
                                "--package",
                                "onsembl-bench-relays",
                            ])
                            .arg("--manifest-path")
                            .arg(manifest),
                    )?;
                }
                ensure!(
                    self.binaries.join(name).is_file(),
                    "{name} was not built beside this program"
                );
            }
            Kind::Node(_) => {
                let folder = self.cache.join("npm");
                std::fs::create_dir_all(&folder)?;
                call(Command::new("node").arg("--version"))?;
                let wanted = std::fs::read(self.others().join("package.json"))?;
                if std::fs::read(folder.join("installed.json")).ok().as_ref() != Some(&wanted) {
                    std::fs::write(folder.join("package.json"), &wanted)?;
                    call(
                        Command::new("npm")
                            .args(["install", "--no-audit", "--no-fund", "--loglevel", "error"])
                            .current_dir(&folder),
                    )?;
                    std::fs::write(folder.join("installed.json"), &wanted)?;
                }
            }
            Kind::Python(_) => {
                let folder = self.cache.join("venv");
                let wanted = std::fs::read(self.others().join("requirements.txt"))?;
                if std::fs::read(folder.join("installed.txt")).ok().as_ref() != Some(&wanted) {
                    call(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
                    call(
                        Command::new(folder.join("bin/pip"))
                            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                            .arg(self.others().join("requirements.txt")),
                    )?;
                    std::fs::write(folder.join("installed.txt"), &wanted)?;
                }
            }
            Kind::Mosquitto => system_package("mosquitto", "mosquitto")?,
            Kind::Nats => system_package("nats-server", "nats-server")?,
        }
        Ok(())
    }

    /// A fresh folder for data.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Starts a peer. `users` only matter for ours, and so does how often its agents beat.
    pub fn start(
        &self,
        peer: &Peer,
        users: usize,
        interval: Duration,
        folder: &Path,
    ) -> Result<Running> {
        let mut command;
        let mut address = None;
        match &peer.kind {
            Kind::Ours(path) => return serve(path, users, interval, folder, None),
            Kind::Relay(name, words) => {
                command = Command::new(self.binaries.join(name));
                command.args(*words);
            }
            Kind::Node(script) => {
                command = Command::new("node");
                command
                    .arg(self.others().join(script))
                    .env("NODE_PATH", self.cache.join("npm/node_modules"));
            }
            Kind::Python(script) => {
                command = Command::new(self.cache.join("venv/bin/python3"));
                command.arg(self.others().join(script));
            }
            Kind::Mosquitto => {
                let port = free_port()?;
                let config = folder.join("mosquitto.conf");
                let text = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\nset_tcp_nodelay true\n\
                     max_inflight_messages 0\nmax_queued_messages 0\nlog_type error\n"
                );
                std::fs::write(&config, text)?;
                command = Command::new(program("mosquitto"));
                command.arg("-c").arg(config);
                address = Some(port);
            }
            Kind::Nats => {
                let port = free_port()?;
                let config = folder.join("nats.conf");
                let text = format!(
                    "host: 127.0.0.1\nport: {port}\nmax_pending: 268435456\nwrite_deadline: \"60s\"\n"
                );
                std::fs::write(&config, text)?;
                command = Command::new(program("nats-server"));
                command.arg("-c").arg(config);
                address = Some(port);
            }
        }
        let errors = std::fs::File::create(folder.join("stderr"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let child = command.spawn().with_context(|| format!("cannot start {}", peer.name))?;
        let mut running = Running::of(child, users);
        match address {
            None => running.read_address()?,
            Some(port) => running.wait_for(SocketAddr::from(([127, 0, 0, 1], port)))?,
        }
        Ok(running)
    }
}

/// Starts our server over this folder. On the port of an earlier run if that is given, with the tokens of that one.
pub fn serve(
    path: &Path,
    users: usize,
    interval: Duration,
    folder: &Path,
    again: Option<&Earlier>,
) -> Result<Running> {
    let listen = again.map_or("127.0.0.1:0".into(), |again| again.address.to_string());
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let errors = std::fs::File::create(folder.join("stderr"))?;
    let child = Command::new(path)
        .args([
            "serve",
            "--listen",
            &listen,
            "--log",
            "warn",
            "--heartbeat-interval",
            &millis(interval),
        ])
        .args(["--stale-after", &millis(interval * 2 + Duration::from_secs(30))])
        .args(["--timeout-after", &millis(interval * 3 + Duration::from_secs(60))])
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {}", path.display()))?;
    let mut running = Running::of(child, users);
    if let Some(again) = again {
        running.address = again.address;
        running.users.clone_from(&again.users);
        return Ok(running);
    }
    running.read_address()?;
    for n in 0..users {
        let token = |kind| token(path, folder, &format!("user-{n}"), kind);
        running.users[n] = User { agent: token("agent")?, dashboard: token("dashboard")? };
    }
    Ok(running)
}

fn token(path: &Path, folder: &Path, user: &str, kind: &str) -> Result<String> {
    let out = Command::new(path)
        .args(["token", "--user", user, "--kind", kind, "--data"])
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .output()?;
    ensure!(out.status.success(), "no token: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?.trim().into())
}

/// A peer that runs. It is killed when this goes out of scope.
#[derive(Debug)]
pub struct Running {
    pub address: SocketAddr,
    pub users: Vec<User>,
    child: Child,
    out: Option<BufReader<ChildStdout>>,
}

/// Where an earlier run listened, and its tokens.
#[derive(Clone, Debug)]
pub struct Earlier {
    pub address: SocketAddr,
    pub users: Vec<User>,
}

impl Running {
    pub fn earlier(&self) -> Earlier {
        Earlier { address: self.address, users: self.users.clone() }
    }

    fn of(mut child: Child, users: usize) -> Self {
        let out = child.stdout.take().map(BufReader::new);
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            users: vec![User::default(); users],
            child,
            out,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line of its output.
    pub fn read_address(&mut self) -> Result<()> {
        let mut line = String::new();
        self.out.as_mut().context("its standard output")?.read_line(&mut line)?;
        self.address = line.trim().parse().with_context(|| format!("an address, not {line:?}"))?;
        Ok(())
    }

    fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < end, "nobody listens at {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.address = address;
        Ok(())
    }

    /// SIGKILL, and until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and until it has ended.
    pub fn terminate(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Of the system; some are where only its administrator looks.
fn program(name: &str) -> PathBuf {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&places).collect();
    all.extend(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    all.iter()
        .map(|place| place.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}

fn system_package(name: &str, package: &str) -> Result<()> {
    if program(name).is_file() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("the package {package} is not installed");
    }
    call(Command::new("apt-get").args([
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        package,
    ]))?;
    ensure!(program(name).is_file(), "the package {package} has no {name}");
    Ok(())
}

fn call(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} is not available"))?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{name} failed: {}", errors.lines().last().unwrap_or_default());
    Ok(())
}
