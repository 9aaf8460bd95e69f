use std::fs;
use std::os::unix::fs::symlink;

use openssl::x509::X509Crl;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::daemon::intake::{Arrival, Intake};
use crate::revocation::crl::store::CrlStore;
use crate::revocation::crl::tests::{Ca, of, revoked};

/// Longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
const NOW: u64 = 1_700_000_000;

struct Bench {
    directory: TempDir,
    ca: Ca,
    intake: Intake,
    arrivals: Receiver<Arrival>,
}

impl Bench {
    fn new() -> Self {
        let (directory, ca) = (TempDir::new().unwrap(), Ca::new("ca"));
        let store = CrlStore::open(None, NOW);
        store.trust([&ca.certificate], NOW);
        let (intake, arrivals) = Intake::new(Arc::new(store));
        Self { directory, ca, intake, arrivals }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn scanner(&self, files: &[&str]) -> Scanner {
        let files = files.iter().map(|name| self.path(name)).collect();
        Scanner { files, directory: Some(self.path("certs")), seen: BTreeMap::new() }
    }

    fn start(&self, files: &[&str]) {
        tokio::spawn(watch(self.scanner(files), self.intake.common.clone()));
    }

    fn crl(&self, age: u64, serials: &[u8]) -> Vec<u8> {
        let serials: Vec<[u8; 1]> = serials.iter().map(|serial| [*serial]).collect();
        let entries: Vec<_> = serials.iter().map(|serial| revoked(serial)).collect();
        of(NOW - age, &entries, &self.ca)
    }

    async fn accepted(&mut self) -> usize {
        match tokio::time::timeout(PATIENCE, self.arrivals.recv()).await {
            Ok(Some(Arrival::Crl(entry))) => entry.crl.entries,
            other => panic!("{other:?}"),
        }
    }

    fn problem(&self, name: &str) -> Option<String> {
        let name = self.path(name).display().to_string();
        self.intake.common.health.reports().into_iter().find(|report| report.name == name)?.problem
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let came_true = async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, came_true).await.expect("what is waited for does not come");
    }
}

#[tokio::test]
async fn renamed_rewritten_and_half_written_files_are_followed() {
    let mut bench = Bench::new();
    fs::write(bench.path("crl.der"), bench.crl(100, &[1])).unwrap();
    bench.start(&["crl.der"]);
    assert_eq!(bench.accepted().await, 1);
    // Another file in its place.
    fs::write(bench.path("new"), bench.crl(90, &[1, 2])).unwrap();
    fs::rename(bench.path("new"), bench.path("crl.der")).unwrap();
    assert_eq!(bench.accepted().await, 2);
    // A writer that is stopped half way, as PEM: what was known stays, and the rest counts when it comes.
    let pem = X509Crl::from_der(&bench.crl(80, &[1, 2, 3])).unwrap().to_pem().unwrap();
    fs::write(bench.path("crl.der"), &pem[..pem.len() / 2]).unwrap();
    bench.until(|bench| bench.problem("crl.der").is_some()).await;
    assert!(bench.intake.common.crls.lists(&bench.ca.id(&[2])).is_some());
    fs::write(bench.path("crl.der"), &pem).unwrap();
    assert_eq!(bench.accepted().await, 3);
    bench.until(|bench| bench.problem("crl.der").is_none()).await;
    // It goes away, and an older one comes in its place: an alarm, and nothing is forgotten.
    fs::remove_file(bench.path("crl.der")).unwrap();
    bench.until(|bench| bench.problem("crl.der").is_some()).await;
    fs::write(bench.path("crl.der"), bench.crl(95, &[])).unwrap();
    bench.until(|bench| bench.problem("crl.der").is_some_and(|why| why.contains("older"))).await;
    assert!(bench.intake.common.crls.lists(&bench.ca.id(&[3])).is_some());
    fs::write(bench.path("crl.der"), "").unwrap();
    bench.until(|bench| bench.problem("crl.der").is_none()).await;
    assert!(bench.intake.common.crls.lists(&bench.ca.id(&[3])).is_some(), "an empty file is no CRL");
}

