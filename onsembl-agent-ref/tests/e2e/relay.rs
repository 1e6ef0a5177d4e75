//! A relay between an agent and its server that can be told to fail: cut what is open, let it hang, or
//! refuse what comes.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How soon a connection notices what it was told.
const TICK: Duration = Duration::from_millis(10);

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer = 1,
    ToAgent = 2,
}

#[derive(Default)]
struct Orders {
    /// Connections with a lower number are to end.
    cut_before: AtomicU64,
    /// Connections with a lower number pass nothing on, and end when they are cut.
    hang_before: AtomicU64,
    refuse: AtomicBool,
    /// Which direction passes nothing on.
    lost: AtomicU8,
    /// Bytes a second that a connection passes on to the side that dialled; all of them if it is 0.
    pace: AtomicU64,
    /// Connections that come pass on only the first that comes back.
    mute: AtomicBool,
    stop: AtomicBool,
    next: AtomicU64,
}

pub struct Relay {
    pub address: String,
    orders: Arc<Orders>,
    target: Arc<Mutex<String>>,
}

impl Relay {
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        let orders = Arc::new(Orders::default());
        orders.next.store(1, Ordering::SeqCst);
        let target = Arc::new(Mutex::new(target.to_owned()));
        let relay = Self { address, orders: Arc::clone(&orders), target: Arc::clone(&target) };
        thread::spawn(move || {
            while !orders.stop.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((near, _)) if orders.refuse.load(Ordering::SeqCst) => drop(near),
                    Ok((near, _)) => {
                        let far = target.lock().unwrap().clone();
                        if let Ok(far) = TcpStream::connect(far) {
                            let number = orders.next.fetch_add(1, Ordering::SeqCst);
                            join(&near, &far, number, &orders);
                        }
                    }
                    Err(_) => thread::sleep(TICK),
                }
            }
        });
        relay
    }

    /// Connections that come from now on go there.
    pub fn point_to(&self, target: &str) {
        target.clone_into(&mut self.target.lock().unwrap());
    }

    /// Ends every connection that is open.
    pub fn cut(&self) {
        self.orders.cut_before.store(self.orders.next.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// From now on every connection that is open passes nothing on, in both directions, and stays
    /// open until it is cut.
    pub fn hang(&self) {
        self.orders.hang_before.store(self.orders.next.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether connections that come from now on swallow all but the first that the server says, which
    /// is that it took the connection. What is said to it gets through.
    pub fn mute(&self, mute: bool) {
        self.orders.mute.store(mute, Ordering::SeqCst);
    }

    /// What goes this way is swallowed from now on; nothing, if no way is named.
    pub fn lose(&self, way: Option<Way>) {
        self.orders.lost.store(way.map_or(0, |way| way as u8), Ordering::SeqCst);
    }

    /// Each connection passes on this many bytes a second to the side that dialled, and what comes meanwhile waits, as on
    /// a slow link with large buffers.
    pub fn slow_down(&self, bytes_a_second: u64) {
        self.orders.pace.store(bytes_a_second, Ordering::SeqCst);
    }

    pub fn refuse(&self, refuse: bool) {
        self.orders.refuse.store(refuse, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::SeqCst);
        self.orders.cut_before.store(u64::MAX, Ordering::SeqCst);
        drop(self.target.lock());
    }
}

fn join(near: &TcpStream, far: &TcpStream, number: u64, orders: &Arc<Orders>) {
    for stream in [near, far] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TICK)).unwrap();
        // A side that is frozen must not hold the relay up forever.
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    let back = if orders.mute.load(Ordering::SeqCst) { 1 } else { u64::MAX };
    let pairs = [
        (near.try_clone(), far.try_clone(), u64::MAX, Way::ToServer),
        (far.try_clone(), near.try_clone(), back, Way::ToAgent),
    ];
    for (from, to, reads, way) in pairs {
        let (from, to, orders) = (from.unwrap(), to.unwrap(), Arc::clone(orders));
        thread::spawn(move || copy((&from, &to), way, number, reads, &orders));
    }
}

/// Passes on what comes from one side to the other, until it ends or is told to; after this many reads it
/// swallows it.
fn copy(
    (mut from, mut to): (&TcpStream, &TcpStream),
    way: Way,
    number: u64,
    mut reads: u64,
    orders: &Orders,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if number < orders.cut_before.load(Ordering::SeqCst) {
            break;
        }
        if number < orders.hang_before.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) if reads == 0 || orders.lost.load(Ordering::SeqCst) == way as u8 => {}
            Ok(count) => {
                reads -= 1;
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
                let pace = orders.pace.load(Ordering::SeqCst);
                if pace > 0 && way == Way::ToAgent {
                    thread::sleep(Duration::from_millis(count as u64 * 1000 / pace));
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
