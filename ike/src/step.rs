//! How a state answers an event: it is consumed, and gives what follows. A step cannot run twice.

use crate::error::ExchangeError;

/// What follows a step; `D` is what a finished exchange gives.
pub(crate) enum Next<S, D> {
    /// Go on waiting.
    Wait(S),
    /// Send this, then wait.
    Send(S, Vec<u8>),
    /// Finished, after sending this.
    Done(Box<D>, Option<Vec<u8>>),
}

/// A step that was not taken.
pub(crate) struct Refused<S> {
    pub(crate) error: ExchangeError,
    /// `Some`: the event is ignored and the exchange stays where it was; `None`: the exchange is over.
    pub(crate) state: Option<S>,
}

/// Outcome of a step.
pub(crate) type Stepped<S, D> = Result<Next<S, D>, Refused<S>>;

impl<S> Refused<S> {
    /// Ignore the event.
    pub(crate) fn stay(error: ExchangeError, state: S) -> Self {
        Self { error, state: Some(state) }
    }
}

impl<S, E: Into<ExchangeError>> From<E> for Refused<S> {
    fn from(error: E) -> Self {
        Self { error: error.into(), state: None }
    }
}

/// Wraps the state of a role into the state of the exchange.
pub(crate) fn lift<S, T, D>(result: Stepped<S, D>, wrap: impl Fn(S) -> T) -> Stepped<T, D> {
    match result {
        Ok(Next::Wait(state)) => Ok(Next::Wait(wrap(state))),
        Ok(Next::Send(state, datagram)) => Ok(Next::Send(wrap(state), datagram)),
        Ok(Next::Done(done, datagram)) => Ok(Next::Done(done, datagram)),
        Err(Refused { error, state }) => Err(Refused { error, state: state.map(wrap) }),
    }
}
