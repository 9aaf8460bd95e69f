//! Distinguished names: DER to words and back, comparison (RFC 5280 §7.1), the one-line form of logs, and the patterns
//! of racoon.conf (`C=NL, O=Example, CN=*`).

use std::fmt::Write as _;

use thiserror::Error;

use super::der::{self, DerError, Reader, Tlv};

/// More than any real name has; bounds the work a peer can ask for.
pub const MAX_ATTRIBUTES: usize = 64;
/// Longest name that is looked at, in octets of DER.
pub const MAX_OCTETS: usize = 16 * 1024;

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not DER.
    #[error(transparent)]
    Der(#[from] DerError),
    /// Too long or too many attributes.
    #[error("name has more than {MAX_ATTRIBUTES} attributes or {MAX_OCTETS} octets")]
    TooLarge,
    /// An RDN without any attribute, or an empty attribute type.
    #[error("name has an empty RDN or attribute type")]
    Empty,
    /// A key ID stands in a file.
    #[error("the file {0} has not been read")]
    Unread(String),
    /// The octets do not fit the string type.
    #[error("attribute value is no valid {0}")]
    Text(&'static str),
    /// A part of a configured name is not `TYPE=value`.
    #[error("\"{0}\" is not TYPE=value")]
    NotAnAttribute(String),
    /// An attribute type nobody knows.
    #[error("unknown attribute type \"{0}\" (write it as a dotted OID)")]
    UnknownType(String),
    /// A `*` where a real value is needed.
    #[error("\"*\" stands for any value and cannot be an identity of our own")]
    Wildcard,
}

/// String type of an attribute value (X.520 DirectoryString and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringKind {
    /// UTF8String.
    Utf8,
    /// PrintableString.
    Printable,
    /// TeletexString, read as Latin-1 as everybody does.
    Teletex,
    /// IA5String.
    Ia5,
    /// BMPString.
    Bmp,
    /// UniversalString.
    Universal,
    /// NumericString.
    Numeric,
    /// VisibleString.
    Visible,
    /// Anything else: compared as it stands.
    Other(u8),
}

impl StringKind {
    fn from_tag(tag: u8) -> Self {
        match tag {
            0x0c => Self::Utf8,
            0x13 => Self::Printable,
            0x14 => Self::Teletex,
            0x16 => Self::Ia5,
            0x1e => Self::Bmp,
            0x1c => Self::Universal,
            0x12 => Self::Numeric,
            0x1a => Self::Visible,
            other => Self::Other(other),
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Utf8 => 0x0c,
            Self::Printable => 0x13,
            Self::Teletex => 0x14,
            Self::Ia5 => 0x16,
            Self::Bmp => 0x1e,
            Self::Universal => 0x1c,
            Self::Numeric => 0x12,
            Self::Visible => 0x1a,
            Self::Other(tag) => tag,
        }
    }
}

/// One attribute of an RDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Contents octets of the attribute type's OID.
    pub oid: Vec<u8>,
    /// String type of the value.
    pub kind: StringKind,
    /// The value's octets as encoded.
    pub octets: Vec<u8>,
    /// The value as text; `None` if it is no string.
    pub text: Option<String>,
}

impl Attribute {
    /// RFC 5280 §7.1: the string type does not matter, nor does the case of ASCII letters or the amount of white space.
    /// Beyond ASCII letters count as they are (as OpenSSL does): fewer names look alike. A NUL equals nothing, itself
    /// included (CVE-2009-2408).
    fn equals(&self, other: &Self) -> bool {
        if self.oid != other.oid {
            return false;
        }
        match (&self.text, &other.text) {
            (Some(mine), Some(theirs)) => !mine.contains('\0') && !theirs.contains('\0') && fold(mine) == fold(theirs),
            (None, None) => self.kind == other.kind && self.octets == other.octets,
            _ => false,
        }
    }
}

/// One relative distinguished name: usually one attribute.
pub type Rdn = Vec<Attribute>;

/// A distinguished name: RDNs in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    rdns: Vec<Rdn>,
}

impl Name {
    /// Reads an RDNSequence; nothing may follow it.
    ///
    /// # Errors
    /// [`NameError`] for anything but a strictly encoded name within the limits.
    pub fn from_der(octets: &[u8]) -> Result<Self, NameError> {
        if octets.len() > MAX_OCTETS {
            return Err(NameError::TooLarge);
        }
        let mut outer = Reader::new(octets);
        let mut sequence = Reader::new(outer.expect(der::SEQUENCE)?.value);
        outer.finish()?;
        let mut rdns = Vec::new();
        let mut count = 0usize;
        while !sequence.is_empty() {
            let mut set = Reader::new(sequence.expect(der::SET)?.value);
            let mut rdn = Rdn::new();
            while !set.is_empty() {
                count += 1;
                if count > MAX_ATTRIBUTES {
                    return Err(NameError::TooLarge);
                }
                rdn.push(read_attribute(set.expect(der::SEQUENCE)?.value)?);
            }
            if rdn.is_empty() {
                return Err(NameError::Empty);
            }
            rdns.push(rdn);
        }
        Ok(Self { rdns })
    }

