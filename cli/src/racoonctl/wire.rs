//! What the original's programs exchange over the socket: C structures of the machine, `struct admin_com` in front
//! (RACOON 3.3), as a compiler for 64-bit Linux lays them out. So that a `racoonctl` of ipsec-tools finds an answer.
//!
//! SAs of the kernel (`show-sa esp`) go as messages of PF_KEY: [`crate::setkey::pfkey::message::dump`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use policy::model::addr::IpNet;
use zeroize::Zeroizing;

use super::request::{EventReport, Exchange, Family, Flow, How, IsakmpReport, Login, RacoonRequest, ScheduledReport};
use crate::control::Request;

/// Octets of `struct admin_com`.
pub const HEADER: usize = 8;
/// Octets of `struct admin_com_indexes`: three of numbers, padding, two `struct sockaddr_storage`.
const INDEXES: usize = 8 + 2 * STORAGE;
/// Octets of `struct sockaddr_storage`.
const STORAGE: usize = 128;
/// The version field of a request holds, and a reply is longer than 16 bits can say.
const FLAG: u16 = 0x8000;
/// Longest request: indexes, a user and a password.
pub const LONGEST: usize = 2048;

/// `errno` values that a reply may carry.
const EINVAL: u16 = 22;
const ENOENT: u16 = 2;
const EOPNOTSUPP: u16 = 95;

/// `struct admin_com`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Octets in all.
    pub length: u16,
    /// What is asked.
    command: u16,
    /// Version in a request, errno or the upper half of the length in a reply.
    extra: u16,
    /// Of which SAs.
    proto: u16,
}

/// What was asked, and how the answer is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// In the words of the control socket.
    pub request: Request,
    header: Header,
}

impl Header {
    /// Reads one; `None` is no request of racoonctl's. Its second octet is below that of any text.
    pub fn read(octets: [u8; HEADER]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = octets;
        let [length, command, extra, proto] = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_ne_bytes);
        let header = Self { length, command, extra, proto };
        (HEADER..=LONGEST).contains(&usize::from(length)).then_some(header)
    }

    fn write(self) -> Vec<u8> {
        [self.length, self.command, self.extra, self.proto].into_iter().flat_map(u16::to_ne_bytes).collect()
    }

    /// A reply without data.
    fn answer(self, errno: u16) -> Vec<u8> {
        let length = u16::try_from(HEADER).unwrap_or_default();
        Self { length, command: self.command & !FLAG, extra: errno, proto: self.proto }.write()
    }

    /// A reply with data. An old client reads 16 bits of length, a newer one 32 if it has said its version.
    fn answer_with(self, data: &[u8]) -> Vec<u8> {
        let Ok(length) = u32::try_from(HEADER + data.len()) else { return self.answer(EINVAL) };
        let (low, high) = ((length & 0xffff) as u16, (length >> 16) as u16);
        let mut command = self.command & !FLAG;
        if high > 0 {
            if self.command & FLAG == 0 {
                return self.answer(EINVAL);
            }
            command |= FLAG;
        }
        let mut out = Self { length: low, command, extra: high, proto: self.proto }.write();
        out.extend_from_slice(data);
        out
    }

    /// What is asked; else the reply that says that it is not understood.
    ///
    /// # Errors
    /// The reply.
    pub fn request(self, body: &[u8]) -> Result<Asked, Vec<u8>> {
        let request = self.meaning(body).map_err(|errno| self.answer(errno))?;
        Ok(Asked { request, header: self })
    }

    fn meaning(self, body: &[u8]) -> Result<Request, u16> {
        let family = match self.proto {
            0x01ff => Family::Isakmp,
            0x02ff => Family::Ipsec,
            0x0201 => Family::Ah,
            0x0202 => Family::Esp,
            _ => Family::Ipsec,
        };
        let racoon = match self.command & !FLAG {
            0x0001 => return Ok(Request::Reload),
            0x0002 => RacoonRequest::ShowSchedule,
            0x0003 => RacoonRequest::Events,
            0x0101 if family == Family::Isakmp => RacoonRequest::ShowIsakmp,
            0x0101 => RacoonRequest::ShowIpsec { family },
            0x0102 => RacoonRequest::Flush { family },
            0x0103 | 0x0104 => return Ok(Request::Status),
            0x0201 => match (family, indexes(body)?) {
                (Family::Isakmp, flow) => {
                    RacoonRequest::DeletePeer { local: Some(flow.src.addr()), peer: flow.dst.addr() }
                }
                (family, flow) => RacoonRequest::DeleteIpsec { family, flow },
            },
            0x0202 => {
                // Behind the ends: the name of the `remote` block, if one was given.
                let remote = text(body.get(INDEXES..).unwrap_or_default()).ok();
                establish(family, indexes(body)?, How { remote, login: None })
            }
            0x0203 => {
                let login = Some(login(body.get(INDEXES..).unwrap_or_default())?);
                establish(family, indexes(body)?, How { remote: None, login })
            }
            0x0204 => RacoonRequest::DeletePeer { local: None, peer: indexes(body)?.dst.addr() },
            0x0205 => RacoonRequest::Logout { user: text(body)? },
            0x0206 => {
                let flow = indexes(body)?;
                RacoonRequest::Certificate { local: flow.src.addr(), peer: flow.dst.addr() }
            }
            _ => return Err(EOPNOTSUPP),
        };
        Ok(Request::Racoon(racoon))
    }
}

