//! What both roles of quick mode share: shapes, the pair of SAs that the exchange gives, and its keys.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::model::algorithm::{AuthMethod, Group};
use policy::model::remote::Remote;
use policy::model::sa::{Protocol, Spi};
use policy::model::secret::Secret;

use super::proposal::ChildSuite;
use super::wish::ChildKey;
use crate::config::RemoteConfig;
use crate::context::{Context, JobOwner, Path};
use crate::crypto::keymat::keymat;
use crate::crypto::provider::{CryptoError, DhPair};
use crate::error::ExchangeError;
use crate::event::{ChildId, JobId, Output, Owner, SaDirection, SaInstall, SaName, SpiRequest, UdpEncapsulation};
use crate::message::Role;
use crate::nat::Framing;
use crate::payloads::Shape;
use crate::protection::{Chain, Protected, Protection};
use crate::traits::PeerTraits;
use crate::wire::identification::IdPayload;
use crate::wire::number::{PayloadType, ProtocolId};

/// Packets of replay protection; the kernel's bitmap makes more than 32 as cheap as 32.
const REPLAY_WINDOW: u32 = 64;

/// QM1 and QM2 (RFC 2409 §5.5): HASH first, SA behind it.
pub(crate) const HASH_SA: Shape = Shape {
    must: &[PayloadType::HASH, PayloadType::SA, PayloadType::NONCE],
    may: &[PayloadType::KE],
    many: &[PayloadType::ID, PayloadType::NOTIFY],
    first: Some(PayloadType::HASH),
};

/// QM3.
pub(crate) const HASH_ONLY: Shape =
    Shape { must: &[PayloadType::HASH], may: &[], many: &[PayloadType::NOTIFY], first: Some(PayloadType::HASH) };

/// What a step of quick mode knows of the ISAKMP SA it runs under.
pub(crate) struct SaFacts {
    pub(crate) path: Path,
    pub(crate) protection: Protection,
    pub(crate) remote: Arc<RemoteConfig>,
    pub(crate) owner: Arc<Owner>,
    pub(crate) traits: PeerTraits,
    pub(crate) role: Role,
    /// How phase 1 was authenticated; [`AuthMethod::xauth`] says what must still follow.
    #[allow(dead_code, reason = "read by XAuth, which must finish before a quick mode begins")]
    pub(crate) auth: AuthMethod,
    /// The address that mode config gave the peer.
    pub(crate) assigned: Option<IpAddr>,
}

impl SaFacts {
    /// The one address that is the peer's own: what mode config gave it, else the one it speaks from.
    pub(crate) fn client_address(&self) -> IpAddr {
        self.assigned.unwrap_or(self.path.peer.ip())
    }
}

/// What a step works with.
pub(crate) struct QuickFacts<'a> {
    pub(crate) cx: &'a mut Context,
    pub(crate) sa: &'a SaFacts,
    pub(crate) chain: &'a mut Chain,
    /// Who answers to outputs belong to.
    pub(crate) owner: JobOwner,
}

impl QuickFacts<'_> {
    /// Asks for the SPI of the inbound SA.
    pub(crate) fn allocate_spi(&mut self, key: &ChildKey) -> JobId {
        let ChildKey { local, peer, mode, protocol, reqid, .. } = *key;
        self.cx.allocate_spi(self.owner, SpiRequest { protocol, mode, reqid, src: peer, dst: local })
    }

    /// Starts the installation of an SA.
    pub(crate) fn install(&mut self, sa: SaInstall) -> JobId {
        let job = self.cx.job(self.owner);
        self.cx.emit(Output::InstallSa { job, sa: Box::new(sa) });
        job
    }

    /// A pair for PFS, if a group is agreed.
    pub(crate) fn pfs_pair(&self, group: Option<Group>) -> Result<Option<DhPair>, CryptoError> {
        group.map(|group| self.cx.provider.dh_generate(group)).transpose()
    }
}

/// Exactly two IDs or none (IKEV1 ID-3).
pub(crate) fn both_or_none(protected: &Protected) -> Result<Option<(IdPayload, IdPayload)>, ExchangeError> {
    match protected.ids.as_slice() {
        [] => Ok(None),
        [first, second] => Ok(Some((first.clone(), second.clone()))),
        more => Err(ExchangeError::InvalidId(format!("{} ID payloads; two or none are legal", more.len()))),
    }
}

/// A nonce of legal length (RFC 2409 §5).
pub(crate) fn legal_nonce(protected: &Protected) -> Result<Vec<u8>, ExchangeError> {
    let nonce = protected.nonce.clone().ok_or(ExchangeError::MissingPayload(PayloadType::NONCE))?;
    if (8..=256).contains(&nonce.len()) { Ok(nonce) } else { Err(ExchangeError::NonceLength(nonce.len())) }
}

