//! Fragments that are none. (A-14, the legal resends and orders, is in `tests/fragments.rs`.)

use ike::wire::header::Header;
use ike::wire::message::encode_message;
use ike::wire::number::{ExchangeType, PayloadType};
use policy::model::remote::IkeFrag;
use tests::sim::node::Settings;
use tests::sim::puppet::{Begins, Puppet};

fn settings() -> Settings {
    Settings { ike_frag: IkeFrag::On, ..Settings::default() }
}

/// A fragment payload's chain: its generic header says `length`, whatever follows.
fn raw(length: u16, body: &[u8]) -> Vec<u8> {
    let mut chain = vec![0, 0];
    chain.extend(length.to_be_bytes());
    chain.extend(body);
    chain
}

fn fragment(id: u16, number: u8, last: bool, data: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend([number, u8::from(last)]);
    body.extend(data);
    raw(body.len() as u16 + 4, &body)
}

/// Frames a chain that begins with a fragment, under the puppet's cookies of now.
fn framed(puppet: &Puppet, exchange: ExchangeType, chain: &[u8]) -> Vec<u8> {
    let any = puppet.clear(exchange, 0, &vec![(PayloadType::FRAGMENT, Vec::new())]);
    let header = Header { next: PayloadType::FRAGMENT, length: 0, ..Header::decode(&any).expect("our own") };
    encode_message(header, chain)
}

#[test]
fn a10_a33_a43_fragments_without_data_number_or_length() {
    let chains: Vec<Vec<u8>> = (0..=12)
        .map(|length| raw(length, &vec![0xff; 1200]))
        .chain((0..8).map(|kept| raw(4 + kept, &[0, 1, 1, 1, 9, 9, 9, 9][..usize::from(kept)])))
        .chain([fragment(1, 0, false, &[1; 40]), fragment(1, 0, true, &[1; 40]), fragment(1, 1, true, &[])])
        .chain([fragment(1, 1, true, &[0; 28]), fragment(1, 255, true, &[0; 10])])
        .collect();
    // Before anything, in the middle of main mode, and after it.
    for reached in [1, 3, 5, 7] {
        for chain in &chains {
            let mut puppet = Puppet::new(&settings(), Begins::Puppet, 1);
            puppet.main_up_to(reached);
            let datagram = framed(&puppet, ExchangeType::MAIN, chain);
            let size = datagram.len();
            let answered: usize = puppet.send(datagram).iter().map(Vec::len).sum();
            assert!(answered <= size, "{answered} octets for {size}\n{}", puppet.world.log());
            for later in puppet.main_numbers().into_iter().filter(|later| *later >= reached) {
                puppet.main_step(later);
            }
            assert_eq!(puppet.victim_sas(), 1, "before message {reached}\n{}", puppet.world.log());
        }
    }
}

#[test]
fn a13_fragments_that_never_end_are_kept_within_bounds() {
    let mut puppet = Puppet::new(&settings(), Begins::Puppet, 2);
    puppet.main_up_to(3);
    let begun = std::time::Instant::now();
    for round in 0..4_u16 {
        for number in (1..=255).rev() {
            let chain = fragment(round, number, false, &[7; 1000]);
            let datagram = framed(&puppet, ExchangeType::MAIN, &chain);
            puppet.inject_only(datagram);
        }
    }
    for id in 0..2000_u16 {
        let chain = fragment(id, 1, false, &[7; 1000]);
        let datagram = framed(&puppet, ExchangeType::MAIN, &chain);
        puppet.inject_only(datagram);
    }
    // As many sources of sets as there are cookies.
    for cookie in 0..1000_u64 {
        let mut datagram = framed(&puppet, ExchangeType::MAIN, &fragment(1, 1, false, &[7; 1000]));
        datagram[..8].copy_from_slice(&(cookie | 1 << 40).to_be_bytes());
        puppet.inject_only(datagram);
    }
    let sizes = puppet.world.nodes[1].endpoint.sizes();
    assert!(sizes.fragment_octets <= 64 * 1024, "{sizes:?}");
    assert!(sizes.handshakes <= 64, "{sizes:?}");
    println!("{:?} for 4,020 fragments", begun.elapsed());
    // The legal messages behind them, and nothing left after the exchange.
    puppet.sent_meanwhile();
    for later in [3, 5] {
        puppet.main_step(later);
    }
    assert_eq!(puppet.victim_sas(), 1, "{}", puppet.world.log());
    puppet.legal_quick_mode(1);
    puppet.world.run(puppet.world.now + std::time::Duration::from_secs(60));
    assert_eq!(puppet.world.nodes[1].endpoint.sizes().fragment_octets, 0);
}
