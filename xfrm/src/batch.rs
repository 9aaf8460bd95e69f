//! Many requests in one send, an answer matched to each by sequence number. No I/O: `socket` carries the octets.

use std::fmt;
use std::io;

use netlink_packet_xfrm::constants::{
    XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA, XFRM_MSG_NEWSADINFO, XFRM_MSG_NEWSPDINFO, XFRMA_SAD_CNT, XFRMA_SAD_HINFO,
    XFRMA_SPD_INFO,
};

use crate::abi::{HEADER_LEN, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSGERR_ATTR_MSG};
use crate::codec::error::CodecError;
use crate::codec::policy::read_policy;
use crate::codec::reader::{Attributes, Message, u32_at};
use crate::codec::sa::read_sa;
use crate::codec::writer::MessageWriter;
use crate::model::policy::RawPolicy;
use crate::request::{Reply, Request, SadInfo, SpdInfo};

/// Requests in one send. 256 ACKs fit the default receive buffer, 400 do not.
pub const WINDOW: usize = 64;

/// What an answer with a message of its own counts for in the window: each takes a page of the receive buffer.
const REPLY_WEIGHT: usize = 8;

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked.
    pub request: String,
    /// The error number (`libc::ESRCH`, ...).
    pub errno: i32,
    /// The kernel's own words (extended ack).
    pub kernel_words: Option<String>,
    /// Our words, where the number alone does not help.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal that did not come from the kernel's answer.
    pub fn ours(request: impl Into<String>, errno: i32, hint: impl Into<String>) -> Self {
        Self { request: request.into(), errno, kernel_words: None, hint: Some(hint.into()) }
    }

    /// A failed system call.
    pub fn from_io(request: impl Into<String>, error: &io::Error) -> Self {
        Self::new(request, error.raw_os_error().unwrap_or(libc::EIO), None)
    }

    /// An answer of the kernel.
    pub fn new(request: impl Into<String>, errno: i32, kernel_words: Option<String>) -> Self {
        let hint = match errno {
            libc::EPERM => Some("CAP_NET_ADMIN is missing".to_owned()),
            libc::EPROTONOSUPPORT => Some("this kernel lacks XFRM or the protocol's module".to_owned()),
            libc::ENOSYS => Some("this kernel lacks the algorithm".to_owned()),
            _ => None,
        };
        Self { request: request.into(), errno, kernel_words, hint }
    }

    /// The error number in the C library's words.
    pub fn error_text(&self) -> String {
        error_text(self.errno)
    }
}

