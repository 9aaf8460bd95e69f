//! The configurations people start from, as they stand: keylime's, the IPoP article's, and the LARTC howto's with
//! certificates of the peers.

use std::rc::Rc;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::ours::Ours;
use crate::peer::{PATIENCE, Peer};
use crate::ping;
use crate::pki::{self, Authority, Leaf, Style, Validity};
use crate::scenario::Scenario;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new("seed-keylime", "keylime's racoon.conf and setkey script", keylime));
    out.push(Scenario::new("seed-ipop", "the IPoP article's racoon.conf: 3des, sha1, modp1024", ipop));
    out.push(Scenario::new("seed-lartc", "the LARTC howto's racoon.conf: peers_certfile", lartc));
}

/// Where keylime unpacks a payload.
pub const KEYLIME: &str = "/var/lib/keylime/secure/unzipped";

/// The racoon.conf that keylime shipped.
pub const KEYLIME_CONF: &str = "log notify;
path certificate \"/var/lib/keylime/secure/unzipped\";

remote anonymous
{
\texchange_mode main;
\tverify_cert on;
\tmy_identifier asn1dn;
\tpeers_identifier asn1dn;
\tca_type x509 \"cacert.crt\";
\tcertificate_type x509 \"mycert.crt\" \"mykey.pem\";
\tproposal {
\t\tencryption_algorithm aes 256;
\t\thash_algorithm sha256;
\t\tauthentication_method rsasig;
\t\tdh_group 14;
\t}
}

sainfo anonymous
{
\tpfs_group 14;
\tlifetime time 12 hour;
\tencryption_algorithm aes 256;
\tauthentication_algorithm hmac_sha256;
\tcompression_algorithm deflate;
}
";

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

/// Pings both ways, and looks at what the kernels agreed on.
fn talks(desk: &mut Desk, hosts: (&Rc<Host>, &Rc<Host>), peers: (&Ours, &Ours), algorithms: [&str; 2]) -> Result<()> {
    let evidence = |failure: Failure| {
        failure
            .with("alice's log", peers.0.log().unwrap_or_default())
            .with("bob's log", peers.1.log().unwrap_or_default())
    };
    let (a, b) = (hosts.0.address(Family::V4), hosts.1.address(Family::V4));
    ping::answered(hosts.0, b, PATIENCE).map_err(evidence)?;
    ping::answered(hosts.1, a, PATIENCE).map_err(evidence)?;
    wait::until(PATIENCE, "one pair of SAs at each end", || {
        Ok(kernel_state::sas_between(hosts.0, a, b)?.len() == 2 && kernel_state::sas_between(hosts.1, a, b)?.len() == 2)
    })
    .map_err(evidence)?;
    for sa in kernel_state::sas(hosts.0)? {
        let text = sa.algorithms.join(" ");
        if let Some(missing) = algorithms.iter().find(|name| !text.contains(*name)) {
            return Err(evidence(Failure::new(format!("an SA has \"{text}\" instead of {missing}"))));
        }
    }
    desk.proved(format!("the configuration as it stands: pings both ways through {}", algorithms.join(" and ")));
    Ok(())
}

fn keylime(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "Keylime Certificate Authority")?;
    let pair = desk.pair()?;
    let mut peers = Vec::new();
    for (host, serial, uuid) in [
        (&pair.alice, 2, "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"),
        (&pair.bob, 3, "d432fbb3-d2f1-4a97-9ef7-75bd81c00001"),
    ] {
        let leaf = authority.leaf_with(&mut desk.keys, uuid, serial, Validity::Current, Style::Keylime)?;
        unpack_payload(desk, host, &authority, &leaf)?;
        peers.push(Ours::with_files(desk, host, KEYLIME_CONF, &keylime_policies("10.1.0.0/24"))?);
    }
    let [alice, bob] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    talks(desk, (&pair.alice, &pair.bob), (alice, bob), ["cbc(aes)", "hmac(sha256)"])
}

fn ipop(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let authority = Authority::root(&mut desk.keys, "IPoP root")?;
    let pair = desk.pair()?;
    let mut peers = Vec::new();
    for (host, serial) in [(&pair.alice, 2), (&pair.bob, 3)] {
        let address = host.address(Family::V4);
        let leaf = authority.leaf_with(&mut desk.keys, host.name(), serial, Validity::Current, Style::Keylime)?;
        host.write("/etc/racoon/certs/rootCA.pem", 0o644, &authority.pem)?;
        host.write("/etc/racoon/certs/cert.pem", 0o644, &leaf.pem)?;
        host.write("/etc/racoon/certs/key.pem", 0o600, &leaf.key)?;
        host.write("/etc/racoon/psk.txt", 0o600, "")?;
        let conf = IPOP_CONF.replace("ADDRESS", &address.to_string());
        peers.push(Ours::with_files(desk, host, &conf, IPOP_POLICIES)?);
    }
    let [alice, bob] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    warned(alice, &["3des", "modp1024"])?;
    desk.proved("the weak algorithms were warned about with their lines");
    talks(desk, (&pair.alice, &pair.bob), (alice, bob), ["cbc(des3_ede)", "hmac(sha1)"])
}

