use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::ssl::{Ssl, SslAcceptor};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::revocation::crl::tests::Ca;

/// Serves one request with these octets, then closes.
async fn served(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/any?x=1", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    (url, served)
}

/// The same over TLS, with this certificate.
async fn secured(server: &Ca, answer: Vec<u8>) -> String {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&server.certificate).unwrap();
    builder.set_private_key(&server.key).unwrap();
    let acceptor = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
        if Pin::new(&mut stream).accept().await.is_err() {
            return;
        }
        let mut request = vec![0; 4096];
        // A client that has had enough is gone.
        let _gone = stream.read(&mut request).await;
        let _gone = stream.write_all(&answer).await;
        let _gone = stream.shutdown().await;
    });
    format!("https://localhost:{port}/list")
}

/// The file that `ca "FILE"` names.
fn file(directory: &TempDir, name: &str, octets: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, octets).unwrap();
    path
}

fn pem(ca: &Ca) -> Vec<u8> {
    ca.certificate.to_pem().unwrap()
}

/// A server whose certificate ended in 1970.
fn expired(name: &str) -> Ca {
    let good = Ca::new(name);
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(good.certificate.subject_name()).unwrap();
    builder.set_issuer_name(good.certificate.issuer_name()).unwrap();
    builder.set_serial_number(good.certificate.serial_number()).unwrap();
    builder.set_pubkey(&good.key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(1000).unwrap()).unwrap();
    builder.sign(&good.key, MessageDigest::sha256()).unwrap();
    Ca { certificate: builder.build(), key: good.key }
}

fn text(answer: Result<Bytes, HttpError>) -> String {
    answer.unwrap_err().to_string()
}

#[tokio::test]
async fn keylimes_answer_without_length_is_read_to_its_end() {
    let body = vec![0x30; 100_000];
    let head = b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.11\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\r\n";
    let (url, served) = served([&head[..], &body].concat()).await;
    assert_eq!(get(&url, None, 1 << 20).await.unwrap(), body);
    let request = served.await.unwrap();
    assert!(request.starts_with("GET /any?x=1 HTTP/1.1\r\n") && request.to_lowercase().contains("host: 127.0.0.1:"));
}

#[tokio::test]
async fn long_answers_refusals_and_redirects_bring_nothing() {
    let (url, _served) = served([&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[0x30; 5000]].concat()).await;
    assert!(matches!(get(&url, None, 4999).await, Err(HttpError::Body(_))));
    for status in ["404 Not Found", "301 Moved\r\nLocation: http://127.0.0.1:1/", "500 Oh"] {
        let (url, _served) = served(format!("HTTP/1.0 {status}\r\n\r\n").into_bytes()).await;
        assert!(matches!(get(&url, None, 4999).await, Err(HttpError::Status(_))), "{status}");
    }
    let (url, _served) = served(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec()).await;
    assert!(matches!(get(&url, None, 4999).await, Err(HttpError::Body(_))), "broken off");
    let (url, _served) = served(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await;
    assert!(matches!(get(&url, None, 4999).await, Err(HttpError::Http(_))));
    assert!(matches!(get("http://127.0.0.1:1/", None, 10).await, Err(HttpError::Io(_))));
    assert!(matches!(get("not a url", None, 10).await, Err(HttpError::Url)));
}

#[tokio::test]
async fn an_https_server_is_believed_if_the_named_ca_vouches_for_its_name() {
    let directory = TempDir::new().unwrap();
    let (server, stranger, elsewhere) = (Ca::new("localhost"), Ca::new("localhost"), Ca::new("elsewhere"));
    let answer = b"HTTP/1.0 200 OK\r\n\r\nlist".to_vec();
    let own = file(&directory, "own.pem", &pem(&server));
    assert_eq!(get(&secured(&server, answer.clone()).await, Some(&own), 100).await.unwrap(), "list");
    // Among others in the file, too.
    let several = file(&directory, "several.pem", &[pem(&elsewhere), pem(&server)].concat());
    assert_eq!(get(&secured(&server, answer.clone()).await, Some(&several), 100).await.unwrap(), "list");

    let other = file(&directory, "other.pem", &pem(&stranger));
    let refusal = text(get(&secured(&server, answer.clone()).await, Some(&other), 100).await);
    assert!(refusal.starts_with("TLS: the server's certificate is refused"), "{refusal}");
    // The system's CAs do not know it, and a named file leaves them out.
    let refusal = text(get(&secured(&server, answer.clone()).await, None, 100).await);
    assert!(refusal.starts_with("TLS: the server's certificate is refused: self-signed"), "{refusal}");
    let named = file(&directory, "named.pem", &pem(&elsewhere));
    let refusal = text(get(&secured(&elsewhere, answer.clone()).await, Some(&named), 100).await);
    assert!(refusal.contains("hostname mismatch"), "{refusal}");
    let old = expired("localhost");
    let ended = file(&directory, "ended.pem", &pem(&old));
    let refusal = text(get(&secured(&old, answer.clone()).await, Some(&ended), 100).await);
    assert!(refusal.contains("certificate has expired"), "{refusal}");

    let gone = directory.path().join("gone.pem");
    assert!(text(get(&secured(&server, answer.clone()).await, Some(&gone), 100).await).contains("gone.pem"));
    let empty = file(&directory, "empty.pem", b"nothing");
    let refusal = text(get(&secured(&server, answer).await, Some(&empty), 100).await);
    assert!(refusal.contains("empty.pem holds no certificate"), "{refusal}");
}

#[tokio::test]
async fn over_tls_too_long_answers_halves_redirects_and_clear_text_bring_nothing() {
    let directory = TempDir::new().unwrap();
    let server = Ca::new("localhost");
    let own = file(&directory, "own.pem", &pem(&server));
    let long = [&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[0x30; 200_000]].concat();
    assert!(matches!(get(&secured(&server, long).await, Some(&own), 4999).await, Err(HttpError::Body(_))));
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec();
    assert!(matches!(get(&secured(&server, half).await, Some(&own), 4999).await, Err(HttpError::Body(_))));
    for status in ["404 Not Found", "302 Found\r\nLocation: https://127.0.0.1:1/"] {
        let answer = format!("HTTP/1.0 {status}\r\n\r\n").into_bytes();
        assert!(matches!(get(&secured(&server, answer).await, Some(&own), 4999).await, Err(HttpError::Status(_))));
    }
    let (url, _served) = served(b"HTTP/1.0 200 OK\r\n\r\nlist".to_vec()).await;
    let url = url.replace("http://127.0.0.1", "https://localhost");
    assert!(matches!(get(&url, Some(&own), 4999).await, Err(HttpError::Tls(_))), "no TLS there");
}

/// The caller's clock ends it: nothing here goes on by itself, however many octets come.
#[tokio::test]
async fn a_server_that_drips_is_left_with_the_callers_patience() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let dripping = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _read = stream.read(&mut request).await;
        let mut sent = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            sent = stream.write_all(b"0").await;
        }
    });
    assert!(timeout(Duration::from_millis(200), get(&url, None, 1 << 20)).await.is_err());
    // And the connection is gone: the server finds out.
    timeout(Duration::from_secs(10), dripping).await.unwrap().unwrap();
}
