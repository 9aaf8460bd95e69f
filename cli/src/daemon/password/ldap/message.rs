//! The few messages of LDAP that a login takes (RFC 4511 sections 4.1 to 4.5), in the definite form of BER (5.1).
//!
//! A value in a filter is a string of octets of its own here, and never part of a text: a user's name has nothing to
//! break out of, and nothing to escape (RFC 4515 is for filters that are texts).

use x509_parser::asn1_rs::{Any, Err as Outcome, FromBer};
use zeroize::Zeroizing;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const BOOLEAN: u8 = 0x01;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SIMPLE: u8 = 0x80;
const AND: u8 = 0xa0;
const EQUAL: u8 = 0xa3;

/// The largest message that is taken from a server.
pub(super) const MAX_MESSAGE: usize = 256 * 1024;

/// Octets that may hold a password.
type Octets = Zeroizing<Vec<u8>>;

/// Not a message of LDAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is no message of LDAP")]
pub(super) struct Malformed;

/// One element: identifier, length, content.
fn element(identifier: u8, parts: &[&[u8]]) -> Octets {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut octets = Zeroizing::new(Vec::with_capacity(length + 6));
    octets.push(identifier);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => octets.push(short),
        _ => {
            octets.push(0x84);
            octets.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    parts.iter().for_each(|part| octets.extend_from_slice(part));
    octets
}

fn text(text: &str) -> Octets {
    element(OCTET_STRING, &[text.as_bytes()])
}

fn number(identifier: u8, number: u32) -> Octets {
    // As short as it can be, and never so that it reads as negative (X.690 section 8.3).
    let octets = number.to_be_bytes();
    let zeros = octets.iter().take(3).take_while(|octet| **octet == 0).count();
    let shown = octets.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if shown.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
    element(identifier, &[sign, shown])
}

fn message(id: u32, operation: &[u8]) -> Octets {
    element(SEQUENCE, &[&number(INTEGER, id), operation])
}

/// A simple bind (RFC 4511 section 4.2).
pub(super) fn bind(id: u32, dn: &str, password: &[u8]) -> Octets {
    let parts = [number(INTEGER, 3), text(dn), element(SIMPLE, &[password])];
    message(id, &element(BIND_REQUEST, &parts.each_ref().map(|part| part.as_slice())))
}

/// The end of a connection (section 4.3).
pub(super) fn unbind(id: u32) -> Octets {
    message(id, &element(UNBIND_REQUEST, &[]))
}

/// What is searched for (section 4.5.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub(super) base: &'a str,
    pub(super) subtree: bool,
    /// Attributes and the values that they must have: all of them.
    pub(super) equal: &'a [(&'a str, &'a str)],
    /// Attributes wanted.
    pub(super) attributes: &'a [&'a str],
    /// Entries at most.
    pub(super) limit: u32,
    /// Seconds at most.
    pub(super) seconds: u32,
}

impl Search<'_> {
    /// As a request.
    pub(super) fn request(&self, id: u32) -> Octets {
        let terms: Vec<Octets> =
            self.equal.iter().map(|(name, value)| element(EQUAL, &[&text(name), &text(value)])).collect();
        let filter = match terms.as_slice() {
            [one] => one.clone(),
            terms => element(AND, &terms.iter().map(|term| term.as_slice()).collect::<Vec<_>>()),
        };
        // "1.1" stands for no attribute at all (section 4.5.1.8).
        let wanted = if self.attributes.is_empty() { &["1.1"] } else { self.attributes };
        let wanted: Vec<Octets> = wanted.iter().map(|name| text(name)).collect();
        let parts = [
            text(self.base),
            element(ENUMERATED, &[&[if self.subtree { 2 } else { 1 }]]),
            element(ENUMERATED, &[&[0]]),
            number(INTEGER, self.limit),
            number(INTEGER, self.seconds),
            element(BOOLEAN, &[&[0]]),
            filter,
            element(SEQUENCE, &wanted.iter().map(|name| name.as_slice()).collect::<Vec<_>>()),
        ];
        message(id, &element(SEARCH_REQUEST, &parts.each_ref().map(|part| part.as_slice())))
    }
}

/// How an operation ended (section 4.1.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: u32,
    /// The server's words, if it has any.
    pub(super) text: String,
}

/// An entry found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    attributes: Vec<(String, Vec<String>)>,
}

