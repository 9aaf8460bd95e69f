//! Offering and choosing IPsec SAs (RFC 2407 §4.5, RFC 2409 §5.5). Proposals of the same number belong together: each of
//! their protocols is taken, or none (RFC 2408 §4.2).

use std::time::Duration;

use policy::model::algorithm::{Cipher, Group, Integrity, Strength};
use policy::model::lifetime::{DEFAULT_LIFETIME, Lifetime};
use policy::model::proposal::ProposalCheck;
use policy::model::sa::{Mode, Protocol, Spi};
use policy::model::sainfo::{Esn, Sainfo};

use super::exchange::{Spis, protocol_id};
pub(crate) use super::suite::{ChildSuite, Protection};
use super::suite::{DEFLATE, needs_integrity};
use super::wish::Layer;
use super::words;
use crate::error::ExchangeError;
use crate::event::policies::Offers;
use crate::nat::Framing;
use crate::phase1::proposal::{
    key_acceptable, life_seconds, long_life, mismatched_life, number, same_attributes, sized, small,
};
use crate::traits::Nat;
use crate::wire::attribute::Attribute;
use crate::wire::number::{ProtocolId, encapsulation, extended_sequence, phase2_attr};
use crate::wire::sa::{Proposal, SaPayload, Transform};

/// AH signs the addresses that a NAT changes, and there is no UDP around it (RFC 3948 §1).
///
/// # Errors
/// [`ExchangeError::Local`].
pub(crate) fn passes_nat(layers: &[Layer], framing: Framing) -> Result<(), ExchangeError> {
    if framing.udp.is_some() && layers.iter().any(|layer| layer.protocol == Protocol::Ah) {
        return Err(ExchangeError::Local("the policy wants AH, which does not pass the NAT between us".to_owned()));
    }
    Ok(())
}

/// Our proposals: a bundle of all that the policy wants, with a transform for each combination that the sainfo allows;
/// then the same without what is optional.
///
/// # Errors
/// [`ExchangeError::Local`] if the sainfo leaves nothing to offer.
pub(crate) fn offer(
    sainfo: &Sainfo,
    framing: Framing,
    layers: &[Layer],
    spis: &Spis,
) -> Result<SaPayload, ExchangeError> {
    let mut proposals = Vec::new();
    let has_optional = layers.iter().any(|layer| layer.optional);
    for number in 1..=if has_optional { 2 } else { 1 } {
        for layer in layers.iter().filter(|layer| number == 1 || !layer.optional) {
            let protocol = layer.protocol;
            let transforms: Vec<Transform> = (1..=u8::MAX)
                .zip(Protection::allowed(protocol, sainfo))
                .map(|(number, protection)| Transform {
                    number,
                    id: protection.transform(),
                    attributes: protection.attributes(framing, sainfo.pfs_group, sainfo.lifetime),
                })
                .collect();
            if transforms.is_empty() {
                let name = protocol.log_name();
                return Err(ExchangeError::Local(format!("the sainfo leaves no algorithm to propose for {name}")));
            }
            let spi = written(protocol, spis.of(protocol));
            proposals.push(Proposal { number, protocol: protocol_id(protocol), spi, transforms });
        }
    }
    Ok(SaPayload::new(proposals))
}

/// An SPI as it is sent: a CPI of IPComp has two octets (RFC 3173 §4.1).
fn written(protocol: Protocol, spi: Spi) -> Vec<u8> {
    let octets = spi.0.to_be_bytes();
    match protocol {
        Protocol::Ipcomp => octets.get(2..).unwrap_or_default().to_vec(),
        Protocol::Esp | Protocol::Ah => octets.to_vec(),
    }
}

