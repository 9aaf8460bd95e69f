//! What names in a script stand for on this machine: the resolver's hosts, /etc/services, /etc/protocols.

use std::net::{IpAddr, ToSocketAddrs};

use policy::model::selector::UpperProtocol;
use policy::setkey::names::Names;

/// Looks names up when they are met; the files are read when the first one is.
#[derive(Default)]
pub struct SystemNames {
    services: Option<String>,
    protocols: Option<String>,
}

impl Names for SystemNames {
    fn addresses(&mut self, host: &str) -> Result<Vec<IpAddr>, String> {
        let found = (host, 0).to_socket_addrs().map_err(|error| {
            let text = error.to_string();
            text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
        })?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.map(|socket| socket.ip()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    fn port(&mut self, service: &str, protocol: UpperProtocol) -> Option<u16> {
        let text = self.services.get_or_insert_with(|| read("/etc/services"));
        let suffix = protocol.name()?;
        let number = lookup(text, service, |number| number.split_once('/').is_some_and(|(_, of)| of == suffix))?;
        number.split('/').next()?.parse().ok()
    }

    fn protocol(&mut self, name: &str) -> Option<UpperProtocol> {
        let text = self.protocols.get_or_insert_with(|| read("/etc/protocols"));
        lookup(text, name, |_| true)?.parse().ok().map(UpperProtocol)
    }
}

/// A machine without the file has no names.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `NAME NUMBER ALIAS... # comment`: the number of the first line that fits.
fn lookup<'a>(text: &'a str, wanted: &str, fits: impl Fn(&str) -> bool) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (name, number) = (words.next()?, words.next()?);
        let is_it = name == wanted || words.any(|alias| alias == wanted);
        (is_it && fits(number)).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_by_name_and_alias_for_their_protocol() {
        let mut names = SystemNames {
            services: Some("# x\ndomain\t53/tcp\ndomain\t53/udp\nl2f 1701/udp l2tp # y\n".to_owned()),
            protocols: Some("ospf 89 OSPFIGP\nbig 999\n".to_owned()),
        };
        assert_eq!(names.port("domain", UpperProtocol::TCP), Some(53));
        assert_eq!(names.port("l2tp", UpperProtocol::UDP), Some(1701));
        assert_eq!(names.port("l2tp", UpperProtocol::TCP), None);
        assert_eq!(names.protocol("OSPFIGP"), Some(UpperProtocol(89)));
        assert_eq!((names.protocol("big"), names.protocol("none")), (None, None));
    }

    #[test]
    fn numbers_are_no_names_but_localhost_is_one() {
        let found = SystemNames::default().addresses("localhost").unwrap_or_default();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(SystemNames::default().addresses("no-such-host.invalid").is_err());
    }
}
