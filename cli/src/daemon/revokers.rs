//! Users who may revoke over the control socket, and nothing else (racoon.conf: `revocation { allow_user … }`).

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use crate::logging;
use crate::users::user_id;

/// Their user numbers; shared with the socket's tasks, replaced by a reload.
#[derive(Clone, Debug, Default)]
pub struct Revokers(Arc<RwLock<BTreeSet<u32>>>);

impl Revokers {
    /// Takes the names of a configuration. One that is no user is said and left out. With anybody on the list the socket
    /// lets everybody connect: who asks is then told by the kernel, not by the file's mode.
    pub fn set(&self, names: &[String], socket: &Path) {
        let found: BTreeSet<u32> = names.iter().filter_map(|name| known(name)).collect();
        let mode = if found.is_empty() { 0o600 } else { 0o666 };
        if let Err(error) = fs::set_permissions(socket, Permissions::from_mode(mode)) {
            logging::warning(format_args!("{}: {error}", socket.display()));
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// All of them.
    pub fn numbers(&self) -> BTreeSet<u32> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Is this user on the list?
    pub fn contains(&self, uid: u32) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&uid)
    }
}

fn known(name: &str) -> Option<u32> {
    user_id(name).inspect_err(|error| logging::warning(format_args!("revocation: allow_user \"{name}\": {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_opens_to_others_only_while_one_of_them_may_ask() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        fs::write(&socket, "").unwrap();
        let mode = || fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
        let revokers = Revokers::default();
        revokers.set(&["root".to_owned(), "nobody-of-this-name".to_owned()], &socket);
        assert!(revokers.contains(0) && !revokers.contains(65_534));
        assert_eq!(mode(), 0o666);
        revokers.set(&[], &socket);
        assert!(!revokers.contains(0));
        assert_eq!(mode(), 0o600);
    }
}
