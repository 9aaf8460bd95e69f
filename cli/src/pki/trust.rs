//! Trust anchors and CRLs as they lie on the disk, read again when their files change.
//!
//! racoon built its store anew at each verification, so replacing a file was enough; so it is here. A file that could
//! not be read half way through its replacement, or a CRL that is older than the one before it, never makes a revoked
//! certificate good: what was known before stays in use.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Crl};

use super::load::{self, LoadError};
use crate::revocation::crl::is_delta;
use crate::revocation::crl::store::CrlStore;
use crate::revocation::issuer;
use crate::revocation::stamp::Stamp;

/// Files `<hash>.0` to `<hash>.7` are looked at.
const MAX_SAME_HASH: u32 = 8;
/// Certificate requests for the CAs of a hashed directory, at most.
const MAX_SUBJECTS: usize = 16;

/// A CRL file of no more octets is read by whoever needs it; a longer one by whoever watches the directory, if somebody does.
const READ_HERE: u64 = 1024 * 1024;

/// What a decision rested on: every file looked at, and its state then (`None`: it was not there).
pub(super) type Consulted = Vec<(PathBuf, Option<Stamp>)>;

/// A trust anchor.
#[derive(Clone)]
pub(super) struct Anchor {
    pub(super) certificate: X509,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(super) key: [u8; 32],
}

impl Anchor {
    fn new(certificate: X509) -> Option<Self> {
        let key = issuer::key_id(&certificate).ok()?;
        Some(Self { certificate, key })
    }
}

/// The files of one configuration.
pub(super) struct TrustFiles {
    directory: Option<PathBuf>,
    certificates: Mutex<HashMap<PathBuf, CertificateFile>>,
    crls: Mutex<HashMap<PathBuf, CrlFile>>,
    system: OnceLock<Arc<Vec<Anchor>>>,
}

/// What a file held when it had this stamp.
type CertificateFile = (Stamp, Arc<Vec<Anchor>>);

struct CrlFile {
    stamp: Stamp,
    current: Vec<Arc<X509Crl>>,
    /// From before the file went back in time.
    newer: Vec<Arc<X509Crl>>,
    problem: Option<String>,
}

