//! Names: truncations, string types, white space, NUL, wildcards, one-line form.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Pattern::parse(text).unwrap().to_name().unwrap()
}

fn single(oid: &[u8], tag: u8, value: &[u8]) -> Name {
    let mut attribute = Vec::new();
    der::write(&mut attribute, der::OBJECT_IDENTIFIER, oid);
    der::write(&mut attribute, tag, value);
    let (mut sequence, mut set, mut out) = (Vec::new(), Vec::new(), Vec::new());
    der::write(&mut sequence, der::SEQUENCE, &attribute);
    der::write(&mut set, der::SET, &sequence);
    der::write(&mut out, der::SEQUENCE, &set);
    Name::from_der(&out).unwrap()
}

const CN: &[u8] = &[0x55, 4, 3];

#[test]
fn every_truncation_and_every_bad_length_is_an_error() {
    let der = name("C=US, O=Example Corp, CN=gw.example.org, emailAddress=a@example.org").to_der();
    assert!(Name::from_der(&der).is_ok());
    for cut in 0..der.len() {
        assert!(Name::from_der(&der[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..der.len() {
        for octet in [0x80, 0xff, 0x00, 0x30] {
            let mut bent = der.clone();
            bent[at] = octet;
            // Whatever it is: no panic, and what is read can be written and read again.
            if let Ok(read) = Name::from_der(&bent) {
                assert!(Name::from_der(&read.to_der()).unwrap().equals(&read) || read.one_line().contains("\\x00"));
            }
        }
    }
    let mut longer = der.clone();
    longer.push(0);
    assert_eq!(Name::from_der(&longer), Err(NameError::Der(DerError::Trailing)));
}

#[test]
fn too_many_attributes_are_refused() {
    let text = vec!["CN=x"; MAX_ATTRIBUTES + 1].join(",");
    assert_eq!(Pattern::parse(&text), Err(NameError::TooLarge));
    let one = &name("CN=x").to_der()[2..];
    let mut out = Vec::new();
    der::write(&mut out, der::SEQUENCE, &one.repeat(MAX_ATTRIBUTES + 1));
    assert_eq!(Name::from_der(&out), Err(NameError::TooLarge));
    assert_eq!(Name::from_der(&[0x30, 0x02, 0x31, 0x00]), Err(NameError::Empty));
    assert_eq!(Name::from_der(&vec![0x30; MAX_OCTETS + 1]), Err(NameError::TooLarge));
}

#[test]
fn string_types_case_and_white_space_do_not_count() {
    let utf8 = single(CN, 0x0c, b"Gate Way");
    for (tag, value) in [
        (0x13, b"gate way".to_vec()),
        (0x14, b"GATE  WAY".to_vec()),
        (0x16, b"  Gate Way ".to_vec()),
        (0x1e, "Gate Way".encode_utf16().flat_map(u16::to_be_bytes).collect()),
        (0x1c, "Gate Way".chars().flat_map(|letter| (letter as u32).to_be_bytes()).collect()),
    ] {
        assert!(utf8.equals(&single(CN, tag, &value)), "tag {tag:#x}");
    }
    assert!(!utf8.equals(&single(CN, 0x0c, b"GateWay")));
    assert!(!utf8.equals(&single(&[0x55, 4, 10], 0x0c, b"Gate Way")));
}

#[test]
fn a_nul_equals_nothing() {
    let nul = single(CN, 0x0c, b"good\0.evil");
    assert!(!nul.equals(&nul.clone()));
    assert!(!Pattern::parse("CN=*").unwrap().matches(&nul));
    assert!(!Pattern::parse("CN=good").unwrap().matches(&nul));
    assert_eq!(nul.one_line(), "/CN=good\\x00.evil");
}

#[test]
fn counts_and_order_count() {
    assert!(!name("CN=a, CN=b").equals(&name("CN=b, CN=a")));
    assert!(!name("CN=a").equals(&name("CN=a, CN=a")));
    assert!(name("CN=a+UID=1").equals(&name("UID=1+CN=A")));
    assert!(!name("CN=a+UID=1").equals(&name("CN=a, UID=1")));
    assert!(!Pattern::parse("CN=a").unwrap().matches(&name("CN=a, CN=a")));
}

#[test]
fn both_written_forms_mean_the_same() {
    let comma = name("C=US, ST=MA, O=MIT/Lincoln Lab, OU=a\\, b, CN=x");
    let slash = name("/C=US/ST=MA/O=MIT/Lincoln Lab/OU=a, b/CN=x");
    assert!(comma.equals(&slash));
    assert_eq!(slash.one_line(), "/C=US/ST=MA/O=MIT/Lincoln Lab/OU=a, b/CN=x");
    assert_eq!(name("c=NL/o=x").one_line(), "/C=NL/O=x");
    assert_eq!(
        name("1.2.840.113549.1.9.1=a@b, 1.3.6.1.4.1.99999=z").one_line(),
        "/emailAddress=a@b/1.3.6.1.4.1.99999=z"
    );
}

#[test]
fn string_types_of_what_we_send() {
    let sent = name("C=NL, O=Zoë, emailAddress=a@b.nl");
    let kinds: Vec<StringKind> = sent.rdns().iter().flatten().map(|attribute| attribute.kind).collect();
    assert_eq!(kinds, [StringKind::Printable, StringKind::Utf8, StringKind::Ia5]);
    assert_eq!(sent.one_line(), "/C=NL/O=Zo\\xC3\\xAB/emailAddress=a@b.nl");
    assert!(Name::from_der(&sent.to_der()).unwrap().equals(&sent));
    assert_eq!(Pattern::parse("emailAddress=ë@b").unwrap().to_name(), Err(NameError::Text("IA5String")));
    assert_eq!(Pattern::parse("CN=*").unwrap().to_name(), Err(NameError::Wildcard));
}

#[test]
fn what_cannot_be_read_is_named() {
    assert_eq!(Pattern::parse("C=NL, Example"), Err(NameError::NotAnAttribute("Example".to_owned())));
    assert_eq!(Pattern::parse("XX=NL"), Err(NameError::UnknownType("XX".to_owned())));
    assert_eq!(Pattern::parse(""), Err(NameError::NotAnAttribute(String::new())));
    assert_eq!(one_line(&[0x30, 0x80]), "(unreadable name: DER length is not in its shortest definite form)");
}

proptest! {
    #[test]
    fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(name) = Name::from_der(&octets) {
            let _ = name.one_line();
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,80}") {
        if let Ok(pattern) = Pattern::parse(&text)
            && let Ok(name) = pattern.to_name()
        {
            let again = Name::from_der(&name.to_der()).unwrap();
            prop_assert_eq!(name.equals(&name), again.equals(&name));
        }
    }
}
