//! The kernel's side of the loop: carries out the core's wishes over netlink and turns notices into inputs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ike::event::policies::{GeneratedPolicy, PolicyMatch, PolicyQuery};
use ike::event::question::CertificateId;
use ike::event::sa::{AdoptedChild, ChildMove, SaDirection, SaInstall, SaName, SaPair, SpiRequest};
use ike::event::{Input, JobId};
use policy::model::sa::{ReqId, Spi};
use policy::model::selector::Selector;
use thiserror::Error;
use xfrm::batch::Refusal;
use xfrm::model::notice::{Mapping, Notice, Severity};
use xfrm::model::policy::{Policy, PolicyKey, PolicyTarget};
use xfrm::model::sa::Sa;
use xfrm::request::{Reply, Request};
use xfrm::socket::{Connection, Sent};

use super::generated::Generated;
use super::mirror::Mirror;
use super::registry::{Child, Known, Registry};
use super::{clock, lower, neighbour};
use crate::logging;
use crate::revocation::deletion::{self, Fate};
use crate::revocation::journal::writer::JournalWriter;
use crate::revocation::journal::{Entry, JournalError, Record};

/// What failed at the start.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The kernel refused.
    #[error("the kernel's IPsec tables: {0}")]
    Refused(#[from] Refusal),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelCounters {
    /// Acquires.
    pub acquires: u64,
    /// SAs installed.
    pub installed: u64,
    /// Requests refused.
    pub refusals: u64,
    /// Overruns of the event socket.
    pub resyncs: u64,
}

/// Requests, what is known of the kernel, and the journal of our SAs.
pub struct Kernel {
    connection: Connection,
    mirror: Mirror,
    registry: Registry,
    generated: Generated,
    journal: JournalWriter,
    /// Removals are carried out together, at the end of a drain.
    removals: Vec<SaName>,
    /// Cut a moment ago: the core, told of it next, asks for the same, and the kernel need not be asked again.
    cut: HashSet<SaName>,
    /// Counters.
    pub counters: KernelCounters,
}

impl Kernel {
    /// Connects. The event stream must be open already, so that the dump misses nothing.
    ///
    /// # Errors
    /// [`KernelError`]: without CAP_NET_ADMIN above all, or if another daemon has the journal.
    pub fn open(journal: JournalWriter) -> Result<Self, KernelError> {
        let mut connection = Connection::open()?;
        let mut mirror = Mirror::default();
        mirror.replace(connection.dump_policies()?.entries);
        let mut kernel = Self {
            connection,
            mirror,
            registry: Registry::default(),
            generated: Generated::default(),
            journal,
            removals: Vec::new(),
            cut: HashSet::new(),
            counters: KernelCounters::default(),
        };
        kernel.except_neighbour_discovery();
        Ok(kernel)
    }

    /// What the kernel was asked so far.
    pub fn sent(&self) -> Sent {
        self.connection.sent()
    }

    /// Keeps the exception for neighbour discovery in place while IPv6 policies need it: a script that flushes the SPD
    /// takes it away.
    fn except_neighbour_discovery(&mut self) {
        if !self.mirror.policies().any(neighbour::swallows) {
            return;
        }
        let stands = |bypass: &Policy| {
            self.mirror.policies().any(|policy| policy.selector == bypass.selector && policy.place == bypass.place)
        };
        let missing: Vec<Request> = neighbour::bypasses()
            .filter(|bypass| !stands(bypass))
            .map(|bypass| Request::AddPolicy(Box::new(bypass)))
            .collect();
        for refusal in self.connection.execute(&missing).into_iter().filter_map(Result::err) {
            if refusal.errno != libc::EEXIST {
                let words = self.refused(&refusal);
                logging::warning(format_args!("neighbour discovery may be held back by IPv6 policies: {words}"));
            }
        }
    }

    /// Takes the exception back.
    fn end_exception(&mut self) {
        let ours: Vec<Request> = self
            .mirror
            .policies()
            .filter(|policy| neighbour::is_bypass(policy))
            .map(|policy| Request::DeletePolicy(policy.key()))
            .collect();
        // One that is gone already is gone.
        let _answers = self.connection.execute(&ours);
    }

