//! How each source of revocations is: what works, since when one does not, and why. A source that fails is said once when
//! it begins and once when it is over; `xfrmctl status` says it all the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Common;
use crate::civil;
use crate::daemon::clock;
use crate::logging;
use crate::report::{CrlReport, SourceReport};
use crate::revocation::crl::store::{CrlStore, InUse};
use crate::revocation::serial;

/// The CRLs in use, for `xfrmctl status`.
pub fn crls(store: &CrlStore) -> Vec<CrlReport> {
    let mut reports: Vec<CrlReport> = store.in_use().iter().map(|entry| report(entry)).collect();
    reports.sort_by(|one, other| (&one.issuer, &one.issuer_key).cmp(&(&other.issuer, &other.issuer_key)));
    reports
}

fn report(entry: &InUse) -> CrlReport {
    CrlReport {
        issuer: entry.crl.issuer_name.clone(),
        issuer_key: serial::to_hex(&entry.issuer_key),
        source: entry.origin.to_string(),
        this_update: entry.crl.this_update,
        next_update: entry.crl.next_update,
        number: entry.crl.number.as_deref().map(serial::to_decimal),
        entries: entry.crl.entries,
    }
}

/// What should be seen to before it matters, a line each: sources that fail, CRLs that are stale or soon will be.
pub fn warnings(common: &Common, wall: u64) -> Vec<String> {
    let failing = common.health.reports().into_iter().filter_map(|source| {
        let (since, why) = (source.failing_since?, source.problem?);
        Some(format!("{} {} fails since {}: {why}", source.kind, source.name, civil::local(since)))
    });
    let stale = common.crls.in_use().into_iter().filter_map(|entry| {
        let (crl, name) = (&entry.crl, &entry.crl.issuer_name);
        let next = crl.next_update?;
        // keylime's lists end when they begin: that says nothing about whether there is a newer one.
        let life = next.saturating_sub(crl.this_update);
        if life == 0 {
            return None;
        }
        let soon = wall.saturating_add(life / 10);
        match (next <= wall, next <= soon) {
            (true, _) => Some(format!("CRL of {name} is stale since {} ({})", civil::local(next), entry.origin)),
            (false, true) => Some(format!("CRL of {name} ends {} ({})", civil::local(next), entry.origin)),
            _ => None,
        }
    });
    let waiting = common.crls.waiting();
    let orphans = (waiting > 0).then(|| format!("{waiting} CRLs are of issuers whose certificate nobody has shown"));
    failing.chain(stale).chain(orphans).collect()
}

/// Shared by the tasks and the loop.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, State>>>);

#[derive(Clone, Debug, Default)]
struct State {
    kind: &'static str,
    good_at: Option<u64>,
    problem: Option<(u64, String)>,
    /// It was once: silence about a source that never was is for the reader to judge.
    notices: u64,
}

impl Health {
    /// A source does what it should.
    pub fn good(&self, kind: &'static str, name: &str) {
        let recovered = self.change(kind, name, |state| {
            state.good_at = Some(clock::now().wall);
            state.problem.take()
        });
        if recovered.is_some() {
            logging::info(format_args!("revocation: {kind} {name} works again"));
        }
    }

    /// It does not.
    pub fn bad(&self, kind: &'static str, name: &str, why: &str) {
        let is_new = self.change(kind, name, |state| match &mut state.problem {
            Some((_, before)) if before == why => false,
            Some((_, before)) => {
                why.clone_into(before);
                true
            }
            none => {
                *none = Some((clock::now().wall, why.to_owned()));
                true
            }
        });
        if is_new {
            logging::warning(format_args!("revocation: {kind} {name}: {why}"));
        }
    }

    /// It has brought something.
    pub fn heard(&self, kind: &'static str, name: &str) {
        self.change(kind, name, |state| {
            state.notices += 1;
            state.good_at = Some(clock::now().wall);
        });
    }

    /// Forgets the sources that a configuration no longer has. Hashed files come and go by themselves.
    pub fn keep_only(&self, names: &[String]) {
        self.lock().retain(|name, _| names.contains(name));
    }

    /// A source that is no more.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// For `xfrmctl status`.
    pub fn reports(&self) -> Vec<SourceReport> {
        let report = |(name, state): (&String, &State)| SourceReport {
            kind: state.kind.to_owned(),
            name: name.clone(),
            good_at: state.good_at,
            notices: state.notices,
            failing_since: state.problem.as_ref().map(|(since, _)| *since),
            problem: state.problem.as_ref().map(|(_, why)| why.clone()),
        };
        self.lock().iter().map(report).collect()
    }

    fn change<T>(&self, kind: &'static str, name: &str, how: impl FnOnce(&mut State) -> T) -> T {
        let mut sources = self.lock();
        let state = sources.entry(name.to_owned()).or_default();
        state.kind = kind;
        how(state)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_lasts_until_it_is_over() {
        let health = Health::default();
        health.bad("CRL", "a", "no route");
        health.bad("CRL", "a", "no route");
        let report = health.reports().remove(0);
        assert_eq!((report.problem.as_deref(), report.good_at), (Some("no route"), None));
        health.good("CRL", "a");
        let report = health.reports().remove(0);
        assert!(report.problem.is_none() && report.good_at.is_some());
        health.keep_only(&[]);
        assert!(health.reports().is_empty());
    }
}
