//! Makes certificates and CRLs, good ones and bad ones, in a few words each.

use std::cell::Cell;
use std::sync::OnceLock;

use ike::identity::der;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time, Asn1Type};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509NameBuilder};

/// The time of every test: certificates live around it, whatever the clock says.
pub const NOW: u64 = 1_800_000_000;
/// Seconds of a day.
pub const DAY: u64 = 86_400;

/// A certificate and the key that goes with it.
pub struct Made {
    /// The certificate.
    pub certificate: X509,
    /// Its key.
    pub key: PKey<Private>,
}

impl Made {
    /// The certificate in DER.
    pub fn der(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }
}

/// A certificate to be.
pub struct Maker {
    name: X509Name,
    key: PKey<Private>,
    public: Option<PKey<Public>>,
    serial: Vec<u8>,
    from: u64,
    until: u64,
    digest: MessageDigest,
    ca: Option<Option<u32>>,
    usage: Option<KeyUsage>,
    purpose: Option<ExtendedKeyUsage>,
    alternative: Option<SubjectAlternativeName>,
    more: Vec<(String, bool, Vec<u8>)>,
}

/// An authority, as OpenSSL's recipes make them.
pub fn ca(name: &str) -> Maker {
    Maker::new(name).authority().usage(|usage| usage.key_cert_sign().crl_sign())
}

/// A host's certificate without any extension.
pub fn leaf(name: &str) -> Maker {
    Maker::new(name)
}

/// One of a few keys of 2048 bits, another one than the last ones this thread got: making them is most of the work.
fn any_key() -> PKey<Private> {
    static KEYS: [OnceLock<PKey<Private>>; 8] = [const { OnceLock::new() }; 8];
    thread_local! {
        static NEXT: Cell<usize> = const { Cell::new(0) };
    }
    let next = NEXT.get();
    NEXT.set(next + 1);
    KEYS[next % KEYS.len()].get_or_init(|| rsa(2048)).clone()
}

/// A fresh RSA key.
pub fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// A fresh key on P-256.
pub fn ec() -> PKey<Private> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap()
}

impl Maker {
    /// A certificate valid for a month around [`NOW`] with a key of its own.
    pub fn new(name: &str) -> Self {
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        Self {
            name: subject.build(),
            key: any_key(),
            public: None,
            serial: vec![1],
            from: NOW - DAY,
            until: NOW + 30 * DAY,
            digest: MessageDigest::sha256(),
            ca: None,
            usage: None,
            purpose: None,
            alternative: None,
            more: Vec::new(),
        }
    }

    pub fn authority(mut self) -> Self {
        self.ca = Some(None);
        self
    }

    pub fn path_length(mut self, length: u32) -> Self {
        self.ca = Some(Some(length));
        self
    }

    pub fn key(mut self, key: &PKey<Private>) -> Self {
        self.key = key.clone();
        self
    }

    /// A public key made of these numbers; nobody has the private one.
    pub fn public(mut self, modulus: &[u8], exponent: &[u8]) -> Self {
        let (modulus, exponent) = (BigNum::from_slice(modulus).unwrap(), BigNum::from_slice(exponent).unwrap());
        let key = Rsa::from_public_components(modulus, exponent).unwrap();
        self.public = Some(PKey::from_rsa(key).unwrap());
        self
    }

    pub fn serial(self, serial: u32) -> Self {
        self.serial_octets(&serial.to_be_bytes())
    }

    /// Big endian.
    pub fn serial_octets(mut self, serial: &[u8]) -> Self {
        self.serial = serial.to_vec();
        self
    }

    /// A subject of this text and type alone.
    pub fn named(mut self, text: &str, kind: Asn1Type) -> Self {
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text_with_type("CN", text, kind).unwrap();
        self.name = subject.build();
        self
    }

    pub fn valid(mut self, from: u64, until: u64) -> Self {
        (self.from, self.until) = (from, until);
        self
    }

    pub fn digest(mut self, digest: MessageDigest) -> Self {
        self.digest = digest;
        self
    }

    pub fn usage(mut self, add: impl FnOnce(&mut KeyUsage) -> &mut KeyUsage) -> Self {
        let mut usage = KeyUsage::new();
        add(usage.critical());
        self.usage = Some(usage);
        self
    }

