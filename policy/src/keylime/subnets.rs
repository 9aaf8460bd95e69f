//! The file: one word or one network a line, `#` to the end of a line is a comment.
//!
//! ```text
//! ipsec
//! 192.168.0.0/24
//! exclude
//! 192.168.0.254      # the gateway
//! ```

use ipnet::IpNet;

use crate::diagnostic::{Diagnostic, Diagnostics, render_all};
use crate::model::addr::host_net;
use crate::span::{FileId, Sources, Span};

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnets {
    /// Networks that are talked to in ESP only, in file order.
    pub ipsec: Vec<IpNet>,
    /// Networks left out of them.
    pub exclude: Vec<IpNet>,
}

/// The file as it was read.
#[derive(Clone, Debug)]
pub struct SubnetsFile {
    /// What it says; complete only if there is no error.
    pub subnets: Subnets,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// The text they point into.
    pub sources: Sources,
}

impl SubnetsFile {
    /// All findings, as they are printed.
    pub fn render(&self) -> String {
        render_all(&self.diagnostics, &self.sources)
    }

    /// Can it be used?
    pub fn is_good(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

#[derive(Clone, Copy)]
enum Section {
    Ipsec,
    Exclude,
}

/// Reads `text`, which came from `file_name`.
pub fn parse(file_name: &str, text: &[u8]) -> SubnetsFile {
    let mut sources = Sources::default();
    let file = sources.add(file_name, text);
    let (subnets, findings) = (Subnets::default(), Diagnostics::default());
    let mut reader = Reader { file, section: None, subnets, places: [Vec::new(), Vec::new()], findings };
    let mut start = 0;
    for line in sources.text(file).split_inclusive('\n') {
        reader.line(start, line);
        start += line.len();
    }
    reader.finish();
    let Reader { subnets, findings, .. } = reader;
    SubnetsFile { subnets, diagnostics: findings.into_sorted(), sources }
}

struct Reader {
    file: FileId,
    section: Option<Section>,
    subnets: Subnets,
    /// Where each network of `subnets` stands.
    places: [Vec<Span>; 2],
    findings: Diagnostics,
}

impl Reader {
    fn line(&mut self, start: usize, line: &str) {
        let code = line.split('#').next().unwrap_or_default().trim_start_matches('\u{feff}');
        let word = code.trim();
        if word.is_empty() {
            return;
        }
        // Trimming and the byte order mark only take from the ends: the word stands in the line as it is.
        let at = start + line.find(word).unwrap_or_default();
        let span = Span::new(self.file, at..at + word.len());
        match word {
            "ipsec" => self.section = Some(Section::Ipsec),
            "exclude" => self.section = Some(Section::Exclude),
            _ => self.network(word, span),
        }
    }

    fn network(&mut self, word: &str, span: Span) {
        let parsed = word.parse::<IpNet>().ok().or_else(|| word.parse().ok().map(host_net));
        let Some(network) = parsed else {
            return self.findings.push(
                Diagnostic::error(span, format!("`{word}` is neither a section nor a network"))
                    .expected("`ipsec`, `exclude`, an address, or a network such as 192.168.0.0/24")
                    .suggest(word, ["ipsec", "exclude"]),
            );
        };
        if network != network.trunc() {
            self.findings.push(
                Diagnostic::warning(span, format!("{network} has bits behind its prefix"))
                    .hint(format!("{} is meant", network.trunc())),
            );
        }
        let network = network.trunc();
        let [at_ipsec, at_exclude] = &mut self.places;
        let (list, places) = match self.section {
            Some(Section::Ipsec) => (&mut self.subnets.ipsec, at_ipsec),
            Some(Section::Exclude) => (&mut self.subnets.exclude, at_exclude),
            None => {
                return self.findings.push(
                    Diagnostic::error(span, "a network in front of the first section").hint("begin with `ipsec`"),
                );
            }
        };
        if list.contains(&network) {
            return self.findings.warning(span, format!("{network} is given twice in this section"));
        }
        list.push(network);
        places.push(span);
    }

    fn finish(&mut self) {
        if self.subnets.ipsec.is_empty() && self.findings.errors() == 0 {
            let start = Span::new(self.file, 0..0);
            self.findings.push(Diagnostic::error(start, "no `ipsec` network: nothing would be protected"));
        }
        let Subnets { ipsec, exclude } = &self.subnets;
        let [at_ipsec, at_exclude] = &self.places;
        for (network, span) in exclude.iter().zip(at_exclude) {
            if !ipsec.iter().any(|ipsec| overlap(ipsec, network)) {
                self.findings.warning(*span, format!("{network} lies in no `ipsec` network: nothing is excluded"));
            }
        }
        for (network, span) in ipsec.iter().zip(at_ipsec) {
            if let Some(whole) = exclude.iter().find(|exclude| exclude.contains(network)) {
                self.findings
                    .warning(*span, format!("{network} is excluded whole by {whole}: nothing of it is protected"));
            }
        }
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_comments_hosts_and_ipv6_are_read() {
        let file = parse("s", b"# ours\n\nipsec\n192.168.0.0/24\r\n 2001:db8::/64 # six\nexclude\n\n192.168.0.254\n");
        assert_eq!(file.render(), "");
        let networks = |list: &[IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(networks(&file.subnets.ipsec), ["192.168.0.0/24", "2001:db8::/64"]);
        assert_eq!(networks(&file.subnets.exclude), ["192.168.0.254/32"]);
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_place() {
        let file = parse("s", b"10.0.0.0/8\nipsec\nexclde\n10.0.0.1/8\n10.0.0.0/33\n");
        assert!(!file.is_good());
        let text = file.render();
        for part in [
            "s:1:1: error: a network in front of the first section",
            "s:3:1: error: `exclde` is neither a section nor a network",
            "did you mean `exclude`?",
            "s:4:1: warning: 10.0.0.1/8 has bits behind its prefix",
            "s:5:1: error: `10.0.0.0/33`",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_file_that_protects_nothing_is_an_error_and_a_useless_exclude_a_warning() {
        assert!(parse("s", b"exclude\n10.0.0.1\n").render().contains("no `ipsec` network"));
        let text = parse("s", b"ipsec\n10.0.0.0/8\nexclude\n11.0.0.1\n").render();
        assert!(text.contains("s:4:1: warning: 11.0.0.1/32 lies in no `ipsec` network"), "{text}");
        let text = parse("s", b"exclude\n10.0.0.0/8\nipsec\n10.1.0.0/16\n192.168.0.0/24\n").render();
        assert!(text.contains("s:4:1: warning: 10.1.0.0/16 is excluded whole by 10.0.0.0/8"), "{text}");
        assert_eq!(text.matches("warning").count(), 1, "the order of the sections does not matter: {text}");
        let overlapping = parse("s", b"ipsec\n10.0.0.0/8\n10.1.0.0/16\nfd00::/8\nexclude\n10.1.0.1\nfd00::1\n");
        assert_eq!(overlapping.render(), "");
    }
}
