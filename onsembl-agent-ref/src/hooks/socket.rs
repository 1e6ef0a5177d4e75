//! The socket of an agent for the hooks of its programs. Few connections, few bytes and a second for each: a hook
//! that nobody has time for is dropped, and its program runs on.

use super::{MOST_BYTES, Message, WITHIN};
use onsembl_protocol::worker::{HookEvent, WorkerEvent};
use onsembl_transport::counters::Counters;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Its name in the state directory.
const NAME: &str = "hook.sock";

/// Hooks that are heard at once. A program runs one for each tool that it uses side by side.
const MOST_CONNECTIONS: usize = 16;

/// After an error of the system, such as too many open files.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// What the hooks of programs say becomes events, until it is dropped.
#[derive(Debug)]
pub(crate) struct HookSocket {
    path: PathBuf,
    listening: JoinHandle<()>,
}

impl HookSocket {
    /// Listens in the state directory `dir`, which belongs to this process and which only its user may enter.
    ///
    /// # Errors
    /// The system refuses, or the path is longer than the path of a socket may be.
    pub(crate) fn listen(
        dir: &Path,
        events: mpsc::Sender<WorkerEvent>,
        counters: Counters,
    ) -> io::Result<Self> {
        let path = std::path::absolute(dir)?.join(NAME);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let listening = tokio::spawn(listen(listener, events, counters));
        Ok(Self { path, listening })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for HookSocket {
    fn drop(&mut self) {
        self.listening.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "cannot remove the socket of hooks");
        }
    }
}

async fn listen(listener: UnixListener, events: mpsc::Sender<WorkerEvent>, counters: Counters) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot receive a hook");
                sleep(AFTER_ERROR).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            counters.count("hooks_dropped");
            continue;
        };
        let (events, counters) = (events.clone(), counters.clone());
        tokio::spawn(async move {
            match timeout(WITHIN, hear(stream, &events)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    counters.count("hooks_not_understood");
                    tracing::debug!(%error, "cannot decode a hook");
                }
                Err(_) => {
                    counters.count("hooks_dropped");
                    tracing::debug!("a hook took too long");
                }
            }
            drop(permit);
        });
    }
}

async fn hear(mut stream: UnixStream, events: &mpsc::Sender<WorkerEvent>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = Vec::new();
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX);
    BufReader::new(reader.take(most)).read_until(b'\n', &mut line).await?;
    let message: Message = serde_json::from_slice(&line)?;
    let Some(event) = HookEvent::parse(&message.event) else {
        let known = HookEvent::ALL.map(HookEvent::as_str).join(", ");
        let why = format!("unknown event {:?}; events are {known}", message.event);
        return Err(io::Error::other(why));
    };
    if let Some(fact) = event.fact(&message.input) {
        let age = Duration::from_millis(message.ago_ms).min(WITHIN);
        let event = WorkerEvent::Fact { command: message.run, fact, age };
        // The agent ends.
        let _ = events.send(event).await;
    }
    writer.write_all(b"\n").await
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::CommandId;
    use onsembl_protocol::worker::Fact;
    use std::time::Instant;

    fn listening(dir: &Path) -> (HookSocket, mpsc::Receiver<WorkerEvent>, Counters) {
        let (entry, events) = mpsc::channel(16);
        let counters = Counters::default();
        (HookSocket::listen(dir, entry, counters.clone()).unwrap(), events, counters)
    }

    async fn said(socket: &HookSocket, text: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(socket.path()).await.unwrap();
        stream.write_all(text).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn what_a_hook_says_is_an_event_before_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, mut events, _) = listening(dir.path());
        let mode = fs::metadata(socket.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(said(&socket, b"{\"run\":\"terminal-1\",\"event\":\"stop\"}\n").await, b"\n");
        let Ok(WorkerEvent::Fact { command, fact, .. }) = events.try_recv() else {
            panic!("no fact")
        };
        assert_eq!((command, fact), (CommandId::new("terminal-1"), Fact::TurnEnded));
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_event_is_dropped_and_the_next_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, mut events, counters) = listening(dir.path());
        let long = vec![b'x'; 2 * MOST_BYTES];
        for odd in [&b"\n"[..], b"{}\n", b"{\"run\":\"t\",\"event\":\"dance\"}\n", &long] {
            assert_eq!(said(&socket, odd).await, b"", "{odd:?}");
        }
        assert!(events.try_recv().is_err());
        assert_eq!(said(&socket, b"{\"run\":\"t\",\"event\":\"prompt\"}\n").await, b"\n");
        assert!(events.try_recv().is_ok());
        assert!(!counters.snapshot().is_empty());
    }

    #[tokio::test]
    async fn who_says_nothing_is_not_awaited_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, mut events, _) = listening(dir.path());
        let mut silent = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            silent.push(UnixStream::connect(socket.path()).await.unwrap());
        }
        let began = Instant::now();
        // One more is dropped, and not answered.
        assert_eq!(said(&socket, b"{\"run\":\"t\",\"event\":\"stop\"}\n").await, b"");
        for mut stream in silent {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        }
        assert!(began.elapsed() < 5 * WITHIN);
        assert_eq!(said(&socket, b"{\"run\":\"t\",\"event\":\"stop\"}\n").await, b"\n");
        assert!(events.try_recv().is_ok());
    }
}
