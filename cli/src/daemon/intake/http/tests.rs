use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

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

#[tokio::test]
async fn keylimes_answer_without_length_is_read_to_its_end() {
    let body = vec![0x30; 100_000];
    let head = b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.11\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\r\n";
    let (url, served) = served([&head[..], &body].concat()).await;
    assert_eq!(get(&url, 1 << 20).await.unwrap(), body);
    let request = served.await.unwrap();
    assert!(request.starts_with("GET /any?x=1 HTTP/1.1\r\n") && request.to_lowercase().contains("host: 127.0.0.1:"));
}

#[tokio::test]
async fn long_answers_refusals_and_redirects_bring_nothing() {
    let (url, _served) = served([&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[0x30; 5000]].concat()).await;
    assert!(matches!(get(&url, 4999).await, Err(HttpError::Body(_))));
    for status in ["404 Not Found", "301 Moved\r\nLocation: http://127.0.0.1:1/", "500 Oh"] {
        let (url, _served) = served(format!("HTTP/1.0 {status}\r\n\r\n").into_bytes()).await;
        assert!(matches!(get(&url, 4999).await, Err(HttpError::Status(_))), "{status}");
    }
    let (url, _served) = served(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec()).await;
    assert!(matches!(get(&url, 4999).await, Err(HttpError::Body(_))), "broken off");
    let (url, _served) = served(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await;
    assert!(matches!(get(&url, 4999).await, Err(HttpError::Http(_))));
    assert!(matches!(get("http://127.0.0.1:1/", 10).await, Err(HttpError::Io(_))));
    assert!(matches!(get("not a url", 10).await, Err(HttpError::Url)));
}