/// The peer's SPI: four octets, at least 256 (RFC 4303 §2.1). A CPI may be sent in two octets or in four, and is one of
/// those that are negotiated (RFC 3173 §3.3).
fn read_spi(protocol: Protocol, octets: &[u8]) -> Option<Spi> {
    match (protocol, octets) {
        (Protocol::Ipcomp, [high, low] | [0, 0, high, low]) => {
            Some(Spi(u32::from(u16::from_be_bytes([*high, *low])))).filter(|spi| (0x100..=0xefff).contains(&spi.0))
        }
        (Protocol::Ipcomp, _) => None,
        (_, octets) => {
            let octets: [u8; 4] = octets.try_into().ok()?;
            Some(Spi(u32::from_be_bytes(octets))).filter(|spi| *spi >= Spi::MIN)
        }
    }
}

fn protocol_of(number: ProtocolId) -> Option<Protocol> {
    [Protocol::Esp, Protocol::Ah, Protocol::Ipcomp].into_iter().find(|protocol| protocol_id(*protocol) == number)
}

/// Checks the responder's answer against what we offered; gives the suite and the responder's SPIs.
///
/// # Errors
/// [`ExchangeError::AlteredProposal`].
pub(crate) fn check_answer(
    answer: &SaPayload,
    sainfo: &Sainfo,
    framing: Framing,
    layers: &[Layer],
) -> Result<(ChildSuite, Vec<(Protocol, Spi)>), ExchangeError> {
    let altered = ExchangeError::AlteredProposal;
    let (mut protections, mut spis) = (Vec::<Protection>::new(), Vec::new());
    let number = answer.proposals.first().map(|proposal| proposal.number);
    for proposal in &answer.proposals {
        // charon answers a bundle with compression twice: whole, and then once more without it. The first one counts.
        let is_repeated = Some(proposal.number) != number && layers.len() > 1 && !protections.is_empty();
        if is_repeated && protections.iter().any(|other| protocol_id(other.protocol()) == proposal.protocol) {
            continue;
        }
        let [transform] = proposal.transforms.as_slice() else { return Err(altered("not exactly one transform")) };
        let protocol = protocol_of(proposal.protocol)
            .filter(|protocol| layers.iter().any(|layer| layer.protocol == *protocol))
            .ok_or(altered("a protocol that we did not offer"))?;
        if Some(proposal.number) != number || protections.iter().any(|other| other.protocol() == protocol) {
            return Err(altered("not exactly one proposal"));
        }
        let spi = read_spi(protocol, &proposal.spi).ok_or(altered("not a legal SPI"))?;
        let mode = small(&transform.attributes, phase2_attr::ENCAPSULATION);
        let ours = |protection: &Protection| match protection {
            // Compression has no keys: charon answers without group and with a life of its own.
            Protection::Ipcomp => transform.id == DEFLATE && mode.is_none_or(|mode| mode == framing.attribute()),
            _ => {
                protection.transform() == transform.id
                    && same_attributes(
                        &protection.attributes(framing, sainfo.pfs_group, sainfo.lifetime),
                        &transform.attributes,
                    )
            }
        };
        let protection = Protection::allowed(protocol, sainfo).into_iter().find(ours);
        protections.push(protection.ok_or(altered("the transform is none of ours"))?);
        spis.push((protocol, spi));
    }
    let lacks = |layer: &Layer| !layer.optional && protections.iter().all(|other| other.protocol() != layer.protocol);
    if layers.iter().any(lacks) {
        return Err(altered("a protocol that belongs to the proposal is missing"));
    }
    Ok((ChildSuite { framing, protections, group: sainfo.pfs_group, lifetime: sainfo.lifetime }, spis))
}

/// The proposals in bundles, in the peer's order.
fn bundles(offered: &SaPayload) -> Vec<Vec<&Proposal>> {
    let mut bundles: Vec<Vec<&Proposal>> = Vec::new();
    for proposal in &offered.proposals {
        let same = |bundle: &&mut Vec<&Proposal>| bundle.first().is_some_and(|first| first.number == proposal.number);
        match bundles.iter_mut().find(same) {
            Some(bundle) => bundle.push(proposal),
            None => bundles.push(vec![proposal]),
        }
    }
    bundles
}

