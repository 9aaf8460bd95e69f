//! The login of XAuth, as the server that asks for it and as the client that gives it.

use std::sync::Arc;

use policy::model::algorithm::{AuthMethod, XauthSide};
use policy::model::identity::Identity;

use super::session::LOGIN;
use super::transaction::After;
use super::{Endpoint, Holder};
use crate::context::JobOwner;
use crate::event::question::{Account, PasswordCheck};
use crate::event::sa::Owner;
use crate::event::{JobId, Output};
use crate::report::{Event, Level};
use crate::timer::{Phase1Id, Timer};
use crate::transaction::exchange::Purpose;
use crate::transaction::session::Stage;
use crate::transaction::xauth_client::{self, MOST_REQUESTS};
use crate::transaction::{mode_config_client, xauth_server};
use crate::wire::attribute::Attribute;
use crate::wire::config_payload;
use crate::wire::number::{ConfigAttribute, ConfigType};

/// Logins under way at once: with hybrid authentication anybody can begin one.
const MOST_LOGINS: usize = 512;

impl Endpoint {
    pub(super) fn ask_for_login(&mut self, id: Phase1Id) {
        self.logins.push_back(id);
        if self.logins.len() > MOST_LOGINS
            && let Some(oldest) = self.logins.pop_front()
        {
            self.fail_session(oldest, "too many logins at once");
        }
        self.cx.timers.set(Timer::Login(id), self.cx.now.monotonic + LOGIN);
        if let Some(peer) = self.sas.get(&id).map(|sa| sa.facts.path.peer) {
            self.cx.report(Level::Info, peer, Event::XauthRequested);
        }
        self.send_transaction(id, Purpose::Login, ConfigType::REQUEST, xauth_server::request());
    }

