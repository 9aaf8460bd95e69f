//! The identification payload of both phases (RFC 2408 §3.8, RFC 2407 §4.6.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::model::identity::Identity;

use super::error::WireError;
use super::number::IdType;
use super::reader::Reader;
use super::writer::Writer;

/// Who somebody is (phase 1), or which packets an SA is for (phase 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPayload {
    /// Type of the data.
    pub kind: IdType,
    /// IP protocol; 0 any.
    pub protocol: u8,
    /// Port; 0 any.
    pub port: u16,
    /// The identity itself.
    pub data: Vec<u8>,
}

impl IdPayload {
    /// Reads the body of an ID payload. What the data says is judged by [`Self::to_identity`].
    ///
    /// # Errors
    /// [`WireError::Truncated`] below four octets.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        Ok(Self {
            kind: IdType(reader.u8("identification type")?),
            protocol: reader.u8("identification protocol")?,
            port: reader.u16("identification port")?,
            data: reader.rest().to_vec(),
        })
    }

    /// The body as octets: what HASH_I and HASH_R cover (IDii_b, IDir_b).
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(self.kind.0).u8(self.protocol).u16(self.port).octets(&self.data);
        writer.into_octets()
    }

    /// What the data says. Host bits below a subnet's mask are dropped.
    ///
    /// # Errors
    /// [`WireError`] for data of another length than its type has, a mask with a hole, a range that ends before it
    /// begins, a name that is not plain text, or a type without meaning here (DER_ASN1_GN, unknown ones).
    pub fn to_identity(&self) -> Result<Identity, WireError> {
        Ok(match self.kind {
            IdType::IPV4_ADDR => Identity::Address(self.v4([0])?[0].into()),
            IdType::IPV6_ADDR => Identity::Address(self.v6([0])?[0].into()),
            IdType::IPV4_ADDR_SUBNET => {
                let [address, mask] = self.v4([0, 1])?;
                let net = Ipv4Net::with_netmask(address, mask).map_err(|_| WireError::IdMask)?;
                Identity::Subnet(IpNet::V4(net.trunc()))
            }
            IdType::IPV6_ADDR_SUBNET => {
                let [address, mask] = self.v6([0, 1])?;
                let net = Ipv6Net::with_netmask(address, mask).map_err(|_| WireError::IdMask)?;
                Identity::Subnet(IpNet::V6(net.trunc()))
            }
            IdType::IPV4_ADDR_RANGE => range(self.v4([0, 1])?)?,
            IdType::IPV6_ADDR_RANGE => range(self.v6([0, 1])?)?,
            IdType::FQDN => Identity::Fqdn(self.text()?),
            IdType::USER_FQDN => Identity::UserFqdn(self.text()?),
            IdType::DER_ASN1_DN => Identity::Asn1Dn(self.filled()?.to_vec()),
            IdType::KEY_ID => Identity::KeyId(self.filled()?.to_vec()),
            other => return Err(WireError::IdType(other)),
        })
    }

    /// The payload that says `identity`.
    pub fn from_identity(identity: &Identity, protocol: u8, port: u16) -> Self {
        let pair = |first: IpAddr, second: IpAddr| [octets(first), octets(second)].concat();
        let (kind, data) = match identity {
            Identity::Address(address @ IpAddr::V4(_)) => (IdType::IPV4_ADDR, octets(*address)),
            Identity::Address(address @ IpAddr::V6(_)) => (IdType::IPV6_ADDR, octets(*address)),
            Identity::Subnet(net @ IpNet::V4(_)) => (IdType::IPV4_ADDR_SUBNET, pair(net.network(), net.netmask())),
            Identity::Subnet(net @ IpNet::V6(_)) => (IdType::IPV6_ADDR_SUBNET, pair(net.network(), net.netmask())),
            Identity::Range(first, last) => {
                let kind = if first.is_ipv4() { IdType::IPV4_ADDR_RANGE } else { IdType::IPV6_ADDR_RANGE };
                (kind, pair(*first, *last))
            }
            Identity::Fqdn(name) => (IdType::FQDN, name.clone().into_bytes()),
            Identity::UserFqdn(name) => (IdType::USER_FQDN, name.clone().into_bytes()),
            Identity::Asn1Dn(der) => (IdType::DER_ASN1_DN, der.clone()),
            Identity::KeyId(octets) => (IdType::KEY_ID, octets.clone()),
        };
        Self { kind, protocol, port, data }
    }

    fn length_error(&self) -> WireError {
        WireError::IdLength { kind: self.kind, octets: self.data.len() }
    }

    /// `N` IPv4 addresses that fill the data; the argument names their positions.
    fn v4<const N: usize>(&self, positions: [usize; N]) -> Result<[Ipv4Addr; N], WireError> {
        let addresses = self.parts::<4>(N)?;
        Ok(positions.map(|position| addresses.get(position).copied().unwrap_or_default().into()))
    }

    /// As [`Self::v4`].
    fn v6<const N: usize>(&self, positions: [usize; N]) -> Result<[Ipv6Addr; N], WireError> {
        let addresses = self.parts::<16>(N)?;
        Ok(positions.map(|position| addresses.get(position).copied().unwrap_or_default().into()))
    }

    fn parts<const LEN: usize>(&self, count: usize) -> Result<Vec<[u8; LEN]>, WireError> {
        let (parts, rest) = self.data.as_chunks::<LEN>();
        if parts.len() != count || !rest.is_empty() {
            return Err(self.length_error());
        }
        Ok(parts.to_vec())
    }

    fn filled(&self) -> Result<&[u8], WireError> {
        if self.data.is_empty() { Err(self.length_error()) } else { Ok(&self.data) }
    }

    /// A name that can be logged and compared as it stands: no NUL hides a second name behind it (RFC 4945 §3.1).
    fn text(&self) -> Result<String, WireError> {
        let refused = WireError::IdText { kind: self.kind };
        match std::str::from_utf8(self.filled()?) {
            Ok(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
            _ => Err(refused),
        }
    }
}

