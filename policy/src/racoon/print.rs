//! A resolved configuration back to text: what `racoon -C` prints. Every default is written out, so that the text says
//! all there is to say, and reading it again gives the same configuration.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use crate::model::addr::AddrPort;
use crate::model::algorithm::{Integrity, SizedCipher};
use crate::model::daemon::{DaemonConfig, Listen, LogLevel, Privsep};
use crate::model::identity::{ConfiguredId, Identity, MyIdentifier, PeersIdentifier};
use crate::model::lifetime::Lifetime;
use crate::model::mode_config::{AuthSource, ConfSource, GroupSource, ModeConfig, SplitKind};
use crate::model::proposal::{Phase1Proposal, ProposalCheck};
use crate::model::remote::{
    CrlStrictness, ExchangeMode, GeneratePolicy, IkeFrag, NatTraversal, Rekey, Remote, RemoteSelector, Timers,
};
use crate::model::revocation::{CrlUrl, ExpiredCertificate, RevocationConfig, Webhook, WebhookTls};
use crate::model::sainfo::{Esn, Sainfo, SainfoId};
use crate::model::secret::HIDDEN;
use crate::model::user_source::LdapConfig;

/// Prints a configuration as a racoon.conf.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a>(pub &'a DaemonConfig);

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let config = &*as_written(self.0);
        let paths = [
            ("pre_shared_key", &config.psk_file),
            ("certificate", &config.certificate_dir),
            ("script", &config.script_dir),
            ("pidfile", &config.pid_file),
        ];
        for (kind, path) in paths {
            if let Some(path) = path {
                writeln!(f, "path {kind} \"{path}\";")?;
            }
        }
        writeln!(f, "log {};", log_level(config.log))?;
        if let Some(octets) = config.notice_buffer {
            writeln!(f, "pfkey_buffer {};", octets / 1024)?;
        }
        listen(f, &config.listen)?;
        privsep(f, &config.privsep)?;
        timers(f, &config.timers)?;
        revocation(f, &config.revocation)?;
        ldap(f, &config.ldap)?;
        if let Some(block) = &config.mode_cfg {
            mode_cfg(f, block)?;
        }
        for entry in &config.remotes {
            remote(f, entry)?;
        }
        for entry in &config.sainfos {
            sainfo(f, entry)?;
        }
        Ok(())
    }
}

/// The configuration with names below a relative folder as they were in the file: they would be put below it once more.
/// Absolute names stay absolute.
fn as_written(config: &DaemonConfig) -> Cow<'_, DaemonConfig> {
    let relative = |folder: &Option<String>| folder.clone().filter(|folder| !folder.starts_with('/'));
    let (certificates, scripts) = (relative(&config.certificate_dir), relative(&config.script_dir));
    if certificates.is_none() && scripts.is_none() {
        return Cow::Borrowed(config);
    }
    let mut config = config.clone();
    let shorten = |folder: &Option<String>, name: &mut String| {
        let Some(folder) = folder else { return };
        let below = name.strip_prefix(folder.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
        if let Some(below) = below.map(str::to_owned) {
            *name = below;
        }
    };
    for remote in &mut config.remotes {
        let files = remote.certificate.iter_mut().flat_map(|files| [&mut files.certificate, &mut files.key]);
        files
            .chain(&mut remote.ca_file)
            .chain(&mut remote.peers_certfile)
            .chain([&mut remote.rsa_private, &mut remote.rsa_public].into_iter().flatten())
            .for_each(|name| shorten(&certificates, name));
        remote.scripts.iter_mut().for_each(|script| shorten(&scripts, &mut script.path));
    }
    let block = &mut config.revocation;
    let served = block.webhooks.iter_mut().filter_map(|webhook| webhook.tls.as_mut());
    let served = served.flat_map(|tls| [&mut tls.certificate, &mut tls.key, &mut tls.client_ca]);
    let fetched = block.crl_urls.iter_mut().filter_map(|from| from.ca.as_mut());
    let names = block.crl_files.iter_mut().chain(&mut block.notifier_certificate).chain(served).chain(fetched);
    names.for_each(|name| shorten(&certificates, name));
    Cow::Owned(config)
}

