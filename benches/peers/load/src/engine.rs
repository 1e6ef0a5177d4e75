//! Connections of a load generator, all in one thread: it dials, receives, sends heartbeats and messages, and records arrival times.

use crate::dialect::{Dialect, Heard, Role, Wire};
use crate::links::{Link, Stream};
use crate::message::{self, Maker, Received};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Faults that are kept in words; all are counted.
const FAULTS: usize = 5;
/// A frame of which this much waits is not added to.
const WRITE: usize = 8192;
/// Reads of one link in a turn, so that one that floods does not hold up the others.
const READS: usize = 2;

/// How output is written.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// Messages in a frame.
    pub batch: u64,
    /// Bytes of a stream that may be on their way to the dashboard.
    pub in_flight: u64,
}

#[derive(Debug)]
pub struct Load {
    poll: Poll,
    base: Instant,
    target: SocketAddr,
    scratch: Vec<u8>,
    pub links: Vec<Link>,
    pub streams: Vec<Stream>,
    commands: HashMap<String, usize>,
    pub maker: Maker,
    waiting: VecDeque<usize>,
    /// Links of which more may be there to read.
    unread: Vec<usize>,
    again: BinaryHeap<Reverse<(u64, usize)>>,
    dialling: usize,
    /// How many may be opening a session at a time.
    pub dials: usize,
    /// An end of a link is no fault: it is dialled again after this many microseconds, and up to as many more.
    pub redial: Option<u64>,
    /// Leaves as soon as it is in session.
    pub leaves: bool,
    pub live: usize,
    pub left: usize,
    beat_every: u64,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    pub beats: u64,
    pub lags: Vec<u64>,
    pub latencies: Vec<u64>,
    pub delivered: u64,
    pub frames: u64,
    /// How commands that are no streams are.
    pub statuses: HashMap<String, (String, u64)>,
    pub ended: u64,
    /// Output of others than our streams, in bytes.
    pub other_output: u64,
    pub faults: Vec<String>,
    pub fault_count: u64,
    random: u64,
    /// When the first link was connected since it was last set to zero.
    pub first_connected: u64,
    pub failed_dials: u64,
}

