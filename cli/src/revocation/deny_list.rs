//! The deny list: certificates that are refused whatever any CRL says (/var/lib/xfrmd/revoked).
//!
//! One entry a line: `ISSUER-KEY SERIAL TIME SOURCE ISSUER`, where ISSUER-KEY is the SHA-256 of the issuer's
//! SubjectPublicKeyInfo in hex or `*` for any issuer, SERIAL is decimal, TIME is Unix seconds, SOURCE one word (who
//! asked) and ISSUER the rest of the line, for people. `#` begins a comment line.
//!
//! An entry is on the disk before [`DenyList::add`] returns. A crash can leave the last line cut short; since SERIAL is
//! never the last field, such a line is never read as another serial. Several processes may write: they take turns by a
//! lock on the directory, and readers notice a changed file with [`DenyList::reload_if_changed`].

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ike::event::question::CertificateId;
use thiserror::Error;

use super::serial;
use super::stamp::Stamp;

/// Longest line that is read or written.
const MAX_LINE: usize = 4096;

/// Where the list lives unless told otherwise.
pub const DEFAULT_PATH: &str = "/var/lib/xfrmd/revoked";

/// What failed.
#[derive(Debug, Error)]
pub enum DenyListError {
    /// The file or its directory.
    #[error("deny list {path}: {action}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// More octets of text than a line may hold.
    #[error("deny list entry of more than {MAX_LINE} octets")]
    TooLong,
}

/// Who issued the denied certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeniedIssuer {
    /// Whoever: the serial alone decides.
    Any,
    /// The issuer with this key: SHA-256 of its SubjectPublicKeyInfo.
    Key([u8; 32]),
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyEntry {
    /// Issuer.
    pub issuer: DeniedIssuer,
    /// Serial number, big endian, no leading zero octet.
    pub serial: Vec<u8>,
    /// Unix seconds of the entry.
    pub time: u64,
    /// Who asked for it, one word: `xfrmctl`, `keylime`.
    pub source: String,
    /// The issuer's name, for people; may be empty.
    pub issuer_name: String,
}

/// Outcome of [`DenyList::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The entry is new.
    New,
    /// It stood there before.
    AlreadyThere,
}

/// The list as the daemon's parts share it: who looks also looks whether the file changed.
pub type SharedDenyList = Arc<Mutex<DenyList>>;

/// The list in memory, and its file.
#[derive(Debug)]
pub struct DenyList {
    path: PathBuf,
    entries: HashMap<(DeniedIssuer, Vec<u8>), DenyEntry>,
    /// How many entries there are for a serial, whoever the issuer.
    serials: HashMap<Vec<u8>, usize>,
    /// What could not be written when it should have been: as good as the rest as long as this process lives, and written
    /// with the next entry.
    unwritten: Vec<DenyEntry>,
    problems: Vec<String>,
    stamp: Option<Stamp>,
    generation: u64,
}

