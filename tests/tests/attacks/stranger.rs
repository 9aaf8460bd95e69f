//! Somebody at an address nobody knows, who talks to an endpoint by himself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::endpoint::Endpoint;
use ike::event::{Input, Now, Output};

/// The only moment there is for him.
const MOMENT: Duration = Duration::from_secs(1);

/// The `last`th of them.
pub fn stranger(last: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::from([203, 0, 113, last]), 500)
}

/// Sends one datagram from the first of them; the endpoint's datagrams that come of it.
pub fn feed(endpoint: &mut Endpoint, octets: Vec<u8>) -> Vec<Vec<u8>> {
    let local = SocketAddr::new(IpAddr::from([192, 0, 2, 2]), 500);
    endpoint.handle(Now { monotonic: MOMENT, wall: 1 }, Input::Datagram { local, peer: stranger(1), octets });
    let mut sent = Vec::new();
    loop {
        match endpoint.poll() {
            Output::Send { octets, .. } => sent.push(octets),
            Output::WakeAt(_) => return sent,
            _ => {}
        }
    }
}
