//! Peers (racoon.conf: `remote`), resolved: every default filled in, every inheritance applied.

use std::time::Duration;

use super::addr::AddrPort;
use super::identity::{MyIdentifier, PeersIdentifier};
use super::proposal::{Phase1Proposal, ProposalCheck};

/// Whom a `remote` block is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteSelector {
    /// One address.
    Address(AddrPort),
    /// Anyone without a block of his own.
    Anonymous,
}

/// Phase 1 exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeMode {
    /// Identity protection (RFC 2409 §5).
    Main,
    /// Aggressive mode.
    Aggressive,
}

/// A certificate and its key, as file names already joined with `path certificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM or DER; more than one certificate makes a chain, leaf first.
    pub certificate: String,
    /// Private key, PEM, unencrypted.
    pub key: String,
}

/// `rekey`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rekey {
    /// Renegotiate phase 1 before it expires.
    #[default]
    On,
    /// Let it expire.
    Off,
    /// As `On`, whatever DPD says.
    Force,
}

/// `nat_traversal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatTraversal {
    /// Not offered.
    #[default]
    Off,
    /// Offered; UDP encapsulation where a NAT is found (RFC 3947).
    On,
    /// UDP encapsulation whether there is a NAT or not.
    Force,
}

/// `ike_frag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IkeFrag {
    /// Neither offered nor accepted.
    #[default]
    Off,
    /// Offered and accepted; we cut messages for a peer that offers it too.
    On,
    /// As `On`, but we cut large messages from the first on, whatever the peer offers.
    Force,
}

/// `generate_policy`: what a responder does for a peer whose policy is not in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GeneratePolicy {
    /// Refuses its quick mode.
    #[default]
    Off,
    /// Makes the policy, level `require`.
    Require,
    /// Makes the policy, level `unique`: an SA of its own.
    Unique,
}

/// When a hook script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HookEvent {
    /// `phase1_up`: the ISAKMP SA is up, logged in and configured.
    Up,
    /// `phase1_down`: it is gone, and none took its place.
    Down,
    /// `phase1_dead`: dead peer detection has given the peer up.
    Dead,
}

impl HookEvent {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Up, Self::Down, Self::Dead];

    /// racoon's word: in the configuration, and as the script's argument.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "phase1_up",
            Self::Down => "phase1_down",
            Self::Dead => "phase1_dead",
        }
    }
}

/// `script`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookScript {
    /// When it runs.
    pub event: HookEvent,
    /// Its file, already joined with `path script`.
    pub path: String,
}

/// `crl`, an extension: what a CRL that is missing, or whose nextUpdate has passed, does to a certificate. What a CRL
/// lists is revoked in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrlStrictness {
    /// As racoon: missing warns, stale refuses.
    #[default]
    Racoon,
    /// Both warn. keylime's CRLs are born stale.
    Lax,
    /// Both refuse.
    Strict,
}

/// Dead peer detection (RFC 3706).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpd {
    /// Is the vendor ID sent, so that the peer may probe us?
    pub offered: bool,
    /// Probe a peer that was silent for so long; zero never probes.
    pub delay: Duration,
    /// Gap between unanswered probes.
    pub retry: Duration,
    /// Unanswered probes after which the peer is dead.
    pub max_failures: u32,
}

impl Default for Dpd {
    fn default() -> Self {
        Self { offered: true, delay: Duration::ZERO, retry: Duration::from_secs(5), max_failures: 5 }
    }
}

