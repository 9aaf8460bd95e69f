//! What others put into the kernel goes through a dump of setkey and back unharmed; and the options that ask, tell and try.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::setkey::{KEY_16, KEY_20, KEY_32, empty, same, setkey};
use crate::desk::Desk;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::kernel_state;
use crate::scenario::Scenario;
use crate::wait;

pub(super) fn add(out: &mut Vec<Scenario>) {
    let about = "what ip xfrm makes and PF_KEY has no words for, printed by -D and -DP and read back by -f";
    out.push(Scenario::new("setkey-dump-foreign", about, foreign));
    out.push(Scenario::new("setkey-options", "-v, -n, -H, -l, the exit codes, spdupdate and the flushes", options));
}

const SOON: Duration = Duration::from_secs(30);
const SCRIPT: &str = "/etc/ipsec-tools.conf";

/// SAs and policies that no script of setkey makes.
fn foreign_lines() -> String {
    let sa = |spi: u32, rest: &str| {
        format!("xfrm state add src 10.1.0.1 dst 10.1.0.2 proto esp spi {spi} {rest} enc cbc(aes) {KEY_16}")
    };
    let auth = |bits: u32| format!(" auth-trunc hmac(sha256) {KEY_32} {bits}\n");
    let policy = |ports: &str, rest: &str| {
        format!("xfrm policy add src 10.1.0.1/32 dst 10.1.0.2/32 proto udp {ports} dir out priority 100 {rest}\n")
    };
    let esp = "proto esp mode transport";
    [
        // Truncated as racoon on Linux has it; a key of another length than RFC 4868 says.
        sa(0x2001, "mode transport") + &auth(96),
        sa(0x2002, "mode transport") + &format!(" auth-trunc hmac(sha1) {KEY_16} 96\n"),
        // A tunnel for IPv4 alone, and one for both families.
        sa(0x2003, "mode tunnel reqid 20000 replay-window 64") + &auth(128),
        sa(0x2004, "mode tunnel flag af-unspec replay-window 32") + &auth(128),
        sa(0x2005, "mode transport flag esn replay-window 128") + &auth(128),
        sa(0x2006, "mode transport flag esn replay-window 32") + &auth(128),
        sa(0x2007, "mode transport mark 0x1 mask 0xff output-mark 0x2 mask 0xffff if_id 0x7") + &auth(128),
        sa(0x2008, "mode tunnel flag nopmtudisc flag icmp extra-flag dont-encap-dscp") + &auth(128),
        sa(0x2009, "mode transport")
            + auth(96).trim_end()
            + " sel src 10.5.0.0/24 dst 10.6.0.1/32 proto tcp dport 443\n",
        sa(0x200a, "mode transport") + auth(128).trim_end() + " limit time-use-hard 3600 limit packet-hard 900000\n",
        format!(
            "xfrm state add src fd01::1 dst fd01::2 proto ah spi 8203 mode transport flag align4 \
             auth-trunc hmac(sha1) {KEY_20} 96\n"
        ),
        policy("dport 1", &format!("tmpl src 10.1.0.1 dst 10.1.0.2 {esp}")),
        policy("dport 2", "tmpl proto comp mode transport reqid 5 level use tmpl proto esp mode transport reqid 20000"),
        policy("dport 3", &format!("mark 0x5 mask 0x7 if_id 0x9 tmpl {esp}")),
        policy("dport 4", "flag localok flag icmp tmpl proto esp spi 0x1000 mode transport"),
        policy("dport 5", &format!("limit time-hard 36000 limit time-use-hard 3600 tmpl {esp}")),
        "xfrm policy add src 10.1.0.1/32 dst 10.1.0.2/32 dev lo dir in action block\n".to_owned(),
    ]
    .concat()
}

fn foreign(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let (alice, program) = (&pair.alice, desk.program("setkey"));
    alice.netns().batch(&foreign_lines())?;
    let made = kernel_state::raw(alice)?;
    let (sas, policies) = (setkey(&program, alice, &["-D"])?.stdout, setkey(&program, alice, &["-DP"])?.stdout);
    alice.write("/run/sas", 0o600, &sas)?;
    alice.write("/run/policies", 0o600, &policies)?;
    empty(&program, alice)?;
    setkey(&program, alice, &["-f", "/run/sas"])?;
    setkey(&program, alice, &["-f", "/run/policies"])?;
    let evidence = |failure: Failure| failure.with("setkey -D", &sas).with("setkey -DP", &policies);
    same("what ip xfrm made, read back", &made, &kernel_state::raw(alice)?).map_err(evidence)?;
    if made.len() != foreign_lines().lines().count() {
        return Err(evidence(Failure::new(format!("{} entries", made.len()))));
    }
    for (line, count) in [("\n\txfrm: icv=96\n", 1), ("/use:5\n", 1), ("/unique#20000\n", 1)] {
        let found = sas.matches(line).count() + policies.matches(line).count();
        if found != count {
            return Err(evidence(Failure::new(format!("{found} times {line:?} in the dumps"))));
        }
    }
    desk.proved(format!("{} SAs and policies of ip xfrm's printed, removed and read back: the same dump", made.len()));

    // The kernel keeps an IP-in-IP SA beside it, which is no affair of setkey's.
    empty(&program, alice)?;
    alice.write(SCRIPT, 0o600, "add 10.1.0.1 10.1.0.2 ipcomp 0x1000 -m tunnel -C deflate;\n")?;
    setkey(&program, alice, &["-f", SCRIPT])?;
    let shown = setkey(&program, alice, &["-D"])?;
    if shown.stdout.matches("sadb_seq=").count() != 1 || !shown.stderr.is_empty() {
        return Err(Failure::new("IPComp in a tunnel is not one SA").with("setkey -D", shown.output()));
    }
    desk.proved("IPComp in tunnel mode is shown as one SA");
    Ok(())
}

