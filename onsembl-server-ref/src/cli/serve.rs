//! `onsembl-server serve`.

use super::listen::listen_address;
use super::print;
use super::renewal::{Renewal, warn_of_open_key};
use crate::auth::Tokens;
use crate::retention::Retention;
#[cfg(feature = "otel")]
use crate::server::TraceSettings;
use crate::server::{
    CONNECTIONS, CorsOrigin, IpNet, Server, ServerOptions, raise_descriptor_limit,
};
use crate::store::StoreLimits;
use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::ServerConfig;
use onsembl_transport::server::RECORDING;
use onsembl_transport::tls::ServerTls;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen: an address or a name, and a port; port 0 takes a free one.
    #[arg(long, env = "ONSEMBL_LISTEN", default_value = "127.0.0.1:8080", value_parser = listen_address, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where to show metrics for Prometheus, under /metrics, to everybody who can reach it: 127.0.0.1:9464 if no
    /// address is given. At --listen they are for a token of the kind `metrics`.
    #[arg(long, env = "ONSEMBL_METRICS_LISTEN", num_args = 0..=1, default_missing_value = "127.0.0.1:9464", value_parser = listen_address, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// The folder with the database and the signing secret; made if it is missing.
    #[arg(long, env = "ONSEMBL_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Make a new signing secret if the one of this folder was lost. Every token from before is invalid then.
    #[arg(long)]
    new_secret: bool,
    /// How often agents send a heartbeat.
    #[arg(long, env = "ONSEMBL_HEARTBEAT_INTERVAL", default_value = "30s", value_parser = humantime::parse_duration, value_name = "TIME")]
    heartbeat_interval: Duration,
    /// Silence after which an agent is shown as stale.
    #[arg(long, env = "ONSEMBL_STALE_AFTER", default_value = "45s", value_parser = humantime::parse_duration, value_name = "TIME")]
    stale_after: Duration,
    /// Silence after which an agent's link is given up.
    #[arg(long, env = "ONSEMBL_TIMEOUT_AFTER", default_value = "90s", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout_after: Duration,
    /// How long the return of an agent is awaited before it is offline.
    #[arg(long, env = "ONSEMBL_RESUME_WINDOW", default_value = "5m", value_parser = humantime::parse_duration, value_name = "TIME")]
    resume_window: Duration,
    /// Memory in which the inputs of all connections are kept for `export`; the oldest go first, and
    /// none are kept with zero.
    #[arg(long, env = "ONSEMBL_RECORDING", default_value_t = RECORDING, value_name = "BYTES")]
    recording: usize,
    /// How long output is kept; what is cut leaves a gap behind. Counted in time that was observed, so that a
    /// clock that is wrong for a while costs nothing.
    #[arg(long, env = "ONSEMBL_KEEP_FOR", default_value = "30d", value_parser = humantime::parse_duration, value_name = "TIME")]
    keep_for: Duration,
    /// How many bytes of output are kept over all users; the oldest of the user with the most go first.
    #[arg(long, env = "ONSEMBL_KEEP_BYTES", default_value_t = Retention::DEFAULT.keep_bytes, value_name = "BYTES")]
    keep_bytes: u64,
    /// How many connections users may have at a time, all together; one user alone gets four fifths of them.
    #[arg(long, env = "ONSEMBL_CONNECTIONS", default_value_t = CONNECTIONS, value_name = "COUNT")]
    connections: usize,
    /// How long commands that are over are kept, with their steps.
    #[arg(long, env = "ONSEMBL_KEEP_HISTORY", default_value = "90d", value_parser = humantime::parse_duration, value_name = "TIME")]
    keep_history: Duration,
    /// How many bytes of commands, steps and output each user may have on the disk. The oldest of that user go
    /// first; a command for which nothing can go is refused with QUEUE_FULL.
    #[arg(long, env = "ONSEMBL_USER_BYTES", default_value_t = StoreLimits::DEFAULT.user_bytes, value_name = "BYTES")]
    user_bytes: u64,
    /// How large the database may become; by default as large as the disk allows. At it, as on a full disk, new
    /// commands are refused and output waits at its agents; stops, ends and sessions are still written.
    #[arg(long, env = "ONSEMBL_MAX_DATABASE", value_name = "BYTES")]
    max_database: Option<u64>,
    /// A network of proxies, such as 10.0.0.0/8, that are trusted to say for whom they connect, by
    /// X-Forwarded-For or the PROXY protocol; may be repeated.
    #[arg(long, env = "ONSEMBL_TRUSTED_PROXY", value_delimiter = ',', value_name = "CIDR")]
    trusted_proxy: Vec<IpNet>,
    /// An origin whose pages may use the API from a browser, as https://dashboard.example; may be repeated.
    #[arg(long, env = "ONSEMBL_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    cors_origin: Vec<CorsOrigin>,
    /// Certificate chain as a PEM file, for wss and https. Read again when it changes, and on SIGHUP.
    #[arg(long, env = "ONSEMBL_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key as a PEM file.
    #[arg(long, env = "ONSEMBL_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
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

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let timing =
            HeartbeatTiming::new(self.heartbeat_interval, self.stale_after, self.timeout_after)
                .context("these times cannot go together")?;
        if self.resume_window.is_zero() {
            bail!("the resume window must be longer than zero");
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // By default it would be the end: of a service manager's `reload`, or of a closed terminal.
        let mut hangup = signal(SignalKind::hangup())?;
        let mut quit = signal(SignalKind::quit())?;
        // These would end it without a word to its peers. A file that may not grow is a failure to write.
        let _caught = harmless().into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
        let agents =
            ServerConfig { timing, resume_window: self.resume_window, ..ServerConfig::DEFAULT };
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
        options.store.user_bytes = self.user_bytes;
        options.store.database = self.max_database;
        options.trusted_proxies = self.trusted_proxy;
        #[cfg(feature = "otel")]
        {
            options.traces = TraceSettings::from_env("onsembl-server")?;
        }
        if let Err(error) = raise_descriptor_limit() {
            warn!(%error, "cannot raise the limit on file descriptors; it stays as it is");
        }
        let served = tls.clone();
        let starting = Server::start_and_listen(options, self.listen, tls);
        tokio::pin!(starting);
        // The secret is read, or made, by the start.
        let mut renewal = Renewal::new(served, &self.data);
        // Signals end it also while it waits for room on the disk.
        let (mut server, listening) = loop {
            tokio::select! {
                started = &mut starting => break started?
                    .map_err(|error| anyhow!("{error}; name another address with --listen"))?,
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = quit.recv() => return Ok(()),
                _ = hangup.recv() => renewal.ordered(),
            }
        };
        if let Some(address) = self.metrics_listen
            && let Err(error) = server.listen_for_metrics(address).await
        {
            server.stop().await;
            return Err(anyhow!("{error}; name another address with --metrics-listen"));
        }
        print::line(listening.address()).context("cannot write the address")?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = quit.recv() => break,
                _ = hangup.recv() => renewal.ordered(),
                () = renewal.due() => renewal.look(),
            }
        }
        server.stop().await;
        Ok(())
    }
}