impl Entry {
    /// The values of an attribute.
    pub(super) fn values(&self, name: &str) -> &[String] {
        let same = |(kind, _): &&(String, Vec<String>)| kind.eq_ignore_ascii_case(name);
        self.attributes.iter().find(same).map_or(&[], |(_, values)| values)
    }
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// To a bind.
    Bound(Ended),
    /// To a search, one of any number.
    Entry(Entry),
    /// The end of a search.
    Done(Ended),
    /// Referrals to other servers, intermediate answers: not followed, not needed.
    Other,
}

/// The first message in `octets` with its length; `None` if not all of it is there.
///
/// # Errors
/// It is none, or an oversized one.
pub(super) fn first(octets: &[u8]) -> Result<Option<(u32, Response, usize)>, Malformed> {
    if octets.first().is_some_and(|identifier| *identifier != SEQUENCE) {
        return Err(Malformed);
    }
    match Any::from_ber(octets) {
        Ok((rest, _)) => {
            let length = octets.len().saturating_sub(rest.len());
            let whole = octets.get(..length).ok_or(Malformed)?;
            let (id, response) = read(whole)?;
            Ok(Some((id, response, length)))
        }
        Err(Outcome::Incomplete(_)) if octets.len() < MAX_MESSAGE => Ok(None),
        Err(_) => Err(Malformed),
    }
}

fn read(octets: &[u8]) -> Result<(u32, Response), Malformed> {
    let mut message = Elements(octets).inside(SEQUENCE)?;
    let id = message.number(INTEGER)?;
    let (identifier, content) = message.next()?;
    let mut operation = Elements(content);
    let response = match identifier {
        BIND_RESPONSE => Response::Bound(ended(&mut operation)?),
        SEARCH_DONE => Response::Done(ended(&mut operation)?),
        SEARCH_ENTRY => Response::Entry(entry(&mut operation)?),
        _ => Response::Other,
    };
    Ok((id, response))
}

fn ended(operation: &mut Elements<'_>) -> Result<Ended, Malformed> {
    let code = operation.number(ENUMERATED)?;
    operation.content(OCTET_STRING)?;
    let text = String::from_utf8_lossy(operation.content(OCTET_STRING)?);
    Ok(Ended { code, text: text.chars().filter(|ch| !ch.is_control()).take(200).collect() })
}

fn entry(operation: &mut Elements<'_>) -> Result<Entry, Malformed> {
    let utf8 = |octets: &[u8]| String::from_utf8(octets.to_vec()).map_err(|_binary| Malformed);
    let dn = utf8(operation.content(OCTET_STRING)?)?;
    let mut list = operation.inside(SEQUENCE)?;
    let mut attributes = Vec::new();
    while !list.0.is_empty() {
        let mut attribute = list.inside(SEQUENCE)?;
        let name = utf8(attribute.content(OCTET_STRING)?)?;
        let mut set = attribute.inside(SET)?;
        let mut values = Vec::new();
        while !set.0.is_empty() {
            values.push(String::from_utf8_lossy(set.content(OCTET_STRING)?).into_owned());
        }
        attributes.push((name, values));
    }
    Ok(Entry { dn, attributes })
}

