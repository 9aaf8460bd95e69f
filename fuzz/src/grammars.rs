//! What must hold of the three grammars for any octets: reading returns, what it finds is rendered with a place, and a
//! racoon.conf that is accepted is accepted again as it is printed, and means the same.
//!
//! Used by the fuzz targets beside, and by the property tests of the workspace (`tests/tests/grammars.rs`).

use policy::diagnostic::Diagnostic;
use policy::plain_rsa::{self, Purpose};
use policy::racoon::include::Loader;
use policy::racoon::print::Printed;
use policy::span::Sources;
use policy::{psk, racoon, setkey};

/// Longer than any rendering may be: a few hundred findings of a few cut lines each.
const LONGEST_RENDERING: usize = 400_000;

/// The rest of the input, one file after the other, whatever is asked for.
struct Rest<'a>(Vec<&'a [u8]>, usize);

impl Loader for Rest<'_> {
    fn load(&mut self, pattern: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let Some(text) = self.0.get(self.1 % self.0.len().max(1)) else { return Err("no such file".to_owned()) };
        self.1 += 1;
        Ok(vec![(format!("{pattern}.{}", self.1 % 3), text.to_vec())])
    }
}

/// racoon.conf: the text up to the first octet 0xff, the files it includes behind it.
pub fn racoon_conf(octets: &[u8]) {
    let mut texts = octets.split(|octet| *octet == 0xff);
    let main = texts.next().unwrap_or_default();
    let loaded = racoon::load("racoon.conf", main, &mut Rest(texts.collect(), 0));
    explained(&loaded.diagnostics, &loaded.sources, &loaded.render());
    assert_eq!(loaded.config.is_none(), loaded.diagnostics.iter().any(Diagnostic::is_error));
    let Some(config) = loaded.config.map(|config| config.without_secrets()) else { return };
    let printed = Printed(&config).to_string();
    let again = racoon::load("printed.conf", printed.as_bytes(), &mut racoon::include::NoFiles);
    assert_eq!(again.config.as_ref(), Some(&config), "{printed}\n{}", again.render());
}

/// A setkey script.
pub fn setkey_script(octets: &[u8]) {
    let script = setkey::parser::parse("setkey.conf", octets);
    explained(&script.diagnostics, &script.sources, &script.render());
}

/// psk.txt.
pub fn psk_file(octets: &[u8]) {
    let file = psk::parse("psk.txt", octets);
    explained(&file.diagnostics, &file.sources, &file.render());
    for address in ["192.0.2.1", "2001:db8::1"] {
        file.table.for_address(address.parse().expect("an address"));
    }
    file.table.for_name("a.example");
}

/// A file of RSA keys without certificates, read for either purpose: what is read is within the limits, and no number of
/// it is in what is printed.
pub fn rsa_keys(octets: &[u8]) {
    for purpose in [Purpose::Private, Purpose::Public] {
        let file = plain_rsa::parse("keys", octets, purpose);
        let rendered = file.render();
        explained(&file.diagnostics, &file.sources, &rendered);
        assert!(file.is_refused() || !file.entries.is_empty());
        for entry in &file.entries {
            assert!((128..=1024).contains(&entry.public.modulus.len()));
            assert_eq!(entry.secrets.is_some(), purpose == Purpose::Private);
        }
        for run in
            String::from_utf8_lossy(octets).split(|ch: char| !ch.is_ascii_hexdigit()).filter(|run| run.len() > 24)
        {
            assert!(!rendered.contains(run), "{run} is in\n{rendered}");
        }
    }
}

/// Every finding has a place in its text and is part of what is printed.
fn explained(diagnostics: &[Diagnostic], sources: &Sources, rendered: &str) {
    assert!(rendered.len() <= LONGEST_RENDERING, "{} octets of findings", rendered.len());
    for finding in diagnostics {
        let place = sources.locate(finding.span);
        assert!(place.line >= 1 && place.column >= 1);
        let whole = finding.render(sources);
        assert!(rendered.contains(&whole), "{whole}");
        assert!(!finding.message.contains('\n') || finding.message.chars().count() <= 400, "{whole}");
        assert!(!whole.chars().any(|ch| ch.is_control() && !"\n\t".contains(ch)), "control characters: {whole:?}");
    }
}
