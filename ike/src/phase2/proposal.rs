//! Offering and choosing IPsec SAs (RFC 2407 §4.5, RFC 2409 §5.5).

use std::time::Duration;

use policy::model::algorithm::{Cipher, Group, Hash, SizedCipher, Strength};
use policy::model::lifetime::{DEFAULT_LIFETIME, Lifetime};
use policy::model::proposal::ProposalCheck;
use policy::model::remote::Remote;
use policy::model::sa::{Mode, Spi};
use policy::model::sainfo::Sainfo;

use crate::error::ExchangeError;
use crate::nat::Framing;
use crate::phase1::proposal::{
    duration, key_acceptable, life_seconds, long_life, mismatched_life, number, only_transform, same_attributes, short,
    sized, small,
};
use crate::traits::Nat;
use crate::wire::attribute::Attribute;
use crate::wire::number::{ProtocolId, life_type, phase2_attr};
use crate::wire::sa::{Proposal, SaPayload, Transform};

/// What a quick mode agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildSuite {
    pub(crate) framing: Framing,
    pub(crate) cipher: SizedCipher,
    pub(crate) integrity: Option<Hash>,
    pub(crate) group: Option<Group>,
    pub(crate) lifetime: Lifetime,
}

impl ChildSuite {
    /// Octets of keying material for one direction: cipher key, then integrity key (RFC 2409 §5.5).
    pub(crate) fn key_octets(&self) -> usize {
        self.cipher.key_octets() + self.integrity.map_or(0, |hash| hash.facts().output)
    }

    /// ICV length in bits; `sha256_96` serves peers that truncate HMAC-SHA2-256 as old Linux did.
    pub(crate) fn icv_bits(&self, remote: &Remote) -> u16 {
        match self.integrity {
            Some(Hash::Sha256) if remote.sha256_96 => 96,
            Some(hash) => hash.facts().icv_bits,
            None => 0,
        }
    }
}

/// The transforms that a sainfo allows, in its order of preference.
fn suites(sainfo: &Sainfo, framing: Framing) -> impl Iterator<Item = ChildSuite> + '_ {
    sainfo.ciphers.iter().flat_map(move |cipher| {
        sainfo.integrity.iter().filter_map(move |integrity| {
            // No encryption and no integrity is no protection at all (ATTACKS A-19).
            let nothing = cipher.cipher == Cipher::Null && integrity.is_none();
            let usable = cipher.cipher.facts().supported && !nothing;
            usable.then_some(ChildSuite {
                framing,
                cipher: *cipher,
                integrity: *integrity,
                group: sainfo.pfs_group,
                lifetime: sainfo.lifetime,
            })
        })
    })
}

fn attributes(suite: &ChildSuite) -> Vec<Attribute> {
    let seconds = duration(suite.lifetime.time.as_secs());
    let mut list = vec![
        short(phase2_attr::LIFE_TYPE, life_type::SECONDS),
        Attribute { kind: phase2_attr::LIFE_DURATION, value: seconds },
    ];
    if let Some(kilobytes) = suite.lifetime.kilobytes {
        list.push(short(phase2_attr::LIFE_TYPE, life_type::KILOBYTES));
        list.push(Attribute { kind: phase2_attr::LIFE_DURATION, value: duration(kilobytes) });
    }
    list.push(short(phase2_attr::ENCAPSULATION, suite.framing.attribute()));
    if let Some(hash) = suite.integrity {
        list.push(short(phase2_attr::AUTH, hash.facts().esp_auth));
    }
    if suite.cipher.cipher.facts().variable_key
        && let Some(bits) = suite.cipher.key_bits
    {
        list.push(short(phase2_attr::KEY_LENGTH, bits));
    }
    // The same group in every transform (RFC 2409 §5.5).
    if let Some(group) = suite.group {
        list.push(short(phase2_attr::GROUP, group.number()));
    }
    list
}

