//! What mode config gave us, cleaned: whatever a script could stumble over is left out here (ATTACKS A-29).

use std::net::{IpAddr, Ipv4Addr};

use policy::model::addr::IpNet;
use policy::model::mode_config::is_domain;

use crate::wire::attribute::Attribute;
use crate::wire::config_payload::value;
use crate::wire::number::ConfigAttribute;

/// Addresses of servers, networks and domains taken, each.
const MOST: usize = 64;

/// Octets of a banner.
const LONGEST_BANNER: usize = 4096;

/// The peer's configuration for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Our address in its network.
    pub address: Option<Ipv4Addr>,
    /// Its netmask.
    pub netmask: Option<Ipv4Addr>,
    /// DNS servers.
    pub dns: Vec<Ipv4Addr>,
    /// WINS servers.
    pub wins: Vec<Ipv4Addr>,
    /// Domain of names without one.
    pub default_domain: Option<String>,
    /// Domains that its DNS servers know.
    pub split_dns: Vec<String>,
    /// Networks behind the tunnel; none is all.
    pub split_include: Vec<IpNet>,
    /// Networks that stay outside.
    pub local_lan: Vec<IpNet>,
    /// Words for the user, as text; control characters may be among them.
    pub banner: Option<String>,
    /// May the password be kept?
    pub save_password: Option<bool>,
    /// The group of quick mode.
    pub pfs_group: Option<u16>,
    /// Seconds for which the address may be used.
    pub expiry: Option<u32>,
}

impl Configuration {
    /// Reads what a REPLY or a SET carries. Values that make no sense, and attributes nobody knows, are left out.
    pub fn read(attributes: &[Attribute]) -> Self {
        let mut read = Self::default();
        attributes.iter().for_each(|attribute| read.take(attribute));
        read
    }

    fn take(&mut self, attribute: &Attribute) {
        let octets = value(attribute);
        match ConfigAttribute(attribute.kind) {
            ConfigAttribute::IP4_ADDRESS => self.address = self.address.or(host(&octets)),
            ConfigAttribute::IP4_NETMASK => self.netmask = self.netmask.or(netmask(&octets)),
            ConfigAttribute::IP4_DNS => self.dns.extend(host(&octets).filter(|_| self.dns.len() < MOST)),
            ConfigAttribute::IP4_NBNS => self.wins.extend(host(&octets).filter(|_| self.wins.len() < MOST)),
            ConfigAttribute::ADDRESS_EXPIRY => {
                self.expiry = attribute.as_number().and_then(|number| u32::try_from(number).ok());
            }
            ConfigAttribute::UNITY_DEF_DOMAIN => self.default_domain = domains(&octets).into_iter().next(),
            ConfigAttribute::UNITY_SPLITDNS_NAME => {
                self.split_dns.extend(domains(&octets));
                self.split_dns.truncate(MOST);
            }
            ConfigAttribute::UNITY_SPLIT_INCLUDE | ConfigAttribute::IP4_SUBNET => {
                add_networks(&mut self.split_include, &octets);
            }
            ConfigAttribute::UNITY_LOCAL_LAN => add_networks(&mut self.local_lan, &octets),
            ConfigAttribute::UNITY_BANNER => {
                let octets = octets.get(..octets.len().min(LONGEST_BANNER)).unwrap_or_default();
                self.banner = Some(String::from_utf8_lossy(octets).into_owned()).filter(|text| !text.is_empty());
            }
            ConfigAttribute::UNITY_SAVE_PASSWD => self.save_password = attribute.as_number().map(|number| number != 0),
            ConfigAttribute::UNITY_PFS => {
                self.pfs_group = attribute.as_number().and_then(|number| u16::try_from(number).ok());
            }
            _ => {}
        }
    }
}

/// An address that a host may have, or a server.
fn host(octets: &[u8]) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?);
    let odd = address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast();
    (!odd).then_some(address)
}

fn netmask(octets: &[u8]) -> Option<Ipv4Addr> {
    let mask = Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?);
    prefix(mask).map(|_| mask)
}

/// The prefix length of a netmask.
pub fn prefix(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (ones + bits.trailing_zeros() >= u32::BITS).then(|| u8::try_from(ones).unwrap_or(32))
}

/// Address and mask, each entry followed by six octets (protocol and ports) that Cisco's clients ignore; alone they are
/// a subnet attribute.
fn add_networks(list: &mut Vec<IpNet>, octets: &[u8]) {
    let size = if octets.len().is_multiple_of(14) { 14 } else { 8 };
    for entry in octets.chunks_exact(size) {
        let part = |from: usize| entry.get(from..from + 4).and_then(|part| <[u8; 4]>::try_from(part).ok());
        let (Some(address), Some(mask)) = (part(0), part(4)) else { continue };
        let Some(length) = prefix(Ipv4Addr::from(mask)) else { continue };
        if let Ok(net) = IpNet::new(IpAddr::V4(address.into()), length)
            && list.len() < MOST
            && !list.contains(&net.trunc())
        {
            list.push(net.trunc());
        }
    }
}

/// Names divided by commas, blanks or NULs; what is no name is left out.
fn domains(octets: &[u8]) -> Vec<String> {
    octets
        .split(|octet| matches!(octet, b',' | b' ' | 0))
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| is_domain(name))
        .take(MOST)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::config_payload::{number, octets};

    #[test]
    fn what_a_script_could_stumble_over_is_left_out() {
        let read = Configuration::read(&[
            octets(ConfigAttribute::IP4_ADDRESS, [127, 0, 0, 1]),
            octets(ConfigAttribute::IP4_ADDRESS, [10, 3, 0, 7]),
            octets(ConfigAttribute::IP4_NETMASK, [255, 0, 255, 0]),
            octets(ConfigAttribute::IP4_DNS, *b"toolong"),
            octets(ConfigAttribute::IP4_DNS, [10, 3, 0, 1]),
            octets(ConfigAttribute::UNITY_DEF_DOMAIN, *b"$(reboot)"),
            octets(ConfigAttribute::UNITY_SPLITDNS_NAME, *b"a.example,;rm -rf /,b.example\nX=1\0c.example"),
            octets(
                ConfigAttribute::UNITY_SPLIT_INCLUDE,
                [[10u8, 12, 0, 9, 255, 255, 255, 0].as_slice(), &[0; 6]].concat(),
            ),
            octets(ConfigAttribute::UNITY_BANNER, vec![b'x'; 65_000]),
            number(ConfigAttribute::UNITY_PFS, 14),
            octets(ConfigAttribute(999), *b"?"),
        ]);
        assert_eq!(read.address, Some(Ipv4Addr::new(10, 3, 0, 7)));
        assert_eq!((read.netmask, read.default_domain), (None, None));
        assert_eq!(read.dns, [Ipv4Addr::new(10, 3, 0, 1)]);
        assert_eq!(read.split_dns, ["a.example", "c.example"]);
        assert_eq!(read.split_include, ["10.12.0.0/24".parse::<IpNet>().unwrap()]);
        assert_eq!(read.banner.map(|text| text.len()), Some(LONGEST_BANNER));
        assert_eq!(read.pfs_group, Some(14));
    }
}
