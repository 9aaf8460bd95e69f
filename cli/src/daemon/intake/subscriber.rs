//! Subscribes to keylime's verifier (ZeroMQ PUB on tcp): reconnects by itself, and has the CRL fetched after each
//! connection, since a publisher keeps nothing for those who were away.

use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Common;
use super::notices::{self, Notifier};
use super::zmtp::{Subscription, ZmtpError};
use crate::logging::limit::RateLimit;
use crate::revocation::keylime::message::MAX_NOTICE;

const KIND: &str = "subscription";
/// Pauses between attempts.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that held for so long was a good one: the next pause is short again.
const LASTING: Duration = Duration::from_secs(10);
/// For the connection and the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines in a second about notices that count for nothing.
const COMPLAINTS: u32 = 2;

/// What the source is called.
pub fn name(at: &str) -> String {
    format!("tcp://{at}")
}

/// Follows the publisher at HOST:PORT for ever.
pub async fn follow(at: String, notifier: Notifier, common: Common) {
    let name = name(&at);
    let mut pause = SHORTEST;
    let mut limit = RateLimit::new(COMPLAINTS);
    loop {
        match timeout(PATIENCE, subscribe(&at)).await {
            Ok(Ok(mut subscription)) => {
                let begun = Instant::now();
                match notifier.check() {
                    Ok(()) => common.health.good(KIND, &name),
                    Err(why) => common.health.bad(KIND, &name, &why),
                }
                common.fetch_soon();
                let ended = listen(&mut subscription, &name, &notifier, &common, &mut limit).await;
                if begun.elapsed() >= LASTING {
                    pause = SHORTEST;
                }
                common.health.bad(KIND, &name, &format!("the connection ended: {ended}"));
            }
            Ok(Err(error)) => common.health.bad(KIND, &name, &error.to_string()),
            Err(_elapsed) => common.health.bad(KIND, &name, &format!("no answer within {} s", PATIENCE.as_secs())),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

async fn subscribe(at: &str) -> Result<Subscription<TcpStream>, ZmtpError> {
    let stream = TcpStream::connect(at).await?;
    keep_alive(&stream)?;
    Subscription::open(stream, MAX_NOTICE).await
}

/// A publisher that is silent may be gone: the kernel finds out within a minute.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(20))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

async fn listen(
    subscription: &mut Subscription<TcpStream>,
    name: &str,
    notifier: &Notifier,
    common: &Common,
    limit: &mut RateLimit,
) -> ZmtpError {
    loop {
        let message = match subscription.next().await {
            Ok(message) => message,
            Err(error) => return error,
        };
        match notices::take(&message, "zeromq", notifier, common).await {
            Ok(_) => common.health.heard(KIND, name),
            Err(error) => notices::complain(limit, name, &error),
        }
    }
}

#[cfg(test)]
mod tests;
