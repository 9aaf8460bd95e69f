//! Mode config as server: what a client is told, asked or not.

use std::net::Ipv4Addr;

use policy::model::addr::IpNet;
use policy::model::mode_config::{ModeConfig, SplitKind};

use crate::wire::attribute::Attribute;
use crate::wire::config_payload::{number, octets};
use crate::wire::number::ConfigAttribute;

/// Octets of a banner.
const LONGEST_BANNER: usize = 2048;

/// What there is to tell one client.
pub(crate) struct Offer<'a> {
    pub(crate) config: &'a ModeConfig,
    /// Its address.
    pub(crate) address: Option<Ipv4Addr>,
    /// And its netmask.
    pub(crate) netmask: Option<Ipv4Addr>,
    /// Seconds for which it has it.
    pub(crate) seconds: u32,
    /// What the banner's file holds.
    pub(crate) banner: Option<&'a str>,
}

/// Everything that we know, in the order of their numbers.
const KNOWN: [ConfigAttribute; 15] = [
    ConfigAttribute::IP4_ADDRESS,
    ConfigAttribute::IP4_NETMASK,
    ConfigAttribute::IP4_DNS,
    ConfigAttribute::IP4_NBNS,
    ConfigAttribute::ADDRESS_EXPIRY,
    ConfigAttribute::APPLICATION_VERSION,
    ConfigAttribute::IP4_SUBNET,
    ConfigAttribute::SUPPORTED_ATTRIBUTES,
    ConfigAttribute::UNITY_BANNER,
    ConfigAttribute::UNITY_SAVE_PASSWD,
    ConfigAttribute::UNITY_DEF_DOMAIN,
    ConfigAttribute::UNITY_SPLITDNS_NAME,
    ConfigAttribute::UNITY_SPLIT_INCLUDE,
    ConfigAttribute::UNITY_LOCAL_LAN,
    ConfigAttribute::UNITY_PFS,
];

/// What a SET begins with; what goes on only to clients that know Cisco's attributes is behind.
const PUSHED: [ConfigAttribute; 4] =
    [ConfigAttribute::IP4_ADDRESS, ConfigAttribute::IP4_NETMASK, ConfigAttribute::IP4_DNS, ConfigAttribute::IP4_NBNS];

impl Offer<'_> {
    /// The answer to a REQUEST: of what is asked for whatever there is, each once (the draft lets a server leave out
    /// what it has not).
    pub(crate) fn reply(&self, asked: &[Attribute]) -> Vec<Attribute> {
        let mut kinds: Vec<ConfigAttribute> = Vec::new();
        for kind in asked.iter().map(|one| ConfigAttribute(one.kind)) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds.into_iter().flat_map(|kind| self.values(kind)).collect()
    }

    /// What a SET gives.
    pub(crate) fn push(&self, unity: bool) -> Vec<Attribute> {
        let unity = KNOWN.iter().filter(|kind| unity && kind.0 >= ConfigAttribute::UNITY_BANNER.0);
        PUSHED.iter().chain(unity).flat_map(|kind| self.values(*kind)).collect()
    }

    fn values(&self, kind: ConfigAttribute) -> Vec<Attribute> {
        let config = self.config;
        let address = |address: &Ipv4Addr| octets(kind, address.octets());
        match kind {
            ConfigAttribute::IP4_ADDRESS => self.address.iter().map(address).collect(),
            ConfigAttribute::IP4_NETMASK => {
                self.netmask.iter().filter(|_| self.address.is_some()).map(address).collect()
            }
            ConfigAttribute::IP4_DNS => config.dns4.iter().map(address).collect(),
            ConfigAttribute::IP4_NBNS => config.wins4.iter().map(address).collect(),
            ConfigAttribute::ADDRESS_EXPIRY if self.address.is_some() => {
                vec![octets(kind, self.seconds.to_be_bytes())]
            }
            ConfigAttribute::APPLICATION_VERSION => vec![octets(kind, *b"xfrmd")],
            ConfigAttribute::IP4_SUBNET => {
                self.networks(SplitKind::Include).map(|net| octets(kind, subnet(net))).collect()
            }
            ConfigAttribute::SUPPORTED_ATTRIBUTES => {
                vec![octets(kind, KNOWN.iter().flat_map(|known| known.0.to_be_bytes()).collect::<Vec<u8>>())]
            }
            _ => self.unity(kind),
        }
    }

    fn unity(&self, kind: ConfigAttribute) -> Vec<Attribute> {
        let config = self.config;
        let split = |split: SplitKind| {
            let list: Vec<u8> = self.networks(split).flat_map(|net| [subnet(net), vec![0; 6]].concat()).collect();
            if list.is_empty() { Vec::new() } else { vec![octets(kind, list)] }
        };
        match kind {
            ConfigAttribute::UNITY_BANNER => {
                let cut = |text: &str| text.as_bytes().get(..text.len().min(LONGEST_BANNER)).map(<[u8]>::to_vec);
                self.banner
                    .filter(|text| !text.is_empty())
                    .and_then(cut)
                    .map(|text| octets(kind, text))
                    .into_iter()
                    .collect()
            }
            ConfigAttribute::UNITY_SAVE_PASSWD => vec![number(kind, u16::from(config.save_password))],
            ConfigAttribute::UNITY_DEF_DOMAIN => {
                config.default_domain.iter().map(|name| octets(kind, name.as_bytes())).collect()
            }
            ConfigAttribute::UNITY_SPLITDNS_NAME if !config.split_dns.is_empty() => {
                vec![octets(kind, config.split_dns.join(",").into_bytes())]
            }
            ConfigAttribute::UNITY_SPLIT_INCLUDE => split(SplitKind::Include),
            ConfigAttribute::UNITY_LOCAL_LAN => split(SplitKind::LocalLan),
            ConfigAttribute::UNITY_PFS => config.pfs_group.iter().map(|group| number(kind, *group)).collect(),
            _ => Vec::new(),
        }
    }

    fn networks(&self, kind: SplitKind) -> impl Iterator<Item = &IpNet> {
        self.config.split_network.iter().filter(move |(of, _)| *of == kind).flat_map(|(_, nets)| nets)
    }
}

