//! The loop: everything that can happen to the daemon, one thing after the other.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use ike::endpoint::Endpoint;
use ike::event::Input;
use ike::event::question::CertificateId;
use policy::model::remote::NatTraversal;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use xfrm::batch::Refusal;
use xfrm::event_stream::{EventStream, Group};
use xfrm::model::notice::Notice;
use xfrm::socket_policy;

use super::addresses::AddressWatch;
use super::clock::{self, Alarm};
use super::commands::{self, After, Commands};
use super::control::{Call, ControlSocket};
use super::driver::Driver;
use super::feed::{self, Feed};
use super::files::Loaded;
use super::held::{HeldPackets, LARVAL_DROP};
use super::intake::expiry::Expiries;
use super::intake::files::Scanner;
use super::intake::{self, Arrival, Intake, lists, spooled};
use super::kernel::{Kernel, KernelError};
use super::listen::{Family, ListenPlan, Listener};
use super::pidfile::PidFile;
use super::privileges::Identity;
use super::revokers::Revokers;
use super::udp::{Datagram, Sockets};
use super::workers::Workers;
use crate::args::{DEFAULT_RUN_DIR, DaemonArgs, RACOON_SOCKET};
use crate::logging;
use crate::off_loop;
use crate::os::Readiness;
use crate::provider::OpensslProvider;
use crate::revocation::crl::shelf::Shelf;
use crate::revocation::crl::store::CrlStore;
use crate::revocation::deny_list::SharedDenyList;
use crate::revocation::issuer::Issuer;
use crate::revocation::journal::JournalError;
use crate::revocation::journal::writer::JournalWriter;
use crate::revocation::revoke::{self, By, Order};

/// Datagrams that wait for the loop; beyond these the kernel's socket buffers fill, then drop.
const DATAGRAM_QUEUE: usize = 256;
/// Control requests that wait for the loop.
const CALL_QUEUE: usize = 16;
/// Threads for signatures and certificates.
const MOST_WORKERS: usize = 2;

/// Why the daemon could not start, or had to stop.
#[derive(Debug, Error)]
pub enum RunError {
    /// The kernel's tables or the journal.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The event socket.
    #[error("the kernel's IPsec notices: {0}")]
    Notices(Refusal),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Anything else of the system.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// Local addresses.
    #[error("local addresses: {0}")]
    Addresses(#[from] rtnetlink::Error),
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |error| RunError::System { what, error }
}

/// Serves until a signal ends it; `ready` is called once everything is open.
///
/// # Errors
/// [`RunError`]; what was opened is closed again.
pub fn run(args: DaemonArgs, loaded: Loaded, deny_list: SharedDenyList, ready: impl FnOnce()) -> Result<(), RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("starting the loop"))?;
    runtime.block_on(async {
        let mut daemon = Daemon::open(args, loaded, deny_list).await?;
        ready();
        // Without a service manager there is nobody to tell.
        let _alone = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        daemon.serve().await?;
        daemon.close().await;
        Ok(())
    })
}

struct Daemon {
    args: DaemonArgs,
    driver: Driver,
    commands: Commands,
    listener: Listener,
    watch: AddressWatch,
    events: Events,
    signals: Signals,
    alarm: Alarm,
    datagrams: mpsc::Receiver<Datagram>,
    answers: mpsc::UnboundedReceiver<Input>,
    calls: mpsc::Receiver<Call>,
    intake: Intake,
    arrivals: mpsc::Receiver<Arrival>,
    control: Vec<tokio::task::JoinHandle<()>>,
    revokers: Revokers,
    _pid_file: PidFile,
    _held: HeldPackets,
}

