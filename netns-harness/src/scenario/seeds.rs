//! The configurations people start from, as they stand in tests/config/seeds: keylime's, and the LARTC howto's with a
//! pre-shared key and with certificates of the peers.

use std::net::IpAddr;
use std::rc::Rc;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::{PATIENCE, Peer};
use crate::ping;
use crate::pki::{self, Authority, Leaf, Style, Validity};
use crate::scenario::Scenario;
use crate::topology::OUTSIDE;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new("seed-keylime", "keylime's racoon.conf and setkey script", keylime));
    out.push(Scenario::new(
        "seed-lartc-psk",
        "the LARTC howto's first example: aggressive mode, pre-shared key",
        lartc_psk,
    ));
    out.push(Scenario::new("seed-lartc", "the LARTC howto's second example: peers_certfile", lartc));
}

/// Where keylime unpacks a payload.
pub const KEYLIME: &str = "/var/lib/keylime/secure/unzipped";

/// The racoon.conf that keylime shipped.
pub const KEYLIME_CONF: &str = include_str!("../../../tests/config/seeds/keylime.conf");

/// What keylime's generate.py writes for one subnet.
pub fn keylime_policies(subnet: &str) -> String {
    format!(
        "#!/usr/sbin/setkey -f
flush;
spdflush;
spdadd 0.0.0.0/0 {subnet} any -P out ipsec
\tesp/transport//require;
spdadd {subnet} 0.0.0.0/0 any -P in ipsec
\tesp/transport//require;
"
    )
}

/// Unpacks a payload as keylime's agent and its autorun.sh leave it.
///
/// # Errors
/// When a file cannot be written or openssl cannot hash the CA's name.
pub fn unpack_payload(desk: &Desk, host: &Host, authority: &Authority, leaf: &Leaf) -> Result<()> {
    let hash = pki::subject_hash(desk.folder(), &authority.pem)?;
    let file = |name: &str| format!("{KEYLIME}/{name}");
    host.write(&file("cacert.crt"), 0o600, &authority.pem)?;
    host.write(&file("mycert.crt"), 0o600, &leaf.pem)?;
    host.write(&file("mykey.pem"), 0o600, &leaf.key)?;
    // An empty file is what keylime's CA publishes before it has revoked anything.
    host.write(&file("cacrl.pem"), 0o600, "")?;
    host.write(&file(&format!("{hash}.r0")), 0o600, "")
}

/// A host of a seed: the machine, and the address that the seed gives it.
pub(super) struct Seeded {
    pub(super) host: Rc<Host>,
    pub(super) at: IpAddr,
}

impl Seeded {
    /// Gives `host` an address of a seed.
    pub(super) fn new(host: &Rc<Host>, at: &str) -> Result<Self> {
        host.netns().ip(&["addr", "add", &format!("{at}/24"), "dev", OUTSIDE])?;
        let at = at.parse().map_err(|error| Failure::new(format!("{at}: {error}")))?;
        Ok(Self { host: Rc::clone(host), at })
    }
}

/// Pings both ways, and looks at what the kernels agreed on.
pub(super) fn talks(desk: &mut Desk, ends: [(&Seeded, &Ours); 2], algorithms: [&str; 2]) -> Result<()> {
    let [(a, at_a), (b, at_b)] = ends;
    let evidence = |failure: Failure| {
        failure
            .with(format!("{}'s log", a.host.name()), at_a.log().unwrap_or_default())
            .with(format!("{}'s log", b.host.name()), at_b.log().unwrap_or_default())
    };
    ping::answered(&a.host, b.at, PATIENCE).map_err(evidence)?;
    ping::answered(&b.host, a.at, PATIENCE).map_err(evidence)?;
    wait::until(PATIENCE, "one pair of SAs at each end", || {
        Ok(kernel_state::sas_between(&a.host, a.at, b.at)?.len() == 2
            && kernel_state::sas_between(&b.host, a.at, b.at)?.len() == 2)
    })
    .map_err(evidence)?;
    for sa in kernel_state::sas(&a.host)? {
        let text = sa.algorithms.join(" ");
        if let Some(missing) = algorithms.iter().find(|name| !text.contains(*name)) {
            return Err(evidence(Failure::new(format!("an SA has \"{text}\" instead of {missing}"))));
        }
    }
    desk.proved(format!("the files as they stand: pings both ways through {}", algorithms.join(" and ")));
    Ok(())
}

/// The daemon warns about each weak word with its place in the file.
pub(super) fn warned(peer: &Ours, words: &[&str]) -> Result<()> {
    let log = peer.log()?;
    for word in words {
        let told = log.lines().any(|line| line.contains("racoon.conf:") && line.contains(word));
        if !told {
            return Err(Failure::new(format!("no warning about {word} with its line")).with("the log", log));
        }
    }
    Ok(())
}

/// The policies that generate.py makes of the example in keylime's README.
pub(super) const KEYLIME_POLICIES: &str = include_str!("../../../tests/config/seeds/keylime.setkey");

