//! Messages of every exchange: framing, encryption and the chain of cipher blocks.

use policy::model::algorithm::{Hash, SizedCipher};
use policy::model::secret::Secret;

use crate::crypto::backend::{cbc_decrypt, cbc_encrypt};
use crate::crypto::iv::last_block;
use crate::error::ExchangeError;
use crate::payloads::Shape;
use crate::wire::header::{Cookie, Header};
use crate::wire::message::{RawPayload, Tail, decode_chain, encode_message};
use crate::wire::number::{ExchangeType, Flags, PayloadType};

/// Initiator's and responder's cookie: the name of an ISAKMP SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cookies {
    pub(crate) initiator: Cookie,
    pub(crate) responder: Cookie,
}

impl Cookies {
    /// Both, initiator's first: the SPI of an ISAKMP SA in DELETE and NOTIFY.
    pub(crate) fn concat(self) -> Vec<u8> {
        [self.initiator.0, self.responder.0].concat()
    }
}

/// Our side of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

/// Cipher state of an ISAKMP SA: what encrypts, and where the chain of blocks stands.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    pub(crate) cipher: SizedCipher,
    pub(crate) hash: Hash,
    pub(crate) key: Secret,
    /// Last ciphertext block of phase 1, or the first IV before there is one (RFC 2409 appendix B).
    pub(crate) last_block: Vec<u8>,
}

/// A decrypted body with the block that continues the chain.
pub(crate) struct Opened {
    pub(crate) plain: Vec<u8>,
    pub(crate) last_block: Vec<u8>,
}

impl Sealer {
    /// Decrypts the body of a message with `iv`.
    pub(crate) fn open(&self, iv: &[u8], body: &[u8]) -> Result<Opened, ExchangeError> {
        let block = self.cipher.cipher.facts().block;
        match last_block(self.cipher, body) {
            Some(last) if body.len().is_multiple_of(block) => {
                let plain = cbc_decrypt(self.cipher, &self.key, iv, body)?;
                Ok(Opened { plain, last_block: last.to_vec() })
            }
            _ => Err(ExchangeError::CiphertextLength(body.len())),
        }
    }

    /// Pads with zeros and encrypts a chain with `iv`; gives the ciphertext and its last block.
    pub(crate) fn seal(&self, iv: &[u8], mut chain: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>), ExchangeError> {
        let block = self.cipher.cipher.facts().block;
        chain.resize(chain.len().next_multiple_of(block), 0);
        let sealed = cbc_encrypt(self.cipher, &self.key, iv, &chain)?;
        let last = last_block(self.cipher, &sealed).unwrap_or_default().to_vec();
        Ok((sealed, last))
    }
}

/// Frames a body.
pub(crate) fn message(
    cookies: Cookies,
    exchange: ExchangeType,
    message_id: u32,
    next: PayloadType,
    flags: Flags,
    body: &[u8],
) -> Vec<u8> {
    let Cookies { initiator, responder } = cookies;
    let version = Header::VERSION;
    encode_message(Header { initiator, responder, next, version, exchange, flags, message_id, length: 0 }, body)
}

/// A message as a state sees it.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) header: Header,
    /// Everything after the header, as long as the header says.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The payloads of a message that must be in clear.
    pub(crate) fn clear(&self, shape: &Shape) -> Result<Vec<RawPayload<'a>>, ExchangeError> {
        if self.header.flags.contains(Flags::ENCRYPTED) {
            return Err(ExchangeError::Encryption { expected: false });
        }
        let payloads = decode_chain(self.header.next, self.body, Tail::Exact)?;
        shape.check(&payloads)?;
        Ok(payloads)
    }

    /// Decrypts a message that must be encrypted.
    pub(crate) fn open(&self, sealer: &Sealer, iv: &[u8]) -> Result<Opened, ExchangeError> {
        if !self.header.flags.contains(Flags::ENCRYPTED) {
            return Err(ExchangeError::Encryption { expected: true });
        }
        sealer.open(iv, self.body)
    }
}