impl Daemon {
    async fn open(args: DaemonArgs, loaded: Loaded, deny_list: SharedDenyList) -> Result<Self, RunError> {
        // Signals first: one that comes from here on is answered in order.
        let signals = Signals::listen().map_err(system("listening for signals"))?;
        // Notices before the dump: what changes in between is heard.
        let events = Events::open(loaded.daemon.notice_buffer)?;
        create_run_dir(&args.places.run_dir()).map_err(system("run-time directory"))?;
        let shelf = Shelf::new(&args.places.state_dir());
        let crls = Arc::new(CrlStore::open(Some(shelf), clock::now().wall));
        crls.problems().iter().for_each(logging::warning);
        let (mut intake, arrivals_of_revocations) = Intake::new(Arc::clone(&crls));
        intake::use_crls(&loaded, &intake.common);
        intake::trust_anchors(&loaded.anchors(), &intake.common, &Handle::current());
        let mut scanner = Scanner::new(&loaded);
        for entry in scanner.scan(&intake.common) {
            lists::keep(entry, &intake.common).await;
        }
        let mut kernel = Kernel::open(open_journal(&args.places.journal())?)?;
        let adopted = adopt(&mut kernel, &deny_list, &crls, &loaded)?;

        let (arrivals, datagrams) = mpsc::channel(DATAGRAM_QUEUE);
        let mut sockets = Sockets::new(arrivals, bypass, take_esp);
        let watch = AddressWatch::start().map_err(system("rtnetlink"))?;
        let mut listener = Listener::default();
        let plan = plan(&args, &loaded);
        listener.follow(&plan, &watch.addresses().await?, &mut sockets).map_err(system("isakmp port"))?;

        let (call_queue, calls) = mpsc::channel(CALL_QUEUE);
        let feed = feed::feed();
        let revokers = Revokers::default();
        let control = serve_control(&args, &loaded, &call_queue, &feed, &revokers)?;
        let pid_file = PidFile::write(loaded.daemon.pid_file.as_deref()).map_err(system("starting"))?;

        let held = HeldPackets::hold(LARVAL_DROP);
        // Everything is open, and no thread has been started yet.
        let identity = Identity::of(&loaded.daemon.privsep).map_err(system("starting"))?;
        spooled::make_room(&args.places.state_dir(), &revokers, identity);
        if let Some(identity) = identity {
            let own = [args.places.run_dir(), args.places.state_dir()];
            identity.assume(&own.each_ref().map(|path| path.as_path())).map_err(system("privsep"))?;
        }
        let (answer_queue, answers) = mpsc::unbounded_channel();
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        let workers = Workers::start(count, &answer_queue).map_err(system("starting threads"))?;
        let endpoint = Endpoint::new(Arc::new(OpensslProvider::new()), Arc::clone(&loaded.files.config));
        let mut driver = Driver::new(endpoint, kernel, sockets, Arc::new(loaded), workers, feed);
        adopted.into_iter().for_each(|input| driver.handle(input));
        intake.follow(&driver.loaded, scanner);
        // The control socket is open by now: what is not seen here was left by somebody who will find it.
        tokio::spawn(spooled::carry_out(args.places.state_dir(), revokers.numbers(), intake.common.clone()));
        let expiries = Expiries::open(args.places.run_dir().join("expiries"), clock::now().wall);
        let places = (args.config.clone(), args.ports());
        Ok(Self {
            commands: Commands::new(places.0, places.1, deny_list, bypass, intake.common.clone(), expiries),
            intake,
            arrivals: arrivals_of_revocations,
            args,
            driver,
            listener,
            watch,
            events,
            signals,
            alarm: Alarm::new().map_err(system("timer"))?,
            datagrams,
            answers,
            calls,
            control,
            revokers,
            _pid_file: pid_file,
            _held: held,
        })
    }

    async fn serve(&mut self) -> Result<(), RunError> {
        off_loop::this_is_the_loop();
        let outcome = self.turn().await;
        off_loop::the_loop_is_over();
        outcome
    }

