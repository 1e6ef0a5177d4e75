//! Faults of the fault matrix in which one thing ends a session and another one keeps the agent away, outages that last
//! longer than a dial, and proxies that have a word of their own.

use crate::certificates::{Pair, strange};
use crate::connect::Tinyproxy;
use crate::programs::ADDRESS;
use crate::programs::free_port;
use crate::verdicts::{AWAY, World};
use std::thread::sleep;
use std::time::Duration;

/// Longer than a server needs to start, and agents to dial it some times.
const LONG: Duration = Duration::from_secs(25);

impl World {
    /// The server is restarted, and this is in the way of the agent for a while longer.
    pub fn restarted_behind(&mut self, obstruct: fn(&mut Self), clear: fn(&mut Self)) {
        self.server_ends("-TERM");
        obstruct(self);
        self.bench.start_server();
        sleep(LONG);
        clear(self);
    }

    /// The server is restarted with a certificate that the agent does not trust.
    pub fn restarted_with_another_certificate(&mut self) {
        let authority = self.secure();
        self.joins();
        sleep(Duration::from_millis(1200));
        self.serves(&strange(&authority));
        self.server_ends("-TERM");
        self.bench.start_server();
        self.calls_it_localhost();
        sleep(LONG);
        self.serves(&Pair::dated(&authority));
    }

    /// What accepts connections on the way passes a direction, or nothing, on, for longer than a dial takes.
    pub fn swallowed_for_long(&mut self, to_server: bool, to_agent: bool) {
        self.middlebox.passes(to_server, to_agent);
        sleep(LONG + AWAY);
        self.middlebox.passes(true, true);
        self.middlebox.cut();
    }

    /// A proxy closes idle connections with a close frame of its own, to both sides.
    pub fn idle_closes(&mut self, code: u16) {
        self.slow();
        self.middlebox.closes_idle(Duration::from_millis(2500), code);
        sleep(Duration::from_secs(22));
        self.middlebox.cuts_idle(Duration::ZERO);
    }

    /// The agent connects through a proxy, which is restarted with other settings, or not at all for a while.
    pub fn behind_proxy_that(&mut self, other: Option<&str>) {
        let port = free_port(ADDRESS);
        let open = Tinyproxy::start_at(&self.bench, "open", port, "");
        let url = format!("http://{}", open.address);
        self.ends_by("-TERM");
        self.environment.push(("http_proxy", url.into()));
        self.joins();
        sleep(Duration::from_millis(1200));
        drop(open);
        let other = other.map(|settings| Tinyproxy::start_at(&self.bench, "other", port, settings));
        sleep(2 * AWAY);
        drop(other);
        let again = Tinyproxy::start_at(&self.bench, "again", port, "");
        self.kept.push(Box::new(again));
    }
}
