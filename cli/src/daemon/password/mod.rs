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
            system::in_groups(&check.user, &config.auth_groups).map(|()| Account::default())
        }
        AuthSource::Pam => {
            pam::check(check)?;
            system::in_groups(&check.user, &config.auth_groups).map(|()| Account::default())
        }
    }
}
