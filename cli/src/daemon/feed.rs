//! Events for whoever listens on the control socket, in racoon's words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::event::sa::SaName;
use ike::report::{Ends, Event, Report};
use tokio::sync::broadcast;

use super::udp::bracketed;
use crate::racoonctl::request::EventReport;

/// Events that a slow listener may be behind; older ones are lost to it.
const BACKLOG: usize = 256;

/// How long listeners may take to hear of the daemon's end.
const LAST_WORDS: Duration = Duration::from_secs(1);

const TERMINATED: &str = "Racoon terminated";

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
        Event::Phase1Open { .. } => ("Phase 1 mode configuration done", None),
        Event::Phase1Deleted { ends, .. } | Event::Phase1Expired { ends, .. } => ("Phase 1 deleted", Some(*ends)),
        Event::Phase1Purged { .. } => ("Phase 1 deleted", None),
        Event::PeerDead { ends, .. } => ("Phase 1 error: dead peer detected", Some(*ends)),
        Event::LoginSucceeded { .. } => ("Phase 1 Xauth succeeded", None),
        Event::LoginFailed { .. } => ("Phase 1 Xauth failed", None),
        Event::Phase1Failed { timed_out: true, .. } => ("Phase 1 error: peer not responding", None),
        Event::Phase1Failed { no_proposal: true, .. } => ("Phase 1 error: no proposal chosen", None),
        Event::Phase1Failed { .. } => ("Phase 1 error: authentication failed (bad certificate?)", None),
        // One event for a pair of SAs: that of our outbound one, which names the ends as all others do.
        Event::ChildEstablished { from, to, .. } if is_of(report, to.ip()) => {
            return Some(EventReport {
                what: "Phase 2 established".to_owned(),
                local: Some(bracketed(*from)),
                peer: Some(bracketed(*to)),
            });
        }
        Event::ChildPurged { sa } | Event::ChildVanished { sa } if is_of(report, sa.dst) => return Some(child(sa)),
        Event::ChildExpired { sa, .. } => {
            let outbound = SaName { src: sa.dst, dst: sa.src, ..*sa };
            return Some(child(&outbound));
        }
        Event::Phase2Failed { timed_out: true, .. } => ("Phase 2 error: no response", None),
        Event::GaveUp { .. } => ("Phase 2 error: no suitable phase 1", None),
        _ => return None,
    };
    let ends = ends.or_else(|| Some(Ends { local: report.local?, peer: report.peer? }));
    Some(of(what, ends, report.peer))
}

fn is_of(report: &Report, destination: IpAddr) -> bool {
    report.peer.is_none_or(|peer| peer.ip() == destination)
}

fn child(outbound: &SaName) -> EventReport {
    let end = |address| Some(bracketed(SocketAddr::new(address, 0)));
    EventReport { what: "Phase 2 deleted".to_owned(), local: end(outbound.src), peer: end(outbound.dst) }
}

/// The daemon ends.
pub fn terminated() -> EventReport {
    of(TERMINATED, None, None)
}

/// Does nothing come after this event?
pub fn is_last(event: &EventReport) -> bool {
    event.what == TERMINATED
}

/// Waits until every listener has been told of the end, a moment at most: one that does not read is not waited for.
pub async fn told(feed: &Feed) {
    let all = async {
        while feed.receiver_count() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let _dawdlers = tokio::time::timeout(LAST_WORDS, all).await;
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
        let told = racoon_event(&Report { level: Level::Error, local: None, peer: Some(peer), event }).unwrap();
        assert_eq!(told.what, "Phase 2 error: no suitable phase 1");
        assert_eq!((told.local, told.peer.as_deref()), (None, Some("10.0.0.2[500]")));
        let event = Event::BeginMainMode;
        assert_eq!(racoon_event(&Report { level: Level::Info, local: None, peer: None, event }), None);
    }
}