    /// The login, if one was wanted, is done; a configuration may be wanted from the peer.
    pub(super) fn logged_in(&mut self, id: Phase1Id) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        if !sa.facts.remote.remote.mode_cfg || sa.facts.auth.xauth() == Some(XauthSide::Server) {
            return self.open_session(id);
        }
        let unity = sa.facts.traits.unity;
        sa.session_mut().stage = Stage::ExpectConfiguration;
        let had = self.before(id).and_then(|sa| sa.session.as_ref()?.configuration.as_ref()?.address);
        self.cx.timers.set(Timer::Login(id), self.cx.now.monotonic + LOGIN);
        self.send_transaction(id, Purpose::Pull, ConfigType::REQUEST, mode_config_client::request(had, unity));
    }

    /// As XAuth client: the server asks.
    pub(super) fn answer_login(&mut self, id: Phase1Id, asked: &[Attribute]) -> (Vec<Attribute>, After) {
        let Some(sa) = self.sas.get_mut(&id) else { return (Vec::new(), After::Nothing) };
        let peer = sa.facts.path.peer;
        for text in xauth_client::messages(asked) {
            self.cx.report(Level::Notify, peer, Event::XauthMessage { text });
        }
        let failed = |reason: String| (xauth_client::give_up(), After::Failed(reason));
        let name = sa.facts.remote.remote.name.clone();
        let given = self.directions.get(&peer.ip()).and_then(|directions| directions.login.clone());
        let (user, password) = match (given, sa.facts.remote.remote.xauth_login.clone()) {
            (Some(login), _) => login,
            (None, None) => return failed(format!("the peer asks for a user: remote {name} has no `xauth_login`")),
            (None, Some(user)) => match self.cx.config.psks.for_name(&user).cloned() {
                Some(password) => (user, password),
                None => return failed(format!("no password of \"{user}\" in the file of `path pre_shared_key`")),
            },
        };
        let session = sa.session_mut();
        session.asked = session.asked.saturating_add(1);
        if session.asked > MOST_REQUESTS {
            return failed(format!("the server asks again and again: the password of \"{user}\" is not good"));
        }
        session.user = Some(user.clone());
        match xauth_client::answer(asked, &user, &password) {
            Ok(answer) => (answer, After::Nothing),
            Err(reason) => failed(reason),
        }
    }

    /// As XAuth client: the server says how it ended.
    pub(super) fn login_ended(&mut self, id: Phase1Id, given: &[Attribute]) -> (Vec<Attribute>, After) {
        let Some(sa) = self.sas.get(&id) else { return (Vec::new(), After::Nothing) };
        let peer = sa.facts.path.peer;
        for text in xauth_client::messages(given) {
            self.cx.report(Level::Notify, peer, Event::XauthMessage { text });
        }
        let waits = matches!(sa.session.as_ref().map(|session| &session.stage), Some(Stage::ExpectStatus));
        let user = sa.session.as_ref().and_then(|session| session.user.clone()).unwrap_or_default();
        let ack = given.iter().map(|one| config_payload::empty(ConfigAttribute(one.kind))).collect();
        let after = match xauth_client::status(given) {
            Some(true) if waits => {
                self.cx.report(Level::Info, peer, Event::LoginSucceeded { user });
                After::LoggedIn
            }
            Some(false) => After::Failed(format!("the server refused the login of \"{user}\"")),
            _ => After::Nothing,
        };
        (ack, after)
    }

    /// As XAuth server: the peer has answered.
    pub(super) fn login_given(&mut self, id: Phase1Id, attributes: &[Attribute]) {
        let now = self.cx.now.monotonic;
        let gap = self.cx.config.mode_cfg.as_ref().map(|config| config.auth_throttle).unwrap_or_default();
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let peer = sa.facts.path.peer;
        let Some(session) = sa.session.as_mut().filter(|session| matches!(session.stage, Stage::ExpectLogin)) else {
            return;
        };
        match xauth_server::credentials(attributes) {
            Ok(credentials) => {
                session.stage = Stage::Throttled(Box::new(credentials));
                let slot = self.throttle.slot(peer.ip(), gap, now);
                if slot <= now {
                    return self.check_password(id);
                }
                self.cx.timers.set(Timer::Login(id), slot + LOGIN);
                self.cx.timers.set(Timer::CheckPassword(id), slot);
            }
            Err(reason) => self.refuse_login(id, String::new(), reason.to_owned()),
        }
    }

    /// As XAuth server: the password's turn has come.
    pub(super) fn check_password(&mut self, id: Phase1Id) {
        let job = self.cx.job(JobOwner::Login(id));
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.closed) else { return };
        let peer = sa.facts.path.peer.ip();
        let Some(session) = sa.session.as_mut() else { return };
        match std::mem::take(&mut session.stage) {
            Stage::Throttled(credentials) => {
                session.stage = Stage::AwaitPassword(job, credentials.user.clone());
                let check = PasswordCheck { user: credentials.user, password: credentials.password, peer };
                self.cx.emit(Output::CheckPassword { job, check: Box::new(check) });
            }
            other => session.stage = other,
        }
    }

    /// As XAuth server: the password is good, or not.
    pub(super) fn password_checked(&mut self, id: Phase1Id, job: JobId, result: Result<Account, String>) {
        let gap = self.cx.config.mode_cfg.as_ref().map(|config| config.auth_throttle).unwrap_or_default();
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.closed) else { return };
        let path = sa.facts.path;
        let peer = path.peer;
        let Some(session) = sa.session.as_mut() else { return };
        let user = match &session.stage {
            Stage::AwaitPassword(asked, user) if *asked == job => user.clone(),
            _ => return,
        };
        match result {
            Ok(account) => {
                self.throttle.succeeded(peer.ip());
                session.user = Some(user.clone());
                session.netmask = account.netmask;
                sa.facts.groups = account.groups.into();
                self.become_user(id, &user);
                self.cx.report_on(Level::Info, path, Event::LoginSucceeded { user });
                if let Some(address) = account.address {
                    self.assign(id, address.into());
                }
                self.send_transaction(id, Purpose::Status(true), ConfigType::SET, xauth_server::status(true));
                self.open_session(id);
            }
            Err(reason) => {
                self.throttle.failed(peer.ip(), gap, now);
                self.refuse_login(id, user, reason);
            }
        }
    }

    /// Where phase 1 does not prove who somebody is, a group's key or nothing at all, the user who logged in is the
    /// peer's identity: two users of a group are two peers.
    fn become_user(&mut self, id: Phase1Id, user: &str) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        if !matches!(sa.facts.auth, AuthMethod::HybridRsa(_) | AuthMethod::XauthPsk(_)) {
            return;
        }
        let identity =
            if user.contains('@') { Identity::UserFqdn(user.to_owned()) } else { Identity::KeyId(user.into()) };
        let owner = Owner { identity, ..(*sa.facts.owner).clone() };
        let now = Arc::new(owner);
        let before = std::mem::replace(&mut sa.facts.owner, Arc::clone(&now));
        sa.session_mut().claimed = Some(before.identity.clone());
        self.unindex(&before, Holder::Sa(id));
        self.index(&now, Holder::Sa(id));
    }

    /// As XAuth server: tells the client, which then loses its ISAKMP SA.
    fn refuse_login(&mut self, id: Phase1Id, user: String, reason: String) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let path = sa.facts.path;
        sa.session_mut().stage = Stage::Refused;
        self.last_errors.note(path.peer.ip(), self.cx.now.wall, &format!("login of \"{user}\" failed: {reason}"));
        self.cx.report_on(Level::Error, path, Event::LoginFailed { user, reason });
        self.send_transaction(id, Purpose::Status(false), ConfigType::SET, xauth_server::status(false));
    }
}