impl fmt::Debug for TrustFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustFiles").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl TrustFiles {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory,
            certificates: Mutex::new(HashMap::new()),
            crls: Mutex::new(HashMap::new()),
            system: OnceLock::new(),
        }
    }

    /// The certificates of a file.
    pub(super) fn certificates(&self, path: &Path, consulted: &mut Consulted) -> Result<Arc<Vec<Anchor>>, LoadError> {
        let stamp = Stamp::of(path).unwrap_or(None);
        consulted.push((path.to_owned(), stamp));
        let mut cache = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(stamp), Some((known, anchors))) = (stamp, cache.get(path))
            && stamp == *known
        {
            return Ok(Arc::clone(anchors));
        }
        let anchors = Arc::new(load::certificates(path)?.into_iter().filter_map(Anchor::new).collect());
        match stamp {
            Some(stamp) => cache.insert(path.to_owned(), (stamp, Arc::clone(&anchors))),
            None => cache.remove(path),
        };
        Ok(anchors)
    }

    /// Every anchor that a remote with this `ca_type` file trusts, as far as these certificates need them: the file, or
    /// the system's default file without one, and `<hash>.0` of the directory for each issuer, upwards.
    pub(super) fn anchors(
        &self,
        ca_file: Option<&Path>,
        presented: &[&X509],
        consulted: &mut Consulted,
    ) -> Result<Vec<Anchor>, LoadError> {
        let mut anchors: Vec<Anchor> = match ca_file {
            Some(path) => self.certificates(path, consulted)?.as_ref().clone(),
            None => self.system_default().as_ref().clone(),
        };
        let mut wanted: Vec<u32> = presented.iter().map(|certificate| certificate.issuer_name_hash()).collect();
        let mut looked_up = Vec::new();
        while let Some(hash) = wanted.pop() {
            if looked_up.contains(&hash) {
                continue;
            }
            looked_up.push(hash);
            for found in self.hashed_anchors(hash, consulted) {
                wanted.push(found.certificate.issuer_name_hash());
                anchors.push(found);
            }
        }
        Ok(anchors)
    }

    /// DER subjects of the anchors, for certificate requests; without a file, of those in the hashed directory.
    pub(super) fn subjects(&self, ca_file: Option<&Path>) -> Result<Vec<Vec<u8>>, LoadError> {
        let mut subjects: Vec<Vec<u8>> = Vec::new();
        let mut add = |anchor: &Anchor| {
            if let Ok(subject) = anchor.certificate.subject_name().to_der()
                && !subjects.contains(&subject)
                && subjects.len() < MAX_SUBJECTS
            {
                subjects.push(subject);
            }
        };
        match (ca_file, &self.directory) {
            (Some(path), _) => self.certificates(path, &mut Vec::new())?.iter().for_each(&mut add),
            (None, Some(directory)) => {
                let pattern = directory.join("[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f].[0-9]");
                for path in glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten() {
                    // One unusable file among many is no reason to trust none.
                    if let Ok(anchors) = self.certificates(&path, &mut Vec::new()) {
                        anchors.iter().for_each(&mut add);
                    }
                }
            }
            (None, None) => {}
        }
        Ok(subjects)
    }

    /// The CRLs of the directory for these issuer names' hashes. What is odd about a file goes to `warnings`. Whoever watches
    /// the directory leaves what it has read in `store`.
    pub(super) fn crls(
        &self,
        hashes: &[u32],
        store: Option<&CrlStore>,
        consulted: &mut Consulted,
        warnings: &mut Vec<String>,
    ) -> Vec<Arc<X509Crl>> {
        let mut found = Vec::new();
        let Some(directory) = &self.directory else {
            return found;
        };
        for hash in hashes {
            for number in 0..MAX_SAME_HASH {
                let path = directory.join(format!("{hash:08x}.r{number}"));
                let Some(stamp) = Stamp::of(&path).unwrap_or(None) else {
                    found.extend(self.crls_of_gone(&path, warnings));
                    consulted.push((path, None));
                    break;
                };
                let (stamp, crls) = self.crl_file(path.clone(), stamp, store, warnings);
                consulted.push((path, stamp));
                found.extend(crls);
            }
        }
        found
    }

    fn hashed_anchors(&self, hash: u32, consulted: &mut Consulted) -> Vec<Anchor> {
        let mut anchors = Vec::new();
        let Some(directory) = &self.directory else {
            return anchors;
        };
        for number in 0..MAX_SAME_HASH {
            let path = directory.join(format!("{hash:08x}.{number}"));
            let stamp = Stamp::of(&path).unwrap_or(None);
            if stamp.is_none() {
                consulted.push((path, None));
                break;
            }
            if let Ok(found) = self.certificates(&path, consulted) {
                anchors.extend(found.iter().cloned());
            }
        }
        anchors
    }

    /// What the file says, and the stamp it had when it said that.
    fn crl_file(
        &self,
        path: PathBuf,
        stamp: Stamp,
        store: Option<&CrlStore>,
        warnings: &mut Vec<String>,
    ) -> (Option<Stamp>, Vec<Arc<X509Crl>>) {
        let mut cache = self.crls.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cache.remove(&path);
        let file = match (known, store) {
            (Some(known), _) if known.stamp == stamp => known,
            (before, Some(store)) => match store.of_file(&path, stamp) {
                Some(current) => CrlFile::replacing(before, &path, stamp, current),
                None if stamp.length() <= READ_HERE => read_crl_file(&path, stamp, before),
                // It is being read by whoever watches; until it is, the one before it counts and no handshake waits.
                None => match before {
                    Some(before) => before,
                    None => return (None, Vec::new()),
                },
            },
            (before, None) => read_crl_file(&path, stamp, before),
        };
        warnings.extend(file.problem.clone());
        let found = (Some(file.stamp), file.current.iter().chain(&file.newer).cloned().collect());
        cache.insert(path, file);
        found
    }

    /// What a file has said holds when it is gone (ATTACKS C-10).
    fn crls_of_gone(&self, path: &Path, warnings: &mut Vec<String>) -> Vec<Arc<X509Crl>> {
        let cache = self.crls.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = cache.get(path) else { return Vec::new() };
        let crls: Vec<_> = known.current.iter().chain(&known.newer).cloned().collect();
        if !crls.is_empty() {
            warnings.push(format!("CRL file {} is gone: what it said is still in use", path.display()));
        }
        crls
    }

    /// What OpenSSL trusts by default: racoon used it where no `ca_type` is written.
    fn system_default(&self) -> Arc<Vec<Anchor>> {
        let load = || {
            let mut builder = X509StoreBuilder::new()?;
            builder.set_default_paths()?;
            Ok::<_, openssl::error::ErrorStack>(builder.build().all_certificates())
        };
        let system = self.system.get_or_init(|| {
            let found = load().into_iter().flatten().filter_map(Anchor::new);
            Arc::new(found.collect())
        });
        Arc::clone(system)
    }
}

