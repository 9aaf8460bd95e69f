//! Every directive of racoon.conf and what it does here: the one table that the parser goes by, that
//! `xfrmctl check --directives` prints and that the manual page repeats.
//!
//! A row stands for a directive, or for some values of one. Either it works, or it is read and changes nothing, or it is
//! refused; the last two with the reason. A directive without a row is unknown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

/// Where a directive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Block {
    /// Outside of any block.
    Global,
    /// `path KIND`.
    Path,
    /// `padding {}`.
    Padding,
    /// `timer {}`.
    Timer,
    /// `listen {}`.
    Listen,
    /// `privsep {}`.
    Privsep,
    /// `radiuscfg {}`.
    RadiusCfg,
    /// `ldapcfg {}`.
    LdapCfg,
    /// `mode_cfg {}`.
    ModeCfg,
    /// `revocation {}`.
    Revocation,
    /// `remote PEER {}`.
    Remote,
    /// `proposal {}` of a `remote`.
    Proposal,
    /// `sainfo HEADER {}`.
    Sainfo,
    /// The header of a `sainfo`.
    SainfoHeader,
}

impl Block {
    /// Every block, in the order of the table.
    pub const ALL: [Self; 14] = [
        Self::Global,
        Self::Path,
        Self::Padding,
        Self::Timer,
        Self::Listen,
        Self::Privsep,
        Self::RadiusCfg,
        Self::LdapCfg,
        Self::ModeCfg,
        Self::Revocation,
        Self::Remote,
        Self::Proposal,
        Self::Sainfo,
        Self::SainfoHeader,
    ];

    /// As a heading, and as `--json` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Path => "path",
            Self::Padding => "padding",
            Self::Timer => "timer",
            Self::Listen => "listen",
            Self::Privsep => "privsep",
            Self::RadiusCfg => "radiuscfg",
            Self::LdapCfg => "ldapcfg",
            Self::ModeCfg => "mode_cfg",
            Self::Revocation => "revocation",
            Self::Remote => "remote",
            Self::Proposal => "proposal",
            Self::Sainfo => "sainfo",
            Self::SainfoHeader => "sainfo header",
        }
    }

    /// As a message says it behind "unknown directive".
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Global => "outside of any block",
            Self::Path => "behind `path`",
            Self::Padding => "in `padding`",
            Self::Timer => "in `timer`",
            Self::Listen => "in `listen`",
            Self::Privsep => "in `privsep`",
            Self::RadiusCfg => "in `radiuscfg`",
            Self::LdapCfg => "in `ldapcfg`",
            Self::ModeCfg => "in `mode_cfg`",
            Self::Revocation => "in `revocation`",
            Self::Remote => "in a `remote`",
            Self::Proposal => "in a `proposal`",
            Self::Sainfo => "in a `sainfo`",
            Self::SainfoHeader => "in the header of a `sainfo`",
        }
    }
}

/// What a directive does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// What racoon.conf(5) says.
    Works,
    /// Nothing: it is read, and a warning gives this reason.
    NoEffect(&'static str),
    /// It is an error, with this reason.
    Refused(&'static str),
}

impl State {
    /// As it is printed, and as `--json` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::NoEffect(_) => "no effect",
            Self::Refused(_) => "refused",
        }
    }

    /// Why it does not work.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Works => None,
            Self::NoEffect(why) | Self::Refused(why) => Some(why),
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands.
    pub block: Block,
    /// Its word.
    pub name: &'static str,
    /// What follows, as racoon.conf(5) writes it.
    pub values: &'static str,
    /// Values that the row is about, when it is not about all: one of these words stands first.
    pub only: &'static [&'static str],
    /// What it does.
    pub state: State,
    /// Is it ours, unknown to racoon?
    pub extension: bool,
    /// Algorithms: the table of `model::algorithm` has the last word, and this row repeats it for people.
    pub(crate) judged: bool,
}

impl Directive {
    const fn new(block: Block, name: &'static str, values: &'static str, state: State) -> Self {
        Self { block, name, values, only: &[], state, extension: false, judged: false }
    }

