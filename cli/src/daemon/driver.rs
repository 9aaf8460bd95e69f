//! Drives the core: inputs in, outputs carried out, answers back in, until it wants nothing more.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::Config;
use ike::endpoint::Endpoint;
use ike::event::question::{CertificateId, JudgeRequest, PasswordCheck};
use ike::event::{Input, JobId, Output};
use ike::report::{Level, Report};

use super::certificates::Certificates;
use super::clock;
use super::feed::{self, Feed};
use super::files::Loaded;
use super::hooks::Hooks;
use super::kernel::Kernel;
use super::password;
use super::psks::PskWatch;
use super::udp::{Datagram, Sockets, bracketed};
use super::workers::Workers;
use crate::logging;
use crate::logging::limit::{self, Limits};

/// How long scripts may take once the daemon ends.
const LAST_SCRIPTS: Duration = Duration::from_secs(10);

/// Threads that check passwords: a PAM module may take its time.
const PASSWORD_WORKERS: usize = 4;

/// The core and everything it acts on.
pub struct Driver {
    /// The core.
    pub endpoint: Endpoint,
    /// The kernel.
    pub kernel: Kernel,
    /// UDP.
    pub sockets: Sockets,
    /// The configuration in force.
    pub loaded: Arc<Loaded>,
    workers: Workers,
    /// Check passwords; there are none before the first.
    password_workers: Option<Workers>,
    hooks: Hooks,
    limits: Limits,
    certificates: Certificates,
    inputs: VecDeque<Input>,
    wake_at: Option<Duration>,
    /// Counters.
    pub traffic: Traffic,
    pub(super) feed: Feed,
    psks: PskWatch,
    /// What the core works with: the loaded one, with the keys as they are in their file now.
    config: Arc<Config>,
}

/// Datagrams since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
    /// Not sent.
    pub failed: u64,
}

impl Driver {
    /// Puts the parts together.
    pub fn new(
        endpoint: Endpoint,
        kernel: Kernel,
        sockets: Sockets,
        loaded: Arc<Loaded>,
        workers: Workers,
        feed: Feed,
    ) -> Self {
        let (psks, config) = (PskWatch::of(&loaded), Arc::clone(&loaded.files.config));
        Self {
            psks,
            config,
            endpoint,
            kernel,
            sockets,
            loaded,
            workers,
            password_workers: None,
            hooks: Hooks::default(),
            limits: Limits::default(),
            certificates: Certificates::default(),
            inputs: VecDeque::new(),
            wake_at: None,
            traffic: Traffic::default(),
            feed,
        }
    }

    /// When the core, or the log, wants to be woken.
    pub fn wake_at(&self) -> Option<Duration> {
        // Both clocks go on while the machine sleeps.
        [self.wake_at, self.limits.wake_at()].into_iter().flatten().min()
    }

    /// The certificate, DER, that a peer showed, if it is still known.
    pub fn certificate(&self, id: &CertificateId) -> Option<&[u8]> {
        self.certificates.find(id)
    }

    /// Lines held back so far.
    pub fn lines_suppressed(&self) -> u64 {
        self.limits.total()
    }

    /// A datagram that arrived.
    pub fn datagram(&mut self, datagram: Datagram) {
        self.traffic.received += 1;
        self.renew_keys();
        let Datagram { local, peer, octets } = datagram;
        if logging::enabled(Level::Debug) {
            let (to, from) = (bracketed(local), bracketed(peer));
            let text = format_args!("{} bytes message received from {from} to {to}", octets.len());
            logging::log(Level::Debug, Some(peer), text);
        }
        self.handle(Input::Datagram { local, peer, octets });
    }

    /// Looks whether the pre-shared keys are still those of their file.
    fn renew_keys(&mut self) {
        if let Some(config) = self.psks.renewed(&self.loaded, &self.config) {
            logging::info("the pre-shared keys have changed: the new ones are used from now on");
            self.config = Arc::clone(&config);
            self.handle(Input::Configure(config));
        }
    }

