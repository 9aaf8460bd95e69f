//! Writing the journal: one writer at a time, each step safe to die after.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::layout::{self, Table};
use super::reader::{JournalReader, boot_id, failed};
use super::{Entry, JournalError, Record, RecordId, State};

/// Below this many dead records a new file is not worth its making.
const FEW_DEAD: usize = 256;

/// The journal of a running daemon; no other can open it for writing meanwhile.
#[derive(Debug)]
pub struct JournalWriter {
    path: PathBuf,
    boot: [u8; 16],
    file: File,
    /// Where the next record goes.
    tail: u64,
    next: u64,
    /// Offsets of the living.
    living: HashMap<RecordId, u64>,
    dead: usize,
}

impl JournalWriter {
    /// Opens the journal, creating it and its directory if need be, and drops what is dead, torn or from before the
    /// machine started. What an earlier daemon left is in [`Self::entries`].
    ///
    /// # Errors
    /// [`JournalError::Busy`] if another process has it, [`JournalError::NotAJournal`] if the file is something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::open_in_boot(path.as_ref(), boot_id(path.as_ref())?)
    }

    pub(super) fn open_in_boot(path: &Path, boot: [u8; 16]) -> Result<Self, JournalError> {
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)
                .map_err(|error| failed(path, "create the directory of", error))?;
        }
        // Dropped last: nobody else may begin before the new file, with a lock of its own, is in place.
        let held = open_locked(path)?;
        let file = held.try_clone().map_err(|error| failed(path, "read", error))?;
        let records = JournalReader::from_file(path, file, &boot)?.entries()?;
        Self::rewrite(path, boot, &records)
    }

    /// Writes an entry. When this returns, the entry can be found by each of its certificates, so the kernel may get
    /// the SAs.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`], or [`JournalError::Io`] (a full file system above all); the journal then stands as
    /// before.
    pub fn insert(&mut self, entry: &Entry) -> Result<RecordId, JournalError> {
        self.insert_in(State::Installing, entry)
    }

    fn insert_in(&mut self, state: State, entry: &Entry) -> Result<RecordId, JournalError> {
        let id = RecordId(self.next);
        let mut heads: HashMap<u64, u64> = HashMap::new();
        let mut links = Vec::new();
        for (index, certificate) in (0u64..).zip(&entry.owner.certificates) {
            let mut next = |table| {
                let bucket = layout::bucket(table, certificate);
                let before = match heads.get(&bucket) {
                    Some(&head) => head,
                    None => layout::read_pointer(&self.file, bucket, &mut 0)
                        .map_err(|error| failed(&self.path, "read", error))?,
                };
                heads.insert(bucket, self.tail | index);
                Ok::<u64, JournalError>(before)
            };
            links.push((next(Table::Certificate)?, next(Table::Serial)?));
        }
        let record = layout::record(id, state, entry, &links)?;
        let offset = self.tail;
        self.file.write_all_at(&record, offset).map_err(|error| failed(&self.path, "write", error))?;
        // From here on a bucket may point to the record: its place is taken, whatever happens.
        self.tail += record.len() as u64;
        self.next += 1;
        for (bucket, link) in heads {
            if let Err(error) = layout::write_pointer(&self.file, bucket, link) {
                self.dead += 1;
                let _ = layout::write_state(&self.file, offset, None);
                return Err(failed(&self.path, "write", error));
            }
        }
        self.living.insert(id, offset);
        Ok(id)
    }

    /// Both SAs of the entry are in the kernel.
    ///
    /// # Errors
    /// [`JournalError::Io`] if that could not be written.
    pub fn mark_live(&mut self, id: RecordId) -> Result<(), JournalError> {
        match self.living.get(&id) {
            Some(&offset) => layout::write_state(&self.file, offset, Some(State::Live))
                .map_err(|error| failed(&self.path, "write", error)),
            None => Ok(()),
        }
    }

    /// The SAs of the entry are gone. An entry that is not there is no error.
    ///
    /// # Errors
    /// [`JournalError::Io`] if that could not be written.
    pub fn remove(&mut self, id: RecordId) -> Result<(), JournalError> {
        let Some(&offset) = self.living.get(&id) else {
            return Ok(());
        };
        layout::write_state(&self.file, offset, None).map_err(|error| failed(&self.path, "write", error))?;
        self.living.remove(&id);
        self.dead += 1;
        if self.dead > FEW_DEAD && self.dead > self.living.len() {
            // The entry is gone either way; a file system too full for a new file is tried again at the next removal.
            let _ = self.compact();
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<(), JournalError> {
        let mut new = Self::rewrite(&self.path, self.boot, &self.entries()?)?;
        new.next = self.next;
        *self = new;
        Ok(())
    }

    /// Every entry, oldest first: after [`Self::open`], what the daemon before left behind.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the file cannot be read.
    pub fn entries(&self) -> Result<Vec<Record>, JournalError> {
        let file = self.file.try_clone().map_err(|error| failed(&self.path, "read", error))?;
        JournalReader::from_file(&self.path, file, &self.boot)?.entries()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.living.len()
    }

    /// Is there no entry?
    pub fn is_empty(&self) -> bool {
        self.living.is_empty()
    }

    /// A new file with these records, locked before it takes its place.
    fn rewrite(path: &Path, boot: [u8; 16], records: &[Record]) -> Result<Self, JournalError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|error| failed(&temporary, "create", error))?;
        lock(path, &file)?;
        file.write_all_at(&layout::header(&boot), 0).map_err(|error| failed(&temporary, "write", error))?;
        file.set_len(layout::RECORDS).map_err(|error| failed(&temporary, "write", error))?;
        let mut new =
            Self { path: path.to_owned(), boot, file, tail: layout::RECORDS, next: 1, living: HashMap::new(), dead: 0 };
        for record in records {
            new.next = record.id.0;
            new.insert_in(record.state, &record.entry)?;
        }
        fs::rename(&temporary, path).map_err(|error| failed(path, "replace", error))?;
        Ok(new)
    }
}

/// Opens the file and takes the writer's lock on it, not on one that was replaced meanwhile.
fn open_locked(path: &Path) -> Result<File, JournalError> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed(path, "open", error))?;
        lock(path, &file)?;
        let held = file.metadata().map_err(|error| failed(path, "look at", error))?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(path, "look at", error)),
        }
    }
}

fn lock(path: &Path, file: &File) -> Result<(), JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::Busy(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(path, "lock", error)),
    }
}
