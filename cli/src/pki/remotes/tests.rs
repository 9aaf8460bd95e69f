//! Loading what a configuration names: each fault with its file and its fix; the keylime layout as it stands.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use policy::model::algorithm::{Cipher as PhaseCipher, Group, Hash, SizedCipher};
use policy::model::identity::ConfiguredId;
use policy::model::lifetime::Lifetime;
use policy::model::proposal::Phase1Proposal;
use policy::model::remote::CertificateFiles;
use tempfile::TempDir;

use super::*;
use crate::revocation::deny_list::DenyList;

/// A folder with `ca.crt`, `mycert.crt`, `mykey.pem` and a configuration that names them.
struct Fixture {
    folder: TempDir,
    daemon: DaemonConfig,
}

fn key(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

fn certificate(name: &str, key: &PKey<Private>, issuer: &str, with: &PKey<Private>) -> X509 {
    let named = |name: &str| {
        let mut builder = X509NameBuilder::new().unwrap();
        builder.append_entry_by_text("C", "US").unwrap();
        builder.append_entry_by_text("CN", name).unwrap();
        builder.build()
    };
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(2).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&named(name)).unwrap();
    builder.set_issuer_name(&named(issuer)).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.sign(with, MessageDigest::sha256()).unwrap();
    builder.build()
}

impl Fixture {
    fn new(bits: u32) -> Self {
        Self::with_key(&key(bits))
    }

    fn with_key(mine: &PKey<Private>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = key(2048);
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::write(path("ca.crt"), certificate("CA", &ca, "CA", &ca).to_pem().unwrap()).unwrap();
        fs::write(path("mycert.crt"), certificate("host", mine, "CA", &ca).to_pem().unwrap()).unwrap();
        let remote = Remote {
            my_identifier: MyIdentifier::CertificateSubject,
            certificate: Some(CertificateFiles { certificate: path("mycert.crt"), key: path("mykey.pem") }),
            ca_file: Some(path("ca.crt")),
            ..Remote::default()
        };
        let directory = Some(folder.path().to_string_lossy().into_owned());
        let daemon = DaemonConfig { remotes: vec![remote], certificate_dir: directory, ..DaemonConfig::default() };
        let fixture = Self { folder, daemon };
        fixture.write_key(&mine.private_key_to_pem_pkcs8().unwrap());
        fixture
    }

