//! `onsembl-server serve`.

use super::configured;
use super::listen::listen_address;
use super::print;
use super::renewal::{Renewal, warn_of_open_key};
use super::view::View;
use crate::auth::Tokens;
use crate::retention::Retention;
#[cfg(feature = "otel")]
use crate::server::TraceSettings;
use crate::server::{
    CONNECTIONS, CorsOrigin, IpNet, Server, ServerOptions, StartError, raise_descriptor_limit,
};
use crate::service::Supervision;
use crate::store::StoreLimits;
use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::ServerConfig;
use onsembl_transport::config::Reload;
use onsembl_transport::server::RECORDING;
use onsembl_transport::tls::ServerTls;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Exit code of a server that failed: what is wrong may pass, and starting it again may help.
const FAILED: u8 = 1;
/// Exit code of a server that will not start before a person has done something.
const NEEDS_A_PERSON: u8 = 3;

const EXAMPLES: &str = "\
Examples:
  onsembl-server serve --data ~/onsembl-data
  onsembl-server serve --data /var/lib/onsembl --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem
  onsembl-server serve --config /etc/onsembl/server.toml --log debug

Signals:
  SIGTERM, SIGINT and SIGQUIT stop it. SIGHUP reloads the certificate, the signing secret, revocations of tokens and
  the log rules of the configuration file, and never stops it.

Exit codes:
  0  it was stopped
  1  it cannot start or continue; a restart may help
  2  the command line or the configuration file is wrong
  3  the data folder, or the secret in it, needs manual repair
After 2 and 3 a restart does not help; for systemd: RestartPreventExitStatus=2 3.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// A configuration file; the environment and flags override it. See `onsembl-server config`.
    #[arg(long, env = "ONSEMBL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address or host name to listen on, with a port; port 0 picks a free one.
    #[arg(long, env = "ONSEMBL_LISTEN", default_value = "127.0.0.1:8080", value_parser = listen_address, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Address that serves metrics for Prometheus under /metrics, without authentication: 127.0.0.1:9464 if no
    /// address is given. At --listen they require a token of kind `metrics`.
    #[arg(long, env = "ONSEMBL_METRICS_LISTEN", num_args = 0..=1, default_missing_value = "127.0.0.1:9464", value_parser = listen_address, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// The folder with the database and the signing secret; created if it does not exist.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Create a new signing secret if that of this folder was lost. It invalidates all earlier tokens.
    #[arg(long)]
    new_secret: bool,
    /// How often agents send a heartbeat.
    #[arg(long, env = "ONSEMBL_HEARTBEAT_INTERVAL", default_value = "30s", value_parser = humantime::parse_duration, value_name = "TIME")]
    heartbeat_interval: Duration,
    /// Silence after which an agent is shown as stale.
    #[arg(long, env = "ONSEMBL_STALE_AFTER", default_value = "45s", value_parser = humantime::parse_duration, value_name = "TIME")]
    stale_after: Duration,
    /// Silence after which an agent's link is closed.
    #[arg(long, env = "ONSEMBL_TIMEOUT_AFTER", default_value = "90s", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout_after: Duration,
    /// How long to wait for the return of an agent before it is offline.
    #[arg(long, env = "ONSEMBL_RESUME_WINDOW", default_value = "5m", value_parser = humantime::parse_duration, value_name = "TIME")]
    resume_window: Duration,
    /// Memory for the recorded inputs of all connections, for `export`; the oldest are dropped first, and 0 records
    /// none.
    #[arg(long, env = "ONSEMBL_RECORDING", default_value_t = RECORDING, value_name = "BYTES")]
    recording: usize,
    /// How long output is kept; deleted output leaves a gap. Counted in observed time, so a temporarily wrong clock
    /// deletes nothing.
    #[arg(long, env = "ONSEMBL_KEEP_FOR", default_value = "30d", value_parser = humantime::parse_duration, value_name = "TIME")]
    keep_for: Duration,
    /// How many bytes of output are kept for all users; the oldest output of the largest user is deleted first.
    #[arg(long, env = "ONSEMBL_KEEP_BYTES", default_value_t = Retention::DEFAULT.keep_bytes, value_name = "BYTES")]
    keep_bytes: u64,
    /// Most concurrent connections of all users; a single user can have four fifths of them.
    #[arg(long, env = "ONSEMBL_CONNECTIONS", default_value_t = CONNECTIONS, value_name = "COUNT")]
    connections: usize,
    /// How long ended commands are kept, with their history.
    #[arg(long, env = "ONSEMBL_KEEP_HISTORY", default_value = "90d", value_parser = humantime::parse_duration, value_name = "TIME")]
    keep_history: Duration,
    /// How long an offline agent is kept; then it is deleted, as by `onsembl forget`, and its key is refused. By
    /// default agents are kept forever.
    #[arg(long, env = "ONSEMBL_FORGET_AFTER", value_parser = humantime::parse_duration, value_name = "TIME")]
    forget_after: Option<Duration>,
    /// How many bytes of commands, history and output each user may have on disk. The oldest of that user are
    /// deleted first; a command is refused with QUEUE_FULL if nothing can be deleted for it.
    #[arg(long, env = "ONSEMBL_USER_BYTES", default_value_t = StoreLimits::DEFAULT.user_bytes, value_name = "BYTES")]
    user_bytes: u64,
    /// Size limit of the database; by default that of the disk. At the limit, as on a full disk, new commands are
    /// refused and output waits on the agents; stops, ends and sessions are still written.
    #[arg(long, env = "ONSEMBL_MAX_DATABASE", value_name = "BYTES")]
    max_database: Option<u64>,
    /// A network of trusted proxies, such as 10.0.0.0/8, that name their clients by X-Forwarded-For or the PROXY
    /// protocol; may be repeated.
    #[arg(long, env = "ONSEMBL_TRUSTED_PROXY", value_delimiter = ',', value_name = "CIDR")]
    trusted_proxy: Vec<IpNet>,
    /// An origin whose pages may use the API from a browser, such as https://dashboard.example; may be repeated.
    #[arg(long, env = "ONSEMBL_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    cors_origin: Vec<CorsOrigin>,
    /// Certificate chain as a PEM file, for wss and https. Reloaded when it changes, and on SIGHUP.
    #[arg(long, env = "ONSEMBL_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key as a PEM file.
    #[arg(long, env = "ONSEMBL_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

