//! Offering and choosing phase 1 transforms (RFC 2409 §5, appendix A).

use std::sync::Arc;
use std::time::Duration;

use policy::model::algorithm::{AuthMethod, Cipher, Group, Hash, SizedCipher, Strength};
use policy::model::lifetime::{DEFAULT_LIFETIME, Lifetime};
use policy::model::proposal::{Phase1Proposal, ProposalCheck};
use policy::model::remote::Remote;

use crate::config::RemoteConfig;
use crate::error::ExchangeError;
use crate::wire::attribute::{Attribute, AttributeValue};
use crate::wire::number::{KEY_IKE, ProtocolId, life_type, phase1_attr};
use crate::wire::sa::{Proposal, SaPayload, Transform};

/// Longest life that is believed; what a peer asks beyond is cut to it.
const LONGEST_LIFE: Duration = Duration::from_secs(u32::MAX as u64);

/// What a phase 1 agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) cipher: SizedCipher,
    pub(crate) hash: Hash,
    /// As our configuration has it: it says which side of XAuth is ours.
    pub(crate) auth: AuthMethod,
    pub(crate) group: Group,
    pub(crate) lifetime: Lifetime,
}

/// Methods that this build negotiates.
fn is_negotiated(auth: AuthMethod) -> bool {
    matches!(auth, AuthMethod::PreSharedKey | AuthMethod::RsaSignature)
}

/// Can this build run the proposal?
fn usable(proposal: &Phase1Proposal) -> bool {
    let facts = proposal.cipher.cipher.facts();
    is_negotiated(proposal.auth)
        && facts.supported
        && facts.phase1.is_some()
        && proposal.group.strength() != Strength::Broken
}

/// The SA payload of an initiator: one proposal with a transform for each configured one, in order.
pub(crate) fn offer(remote: &Remote) -> Result<SaPayload, ExchangeError> {
    let transforms: Vec<Transform> = (1..=u8::MAX)
        .zip(remote.proposals.iter().filter(|proposal| usable(proposal)))
        .map(|(number, proposal)| Transform { number, id: KEY_IKE, attributes: attributes(proposal) })
        .collect();
    if transforms.is_empty() {
        return Err(ExchangeError::Local(format!(
            "remote {}: no proposal can be used: its algorithms or methods are not negotiated",
            remote.name
        )));
    }
    let protocol = ProtocolId::ISAKMP;
    Ok(SaPayload::new(vec![Proposal { number: 1, protocol, spi: Vec::new(), transforms }]))
}

/// A two-octet attribute.
pub(crate) fn short(kind: u16, value: u16) -> Attribute {
    Attribute { kind, value: AttributeValue::Short(value) }
}

fn attributes(proposal: &Phase1Proposal) -> Vec<Attribute> {
    let facts = proposal.cipher.cipher.facts();
    let mut list = vec![
        short(phase1_attr::ENCRYPTION, facts.phase1.unwrap_or_default()),
        short(phase1_attr::HASH, proposal.hash.facts().phase1),
        short(phase1_attr::AUTH_METHOD, proposal.auth.number(true)),
        short(phase1_attr::GROUP, proposal.group.number()),
        short(phase1_attr::LIFE_TYPE, life_type::SECONDS),
        Attribute { kind: phase1_attr::LIFE_DURATION, value: duration(proposal.lifetime.time.as_secs()) },
    ];
    if facts.variable_key
        && let Some(bits) = proposal.cipher.key_bits
    {
        list.push(short(phase1_attr::KEY_LENGTH, bits));
    }
    list
}

/// A number as an attribute value: two octets where they do, else four.
pub(crate) fn duration(number: u64) -> AttributeValue {
    match u16::try_from(number) {
        Ok(short) => AttributeValue::Short(short),
        Err(_) => AttributeValue::Long(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes().to_vec()),
    }
}

/// The value of the first attribute of a kind.
pub(crate) fn number(attributes: &[Attribute], kind: u16) -> Option<u64> {
    attributes.iter().find(|attribute| attribute.kind == kind).and_then(Attribute::as_number)
}

/// The same, where the registry has two octets.
pub(crate) fn small(attributes: &[Attribute], kind: u16) -> Option<u16> {
    number(attributes, kind).and_then(|value| u16::try_from(value).ok())
}

/// A transform as read from the wire.
struct Offered {
    cipher: Option<SizedCipher>,
    hash: Option<Hash>,
    auth: Option<u64>,
    group: Option<Group>,
    life: Duration,
    words: String,
}

