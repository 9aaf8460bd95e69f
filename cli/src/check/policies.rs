//! Do the kernel's policies and the daemon's configuration fit each other?
//!
//! A policy that nobody can serve drops its packets for ever; a block that no policy asks for does nothing. Both are
//! common after an address was changed in one of the two files only.

use std::net::IpAddr;

use ike::config::Config;
use policy::model::daemon::DaemonConfig;
use policy::model::remote::{GeneratePolicy, Remote, RemoteSelector};
use policy::model::sa::{Action, Direction, Level, Mode};
use policy::model::sainfo::{Sainfo, SainfoId};
use policy::model::selector::Selector;
use policy::setkey::parser::Script;
use policy::setkey::statement::{PolicySpec, StatementKind};
use policy::span::Span;

use super::finding::{self, Finding};

/// An outbound policy that wants SAs.
struct Wanted<'a> {
    script: &'a Script,
    span: Span,
    selector: Selector,
    mode: Mode,
    /// The other end of its last template, if it is one host.
    peer: Option<IpAddr>,
    /// Level `use` throughout: without SAs packets pass in clear.
    is_optional: bool,
}

/// What does not fit. `name` is the configuration's file name; the scripts are looked at together, as
/// /etc/ipsec-tools.d is loaded.
pub fn compare(config: &DaemonConfig, name: &str, scripts: &[&Script]) -> Vec<Finding> {
    let kinds = || scripts.iter().flat_map(|script| script.statements.iter().map(move |one| (*script, one)));
    let wanted: Vec<Wanted<'_>> =
        kinds().filter_map(|(script, statement)| wanted(script, statement.span, &statement.kind)).collect();
    // Whoever has SAs by hand needs no daemon.
    let keyed: Vec<IpAddr> = kinds()
        .filter_map(|(_, statement)| match &statement.kind {
            StatementKind::Add(sa) => Some(sa.key.dst),
            _ => None,
        })
        .collect();
    let mut findings = Vec::new();
    for policy in wanted.iter().filter(|policy| policy.peer.is_none_or(|peer| !keyed.contains(&peer))) {
        unserved(config, policy, &mut findings);
    }
    for remote in &config.remotes {
        findings.extend(idle_remote(remote, &wanted, name));
    }
    for (number, sainfo) in (1..).zip(&config.sainfos) {
        findings.extend(idle_sainfo(sainfo, number, config, &wanted, name));
    }
    findings
}

fn wanted<'a>(script: &'a Script, span: Span, kind: &StatementKind) -> Option<Wanted<'a>> {
    let (StatementKind::SpdAdd(spec) | StatementKind::SpdUpdate(spec)) = kind else { return None };
    if spec.action != Action::Ipsec || spec.key.direction != Direction::Out {
        return None;
    }
    let template = spec.templates.last()?;
    let is_optional = spec.templates.iter().all(|template| template.level == Level::Use);
    Some(Wanted { script, span, selector: spec.key.selector, mode: template.mode, peer: peer_of(spec), is_optional })
}

fn peer_of(spec: &PolicySpec) -> Option<IpAddr> {
    let ends = spec.templates.iter().rev().find_map(|template| template.endpoints);
    let net = spec.key.selector.dst;
    let host = net.prefix_len() == net.max_prefix_len();
    ends.map(|(_, dst)| dst).or_else(|| host.then(|| net.addr()))
}

fn unserved(config: &DaemonConfig, policy: &Wanted<'_>, findings: &mut Vec<Finding>) {
    let sources = &policy.script.sources;
    if let Some(peer) = policy.peer
        && !config.remotes.iter().any(|remote| serves(remote, peer))
    {
        let fate = if policy.is_optional { "go in clear" } else { "be dropped" };
        findings.push(Finding::at(
            policy.span,
            sources,
            format!("no `remote` block is for {peer}: packets that meet this policy will {fate}"),
            "add a `remote` block for the peer, or `remote anonymous`",
        ));
    }
    // A transport policy over networks is negotiated host by host: which hosts, only the packets tell.
    let hosts_known = policy.mode == Mode::Tunnel || policy.peer.is_some();
    if hosts_known && !config.sainfos.iter().any(|sainfo| could_serve(sainfo, policy)) {
        findings.push(Finding::at(
            policy.span,
            sources,
            "no `sainfo` block is for this traffic: its quick mode will be refused",
            "add a `sainfo` block with these two sides, or `sainfo anonymous`",
        ));
    }
}

fn serves(remote: &Remote, peer: IpAddr) -> bool {
    match &remote.selector {
        RemoteSelector::Address(at) => at.addr == peer,
        RemoteSelector::Anonymous => true,
    }
}

/// Whatever the peer's identity turns out to be.
fn could_serve(sainfo: &Sainfo, policy: &Wanted<'_>) -> bool {
    let blind = Sainfo { from: None, remote_id: 0, ..sainfo.clone() };
    let config = Config { sainfos: vec![blind], ..Config::default() };
    let outbound = negotiated(policy);
    policy.peer.is_none_or(|peer| config.sainfo_for(outbound, peer).is_some())
}

/// The traffic as quick mode names it.
fn negotiated(policy: &Wanted<'_>) -> Selector {
    match (policy.mode, policy.peer) {
        (Mode::Transport, Some(peer)) => Selector { dst: policy::model::addr::host_net(peer), ..policy.selector },
        _ => policy.selector,
    }
}

