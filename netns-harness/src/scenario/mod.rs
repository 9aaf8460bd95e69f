//! The scenarios: each a name, what it shows, and a function that plays it on a [`Desk`]. They are described in
//! `tests/netns/`. After each one its captures are searched for what should have been encrypted.

mod aggressive;
mod algorithms;
mod certificates;
mod cisco;
mod deletion;
mod directives;
pub mod drill;
mod fragments;
mod hooks;
mod identities;
mod keylime;
mod keylime_agent;
mod keys;
mod life;
mod liveness;
mod nat;
mod partial;
mod plain_rsa;
mod policies;
mod probes;
mod psk;
mod racoonctl;
mod refusals;
mod rekey;
mod revocation;
mod revocation_mesh;
mod revocation_two;
mod revocation_ways;
mod roadwarrior;
mod roadwarrior_auth;
mod seed_ipop;
pub mod seeds;
mod services;
mod setkey;
mod setkey_generate;
mod setkey_words;
mod shapes;
pub mod stage;
mod suites;
mod traffic;
mod unity;

use std::time::{Duration, Instant};

use crate::capture::Traffic;
use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::job::{Job, Outcome, Report};
use crate::peer::Kind;

/// A scenario that takes longer has hung.
pub const DEADLINE: Duration = Duration::from_secs(180);

type Play = Box<dyn Fn(&mut Desk) -> Result<()>>;

/// One scenario.
pub struct Scenario {
    /// `what/initiator-responder`, or only `what`.
    pub name: String,
    /// What it shows, in one line.
    pub about: &'static str,
    play: Play,
}

impl Scenario {
    fn new(name: impl Into<String>, about: &'static str, play: impl Fn(&mut Desk) -> Result<()> + 'static) -> Self {
        Self { name: name.into(), about, play: Box::new(play) }
    }

    /// Plays it and judges the captures; what it proved.
    ///
    /// # Errors
    /// When a step failed, or something went over a protected link in clear.
    pub fn play(&self, job: &Job) -> Result<Vec<String>> {
        let folder = job.out.with_file_name(self.name.replace('/', "."));
        let mut desk = Desk::new(folder, job.programs.clone(), job.keys.clone())?;
        let played = (self.play)(&mut desk);
        let cleared = desk.clear();
        played?;
        let (mut proofs, traffic) = cleared?;
        if !traffic.plaintext.is_empty() {
            return Err(in_clear(&traffic));
        }
        proofs.push(format!("{} ESP packets, {} of IKE, none in clear", traffic.esp, traffic.ike));
        Ok(proofs)
    }
}

fn in_clear(traffic: &Traffic) -> Failure {
    let count = traffic.plaintext.len();
    Failure::new(format!("{count} packets went over a protected link in clear"))
        .with("the last of them", traffic.plaintext.join("\n"))
}

/// Every scenario, in the order they are played.
pub fn all() -> Vec<Scenario> {
    let mut out = Vec::new();
    traffic::add(&mut out);
    suites::add(&mut out);
    shapes::add(&mut out);
    rekey::add(&mut out);
    revocation::add(&mut out);
    revocation_mesh::add(&mut out);
    revocation_two::add(&mut out);
    revocation_ways::add(&mut out);
    policies::add(&mut out);
    refusals::add(&mut out);
    roadwarrior::add(&mut out);
    roadwarrior_auth::add(&mut out);
    deletion::add(&mut out);
    partial::add(&mut out);
    certificates::add(&mut out);
    keys::add(&mut out);
    plain_rsa::add(&mut out);
    aggressive::add(&mut out);
    identities::add(&mut out);
    hooks::add(&mut out);
    drill::add(&mut out);
    keylime::add(&mut out);
    keylime_agent::add(&mut out);
    life::add(&mut out);
    liveness::add(&mut out);
    fragments::add(&mut out);
    nat::add(&mut out);
    psk::add(&mut out);
    algorithms::add(&mut out);
    probes::add(&mut out);
    cisco::add(&mut out);
    unity::add(&mut out);
    racoonctl::add(&mut out);
    directives::add(&mut out);
    seeds::add(&mut out);
    seed_ipop::add(&mut out);
    services::add(&mut out);
    setkey::add(&mut out);
    setkey_generate::add(&mut out);
    setkey_words::add(&mut out);
    out
}

/// The pairs that scenarios are played with, initiator first.
pub const PAIRS: [(Kind, Kind); 3] = [(Kind::Ours, Kind::Ours), (Kind::Ours, Kind::Charon), (Kind::Charon, Kind::Ours)];
/// The pairs with libreswan.
pub const PLUTO: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Pluto), (Kind::Pluto, Kind::Ours)];
/// Every pair: what any implementation of the protocol must do with any other.
pub const ALL_PAIRS: [(Kind, Kind); 5] = [
    (Kind::Ours, Kind::Ours),
    (Kind::Ours, Kind::Charon),
    (Kind::Charon, Kind::Ours),
    (Kind::Ours, Kind::Pluto),
    (Kind::Pluto, Kind::Ours),
];

/// Adds a scenario for each of `pairs`.
fn for_pairs(
    out: &mut Vec<Scenario>,
    pairs: &[(Kind, Kind)],
    what: &str,
    about: &'static str,
    play: impl Fn(&mut Desk, Kind, Kind) -> Result<()> + Copy + 'static,
) {
    for &(initiator, responder) in pairs {
        let name = format!("{what}/{}-{}", initiator.program(), responder.program());
        out.push(Scenario::new(name, about, move |desk| play(desk, initiator, responder)));
    }
}

/// Plays the named scenarios one after the other and reports each to the job's results.
///
/// # Errors
/// When a result cannot be written.
pub fn play(job: &Job, names: &[String]) -> Result<()> {
    let all = all();
    for name in names {
        job.report(&Report::Begun(name.clone()))?;
        let start = Instant::now();
        let result = match all.iter().find(|scenario| scenario.name == *name) {
            Some(scenario) => scenario.play(job).map_err(|failure| failure.report()),
            None => Err(format!("no scenario is called {name}")),
        };
        let outcome = Outcome { name: name.clone(), result, seconds: start.elapsed().as_secs_f64() };
        job.report(&Report::Ended(outcome))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let all = all();
        let names: HashSet<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
    }
}
