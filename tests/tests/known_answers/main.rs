//! Known answers: handshakes recorded between two strongSwan hosts, whose keys are known, must come out the same from
//! our key derivation (RFC 2409 §5), and every message in them must survive decoding and encoding octet by octet.
//!
//! `tests::recording` reads `vectors/`, `replay` walks through the messages of one, the tests compare.

mod replay;
mod session;

use ike::crypto::iv::phase1_iv;
use ike::crypto::keymat::keymat;
use ike::crypto::provider::PublicKey;
use ike::crypto::pure::PureProvider;
use ike::crypto::signature::{SignatureError, verify, verify_by};
use ike::crypto::skeyid::{Skeyids, derive, derive_psk, derive_signature, phase1_key};
use ike::crypto::{hash, provider};
use ike::wire::cert::CertPayload;
use ike::wire::header::Header;
use ike::wire::number::{ExchangeType, PayloadType, ProtocolId};
use policy::model::algorithm::{AuthMethod, Hash};
use policy::model::sa::Spi;
use policy::model::secret::Secret;
use serde_json::Value;
use tests::recording::{self, charon, hex, load, named_cipher, named_hash, octets, packets, secret};

use replay::{Phase1, Replay};
use session::play::{Outcome, Play};
use session::{Session, Side};

/// The secret part of a replay.
fn phase1(hash: Hash, cipher: policy::model::algorithm::SizedCipher, skeyids: &Skeyids, ke: [&[u8]; 2]) -> Phase1 {
    Phase1 {
        hash,
        cipher,
        skeyid_a: skeyids.a.clone(),
        key: phase1_key(hash, &skeyids.e, cipher),
        iv: phase1_iv(hash, cipher, ke[0], ke[1]),
    }
}

/// Every value of SKEYID and its kin against the vector's.
fn assert_skeyids(skeyids: &Skeyids, vector: &Value, name: &str) {
    for (ours, field) in
        [(&skeyids.base, "skeyid"), (&skeyids.d, "skeyid_d"), (&skeyids.a, "skeyid_a"), (&skeyids.e, "skeyid_e")]
    {
        assert_eq!(ours, &secret(vector, field), "{name} {field}");
    }
}

#[test]
fn four_pre_shared_key_handshakes() {
    let vectors = load("psk-mainmode-quick.json");
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let hash = named_hash(vector["hash"].as_str().unwrap());
        let cipher = named_cipher(vector["cipher"].as_str().unwrap(), vector["key_bytes"].as_u64().unwrap());
        let nonces = [octets(vector, "ni_b"), octets(vector, "nr_b")];
        let ke = [octets(vector, "g_xi"), octets(vector, "g_xr")];
        let cookies = recording::cookies(vector);
        let skeyids = derive_psk(
            hash,
            &secret(vector, "psk"),
            &nonces[0],
            &nonces[1],
            &secret(vector, "g_xy"),
            cookies.0,
            cookies.1,
        );
        assert_skeyids(&skeyids, vector, name);
        let keys = phase1(hash, cipher, &skeyids, [&ke[0], &ke[1]]);
        assert_eq!(keys.key, secret(vector, "ka"), "{name} ka");
        assert_eq!(keys.iv, octets(vector, "iv0"), "{name} iv0");

        let sa_i = octets(vector, "sai_b");
        let transcript = hash::Transcript { gxi: &ke[0], gxr: &ke[1], cky_i: cookies.0, cky_r: cookies.1, sa_i: &sa_i };
        let hash_i = hash::hash_i(hash, &skeyids.base, &transcript, &octets(vector, "idii_b"));
        let hash_r = hash::hash_r(hash, &skeyids.base, &transcript, &octets(vector, "idir_b"));
        assert_eq!(hash_i, octets(vector, "hash_i"), "{name} hash_i");
        assert_eq!(hash_r, octets(vector, "hash_r"), "{name} hash_r");

        let replay = Replay::run(&packets(vector), &keys);
        assert_eq!(replay.last_phase1_block, octets(vector, "last_phase1_block"), "{name}");
        assert_eq!(replay.payload_of_phase1(4, PayloadType::HASH), hash_i, "{name}: HASH_I in message 5");
        assert_eq!(replay.payload_of_phase1(5, PayloadType::HASH), hash_r, "{name}: HASH_R in message 6");
        assert_eq!(replay.payload_of_phase1(4, PayloadType::ID), octets(vector, "idii_b"), "{name}");
        assert_exchanges(&replay, vector, name);
        assert_children(&skeyids, hash, vector, name);
    }
}

