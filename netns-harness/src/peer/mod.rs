//! The IKE daemons that stand on a desk, behind one face: start with a [`Tunnel`], initiate, end, say what happened.

pub mod ike_scan;
pub mod libreswan;
pub mod ours;
pub mod strongswan;
pub mod suite;
pub mod tunnel;
pub mod vpnc;

use std::rc::Rc;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::peer::libreswan::Libreswan;
use crate::peer::ours::Ours;
use crate::peer::strongswan::Strongswan;
use crate::peer::tunnel::Tunnel;

/// How long a negotiation may take, retransmissions included.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// xfrmd.
    Ours,
    /// strongSwan's charon.
    Charon,
    /// libreswan's pluto.
    Pluto,
    /// The Cisco client vpnc, which has no kernel SAs.
    Vpnc,
    /// ike-scan, which only knocks.
    IkeScan,
}

impl Kind {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Ours => "xfrmd",
            Self::Charon => "charon",
            Self::Pluto => "pluto",
            Self::Vpnc => "vpnc",
            Self::IkeScan => "ike-scan",
        }
    }
}

/// A daemon with its policies, on a host.
pub trait Peer {
    /// The host it runs on.
    fn host(&self) -> &Rc<Host>;

    /// Closes the tunnel with DELETEs to the peer: by a command where the daemon has one, else by ending it.
    ///
    /// # Errors
    /// When the daemon refuses.
    fn close(&mut self) -> Result<()>;

    /// Makes the daemon ready to negotiate again after [`Self::close`].
    ///
    /// # Errors
    /// When it does not come up.
    fn reopen(&mut self) -> Result<()>;

    /// Ends the daemon in good order, so that it tells its peers.
    ///
    /// # Errors
    /// When it does not end.
    fn shut_down(&mut self) -> Result<()>;

    /// Ends the daemon without giving it a chance to do anything.
    ///
    /// # Errors
    /// When it cannot be killed.
    fn kill(&mut self) -> Result<()>;

    /// Puts back what a reboot loses and the boot scripts load again: SAs gone, policies fresh.
    ///
    /// # Errors
    /// When the kernel or setkey refuses.
    fn reboot_kernel(&mut self) -> Result<()>;

    /// Starts it again after [`Self::shut_down`] or [`Self::kill`].
    ///
    /// # Errors
    /// When it does not come up.
    fn restart(&mut self) -> Result<()>;

    /// Everything it logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn log(&self) -> Result<String>;
}

/// Starts a daemon of this kind for this tunnel, policies included.
///
/// # Errors
/// When it does not come up.
pub fn start(kind: Kind, desk: &Desk, host: &Rc<Host>, tunnel: Tunnel) -> Result<Box<dyn Peer>> {
    Ok(match kind {
        Kind::Ours => Box::new(Ours::start(desk, host, tunnel)?),
        Kind::Charon => Box::new(Strongswan::start(host, tunnel)?),
        Kind::Pluto => Box::new(Libreswan::start(desk, host, tunnel)?),
        Kind::Vpnc | Kind::IkeScan => {
            return Err(Failure::new(format!("{} is no daemon with policies", kind.program())));
        }
    })
}
