//! The original's tables, column by column: scripts cut them up.

use std::fmt::Write as _;

use super::request::{EstablishedReport, EventReport, Exchange, IsakmpReport, ScheduledReport};
use crate::civil::Civil;

/// An ISAKMP SA that is up, by racoon's numbers of phase 1 states.
const ESTABLISHED: u8 = 9;
/// One that is negotiated: racoon had eight numbers, here they are one.
const UNDER_WAY: u8 = 1;

/// `show-sa isakmp`: one line each, more columns with each `-l`. Each line ends with a blank, as racoon's.
pub fn isakmp(sas: &[IsakmpReport], long: u8, local: fn(u64) -> Civil) -> String {
    let mut out = match long {
        0 => format!("{:<22} {:<33} {}\n", "Destination", "Cookies", "Created"),
        1 => format!("{:<22} {:<33} {}\n", "Destination", "Cookies", "ST S  V E Created             Phase2"),
        _ => format!(
            "{:<45} {:<45} {:<33} {}\n",
            "Source", "Destination", "Cookies", "ST S  V E Created             Phase2"
        ),
    };
    for sa in sas {
        let destination = format!("{}.{}", sa.peer, sa.peer_port);
        let created = sa.established.map_or_else(|| " ".repeat(19), |unix| local(unix).to_string());
        let state = if sa.established.is_some() { ESTABLISHED } else { UNDER_WAY };
        let side = if sa.initiator { 'I' } else { 'R' };
        let exchange = match sa.exchange {
            Exchange::Main => 'M',
            Exchange::Aggressive => 'A',
        };
        // Writing to a String cannot fail.
        let _ = match long {
            0 => writeln!(out, "{destination:<22} {} {created} ", sa.cookies),
            1 => writeln!(
                out,
                "{destination:<22} {} {state:2} {side} 10 {exchange} {created} {:6} ",
                sa.cookies, sa.children
            ),
            _ => writeln!(
                out,
                "{:<45} {destination:<45} {} {state:2} {side} 10 {exchange} {created} {:6} ",
                format!("{}.{}", sa.local, sa.local_port),
                sa.cookies,
                sa.children
            ),
        };
    }
    out
}

/// `show-schedule`: number, seconds from the time it was made to the time it fires, that time, the former one. With `-l`,
/// also what it is for.
pub fn schedule(timers: &[ScheduledReport], long: u8, local: fn(u64) -> Civil) -> String {
    let mut out = String::from("index    tick     xtime    created\n");
    for ScheduledReport { number, what, created, fires } in timers {
        let tick = fires.saturating_sub(*created);
        let _ = write!(out, "{number:<8} {tick:<8} {fires:<8} {}", local(*created));
        let _ = if long > 0 { writeln!(out, " {what}") } else { writeln!(out) };
    }
    out
}

/// What `-w` says once phase 1 is up.
pub fn established(report: &EstablishedReport) -> String {
    let mut out = match report.address {
        Some(address) => format!("Bound to address {address}\n"),
        None => "VPN connexion established\n".to_owned(),
    };
    if let Some(banner) = &report.banner {
        let line = "=".repeat(80);
        let _ = writeln!(out, "{line}\n{banner}\n{line}");
    }
    out
}

/// A line of `show-event`: an end that is not known is `anonymous`.
pub fn event(event: &EventReport) -> String {
    let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "anonymous".to_owned());
    format!("{} : {} -> {}", event.what, end(&event.local), end(&event.peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(_: u64) -> Civil {
        Civil { year: 2026, month: 11, day: 24, hour: 1, minute: 2, second: 3 }
    }

    fn sa(established: Option<u64>) -> IsakmpReport {
        IsakmpReport {
            local: "10.0.0.1".parse().unwrap(),
            local_port: 500,
            peer: "10.0.0.2".parse().unwrap(),
            peer_port: 500,
            cookies: "0123456789abcdef:fedcba9876543210".to_owned(),
            initiator: true,
            exchange: Exchange::Main,
            established,
            children: 2,
        }
    }

    #[test]
    fn columns_stand_where_racoon_had_them() {
        let text = isakmp(&[sa(Some(1)), sa(None)], 0, fixed);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Destination            Cookies                           Created");
        assert_eq!(lines[1], "10.0.0.2.500           0123456789abcdef:fedcba9876543210 2026-11-24 01:02:03 ");
        assert_eq!(lines[2].len(), lines[1].len());
        let text = isakmp(&[sa(Some(1))], 1, fixed);
        assert_eq!(
            text.lines().next().unwrap(),
            "Destination            Cookies                           ST S  V E Created             Phase2"
        );
        assert!(text.ends_with("  9 I 10 M 2026-11-24 01:02:03      2 \n"), "{text}");
        let aggressive = IsakmpReport { exchange: Exchange::Aggressive, ..sa(None) };
        let text = isakmp(&[aggressive], 1, fixed);
        assert!(text.ends_with(&format!("  1 I 10 A {:19}      2 \n", "")), "{text}");
        assert!(isakmp(&[sa(Some(1))], 2, fixed).starts_with("Source "));
    }

    #[test]
    fn timers_stand_in_racoons_columns() {
        let what = "RekeyPhase1".to_owned();
        let timers = [ScheduledReport { number: 17, what, created: 1_700_000_000, fires: 1_700_000_060 }];
        let line = "17       60       1700000060 2026-11-24 01:02:03";
        assert_eq!(schedule(&timers, 0, fixed), format!("index    tick     xtime    created\n{line}\n"));
        assert!(schedule(&timers, 1, fixed).ends_with(&format!("\n{line} RekeyPhase1\n")));
    }

    #[test]
    fn what_is_up_is_said_in_racoons_words() {
        let mut report = EstablishedReport::default();
        assert_eq!(established(&report), "VPN connexion established\n");
        report.address = Some([10, 3, 0, 7].into());
        report.banner = Some("hello".to_owned());
        let text = established(&report);
        assert!(text.starts_with("Bound to address 10.3.0.7\n====") && text.contains("=\nhello\n="), "{text}");
    }

    #[test]
    fn an_end_that_nobody_knows_is_anonymous() {
        let mut report = EventReport { what: "Racoon terminated".to_owned(), local: None, peer: None };
        assert_eq!(event(&report), "Racoon terminated : anonymous -> anonymous");
        report.peer = Some("10.0.0.2[500]".to_owned());
        assert_eq!(event(&report), "Racoon terminated : anonymous -> 10.0.0.2[500]");
    }
}
