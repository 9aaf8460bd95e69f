//! What racoonctl asks, answered by the driver.

use std::net::{IpAddr, SocketAddr};

use ike::event::Input;
use ike::event::command::{Command, Directions};
use ike::event::policies::Acquire;
use policy::model::remote::ExchangeMode;
use policy::model::sa::{Direction, Protocol};
use policy::model::secret::Secret;
use policy::model::selector::{Selector, UpperProtocol};
use xfrm::batch::Refusal;
use xfrm::model::policy::{Place, Policy};
use xfrm::model::sa::Sa;
use xfrm::socket::Connection;

use super::clock;
use super::driver::Driver;
use super::lower::Wanted;
use super::peers;
use super::udp::{Bypass, local_address_towards};
use crate::control::Response;
use crate::exit_code::Exit;
use crate::racoonctl::request::{
    EstablishedReport, Exchange, Family, Flow, How, IsakmpReport, Login, RacoonRequest, ScheduledReport,
};
use crate::revocation::serial;
use crate::setkey::dump::Printer;
use crate::setkey::pfkey::message;
use crate::setkey::protocols::Protocols;

/// Carries out what can be answered at once.
pub fn answer(request: RacoonRequest, driver: &mut Driver, bypass: Bypass) -> Response {
    let outcome = match request {
        RacoonRequest::ShowIsakmp => return Response::done(&isakmp(driver)),
        RacoonRequest::ShowSchedule => return Response::done(&schedule(driver)),
        RacoonRequest::ShowIpsec { family } => sadb(family),
        RacoonRequest::Flush { family } => {
            flush(family, driver);
            Ok("flushed".to_owned())
        }
        RacoonRequest::DeletePeer { local, peer } => delete_peer(local, peer, driver),
        RacoonRequest::DeleteIpsec { family, flow } => delete_ipsec(family, &flow, driver),
        RacoonRequest::EstablishIpsec { flow, how, .. } => {
            establish(&flow, how, driver, bypass).map(|peer| peer.to_string())
        }
        RacoonRequest::EstablishIsakmp { local, peer, how, .. } => match begin(local, peer, how, driver, bypass) {
            Ok(()) => return Response::done(&EstablishedReport::default()),
            Err(text) => Err(text),
        },
        RacoonRequest::Certificate { local, peer } => certificate(local, peer, driver),
        RacoonRequest::Logout { user } => {
            driver.handle(Input::Command(Command::Logout { user }));
            Ok("logged out".to_owned())
        }
        RacoonRequest::Events => Err("events are told by the socket itself".to_owned()),
    };
    match outcome {
        Ok(text) => Response::done(&text),
        Err(text) => Response::failed(Exit::NotSo, text),
    }
}

fn isakmp(driver: &Driver) -> Vec<IsakmpReport> {
    let report = |sa: ike::endpoint::listing::IsakmpStatus| IsakmpReport {
        local: sa.local.ip(),
        local_port: sa.local.port(),
        peer: sa.peer.ip(),
        peer_port: sa.peer.port(),
        cookies: format!("{}:{}", sa.cookies.0, sa.cookies.1),
        initiator: sa.initiator,
        exchange: match sa.mode {
            ExchangeMode::Main => Exchange::Main,
            ExchangeMode::Aggressive => Exchange::Aggressive,
        },
        established: sa.established,
        children: sa.children,
    };
    driver.endpoint.isakmp_sas().into_iter().map(report).collect()
}

fn schedule(driver: &Driver) -> Vec<ScheduledReport> {
    let report = |timer: ike::endpoint::listing::Scheduled| ScheduledReport {
        number: timer.number,
        what: timer.what,
        created: timer.armed,
        fires: timer.fires,
    };
    driver.endpoint.schedule(clock::now()).into_iter().map(report).collect()
}

/// The kernel's SAs as `setkey -D` has them, whoever made them.
fn sadb(family: Family) -> Result<String, String> {
    let sas = dump(family).map_err(|refusal| refusal.to_string())?;
    let protocols = Protocols::load();
    Ok(Printer::of_now(&protocols, false).sas(&sas))
}

/// The same as messages of PF_KEY, for racoonctl of ipsec-tools.
///
/// # Errors
/// The kernel's.
pub fn sadb_messages(family: Family) -> Result<Vec<u8>, Refusal> {
    Ok(message::dumped(&dump(family)?, clock::now().wall, std::process::id()))
}

fn dump(family: Family) -> Result<Vec<Sa>, Refusal> {
    Ok(Connection::open()?.dump_sas(protocol(family))?.entries)
}

fn protocol(family: Family) -> Option<Protocol> {
    match family {
        Family::Esp => Some(Protocol::Esp),
        Family::Ah => Some(Protocol::Ah),
        Family::Isakmp | Family::Ipsec => None,
    }
}

fn flush(family: Family, driver: &mut Driver) {
    let command = match family {
        Family::Isakmp => Command::DropIsakmp,
        _ => Command::DropChildren { protocol: protocol(family), outbound: None },
    };
    driver.handle(Input::Command(command));
}

fn delete_peer(local: Option<IpAddr>, peer: IpAddr, driver: &mut Driver) -> Result<String, String> {
    let statuses = driver.endpoint.peers(clock::now());
    let ours = |status: &ike::endpoint::status::PeerStatus| {
        peers::is_live(status, peer) && local.is_none_or(|local| status.local.is_none_or(|end| end.ip() == local))
    };
    if !statuses.iter().any(ours) {
        return Err(format!("there is nothing up with {peer}"));
    }
    driver.handle(Input::Command(Command::Down { peer }));
    Ok(format!("{peer} is down"))
}

