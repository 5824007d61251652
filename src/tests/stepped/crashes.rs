//! The end at every operation: the process is killed, or the machine stops, before each operation
//! of each scenario and inside each write; then a new logger starts on what is left. It comes up,
//! overwrites nothing, and what a reader finds are whole lines; except one fragment, alone on its
//! line, for each write that was cut in two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bench::PATH;
use super::faults::{in_all, is_long, scenarios};
use super::invariants::{Ledger, assert_invariants, parse};
use super::scenarios::{Life, Scenario};
use crate::tests::fake_disk::{Crash, FakeDisk, Keep, Moment};
use crate::writer::CAUGHT;

/// The life of one process, with all the moments at which it may end, and what was logged.
fn lived(scenario: &Scenario, disk: FakeDisk, ledger: Ledger) -> (FakeDisk, Vec<Moment>, Ledger) {
    disk.world().keep = Keep::Every;
    let mut life = scenario.begin(disk, ledger);
    (scenario.drive)(&mut life);
    let moments = std::mem::take(&mut life.disk.world().kept);
    (life.disk, moments, life.bench.ledger)
}

/// What a reader of the log finds: the archives by their names, compressed or not, then the active
/// file.
fn read(disk: &FakeDisk) -> Vec<Vec<u8>> {
    let mut named: BTreeMap<_, _> = disk.read_every_name().into_iter().collect();
    // Where each name has a number of its own, nobody can know that a kill has left the active file
    // under an archive's name, too: its lines are there twice.
    if disk.world().unstable_ids {
        let inodes: BTreeMap<_, _> = disk.inodes().into_iter().collect();
        let mut seen: BTreeSet<_> = inodes.get(PATH).into_iter().collect();
        named.retain(|name, _| name == PATH || inodes.get(name).is_none_or(|inode| seen.insert(inode)));
    }
    let log = named.iter().filter(|(name, _)| name.starts_with("/logs/app."));
    // One that was compressed, and not removed yet, is there twice.
    let once = log.filter(|(name, _)| name.strip_suffix(".gz").is_none_or(|plain| !named.contains_key(plain)));
    let (active, archives): (Vec<_>, Vec<_>) = once.partition(|(name, _)| *name == PATH);
    archives.into_iter().chain(active).map(|(_, bytes)| bytes.clone()).collect()
}

/// How many fragments there are already, except the one at the very end.
fn fragments(files: &[Vec<u8>]) -> usize {
    parse(files).fragments.len()
}

/// A new logger on what is left. `earlier`: what was logged before, as far as it is known.
fn restart(scenario: &Scenario, left: &FakeDisk, earlier: &Ledger) -> Life {
    let before = left.read_every_name();
    // A next file that never became the active one, and holds something, becomes an archive.
    let is_next = |name: &str| name.contains("/.app.log.") && name.ends_with(".new");
    let next: Vec<_> = before.iter().filter(|(name, _)| is_next(name)).map(|(_, bytes)| bytes.clone()).collect();
    let cut_in_two = fragments(&read(left)) + fragments(&next);
    let mut life = scenario.begin(left.clone(), earlier.clone());
    life.bench.step();
    // Whatever limits there are may delete; nothing else may.
    for _ in 0..3 {
        life.bench.log_some(3);
        life.bench.live(Duration::from_millis(600));
    }
    life.bench.live(Duration::from_secs(3));
    assert!(!life.bench.suspended(), "it comes up: {}", life.bench.handle.state());
    assert_invariants(&life.bench, left, "after the crash");
    let deleted = life.bench.history.lock().unwrap().deleted.clone();
    // What the machine has left of an archive may be nothing.
    let was_empty = |name| before.iter().any(|(there, bytes)| there == name && bytes.is_empty());
    assert!(scenario.deletes || deleted.iter().all(was_empty), "{deleted:?}");

    // Whatever was there is there, as it was or with more after it, under its name or as the
    // archive it has become.
    let after = left.read_every_name();
    let is_log = |name: &String| !name.contains("/.") || is_next(name);
    for (name, bytes) in before.iter().filter(|(name, _)| is_log(name) && !deleted.contains(name)) {
        let is_there = after.iter().any(|(_, now)| now.starts_with(bytes));
        // What was the active file may be an archive by now, and beyond a limit.
        assert!(is_there || scenario.deletes && (name == PATH || is_next(name)), "{name} was overwritten");
    }
    let unfinished: Vec<_> = after.iter().map(|(name, _)| name).filter(|name| name.contains("/.")).collect();
    assert!(!scenario.has_history() || unfinished.is_empty(), "{unfinished:?}");

    let files = read(left);
    let parsed = parse(&files);
    parsed.assert_order(&life.bench.ledger, "over both lives");
    assert!(parsed.fragments.len() <= cut_in_two, "{:?}", parsed.fragments);
    assert!(files.iter().all(|file| file.is_empty() || file.ends_with(b"\n") || !parsed.fragments.is_empty()));
    life
}

/// Every record that was surely in the files before is there: in the system's hands, or, if each
/// batch was synced, on the disk.
fn assert_kept(scenario: &Scenario, left: &FakeDisk, moment: &Moment, crash: Crash) {
    if scenario.deletes || crash != Crash::Process && !scenario.syncs_each_batch() {
        return;
    }
    let there: BTreeSet<_> = parse(&read(left)).records.into_iter().collect();
    assert!(there.len() as u64 >= moment.promised, "{} records, {} were written", there.len(), moment.promised);
}

#[test]
fn a_crash_at_any_operation_overwrites_nothing_and_leaves_whole_lines() {
    let scenarios: Vec<_> = scenarios().collect();
    let count = in_all(&scenarios, |scenario, runs| {
        let (disk, moments, ledger) = lived(scenario, scenario.disk(), Ledger::default());
        assert!(moments.len() > 10);
        for (number, moment) in moments.iter().enumerate() {
            for crash in Crash::ALL {
                runs.begin(scenario.name, format!("{crash:?} at moment {number}, {:?}", moment.at));
                let left = disk.after(moment, crash);
                assert_kept(scenario, &left, moment, crash);
                restart(scenario, &left, &ledger);
                assert_eq!(CAUGHT.get(), 0, "something panicked");
            }
        }
    });
    println!("{count} runs: a crash at every operation and inside every write");
}

#[test]
fn a_crash_after_a_crash_overwrites_nothing_either() {
    let scenarios: Vec<_> = scenarios().filter(|it| it.is_short && (is_long() || it.name != "overflow")).collect();
    let count = in_all(&scenarios, |scenario, runs| {
        let (disk, moments, ledger) = lived(scenario, scenario.disk(), Ledger::default());
        // Every third of the first life's, unless there is time.
        for (number, moment) in moments.iter().enumerate().step_by(if is_long() { 1 } else { 3 }) {
            let left = disk.after(moment, Crash::Process);
            let (disk, moments, ledger) = lived(scenario, left, ledger.clone());
            for (second, moment) in moments.iter().enumerate() {
                runs.begin(scenario.name, format!("killed at moment {number}, then at {second}, {:?}", moment.at));
                restart(scenario, &disk.after(moment, Crash::Process), &ledger);
                assert_eq!(CAUGHT.get(), 0, "something panicked");
            }
        }
    });
    println!("{count} runs: two crashes");
}
