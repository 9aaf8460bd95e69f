//! SAs: `struct xfrm_usersa_info` with its attributes, `struct xfrm_usersa_id`, `struct xfrm_userspi_info`.

use std::net::IpAddr;

use netlink_packet_xfrm::constants::{
    IPPROTO_COMP, XFRM_STATE_AF_UNSPEC, XFRMA_ALG_AEAD, XFRMA_ALG_AUTH, XFRMA_ALG_AUTH_TRUNC, XFRMA_ALG_COMP,
    XFRMA_ALG_CRYPT, XFRMA_ENCAP, XFRMA_IF_ID, XFRMA_LASTUSED, XFRMA_LTIME_VAL, XFRMA_MARK, XFRMA_REPLAY_ESN_VAL,
    XFRMA_REPLAY_VAL, XFRMA_SA_EXTRA_FLAGS, XFRMA_SEC_CTX, XFRMA_SET_MARK, XFRMA_SET_MARK_MASK,
};
use netlink_packet_xfrm::{Address, Id, UserSaId, UserSaInfo, UserSpiInfo, XFRM_USER_SA_INFO_LEN};
use policy::model::sa::{Mode, ReqId, Spi};

use super::attribute::{
    AlgorithmLayout, family_of, lifetimes_from_kernel, lifetimes_to_kernel, mode_number, read_address, read_algorithm,
    read_context, read_encapsulation, read_mark, read_mode, read_protocol, selector_from_kernel, selector_to_kernel,
    usage_from_kernel, usage_to_kernel, write_algorithm, write_context, write_encapsulation, write_mark,
    write_replay_state,
};
use super::error::CodecError;
use super::reader::{Attribute, Attributes, u32_at, u64_at};
use super::writer::MessageWriter;
use crate::model::limits::Usage;
use crate::model::mark::Mark;
use crate::model::sa::{Aead, Encryption, Integrity, ReplayState, STATE_ESN, Sa, SaName, Statistics};
use crate::request::SpiRequest;

/// The widest window that fits the old field; wider ones need a bitmap attribute.
const PLAIN_WINDOW_MAX: u32 = 32;

/// The payload of NEWSA and UPDSA.
pub fn write_sa(writer: &mut MessageWriter, sa: &Sa) -> Result<(), CodecError> {
    let has_replay_window = sa.name.protocol.ip_number() != IPPROTO_COMP;
    let mut info = sa_header(&sa.name, sa.mode, sa.reqid)?;
    info.seq = sa.seq;
    info.lifetime_cfg = lifetimes_to_kernel(&sa.lifetimes);
    info.flags = sa.flags;
    match &sa.selector {
        Some(selector) => info.selector = selector_to_kernel(selector, 0)?,
        // Without this flag the kernel narrows a tunnel to packets of the outer header's family.
        None if sa.mode == Mode::Tunnel => info.flags |= XFRM_STATE_AF_UNSPEC,
        None => {}
    }
    // Extended sequence numbers are counted in the bitmap's attribute alone.
    let needs_bitmap = sa.replay_window > PLAIN_WINDOW_MAX || sa.flags & STATE_ESN != 0;
    if has_replay_window && !needs_bitmap {
        info.replay_window = u8::try_from(sa.replay_window).unwrap_or(0);
    }
    writer.emit(&info);
    if has_replay_window && needs_bitmap {
        write_replay_state(writer, sa.replay_window, sa.replay)?;
    }
    write_algorithms(writer, sa)?;
    if let Some(encapsulation) = &sa.encapsulation {
        write_encapsulation(writer, encapsulation);
    }
    write_mark(writer, sa.mark);
    if let Some(Mark { value, mask }) = sa.output_mark {
        writer.u32_attribute(XFRMA_SET_MARK, value);
        writer.u32_attribute(XFRMA_SET_MARK_MASK, mask);
    }
    if let Some(if_id) = sa.if_id {
        writer.u32_attribute(XFRMA_IF_ID, if_id);
    }
    if sa.usage != Usage::default() {
        writer.attribute(XFRMA_LTIME_VAL, |writer| writer.emit(&usage_to_kernel(&sa.usage)));
    }
    write_context(writer, sa.context.as_ref());
    if sa.extra_flags != 0 {
        writer.u32_attribute(XFRMA_SA_EXTRA_FLAGS, sa.extra_flags);
    }
    Ok(())
}