fn delete_ipsec(family: Family, flow: &Flow, driver: &mut Driver) -> Result<String, String> {
    let before = driver.endpoint.sizes().children;
    let command = Command::DropChildren { protocol: protocol(family), outbound: Some(selector(flow)) };
    driver.handle(Input::Command(command));
    match before.saturating_sub(driver.endpoint.sizes().children) {
        0 => Err("no IPsec SA is for this traffic".to_owned()),
        count => Ok(format!("{count} pairs of SAs deleted")),
    }
}

/// The certificate that the peer showed, in hexadecimal.
fn certificate(local: IpAddr, peer: IpAddr, driver: &Driver) -> Result<String, String> {
    let status = driver.endpoint.peer_status(peer, clock::now());
    if status.local.is_none_or(|end| end.ip() != local) {
        return Err(format!("there is nothing up between {local} and {peer}"));
    }
    let shown = status.certificates.first().and_then(|id| driver.certificate(id));
    let none = || format!("{peer} showed no certificate since the daemon began");
    shown.map(serial::to_hex).ok_or_else(none)
}

/// Brings up phase 1.
///
/// # Errors
/// In words: there is no such `remote` block, or no way to the peer.
pub fn begin(local: Option<IpAddr>, peer: IpAddr, how: How, driver: &mut Driver, bypass: Bypass) -> Result<(), String> {
    if driver.loaded.files.config.remote_for(peer).is_none() {
        return Err(format!("no remote block is for {peer}"));
    }
    let local = match local {
        Some(local) if !local.is_unspecified() => local,
        _ => local_address_towards(peer, bypass).map_err(|error| format!("{peer} cannot be reached: {error}"))?,
    };
    direct(peer, how, driver)?;
    driver.handle(Input::Command(Command::Up { local, peer }));
    Ok(())
}

/// Tells the core what the operator said beyond the configuration.
fn direct(peer: IpAddr, how: How, driver: &mut Driver) -> Result<(), String> {
    if how == How::default() {
        return Ok(());
    }
    let at = SocketAddr::new(peer, driver.loaded.files.config.isakmp_port);
    let blocks = driver.loaded.files.config.candidates(at);
    if let Some(name) = &how.remote
        && !blocks.iter().any(|block| block.remote.name == *name)
    {
        let names: Vec<&str> = blocks.iter().map(|block| block.remote.name.as_str()).collect();
        return Err(format!("no remote block \"{name}\" is for {peer} (there is: {})", names.join(", ")));
    }
    let login = how.login.map(|Login { user, password }| (user, Secret::new(password.as_bytes().to_vec())));
    let directions = Directions { remote: how.remote, login };
    driver.handle(Input::Command(Command::Direct { peer, directions }));
    Ok(())
}

/// What there is to tell of a phase 1 that is up; `None` while it is not.
pub fn up(peer: IpAddr, driver: &Driver) -> Option<EstablishedReport> {
    let sas = driver.endpoint.isakmp_sas();
    let sa = sas.into_iter().rev().find(|sa| sa.peer.ip() == peer && sa.open)?;
    let printable = |text: String| text.chars().filter(|ch| *ch == '\n' || !ch.is_control()).collect();
    Some(EstablishedReport { address: sa.address, banner: sa.banner.map(printable) })
}

/// As if the first packet of this traffic had come.
///
/// # Errors
/// In words: there is no such policy, or no way to the peer. Else the peer that is negotiated with.
pub fn establish(flow: &Flow, how: How, driver: &mut Driver, bypass: Bypass) -> Result<IpAddr, String> {
    let wanted = selector(flow);
    let exact = driver.kernel.mirror().policies().find(|policy| is_for(policy, &wanted));
    let policy = exact.or_else(|| driver.kernel.mirror().first_outbound(&wanted));
    let Some((policy, asked)) = policy.and_then(|policy| Some((policy, Wanted::of(&policy.templates)?))) else {
        return Err("no policy wants an SA for this traffic (see setkey -DP)".to_owned());
    };
    let peer = asked.endpoints.map_or(wanted.dst.addr(), |(_, dst)| dst);
    let local = match asked.endpoints {
        Some((src, _)) if !src.is_unspecified() => src,
        _ => local_address_towards(peer, bypass).map_err(|error| format!("{peer} cannot be reached: {error}"))?,
    };
    let acquire = Acquire {
        flow: wanted,
        policy: policy.selector,
        policy_index: policy.index,
        local,
        peer,
        protocol: asked.protocol,
        mode: asked.mode,
        reqid: asked.reqid,
        companions: asked.companions,
    };
    direct(peer, how, driver)?;
    driver.handle(Input::Acquire(acquire));
    Ok(peer)
}

fn is_for(policy: &Policy, wanted: &Selector) -> bool {
    policy.place == Place::Spd(Direction::Out) && policy.selector == *wanted && !policy.templates.is_empty()
}

fn selector(flow: &Flow) -> Selector {
    Selector {
        src: flow.src,
        dst: flow.dst,
        protocol: UpperProtocol(flow.protocol),
        src_port: flow.src_port,
        dst_port: flow.dst_port,
    }
}

/// That the SAs for this traffic stand, in the original's words; `None` while they do not.
pub fn established(flow: &Flow, driver: &Driver) -> Option<String> {
    let wanted = selector(flow);
    let statuses = driver.endpoint.peers(clock::now());
    let child = statuses.iter().flat_map(|status| &status.children).find(|child| {
        !child.replaced && (child.outbound_selector == wanted || child.outbound_selector.contains(&wanted))
    })?;
    Some(format!("Phase 2 established : {}[500] -> {}[500]", child.outbound.src, child.outbound.dst))
}
