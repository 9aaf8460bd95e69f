//! keylime's messages and a forger's (tests/vectors/keylime), each by ZeroMQ, by webhook, and as the agent hands it to an
//! action: what counts for nothing changes nothing, and the next good one is heard.

use std::fs;

use policy::model::revocation::Webhook;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::daemon::intake::{Intake, subscriber, webhook};
use crate::revocation::crl::store::CrlStore;
use crate::revocation::keylime::message::{MAX_NOTICE, read};
use crate::revocation::serial;

const AGENT: &str = "3";
const LONG: &str = "730750818665451459101842416370487188729200839378";

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../../tests/vectors/keylime/", $name)).as_slice()
    };
}

/// A way in, and what came by it: serials.
struct Way {
    _directory: TempDir,
    _intake: Intake,
    told: UnboundedReceiver<String>,
    at: At,
}

enum At {
    ZeroMq(TcpListener, Option<TcpStream>),
    Webhook(String),
}

impl Way {
    async fn open(zeromq: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let certificate = directory.path().join("notifier.crt");
        fs::write(&certificate, vector!("RevocationNotifier-cert.crt")).unwrap();
        let (intake, mut arrivals) = Intake::new(Arc::new(CrlStore::open(None, 0)));
        let (tell, told) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(arrival) = arrivals.recv().await {
                let Arrival::Notice(notified) = arrival else { continue };
                let serial = serial::to_decimal(&notified.revocation.serial);
                let report = RevocationReport {
                    serial: serial.clone(),
                    issuer: "/CN=ca".to_owned(),
                    issuer_key: None,
                    already_revoked: false,
                    sas: Vec::new(),
                    sas_deleted: 0,
                    elapsed_ms: 0.1,
                    daemon: true,
                };
                let _gone = notified.reply.send(Ok(report));
                tell.send(serial).unwrap();
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let notifier = Notifier::new(certificate, Vec::new());
        let at = if zeromq {
            tokio::spawn(subscriber::follow(place, notifier, intake.common.clone()));
            At::ZeroMq(listener, None)
        } else {
            drop(listener);
            let hook = Webhook { listen: place.clone(), path: "/".to_owned(), tls: None };
            tokio::spawn(webhook::serve(hook, notifier, intake.common.clone()));
            while TcpStream::connect(&place).await.is_err() {
                tokio::task::yield_now().await;
            }
            At::Webhook(place)
        };
        Self { _directory: directory, _intake: intake, told, at }
    }

    /// Brings a message; by webhook, the status of the answer.
    async fn bring(&mut self, message: &[u8]) -> Option<u16> {
        match &mut self.at {
            At::Webhook(place) => {
                let mut stream = TcpStream::connect(&*place).await.unwrap();
                let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", message.len());
                // A refusal may come before the end of the body, and the connection with it.
                let _refused = stream.write_all(&[head.as_bytes(), message].concat()).await;
                let mut answer = Vec::new();
                let _reset = stream.read_to_end(&mut answer).await;
                String::from_utf8_lossy(&answer).split(' ').nth(1).map(|status| status.parse().unwrap())
            }
            At::ZeroMq(listener, stream) => {
                if stream.is_none() {
                    *stream = Some(greeted(listener).await);
                }
                let frame = [&[2][..], &(message.len() as u64).to_be_bytes(), message].concat();
                stream.as_mut().unwrap().write_all(&frame).await.unwrap();
                None
            }
        }
    }

    /// The publisher's end is closed by the subscriber; the next message goes over another connection.
    async fn is_left(&mut self) {
        if let At::ZeroMq(_, stream) = &mut self.at {
            let mut rest = Vec::new();
            let _reset = stream.take().unwrap().read_to_end(&mut rest).await;
        }
    }

    /// A message that is not acted on, and the good one behind it.
    async fn refuses(&mut self, message: &[u8], status: u16) {
        let answer = self.bring(message).await;
        assert!(answer.is_none_or(|answer| answer == status), "{answer:?}");
        self.accepts(vector!("serial-160-bits.json"), LONG).await;
    }

    async fn accepts(&mut self, message: &[u8], serial: &str) {
        let answer = self.bring(message).await;
        assert!(answer.is_none_or(|answer| answer == 200), "{answer:?}");
        assert_eq!(self.told.recv().await.as_deref(), Some(serial));
    }
}

/// Accepts a subscriber as libzmq does.
async fn greeted(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut greeting = [0; 64];
    stream.read_exact(&mut greeting).await.unwrap();
    stream.write_all(&greeting).await.unwrap();
    stream.write_all(b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB").await.unwrap();
    stream
}

/// What the agent hands over of a message: the inner text.
fn inner(message: &[u8]) -> Vec<u8> {
    let outer: serde_json::Value = serde_json::from_slice(message).unwrap();
    outer["msg"].as_str().unwrap().as_bytes().to_vec()
}

fn serial_of(notice: &Notice) -> String {
    match notice {
        Notice::Revocation(revocation) => serial::to_decimal(&revocation.serial),
        Notice::Other { kind } => kind.clone(),
    }
}

/// Rows: a message that is acted on, with its serial, or one that is not, with the webhook's status.
macro_rules! rows {
    ($($name:ident: $octets:expr, $how:ident $what:expr;)+) => {
        mod by_zeromq {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                Way::open(true).await.$how($octets, $what).await;
            })+
        }
        mod by_webhook {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                Way::open(false).await.$how($octets, $what).await;
            })+
        }
    };
}

