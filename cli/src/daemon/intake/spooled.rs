//! What users who may revoke left while no daemon ran: carried out when one starts.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use super::{Arrival, Common, Notified};
use crate::daemon::privileges::Identity;
use crate::daemon::revokers::Revokers;
use crate::logging;
use crate::revocation::keylime::message::Notice;
use crate::revocation::keylime::spool::{self, SpoolError};

/// Makes the folders of those who may revoke; one that cannot be made is said, for its user's action will fail without us.
pub fn make_room(state_dir: &Path, revokers: &Revokers, identity: Option<Identity>) {
    let group = identity.map_or_else(|| rustix::process::getegid().as_raw(), Identity::group);
    if let Err(error) = spool::prepare(state_dir, &revokers.numbers(), group) {
        let folder = state_dir.join("spool");
        logging::warning(format_args!(
            "{}: {error}: revocations have no place there while no daemon runs",
            folder.display()
        ));
    }
}

/// Carries out what these users have left. A message that failed is tried again by the next daemon; one that will never be
/// any good is thrown away.
pub async fn carry_out(state_dir: PathBuf, users: BTreeSet<u32>, common: Common) {
    for user in users {
        let folder = state_dir.clone();
        let Ok(left) = tokio::task::spawn_blocking(move || spool::left(&folder, user)).await else { return };
        for path in left {
            let name = path.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || spool::read(&name, user)).await else { return };
            one(&path, read, &common).await;
        }
    }
}

async fn one(path: &Path, read: Result<Notice, SpoolError>, common: &Common) {
    let name = path.display();
    let revocation = match read {
        Ok(Notice::Revocation(revocation)) => revocation,
        Ok(Notice::Other { .. }) => return done(path),
        Err(error) => {
            logging::error(format_args!("revocation: {name} is not carried out: {error}"));
            if error.is_final() {
                done(path);
            }
            return;
        }
    };
    let (reply, answer) = oneshot::channel();
    let notified = Notified { revocation, issuer: None, source: "keylime".to_owned(), reply };
    if common.arrivals.send(Arrival::Notice(Box::new(notified))).await.is_err() {
        return;
    }
    // What failed was said there.
    if let Ok(Ok(_)) = answer.await {
        logging::info(format_args!("revocation: {name}, left while no daemon ran, is carried out"));
        done(path);
        common.fetch_soon();
    }
}

fn done(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            logging::warning(format_args!("{}: {error}", path.display()));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::intake::Intake;
    use crate::report::RevocationReport;
    use crate::revocation::crl::store::CrlStore;
    use crate::revocation::serial;

    fn report(serial: String) -> RevocationReport {
        RevocationReport {
            serial,
            issuer: "/CN=ca".to_owned(),
            issuer_key: None,
            already_revoked: false,
            sas: Vec::new(),
            sas_deleted: 0,
            elapsed_ms: 0.1,
            daemon: true,
        }
    }

    #[tokio::test]
    async fn what_was_left_is_carried_out_and_goes_but_what_failed_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let users = BTreeSet::from([user]);
        spool::prepare(directory.path(), &users, group).unwrap();
        let message = |serial: u32| format!(r#"{{"type":"revocation","meta_data":{{"cert_serial":{serial}}}}}"#);
        for text in [message(7), "rubbish".to_owned(), r#"{"type":"comm_error"}"#.to_owned(), message(8), message(9)] {
            spool::leave(directory.path(), text.as_bytes()).unwrap();
        }
        let (intake, mut arrivals) = Intake::new(Arc::new(CrlStore::open(None, 0)));
        let work = tokio::spawn(carry_out(directory.path().to_owned(), users, intake.common.clone()));
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let Some(Arrival::Notice(notified)) = arrivals.recv().await else { panic!("no notice") };
            assert_eq!((notified.source.as_str(), &notified.issuer), ("keylime", &None));
            let serial = serial::to_decimal(&notified.revocation.serial);
            let answer = if serial == "8" { Err("the disk is full".to_owned()) } else { Ok(report(serial.clone())) };
            notified.reply.send(answer).unwrap();
            seen.push(serial);
        }
        work.await.unwrap();
        assert_eq!(seen, ["7", "8", "9"]);
        let left = spool::left(directory.path(), user);
        let [only] = left.as_slice() else { panic!("{left:?}") };
        assert!(fs::read_to_string(only).unwrap().contains(":8}"), "the one that failed is for the next daemon");
    }
}