    /// It stands for these values only.
    const fn only(self, words: &'static [&'static str]) -> Self {
        Self { only: words, ..self }
    }

    const fn judged(self) -> Self {
        Self { judged: true, ..self }
    }

    const fn ours(self) -> Self {
        Self { extension: true, ..self }
    }

    /// What else the row says: the reason of its state, or that it is an extension.
    pub fn remark(&self) -> Option<String> {
        match (self.state.reason(), self.extension) {
            (Some(why), false) => Some(why.to_owned()),
            (Some(why), true) => Some(format!("extension; {why}")),
            (None, true) => Some("extension".to_owned()),
            (None, false) => None,
        }
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.only.is_empty() {
            if !self.values.is_empty() {
                write!(f, " {}", self.values)?;
            }
            return Ok(());
        }
        write!(f, " {}", self.only.join("|"))
    }
}

const fn works(block: Block, name: &'static str, values: &'static str) -> Directive {
    Directive::new(block, name, values, State::Works)
}

const fn inert(block: Block, name: &'static str, values: &'static str, why: &'static str) -> Directive {
    Directive::new(block, name, values, State::NoEffect(why))
}

const fn refused(block: Block, name: &'static str, values: &'static str, why: &'static str) -> Directive {
    Directive::new(block, name, values, State::Refused(why))
}

const PADS: &str = "ESP is padded by the kernel, and ISAKMP messages to the block length with zeros";
const NO_RADIUS: &str =
    "no RADIUS server is asked: `mode_cfg { auth_source pam; }` with a PAM module (pam_radius_auth) asks it";
const LDAP_TWO: &str = "directories are asked in LDAPv3 (RFC 4511), which every server of today speaks";
const LDAP_DEVICE: &str = "not in racoon.conf(5): no directory is asked for it";
const LDAP_DEBUG: &str = "there is no libldap that would print anything: `log debug;` tells what is asked";
const NO_CHROOT: &str = "certificates, scripts and sockets are opened by their names while the daemon runs";
const NO_ACCOUNTS: &str = "logins are logged and told to hook scripts, nothing else";
const NO_GSS: &str = "GSS-API authentication is not offered";
const NO_RSAENC: &str = "racoon refuses it too, when a peer offers it";
const WEAK_DSS: &str = "DSS is broken (RFC 8247 section 3), and racoon refuses it too when a peer offers it";
const BROKEN: &str = "broken: `allow_weak on;` in the block lets it pass";
const NO_CIPHER: &str = "not in the libraries that xfrmd takes its ciphers from";
const LEFT_OUT: &str =
    "broken, or not negotiated: left out where another cipher stands beside it, refused where none does";

/// Groups that racoon does not have: curves of NIST and Brainpool.
const CURVES: &[&str] = &[
    "19",
    "20",
    "21",
    "27",
    "28",
    "29",
    "30",
    "ecp256",
    "ecp384",
    "ecp521",
    "brainpoolp224r1",
    "brainpoolp256r1",
    "brainpoolp384r1",
    "brainpoolp512r1",
];

/// Ciphers of ESP that racoon does not have.
const COUNTERS: &[&str] = &[
    "aes_gcm16",
    "aes_gcm",
    "aes_gcm12",
    "aes_gcm8",
    "aes_ccm16",
    "aes_ccm",
    "aes_ccm12",
    "aes_ccm8",
    "aes_ctr",
    "aes_gmac",
];

