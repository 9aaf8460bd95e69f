//! Certificate authorities for a desk: roots, intermediates, leaves with chosen serials and faults, revocation lists, and
//! the hashed names that racoon and OpenSSL look them up by.
//!
//! RSA keys come from the `openssl` program (rcgen's signer cannot make them) and are kept below the target folder, since
//! one costs more to make than the rest of a scenario's setup.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use crate::failure::{During, Failure, Result};
use crate::process;

/// How many keys the store holds: more than any scenario needs.
const KEYS: usize = 12;

/// RSA-2048 keys, one per certificate of a scenario.
#[derive(Debug)]
pub struct KeyStore {
    folder: PathBuf,
    next: usize,
}

impl KeyStore {
    /// A store in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, next: 0 }
    }

    /// Where the keys lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the keys that are missing.
    ///
    /// # Errors
    /// When the `openssl` program fails.
    pub fn fill(&self) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        for path in (0..KEYS).map(|number| self.path(number)).filter(|path| !path.exists()) {
            let new = path.with_extension("new");
            process::check(
                Command::new("openssl")
                    .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
                    .arg(&new),
            )?;
            fs::rename(&new, &path)?;
        }
        Ok(())
    }

    /// A key that nobody else in this scenario has, as unencrypted PKCS#8 PEM.
    fn take(&mut self) -> Result<String> {
        let path = self.path(self.next);
        self.next += 1;
        fs::read_to_string(&path).during(path.display())
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("rsa-2048-{number:02}.pem"))
    }
}

/// Kinds of keys beside the usual RSA-2048.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with so many bits.
    Rsa(u16),
    /// On NIST's curve P-256, P-384 or P-521, by that number.
    Curve(u16),
}

impl KeyKind {
    /// What `openssl genpkey` makes it of.
    fn arguments(self) -> [String; 4] {
        let (algorithm, option) = match self {
            Self::Rsa(bits) => ("RSA", format!("rsa_keygen_bits:{bits}")),
            Self::Curve(number) => ("EC", format!("ec_paramgen_curve:P-{number}")),
        };
        ["-algorithm".to_owned(), algorithm.to_owned(), "-pkeyopt".to_owned(), option]
    }
}

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key: String,
    /// Its certificate.
    pub pem: String,
}

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate.
    pub pem: String,
    /// The private key, unencrypted PKCS#8.
    pub key: String,
    /// The serial, in decimal.
    pub serial: u64,
    /// The subject as OpenSSL's one-line form prints it, without spaces.
    pub common_name: String,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Current,
    /// It ended years ago.
    Expired,
    /// It begins in years.
    NotYet,
}

/// What a leaf says beside its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Key usage digitalSignature, as a careful CA issues it.
    Usual,
    /// As keylime's CA issues it: no key usage, no basic constraints, SAN with the uuid.
    Keylime,
}

