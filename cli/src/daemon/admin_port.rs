//! The original's `racoonctl` at the control socket: its structures ([`crate::racoonctl::wire`]) asked as our own requests.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use super::clock;
use super::control::{self, Call};
use super::feed::{self, Feed};
use super::racoon;
use crate::control::{Request, Response};
use crate::racoonctl::request::{EventReport, RacoonRequest};
use crate::racoonctl::wire::{Asked, HEADER, Header, LONGEST};
use crate::revocation::serial::from_hex;

/// Answers one request whose first two octets are `first`.
///
/// # Errors
/// The client is gone, or takes too long.
pub async fn converse(
    stream: &mut UnixStream,
    first: [u8; 2],
    patience: Duration,
    (calls, feed): (&mpsc::Sender<Call>, &Feed),
) -> io::Result<()> {
    let mut head = [0; HEADER];
    let (begun, rest) = head.split_at_mut(first.len());
    begun.copy_from_slice(&first);
    timeout(patience, stream.read_exact(rest)).await??;
    let Some(header) = Header::read(head) else { return Ok(()) };
    let mut body = vec![0; usize::from(header.length).min(LONGEST) - HEADER];
    timeout(patience, stream.read_exact(&mut body)).await??;
    let asked = match header.request(&body) {
        Ok(asked) => asked,
        Err(reply) => return timeout(patience, stream.write_all(&reply)).await?,
    };
    // Before the order is carried out, so that none of its events is missed.
    let events = feed.subscribe();
    let listens = matches!(asked.request, Request::Racoon(RacoonRequest::Events));
    let (reply, goes_on) = if listens {
        (asked.done(), true)
    } else if let Request::Racoon(RacoonRequest::ShowIpsec { family }) = asked.request {
        (racoon::sadb_messages(family).map_or_else(|_refusal| asked.refused(), |dump| asked.octets(&dump)), false)
    } else {
        let response = control::respond(asked.request.clone(), calls).await;
        (reply(&asked, &response), asked.follows().is_some() && matches!(response, Response::Done { .. }))
    };
    timeout(patience, stream.write_all(&reply)).await??;
    if goes_on { tell(stream, &asked, events, patience).await } else { Ok(()) }
}

fn reply(asked: &Asked, response: &Response) -> Vec<u8> {
    let Response::Done { result } = response else { return asked.refused() };
    fn read<T: DeserializeOwned + Default>(result: &serde_json::Value) -> T {
        serde_json::from_value(result.clone()).unwrap_or_default()
    }
    match &asked.request {
        Request::Racoon(RacoonRequest::ShowIsakmp) => asked.isakmp(&read::<Vec<_>>(result)),
        Request::Racoon(RacoonRequest::ShowSchedule) => asked.schedule(&read::<Vec<_>>(result)),
        Request::Racoon(RacoonRequest::Certificate { .. }) => {
            asked.octets(&from_hex(&read::<String>(result)).unwrap_or_default())
        }
        Request::Status => asked.octets(format!("{result:#}\n").as_bytes()),
        _ => asked.done(),
    }
}

/// Events until the client leaves: all of them, or those with the peer that it has us negotiate with.
async fn tell(
    stream: &mut UnixStream,
    asked: &Asked,
    mut events: broadcast::Receiver<EventReport>,
    patience: Duration,
) -> io::Result<()> {
    let of = |peer: IpAddr| format!("{peer}[");
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => {
                    let end = |end: &Option<String>, peer| end.as_ref().is_some_and(|end| end.starts_with(&of(peer)));
                    let with = |peer| end(&event.local, peer) || end(&event.peer, peer);
                    if asked.follows().is_none_or(with) {
                        let octets = asked.event(&event, clock::now().wall);
                        timeout(patience, stream.write_all(&octets)).await??;
                    }
                    if feed::is_last(&event) {
                        return Ok(());
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            // It has nothing more to say: this is its end.
            _ = stream.read(&mut nothing) => return Ok(()),
        }
    }
}