fn read_crl_file(path: &Path, stamp: Stamp, before: Option<CrlFile>) -> CrlFile {
    let kept = before.as_ref().map(CrlFile::all).unwrap_or_default();
    // keylime's old CAs publish an empty file where they have no CRL.
    if stamp.length() == 0 && kept.is_empty() {
        return CrlFile { stamp, current: Vec::new(), newer: Vec::new(), problem: None };
    }
    let current = match load::read_public("CRL", path) {
        Ok(octets) => parse_crls(&octets),
        Err(error) => {
            return CrlFile { stamp, current: kept, newer: Vec::new(), problem: Some(error.to_string()) };
        }
    };
    if current.is_empty() {
        let problem = Some(format!("CRL file {} holds no readable CRL", path.display()));
        return CrlFile { stamp, current: kept, newer: Vec::new(), problem };
    }
    CrlFile::replacing(before, path, stamp, current)
}

impl CrlFile {
    fn all(&self) -> Vec<Arc<X509Crl>> {
        self.current.iter().chain(&self.newer).cloned().collect()
    }

    /// What a file says now, and what it had said before it went back in time.
    fn replacing(before: Option<Self>, path: &Path, stamp: Stamp, current: Vec<Arc<X509Crl>>) -> Self {
        let kept = before.as_ref().map(Self::all).unwrap_or_default();
        let newer: Vec<Arc<X509Crl>> =
            kept.into_iter().filter(|old| current.iter().any(|new| supersedes(old, new))).collect();
        let problem = (!newer.is_empty())
            .then(|| format!("CRL file {} is older than the one it replaced: both are in use", path.display()));
        Self { stamp, current, newer, problem }
    }
}

/// Is `old` by the same issuer, and younger?
fn supersedes(old: &X509Crl, new: &X509Crl) -> bool {
    let same_issuer = match (old.issuer_name().to_der(), new.issuer_name().to_der()) {
        (Ok(old), Ok(new)) => old == new,
        _ => false,
    };
    same_issuer && old.last_update() > new.last_update()
}

/// CRLs in PEM (any number) or one in DER.
pub(crate) fn parse_crls(octets: &[u8]) -> Vec<Arc<X509Crl>> {
    const BEGIN: &str = "-----BEGIN X509 CRL-----";
    if let Ok(text) = std::str::from_utf8(octets)
        && text.contains(BEGIN)
    {
        let blocks = text.split(BEGIN).skip(1).map(|block| format!("{BEGIN}{block}"));
        let found = blocks.filter_map(|block| X509Crl::from_pem(block.as_bytes()).ok());
        return found.filter(is_whole).map(Arc::new).collect();
    }
    X509Crl::from_der(octets).into_iter().filter(is_whole).map(Arc::new).collect()
}

/// A delta CRL is none by itself (ATTACKS C-4).
fn is_whole(crl: &X509Crl) -> bool {
    crl.to_der().is_ok_and(|der| !is_delta(&der))
}