fn revocation(f: &mut Formatter<'_>, block: &RevocationConfig) -> fmt::Result {
    if *block == RevocationConfig::default() {
        return Ok(());
    }
    writeln!(f, "revocation {{")?;
    let lists = [
        ("allow_user", "", &block.allowed_users),
        ("crl_file", "", &block.crl_files),
        ("subscribe", "tcp://", &block.subscriptions),
    ];
    for (name, scheme, values) in lists {
        for value in values {
            writeln!(f, "\t{name} \"{scheme}{value}\";")?;
        }
    }
    for CrlUrl { url, ca } in &block.crl_urls {
        match ca {
            None => writeln!(f, "\tcrl_url \"{url}\";")?,
            Some(ca) => writeln!(f, "\tcrl_url \"{url}\" ca \"{ca}\";")?,
        }
    }
    writeln!(f, "\tcrl_interval {} sec;", block.crl_interval.as_secs())?;
    if let Some(file) = &block.notifier_certificate {
        writeln!(f, "\tnotifier_certificate \"{file}\";")?;
    }
    for Webhook { listen, path, tls } in &block.webhooks {
        match tls {
            None => writeln!(f, "\twebhook \"http://{listen}{path}\";")?,
            Some(WebhookTls { certificate, key, client_ca }) => writeln!(
                f,
                "\twebhook \"https://{listen}{path}\" certificate \"{certificate}\" \"{key}\" client_ca \"{client_ca}\";"
            )?,
        }
    }
    if block.expired_certificate == ExpiredCertificate::Cut {
        writeln!(f, "\texpired_certificate cut;")?;
    }
    writeln!(f, "}}")
}

fn log_level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warning => "warning",
        LogLevel::Notify => "notify",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Debug2 => "debug2",
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn written(at: AddrPort) -> String {
    at.port.map_or_else(|| at.addr.to_string(), |port| format!("{}[{port}]", at.addr))
}

fn listen(f: &mut Formatter<'_>, listen: &Listen) -> fmt::Result {
    if *listen == Listen::default() {
        return Ok(());
    }
    writeln!(f, "listen {{")?;
    for at in &listen.isakmp {
        writeln!(f, "\tisakmp {};", written(*at))?;
    }
    for at in &listen.isakmp_natt {
        writeln!(f, "\tisakmp_natt {};", written(*at))?;
    }
    if listen.strict_address {
        writeln!(f, "\tstrict_address;")?;
    }
    match &listen.admin_socket {
        None => {}
        Some(None) => writeln!(f, "\tadminsock disabled;")?,
        Some(Some(socket)) => {
            write!(f, "\tadminsock \"{}\"", socket.path)?;
            if let (Some((owner, group)), Some(mode)) = (&socket.owner, socket.mode) {
                write!(f, " \"{owner}\" \"{group}\" {mode:04o}")?;
            }
            writeln!(f, ";")?;
        }
    }
    writeln!(f, "}}")
}

fn privsep(f: &mut Formatter<'_>, privsep: &Privsep) -> fmt::Result {
    let lines = [("user", &privsep.user), ("group", &privsep.group)];
    let mut lines = lines.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    writeln!(f, "privsep {{")?;
    lines.try_for_each(|(name, value)| writeln!(f, "\t{name} \"{value}\";"))?;
    writeln!(f, "}}")
}

fn timers(f: &mut Formatter<'_>, timers: &Timers) -> fmt::Result {
    writeln!(f, "timer {{")?;
    writeln!(f, "\tcounter {};", timers.counter)?;
    writeln!(f, "\tinterval {} sec;", timers.interval.as_secs())?;
    writeln!(f, "\tpersend {};", timers.persend)?;
    writeln!(f, "\tphase1 {} sec;", timers.phase1.as_secs())?;
    writeln!(f, "\tphase2 {} sec;", timers.phase2.as_secs())?;
    writeln!(f, "\tnatt_keepalive {} sec;", timers.natt_keepalive.as_secs())?;
    writeln!(f, "}}")
}

fn ldap(f: &mut Formatter<'_>, block: &LdapConfig) -> fmt::Result {
    if *block == LdapConfig::default() {
        return Ok(());
    }
    writeln!(f, "ldapcfg {{")?;
    if let Some(uri) = &block.uri {
        writeln!(f, "\turi \"{uri}\";")?;
    }
    writeln!(f, "\thost \"{}\";\n\tport {};", block.host, block.port)?;
    writeln!(f, "\tbase \"{}\";\n\tsubtree {};", block.base, on_off(block.subtree))?;
    writeln!(f, "\tbind_dn \"{}\";", block.bind_dn)?;
    if block.bind_password.is_some() {
        writeln!(f, "\tbind_pw \"{HIDDEN}\";")?;
    }
    let attributes = [
        ("attr_user", &block.attr_user),
        ("attr_addr", &block.attr_addr),
        ("attr_mask", &block.attr_mask),
        ("attr_group", &block.attr_group),
        ("attr_member", &block.attr_member),
    ];
    attributes.into_iter().try_for_each(|(name, value)| writeln!(f, "\t{name} \"{value}\";"))?;
    writeln!(f, "\ttimeout {};\n}}", block.timeout.as_secs())
}

