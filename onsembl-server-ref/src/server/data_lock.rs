//! The lock on the data folder: no second server writes the same database.

use super::StartError;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;

/// Held until the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct DataLock(#[expect(dead_code, reason = "held for its drop")] Arc<File>);

impl DataLock {
    pub(super) fn take(data: &Path) -> Result<Self, StartError> {
        let path = data.join("server.lock");
        let open = fs::create_dir_all(data)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path));
        let file = open.map_err(|error| StartError::Lock { path: path.clone(), error })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Arc::new(file))),
            Err(TryLockError::WouldBlock) => Err(StartError::InUse(data.to_owned())),
            Err(TryLockError::Error(error)) => Err(StartError::Lock { path, error }),
        }
    }
}
