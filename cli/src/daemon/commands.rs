//! Commands from the control socket, carried out on the driver.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ike::event::Input;
use ike::event::command::Command;
use ike::event::question::{CertificateId, PeerCertificate};
use ike::event::sa::{Owner, SaDirection};
use ike::report::Level;
use openssl::x509::X509;
use policy::model::remote::RemoteSelector;
use policy::model::revocation::ExpiredCertificate;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::clock;
use super::driver::Driver;
use super::files;
use super::intake::expiry::Expiries;
use super::intake::{self, Arrival, Common, Notified, health};
use super::kernel::Kernel;
use super::peers::{self, UpState};
use super::racoon;
use super::udp::{Bypass, bracketed, local_address_towards};
use crate::args::Ports;
use crate::control::{CertificateRef, Request, Response};
use crate::exit_code::Exit;
use crate::logging;
use crate::racoonctl::request::{Flow, RacoonRequest};
use crate::report::{Counters, RevocationReport, StatusReport, identity_text};
use crate::revocation::crl::Listed;
use crate::revocation::crl::store::InUse;
use crate::revocation::deny_list::{DeniedIssuer, DenyList, SharedDenyList};
use crate::revocation::issuer::Issuer;
use crate::revocation::revoke::{self, By, CutError, CutSa, Cutter, Order, RevokeError, Revoked};
use crate::revocation::serial::{self, from_hex};

use super::control::Call;

/// Certificates of a CRL that are cut in one turn of the loop: each is written to the disk before the next, and IKE must not
/// wait for a thousand of them.
const SLICE: usize = 8;

/// What commands need besides the driver.
#[derive(Debug)]
pub struct Commands {
    config: PathBuf,
    ports: Ports,
    deny_list: SharedDenyList,
    bypass: Bypass,
    started: Duration,
    loaded_at: u64,
    waiting: Vec<Waiting>,
    intake: Common,
    /// What CRLs hold for the time being.
    held: BTreeSet<CertificateId>,
    expiries: Expiries,
}

/// An `up` that is under way.
#[derive(Debug)]
struct Waiting {
    peer: IpAddr,
    what: For,
    asked_at: u64,
    until: Duration,
    reply: oneshot::Sender<Response>,
}

/// What is waited for, and told.
#[derive(Clone, Copy, Debug)]
enum For {
    /// Phase 1.
    Phase1,
    /// Phase 1, for racoonctl.
    Racoonctl,
    /// The SAs of this traffic.
    Traffic(Flow),
}

/// What the loop has to do after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// The configuration changed: sockets may have to be opened or closed.
    Listen,
}

impl Commands {
    /// For a daemon that starts now.
    pub fn new(
        config: PathBuf,
        ports: Ports,
        deny_list: SharedDenyList,
        bypass: Bypass,
        intake: Common,
        expiries: Expiries,
    ) -> Self {
        let now = clock::now();
        Self {
            config,
            ports,
            deny_list,
            bypass,
            started: now.monotonic,
            loaded_at: now.wall,
            waiting: Vec::new(),
            intake,
            held: BTreeSet::new(),
            expiries,
        }
    }

