//! Dead peer detection (RFC 3706): the sequence numbers of both sides' probes, and what counts as a sign of life.
//!
//! It decides nothing by the clock and sends nothing; [`crate::endpoint`] does.

use std::time::Duration;

use crate::message::Cookies;
use crate::protection::Notice;
use crate::retransmit::{Answered, Fingerprint, Seen};
use crate::wire::notify::NotifyPayload;
use crate::wire::number::{DOI_IPSEC, NotifyType, PayloadType, ProtocolId};

/// Probes of both sides under one ISAKMP SA.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    /// Sequence number of the peer's last probe.
    asked: Option<u32>,
    /// The peer's last probe and our answer: a peer may resend the very datagram if the answer was lost, as charon does.
    answer: Option<Box<(u32, Answered)>>,
    /// Our own probes, if we send any.
    pub(crate) prober: Option<Box<Prober>>,
}

impl Liveness {
    /// Is this the peer's last probe once more? Then what to send again.
    pub(crate) fn again(&mut self, message_id: u32, fingerprint: Fingerprint, now: Duration) -> Option<Vec<u8>> {
        let (_, answered) = self.answer.as_deref_mut().filter(|(id, _)| *id == message_id)?;
        match answered.check(fingerprint, now) {
            Seen::Again(reply) => reply,
            Seen::New => None,
        }
    }

    /// Does this informational prove that the peer lives now? A probe or an acknowledgement whose number was used before
    /// may be a recording.
    pub(crate) fn vouches(&self, notices: &[Notice]) -> bool {
        notices.iter().all(|notice| match notice {
            Notice::Notify(notify) if notify.kind == NotifyType::R_U_THERE => {
                sequence(notify).is_some_and(|number| self.is_news(number))
            }
            Notice::Notify(notify) if notify.kind == NotifyType::R_U_THERE_ACK => {
                let expects = |number| self.prober.as_ref().is_some_and(|prober| prober.expects(number));
                sequence(notify).is_some_and(expects)
            }
            _ => true,
        })
    }

    fn is_news(&self, number: u32) -> bool {
        self.asked.is_none_or(|last| number > last)
    }

    /// Takes a probe of the peer; `None` if its number is not higher than the last one's (IKEV1 DP-4).
    pub(crate) fn take_probe(&mut self, notify: &NotifyPayload) -> Option<u32> {
        let number = sequence(notify).filter(|number| self.is_news(*number))?;
        self.asked = Some(number);
        Some(number)
    }

    /// Keeps our answer to the probe that came with this message.
    pub(crate) fn answered(&mut self, message_id: u32, fingerprint: Fingerprint, now: Duration, reply: Vec<u8>) {
        let mut answered = Answered::default();
        answered.accepted(fingerprint, now);
        answered.answered(reply);
        self.answer = Some(Box::new((message_id, answered)));
    }
}

/// Our own probes.
#[derive(Debug)]
pub(crate) struct Prober {
    /// Of the last probe.
    sequence: u32,
    /// Probes since the last sign of life.
    pub(crate) unanswered: u32,
    /// When the first of them was sent.
    pub(crate) since: Duration,
    /// Packets that had come by the peer's IPsec SAs when the kernel was last asked.
    packets: u64,
}

impl Prober {
    /// Begins at a random number whose highest bit is 0 (RFC 3706 §6.2).
    pub(crate) fn new(random: u32) -> Self {
        Self { sequence: random & 0x7fff_ffff, unanswered: 0, since: Duration::ZERO, packets: 0 }
    }

