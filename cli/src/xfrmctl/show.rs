//! Listings for people. Scripts take `--json`.

use std::io::IsTerminal;
use std::time::Duration;

use comfy_table::{Cell, Color, Table, presets};

use crate::check::run::Checked;
use crate::civil;
use crate::report::{PeerReport, PolicyReport, RevocationReport, RevokedReport, SaReport, StatusReport};

/// Are colours wanted?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Yes.
    Coloured,
    /// No.
    Plain,
}

impl Palette {
    /// On a terminal, unless NO_COLOR says otherwise (no-color.org: set and not empty).
    pub fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if std::io::stdout().is_terminal() && !refused { Self::Coloured } else { Self::Plain }
    }

    fn cell(self, text: impl Into<String>, colour: Color) -> Cell {
        let cell = Cell::new(text.into());
        if self == Self::Coloured { cell.fg(colour) } else { cell }
    }
}

fn table(palette: Palette, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if palette == Palette::Plain {
        table.force_no_tty();
    }
    table.set_header(header.iter().copied());
    table
}

fn finished(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `1h 02m`, two units at most.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn span_or_never(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), span)
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

/// `xfrmctl sa`.
pub fn sas(sas: &[SaReport], palette: Palette) -> String {
    if sas.is_empty() {
        return "no SAs\n".to_owned();
    }
    let mut table = table(
        palette,
        &["DIR", "SRC", "DST", "SPI", "MODE", "ALGORITHMS", "AGE", "REKEY IN", "BYTES", "PACKETS", "PEER", "SERIAL"],
    );
    for sa in sas {
        let colour = match sa.direction.as_str() {
            "in" => Color::Green,
            "out" => Color::Cyan,
            _ => Color::Yellow,
        };
        table.add_row([
            palette.cell(&sa.direction, colour),
            Cell::new(&sa.src),
            Cell::new(&sa.dst),
            Cell::new(&sa.spi),
            Cell::new(format!("{}/{}", sa.proto, sa.mode)),
            Cell::new(algorithms(sa)),
            Cell::new(span(sa.age_s)),
            Cell::new(span_or_never(sa.soft_in_s)),
            Cell::new(sa.bytes),
            Cell::new(sa.packets),
            Cell::new(or_dash(sa.peer.as_ref())),
            Cell::new(or_dash(sa.cert_serial.as_ref())),
        ]);
    }
    finished(&table)
}

fn algorithms(sa: &SaReport) -> String {
    let bits = sa.icv_bits.map(|bits| format!("/{bits}")).unwrap_or_default();
    match (&sa.encryption, &sa.authentication) {
        (Some(encryption), Some(authentication)) => format!("{encryption} {authentication}{bits}"),
        (Some(encryption), None) => format!("{encryption}{bits}"),
        (None, Some(authentication)) => format!("{authentication}{bits}"),
        (None, None) => "-".to_owned(),
    }
}

/// `xfrmctl policy`.
pub fn policies(policies: &[PolicyReport], palette: Palette) -> String {
    if policies.is_empty() {
        return "no policies\n".to_owned();
    }
    let mut table = table(palette, &["DIR", "SRC", "DST", "PROTO", "ACTION", "TEMPLATES", "PRIORITY", "PEERS"]);
    for policy in policies {
        let colour = match policy.action.as_str() {
            "ipsec" => Color::Green,
            "discard" => Color::Red,
            _ => Color::Yellow,
        };
        let templates: Vec<String> = policy
            .templates
            .iter()
            .map(|template| {
                let ends = match (&template.src, &template.dst) {
                    (Some(src), Some(dst)) => format!("{src}-{dst}"),
                    _ => String::new(),
                };
                format!("{}/{}/{ends}/{}", template.proto, template.mode, template.level)
            })
            .collect();
        table.add_row([
            Cell::new(&policy.direction),
            Cell::new(end(&policy.src, policy.src_port)),
            Cell::new(end(&policy.dst, policy.dst_port)),
            Cell::new(policy.proto.map_or_else(|| "any".to_owned(), |number| number.to_string())),
            palette.cell(&policy.action, colour),
            Cell::new(templates.join(" ")),
            Cell::new(policy.priority),
            Cell::new(policy.peers.join(" ")),
        ]);
    }
    finished(&table)
}

fn end(network: &str, port: Option<u16>) -> String {
    port.map_or_else(|| network.to_owned(), |port| format!("{network}[{port}]"))
}

/// `xfrmctl peers`.
pub fn peers(peers: &[PeerReport], palette: Palette) -> String {
    if peers.is_empty() {
        return "no peers\n".to_owned();
    }
    let header = ["ADDRESS", "STATE", "SINCE", "REKEY IN", "CHILDREN", "SERIAL", "IDENTITY", "LAST ERROR"];
    let mut table = table(palette, &header);
    for peer in peers {
        let colour = match peer.state.as_str() {
            "established" => Color::Green,
            "negotiating" => Color::Yellow,
            _ => Color::Red,
        };
        let error = peer.last_error.as_ref();
        table.add_row([
            Cell::new(&peer.address),
            palette.cell(&peer.state, colour),
            Cell::new(peer.since.map_or_else(|| "-".to_owned(), |since| civil::local(since).to_string())),
            Cell::new(span_or_never(peer.phase1_rekey_in_s)),
            Cell::new(peer.children.len()),
            Cell::new(or_dash(peer.cert_serial.as_ref())),
            Cell::new(or_dash(peer.identity.as_ref())),
            Cell::new(
                error.map_or_else(|| "-".to_owned(), |error| format!("{}: {}", civil::local(error.at), error.reason)),
            ),
        ]);
    }
    finished(&table)
}