#[tokio::test]
async fn hashed_links_and_folders_that_come_and_go_are_followed() {
    let mut bench = Bench::new();
    bench.start(&[]);
    // keylime's payload: the folder is made anew each time, and <hash>.r0 is a link into it.
    for (round, serials) in [&[1][..], &[1, 2], &[1, 2, 3]].into_iter().enumerate() {
        let _first = fs::remove_dir_all(bench.path("certs"));
        fs::create_dir(bench.path("certs")).unwrap();
        fs::write(bench.path("certs/cacrl.der"), bench.crl(100 - u64::try_from(round).unwrap(), serials)).unwrap();
        symlink("cacrl.der", bench.path("certs/0123abcd.r0")).unwrap();
        assert_eq!(bench.accepted().await, serials.len());
    }
    // The link's target changes.
    fs::write(bench.path("certs/new"), bench.crl(50, &[1, 2, 3, 4])).unwrap();
    fs::rename(bench.path("certs/new"), bench.path("certs/cacrl.der")).unwrap();
    assert_eq!(bench.accepted().await, 4);
}

/// In a program built for debugging a CRL that were read or checked on the loop would end it.
#[tokio::test]
async fn nothing_of_a_crl_is_read_or_checked_on_the_loop() {
    let mut bench = Bench::new();
    crate::off_loop::this_is_the_loop();
    fs::create_dir(bench.path("certs")).unwrap();
    bench.start(&["crl.der"]);
    let (small, hashed) = (bench.crl(100, &[1]), bench.crl(90, &[1, 2]));
    fs::write(bench.path("crl.der"), small).unwrap();
    assert_eq!(bench.accepted().await, 1);
    fs::write(bench.path("certs/0123abcd.r0"), hashed).unwrap();
    assert_eq!(bench.accepted().await, 2);
    // An issuer that a new configuration brings: the list that waited for it is checked elsewhere, too.
    let other = Ca::new("other");
    let waiting = of(NOW, &[revoked(&[1]), revoked(&[2]), revoked(&[3])], &other);
    fs::write(bench.path("crl.der"), waiting).unwrap();
    bench.until(|bench| bench.intake.common.crls.waiting() == 1).await;
    let (common, reactor) = (bench.intake.common.clone(), tokio::runtime::Handle::current());
    tokio::task::spawn_blocking(move || crate::daemon::intake::trust_anchors(&[other.certificate], &common, &reactor));
    assert_eq!(bench.accepted().await, 3);
    crate::off_loop::the_loop_is_over();
}

/// Whoever verifies a chain finds what was read, and need not read a million entries once more.
#[tokio::test]
async fn a_hashed_file_is_read_once_for_everybody() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("certs")).unwrap();
    bench.start(&[]);
    let path = bench.path("certs/0123abcd.r0");
    fs::write(&path, bench.crl(90, &[1, 2])).unwrap();
    assert_eq!(bench.accepted().await, 2);
    let stamp = Stamp::of(&path).unwrap().unwrap();
    bench.until(|bench| bench.intake.common.crls.of_file(&path, stamp).is_some_and(|crls| crls.len() == 1)).await;
    fs::write(&path, bench.crl(80, &[1, 2, 3])).unwrap();
    let changed = Stamp::of(&path).unwrap().unwrap();
    assert_eq!(bench.accepted().await, 3);
    bench.until(|bench| bench.intake.common.crls.of_file(&path, changed).is_some()).await;
    assert!(bench.intake.common.crls.of_file(&path, stamp).is_none(), "of the file as it was");
    fs::remove_file(&path).unwrap();
    bench.until(|bench| bench.intake.common.crls.of_file(&path, changed).is_none()).await;
}
