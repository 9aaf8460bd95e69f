//! When the certificates of peers end: for `expired_certificate cut`.
//!
//! Kept in a file as well (/run/xfrmd/expiries, a line each), since SAs outlive the daemon that made them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use ike::event::question::CertificateId;

use crate::logging;
use crate::revocation::deny_list::parse_key;
use crate::revocation::serial;

/// Certificates that are remembered at most; those that end first are forgotten last.
const MAX_CERTIFICATES: usize = 200_000;
/// Seconds for which one that ended stays in the file: no SA lives longer.
const LONGEST_SA: u64 = 30 * 86_400;

/// Ends of certificates.
#[derive(Debug, Default)]
pub struct Expiries {
    ends: BTreeSet<(u64, CertificateId)>,
    known: BTreeMap<CertificateId, u64>,
    path: Option<PathBuf>,
}

impl Expiries {
    /// With what an earlier life of the daemon noted; whatever is unreadable in the file is passed over.
    pub fn open(path: PathBuf, wall: u64) -> Self {
        let mut found = Self::default();
        let text = fs::read_to_string(&path).unwrap_or_default();
        for (id, end) in text.lines().filter_map(parse) {
            if end.saturating_add(LONGEST_SA) > wall {
                found.insert(&id, end);
            }
        }
        found.path = Some(path);
        if let Err(error) = found.rewrite() {
            logging::warning(format_args!("expiries of certificates: {error}"));
        }
        found
    }

    /// A certificate was found good.
    pub fn note(&mut self, id: &CertificateId, end: u64) {
        if !self.insert(id, end) {
            return;
        }
        let Some(path) = &self.path else { return };
        let append = |line: String| {
            OpenOptions::new().create(true).append(true).mode(0o600).open(path)?.write_all(line.as_bytes())
        };
        if let Err(error) = append(line(id, end)) {
            logging::warning(format_args!("{}: {error}", path.display()));
        }
    }

    fn insert(&mut self, id: &CertificateId, end: u64) -> bool {
        if self.known.get(id) == Some(&end) {
            return false;
        }
        if let Some(before) = self.known.insert(id.clone(), end) {
            self.ends.remove(&(before, id.clone()));
        }
        self.ends.insert((end, id.clone()));
        while self.ends.len() > MAX_CERTIFICATES {
            if let Some((_, last)) = self.ends.pop_last() {
                self.known.remove(&last);
            }
        }
        true
    }

    /// When the next one ends, Unix seconds.
    pub fn next(&self) -> Option<u64> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Takes out those that have ended.
    pub fn take_ended(&mut self, wall: u64) -> Vec<CertificateId> {
        let mut ended = Vec::new();
        while self.next().is_some_and(|end| end < wall) {
            if let Some((_, id)) = self.ends.pop_first() {
                self.known.remove(&id);
                ended.push(id);
            }
        }
        ended
    }

    fn rewrite(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let text: String = self.ends.iter().map(|(end, id)| line(id, *end)).collect();
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&temporary, path)
    }
}

fn line(id: &CertificateId, end: u64) -> String {
    format!("{} {} {end}\n", serial::to_hex(&id.issuer_key), serial::to_decimal(&id.serial))
}

fn parse(line: &str) -> Option<(CertificateId, u64)> {
    let mut words = line.split(' ');
    let (key, number, end) = (words.next()?, words.next()?, words.next()?);
    let id = CertificateId { issuer_key: parse_key(key)?, serial: serial::parse(number).ok()? };
    Some((id, end.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(serial: u8) -> CertificateId {
        CertificateId { issuer_key: [3; 32], serial: vec![serial] }
    }

    #[test]
    fn ends_come_in_order_and_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("expiries");
        let mut expiries = Expiries::open(path.clone(), 1000);
        expiries.note(&id(1), 3000);
        expiries.note(&id(2), 2000);
        expiries.note(&id(1), 3000);
        assert_eq!(expiries.next(), Some(2000));
        assert!(expiries.take_ended(2000).is_empty());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"rubbish\n").unwrap();
        let mut again = Expiries::open(path, 2500);
        assert_eq!(again.take_ended(2500), [id(2)]);
        assert_eq!(again.next(), Some(3000));
    }
}
