//! Runs commands, each in a process group of its own, or in a session of its own under a terminal, and
//! streams what they write.
//!
//! Here lives the effect: fork, pipes, signals. Which command may run, what becomes of its output
//! and when it is to be cancelled is decided elsewhere.
//!
//! # Guarantees
//!
//! - Output comes byte for byte, in order within a stream. The two streams race fairly; between
//!   them there is no order, because the kernel keeps none.
//! - [`ProcessEvent::Ended`] comes exactly once. Only [`ProcessEvent::Cleared`] follows, and only if something
//!   outlived the command.
//! - When the consumer takes no events, or reading is paused, nothing is read (at most one chunk
//!   of [`CHUNK_BYTES`] is held) and the process blocks on its pipe.
//! - A dropped [`ProcessHandle`] leaves the process alone. A dropped event receiver does too: its
//!   output is then read and thrown away, so that it dies of no `SIGPIPE`.
//!
//! # When a process has ended
//!
//! When its leader (the shell) has exited and both pipes are at their end. A background process
//! that outlives the leader keeps the pipes open; then the end is whichever comes first:
//!
//! - the pipes reach their end;
//! - [`SILENCE_AFTER_EXIT`] passes without a byte, or [`LONGEST_AFTER_EXIT`] in all, counted only while we read.
//!   What such a process writes later is thrown away, and the end says on which streams; it is not stopped;
//! - the process is cancelled or killed and none of its processes is seen, however long the kernel holds
//!   one back.
//!
//! In each case the bytes that are in the pipes at that moment are delivered first.
//!
//! # Whom we signal
//!
//! Every process of the run: the group of the leader at once, and only while its number is certain to be ours, and
//! all others one by one, wherever they went; see the rule in `group.rs`.

mod census;
mod drive;
mod group;
mod handle;
mod household;
mod leader;
mod linger;
mod pipes;
mod pty;
mod reads;
mod spec;
mod stopping;
mod survivors;
mod tag;

pub use handle::ProcessHandle;
pub use household::adopt_orphans;
pub(crate) use household::sweep;
pub use pty::{Keyboard, Stroking, TypingError};
use spec::Started;
pub use spec::{ProcessSpec, Runner, SpawnError, TextOn};
pub(crate) use survivors::{boot, clear, identify, is_alive, leave};

use bytes::Bytes;
use drive::Process;
use group::Group;
use leader::Leader;
use onsembl_protocol::id::Incarnation;
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::worker::{AfterExit, ProgramState, RunStop};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};

/// The most bytes of one [`ProcessEvent::Output`].
pub const CHUNK_BYTES: usize = 16 * 1024;

/// How long the pipes may be silent after the leader's exit before a background process that
/// still holds them no longer delays [`ProcessEvent::Ended`].
pub const SILENCE_AFTER_EXIT: Duration = AfterExit::SILENCE;

/// How long they are read after the leader's exit at most, however much comes.
pub const LONGEST_AFTER_EXIT: Duration = AfterExit::LONGEST;

/// How long after `SIGKILL` the group may take to vanish before that is remarkable. From then on it is
/// killed again and looked at every two seconds.
pub const KILL_CONFIRMATION: Duration = RunStop::KILL_CONFIRMATION;

/// What a process does, in the order in which it did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent<K> {
    /// It wrote.
    Output {
        /// The key given to [`spawn`].
        key: K,
        /// Where it wrote.
        stream: Stream,
        /// What it wrote: 1 to [`CHUNK_BYTES`] bytes, cut anywhere.
        bytes: Bytes,
    },
    /// It ended.
    Ended {
        /// The key given to [`spawn`].
        key: K,
        /// How the leader ended.
        exit: Exit,
        /// Whether it was confirmed that no process of it is alive. `false` when it ended by
        /// itself and a background process lives on.
        group_empty: bool,
        /// Processes that live and that this run or another one started.
        unclear: Vec<i32>,
        /// What of its output that process may have open. What it writes there is thrown away.
        open: Vec<Stream>,
    },
    /// It ended, and something that it started may be alive, which nobody looks after. Nothing follows. Never said of
    /// a process.
    EndedUnwatched {
        /// The key given to [`spawn`].
        key: K,
        /// How it ended.
        exit: Exit,
    },
    /// Its terminal's program was stopped by a signal, or runs again. Not said of a run without a terminal.
    Program {
        /// The key given to [`spawn`].
        key: K,
        /// Which of the two.
        state: ProgramState,
    },
    /// No process of it is alive any more. Comes behind an end that did not say so.
    Cleared {
        /// The key given to [`spawn`].
        key: K,
    },
}

/// Starts `spec` and streams what it does to `events`, under `key`.
///
/// Must be called within a Tokio runtime with its IO and time drivers on.
///
/// # Errors
///
/// See [`SpawnError`]. Nothing runs then, and no event comes.
pub fn spawn<K>(
    spec: &ProcessSpec,
    key: K,
    events: mpsc::Sender<ProcessEvent<K>>,
) -> Result<ProcessHandle, SpawnError>
where
    K: Clone + Send + 'static,
{
    let child_signals = leader::child_signals().map_err(SpawnError::Watch)?;
    let pid = |started: &Started| started.child.id();
    let (started, kin) = household::start(spec.mark.as_ref(), || spec.start(), pid)?;
    let Started { child, outputs, keyboard } = started;
    let incarnation = Incarnation(wall_millis());
    let tag = kin.as_ref().and_then(household::Kin::tag);
    let group = child.id().zip(kin).and_then(|(pid, kin)| Group::led_by(pid, kin));
    let Some(group) = group else {
        let source = std::io::Error::other("it has no process id");
        return Err(SpawnError::Start { program: "the process".to_owned(), source });
    };
    let has_terminal = keyboard.is_some();
    let group = if has_terminal { group.with_its_session() } else { group };
    let pid = group.leader();
    let (orders, orders_taken) = watch::channel(handle::Orders::default());
    tracing::debug!(%pid, %incarnation, "process started");
    tokio::spawn(drive::drive(Process {
        key,
        child,
        leader: Leader::new(pid, child_signals),
        group,
        outputs,
        orders: orders_taken,
        has_terminal,
        events,
    }));
    Ok(ProcessHandle::new((pid, tag), incarnation, orders, keyboard))
}

fn wall_millis() -> u64 {
    // A clock before 1970 gives 0: the number is a label that tells two runs of one id apart.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
