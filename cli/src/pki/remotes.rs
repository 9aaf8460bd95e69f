//! From a resolved racoon.conf to what the core needs: identities, certificates, keys, and a judge of peers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ike::config::{Config, Credential, RawKeys, RemoteConfig, RemoteId};
use ike::crypto::provider::EcCurve;
use ike::identity::{dn, matching};
use policy::model::algorithm::AuthMethod;
use policy::model::daemon::DaemonConfig;
use policy::model::identity::{ConfiguredId, Identity, MyIdentifier};
use policy::model::mode_config::{AuthSource, ModeConfig};
use policy::model::remote::Remote;
use policy::psk::{self, PskFile};

use super::credential::KeyRing;
use super::judge::Judge;
use super::load::{self, LoadError};
use super::plain;
use super::trust::TrustFiles;
use crate::revocation::deny_list::SharedDenyList;

/// What a configuration comes to once its files are read. Swapped whole.
#[derive(Debug)]
pub struct Loaded {
    /// For the core.
    pub config: Arc<Config>,
    /// Signs for it.
    pub keys: Arc<KeyRing>,
    /// Judges for it.
    pub judge: Arc<Judge>,
    /// The file of pre-shared keys, if there is one and it is needed.
    pub psk_file: Option<PskFile>,
    /// What should be said, but forbids nothing; of the file of keys see there.
    pub warnings: Vec<String>,
}

