//! The request socket: the only place, with `event_stream`, where this crate talks to the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use netlink_packet_xfrm::constants::{XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};
use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};
use policy::model::sa::{Protocol, Spi};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use zeroize::Zeroize;

use crate::abi::{Kind, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use crate::batch::{Refusal, Window, read_ack, window_len};
use crate::codec::error::CodecError;
use crate::codec::policy::read_policy;
use crate::codec::reader::{Message, Messages, u32_at};
use crate::codec::sa::read_sa;
use crate::codec::writer::MessageWriter;
use crate::model::mark::Mark;
use crate::model::policy::{Policy, PolicyKey, RawPolicy};
use crate::model::sa::{Sa, SaName};
use crate::request::{Reply, Request, SpiRequest};

/// A dump's datagrams are at most 32 KiB.
const DATAGRAM_ROOM: usize = 64 * 1024;
/// Receive buffer of the request socket.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// The kernel answers while `send` runs; only a machine in distress comes near this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// A table that changes under every one of so many dumps is given up on.
const DUMP_ATTEMPTS: usize = 20;

/// A socket for requests. Blocking: a call returns with the kernel's answers, or when the deadline has passed.
pub struct Connection {
    socket: Socket,
    port: u32,
    sequence: u32,
    datagram: Datagram,
    sent: Sent,
}

/// What a connection has asked the kernel for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests, dumps left out.
    pub requests: u64,
    /// Dumps of a whole table, repeated ones counted each time.
    pub dumps: u64,
}

/// What a dump gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump<T> {
    /// In the kernel's order: newest first.
    pub entries: Vec<T>,
    /// What was there but cannot be told in our words (an SA in BEET mode, say).
    pub unreadable: Vec<CodecError>,
}

/// How an SA came into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It took the place of a larval SA, or of an older one of its name.
    Updated,
    /// There was nothing to update: it was added.
    Added,
}

impl Connection {
    /// Opens the socket. That needs no privilege; every request does: CAP_NET_ADMIN, the looking ones included.
    pub fn open() -> Result<Self, Refusal> {
        Self::try_open().map_err(|error| Refusal::from_io("opening an XFRM netlink socket", &error))
    }

