//! Order, loss, resends, contradictions and floods of fragments (ATTACKS ).

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::wire::header::Cookie;
use crate::wire::message::{Tail, decode_chain};

const NOW: Duration = Duration::from_secs(100);

fn path(last: u8) -> Path {
    let at = |octet| SocketAddr::new(IpAddr::from([192, 0, 2, octet]), 500);
    Path { local: at(1), peer: at(last) }
}

/// A message of `length` octets whose content begins with `mark`.
fn message(length: usize, mark: u8) -> Vec<u8> {
    let header = Header {
        initiator: Cookie([1; 8]),
        responder: Cookie([2; 8]),
        next: PayloadType::ID,
        version: Header::VERSION,
        exchange: ExchangeType::MAIN,
        flags: Flags::ENCRYPTED,
        message_id: 0,
        length: 0,
    };
    let chain: Vec<u8> = (0..length - Header::LEN).map(|at| mark ^ (at / 7) as u8).collect();
    encode_message(header, &chain)
}

/// Hands a datagram over as the endpoint does.
fn give(reassembly: &mut Reassembly, from: u8, datagram: &[u8]) -> Result<Option<Vec<u8>>, FragmentError> {
    let header = Header::decode(datagram).unwrap();
    let payloads = decode_chain(header.next, header.body(datagram), Tail::Exact).unwrap();
    assert_eq!((header.next, payloads.len()), (PayloadType::FRAGMENT, 1));
    reassembly.take(path(from), &header, &FragmentPayload::decode(payloads[0].body).unwrap(), NOW)
}

/// A piece made by hand.
fn piece(number: u8, is_last: bool, data: &[u8]) -> Vec<u8> {
    let framed = Header { next: PayloadType::FRAGMENT, ..Header::decode(&message(100, 0)).unwrap() };
    let piece = FragmentPayload { id: 1, number, is_last, data };
    encode_message(framed, &encode_chain(&[(PayloadType::FRAGMENT, piece.encode())]))
}

#[test]
fn cut_pieces_fit_and_are_the_same_each_time() {
    let whole = message(3000, 1);
    let pieces = cut(whole.clone());
    assert_eq!(pieces.len(), 6);
    assert!(pieces.iter().all(|piece| piece.len() <= LONGEST));
    assert_eq!(pieces, cut(whole));
    assert_ne!(pieces[0], cut(message(3000, 2))[0]);
    let small = message(LONGEST, 1);
    assert_eq!(cut(small.clone()), [small]);
    assert_eq!(cut(message(60_000, 1)).len(), 52);
}

#[test]
fn any_order_gives_the_message() {
    let whole = message(1400, 3);
    let pieces = cut(whole.clone());
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut reassembly = Reassembly::default();
        let given: Vec<_> = order.iter().map(|at| give(&mut reassembly, 2, &pieces[*at]).unwrap()).collect();
        assert_eq!(given, [None, None, Some(whole.clone())], "{order:?}");
    }
}

#[test]
fn a_set_sent_again_gives_the_message_again_and_a_straggler_nothing() {
    let whole = message(1400, 3);
    let pieces = cut(whole.clone());
    let mut reassembly = Reassembly::default();
    let mut give = |at: usize| give(&mut reassembly, 2, &pieces[at]).unwrap();
    assert_eq!([give(0), give(0), give(1), give(2)], [None, None, None, Some(whole.clone())]);
    assert_eq!([give(1), give(1)], [None, None], "stragglers");
    assert_eq!([give(2), give(0)], [None, Some(whole)], "the whole set once more");
}

#[test]
fn a_lost_piece_comes_with_the_resend() {
    let whole = message(1400, 3);
    let pieces = cut(whole.clone());
    let mut reassembly = Reassembly::default();
    let given: Vec<_> = [0, 2, 0, 1].iter().map(|at| give(&mut reassembly, 2, &pieces[*at]).unwrap()).collect();
    assert_eq!(given, [None, None, None, Some(whole)]);
}

