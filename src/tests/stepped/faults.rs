//! Whatever fails, and whenever: in each scenario the n-th operation fails, for n = 1, 2, 3 ...
//! until there is none left; once, it and all that follow, or it and all that follow of its kind;
//! with every error a disk is known for. Writes that take fewer bytes, of every length. Two
//! failures in one run, every pair. After each run the invariants hold. (The loop is SQLite's: "How
//! SQLite Is Tested", I/O error testing.)

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::bench::{PATH, Setup};
use super::invariants::{Ledger, assert_ended, assert_invariants, assert_recovery, parse};
use super::scenarios::{Life, SCENARIOS, Scenario};
use crate::KIB;
use crate::sink::log_file::Fsync;
use crate::tests::fake_disk::{FakeDisk, Fault, OTHERS_LINE, Op};
use crate::writer::CAUGHT;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// ENOSPC, EDQUOT, EFBIG, EIO, EROFS, EINTR, EAGAIN, ENOENT, ESTALE; EACCES, EMFILE.
const ERRNOS: [i32; 11] = [ENOSPC, 122, 27, EIO, 30, 4, 11, 2, 116, 13, 24];

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    fault: Option<Fault>,
    other: Option<Fault>,
    /// What `fault` hits is done all the same.
    is_done: bool,
    /// From then on, every operation of this kind fails.
    then: Option<Op>,
    /// The `.0`-th write takes only `.1` bytes.
    short: Option<(u64, usize)>,
    /// Just before the cut with this number, or a later one of the active file, another process
    /// writes a line there.
    comes: Option<u64>,
}

/// What a run came to.
struct Outcome {
    /// Operations of the scenario itself, in all and of each kind.
    operations: u64,
    asked: BTreeMap<Op, u64>,
    /// How many bytes each write took.
    writes: Vec<usize>,
    met: bool,
    other_met: bool,
}

/// One run after the other, on one thread.
#[derive(Default)]
pub(super) struct Runs {
    count: Cell<usize>,
    last: RefCell<(&'static str, String)>,
}

impl Runs {
    /// One more run: of which scenario, and what happens in it.
    pub(super) fn begin(&self, name: &'static str, what: String) {
        self.count.set(self.count.get() + 1);
        self.last.replace((name, what));
        CAUGHT.set(0);
    }

    fn run(&self, scenario: &Scenario, trouble: Trouble) -> Outcome {
        self.begin(scenario.name, format!("{trouble:?}"));
        let disk = scenario.disk();
        {
            let mut world = disk.world();
            (world.fault, world.other_fault, world.short_once) = (trouble.fault, trouble.other, trouble.short);
            (world.fault_is_done, world.then_fails) = (trouble.is_done, trouble.then);
            world.comes_before_cut = trouble.comes;
        }
        let mut life = scenario.begin(disk, Ledger::default());
        (scenario.drive)(&mut life);
        life.bench.assert_identity("when the scenario is over");
        let outcome = Outcome::of(&life.disk);
        if let Some(answer) = life.ended {
            assert_ended(&life.bench, &life.disk, answer);
            life = scenario.begin(life.disk, life.bench.ledger);
            life.bench.step();
        }
        settle(scenario, &mut life);
        let has_come = trouble.comes.is_some() && life.disk.world().comes_before_cut.is_none();
        if has_come && !scenario.deletes && !life.others_delete {
            let files = life.disk.read_all(PATH);
            let lines = files.iter().flat_map(|bytes| bytes.split_inclusive(|byte| *byte == b'\n'));
            assert_eq!(lines.filter(|line| *line == OTHERS_LINE).count(), 1, "another process's line is there");
        }
        assert_eq!(CAUGHT.get(), 0, "something panicked");
        outcome
    }