impl DenyList {
    /// Reads the list; a file that does not exist is an empty list.
    ///
    /// # Errors
    /// [`DenyListError::Io`] if the file exists and cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DenyListError> {
        let mut list = Self {
            path: path.into(),
            entries: HashMap::new(),
            serials: HashMap::new(),
            unwritten: Vec::new(),
            problems: Vec::new(),
            stamp: None,
            generation: 0,
        };
        list.read()?;
        Ok(list)
    }

    /// Adds an entry. When this returns, it survives a crash of the machine.
    ///
    /// # Errors
    /// [`DenyListError`] if it could not be written; then it may or may not be in the file, and denies as long as this
    /// process lives.
    pub fn add(&mut self, entry: DenyEntry) -> Result<Added, DenyListError> {
        let outcome = self.write(&entry);
        if outcome.is_err() && !self.is_unwritten(&entry) {
            self.unwritten.push(entry.clone());
            self.insert(entry);
            self.generation += 1;
        }
        outcome
    }

    fn is_unwritten(&self, entry: &DenyEntry) -> bool {
        self.unwritten.iter().any(|one| (one.issuer, &one.serial) == (entry.issuer, &entry.serial))
    }

    fn write(&mut self, entry: &DenyEntry) -> Result<Added, DenyListError> {
        let mut line = to_line(entry)?;
        let _turn = self.lock()?;
        self.reload_if_changed()?;
        let waits = self.is_unwritten(entry);
        if !waits && self.entries.contains_key(&(entry.issuer, entry.serial.clone())) {
            return Ok(Added::AlreadyThere);
        }
        for other in
            self.unwritten.iter().filter(|other| (other.issuer, &other.serial) != (entry.issuer, &entry.serial))
        {
            line.push_str(&to_line(other).unwrap_or_default());
        }
        let created = !self.path.exists();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(|error| self.failed("open", error))?;
        // A line that a crash cut short must not swallow this one.
        let separator = if ends_in_mid_line(&file).map_err(|error| self.failed("read", error))? { "\n" } else { "" };
        file.write_all(format!("{separator}{line}").as_bytes()).map_err(|error| self.failed("write", error))?;
        file.sync_all().map_err(|error| self.failed("flush", error))?;
        if created {
            self.sync_directory()?;
        }
        self.unwritten.clear();
        self.insert(entry.clone());
        self.generation += 1;
        self.stamp = Stamp::of(&self.path).map_err(|error| self.failed("look at", error))?;
        Ok(Added::New)
    }

    /// Takes an entry off the list, durably. Returns whether it was there.
    ///
    /// # Errors
    /// [`DenyListError::Io`] if the list could not be rewritten; it then stands as before.
    pub fn remove(&mut self, issuer: DeniedIssuer, serial: &[u8]) -> Result<bool, DenyListError> {
        let _turn = self.lock()?;
        self.reload_if_changed()?;
        let key = (issuer, serial.to_vec());
        if !self.entries.contains_key(&key) {
            return Ok(false);
        }
        let mut kept: Vec<&DenyEntry> =
            self.entries.iter().filter(|(at, _)| **at != key).map(|(_, entry)| entry).collect();
        kept.sort_by_key(|entry| (entry.time, entry.serial.clone()));
        let text: String = kept.into_iter().map(to_line).collect::<Result<_, _>>()?;
        let temporary = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|error| self.failed("create the new file of", error))?;
        file.write_all(text.as_bytes()).map_err(|error| self.failed("write the new file of", error))?;
        file.sync_all().map_err(|error| self.failed("flush the new file of", error))?;
        fs::rename(&temporary, &self.path).map_err(|error| self.failed("replace", error))?;
        // Those that waited to be written are in it, the one that was taken off is not.
        self.unwritten.clear();
        self.sync_directory()?;
        self.read()?;
        Ok(true)
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is this certificate denied, by its issuer's key or by its serial alone?
    pub fn contains(&self, id: &CertificateId) -> bool {
        self.find(id).is_some()
    }

    /// The entry that denies this certificate.
    pub fn find(&self, id: &CertificateId) -> Option<&DenyEntry> {
        // Most lists do not have the serial at all: no key is built then.
        if !self.has_serial(&id.serial) {
            return None;
        }
        let entry = |issuer| self.entries.get(&(issuer, id.serial.clone()));
        entry(DeniedIssuer::Key(id.issuer_key)).or_else(|| entry(DeniedIssuer::Any))
    }

    /// Is there any entry with this serial, whoever the issuer?
    pub fn has_serial(&self, serial: &[u8]) -> bool {
        self.serials.contains_key(serial)
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> Vec<&DenyEntry> {
        let mut entries: Vec<&DenyEntry> = self.entries.values().collect();
        entries.sort_by(|one, other| (one.time, &one.serial).cmp(&(other.time, &other.serial)));
        entries
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there no entry?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Grows with every change, whether made here or found in the file.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Lines of the file that could not be read, each as `FILE:LINE: what is wrong`. They deny nothing: say so loudly.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Reads the file again if another process changed it; returns whether it did.
    ///
    /// # Errors
    /// [`DenyListError::Io`] if it cannot be read; the list in memory stays as it was.
    pub fn reload_if_changed(&mut self) -> Result<bool, DenyListError> {
        if Stamp::of(&self.path).map_err(|error| self.failed("look at", error))? == self.stamp {
            return Ok(false);
        }
        self.read()?;
        Ok(true)
    }

    fn read(&mut self) -> Result<(), DenyListError> {
        let before = Stamp::of(&self.path).map_err(|error| self.failed("look at", error))?;
        let mut text = Vec::new();
        if before.is_some() {
            match File::open(&self.path).and_then(|mut file| file.read_to_end(&mut text)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed("read", error)),
            }
        }
        self.entries.clear();
        self.serials.clear();
        self.problems.clear();
        for (number, line) in text.split(|&octet| octet == b'\n').enumerate() {
            match parse_line(line) {
                Ok(Some(entry)) => self.insert(entry),
                Ok(None) => {}
                Err(problem) => self.problems.push(format!("{}:{}: {problem}", self.path.display(), number + 1)),
            }
        }
        for entry in self.unwritten.clone() {
            self.insert(entry);
        }
        self.stamp = before;
        self.generation += 1;
        Ok(())
    }

    fn insert(&mut self, entry: DenyEntry) {
        let serial = entry.serial.clone();
        if self.entries.insert((entry.issuer, serial.clone()), entry).is_none() {
            *self.serials.entry(serial).or_insert(0) += 1;
        }
    }

    /// Creates the directory if need be, and takes the writers' turn until the returned file is dropped.
    fn lock(&self) -> Result<File, DenyListError> {
        let directory = self.directory();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| self.failed("create the directory of", error))?;
        let turn = File::open(directory).map_err(|error| self.failed("open the directory of", error))?;
        turn.lock().map_err(|error| self.failed("lock the directory of", error))?;
        Ok(turn)
    }

    fn sync_directory(&self) -> Result<(), DenyListError> {
        File::open(self.directory())
            .and_then(|directory| directory.sync_all())
            .map_err(|error| self.failed("flush the directory of", error))
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    fn failed(&self, action: &'static str, error: io::Error) -> DenyListError {
        DenyListError::Io { path: self.path.clone(), action, error }
    }
}

