//! Every message of every exchange: lost once, lost always, sent twice, overtaken by what follows it.
//!
//! One script holds every exchange: phase 1, the first child, its renewals, the renewal of the ISAKMP SA, DELETEs, and
//! the restart of everything by traffic. It is played once undisturbed to learn its messages, then once for each message
//! and each accident. Afterwards the link is good again, and what STYLE section 11 asks must hold: both kernels and both
//! endpoints agree, packets flow, and when everything was taken down nothing is left of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ike::event::Input;
use ike::event::command::Command;
use tests::sim::label::Label;
use tests::sim::link::Fate;
use tests::sim::node::Settings;
use tests::sim::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// The first child has come up by then, whatever single message was lost.
const UP: Duration = Duration::from_secs(5);

fn settings(base: Settings) -> Settings {
    Settings { phase1_life: Duration::from_secs(170), phase2_life: Duration::from_secs(80), ..base }
}

/// Who has packets to send while nothing stands yet.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// Node 1: it is the initiator.
    One,
    /// Both: their exchanges cross.
    Both,
}

/// What is played.
#[derive(Clone, Debug)]
struct Play {
    mode: &'static str,
    settings: Settings,
    start: Start,
    /// Without renewals, which do not depend on how phase 1 went: only the first exchanges of each type are disturbed.
    brief: bool,
}

impl Play {
    /// When node 1 is told to take everything down; traffic brings it up again.
    fn down(&self) -> Duration {
        self.patience() + if self.brief { 40 * SECOND } else { 200 * SECOND }
    }

    /// The end of the disturbed part.
    fn disturbed(&self) -> Duration {
        self.down() + 35 * SECOND
    }

    /// Time until all has healed: whatever waits for an answer that will not come has given up, and the life of a child
    /// is over where it was renewed.
    fn healing(&self) -> Duration {
        self.patience() + if self.brief { 90 * SECOND } else { 170 * SECOND }
    }

    /// A user may take two minutes to type the password.
    fn patience(&self) -> Duration {
        if self.settings.auth.xauth().is_some() { 100 * SECOND } else { Duration::ZERO }
    }
}

/// Every mode there is, begun by one side and by both. The renewals are played in the first mode, and in all of them if
/// `LOSSES=all` is in the environment.
fn plays() -> Vec<Play> {
    let all = std::env::var("LOSSES").is_ok_and(|value| value == "all");
    let mut plays = Vec::new();
    for (number, (mode, base)) in Settings::modes().into_iter().enumerate() {
        let brief = number > 0 && !all;
        plays.push(Play { mode, settings: settings(base), start: Start::One, brief });
        if base.either_may_begin() {
            plays.push(Play { mode, settings: settings(base), start: Start::Both, brief });
        }
    }
    plays
}

/// A world in which `fate` decides about every datagram of the disturbed part.
fn disturbed(play: &Play, fate: impl Fn(&Label) -> Fate + 'static) -> World {
    let mut world = World::new(&play.settings, 11).with_reports();
    world.fates = Some(Box::new(move |label| fate(label)));
    while world.now < UP {
        world.packet(0);
        if matches!(play.start, Start::Both) {
            world.packet(1);
        }
        world.run(world.now + SECOND);
    }
    world
}

/// The rest of the disturbed part.
fn disturb_on(play: &Play, world: &mut World) {
    world.run_with_traffic(play.down(), SECOND);
    let peer = world.nodes[1].addr;
    world.happen(0, Input::Command(Command::Down { peer }));
    world.run_with_traffic(play.disturbed(), SECOND);
}

/// The link is good again: within the life of a child all is well, and afterwards everything goes.
fn heals(play: &Play, mut world: World, what: &str) {
    world.fates = None;
    let end = world.now + play.healing();
    world.run_with_traffic(end, SECOND);
    let (sent, arrived) = (world.sent, world.arrived);
    world.run_with_traffic(end + 5 * SECOND, SECOND);
    assert_eq!(
        world.sent - sent,
        world.arrived - arrived,
        "{what}: packets are lost on the good link\n{}",
        tail(&world)
    );
    // What is under way finishes; nothing new is asked for.
    let mut quiet = world.now;
    while world.check_agreement() != Ok(1) && quiet < end + Duration::from_secs(60) {
        quiet += SECOND;
        world.run(quiet);
    }
    assert_eq!(world.check_agreement(), Ok(1), "{what}\n{}", tail(&world));
    for node in 0..2 {
        let peer = world.nodes[1 - node].addr;
        world.happen(node, Input::Command(Command::Down { peer }));
    }
    world.run(world.now + Duration::from_secs(60));
    assert_eq!(world.check_nothing_left(), Ok(()), "{what}\n{}", tail(&world));
}

fn tail(world: &World) -> String {
    let log = world.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(150)..].join("\n")
}

