//! What processes really did, as nobody inside the world knows it: each byte tells its command, its
//! stream and its position.

use bytes::Bytes;
use onsembl_protocol::model::{Keeping, PerStream, Stream, TerminalSize};
use onsembl_protocol::worker::{Run, SpoolPolicy};
use std::sync::OnceLock;

/// A prime, so that a piece that is moved by any usual length does not fit.
const PERIOD: usize = 65_521;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    Runs,
    /// It ended, and its agent does not know yet.
    Exited,
    /// Its agent knows of its end, and of all that it wrote.
    Done,
    /// It was killed together with its agent.
    Orphaned,
}

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) n: usize,
    is_terminal: bool,
    pub(super) run: Run,
    pub(super) policy: SpoolPolicy,
    /// Whether its output is to be stored.
    pub(super) keeping: Keeping,
    pub(super) state: ProcessState,
    /// What it wrote into its pipes.
    pub(super) wrote: PerStream<u64>,
    /// What its agent took out of them.
    pub(super) read: PerStream<u64>,
    /// After how many bytes that its agent had read its terminal got which size.
    pub(super) sizes: Vec<(u64, TerminalSize)>,
}

impl Process {
    /// The `n`th process of this world.
    pub(super) fn new(n: usize, run: Run, policy: SpoolPolicy, keeping: Keeping) -> Self {
        Self {
            n,
            is_terminal: run.command.as_str().starts_with("terminal-"),
            run,
            policy,
            keeping,
            state: ProcessState::Runs,
            wrote: PerStream::default(),
            read: PerStream::default(),
            sizes: Vec::new(),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, ProcessState::Runs | ProcessState::Exited)
    }

    /// What it writes, whatever the core thinks.
    pub(super) fn streams(&self) -> &'static [Stream] {
        if self.is_terminal { &[Stream::Terminal] } else { &[Stream::Stdout, Stream::Stderr] }
    }

    pub(super) fn in_pipe(&self, stream: Stream) -> u64 {
        self.wrote.get(stream) - self.read.get(stream)
    }

    /// What it wrote, or will write, at a position.
    pub(super) fn content(&self, stream: Stream, from: u64, length: u64) -> Bytes {
        let mut all = Vec::with_capacity(length as usize);
        let mut at = self.position(stream, from);
        while all.len() < length as usize {
            let piece = (length as usize - all.len()).min(PERIOD - at);
            all.extend_from_slice(&table()[at..at + piece]);
            at = (at + piece) % PERIOD;
        }
        Bytes::from(all)
    }

    /// Whether it wrote these bytes at this position.
    pub(super) fn wrote_there(&self, stream: Stream, from: u64, bytes: &[u8]) -> bool {
        let (mut at, mut rest) = (self.position(stream, from), bytes);
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(PERIOD - at));
            if table()[at..at + piece.len()] != *piece {
                return false;
            }
            (at, rest) = ((at + piece.len()) % PERIOD, more);
        }
        from + bytes.len() as u64 <= *self.wrote.get(stream)
    }

    fn position(&self, stream: Stream, from: u64) -> usize {
        let salt = self.n * 9_973 + stream as usize * 31_337;
        (from as usize + salt) % PERIOD
    }
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(1);
        (0..PERIOD).map(|_| random.u8(..)).collect()
    })
}
