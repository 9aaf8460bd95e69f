//! Transaction exchanges under an ISAKMP SA: sent, resent, answered once (IKEV1 ).
//!
//! An exchange that we begin is resent until it is answered; one of the peer's is answered once, and again for the exact
//! duplicate. A message proves itself by its HASH before anything is kept of it.

use policy::model::algorithm::XauthSide;

use super::Endpoint;
use crate::context::Path;
use crate::message::Message;
use crate::protection::Chain;
use crate::report::{Event, Level};
use crate::retransmit::{Answered, Fingerprint, Seen, Unanswered};
use crate::timer::{ExchangeKey, Phase1Id, Timer};
use crate::transaction::exchange::{MOST_TRANSACTIONS, Purpose, Transaction, open, seal};
use crate::transaction::mode_config_client;
use crate::wire::attribute::Attribute;
use crate::wire::config_payload::ConfigPayload;
use crate::wire::number::{ConfigType, ExchangeType};

impl Endpoint {
    /// Begins an exchange.
    pub(super) fn send_transaction(
        &mut self,
        id: Phase1Id,
        purpose: Purpose,
        kind: ConfigType,
        attributes: Vec<Attribute>,
    ) {
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
    pub(super) fn finish_transaction(&mut self, id: Phase1Id, message_id: u32, last: Option<Fingerprint>) {
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

    /// Is this an exchange that a server may begin before we are done with phase 1?
    pub(super) fn follows_phase1(exchange: ExchangeType) -> bool {
        matches!(exchange, ExchangeType::QUICK | ExchangeType::INFORMATIONAL | ExchangeType::TRANSACTION)
    }
}

/// What follows an answer.
pub(super) enum After {
    Nothing,
    LoggedIn,
    Failed(String),
    Configured,
}
