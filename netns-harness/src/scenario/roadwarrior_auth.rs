//! Road warriors that log in and are given an address: XAuth and mode config against charon in both roles, hook scripts,
//! and what must not get past the login.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::{Family, Host};
use crate::kernel_state;
use crate::peer::suite::AES128;
use crate::peer::tunnel::{Auth, Begin, Id, Mode, ModeCfg, Tunnel, Xauth};
use crate::peer::{self, Kind, PATIENCE, Peer};
use crate::ping::{self, Running};
use crate::scenario::stage::Papers;
use crate::scenario::{PAIRS, Scenario, for_pairs};
use crate::wait;

/// The gateway is xfrmd.
const CLIENTS: [(Kind, Kind); 2] = [(Kind::Ours, Kind::Ours), (Kind::Charon, Kind::Ours)];

pub(super) fn add(out: &mut Vec<Scenario>) {
    for_pairs(out, &PAIRS, "xauth-rsa", "certificates, then user and password; an address is given", rsa);
    for_pairs(out, &PAIRS, "xauth-psk", "a group's key, then user and password; an address is given", psk);
    for_pairs(out, &PAIRS, "xauth-hybrid", "only the gateway has a certificate; the user has a password", hybrid);
    for_pairs(out, &CLIENTS, "xauth-group", "the user's group has a sainfo of its own", group);
    for_pairs(out, &[(Kind::Ours, Kind::Ours)], "xauth-renewed", "a renewal of phase 1 logs in again", renewed);
    for_pairs(out, &CLIENTS, "xauth-pam", "the gateway asks PAM's service racoon", pam);
    for_pairs(out, &CLIENTS, "xauth-system", "the gateway asks the machine's accounts, and their groups", system);
    for_pairs(out, &PAIRS, "mode-cfg-pull", "certificates alone; the client asks for an address", pull);
    for_pairs(out, &CLIENTS, "mode-cfg-push", "certificates alone; the gateway gives an address unasked", push);
    for_pairs(out, &PAIRS, "xauth-wrong", "a wrong password: nothing comes up, and both sides say why", wrong);
    for_pairs(out, &CLIENTS, "xauth-skipped", "a client that goes on without a login is refused", skipped);
}

/// The subnet behind the gateway.
pub(super) const OFFICE: &str = "10.12.0.0/24";
/// The first address of the pool.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);
/// A DNS server to tell.
const DNS: Ipv4Addr = Ipv4Addr::new(10, 12, 0, 53);
/// A user.
pub(super) const USER: &str = "carol";
/// The user's password.
pub(super) const PASSWORD: &str = "4iChxLT3pw";
/// Where xfrmd finds users.
const USERS: &str = "/etc/racoon/users";
/// Where hook scripts lie.
const SCRIPT: &str = "/etc/racoon/hook.sh";
/// What they leave behind.
const NOTES: &str = "/run/hook.txt";

/// A client on west, a gateway on east with a host behind it.
pub(super) struct Road {
    pub(super) client: Box<dyn Peer>,
    pub(super) gateway: Box<dyn Peer>,
    /// The hosts behind the two; they go with their last owner.
    _behind: [Rc<Host>; 2],
    /// The gateway's address and the office host's.
    pub(super) gateway_address: IpAddr,
    pub(super) office: IpAddr,
}

impl Road {
    /// Both daemons; `adjust` may change each side's tunnel, the client's first.
    pub(super) fn set(
        desk: &mut Desk,
        kinds: (Kind, Kind),
        adjust: impl FnOnce(&mut Tunnel, &mut Tunnel),
    ) -> Result<Self> {
        let papers = Papers::issue(desk)?;
        let desktop = desk.gateways()?;
        let (a, b) = (desktop.west.address(Family::V4), desktop.east.address(Family::V4));
        let mut at_client = Tunnel::transport(a, b, papers.credentials(&papers.alice));
        at_client.mode = Mode::tunnel(&format!("{a}/32"), OFFICE);
        at_client.mode_cfg = Some(ModeCfg::Client);
        at_client.begin = if kinds.0 == Kind::Ours { Begin::Wait } else { Begin::Start };
        at_client.extra.racoon_remote =
            format!("\tscript \"{SCRIPT}\" phase1_up;\n\tscript \"{SCRIPT}\" phase1_down;\n");
        let mut at_gateway = Tunnel::transport(b, a, papers.credentials(&papers.bob));
        at_gateway.mode = Mode::tunnel(OFFICE, &format!("{a}/32"));
        at_gateway.mode_cfg = Some(ModeCfg::Server { first: FIRST, size: 8, dns: Some(DNS) });
        at_gateway.anonymous = true;
        at_gateway.begin = Begin::Wait;
        at_gateway.extra.racoon =
            format!("mode_cfg {{ auth_source file \"{USERS}\"; split_network include {OFFICE}; }}\n");
        at_gateway.extra.racoon_remote = "\tpassive on;\n\tgenerate_policy on;\n".to_owned();
        adjust(&mut at_client, &mut at_gateway);
        // Nobody has a default route here.
        desktop.right.netns().ip(&["route", "add", "10.3.0.0/24", "via", "10.12.0.1"])?;
        desktop.east.netns().ip(&["route", "add", "10.3.0.0/24", "via", &a.to_string()])?;
        write_users(&desktop.east)?;
        write_script(desk, &desktop.west, b)?;
        let gateway = peer::start(kinds.1, desk, &desktop.east, at_gateway)?;
        let client = peer::start(kinds.0, desk, &desktop.west, at_client)?;
        let office = desktop.right.address(Family::V4);
        Ok(Self { client, gateway, _behind: [desktop.left, desktop.right], gateway_address: b, office })
    }

