//! The lock on the data folder: no second server writes the same database.

use super::StartError;
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Name of the lock in the data folder.
pub(super) const FILE_NAME: &str = "server.lock";

/// A server that ends may hold it a moment longer than its last answer, and so may a child between its fork and
/// its exec.
const TRIES: u32 = 10;
const RETRY: Duration = Duration::from_millis(100);

/// Held until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct DataLock(#[expect(dead_code, reason = "held for its drop")] Arc<File>);

impl DataLock {
    /// Any process that can open the file can hold the lock, so that only this user may.
    pub(super) async fn take(data: &Path) -> Result<Self, StartError> {
        let path = data.join(FILE_NAME);
        let mut options = File::options();
        let open = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.map_err(|error| StartError::Lock { path: path.clone(), error })?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(Arc::new(file))),
                Err(TryLockError::WouldBlock) if tries < TRIES => sleep(RETRY).await,
                Err(TryLockError::WouldBlock) => return Err(StartError::InUse(data.to_owned())),
                Err(TryLockError::Error(error)) => return Err(StartError::Lock { path, error }),
            }
            tries += 1;
        }
    }
}
