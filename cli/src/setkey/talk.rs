//! `-v`: each question to the kernel and each of its answers, in PF_KEY's words as `-x` has them. The answer to a command
//! is a head with the error number; what was asked for (`get`, `getspi`, dumps) follows message by message.

use std::io::{self, Write};

use xfrm::batch::Refusal;
use xfrm::model::policy::Policy;
use xfrm::model::sa::Sa;
use xfrm::request::{Reply, Request};

use super::dump::now;
use super::pfkey::message::{self, Dumped};
use super::pfkey::number::kind;
use super::pfkey::text::describe;

/// Says nothing unless `-v` is given.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// `-v`.
    pub is_on: bool,
}

impl Talk {
    /// A question.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn asked(self, request: &Request) -> io::Result<()> {
        match message::request(request, now()).filter(|_| self.is_on) {
            Some(octets) => say(&octets),
            None => Ok(()),
        }
    }

    /// Its answer.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn answered(self, request: &Request, answer: &Result<Reply, Refusal>) -> io::Result<()> {
        let Some(asked) = message::request(request, now()).filter(|_| self.is_on) else { return Ok(()) };
        match answer {
            Ok(Reply::Sa(sa)) => say(&message::told_sa(asked.get(1).copied().unwrap_or(0), sa, now())),
            Ok(_) => say(&message::answer(&asked, 0)),
            Err(refusal) => say(&message::answer(&asked, refusal.errno)),
        }
    }

    /// The question for all of something.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn asked_for_all(self, of: Dumped) -> io::Result<()> {
        if self.is_on { say(&message::dump(of)) } else { Ok(()) }
    }

    /// An SA of a dump.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn told_sa(self, sa: &Sa) -> io::Result<()> {
        if self.is_on { say(&message::told_sa(kind::DUMP, sa, now())) } else { Ok(()) }
    }

    /// A policy of a dump.
    ///
    /// # Errors
    /// When standard output takes no more.
    pub fn told_policy(self, policy: &Policy) -> io::Result<()> {
        if self.is_on { say(&message::told_policy(policy)) } else { Ok(()) }
    }
}

fn say(octets: &[u8]) -> io::Result<()> {
    let mut octets = octets.to_vec();
    // `sadb_msg_pid`: PF_KEY's questions and answers both bear it.
    octets.iter_mut().skip(12).zip(std::process::id().to_ne_bytes()).for_each(|(octet, value)| *octet = value);
    let mut out = io::stdout().lock();
    writeln!(out, "{}", describe(&octets))
}
