//! What every part of the endpoint shares: the time, the configuration, random octets, timers and the outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::crypto::provider::Provider;
use crate::event::sa::{ChildId, SaName, SpiRequest};
use crate::event::{JobId, Now, Output};
use crate::fragment;
use crate::message::Cookies;
use crate::report::{Ends, Event, Level, Report};
use crate::timer::{Phase1Id, TimerTable};
use crate::wire::header::{Cookie, Header};

/// The two ends of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    /// Our address and port.
    pub(crate) local: SocketAddr,
    /// The peer's.
    pub(crate) peer: SocketAddr,
}

impl From<Path> for Ends {
    fn from(Path { local, peer }: Path) -> Self {
        Self { local, peer }
    }
}

/// Who waits for the answer to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JobOwner {
    /// A main mode.
    Phase1(Phase1Id),
    /// The quick mode with this message ID.
    Quick(Phase1Id, u32),
    /// A login under an ISAKMP SA.
    Login(Phase1Id),
    /// A child whose outbound SA is being installed.
    Child(ChildId),
    /// The question whether the peer of this ISAKMP SA lives.
    Liveness(Phase1Id),
}

/// A question under way.
struct Job {
    owner: JobOwner,
    /// What an SPI was asked for: one that nobody wants any more is given back.
    spi_request: Option<SpiRequest>,
}

/// Shared state of an endpoint.
pub(crate) struct Context {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) config: Arc<Config>,
    pub(crate) now: Now,
    pub(crate) timers: TimerTable,
    out: VecDeque<Output>,
    jobs: BTreeMap<JobId, Job>,
    last_number: u64,
    /// Cookies under which large messages are cut.
    cutting: BTreeSet<Cookies>,
}

impl Context {
    pub(crate) fn new(provider: Arc<dyn Provider>, config: Arc<Config>) -> Self {
        let now = Now { monotonic: Duration::ZERO, wall: 0 };
        Self {
            provider,
            config,
            now,
            timers: TimerTable::default(),
            out: VecDeque::new(),
            jobs: BTreeMap::new(),
            last_number: 0,
            cutting: BTreeSet::new(),
        }
    }

    /// It is this late.
    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = now;
        self.timers.passed(now.monotonic);
    }

    /// Queues an output.
    pub(crate) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    /// Takes the next output.
    pub(crate) fn take(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Sends a message: in pieces if it is large and its peer takes them ([`Self::cut_messages`]). Everything that is sent
    /// goes through here, resends too, and the same message is always cut the same way.
    pub(crate) fn send(&mut self, path: Path, octets: Vec<u8>) {
        let datagrams = if self.is_cut(&octets) { fragment::cut(octets) } else { vec![octets] };
        for octets in datagrams {
            self.emit(Output::Send { local: path.local, peer: path.peer, octets });
        }
    }

    fn is_cut(&self, message: &[u8]) -> bool {
        message.len() > fragment::LONGEST
            && Header::decode(message).is_ok_and(|header| {
                self.cutting.contains(&Cookies { initiator: header.initiator, responder: header.responder })
            })
    }

    /// From now on large messages under these cookies are cut, or no longer are.
    pub(crate) fn cut_messages(&mut self, cookies: Cookies, cut: bool) {
        if cut {
            self.cutting.insert(cookies);
        } else {
            self.cutting.remove(&cookies);
        }
    }

    /// Reports an event about `peer`.
    pub(crate) fn report(&mut self, level: Level, peer: SocketAddr, event: Event) {
        self.emit(Output::Report(Report { level, local: None, peer: Some(peer), event }));
    }

    /// Reports an event of an exchange, both ends of which are known.
    pub(crate) fn report_on(&mut self, level: Level, path: Path, event: Event) {
        self.emit(Output::Report(Report { level, local: Some(path.local), peer: Some(path.peer), event }));
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// A fresh job number for `owner`.
    pub(crate) fn job(&mut self, owner: JobOwner) -> JobId {
        let job = JobId(self.number());
        self.jobs.insert(job, Job { owner, spi_request: None });
        job
    }

    /// Asks the kernel for an SPI.
    pub(crate) fn allocate_spi(&mut self, owner: JobOwner, request: SpiRequest) -> JobId {
        let job = JobId(self.number());
        self.jobs.insert(job, Job { owner, spi_request: Some(request) });
        self.emit(Output::AllocateSpi { job, request });
        job
    }

    /// Takes the owner of an answered question; `None` if it was never asked or is answered already.
    pub(crate) fn finish_job(&mut self, job: JobId) -> Option<(JobOwner, Option<SpiRequest>)> {
        self.jobs.remove(&job).map(|job| (job.owner, job.spi_request))
    }

    /// Questions under way.
    pub(crate) fn open_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Gives an SPI back.
    pub(crate) fn remove_sa(&mut self, sa: SaName) {
        self.emit(Output::RemoveSa { sa });
    }

    /// A fresh number of a path that is kept alive.
    pub(crate) fn path_number(&mut self) -> u64 {
        self.number()
    }

    /// A fresh child number.
    pub(crate) fn child_id(&mut self) -> ChildId {
        ChildId(self.number())
    }

    /// A fresh phase 1 number.
    pub(crate) fn phase1_id(&mut self) -> Phase1Id {
        Phase1Id(self.number())
    }

    /// Random octets.
    pub(crate) fn random(&self, length: usize) -> Vec<u8> {
        let mut octets = vec![0; length];
        self.provider.random(&mut octets);
        octets
    }

    /// A random number.
    pub(crate) fn random_u32(&self) -> u32 {
        let mut octets = [0; 4];
        self.provider.random(&mut octets);
        u32::from_be_bytes(octets)
    }

    /// A fresh cookie, never zero (RFC 2408 §2.5.3).
    pub(crate) fn cookie(&self) -> Cookie {
        let mut octets = [0; 8];
        while octets == [0; 8] {
            self.provider.random(&mut octets);
        }
        Cookie(octets)
    }

    /// A time drawn evenly between `from` and `to` percent of `whole`.
    pub(crate) fn jitter(&self, whole: Duration, from: u32, to: u32) -> Duration {
        let thousandths = from * 10 + self.random_u32() % ((to - from) * 10).max(1);
        whole * thousandths / 1000
    }
}
