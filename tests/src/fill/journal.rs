//! A journal as a daemon with many children leaves it, and a setkey script that puts the same SAs into the kernel.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use cli::revocation::journal::writer::JournalWriter;
use cli::revocation::journal::{Deadline, Entry};
use ike::event::question::CertificateId;
use ike::event::sa::{Owner, SaName};
use policy::model::identity::Identity;
use policy::model::sa::{Mode, Protocol, ReqId, Spi};
use policy::model::selector::Selector;

/// A day: none of it ends while anybody measures.
const LIFE: Duration = Duration::from_secs(86_400);

/// Who and how many.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// SHA-256 of the key of the CA.
    pub issuer_key: [u8; 32],
    /// This side.
    pub local: Ipv4Addr,
    /// The first peer; the others count up.
    pub first: Ipv4Addr,
    /// Children: two SAs each.
    pub children: u32,
    /// How many of them rest on the outcast's certificate; the others have one each.
    pub outcasts: u32,
    /// Serial of the outcast.
    pub serial: u32,
}

/// Writes both files.
///
/// # Errors
/// In words.
pub fn write(crowd: &Crowd, journal: &Path, script: &Path) -> Result<(), String> {
    let mut writer = JournalWriter::open(journal).map_err(|error| error.to_string())?;
    let mut lines = String::new();
    let every = (crowd.children / crowd.outcasts.max(1)).max(1);
    for number in 0..crowd.children {
        let is_outcast = number % every == every / 2 && number / every < crowd.outcasts;
        let serial = if is_outcast { crowd.serial } else { 0x0100_0000 + number };
        let entry = entry(crowd, number, serial);
        let record = writer.insert(&entry).map_err(|error| error.to_string())?;
        writer.mark_live(record).map_err(|error| error.to_string())?;
        for name in [entry.inbound, entry.outbound] {
            // Writing to a string cannot fail.
            let _ = writeln!(
                lines,
                "add {} {} esp {} -m transport -E aes-cbc 0x{number:064x} -A hmac-sha2-256 0x{number:064x};",
                name.src, name.dst, name.spi
            );
        }
    }
    fs::write(script, lines).map_err(|error| format!("{}: {error}", script.display()))
}

fn entry(crowd: &Crowd, number: u32, serial: u32) -> Entry {
    let peer = IpAddr::V4(Ipv4Addr::from(u32::from(crowd.first).wrapping_add(number)));
    let local = IpAddr::V4(crowd.local);
    let name = |src, dst| SaName { protocol: Protocol::Esp, spi: Spi(0x1000 + number), src, dst };
    let octets = serial.to_be_bytes();
    let serial = octets.iter().copied().skip_while(|octet| *octet == 0).collect();
    let deadline = Deadline { boottime: LIFE, wall: u64::MAX };
    Entry {
        inbound: name(peer, local),
        outbound: name(local, peer),
        mode: Mode::Transport,
        reqid: ReqId(0),
        selector: Selector::hosts(local, peer),
        beside: None,
        owner: Owner {
            local: (local, 500).into(),
            peer: (peer, 500).into(),
            identity: Identity::Address(peer),
            certificates: vec![CertificateId { issuer_key: crowd.issuer_key, serial }],
            issuer: Some("/C=US/O=Desk/CN=Desk CA".to_owned()),
            cookies: (u64::from(number).to_be_bytes(), [1; 8]),
        },
        soft: deadline,
        hard: deadline,
    }
}