fn mode_cfg(f: &mut Formatter<'_>, block: &ModeConfig) -> fmt::Result {
    writeln!(f, "mode_cfg {{")?;
    if let Some(pool) = block.pool {
        writeln!(f, "\tnetwork4 {};\n\tpool_size {};", pool.first, pool.size)?;
    }
    if let Some(mask) = block.netmask4 {
        writeln!(f, "\tnetmask4 {mask};")?;
    }
    for (name, servers) in [("dns4", &block.dns4), ("wins4", &block.wins4)] {
        if !servers.is_empty() {
            writeln!(f, "\t{name} {};", listed(servers))?;
        }
    }
    if let Some((kind, nets)) = &block.split_network {
        let kind = match kind {
            SplitKind::Include => "include",
            SplitKind::LocalLan => "local_lan",
        };
        writeln!(f, "\tsplit_network {kind} {};", listed(nets))?;
    }
    for (name, words) in [("split_dns", &block.split_dns), ("auth_groups", &block.auth_groups)] {
        if !words.is_empty() {
            let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            writeln!(f, "\t{name} {};", quoted.join(", "))?;
        }
    }
    if let Some(domain) = &block.default_domain {
        writeln!(f, "\tdefault_domain \"{domain}\";")?;
    }
    match &block.auth_source {
        AuthSource::System => writeln!(f, "\tauth_source system;")?,
        AuthSource::Pam => writeln!(f, "\tauth_source pam;")?,
        AuthSource::File(file) => writeln!(f, "\tauth_source file \"{file}\";")?,
        AuthSource::Ldap => writeln!(f, "\tauth_source ldap;")?,
    }
    match block.group_source {
        GroupSource::System => {}
        GroupSource::Ldap => writeln!(f, "\tgroup_source ldap;")?,
    }
    match block.conf_source {
        ConfSource::Local => {}
        ConfSource::Ldap => writeln!(f, "\tconf_source ldap;")?,
    }
    writeln!(f, "\tpfs_group {};", block.pfs_group.unwrap_or(0))?;
    writeln!(f, "\tsave_passwd {};", on_off(block.save_password))?;
    writeln!(f, "\tauth_throttle {};", block.auth_throttle.as_secs())?;
    writeln!(f, "\tbanner \"{}\";", block.banner.as_deref().unwrap_or_default())?;
    writeln!(f, "}}")
}

