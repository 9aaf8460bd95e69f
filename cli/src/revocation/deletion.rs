//! SAs out of the kernel by name: a request for each, in the order given, and no other. Nothing is dumped, so that the work
//! depends on how many go and not on how many there are.

use ike::event::sa::SaName;
use xfrm::batch::Refusal;
use xfrm::request::{Reply, Request};
use xfrm::socket::Connection;

use crate::daemon::lower;

/// Whoever carries out requests: the kernel.
pub trait Requests {
    /// An answer to each, in order.
    fn execute(&mut self, requests: &[Request]) -> Vec<Result<Reply, Refusal>>;
}

impl Requests for Connection {
    fn execute(&mut self, requests: &[Request]) -> Vec<Result<Reply, Refusal>> {
        Self::execute(self, requests)
    }
}

/// What became of an SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was there.
    Deleted,
    /// It was not: expired, or deleted by hand.
    Missing,
    /// It stays.
    Refused(Refusal),
}

/// Deletes these SAs; the fate of each.
pub fn delete(kernel: &mut dyn Requests, names: &[SaName]) -> Vec<Fate> {
    let requests: Vec<Request> =
        names.iter().map(|name| Request::DeleteSa { name: lower::to_kernel(*name), mark: None }).collect();
    let fate = |answer: Result<Reply, Refusal>| match answer {
        Ok(_) => Fate::Deleted,
        Err(refusal) if refusal.errno == libc::ESRCH => Fate::Missing,
        Err(refusal) => Fate::Refused(refusal),
    };
    kernel.execute(&requests).into_iter().map(fate).collect()
}

#[cfg(test)]
pub(crate) mod tests;
