//! What stands in for systemd, and for cargo, on a machine of a document.
//!
//! `systemctl --user` starts what the `ExecStart` of a unit names, with a socket for `sd_notify`, waits for `READY=1`,
//! and starts it again unless its exit code is one of `RestartPreventExitStatus`. It keeps one unit for each machine.
//! `cargo demo` runs the demo as it was built.

use std::fs;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

const SYSTEMCTL: &str = r#"#!/bin/bash
here=${0%/*}
[ "$1" = --user ] || { echo "this stand-in has services of users only" >&2; exit 1; }
verb=$2
unit=${!#}
unit=${unit%.service}
file=$HOME/.config/systemd/user/$unit.service

setting() { sed -n "s/^$1=//p" "$file"; }

keep() {
    cd "$HOME" || exit
    while [ ! -e "$here/stops" ]; do
        NOTIFY_SOCKET=$here/notify bash -c "exec $(setting ExecStart)" >>"$here/journal" 2>&1 &
        echo $! >"$here/pid"
        wait $!
        code=$?
        rm "$here/pid"
        echo "$code" >"$here/code"
        case " $(setting RestartPreventExitStatus) " in *" $code "*) break ;; esac
        [ -e "$here/stops" ] || sleep "$(setting RestartSec)"
    done
    rm "$here/keeper"
}

start() {
    [ ! -e "$here/keeper" ] || return
    : >"$here/told"
    : >"$here/keeper"
    keep </dev/null >/dev/null 2>&1 &
    until grep -q '^READY=1' "$here/told"; do
        [ -e "$here/keeper" ] || { echo "Job for $unit.service failed." >&2; cat "$here/journal" >&2; exit 1; }
        sleep 0.05
    done
}

stop() {
    : >"$here/stops"
    asked=
    while [ -e "$here/keeper" ]; do
        pid=$(cat "$here/pid" 2>/dev/null)
        # Each process once: a second signal would kill it.
        [ "$pid" = "$asked" ] || kill "$pid" 2>/dev/null
        asked=$pid
        sleep 0.1
    done
    rm "$here/stops"
}

show() {
    code=$(cat "$here/code" 2>/dev/null)
    if [ -e "$here/pid" ]; then
        printf '%s\n' ActiveState=active SubState=running "MainPID=$(cat "$here/pid")" Result=success
    elif [ "${code:-0}" = 0 ]; then
        printf '%s\n' ActiveState=inactive SubState=dead MainPID=0 Result=success
    else
        printf '%s\n' ActiveState=failed SubState=failed MainPID=0 Result=exit-code
    fi
    printf '%s\n' "StatusText=$(sed -n 's/^STATUS=//p' "$here/told" | tail -n 1)" NRestarts=0 "ExecMainStatus=$code"
}

case $verb in
    daemon-reload) ;;
    enable) [ -e "$file" ] || { echo "Unit file $unit.service does not exist." >&2; exit 1; } ;;
    start) start ;;
    restart) stop; start ;;
    stop | disable) stop ;;
    show) show ;;
    *) echo "this stand-in does not know $verb" >&2; exit 1 ;;
esac
"#;

/// The service manager of one machine.
pub struct StandIn {
    socket: UnixDatagram,
}

impl StandIn {
    /// Puts the programs into this folder, which comes first on the search path of the machine.
    pub fn new(folder: &Path, demo: &Path) -> Self {
        program(&folder.join("systemctl"), SYSTEMCTL);
        let cargo = format!("#!/bin/sh\n[ \"$*\" = demo ] && exec {}\n", demo.display());
        program(&folder.join("cargo"), &cargo);
        let socket = UnixDatagram::bind(folder.join("notify")).expect("a socket");
        let told = fs::File::options().create(true).append(true).open(folder.join("told"));
        let (mut told, heard) = (told.expect("a file"), socket.try_clone().expect("a socket"));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = heard.recv(&mut bytes) {
                told.write_all(&bytes[..length]).expect("it can be written");
            }
        });
        Self { socket }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.socket.shutdown(Shutdown::Both).expect("it is open");
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).expect("a program can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it can be run");
}