fn idle_remote(remote: &Remote, wanted: &[Wanted<'_>], name: &str) -> Option<Finding> {
    let RemoteSelector::Address(at) = &remote.selector else { return None };
    let answers_only = remote.passive || remote.generate_policy != GeneratePolicy::Off;
    let used = wanted.iter().any(|policy| match policy.peer {
        Some(peer) => peer == at.addr,
        None => policy.selector.dst.contains(&at.addr),
    });
    if used || answers_only {
        return None;
    }
    let text = format!("remote {}: no policy asks for SAs with {}", remote.name, at.addr);
    Some(Finding::about(finding::Level::Warning, name, text))
}

fn idle_sainfo(
    sainfo: &Sainfo,
    number: usize,
    config: &DaemonConfig,
    wanted: &[Wanted<'_>],
    name: &str,
) -> Option<Finding> {
    let generates = config.remotes.iter().any(|remote| remote.generate_policy != GeneratePolicy::Off);
    let open = matches!((&sainfo.local, &sainfo.remote), (SainfoId::Anonymous, SainfoId::Anonymous));
    if open || generates || wanted.iter().any(|policy| could_serve(sainfo, policy)) {
        return None;
    }
    Some(Finding::about(
        finding::Level::Warning,
        name,
        format!("sainfo {number} (in the order they are looked up): no policy is for its traffic"),
    ))
}

#[cfg(test)]
mod tests {
    use policy::racoon::include::NoFiles;
    use policy::{racoon, setkey};

    use super::*;

    const PROPOSAL: &str = "exchange_mode main; proposal { encryption_algorithm aes 256; hash_algorithm sha256; \
         authentication_method rsasig; dh_group 14; }";
    const SUITE: &str =
        "encryption_algorithm aes 256; authentication_algorithm hmac_sha256; compression_algorithm deflate;";

    fn found(conf: &str, script: &str) -> String {
        let conf = conf.replace("PROPOSAL", PROPOSAL).replace("SUITE", SUITE);
        let loaded = racoon::load("racoon.conf", conf.as_bytes(), &mut NoFiles);
        let config = loaded.config.clone().unwrap_or_else(|| panic!("{}", loaded.render()));
        let script = setkey::parser::parse("setkey.conf", script.as_bytes());
        assert_eq!(script.render(), "");
        compare(&config, "racoon.conf", &[&script]).iter().map(|finding| finding.rendered.clone()).collect()
    }

    #[test]
    fn files_that_fit_give_no_finding() {
        let conf = "remote 10.0.0.2 { PROPOSAL } sainfo anonymous { SUITE }";
        assert_eq!(found(conf, "spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//require;\n"), "");
        let conf = "remote 10.0.0.2 { PROPOSAL } sainfo subnet 10.1.0.0/16 any subnet 10.2.0.0/16 any { SUITE }";
        let script = "spdadd 10.1.0.0/16 10.2.0.0/16 any -P out ipsec esp/tunnel/10.0.0.1-10.0.0.2/require;\n";
        assert_eq!(found(conf, script), "");
        let conf = "remote anonymous { PROPOSAL } sainfo anonymous { SUITE }";
        assert_eq!(found(conf, "spdadd 0.0.0.0/0 10.0.0.0/8 any -P out ipsec esp/transport//require;\n"), "");
    }

    #[test]
    fn keys_by_hand_need_no_daemon_and_use_drops_nothing() {
        let conf = "remote 10.0.0.3 { PROPOSAL passive on; } sainfo anonymous { SUITE }";
        let keyed = "add 10.0.0.1 10.0.0.2 esp 0x1000 -E aes-cbc \"0123456789abcdef\" \
                     -A hmac-sha256 \"0123456789abcdef0123456789abcdef\";\n";
        let policy = "spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//use;\n";
        assert_eq!(found(conf, &(keyed.to_owned() + policy)), "");
        let text = found(conf, policy);
        assert!(
            text.contains("no `remote` block is for 10.0.0.2: packets that meet this policy will go in clear"),
            "{text}"
        );
    }

    #[test]
    fn scripts_are_looked_at_together() {
        let conf = "remote 10.0.0.2 { PROPOSAL } remote 10.0.0.3 { PROPOSAL } sainfo anonymous { SUITE }";
        let conf = conf.replace("PROPOSAL", PROPOSAL).replace("SUITE", SUITE);
        let loaded = racoon::load("racoon.conf", conf.as_bytes(), &mut NoFiles);
        let config = loaded.config.expect("a configuration");
        let script = |last: u8| {
            let text = format!("spdadd 10.0.0.1 10.0.0.{last} any -P out ipsec esp/transport//require;\n");
            setkey::parser::parse("setkey.conf", text.as_bytes())
        };
        let both = [&script(2), &script(3)];
        assert!(compare(&config, "racoon.conf", &both).is_empty());
        assert_eq!(compare(&config, "racoon.conf", &both[..1]).len(), 1);
    }

    #[test]
    fn a_policy_that_nobody_serves_is_shown_where_it_stands() {
        let conf = "remote 10.0.0.3 { PROPOSAL } sainfo subnet 10.1.0.0/16 any subnet 10.3.0.0/16 any { SUITE }";
        let script = "flush;\nspdadd 10.1.0.0/16 10.2.0.0/16 any -P out ipsec esp/tunnel/10.0.0.1-10.0.0.2/require;\n";
        let text = found(conf, script);
        for part in [
            "setkey.conf:2:1: warning: no `remote` block is for 10.0.0.2",
            "setkey.conf:2:1: warning: no `sainfo` block is for this traffic",
            "racoon.conf: warning: remote 10.0.0.3: no policy asks for SAs with 10.0.0.3",
            "racoon.conf: warning: sainfo 1 ",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
