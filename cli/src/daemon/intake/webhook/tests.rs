use std::fs;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::daemon::intake::{Arrival, Intake};
use crate::report::RevocationReport;
use crate::revocation::crl::store::CrlStore;
use crate::revocation::crl::tests::Ca;
use crate::revocation::keylime::message::tests::{inner, signed};
use crate::revocation::serial;
use openssl::sign::RsaPssSaltlen;

/// Answers what arrives as the loop would; gives the serials.
async fn carry_out(mut arrivals: Receiver<Arrival>, told: tokio::sync::mpsc::UnboundedSender<String>) {
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
        told.send(serial).unwrap();
    }
}

struct Bench {
    _directory: TempDir,
    ca: Ca,
    at: String,
    told: tokio::sync::mpsc::UnboundedReceiver<String>,
    _intake: Intake,
}

async fn bench(tls: Option<&dyn Fn(&TempDir) -> WebhookTls>) -> Bench {
    let (directory, ca) = (TempDir::new().unwrap(), Ca::new("RevocationNotifier"));
    let certificate = directory.path().join("notifier.crt");
    fs::write(&certificate, ca.certificate.to_pem().unwrap()).unwrap();
    let (intake, arrivals) = Intake::new(Arc::new(CrlStore::open(None, 0)));
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(carry_out(arrivals, tell));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = free.local_addr().unwrap().to_string();
    drop(free);
    let hook = Webhook { listen: at.clone(), path: "/notices".to_owned(), tls: tls.map(|tls| tls(&directory)) };
    let notifier = Notifier::new(certificate, Vec::new());
    let (listener, shared) = open(&hook, &name(&hook), &notifier, &intake.common).await.unwrap();
    tokio::spawn(accept(listener, shared));
    Bench { _directory: directory, ca, at, told, _intake: intake }
}