    pub fn purpose(mut self, purpose: &str) -> Self {
        let mut purposes = ExtendedKeyUsage::new();
        purposes.other(purpose);
        self.purpose = Some(purposes);
        self
    }

    pub fn dns(mut self, name: &str) -> Self {
        self.alternative.get_or_insert_default().dns(name);
        self
    }

    pub fn email(mut self, name: &str) -> Self {
        self.alternative.get_or_insert_default().email(name);
        self
    }

    pub fn ip(mut self, address: &str) -> Self {
        self.alternative.get_or_insert_default().ip(address);
        self
    }

    /// Any extension by its contents.
    pub fn extension(mut self, oid: &str, critical: bool, contents: &[u8]) -> Self {
        self.more.push((oid.to_owned(), critical, contents.to_vec()));
        self
    }

    /// nameConstraints (RFC 5280 §4.2.1.10): `permittedSubtrees` with one dNSName.
    pub fn permits_dns(self, domain: &str) -> Self {
        let contents = wrap(0x30, &wrap(0xa0, &wrap(0x30, &wrap(0x82, domain.as_bytes()))));
        self.extension("2.5.29.30", true, &contents)
    }

    pub fn sign_self(self) -> Made {
        let (name, key) = (self.name.to_owned().unwrap(), self.key.clone());
        self.sign(&name, &key)
    }

    pub fn signed_by(self, issuer: &Made) -> Made {
        self.sign(&issuer.certificate.subject_name().to_owned().unwrap(), &issuer.key)
    }

    fn sign(self, issuer: &X509Name, with: &PKey<Private>) -> Made {
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&BigNum::from_slice(&self.serial).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&self.name).unwrap();
        builder.set_issuer_name(issuer).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(self.from as i64).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(self.until as i64).unwrap()).unwrap();
        match &self.public {
            Some(public) => builder.set_pubkey(public).unwrap(),
            None => builder.set_pubkey(&self.key).unwrap(),
        }
        for extension in self.extensions(&builder) {
            builder.append_extension(extension).unwrap();
        }
        builder.sign(with, self.digest).unwrap();
        Made { certificate: builder.build(), key: self.key }
    }

    fn extensions(&self, builder: &X509Builder) -> Vec<X509Extension> {
        let mut list = Vec::new();
        if let Some(length) = self.ca {
            let mut constraints = BasicConstraints::new();
            constraints.critical().ca();
            length.map(|length| constraints.pathlen(length));
            list.push(constraints.build().unwrap());
        }
        list.extend(self.usage.iter().map(|usage| usage.build().unwrap()));
        list.extend(self.purpose.iter().map(|purpose| purpose.build().unwrap()));
        let context = builder.x509v3_context(None, None);
        list.extend(self.alternative.iter().map(|names| names.build(&context).unwrap()));
        list.extend(self.more.iter().map(|(oid, critical, contents)| {
            let oid = Asn1Object::from_str(oid).unwrap();
            let contents = Asn1OctetString::new_from_bytes(contents).unwrap();
            X509Extension::new_from_der(&oid, *critical, &contents).unwrap()
        }));
        list
    }
}

/// A CRL as keylime makes them: version 2, no extension at all. (OpenSSL's builder insists on some.)
pub struct Crl<'a> {
    /// Who signs it.
    pub issuer: &'a Made,
    /// Serials, big endian.
    pub revoked: Vec<Vec<u8>>,
    /// thisUpdate, Unix seconds.
    pub last_update: u64,
    /// nextUpdate.
    pub next_update: u64,
    /// When the entries were revoked.
    pub revoked_at: u64,
    /// crlEntryExtensions of each entry, by their contents.
    pub of_entries: Vec<Odd>,
    /// crlExtensions, by their contents.
    pub extensions: Vec<Odd>,
}

/// An extension: the last octet of an OID below 2.5.29, critical, contents.
pub type Odd = (u8, bool, Vec<u8>);

/// Extensions in DER; nothing if there are none.
fn odd(list: &[Odd]) -> Vec<u8> {
    if list.is_empty() {
        return Vec::new();
    }
    let one = |(oid, critical, contents): &Odd| {
        let critical: &[u8] = if *critical { &[1, 1, 0xff] } else { &[] };
        wrap(0x30, &[wrap(6, &[0x55, 0x1d, *oid]), critical.to_vec(), wrap(4, contents)].concat())
    };
    wrap(0x30, &list.iter().map(one).collect::<Vec<_>>().concat())
}

