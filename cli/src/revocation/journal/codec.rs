//! An entry as octets and back. Lengths are checked on both ways; what does not parse whole is no entry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ike::event::question::CertificateId;
use ike::event::sa::{Owner, SaName};
use policy::model::addr::IpNet;
use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::selector::{Selector, UpperProtocol};

use super::{Deadline, Entry};

pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut out = Encoder::default();
    out.sa_name(&entry.inbound);
    out.sa_name(&entry.outbound);
    out.u8(match entry.mode {
        Mode::Transport => 0,
        Mode::Tunnel => 1,
    });
    out.u32(entry.reqid.0);
    out.net(&entry.selector.src);
    out.net(&entry.selector.dst);
    out.u8(entry.selector.protocol.0);
    out.u16(entry.selector.src_port);
    out.u16(entry.selector.dst_port);
    out.owner(&entry.owner);
    for deadline in [&entry.soft, &entry.hard] {
        out.u64(u64::try_from(deadline.boottime.as_millis()).unwrap_or(u64::MAX));
        out.u64(deadline.wall);
    }
    // Last, and only where there is one: entries of older daemons end here.
    if let Some(main) = &entry.beside {
        out.sa_name(main);
    }
    out.octets
}

pub(super) fn decode(octets: &[u8]) -> Option<Entry> {
    let mut from = Decoder { rest: octets };
    let entry = Entry {
        inbound: from.sa_name()?,
        outbound: from.sa_name()?,
        mode: match from.u8()? {
            0 => Mode::Transport,
            1 => Mode::Tunnel,
            _ => return None,
        },
        reqid: ReqId(from.u32()?),
        selector: Selector {
            src: from.net()?,
            dst: from.net()?,
            protocol: UpperProtocol(from.u8()?),
            src_port: from.u16()?,
            dst_port: from.u16()?,
        },
        owner: from.owner()?,
        soft: from.deadline()?,
        hard: from.deadline()?,
        beside: if from.rest.is_empty() { None } else { Some(from.sa_name()?) },
    };
    from.rest.is_empty().then_some(entry)
}

#[derive(Default)]
struct Encoder {
    octets: Vec<u8>,
}

impl Encoder {
    fn u8(&mut self, value: u8) {
        self.octets.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.octets.extend(value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.octets.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.octets.extend(value.to_ne_bytes());
    }

    /// Longer than `u32::MAX` cannot be: the record as a whole is limited far below.
    fn blob(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.octets.extend_from_slice(value);
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.u8(4);
                self.octets.extend(address.octets());
            }
            IpAddr::V6(address) => {
                self.u8(6);
                self.octets.extend(address.octets());
            }
        }
    }

    fn net(&mut self, net: &IpNet) {
        self.address(net.addr());
        self.u8(net.prefix_len());
    }

    fn sa_name(&mut self, name: &SaName) {
        self.u8(name.protocol.ip_number());
        self.u32(name.spi.0);
        self.address(name.src);
        self.address(name.dst);
    }

    fn socket(&mut self, at: SocketAddr) {
        self.address(at.ip());
        self.u16(at.port());
    }

    fn identity(&mut self, identity: &Identity) {
        match identity {
            Identity::Address(address) => {
                self.u8(1);
                self.address(*address);
            }
            Identity::Subnet(net) => {
                self.u8(2);
                self.net(net);
            }
            Identity::Range(first, last) => {
                self.u8(3);
                self.address(*first);
                self.address(*last);
            }
            Identity::Fqdn(name) => {
                self.u8(4);
                self.blob(name.as_bytes());
            }
            Identity::UserFqdn(name) => {
                self.u8(5);
                self.blob(name.as_bytes());
            }
            Identity::KeyId(octets) => {
                self.u8(6);
                self.blob(octets);
            }
            Identity::Asn1Dn(octets) => {
                self.u8(7);
                self.blob(octets);
            }
        }
    }

    fn owner(&mut self, owner: &Owner) {
        self.socket(owner.local);
        self.socket(owner.peer);
        self.identity(&owner.identity);
        self.u8(owner.certificates.len() as u8);
        for certificate in &owner.certificates {
            self.octets.extend(certificate.issuer_key);
            self.blob(&certificate.serial);
        }
        match &owner.issuer {
            Some(issuer) => {
                self.u8(1);
                self.blob(issuer.as_bytes());
            }
            None => self.u8(0),
        }
        self.octets.extend(owner.cookies.0);
        self.octets.extend(owner.cookies.1);
    }
}

struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    fn blob(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.blob()?.to_vec()).ok()
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.u8()? {
            4 => self.array::<4>().map(|octets| Ipv4Addr::from(octets).into()),
            6 => self.array::<16>().map(|octets| Ipv6Addr::from(octets).into()),
            _ => None,
        }
    }

    fn net(&mut self) -> Option<IpNet> {
        let address = self.address()?;
        IpNet::new(address, self.u8()?).ok()
    }

    fn sa_name(&mut self) -> Option<SaName> {
        Some(SaName {
            protocol: Protocol::from_ip_number(self.u8()?)?,
            spi: Spi(self.u32()?),
            src: self.address()?,
            dst: self.address()?,
        })
    }

    fn socket(&mut self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address()?, self.u16()?))
    }

    fn identity(&mut self) -> Option<Identity> {
        Some(match self.u8()? {
            1 => Identity::Address(self.address()?),
            2 => Identity::Subnet(self.net()?),
            3 => Identity::Range(self.address()?, self.address()?),
            4 => Identity::Fqdn(self.text()?),
            5 => Identity::UserFqdn(self.text()?),
            6 => Identity::KeyId(self.blob()?.to_vec()),
            7 => Identity::Asn1Dn(self.blob()?.to_vec()),
            _ => return None,
        })
    }

    fn owner(&mut self) -> Option<Owner> {
        let (local, peer, identity) = (self.socket()?, self.socket()?, self.identity()?);
        let certificates = (0..self.u8()?)
            .map(|_| Some(CertificateId { issuer_key: self.array()?, serial: self.blob()?.to_vec() }))
            .collect::<Option<Vec<_>>>()?;
        let issuer = match self.u8()? {
            0 => None,
            1 => Some(self.text()?),
            _ => return None,
        };
        Some(Owner { local, peer, identity, certificates, issuer, cookies: (self.array()?, self.array()?) })
    }

    fn deadline(&mut self) -> Option<Deadline> {
        Some(Deadline { boottime: Duration::from_millis(self.u64()?), wall: self.u64()? })
    }
}