/// `xfrmctl status`.
pub fn status(status: &StatusReport) -> String {
    let counters = &status.counters;
    let lines = [
        ("version", status.version.clone()),
        ("process", format!("{}, up {}", status.pid, span(status.uptime_s))),
        ("configuration", format!("{}, read {}", status.config, civil::local(status.config_loaded_at))),
        ("listening", status.listening.join(" ")),
        ("peers", format!("{} established", status.peers_established)),
        ("SAs", format!("{} made by this daemon", status.sas)),
        ("policies", format!("{} ask for SAs", status.policies)),
        ("revoked", format!("{} certificates", status.revoked)),
        (
            "datagrams",
            format!("{} in, {} out, {} lost", counters.datagrams_in, counters.datagrams_out, counters.send_failures),
        ),
        (
            "kernel",
            format!(
                "{} acquires, {} refusals, {} resyncs",
                counters.acquires, counters.kernel_refusals, counters.resyncs
            ),
        ),
    ];
    let mut out: String = lines.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect();
    for crl in &status.crls {
        let since = civil::local(crl.this_update);
        let line = format!("{}: {} certificates, of {since}, from {}", crl.issuer, crl.entries, crl.source);
        out.push_str(&format!("{:<14}{line}\n", "CRL"));
    }
    for source in status.sources.iter().filter(|source| source.kind != "CRL") {
        let state = if source.problem.is_some() { "fails" } else { "works" };
        let line = format!("{} {state}, {} notices", source.name, source.notices);
        out.push_str(&format!("{:<14}{line}\n", source.kind));
    }
    for warning in &status.warnings {
        out.push_str(&format!("{:<14}{warning}\n", "WARNING"));
    }
    out
}

/// `xfrmctl revoke`.
pub fn revocation(report: &RevocationReport) -> String {
    let mut text = String::new();
    for sa in &report.sas {
        text.push_str(&format!("deleted {} SA {} {} -> {} of {}\n", sa.proto, sa.spi, sa.src, sa.dst, sa.peer));
    }
    text.push_str(&report.summary());
    text.push('\n');
    text
}

/// `xfrmctl check`: the findings, then a grade for each block.
pub fn checked(checked: &Checked, palette: Palette) -> String {
    let mut out: String = checked.findings.iter().map(|finding| finding.rendered.as_str()).collect();
    let mut table = table(palette, &["BLOCK", "GRADE", "BECAUSE OF"]);
    for grade in &checked.grades {
        let colour = match grade.grade {
            "strong" => Color::Green,
            "weak" => Color::Yellow,
            _ => Color::Red,
        };
        let reasons = if grade.reasons.is_empty() { "-".to_owned() } else { grade.reasons.join(", ") };
        table.add_row([Cell::new(&grade.block), palette.cell(grade.grade, colour), Cell::new(reasons)]);
    }
    if !checked.grades.is_empty() {
        out.push_str(&finished(&table));
    }
    out
}

/// `xfrmctl revoked`.
pub fn revoked(entries: &[RevokedReport], palette: Palette) -> String {
    if entries.is_empty() {
        return "no certificate is revoked\n".to_owned();
    }
    let mut table = table(palette, &["SERIAL", "SINCE", "BY", "SAs CUT", "ISSUER", "ISSUER KEY"]);
    for entry in entries {
        table.add_row([
            Cell::new(&entry.serial),
            Cell::new(civil::local(entry.since)),
            Cell::new(&entry.source),
            Cell::new(or_dash(entry.sas_deleted.map(|count| count.to_string()).as_ref())),
            Cell::new(or_dash(entry.issuer.as_ref())),
            Cell::new(&entry.issuer_key),
        ]);
    }
    finished(&table)
}

/// How long to wait for an answer that needs no negotiation.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::DeletedSa;

    #[test]
    fn spans_have_two_units_at_most() {
        assert_eq!([span(5), span(65), span(3720), span(90_000)], ["5s", "1m 05s", "1h 02m", "1d 01h"]);
    }

    #[test]
    fn revocation_has_a_line_for_each_sa_and_a_closing_one() {
        let report = RevocationReport {
            serial: "3".to_owned(),
            issuer: "/CN=ca".to_owned(),
            issuer_key: None,
            already_revoked: false,
            sas: vec![DeletedSa {
                src: "10.0.0.1".to_owned(),
                dst: "10.0.0.3".to_owned(),
                proto: "esp".to_owned(),
                spi: "0x0123abcd".to_owned(),
                direction: "out".to_owned(),
                peer: "carol".to_owned(),
            }],
            sas_deleted: 1,
            elapsed_ms: 0.51,
            daemon: true,
        };
        assert_eq!(
            revocation(&report),
            "deleted esp SA 0x0123abcd 10.0.0.1 -> 10.0.0.3 of carol\n\
             revoked serial 3 of /CN=ca: 1 SAs deleted in 0.5 ms\n"
        );
    }

    #[test]
    fn plain_tables_carry_no_escape() {
        let entry = RevokedReport {
            serial: "3".to_owned(),
            issuer_key: "*".to_owned(),
            issuer: None,
            since: 0,
            source: "xfrmctl".to_owned(),
            sas_deleted: Some(2),
        };
        let text = revoked(&[entry], Palette::Plain);
        assert!(!text.contains('\u{1b}'));
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with(" SERIAL") || text.starts_with("SERIAL"), "{text:?}");
    }
}
