//! What is asked of the kernel, what it answers and what it tells, as PF_KEY messages. Keys are left out: whoever listens wants
//! to know what happens. And all SAs as the messages of a dump's answer, which has them.

use std::net::IpAddr;

use policy::model::sa::{Direction, Mode, Protocol, Spi};
use policy::model::selector::{Selector, UpperProtocol};
use xfrm::model::limits::{Limits, Usage};
use xfrm::model::notice::{Acquire, Mapping, Notice, Severity};
use xfrm::model::policy::{Policy, PolicyKey, PolicyTarget, Verdict};
use xfrm::model::sa::{Sa, SaName, Stage};
use xfrm::model::template::{Need, Template};
use xfrm::request::{Request, SpiRequest};

use super::number::{self, extension, kind};
use crate::setkey::dump::sequence;
use crate::setkey::lower::FLAGS;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const ENOENT: u8 = 2;

/// The message, or nothing for what PF_KEY had no message for. `now` is Unix seconds.
pub fn message(notice: &Notice, now: u64) -> Option<Vec<u8>> {
    let about = |sa: &Sa, kind| Message::begin(kind, Some(sa.name.protocol), sa.seq);
    let out = match notice {
        Notice::SaAdded { sa, .. } => about(sa, kind::ADD).sa(sa, now),
        Notice::SaUpdated { sa, .. } => about(sa, kind::UPDATE).sa(sa, now),
        Notice::SaDeleted { sa, .. } => about(sa, kind::DELETE).sa(sa, now),
        Notice::SaExpired { sa, severity } => {
            let (limit, limits, stage) = match severity {
                Severity::Soft => (extension::LIFETIME_SOFT, &sa.lifetimes.soft, Stage::Dying),
                Severity::Hard => (extension::LIFETIME_HARD, &sa.lifetimes.hard, Stage::Dead),
            };
            about(sa, kind::EXPIRE).named(sa, stage).usage(&sa.usage).limits(limit, limits).ends(&sa.name)
        }
        Notice::SasFlushed { protocol, .. } => Message::begin(kind::FLUSH, *protocol, 0),
        Notice::Acquire(acquire) => asked(acquire),
        Notice::PolicyAdded { policy, .. } => Message::begin(kind::SPD_ADD, None, 0).policy(policy),
        Notice::PolicyUpdated { policy, .. } => Message::begin(kind::SPD_UPDATE, None, 0).policy(policy),
        Notice::PolicyDeleted { policy, .. } => Message::begin(kind::SPD_DELETE, None, 0).policy(policy),
        Notice::PolicyExpired { policy, .. } => Message::begin(kind::SPD_EXPIRE, None, 0).policy(policy),
        Notice::PoliciesFlushed { .. } => Message::begin(kind::SPD_FLUSH, None, 0),
        Notice::MappingChanged(mapping) => moved(mapping),
        Notice::Other { .. } | Notice::Unreadable { .. } | Notice::Overrun => return None,
    };
    Some(out.finish())
}

/// What PF_KEY would have sent for `request`, or nothing for what it had no message for.
pub fn request(request: &Request, now: u64) -> Option<Vec<u8>> {
    let named = |kind, name: &SaName| {
        let sa = Sa { replay_window: 0, ..Sa::new(*name, Mode::Transport) };
        Message::begin(kind, Some(name.protocol), 0).named(&sa, Stage::Larval).ends(name)
    };
    let out = match request {
        Request::AddSa(sa) => Message::begin(kind::ADD, Some(sa.name.protocol), sa.seq).sa(sa, now),
        Request::UpdateSa(sa) => Message::begin(kind::UPDATE, Some(sa.name.protocol), sa.seq).sa(sa, now),
        Request::DeleteSa { name, .. } => named(kind::DELETE, name),
        Request::GetSa { name, .. } => named(kind::GET, name),
        Request::AllocateSpi(wanted) => {
            let SpiRequest { protocol, src, dst, .. } = *wanted;
            let out = Message::begin(kind::GET_SPI, Some(protocol), wanted.seq);
            let out = out.address(extension::ADDRESS_SRC, src, None).address(extension::ADDRESS_DST, dst, None);
            out.range(wanted.min, wanted.max)
        }
        Request::FlushSas(protocol) => Message::begin(kind::FLUSH, *protocol, 0),
        Request::AddPolicy(policy) => Message::begin(kind::SPD_ADD, None, 0).policy(policy),
        Request::UpdatePolicy(policy) => Message::begin(kind::SPD_UPDATE, None, 0).policy(policy),
        Request::DeletePolicy(key) => Message::begin(kind::SPD_DELETE, None, 0).policy_name(key),
        Request::GetPolicy(key) => Message::begin(kind::SPD_GET, None, 0).policy_name(key),
        Request::FlushPolicies(_) => Message::begin(kind::SPD_FLUSH, None, 0),
        Request::RefreshPolicy(_) | Request::SadInfo | Request::SpdInfo => return None,
    };
    Some(out.finish())
}

