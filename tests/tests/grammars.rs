//! The three grammars before arbitrary octets, and before the files of `tests/config` with something changed: the entries
//! of the fuzz targets, a few thousand cases with every test run, and those that have found something.

mod change;
#[path = "../../fuzz/src/grammars.rs"]
mod grammars;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use change::{Change, changes};
use proptest::prelude::*;
use proptest::sample::select;

/// The files of `tests/config` that end so.
fn files(ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let folders = ["seeds", "valid", "invalid"].map(|name| folder.join(name));
    let mut found: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("the folder is part of the repository"))
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {ending}");
    found.iter().map(|path| fs::read(path).expect("readable")).collect()
}

static CONFS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| files(".conf"));
static SCRIPTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| files(".setkey"));
const KEYS: &[u8] =
    b"# keys\n192.0.2.1 secret\n10.0.0.0/8\t0x00ff00\na.example another secret\r\n*  everybody's\n2001:db8::1 six\n";

/// A private and a public RSA key without a certificate.
static RSA_KEYS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let number = format!("c3{}0f", "5a".repeat(126));
    let private = format!(": RSA {{\n\tModulus: 0x{number}\n\tPublicExponent: 0x03 PrivateExponent: 0x{number}\n }}\n");
    let public = format!("# peers\n192.0.2.1 : PUB 0x0103{number}\n10.0.0.0/8 any: PUB 0x0103{number} # {number}\n");
    [private.into_bytes(), public.into_bytes()]
});

/// Pieces that files are made of.
static PIECES: [&str; 16] = [
    ";",
    "{",
    "}",
    "\"",
    "remote anonymous {",
    "include \"x\";",
    "sainfo anonymous",
    "lifetime time 1 hour;",
    "18446744073709551616",
    "0x",
    "::/0[any]",
    "spdadd",
    "-P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;",
    "\u{feff}",
    "\u{ff}\r",
    "add 192.0.2.1 192.0.2.2 esp 0x1000 -E aes-cbc 0x",
];

fn changed(text: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut octets = text.to_vec();
    changes.iter().for_each(|change| change.apply(&mut octets));
    octets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn racoon_conf(text in select(&**CONFS), changes in changes(&PIECES)) {
        grammars::racoon_conf(&changed(&text, &changes));
    }

    #[test]
    fn setkey_script(text in select(&**SCRIPTS), changes in changes(&PIECES)) {
        grammars::setkey_script(&changed(&text, &changes));
    }

    #[test]
    fn psk_file(changes in changes(&PIECES)) {
        grammars::psk_file(&changed(KEYS, &changes));
    }

    #[test]
    fn rsa_keys(text in select(RSA_KEYS.as_slice()), changes in changes(&PIECES)) {
        grammars::rsa_keys(&changed(&text, &changes));
    }

    #[test]
    fn arbitrary_octets(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        grammars::racoon_conf(&octets);
        grammars::setkey_script(&octets);
        grammars::psk_file(&octets);
        grammars::rsa_keys(&octets);
    }
}

#[test]
fn the_files_themselves() {
    CONFS.iter().for_each(|text| grammars::racoon_conf(text));
    SCRIPTS.iter().for_each(|text| grammars::setkey_script(text));
    grammars::psk_file(KEYS);
    RSA_KEYS.iter().for_each(|text| grammars::rsa_keys(text));
}
