//! psk.txt: pre-shared keys by the peer's identity, as racoon had them.
//!
//! One entry a line: `ID blanks KEY`. ID is an address, a network (`10.0.0.0/8`), a name, a mailbox, a key ID, or `*` for
//! everybody. KEY is the rest of the line to its end, blanks and a carriage return included, or hexadecimal digits behind `0x`. A line that
//! begins with `#` is a comment. The first entry that fits wins.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use crate::diagnostic::{Diagnostic, Diagnostics, render_all};
use crate::model::addr::IpNet;
use crate::model::identity::Identity;
use crate::model::secret::Secret;
use crate::racoon::args::parse_address;
use crate::span::{FileId, Sources, Span};

/// Keys shorter than this are guessed from a recorded handshake (ATTACKS A-32).
const GOOD_LENGTH: usize = 20;
/// As racoon read lines.
const MAX_LINE: usize = 1023;

/// What keys of the examples, and of people in a hurry, are made of.
const COMMON: [&str; 37] = [
    "password",
    "passwort",
    "passwd",
    "pass",
    "passphrase",
    "secret",
    "geheim",
    "shared",
    "preshared",
    "pre",
    "key",
    "psk",
    "ipsec",
    "ike",
    "vpn",
    "racoon",
    "strongswan",
    "openswan",
    "tunnel",
    "test",
    "example",
    "change",
    "changeme",
    "please",
    "default",
    "admin",
    "root",
    "user",
    "letmein",
    "qwerty",
    "qwertz",
    "asdf",
    "abc",
    "welcome",
    "this",
    "is",
    "my",
];

/// Whom a key is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Anyone,
    Address(IpAddr),
    Net(IpNet),
    /// Anything else, as it is written.
    Name(String),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    owner: Owner,
    key: Secret,
}

/// All keys, in the order of the file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PskTable {
    entries: Vec<Entry>,
}

impl fmt::Debug for PskTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PskTable({} entries)", self.entries.len())
    }
}

impl PskTable {
    /// The key for a peer at `address`: what main mode asks, which has to decide before the peer says who it is.
    pub fn for_address(&self, address: IpAddr) -> Option<&Secret> {
        self.find(|owner| match owner {
            Owner::Anyone => true,
            Owner::Address(mine) => *mine == address,
            Owner::Net(net) => net.contains(&address),
            Owner::Name(_) => false,
        })
    }

    /// The key for an identity: what aggressive mode asks.
    pub fn for_identity(&self, identity: &Identity) -> Option<&Secret> {
        match identity {
            Identity::Address(address) => self.for_address(*address),
            Identity::Fqdn(name) | Identity::UserFqdn(name) => self.for_name(name),
            Identity::KeyId(octets) => self.for_name(&String::from_utf8_lossy(octets)),
            Identity::Subnet(net) => self.for_name(&net.to_string()),
            Identity::Range(..) | Identity::Asn1Dn(_) => self.find(|owner| *owner == Owner::Anyone),
        }
    }

    /// The key of a name: also how a password of XAuth is looked up, under the user's name.
    pub fn for_name(&self, name: &str) -> Option<&Secret> {
        self.find(|owner| match owner {
            Owner::Anyone => true,
            Owner::Name(mine) => mine == name,
            Owner::Address(mine) => mine.to_string() == name,
            Owner::Net(mine) => mine.to_string() == name,
        })
    }

    /// Is there no key at all?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, fits: impl Fn(&Owner) -> bool) -> Option<&Secret> {
        self.entries.iter().find(|entry| fits(&entry.owner)).map(|entry| &entry.key)
    }
}

/// The file as it was read.
#[derive(Clone, Debug)]
pub struct PskFile {
    /// The lines that can be used; one that cannot leaves the others alone, as in racoon.
    pub table: PskTable,
    /// Errors and warnings in the order of the text. Keys are masked.
    pub diagnostics: Vec<Diagnostic>,
    /// The text they point into.
    pub sources: Sources,
}

impl PskFile {
    /// All findings, as they are printed.
    pub fn render(&self) -> String {
        render_all(&self.diagnostics, &self.sources)
    }
}