    /// Tells the core, and carries out what it wants. The kernel answers at once, so its answers go back in here.
    pub fn handle(&mut self, input: Input) {
        if let Input::Judged { result: Ok(certificate), .. } = &input {
            self.certificates.keep(certificate);
        }
        self.tell_held_back();
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            let acquired = match &input {
                Input::Acquire(acquire) => Some(acquire.policy_index),
                _ => None,
            };
            self.endpoint.handle(clock::now(), input);
            let outputs = self.drain();
            // Nothing to be done: an SA is there, or on its way. In the first case the kernel need not hold the packet.
            if let (Some(policy_index), 0) = (acquired, outputs) {
                self.kernel.release_held(policy_index);
            }
        }
        self.kernel.flush();
    }

    /// Carries out what the core wants; tells how much that was.
    fn drain(&mut self) -> usize {
        let mut outputs = 0;
        loop {
            match self.endpoint.poll() {
                Output::WakeAt(when) => {
                    self.wake_at = when;
                    return outputs;
                }
                output => self.carry_out(output),
            }
            outputs += 1;
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { local, peer, octets } => self.send(local, peer, &octets),
            Output::KeepAlive { local, peer } => {
                let outcome = self.sockets.keep_alive(local, peer);
                self.sent(local, peer, outcome);
            }
            Output::AllocateSpi { job, request } => {
                let answer = self.kernel.allocate(job, &request);
                self.inputs.push_back(answer);
            }
            Output::InstallSa { job, sa } => {
                let answer = self.kernel.install(job, &sa);
                self.inputs.push_back(answer);
            }
            Output::MoveChild(moved) => self.inputs.extend(self.kernel.move_child(&moved)),
            Output::RemoveSa { sa } => self.kernel.remove(sa),
            Output::ForgetAcquire { request } => self.kernel.forget_acquire(&request),
            Output::ReleaseHeld { policy_index } => self.kernel.release_held(policy_index),
            Output::FindPolicy { job, query } => {
                let policy = self.kernel.find_policy(&query);
                self.inputs.push_back(Input::PolicyFound { job, policy });
            }
            Output::InstallPolicy { job, policy } => {
                let answer = self.kernel.install_policy(job, policy);
                self.inputs.push_back(answer);
            }
            Output::MovePolicy { outbound, policy, reqid } => self.kernel.move_policy(&outbound, &policy, reqid),
            Output::RemovePolicy { outbound } => self.kernel.remove_policy(&outbound),
            Output::Sign { job, key, octets } => {
                let keys = Arc::clone(&self.loaded.files.keys);
                self.workers.submit(move || Input::Signed { job, result: keys.sign(key, &octets) });
            }
            Output::Judge { job, request } => self.judge(job, request),
            Output::QueryTraffic { job, sas } => {
                let packets = self.kernel.packets(&sas);
                self.inputs.push_back(Input::TrafficSeen { job, packets });
            }
            Output::CheckPassword { job, check } => self.check_password(job, check),
            Output::RunHook(hook) => self.hooks.run(*hook),
            Output::Report(report) => self.report(&report),
            // Always the last of a drain, and taken there.
            Output::WakeAt(when) => self.wake_at = when,
        }
    }

    fn judge(&self, job: JobId, request: Box<JudgeRequest>) {
        let judge = Arc::clone(&self.loaded.files.judge);
        self.workers.submit(move || Input::Judged { job, result: judge.judge(&request) });
    }

    fn check_password(&mut self, job: JobId, check: Box<PasswordCheck>) {
        let refuse = |why: String| Input::PasswordChecked { job, result: Err(why) };
        if self.password_workers.is_none() {
            match self.workers.beside(PASSWORD_WORKERS) {
                Ok(workers) => self.password_workers = Some(workers),
                Err(error) => return self.inputs.push_back(refuse(format!("no thread to check it on: {error}"))),
            }
        }
        if let Some(workers) = &self.password_workers {
            let loaded = Arc::clone(&self.loaded);
            workers.submit(move || Input::PasswordChecked { job, result: password::check(&loaded.daemon, &check) });
        }
    }

    fn send(&mut self, local: SocketAddr, peer: SocketAddr, octets: &[u8]) {
        // `timer { persend }`: as racoon, each message so many times.
        for _ in 0..self.config.timers.persend.max(1) {
            if logging::enabled(Level::Debug) {
                let (from, to) = (bracketed(local), bracketed(peer));
                logging::log(Level::Debug, Some(peer), format_args!("{} bytes from {from} to {to}", octets.len()));
            }
            let outcome = self.sockets.send(local, peer, octets);
            self.sent(local, peer, outcome);
        }
    }

    fn sent(&mut self, local: SocketAddr, peer: SocketAddr, outcome: std::io::Result<()>) {
        match outcome {
            Ok(()) => self.traffic.sent += 1,
            Err(error) => {
                self.traffic.failed += 1;
                let text = format!("sending from {} to {}: {error}", bracketed(local), bracketed(peer));
                self.say_limited(Level::Warning, Some(peer), &text);
            }
        }
    }

    fn report(&mut self, report: &Report) {
        if self.feed.receiver_count() > 0
            && let Some(event) = feed::racoon_event(report)
        {
            // They may all have left by now.
            let _nobody = self.feed.send(event);
        }
        if !logging::enabled(report.level) {
            return;
        }
        if report.event.is_unauthenticated() {
            let text = report.event.to_string();
            self.say_limited(report.level, report.peer, &text);
        } else {
            logging::log(report.level, report.peer, &report.event);
        }
    }

    fn say_limited(&mut self, level: Level, peer: Option<SocketAddr>, text: &str) {
        if self.limits.admit(peer.map(|peer| peer.ip()), clock::boottime()) {
            logging::log(level, peer, text);
        }
    }

    fn tell_held_back(&mut self) {
        for (peer, count) in self.limits.due(clock::boottime()) {
            let peer = peer.map(|ip| SocketAddr::new(ip, 0));
            let bound = limit::OF_ONE;
            let text = format_args!("{count} more suppressed (a stranger may cause {bound} lines a second).");
            logging::log(Level::Warning, peer, text);
        }
    }

    /// Uses another configuration from now on.
    pub fn configure(&mut self, loaded: Arc<Loaded>) {
        self.config = Arc::clone(&loaded.files.config);
        self.psks = PskWatch::of(&loaded);
        let before = std::mem::replace(&mut self.loaded, loaded);
        // With it may go CRLs of a million entries. Without a thread they go here.
        let _elsewhere = std::thread::Builder::new().spawn(move || drop(before));
        self.handle(Input::Configure(Arc::clone(&self.config)));
    }

    /// Takes everything down that is ours, and tells the peers.
    pub fn shut_down(&mut self) {
        self.handle(Input::Shutdown);
        self.hooks.finish(LAST_SCRIPTS);
        let _nobody = self.feed.send(feed::terminated());
        self.kernel.remove_all();
    }
}