/// The head of a message with an error number: how PF_KEY answered. 0 is success.
pub fn answer(request: &[u8], errno: i32) -> Vec<u8> {
    const UNITS: u16 = 2;
    let mut head: Vec<u8> = request.iter().copied().take(usize::from(UNITS) * 8).collect();
    head.iter_mut().skip(2).take(1).for_each(|octet| *octet = u8::try_from(errno).unwrap_or(u8::MAX));
    head.iter_mut().skip(4).zip(UNITS.to_ne_bytes()).for_each(|(octet, value)| *octet = value);
    head
}

/// `SADB_DUMP` and `SADB_X_SPDDUMP`: the question.
pub fn dump(what: Dumped) -> Vec<u8> {
    match what {
        Dumped::Sas(protocol) => Message::begin(kind::DUMP, protocol, 0),
        Dumped::Policies => Message::begin(kind::SPD_DUMP, None, 0),
    }
    .finish()
}

/// What a dump is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// SAs, of one protocol or of all.
    Sas(Option<Protocol>),
    /// Policies.
    Policies,
}

/// One SA that the kernel told of, as the answer `kind` to a question.
pub fn told_sa(kind: u8, sa: &Sa, now: u64) -> Vec<u8> {
    Message::begin(kind, Some(sa.name.protocol), sa.seq).sa(sa, now).finish()
}

/// One policy that the kernel told of in a dump.
pub fn told_policy(policy: &Policy) -> Vec<u8> {
    Message::begin(kind::SPD_DUMP, None, 0).policy(policy).finish()
}

/// Every SA, as the kernel answered `SADB_DUMP`: a message each, whose sequence numbers end with 0. Without any SA, one
/// message that says ENOENT. `now` is Unix seconds.
pub fn dumped(sas: &[Sa], now: u64, pid: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, sa) in sas.iter().enumerate() {
        let sequence = u32::try_from(sequence(index, sas.len())).unwrap_or(u32::MAX);
        let message = Message::begin(kind::DUMP, Some(sa.name.protocol), sequence).sa(sa, now).keys(sa);
        out.extend(message.from(pid).finish());
    }
    if sas.is_empty() {
        let nothing = Message::begin(kind::DUMP, None, 0).from(pid).failed(ENOENT);
        out.extend(nothing.finish());
    }
    out
}

fn asked(acquire: &Acquire) -> Message {
    let out = Message::begin(kind::ACQUIRE, Some(acquire.protocol), acquire.seq);
    let out = out.address(extension::ADDRESS_SRC, acquire.src, None).address(extension::ADDRESS_DST, acquire.dst, None);
    out.rule(&acquire.policy)
}

fn moved(mapping: &Mapping) -> Message {
    let ((old, old_port), (new, new_port)) = (mapping.old, mapping.new);
    let mut out = Message::begin(kind::NEW_MAPPING, Some(mapping.protocol), 0);
    let spi = mapping.spi.0.to_be_bytes();
    out.extend(extension::SA, &[spi.as_slice(), &[0; 8]].concat());
    let out = out.address(extension::ADDRESS_SRC, old, None).port(extension::NAT_T_SPORT, old_port);
    out.address(extension::ADDRESS_DST, new, None).port(extension::NAT_T_DPORT, new_port)
}

/// A message in the making. Lengths count eight octets.
struct Message(Vec<u8>);

impl Message {
    fn begin(kind: u8, protocol: Option<Protocol>, seq: u32) -> Self {
        let mut octets = vec![number::VERSION, kind, 0, number::sa_type(protocol), 0, 0, 0, 0];
        octets.extend(seq.to_ne_bytes());
        octets.extend([0; 4]);
        Self(octets)
    }

    /// The process that asked.
    fn from(mut self, pid: u32) -> Self {
        self.overwrite(12, &pid.to_ne_bytes());
        self
    }

    fn failed(mut self, errno: u8) -> Self {
        self.overwrite(2, &[errno]);
        self
    }