/// The protocols of a bundle; `None` if one is unknown or stands twice.
fn protocols(bundle: &[&Proposal]) -> Option<Vec<Protocol>> {
    let mut list = Vec::new();
    for proposal in bundle {
        let protocol = protocol_of(proposal.protocol)?;
        if list.contains(&protocol) {
            return None;
        }
        list.push(protocol);
    }
    Some(list)
}

/// Which protocols the peer proposes together.
pub(crate) fn offers(offered: &SaPayload) -> Offers {
    let sets = bundles(offered).into_iter().filter_map(|bundle| protocols(&bundle));
    sets.fold(Offers::default(), |offers, set| offers.with(&set))
}

/// The main protocol of the peer's first proposal.
///
/// # Errors
/// [`ExchangeError::NoProposalChosen`] for compression alone, which protects nothing, and for unknown protocols.
pub(crate) fn main_protocol(offered: &SaPayload) -> Result<Protocol, ExchangeError> {
    let sets: Vec<Vec<Protocol>> = bundles(offered).into_iter().filter_map(|bundle| protocols(&bundle)).collect();
    let main = |set: &Vec<Protocol>| [Protocol::Esp, Protocol::Ah].into_iter().find(|main| set.contains(main));
    sets.iter().find_map(main).ok_or_else(|| {
        ExchangeError::NoProposalChosen(format!("peer offers {}; ESP or AH must be in it", words::offered(offered)))
    })
}

/// The mode of the peer's first bundle: tunnel if one of its protocols makes one; where none is named, hosts that speak
/// for themselves mean transport.
pub(crate) fn offered_framing(offered: &SaPayload, between_ends: bool, nat: &Nat) -> Result<Framing, ExchangeError> {
    let bundles = bundles(offered);
    let first = bundles.iter().find(|bundle| protocols(bundle).is_some()).map_or(&[][..], Vec::as_slice);
    let values = first.iter().filter_map(|proposal| proposal.transforms.first());
    let values: Vec<Option<u16>> =
        values.map(|transform| small(&transform.attributes, phase2_attr::ENCAPSULATION)).collect();
    let tunnel = [encapsulation::TUNNEL, encapsulation::UDP_TUNNEL, encapsulation::UDP_TUNNEL_DRAFT];
    let named = values.iter().flatten().find(|value| tunnel.contains(value)).or_else(|| values.iter().flatten().next());
    match named {
        Some(value) => Framing::read(*value, nat),
        None if between_ends => Ok(Framing::on(nat, Mode::Transport)),
        None => Ok(Framing::on(nat, Mode::Tunnel)),
    }
}

/// What a responder chose.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) suite: ChildSuite,
    /// `claim`: the peer's life, longer than ours, which is to be told to it (RFC 2407 §4.6.3.1).
    pub(crate) claimed: Option<Duration>,
    /// The peer's proposals, each with the transform that was chosen, and its protocol and SPI.
    taken: Vec<(Protocol, Spi, Proposal)>,
}

impl Choice {
    /// The answer: the chosen transforms unchanged, with our inbound SPIs.
    pub(crate) fn answer(&self, spis: &Spis) -> SaPayload {
        let answer = |(protocol, _, proposal): &(Protocol, Spi, Proposal)| {
            let spi = match (protocol, proposal.spi.len()) {
                // In the size that the peer uses.
                (Protocol::Ipcomp, 4) => spis.of(*protocol).0.to_be_bytes().to_vec(),
                _ => written(*protocol, spis.of(*protocol)),
            };
            Proposal { spi, ..proposal.clone() }
        };
        SaPayload::new(self.taken.iter().map(answer).collect())
    }

    /// The peer's inbound SPIs: our outbound ones.
    pub(crate) fn spis(&self) -> Vec<(Protocol, Spi)> {
        self.taken.iter().map(|(protocol, spi, _)| (*protocol, *spi)).collect()
    }
}