fn write_algorithms(writer: &mut MessageWriter, sa: &Sa) -> Result<(), CodecError> {
    if let Some(Encryption { kernel_name, key }) = &sa.encryption {
        write_algorithm(writer, XFRMA_ALG_CRYPT, kernel_name, key.expose(), None)?;
    }
    if let Some(Integrity { kernel_name, key, icv_bits }) = &sa.integrity {
        write_algorithm(writer, XFRMA_ALG_AUTH_TRUNC, kernel_name, key.expose(), Some(*icv_bits))?;
    }
    if let Some(Aead { kernel_name, key, icv_bits }) = &sa.aead {
        write_algorithm(writer, XFRMA_ALG_AEAD, kernel_name, key.expose(), Some(*icv_bits))?;
    }
    if let Some(kernel_name) = &sa.compression {
        write_algorithm(writer, XFRMA_ALG_COMP, kernel_name, &[], None)?;
    }
    Ok(())
}

fn sa_header(name: &SaName, mode: Mode, reqid: ReqId) -> Result<UserSaInfo, CodecError> {
    if name.src.is_ipv4() != name.dst.is_ipv4() {
        return Err(CodecError::MixedFamilies("an SA"));
    }
    Ok(UserSaInfo {
        id: Id { daddr: Address::from_ip(&name.dst), spi: name.spi.0, proto: name.protocol.ip_number() },
        saddr: Address::from_ip(&name.src),
        reqid: reqid.0,
        family: family_of(name.dst),
        mode: mode_number(mode),
        ..UserSaInfo::default()
    })
}

/// The payload of DELSA and GETSA.
pub fn write_sa_id(writer: &mut MessageWriter, name: &SaName, mark: Option<Mark>) {
    writer.emit(&UserSaId {
        daddr: Address::from_ip(&name.dst),
        spi: name.spi.0,
        family: family_of(name.dst),
        proto: name.protocol.ip_number(),
    });
    write_mark(writer, mark);
}

/// The payload of ALLOCSPI.
pub fn write_spi_request(writer: &mut MessageWriter, request: &SpiRequest) -> Result<(), CodecError> {
    let name = SaName { protocol: request.protocol, spi: Spi(0), src: request.src, dst: request.dst };
    let mut info = sa_header(&name, request.mode, request.reqid)?;
    info.seq = request.seq;
    writer.emit(&UserSpiInfo { info, min: request.min.0, max: request.max.0 });
    write_mark(writer, request.mark);
    if let Some(if_id) = request.if_id {
        writer.u32_attribute(XFRMA_IF_ID, if_id);
    }
    Ok(())
}

/// The payload of NEWSA and UPDSA, and of the answers to GETSA and ALLOCSPI.
pub fn read_sa(payload: &[u8]) -> Result<Sa, CodecError> {
    let info = read_header(payload)?;
    read_sa_with(&info, Attributes::after(payload, XFRM_USER_SA_INFO_LEN))
}

/// An SA from its header, with attributes that need not stand right behind it.
pub fn read_sa_with(info: &UserSaInfo, attributes: Attributes<'_>) -> Result<Sa, CodecError> {
    let mut sa = sa_from_header(info)?;
    for attribute in attributes {
        read_sa_attribute(&mut sa, attribute?)?;
    }
    Ok(sa)
}

/// `struct xfrm_usersa_info`.
pub fn read_header(octets: &[u8]) -> Result<UserSaInfo, CodecError> {
    UserSaInfo::parse(octets).map_err(|_| CodecError::Truncated {
        what: "xfrm_usersa_info",
        got: octets.len(),
        needed: XFRM_USER_SA_INFO_LEN,
    })
}

