//! Security policies.

use policy::model::sa::{Direction, SecurityContext};
use policy::model::selector::Selector;

use super::limits::{Lifetimes, Usage};
use super::mark::Mark;
use super::template::Template;

/// Where a policy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the SPD, for packets of this direction.
    Spd(Direction),
    /// On one socket (the kernel lists these too, but they cannot be named in a request).
    Socket(Direction),
}

impl Place {
    /// The direction, wherever the policy stands.
    pub fn direction(self) -> Direction {
        match self {
            Self::Spd(direction) | Self::Socket(direction) => direction,
        }
    }

    /// Does it belong to one socket only?
    pub fn is_socket(self) -> bool {
        matches!(self, Self::Socket(_))
    }
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, through the templates if there are any.
    Allow,
    /// It is dropped.
    Block,
}

/// The kernel's two policy lists (`XFRM_POLICY_TYPE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum List {
    /// Main.
    #[default]
    Main,
    /// Sub, consulted before main (mobile IPv6).
    Sub,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which packets.
    pub selector: Selector,
    /// Only packets through this interface; 0 any.
    pub interface: u32,
    /// Where it stands.
    pub place: Place,
    /// What happens to them.
    pub verdict: Verdict,
    /// Smaller is consulted first.
    pub priority: u32,
    /// The kernel's number of the policy; 0 lets the kernel choose when it is added.
    pub index: u32,
    /// Which list.
    pub list: List,
    /// Transforms, innermost first; empty with [`Verdict::Allow`] lets packets pass in clear.
    pub templates: Vec<Template>,
    /// Only packets with this mark.
    pub mark: Option<Mark>,
    /// Only packets of this XFRM interface.
    pub if_id: Option<u32>,
    /// What a security module looks at.
    pub context: Option<SecurityContext>,
    /// Limits.
    pub lifetimes: Lifetimes,
    /// How far it has come; told by the kernel, not written.
    pub usage: Usage,
    /// `XFRM_POLICY_LOCALOK` (1), `XFRM_POLICY_ICMP` (2).
    pub flags: u8,
    /// `XFRM_SHARE_*`.
    pub share: u8,
}

impl Policy {
    /// A policy of the SPD without limits, marks or flags.
    pub fn new(selector: Selector, direction: Direction, verdict: Verdict, templates: Vec<Template>) -> Self {
        Self {
            selector,
            interface: 0,
            place: Place::Spd(direction),
            verdict,
            priority: 0,
            index: 0,
            list: List::Main,
            templates,
            mark: None,
            if_id: None,
            context: None,
            lifetimes: Lifetimes::default(),
            usage: Usage::default(),
            flags: 0,
            share: 0,
        }
    }

    /// What names this policy in a request.
    pub fn key(&self) -> PolicyKey {
        PolicyKey {
            target: PolicyTarget::Selector { selector: self.selector, interface: self.interface },
            direction: self.place.direction(),
            list: self.list,
            mark: self.mark,
            if_id: self.if_id,
        }
    }
}

/// The part of a [`PolicyKey`] that tells one policy from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyTarget {
    /// By its selector.
    Selector {
        /// Selector.
        selector: Selector,
        /// Interface of the selector; 0 any.
        interface: u32,
    },
    /// By the kernel's number.
    Index(u32),
}

/// Names a policy of the SPD in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyKey {
    /// Which one.
    pub target: PolicyTarget,
    /// Direction.
    pub direction: Direction,
    /// Which list.
    pub list: List,
    /// Its mark.
    pub mark: Option<Mark>,
    /// Its XFRM interface.
    pub if_id: Option<u32>,
}

impl PolicyKey {
    /// By the kernel's number, main list. The direction follows from the number.
    pub fn index(index: u32) -> Self {
        let direction = match index & 7 {
            0 => Direction::In,
            2 => Direction::Fwd,
            _ => Direction::Out,
        };
        Self { target: PolicyTarget::Index(index), direction, list: List::Main, mark: None, if_id: None }
    }

    /// By selector and direction, main list, no mark.
    pub fn selector(selector: Selector, direction: Direction) -> Self {
        let target = PolicyTarget::Selector { selector, interface: 0 };
        Self { target, direction, list: List::Main, mark: None, if_id: None }
    }
}

/// A policy exactly as the kernel sent it, attributes we do not know included, to be sent back unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPolicy(pub(crate) Vec<u8>);
