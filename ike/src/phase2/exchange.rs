//! What both roles of quick mode share: shapes, the pair of SAs that the exchange gives, and its keys.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::model::algorithm::{AuthMethod, Group};
use policy::model::remote::{ExchangeMode, Remote};
use policy::model::sa::{Protocol, Spi};
use policy::model::secret::Secret;

use super::proposal::ChildSuite;
use super::wish::{ChildKey, Layer};
use crate::config::RemoteConfig;
use crate::context::{Context, JobOwner, Path};
use crate::crypto::keymat::keymat;
use crate::crypto::provider::{CryptoError, DhPair};
use crate::error::ExchangeError;
use crate::event::sa::{ChildId, Owner, SaDirection, SaInstall, SaName, SaPair, SpiRequest, UdpEncapsulation};
use crate::event::{JobId, Output};
use crate::message::Role;
use crate::nat::Framing;
use crate::payloads::{Shape, legal_nonce};
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
    /// Which exchange phase 1 was.
    pub(crate) mode: ExchangeMode,
    /// How phase 1 was authenticated; [`AuthMethod::xauth`] says what must still follow.
    pub(crate) auth: AuthMethod,
    /// The address that mode config gave the peer.
    pub(crate) assigned: Option<IpAddr>,
    /// Groups of the user who logged in.
    pub(crate) groups: Box<[String]>,
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
    /// Asks for the SPIs of the inbound SAs.
    pub(crate) fn allocate_spis(&mut self, key: &ChildKey, layers: Vec<Layer>) -> Spis {
        let ChildKey { local, peer, .. } = *key;
        let mut ask = |layer: Layer| {
            let Layer { protocol, mode, reqid, .. } = layer;
            (self.cx.allocate_spi(self.owner, SpiRequest { protocol, mode, reqid, src: peer, dst: local }), protocol)
        };
        Spis { waiting: layers.into_iter().map(&mut ask).collect(), given: Vec::new() }
    }

    /// Starts the installation of SAs.
    pub(crate) fn install(&mut self, sas: Vec<SaInstall>) -> Installation {
        let mut install = |sa| {
            let job = self.cx.job(self.owner);
            self.cx.emit(Output::InstallSa { job, sa: Box::new(sa) });
            job
        };
        Installation { waiting: sas.into_iter().map(&mut install).collect() }
    }

    /// A pair for PFS, if a group is agreed.
    pub(crate) fn pfs_pair(&self, group: Option<Group>) -> Result<Option<DhPair>, CryptoError> {
        group.map(|group| self.cx.provider.dh_generate(group)).transpose()
    }
}

/// The number of a protocol in proposals, notifies and DELETEs (RFC 2407 §4.4.1).
pub(crate) fn protocol_id(protocol: Protocol) -> ProtocolId {
    match protocol {
        Protocol::Esp => ProtocolId::ESP,
        Protocol::Ah => ProtocolId::AH,
        Protocol::Ipcomp => ProtocolId::IPCOMP,
    }
}

/// SPIs of inbound SAs, by protocol; the kernel is asked for one after the other.
#[derive(Debug, Default)]
pub(crate) struct Spis {
    waiting: Vec<(JobId, Protocol)>,
    given: Vec<(Protocol, Spi)>,
}

impl Spis {
    /// Is this the answer to one of the questions?
    pub(crate) fn asked(&self, job: JobId) -> bool {
        self.waiting.iter().any(|(asked, _)| *asked == job)
    }

    /// Takes an answer. Was it the last?
    pub(crate) fn take(&mut self, job: JobId, result: Result<Spi, String>) -> Result<bool, ExchangeError> {
        let spi = result.map_err(|why| ExchangeError::Local(format!("the kernel gives no SPI: {why}")))?;
        if let Some(at) = self.waiting.iter().position(|(asked, _)| *asked == job) {
            self.given.push((self.waiting.remove(at).1, spi));
        }
        Ok(self.waiting.is_empty())
    }

    /// The SPI of a protocol, 0 if there is none: no peer is ever told that.
    pub(crate) fn of(&self, protocol: Protocol) -> Spi {
        self.given.iter().find(|(of, _)| *of == protocol).map_or(Spi(0), |(_, spi)| *spi)
    }
}

/// Inbound SAs that are being installed.
#[derive(Debug)]
pub(crate) struct Installation {
    waiting: Vec<JobId>,
}

impl Installation {
    /// Is this the answer to one of the questions?
    pub(crate) fn asked(&self, job: JobId) -> bool {
        self.waiting.contains(&job)
    }

