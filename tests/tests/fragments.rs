//! IKE fragmentation between two endpoints with certificate chains of 3,000 octets (IKEV1 FR-1 to FR-7, ATTACKS A-14).

use std::time::Duration;

use ike::report::Event;
use ike::wire::header::Header;
use ike::wire::number::PayloadType;
use policy::model::remote::IkeFrag;
use tests::sim::link::{Fate, Impairment};
use tests::sim::node::Settings;
use tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// What a datagram may have at most when it is a piece.
const LONGEST: usize = 552;

fn settings(ike_frag: IkeFrag) -> Settings {
    Settings { ike_frag, certificate_octets: 3000, ..Settings::default() }
}

fn begun(settings: &Settings, seed: u64) -> World {
    let mut world = World::new(settings, seed).with_reports();
    world.acquire(0);
    world
}

fn pieces(world: &World, from: usize) -> usize {
    let is_piece = |octets: &Vec<u8>| Header::decode(octets).is_ok_and(|header| header.next == PayloadType::FRAGMENT);
    world.captured.iter().filter(|(node, octets)| *node == from && is_piece(octets)).count()
}

fn longest(world: &World, from: usize) -> usize {
    world.captured.iter().filter(|(node, _)| *node == from).map(|(_, octets)| octets.len()).max().unwrap_or(0)
}

#[test]
fn large_messages_go_in_pieces_where_both_sides_know_them() {
    for ike_frag in [IkeFrag::On, IkeFrag::Force] {
        let mut world = begun(&settings(ike_frag), 1);
        world.run(SECOND);
        assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
        for node in 0..2 {
            assert!(longest(&world, node) <= LONGEST && pieces(&world, node) >= 6, "{ike_frag:?}\n{}", world.log());
        }
        world.run(120 * SECOND);
        assert_eq!(world.nodes[0].endpoint.sizes().fragment_octets, 0);
    }
}

#[test]
fn without_the_peers_vendor_id_on_sends_whole_and_force_does_not() {
    let mut world = World::new(&settings(IkeFrag::On), 2).with_reports();
    world.reconfigure(1, &settings(IkeFrag::Off));
    world.acquire(0);
    world.run(SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
    assert_eq!((pieces(&world, 0), pieces(&world, 1)), (0, 0));
    assert!(longest(&world, 0) > 3000);

    let mut world = World::new(&settings(IkeFrag::Force), 2).with_reports();
    world.reconfigure(1, &settings(IkeFrag::Off));
    world.acquire(0);
    world.run(SECOND);
    assert!(pieces(&world, 0) > 0);
    let refused = |event: &Event| matches!(event, Event::Dropped { reason } if reason.contains("ike_frag is off"));
    let refusals = world.reports.iter().filter(|(node, _, report)| *node == 1 && refused(&report.event)).count();
    assert_eq!(refusals, pieces(&world, 0), "one line for each\n{}", world.log());
    assert_eq!(world.nodes[1].endpoint.sizes().fragment_octets, 0);
    assert!(world.nodes[1].kernel.sas.is_empty());
}

#[test]
fn lost_reordered_and_doubled_pieces_only_cost_time() {
    let faults = [
        Impairment { loss: 10, reorder: 25, ..Impairment::default() },
        Impairment { duplicate: 100, reorder: 50, ..Impairment::default() },
        Impairment::all(5),
    ];
    for impairment in faults {
        for seed in 0..60 {
            let mut world = begun(&settings(IkeFrag::On), seed);
            world.impairment = impairment;
            world.run(20 * SECOND);
            world.impairment = Impairment::default();
            world.run_with_traffic(80 * SECOND, SECOND);
            world.run(100 * SECOND);
            assert_eq!(world.check_agreement(), Ok(1), "{impairment:?} seed {seed}\n{}", world.log());
        }
    }
}

#[test]
fn any_one_lost_piece_comes_with_the_resend() {
    let count = {
        let mut world = begun(&settings(IkeFrag::On), 3);
        world.run(SECOND);
        world.captured.len()
    };
    for lost in 0..count {
        let mut world = begun(&settings(IkeFrag::On), 3);
        let mut sent = 0;
        world.fates = Some(Box::new(move |_| {
            sent += 1;
            if sent == lost + 1 { Fate::Lose } else { Fate::Pass }
        }));
        // The longest way: the loss of the answer, then the peer's resend.
        world.run(10 * SECOND);
        assert_eq!(world.check_agreement(), Ok(1), "datagram {lost} lost\n{}", world.log());
    }
}

#[test]
fn a_set_sent_once_more_after_the_end_is_answered_like_any_duplicate() {
    let mut world = begun(&settings(IkeFrag::On), 4);
    world.run(SECOND);
    assert_eq!(world.check_agreement(), Ok(1), "{}", world.log());
    let is_piece = |octets: &Vec<u8>| Header::decode(octets).is_ok_and(|header| header.next == PayloadType::FRAGMENT);
    let fifth: Vec<Vec<u8>> =
        world.captured.iter().filter(|(node, octets)| *node == 0 && is_piece(octets)).map(|(_, o)| o.clone()).collect();
    let peer = world.nodes[0].socket();
    let retransmitted = |world: &World| {
        world.reports.iter().filter(|(_, _, report)| matches!(report.event, Event::Retransmitted { .. })).count()
    };
    for _ in 0..4 {
        fifth.iter().for_each(|piece| drop(world.inject(1, peer, piece.clone())));
    }
    assert_eq!(retransmitted(&world), 4, "{}", world.log());
    assert_eq!(world.check_agreement(), Ok(1));
    assert_eq!(world.nodes[1].endpoint.sizes().isakmp_sas, 1);
}
