//! A command that is to be run from here: what it is, and running it.

use super::ClientToken;
use super::endpoint::Endpoint;
use super::run::{Canceller, Followed, Run};
use super::screen::{Ends, Notes, Screen};
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::TraceContext;
use onsembl_protocol::wire::payload::{
    CommandInput, CommandRequest, Feature, LongText, OfflinePolicy, OpenLine, Priority, SecretEcho,
    TypeIf,
};
use onsembl_protocol::wire::{Bounded as _, DashboardToServer};
use onsembl_transport::ProxyRule;
use onsembl_transport::tls::TlsRoots;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// The agent enforces the time limit too, this much later, in case this process dies first.
const LIMIT_MARGIN: Duration = Duration::from_secs(10);

/// Longer than any caller waits.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long a dial may take before it is spoken of.
const DIAL_PATIENCE: Duration = Duration::from_secs(1);

/// Until when a command is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// Until it ends.
    #[default]
    End,
    /// Until the server has stored that it is to be run. It continues then, whatever becomes of this process.
    Taken,
}

/// A command that is to be run.
#[derive(Clone, Debug)]
pub struct RemoteCommand {
    /// The server: http, https, ws or wss.
    pub server: String,
    /// A dashboard token.
    pub token: ClientToken,
    /// Which certificates to trust.
    pub roots: TlsRoots,
    /// Which proxy to go through.
    pub proxy: ProxyRule,
    /// The agent, by its name or its id.
    pub agent: String,
    /// What `/bin/sh -c` is to run there, or what is to be typed into its terminal: 64 KiB, and of what is typed into a terminal
    /// up to [`LongText::MOST`].
    pub text: String,
    /// Its id, by which it is known to everybody from then on. A new one for each.
    pub id: CommandId,
    /// Longest run time; then it is cancelled. `None`: none.
    pub timeout: Option<Duration>,
    /// Where it is to run; where its agent does if not given.
    pub working_directory: Option<String>,
    /// Environment on top of that of the agent.
    pub env: BTreeMap<String, String>,
    /// Until when it is followed.
    pub until: Until,
    /// What becomes of what there is to say of it.
    pub notes: Notes,
    /// What of its output is passed on.
    pub ends: Ends,
    /// What to do if the agent is offline.
    pub offline: OfflinePolicy,
    /// How urgent it is among those that wait.
    pub priority: Priority,
    /// What the text is.
    pub input: CommandInput,
    /// What it does about a line that somebody has begun at the agent's own terminal.
    pub open_line: OpenLine,
    /// What becomes of a secret where the terminal shows what is typed.
    pub echo: SecretEcho,
    /// What the program must be doing for it to be typed; anything if not given.
    pub condition: Option<TypeIf>,
    /// Whether its output is relayed to who watches and not stored.
    pub unstored: bool,
}
impl RemoteCommand {
    /// A shell command of normal priority for an agent that is there, by a server whose certificate
    /// the system trusts.
    pub fn new(
        server: impl Into<String>,
        token: impl Into<ClientToken>,
        agent: impl Into<String>,
        text: impl Into<String>,
        timeout: impl Into<Option<Duration>>,
    ) -> Self {
        Self {
            server: server.into(),
            token: token.into(),
            roots: TlsRoots::Native,
            proxy: ProxyRule::from_env(),
            agent: agent.into(),
            text: text.into(),
            id: CommandId::new(format!("cmd-{}", uuid::Uuid::now_v7())),
            timeout: timeout.into(),
            working_directory: None,
            env: BTreeMap::new(),
            until: Until::End,
            notes: Notes::WithStderr,
            ends: Ends::default(),
            offline: OfflinePolicy::Refuse,
            priority: Priority::Normal,
            input: CommandInput::Text,
            open_line: OpenLine::Wait,
            echo: SecretEcho::Refuse,
            condition: None,
            unstored: false,
        }
    }

