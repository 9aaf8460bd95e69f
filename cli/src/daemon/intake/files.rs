//! CRL files: the configured ones and `<hash>.rN` of `path certificate`, read again as soon as they change.
//!
//! inotify watches the directories (files are replaced by rename, links are followed to their targets' directories); a look
//! at the files every other second is the safety net for what it cannot see: directories that come and go, file systems
//! without notices. A file that is half written is read again when its writer is done.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::Common;
use super::lists::{self, KIND, Taken};
use crate::daemon::files::Loaded;
use crate::logging;
use crate::os::Readiness;
use crate::revocation::crl::shelf::read_bounded;
use crate::revocation::crl::store::{InUse, Origin};
use crate::revocation::stamp::Stamp;

/// How long a burst of changes is let settle.
const SETTLE: Duration = Duration::from_millis(20);
/// How often is looked without a notice.
const LOOK: Duration = Duration::from_secs(2);
/// Hashed files that are looked at, at most.
const MAX_HASHED: usize = 4096;

/// The files of a configuration and how they were when last read.
#[derive(Debug, Default)]
pub struct Scanner {
    files: Vec<PathBuf>,
    directory: Option<PathBuf>,
    seen: BTreeMap<PathBuf, Option<Stamp>>,
}

impl Scanner {
    /// For a configuration; nothing is read yet.
    pub fn new(loaded: &Loaded) -> Self {
        Self {
            files: loaded.daemon.revocation.crl_files.iter().map(PathBuf::from).collect(),
            directory: loaded.daemon.certificate_dir.as_ref().map(PathBuf::from),
            seen: BTreeMap::new(),
        }
    }

    /// Reads what has changed. Blocks: not on the loop.
    pub fn scan(&mut self, common: &Common) -> Vec<Arc<InUse>> {
        let mut accepted = Vec::new();
        let configured = self.files.iter().map(|path| (path.clone(), true));
        let all: Vec<(PathBuf, bool)> = configured.chain(self.hashed().into_iter().map(|path| (path, false))).collect();
        self.forget_missing(&all, common);
        for (path, is_configured) in all {
            let stamp = Stamp::of(&path).unwrap_or(None);
            if self.seen.get(&path) == Some(&stamp) {
                continue;
            }
            let name = path.display().to_string();
            let origin = if is_configured { Origin::Configured(name) } else { Origin::Directory(name) };
            let taken = read(&path, &origin, common);
            accepted.extend(taken.accepted);
            if let (false, Some(stamp), false) = (is_configured, stamp, taken.read.0.is_empty()) {
                common.crls.remember_file(path.clone(), stamp, taken.read);
            }
            self.seen.insert(path, stamp);
        }
        accepted
    }

    fn forget_missing(&mut self, all: &[(PathBuf, bool)], common: &Common) {
        let gone: Vec<PathBuf> =
            self.seen.keys().filter(|path| !all.iter().any(|(one, _)| one == *path)).cloned().collect();
        for path in gone {
            common.health.forget(&path.display().to_string());
            common.crls.forget_file(&path);
            self.seen.remove(&path);
        }
    }

    fn hashed(&self) -> Vec<PathBuf> {
        let Some(directory) = &self.directory else { return Vec::new() };
        let digit = "[0-9a-f]";
        let pattern = directory.join(format!("{}.r[0-9]", digit.repeat(8)));
        glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten().take(MAX_HASHED).collect()
    }

    /// Directories in which a change can mean another content: of the files, and of what links lead to.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let mut found: BTreeSet<PathBuf> = self.directory.iter().cloned().collect();
        for path in self.files.iter().chain(self.seen.keys()) {
            found.extend(path.parent().map(Path::to_owned));
            let target = std::fs::canonicalize(path).ok();
            found.extend(target.as_deref().and_then(Path::parent).map(Path::to_owned));
        }
        found
    }
}

fn read(path: &Path, origin: &Origin, common: &Common) -> Taken {
    match read_bounded(path) {
        Ok(octets) => lists::take(&octets, origin, common),
        Err(error) => {
            common.health.bad(KIND, &path.display().to_string(), &error.to_string());
            Taken::default()
        }
    }
}

/// Reads the files whenever they change.
pub async fn watch(mut scanner: Scanner, common: Common) {
    let notices = match Notices::open() {
        Ok(notices) => Some(notices),
        Err(error) => {
            logging::warning(format_args!("inotify: {error}: CRL files are looked at every {} s", LOOK.as_secs()));
            None
        }
    };
    loop {
        let with = common.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            let accepted = scanner.scan(&with);
            (scanner, accepted)
        });
        let Ok((back, accepted)) = scanned.await else { return };
        scanner = back;
        lists::tell(Taken { is_new: !accepted.is_empty(), accepted, ..Taken::default() }, &common).await;
        match &notices {
            Some(notices) => {
                // What changed between the scan and the first watch of a new directory is seen by the next look.
                notices.watch(&scanner.directories());
                tokio::select! {
                    () = notices.changed() => tokio::time::sleep(SETTLE).await,
                    () = tokio::time::sleep(LOOK) => {}
                }
                notices.drain();
            }
            None => tokio::time::sleep(LOOK).await,
        }
    }
}

/// inotify.
struct Notices {
    readiness: Readiness,
    descriptor: OwnedFd,
}

impl Notices {
    fn open() -> std::io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let readiness = Readiness::register(descriptor.try_clone()?)?;
        Ok(Self { readiness, descriptor })
    }

    /// Watching a directory again changes nothing; one that is not there is looked for by the next look.
    fn watch(&self, directories: &BTreeSet<PathBuf>) {
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::ATTRIB;
        for directory in directories {
            let _not_there = inotify::add_watch(&self.descriptor, directory, what | WatchFlags::ONLYDIR);
        }
    }

    async fn changed(&self) {
        let mut buffer = [0_u8; 4096];
        let outcome = self.readiness.read(|from| Ok(rustix::io::read(from, &mut buffer)?)).await;
        if outcome.is_err() {
            // The look every other second goes on.
            std::future::pending::<()>().await;
        }
    }

    /// What happened meanwhile is covered by the scan that follows.
    fn drain(&self) {
        let mut buffer = [0_u8; 4096];
        loop {
            match rustix::io::read(&self.descriptor, &mut buffer) {
                Ok(0) => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