    /// Takes over what an earlier life left: complete children for the core. Halves are removed; entries without an SA
    /// are forgotten. Also tells what waits for an SA since before the event socket was open. The second list is of certificates
    /// that were denied meanwhile and have SAs still: the caller cuts them at once.
    ///
    /// # Errors
    /// The kernel gives no dump, or the journal cannot be read.
    pub fn adopt(
        &mut self,
        denied: &dyn Fn(&CertificateId) -> bool,
    ) -> Result<(Vec<Input>, Vec<CertificateId>), KernelError> {
        let dump = self.connection.dump_sas(None)?.entries;
        let present: HashMap<SaName, &Sa> = dump.iter().map(|sa| (lower::to_core(sa.name), sa)).collect();
        let now = clock::boottime();
        let mut inputs = Vec::new();
        let mut refused = BTreeSet::new();
        let records = self.journal.entries()?;
        let is_whole = |entry: &Entry| present.contains_key(&entry.inbound) && present.contains_key(&entry.outbound);
        let whole = || records.iter().map(|record| &record.entry).filter(|entry| is_whole(entry));
        let mains: HashSet<SaName> = whole().map(|entry| entry.inbound).collect();
        let mut beside: HashMap<SaName, Vec<SaPair>> = HashMap::new();
        for (main, entry) in whole().filter_map(|entry| Some((entry.beside?, entry))) {
            beside.entry(main).or_default().push(SaPair { inbound: entry.inbound, outbound: entry.outbound });
        }
        let has_main = |entry: &Entry| entry.beside.is_none_or(|main| mains.contains(&main));
        for record in &records {
            let entry = &record.entry;
            self.enter(record);
            let left: Vec<SaName> =
                [entry.outbound, entry.inbound].into_iter().filter(|name| present.contains_key(name)).collect();
            for name in &left {
                self.registry.present(name);
            }
            let is_denied = entry.owner.certificates.iter().any(denied);
            if left.is_empty() {
                self.forget(entry.outbound);
            } else if is_denied {
                refused.extend(entry.owner.certificates.iter().filter(|one| denied(one)).cloned());
            } else if left.len() == 2 && has_main(entry) {
                if entry.beside.is_some() {
                    continue;
                }
                let generated = self.generated.adopt(entry, &self.mirror);
                let encapsulation = present.get(&entry.outbound).and_then(|sa| lower::encapsulation(sa));
                let main = lower::adopted(entry, encapsulation, now, generated);
                let beside = beside.remove(&entry.inbound).unwrap_or_default();
                let child = lower::adopted_bundle(main, beside, self.mirror.wanted_for(&entry.selector));
                inputs.push(Input::Adopt(Box::new(child)));
            } else {
                left.into_iter().for_each(|name| self.remove(name));
            }
        }
        self.flush();
        let orphans = self.generated.remove_orphans(&mut self.connection, &self.mirror);
        if orphans > 0 {
            logging::info(format_args!("{orphans} generated policies of an earlier run are deleted"));
        }
        inputs.extend(self.waiting(&dump));
        Ok((inputs, refused.into_iter().collect()))
    }

    fn enter(&mut self, record: &Record) {
        let entry = &record.entry;
        let owner = Arc::new(entry.owner.clone());
        self.registry.insert(Child::new(entry.inbound, entry.outbound, owner, record.id));
    }

    /// Packets that wait although nobody heard their acquire.
    fn waiting(&self, dump: &[Sa]) -> Vec<Input> {
        dump.iter()
            .filter(|sa| sa.name.spi == Spi(0))
            .filter_map(|larval| {
                let policy = self.mirror.first_outbound(&larval.selector?)?;
                lower::acquire_of_larval(larval, policy).map(Input::Acquire)
            })
            .collect()
    }

    /// ALLOCSPI.
    pub fn allocate(&mut self, job: JobId, request: &SpiRequest) -> Input {
        let result = self.connection.allocate_spi(lower::spi_request(request));
        let result = result.map_err(|refusal| self.refused(&refusal));
        Input::SpiAllocated { job, result }
    }

