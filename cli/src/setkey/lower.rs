//! A statement of a script becomes requests to the kernel, in the shape PF_KEY gave them on Linux.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use policy::model::addr::{IpNet, host_net};
use policy::model::sa::Template as WrittenTemplate;
use policy::model::sa::{Action, Direction, Level, Mode, ReqId, Spi};
use policy::model::selector::Selector;
use policy::setkey::algorithm::{self, Algorithm};
use policy::setkey::statement::{Keyed, NewSa, PolicyKey, PolicySpec, SaKey, SaLimits, UnwordedLimits};
use policy::setkey::unworded::{UnwordedPolicy, UnwordedSa};
use xfrm::abi::MANUAL_REQID_MAX;
use xfrm::model::limits::{Lifetimes, Limits};
use xfrm::model::mark::Mark;
use xfrm::model::policy::{Place, Policy, PolicyKey as KernelPolicyKey, Verdict};
use xfrm::model::sa::{EncapKind, Encapsulation, Encryption, Integrity, STATE_AF_UNSPEC, Sa, SaName};
use xfrm::model::template::{Need, Template};

use super::options::PolicyMode;

/// Fresh reqids for `unique` without a number, above those a script may choose.
#[derive(Debug)]
pub struct ReqIds {
    used: HashSet<u32>,
    next: u32,
}

impl ReqIds {
    /// Knows the reqids of the SPD as it stands.
    pub fn new(policies: &[Policy]) -> Self {
        let templates = policies.iter().flat_map(|policy| &policy.templates);
        Self { used: templates.map(|template| template.reqid.0).collect(), next: MANUAL_REQID_MAX }
    }

    /// One that no policy has.
    pub fn fresh(&mut self) -> ReqId {
        loop {
            // Four thousand million policies do not fit into a kernel: there is always one left.
            self.next = self.next.checked_add(1).unwrap_or(MANUAL_REQID_MAX + 1);
            if self.used.insert(self.next) {
                return ReqId(self.next);
            }
        }
    }
}

/// Does the policy ask for a reqid of its own choosing? Only then the SPD must be looked at first.
pub fn needs_fresh_reqid(spec: &PolicySpec) -> bool {
    spec.templates.iter().any(|template| template.level == Level::Unique(None))
}

/// The kernel's name of an SA.
pub fn sa_name(key: &SaKey) -> SaName {
    SaName { protocol: key.protocol, spi: key.spi, src: key.src, dst: key.dst }
}

/// `add`.
pub fn sa(new: &NewSa) -> Sa {
    let mut sa = Sa::new(sa_name(&new.key), new.mode);
    sa.reqid = new.reqid;
    // setkey's word for it: no `-r`, no replay check. A sender keyed by hand starts again from 1 after a reboot.
    sa.replay_window = new.replay_window.unwrap_or(0);
    sa.encryption = new
        .encryption
        .as_ref()
        .map(|Keyed { algorithm, key }| Encryption { kernel_name: algorithm.kernel_name.to_owned(), key: key.clone() });
    sa.integrity = new.integrity.as_ref().map(|Keyed { algorithm, key }| Integrity {
        kernel_name: algorithm.kernel_name.to_owned(),
        key: key.clone(),
        icv_bits: algorithm.icv_bits.into(),
    });
    sa.compression = new.is_deflate.then(|| "deflate".to_owned());
    sa.lifetimes = lifetimes(&new.limits);
    sa.encapsulation = new.encapsulation.map(|udp| Encapsulation {
        kind: EncapKind::EspInUdp,
        src_port: udp.src_port,
        dst_port: udp.dst_port,
        original_address: udp.original_address,
    });
    sa.context.clone_from(&new.context);
    sa.flags = FLAGS.iter().filter(|(_, pfkey)| new.flags & pfkey != 0).map(|(xfrm, _)| xfrm).sum();
    let UnwordedSa { icv_bits, selector, mark: name_mark, output_mark, if_id, flags, extra_flags } = new.unworded;
    if let (Some(integrity), Some(bits)) = (&mut sa.integrity, icv_bits) {
        integrity.icv_bits = bits;
    }
    (sa.selector, sa.mark, sa.output_mark) = (selector, name_mark.map(mark), output_mark.map(mark));
    (sa.if_id, sa.extra_flags) = (if_id, extra_flags);
    sa.flags |= u8::try_from(flags).unwrap_or(0);
    sa
}

