//! Answers find their requests; what the kernel says reaches the reader.

use policy::model::sa::{Mode, Protocol, Spi};

use super::*;
use crate::abi::Kind;
use crate::codec::reader::Messages;
use crate::model::mark::Mark;
use crate::model::sa::{Sa, SaName};

fn name(spi: u32) -> SaName {
    let addr = |last| std::net::IpAddr::from([10, 0, 0, last]);
    SaName { protocol: Protocol::Esp, spi: Spi(spi), src: addr(1), dst: addr(2) }
}

fn deletions(count: u32) -> Vec<Request> {
    (0..count).map(|spi| Request::DeleteSa { name: name(0x100 + spi), mark: None }).collect()
}

/// `struct nlmsgerr` with the quoted header, and the kernel's words if there are any.
fn refusal_payload(errno: i32, words: Option<&str>) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend_from_slice(&40u32.to_ne_bytes());
    payload.extend_from_slice(&[0; 12]);
    if let Some(words) = words {
        let len = u16::try_from(4 + words.len() + 1).expect("short");
        payload.extend_from_slice(&len.to_ne_bytes());
        payload.extend_from_slice(&NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend_from_slice(words.as_bytes());
        payload.push(0);
    }
    payload
}

fn answer(sequence: u32, payload: &[u8]) -> Message<'_> {
    let flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
    Message { kind: Kind(NLMSG_ERROR), flags, sequence, port: 1, payload }
}

#[test]
fn answers_find_their_requests_in_any_order() {
    let requests = deletions(3);
    let mut writer = MessageWriter::with_room(3);
    let mut window = Window::open(&requests, u32::MAX, &mut writer);
    let sequences: Vec<u32> = Messages::new(writer.octets()).map(|message| message.expect("ours").sequence).collect();
    assert_eq!(sequences, [u32::MAX, 0, 1]);

    let done = refusal_payload(0, None);
    let gone = refusal_payload(libc::ESRCH, Some("Invalid\u{1b}[2J state"));
    window.accept(&answer(1, &done));
    window.accept(&answer(77, &done));
    window.accept(&answer(0, &gone));
    assert!(!window.is_complete());
    let answers = window.close(libc::ETIMEDOUT, "the kernel gave no answer");
    let texts: Vec<String> = answers
        .into_iter()
        .map(|answer| answer.map_or_else(|refusal| refusal.to_string(), |reply| format!("{reply:?}")))
        .collect();
    assert_eq!(
        texts,
        [
            "DELSA esp spi 0x00000100 10.0.0.1 -> 10.0.0.2: Connection timed out (the kernel gave no answer)",
            "DELSA esp spi 0x00000101 10.0.0.1 -> 10.0.0.2: No such process (kernel: Invalid [2J state)",
            "Done",
        ]
    );
}

#[test]
fn a_missing_capability_is_named() {
    let refusal = Refusal::new("NEWSA", libc::EPERM, None);
    assert_eq!(refusal.to_string(), "NEWSA: Operation not permitted (CAP_NET_ADMIN is missing)");
}

#[test]
fn a_flush_of_17_octets_does_not_swallow_the_next_request() {
    let requests = [Request::FlushSas(None), Request::AddSa(Box::new(Sa::new(name(0x100), Mode::Transport)))];
    let mut writer = MessageWriter::with_room(2);
    Window::open(&requests, 1, &mut writer);
    let kinds: Vec<String> =
        Messages::new(writer.octets()).map(|message| message.expect("ours").kind.to_string()).collect();
    assert_eq!(kinds, ["FLUSHSA", "NEWSA"]);
    assert_eq!(writer.octets().len() % 4, 0);
}

#[test]
fn a_request_that_cannot_be_written_is_refused_alone() {
    let mut bad = Sa::new(name(0x100), Mode::Transport);
    bad.replay_window = 5000;
    let requests = [Request::AddSa(Box::new(bad)), Request::SadInfo];
    let mut writer = MessageWriter::with_room(2);
    let mut window = Window::open(&requests, 1, &mut writer);
    assert_eq!(Messages::new(writer.octets()).count(), 1);

    let info = [4u32.to_ne_bytes(), [8, 0, XFRMA_SAD_CNT as u8, 0], 10_000u32.to_ne_bytes()].concat();
    window.accept(&Message { kind: Kind(XFRM_MSG_NEWSADINFO), flags: 0, sequence: 2, port: 1, payload: &info });
    window.accept(&answer(2, &refusal_payload(0, None)));
    assert!(window.is_complete());
    let answers = window.close(libc::ETIMEDOUT, "");
    assert_eq!(answers.get(1), Some(&Ok(Reply::SadInfo(SadInfo { count: 10_000, ..SadInfo::default() }))));
    let refusal = answers.first().expect("two answers").as_ref().expect_err("too wide");
    assert_eq!(
        refusal.to_string(),
        "NEWSA esp spi 0x00000100 10.0.0.1 -> 10.0.0.2: Invalid argument (replay window 5000 is larger than 4096)"
    );
}

#[test]
fn acknowledgements_cut_short_are_refusals() {
    for payload in [&[][..], &[0, 0], &[0, 0, 0]] {
        assert!(read_ack(&answer(1, payload)).is_err());
    }
    let words = refusal_payload(libc::EINVAL, Some("Invalid mark"));
    for len in 4..words.len() {
        let (errno, _) = read_ack(&answer(1, words.get(..len).expect("within"))).expect_err("a refusal");
        assert_eq!(errno, libc::EINVAL);
    }
}

#[test]
fn requests_with_answers_of_their_own_travel_in_smaller_windows() {
    assert_eq!(window_len(&deletions(200)), WINDOW);
    let lookup = Request::GetSa { name: name(1), mark: Some(Mark::default()) };
    let lookups = vec![lookup; 200];
    assert!(window_len(&lookups) < WINDOW / 4 && window_len(&lookups) > 0);
    assert_eq!(window_len(&deletions(1)), 1);
}
