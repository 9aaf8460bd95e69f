//! Policies: `struct xfrm_userpolicy_info` with its attributes, `struct xfrm_userpolicy_id`.

use netlink_packet_xfrm::constants::{
    XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK, XFRM_POLICY_FWD, XFRM_POLICY_IN, XFRM_POLICY_OUT, XFRM_POLICY_TYPE_MAIN,
    XFRM_POLICY_TYPE_SUB, XFRMA_IF_ID, XFRMA_MARK, XFRMA_POLICY_TYPE, XFRMA_SEC_CTX, XFRMA_TMPL,
};
use netlink_packet_xfrm::{
    Address, Id, UserPolicyId, UserPolicyInfo, UserPolicyType, UserTemplate, XFRM_USER_POLICY_INFO_LEN,
    XFRM_USER_TEMPLATE_LEN,
};
use policy::model::sa::{Direction, Mode, ReqId, Spi};

use super::attribute::{
    family_of, lifetimes_from_kernel, lifetimes_to_kernel, mode_number, read_address, read_context, read_mark,
    read_mode, read_protocol, selector_from_kernel, selector_to_kernel, usage_from_kernel, write_context, write_mark,
};
use super::error::CodecError;
use super::reader::{Attribute, Attributes, u32_at};
use super::writer::MessageWriter;
use crate::abi::MAX_TEMPLATES;
use crate::model::policy::{List, Place, Policy, PolicyKey, PolicyTarget, Verdict};
use crate::model::template::{Need, Template};

/// Directions beyond these are those of a socket's policies, as the kernel lists them.
const SOCKET_DIRECTIONS: u8 = 3;

/// The payload of NEWPOLICY and UPDPOLICY.
pub fn write_policy(writer: &mut MessageWriter, policy: &Policy) -> Result<(), CodecError> {
    let Place::Spd(direction) = policy.place else {
        return Err(CodecError::SocketPolicy);
    };
    if policy.templates.len() > MAX_TEMPLATES {
        return Err(CodecError::TooManyTemplates(policy.templates.len()));
    }
    let selector = selector_to_kernel(&policy.selector, policy.interface)?;
    let templates = policy.templates.iter().map(|template| template_to_kernel(template, selector.family));
    let templates = templates.collect::<Result<Vec<_>, _>>()?;
    writer.emit(&UserPolicyInfo {
        selector,
        lifetime_cfg: lifetimes_to_kernel(&policy.lifetimes),
        priority: policy.priority,
        index: policy.index,
        direction: direction_number(direction),
        action: verdict_number(policy.verdict),
        flags: policy.flags,
        share: policy.share,
        ..UserPolicyInfo::default()
    });
    write_list(writer, policy.list);
    write_context(writer, policy.context.as_ref());
    if !templates.is_empty() {
        writer.attribute(XFRMA_TMPL, |writer| templates.iter().for_each(|template| writer.emit(template)));
    }
    write_mark(writer, policy.mark);
    if let Some(if_id) = policy.if_id {
        writer.u32_attribute(XFRMA_IF_ID, if_id);
    }
    Ok(())
}

/// The payload of DELPOLICY and GETPOLICY.
pub fn write_policy_key(writer: &mut MessageWriter, key: &PolicyKey) -> Result<(), CodecError> {
    let mut id = UserPolicyId { direction: direction_number(key.direction), ..UserPolicyId::default() };
    match &key.target {
        PolicyTarget::Index(index) => id.index = *index,
        PolicyTarget::Selector { selector, interface } => id.selector = selector_to_kernel(selector, *interface)?,
    }
    writer.emit(&id);
    write_list(writer, key.list);
    write_mark(writer, key.mark);
    if let Some(if_id) = key.if_id {
        writer.u32_attribute(XFRMA_IF_ID, if_id);
    }
    Ok(())
}

/// `XFRMA_POLICY_TYPE`. Main is the kernel's default and left out.
pub fn write_list(writer: &mut MessageWriter, list: List) {
    if list == List::Sub {
        let structure = UserPolicyType { ptype: XFRM_POLICY_TYPE_SUB, ..UserPolicyType::default() };
        writer.attribute(XFRMA_POLICY_TYPE, |writer| writer.emit(&structure));
    }
}

/// `XFRMA_POLICY_TYPE`.
pub fn read_list(value: &[u8]) -> List {
    match value.first().copied().unwrap_or(XFRM_POLICY_TYPE_MAIN) {
        XFRM_POLICY_TYPE_SUB => List::Sub,
        _ => List::Main,
    }
}

fn template_to_kernel(template: &Template, selector_family: u16) -> Result<UserTemplate, CodecError> {
    let (src, dst, family) = match template.endpoints {
        Some((src, dst)) if src.is_ipv4() != dst.is_ipv4() => return Err(CodecError::MixedFamilies("a template")),
        Some((src, dst)) => (Address::from_ip(&src), Address::from_ip(&dst), family_of(dst)),
        None => (Address::default(), Address::default(), selector_family),
    };
    Ok(UserTemplate {
        id: Id { daddr: dst, spi: template.spi.0, proto: template.protocol.ip_number() },
        family,
        saddr: src,
        reqid: template.reqid.0,
        mode: mode_number(template.mode),
        optional: u8::from(template.need == Need::Optional),
        // Masks of all ones: any algorithm the SA has will do.
        ..UserTemplate::default()
    })
}

