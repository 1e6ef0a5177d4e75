//! How what a host says begins: what it speaks, when it is not what was asked for.

use http::{HeaderMap, header};
use onsembl_protocol::session::DialFault;
use onsembl_protocol::shown::Shown;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept: enough for the greeting of a protocol.
const MOST: usize = 48;

/// What came first over a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

/// The clock of a server, as an answer of it gave it, and that of this machine at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Clocks {
    /// To the second.
    pub server: SystemTime,
    pub here: SystemTime,
}

impl Clocks {
    /// Those of an answer that came just now.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let server = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
        Some(Self { server, here: SystemTime::now() })
    }
}

impl Heard {
    /// Whether there was anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// What it speaks, if that is not HTTP, and how it begins.
    pub(crate) fn foreign(&self) -> Option<(DialFault, String)> {
        let bytes = self.bytes();
        match bytes.as_slice() {
            [] => None,
            // A record of TLS: an alert or a handshake, of version 3.
            [0x15 | 0x16, 3, ..] => Some((DialFault::SpeaksTls, String::new())),
            bytes if bytes.starts_with(b"HTTP/") || b"HTTP/".starts_with(bytes) => None,
            bytes => {
                let text = String::from_utf8_lossy(bytes);
                let line = text.lines().next().unwrap_or_default();
                Some((DialFault::NoHttp, format!("begins with \"{}\"", Shown::new(line))))
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn more(&self, bytes: &[u8]) -> usize {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST.saturating_sub(heard.len());
        heard.extend(bytes.iter().take(room));
        heard.len()
    }
}

/// A stream whose beginning is kept.
pub(crate) struct Listening<S> {
    stream: S,
    /// Until enough was heard.
    heard: Option<Heard>,
}

impl<S> Listening<S> {
    pub(crate) fn new(stream: S) -> (Self, Heard) {
        let heard = Heard::default();
        (Self { stream, heard: Some(heard.clone()) }, heard)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(heard) = &this.heard
            && heard.more(buf.filled().get(before..).unwrap_or_default()) >= MOST
        {
            this.heard = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn heard(parts: &[&[u8]]) -> Heard {
        let (near, mut far) = tokio::io::duplex(4096);
        let (mut stream, heard) = Listening::new(near);
        for part in parts {
            far.write_all(part).await.unwrap();
        }
        drop(far);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, parts.concat(), "what is kept is passed on anyway");
        heard
    }

    #[tokio::test]
    async fn what_is_no_http_is_named() {
        assert_eq!(heard(&[]).await.foreign(), None);
        assert_eq!(heard(&[b"HT", b"TP/1.1 200 OK"]).await.foreign(), None);
        assert_eq!(heard(&[b"HT"]).await.foreign(), None);
        let alert = heard(&[&[0x15, 3, 3, 0, 2, 2, 40]]).await.foreign();
        assert_eq!(alert, Some((DialFault::SpeaksTls, String::new())));
        let (fault, how) =
            heard(&[b"SSH-2.0-OpenSSH_9.2\r\nand more\x1b"]).await.foreign().unwrap();
        assert_eq!(
            (fault, how.as_str()),
            (DialFault::NoHttp, "begins with \"SSH-2.0-OpenSSH_9.2\"")
        );
        let long = heard(&[&[b'x'; 4000]]).await;
        assert_eq!(long.bytes().len(), MOST);
    }
}