impl<'a> Crl<'a> {
    pub fn of(issuer: &'a Made) -> Self {
        let (last_update, next_update) = (NOW - DAY, NOW + DAY);
        let (of_entries, extensions) = (Vec::new(), Vec::new());
        Self { issuer, revoked: Vec::new(), last_update, next_update, revoked_at: last_update, of_entries, extensions }
    }

    pub fn revoking(mut self, serials: &[u8]) -> Self {
        self.revoked = serials.iter().map(|&serial| vec![serial]).collect();
        self
    }

    /// RFC 5280 §5.1, signed with SHA-256 and RSA.
    pub fn der(&self) -> Vec<u8> {
        let name = self.issuer.certificate.subject_name().to_der().unwrap();
        let mut body = vec![2, 1, 1];
        body.extend(RSA_SHA256);
        body.extend(name);
        body.extend(time(self.last_update));
        body.extend(time(self.next_update));
        if !self.revoked.is_empty() {
            let entries = self.revoked.iter().map(|serial| {
                let padded: Vec<u8> = serial
                    .first()
                    .filter(|&&first| first >= 0x80)
                    .map(|_| 0)
                    .into_iter()
                    .chain(serial.clone())
                    .collect();
                wrap(0x30, &[wrap(2, &padded), time(self.revoked_at), odd(&self.of_entries)].concat())
            });
            body.extend(wrap(0x30, &entries.collect::<Vec<_>>().concat()));
        }
        if !self.extensions.is_empty() {
            body.extend(wrap(0xa0, &odd(&self.extensions)));
        }
        let body = wrap(0x30, &body);
        let mut signer = Signer::new(MessageDigest::sha256(), &self.issuer.key).unwrap();
        let signature = signer.sign_oneshot_to_vec(&body).unwrap();
        wrap(0x30, &[body, RSA_SHA256.to_vec(), wrap(3, &[vec![0], signature].concat())].concat())
    }
}

/// A PKCS#7 bundle of certificates: signedData without signers (RFC 2315 §9).
pub fn bundle(certificates: &[&Made]) -> Vec<u8> {
    let data = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    let signed_data = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    let certificates: Vec<u8> = certificates.iter().flat_map(|one| one.der()).collect();
    let body = [vec![2, 1, 1], wrap(0x31, &[]), wrap(0x30, &data), wrap(0xa0, &certificates), wrap(0x31, &[])].concat();
    wrap(0x30, &[signed_data.to_vec(), wrap(0xa0, &wrap(0x30, &body))].concat())
}

/// A DER value.
pub fn wrap(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    der::write(&mut out, tag, value);
    out
}

/// The certificate with these octets in place of those, signed once more: what no builder makes.
pub fn altered(made: &Made, issuer: &Made, from: &[u8], to: &[u8]) -> Vec<u8> {
    let der = made.der();
    let content = |der: &[u8]| -> (usize, usize) {
        match der[1] {
            short @ 0..0x80 => (2, usize::from(short)),
            long => {
                let count = usize::from(long & 0x7f);
                (2 + count, der[2..2 + count].iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))
            }
        }
    };
    let (begin, _) = content(&der);
    let (head, length) = content(&der[begin..]);
    let mut body = der[begin..begin + head + length].to_vec();
    assert_eq!(from.len(), to.len());
    let at = body.windows(from.len()).position(|window| window == from).expect("octets to alter");
    body[at..at + to.len()].copy_from_slice(to);
    let mut signer = Signer::new(MessageDigest::sha256(), &issuer.key).unwrap();
    let signature = signer.sign_oneshot_to_vec(&body).unwrap();
    wrap(0x30, &[body, RSA_SHA256.to_vec(), wrap(3, &[vec![0], signature].concat())].concat())
}

/// sha256WithRSAEncryption.
const RSA_SHA256: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0];

/// UTCTime, through the text OpenSSL prints: `Jan 15 08:00:00 2027 GMT`.
fn time(unix: u64) -> Vec<u8> {
    let text = Asn1Time::from_unix(unix as i64).unwrap().to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|month| *month == words[0]).unwrap() + 1;
    let day: u8 = words[1].parse().unwrap();
    wrap(0x17, format!("{}{month:02}{day:02}{}Z", &words[3][2..], words[2].replace(':', "")).as_bytes())
}
