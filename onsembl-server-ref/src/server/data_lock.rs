//! The lock on the data folder: no second server writes the same database.

use super::StartError;
use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// Name of the lock in the data folder.
pub(super) const FILE_NAME: &str = "server.lock";

/// Held until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct DataLock(#[expect(dead_code, reason = "held for its drop")] Arc<File>);

impl DataLock {
    /// Any process that can open the file can hold the lock, so that only this user may.
    pub(super) fn take(data: &Path) -> Result<Self, StartError> {
        let path = data.join(FILE_NAME);
        let mut options = File::options();
        let open = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.map_err(|error| StartError::Lock { path: path.clone(), error })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Arc::new(file))),
            Err(TryLockError::WouldBlock) => Err(StartError::InUse(data.to_owned())),
            Err(TryLockError::Error(error)) => Err(StartError::Lock { path, error }),
        }
    }
}