    /// The number of the next probe: one more than the last one's, answered or not.
    pub(crate) fn next(&mut self, now: Duration) -> u32 {
        if self.unanswered == 0 {
            self.since = now;
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.unanswered += 1;
        self.sequence
    }

    /// Is an acknowledgement of this number still outstanding? An earlier probe's may be late.
    fn expects(&self, number: u32) -> bool {
        let age = self.sequence.wrapping_sub(number);
        age < self.unanswered
    }

    /// Takes an acknowledgement; `false` if none of this number is outstanding (IKEV1 DP-5).
    pub(crate) fn acknowledged(&mut self, notify: &NotifyPayload) -> bool {
        let expected = sequence(notify).is_some_and(|number| self.expects(number));
        if expected {
            self.unanswered = 0;
        }
        expected
    }

    /// Takes the kernel's count of packets; has any come since it was last asked?
    pub(crate) fn has_traffic(&mut self, packets: u64) -> bool {
        let before = std::mem::replace(&mut self.packets, packets);
        packets > before
    }
}

fn sequence(notify: &NotifyPayload) -> Option<u32> {
    Some(u32::from_be_bytes(notify.data.as_slice().try_into().ok()?))
}

/// Does a notify name this ISAKMP SA? Its SPI is both cookies; some peers put the responder's first, as racoon notes.
pub(crate) fn names(notify: &NotifyPayload, cookies: Cookies) -> bool {
    let Cookies { initiator, responder } = cookies;
    let reversed = Cookies { initiator: responder, responder: initiator };
    notify.protocol == ProtocolId::ISAKMP && (notify.spi == cookies.concat() || notify.spi == reversed.concat())
}

/// A probe, or the acknowledgement of one (RFC 3706 §5.3).
pub(crate) fn notify(kind: NotifyType, cookies: Cookies, number: u32) -> (PayloadType, Vec<u8>) {
    let payload = NotifyPayload {
        doi: DOI_IPSEC,
        protocol: ProtocolId::ISAKMP,
        kind,
        spi: cookies.concat(),
        data: number.to_be_bytes().to_vec(),
    };
    (PayloadType::NOTIFY, payload.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::Cookie;

    const COOKIES: Cookies = Cookies { initiator: Cookie([1; 8]), responder: Cookie([2; 8]) };

    fn probe(kind: NotifyType, number: u32) -> NotifyPayload {
        NotifyPayload::decode(&notify(kind, COOKIES, number).1).unwrap()
    }

    #[test]
    fn the_first_probe_is_accepted_and_then_only_higher_numbers() {
        let mut liveness = Liveness::default();
        let mut take = |number| liveness.take_probe(&probe(NotifyType::R_U_THERE, number));
        assert_eq!(
            [take(0), take(0), take(7), take(7), take(6), take(8)],
            [Some(0), None, Some(7), None, None, Some(8)]
        );
        let short = NotifyPayload { data: vec![0, 9], ..probe(NotifyType::R_U_THERE, 9) };
        assert_eq!(liveness.take_probe(&short), None);
    }

    #[test]
    fn numbers_begin_with_the_highest_bit_clear_and_grow_by_one() {
        let mut prober = Prober::new(0xffff_fff0);
        let now = Duration::from_secs(3);
        assert_eq!([prober.next(now), prober.next(now), prober.next(now)], [0x7fff_fff1, 0x7fff_fff2, 0x7fff_fff3]);
        assert_eq!((prober.unanswered, prober.since), (3, now));
    }

    #[test]
    fn only_an_outstanding_acknowledgement_counts() {
        let mut prober = Prober::new(10);
        let ack = |number| probe(NotifyType::R_U_THERE_ACK, number);
        assert!(!prober.acknowledged(&ack(10)), "nothing was asked yet");
        prober.next(Duration::ZERO);
        prober.next(Duration::ZERO);
        assert!(!prober.acknowledged(&ack(10)) && !prober.acknowledged(&ack(13)));
        assert!(prober.acknowledged(&ack(11)), "a late one of the same round");
        assert_eq!(prober.unanswered, 0);
        assert!(!prober.acknowledged(&ack(12)), "the round is over");
    }

    #[test]
    fn recordings_vouch_for_nobody() {
        let mut liveness = Liveness::default();
        let notice = |kind, number| [Notice::Notify(probe(kind, number))];
        assert!(liveness.vouches(&notice(NotifyType::R_U_THERE, 5)));
        liveness.take_probe(&probe(NotifyType::R_U_THERE, 5));
        assert!(!liveness.vouches(&notice(NotifyType::R_U_THERE, 5)));
        assert!(!liveness.vouches(&notice(NotifyType::R_U_THERE_ACK, 5)));
        assert!(liveness.vouches(&notice(NotifyType::NO_PROPOSAL_CHOSEN, 5)));
    }

    #[test]
    fn an_sa_is_named_by_its_cookies_in_either_order() {
        let mut named = probe(NotifyType::R_U_THERE, 1);
        assert!(names(&named, COOKIES));
        named.spi.rotate_left(8);
        assert!(names(&named, COOKIES));
        named.spi = vec![3; 16];
        assert!(!names(&named, COOKIES));
        named.spi = Vec::new();
        assert!(!names(&named, COOKIES));
    }

    #[test]
    fn packets_are_news_only_once() {
        let mut prober = Prober::new(0);
        assert_eq!([0, 4, 4, 2, 3].map(|packets| prober.has_traffic(packets)), [false, true, false, false, true]);
    }
}
