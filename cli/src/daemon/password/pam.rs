//! `auth_source pam`: the service `racoon`, as racoon had it (/etc/pam.d/racoon).

use ike::event::question::PasswordCheck;

use super::foreign;

/// Asks PAM.
///
/// # Errors
/// PAM's words.
pub fn check(check: &PasswordCheck) -> Result<(), String> {
    foreign::authenticate(c"racoon", &check.user, &check.password, &check.peer.to_string())
}
