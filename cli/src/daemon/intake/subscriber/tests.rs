use std::fs;
use std::sync::Arc;

use openssl::sign::RsaPssSaltlen;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::daemon::intake::{Arrival, Intake};
use crate::revocation::crl::store::CrlStore;
use crate::revocation::crl::tests::Ca;
use crate::revocation::keylime::message::tests::{inner, signed};
use crate::revocation::serial;

/// Accepts a subscriber and publishes these.
async fn publish(listener: &TcpListener, messages: &[&[u8]]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut greeting = [0; 64];
    stream.read_exact(&mut greeting).await.unwrap();
    stream.write_all(&greeting).await.unwrap();
    stream.write_all(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB").await.unwrap();
    for message in messages {
        let length = u64::try_from(message.len()).unwrap();
        stream.write_all(&[&[2][..], &length.to_be_bytes(), message].concat()).await.unwrap();
    }
    stream
}

#[tokio::test]
async fn comes_back_after_each_end_and_takes_only_good_notices() {
    let (directory, ca) = (TempDir::new().unwrap(), Ca::new("RevocationNotifier"));
    let certificate = directory.path().join("notifier.crt");
    fs::write(&certificate, ca.certificate.to_pem().unwrap()).unwrap();
    let (intake, mut arrivals) = Intake::new(Arc::new(CrlStore::open(None, 0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let mut news = intake.common.news.subscribe();
    tokio::spawn(follow(at.clone(), Notifier::new(certificate, Vec::new()), intake.common.clone()));

    let forged = signed(&Ca::new("agent").key, &inner("8"), RsaPssSaltlen::MAXIMUM_LENGTH);
    for round in ["7", "9"] {
        let good = signed(&ca.key, &inner(round), RsaPssSaltlen::MAXIMUM_LENGTH);
        let stream = publish(&listener, &[b"rubbish", &forged, &good]).await;
        let Some(Arrival::Notice(notified)) = arrivals.recv().await else { panic!("no notice") };
        assert_eq!(serial::to_decimal(&notified.revocation.serial), round);
        assert_eq!(notified.source, "zeromq");
        assert!(news.has_changed().unwrap(), "a CRL fetch after each connection");
        news.mark_unchanged();
        let state = intake.common.health.reports().remove(0);
        assert_eq!((state.name, state.problem), (name(&at), None));
        let _answered = notified.reply.send(Err("not now".to_owned()));
        drop(stream);
    }
    // Somebody who announces more than there is memory is left, and the next one is heard.
    let mut hostile = publish(&listener, &[]).await;
    hostile.write_all(&[&[2][..], &u64::MAX.to_be_bytes()].concat()).await.unwrap();
    let mut rest = Vec::new();
    let _reset = hostile.read_to_end(&mut rest).await;
    let good = signed(&ca.key, &inner("11"), RsaPssSaltlen::MAXIMUM_LENGTH);
    let _stream = publish(&listener, &[&good]).await;
    assert!(matches!(arrivals.recv().await, Some(Arrival::Notice(_))));
}
