//! What a cut costs and in which order it goes, against a kernel that writes down what it is asked.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ike::event::question::CertificateId;
use ike::event::sa::SaDirection;

use super::*;
use crate::daemon::registry::{Child, Registry};
use crate::revocation::journal::RecordId;
use crate::revocation::journal::tests::{certificate, entry};
use crate::revocation::journal::writer::JournalWriter;
use crate::xfrmctl::dead::JournalCutter;

/// Certificates of the outcast's children.
const OUTCASTS: u32 = 5;
/// The outcast's serial.
const SERIAL: u32 = 0x00ab_cdef;

/// A kernel that does as asked, but for what it refuses.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) asked: Vec<Request>,
    pub(crate) refuses: HashSet<SaName>,
    pub(crate) lacks: HashSet<SaName>,
}

impl Requests for Recording {
    fn execute(&mut self, requests: &[Request]) -> Vec<Result<Reply, Refusal>> {
        self.asked.extend_from_slice(requests);
        let answer = |request: &Request| match request {
            Request::DeleteSa { name, .. } if self.refuses.contains(&lower::to_core(*name)) => {
                Err(Refusal::new("DELSA", libc::ENOBUFS, None))
            }
            Request::DeleteSa { name, .. } if self.lacks.contains(&lower::to_core(*name)) => {
                Err(Refusal::new("DELSA", libc::ESRCH, None))
            }
            _ => Ok(Reply::Done),
        };
        requests.iter().map(answer).collect()
    }
}

impl Recording {
    /// The names that were to be deleted; nothing else was asked.
    fn deleted(&self) -> Vec<SaName> {
        let name = |request: &Request| match request {
            Request::DeleteSa { name, .. } => lower::to_core(*name),
            other => panic!("not a deletion: {other}"),
        };
        self.asked.iter().map(name).collect()
    }
}

fn outcast() -> CertificateId {
    certificate(1, SERIAL)
}

/// Certificates of the children of a daemon that knows so many, the outcast's among them.
fn certificates(children: u32) -> impl Iterator<Item = (u32, CertificateId)> {
    let every = children / OUTCASTS;
    (0..children)
        .map(move |number| (number, if number % every == every / 2 { outcast() } else { certificate(1, number + 1) }))
}

fn registry(children: u32) -> Registry {
    let mut registry = Registry::default();
    for (number, leaf) in certificates(children) {
        let entry = entry(number, vec![leaf, certificate(2, 7)]);
        let record = RecordId(u64::from(number));
        registry.insert(Child::new(entry.inbound, entry.outbound, Arc::new(entry.owner), record));
        registry.present(&entry.inbound);
        registry.present(&entry.outbound);
    }
    registry
}

fn journal(path: &Path, children: u32) {
    let mut writer = JournalWriter::open(path).unwrap();
    for (number, leaf) in certificates(children) {
        writer.insert(&entry(number, vec![leaf, certificate(2, 7)])).unwrap();
    }
}

/// Ten thousand SAs, or ten times as many: the kernel is asked the same ten things.
#[test]
fn the_kernel_is_asked_as_much_at_a_hundred_thousand_sas_as_at_ten_thousand() {
    let mut asked = Vec::new();
    for sas in [10_000, 100_000] {
        let registry = registry(sas / 2);
        assert_eq!(registry.len(), usize::try_from(sas).unwrap());
        let mut kernel = Recording::default();
        let names: Vec<SaName> = registry.to_cut(&[outcast()]).into_iter().map(|(name, ..)| name).collect();
        delete(&mut kernel, &names);
        asked.push(kernel.deleted().len());
    }
    assert_eq!(asked, [10, 10], "of the daemon's own tables");
    let (mut asked, mut reads) = (Vec::new(), Vec::new());
    for sas in [10_000, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sa.journal");
        journal(&path, sas / 2);
        let mut cutter = JournalCutter::open(&path);
        let mut kernel = Recording::default();
        assert_eq!(cutter.cut_in(&[outcast()], &mut kernel).unwrap().len(), 10);
        asked.push(kernel.deleted().len());
        reads.push(cutter.reads());
    }
    assert_eq!(asked, [10, 10], "of the journal of a dead daemon");
    // A bucket's chain holds a few strangers, more of them among more.
    assert!(reads[1] < reads[0] + 40, "{reads:?} reads of the journal");
}

#[test]
fn what_is_still_sent_ends_before_what_is_still_received() {
    let registry = registry(50);
    let cut = registry.to_cut(&[certificate(2, 7)]);
    assert_eq!(cut.len(), 100, "everything below the CA");
    let directions: Vec<SaDirection> = cut.iter().map(|(_, direction, _)| *direction).collect();
    assert_eq!(directions[..50], [SaDirection::Outbound; 50]);
    assert_eq!(directions[50..], [SaDirection::Inbound; 50]);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    journal(&path, 50);
    let mut kernel = Recording::default();
    JournalCutter::open(&path).cut_in(&[certificate(2, 7)], &mut kernel).unwrap();
    let outbound = |name: &SaName| name.src == "192.0.2.1".parse::<std::net::IpAddr>().unwrap();
    let asked = kernel.deleted();
    assert!(asked.len() == 100 && asked[..50].iter().all(outbound) && !asked[50..].iter().any(outbound), "{asked:?}");
}

#[test]
fn one_that_stays_keeps_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    journal(&path, 50);
    let first = entry(5, vec![]);
    let mut kernel = Recording::default();
    kernel.refuses.insert(first.outbound);
    kernel.lacks.insert(first.inbound);
    let error = JournalCutter::open(&path).cut_in(&[outcast()], &mut kernel).unwrap_err();
    assert_eq!(kernel.deleted().len(), 10, "all were tried");
    assert_eq!(error.done.len(), 8, "{error}");
    assert!(!error.denied && error.text.contains("DELSA"), "{error}");
}
