//! The file of the journal: one entry a line, as JSON behind its checksum, so that people can read it
//! too. The first line names the journal.

use onsembl_protocol::id::JournalId;
use onsembl_protocol::worker::{CommandJournal, JournalEntry};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The file, in the state directory.
pub(crate) const NAME: &str = "journal.log";
/// Where the next one is written before it takes the place of this one.
const NEXT: &str = "journal.new";
/// Where a damaged one is put, for people.
const DAMAGED: &str = "journal.damaged";

/// More is not read: a hundred times what 4,096 ends need.
const LONGEST: u64 = 256 << 20;

/// Below this it is not rewritten.
const SMALL: u64 = 1 << 20;

/// The format of the lines.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    journal: JournalId,
    version: u32,
}

/// A journal that is open for writing.
#[derive(Debug)]
pub(super) struct JournalFile {
    dir: PathBuf,
    path: PathBuf,
    id: JournalId,
    file: File,
    /// Up to here it is whole.
    length: u64,
    /// It may hold the beginning of an entry behind that.
    torn: bool,
    compact_at: u64,
    journal: CommandJournal,
}

impl JournalFile {
    /// Opens the journal in `dir`, or begins one.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, JournalId)> {
        let path = dir.join(NAME);
        let found = match read(&path) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the journal cannot be read; it was set aside, and earlier commands are unknown");
                Some(Found { damage: Some(error.to_string()), ..Found::default() })
            }
        };
        let Some(found) = found else {
            let file = Self::begin(dir, CommandJournal::default())?;
            let id = file.id.clone();
            return Ok((file, id));
        };
        if let (Some(id), None) = (&found.id, &found.damage) {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(found.whole)?;
            let _ = file.seek(SeekFrom::End(0))?;
            let open = Self {
                dir: dir.to_owned(),
                path,
                id: id.clone(),
                file,
                length: found.whole,
                torn: false,
                compact_at: SMALL.max(found.whole.saturating_mul(2)),
                journal: found.journal,
            };
            return Ok((open, id.clone()));
        }
        let aside = dir.join(DAMAGED);
        fs::rename(&path, &aside)?;
        let damage = found.damage.as_deref().unwrap_or("it is not a journal");
        tracing::error!(%damage, path = %aside.display(), kept = found.entries, "the journal is damaged and was set aside; entries before the damage are used, later ones are unknown");
        let file = Self::begin(dir, found.journal)?;
        let id = file.id.clone();
        Ok((file, id))
    }

    pub(super) fn journal(&self) -> &CommandJournal {
        &self.journal
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes entries, and syncs them if one of them must last. On an error none of them counts.
    pub(super) fn append(&mut self, entries: Vec<JournalEntry>) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in &entries {
            line(&mut lines, entry)?;
        }
        if self.torn {
            self.mend()?;
        }
        self.torn = true;
        self.file.write_all(&lines)?;
        if entries.iter().any(JournalEntry::must_last) {
            self.file.sync_data()?;
        }
        self.torn = false;
        self.length = self.length.saturating_add(lines.len() as u64);
        entries.into_iter().for_each(|entry| self.journal.apply(entry));
        Ok(())
    }

    /// Rewrites it with what still counts, once it is twice as long as after the last rewrite.
    pub(super) fn compact_if_due(&mut self) -> io::Result<()> {
        if self.length < self.compact_at {
            return Ok(());
        }
        // Not tried again at every entry if it fails.
        self.compact_at = self.length.saturating_mul(2);
        let (file, length) = rewrite(&self.dir, &self.id, &self.journal)?;
        (self.file, self.length, self.torn) = (file, length, false);
        self.compact_at = SMALL.max(length.saturating_mul(2));
        Ok(())
    }

    fn begin(dir: &Path, journal: CommandJournal) -> io::Result<Self> {
        let id = JournalId::new(Uuid::new_v4().to_string());
        let (file, length) = rewrite(dir, &id, &journal)?;
        Ok(Self {
            dir: dir.to_owned(),
            path: dir.join(NAME),
            id,
            file,
            length,
            torn: false,
            compact_at: SMALL.max(length.saturating_mul(2)),
            journal,
        })
    }

    /// Cuts off what a failed write may have left.
    fn mend(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        let _ = self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }
}

/// Writes a journal beside the one in force and puts it in its place. Either is there, whole, at any
/// time.
fn rewrite(dir: &Path, id: &JournalId, journal: &CommandJournal) -> io::Result<(File, u64)> {
    let next = dir.join(NEXT);
    let mut lines = Vec::new();
    line(&mut lines, &Header { journal: id.clone(), version: VERSION })?;
    for entry in journal.entries() {
        line(&mut lines, &entry)?;
    }
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(&lines)?;
    file.sync_all()?;
    fs::rename(&next, dir.join(NAME))?;
    File::open(dir)?.sync_all()?;
    Ok((file, lines.len() as u64))
}

fn line(out: &mut Vec<u8>, content: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(content)?;
    write!(out, "{:08x} ", crc32fast::hash(&json))?;
    out.extend_from_slice(&json);
    out.push(b'\n');
    Ok(())
}

/// What is in a file.
#[derive(Debug, Default)]
struct Found {
    id: Option<JournalId>,
    journal: CommandJournal,
    entries: usize,
    /// The length of what is whole.
    whole: u64,
    damage: Option<String>,
}

