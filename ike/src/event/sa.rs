//! SAs as the core and its driver speak of them: named, asked for, installed, moved, taken over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use policy::model::algorithm::{Integrity, SizedCipher};
use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::secret::Secret;
use policy::model::selector::Selector;

use super::policies::Companions;
use super::question::CertificateId;

/// One pair of IPsec SAs (inbound and outbound) made by one quick mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(pub u64);

/// Names an SA in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaName {
    /// Protocol.
    pub protocol: Protocol,
    /// SPI.
    pub spi: Spi,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
}

/// For [`Output::AllocateSpi`](super::Output::AllocateSpi): the SA will run from `src` (the peer) to `dst` (us); for
/// [`Output::ForgetAcquire`](super::Output::ForgetAcquire) the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiRequest {
    /// Protocol.
    pub protocol: Protocol,
    /// Mode.
    pub mode: Mode,
    /// reqid.
    pub reqid: ReqId,
    /// The peer.
    pub src: IpAddr,
    /// Us.
    pub dst: IpAddr,
}

/// Which way an SA carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaDirection {
    /// From the peer to us.
    Inbound,
    /// From us to the peer.
    Outbound,
}

/// UDP encapsulation of ESP (RFC 3948).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpEncapsulation {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// The peer's own idea of its address (NAT-OA, RFC 3947 §5.2); transport mode only.
    pub original_address: Option<IpAddr>,
}

/// One SA as it must stand in the kernel.
#[derive(Clone, Debug)]
pub struct SaInstall {
    /// The child it belongs to.
    pub child: ChildId,
    /// Direction.
    pub direction: SaDirection,
    /// Protocol, SPI and addresses.
    pub name: SaName,
    /// Mode.
    pub mode: Mode,
    /// reqid.
    pub reqid: ReqId,
    /// The packets it is for, in the direction of the SA.
    pub selector: Selector,
    /// Cipher; `None` for AH and IPComp.
    pub cipher: Option<SizedCipher>,
    /// Its key (RFC 2409 §5.5, encryption key first), the salt behind it where there is one.
    pub cipher_key: Secret,
    /// Integrity algorithm; `None` is no integrity protection, or that of the cipher itself.
    pub integrity: Option<Integrity>,
    /// Its key; empty without `integrity`.
    pub integrity_key: Secret,
    /// ICV length in bits.
    pub icv_bits: u16,
    /// Extended sequence numbers (RFC 4304).
    pub esn: bool,
    /// The kernel announces the SA's end after this time (soft limit).
    pub soft: Duration,
    /// The kernel drops the SA after this time (hard limit).
    pub hard: Duration,
    /// Hard limit in octets; the kernel's soft limit is 80 % of it.
    pub hard_octets: Option<u64>,
    /// Packets of replay protection, at least 64.
    pub replay_window: u32,
    /// UDP encapsulation.
    pub encapsulation: Option<UdpEncapsulation>,
    /// Who is at the other end, for the journal and for listings.
    pub owner: Arc<Owner>,
    /// SPI of the SA of the opposite direction.
    pub twin: Spi,
    /// Of an SA beside the child's main one: the inbound SA of the main protocol.
    pub beside: Option<SaName>,
}

/// Both SAs of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaPair {
    /// Inbound SA.
    pub inbound: SaName,
    /// Outbound SA.
    pub outbound: SaName,
}

/// For [`Output::MoveChild`](super::Output::MoveChild).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildMove {
    /// The inbound SA so far.
    pub inbound: SaName,
    /// The outbound SA so far.
    pub outbound: SaName,
    /// The child from now on. What is not in the kernel yet will be installed so.
    pub child: AdoptedChild,
}

/// Who made an SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// The authenticated phase 1 identity.
    pub identity: Identity,
    /// Certificates the authentication rests on, leaf first, the root last; empty for pre-shared keys.
    pub certificates: Vec<CertificateId>,
    /// Issuer of the leaf, one line.
    pub issuer: Option<String>,
    /// ISAKMP cookies, initiator's first.
    pub cookies: ([u8; 8], [u8; 8]),
}

/// A child that stands in the kernel: made before this daemon started, or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedChild {
    /// Who made it.
    pub owner: Owner,
    /// Inbound SA.
    pub inbound: SaName,
    /// Outbound SA.
    pub outbound: SaName,
    /// Mode.
    pub mode: Mode,
    /// reqid.
    pub reqid: ReqId,
    /// Outbound selector.
    pub selector: Selector,
    /// What its policy wants beside the main protocol.
    pub companions: Companions,
    /// The SAs beside `inbound` and `outbound`.
    pub beside: Vec<SaPair>,
    /// In a [`ChildMove`] of SAs beside the main ones: the main inbound SA.
    pub main: Option<SaName>,
    /// Encapsulation of the outbound SA.
    pub encapsulation: Option<UdpEncapsulation>,
    /// Time left until it should be renewed.
    pub soft_in: Duration,
    /// Time left until the kernel drops it.
    pub hard_in: Duration,
    /// Was its policy made for it ([`Output::InstallPolicy`](super::Output::InstallPolicy))?
    pub generated: bool,
}