/// Our proposal: one, for ESP, with a transform for each combination.
///
/// # Errors
/// [`ExchangeError::Local`] if the sainfo leaves nothing to offer.
pub(crate) fn offer(sainfo: &Sainfo, framing: Framing, spi: Spi) -> Result<SaPayload, ExchangeError> {
    let transforms: Vec<Transform> = (1..=u8::MAX)
        .zip(suites(sainfo, framing))
        .map(|(number, suite)| Transform {
            number,
            id: suite.cipher.cipher.facts().esp,
            attributes: attributes(&suite),
        })
        .collect();
    if transforms.is_empty() {
        return Err(ExchangeError::Local("the sainfo leaves no algorithm to propose".to_owned()));
    }
    let spi = spi.0.to_be_bytes().to_vec();
    Ok(SaPayload::new(vec![Proposal { number: 1, protocol: ProtocolId::ESP, spi, transforms }]))
}

/// Checks the responder's answer against what we offered; gives the suite and the responder's SPI.
///
/// # Errors
/// [`ExchangeError::AlteredProposal`].
pub(crate) fn check_answer(
    answer: &SaPayload,
    sainfo: &Sainfo,
    framing: Framing,
) -> Result<(ChildSuite, Spi), ExchangeError> {
    let transform = only_transform(answer)?;
    let proposal = answer.proposals.first().ok_or(ExchangeError::AlteredProposal("no proposal"))?;
    if proposal.protocol != ProtocolId::ESP {
        return Err(ExchangeError::AlteredProposal("not ESP"));
    }
    let spi = esp_spi(proposal).ok_or(ExchangeError::AlteredProposal("not a legal SPI"))?;
    let suite = suites(sainfo, framing)
        .find(|suite| {
            suite.cipher.cipher.facts().esp == transform.id
                && same_attributes(&attributes(suite), &transform.attributes)
        })
        .ok_or(ExchangeError::AlteredProposal("the transform is none of ours"))?;
    Ok((suite, spi))
}

/// The SPI of an ESP proposal: four octets, at least 256 (RFC 4303 §2.1).
fn esp_spi(proposal: &Proposal) -> Option<Spi> {
    let octets: [u8; 4] = proposal.spi.as_slice().try_into().ok()?;
    Some(Spi(u32::from_be_bytes(octets))).filter(|spi| *spi >= Spi::MIN)
}

/// What a responder chose.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) suite: ChildSuite,
    /// The peer's inbound SPI: our outbound one.
    pub(crate) spi: Spi,
    /// `claim`: our shorter life, to be told to the peer (RFC 2407 §4.6.3.1).
    pub(crate) claimed: Option<Duration>,
    number: u8,
    transform: Transform,
}

impl Choice {
    /// The answer: the chosen transform unchanged, with our inbound SPI.
    pub(crate) fn answer(&self, spi: Spi) -> SaPayload {
        SaPayload::new(vec![Proposal {
            number: self.number,
            protocol: ProtocolId::ESP,
            spi: spi.0.to_be_bytes().to_vec(),
            transforms: vec![self.transform.clone()],
        }])
    }
}

/// The mode of the peer's first ESP transform; where it names none, hosts that speak for themselves mean transport.
pub(crate) fn offered_framing(offered: &SaPayload, between_ends: bool, nat: &Nat) -> Result<Framing, ExchangeError> {
    let transform = offered
        .proposals
        .iter()
        .find(|proposal| proposal.protocol == ProtocolId::ESP)
        .and_then(|proposal| proposal.transforms.first())
        .ok_or_else(|| ExchangeError::NoProposalChosen("only ESP is supported, and none was offered".to_owned()))?;
    match small(&transform.attributes, phase2_attr::ENCAPSULATION) {
        Some(value) => Framing::read(value, nat),
        None if between_ends => Ok(Framing::on(nat, Mode::Transport)),
        None => Ok(Framing::on(nat, Mode::Tunnel)),
    }
}