    /// The RDNs in order.
    pub fn rdns(&self) -> &[Rdn] {
        &self.rdns
    }

    /// The RDNSequence.
    pub fn to_der(&self) -> Vec<u8> {
        let mut sequence = Vec::new();
        for rdn in &self.rdns {
            let mut members: Vec<Vec<u8>> = rdn.iter().map(write_attribute).collect();
            // X.690 §11.6: the members of a SET OF stand in ascending order of their encodings.
            members.sort();
            der::write(&mut sequence, der::SET, &members.concat());
        }
        let mut out = Vec::new();
        der::write(&mut out, der::SEQUENCE, &sequence);
        out
    }

    /// RFC 5280 §7.1: as many RDNs, in the same order, each with equal attributes.
    pub fn equals(&self, other: &Self) -> bool {
        self.rdns.len() == other.rdns.len()
            && self.rdns.iter().zip(&other.rdns).all(|(mine, theirs)| same_set(mine, theirs, Attribute::equals))
    }

    /// OpenSSL's old one-line form, `/C=US/O=x/CN=y`, which racoon's logs show. Octets that are not printable ASCII
    /// stand as `\xHH`.
    pub fn one_line(&self) -> String {
        let mut line = String::new();
        for attribute in self.rdns.iter().flatten() {
            line.push('/');
            line.push_str(&type_name(&attribute.oid));
            line.push('=');
            for &octet in &attribute.octets {
                if (b' '..=b'~').contains(&octet) {
                    line.push(char::from(octet));
                } else {
                    let _ = write!(line, "\\x{octet:02X}");
                }
            }
        }
        line
    }
}

/// The one-line form of a DER name; of octets that are no name, a note saying so.
pub fn one_line(octets: &[u8]) -> String {
    Name::from_der(octets).map_or_else(|error| format!("(unreadable name: {error})"), |name| name.one_line())
}

/// Are these two DER names the same by RFC 5280 §7.1? What is no name equals nothing.
pub fn same_name(one: &[u8], other: &[u8]) -> bool {
    matches!((Name::from_der(one), Name::from_der(other)), (Ok(one), Ok(other)) if one.equals(&other))
}

/// What a configuration expects of a name: types fixed, values fixed or free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    rdns: Vec<Vec<AttributePattern>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AttributePattern {
    oid: Vec<u8>,
    /// `None` is `*`.
    value: Option<String>,
}

impl Pattern {
    /// Reads `C=NL, O=Example, CN=*` or `/C=NL/O=Example/CN=*`. A comma inside a value is written `\,`; a slash that
    /// is not followed by `TYPE=` belongs to the value; `+` joins the attributes of one RDN.
    ///
    /// # Errors
    /// [`NameError`] naming the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut rdns: Vec<Vec<AttributePattern>> = Vec::new();
        for (joined, part) in split(text) {
            let attribute = parse_attribute(&part)?;
            match rdns.last_mut() {
                Some(rdn) if joined => rdn.push(attribute),
                _ => rdns.push(vec![attribute]),
            }
        }
        if rdns.is_empty() {
            return Err(NameError::NotAnAttribute(text.to_owned()));
        }
        if rdns.iter().map(Vec::len).sum::<usize>() > MAX_ATTRIBUTES || text.len() > MAX_OCTETS {
            return Err(NameError::TooLarge);
        }
        Ok(Self { rdns })
    }

    /// Does the name have these RDNs, in this order and no more?
    pub fn matches(&self, name: &Name) -> bool {
        self.rdns.len() == name.rdns.len()
            && self.rdns.iter().zip(&name.rdns).all(|(pattern, rdn)| same_set(pattern, rdn, AttributePattern::matches))
    }

    /// The name itself: UTF8String, but PrintableString for `C` and `serialNumber`, IA5String for `emailAddress` and
    /// `DC` (RFC 5280 appendix A).
    ///
    /// # Errors
    /// [`NameError::Wildcard`] if a value is free, [`NameError::Text`] if one does not fit its string type.
    pub fn to_name(&self) -> Result<Name, NameError> {
        let rdns = self.rdns.iter().map(|rdn| rdn.iter().map(AttributePattern::to_attribute).collect());
        Ok(Name { rdns: rdns.collect::<Result<_, _>>()? })
    }
}