/// Address and netmask.
fn subnet(net: &IpNet) -> Vec<u8> {
    match net {
        IpNet::V4(net) => [net.network().octets(), net.netmask().octets()].concat(),
        IpNet::V6(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::configuration::Configuration;
    use crate::transaction::mode_config_client::request;
    use crate::wire::config_payload::empty;

    fn config() -> ModeConfig {
        ModeConfig {
            netmask4: Some(Ipv4Addr::new(255, 255, 255, 0)),
            dns4: vec![Ipv4Addr::new(10, 3, 0, 1), Ipv4Addr::new(10, 3, 0, 2)],
            split_network: Some((
                SplitKind::Include,
                vec!["10.12.0.0/24".parse().unwrap(), "10.13.0.0/16".parse().unwrap()],
            )),
            split_dns: vec!["a.example".to_owned(), "b.example".to_owned()],
            default_domain: Some("corp.example".to_owned()),
            pfs_group: Some(14),
            save_password: true,
            ..ModeConfig::default()
        }
    }

    #[test]
    fn a_client_reads_what_a_server_tells() {
        let config = config();
        let address = Some(Ipv4Addr::new(10, 3, 0, 7));
        let offer = Offer { config: &config, address, netmask: config.netmask4, seconds: 60, banner: Some("welcome") };
        for told in [offer.reply(&request(None, true)), offer.push(true)] {
            let read = Configuration::read(&told);
            assert_eq!((read.address, read.netmask), (address, config.netmask4));
            assert_eq!(read.dns, config.dns4);
            assert_eq!(
                (read.split_dns, read.default_domain),
                (config.split_dns.clone(), config.default_domain.clone())
            );
            assert_eq!(Some((SplitKind::Include, read.split_include)), config.split_network);
            assert_eq!(
                (read.banner.as_deref(), read.save_password, read.pfs_group),
                (Some("welcome"), Some(true), Some(14))
            );
        }
        assert!(offer.push(false).iter().all(|one| one.kind < ConfigAttribute::UNITY_BANNER.0));
    }

    #[test]
    fn only_what_is_asked_for_and_known_is_answered() {
        let config = config();
        let offer = Offer { config: &config, address: None, netmask: config.netmask4, seconds: 60, banner: None };
        let asked =
            [empty(ConfigAttribute::IP4_ADDRESS), empty(ConfigAttribute(999)), empty(ConfigAttribute::IP4_NETMASK)];
        assert_eq!(offer.reply(&asked), []);
        let twice = [empty(ConfigAttribute::IP4_DNS), empty(ConfigAttribute::IP4_DNS)];
        assert_eq!(offer.reply(&twice).len(), 2, "one for each server, however often it is asked");
    }
}
