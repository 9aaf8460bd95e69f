//! Our own certificate, and signing with its key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ike::config::{Credential, KeyHandle};
use ike::crypto::provider::{EcCurve, PublicKey};
use openssl::x509::X509;
use policy::model::algorithm::AuthMethod;
use policy::model::remote::CertificateFiles;
use policy::model::rsa_key::KeyScope;
use policy::plain_rsa::Purpose;

use super::leaf;
use super::load::{self, GOOD_RSA_BITS, LoadError};
use crate::signer::Signer;

/// Private keys by handle. They never leave it: it signs.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: Vec<(PathBuf, Signer)>,
    /// Files of keys without certificates, and the keys of each.
    plain: BTreeMap<PathBuf, Vec<(KeyScope, KeyHandle)>>,
}

impl KeyRing {
    /// Signs `octets` as IKEv1 wants it: see [`Signer::sign_unprefixed`].
    ///
    /// # Errors
    /// In words: an unknown handle, too many octets for the key, or OpenSSL's failure.
    pub fn sign(&self, handle: KeyHandle, octets: &[u8]) -> Result<Vec<u8>, String> {
        let signer = self.signer(handle).ok_or_else(|| format!("there is no private key number {}", handle.0))?;
        signer.sign_unprefixed(octets).map_err(|error| error.to_string())
    }

    fn signer(&self, handle: KeyHandle) -> Option<&Signer> {
        self.keys.get(usize::try_from(handle.0).ok()?).map(|(_, signer)| signer)
    }

    /// The methods that a key can sign for: those of RSA, or the one of its curve.
    pub fn can_sign(&self, handle: KeyHandle, method: AuthMethod) -> bool {
        match self.signer(handle).map(Signer::public_key) {
            Some(Ok(PublicKey::Rsa(_))) => method.we_sign() && EcCurve::of(method).is_none(),
            Some(Ok(PublicKey::Ec(key))) => EcCurve::of(method) == Some(key.curve),
            _ => false,
        }
    }

    /// The method of the curve that a key is on; `None` for RSA.
    pub fn curve_method(&self, handle: KeyHandle) -> Option<AuthMethod> {
        match self.signer(handle)?.public_key().ok()? {
            PublicKey::Rsa(_) => None,
            PublicKey::Ec(key) => Some(key.curve.method()),
        }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Is there no key?
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Loads certificate and key of a remote; a key file that is used twice is loaded once. Findings that do not forbid
    /// their use go to `warnings`.
    ///
    /// # Errors
    /// [`LoadError`] naming the file and what is wrong with it.
    pub fn load(&mut self, files: &CertificateFiles, warnings: &mut Vec<String>) -> Result<Credential, LoadError> {
        let (certificate, key_path) = (Path::new(&files.certificate), Path::new(&files.key));
        let chain = load::certificates(certificate)?;
        let handle = self.key(key_path, warnings)?;
        let Some(leaf) = chain.first() else {
            return Err(LoadError::NoCertificate { path: certificate.to_owned() });
        };
        self.check_pair(handle, leaf, key_path, certificate)?;
        let library = |error| LoadError::Library { path: certificate.to_owned(), error };
        let der = |certificates: &[X509]| certificates.iter().map(|one| one.to_der()).collect::<Result<Vec<_>, _>>();
        let issuers = chain.iter().map(|one| one.issuer_name().to_der()).collect::<Result<Vec<_>, _>>();
        Ok(Credential {
            key: handle,
            chain: der(&chain).map_err(library)?,
            subject: leaf.subject_name().to_der().map_err(library)?,
            issuers: issuers.map_err(library)?,
        })
    }

    /// Loads private keys without certificates (`certificate_type plain_rsa`), each for its ends; a file that is used
    /// twice is loaded once.
    ///
    /// # Errors
    /// [`LoadError`] naming the file, the place in it, and what is wrong there.
    pub fn load_plain(
        &mut self,
        path: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<(KeyScope, KeyHandle)>, LoadError> {
        if let Some(known) = self.plain.get(path) {
            return Ok(known.clone());
        }
        let file = load::rsa_keys(path, Purpose::Private, warnings)?;
        let mut handles = Vec::new();
        for entry in &file.entries {
            let Some(secrets) = &entry.secrets else { continue };
            let signer = Signer::from_numbers(&entry.public, secrets).map_err(|error| {
                let place = file.sources.locate(entry.span);
                LoadError::RsaKeys {
                    path: path.to_owned(),
                    findings: format!("{}:{}:{}: error: {error}", place.file, place.line, place.column),
                }
            })?;
            handles.push((entry.scope, self.add(path, signer)));
        }
        for (number, (scope, _)) in handles.iter().enumerate() {
            if handles.iter().take(number).any(|(earlier, _)| earlier == scope) {
                warnings.push(format!("{}: of several keys for the same two ends the first signs", path.display()));
                break;
            }
        }
        self.plain.insert(path.to_owned(), handles.clone());
        Ok(handles)
    }

    fn add(&mut self, path: &Path, signer: Signer) -> KeyHandle {
        self.keys.push((path.to_owned(), signer));
        KeyHandle(u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX))
    }

    fn key(&mut self, path: &Path, warnings: &mut Vec<String>) -> Result<KeyHandle, LoadError> {
        match self.keys.iter().position(|(known, _)| known == path) {
            Some(index) => Ok(KeyHandle(u32::try_from(index).unwrap_or(u32::MAX))),
            None => {
                let key = load::private_key(path)?;
                if let Ok(PublicKey::Rsa(public)) = key.public_key()
                    && public.modulus.len() * 8 < GOOD_RSA_BITS as usize
                {
                    warnings.push(format!(
                        "private key {} has only {} bits: use at least {GOOD_RSA_BITS}",
                        path.display(),
                        public.modulus.len() * 8
                    ));
                }
                Ok(self.add(path, key))
            }
        }
    }

    fn check_pair(&self, handle: KeyHandle, leaf: &X509, key: &Path, certificate: &Path) -> Result<(), LoadError> {
        let theirs = leaf::public_key(leaf)
            .map_err(|rejection| LoadError::KeyKind { path: certificate.to_owned(), reason: rejection.reason })?;
        match self.signer(handle) {
            Some(signer) if signer.public_key().is_ok_and(|ours| ours == theirs) => Ok(()),
            _ => Err(LoadError::Mismatch { key: key.to_owned(), certificate: certificate.to_owned() }),
        }
    }
}