    /// Takes an acquire's placeholder out. It can only be named by an SPI, so it is given one: ALLOCSPI takes the
    /// placeholder of the same ends, protocol, mode and reqid if there is one.
    pub fn forget_acquire(&mut self, request: &SpiRequest) {
        let lowered = lower::spi_request(request);
        // What the kernel refuses here leaves the placeholder to its own clock.
        if let Ok(spi) = self.connection.allocate_spi(lowered) {
            let name = xfrm::model::sa::SaName { protocol: request.protocol, spi, src: request.src, dst: request.dst };
            let _gone = self.connection.execute_one(Request::DeleteSa { name, mark: None });
        }
    }

    /// Journal first, then the kernel: whatever instruction we die at, the SA can be found by its certificate.
    pub fn install(&mut self, job: JobId, sa: &SaInstall) -> Input {
        let result = self.enter_new(sa).and_then(|()| self.put(sa));
        if result.is_err() {
            self.forget(sa.name);
        }
        Input::SaInstalled { job, result }
    }

    fn enter_new(&mut self, sa: &SaInstall) -> Result<(), String> {
        if self.registry.find(&sa.name).is_some() {
            return Ok(());
        }
        let entry = lower::journal_entry(sa, clock::now());
        let record = self.journal.insert(&entry).map_err(|error| error.to_string())?;
        self.registry.insert(Child::new(entry.inbound, entry.outbound, Arc::clone(&sa.owner), record));
        Ok(())
    }

    fn put(&mut self, sa: &SaInstall) -> Result<(), String> {
        let mut lowered = lower::sa(sa);
        if sa.direction == SaDirection::Inbound
            && let Some(reqid) = self.mirror.inbound_reqid(&sa.name, sa.mode, &sa.selector)
        {
            lowered.reqid = reqid;
        }
        let answer = match sa.direction {
            SaDirection::Inbound => self.connection.install_sa(&lowered).map(|_how| ()),
            // Nothing larval stands in for an outbound SA but the acquire's own, which NEWSA replaces.
            SaDirection::Outbound => self.connection.execute_one(Request::AddSa(Box::new(lowered))).map(|_done| ()),
        };
        answer.map_err(|refusal| self.refused(&refusal))?;
        self.counters.installed += 1;
        if let Some(record) = self.registry.present(&sa.name)
            && let Err(error) = self.journal.mark_live(record)
        {
            logging::warning(error);
        }
        Ok(())
    }

    /// The SAs of a child go on with a peer that its NAT has moved. Gives what the core must know of the SAs that could
    /// not.
    pub fn move_child(&mut self, moved: &ChildMove) -> Vec<Input> {
        let Some((before, _)) = self.registry.find(&moved.inbound) else { return Vec::new() };
        let (before, child) = (before.clone(), &moved.child);
        // The new entry first: whatever instruction we die at, the SAs can be found by their certificate.
        let record = match self.journal.insert(&lower::moved_entry(child, clock::now())) {
            Ok(record) => Some(record),
            Err(error) => {
                logging::warning(format_args!("the journal has a moved SA under its old address: {error}"));
                None
            }
        };
        let after = before.moved(child, record.unwrap_or(before.record));
        let mut lost = Vec::new();
        let sas: Vec<(SaName, SaDirection)> = before.sas().collect();
        let is_whole = sas.len() == 2;
        self.registry.replace(&before.inbound, after);
        for (name, direction) in sas {
            let to = if direction == SaDirection::Inbound { child.inbound } else { child.outbound };
            if let Err(refusal) = self.move_sa(name, to, direction, child) {
                let words = self.refused(&refusal);
                logging::error(format_args!("an SA could not follow its peer: {words}"));
                self.forget(to);
                lost.push(Input::SaDeleted { sa: to });
            }
        }
        if let Some(record) = record {
            let kept = if is_whole { self.journal.mark_live(record) } else { Ok(()) };
            if let Err(error) = kept.and_then(|()| self.journal.remove(before.record)) {
                logging::warning(error);
            }
        }
        lost
    }

    /// A port is changed in place; an address is part of the SA, which is put back with its sequence numbers and its age.
    fn move_sa(
        &mut self,
        from: SaName,
        to: SaName,
        direction: SaDirection,
        child: &AdoptedChild,
    ) -> Result<(), Refusal> {
        let sa = self.connection.sa(lower::to_kernel(from), None)?;
        let sa = Box::new(lower::moved(sa, to, direction, child));
        if from == to {
            return self.connection.execute_one(Request::UpdateSa(sa)).map(|_done| ());
        }
        self.connection.execute_one(Request::DeleteSa { name: lower::to_kernel(from), mark: None })?;
        self.connection.execute_one(Request::AddSa(sa)).map(|_done| ())
    }

