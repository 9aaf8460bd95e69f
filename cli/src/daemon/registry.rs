//! The children this daemon has in the kernel, found by the name of either SA and by certificate without a walk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ike::event::question::CertificateId;
use ike::event::sa::{AdoptedChild, Owner, SaDirection, SaInstall, SaName};

use crate::revocation::journal::RecordId;

/// One pair of SAs.
#[derive(Clone, Debug)]
pub struct Child {
    /// Inbound SA.
    pub inbound: SaName,
    /// Outbound SA.
    pub outbound: SaName,
    /// Who is at the other end.
    pub owner: Arc<Owner>,
    /// Its entry in the journal.
    pub record: RecordId,
    /// Is the inbound SA in the kernel?
    inbound_present: bool,
    /// Is the outbound SA in the kernel?
    outbound_present: bool,
}

impl Child {
    /// A child of which the kernel has nothing yet.
    pub fn new(inbound: SaName, outbound: SaName, owner: Arc<Owner>, record: RecordId) -> Self {
        Self { inbound, outbound, owner, record, inbound_present: false, outbound_present: false }
    }

    /// The same child with a peer that has moved.
    pub fn moved(&self, to: &AdoptedChild, record: RecordId) -> Self {
        let owner = Arc::new(to.owner.clone());
        Self { inbound: to.inbound, outbound: to.outbound, owner, record, ..self.clone() }
    }

    fn present(&mut self, direction: SaDirection) -> &mut bool {
        match direction {
            SaDirection::Inbound => &mut self.inbound_present,
            SaDirection::Outbound => &mut self.outbound_present,
        }
    }

    /// The SAs that are in the kernel, outbound first: what is still sent is decided before what is still received.
    pub fn sas(&self) -> impl Iterator<Item = (SaName, SaDirection)> {
        let outbound = self.outbound_present.then_some((self.outbound, SaDirection::Outbound));
        let inbound = self.inbound_present.then_some((self.inbound, SaDirection::Inbound));
        outbound.into_iter().chain(inbound)
    }
}

/// Both names of the pair that an SA belongs to: inbound, outbound.
pub fn pair(sa: &SaInstall) -> (SaName, SaName) {
    let other = SaName { spi: sa.twin, src: sa.name.dst, dst: sa.name.src, ..sa.name };
    match sa.direction {
        SaDirection::Inbound => (sa.name, other),
        SaDirection::Outbound => (other, sa.name),
    }
}

/// The children, by the name of their inbound SA.
#[derive(Debug, Default)]
pub struct Registry {
    children: HashMap<SaName, Child>,
    by_name: HashMap<SaName, (SaName, SaDirection)>,
    by_certificate: HashMap<CertificateId, BTreeSet<SaName>>,
    /// Keys of the issuers of the certificates above, by serial.
    issuers: HashMap<Vec<u8>, BTreeSet<[u8; 32]>>,
}

/// An SA, and whose it is.
pub type Known = (SaName, SaDirection, Arc<Owner>);

impl Registry {
    /// Enters a child.
    pub fn insert(&mut self, child: Child) {
        let key = child.inbound;
        self.by_name.insert(key, (key, SaDirection::Inbound));
        self.by_name.insert(child.outbound, (key, SaDirection::Outbound));
        for certificate in &child.owner.certificates {
            self.by_certificate.entry(certificate.clone()).or_default().insert(key);
            self.issuers.entry(certificate.serial.clone()).or_default().insert(certificate.issuer_key);
        }
        self.children.insert(key, child);
    }

    /// A child goes on under other names; which of its SAs are in the kernel stays.
    pub fn replace(&mut self, inbound: &SaName, child: Child) {
        self.forget(inbound);
        self.insert(child);
    }

    /// The child that an SA belongs to, and which of the two it is.
    pub fn find(&self, name: &SaName) -> Option<(&Child, SaDirection)> {
        let (key, direction) = self.by_name.get(name)?;
        Some((self.children.get(key)?, *direction))
    }

    /// The kernel has this SA. Gives the child's record when both are there now.
    pub fn present(&mut self, name: &SaName) -> Option<RecordId> {
        let (key, direction) = *self.by_name.get(name)?;
        let child = self.children.get_mut(&key)?;
        *child.present(direction) = true;
        (child.inbound_present && child.outbound_present).then_some(child.record)
    }

    /// The kernel no longer has this SA. Gives the child's record when neither is there now: the child is forgotten.
    pub fn absent(&mut self, name: &SaName) -> Option<RecordId> {
        let (key, direction) = *self.by_name.get(name)?;
        let child = self.children.get_mut(&key)?;
        *child.present(direction) = false;
        if child.inbound_present || child.outbound_present {
            return None;
        }
        let record = child.record;
        self.forget(&key);
        Some(record)
    }

    /// The SAs in the kernel that rest on a certificate, each child's outbound one first.
    pub fn of_certificate(&self, certificate: &CertificateId) -> Vec<Known> {
        self.by_certificate
            .get(certificate)
            .into_iter()
            .flatten()
            .filter_map(|key| self.children.get(key))
            .flat_map(|child| child.sas().map(|(name, direction)| (name, direction, Arc::clone(&child.owner))))
            .collect()
    }

