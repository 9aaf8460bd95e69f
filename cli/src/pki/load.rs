//! Files with certificates and private keys: what is in them, and who may read them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ike::identity::dn::NameError;
use openssl::x509::X509;
use policy::diagnostic::Diagnostic;
use policy::plain_rsa::{self, KeyFile, Purpose};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::signer::{Signer, SignerError};

/// Longest file that is read whole, in octets.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Errors of a key file that are told at once.
const MOST_TOLD: usize = 3;

/// Smallest RSA key that is used at all, in bits.
pub const MIN_RSA_BITS: u32 = 1024;
/// Smallest RSA key that is used without a warning.
pub const GOOD_RSA_BITS: u32 = 2048;
/// Largest RSA modulus, in bits: bounds the cost of a signature check.
pub const MAX_RSA_BITS: u32 = 8192;

/// Why a file is refused. Each names the file and, where there is one, the fix.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It is not there.
    #[error("{what} file {} does not exist", path.display())]
    Missing {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{what} file {} cannot be read: {error}", path.display())]
    Io {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A directory, a device.
    #[error("{what} file {} is not a regular file", path.display())]
    NotRegular {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// Others can read or change it.
    #[error("{what} file {} has weak file permission {mode:04o}: chmod {fix} {}", path.display(), path.display())]
    WeakPermission {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What chmod should be given.
        fix: &'static str,
    },
    /// It belongs to somebody else.
    #[error("{what} file {} has invalid owner uid {owner}: chown {running} {}", path.display(), path.display())]
    Owner {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user we run as.
        running: u32,
    },
    /// Larger than anything sensible.
    #[error("{what} file {} is larger than 64 MiB", path.display())]
    TooLarge {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// No certificate in it.
    #[error("certificate file {} holds no certificate, in PEM or DER", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// Nothing to sign with.
    #[error("private key file {}: {error}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        error: SignerError,
    },
    /// A file of RSA keys without certificates that cannot be used.
    #[error("{findings}")]
    RsaKeys {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, each with its place.
        findings: String,
    },
    /// A certificate for another kind of key.
    #[error("certificate {} cannot be used: {reason}", path.display())]
    KeyKind {
        /// Which.
        path: PathBuf,
        /// What is wrong with its key.
        reason: String,
    },
    /// A method that the certificate's key cannot sign for.
    #[error("remote {remote}: {method} needs another kind of key than {} has", path.display())]
    Method {
        /// Which block.
        remote: String,
        /// The method.
        method: &'static str,
        /// The certificate's file.
        path: PathBuf,
    },
    /// Key and certificate do not belong together.
    #[error("private key {} does not belong to certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's.
        certificate: PathBuf,
    },
    /// A configured identity cannot be encoded.
    #[error("my_identifier of remote {remote}: {error}")]
    Identity {
        /// Which block.
        remote: String,
        /// Why.
        error: NameError,
    },
    /// `my_identifier asn1dn` without a certificate.
    #[error("remote {remote}: my_identifier asn1dn without a value needs a certificate_type")]
    NoSubject {
        /// Which block.
        remote: String,
    },
    /// OpenSSL failed.
    #[error("{}: {error}", path.display())]
    Library {
        /// The file it was about.
        path: PathBuf,
        /// What it said.
        error: openssl::error::ErrorStack,
    },
}

impl LoadError {
    /// The file that is to blame, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Missing { path, .. }
            | Self::Io { path, .. }
            | Self::NotRegular { path, .. }
            | Self::WeakPermission { path, .. }
            | Self::Owner { path, .. }
            | Self::TooLarge { path, .. }
            | Self::NoCertificate { path }
            | Self::Key { path, .. }
            | Self::RsaKeys { path, .. }
            | Self::KeyKind { path, .. }
            | Self::Method { path, .. }
            | Self::Library { path, .. }
            | Self::Mismatch { key: path, .. } => Some(path),
            Self::Identity { .. } | Self::NoSubject { .. } => None,
        }
    }
}