    /// xfrmd begins by command; its hook script makes the policies that traffic then asks by.
    fn begin(&self, desk: &Desk, kinds: (Kind, Kind)) -> Result<()> {
        if kinds.0 != Kind::Ours {
            return Ok(());
        }
        let to = self.gateway_address.to_string();
        let done = self.client.host().run(desk.program("xfrmctl"), &["up", &to])?;
        if done.status.success() {
            return Ok(());
        }
        Err(self.evidence(Failure::new("xfrmctl up failed").with("its output", done.output())))
    }

    /// The client reaches the office from its new address.
    pub(super) fn establish(&self, desk: &mut Desk, kinds: (Kind, Kind)) -> Result<()> {
        self.begin(desk, kinds)?;
        let client = self.client.host();
        let has_address = || Ok(client.netns().ip(&["-4", "address", "show"])?.contains(&format!("{FIRST}/")));
        wait::until(PATIENCE, "the client to have the pool's first address", has_address)
            .map_err(|failure| self.evidence(failure))?;
        if kinds.0 != Kind::Ours {
            // charon makes no routes here, xfrmd's come from its script.
            let (via, from) = (self.gateway_address.to_string(), FIRST.to_string());
            client.netns().ip(&["route", "replace", OFFICE, "via", &via, "src", &from])?;
        }
        // Before its policies are there its packets would go in clear.
        wait::until(PATIENCE, "the client's policies for its address", || {
            let policies = kernel_state::policies(client)?.contains(&format!("{FIRST}/32"));
            Ok(policies && (kinds.0 == Kind::Ours || kernel_state::sas(client)?.len() == 2))
        })
        .map_err(|failure| self.evidence(failure))?;
        ping::answered(client, self.office, PATIENCE).map_err(|failure| self.evidence(failure))?;
        let sas = self.gateway.host().netns().ip(&["xfrm", "state"])?;
        let selects = sas.contains(&format!("{FIRST}/32"));
        let policies = kernel_state::policies(self.gateway.host())?;
        if !selects && !policies.contains(&format!("{FIRST}/32")) {
            return Err(self.evidence(Failure::new("no SA or policy of the gateway is for the address it gave")));
        }
        desk.proved(format!("the client was given {FIRST} and reaches the office with it"));
        Ok(())
    }

    pub(super) fn logged(&self, side: &dyn Peer, text: &str) -> Result<()> {
        wait::until(PATIENCE, &format!("{} to log \"{text}\"", side.host().name()), || Ok(side.log()?.contains(text)))
            .map_err(|failure| self.evidence(failure))
    }

    /// The environment that the client's script had.
    pub(super) fn notes(&self, wanted: &[String]) -> Result<()> {
        let read = || if self.client.host().exists(NOTES) { self.client.host().read(NOTES) } else { Ok(String::new()) };
        wait::until(PATIENCE, &format!("the hook script to note {wanted:?}"), || {
            let notes = read()?;
            Ok(wanted.iter().all(|line| notes.lines().any(|note| note == line)))
        })
        .map_err(|failure| self.evidence(failure.with("the notes", read().unwrap_or_default())))
    }

    /// No IPsec SA anywhere, once both sides are done with the attempt.
    fn nothing_up(&self) -> Result<()> {
        for side in [&self.client, &self.gateway] {
            if !kernel_state::sas(side.host())?.is_empty() {
                return Err(self.evidence(Failure::new(format!("{} has IPsec SAs", side.host().name()))));
            }
        }
        Ok(())
    }

    pub(super) fn evidence(&self, failure: Failure) -> Failure {
        [&self.client, &self.gateway].into_iter().fold(failure, |failure, side| {
            let name = side.host().name();
            failure
                .with(format!("{name}'s log"), side.log().unwrap_or_default())
                .with(format!("{name}'s SAs"), side.host().netns().ip(&["xfrm", "state"]).unwrap_or_default())
                .with(format!("{name}'s policies"), kernel_state::policies(side.host()).unwrap_or_default())
        })
    }
}