/// An error number in the C library's words.
pub fn error_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.rfind(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.error_text())?;
        match (&self.kernel_words, &self.hint) {
            (Some(words), Some(hint)) => write!(f, " (kernel: {words}; {hint})"),
            (Some(words), None) => write!(f, " (kernel: {words})"),
            (None, Some(hint)) => write!(f, " ({hint})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// How many of `requests` go into the next send: at least one.
pub fn window_len(requests: &[Request]) -> usize {
    let mut weight = 0;
    let fits = |request: &&Request| {
        weight += if request.has_reply() { REPLY_WEIGHT } else { 1 };
        weight <= WINDOW
    };
    requests.iter().take_while(fits).count().max(1)
}

/// Requests under way together.
pub struct Window<'a> {
    requests: &'a [Request],
    first_sequence: u32,
    slots: Vec<Slot>,
    waiting: usize,
}

enum Slot {
    Waiting(Option<Result<Reply, CodecError>>),
    Answered(Result<Reply, Refusal>),
}

impl<'a> Window<'a> {
    /// Appends the requests to `writer`, numbered from `first_sequence`. One that cannot be written is refused at once.
    pub fn open(requests: &'a [Request], first_sequence: u32, writer: &mut MessageWriter) -> Self {
        let mut window = Self { requests, first_sequence, slots: Vec::with_capacity(requests.len()), waiting: 0 };
        let mut sequence = first_sequence;
        for request in requests {
            let slot = match request.write(writer, sequence) {
                Ok(()) => {
                    window.waiting += 1;
                    Slot::Waiting(None)
                }
                Err(error) => {
                    let refusal = Refusal::ours(request.to_string(), libc::EINVAL, error.to_string());
                    Slot::Answered(Err(refusal))
                }
            };
            window.slots.push(slot);
            sequence = sequence.wrapping_add(1);
        }
        window
    }

    /// Has every request its answer?
    pub fn is_complete(&self) -> bool {
        self.waiting == 0
    }

    /// Takes one message from the kernel. What answers none of these requests (a late answer) is passed over.
    pub fn accept(&mut self, message: &Message<'_>) {
        let index = message.sequence.wrapping_sub(self.first_sequence) as usize;
        let (Some(slot), Some(request)) = (self.slots.get_mut(index), self.requests.get(index)) else {
            return;
        };
        let Slot::Waiting(reply) = slot else {
            return;
        };
        if message.kind.0 != NLMSG_ERROR {
            *reply = Some(read_reply(message));
            return;
        }
        let answer = match (read_ack(message), reply.take()) {
            (Ok(()), None) if request.has_reply() => {
                Err(Refusal::ours(request.to_string(), libc::EBADMSG, "acknowledged without an answer"))
            }
            (Ok(()), None) => Ok(Reply::Done),
            (Ok(()), Some(Ok(reply))) => Ok(reply),
            (Ok(()), Some(Err(error))) => Err(Refusal::ours(request.to_string(), libc::EBADMSG, error.to_string())),
            (Err((errno, words)), _) => Err(Refusal::new(request.to_string(), errno, words)),
        };
        *slot = Slot::Answered(answer);
        self.waiting -= 1;
    }

    /// The answers in order. Requests without one are refused with `errno` and `hint`: whether the kernel carried them
    /// out is not known.
    pub fn close(self, errno: i32, hint: &str) -> Vec<Result<Reply, Refusal>> {
        let finish = |(slot, request): (Slot, &Request)| match slot {
            Slot::Answered(answer) => answer,
            Slot::Waiting(_) => {
                Err(Refusal { hint: Some(hint.to_owned()), ..Refusal::new(request.to_string(), errno, None) })
            }
        };
        self.slots.into_iter().zip(self.requests).map(finish).collect()
    }
}

/// An NLMSG_ERROR: nothing, or an error number and the kernel's words.
pub fn read_ack(message: &Message<'_>) -> Result<(), (i32, Option<String>)> {
    let code = u32_at(message.payload, 0, "nlmsgerr").map_or(-libc::EBADMSG, u32::cast_signed);
    if code == 0 { Ok(()) } else { Err((code.saturating_neg(), kernel_words(message))) }
}

/// `NLMSGERR_ATTR_MSG` of an extended ack.
fn kernel_words(message: &Message<'_>) -> Option<String> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    // Behind the error number stands the request's header; its payload too, unless capped.
    let quoted = u32_at(message.payload, 4, "nlmsgerr").ok()? as usize;
    let quoted = if message.flags & NLM_F_CAPPED != 0 { HEADER_LEN } else { quoted.max(HEADER_LEN) };
    let mut attributes = Attributes::after(message.payload, quoted.checked_add(4)?).flatten();
    let words = attributes.find(|attribute| attribute.kind == NLMSGERR_ATTR_MSG)?.value;
    Some(text_of(words))
}

/// The text up to the terminating zero, with nothing in it that could disturb a terminal.
fn text_of(octets: &[u8]) -> String {
    let octets: Vec<u8> = octets.iter().copied().take_while(|octet| *octet != 0).take(256).collect();
    String::from_utf8_lossy(&octets).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn read_reply(message: &Message<'_>) -> Result<Reply, CodecError> {
    let payload = message.checked_payload()?;
    match message.kind.0 {
        XFRM_MSG_NEWSA => Ok(Reply::Sa(Box::new(read_sa(payload)?))),
        XFRM_MSG_NEWPOLICY => Ok(Reply::Policy(Box::new(read_policy(payload)?), RawPolicy(payload.to_vec()))),
        XFRM_MSG_NEWSADINFO => read_sad_info(payload),
        XFRM_MSG_NEWSPDINFO => read_spd_info(payload),
        _ => Ok(Reply::Done),
    }
}

/// `u32 flags`, then attributes.
fn read_sad_info(payload: &[u8]) -> Result<Reply, CodecError> {
    let mut info = SadInfo::default();
    for attribute in Attributes::after(payload, 4) {
        let attribute = attribute?;
        let word = |index: usize| u32_at(attribute.value, index * 4, "SAD information");
        match attribute.kind {
            XFRMA_SAD_CNT => info.count = word(0)?,
            XFRMA_SAD_HINFO => (info.buckets, info.max_buckets) = (word(0)?, word(1)?),
            _ => {}
        }
    }
    Ok(Reply::SadInfo(info))
}

/// `u32 flags`, then attributes.
fn read_spd_info(payload: &[u8]) -> Result<Reply, CodecError> {
    let mut info = SpdInfo::default();
    for attribute in Attributes::after(payload, 4) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_SPD_INFO {
            let word = |index: usize| u32_at(attribute.value, index * 4, "SPD information");
            info = SpdInfo {
                inbound: word(0)?,
                outbound: word(1)?,
                forward: word(2)?,
                socket_inbound: word(3)?,
                socket_outbound: word(4)?,
                socket_forward: word(5)?,
            };
        }
    }
    Ok(Reply::SpdInfo(info))
}

#[cfg(test)]
mod tests;