/// The plaintext, the IV and the HASH of every message behind phase 1, as the vector has them.
fn assert_exchanges(replay: &Replay, vector: &Value, name: &str) {
    let expected = vector["exchanges"].as_array().unwrap();
    assert_eq!(replay.protected.len(), expected.len(), "{name}");
    for (message, expected) in replay.protected.iter().zip(expected) {
        assert_eq!(hex(expected["mid"].as_str().unwrap()), message.header.message_id.to_be_bytes(), "{name}");
        assert_eq!(message.iv, octets(expected, "iv"), "{name}: IV");
        assert_eq!(message.plain, octets(expected, "plain"), "{name}: plaintext");
        let hash = message.body_of(PayloadType::HASH);
        assert_eq!(hash, Some(octets(expected, "hash").as_slice()), "{name} {}", expected["kind"]);
    }
}

/// The keys of both ESP SAs, the encryption key first.
fn assert_children(skeyids: &Skeyids, hash: Hash, vector: &Value, name: &str) {
    let quick = &vector["qm"];
    let pfs = Some(secret(quick, "pfs_g_xy")).filter(|secret| !secret.is_empty());
    let protocol = ProtocolId(octets(quick, "protocol")[0]);
    // Each direction's SPI is its receiver's.
    for (direction, spi) in [("i2r", "spi_r"), ("r2i", "spi_i")] {
        let enc = octets(quick, &format!("enc_{direction}"));
        let integ = octets(quick, &format!("integ_{direction}"));
        let spi = Spi(u32::from_be_bytes(octets(quick, spi).try_into().unwrap()));
        let ours = keymat(
            hash,
            &skeyids.d,
            pfs.as_ref(),
            protocol,
            spi,
            &octets(quick, "ni_b"),
            &octets(quick, "nr_b"),
            enc.len() + integ.len(),
        );
        assert_eq!(ours, Secret::new([enc, integ].concat()), "{name} {direction}");
    }
}

#[test]
fn rsa_main_mode_with_both_signatures() {
    let vectors = load("sig-mainmode.json");
    let vector = &vectors["rsa"];
    let hash = Hash::Sha256;
    let cookies = recording::cookies(vector);
    let ke = [octets(vector, "g_xi"), octets(vector, "g_xr")];
    let skeyids = derive_signature(
        hash,
        &octets(vector, "ni_b"),
        &octets(vector, "nr_b"),
        &secret(vector, "g_xy"),
        cookies.0,
        cookies.1,
    );
    assert_skeyids(&skeyids, vector, "rsa");
    let keys = phase1(hash, named_cipher("aes", 32), &skeyids, [&ke[0], &ke[1]]);
    let replay = Replay::run(&packets(vector), &keys);
    let sa_i = octets(vector, "sai_b");
    let transcript = hash::Transcript { gxi: &ke[0], gxr: &ke[1], cky_i: cookies.0, cky_r: cookies.1, sa_i: &sa_i };
    for (side, message) in [("initiator", 4), ("responder", 5)] {
        let expected = &vector[side];
        let id = octets(expected, "id_b");
        let ours = match side {
            "initiator" => hash::hash_i(hash, &skeyids.base, &transcript, &id),
            _ => hash::hash_r(hash, &skeyids.base, &transcript, &id),
        };
        assert_eq!(ours, octets(expected, "hash"), "{side}");
        assert_eq!(replay.plain_of_phase1(message), octets(expected, "plain"), "{side}");
        assert_eq!(replay.payload_of_phase1(message, PayloadType::ID), id, "{side}");
        assert_eq!(replay.payload_of_phase1(message, PayloadType::SIG), octets(expected, "sig"), "{side}");
        let certificate = CertPayload::decode(&replay.payload_of_phase1(message, PayloadType::CERT)).unwrap();
        assert_eq!(certificate.data, octets(expected, "cert"), "{side}");
        assert_signed(&certificate.data, &octets(expected, "sig"), &ours, side);
    }
}

/// The signature is this certificate's over these octets, and over no others.
fn assert_signed(certificate: &[u8], signature: &[u8], hash: &[u8], name: &str) {
    let key = recording::public_key(certificate);
    let pure = PureProvider::new(|_| unreachable!("verifying needs no random octets"));
    let openssl = cli::provider::OpensslProvider::new();
    for provider in [&pure as &dyn provider::Provider, &openssl] {
        assert_eq!(verify(provider, &key, signature, hash), Ok(()), "{name}");
        let mut other = hash.to_vec();
        other[0] ^= 1;
        assert_eq!(verify(provider, &key, signature, &other), Err(SignatureError::Mismatch), "{name}");
        let mut changed = signature.to_vec();
        changed[200] ^= 1;
        assert_eq!(verify(provider, &key, &changed, hash), Err(SignatureError::Mismatch), "{name}");
    }
}

