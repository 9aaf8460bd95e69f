//! RSA keys without certificates (racoon.conf: `plain_rsa`): their numbers, and for which two ends one is.

use std::net::IpAddr;

use super::addr::IpNet;
use super::secret::Secret;

/// For which ends a key is: those of an entry in a key file. An end that is not named may be any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyScope {
    /// Our side.
    pub local: Option<IpNet>,
    /// The peer's side.
    pub remote: Option<IpNet>,
}

impl KeyScope {
    /// How exactly these ends are named: the sum of the prefix lengths; `None` if the key is not for them.
    pub fn score(&self, local: IpAddr, remote: IpAddr) -> Option<u32> {
        let of = |net: &Option<IpNet>, end: IpAddr| match net {
            None => Some(0),
            Some(net) => net.contains(&end).then(|| u32::from(net.prefix_len())),
        };
        Some(of(&self.local, local)? + of(&self.remote, remote)?)
    }

    /// The entries that name these ends most exactly, in their order: as racoon chose them.
    pub fn best<T>(entries: &[(Self, T)], local: IpAddr, remote: IpAddr) -> impl Iterator<Item = &T> {
        let best = entries.iter().filter_map(|(scope, _)| scope.score(local, remote)).max();
        entries
            .iter()
            .filter(move |(scope, _)| best.is_some() && scope.score(local, remote) == best)
            .map(|(_, entry)| entry)
    }
}

/// The public numbers, big endian, without leading zero octets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RsaNumbers {
    /// n.
    pub modulus: Vec<u8>,
    /// e.
    pub exponent: Vec<u8>,
}

/// What only the owner of a key knows, big endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaSecrets {
    /// d.
    pub private_exponent: Secret,
    /// p, q, d mod (p - 1), d mod (q - 1), 1/q mod p, if all of them are there.
    pub factors: Option<[Secret; 5]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_names_the_ends_best_is_taken() {
        let net = |text: &str| Some(text.parse::<IpNet>().unwrap());
        let scope = |local, remote| KeyScope { local, remote };
        let entries = [
            (scope(None, None), 'a'),
            (scope(None, net("192.0.2.0/24")), 'b'),
            (scope(net("10.0.0.0/8"), net("192.0.2.0/24")), 'c'),
            (scope(None, net("192.0.2.7/32")), 'd'),
            (scope(net("10.0.0.0/8"), net("192.0.2.0/24")), 'e'),
            (scope(None, net("2001:db8::/32")), 'f'),
        ];
        let best = |local: &str, remote: &str| -> String {
            KeyScope::best(&entries, local.parse().unwrap(), remote.parse().unwrap()).collect()
        };
        assert_eq!(best("10.0.0.1", "192.0.2.9"), "ce", "both of them are tried");
        assert_eq!(best("172.16.0.1", "192.0.2.9"), "b");
        assert_eq!(best("172.16.0.1", "192.0.2.7"), "d");
        assert_eq!(best("10.0.0.1", "198.51.100.1"), "a");
        assert_eq!(best("fd00::1", "2001:db8::1"), "f");
        assert_eq!(KeyScope::best(&entries[1..], [10, 0, 0, 1].into(), [198, 51, 100, 1].into()).count(), 0);
    }
}
