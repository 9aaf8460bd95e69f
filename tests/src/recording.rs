//! Reads the recorded handshakes of `vectors/`; a field that is not there fails the test that asked for it.

use std::path::Path;

use ike::crypto::provider::{EcCurve, EcPublicKey, RsaPublicKey};
use ike::wire::header::Cookie;
use ike::wire::number::PayloadType;
use openssl::bn::{BigNum, BigNumContext};
use openssl::x509::X509;
use policy::model::algorithm::{Cipher, Hash, SizedCipher};
use policy::model::secret::Secret;
use serde_json::Value;

/// One recorded datagram.
#[derive(Clone, Debug)]
pub struct Packet {
    /// `I` or `R`.
    pub from: String,
    /// The ISAKMP message.
    pub octets: Vec<u8>,
}

/// A file of `vectors/`.
pub fn load(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Octets from hex.
pub fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// A field in hex.
pub fn octets(vector: &Value, field: &str) -> Vec<u8> {
    hex(vector[field].as_str().unwrap_or_else(|| panic!("no {field}")))
}

/// A field in hex that is a key.
pub fn secret(vector: &Value, field: &str) -> Secret {
    Secret::new(octets(vector, field))
}

/// Initiator cookie and responder cookie.
pub fn cookies(vector: &Value) -> (Cookie, Cookie) {
    let cookie = |field| Cookie(octets(vector, field).try_into().unwrap());
    (cookie("cky_i"), cookie("cky_r"))
}

/// Those of the vector's own ISAKMP SA: one recording ends with the beginning of another.
pub fn packets(vector: &Value) -> Vec<Packet> {
    let cookie = octets(vector, "cky_i");
    all_of(vector).filter(|packet| packet.octets.starts_with(&cookie)).collect()
}

fn all_of(vector: &Value) -> impl Iterator<Item = Packet> + '_ {
    vector["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|packet| Packet { from: packet["from"].as_str().unwrap().to_owned(), octets: octets(packet, "hex") })
}

/// Every message of every file.
pub fn all_packets() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for file in ["psk-mainmode-quick.json", "sig-mainmode.json", "charon.json"] {
        match load(file) {
            Value::Array(vectors) => packets.extend(vectors.iter().flat_map(all_of).map(|packet| packet.octets)),
            Value::Object(vectors) => packets.extend(vectors.values().flat_map(all_of).map(|packet| packet.octets)),
            other => panic!("{file}: {other}"),
        }
    }
    packets
}

/// By racoon's name.
pub fn named_hash(name: &str) -> Hash {
    Hash::ALL.into_iter().find(|hash| hash.facts().racoon == name).unwrap_or_else(|| panic!("no hash {name}"))
}

/// By racoon's name and the octets of the key.
pub fn named_cipher(name: &str, key_octets: u64) -> SizedCipher {
    let cipher = Cipher::ALL.into_iter().find(|cipher| cipher.facts().racoon == name).unwrap();
    sized(cipher, u16::try_from(8 * key_octets).unwrap())
}

fn sized(cipher: Cipher, bits: u16) -> SizedCipher {
    SizedCipher { cipher, key_bits: cipher.facts().variable_key.then_some(bits) }
}

/// Hash and cipher by the numbers of the transform that was chosen.
pub fn charon(vector: &Value) -> (Hash, SizedCipher) {
    let attribute = |kind: &str| vector["attrs"][kind].as_u64().map(|value| u16::try_from(value).unwrap());
    let hash = Hash::from_phase1(attribute("2").unwrap()).unwrap();
    let cipher = Cipher::from_phase1(attribute("1").unwrap()).unwrap();
    (hash, sized(cipher, attribute("14").unwrap_or_default()))
}

/// The RSA key of a certificate (DER).
pub fn public_key(certificate: &[u8]) -> RsaPublicKey {
    let rsa = X509::from_der(certificate).unwrap().public_key().unwrap().rsa().unwrap();
    RsaPublicKey { modulus: rsa.n().to_vec(), exponent: rsa.e().to_vec() }
}

/// The P-256 key of a certificate (DER).
pub fn ec_public_key(certificate: &[u8]) -> EcPublicKey {
    let key = X509::from_der(certificate).unwrap().public_key().unwrap().ec_key().unwrap();
    let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
    let mut context = BigNumContext::new().unwrap();
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context).unwrap();
    EcPublicKey { curve: EcCurve::P256, x: x.to_vec_padded(32).unwrap(), y: y.to_vec_padded(32).unwrap() }
}

/// Chains that were encrypted in the recordings, with the type of their first payload.
pub fn plaintexts() -> Vec<(PayloadType, Vec<u8>)> {
    let mut chains = Vec::new();
    for vector in load("psk-mainmode-quick.json").as_array().into_iter().flatten() {
        let exchanges = vector["exchanges"].as_array().into_iter().flatten();
        chains.extend(exchanges.map(|exchange| (PayloadType::HASH, octets(exchange, "plain"))));
    }
    for vector in load("sig-mainmode.json").as_object().into_iter().flat_map(|vectors| vectors.values()) {
        chains.extend(["initiator", "responder"].map(|side| (PayloadType::ID, octets(&vector[side], "plain"))));
    }
    chains
}
