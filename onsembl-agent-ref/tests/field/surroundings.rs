//! Faults of the fault matrix that need something around the binaries: clocks, certificates, memory, a disk, a
//! database that
//! is held.

use crate::bench::{Bench, FAST, eventually, server_binary};
use crate::certificates::{Authority, Pair, strange};
use crate::clocks::{Clock, RIGHT, restart};
use crate::middlebox::Middlebox;
use crate::programs::{MemoryGroup, find};
use crate::verdicts::{AWAY, Ends, World};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// Small, so that it is full soon.
const DISK: &str = "size=64m";

/// A disk that is mounted here.
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new(find("umount").expect("mount")).arg("--lazy").arg(&self.0).status();
    }
}

impl World {
    /// The agent is started again with something in its environment.
    fn restarted_with(&mut self, environment: Vec<(&'static str, std::ffi::OsString)>) {
        self.ends_by("-TERM");
        self.environment.extend(environment);
        self.joins();
        sleep(Duration::from_millis(1200));
    }

    /// Its machine sleeps: neither does it run, nor does the clock continue by which it waits.
    pub fn sleeps(&mut self) {
        let clock = Clock::new(&self.bench, "clock", RIGHT);
        self.restarted_with(clock.variables_of_sleep());
        self.agent().freeze();
        sleep(AWAY);
        clock.is(&format!("-{}", AWAY.as_secs()));
        self.agent().thaw();
    }

    /// Something on its machine, within the same bound of memory, takes all that there is.
    pub fn runs_out_of_memory(&mut self) {
        let group = MemoryGroup::new("full").unwrap();
        group.take(self.agent());
        // It is in the file of its run when a heartbeat was sent, and that written.
        sleep(Duration::from_secs(3));
        let first = format!("/proc/{}/oom_score_adj", self.agent().0.id());
        std::fs::write(first, "1000").unwrap();
        group.fill();
        self.start_again();
        self.kept.push(Box::new(group));
    }

    /// The server has a certificate of two months, and the agent trusts its root.
    pub fn secure(&mut self) -> Authority {
        drop(self.agent.take());
        let authority = Authority::new();
        let folder = self.bench.folder.path().join("tls");
        std::fs::create_dir(&folder).unwrap();
        let [cert, key] = Pair::dated(&authority).put(&folder).map(|p| p.display().to_string());
        let root = folder.join("root.pem");
        std::fs::write(&root, authority.root.pem()).unwrap();
        let before = std::mem::replace(
            &mut self.bench,
            Bench::with(FAST, &["--tls-cert", &cert, "--tls-key", &key]),
        );
        self.kept.push(Box::new(before));
        self.bench.scheme = "https";
        self.middlebox = Middlebox::new("127.0.0.1", &self.bench.address);
        self.url = format!("wss://localhost:{}", self.middlebox.port());
        self.calls_it_localhost();
        self.environment.push(("ONSEMBL_TLS_CA", root.clone().into()));
        self.bench.tls_ca = Some(root);
        self.put_token();
        authority
    }

    /// Clients reach the server by the name that its certificate has.
    pub fn calls_it_localhost(&mut self) {
        let port = self.bench.address.rsplit_once(':').unwrap().1;
        self.bench.address = format!("localhost:{port}");
    }

    /// The agent's clock is set, so that a good certificate has run out by it or is not valid yet, and set right later.
    pub fn is_set(&mut self, offset: &str) {
        let authority = self.secure();
        let clock = Clock::new(&self.bench, "clock", RIGHT);
        self.environment.extend(clock.variables());
        self.joins();
        sleep(Duration::from_millis(1200));
        // Only a certificate that it has not seen yet is looked at.
        self.serves(&Pair::dated(&authority));
        clock.is(offset);
        self.middlebox.cut();
        sleep(AWAY);
        clock.is(RIGHT);
    }

    /// The server's clock is set, which ends nothing; then the link is cut, which is no fault of the clock.
    pub fn server_is_set(&mut self, offset: &str) {
        let clock = Clock::new(&self.bench, "clock", RIGHT);
        restart(&mut self.bench, &clock);
        let _ = self.bench.await_status("dev", "online");
        sleep(Duration::from_millis(1200));
        clock.is(offset);
        sleep(Duration::from_millis(1500));
        self.middlebox.cut();
        sleep(Duration::from_secs(1));
    }

    pub fn has_another_certificate(&mut self) {
        let authority = self.secure();
        self.joins();
        sleep(Duration::from_millis(1200));
        self.serves(&strange(&authority));
        self.middlebox.cut();
        sleep(AWAY);
        self.serves(&Pair::dated(&authority));
    }

    pub fn serves(&self, pair: &Pair) {
        let again = || self.bench.log("server.log").matches("was reloaded").count();
        let before = again();
        let root = self.bench.tls_ca.as_deref().and_then(Path::parent).unwrap();
        let _ = pair.put(root);
        self.bench.server().signal("-HUP");
        eventually("the server has the other certificate", || again() > before);
    }

    /// Its token runs out in a session, and there is no other.
    pub fn token_runs_out(&mut self) {
        self.ends_by("-TERM");
        let renewed = Command::new(server_binary())
            .args(["token", "--renew", &self.bench.agent_token, "--ttl", "6s", "--data"])
            .arg(self.bench.data())
            .output()
            .unwrap();
        assert!(renewed.status.success(), "{renewed:?}");
        self.write_token(String::from_utf8(renewed.stdout).unwrap().trim());
        self.joins();
        eventually("it has run out", || self.bench.log("dev.log").contains("(4105)"));
        self.ends = Ends::Away;
    }

    /// Another program holds the database of the server, also while the verdict is asked for.
    pub fn database_is_held(&mut self) {
        let db = rusqlite::Connection::open(self.bench.data().join("onsembl.db")).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.kept.push(Box::new(db));
        self.ends = Ends::Unwell;
    }

    /// The data folder of the server is on a disk of its own, and something else fills that.
    pub fn disk_is_full(&mut self) {
        self.server_ends("-TERM");
        let (data, old) = (self.bench.data(), self.bench.folder.path().join("old"));
        std::fs::rename(&data, &old).unwrap();
        std::fs::create_dir(&data).unwrap();
        let mut mount = Command::new(find("mount").expect("mount"));
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&data);
        assert!(mount.status().unwrap().success());
        self.kept.push(Box::new(Disk(data.clone())));
        // The reserve is made to the measure of the disk.
        let entries = std::fs::read_dir(&old).unwrap().flatten();
        for entry in entries.filter(|entry| entry.file_name() != "onsembl.reserve") {
            let _ = std::fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
        }
        let mut owner = Command::new("chmod");
        assert!(owner.arg("700").arg(&data).status().unwrap().success());
        self.bench.start_server();
        let _ = self.bench.await_status("dev", "online");
        let mut filler = File::create(data.join("filler")).unwrap();
        let zeros = vec![0; 1 << 20];
        // The server gives its reserve up piece by piece, and that is filled as well.
        let _ = std::thread::spawn(move || {
            loop {
                while filler.write_all(&zeros).is_ok() || filler.write_all(&[0; 512]).is_ok() {}
                sleep(Duration::from_millis(20));
            }
        });
        self.ends = Ends::Unwell;
    }
}