/// One user, hashed as `openssl passwd` does it: in xfrmd's own file, and as an account of the machine that PAM knows.
fn write_users(host: &Host) -> Result<()> {
    let hash = host.check("openssl", &["passwd", "-6", "-salt", "deskdesk", PASSWORD])?;
    let hash = hash.trim();
    host.write(USERS, 0o600, format!("# users of the desk\n{USER}:{hash}::vpn\n"))?;
    // What a machine has in /etc is a link to the desk's until it is replaced.
    host.check("rm", &["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/pam.d"])?;
    host.write("/etc/passwd", 0o644, format!("root:x:0:0::/root:/bin/sh\n{USER}:x:1000:1000::/:/bin/sh\n"))?;
    host.write("/etc/shadow", 0o600, format!("root:*:19000:0:99999:7:::\n{USER}:{hash}:19000:0:99999:7:::\n"))?;
    host.write("/etc/group", 0o644, format!("root:x:0:\n{USER}:x:1000:\nroad:x:1001:{USER}\n"))?;
    host.write("/etc/pam.d/racoon", 0o644, "auth required pam_unix.so\naccount required pam_unix.so\n")
}

/// What racoon's phase1-up.sh does: the address, the policies; and a note of the environment.
fn write_script(desk: &Desk, host: &Host, gateway: IpAddr) -> Result<()> {
    let setkey = desk.program("setkey").display().to_string();
    host.write(
        SCRIPT,
        0o700,
        format!(
            "#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
{{ echo \"event $1\"; env; }} >> {NOTES}
case $1 in
phase1_up)
\tip address add \"$INTERNAL_ADDR4/$INTERNAL_CIDR4\" dev lo
\tip route replace {OFFICE} via \"$REMOTE_ADDR\" src \"$INTERNAL_ADDR4\"
\t{setkey} -c << END
spdadd $INTERNAL_ADDR4/32 {OFFICE} any -P out ipsec esp/tunnel/$LOCAL_ADDR-{gateway}/require;
spdadd {OFFICE} $INTERNAL_ADDR4/32 any -P in ipsec esp/tunnel/{gateway}-$LOCAL_ADDR/require;
END
\t;;
phase1_down)
\tip address del \"$INTERNAL_ADDR4/$INTERNAL_CIDR4\" dev lo
\t;;
esac
"
        ),
    )
}

pub(super) fn log_in(client: &mut Tunnel, gateway: &mut Tunnel, password: &str) {
    client.xauth = Some(Xauth::Client { user: USER.to_owned(), password: password.to_owned() });
    gateway.xauth = Some(Xauth::Server { users: vec![(USER.to_owned(), PASSWORD.to_owned())] });
}

/// What every good login shows.
fn comes_in(desk: &mut Desk, kinds: (Kind, Kind), adjust: impl FnOnce(&mut Tunnel, &mut Tunnel)) -> Result<Road> {
    let road = Road::set(desk, kinds, |client, gateway| {
        log_in(client, gateway, PASSWORD);
        adjust(client, gateway);
    })?;
    road.establish(desk, kinds)?;
    if kinds.1 == Kind::Ours {
        road.logged(&*road.gateway, &format!("login succeeded for user \"{USER}\""))?;
        desk.proved(format!("the gateway knows {USER}"));
    }
    if kinds.0 == Kind::Ours {
        road.notes(&[
            "event phase1_up".to_owned(),
            format!("INTERNAL_ADDR4={FIRST}"),
            format!("XAUTH_USER={USER}"),
            format!("INTERNAL_DNS4={DNS}"),
        ])?;
        desk.proved("the hook script was told address, DNS server and user");
    }
    for side in [&road.client, &road.gateway] {
        if side.log()?.contains(PASSWORD) {
            return Err(road.evidence(Failure::new(format!("{} logs the password", side.host().name()))));
        }
    }
    Ok(road)
}

fn rsa(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let mut road = comes_in(desk, (client, gateway), |_, _| {})?;
    road.client.close().map_err(|failure| road.evidence(failure))?;
    if gateway == Kind::Ours {
        road.logged(&*road.gateway, &format!("Released port 0 ({FIRST})"))?;
        desk.proved("the address is free again once the client has gone");
    }
    if client == Kind::Ours {
        road.notes(&["event phase1_down".to_owned()])?;
        desk.proved("phase1_down ran");
    }
    Ok(())
}

/// A login that the gateway decides as `source` says.
fn decided_by(desk: &mut Desk, kinds: (Kind, Kind), source: &str) -> Result<()> {
    comes_in(desk, kinds, |_, gateway| {
        let file = format!("auth_source file \"{USERS}\";");
        gateway.extra.racoon = gateway.extra.racoon.replace(&file, source);
    })
    .map(drop)
}