impl Asked {
    /// The reply to what was not done: the original had a number for it, and no words.
    pub fn refused(&self) -> Vec<u8> {
        self.header.answer(ENOENT)
    }

    /// The reply to what was done, with nothing to tell.
    pub fn done(&self) -> Vec<u8> {
        self.header.answer(0)
    }

    /// `struct ph1dump` for each.
    pub fn isakmp(&self, sas: &[IsakmpReport]) -> Vec<u8> {
        let data: Vec<u8> = sas.iter().flat_map(phase1).collect();
        self.header.answer_with(&data)
    }

    /// `struct scheddump` for each.
    pub fn schedule(&self, timers: &[ScheduledReport]) -> Vec<u8> {
        let one = |timer: &ScheduledReport| {
            let ScheduledReport { number, created, fires, .. } = timer;
            let tick = fires.saturating_sub(*created);
            [*fires, u64::from(*number), *created, tick].into_iter().flat_map(u64::to_ne_bytes).collect::<Vec<u8>>()
        };
        let data: Vec<u8> = timers.iter().flat_map(one).collect();
        self.header.answer_with(&data)
    }

    /// Octets as they are: a certificate, a text.
    pub fn octets(&self, data: &[u8]) -> Vec<u8> {
        self.header.answer_with(data)
    }

    /// `struct evt_async` of one event.
    pub fn event(&self, event: &EventReport, now: u64) -> Vec<u8> {
        let mut data = Vec::with_capacity(16 + 2 * STORAGE + 8);
        data.extend(u64::from(event_number(&event.what)).to_ne_bytes());
        data.extend(now.to_ne_bytes());
        for end in [&event.local, &event.peer] {
            data.extend(storage(end.as_deref().and_then(address)));
        }
        data.extend([0; 8]);
        Header { command: 0x0003 | self.header.command & FLAG, proto: 0, ..self.header }.answer_with(&data)
    }

    /// The peer whose events follow the reply to an order to negotiate, or to end everything (`vpn-disconnect`).
    pub fn follows(&self) -> Option<IpAddr> {
        match &self.request {
            Request::Racoon(RacoonRequest::EstablishIsakmp { peer, .. }) => Some(*peer),
            Request::Racoon(RacoonRequest::EstablishIpsec { flow, .. }) => Some(flow.dst.addr()),
            Request::Racoon(RacoonRequest::DeletePeer { local: None, peer }) => Some(*peer),
            _ => None,
        }
    }
}

fn establish(family: Family, flow: Flow, how: How) -> RacoonRequest {
    match family {
        Family::Isakmp => {
            RacoonRequest::EstablishIsakmp { local: Some(flow.src.addr()), peer: flow.dst.addr(), how, timeout_s: 0 }
        }
        _ => RacoonRequest::EstablishIpsec { flow, how, timeout_s: 0 },
    }
}

/// `struct admin_com_indexes`.
fn indexes(body: &[u8]) -> Result<Flow, u16> {
    let (Some([prefix_src, prefix_dst, protocol]), Some(ends)) = (body.first_chunk(), body.get(8..INDEXES)) else {
        return Err(EINVAL);
    };
    let (src, dst) = ends.split_at(STORAGE);
    let (src, dst) = (socket_address(src).ok_or(EINVAL)?, socket_address(dst).ok_or(EINVAL)?);
    // What is a whole host is said by 32, 128, or nothing at all.
    let net = |at: SocketAddr, prefix: u8| {
        let bits = if at.is_ipv4() { 32 } else { 128 };
        let prefix = if prefix == 0 && !at.ip().is_unspecified() { bits } else { prefix.min(bits) };
        IpNet::new(at.ip(), prefix).map(|net| net.trunc()).map_err(|_| EINVAL)
    };
    // IPPROTO_RAW is racoon's any.
    let protocol = if *protocol == 255 { 0 } else { *protocol };
    Ok(Flow {
        src: net(src, *prefix_src)?,
        src_port: src.port(),
        dst: net(dst, *prefix_dst)?,
        dst_port: dst.port(),
        protocol,
    })
}