    async fn turn(&mut self) -> Result<(), RunError> {
        loop {
            let wake_at = [self.driver.wake_at(), self.commands.wake_at(&self.driver)].into_iter().flatten().min();
            self.alarm.set(wake_at).map_err(system("timer"))?;
            tokio::select! {
                Some(datagram) = self.datagrams.recv() => self.driver.datagram(datagram),
                Some(input) = self.answers.recv() => {
                    if let Input::Judged { result: Ok(certificate), .. } = &input {
                        self.commands.note_expiry(certificate);
                    }
                    self.driver.handle(input);
                }
                Some(arrival) = self.arrivals.recv() => self.commands.arrived(arrival, &mut self.driver),
                rung = self.alarm.ring() => {
                    rung.map_err(system("timer"))?;
                    self.driver.handle(Input::Wake);
                }
                notices = self.events.next() => {
                    let notices = notices.map_err(RunError::Notices)?;
                    self.take_datagrams(&notices);
                    for input in self.driver.kernel.notices(&notices) {
                        self.driver.handle(input);
                    }
                }
                Some(call) = self.calls.recv() => {
                    if self.commands.execute(call, &mut self.driver) == After::Listen {
                        self.reconfigured().await;
                    }
                }
                () = self.watch.changed() => self.follow_addresses().await,
                number = self.signals.next() => {
                    logging::info(format_args!("caught signal {number}"));
                    if number == libc::SIGHUP || number == libc::SIGUSR1 {
                        logging::reopen();
                    }
                    if number == libc::SIGHUP {
                        self.reload().await;
                    } else if number == libc::SIGTERM || number == libc::SIGINT {
                        return Ok(());
                    }
                }
            }
            self.commands.cut_ended(&mut self.driver);
            self.commands.settle(&self.driver);
        }
    }

    /// An acquire may be the answer to a packet that came right behind the last message of a quick mode: that message is
    /// handled first, so that the child it completes is there and no second one is negotiated.
    fn take_datagrams(&mut self, notices: &[Notice]) {
        if !notices.iter().any(|notice| matches!(notice, Notice::Acquire(_))) {
            return;
        }
        while let Ok(datagram) = self.datagrams.try_recv() {
            self.driver.datagram(datagram);
        }
        for datagram in self.driver.sockets.waiting() {
            self.driver.datagram(datagram);
        }
    }

    async fn reload(&mut self) {
        // What is wrong has been logged; the old configuration stays.
        if self.commands.reload(&mut self.driver).is_ok() {
            self.reconfigured().await;
        }
    }

    async fn reconfigured(&mut self) {
        logging::set_level(self.driver.loaded.daemon.log, self.args.debug);
        self.revokers.set(&self.driver.loaded.daemon.revocation.allowed_users, &self.args.places.control_socket());
        let identity = Identity::of(&self.driver.loaded.daemon.privsep).ok().flatten();
        spooled::make_room(&self.args.places.state_dir(), &self.revokers, identity);
        self.intake.follow(&self.driver.loaded, Scanner::new(&self.driver.loaded));
        self.follow_addresses().await;
    }

    async fn follow_addresses(&mut self) {
        let addresses = match self.watch.addresses().await {
            Ok(addresses) => addresses,
            Err(error) => return logging::error(format_args!("local addresses: {error}")),
        };
        let plan = plan(&self.args, &self.driver.loaded);
        // A running daemon goes on with the sockets it has; the failure is logged.
        let _logged = self.listener.follow(&plan, &addresses, &mut self.driver.sockets);
    }

    /// Tells the peers, takes our SAs out of the kernel, and leaves no file behind.
    async fn close(mut self) {
        let _alone = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.driver.shut_down();
        feed::told(&self.driver.feed).await;
        self.control.iter().for_each(tokio::task::JoinHandle::abort);
        logging::info(format_args!("racoon process {} shutdown", std::process::id()));
    }
}

/// The control socket, and the one that racoon.conf names for racoonctl.
fn serve_control(
    args: &DaemonArgs,
    loaded: &Loaded,
    calls: &mpsc::Sender<Call>,
    feed: &Feed,
    revokers: &Revokers,
) -> Result<Vec<tokio::task::JoinHandle<()>>, RunError> {
    let usual = args.places.control_socket();
    let mut sockets = vec![ControlSocket::create(&usual, revokers.clone()).map_err(system("control socket"))?];
    revokers.set(&loaded.daemon.revocation.allowed_users, &usual);
    match &loaded.daemon.listen.admin_socket {
        Some(Some(admin)) => sockets.push(ControlSocket::create_for(admin).map_err(system("adminsock"))?),
        Some(None) => {}
        // Racoon's default place; a second daemon with places of its own leaves it alone.
        None if args.places.run_dir() == Path::new(DEFAULT_RUN_DIR) => {
            match ControlSocket::create(Path::new(RACOON_SOCKET), Revokers::default()) {
                Ok(socket) => sockets.push(socket),
                Err(error) => logging::warning(format_args!("{RACOON_SOCKET}: {error}")),
            }
        }
        None => {}
    }
    let serve = |socket: ControlSocket| tokio::spawn(socket.serve(calls.clone(), feed.clone()));
    Ok(sockets.into_iter().map(serve).collect())
}