/// The table.
pub const DIRECTIVES: &[Directive] = &{
    use Block::{
        Global, LdapCfg, Listen, ModeCfg, Padding, Path, Privsep, Proposal, RadiusCfg, Remote, Revocation, Sainfo,
        SainfoHeader, Timer,
    };
    [
        works(Global, "path", "KIND \"PATH\""),
        works(Global, "include", "\"GLOB\""),
        works(Global, "log", "error|warning|notify|info|debug|debug2"),
        works(Global, "timer", "{ ... }"),
        works(Global, "listen", "{ ... }"),
        works(Global, "remote", "PEER [inherit PARENT] { ... }"),
        works(Global, "sainfo", "HEADER { ... }"),
        works(Global, "mode_cfg", "{ ... }"),
        works(Global, "revocation", "{ ... }").ours(),
        inert(Global, "padding", "{ ... }", PADS),
        works(Global, "pfkey_buffer", "N"),
        works(Global, "complex_bundle", "on|off"),
        inert(Global, "complex_bundle", "off", "the protocols of a policy are proposed together or not at all")
            .only(&["off"]),
        inert(Global, "gss_id_enc", "latin1|utf-16le", NO_GSS),
        works(Global, "privsep", "{ ... }"),
        inert(Global, "radiuscfg", "{ ... }", NO_RADIUS),
        works(Global, "ldapcfg", "{ ... }"),
        refused(Global, "identifier", "...", "obsolete in racoon too: write `my_identifier` in the `remote` block"),
        refused(Global, "autoexit", "...", "obsolete in racoon too: remove it"),
        refused(Global, "restrict", "...", "obsolete in racoon too: remove it"),
        refused(Global, "keepalive", "...", "obsolete in racoon too: write `timer { natt_keepalive N sec; }`"),
        refused(Global, "support_mip6", "...", "obsolete in racoon too: remove it"),
        refused(Global, "support_proxy", "...", "obsolete in racoon too: write it in the `remote` block"),
        works(Path, "include", "\"DIR\""),
        works(Path, "pre_shared_key", "\"FILE\""),
        works(Path, "certificate", "\"DIR\""),
        works(Path, "script", "\"DIR\""),
        works(Path, "pidfile", "\"FILE\""),
        inert(
            Path,
            "backupsa",
            "\"FILE\"",
            "SAs stay in the kernel and the journal knows them: none is written to a file",
        ),
        works(Timer, "counter", "N"),
        works(Timer, "interval", "N UNIT"),
        works(Timer, "persend", "N"),
        works(Timer, "phase1", "N UNIT"),
        works(Timer, "phase2", "N UNIT"),
        works(Timer, "natt_keepalive", "N UNIT"),
        works(Listen, "isakmp", "ADDR [[PORT]]"),
        works(Listen, "isakmp_natt", "ADDR [[PORT]]"),
        works(Listen, "strict_address", ""),
        works(Listen, "adminsock", "disabled | \"PATH\" [\"OWNER\" \"GROUP\" MODE]"),
        refused(Listen, "admin", "...", "obsolete in racoon too: write `adminsock \"/run/racoon/racoon.sock\";`"),
        inert(Padding, "randomize", "on|off", PADS),
        inert(Padding, "randomize_length", "on|off", PADS),
        inert(Padding, "maximum_length", "N", PADS),
        inert(Padding, "strict_check", "on|off", PADS),
        inert(Padding, "exclusive_tail", "on|off", PADS),
        works(Privsep, "user", "\"NAME\" | UID"),
        works(Privsep, "group", "\"NAME\" | GID"),
        inert(Privsep, "chroot", "\"DIR\"", NO_CHROOT),
        inert(RadiusCfg, "auth", "\"SERVER\" [PORT] \"SECRET\"", NO_RADIUS),
        inert(RadiusCfg, "acct", "\"SERVER\" [PORT] \"SECRET\"", NO_RADIUS),
        inert(RadiusCfg, "timeout", "N", NO_RADIUS),
        inert(RadiusCfg, "retries", "N", NO_RADIUS),
        works(LdapCfg, "version", "3"),
        inert(LdapCfg, "version", "2", LDAP_TWO).only(&["2"]),
        works(LdapCfg, "host", "\"HOST\""),
        works(LdapCfg, "port", "N"),
        works(LdapCfg, "uri", "\"URI\""),
        works(LdapCfg, "base", "\"DN\""),
        works(LdapCfg, "subtree", "on|off"),
        works(LdapCfg, "bind_dn", "\"DN\""),
        works(LdapCfg, "bind_pw", "\"SECRET\""),
        works(LdapCfg, "attr_user", "\"NAME\""),
        works(LdapCfg, "attr_addr", "\"NAME\""),
        works(LdapCfg, "attr_mask", "\"NAME\""),
        works(LdapCfg, "attr_group", "\"NAME\""),
        works(LdapCfg, "attr_member", "\"NAME\""),
        inert(LdapCfg, "attr_device", "\"NAME\"", LDAP_DEVICE),
        inert(LdapCfg, "debug", "N", LDAP_DEBUG),
        works(LdapCfg, "timeout", "N"),
        works(ModeCfg, "network4", "ADDR"),
        works(ModeCfg, "pool_size", "N"),
        works(ModeCfg, "netmask4", "MASK"),
        works(ModeCfg, "dns4", "ADDR, ..."),
        works(ModeCfg, "wins4", "ADDR, ..."),
        works(ModeCfg, "nbns4", "ADDR, ..."),
        works(ModeCfg, "split_network", "include|local_lan NET, ..."),
        works(ModeCfg, "split_dns", "\"DOMAIN\", ..."),
        works(ModeCfg, "default_domain", "\"DOMAIN\""),
        works(ModeCfg, "auth_source", "system|pam|ldap"),
        works(ModeCfg, "auth_source", "file \"FILE\"").only(&["file"]).ours(),
        refused(ModeCfg, "auth_source", "radius", NO_RADIUS).only(&["radius"]),
        works(ModeCfg, "auth_groups", "\"GROUP\", ..."),
        works(ModeCfg, "group_source", "system|ldap"),
        works(ModeCfg, "accounting", "none"),
        inert(ModeCfg, "accounting", "system|pam|radius", NO_ACCOUNTS).only(&["system", "pam", "radius"]),
        works(ModeCfg, "conf_source", "local|ldap"),
        refused(ModeCfg, "conf_source", "radius", NO_RADIUS).only(&["radius"]),
        works(ModeCfg, "pfs_group", "N"),
        works(ModeCfg, "save_passwd", "on|off"),
        works(ModeCfg, "auth_throttle", "N"),
        works(ModeCfg, "banner", "\"FILE\""),
        works(Revocation, "allow_user", "\"NAME\"").ours(),
        works(Revocation, "crl_file", "\"PATH\"").ours(),
        works(Revocation, "crl_url", "\"URL\" [ca \"PATH\"]").ours(),
        works(Revocation, "crl_interval", "N UNIT").ours(),
        works(Revocation, "subscribe", "\"tcp://HOST:PORT\"").ours(),
        works(Revocation, "notifier_certificate", "\"PATH\"").ours(),
        works(Revocation, "webhook", "\"URL\" [certificate \"PATH\" \"PATH\" client_ca \"PATH\"]").ours(),
        works(Revocation, "expired_certificate", "keep|cut").ours(),
        works(Remote, "remote_address", "ADDR [[PORT]]"),
        works(Remote, "exchange_mode", "main|aggressive, ..."),
        inert(Remote, "exchange_mode", "base", "base mode is neither offered nor answered").only(&["base"]),
        works(Remote, "doi", "ipsec_doi"),
        works(Remote, "situation", "identity_only"),
        inert(Remote, "situation", "", "the only situation negotiated is `identity_only`")
            .only(&["secrecy", "integrity"]),
        works(Remote, "my_identifier", "TYPE [VALUE]"),
        works(Remote, "peers_identifier", "TYPE [VALUE]"),
        works(Remote, "verify_identifier", "on|off"),
        works(Remote, "certificate_type", "x509 \"CERT\" \"KEY\""),
        works(Remote, "certificate_type", "plain_rsa \"KEYS\"").only(&["plain_rsa"]),
        works(Remote, "ca_type", "x509 \"FILE\""),
        works(Remote, "peers_certfile", "[x509] \"FILE\""),
        works(Remote, "peers_certfile", "plain_rsa \"KEYS\"").only(&["plain_rsa"]),
        refused(Remote, "peers_certfile", "", "no name server is asked for keys: use `x509`").only(&["dnssec"]),
        works(Remote, "verify_cert", "on|off"),
        works(Remote, "send_cert", "on|off"),
        works(Remote, "send_cr", "on|off"),
        works(Remote, "match_empty_cr", "on|off"),
        works(Remote, "nonce_size", "N"),
        works(Remote, "passive", "on|off"),
        works(Remote, "ike_frag", "on|off|force"),
        inert(Remote, "esp_frag", "N", "Linux fragments ESP packets as the route demands"),
        works(Remote, "script", "\"FILE\" phase1_up|phase1_down|phase1_dead"),
        works(Remote, "mode_cfg", "on|off"),
        works(Remote, "mode_cfg", "push").only(&["push"]).ours(),
        works(Remote, "weak_phase1_check", "off"),
        inert(
            Remote,
            "weak_phase1_check",
            "",
            "unauthenticated deletes are always ignored, for anyone could send them",
        )
        .only(&["on"]),
        works(Remote, "generate_policy", "on|off|require|unique"),
        works(Remote, "support_proxy", "off"),
        inert(
            Remote,
            "support_proxy",
            "on",
            "in tunnel mode the IDs of quick mode name the traffic anyway; transport mode for other hosts than the two \
             that speak (mobile IPv6) is refused",
        )
        .only(&["on"]),
        works(Remote, "initial_contact", "on|off"),
        works(Remote, "nat_traversal", "on|off|force"),
        works(Remote, "dpd", "on|off"),
        works(Remote, "dpd_delay", "N"),
        works(Remote, "dpd_retry", "N"),
        works(Remote, "dpd_maxfail", "N"),
        works(Remote, "rekey", "on|off|force"),
        works(Remote, "ph1id", "N"),
        works(Remote, "proposal_check", "obey|strict|claim|exact"),
        works(Remote, "lifetime", "time N UNIT"),
        refused(Remote, "lifetime", "", "racoon has given up lifetimes by volume").only(&["byte"]),
        works(Remote, "xauth_login", "\"USER\""),
        works(Remote, "proposal", "{ ... }"),
        works(Remote, "crl", "racoon|lax|strict").ours(),
        works(Remote, "sha256_96", "on|off").ours(),
        works(Remote, "allow_weak", "on|off").ours(),
        refused(Remote, "support_mip6", "...", "obsolete in racoon too: remove it"),
        refused(Remote, "keepalive", "...", "obsolete in racoon too: write `timer { natt_keepalive N sec; }`"),
        refused(Remote, "dh_group", "...", "racoon does not take it here either: write it in a `proposal` block"),
        refused(
            Remote,
            "encryption_algorithm",
            "...",
            "racoon does not take it here either: write it in a `proposal` block",
        ),
        refused(Remote, "hash_algorithm", "...", "racoon does not take it here either: write it in a `proposal` block"),
        refused(
            Remote,
            "authentication_method",
            "...",
            "racoon does not take it here either: write it in a `proposal` block",
        ),
        refused(Remote, "pfs_group", "...", "racoon does not take it here either: write it in a `sainfo` block"),
        refused(
            Remote,
            "authentication_algorithm",
            "...",
            "racoon does not take it here either: write it in a `sainfo` block",
        ),
        refused(
            Remote,
            "compression_algorithm",
            "...",
            "racoon does not take it here either: write it in a `sainfo` block",
        ),
        works(Proposal, "encryption_algorithm", "aes|rijndael|camellia|3des [BITS]"),
        refused(Proposal, "encryption_algorithm", "", BROKEN).only(&["des"]).judged(),
        refused(Proposal, "encryption_algorithm", "", NO_CIPHER).only(&["blowfish", "cast128", "idea", "rc5"]).judged(),
        works(Proposal, "hash_algorithm", "sha1|sha256|sha384|sha512|md5"),
        works(
            Proposal,
            "authentication_method",
            "pre_shared_key|rsasig|hybrid_rsa_server|hybrid_rsa_client|xauth_psk_server|xauth_psk_client|\
             xauth_rsa_server|xauth_rsa_client",
        ),
        works(Proposal, "authentication_method", "").only(&["ecdsa256", "ecdsa384", "ecdsa521"]).ours(),
        refused(Proposal, "authentication_method", "", WEAK_DSS).only(&[
            "dsssig",
            "hybrid_dss_server",
            "hybrid_dss_client",
        ]),
        refused(Proposal, "authentication_method", "", NO_RSAENC).only(&["rsaenc"]),
        refused(Proposal, "authentication_method", "", NO_GSS).only(&["gssapi_krb"]),
        works(Proposal, "dh_group", "2|5|14|15|16|17|18|modpBITS"),
        works(Proposal, "dh_group", "").only(CURVES).ours(),
        refused(Proposal, "dh_group", "", BROKEN).only(&["1", "modp768"]).judged(),
        refused(Proposal, "dh_group", "", "an elliptic curve over a binary field").only(&["3", "4"]).judged(),
        works(Proposal, "lifetime", "time N UNIT"),
        refused(Proposal, "lifetime", "", "racoon has given up lifetimes by volume").only(&["byte"]),
        inert(Proposal, "gss_id", "\"ID\"", NO_GSS),
        inert(Proposal, "gssapi_id", "\"ID\"", NO_GSS),
        works(SainfoHeader, "anonymous", "[ID | anonymous | clientaddr]"),
        works(SainfoHeader, "address", "ADDR[/BITS] [[PORT]] PROTOCOL"),
        works(SainfoHeader, "subnet", "ADDR[/BITS] [[PORT]] PROTOCOL"),
        works(SainfoHeader, "clientaddr", ""),
        works(SainfoHeader, "from", "TYPE [VALUE]"),
        works(SainfoHeader, "group", "\"GROUP\""),
        works(Sainfo, "pfs_group", "2|5|14|15|16|17|18|modpBITS"),
        works(Sainfo, "pfs_group", "").only(CURVES).ours(),
        inert(Sainfo, "pfs_group", "", "broken: group 2 is used instead, unless `allow_weak` is on")
            .only(&["1", "modp768"])
            .judged(),
        refused(Sainfo, "pfs_group", "", "an elliptic curve over a binary field").only(&["3", "4"]).judged(),
        works(Sainfo, "lifetime", "time N UNIT"),
        refused(Sainfo, "lifetime", "", "racoon has given up lifetimes by volume").only(&["byte"]),
        works(Sainfo, "encryption_algorithm", "aes|rijndael|camellia|3des|null_enc [BITS], ..."),
        works(Sainfo, "encryption_algorithm", "").only(COUNTERS).ours().judged(),
        inert(Sainfo, "encryption_algorithm", "", LEFT_OUT)
            .only(&["des", "blowfish", "cast128", "twofish", "des_iv64", "des_iv32", "idea", "rc5", "rc4", "3idea"])
            .judged(),
        works(
            Sainfo,
            "authentication_algorithm",
            "hmac_sha1|hmac_sha256|hmac_sha384|hmac_sha512|hmac_md5|non_auth, ...",
        ),
        works(Sainfo, "authentication_algorithm", "").only(&["aes_xcbc"]).ours(),
        works(Sainfo, "compression_algorithm", "deflate"),
        inert(Sainfo, "compression_algorithm", "", "Linux compresses by deflate").only(&["oui", "lzs"]),
        works(Sainfo, "remoteid", "N"),
        works(Sainfo, "esn", "on|off|prefer").ours(),
        works(Sainfo, "allow_weak", "on|off").ours(),
        refused(
            Sainfo,
            "my_identifier",
            "...",
            "obsolete in racoon too: name the peer in the header, `sainfo anonymous from fqdn \"NAME\"`",
        ),
    ]
};