    /// Takes an answer. Was it the last?
    pub(crate) fn take(&mut self, job: JobId, result: Result<(), String>) -> Result<bool, ExchangeError> {
        result.map_err(|why| ExchangeError::Local(format!("the kernel refuses the inbound SA: {why}")))?;
        self.waiting.retain(|asked| *asked != job);
        Ok(self.waiting.is_empty())
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

/// The nonce, of legal length.
pub(crate) fn nonce_of(protected: &Protected) -> Result<Vec<u8>, ExchangeError> {
    legal_nonce(protected.nonce.as_deref().ok_or(ExchangeError::MissingPayload(PayloadType::NONCE))?)
}

/// SAs, agreed: the inbound ones are being installed, the outbound ones are ready.
#[derive(Debug)]
pub(crate) struct NewChild {
    pub(crate) id: ChildId,
    pub(crate) key: ChildKey,
    pub(crate) inbound: SaName,
    pub(crate) outbound: SaName,
    /// Those of other protocols.
    pub(crate) beside: Vec<SaPair>,
    /// To install when the peer can receive, the main one first.
    pub(crate) outbound_sas: Vec<SaInstall>,
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

/// Makes the inbound SAs and the child with its outbound SAs, one of each for every protocol agreed on. `original` is the peer's own idea of its address.
pub(crate) fn make_child(
    facts: &QuickFacts<'_>,
    id: ChildId,
    (key, suite): (ChildKey, &ChildSuite),
    (inbound_spis, outbound_spis): (&Spis, &[(Protocol, Spi)]),
    seeds: &Seeds<'_>,
    (role, original): (Role, Option<IpAddr>),
) -> (Vec<SaInstall>, NewChild) {
    let hard = suite.lifetime.time;
    let soft = soft_life(facts.cx, role, hard);
    let (mut inbound_sas, mut outbound_sas, mut pairs) = (Vec::new(), Vec::new(), Vec::<SaPair>::new());
    for layer in key.layers() {
        let protocol = layer.protocol;
        let Some(protection) = suite.protection(protocol) else { continue };
        let outbound_spi = outbound_spis.iter().find(|(of, _)| *of == protocol).map_or(Spi(0), |(_, spi)| *spi);
        let inbound = SaName { protocol, spi: inbound_spis.of(protocol), src: key.peer, dst: key.local };
        let outbound = SaName { protocol, spi: outbound_spi, src: key.local, dst: key.peer };
        let beside = pairs.first().map(|main| main.inbound);
        let half = |direction: SaDirection, name: SaName, twin: Spi| {
            let octets = protection.key_octets();
            let sa = &facts.sa.protection;
            let number = protocol_id(protocol);
            let material =
                keymat(sa.sealer.hash, &sa.skeyid_d, seeds.gqm, number, name.spi, seeds.ni, seeds.nr, octets);
            let (cipher_key, integrity_key) = material.expose().split_at(protection.cipher_octets().min(octets));
            SaInstall {
                child: id,
                direction,
                name,
                mode: layer.mode,
                reqid: layer.reqid,
                selector: match direction {
                    SaDirection::Outbound => key.outbound,
                    SaDirection::Inbound => key.outbound.reversed(),
                },
                cipher: protection.cipher(),
                cipher_key: Secret::new(cipher_key.to_vec()),
                integrity: protection.integrity(),
                integrity_key: Secret::new(integrity_key.to_vec()),
                icv_bits: protection.icv_bits(remote(facts)),
                esn: protection.esn(),
                soft,
                hard,
                hard_octets: suite.lifetime.kilobytes.map(|kilobytes| kilobytes.saturating_mul(1024)),
                replay_window: REPLAY_WINDOW,
                // What is inside of ESP has no UDP header of its own.
                encapsulation: (protocol == key.protocol)
                    .then(|| encapsulation(facts, suite.framing, direction, original))
                    .flatten(),
                owner: Arc::clone(&facts.sa.owner),
                twin,
                beside,
            }
        };
        inbound_sas.push(half(SaDirection::Inbound, inbound, outbound.spi));
        outbound_sas.push(half(SaDirection::Outbound, outbound, inbound.spi));
        pairs.push(SaPair { inbound, outbound });
    }
    // The main protocol is agreed on or nothing is.
    let main = pairs.first().copied().unwrap_or_else(|| {
        let spi = Spi(0);
        let protocol = key.protocol;
        SaPair {
            inbound: SaName { protocol, spi, src: key.peer, dst: key.local },
            outbound: SaName { protocol, spi, src: key.local, dst: key.peer },
        }
    });
    let child = NewChild {
        id,
        key,
        inbound: main.inbound,
        outbound: main.outbound,
        beside: pairs.split_off(pairs.len().min(1)),
        outbound_sas,
        role,
        soft,
        hard,
        policy_index: None,
        replaces: None,
    };
    (inbound_sas, child)
}

fn remote<'a>(facts: &'a QuickFacts<'_>) -> &'a Remote {
    &facts.sa.remote.remote
}
