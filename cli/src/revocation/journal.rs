//! Which kernel SA belongs to which peer and rests on which certificates (/run/xfrmd/sa.journal).
//!
//! The daemon writes an entry before the kernel gets the SA, so that whatever instruction it dies at, the SAs of a
//! certificate can be found and cut by `xfrmctl` without it, and taken over by its next life. The file lies on a tmpfs:
//! it must survive the daemon, not the machine, and is worth nothing after a reboot (it carries the boot's id).
//!
//! Layout (host order, `layout.rs`): a header, two tables of buckets (by certificate, by serial alone), then records in
//! the order of their making. A bucket holds the newest record of its chain, each record the next older one, so finding
//! the SAs of a certificate reads the bucket and its chain, never the whole file. A record is complete in the file
//! before any bucket points to it; it dies by one octet. When most are dead the living move to a new file, which takes
//! the place of the old by rename.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ike::event::question::CertificateId;
use ike::event::sa::{Owner, SaName};
use policy::model::sa::{Mode, ReqId};
use policy::model::selector::Selector;
use thiserror::Error;

pub mod reader;
pub mod writer;

mod codec;
mod layout;

/// Where the journal lives unless told otherwise.
pub const DEFAULT_PATH: &str = "/run/xfrmd/sa.journal";

/// Certificates one entry can rest on: as many as the judge lets a chain have.
pub const MAX_CERTIFICATES: usize = layout::MAX_LINKS;

/// What failed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// There is no journal: no daemon ran since the machine started.
    #[error("journal {0} does not exist")]
    Missing(PathBuf),
    /// Another daemon writes it.
    #[error("another xfrmd is running: it holds the journal {0} (stop that one first, or give this one a --run-dir)")]
    Busy(PathBuf),
    /// The file is something else.
    #[error("{0} is no journal of xfrmd: move it away")]
    NotAJournal(PathBuf),
    /// An entry of more than eight certificates or of too many octets.
    #[error("journal entry is too large: {0}")]
    TooLarge(&'static str),
    /// Reading or writing.
    #[error("journal {path}: {action}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

/// Names an entry as long as one writer lives, and beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(pub u64);

/// How far an entry's SAs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// About to be given to the kernel: there may be both SAs, one or none.
    Installing,
    /// Both SAs were in the kernel.
    Live,
}

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// `CLOCK_BOOTTIME`: what counts; kept to the millisecond.
    pub boottime: Duration,
    /// Unix seconds: for people.
    pub wall: u64,
}

/// One child: a pair of kernel SAs and who they belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Inbound SA.
    pub inbound: SaName,
    /// Outbound SA.
    pub outbound: SaName,
    /// Mode.
    pub mode: Mode,
    /// reqid.
    pub reqid: ReqId,
    /// Outbound selector.
    pub selector: Selector,
    /// Of SAs beside the main ones of a child (AH around ESP, compression in it): the child's main inbound SA.
    pub beside: Option<SaName>,
    /// Whose it is, and the certificates it rests on (at most [`MAX_CERTIFICATES`]).
    pub owner: Owner,
    /// When it should be renewed.
    pub soft: Deadline,
    /// When the kernel drops it.
    pub hard: Deadline,
}

/// An entry as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub id: RecordId,
    /// How far it is.
    pub state: State,
    /// What it says.
    pub entry: Entry,
}

impl Entry {
    /// Does it rest on this certificate?
    pub fn rests_on(&self, certificate: &CertificateId) -> bool {
        self.owner.certificates.contains(certificate)
    }

    /// Does it rest on a certificate with this serial, whoever issued it?
    pub fn rests_on_serial(&self, serial: &[u8]) -> bool {
        self.owner.certificates.iter().any(|certificate| certificate.serial == serial)
    }
}

#[cfg(test)]
pub(crate) mod tests;
