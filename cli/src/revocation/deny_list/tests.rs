//! The list survives crashes and other writers.

use std::os::unix::fs::MetadataExt;

use super::*;

fn entry(issuer: DeniedIssuer, serial: &[u8]) -> DenyEntry {
    DenyEntry {
        issuer,
        serial: serial.to_vec(),
        time: 1_700_000_000,
        source: "xfrmctl".to_owned(),
        issuer_name: "/C=US/O=Example CA".to_owned(),
    }
}

fn id(key: u8, serial: &[u8]) -> CertificateId {
    CertificateId { issuer_key: [key; 32], serial: serial.to_vec() }
}

#[test]
fn what_is_added_is_denied_now_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/revoked");
    let mut list = DenyList::open(&path).unwrap();
    assert!(list.is_empty());
    let long = vec![0xab; 20];
    assert_eq!(list.add(entry(DeniedIssuer::Key([1; 32]), &long)).unwrap(), Added::New);
    assert_eq!(list.add(entry(DeniedIssuer::Key([1; 32]), &long)).unwrap(), Added::AlreadyThere);
    assert_eq!(list.add(entry(DeniedIssuer::Any, &[7])).unwrap(), Added::New);
    for list in [list, DenyList::open(&path).unwrap()] {
        assert_eq!(list.len(), 2);
        assert!(list.contains(&id(1, &long)));
        assert!(!list.contains(&id(2, &long)));
        assert!(!list.contains(&id(1, &long[1..])));
        assert!(list.contains(&id(9, &[7])));
        assert_eq!(list.find(&id(1, &long)), Some(&entry(DeniedIssuer::Key([1; 32]), &long)));
        assert!(list.problems().is_empty());
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_last_line_cut_anywhere_is_never_another_serial() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let mut list = DenyList::open(&path).unwrap();
    list.add(entry(DeniedIssuer::Any, &[7])).unwrap();
    let first = fs::read(&path).unwrap().len();
    list.add(entry(DeniedIssuer::Key([3; 32]), &[0x12, 0x34, 0x56])).unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in first..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut list = DenyList::open(&path).unwrap();
        assert!(list.contains(&id(1, &[7])));
        for found in list.entries() {
            assert!(found.serial == [7] || found.serial == [0x12, 0x34, 0x56], "cut at {cut}: {found:?}");
        }
        // The next entry is not swallowed by the torn line.
        list.add(entry(DeniedIssuer::Any, &[9])).unwrap();
        let again = DenyList::open(&path).unwrap();
        assert!(again.contains(&id(1, &[9])) && again.contains(&id(1, &[7])));
    }
}

#[test]
fn another_process_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let mut daemon = DenyList::open(&path).unwrap();
    let mut tool = DenyList::open(&path).unwrap();
    assert!(!daemon.reload_if_changed().unwrap());
    tool.add(entry(DeniedIssuer::Any, &[1])).unwrap();
    let before = daemon.generation();
    assert!(daemon.reload_if_changed().unwrap());
    assert!(daemon.generation() > before);
    assert!(daemon.contains(&id(1, &[1])));
    assert!(!daemon.reload_if_changed().unwrap());
    // Both write; nothing is lost.
    daemon.add(entry(DeniedIssuer::Any, &[2])).unwrap();
    tool.add(entry(DeniedIssuer::Any, &[3])).unwrap();
    assert_eq!(tool.len(), 3);
    assert!(tool.remove(DeniedIssuer::Any, &[2]).unwrap());
    assert!(!tool.remove(DeniedIssuer::Any, &[2]).unwrap());
    assert!(daemon.reload_if_changed().unwrap());
    assert!(!daemon.contains(&id(1, &[2])) && daemon.contains(&id(1, &[3])));
}

#[test]
fn lines_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let long = "x".repeat(MAX_LINE + 1);
    fs::write(&path, format!("# note\n* 5 0 hand -\n* 12x 0 hand -\n{long}\nzz 5 0 hand -\n* 6\n\n* 8 0 hand Some CA"))
        .unwrap();
    let list = DenyList::open(&path).unwrap();
    let problems: Vec<String> =
        list.problems().iter().map(|problem| problem.rsplit_once("revoked:").unwrap().1.to_owned()).collect();
    assert_eq!(
        problems,
        [
            "3: \"12x\" is no serial number: write decimal digits, 0x and hex digits, or pairs of hex digits with colons",
            "4: line of more than 4096 octets",
            "5: the issuer key is neither * nor 64 hex digits",
            "6: expected ISSUER-KEY SERIAL TIME SOURCE ISSUER",
        ]
    );
    assert!(list.contains(&id(0, &[5])) && list.contains(&id(0, &[8])) && !list.contains(&id(0, &[6])));
    assert!(list.has_serial(&[5]) && !list.has_serial(&[6]));
}

#[test]
fn names_cannot_forge_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let mut list = DenyList::open(&path).unwrap();
    let mut odd = entry(DeniedIssuer::Any, &[4]);
    odd.source = "a b\nc".to_owned();
    odd.issuer_name = "x\n* 99 0 hand -".to_owned();
    list.add(odd).unwrap();
    let again = DenyList::open(&path).unwrap();
    assert_eq!(again.len(), 1);
    assert!(again.problems().is_empty());
    assert!(!again.has_serial(&[99]));
    let mut huge = entry(DeniedIssuer::Any, &[5]);
    huge.issuer_name = "x".repeat(MAX_LINE);
    // The name is left out: who bears a long one can be denied like others.
    assert_eq!(list.add(huge).unwrap(), Added::New);
    let again = DenyList::open(&path).unwrap();
    assert!(again.has_serial(&[5]) && again.problems().is_empty());
    let endless = entry(DeniedIssuer::Any, &[0xff; MAX_LINE]);
    assert!(matches!(list.add(endless), Err(DenyListError::TooLong)));
}
