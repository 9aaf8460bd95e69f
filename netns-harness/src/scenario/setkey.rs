//! setkey and the kernel: what it prints can be read back, what it makes is what `ip xfrm` makes, what it hears it tells,
//! and what the kernel refuses has a place in the file.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;

use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::kernel_state;
use crate::process::{Finished, Process};
use crate::scenario::Scenario;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    out.push(Scenario::new("setkey-dump", "what -D and -DP print, read back by -f, gives the same kernel state", dump));
    out.push(Scenario::new("setkey-ip-xfrm", "the same SAs and policies by setkey and by ip xfrm", beside_ip));
    out.push(Scenario::new("setkey-monitor", "-x tells of an SA that is added and expires", monitor));
    out.push(Scenario::new(
        "setkey-refused",
        "a refusal has file, line and the kernel's words; the script goes on",
        refused,
    ));
    out.push(Scenario::new("setkey-stdin", "commands on standard input are carried out as they come", stdin));
}

/// How long one command or one notice may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The script's place on a host.
const SCRIPT: &str = "/etc/ipsec-tools.conf";

pub(super) const KEY_16: &str = "0x000102030405060708090a0b0c0d0e0f";
pub(super) const KEY_20: &str = "0x000102030405060708090a0b0c0d0e0f10111213";
const KEY_24: &str = "0x000102030405060708090a0b0c0d0e0f1011121314151617";
pub(super) const KEY_32: &str = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const KEY_64: &str = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
                      202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

