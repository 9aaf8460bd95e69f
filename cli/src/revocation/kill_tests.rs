//! The journal and the deny list under `kill -9`: a child writes and says what it has done, the parent kills it at a random
//! moment, two hundred times over, and looks at what is there. What was said to be done must be there, what was said to be
//! gone must not; and whatever a revocation that died half way has taken out of the journal is denied.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ike::event::question::CertificateId;

use super::deny_list::{DeniedIssuer, DenyEntry, DenyList};
use super::issuer::Issuer;
use super::journal::RecordId;
use super::journal::reader::JournalReader;
use super::journal::tests::{certificate, entry};
use super::journal::writer::JournalWriter;
use super::revoke::{By, CutError, CutSa, Cutter, Order, revoke};

const ROUNDS: u32 = 200;
/// Numbers that one child uses at most: a parent that is slow to kill must not find a mountain.
const SHARE: u32 = 100;
/// Certificates that are revoked bear numbers from here on.
const REVOKED: u32 = 1_000_000;
/// The child's orders: its folder, and the first of its numbers.
const FOLDER: &str = "XFRMD_KILL_FOLDER";
const FIRST: &str = "XFRMD_KILL_FIRST";

fn say(what: &str, number: u32) {
    let mut out = std::io::stdout();
    writeln!(out, "{what} {number}").unwrap();
    out.flush().unwrap();
}

/// Not a test of its own: what the test below starts and kills.
#[test]
fn child_that_is_killed() {
    let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) else { return };
    let first: u32 = first.parse().unwrap();
    let folder = Path::new(&folder);
    let mut journal = JournalWriter::open(folder.join("sa.journal")).unwrap();
    let mut list = DenyList::open(folder.join("revoked")).unwrap();
    let mut before = None;
    for number in first..first + SHARE {
        say("begins", number);
        let record = journal.insert(&entry(number, vec![certificate(1, number)])).unwrap();
        say("inserted", number);
        journal.mark_live(record).unwrap();
        list.add(denied(number)).unwrap();
        say("denied", number);
        let other = number + REVOKED;
        let theirs = journal.insert(&entry(other, vec![certificate(1, other)])).unwrap();
        journal.mark_live(theirs).unwrap();
        let issuer = Some(Issuer { key: [1; 32], name: "/CN=ca".to_owned() });
        let (serial, source) = (certificate(1, other).serial, "test".to_owned());
        let order = Order { serial, issuer, certificate: None, source, by: By::Word };
        say("revokes", other);
        revoke(&order, &[], &mut list, &mut Taking { journal: &mut journal, record: theirs }, 1).unwrap();
        say("revoked", other);
        if let Some((number, record)) = before.take() {
            say("removes", number);
            journal.remove(record).unwrap();
            say("removed", number);
        } else {
            before = Some((number, record));
        }
    }
}

/// Takes a revoked certificate's entry out of the journal, as the daemon does behind the kernel's answer.
struct Taking<'a> {
    journal: &'a mut JournalWriter,
    record: RecordId,
}

impl Cutter for Taking<'_> {
    fn live_issuers(&mut self, _serial: &[u8]) -> Result<Vec<Issuer>, CutError> {
        Ok(Vec::new())
    }

    fn cut(&mut self, _certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        self.journal.remove(self.record).unwrap();
        Ok(Vec::new())
    }
}

fn denied(number: u32) -> DenyEntry {
    DenyEntry {
        issuer: DeniedIssuer::Key([1; 32]),
        serial: certificate(1, number).serial,
        time: 1,
        source: "test".to_owned(),
        issuer_name: "/CN=ca".to_owned(),
    }
}

/// Does the number belong to this round's child, or a later one's?
fn is_recent(number: u32, round: u32) -> bool {
    number % REVOKED > round * SHARE
}

/// What a number's journal entry must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    There,
    Gone,
    /// It died between doing and saying.
    Either,
}

#[test]
fn nothing_that_was_said_is_lost_at_any_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal: BTreeMap<u32, Journal> = BTreeMap::new();
    let (mut all_denied, mut under_way, mut steps) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "revocation::kill_tests::child_that_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(FIRST, (1 + round * SHARE).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        // From its first step on, at a moment that differs from round to round.
        let begun = said.by_ref().map_while(Result::ok).find(|line| line.starts_with("begins"));
        let pause = Duration::from_micros(u64::from(round.wrapping_mul(2_654_435_761) % 20_000));
        std::thread::sleep(pause);
        child.kill().unwrap();
        child.wait().unwrap();
        for line in begun.into_iter().chain(said.map_while(Result::ok)) {
            let Some((what, number)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            steps += 1;
            match what {
                "begins" | "removes" => drop(journal.insert(number, Journal::Either)),
                "inserted" => drop(journal.insert(number, Journal::There)),
                "removed" => drop(journal.insert(number, Journal::Gone)),
                "denied" => all_denied.push(number),
                "revokes" => under_way.push(number),
                "revoked" => {
                    all_denied.push(number);
                    journal.insert(number, Journal::Gone);
                }
                _ => {}
            }
        }
        let mut reader = JournalReader::open(folder.path().join("sa.journal")).unwrap();
        for (number, expected) in journal.iter().filter(|(number, _)| is_recent(**number, round)) {
            let found = reader.find(&certificate(1, *number)).unwrap();
            assert!(found.iter().all(|record| record.entry == entry(*number, vec![certificate(1, *number)])));
            match expected {
                Journal::There => assert_eq!(found.len(), 1, "round {round}: {number} is lost"),
                Journal::Gone => assert!(found.is_empty(), "round {round}: {number} is back"),
                Journal::Either => assert!(found.len() <= 1),
            }
        }
        let list = DenyList::open(folder.path().join("revoked")).unwrap();
        for number in all_denied.iter().filter(|number| is_recent(**number, round) || round + 1 == ROUNDS) {
            assert!(list.contains(&certificate(1, *number)), "round {round}: {number} is no longer denied");
        }
        // Whatever moment a revocation died at: its SAs can be found still, or they are gone for good.
        for number in under_way.iter().filter(|number| is_recent(**number, round)) {
            let id = certificate(1, *number);
            let stands = !reader.find(&id).unwrap().is_empty();
            assert!(stands || list.contains(&id), "round {round}: {number} is gone and not denied");
        }
        // At most the line it died in.
        assert!(list.problems().len() <= usize::try_from(round + 1).unwrap(), "{:?}", list.problems());
    }
    // Every entry of every round, after as many lives of the writer.
    let mut reader = JournalReader::open(folder.path().join("sa.journal")).unwrap();
    let lost = journal.iter().filter(|(_, expected)| **expected == Journal::There);
    let lost: Vec<_> = lost.filter(|(number, _)| reader.find(&certificate(1, **number)).unwrap().len() != 1).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(steps > ROUNDS, "the children did something");
    assert!(!under_way.is_empty(), "and revoked");
}