/// `None` if there is no file, or one that was being begun.
fn read(path: &Path) -> io::Result<Option<Found>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(LONGEST).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut found = Found::default();
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // The end of a write that was cut short. It was never confirmed as written.
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let length = line.len() as u64 + 1;
        match content(line) {
            Ok(json) if found.id.is_none() => match serde_json::from_slice::<Header>(json) {
                Ok(header) if header.version == VERSION => found.id = Some(header.journal),
                Ok(Header { version, .. }) => {
                    found.damage = Some(format!("it is of version {version}, this is {VERSION}"));
                }
                Err(error) => found.damage = Some(format!("the first line: {error}")),
            },
            Ok(json) => match serde_json::from_slice::<JournalEntry>(json) {
                Ok(entry) => {
                    found.journal.apply(entry);
                    found.entries += 1;
                }
                Err(error) => found.damage = Some(format!("line {}: {error}", number + 1)),
            },
            Err(why) => found.damage = Some(format!("line {}: {why}", number + 1)),
        }
        if found.damage.is_some() {
            break;
        }
        found.whole = found.whole.saturating_add(length);
    }
    Ok(Some(found))
}

fn content(line: &[u8]) -> Result<&[u8], &'static str> {
    let (sum, json) = line.split_at_checked(9).ok_or("too short")?;
    let sum = std::str::from_utf8(sum).ok().and_then(|text| text.strip_suffix(' '));
    let sum = sum.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or("no checksum")?;
    if crc32fast::hash(json) == sum { Ok(json) } else { Err("the checksum does not match") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::{CommandId, RunMark};

    fn starting(n: usize) -> JournalEntry {
        JournalEntry::Starting {
            command: CommandId::new(format!("c-{n}")),
            mark: RunMark::new(format!("m-{n}")),
        }
    }

    fn written(dir: &Path, entries: usize) -> JournalId {
        let (mut file, id) = JournalFile::open(dir).unwrap();
        file.append((0..entries).map(starting).collect()).unwrap();
        id
    }

    fn known(dir: &Path) -> (usize, JournalId) {
        let (file, id) = JournalFile::open(dir).unwrap();
        (file.journal().standings().count(), id)
    }

    #[test]
    fn what_is_written_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let id = written(dir.path(), 3);
        assert_eq!(known(dir.path()), (3, id.clone()));
        let (mut file, _) = JournalFile::open(dir.path()).unwrap();
        file.append(vec![starting(3)]).unwrap();
        assert_eq!(known(dir.path()), (4, id));
    }

    #[test]
    fn an_entry_that_was_cut_short_was_never_written_and_nothing_else_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let id = written(dir.path(), 3);
        let path = dir.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        let third = whole.len() - whole.split_inclusive(|b| *b == b'\n').next_back().unwrap().len();
        for length in third..whole.len() {
            fs::write(&path, whole.get(..length).unwrap()).unwrap();
            assert_eq!(known(dir.path()), (2, id.clone()), "{length}");
        }
        let (mut file, _) = JournalFile::open(dir.path()).unwrap();
        file.append(vec![starting(7)]).unwrap();
        assert_eq!(known(dir.path()), (3, id));
    }

    #[test]
    fn damage_cuts_the_journal_there_and_begins_another_that_proves_nothing_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let id = written(dir.path(), 3);
        let path = dir.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            if whole.get(at) == Some(&b'\n') && at + 1 == whole.len() {
                continue;
            }
            let mut bad = whole.clone();
            *bad.get_mut(at).unwrap() ^= 1;
            fs::write(&path, &bad).unwrap();
            let line = whole.iter().take(at).filter(|b| **b == b'\n').count();
            let (count, other) = known(dir.path());
            assert_eq!(count, line.saturating_sub(1), "at {at}");
            assert_ne!(other, id, "at {at}");
            assert_eq!(fs::read(dir.path().join(DAMAGED)).unwrap(), bad);
            assert_eq!(known(dir.path()), (count, other), "and it is whole again");
        }
    }

    #[test]
    fn what_cannot_be_read_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(NAME)).unwrap();
        assert_eq!(known(dir.path()).0, 0);
        assert!(dir.path().join(DAMAGED).is_dir());
    }

    #[test]
    fn a_failed_write_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, id) = JournalFile::open(dir.path()).unwrap();
        file.append(vec![starting(0)]).unwrap();
        // As after a write that the disk took half of.
        file.file.write_all(b"0000").unwrap();
        file.torn = true;
        file.append(vec![starting(1)]).unwrap();
        assert_eq!(known(dir.path()), (2, id));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, id) = JournalFile::open(dir.path()).unwrap();
        for n in 0..200 {
            let mut report = serde_json::json!({ "commandId": format!("c-{n}") });
            report["error"] = "x".repeat(50_000).into();
            let report = serde_json::from_value(report).unwrap();
            let command = CommandId::new("other");
            file.append(vec![
                JournalEntry::Confirmed { command },
                JournalEntry::Ended { report, remains: None },
            ])
            .unwrap();
            file.journal = CommandJournal::default();
            file.compact_if_due().unwrap();
            assert!(file.length < 2 * SMALL);
        }
        let length = fs::metadata(dir.path().join(NAME)).unwrap().len();
        assert_eq!(length, file.length);
        drop(file);
        assert_eq!(known(dir.path()).1, id, "it is the same journal");
    }
}
