//! The desk one scenario is played on: it makes the topology, watches every protected link, collects what was proved, and
//! at the end judges the captures.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::capture::{Capture, Traffic};
use crate::failure::Result;
use crate::host::Host;
use crate::pki::KeyStore;
use crate::topology::{self, Gateways, Lan, Natted, OUTSIDE, Pair, Place};

/// A scenario's desk.
#[derive(Debug)]
pub struct Desk {
    folder: PathBuf,
    programs: PathBuf,
    /// Keys for certificates; no key is handed out twice on one desk.
    pub keys: KeyStore,
    captures: Vec<Capture>,
    hosts: Vec<Rc<Host>>,
    proofs: Vec<String>,
}

impl Desk {
    /// An empty desk. Logs and captures go to `folder`, which is emptied; programs under test come from `programs`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: PathBuf, programs: PathBuf, keys: PathBuf) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            programs,
            keys: KeyStore::new(keys),
            captures: Vec::new(),
            hosts: Vec::new(),
            proofs: Vec::new(),
        })
    }

    /// Another empty desk, in a folder of this one's, with the same programs and keys.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn beside(&self, name: &str) -> Result<Self> {
        Self::new(self.folder.join(name), self.programs.clone(), self.keys.folder().to_owned())
    }

    /// A program under test.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The folder with the programs under test.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The desk's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes what has just been shown to be so.
    pub fn proved(&mut self, what: impl Into<String>) {
        self.proofs.push(what.into());
    }

    /// Two hosts on a cable, both watched.
    ///
    /// # Errors
    /// When the topology cannot be made or tcpdump not be started.
    pub fn pair(&mut self) -> Result<Pair> {
        let pair = topology::pair(&self.folder)?;
        self.watch(&[&pair.alice, &pair.bob])?;
        Ok(pair)
    }

    /// Hosts on a bridge, all watched.
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn lan(&mut self, names: &[&str]) -> Result<Lan> {
        let lan = topology::lan(&self.folder, names)?;
        self.watch(&lan.hosts.iter().collect::<Vec<_>>())?;
        Ok(lan)
    }

    /// Two gateways with subnets; the link between the gateways is watched.
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn gateways(&mut self) -> Result<Gateways> {
        let gateways = topology::gateways(&self.folder)?;
        self.watch(&[&gateways.west, &gateways.east])?;
        Ok(gateways)
    }

    /// Clients behind a router that translates addresses, and a server, which may be behind another one; the clients and
    /// the server are watched.
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn natted(&mut self, clients: &[&str], server: Place) -> Result<Natted> {
        let natted = topology::natted(&self.folder, clients, server)?;
        let mut watched: Vec<&Rc<Host>> = natted.clients.iter().collect();
        watched.push(&natted.server);
        self.watch(&watched)?;
        Ok(natted)
    }

    /// What has been seen on the protected links so far.
    ///
    /// # Errors
    /// When a capture cannot be read.
    pub fn traffic(&self) -> Result<Traffic> {
        let mut total = Traffic::default();
        for capture in &self.captures {
            total.add(capture.so_far()?);
        }
        Ok(total)
    }

    /// Ends the captures; what was proved and what was seen.
    ///
    /// # Errors
    /// When a capture is incomplete.
    pub fn clear(mut self) -> Result<(Vec<String>, Traffic)> {
        let mut total = Traffic::default();
        for capture in self.captures.drain(..) {
            total.add(capture.finish()?);
        }
        Ok((std::mem::take(&mut self.proofs), total))
    }

    fn watch(&mut self, hosts: &[&Rc<Host>]) -> Result<()> {
        for host in hosts {
            self.hosts.push(Rc::clone(host));
            self.captures.push(Capture::start(host, OUTSIDE)?);
        }
        Ok(())
    }
}