/// A name of a certificate's owner beside its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlternativeName {
    /// A host name.
    Dns(&'static str),
    /// A mail address.
    Mail(&'static str),
    /// An IPv4 address.
    Address([u8; 4]),
}

impl Authority {
    /// Its private key, unencrypted PKCS#8.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A self-signed root.
    ///
    /// # Errors
    /// When signing fails.
    pub fn root(keys: &mut KeyStore, common_name: &str) -> Result<Self> {
        let key_pem = keys.take()?;
        let key = key_pair(&key_pem)?;
        let params = authority_params(common_name, 1, BasicConstraints::Unconstrained)?;
        let pem = params.self_signed(&key).during("self-signing a root")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), key: key_pem, pem })
    }

    /// A CA below this one.
    ///
    /// # Errors
    /// When signing fails.
    pub fn intermediate(&self, keys: &mut KeyStore, common_name: &str, serial: u64) -> Result<Self> {
        let key_pem = keys.take()?;
        let key = key_pair(&key_pem)?;
        let params = authority_params(common_name, serial, BasicConstraints::Constrained(0))?;
        let pem = params.signed_by(&key, &self.issuer).during("signing an intermediate")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), key: key_pem, pem })
    }

    /// A certificate for a host.
    ///
    /// # Errors
    /// When signing fails.
    pub fn leaf(&self, keys: &mut KeyStore, name: &str, serial: u64) -> Result<Leaf> {
        self.leaf_with(keys, name, serial, Validity::Current, Style::Usual)
    }

    /// A certificate for a host, with a key of another kind: all of it by the `openssl` program, which knows them all. Its
    /// files are left in `folder`.
    ///
    /// # Errors
    /// When the program fails.
    pub fn leaf_of(&self, folder: &Path, kind: KeyKind, name: &str, serial: u64) -> Result<Leaf> {
        let path = |ending: &str| folder.join(format!("{name}.{ending}"));
        let subject = format!("/C=US/O=Desk/CN={name}");
        fs::write(path("ca.pem"), &self.pem)?;
        fs::write(path("ca.key"), &self.key)?;
        fs::write(path("ext"), format!("keyUsage = digitalSignature\nsubjectAltName = DNS:{name}\n"))?;
        let openssl = |arguments: &[&str], files: &[(&str, &str)]| {
            let mut command = Command::new("openssl");
            command.args(arguments);
            for (option, ending) in files {
                command.arg(option).arg(path(ending));
            }
            process::check(&mut command).map(drop)
        };
        let [algorithm, which, option, value] = kind.arguments();
        openssl(&["genpkey", "-quiet", &algorithm, &which, &option, &value], &[("-out", "key")])?;
        openssl(&["req", "-new", "-sha256", "-subj", &subject], &[("-key", "key"), ("-out", "csr")])?;
        let serial_text = serial.to_string();
        openssl(
            &["x509", "-req", "-sha256", "-days", "3650", "-set_serial", &serial_text],
            &[("-in", "csr"), ("-CA", "ca.pem"), ("-CAkey", "ca.key"), ("-extfile", "ext"), ("-out", "crt")],
        )?;
        let (pem, key) = (fs::read_to_string(path("crt"))?, fs::read_to_string(path("key"))?);
        Ok(Leaf { pem, key, serial, common_name: name.to_owned() })
    }

    /// A certificate with a chosen validity and style.
    ///
    /// # Errors
    /// When signing fails.
    pub fn leaf_with(
        &self,
        keys: &mut KeyStore,
        name: &str,
        serial: u64,
        validity: Validity,
        style: Style,
    ) -> Result<Leaf> {
        let key_pem = keys.take()?;
        let mut params = CertificateParams::new(Vec::<String>::new()).during("certificate parameters")?;
        params.distinguished_name = subject(name);
        params.serial_number = Some(SerialNumber::from(serial));
        (params.not_before, params.not_after) = match validity {
            Validity::Current => (date_time_ymd(2024, 1, 1), date_time_ymd(2044, 1, 1)),
            Validity::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            Validity::NotYet => (date_time_ymd(2043, 1, 1), date_time_ymd(2044, 1, 1)),
        };
        params.use_authority_key_identifier_extension = true;
        let san = name.try_into().during("a DNS name")?;
        params.subject_alt_names = vec![SanType::DnsName(san)];
        if style == Style::Usual {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }
        let pem = params.signed_by(&key_pair(&key_pem)?, &self.issuer).during("signing a leaf")?.pem();
        Ok(Leaf { pem, key: key_pem, serial, common_name: name.to_owned() })
    }

    /// A certificate that ends at a moment since the epoch.
    ///
    /// # Errors
    /// When signing fails.
    pub fn leaf_until(&self, keys: &mut KeyStore, name: &str, serial: u64, end: Duration) -> Result<Leaf> {
        let key_pem = keys.take()?;
        let mut params = leaf_params(name, serial)?;
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(end.as_secs());
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().during("a DNS name")?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let pem = params.signed_by(&key_pair(&key_pem)?, &self.issuer).during("signing a leaf")?.pem();
        Ok(Leaf { pem, key: key_pem, serial, common_name: name.to_owned() })
    }

    /// A certificate with exactly these alternative names.
    ///
    /// # Errors
    /// When a name cannot be written or signing fails.
    pub fn leaf_named(&self, keys: &mut KeyStore, name: &str, serial: u64, names: &[AlternativeName]) -> Result<Leaf> {
        let key_pem = keys.take()?;
        let mut params = leaf_params(name, serial)?;
        for name in names {
            params.subject_alt_names.push(match name {
                AlternativeName::Dns(name) => SanType::DnsName((*name).try_into().during("a DNS name")?),
                AlternativeName::Mail(name) => SanType::Rfc822Name((*name).try_into().during("a mail address")?),
                AlternativeName::Address(octets) => SanType::IpAddress((*octets).into()),
            });
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let pem = params.signed_by(&key_pair(&key_pem)?, &self.issuer).during("signing a leaf")?.pem();
        Ok(Leaf { pem, key: key_pem, serial, common_name: name.to_owned() })
    }

    /// A list of revoked serials, valid for years.
    ///
    /// # Errors
    /// When signing fails.
    pub fn crl(&self, serials: &[u64]) -> Result<String> {
        self.list(serials, 2044)
    }

    /// The list of this number: a later one has a later time.
    ///
    /// # Errors
    /// When signing fails.
    pub fn crl_number(&self, number: u8, serials: &[u64]) -> Result<String> {
        self.list_of(number, serials, 2044)
    }

    /// A list of revoked serials that should have been replaced long ago.
    ///
    /// # Errors
    /// When signing fails.
    pub fn stale_crl(&self, serials: &[u64]) -> Result<String> {
        self.list(serials, 2025)
    }

    /// A list that is to be replaced at the beginning of this year.
    fn list(&self, serials: &[u64], next_year: i32) -> Result<String> {
        self.list_of(1, serials, next_year)
    }

    fn list_of(&self, number: u8, serials: &[u64], next_year: i32) -> Result<String> {
        let this_update = date_time_ymd(2024, 6, number);
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update,
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(u64::from(number)),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).during("signing a CRL")?.pem().during("a CRL as PEM")
    }
}

