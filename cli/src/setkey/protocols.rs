//! Names of upper-layer protocols, as /etc/protocols has them on this machine.

use std::collections::HashMap;

/// Where the names come from.
const FILE: &str = "/etc/protocols";

/// For machines without the file.
const BUILT_IN: [(u8, &str); 14] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (17, "udp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (89, "ospf"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
];

/// A name for each number that has one.
pub struct Protocols(HashMap<u8, String>);

impl Protocols {
    /// The machine's names, or the built-in ones.
    pub fn load() -> Self {
        match std::fs::read_to_string(FILE) {
            Ok(text) => Self::parse(&text),
            Err(_) => Self::built_in(),
        }
    }

    /// The built-in names.
    pub fn built_in() -> Self {
        Self(BUILT_IN.iter().map(|(number, name)| (*number, (*name).to_owned())).collect())
    }

    /// `NAME NUMBER ALIAS... # comment`; of several lines for a number the first counts.
    fn parse(text: &str) -> Self {
        let mut names = HashMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            if let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) {
                names.entry(number).or_insert_with(|| name.to_owned());
            }
        }
        Self(names)
    }

    /// The name, or the number itself.
    pub fn name(&self, number: u8) -> String {
        self.0.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_getprotobynumber_does() {
        let protocols = Protocols::parse("# x\nip\t0\tIP\nipencap 4 IP-ENCAP # IP in IP\nother 4\nbroken\nbig 999\n");
        assert_eq!(protocols.name(4), "ipencap");
        assert_eq!(protocols.name(99), "99");
        assert_eq!(Protocols::built_in().name(58), "ipv6-icmp");
    }
}
