//! Mode config: what a server lends and tells, and what a client gets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::Endpoint;
use super::session::holder;
use crate::report::{Event, Level};
use crate::timer::Phase1Id;
use crate::transaction::configuration::Configuration;
use crate::transaction::exchange::Purpose;
use crate::transaction::mode_config_server::Offer;
use crate::transaction::pool::Claimant;
use crate::transaction::session::Stage;
use crate::transaction::xauth_client::printable;
use crate::wire::attribute::Attribute;
use crate::wire::config_payload::value;
use crate::wire::number::{ConfigAttribute, ConfigType};

/// A banner's octets in the log.
const BANNER_SHOWN: usize = 1024;

impl Endpoint {
    /// As client of mode config: here is what we asked for, or what the server gave unasked.
    pub(super) fn configured(&mut self, id: Phase1Id, attributes: &[Attribute]) {
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
    pub(super) fn offer(&mut self, id: Phase1Id, asked: Option<&[Attribute]>) -> Vec<Attribute> {
        let config = Arc::clone(&self.cx.config);
        let Some(mode_cfg) = &config.mode_cfg else { return Vec::new() };
        let wanted = asked.into_iter().flatten().find(|one| one.kind == ConfigAttribute::IP4_ADDRESS.0);
        if asked.is_none() || wanted.is_some() {
            let octets = wanted.map(value).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
            self.lend_address(id, octets.map(Ipv4Addr::from).filter(|address| !address.is_unspecified()));
        }
        let Some(sa) = self.sas.get(&id) else { return Vec::new() };
        let address = match sa.facts.assigned {
            Some(IpAddr::V4(address)) => Some(address),
            _ => None,
        };
        let left = sa.expires.saturating_sub(self.cx.now.monotonic).as_secs();
        let offer = Offer {
            config: mode_cfg,
            address,
            netmask: sa.session.as_ref().and_then(|session| session.netmask).or(mode_cfg.netmask4),
            seconds: u32::try_from(left).unwrap_or(u32::MAX),
            banner: config.banner.as_deref(),
        };
        match asked {
            Some(asked) => offer.reply(asked),
            None => offer.push(sa.facts.traits.unity),
        }
    }

    pub(super) fn push_configuration(&mut self, id: Phase1Id) {
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
}