/// A certificate that signs itself, for peers that pin each other's instead of trusting a CA.
///
/// # Errors
/// When signing fails.
pub fn self_signed(keys: &mut KeyStore, name: &str, serial: u64) -> Result<Leaf> {
    let key_pem = keys.take()?;
    let params = leaf_params(name, serial)?;
    let pem = params.self_signed(&key_pair(&key_pem)?).during("self-signing")?.pem();
    Ok(Leaf { pem, key: key_pem, serial, common_name: name.to_owned() })
}

/// The hash of a certificate's subject under which `<hash>.0` and `<hash>.r0` are looked up.
///
/// # Errors
/// When the `openssl` program fails.
pub fn subject_hash(folder: &Path, pem: &str) -> Result<String> {
    let file = folder.join("hash-this.pem");
    fs::write(&file, pem)?;
    let out = process::check(Command::new("openssl").args(["x509", "-noout", "-hash", "-in"]).arg(&file))?;
    match out.trim() {
        "" => Err(Failure::new("openssl printed no hash")),
        hash => Ok(hash.to_owned()),
    }
}

fn key_pair(pem: &str) -> Result<KeyPair> {
    KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_RSA_SHA256).during("reading an RSA key")
}

fn subject(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CountryName, "US");
    dn.push(DnType::OrganizationName, "Desk");
    dn.push(DnType::CommonName, name);
    dn
}

/// A leaf that is valid now.
fn leaf_params(name: &str, serial: u64) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new()).during("certificate parameters")?;
    params.distinguished_name = subject(name);
    params.serial_number = Some(SerialNumber::from(serial));
    (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2044, 1, 1));
    Ok(params)
}

fn authority_params(name: &str, serial: u64, constraints: BasicConstraints) -> Result<CertificateParams> {
    let mut params = leaf_params(name, serial)?;
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