    fn write_key(&self, pem: &[u8]) {
        let path = self.folder.path().join("mykey.pem");
        fs::write(&path, pem).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    fn remote(&mut self) -> &mut Remote {
        &mut self.daemon.remotes[0]
    }

    fn load(&self) -> Result<Loaded, Vec<LoadError>> {
        let list = DenyList::open(self.folder.path().join("revoked")).unwrap();
        load(&self.daemon, Arc::new(Mutex::new(list)))
    }

    /// What is wrong, the folder's name left out.
    fn faults(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let errors = self.load().expect_err("something is wrong");
        errors.iter().map(|error| error.to_string().replace(&folder, "")).collect()
    }
}

#[test]
fn a_certificate_and_its_key() {
    let mut fixture = Fixture::new(2048);
    let loaded = fixture.load().unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let remote = &loaded.config.remotes[0];
    let credential = remote.credential.as_ref().unwrap();
    assert_eq!(dn::one_line(&credential.subject), "/C=US/CN=host");
    assert_eq!(dn::one_line(&credential.issuers[0]), "/C=US/CN=CA");
    assert_eq!(remote.accepted_issuers, credential.issuers);
    assert_eq!(remote.my_identity, Some(Identity::Asn1Dn(credential.subject.clone())));
    assert_eq!(loaded.keys.sign(credential.key, &[7; 32]).unwrap().len(), 256);
    assert!(loaded.keys.sign(ike::config::KeyHandle(9), &[7; 32]).is_err());
    // The subject written out is sent in the certificate's own encoding, whatever the string types.
    let written = MyIdentifier::Value(ConfiguredId::Asn1Dn("C=US, CN=HOST".to_owned()));
    fixture.remote().my_identifier = written;
    assert_eq!(fixture.load().unwrap().config.remotes[0].my_identity, remote.my_identity);
    // A key used twice is one key.
    let again = fixture.remote().clone();
    fixture.daemon.remotes.push(again);
    let loaded = fixture.load().unwrap();
    assert_eq!(loaded.keys.len(), 1);
    assert_eq!(loaded.config.remotes[1].id, RemoteId(1));
}

fn proposal(auth: AuthMethod) -> Phase1Proposal {
    Phase1Proposal {
        cipher: SizedCipher { cipher: PhaseCipher::Aes, key_bits: Some(256) },
        hash: Hash::Sha256,
        auth,
        group: Group::Modp2048,
        lifetime: Lifetime { time: Duration::from_secs(3600), kilobytes: None },
    }
}

/// The key says which signature `rsasig` is; a method that it cannot sign for is refused with its file.
#[test]
fn the_method_follows_the_key() {
    let ec = |name: Nid| {
        let group = EcGroup::from_curve_name(name).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    };
    let keys = [
        (key(2048), AuthMethod::RsaSignature, 256),
        (ec(Nid::X9_62_PRIME256V1), AuthMethod::EcdsaP256, 64),
        (ec(Nid::SECP384R1), AuthMethod::EcdsaP384, 96),
        (ec(Nid::SECP521R1), AuthMethod::EcdsaP521, 132),
    ];
    for (key, method, octets) in keys {
        let mut fixture = Fixture::with_key(&key);
        fixture.remote().proposals =
            [AuthMethod::RsaSignature, AuthMethod::PreSharedKey, method].map(proposal).to_vec();
        let loaded = fixture.load().unwrap();
        let remote = &loaded.config.remotes[0];
        let methods: Vec<AuthMethod> = remote.remote.proposals.iter().map(|proposal| proposal.auth).collect();
        assert_eq!(methods, [method, AuthMethod::PreSharedKey, method]);
        let handle = remote.credential.as_ref().unwrap().key;
        let hash = vec![7; method.signature_hash().unwrap_or(Hash::Sha256).facts().output];
        assert_eq!(loaded.keys.sign(handle, &hash).unwrap().len(), octets);
        let other = if method == AuthMethod::EcdsaP384 { AuthMethod::EcdsaP256 } else { AuthMethod::EcdsaP384 };
        fixture.remote().proposals = vec![proposal(other)];
        let fault = format!("remote anonymous: {} needs another kind of key than mycert.crt has", other.racoon_name());
        assert_eq!(fixture.faults(), [fault]);
    }
}

/// As racoon: a file with keys that others may read is not used, and the line says how to mend it.
#[test]
fn keys_that_others_may_read_are_not_used() {
    let mut fixture = Fixture::new(2048);
    let path = fixture.folder.path().join("psk.txt");
    fs::write(&path, "192.0.2.1 a key of some thirty characters\n").unwrap();
    fixture.daemon.psk_file = Some(path.to_string_lossy().into_owned());
    fixture.remote().proposals = vec![proposal(AuthMethod::PreSharedKey)];
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let loaded = fixture.load().unwrap();
    assert!(loaded.config.psks.is_empty());
    assert!(loaded.warnings[0].contains("has weak file permission 0640: chmod 600"), "{:?}", loaded.warnings);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let loaded = fixture.load().unwrap();
    assert!(loaded.config.psks.for_address([192, 0, 2, 1].into()).is_some());
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn anchors_of_the_hashed_directory_are_asked_for() {
    let mut fixture = Fixture::new(2048);
    fixture.remote().ca_file = None;
    assert_eq!(fixture.load().unwrap().config.remotes[0].accepted_issuers, Vec::<Vec<u8>>::new());
    let ca = X509::from_pem(&fs::read(fixture.folder.path().join("ca.crt")).unwrap()).unwrap();
    let link = fixture.folder.path().join(format!("{:08x}.0", ca.subject_name_hash()));
    symlink(fixture.folder.path().join("ca.crt"), link).unwrap();
    assert_eq!(fixture.load().unwrap().config.remotes[0].accepted_issuers.len(), 1);
}

#[test]
fn what_is_missing_is_named() {
    let mut fixture = Fixture::new(2048);
    let folder = fixture.folder.path().to_owned();
    fs::remove_file(folder.join("mykey.pem")).unwrap();
    assert_eq!(fixture.faults(), ["private key file mykey.pem does not exist"]);
    fs::remove_file(folder.join("mycert.crt")).unwrap();
    assert_eq!(fixture.faults(), ["certificate file mycert.crt does not exist"]);
    // Every remote's fault at once.
    let mut other = fixture.remote().clone();
    other.certificate = None;
    other.my_identifier = MyIdentifier::LocalAddress;
    other.ca_file = Some(folder.join("gone.crt").to_string_lossy().into_owned());
    fixture.daemon.remotes.push(other);
    let mut third = fixture.daemon.remotes[1].clone();
    (third.ca_file, third.peers_certfile) = (None, Some(folder.to_string_lossy().into_owned()));
    fixture.daemon.remotes.push(third);
    let faults = fixture.faults();
    assert_eq!(faults[..2], ["certificate file mycert.crt does not exist", "certificate file gone.crt does not exist"]);
    assert!(faults[2].ends_with("is not a regular file"), "{faults:?}");
    fixture.remote().certificate = None;
    fixture.daemon.remotes.truncate(1);
    assert_eq!(fixture.faults(), ["remote anonymous: my_identifier asn1dn without a value needs a certificate_type"]);
    fixture.remote().my_identifier = MyIdentifier::Value(ConfiguredId::Asn1Dn("CN=*".to_owned()));
    assert!(fixture.faults()[0].starts_with("my_identifier of remote anonymous: \"*\" stands for any value"));
}

#[test]
fn weak_permissions_are_refused_with_the_fix() {
    let fixture = Fixture::new(2048);
    let key = fixture.folder.path().join("mykey.pem");
    for mode in [0o640, 0o604, 0o660, 0o601] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let expected = format!("private key file mykey.pem has weak file permission {mode:04o}: chmod 600 mykey.pem");
        assert_eq!(fixture.faults(), [expected]);
    }
    fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
    fixture.load().unwrap();
    fs::set_permissions(fixture.folder.path().join("ca.crt"), Permissions::from_mode(0o646)).unwrap();
    assert_eq!(fixture.faults(), ["certificate file ca.crt has weak file permission 0646: chmod o-w ca.crt"]);
}

#[test]
fn links_are_followed_to_what_they_lead_to() {
    let mut fixture = Fixture::new(2048);
    let folder = fixture.folder.path().to_owned();
    symlink(folder.join("mykey.pem"), folder.join("link.pem")).unwrap();
    let link = folder.join("link.pem").to_string_lossy().into_owned();
    fixture.remote().certificate.as_mut().unwrap().key = link;
    fixture.load().unwrap();
    fs::set_permissions(folder.join("mykey.pem"), Permissions::from_mode(0o644)).unwrap();
    assert!(fixture.faults()[0].contains("link.pem has weak file permission 0644"));
}

#[test]
fn keys_that_cannot_sign_for_the_certificate() {
    let fixture = Fixture::new(2048);
    fixture.write_key(&key(2048).private_key_to_pem_pkcs8().unwrap());
    assert_eq!(fixture.faults(), ["private key mykey.pem does not belong to certificate mycert.crt"]);
    fixture.write_key(&key(1024).private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"x").unwrap());
    assert!(fixture.faults()[0].starts_with("private key file mykey.pem: private key is encrypted"));
    fixture.write_key(b"nothing");
    assert!(fixture.faults()[0].starts_with("private key file mykey.pem: no private key in PEM form"));
    fs::write(fixture.folder.path().join("mycert.crt"), "nothing").unwrap();
    assert_eq!(fixture.faults(), ["certificate file mycert.crt holds no certificate, in PEM or DER"]);
    assert!(Fixture::new(768).faults()[0].contains("768 bits"));
    let warnings = Fixture::new(1024).load().unwrap().warnings;
    assert!(warnings[0].ends_with("mykey.pem has only 1024 bits: use at least 2048"), "{warnings:?}");
}