fn range<T: Ord + Into<IpAddr>>([first, last]: [T; 2]) -> Result<Identity, WireError> {
    if first > last { Err(WireError::IdRange) } else { Ok(Identity::Range(first.into(), last.into())) }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(kind: u8, data: &[u8]) -> Result<Identity, WireError> {
        IdPayload { kind: IdType(kind), protocol: 0, port: 0, data: data.to_vec() }.to_identity()
    }

    #[test]
    fn every_identity_survives_a_round_trip() {
        let v6 = |text: &str| IpAddr::V6(text.parse().unwrap());
        let v4 = |text: &str| IpAddr::V4(text.parse().unwrap());
        for identity in [
            Identity::Address(v4("192.0.2.1")),
            Identity::Address(v6("2001:db8::1")),
            Identity::Subnet("192.0.2.0/25".parse().unwrap()),
            Identity::Subnet("0.0.0.0/0".parse().unwrap()),
            Identity::Subnet("2001:db8::/33".parse().unwrap()),
            Identity::Range(v4("192.0.2.1"), v4("192.0.2.9")),
            Identity::Range(v6("2001:db8::1"), v6("2001:db8::1")),
            Identity::Fqdn("alice.example".into()),
            Identity::UserFqdn("carol@exämple.example".into()),
            Identity::KeyId(vec![0, 1, 255]),
            Identity::Asn1Dn(vec![0x30, 0]),
        ] {
            let payload = IdPayload::from_identity(&identity, 17, 1701);
            let decoded = IdPayload::decode(&payload.encode()).unwrap();
            assert_eq!(decoded, payload);
            assert_eq!(decoded.to_identity(), Ok(identity));
        }
    }

    #[test]
    fn wrong_lengths_are_refused_for_every_type() {
        let right = [(1, 4), (4, 8), (5, 16), (6, 32), (7, 8), (8, 32)];
        for kind in 0..=12 {
            for length in 0..=40 {
                let outcome = identity(kind, &vec![0; length]);
                let legal = right.contains(&(kind, length)) || (matches!(kind, 9 | 11) && length > 0);
                assert_eq!(outcome.is_ok(), legal, "type {kind}, {length} octets: {outcome:?}");
            }
        }
        assert_eq!(identity(255, &[0; 4]), Err(WireError::IdType(IdType(255))));
        assert!(matches!(IdPayload::decode(&[1, 0, 0]), Err(WireError::Truncated { .. })));
    }

    #[test]
    fn masks_ranges_and_names_are_checked() {
        assert_eq!(identity(4, &[10, 0, 0, 0, 255, 0, 255, 0]), Err(WireError::IdMask));
        assert_eq!(identity(4, &[10, 0, 0, 9, 255, 0, 0, 0]), Ok(Identity::Subnet("10.0.0.0/8".parse().unwrap())));
        assert_eq!(identity(7, &[10, 0, 0, 2, 10, 0, 0, 1]), Err(WireError::IdRange));
        for name in [b"good\0.evil".as_slice(), b"a\nb", b"\xff", b"a\x7f", "a\u{85}".as_bytes()] {
            assert_eq!(identity(2, name), Err(WireError::IdText { kind: IdType::FQDN }), "{name:?}");
        }
    }
}
