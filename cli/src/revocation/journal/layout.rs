//! Where what stands in the journal's file: header, buckets, records. Host order: the file never leaves its machine.
//!
//! ```text
//! 0        header: magic, version, boot id, checksum               64 octets
//! 64       buckets by certificate: offset of the newest link       BUCKETS * 8
//! ..       buckets by serial                                       BUCKETS * 8
//! RECORDS  records, each a multiple of 8 octets:
//!          0 length  4 state  5 links  6 zero  8 id  16 checksum  24 body length  28 zero
//!          32 links: (next by certificate, next by serial) each 8 octets; then the body
//! ```
//! A link is named by the offset of its record plus its index, which fits into the three low bits. Chains run from
//! younger to older records, so their numbers fall: a walk ends whatever the file holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ike::event::question::CertificateId;
use sha2::{Digest, Sha256};

use super::{Entry, JournalError, Record, RecordId, State, codec};

pub(super) const MAX_LINKS: usize = 8;
pub(super) const MAX_RECORD: usize = 16 * 1024;
pub(super) const BUCKETS: u64 = 1 << 14;
pub(super) const RECORDS: u64 = HEADER as u64 + 2 * BUCKETS * 8;

const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"xfrmdSAj";
const VERSION: u32 = 1;
const RECORD_HEADER: usize = 32;
const LINK: usize = 16;
/// Most records fit; a longer one costs a second read.
const FIRST_READ: usize = 768;

const DEAD: u8 = 0;
const INSTALLING: u8 = 1;
const LIVE: u8 = 2;

/// The two kinds of chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Certificate,
    Serial,
}

/// A record as read: what it says, and how its chains go on.
#[derive(Debug)]
pub(super) struct Found {
    /// `None`: dead.
    pub(super) record: Option<Record>,
    pub(super) length: u64,
    pub(super) links: Vec<(u64, u64)>,
}

pub(super) fn header(boot: &[u8; 16]) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_ne_bytes());
    out[16..32].copy_from_slice(boot);
    let sum = checksum(&[&out[..32]]);
    out[32..40].copy_from_slice(&sum);
    out
}

/// The boot id of a journal; `None` if this is no header.
pub(super) fn read_header(file: &File) -> io::Result<Option<[u8; 16]>> {
    let mut found = [0; HEADER];
    if read_at_most(file, &mut found, 0)? < HEADER {
        return Ok(None);
    }
    let mut boot = [0; 16];
    boot.copy_from_slice(&found[16..32]);
    Ok((found == header(&boot)).then_some(boot))
}

/// Offset of the bucket of a certificate, in one table or the other.
pub(super) fn bucket(table: Table, certificate: &CertificateId) -> u64 {
    match table {
        Table::Certificate => bucket_at(0, &[&certificate.issuer_key, &certificate.serial]),
        Table::Serial => serial_bucket(&certificate.serial),
    }
}

/// Offset of the bucket of a serial.
pub(super) fn serial_bucket(serial: &[u8]) -> u64 {
    bucket_at(BUCKETS, &[serial])
}

fn bucket_at(first: u64, parts: &[&[u8]]) -> u64 {
    HEADER as u64 + (first + u64::from_ne_bytes(checksum(parts)) % BUCKETS) * 8
}

/// A whole record, ready to be written.
pub(super) fn record(id: RecordId, state: State, entry: &Entry, links: &[(u64, u64)]) -> Result<Vec<u8>, JournalError> {
    if entry.owner.certificates.len() > MAX_LINKS {
        return Err(JournalError::TooLarge("more than 8 certificates"));
    }
    let body = codec::encode(entry);
    let length = (RECORD_HEADER + links.len() * LINK + body.len()).next_multiple_of(8);
    if length > MAX_RECORD {
        return Err(JournalError::TooLarge("more than 16 KiB"));
    }
    let mut out = vec![0; RECORD_HEADER];
    for (certificate, serial) in links {
        out.extend(certificate.to_ne_bytes());
        out.extend(serial.to_ne_bytes());
    }
    out.extend(&body);
    out.resize(length, 0);
    out[..4].copy_from_slice(&(length as u32).to_ne_bytes());
    out[5] = links.len() as u8;
    out[8..16].copy_from_slice(&id.0.to_ne_bytes());
    out[24..28].copy_from_slice(&(body.len() as u32).to_ne_bytes());
    let sum = checksum(&[&out]);
    out[16..24].copy_from_slice(&sum);
    out[4] = state_octet(state);
    Ok(out)
}