/// K-2: keys, hashes and both signatures of a recorded main mode with ECDSA on P-256.
#[test]
fn ecdsa_main_mode_with_both_signatures() {
    let vectors = load("sig-mainmode.json");
    let vector = &vectors["ec"];
    let hash = Hash::Sha256;
    let cookies = recording::cookies(vector);
    let nonces = [octets(vector, "ni_b"), octets(vector, "nr_b")];
    let ke = [octets(vector, "g_xi"), octets(vector, "g_xr")];
    let skeyids = derive_signature(hash, &nonces[0], &nonces[1], &secret(vector, "g_xy"), cookies.0, cookies.1);
    assert_skeyids(&skeyids, vector, "ec");
    let keys = phase1(hash, named_cipher("aes", 16), &skeyids, [&ke[0], &ke[1]]);
    let replay = Replay::run(&packets(vector), &keys);
    assert_eq!(replay.plain_of_phase1(4), octets(&vector["initiator"], "plain"));
    assert_eq!(replay.plain_of_phase1(5), octets(&vector["responder"], "plain"));
    let sa_i = octets(vector, "sai_b");
    let transcript = hash::Transcript { gxi: &ke[0], gxr: &ke[1], cky_i: cookies.0, cky_r: cookies.1, sa_i: &sa_i };
    let side = |side: &str, field: &str| octets(&vector[side], field);
    let hash_i = hash::hash_i(hash, &skeyids.base, &transcript, &side("initiator", "id_b"));
    let hash_r = hash::hash_r(hash, &skeyids.base, &transcript, &side("responder", "id_b"));
    assert_eq!([hash_i.clone(), hash_r.clone()], [side("initiator", "hash"), side("responder", "hash")]);
    let provider = cli::provider::OpensslProvider::new();
    for (name, hash) in [("initiator", hash_i), ("responder", hash_r)] {
        let key = PublicKey::Ec(recording::ec_public_key(&side(name, "cert")));
        let signature = side(name, "sig");
        let verified =
            |signature: &[u8], hash: &[u8]| verify_by(&provider, AuthMethod::EcdsaP256, &key, signature, hash);
        assert_eq!(verified(&signature, &hash), Ok(()), "{name}");
        let mut changed = signature.clone();
        changed[40] ^= 1;
        assert_eq!(verified(&changed, &hash), Err(SignatureError::Mismatch), "{name}");
        assert_eq!(verified(&signature, &[0; 32]), Err(SignatureError::Mismatch), "{name}");
    }
}

#[test]
fn eight_handshakes_with_the_keys_the_kernel_got() {
    let vectors = load("charon.json");
    let vectors = vectors.as_object().unwrap();
    assert_eq!(vectors.len(), 8);
    for (name, vector) in vectors {
        let (hash, cipher) = charon(vector);
        let cookies = recording::cookies(vector);
        let nonces = [octets(vector, "ni"), octets(vector, "nr")];
        let ke = [octets(vector, "ke_i"), octets(vector, "ke_r")];
        let gxy = secret(vector, "g_xy");
        let skeyids = if name.starts_with("psk") {
            derive(hash, secret(vector, "skeyid"), &gxy, cookies.0, cookies.1)
        } else {
            derive_signature(hash, &nonces[0], &nonces[1], &gxy, cookies.0, cookies.1)
        };
        assert_skeyids(&skeyids, vector, name);
        let keys = phase1(hash, cipher, &skeyids, [&ke[0], &ke[1]]);
        assert_eq!(keys.key, secret(vector, "ka"), "{name} ka");
        assert_eq!(keys.iv, octets(vector, "iv"), "{name} iv");

        let replay = Replay::run(&packets(vector), &keys);
        let first = |kind| replay.first_of_phase1(kind);
        assert_eq!(first(PayloadType::SA), Some(octets(vector, "sa_i")), "{name}");
        assert_eq!(first(PayloadType::KE), Some(ke[0].clone()), "{name}");
        assert_authenticated(&replay, &skeyids, hash, vector, name);
        assert_kernel_keys(&replay, &skeyids, hash, vector, name);
    }
}

