//! What `xfrmctl check` says of a configuration's files: each finding at the line that names the file, and once.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use tempfile::TempDir;

use super::*;
use crate::revocation::crl::tests::{Ca, Shape};
use crate::revocation::deny_list::DenyList;

const DAY: i64 = 24 * 60 * 60;

const CERTIFICATES: &str = r#"path certificate "FOLDER";
remote anonymous {
	exchange_mode main;
	certificate_type x509 "host.crt" "host.key";
	ca_type x509 "ca.crt";
	my_identifier asn1dn;
	proposal { encryption_algorithm aes 256; hash_algorithm sha256; authentication_method rsasig; dh_group 14; }
}
remote 192.0.2.1 inherit anonymous { passive on; }
sainfo anonymous { encryption_algorithm aes 256; authentication_algorithm hmac_sha256; compression_algorithm deflate; }
"#;

const KEYS: &str = r#"path pre_shared_key "FOLDER/psk.txt";
remote 192.0.2.1 {
	exchange_mode main;
	proposal { encryption_algorithm aes 256; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14; }
}
sainfo anonymous { encryption_algorithm aes 256; authentication_algorithm hmac_sha256; compression_algorithm deflate; }
"#;

struct Fixture {
    folder: TempDir,
    ca: Ca,
    key: PKey<Private>,
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

impl Fixture {
    /// A configuration with everything that it names, all good.
    fn new(text: &str) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let fixture = Self { folder: tempfile::tempdir().unwrap(), ca: Ca::new("CA"), key };
        let folder = fixture.folder.path().to_string_lossy().into_owned();
        fixture.write("racoon.conf", text.replace("FOLDER", &folder).as_bytes());
        fixture.write("ca.crt", &fixture.ca.certificate.to_pem().unwrap());
        fixture.write_certificate(-DAY, 90 * DAY);
        fixture.write("host.key", &fixture.key.private_key_to_pem_pkcs8().unwrap());
        fixture.write_crl(DAY);
        fixture
    }

    fn write(&self, name: &str, octets: &[u8]) {
        let path = self.folder.path().join(name);
        fs::write(&path, octets).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    /// Valid from then to then, in seconds from now.
    fn write_certificate(&self, from: i64, to: i64) {
        let mut names = X509NameBuilder::new().unwrap();
        names.append_entry_by_text("CN", "host").unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&names.build()).unwrap();
        builder.set_issuer_name(self.ca.certificate.subject_name()).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(now() + from).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(now() + to).unwrap()).unwrap();
        builder.set_pubkey(&self.key).unwrap();
        builder.sign(&self.ca.key, MessageDigest::sha256()).unwrap();
        self.write("host.crt", &builder.build().to_pem().unwrap());
    }

    /// The CA's CRL, whose next one is due in `next` seconds.
    fn write_crl(&self, next: i64) {
        let unix = |offset: i64| u64::try_from(now() + offset).unwrap();
        let shape = Shape { this_update: unix(-9 * DAY), next_update: unix(next), entries: &[], extensions: &[] };
        let der = self.ca.crl(&shape);
        self.write(&format!("{:08x}.r0", self.ca.certificate.subject_name_hash()), &der);
    }

    fn checked(&self) -> Checked {
        let list = DenyList::open(self.folder.path().join("revoked")).unwrap();
        check(&[self.folder.path().join("racoon.conf")], false, &Arc::new(Mutex::new(list))).unwrap()
    }

    /// What was found: `LINE: level: message` each, the folder's name left out.
    fn found(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let line = |finding: &Finding| {
            let file = finding.file.replace(&folder, "");
            let place = finding.line.map_or(file.clone(), |line| format!("{file}:{line}"));
            format!("{place}: {:?}: {}", finding.level, finding.message.replace(&folder, ""))
        };
        self.checked().findings.iter().map(line).collect()
    }
}

/// All of `parts` in the only finding.
fn assert_only(found: &[String], parts: &[&str]) {
    let [only] = found else { panic!("{found:?}") };
    assert!(parts.iter().all(|part| only.contains(part)), "{only}");
}

#[test]
fn nothing_is_said_of_files_that_are_good() {
    assert_eq!(Fixture::new(CERTIFICATES).found(), Vec::<String>::new());
}

