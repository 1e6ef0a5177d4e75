//! What a running program takes from its configuration when it is read again: new rules of the log. Of what else has
//! changed it is said that it needs a restart.

use super::Effective;
use crate::logging::{Log, LogRules};
use std::fmt::Display;
use std::path::PathBuf;
use tracing::{error, info, warn};

/// The setting that is taken at once.
const LOG: &str = "log";

/// The configuration in use.
#[derive(Debug)]
pub struct Reload<'a> {
    log: &'a Log,
    default_rules: &'static str,
    file: Option<PathBuf>,
    in_use: Vec<Effective>,
}

impl<'a> Reload<'a> {
    /// Of a program that runs with this, and logs by `default_rules` if nothing else is said.
    #[must_use]
    pub fn new(
        log: &'a Log,
        default_rules: &'static str,
        file: Option<PathBuf>,
        in_use: Vec<Effective>,
    ) -> Self {
        Self { log, default_rules, file, in_use }
    }

    /// Takes what `read` gives, if a file was named at all. Whatever is wrong with it is logged, and what is in use
    /// stays.
    pub fn reload<E: Display>(&mut self, read: impl FnOnce() -> Result<Vec<Effective>, E>) {
        let Some(file) = &self.file else { return };
        let path = file.display();
        let now = match read() {
            Ok(now) => now,
            Err(error) => {
                error!(%path, %error, "the configuration is invalid; keeping the current one");
                return;
            }
        };
        let changed = changed(&self.in_use, &now);
        info!(%path, changed = changed.len(), "the configuration was reloaded");
        for key in changed {
            if key == LOG {
                self.log_by(&now);
            } else {
                warn!(key, "a changed setting takes effect after a restart");
            }
        }
        // What needs a restart is told from what is in use, and not from what was read last.
        let log = now.into_iter().find(|setting| setting.key == LOG);
        let before = self.in_use.iter_mut().find(|setting| setting.key == LOG);
        if let (Some(before), Some(log)) = (before, log) {
            *before = log;
        }
    }

    fn log_by(&self, now: &[Effective]) {
        let rules = now.iter().find(|setting| setting.key == LOG);
        let rules = rules.and_then(|setting| setting.values.first()).map(String::as_str);
        match self.log.reload(&LogRules::choose(rules, self.default_rules)) {
            Ok(()) => {
                info!(rules = rules.unwrap_or(self.default_rules), "the log rules were changed");
            }
            Err(error) => error!(%error, "keeping the previous log rules"),
        }
    }
}

fn changed<'a>(before: &[Effective], now: &'a [Effective]) -> Vec<&'a str> {
    let is_other = |setting: &&Effective| {
        let old = before.iter().find(|old| old.key == setting.key);
        old.is_none_or(|old| old.values != setting.values)
    };
    now.iter().filter(is_other).map(|setting| setting.key.as_str()).collect()
}
