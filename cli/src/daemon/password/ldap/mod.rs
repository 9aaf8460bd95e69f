//! `auth_source ldap`: a user's entry is searched for, and a bind as that entry tells whether the password is right.

mod connection;
mod message;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Instant;

use ike::event::question::{Account, PasswordCheck};
use ike::report::Level;
use policy::model::mode_config::{ConfSource, GroupSource, ModeConfig};
use policy::model::user_source::LdapConfig;

use self::connection::{Connection, refusal};
use self::message::Search;
use crate::logging;

/// invalidCredentials (RFC 4511 appendix A).
const WRONG_PASSWORD: u32 = 49;

/// Why nobody came in.
enum Refusal {
    /// The directory says so, or what it says lets nobody in.
    Final(String),
    /// It says nothing: another one may.
    Unreachable(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Unreachable(why)
    }
}

/// Asks the directories in turn until one answers.
///
/// # Errors
/// Why not.
pub fn check(ldap: &LdapConfig, mode_cfg: &ModeConfig, check: &PasswordCheck) -> Result<Account, String> {
    // A bind with a name and no password succeeds without any proof (RFC 4513 section 5.1.2).
    if check.password.is_empty() {
        return Err("an empty password".to_owned());
    }
    let mut failures = Vec::new();
    for uri in ldap.servers() {
        match ask(&uri, ldap, mode_cfg, check) {
            Ok(account) => return Ok(account),
            Err(Refusal::Final(why)) => return Err(why),
            Err(Refusal::Unreachable(why)) => failures.push(format!("{uri}: {why}")),
        }
    }
    Err(format!("no directory can tell: {}", failures.join("; ")))
}

fn ask(uri: &str, ldap: &LdapConfig, mode_cfg: &ModeConfig, check: &PasswordCheck) -> Result<Account, Refusal> {
    logging::log(Level::Debug, None, format_args!("asking {uri} for {}={}", ldap.attr_user, check.user));
    let deadline = Instant::now() + ldap.timeout;
    let mut login = Login { connection: Connection::open(uri, deadline)?, ldap };
    login.introduce()?;
    let wants_address = mode_cfg.conf_source == ConfSource::Ldap;
    let (dn, mut account) = login.find(&check.user, wants_address)?;
    if mode_cfg.group_source == GroupSource::Ldap {
        account.groups = login.groups(&dn, &mode_cfg.auth_groups)?;
    }
    let ended = login.connection.bind(&dn, check.password.expose())?;
    login.connection.close();
    match ended.code {
        0 => Ok(account),
        WRONG_PASSWORD => Err(Refusal::Final("wrong password".to_owned())),
        _ => Err(Refusal::Final(format!("the bind as {dn} {}", refusal(&ended)))),
    }
}

struct Login<'a> {
    connection: Connection,
    ldap: &'a LdapConfig,
}

impl Login<'_> {
    /// Says who asks, if that is anybody in particular.
    fn introduce(&mut self) -> Result<(), Refusal> {
        if self.ldap.bind_dn.is_empty() {
            return Ok(());
        }
        let password = self.ldap.bind_password.as_ref().map(|secret| secret.expose()).unwrap_or_default();
        let ended = self.connection.bind(&self.ldap.bind_dn, password)?;
        if ended.code == 0 {
            return Ok(());
        }
        Err(Refusal::Final(format!("the bind as {} {}", self.ldap.bind_dn, refusal(&ended))))
    }

    fn search<'b>(&self, equal: &'b [(&'b str, &'b str)], attributes: &'b [&'b str], limit: u32) -> Search<'b>
    where
        Self: 'b,
    {
        let seconds = u32::try_from(self.ldap.timeout.as_secs()).unwrap_or(u32::MAX);
        let base = self.ldap.base.as_str();
        Search { base, subtree: self.ldap.subtree, equal, attributes, limit, seconds }
    }

    /// The DN of the one entry that is the user, and what is said there.
    fn find(&mut self, user: &str, wants_address: bool) -> Result<(String, Account), Refusal> {
        let ldap = self.ldap;
        let (equal, both) = ([(ldap.attr_user.as_str(), user)], [ldap.attr_addr.as_str(), ldap.attr_mask.as_str()]);
        let wanted = if wants_address { both.as_slice() } else { &[] };
        let found = self.connection.search(&self.search(&equal, wanted, 2))?;
        let entry = match found.as_slice() {
            // Without a DN the bind would be an anonymous one.
            [one] if !one.dn.is_empty() => one,
            [] => return Err(Refusal::Final("no such user in the directory".to_owned())),
            _ => return Err(Refusal::Final("more than one such user in the directory".to_owned())),
        };
        let mut account = Account::default();
        if wants_address {
            let address = |name: &str| match entry.values(name).first() {
                None => Ok(None),
                Some(value) => value
                    .trim()
                    .parse()
                    .map(Some)
                    .map_err(|_not_one| Refusal::Final(format!("{name} of {} is no IPv4 address", entry.dn))),
            };
            account.address = address(&ldap.attr_addr)?;
            account.netmask = address(&ldap.attr_mask)?.filter(|_: &Ipv4Addr| account.address.is_some());
        }
        Ok((entry.dn.clone(), account))
    }

    /// The groups that have `dn` as a member.
    fn groups(&mut self, dn: &str, wanted: &[String]) -> Result<Vec<String>, Refusal> {
        let ldap = self.ldap;
        let names = [ldap.attr_group.as_str()];
        let member = (ldap.attr_member.as_str(), dn);
        let found = self.connection.search(&self.search(&[member], &names, 0))?;
        let mut groups: Vec<String> =
            found.iter().flat_map(|group| group.values(&ldap.attr_group)).map(String::to_owned).collect();
        // Whether two names are the same is for the directory to say.
        for group in wanted {
            if !groups.contains(group) {
                let equal = [(ldap.attr_group.as_str(), group.as_str()), member];
                if !self.connection.search(&self.search(&equal, &[], 1))?.is_empty() {
                    groups.push(group.clone());
                }
            }
        }
        Ok(groups)
    }
}
