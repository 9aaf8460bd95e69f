//! One node: an endpoint, its kernel, its certificate and its policies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, Credential, KeyHandle, RemoteConfig, RemoteId};
use ike::crypto::provider::RsaPublicKey;
use ike::endpoint::Endpoint;
use ike::event::question::{CertificateId, PeerCertificate};
use policy::model::algorithm::{AuthMethod, Cipher, Group, Hash, Integrity, SizedCipher, XauthSide};
use policy::model::identity::{Identity, IdentityKind, PeersIdentifier};
use policy::model::lifetime::Lifetime;
use policy::model::mode_config::{AddressPool, ModeConfig};
use policy::model::proposal::{Phase1Proposal, ProposalCheck};
use policy::model::remote::{Dpd, ExchangeMode, IkeFrag, NatTraversal, Remote, Timers};
use policy::model::sainfo::{Esn, Sainfo, SainfoId};

use super::kernel::Kernel;
use super::provider::{ToyProvider, toy_key};

/// What a simulated pair is configured with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Life of the ISAKMP SA.
    pub phase1_life: Duration,
    /// Life of the IPsec SAs.
    pub phase2_life: Duration,
    /// PFS.
    pub pfs: Option<Group>,
    /// Treatment of differing proposals.
    pub check: ProposalCheck,
    /// How both sides authenticate.
    pub auth: AuthMethod,
    /// Phase 1.
    pub exchange: ExchangeMode,
    /// NAT traversal of both sides.
    pub nat_traversal: NatTraversal,
    /// Is node 1 behind a NAT?
    pub behind_nat: bool,
    /// Dead peer detection.
    pub dpd: Dpd,
    /// IKE fragmentation.
    pub ike_frag: IkeFrag,
    /// Octets of a node's certificate: what makes the last messages of phase 1 large.
    pub certificate_octets: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            phase1_life: Duration::from_secs(8 * 3600),
            phase2_life: Duration::from_secs(12 * 3600),
            pfs: Some(Group::Modp2048),
            check: ProposalCheck::Obey,
            auth: AuthMethod::RsaSignature,
            exchange: ExchangeMode::Main,
            nat_traversal: NatTraversal::Off,
            behind_nat: false,
            dpd: Dpd::default(),
            ike_frag: IkeFrag::Off,
            certificate_octets: 2,
        }
    }
}

/// Probes after ten seconds of silence, five of them two seconds apart.
fn watching() -> Dpd {
    Dpd { offered: true, delay: Duration::from_secs(10), retry: Duration::from_secs(2), max_failures: 5 }
}

impl Settings {
    /// Every mode of the exchanges, by name.
    pub fn modes() -> Vec<(&'static str, Self)> {
        let aggressive = Self { exchange: ExchangeMode::Aggressive, ..Self::default() };
        vec![
            ("main mode, RSA", Self::default()),
            ("main mode, PSK", Self { auth: AuthMethod::PreSharedKey, ..Self::default() }),
            ("aggressive mode, PSK", Self { auth: AuthMethod::PreSharedKey, ..aggressive }),
            ("aggressive mode, RSA", aggressive),
            (
                "aggressive mode, PSK, NAT",
                Self {
                    auth: AuthMethod::PreSharedKey,
                    nat_traversal: NatTraversal::On,
                    behind_nat: true,
                    ..aggressive
                },
            ),
            ("main mode, PSK, XAUTH", Self { auth: AuthMethod::XauthPsk(XauthSide::Client), ..Self::default() }),
            ("aggressive mode, PSK, XAUTH", Self { auth: AuthMethod::XauthPsk(XauthSide::Client), ..aggressive }),
            ("main mode, RSA, XAUTH", Self { auth: AuthMethod::XauthRsa(XauthSide::Client), ..Self::default() }),
            ("main mode, hybrid", Self { auth: AuthMethod::HybridRsa(XauthSide::Client), ..Self::default() }),
            ("main mode, RSA, fragments", Self { ike_frag: IkeFrag::On, certificate_octets: 1400, ..Self::default() }),
            ("main mode, RSA, NAT", Self { nat_traversal: NatTraversal::On, behind_nat: true, ..Self::default() }),
            ("main mode, PSK, DPD", Self { auth: AuthMethod::PreSharedKey, dpd: watching(), ..Self::default() }),
            ("main mode, RSA, forced encapsulation", Self { nat_traversal: NatTraversal::Force, ..Self::default() }),
        ]
    }

    /// Can node 2 begin phase 1 as well as node 1?
    pub fn either_may_begin(&self) -> bool {
        !self.behind_nat && self.auth.xauth().is_none()
    }

    /// How a node authenticates: node 1 is the client of extended authentication.
    pub fn auth_of(&self, name: u8) -> AuthMethod {
        let side = if name == 1 { XauthSide::Client } else { XauthSide::Server };
        match self.auth {
            AuthMethod::XauthPsk(_) => AuthMethod::XauthPsk(side),
            AuthMethod::XauthRsa(_) => AuthMethod::XauthRsa(side),
            AuthMethod::HybridRsa(_) => AuthMethod::HybridRsa(side),
            other => other,
        }
    }
}

