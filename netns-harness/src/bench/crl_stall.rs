//! How long the daemon's loop keeps somebody waiting while a CRL of a million entries takes the place of a small one, beside how
//! long the same daemon does at rest. Asked is what the loop alone can answer, every 5 ms, over the control socket; IKE waits
//! for the same loop. Both ways in: a file of the configuration, and `<hash>.r0` of the hashed directory.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Place, Round, millis};
use crate::desk::Desk;
use crate::failure::{During, Failure, Result};
use crate::host::{Family, Host};
use crate::peer::ours::{self, CERTS, Ours, SOCKET};
use crate::peer::tunnel::{Credentials, Tunnel};
use crate::pki::{self, Authority};
use crate::process;
use crate::topology;
use crate::wait;

/// Entries of the list.
const MANY: &str = "1000000";
/// Between two questions.
const OFTEN: Duration = Duration::from_millis(5);
/// How long the daemon is watched at rest.
const REST: Duration = Duration::from_secs(3);
/// Longer than loading takes.
const LIMIT: Duration = Duration::from_secs(120);

/// The longest wait of each way: while loading, and at rest.
pub(super) fn round(place: &Place) -> Result<Vec<Round>> {
    [Way::Configured, Way::Hashed].into_iter().map(|way| longest(&mut place.desk(way.name())?, way)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Configured,
    Hashed,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Hashed => "hashed",
        }
    }
}

fn longest(desk: &mut Desk, way: Way) -> Result<Round> {
    let folder = desk.folder().to_owned();
    fs::create_dir_all(&folder)?;
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "Desk CA")?;
    let server = authority.leaf(&mut desk.keys, "server.desk", 2)?;
    let host = topology::pair(&folder)?.alice;
    let credentials = Credentials { leaf: server, ca: authority.pem.clone(), crl: None, intermediate: None };
    let tunnel = Tunnel::transport(host.address(Family::V4), [10, 1, 0, 2].into(), credentials);
    ours::install_credentials(desk, &host, &tunnel)?;
    let (file, block) = match way {
        Way::Configured => ("list.crl".to_owned(), "revocation { crl_file \"list.crl\"; }\n"),
        Way::Hashed => (format!("{}.r0", pki::subject_hash(desk.folder(), &authority.pem)?), ""),
    };
    let file = format!("{CERTS}/{file}");
    let (ca, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    fs::write(&ca, &authority.pem)?;
    fs::write(&key, authority.key())?;
    let make = |count: &str, day: &str, out: PathBuf| {
        let mut fill = host.command(desk.program("bench-fill"));
        fill.args(["crl", "--count", count, "--day", day, "--ca"])
            .arg(&ca)
            .arg("--key")
            .arg(&key)
            .arg("--out")
            .arg(out);
        process::check(&mut fill).map(drop)
    };
    make("1", "1", host.outside(&file))?;
    let new = host.outside(&format!("{CERTS}/new"));
    make(MANY, "2", new.clone())?;
    let ours = Ours::with_files(desk, &host, &(ours::racoon_conf(&tunnel) + block), "")?;
    in_use(&ours, "1")?;

    let socket = host.outside(SOCKET);
    let rest = Asking::start(&host, &socket)?;
    thread::sleep(REST);
    let at_rest = rest.longest()?;
    let asking = Asking::start(&host, &socket)?;
    let begun = Instant::now();
    fs::rename(&new, host.outside(&file))?;
    in_use(&ours, MANY)?;
    let loaded = begun.elapsed();
    // What comes behind it (the disk, the list that is freed) counts as well.
    thread::sleep(REST);
    let loading = asking.longest()?;
    println!(
        "{}: in use after {:.0} ms; longest wait {loading:.1} ms, {at_rest:.1} ms at rest",
        way.name(),
        millis(loaded)
    );
    Ok(Round { ours: loading, peer: at_rest })
}

fn in_use(ours: &Ours, entries: &str) -> Result<()> {
    let wanted = format!("\"entries\": {entries},");
    let mut last = String::new();
    wait::until(LIMIT, &format!("a CRL of {entries} entries to be in use"), || {
        last = ours.xfrmctl(&["status", "--json"])?.stdout;
        Ok(last.contains(&wanted) || last.contains(&wanted.replace(',', "\n")))
    })
    .map_err(|failure| failure.with("xfrmctl status", last))
}

/// Asks the daemon again and again, and notes the longest wait.
struct Asking {
    over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Duration>>,
    _host: Rc<Host>,
}

impl Asking {
    fn start(host: &Rc<Host>, socket: &Path) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (end, socket) = (Arc::clone(&over), socket.to_owned());
        let thread = thread::Builder::new().spawn(move || ask(&socket, &end)).during("starting a thread")?;
        Ok(Self { over, thread, _host: Rc::clone(host) })
    }

    /// In milliseconds.
    fn longest(self) -> Result<f64> {
        self.over.store(true, Ordering::Relaxed);
        let longest = self.thread.join().map_err(|_| Failure::new("the thread that asks panicked"))?;
        Ok(millis(longest.during("asking the daemon")?))
    }
}

fn ask(socket: &Path, over: &AtomicBool) -> std::io::Result<Duration> {
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(b"{\"command\":\"peers\"}\n")?;
        BufReader::new(stream).read_line(&mut String::new())?;
        longest = longest.max(begun.elapsed());
        thread::sleep(OFTEN);
    }
    Ok(longest)
}
