//! The control socket: who may ask, how much, for how long. What is answered is the loop's business.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::control::{MAX_REQUEST, Request, Response};
use crate::exit_code::Exit;
use crate::logging;

/// Connections served at once; more of them wait in the kernel.
const MAX_CONNECTIONS: usize = 32;
/// A client that takes longer to ask, or to read its answer, is cut off.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// A request and the way back.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes; dropping it without an answer tells the client so.
    pub reply: oneshot::Sender<Response>,
}

/// The listening socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Creates the socket (0600) and its directory (0755).
    ///
    /// # Errors
    /// Another daemon lives on it, or the system call's.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent()
            && !directory.exists()
        {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, Permissions::from_mode(0o755))?;
        }
        remove_stale(path)?;
        // The mode must hold before the first accept: the file is born with it.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        Ok(Self { listener: listener?, path: path.to_owned() })
    }

    /// Serves for ever; requests go into `calls`.
    pub async fn serve(self, calls: mpsc::Sender<Call>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _address)) => {
                    let calls = calls.clone();
                    tokio::spawn(async move {
                        // A client that went away is his own loss.
                        let _broken = converse(stream, &calls).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    logging::warning(format_args!("control socket: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Already gone is as good.
        let _missing = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let text = format!("another daemon already listens on {} (stop it first)", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn converse(mut stream: UnixStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let response = match permitted(&stream) {
        Ok(()) => respond(&mut stream, calls).await?,
        Err(refusal) => refusal,
    };
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    timeout(CLIENT_PATIENCE, stream.write_all(&line)).await??;
    Ok(())
}

/// Root, or whoever runs the daemon.
fn permitted(stream: &UnixStream) -> Result<(), Response> {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => Ok(()),
        Ok(peer) => {
            Err(Response::failed(Exit::NotPermitted, format!("user {} may not command the daemon", peer.uid())))
        }
        Err(error) => Err(Response::failed(Exit::NotPermitted, format!("the caller is not known: {error}"))),
    }
}

async fn respond(stream: &mut UnixStream, calls: &mpsc::Sender<Call>) -> io::Result<Response> {
    let mut line = Vec::new();
    // One octet more than allowed tells a full line from one cut off.
    let mut bounded = BufReader::new(stream.take(MAX_REQUEST as u64 + 1));
    timeout(CLIENT_PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
    if line.len() > MAX_REQUEST {
        return Ok(Response::failed(Exit::Usage, format!("the request is longer than {MAX_REQUEST} octets")));
    }
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return Ok(Response::failed(Exit::Usage, format!("the request cannot be read: {error}"))),
    };
    let (reply, answer) = oneshot::channel();
    let gone = || Response::failed(Exit::Unavailable, "the daemon is going down");
    if calls.send(Call { request, reply }).await.is_err() {
        return Ok(gone());
    }
    Ok(answer.await.unwrap_or_else(|_dropped| gone()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    async fn ask(path: PathBuf, octets: Vec<u8>) -> String {
        tokio::task::spawn_blocking(move || {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            // The daemon may close before it has read everything of an oversized request.
            let _cut = stream.write_all(&octets);
            let mut answer = String::new();
            let _reset = stream.read_to_string(&mut answer);
            answer
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn requests_are_bounded_and_answered_while_another_client_dawdles() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run").join("control.sock");
        let socket = ControlSocket::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ControlSocket::create(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let (calls, mut called) = mpsc::channel(4);
        tokio::spawn(socket.serve(calls));
        tokio::spawn(async move {
            while let Some(call) = called.recv().await {
                let _gone = call.reply.send(Response::done(&format!("{:?}", call.request)));
            }
        });
        let _dawdler = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let answer = ask(path.clone(), b"{\"command\":\"peers\"}\n".to_vec()).await;
        assert_eq!(answer, "{\"result\":\"Peers\"}\n");
        let answer = ask(path.clone(), b"{\"command\":\"nonsense\"}\n".to_vec()).await;
        assert!(answer.starts_with("{\"exit\":2,\"error\":\"the request cannot be read"), "{answer}");
        let answer = ask(path, vec![b'x'; MAX_REQUEST + 1]).await;
        assert!(answer.contains("longer than"), "{answer}");
    }
}
