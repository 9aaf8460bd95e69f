//! What a server of ISAKMP mode config gives its clients, and how it checks who they are (racoon.conf: `mode_cfg {}`).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::addr::IpNet;

/// Addresses in a pool whose size is not written.
pub const DEFAULT_POOL_SIZE: u32 = 255;

/// The largest pool: a /16.
pub const MAX_POOL_SIZE: u32 = 65_536;

/// `network4` and `pool_size`: addresses that are given to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The first one.
    pub first: Ipv4Addr,
    /// How many there are.
    pub size: u32,
}

impl AddressPool {
    /// The address with this number, counted from 0.
    pub fn address(&self, number: u32) -> Option<Ipv4Addr> {
        let address = u32::from(self.first).checked_add(number)?;
        (number < self.size).then_some(Ipv4Addr::from(address))
    }

    /// Is this address one of the pool's?
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address).checked_sub(u32::from(self.first)).is_some_and(|number| number < self.size)
    }
}

/// What `split_network` says of its networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitKind {
    /// Only these go through the tunnel (`include`).
    Include,
    /// All but these go through the tunnel (`local_lan`).
    LocalLan,
}

/// `auth_source`: who knows the users' passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuthSource {
    /// The system's own accounts (/etc/shadow).
    #[default]
    System,
    /// PAM, service `racoon`.
    Pam,
    /// A file of our own: `user:hash[:address[:group,…]]`.
    File(String),
    /// The directory of `ldapcfg`.
    Ldap,
}

/// `group_source`: who knows the groups of `auth_groups`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupSource {
    /// /etc/group.
    #[default]
    System,
    /// The directory of `ldapcfg`.
    Ldap,
}

/// `conf_source`: who knows a user's address, if it has one of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfSource {
    /// Nobody: it is one of the pool.
    #[default]
    Local,
    /// The directory of `ldapcfg`.
    Ldap,
}

/// `mode_cfg {}`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeConfig {
    /// `network4`, `pool_size`.
    pub pool: Option<AddressPool>,
    /// `netmask4`.
    pub netmask4: Option<Ipv4Addr>,
    /// `dns4`.
    pub dns4: Vec<Ipv4Addr>,
    /// `wins4`.
    pub wins4: Vec<Ipv4Addr>,
    /// `split_network`.
    pub split_network: Option<(SplitKind, Vec<IpNet>)>,
    /// `split_dns`.
    pub split_dns: Vec<String>,
    /// `default_domain`.
    pub default_domain: Option<String>,
    /// `auth_source`.
    pub auth_source: AuthSource,
    /// `group_source`.
    pub group_source: GroupSource,
    /// `conf_source`.
    pub conf_source: ConfSource,
    /// `auth_groups`: a user must be in one of these; empty admits everybody.
    pub auth_groups: Vec<String>,
    /// `pfs_group`: told to clients.
    pub pfs_group: Option<u16>,
    /// `save_passwd`: may clients keep the password?
    pub save_password: bool,
    /// `auth_throttle`: how long a wrong password holds back the next one from the same address; zero never.
    pub auth_throttle: Duration,
    /// `banner`: the file that clients are shown.
    pub banner: Option<String>,
}

impl Default for ModeConfig {
    /// racoon's defaults.
    fn default() -> Self {
        Self {
            pool: None,
            netmask4: None,
            dns4: Vec::new(),
            wins4: Vec::new(),
            split_network: None,
            split_dns: Vec::new(),
            default_domain: None,
            auth_source: AuthSource::default(),
            group_source: GroupSource::default(),
            conf_source: ConfSource::default(),
            auth_groups: Vec::new(),
            pfs_group: None,
            save_password: false,
            auth_throttle: Duration::from_secs(1),
            banner: None,
        }
    }
}

/// Letters, digits, `-`, `_` and dots: what a resolver's file, and a script, can take.
pub fn is_domain(text: &str) -> bool {
    let fine = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 253 && !text.starts_with('-') && text.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_an_end() {
        let pool = AddressPool { first: Ipv4Addr::new(10, 3, 0, 254), size: 3 };
        assert_eq!(pool.address(2), Some(Ipv4Addr::new(10, 3, 1, 0)));
        assert_eq!(pool.address(3), None);
        assert!(pool.contains(Ipv4Addr::new(10, 3, 0, 255)) && !pool.contains(Ipv4Addr::new(10, 3, 0, 253)));
        let edge = AddressPool { first: Ipv4Addr::new(255, 255, 255, 255), size: 2 };
        assert_eq!(edge.address(1), None);
    }
}