fn template_from_kernel(template: &UserTemplate) -> Result<Template, CodecError> {
    let mode = read_mode(template.mode)?;
    let src = read_address(&template.saddr, template.family)?;
    let dst = read_address(&template.id.daddr, template.family)?;
    let has_endpoints = mode == Mode::Tunnel || !src.is_unspecified() || !dst.is_unspecified();
    Ok(Template {
        protocol: read_protocol(template.id.proto)?,
        mode,
        endpoints: has_endpoints.then_some((src, dst)),
        spi: Spi(template.id.spi),
        reqid: ReqId(template.reqid),
        need: if template.optional == 0 { Need::Required } else { Need::Optional },
    })
}

/// `XFRMA_TMPL`: templates back to back. What does not fill a whole one is an error, and so is a seventh.
pub fn read_templates(value: &[u8]) -> Result<Vec<Template>, CodecError> {
    let (chunks, rest) = value.as_chunks::<XFRM_USER_TEMPLATE_LEN>();
    if !rest.is_empty() {
        return Err(CodecError::Truncated { what: "template", got: rest.len(), needed: XFRM_USER_TEMPLATE_LEN });
    }
    if chunks.len() > MAX_TEMPLATES {
        return Err(CodecError::TooManyTemplates(chunks.len()));
    }
    let read = |chunk: &[u8; XFRM_USER_TEMPLATE_LEN]| {
        let needed = XFRM_USER_TEMPLATE_LEN;
        let template = UserTemplate::parse(chunk);
        let template = template.map_err(|_| CodecError::Truncated { what: "template", got: chunk.len(), needed })?;
        template_from_kernel(&template)
    };
    chunks.iter().map(read).collect()
}

/// The payload of NEWPOLICY and UPDPOLICY, and of the answer to GETPOLICY.
pub fn read_policy(payload: &[u8]) -> Result<Policy, CodecError> {
    let info = read_header(payload)?;
    read_policy_with(&info, Attributes::after(payload, XFRM_USER_POLICY_INFO_LEN))
}

/// A policy from its header, with attributes that need not stand right behind it.
pub fn read_policy_with(info: &UserPolicyInfo, attributes: Attributes<'_>) -> Result<Policy, CodecError> {
    let mut policy = policy_from_header(info)?;
    for attribute in attributes {
        read_policy_attribute(&mut policy, attribute?)?;
    }
    Ok(policy)
}

/// `struct xfrm_userpolicy_info`.
pub fn read_header(octets: &[u8]) -> Result<UserPolicyInfo, CodecError> {
    UserPolicyInfo::parse(octets).map_err(|_| CodecError::Truncated {
        what: "xfrm_userpolicy_info",
        got: octets.len(),
        needed: XFRM_USER_POLICY_INFO_LEN,
    })
}

fn policy_from_header(info: &UserPolicyInfo) -> Result<Policy, CodecError> {
    Ok(Policy {
        selector: selector_from_kernel(&info.selector, 0)?,
        interface: u32::try_from(info.selector.ifindex).unwrap_or(0),
        place: read_place(info.direction)?,
        verdict: match info.action {
            XFRM_POLICY_ALLOW => Verdict::Allow,
            XFRM_POLICY_BLOCK => Verdict::Block,
            other => return Err(CodecError::Action(other)),
        },
        priority: info.priority,
        index: info.index,
        list: List::Main,
        templates: Vec::new(),
        mark: None,
        if_id: None,
        context: None,
        lifetimes: lifetimes_from_kernel(&info.lifetime_cfg),
        usage: usage_from_kernel(&info.lifetime_cur),
        flags: info.flags,
        share: info.share,
    })
}

fn read_policy_attribute(policy: &mut Policy, attribute: Attribute<'_>) -> Result<(), CodecError> {
    let value = attribute.value;
    match attribute.kind {
        XFRMA_TMPL => policy.templates = read_templates(value)?,
        XFRMA_POLICY_TYPE => policy.list = read_list(value),
        XFRMA_SEC_CTX => policy.context = Some(read_context(value)?),
        XFRMA_MARK => policy.mark = Some(read_mark(value)?),
        XFRMA_IF_ID => policy.if_id = Some(u32_at(value, 0, "interface identifier")?),
        _ => {}
    }
    Ok(())
}

/// `struct xfrm_userpolicy_id` with its attributes: how a deleted policy was named.
pub fn read_policy_key(id: &UserPolicyId, policy: &Policy) -> Result<PolicyKey, CodecError> {
    let target = if id.index == 0 {
        let interface = u32::try_from(id.selector.ifindex).unwrap_or(0);
        PolicyTarget::Selector { selector: selector_from_kernel(&id.selector, 0)?, interface }
    } else {
        PolicyTarget::Index(id.index)
    };
    let direction = read_place(id.direction)?.direction();
    Ok(PolicyKey { target, direction, list: policy.list, mark: policy.mark, if_id: policy.if_id })
}

fn read_place(number: u8) -> Result<Place, CodecError> {
    let direction = match number % SOCKET_DIRECTIONS {
        XFRM_POLICY_IN => Direction::In,
        XFRM_POLICY_OUT => Direction::Out,
        _ => Direction::Fwd,
    };
    match number / SOCKET_DIRECTIONS {
        0 => Ok(Place::Spd(direction)),
        1 => Ok(Place::Socket(direction)),
        _ => Err(CodecError::Direction(number)),
    }
}

/// The number of a direction.
pub fn direction_number(direction: Direction) -> u8 {
    match direction {
        Direction::In => XFRM_POLICY_IN,
        Direction::Out => XFRM_POLICY_OUT,
        Direction::Fwd => XFRM_POLICY_FWD,
    }
}

fn verdict_number(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => XFRM_POLICY_ALLOW,
        Verdict::Block => XFRM_POLICY_BLOCK,
    }
}
