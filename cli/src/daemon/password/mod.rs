//! Passwords of XAuth users (racoon.conf: `mode_cfg { auth_source … auth_groups … }`).
//!
//! Checks run on threads of their own: a PAM module may ask a server far away, and IKE does not wait for it.

mod crypt;
mod foreign;
mod ldap;
mod pam;
mod system;
mod users;

use std::path::Path;

use ike::event::question::{Account, PasswordCheck};
use policy::model::daemon::DaemonConfig;
use policy::model::mode_config::{AuthSource, GroupSource};

/// Whether `check` names a user with this password who may come in, by the configured source.
///
/// # Errors
/// Why not, for the log; the password is never part of it.
pub fn check(daemon: &DaemonConfig, check: &PasswordCheck) -> Result<Account, String> {
    let config = daemon.mode_cfg.as_ref().ok_or("there is no mode_cfg block that says who knows passwords")?;
    match &config.auth_source {
        AuthSource::File(file) => users::check(Path::new(file), check, &config.auth_groups),
        AuthSource::System => {
            system::check(check)?;
            account(&check.user, &config.auth_groups)
        }
        AuthSource::Pam => {
            pam::check(check)?;
            account(&check.user, &config.auth_groups)
        }
        AuthSource::Ldap => {
            let found = ldap::check(&daemon.ldap, config, check)?;
            match config.group_source {
                GroupSource::Ldap => admitted(&found.groups, &config.auth_groups).map(|()| found),
                GroupSource::System => {
                    Ok(Account { groups: account(&check.user, &config.auth_groups)?.groups, ..found })
                }
            }
        }
    }
}

/// A user of the system with its groups, if one of them is wanted.
fn account(user: &str, wanted: &[String]) -> Result<Account, String> {
    let groups = match system::groups(user) {
        // A `sainfo` for a group fits nobody then.
        Err(_) if wanted.is_empty() => Vec::new(),
        groups => groups?,
    };
    admitted(&groups, wanted)?;
    Ok(Account { groups, ..Account::default() })
}

/// Is one of these groups wanted? If none is named, everybody may come in.
fn admitted(groups: &[String], wanted: &[String]) -> Result<(), String> {
    if wanted.is_empty() || groups.iter().any(|group| wanted.contains(group)) {
        return Ok(());
    }
    Err("the user is in none of auth_groups".to_owned())
}
