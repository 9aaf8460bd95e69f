//! Offering and choosing, a table of transforms that must be refused (ATTACKS A-19), and bundles of protocols.

use policy::model::algorithm::{Hash, SizedCipher};
use policy::model::sa::ReqId;
use policy::model::sainfo::SainfoId;

use super::*;
use crate::phase1::proposal::{duration, short};

const TRANSPORT: Framing = Framing { mode: Mode::Transport, udp: None };
const SHA256: Integrity = Integrity::Hmac(Hash::Sha256);

fn sized(cipher: Cipher) -> SizedCipher {
    let facts = cipher.facts();
    SizedCipher { cipher, key_bits: facts.key_bits.first().copied().filter(|_| facts.variable_key) }
}

fn sainfo(ciphers: &[Cipher], integrity: &[Option<Integrity>]) -> Sainfo {
    Sainfo {
        local: SainfoId::Anonymous,
        remote: SainfoId::Anonymous,
        from: None,
        group: None,
        pfs_group: None,
        lifetime: Lifetime { time: DEFAULT_LIFETIME, kilobytes: None },
        ciphers: ciphers.iter().map(|cipher| sized(*cipher)).collect(),
        integrity: integrity.to_vec(),
        remote_id: 0,
        esn: Esn::Off,
        allow_weak: false,
    }
}

fn layer(protocol: Protocol, optional: bool) -> Layer {
    Layer { protocol, mode: Mode::Transport, reqid: ReqId(0), optional }
}

const ESP: &[Protocol] = &[Protocol::Esp];

fn layers(protocols: &[Protocol]) -> Vec<Layer> {
    protocols.iter().map(|protocol| layer(*protocol, false)).collect()
}

fn proposal(number: u8, protocol: Protocol, id: u8, attributes: Vec<Attribute>) -> Proposal {
    let spi = written(protocol, Spi(0x1234));
    Proposal { number, protocol: protocol_id(protocol), spi, transforms: vec![Transform { number: 1, id, attributes }] }
}

fn chosen(offered: Vec<Proposal>, sainfo: &Sainfo, layers: &[Layer]) -> Result<Choice, String> {
    let offered = SaPayload::new(offered);
    choose(&offered, sainfo, TRANSPORT, layers, ProposalCheck::Obey).map_err(|error| error.to_string())
}

fn attributes(key_bits: Option<u16>, auth: Option<u16>) -> Vec<Attribute> {
    let bits = key_bits.map(|bits| short(phase2_attr::KEY_LENGTH, bits));
    let auth = auth.map(|auth| short(phase2_attr::AUTH, auth));
    std::iter::once(short(phase2_attr::ENCAPSULATION, encapsulation::TRANSPORT)).chain(bits).chain(auth).collect()
}

