//! The reserve: room that is kept for what must be written when there is no other left. It is a file that is
//! given up when the disk is full, and taken up again when there is room; where the database may not exceed a
//! size, it is the last part of that.

use rusqlite::Connection;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Name of the file in the data directory.
pub(super) const FILE_NAME: &str = "onsembl.reserve";

/// What is reserved: 64 MiB hold the log of the database, and some hundred thousand ends, stops and sessions.
pub(crate) const BYTES: u64 = 64 << 20;
/// On a small disk it is this part of it.
const PART_OF_DISK: u64 = 16;
/// Of a database that may not exceed a size it is this part, if that is less.
const PART_OF_DATABASE: u64 = 8;
/// Less room than this, and the database cannot even be opened: it needs an index of its log.
const TO_OPEN: u64 = 1 << 20;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// How large the database may become.
    most: Option<u64>,
}

impl Reserve {
    /// The reserve in a data directory whose database may become so large. Nothing is done yet.
    pub(super) fn new(dir: &Path, most: Option<u64>) -> Self {
        let disk =
            statvfs(dir).map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        let bytes = BYTES.min(disk / PART_OF_DISK);
        Self { path: dir.join(FILE_NAME), bytes, most }
    }

    /// How much it holds.
    pub(super) fn bytes(&self) -> u64 {
        self.most.map_or(self.bytes, |most| self.of_database(most))
    }

    /// Before the database is opened: gives the file up if nothing else is left to open it with. Whether
    /// there is more than the reserve.
    pub(super) fn before_opening(&self) -> bool {
        if self.is_taken_up() && self.free() < TO_OPEN {
            self.remove();
            return false;
        }
        self.is_taken_up() || self.take_up().is_ok()
    }

    /// The database may use what is not reserved.
    ///
    /// # Errors
    /// The database says why it cannot be limited.
    pub(super) fn confine(&self, db: &Connection) -> rusqlite::Result<()> {
        self.limit_to(db, self.most.map(|most| most - self.of_database(most)))
    }

    /// The disk is full: the reserve may be used.
    pub(super) fn open_up(&self, db: &Connection) {
        self.remove();
        if let Err(error) = self.limit_to(db, self.most) {
            tracing::warn!(%error, "the reserve of the database cannot be opened up");
        }
    }

    /// Takes the reserve up again, if there is room for it and for some more. Whether it is.
    pub(super) fn restore(&self, db: &Connection) -> bool {
        if !self.has_room_in(db).unwrap_or(false) || self.free() < self.bytes.saturating_mul(2) {
            return false;
        }
        if let Err(error) = self.take_up() {
            tracing::debug!(%error, "there is no room for the reserve yet");
            return false;
        }
        match self.confine(db) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the reserve of the database cannot be restored");
                false
            }
        }
    }

    /// Whether a failure may be for want of room: an index that cannot grow is reported otherwise.
    pub(super) fn is_disk_full(&self) -> bool {
        self.free() < TO_OPEN
    }

    fn of_database(&self, most: u64) -> u64 {
        self.bytes.min(most / PART_OF_DATABASE)
    }

    /// Whether a database of limited size has room beyond its reserve again: pages that are not used yet, or no
    /// longer.
    fn has_room_in(&self, db: &Connection) -> rusqlite::Result<bool> {
        let Some(most) = self.most else { return Ok(true) };
        let (pages, free) = (pragma_value(db, "page_count")?, pragma_value(db, "freelist_count")?);
        let size = pragma_value(db, "page_size")?;
        let used = pages.saturating_sub(free).saturating_mul(size);
        Ok(used.saturating_add(self.of_database(most).saturating_mul(2)) <= most)
    }

    fn limit_to(&self, db: &Connection, bytes: Option<u64>) -> rusqlite::Result<()> {
        let Some(bytes) = bytes else { return Ok(()) };
        let size = pragma_value(db, "page_size")?;
        let pages = (bytes / size.max(1)).max(1);
        let pages = i64::try_from(pages).unwrap_or(i64::MAX).min(i64::from(u32::MAX - 1));
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }

    fn is_taken_up(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.len() >= self.bytes)
    }

    /// Free room on the disk; nothing if the system does not say.
    fn free(&self) -> u64 {
        let dir = self.path.parent().unwrap_or(&self.path);
        statvfs(dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn take_up(&self) -> io::Result<()> {
        if self.is_taken_up() {
            return Ok(());
        }
        let taken = self.allocate();
        if taken.is_err() {
            self.remove();
        }
        taken
    }

    fn allocate(&self) -> io::Result<()> {
        let mut open = fs::OpenOptions::new();
        let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        // Some file systems only reserve what is written.
        let zeros = vec![0; 64 * 1024];
        let mut left = self.bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
            file.write_all(zeros.get(..now).unwrap_or(&zeros))?;
            left -= now as u64;
        }
        file.sync_all()
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the reserve cannot be given up");
            }
        }
    }
}

fn pragma_value(db: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    let value: i64 = db.pragma_query_value(None, pragma, |row| row.get(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}