    /// The SAs in the kernel that rest on any of these certificates, outbound ones first: what is still sent is decided
    /// before what is still received.
    pub fn to_cut(&self, certificates: &[CertificateId]) -> Vec<Known> {
        let mut rest: Vec<_> = certificates.iter().flat_map(|certificate| self.of_certificate(certificate)).collect();
        rest.sort_by_key(|(_, direction, _)| *direction != SaDirection::Outbound);
        rest
    }

    /// Every certificate with children.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateId> {
        self.by_certificate.keys()
    }

    /// The certificates of this serial with children.
    pub fn certificates_with_serial(&self, serial: &[u8]) -> Vec<CertificateId> {
        let certificate = |key: &[u8; 32]| CertificateId { issuer_key: *key, serial: serial.to_vec() };
        self.issuers.get(serial).into_iter().flatten().map(certificate).collect()
    }

    /// The name of a certificate's issuer; known where it is a leaf.
    pub fn issuer_name(&self, certificate: &CertificateId) -> Option<String> {
        let key = self.by_certificate.get(certificate)?.first()?;
        let owner = &self.children.get(key)?.owner;
        owner.issuer.clone().filter(|_| owner.certificates.first() == Some(certificate))
    }

    /// Every SA in the kernel.
    pub fn sas(&self) -> impl Iterator<Item = (SaName, SaDirection)> {
        self.children.values().flat_map(Child::sas)
    }

    /// How many SAs are in the kernel.
    pub fn len(&self) -> usize {
        self.sas().count()
    }

    /// Is there no child?
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    fn forget(&mut self, key: &SaName) {
        let Some(child) = self.children.remove(key) else { return };
        self.by_name.remove(&child.inbound);
        self.by_name.remove(&child.outbound);
        for certificate in &child.owner.certificates {
            if let Some(children) = self.by_certificate.get_mut(certificate) {
                children.remove(key);
                if !children.is_empty() {
                    continue;
                }
                self.by_certificate.remove(certificate);
                if let Some(keys) = self.issuers.get_mut(&certificate.serial) {
                    keys.remove(&certificate.issuer_key);
                    if keys.is_empty() {
                        self.issuers.remove(&certificate.serial);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::model::identity::Identity;
    use policy::model::sa::{Protocol, Spi};

    use super::*;

    fn certificate(serial: u8) -> CertificateId {
        CertificateId { issuer_key: [7; 32], serial: vec![serial] }
    }

    fn name(spi: u32, src: &str, dst: &str) -> SaName {
        SaName { protocol: Protocol::Esp, spi: Spi(spi), src: src.parse().unwrap(), dst: dst.parse().unwrap() }
    }

    fn child(spi: u32, certificates: Vec<CertificateId>) -> Child {
        let owner = Owner {
            local: "10.0.0.1:500".parse().unwrap(),
            peer: "10.0.0.2:500".parse().unwrap(),
            identity: Identity::Fqdn("peer".to_owned()),
            certificates,
            issuer: None,
            cookies: ([1; 8], [2; 8]),
        };
        let (inbound, outbound) = (name(spi, "10.0.0.2", "10.0.0.1"), name(spi + 1, "10.0.0.1", "10.0.0.2"));
        Child::new(inbound, outbound, Arc::new(owner), RecordId(u64::from(spi)))
    }

    fn complete(registry: &mut Registry, child: Child) {
        let (inbound, outbound) = (child.inbound, child.outbound);
        registry.insert(child);
        assert_eq!(registry.present(&inbound), None, "half a child");
        assert!(registry.present(&outbound).is_some());
    }

    #[test]
    fn certificate_finds_exactly_its_sas_outbound_first() {
        let mut registry = Registry::default();
        complete(&mut registry, child(10, vec![certificate(5), certificate(1)]));
        complete(&mut registry, child(20, vec![certificate(6), certificate(1)]));
        let found: Vec<u32> =
            registry.of_certificate(&certificate(5)).into_iter().map(|(name, _, _)| name.spi.0).collect();
        assert_eq!(found, [11, 10]);
        assert_eq!(registry.of_certificate(&certificate(1)).len(), 4, "an intermediate takes both");
        assert_eq!(registry.certificates_with_serial(&[6]), [certificate(6)]);
    }

    #[test]
    fn child_is_forgotten_with_its_second_sa() {
        let mut registry = Registry::default();
        complete(&mut registry, child(10, vec![certificate(5)]));
        assert_eq!(registry.absent(&name(10, "10.0.0.2", "10.0.0.1")), None);
        assert_eq!(registry.len(), 1);
        assert_eq!(registry.absent(&name(11, "10.0.0.1", "10.0.0.2")), Some(RecordId(10)));
        assert_eq!(registry.absent(&name(11, "10.0.0.1", "10.0.0.2")), None, "once");
        assert!(registry.is_empty());
        assert!(registry.certificates_with_serial(&[5]).is_empty(), "nothing is kept");
    }
}
