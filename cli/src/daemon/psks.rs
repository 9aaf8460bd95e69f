//! The file of pre-shared keys, read anew when it has changed: as racoon, which reads it at each use, a changed key counts
//! from the next negotiation on, without a reload.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use ike::config::Config;

use super::files::Loaded;
use crate::logging;
use crate::pki::remotes;

/// What tells one content of a file from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    File { device: u64, inode: u64, octets: u64, modified: (i64, i64), changed: (i64, i64) },
}

/// The file, and what of it was read last.
#[derive(Debug, Default)]
pub struct PskWatch {
    path: Option<PathBuf>,
    /// `None`: not looked at since the configuration was read.
    seen: Option<Stamp>,
}

impl PskWatch {
    /// The file of a configuration that has just been read.
    pub fn of(loaded: &Loaded) -> Self {
        let path = loaded.files.psk_file.as_ref().and(loaded.daemon.psk_file.as_ref()).map(PathBuf::from);
        Self { path, seen: None }
    }

    /// The configuration with the keys as they are in the file now, if they are others than those in `config`.
    pub fn renewed(&mut self, loaded: &Loaded, config: &Config) -> Option<Arc<Config>> {
        let now = stamp(self.path.as_ref()?);
        if self.seen.replace(now) == Some(now) {
            return None;
        }
        let mut warnings = Vec::new();
        let file = remotes::load_psks(&loaded.daemon, &mut warnings);
        warnings.iter().for_each(logging::error);
        let psks = file.map(|file| file.table).unwrap_or_default();
        (psks != config.psks).then(|| Arc::new(Config { psks, ..config.clone() }))
    }
}

fn stamp(path: &PathBuf) -> Stamp {
    fs::metadata(path).map_or(Stamp::Missing, |found| Stamp::File {
        device: found.dev(),
        inode: found.ino(),
        octets: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}