/// What a dump must say of `sa` beyond PF_KEY's words; the other half of [`sa`].
pub fn unworded_sa(sa: &Sa) -> UnwordedSa {
    let usual = |integrity: &&Integrity| {
        integrity_of(&integrity.kernel_name).is_none_or(|of| u32::from(of.icv_bits) == integrity.icv_bits)
    };
    let odd = sa.integrity.as_ref().filter(|integrity| integrity.icv_bits != 0 && !usual(integrity));
    let is_narrow = sa.mode == Mode::Tunnel && sa.selector.is_none() && sa.flags & STATE_AF_UNSPEC == 0;
    let mut flags = FLAGS.iter().fold(sa.flags, |flags, (xfrm, _)| flags & !xfrm);
    if sa.mode == Mode::Tunnel && sa.selector.is_none() {
        // Said by every tunnel that setkey makes.
        flags &= !STATE_AF_UNSPEC;
    }
    UnwordedSa {
        icv_bits: odd.map(|integrity| integrity.icv_bits),
        // A tunnel for packets of the outer family alone.
        selector: sa.selector.or_else(|| is_narrow.then(|| everything(sa.name.dst))),
        mark: sa.mark.map(|mark| (mark.value, mark.mask)),
        output_mark: sa.output_mark.map(|mark| (mark.value, mark.mask)),
        if_id: sa.if_id,
        flags: flags.into(),
        extra_flags: sa.extra_flags,
    }
}

/// Every packet of the family of `address`.
fn everything(address: IpAddr) -> Selector {
    let net = IpNet::new(address, 0).map_or_else(|_| host_net(address), |net| net.trunc());
    Selector::between(net, net)
}

/// The integrity algorithm of the kernel's name.
pub fn integrity_of(kernel_name: &str) -> Option<Algorithm> {
    let mut known = algorithm::integrity_names().filter_map(algorithm::integrity);
    known.find(|integrity| integrity.kernel_name == kernel_name)
}

fn mark((value, mask): (u32, u32)) -> Mark {
    Mark { value, mask }
}

/// `XFRM_STATE_*` and `SADB_SAFLAGS_*` of the same meaning.
pub const FLAGS: [(u8, u32); 3] = [(1, 0x8000_0000), (2, 0x4000_0000), (4, 0x2000_0000)];

/// A limit of 0 is none.
fn lifetimes(limits: &SaLimits) -> Lifetimes {
    let seconds = |limit: Option<u64>| limit.filter(|seconds| *seconds != 0).map(Duration::from_secs);
    let count = |limit: Option<u64>| limit.filter(|count| *count != 0);
    let severity = |added, used, bytes, packets| Limits {
        since_added: seconds(added),
        since_used: seconds(used),
        bytes: count(bytes),
        packets: count(packets),
    };
    let UnwordedLimits { hard_used, soft_used, hard_packets, soft_packets } = limits.unworded;
    Lifetimes {
        soft: severity(limits.soft_seconds, soft_used, limits.soft_octets, soft_packets),
        hard: severity(limits.hard_seconds, hard_used, limits.hard_octets, hard_packets),
    }
}

/// `spdadd`, `spdupdate`: the policy, and the `fwd` twin that an `in` policy has in RFC mode.
pub fn policies(spec: &PolicySpec, mode: PolicyMode, mut fresh: impl FnMut() -> ReqId) -> Vec<Policy> {
    let verdict = if spec.action == Action::Discard { Verdict::Block } else { Verdict::Allow };
    let templates = match spec.action {
        Action::Ipsec => spec.templates.iter().map(|written| template(written, &mut fresh)).collect(),
        Action::Discard | Action::None => Vec::new(),
    };
    let mut policy = Policy::new(spec.key.selector, spec.key.direction, verdict, templates);
    policy.priority = spec.priority;
    policy.context.clone_from(&spec.context);
    let seconds = |limit: Option<u64>| limit.filter(|seconds| *seconds != 0).map(Duration::from_secs);
    policy.lifetimes.hard.since_added = seconds(spec.limits.since_added);
    policy.lifetimes.hard.since_used = seconds(spec.limits.since_used);
    let UnwordedPolicy { mark: wanted, if_id, interface, flags, use_reqids, spis } = &spec.unworded;
    (policy.mark, policy.if_id, policy.interface) = (wanted.map(mark), *if_id, *interface);
    policy.flags = u8::try_from(*flags).unwrap_or(0);
    for (template, reqid) in policy.templates.iter_mut().zip(use_reqids).filter(|(_, reqid)| **reqid != 0) {
        template.reqid = ReqId(*reqid);
    }
    for (template, spi) in policy.templates.iter_mut().zip(spis) {
        template.spi = Spi(*spi);
    }
    let twin = has_twin(spec.key.direction, mode).then(|| forward_twin(&policy, &spec.templates));
    std::iter::once(policy).chain(twin).collect()
}

/// What a dump must say of `policy` beyond PF_KEY's words; the other half of [`policies`].
pub fn unworded_policy(policy: &Policy) -> UnwordedPolicy {
    UnwordedPolicy {
        mark: policy.mark.map(|mark| (mark.value, mark.mask)),
        if_id: policy.if_id,
        interface: policy.interface,
        flags: policy.flags.into(),
        use_reqids: Vec::new(),
        spis: match policy.templates.iter().any(|template| template.spi != Spi(0)) {
            true => policy.templates.iter().map(|template| template.spi.0).collect(),
            false => Vec::new(),
        },
    }
}

/// `spddelete`.
pub fn policy_keys(key: &PolicyKey, mode: PolicyMode) -> Vec<KernelPolicyKey> {
    let named = |direction| KernelPolicyKey::selector(key.selector, direction);
    let twin = has_twin(key.direction, mode).then(|| named(Direction::Fwd));
    std::iter::once(named(key.direction)).chain(twin).collect()
}

