//! The configuration and the files it names, read whole or not at all.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::MatchOptions;
use ike::config::Config;
use ike::report::Level;
use openssl::x509::X509;
use policy::diagnostic::Diagnostic;
use policy::model::daemon::DaemonConfig;
use policy::racoon;
use policy::racoon::include::Loader;
use policy::racoon::print::Printed;
use policy::span::Sources;

use super::privileges::Identity;
use crate::args::Ports;
use crate::pki::load;
use crate::pki::remotes;
use crate::revocation::deny_list::SharedDenyList;
use crate::revocation::issuer::Issuer;
use crate::revocation::revoke::KnownIssuer;

/// Longest configuration file.
const MAX_CONFIG: u64 = 16 * 1024 * 1024;

/// A configuration with everything it names.
#[derive(Debug)]
pub struct Loaded {
    /// Where it came from.
    pub path: PathBuf,
    /// What was meant.
    pub daemon: DaemonConfig,
    /// For the core, the signer and the judge.
    pub files: remotes::Loaded,
    /// Trust anchors, for telling whose serial is revoked.
    pub issuers: Vec<KnownIssuer>,
    /// What should be said, but forbids nothing: one line each.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Certificates of the trust anchors.
    pub fn anchors(&self) -> Vec<X509> {
        self.issuers.iter().filter_map(|known| known.certificate.clone()).collect()
    }
}

/// Why a configuration cannot be used; prints everything that is wrong, a line or more each.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its text has errors, or the files that it names: what was found, each with its level.
    Text(Vec<(Level, String)>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => {
                write!(f, "{}: {error} (another configuration is named with -f)", path.display())
            }
            Self::Text(findings) => findings.iter().try_for_each(|(_, text)| writeln!(f, "{}", text.trim_end())),
        }
    }
}

impl std::error::Error for LoadError {}

impl LoadError {
    /// Its lines, each with the level it is logged at.
    pub fn lines(&self) -> Vec<(Level, String)> {
        let split = |level: Level, text: &str| text.lines().map(|line| (level, line.to_owned())).collect::<Vec<_>>();
        match self {
            Self::Text(findings) => findings.iter().flat_map(|(level, text)| split(*level, text)).collect(),
            _ => split(Level::Error, &self.to_string()),
        }
    }
}

/// Reads the configuration and every file it names.
///
/// # Errors
/// Everything that is wrong with it, or with one of its files.
pub fn load(path: &Path, ports: Ports, deny_list: &SharedDenyList) -> Result<Loaded, LoadError> {
    let (daemon, text) = parse(path)?;
    let mut warnings: Vec<String> = text.render().lines().map(str::to_owned).collect();
    if let Err(error) = Identity::of(&daemon.privsep) {
        return Err(LoadError::Text(vec![(Level::Error, error.to_string())]));
    }
    let mut files = remotes::load(&daemon, SharedDenyList::clone(deny_list))
        .map_err(|errors| LoadError::Text(about_files(&errors, &text)))?;
    warnings.append(&mut files.warnings);
    warnings
        .extend(files.psk_file.iter().flat_map(|file| file.render().lines().map(str::to_owned).collect::<Vec<_>>()));
    let natt_port = daemon.listen.isakmp_natt.iter().find_map(|at| at.port).unwrap_or(ports.natt);
    let own_ports = daemon.listen.isakmp.iter().rev().filter_map(|at| Some((at.addr, at.port?))).collect();
    files.config = Arc::new(Config { isakmp_port: ports.isakmp, own_ports, natt_port, ..(*files.config).clone() });
    let issuers = anchors(&daemon);
    Ok(Loaded { path: path.to_owned(), daemon, files, issuers, warnings })
}

/// What was understood, as a racoon.conf (`-C`).
pub fn dump(loaded: &Loaded) -> String {
    Printed(&loaded.daemon).to_string()
}

/// Trust anchors of a configuration whose daemon may be dead; whatever cannot be read is left out.
pub fn trust_anchors(path: &Path) -> Vec<KnownIssuer> {
    parse(path).map(|(daemon, _)| anchors(&daemon)).unwrap_or_default()
}

fn parse(path: &Path) -> Result<(DaemonConfig, racoon::Loaded), LoadError> {
    let text = read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    let mut loaded = racoon::load(&path.display().to_string(), &text, &mut Globs);
    match loaded.config.take() {
        Some(config) => Ok((config, loaded)),
        None => Err(LoadError::Text(findings(&loaded.diagnostics, &loaded.sources))),
    }
}

/// Every finding, and racoon's closing line under them.
fn findings(diagnostics: &[Diagnostic], sources: &Sources) -> Vec<(Level, String)> {
    let level = |diagnostic: &Diagnostic| if diagnostic.is_error() { Level::Error } else { Level::Warning };
    let mut found: Vec<_> = diagnostics.iter().map(|one| (level(one), one.render(sources))).collect();
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    found.push((Level::Error, format!("fatal parse failure ({errors} errors)")));
    found
}

/// What is wrong with the files that a configuration names, each at the place that names it.
fn about_files(errors: &[load::LoadError], text: &racoon::Loaded) -> Vec<(Level, String)> {
    let mut found: Vec<(Level, String)> = Vec::new();
    for error in errors {
        let message = error.to_string();
        let place = error.path().and_then(|path| text.about_file(&path.to_string_lossy(), message.as_str()));
        let rendered = place.map_or(message, |diagnostic| diagnostic.render(&text.sources));
        // Blocks that inherit from one another name the same files.
        if !found.iter().any(|(_, known)| *known == rendered) {
            found.push((Level::Error, rendered));
        }
    }
    found
}

