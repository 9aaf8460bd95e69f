//! Notices: one function per message.

use netlink_packet_xfrm::constants::{
    AF_INET, XFRM_MSG_ACQUIRE, XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA, XFRM_MSG_EXPIRE, XFRM_MSG_FLUSHPOLICY,
    XFRM_MSG_FLUSHSA, XFRM_MSG_MAPPING, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA, XFRM_MSG_POLEXPIRE, XFRM_MSG_UPDPOLICY,
    XFRM_MSG_UPDSA, XFRMA_IF_ID, XFRMA_MARK, XFRMA_POLICY, XFRMA_POLICY_TYPE, XFRMA_SA, XFRMA_TMPL,
};
use netlink_packet_xfrm::{
    UserAcquire, UserExpire, UserMapping, UserPolicyExpire, UserPolicyId, XFRM_USER_ACQUIRE_LEN, XFRM_USER_EXPIRE_LEN,
    XFRM_USER_MAPPING_LEN, XFRM_USER_POLICY_EXPIRE_LEN, XFRM_USER_POLICY_ID_LEN, XFRM_USER_SA_ID_LEN,
};
use policy::model::sa::{Protocol, ReqId, Spi};

use super::attribute::{read_address, read_mark, read_protocol, selector_from_kernel};
use super::error::CodecError;
use super::policy::{
    read_header as read_policy_header, read_list, read_policy, read_policy_key, read_policy_with, read_templates,
};
use super::reader::{Attributes, Message, u32_at};
use super::sa::{read_header as read_sa_header, read_sa, read_sa_with};
use crate::model::notice::{Acquire, Mapping, Notice, Severity};
use crate::model::policy::List;

/// Any message of the event socket. Never fails: what cannot be read is said to be so.
pub fn read_notice(message: &Message<'_>) -> Notice {
    read_known(message).unwrap_or_else(|error| Notice::Unreadable { kind: message.kind.0, error })
}

fn read_known(message: &Message<'_>) -> Result<Notice, CodecError> {
    let payload = message.checked_payload()?;
    let requester = message.port;
    Ok(match message.kind.0 {
        XFRM_MSG_ACQUIRE => Notice::Acquire(Box::new(read_acquire(payload)?)),
        XFRM_MSG_EXPIRE => read_expire(payload)?,
        XFRM_MSG_POLEXPIRE => read_policy_expire(payload)?,
        XFRM_MSG_NEWSA => Notice::SaAdded { sa: Box::new(read_sa(payload)?), requester },
        XFRM_MSG_UPDSA => Notice::SaUpdated { sa: Box::new(read_sa(payload)?), requester },
        XFRM_MSG_DELSA => read_sa_deleted(payload, requester)?,
        XFRM_MSG_FLUSHSA => read_sas_flushed(payload, requester),
        XFRM_MSG_NEWPOLICY => Notice::PolicyAdded { policy: Box::new(read_policy(payload)?), requester },
        XFRM_MSG_UPDPOLICY => Notice::PolicyUpdated { policy: Box::new(read_policy(payload)?), requester },
        XFRM_MSG_DELPOLICY => read_policy_deleted(payload, requester)?,
        XFRM_MSG_FLUSHPOLICY => read_policies_flushed(payload, requester)?,
        XFRM_MSG_MAPPING => Notice::MappingChanged(read_mapping(payload)?),
        kind => Notice::Other { kind, octets: payload.to_vec() },
    })
}

fn truncated(what: &'static str, payload: &[u8], needed: usize) -> CodecError {
    CodecError::Truncated { what, got: payload.len(), needed }
}

fn read_acquire(payload: &[u8]) -> Result<Acquire, CodecError> {
    let needed = XFRM_USER_ACQUIRE_LEN;
    let raw = UserAcquire::parse(payload).map_err(|_| truncated("xfrm_user_acquire", payload, needed))?;
    // The structure has no family of its own; the flow's is the packet's, the template's that of the SA.
    let mut templates = Vec::new();
    let mut family = raw.selector.family;
    let (mut mark, mut if_id, mut list) = (None, None, List::Main);
    for attribute in Attributes::after(payload, needed) {
        let attribute = attribute?;
        match attribute.kind {
            XFRMA_TMPL => {
                templates = read_templates(attribute.value)?;
                family = templates_family(attribute.value, raw.id.proto).unwrap_or(family);
            }
            XFRMA_MARK => mark = Some(read_mark(attribute.value)?),
            XFRMA_IF_ID => if_id = Some(u32_at(attribute.value, 0, "interface identifier")?),
            XFRMA_POLICY_TYPE => list = read_list(attribute.value),
            _ => {}
        }
    }
    let mut policy = read_policy_with(&raw.policy, Attributes::after(&[], 0))?;
    policy.list = list;
    policy.templates.clone_from(&templates);
    Ok(Acquire {
        protocol: read_protocol(raw.id.proto)?,
        src: read_address(&raw.saddr, family)?,
        dst: read_address(&raw.id.daddr, family)?,
        flow: selector_from_kernel(&raw.selector, AF_INET)?,
        policy,
        templates,
        seq: raw.seq,
        mark,
        if_id,
    })
}