/// Signals that say nothing to a server, and would end it at once by default: `SIGXFSZ` (a file reached the size that
/// this process may write), `SIGVTALRM`, `SIGPROF` and, on Linux, `SIGPWR` among them.
fn harmless() -> [SignalKind; 8] {
    [
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
        SignalKind::io(),
        SignalKind::from_raw(25),
        SignalKind::from_raw(26),
        SignalKind::from_raw(27),
        SignalKind::from_raw(30),
    ]
}

/// What `serve` ends with after this.
pub(super) fn exit_code(error: &anyhow::Error) -> u8 {
    let needs_a_person = error.downcast_ref::<StartError>().is_some_and(StartError::needs_a_person);
    if needs_a_person { NEEDS_A_PERSON } else { FAILED }
}

impl Serve {
    /// Whether its values go together.
    pub(super) fn check(&self) -> anyhow::Result<HeartbeatTiming> {
        if self.resume_window.is_zero() {
            bail!("the resume window must be longer than zero");
        }
        HeartbeatTiming::new(self.heartbeat_interval, self.stale_after, self.timeout_after)
            .context("these times are inconsistent")
    }

    /// Whether the files that it names can be used, as far as this user may read them.
    pub(super) fn check_files(&self) -> anyhow::Result<()> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            drop(ServerTls::from_pem_files(certificate, key)?);
        }
        Ok(())
    }

    pub(super) async fn run(self, view: View, mut reload: Reload<'_>) -> anyhow::Result<()> {
        let timing = self.check()?;
        let mut supervision = Supervision::from_env();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // By default it would be the end: of a service manager's `reload`, or of a closed terminal.
        let mut hangup = signal(SignalKind::hangup())?;
        let mut quit = signal(SignalKind::quit())?;
        // These would end it without a word to its peers. A file that may not grow is a failure to write.
        let _caught = harmless().into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
        let agents =
            ServerConfig::DEFAULT.with_timing(timing).with_resume_window(self.resume_window);
        let tls = match self.tls_cert.zip(self.tls_key) {
            Some((certificate, key)) => {
                warn_of_open_key(&key);
                Some(ServerTls::from_pem_files(&certificate, &key)?)
            }
            None => None,
        };
        if self.new_secret {
            drop(Tokens::open_or_make(&self.data)?);
        }
        let mut options = ServerOptions::new(self.data.clone());
        options.agents = agents;
        options.cors_origins = self.cors_origin;
        options.recording = self.recording;
        options.connections = self.connections;
        options.retention.keep_for = self.keep_for;
        options.retention.keep_bytes = self.keep_bytes;
        options.retention.keep_history = self.keep_history;
        options.kept.others = self.forget_after;
        options.store.user_bytes = self.user_bytes;
        options.store.database = self.max_database;
        options.trusted_proxies = self.trusted_proxy;
        #[cfg(feature = "otel")]
        {
            options.traces = TraceSettings::from_env("onsembl-server")?;
        }
        if let Err(error) = raise_descriptor_limit() {
            warn!(%error, "cannot raise the limit on file descriptors; it is unchanged");
        }
        let served = tls.clone();
        let starting = Server::start_and_listen(options, self.listen, tls);
        tokio::pin!(starting);
        let mut renewal = Renewal::new(served);
        // Signals end it also while it waits for room on the disk.
        let (mut server, listening) = loop {
            tokio::select! {
                started = &mut starting => break started?
                    .map_err(|error| anyhow!("{error}; name another address with --listen"))?,
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = quit.recv() => return Ok(()),
                _ = hangup.recv() => {
                    renewal.ordered();
                    reload.reload(configured::effective);
                }
            }
        };
        if let Some(address) = self.metrics_listen
            && let Err(error) = server.listen_for_metrics(address).await
        {
            server.stop().await;
            return Err(anyhow!("{error}; name another address with --metrics-listen"));
        }
        let address = listening.address().to_string();
        view.one(serde_json::json!({ "address": address }), &address, || {
            Ok(print::line(&address)?)
        })
        .context("cannot write the address")?;
        supervision.ready(&address, server.pulse());
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = quit.recv() => break,
                _ = hangup.recv() => {
                    supervision.manager().reloading();
                    renewal.ordered();
                    server.reload_secret();
                    server.look_up_tokens();
                    reload.reload(configured::effective);
                    supervision.manager().reloaded();
                }
                () = renewal.due() => {
                    renewal.look();
                    server.look_at_secret();
                }
            }
        }
        supervision.stopping();
        server.stop().await;
        Ok(())
    }
}
