//! Policies made for a peer that has none (`generate_policy`), and which traffic a peer may ask for.

use std::sync::Arc;
use std::time::Duration;

use ike::config::Config;
use ike::event::Input;
use ike::event::command::Command;
use ike::event::policies::{Acquire, Companions};
use ike::report::Event;
use policy::model::addr::IpNet;
use policy::model::identity::{ConfiguredId, Identity, IdentityKind, PeersIdentifier};
use policy::model::remote::GeneratePolicy;
use policy::model::sa::{Mode, Protocol, ReqId};
use policy::model::sainfo::{Sainfo, SainfoId};
use policy::model::selector::{Selector, UpperProtocol};
use tests::sim::link::Impairment;
use tests::sim::node::{Settings, config};
use tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Node 1 asks; node 2 has no policies and makes them.
fn world(settings: &Settings, seed: u64, adjust: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(settings, seed).with_reports();
    world.without_policies = [false, true];
    let mut server = config(2, settings);
    for remote in &mut server.remotes {
        let mut changed = (**remote).clone();
        changed.remote.generate_policy = GeneratePolicy::Require;
        changed.remote.passive = true;
        *remote = Arc::new(changed);
    }
    adjust(&mut server);
    world.happen(1, Input::Configure(Arc::new(server)));
    world
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

/// Node 1's kernel wants a tunnel for this traffic.
fn ask(world: &mut World, traffic: Selector) {
    let (local, peer) = (world.nodes[0].addr, world.nodes[1].addr);
    let acquire = Acquire {
        flow: traffic,
        policy: traffic,
        policy_index: 1,
        local,
        peer,
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        reqid: ReqId(0),
        companions: Companions::NONE,
    };
    world.happen(0, Input::Acquire(acquire));
}

/// What node 2 said about quick modes that failed.
fn refusals(world: &World) -> Vec<String> {
    let failed = |report: &ike::report::Report| match &report.event {
        Event::Phase2Failed { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    world.reports.iter().filter(|(node, ..)| *node == 1).filter_map(|(.., report)| failed(report)).collect()
}

#[test]
fn a_policy_lives_as_long_as_its_last_child() {
    let settings = Settings { phase2_life: 60 * SECOND, ..Settings::default() };
    let mut world = world(&settings, 1, |_| {});
    for minute in 1..=10 {
        for second in 0..60 {
            world.packet(0);
            world.run((minute - 1) * 60 * SECOND + (second + 1) * SECOND);
            if minute * 60 + second > 61 {
                assert_eq!(world.nodes[1].kernel.generated.len(), 1, "minute {minute}\n{}", world.log());
            }
        }
    }
    let made = |report: &ike::report::Report| matches!(report.event, Event::PolicyGenerated { .. });
    let count = world.reports.iter().filter(|(.., report)| made(report)).count();
    assert_eq!(count, 1, "renewals make no policy\n{}", world.log());
    assert!(world.nodes[1].kernel.installs() >= 20, "renewed");
    world.happen(0, Input::Command(Command::DownAll));
    world.run(world.now + 30 * SECOND);
    assert_eq!(world.nodes[1].kernel.generated.len(), 0, "{}", world.log());
    assert_eq!(world.check_agreement(), Ok(0));
}

#[test]
fn no_policy_is_left_over_a_bad_line() {
    for seed in 0..60 {
        let mut world = world(&Settings::default(), seed, |_| {});
        world.impairment = Impairment { loss: 30, duplicate: 10, ..Impairment::default() };
        world.acquire(0);
        world.run(200 * SECOND);
        let held = world.nodes[1].kernel.sas.len();
        let generated = world.nodes[1].kernel.generated.len();
        assert_eq!(generated, usize::from(held > 0), "seed {seed}: {held} SAs\n{}", world.log());
        world.happen(1, Input::Shutdown);
        world.run(world.now + 60 * SECOND);
        assert_eq!(world.nodes[1].kernel.generated.len(), 0, "seed {seed}\n{}", world.log());
    }
}

#[test]
fn who_authenticated_as_one_peer_gets_nothing_of_another() {
    let own = net("192.0.2.1/32");
    for (remote, allowed) in
        [("192.0.2.1/32", true), ("192.0.2.9/32", false), ("10.2.0.0/16", false), ("0.0.0.0/0", false)]
    {
        let mut world = world(&Settings::default(), 3, |_| {});
        ask(&mut world, Selector::between(net(remote), net("10.0.0.0/8")));
        world.run(SECOND);
        let made: Vec<Selector> = world.nodes[1].kernel.generated.iter().copied().collect();
        if allowed {
            assert_eq!(made, [Selector::between(net("10.0.0.0/8"), own)]);
            assert_eq!(world.nodes[1].kernel.sas.len(), 2);
        } else {
            assert!(made.is_empty() && world.nodes[1].kernel.sas.is_empty(), "{remote}");
            let why = refusals(&world);
            assert!(why.iter().any(|why| why.contains("no sainfo names")), "{remote}: {why:?}");
        }
    }
}

#[test]
fn a_sainfo_lets_a_subnet_in_for_whom_it_names() {
    let subnet =
        |text: &str| SainfoId::Selector { id: Identity::Subnet(net(text)), protocol: UpperProtocol::ANY, port: 0 };
    for (name, allowed) in [("node1.example", true), ("node7.example", false)] {
        let mut world = world(&Settings::default(), 4, |server| {
            let from = PeersIdentifier { kind: IdentityKind::Fqdn, value: Some(ConfiguredId::Fqdn(name.to_owned())) };
            let anonymous = server.sainfos.first().cloned().expect("the sainfo of the simulation");
            let named =
                Sainfo { local: subnet("10.0.0.0/8"), remote: subnet("172.16.0.0/12"), from: Some(from), ..anonymous };
            server.sainfos.insert(0, named);
        });
        ask(&mut world, Selector::between(net("172.16.0.0/12"), net("10.0.0.0/8")));
        world.run(SECOND);
        assert_eq!(world.nodes[1].kernel.generated.len(), usize::from(allowed), "{}", world.log());
    }
}

#[test]
fn without_the_directive_nothing_is_made() {
    let settings = Settings::default();
    let mut world = World::new(&settings, 5).with_reports();
    world.without_policies = [false, true];
    world.acquire(0);
    world.run(SECOND);
    assert!(world.nodes[1].kernel.generated.is_empty() && world.nodes[1].kernel.sas.is_empty());
    assert!(refusals(&world).iter().any(|why| why.starts_with("no policy found")));
}