fn ends_in_mid_line(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if let Some(at) = length.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != *b"\n")
}

fn to_line(entry: &DenyEntry) -> Result<String, DenyListError> {
    let issuer = match entry.issuer {
        DeniedIssuer::Any => "*".to_owned(),
        DeniedIssuer::Key(key) => serial::to_hex(&key),
    };
    let printable = |text: &str| -> String { text.chars().map(|c| if c.is_control() { '?' } else { c }).collect() };
    let source = printable(&entry.source).split_whitespace().collect::<Vec<_>>().join("-");
    let source = if source.is_empty() { "-" } else { &source };
    let name = printable(&entry.issuer_name);
    let name = if name.trim().is_empty() { "-" } else { name.trim() };
    let start = format!("{issuer} {} {} {source}", serial::to_decimal(&entry.serial), entry.time);
    // The name is for people: one that does not fit keeps nobody from being denied.
    let line = format!("{start} {name}\n");
    let line = if line.len() > MAX_LINE { format!("{start} -\n") } else { line };
    if line.len() > MAX_LINE { Err(DenyListError::TooLong) } else { Ok(line) }
}

fn parse_line(line: &[u8]) -> Result<Option<DenyEntry>, String> {
    if line.len() > MAX_LINE {
        return Err(format!("line of more than {MAX_LINE} octets"));
    }
    let text = std::str::from_utf8(line).map_err(|_| "line is not UTF-8".to_owned())?.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let mut words = text.splitn(5, ' ');
    let mut next = || words.next().filter(|word| !word.is_empty());
    let (Some(issuer), Some(number), Some(time), Some(source), Some(name)) = (next(), next(), next(), next(), next())
    else {
        return Err("expected ISSUER-KEY SERIAL TIME SOURCE ISSUER".to_owned());
    };
    let issuer = if issuer == "*" {
        DeniedIssuer::Any
    } else {
        DeniedIssuer::Key(parse_key(issuer).ok_or("the issuer key is neither * nor 64 hex digits")?)
    };
    Ok(Some(DenyEntry {
        issuer,
        serial: serial::parse(number).map_err(|error| error.to_string())?,
        time: time.parse().map_err(|_| format!("\"{time}\" is no time in Unix seconds"))?,
        source: source.to_owned(),
        issuer_name: if name == "-" { String::new() } else { name.to_owned() },
    }))
}

/// 64 hexadecimal digits.
pub fn parse_key(hex: &str) -> Option<[u8; 32]> {
    let mut key = [0u8; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (octet, digits) in key.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests;