fn read(transform: &Transform) -> Offered {
    let list = transform.attributes.as_slice();
    let display = |kind| number(list, kind).map_or_else(|| "-".to_owned(), |number| number.to_string());
    let cipher = small(list, phase1_attr::ENCRYPTION)
        .and_then(Cipher::from_phase1)
        .and_then(|cipher| sized(cipher, small(list, phase1_attr::KEY_LENGTH)));
    Offered {
        cipher,
        hash: small(list, phase1_attr::HASH).and_then(Hash::from_phase1),
        auth: number(list, phase1_attr::AUTH_METHOD),
        group: small(list, phase1_attr::GROUP).and_then(Group::from_number),
        life: life_seconds(list, phase1_attr::LIFE_TYPE, phase1_attr::LIFE_DURATION).unwrap_or(DEFAULT_LIFETIME),
        words: format!(
            "enc={} keylen={} hash={} auth={} group={}",
            display(phase1_attr::ENCRYPTION),
            display(phase1_attr::KEY_LENGTH),
            display(phase1_attr::HASH),
            display(phase1_attr::AUTH_METHOD),
            display(phase1_attr::GROUP),
        ),
    }
}

/// A cipher with the key length a proposal names: mandatory where the cipher has several, absent where it has one.
pub(crate) fn sized(cipher: Cipher, key_bits: Option<u16>) -> Option<SizedCipher> {
    let facts = cipher.facts();
    match (facts.variable_key, key_bits) {
        (true, Some(bits)) if facts.key_bits.contains(&bits) => Some(SizedCipher { cipher, key_bits }),
        (false, None) => Some(SizedCipher { cipher, key_bits: None }),
        (false, Some(bits)) if facts.key_bits.contains(&bits) => Some(SizedCipher { cipher, key_bits: None }),
        _ => None,
    }
}

/// The life in seconds: the duration that follows a life type "seconds" (several pairs may stand, RFC 2407 §4.5).
pub(crate) fn life_seconds(attributes: &[Attribute], type_attr: u16, duration_attr: u16) -> Option<Duration> {
    let mut in_seconds = true;
    let mut found = None;
    for attribute in attributes {
        if attribute.kind == type_attr {
            in_seconds = attribute.as_number() == Some(u64::from(life_type::SECONDS));
        } else if attribute.kind == duration_attr && in_seconds {
            found = attribute.as_number();
        }
    }
    found.map(|seconds| Duration::from_secs(seconds).min(LONGEST_LIFE))
}

/// The answer of a responder: the chosen transform alone, unchanged.
pub(crate) struct Choice {
    pub(crate) agreed: Agreed,
    pub(crate) answer: SaPayload,
}

/// Chooses in the peer's order the first transform that one of our proposals accepts.
///
/// # Errors
/// [`ExchangeError::NoProposalChosen`] with what was offered and the nearest difference.
pub(crate) fn choose(offered: &SaPayload, remote: &Remote) -> Result<Choice, ExchangeError> {
    let mut nearest: Option<(usize, String)> = None;
    for proposal in offered.proposals.iter().filter(|proposal| proposal.protocol == ProtocolId::ISAKMP) {
        for transform in proposal.transforms.iter().filter(|transform| transform.id == KEY_IKE) {
            let peer = read(transform);
            for own in remote.proposals.iter().filter(|own| usable(own)) {
                let differences = match accept(&peer, own, remote.proposal_check) {
                    Ok(agreed) => {
                        let answer =
                            SaPayload::new(vec![Proposal { transforms: vec![transform.clone()], ..proposal.clone() }]);
                        return Ok(Choice { agreed, answer });
                    }
                    Err(differences) => differences,
                };
                if nearest.as_ref().is_none_or(|(least, _)| differences.len() < *least) {
                    let words =
                        format!("peer offers {}; nearest of ours differs in {}", peer.words, differences.join(", "));
                    nearest = Some((differences.len(), words));
                }
            }
        }
    }
    let words = nearest.map_or_else(|| "nothing comparable offered".to_owned(), |(_, words)| words);
    Err(ExchangeError::NoProposalChosen(words))
}

