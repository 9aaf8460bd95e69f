//! The usual beginning: two hosts, one CA, a certificate each, a daemon each, and the questions that every scenario asks.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state::{self, Sa};
use crate::peer::tunnel::{Credentials, Mode, Tunnel};
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping;
use crate::pki::{Authority, Leaf};
use crate::topology::Gateways;
use crate::wait;

/// Serial of the initiator's certificate.
pub const ALICE_SERIAL: u64 = 2;
/// Serial of the responder's certificate.
pub const BOB_SERIAL: u64 = 3;

/// Two daemons with a tunnel between them.
pub struct Stage {
    /// The daemon on alice, which initiates.
    pub initiator: Box<dyn Peer>,
    /// The daemon on bob.
    pub responder: Box<dyn Peer>,
    /// The addresses of alice and bob.
    pub addresses: (IpAddr, IpAddr),
}

/// Both sides' credentials, from one CA.
pub struct Papers {
    /// The CA.
    pub authority: Authority,
    /// Alice's certificate.
    pub alice: Leaf,
    /// Bob's certificate.
    pub bob: Leaf,
}

impl Papers {
    /// A CA that has issued a certificate to alice and one to bob.
    ///
    /// # Errors
    /// When signing fails.
    pub fn issue(desk: &mut Desk) -> Result<Self> {
        desk.keys.fill()?;
        let authority = Authority::root(&mut desk.keys, "Desk CA")?;
        let alice = authority.leaf(&mut desk.keys, "alice.desk", ALICE_SERIAL)?;
        let bob = authority.leaf(&mut desk.keys, "bob.desk", BOB_SERIAL)?;
        Ok(Self { authority, alice, bob })
    }

    /// A host's credentials under this CA.
    pub fn credentials(&self, leaf: &Leaf) -> Credentials {
        Credentials { leaf: leaf.clone(), ca: self.authority.pem.clone(), crl: None, intermediate: None }
    }
}

