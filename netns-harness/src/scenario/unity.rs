//! Cisco's attributes of mode config: what a server tells of networks behind it, of names and in its banner reaches vpnc,
//! charon and xfrmd as client.

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::kernel_state;
use crate::peer::tunnel::Mode;
use crate::peer::vpnc::Vpnc;
use crate::peer::{Kind, PATIENCE};
use crate::ping;
use crate::scenario::roadwarrior_auth::{OFFICE, PASSWORD, Road, log_in};
use crate::scenario::{Scenario, cisco, for_pairs};

/// charon has the attributes if it is told to say so.
const KNOWS_UNITY: &str = "  cisco_unity = yes\n";
/// What the server's banner says.
const WELCOME: &str = "Welcome to the desk";
/// Where xfrmd finds it.
const BANNER: &str = "/etc/racoon/banner";
/// What names without a domain end in.
const DOMAIN: &str = "corp.example";

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "vpnc is told of two networks, a banner and a domain";
    for_pairs(out, &[(Kind::Vpnc, Kind::Ours)], "split-vpnc", about, vpnc);
    let about = "a client that asks for everything takes the networks it is told of";
    for_pairs(out, &[(Kind::Charon, Kind::Ours)], "split-include", about, charon_as_client);
    let about = "networks, banner and domain of the server reach the hook script";
    for_pairs(out, &[(Kind::Ours, Kind::Charon)], "split-include", about, charon_as_server);
}

fn vpnc(desk: &mut Desk, _: Kind, _: Kind) -> Result<()> {
    let lines = format!(
        "split_network include 10.22.0.0/16; default_domain \"{DOMAIN}\"; banner \"{BANNER}\"; save_passwd on; "
    );
    let road = cisco::Road::set(desk, "none", &lines, &[(BANNER, WELCOME)])?;
    let mut client = Vpnc::start(&road.gateways.west, &road.login)?;
    client.connected(PATIENCE).map_err(|failure| road.evidence(failure, &client))?;
    for (name, value) in [
        ("CISCO_SPLIT_INC", "2"),
        ("CISCO_SPLIT_INC_0_ADDR", "10.12.0.0"),
        ("CISCO_SPLIT_INC_0_MASK", "255.255.255.0"),
        ("CISCO_SPLIT_INC_1_ADDR", "10.22.0.0"),
        ("CISCO_SPLIT_INC_1_MASKLEN", "16"),
        ("CISCO_DEF_DOMAIN", DOMAIN),
        ("CISCO_BANNER", WELCOME),
    ] {
        let told = client.told(name)?;
        if told.as_deref() != Some(value) {
            let what = format!("vpnc's script was told {name}={told:?} in place of {value}");
            return Err(road.evidence(Failure::new(what), &client));
        }
    }
    desk.proved("vpnc's script was told of both networks, the domain and the banner");
    ping::answered(&road.gateways.west, road.office(), PATIENCE).map_err(|failure| road.evidence(failure, &client))?;
    desk.proved("and the first of them is reached");
    client.stop()
}

/// charon proposes 0.0.0.0/0, and has policies for what UNITY_SPLIT_INCLUDE names.
fn charon_as_client(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let road = Road::set(desk, (client, gateway), |client, gateway| {
        log_in(client, gateway, PASSWORD);
        client.extra.charon.push_str(KNOWS_UNITY);
        if let Mode::Tunnel { remote, .. } = &mut client.mode {
            "0.0.0.0/0".clone_into(remote);
        }
    })?;
    road.establish(desk, (client, gateway))?;
    let policies = kernel_state::policies(road.client.host())?;
    if !policies.contains(&format!("dst {OFFICE}")) || policies.contains("src 10.3.0.1/32 dst 0.0.0.0/0") {
        return Err(road.evidence(Failure::new(format!("the client has no policy for {OFFICE} alone"))));
    }
    desk.proved(format!("charon asked for everything, was told of {OFFICE} and keeps to that"));
    Ok(())
}

fn charon_as_server(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let road = Road::set(desk, (client, gateway), |client, gateway| {
        log_in(client, gateway, PASSWORD);
        gateway.extra.charon.push_str(KNOWS_UNITY);
        gateway
            .extra
            .charon
            .push_str(&format!("  plugins {{ attr {{\n    28672 = {WELCOME}\n    28674 = {DOMAIN}\n  }} }}\n"));
    })?;
    road.establish(desk, (client, gateway))?;
    road.notes(&[
        "SPLIT_INCLUDE=10.12.0.0/255.255.255.0".to_owned(),
        format!("SPLIT_INCLUDE_CIDR={OFFICE}"),
        format!("DEFAULT_DOMAIN={DOMAIN}"),
    ])?;
    road.logged(&*road.client, WELCOME)?;
    desk.proved("the hook script was told of the network and the domain, the banner is in the log");
    Ok(())
}
