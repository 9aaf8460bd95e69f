//! Figures beside a peer's, from one run on the test kernel: every round measures ours and the peer's in turn, and the
//! median of the rounds counts, so that a slow moment of the machine falls on both.

mod batch;
mod crl_stall;
mod crowd;
mod first_packet;
mod revoke_cut;
mod revoke_growth;
mod sa_install;
mod setkey_batch;
mod tunnels;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::job::Job;

/// A round that takes longer hangs, and so would everything after it.
const ROUND_LIMIT: Duration = Duration::from_secs(400);

/// One figure of the JSON.
#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    ours: f64,
    peer: f64,
    peer_name: &'static str,
    /// Ours by the peer's.
    ratio: f64,
    rounds: u32,
}

/// One measurement of each side.
#[derive(Debug, Clone, Copy)]
struct Round {
    ours: f64,
    peer: f64,
}

/// What a figure is called, and what it is compared with.
struct Name {
    name: &'static str,
    unit: &'static str,
    peer_name: &'static str,
}

/// Figures that are measured together, since they need the same things built up.
struct Bench {
    figures: &'static [Name],
    /// Rounds when none are asked for: what takes longest is repeated least.
    rounds: u32,
    /// A value of each side for each figure.
    round: fn(&Place) -> Result<Vec<Round>>,
}

/// Where a round finds what it needs.
struct Place {
    folder: PathBuf,
    programs: PathBuf,
    keys: PathBuf,
}

impl Place {
    /// An empty desk for one side.
    fn desk(&self, name: &str) -> Result<Desk> {
        Desk::new(self.folder.join(name), self.programs.clone(), self.keys.clone())
    }
}

/// Every figure.
const BENCHES: [Bench; 7] = [
    Bench {
        figures: &[
            Name { name: "handshake_cpu", unit: "us per tunnel", peer_name: "charon" },
            Name { name: "handshake_floor", unit: "us per tunnel", peer_name: "OpenSSL operations alone" },
            Name { name: "memory_per_tunnel", unit: "KiB", peer_name: "charon" },
            Name { name: "teardown", unit: "ms for 1,020 tunnels", peer_name: "charon" },
        ],
        rounds: 3,
        round: tunnels::round,
    },
    Bench {
        figures: &[Name { name: "first_packet", unit: "ms", peer_name: "charon" }],
        rounds: 5,
        round: first_packet::round,
    },
    Bench {
        figures: &[Name { name: "sa_install", unit: "ms for 10,000 SAs", peer_name: "ip -batch" }],
        rounds: 5,
        round: sa_install::round,
    },
    Bench {
        figures: &[Name { name: "setkey_batch", unit: "ms for 10,000 policies", peer_name: "ip -batch" }],
        rounds: 5,
        round: setkey_batch::round,
    },
    Bench {
        figures: &[
            Name { name: "revoke_cut", unit: "ms, whole command", peer_name: "swanctl --list-sas, --terminate" },
            Name { name: "revoke_cut_inside", unit: "ms, as reported", peer_name: "swanctl --list-sas, --terminate" },
        ],
        rounds: 3,
        round: revoke_cut::round,
    },
    Bench {
        figures: &[
            Name { name: "revoke_cut_30k", unit: "ms, whole command", peer_name: "the same among 10,000 SAs" },
            Name { name: "revoke_cut_100k", unit: "ms, whole command", peer_name: "the same among 10,000 SAs" },
            Name { name: "revoke_inside_30k", unit: "ms, as reported", peer_name: "the same among 10,000 SAs" },
            Name { name: "revoke_inside_100k", unit: "ms, as reported", peer_name: "the same among 10,000 SAs" },
        ],
        rounds: 1,
        round: revoke_growth::round,
    },
    Bench {
        figures: &[
            Name { name: "crl_stall", unit: "ms, longest wait", peer_name: "the same daemon at rest" },
            Name { name: "crl_stall_hashed", unit: "ms, longest wait", peer_name: "the same daemon at rest" },
        ],
        rounds: 3,
        round: crl_stall::round,
    },
];

/// Measures one figure or all, prints a table and writes `bench.json`.
///
/// # Errors
/// When no figure is called so, or a round fails.
pub fn measure(job: &Job, name: Option<&str>, rounds: Option<u32>) -> Result<()> {
    let wanted = |figure: &Name| name.is_none_or(|name| name == figure.name);
    let chosen: Vec<&Bench> = BENCHES.iter().filter(|bench| bench.figures.iter().any(wanted)).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = BENCHES.iter().flat_map(|bench| bench.figures).map(|figure| figure.name).collect();
        return Err(Failure::new(format!(
            "no figure is called {}; there are: {}",
            name.unwrap_or(""),
            known.join(", ")
        )));
    }
    let mut figures = Vec::new();
    for bench in chosen {
        let rounds = rounds.unwrap_or(bench.rounds).max(1);
        let taken = (1..=rounds).map(|number| take(job, bench, number)).collect::<Result<Vec<_>>>()?;
        for (index, figure) in bench.figures.iter().enumerate().filter(|(_, figure)| wanted(figure)) {
            let values: Vec<Round> = taken.iter().filter_map(|round| round.get(index).copied()).collect();
            figures.push(conclude(figure, &values, rounds));
        }
    }
    for Figure { name, unit, ours, peer, peer_name, ratio, .. } in &figures {
        println!("{name:18} ours {ours:10.3}   {peer_name} {peer:.3}   ratio {ratio:.3}   ({unit})");
    }
    let text = serde_json::to_string_pretty(&figures).during("writing the figures")?;
    fs::write(job.out.join("bench.json"), text + "\n").during("writing the figures")
}

/// One round, in a folder of its own.
fn take(job: &Job, bench: &Bench, number: u32) -> Result<Vec<Round>> {
    let first = bench.figures.first().map_or("", |figure| figure.name);
    let folder = job.out.join(format!("{first}-{number}"));
    let place = Place { folder, programs: job.programs.clone(), keys: job.keys.clone() };
    let watch = Watch::begin(format!("{first} round {number}"));
    let values = (bench.round)(&place).map_err(|failure| failure.during(format!("{first} round {number}")))?;
    drop(watch);
    for (figure, Round { ours, peer }) in bench.figures.iter().zip(&values) {
        println!("{} round {number}: ours {ours:.3}, {} {peer:.3}", figure.name, figure.peer_name);
    }
    Ok(values)
}

fn conclude(figure: &Name, values: &[Round], rounds: u32) -> Figure {
    let ours = median(values.iter().map(|round| round.ours).collect());
    let peer = median(values.iter().map(|round| round.peer).collect());
    let Name { name, unit, peer_name } = *figure;
    Figure { name, unit, ours, peer, peer_name, ratio: ours / peer, rounds }
}

/// Ends the program when a round hangs, unless it is dropped before.
struct Watch {
    _over: Sender<()>,
}

impl Watch {
    fn begin(what: String) -> Self {
        let (over, dropped) = mpsc::channel();
        thread::spawn(move || {
            if dropped.recv_timeout(ROUND_LIMIT) == Err(RecvTimeoutError::Timeout) {
                println!("xtask: {what} hangs: no end after {} s", ROUND_LIMIT.as_secs());
                std::process::exit(75);
            }
        });
        Self { _over: over }
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(value), 1) => *value,
        (Some(value), _) => (value + values[middle - 1]) / 2.0,
        (None, _) => f64::NAN,
    }
}

/// In milliseconds.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }
}
