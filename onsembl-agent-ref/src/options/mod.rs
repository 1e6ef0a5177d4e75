//! What an agent is given at its start, what it lets others watch, how it ends, and why it cannot start. Plain values.

mod control;
mod error;

pub(crate) use control::ControlRequest;
pub use control::{AgentControl, ControlInbox};
pub use error::AgentError;

use crate::preset::Additions;
use crate::process::Runner;
use onsembl_protocol::id::BeatSequence;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Exit;
use onsembl_protocol::session::{AgentCause, AgentStatus, EndOrder};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{AgentType, RecordedBeat, RecordingLag};
use onsembl_protocol::worker::{
    BackgroundPolicy, Fence, SpoolBounds, SpoolPolicy, TerminalConfig, WorkerEnd,
};
use onsembl_transport::ProxyRule;
use onsembl_transport::secret::Secret;
#[cfg(feature = "otel")]
use onsembl_transport::traces::TraceSettings;
use onsembl_transport::websocket::DialerError;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Where the token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSourceKind {
    /// This text. A newer token that the server sends replaces it until the process ends.
    Literal(Secret),
    /// This file, read again at each dial. It stays the authority: a newer token that the server
    /// sends is not used.
    File(PathBuf),
}

/// What an agent is given at its start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentOptions {
    /// The server: `http`, `https`, `ws` or `wss`. Its path is a prefix, unless it names a WebSocket.
    pub server: String,
    /// Where the token comes from.
    pub token: TokenSourceKind,
    /// The name people know the agent by, 1 to 256 bytes.
    pub name: String,
    /// What runs behind it.
    pub agent_type: AgentType,
    /// Its state directory; derived from the name if not given
    /// (see [`state_dir::locate`](crate::state_dir::locate)).
    pub state_dir: Option<PathBuf>,
    /// A PEM file with the certificates to trust; those of the operating system if not given.
    pub tls_ca: Option<PathBuf>,
    /// Which proxy to go through; what the environment says if not given.
    pub proxy: Option<ProxyRule>,
    /// How much output may be kept on disk until the server has stored it, over all commands; none
    /// with 0, and then 4 MiB are kept in memory.
    pub spool_bytes: u64,
    /// What happens to output when that much is kept; if not given, commands wait and a terminal drops
    /// its oldest.
    pub spool_policy: Option<SpoolPolicy>,
    /// What runs commands.
    pub runner: Runner,
    /// What of a request is passed on to commands; what their executor says if not given.
    pub fence: Option<Fence>,
    /// Whether its identity ends when it leaves permanently, so that the server forgets it soon after that.
    pub ephemeral: bool,
    /// The policy for processes that outlive their commands.
    pub background: BackgroundPolicy,
    /// Whether the terminal of this process is joined to that of a [`Runner::Terminal`]; the agent then
    /// ends with its program.
    pub attach: bool,
    /// How long an untouched, unfinished line at that terminal delays texts of others.
    pub line_idle: Duration,
    /// How many commands run at once, at least one; the others wait. If not given, 4, and 1 with a
    /// terminal.
    pub max_parallel: Option<usize>,
    /// What is added to the runs of the program, if a preset says so.
    pub additions: Additions,
    /// Where the spans of commands go; nowhere if not given.
    #[cfg(feature = "otel")]
    pub traces: Option<TraceSettings>,
    /// The observer. If it does not keep up with its channel, heartbeats are left out, and of statuses all but the
    /// latest; the counter `observations_dropped` counts both.
    pub observer: Option<mpsc::Sender<AgentObservation>>,
    /// What the process asks of the engine while it runs; nothing if not given.
    pub control: Option<ControlInbox>,
}

impl AgentOptions {
    /// Options of a custom agent without an observer, with everything else at its default.
    pub fn new(server: impl Into<String>, token: TokenSourceKind, name: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            token,
            name: name.into(),
            agent_type: AgentType::Custom,
            state_dir: None,
            tls_ca: None,
            proxy: None,
            spool_bytes: SpoolBounds::DEFAULT.disk,
            spool_policy: None,
            runner: Runner::Shell,
            fence: None,
            ephemeral: false,
            background: BackgroundPolicy::Keep,
            attach: false,
            line_idle: TerminalConfig::LINE_IDLE,
            max_parallel: None,
            additions: Additions::default(),
            #[cfg(feature = "otel")]
            traces: None,
            observer: None,
            control: None,
        }
    }

    /// What no server would accept is refused here, where the error is seen.
    pub(crate) fn check(&self) -> Result<(), AgentError> {
        let most = Limits::DEFAULT.name_bytes;
        for (what, text) in [("name", self.name.as_str()), ("type", self.agent_type.as_str())] {
            if text.trim().is_empty() || text.len() > most {
                return Err(AgentError::Label { what, most });
            }
        }
        match &self.token {
            TokenSourceKind::Literal(token) if token.expose().is_empty() => {
                Err(AgentError::EmptyToken)
            }
            TokenSourceKind::Literal(_) | TokenSourceKind::File(_) => Ok(()),
        }
    }
}

/// Something that a watcher may want to show.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentObservation {
    /// The connection changed its status.
    Status {
        /// The new status.
        status: AgentStatus,
        /// What brought it.
        cause: AgentCause,
        at: WallTime,
    },
    /// A heartbeat was handed to the link.
    BeatSent {
        /// Its number in the session.
        sequence: BeatSequence,
        at: WallTime,
    },
    /// A heartbeat of the server came.
    BeatAnswered {
        /// The latest own heartbeat that the server has seen.
        seen: Option<BeatSequence>,
        /// The latest own heartbeat that its database holds.
        recorded: Option<RecordedBeat>,
        /// Why recording lags, while it does.
        lag: Option<RecordingLag>,
        /// When it came.
        at: WallTime,
    },
}

/// How an agent ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentEnd {
    /// It was stopped on its machine.
    Shutdown,
    /// The program that it was attached to ended.
    ProgramEnded(Exit),
    /// The server ordered it to stop.
    StoppedByServer,
    /// The server ordered a restart. The program does so instead of this process; who
    /// embeds the engine runs it again.
    RestartedByServer,
}

impl AgentEnd {
    pub(crate) fn of(end: WorkerEnd) -> Result<Self, AgentError> {
        match end {
            WorkerEnd::Shutdown => Ok(Self::Shutdown),
            WorkerEnd::ProgramEnded(exit) => Ok(Self::ProgramEnded(exit)),
            WorkerEnd::ProgramCannotStart(why) => Err(AgentError::Program(why)),
            WorkerEnd::Ordered(EndOrder::Stop) => Ok(Self::StoppedByServer),
            WorkerEnd::Ordered(EndOrder::Restart) => Ok(Self::RestartedByServer),
            WorkerEnd::Refused(cause) => Err(AgentError::Refused { cause }),
        }
    }
}

/// The dialer's errors stay out of the public interface; their texts say what to do.
impl From<DialerError> for AgentError {
    fn from(error: DialerError) -> Self {
        Self::Server(error.into())
    }
}
