//! The CRLs in use, on disk (/var/lib/xfrmd/crls): a restart must not make an older one good again.
//!
//! One file for each issuer's key, `HEX.crl` in DER, replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Crl, MAX_CRL};
use crate::revocation::deny_list::parse_key;
use crate::revocation::serial;

/// Files that are read back at most: an issuer each.
const MAX_FILES: usize = 1024;

/// The directory.
#[derive(Clone, Debug)]
pub struct Shelf(PathBuf);

impl Shelf {
    /// Below the state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("crls"))
    }

    /// Puts an accepted CRL there; when this returns it survives a crash of the machine.
    ///
    /// # Errors
    /// The system call's.
    pub fn put(&self, issuer_key: &[u8; 32], crl: &Crl) -> io::Result<()> {
        let der = crl.to_der().map_err(io::Error::other)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let path = self.0.join(format!("{}.crl", serial::to_hex(issuer_key)));
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&der)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.0)?.sync_all()
    }

    /// What lies there, with the key of each one's issuer. What cannot be read is told in the second list.
    pub fn read(&self) -> (Vec<([u8; 32], Crl)>, Vec<String>) {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (found, problems),
            Err(error) => return (found, vec![format!("{}: {error}", self.0.display())]),
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())).take(MAX_FILES) {
            let Some(key) = key_of(&path) else { continue };
            match read_bounded(&path).map_err(|error| error.to_string()) {
                Ok(der) => match Crl::parse(&der) {
                    Ok(crl) => found.push((key, crl)),
                    Err(error) => problems.push(format!("{}: {error}", path.display())),
                },
                Err(error) => problems.push(format!("{}: {error}", path.display())),
            }
        }
        (found, problems)
    }
}

fn key_of(path: &Path) -> Option<[u8; 32]> {
    let name = path.file_name()?.to_str()?.strip_suffix(".crl")?;
    parse_key(name)
}

/// A file's octets, if they are no more than a CRL may have.
///
/// # Errors
/// The system call's; too many octets; not a regular file.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut octets = Vec::new();
    file.take(MAX_CRL as u64 + 1).read_to_end(&mut octets)?;
    if octets.len() > MAX_CRL {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "no CRL is larger than 64 MiB"));
    }
    Ok(octets)
}
