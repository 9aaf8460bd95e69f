//! `cargo xtask test`: the workspace's own tests, then the scenarios, shared out among a few test kernels.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::build::Profile;
use super::install::{self, Equipment};
use super::run::{self, Running};
use super::{Verdict, build};
use crate::failure::{During, Result, tail};
use crate::interop::Results;
use crate::job::{Job, Outcome, Report, Work};
use crate::kernel::{self, Choice};
use crate::scenario::{self, DEADLINE, Scenario};
use crate::uml::boot::Output;

/// Scenarios per test kernel: starting one takes as long as a short scenario.
const PER_KERNEL: usize = 10;
/// Failed scenarios are played once more, alone: on a busy machine a kernel ends by itself, a capture loses packets, and a
/// daemon of another make misses its own timers. What passes then is named at the end, for a fault of ours that shows one time
/// in two hides there too. With more failures than this nothing is played again: that is no accident.
const MOST_AGAIN: usize = 12;
/// How long a test kernel may take to begin with its first scenario.
const BOOT: Duration = Duration::from_secs(60);
/// Test kernels at the same time, at most. Each has one CPU, and waits about a third of its time: for timers of the daemons,
/// for the quiet that shows that nothing comes.
const AT_ONCE: usize = 6;

/// Passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Which scenarios are played.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choose<'a> {
    /// Those whose name contains one of these words, with commas between.
    pub(super) only: Option<&'a str>,
    /// Of those with the same name in front of the slash, one.
    pub(super) one_pair_each: bool,
}

impl Choose<'_> {
    fn names(self, all: &[Scenario]) -> Vec<String> {
        let mut names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        if let Some(words) = self.only {
            names.retain(|name| words.split(',').any(|word| name.contains(word)));
        }
        if self.one_pair_each {
            let what = |name: &&str| name.split('/').next().unwrap_or_default().to_owned();
            let mut rest = names.as_slice();
            let mut chosen = Vec::new();
            while let Some(first) = rest.first() {
                let (these, others) = rest.split_at(rest.iter().take_while(|name| what(name) == what(first)).count());
                // The next pair each time, so that every daemon has its turn.
                chosen.extend(these.get(chosen.len() % these.len()));
                rest = others;
            }
            names = chosen;
        }
        names.into_iter().map(str::to_owned).collect()
    }
}

/// Runs everything, or what is asked for.
pub(super) fn test(choose: Choose<'_>, list: bool, no_install: bool) -> Result<Verdict> {
    let all = scenario::all();
    let chosen = choose.names(&all);
    if list {
        all.iter()
            .filter(|scenario| chosen.contains(&scenario.name))
            .for_each(|scenario| println!("{:45} {}", scenario.name, scenario.about));
        return Ok(Verdict::Good);
    }
    let choice = kernel::choose();
    if let Equipment::Listed { lacking } = install::equip(choice.kernel, no_install)? {
        return Ok(if lacking { Verdict::Bad } else { Verdict::Good });
    }
    let mut count = Count::default();
    if choose.only.is_none() || chosen.is_empty() {
        count = cargo_tests(choose.only)?;
    }
    if !chosen.is_empty() {
        let programs = build::programs(&["cli"], Profile::Dev)?;
        println!("{}", choice.line());
        let outcomes = scenarios(chosen, &programs, &choice)?;
        keep(&outcomes)?;
        for outcome in outcomes {
            match outcome.result {
                Ok(_) => count.passed += 1,
                Err(_) => count.failed += 1,
            }
        }
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(if count.failed == 0 && count.passed > 0 { Verdict::Good } else { Verdict::Bad })
}

/// Keeps the outcomes for `cargo xtask interop`, and shows the table as it is now.
fn keep(outcomes: &[Outcome]) -> Result<()> {
    let desk = build::desk_folder()?;
    let mut results = Results::load(&desk)?;
    results.note(outcomes);
    results.save(&desk)?;
    let page = desk.join("interop.md");
    fs::write(&page, super::interop::page(&desk, &results)?).during(page.display())
}

/// `cargo test` of the workspace. What does not compile is one failure.
fn cargo_tests(only: Option<&str>) -> Result<Count> {
    let mut command = build::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(only);
    println!("running: cargo test --workspace --no-fail-fast {}", only.unwrap_or_default());
    let mut child = command.stdout(Stdio::piped()).spawn().during("starting cargo")?;
    let mut count = Count::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            println!("{line}");
            let seen = counted(&line).unwrap_or_default();
            count.passed += seen.passed;
            count.failed += seen.failed;
        }
    }
    if !child.wait()?.success() && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
}