fn listed<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn remote(f: &mut Formatter<'_>, remote: &Remote) -> fmt::Result {
    match &remote.selector {
        // A name differs from what its block is for only where it was given in quotes.
        RemoteSelector::Anonymous if remote.name == "anonymous" => writeln!(f, "remote anonymous {{")?,
        RemoteSelector::Address(at) if remote.name == written(*at) => writeln!(f, "remote {} {{", remote.name)?,
        selector => {
            writeln!(f, "remote \"{}\" {{", remote.name)?;
            if let RemoteSelector::Address(at) = selector {
                writeln!(f, "\tremote_address {};", written(*at))?;
            }
        }
    }
    let modes: Vec<&str> = remote.exchange_modes.iter().map(|mode| exchange_mode(*mode)).collect();
    writeln!(f, "\texchange_mode {};", modes.join(", "))?;
    writeln!(f, "\tmy_identifier {};", my_identifier(&remote.my_identifier))?;
    for identifier in &remote.peers_identifiers {
        writeln!(f, "\tpeers_identifier {};", peers_identifier(identifier))?;
    }
    writeln!(f, "\tverify_identifier {};", on_off(remote.verify_identifier))?;
    if let Some(files) = &remote.certificate {
        writeln!(f, "\tcertificate_type x509 \"{}\" \"{}\";", files.certificate, files.key)?;
    }
    if let Some(file) = &remote.rsa_private {
        writeln!(f, "\tcertificate_type plain_rsa \"{file}\";")?;
    }
    if let Some(file) = &remote.ca_file {
        writeln!(f, "\tca_type x509 \"{file}\";")?;
    }
    if let Some(file) = &remote.peers_certfile {
        writeln!(f, "\tpeers_certfile x509 \"{file}\";")?;
    }
    if let Some(file) = &remote.rsa_public {
        writeln!(f, "\tpeers_certfile plain_rsa \"{file}\";")?;
    }
    let switches = [
        ("verify_cert", remote.verify_cert),
        ("send_cert", remote.send_cert),
        ("send_cr", remote.send_cr),
        ("match_empty_cr", remote.match_empty_cr),
        ("passive", remote.passive),
        ("initial_contact", remote.initial_contact),
        ("sha256_96", remote.sha256_96),
        ("support_proxy", remote.support_proxy),
    ];
    for (name, on) in switches {
        writeln!(f, "\t{name} {};", on_off(on))?;
    }
    let mode_cfg = if remote.mode_cfg_push { "push" } else { on_off(remote.mode_cfg) };
    writeln!(f, "\tmode_cfg {mode_cfg};\n\tdpd {};", on_off(remote.dpd.offered))?;
    for script in &remote.scripts {
        writeln!(f, "\tscript \"{}\" {};", script.path, script.event.name())?;
    }
    writeln!(f, "\tnonce_size {};", remote.nonce_size)?;
    writeln!(f, "\tcrl {};", crl(remote.crl))?;
    writeln!(f, "\tproposal_check {};", proposal_check(remote.proposal_check))?;
    writeln!(f, "\trekey {};", rekey(remote.rekey))?;
    writeln!(f, "\tph1id {};", remote.ph1id)?;
    writeln!(f, "\tnat_traversal {};", nat_traversal(remote.nat_traversal))?;
    writeln!(f, "\tike_frag {};", ike_frag(remote.ike_frag))?;
    writeln!(f, "\tdpd_delay {};", remote.dpd.delay.as_secs())?;
    writeln!(f, "\tdpd_retry {};", remote.dpd.retry.as_secs())?;
    writeln!(f, "\tdpd_maxfail {};", remote.dpd.max_failures)?;
    writeln!(f, "\tgenerate_policy {};", generate_policy(remote.generate_policy))?;
    if remote.allow_weak {
        writeln!(f, "\tallow_weak on;")?;
    }
    if let Some(user) = &remote.xauth_login {
        writeln!(f, "\txauth_login \"{user}\";")?;
    }
    for entry in &remote.proposals {
        proposal(f, entry)?;
    }
    writeln!(f, "}}")
}

fn exchange_mode(mode: ExchangeMode) -> &'static str {
    match mode {
        ExchangeMode::Main => "main",
        ExchangeMode::Aggressive => "aggressive",
    }
}

fn proposal_check(check: ProposalCheck) -> &'static str {
    match check {
        ProposalCheck::Obey => "obey",
        ProposalCheck::Strict => "strict",
        ProposalCheck::Claim => "claim",
        ProposalCheck::Exact => "exact",
    }
}

fn crl(value: CrlStrictness) -> &'static str {
    match value {
        CrlStrictness::Racoon => "racoon",
        CrlStrictness::Lax => "lax",
        CrlStrictness::Strict => "strict",
    }
}

fn nat_traversal(value: NatTraversal) -> &'static str {
    match value {
        NatTraversal::Off => "off",
        NatTraversal::On => "on",
        NatTraversal::Force => "force",
    }
}

fn ike_frag(value: IkeFrag) -> &'static str {
    match value {
        IkeFrag::Off => "off",
        IkeFrag::On => "on",
        IkeFrag::Force => "force",
    }
}

fn generate_policy(value: GeneratePolicy) -> &'static str {
    match value {
        GeneratePolicy::Off => "off",
        GeneratePolicy::Require => "require",
        GeneratePolicy::Unique => "unique",
    }
}

fn rekey(rekey: Rekey) -> &'static str {
    match rekey {
        Rekey::On => "on",
        Rekey::Off => "off",
        Rekey::Force => "force",
    }
}

fn configured_id(id: &ConfiguredId) -> String {
    match id {
        ConfiguredId::Address(addr) => format!("address {addr}"),
        ConfiguredId::Subnet(net) => format!("subnet {net}"),
        ConfiguredId::Fqdn(name) => format!("fqdn \"{name}\""),
        ConfiguredId::UserFqdn(name) => format!("user_fqdn \"{name}\""),
        ConfiguredId::KeyId(octets) => format!("keyid tag \"{}\"", String::from_utf8_lossy(octets)),
        ConfiguredId::KeyIdFile(file) => format!("keyid file \"{file}\""),
        ConfiguredId::Asn1Dn(name) => format!("asn1dn \"{name}\""),
    }
}

