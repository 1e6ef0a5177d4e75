//! Programs outside of this workspace, and separate networks: what a case needs, whether it is available, and how it
//! is started.

use crate::bench::Running;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a case needs besides the binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Nginx,
    Haproxy,
    Tinyproxy,
    Faketime,
    /// A separate network, with its own name servers and names.
    Network,
    /// A control group that bounds the memory of its processes.
    MemoryGroup,
}

/// The address of the servers in a separate network. Programs do not treat it as the local host.
pub const ADDRESS: &str = "10.9.9.9";
/// Another one.
pub const OTHER_ADDRESS: &str = "10.9.9.8";
/// An address that accepts packets and never answers.
pub const SWALLOWS: &str = "10.9.8.1";

impl Need {
    /// Why it is not available here, if it is not.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Nginx => not_installed("nginx"),
            Self::Haproxy => not_installed("haproxy"),
            Self::Tinyproxy => not_installed("tinyproxy"),
            Self::Faketime => {
                libfaketime().is_none().then(|| "libfaketime is not installed".into())
            }
            Self::MemoryGroup => {
                let refused = MemoryGroup::new("needed").err();
                refused.map(|error| format!("this system allows no control group: {error}"))
            }
            Self::Network => not_installed("ip").or_else(|| {
                let tried = within(&[self], Path::new("ip")).args(["link", "show", "lo"]).output();
                match tried {
                    Ok(tried) if tried.status.success() => None,
                    Ok(_) | Err(_) => Some("this system allows no network namespaces".into()),
                }
            }),
        }
    }
}

fn not_installed(name: &str) -> Option<String> {
    find(name).is_none().then(|| format!("{name} is not installed"))
}

/// The path of a program, also of one for administrators.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/local/sbin";
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The library that fakes the time.
pub fn libfaketime() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/local/lib", "/lib"].map(PathBuf::from);
    let with_architecture = folders.iter().flat_map(|folder| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        std::iter::once(folder.clone()).chain(entries.map(|entry| entry.path()))
    });
    with_architecture
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|file| file.is_file())
}

/// `program`, in a separate network if it needs one.
pub fn within(needs: &[Need], program: &Path) -> Command {
    if !needs.contains(&Need::Network) {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.arg("--mount-proc").arg("--").arg(program);
    command
}

/// Sets up the network of this process, if the case has a separate one.
pub fn enter(needs: &[Need]) {
    if !needs.contains(&Need::Network) {
        return;
    }
    for words in [
        &["link", "set", "lo", "up"][..],
        &["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"],
        &["address", "add", &format!("{OTHER_ADDRESS}/32"), "dev", "lo"],
        // Packets to it come back in, match no address, and are dropped.
        &["route", "add", "10.9.8.0/24", "dev", "lo"],
    ] {
        done(Command::new(find("ip").expect("ip")).args(words));
    }
}

/// Replaces a file of the system by `file`, for this process and those that it starts.
pub fn put_in_place_of(file: &Path, of_system: &str) {
    done(Command::new("mount").args(["--bind".as_ref(), file.as_os_str(), OsStr::new(of_system)]));
}

fn done(command: &mut Command) {
    let output = command.output().expect("it can be run");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A port that was free a moment ago.
pub fn free_port(address: &str) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

/// Starts a program in the foreground, and waits until it accepts connections.
pub fn listening(command: &mut Command, address: &str) -> Running {
    let child = command.stdin(Stdio::null()).spawn().expect("it can be run");
    let mut running = Running(child);
    crate::bench::eventually(&format!("{command:?} listens"), || {
        std::net::TcpStream::connect(address).is_ok()
    });
    assert!(running.0.try_wait().unwrap().is_none(), "{command:?} ended");
    running
}

/// The configuration from the documentation for a program, with the server at `upstream`.
pub fn documented(language: &str, upstream: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATING.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once(&format!("```{language}\n")).expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    assert!(example.contains("127.0.0.1:8080"), "{example}");
    example.replace("127.0.0.1:8080", upstream)
}

/// A control group whose processes have no more memory than [`BYTES`](Self::BYTES) together.
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    const BYTES: &str = "67108864";

    /// An empty one.
    pub fn new(name: &str) -> std::io::Result<Self> {
        let name = format!("onsembl-{name}-{}", std::process::id());
        // Where a kernel has controllers of both versions, that of memory is in only one of them.
        let (folder, limit) = match Path::new("/sys/fs/cgroup/memory").is_dir() {
            true => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            false => ("/sys/fs/cgroup", "memory.max"),
        };
        let group = Self(Path::new(folder).join(name));
        std::fs::create_dir(&group.0)?;
        std::fs::File::options().write(true).open(group.0.join(limit)).and_then(|mut file| {
            use std::io::Write as _;
            file.write_all(Self::BYTES.as_bytes())
        })?;
        Ok(group)
    }

    /// Moves a process into it.
    pub fn take(&self, running: &Running) {
        std::fs::write(self.0.join("cgroup.procs"), running.0.id().to_string()).unwrap();
    }

    /// Uses up all of the memory, until this process is killed or another one gave room.
    pub fn fill(&self) {
        let procs = self.0.join("cgroup.procs");
        let script = "echo $$ > \"$0\" && exec tail /dev/zero";
        let mut hog = Command::new("sh");
        let _ = hog.args(["-c", script]).arg(procs).stderr(Stdio::null()).status().unwrap();
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