    /// Runs it. What it writes goes to `stdout` and `stderr`, byte for byte unless [`ends`](Self::ends) says otherwise,
    /// and what there is to know of the ways to it goes to `stderr` too. When `interrupted` gives a signal, the command is
    /// cancelled.
    ///
    /// The first link must come about at once. One that is lost later is dialled again until the
    /// command's time is over; the command is not asked for twice, and its output resumes where it was.
    ///
    /// # Errors
    /// It could not be run, or how it ended is unknown; the text says why.
    pub async fn run(
        self,
        stdout: impl AsyncWrite + Unpin,
        stderr: impl AsyncWrite + Unpin,
        interrupted: impl Future<Output = i32>,
    ) -> anyhow::Result<Followed> {
        let command = self.id.clone();
        let request = request(&self, command.clone());
        // Before anything is dialled: a server would refuse it, or the link would not take it.
        anyhow::ensure!(
            self.text.len() <= LongText::MOST,
            "the command is too long: {} bytes, of at most {} (1 MiB); put its input into a file or pipe on the agent's machine",
            self.text.len(),
            LongText::MOST
        );
        if let Err(too_long) =
            DashboardToServer::CommandRequest(request.clone()).check(&Limits::DEFAULT)
        {
            anyhow::bail!(
                "the command is too long: {too_long}; put its input into a file or pipe on the agent's machine"
            );
        }
        let endpoint = Endpoint {
            server: self.server.clone(),
            token: self.token.clone(),
            roots: self.roots.clone(),
            proxy: self.proxy.clone(),
        };
        let features = vec![
            Feature::OutputBytes,
            Feature::OutputBinary,
            Feature::OutputSpool,
            Feature::OutputReplay,
            Feature::SecretInput,
            Feature::LongText,
            Feature::Activity,
            Feature::UnstoredOutput,
        ];
        let mut interrupted = std::pin::pin!(interrupted);
        let mut screen = Screen::new(stdout, stderr, self.notes.clone(), self.ends);
        let link = {
            let prefix = command.as_str();
            let mut dial = std::pin::pin!(endpoint.link(prefix, command.clone(), features));
            let mut patience = std::pin::pin!(tokio::time::sleep(DIAL_PATIENCE));
            let mut is_told = false;
            loop {
                tokio::select! {
                    biased;
                    signal = &mut interrupted => {
                        // Nothing was asked for yet.
                        let by = Canceller::Signal(signal);
                        return Ok(Followed::Cancelled { by, confirmed: true });
                    }
                    link = &mut dial => break link?,
                    () = &mut patience, if !is_told => {
                        is_told = true;
                        screen.say(&format!("connecting to {}", self.server));
                    }
                    // It is no loss if this is not read.
                    _ = screen.write_out(), if is_told && !screen.is_idle() => {}
                }
            }
        };
        let now = Instant::now();
        // A limit beyond the range of the clock is no limit.
        let by = self.timeout.and_then(|timeout| now.checked_add(timeout)).unwrap_or(now + NEVER);
        let run = Run::new(link, endpoint, command, request, screen, self.until);
        run.run_to_end(by, self.timeout, interrupted).await
    }
}

fn request(exec: &RemoteCommand, command: CommandId) -> CommandRequest {
    let agent = AgentId::new(&exec.agent);
    let mut request = CommandRequest::of_any_length(command, agent, exec.text.clone());
    request.offline = Some(exec.offline.clone());
    request.priority = exec.priority;
    request.input = Some(exec.input.clone()).filter(|input| *input != CommandInput::Text);
    request.open_line = Some(exec.open_line.clone()).filter(|line| *line != OpenLine::Wait);
    request.echo = Some(exec.echo.clone()).filter(|echo| *echo != SecretEcho::Refuse);
    request.condition.clone_from(&exec.condition);
    request.unstored = exec.unstored;
    request.working_directory.clone_from(&exec.working_directory);
    request.env.clone_from(&exec.env);
    // What started this program may have said in which trace it runs.
    let trace = std::env::var("TRACEPARENT").ok();
    request.trace = trace.as_deref().and_then(TraceContext::parse);
    // Who stays cancels it by itself.
    let margin = match exec.until {
        Until::End => LIMIT_MARGIN,
        Until::Taken => Duration::ZERO,
    };
    let limit = exec.timeout.map(|timeout| timeout.saturating_add(margin).as_millis());
    request.constraints.time_limit_ms = limit.map(|ms| ms.try_into().unwrap_or(u64::MAX));
    request
}
