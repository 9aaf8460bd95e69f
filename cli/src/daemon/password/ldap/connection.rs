//! A connection to a directory that ends in time: TCP, TLS over it (`ldaps`), or a local socket (`ldapi`).

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hyper::Uri;
use openssl::ssl::{SslConnector, SslMethod};

use super::message::{self, Ended, Entry, Response, Search};

/// Entries of one search that are taken.
const MOST_ENTRIES: usize = 1000;

/// What went wrong between us and the server.
pub(super) type Failure = String;

/// Both directions.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A socket of which no call lasts beyond the deadline.
#[derive(Debug)]
struct Bounded<S> {
    socket: S,
    deadline: Instant,
}

/// A socket whose calls can be bounded.
trait Socket {
    fn bound(&self, time: Duration) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn bound(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Socket for UnixStream {
    fn bound(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
}

impl<S: Socket> Bounded<S> {
    fn bound(&self) -> io::Result<()> {
        self.socket.bound(left(self.deadline)?)
    }
}

fn timed_out(error: io::Error) -> io::Error {
    // What a socket with a timeout says.
    if error.kind() == io::ErrorKind::WouldBlock { io::Error::from(io::ErrorKind::TimedOut) } else { error }
}

impl<S: Socket + Read> Read for Bounded<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bound()?;
        self.socket.read(buffer).map_err(timed_out)
    }
}

impl<S: Socket + Write> Write for Bounded<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.bound()?;
        self.socket.write(octets).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A directory that answers.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// What has been read of the next message.
    buffer: Vec<u8>,
    last_id: u32,
}

impl Connection {
    /// Connects to what `uri` names.
    ///
    /// # Errors
    /// In words: it cannot be reached in time, or its certificate is not good.
    pub(super) fn open(uri: &str, deadline: Instant) -> Result<Self, Failure> {
        let stream: Box<dyn Stream> = match uri.strip_prefix("ldapi://") {
            Some(path) => Box::new(local(path, deadline)?),
            None => remote(uri, deadline)?,
        };
        Ok(Self { stream, buffer: Vec::new(), last_id: 0 })
    }

    /// Binds with a password; how that ended.
    ///
    /// # Errors
    /// No answer.
    pub(super) fn bind(&mut self, dn: &str, password: &[u8]) -> Result<Ended, Failure> {
        let id = self.next_id();
        self.send(&message::bind(id, dn, password))?;
        loop {
            if let Response::Bound(ended) = self.receive(id)? {
                return Ok(ended);
            }
        }
    }

    /// The entries that a search finds.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(super) fn search(&mut self, search: &Search<'_>) -> Result<Vec<Entry>, Failure> {
        let id = self.next_id();
        self.send(&search.request(id))?;
        let mut entries = Vec::new();
        loop {
            match self.receive(id)? {
                Response::Entry(entry) if entries.len() < MOST_ENTRIES => entries.push(entry),
                Response::Entry(_) => return Err(format!("more than {MOST_ENTRIES} entries")),
                // 4: there are more than we asked for (RFC 4511 appendix A).
                Response::Done(Ended { code: 0 | 4, .. }) => return Ok(entries),
                Response::Done(ended) => return Err(format!("the search for {} {}", search.base, refusal(&ended))),
                _ => {}
            }
        }
    }

    /// Says goodbye; there is no answer to it.
    pub(super) fn close(mut self) {
        let id = self.next_id();
        let _gone_already = self.send(&message::unbind(id));
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(octets).and_then(|()| self.stream.flush()).map_err(|error| error.to_string())
    }

    /// The next answer to the message with this number.
    fn receive(&mut self, wanted: u32) -> Result<Response, Failure> {
        loop {
            while let Some((id, response, length)) = message::first(&self.buffer).map_err(|error| error.to_string())? {
                self.buffer.drain(..length);
                if id == wanted {
                    return Ok(response);
                }
                // RFC 4511 section 4.4.1.
                if id == 0 {
                    return Err("the server ends the connection".to_owned());
                }
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).map_err(|error| error.to_string())?;
            match chunk.get(..count) {
                None | Some([]) => return Err("the server has closed the connection".to_owned()),
                Some(octets) => self.buffer.extend_from_slice(octets),
            }
        }
    }
}

/// As the end of a sentence.
pub(super) fn refusal(ended: &Ended) -> String {
    let words = if ended.text.is_empty() { String::new() } else { format!(": {}", ended.text) };
    format!("is refused with code {}{words}", ended.code)
}

/// `ldapi`: the path is the host, percent-encoded.
fn local(path: &str, deadline: Instant) -> Result<Bounded<UnixStream>, Failure> {
    let host = path.split(['/', '?']).next().unwrap_or_default();
    let path = if host.is_empty() { format!("/{}", path.trim_start_matches('/')) } else { decoded(host) };
    let socket = UnixStream::connect(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(Bounded { socket, deadline })
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let octet = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (octet, part.get(2..)) {
            (Some(octet), Some(rest)) => {
                path.push(char::from(octet));
                path.push_str(rest);
            }
            _ => {
                path.push('%');
                path.push_str(part);
            }
        }
    }
    path
}

fn remote(uri: &str, deadline: Instant) -> Result<Box<dyn Stream>, Failure> {
    let unusable = || format!("{uri} is no URI of a directory");
    let parsed: Uri = uri.parse().map_err(|_not_one| unusable())?;
    let secure = parsed.scheme_str() == Some("ldaps");
    let host = parsed.host().filter(|host| !host.is_empty()).ok_or_else(unusable)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = parsed.port_u16().unwrap_or(if secure { 636 } else { 389 });
    let socket = Bounded { socket: connect(host, port, deadline)?, deadline };
    if !secure {
        return Ok(Box::new(socket));
    }
    // The system's trust anchors; SSL_CERT_FILE names others.
    let connector = SslConnector::builder(SslMethod::tls_client()).map_err(|error| error.to_string())?.build();
    match connector.connect(host, socket) {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(format!("{host}: no TLS: {error}")),
    }
}

fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, Failure> {
    let mut failure = format!("{host}: no address");
    for address in (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))? {
        match left(deadline).and_then(|left| TcpStream::connect_timeout(&address, left)) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = format!("{address}: {error}"),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_local_sockets() {
        assert_eq!(decoded("%2frun%2Fslapd%2fldapi"), "/run/slapd/ldapi");
        assert_eq!(decoded("a%zz%"), "a%zz%");
    }
}