/// A session of `charon.json`.
fn session(name: &str) -> Session {
    let vectors = load("charon.json");
    let vector = &vectors[name];
    let (hash, cipher) = charon(vector);
    let cookies = recording::cookies(vector);
    let (ni, nr) = (octets(vector, "ni"), octets(vector, "nr"));
    let gxy = secret(vector, "g_xy");
    // The keys of the recorded pre-shared sessions are not known: those are played with another.
    let psk = name.starts_with("psk").then_some("known-to-this-test");
    let skeyids = match psk {
        Some(psk) => derive_psk(hash, &Secret::new(psk.into()), &ni, &nr, &gxy, cookies.0, cookies.1),
        None => derive_signature(hash, &ni, &nr, &gxy, cookies.0, cookies.1),
    };
    let recorded = Skeyids {
        base: secret(vector, "skeyid"),
        d: secret(vector, "skeyid_d"),
        a: secret(vector, "skeyid_a"),
        e: secret(vector, "skeyid_e"),
    };
    let keys = phase1(hash, cipher, &recorded, [&octets(vector, "ke_i"), &octets(vector, "ke_r")]);
    let replay = Replay::run(&packets(vector), &keys);
    Session {
        name: name.to_owned(),
        addresses: [[10, 0, 0, 1], [10, 0, 0, 2]],
        cookies,
        hash,
        cipher,
        psk,
        skeyids,
        gxy,
        quick_gxy: secret(vector, "qm_gxy"),
        messages: Session::messages(replay),
    }
}

/// A session of `psk-mainmode-quick.json`, whose key is known.
fn session_with_its_own_key(vector: &Value) -> Session {
    let hash = named_hash(vector["hash"].as_str().unwrap());
    let cipher = named_cipher(vector["cipher"].as_str().unwrap(), vector["key_bytes"].as_u64().unwrap());
    let key = secret(vector, "psk");
    let psk = "made-for-a-test-vector";
    assert_eq!(key.expose(), psk.as_bytes());
    let cookies = recording::cookies(vector);
    let (ni, nr) = (octets(vector, "ni_b"), octets(vector, "nr_b"));
    let gxy = secret(vector, "g_xy");
    let skeyids = derive_psk(hash, &key, &ni, &nr, &gxy, cookies.0, cookies.1);
    let keys = phase1(hash, cipher, &skeyids, [&octets(vector, "g_xi"), &octets(vector, "g_xr")]);
    let replay = Replay::run(&packets(vector), &keys);
    Session {
        name: vector["name"].as_str().unwrap().to_owned(),
        addresses: [[10, 99, 1, 1], [10, 99, 1, 2]],
        cookies,
        hash,
        cipher,
        psk: Some(psk),
        skeyids,
        gxy,
        quick_gxy: secret(&vector["qm"], "pfs_g_xy"),
        messages: Session::messages(replay),
    }
}

/// Our endpoint as either side, with every message of the peer once and thrice; the keys are those of the first child.
fn as_either_side(session: &Session) {
    as_sides(session, &[Side::Initiator, Side::Responder]);
}

fn as_sides(session: &Session, sides: &[Side]) {
    for &ours in sides {
        for repeats in [0, 2] {
            println!("{} as {ours:?}, {repeats} repeats", session.name);
            let outcome = Play::new(session, ours).repeating(repeats).run();
            let expected = session.messages.iter().filter(|message| message.from == ours.name()).count();
            assert_eq!(outcome.compared, expected, "{}", session.name);
            assert_first_child(session, &outcome);
            // Two children of two SAs each, and all of them taken out again.
            assert_eq!(outcome.installed.len(), 2 * session.quick_firsts().len(), "{}", session.name);
            for sa in &outcome.installed {
                assert!(outcome.removed.contains(&sa.name), "{}: {:?} was left", session.name, sa.name);
            }
        }
    }
}

/// RFC 2409 §5.5 with the session's own SKEYID_d.
fn assert_first_child(session: &Session, outcome: &Outcome) {
    let nonce = |side| session.of_quick(side)[0].body_of(PayloadType::NONCE).unwrap().to_vec();
    let (ni, nr) = (nonce(Side::Initiator), nonce(Side::Responder));
    let pfs = Some(&session.quick_gxy).filter(|secret| !secret.is_empty());
    for side in [Side::Initiator, Side::Responder] {
        let spi = Spi(session.spis(side)[0]);
        let sa = outcome.installed.iter().find(|sa| sa.name.spi == spi).expect("a SA with the recorded SPI");
        let ours = Secret::new([sa.cipher_key.expose(), sa.integrity_key.expose()].concat());
        let skeyid_d = &session.skeyids.d;
        let length = ours.expose().len();
        assert_eq!(ours, keymat(session.hash, skeyid_d, pfs, ProtocolId::ESP, spi, &ni, &nr, length));
    }
}

#[test]
fn rsa_main_mode_session_as_either_side() {
    as_either_side(&session("rsa-main-modp2048-sha256"));
}

