//! Configurations on disk: those of the seeds load, valid ones resolve as the snapshots say, invalid ones are explained
//! as the snapshots say, hostile ones end in a clear error.
//!
//! `INSTA_UPDATE=always cargo test -p tests --test config` rewrites the snapshots; read them before committing.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use policy::model::selector::UpperProtocol;
use policy::racoon::include::{Loader, NoFiles};
use policy::racoon::print::Printed;
use policy::racoon::{self, Loaded};
use policy::setkey;
use policy::setkey::names::Names;
use policy::setkey::parser::{Form, Script};
use policy::setkey::print::{Command, Printed as PrintedScript};
use policy::setkey::statement::StatementKind;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn read(folder_name: &str, name: &str) -> Vec<u8> {
    fs::read(folder(folder_name).join(name)).unwrap_or_else(|error| panic!("{folder_name}/{name}: {error}"))
}

/// Names of the files of a folder that end so.
fn names(folder_name: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(folder_name)).expect("the folder is part of the repository");
    let names = entries.map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    assert!(!names.is_empty(), "no {ending} in {folder_name}");
    names
}

/// Includes from one of our folders; a `*` stands in the last part of a pattern at most once.
struct Folder(&'static str);

impl Loader for Folder {
    fn load(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let (directory, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let (head, tail) = last.split_once('*').unwrap_or((last, ""));
        let mut found = Vec::new();
        for entry in fs::read_dir(folder(self.0).join(directory)).map_err(|error| error.to_string())? {
            let name = entry.map_err(|error| error.to_string())?.file_name().into_string().unwrap_or_default();
            if name == last || (last.contains('*') && name.starts_with(head) && name.ends_with(tail)) {
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                let text = fs::read(folder(self.0).join(&path)).map_err(|error| error.to_string())?;
                found.push((path, text));
            }
        }
        found.sort();
        Ok(found)
    }
}

fn load(folder_name: &'static str, name: &str) -> Loaded {
    racoon::load(name, &read(folder_name, name), &mut Folder(folder_name))
}

fn load_script(folder_name: &str, name: &str) -> Script {
    setkey::parser::parse_with(name, &read(folder_name, name), &mut Hosts)
}

/// The names of the machine that the scripts are written for.
struct Hosts;

impl Names for Hosts {
    fn addresses(&mut self, host: &str) -> Result<Vec<IpAddr>, String> {
        let addresses: &[&str] = match host {
            "gateway" => &["192.0.2.1"],
            "both.example" => &["192.0.2.7", "2001:db8::7"],
            "six.example" => &["2001:db8::8"],
            _ => return Err("Name or service not known".to_owned()),
        };
        Ok(addresses.iter().map(|address| address.parse().expect("an address")).collect())
    }

    fn port(&mut self, service: &str, protocol: UpperProtocol) -> Option<u16> {
        match (service, protocol) {
            ("http", UpperProtocol::TCP) => Some(80),
            ("l2tp", UpperProtocol::UDP) => Some(1701),
            _ => None,
        }
    }

    fn protocol(&mut self, name: &str) -> Option<UpperProtocol> {
        (name == "local-protocol").then_some(UpperProtocol(253))
    }
}

fn assert_snapshot(folder_name: &str, name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => folder(folder_name),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Every line that names a weak algorithm is warned about, by name and place.
fn assert_weak_lines_are_named(name: &str, loaded: &Loaded) {
    let shown = loaded.render();
    let text = String::from_utf8(read("seeds", name)).expect("the seeds are UTF-8");
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        for weak in ["3des", "sha1", "modp1024", "dh_group 2", "pfs_group 2"] {
            let place = format!("{name}:{}:", index + 1);
            let named = shown.lines().any(|shown| shown.starts_with(&place) && shown.contains("is weak"));
            assert!(!line.contains(weak) || named, "{name}: no warning about `{line}`:\n{shown}");
        }
    }
}

#[test]
fn the_seeds_configurations_run() {
    for name in names("seeds", ".conf").iter() {
        let loaded = load("seeds", name);
        assert!(loaded.config.is_some(), "{}", loaded.render());
        assert_weak_lines_are_named(name, &loaded);
        assert_snapshot("seeds", name, &resolved(&loaded));
    }
}

#[test]
fn the_oldest_pfs_group_is_replaced_with_a_warning() {
    let loaded = load("seeds", "lartc-psk.conf");
    let config = loaded.config.as_ref().expect("it runs");
    assert_eq!(config.sainfos[0].pfs_group, Some(policy::model::algorithm::Group::Modp1024));
    let shown = loaded.render();
    assert!(
        shown.contains("lartc-psk.conf:26:13: warning: modp768 (group 1) is broken and never negotiated"),
        "{shown}"
    );
}

#[test]
fn the_seeds_scripts_run() {
    for name in names("seeds", ".setkey") {
        let script = load_script("seeds", &name);
        assert_eq!(script.diagnostics, [], "{name}: {}", script.render());
        assert_snapshot("seeds", &name, &statements(&script));
    }
}

fn resolved(loaded: &Loaded) -> String {
    match &loaded.config {
        Some(config) => format!("{}-- diagnostics --\n{}", Printed(config), loaded.render()),
        None => loaded.render(),
    }
}

fn statements(script: &Script) -> String {
    let mut out = String::new();
    for statement in &script.statements {
        let line = script.sources.locate(statement.span).line;
        writeln!(out, "{line}: {}", Command(&statement.kind)).expect("a string takes everything");
    }
    out + "-- diagnostics --\n" + &script.render()
}

#[test]
fn valid_configurations_resolve() {
    for name in names("valid", ".conf") {
        let loaded = load("valid", &name);
        assert!(loaded.config.is_some(), "{}", loaded.render());
        assert_snapshot("valid", &name, &resolved(&loaded));
    }
}

#[test]
fn a_printed_configuration_reads_back_as_the_same() {
    for folder_name in ["valid", "seeds"] {
        for name in names(folder_name, ".conf").iter() {
            let config = load(folder_name, name).config.expect("valid").without_secrets();
            let printed = Printed(&config).to_string();
            let again = racoon::load("printed.conf", printed.as_bytes(), &mut NoFiles);
            assert_eq!(again.config.as_ref(), Some(&config), "{name}:\n{printed}\n{}", again.render());
        }
    }
}

#[test]
fn valid_scripts_parse() {
    for name in names("valid", ".setkey") {
        let script = load_script("valid", &name);
        assert!(script.first_error().is_none(), "{}", script.render());
        assert_snapshot("valid", &name, &statements(&script));
    }
}

#[test]
fn a_printed_script_reads_back_as_the_same() {
    for folder_name in ["valid", "seeds"] {
        for name in names(folder_name, ".setkey") {
            let script = load_script(folder_name, &name);
            // What a dump holds beyond commands, and what Linux refuses, has no words in a script.
            if script.form == Form::Dump {
                continue;
            }
            let kinds = |script: &Script| -> Vec<StatementKind> {
                let all = script.statements.iter().map(|statement| statement.kind.clone());
                all.filter(|kind| !matches!(kind, StatementKind::Refused(_))).collect()
            };
            let printed = PrintedScript(&script.statements).to_string();
            let again = setkey::parser::parse("printed.setkey", printed.as_bytes());
            assert!(again.first_error().is_none(), "{name}:\n{printed}\n{}", again.render());
            assert_eq!(kinds(&again), kinds(&script), "{name}:\n{printed}");
        }
    }
}

#[test]
fn a_dump_is_told_from_a_script_and_read_oldest_first() {
    let script = load_script("valid", "dump-policies.setkey");
    assert_eq!(script.form, Form::Dump);
    let lines: Vec<usize> =
        script.statements.iter().map(|statement| script.sources.locate(statement.span).line).collect();
    assert!(lines.is_sorted_by(|one, next| one > next), "{lines:?}");
    assert_eq!(load_script("valid", "everything.setkey").form, Form::Commands);
}

#[test]
fn invalid_configurations_are_explained() {
    for name in names("invalid", ".conf") {
        let loaded = load("invalid", &name);
        assert!(loaded.config.is_none(), "{name} has loaded");
        assert_snapshot("invalid", &name, &loaded.render());
    }
}

#[test]
fn invalid_scripts_stop_at_their_first_error() {
    for name in names("invalid", ".setkey") {
        let script = load_script("invalid", &name);
        let first = script.first_error().unwrap_or_else(|| panic!("{name} has parsed"));
        assert!(first.found.is_some(), "setkey's message names a token");
        assert!(script.statements.iter().all(|statement| statement.span.start < first.span.start), "{name}");
        let rendered = script.render();
        for secret in ["secret", "deadbeef"] {
            assert!(!rendered.contains(secret), "{name} shows a key:\n{rendered}");
        }
        assert_snapshot("invalid", &name, &statements(&script));
    }
}

/// Text that no person writes ends in an answer, not in a hang or a flood. Linear time is not measured: anything
/// quadratic in these sizes would run for hours.
mod hostile {
    use super::*;

    const MEGABYTE: usize = 1 << 20;

    fn load(text: impl AsRef<[u8]>) -> Loaded {
        racoon::load("hostile.conf", text.as_ref(), &mut NoFiles)
    }

    /// The shortest `remote` block that is whole.
    fn remote(name: &str) -> String {
        format!(
            "remote {name} {{ exchange_mode main; proposal {{ encryption_algorithm aes; hash_algorithm sha256;
             authentication_method rsasig; dh_group 14; }} }}\n"
        )
    }

    /// The errors say something, and less than a screenful per finding.
    fn assert_refused(loaded: &Loaded) {
        assert!(loaded.config.is_none());
        let shown = loaded.render();
        assert!(shown.contains("hostile.conf:1:"), "{shown}");
        assert!(shown.len() < 1000 * loaded.diagnostics.len(), "{} octets", shown.len());
    }

    #[test]
    fn long_lines() {
        assert_refused(&load("a".repeat(MEGABYTE)));
        assert_refused(&load("a ".repeat(MEGABYTE / 2)));
        assert_refused(&load("a;".repeat(MEGABYTE / 2)));
        assert_refused(&load("=;".repeat(MEGABYTE / 2)));
        assert_refused(&load(format!("log {};", "x".repeat(MEGABYTE))));
        assert_refused(&load(format!("path \"{}\" x;", "x".repeat(MEGABYTE))));
        assert_refused(&load(format!("log info {};", "log info\n".repeat(MEGABYTE / 8))));
    }

    #[test]
    fn deep_nesting() {
        assert_refused(&load("a{".repeat(MEGABYTE / 2)));
        assert_refused(&load("{".repeat(MEGABYTE)));
        assert_refused(&load("}".repeat(MEGABYTE)));
        assert_refused(&load("a{".repeat(MEGABYTE / 4) + &"}".repeat(MEGABYTE / 4)));
    }

    #[test]
    fn not_a_text() {
        assert_refused(&load(vec![0; MEGABYTE]));
        assert_refused(&load(vec![0xff; MEGABYTE]));
        assert_refused(&load("\"".repeat(MEGABYTE + 1)));
        assert_refused(&load("[/,".repeat(MEGABYTE / 3)));
    }

    #[test]
    fn a_hundred_thousand_blocks_are_no_problem() {
        let mut text = remote("anonymous");
        for index in 0..100_000 {
            let (high, middle, low) = (index >> 16, index >> 8 & 0xff, index & 0xff);
            writeln!(
                text,
                "sainfo address 10.{high}.{middle}.{low} any anonymous {{ encryption_algorithm 3des; authentication_algorithm hmac_sha256; }}"
            )
            .expect("a string takes everything");
        }
        let loaded = load(&text);
        assert_eq!(loaded.config.as_ref().map(|config| config.sainfos.len()), Some(100_000));
        let weak = loaded.diagnostics.iter().filter(|found| found.message.contains("3des is weak")).count();
        assert_eq!(weak, 100_000, "each line is named");
        assert!(loaded.render().contains("hostile.conf:100002:"));
    }

    #[test]
    fn a_hundred_thousand_peers_are_no_problem() {
        let mut text = remote("anonymous");
        for index in 0..100_000 {
            let (high, middle, low) = (index >> 16, index >> 8 & 0xff, index & 0xff);
            writeln!(text, "remote 10.{high}.{middle}.{low} inherit anonymous;").expect("a string takes everything");
        }
        let loaded = load(&text);
        assert_eq!(loaded.config.as_ref().map(|config| config.remotes.len()), Some(100_001));
        let keys: String = (0..100_000).map(|index| format!("host{index} key of {index} and no other\n")).collect();
        let file = policy::psk::parse("psk.txt", keys.as_bytes());
        assert!(file.table.for_name("host99999").is_some());
    }

    /// Each heir has all that its parent has and one thing more.
    #[test]
    fn heirs_of_heirs_are_counted() {
        let mut text = remote("\"0\"");
        for index in 1..20_000 {
            let parent = index - 1;
            writeln!(text, "remote \"{index}\" inherit \"{parent}\" {{ peers_identifier fqdn \"{index}\"; }}")
                .expect("a string takes everything");
        }
        let shown = load(&text).render();
        assert!(shown.contains("proposals and identities inherited in all"), "{shown:.2000}");
    }

    #[test]
    fn nul_octets_anywhere() {
        for text in [
            "log\0 info;",
            "log info;\0",
            "path certificate \"/etc\0\";",
            "remote anonymous { my_identifier fqdn \"a\0b\"; }",
            "include \"a\0\";",
        ] {
            assert_refused(&load(text));
        }
        // In a comment they mean nothing.
        assert!(load("# \0\nlog info;").config.is_some());
    }

    /// Answers every pattern with what `text` makes of it.
    struct Answers<F>(F, usize);

    impl<F: Fn(&str) -> Vec<(String, Vec<u8>)>> Loader for Answers<F> {
        fn load(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
            self.1 += 1;
            Ok((self.0)(pattern))
        }
    }

    #[test]
    fn include_loops_end() {
        let mut itself = Answers(|_: &str| vec![("hostile.conf".to_owned(), b"include \"hostile.conf\";".to_vec())], 0);
        let loaded = racoon::load("hostile.conf", b"include \"hostile.conf\";", &mut itself);
        assert!(loaded.config.is_none() && loaded.render().contains("includes itself"), "{}", loaded.render());

        // Another name each time, and two of them: two to the tenth power.
        let twice = |pattern: &str| {
            let text = format!("include \"{pattern}a\"; include \"{pattern}b\";");
            vec![(pattern.to_owned(), text.into_bytes())]
        };
        let mut answers = Answers(twice, 0);
        let loaded = racoon::load("hostile.conf", b"include \"x\";", &mut answers);
        let shown = loaded.render();
        assert!(loaded.config.is_none() && shown.contains("more than 10 deep"), "{shown}");
        assert!(answers.1 < 3000, "{} files asked for", answers.1);
    }

    #[test]
    fn scripts() {
        let refused = |text: &[u8]| {
            let script = setkey::parser::parse("hostile.setkey", text);
            assert!(script.first_error().is_some());
            assert!(script.render().len() < 1000 * script.diagnostics.len());
        };
        refused("a".repeat(MEGABYTE).as_bytes());
        refused("a ".repeat(MEGABYTE / 2).as_bytes());
        refused("a;".repeat(MEGABYTE / 2).as_bytes());
        refused(&vec![0; MEGABYTE]);
        refused(&vec![0xff; MEGABYTE]);
        refused("\"".repeat(MEGABYTE + 1).as_bytes());
        refused(format!("spdadd 10.0.0.1 10.0.0.2 any -P out ipsec {};", "esp/transport ".repeat(70_000)).as_bytes());
        refused(format!("add 10.0.0.1 10.0.0.2 esp 0x1000 -E aes-cbc 0x{};", "0".repeat(MEGABYTE)).as_bytes());
        refused(format!("add {} ", "0x0123456789abcdef".repeat(70_000)).as_bytes());
        refused("0x0123456789abcdef ".repeat(50_000).as_bytes());
        refused(format!("spdadd {} 10.0.0.2 any -P out none;", "h".repeat(MEGABYTE)).as_bytes());
        refused(format!("spdadd 10.0.0.1[{}] 10.0.0.2 udp -P out none;", "p".repeat(MEGABYTE)).as_bytes());
        refused(format!("spdadd 10.0.0.1 10.0.0.2 any -ctx 1 1 \"{}\" -P out none;", "l".repeat(MEGABYTE)).as_bytes());
        refused(b"flush;\0spdflush;");
        refused(b"spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//require");
        refused(b"spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//require # no end;\n");
        refused(b"add 10.0.0.1 10.0.0.2 ah 1000 -A hmac-sha1 \"never ends;\nflush;\nspdflush;\n");
        refused(&b"10.0.0.1 10.0.0.2 \n".repeat(MEGABYTE / 18));
        refused(format!("10.0.0.1 {}", "\t".repeat(MEGABYTE)).as_bytes());
        refused(
            format!(
                "10.0.0.1 10.0.0.2 \n\tesp mode=transport spi=1(0x1) reqid=0(0x0)\n\tE: aes-cbc  {}\n",
                "00".repeat(MEGABYTE / 2)
            )
            .as_bytes(),
        );
    }

    #[test]
    fn a_hundred_thousand_statements_are_no_problem() {
        let text = "spdadd 10.0.0.1 10.0.0.2 any -P out ipsec esp/transport//require;\n".repeat(100_000);
        let script = setkey::parser::parse("many.setkey", text.as_bytes());
        assert_eq!((script.statements.len(), script.diagnostics.len()), (100_000, 0));

        let text = "10.0.0.1[any] 10.0.0.2[any] 255\n\tout prio def ipsec\n\tesp/transport//require\n\trefcnt=2\n";
        let script = setkey::parser::parse("many.dump", text.repeat(100_000).as_bytes());
        assert_eq!((script.statements.len(), script.diagnostics.len()), (100_000, 0));
    }
}