/// `struct admin_com_psk`: type and padding, two lengths, then user and password.
fn login(body: &[u8]) -> Result<Login, u16> {
    let length = |at: usize| -> Result<usize, u16> {
        let octets = body.get(at..at + 8).and_then(|octets| octets.try_into().ok()).ok_or(EINVAL)?;
        usize::try_from(u64::from_ne_bytes(octets)).ok().filter(|length| *length <= LONGEST).ok_or(EINVAL)
    };
    let (user, password) = (length(8)?, length(16)?);
    let rest = body.get(24..).unwrap_or_default();
    let (Some(user), Some(password)) = (rest.get(..user), rest.get(user..user + password)) else { return Err(EINVAL) };
    Ok(Login { user: text(user)?, password: Zeroizing::new(text(password)?) })
}

/// Text to its end or to a zero.
fn text(octets: &[u8]) -> Result<String, u16> {
    let octets = octets.split(|octet| *octet == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(octets).map_err(|_| EINVAL)?;
    if text.is_empty() { Err(EINVAL) } else { Ok(text.to_owned()) }
}

/// `struct sockaddr_in` or `sockaddr_in6` at the beginning of a `sockaddr_storage`.
fn socket_address(storage: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*storage.first_chunk()?));
    let port = u16::from_be_bytes(*storage.get(2..)?.first_chunk()?);
    let ip = match family {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*storage.get(4..)?.first_chunk::<4>()?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(*storage.get(8..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn storage(at: Option<SocketAddr>) -> Vec<u8> {
    let mut out = Vec::with_capacity(STORAGE);
    let family = |number: i32| u16::try_from(number).unwrap_or_default().to_ne_bytes();
    match at {
        Some(SocketAddr::V4(at)) => {
            out.extend(family(libc::AF_INET));
            out.extend(at.port().to_be_bytes());
            out.extend(at.ip().octets());
        }
        Some(SocketAddr::V6(at)) => {
            out.extend(family(libc::AF_INET6));
            out.extend(at.port().to_be_bytes());
            out.extend([0; 4]);
            out.extend(at.ip().octets());
        }
        None => {}
    }
    out.resize(STORAGE, 0);
    out
}

/// `address[port]`, as events have it.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.strip_suffix(']')?.rsplit_once('[')?;
    Some(SocketAddr::new(ip.split('%').next()?.parse().ok()?, port.parse().ok()?))
}

/// `struct ph1dump`.
fn phase1(sa: &IsakmpReport) -> Vec<u8> {
    let digits: String = sa.cookies.chars().filter(char::is_ascii_hexdigit).collect();
    let mut out = crate::revocation::serial::from_hex(&digits).unwrap_or_default();
    out.resize(16, 0);
    let (status, side): (i32, i32) = (if sa.established.is_some() { 9 } else { 1 }, i32::from(!sa.initiator));
    out.extend(status.to_ne_bytes());
    out.extend(side.to_ne_bytes());
    out.extend(storage(Some(SocketAddr::new(sa.peer, sa.peer_port))));
    out.extend(storage(Some(SocketAddr::new(sa.local, sa.local_port))));
    let exchange = match sa.exchange {
        Exchange::Main => 2,
        Exchange::Aggressive => 4,
    };
    // Version 1.0, exchange, padding.
    out.extend([0x10, exchange, 0, 0, 0, 0, 0, 0]);
    out.extend(sa.established.unwrap_or_default().to_ne_bytes());
    out.extend(i32::try_from(sa.children).unwrap_or(i32::MAX).to_ne_bytes());
    out.extend([0; 4]);
    out
}

/// racoon's numbers of what happens.
fn event_number(what: &str) -> u32 {
    match what {
        "Racoon terminated" => 0x0001,
        "Phase 1 established" => 0x0100,
        "Phase 1 deleted" => 0x0101,
        "Phase 1 error: peer not responding" => 0x0102,
        "Phase 1 error: no proposal chosen" => 0x0103,
        "Phase 1 error: authentication failed (bad certificate?)" => 0x0104,
        "Phase 1 error: dead peer detected" => 0x0105,
        "Phase 1 mode configuration done" => 0x0107,
        "Phase 1 Xauth succeeded" => 0x0108,
        "Phase 1 Xauth failed" => 0x0109,
        "Phase 2 error: no suitable phase 1" => 0x0200,
        "Phase 2 established" => 0x0201,
        "Phase 2 deleted" => 0x0202,
        "Phase 2 error: no response" => 0x0203,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
