//! A copy of a database put in the place of that of a data folder, which no server may use meanwhile.

use super::{StartError, data_folder, data_lock::DataLock};
use crate::auth::SECRET_FILE;
use crate::store::FILE_NAME;
use crate::store::backup::{BackupError, Contents, InTheWay, look_through, put_in_place};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What was restored.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) struct Restored {
    pub(crate) contents: Contents,
    /// Where the database is that was there before.
    pub(crate) kept: Option<PathBuf>,
    pub(crate) has_secret: bool,
}

/// Restores the copy at `from` into `data`. Blocks: the command line has nothing else to do.
///
/// # Errors
/// The copy is no whole database that this version knows, a server runs on `data`, or there is a database and it
/// [stays](InTheWay::Stays): nothing is changed then.
pub(crate) async fn restore(
    from: &Path,
    data: &Path,
    in_the_way: InTheWay,
) -> Result<Restored, BackupError> {
    let in_use = |error: StartError| BackupError::InUse(Box::new(error));
    data_folder::make_private(data).map_err(in_use)?;
    let lock = DataLock::take(data).await.map_err(in_use)?;
    let place = data.join(FILE_NAME);
    let is_there = std::fs::metadata(&place).is_ok_and(|found| found.len() > 0);
    if is_there && in_the_way == InTheWay::Stays {
        return Err(BackupError::Exists { path: place });
    }
    let contents = look_through(from)?;
    // A colon is no good in names of files.
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "");
    let kept = put_in_place(from, data, &format!("before-{now}"))?;
    drop(lock);
    Ok(Restored { contents, kept, has_secret: data.join(SECRET_FILE).exists() })
}
