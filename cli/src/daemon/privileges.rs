//! `privsep { user; group; }`: once everything is open, the daemon becomes that user and keeps three capabilities.
//!
//! CAP_NET_ADMIN is what SAs are made with, CAP_NET_BIND_SERVICE opens sockets on addresses that come later, and
//! CAP_DAC_READ_SEARCH reads the configuration and its keys again. Nothing else of root is left: no file can be written that
//! is not the user's, no process be touched, no other user become. Hook scripts get CAP_NET_ADMIN alone.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use policy::model::daemon::Privsep;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities, set_keep_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::logging;
use crate::users;

/// Whom to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    user: u32,
    group: u32,
}

impl Identity {
    /// The user and group that the configuration names; none if it names no user, or root.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn of(privsep: &Privsep) -> io::Result<Option<Self>> {
        let Some(name) = &privsep.user else { return Ok(None) };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("privsep: {error}"));
        let (user, own) = users::user_and_group(name).map_err(named)?;
        let group = match &privsep.group {
            None => own,
            Some(group) => match group.parse() {
                Ok(number) => number,
                Err(_) => users::group_id(group).map_err(named)?,
            },
        };
        Ok((user != 0).then_some(Self { user, group }))
    }

    /// Its group.
    pub fn group(self) -> u32 {
        self.group
    }

    /// Becomes it. To be called while the process has one thread: those made later are the same, those that are there
    /// already would not be. `own` are the directories that the daemon goes on writing to.
    ///
    /// # Errors
    /// The system call's; the process is not to go on then.
    pub fn assume(self, own: &[&Path]) -> io::Result<()> {
        for directory in own {
            self.give(directory)?;
        }
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        let kept = CapabilitySet::NET_ADMIN | CapabilitySet::NET_BIND_SERVICE | CapabilitySet::DAC_READ_SEARCH;
        set_keep_capabilities(true)?;
        set_thread_groups(&[group])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        set_keep_capabilities(false)?;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::NET_ADMIN };
        set_capabilities(None, sets)?;
        configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true)?;
        logging::info(format_args!("running as user {} and group {} from now on", self.user, self.group));
        Ok(())
    }

    /// A directory and the files in it, links left alone.
    fn give(self, directory: &Path) -> io::Result<()> {
        let give = |path: &Path| chown(path, Some(self.user), Some(self.group));
        give(directory)?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if !entry.file_type()?.is_symlink() {
                give(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privsep(user: Option<&str>, group: Option<&str>) -> Privsep {
        Privsep { user: user.map(str::to_owned), group: group.map(str::to_owned) }
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        let daemon = Identity::of(&privsep(Some("daemon"), None)).unwrap().unwrap();
        let same = Identity::of(&privsep(Some(&daemon.user.to_string()), Some(&daemon.group.to_string()))).unwrap();
        assert_eq!(same, Some(daemon));
        assert_eq!(Identity::of(&privsep(Some("daemon"), Some("root"))).unwrap().map(|it| it.group), Some(0));
        assert_eq!(Identity::of(&privsep(None, Some("daemon"))).unwrap(), None);
        assert_eq!(Identity::of(&privsep(Some("root"), None)).unwrap(), None, "as racoon: 0 is off");
        let error = Identity::of(&privsep(Some("no-such-user"), None)).unwrap_err();
        assert_eq!(error.to_string(), "privsep: there is no user \"no-such-user\"");
    }
}
