//! SAs and policies of the kernel, with what the journal knows of them. Needs no daemon.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;

use ike::event::sa::{Owner, SaName};
use policy::model::algorithm::{Cipher, Integrity as IntegrityAlgorithm};
use policy::model::sa::{Direction, Spi};
use xfrm::model::policy::{Place, Policy, Verdict};
use xfrm::model::sa::{Aead, EncapKind, Encapsulation, Encryption, Sa};
use xfrm::model::template::{Need, Template};
use xfrm::socket::Connection;

use super::failure::Failure;
use crate::daemon::addresses::AddressWatch;
use crate::daemon::lower;
use crate::exit_code::Exit;
use crate::report::{EncapsulationReport, PolicyReport, SaReport, TemplateReport, identity_text};
use crate::revocation::journal::reader::JournalReader;
use crate::revocation::journal::{Entry, JournalError};
use crate::revocation::serial;

/// Every SA but those that only stand for a question, oldest first.
///
/// # Errors
/// The kernel's refusal, above all for want of CAP_NET_ADMIN.
pub fn sas(journal: &Path, now: u64) -> Result<Vec<SaReport>, Failure> {
    // An SA may come or go meanwhile: its entry is there before it, or still there after it.
    let mut journalled = entries(journal)?;
    let dump = Connection::open()?.dump_sas(None)?.entries;
    journalled.extend(entries(journal)?);
    let known = Known { owners: owners(&journalled), local: local_addresses()? };
    Ok(dump.iter().rev().filter(|sa| sa.name.spi != Spi(0)).map(|sa| sa_report(sa, &known, now)).collect())
}

/// Every policy of the SPD, oldest first.
///
/// # Errors
/// The kernel's refusal, above all for want of CAP_NET_ADMIN.
pub fn policies(journal: &Path) -> Result<Vec<PolicyReport>, Failure> {
    let dump = Connection::open()?.dump_policies()?.entries;
    let entries = entries(journal)?;
    Ok(dump
        .iter()
        .rev()
        .filter(|policy| !policy.place.is_socket())
        .map(|policy| policy_report(policy, &entries))
        .collect())
}

/// What is known besides the kernel's own words.
#[derive(Debug, Default)]
pub struct Known {
    /// Owners of the SAs that xfrmd made.
    pub owners: HashMap<SaName, (Direction, Owner)>,
    /// Addresses of this machine.
    pub local: BTreeSet<IpAddr>,
}

