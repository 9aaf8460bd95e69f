//! An established ISAKMP SA: what protects its exchanges, the quick modes under way, and the ones that are over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::dpd::Liveness;
use crate::phase2::exchange::SaFacts;
use crate::phase2::quick::Quick;
use crate::report::{CookiePair, Ends};
use crate::retransmit::Answered;
use crate::timer::Phase1Id;
use crate::transaction::session::Session;

/// Quick modes under way at once (IKEV1 M-2).
pub(crate) const MOST_QUICK_MODES: usize = 64;

/// Message IDs remembered after their exchange, so that none is used twice (IKEV1 M-3).
const MOST_FINISHED: usize = 64;

/// Message IDs remembered of a peer behind a NAT: enough for a day of probes, and bounded.
const MOST_USED: usize = 4096;

/// An exchange that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) message_id: u32,
    /// Our last message, for a peer whose copy was lost (IKEV1 R-4).
    pub(crate) answered: Answered,
}

/// One ISAKMP SA.
pub(crate) struct IsakmpSa {
    pub(crate) id: Phase1Id,
    pub(crate) facts: SaFacts,
    pub(crate) quick: BTreeMap<u32, Quick>,
    finished: VecDeque<Finished>,
    /// MM5 and our MM6.
    pub(crate) last_of_main_mode: Answered,
    /// When its main mode began.
    pub(crate) began: Duration,
    pub(crate) established: Duration,
    /// Unix seconds of `established`.
    pub(crate) established_wall: u64,
    pub(crate) expires: Duration,
    /// When the peer last proved that it holds the keys.
    pub(crate) last_heard: Duration,
    /// A newer one serves: no new quick mode begins here.
    pub(crate) retiring: bool,
    /// Deleted by us or by the peer. For a moment it still opens the informationals that were under way: a DELETE of
    /// a child may be overtaken by the DELETE of the ISAKMP SA that was sent behind it.
    pub(crate) closed: bool,
    /// A login, a configuration, or what came of them; none where nothing of the kind was wanted.
    pub(crate) session: Option<Box<Session>>,
    /// INITIAL-CONTACT was obeyed: it may come in MM5 and once more behind it.
    pub(crate) contacted: bool,
    /// Probes of both sides.
    pub(crate) liveness: Liveness,
    /// Message IDs of informationals, the last [`MOST_FINISHED`] of them.
    spent: VecDeque<u32>,
    /// Every message ID of a peer that may move: an old message sent again must not move it.
    used: BTreeSet<u32>,
}

impl IsakmpSa {
    pub(crate) fn new(id: Phase1Id, facts: SaFacts, last_of_main_mode: Answered, times: Times) -> Self {
        let Times { began, established, established_wall, expires } = times;
        Self {
            id,
            facts,
            quick: BTreeMap::new(),
            finished: VecDeque::new(),
            last_of_main_mode,
            began,
            established,
            established_wall,
            expires,
            last_heard: established,
            retiring: false,
            closed: false,
            session: None,
            contacted: false,
            liveness: Liveness::default(),
            spent: VecDeque::new(),
            used: BTreeSet::new(),
        }
    }

    /// May quick modes begin, or must a login or a configuration come first (ATTACKS A-45)?
    pub(crate) fn is_open(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_open())
    }

    /// Its session; an open one is made if there was none.
    pub(crate) fn session_mut(&mut self) -> &mut Session {
        self.session.get_or_insert_default()
    }

    /// For log lines.
    pub(crate) fn ends(&self) -> Ends {
        self.facts.path.into()
    }

    /// For log lines.
    pub(crate) fn cookie_pair(&self) -> CookiePair {
        let cookies = self.facts.protection.cookies;
        CookiePair(cookies.initiator, cookies.responder)
    }

    /// The peer has proved that it holds the keys: it has our last message of main mode, whose certificates weigh more
    /// than all the rest of an ISAKMP SA.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.last_heard = now;
        self.last_of_main_mode.forget_reply();
    }

    /// Can this side still tell which messages of the peer are new? A peer that may move is not followed beyond that.
    pub(crate) fn tells_replays(&self) -> bool {
        self.used.len() < MOST_USED
    }

    fn note_used(&mut self, message_id: u32) {
        if self.facts.traits.path_nat.peer && self.tells_replays() {
            self.used.insert(message_id);
        }
    }

    /// Notes that an informational used up its message ID.
    pub(crate) fn spend(&mut self, message_id: u32) {
        self.note_used(message_id);
        if self.spent.len() >= MOST_FINISHED {
            self.spent.pop_front();
        }
        self.spent.push_back(message_id);
    }

    /// Notes that a message ID was used up.
    pub(crate) fn finish(&mut self, message_id: u32, answered: Answered) {
        self.note_used(message_id);
        if self.finished.len() >= MOST_FINISHED {
            self.finished.pop_front();
        }
        // Only the last few can still be asked for; the memory of a tunnel counts.
        if let Some(older) = self.finished.len().checked_sub(2).and_then(|at| self.finished.get_mut(at)) {
            older.answered.forget_reply();
        }
        self.finished.push_back(Finished { message_id, answered });
    }

    /// The exchange that used this message ID.
    pub(crate) fn finished(&mut self, message_id: u32) -> Option<&mut Finished> {
        self.finished.iter_mut().find(|finished| finished.message_id == message_id)
    }

    /// Is the message ID free on this side's books?
    pub(crate) fn is_fresh(&self, message_id: u32) -> bool {
        message_id != 0
            && !self.quick.contains_key(&message_id)
            && !self.session.as_ref().is_some_and(|session| session.transactions.contains_key(&message_id))
            && !self.finished.iter().any(|finished| finished.message_id == message_id)
            && !self.spent.contains(&message_id)
            && !self.used.contains(&message_id)
    }
}

/// Times of a new ISAKMP SA.
pub(crate) struct Times {
    pub(crate) began: Duration,
    pub(crate) established: Duration,
    pub(crate) established_wall: u64,
    pub(crate) expires: Duration,
}
