//! An agent in a plain thread with a blocking socket, one JSON text a line: no runtime, no WebSocket. It
//! stays connected over any number of restarts of its server, and notices that its machine slept.
#![allow(clippy::disallowed_methods, reason = "this is the edge")]

use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::id::{AgentKey, InstanceId, LinkId};
use onsembl_protocol::session::frames::{AgentFrames, AgentProfile};
use onsembl_protocol::session::*;
use onsembl_protocol::time::{Deadline, Now, WallTime};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown::Both, TcpStream};
use std::sync::mpsc::{SendError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

enum Io {
    Up(LinkId, TcpStream),
    Text(LinkId, String),
    Event(AgentEvent),
}

fn main() {
    let profile = AgentProfile::new("plain", AgentKey::new("plain"), InstanceId::new("run-1"));
    run("127.0.0.1:7000", profile, |status| writeln!(std::io::stdout(), "{status:?}").is_ok());
}

/// Runs an agent until it is closed. `watch` sees each status, and says whether to continue.
pub fn run(address: &str, profile: AgentProfile, mut watch: impl FnMut(AgentStatus) -> bool) {
    let (origin, (io, inbox)) = (Instant::now(), channel());
    let mut frames = AgentFrames::new(profile, Default::default());
    let mut machine = AgentConnection::new(AgentConfig::DEFAULT, std::process::id().into());
    let (mut links, mut event) = (BTreeMap::<LinkId, TcpStream>::new(), AgentEvent::Start);
    loop {
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let wall = WallTime::from_unix_millis(unix.as_millis() as i64);
        let step = machine.handle(event, Now::new(origin.elapsed(), since_boot(), wall));
        for action in step.actions {
            if let Some((link, text)) = frames.outgoing(&action, wall, Default::default)
                && let Some(mut stream) = links.get(&link)
                && stream.write_all(format!("{text}\n").as_bytes()).is_err()
            {
                let _its_reader_tells = stream.shutdown(Both);
            }
            match action {
                AgentAction::Dial(link) => {
                    let (address, io) = (address.to_owned(), io.clone());
                    std::thread::spawn(move || read(&address, link, &io));
                }
                AgentAction::Close(id, _) => drop(links.remove(&id).map(|s| s.shutdown(Both))),
                AgentAction::Report(report) if !watch(report.status) => {
                    let _ = io.send(Io::Event(AgentEvent::Stop));
                }
                _ => {} // its text was sent, or it is for people
            }
        }
        let Deadline::At(wake) = step.deadline else { return };
        event = match inbox.recv_timeout(wake.since_origin().saturating_sub(origin.elapsed())) {
            Ok(Io::Event(event)) => event,
            Ok(Io::Up(link, stream)) => {
                let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
                links.insert(link, stream);
                AgentEvent::LinkUp(link)
            }
            Ok(Io::Text(link, text)) => {
                AgentEvent::Received(link, frames.read(link, &text, wall).inbound) // orders: its `content`
            }
            Err(_) => AgentEvent::Wake,
        };
    }
}

/// A clock that runs on while the machine sleeps. This is Linux's; other systems have one of their own.
fn since_boot() -> Duration {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or_default())
}

/// Opens a link and reads it to its end.
fn read(address: &str, link: LinkId, io: &Sender<Io>) -> Result<(), SendError<Io>> {
    let Ok((up, down)) = TcpStream::connect(address).and_then(|s| Ok((s.try_clone()?, s))) else {
        return io.send(Io::Event(AgentEvent::DialFailed(link, DialFailure::Unreachable)));
    };
    io.send(Io::Up(link, up))?;
    let (mut down, mut text) = (BufReader::new(down), String::new());
    while matches!(down.by_ref().take(1 << 20).read_line(&mut text), Ok(1..)) {
        io.send(Io::Text(link, std::mem::take(&mut text)))?;
    }
    io.send(Io::Event(AgentEvent::LinkDown(link, CloseReason::broken(Breakage::EndOfStream))))
}