/// Reads a file with a secret: it must be a regular file of the running user that nobody else can touch, as racoon
/// requires. Links are followed; what they lead to is judged.
///
/// # Errors
/// [`LoadError`] with the file, its mode or owner, and the fix.
pub fn read_private(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let (file, found) = open(what, path)?;
    let running = rustix::process::geteuid().as_raw();
    // After `privsep` it is root's files that the daemon reads again.
    if found.uid() != running && found.uid() != 0 {
        return Err(LoadError::Owner { what, path: path.to_owned(), owner: found.uid(), running });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(LoadError::WeakPermission { what, path: path.to_owned(), mode, fix: "600" });
    }
    read(what, path, file).map(Zeroizing::new)
}

/// Reads a file that is no secret but decides whom to trust: not everybody may write it.
///
/// # Errors
/// [`LoadError`] with the file, its mode, and the fix.
pub fn read_public(what: &'static str, path: &Path) -> Result<Vec<u8>, LoadError> {
    let (file, found) = open(what, path)?;
    let mode = found.mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Err(LoadError::WeakPermission { what, path: path.to_owned(), mode, fix: "o-w" });
    }
    read(what, path, file)
}

/// Certificates in a file, in its order: PEM (any number, other text between them ignored) or one in DER.
///
/// # Errors
/// [`LoadError`] naming the file.
pub fn certificates(path: &Path) -> Result<Vec<X509>, LoadError> {
    let octets = read_public("certificate", path)?;
    let found = match X509::stack_from_pem(&octets) {
        Ok(found) if !found.is_empty() => found,
        _ => X509::from_der(&octets).into_iter().collect(),
    };
    if found.is_empty() { Err(LoadError::NoCertificate { path: path.to_owned() }) } else { Ok(found) }
}

/// The private key in a PEM file (PKCS#1, SEC 1 or PKCS#8, not encrypted).
///
/// # Errors
/// [`LoadError`] naming the file.
pub fn private_key(path: &Path) -> Result<Signer, LoadError> {
    let pem = read_private("private key", path)?;
    Signer::from_pem(&pem).map_err(|error| LoadError::Key { path: path.to_owned(), error })
}

/// The RSA keys without certificates in a file, none of which has an error. Warnings go to `warnings`.
///
/// # Errors
/// [`LoadError`] naming the file, and what is wrong in it with its place.
pub fn rsa_keys(path: &Path, purpose: Purpose, warnings: &mut Vec<String>) -> Result<KeyFile, LoadError> {
    let name = path.display().to_string();
    let file = match purpose {
        Purpose::Private => plain_rsa::parse(&name, &read_private("private key", path)?, purpose),
        Purpose::Public => plain_rsa::parse(&name, &read_public("public key", path)?, purpose),
    };
    // Told where the file is named, in one line: its place, and what is wrong there.
    let line = |finding: &Diagnostic| finding.render(&file.sources).lines().next().unwrap_or_default().to_owned();
    if file.is_refused() {
        let errors = file.diagnostics.iter().filter(|finding| finding.is_error());
        let findings = errors.take(MOST_TOLD).map(line).collect::<Vec<_>>().join("; ");
        return Err(LoadError::RsaKeys { path: path.to_owned(), findings });
    }
    warnings.extend(file.diagnostics.iter().map(line));
    Ok(file)
}

fn open(what: &'static str, path: &Path) -> Result<(File, fs::Metadata), LoadError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::Missing { what, path: path.to_owned() },
        _ => LoadError::Io { what, path: path.to_owned(), error },
    };
    // Looked at first: opening a FIFO would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(LoadError::NotRegular { what, path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(LoadError::NotRegular { what, path: path.to_owned() });
    }
    if found.len() > MAX_FILE {
        return Err(LoadError::TooLarge { what, path: path.to_owned() });
    }
    Ok((file, found))
}

fn read(what: &'static str, path: &Path, file: File) -> Result<Vec<u8>, LoadError> {
    let mut octets = Vec::new();
    match file.take(MAX_FILE).read_to_end(&mut octets) {
        Ok(_) => Ok(octets),
        Err(error) => Err(LoadError::Io { what, path: path.to_owned(), error }),
    }
}
