//! The pid file: written when the daemon serves, gone when it does not.
//!
//! A daemon that becomes another user (`privsep`) may not take a file out of root's directory. It empties the file at its end,
//! through the descriptor it has, and the next start replaces it: a number that is there is that of a living daemon.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where racoon keeps it, and what a relative `path pidfile` is below.
const DIRECTORY: &str = "/var/run";

/// racoon's name for it.
const NAME: &str = "racoon.pid";

/// The file, as long as this lives.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Writes our process number; `configured` is `path pidfile`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(configured: Option<&str>) -> io::Result<Self> {
        let path = Path::new(DIRECTORY).join(configured.unwrap_or(NAME));
        Self::write_at(path)
    }

    fn write_at(path: PathBuf) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("pid file {}: {error}", path.display()));
        // A link that somebody left there must not be followed to another file.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).map_err(named)?;
        // The umask is for secrets; scripts of other users read this.
        file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(named)?;
        writeln!(file, "{}", std::process::id()).map_err(named)?;
        Ok(Self { path, file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Already gone is as good; what may not be removed at least names no process that is another's by then.
        let _gone_or_given = fs::remove_file(&self.path).or_else(|_| self.file.set_len(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_holds_the_number_and_goes_with_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("racoon.pid");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let file = PidFile::write_at(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert!(path.symlink_metadata().unwrap().is_file(), "a link is replaced");
        drop(file);
        assert!(!path.exists());
    }

    /// As a daemon without the right to remove it would find it.
    #[test]
    fn a_file_that_cannot_be_removed_is_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("racoon.pid"), directory.path().join("moved"));
        let file = PidFile::write_at(path.clone()).unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        drop(file);
        assert_eq!(fs::read(&moved).unwrap(), b"");
    }
}