/// Reads `text`, which came from `file_name`.
pub fn parse(file_name: &str, text: &[u8]) -> PskFile {
    let mut sources = Sources::default();
    let file = sources.add(file_name, text);
    let (mut entries, mut findings, mut hidden) = (Vec::new(), Diagnostics::default(), Vec::new());
    let mut before = Before::default();
    let mut start = 0;
    // Octets are kept as they are in the keys; places are those of the text that diagnostics show.
    let lossy: Vec<String> = sources.text(file).split_inclusive('\n').map(str::to_owned).collect();
    for (octets, line) in text.split_inclusive(|octet| *octet == b'\n').zip(&lossy) {
        let reader = Line { file, start, octets, text: line };
        let key_at = reader.key_span();
        match reader.read() {
            Ok(None) => {}
            Ok(Some(entry)) => {
                let spans = (reader.owner_span(), key_at);
                judge(&entry, spans, &before, &entries, &mut findings);
                before.note(&entry, entries.len());
                entries.push(entry);
            }
            Err(finding) => {
                findings.push(*finding);
                // A word alone on its line may be a key whose identity was forgotten.
                if key_at.is_none() && !reader.is_address() {
                    hidden.push(reader.owner_span());
                }
            }
        }
        hidden.extend(key_at);
        start += line.len();
    }
    for span in hidden {
        sources.hide(span);
    }
    PskFile { table: PskTable { entries }, diagnostics: findings.into_sorted(), sources }
}

struct Line<'a> {
    file: FileId,
    start: usize,
    octets: &'a [u8],
    text: &'a str,
}

impl<'a> Line<'a> {
    fn content(&self) -> &'a [u8] {
        self.octets.strip_suffix(b"\n").unwrap_or(self.octets)
    }

    fn span(&self, from: usize, to: usize) -> Span {
        Span::new(self.file, self.start + from..self.start + to)
    }

    fn is_comment(&self) -> bool {
        self.text.trim().is_empty() || self.text.starts_with('#')
    }

    /// Start and end of the identity in the text.
    fn owner_range(&self) -> (usize, usize) {
        let from = self.text.find(|ch| ch != ' ' && ch != '\t').unwrap_or(0);
        let rest = self.text.get(from..).unwrap_or_default();
        (from, from + rest.find([' ', '\t', '\r', '\n']).unwrap_or(rest.len()))
    }

    fn owner_span(&self) -> Span {
        let (from, to) = self.owner_range();
        self.span(from, to)
    }

    /// Is the first word an address or a network, which can be no key?
    fn is_address(&self) -> bool {
        let (from, to) = self.owner_range();
        let word = self.text.get(from..to).unwrap_or_default();
        matches!(owner(word), Owner::Address(_) | Owner::Net(_))
    }

    /// Where the key stands, if there is one.
    fn key_span(&self) -> Option<Span> {
        if self.is_comment() {
            return None;
        }
        let (_, end) = self.owner_range();
        let rest = self.text.get(end..)?.trim_end_matches(['\r', '\n']);
        let key = rest.trim_start_matches([' ', '\t']);
        let from = end + rest.len() - key.len();
        (!key.is_empty()).then(|| self.span(from, from + key.len()))
    }

    fn read(&self) -> Result<Option<Entry>, Box<Diagnostic>> {
        if self.is_comment() {
            return Ok(None);
        }
        if self.octets.len() > MAX_LINE {
            let whole = self.span(0, self.text.trim_end().len());
            return Err(Box::new(Diagnostic::error(
                whole,
                format!("a line of more than {MAX_LINE} octets is not read"),
            )));
        }
        let content = self.content();
        let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
        let trimmed =
            content.iter().position(|octet| !blank(octet)).and_then(|at| content.get(at..)).unwrap_or_default();
        let end = trimmed.iter().position(blank).unwrap_or(trimmed.len());
        let (id, rest) = trimmed.split_at(end);
        let key = rest.iter().position(|octet| !blank(octet)).and_then(|at| rest.get(at..)).unwrap_or_default();
        if key.is_empty() {
            let hint = "write the identity, a blank or a tab, then the key";
            let finding = Diagnostic::error(self.owner_span(), "no key stands behind this identity").hint(hint);
            return Err(Box::new(finding));
        }
        Ok(Some(Entry { owner: owner(&String::from_utf8_lossy(id)), key: self.key(key)? }))
    }

    fn key(&self, key: &[u8]) -> Result<Secret, Box<Diagnostic>> {
        let Some(digits) = key.strip_prefix(b"0x") else { return Ok(Secret::new(key.to_vec())) };
        let digits = digits.trim_ascii_end();
        let nibble = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let nibbles: Option<Vec<u8>> = digits.iter().map(nibble).collect();
        match nibbles.filter(|nibbles| !nibbles.is_empty() && nibbles.len().is_multiple_of(2)) {
            Some(nibbles) => {
                let octets = nibbles.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, half| octet << 4 | half));
                Ok(Secret::new(octets.collect()))
            }
            None => {
                let span = self.key_span().unwrap_or_else(|| self.owner_span());
                let words = "a key behind 0x is an even number of hexadecimal digits";
                Err(Box::new(Diagnostic::error(span, words)))
            }
        }
    }
}