impl AttributePattern {
    fn matches(&self, attribute: &Attribute) -> bool {
        if self.oid != attribute.oid {
            return false;
        }
        match (&self.value, &attribute.text) {
            (None, Some(text)) => !text.contains('\0'),
            (None, None) => true,
            (Some(mine), Some(theirs)) => !theirs.contains('\0') && fold(mine) == fold(theirs),
            (Some(_), None) => false,
        }
    }

    fn to_attribute(&self) -> Result<Attribute, NameError> {
        let text = self.value.clone().ok_or(NameError::Wildcard)?;
        let kind = match TYPES.iter().find(|known| known.oid == self.oid.as_slice()) {
            Some(known) => known.kind,
            None => StringKind::Utf8,
        };
        match kind {
            StringKind::Printable if !text.bytes().all(is_printable_string) => {
                return Err(NameError::Text("PrintableString"));
            }
            StringKind::Ia5 if !text.is_ascii() => return Err(NameError::Text("IA5String")),
            _ => {}
        }
        Ok(Attribute { oid: self.oid.clone(), kind, octets: text.clone().into_bytes(), text: Some(text) })
    }
}

fn is_printable_string(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet)
}

/// Equal as sets: RDNs are SETs, so the order within one says nothing (RFC 5280 §7.1).
fn same_set<A, B>(ones: &[A], others: &[B], same: impl Fn(&A, &B) -> bool) -> bool {
    if ones.len() != others.len() {
        return false;
    }
    let mut free: Vec<&B> = others.iter().collect();
    ones.iter().all(|one| match free.iter().position(|other| same(one, other)) {
        Some(at) => {
            free.swap_remove(at);
            true
        }
        None => false,
    })
}

/// Folds case and white space for comparison.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(&word.to_ascii_lowercase());
    }
    folded
}

fn read_attribute(octets: &[u8]) -> Result<Attribute, NameError> {
    let mut reader = Reader::new(octets);
    let oid = reader.expect(der::OBJECT_IDENTIFIER)?.value;
    let value = reader.read()?;
    reader.finish()?;
    if oid.is_empty() {
        return Err(NameError::Empty);
    }
    let kind = StringKind::from_tag(value.tag);
    Ok(Attribute { oid: oid.to_vec(), kind, octets: value.value.to_vec(), text: read_text(kind, value)? })
}

fn read_text(kind: StringKind, value: Tlv<'_>) -> Result<Option<String>, NameError> {
    let octets = value.value;
    let text = match kind {
        StringKind::Utf8 => std::str::from_utf8(octets).map_err(|_| NameError::Text("UTF8String"))?.to_owned(),
        // Types of one octet a character. Old CAs put anything into them, so what is beyond ASCII is read as Latin-1.
        StringKind::Printable | StringKind::Teletex | StringKind::Ia5 | StringKind::Numeric | StringKind::Visible => {
            octets.iter().map(|&octet| char::from(octet)).collect()
        }
        StringKind::Bmp => {
            let (pairs, rest) = octets.as_chunks::<2>();
            let units: Option<String> =
                pairs.iter().map(|&pair| char::from_u32(u32::from(u16::from_be_bytes(pair)))).collect();
            units.filter(|_| rest.is_empty()).ok_or(NameError::Text("BMPString"))?
        }
        StringKind::Universal => {
            let (quads, rest) = octets.as_chunks::<4>();
            let units: Option<String> = quads.iter().map(|&quad| char::from_u32(u32::from_be_bytes(quad))).collect();
            units.filter(|_| rest.is_empty()).ok_or(NameError::Text("UniversalString"))?
        }
        StringKind::Other(_) => return Ok(None),
    };
    Ok(Some(text))
}

fn write_attribute(attribute: &Attribute) -> Vec<u8> {
    let mut body = Vec::new();
    der::write(&mut body, der::OBJECT_IDENTIFIER, &attribute.oid);
    der::write(&mut body, attribute.kind.tag(), &attribute.octets);
    let mut out = Vec::new();
    der::write(&mut out, der::SEQUENCE, &body);
    out
}

/// Cuts a configured name into `TYPE=value` parts; the flag says that the part joins the RDN before it.
fn split(text: &str) -> Vec<(bool, String)> {
    let slashes = text.trim_start().starts_with('/');
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut joined = false;
    let mut rest = text.trim().trim_start_matches('/').chars();
    while let Some(letter) = rest.next() {
        let ends = match letter {
            '\\' => {
                if let Some(escaped) = rest.next() {
                    part.push(escaped);
                }
                continue;
            }
            ',' => !slashes,
            '/' | '+' => begins_attribute(rest.as_str()),
            _ => false,
        };
        if ends {
            parts.push((joined, std::mem::take(&mut part)));
            joined = letter == '+';
        } else {
            part.push(letter);
        }
    }
    parts.push((joined, part));
    parts
}