/// Chooses in the peer's order the first bundle that the policy wants, of each of its protocols the first transform that
/// the sainfo accepts.
///
/// # Errors
/// [`ExchangeError::NoProposalChosen`] with what was offered, what we allow, and the nearest difference.
pub(crate) fn choose(
    offered: &SaPayload,
    sainfo: &Sainfo,
    framing: Framing,
    layers: &[Layer],
    check: ProposalCheck,
) -> Result<Choice, ExchangeError> {
    let terms = Terms { sainfo, framing, check };
    let mut nearest: Option<Vec<String>> = None;
    for bundle in bundles(offered) {
        match terms.bundle(&bundle, layers) {
            Ok(choice) => return Ok(choice),
            Err(differences) if nearest.as_ref().is_none_or(|least| differences.len() < least.len()) => {
                nearest = Some(differences);
            }
            Err(_) => {}
        }
    }
    let (theirs, ours) = (words::offered(offered), words::allowed(layers, sainfo));
    let nearest = nearest.unwrap_or_default().join(", ");
    Err(ExchangeError::NoProposalChosen(format!("peer offers {theirs}; ours is {ours}; nearest difference: {nearest}")))
}

/// What a transform is held against.
struct Terms<'a> {
    sainfo: &'a Sainfo,
    framing: Framing,
    check: ProposalCheck,
}

/// A transform that may be taken.
struct Accepted {
    protection: Protection,
    group: Option<Group>,
    time: Duration,
    claimed: Option<Duration>,
}

