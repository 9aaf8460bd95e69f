//! One responder and a crowd of initiators:
//! ```text
//!   server eth0 ------------------ eth0 crowd
//!   10.1.0.1/24            10.1.0.2/24, and all of 10.9.0.0/16 on its loopback
//! ```
//! The initiators are `ike-load`: our own endpoint over real UDP, the same against every responder. No link is captured,
//! since that would cost the responder time.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::Host;
use crate::peer::ours::{self, Ours};
use crate::peer::strongswan::{self, Strongswan};
use crate::peer::tunnel::{Credentials, Tunnel};
use crate::peer::{Kind, Peer};
use crate::pki::{Authority, Leaf};
use crate::process::{Finished, Process};
use crate::topology::{self, Pair};
use crate::wait;

/// Serial of the responder's certificate.
const SERVER_SERIAL: u64 = 2;
/// Serial of the certificate that most initiators show.
pub(super) const CROWD_SERIAL: u64 = 3;
/// Serial of the certificate of the few that are to be cut off.
pub(super) const OUTCAST_SERIAL: u64 = 4;
/// The common name in that certificate.
pub(super) const OUTCAST_NAME: &str = "outcast.desk";
/// The responder.
const SERVER: &str = "10.1.0.1";
/// How long a responder may take over one crowd, and over taking it down.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// Initiators at once. More make charon so slow that first messages are sent again; one that it comes to after the third
/// message ends the exchange there (`IDii payload missing`), and the initiator waits in vain.
const AT_ONCE: &str = "4";
/// A responder that uses no CPU time for as long as this has nothing to do.
const REST: Duration = Duration::from_millis(300);

/// A responder that serves, and its crowd.
pub(super) struct Crowd {
    responder: Responder,
    pair: Pair,
    load: PathBuf,
    papers: PathBuf,
}

/// A daemon with the tool that commands it.
enum Responder {
    Ours(Ours),
    Charon(Strongswan),
}

/// Part of what `ike-load` prints.
#[derive(Deserialize)]
struct Outcome {
    established: u32,
    failures: Vec<String>,
}

