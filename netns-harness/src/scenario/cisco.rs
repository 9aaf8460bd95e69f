//! vpnc, the free "Cisco IPSec" client, against xfrmd: aggressive mode with a group's key, XAUTH, mode config, and ESP that
//! another implementation than a kernel makes.

use std::net::{IpAddr, Ipv4Addr};

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Family;
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::suite::{AES256, MODP2048, PHASE2, Phase1Suite, Phase2Suite, SHA1};
use crate::peer::tunnel::{Auth, Begin, Exchange, Id, Mode, ModeCfg, Switch, Tunnel, Xauth};
use crate::peer::vpnc::{Login, Vpnc};
use crate::peer::{Kind, PATIENCE, Peer};
use crate::ping;
use crate::scenario::stage::Papers;
use crate::scenario::{Scenario, for_pairs};
use crate::topology::Gateways;
use crate::wait;

const PAIR: [(Kind, Kind); 1] = [(Kind::Vpnc, Kind::Ours)];

const OFFICE: &str = "10.12.0.0/24";
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);
const DNS: Ipv4Addr = Ipv4Addr::new(10, 12, 0, 53);
const GROUP: &str = "desk";
const KEY: &str = "a group's key of thirty letters";
const USER: &str = "carol";
const PASSWORD: &str = "4iChxLT3pw";
/// Where xfrmd finds users.
const USERS: &str = "/etc/racoon/users";

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &PAIR, "cisco-login", "a group's key, a user's password, an address, traffic, a good end", login);
    for_pairs(out, &PAIR, "cisco-login-udp", "the same with ESP in UDP, forced by the client", login_udp);
    for_pairs(out, &PAIR, "cisco-wrong-password", "a wrong password: no address, no SA, both say so", wrong_password);
    for_pairs(out, &PAIR, "cisco-wrong-key", "a wrong group key: nothing is asked for", wrong_key);
}

/// vpnc on west, xfrmd on east with a host behind it.
pub(super) struct Road {
    pub(super) gateways: Gateways,
    gateway: Ours,
    pub(super) login: Login,
}