/// The messages of the undisturbed script, first copies, in the order they were sent.
fn script(play: &Play) -> Vec<Label> {
    let mut world = disturbed(play, |_| Fate::Pass);
    disturb_on(play, &mut world);
    assert_eq!(world.check_agreement(), Ok(1), "{}", tail(&world));
    let wanted = |label: &&Label| label.resend == 0 && (!play.brief || label.nth == 0);
    let labels: Vec<Label> = world.labels.iter().filter(wanted).cloned().collect();
    heals(play, world, "undisturbed");
    labels
}

/// Plays the script once for each of its messages, with one accident to the first copy of it.
fn each(accident: Fate) {
    for play in plays() {
        let Play { mode, start, .. } = play;
        for message in script(&play) {
            let what = format!("{mode}, begun by {start:?}: {message}: {accident:?}");
            let happened = Rc::new(RefCell::new(false));
            let noted = Rc::clone(&happened);
            let mut world = disturbed(&play, move |label| {
                let hit = *label == message;
                *noted.borrow_mut() |= hit;
                if hit { accident } else { Fate::Pass }
            });
            let up = world.nodes.iter().all(|node| node.kernel.outbound().is_some());
            assert!(up, "{what}\n{}", tail(&world));
            let (sent, arrived) = (world.sent, world.arrived);
            world.run_with_traffic(play.down() - SECOND, SECOND);
            assert_eq!(world.sent - sent, world.arrived - arrived, "{what}: a renewal lost packets\n{}", tail(&world));
            disturb_on(&play, &mut world);
            assert!(*happened.borrow(), "{what} did not come to pass");
            heals(&play, world, &what);
        }
    }
}

#[test]
fn each_message_lost_once() {
    each(Fate::Lose);
}

#[test]
fn each_message_sent_twice() {
    each(Fate::Twice);
}

#[test]
fn each_message_overtaken_by_the_next() {
    each(Fate::Late(Duration::from_millis(30)));
}

#[test]
fn each_message_overtaken_by_its_own_resend() {
    each(Fate::Late(Duration::from_millis(700)));
}

#[test]
fn each_message_a_straggler_of_five_seconds() {
    each(Fate::Late(5 * SECOND));
}

#[test]
fn each_kind_of_message_lost_always() {
    for play in plays() {
        let Play { mode, start, .. } = play;
        let mut kinds: Vec<_> = script(&play).iter().map(Label::kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            for spared in 0..=usize::from(!play.brief) {
                // From the first exchange of its type on, or from the second: the renewal.
                let what = format!("{mode}, begun by {start:?}: {kind:?} always, but for the first {spared}");
                let mut world =
                    disturbed(
                        &play,
                        move |label| {
                            if label.kind() == kind && label.nth >= spared { Fate::Lose } else { Fate::Pass }
                        },
                    );
                disturb_on(&play, &mut world);
                let log = world.log();
                let (_, exchange, _) = kind;
                if exchange != 5 && spared == 0 {
                    assert!(gave_up_with_a_reason(&log), "{what}: no line names the missing message\n{}", tail(&world));
                }
                let sizes = [world.nodes[0].endpoint.sizes(), world.nodes[1].endpoint.sizes()];
                for sizes in sizes {
                    let bounded = sizes.handshakes <= 4 && sizes.quick_modes <= 8 && sizes.children <= 8;
                    assert!(bounded && sizes.isakmp_sas <= 8 && sizes.timers <= 64, "{what}: {sizes:?}");
                }
                heals(&play, world, &what);
            }
        }
    }
}

/// Each kind of message has its words. Where two ISAKMP SAs crossed, one of them may go meanwhile, and say so.
fn gave_up_with_a_reason(log: &str) -> bool {
    let words =
        ["no answer to", "never came", "its ISAKMP SA is gone", "has not finished the login", "no configuration came"];
    log.lines().any(|line| words.iter().any(|words| line.contains(words)))
}

#[test]
fn a_message_that_never_comes_leaves_nothing_behind() {
    // One acquire and silence: whatever is missing, both sides are empty in the end.
    for play in plays() {
        let Play { mode, start, .. } = play;
        for kind in script(&play).iter().filter(|label| label.nth == 0).map(Label::kind) {
            let what = format!("{mode}, begun by {start:?}: {kind:?} never");
            let mut world = World::new(&play.settings, 12).with_reports();
            world.fates = Some(Box::new(move |label| if label.kind() == kind { Fate::Lose } else { Fate::Pass }));
            world.acquire(0);
            world.run(Duration::from_secs(25));
            for node in 0..2 {
                let peer = world.nodes[1 - node].addr;
                world.happen(node, Input::Command(Command::Down { peer }));
            }
            world.run(Duration::from_secs(700));
            assert_eq!(world.check_nothing_left(), Ok(()), "{what}\n{}", tail(&world));
        }
    }
}
