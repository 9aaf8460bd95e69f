//! Ways in for revocations that nobody types: CRL files and URLs, keylime's publisher, its webhook.
//!
//! Each is a task of its own; what it has found good reaches the loop as an [`Arrival`]. Reading, fetching, parsing and
//! checking happen away from the loop, which is left with the cut.

pub mod expiry;
pub mod files;
pub mod health;
pub mod http;
pub mod lists;
pub mod notices;
pub mod spooled;
pub mod subscriber;
pub mod urls;
pub mod webhook;
pub mod zmtp;

use std::sync::Arc;

use ike::event::question::CertificateId;
use openssl::x509::X509;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::clock;
use super::files::Loaded;
use crate::pki::judge::Crls;
use crate::report::RevocationReport;
use crate::revocation::crl::Listed;
use crate::revocation::crl::store::{CrlStore, InUse};
use crate::revocation::issuer::Issuer;
use crate::revocation::keylime::message::Revocation;

use files::Scanner;
use health::Health;
use lists::Taken;
use notices::Notifier;

/// Arrivals that wait for the loop; whoever has more waits with them.
const QUEUE: usize = 64;

/// Something the loop has to act on.
#[derive(Debug)]
pub enum Arrival {
    /// A notice whose signature was good.
    Notice(Box<Notified>),
    /// Another CRL is in use.
    Crl(Arc<InUse>),
    /// Certificates that live SAs rest on and a CRL lists.
    Listed(Vec<(CertificateId, Listed, Arc<InUse>)>),
}

/// A checked notice and the way back.
#[derive(Debug)]
pub struct Notified {
    /// What it says.
    pub revocation: Revocation,
    /// The CA of the notifier, if it is one of ours.
    pub issuer: Option<Issuer>,
    /// By which way, one word.
    pub source: String,
    /// Where the outcome goes.
    pub reply: oneshot::Sender<Result<RevocationReport, String>>,
}

/// What every way in has in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// CRLs in use.
    pub crls: Arc<CrlStore>,
    /// How the sources are.
    pub health: Health,
    /// To the loop.
    pub arrivals: mpsc::Sender<Arrival>,
    /// Says that the CA may have a new CRL.
    pub news: watch::Sender<u64>,
}

impl Common {
    /// Has the URLs asked now, and again shortly after: the first answer is usually the old list.
    pub fn fetch_soon(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Gives the CRLs the trust anchors of a configuration. A CRL that waited for one has its signature checked: not on the loop.
pub fn trust_anchors(anchors: &[X509], common: &Common, reactor: &Handle) {
    for entry in common.crls.trust(anchors, clock::now().wall) {
        let common = common.clone();
        reactor.spawn(async move { lists::tell(Taken::of(entry), &common).await });
    }
}

/// Gives a configuration's judge the CRLs in use.
pub fn use_crls(loaded: &Loaded, common: &Common) {
    let tell = {
        let (common, reactor) = (common.clone(), Handle::current());
        move |entry: Arc<InUse>| {
            let common = common.clone();
            reactor.spawn(async move { lists::tell(Taken::of(entry), &common).await });
        }
    };
    loaded.files.judge.use_crls(Crls { store: Arc::clone(&common.crls), accepted: Arc::new(tell) });
}

/// The tasks of one configuration; they end when this is dropped.
#[derive(Debug)]
pub struct Intake {
    /// See there.
    pub common: Common,
    tasks: Vec<JoinHandle<()>>,
}

impl Intake {
    /// Without tasks yet; the second is the loop's end.
    pub fn new(crls: Arc<CrlStore>) -> (Self, mpsc::Receiver<Arrival>) {
        let (arrivals, receiver) = mpsc::channel(QUEUE);
        let common = Common { crls, health: Health::default(), arrivals, news: watch::channel(0).0 };
        (Self { common, tasks: Vec::new() }, receiver)
    }

    /// Takes up what a configuration names, in place of what was there. Needs a running reactor. `scanner` has read the CRL
    /// files once if the daemon starts.
    pub fn follow(&mut self, loaded: &Loaded, scanner: Scanner) {
        self.tasks.drain(..).for_each(|task| task.abort());
        let config = &loaded.daemon.revocation;
        self.common.health.keep_only(&names(loaded));
        self.start(files::watch(scanner, self.common.clone()));
        for url in &config.crl_urls {
            self.start(urls::poll(url.clone(), config.crl_interval, self.common.clone()));
        }
        let notifier = match &config.notifier_certificate {
            Some(path) => Notifier::new(path.into(), loaded.issuers.clone()),
            None => return,
        };
        for at in &config.subscriptions {
            self.start(subscriber::follow(at.clone(), notifier.clone(), self.common.clone()));
        }
        for hook in &config.webhooks {
            self.start(webhook::serve(hook.clone(), notifier.clone(), self.common.clone()));
        }
    }

    fn start(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Names of every source a configuration has, as the health report calls them.
fn names(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.daemon.revocation;
    let subscriptions = config.subscriptions.iter().map(|at| subscriber::name(at));
    let webhooks = config.webhooks.iter().map(webhook::name);
    let files = config.crl_files.iter().chain(config.crl_urls.iter().map(|from| &from.url)).cloned();
    files.chain(subscriptions).chain(webhooks).collect()
}
