//! What every part of the endpoint shares: the time, the configuration, random octets, timers and the outputs.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::crypto::provider::Provider;
use crate::event::{ChildId, JobId, Now, Output};
use crate::report::{Event, Level, Report};
use crate::timer::{Phase1Id, TimerTable};
use crate::wire::header::Cookie;

/// The two ends of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    /// Our address and port.
    pub(crate) local: SocketAddr,
    /// The peer's.
    pub(crate) peer: SocketAddr,
}

/// Shared state of an endpoint.
pub(crate) struct Context {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) config: Arc<Config>,
    pub(crate) now: Now,
    pub(crate) timers: TimerTable,
    out: VecDeque<Output>,
    last_number: u64,
}

impl Context {
    pub(crate) fn new(provider: Arc<dyn Provider>, config: Arc<Config>) -> Self {
        let now = Now { monotonic: Duration::ZERO, wall: 0 };
        Self { provider, config, now, timers: TimerTable::default(), out: VecDeque::new(), last_number: 0 }
    }

    /// Queues an output.
    pub(crate) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    /// Takes the next output.
    pub(crate) fn take(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Sends a datagram.
    pub(crate) fn send(&mut self, path: Path, octets: Vec<u8>) {
        self.emit(Output::Send { local: path.local, peer: path.peer, octets });
    }

    /// Reports an event about `peer`.
    pub(crate) fn report(&mut self, level: Level, peer: SocketAddr, event: Event) {
        self.emit(Output::Report(Report { level, peer: Some(peer), event }));
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// A fresh job number.
    pub(crate) fn job(&mut self) -> JobId {
        JobId(self.number())
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
