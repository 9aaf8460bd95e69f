//! Offering and choosing phase 1 transforms (RFC 2409 §5, appendix A).

use std::sync::Arc;
use std::time::Duration;

use policy::model::algorithm::{AuthMethod, Cipher, Group, Hash, SizedCipher};
use policy::model::lifetime::{DEFAULT_LIFETIME, Lifetime};
use policy::model::proposal::{Phase1Proposal, ProposalCheck};
use policy::model::remote::{ExchangeMode, Remote};

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

/// What our side can prove itself with; methods that need more are neither offered nor chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// There is a certificate with its key.
    pub(crate) signature: bool,
    /// There is, or may be, a pre-shared key.
    pub(crate) key: bool,
}

/// Can the proposal be run by this build and with these means? What is broken stands here only if the configuration
/// insists (`allow_weak`).
fn usable(proposal: &Phase1Proposal, means: Means) -> bool {
    let facts = proposal.cipher.cipher.facts();
    (means.signature || !proposal.auth.we_sign())
        && (means.key || !proposal.auth.is_psk())
        && facts.supported
        && facts.phase1.is_some()
}

/// What an initiator offers: what it can run, in order; in aggressive mode only what has the group of the first, whose
/// public value goes along (RFC 2409 §5: the group cannot be negotiated there).
fn offered(remote: &Remote, means: Means, mode: ExchangeMode) -> impl Iterator<Item = &Phase1Proposal> {
    let usable = move |proposal: &&Phase1Proposal| usable(proposal, means);
    let first = remote.proposals.iter().find(usable).map(|proposal| proposal.group);
    let same = move |proposal: &&Phase1Proposal| mode == ExchangeMode::Main || Some(proposal.group) == first;
    remote.proposals.iter().filter(usable).filter(same)
}

/// The group of an aggressive mode that we begin.
pub(crate) fn aggressive_group(remote: &Remote, means: Means) -> Option<Group> {
    offered(remote, means, ExchangeMode::Aggressive).next().map(|proposal| proposal.group)
}

