//! Reading the journal: by certificate, by serial, or all of it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ike::event::question::CertificateId;

use super::layout::{self, Table};
use super::{JournalError, Record};

/// An open journal. It shows the file as it was when opened, and what was added since: use it and drop it.
#[derive(Debug)]
pub struct JournalReader {
    path: PathBuf,
    file: File,
    /// Written before this machine started last: its SAs are gone.
    stale: bool,
    reads: u64,
}

impl JournalReader {
    /// Opens the journal.
    ///
    /// # Errors
    /// [`JournalError::Missing`] if there is none, [`JournalError::NotAJournal`] if it is something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::open_in_boot(path.as_ref(), &boot_id(path.as_ref())?)
    }

    pub(super) fn open_in_boot(path: &Path, boot: &[u8; 16]) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::Missing(path.to_owned()),
            _ => failed(path, "open", error),
        })?;
        Self::from_file(path, file, boot)
    }

    pub(super) fn from_file(path: &Path, file: File, boot: &[u8; 16]) -> Result<Self, JournalError> {
        let length = file.metadata().map_err(|error| failed(path, "look at", error))?.len();
        let stale = match layout::read_header(&file).map_err(|error| failed(path, "read", error))? {
            Some(written_in) => written_in != *boot,
            // Just created, nothing written yet.
            None if length == 0 => true,
            None => return Err(JournalError::NotAJournal(path.to_owned())),
        };
        Ok(Self { path: path.to_owned(), file, stale, reads: 0 })
    }

    /// The entries that rest on this certificate, newest first.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the file cannot be read.
    pub fn find(&mut self, certificate: &CertificateId) -> Result<Vec<Record>, JournalError> {
        let bucket = layout::bucket(Table::Certificate, certificate);
        self.walk(Table::Certificate, bucket, |record| record.entry.rests_on(certificate))
    }

    /// The entries that rest on a certificate with this serial (big endian, no leading zeros), whoever its issuer is.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the file cannot be read.
    pub fn find_serial(&mut self, serial: &[u8]) -> Result<Vec<Record>, JournalError> {
        self.walk(Table::Serial, layout::serial_bucket(serial), |record| record.entry.rests_on_serial(serial))
    }

    /// Every entry, oldest first; reads the whole file.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the file cannot be read.
    pub fn entries(&mut self) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        if self.stale {
            return Ok(records);
        }
        let mut offset = layout::RECORDS;
        while let Some(found) =
            layout::read_record(&self.file, offset, &mut self.reads).map_err(|error| self.failed(error))?
        {
            records.extend(found.record);
            offset += found.length;
        }
        Ok(records)
    }

    /// How often the file was read so far: what a search costs.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    fn walk(
        &mut self,
        table: Table,
        bucket: u64,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        if self.stale {
            return Ok(records);
        }
        let mut link = layout::read_pointer(&self.file, bucket, &mut self.reads).map_err(|error| self.failed(error))?;
        let mut last_record = u64::MAX;
        while link >= layout::RECORDS {
            let (offset, index) = layout::split_link(link);
            let found = layout::read_record(&self.file, offset, &mut self.reads).map_err(|error| self.failed(error))?;
            let Some(found) = found else { break };
            let Some(&(by_certificate, by_serial)) = found.links.get(index) else { break };
            // Two certificates of one record can hang in one chain.
            if offset != last_record {
                records.extend(found.record.filter(&wanted));
            }
            last_record = offset;
            let next = if table == Table::Certificate { by_certificate } else { by_serial };
            if next >= link {
                break;
            }
            link = next;
        }
        Ok(records)
    }

    fn failed(&self, error: io::Error) -> JournalError {
        failed(&self.path, "read", error)
    }
}

pub(super) fn failed(path: &Path, action: &'static str, error: io::Error) -> JournalError {
    JournalError::Io { path: path.to_owned(), action, error }
}

/// What tells this run of the machine from every other.
pub(super) fn boot_id(path: &Path) -> Result<[u8; 16], JournalError> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(|error| failed(path, "read the kernel's boot id for", error))?;
    let mut id = [0; 16];
    let digits = text.trim().replace('-', "");
    for (octet, pair) in id.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *octet = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    Ok(id)
}
