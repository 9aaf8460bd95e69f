//! `setkey -D` and `setkey -DP`, to the octet as the original prints them: scripts take this text apart.
//!
//! What PF_KEY said and XFRM netlink does not: a policy's reference count (always shown as 2, that of an idle policy).

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::model::addr::IpNet;
use policy::model::algorithm::Cipher;
use policy::model::sa::{Direction, SecurityContext};
use policy::model::selector::{Selector, UpperProtocol};
use policy::setkey::algorithm;
use policy::setkey::statement::{PRIORITY_DEFAULT, PRIORITY_HIGH, PRIORITY_LOW};
use xfrm::abi::MANUAL_REQID_MAX;
use xfrm::model::limits::Limits;
use xfrm::model::policy::{Place, Policy, Verdict};
use xfrm::model::sa::{Aead, EncapKind, Encapsulation, Sa};
use xfrm::model::template::{Need, Template};

use super::lower::{self, FLAGS};
use super::protocols::Protocols;
use crate::civil::{self, Civil};

/// What every entry is printed with.
pub struct Printer<'a> {
    /// Now, Unix seconds.
    pub now: u64,
    /// Whose dump it is.
    pub pid: u32,
    /// Unix seconds to the machine's calendar.
    pub local: fn(u64) -> Civil,
    /// Names of upper-layer protocols.
    pub protocols: &'a Protocols,
    /// `-p`.
    pub ports: bool,
}

/// PF_KEY numbers the entries of a dump from 1, and the last one is 0.
pub fn sequence(index: usize, count: usize) -> usize {
    if index + 1 == count { 0 } else { index + 1 }
}