rows! {
    a_revocation: vector!("revocation.json"), accepts AGENT;
    one_with_an_event: vector!("revocation-event.json"), accepts AGENT;
    the_old_metadata_form: vector!("old-metadata.json"), accepts AGENT;
    a_serial_of_160_bits: vector!("serial-160-bits.json"), accepts LONG;
    a_comm_error: vector!("comm-error.json"), refuses 200;
    a_wrong_signer: vector!("wrong-signer.json"), refuses 403;
    a_changed_serial: vector!("changed-serial.json"), refuses 403;
    unsigned_none: vector!("unsigned-none.json"), refuses 403;
    unsigned_empty: vector!("unsigned-empty.json"), refuses 403;
    truncated: vector!("truncated.json"), refuses 400;
    not_json: vector!("not-json.txt"), refuses 400;
    not_an_object: b"[1, 2, 3]", refuses 400;
    nothing_at_all: b"", refuses 400;
}

async fn replayed(zeromq: bool) {
    let mut way = Way::open(zeromq).await;
    for _ in 0..1000 {
        way.accepts(vector!("revocation.json"), AGENT).await;
    }
    assert!(way.told.try_recv().is_err());
}

#[tokio::test]
async fn a_thousand_replays_by_zeromq_are_each_heard() {
    replayed(true).await;
}

#[tokio::test]
async fn a_thousand_replays_by_webhook_are_each_heard() {
    replayed(false).await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_subscription_and_another_one_begins() {
    let mut way = Way::open(true).await;
    let At::ZeroMq(listener, stream) = &mut way.at else { panic!() };
    let mut open = greeted(listener).await;
    open.write_all(&[&[2][..], &(MAX_NOTICE as u64 + 1).to_be_bytes()].concat()).await.unwrap();
    *stream = Some(open);
    way.is_left().await;
    way.accepts(vector!("revocation.json"), AGENT).await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_answered_413_by_the_webhook() {
    let mut way = Way::open(false).await;
    way.refuses(&vec![b' '; MAX_NOTICE + 1], 413).await;
}

/// The agent has checked the signature: what it hands over has none.
#[test]
fn an_action_reads_the_same_messages() {
    for (message, serial) in [
        (vector!("revocation.json"), AGENT),
        (vector!("revocation-event.json"), AGENT),
        (vector!("old-metadata.json"), AGENT),
        (vector!("serial-160-bits.json"), LONG),
        (vector!("comm-error.json"), "comm_error"),
    ] {
        assert_eq!(serial_of(&read(&inner(message)).unwrap()), serial);
    }
    let good = inner(vector!("revocation.json"));
    for bad in [&good[..good.len() / 2], vector!("not-json.txt"), b"", b"[]", vector!("revocation.json")] {
        assert!(read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
    assert!(matches!(read(&vec![b' '; MAX_NOTICE + 1]), Err(MessageError::TooLong(_))));
}

/// What a publisher that is none can do: none of it keeps the next one from being heard.
mod hostile {
    use super::*;

    /// The first thing that whoever accepts does; then the subscriber is to go, and to come again.
    async fn left(octets: &[u8]) {
        let mut way = Way::open(true).await;
        let At::ZeroMq(listener, _) = &mut way.at else { panic!() };
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(octets).await.unwrap();
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest).await;
        way.accepts(vector!("revocation.json"), AGENT).await;
    }

    fn greeting() -> Vec<u8> {
        let mut octets = vec![0; 64];
        octets[0] = 0xff;
        octets[9..16].copy_from_slice(b"\x7f\x03\x00NULL");
        octets
    }

    #[tokio::test]
    async fn another_mechanism() {
        let mut octets = greeting();
        octets[12..17].copy_from_slice(b"CURVE");
        left(&octets).await;
    }

    #[tokio::test]
    async fn an_older_version() {
        let mut octets = greeting();
        octets[10] = 1;
        left(&octets).await;
    }

    #[tokio::test]
    async fn an_error_in_place_of_ready() {
        left(&[greeting(), b"\x04\x0a\x05ERROR\x03bad".to_vec()].concat()).await;
    }

    #[tokio::test]
    async fn a_command_of_more_memory_than_there_is() {
        left(&[greeting(), [&[6][..], &u64::MAX.to_be_bytes()].concat()].concat()).await;
    }

    #[tokio::test]
    async fn a_web_server() {
        left(&[&b"HTTP/1.1 400 Bad Request\r\n"[..], &[b'x'; 64]].concat()).await;
    }

    #[tokio::test]
    async fn a_thousand_commands_before_a_message() {
        let mut way = Way::open(true).await;
        let At::ZeroMq(listener, stream) = &mut way.at else { panic!() };
        let mut open = greeted(listener).await;
        for _ in 0..1000 {
            open.write_all(b"\x04\x07\x04PING\x00\x00\x04\x05\x04BLAH").await.unwrap();
        }
        *stream = Some(open);
        way.accepts(vector!("revocation.json"), AGENT).await;
    }

    #[tokio::test]
    async fn a_message_without_end_in_parts_is_passed_over() {
        let mut way = Way::open(true).await;
        let At::ZeroMq(listener, stream) = &mut way.at else { panic!() };
        let mut open = greeted(listener).await;
        for _ in 0..1000 {
            open.write_all(b"\x01\x04part").await.unwrap();
        }
        open.write_all(b"\x00\x03end").await.unwrap();
        *stream = Some(open);
        way.accepts(vector!("revocation.json"), AGENT).await;
    }
}
