//! The initiators: one core, a socket and an address each, so many at once.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cli::provider::OpensslProvider;
use ike::config::{Config, RemoteConfig, RemoteId};
use ike::endpoint::Endpoint;
use ike::event::policies::{Acquire, Companions};
use ike::event::sa::SaDirection;
use ike::event::{Input, Now, Output};
use ike::report::{Event, Level};
use policy::model::algorithm::{AuthMethod, Cipher, Group, Hash, Integrity, SizedCipher};
use policy::model::identity::{Identity as PeerIdentity, MyIdentifier};
use policy::model::lifetime::Lifetime;
use policy::model::proposal::{Phase1Proposal, ProposalCheck};
use policy::model::remote::{Rekey, Remote, Timers};
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::sainfo::{Esn, Sainfo, SainfoId};
use policy::model::selector::Selector;

use super::credential::{Identity, trust};

/// What is negotiated, by every initiator.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The responder.
    pub responder: IpAddr,
    /// First address of the initiators; the others count up from it.
    pub first: IpAddr,
    /// How many.
    pub count: u32,
    /// How many at once.
    pub at_once: usize,
    /// With PFS (modp2048)?
    pub pfs: bool,
    /// Give up after this time.
    pub limit: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Outcome {
    /// Tunnels that came up.
    pub established: u32,
    /// Failures, in the words of the core.
    pub failures: Vec<String>,
    /// Wall time, seconds.
    pub seconds: f64,
}

fn config(identity: &Identity, plan: &Plan) -> Config {
    let day = Lifetime { time: Duration::from_secs(28_800), kilobytes: None };
    let aes = SizedCipher { cipher: Cipher::Aes, key_bits: Some(256) };
    let remote = Remote {
        name: "responder".to_owned(),
        my_identifier: MyIdentifier::CertificateSubject,
        initial_contact: false,
        proposal_check: ProposalCheck::Obey,
        proposals: vec![Phase1Proposal {
            cipher: aes,
            hash: Hash::Sha256,
            auth: AuthMethod::RsaSignature,
            group: Group::Modp2048,
            lifetime: day,
        }],
        rekey: Rekey::Off,
        ..Remote::default()
    };
    let remote = RemoteConfig {
        id: RemoteId(0),
        remote,
        my_identity: Some(PeerIdentity::Asn1Dn(identity.credential.subject.clone())),
        credential: Some(identity.credential.clone()),
        raw_keys: Arc::default(),
        accepted_issuers: Vec::new(),
    };
    let sainfo = Sainfo {
        local: SainfoId::Anonymous,
        remote: SainfoId::Anonymous,
        from: None,
        group: None,
        pfs_group: plan.pfs.then_some(Group::Modp2048),
        lifetime: day,
        ciphers: vec![aes],
        integrity: vec![Some(Integrity::Hmac(Hash::Sha256))],
        remote_id: 0,
        esn: Esn::Off,
        allow_weak: false,
    };
    Config { timers: Timers::default(), remotes: vec![Arc::new(remote)], sainfos: vec![sainfo], ..Config::default() }
}

struct Initiators {
    endpoint: Endpoint,
    identity: Identity,
    began: Instant,
    inputs: VecDeque<Input>,
    sockets: Vec<(IpAddr, UdpSocket)>,
    next_spi: u32,
    done: Vec<IpAddr>,
    outcome: Outcome,
}

/// Runs the plan.
///
/// # Errors
/// An address that cannot be bound.
pub fn run(identity: Identity, plan: &Plan) -> io::Result<Outcome> {
    let endpoint = Endpoint::new(Arc::new(OpensslProvider::new()), Arc::new(config(&identity, plan)));
    let mut all = Initiators {
        endpoint,
        identity,
        began: Instant::now(),
        inputs: VecDeque::new(),
        sockets: Vec::new(),
        next_spi: 0x1000,
        done: Vec::new(),
        outcome: Outcome::default(),
    };
    let mut begun = 0;
    while all.began.elapsed() < plan.limit {
        while begun < plan.count && all.sockets.len() < plan.at_once {
            all.begin(nth(plan.first, begun), plan.responder)?;
            begun += 1;
        }
        if all.sockets.is_empty() {
            break;
        }
        all.receive()?;
        all.work()?;
        all.close();
    }
    all.outcome.seconds = all.began.elapsed().as_secs_f64();
    Ok(all.outcome)
}