/// Reads `test result: ok. 12 passed; 0 failed; ...`.
fn counted(line: &str) -> Option<Count> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut parts = rest.split("; ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some(Count { passed, failed })
}

/// Plays scenarios on as many test kernels as there are processors, and prints a line for each as it ends.
fn scenarios(names: Vec<String>, programs: &Path, choice: &Choice) -> Result<Vec<Outcome>> {
    // Keys are made before two guests could make them at once.
    run::job("test", Work::Scenarios(Vec::new()), programs.to_owned(), choice)?;
    let groups = VecDeque::from_iter(names.chunks(PER_KERNEL).map(<[String]>::to_vec));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let workers = (workers + workers.div_ceil(2)).min(AT_ONCE).min(groups.len());
    let (groups, outcomes) = (Mutex::new(groups), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for worker in 0..workers {
            let (groups, outcomes) = (&groups, &outcomes);
            scope.spawn(move || {
                // A function, for a lock taken in the condition of a loop is held until the end of its body.
                let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(group) = next() {
                    let name = format!("test/kernel-{worker}");
                    let ended = play_group(&name, group, programs, choice);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (failed, mut outcomes): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|outcome| outcome.result.is_err());
    if failed.len() > MOST_AGAIN {
        outcomes.extend(failed);
        return Ok(outcomes);
    }
    let mut second_try: Vec<String> = Vec::new();
    for outcome in failed {
        println!("again, alone on the machine: {}", outcome.name);
        let played = play_group("test/kernel-again", vec![outcome.name], programs, choice);
        second_try.extend(played.iter().filter(|again| again.result.is_ok()).map(|again| again.name.clone()));
        outcomes.extend(played);
    }
    if !second_try.is_empty() {
        println!("passed at the second attempt only, look into each: {}", second_try.join(", "));
    }
    Ok(outcomes)
}

/// Plays a group; after a scenario that took its kernel down, the rest go on with a new one.
fn play_group(name: &str, mut group: Vec<String>, programs: &Path, choice: &Choice) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while !group.is_empty() {
        let played = run::job(name, Work::Scenarios(group.clone()), programs.to_owned(), choice)
            .and_then(|job| play_on_one_kernel(&job, choice));
        let ended = played.unwrap_or_else(|failure| {
            let result = Err(failure.report());
            let outcome = Outcome { name: group[0].clone(), result, seconds: 0.0 };
            show(&outcome);
            vec![outcome]
        });
        group.retain(|name| ended.iter().all(|outcome| outcome.name != *name));
        outcomes.extend(ended);
    }
    outcomes
}

/// Plays until all are done or one hangs; that one has failed. At least one outcome comes of it.
fn play_on_one_kernel(job: &Job, choice: &Choice) -> Result<Vec<Outcome>> {
    let Work::Scenarios(names) = &job.work else { return Ok(Vec::new()) };
    let mut running = Running::begin(choice.kernel, job, Output::Logged)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut last_news = (0, Instant::now());
    loop {
        let over = running.ended()?;
        let reports = job.reports();
        if reports.len() > last_news.0 {
            last_news = (reports.len(), Instant::now());
        }
        let ended: Vec<Outcome> = reports
            .iter()
            .filter_map(|report| if let Report::Ended(outcome) = report { Some(outcome.clone()) } else { None })
            .collect();
        ended.iter().skip(outcomes.len()).for_each(show);
        outcomes = ended;
        if outcomes.len() == names.len() {
            return Ok(outcomes);
        }
        let patience = if reports.is_empty() { BOOT } else { DEADLINE };
        if over || last_news.1.elapsed() > patience {
            let Some(name) = names.get(outcomes.len()) else { return Ok(outcomes) };
            let why = if over { "its kernel ended" } else { "it hung and was killed" };
            let console = running.kill();
            let shown: Vec<&str> = tail(&console, 60).collect();
            let result = Err(format!("{why}; the console:\n  | {}", shown.join("\n  | ")));
            let outcome = Outcome { name: name.clone(), result, seconds: last_news.1.elapsed().as_secs_f64() };
            show(&outcome);
            outcomes.push(outcome);
            return Ok(outcomes);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn show(outcome: &Outcome) {
    let Outcome { name, result, seconds } = outcome;
    match result {
        Ok(proofs) => println!("ok    {name} ({seconds:.1} s): {}", proofs.join("; ")),
        Err(why) => println!("FAIL  {name} ({seconds:.1} s): {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_s_result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(counted(line), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(counted("test a ... ok"), None);
    }
}