fn owner(id: &str) -> Owner {
    if id == "*" {
        return Owner::Anyone;
    }
    if let Ok(address) = parse_address(id) {
        return Owner::Address(address);
    }
    match id.parse::<IpNet>() {
        Ok(net) => Owner::Net(net.trunc()),
        Err(_) => Owner::Name(id.to_owned()),
    }
}

/// The lines above, so that a file of a hundred thousand is read in one go.
#[derive(Default)]
struct Before {
    owners: BTreeSet<Owner>,
    /// First line with a key, by a hash of it.
    keys: BTreeMap<u64, usize>,
}

impl Before {
    fn note(&mut self, entry: &Entry, index: usize) {
        self.owners.insert(entry.owner.clone());
        self.keys.entry(hash(&entry.key)).or_insert(index);
    }

    fn with_key<'e>(&self, entry: &Entry, entries: &'e [Entry]) -> Option<&'e Entry> {
        let index = self.keys.get(&hash(&entry.key))?;
        entries.get(*index).filter(|earlier| earlier.key == entry.key)
    }
}

fn hash(key: &Secret) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.expose());
    hasher.finish()
}

/// Weak keys, and lines that are never reached.
fn judge(
    entry: &Entry,
    (id, key): (Span, Option<Span>),
    before: &Before,
    entries: &[Entry],
    findings: &mut Diagnostics,
) {
    if before.owners.contains(&entry.owner) || before.owners.contains(&Owner::Anyone) {
        findings.warning(id, "this line is never used: one above it fits the same peers, and the first one wins");
    }
    if entry.key.expose().ends_with(b"\r") {
        findings.push(
            Diagnostic::warning(key.unwrap_or(id), "this key ends with a carriage return, as racoon took it")
                .hint("if the peer's key has none, write the file with line ends of Unix"),
        );
    }
    if entry.owner == Owner::Anyone {
        findings.warning(id, "one key for everybody: each of them can take the place of any other");
    } else if before.with_key(entry, entries).is_some_and(|earlier| earlier.owner != entry.owner) {
        findings.push(
            Diagnostic::warning(
                key.unwrap_or(id),
                "a line above has the same key: each peer can take the other's place",
            )
            .hint("a key for each peer"),
        );
    }
    if let Some(why) = weakness(&entry.key) {
        findings.push(
            Diagnostic::warning(
                key.unwrap_or(id),
                format!("this key is {why}: it can be guessed from one recorded handshake"),
            )
            .hint("a good one: head -c 24 /dev/urandom | base64"),
        );
    }
}

/// Why a key can be guessed, if it can.
fn weakness(key: &Secret) -> Option<String> {
    if key.len() < GOOD_LENGTH {
        Some(format!("shorter than {GOOD_LENGTH} characters"))
    } else if is_monotonous(key.expose()) {
        Some("made of a few characters only".to_owned())
    } else if is_common(key.expose()) {
        Some("made of words and numbers that everybody tries first".to_owned())
    } else {
        None
    }
}

/// Is it nothing but words of the list, digits in a row, and separators?
fn is_common(key: &[u8]) -> bool {
    let key = key.to_ascii_lowercase();
    let mut rest = key.as_slice();
    let mut foreign = 0;
    while let Some((first, behind)) = rest.split_first() {
        let word = COMMON.iter().filter_map(|word| rest.strip_prefix(word.as_bytes())).min_by_key(|rest| rest.len());
        rest = match word {
            Some(behind) => behind,
            None => {
                foreign += usize::from(first.is_ascii_alphabetic() || !first.is_ascii());
                behind
            }
        };
    }
    // Digits and punctuation between words hide nothing, and neither does a letter or two.
    foreign <= 2
}

