//! The file of pre-shared keys, read anew when it has changed: as racoon, which reads it at each use, a changed key counts
//! from the next negotiation on, without a reload.

use std::path::PathBuf;
use std::sync::Arc;

use ike::config::Config;

use super::files::Loaded;
use crate::logging;
use crate::pki::remotes;
use crate::revocation::stamp::Stamp;

/// The file, and what of it was read last.
#[derive(Debug, Default)]
pub struct PskWatch {
    path: Option<PathBuf>,
    /// `None`: not looked at since the configuration was read; `Some(None)`: not there.
    seen: Option<Option<Stamp>>,
}

impl PskWatch {
    /// The file of a configuration that has just been read.
    pub fn of(loaded: &Loaded) -> Self {
        Self { path: loaded.daemon.psk_file.as_ref().map(PathBuf::from), seen: None }
    }

    /// The configuration with the keys as they are in the file now, if they are others than those in `config`.
    pub fn renewed(&mut self, loaded: &Loaded, config: &Config) -> Option<Arc<Config>> {
        let now = Stamp::of(self.path.as_ref()?).unwrap_or(None);
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;

    use super::*;
    use crate::args::Ports;
    use crate::daemon::files;
    use crate::revocation::deny_list::DenyList;

    #[test]
    fn another_key_counts_from_the_next_look_on() {
        let folder = tempfile::tempdir().unwrap();
        let (conf, keys) = (folder.path().join("racoon.conf"), folder.path().join("psk.txt"));
        let write = |key: &str| {
            fs::write(&keys, format!("10.0.0.1 {key}\n")).unwrap();
            fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
        };
        write("the first one");
        let proposal =
            "encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14;";
        let text = format!(
            "path pre_shared_key \"{}\"; remote anonymous {{ exchange_mode main; proposal {{ {proposal} }} }}",
            keys.display()
        );
        fs::write(&conf, text).unwrap();
        let deny_list = Arc::new(Mutex::new(DenyList::open(folder.path().join("revoked")).unwrap()));
        let loaded = files::load(&conf, Ports { isakmp: 500, natt: 4500 }, &deny_list).unwrap();
        let key = |config: &Config| {
            let key = config.psks.for_address("10.0.0.1".parse().unwrap());
            key.map(|key| String::from_utf8_lossy(key.expose()).into_owned())
        };
        let mut watch = PskWatch::of(&loaded);
        let mut config = Arc::clone(&loaded.files.config);
        assert_eq!(key(&config).as_deref(), Some("the first one"));
        assert!(watch.renewed(&loaded, &config).is_none(), "nothing has changed");
        write("a second and longer one");
        config = watch.renewed(&loaded, &config).expect("the file is another one");
        assert_eq!(key(&config).as_deref(), Some("a second and longer one"));
        assert!(watch.renewed(&loaded, &config).is_none());
        // A file that others may read gives no keys, as at the start.
        write("one that others may read, too");
        fs::set_permissions(&keys, Permissions::from_mode(0o644)).unwrap();
        config = watch.renewed(&loaded, &config).expect("the file is another one");
        assert_eq!(key(&config), None);
        fs::remove_file(&keys).unwrap();
        assert!(watch.renewed(&loaded, &config).is_none(), "no keys before, no keys now");
        write("a third one");
        config = watch.renewed(&loaded, &config).expect("there is a file again");
        assert_eq!(key(&config).as_deref(), Some("a third one"));
    }
}
