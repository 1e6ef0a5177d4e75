//! Measurements of a process by the operating system: processor time, memory, bytes written, flushes to the disk.

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::process::{Command, Stdio};
use std::time::Duration;

/// User and system time of a process with all its threads, also those that have ended.
pub fn cpu(pid: u32) -> Result<Duration> {
    let clock =
        ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32)).context("a process that lives")?;
    Ok(Duration::from(clock_gettime(clock)?))
}

/// Of this process.
pub fn own_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Memory that is resident, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = field(&status, "VmRSS:").context("VmRSS of a process that lives")?;
    Ok(kib * 1024)
}

/// Bytes that the process had written to a disk.
pub fn written(pid: u32) -> Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    field(&io, "write_bytes:").context("write_bytes of a process that lives")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Counts `fsync` and `fdatasync` of a process from now on, by `perf` where it may count system calls, else by
/// `strace`, which slows the process.
#[derive(Debug)]
pub struct Flushes {
    child: std::process::Child,
    by_perf: bool,
}

impl Flushes {
    /// Which of the two is to be had here.
    pub fn tool() -> Option<&'static str> {
        let perf = Command::new("perf")
            .args(["stat", "-x,", "-e", "syscalls:sys_enter_fdatasync", "true"])
            .stdin(Stdio::null())
            .output();
        if perf.is_ok_and(|out| {
            out.status.success() && !String::from_utf8_lossy(&out.stderr).contains("<not")
        }) {
            return Some("perf");
        }
        let strace = Command::new("strace").arg("-V").stdin(Stdio::null()).output();
        strace.is_ok_and(|out| out.status.success()).then_some("strace")
    }

    pub fn count(pid: u32) -> Result<Option<Self>> {
        let Some(tool) = Self::tool() else { return Ok(None) };
        let pid = pid.to_string();
        let by_perf = tool == "perf";
        let mut command = Command::new(tool);
        if by_perf {
            command.args([
                "stat",
                "-x,",
                "-e",
                "syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync",
                "-p",
            ]);
        } else {
            command.args(["-f", "-c", "-U", "name,calls", "-e", "trace=fdatasync,fsync", "-p"]);
        }
        let child = command
            .arg(pid)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Some(Self { child, by_perf }))
    }

    pub fn end(self) -> Result<u64> {
        nix::sys::signal::kill(
            Pid::from_raw(self.child.id() as i32),
            nix::sys::signal::Signal::SIGINT,
        )?;
        let out = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&out.stderr);
        Ok(if self.by_perf { counted_by_perf(&text) } else { counted_by_strace(&text) })
    }
}

fn counted_by_perf(text: &str) -> u64 {
    text.lines()
        .filter(|line| line.contains("sys_enter_f"))
        .filter_map(|line| line.split(',').next()?.parse::<u64>().ok())
        .sum()
}

fn counted_by_strace(text: &str) -> u64 {
    text.lines()
        .filter(|line| line.starts_with("fsync") || line.starts_with("fdatasync"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_read_from_either_tool() {
        let perf = "12,,syscalls:sys_enter_fdatasync,82923875,100.00,,\n3,,syscalls:sys_enter_fsync,1,100.00,,\n";
        assert_eq!(counted_by_perf(perf), 15);
        let strace = "syscall calls\n---- ----\nfdatasync 7\nfsync 2\n---- ----\ntotal 9\n";
        assert_eq!(counted_by_strace(strace), 9);
    }

    #[test]
    fn this_process_has_memory_and_takes_time() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 100_000);
        let before = cpu(pid).unwrap();
        let mut n = 0u64;
        while cpu(pid).unwrap() < before + Duration::from_millis(5) {
            n = std::hint::black_box(n + 1);
        }
        assert!(n > 0 && own_cpu() > before);
    }
}