    /// Carries out a command and answers it, now or when its outcome is known.
    pub fn execute(&mut self, call: Call, driver: &mut Driver) -> After {
        let mut after = After::Nothing;
        let response = match call.request {
            Request::Status => Response::done(&self.status(driver)),
            Request::Peers => {
                let now = clock::now();
                Response::done(&peers::reports(&driver.endpoint.peers(now), &driver.loaded.daemon))
            }
            Request::Up { peer, timeout_s } => match self.up(&peer, driver) {
                Ok(peer) => {
                    self.wait(peer, For::Phase1, timeout_s, call.reply, driver);
                    return after;
                }
                Err(response) => response,
            },
            Request::Racoon(RacoonRequest::EstablishIpsec { flow, how, timeout_s }) if timeout_s > 0 => {
                match racoon::establish(&flow, how, driver, self.bypass) {
                    Ok(peer) => {
                        self.wait(peer, For::Traffic(flow), timeout_s, call.reply, driver);
                        return after;
                    }
                    Err(text) => Response::failed(Exit::NotSo, text),
                }
            }
            Request::Racoon(RacoonRequest::EstablishIsakmp { local, peer, how, timeout_s }) if timeout_s > 0 => {
                match racoon::begin(local, peer, how, driver, self.bypass) {
                    Ok(()) => {
                        self.wait(peer, For::Racoonctl, timeout_s, call.reply, driver);
                        return after;
                    }
                    Err(text) => Response::failed(Exit::NotSo, text),
                }
            }
            Request::Racoon(request) => racoon::answer(request, driver, self.bypass),
            Request::Down { peer } => down(peer.as_deref(), driver),
            Request::Reload => match self.reload(driver) {
                Ok(text) => {
                    after = After::Listen;
                    Response::done(&text)
                }
                Err(error) => Response::failed(Exit::NotSo, error),
            },
            Request::Revoke(which) => self.revoke(&which, driver).unwrap_or_else(|response| response),
            Request::Unrevoke(which) => self.unrevoke(&which, driver).unwrap_or_else(|response| response),
        };
        // A client that did not wait for the answer has none.
        let _gone = call.reply.send(response);
        after
    }

