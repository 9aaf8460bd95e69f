//! What XFRM knows of SAs and policies and PF_KEY has no words for. A dump says it in a line of ours, where there is
//! anything to say: `\txfrm: NAME=VALUE ...`. Programs that take dumps apart look for other lines; `-f` reads it.

use std::fmt;

use super::terminals::decimal;
use crate::model::addr::IpNet;
use crate::model::selector::{Selector, UpperProtocol};

/// What the line begins with, behind its tab.
pub const LABEL: &str = "xfrm:";

/// A mark and the bits of it that count.
pub type Mark = (u32, u32);

/// Of an SA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnwordedSa {
    /// Length of the ICV in bits, where it is not the algorithm's own.
    pub icv_bits: Option<u32>,
    /// Which packets may use it.
    pub selector: Option<Selector>,
    /// Mark that is part of its name.
    pub mark: Option<Mark>,
    /// Mark set on packets it has processed.
    pub output_mark: Option<Mark>,
    /// XFRM interface.
    pub if_id: Option<u32>,
    /// `XFRM_STATE_*` without a `SADB_SAFLAGS_*` of the same meaning.
    pub flags: u32,
    /// `XFRM_SA_XFLAG_*`.
    pub extra_flags: u32,
}

/// Of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwordedPolicy {
    /// Only packets with this mark.
    pub mark: Option<Mark>,
    /// Only packets of this XFRM interface.
    pub if_id: Option<u32>,
    /// Only packets through the interface of this number; 0 any.
    pub interface: u32,
    /// `XFRM_POLICY_*`.
    pub flags: u32,
    /// Reqids of requests of level `use`, which a dump has behind the level (`use:5`); 0 where there is none.
    pub use_reqids: Vec<u32>,
    /// SPIs of the requests, where one wants a certain one; else empty.
    pub spis: Vec<u32>,
}

/// Nothing if there is nothing to say, else the whole line.
impl fmt::Display for UnwordedSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        write!(f, "\t{LABEL}")?;
        self.icv_bits.map_or(Ok(()), |bits| write!(f, " icv={bits}"))?;
        write_mark(f, "mark", self.mark)?;
        write_mark(f, "output-mark", self.output_mark)?;
        self.if_id.map_or(Ok(()), |id| write!(f, " if_id=0x{id:x}"))?;
        write_flags(f, "flags", self.flags)?;
        write_flags(f, "extra-flags", self.extra_flags)?;
        if let Some(Selector { src, dst, protocol, src_port, dst_port }) = self.selector {
            write!(f, " sel={src}[{src_port}],{dst}[{dst_port}],{}", protocol.0)?;
        }
        writeln!(f)
    }
}

/// As for an SA.
impl fmt::Display for UnwordedPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_silent = Self { use_reqids: Vec::new(), ..self.clone() } == Self::default();
        if is_silent {
            return Ok(());
        }
        write!(f, "\t{LABEL}")?;
        write_mark(f, "mark", self.mark)?;
        self.if_id.map_or(Ok(()), |id| write!(f, " if_id=0x{id:x}"))?;
        if self.interface != 0 {
            write!(f, " dev={}", self.interface)?;
        }
        write_flags(f, "flags", self.flags)?;
        write_list(f, "spi", &self.spis)?;
        writeln!(f)
    }
}

fn write_mark(f: &mut fmt::Formatter<'_>, name: &str, mark: Option<Mark>) -> fmt::Result {
    mark.map_or(Ok(()), |(value, mask)| write!(f, " {name}=0x{value:x}/0x{mask:x}"))
}

fn write_flags(f: &mut fmt::Formatter<'_>, name: &str, flags: u32) -> fmt::Result {
    if flags == 0 { Ok(()) } else { write!(f, " {name}=0x{flags:x}") }
}

fn write_list(f: &mut fmt::Formatter<'_>, name: &str, numbers: &[u32]) -> fmt::Result {
    let Some((first, rest)) = numbers.split_first() else { return Ok(()) };
    write!(f, " {name}={first}")?;
    rest.iter().try_for_each(|number| write!(f, ",{number}"))
}