/// What it is, protocol, transform, key length, authentication attribute.
type Refused = (&'static str, Protocol, u8, Option<u16>, Option<u16>);

/// Everything is allowed that could be, and nothing of this is taken.
#[test]
fn transforms_that_protect_nothing_or_make_no_key_are_refused() {
    let everything = sainfo(&Cipher::ALL, &[Some(SHA256), Some(Integrity::AesXcbc), None]);
    let table: &[Refused] = &[
        ("GMAC without a key length", Protocol::Esp, 23, None, None),
        ("GMAC of no key", Protocol::Esp, 23, Some(0), None),
        ("GMAC with an HMAC beside it", Protocol::Esp, 23, Some(128), Some(5)),
        ("NULL without integrity", Protocol::Esp, 11, None, None),
        ("a counter without integrity", Protocol::Esp, 13, Some(128), None),
        ("AES without a key length", Protocol::Esp, 12, None, Some(5)),
        ("AES of no key", Protocol::Esp, 12, Some(0), Some(5)),
        ("AES of one bit", Protocol::Esp, 12, Some(1), Some(5)),
        ("AES of 127 bits", Protocol::Esp, 12, Some(127), Some(5)),
        ("AES of 65535 bits", Protocol::Esp, 12, Some(65535), Some(5)),
        ("AES-GCM of 65535 bits", Protocol::Esp, 20, Some(65535), None),
        ("an unknown cipher", Protocol::Esp, 99, Some(128), Some(5)),
        ("transform 0", Protocol::Esp, 0, Some(128), Some(5)),
        ("an unknown HMAC", Protocol::Esp, 12, Some(128), Some(77)),
        ("KPDK, which is no HMAC", Protocol::Esp, 12, Some(128), Some(4)),
        ("AH without an attribute", Protocol::Ah, 5, None, None),
        ("AH whose attribute says something else", Protocol::Ah, 5, None, Some(2)),
        ("AH of an unknown transform", Protocol::Ah, 4, None, Some(3)),
    ];
    for (what, protocol, id, key_bits, auth) in table {
        let offered = vec![proposal(1, *protocol, *id, attributes(*key_bits, *auth))];
        let refused = chosen(offered, &everything, &layers(&[*protocol]));
        assert!(refused.is_err(), "{what}: {refused:?}");
    }
    assert!(
        chosen(vec![proposal(1, Protocol::Esp, 23, attributes(Some(128), None))], &everything, &layers(ESP)).is_ok()
    );
    assert!(
        chosen(vec![proposal(1, Protocol::Ah, 9, attributes(None, Some(9)))], &everything, &layers(&[Protocol::Ah]))
            .is_ok()
    );
}

#[test]
fn one_line_says_what_was_offered_what_is_allowed_and_the_nearest_difference() {
    let ours = sainfo(&[Cipher::Aes, Cipher::AesGcm16], &[Some(SHA256)]);
    let mut list = proposal(1, Protocol::Esp, 3, attributes(None, Some(1)));
    list.transforms.push(Transform { number: 2, id: 12, attributes: attributes(Some(128), Some(2)) });
    assert_eq!(
        chosen(vec![list], &ours, &layers(ESP)).unwrap_err(),
        "no suitable proposal found. peer offers ESP 3des/hmac_md5, aes 128/hmac_sha1 transport; ours is ESP aes \
         128/hmac_sha256, aes_gcm16 128 any PFS group; nearest difference: authtype mismatched: aes 128/hmac_sha1"
    );
}

/// What becomes of a peer's one transform with this life, group and key length: the life and group agreed on and the life
/// that is told to the peer, or the nearest difference.
fn held_against(
    ours: &Sainfo,
    check: ProposalCheck,
    (seconds, group, bits): (u64, Option<Group>, u16),
) -> Result<(u64, Option<u16>, Option<u64>), String> {
    let mut list = attributes(Some(bits), Some(5));
    list.push(short(phase2_attr::LIFE_TYPE, 1));
    list.push(Attribute { kind: phase2_attr::LIFE_DURATION, value: duration(seconds) });
    list.extend(group.map(|group| short(phase2_attr::GROUP, group.number())));
    let offered = SaPayload::new(vec![proposal(1, Protocol::Esp, 12, list)]);
    match choose(&offered, ours, TRANSPORT, &layers(ESP), check) {
        Ok(choice) => {
            let claimed = choice.claimed.map(|life| life.as_secs());
            Ok((choice.suite.lifetime.time.as_secs(), choice.suite.group.map(Group::number), claimed))
        }
        Err(error) => {
            let text = error.to_string();
            Err(text.split_once("nearest difference: ").map(|(_, nearest)| nearest.to_owned()).unwrap_or(text))
        }
    }
}

/// RACOON 5.5: obey takes the peer's life, group (or none) and key length; strict refuses a longer life, claim takes ours
/// instead and tells the peer; both want our group if there is one; exact wants everything equal.
#[test]
fn proposal_check_of_a_responder() {
    let mut ours = sainfo(&[Cipher::Aes], &[Some(SHA256)]);
    ours.lifetime.time = Duration::from_secs(3600);
    ours.pfs_group = Some(Group::Modp2048);
    let same = Some(Group::Modp2048);
    let offers = [
        (3600, same, 128),
        (1800, same, 128),
        (7200, same, 128),
        (3600, None, 128),
        (3600, Some(Group::Modp3072), 128),
        (3600, same, 256),
    ];
    let good = |seconds: u64| Ok((seconds, Some(14), None));
    let refused = |words: &str| Err(words.to_owned());
    let long = refused("long lifetime proposed: my:3600 peer:7200");
    let claimed = Ok((3600, Some(14), Some(7200)));
    let no_group = || refused("pfs group mismatched: my:14 peer:0");
    let other_group = || refused("pfs group mismatched: my:14 peer:15");
    let other_life = |peer: u64| Err(format!("lifetime mismatched: my:3600 peer:{peer}"));
    let other_key = refused("trns_id mismatched: aes 256/hmac_sha256");
    let obeyed = [good(3600), good(1800), good(7200), Ok((3600, None, None)), Ok((3600, Some(15), None)), good(3600)];
    let table = [
        (ProposalCheck::Obey, obeyed),
        (ProposalCheck::Strict, [good(3600), good(1800), long, no_group(), other_group(), good(3600)]),
        (ProposalCheck::Claim, [good(3600), good(1800), claimed, no_group(), other_group(), good(3600)]),
        (ProposalCheck::Exact, [good(3600), other_life(1800), other_life(7200), no_group(), other_group(), other_key]),
    ];
    for (check, expected) in table {
        assert_eq!(offers.map(|offer| held_against(&ours, check, offer)), expected, "{check:?}");
    }
    // A shorter key than ours is for obey alone; no group of ours means any of the peer's, but for exact.
    ours.ciphers = vec![SizedCipher { cipher: Cipher::Aes, key_bits: Some(256) }];
    ours.pfs_group = None;
    let checks = [ProposalCheck::Obey, ProposalCheck::Strict, ProposalCheck::Claim, ProposalCheck::Exact];
    let taken = |offer| checks.map(|check| held_against(&ours, check, offer).is_ok());
    assert_eq!(taken((3600, None, 128)), [true, false, false, false]);
    assert_eq!(taken((3600, same, 256)), [true, true, true, false]);
}

#[test]
fn a_peer_that_offers_a_flood_is_named_in_few_words() {
    let transform = |number| Transform { number, id: 12, attributes: attributes(Some(127), Some(5)) };
    let flood =
        Proposal { transforms: (1..=255).map(transform).collect(), ..proposal(1, Protocol::Esp, 0, Vec::new()) };
    let words = chosen(vec![flood], &sainfo(&[Cipher::Aes], &[Some(SHA256)]), &layers(ESP)).unwrap_err();
    assert!(words.contains(" and 243 more") && words.len() < 800, "{words}");
}

#[test]
fn protocols_of_one_number_are_taken_together_or_not_at_all() {
    let ours = sainfo(&[Cipher::Aes], &[Some(SHA256)]);
    let esp = |number| proposal(number, Protocol::Esp, 12, attributes(Some(128), Some(5)));
    let ah = |number| proposal(number, Protocol::Ah, 5, attributes(None, Some(5)));
    let ipcomp = |number| proposal(number, Protocol::Ipcomp, 2, attributes(None, None));
    let both = layers(&[Protocol::Esp, Protocol::Ah]);
    let protocols = |choice: Choice| choice.spis().iter().map(|(protocol, _)| *protocol).collect::<Vec<_>>();
    assert_eq!(chosen(vec![esp(1), esp(2), ah(2)], &ours, &both).map(protocols), Ok(vec![Protocol::Esp, Protocol::Ah]));
    assert!(chosen(vec![esp(1), ah(2)], &ours, &both).unwrap_err().contains("the policy wants AH"));
    assert!(chosen(vec![esp(1), ah(1)], &ours, &layers(ESP)).unwrap_err().contains("the policy wants no AH"));
    assert!(chosen(vec![esp(1), esp(1)], &ours, &layers(ESP)).is_err(), "ESP twice");
    let optional = [layer(Protocol::Esp, false), layer(Protocol::Ipcomp, true)];
    assert_eq!(chosen(vec![esp(1)], &ours, &optional).map(protocols), Ok(vec![Protocol::Esp]));
    let taken = chosen(vec![esp(1), ipcomp(1), esp(2)], &ours, &optional).map(protocols);
    assert_eq!(taken, Ok(vec![Protocol::Esp, Protocol::Ipcomp]));
    assert!(main_protocol(&SaPayload::new(vec![ipcomp(1)])).is_err(), "compression protects nothing");
    assert_eq!(main_protocol(&SaPayload::new(vec![ipcomp(1), esp(1)])), Ok(Protocol::Esp));
}

#[test]
fn a_cpi_has_two_octets_or_four_and_is_a_negotiated_one() {
    let read = |octets: &[u8]| read_spi(Protocol::Ipcomp, octets);
    assert_eq!(read(&[0x12, 0x34]), Some(Spi(0x1234)));
    assert_eq!(read(&[0, 0, 0x12, 0x34]), Some(Spi(0x1234)));
    for illegal in [&[0, 2][..], &[0xf0, 0], &[0, 1, 0x12, 0x34], &[0x12], &[]] {
        assert_eq!(read(illegal), None, "{illegal:?}");
    }
    assert_eq!(read_spi(Protocol::Esp, &[0x12, 0x34]), None);
    assert_eq!(read_spi(Protocol::Ah, &[0, 0, 0, 0xff]), None);
}

#[test]
fn extended_sequence_numbers_are_for_both_or_for_none() {
    let esn = |value: Option<u16>| {
        let mut list = attributes(Some(128), Some(5));
        list.extend(value.map(|value| short(phase2_attr::EXTENDED_SEQUENCE, value)));
        vec![proposal(1, Protocol::Esp, 12, list)]
    };
    let plain = sainfo(&[Cipher::Aes], &[Some(SHA256)]);
    let takes = |wanted: Esn, value| {
        let sainfo = Sainfo { esn: wanted, ..plain.clone() };
        chosen(esn(value), &sainfo, &layers(ESP)).ok().map(|choice| choice.suite.protections[0].esn())
    };
    assert_eq!(takes(Esn::Off, None), Some(false));
    assert_eq!(takes(Esn::Off, Some(1)), None);
    assert_eq!(takes(Esn::On, None), None);
    assert_eq!(takes(Esn::On, Some(1)), Some(true));
    assert_eq!((takes(Esn::Prefer, None), takes(Esn::Prefer, Some(1))), (Some(false), Some(true)));
    assert_eq!((takes(Esn::Prefer, Some(0)), takes(Esn::Prefer, Some(7))), (None, None));
    let offered = Protection::allowed(Protocol::Esp, &Sainfo { esn: Esn::Prefer, ..plain });
    assert_eq!(offered.iter().map(Protection::esn).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn keying_material_is_key_salt_and_hmac() {
    let octets = |cipher: Cipher, integrity: &[Option<Integrity>]| {
        let allowed = Protection::allowed(Protocol::Esp, &sainfo(&[cipher], integrity));
        allowed.iter().map(|one| (one.cipher_octets(), one.key_octets())).collect::<Vec<_>>()
    };
    assert_eq!(octets(Cipher::AesGcm16, &[Some(SHA256)]), [(20, 20)], "an HMAC is not offered with it");
    assert_eq!(octets(Cipher::AesCcm12, &[]), [(19, 19)]);
    assert_eq!(octets(Cipher::AesCtr, &[Some(SHA256), None]), [(20, 52)]);
    assert_eq!(octets(Cipher::Aes, &[Some(Integrity::AesXcbc)]), [(16, 32)]);
    assert_eq!(octets(Cipher::Null, &[None]), []);
}

#[test]
fn an_answer_must_be_the_bundle_that_was_offered() {
    let ours = sainfo(&[Cipher::Aes], &[Some(SHA256)]);
    let both = [layer(Protocol::Esp, false), layer(Protocol::Ipcomp, true)];
    let offered = offer(&ours, TRANSPORT, &both, &Spis::default()).expect("something to offer");
    let numbers: Vec<(u8, ProtocolId)> = offered.proposals.iter().map(|one| (one.number, one.protocol)).collect();
    assert_eq!(numbers, [(1, ProtocolId::ESP), (1, ProtocolId::IPCOMP), (2, ProtocolId::ESP)]);
    let answer = |which: &[usize]| {
        let with_spi = |at: &usize| {
            let one = offered.proposals[*at].clone();
            let protocol = protocol_of(one.protocol).expect("a protocol");
            Proposal { spi: written(protocol, Spi(0x2345)), ..one }
        };
        check_answer(&SaPayload::new(which.iter().map(with_spi).collect()), &ours, TRANSPORT, &both)
    };
    assert_eq!(answer(&[0, 1]).expect("both").0.protections.len(), 2);
    assert_eq!(answer(&[2]).expect("ESP alone").0.protections.len(), 1);
    assert_eq!(answer(&[0, 1, 2]).expect("charon's way").0.protections.len(), 2);
    assert!(answer(&[1]).is_err() && answer(&[0, 0]).is_err() && answer(&[2, 1]).is_err() && answer(&[]).is_err());
}
