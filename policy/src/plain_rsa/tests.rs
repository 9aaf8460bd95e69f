use super::*;

fn number(octets: usize) -> String {
    format!("0xc1{}0f", "5a".repeat(octets - 2))
}

fn private(extra: &str) -> String {
    let n = number(256);
    format!(
        "# : PUB 0sAQNothing\n: RSA\t{{\n\t# RSA 2048 bits\n\tModulus: {n}\n\tPublicExponent: 0x03\n\tPrivateExponent: 0x0abc\n{extra}  }}\n# do not change the indenting of that \"}}\"\n"
    )
}

/// exponent 3, a modulus of so many octets.
fn public(octets: usize) -> String {
    let modulus = hex(&number(octets)[2..]).unwrap();
    to_text(&RsaNumbers { modulus, exponent: vec![3] })
}

#[test]
fn a_private_key_with_and_without_its_factors() {
    let file = parse("k", private("").as_bytes(), Purpose::Private);
    assert_eq!(file.render(), "");
    let [entry] = file.entries.as_slice() else { panic!("{:?}", file.entries) };
    assert_eq!((entry.scope, entry.public.modulus.len()), (KeyScope::default(), 256));
    assert_eq!(entry.public.exponent, [3]);
    let secrets = entry.secrets.as_ref().unwrap();
    assert_eq!((secrets.private_exponent.expose(), &secrets.factors), ([0x0a, 0xbc].as_slice(), &None));
    let factors = "Prime1: 0x1\nPrime2: 0x002\nExponent1:0x3 Exponent2 : 0x4 Coefficient: 0x5";
    let file = parse("k", private(factors).as_bytes(), Purpose::Private);
    let factors = file.entries[0].secrets.as_ref().unwrap().factors.as_ref().unwrap();
    assert_eq!(factors.each_ref().map(|one| one.expose().to_vec()), [[1], [2], [3], [4], [5]]);
}

#[test]
fn public_keys_with_ends_in_every_form() {
    let key = public(256);
    let text = format!(
        ": PUB {key}\n192.0.2.1 : PUB {key}\n10.0.0.0/8 192.0.2.0/24: PUB {key} any 2001:db8::1 : PUB {key}\n\
         2001:db8::/32: PUB {key}\n:: 2001:db8::2: PUB {key}\n192.0.2.3:PUB {key} # theirs\n"
    );
    let file = parse("k", text.as_bytes(), Purpose::Public);
    assert_eq!(file.render(), "");
    let net = |net: Option<IpNet>| net.map_or_else(|| "any".to_owned(), |net| net.to_string());
    let ends: Vec<String> =
        file.entries.iter().map(|entry| format!("{} {}", net(entry.scope.local), net(entry.scope.remote))).collect();
    assert_eq!(
        ends,
        [
            "any any",
            "any 192.0.2.1/32",
            "10.0.0.0/8 192.0.2.0/24",
            "any 2001:db8::1/128",
            "any 2001:db8::/32",
            "::/128 2001:db8::2/128",
            "any 192.0.2.3/32"
        ]
    );
    assert!(file.entries.iter().all(|entry| entry.public == file.entries[0].public && entry.secrets.is_none()));
}

/// RFC 3110 §2, both forms of the length; in hexadecimal as racoon took it too.
#[test]
fn every_form_of_a_public_key() {
    let modulus = hex(&number(128)[2..]).unwrap();
    let short = [&[3, 1, 0, 1], modulus.as_slice()].concat();
    let long = [&[0, 0, 3, 1, 0, 1], modulus.as_slice()].concat();
    let digits = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let unpadded = Base64Unpadded::encode_string(&short);
    for written in [
        format!("0s{}", Base64::encode_string(&short)),
        format!("0s{unpadded}"),
        format!("0s{}", Base64::encode_string(&long)),
        format!("0x{}", digits(&short)),
        // The leading zero of the length is no digit that must stand.
        format!("0x{}", digits(&short).trim_start_matches('0')),
    ] {
        let file = parse("k", format!(": PUB {written}\n").as_bytes(), Purpose::Public);
        assert!(!file.is_refused(), "{}", file.render());
        assert_eq!(file.entries[0].public, RsaNumbers { modulus: modulus.clone(), exponent: vec![1, 0, 1] });
        assert!(file.render().contains("k:1:1: warning: an RSA key of 1024 bits"), "{}", file.render());
    }
}

#[test]
fn a_private_key_among_public_ones_is_told_and_its_secret_left_out() {
    let file = parse("k", private("").as_bytes(), Purpose::Public);
    assert!(!file.is_refused() && file.entries[0].secrets.is_none());
    assert!(file.render().contains("k:2:1: warning: a private key among public ones"), "{}", file.render());
}

