//! Events for whoever listens on the control socket, in racoon's words.

use std::net::SocketAddr;

use ike::report::{Ends, Event, Report};
use tokio::sync::broadcast;

use super::udp::bracketed;
use crate::racoonctl::request::EventReport;

/// Events that a slow listener may be behind; older ones are lost to it.
const BACKLOG: usize = 256;

/// Where events go; a listener subscribes.
pub type Feed = broadcast::Sender<EventReport>;

/// A feed nobody listens to yet.
pub fn feed() -> Feed {
    broadcast::channel(BACKLOG).0
}

/// What racoon would have told its listeners of this.
pub fn racoon_event(report: &Report) -> Option<EventReport> {
    let (what, ends) = match &report.event {
        Event::Phase1Established { ends, .. } => ("Phase 1 established", Some(*ends)),
        Event::Phase1Deleted { ends, .. } | Event::Phase1Expired { ends, .. } => ("Phase 1 deleted", Some(*ends)),
        Event::Phase1Purged { .. } => ("Phase 1 deleted", None),
        Event::Phase1Failed { timed_out: true, .. } => ("Phase 1 error: peer not responding", None),
        Event::Phase1Failed { reason, .. } if reason.contains("proposal") => {
            ("Phase 1 error: no proposal chosen", None)
        }
        Event::Phase1Failed { .. } => ("Phase 1 error: authentication failed (bad certificate?)", None),
        Event::ChildEstablished { from, to, .. } => {
            return Some(EventReport {
                what: "Phase 2 established".to_owned(),
                local: Some(bracketed(*from)),
                peer: Some(bracketed(*to)),
            });
        }
        Event::ChildPurged { .. } | Event::ChildExpired { .. } | Event::ChildVanished { .. } => {
            ("Phase 2 deleted", None)
        }
        Event::Phase2Failed { timed_out: true, .. } => ("Phase 2 error: no response", None),
        Event::GaveUp { .. } => ("Phase 2 error: no suitable phase 1", None),
        _ => return None,
    };
    Some(of(what, ends, report.peer))
}

/// The daemon ends.
pub fn terminated() -> EventReport {
    of("Racoon terminated", None, None)
}

fn of(what: &str, ends: Option<Ends>, peer: Option<SocketAddr>) -> EventReport {
    EventReport {
        what: what.to_owned(),
        local: ends.map(|ends| bracketed(ends.local)),
        peer: ends.map(|ends| ends.peer).or(peer).map(bracketed),
    }
}

#[cfg(test)]
mod tests {
    use ike::report::Level;

    use super::*;

    #[test]
    fn a_failure_is_told_by_its_kind_with_the_peer() {
        let peer: SocketAddr = "10.0.0.2:500".parse().unwrap();
        let event = Event::GaveUp { peer: peer.ip() };
        let told = racoon_event(&Report { level: Level::Error, peer: Some(peer), event }).unwrap();
        assert_eq!(told.what, "Phase 2 error: no suitable phase 1");
        assert_eq!((told.local, told.peer.as_deref()), (None, Some("10.0.0.2[500]")));
        let event = Event::BeginMainMode;
        assert_eq!(racoon_event(&Report { level: Level::Info, peer: None, event }), None);
    }
}
