//! The journal against a model, against torn files, and its cost.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;

use ike::event::sa::Owner;
use policy::model::identity::Identity;
use policy::model::sa::{Protocol, Spi};
use proptest::prelude::*;

use super::reader::JournalReader;
use super::writer::JournalWriter;
use super::*;

const BOOT: [u8; 16] = [7; 16];

pub(crate) fn certificate(issuer: u8, serial: u32) -> CertificateId {
    let serial = serial.to_be_bytes().into_iter().skip_while(|&octet| octet == 0).collect();
    CertificateId { issuer_key: [issuer; 32], serial }
}

pub(crate) fn entry(number: u32, certificates: Vec<CertificateId>) -> Entry {
    let (us, peer) = ("192.0.2.1".parse().unwrap(), std::net::Ipv4Addr::from(0x0a00_0000 + number).into());
    let name = |src, dst| SaName { protocol: Protocol::Esp, spi: Spi(0x1000 + number), src, dst };
    Entry {
        beside: None,
        inbound: name(peer, us),
        outbound: name(us, peer),
        mode: if number.is_multiple_of(2) { Mode::Transport } else { Mode::Tunnel },
        reqid: ReqId(number),
        selector: Selector::hosts(us, peer),
        owner: Owner {
            local: (us, 500).into(),
            peer: (peer, 4500).into(),
            identity: match number % 6 {
                0 => Identity::Address(peer),
                1 => Identity::Fqdn("gw.example.org".to_owned()),
                2 => Identity::Asn1Dn(vec![0x30; 700]),
                3 => Identity::KeyId(vec![0, 1, 2]),
                4 => Identity::Range(us, peer),
                _ => Identity::Subnet("2001:db8::/32".parse().unwrap()),
            },
            issuer: (!certificates.is_empty()).then(|| "/CN=CA".to_owned()),
            certificates,
            cookies: ([1; 8], [2; 8]),
        },
        soft: Deadline { boottime: Duration::from_millis(1500), wall: 1 },
        hard: Deadline { boottime: Duration::from_secs(u64::from(number)), wall: 2 },
    }
}

fn reader(path: &std::path::Path) -> JournalReader {
    JournalReader::open_in_boot(path, &BOOT).unwrap()
}

fn entries(records: Vec<Record>) -> Vec<Entry> {
    records.into_iter().map(|record| record.entry).collect()
}

#[test]
fn what_is_written_is_found_without_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/sa.journal");
    assert!(matches!(JournalReader::open(&path), Err(JournalError::Missing(_))));
    let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
    assert!(matches!(JournalWriter::open_in_boot(&path, BOOT), Err(JournalError::Busy(_))));
    let both = vec![certificate(1, 5), certificate(2, 5)];
    let first = writer.insert(&entry(1, both.clone())).unwrap();
    let second = writer.insert(&entry(2, vec![certificate(1, 6)])).unwrap();
    let bare = writer.insert(&entry(3, vec![])).unwrap();
    writer.mark_live(second).unwrap();
    drop(writer);

    let mut reader = reader(&path);
    let all = reader.entries().unwrap();
    assert_eq!(all.iter().map(|record| record.id).collect::<Vec<_>>(), [first, second, bare]);
    assert_eq!(all[1].state, State::Live);
    assert_eq!(all[0], Record { id: first, state: State::Installing, entry: entry(1, both) });
    assert_eq!(reader.find(&certificate(1, 5)).unwrap(), all[..1]);
    assert_eq!(reader.find(&certificate(2, 5)).unwrap(), all[..1]);
    assert_eq!(reader.find(&certificate(2, 6)).unwrap(), []);
    assert_eq!(reader.find_serial(&[5]).unwrap(), all[..1]);
    assert_eq!(reader.find_serial(&[6]).unwrap(), all[1..2]);

    let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
    assert_eq!(writer.entries().unwrap(), all);
    writer.remove(first).unwrap();
    writer.remove(first).unwrap();
    assert_eq!(writer.len(), 2);
    assert!(writer.insert(&entry(4, vec![])).unwrap() > bare);
    assert_eq!(JournalReader::open_in_boot(&path, &BOOT).unwrap().find_serial(&[5]).unwrap(), []);
    let nine = (0..9).map(|number| certificate(number, 1)).collect();
    assert!(matches!(writer.insert(&entry(5, nine)), Err(JournalError::TooLarge(_))));
    let mut huge = entry(5, vec![]);
    huge.owner.identity = Identity::KeyId(vec![0; 17_000]);
    assert!(matches!(writer.insert(&huge), Err(JournalError::TooLarge(_))));
    assert_eq!(writer.entries().unwrap().len(), 3);
}