fn pam(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    decided_by(desk, (client, gateway), "auth_source pam;")
}

fn system(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    decided_by(desk, (client, gateway), "auth_source system; auth_groups \"road\";")
}

fn renewed(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let road = comes_in(desk, (client, gateway), |client, _| client.phase1_life = Duration::from_secs(20))?;
    let running = Running::start(road.client.host(), road.office, Duration::from_millis(100))?;
    let logins = || Ok(road.gateway.log()?.matches("login succeeded for user").count() >= 2);
    wait::until(Duration::from_secs(60), "a second login", logins).map_err(|failure| road.evidence(failure))?;
    running.wait_for_answers(PATIENCE, 20).map_err(|failure| road.evidence(failure))?;
    let tally = running.finish()?;
    let ups = road.client.host().read(NOTES)?.matches("event phase1_up").count();
    if tally.lost() > 0 || ups != 1 || road.client.host().read(NOTES)?.contains("event phase1_down") {
        let text = format!("{} pings lost, phase1_up ran {ups} times", tally.lost());
        return Err(road.evidence(Failure::new(text)));
    }
    desk.proved(format!(
        "phase 1 renewed with a second login under {} pings, none lost; no script ran for it",
        tally.sent
    ));
    Ok(())
}

/// The client knows AES-128 only, which the gateway has for the group that the user is in.
fn group(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    comes_in(desk, (client, gateway), |client, gateway| {
        client.phase2.cipher = AES128;
        for (name, cipher) in [("staff", "3des"), ("vpn", "aes 128")] {
            gateway.extra.racoon.push_str(&format!(
                "sainfo anonymous group \"{name}\" {{\n\tpfs_group 14;\n\tencryption_algorithm {cipher};\n\t\
                 authentication_algorithm hmac_sha256;\n\tcompression_algorithm deflate;\n}}\n"
            ));
        }
    })?;
    desk.proved("the user's group decides which cipher there is");
    Ok(())
}

fn psk(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    comes_in(desk, (client, gateway), |client, gateway| {
        client.auth = Auth::Psk("the key of the whole group".to_owned());
        gateway.auth = Auth::Psk("the key of the whole group".to_owned());
    })
    .map(drop)
}

fn hybrid(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    comes_in(desk, (client, gateway), |client, gateway| {
        client.auth = Auth::Hybrid;
        gateway.auth = Auth::Hybrid;
        gateway.local_id = Id::Dn("/C=US/O=Desk/CN=bob.desk".to_owned());
    })
    .map(drop)
}

fn pull(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let road = Road::set(desk, (client, gateway), |_, _| {})?;
    road.establish(desk, (client, gateway))?;
    if client == Kind::Ours {
        road.notes(&["event phase1_up".to_owned(), format!("INTERNAL_ADDR4={FIRST}"), format!("INTERNAL_DNS4={DNS}")])?;
    }
    Ok(())
}

fn push(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let road = Road::set(desk, (client, gateway), |client, gateway| {
        gateway.extra.racoon_remote.push_str("\tmode_cfg push;\n");
        client.extra.swanctl_connection.push_str("    pull = no\n");
    })?;
    road.establish(desk, (client, gateway))
}

fn wrong(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let road = Road::set(desk, (client, gateway), |client, gateway| log_in(client, gateway, "not the password"))?;
    if client == Kind::Ours {
        let to = road.gateway_address.to_string();
        let done = road.client.host().run(desk.program("xfrmctl"), &["up", &to])?;
        if done.status.success() {
            return Err(road.evidence(Failure::new("xfrmctl up says that it is up")));
        }
        desk.proved(format!("xfrmctl up: {}", done.output().trim()));
        road.logged(&*road.client, &format!("the server refused the login of \"{USER}\""))?;
    }
    if gateway == Kind::Ours {
        road.logged(&*road.gateway, &format!("login failed for user \"{USER}\""))?;
    }
    road.nothing_up()?;
    desk.proved("no IPsec SA came up");
    Ok(())
}

/// The client's phase 1 is without a login; the gateway demands one.
fn skipped(desk: &mut Desk, client: Kind, gateway: Kind) -> Result<()> {
    let road = Road::set(desk, (client, gateway), |client, gateway| {
        log_in(client, gateway, PASSWORD);
        client.xauth = None;
        client.mode_cfg = None;
    })?;
    if client == Kind::Ours {
        let to = road.gateway_address.to_string();
        if road.client.host().run(desk.program("xfrmctl"), &["up", &to])?.status.success() {
            return Err(road.evidence(Failure::new("xfrmctl up says that it is up")));
        }
    }
    road.logged(&*road.gateway, "no suitable proposal found")?;
    road.nothing_up()?;
    desk.proved("a phase 1 without a login is not taken for one with it");
    Ok(())
}
