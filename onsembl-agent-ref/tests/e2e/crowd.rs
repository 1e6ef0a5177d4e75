//! Many agents of one user in one process: the real driver without an executor, so that they only beat.

use onsembl_protocol::id::{AgentKey, InstanceId};
use onsembl_protocol::model::AGENT_FEATURES;
use onsembl_transport::ProxyRule;
use onsembl_transport::agent::{AgentDriver, AgentNotice, AgentProfile, DriverConfig};
use onsembl_transport::secret::Secret;
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::WebSocketDialer;
use tokio::runtime::Runtime;

pub struct Crowd {
    #[allow(dead_code, reason = "the agents live in it")]
    runtime: Runtime,
}

impl Crowd {
    /// Agents `agent-0` to `agent-{count - 1}` of the server with this address.
    pub fn new(url: &str, token: &str, count: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        for n in 0..count {
            let dialer = WebSocketDialer::new(url, "/ws/agent", &TlsRoots::Native).unwrap();
            let dialer = dialer.with_proxy(&ProxyRule::direct()).unwrap();
            let dialer = dialer.with_token(Secret::new(token.to_owned()));
            let (key, run) = (format!("key-{n}"), format!("run-{n}"));
            let profile = {
                let mut it = AgentProfile::new(
                    format!("agent-{n}"),
                    AgentKey::new(key),
                    InstanceId::new(run),
                );
                it.features = AGENT_FEATURES.to_vec();
                it
            };
            let config = DriverConfig::default();
            drop(runtime.spawn(async move {
                let mut agent = AgentDriver::with_config(dialer, profile, config, n as u64);
                agent.start();
                loop {
                    let _notice: AgentNotice = agent.next().await;
                }
            }));
        }
        Self { runtime }
    }
}
