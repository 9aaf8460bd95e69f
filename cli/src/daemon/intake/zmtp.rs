//! The subscriber's side of ZMTP 3.0 (rfc.zeromq.org/spec/23) with the NULL mechanism: greeting, READY, one subscription
//! to everything, then messages.
//!
//! Written here since the crates for it take whatever length a frame announces, and whoever can speak for the publisher's
//! address could so have the daemon ask for more memory than there is. Here every length has a bound.

use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest command: READY with a few properties.
const MAX_COMMAND: usize = 1024;
const GREETING: usize = 64;
/// For a PONG to leave: a publisher that asks and does not read is none.
const PATIENCE: Duration = Duration::from_secs(10);

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What went wrong with a publisher.
#[derive(Debug, Error)]
pub enum ZmtpError {
    /// The connection.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("the other end does not speak ZMTP 3: {0}")]
    Foreign(&'static str),
    /// A length beyond the bound.
    #[error("a message of {0} octets is not read")]
    TooLong(u64),
}

/// An open subscription.
#[derive(Debug)]
pub struct Subscription<S> {
    stream: S,
    longest: usize,
}

struct Frame {
    flags: u8,
    body: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Subscription<S> {
    /// Shakes hands and subscribes to everything. Messages of more than `longest` octets will end the connection.
    ///
    /// # Errors
    /// [`ZmtpError`]. Has no clock: the caller bounds the time.
    pub async fn open(mut stream: S, longest: usize) -> Result<Self, ZmtpError> {
        stream.write_all(&greeting()).await?;
        let mut theirs = [0; GREETING];
        stream.read_exact(&mut theirs).await?;
        check_greeting(&theirs)?;
        stream.write_all(&ready()).await?;
        let mut subscription = Self { stream, longest };
        let answer = subscription.frame().await?;
        if answer.flags & COMMAND == 0 || !answer.body.starts_with(b"\x05READY") {
            return Err(ZmtpError::Foreign("it sends no READY"));
        }
        // A subscription to every topic, as ZMTP 3.0 has it: a message of its own.
        subscription.stream.write_all(&[0, 1, 1]).await?;
        Ok(subscription)
    }

    /// The next message of a single part. Of messages of several parts nothing is known to come here: they are passed over.
    ///
    /// # Errors
    /// [`ZmtpError`]; the connection is of no more use then.
    pub async fn next(&mut self) -> Result<Vec<u8>, ZmtpError> {
        let mut in_parts = false;
        loop {
            let frame = self.frame().await?;
            if frame.flags & COMMAND != 0 {
                self.answer(&frame.body).await?;
                continue;
            }
            let (is_part, has_more) = (in_parts, frame.flags & MORE != 0);
            in_parts = has_more;
            if !is_part && !has_more {
                return Ok(frame.body);
            }
        }
    }

    /// PING wants a PONG with its context; other commands want nothing.
    async fn answer(&mut self, command: &[u8]) -> Result<(), ZmtpError> {
        let Some(context) = command.strip_prefix(b"\x04PING").and_then(|rest| rest.get(2..)) else { return Ok(()) };
        let context = context.get(..context.len().min(16)).unwrap_or_default();
        let body = [b"\x04PONG", context].concat();
        let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
        let pong = [&[COMMAND, length], body.as_slice()].concat();
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(&pong)).await;
        Ok(sent.map_err(|_elapsed| ZmtpError::Foreign("it does not read the answers to its own questions"))??)
    }

    async fn frame(&mut self) -> Result<Frame, ZmtpError> {
        let flags = self.stream.read_u8().await?;
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(ZmtpError::Foreign("a frame has unknown flags"));
        }
        let announced =
            if flags & LONG != 0 { self.stream.read_u64().await? } else { u64::from(self.stream.read_u8().await?) };
        let most = if flags & COMMAND != 0 { MAX_COMMAND } else { self.longest };
        let length = usize::try_from(announced).ok().filter(|length| *length <= most);
        let length = length.ok_or(ZmtpError::TooLong(announced))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(Frame { flags, body })
    }
}

fn greeting() -> [u8; GREETING] {
    let mut octets = [0; GREETING];
    let parts: [(usize, &[u8]); 3] = [(0, &[0xff]), (9, &[0x7f, 3, 0]), (12, b"NULL")];
    for (at, part) in parts {
        for (octet, value) in octets.iter_mut().skip(at).zip(part) {
            *octet = *value;
        }
    }
    octets
}

fn check_greeting(theirs: &[u8; GREETING]) -> Result<(), ZmtpError> {
    let [first, .., _] = theirs;
    let at = |position: usize| theirs.get(position).copied().unwrap_or_default();
    if *first != 0xff || at(9) != 0x7f {
        return Err(ZmtpError::Foreign("no signature in its greeting"));
    }
    if at(10) < 3 {
        return Err(ZmtpError::Foreign("an older version"));
    }
    if theirs.get(12..32) != greeting().get(12..32) {
        return Err(ZmtpError::Foreign("another security mechanism than NULL"));
    }
    Ok(())
}

fn ready() -> Vec<u8> {
    let body = [&b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"[..], &b"\x08Identity\x00\x00\x00\x00"[..]].concat();
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    [&[COMMAND, length], body.as_slice()].concat()
}

#[cfg(test)]
mod tests;
