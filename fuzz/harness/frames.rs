// What must hold for any bytes of a WebSocket client. Shared by the fuzz target and by the test of `onsembl-transport` that
// replays the corpus on a stable compiler; the harness of the core knows nothing of it, since it needs the transport.

use onsembl_transport::protocol::close::{Breakage, CloseCause, CloseReason, Initiator};
use onsembl_transport::{Link, LinkEnd, LinkLimits, Received, websocket};
use std::io::{self, Cursor, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// Bytes of the longest message.
const MOST: usize = 400;

thread_local! {
    static RUNTIME: io::Result<Runtime> = Builder::new_current_thread().enable_time().build();
}

/// However the bytes come, they mean the same, and what tungstenite reads in them; what is answered are frames of a server.
/// The first two bytes say in what pieces the others come, and how many of them came with the request.
pub fn frames(input: &[u8]) {
    let [piece, early, bytes @ ..] = input else { return };
    let whole = ours(bytes, usize::MAX, 0);
    let cut = ours(bytes, 1 + usize::from(*piece), usize::from(*early));
    assert_eq!(cut, whole, "cut and whole");
    assert!(whole.messages.iter().all(|message| length(message) <= MOST), "over the limit");
    agree(&whole, bytes);
    let answers = answers(&whole.written);
    let controls = whole.messages.iter().filter(|message| **message == Received::Control).count();
    assert!(answers <= controls + 1, "{answers} answers to {controls} control frames");
}

fn length(message: &Received) -> usize {
    match message {
        Received::Text(text) => text.len(),
        Received::Binary(bytes) => bytes.len(),
        Received::Control => 0,
    }
}

/// What came of the bytes of a peer.
#[derive(Debug, PartialEq)]
struct Heard {
    messages: Vec<Received>,
    end: LinkEnd,
    written: Vec<u8>,
}

/// What our link makes of these bytes.
fn ours(bytes: &[u8], piece: usize, early: usize) -> Heard {
    let (early, later) = bytes.split_at(early.min(bytes.len()));
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let stream = Peer {
        bytes: later.to_vec(),
        read: 0,
        piece,
        is_there: false,
        written: Arc::clone(&written),
    };
    let limits = LinkLimits::DEFAULT.with_message_bytes(MOST);
    let heard = async {
        let link = websocket::upgraded(stream, early.to_vec(), "peer", limits).await;
        let Link { mut reader, .. } = link;
        let mut messages = Vec::new();
        loop {
            match reader.receive().await {
                Ok(message) => messages.push(message),
                Err(end) => break (messages, end),
            }
        }
    };
    let (messages, end) = RUNTIME.with(|runtime| match runtime {
        Ok(runtime) => runtime.block_on(heard),
        Err(error) => panic!("no runtime: {error}"),
    });
    let written = std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
    Heard { messages, end, written }
}

/// A peer whose bytes come in pieces, each a moment later, and that takes as much at once of what is written.
struct Peer {
    bytes: Vec<u8>,
    read: usize,
    piece: usize,
    is_there: bool,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        page: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_there = !self.is_there;
        if self.is_there {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let piece = rest.get(..self.piece.min(page.remaining())).unwrap_or(rest);
        let piece = piece.get(..page.remaining()).unwrap_or(piece);
        page.put_slice(piece);
        let read = piece.len();
        self.read += read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = bytes.get(..self.piece).unwrap_or(bytes);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What tungstenite reads, and what it writes goes nowhere.
struct Stream(Cursor<Vec<u8>>);

impl Read for Stream {
    fn read(&mut self, page: &mut [u8]) -> io::Result<usize> {
        self.0.read(page)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Holds what our link made of some bytes against tungstenite.
fn agree(ours: &Heard, bytes: &[u8]) {
    let config = WebSocketConfig::default()
        .read_buffer_size(512)
        .max_message_size(Some(MOST))
        .max_frame_size(Some(MOST));
    let stream = Stream(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut messages = Vec::new();
    let reason = loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push(Received::Text(text.as_str().to_owned())),
            Ok(Message::Binary(bytes)) => messages.push(Received::Binary(bytes)),
            Ok(Message::Ping(_) | Message::Pong(_)) => messages.push(Received::Control),
            Ok(Message::Close(_)) => break None,
            Ok(Message::Frame(_)) => panic!("it gives no frames"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                break Some(CloseReason::broken(Breakage::EndOfStream));
            }
            Err(Error::Protocol(_)) => break Some(CloseReason::local(CloseCause::ProtocolError)),
            Err(Error::Capacity(_)) => break Some(CloseReason::local(CloseCause::TooBig)),
            Err(Error::Utf8(_)) => break Some(CloseReason::local(CloseCause::InvalidText)),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(ours.messages, messages, "messages, and those of tungstenite");
    match reason {
        None => assert_eq!(ours.end.reason.initiator, Initiator::Peer, "its close frame"),
        // We say what is wrong with a frame by its header, and tungstenite once all of it is there.
        Some(reason) if reason == CloseReason::broken(Breakage::EndOfStream) => assert!(
            ours.end.reason == reason || ours.end.reason.initiator == Initiator::Local,
            "{:?} at the end of the stream",
            ours.end
        ),
        Some(reason) => assert_eq!(ours.end.reason, reason, "the fault"),
    }
}

/// How many frames were written, each whole, not masked and short.
fn answers(mut written: &[u8]) -> usize {
    let mut count = 0;
    while let [first, length, rest @ ..] = written {
        assert!(matches!(*first, 0x88 | 0x8a), "{first:#x}: neither a pong nor a close frame");
        assert!(*length <= 125, "{length:#x}: masked, or too long");
        let payload = rest.get(..usize::from(*length));
        assert!(payload.is_some(), "a frame that was not written to its end");
        written = rest.get(usize::from(*length)..).unwrap_or_default();
        count += 1;
    }
    assert!(written.is_empty(), "half a header");
    count
}
