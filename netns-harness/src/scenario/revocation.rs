//! Every way in for a revocation, with the tunnel of the revoked certificate carrying traffic: a CRL in a file and by URL,
//! keylime's notice over ZeroMQ and by webhook. Each takes the SAs at once; nothing brings them back.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::{self, CERTS, Ours};
use crate::peer::tunnel::Tunnel;
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::process;
use crate::scenario::Scenario;
use crate::scenario::stage::{ALICE_SERIAL, Papers, QUIET};
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    for kind in [Kind::Ours, Kind::Charon] {
        for way in [Way::File, Way::Url, Way::ZeroMq, Way::Webhook] {
            let name = format!("revocation-{}/{}-xfrmd", way.name(), kind.program());
            out.push(Scenario::new(name, way.about(), move |desk| play(desk, kind, way)));
        }
    }
}

/// How bob comes to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    File,
    Url,
    ZeroMq,
    Webhook,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::File => "crl-file",
            Self::Url => "crl-url",
            Self::ZeroMq => "zeromq",
            Self::Webhook => "webhook",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::File => "a CRL replaced by rename cuts the SAs it lists; a rolled-back one is refused",
            Self::Url => "a CRL fetched by URL cuts the SAs it lists",
            Self::ZeroMq => "keylime's signed notice over ZeroMQ cuts; forged ones do not",
            Self::Webhook => "keylime's signed notice by webhook cuts; forged ones do not",
        }
    }

    /// bob's `revocation` block.
    fn block(self) -> &'static str {
        match self {
            Self::File => "revocation { crl_file \"list.pem\"; }",
            Self::Url => "revocation { crl_url \"http://127.0.0.1:38080/crl\"; crl_interval 5 sec; }",
            Self::ZeroMq => "revocation { subscribe \"tcp://127.0.0.1:8992\"; notifier_certificate \"notifier.crt\"; }",
            Self::Webhook => {
                "revocation { webhook \"http://127.0.0.1:6892/notices\"; notifier_certificate \"notifier.crt\"; }"
            }
        }
    }

    /// Who is said to have asked for it.
    fn source(self) -> &'static str {
        match self {
            Self::File | Self::Url => "crl",
            Self::ZeroMq => "zeromq",
            Self::Webhook => "webhook",
        }
    }
}

const PUBLISHER: &str = "127.0.0.1:8992";
/// Where a CA's list is asked for.
pub(super) const CA_SERVER: &str = "127.0.0.1:38080";
const WEBHOOK: &str = "127.0.0.1:6892";
/// Serial of the one who signs notices.
const NOTIFIER_SERIAL: u64 = 9;