/// `NAME=VALUE` of an SA; `None` if it says nothing that we know.
pub(super) fn read_sa(line: &str) -> Option<UnwordedSa> {
    let mut sa = UnwordedSa::default();
    for (name, value) in words(line)? {
        match name {
            "icv" => sa.icv_bits = Some(number(value).filter(|bits| *bits != 0)?),
            "mark" => sa.mark = Some(mark(value)?),
            "output-mark" => sa.output_mark = Some(mark(value)?),
            "if_id" => sa.if_id = Some(number(value)?),
            "flags" => sa.flags = number(value)?,
            "extra-flags" => sa.extra_flags = number(value)?,
            "sel" => sa.selector = Some(selector(value)?),
            _ => return None,
        }
    }
    Some(sa)
}

/// As [`read_sa`], of a policy.
pub(super) fn read_policy(line: &str) -> Option<UnwordedPolicy> {
    let mut policy = UnwordedPolicy::default();
    for (name, value) in words(line)? {
        match name {
            "mark" => policy.mark = Some(mark(value)?),
            "if_id" => policy.if_id = Some(number(value)?),
            "dev" => policy.interface = number(value)?,
            "flags" => policy.flags = number(value)?,
            "spi" => policy.spis = list(value)?,
            _ => return None,
        }
    }
    Some(policy)
}

/// Is this the line?
pub(super) fn is_line(line: &str) -> bool {
    line.trim_start().starts_with(LABEL)
}

fn words(line: &str) -> Option<Vec<(&str, &str)>> {
    line.trim_start().strip_prefix(LABEL)?.split_whitespace().map(|word| word.split_once('=')).collect()
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => u32::try_from(decimal(text, u64::from(u32::MAX))?).ok(),
    }
}

fn list(text: &str) -> Option<Vec<u32>> {
    text.split(',').map(number).collect()
}

fn mark(text: &str) -> Option<Mark> {
    let (value, mask) = text.split_once('/')?;
    number(value).zip(number(mask))
}

/// NET[PORT],NET[PORT],PROTOCOL
fn selector(text: &str) -> Option<Selector> {
    let end = |text: &str| -> Option<(IpNet, u16)> {
        let (net, port) = text.strip_suffix(']')?.split_once('[')?;
        Some((net.parse::<IpNet>().ok()?, u16::try_from(number(port)?).ok()?))
    };
    let mut parts = text.split(',');
    let ((src, src_port), (dst, dst_port)) = (end(parts.next()?)?, end(parts.next()?)?);
    let protocol = UpperProtocol(u8::try_from(number(parts.next()?)?).ok()?);
    let is_whole = parts.next().is_none() && src.addr().is_ipv4() == dst.addr().is_ipv4();
    is_whole.then_some(Selector { src, dst, protocol, src_port, dst_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_as_it_was() {
        let whole = UnwordedSa {
            icv_bits: Some(96),
            selector: selector("10.0.0.0/24[0],10.1.0.1/32[443],6"),
            mark: Some((1, 0xff)),
            output_mark: Some((2, u32::MAX)),
            if_id: Some(7),
            flags: 0x80,
            extra_flags: 1,
        };
        assert!(whole.selector.is_some());
        let line = whole.to_string();
        assert_eq!(
            line,
            "\txfrm: icv=96 mark=0x1/0xff output-mark=0x2/0xffffffff if_id=0x7 flags=0x80 extra-flags=0x1 \
             sel=10.0.0.0/24[0],10.1.0.1/32[443],6\n"
        );
        assert_eq!(read_sa(&line), Some(whole));
        let whole = UnwordedPolicy {
            mark: Some((0, 0)),
            if_id: Some(0x10),
            interface: 3,
            flags: 1,
            use_reqids: Vec::new(),
            spis: vec![0, 4096],
        };
        let line = whole.to_string();
        assert_eq!(line, "\txfrm: mark=0x0/0x0 if_id=0x10 dev=3 flags=0x1 spi=0,4096\n");
        assert_eq!(read_policy(&line), Some(whole));
        assert_eq!(UnwordedSa::default().to_string() + &UnwordedPolicy::default().to_string(), "");
    }

    #[test]
    fn what_nobody_said_is_not_read() {
        for line in
            ["xfrm: icv", "xfrm: icv=0", "xfrm: icv=-1", "xfrm: mark=1", "xfrm: sel=10.0.0.1[0],::1[0],0", "xfrm: x=1"]
        {
            assert_eq!(read_sa(line), None, "{line}");
        }
        for line in ["xfrm: spi=1,x", "xfrm: flags=0x+1", "xfrm: icv=96"] {
            assert_eq!(read_policy(line), None, "{line}");
        }
    }
}