/// The record at `offset`; `None` if none stands there whole, which is where the journal ends.
pub(super) fn read_record(file: &File, offset: u64, reads: &mut u64) -> io::Result<Option<Found>> {
    let mut octets = vec![0; FIRST_READ];
    *reads += 1;
    let got = read_at_most(file, &mut octets, offset)?;
    octets.truncate(got);
    let Some(length) = octets.first_chunk::<4>().map(|length| u32::from_ne_bytes(*length) as usize) else {
        return Ok(None);
    };
    if !(RECORD_HEADER..=MAX_RECORD).contains(&length) || !length.is_multiple_of(8) {
        return Ok(None);
    }
    if length > got {
        octets.resize(length, 0);
        *reads += 1;
        if read_at_most(file, octets.get_mut(got..).unwrap_or_default(), offset + got as u64)? < length - got {
            return Ok(None);
        }
    }
    octets.truncate(length);
    Ok(parse(octets))
}

fn parse(mut octets: Vec<u8>) -> Option<Found> {
    let length = octets.len() as u64;
    let state = std::mem::take(octets.get_mut(4)?);
    let mut sum = [0; 8];
    sum.swap_with_slice(octets.get_mut(16..24)?);
    if sum != checksum(&[&octets]) {
        return None;
    }
    let count = usize::from(*octets.get(5)?);
    let id = RecordId(u64::from_ne_bytes(*octets.get(8..)?.first_chunk()?));
    let body_length = u32::from_ne_bytes(*octets.get(24..)?.first_chunk()?) as usize;
    let (links, rest) = octets.get(RECORD_HEADER..)?.split_at_checked(count * LINK)?;
    let links = links
        .chunks_exact(LINK)
        .map(|link| Some((u64::from_ne_bytes(*link.first_chunk()?), u64::from_ne_bytes(*link.last_chunk()?))))
        .collect::<Option<Vec<_>>>()?;
    let entry = codec::decode(rest.get(..body_length)?)?;
    let state = match state {
        DEAD => None,
        LIVE => Some(State::Live),
        _ => Some(State::Installing),
    };
    Some(Found { record: state.map(|state| Record { id, state, entry }), length, links })
}

/// The octet that says how far a record is, and where it stands.
pub(super) fn write_state(file: &File, record: u64, state: Option<State>) -> io::Result<()> {
    file.write_all_at(&[state.map_or(DEAD, state_octet)], record + 4)
}

fn state_octet(state: State) -> u8 {
    match state {
        State::Installing => INSTALLING,
        State::Live => LIVE,
    }
}

pub(super) fn read_pointer(file: &File, bucket: u64, reads: &mut u64) -> io::Result<u64> {
    let mut octets = [0; 8];
    *reads += 1;
    // Buckets beyond the end of a short file are as empty as holes in it.
    read_at_most(file, &mut octets, bucket)?;
    Ok(u64::from_ne_bytes(octets))
}

pub(super) fn write_pointer(file: &File, bucket: u64, link: u64) -> io::Result<()> {
    file.write_all_at(&link.to_ne_bytes(), bucket)
}

/// Splits the name of a link into its record's offset and its index.
pub(super) fn split_link(link: u64) -> (u64, usize) {
    (link & !7, (link & 7) as usize)
}

/// Fills as much of `octets` as the file has.
fn read_at_most(file: &File, octets: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    // No file reaches there; the kernel calls it an invalid argument.
    if i64::try_from(offset).is_err() {
        return Ok(filled);
    }
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Eight octets of SHA-256: against torn writes, not against forgery.
fn checksum(parts: &[&[u8]]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let whole = hash.finalize();
    let mut sum = [0; 8];
    sum.copy_from_slice(&whole[..8]);
    sum
}
