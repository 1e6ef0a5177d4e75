//! `onsembl-server limits`.

use super::print;
use super::table::table;
use crate::limits::{self, Part, Set, bytes, grouped};
use crate::retention::Retention;
use crate::server::CONNECTIONS;
use crate::store::StoreLimits;
use clap::Args;
use onsembl_transport::server::RECORDING;
use serde_json::json;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onsembl-server limits
  onsembl-server limits --connections 4000 --users 10
  onsembl-server limits --json | jq .memory.total_bytes")]
pub(super) struct Limits {
    /// As for `serve`.
    #[arg(long, env = "ONSEMBL_CONNECTIONS", default_value_t = CONNECTIONS, value_name = "COUNT")]
    connections: usize,
    /// As for `serve`.
    #[arg(long, env = "ONSEMBL_RECORDING", default_value_t = RECORDING, value_name = "BYTES")]
    recording: usize,
    /// As for `serve`.
    #[arg(long, env = "ONSEMBL_USER_BYTES", default_value_t = StoreLimits::DEFAULT.user_bytes, value_name = "BYTES")]
    user_bytes: u64,
    /// As for `serve`.
    #[arg(long, env = "ONSEMBL_KEEP_BYTES", default_value_t = Retention::DEFAULT.keep_bytes, value_name = "BYTES")]
    keep_bytes: u64,
    /// How many users are assumed to use all that they may at the same time.
    #[arg(long, env = "ONSEMBL_USERS", default_value_t = 1, value_name = "COUNT")]
    users: usize,
    /// As JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

impl Limits {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let set = Set {
            connections: self.connections,
            recording: self.recording,
            user_bytes: self.user_bytes,
            keep_bytes: self.keep_bytes,
        };
        let all = limits::all(&set);
        let parts = limits::memory(&set, self.users);
        let total = parts.iter().map(Part::bytes).fold(0, usize::saturating_add);
        if self.json {
            let memory = json!({ "users": self.users, "parts": parts, "total_bytes": total });
            return Ok(print::line(json!({ "limits": all, "memory": memory }))?);
        }
        let rows = all.iter().map(|limit| {
            let texts = [limit.name, &limit.shown(), limit.per.as_str(), limit.then, limit.set_by];
            texts.map(str::to_owned)
        });
        print::lines(table(["LIMIT", "VALUE", "PER", "AT IT", "SET BY"], rows))?;
        print::line("")?;
        let total = ["in all".to_owned(), String::new(), String::new(), bytes(total)];
        let rows = parts.iter().map(|part| {
            [part.of.to_owned(), grouped(part.count), bytes(part.each_bytes), bytes(part.bytes())]
        });
        let head = ["MEMORY OF", "COUNT", "EACH", "AT MOST"];
        Ok(print::lines(table(head, rows.chain([total])))?)
    }
}