fn options(desk: &mut Desk) -> Result<()> {
    let pair = desk.pair()?;
    let (alice, program) = (&pair.alice, desk.program("setkey"));
    verbose(desk, alice, &program)?;
    updates(desk, alice, &program)?;
    listeners(desk, alice, &program)?;
    exits(desk, alice, &program)?;
    many(desk, alice, &program)
}

/// Ten thousand commands go to the kernel in batches; what it refuses of them keeps its line.
fn many(desk: &mut Desk, alice: &Host, program: &Path) -> Result<()> {
    const LINES: u32 = 10_000;
    const REFUSED: [u32; 3] = [64, 5_000, 9_999];
    let mut text = String::from("spdflush;\n");
    for line in 2..=LINES {
        let last = if REFUSED.contains(&line) { 2 } else { line };
        let [high, low] = [last / 256, last % 256];
        text += &format!("spdadd 10.1.0.1 10.9.{high}.{low} any -P out ipsec esp/transport//require;\n");
    }
    alice.write(SCRIPT, 0o600, text)?;
    let done = alice.run(program, &["-f", SCRIPT])?;
    let wanted: String = REFUSED.iter().map(|line| format!("setkey: {SCRIPT},{line}: File exists\n")).collect();
    let count = kernel_state::policy_count(alice)?;
    let made = LINES as usize - 1 - REFUSED.len();
    if done.stderr != wanted || !done.status.success() || count != made {
        return Err(Failure::new(format!("{count} policies, not {made}")).with("its output", done.output()));
    }
    desk.proved(format!("{made} policies in one script; three refusals within it have their lines"));
    Ok(())
}

/// `-v`: what is sent and what comes back, without keys.
fn verbose(desk: &mut Desk, alice: &Host, program: &Path) -> Result<()> {
    let policy = "spdadd 10.1.0.1 10.1.0.2 any -P out none;\n";
    let sa = format!("add 10.1.0.1 10.1.0.2 esp 0x3039 -E aes-cbc {KEY_16} -A hmac-sha256 {KEY_32};\n");
    alice.write(SCRIPT, 0o600, format!("flush;\n{policy}{policy}{sa}dump;\nget 10.1.0.1 10.1.0.2 esp 0x3039;\n"))?;
    let done = alice.run(program, &["-v", "-f", SCRIPT])?;
    let heads: Vec<(&str, &str)> = done
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("sadb_msg{ version=2 type=")?.split_once(" errno="))
        .map(|(kind, rest)| (kind, rest.split(' ').next().unwrap_or_default()))
        .collect();
    let ok = |kind| (kind, "0");
    // SADB_FLUSH, SADB_X_SPDADD twice, SADB_ADD, SADB_DUMP, SADB_GET: each asked and answered.
    let wanted = [ok("9"), ok("9"), ok("14"), ok("14"), ok("14"), ("14", "17"), ok("3"), ok("3"), ok("10"), ok("10")];
    let wanted = [wanted.as_slice(), &[ok("5"), ok("5")]].concat();
    if heads != wanted || done.stdout.contains("sadb_key{") || !done.status.success() {
        return Err(Failure::new(format!("-v tells of {heads:?}")).with("setkey -v", done.output()));
    }
    desk.proved("-v prints each message with its answer, a refusal's errno among them, and no key");
    Ok(())
}