/// Chooses in the peer's order the first transform that the sainfo accepts.
///
/// # Errors
/// [`ExchangeError::NoProposalChosen`] with what was offered and why the last one was not taken.
pub(crate) fn choose(
    offered: &SaPayload,
    sainfo: &Sainfo,
    framing: Framing,
    check: ProposalCheck,
) -> Result<Choice, ExchangeError> {
    let mut reason = "no ESP proposal".to_owned();
    let alone = |number: u8| offered.proposals.iter().filter(|proposal| proposal.number == number).count() == 1;
    for proposal in offered.proposals.iter().filter(|proposal| proposal.protocol == ProtocolId::ESP) {
        // Equal numbers are one bundle (RFC 2408 §4.2): taking its ESP alone would drop the other half.
        if !alone(proposal.number) {
            reason = "a bundle of protocols is not supported yet".to_owned();
            continue;
        }
        let Some(spi) = esp_spi(proposal) else {
            reason = "not a legal SPI".to_owned();
            continue;
        };
        for transform in &proposal.transforms {
            match accept(transform, sainfo, framing, check) {
                Ok((suite, claimed)) => {
                    let transform = transform.clone();
                    return Ok(Choice { suite, spi, claimed, number: proposal.number, transform });
                }
                Err(why) => reason = why,
            }
        }
    }
    Err(ExchangeError::NoProposalChosen(reason))
}

fn accept(
    transform: &Transform,
    sainfo: &Sainfo,
    framing: Framing,
    check: ProposalCheck,
) -> Result<(ChildSuite, Option<Duration>), String> {
    let list = transform.attributes.as_slice();
    let cipher = Cipher::from_esp(transform.id)
        .filter(|cipher| cipher.facts().supported)
        .and_then(|cipher| sized(cipher, small(list, phase2_attr::KEY_LENGTH)))
        .filter(|peer| sainfo.ciphers.iter().any(|own| key_acceptable(*peer, *own, check)))
        .ok_or_else(|| {
            let bits =
                number(list, phase2_attr::KEY_LENGTH).map_or_else(String::new, |bits| format!(" with {bits} bits"));
            format!("trns_id mismatched: peer offers ESP transform {}{bits}", transform.id)
        })?;
    let auth = small(list, phase2_attr::AUTH);
    let integrity = match auth {
        None => None,
        Some(value) => {
            Some(Hash::from_esp_auth(value).ok_or_else(|| format!("authentication algorithm {value} is unknown"))?)
        }
    };
    if !sainfo.integrity.contains(&integrity) || (integrity.is_none() && cipher.cipher == Cipher::Null) {
        let words = integrity.map_or("non_auth", |hash| hash.facts().racoon_hmac);
        return Err(format!("authentication algorithm mismatched: peer offers {words}"));
    }
    if small(list, phase2_attr::ENCAPSULATION).is_some_and(|value| value != framing.attribute()) {
        return Err("encapsulation mode mismatched".to_owned());
    }
    let group = pfs_group(list, sainfo.pfs_group, check)?;
    let (time, claimed) = life(list, sainfo.lifetime.time, check)?;
    let lifetime = Lifetime { time, kilobytes: sainfo.lifetime.kilobytes };
    Ok((ChildSuite { framing, cipher, integrity, group, lifetime }, claimed))
}

/// RACOON 5.5: obey lets the peer decide; strict and claim insist on our group if we have one; exact on equality.
fn pfs_group(attributes: &[Attribute], own: Option<Group>, check: ProposalCheck) -> Result<Option<Group>, String> {
    let peer = match small(attributes, phase2_attr::GROUP) {
        None => None,
        Some(number) => Some(
            Group::from_number(number)
                .filter(|group| group.strength() != Strength::Broken)
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
        ProposalCheck::Claim if peer > own => Ok((own, Some(own))),
        ProposalCheck::Strict | ProposalCheck::Claim => Ok((peer, None)),
        ProposalCheck::Exact if peer != own => Err(mismatched_life(own, peer)),
        ProposalCheck::Exact => Ok((peer, None)),
    }
}