/// Chooses in the peer's order the first transform that any of the candidates accepts, as racoon did: the peer's
/// preference goes before the order of our blocks. Candidates that do not accept it are dropped.
///
/// # Errors
/// As [`choose`], in the words of the first candidate.
pub(crate) fn choose_among(
    offered: &SaPayload,
    candidates: &mut Vec<Arc<RemoteConfig>>,
) -> Result<Choice, ExchangeError> {
    let position = |choice: &Choice| {
        let chosen = choice.answer.proposals.first().and_then(|proposal| proposal.transforms.first());
        offered.proposals.iter().flat_map(|proposal| &proposal.transforms).position(|own| Some(own) == chosen)
    };
    let mut best: Option<Choice> = None;
    let mut refusal = None;
    for candidate in candidates.iter() {
        match choose(offered, &candidate.remote) {
            Ok(choice) if best.as_ref().is_none_or(|best| position(&choice) < position(best)) => best = Some(choice),
            Ok(_) => {}
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let Some(choice) = best else {
        return Err(refusal.unwrap_or_else(|| ExchangeError::NoProposalChosen("no configuration fits".to_owned())));
    };
    candidates
        .retain(|candidate| choose(&choice.answer, &candidate.remote).is_ok_and(|own| own.agreed == choice.agreed));
    Ok(choice)
}

fn accept(peer: &Offered, own: &Phase1Proposal, check: ProposalCheck) -> Result<Agreed, Vec<String>> {
    let mut differences = Vec::new();
    let cipher = peer.cipher.filter(|cipher| key_acceptable(*cipher, own.cipher, check));
    if cipher.is_none() {
        let bits = own.cipher.key_bits.map_or_else(String::new, |bits| format!(" {bits}"));
        differences.push(format!("encryption (ours {}{bits})", own.cipher.cipher.facts().racoon));
    }
    if peer.hash != Some(own.hash) {
        differences.push(format!("hash (ours {})", own.hash.facts().racoon));
    }
    if peer.auth != Some(u64::from(own.auth.number(false))) {
        differences.push(format!("authentication (ours {})", own.auth.racoon_name()));
    }
    if peer.group != Some(own.group) {
        differences.push(format!("group (ours {})", own.group.racoon_name()));
    }
    if let Some(words) = life_difference(peer.life, own.lifetime.time, check) {
        differences.push(words);
    }
    match cipher {
        Some(cipher) if differences.is_empty() => {
            let lifetime = Lifetime { time: peer.life, kilobytes: None };
            Ok(Agreed { cipher, hash: own.hash, auth: own.auth, group: own.group, lifetime })
        }
        _ => Err(differences),
    }
}

/// What `proposal_check` has against a life in phase 1 (RACOON: obey takes the peer's, strict and claim take at most
/// ours, exact takes ours only).
fn life_difference(peer: Duration, own: Duration, check: ProposalCheck) -> Option<String> {
    if peer.is_zero() {
        return Some("a lifetime of 0 seconds".to_owned());
    }
    match check {
        ProposalCheck::Obey => None,
        ProposalCheck::Strict | ProposalCheck::Claim => (peer > own).then(|| long_life(own, peer)),
        ProposalCheck::Exact => (peer != own).then(|| mismatched_life(own, peer)),
    }
}

/// racoon's words for a life that is longer than ours.
pub(crate) fn long_life(own: Duration, peer: Duration) -> String {
    format!("long lifetime proposed: my:{} peer:{}", own.as_secs(), peer.as_secs())
}

/// racoon's words for a life that differs from ours.
pub(crate) fn mismatched_life(own: Duration, peer: Duration) -> String {
    format!("lifetime mismatched: my:{} peer:{}", own.as_secs(), peer.as_secs())
}

/// May the peer's key length stand for ours? Obey: any; strict and claim: at least ours; exact: equal.
pub(crate) fn key_acceptable(peer: SizedCipher, own: SizedCipher, check: ProposalCheck) -> bool {
    peer.cipher == own.cipher
        && match check {
            ProposalCheck::Obey => true,
            ProposalCheck::Strict | ProposalCheck::Claim => peer.key_octets() >= own.key_octets(),
            ProposalCheck::Exact => peer.key_octets() == own.key_octets(),
        }
}

/// Checks a responder's answer: exactly one of our transforms, unchanged (RFC 2408 §4.2).
///
/// # Errors
/// [`ExchangeError::AlteredProposal`].
pub(crate) fn check_answer(answer: &SaPayload, remote: &Remote) -> Result<Agreed, ExchangeError> {
    let transform = only_transform(answer)?;
    remote
        .proposals
        .iter()
        .filter(|proposal| usable(proposal))
        .find(|own| transform.id == KEY_IKE && same_attributes(&attributes(own), &transform.attributes))
        .map(|own| {
            let Phase1Proposal { cipher, hash, auth, group, lifetime } = *own;
            Agreed { cipher, hash, auth, group, lifetime }
        })
        .ok_or(ExchangeError::AlteredProposal("the transform is none of ours"))
}

/// The single transform of an answer.
pub(crate) fn only_transform(answer: &SaPayload) -> Result<&Transform, ExchangeError> {
    match answer.proposals.as_slice() {
        [proposal] => match proposal.transforms.as_slice() {
            [transform] => Ok(transform),
            _ => Err(ExchangeError::AlteredProposal("not exactly one transform")),
        },
        _ => Err(ExchangeError::AlteredProposal("not exactly one proposal")),
    }
}

/// Same attributes, in any order and either encoding.
///
/// The numbers of proposal and transform are not compared: a few responders renumber them to 1, and the attributes
/// alone say which of ours is meant.
pub(crate) fn same_attributes(ours: &[Attribute], theirs: &[Attribute]) -> bool {
    let found = |wanted: &Attribute| {
        theirs.iter().any(|attribute| attribute.kind == wanted.kind && attribute.as_number() == wanted.as_number())
    };
    ours.len() == theirs.len() && ours.iter().all(found)
}