/// A configuration file, if it is one and not too large.
///
/// # Errors
/// The system's, or what it is instead.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if found.len() > MAX_CONFIG {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "no configuration is larger than 16 MiB"));
    }
    fs::read(path)
}

/// Answers `include`.
#[derive(Clone, Copy, Debug)]
pub struct Globs;

/// As glob(3) does it: a `*` matches no `/`, and no file whose name begins with a dot.
const AS_GLOB3: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Loader for Globs {
    fn load(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut files = Vec::new();
        for path in glob::glob_with(&with_home(pattern), AS_GLOB3).map_err(|error| error.to_string())? {
            let path = path.map_err(|error| error.to_string())?;
            let text = read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            files.push((path.display().to_string(), text));
        }
        Ok(files)
    }
}

fn with_home(pattern: &str) -> String {
    match (pattern.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => pattern.to_owned(),
    }
}

/// CA certificates of `ca_type` files and of the hashed directory `path certificate`, each key once.
fn anchors(daemon: &DaemonConfig) -> Vec<KnownIssuer> {
    let named = daemon.remotes.iter().filter_map(|remote| remote.ca_file.as_ref()).map(PathBuf::from);
    let hashed = daemon.certificate_dir.iter().flat_map(|directory| hashed_files(Path::new(directory)));
    let mut known: Vec<KnownIssuer> = Vec::new();
    for certificate in named.chain(hashed).flat_map(|path| load::certificates(&path).unwrap_or_default()) {
        if let Ok(issuer) = Issuer::of(&certificate)
            && !known.iter().any(|one| one.issuer.key == issuer.key)
        {
            known.push(known_issuer(issuer, certificate));
        }
    }
    known
}

fn known_issuer(issuer: Issuer, certificate: X509) -> KnownIssuer {
    KnownIssuer { issuer, certificate: Some(certificate) }
}

/// `0123abcd.0` and its like, as `openssl rehash` names CA certificates.
fn hashed_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_hashed = |name: &str| match name.rsplit_once('.') {
        Some((hash, number)) => {
            hash.len() == 8
                && hash.bytes().all(|octet| octet.is_ascii_hexdigit())
                && !number.is_empty()
                && number.bytes().all(|octet| octet.is_ascii_digit())
        }
        None => false,
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_hashed))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const PORTS: Ports = Ports { isakmp: 500, natt: 4500 };
    use crate::revocation::deny_list::DenyList;

    fn deny_list(directory: &Path) -> SharedDenyList {
        Arc::new(Mutex::new(DenyList::open(directory.join("revoked")).unwrap()))
    }

    #[test]
    fn errors_name_file_line_and_column_all_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("racoon.conf");
        fs::write(&path, "lgo notify;\nremote anonymous {\n exchange_mode manin;\n}\n").unwrap();
        let error = load(&path, PORTS, &deny_list(directory.path())).unwrap_err().to_string();
        let at = |place: &str| format!("{}:{place}", path.display());
        assert!(error.contains(&at("1:1")) && error.contains(&at("3:16")), "{error}");
        assert!(error.contains("fatal parse failure ("), "{error}");
    }

    #[test]
    fn missing_configuration_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = load(&directory.path().join("none.conf"), PORTS, &deny_list(directory.path())).unwrap_err();
        assert!(matches!(error, LoadError::Unreadable { .. }));
        assert!(error.to_string().contains("none.conf"), "{error}");
    }

    #[test]
    fn included_files_come_in_glob_order() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let files = Globs.load(&format!("{}/*.conf", directory.path().display())).unwrap();
        let names: Vec<_> = files.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
    }

    /// None of these ends, or has an end to read to.
    #[test]
    fn what_is_no_file_is_neither_a_configuration_nor_an_include() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let including = directory.path().join("racoon.conf");
        for path in [directory.path(), &fifo, Path::new("/dev/zero")] {
            let error = load(path, PORTS, &deny_list(directory.path())).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
            fs::write(&including, format!("include \"{}\";\n", path.display())).unwrap();
            let error = load(&including, PORTS, &deny_list(directory.path())).unwrap_err().to_string();
            let at = format!("{}:1:9: error: cannot include", including.display());
            assert!(error.contains(&at) && error.contains("not a regular file"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error_at_the_line_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("racoon.conf");
        let text = "path certificate \"/nowhere\";\nremote anonymous {\n exchange_mode main;\n certificate_type x509 \
                    \"a.crt\" \"a.key\";\n proposal { encryption_algorithm aes; hash_algorithm sha256; \
                    authentication_method rsasig; dh_group 14; }\n}\nremote 192.0.2.1 inherit anonymous;\n";
        fs::write(&path, text).unwrap();
        let error = load(&path, PORTS, &deny_list(directory.path())).unwrap_err().to_string();
        let expected = format!("{}:4:24: error: certificate file /nowhere/a.crt does not exist", path.display());
        assert!(error.starts_with(&expected) && error.matches("does not exist").count() == 1, "{error}");
    }

    #[test]
    fn hashed_names_only() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["0123abcd.0", "0123abcd.r0", "cacert.crt", "0123abcd.", "12345678.10"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found: Vec<_> = hashed_files(directory.path())
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, ["0123abcd.0", "12345678.10"]);
    }
}