/// The family of the first template for this protocol.
fn templates_family(value: &[u8], protocol: u8) -> Option<u16> {
    let (chunks, _) = value.as_chunks::<{ netlink_packet_xfrm::XFRM_USER_TEMPLATE_LEN }>();
    let templates = chunks.iter().filter_map(|chunk| netlink_packet_xfrm::UserTemplate::parse(chunk).ok());
    templates.into_iter().find(|template| template.id.proto == protocol).map(|template| template.family)
}

fn severity(hard: u8) -> Severity {
    if hard == 0 { Severity::Soft } else { Severity::Hard }
}

fn read_expire(payload: &[u8]) -> Result<Notice, CodecError> {
    let needed = XFRM_USER_EXPIRE_LEN;
    let raw = UserExpire::parse(payload).map_err(|_| truncated("xfrm_user_expire", payload, needed))?;
    let sa = read_sa_with(&raw.state, Attributes::after(payload, needed))?;
    Ok(Notice::SaExpired { sa: Box::new(sa), severity: severity(raw.hard) })
}

fn read_policy_expire(payload: &[u8]) -> Result<Notice, CodecError> {
    let needed = XFRM_USER_POLICY_EXPIRE_LEN;
    let raw = UserPolicyExpire::parse(payload).map_err(|_| truncated("xfrm_user_polexpire", payload, needed))?;
    let policy = read_policy_with(&raw.pol, Attributes::after(payload, needed))?;
    Ok(Notice::PolicyExpired { policy: Box::new(policy), severity: severity(raw.hard) })
}

/// DELSA: the identifier, then the whole SA as an attribute, its own attributes behind that.
fn read_sa_deleted(payload: &[u8], requester: u32) -> Result<Notice, CodecError> {
    let value = required(payload, XFRM_USER_SA_ID_LEN, XFRMA_SA, ("DELSA", "SA"))?;
    let info = read_sa_header(value)?;
    let sa = read_sa_with(&info, Attributes::after(payload, XFRM_USER_SA_ID_LEN))?;
    Ok(Notice::SaDeleted { sa: Box::new(sa), requester })
}

/// DELPOLICY: the identifier, then the whole policy as an attribute, its own attributes behind that.
fn read_policy_deleted(payload: &[u8], requester: u32) -> Result<Notice, CodecError> {
    let needed = XFRM_USER_POLICY_ID_LEN;
    let id = UserPolicyId::parse(payload).map_err(|_| truncated("xfrm_userpolicy_id", payload, needed))?;
    let value = required(payload, needed, XFRMA_POLICY, ("DELPOLICY", "policy"))?;
    let info = read_policy_header(value)?;
    let policy = read_policy_with(&info, Attributes::after(payload, needed))?;
    let key = read_policy_key(&id, &policy)?;
    Ok(Notice::PolicyDeleted { key, policy: Box::new(policy), requester })
}

fn required<'a>(
    payload: &'a [u8],
    fixed_len: usize,
    kind: u16,
    (message, what): (&'static str, &'static str),
) -> Result<&'a [u8], CodecError> {
    for attribute in Attributes::after(payload, fixed_len) {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(attribute.value);
        }
    }
    Err(CodecError::MissingAttribute(message, what))
}

fn read_sas_flushed(payload: &[u8], requester: u32) -> Notice {
    let protocol = payload.first().copied().and_then(Protocol::from_ip_number);
    Notice::SasFlushed { protocol, requester }
}

fn read_policies_flushed(payload: &[u8], requester: u32) -> Result<Notice, CodecError> {
    let mut list = List::Main;
    for attribute in Attributes::after(payload, 0) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_POLICY_TYPE {
            list = read_list(attribute.value);
        }
    }
    Ok(Notice::PoliciesFlushed { list, requester })
}

fn read_mapping(payload: &[u8]) -> Result<Mapping, CodecError> {
    let needed = XFRM_USER_MAPPING_LEN;
    let raw = UserMapping::parse(payload).map_err(|_| truncated("xfrm_user_mapping", payload, needed))?;
    let family = raw.id.family;
    Ok(Mapping {
        protocol: read_protocol(raw.id.proto)?,
        spi: Spi(raw.id.spi),
        dst: read_address(&raw.id.daddr, family)?,
        reqid: ReqId(raw.reqid),
        old: (read_address(&raw.old_saddr, family)?, raw.old_sport),
        new: (read_address(&raw.new_saddr, family)?, raw.new_sport),
    })
}
