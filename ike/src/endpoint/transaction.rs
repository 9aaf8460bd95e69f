//! Transaction exchanges under an ISAKMP SA: the login and the configuration that stand before the first quick mode.
//!
//! An exchange that we begin is resent until it is answered; one of the peer's is answered once, and again for the exact
//! duplicate. A message proves itself by its HASH before anything is kept of it (IKEV1 ).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use policy::model::algorithm::{AuthMethod, XauthSide};
use policy::model::identity::Identity;

use super::{Endpoint, Holder};
use crate::context::{JobOwner, Path};
use crate::error::ExchangeError;
use crate::event::question::{Account, PasswordCheck};
use crate::event::sa::Owner;
use crate::event::{JobId, Output};
use crate::isakmp_sa::IsakmpSa;
use crate::message::Message;
use crate::phase2::wish::ChildWish;
use crate::protection::Chain;
use crate::report::{Event, Level};
use crate::retransmit::{Answered, Fingerprint, Seen, Unanswered};
use crate::timer::{ExchangeKey, Phase1Id, Timer};
use crate::transaction::configuration::Configuration;
use crate::transaction::exchange::{MOST_TRANSACTIONS, Purpose, Transaction, open, seal};
use crate::transaction::mode_config_server::Offer;
use crate::transaction::pool::Claimant;
use crate::transaction::session::{Session, Stage};
use crate::transaction::xauth_client::{self, MOST_REQUESTS, printable};
use crate::transaction::{mode_config_client, xauth_server};
use crate::wire::attribute::Attribute;
use crate::wire::config_payload::{ConfigPayload, value};
use crate::wire::number::{ConfigAttribute, ConfigType, ExchangeType};

/// A user may have to type the password first.
const LOGIN: Duration = Duration::from_secs(120);

/// Logins under way at once: with hybrid authentication anybody can begin one.
const MOST_LOGINS: usize = 512;

