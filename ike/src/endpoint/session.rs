//! What stands between the end of phase 1 and the first quick mode: a login, a configuration, both or neither.

use std::net::IpAddr;
use std::time::Duration;

use policy::model::algorithm::XauthSide;

use super::Endpoint;
use crate::error::ExchangeError;
use crate::isakmp_sa::IsakmpSa;
use crate::phase2::wish::ChildWish;
use crate::report::{Event, Level};
use crate::timer::{Phase1Id, Timer};
use crate::transaction::pool::Claimant;
use crate::transaction::session::{Session, Stage};

/// A user may have to type the password first.
pub(super) const LOGIN: Duration = Duration::from_secs(120);

impl Endpoint {
    /// Phase 1 is done: what is still missing before quick modes may begin?
    pub(super) fn begin_session(
        &mut self,
        id: Phase1Id,
        waiting: Vec<ChildWish>,
        replaces: Option<Phase1Id>,
        contact: bool,
    ) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let remote = &sa.facts.remote.remote;
        let side = sa.facts.auth.xauth();
        let stage = match side {
            Some(XauthSide::Server) => Stage::ExpectLogin,
            Some(XauthSide::Client) => Stage::ExpectStatus,
            None if remote.mode_cfg => Stage::ExpectConfiguration,
            None => Stage::Open,
        };
        let plain = side.is_none() && !remote.mode_cfg && !remote.mode_cfg_push && remote.scripts.is_empty();
        if !plain {
            let session = Session { stage, waiting, replaces, contact, ..Session::default() };
            sa.session = Some(Box::new(session));
        } else {
            if contact {
                self.drop_stale(id);
            }
            self.settle_duplicates(id, replaces);
            self.later.extend(waiting);
            self.is_ready(id);
            return;
        }
        match side {
            Some(XauthSide::Server) => self.ask_for_login(id),
            Some(XauthSide::Client) => {
                self.cx.timers.set(Timer::Login(id), self.cx.now.monotonic + LOGIN);
            }
            None => self.logged_in(id),
        }
    }

    /// Quick modes may begin.
    pub(super) fn open_session(&mut self, id: Phase1Id) {
        self.cx.timers.cancel(Timer::Login(id));
        self.logins.retain(|login| *login != id);
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let push = sa.facts.remote.remote.mode_cfg_push && sa.facts.auth.xauth().is_none();
        let session = sa.session_mut();
        session.stage = Stage::Open;
        let (waiting, replaces, contact) = (std::mem::take(&mut session.waiting), session.replaces, session.contact);
        if contact {
            self.drop_stale(id);
        }
        self.inherit(id);
        self.settle_duplicates(id, replaces);
        self.announce(id);
        if push {
            self.push_configuration(id);
        }
        self.later.extend(waiting);
        self.is_ready(id);
    }

    fn is_ready(&mut self, id: Phase1Id) {
        if let Some(sa) = self.sas.get(&id).filter(|sa| !sa.closed) {
            self.cx.report_on(Level::Debug, sa.facts.path, Event::Phase1Open { cookies: sa.cookie_pair() });
        }
    }

    /// The ISAKMP SA that serves the same peer already, if there is one.
    pub(super) fn before(&self, id: Phase1Id) -> Option<&IsakmpSa> {
        let sa = self.sas.get(&id)?;
        let same = |other: &&IsakmpSa| {
            other.id != id
                && !other.closed
                && other.is_open()
                && other.facts.path == sa.facts.path
                && other.facts.owner.identity == sa.facts.owner.identity
        };
        let others = self.by_peer.get(&sa.facts.path.peer.ip())?.iter().filter_map(|other| self.sas.get(other));
        others.filter(same).max_by_key(|other| other.id)
    }

    /// A client whose ISAKMP SA is renewed need not ask for its address again.
    fn inherit(&mut self, id: Phase1Id) {
        let assigned = self.before(id).and_then(|before| before.facts.assigned);
        if let Some(address) = assigned
            && self.sas.get(&id).is_some_and(|sa| sa.facts.assigned.is_none())
        {
            self.assign(id, address);
        }
    }

    pub(super) fn assign(&mut self, id: Phase1Id, address: IpAddr) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        sa.facts.assigned = Some(address);
        if let IpAddr::V4(address) = address {
            let holder = holder(sa);
            let claimant = Claimant { holder: &holder, peer: sa.facts.path.peer, under: id, wanted: None };
            self.leases.enter(address, &claimant);
        }
    }

    /// No login or no configuration in time.
    pub(super) fn login_timed_out(&mut self, id: Phase1Id) {
        let Some(session) = self.sas.get(&id).and_then(|sa| sa.session.as_ref()) else { return };
        let reason = match &session.stage {
            Stage::Open => return,
            Stage::ExpectLogin => "no answer to the request for user and password",
            Stage::Throttled(_) | Stage::AwaitPassword(..) => "the password was not checked in time",
            Stage::Refused => "the client does not take our refusal",
            Stage::ExpectStatus => "the server has not finished the login",
            Stage::ExpectConfiguration => "no configuration came",
        };
        self.fail_session(id, reason);
    }

    /// Without login or configuration the ISAKMP SA is of no use.
    pub(super) fn fail_session(&mut self, id: Phase1Id, reason: &str) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.closed) else { return };
        let (path, cookies) = (sa.facts.path, sa.cookie_pair());
        let replaces = sa.session.as_ref().and_then(|session| session.replaces);
        self.note_failure(path, cookies, &ExchangeError::Local(reason.to_owned()));
        self.rekey_failed(replaces);
        self.delete_sa(id);
        self.last_errors.note(path.peer.ip(), self.cx.now.wall, reason);
    }

    /// An ISAKMP SA is being closed: what hangs on it goes.
    pub(super) fn end_session(&mut self, id: Phase1Id) {
        for timer in [Timer::Login(id), Timer::CheckPassword(id)] {
            self.cx.timers.cancel(timer);
        }
        self.withdraw(id);
        self.logins.retain(|login| *login != id);
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let peer = sa.facts.path.peer;
        if let Some(IpAddr::V4(address)) = sa.facts.assigned
            && self.leases.release(address, id)
        {
            let first = self.cx.config.mode_cfg.as_ref().and_then(|config| config.pool).map(|pool| pool.first);
            let port = first.and_then(|first| u32::from(address).checked_sub(u32::from(first)));
            self.cx.report(Level::Info, peer, Event::AddressReleased { port: port.unwrap_or_default(), address });
        }
        let Some(session) = sa.session.as_mut() else { return };
        let under_way: Vec<u32> = session.transactions.keys().copied().collect();
        let waiting = std::mem::take(&mut session.waiting);
        for message_id in under_way {
            self.finish_transaction(id, message_id, None);
        }
        self.abandon(waiting, "the login or the configuration failed");
    }
}

/// Whom an address is lent to.
pub(super) fn holder(sa: &IsakmpSa) -> String {
    match sa.session.as_ref().and_then(|session| session.user.as_ref()) {
        Some(user) => format!("user {user}"),
        None => format!("{:?}", sa.facts.owner.identity),
    }
}