/// The row of a directive: the one for its first value if there is one, else the one for the rest.
pub(crate) fn find(block: Block, name: &str, value: Option<&str>) -> Option<&'static Directive> {
    /// Files of a hundred thousand blocks ask often.
    static ROWS: LazyLock<BTreeMap<(Block, &str), Vec<&Directive>>> = LazyLock::new(|| {
        let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in DIRECTIVES {
            rows.entry((row.block, row.name)).or_default().push(row);
        }
        rows
    });
    let rows = ROWS.get(&(block, name))?;
    let of_value = value.and_then(|value| rows.iter().find(|row| row.only.contains(&value)));
    of_value.or_else(|| rows.iter().find(|row| row.only.is_empty())).copied()
}

/// What may stand in a block: to be suggested for a word that is misspelt.
pub(crate) fn names(block: Block) -> impl Iterator<Item = &'static str> {
    let rows = DIRECTIVES.iter().filter(move |row| row.block == block);
    rows.filter(|row| !matches!(row.state, State::Refused(_))).map(|row| row.name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_rows_are_for_the_same() {
        let mut seen = HashSet::new();
        for row in DIRECTIVES {
            for value in row.only.iter().copied().chain(row.only.is_empty().then_some("")) {
                assert!(seen.insert((row.block, row.name, value)), "{row} twice");
            }
        }
    }

    #[test]
    fn every_block_has_rows() {
        for block in Block::ALL {
            assert!(DIRECTIVES.iter().any(|row| row.block == block), "{}", block.name());
        }
    }

    #[test]
    fn a_value_of_its_own_is_found_before_the_rest() {
        assert_eq!(find(Block::Remote, "mode_cfg", Some("push")).map(|row| row.extension), Some(true));
        assert_eq!(find(Block::Remote, "mode_cfg", Some("on")).map(|row| row.extension), Some(false));
        assert_eq!(find(Block::Remote, "mode_cgf", Some("on")), None);
    }
}
