//! OpenSSL's own verdict on a case, asked plainly: its default path building, no callback, no rule of ours.

use std::fs;
use std::path::Path;

use openssl::ssl::SslFiletype;
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509Crl, X509StoreContext};
use policy::model::remote::CrlStrictness;

use super::Case;
use super::maker::NOW;

/// A number of `X509_V_ERR_...` and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number.
    pub code: i32,
    /// 0 is the leaf.
    pub depth: u32,
}

impl Fault {
    /// Of a line like `certificate has expired(10) at depth:0 SubjectName:/CN=x`.
    pub fn of(line: &str) -> Option<Self> {
        let (words, place) = line.split_once(") at depth:")?;
        let (_, code) = words.rsplit_once('(')?;
        let depth: String = place.chars().take_while(char::is_ascii_digit).collect();
        Some(Self { code: code.parse().ok()?, depth: depth.parse().ok()? })
    }

    /// No CRL, or a stale one: OpenSSL stops there, whatever the list says.
    pub fn hides_the_list(self) -> bool {
        [3, 12].contains(&self.code)
    }
}

/// The first fault without CRLs, and the first one with them, if there are any or none is not enough.
pub fn faults(case: &Case) -> Vec<Fault> {
    // OpenSSL reads a hashed directory in one format at a time: here all is PEM.
    let folder = tempfile::tempdir().unwrap();
    let mut crls = case.remote.crl == CrlStrictness::Strict;
    for entry in fs::read_dir(case.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let octets = fs::read(&path).unwrap();
        let is_crl = path.extension().is_some_and(|extension| extension.to_string_lossy().starts_with('r'));
        let pem = if is_crl { X509Crl::from_der(&octets).ok().map(|crl| crl.to_pem().unwrap()) } else { Some(octets) };
        crls |= is_crl && pem.is_some();
        fs::write(folder.path().join(name), pem.unwrap_or_default()).unwrap();
    }
    [false, true]
        .into_iter()
        .filter(|check| !check || crls)
        .filter_map(|check| verify(case, folder.path(), check))
        .collect()
}

fn verify(case: &Case, folder: &Path, crls: bool) -> Option<Fault> {
    let mut builder = X509StoreBuilder::new().unwrap();
    let lookup = builder.add_lookup(X509Lookup::hash_dir()).unwrap();
    lookup.add_dir(folder.to_str().unwrap(), SslFiletype::PEM).unwrap();
    let anchor = fs::read(folder.join("ca.pem")).unwrap();
    builder.add_cert(X509::from_pem(&anchor).unwrap()).unwrap();
    let mut parameters = X509VerifyParam::new().unwrap();
    parameters.set_time(NOW.try_into().unwrap());
    if crls {
        parameters.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL).unwrap();
    }
    builder.set_param(&parameters).unwrap();
    let store = builder.build();
    let sent: Vec<X509> = case.sent.iter().filter_map(|der| X509::from_der(der).ok()).collect();
    // The one that its subject belongs to is the leaf, as the tables have it: nobody else's name stands twice.
    let leaf = sent.first()?;
    let mut others = Stack::new().unwrap();
    for other in sent.iter().skip(1) {
        others.push(other.clone()).unwrap();
    }
    let mut context = X509StoreContext::new().unwrap();
    context
        .init(&store, leaf, &others, |context| {
            let good = context.verify_cert()?;
            Ok((!good).then(|| Fault { code: context.error().as_raw(), depth: context.error_depth() }))
        })
        .unwrap()
}