/// One `remote` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name: `anonymous`, the address, or the quoted name.
    pub name: String,
    /// Whom it is for.
    pub selector: RemoteSelector,
    /// Exchanges: the first is used as initiator, any as responder.
    pub exchange_modes: Vec<ExchangeMode>,
    /// Who we are.
    pub my_identifier: MyIdentifier,
    /// Who the peer may be; empty accepts anyone.
    pub peers_identifiers: Vec<PeersIdentifier>,
    /// Must the received identity match `peers_identifiers` (and, for addresses, the certificate)?
    pub verify_identifier: bool,
    /// Our certificate and key.
    pub certificate: Option<CertificateFiles>,
    /// `certificate_type plain_rsa`: our private keys without certificates, instead of `certificate`.
    pub rsa_private: Option<String>,
    /// `ca_type x509`: the trust anchors' file. `None`: only `path certificate`'s hashed files and the system's default.
    pub ca_file: Option<String>,
    /// `peers_certfile`: the peer's certificate itself; CERT payloads are then ignored.
    pub peers_certfile: Option<String>,
    /// `peers_certfile plain_rsa`: public keys of peers without certificates, instead of `peers_certfile`.
    pub rsa_public: Option<String>,
    /// Is the peer's certificate judged?
    pub verify_cert: bool,
    /// How much a CRL is insisted on.
    pub crl: CrlStrictness,
    /// Do we send our certificate?
    pub send_cert: bool,
    /// Do we send certificate requests?
    pub send_cr: bool,
    /// Does an empty certificate request select this block?
    pub match_empty_cr: bool,
    /// Octets of our nonces, 8..=256.
    pub nonce_size: usize,
    /// Responder only.
    pub passive: bool,
    /// Send INITIAL-CONTACT.
    pub initial_contact: bool,
    /// Treatment of differing proposals.
    pub proposal_check: ProposalCheck,
    /// Phase 1 proposals in the order they are offered.
    pub proposals: Vec<Phase1Proposal>,
    /// Renegotiation of phase 1.
    pub rekey: Rekey,
    /// `ph1id`.
    pub ph1id: u32,
    /// UDP encapsulation through NATs.
    pub nat_traversal: NatTraversal,
    /// IKE fragmentation.
    pub ike_frag: IkeFrag,
    /// Dead peer detection.
    pub dpd: Dpd,
    /// Policies for peers that have none in the kernel.
    pub generate_policy: GeneratePolicy,
    /// Do the IDs of quick mode name the SA's endpoints, whatever the policy says?
    pub support_proxy: bool,
    /// As client: ask for a configuration after phase 1 (ISAKMP mode config).
    pub mode_cfg: bool,
    /// As server: give the peer its configuration without being asked (`mode_cfg push`, not known to racoon).
    pub mode_cfg_push: bool,
    /// `script`, one of each event at most.
    pub scripts: Vec<HookScript>,
    /// Our XAuth user name, as client.
    pub xauth_login: Option<String>,
    /// Truncate HMAC-SHA2-256 to 96 bits in ESP, for peers that do (racoon on Linux).
    pub sha256_96: bool,
    /// `allow_weak`, an extension: broken algorithms that the block names are negotiated.
    pub allow_weak: bool,
}

impl Remote {
    /// Are peers known by keys without certificates? Then no certificate that they send means anything. With a key of our
    /// own that has none, peers are known by nothing else either, unless their certificate is named.
    pub fn knows_peers_by_rsa_key(&self) -> bool {
        self.rsa_public.is_some() || (self.rsa_private.is_some() && self.peers_certfile.is_none())
    }
}

impl Default for Remote {
    /// racoon's defaults, for anyone, with nothing to propose yet.
    fn default() -> Self {
        Self {
            name: "anonymous".to_owned(),
            selector: RemoteSelector::Anonymous,
            exchange_modes: vec![ExchangeMode::Main],
            my_identifier: MyIdentifier::LocalAddress,
            peers_identifiers: Vec::new(),
            verify_identifier: false,
            certificate: None,
            rsa_private: None,
            ca_file: None,
            peers_certfile: None,
            rsa_public: None,
            verify_cert: true,
            crl: CrlStrictness::default(),
            send_cert: true,
            send_cr: true,
            match_empty_cr: false,
            nonce_size: 16,
            passive: false,
            initial_contact: true,
            proposal_check: ProposalCheck::default(),
            proposals: Vec::new(),
            rekey: Rekey::default(),
            ph1id: 0,
            nat_traversal: NatTraversal::default(),
            ike_frag: IkeFrag::default(),
            dpd: Dpd::default(),
            generate_policy: GeneratePolicy::default(),
            support_proxy: false,
            mode_cfg: false,
            mode_cfg_push: false,
            scripts: Vec::new(),
            xauth_login: None,
            sha256_96: false,
            allow_weak: false,
        }
    }
}

/// racoon.conf: `timer {}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Resends of an unanswered message.
    pub counter: u32,
    /// Time to the first resend; the next ones back off.
    pub interval: Duration,
    /// Copies of each send.
    pub persend: u32,
    /// A phase 1 must be up within.
    pub phase1: Duration,
    /// A phase 2 must be up within.
    pub phase2: Duration,
    /// Gap between NAT keepalives; zero sends none.
    pub natt_keepalive: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            counter: 5,
            interval: Duration::from_secs(10),
            persend: 1,
            phase1: Duration::from_secs(30),
            phase2: Duration::from_secs(30),
            natt_keepalive: Duration::from_secs(20),
        }
    }
}