    /// DELSA, together with others of this drain: see [`Kernel::flush`].
    pub fn remove(&mut self, name: SaName) {
        if !self.cut.remove(&name) {
            self.removals.push(name);
        }
    }

    /// Packets that these SAs have carried; one that is gone has carried none.
    pub fn packets(&mut self, names: &[SaName]) -> u64 {
        let requests: Vec<Request> =
            names.iter().map(|name| Request::GetSa { name: lower::to_kernel(*name), mark: None }).collect();
        let answers = self.connection.execute(&requests);
        let carried = answers.into_iter().filter_map(Result::ok).map(|reply| match reply {
            Reply::Sa(sa) => sa.usage.packets,
            _ => 0,
        });
        carried.sum()
    }

    /// Carries out the removals: outbound SAs first, so that no packet leaves for an SA that the peer is losing.
    pub fn flush(&mut self) {
        self.cut.clear();
        if self.removals.is_empty() {
            return;
        }
        let mut names = std::mem::take(&mut self.removals);
        names.sort_by_key(|name| !matches!(self.registry.find(name), Some((_, SaDirection::Outbound))));
        self.delete(&names);
    }

    /// Deletes SAs in this order. Missing ones are no error; gives those that were there, and what the kernel said of one that
    /// stays.
    fn delete(&mut self, names: &[SaName]) -> (HashSet<SaName>, Option<Refusal>) {
        let (mut deleted, mut stays) = (HashSet::new(), None);
        for (name, fate) in names.iter().zip(deletion::delete(&mut self.connection, names)) {
            match fate {
                Fate::Deleted => drop(deleted.insert(*name)),
                Fate::Missing => {}
                Fate::Refused(refusal) => {
                    let words = self.refused(&refusal);
                    logging::error(format_args!("an SA stays in the kernel: {words}"));
                    stays = Some(refusal);
                    continue;
                }
            }
            self.forget(*name);
        }
        (deleted, stays)
    }

    /// Deletes every SA that rests on these certificates; gives those that were in the kernel, and what it said of one that
    /// stays.
    pub fn cut(&mut self, certificates: &[CertificateId]) -> (Vec<Known>, Option<Refusal>) {
        let mut rest = self.registry.to_cut(certificates);
        let names: Vec<SaName> = rest.iter().map(|(name, ..)| *name).collect();
        let (deleted, stays) = self.delete(&names);
        rest.retain(|(name, ..)| deleted.contains(name));
        self.cut.extend(deleted);
        (rest, stays)
    }

    /// Deletes whatever is left of our own; nobody else's.
    pub fn remove_all(&mut self) {
        let left: Vec<SaName> = self.registry.sas().map(|(name, _)| name).collect();
        self.removals.extend(left);
        self.flush();
        self.generated.remove_all(&mut self.connection);
        self.end_exception();
    }

    /// Has the kernel send what it holds for a policy.
    pub fn release_held(&mut self, policy_index: u32) {
        let Some(policy) = self.mirror.by_index(policy_index) else { return };
        let key = PolicyKey { target: PolicyTarget::Index(policy_index), ..policy.key() };
        if let Err(refusal) = self.connection.release_held(key)
            && refusal.errno != libc::ENOENT
        {
            let words = self.refused(&refusal);
            logging::warning(format_args!(
                "packets held for policy {policy_index} wait for the kernel's timer: {words}"
            ));
        }
    }

    /// The outbound policy that wants such an SA.
    pub fn find_policy(&self, query: &PolicyQuery) -> Option<PolicyMatch> {
        self.mirror.find(query)
    }

    /// Puts a policy in for a peer that has none.
    pub fn install_policy(&mut self, job: JobId, policy: Box<GeneratedPolicy>) -> Input {
        let result = self.generated.install(&policy, &mut self.connection, &self.mirror);
        let result = result.map_err(|refusal| self.refused(&refusal));
        Input::PolicyInstalled { job, policy, result }
    }