#[test]
fn chains_and_der() {
    let fixture = Fixture::new(2048);
    let folder = fixture.folder.path();
    let (mine, ca) = (fs::read(folder.join("mycert.crt")).unwrap(), fs::read(folder.join("ca.crt")).unwrap());
    fs::write(folder.join("mycert.crt"), [mine.clone(), b"a note\n".to_vec(), ca].concat()).unwrap();
    let loaded = fixture.load().unwrap();
    let credential = loaded.config.remotes[0].credential.clone().unwrap();
    assert_eq!((credential.chain.len(), credential.issuers.len()), (2, 2));
    let der = X509::from_pem(&mine).unwrap().to_der().unwrap();
    fs::write(folder.join("mycert.crt"), &der).unwrap();
    assert_eq!(fixture.load().unwrap().config.remotes[0].credential.as_ref().unwrap().chain, [der]);
}

#[test]
fn a_keyid_is_the_content_of_its_file() {
    let mut fixture = Fixture::new(2048);
    let path = fixture.folder.path().join("keyid");
    fs::write(&path, b"\x00\x01id").unwrap();
    fixture.remote().my_identifier = MyIdentifier::Value(ConfiguredId::KeyIdFile(path.to_string_lossy().into_owned()));
    assert_eq!(fixture.load().unwrap().config.remotes[0].my_identity, Some(Identity::KeyId(b"\x00\x01id".to_vec())));
    fs::remove_file(path).unwrap();
    assert_eq!(fixture.faults(), ["keyid file keyid does not exist"]);
}

