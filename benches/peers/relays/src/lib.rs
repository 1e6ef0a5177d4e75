//! Code shared by both relays: the listener, and the forwarding of messages to viewers.
//!
//! An agent's text is a hello or a heartbeat and is answered by a text as long as our server's answer. Its binary
//! message is passed on to every dashboard. There is no session, no storage and no queue beyond a bounded channel.

use bytes::Bytes;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a text is answered with.
pub const ANSWER: &str = concat!(
    r#"{"type":"SERVER_HEARTBEAT","id":"00000000-0000-4000-8000-000000000000","timestamp":1762080000000,"#,
    r#""payload":{"serverTime":1762080000000,"sequence":1,"seen":{"sequence":1,"ageMs":1}}}"#
);

/// Messages that may wait for one dashboard; beyond them agents are not read.
pub const QUEUE: usize = 1024;

/// Those who watch.
#[derive(Clone, Default)]
pub struct Dashboards(Arc<Mutex<Arc<[mpsc::Sender<Bytes>]>>>);

impl Dashboards {
    /// One more.
    pub fn join(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut all = self.0.lock().expect("no holder panics");
        *all = all.iter().filter(|old| !old.is_closed()).cloned().chain([sender]).collect();
        receiver
    }

    /// Passes a message on; waits where a dashboard does not read.
    pub async fn send(&self, message: Bytes) {
        let all = self.0.lock().expect("no holder panics").clone();
        for dashboard in all.iter() {
            // One that has gone is no longer to be served.
            let _ = dashboard.send(message.clone()).await;
        }
    }
}

/// Listens on a free port of the loopback, says which, and serves each connection in a task of its own.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(
    mut each: impl FnMut(TcpStream, Dashboards) -> F,
) -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    // The standard library asks for 4,096 or what the system allows; tokio itself for 1,024.
    let listener = TcpListener::from_std(listener)?;
    let dashboards = Dashboards::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(each(stream, dashboards.clone()));
    }
}