fn entries(journal: &Path) -> Result<Vec<Entry>, Failure> {
    match JournalReader::open(journal) {
        Ok(mut reader) => Ok(reader.entries()?.into_iter().map(|record| record.entry).collect()),
        Err(JournalError::Missing(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Owners by SA.
pub fn owners(entries: &[Entry]) -> HashMap<SaName, (Direction, Owner)> {
    entries
        .iter()
        .flat_map(|entry| {
            [
                (entry.inbound, (Direction::In, entry.owner.clone())),
                (entry.outbound, (Direction::Out, entry.owner.clone())),
            ]
        })
        .collect()
}

fn local_addresses() -> Result<BTreeSet<IpAddr>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::NotSo, format!("local addresses: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let watch = AddressWatch::start().map_err(|error| failed(&error))?;
        let addresses = watch.addresses().await.map_err(|error| failed(&error))?;
        Ok(addresses.into_iter().map(|address| address.ip).collect())
    })
}

/// One SA for a listing at `now` (Unix seconds).
pub fn sa_report(sa: &Sa, known: &Known, now: u64) -> SaReport {
    let owner = known.owners.get(&lower::to_core(sa.name));
    let age = now.saturating_sub(sa.usage.added_at);
    let left = |limit: Option<std::time::Duration>| limit.map(|limit| limit.as_secs().saturating_sub(age));
    let certificate = owner.and_then(|(_, owner)| owner.certificates.first());
    SaReport {
        direction: match owner {
            Some((direction, _)) => direction.name().to_owned(),
            None => direction_by_address(sa, &known.local).to_owned(),
        },
        src: sa.name.src.to_string(),
        dst: sa.name.dst.to_string(),
        proto: sa.name.protocol.setkey_name().to_owned(),
        spi: sa.name.spi.to_string(),
        mode: sa.mode.name().to_owned(),
        reqid: sa.reqid.0,
        encryption: encryption(sa),
        authentication: sa.integrity.as_ref().map(|integrity| integrity_name(&integrity.kernel_name)),
        icv_bits: sa.integrity.as_ref().map(|by| by.icv_bits).or(sa.aead.as_ref().map(|by| by.icv_bits)),
        replay_window: sa.replay_window,
        encapsulation: sa.encapsulation.as_ref().map(encapsulation),
        age_s: age,
        soft_in_s: left(sa.lifetimes.soft.since_added),
        hard_in_s: left(sa.lifetimes.hard.since_added),
        bytes: sa.usage.bytes,
        packets: sa.usage.packets,
        peer: owner.map(|(_, owner)| identity_text(&owner.identity)),
        cert_serial: certificate.map(|certificate| serial::to_decimal(&certificate.serial)),
        cert_issuer: owner.and_then(|(_, owner)| owner.issuer.clone()),
        isakmp_cookies: owner.map(|(_, owner)| cookies(owner)),
    }
}

fn direction_by_address(sa: &Sa, local: &BTreeSet<IpAddr>) -> &'static str {
    match (local.contains(&sa.name.src), local.contains(&sa.name.dst)) {
        (true, false) => "out",
        (false, true) => "in",
        _ => "unknown",
    }
}

fn cookies(owner: &Owner) -> String {
    format!("{}:{}", serial::to_hex(&owner.cookies.0), serial::to_hex(&owner.cookies.1))
}

fn encryption(sa: &Sa) -> Option<String> {
    match (&sa.encryption, &sa.aead) {
        (Some(encryption), _) => Some(cipher_name(encryption)),
        (None, Some(aead)) => Some(aead_name(aead)),
        (None, None) => None,
    }
}

fn cipher_name(encryption: &Encryption) -> String {
    sized_name(Cipher::from_kernel(&encryption.kernel_name), &encryption.kernel_name, encryption.key.len())
}

fn aead_name(aead: &Aead) -> String {
    let icv_bits = u16::try_from(aead.icv_bits).ok();
    sized_name(Cipher::from_kernel_aead(&aead.kernel_name, icv_bits), &aead.kernel_name, aead.key.len())
}

/// `aes-gcm-16-256`: the key's length without its salt.
fn sized_name(cipher: Option<Cipher>, kernel_name: &str, octets: usize) -> String {
    let Some(facts) = cipher.map(Cipher::facts) else { return kernel_name.to_owned() };
    if facts.variable_key {
        format!("{}-{}", facts.setkey, octets.saturating_sub(facts.salt) * 8)
    } else {
        facts.setkey.to_owned()
    }
}

fn integrity_name(kernel_name: &str) -> String {
    IntegrityAlgorithm::from_kernel(kernel_name)
        .map_or_else(|| kernel_name.to_owned(), |algorithm| algorithm.facts().setkey.to_owned())
}

fn encapsulation(encapsulation: &Encapsulation) -> EncapsulationReport {
    EncapsulationReport {
        kind: match encapsulation.kind {
            EncapKind::EspInUdp => "espinudp".to_owned(),
            EncapKind::EspInUdpNonIke => "espinudp-nonike".to_owned(),
            EncapKind::EspInTcp => "espintcp".to_owned(),
            EncapKind::Other(number) => number.to_string(),
        },
        sport: encapsulation.src_port,
        dport: encapsulation.dst_port,
    }
}

/// One policy for a listing.
pub fn policy_report(policy: &Policy, entries: &[Entry]) -> PolicyReport {
    let selector = policy.selector;
    let port = |port: u16| (port != 0).then_some(port);
    PolicyReport {
        direction: policy.place.direction().name().to_owned(),
        src: selector.src.to_string(),
        dst: selector.dst.to_string(),
        proto: (!selector.protocol.is_any()).then_some(selector.protocol.0),
        src_port: port(selector.src_port),
        dst_port: port(selector.dst_port),
        action: match policy.verdict {
            Verdict::Block => "discard",
            Verdict::Allow if policy.templates.is_empty() => "none",
            Verdict::Allow => "ipsec",
        }
        .to_owned(),
        priority: policy.priority,
        index: policy.index,
        templates: policy.templates.iter().map(template_report).collect(),
        peers: peers(policy, entries),
    }
}

fn template_report(template: &Template) -> TemplateReport {
    TemplateReport {
        proto: template.protocol.setkey_name().to_owned(),
        mode: template.mode.name().to_owned(),
        src: template.endpoints.map(|(src, _)| src.to_string()),
        dst: template.endpoints.map(|(_, dst)| dst.to_string()),
        reqid: template.reqid.0,
        level: match template.need {
            Need::Required => "require",
            Need::Optional => "use",
        }
        .to_owned(),
    }
}

/// Whose SAs the packets of a policy use, each once.
fn peers(policy: &Policy, entries: &[Entry]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for entry in entries {
        let selector = match policy.place {
            Place::Spd(Direction::Out) => entry.selector,
            _ => entry.selector.reversed(),
        };
        let serves = |template: &Template| {
            template.mode == entry.mode
                && template.protocol == entry.outbound.protocol
                && (template.reqid.0 == 0 || template.reqid == entry.reqid)
        };
        if policy.selector.contains(&selector) && policy.templates.iter().any(serves) {
            found.insert(identity_text(&entry.owner.identity));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests;
