//! Dead peer detection between two endpoints (RFC 3706): when probes are sent, answered and refused, and what the end
//! of a peer takes with it.

use std::time::Duration;

use ike::report::Event;
use policy::model::remote::Dpd;
use tests::sim::link::Impairment;
use tests::sim::node::Settings;
use tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Probes after ten seconds, three of them two seconds apart.
const DPD: Dpd = Dpd { offered: true, delay: Duration::from_secs(10), retry: Duration::from_secs(2), max_failures: 3 };

fn watched(seed: u64) -> World {
    established(Settings { dpd: DPD, ..Settings::default() }, seed)
}

fn established(settings: Settings, seed: u64) -> World {
    let mut world = World::new(&settings, seed).with_reports();
    world.acquire(0);
    world.run(SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
    world
}

fn count(world: &World, node: usize, fits: impl Fn(&Event) -> bool) -> usize {
    world.reports.iter().filter(|(at, _, report)| *at == node && fits(&report.event)).count()
}

fn probes(world: &World, node: usize) -> usize {
    count(world, node, |event| matches!(event, Event::PeerProbed { .. }))
}

fn answers(world: &World, node: usize) -> usize {
    count(world, node, |event| matches!(event, Event::ProbeAnswered { .. }))
}

fn deaths(world: &World, node: usize) -> usize {
    count(world, node, |event| matches!(event, Event::PeerDead { .. }))
}

#[test]
fn an_idle_peer_is_probed_and_its_answer_counts() {
    let mut world = watched(1);
    world.run(600 * SECOND);
    assert_eq!(answers(&world, 1), probes(&world, 0), "{}", world.log());
    assert_eq!(answers(&world, 0), probes(&world, 1), "{}", world.log());
    // Each side's probe is a sign of life to the other: there are no more of them than one side's delay asks for.
    let all = probes(&world, 0) + probes(&world, 1);
    assert!((50..=70).contains(&all), "{all} probes\n{}", world.log());
    assert_eq!(world.check_agreement(), Ok(1));
}

#[test]
fn while_packets_arrive_nobody_is_probed() {
    let mut world = watched(2);
    world.run_with_traffic(600 * SECOND, SECOND);
    assert_eq!((probes(&world, 0), probes(&world, 1)), (0, 0), "{}", world.log());
}

#[test]
fn packets_that_we_send_prove_nothing() {
    let mut world = watched(3);
    while world.now < 100 * SECOND {
        world.packet(0);
        world.run(world.now + SECOND);
    }
    assert!(probes(&world, 0) > 3, "{}", world.log());
    assert_eq!(probes(&world, 1), 0, "{}", world.log());
}

#[test]
fn a_dead_peer_takes_everything_with_it_and_traffic_begins_anew() {
    let mut world = watched(4);
    world.run(5 * SECOND);
    world.impairment = Impairment { loss: 100, ..Impairment::default() };
    // Ten seconds of silence, three probes two seconds apart, and the wait for the last answer.
    world.run(14 * SECOND);
    assert_eq!((deaths(&world, 0), deaths(&world, 1)), (0, 0), "{}", world.log());
    world.run(20 * SECOND);
    assert_eq!((deaths(&world, 0), deaths(&world, 1)), (1, 1), "{}", world.log());
    for node in &world.nodes {
        assert!(node.kernel.sas.is_empty(), "{}", world.log());
        assert_eq!(node.endpoint.sizes().isakmp_sas, 0);
    }
    let line = world.log();
    assert!(line.contains("DPD: remote (ISAKMP-SA spi=") && line.contains(") seems to be dead."), "{line}");
    world.run(30 * SECOND);
    assert_eq!(world.nodes[0].endpoint.sizes().timers, 0, "no timer is left\n{}", world.log());
    world.impairment = Impairment::default();
    world.run_with_traffic(40 * SECOND, SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
}

#[test]
fn a_lossy_link_kills_nobody() {
    for seed in 0..20 {
        let dpd = Dpd { max_failures: 5, ..DPD };
        let mut world = established(Settings { dpd, ..Settings::default() }, seed);
        world.impairment = Impairment::all(3);
        world.run(600 * SECOND);
        assert_eq!((deaths(&world, 0), deaths(&world, 1)), (0, 0), "seed {seed}\n{}", world.log());
    }
}

#[test]
fn a_peer_that_does_not_promise_to_answer_is_never_probed_and_answers_come_all_the_same() {
    // Node 2 has dpd off: it neither probes nor says that it answers.
    let quiet = Dpd { offered: false, ..DPD };
    let settings = Settings { dpd: DPD, ..Settings::default() };
    let mut world = World::new(&settings, 5).with_reports();
    world.reconfigure(1, &Settings { dpd: quiet, ..settings });
    world.acquire(0);
    world.run(100 * SECOND);
    assert_eq!((probes(&world, 0), probes(&world, 1)), (0, 0), "{}", world.log());
    assert_eq!(world.check_agreement(), Ok(1));
}

#[test]
fn a_probe_once_more_gets_the_same_answer_and_changes_nothing() {
    let mut world = watched(6);
    world.run(12 * SECOND);
    let sender = usize::from(probes(&world, 0) == 0);
    assert_eq!(probes(&world, sender), 1, "{}", world.log());
    let at = world.captured.len() - 2;
    let ((from, probe), (_, answer)) = (world.captured[at].clone(), world.captured[at + 1].clone());
    assert_eq!(from, sender);
    let peer = world.nodes[sender].socket();
    let again: Vec<_> = (0..5).flat_map(|_| world.inject(1 - sender, peer, probe.clone())).collect();
    assert_eq!(again, [answer.clone(), answer.clone()], "answered within its budget, with the very same octets");
    assert_eq!(answers(&world, 1 - sender), 1, "{}", world.log());
    // The acknowledgement once more is nothing at all.
    let peer = world.nodes[1 - sender].socket();
    assert_eq!(world.inject(sender, peer, answer).len(), 0);
    assert_eq!(world.check_agreement(), Ok(1));
}