impl Road {
    /// `lines` go into the gateway's `mode_cfg`, what they name is in `files`.
    pub(super) fn set(desk: &mut Desk, nat: &'static str, lines: &str, files: &[(&str, &str)]) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let gateways = desk.gateways()?;
        let (a, b) = (gateways.west.address(Family::V4), gateways.east.address(Family::V4));
        let mut tunnel = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        tunnel.mode = Mode::tunnel(OFFICE, &format!("{FIRST}/32"));
        tunnel.anonymous = true;
        tunnel.begin = Begin::Wait;
        tunnel.exchange = Exchange::Aggressive;
        tunnel.auth = Auth::Psk(KEY.to_owned());
        tunnel.remote_id = Id::KeyId(GROUP.to_owned());
        tunnel.xauth = Some(Xauth::Server { users: vec![(USER.to_owned(), PASSWORD.to_owned())] });
        tunnel.mode_cfg = Some(ModeCfg::Server { first: FIRST, size: 8, dns: Some(DNS) });
        // What vpnc offers first; it knows no SHA-2.
        tunnel.phase1 = Phase1Suite { cipher: AES256, hash: SHA1, group: MODP2048 };
        tunnel.phase2 = Phase2Suite { hash: Some(SHA1), ..PHASE2 };
        tunnel.pfs = false;
        tunnel.nat = Some(Switch::On);
        tunnel.extra.racoon =
            format!("mode_cfg {{ auth_source file \"{USERS}\"; split_network include {OFFICE}; {lines}}}\n");
        for (path, text) in files {
            gateways.east.write(path, 0o644, text)?;
        }
        tunnel.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n".to_owned();
        // Nobody has a default route here.
        gateways.east.netns().ip(&["route", "add", "10.3.0.0/24", "via", &a.to_string()])?;
        let hash = gateways.east.check("openssl", &["passwd", "-6", "-salt", "deskdesk", PASSWORD])?;
        gateways.east.write(USERS, 0o600, format!("{USER}:{}::vpn\n", hash.trim()))?;
        let gateway = Ours::start(desk, &gateways.east, tunnel)?;
        let login = Login {
            gateway: b,
            group: GROUP.to_owned(),
            secret: KEY.to_owned(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            nat,
        };
        Ok(Self { gateways, gateway, login })
    }

    pub(super) fn office(&self) -> IpAddr {
        self.gateways.right.address(Family::V4)
    }

    pub(super) fn evidence(&self, failure: Failure, client: &Vpnc) -> Failure {
        failure
            .with("vpnc", client.log().unwrap_or_default())
            .with("the gateway's log", self.gateway.log().unwrap_or_default())
            .with("the gateway's SAs", self.gateway.host().netns().ip(&["xfrm", "state"]).unwrap_or_default())
            .with("the gateway's policies", kernel_state::policies(self.gateway.host()).unwrap_or_default())
    }

    /// No SA at the gateway, whose log has this.
    fn nothing_up(&self, client: &Vpnc, text: &str) -> Result<()> {
        wait::until(PATIENCE, &format!("the gateway to log \"{text}\""), || Ok(self.gateway.log()?.contains(text)))
            .map_err(|failure| self.evidence(failure, client))?;
        if kernel_state::sas(self.gateway.host())?.is_empty() {
            return Ok(());
        }
        Err(self.evidence(Failure::new("the gateway holds an SA"), client))
    }
}

fn login(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    comes_in(desk, "none")
}

fn login_udp(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    comes_in(desk, "force-natt")
}

fn comes_in(desk: &mut Desk, nat: &'static str) -> Result<()> {
    let road = Road::set(desk, nat, "", &[])?;
    let mut client = Vpnc::start(&road.gateways.west, &road.login)?;
    let address = client.connected(PATIENCE).map_err(|failure| road.evidence(failure, &client))?;
    let dns = client.told("INTERNAL_IP4_DNS")?;
    if address != FIRST || dns.as_deref() != Some(&DNS.to_string()) {
        let what = format!("vpnc was told address {address} and DNS server {dns:?}");
        return Err(road.evidence(Failure::new(what), &client));
    }
    desk.proved(format!("vpnc logged in and was told {address} and DNS server {DNS}"));
    ping::answered(&road.gateways.west, road.office(), PATIENCE).map_err(|failure| road.evidence(failure, &client))?;
    ping::answered(&road.gateways.right, address.into(), PATIENCE)
        .map_err(|failure| road.evidence(failure, &client))?;
    let sas = kernel_state::sas(road.gateway.host())?;
    let in_udp = sas.iter().all(|sa| sa.ports.is_some());
    if sas.len() != 2 || in_udp != (nat == "force-natt") {
        return Err(road.evidence(Failure::new(format!("{} SAs, in UDP: {in_udp}", sas.len())), &client));
    }
    desk.proved("client and office reach each other through one pair of SAs");
    client.stop()?;
    wait::until(PATIENCE, "the gateway's SAs and policies to be gone", || {
        Ok(kernel_state::sas(road.gateway.host())?.is_empty() && kernel_state::policy_count(road.gateway.host())? == 0)
    })
    .map_err(|failure| road.evidence(failure, &client))?;
    desk.proved("when vpnc ends, SAs and policies go");
    Ok(())
}

fn wrong_password(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let road = Road::set(desk, "none", "", &[])?;
    let mut client = Vpnc::start(&road.gateways.west, &Login { password: "wrong".to_owned(), ..road.login.clone() })?;
    let said = client.refused(PATIENCE).map_err(|failure| road.evidence(failure, &client))?;
    road.nothing_up(&client, "login failed")?;
    let last = said.lines().rfind(|line| line.starts_with("vpnc:")).unwrap_or("nothing").to_owned();
    desk.proved(format!("no SA; vpnc said {last}"));
    Ok(())
}

fn wrong_key(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let road = Road::set(desk, "none", "", &[])?;
    let mut client = Vpnc::start(&road.gateways.west, &Login { secret: "another".to_owned(), ..road.login.clone() })?;
    client.refused(PATIENCE).map_err(|failure| road.evidence(failure, &client))?;
    if road.gateway.log()?.contains("ISAKMP-SA established") || !kernel_state::sas(road.gateway.host())?.is_empty() {
        return Err(road.evidence(Failure::new("a wrong key brought something up"), &client));
    }
    desk.proved("vpnc notices that the keys differ; the gateway has neither ISAKMP SA nor IPsec SA");
    Ok(())
}
