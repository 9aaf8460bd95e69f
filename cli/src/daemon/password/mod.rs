//! Passwords of XAuth users (racoon.conf: `mode_cfg { auth_source … auth_groups … }`).
//!
//! Checks run on threads of their own: a PAM module may ask a server far away, and IKE does not wait for it.

mod crypt;
mod foreign;
mod pam;
mod system;
mod users;

use std::path::Path;

use ike::event::question::{Account, PasswordCheck};
use policy::model::mode_config::{AuthSource, ModeConfig};

/// Whether `check` names a user with this password who may come in, by the configured source.
///
/// # Errors
/// Why not, for the log; the password is never part of it.
pub fn check(config: &ModeConfig, check: &PasswordCheck) -> Result<Account, String> {
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
    Ok(Account { address: None, groups })
}

/// Is one of these groups wanted? If none is named, everybody may come in.
fn admitted(groups: &[String], wanted: &[String]) -> Result<(), String> {
    if wanted.is_empty() || groups.iter().any(|group| wanted.contains(group)) {
        return Ok(());
    }
    Err("the user is in none of auth_groups".to_owned())
}
