//! Commands of the operator.

use std::net::IpAddr;

use policy::model::sa::Protocol;
use policy::model::secret::Secret;
use policy::model::selector::Selector;

use super::question::CertificateId;

/// Commands of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Bring phase 1 up with this peer.
    Up {
        /// Our end.
        local: IpAddr,
        /// The peer.
        peer: IpAddr,
    },
    /// What an operator says of a peer before it is brought up; holds until the peer is taken down.
    Direct {
        /// The peer.
        peer: IpAddr,
        /// What he says.
        directions: Directions,
    },
    /// Take down everything with the clients that logged in as this user, telling them.
    Logout {
        /// The user.
        user: String,
    },
    /// Take down everything with this peer, telling it.
    Down {
        /// The peer.
        peer: IpAddr,
    },
    /// Take down everything, telling the peers.
    DownAll,
    /// Take down every ISAKMP SA, telling the peers; IPsec SAs stay.
    DropIsakmp,
    /// Take down the IPsec SAs that fit, telling the peers; ISAKMP SAs stay.
    DropChildren {
        /// Of this protocol; `None` is any.
        protocol: Option<Protocol>,
        /// For exactly this traffic as we send it; `None` is any.
        outbound: Option<Selector>,
    },
    /// Take down everything that rests on this certificate, telling the peers; nothing else.
    Revoke {
        /// Leaf or intermediate.
        certificate: CertificateId,
    },
    /// Let verdicts of the judge count again for certificates revoked while we run.
    Unrevoke {
        /// The serial.
        serial: Vec<u8>,
        /// The issuer's key; `None` is every issuer.
        issuer_key: Option<[u8; 32]>,
    },
}

/// What an operator may say of a peer that the configuration does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// The name of the `remote` block to use, one of those for the peer's address.
    pub remote: Option<String>,
    /// User and password for XAuth, instead of those configured.
    pub login: Option<(String, Secret)>,
}
