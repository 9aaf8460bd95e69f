//! Revocation against everything that can be under way when it comes, in virtual time (ATTACKS C-8): each exchange is stepped
//! through, and at each step the other side's certificate is revoked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ike::crypto::provider::{CryptoError, DhPair, Provider, RsaPublicKey};
use ike::endpoint::Endpoint;
use ike::event::Input;
use ike::event::command::Command;
use ike::event::question::CertificateId;
use ike::wire::number::ExchangeType;
use policy::model::algorithm::Group;
use policy::model::remote::ExchangeMode;
use policy::model::secret::Secret;
use tests::sim::node::{Settings, config};
use tests::sim::provider::ToyProvider;
use tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// Between two moments: the quickest answer of a key or a judge takes twice as long.
const STEP: Duration = Duration::from_micros(500);
/// Moments of one exchange.
const MOMENTS: u32 = 80;

/// Revokes node 2's certificate at node 1.
fn revoke(world: &mut World) {
    let certificate = CertificateId { issuer_key: [9; 32], serial: vec![2] };
    world.happen(0, Input::Command(Command::Revoke { certificate }));
}

/// What node 1 was in the midst of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Midst {
    /// A phase 1 whose keys are not agreed, or not proved.
    HalfOpen,
    /// A key or a judge at work.
    Job,
    /// Half a quick mode.
    QuickMode,
    /// An SPI without an SA.
    Larval,
    /// One SA of a pair: behind the journal's entry, before the kernel has all of it.
    HalfInstalled,
    /// A renewal while the old child carries traffic.
    Renewal,
}

fn midst(world: &World) -> BTreeSet<Midst> {
    let (node, mut found) = (&world.nodes[0], BTreeSet::new());
    let (sizes, sas) = (node.endpoint.sizes(), node.kernel.sas.len());
    let mut note = |is_so: bool, what: Midst| is_so.then(|| found.insert(what));
    note(sizes.handshakes > 0, Midst::HalfOpen);
    note(sizes.jobs > 0, Midst::Job);
    note(sizes.quick_modes > 0, Midst::QuickMode);
    note(node.kernel.larval() > 0, Midst::Larval);
    note(sas % 2 == 1, Midst::HalfInstalled);
    note((sizes.quick_modes > 0 || sizes.handshakes > 0) && sas >= 2, Midst::Renewal);
    found
}

/// Goes to `start`, then to each of [`MOMENTS`] behind it, each time in a world of its own: nothing of node 2 may be left at
/// node 1, and nothing come back while both have traffic. What was under way at all these moments.
fn at_each_moment(settings: &Settings, initiator: usize, start: Duration) -> BTreeSet<Midst> {
    let mut seen = BTreeSet::new();
    for moment in 0..MOMENTS {
        let mut world = World::new(settings, 6).with_reports();
        world.acquire(initiator);
        world.run(start);
        for step in 1..=moment {
            world.run(start + STEP * step);
        }
        seen.extend(midst(&world));
        revoke(&mut world);
        world.run(world.now + STEP);
        let standing = world.nodes[0].kernel.sas.len();
        assert_eq!(standing, 0, "moment {moment}: {} SAs\n{}", standing, world.log());
        let sizes = world.nodes[0].endpoint.sizes();
        assert_eq!((sizes.isakmp_sas, sizes.quick_modes, sizes.children), (0, 0, 0), "{moment}\n{}", world.log());
        for second in 1..=4 {
            world.acquire(initiator);
            world.run(start + SECOND * (4 * second));
            assert!(world.nodes[0].kernel.sas.is_empty(), "moment {moment}\n{}", world.log());
        }
        world.run(world.now + 90 * SECOND);
        assert_eq!(world.nodes[0].kernel.larval(), 0, "moment {moment}\n{}", world.log());
        world.check_nothing_left_of(0).unwrap_or_else(|left| panic!("moment {moment}: {left}\n{}", world.log()));
    }
    seen
}

/// When node 1 is first busy after `from`, in steps of a millisecond.
fn busy(settings: &Settings, initiator: usize, from: Duration) -> Duration {
    let mut world = World::new(settings, 6);
    world.acquire(initiator);
    world.run(from);
    let free = |world: &World| !midst(world).iter().any(|one| [Midst::HalfOpen, Midst::QuickMode].contains(one));
    assert!(free(&world), "at rest at first");
    let end = from + 200 * SECOND;
    while free(&world) && world.now < end {
        world.run(world.now + 2 * STEP);
    }
    assert!(world.now < end, "it renews");
    world.now - 2 * STEP
}