    fn status(&self, driver: &Driver) -> StatusReport {
        let now = clock::now();
        let established = driver.endpoint.peers(now).iter().filter(|peer| peers::is_established(peer)).count();
        let kernel = driver.kernel.counters;
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now.monotonic.saturating_sub(self.started).as_secs(),
            config: self.config.display().to_string(),
            config_loaded_at: self.loaded_at,
            listening: driver.sockets.addresses().map(bracketed).collect(),
            peers_established: established,
            sas: driver.kernel.registry().len(),
            policies: driver.kernel.mirror().len_ipsec(),
            revoked: with_list(&self.deny_list, |list| list.len()),
            warnings: health::warnings(&self.intake, now.wall),
            crls: health::crls(&self.intake.crls),
            sources: self.intake.health.reports(),
            counters: Counters {
                datagrams_in: driver.traffic.received,
                datagrams_out: driver.traffic.sent,
                send_failures: driver.traffic.failed,
                acquires: kernel.acquires,
                sas_installed: kernel.installed,
                kernel_requests: driver.kernel.sent().requests,
                kernel_dumps: driver.kernel.sent().dumps,
                kernel_refusals: kernel.refusals,
                resyncs: kernel.resyncs,
                lines_suppressed: driver.lines_suppressed(),
            },
        }
    }

    fn wait(&mut self, peer: IpAddr, what: For, timeout_s: u64, reply: oneshot::Sender<Response>, driver: &Driver) {
        let now = clock::now();
        let until = now.monotonic.saturating_add(Duration::from_secs(timeout_s));
        self.waiting.push(Waiting { peer, what, asked_at: now.wall, until, reply });
        self.settle(driver);
    }

    fn up(&self, name: &str, driver: &mut Driver) -> Result<IpAddr, Response> {
        let peer = resolve(name, driver)?;
        if driver.loaded.files.config.remote_for(peer).is_none() {
            return Err(Response::failed(Exit::NotSo, format!("no remote block is for {peer}")));
        }
        let local = local_address_towards(peer, self.bypass)
            .map_err(|error| Response::failed(Exit::NotSo, format!("{peer} cannot be reached: {error}")))?;
        driver.handle(Input::Command(Command::Up { local, peer }));
        Ok(peer)
    }

    /// Answers each `up` whose outcome is known by now.
    pub fn settle(&mut self, driver: &Driver) {
        if self.waiting.is_empty() {
            return;
        }
        let now = clock::now();
        let statuses = driver.endpoint.peers(now);
        for waiting in std::mem::take(&mut self.waiting) {
            let state = peers::up_state(&statuses, waiting.peer, waiting.asked_at);
            let stands = match waiting.what {
                For::Traffic(flow) => racoon::established(&flow, driver).map(|words| Response::done(&words)),
                For::Racoonctl => racoon::up(waiting.peer, driver).map(|report| Response::done(&report)),
                For::Phase1 => None,
            };
            let phase1 = matches!(waiting.what, For::Phase1);
            let response = match (state, stands) {
                (_, Some(response)) => response,
                (UpState::Up, None) if phase1 => Response::done(&format!("{} is up", waiting.peer)),
                (UpState::Failed(reason), None) => Response::failed(Exit::NotSo, format!("{}: {reason}", waiting.peer)),
                (UpState::UnderWay | UpState::Up, None) if now.monotonic >= waiting.until => {
                    Response::failed(Exit::NotSo, format!("{} is not up yet; the negotiation goes on", waiting.peer))
                }
                (UpState::UnderWay | UpState::Up, None) => {
                    self.waiting.push(waiting);
                    continue;
                }
            };
            let _gone = waiting.reply.send(response);
        }
    }

    /// When [`Commands::settle`] has something to do even if nothing happens.
    pub fn wake_at(&self, driver: &Driver) -> Option<Duration> {
        let now = clock::now();
        let ends = self.expiries.next().filter(|_| cuts_ended(driver)).map(|end| {
            // The second after: a certificate is good to the last one it names.
            let left = Duration::from_secs(end.saturating_add(1).saturating_sub(now.wall));
            now.monotonic.saturating_add(left.min(Duration::from_secs(3600)))
        });
        self.waiting.iter().map(|waiting| waiting.until).chain(ends).min()
    }

    /// Reads the configuration again: all of it, or nothing changes.
    ///
    /// # Errors
    /// What is wrong with it, logged already.
    pub fn reload(&mut self, driver: &mut Driver) -> Result<String, String> {
        logging::info(format_args!("Reading configuration from \"{}\"", self.config.display()));
        match files::load(&self.config, self.ports, &self.deny_list) {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(logging::warning);
                intake::use_crls(&loaded, &self.intake);
                let (anchors, common) = (loaded.anchors(), self.intake.clone());
                let reactor = Handle::current();
                tokio::task::spawn_blocking(move || intake::trust_anchors(&anchors, &common, &reactor));
                self.loaded_at = clock::now().wall;
                driver.configure(Arc::new(loaded));
                Ok(format!("read {}", self.config.display()))
            }
            Err(error) => {
                let text = error.to_string();
                error.lines().into_iter().for_each(|(level, line)| logging::log(level, None, line));
                logging::error("config reload failed");
                Err(format!("config reload failed, the old configuration stays in force:\n{text}"))
            }
        }
    }

    fn revoke(&mut self, which: &CertificateRef, driver: &mut Driver) -> Result<Response, Response> {
        let order = order(which)?;
        let outcome = match &which.source {
            // A person can be asked which issuer is meant.
            None => self.cut(&order, driver),
            Some(_) => self.cut_for_machine(&order, driver),
        };
        if which.source.is_some() {
            self.intake.fetch_soon();
        }
        match outcome {
            Ok(report) => Ok(Response::done(&report)),
            Err(error @ (RevokeError::Ambiguous { .. } | RevokeError::UnknownIssuer(_))) => {
                Err(Response::failed(Exit::Usage, error.to_string()))
            }
            Err(error) => Err(Response::failed(Exit::NotSo, error.to_string())),
        }
    }

    /// The one way that every revocation goes, whoever asks: durable, cut in the kernel, the core and through it the peer
    /// told, one line said.
    fn cut(&mut self, order: &Order, driver: &mut Driver) -> Result<RevocationReport, RevokeError> {
        let known = Arc::clone(&driver.loaded);
        let outcome = with_list(&self.deny_list, |list| {
            revoke::revoke(order, &known.issuers, list, &mut driver.kernel, clock::now().wall)
        });
        let revoked = match &outcome {
            Ok(revoked) => revoked.clone(),
            // What could be done is done whole: the peer is told and refused as ever.
            Err(error @ RevokeError::InPart { done, .. }) => {
                logging::error(format_args!("revocation in part (asked for by {}): {error}", order.source));
                (**done).clone()
            }
            Err(error) => {
                let serial = serial::to_decimal(&order.serial);
                logging::error(format_args!(
                    "serial {serial} was NOT revoked (asked for by {}): {error}",
                    order.source
                ));
                return outcome.map(|revoked| revoked.report);
            }
        };
        let Revoked { certificates, issuer, mut report } = revoked;
        report.daemon = true;
        let all = match issuer {
            DeniedIssuer::Key(_) => certificates,
            DeniedIssuer::Any => with_those_of_peers(certificates, &order.serial, driver),
        };
        for certificate in all {
            driver.handle(Input::Command(Command::Revoke { certificate }));
        }
        outcome?;
        say(&report, order);
        Ok(report)
    }

    /// Nobody reads the question which issuer was meant: each that could be.
    fn cut_for_machine(&mut self, order: &Order, driver: &mut Driver) -> Result<RevocationReport, RevokeError> {
        let issuers = match self.cut(order, driver) {
            Err(RevokeError::Ambiguous { issuers, .. }) => issuers,
            outcome => return outcome,
        };
        logging::warning(
            "revocation: every issuer that the serial could be of is meant (name the notifier's certificate)",
        );
        let mut sum: Option<RevocationReport> = None;
        for issuer in issuers {
            let report = self.cut(&Order { issuer: Some(issuer), ..order.clone() }, driver)?;
            match &mut sum {
                None => sum = Some(report),
                Some(sum) => {
                    sum.issuer = format!("{} and {}", sum.issuer, report.issuer);
                    sum.sas_deleted += report.sas_deleted;
                    sum.sas.extend(report.sas);
                    sum.elapsed_ms += report.elapsed_ms;
                    sum.already_revoked &= report.already_revoked;
                }
            }
        }
        sum.ok_or(RevokeError::UnknownIssuer(Vec::new()))
    }

    /// What a way in has brought.
    pub fn arrived(&mut self, arrival: Arrival, driver: &mut Driver) {
        match arrival {
            Arrival::Notice(notified) => {
                let Notified { revocation, issuer, source, reply } = *notified;
                let order = Order { serial: revocation.serial, issuer, certificate: None, source, by: By::Word };
                let outcome = self.cut_for_machine(&order, driver).map_err(|error| error.to_string());
                // A client that did not wait for the answer has none.
                let _gone = reply.send(outcome);
            }
            Arrival::Crl(list) => self.compare(list, driver),
            Arrival::Listed(mut found) => {
                let later = found.split_off(found.len().min(SLICE));
                for (id, listed, list) in found {
                    self.cut_listed(id, listed, &list, driver);
                }
                if !later.is_empty() {
                    let arrivals = self.intake.arrivals.clone();
                    // The loop has ended, and with it every SA.
                    tokio::spawn(async move { drop(arrivals.send(Arrival::Listed(later)).await) });
                }
            }
        }
    }

    /// Another CRL is in use: which of the certificates that live SAs rest on does it list? Asked on another thread, since
    /// there may be a hundred thousand.
    fn compare(&mut self, list: Arc<InUse>, driver: &mut Driver) {
        self.release(&list, driver);
        let issued: Vec<CertificateId> =
            in_use(driver).filter(|id| id.issuer_key == list.issuer_key).cloned().collect();
        let arrivals = self.intake.arrivals.clone();
        tokio::spawn(async move {
            let found = tokio::task::spawn_blocking(move || {
                let listed = |id: CertificateId| match list.crl.lists(&id.serial) {
                    Listed::No => None,
                    listed => Some((id, listed, Arc::clone(&list))),
                };
                issued.into_iter().filter_map(listed).collect::<Vec<_>>()
            });
            if let Ok(found) = found.await
                && !found.is_empty()
            {
                // The loop has ended, and with it every SA.
                let _gone = arrivals.send(Arrival::Listed(found)).await;
            }
        });
    }

    fn cut_listed(&mut self, id: CertificateId, listed: Listed, list: &InUse, driver: &mut Driver) {
        let by = by_list(listed);
        if by == By::Passing {
            self.held.insert(id.clone());
        }
        let issuer = Issuer { key: id.issuer_key, name: list.crl.issuer_name.clone() };
        let order = Order { serial: id.serial, issuer: Some(issuer), certificate: None, source: "crl".to_owned(), by };
        // What failed has been said.
        let _said = self.cut(&order, driver);
    }

    /// Certificates that a CRL held and its successor no longer lists may come back.
    fn release(&mut self, list: &InUse, driver: &mut Driver) {
        let free = |id: &CertificateId| id.issuer_key == list.issuer_key && list.crl.lists(&id.serial) == Listed::No;
        let freed: Vec<CertificateId> = self.held.iter().filter(|id| free(id)).cloned().collect();
        for id in freed {
            self.held.remove(&id);
            if with_list(&self.deny_list, |deny_list| deny_list.contains(&id)) {
                continue;
            }
            let serial = serial::to_decimal(&id.serial);
            logging::info(format_args!("the CRL no longer holds serial {serial} of {}", list.crl.issuer_name));
            driver.handle(Input::Command(take_back(id)));
        }
    }

    /// A peer's certificate was found good.
    pub fn note_expiry(&mut self, certificate: &PeerCertificate) {
        if let Some(id) = certificate.chain.first() {
            self.expiries.note(id, certificate.not_after);
        }
    }

    /// Cuts what rests on certificates that have ended, if the configuration says so.
    pub fn cut_ended(&mut self, driver: &mut Driver) {
        let wall = clock::now().wall;
        if !cuts_ended(driver) || self.expiries.next().is_none_or(|end| end >= wall) {
            return;
        }
        let live: BTreeSet<CertificateId> = in_use(driver).cloned().collect();
        for id in self.expiries.take_ended(wall).into_iter().filter(|id| live.contains(id)) {
            let name = driver.kernel.registry().issuer_name(&id).unwrap_or_default();
            let issuer = Some(Issuer { key: id.issuer_key, name });
            let (source, by) = ("expired".to_owned(), By::Passing);
            let _said = self.cut(&Order { serial: id.serial, issuer, certificate: None, source, by }, driver);
        }
    }

    /// Whom a CRL lists is refused, whatever the deny list says.
    fn warn_of_lists(&self, serial: &[u8], issuer_key: Option<[u8; 32]>) {
        for list in self.intake.crls.in_use() {
            let is_meant = issuer_key.is_none_or(|key| key == list.issuer_key);
            if is_meant && list.crl.lists(serial) != Listed::No {
                let (serial, issuer) = (serial::to_decimal(serial), &list.crl.issuer_name);
                logging::warning(format_args!("serial {serial} stays refused: it is in the CRL of {issuer}"));
            }
        }
    }

    fn unrevoke(&self, which: &CertificateRef, driver: &mut Driver) -> Result<Response, Response> {
        let order = order(which)?;
        let key = order.issuer.as_ref().map(|issuer| issuer.key);
        let wall = clock::now().wall;
        match with_list(&self.deny_list, |list| revoke::unrevoke(&order.serial, key, list, &order.source, wall)) {
            Ok(removed) => {
                let serial = serial::to_decimal(&order.serial);
                let line =
                    format!("unrevoked serial {serial} (asked for by {}): {removed} entries removed", order.source);
                logging::log(Level::Notify, None, line);
                self.warn_of_lists(&order.serial, key);
                driver.handle(Input::Command(Command::Unrevoke { serial: order.serial, issuer_key: key }));
                Ok(Response::done(&removed))
            }
            Err(error) => Err(Response::failed(Exit::NotSo, error.to_string())),
        }
    }
}

