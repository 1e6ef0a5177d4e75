//! Where an agent logs: to standard error, or to a file where that would be written over the program that
//! it shows.

use super::{RunArgs, print};
use crate::state_dir;
use anyhow::{Context, Result};
use onsembl_transport::logging::{self, Log, LogRules, LogTo, Targets};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

/// What is logged unless something else is asked for.
pub(super) const RULES: &str = "info";
/// The file in the state directory.
const LOG_FILE: &str = "agent.log";
/// At this size it is truncated: enough for days, and too little to fill a disk.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// From here on everything is logged that `--log` asks for, or else `RUST_LOG`.
pub(super) fn begin(args: &RunArgs) -> Result<Log> {
    let to = match args.attach && print::errors_are_seen() {
        true => LogTo::File(Box::new(LogFile::open(args)?)),
        false => LogTo::Stderr,
    };
    let rules = LogRules::choose(args.log.as_deref(), RULES);
    Ok(logging::begin(&rules, to, Targets::Hidden, args.log_format)?)
}

/// A file that is truncated when it is full.
struct LogFile {
    file: File,
    length: u64,
}

impl LogFile {
    fn open(args: &RunArgs) -> Result<Self> {
        let dir = state_dir::locate(args.state_dir.clone(), &args.name)?;
        let path = dir.join(LOG_FILE);
        let opened =
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).and_then(|()| {
                OpenOptions::new().create(true).append(true).mode(0o600).open(&path)
            });
        let file = opened.with_context(|| {
            format!(
                "cannot log to {}; check the folder, or send standard error elsewhere",
                path.display()
            )
        })?;
        let length = file.metadata().map(|data| data.len()).unwrap_or(0);
        Ok(Self { file, length })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length >= MOST_BYTES {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.length = 0;
        }
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
