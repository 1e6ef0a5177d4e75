//! Something between an agent and its server that keeps its address and can be told what to do with what passes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How soon it does what it was told.
const TICK: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Orders {
    /// Connections with a lower number end.
    cut_before: AtomicU64,
    next: AtomicU64,
    /// Whether what goes to the server, and what goes to the agent, is thrown away.
    no_way_up: AtomicBool,
    no_way_down: AtomicBool,
    /// The next piece that goes to the server is changed.
    garble: AtomicBool,
    /// What new connections get in place of the server.
    answer: Mutex<Option<&'static str>>,
    /// Connections idle for so long, in milliseconds, end; never with zero.
    idle: AtomicU64,
    /// The code with which it closes connections to both sides, as a proxy that speaks WebSocket does; zero: it cuts them.
    code: AtomicU64,
    closed: AtomicBool,
    over: AtomicBool,
}

pub struct Middlebox {
    pub address: String,
    orders: Arc<Orders>,
}

impl Middlebox {
    /// In front of the server at `target`, on a free port of `host`.
    pub fn new(host: &str, target: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let orders = Arc::new(Orders::default());
        let (own, target, at) = (Arc::clone(&orders), target.to_owned(), address.clone());
        thread::spawn(move || {
            let mut listener = Some(listener);
            while !own.over.load(SeqCst) {
                if own.closed.load(SeqCst) {
                    listener = None;
                } else if listener.is_none() {
                    listener = TcpListener::bind(&at).ok();
                }
                if let Some(listener) = &listener {
                    listener.set_nonblocking(true).unwrap();
                    while let Ok((near, _)) = listener.accept() {
                        accepted(near, &target, &own);
                    }
                }
                thread::sleep(TICK);
            }
        });
        Self { address, orders }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    /// Ends every connection that is open.
    pub fn cut(&self) {
        self.orders.cut_before.store(self.orders.next.load(SeqCst), SeqCst);
    }

    /// Whether what goes to the server, and what goes to the agent, gets there.
    pub fn passes(&self, to_server: bool, to_agent: bool) {
        self.orders.no_way_up.store(!to_server, SeqCst);
        self.orders.no_way_down.store(!to_agent, SeqCst);
    }

    pub fn garble(&self) {
        self.orders.garble.store(true, SeqCst);
    }

    /// Gives new connections this in place of the server.
    pub fn answers(&self, answer: Option<&'static str>) {
        *self.orders.answer.lock().unwrap() = answer;
    }

    /// Whether anything listens at its address.
    pub fn listens(&self, listens: bool) {
        self.orders.closed.store(!listens, SeqCst);
        thread::sleep(5 * TICK);
    }

    /// Closes every connection that is open with this code, to both sides.
    pub fn closes(&self, code: u16) {
        self.orders.code.store(code.into(), SeqCst);
        self.cut();
        thread::sleep(10 * TICK);
        self.orders.code.store(0, SeqCst);
    }

    /// Closes connections that are idle for so long, with this code, to both sides.
    pub fn closes_idle(&self, after: Duration, code: u16) {
        self.orders.code.store(code.into(), SeqCst);
        self.cuts_idle(after);
    }

    pub fn cuts_idle(&self, after: Duration) {
        self.orders.idle.store(after.as_millis() as u64, SeqCst);
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        self.cut();
        self.orders.over.store(true, SeqCst);
    }
}

fn accepted(mut near: TcpStream, target: &str, orders: &Arc<Orders>) {
    let answer = *orders.answer.lock().unwrap();
    if let Some(answer) = answer {
        thread::spawn(move || {
            let _ = near.set_nonblocking(false);
            let _ = near.read(&mut [0; 4096]);
            let _ = near.write_all(answer.as_bytes());
        });
        return;
    }
    let Ok(far) = TcpStream::connect(target) else { return };
    let number = orders.next.fetch_add(1, SeqCst);
    let heard = Arc::new(Mutex::new(Instant::now()));
    for stream in [&near, &far] {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TICK)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let ways =
        [(near.try_clone(), far.try_clone(), true), (far.try_clone(), near.try_clone(), false)];
    for (from, to, is_up) in ways {
        let way = Way { from: from.unwrap(), to: to.unwrap(), is_up, number };
        let (orders, heard) = (Arc::clone(orders), Arc::clone(&heard));
        thread::spawn(move || way.copy(&orders, &heard));
    }
}

struct Way {
    from: TcpStream,
    to: TcpStream,
    is_up: bool,
    number: u64,
}

impl Way {
    fn copy(self, orders: &Orders, heard: &Mutex<Instant>) {
        let (mut from, mut to) = (&self.from, &self.to);
        let discarded = if self.is_up { &orders.no_way_up } else { &orders.no_way_down };
        let mut buffer = vec![0; 64 * 1024];
        while self.number >= orders.cut_before.load(SeqCst) {
            let idle = Duration::from_millis(orders.idle.load(SeqCst));
            if !idle.is_zero() && heard.lock().unwrap().elapsed() >= idle {
                break;
            }
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) if discarded.load(SeqCst) => {}
                Ok(count) => {
                    *heard.lock().unwrap() = Instant::now();
                    if self.is_up && orders.garble.swap(false, SeqCst) {
                        buffer[0] |= 0x70;
                    }
                    if to.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        if let Ok(code) = u16::try_from(orders.code.load(SeqCst))
            && code > 0
        {
            let [high, low] = code.to_be_bytes();
            // To a server frames are masked; with zeros they stay as they are.
            let frame: &[u8] = match self.is_up {
                true => &[0x88, 0x82, 0, 0, 0, 0, high, low],
                false => &[0x88, 0x02, high, low],
            };
            let _ = to.write_all(frame);
            thread::sleep(5 * TICK);
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
