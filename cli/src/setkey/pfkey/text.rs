//! PF_KEY messages in words, in the shape of the original's `-x`. A recording may hold anything: what is cut off or
//! contradicts itself ends in a line that says so.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use xfrm::codec::error::CodecError;
use xfrm::codec::reader::{octets_at, u16_at, u32_at, u64_at};

use super::number::extension;
use crate::setkey::dump::Hex;

/// Octets of `struct sadb_msg`.
const HEADER: usize = 16;

/// One message in words.
pub fn describe(message: &[u8]) -> String {
    let mut out = String::new();
    if let Err(error) = message_text(&mut out, message) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "the message is not whole: {error}");
    }
    out
}

/// The messages of a recording, one behind the other.
pub fn describe_all(mut octets: &[u8]) -> String {
    let mut out = String::new();
    while !octets.is_empty() {
        out.push_str(&describe(octets));
        let length = u16_at(octets, 4, "sadb_msg").map_or(0, |units| usize::from(units) * 8);
        octets = octets.get(length.max(HEADER)..).unwrap_or_default();
    }
    out
}

/// What can go wrong: the octets, as writing to a string never does.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0}")]
    Octets(#[from] CodecError),
    #[error("no room")]
    Text(#[from] fmt::Error),
}

type Told = Result<(), Wrong>;

fn message_text(out: &mut String, message: &[u8]) -> Told {
    let what = "sadb_msg";
    let [version, kind, errno, satype]: [u8; 4] = octets_at(message, 0, what)?;
    let (units, reserved) = (u16_at(message, 4, what)?, u16_at(message, 6, what)?);
    let (seq, pid) = (u32_at(message, 8, what)?, u32_at(message, 12, what)?);
    writeln!(out, "sadb_msg{{ version={version} type={kind} errno={errno} satype={satype}")?;
    writeln!(out, "  len={units} reserved={reserved} seq={seq} pid={pid}")?;
    let claimed = usize::from(units) * 8;
    let Some(mut rest) = message.get(HEADER..claimed) else {
        return Err(CodecError::Length { what, claimed, available: message.len() }.into());
    };
    while !rest.is_empty() {
        let what = "sadb_ext";
        let (units, kind) = (u16_at(rest, 0, what)?, u16_at(rest, 2, what)?);
        writeln!(out, "sadb_ext{{ len={units} type={kind} }}")?;
        let claimed = usize::from(units) * 8;
        let Some((extension, behind)) = rest.split_at_checked(claimed).filter(|(extension, _)| !extension.is_empty())
        else {
            return Err(CodecError::Length { what, claimed, available: rest.len() }.into());
        };
        extension_text(out, kind, extension)?;
        rest = behind;
    }
    Ok(())
}

fn extension_text(out: &mut String, kind: u16, octets: &[u8]) -> Told {
    match kind {
        extension::SA => sa(out, octets),
        extension::LIFETIME_CURRENT | extension::LIFETIME_HARD | extension::LIFETIME_SOFT => lifetime(out, octets),
        extension::ADDRESS_SRC | extension::ADDRESS_DST | extension::ADDRESS_PROXY | extension::NAT_T_OA => {
            let [protocol, prefix, one, two]: [u8; 4] = octets_at(octets, 4, "sadb_address")?;
            writeln!(out, "sadb_address{{ proto={protocol} prefixlen={prefix} reserved=0x{one:02x}{two:02x} }}")?;
            socket_address(out, octets.get(8..).unwrap_or_default()).map(|_| ())
        }
        extension::KEY_AUTH | extension::KEY_ENCRYPT => key(out, octets),
        extension::POLICY => policy(out, octets),
        extension::SA2 => {
            let what = "sadb_x_sa2";
            let [mode, reserved1]: [u8; 2] = octets_at(octets, 4, what)?;
            let (reserved2, sequence) = (u16_at(octets, 6, what)?, u32_at(octets, 8, what)?);
            writeln!(out, "sadb_x_sa2{{ mode={mode} reqid={}", u32_at(octets, 12, what)?)?;
            Ok(writeln!(out, "  reserved1={reserved1} reserved2={reserved2} sequence={sequence} }}")?)
        }
        extension::NAT_T_TYPE => {
            let [kind]: [u8; 1] = octets_at(octets, 4, "sadb_x_nat_t_type")?;
            Ok(writeln!(out, "sadb_x_nat_t_type{{ type={kind} }}")?)
        }
        extension::NAT_T_SPORT | extension::NAT_T_DPORT => {
            let port = u16::from_be_bytes(octets_at(octets, 4, "sadb_x_nat_t_port")?);
            Ok(writeln!(out, "sadb_x_nat_t_port{{ port={port} }}")?)
        }
        extension::SEC_CTX => {
            let what = "sadb_x_sec_ctx";
            let [algorithm, doi]: [u8; 2] = octets_at(octets, 4, what)?;
            let length = u16_at(octets, 6, what)?;
            Ok(writeln!(out, "sadb_x_sec_ctx{{ doi={doi} alg={algorithm} len={length} }}")?)
        }
        _ => Ok(()),
    }
}

fn sa(out: &mut String, octets: &[u8]) -> Told {
    let what = "sadb_sa";
    let spi = u32::from_be_bytes(octets_at(octets, 4, what)?);
    let [replay, state, auth, encrypt]: [u8; 4] = octets_at(octets, 8, what)?;
    writeln!(out, "sadb_sa{{ spi={spi} replay={replay} state={state}")?;
    Ok(writeln!(out, "  auth={auth} encrypt={encrypt} flags=0x{:08x} }}", u32_at(octets, 12, what)?)?)
}

fn lifetime(out: &mut String, octets: &[u8]) -> Told {
    let what = "sadb_lifetime";
    let number = |at| u64_at(octets, at, what);
    writeln!(out, "sadb_lifetime{{ alloc={}, bytes={}", u32_at(octets, 4, what)?, number(8)?)?;
    Ok(writeln!(out, "  addtime={}, usetime={} }}", number(16)?, number(24)?)?)
}

fn key(out: &mut String, octets: &[u8]) -> Told {
    let what = "sadb_key";
    let (bits, reserved) = (u16_at(octets, 4, what)?, u16_at(octets, 6, what)?);
    let claimed = usize::from(bits).div_ceil(8);
    let Some(key) = octets.get(8..8 + claimed) else {
        return Err(CodecError::Length { what, claimed, available: octets.len() }.into());
    };
    Ok(writeln!(out, "sadb_key{{ bits={bits} reserved={reserved}\n  key={} }}", Hex(key))?)
}

fn policy(out: &mut String, octets: &[u8]) -> Told {
    let what = "sadb_x_policy";
    let kind = u16_at(octets, 4, what)?;
    let [direction]: [u8; 1] = octets_at(octets, 6, what)?;
    let (id, priority) = (u32_at(octets, 8, what)?, u32_at(octets, 12, what)?);
    writeln!(out, "sadb_x_policy{{ type={kind} dir={direction} id={id:x} priority={priority} }}")?;
    let mut rest = octets.get(16..).unwrap_or_default();
    while !rest.is_empty() {
        let what = "sadb_x_ipsecrequest";
        let (length, protocol) = (u16_at(rest, 0, what)?, u16_at(rest, 2, what)?);
        let [mode, level]: [u8; 2] = octets_at(rest, 4, what)?;
        let reqid = u32_at(rest, 8, what)?;
        writeln!(out, " {{ len={length} proto={protocol} mode={mode} level={level} reqid={reqid}")?;
        let claimed = usize::from(length);
        let Some(mut ends) = rest.get(HEADER..claimed) else {
            return Err(CodecError::Length { what, claimed, available: rest.len() }.into());
        };
        for _ in 0..2 {
            if !ends.is_empty() {
                let used = socket_address(out, ends)?;
                ends = ends.get(used..).unwrap_or_default();
            }
        }
        out.push_str(" }\n");
        rest = rest.get(claimed..).unwrap_or_default();
    }
    Ok(())
}

/// `struct sockaddr_in` or `struct sockaddr_in6`; how many octets it has.
fn socket_address(out: &mut String, octets: &[u8]) -> Result<usize, Wrong> {
    let what = "sockaddr";
    let family = u16_at(octets, 0, what)?;
    let port = u16::from_be_bytes(octets_at(octets, 2, what)?);
    let length = match family {
        2 => {
            let address = Ipv4Addr::from(octets_at::<4>(octets, 4, what)?);
            write!(out, "sockaddr{{ len=16 family={family} port={port}\n{}", Hex(&address.octets()))?;
            16
        }
        10 => {
            let (flow, scope) = (u32_at(octets, 4, what)?, u32_at(octets, 24, what)?);
            let address = Ipv6Addr::from(octets_at::<16>(octets, 8, what)?);
            writeln!(out, "sockaddr{{ len=28 family={family} port={port}")?;
            write!(out, "  flowinfo=0x{flow:08x}, scope_id=0x{scope:08x}\n{}", Hex(&address.octets()))?;
            28
        }
        other => return Err(CodecError::Family(other).into()),
    };
    out.push_str("  }\n");
    Ok(length)
}

#[cfg(test)]
mod tests {
    use policy::model::sa::{Direction, Mode, Protocol, ReqId, Spi};
    use policy::model::secret::Secret;
    use policy::model::selector::Selector;
    use xfrm::model::notice::{Notice, Severity};
    use xfrm::model::policy::{Policy, Verdict};
    use xfrm::model::sa::{Encryption, Integrity, Sa, SaName};
    use xfrm::model::template::{Need, Template};

    use super::super::message::{dumped, message};
    use super::*;

    fn sa_of(src: &str, dst: &str) -> Sa {
        let [src, dst] = [src, dst].map(|text| text.parse().expect("an address"));
        let mut sa = Sa::new(SaName { protocol: Protocol::Esp, spi: Spi(12345), src, dst }, Mode::Tunnel);
        let key = Secret::new(vec![7; 16]);
        sa.encryption = Some(Encryption { kernel_name: "cbc(aes)".into(), key: key.clone() });
        sa.integrity = Some(Integrity { kernel_name: "hmac(sha256)".into(), key, icv_bits: 128 });
        sa.reqid = ReqId(5);
        sa.replay_window = 4;
        sa
    }

    #[test]
    fn an_sa_that_is_added() {
        let notice = Notice::SaAdded { sa: Box::new(sa_of("10.0.0.1", "10.0.0.2")), requester: 0 };
        let octets = message(&notice, 100).expect("a message");
        assert_eq!(
            describe(&octets),
            "sadb_msg{ version=2 type=3 errno=0 satype=3\n  len=24 reserved=0 seq=0 pid=0\n\
             sadb_ext{ len=2 type=1 }\nsadb_sa{ spi=12345 replay=4 state=1\n  auth=5 encrypt=12 flags=0x00000000 }\n\
             sadb_ext{ len=2 type=19 }\nsadb_x_sa2{ mode=2 reqid=5\n  reserved1=0 reserved2=0 sequence=0 }\n\
             sadb_ext{ len=4 type=3 }\nsadb_lifetime{ alloc=0, bytes=0\n  addtime=0, usetime=0 }\n\
             sadb_ext{ len=4 type=4 }\nsadb_lifetime{ alloc=0, bytes=0\n  addtime=0, usetime=0 }\n\
             sadb_ext{ len=4 type=2 }\nsadb_lifetime{ alloc=0, bytes=0\n  addtime=0, usetime=0 }\n\
             sadb_ext{ len=3 type=5 }\nsadb_address{ proto=0 prefixlen=32 reserved=0x0000 }\n\
             sockaddr{ len=16 family=2 port=0\n 0a000001  }\n\
             sadb_ext{ len=3 type=6 }\nsadb_address{ proto=0 prefixlen=32 reserved=0x0000 }\n\
             sockaddr{ len=16 family=2 port=0\n 0a000002  }\n"
        );
        assert!(!octets.windows(4).any(|four| four == [7; 4]), "no key");
    }

    /// What `show-sa esp` of ipsec-tools' racoonctl walks through.
    #[test]
    fn a_dump_ends_with_sequence_number_0() {
        let octets = dumped(&[sa_of("10.0.0.1", "10.0.0.2"), sa_of("fd01::1", "fd01::2")], 100, 7);
        let text = describe_all(&octets);
        assert!(
            text.contains("sadb_msg{ version=2 type=10 errno=0 satype=3\n  len=30 reserved=0 seq=1 pid=7\n"),
            "{text}"
        );
        assert!(text.contains("seq=0 pid=7\n"), "{text}");
        let keys = "07070707 07070707 07070707 07070707";
        assert_eq!(text.matches(keys).count(), 4, "{text}");
        let (first, rest) = text.split_once("type=8 }\n").expect("a key for integrity");
        assert!(first.contains("type=6 }") && rest.starts_with("sadb_key{ bits=128 reserved=0\n"), "{text}");
        let nothing = describe_all(&dumped(&[], 100, 7));
        assert!(nothing.contains("type=10 errno=2 satype=0\n  len=2 reserved=0 seq=0 pid=7\n"), "{nothing}");
    }

    #[test]
    fn expiries_and_policies_of_ipv6() {
        let sa = sa_of("fd01::1", "fd01::2");
        let notice = Notice::SaExpired { sa: Box::new(sa.clone()), severity: Severity::Hard };
        let text = describe(&message(&notice, 100).expect("a message"));
        assert!(text.starts_with("sadb_msg{ version=2 type=8 errno=0 satype=3\n"), "{text}");
        assert!(text.contains("scope_id=0x00000000\n fd010000 00000000 00000000 00000002  }\n"), "{text}");

        let template = Template {
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            endpoints: Some((sa.name.src, sa.name.dst)),
            spi: Spi(0),
            reqid: ReqId(5),
            need: Need::Required,
        };
        let selector = Selector::hosts(sa.name.src, sa.name.dst);
        let policy = Policy::new(selector, Direction::Out, Verdict::Allow, vec![template]);
        let notice = Notice::PolicyAdded { policy: Box::new(policy), requester: 0 };
        let text = describe(&message(&notice, 100).expect("a message"));
        assert!(
            text.contains("sadb_x_policy{ type=2 dir=2 id=0 priority=0 }\n { len=72 proto=50 mode=2 level=3 reqid=5\n")
        );
        assert!(text.ends_with("00000002  }\n }\n"), "{text}");
    }

    #[test]
    fn recordings_may_hold_anything() {
        let notice = Notice::SasFlushed { protocol: None, requester: 0 };
        let flush = message(&notice, 0).expect("a message");
        let twice = describe_all(&[flush.clone(), flush.clone()].concat());
        assert_eq!(twice.matches("sadb_msg{ version=2 type=9 ").count(), 2);
        for octets in [vec![0; 7], vec![0; 1000], vec![0xff; 1000], flush[..15].to_vec()] {
            assert!(describe_all(&octets).contains("the message is not whole"));
        }
        // Every cut and every changed octet of a real message ends somewhere.
        let notice = Notice::SaAdded { sa: Box::new(sa_of("fd01::1", "fd01::2")), requester: 0 };
        let whole = message(&notice, 0).expect("a message");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            let _ = (describe_all(&changed), describe_all(&whole[..at]));
        }
    }
}
