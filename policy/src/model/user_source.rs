//! Servers that know users (racoon.conf: `ldapcfg {}`, `radiuscfg {}`).

use std::time::Duration;

use super::secret::Secret;

/// Seconds for everything that is asked of a directory in one login, where `timeout` is not written.
const LDAP_TIMEOUT: Duration = Duration::from_secs(10);

/// `ldapcfg {}`: a directory (RFC 4511).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapConfig {
    /// `uri`: one or more of `ldap://`, `ldaps://` and `ldapi://`, with blanks between; counts before host and port.
    pub uri: Option<String>,
    /// `host`.
    pub host: String,
    /// `port`.
    pub port: u16,
    /// `base`: where users and groups are below.
    pub base: String,
    /// `subtree`: also further down than one level?
    pub subtree: bool,
    /// `bind_dn`: who asks; nobody in particular, if empty.
    pub bind_dn: String,
    /// `bind_pw`.
    pub bind_password: Option<Secret>,
    /// `attr_user`: what names a user.
    pub attr_user: String,
    /// `attr_addr`: the user's address.
    pub attr_addr: String,
    /// `attr_mask`: its netmask.
    pub attr_mask: String,
    /// `attr_group`: what names a group.
    pub attr_group: String,
    /// `attr_member`: the DNs of a group's members.
    pub attr_member: String,
    /// `timeout`: for the questions of one login to one server, all together.
    pub timeout: Duration,
}

impl Default for LdapConfig {
    /// racoon's defaults.
    fn default() -> Self {
        Self {
            uri: None,
            host: "localhost".to_owned(),
            port: 389,
            base: String::new(),
            subtree: false,
            bind_dn: String::new(),
            bind_password: None,
            attr_user: "cn".to_owned(),
            attr_addr: "racoon-address".to_owned(),
            attr_mask: "racoon-netmask".to_owned(),
            attr_group: "cn".to_owned(),
            attr_member: "member".to_owned(),
            timeout: LDAP_TIMEOUT,
        }
    }
}

impl LdapConfig {
    /// Where the directory is: tried in this order.
    pub fn servers(&self) -> Vec<String> {
        match &self.uri {
            Some(uris) => uris.split_whitespace().map(str::to_owned).collect(),
            None if self.host.contains(':') => vec![format!("ldap://[{}]:{}", self.host, self.port)],
            None => vec![format!("ldap://{}:{}", self.host, self.port)],
        }
    }
}