/// Does it use less than six different octets?
fn is_monotonous(key: &[u8]) -> bool {
    let mut seen = [false; 256];
    for octet in key {
        if let Some(slot) = seen.get_mut(usize::from(*octet)) {
            *slot = true;
        }
    }
    seen.iter().filter(|used| **used).count() < 6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(table: &PskTable, address: &str) -> Option<Vec<u8>> {
        table.for_address(address.parse().unwrap()).map(|key| key.expose().to_vec())
    }

    /// RACOON 5.2, row by row.
    #[test]
    fn a_key_is_the_rest_of_its_line() {
        let of = |line: &[u8]| {
            let file = parse("p", line);
            (key(&file.table, "10.0.0.1"), file.render())
        };
        let value = |line: &[u8]| of(line).0.map(|key| String::from_utf8_lossy(&key).into_owned());
        assert_eq!(value(b"10.0.0.1 a long and good enough key").as_deref(), Some("a long and good enough key"));
        assert_eq!(value(b" \t10.0.0.1\t \tkey of words \t\n").as_deref(), Some("key of words \t"));
        assert_eq!(value(b"10.0.0.1 # is no comment here\n").as_deref(), Some("# is no comment here"));
        assert_eq!(value(b"10.0.0.1 \"in quotes\"\n").as_deref(), Some("\"in quotes\""));
        assert_eq!(value(b"10.0.0.1 0x6b6579\n").as_deref(), Some("key"));
        assert_eq!(value(b"10.0.0.1 0X6b6579\n").as_deref(), Some("0X6b6579"));
        assert_eq!(value(b"# 10.0.0.1 key\n\n   \n"), None);
        let (carried, shown) = of(b"10.0.0.1 a long and good enough key\r\n");
        assert_eq!(carried.as_deref(), Some(&b"a long and good enough key\r"[..]));
        assert!(shown.contains("p:1:10: warning: this key ends with a carriage return"), "{shown}");
    }

    #[test]
    fn a_line_of_1023_octets_is_read_and_a_longer_one_is_not() {
        let line = |octets: usize| format!("10.0.0.1 {}\n* for everybody else, long enough\n", "k".repeat(octets - 10));
        assert_eq!(key(&parse("p", line(1023).as_bytes()).table, "10.0.0.1").map(|key| key.len()), Some(1013));
        let file = parse("p", line(1024).as_bytes());
        assert_eq!(key(&file.table, "10.0.0.1").as_deref(), Some(&b"for everybody else, long enough"[..]));
        let shown = file.render();
        assert!(shown.contains("p:1:1: error: a line of more than 1023 octets") && !shown.contains("kkk"), "{shown}");
    }

    #[test]
    fn addresses_networks_and_everybody_by_the_first_line_that_fits() {
        let text =
            b"# keys\n10.0.0.1\tone key with blanks \n10.0.0.0/8 0x00ff10\r\nfd00::1 six\nalice@desk hers\n* all\n";
        let table = parse("p", text).table;
        assert_eq!(key(&table, "10.0.0.1").unwrap(), b"one key with blanks ");
        assert_eq!(key(&table, "10.9.9.9").unwrap(), [0x00, 0xff, 0x10]);
        assert_eq!(key(&table, "fd00::1").unwrap(), b"six");
        assert_eq!(key(&table, "192.0.2.1").unwrap(), b"all");
        let of = |identity| table.for_identity(&identity).map(|key| key.expose().to_vec()).unwrap();
        assert_eq!(of(Identity::UserFqdn("alice@desk".to_owned())), b"hers");
        assert_eq!(of(Identity::Fqdn("bob.desk".to_owned())), b"all");
        assert_eq!(of(Identity::Address("10.0.0.1".parse().unwrap())), b"one key with blanks ");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_shown_and_leaves_the_others_alone() {
        let file = parse("p", b"10.0.0.1\n10.0.0.2 0x123\n10.0.0.3 a long and good enough key\n");
        assert!(key(&file.table, "10.0.0.3").is_some());
        assert_eq!((key(&file.table, "10.0.0.1"), key(&file.table, "10.0.0.2")), (None, None));
        let text = file.render();
        assert!(text.contains("p:1:1: error: no key stands behind this identity"), "{text}");
        assert!(text.contains("p:2:10: error: a key behind 0x"), "{text}");
        assert!(text.contains("10.0.0.1"), "{text}");
        let text = parse("p", b"aKeyWhoseIdentityWasForgotten\n").render();
        assert!(text.contains("p:1:1: error: no key stands") && !text.contains("WasForgotten"), "{text}");
    }

    #[test]
    fn weak_keys_and_unreached_lines_are_told_without_the_key() {
        let file = parse("p", b"* secret\n10.0.0.1 aaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
        let text = file.render();
        for part in [
            "p:1:3: warning: this key is shorter than 20",
            "p:2:1: warning: this line is never used",
            "a few characters only",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("secret") && !text.contains("aaaa"), "{text}");
    }

    #[test]
    fn words_and_shared_keys_are_told() {
        let warned = |text: &str| {
            let file = parse("p", text.as_bytes());
            file.diagnostics.iter().map(|found| found.message.clone()).collect::<Vec<_>>().join("; ")
        };
        assert!(warned("10.0.0.1 this-is-my-secret-vpn-key-2024\n").contains("tries first"));
        assert_eq!(warned("10.0.0.1 q7Jw0fVx3cP9bLs2TgYk8\n10.0.0.2 Zt5RmN1dXo6HuEa4WvIj9\n"), "");
        let both = "10.0.0.1 q7Jw0fVx3cP9bLs2TgYk8\n10.0.0.2 q7Jw0fVx3cP9bLs2TgYk8\n";
        assert!(warned(both).contains("the same key"));
        assert!(warned("* q7Jw0fVx3cP9bLs2TgYk8\n").contains("everybody"));
    }
}