/// One node.
pub struct Node {
    /// Its address.
    pub addr: IpAddr,
    /// The core.
    pub endpoint: Endpoint,
    /// Its kernel.
    pub kernel: Kernel,
    /// The key that signs for it.
    pub key: RsaPublicKey,
    /// The time of its last acquire: the kernel does not repeat it while the larval SA stands.
    pub last_acquire: Option<Duration>,
}

/// The certificate that the judge finds for a node's identity.
pub fn certificate(name: u8) -> PeerCertificate {
    PeerCertificate {
        der: Vec::new(),
        public_key: toy_key(name).into(),
        chain: vec![CertificateId { issuer_key: [9; 32], serial: vec![name] }],
        subject: format!("/CN=node{name}"),
        issuer: "/CN=ca".to_owned(),
        not_after: u64::MAX,
        warnings: Vec::new(),
    }
}

/// The identity of a node.
pub fn identity(name: u8) -> Identity {
    Identity::Fqdn(format!("node{name}.example"))
}

fn remote(name: u8, settings: &Settings) -> Remote {
    Remote {
        peers_identifiers: vec![PeersIdentifier { kind: IdentityKind::Fqdn, value: None }],
        verify_identifier: true,
        // In aggressive mode a certificate comes only if it was asked for.
        send_cr: name.is_multiple_of(2) || settings.exchange == ExchangeMode::Aggressive,
        mode_cfg: settings.auth.xauth().is_some() && name == 1,
        xauth_login: (settings.auth.xauth().is_some() && name == 1).then(|| USER.to_owned()),
        exchange_modes: vec![settings.exchange],
        proposal_check: settings.check,
        nat_traversal: settings.nat_traversal,
        dpd: settings.dpd,
        ike_frag: settings.ike_frag,
        proposals: vec![Phase1Proposal {
            cipher: SizedCipher { cipher: Cipher::Aes, key_bits: Some(256) },
            hash: Hash::Sha256,
            auth: settings.auth_of(name),
            group: Group::Modp2048,
            lifetime: Lifetime { time: settings.phase1_life, kilobytes: None },
        }],
        ..Remote::default()
    }
}

/// The key of both nodes.
pub const PSK: &[u8] = b"of both nodes";

/// The user of node 1, and the password.
pub const USER: &str = "carol";
/// See [`USER`].
pub const PASSWORD: &[u8] = b"knows it";

/// Node 2 has addresses for whoever logs in.
fn pool() -> ModeConfig {
    let pool = AddressPool { first: [10, 7, 0, 1].into(), size: 4 };
    ModeConfig { pool: Some(pool), dns4: vec![[10, 7, 0, 53].into()], ..ModeConfig::default() }
}

/// The keys of both nodes: each finds the other's by its address or by its name.
const PSK_FILE: &[u8] =
    b"192.0.2.1 of both nodes\n192.0.2.2 of both nodes\n198.51.100.1 of both nodes\ncarol knows it\nnode1.example of both nodes\nnode2.example of both nodes\n";

/// The configuration of a node.
pub fn config(name: u8, settings: &Settings) -> Config {
    let mut certificate = vec![0x30, name];
    certificate.resize(settings.certificate_octets.max(2), 0xa5);
    let credential = Credential {
        key: KeyHandle(u32::from(name)),
        chain: vec![certificate],
        subject: vec![0x30, 0],
        issuers: vec![vec![0x30, 0]],
    };
    Config {
        timers: Timers { phase1: Duration::from_secs(30), phase2: Duration::from_secs(30), ..Timers::default() },
        remotes: vec![Arc::new(RemoteConfig {
            id: RemoteId(0),
            remote: remote(name, settings),
            my_identity: Some(identity(name)),
            credential: Some(credential),
            raw_keys: Arc::default(),
            accepted_issuers: Vec::new(),
        })],
        sainfos: vec![Sainfo {
            local: SainfoId::Anonymous,
            remote: SainfoId::Anonymous,
            from: None,
            group: None,
            pfs_group: settings.pfs,
            lifetime: Lifetime { time: settings.phase2_life, kilobytes: None },
            ciphers: vec![SizedCipher { cipher: Cipher::Aes, key_bits: Some(256) }],
            integrity: vec![Some(Integrity::Hmac(Hash::Sha256))],
            remote_id: 0,
            esn: Esn::Off,
            allow_weak: false,
        }],
        mode_cfg: (settings.auth.xauth().is_some() && name == 2).then(|| Arc::new(pool())),
        psks: policy::psk::parse("psk.txt", PSK_FILE).table,
        ..Config::default()
    }
}

impl Node {
    /// Node number `name` (1, 2, ...).
    pub fn new(name: u8, settings: &Settings, seed: u64) -> Self {
        let provider = Arc::new(ToyProvider::new(seed ^ (u64::from(name) << 56)));
        Self {
            addr: IpAddr::from([192, 0, 2, name]),
            endpoint: Endpoint::new(provider, Arc::new(config(name, settings))),
            kernel: Kernel::new(u32::from(name) << 24),
            key: toy_key(name),
            last_acquire: None,
        }
    }

    /// Its ISAKMP socket.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.addr, 500)
    }
}