impl Terms<'_> {
    fn bundle(&self, bundle: &[&Proposal], layers: &[Layer]) -> Result<Choice, Vec<String>> {
        let Some(set) = protocols(bundle) else {
            let names: Vec<String> = bundle.iter().map(|proposal| words::protocol(proposal.protocol)).collect();
            return Err(vec![format!("protocols {} cannot go together", names.join(" + "))]);
        };
        let lacking = layers.iter().filter(|layer| !layer.optional && !set.contains(&layer.protocol));
        let lacking = lacking.map(|layer| format!("the policy wants {}", layer.protocol.log_name()));
        let beyond = set.iter().filter(|protocol| layers.iter().all(|layer| layer.protocol != **protocol));
        let beyond = beyond.map(|protocol| format!("the policy wants no {}", protocol.log_name()));
        let mut differences: Vec<String> = lacking.chain(beyond).collect();
        if !differences.is_empty() {
            return Err(differences);
        }
        let (mut taken, mut accepted) = (Vec::new(), Vec::<Accepted>::new());
        for (proposal, protocol) in bundle.iter().zip(set) {
            let Some(spi) = read_spi(protocol, &proposal.spi) else {
                differences.push(format!("the SPI of {} is not a legal one", protocol.log_name()));
                continue;
            };
            let mode =
                layers.iter().find(|layer| layer.protocol == protocol).map_or(self.framing.mode, |layer| layer.mode);
            match self.transform(proposal, protocol, mode) {
                Ok((transform, one)) => {
                    let chosen = Proposal { transforms: vec![transform.clone()], ..(*proposal).clone() };
                    taken.push((protocol, spi, chosen));
                    accepted.push(one);
                }
                Err(more) => differences.extend(more),
            }
        }
        let group = accepted.iter().find_map(|one| one.group);
        let is_main = |one: &&Accepted| one.protection.protocol() != Protocol::Ipcomp;
        // Compression has no keys of its own, and some peers leave the group out there.
        if accepted.iter().filter(is_main).any(|one| one.group != group) {
            differences.push("the PFS group differs from protocol to protocol".to_owned());
        }
        if !differences.is_empty() {
            return Err(differences);
        }
        let time = accepted.iter().map(|one| one.time).min().unwrap_or(self.sainfo.lifetime.time);
        let claimed = accepted.iter().find_map(|one| one.claimed);
        let lifetime = Lifetime { time, kilobytes: self.sainfo.lifetime.kilobytes };
        let protections = accepted.into_iter().map(|one| one.protection).collect();
        Ok(Choice { suite: ChildSuite { framing: self.framing, protections, group, lifetime }, claimed, taken })
    }

    /// The first transform of a proposal that may be taken, or how the nearest one differs.
    fn transform<'p>(
        &self,
        proposal: &'p Proposal,
        protocol: Protocol,
        mode: Mode,
    ) -> Result<(&'p Transform, Accepted), Vec<String>> {
        let mut nearest: Option<Vec<String>> = None;
        for transform in &proposal.transforms {
            match self.accept(transform, protocol, mode) {
                Ok(accepted) => return Ok((transform, accepted)),
                Err(differences) if nearest.as_ref().is_none_or(|least| differences.len() < least.len()) => {
                    nearest = Some(differences);
                }
                Err(_) => {}
            }
        }
        Err(nearest.unwrap_or_default())
    }

    fn accept(&self, transform: &Transform, protocol: Protocol, mode: Mode) -> Result<Accepted, Vec<String>> {
        let list = transform.attributes.as_slice();
        let mut differences = Vec::new();
        let protection = match protocol {
            Protocol::Esp => self.esp(transform, &mut differences),
            Protocol::Ah => self.ah(transform, &mut differences),
            Protocol::Ipcomp if transform.id == DEFLATE => Some(Protection::Ipcomp),
            Protocol::Ipcomp => {
                differences.push(format!("compression {} (ours deflate)", transform.id));
                None
            }
        };
        // Of a bundle, only one protocol makes the tunnel; some peers say tunnel for all, some transport for the others.
        let framings = [self.framing, Framing { mode, ..self.framing }];
        let value = small(list, phase2_attr::ENCAPSULATION);
        if value.is_some_and(|value| framings.iter().all(|framing| framing.attribute() != value)) {
            differences.push(format!("encapsulation mode mismatched (ours {})", self.framing.mode.name()));
        }
        let group = match protocol {
            Protocol::Ipcomp => None,
            _ => pfs_group(list, self.sainfo, self.check).unwrap_or_else(|why| {
                differences.push(why);
                None
            }),
        };
        let life = life(list, self.sainfo.lifetime.time, self.check);
        if let Err(why) = &life {
            differences.push(why.clone());
        }
        match (protection, life) {
            (Some(protection), Ok((time, claimed))) if differences.is_empty() => {
                Ok(Accepted { protection, group, time, claimed })
            }
            _ => Err(differences),
        }
    }

    fn esp(&self, transform: &Transform, differences: &mut Vec<String>) -> Option<Protection> {
        let list = transform.attributes.as_slice();
        let cipher = Cipher::from_esp(transform.id)
            .filter(|cipher| cipher.facts().supported)
            .and_then(|cipher| sized(cipher, small(list, phase2_attr::KEY_LENGTH)))
            .filter(|peer| self.sainfo.ciphers.iter().any(|own| key_acceptable(*peer, *own, self.check)));
        if cipher.is_none() {
            differences.push(format!("trns_id mismatched: {}", words::algorithms(ProtocolId::ESP, transform)));
        }
        let auth = number(list, phase2_attr::AUTH);
        let integrity = auth.and_then(|value| u16::try_from(value).ok()).and_then(Integrity::from_auth);
        let known = auth.is_none() || integrity.is_some();
        let fits = match cipher {
            Some(cipher) if cipher.is_aead() => auth.is_none(),
            Some(cipher) if needs_integrity(cipher.cipher) => {
                self.sainfo.integrity.contains(&integrity) && integrity.is_some()
            }
            Some(_) => self.sainfo.integrity.contains(&integrity),
            None => self.sainfo.integrity.contains(&integrity) || self.sainfo.integrity.is_empty(),
        };
        if !known || !fits {
            differences.push(format!("authtype mismatched: {}", words::algorithms(ProtocolId::ESP, transform)));
        }
        let esn = self.esn(list, differences);
        Some(Protection::Esp { cipher: cipher?, integrity, esn })
    }

    /// The transform and the attribute say the same thing twice, and must agree (RFC 2407 §4.4.3).
    fn ah(&self, transform: &Transform, differences: &mut Vec<String>) -> Option<Protection> {
        let list = transform.attributes.as_slice();
        let attribute = small(list, phase2_attr::AUTH).and_then(Integrity::from_auth);
        let integrity = Integrity::from_ah(transform.id)
            .filter(|integrity| attribute == Some(*integrity) && self.sainfo.integrity.contains(&attribute));
        if integrity.is_none() {
            differences.push(format!("authtype mismatched: {}", words::algorithms(ProtocolId::AH, transform)));
        }
        let esn = self.esn(list, differences);
        Some(Protection::Ah { integrity: integrity?, esn })
    }

    /// Both sides use extended sequence numbers, or none does (RFC 4304 §2).
    fn esn(&self, list: &[Attribute], differences: &mut Vec<String>) -> bool {
        let peer = match number(list, phase2_attr::EXTENDED_SEQUENCE) {
            None => Some(false),
            Some(value) => (value == u64::from(extended_sequence::BITS_64)).then_some(true),
        };
        let fits = match (self.sainfo.esn, peer) {
            (_, None) | (Esn::Off, Some(true)) | (Esn::On, Some(false)) => false,
            (Esn::Off, Some(false)) | (Esn::On, Some(true)) | (Esn::Prefer, Some(_)) => true,
        };
        if !fits {
            differences.push(format!("extended sequence numbers mismatched (ours {})", words::esn(self.sainfo.esn)));
        }
        peer.unwrap_or(false)
    }
}