/// spdupdate replaces or makes one policy; a flush takes one protocol; `-n` changes nothing.
fn updates(desk: &mut Desk, alice: &Host, program: &Path) -> Result<()> {
    empty(program, alice)?;
    let load = |text: &str| -> Result<()> {
        alice.write(SCRIPT, 0o600, text)?;
        setkey(program, alice, &["-f", SCRIPT]).map(|_| ())
    };
    let expect = |what: &str, wanted: &[&str], unwanted: &str| -> Result<()> {
        let policies = setkey(program, alice, &["-DP"])?.stdout;
        let is_there = wanted.iter().all(|text| policies.contains(text));
        if is_there && !policies.contains(unwanted) {
            return Ok(());
        }
        Err(Failure::new(format!("{what}: not {wanted:?} without {unwanted:?}")).with("setkey -DP", policies))
    };
    load("spdadd 10.1.0.1 10.1.0.2 any -P out none;\nspdadd 10.1.0.1 10.1.0.2 tcp -P out none;\n")?;
    load("spdupdate 10.1.0.1 10.1.0.2 any -P out prio high ipsec esp/transport//require;\n")?;
    let (other, updated) =
        ("10.1.0.2[any] tcp\n\tout prio def none\n", "255\n\tout prio high ipsec\n\tesp/transport//require\n");
    expect("an update of one policy", &[other, updated], "out prio def none\n\tcreated: x")?;
    load("spdupdate 10.1.0.2 10.1.0.1 udp -P in discard;\n")?;
    let twins = ["udp\n\tin prio def discard\n", "udp\n\tfwd prio def discard\n"];
    expect("an update that makes a policy", &[twins[0], twins[1], other, updated], "never")?;
    load("spddelete 10.1.0.2 10.1.0.1 udp -P in;\n")?;
    expect("a policy deleted with its twin", &[other, updated], "discard")?;
    alice.write(SCRIPT, 0o600, "spdflush;\nflush;\n")?;
    setkey(program, alice, &["-n", "-f", SCRIPT])?;
    expect("a dry run", &[other, updated], "never")?;

    let keyed = format!("-A hmac-sha256 {KEY_32}");
    let add = |protocol: &str, keys: &str| format!("add 10.1.0.1 10.1.0.2 {protocol} 0x1000 {keys};\n");
    load(&(add("ah", &keyed) + &add("esp", &format!("-E aes-cbc {KEY_16} {keyed}")) + "flush ah;\nspdflush;\n"))?;
    let left = kernel_state::all_sas(alice)?;
    if left.iter().map(|sa| sa.protocol).ne([50]) || kernel_state::policy_count(alice)? != 0 {
        return Err(Failure::new(format!("left behind: {left:?}")));
    }
    desk.proved(
        "spdupdate replaces or makes one policy, spddelete takes the twin along, flush ah leaves esp, -n does nothing",
    );
    Ok(())
}

/// `-Hx` shows octets, `-Dl` a line each second.
fn listeners(desk: &mut Desk, alice: &Host, program: &Path) -> Result<()> {
    let listen = |label: &str, option: &str| {
        let mut command = alice.command(program);
        command.arg(option);
        alice.spawn(label, command)
    };
    let (mut hex, mut lines) = (listen("setkey-Hx", "-Hx")?, listen("setkey-Dl", "-Dl")?);
    alice.write(SCRIPT, 0o600, "spdflush;\nspdadd 10.1.0.1 10.1.0.2 any -P out none;\n")?;
    wait::until(SOON, "-Hx to show a policy's octets", || {
        setkey(program, alice, &["-f", SCRIPT])?;
        // SADB_X_SPDADD in an sadb_msg of version 2.
        Ok(hex.log()?.lines().any(|line| line.trim_start().starts_with("020e00")))
    })?;
    let line = " esp M 00001000 ";
    wait::until(SOON, "-Dl to show the SA twice", || Ok(lines.log()?.matches(line).count() > 1))?;
    let head = lines.log()?.lines().next() == Some("time p   s spi      ltime   src -> dst");
    for process in [&mut hex, &mut lines] {
        process.stop(Signal::INT)?;
    }
    if !head {
        return Err(Failure::new("-Dl begins with another line").with("setkey -Dl", lines.log()?));
    }
    desk.proved("-H shows the octets of what -x tells; -Dl a line for each SA, every second");
    Ok(())
}

/// What ends with exit code 1, and what says so.
fn exits(desk: &mut Desk, alice: &Host, program: &Path) -> Result<()> {
    let cases: [(&[&str], i32, &str); 9] = [
        (&[], 1, "usage: setkey"),
        (&["-V"], 1, "setkey"),
        (&["-h"], 1, "usage: setkey"),
        (&["-Z"], 1, "usage: setkey"),
        (&["-f", "/no/such/file"], 1, "setkey: Can't open `/no/such/file': No such file or directory"),
        (&["-f"], 1, "option requires an argument"),
        (&["-F"], 0, ""),
        (&["-D"], 0, "No SAD entries.\n"),
        (&["-DP", "-N"], 0, "\tout prio def none\n"),
    ];
    for (arguments, code, words) in cases {
        let done = alice.run(program, arguments)?;
        if done.status.code() != Some(code) || !done.output().contains(words) {
            let what = format!("setkey {} ended with {}, not {code} and {words:?}", arguments.join(" "), done.status);
            return Err(Failure::new(what).with("its output", done.output()));
        }
    }
    desk.proved("nine command lines end with the original's exit codes and say why");
    Ok(())
}
