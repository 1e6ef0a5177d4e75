//! The data folder: private to the user that the server runs as. A user who can write in it could place a secret
//! there; one who can open the lock can keep the server from starting.

use super::StartError;
use crate::store::FILE_NAME;
use onsembl_transport::private::{self, Mode};
use std::path::Path;
use tracing::warn;

/// What the server makes there, besides the secret, which [`Tokens`](crate::auth::Tokens) looks after: it is
/// made with mode 0600, and only a person or another program can have opened it.
const FILES: [&str; 4] =
    [super::data_lock::FILE_NAME, FILE_NAME, "onsembl.db-wal", "onsembl.db-shm"];

/// Makes the folder if it is missing, and closes its files to others.
pub(super) fn make_private(data: &Path) -> Result<(), StartError> {
    let failed = |error| StartError::Folder { path: data.to_owned(), error };
    private::create_dir(data).map_err(failed)?;
    let mode = Mode::at(data).map_err(failed)?;
    if mode.others_write() {
        return Err(StartError::OpenFolder { path: data.to_owned(), mode: mode.to_string() });
    }
    if mode.is_open_to_others() {
        warn!(data = %data.display(), %mode, "every user of this machine can read the data folder; run chmod 700 on it");
    }
    for name in FILES {
        let path = data.join(name);
        match private::close_to_others(&path) {
            Ok(None) => {}
            Ok(Some(before)) => {
                warn!(path = %path.display(), %before, "a file of the server was accessible to every user of this machine; its mode is now restricted");
            }
            Err(error) => {
                warn!(path = %path.display(), %error, "a file of the server may be accessible to every user of this machine; check its owner and mode");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_that_were_open_are_closed_and_a_folder_that_others_write_is_refused() {
        let top = tempfile::tempdir().unwrap();
        let data = top.path().join("data");
        create_dir(&data).unwrap();
        set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
        for name in FILES {
            write(data.join(name), "").unwrap();
            set_permissions(data.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        make_private(&data).unwrap();
        for name in FILES {
            assert_eq!(Mode::at(&data.join(name)).unwrap().to_string(), "0640");
        }
        set_permissions(&data, Permissions::from_mode(0o777)).unwrap();
        let refused = make_private(&data).unwrap_err().to_string();
        assert!(refused.contains("chmod 700") && refused.contains("0777"), "{refused}");
    }
}