/// Everybody may look into it; what is in it has modes of its own.
fn create_run_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

/// Our own packets pass every policy in clear: IKE cannot wait for the SAs it makes.
fn bypass(socket: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    socket_policy::bypass(socket)
}

/// The kernel's part of NAT traversal.
fn take_esp(socket: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    socket_policy::take_esp_in_udp(socket)
}

fn open_journal(path: &Path) -> Result<JournalWriter, RunError> {
    Ok(JournalWriter::open(path)?)
}

/// Children of an earlier life, those that were denied meanwhile cut at once.
fn adopt(
    kernel: &mut Kernel,
    deny_list: &SharedDenyList,
    crls: &CrlStore,
    loaded: &Loaded,
) -> Result<Vec<Input>, RunError> {
    let mut list = deny_list.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let denied = |certificate: &CertificateId| list.contains(certificate) || crls.lists(certificate).is_some();
    let (inputs, refused) = kernel.adopt(&denied)?;
    for id in refused {
        let (name, source, by) = match (list.find(&id), crls.lists(&id)) {
            (None, Some((listed, entry))) => {
                (entry.crl.issuer_name.clone(), "crl".to_owned(), commands::by_list(listed))
            }
            (entry, _) => {
                let entry = entry.cloned();
                let name = entry.as_ref().map(|entry| entry.issuer_name.clone()).unwrap_or_default();
                (name, entry.map_or_else(String::new, |entry| entry.source), By::Word)
            }
        };
        let issuer = Some(Issuer { key: id.issuer_key, name });
        let order = Order { serial: id.serial, issuer, certificate: None, source, by };
        match revoke::revoke(&order, &loaded.issuers, &mut list, kernel, clock::now().wall) {
            Ok(revoked) => commands::say(&revoked.report, &order),
            Err(error) => logging::error(format_args!("SAs of a revoked certificate may be left: {error}")),
        }
    }
    Ok(inputs)
}

fn plan(args: &DaemonArgs, loaded: &Loaded) -> ListenPlan {
    let family = match (args.ipv4, args.ipv6) {
        (true, _) => Family::Ipv4,
        (_, true) => Family::Ipv6,
        _ => Family::Any,
    };
    ListenPlan {
        listen: loaded.daemon.listen.clone(),
        port: args.port,
        natt_port: args.natt_port,
        traverses_nat: loaded.daemon.remotes.iter().any(|remote| remote.nat_traversal != NatTraversal::Off),
        family,
    }
}

/// The kernel's notices, when there are any.
struct Events {
    stream: EventStream,
    readiness: Readiness,
}

impl Events {
    fn open(buffer: Option<usize>) -> Result<Self, RunError> {
        use std::os::fd::AsFd;
        let stream = EventStream::open(&Group::ALL, buffer).map_err(RunError::Notices)?;
        let descriptor = stream.as_fd().try_clone_to_owned().map_err(system("notices"))?;
        let readiness = Readiness::register(descriptor).map_err(system("notices"))?;
        Ok(Self { stream, readiness })
    }

    async fn next(&mut self) -> Result<Vec<Notice>, Refusal> {
        let stream = &mut self.stream;
        let read = self.readiness.read(|_descriptor| match stream.read() {
            Ok(notices) if notices.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(notices) => Ok(Ok(notices)),
            Err(refusal) => Ok(Err(refusal)),
        });
        match read.await {
            Ok(outcome) => outcome,
            Err(error) => Err(Refusal::from_io("waiting for XFRM notices", &error)),
        }
    }
}

/// Signals, in the order they are told.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.hangup.recv() => libc::SIGHUP,
            _ = self.terminate.recv() => libc::SIGTERM,
            _ = self.interrupt.recv() => libc::SIGINT,
            _ = self.user1.recv() => libc::SIGUSR1,
            _ = self.user2.recv() => libc::SIGUSR2,
        }
    }
}