    /// Gives such a policy other ends.
    pub fn move_policy(&mut self, outbound: &Selector, policy: &GeneratedPolicy, reqid: ReqId) {
        if let Err(refusal) = self.generated.change(outbound, policy, reqid, &mut self.connection) {
            let words = self.refused(&refusal);
            logging::error(format_args!("the policy of {} does not follow the peer: {words}", policy.outbound));
        }
    }

    /// Takes such a policy out again.
    pub fn remove_policy(&mut self, outbound: &Selector) {
        self.generated.remove(outbound, &mut self.connection);
    }

    /// What notices mean for the core.
    pub fn notices(&mut self, notices: &[Notice]) -> Vec<Input> {
        let mut inputs = Vec::new();
        let mut compare = false;
        for notice in notices {
            self.mirror.apply(notice);
            match notice {
                Notice::Overrun => {
                    self.counters.resyncs += 1;
                    logging::warning("the kernel's notices overran our buffer: comparing SAs and policies anew");
                    compare = true;
                }
                // An SA that we add after the flush must not be taken for a flushed one: only a dump can tell.
                Notice::SasFlushed { .. } => compare = true,
                _ => inputs.extend(self.notice(notice)),
            }
        }
        if compare {
            inputs.extend(self.resync());
        }
        if compare || notices.iter().any(is_about_policies) {
            self.except_neighbour_discovery();
        }
        inputs
    }

    fn notice(&mut self, notice: &Notice) -> Option<Input> {
        match notice {
            Notice::Acquire(acquire) => {
                self.counters.acquires += 1;
                lower::acquire(acquire).map(Input::Acquire)
            }
            Notice::SaExpired { sa, severity } => {
                let sa = lower::to_core(sa.name);
                self.registry.find(&sa)?;
                let hard = *severity == Severity::Hard;
                if hard {
                    self.forget(sa);
                }
                Some(Input::SaExpired { sa, hard })
            }
            Notice::SaDeleted { sa, .. } => {
                // One that was moved has another name by now.
                let sa = lower::to_core(sa.name);
                self.registry.find(&sa)?;
                self.forget(sa);
                Some(Input::SaDeleted { sa })
            }
            Notice::MappingChanged(Mapping { protocol, spi, dst, old, new, .. }) => {
                let sa = SaName { protocol: *protocol, spi: *spi, src: old.0, dst: *dst };
                self.registry.find(&sa)?;
                Some(Input::MappingChanged { sa, peer: (*new).into() })
            }
            _ => None,
        }
    }

    /// Compares what we know with what is there.
    fn resync(&mut self) -> Vec<Input> {
        match self.compare() {
            Ok(inputs) => inputs,
            Err(refusal) => {
                logging::error(format_args!("the kernel's tables cannot be read: {refusal}"));
                Vec::new()
            }
        }
    }

    fn compare(&mut self) -> Result<Vec<Input>, Refusal> {
        self.mirror.replace(self.connection.dump_policies()?.entries);
        let dump = self.connection.dump_sas(None)?.entries;
        let present: HashSet<SaName> = dump.iter().map(|sa| lower::to_core(sa.name)).collect();
        let gone: Vec<SaName> =
            self.registry.sas().map(|(name, _)| name).filter(|name| !present.contains(name)).collect();
        let mut inputs = Vec::with_capacity(gone.len());
        for sa in gone {
            self.forget(sa);
            inputs.push(Input::SaDeleted { sa });
        }
        inputs.extend(self.waiting(&dump));
        Ok(inputs)
    }

    /// An SA is gone: so is its journal entry, with the second of the pair.
    fn forget(&mut self, name: SaName) {
        if let Some(record) = self.registry.absent(&name)
            && let Err(error) = self.journal.remove(record)
        {
            logging::warning(error);
        }
    }

    fn refused(&mut self, refusal: &Refusal) -> String {
        self.counters.refusals += 1;
        refusal.to_string()
    }

    /// The children.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The policies.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The journal.
    pub fn journal(&self) -> &JournalWriter {
        &self.journal
    }
}

/// May the SPD have lost or won something that the exception for neighbour discovery depends on?
fn is_about_policies(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::PolicyAdded { .. }
            | Notice::PolicyDeleted { .. }
            | Notice::PoliciesFlushed { .. }
            | Notice::PolicyUpdated { .. }
    )
}