fn has_twin(direction: Direction, mode: PolicyMode) -> bool {
    direction == Direction::In && mode == PolicyMode::Rfc
}

/// Unique becomes require: the reqid belongs to the `in` policy's SAs.
fn forward_twin(policy: &Policy, written: &[WrittenTemplate]) -> Policy {
    let mut twin = policy.clone();
    twin.place = Place::Spd(Direction::Fwd);
    for (template, written) in twin.templates.iter_mut().zip(written) {
        if matches!(written.level, Level::Unique(_)) {
            template.reqid = ReqId(0);
        }
    }
    twin
}

fn template(written: &WrittenTemplate, fresh: &mut impl FnMut() -> ReqId) -> Template {
    Template {
        protocol: written.protocol,
        mode: written.mode,
        endpoints: written.endpoints,
        spi: Spi(0),
        reqid: match written.level {
            Level::Unique(Some(reqid)) => reqid,
            Level::Unique(None) => fresh(),
            Level::Default | Level::Use | Level::Require => ReqId(0),
        },
        need: if written.level == Level::Use { Need::Optional } else { Need::Required },
    }
}

#[cfg(test)]
mod tests {
    use policy::model::sa::Protocol;
    use policy::setkey::parser::parse;
    use policy::setkey::statement::StatementKind;

    use super::*;

    fn spec(text: &str) -> PolicySpec {
        let script = parse("t", text.as_bytes());
        assert_eq!(script.render(), "");
        match script.statements.into_iter().next().map(|statement| statement.kind) {
            Some(StatementKind::SpdAdd(spec)) => spec,
            other => panic!("not a policy: {other:?}"),
        }
    }

    fn lowered(text: &str, mode: PolicyMode) -> Vec<Policy> {
        let mut reqids = ReqIds::new(&[]);
        policies(&spec(text), mode, || reqids.fresh())
    }

    #[test]
    fn an_in_policy_brings_a_fwd_twin_that_requires() {
        let text = "spdadd 10.0.0.1 10.0.0.2 any -P in ipsec esp/transport//unique:5 ;";
        let made = lowered(text, PolicyMode::Rfc);
        let shape: Vec<_> = made.iter().map(|made| (made.place.direction(), made.templates.len())).collect();
        assert_eq!(shape, [(Direction::In, 1), (Direction::Fwd, 1)]);
        let reqids: Vec<_> = made.iter().flat_map(|made| &made.templates).map(|template| template.reqid.0).collect();
        assert_eq!(reqids, [5, 0]);
        assert!(made.iter().all(|made| made.priority == 0x8000_0000));
        assert_eq!(lowered(text, PolicyMode::Kernel).len(), 1);
        assert_eq!(lowered(&text.replace(" in ", " out "), PolicyMode::Rfc).len(), 1);
    }

    #[test]
    fn unique_takes_a_reqid_nobody_has() {
        let text = "spdadd 10.0.0.1 10.0.0.2 any -P out ipsec ah/transport//unique esp/transport//unique ;";
        let first = lowered(text, PolicyMode::Rfc);
        let mut reqids = ReqIds::new(&first);
        let second = policies(&spec(text), PolicyMode::Rfc, || reqids.fresh());
        let all: Vec<_> =
            first.iter().chain(&second).flat_map(|made| &made.templates).map(|template| template.reqid.0).collect();
        assert_eq!(all, [16384, 16385, 16386, 16387]);
    }

    #[test]
    fn discard_and_none_have_no_templates() {
        let shape = |action: &str| {
            let made = lowered(&format!("spdadd ::/0 ::1 tcp -P out {action} ;"), PolicyMode::Rfc);
            made.first().map(|made| (made.verdict, made.templates.len()))
        };
        assert_eq!(shape("discard"), Some((Verdict::Block, 0)));
        assert_eq!(shape("none"), Some((Verdict::Allow, 0)));
        assert_eq!(shape("ipsec esp/transport//use"), Some((Verdict::Allow, 1)));
    }

    #[test]
    fn sha256_gets_128_bits_and_no_replay_window_unless_written() {
        let key = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let text = format!(
            "add 10.0.0.1 10.0.0.2 esp 0x201 -m tunnel -lh 600 -ls 480 -bs 0 -E aes-cbc \"0123456789abcdef\" -A hmac-sha256 {key} ;"
        );
        let script = parse("t", text.as_bytes());
        assert_eq!(script.render(), "");
        let Some(StatementKind::Add(new)) = script.statements.into_iter().next().map(|statement| statement.kind) else {
            panic!("not an SA");
        };
        let sa = sa(&new);
        assert_eq!(sa.integrity.as_ref().map(|integrity| integrity.icv_bits), Some(128));
        assert_eq!((sa.name.protocol, sa.mode, sa.replay_window), (Protocol::Esp, Mode::Tunnel, 0));
        assert_eq!(sa.lifetimes.hard.since_added, Some(Duration::from_secs(600)));
        assert_eq!(sa.lifetimes.soft.bytes, None);
    }
}