#[test]
fn each_mistake_has_its_place_and_shows_no_key() {
    let (n, key) = (number(256), public(256));
    let odd_base64 = format!(": PUB {}!\n", &key[..key.len() - 4]);
    let cases: &[(String, Purpose, &str)] = &[
        (String::new(), Purpose::Private, "k:1:1: error: no key stands in this file"),
        (format!(": PUB {key}"), Purpose::Private, "k:1:3: error: a public key in a file of private keys"),
        (format!(": RSA Modulus: {n}"), Purpose::Private, "k:1:7: error: no numbers behind RSA; expected `{`"),
        (
            format!(": RSA {{ Modulus: {n} PublicExponent: 0x3 }}"),
            Purpose::Private,
            "k:1:1: error: this key has no PrivateExponent",
        ),
        (
            format!(": RSA {{ Modulus: {n}\nModulus: {n} }}"),
            Purpose::Private,
            "k:2:1: error: Modulus stands here twice",
        ),
        (format!(": RSA {{ Modulus: {}", &n[2..]), Purpose::Private, "k:1:18: error: this is no number; expected 0x"),
        (format!(": RSA {{ Modulus {n} }}"), Purpose::Private, "k:1:17: error: no colon; expected `:`"),
        (format!(": RSA {{ Modulus: {n}x }}"), Purpose::Private, "k:1:18: error: this is no number"),
        (format!(": RSA {{\nModulos: {n} }}"), Purpose::Private, "k:2:1: error: this is no part of an RSA key"),
        (format!(": RSA {{ Modulus: {n}\n"), Purpose::Private, "k:1:1: error: this key is not closed"),
        (
            private("").replace("0x03", "0x04"),
            Purpose::Private,
            "k:2:1: error: the public exponent of this key is even",
        ),
        (private("").replace("0x03", "0x0200000001"), Purpose::Private, "k:2:1: error: the public exponent"),
        (private("").replace("5a0f", "5a0e"), Purpose::Private, "k:2:1: error: the modulus of this key is even"),
        (format!(": PUB {}", public(64)), Purpose::Public, "k:1:1: error: an RSA key of 512 bits"),
        (format!(": PUB {}", public(1100)), Purpose::Public, "k:1:1: error: an RSA key of 8800 bits"),
        (odd_base64, Purpose::Public, "k:1:7: error: this is no number"),
        (format!(": PUB {}", &key[2..]), Purpose::Public, "k:1:7: error: no key behind PUB; expected 0s and base64"),
        (": PUB 0s/////w==".to_owned(), Purpose::Public, "k:1:7: error: not a key as RFC 3110 writes it"),
        (": PUB".to_owned(), Purpose::Public, "k:1:6: error: no key behind PUB"),
        (": PSK \"secret\"".to_owned(), Purpose::Public, "k:1:3: error: no RSA key; expected `RSA {` or `PUB`"),
        (format!("192.0.2.0/33 : PUB {key}"), Purpose::Public, "k:1:1: error: this begins no key"),
        (format!("any any any : PUB {key}"), Purpose::Public, "k:1:9: error: a third address; expected `:`"),
        (format!("10.0.0.1 fd00::1 : PUB {key}"), Purpose::Public, "k:1:1: error: two ends of different IP versions"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow".to_owned(), Purpose::Private, "k:1:1: error: this begins no key"),
    ];
    for (text, purpose, words) in cases {
        let file = parse("k", text.as_bytes(), *purpose);
        let rendered = file.render();
        assert!(file.is_refused() && rendered.contains(words), "{words} is not in\n{rendered}");
        for secret in ["5a5a", "MIIE", "secret", &key[2..12]] {
            assert!(!rendered.contains(secret), "{secret} is in\n{rendered}");
        }
    }
}

#[test]
fn what_stands_behind_a_mistake_is_read_on() {
    let key = public(256);
    let text = format!(": PUB 0sAA==\n192.0.2.1 : PUB {key}\nnonsense here\n: RSA {{ Modulus: 1 }} : PUB {key}\n");
    let file = parse("k", text.as_bytes(), Purpose::Public);
    assert_eq!((file.entries.len(), file.diagnostics.len()), (2, 3), "{}", file.render());
}

#[test]
fn as_many_keys_for_the_same_ends_as_a_stranger_may_make_us_try() {
    let line = format!("192.0.2.1 : PUB {}\n", public(256));
    assert!(!parse("k", line.repeat(16).as_bytes(), Purpose::Public).is_refused());
    let file = parse("k", line.repeat(17).as_bytes(), Purpose::Public);
    assert!(file.render().contains("k:17:1: error: more than 16 keys for the same two ends"), "{}", file.render());
}