fn nth(first: IpAddr, offset: u32) -> IpAddr {
    match first {
        IpAddr::V4(addr) => IpAddr::from(u32::from(addr).wrapping_add(offset).to_be_bytes()),
        IpAddr::V6(addr) => IpAddr::from(u128::from(addr).wrapping_add(u128::from(offset)).to_be_bytes()),
    }
}

impl Initiators {
    fn begin(&mut self, local: IpAddr, peer: IpAddr) -> io::Result<()> {
        let socket = UdpSocket::bind(SocketAddr::new(local, 500))
            .map_err(|error| io::Error::new(error.kind(), format!("{local}[500]: {error}")))?;
        socket.set_nonblocking(true)?;
        self.sockets.push((local, socket));
        let flow = Selector::hosts(local, peer);
        let (protocol, mode, reqid) = (Protocol::Esp, Mode::Transport, ReqId(0));
        let acquire = Acquire {
            flow,
            policy: flow,
            policy_index: 0,
            local,
            peer,
            protocol,
            mode,
            reqid,
            companions: Companions::NONE,
        };
        self.inputs.push_back(Input::Acquire(acquire));
        self.work()
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { monotonic: self.began.elapsed(), wall }
    }

    /// Waits a moment for datagrams, then takes all there are.
    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 65_536];
        let mut any = false;
        for (local, socket) in &self.sockets {
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                any = true;
                let local = SocketAddr::new(*local, 500);
                self.inputs.push_back(Input::Datagram { local, peer, octets: buffer[..length].to_vec() });
            }
        }
        if !any {
            std::thread::sleep(Duration::from_micros(200));
            self.inputs.push_back(Input::Wake);
        }
        Ok(())
    }

    fn work(&mut self) -> io::Result<()> {
        while let Some(input) = self.inputs.pop_front() {
            let now = self.now();
            self.endpoint.handle(now, input);
            loop {
                match self.endpoint.poll() {
                    Output::WakeAt(_) => break,
                    output => self.carry_out(output)?,
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output) -> io::Result<()> {
        match output {
            Output::Send { local, peer, octets } => {
                if let Some((_, socket)) = self.sockets.iter().find(|(addr, _)| *addr == local.ip()) {
                    // A full send buffer is loss like any other: the core resends.
                    let _ = socket.send_to(&octets, peer);
                }
            }
            Output::AllocateSpi { job, .. } => {
                self.next_spi += 1;
                self.inputs.push_back(Input::SpiAllocated { job, result: Ok(Spi(self.next_spi)) });
            }
            Output::InstallSa { job, sa } => {
                if sa.direction == SaDirection::Outbound {
                    self.outcome.established += 1;
                    self.done.push(sa.name.src);
                }
                self.inputs.push_back(Input::SaInstalled { job, result: Ok(()) });
            }
            Output::Sign { job, octets, .. } => {
                let result = self.identity.signer.sign_unprefixed(&octets).map_err(|error| error.to_string());
                self.inputs.push_back(Input::Signed { job, result });
            }
            Output::Judge { job, request } => {
                self.inputs.push_back(Input::Judged { job, result: trust(&request.certificates) });
            }
            Output::FindPolicy { job, .. } => self.inputs.push_back(Input::PolicyFound { job, policy: None }),
            Output::Report(report) => {
                let over = matches!(
                    report.event,
                    Event::Phase1Failed { .. } | Event::Phase2Failed { .. } | Event::GaveUp { .. }
                );
                if report.level == Level::Error && over {
                    self.outcome.failures.push(report.event.to_string());
                }
            }
            Output::InstallPolicy { job, policy } => {
                let result = Ok(ReqId(0));
                self.inputs.push_back(Input::PolicyInstalled { job, policy, result });
            }
            Output::QueryTraffic { job, .. } => self.inputs.push_back(Input::TrafficSeen { job, packets: 0 }),
            Output::RemoveSa { .. }
            | Output::MovePolicy { .. }
            | Output::RemovePolicy { .. }
            | Output::ReleaseHeld { .. }
            | Output::ForgetAcquire { .. }
            | Output::KeepAlive { .. }
            | Output::CheckPassword { .. }
            | Output::RunHook(_)
            | Output::MoveChild(_)
            | Output::WakeAt(_) => {}
        }
        Ok(())
    }

    /// Closes the sockets of initiators that are done.
    fn close(&mut self) {
        let done = std::mem::take(&mut self.done);
        self.sockets.retain(|(addr, _)| !done.contains(addr));
    }
}
