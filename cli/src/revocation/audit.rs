//! What was revoked and taken back, and what that did: one JSON object a line (/var/lib/xfrmd/audit), for people and for
//! `xfrmctl revoked`. The deny list decides; this only tells.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::deny_list::{DeniedIssuer, DenyEntry};
use super::serial;
use crate::logging;
use crate::report::RevocationReport;

/// From this many octets on a new file is begun; the one before is kept beside it.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Unix seconds.
    pub at: u64,
    /// `revoked` or `unrevoked`.
    pub action: String,
    /// Serial, decimal.
    pub serial: String,
    /// The issuer in words.
    pub issuer: String,
    /// SHA-256 of the issuer's public key, hexadecimal; `*` is any issuer.
    pub issuer_key: String,
    /// Who asked, one word.
    pub source: String,
    /// SAs deleted.
    pub sas_deleted: usize,
    /// Milliseconds it took.
    pub elapsed_ms: f64,
}

impl AuditEntry {
    /// Of a revocation.
    pub fn revoked(report: &RevocationReport, source: &str, wall: u64) -> Self {
        Self {
            at: wall,
            action: "revoked".to_owned(),
            serial: report.serial.clone(),
            issuer: report.issuer.clone(),
            issuer_key: report.issuer_key.clone().unwrap_or_else(|| "*".to_owned()),
            source: source.to_owned(),
            sas_deleted: report.sas_deleted,
            elapsed_ms: report.elapsed_ms,
        }
    }

    /// Of one taken back.
    pub fn unrevoked(entry: &DenyEntry, source: &str, wall: u64) -> Self {
        Self {
            at: wall,
            action: "unrevoked".to_owned(),
            serial: serial::to_decimal(&entry.serial),
            issuer: entry.issuer_name.clone(),
            issuer_key: match entry.issuer {
                DeniedIssuer::Any => "*".to_owned(),
                DeniedIssuer::Key(key) => serial::to_hex(&key),
            },
            source: source.to_owned(),
            sas_deleted: 0,
            elapsed_ms: 0.0,
        }
    }
}

/// The file.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    /// In the deny list's directory.
    pub fn beside(deny_list: &Path) -> Self {
        Self { path: deny_list.with_file_name("audit") }
    }

    /// Adds a line. A disk that is full stops no revocation: it is said.
    pub fn append(&self, entry: &AuditEntry) {
        if let Err(error) = self.try_append(entry) {
            logging::warning(format_args!("{}: {error}", self.path.display()));
        }
    }

    fn try_append(&self, entry: &AuditEntry) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|found| found.len() >= MAX_FILE) {
            fs::rename(&self.path, self.earlier())?;
        }
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
        file.write_all(line.as_bytes())
    }

    fn earlier(&self) -> PathBuf {
        self.path.with_extension("1")
    }

    /// Every line that can be read, oldest first.
    pub fn entries(&self) -> Vec<AuditEntry> {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let text = read(&self.earlier()) + &read(&self.path);
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// SAs that each revocation has deleted in all, by issuer key and serial as they are written.
    pub fn deleted(&self) -> HashMap<(String, String), usize> {
        let mut deleted = HashMap::new();
        for entry in self.entries() {
            let sum: &mut usize = deleted.entry((entry.issuer_key, entry.serial)).or_default();
            if entry.action == "unrevoked" {
                *sum = 0;
            } else {
                *sum = sum.saturating_add(entry.sas_deleted);
            }
        }
        deleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: &str, serial: &str, sas_deleted: usize) -> AuditEntry {
        let (issuer, issuer_key, source) = ("/CN=ca".to_owned(), "*".to_owned(), "test".to_owned());
        let (action, serial) = (action.to_owned(), serial.to_owned());
        AuditEntry { at: 1, action, serial, issuer, issuer_key, source, sas_deleted, elapsed_ms: 0.5 }
    }

    #[test]
    fn lines_add_up_and_a_torn_one_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let log = AuditLog::beside(&directory.path().join("revoked"));
        log.append(&entry("revoked", "7", 4));
        OpenOptions::new().append(true).open(&log.path).unwrap().write_all(b"{\"at\":\n").unwrap();
        log.append(&entry("revoked", "7", 2));
        log.append(&entry("revoked", "8", 1));
        log.append(&entry("unrevoked", "8", 0));
        assert_eq!(log.entries().len(), 4);
        let deleted = log.deleted();
        assert_eq!(deleted.get(&("*".to_owned(), "7".to_owned())), Some(&6));
        assert_eq!(deleted.get(&("*".to_owned(), "8".to_owned())), Some(&0));
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let log = AuditLog::beside(&directory.path().join("revoked"));
        fs::write(&log.path, vec![b'\n'; usize::try_from(MAX_FILE).unwrap()]).unwrap();
        log.append(&entry("revoked", "7", 4));
        assert_eq!(log.entries(), [entry("revoked", "7", 4)]);
        assert!(fs::metadata(&log.path).unwrap().len() < 1000);
    }
}