/// `plain_rsa`: keys of ours and of peers, and each file that cannot be used with the place in it.
#[test]
fn keys_without_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, mode: u32, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Some(path.to_string_lossy().into_owned())
    };
    let key = Rsa::generate(2048).unwrap();
    let private = plain::private_text(&key);
    let public = plain::public_text(key.n(), key.e());
    let daemon = |rsa_private, rsa_public| DaemonConfig {
        remotes: vec![Remote { rsa_private, rsa_public, ..Remote::default() }],
        ..DaemonConfig::default()
    };
    let list = || {
        let list = DenyList::open(folder.path().join("revoked")).unwrap();
        Arc::new(Mutex::new(list))
    };
    let own = write("own", 0o600, &private);
    let peers = write("peers", 0o644, &format!("192.0.2.1 {public}\n"));
    let loaded = load(&daemon(own.clone(), peers.clone()), list()).unwrap();
    let remote = &loaded.config.remotes[0];
    let at = |last| std::net::IpAddr::from([192, 0, 2, last]);
    assert!(remote.can_sign() && remote.signing_key(at(9), at(1)).is_some());
    let known = remote.raw_keys.peers.as_ref().unwrap();
    assert!(known[0].1.name.contains("peers:1 (SHA256:"), "{}", known[0].1.name);
    let alone = load(&daemon(own.clone(), None), list()).unwrap();
    assert_eq!(alone.config.remotes[0].raw_keys.peers, Some(Vec::new()), "nobody is accepted");

    let other = plain::private_text(&Rsa::generate(2048).unwrap());
    let pick = |text: &str, name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    let mixed = private.replace(&pick(&private, "PrivateExponent"), &pick(&other, "PrivateExponent"));
    for (rsa_private, rsa_public, words) in [
        (write("open", 0o640, &private), peers.clone(), "weak file permission 0640"),
        (write("mixed", 0o600, &mixed), peers.clone(), "mixed:2:1: error: private key is damaged"),
        (
            peers.clone().and(write("public", 0o600, &public)),
            peers,
            "public:1:3: error: a public key in a file of private",
        ),
        (own, write("broken", 0o644, &format!("{public}!")), "broken:1:7: error: this is no number"),
    ] {
        let errors = load(&daemon(rsa_private, rsa_public), list()).unwrap_err();
        let text = errors[0].to_string();
        assert!(text.contains(words) && errors[0].path().is_some() && !text.contains('\n'), "{text}");
    }
}