impl Stage {
    /// Starts a daemon on each of two hosts; `adjust` may change each side's tunnel, alice's first.
    ///
    /// # Errors
    /// When a daemon does not come up.
    pub fn set(
        desk: &mut Desk,
        kinds: (Kind, Kind),
        family: Family,
        adjust: impl FnOnce(&mut Tunnel, &mut Tunnel),
    ) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let pair = desk.pair()?;
        let (a, b) = (pair.alice.address(family), pair.bob.address(family));
        let mut at_alice = Tunnel::transport(a, b, papers.credentials(&papers.alice));
        let mut at_bob = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        adjust(&mut at_alice, &mut at_bob);
        Self::with(desk, kinds, (&pair.alice, at_alice), (&pair.bob, at_bob))
    }

    /// Starts a daemon on each of two gateways, with a tunnel between the subnets behind them; `adjust` may change each
    /// side's tunnel.
    ///
    /// # Errors
    /// When a daemon does not come up.
    pub fn gateways(
        desk: &mut Desk,
        kinds: (Kind, Kind),
        family: Family,
        adjust: impl Fn(&mut Tunnel),
    ) -> Result<(Self, Gateways)> {
        let papers = Papers::issue(desk)?;
        let gateways = desk.gateways()?;
        let (a, b) = (gateways.west.address(family), gateways.east.address(family));
        let (local, remote) = match family {
            Family::V4 => ("10.11.0.0/24", "10.12.0.0/24"),
            Family::V6 => ("fd11::/64", "fd12::/64"),
        };
        let mut at_west =
            Tunnel { mode: Mode::tunnel(local, remote), ..Tunnel::transport(a, b, papers.credentials(&papers.alice)) };
        let mut at_east =
            Tunnel { mode: Mode::tunnel(remote, local), ..Tunnel::transport(b, a, papers.credentials(&papers.bob)) };
        adjust(&mut at_west);
        adjust(&mut at_east);
        let stage = Self::with(desk, kinds, (&gateways.west, at_west), (&gateways.east, at_east))?;
        Ok((stage, gateways))
    }

    /// Starts a daemon on each of two hosts for these tunnels.
    ///
    /// # Errors
    /// When a daemon does not come up.
    pub fn with(
        desk: &Desk,
        kinds: (Kind, Kind),
        alice: (&Rc<Host>, Tunnel),
        bob: (&Rc<Host>, Tunnel),
    ) -> Result<Self> {
        let addresses = (alice.1.local, bob.1.local);
        let responder = peer::start(kinds.1, desk, bob.0, bob.1)?;
        let initiator = peer::start(kinds.0, desk, alice.0, alice.1)?;
        Ok(Self { initiator, responder, addresses })
    }

    /// Alice pings bob until the tunnel is there, and both kernels are asked; the SAs.
    ///
    /// # Errors
    /// When no answer comes or the kernels disagree.
    pub fn establish(&self, desk: &mut Desk) -> Result<Vec<Sa>> {
        let alice = self.initiator.host();
        let took = ping::answered(alice, self.addresses.1, PATIENCE).map_err(|failure| self.evidence(failure))?;
        let sas = self.agreed().map_err(|failure| self.evidence(failure))?;
        desk.proved(format!(
            "alice's first ping was answered after {} ms; both kernels hold the same two SAs",
            took.as_millis()
        ));
        Ok(sas)
    }

    /// Waits until both kernels hold exactly one SA each way, the same ones with the same keys.
    ///
    /// # Errors
    /// When that does not come about.
    pub fn agreed(&self) -> Result<Vec<Sa>> {
        wait::until_some(PATIENCE, "both kernels to hold the same two SAs", || {
            let (at_alice, at_bob) = (self.sas_at(&*self.initiator)?, self.sas_at(&*self.responder)?);
            Ok((at_alice.len() == 2 && same(&at_alice, &at_bob)).then_some(at_alice))
        })
        .map_err(|failure| self.evidence(failure))
    }

    /// The SAs between alice and bob that a side's kernel holds.
    ///
    /// # Errors
    /// When the kernel cannot be read.
    pub fn sas_at(&self, side: &dyn Peer) -> Result<Vec<Sa>> {
        kernel_state::sas_between(side.host(), self.addresses.0, self.addresses.1)
    }

    /// Waits until a side's kernel holds no SA of the tunnel.
    ///
    /// # Errors
    /// When one stays.
    pub fn gone_at(&self, side: &dyn Peer) -> Result<()> {
        let what = format!("{}'s SAs to be gone", side.host().name());
        wait::until(PATIENCE, &what, || Ok(self.sas_at(side)?.is_empty())).map_err(|failure| self.evidence(failure))
    }

    /// Waits until a side's log holds one of these texts.
    ///
    /// # Errors
    /// When none appears.
    pub fn logged(&self, side: &dyn Peer, texts: &[&str]) -> Result<()> {
        let what = format!("{} to log \"{}\"", side.host().name(), texts.join("\" or \""));
        wait::until(PATIENCE, &what, || {
            let log = side.log()?;
            Ok(texts.iter().any(|text| log.contains(text)))
        })
        .map_err(|failure| self.evidence(failure))
    }

    /// Adds both logs and both kernels' SAs to a failure.
    pub fn evidence(&self, failure: Failure) -> Failure {
        [&self.initiator, &self.responder].into_iter().fold(failure, |failure, side| {
            let name = side.host().name();
            let sas = side.host().netns().ip(&["xfrm", "state"]).unwrap_or_else(|error| error.to_string());
            let policies = kernel_state::policies(side.host()).unwrap_or_else(|error| error.to_string());
            failure
                .with(format!("{name}'s log"), side.log().unwrap_or_else(|error| error.to_string()))
                .with(format!("{name}'s SAs"), sas)
                .with(format!("{name}'s policies"), policies)
        })
    }
}

/// Whether two kernels hold the same SAs, in whatever order.
fn same(a: &[Sa], b: &[Sa]) -> bool {
    let alike = |x: &Sa, y: &Sa| {
        (x.spi, x.source, x.destination, x.mode, &x.algorithms)
            == (y.spi, y.source, y.destination, y.mode, &y.algorithms)
    };
    a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| alike(x, y)))
}

/// The SPIs of SAs, sorted.
pub fn spis(sas: &[Sa]) -> Vec<u32> {
    let mut out: Vec<u32> = sas.iter().map(|sa| sa.spi).collect();
    out.sort_unstable();
    out
}

/// How long nothing must happen before it is believed.
pub const QUIET: Duration = Duration::from_secs(3);
