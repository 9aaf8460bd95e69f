//! The contract between the core and whoever drives it, on one page.
//!
//! One way in, `Endpoint::handle(now, input)`; one way out, `Endpoint::poll() -> Output`. After every input the driver
//! drains outputs until it sees [`Output::WakeAt`], and wakes the endpoint then at the latest:
//!
//! ```text
//! loop {
//!     endpoint.handle(now, next_input);
//!     loop {
//!         match endpoint.poll() {
//!             Output::WakeAt(when) => { arm(when); break }
//!             other => carry_out(other),      // answers come back later, as inputs
//!         }
//!     }
//! }
//! ```
//!
//! The kernel, the private key and the certificate judge are asked, never called: an output with a [`JobId`] starts the
//! work, the input with the same number answers it, a state waits in between. An answer that nobody waits for any more
//! is dropped (an SPI that came too late is given back with [`Output::RemoveSa`]).
//!
//! The words that inputs and outputs are made of stand in the modules below.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policy::model::sa::{ReqId, Spi};
use policy::model::selector::Selector;

use self::command::Command;
use self::policies::{Acquire, GeneratedPolicy, PolicyMatch, PolicyQuery};
use self::question::{Account, Hook, JudgeRequest, PasswordCheck, PeerCertificate, Rejection};
use self::sa::{AdoptedChild, ChildMove, SaInstall, SaName, SpiRequest};
use crate::config::{Config, KeyHandle};
use crate::report::Report;

pub mod command;
pub mod policies;
pub mod question;
pub mod sa;

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since an epoch of the driver's choice; never goes back, counts suspended time too.
    pub monotonic: Duration,
    /// Unix seconds, for certificates and reports only.
    pub wall: u64,
}

/// Ties an answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// What the endpoint is told.
#[derive(Debug)]
pub enum Input {
    /// A UDP datagram arrived. On a NAT traversal socket the driver has taken the non-ESP marker off (RFC 3948 §2.2).
    Datagram {
        /// Our address and port it came to.
        local: SocketAddr,
        /// Where it came from.
        peer: SocketAddr,
        /// Its payload.
        octets: Vec<u8>,
    },
    /// The time named by [`Output::WakeAt`] has come (early or spurious wake-ups do no harm).
    Wake,
    /// The kernel holds a packet for which a policy wants an SA.
    Acquire(Acquire),
    /// Answer to [`Output::AllocateSpi`].
    SpiAllocated {
        /// The question.
        job: JobId,
        /// The SPI, or the kernel's refusal in words.
        result: Result<Spi, String>,
    },
    /// Answer to [`Output::InstallSa`].
    SaInstalled {
        /// The question.
        job: JobId,
        /// Done, or the kernel's refusal in words.
        result: Result<(), String>,
    },
    /// Answer to [`Output::Sign`].
    Signed {
        /// The question.
        job: JobId,
        /// The signature, as long as the modulus or twice a coordinate of the curve, or what failed.
        result: Result<Vec<u8>, String>,
    },
    /// Answer to [`Output::Judge`].
    Judged {
        /// The question.
        job: JobId,
        /// The certificate to trust, or why there is none.
        result: Result<Arc<PeerCertificate>, Rejection>,
    },
    /// Answer to [`Output::CheckPassword`].
    PasswordChecked {
        /// The question.
        job: JobId,
        /// Whose it is, or why it is not good, for the log.
        result: Result<Account, String>,
    },
    /// Answer to [`Output::FindPolicy`].
    PolicyFound {
        /// The question.
        job: JobId,
        /// The policy that wants such an SA; `None` if there is none.
        policy: Option<PolicyMatch>,
    },
    /// Answer to [`Output::InstallPolicy`].
    PolicyInstalled {
        /// The question.
        job: JobId,
        /// What was to be installed.
        policy: Box<GeneratedPolicy>,
        /// The reqid of its templates, or the kernel's refusal in words.
        result: Result<ReqId, String>,
    },
    /// The kernel reports that an SA reached its soft or hard limit.
    SaExpired {
        /// Which SA.
        sa: SaName,
        /// Soft: still usable, time to renew.
        hard: bool,
    },
    /// The kernel reports that an SA is gone (deleted by us or by anybody else).
    SaDeleted {
        /// Which SA.
        sa: SaName,
    },
    /// Answer to [`Output::QueryTraffic`].
    TrafficSeen {
        /// The question.
        job: JobId,
        /// Packets that all these SAs together have carried so far; of SAs that are gone, none.
        packets: u64,
    },
    /// The kernel reports that authentic packets of an inbound SA come from elsewhere now: the peer's NAT has moved it
    /// (`XFRM_MSG_MAPPING`).
    MappingChanged {
        /// Which SA.
        sa: SaName,
        /// Where they come from.
        peer: SocketAddr,
    },
    /// A child installed by an earlier life of the daemon: take it over.
    Adopt(Box<AdoptedChild>),
    /// A command of the operator.
    Command(Command),
    /// Use this configuration from now on; exchanges under way keep the one they began with.
    Configure(Arc<Config>),
    /// Delete everything, telling the peers.
    Shutdown,
}