/// The SA payload of an initiator: one proposal with a transform for each configured one, in order.
pub(crate) fn offer(remote: &Remote, means: Means, mode: ExchangeMode) -> Result<SaPayload, ExchangeError> {
    let transforms: Vec<Transform> = (1..=u8::MAX)
        .zip(offered(remote, means, mode))
        .map(|(number, proposal)| Transform { number, id: KEY_IKE, attributes: attributes(proposal) })
        .collect();
    if transforms.is_empty() {
        let lacks = |lacking: bool, what: &'static str| if lacking { what } else { "" };
        return Err(ExchangeError::Local(format!(
            "remote {}: no proposal can be used{}{}",
            remote.name,
            lacks(!means.signature, ", there is no certificate_type to sign with"),
            lacks(!means.key, ", no line of psk.txt fits the peer"),
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

/// A method as the initiator's configuration names it.
fn method_name(number: u64) -> String {
    let known = AuthMethod::ALL.into_iter().find(|method| u64::from(method.number(true)) == number);
    match (known, number) {
        (Some(method), _) => method.racoon_name().to_owned(),
        (None, 2) => "dsssig".to_owned(),
        (None, 4) => "rsaenc".to_owned(),
        (None, 5) => "rsarev".to_owned(),
        _ => format!("authentication #{number}"),
    }
}

/// `aes 256, sha256, modp2048, rsasig`, with numbers where there is no name.
fn words(list: &[Attribute]) -> String {
    let name = |kind: u16, what: &str, known: &dyn Fn(u16) -> Option<&'static str>| match number(list, kind) {
        None => format!("no {what}"),
        Some(number) => {
            u16::try_from(number).ok().and_then(known).map_or_else(|| format!("{what} #{number}"), str::to_owned)
        }
    };
    let cipher = name(phase1_attr::ENCRYPTION, "encryption", &|number| {
        Cipher::from_phase1(number).map(|cipher| cipher.facts().racoon)
    });
    let bits = number(list, phase1_attr::KEY_LENGTH).map_or_else(String::new, |bits| format!(" {bits}"));
    let hash = name(phase1_attr::HASH, "hash", &|number| Hash::from_phase1(number).map(|hash| hash.facts().racoon));
    let group = name(phase1_attr::GROUP, "group", &|number| Group::from_number(number).map(Group::racoon_name));
    let method = number(list, phase1_attr::AUTH_METHOD).map_or_else(|| "no authentication".to_owned(), method_name);
    format!("{cipher}{bits}, {hash}, {group}, {method}")
}

/// As [`words`], for one of ours; the side of XAuth is ours.
fn own_words(own: &Phase1Proposal) -> String {
    let bits = own.cipher.key_bits.map_or_else(String::new, |bits| format!(" {bits}"));
    let (cipher, hash) = (own.cipher.cipher.facts().racoon, own.hash.facts().racoon);
    format!("{cipher}{bits}, {hash}, {}, {}", own.group.racoon_name(), own.auth.racoon_name())
}

/// A list for a log line that anybody can cause: the first few, each once.
fn listed(all: impl Iterator<Item = String>) -> String {
    const MOST: usize = 6;
    let mut different: Vec<String> = Vec::new();
    for one in all {
        if !different.contains(&one) {
            different.push(one);
        }
    }
    let more = different.len().saturating_sub(MOST);
    different.truncate(MOST);
    let mut out: Vec<String> = different.into_iter().map(|one| format!("({one})")).collect();
    if more > 0 {
        out.push(format!("and {more} more"));
    }
    if out.is_empty() { "nothing".to_owned() } else { out.join(" ") }
}

fn read(transform: &Transform) -> Offered {
    let list = transform.attributes.as_slice();
    let cipher = small(list, phase1_attr::ENCRYPTION)
        .and_then(Cipher::from_phase1)
        .and_then(|cipher| sized(cipher, small(list, phase1_attr::KEY_LENGTH)));
    Offered {
        cipher,
        hash: small(list, phase1_attr::HASH).and_then(Hash::from_phase1),
        auth: number(list, phase1_attr::AUTH_METHOD),
        group: small(list, phase1_attr::GROUP).and_then(Group::from_number),
        life: life_seconds(list, phase1_attr::LIFE_TYPE, phase1_attr::LIFE_DURATION).unwrap_or(DEFAULT_LIFETIME),
        words: words(list),
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
/// [`ExchangeError::NoProposalChosen`] with what was offered, what is allowed and the nearest difference.
pub(crate) fn choose(offered: &SaPayload, remote: &RemoteConfig) -> Result<Choice, ExchangeError> {
    // Whether there is a key must not show here (ATTACKS T-3).
    let means = Means { signature: remote.can_sign(), key: true };
    let remote = &remote.remote;
    let ours = || remote.proposals.iter().filter(|own| usable(own, means));
    let mut nearest: Option<(usize, String)> = None;
    let mut seen = Vec::new();
    for proposal in offered.proposals.iter().filter(|proposal| proposal.protocol == ProtocolId::ISAKMP) {
        for transform in proposal.transforms.iter().filter(|transform| transform.id == KEY_IKE) {
            let peer = read(transform);
            for own in ours() {
                let differences = match accept(&peer, own, remote.proposal_check) {
                    Ok(agreed) => {
                        let answer =
                            SaPayload::new(vec![Proposal { transforms: vec![transform.clone()], ..proposal.clone() }]);
                        return Ok(Choice { agreed, answer });
                    }
                    Err(differences) => differences,
                };
                if nearest.as_ref().is_none_or(|(least, _)| differences.len() < *least) {
                    let words = format!("({}) to ({}), but for {}", peer.words, own_words(own), differences.join(", "));
                    nearest = Some((differences.len(), words));
                }
            }
            seen.push(peer.words);
        }
    }
    let (offers, allowed) = (listed(seen.into_iter()), listed(ours().map(own_words)));
    let nearest = nearest.map_or_else(|| "none".to_owned(), |(_, words)| words);
    Err(ExchangeError::NoProposalChosen(format!(
        "peer offers {offers}; remote {} allows {allowed}; nearest {nearest};",
        remote.name
    )))
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
        match choose(offered, candidate) {
            Ok(choice) if best.as_ref().is_none_or(|best| position(&choice) < position(best)) => best = Some(choice),
            Ok(_) => {}
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let Some(choice) = best else {
        return Err(refusal.unwrap_or_else(|| ExchangeError::NoProposalChosen("no configuration fits".to_owned())));
    };
    candidates.retain(|candidate| choose(&choice.answer, candidate).is_ok_and(|own| own.agreed == choice.agreed));
    Ok(choice)
}

fn accept(peer: &Offered, own: &Phase1Proposal, check: ProposalCheck) -> Result<Agreed, Vec<String>> {
    let mut differences = Vec::new();
    let cipher = peer.cipher.filter(|cipher| key_acceptable(*cipher, own.cipher, check));
    if cipher.is_none() {
        differences.push("encryption".to_owned());
    }
    if peer.hash != Some(own.hash) {
        differences.push("hash".to_owned());
    }
    if peer.auth != Some(u64::from(own.auth.number(false))) {
        differences.push("authentication method".to_owned());
    }
    if peer.group != Some(own.group) {
        differences.push("group".to_owned());
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
pub(crate) fn check_answer(
    answer: &SaPayload,
    remote: &Remote,
    means: Means,
    mode: ExchangeMode,
) -> Result<Agreed, ExchangeError> {
    let transform = only_transform(answer)?;
    offered(remote, means, mode)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RemoteId;

    fn block(number: u32, bits: &[u16]) -> Arc<RemoteConfig> {
        let proposal = |bits: &u16| Phase1Proposal {
            cipher: SizedCipher { cipher: Cipher::Aes, key_bits: Some(*bits) },
            hash: Hash::Sha256,
            auth: AuthMethod::PreSharedKey,
            group: Group::Modp2048,
            lifetime: Lifetime { time: DEFAULT_LIFETIME, kilobytes: None },
        };
        let proposals = bits.iter().map(proposal).collect();
        let remote = Remote { proposals, proposal_check: ProposalCheck::Exact, ..Remote::default() };
        let (my_identity, credential, raw_keys, accepted_issuers) = (None, None, Arc::default(), Vec::new());
        Arc::new(RemoteConfig { id: RemoteId(number), remote, my_identity, credential, raw_keys, accepted_issuers })
    }

    fn chosen(peer: &[u16], blocks: &[(u32, &[u16])]) -> Option<(Option<u16>, Vec<u32>)> {
        let offered = offer(&block(0, peer).remote, Means { signature: false, key: true }, ExchangeMode::Main)
            .expect("something to offer");
        let mut candidates: Vec<Arc<RemoteConfig>> = blocks.iter().map(|(number, bits)| block(*number, bits)).collect();
        let choice = choose_among(&offered, &mut candidates).ok()?;
        Some((choice.agreed.cipher.key_bits, candidates.iter().map(|candidate| candidate.id.0).collect()))
    }

    /// What becomes of a peer's one transform with this key length and life, where ours has 192 bits and an hour: the key
    /// length and life agreed on, or the nearest difference.
    fn held_against_ours(check: ProposalCheck, bits: u16, seconds: u64) -> Result<(Option<u16>, u64), String> {
        let with = |bits: u16, seconds: u64| {
            let mut block = RemoteConfig::clone(&block(1, &[bits]));
            block.remote.proposal_check = check;
            block.remote.proposals[0].lifetime.time = Duration::from_secs(seconds);
            block
        };
        let offered = offer(&with(bits, seconds).remote, Means { signature: false, key: true }, ExchangeMode::Main)
            .expect("something to offer");
        match choose(&offered, &with(192, 3600)) {
            Ok(choice) => Ok((choice.agreed.cipher.key_bits, choice.agreed.lifetime.time.as_secs())),
            Err(error) => {
                let text = error.to_string();
                let (_, difference) = text.split_once("but for ").expect("a difference is named");
                Err(difference.trim_end_matches(';').to_owned())
            }
        }
    }

    /// RACOON 5.5: obey takes the peer's life and key length; strict and claim a life up to ours and a key not shorter
    /// than ours; exact takes nothing but ours.
    #[test]
    fn proposal_check_of_a_responder() {
        let long = || Err("long lifetime proposed: my:3600 peer:7200".to_owned());
        let other = |peer: u64| Err(format!("lifetime mismatched: my:3600 peer:{peer}"));
        let key = || Err("encryption".to_owned());
        let offers = [(192, 3600), (192, 1800), (192, 7200), (128, 3600), (256, 3600)];
        let strict = [Ok((Some(192), 3600)), Ok((Some(192), 1800)), long(), key(), Ok((Some(256), 3600))];
        let table = [
            (ProposalCheck::Obey, offers.map(|(bits, life)| Ok((Some(bits), life)))),
            (ProposalCheck::Strict, strict.clone()),
            (ProposalCheck::Claim, strict),
            (ProposalCheck::Exact, [Ok((Some(192), 3600)), other(1800), other(7200), key(), key()]),
        ];
        for (check, expected) in table {
            let found = offers.map(|(bits, life)| held_against_ours(check, bits, life));
            assert_eq!(found, expected, "{check:?}");
        }
        assert_eq!(held_against_ours(ProposalCheck::Obey, 192, 0), Err("a lifetime of 0 seconds".to_owned()));
    }

    #[test]
    fn the_peers_order_goes_before_the_order_of_blocks() {
        let blocks: [(u32, &[u16]); 3] = [(1, &[128]), (2, &[256, 128]), (3, &[256])];
        assert_eq!(chosen(&[256, 128], &blocks), Some((Some(256), vec![2, 3])));
        assert_eq!(chosen(&[128, 256], &blocks), Some((Some(128), vec![1, 2])));
        assert_eq!(chosen(&[192, 128], &blocks), Some((Some(128), vec![1, 2])));
        assert_eq!(chosen(&[192], &blocks), None);
        assert_eq!(chosen(&[256], &[]), None);
    }
}