async fn post(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str, body: &[u8]) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    // A refusal may come before the end of the body, and the connection with it.
    let _refused = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn good_notices_are_carried_out_and_others_refused_while_slow_clients_wait() {
    let mut bench = bench(None).await;
    let good = signed(&bench.ca.key, &inner("7"), RsaPssSaltlen::MAXIMUM_LENGTH);
    let stranger = signed(&Ca::new("agent").key, &inner("8"), RsaPssSaltlen::MAXIMUM_LENGTH);
    let mut dawdlers = Vec::new();
    for _ in 0..MAX_CONNECTIONS / 2 {
        let mut stream = TcpStream::connect(&bench.at).await.unwrap();
        stream.write_all(b"POST /notices HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{").await.unwrap();
        dawdlers.push(stream);
    }
    for (path, body, status) in [
        ("/notices", &good[..], "HTTP/1.1 200 OK"),
        ("/notices", &good, "HTTP/1.1 200 OK"),
        ("/notices", &stranger, "HTTP/1.1 403 Forbidden"),
        ("/notices", br#"{"msg": "{}", "signature": "none"}"#, "HTTP/1.1 403 Forbidden"),
        ("/notices", b"not JSON", "HTTP/1.1 400 Bad Request"),
        ("/notices", &good[..good.len() - 2], "HTTP/1.1 400 Bad Request"),
        ("/notices", &vec![b' '; MAX_NOTICE + 1], "HTTP/1.1 413 Payload Too Large"),
        ("/", &good, "HTTP/1.1 404 Not Found"),
    ] {
        let mut stream = TcpStream::connect(&bench.at).await.unwrap();
        assert_eq!(post(&mut stream, path, body).await, status, "{}", String::from_utf8_lossy(&body[..8]));
    }
    assert_eq!(bench.told.recv().await.as_deref(), Some("7"));
    assert_eq!(bench.told.recv().await.as_deref(), Some("7"), "a replay is carried out, and changes nothing there");
    assert!(bench.told.try_recv().is_err());
}

#[tokio::test]
async fn with_tls_only_clients_of_the_ca_get_as_far_as_a_request() {
    let own = Ca::new("localhost");
    let stranger = Ca::new("stranger");
    let (key, certificate) = (own.key.private_key_to_pem_pkcs8().unwrap(), own.certificate.to_pem().unwrap());
    let files = move |directory: &TempDir| {
        let write = |name: &str, octets: &[u8]| {
            use std::os::unix::fs::PermissionsExt;
            let path = directory.path().join(name);
            fs::write(&path, octets).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let certificate = write("own.crt", &certificate);
        WebhookTls { client_ca: certificate.clone(), certificate, key: write("own.key", &key) }
    };
    let bench = bench(Some(&files)).await;
    let good = signed(&bench.ca.key, &inner("7"), RsaPssSaltlen::MAXIMUM_LENGTH);
    let connect = async |with: Option<&Ca>| {
        let mut builder = openssl::ssl::SslConnector::builder(SslMethod::tls_client()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        if let Some(ca) = with {
            builder.set_certificate(&ca.certificate).unwrap();
            builder.set_private_key(&ca.key).unwrap();
        }
        let ssl = builder.build().configure().unwrap().verify_hostname(false).into_ssl("x").unwrap();
        let mut stream = SslStream::new(ssl, TcpStream::connect(&bench.at).await.unwrap()).unwrap();
        // With TLS 1.3 the client learns of a refusal with its first read.
        let _refused = Pin::new(&mut stream).connect().await;
        stream
    };
    assert_eq!(post(&mut connect(Some(&own)).await, "/notices", &good).await, "HTTP/1.1 200 OK");
    assert_eq!(post(&mut connect(None).await, "/notices", &good).await, "");
    assert_eq!(post(&mut connect(Some(&stranger)).await, "/notices", &good).await, "");
    let mut clear = TcpStream::connect(&bench.at).await.unwrap();
    assert!(!post(&mut clear, "/notices", &good).await.contains("200"));
}

/// Sends these octets, and reads to the end: the status line.
async fn raw(at: &str, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let _refused = stream.write_all(octets).await;
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_connection_has_one_request_and_that_is_a_post() {
    let mut bench = bench(None).await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let answer = raw(&bench.at, format!("{method} /notices HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
    }
    for nonsense in ["\r\n\r\n\r\nnonsense\r\n\r\n", "POST\r\n\r\n", "POST /notices HTTP/9.9\r\n\r\n"] {
        let answer = raw(&bench.at, nonsense.as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    // More headers than anybody needs.
    let long = format!("POST /notices HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(!raw(&bench.at, long.as_bytes()).await.contains(" 200 "));
    // A second request behind the first one, on a connection that its client would keep.
    let good = signed(&bench.ca.key, &inner("7"), RsaPssSaltlen::MAXIMUM_LENGTH);
    let one = [
        format!(
            "POST /notices HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n",
            good.len()
        )
        .into_bytes(),
        good.clone(),
    ]
    .concat();
    let answer = raw(&bench.at, &[one.clone(), one].concat()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
    // In chunks, without a length.
    let chunks = [
        b"POST /notices HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        format!("{:x}\r\n", good.len()).into_bytes(),
        good,
        b"\r\n0\r\n\r\n".to_vec(),
    ]
    .concat();
    assert!(raw(&bench.at, &chunks).await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(bench.told.recv().await.as_deref(), Some("7"));
    assert_eq!(bench.told.recv().await.as_deref(), Some("7"));
    assert!(bench.told.try_recv().is_err());
}

#[tokio::test]
async fn what_is_no_tls_is_left_and_the_next_client_is_served() {
    let own = Ca::new("localhost");
    let (key, certificate) = (own.key.private_key_to_pem_pkcs8().unwrap(), own.certificate.to_pem().unwrap());
    let files = move |directory: &TempDir| {
        let write = |name: &str, octets: &[u8]| {
            use std::os::unix::fs::PermissionsExt;
            let path = directory.path().join(name);
            fs::write(&path, octets).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let certificate = write("own.crt", &certificate);
        WebhookTls { client_ca: certificate.clone(), certificate, key: write("own.key", &key) }
    };
    let mut bench = bench(Some(&files)).await;
    let mut dawdlers = Vec::new();
    for _ in 0..MAX_CONNECTIONS / 2 {
        dawdlers.push(TcpStream::connect(&bench.at).await.unwrap());
    }
    // A record that never ends, one of an unknown version, and a handshake that breaks off.
    for garbage in [&[0x16, 3, 1, 0xff, 0xff, 1][..], &[0x80; 100], &[0; 1000], b"\x15\x03\x01\x00\x02\x02\x28"] {
        let mut stream = TcpStream::connect(&bench.at).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        drop(stream);
    }
    let good = signed(&bench.ca.key, &inner("7"), RsaPssSaltlen::MAXIMUM_LENGTH);
    let mut builder = openssl::ssl::SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_certificate(&own.certificate).unwrap();
    builder.set_private_key(&own.key).unwrap();
    let ssl = builder.build().configure().unwrap().verify_hostname(false).into_ssl("x").unwrap();
    let mut stream = SslStream::new(ssl, TcpStream::connect(&bench.at).await.unwrap()).unwrap();
    Pin::new(&mut stream).connect().await.unwrap();
    assert_eq!(post(&mut stream, "/notices", &good).await, "HTTP/1.1 200 OK");
    assert_eq!(bench.told.recv().await.as_deref(), Some("7"));
}