fn play(desk: &mut Desk, kind: Kind, way: Way) -> Result<()> {
    let papers = Papers::issue(desk)?;
    let notifier = papers.authority.leaf(&mut desk.keys, "RevocationNotifier", NOTIFIER_SERIAL)?;
    let pair = desk.pair()?;
    let (a, b) = (pair.alice.address(Family::V4), pair.bob.address(Family::V4));
    let tunnel = Tunnel::transport(b, a, papers.credentials(&papers.bob));
    ours::install_credentials(desk, &pair.bob, &tunnel)?;
    pair.bob.write(&format!("{CERTS}/notifier.crt"), 0o644, &notifier.pem)?;
    let list = format!("{CERTS}/list.pem");
    pair.bob.write(&list, 0o644, papers.authority.crl_number(1, &[])?)?;
    let server = Server::start(&pair.bob, CA_SERVER, way == Way::Url, answer(&papers.authority.crl_number(1, &[])?))?;
    let publisher = Publisher::start(&pair.bob, way == Way::ZeroMq)?;
    let conf = format!("{}\n{}", ours::racoon_conf(&tunnel), way.block());
    // `path certificate` stands in the generated text above the block.
    let mut bob = Ours::with_files(desk, &pair.bob, &conf, &ours::setkey_script(&tunnel))?;
    let alice = peer::start(kind, desk, &pair.alice, Tunnel::transport(a, b, papers.credentials(&papers.alice)))?;
    ping::answered(&pair.alice, b, PATIENCE).map_err(|failure| evidence(failure, &*alice, &bob))?;
    let running = Running::start(&pair.alice, b, Duration::from_millis(100))?;
    running.wait_for_answers(PATIENCE, 5)?;

    let forged = match way {
        Way::ZeroMq | Way::Webhook => forgeries(desk, &papers.alice.key, &notifier.key)?,
        Way::File | Way::Url => Vec::new(),
    };
    let good = notice(desk, &notifier.key, "revocation", ALICE_SERIAL)?;
    for message in &forged {
        deliver(way, &pair.bob, &publisher, message)?;
    }
    if !forged.is_empty() {
        running.wait_for_answers(PATIENCE, 5)?;
        desk.proved(format!("{} forged or other messages changed nothing", forged.len()));
    }

    let begun = Instant::now();
    match way {
        Way::File => {
            pair.bob.write(&format!("{list}.new"), 0o644, papers.authority.crl_number(2, &[ALICE_SERIAL])?)?;
            fs::rename(pair.bob.outside(&format!("{list}.new")), pair.bob.outside(&list))?;
        }
        Way::Url => server.serve(answer(&papers.authority.crl_number(2, &[ALICE_SERIAL])?)),
        Way::ZeroMq | Way::Webhook => deliver(way, &pair.bob, &publisher, &good)?,
    }
    wait::until(PATIENCE, "bob's SAs to be gone", || Ok(kernel_state::sas(&pair.bob)?.is_empty()))
        .map_err(|failure| evidence(failure, &*alice, &bob))?;
    desk.proved(format!("bob's last SA was gone {} ms after the news", begun.elapsed().as_millis()));
    let line = format!("revoked serial {ALICE_SERIAL} of /C=US/O=Desk/CN=Desk CA: ");
    wait::until(PATIENCE, "the audit line", || {
        let log = bob.log()?;
        Ok(log.lines().any(|text| text.contains(&line) && text.contains(&format!("(asked for by {})", way.source()))))
    })
    .map_err(|failure| evidence(failure, &*alice, &bob))?;
    wait::until(PATIENCE, "alice's SAs to be gone too", || Ok(kernel_state::sas(&pair.alice)?.is_empty()))
        .map_err(|failure| evidence(failure, &*alice, &bob))?;

    let listed = bob.xfrmctl(&["revoked", "--json"])?;
    let shows = [format!("\"serial\": \"{ALICE_SERIAL}\""), format!("\"source\": \"{}\"", way.source())];
    if !shows.iter().all(|text| listed.stdout.contains(text)) || listed.stdout.contains("\"sas_deleted\": null") {
        let failure = Failure::new("xfrmctl revoked does not tell what was done").with("its output", listed.output());
        return Err(evidence(failure, &*alice, &bob));
    }
    // Alice's running ping makes it negotiate again and again.
    wait::throughout(QUIET, "no SA on bob", || Ok(kernel_state::sas(&pair.bob)?.is_empty()))
        .map_err(|failure| evidence(failure, &*alice, &bob))?;
    desk.proved("the SAs are gone at both ends, and alice's attempts are refused");

    // The list goes back in time while the daemon is down.
    bob.shut_down()?;
    pair.bob.write(&list, 0o644, papers.authority.crl_number(1, &[])?)?;
    server.serve(answer(&papers.authority.crl_number(1, &[])?));
    bob.restart()?;
    wait::throughout(QUIET, "no SA on bob after its restart", || Ok(kernel_state::sas(&pair.bob)?.is_empty()))
        .map_err(|failure| evidence(failure, &*alice, &bob))?;
    if way == Way::File || way == Way::Url {
        wait::until(PATIENCE, "the alarm about the older CRL", || {
            Ok(bob.log()?.contains("was rolled back") && status(&bob)?.contains("older than the one in use"))
        })
        .map_err(|failure| evidence(failure, &*alice, &bob))?;
        desk.proved("a rolled-back CRL is refused after a restart, with an alarm");
    }
    ping::unanswered(&pair.alice, b, QUIET)?;
    desk.proved("after a restart alice is still refused");
    drop(running);
    Ok(())
}

fn status(bob: &Ours) -> Result<String> {
    Ok(bob.xfrmctl(&["status"])?.stdout)
}

fn evidence(failure: Failure, alice: &dyn Peer, bob: &Ours) -> Failure {
    failure
        .with("alice's log", alice.log().unwrap_or_default())
        .with("bob's log", bob.log().unwrap_or_default())
        .with("bob's status", status(bob).unwrap_or_default())
}

/// Brings a message to bob.
fn deliver(way: Way, bob: &Rc<Host>, publisher: &Publisher, message: &str) -> Result<()> {
    if way == Way::ZeroMq {
        return publisher.publish(message);
    }
    post(bob, message)
}

/// Posts a message to a host's webhook, from that host.
pub(super) fn post(host: &Rc<Host>, message: &str) -> Result<()> {
    let mut stream = host.netns().tcp_stream(address(WEBHOOK)?)?;
    let head = format!("POST /notices HTTP/1.1\r\nHost: bob\r\nContent-Length: {}\r\n\r\n", message.len());
    stream.write_all(format!("{head}{message}").as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    if reply.starts_with("HTTP/1.1 ") { Ok(()) } else { Err(Failure::new("no HTTP answer").with("reply", reply)) }
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|error| Failure::new(format!("{text}: {error}")))
}