/// The line of a revocation.
pub fn say(report: &RevocationReport, order: &Order) {
    let line = format!("{} (asked for by {})", report.summary(), order.source);
    // The same notice may come a thousand times.
    let level = if report.already_revoked && report.sas_deleted == 0 { Level::Info } else { Level::Notify };
    logging::log(level, None, line);
}

/// How much a CRL's word is worth.
pub fn by_list(listed: Listed) -> By {
    if listed == Listed::Held { By::Passing } else { By::Crl }
}

fn take_back(id: CertificateId) -> Command {
    Command::Unrevoke { serial: id.serial, issuer_key: Some(id.issuer_key) }
}

fn cuts_ended(driver: &Driver) -> bool {
    driver.loaded.daemon.revocation.expired_certificate == ExpiredCertificate::Cut
}

/// Every certificate that an SA rests on, in the kernel or with a peer; some twice.
fn in_use(driver: &Driver) -> impl Iterator<Item = &CertificateId> {
    driver.kernel.registry().certificates().chain(driver.endpoint.certificates())
}

/// A panic while the list was held leaves it as the file has it: it is used on.
fn with_list<T>(list: &SharedDenyList, act: impl FnOnce(&mut DenyList) -> T) -> T {
    act(&mut list.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Of a serial whose issuer is not known: ISAKMP SAs without a child rest on certificates that the kernel's side has
/// never heard of.
fn with_those_of_peers(mut all: Vec<CertificateId>, serial: &[u8], driver: &Driver) -> Vec<CertificateId> {
    for certificate in driver.endpoint.certificates().filter(|one| one.serial == serial) {
        if !all.contains(certificate) {
            all.push(certificate.clone());
        }
    }
    all
}

fn down(name: Option<&str>, driver: &mut Driver) -> Response {
    let Some(name) = name else {
        driver.handle(Input::Command(Command::DownAll));
        return Response::done(&"everything is down");
    };
    let peer = match resolve(name, driver) {
        Ok(peer) => peer,
        Err(response) => return response,
    };
    let known = driver.endpoint.peers(clock::now()).iter().any(|status| peers::is_live(status, peer));
    if !known {
        return Response::failed(Exit::NotSo, format!("there is nothing up with {peer}"));
    }
    driver.handle(Input::Command(Command::Down { peer }));
    Response::done(&format!("{peer} is down"))
}

/// An address, or the name of a remote block that is for one.
fn resolve(name: &str, driver: &Driver) -> Result<IpAddr, Response> {
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let named = driver.loaded.daemon.remotes.iter().find(|remote| remote.name == name);
    match named.map(|remote| &remote.selector) {
        Some(RemoteSelector::Address(at)) => Ok(at.addr),
        Some(RemoteSelector::Anonymous) => {
            Err(Response::failed(Exit::NotSo, format!("remote {name} is for no single address: name the address")))
        }
        None => Err(Response::failed(Exit::NotSo, format!("no such peer: {name} (an address or a remote's name)"))),
    }
}

fn order(which: &CertificateRef) -> Result<Order, Response> {
    let usage = |text: String| Response::failed(Exit::Usage, text);
    let issuer = match &which.issuer_key {
        None => None,
        Some(hex) => {
            let octets = from_hex(hex).and_then(|octets| <[u8; 32]>::try_from(octets).ok());
            let key = octets.ok_or_else(|| usage("issuer_key is not 64 hexadecimal digits".to_owned()))?;
            Some(Issuer { key, name: which.issuer_name.clone().unwrap_or_default() })
        }
    };
    let certificate = match &which.certificate {
        None => None,
        Some(hex) => {
            let parsed = from_hex(hex).and_then(|der| X509::from_der(&der).ok());
            Some(parsed.ok_or_else(|| usage("certificate is no DER in hexadecimal".to_owned()))?)
        }
    };
    let serial = serial::parse(&which.serial).map_err(|error| usage(error.to_string()))?;
    let source = which.source.as_deref().map_or_else(|| "xfrmctl".to_owned(), one_word);
    Ok(Order { serial, issuer, certificate, source, by: By::Word })
}

/// What the deny list takes as a source.
fn one_word(text: &str) -> String {
    text.chars().filter(|ch| ch.is_ascii_alphanumeric() || "-_.".contains(*ch)).take(64).collect()
}

impl Cutter for Kernel {
    fn live_issuers(&mut self, serial: &[u8]) -> Result<Vec<Issuer>, CutError> {
        let registry = self.registry();
        let issuer = |certificate: CertificateId| Issuer {
            name: registry.issuer_name(&certificate).unwrap_or_default(),
            key: certificate.issuer_key,
        };
        Ok(registry.certificates_with_serial(serial).into_iter().map(issuer).collect())
    }

    fn cut(&mut self, certificates: &[CertificateId]) -> Result<Vec<CutSa>, CutError> {
        let lowered = |(name, direction, owner): (_, SaDirection, Arc<Owner>)| CutSa {
            name,
            direction,
            peer: identity_text(&owner.identity),
        };
        let (deleted, stays) = Self::cut(self, certificates);
        let done = deleted.into_iter().map(lowered).collect();
        match stays {
            None => Ok(done),
            Some(refusal) => Err(CutError { text: refusal.to_string(), denied: refusal.errno == libc::EPERM, done }),
        }
    }
}
