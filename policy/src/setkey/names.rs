//! Names of hosts, services and protocols: the grammar asks, whoever opens files and sockets answers.

use std::net::IpAddr;

use crate::model::selector::UpperProtocol;

/// Addresses taken from one name: more are a mistake or an attack on whoever pairs them.
pub const MAX_ADDRESSES: usize = 64;

/// What a script's names stand for on this machine.
pub trait Names {
    /// The addresses of a host, in the order they are to be used.
    ///
    /// # Errors
    /// The resolver's words.
    fn addresses(&mut self, host: &str) -> Result<Vec<IpAddr>, String>;

    /// The port of a service, host order.
    fn port(&mut self, service: &str, protocol: UpperProtocol) -> Option<u16>;

    /// The number of a protocol that our own table lacks.
    fn protocol(&mut self, name: &str) -> Option<UpperProtocol>;
}

/// Looks nothing up.
pub struct NoNames;

impl Names for NoNames {
    fn addresses(&mut self, _: &str) -> Result<Vec<IpAddr>, String> {
        Err("host names are not looked up here".to_owned())
    }

    fn port(&mut self, _: &str, _: UpperProtocol) -> Option<u16> {
        None
    }

    fn protocol(&mut self, _: &str) -> Option<UpperProtocol> {
        None
    }
}