/// Elements that follow each other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// Identifier octet and content of the next one.
    fn next(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (rest, any) = Any::from_ber(self.0).map_err(|_other| Malformed)?;
        let header = &any.header;
        let tag = u8::try_from(header.tag().0).ok().filter(|tag| *tag < 31).ok_or(Malformed)?;
        if !header.length().is_definite() {
            return Err(Malformed);
        }
        self.0 = rest;
        Ok(((header.class() as u8) << 6 | u8::from(header.is_constructed()) << 5 | tag, any.data))
    }

    fn content(&mut self, identifier: u8) -> Result<&'a [u8], Malformed> {
        self.next().and_then(|(is, content)| if is == identifier { Ok(content) } else { Err(Malformed) })
    }

    fn inside(&mut self, identifier: u8) -> Result<Self, Malformed> {
        self.content(identifier).map(Self)
    }

    fn number(&mut self, identifier: u8) -> Result<u32, Malformed> {
        let octets = self.content(identifier)?;
        let value = match octets {
            [] => return Err(Malformed),
            [first, ..] if first & 0x80 != 0 => return Err(Malformed),
            octets => octets.iter().try_fold(0_u32, |sum, octet| sum.checked_mul(256)?.checked_add((*octet).into())),
        };
        value.ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets as `ldapsearch` of OpenLDAP gets them: a bind answered, an entry, the end.
    const BOUND: &[u8] = &[0x30, 0x0c, 2, 1, 1, 0x61, 7, 0x0a, 1, 0, 4, 0, 4, 0];
    const FOUND: &[u8] = b"\x30\x29\x02\x01\x02\x64\x24\x04\x07cn=a,c=b\x30";

    #[test]
    fn requests_are_those_of_the_standard() {
        let bound = bind(1, "cn=a", b"pw");
        assert_eq!(bound.as_slice(), b"\x30\x12\x02\x01\x01\x60\x0d\x02\x01\x03\x04\x04cn=a\x80\x02pw");
        assert_eq!(unbind(2).as_slice(), b"\x30\x05\x02\x01\x02\x42\0");
        assert_eq!(number(INTEGER, 0).as_slice(), [2, 1, 0]);
        assert_eq!(number(INTEGER, 128).as_slice(), [2, 2, 0, 128]);
        assert_eq!(number(INTEGER, 0xffff_ffff).as_slice(), [2, 5, 0, 255, 255, 255, 255]);
    }

    #[test]
    fn a_name_stays_one_value_whatever_it_holds() {
        for name in ["*)(uid=*", "a)(|(uid=*", "\\2a", "*", "\0", "carol,cn=admin"] {
            let search =
                Search { base: "", subtree: true, equal: &[("uid", name)], attributes: &[], limit: 2, seconds: 5 };
            let request = search.request(7);
            let mut message = Elements(&request).inside(SEQUENCE).unwrap();
            assert_eq!(message.number(INTEGER), Ok(7));
            let mut search = message.inside(SEARCH_REQUEST).unwrap();
            for _ in 0..6 {
                search.next().unwrap();
            }
            let mut filter = search.inside(EQUAL).unwrap();
            assert_eq!(filter.content(OCTET_STRING), Ok(b"uid".as_slice()));
            assert_eq!(filter.content(OCTET_STRING), Ok(name.as_bytes()));
            assert!(filter.0.is_empty());
        }
    }

    #[test]
    fn answers_come_whole_or_not_yet() {
        let ended = Ended { code: 0, text: String::new() };
        assert_eq!(first(BOUND), Ok(Some((1, Response::Bound(ended), BOUND.len()))));
        for short in 0..BOUND.len() {
            assert_eq!(first(&BOUND[..short]), Ok(None), "{short}");
        }
        assert!(first(FOUND).is_ok_and(|answer| answer.is_none()));
    }

    #[test]
    fn an_entry_with_its_values() {
        let values = element(SET, &[&text("10.3.0.7"), &text("10.3.0.8")]);
        let attribute = element(SEQUENCE, &[&text("racoon-Address"), &values]);
        let found = element(SEARCH_ENTRY, &[&text("cn=a,c=b"), &element(SEQUENCE, &[&attribute])]);
        let octets = message(2, &found);
        let Ok(Some((2, Response::Entry(entry), _))) = first(&octets) else { panic!("{octets:?}") };
        assert_eq!(entry.dn, "cn=a,c=b");
        assert_eq!(entry.values("racoon-address"), ["10.3.0.7", "10.3.0.8"]);
        assert!(entry.values("racoon-netmask").is_empty());
    }

    #[test]
    fn what_is_malformed_is_an_error_and_nothing_else() {
        for octets in [
            b"HTTP/1.1 400 Bad Request".as_slice(),
            &[0x30, 0],
            &[0x30, 3, 2, 1, 1],
            &[0x30, 5, 2, 1, 0xff, 0x61, 0],
            &[0x30, 5, 2, 1, 1, 0x61, 0],
            &[0x30, 5, 4, 1, 1, 0x61, 0],
            &[0x30, 0x80, 2, 1, 1, 0x61, 0, 0, 0],
            &[0x30, 8, 2, 1, 1, 0x64, 3, 4, 1, 0xff],
        ] {
            assert_eq!(first(octets), Err(Malformed), "{octets:02x?}");
        }
        assert_eq!(first(&vec![0x30; MAX_MESSAGE]), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _any = first(&octets);
            let _inside = read(&element(SEQUENCE, &[&number(INTEGER, 1), &octets]));
        }
    }
}