fn sa_from_header(info: &UserSaInfo) -> Result<Sa, CodecError> {
    let address = |address: &Address| -> Result<IpAddr, CodecError> { read_address(address, info.family) };
    let name = SaName {
        protocol: read_protocol(info.id.proto)?,
        spi: Spi(info.id.spi),
        src: address(&info.saddr)?,
        dst: address(&info.id.daddr)?,
    };
    let mut sa = Sa::new(name, read_mode(info.mode)?);
    sa.reqid = ReqId(info.reqid);
    let selector = selector_from_kernel(&info.selector, info.family)?;
    let is_everything = selector.src.prefix_len() == 0
        && selector.dst.prefix_len() == 0
        && selector.protocol.is_any()
        && selector.src_port == 0
        && selector.dst_port == 0;
    sa.selector = (!is_everything).then_some(selector);
    sa.replay_window = u32::from(info.replay_window);
    sa.lifetimes = lifetimes_from_kernel(&info.lifetime_cfg);
    sa.flags = info.flags;
    sa.seq = info.seq;
    sa.usage = usage_from_kernel(&info.lifetime_cur);
    sa.statistics = Statistics {
        replay_window: info.stats.replay_window,
        replay: info.stats.replay,
        integrity_failed: info.stats.integrity_failed,
    };
    Ok(sa)
}

fn read_sa_attribute(sa: &mut Sa, attribute: Attribute<'_>) -> Result<(), CodecError> {
    let value = attribute.value;
    match attribute.kind {
        XFRMA_ALG_CRYPT => {
            let algorithm = read_algorithm(value, AlgorithmLayout::Plain)?;
            sa.encryption = Some(Encryption { kernel_name: algorithm.name, key: algorithm.key });
        }
        // The kernel sends both forms; only the second knows the ICV length, so it wins.
        XFRMA_ALG_AUTH if sa.integrity.is_none() => {
            let algorithm = read_algorithm(value, AlgorithmLayout::Plain)?;
            sa.integrity = Some(Integrity { kernel_name: algorithm.name, key: algorithm.key, icv_bits: 0 });
        }
        XFRMA_ALG_AUTH_TRUNC => {
            let algorithm = read_algorithm(value, AlgorithmLayout::WithIcv)?;
            sa.integrity =
                Some(Integrity { kernel_name: algorithm.name, key: algorithm.key, icv_bits: algorithm.icv_bits });
        }
        XFRMA_ALG_AEAD => {
            let algorithm = read_algorithm(value, AlgorithmLayout::WithIcv)?;
            sa.aead = Some(Aead { kernel_name: algorithm.name, key: algorithm.key, icv_bits: algorithm.icv_bits });
        }
        XFRMA_ALG_COMP => sa.compression = Some(read_algorithm(value, AlgorithmLayout::Plain)?.name),
        XFRMA_ENCAP => {
            let family = family_of(sa.name.dst);
            sa.encapsulation = Some(read_encapsulation(value, family)?);
        }
        XFRMA_MARK => sa.mark = Some(read_mark(value)?),
        XFRMA_SET_MARK => sa.output_mark.get_or_insert_default().value = u32_at(value, 0, "output mark")?,
        XFRMA_SET_MARK_MASK => sa.output_mark.get_or_insert_default().mask = u32_at(value, 0, "output mark mask")?,
        XFRMA_IF_ID => sa.if_id = Some(u32_at(value, 0, "interface identifier")?),
        XFRMA_SEC_CTX => sa.context = Some(read_context(value)?),
        XFRMA_SA_EXTRA_FLAGS => sa.extra_flags = u32_at(value, 0, "extra flags")?,
        XFRMA_LASTUSED => sa.last_used = Some(u64_at(value, 0, "last use")?),
        XFRMA_REPLAY_VAL => {
            let what = "replay state";
            let sent = u32_at(value, 0, what)?.into();
            sa.replay = ReplayState { sent, received: u32_at(value, 4, what)?.into() };
        }
        XFRMA_REPLAY_ESN_VAL => read_replay_bitmap(sa, value)?,
        _ => {}
    }
    Ok(())
}

/// `struct xfrm_replay_state_esn`.
fn read_replay_bitmap(sa: &mut Sa, value: &[u8]) -> Result<(), CodecError> {
    let word = |index: usize| u32_at(value, index * 4, "replay bitmap");
    let wide = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    sa.replay = ReplayState { sent: wide(word(3)?, word(1)?), received: wide(word(4)?, word(2)?) };
    sa.replay_window = word(5)?;
    Ok(())
}
