//! The CRLs in use, one for each issuer's key: the newest that was found good, wherever it came from.
//!
//! A CRL counts once its signature was checked with its issuer's certificate; until that is known (an intermediate that
//! no peer has shown yet) it waits. What is older than the one in use is refused and said, also after a restart: the ones
//! in use lie on disk. One that has expired goes on counting for what it lists.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ike::event::question::CertificateId;
use openssl::x509::{X509, X509Crl};

use super::shelf::Shelf;
use super::{Crl, CrlError, Listed, Parsed};
use crate::revocation::issuer;
use crate::revocation::stamp::Stamp;

/// CRLs of unknown issuers that wait at most, and certificates of issuers that are kept.
const MAX_WAITING: usize = 64;
const MAX_ISSUERS: usize = 1024;

/// Where a CRL comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `<hash>.rN` of `path certificate`: OpenSSL's verifier is given it by whoever reads that directory.
    Directory(String),
    /// A configured file or URL.
    Configured(String),
    /// What an earlier life of the daemon left.
    Kept,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(name) | Self::Configured(name) => f.write_str(name),
            Self::Kept => f.write_str("the one kept from before"),
        }
    }
}

/// What became of a CRL that was offered.
#[derive(Debug)]
pub enum Offered {
    /// It is in use now; whatever rests on the certificates it lists has to go.
    Accepted(Arc<InUse>),
    /// It is the one in use already.
    Known,
    /// Nobody knows its issuer's certificate yet.
    Waiting,
    /// It is not used.
    Refused(CrlError),
}

/// A CRL in use.
#[derive(Clone, Debug)]
pub struct InUse {
    /// SHA-256 of its issuer's SubjectPublicKeyInfo.
    pub issuer_key: [u8; 32],
    /// The list.
    pub crl: Arc<Crl>,
    /// Where it came from.
    pub origin: Origin,
    /// When, Unix seconds.
    pub since: u64,
}

/// See the module's text.
#[derive(Debug)]
pub struct CrlStore {
    inner: Mutex<Inner>,
    files: Mutex<HashMap<PathBuf, (Stamp, Parsed)>>,
    shelf: Option<Shelf>,
}

#[derive(Debug, Default)]
struct Inner {
    in_use: HashMap<[u8; 32], Arc<InUse>>,
    waiting: Vec<(Arc<Crl>, Origin)>,
    /// Certificates of CAs: trust anchors, and what verified chains have shown.
    issuers: BTreeMap<[u8; 32], X509>,
    generation: u64,
    problems: Vec<String>,
}

impl CrlStore {
    /// With what an earlier life left on `shelf`; without one nothing outlives the process.
    pub fn open(shelf: Option<Shelf>, wall: u64) -> Self {
        let mut inner = Inner::default();
        if let Some(shelf) = &shelf {
            let (kept, problems) = shelf.read();
            inner.problems = problems;
            for (issuer_key, crl) in kept {
                let entry = InUse { issuer_key, crl: Arc::new(crl), origin: Origin::Kept, since: wall };
                inner.in_use.insert(issuer_key, Arc::new(entry));
            }
        }
        Self { inner: Mutex::new(inner), files: Mutex::default(), shelf }
    }

    /// Files of an earlier life that cannot be read, a line each.
    pub fn problems(&self) -> Vec<String> {
        self.lock().problems.clone()
    }

    /// A CRL that was found. Checks its signature: not on the loop.
    pub fn offer(&self, crl: Crl, origin: Origin, wall: u64) -> Offered {
        if let Err(error) = crl.check(wall) {
            return Offered::Refused(error);
        }
        let crl = Arc::new(crl);
        let candidates: Vec<([u8; 32], X509)> = {
            let mut inner = self.lock();
            if inner.is_known(&crl, &origin) {
                return Offered::Known;
            }
            let named = inner.issuers.iter().filter(|(_, ca)| crl.is_named_for(ca));
            let candidates: Vec<_> = named.map(|(key, ca)| (*key, ca.clone())).collect();
            // Under the same lock: an issuer that is met from here on finds it waiting.
            if candidates.is_empty() {
                inner.wait(crl, origin);
                return Offered::Waiting;
            }
            candidates
        };
        // Several CAs may have one name (every keylime CA of a version has): the signature says whose list it is.
        let mut refusal = CrlError::Signature(crl.issuer_name.clone());
        for (key, ca) in candidates {
            match crl.check_signature(&ca) {
                Ok(()) => return self.accept(key, crl, origin, wall),
                Err(error @ CrlError::Usage(_)) => refusal = error,
                Err(_) => {}
            }
        }
        Offered::Refused(refusal)
    }

    fn accept(&self, issuer_key: [u8; 32], crl: Arc<Crl>, origin: Origin, wall: u64) -> Offered {
        let entry = Arc::new(InUse { issuer_key, crl, origin, since: wall });
        // Freeing a million entries takes a while: not while everybody waits for the lock.
        let _before = {
            let mut inner = self.lock();
            if let Some(known) = inner.in_use.get(&issuer_key)
                && entry.crl.is_older_than(&known.crl)
            {
                let (found, known) = (entry.crl.version(), known.crl.version());
                return Offered::Refused(CrlError::Rollback { found, known });
            }
            inner.generation += 1;
            inner.in_use.insert(issuer_key, Arc::clone(&entry))
        };
        Offered::Accepted(entry)
    }

    /// What a file of the hashed directory held when it had this stamp: whoever verifies need not read it once more.
    pub fn remember_file(&self, path: PathBuf, stamp: Stamp, crls: Parsed) {
        let _before = self.files().insert(path, (stamp, crls));
    }