impl Crowd {
    /// Starts a responder of this kind.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) fn gather(desk: &mut Desk, kind: Kind) -> Result<Self> {
        let folder = desk.folder().join(kind.program());
        fs::create_dir_all(&folder)?;
        desk.keys.fill()?;
        let authority = Authority::root(&mut desk.keys, "Desk CA")?;
        let server = authority.leaf(&mut desk.keys, "server.desk", SERVER_SERIAL)?;
        let crowd = authority.leaf(&mut desk.keys, "crowd.desk", CROWD_SERIAL)?;
        let outcast = authority.leaf(&mut desk.keys, OUTCAST_NAME, OUTCAST_SERIAL)?;
        save(&folder, &crowd)?;
        save(&folder, &outcast)?;
        let pair = topology::pair(&folder)?;
        pair.alice.netns().ip(&["route", "add", "10.9.0.0/16", "via", "10.1.0.2"])?;
        pair.bob.netns().ip(&["route", "add", "local", "10.9.0.0/16", "dev", "lo"])?;
        let credentials = Credentials { leaf: server, ca: authority.pem.clone(), crl: None, intermediate: None };
        let responder = match kind {
            Kind::Ours => Responder::Ours(start_ours(desk, &pair.alice, credentials)?),
            Kind::Charon => Responder::Charon(start_charon(&pair.alice, &credentials)?),
            other => return Err(Failure::new(format!("{} is not measured", other.program()))),
        };
        Ok(Self { responder, pair, load: desk.program("ike-load"), papers: folder })
    }

    /// Has `count` initiators, the first at 10.9.0.1 + `first`, establish a tunnel each with the certificate of this
    /// serial. One in a hundred may fail, which is said; the number of those that came up.
    ///
    /// # Errors
    /// When more fail.
    pub(super) fn establish(&mut self, first: u32, count: u32, serial: u64) -> Result<u32> {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 9, 0, 1)) + first).to_string();
        let (count_text, limit) = (count.to_string(), LIMIT.as_secs().to_string());
        let paper = |end: &str| self.papers.join(format!("{serial}.{end}"));
        let mut command = self.pair.bob.command(&self.load);
        command.args([
            "--peer",
            SERVER,
            "--first",
            &address,
            "--count",
            &count_text,
            "--limit",
            &limit,
            "--at-once",
            AT_ONCE,
        ]);
        command.arg("--cert").arg(paper("crt")).arg("--key").arg(paper("key"));
        let done = crate::process::run(&mut command)?;
        let outcome: Outcome = serde_json::from_str(&done.stdout)
            .during("ike-load's outcome")
            .map_err(|failure| failure.with("its output", done.output()))?;
        if outcome.established == count {
            return Ok(count);
        }
        let what = format!("only {} of {count} tunnels came up", outcome.established);
        let failures = outcome.failures.join("\n");
        if outcome.established + count / 100 >= count {
            println!("{what}: {failures}");
            return Ok(outcome.established);
        }
        Err(Failure::new(what).with("ike-load", failures).with("the responder's log", self.last_log()))
    }

    /// CPU time that the responder has used so far, user and system, in microseconds.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub(super) fn cpu_us(&mut self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.daemon().pid());
        let text = fs::read_to_string(&path).during(&path)?;
        // The second field may hold anything, but ends at the last parenthesis; utime and stime are the 14th and 15th,
        // in ticks, and hold the time of threads that have ended as well.
        let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
        let ticks: Option<Vec<f64>> = fields.map(|fields| fields.filter_map(|field| field.parse().ok()).collect());
        let ticks = ticks.filter(|ticks| ticks.len() == 2).ok_or_else(|| Failure::new(format!("{path}: {text}")))?;
        Ok(ticks.iter().sum::<f64>() * 1e6 / TICKS_PER_SECOND)
    }

    /// Resident memory of the responder, in KiB.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub(super) fn resident_kib(&mut self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.daemon().pid());
        let text = fs::read_to_string(&path).during(&path)?;
        let value = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        value.ok_or_else(|| Failure::new(format!("{path} has no VmRSS")))
    }

    /// The number of SAs in the responder's kernel.
    ///
    /// # Errors
    /// When iproute2 fails or says something else.
    pub(super) fn sas(&self) -> Result<u32> {
        let text = self.pair.alice.netns().ip(&["xfrm", "state", "count"])?;
        let count = text.split_whitespace().last().and_then(|count| count.parse().ok());
        count.ok_or_else(|| Failure::new("ip xfrm state count says no number").with("its output", text))
    }

    /// Waits until the responder's kernel holds at least this many SAs.
    ///
    /// # Errors
    /// When that does not come about.
    pub(super) fn sas_reach(&self, count: u32) -> Result<()> {
        self.sas_are(&format!("{count} SAs"), |sas| sas >= count)
    }

    /// Waits until the responder's kernel holds no more SAs than this.
    ///
    /// # Errors
    /// When that does not come about.
    pub(super) fn sas_sink(&self, count: u32) -> Result<()> {
        self.sas_are(&format!("no more than {count} SAs"), |sas| sas <= count)
    }

    fn sas_are(&self, what: &str, wanted: impl Fn(u32) -> bool) -> Result<()> {
        wait::until(LIMIT, &format!("{what} in the responder's kernel"), || Ok(wanted(self.sas()?)))
    }

    /// Waits until the responder has nothing left to do: what building up left behind must not be measured.
    ///
    /// # Errors
    /// When it goes on and on, or /proc cannot be read.
    pub(super) fn settle(&mut self) -> Result<()> {
        wait::until(LIMIT, "the responder to come to rest", || {
            let before = self.cpu_us()?;
            thread::sleep(REST);
            Ok(self.cpu_us()? <= before)
        })
    }

    /// Runs the responder's own tool: `xfrmctl` or `swanctl`, whichever of the two commands it is for.
    ///
    /// # Errors
    /// When it cannot be started or reports failure.
    pub(super) fn command(&self, xfrmctl: &[&str], swanctl: &[&str]) -> Result<String> {
        let done: Finished = match &self.responder {
            Responder::Ours(ours) => ours.xfrmctl(xfrmctl)?,
            Responder::Charon(charon) => charon.swanctl(swanctl)?,
        };
        if done.status.success() {
            return Ok(done.stdout);
        }
        Err(Failure::new(format!("the responder's tool ended with {}", done.status)).with("its output", done.output()))
    }

    /// The responder's host.
    pub(super) fn server(&self) -> &Rc<Host> {
        &self.pair.alice
    }

    fn daemon(&mut self) -> &mut Process {
        match &mut self.responder {
            Responder::Ours(ours) => ours.daemon(),
            Responder::Charon(charon) => charon.daemon(),
        }
    }

    /// Ends the responder, so that it writes what it holds back, and reads its log.
    fn last_log(&mut self) -> String {
        let peer: &mut dyn Peer = match &mut self.responder {
            Responder::Ours(ours) => ours,
            Responder::Charon(charon) => charon,
        };
        peer.shut_down().and_then(|()| peer.log()).unwrap_or_else(|failure| failure.to_string())
    }
}

/// What `/proc` counts time in on every architecture that matters here (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

fn save(folder: &std::path::Path, leaf: &Leaf) -> Result<()> {
    fs::write(folder.join(format!("{}.crt", leaf.serial)), &leaf.pem)?;
    fs::write(folder.join(format!("{}.key", leaf.serial)), &leaf.key)?;
    Ok(())
}

fn start_ours(desk: &Desk, host: &Rc<Host>, credentials: Credentials) -> Result<Ours> {
    let tunnel = Tunnel::transport([10, 1, 0, 1].into(), [10, 1, 0, 2].into(), credentials);
    ours::install_credentials(desk, host, &tunnel)?;
    let conf = ours::racoon_conf(&tunnel).replace("remote 10.1.0.2 {", "remote anonymous {");
    let policies = "flush;\nspdflush;\n\
        spdadd 10.1.0.1 10.9.0.0/16 any -P out ipsec esp/transport//require;\n\
        spdadd 10.9.0.0/16 10.1.0.1 any -P in ipsec esp/transport//require;\n";
    Ours::with_files(desk, host, &conf, policies)
}

fn start_charon(host: &Rc<Host>, credentials: &Credentials) -> Result<Strongswan> {
    // Its defaults write the log in larger pieces.
    let conf = strongswan::CONF.replace("flush_line = yes", "flush_line = no");
    Strongswan::with_files(host, credentials, &conf, SWANCTL_CONF)
}

const SWANCTL_CONF: &str = "connections {
  crowd {
    version = 1
    local_addrs = 10.1.0.1
    unique = never
    proposals = aes256-sha256-modp2048
    local { auth = pubkey
      certs = own.crt }
    remote { auth = pubkey
      id = \"%any\" }
    children {
      crowd {
        mode = transport
        esp_proposals = aes256-sha256-modp2048
        start_action = none
      }
    }
  }
}
";