#[test]
fn c8_at_any_moment_of_any_exchange_nothing_is_left() {
    let main = Settings::default();
    let with_pfs = Settings { pfs: Some(Group::Modp2048), ..Settings::default() };
    let aggressive = Settings { exchange: ExchangeMode::Aggressive, ..Settings::default() };
    for settings in [main, with_pfs, aggressive] {
        for initiator in 0..2 {
            let seen = at_each_moment(&settings, initiator, Duration::ZERO);
            // The initiator waits for an answer with an SPI of its own, the responder between its two SAs.
            let waits = if initiator == 0 { Midst::Larval } else { Midst::HalfInstalled };
            for wanted in [Midst::HalfOpen, Midst::Job, Midst::QuickMode, waits] {
                assert!(seen.contains(&wanted), "{initiator}: the moments hit {seen:?} only");
            }
        }
    }
}

#[test]
fn c8_a_renewal_that_is_under_way_is_cut_with_the_rest() {
    let phase2 = Settings { phase2_life: Duration::from_secs(60), pfs: Some(Group::Modp2048), ..Settings::default() };
    let phase1 = Settings { phase1_life: Duration::from_secs(120), ..Settings::default() };
    for settings in [phase2, phase1] {
        for initiator in 0..2 {
            let begins = busy(&settings, initiator, 20 * SECOND);
            let seen = at_each_moment(&settings, initiator, begins);
            assert!(seen.contains(&Midst::Renewal), "{initiator}: the moments hit {seen:?} only");
        }
    }
}

#[test]
fn c8_the_peer_is_told() {
    let mut world = World::new(&Settings::default(), 6).with_reports();
    world.acquire(0);
    world.run(SECOND);
    assert_eq!(world.nodes[1].kernel.sas.len(), 2);
    let before = world.labels.len();
    revoke(&mut world);
    world.run(2 * SECOND);
    let told = world
        .labels
        .iter()
        .skip(before)
        .filter(|label| label.from == 0 && label.exchange == ExchangeType::INFORMATIONAL.0);
    assert!(told.count() >= 2, "a DELETE of the child and one of the ISAKMP SA\n{}", world.log());
    assert!(world.nodes[1].kernel.sas.is_empty(), "{}", world.log());
    assert_eq!(world.nodes[1].endpoint.sizes().isakmp_sas, 0, "{}", world.log());
}

/// Counts what costs.
struct Counting {
    toy: ToyProvider,
    verified: AtomicUsize,
    agreed: AtomicUsize,
}

impl Provider for Counting {
    fn random(&self, out: &mut [u8]) {
        self.toy.random(out);
    }

    fn dh_generate(&self, group: Group) -> Result<DhPair, CryptoError> {
        self.toy.dh_generate(group)
    }

    fn dh_agree(&self, group: Group, secret: &Secret, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        self.agreed.fetch_add(1, Ordering::Relaxed);
        self.toy.dh_agree(group, secret, peer_public)
    }

    fn rsa_public(&self, key: &RsaPublicKey, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.verified.fetch_add(1, Ordering::Relaxed);
        self.toy.rsa_public(key, input)
    }
}

/// The certificate comes encrypted with what the exchange of public values gave, so that much is needed to see it; nothing
/// else: no signature of the peer's is checked, whichever side begins, however often it tries.
#[test]
fn c8_a_revoked_peer_costs_no_public_key_work_beyond_reading_its_certificate() {
    for exchange in [ExchangeMode::Main, ExchangeMode::Aggressive] {
        for initiator in 0..2 {
            let settings = Settings { exchange, ..Settings::default() };
            let mut world = World::new(&settings, 6).with_reports();
            let toy = ToyProvider::new(9);
            let counting = Arc::new(Counting { toy, verified: AtomicUsize::new(0), agreed: AtomicUsize::new(0) });
            let provider: Arc<dyn Provider + Send + Sync> = Arc::<Counting>::clone(&counting);
            world.nodes[0].endpoint = Endpoint::new(provider, Arc::new(config(1, &settings)));
            revoke(&mut world);
            for second in 1..60 {
                world.acquire(initiator);
                world.run(SECOND * second);
            }
            let refused = world.log().matches("was revoked meanwhile").count();
            assert!(refused >= 1, "{exchange:?} {initiator}\n{}", world.log());
            let (verified, agreed) = (&counting.verified, &counting.agreed);
            assert_eq!(verified.load(Ordering::Relaxed), 0, "{exchange:?} {initiator}\n{}", world.log());
            assert!(agreed.load(Ordering::Relaxed) <= refused + 1, "{exchange:?} {initiator}\n{}", world.log());
            assert_eq!(world.nodes[0].kernel.installs(), 0);
        }
    }
}