#[test]
fn another_boot_leaves_nothing_and_another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    JournalWriter::open_in_boot(&path, BOOT).unwrap().insert(&entry(1, vec![certificate(1, 1)])).unwrap();
    let mut later = JournalReader::open_in_boot(&path, &[8; 16]).unwrap();
    assert_eq!((later.entries().unwrap(), later.find_serial(&[1]).unwrap()), (vec![], vec![]));
    assert!(JournalWriter::open_in_boot(&path, [8; 16]).unwrap().is_empty());
    let other = folder.path().join("other");
    fs::write(&other, "something else").unwrap();
    assert!(matches!(JournalReader::open(&other), Err(JournalError::NotAJournal(_))));
    assert!(matches!(JournalWriter::open(&other), Err(JournalError::NotAJournal(_))));
    assert_eq!(fs::read(&other).unwrap(), b"something else");
    fs::write(&other, "").unwrap();
    assert!(JournalReader::open(&other).unwrap().entries().unwrap().is_empty());
    assert!(JournalWriter::open(&other).unwrap().is_empty());
}

#[test]
fn cut_at_any_octet_a_prefix_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
    let written: Vec<Entry> =
        (0..4).map(|number| entry(number, vec![certificate(1, number), certificate(9, 9)])).collect();
    for entry in &written {
        writer.insert(entry).unwrap();
    }
    drop(writer);
    let whole = fs::read(&path).unwrap();
    let cut_path = folder.path().join("cut");
    for cut in layout::RECORDS as usize..=whole.len() {
        fs::write(&cut_path, &whole[..cut]).unwrap();
        let left = entries(reader(&cut_path).entries().unwrap());
        assert_eq!(left, written[..left.len()], "cut at {cut}");
        let mut found = entries(reader(&cut_path).find(&certificate(9, 9)).unwrap());
        found.reverse();
        // The chain begins at its newest link: if that is gone, so are the rest, but only a dying machine cuts files.
        assert!(found.is_empty() || found == written, "cut at {cut}");
        if cut % 97 == 0 || cut == whole.len() {
            let again = JournalWriter::open_in_boot(&cut_path, BOOT).unwrap();
            assert_eq!(entries(again.entries().unwrap()), left);
            let mut found = entries(reader(&cut_path).find(&certificate(9, 9)).unwrap());
            found.reverse();
            assert_eq!(found, left, "cut at {cut}");
        }
    }
}

/// Killed at any instruction of an insertion: what was there is still found, and what is new is there wholly or not.
#[test]
fn killed_while_inserting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
    let shared = certificate(9, 9);
    let old: Vec<Entry> = (0..2).map(|number| entry(number, vec![certificate(1, number), shared.clone()])).collect();
    for entry in &old {
        writer.insert(entry).unwrap();
    }
    let before = fs::read(&path).unwrap();
    let new = entry(2, vec![certificate(1, 2), shared.clone(), certificate(3, 9)]);
    writer.insert(&new).unwrap();
    drop(writer);
    let after = fs::read(&path).unwrap();
    let record = after[before.len()..].to_vec();
    let changed: Vec<usize> =
        (0..layout::RECORDS as usize / 8).filter(|at| before[at * 8..][..8] != after[at * 8..][..8]).collect();
    assert!((4..=6).contains(&changed.len()));

    let torn = folder.path().join("torn");
    let check = |octets: &[u8]| {
        fs::write(&torn, octets).unwrap();
        for (number, entry) in (0..).zip(&old) {
            assert_eq!(entries(reader(&torn).find(&certificate(1, number)).unwrap()), std::slice::from_ref(entry));
        }
        let found = entries(reader(&torn).find(&shared).unwrap());
        let found: Vec<&Entry> = found.iter().rev().collect();
        assert!(found == [&old[0], &old[1]] || found == [&old[0], &old[1], &new]);
        let again = JournalWriter::open_in_boot(&torn, BOOT).unwrap();
        let count = again.len();
        assert_eq!(entries(again.entries().unwrap())[..2], old[..]);
        let found = entries(reader(&torn).find(&shared).unwrap());
        assert_eq!(found.len(), count);
    };
    for written in (0..=record.len()).step_by(13).chain([record.len()]) {
        check(&[&before, &record[..written]].concat());
    }
    for pointers in 0..1usize << changed.len() {
        let mut octets = [before.as_slice(), record.as_slice()].concat();
        for (bit, at) in changed.iter().enumerate().filter(|(bit, _)| pointers >> bit & 1 == 1) {
            let _ = bit;
            octets[at * 8..][..8].copy_from_slice(&after[at * 8..][..8]);
        }
        check(&octets);
    }
}

#[test]
fn chains_end_whatever_the_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
    writer.insert(&entry(1, vec![certificate(1, 1)])).unwrap();
    drop(writer);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for pointer in [u64::MAX, layout::RECORDS | 7, layout::RECORDS + 8, 3] {
        file.write_all_at(&pointer.to_ne_bytes(), layout::serial_bucket(&[1])).unwrap();
        assert_eq!(reader(&path).find_serial(&[1]).unwrap(), []);
    }
}