/// The kinds of SAs and policies, each as setkey and as iproute2 say it. iproute2 narrows a tunnel to the outer family
/// unless told not to; PF_KEY never did.
fn pairs() -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut sa = |setkey: String, ip: String| out.push((format!("add {setkey};"), format!("xfrm state add {ip}")));
    let esp = |spi: u32| format!("proto esp spi {spi} reqid");
    sa(
        format!("10.1.0.1 10.1.0.2 esp 0x1001 -m transport -E aes-cbc {KEY_16} -A hmac-sha256 {KEY_32}"),
        format!(
            "src 10.1.0.1 dst 10.1.0.2 {} 0 mode transport enc cbc(aes) {KEY_16} auth-trunc hmac(sha256) {KEY_32} 128",
            esp(0x1001)
        ),
    );
    sa(
        format!(
            "fd01::1 fd01::2 esp 0x1002 -m transport -r 32 -u 77 -lh 3600 -ls 3000 -bh 1000000 -bs 900000 \
             -E 3des-cbc {KEY_24} -A hmac-sha1 {KEY_20}"
        ),
        format!(
            "src fd01::1 dst fd01::2 {} 77 mode transport replay-window 32 enc cbc(des3_ede) {KEY_24} \
             auth-trunc hmac(sha1) {KEY_20} 96 limit time-hard 3600 limit time-soft 3000 limit byte-hard 1000000 \
             limit byte-soft 900000",
            esp(0x1002)
        ),
    );
    sa(
        format!("10.1.0.1 10.1.0.2 esp 0x1003 -m tunnel -E null -A hmac-sha512 {KEY_64}"),
        format!(
            "src 10.1.0.1 dst 10.1.0.2 {} 0 mode tunnel flag af-unspec enc ecb(cipher_null) \"\" \
             auth-trunc hmac(sha512) {KEY_64} 256",
            esp(0x1003)
        ),
    );
    sa(
        format!("fd01::1 fd01::2 esp 0x1004 -m tunnel -r 4 -E aes-cbc {KEY_32} -A hmac-sha1 {KEY_20}"),
        format!(
            "src fd01::1 dst fd01::2 {} 0 mode tunnel flag af-unspec replay-window 4 enc cbc(aes) {KEY_32} \
             auth-trunc hmac(sha1) {KEY_20} 96",
            esp(0x1004)
        ),
    );
    sa(
        format!("10.1.0.1 10.1.0.2 ah 0x1005 -m transport -A hmac-sha256 {KEY_32}"),
        format!("src 10.1.0.1 dst 10.1.0.2 proto ah spi 0x1005 mode transport auth-trunc hmac(sha256) {KEY_32} 128"),
    );
    sa(
        "10.1.0.1 10.1.0.2 ipcomp 0x1006 -m transport -C deflate".to_owned(),
        "src 10.1.0.1 dst 10.1.0.2 proto comp spi 0x1006 mode transport comp deflate".to_owned(),
    );
    sa(
        format!("10.1.0.1[4500] 10.1.0.2[20000] esp-udp 0x1007 -m tunnel -E aes-cbc {KEY_16} -A hmac-sha256 {KEY_32}"),
        format!(
            "src 10.1.0.1 dst 10.1.0.2 {} 0 mode tunnel flag af-unspec enc cbc(aes) {KEY_16} \
             auth-trunc hmac(sha256) {KEY_32} 128 encap espinudp 4500 20000 0.0.0.0",
            esp(0x1007)
        ),
    );
    sa(
        format!("10.1.0.1 10.1.0.2 esp-udp 10.9.9.9 0x1008 -E aes-cbc {KEY_16} -A hmac-sha256 {KEY_32}"),
        format!(
            "src 10.1.0.1 dst 10.1.0.2 {} 0 mode transport enc cbc(aes) {KEY_16} auth-trunc hmac(sha256) {KEY_32} 128 \
             encap espinudp 4500 4500 10.9.9.9",
            esp(0x1008)
        ),
    );

    let mut policy = |setkey: &str, ip: &str| {
        out.push((format!("spdadd {setkey};"), format!("xfrm policy add {ip}")));
    };
    policy(
        "10.0.0.0/24 10.1.0.0/24 any -P out ipsec esp/tunnel/10.1.0.1-10.1.0.2/require",
        "src 10.0.0.0/24 dst 10.1.0.0/24 dir out priority 2147483648 tmpl src 10.1.0.1 dst 10.1.0.2 proto esp mode tunnel",
    );
    policy(
        "10.1.0.1 10.1.0.2 any -P out prio high + 5 ipsec esp/transport//require",
        "src 10.1.0.1/32 dst 10.1.0.2/32 dir out priority 1073741819 tmpl proto esp mode transport",
    );
    policy(
        "10.1.0.1[1701] 10.1.0.2 udp -P out prio low ipsec ipcomp/transport//use esp/transport//unique:5",
        "src 10.1.0.1/32 dst 10.1.0.2/32 proto udp sport 1701 dir out priority 3221225472 \
         tmpl proto comp mode transport level use tmpl proto esp reqid 5 mode transport",
    );
    policy(
        "10.1.0.1 10.1.0.2[443] tcp -P fwd prio -3 discard",
        "src 10.1.0.1/32 dst 10.1.0.2/32 proto tcp dport 443 dir fwd action block priority 2147483651",
    );
    policy(
        "fd01::/64 ::/0 icmp6 135,0 -P in none",
        "src fd01::/64 dst ::/0 proto ipv6-icmp type 135 dir in priority 2147483648",
    );
    policy(
        "0.0.0.0/0 10.1.0.2 icmp 8,1 -P out none",
        "src 0.0.0.0/0 dst 10.1.0.2/32 proto icmp type 8 code 1 dir out priority 2147483648",
    );
    policy(
        "10.1.0.1 10.1.0.2 gre -P out ipsec esp/transport//default ah/transport//require",
        "src 10.1.0.1/32 dst 10.1.0.2/32 proto gre dir out priority 2147483648 \
         tmpl proto esp mode transport tmpl proto ah mode transport",
    );
    policy(
        "fd11::/64 fd12::/64 200 -P fwd prio 2147483648 ipsec esp/tunnel/10.1.0.1-10.1.0.2/unique:16383",
        "src fd11::/64 dst fd12::/64 proto 200 dir fwd priority 0 \
         tmpl src 10.1.0.1 dst 10.1.0.2 proto esp reqid 16383 mode tunnel",
    );
    out
}

fn script() -> String {
    let lines: Vec<String> = pairs().into_iter().map(|(setkey, _)| setkey).collect();
    lines.join("\n") + "\n"
}

/// setkey with these arguments, which must end with exit code 0 and complain of nothing but weak algorithms.
pub(super) fn setkey(program: &Path, host: &Host, arguments: &[&str]) -> Result<Finished> {
    let done = host.run(program, arguments)?;
    let complaint = done.stderr.lines().any(|line| line.starts_with("setkey:") || line.contains("error:"));
    if done.status.success() && !complaint {
        return Ok(done);
    }
    let what = format!("setkey {} on {} ended with {}", arguments.join(" "), host.name(), done.status);
    Err(Failure::new(what).with("its output", done.output()))
}