fn my_identifier(identifier: &MyIdentifier) -> String {
    match identifier {
        MyIdentifier::LocalAddress => "address".to_owned(),
        MyIdentifier::CertificateSubject => "asn1dn".to_owned(),
        MyIdentifier::Value(value) => configured_id(value),
    }
}

fn peers_identifier(identifier: &PeersIdentifier) -> String {
    identifier.value.as_ref().map_or_else(|| identifier.kind.to_string(), configured_id)
}

fn cipher(cipher: SizedCipher) -> String {
    let name = cipher.cipher.facts().racoon;
    cipher.key_bits.map_or_else(|| name.to_owned(), |bits| format!("{name} {bits}"))
}

fn lifetime(lifetime: Lifetime) -> String {
    format!("lifetime time {} sec;", lifetime.time.as_secs())
}

fn proposal(f: &mut Formatter<'_>, proposal: &Phase1Proposal) -> fmt::Result {
    writeln!(f, "\tproposal {{")?;
    writeln!(f, "\t\tencryption_algorithm {};", cipher(proposal.cipher))?;
    writeln!(f, "\t\thash_algorithm {};", proposal.hash.facts().racoon)?;
    writeln!(f, "\t\tauthentication_method {};", proposal.auth.racoon_name())?;
    writeln!(f, "\t\tdh_group {};", proposal.group.racoon_name())?;
    writeln!(f, "\t\t{}", lifetime(proposal.lifetime))?;
    writeln!(f, "\t}}")
}

fn sainfo_id(id: &SainfoId) -> String {
    let (id, protocol, port) = match id {
        SainfoId::Anonymous => return "anonymous".to_owned(),
        SainfoId::ClientAddress => return "clientaddr".to_owned(),
        SainfoId::Selector { id, protocol, port } => (id, protocol, port),
    };
    let port = if *port == 0 { "any".to_owned() } else { port.to_string() };
    let protocol = if protocol.is_any() { "any".to_owned() } else { protocol.0.to_string() };
    match id {
        Identity::Address(addr) => format!("address {addr}[{port}] {protocol}"),
        Identity::Subnet(net) => format!("subnet {net}[{port}] {protocol}"),
        Identity::Range(first, last) => format!("address {first}-{last}[{port}] {protocol}"),
        Identity::Fqdn(name) => format!("fqdn \"{name}\""),
        Identity::UserFqdn(name) => format!("user_fqdn \"{name}\""),
        Identity::KeyId(octets) => format!("keyid tag \"{}\"", String::from_utf8_lossy(octets)),
        // The grammar makes none.
        Identity::Asn1Dn(_) => id.kind().to_string(),
    }
}

fn sainfo(f: &mut Formatter<'_>, sainfo: &Sainfo) -> fmt::Result {
    match (&sainfo.local, &sainfo.remote) {
        (SainfoId::Anonymous, SainfoId::Anonymous) => f.write_str("sainfo anonymous")?,
        (local, remote) => write!(f, "sainfo {} {}", sainfo_id(local), sainfo_id(remote))?,
    }
    if let Some(from) = &sainfo.from {
        write!(f, " from {}", peers_identifier(from))?;
    }
    if let Some(group) = &sainfo.group {
        write!(f, " group \"{group}\"")?;
    }
    writeln!(f, " {{")?;
    if let Some(group) = sainfo.pfs_group {
        writeln!(f, "\tpfs_group {};", group.racoon_name())?;
    }
    writeln!(f, "\t{}", lifetime(sainfo.lifetime))?;
    let ciphers: Vec<String> = sainfo.ciphers.iter().map(|entry| cipher(*entry)).collect();
    writeln!(f, "\tencryption_algorithm {};", ciphers.join(", "))?;
    let integrity: Vec<&str> = sainfo.integrity.iter().map(|entry| integrity_name(*entry)).collect();
    if !integrity.is_empty() {
        writeln!(f, "\tauthentication_algorithm {};", integrity.join(", "))?;
    }
    if sainfo.remote_id != 0 {
        writeln!(f, "\tremoteid {};", sainfo.remote_id)?;
    }
    match sainfo.esn {
        Esn::Off => {}
        Esn::On => writeln!(f, "\tesn on;")?,
        Esn::Prefer => writeln!(f, "\tesn prefer;")?,
    }
    if sainfo.allow_weak {
        writeln!(f, "\tallow_weak on;")?;
    }
    writeln!(f, "}}")
}

fn integrity_name(integrity: Option<Integrity>) -> &'static str {
    integrity.map_or("non_auth", |integrity| integrity.facts().racoon)
}