    fn overwrite(&mut self, at: usize, octets: &[u8]) {
        for (octet, value) in self.0.iter_mut().skip(at).zip(octets) {
            *octet = *value;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let units = u16::try_from(self.0.len() / 8).unwrap_or(u16::MAX);
        self.overwrite(4, &units.to_ne_bytes());
        self.0
    }

    fn extend(&mut self, extension: u16, body: &[u8]) {
        let units = u16::try_from((body.len() + 4).div_ceil(8)).unwrap_or(u16::MAX);
        self.0.extend(units.to_ne_bytes());
        self.0.extend(extension.to_ne_bytes());
        self.0.extend(body);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    /// `struct sadb_sa`, `struct sadb_x_sa2`.
    fn named(mut self, sa: &Sa, stage: Stage) -> Self {
        let aead = sa.aead.as_ref().map(|by| number::encryption(&by.kernel_name, u16::try_from(by.icv_bits).ok()));
        let cipher = sa.encryption.as_ref().map(|by| number::encryption(&by.kernel_name, None));
        let compression = sa.compression.as_ref().map(|_| number::DEFLATE);
        let encrypt = aead.or(cipher).or(compression).unwrap_or(0);
        let auth = sa.integrity.as_ref().map_or(0, |by| number::integrity(&by.kernel_name));
        let window = u8::try_from(sa.replay_window).unwrap_or(u8::MAX);
        let flags: u32 = FLAGS.iter().filter(|(xfrm, _)| sa.flags & xfrm != 0).map(|(_, pfkey)| pfkey).sum();
        let mut body = sa.name.spi.0.to_be_bytes().to_vec();
        body.extend([window, number::state(stage), auth, encrypt]);
        body.extend(flags.to_ne_bytes());
        self.extend(extension::SA, &body);
        let mut body = vec![number::mode(sa.mode), 0, 0, 0];
        body.extend(sa.seq.to_ne_bytes());
        body.extend(sa.reqid.0.to_ne_bytes());
        self.extend(extension::SA2, &body);
        self
    }

    fn sa(self, sa: &Sa, now: u64) -> Self {
        let limits = &sa.lifetimes;
        let out = self.named(sa, sa.stage(now)).limits(extension::LIFETIME_HARD, &limits.hard);
        let out = out.limits(extension::LIFETIME_SOFT, &limits.soft).usage(&sa.usage).ends(&sa.name);
        let Some(udp) = &sa.encapsulation else { return out };
        let mut out = out.port(extension::NAT_T_SPORT, udp.src_port).port(extension::NAT_T_DPORT, udp.dst_port);
        // UDP_ENCAP_ESPINUDP.
        out.extend(extension::NAT_T_TYPE, &[2, 0, 0, 0]);
        match udp.original_address {
            Some(original) => out.address(extension::NAT_T_OA, original, None),
            None => out,
        }
    }

    /// `struct sadb_key`, both of them.
    fn keys(mut self, sa: &Sa) -> Self {
        let encrypt = sa.encryption.as_ref().map(|by| &by.key).or(sa.aead.as_ref().map(|by| &by.key));
        let auth = sa.integrity.as_ref().map(|by| &by.key);
        for (extension, key) in [(extension::KEY_AUTH, auth), (extension::KEY_ENCRYPT, encrypt)] {
            let Some(key) = key.filter(|key| !key.is_empty()) else { continue };
            let bits = u16::try_from(key.len() * 8).unwrap_or(u16::MAX);
            self.extend(extension, &[&bits.to_ne_bytes(), &[0; 2], key.expose()].concat());
        }
        self
    }

    fn ends(self, name: &SaName) -> Self {
        self.address(extension::ADDRESS_SRC, name.src, None).address(extension::ADDRESS_DST, name.dst, None)
    }

    /// `struct sadb_lifetime`.
    fn lifetime(mut self, extension: u16, packets: u64, [bytes, added, used]: [u64; 3]) -> Self {
        let mut body = u32::try_from(packets).unwrap_or(u32::MAX).to_ne_bytes().to_vec();
        [bytes, added, used].iter().for_each(|number| body.extend(number.to_ne_bytes()));
        self.extend(extension, &body);
        self
    }

    fn limits(self, extension: u16, limits: &Limits) -> Self {
        let seconds = |limit: Option<std::time::Duration>| limit.map_or(0, |limit| limit.as_secs());
        let numbers = [limits.bytes.unwrap_or(0), seconds(limits.since_added), seconds(limits.since_used)];
        self.lifetime(extension, limits.packets.unwrap_or(0), numbers)
    }

    fn usage(self, usage: &Usage) -> Self {
        self.lifetime(extension::LIFETIME_CURRENT, usage.packets, [usage.bytes, usage.added_at, usage.used_at])
    }

    /// `struct sadb_address` with the whole address.
    fn address(self, extension: u16, address: IpAddr, port: Option<u16>) -> Self {
        let width = if address.is_ipv4() { 32 } else { 128 };
        self.net(extension, UpperProtocol::ANY, (address, width), port.unwrap_or(0))
    }

    fn net(mut self, extension: u16, protocol: UpperProtocol, (address, prefix): (IpAddr, u8), port: u16) -> Self {
        let mut body = vec![protocol.0, prefix, 0, 0];
        body.extend(socket_address(address, port));
        self.extend(extension, &body);
        self
    }

    fn port(mut self, extension: u16, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        self.extend(extension, &[high, low, 0, 0]);
        self
    }

    fn policy(self, policy: &Policy) -> Self {
        let Selector { src, dst, protocol, src_port, dst_port } = policy.selector;
        let out = self.net(extension::ADDRESS_SRC, protocol, (src.addr(), src.prefix_len()), src_port);
        let out = out.net(extension::ADDRESS_DST, protocol, (dst.addr(), dst.prefix_len()), dst_port);
        out.usage(&policy.usage).rule(policy)
    }

    /// `struct sadb_spirange`.
    fn range(mut self, min: Spi, max: Spi) -> Self {
        let body = [min.0.to_ne_bytes(), max.0.to_ne_bytes(), [0; 4]].concat();
        self.extend(extension::SPI_RANGE, &body);
        self
    }

    fn policy_name(self, key: &PolicyKey) -> Self {
        let (selector, index) = match key.target {
            PolicyTarget::Selector { selector, .. } => (selector, 0),
            PolicyTarget::Index(index) => return self.rule(&Policy { index, ..nameless(key.direction) }),
        };
        let policy = Policy { selector, index, ..nameless(key.direction) };
        let Selector { src, dst, protocol, src_port, dst_port } = selector;
        let out = self.net(extension::ADDRESS_SRC, protocol, (src.addr(), src.prefix_len()), src_port);
        let out = out.net(extension::ADDRESS_DST, protocol, (dst.addr(), dst.prefix_len()), dst_port);
        out.rule(&policy)
    }

    /// `struct sadb_x_policy` and its requests.
    fn rule(mut self, policy: &Policy) -> Self {
        let kind: u16 = match policy.verdict {
            Verdict::Block => 0,
            Verdict::Allow if policy.templates.is_empty() => 1,
            Verdict::Allow => 2,
        };
        let mut body = kind.to_ne_bytes().to_vec();
        body.extend([number::direction(policy.place.direction()), 0]);
        body.extend(policy.index.to_ne_bytes());
        body.extend(policy.priority.to_ne_bytes());
        policy.templates.iter().for_each(|template| body.extend(rule_request(template)));
        self.extend(extension::POLICY, &body);
        self
    }
}

/// A policy of which the direction alone counts.
fn nameless(direction: Direction) -> Policy {
    let any = Selector::hosts(IpAddr::from([0; 4]), IpAddr::from([0; 4]));
    Policy::new(any, direction, Verdict::Allow, Vec::new())
}

/// `struct sadb_x_ipsecrequest`.
fn rule_request(template: &Template) -> Vec<u8> {
    let level = match (template.need, template.reqid.0) {
        (Need::Optional, _) => 1,
        (Need::Required, 0) => 2,
        (Need::Required, _) => 3,
    };
    let mut ends = Vec::new();
    for address in template.endpoints.into_iter().flat_map(|(src, dst)| [src, dst]) {
        ends.extend(socket_address(address, 0));
    }
    let length = u16::try_from(16 + ends.len()).unwrap_or(u16::MAX).next_multiple_of(8);
    let mut out = length.to_ne_bytes().to_vec();
    out.extend(u16::from(template.protocol.ip_number()).to_ne_bytes());
    out.extend([number::mode(template.mode), level, 0, 0]);
    out.extend(template.reqid.0.to_ne_bytes());
    out.extend([0; 4]);
    out.extend(ends);
    out.resize(usize::from(length), 0);
    out
}

/// `struct sockaddr_in`, `struct sockaddr_in6`.
fn socket_address(address: IpAddr, port: u16) -> Vec<u8> {
    let mut out = Vec::new();
    match address {
        IpAddr::V4(address) => {
            out.extend(AF_INET.to_ne_bytes());
            out.extend(port.to_be_bytes());
            out.extend(address.octets());
            out.extend([0; 8]);
        }
        IpAddr::V6(address) => {
            out.extend(AF_INET6.to_ne_bytes());
            out.extend(port.to_be_bytes());
            out.extend([0; 4]);
            out.extend(address.octets());
            out.extend([0; 4]);
        }
    }
    out
}