#[test]
fn finding_reads_the_chain_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
    let revoked = certificate(1, 424_242);
    for number in 0..10_000 {
        let leaf = if number % 500 == 0 { revoked.clone() } else { certificate(1, number + 1) };
        writer.insert(&entry(number, vec![leaf])).unwrap();
    }
    let mut reader = reader(&path);
    assert_eq!(reader.find(&revoked).unwrap().len(), 20);
    // A bucket, 20 records, and the few others that share the bucket.
    assert!(reader.reads() < 40, "{} reads", reader.reads());
    assert_eq!(reader.find_serial(&revoked.serial).unwrap().len(), 20);
    assert!(reader.reads() < 80, "{} reads", reader.reads());
}

#[test]
fn the_dead_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.journal");
    let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
    let keep = writer.insert(&entry(0, vec![certificate(1, 1)])).unwrap();
    let mut largest = 0;
    for number in 1..5_000 {
        let id = writer.insert(&entry(number, vec![certificate(1, 2)])).unwrap();
        writer.remove(id).unwrap();
        largest = largest.max(fs::metadata(&path).unwrap().len());
    }
    assert!(largest < layout::RECORDS + 300 * 1200, "{largest} octets");
    assert_eq!(reader(&path).find_serial(&[1]).unwrap().len(), 1);
    assert_eq!(reader(&path).find_serial(&[2]).unwrap().len(), 0);
    assert!(matches!(JournalWriter::open_in_boot(&path, BOOT), Err(JournalError::Busy(_))));
    writer.remove(keep).unwrap();
    assert!(writer.is_empty() && reader(&path).entries().unwrap().is_empty());
}

#[derive(Clone, Debug)]
enum Operation {
    Insert { certificates: Vec<(u8, u32)> },
    Remove { which: usize },
    MarkLive { which: usize },
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => proptest::collection::vec((0u8..3, 0u32..6), 0..=8).prop_map(|certificates| Operation::Insert { certificates }),
        4 => any::<usize>().prop_map(|which| Operation::Remove { which }),
        2 => any::<usize>().prop_map(|which| Operation::MarkLive { which }),
        1 => Just(Operation::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn as_a_map_would(operations in proptest::collection::vec(operation(), 0..120)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sa.journal");
        let mut writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
        let mut model: HashMap<RecordId, (State, Entry)> = HashMap::new();
        let pick = |model: &HashMap<RecordId, (State, Entry)>, which: usize| {
            let mut ids: Vec<RecordId> = model.keys().copied().collect();
            ids.sort();
            (!ids.is_empty()).then(|| ids[which % ids.len()])
        };
        for (number, operation) in (0..).zip(operations) {
            match operation {
                Operation::Insert { certificates } => {
                    let list = certificates.into_iter().map(|(issuer, serial)| certificate(issuer, serial)).collect();
                    let entry = entry(number, list);
                    let id = writer.insert(&entry).unwrap();
                    prop_assert!(model.insert(id, (State::Installing, entry)).is_none());
                }
                Operation::Remove { which } => {
                    if let Some(id) = pick(&model, which) {
                        writer.remove(id).unwrap();
                        model.remove(&id);
                    }
                }
                Operation::MarkLive { which } => {
                    if let Some(id) = pick(&model, which) {
                        writer.mark_live(id).unwrap();
                        model.get_mut(&id).unwrap().0 = State::Live;
                    }
                }
                Operation::Reopen => {
                    drop(writer);
                    writer = JournalWriter::open_in_boot(&path, BOOT).unwrap();
                }
            }
        }
        let expected = |wanted: &dyn Fn(&Entry) -> bool| {
            let mut found: Vec<Record> = model
                .iter()
                .filter(|(_, (_, entry))| wanted(entry))
                .map(|(&id, (state, entry))| Record { id, state: *state, entry: entry.clone() })
                .collect();
            found.sort_by_key(|record| record.id);
            found
        };
        let sorted = |mut found: Vec<Record>| { found.sort_by_key(|record| record.id); found };
        let mut reader = reader(&path);
        prop_assert_eq!(writer.entries().unwrap(), expected(&|_| true));
        for serial in 0..6 {
            let octets = certificate(0, serial).serial;
            prop_assert_eq!(sorted(reader.find_serial(&octets).unwrap()), expected(&|entry| entry.rests_on_serial(&octets)));
            for issuer in 0..3 {
                let id = certificate(issuer, serial);
                prop_assert_eq!(sorted(reader.find(&id).unwrap()), expected(&|entry| entry.rests_on(&id)));
            }
        }
    }
}