/// What an empty SAD is told with.
pub const NO_SAS: &str = "No SAD entries.\n";
/// What an empty SPD is told with.
pub const NO_POLICIES: &str = "No SPD entries.\n";

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl<'a> Printer<'a> {
    /// For a dump of this moment, by this process, in the machine's time zone.
    pub fn of_now(protocols: &'a Protocols, ports: bool) -> Self {
        Self { now: now(), pid: std::process::id(), local: civil::local, protocols, ports }
    }

    /// Every SA.
    pub fn sas(&self, sas: &[Sa]) -> String {
        if sas.is_empty() {
            return NO_SAS.to_owned();
        }
        sas.iter().enumerate().map(|(index, sa)| self.one_sa(sa, sequence(index, sas.len()))).collect()
    }

    /// Every policy.
    pub fn policies(&self, policies: &[Policy]) -> String {
        if policies.is_empty() {
            return NO_POLICIES.to_owned();
        }
        let count = policies.len();
        policies.iter().enumerate().map(|(index, policy)| self.one_policy(policy, sequence(index, count))).collect()
    }

    /// One entry, with its number.
    pub fn one_sa(&self, sa: &Sa, sequence: usize) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.sa(&mut out, sa, sequence);
        out
    }

    /// As [`Printer::one_sa`].
    pub fn one_policy(&self, policy: &Policy, sequence: usize) -> String {
        let mut out = String::new();
        let _ = self.policy(&mut out, policy, sequence);
        out
    }

    fn sa(&self, out: &mut String, sa: &Sa, sequence: usize) -> std::fmt::Result {
        let name = &sa.name;
        let encapsulation = sa.encapsulation.as_ref();
        self.address(out, name.src, encapsulation.map(|encapsulation| encapsulation.src_port))?;
        self.address(out, name.dst, encapsulation.map(|encapsulation| encapsulation.dst_port))?;
        let protocol = name.protocol.setkey_name();
        let protocol = match encapsulation {
            Some(Encapsulation { kind: EncapKind::EspInUdp | EncapKind::EspInUdpNonIke, .. }) => "esp-udp".to_owned(),
            Some(_) => format!("natt+{protocol}"),
            None => protocol.to_owned(),
        };
        let (spi, reqid) = (name.spi.0, sa.reqid.0);
        writeln!(out, "\n\t{protocol} mode={} spi={spi}(0x{spi:08x}) reqid={reqid}(0x{reqid:08x})", sa.mode.name())?;
        if let Some(original) = encapsulation.and_then(|encapsulation| encapsulation.original_address) {
            writeln!(out, "\tNAT OA={original}")?;
        }
        self.algorithms(out, sa)?;
        writeln!(
            out,
            "\tseq=0x{:08x} replay={} flags=0x{:08x} state={} ",
            0,
            sa.replay_window,
            pfkey_flags(sa.flags),
            sa.stage(self.now).name()
        )?;
        self.lifetimes(out, sa)?;
        write_context(out, sa.context.as_ref())?;
        write!(out, "{}", lower::unworded_sa(sa))?;
        writeln!(out, "\tsadb_seq={sequence} pid={} refcnt=0", self.pid)
    }

    /// With a blank behind it. `-p` shows the (unused) port of the address itself in front of that of UDP.
    fn address(&self, out: &mut String, addr: IpAddr, udp_port: Option<u16>) -> std::fmt::Result {
        write!(out, "{addr}")?;
        if self.ports {
            out.write_str("[0]")?;
        }
        match udp_port {
            Some(port) => write!(out, "[{port}] "),
            None => out.write_str(" "),
        }
    }

    fn algorithms(&self, out: &mut String, sa: &Sa) -> std::fmt::Result {
        if let Some(compression) = &sa.compression {
            // No newline, as the original forgot it and parsers know.
            write!(out, "\tC: {compression} ")?;
        }
        let encryption = sa.encryption.as_ref().map(|by| (setkey_cipher(&by.kernel_name), &by.key));
        let encryption = encryption.or(sa.aead.as_ref().map(|by| (setkey_aead(by), &by.key)));
        if let Some((name, key)) = encryption.filter(|(_, key)| !key.is_empty()) {
            writeln!(out, "\tE: {name} {}", Hex(key.expose()))?;
        }
        if let Some(integrity) = sa.integrity.as_ref().filter(|integrity| !integrity.key.is_empty()) {
            let name = setkey_integrity(&integrity.kernel_name);
            writeln!(out, "\tA: {name} {}", Hex(integrity.key.expose()))?;
        }
        Ok(())
    }

    fn lifetimes(&self, out: &mut String, sa: &Sa) -> std::fmt::Result {
        let (usage, soft, hard) = (&sa.usage, &sa.lifetimes.soft, &sa.lifetimes.hard);
        let age = if usage.added_at == 0 { 0 } else { self.now.saturating_sub(usage.added_at) };
        writeln!(out, "\tcreated: {}\tcurrent: {}", self.time(usage.added_at), self.time(self.now))?;
        let seconds = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_secs());
        let pair = |of: fn(&Limits) -> Option<Duration>| (seconds(of(hard)), seconds(of(soft)));
        let (hard_added, soft_added) = pair(|limits| limits.since_added);
        writeln!(out, "\tdiff: {age}(s)\thard: {hard_added}(s)\tsoft: {soft_added}(s)")?;
        let (hard_used, soft_used) = pair(|limits| limits.since_used);
        writeln!(out, "\tlast: {}\thard: {hard_used}(s)\tsoft: {soft_used}(s)", self.time(usage.used_at))?;
        let (hard_bytes, soft_bytes) = (hard.bytes.unwrap_or(0), soft.bytes.unwrap_or(0));
        writeln!(out, "\tcurrent: {}(bytes)\thard: {hard_bytes}(bytes)\tsoft: {soft_bytes}(bytes)", usage.bytes)?;
        let (hard_packets, soft_packets) = (hard.packets.unwrap_or(0), soft.packets.unwrap_or(0));
        writeln!(out, "\tallocated: {}\thard: {hard_packets}\tsoft: {soft_packets}", usage.packets)
    }

    fn policy(&self, out: &mut String, policy: &Policy, sequence: usize) -> std::fmt::Result {
        if policy.place.is_socket() {
            out.write_str("(per-socket policy) ")?;
        } else {
            self.selector(out, &policy.selector)?;
        }
        write!(out, "\n\t{}{}", place_name(policy.place), Priority(policy.priority))?;
        match policy.verdict {
            Verdict::Block => out.write_str(" discard\n")?,
            Verdict::Allow if policy.templates.is_empty() => out.write_str(" none\n")?,
            Verdict::Allow => {
                out.write_str(" ipsec\n")?;
                for template in &policy.templates {
                    self.template(out, template)?;
                }
            }
        }
        let usage = &policy.usage;
        writeln!(out, "\tcreated: {}  lastused: {}", self.time(usage.added_at), self.time(usage.used_at))?;
        let hard = &policy.lifetimes.hard;
        let seconds = |limit: Option<Duration>| limit.map_or(0, |limit| limit.as_secs());
        let (added, used) = (seconds(hard.since_added), seconds(hard.since_used));
        writeln!(out, "\tlifetime: {added}(s) validtime: {used}(s)")?;
        write_context(out, policy.context.as_ref())?;
        write!(out, "{}", lower::unworded_policy(policy))?;
        writeln!(out, "\tspid={} seq={sequence} pid={}\n\trefcnt=2", policy.index, self.pid)
    }

    fn selector(&self, out: &mut String, selector: &Selector) -> std::fmt::Result {
        let Selector { src, dst, protocol, src_port, dst_port } = selector;
        let has_ports = !is_without_ports(*protocol);
        write_net(out, src, has_ports.then_some(*src_port))?;
        out.write_str(" ")?;
        write_net(out, dst, has_ports.then_some(*dst_port))?;
        match *protocol {
            UpperProtocol::ANY => out.write_str(" 255"),
            UpperProtocol(number) => {
                write!(out, " {}", self.protocols.name(number))?;
                match protocol {
                    &UpperProtocol::ICMP | &UpperProtocol::ICMPV6 if (*src_port, *dst_port) != (0, 0) => {
                        write!(out, " {src_port},{dst_port}")
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn template(&self, out: &mut String, template: &Template) -> std::fmt::Result {
        write!(out, "\t{}/{}/", template.protocol.setkey_name(), template.mode.name())?;
        // Those of a transport request were given by others than setkey; its grammar has a place for them.
        match template.endpoints {
            Some((src, dst)) if self.ports => write!(out, "{src}[0]-{dst}[0]")?,
            Some((src, dst)) => write!(out, "{src}-{dst}")?,
            None => {}
        }
        let level = match (template.need, template.reqid.0) {
            (Need::Optional, _) => "use",
            (Need::Required, 0) => "require",
            (Need::Required, _) => "unique",
        };
        match template.reqid.0 {
            0 => writeln!(out, "/{level}"),
            // The system's choice.
            reqid if reqid > MANUAL_REQID_MAX => writeln!(out, "/{level}#{reqid}"),
            reqid => writeln!(out, "/{level}:{reqid}"),
        }
    }

    /// `Nov  2 02:35:35 2026`; 20 blanks for never.
    fn time(&self, unix: u64) -> String {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        if unix == 0 {
            return " ".repeat(20);
        }
        let Civil { year, month, day, hour, minute, second } = (self.local)(unix);
        let month = MONTHS.get(usize::from(month).wrapping_sub(1)).unwrap_or(&"???");
        format!("{month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
    }

    /// One line of `-Dl`: minute and second, protocol, state, SPI, age and hard limit, addresses.
    pub fn short(&self, sa: &Sa) -> String {
        let Civil { minute, second, .. } = (self.local)(self.now);
        let state = sa.stage(self.now).name();
        let state = state.get(..1).unwrap_or("").to_uppercase();
        let age = self.now.saturating_sub(sa.usage.added_at);
        let hard = sa.lifetimes.hard.since_added.map_or(0, |limit| limit.as_secs());
        let name = &sa.name;
        let protocol = name.protocol.setkey_name();
        format!(
            "{minute:02}{second:02} {protocol:<3} {state:<1} {:08x} {age:3}/{hard:3} {} -> {}\n",
            name.spi.0, name.src, name.dst
        )
    }
}

/// The head of `-Dl`.
pub const SHORT_HEAD: &str = "time p   s spi      ltime   src -> dst\n";

/// A blank in front of every four octets, a new line after every 32.
pub struct Hex<'a>(pub &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            if index != 0 && index % 32 == 0 {
                f.write_str("\n")?;
            }
            if index % 4 == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

/// ` prio high|def|low [± N]`: the constant it is nearest to, and how much more urgent; nothing for 0.
struct Priority(u32);

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const QUARTER: u32 = PRIORITY_DEFAULT / 4;
        let (name, base) = match self.0 {
            0 => return Ok(()),
            value if value < QUARTER * 3 => ("high", PRIORITY_HIGH),
            value if value < QUARTER * 5 => ("def", PRIORITY_DEFAULT),
            _ => ("low", PRIORITY_LOW),
        };
        match i64::from(base) - i64::from(self.0) {
            0 => write!(f, " prio {name}"),
            more if more > 0 => write!(f, " prio {name} + {more}"),
            less => write!(f, " prio {name} - {}", less.unsigned_abs()),
        }
    }
}

/// What a security module looks at, if anything.
fn write_context(out: &mut String, context: Option<&SecurityContext>) -> std::fmt::Result {
    let Some(SecurityContext { doi, algorithm, label }) = context else { return Ok(()) };
    writeln!(out, "\tsecurity context doi: {doi}\n\tsecurity context algorithm: {algorithm}")?;
    writeln!(out, "\tsecurity context length: {}\n\tsecurity context: {label}", label.len() + 1)
}

fn place_name(place: Place) -> &'static str {
    match place {
        Place::Spd(direction) => direction.name(),
        Place::Socket(Direction::In) => "in(socket)",
        Place::Socket(Direction::Out) => "out(socket)",
        Place::Socket(Direction::Fwd) => "fwd(socket)",
    }
}

/// `ADDR[/P][[port]]`; the prefix of a single host is not shown.
fn write_net(out: &mut String, net: &IpNet, port: Option<u16>) -> std::fmt::Result {
    write!(out, "{}", net.addr())?;
    if net.prefix_len() != net.max_prefix_len() {
        write!(out, "/{}", net.prefix_len())?;
    }
    match port {
        None => Ok(()),
        Some(0) => out.write_str("[any]"),
        Some(port) => write!(out, "[{port}]"),
    }
}

/// ICMP, ICMPv6, GRE, ESP, AH and mobility headers have no ports to show.
fn is_without_ports(protocol: UpperProtocol) -> bool {
    matches!(protocol.0, 1 | 58 | 47 | 50 | 51 | 135)
}

fn setkey_cipher(kernel_name: &str) -> &str {
    let names = algorithm::cipher_names();
    let mut known = names.filter_map(algorithm::cipher).filter(|cipher| cipher.kernel_name == kernel_name);
    known.next().map_or(kernel_name, |cipher| cipher.name)
}

fn setkey_aead(aead: &Aead) -> &str {
    let icv_bits = u16::try_from(aead.icv_bits).ok();
    Cipher::from_kernel_aead(&aead.kernel_name, icv_bits).map_or(&aead.kernel_name, |cipher| cipher.facts().setkey)
}

fn setkey_integrity(kernel_name: &str) -> &str {
    lower::integrity_of(kernel_name).map_or(kernel_name, |integrity| integrity.name)
}

fn pfkey_flags(xfrm_flags: u8) -> u32 {
    FLAGS.iter().filter(|(xfrm, _)| xfrm_flags & xfrm != 0).map(|(_, pfkey)| pfkey).sum()
}

#[cfg(test)]
mod tests;
