//! The setkey script and the racoon.conf that a subnets file asks for.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::subnets::Subnets;

/// A setkey script: `discard` nothing, `none` for what is excluded, ESP in transport mode for the rest.
///
/// Excludes come first: among policies of one priority Linux takes the one that was there first. They hold for what an
/// excluded network sends as well as for what it is sent, so that one file serves every host, an excluded one and a
/// router between others among them.
pub fn setkey_script(subnets: &Subnets) -> String {
    let mut out = String::from("#!/usr/sbin/setkey -f\nflush;\nspdflush;\n");
    let groups = [
        ("left out; in front of what they are left out of", &subnets.exclude, "none"),
        ("ESP or nothing", &subnets.ipsec, "ipsec esp/transport//require"),
    ];
    for (about, networks, policy) in groups.into_iter().filter(|(_, networks, _)| !networks.is_empty()) {
        let _ = writeln!(out, "\n# {about}");
        for network in networks {
            let any = everything_like(network);
            let _ = writeln!(out, "spdadd {any} {network} any -P out {policy};");
            let _ = writeln!(out, "spdadd {network} {any} any -P in {policy};");
            if policy == "none" {
                let _ = writeln!(out, "spdadd {network} {any} any -P out {policy};");
                let _ = writeln!(out, "spdadd {any} {network} any -P in {policy};");
            }
        }
    }
    out
}

/// All addresses of a network's family.
fn everything_like(network: &IpNet) -> &'static str {
    match network {
        IpNet::V4(_) => "0.0.0.0/0",
        IpNet::V6(_) => "::/0",
    }
}

/// The racoon.conf that goes with such a script: keylime's certificates, any peer that shows one of the same CA.
pub fn racoon_conf() -> &'static str {
    r#"log notify;
path certificate "/var/lib/keylime/secure/unzipped";

remote anonymous {
	exchange_mode main;
	my_identifier asn1dn;
	peers_identifier asn1dn;
	verify_cert on;
	# keylime's CRLs are stale from the moment they are made; what they list is refused all the same.
	crl lax;
	ca_type x509 "cacert.crt";
	certificate_type x509 "mycert.crt" "mykey.pem";
	proposal {
		encryption_algorithm aes 256;
		hash_algorithm sha256;
		authentication_method rsasig;
		dh_group 14;
	}
}

sainfo anonymous {
	pfs_group 14;
	lifetime time 12 hour;
	encryption_algorithm aes 256;
	authentication_algorithm hmac_sha256;
	compression_algorithm deflate;
}
"#
}

#[cfg(test)]
mod tests {
    use super::super::subnets;
    use super::*;
    use crate::racoon;
    use crate::racoon::include::{Loader, NoFiles};
    use crate::setkey::parser;

    fn script(text: &str) -> String {
        setkey_script(&subnets::parse("s", text.as_bytes()).subnets)
    }

    #[test]
    fn excludes_stand_in_front_and_families_are_not_mixed() {
        let made = script("ipsec\n10.0.0.0/8\nfd00::/8\nexclude\n10.0.0.1\n");
        let lines: Vec<&str> = made.lines().filter(|line| line.starts_with("spdadd")).collect();
        assert_eq!(
            lines,
            [
                "spdadd 0.0.0.0/0 10.0.0.1/32 any -P out none;",
                "spdadd 10.0.0.1/32 0.0.0.0/0 any -P in none;",
                "spdadd 10.0.0.1/32 0.0.0.0/0 any -P out none;",
                "spdadd 0.0.0.0/0 10.0.0.1/32 any -P in none;",
                "spdadd 0.0.0.0/0 10.0.0.0/8 any -P out ipsec esp/transport//require;",
                "spdadd 10.0.0.0/8 0.0.0.0/0 any -P in ipsec esp/transport//require;",
                "spdadd ::/0 fd00::/8 any -P out ipsec esp/transport//require;",
                "spdadd fd00::/8 ::/0 any -P in ipsec esp/transport//require;",
            ]
        );
        let read = parser::parse("made", made.as_bytes());
        assert_eq!(read.render(), "");
        assert_eq!(read.statements.len(), 2 + lines.len());
    }

    #[test]
    fn the_configuration_loads_without_an_error() {
        let mut nothing = NoFiles;
        let loader: &mut dyn Loader = &mut nothing;
        let loaded = racoon::load("made", racoon_conf().as_bytes(), loader);
        assert!(!loaded.render().contains("error:"), "{}", loaded.render());
    }
}