/// Messages that must change nothing: signed by another host's key, not signed, of another type, torn, no JSON.
fn forgeries(desk: &Desk, host_key: &str, notifier_key: &str) -> Result<Vec<String>> {
    let good = notice(desk, notifier_key, "revocation", NOTIFIER_SERIAL + 1)?;
    let changed = good.replace(&format!(": {}", NOTIFIER_SERIAL + 1), &format!(": {ALICE_SERIAL}"));
    let torn: String = good.chars().take(good.len() / 2).collect();
    Ok(vec![
        notice(desk, host_key, "revocation", ALICE_SERIAL)?,
        notice(desk, notifier_key, "comm_error", ALICE_SERIAL)?,
        changed,
        torn,
        "{\"msg\": \"{}\", \"signature\": \"none\"}".to_owned(),
        "nonsense".to_owned(),
    ])
}

/// A notice as keylime signs it: RSA-PSS with the longest salt.
pub(super) fn notice(desk: &Desk, key: &str, kind: &str, serial: u64) -> Result<String> {
    let inner = format!(
        r#"{{"type": "{kind}", "ip": "10.0.0.1", "agent_id": "alice", "port": 9002, "tpm_policy": "{{}}", "meta_data": "{{\"cert_serial\": {serial}, \"subject\": \"/CN=alice.desk\"}}", "event_time": "Tue Nov 24 10:00:00 2026"}}"#
    );
    let path = |name: &str| desk.folder().join(name);
    fs::write(path("notice.txt"), &inner)?;
    fs::write(path("notice.key"), key)?;
    let mut sign = Command::new("openssl");
    sign.args(["dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:222", "-sign"])
        .arg(path("notice.key"))
        .arg("-out")
        .arg(path("notice.sig"))
        .arg(path("notice.txt"));
    process::check(&mut sign)?;
    let signature = process::check(Command::new("openssl").args(["base64", "-A", "-in"]).arg(path("notice.sig")))?
        .trim()
        .to_owned();
    let message = serde_json::json!({ "msg": inner, "signature": signature });
    Ok(message.to_string())
}

/// What keylime's CA answers: HTTP/1.0 without a length.
pub(super) fn answer(pem: &str) -> Vec<u8> {
    format!("HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\n\r\n{pem}").into_bytes()
}

/// A server that sends the same octets to everybody, whatever is asked.
pub(super) struct Server {
    served: Arc<Mutex<Served>>,
}

/// What is sent, and when it was for the first time, since the epoch.
struct Served {
    octets: Vec<u8>,
    first: Option<Duration>,
}

impl Server {
    pub(super) fn start(host: &Rc<Host>, at: &str, wanted: bool, octets: Vec<u8>) -> Result<Self> {
        let served = Arc::new(Mutex::new(Served { octets, first: None }));
        if wanted {
            let (listener, served) = (host.netns().tcp_listener(address(at)?)?, Arc::clone(&served));
            thread::spawn(move || serve(&listener, &served));
        }
        Ok(Self { served })
    }

    /// Sends something else from now on.
    pub(super) fn serve(&self, octets: Vec<u8>) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Served { octets, first: None };
    }

    /// When what is served now was sent for the first time, since the epoch.
    pub(super) fn first_answer(&self) -> Option<Duration> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).first
    }
}

fn serve(listener: &TcpListener, served: &Mutex<Served>) {
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 4096];
        // Whoever leaves early has no answer.
        let _gone = stream.read(&mut request).and_then(|_| {
            let octets = {
                let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
                served.first.get_or_insert_with(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
                served.octets.clone()
            };
            stream.write_all(&octets)
        });
    }
}

/// keylime's verifier as far as ZeroMQ goes: a PUB socket of ZMTP 3.1, as libzmq 4.3 speaks it.
pub(super) struct Publisher {
    subscribers: Arc<Mutex<Vec<TcpStream>>>,
}

impl Publisher {
    pub(super) fn start(host: &Rc<Host>, wanted: bool) -> Result<Self> {
        let subscribers = Arc::new(Mutex::new(Vec::new()));
        if wanted {
            let (listener, found) = (host.netns().tcp_listener(address(PUBLISHER)?)?, Arc::clone(&subscribers));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if let Ok(stream) = greet(stream) {
                        found.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                    }
                }
            });
        }
        Ok(Self { subscribers })
    }

    pub(super) fn publish(&self, message: &str) -> Result<()> {
        wait::until(PATIENCE, "a subscriber", || {
            Ok(!self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
        })?;
        let frame = [&[2][..], &(message.len() as u64).to_be_bytes(), message.as_bytes()].concat();
        for stream in self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            stream.write_all(&frame)?;
        }
        Ok(())
    }
}

/// Greeting, READY, and the subscription behind them.
fn greet(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    let mut greeting = [0; 64];
    stream.read_exact(&mut greeting)?;
    greeting[11] = 1;
    stream.write_all(&greeting)?;
    stream.write_all(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB")?;
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    stream.read_exact(&mut vec![0; usize::from(header[1])])?;
    stream.read_exact(&mut [0; 3])?;
    Ok(stream)
}