pub(super) fn empty(program: &Path, host: &Host) -> Result<()> {
    setkey(program, host, &["-F"])?;
    setkey(program, host, &["-F", "-P"])?;
    match kernel_state::raw(host)?.len() {
        0 => Ok(()),
        left => Err(Failure::new(format!("{left} entries are left after -F and -FP"))),
    }
}

/// Fails unless the two dumps are the same, octet by octet.
pub(super) fn same(what: &str, one: &[Vec<u8>], other: &[Vec<u8>]) -> Result<()> {
    if one == other {
        return Ok(());
    }
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let mut failure = Failure::new(format!("{what}: {} entries and {}", one.len(), other.len()));
    for (at, (one, other)) in one.iter().zip(other).enumerate().filter(|(_, (one, other))| one != other).take(3) {
        let first = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        failure =
            failure.with(format!("entry {at} differs from octet {first}"), format!("{}\n{}", hex(one), hex(other)));
    }
    Err(failure)
}

fn dump(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let (alice, program) = (&pair.alice, desk.program("setkey"));
    alice.write(SCRIPT, 0o600, script())?;
    setkey(&program, alice, &["-k", "-f", SCRIPT])?;
    let made = kernel_state::raw(alice)?;
    if made.len() != pairs().len() {
        return Err(Failure::new(format!("{} entries from {} lines", made.len(), pairs().len())));
    }
    for (options, about) in [(["-D", "-DP"], "plain"), (["-Dp", "-DPp"], "with ports")] {
        let sas = setkey(&program, alice, &[options[0]])?.stdout;
        let policies = setkey(&program, alice, &[options[1]])?.stdout;
        alice.write("/run/sas", 0o600, &sas)?;
        alice.write("/run/policies", 0o600, &policies)?;
        empty(&program, alice)?;
        setkey(&program, alice, &["-f", "/run/sas"])?;
        setkey(&program, alice, &["-f", "/run/policies"])?;
        let again = kernel_state::raw(alice)?;
        same(&format!("the dumps {about} read back"), &made, &again)
            .map_err(|failure| failure.with("setkey -D", sas).with("setkey -DP", policies))?;
    }
    desk.proved(format!("{} SAs and policies printed, removed and read back: the same netlink dump", made.len()));

    // As the seeds' scripts are loaded: twins in `fwd`, and a reqid that the system chose.
    empty(&program, alice)?;
    let twins = "spdadd 10.1.0.2 10.1.0.1 any -P in ipsec esp/transport//unique;\n\
                 spdadd 10.1.0.2 10.1.0.1 tcp -P in none;\nspdadd 10.1.0.1 10.1.0.2 any -P out ipsec esp/transport//unique;\n";
    alice.write(SCRIPT, 0o600, twins)?;
    setkey(&program, alice, &["-f", SCRIPT])?;
    let made = kernel_state::raw(alice)?;
    let policies = setkey(&program, alice, &["-DP"])?.stdout;
    alice.write("/run/policies", 0o600, &policies)?;
    empty(&program, alice)?;
    setkey(&program, alice, &["-f", "/run/policies"])?;
    same("twins read back", &made, &kernel_state::raw(alice)?)?;
    if made.len() != 5 || !policies.contains("unique#1638") {
        return Err(Failure::new("not five policies with reqids of the system's").with("setkey -DP", policies));
    }
    desk.proved("fwd twins and reqids that the system chose come back as they were");
    Ok(())
}

fn beside_ip(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let program = desk.program("setkey");
    pair.alice.write(SCRIPT, 0o600, script())?;
    setkey(&program, &pair.alice, &["-k", "-f", SCRIPT])?;
    let lines: String = pairs().into_iter().map(|(_, ip)| ip + "\n").collect();
    pair.bob.netns().batch(&lines)?;
    let (ours, theirs) = (kernel_state::raw(&pair.alice)?, kernel_state::raw(&pair.bob)?);
    same("setkey's state and ip xfrm's", &ours, &theirs)?;
    if ours.len() != pairs().len() {
        return Err(Failure::new(format!("{} entries from {} lines", ours.len(), pairs().len())));
    }
    desk.proved(format!("{} SAs and policies made by setkey and by ip xfrm: the same netlink dump", ours.len()));
    Ok(())
}

