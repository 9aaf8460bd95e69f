//! The control socket: who may ask, how much, for how long. What is answered is the loop's business.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policy::model::daemon::AdminSocket;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::time::timeout;

use super::admin_port;
use super::feed::{self, Feed};
use super::revokers::Revokers;
use crate::control::{MAX_REQUEST, Request, Response};
use crate::exit_code::Exit;
use crate::logging;
use crate::racoonctl::request::{EventReport, RacoonRequest};
use crate::users::{group_id, user_id};

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
    access: Access,
}

/// Who may command.
#[derive(Clone, Debug)]
enum Access {
    /// Root, or whoever runs the daemon; these others may revoke.
    Root(Revokers),
    /// Whoever the mode of the socket's file lets in: racoon.conf said so.
    ByMode,
}

impl ControlSocket {
    /// Creates the socket (0600) and its directory (0755); `revokers` may revoke, once its mode lets them in.
    ///
    /// # Errors
    /// Another daemon lives on it, or the system call's.
    pub fn create(path: &Path, revokers: Revokers) -> io::Result<Self> {
        Self::bind(path, 0o600, Access::Root(revokers))
    }

    /// Creates the socket that racoon.conf names for racoonctl, with the owner, group and mode written there.
    ///
    /// # Errors
    /// As [`Self::create`]; a user or group that does not exist.
    pub fn create_for(admin: &AdminSocket) -> io::Result<Self> {
        let path = Path::new(&admin.path);
        let made = Self::bind(path, admin.mode.unwrap_or(0o600), Access::ByMode)?;
        if let Some((owner, group)) = &admin.owner {
            let (owner, group) = (user_id(owner)?, group_id(group)?);
            std::os::unix::fs::chown(path, Some(owner), Some(group))?;
        }
        Ok(made)
    }

    fn bind(path: &Path, mode: u32, access: Access) -> io::Result<Self> {
        if let Some(directory) = path.parent()
            && !directory.exists()
        {
            fs::create_dir_all(directory)?;
            fs::set_permissions(directory, Permissions::from_mode(0o755))?;
        }
        remove_stale(path)?;
        // The mode must hold before the first accept: the file is born with it.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777 & !mode));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        Ok(Self { listener: listener?, path: path.to_owned(), access })
    }

    /// Serves for ever; requests go into `calls`, events come from `feed`.
    pub async fn serve(self, calls: mpsc::Sender<Call>, feed: Feed) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _address)) => {
                    let (calls, feed, access) = (calls.clone(), feed.clone(), self.access.clone());
                    tokio::spawn(async move {
                        // A client that went away is his own loss.
                        let _broken = converse(stream, &access, &calls, &feed).await;
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

async fn converse(mut stream: UnixStream, access: &Access, calls: &mpsc::Sender<Call>, feed: &Feed) -> io::Result<()> {
    let asked = match permitted(&stream, access) {
        Ok(scope) => {
            let mut first = [0; 2];
            timeout(CLIENT_PATIENCE, stream.read_exact(&mut first)).await??;
            // The original's requests begin with their length, ours are text.
            if scope == Scope::Everything && first[1] < b'\t' {
                return admin_port::converse(&mut stream, first, CLIENT_PATIENCE, (calls, feed)).await;
            }
            read_request(&mut stream, first).await?.and_then(|request| within(scope, request))
        }
        Err(refusal) => Err(refusal),
    };
    let response = match asked {
        Ok(Request::Racoon(RacoonRequest::Events)) => return tell_events(stream, feed.subscribe()).await,
        Ok(request) => respond(request, calls).await,
        Err(refusal) => refusal,
    };
    write_line(&mut stream, &response).await
}

async fn write_line(stream: &mut UnixStream, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    timeout(CLIENT_PATIENCE, stream.write_all(&line)).await?
}

/// A line for each event, until the client leaves.
async fn tell_events(mut stream: UnixStream, mut events: broadcast::Receiver<EventReport>) -> io::Result<()> {
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => {
                    write_line(&mut stream, &Response::done(&event)).await?;
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

/// What a caller may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Everything,
    /// To revoke.
    Revocations,
}

fn within(scope: Scope, request: Request) -> Result<Request, Response> {
    match (scope, &request) {
        (Scope::Everything, _) | (Scope::Revocations, Request::Revoke(_)) => Ok(request),
        (Scope::Revocations, _) => Err(Response::failed(Exit::NotPermitted, "this user may revoke, and nothing else")),
    }
}

fn permitted(stream: &UnixStream, access: &Access) -> Result<Scope, Response> {
    let Access::Root(revokers) = access else { return Ok(Scope::Everything) };
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => Ok(Scope::Everything),
        Ok(peer) if revokers.contains(peer.uid()) => Ok(Scope::Revocations),
        Ok(peer) => {
            Err(Response::failed(Exit::NotPermitted, format!("user {} may not command the daemon", peer.uid())))
        }
        Err(error) => Err(Response::failed(Exit::NotPermitted, format!("the caller is not known: {error}"))),
    }
}

async fn read_request(stream: &mut UnixStream, first: [u8; 2]) -> io::Result<Result<Request, Response>> {
    let mut line = first.to_vec();
    // One octet more than allowed tells a full line from one cut off.
    let mut bounded = BufReader::new(stream.take((MAX_REQUEST + 1 - first.len()) as u64));
    timeout(CLIENT_PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
    if line.len() > MAX_REQUEST {
        let text = format!("the request is longer than {MAX_REQUEST} octets");
        return Ok(Err(Response::failed(Exit::Usage, text)));
    }
    let unreadable = |error| Response::failed(Exit::Usage, format!("the request cannot be read: {error}"));
    Ok(serde_json::from_slice(&line).map_err(unreadable))
}

pub(super) async fn respond(request: Request, calls: &mpsc::Sender<Call>) -> Response {
    let (reply, answer) = oneshot::channel();
    let gone = || Response::failed(Exit::Unavailable, "the daemon is going down");
    if calls.send(Call { request, reply }).await.is_err() {
        return gone();
    }
    answer.await.unwrap_or_else(|_dropped| gone())
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
        let socket = ControlSocket::create(&path, Revokers::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ControlSocket::create(&path, Revokers::default()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let (calls, mut called) = mpsc::channel(4);
        tokio::spawn(socket.serve(calls, feed::feed()));
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
        // The original's reload-config.
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&[8, 0, 1, 0, 0, 0, 0, 0]).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply, [8, 0, 1, 0, 0, 0, 0, 0]);
        let answer = ask(path, vec![b'x'; MAX_REQUEST + 1]).await;
        assert!(answer.contains("longer than"), "{answer}");
    }
}
