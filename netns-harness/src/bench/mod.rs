//! Figures beside a peer's, from one run on the test kernel: every round measures ours and the peer's in turn, and the
//! median of the rounds counts, so that a slow moment of the machine falls on both.

mod first_packet;
mod sa_install;

use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::job::Job;

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
struct Round {
    ours: f64,
    peer: f64,
}

/// How a figure is measured.
struct Bench {
    name: &'static str,
    unit: &'static str,
    peer_name: &'static str,
    round: fn(&mut Desk) -> Result<Round>,
}

/// Every figure.
const BENCHES: [Bench; 2] = [
    Bench { name: "first_packet", unit: "ms", peer_name: "charon", round: first_packet::round },
    Bench { name: "sa_install", unit: "ms for 10,000 SAs", peer_name: "ip -batch", round: sa_install::round },
];

/// Measures one figure or all, prints a table and writes `bench.json`.
///
/// # Errors
/// When no figure is called so, or a round fails.
pub fn measure(job: &Job, name: Option<&str>, rounds: u32) -> Result<()> {
    let chosen: Vec<&Bench> = BENCHES.iter().filter(|bench| name.is_none_or(|name| name == bench.name)).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        return Err(Failure::new(format!(
            "no figure is called {}; there are: {}",
            name.unwrap_or(""),
            known.join(", ")
        )));
    }
    let mut figures = Vec::new();
    for bench in chosen {
        let mut taken = Vec::new();
        for round in 1..=rounds.max(1) {
            let folder = job.out.join(format!("{}-{round}", bench.name));
            let mut desk = Desk::new(folder, job.programs.clone(), job.keys.clone())?;
            let values = (bench.round)(&mut desk).map_err(|failure| failure.during(bench.name))?;
            println!("{} round {round}: ours {:.3}, {} {:.3}", bench.name, values.ours, bench.peer_name, values.peer);
            taken.push(values);
        }
        let ours = median(taken.iter().map(|round| round.ours).collect());
        let peer = median(taken.iter().map(|round| round.peer).collect());
        let Bench { name, unit, peer_name, .. } = *bench;
        let ratio = ours / peer;
        println!("{name}: ours {ours:.3}, {peer_name} {peer:.3} ({unit}), ratio {ratio:.3}");
        figures.push(Figure { name, unit, ours, peer, peer_name, ratio, rounds: rounds.max(1) });
    }
    let text = serde_json::to_string_pretty(&figures).during("writing the figures")?;
    fs::write(job.out.join("bench.json"), text + "\n").during("writing the figures")
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