impl Load {
    pub fn new(target: SocketAddr, maker: Maker, seed: u64) -> std::io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            base: Instant::now(),
            target,
            scratch: vec![0; 1 << 18],
            links: Vec::new(),
            streams: Vec::new(),
            commands: HashMap::new(),
            maker,
            waiting: VecDeque::new(),
            unread: Vec::new(),
            again: BinaryHeap::new(),
            dialling: 0,
            dials: 512,
            redial: None,
            leaves: false,
            live: 0,
            left: 0,
            beat_every: 0,
            due: BinaryHeap::new(),
            beats: 0,
            lags: Vec::new(),
            latencies: Vec::new(),
            delivered: 0,
            frames: 0,
            statuses: HashMap::new(),
            ended: 0,
            other_output: 0,
            faults: Vec::new(),
            fault_count: 0,
            random: seed,
            first_connected: 0,
            failed_dials: 0,
        })
    }

    /// Microseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.base.elapsed().as_micros() as u64
    }

    /// Vigna's SplitMix64.
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One more link, to be dialled soon.
    pub fn join(&mut self, wire: Wire) -> usize {
        self.links.push(Link::new(wire));
        self.waiting.push_back(self.links.len() - 1);
        self.links.len() - 1
    }

    /// A command that writes, at this agent. With a peer that has no commands it is just a stream.
    pub fn stream(&mut self, link: usize, command: String, open: bool) -> usize {
        let number = self.streams.len();
        self.commands.insert(command.clone(), number);
        let received = Received::default();
        self.streams.push(Stream {
            link,
            command,
            open,
            sent: 0,
            chunks: 0,
            bytes: 0,
            stored: 0,
            received,
        });
        number
    }

    /// All agents beat from now on, spread evenly over the period, in random order.
    pub fn beat_every(&mut self, period: Duration) {
        self.beat_every = period.as_micros() as u64;
        let now = self.now();
        self.due.clear();
        for link in 0..self.links.len() {
            if self.links[link].wire.role == Role::Agent {
                let at = now + self.random() % self.beat_every.max(1);
                self.due.push(Reverse((at, link)));
            }
        }
    }

    pub fn fault(&mut self, fault: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS {
            self.faults.push(fault);
        }
    }

    /// Waits for something to happen, this long at most, and does what is due.
    pub fn turn(&mut self, events: &mut Events, wait: Duration) -> std::io::Result<()> {
        self.dial();
        let now = self.now();
        let due = [self.due.peek(), self.again.peek()]
            .into_iter()
            .flatten()
            .map(|Reverse((at, _))| *at)
            .min();
        let wait = if self.unread.is_empty() { wait } else { Duration::ZERO };
        let wait = due.map_or(wait, |at| wait.min(Duration::from_micros(at.saturating_sub(now))));
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in events.iter() {
            let link = event.token().0;
            if self.links[link].socket.is_none() {
                continue;
            }
            if event.is_writable() || event.is_error() {
                self.writable(link);
            }
            if event.is_readable() || event.is_read_closed() {
                self.readable(link);
            }
        }
        for link in std::mem::take(&mut self.unread) {
            self.readable(link);
        }
        self.beat();
        let now = self.now();
        while let Some(Reverse((at, link))) = self.again.peek().copied() {
            if at > now {
                break;
            }
            self.again.pop();
            self.waiting.push_back(link);
        }
        Ok(())
    }

    fn dial(&mut self) {
        while self.dialling < self.dials {
            let Some(link) = self.waiting.pop_front() else { return };
            match self.connect(link) {
                Ok(socket) => {
                    self.links[link].socket = Some(socket);
                    self.dialling += 1;
                }
                Err(error) => match self.redial {
                    Some(wait) => {
                        self.failed_dials += 1;
                        let at = self.now() + wait + self.random() % wait.max(1);
                        self.again.push(Reverse((at, link)));
                    }
                    None => self.fault(format!("cannot dial: {error}")),
                },
            }
        }
    }

    /// From an address of its own, as those of a fleet mostly have: a server may bound what one address does.
    fn connect(&mut self, link: usize) -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let own = Ipv4Addr::new(127, 1, 1 + (link / 250 % 250) as u8, 1 + (link % 250) as u8);
        socket.bind(&SocketAddr::from((own, 0)).into())?;
        match socket.connect(&self.target.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
            Err(error) => return Err(error),
        }
        let mut socket = TcpStream::from_std(socket.into());
        self.poll.registry().register(
            &mut socket,
            Token(link),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(socket)
    }

    fn writable(&mut self, number: usize) {
        let now = self.now();
        let link = &mut self.links[number];
        if link.connected == 0 {
            let Some(socket) = &link.socket else { return };
            if let Ok(Some(error)) | Err(error) = socket.take_error() {
                return self.ended(number, format!("a dial failed: {error}"));
            }
            if socket.peer_addr().is_err() {
                return;
            }
            link.connected = now;
            if self.first_connected == 0 {
                self.first_connected = now;
            }
            link.wire.dialled();
        }
        self.flush(number);
    }

    /// Writes what waits. Whether all of it was taken.
    pub fn flush(&mut self, number: usize) -> bool {
        let link = &mut self.links[number];
        let Some(socket) = &mut link.socket else { return false };
        while link.sent < link.wire.out.len() {
            match socket.write(&link.wire.out[link.sent..]) {
                Ok(size) => link.sent += size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended(number, format!("cannot write: {error}"));
                    return false;
                }
            }
        }
        link.wire.out.clear();
        link.sent = 0;
        if link.leaving {
            self.drop_link(number);
            self.left += 1;
        }
        true
    }

    fn drop_link(&mut self, number: usize) {
        let link = &mut self.links[number];
        if let Some(mut socket) = link.socket.take() {
            // It goes with the socket.
            let _ = self.poll.registry().deregister(&mut socket);
        }
        if link.live {
            self.live -= 1;
        } else {
            self.dialling -= 1;
        }
        link.live = false;
        link.connected = 0;
        link.sent = 0;
        link.input.clear();
        link.beats.clear();
        link.wire = link.wire.again();
    }

    fn ended(&mut self, number: usize, why: String) {
        if self.links[number].socket.is_none() {
            return;
        }
        if !self.links[number].live {
            self.failed_dials += 1;
        }
        self.drop_link(number);
        match self.redial {
            Some(wait) => {
                let at = self.now() + wait + self.random() % wait.max(1);
                self.again.push(Reverse((at, number)));
            }
            None => self.fault(format!("{}: {why}", self.links[number].wire.name)),
        }
    }

    fn readable(&mut self, number: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = 0;
        loop {
            if reads == READS {
                if !self.unread.contains(&number) {
                    self.unread.push(number);
                }
                break;
            }
            reads += 1;
            let link = &mut self.links[number];
            let Some(socket) = &mut link.socket else { break };
            match socket.read(&mut scratch) {
                Ok(0) => {
                    self.ended(number, "the server ended the link".into());
                    break;
                }
                Ok(size) => {
                    if let Err(why) = self.take(number, &scratch[..size]) {
                        self.ended(number, why);
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended(number, format!("cannot read: {error}"));
                    break;
                }
            }
        }
        self.scratch = scratch;
        if self.links[number].socket.is_some() && !self.links[number].wire.out.is_empty() {
            self.flush(number);
        }
    }

    fn take(&mut self, number: usize, bytes: &[u8]) -> Result<(), String> {
        let input = std::mem::take(&mut self.links[number].input);
        let whole;
        let all: &[u8] = if input.is_empty() {
            bytes
        } else {
            whole = [input, bytes.to_vec()].concat();
            &whole
        };
        // The wire is away meanwhile, since what it hears changes everything else.
        let (dialect, role) = (self.links[number].wire.dialect, self.links[number].wire.role);
        let away = Wire::new(dialect, role, String::new(), String::new());
        let mut wire = std::mem::replace(&mut self.links[number].wire, away);
        let taken = wire.hear(all, &mut |heard| self.heard(number, heard));
        if self.leaves && self.links[number].live && !self.links[number].leaving {
            self.links[number].leaving = true;
            wire.leave();
        }
        if std::mem::take(&mut self.links[number].greets) && !self.leaves {
            let beat = (wire.beat(), self.now());
            self.links[number].beats.push_back(beat);
        }
        self.links[number].wire = wire;
        let rest = &all[taken?..];
        self.links[number].input.extend_from_slice(rest);
        Ok(())
    }

    fn heard(&mut self, number: usize, heard: Heard) {
        let now = self.now();
        let link = &mut self.links[number];
        match heard {
            Heard::Upgraded => link.upgraded = now,
            Heard::Live => {
                link.live = true;
                link.at = now;
                link.greets = link.wire.role == Role::Agent && link.wire.dialect != Dialect::Legacy;
                self.live += 1;
                self.dialling -= 1;
            }
            Heard::Beat(until) => {
                while let Some((sequence, at)) = link.beats.front().copied() {
                    if sequence > until {
                        break;
                    }
                    link.beats.pop_front();
                    self.beats += 1;
                    self.lags.push(now - at);
                }
                // A legacy agent answers probes, and does not hear what is recorded.
                if link.wire.dialect == Dialect::Legacy {
                    self.beats += 1;
                }
            }
            Heard::Stored(command, until) => {
                if command.is_empty() {
                    link.unstored = link.unstored.saturating_sub(1);
                    link.acknowledged = until;
                    return;
                }
                let Some(stream) = self.commands.get(&*command) else { return };
                let stream = &mut self.streams[*stream];
                if until > stream.bytes {
                    let fault = format!(
                        "stored up to {until} of {command}, of which {} were written",
                        stream.bytes
                    );
                    return self.fault(fault);
                }
                let new = until.saturating_sub(stream.stored);
                stream.stored += new;
                link.unstored -= new.min(link.unstored);
            }
            Heard::Output(command, offset, bytes) => {
                if self.links[number].wire.role != Role::Dashboard {
                    self.other_output += bytes.len() as u64;
                    return;
                }
                let stream = match &command {
                    Some(command) => self.commands.get(&**command).copied(),
                    None => message::stream(&bytes).map(|stream| stream as usize),
                };
                let Some(stream) = stream.filter(|stream| *stream < self.streams.len()) else {
                    self.other_output += bytes.len() as u64;
                    return;
                };
                self.frames += 1;
                let received = &mut self.streams[stream].received;
                let before = (received.messages, received.faults);
                let latencies = &mut self.latencies;
                received.take(&self.maker, stream as u32, offset, &bytes, |at| {
                    latencies.push(now - at);
                });
                self.delivered += received.messages - before.0;
                if received.faults > before.1 {
                    let place = received.messages;
                    self.fault(format!(
                        "stream {stream}: lost, repeated or out of order after message {place}"
                    ));
                }
            }
            Heard::Asked(command) => {
                if let Some(stream) = self.commands.get(&*command) {
                    self.streams[*stream].open = true;
                }
            }
            Heard::Status(command, status) => {
                if matches!(&*status, "completed" | "failed" | "cancelled" | "lost" | "unknown") {
                    self.ended += 1;
                    if self.commands.contains_key(&*command) {
                        self.fault(format!("{command} is {status}"));
                    }
                }
                self.statuses.insert(command.into_owned(), (status.into_owned(), now));
            }
        }
    }

    fn beat(&mut self) {
        let now = self.now();
        while let Some(Reverse((at, number))) = self.due.peek().copied() {
            if at > now {
                return;
            }
            self.due.pop();
            self.due.push(Reverse((
                at.max(now.saturating_sub(self.beat_every)) + self.beat_every,
                number,
            )));
            let link = &mut self.links[number];
            // A legacy agent is asked for its beats.
            if link.live && link.wire.dialect != Dialect::Legacy {
                let sequence = link.wire.beat();
                link.beats.push_back((sequence, now));
                self.flush(number);
            }
        }
    }

    /// Has a stream write up to a write's worth, as far as windows allow. How many messages that were.
    pub fn write(&mut self, number: usize, until: u64, writing: Writing) -> u64 {
        let size = self.maker.size() as u64;
        let at = self.now();
        let stream = &mut self.streams[number];
        let link = &mut self.links[stream.link];
        let mut written = 0;
        if !link.live || !stream.open {
            return 0;
        }
        let mut chunk = Vec::with_capacity((writing.batch * size) as usize);
        while link.wire.out.len() < WRITE && stream.sent < until {
            let on_the_way = (stream.sent - stream.received.messages.min(stream.sent)) * size;
            if on_the_way >= writing.in_flight || link.unstored >= link.wire.window {
                break;
            }
            let count = writing.batch.min(until - stream.sent);
            chunk.clear();
            for n in 0..count {
                chunk.extend_from_slice(self.maker.write(number as u32, stream.sent + n, at));
            }
            stream.chunks += 1;
            link.wire.output(number as u32, &stream.command, stream.chunks, stream.bytes, &chunk);
            stream.bytes += chunk.len() as u64;
            stream.sent += count;
            written += count;
            match link.wire.dialect {
                Dialect::Extended => link.unstored += chunk.len() as u64,
                Dialect::Mqtt => link.unstored += 1,
                Dialect::Legacy | Dialect::Relay | Dialect::SocketIo | Dialect::Nats => {}
            }
        }
        if written > 0 {
            let number = stream.link;
            self.flush(number);
        }
        written
    }

    /// Bytes (MQTT: messages) that are written and not acknowledged as stored.
    pub fn unstored(&self) -> u64 {
        self.links.iter().map(|link| link.unstored).sum()
    }
}