#[test]
fn aggressive_mode_sessions_as_either_side() {
    for name in ["psk-aggr-ecp256-sha512", "rsa-aggr-modp3072"] {
        as_either_side(&session(name));
    }
}

/// As initiator the responder's proof would have to be made anew, with a key on a curve that nobody recorded.
#[test]
fn ecdsa_main_mode_session_as_responder() {
    as_sides(&session("ecdsa-main"), &[Side::Responder]);
}

#[test]
fn psk_main_mode_sessions_as_either_side() {
    for name in ["psk-main-modp1024-sha1-nopfs", "psk-main-3des-modp1536", "psk-main-ecp384-sha384-gcm"] {
        as_either_side(&session(name));
    }
    for vector in load("psk-mainmode-quick.json").as_array().unwrap() {
        as_either_side(&session_with_its_own_key(vector));
    }
}

/// HASH_I and HASH_R, or the RSA signatures over them.
fn assert_authenticated(replay: &Replay, skeyids: &Skeyids, hash: Hash, vector: &Value, name: &str) {
    let ke = [octets(vector, "ke_i"), octets(vector, "ke_r")];
    let cookies = recording::cookies(vector);
    let sa_i = octets(vector, "sa_i");
    let transcript = hash::Transcript { gxi: &ke[0], gxr: &ke[1], cky_i: cookies.0, cky_r: cookies.1, sa_i: &sa_i };
    let mut checked = 0;
    for message in &replay.phase1 {
        let Some(id) = message.body_of(PayloadType::ID) else { continue };
        // Aggressive mode's first message carries the identity, its third the proof.
        let proof = [PayloadType::HASH, PayloadType::SIG];
        let from = message.from.as_str();
        let Some((kind, sent)) = proof.iter().find_map(|&kind| {
            let found = replay.phase1.iter().filter(|other| other.from == from).find_map(|other| other.body_of(kind));
            found.map(|body| (kind, body))
        }) else {
            panic!("{name}: no proof of {from}");
        };
        let ours = match from {
            "I" => hash::hash_i(hash, &skeyids.base, &transcript, id),
            _ => hash::hash_r(hash, &skeyids.base, &transcript, id),
        };
        checked += 1;
        if kind == PayloadType::HASH {
            assert_eq!(sent, ours, "{name} {from}");
        } else if name.starts_with("rsa") {
            let from_it = |other: &&replay::Message| other.from == from;
            let certificate = replay.phase1.iter().filter(from_it).find_map(|other| other.body_of(PayloadType::CERT));
            let certificate = CertPayload::decode(certificate.unwrap()).unwrap();
            assert_signed(&certificate.data, sent, &ours, name);
        }
    }
    assert_eq!(checked, 2, "{name}");
}

/// What `ip xfrm state` showed: for each direction an HMAC key and a cipher key, or one key of both.
fn assert_kernel_keys(replay: &Replay, skeyids: &Skeyids, hash: Hash, vector: &Value, name: &str) {
    let quick: Vec<_> =
        replay.protected.iter().filter(|message| message.header.exchange == ExchangeType::QUICK).collect();
    let spi = |index: usize| quick[index].first_spi();
    assert_eq!(spi(0), u32::from_be_bytes(octets(vector, "spi_i").try_into().unwrap()), "{name}");
    assert_eq!(spi(1), u32::from_be_bytes(octets(vector, "spi_r").try_into().unwrap()), "{name}");
    let nonce = |index: usize| quick[index].body_of(PayloadType::NONCE).unwrap();
    let pfs = Some(secret(vector, "qm_gxy")).filter(|secret| !secret.is_empty());
    let shown: Vec<Vec<u8>> = vector["kernel_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| hex(key[2].as_str().unwrap().strip_prefix("0x").unwrap()))
        .collect();
    let per_direction = shown.len() / 2;
    for (keys, spi) in shown.chunks(per_direction).zip([spi(1), spi(0)]) {
        let expected: Vec<u8> = keys.iter().rev().flatten().copied().collect();
        let ours =
            keymat(hash, &skeyids.d, pfs.as_ref(), ProtocolId::ESP, Spi(spi), nonce(0), nonce(1), expected.len());
        assert_eq!(ours, Secret::new(expected), "{name}");
    }
}

#[test]
fn every_recorded_message_is_an_isakmp_message_of_its_own_length() {
    let mut count = 0;
    for packet in recording::all_packets() {
        let header = Header::decode(&packet).unwrap();
        assert_eq!(usize::try_from(header.length).unwrap(), packet.len());
        count += 1;
    }
    assert_eq!(count, 4 * 11 + 13 + 11 + 121);
}
