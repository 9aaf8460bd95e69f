//! Traffic whose quick mode failed. The kernel's own memory of the acquire (its larval SA, `net.core.xfrm_acq_expires`
//! seconds) would stand for every other policy between the same two ends too: it is made to forget, and what keeps one
//! refused packet after the other from becoming as many quick modes is remembered here, for that traffic alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Endpoint;
use crate::event::Output;
use crate::event::policies::Acquire;
use crate::event::sa::SpiRequest;
use crate::phase2::wish::{ChildKey, ChildWish};
use crate::timer::Timer;

/// How long traffic waits after the first refusal; twice as long after each that follows.
const FIRST_WAIT: Duration = Duration::from_secs(3);

/// It never waits longer: the kernel's own pace.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// After so much quiet a refusal counts as the first again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// The kernel asks again with every packet as soon as it has forgotten: it is made to at this pace, however many come.
const PACE: Duration = Duration::from_millis(10);

/// What is remembered of refused traffic.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    wait: Duration,
    /// Nothing is begun before this time.
    until: Duration,
    /// When the kernel was last made to forget.
    forgot: Duration,
    /// It has asked since.
    asked: bool,
}

/// By traffic.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<ChildKey, Refusal>);

impl Refusals {
    /// A child stands: the peer has come round.
    pub(super) fn forgive(&mut self, what: &ChildKey) {
        self.0.remove(what);
    }

    /// Another configuration, another chance.
    pub(super) fn forgive_all(&mut self) {
        self.0.clear();
    }

    /// When something is to be done.
    fn next(&self) -> Option<Duration> {
        let due = |refusal: &Refusal| if refusal.asked { refusal.forgot + PACE } else { refusal.until + FORGIVEN };
        self.0.values().map(due).min()
    }
}

impl Endpoint {
    /// The kernel wants an SA.
    pub(super) fn acquired(&mut self, acquire: &Acquire) {
        let wish = ChildWish::from_acquire(acquire);
        let now = self.cx.now.monotonic;
        match self.refusals.0.get_mut(&wish.what).filter(|refusal| now < refusal.until) {
            Some(refusal) => refusal.asked = true,
            None => return self.start_child(wish),
        }
        self.make_forget();
    }

    /// A quick mode for this traffic came to nothing.
    pub(super) fn cool_down(&mut self, what: ChildKey) {
        let now = self.cx.now.monotonic;
        let before = self.refusals.0.get(&what).map(|refusal| refusal.wait * 2);
        let wait = before.unwrap_or(FIRST_WAIT).min(LONGEST_WAIT);
        let refusal = Refusal { wait, until: now + wait, forgot: now.saturating_sub(PACE), asked: true };
        self.refusals.0.insert(what, refusal);
        self.make_forget();
    }

    /// The pace allows more, or some refusals can be forgiven.
    pub(super) fn make_forget(&mut self) {
        let now = self.cx.now.monotonic;
        self.refusals.0.retain(|_, refusal| refusal.asked || now < refusal.until + FORGIVEN);
        for (what, refusal) in &mut self.refusals.0 {
            if !refusal.asked || now < refusal.forgot + PACE {
                continue;
            }
            (refusal.asked, refusal.forgot) = (false, now);
            for layer in what.layers() {
                let (src, dst) = (what.local, what.peer);
                let request = SpiRequest { protocol: layer.protocol, mode: layer.mode, reqid: layer.reqid, src, dst };
                self.cx.emit(Output::ForgetAcquire { request });
            }
        }
        match self.refusals.next() {
            Some(at) => self.cx.timers.set(Timer::Refusals, at),
            None => self.cx.timers.cancel(Timer::Refusals),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use policy::model::sa::{Mode, Protocol, ReqId};
    use policy::model::selector::Selector;

    use super::*;
    use crate::config::Config;
    use crate::crypto::pure::PureProvider;
    use crate::event::policies::Companions;
    use crate::event::{Input, Now};

    fn acquire(last: u8) -> Acquire {
        let (local, peer) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let net = |third| format!("10.{third}.0.0/24").parse().expect("a network");
        let policy = Selector::between(net(1), net(last));
        let (protocol, mode, reqid) = (Protocol::Esp, Mode::Tunnel, ReqId(0));
        let companions = Companions::NONE;
        Acquire { flow: policy, policy, policy_index: 0, local, peer, protocol, mode, reqid, companions }
    }

    /// Hands an input over; how often the kernel is made to forget, and how much else comes of it.
    fn hand(endpoint: &mut Endpoint, millis: u64, input: Input) -> (usize, usize) {
        endpoint.handle(Now { monotonic: Duration::from_millis(millis), wall: 0 }, input);
        let (mut forgotten, mut else_) = (0, 0);
        loop {
            match endpoint.poll() {
                Output::WakeAt(_) => return (forgotten, else_),
                Output::ForgetAcquire { .. } => forgotten += 1,
                _ => else_ += 1,
            }
        }
    }

    fn refused() -> Endpoint {
        let mut endpoint = Endpoint::new(Arc::new(PureProvider::new(|out| out.fill(7))), Arc::new(Config::default()));
        hand(&mut endpoint, 100_000, Input::Wake);
        endpoint.cool_down(ChildWish::from_acquire(&acquire(2)).what);
        endpoint
    }

    #[test]
    fn the_kernel_forgets_at_once_and_at_a_pace() {
        let mut endpoint = refused();
        assert_eq!(hand(&mut endpoint, 100_000, Input::Wake), (1, 0));
        let mut forgotten = 0;
        for millis in 100_000..100_100 {
            let (more, begun) = hand(&mut endpoint, millis, Input::Acquire(acquire(2)));
            assert_eq!(begun, 0, "refused traffic is not asked for again {millis}");
            forgotten += more;
        }
        assert_eq!(forgotten, 9, "a packet each millisecond, one in ten of them is forgotten");
        // The last one waits for its turn.
        assert_eq!(hand(&mut endpoint, 100_110, Input::Wake), (1, 0));
        assert_eq!(hand(&mut endpoint, 100_130, Input::Wake), (0, 0));
    }

    #[test]
    fn other_traffic_of_the_same_two_ends_does_not_wait() {
        let mut endpoint = refused();
        assert!(hand(&mut endpoint, 100_001, Input::Acquire(acquire(3))).1 > 0);
    }

    #[test]
    fn the_wait_doubles_and_ends() {
        let mut endpoint = refused();
        let what = ChildWish::from_acquire(&acquire(2)).what;
        let mut at = 100_000;
        for wait in [3, 6, 12, 24, 30, 30] {
            assert_eq!(hand(&mut endpoint, at + wait * 1000 - 1, Input::Acquire(acquire(2))).1, 0, "{wait}");
            at += wait * 1000;
            assert!(hand(&mut endpoint, at, Input::Acquire(acquire(2))).1 > 0, "{wait}");
            endpoint.cool_down(what);
        }
        assert_eq!(endpoint.refusals.0.len(), 1);
        hand(&mut endpoint, at + 30_000 + 60_000, Input::Wake);
        assert!(endpoint.refusals.0.is_empty() && endpoint.cx.timers.next().is_none());
    }
}