    /// The scenario with nothing wrong.
    fn clean(&self, scenario: &Scenario) -> Outcome {
        self.run(scenario, Trouble::default())
    }
}

impl Outcome {
    fn of(disk: &FakeDisk) -> Self {
        let world = disk.world();
        Self {
            operations: world.total,
            asked: world.asked.clone(),
            writes: world.writes.clone(),
            met: world.faulted,
            other_met: world.other_faulted,
        }
    }
}

/// Lifts what is wrong, gives everything its time, and looks at what there is.
fn settle(scenario: &Scenario, life: &mut Life) {
    let Life { bench, disk, others_delete, .. } = life;
    assert_recovery(bench, disk, "afterwards");
    if scenario.has_history() {
        // Time enough for what was put off, and for what was left behind.
        for _ in 0..15 {
            bench.pass(Duration::from_secs(5));
            bench.step();
        }
        bench.log_some(8);
        bench.live(Duration::from_secs(2));
        let names = disk.names();
        let unfinished: Vec<_> = names.iter().filter(|name| !name.starts_with("/logs/app.")).collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
    assert_invariants(bench, disk, "afterwards");
    let (suspended, resumed) = bench.suspensions();
    assert_eq!(suspended, resumed, "every suspension has its end");
    let history = bench.history.lock().unwrap();
    let may_go = scenario.deletes || *others_delete || scenario.compresses();
    assert!(may_go || disk.nameless(PATH) == 0, "a log file has lost its last name");
    assert!(scenario.deletes || history.deleted.is_empty(), "{:?}", history.deleted);
}

/// Runs each job, on all cores, and says how many runs there were. The first failures are told with
/// what brings them about.
pub(super) fn in_all<J: Sync>(jobs: &[J], job: impl Fn(&J, &Runs) + Sync) -> usize {
    let (next, count) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(this) = jobs.get(next.fetch_add(1, Relaxed)) {
                    let runs = Runs::default();
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(this, &runs))) {
                        failures.lock().unwrap().push(format!("{:?}: {}", runs.last.borrow(), said(&*panic)));
                    }
                    count.fetch_add(runs.count.get(), Relaxed);
                    if failures.lock().unwrap().len() > 5 {
                        return;
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    count.into_inner()
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")
}

/// All of them; or those whose names begin with what `UNFAZED_SCENARIO` says.
pub(super) fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    let wanted = std::env::var("UNFAZED_SCENARIO").unwrap_or_default();
    SCENARIOS.iter().filter(move |scenario| scenario.name.starts_with(&wanted))
}

pub(super) fn is_long() -> bool {
    std::env::var_os("UNFAZED_LONG").is_some()
}

fn once(at: u64, errno: i32) -> Fault {
    Fault { at, only: None, forever: false, errno }
}

#[test]
fn whichever_operation_fails_all_invariants_hold() {
    let jobs: Vec<_> = scenarios().flat_map(|scenario| ERRNOS.map(|errno| (scenario, errno))).collect();
    let count = in_all(&jobs, |(scenario, errno), runs| {
        let clean = runs.clean(scenario);
        assert!(!clean.met && clean.operations > 10);
        for forever in [false, true] {
            for at in 1..=clean.operations {
                let fault = Fault { forever, ..once(at, *errno) };
                assert!(runs.run(scenario, Trouble { fault: Some(fault), ..Trouble::default() }).met);
            }
        }
        // Once is the same as the once above.
        for (op, asked) in &clean.asked {
            for at in 1..=*asked {
                let fault = Fault { only: Some(*op), forever: true, ..once(at, *errno) };
                assert!(runs.run(scenario, Trouble { fault: Some(fault), ..Trouble::default() }).met);
            }
        }
    });
    println!("{count} runs: {} scenarios, {} errors, each operation", SCENARIOS.len(), ERRNOS.len());
}

#[test]
fn whichever_two_operations_fail_all_invariants_hold() {
    let pairs = [(ENOSPC, ENOSPC), (EIO, EIO), (ENOSPC, EIO), (EIO, ENOSPC)];
    let scenarios = scenarios().filter(|scenario| scenario.is_short || is_long());
    let jobs: Vec<_> = scenarios.flat_map(|scenario| pairs.map(|errnos| (scenario, errnos))).collect();
    let count = in_all(&jobs, |(scenario, (one, other)), runs| {
        for first in 1..=runs.clean(scenario).operations {
            for second in first + 1.. {
                let other = Some(once(second, *other));
                let trouble = Trouble { fault: Some(once(first, *one)), other, ..Trouble::default() };
                if !runs.run(scenario, trouble).other_met {
                    break;
                }
            }
        }
    });
    println!("{count} runs: every pair");
}

/// The operations that change something, and how often each is asked for. Where the log is not
/// locked, nobody can see whose bytes a denied write has left.
fn acts(scenario: &Scenario, clean: &Outcome) -> Vec<(Op, u64)> {
    let is_visible = |op| op != Op::Write || !scenario.disk().world().locked_by_other;
    let asked = clean.asked.iter().map(|(op, asked)| (*op, *asked));
    asked.filter(|(op, _)| op.is_act() && is_visible(*op)).collect()
}

/// A network file system, or one in user space, may have done what it reports as failed. A rename
/// of which that was true, before one look that failed, cost a whole archive: 1199 of 1205 records,
/// and none of them was counted as dropped.
#[test]
fn whichever_operation_is_done_and_reported_as_failed_all_invariants_hold() {
    let jobs: Vec<_> = scenarios().flat_map(|scenario| [EIO, ENOSPC].map(|errno| (scenario, errno))).collect();
    let count = in_all(&jobs, |(scenario, errno), runs| {
        for (op, asked) in acts(scenario, &runs.clean(scenario)) {
            for (at, forever) in (1..=asked).flat_map(|at| [(at, false), (at, true)]) {
                let fault = Fault { only: Some(op), forever, ..once(at, *errno) };
                assert!(runs.run(scenario, Trouble { fault: Some(fault), is_done: true, ..Trouble::default() }).met);
            }
        }
    });
    println!("{count} runs: each operation done, and reported as failed");
}

/// This many pairs of each longer scenario are played, by seed; every pair with `UNFAZED_LONG`.
const SAMPLED: usize = 100;

/// Each operation that changes something, by its number, except writes: what one has left that is
/// reported as failed cannot be known if nothing can be seen.
fn acts_but_writes(scenario: &Scenario, clean: &Outcome) -> Vec<(Op, u64)> {
    let acts = acts(scenario, clean).into_iter().filter(|(op, _)| *op != Op::Write);
    acts.flat_map(|(op, asked)| (1..=asked).map(move |at| (op, at))).collect()
}

#[test]
fn whichever_operation_fails_after_one_that_was_done_all_invariants_hold() {
    let scenarios: Vec<_> = scenarios().collect();
    let count = in_all(&scenarios, |scenario, runs| {
        let clean = runs.clean(scenario);
        let acts = acts_but_writes(scenario, &clean);
        let play = |(op, at), second| {
            let fault = Some(Fault { only: Some(op), ..once(at, EIO) });
            let trouble = Trouble { fault, other: Some(once(second, EIO)), is_done: true, ..Trouble::default() };
            runs.run(scenario, trouble).other_met
        };
        if scenario.is_short || is_long() {
            for act in acts {
                let _ = (1..).find(|second| !play(act, *second));
            }
        } else {
            let mut random = Rng::with_seed(acts.len() as u64);
            for _ in 0..SAMPLED {
                let Some(act) = random.choice(&acts) else { return };
                play(*act, random.u64(1..=clean.operations));
            }
        }
    });
    println!("{count} runs: each operation done and reported as failed, with each other one that fails");
}

/// What shows how a file, a name or the disk is.
const LOOKS: [Op; 6] = [Op::CheckPath, Op::Len, Op::LastByte, Op::End, Op::List, Op::FreeSpace];

#[test]
fn whichever_operation_is_done_and_reported_as_failed_no_later_look_has_to_succeed() {
    let scenarios: Vec<_> = scenarios().collect();
    let count = in_all(&scenarios, |scenario, runs| {
        let acts = acts_but_writes(scenario, &runs.clean(scenario));
        for ((op, at), look) in acts.into_iter().flat_map(|act| LOOKS.map(|look| (act, look))) {
            let fault = Some(Fault { only: Some(op), ..once(at, EIO) });
            assert!(runs.run(scenario, Trouble { fault, is_done: true, then: Some(look), ..Trouble::default() }).met);
        }
    });
    println!("{count} runs: each operation done and reported as failed, and every later look of a kind fails");
}

#[test]
fn a_write_that_takes_fewer_bytes_loses_nothing_and_glues_nothing() {
    let scenarios: Vec<_> = scenarios().filter(|scenario| scenario.is_short || is_long()).collect();
    let count = in_all(&scenarios, |scenario, runs| {
        for (number, bytes) in (1..).zip(runs.clean(scenario).writes) {
            for len in 0..bytes {
                let short = Trouble { short: Some((number, len)), ..Trouble::default() };
                assert!(runs.run(scenario, short).met);
                for errno in [ENOSPC, EIO] {
                    let fault = Fault { only: Some(Op::Write), ..once(number + 1, errno) };
                    runs.run(scenario, Trouble { fault: Some(fault), ..short });
                }
            }
        }
    });
    println!("{count} runs: short writes of every length, alone and before an error");
}

/// The end of a file was looked at, and then it was cut: up to 676 lines that another process had
/// written in between went with the fragment, or with the blocks that were given back.
#[test]
fn whatever_another_process_writes_just_before_a_cut_stays() {
    let scenarios: Vec<_> = scenarios().collect();
    let count = in_all(&scenarios, |scenario, runs| {
        let clean = runs.clean(scenario);
        let cuts = |outcome: &Outcome| 1..=outcome.asked.get(&Op::Cut).copied().unwrap_or(0);
        for comes in cuts(&clean) {
            runs.run(scenario, Trouble { comes: Some(comes), ..Trouble::default() });
        }
        for (number, bytes) in (1..).zip(clean.writes) {
            let fault = Fault { only: Some(Op::Write), ..once(number + 1, ENOSPC) };
            // Too few bytes to be read as a line of any kind.
            let len = (bytes / 2).min(20);
            let short = Trouble { short: Some((number, len)), fault: Some(fault), ..Trouble::default() };
            for comes in cuts(&runs.run(scenario, short)) {
                runs.run(scenario, Trouble { comes: Some(comes), ..short });
            }
        }
    });
    println!("{count} runs: another process writes before each cut");
}

#[test]
fn writes_of_one_byte_at_a_time_make_the_same_file() {
    let disk = FakeDisk::with_capacity(256 * KIB);
    disk.world().short = Some(1);
    let mut bench = Setup::new().file(&disk, Some(0), Fsync::Never).bench();
    bench.log_some(20);
    bench.step();
    assert_invariants(&bench, &disk, "one byte at a time");
    assert_eq!(parse(&[disk.read(PATH)]).records.len(), 20);
}

#[test]
fn the_free_space_never_falls_below_the_reserve_by_our_own_bytes() {
    let reserve = 64 * KIB;
    let disk = FakeDisk::with_capacity(256 * KIB);
    let mut bench = Setup::new().file(&disk, Some(reserve), Fsync::Never).bench();
    while !bench.suspended() {
        bench.log_some(7);
        bench.step();
        let free = disk.world().free();
        assert!(free >= reserve, "{free} bytes are free, the reserve is {reserve}");
    }
    let free = disk.world().free();
    assert!(free < reserve + 3 * 4096, "it stopped with {free} bytes free, long before the reserve of {reserve}");
    bench.live(Duration::from_secs(3));
    assert_eq!(disk.world().free(), free, "nothing is written while it is suspended");
    assert_eq!(bench.suspensions(), (1, 0));
}