/// The daemon warns about each weak word with its place in the file.
fn warned(peer: &Ours, words: &[&str]) -> Result<()> {
    let log = peer.log()?;
    for word in words {
        let told = log.lines().any(|line| line.contains("racoon.conf:") && line.contains(word));
        if !told {
            return Err(Failure::new(format!("no warning about {word} with its line")).with("the log", log));
        }
    }
    Ok(())
}

/// As in the article, but for the address.
const IPOP_CONF: &str = "path pre_shared_key \"/etc/racoon/psk.txt\";
path certificate \"/etc/racoon/certs\";

listen
{   # public IP endpoint for self.
    isakmp ADDRESS [500];
    isakmp_natt ADDRESS [4500];
}

remote anonymous {
        proposal {
                encryption_algorithm 3des;
                hash_algorithm sha1;
                authentication_method rsasig;
        dh_group modp1024;
        }
        certificate_type x509 \"cert.pem\" \"key.pem\";
        ca_type x509 \"rootCA.pem\" ;
        my_identifier asn1dn ;
        verify_identifier off;
        exchange_mode main;
        nat_traversal on;
}
sainfo anonymous {
     authentication_algorithm hmac_sha1;
     compression_algorithm deflate;
        pfs_group modp1024;
        encryption_algorithm 3des;
}
";

/// As in the article, but for the subnet.
const IPOP_POLICIES: &str = "#flush ;
#spdflush ;
spdadd 10.1.0.0/24 10.1.0.0/24 any -P out ipsec esp/transport//require ;
spdadd 10.1.0.0/24 10.1.0.0/24 any -P in  ipsec esp/transport//require ;
";

fn lartc(desk: &mut Desk) -> Result<()> {
    desk.keys.fill()?;
    let laptop = pki::self_signed(&mut desk.keys, "laptop", 1)?;
    let upstairs = pki::self_signed(&mut desk.keys, "upstairs", 1)?;
    let pair = desk.pair()?;
    let mut peers = Vec::new();
    for (host, other, own_name, own, other_name, theirs) in [
        (&pair.alice, &pair.bob, "laptop", &laptop, "upstairs", &upstairs),
        (&pair.bob, &pair.alice, "upstairs", &upstairs, "laptop", &laptop),
    ] {
        let certs = "/usr/local/etc/racoon/certs";
        host.write(&format!("{certs}/{own_name}.public"), 0o600, &own.pem)?;
        host.write(&format!("{certs}/{own_name}.private"), 0o600, &own.key)?;
        host.write(&format!("{certs}/{other_name}.public"), 0o600, &theirs.pem)?;
        let (here, there) = (host.address(Family::V4).to_string(), other.address(Family::V4).to_string());
        let conf = LARTC_CONF.replace("OTHER-NAME", other_name).replace("OWN-NAME", own_name).replace("OTHER", &there);
        let policies = LARTC_POLICIES.replace("OTHER", &there).replace("OWN", &here);
        peers.push(Ours::with_files(desk, host, &conf, &policies)?);
    }
    let [alice, bob] = peers.as_slice() else { return Err(Failure::new("two daemons were started")) };
    warned(alice, &["3des", "modp1024", "modp768"])?;
    desk.proved("the weak algorithms were warned about with their lines");
    talks(desk, (&pair.alice, &pair.bob), (alice, bob), ["cbc(des3_ede)", "hmac(sha1)"])
}

/// The howto's first file, for pre-shared keys, with what its second example adds to it.
const LARTC_CONF: &str = "path pre_shared_key \"/usr/local/etc/racoon/psk.txt\";

remote anonymous
{
 \texchange_mode aggressive,main;
 \tdoi ipsec_doi;
 \tsituation identity_only;

\tmy_identifier address;

\tlifetime time 2 min;   # sec,min,hour
\tinitial_contact on;
\tproposal_check obey;\t# obey, strict or claim

\tproposal {
\t        encryption_algorithm 3des;
\t        hash_algorithm sha1;
\t        authentication_method pre_shared_key;
\t        dh_group 2 ;
\t}
}

path certificate \"/usr/local/etc/racoon/certs\";

remote OTHER
{
 \texchange_mode aggressive,main;
\tmy_identifier asn1dn;
\tpeers_identifier asn1dn;

\tcertificate_type x509 \"OWN-NAME.public\" \"OWN-NAME.private\";

\tpeers_certfile \"OTHER-NAME.public\";
\tproposal {
                encryption_algorithm 3des;
\t\thash_algorithm sha1;
\t\tauthentication_method rsasig;
\t\tdh_group 2 ;
\t}
}

sainfo anonymous
{
 \tpfs_group 1;
 \tlifetime time 2 min;
 \tencryption_algorithm 3des ;
 \tauthentication_algorithm hmac_sha1;
\t\tcompression_algorithm deflate ;
}
";

/// The howto's policies.
const LARTC_POLICIES: &str = "#!/sbin/setkey -f
flush;
spdflush;

spdadd OWN OTHER any -P out ipsec
\tesp/transport//require;

spdadd OTHER OWN any -P in ipsec
\tesp/transport//require;
";