/// A banner's octets in the log.
const BANNER_SHOWN: usize = 1024;

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

    fn ask_for_login(&mut self, id: Phase1Id) {
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
    fn logged_in(&mut self, id: Phase1Id) {
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

    /// Quick modes may begin.
    fn open_session(&mut self, id: Phase1Id) {
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

    fn assign(&mut self, id: Phase1Id, address: std::net::IpAddr) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        sa.facts.assigned = Some(address);
        if let std::net::IpAddr::V4(address) = address {
            let holder = holder(sa);
            let claimant = Claimant { holder: &holder, peer: sa.facts.path.peer, under: id, wanted: None };
            self.leases.enter(address, &claimant);
        }
    }

    /// Begins an exchange.
    fn send_transaction(&mut self, id: Phase1Id, purpose: Purpose, kind: ConfigType, attributes: Vec<Attribute>) {
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.closed) else { return };
        let mut message_id = self.cx.random_u32();
        while !sa.is_fresh(message_id) {
            message_id = message_id.wrapping_add(1);
        }
        let identifier = u16::try_from(self.cx.random_u32() >> 16).unwrap_or_default();
        let mut chain = sa.facts.protection.chain(message_id);
        let path = sa.facts.path;
        match seal(&sa.facts.protection, &mut chain, &ConfigPayload { kind, identifier, attributes }) {
            Ok(datagram) => {
                let unanswered = Unanswered::new(datagram.clone(), &self.cx.config.timers);
                let at = now + unanswered.first_gap();
                let transaction = Transaction {
                    purpose,
                    identifier,
                    chain,
                    unanswered: Some(unanswered),
                    answered: Answered::default(),
                    since: now,
                };
                sa.session_mut().transactions.insert(message_id, transaction);
                self.cx.timers.set(Timer::Retransmit(ExchangeKey::Transaction(id, message_id)), at);
                self.cx.send(path, datagram);
            }
            Err(error) => self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() }),
        }
    }

    pub(super) fn resend_transaction(&mut self, id: Phase1Id, message_id: u32) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let path = sa.facts.path;
        let Some(transaction) = sa.session.as_mut().and_then(|session| session.transactions.get_mut(&message_id))
        else {
            return;
        };
        let Some(unanswered) = transaction.unanswered.as_mut() else { return };
        if let Some((datagram, gap)) = unanswered.resend() {
            self.cx.send(path, datagram);
            let timer = Timer::Retransmit(ExchangeKey::Transaction(id, message_id));
            return self.cx.timers.set(timer, self.cx.now.monotonic + gap);
        }
        match transaction.purpose {
            // The user may still be typing; the time for the whole login ends it.
            Purpose::Login | Purpose::Answer => {}
            Purpose::Status(true) | Purpose::Push => {
                self.finish_transaction(id, message_id, None);
            }
            Purpose::Status(false) => self.delete_sa(id),
            Purpose::Pull => self.fail_session(id, "no answer to our request for a configuration (mode_cfg on)"),
        }
    }

    /// Takes an exchange out; its message ID is used up.
    fn finish_transaction(&mut self, id: Phase1Id, message_id: u32, last: Option<Fingerprint>) {
        self.cx.timers.cancel(Timer::Retransmit(ExchangeKey::Transaction(id, message_id)));
        let now = self.cx.now.monotonic;
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let Some(mut transaction) = sa.session_mut().transactions.remove(&message_id) else { return };
        if let Some(last) = last {
            transaction.answered.accepted(last, now);
        }
        sa.finish(message_id, transaction.answered);
    }

    /// A message of a transaction exchange.
    pub(super) fn transaction(&mut self, path: Path, message: &Message<'_>, fingerprint: Fingerprint) {
        let message_id = message.header.message_id;
        let now = self.cx.now.monotonic;
        let Some(id) = self.sa_of(path, &message.header) else {
            return self.dropped(path, "transaction under an unknown ISAKMP SA");
        };
        let Some(sa) = self.sas.get_mut(&id).filter(|sa| !sa.closed) else {
            return self.dropped(path, "transaction under an ISAKMP SA that was deleted");
        };
        let known = sa.session.as_mut().and_then(|session| session.transactions.get_mut(&message_id));
        let chain = match known {
            Some(transaction) => match transaction.answered.check(fingerprint, now) {
                Seen::Again(reply) => return self.answer_duplicate(path, reply),
                Seen::New => transaction.chain.clone(),
            },
            None => {
                if let Some(finished) = sa.finished(message_id) {
                    return match finished.answered.check(fingerprint, now) {
                        Seen::Again(reply) => self.answer_duplicate(path, reply),
                        Seen::New => self.dropped(path, "transaction that is over"),
                    };
                }
                if !sa.is_fresh(message_id) {
                    return self.dropped(path, "transaction with a message ID that was used before");
                }
                sa.facts.protection.chain(message_id)
            }
        };
        match open(&sa.facts.protection, &chain, message) {
            Ok((payload, last_block)) => {
                sa.heard(now);
                self.arrived(id, path);
                let chain = Chain { message_id, iv: last_block };
                match payload.kind {
                    ConfigType::REPLY | ConfigType::ACK => self.config_answered(id, chain, fingerprint, &payload),
                    ConfigType::REQUEST | ConfigType::SET => self.config_asked(id, chain, fingerprint, &payload),
                    kind => self.dropped(path, &format!("transaction of unknown kind {kind}")),
                }
            }
            Err(error) => self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() }),
        }
    }

    /// A REPLY or an ACK: only to what we asked, under its message ID and with its identifier (IKEV1 X-4).
    fn config_answered(&mut self, id: Phase1Id, chain: Chain, fingerprint: Fingerprint, payload: &ConfigPayload) {
        let Some(sa) = self.sas.get(&id) else { return };
        let path = sa.facts.path;
        let asked = sa.session.as_ref().and_then(|session| session.transactions.get(&chain.message_id));
        // charon leaves the identifier of a REPLY at zero; the message ID and the HASH tie it to our question all the same.
        let is_ours = |asked: &&Transaction| payload.identifier == 0 || asked.identifier == payload.identifier;
        let purpose = asked.filter(is_ours).map(|asked| asked.purpose);
        let fits = match purpose {
            Some(Purpose::Login | Purpose::Pull) => payload.kind == ConfigType::REPLY,
            Some(Purpose::Status(_) | Purpose::Push) => payload.kind == ConfigType::ACK,
            Some(Purpose::Answer) | None => false,
        };
        let Some(purpose) = purpose.filter(|_| fits) else {
            return self.dropped(path, &format!("{:?} to nothing that we asked", payload.kind));
        };
        self.finish_transaction(id, chain.message_id, Some(fingerprint));
        match purpose {
            Purpose::Login => self.login_given(id, &payload.attributes),
            Purpose::Status(false) => self.delete_sa(id),
            Purpose::Status(true) => {
                if self.sas.get(&id).is_some_and(|sa| sa.facts.remote.remote.mode_cfg_push) {
                    self.push_configuration(id);
                }
            }
            Purpose::Pull => self.configured(id, &payload.attributes),
            Purpose::Push | Purpose::Answer => {}
        }
    }

    /// A REQUEST or a SET of the peer's.
    fn config_asked(&mut self, id: Phase1Id, mut chain: Chain, fingerprint: Fingerprint, payload: &ConfigPayload) {
        let now = self.cx.now.monotonic;
        let message_id = chain.message_id;
        let Some(sa) = self.sas.get(&id) else { return };
        let path = sa.facts.path;
        let ours = sa.session.as_ref().and_then(|session| session.transactions.get(&message_id));
        if ours.is_some_and(|transaction| transaction.purpose != Purpose::Answer) {
            return self.dropped(path, "a question where an answer was expected");
        }
        let (answer, after) = match self.answer(id, payload) {
            Ok(answer) => answer,
            Err(reason) => return self.dropped(path, reason),
        };
        let kind = if payload.kind == ConfigType::REQUEST { ConfigType::REPLY } else { ConfigType::ACK };
        let reply = ConfigPayload { kind, identifier: payload.identifier, attributes: answer };
        let Some(sa) = self.sas.get_mut(&id) else { return };
        match seal(&sa.facts.protection, &mut chain, &reply) {
            Ok(datagram) => {
                let mut answered = Answered::default();
                answered.accepted(fingerprint, now);
                answered.answered(datagram.clone());
                let transactions = &mut sa.session_mut().transactions;
                let mut others = transactions.iter().filter(|(_, one)| one.purpose == Purpose::Answer);
                let oldest = others.clone().min_by_key(|(_, one)| one.since).map(|(message_id, _)| *message_id);
                let spent = others.nth(MOST_TRANSACTIONS - 1).and(oldest);
                transactions.insert(
                    message_id,
                    Transaction {
                        purpose: Purpose::Answer,
                        identifier: payload.identifier,
                        chain,
                        unanswered: None,
                        answered,
                        since: now,
                    },
                );
                if let Some(spent) = spent.filter(|spent| *spent != message_id) {
                    self.finish_transaction(id, spent, None);
                }
                self.cx.send(path, datagram);
            }
            Err(error) => {
                return self.cx.report(Level::Error, path.peer, Event::Ignored { reason: error.to_string() });
            }
        }
        match after {
            After::Nothing => {}
            After::LoggedIn => self.logged_in(id),
            After::Failed(reason) => self.fail_session(id, &reason),
            After::Configured => self.configured(id, &payload.attributes),
        }
    }

    /// What to answer, and what follows once that is sent; else why there is no answer.
    fn answer(&mut self, id: Phase1Id, payload: &ConfigPayload) -> Result<(Vec<Attribute>, After), &'static str> {
        let Some(sa) = self.sas.get(&id) else { return Err("its ISAKMP SA is gone") };
        let side = sa.facts.auth.xauth();
        let asks = payload.kind == ConfigType::REQUEST;
        match (payload.is_xauth(), asks) {
            (true, _) if side != Some(XauthSide::Client) => Err("a login that this ISAKMP SA has none of"),
            (true, true) => Ok(self.answer_login(id, &payload.attributes)),
            (true, false) => Ok(self.login_ended(id, &payload.attributes)),
            (false, true) if !sa.is_open() && side == Some(XauthSide::Server) => {
                Err("a request for a configuration before the login")
            }
            (false, true) => Ok((self.offer(id, Some(&payload.attributes)), After::Nothing)),
            (false, false) if sa.facts.remote.remote.mode_cfg => {
                Ok((mode_config_client::accepted(&payload.attributes), After::Configured))
            }
            // Nobody here wants a configuration: none of it is accepted.
            (false, false) => Ok((Vec::new(), After::Nothing)),
        }
    }

    /// As XAuth client: the server asks.
    fn answer_login(&mut self, id: Phase1Id, asked: &[Attribute]) -> (Vec<Attribute>, After) {
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
    fn login_ended(&mut self, id: Phase1Id, given: &[Attribute]) -> (Vec<Attribute>, After) {
        let Some(sa) = self.sas.get(&id) else { return (Vec::new(), After::Nothing) };
        let peer = sa.facts.path.peer;
        for text in xauth_client::messages(given) {
            self.cx.report(Level::Notify, peer, Event::XauthMessage { text });
        }
        let waits = matches!(sa.session.as_ref().map(|session| &session.stage), Some(Stage::ExpectStatus));
        let user = sa.session.as_ref().and_then(|session| session.user.clone()).unwrap_or_default();
        let ack = given.iter().map(|one| crate::wire::config_payload::empty(ConfigAttribute(one.kind))).collect();
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
    fn login_given(&mut self, id: Phase1Id, attributes: &[Attribute]) {
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
        let peer = sa.facts.path.peer;
        let Some(session) = sa.session.as_mut() else { return };
        let user = match &session.stage {
            Stage::AwaitPassword(asked, user) if *asked == job => user.clone(),
            _ => return,
        };
        match result {
            Ok(account) => {
                self.throttle.succeeded(peer.ip());
                session.user = Some(user.clone());
                sa.facts.groups = account.groups.into();
                self.become_user(id, &user);
                self.cx.report(Level::Info, peer, Event::LoginSucceeded { user });
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
        let peer = sa.facts.path.peer;
        sa.session_mut().stage = Stage::Refused;
        self.last_errors.note(peer.ip(), self.cx.now.wall, &format!("login of \"{user}\" failed: {reason}"));
        self.cx.report(Level::Error, peer, Event::LoginFailed { user, reason });
        self.send_transaction(id, Purpose::Status(false), ConfigType::SET, xauth_server::status(false));
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
    fn fail_session(&mut self, id: Phase1Id, reason: &str) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.closed) else { return };
        let (path, cookies) = (sa.facts.path, sa.cookie_pair());
        let replaces = sa.session.as_ref().and_then(|session| session.replaces);
        self.note_failure(path, cookies, &ExchangeError::Local(reason.to_owned()));
        self.rekey_failed(replaces);
        self.delete_sa(id);
        self.last_errors.note(path.peer.ip(), self.cx.now.wall, reason);
    }

    /// As client of mode config: here is what we asked for, or what the server gave unasked.
    fn configured(&mut self, id: Phase1Id, attributes: &[Attribute]) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let peer = sa.facts.path.peer;
        let configuration = Configuration::read(attributes);
        for banner in attributes.iter().filter(|one| one.kind == ConfigAttribute::UNITY_BANNER.0) {
            let text = printable(&value(banner), BANNER_SHOWN);
            self.cx.report(Level::Notify, peer, Event::Banner { text });
        }
        self.cx.report(Level::Info, peer, Event::Configured { address: configuration.address });
        let session = sa.session_mut();
        session.configuration = Some(configuration);
        let pulling = session.ours(Purpose::Pull);
        let waits = matches!(session.stage, Stage::ExpectConfiguration);
        // A server that gives unasked need not answer any more.
        if let Some(message_id) = pulling {
            self.finish_transaction(id, message_id, None);
        }
        if waits {
            self.open_session(id);
        }
    }

    /// As server of mode config: what to tell the peer, of what it asks or (`None`) all.
    fn offer(&mut self, id: Phase1Id, asked: Option<&[Attribute]>) -> Vec<Attribute> {
        let config = Arc::clone(&self.cx.config);
        let Some(mode_cfg) = &config.mode_cfg else { return Vec::new() };
        let wanted = asked.into_iter().flatten().find(|one| one.kind == ConfigAttribute::IP4_ADDRESS.0);
        if asked.is_none() || wanted.is_some() {
            let octets = wanted.map(value).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
            self.lend_address(id, octets.map(Ipv4Addr::from).filter(|address| !address.is_unspecified()));
        }
        let Some(sa) = self.sas.get(&id) else { return Vec::new() };
        let address = match sa.facts.assigned {
            Some(std::net::IpAddr::V4(address)) => Some(address),
            _ => None,
        };
        let left = sa.expires.saturating_sub(self.cx.now.monotonic).as_secs();
        let offer = Offer {
            config: mode_cfg,
            address,
            seconds: u32::try_from(left).unwrap_or(u32::MAX),
            banner: config.banner.as_deref(),
        };
        match asked {
            Some(asked) => offer.reply(asked),
            None => offer.push(sa.facts.traits.unity),
        }
    }

    fn push_configuration(&mut self, id: Phase1Id) {
        let given = self.offer(id, None);
        if !given.is_empty() {
            self.send_transaction(id, Purpose::Push, ConfigType::SET, given);
        }
    }

    fn lend_address(&mut self, id: Phase1Id, wanted: Option<Ipv4Addr>) {
        let Some(pool) = self.cx.config.mode_cfg.as_ref().and_then(|config| config.pool) else { return };
        let Some(sa) = self.sas.get(&id).filter(|sa| sa.facts.assigned.is_none()) else { return };
        let (peer, holder, identity) = (sa.facts.path.peer, holder(sa), sa.facts.owner.identity.clone());
        let claimant = Claimant { holder: &holder, peer, under: id, wanted };
        let children = &self.children;
        let is_used = |address: Ipv4Addr| {
            let to_it = |net: &policy::model::addr::IpNet| net.prefix_len() == 32 && net.addr() == address;
            children.iter().any(|child| to_it(&child.key.outbound.dst) && child.owner.identity != identity)
        };
        match self.leases.lend(pool, &claimant, is_used) {
            Some(address) => {
                let port = u32::from(address) - u32::from(pool.first);
                self.assign(id, address.into());
                self.cx.report(Level::Info, peer, Event::AddressLent { port, address });
            }
            None => self.cx.report(Level::Error, peer, Event::PoolExhausted { size: pool.size }),
        }
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
        if let Some(std::net::IpAddr::V4(address)) = sa.facts.assigned
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

    /// Is this an exchange that a server may begin before we are done with phase 1?
    pub(super) fn follows_phase1(exchange: ExchangeType) -> bool {
        matches!(exchange, ExchangeType::QUICK | ExchangeType::INFORMATIONAL | ExchangeType::TRANSACTION)
    }
}

/// What follows an answer.
enum After {
    Nothing,
    LoggedIn,
    Failed(String),
    Configured,
}

/// Whom an address is lent to.
fn holder(sa: &IsakmpSa) -> String {
    match sa.session.as_ref().and_then(|session| session.user.as_ref()) {
        Some(user) => format!("user {user}"),
        None => format!("{:?}", sa.facts.owner.identity),
    }
}