fn monitor(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let (alice, program) = (&pair.alice, desk.program("setkey"));
    let listen = |label: &str, option: &str| -> Result<Process> {
        let mut command = alice.command(&program);
        command.arg(option);
        alice.spawn(label, command)
    };
    let (listener, stamps) = (listen("setkey-x", "-x")?, listen("setkey-xx", "-xx")?);
    alice.write(
        SCRIPT,
        0o600,
        format!(
            "delete 10.1.0.1 10.1.0.2 esp 0x3039;\nadd 10.1.0.1 10.1.0.2 esp 0x3039 -lh 2 -E aes-cbc {KEY_16} -A hmac-sha256 {KEY_32};\n"
        ),
    )?;
    // Until they hear it: nothing says when a listener has begun to listen.
    let heard = |log: &str, kind: u8| {
        log.split("sadb_msg{ ").any(|message| {
            message.starts_with(&format!("version=2 type={kind} ")) && message.contains("sadb_sa{ spi=12345 ")
        })
    };
    wait::until(SOON, "both listeners to tell of the SA", || {
        alice.run(&program, &["-f", SCRIPT])?;
        Ok(heard(&listener.log()?, 3) && heard(&stamps.log()?, 3))
    })?;
    wait::until(SOON, "the listener to tell of its end", || Ok(heard(&listener.log()?, 8)))
        .map_err(|failure| failure.with("setkey -x", listener.log().unwrap_or_default()))?;
    let log = listener.log()?;
    if log.contains("00010203") {
        return Err(Failure::new("setkey -x shows a key").with("setkey -x", log));
    }
    let is_time = |line: &str| {
        let shape: String = line.chars().map(|ch| if ch.is_ascii_digit() { '9' } else { ch }).collect();
        shape == "99:99:99.999999"
    };
    let first = log.lines().next().unwrap_or_default().to_owned();
    let raw = stamps.log()?.lines().next().unwrap_or_default().to_owned();
    let is_raw = raw.split_once('.').is_some_and(|(seconds, rest)| seconds.len() > 9 && rest.len() == 6);
    if !is_time(&first) || !is_raw {
        return Err(Failure::new(format!("the first lines are \"{first}\" and \"{raw}\"")));
    }
    desk.proved("-x and -xx tell of an SA that is added, and -x of its end, with a stamp each, and no key");
    for mut process in [listener, stamps] {
        process.stop(Signal::INT)?;
    }
    Ok(())
}

fn refused(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let (alice, program) = (&pair.alice, desk.program("setkey"));
    let text = "spdadd 10.1.0.1 10.1.0.2 any -P out none;\n\
                spdadd 10.1.0.1 10.1.0.2 any -P out ipsec\n\tesp/transport//require;\n\
                delete 10.1.0.1 10.1.0.2 esp 0x999;\n\
                spdadd tagged \"x\" -P out none;\n\
                spdadd 10.1.0.1 10.1.0.2 any -P out bypass;\n\
                flush tcp;\n\
                spddelete 10.1.0.1 10.1.0.2 udp -P in;\n\
                deleteall 10.1.0.1 10.1.0.2 ah;\n\
                spdadd 10.1.0.1 10.1.0.2 tcp -P out none;\n";
    alice.write(SCRIPT, 0o600, text)?;
    let done = alice.run(&program, &["-f", SCRIPT])?;
    let wanted = [
        (3, "File exists"),
        (4, "No such process"),
        (5, "Invalid argument"),
        (6, "Invalid argument"),
        (7, "Invalid argument"),
        (8, "No such file or directory"),
        (8, "No such file or directory"),
        (9, "No such process"),
    ];
    let told: Vec<&str> = done.stderr.lines().collect();
    let fits = told.len() == wanted.len()
        && told.iter().zip(wanted).all(|(told, (line, words))| {
            told.strip_prefix(&format!("setkey: {SCRIPT},{line}: ")).is_some_and(|rest| rest.starts_with(words))
        });
    let count = kernel_state::policy_count(alice)?;
    if !done.status.success() || !fits || count != 2 {
        return Err(Failure::new(format!("setkey ended with {} and left {count} policies", done.status))
            .with("its output", done.output()));
    }
    desk.proved(
        "eight refusals with file, line and the kernel's words; the lines behind them took effect; exit code 0",
    );

    let text = "spdadd 10.1.0.1 10.1.0.2 udp -P out none;\nspdad 1;\nspdadd 10.1.0.1 10.1.0.2 icmp -P out none;\n";
    alice.write(SCRIPT, 0o600, text)?;
    let done = alice.run(&program, &["-f", SCRIPT])?;
    let words = format!("setkey: {SCRIPT},2: syntax error at `spdad'\nsetkey: {SCRIPT},2: parse failed\n");
    let count = kernel_state::policy_count(alice)?;
    if done.status.code() != Some(1) || !done.stderr.starts_with(&words) || count != 3 {
        return Err(Failure::new(format!("setkey ended with {} and left {count} policies", done.status))
            .with("its output", done.output()));
    }
    desk.proved("a syntax error ends the script there, with exit code 1; what stood in front of it took effect");

    let listed = setkey(&program, alice, &["-c"])?;
    if !listed.stdout.is_empty() {
        return Err(Failure::new("an empty script says something").with("it says", listed.stdout));
    }
    larval(desk, alice, &program)
}

