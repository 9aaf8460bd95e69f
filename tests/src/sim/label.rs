//! Which message of which exchange a datagram is, told from its header alone and from what was sent before it.

use std::collections::BTreeMap;
use std::fmt;

use ike::wire::header::Header;
use ike::wire::number::ExchangeType;

/// A datagram by its place: a resend has the place of the first copy, a new exchange has new places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Who sent it: 0 or 1.
    pub from: usize,
    /// Its exchange.
    pub exchange: u8,
    /// How many exchanges of this type, by this initiator of it, were begun before.
    pub nth: usize,
    /// How many other messages of this sender stand before it in the exchange.
    pub step: usize,
    /// How often it was sent before.
    pub resend: usize,
}

impl Label {
    /// The place without the copy: equal for a message and its resends.
    pub fn place(&self) -> (usize, u8, usize, usize) {
        (self.from, self.exchange, self.nth, self.step)
    }

    /// The kind of message: equal in every exchange of the type.
    pub fn kind(&self) -> (usize, u8, usize) {
        (self.from, self.exchange, self.step)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, nth, step, resend, .. } = self;
        let exchange = ExchangeType(self.exchange);
        write!(f, "message {} of node {} in {exchange:?} #{nth}, copy {resend}", step + 1, from + 1)
    }
}

/// One exchange seen so far.
#[derive(Debug)]
struct Seen {
    nth: usize,
    /// Each sender's messages, with how often they were sent.
    messages: [Vec<(Vec<u8>, usize)>; 2],
}

/// Tells datagrams apart.
#[derive(Debug, Default)]
pub struct Labels {
    exchanges: BTreeMap<([u8; 8], u8, u32), Seen>,
    begun: BTreeMap<(u8, usize), usize>,
}

impl Labels {
    /// The label of a datagram; `None` if it is no ISAKMP message (a keepalive). A marker of four zero octets is left out.
    pub fn label(&mut self, from: usize, octets: &[u8]) -> Option<Label> {
        let message = octets.strip_prefix(&[0; 4]).unwrap_or(octets);
        let header = Header::decode(message).ok()?;
        let exchange = header.exchange.0;
        let key = (header.initiator.0, exchange, header.message_id);
        let begun = self.begun.entry((exchange, from)).or_default();
        let seen = self.exchanges.entry(key).or_insert_with(|| {
            *begun += 1;
            Seen { nth: *begun - 1, messages: [Vec::new(), Vec::new()] }
        });
        let nth = seen.nth;
        let sent = seen.messages.get_mut(from)?;
        let (step, resend) = match sent.iter().position(|(known, _)| known == message) {
            Some(step) => {
                let (_, times) = sent.get_mut(step)?;
                *times += 1;
                (step, *times - 1)
            }
            None => {
                sent.push((message.to_vec(), 1));
                (sent.len() - 1, 0)
            }
        };
        Some(Label { from, exchange, nth, step, resend })
    }
}
