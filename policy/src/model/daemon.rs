//! The whole of a racoon.conf, resolved.

use super::addr::AddrPort;
use super::mode_config::ModeConfig;
use super::remote::{Remote, Timers};
use super::revocation::RevocationConfig;
use super::sainfo::Sainfo;
use super::secret::{HIDDEN, Secret};
use super::user_source::LdapConfig;

/// `log`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warning,
    /// And notices.
    Notify,
    /// And information: the default.
    #[default]
    Info,
    /// And debugging.
    Debug,
    /// And packets.
    Debug2,
}

/// `listen { adminsock … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSocket {
    /// Its path.
    pub path: String,
    /// Owner and group names, if written.
    pub owner: Option<(String, String)>,
    /// File mode, if written (octal digits already read as octal).
    pub mode: Option<u32>,
}

/// `listen {}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// `isakmp` lines; empty listens on every local address.
    pub isakmp: Vec<AddrPort>,
    /// `isakmp_natt` lines.
    pub isakmp_natt: Vec<AddrPort>,
    /// Must every address be bound?
    pub strict_address: bool,
    /// racoonctl's socket: `None` as by default, `Some(None)` disabled.
    pub admin_socket: Option<Option<AdminSocket>>,
}

/// `privsep {}`: whom the daemon becomes once it serves. Without a user it stays whom it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privsep {
    /// Name or number of the user.
    pub user: Option<String>,
    /// Name or number of the group; the user's own if none.
    pub group: Option<String>,
}

/// A racoon.conf as it was meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DaemonConfig {
    /// `path pre_shared_key`.
    pub psk_file: Option<String>,
    /// `path certificate`: also the hashed directory of CAs (`.0`) and CRLs (`.r0`).
    pub certificate_dir: Option<String>,
    /// `path script`.
    pub script_dir: Option<String>,
    /// `path pidfile`.
    pub pid_file: Option<String>,
    /// `pfkey_buffer`: octets that the kernel's notices may wait in; `None` takes what is usual.
    pub notice_buffer: Option<usize>,
    /// `listen`.
    pub listen: Listen,
    /// `log`.
    pub log: LogLevel,
    /// `privsep`.
    pub privsep: Privsep,
    /// `timer`.
    pub timers: Timers,
    /// `revocation`: further ways in for revocations.
    pub revocation: RevocationConfig,
    /// `mode_cfg`: what clients of ISAKMP mode config are given; `None` gives nothing.
    pub mode_cfg: Option<ModeConfig>,
    /// `ldapcfg`.
    pub ldap: LdapConfig,
    /// `remote` blocks in file order.
    pub remotes: Vec<Remote>,
    /// `sainfo` blocks, most specific first, file order within equal.
    pub sainfos: Vec<Sainfo>,
}

impl DaemonConfig {
    /// The same with asterisks for every password: what may be shown.
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        shown.ldap.bind_password.iter_mut().for_each(|secret| *secret = Secret::new(HIDDEN.into()));
        shown
    }
}