/// RACOON 5.5: obey lets the peer decide; strict and claim insist on our group if we have one; exact on equality. A
/// broken group is nobody's to choose but the configuration's.
fn pfs_group(attributes: &[Attribute], sainfo: &Sainfo, check: ProposalCheck) -> Result<Option<Group>, String> {
    let own = sainfo.pfs_group;
    let peer = match number(attributes, phase2_attr::GROUP) {
        None => None,
        Some(number) => Some(
            u16::try_from(number)
                .ok()
                .and_then(Group::from_number)
                .filter(|group| group.strength() != Strength::Broken || own == Some(*group))
                .ok_or_else(|| format!("group {number} is not supported"))?,
        ),
    };
    let acceptable = match check {
        ProposalCheck::Obey => true,
        ProposalCheck::Strict | ProposalCheck::Claim => own.is_none() || own == peer,
        ProposalCheck::Exact => own == peer,
    };
    let words = |group: Option<Group>| group.map_or(0, Group::number);
    if acceptable { Ok(peer) } else { Err(format!("pfs group mismatched: my:{} peer:{}", words(own), words(peer))) }
}

/// RACOON 5.5: obey takes the peer's life, strict refuses a longer one, claim cuts it to ours and says so.
fn life(attributes: &[Attribute], own: Duration, check: ProposalCheck) -> Result<(Duration, Option<Duration>), String> {
    let peer = life_seconds(attributes, phase2_attr::LIFE_TYPE, phase2_attr::LIFE_DURATION).unwrap_or(DEFAULT_LIFETIME);
    if peer.is_zero() {
        return Err("a lifetime of 0 seconds".to_owned());
    }
    match check {
        ProposalCheck::Obey => Ok((peer, None)),
        ProposalCheck::Strict if peer > own => Err(long_life(own, peer)),
        ProposalCheck::Claim if peer > own => Ok((own, Some(peer))),
        ProposalCheck::Strict | ProposalCheck::Claim => Ok((peer, None)),
        ProposalCheck::Exact if peer != own => Err(mismatched_life(own, peer)),
        ProposalCheck::Exact => Ok((peer, None)),
    }
}

#[cfg(test)]
mod tests;