#[test]
fn a_missing_file_is_shown_where_it_is_named_and_once_for_all_heirs() {
    for (name, line) in [("host.crt", 4), ("host.key", 4), ("ca.crt", 5)] {
        let fixture = Fixture::new(CERTIFICATES);
        fs::remove_file(fixture.folder.path().join(name)).unwrap();
        assert_only(&fixture.found(), &[&format!("racoon.conf:{line}: Error: "), name, "does not exist"]);
    }
}

#[test]
fn a_key_of_another_certificate_is_shown_where_it_is_named() {
    let fixture = Fixture::new(CERTIFICATES);
    let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    fixture.write("host.key", &other.private_key_to_pem_pkcs8().unwrap());
    let found = fixture.found();
    assert_only(&found, &["racoon.conf:4: Error: private key host.key does not belong to certificate host.crt"]);
    fs::set_permissions(fixture.folder.path().join("host.key"), Permissions::from_mode(0o640)).unwrap();
    assert_only(&fixture.found(), &["racoon.conf:4: Error: ", "weak file permission 0640: chmod 600"]);
}

#[test]
fn certificates_that_end_have_ended_or_have_not_begun() {
    let fixture = Fixture::new(CERTIFICATES);
    fixture.write_certificate(-DAY, 5 * DAY);
    assert_only(&fixture.found(), &["host.crt: Warning: the certificate of ", "expires on"]);
    fixture.write_certificate(-9 * DAY, -DAY);
    assert_only(&fixture.found(), &["host.crt: Error: the certificate of ", "expired on"]);
    fixture.write_certificate(DAY, 90 * DAY);
    assert_only(&fixture.found(), &["host.crt: Error: the certificate of ", "is not valid before"]);
}

#[test]
fn crls_that_are_stale_missing_or_none() {
    let fixture = Fixture::new(CERTIFICATES);
    fixture.write_crl(-DAY);
    assert_only(&fixture.found(), &[".r0: Error: the CRL is stale since"]);
    let name = format!("{:08x}.r0", fixture.ca.certificate.subject_name_hash());
    fixture.write(&name, b"no CRL");
    assert_only(&fixture.found(), &[".r0: Error: no CRL can be read in it"]);
    fs::remove_file(fixture.folder.path().join(&name)).unwrap();
    assert_only(&fixture.found(), &["ca.crt: Warning: no CRL of ", &name]);
}

#[test]
fn a_stale_crl_is_a_warning_where_every_block_is_lax() {
    let lax = CERTIFICATES.replace("exchange_mode main;", "exchange_mode main; crl lax;");
    assert_ne!(lax, CERTIFICATES);
    let fixture = Fixture::new(&lax);
    fixture.write_crl(-DAY);
    assert_only(&fixture.found(), &[".r0: Warning: the CRL is stale since", "the rest passes"]);
}

#[test]
fn weak_keys_are_named_by_line_and_never_shown() {
    let fixture = Fixture::new(KEYS);
    fixture.write("psk.txt", b"192.0.2.1 hunter2\n192.0.2.2 0123456789abcdefXYZ-a-good-one\n");
    let checked = fixture.checked();
    let [finding] = checked.findings.as_slice() else { panic!("{:?}", checked.findings) };
    assert_eq!((finding.level, finding.line), (Level::Warning, Some(1)));
    assert!(finding.file.ends_with("psk.txt"), "{finding:?}");
    let shown = format!("{}{}", finding.rendered, serde_json::to_string(&checked).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("good-one"), "{shown}");
}

#[test]
fn json_has_the_fields_that_scripts_read() {
    let fixture = Fixture::new(&KEYS.replace("aes 256", "3des"));
    fixture.write("psk.txt", b"192.0.2.1 0123456789abcdefXYZ-a-good-one\n");
    let json = serde_json::to_value(fixture.checked()).unwrap();
    assert_eq!((&json["errors"], &json["warnings"]), (&0.into(), &2.into()));
    let finding = &json["findings"][0];
    assert_eq!((&finding["level"], &finding["line"], &finding["column"]), (&"warning".into(), &4.into(), &34.into()));
    assert!(finding["file"].as_str().unwrap().ends_with("racoon.conf") && finding["hint"].is_null(), "{finding}");
    assert!(finding["message"].as_str().unwrap().contains("3des is weak"), "{finding}");
    let expected = serde_json::json!([
        { "block": "remote 192.0.2.1", "grade": "weak", "reasons": ["3des"] },
        { "block": "sainfo 1", "grade": "weak", "reasons": ["3des"] },
    ]);
    assert_eq!(json["grades"], expected);
}