fn keylime(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "Keylime Certificate Authority")?;
    let pair = desk.pair()?;
    let hosts = [Seeded::new(&pair.alice, "192.168.0.100")?, Seeded::new(&pair.bob, "192.168.0.101")?];
    let mut peers = Vec::new();
    for (seeded, serial, uuid) in
        [(&hosts[0], 2, "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"), (&hosts[1], 3, "d432fbb3-d2f1-4a97-9ef7-75bd81c00001")]
    {
        let leaf = authority.leaf_with(&mut desk.keys, uuid, serial, Validity::Current, Style::Keylime)?;
        unpack_payload(desk, &seeded.host, &authority, &leaf)?;
        peers.push(Ours::with_files(desk, &seeded.host, KEYLIME_CONF, KEYLIME_POLICIES)?);
    }
    let [alice, bob] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    talks(desk, [(&hosts[0], alice), (&hosts[1], bob)], ["cbc(aes)", "hmac(sha256)"])
}

/// The howto's first file, alike on both hosts.
const LARTC_PSK_CONF: &str = include_str!("../../../tests/config/seeds/lartc-psk.conf");
/// Its two hosts: name, address, what the second example adds, policies.
const LARTC: [(&str, &str, &str, &str); 2] = [
    (
        "laptop",
        "10.0.0.216",
        include_str!("../../../tests/config/seeds/lartc-laptop.conf"),
        include_str!("../../../tests/config/seeds/lartc-laptop.setkey"),
    ),
    (
        "upstairs",
        "10.0.0.11",
        include_str!("../../../tests/config/seeds/lartc-upstairs.conf"),
        include_str!("../../../tests/config/seeds/lartc-upstairs.setkey"),
    ),
];
/// Where the howto keeps its files.
const LARTC_FOLDER: &str = "/usr/local/etc/racoon";

fn lartc_psk(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let hosts = [Seeded::new(&pair.alice, LARTC[0].1)?, Seeded::new(&pair.bob, LARTC[1].1)?];
    let mut peers = Vec::new();
    for (seeded, other, (_, _, _, policies)) in [(&hosts[0], &hosts[1], LARTC[0]), (&hosts[1], &hosts[0], LARTC[1])] {
        seeded.host.write(&format!("{LARTC_FOLDER}/psk.txt"), 0o600, format!("{}\tpassword2\n", other.at))?;
        peers.push(Ours::with_files(desk, &seeded.host, LARTC_PSK_CONF, policies)?);
    }
    let [laptop, upstairs] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    talks(desk, [(&hosts[0], laptop), (&hosts[1], upstairs)], ["cbc(des3_ede)", "hmac(sha1)"])?;
    let (begun, answered) = (laptop.log()?, upstairs.log()?);
    for (log, words) in [
        (&begun, "IPsec-SA request for 10.0.0.11 queued due to no phase1 found."),
        (&begun, "initiate new phase 1 negotiation: 10.0.0.216[500]<=>10.0.0.11[500]"),
        (&begun, "begin Aggressive mode."),
        (&answered, "respond new phase 1 negotiation: 10.0.0.11[500]<=>10.0.0.216[500]"),
        (&answered, "ISAKMP-SA established 10.0.0.11[500]-10.0.0.216[500] spi:"),
        (&answered, "respond new phase 2 negotiation: 10.0.0.11[500]<=>10.0.0.216[500]"),
        (&answered, "IPsec-SA established: ESP/Transport 10.0.0.216[500]->10.0.0.11[500] spi="),
        (&answered, "IPsec-SA established: ESP/Transport 10.0.0.11[500]->10.0.0.216[500] spi="),
    ] {
        if !log.contains(words) {
            return Err(Failure::new(format!("no line \"{words}\"")).with("the log", log.clone()));
        }
    }
    warned(laptop, &["3des", "modp1024", "modp768", "aggressive mode with a pre-shared key"])?;
    desk.proved("aggressive mode, as the file asks for first, and the lines that the howto prints");
    Ok(())
}

fn lartc(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let certificates =
        [pki::self_signed(&mut desk.keys, "laptop", 1)?, pki::self_signed(&mut desk.keys, "upstairs", 1)?];
    let pair = desk.pair()?;
    let hosts = [Seeded::new(&pair.alice, LARTC[0].1)?, Seeded::new(&pair.bob, LARTC[1].1)?];
    let mut peers = Vec::new();
    for (number, other) in [(0, 1), (1, 0)] {
        let (seeded, (name, _, addition, policies)) = (&hosts[number], LARTC[number]);
        let certs = format!("{LARTC_FOLDER}/certs");
        seeded.host.write(&format!("{certs}/{name}.public"), 0o600, &certificates[number].pem)?;
        seeded.host.write(&format!("{certs}/{name}.private"), 0o600, &certificates[number].key)?;
        seeded.host.write(&format!("{certs}/{}.public", LARTC[other].0), 0o600, &certificates[other].pem)?;
        // "To the racoon.conf file on 10.0.0.11, we add".
        let conf = format!("{LARTC_PSK_CONF}\n{addition}");
        peers.push(Ours::with_files(desk, &seeded.host, &conf, policies)?);
    }
    let [laptop, upstairs] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    warned(laptop, &["3des", "modp1024", "modp768"])?;
    desk.proved("the weak algorithms were warned about with their lines");
    talks(desk, [(&hosts[0], laptop), (&hosts[1], upstairs)], ["cbc(des3_ede)", "hmac(sha1)"])
}