/// `getspi` makes a larval SA, and `deleteall` removes every SA that fits.
fn larval(desk: &mut Desk, alice: &Rc<Host>, program: &Path) -> Result<()> {
    let sa = |spi: u32| format!("add 10.1.0.1 10.1.0.2 esp {spi} -E aes-cbc {KEY_16} -A hmac-sha256 {KEY_32};\n");
    let text = format!("getspi 10.1.0.2 10.1.0.1 esp 0x2000 -m tunnel;\n{}{}{}", sa(0x2001), sa(0x2002), sa(0x2003));
    alice.write(SCRIPT, 0o600, text)?;
    setkey(program, alice, &["-f", SCRIPT])?;
    let dump = setkey(program, alice, &["-D"])?.stdout;
    let larval = "10.1.0.2 10.1.0.1 \n\tesp mode=tunnel spi=8192(0x00002000) reqid=0(0x00000000)\n\
                  \tseq=0x00000000 replay=0 flags=0x00000000 state=larval \n";
    if !dump.contains(larval) || dump.matches("state=mature \n").count() != 3 {
        return Err(Failure::new("not one larval SA and three mature ones").with("setkey -D", dump));
    }
    alice.write(SCRIPT, 0o600, "deleteall 10.1.0.1 10.1.0.2 esp;\n")?;
    setkey(program, alice, &["-f", SCRIPT])?;
    let left = kernel_state::all_sas(alice)?.len();
    if left != 1 {
        return Err(Failure::new(format!("{left} SAs are left after deleteall")));
    }
    desk.proved("getspi makes a larval SA; deleteall removes all three that fit, and nothing else");
    Ok(())
}

fn stdin(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let (alice, program) = (&pair.alice, desk.program("setkey"));
    // The pipe stays open until the answers have come; the last command's line is counted from the beginning.
    let script = format!(
        "set -e; cd \"$1\"; mkfifo in; {} -c <in >out 2>err & exec 4>in; \
         echo 'spdadd 10.1.0.1 10.1.0.2 any -P out none;' >&4; echo 'spddump;' >&4; \
         until grep -q refcnt= out; do sleep 0.05; done; echo 'dump;' >&4; \
         until grep -q 'No SAD entries' out; do sleep 0.05; done; echo 'spdad;' >&4; \
         until grep -q 'parse failed' err; do sleep 0.05; done; cat out err",
        program.display()
    );
    let folder = alice.folder().to_string_lossy().into_owned();
    let done = alice.run("timeout", &["60", "bash", "-c", &script, "bash", &folder])?;
    let words = "setkey: stdin,4: syntax error at `spdad'\nsetkey: stdin,4: parse failed\n";
    if !done.status.success() || !done.stdout.contains(words) {
        return Err(Failure::new(format!("the dialogue ended with {}", done.status)).with("its output", done.output()));
    }
    desk.proved("spddump and dump on an open pipe are answered at once; a later error has the right line");
    Ok(())
}