    fn try_open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_XFRM)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        // Kernels without these still answer, with less to say.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        grow_receive_buffer(&socket, RECEIVE_BUFFER);
        Ok(Self { socket, port, sequence: 0, datagram: Datagram::new(), sent: Sent::default() })
    }

    /// Our netlink port: the `requester` of notices that we caused.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// What was asked so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Carries out `requests` in order, up to [`crate::batch::WINDOW`] in one send, one answer for each. A refused
    /// request does not stop those behind it.
    pub fn execute(&mut self, requests: &[Request]) -> Vec<Result<Reply, Refusal>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(window_len(rest).min(rest.len()));
            answers.extend(self.execute_window(now));
            rest = later;
        }
        answers
    }

    /// Carries out one request.
    pub fn execute_one(&mut self, request: Request) -> Result<Reply, Refusal> {
        let answer = self.execute(std::slice::from_ref(&request)).pop();
        answer.unwrap_or_else(|| Err(Refusal::ours(request.to_string(), libc::EBADMSG, "no answer")))
    }

    fn execute_window(&mut self, requests: &[Request]) -> Vec<Result<Reply, Refusal>> {
        let mut writer = MessageWriter::with_room(requests.len()).signed(self.port);
        let first = self.take_sequences(requests.len());
        self.sent.requests += requests.len() as u64;
        let mut window = Window::open(requests, first, &mut writer);
        if writer.is_empty() {
            return window.close(libc::EINVAL, "not sent");
        }
        if let Err(error) = self.send(writer.octets()) {
            return window.close(error.raw_os_error().unwrap_or(libc::EIO), "could not be sent");
        }
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let mut overrun = false;
        while !window.is_complete() {
            match self.datagram.receive(&self.socket, Wait::Until(deadline)) {
                Ok(messages) => messages.flatten().for_each(|message| window.accept(&message)),
                // The kernel had no room for an answer. Those that fit are still to be read; the rest never come.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    overrun = true;
                    self.drain_into(&mut window);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => return window.close(error.raw_os_error().unwrap_or(libc::EIO), "no answer"),
            }
        }
        if overrun {
            window.close(libc::ENOBUFS, "the kernel's answer was lost; it may have been carried out")
        } else {
            window.close(libc::ETIMEDOUT, "the kernel gave no answer")
        }
    }

    fn drain_into(&mut self, window: &mut Window<'_>) {
        while let Ok(messages) = self.datagram.receive(&self.socket, Wait::No) {
            messages.flatten().for_each(|message| window.accept(&message));
        }
    }

    /// GETSA for one SA.
    pub fn sa(&mut self, name: SaName, mark: Option<Mark>) -> Result<Sa, Refusal> {
        let request = Request::GetSa { name, mark };
        let asked = request.to_string();
        match self.execute_one(request)? {
            Reply::Sa(sa) => Ok(*sa),
            _ => Err(Refusal::ours(asked, libc::EBADMSG, "the answer is no SA")),
        }
    }

    /// GETPOLICY for one policy, with a copy to send back as [`Request::RefreshPolicy`].
    pub fn policy(&mut self, key: PolicyKey) -> Result<(Policy, RawPolicy), Refusal> {
        let request = Request::GetPolicy(key);
        let asked = request.to_string();
        match self.execute_one(request)? {
            Reply::Policy(policy, raw) => Ok((*policy, raw)),
            _ => Err(Refusal::ours(asked, libc::EBADMSG, "the answer is no policy")),
        }
    }

    /// Makes the kernel send the packets it holds for a policy: reads the policy and writes it back unchanged.
    pub fn release_held(&mut self, key: PolicyKey) -> Result<(), Refusal> {
        let (_, raw) = self.policy(key)?;
        self.execute_one(Request::RefreshPolicy(raw)).map(|_| ())
    }

    /// ALLOCSPI: reserves an inbound SPI for 30 s.
    pub fn allocate_spi(&mut self, request: SpiRequest) -> Result<Spi, Refusal> {
        let request = Request::AllocateSpi(request);
        let asked = request.to_string();
        match self.execute_one(request)? {
            Reply::Sa(sa) => Ok(sa.name.spi),
            _ => Err(Refusal::ours(asked, libc::EBADMSG, "the answer is no SA")),
        }
    }

    /// UPDSA, and NEWSA where there is nothing to update: a larval SA lives 30 s, a slow exchange outlives it.
    pub fn install_sa(&mut self, sa: &Sa) -> Result<Installed, Refusal> {
        let answers = self.install_sas(std::slice::from_ref(sa));
        let missing = || Refusal::ours(format!("UPDSA {}", sa.name), libc::EBADMSG, "no answer");
        answers.into_iter().next().unwrap_or_else(|| Err(missing()))
    }

    /// [`Self::install_sa`] for many, pipelined.
    pub fn install_sas(&mut self, sas: &[Sa]) -> Vec<Result<Installed, Refusal>> {
        let updates: Vec<_> = sas.iter().map(|sa| Request::UpdateSa(Box::new(sa.clone()))).collect();
        let mut answers: Vec<_> =
            self.execute(&updates).into_iter().map(|answer| answer.map(|_| Installed::Updated)).collect();
        let is_missing =
            |answer: &Result<Installed, Refusal>| matches!(answer, Err(refusal) if refusal.errno == libc::ESRCH);
        let (places, additions): (Vec<_>, Vec<_>) = sas
            .iter()
            .zip(answers.iter_mut())
            .filter(|(_, answer)| is_missing(answer))
            .map(|(sa, answer)| (answer, Request::AddSa(Box::new(sa.clone()))))
            .unzip();
        for (place, answer) in places.into_iter().zip(self.execute(&additions)) {
            *place = answer.map(|_| Installed::Added);
        }
        answers
    }

    /// Every SA, newest first; `None` of all protocols.
    pub fn dump_sas(&mut self, protocol: Option<Protocol>) -> Result<Dump<Sa>, Refusal> {
        // The kernel's filter attribute is not worth a second shape of this request: SAs of other protocols are few.
        let mut dump = self.dump(XFRM_MSG_GETSA, read_sa)?;
        if let Some(protocol) = protocol {
            dump.entries.retain(|sa| sa.name.protocol == protocol);
        }
        Ok(dump)
    }

    /// Every policy, those of sockets included, newest first.
    pub fn dump_policies(&mut self) -> Result<Dump<Policy>, Refusal> {
        self.dump(XFRM_MSG_GETPOLICY, read_policy)
    }

    fn dump<T>(&mut self, kind: u16, read: fn(&[u8]) -> Result<T, CodecError>) -> Result<Dump<T>, Refusal> {
        let asked = format!("{} dump", Kind(kind));
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(dump) = self.dump_once(kind, &asked, read)? {
                return Ok(dump);
            }
        }
        Err(Refusal::ours(asked, libc::EAGAIN, "the table changed during every attempt"))
    }

    /// `None`: the table changed meanwhile (`NLM_F_DUMP_INTR`), what was read may lack entries or have them twice.
    fn dump_once<T>(
        &mut self,
        kind: u16,
        asked: &str,
        read: fn(&[u8]) -> Result<T, CodecError>,
    ) -> Result<Option<Dump<T>>, Refusal> {
        let sequence = self.take_sequences(1);
        self.sent.dumps += 1;
        let mut writer = MessageWriter::with_room(1);
        writer.begin(kind, NLM_F_REQUEST | NLM_F_DUMP, sequence);
        writer.finish();
        self.send(writer.octets()).map_err(|error| Refusal::from_io(asked, &error))?;

        let mut dump = Dump { entries: Vec::new(), unreadable: Vec::new() };
        let mut interrupted = false;
        loop {
            let deadline = Instant::now() + ANSWER_DEADLINE;
            let messages = self.datagram.receive(&self.socket, Wait::Until(deadline));
            let messages = messages.map_err(|error| Refusal::from_io(asked, &error))?;
            for message in messages {
                let message = message.map_err(|error| Refusal::ours(asked, libc::EBADMSG, error.to_string()))?;
                if message.sequence != sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind.0 {
                    NLMSG_DONE => {
                        done_code(&message).map_err(|errno| Refusal::new(asked, errno, None))?;
                        return Ok((!interrupted).then_some(dump));
                    }
                    NLMSG_ERROR => read_ack(&message).map_err(|(errno, words)| Refusal::new(asked, errno, words))?,
                    _ => match message.checked_payload().and_then(read) {
                        Ok(entry) => dump.entries.push(entry),
                        Err(error) => dump.unreadable.push(error),
                    },
                }
            }
        }
    }

    fn send(&self, octets: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(octets, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// 0 is the sequence number of notices.
    fn take_sequences(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.sequence.checked_add(count).is_none() {
            self.sequence = 0;
        }
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }
}

/// NLMSG_DONE carries the dump's own error number.
fn done_code(message: &Message<'_>) -> Result<(), i32> {
    match u32_at(message.payload, 0, "end of dump").map(u32::cast_signed) {
        Ok(code) if code < 0 => Err(code.saturating_neg()),
        _ => Ok(()),
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks for a receive buffer beyond the system's limit, which needs CAP_NET_ADMIN; else for as much as is allowed.
pub(crate) fn grow_receive_buffer(socket: &Socket, octets: usize) {
    if set_socket_recv_buffer_size_force(socket, octets).is_err() {
        // A small buffer is no error: an overrun is noticed and made good.
        let _ = set_socket_recv_buffer_size(socket, octets);
    }
}

/// How long to wait for a datagram.
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until then.
    Until(Instant),
}

/// The receive buffer. Wiped on drop, as keys pass through it.
pub(crate) struct Datagram(Vec<u8>);

impl Datagram {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(DATAGRAM_ROOM))
    }

    /// One datagram from the kernel. Datagrams from other processes are passed over: any process may send to our port.
    pub(crate) fn receive(&mut self, socket: &Socket, wait: Wait) -> io::Result<Messages<'_>> {
        loop {
            if let Wait::Until(deadline) = &wait {
                wait_readable(socket, *deadline)?;
            }
            self.0.clear();
            match socket.recv_from(&mut self.0, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Ok((len, _)) if len > self.0.len() => {
                    return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
                }
                Ok((_, sender)) if sender.port_number() == 0 => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && matches!(wait, Wait::Until(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Messages::new(&self.0))
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn wait_readable(socket: &Socket, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