/// A pair of SAs, agreed: the inbound one is being installed, the outbound one is ready.
#[derive(Debug)]
pub(crate) struct NewChild {
    pub(crate) id: ChildId,
    pub(crate) key: ChildKey,
    pub(crate) inbound: SaName,
    pub(crate) outbound: SaName,
    /// To install when the peer can receive.
    pub(crate) outbound_sa: Box<SaInstall>,
    /// Our side in the quick mode.
    pub(crate) role: Role,
    /// Renew after this time.
    pub(crate) soft: Duration,
    /// Dead after this time.
    pub(crate) hard: Duration,
    /// The policy whose packets the kernel holds.
    pub(crate) policy_index: Option<u32>,
    /// The child it renews, as far as our side knows.
    pub(crate) replaces: Option<ChildId>,
}

/// What keys are made of.
pub(crate) struct Seeds<'a> {
    pub(crate) ni: &'a [u8],
    pub(crate) nr: &'a [u8],
    pub(crate) gqm: Option<&'a Secret>,
}

/// When to renew, by side: the initiator of the pair renews first, the responder steps in only if it did not
/// (racoon's responder never does); both with jitter.
fn soft_life(cx: &Context, role: Role, hard: Duration) -> Duration {
    match role {
        Role::Initiator => cx.jitter(hard, 75, 85),
        Role::Responder => cx.jitter(hard, 92, 95),
    }
}

/// The UDP ports of an SA are those of the ISAKMP SA (RFC 3948 §2.1).
fn encapsulation(
    facts: &QuickFacts<'_>,
    framing: Framing,
    direction: SaDirection,
    original_address: Option<IpAddr>,
) -> Option<UdpEncapsulation> {
    framing.udp?;
    let Path { local, peer } = facts.sa.path;
    let (src_port, dst_port) = match direction {
        SaDirection::Outbound => (local.port(), peer.port()),
        SaDirection::Inbound => (peer.port(), local.port()),
    };
    Some(UdpEncapsulation { src_port, dst_port, original_address })
}

/// Makes the inbound SA and the child with its outbound SA; `original` is the peer's own idea of its address.
pub(crate) fn make_child(
    facts: &QuickFacts<'_>,
    id: ChildId,
    (key, suite): (ChildKey, ChildSuite),
    (spi_in, spi_out): (Spi, Spi),
    seeds: &Seeds<'_>,
    (role, original): (Role, Option<IpAddr>),
) -> (SaInstall, NewChild) {
    let inbound = SaName { protocol: Protocol::Esp, spi: spi_in, src: key.peer, dst: key.local };
    let outbound = SaName { protocol: Protocol::Esp, spi: spi_out, src: key.local, dst: key.peer };
    let hard = suite.lifetime.time;
    let soft = soft_life(facts.cx, role, hard);
    let half = |direction: SaDirection, name: SaName| {
        let octets = suite.key_octets();
        let protection = &facts.sa.protection;
        let material = keymat(
            protection.sealer.hash,
            &protection.skeyid_d,
            seeds.gqm,
            ProtocolId::ESP,
            name.spi,
            seeds.ni,
            seeds.nr,
            octets,
        );
        let (cipher_key, integrity_key) = material.expose().split_at(suite.cipher.key_octets().min(octets));
        SaInstall {
            child: id,
            direction,
            name,
            mode: suite.framing.mode,
            reqid: key.reqid,
            selector: match direction {
                SaDirection::Outbound => key.outbound,
                SaDirection::Inbound => key.outbound.reversed(),
            },
            cipher: suite.cipher,
            cipher_key: Secret::new(cipher_key.to_vec()),
            integrity: suite.integrity,
            integrity_key: Secret::new(integrity_key.to_vec()),
            icv_bits: suite.icv_bits(remote(facts)),
            soft,
            hard,
            hard_octets: suite.lifetime.kilobytes.map(|kilobytes| kilobytes.saturating_mul(1024)),
            replay_window: REPLAY_WINDOW,
            encapsulation: encapsulation(facts, suite.framing, direction, original),
            owner: Arc::clone(&facts.sa.owner),
            twin: if direction == SaDirection::Inbound { spi_out } else { spi_in },
        }
    };
    let inbound_sa = half(SaDirection::Inbound, inbound);
    let outbound_sa = Box::new(half(SaDirection::Outbound, outbound));
    let child =
        NewChild { id, key, inbound, outbound, outbound_sa, role, soft, hard, policy_index: None, replaces: None };
    (inbound_sa, child)
}

fn remote<'a>(facts: &'a QuickFacts<'_>) -> &'a Remote {
    &facts.sa.remote.remote
}
