//! Files that only their owner may use: how they are made, and whether others can get at them.
//!
//! By mode only. What an access control list grants shows in the group's part of the mode.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

/// The permissions of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// Those of what is at `path`, or of what a link there points to.
    ///
    /// # Errors
    /// There is nothing, or it cannot be looked at.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|data| Self::of(&data))
    }

    /// Those in `data`.
    #[must_use]
    pub fn of(data: &Metadata) -> Self {
        Self(data.mode() & 0o7777)
    }

    /// Whether every user of the machine may write it.
    #[must_use]
    pub const fn others_write(self) -> bool {
        self.0 & 0o002 != 0
    }

    /// Whether its group may write it.
    #[must_use]
    pub const fn group_writes(self) -> bool {
        self.0 & 0o020 != 0
    }

    /// Whether every user of the machine may do anything with it.
    #[must_use]
    pub const fn is_open_to_others(self) -> bool {
        self.0 & 0o007 != 0
    }

    /// Whether its group may do anything with it.
    #[must_use]
    pub const fn is_open_to_group(self) -> bool {
        self.0 & 0o070 != 0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Makes a folder and those above it that are missing, with mode 0700. One that is there stays as it is.
///
/// # Errors
/// What the operating system says.
pub fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes from every user of the machine but the owner and the group what they may do with a file. Whether there
/// was anything to take: `Some` with how it was.
///
/// # Errors
/// What the operating system says. A file that is not there is none.
pub fn close_to_others(path: &Path) -> io::Result<Option<Mode>> {
    let before = match Mode::at(path) {
        Ok(before) => before,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !before.is_open_to_others() {
        return Ok(None);
    }
    fs::set_permissions(path, Permissions::from_mode(before.0 & !0o007))?;
    Ok(Some(before))
}

/// Replaces what is at `path` by a file with mode 0600: a reader finds the old or the new
/// content, and a power cut leaves one of them.
///
/// # Errors
/// What the operating system says; also if what is there is no file.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(data) if !data.is_file() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it exists and is not a regular file",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let mut options = OpenOptions::new();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        // Nothing is left of it if it can be helped; the failure is what counts.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_private_and_what_is_replaced_becomes_so() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("a/b");
        create_dir(&dir).unwrap();
        assert_eq!(Mode::at(&dir).unwrap().to_string(), "0700");
        let file = dir.join("token");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        replace(&file, b"new\n").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new\n");
        assert_eq!(Mode::at(&file).unwrap().to_string(), "0600");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(replace(&dir, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn others_lose_what_they_may_do_and_the_group_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lock");
        assert_eq!(close_to_others(&file).unwrap(), None);
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        let before = close_to_others(&file).unwrap().unwrap();
        assert!(before.others_write() && before.is_open_to_group());
        assert_eq!(Mode::at(&file).unwrap().to_string(), "0660");
        assert_eq!(close_to_others(&file).unwrap(), None);
    }
}