#[test]
fn the_next_message_replaces_an_unfinished_one_even_with_the_same_id() {
    let (first, second) = (message(1400, 3), message(1300, 9));
    let mut reassembly = Reassembly::default();
    give(&mut reassembly, 2, &cut(first)[1]).unwrap();
    let given: Vec<_> = cut(second.clone()).iter().map(|piece| give(&mut reassembly, 2, piece).unwrap()).collect();
    assert_eq!(given.last(), Some(&Some(second)));
    // racoon numbers every message 1.
    let mut reassembly = Reassembly::default();
    let whole = message(60, 5);
    let (head, tail) = whole.split_at(30);
    assert_eq!(give(&mut reassembly, 2, &piece(1, false, b"of an older message")), Ok(None));
    assert_eq!(give(&mut reassembly, 2, &piece(1, false, head)), Ok(None));
    assert_eq!(give(&mut reassembly, 2, &piece(2, true, tail)), Ok(Some(whole.clone())));
}

#[test]
fn contradictions_about_the_last_piece_drop_the_set() {
    let refused = Err(FragmentError::Contradiction);
    let mut reassembly = Reassembly::default();
    assert_eq!(give(&mut reassembly, 2, &piece(3, true, &[1])), Ok(None));
    assert_eq!(give(&mut reassembly, 2, &piece(4, true, &[1])), refused, "two last ones");
    assert_eq!(give(&mut reassembly, 2, &piece(5, false, &[1])), Ok(None));
    assert_eq!(give(&mut reassembly, 2, &piece(4, true, &[1])), refused, "one behind the last");
    assert_eq!(give(&mut reassembly, 2, &piece(2, true, &[1])), Ok(None));
    assert_eq!(give(&mut reassembly, 2, &piece(9, false, &[1])), refused, "one beyond the last");
    assert_eq!(reassembly.octets(), 0);
    assert_eq!(give(&mut reassembly, 2, &piece(65, true, &[1])), Err(FragmentError::TooMany(65)));
}

#[test]
fn pieces_that_give_no_message_are_refused() {
    let mut reassembly = Reassembly::default();
    assert_eq!(give(&mut reassembly, 2, &piece(1, true, &[0; 40])), Err(FragmentError::OtherMessage));
    // One inside another, and one that is longer than its header says.
    assert_eq!(give(&mut reassembly, 2, &piece(1, true, &piece(1, true, &[7]))), Err(FragmentError::OtherMessage));
    let long = [message(60, 1), vec![0]].concat();
    assert_eq!(give(&mut reassembly, 2, &piece(1, true, &long)), Err(FragmentError::OtherMessage));
    assert_eq!((reassembly.octets(), reassembly.order.len()), (0, 0));
}

#[test]
fn floods_stay_within_their_room() {
    let mut reassembly = Reassembly::default();
    // One address, a thousand cookies, never the last piece.
    for number in 0..1000_u16 {
        let mut datagram = piece(2, false, &[7; 1000]);
        datagram[..2].copy_from_slice(&number.to_be_bytes());
        give(&mut reassembly, 2, &datagram).unwrap();
    }
    assert!(reassembly.octets() <= MOST_FROM_ADDRESS, "{}", reassembly.octets());
    // Another address is served meanwhile.
    let whole = message(1400, 3);
    let given: Vec<_> = cut(whole.clone()).iter().map(|piece| give(&mut reassembly, 3, piece).unwrap()).collect();
    assert_eq!(given.last(), Some(&Some(whole)));
    // Everybody at once, as much as one message may hold.
    for from in 4..=255 {
        for number in 1..=60 {
            give(&mut reassembly, from, &piece(number, false, &[7; 1000])).unwrap();
        }
    }
    assert!(reassembly.octets() <= MOST_IN_ALL, "{}", reassembly.octets());
    assert_eq!(reassembly.order.len(), reassembly.pairs.len());
    assert!(!reassembly.expire(NOW + LIFE));
    assert_eq!((reassembly.octets(), reassembly.by_address.len(), reassembly.order.len()), (0, 0, 0));
}

#[test]
fn what_grows_too_long_is_dropped() {
    let mut reassembly = Reassembly::default();
    let outcomes: Vec<_> = (1..=60).map(|number| give(&mut reassembly, 2, &piece(number, false, &[7; 1400]))).collect();
    assert!(outcomes.contains(&Err(FragmentError::TooLong)));
    assert!(reassembly.octets() <= MOST_OCTETS + 64 * PIECE_COST);
}
