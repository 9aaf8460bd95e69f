//! Peers as listings show them.

use std::net::IpAddr;

use ike::endpoint::status::{ChildStatus, PeerState, PeerStatus};
use policy::model::daemon::DaemonConfig;
use policy::model::remote::RemoteSelector;

use crate::report::{ChildReport, PeerError, PeerReport, identity_text};
use crate::revocation::serial;

/// Live peers and those that have a remote block of their own, in the order of addresses.
pub fn reports(statuses: &[PeerStatus], config: &DaemonConfig) -> Vec<PeerReport> {
    let configured: Vec<IpAddr> = config
        .remotes
        .iter()
        .filter_map(|remote| match &remote.selector {
            RemoteSelector::Address(at) => Some(at.addr),
            RemoteSelector::Anonymous => None,
        })
        .collect();
    let mut peers: Vec<(IpAddr, PeerReport)> =
        statuses.iter().map(|status| (status.peer, report(status, configured.contains(&status.peer)))).collect();
    for address in configured {
        if !peers.iter().any(|(known, _)| *known == address) {
            peers.push((address, down(address)));
        }
    }
    peers.sort_by_key(|(address, _)| *address);
    peers.into_iter().map(|(_, report)| report).collect()
}

fn report(status: &PeerStatus, configured: bool) -> PeerReport {
    PeerReport {
        address: status.peer.to_string(),
        identity: status.identity.as_ref().map(identity_text),
        configured,
        state: match status.state {
            PeerState::Down => "down",
            PeerState::Negotiating => "negotiating",
            PeerState::Established => "established",
        }
        .to_owned(),
        since: status.since,
        phase1_rekey_in_s: status.rekey_in.map(|left| left.as_secs()),
        children: status.children.iter().map(child).collect(),
        cert_serial: status.certificates.first().map(|certificate| serial::to_decimal(&certificate.serial)),
        last_error: status.last_error.as_ref().map(|error| PeerError { at: error.at, reason: error.reason.clone() }),
    }
}

fn child(child: &ChildStatus) -> ChildReport {
    ChildReport {
        spi_in: child.inbound.spi.to_string(),
        spi_out: child.outbound.spi.to_string(),
        mode: child.mode.name().to_owned(),
        age_s: child.age.as_secs(),
        rekey_in_s: child.rekey_in.as_secs(),
    }
}

fn down(address: IpAddr) -> PeerReport {
    PeerReport {
        address: address.to_string(),
        identity: None,
        configured: true,
        state: "down".to_owned(),
        since: None,
        phase1_rekey_in_s: None,
        children: Vec::new(),
        cert_serial: None,
        last_error: None,
    }
}

/// Is there an ISAKMP SA or a child?
pub fn is_established(status: &PeerStatus) -> bool {
    status.state == PeerState::Established
}

/// Is this the peer, with something that could be taken down?
pub fn is_live(status: &PeerStatus, peer: IpAddr) -> bool {
    status.peer == peer && status.state != PeerState::Down
}

/// How an `up` fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpState {
    /// There is an ISAKMP SA.
    Up,
    /// There will be none, and why.
    Failed(String),
    /// Not decided yet.
    UnderWay,
}

/// How the negotiation with `peer` that was asked for at `asked_at` (Unix seconds) fares.
pub fn up_state(statuses: &[PeerStatus], peer: IpAddr, asked_at: u64) -> UpState {
    let unsaid = || UpState::Failed("nothing is negotiated; the log says why".to_owned());
    let Some(status) = statuses.iter().find(|status| status.peer == peer) else { return unsaid() };
    if status.cookies.is_some() {
        return UpState::Up;
    }
    let error = status.last_error.as_ref().filter(|error| error.at >= asked_at);
    match (status.state, error) {
        (PeerState::Negotiating, _) | (PeerState::Established, None) => UpState::UnderWay,
        (_, Some(error)) => UpState::Failed(error.reason.clone()),
        (PeerState::Down, None) => unsaid(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ike::endpoint::status::LastError;
    use ike::event::question::CertificateId;
    use policy::model::identity::Identity;

    use super::*;

    fn status(state: PeerState) -> PeerStatus {
        PeerStatus {
            local: None,
            peer: "10.0.0.2".parse().unwrap(),
            identity: Some(Identity::Fqdn("bob".to_owned())),
            state,
            since: Some(5),
            cookies: None,
            rekey_in: Some(Duration::from_millis(7900)),
            certificates: vec![CertificateId { issuer_key: [0; 32], serial: vec![1, 0] }],
            issuer: None,
            children: vec![],
            last_error: Some(LastError { at: 10, reason: "no answer".to_owned() }),
        }
    }

    #[test]
    fn field_names_are_a_promise() {
        let json = serde_json::to_string(&report(&status(PeerState::Down), false)).unwrap();
        assert_eq!(
            json,
            r#"{"address":"10.0.0.2","identity":"bob","configured":false,"state":"down","since":5,"phase1_rekey_in_s":7,"#
                .to_owned()
                + r#""children":[],"cert_serial":"256","last_error":{"at":10,"reason":"no answer"}}"#
        );
    }

    #[test]
    fn outcome_of_up() {
        let peer = "10.0.0.2".parse().unwrap();
        let outcome = |status: PeerStatus, asked| up_state(&[status], peer, asked);
        assert_eq!(outcome(status(PeerState::Negotiating), 10), UpState::UnderWay);
        assert_eq!(outcome(status(PeerState::Down), 10), UpState::Failed("no answer".to_owned()));
        assert_eq!(outcome(status(PeerState::Established), 11), UpState::UnderWay, "an old error is none of ours");
        assert!(matches!(outcome(status(PeerState::Down), 11), UpState::Failed(_)));
        assert!(matches!(up_state(&[], peer, 0), UpState::Failed(_)));
        let up = PeerStatus {
            cookies: Some((ike::wire::header::Cookie([1; 8]), ike::wire::header::Cookie([2; 8]))),
            ..status(PeerState::Established)
        };
        assert_eq!(outcome(up, 0), UpState::Up);
    }
}
