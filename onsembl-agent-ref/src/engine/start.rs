//! What an agent opens before it runs: its state directory and what earlier runs left there, the journal, the
//! spool, the
//! socket of hooks.

use super::credentials::Credentials;
use crate::hooks::HookSocket;
use crate::journal::{self, Journal, JournalEvent};
use crate::options::{AgentError, AgentOptions};
use crate::preset::SETTINGS_FILE;
use crate::process;
use crate::run_file::{self, RunFile};
use crate::spool::Spool;
use crate::state_dir::{SPOOL_FOLDER, StateDir, io_error};
use onsembl_protocol::id::JournalId;
use onsembl_protocol::worker::{
    Cleared, Journalling, LeftRun, Predecessor, Recovered, SpoolBounds, SpoolEvent, WorkerEvent,
};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::private;
use onsembl_transport::websocket::WebSocketDialer;
use std::io;
use std::path::Path;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

type OpenJournal = (Journal, UnboundedReceiver<JournalEvent>, journal::Recovered);
type OpenSpool = (Spool, UnboundedReceiver<SpoolEvent>, Vec<LeftRun>);

/// What an agent found on its machine.
pub(super) struct Found {
    pub(super) dir: StateDir,
    pub(super) dialer: WebSocketDialer,
    pub(super) left: Left,
}

/// What earlier runs left, and what keeps what this one writes.
pub(super) struct Left {
    journal: io::Result<(OpenJournal, Vec<Cleared>)>,
    /// None if nothing is to be kept on disk.
    spool: Option<io::Result<OpenSpool>>,
    run: Option<run_file::Left>,
}

/// The same, as the worker is told of it.
pub(super) struct Kept {
    pub(super) recovered: Recovered,
    pub(super) journal: Option<(Journal, UnboundedReceiver<JournalEvent>)>,
    pub(super) journal_id: Option<JournalId>,
    pub(super) journalling: Journalling,
    pub(super) spool: Option<(Spool, UnboundedReceiver<SpoolEvent>)>,
    pub(super) bounds: SpoolBounds,
}

impl Found {
    /// Opens all of it, beside the runtime: a disk may be slow.
    pub(super) async fn look(
        options: &AgentOptions,
        credentials: &Credentials,
    ) -> Result<Self, AgentError> {
        let (options, credentials) = (options.clone(), credentials.clone());
        let found = tokio::task::spawn_blocking(move || Self::look_now(&options, &credentials));
        found.await.map_err(|error| AgentError::Internal(error.to_string()))?
    }

    fn look_now(options: &AgentOptions, credentials: &Credentials) -> Result<Self, AgentError> {
        let dir = StateDir::open(options.state_dir.clone(), &options.name)?;
        let dialer = credentials.dialer(options)?;
        let owner = dir.earlier_owner().filter(process::is_alive);
        let predecessor = owner.map_or(Predecessor::Ended, Predecessor::Runs);
        let journal = Journal::open(dir.path()).map(|opened| {
            let left = opened.2.journal.left_behind();
            let cleared = match &predecessor {
                Predecessor::Runs(owner) => process::leave(left, owner),
                Predecessor::Ended => process::clear(left),
            };
            (opened, cleared)
        });
        let (version, at) = (env!("CARGO_PKG_VERSION"), SystemClock::new().now().wall);
        let run = predecessor.is_run_before().then(|| RunFile::left(dir.path(), version, at));
        let spool = (options.spool_bytes > 0).then(|| Spool::open(&dir.path().join(SPOOL_FOLDER)));
        if let Some(settings) = &options.additions.settings {
            let path = dir.path().join(SETTINGS_FILE);
            private::replace(&path, settings.as_bytes())
                .map_err(io_error("write the settings of the preset", &path))?;
        }
        Ok(Self { dir, dialer, left: Left { journal, spool, run: run.flatten() } })
    }
}

impl Left {
    /// What cannot be kept is counted and logged, and the worker does without.
    pub(super) fn take_up(self, options: &AgentOptions, dir: &Path, counters: &Counters) -> Kept {
        let mut recovered = Recovered::default();
        if let Some(left) = self.run {
            recovered.run_before = Some(left.run.finding_of(&left.version));
            (recovered.findings, recovered.findings_ago) = (left.findings, left.ago);
        }
        let (journal, journal_id, journalling) = match self.journal {
            Ok(((journal, events, found), cleared)) => {
                (recovered.journal, recovered.cleared) = (found.journal, cleared);
                (Some((journal, events)), Some(found.id), Journalling::Kept)
            }
            Err(error) => {
                counters.count("journal_failures");
                tracing::error!(%error, path = %dir.display(), "the journal is unusable; every command is refused until the agent is started with a usable state directory");
                (None, None, Journalling::Failed(error.to_string()))
            }
        };
        let (spool, bounds) = match self.spool {
            Some(Ok((spool, events, left))) => {
                recovered.runs = left;
                let bounds = SpoolBounds { disk: options.spool_bytes, ..SpoolBounds::DEFAULT };
                (Some((spool, events)), bounds)
            }
            Some(Err(error)) => {
                counters.count("spool_failures");
                tracing::error!(%error, path = %dir.join(SPOOL_FOLDER).display(), "the spool cannot be used; output is kept in memory only, and is lost if the agent dies");
                (None, SpoolBounds::MEMORY_ONLY)
            }
            None => (None, SpoolBounds::MEMORY_ONLY),
        };
        Kept { recovered, journal, journal_id, journalling, spool, bounds }
    }
}

/// Where hooks of programs are heard; without, what a program does is known from its terminal only.
pub(super) fn listen(
    dir: &StateDir,
    events: Sender<WorkerEvent>,
    counters: &Counters,
) -> Option<HookSocket> {
    let heard = HookSocket::listen(dir.path(), events, counters.clone());
    heard
        .inspect_err(|error| {
            counters.count("hooks_unheard");
            tracing::warn!(%error, path = %dir.path().display(), "cannot listen for program hooks (is the path of the state directory longer than about 95 bytes?); activity is known from the terminal only");
        })
        .ok()
}
