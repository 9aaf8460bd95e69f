//! A network namespace with the mount namespace that belongs to it, kept by a process and gone with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use netlink_sys::{Socket, protocols::NETLINK_XFRM};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::enter;
use crate::failure::{During, Failure, Result};
use crate::holder;
use crate::process;
use crate::program::this_program;

/// A packet that asks for an SA is held until it is there, rather than dropped, which is the kernel's default: the
/// scenarios want to see every packet arrive.
pub const HOLD_PACKETS: &str = "net/core/xfrm_larval_drop=0";

/// A network namespace and its mounts.
#[derive(Debug)]
pub struct Netns {
    name: String,
    holder: Child,
    network: Arc<OwnedFd>,
    mounts: Arc<OwnedFd>,
}

impl Netns {
    /// Makes the namespaces; the loopback is still down. `settings` are values below /proc/sys.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(name: &str, settings: &[&str]) -> Result<Self> {
        let mut holder = Command::new(this_program()?)
            .arg("holder")
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .during("starting a namespace's holder")?;
        let mut line = String::new();
        if let Some(out) = holder.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if line.trim() != holder::READY {
            let output = holder.wait_with_output()?;
            return Err(Failure::new(format!("no namespaces for {name}"))
                .with("the holder said", String::from_utf8_lossy(&output.stderr)));
        }
        let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", holder.id()));
        let (network, mounts) = (Arc::new(open("net")?.into()), Arc::new(open("mnt")?.into()));
        Ok(Self { name: name.to_owned(), holder, network, mounts })
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process whose namespaces these are: iproute2 takes it where it wants to know a namespace.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// Where a file of these mounts is seen from outside.
    pub fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.holder.id()))
    }

    /// A command that will run in these namespaces.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        enter::run_in(&mut command, Arc::clone(&self.network), Some(Arc::clone(&self.mounts)));
        command
    }

    /// A netlink socket for SAs and policies that belongs to this namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn xfrm_socket(&self) -> Result<Socket> {
        // A thread of its own moves in, so that this one stays where it is.
        let inside = || -> std::io::Result<Socket> {
            move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
            let mut socket = Socket::new(NETLINK_XFRM)?;
            socket.bind_auto()?;
            Ok(socket)
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_| Failure::new("the thread for a netlink socket panicked"))?
            .during(format!("a netlink socket in {}", self.name))
    }

    /// A UDP socket that belongs to this namespace; reading from it waits for a moment only.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn udp_socket(&self, at: std::net::SocketAddr) -> Result<std::net::UdpSocket> {
        let inside = || -> std::io::Result<std::net::UdpSocket> {
            move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
            let socket = std::net::UdpSocket::bind(at)?;
            socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
            Ok(socket)
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .map_err(|_| Failure::new("the thread for a UDP socket panicked"))?
            .during(format!("a UDP socket on {at} in {}", self.name))
    }

    /// A TCP listener that belongs to this namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn tcp_listener(&self, at: std::net::SocketAddr) -> Result<std::net::TcpListener> {
        self.inside(&format!("a TCP listener on {at}"), || std::net::TcpListener::bind(at))
    }

    /// A TCP connection from this namespace.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn tcp_stream(&self, to: std::net::SocketAddr) -> Result<std::net::TcpStream> {
        self.inside(&format!("a TCP connection to {to}"), || std::net::TcpStream::connect(to))
    }

    /// What is made on a thread that has moved in.
    fn inside<T: Send>(&self, what: &str, make: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
        let moved = || {
            move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
            make()
        };
        thread::scope(|scope| scope.spawn(moved).join())
            .map_err(|_| Failure::new(format!("the thread for {what} panicked")))?
            .during(format!("{what} in {}", self.name))
    }

    /// Runs one iproute2 command inside; its output.
    ///
    /// # Errors
    /// When iproute2 reports failure.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        process::check(self.command("ip").args(arguments))
    }

    /// Runs several iproute2 commands in one process.
    ///
    /// # Errors
    /// When any line fails.
    pub fn batch(&self, lines: &str) -> Result<()> {
        let mut child = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(lines.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("ip -batch in {} failed", self.name))
            .with("lines", lines)
            .with("answer", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // The namespaces go with their last process.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
