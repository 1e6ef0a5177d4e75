//! `onsembl-server limits`.

use super::print;
use super::table::{Column, Fit, Table};
use super::view::View;
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
    /// How many users are assumed to use their full share at the same time.
    #[arg(long, env = "ONSEMBL_USERS", default_value_t = 1, value_name = "COUNT")]
    users: usize,
}

impl Limits {
    pub(super) fn run(self, view: View) -> anyhow::Result<()> {
        let set = Set {
            connections: self.connections,
            recording: self.recording,
            user_bytes: self.user_bytes,
            keep_bytes: self.keep_bytes,
        };
        let all = limits::all(&set);
        let parts = limits::memory(&set, self.users);
        let total = parts.iter().map(Part::bytes).fold(0, usize::saturating_add);
        let memory = json!({ "users": self.users, "parts": parts, "total_bytes": total });
        view.one(json!({ "limits": all, "memory": memory }), "limits", || {
            let heads = ["LIMIT", "VALUE", "PER", "AT IT", "SET BY"];
            let mut limits = Table::new(heads.map(|head| Column::new(head, Fit::Rest)));
            for limit in &all {
                let texts =
                    [limit.name, &limit.shown(), limit.per.as_str(), limit.then, limit.set_by];
                limits.row(texts.map(Into::into));
            }
            print::table(&limits.lines(view))?;
            print::line("")?;
            let heads = ["MEMORY OF", "COUNT", "EACH", "AT MOST"];
            let mut memory = Table::new(heads.map(|head| Column::new(head, Fit::Whole)));
            for part in &parts {
                let count = grouped(part.count);
                let row = [part.of.to_owned(), count, bytes(part.each_bytes), bytes(part.bytes())];
                memory.row(row.map(Into::into));
            }
            memory.row(
                ["in all".to_owned(), String::new(), String::new(), bytes(total)].map(Into::into),
            );
            Ok(print::table(&memory.lines(view))?)
        })
    }
}
