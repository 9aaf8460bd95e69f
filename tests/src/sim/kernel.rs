//! As much of a kernel as the core talks to: SPIs, SAs with limits, and the choice of the outbound SA.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ike::event::sa::{ChildMove, SaDirection, SaInstall, SaName, SpiRequest, UdpEncapsulation};
use policy::model::sa::Spi;
use policy::model::selector::Selector;

/// Larval SAs live this long (net.core.xfrm_acq_expires).
const LARVAL: Duration = Duration::from_secs(30);

/// An SA as it stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The SA.
    pub sa: SaInstall,
    /// When it was installed.
    pub since: Duration,
    /// Packets of the peer that came in by it.
    pub packets: u64,
    soft_told: bool,
}

/// The kernel of one node.
#[derive(Debug, Default)]
pub struct Kernel {
    /// SAs in place.
    pub sas: BTreeMap<SaName, Standing>,
    /// Policies made for a peer.
    pub generated: BTreeSet<Selector>,
    larval: BTreeMap<SaName, Duration>,
    next_spi: u32,
    installs: u64,
}

/// A notice to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Soft limit reached.
    Soft(SaName),
    /// Hard limit reached, the SA is gone.
    Hard(SaName),
}

impl Kernel {
    /// A kernel whose SPIs begin at a place of its own, so that mix-ups show.
    pub fn new(first_spi: u32) -> Self {
        Self { next_spi: first_spi, ..Self::default() }
    }

    /// `XFRM_MSG_ALLOCSPI`.
    pub fn allocate(&mut self, request: SpiRequest, now: Duration) -> Spi {
        self.next_spi = self.next_spi.wrapping_add(0x0001_0001).max(0x1000);
        let spi = Spi(self.next_spi);
        let SpiRequest { protocol, src, dst, .. } = request;
        self.larval.insert(SaName { protocol, spi, src, dst }, now);
        spi
    }

    /// UPDSA or NEWSA.
    pub fn install(&mut self, sa: SaInstall, now: Duration) -> Result<(), String> {
        self.larval.remove(&sa.name);
        self.installs += 1;
        if self.sas.contains_key(&sa.name) {
            return Err("File exists".to_owned());
        }
        self.sas.insert(sa.name, Standing { sa, since: now, packets: 0, soft_told: false });
        Ok(())
    }

    /// DELSA.
    pub fn remove(&mut self, name: &SaName) {
        self.larval.remove(name);
        self.sas.remove(name);
    }

    /// A child's SAs under their names, ports and selectors from now on.
    pub fn relocate(&mut self, moved: &ChildMove) {
        let child = &moved.child;
        for (from, to) in [(moved.inbound, child.inbound), (moved.outbound, child.outbound)] {
            let Some(mut standing) = self.sas.remove(&from) else { continue };
            let reversed = child.encapsulation.map(|udp| UdpEncapsulation {
                src_port: udp.dst_port,
                dst_port: udp.src_port,
                ..udp
            });
            (standing.sa.encapsulation, standing.sa.selector) = match standing.sa.direction {
                SaDirection::Outbound => (child.encapsulation, child.selector),
                SaDirection::Inbound => (reversed, child.selector.reversed()),
            };
            standing.sa.name = to;
            self.sas.insert(to, standing);
        }
    }

    /// SPIs that were allocated and neither used nor given back nor timed out.
    pub fn larval(&self) -> usize {
        self.larval.len()
    }

    /// SAs installed so far.
    pub fn installs(&self) -> u64 {
        self.installs
    }

    /// Lets time pass: limits reached by `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Limit> {
        self.larval.retain(|_, since| *since + LARVAL > now);
        let mut limits = Vec::new();
        for (name, standing) in &mut self.sas {
            let age = now.saturating_sub(standing.since);
            if age >= standing.sa.hard {
                limits.push(Limit::Hard(*name));
            } else if age >= standing.sa.soft && !standing.soft_told {
                standing.soft_told = true;
                limits.push(Limit::Soft(*name));
            }
        }
        for limit in &limits {
            if let Limit::Hard(name) = limit {
                self.sas.remove(name);
            }
        }
        limits
    }

    /// The SA that outbound packets take: the newest.
    pub fn outbound(&self) -> Option<&Standing> {
        self.sas
            .values()
            .filter(|standing| standing.sa.direction == SaDirection::Outbound)
            .max_by_key(|standing| standing.since)
    }

    /// The inbound SA that takes a packet of this SA, with the same keys; `name` is how this side knows it.
    pub fn taker(&mut self, name: &SaName, sent: &SaInstall) -> Option<&mut Standing> {
        self.sas.get_mut(name).filter(|standing| {
            standing.sa.direction == SaDirection::Inbound
                && standing.sa.cipher_key == sent.cipher_key
                && standing.sa.integrity_key == sent.integrity_key
                && standing.sa.encapsulation.is_some() == sent.encapsulation.is_some()
        })
    }

    /// Packets that came in by these SAs.
    pub fn packets(&self, names: &[SaName]) -> u64 {
        names.iter().filter_map(|name| self.sas.get(name)).map(|standing| standing.packets).sum()
    }
}