/// Reads every file the configuration names.
///
/// # Errors
/// All that is wrong, each with its file: nothing is used then.
pub fn load(daemon: &DaemonConfig, deny_list: SharedDenyList) -> Result<Loaded, Vec<LoadError>> {
    let directory = daemon.certificate_dir.as_ref().map(PathBuf::from);
    let trust = TrustFiles::new(directory);
    let mut keys = KeyRing::default();
    let (mut warnings, mut errors, mut remotes) = (Vec::new(), Vec::new(), Vec::new());
    for (number, remote) in (0..).zip(&daemon.remotes) {
        match load_remote(RemoteId(number), remote, &trust, &mut keys, &mut warnings) {
            Ok(remote) => remotes.push(Arc::new(remote)),
            Err(error) => errors.push(error),
        }
    }
    let mut sainfos = daemon.sainfos.clone();
    for value in sainfos.iter_mut().filter_map(|sainfo| sainfo.from.as_mut()?.value.as_mut()) {
        errors.extend(read_key_id(value).err());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let psk_file = load_psks(daemon, &mut warnings);
    let psks = psk_file.as_ref().map(|file| file.table.clone()).unwrap_or_default();
    let (mode_cfg, banner) = mode_cfg(daemon, &mut warnings);
    let config = Config { mode_cfg, banner, timers: daemon.timers, remotes, sainfos, psks, ..Config::default() };
    Ok(Loaded {
        psk_file,
        config: Arc::new(config),
        keys: Arc::new(keys),
        judge: Arc::new(Judge::new(trust, deny_list)),
        warnings,
    })
}

/// What clients of mode config are told. A banner that cannot be read is none; racoon's default file need not be there.
fn mode_cfg(daemon: &DaemonConfig, warnings: &mut Vec<String>) -> (Option<Arc<ModeConfig>>, Option<String>) {
    let Some(config) = &daemon.mode_cfg else { return (None, None) };
    if let AuthSource::File(users) = &config.auth_source
        && let Err(error) = load::read_private("users", Path::new(users))
    {
        warnings.push(error.to_string());
    }
    let banner = config.banner.as_ref().and_then(|file| match load::read_public("banner", Path::new(file)) {
        Ok(octets) => Some(String::from_utf8_lossy(&octets).trim_end().to_owned()),
        Err(LoadError::Missing { .. }) if file == "/etc/motd" => None,
        Err(error) => {
            warnings.push(error.to_string());
            None
        }
    });
    (Some(Arc::new(config.clone())), banner)
}

/// The keys of `path pre_shared_key`. As with racoon a file that cannot be used stops nobody whose authentication is another
/// one: it is said, and there are no keys.
pub fn load_psks(daemon: &DaemonConfig, warnings: &mut Vec<String>) -> Option<PskFile> {
    let needed = daemon.remotes.iter().flat_map(|remote| &remote.proposals).any(|proposal| proposal.auth.is_psk())
        || daemon.remotes.iter().any(|remote| remote.xauth_login.is_some());
    let path = daemon.psk_file.as_deref().filter(|_| needed)?;
    match load::read_private("pre-shared key", Path::new(path)) {
        Ok(text) => Some(psk::parse(path, &text)),
        Err(error) => {
            warnings.push(error.to_string());
            None
        }
    }
}

fn load_remote(
    id: RemoteId,
    remote: &Remote,
    trust: &TrustFiles,
    keys: &mut KeyRing,
    warnings: &mut Vec<String>,
) -> Result<RemoteConfig, LoadError> {
    let credential = remote.certificate.as_ref().map(|files| keys.load(files, warnings)).transpose()?;
    // Read now, so that a missing file is said at start, not when the first peer comes.
    if let Some(pinned) = &remote.peers_certfile {
        trust.certificates(Path::new(pinned), &mut Vec::new())?;
    }
    let raw_keys = Arc::new(raw_keys(remote, keys, warnings)?);
    let mut remote = remote.clone();
    if let MyIdentifier::Value(value) = &mut remote.my_identifier {
        read_key_id(value)?;
    }
    for value in remote.peers_identifiers.iter_mut().filter_map(|identifier| identifier.value.as_mut()) {
        read_key_id(value)?;
    }
    if let (Some(credential), Some(files)) = (&credential, &remote.certificate) {
        let certificate = PathBuf::from(&files.certificate);
        for proposal in &mut remote.proposals {
            proposal.auth = signing_method(proposal.auth, credential, keys).ok_or_else(|| LoadError::Method {
                remote: remote.name.clone(),
                method: proposal.auth.racoon_name(),
                path: certificate.clone(),
            })?;
        }
    }
    let is_curve = |method: AuthMethod| method.we_sign() && EcCurve::of(method).is_some();
    if let (Some(file), Some(proposal)) =
        (&remote.rsa_private, remote.proposals.iter().find(|proposal| is_curve(proposal.auth)))
    {
        let (remote, method) = (remote.name.clone(), proposal.auth.racoon_name());
        return Err(LoadError::Method { remote, method, path: PathBuf::from(file) });
    }
    Ok(RemoteConfig {
        id,
        my_identity: my_identity(&remote, credential.as_ref())?,
        credential,
        raw_keys,
        accepted_issuers: trust.subjects(remote.ca_file.as_deref().map(Path::new))?,
        remote,
    })
}

/// Keys without certificates, ours and those of peers.
fn raw_keys(remote: &Remote, keys: &mut KeyRing, warnings: &mut Vec<String>) -> Result<RawKeys, LoadError> {
    let own = match &remote.rsa_private {
        Some(file) => keys.load_plain(Path::new(file), warnings)?,
        None => Vec::new(),
    };
    let peers = match &remote.rsa_public {
        Some(file) => Some(plain::peers(Path::new(file), warnings)?),
        None => remote.knows_peers_by_rsa_key().then(Vec::new),
    };
    Ok(RawKeys { own, peers })
}

/// A key ID that stands in a file is the file's content.
fn read_key_id(value: &mut ConfiguredId) -> Result<(), LoadError> {
    if let ConfiguredId::KeyIdFile(path) = value {
        *value = ConfiguredId::KeyId(load::read_public("keyid", Path::new(path))?);
    }
    Ok(())
}

/// The method that a proposal comes to with our key: `rsasig` is taken for signatures in general, and becomes ECDSA where the
/// key is on a curve. `None` if the key cannot sign so.
fn signing_method(method: AuthMethod, credential: &Credential, keys: &KeyRing) -> Option<AuthMethod> {
    let method = match (method, keys.curve_method(credential.key)) {
        (AuthMethod::RsaSignature, Some(ecdsa)) => ecdsa,
        (method, _) => method,
    };
    (!method.we_sign() || keys.can_sign(credential.key, method)).then_some(method)
}

fn my_identity(remote: &Remote, credential: Option<&Credential>) -> Result<Option<Identity>, LoadError> {
    let subject = credential.map(|credential| credential.subject.clone());
    match &remote.my_identifier {
        MyIdentifier::LocalAddress => Ok(None),
        MyIdentifier::CertificateSubject => match subject {
            Some(subject) => Ok(Some(Identity::Asn1Dn(subject))),
            None => Err(LoadError::NoSubject { remote: remote.name.clone() }),
        },
        MyIdentifier::Value(value) => {
            let identity = matching::to_identity(value)
                .map_err(|error| LoadError::Identity { remote: remote.name.clone(), error })?;
            // racoon compares the name octet by octet with the certificate's: send its very encoding if it is that name.
            Ok(Some(match (identity, subject) {
                (Identity::Asn1Dn(name), Some(subject)) if dn::same_name(&name, &subject) => Identity::Asn1Dn(subject),
                (identity, _) => identity,
            }))
        }
    }
}

#[cfg(test)]
mod tests;
