use tokio::io::DuplexStream;

use super::*;

/// What a publisher of libzmq 4.3 sends before its first message.
fn publisher() -> Vec<u8> {
    let mut greeting = greeting().to_vec();
    greeting[11] = 1;
    let ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB";
    [greeting, ready.to_vec()].concat()
}

async fn opened(octets: &[u8]) -> (Result<Subscription<DuplexStream>, ZmtpError>, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    theirs.write_all(octets).await.unwrap();
    (Subscription::open(ours, 1000).await, theirs)
}

#[tokio::test]
async fn shakes_hands_subscribes_and_reads_messages() {
    let (subscription, mut theirs) = opened(&publisher()).await;
    let mut subscription = subscription.unwrap();
    let mut sent = vec![0; 64 + 2 + ready().len() - 2 + 3];
    theirs.read_exact(&mut sent).await.unwrap();
    assert_eq!(&sent[..12], b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0");
    assert_eq!(&sent[sent.len() - 3..], [0, 1, 1], "a subscription to everything");
    theirs.write_all(b"\x00\x05short\x02\0\0\0\0\0\0\0\x04long").await.unwrap();
    assert_eq!(subscription.next().await.unwrap(), b"short");
    assert_eq!(subscription.next().await.unwrap(), b"long");
    // A message in two parts is passed over, a command in between is none of it.
    theirs.write_all(b"\x01\x01a\x04\x09\x04PING\0\x07ab\x00\x01b\x00\x03end").await.unwrap();
    assert_eq!(subscription.next().await.unwrap(), b"end");
    let mut pong = [0; 9];
    theirs.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x04\x07\x04PONGab");
    drop(theirs);
    assert!(matches!(subscription.next().await, Err(ZmtpError::Io(_))));
}

#[tokio::test]
async fn lengths_have_bounds_before_memory_is_asked_for() {
    for announced in [1001_u64, 1 << 40, u64::MAX] {
        let (subscription, mut theirs) = opened(&publisher()).await;
        theirs.write_all(&[&[2][..], &announced.to_be_bytes()].concat()).await.unwrap();
        let error = subscription.unwrap().next().await.unwrap_err();
        assert!(matches!(error, ZmtpError::TooLong(length) if length == announced));
    }
    let (subscription, mut theirs) = opened(&publisher()).await;
    theirs.write_all(&[&[6][..], &2000_u64.to_be_bytes()].concat()).await.unwrap();
    assert!(matches!(subscription.unwrap().next().await, Err(ZmtpError::TooLong(2000))), "a command");
}

#[tokio::test]
async fn others_than_publishers_are_refused() {
    let change = |at: usize, octet: u8| {
        let mut octets = publisher();
        octets[at] = octet;
        octets
    };
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    for octets in [http, change(0, 0), change(9, 0), change(10, 2), change(12, b'C'), change(64, 0), change(67, b'X')] {
        let (subscription, _theirs) = opened(&octets).await;
        assert!(matches!(subscription, Err(ZmtpError::Foreign(_))));
    }
    let (subscription, mut theirs) = opened(&publisher()).await;
    theirs.write_all(b"\x80\x00").await.unwrap();
    assert!(matches!(subscription.unwrap().next().await, Err(ZmtpError::Foreign(_))), "unknown flags");
}
