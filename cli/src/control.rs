//! The control socket's language, and the side that asks.
//!
//! A JSON object on one line asks, another one answers, then the connection ends. Sizes are bounded on both sides.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::exit_code::Exit;

/// Longest request line: the largest one names a peer or a serial.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Longest answer: some hundred octets for each of 100,000 peers.
const MAX_RESPONSE: u64 = 256 * 1024 * 1024;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// [`crate::report::StatusReport`].
    Status,
    /// A list of [`crate::report::PeerReport`].
    Peers,
    /// Bring phase 1 up; answered when it is up or has failed.
    Up {
        /// Address or name of a remote block.
        peer: String,
        /// Longest wait.
        timeout_s: u64,
    },
    /// Take down everything with a peer.
    Down {
        /// Address or name of a remote block; all peers without it.
        peer: Option<String>,
    },
    /// Read the configuration again.
    Reload,
    /// What racoonctl asks for.
    Racoon(crate::racoonctl::request::RacoonRequest),
    /// Revoke: [`crate::report::RevocationReport`].
    Revoke(CertificateRef),
    /// Take off the deny list: the number of entries removed.
    Unrevoke(CertificateRef),
}

/// A certificate as an operator can name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRef {
    /// Serial number, decimal.
    pub serial: String,
    /// SHA-256 of the issuer's public key, hexadecimal.
    pub issuer_key: Option<String>,
    /// The issuer's name in OpenSSL's one-line form.
    pub issuer_name: Option<String>,
    /// The certificate itself, DER in hexadecimal: its issuer is then the one that signed it.
    pub certificate: Option<String>,
    /// Who asks, one word, for the deny list and the log; `None` is xfrmctl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Response {
    /// Done.
    Done {
        /// What was asked for.
        result: Value,
    },
    /// Not done.
    Failed {
        /// Exit code for the caller.
        exit: u8,
        /// Why.
        error: String,
    },
}

impl Response {
    /// A result.
    pub fn done(result: &impl Serialize) -> Self {
        match serde_json::to_value(result) {
            Ok(result) => Self::Done { result },
            Err(error) => Self::failed(Exit::NotSo, format!("the answer cannot be written: {error}")),
        }
    }

    /// A failure.
    pub fn failed(exit: Exit, error: impl Into<String>) -> Self {
        Self::Failed { exit: exit.code(), error: error.into() }
    }
}

/// Why there is no result.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("no daemon answers on {socket}: {error} (is xfrmd running? another socket is named with --control)")]
    NoDaemon {
        /// The socket.
        socket: String,
        /// The system's words.
        error: io::Error,
    },
    /// We may not ask.
    #[error("{socket}: {error} (the control socket is root's)")]
    Denied {
        /// The socket.
        socket: String,
        /// The system's words.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the daemon broke off: {0}")]
    Broken(io::Error),
    /// The answer makes no sense.
    #[error("the daemon's answer cannot be read: {0}")]
    Malformed(serde_json::Error),
    /// The daemon refused.
    #[error("{error}")]
    Refused {
        /// Exit code.
        exit: Exit,
        /// The daemon's words.
        error: String,
    },
}

impl CallError {
    /// How a program that cannot go on ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { .. } | Self::Broken(_) | Self::Malformed(_) => Exit::Unavailable,
            Self::Denied { .. } => Exit::NotPermitted,
            Self::Refused { exit, .. } => *exit,
        }
    }

    /// Is the daemon simply not there?
    pub fn is_no_daemon(&self) -> bool {
        matches!(self, Self::NoDaemon { .. })
    }
}

/// Asks the daemon and waits for its answer, at most `patience`.
///
/// # Errors
/// See [`CallError`].
pub fn call<T: DeserializeOwned>(socket: &Path, request: &Request, patience: Duration) -> Result<T, CallError> {
    let mut stream = connect(socket)?;
    let line = exchange(&mut stream, request, patience).map_err(CallError::Broken)?;
    match serde_json::from_str(&line).map_err(CallError::Malformed)? {
        Response::Done { result } => serde_json::from_value(result).map_err(CallError::Malformed),
        Response::Failed { exit, error } => Err(CallError::Refused { exit: Exit::from_code(exit), error }),
    }
}

/// Asks for something that does not end: `each` gets every line of the answer, until the daemon goes away or `each` fails.
///
/// # Errors
/// See [`CallError`]; the daemon's end is none.
pub fn follow<T: DeserializeOwned>(
    socket: &Path,
    request: &Request,
    mut each: impl FnMut(T) -> io::Result<()>,
) -> Result<(), CallError> {
    let mut stream = connect(socket)?;
    let mut line = serde_json::to_string(request).map_err(CallError::Malformed)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(CallError::Broken)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(CallError::Broken)?;
        let value = match serde_json::from_str(&line).map_err(CallError::Malformed)? {
            Response::Done { result } => serde_json::from_value(result).map_err(CallError::Malformed)?,
            Response::Failed { exit, error } => return Err(CallError::Refused { exit: Exit::from_code(exit), error }),
        };
        // Whoever reads our output has had enough.
        if each(value).is_err() {
            break;
        }
    }
    Ok(())
}

fn connect(socket: &Path) -> Result<UnixStream, CallError> {
    let name = || socket.display().to_string();
    UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => CallError::Denied { socket: name(), error },
        _ => CallError::NoDaemon { socket: name(), error },
    })
}

fn exchange(stream: &mut UnixStream, request: &Request, patience: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_RESPONSE)).read_line(&mut answer)?;
    if !answer.ends_with('\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no complete answer"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_line_each_and_read_back() {
        let certificate = CertificateRef {
            serial: "10".to_owned(),
            issuer_key: None,
            issuer_name: Some("/CN=x".to_owned()),
            certificate: None,
            source: None,
        };
        for request in [
            Request::Status,
            Request::Peers,
            Request::Up { peer: "10.0.0.2".to_owned(), timeout_s: 5 },
            Request::Down { peer: None },
            Request::Reload,
            Request::Revoke(certificate.clone()),
            Request::Unrevoke(certificate),
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        }
        assert_eq!(serde_json::to_string(&Request::Reload).unwrap(), r#"{"command":"reload"}"#);
    }

    #[test]
    fn unknown_commands_and_fields_are_refused() {
        assert!(serde_json::from_str::<Request>(r#"{"command":"format-disk"}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"command":"up","peer":"x","timeout_s":1,"extra":1}"#).is_err());
    }

    #[test]
    fn nobody_listening_is_told_from_a_refusal() {
        let nowhere = tempfile::tempdir().unwrap().path().join("control.sock");
        let error = call::<Value>(&nowhere, &Request::Status, Duration::from_secs(1)).unwrap_err();
        assert!(error.is_no_daemon());
        assert_eq!(error.exit(), Exit::Unavailable);
    }
}