    /// A file that is gone.
    pub fn forget_file(&self, path: &Path) {
        let _before = self.files().remove(path);
    }

    /// See [`Self::remember_file`].
    pub fn of_file(&self, path: &Path, stamp: Stamp) -> Option<Vec<Arc<X509Crl>>> {
        let files = self.files();
        files.get(path).filter(|(known, _)| *known == stamp).map(|(_, crls)| crls.0.clone())
    }

    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, (Stamp, Parsed)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an accepted CRL on the disk, behind the cut it caused.
    ///
    /// # Errors
    /// The system call's: the CRL is in use all the same, until the process ends.
    pub fn keep(&self, entry: &InUse) -> io::Result<()> {
        match &self.shelf {
            Some(shelf) => shelf.put(&entry.issuer_key, &entry.crl),
            None => Ok(()),
        }
    }

    /// CA certificates that were found good: trust anchors, or the rest of a verified chain. Gives the CRLs that waited for
    /// them and are in use now. Costs a signature check for each such CRL, else little.
    pub fn trust<'a>(&self, certificates: impl IntoIterator<Item = &'a X509>, wall: u64) -> Vec<Arc<InUse>> {
        let mut ready = Vec::new();
        {
            let mut inner = self.lock();
            for certificate in certificates {
                let Ok(key) = issuer::key_id(certificate) else { continue };
                if inner.issuers.contains_key(&key) || inner.issuers.len() >= MAX_ISSUERS {
                    continue;
                }
                inner.issuers.insert(key, certificate.clone());
                let (named, rest) =
                    std::mem::take(&mut inner.waiting).into_iter().partition(|(crl, _)| crl.is_named_for(certificate));
                inner.waiting = rest;
                ready.extend::<Vec<(Arc<Crl>, Origin)>>(named);
            }
        }
        let mut accepted = Vec::new();
        for (crl, origin) in ready {
            match self.offer_again(Arc::clone(&crl), origin.clone(), wall) {
                Offered::Accepted(entry) => accepted.push(entry),
                // Of another CA of the same name, perhaps: it waits on.
                Offered::Refused(CrlError::Signature(_)) => self.lock().wait(crl, origin),
                _ => {}
            }
        }
        accepted
    }

    fn offer_again(&self, crl: Arc<Crl>, origin: Origin, wall: u64) -> Offered {
        let candidates: Vec<([u8; 32], X509)> = {
            let inner = self.lock();
            let named = inner.issuers.iter().filter(|(_, ca)| crl.is_named_for(ca));
            named.map(|(key, ca)| (*key, ca.clone())).collect()
        };
        match candidates.into_iter().find(|(_, ca)| crl.check_signature(ca).is_ok()) {
            Some((key, _)) => self.accept(key, crl, origin, wall),
            None => Offered::Refused(CrlError::Signature(crl.issuer_name.clone())),
        }
    }

    /// Does the list of its issuer name this certificate?
    pub fn lists(&self, id: &CertificateId) -> Option<(Listed, Arc<InUse>)> {
        let entry = Arc::clone(self.lock().in_use.get(&id.issuer_key)?);
        match entry.crl.lists(&id.serial) {
            Listed::No => None,
            listed => Some((listed, entry)),
        }
    }

    /// Does any list name this serial?
    pub fn has_serial(&self, serial: &[u8]) -> bool {
        self.in_use().iter().any(|entry| entry.crl.lists(serial) != Listed::No)
    }

    /// CRLs for OpenSSL's verifier that are not in the directory it is given anyway: those that bear a wanted name.
    pub fn for_verifier(&self, is_wanted: impl Fn(&Crl) -> bool) -> Vec<Arc<X509Crl>> {
        let inner = self.lock();
        let in_use = inner.in_use.values().map(|entry| (&entry.crl, &entry.origin));
        let waiting = inner.waiting.iter().map(|(crl, origin)| (crl, origin));
        in_use
            .chain(waiting)
            .filter(|(crl, origin)| matches!(origin, Origin::Configured(_)) && is_wanted(crl))
            .map(|(crl, _)| crl.openssl())
            .collect()
    }

    /// Those in use.
    pub fn in_use(&self) -> Vec<Arc<InUse>> {
        self.lock().in_use.values().map(Arc::clone).collect()
    }

    /// How many wait for their issuer's certificate.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Is it in use, or does it wait, already? One kept from before has its origin back then.
    fn is_known(&mut self, crl: &Crl, origin: &Origin) -> bool {
        let same = self.in_use.iter().find(|(_, entry)| entry.crl.digest == crl.digest);
        if let Some((key, entry)) = same.map(|(key, entry)| (*key, Arc::clone(entry))) {
            if matches!(entry.origin, Origin::Kept)
                || matches!((&entry.origin, origin), (Origin::Directory(_), Origin::Configured(_)))
            {
                let renewed = InUse { origin: origin.clone(), ..(*entry).clone() };
                self.in_use.insert(key, Arc::new(renewed));
            }
            return true;
        }
        self.waiting.iter().any(|(waiting, _)| waiting.digest == crl.digest)
    }

    /// The newest of each issuer's name and origin waits.
    fn wait(&mut self, crl: Arc<Crl>, origin: Origin) {
        self.waiting.retain(|(other, at)| *at != origin || other.issuer_der != crl.issuer_der);
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.remove(0);
        }
        self.waiting.push((crl, origin));
        self.generation += 1;
    }
}
