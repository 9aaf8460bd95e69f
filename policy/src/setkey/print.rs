//! Statements as a script again: what is read from it is what was printed. Keys are written out.

use std::fmt;
use std::net::IpAddr;

use super::statement::{
    Keyed, NewSa, PRIORITY_DEFAULT, PolicyKey, PolicySpec, SaKey, SaLimits, Statement, StatementKind,
};
use crate::model::sa::{Action, Level, Mode, Protocol, ReqId, SecurityContext, Template};
use crate::model::selector::{Selector, UpperProtocol};

/// A script: a line for each statement. A statement that Linux refuses becomes a comment.
pub struct Printed<'a>(pub &'a [Statement]);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|statement| writeln!(f, "{}", Command(&statement.kind)))
    }
}

/// One command with its `;`. Limits that only a dump has are left out: a script has no words for them.
pub struct Command<'a>(pub &'a StatementKind);

impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = |protocol: &Option<Protocol>| protocol.map_or(String::new(), |of| format!(" {}", of.setkey_name()));
        match self.0 {
            StatementKind::Add(sa) => add(f, sa)?,
            StatementKind::Delete(key) => write!(f, "delete {}", Key(key))?,
            StatementKind::Get(key) => write!(f, "get {}", Key(key))?,
            StatementKind::GetSpi { key, mode } => write!(f, "getspi {} -m {}", Key(key), mode.name())?,
            StatementKind::DeleteAll { src, dst, protocol } => {
                write!(f, "deleteall {src} {dst} {}", protocol.setkey_name())?;
            }
            StatementKind::Flush(protocol) => write!(f, "flush{}", about(protocol))?,
            StatementKind::Dump(protocol) => write!(f, "dump{}", about(protocol))?,
            StatementKind::SpdAdd(spec) => policy(f, "spdadd", spec)?,
            StatementKind::SpdUpdate(spec) => policy(f, "spdupdate", spec)?,
            StatementKind::SpdDelete(PolicyKey { selector, direction }, label) => {
                f.write_str("spddelete")?;
                packets(f, selector)?;
                write!(f, "{} -P {}", Context(label.as_ref()), direction.name())?;
            }
            StatementKind::SpdFlush => f.write_str("spdflush")?,
            StatementKind::SpdDump => f.write_str("spddump")?,
            StatementKind::Exit => f.write_str("exit")?,
            StatementKind::Refused(why) => return write!(f, "# refused: {why}"),
        }
        f.write_str(";")
    }
}

struct Key<'a>(&'a SaKey);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SaKey { src, dst, protocol, spi } = self.0;
        write!(f, "{src} {dst} {} {spi}", protocol.setkey_name())
    }
}

/// With a blank in front, or nothing.
struct Context<'a>(Option<&'a SecurityContext>);

impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(SecurityContext { doi, algorithm, label }) => write!(f, " -ctx {doi} {algorithm} \"{label}\""),
            None => Ok(()),
        }
    }
}

fn add(f: &mut fmt::Formatter<'_>, sa: &NewSa) -> fmt::Result {
    let SaKey { src, dst, protocol, spi } = sa.key;
    match sa.encapsulation {
        Some(udp) => {
            write!(f, "add {src}[{}] {dst}[{}] esp-udp", udp.src_port, udp.dst_port)?;
            if let Some(original) = udp.original_address {
                write!(f, " {original}")?;
            }
        }
        None => write!(f, "add {src} {dst} {}", protocol.setkey_name())?,
    }
    write!(f, " {spi} -m {}", sa.mode.name())?;
    if let Some(window) = sa.replay_window {
        write!(f, " -r {window}")?;
    }
    if sa.reqid != ReqId(0) {
        write!(f, " -u {}", sa.reqid.0)?;
    }
    limits(f, &sa.limits)?;
    write!(f, "{}", Context(sa.context.as_ref()))?;
    if let Some(by) = &sa.encryption {
        keyed(f, "-E", by)?;
    }
    if let Some(by) = &sa.integrity {
        keyed(f, "-A", by)?;
    }
    if sa.is_deflate { f.write_str(" -C deflate") } else { Ok(()) }
}

fn limits(f: &mut fmt::Formatter<'_>, limits: &SaLimits) -> fmt::Result {
    let SaLimits { hard_seconds, soft_seconds, hard_octets, soft_octets, unworded: _ } = limits;
    for (option, limit) in [("-lh", hard_seconds), ("-ls", soft_seconds), ("-bh", hard_octets), ("-bs", soft_octets)] {
        if let Some(limit) = limit {
            write!(f, " {option} {limit}")?;
        }
    }
    Ok(())
}

fn keyed(f: &mut fmt::Formatter<'_>, option: &str, Keyed { algorithm, key }: &Keyed) -> fmt::Result {
    write!(f, " {option} {}", algorithm.name)?;
    if key.is_empty() {
        return Ok(());
    }
    f.write_str(" 0x")?;
    key.expose().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

fn policy(f: &mut fmt::Formatter<'_>, command: &str, spec: &PolicySpec) -> fmt::Result {
    f.write_str(command)?;
    packets(f, &spec.key.selector)?;
    write!(f, "{} -P {}", Context(spec.context.as_ref()), spec.key.direction.name())?;
    // A bare number counts upwards from the middle, as the kernel's counts downwards.
    match i64::from(PRIORITY_DEFAULT) - i64::from(spec.priority) {
        0 => {}
        number => write!(f, " prio {number}")?,
    }
    f.write_str(match spec.action {
        Action::Discard => " discard",
        Action::None => " none",
        Action::Ipsec => " ipsec",
    })?;
    spec.templates.iter().try_for_each(|template| request(f, template))
}

fn packets(f: &mut fmt::Formatter<'_>, selector: &Selector) -> fmt::Result {
    let Selector { src, dst, protocol, src_port, dst_port } = selector;
    let is_icmp = matches!(*protocol, UpperProtocol::ICMP | UpperProtocol::ICMPV6);
    let port = |port: u16| if port == 0 || is_icmp { String::new() } else { format!("[{port}]") };
    write!(f, " {src}{} {dst}{}", port(*src_port), port(*dst_port))?;
    match protocol.name() {
        _ if protocol.is_any() => f.write_str(" any")?,
        Some(name) => write!(f, " {name}")?,
        None => write!(f, " {}", protocol.0)?,
    }
    if is_icmp && (*src_port, *dst_port) != (0, 0) { write!(f, " {src_port},{dst_port}") } else { Ok(()) }
}

fn request(f: &mut fmt::Formatter<'_>, template: &Template) -> fmt::Result {
    let Template { protocol, mode, endpoints, level } = template;
    let ends = |(src, dst): (IpAddr, IpAddr)| format!("{src}-{dst}");
    write!(f, " {}/{}/{}/", protocol.setkey_name(), Mode::name(*mode), endpoints.map_or(String::new(), ends))?;
    match level {
        Level::Default => f.write_str("default"),
        Level::Use => f.write_str("use"),
        Level::Require => f.write_str("require"),
        Level::Unique(None) => f.write_str("unique"),
        Level::Unique(Some(ReqId(number))) => write!(f, "unique:{number}"),
    }
}
