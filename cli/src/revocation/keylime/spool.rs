//! Revocations that came while no daemon ran, from users who cannot cut SAs by themselves: kept in /var/lib/xfrmd/spool until
//! the daemon starts.
//!
//! `spool` is the daemon's, `spool/UID` that user's alone, so nobody can write in another's name and nothing in it needs to be
//! believed but what its owner may say anyway. What lies there is read as if it came over the control socket: a plain file
//! of that user's, of one name, bounded, no link.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use super::message::{self, MAX_NOTICE, MessageError, Notice};

/// What finished files are called.
const SUFFIX: &str = "json";

/// Why a file counts for nothing.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The system's.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what its user's action would have left.
    #[error("it is {0}")]
    Foreign(&'static str),
    /// What stands in it.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl SpoolError {
    /// Will it be the same the next time?
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

fn root(state_dir: &Path) -> PathBuf {
    state_dir.join("spool")
}

fn folder(state_dir: &Path, user: u32) -> PathBuf {
    root(state_dir).join(user.to_string())
}

/// Makes the users' folders; `group` is the one that the daemon runs as, which takes out what is done. The state directory
/// lets everybody through then, and shows nobody what is in it.
///
/// # Errors
/// The system call's.
pub fn prepare(state_dir: &Path, users: &BTreeSet<u32>, group: u32) -> io::Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let mode = fs::metadata(state_dir)?.permissions().mode();
    if mode & 0o111 != 0o111 {
        fs::set_permissions(state_dir, Permissions::from_mode(mode | 0o111))?;
    }
    make(&root(state_dir), 0o711)?;
    for user in users {
        let path = folder(state_dir, *user);
        make(&path, 0o770)?;
        let found = fs::symlink_metadata(&path)?;
        if (found.uid(), found.gid()) != (*user, group) {
            lchown(&path, Some(*user), Some(group))?;
        }
    }
    Ok(())
}

/// A directory of this mode, whatever the umask; one that is there is left as it is.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Leaves a message for the next daemon, on the disk when this returns.
///
/// # Errors
/// The system call's; there is no folder if no daemon ever knew this user.
pub fn leave(state_dir: &Path, octets: &[u8]) -> io::Result<PathBuf> {
    let folder = folder(state_dir, rustix::process::geteuid().as_raw());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = folder.join(format!("{:020}-{}.{SUFFIX}", now.as_nanos(), std::process::id()));
    let unfinished = name.with_extension("new");
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&unfinished)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&unfinished, &name)?;
    File::open(&folder)?.sync_all()?;
    Ok(name)
}

/// What a user has left, oldest first. Blocks.
pub fn left(state_dir: &Path, user: u32) -> Vec<PathBuf> {
    let folder = folder(state_dir, user);
    // The folder itself is only as good as its owner; a link in its place was not made here.
    if !fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir() && found.uid() == user) {
        return Vec::new();
    }
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == SUFFIX)).collect();
    found.sort();
    found
}

/// Reads what this user has left. Blocks.
///
/// # Errors
/// [`SpoolError`].
pub fn read(path: &Path, user: u32) -> Result<Notice, SpoolError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(SpoolError::Foreign("a link")),
        outcome => outcome?,
    };
    let found = file.metadata()?;
    let is_own = found.uid() == user && found.nlink() == 1;
    match (found.is_file(), is_own, found.len() <= MAX_NOTICE as u64) {
        (false, ..) => return Err(SpoolError::Foreign("no plain file")),
        (_, false, _) => return Err(SpoolError::Foreign("not that user's alone")),
        (.., false) => return Err(SpoolError::Foreign("too long")),
        _ => {}
    }
    let mut octets = Vec::new();
    file.take(MAX_NOTICE as u64 + 1).read_to_end(&mut octets)?;
    Ok(message::read(&octets)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::revocation::serial;

    const MESSAGE: &[u8] = br#"{"type": "revocation", "meta_data": "{\"cert_serial\": 7}"}"#;

    fn prepared() -> (tempfile::TempDir, u32) {
        let directory = tempfile::tempdir().unwrap();
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        for _ in 0..2 {
            prepare(directory.path(), &BTreeSet::from([user]), group).unwrap();
        }
        (directory, user)
    }

    #[test]
    fn what_was_left_is_read_in_order() {
        let (directory, user) = prepared();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.path().to_owned()), 0o711);
        assert_eq!((mode(root(directory.path())), mode(folder(directory.path(), user))), (0o711, 0o770));
        let names = [leave(directory.path(), MESSAGE).unwrap(), leave(directory.path(), b"rubbish").unwrap()];
        assert_eq!(left(directory.path(), user), names);
        let Ok(Notice::Revocation(revocation)) = read(&names[0], user) else { panic!("no revocation") };
        assert_eq!(serial::to_decimal(&revocation.serial), "7");
        assert!(matches!(read(&names[1], user), Err(SpoolError::Message(_))));
        assert_eq!(mode(names[0].clone()), 0o600);
    }

    #[test]
    fn links_strangers_and_long_files_are_refused() {
        let (directory, user) = prepared();
        let folder = folder(directory.path(), user);
        let good = leave(directory.path(), MESSAGE).unwrap();
        let refused = |path: &Path, as_user: u32| read(path, as_user).unwrap_err().to_string();
        assert_eq!(refused(&good, user + 1), "it is not that user's alone");
        assert_eq!(left(directory.path(), user + 1), [] as [PathBuf; 0]);
        let link = folder.join("link.json");
        symlink(&good, &link).unwrap();
        assert_eq!(refused(&link, user), "it is a link");
        fs::hard_link(&good, folder.join("hard.json")).unwrap();
        assert_eq!(refused(&good, user), "it is not that user's alone");
        let long = folder.join("long.json");
        fs::write(&long, vec![b' '; MAX_NOTICE + 1]).unwrap();
        assert_eq!(refused(&long, user), "it is too long");
        assert_eq!(refused(&folder, user), "it is no plain file");
        assert!(!read(&folder.join("gone.json"), user).unwrap_err().is_final());
    }

    #[test]
    fn a_user_that_no_daemon_knew_has_no_place() {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path(), &BTreeSet::new(), 0).unwrap();
        assert_eq!(leave(directory.path(), MESSAGE).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