/// What the endpoint wants.
#[derive(Debug)]
pub enum Output {
    /// Send a UDP datagram. From a NAT traversal socket the driver puts the non-ESP marker before it: the marker belongs
    /// to the port, and no state of the core knows of it.
    Send {
        /// From this address and port.
        local: SocketAddr,
        /// To this one.
        peer: SocketAddr,
        /// Its payload.
        octets: Vec<u8>,
    },
    /// Send a NAT keepalive: one octet 0xff, without a marker (RFC 3948 §2.3).
    KeepAlive {
        /// From this NAT traversal socket.
        local: SocketAddr,
        /// To this address and port.
        peer: SocketAddr,
    },
    /// Ask the kernel for an inbound SPI (`XFRM_MSG_ALLOCSPI`).
    AllocateSpi {
        /// Number of the question.
        job: JobId,
        /// What it is for.
        request: SpiRequest,
    },
    /// Put an SA into the kernel: UPDSA for an inbound one whose larval state exists, else NEWSA.
    InstallSa {
        /// Number of the question.
        job: JobId,
        /// The SA.
        sa: Box<SaInstall>,
    },
    /// A child's peer has another address or port: its SAs go on there, with the sequence numbers they have reached.
    MoveChild(Box<ChildMove>),
    /// Take an SA, or an SPI that was only allocated, out of the kernel. Missing ones are no error.
    RemoveSa {
        /// Which one.
        sa: SaName,
    },
    /// No SA comes of this acquire for now: the kernel's placeholder for it, which would stand in the way of other
    /// policies between the same two ends, is to go. `src` is our side here. A missing one is no error.
    ForgetAcquire {
        /// What it is for.
        request: SpiRequest,
    },
    /// The packets the kernel holds for this policy can go: its outbound SA is in place.
    ReleaseHeld {
        /// The kernel's index of the policy, as [`Acquire::policy_index`] named it.
        policy_index: u32,
    },
    /// Sign with a private key. RSA: PKCS#1 v1.5 padding around the octets as they are, no DigestInfo (RFC 2409 §5.1).
    /// ECDSA: the octets are the digest, the signature is r and s at full length (RFC 4754 §7).
    Sign {
        /// Number of the question.
        job: JobId,
        /// Which key.
        key: KeyHandle,
        /// HASH_I or HASH_R.
        octets: Vec<u8>,
    },
    /// Judge a peer's certificate: chain, validity, revocation, deny list, identity.
    Judge {
        /// Number of the question.
        job: JobId,
        /// The case.
        request: Box<JudgeRequest>,
    },
    /// Is this the user's password?
    CheckPassword {
        /// Number of the question.
        job: JobId,
        /// The case.
        check: Box<PasswordCheck>,
    },
    /// Run a hook script; nothing answers.
    RunHook(Box<Hook>),
    /// Find the policy that a peer's quick mode is for.
    FindPolicy {
        /// Number of the question.
        job: JobId,
        /// What the peer proposes.
        query: PolicyQuery,
    },
    /// Put a policy into the kernel for a peer that has none: out and in, in tunnel mode fwd too. None is left if one is
    /// refused.
    InstallPolicy {
        /// Number of the question.
        job: JobId,
        /// The policy.
        policy: Box<GeneratedPolicy>,
    },
    /// A peer whose policy was made goes on from another address: the policy is to have its new ends.
    MovePolicy {
        /// The outbound selector so far.
        outbound: Selector,
        /// The policy as it is to be.
        policy: Box<GeneratedPolicy>,
        /// Its reqid, as it was.
        reqid: ReqId,
    },
    /// Take a policy that [`Output::InstallPolicy`] made, or that was there for an adopted child, out again.
    RemovePolicy {
        /// Its outbound selector.
        outbound: Selector,
    },
    /// Count the packets that these SAs have carried: has their peer been heard?
    QueryTraffic {
        /// Number of the question.
        job: JobId,
        /// Inbound SAs.
        sas: Vec<SaName>,
    },
    /// Something worth a log line happened.
    Report(Report),
    /// Nothing more to do before this time (`None`: before the next input). Always the last output of a drain.
    WakeAt(Option<Duration>),
}
