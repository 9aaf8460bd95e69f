//! A link that loses, repeats, delays, reorders and damages datagrams.

use std::time::Duration;

use super::label::Label;
use super::random::Random;

/// What a link does, in percent of the datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Impairment {
    /// Lost.
    pub loss: u64,
    /// Delivered twice.
    pub duplicate: u64,
    /// Delayed beyond the ones that follow.
    pub reorder: u64,
    /// One bit flipped.
    pub corrupt: u64,
}

/// What becomes of one datagram, where a test decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives as the link lets it.
    Pass,
    /// It is lost.
    Lose,
    /// It arrives twice.
    Twice,
    /// It arrives this much later.
    Late(Duration),
}

/// Decides for each datagram that is sent, told by what it is.
pub type Fates = Box<dyn FnMut(&Label) -> Fate>;

/// A copy of a datagram on its way: when it arrives, and what arrives.
pub type Copy = (Duration, Vec<u8>);

impl Impairment {
    /// The same percentage of everything.
    pub fn all(percent: u64) -> Self {
        Self { loss: percent, duplicate: percent, reorder: percent, corrupt: percent }
    }

    /// What becomes of a datagram sent now: the delay of each copy that arrives.
    pub fn apply(&self, octets: &[u8], random: &mut Random) -> Vec<Copy> {
        let copies = if random.percent(self.duplicate) { 2 } else { 1 };
        let mut arriving = Vec::new();
        for _ in 0..copies {
            if random.percent(self.loss) {
                continue;
            }
            let mut delay = Duration::from_micros(500 + random.below(500));
            if random.percent(self.reorder) {
                delay += Duration::from_millis(random.below(300));
            }
            let mut octets = octets.to_vec();
            if random.percent(self.corrupt) && !octets.is_empty() {
                let at = random.below(octets.len() as u64) as usize;
                octets[at] ^= 1 << random.below(8);
            }
            arriving.push((delay, octets));
        }
        arriving
    }
}
