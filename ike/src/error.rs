//! What can go wrong in an exchange, sorted by fault, and the one place that maps it to a notify or to silence.

use policy::model::identity::Identity;
use thiserror::Error;

use crate::crypto::provider::CryptoError;
use crate::crypto::signature::SignatureError;
use crate::event::question::{Rejection, RejectionKind};
use crate::wire::error::WireError;
use crate::wire::number::{NotifyType, PayloadType};

/// Why an exchange cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// The octets do not parse.
    #[error("malformed message: {0}")]
    Wire(#[from] WireError),
    /// A payload the state needs is not there.
    #[error("{0:?} payload missing")]
    MissingPayload(PayloadType),
    /// A payload that may stand once stands twice.
    #[error("{0:?} payload repeated")]
    RepeatedPayload(PayloadType),
    /// A payload the state has no use for.
    #[error("{0:?} payload not expected here")]
    UnexpectedPayload(PayloadType),
    /// The first payload is not the one that must stand first.
    #[error("{0:?} payload must stand first")]
    WrongOrder(PayloadType),
    /// A message that must be encrypted is not, or the other way round.
    #[error("message is {}encrypted", if *.expected { "not " } else { "" })]
    Encryption {
        /// Must it be encrypted?
        expected: bool,
    },
    /// An encrypted body that is not whole blocks.
    #[error("{0} octets of ciphertext are not whole blocks")]
    CiphertextLength(usize),
    /// Nonces have 8 to 256 octets (RFC 2409 §5).
    #[error("nonce of {0} octets")]
    NonceLength(usize),
    /// HASH(n) or the hash of an informational does not verify.
    #[error("HASH mismatched")]
    HashMismatch,
    /// A message that is noise under our pre-shared key, or proves another one.
    #[error("no proof of our key: the pre-shared keys of the two sides differ, most likely")]
    PskDiffers,
    /// A primitive refused the peer's value.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The peer's signature does not verify.
    #[error("the peer's signature is not valid: {0}")]
    Signature(SignatureError),
    /// No proposal of the peer is acceptable; the words name what was offered and the nearest difference.
    #[error("no suitable proposal found. {0}")]
    NoProposalChosen(String),
    /// The peer's answer is not one of our proposals, unchanged.
    #[error("the peer's answer is not what we proposed: {0}")]
    AlteredProposal(&'static str),
    /// Quick mode identities that make no selector, or not the ones we sent.
    #[error("invalid ID payloads: {0}")]
    InvalidId(String),
    /// No policy wants the SA that the peer proposes.
    #[error("no policy found: {0}")]
    NoPolicy(String),
    /// Another host behind the peer's NAT has the same traffic.
    #[error(
        "{traffic} is in use by {}[{}], another host behind the same NAT: the two could not be told apart; use tunnel \
         mode with an inner address of its own for each",
        .holder.ip(), .holder.port()
    )]
    Taken {
        /// The traffic.
        traffic: String,
        /// The other host as its NAT shows it.
        holder: std::net::SocketAddr,
    },
    /// No sainfo fits.
    #[error("failed to get sainfo.")]
    NoSainfo,
    /// The peer's identity is none of those configured.
    #[error("the identity of the peer ({}) is not the configured one", .0.kind())]
    IdentityRefused(Identity),
    /// The peer's certificate is refused.
    #[error("the peer's certificate is not verified: {}", .0.reason)]
    Certificate(Rejection),
    /// The kernel, the private key or the configuration on our side failed.
    #[error("{0}")]
    Local(String),
    /// The peer ended the exchange with this notify, under the protection of the exchange.
    #[error("the peer answered {0:?}")]
    PeerRefused(NotifyType),
    /// Time is up.
    #[error("{0}")]
    TimedOut(&'static str),
}

impl ExchangeError {
    /// Has the peer, or nobody, answered so that another exchange may fare better?
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::PeerRefused(_))
    }

    /// The notify that tells the peer (RFC 2408 §3.14.1); `None` is silence.
    pub fn notify(&self) -> Option<NotifyType> {
        match self {
            Self::Wire(_)
            | Self::MissingPayload(_)
            | Self::RepeatedPayload(_)
            | Self::UnexpectedPayload(_)
            | Self::WrongOrder(_)
            | Self::Encryption { .. }
            | Self::CiphertextLength(_)
            | Self::NonceLength(_)
            | Self::HashMismatch
            | Self::PskDiffers
            | Self::PeerRefused(_)
            | Self::TimedOut(_) => None,
            Self::Crypto(_) => Some(NotifyType::INVALID_KEY_INFORMATION),
            Self::Signature(_) | Self::IdentityRefused(_) => Some(NotifyType::AUTHENTICATION_FAILED),
            Self::Certificate(rejection) => Some(match rejection.kind {
                RejectionKind::Malformed => NotifyType::INVALID_CERTIFICATE,
                _ => NotifyType::AUTHENTICATION_FAILED,
            }),
            Self::NoProposalChosen(_) | Self::AlteredProposal(_) | Self::NoSainfo | Self::Local(_) => {
                Some(NotifyType::NO_PROPOSAL_CHOSEN)
            }
            Self::InvalidId(_) | Self::NoPolicy(_) | Self::Taken { .. } => Some(NotifyType::INVALID_ID_INFORMATION),
        }
    }
}