/// Does `TYPE=` stand here?
fn begins_attribute(text: &str) -> bool {
    text.split_once('=').is_some_and(|(word, _)| type_oid(word.trim()).is_some())
}

fn parse_attribute(part: &str) -> Result<AttributePattern, NameError> {
    let (word, value) = part.split_once('=').ok_or_else(|| NameError::NotAnAttribute(part.trim().to_owned()))?;
    let (word, value) = (word.trim(), value.trim());
    let oid = type_oid(word).ok_or_else(|| NameError::UnknownType(word.to_owned()))?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    Ok(AttributePattern { oid, value: (value != "*").then(|| value.to_owned()) })
}

struct KnownType {
    /// The first is the one that is printed (OpenSSL's short name).
    names: &'static [&'static str],
    oid: &'static [u8],
    kind: StringKind,
}

const fn known(names: &'static [&'static str], oid: &'static [u8], kind: StringKind) -> KnownType {
    KnownType { names, oid, kind }
}

/// Attribute types with OpenSSL's short names, and the spellings people use.
const TYPES: &[KnownType] = &[
    known(&["CN", "commonName"], &[0x55, 4, 3], StringKind::Utf8),
    known(&["SN", "surname"], &[0x55, 4, 4], StringKind::Utf8),
    known(&["serialNumber"], &[0x55, 4, 5], StringKind::Printable),
    known(&["C", "countryName"], &[0x55, 4, 6], StringKind::Printable),
    known(&["L", "localityName"], &[0x55, 4, 7], StringKind::Utf8),
    known(&["ST", "S", "stateOrProvinceName"], &[0x55, 4, 8], StringKind::Utf8),
    known(&["street", "streetAddress"], &[0x55, 4, 9], StringKind::Utf8),
    known(&["O", "organizationName"], &[0x55, 4, 10], StringKind::Utf8),
    known(&["OU", "organizationalUnitName"], &[0x55, 4, 11], StringKind::Utf8),
    known(&["title", "T"], &[0x55, 4, 12], StringKind::Utf8),
    known(&["description", "D"], &[0x55, 4, 13], StringKind::Utf8),
    known(&["postalCode"], &[0x55, 4, 17], StringKind::Utf8),
    known(&["name"], &[0x55, 4, 41], StringKind::Utf8),
    known(&["GN", "givenName", "G"], &[0x55, 4, 42], StringKind::Utf8),
    known(&["initials", "I"], &[0x55, 4, 43], StringKind::Utf8),
    known(&["generationQualifier"], &[0x55, 4, 44], StringKind::Utf8),
    known(&["dnQualifier"], &[0x55, 4, 46], StringKind::Printable),
    known(&["pseudonym"], &[0x55, 4, 65], StringKind::Utf8),
    known(&["organizationIdentifier"], &[0x55, 4, 97], StringKind::Utf8),
    known(&["UID", "userId"], &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], StringKind::Utf8),
    known(&["DC", "domainComponent"], &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], StringKind::Ia5),
    known(&["emailAddress", "Email", "E"], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], StringKind::Ia5),
    known(&["unstructuredName"], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x02], StringKind::Utf8),
];

fn type_oid(word: &str) -> Option<Vec<u8>> {
    TYPES
        .iter()
        .find(|known| known.names.iter().any(|name| name.eq_ignore_ascii_case(word)))
        .map(|known| known.oid.to_vec())
        .or_else(|| encode_oid(word.strip_prefix("OID.").unwrap_or(word)))
}

fn type_name(oid: &[u8]) -> String {
    let known = TYPES.iter().find(|known| known.oid == oid).and_then(|known| known.names.first());
    known.map_or_else(|| decode_oid(oid), |&name| name.to_owned())
}

/// Dotted decimal to contents octets (X.690 §8.19).
fn encode_oid(dotted: &str) -> Option<Vec<u8>> {
    let arcs: Vec<u32> = dotted.split('.').map(|arc| arc.parse().ok()).collect::<Option<_>>()?;
    let (&[first, second], rest) = arcs.split_first_chunk::<2>()?;
    if first > 2 || (first < 2 && second > 39) || second > 1000 || rest.len() > 30 {
        return None;
    }
    let mut out = Vec::new();
    for arc in std::iter::once(first * 40 + second).chain(rest.iter().copied()) {
        let groups = (32 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group == 0 { 0 } else { 0x80 };
            out.push(((arc >> (7 * group)) & 0x7f) as u8 | more);
        }
    }
    Some(out)
}

/// Contents octets to dotted decimal; arcs beyond 64 bits wrap, which only a log line shows.
fn decode_oid(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0u64;
    for &octet in oid {
        arc = (arc << 7) | u64::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.extend([first, arc - 40 * first]);
            } else {
                arcs.push(arc);
            }
            arc = 0;
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
