//! Seeded chaos: a seed chooses the options, who logs how much, what fails, what other hands do to
//! the files, how the clocks run, who crashes and who starts again; the invariants of the design
//! hold at every step and in the end. One thread, no waiting: the same seed does the same again.
//!
//! ```sh
//! UNFAZED_CHAOS_SEEDS=100000 cargo test --lib stepped::chaos     # instead of a thousand
//! UNFAZED_CHAOS_SEED=17 cargo test --lib stepped::chaos          # one of them
//! UNFAZED_CHAOS_THREADS=1 cargo test --lib stepped::chaos        # on one core
//! ```

mod hands;
mod judge;
mod plan;
mod scenario;

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Once};

use scenario::Scenario;

/// What a seed has done so far, for whoever wants to know why it failed.
type Steps = Arc<Mutex<Vec<String>>>;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

thread_local! {
    /// On a thread that plays: something panicked, be it caught or not. What a sink or a format of
    /// the program's own does on purpose is told to nobody.
    static PANICKED: Cell<Option<bool>> = const { Cell::new(None) };
}

fn watch_for_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICKED.set(PANICKED.get().map(|_| true));
            before(info);
        }));
    });
    PANICKED.set(Some(false));
}

fn panicked() -> bool {
    PANICKED.get() == Some(true)
}

/// Plays one seed; says what was on the disks in the end.
fn play(seed: u64, steps: &Steps) -> Vec<(String, Vec<u8>)> {
    play_variant(seed, steps, |scenario| scenario)
}

fn play_variant(seed: u64, steps: &Steps, variant: fn(Scenario) -> Scenario) -> Vec<(String, Vec<u8>)> {
    watch_for_panics();
    let mut scenario = variant(Scenario::new(seed, steps.clone()));
    scenario.play();
    let mut files = scenario.end();
    // Drawn after everything else, so that a seed does what it always did.
    let denies: [fn(u64, Steps) -> Option<Scenario>; 2] =
        [Scenario::on_a_disk_that_denies_writes, Scenario::on_a_shared_disk_that_denies_writes];
    let denies = denies.into_iter().filter_map(|denies| denies(seed, steps.clone()));
    for mut scenario in scenario.on_an_odd_disk().into_iter().chain(denies) {
        scenario.play();
        files.extend(scenario.end());
    }
    files
}

fn play_and_tell(seed: u64, variant: fn(Scenario) -> Scenario) -> Result<(), Box<dyn std::any::Any + Send>> {
    let steps = Steps::default();
    catch_unwind(AssertUnwindSafe(|| drop(play_variant(seed, &steps, variant)))).inspect_err(|_| {
        let steps = steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let all: String = steps.iter().map(|step| format!("  {step}\n")).collect();
        println!("seed {seed} failed. What it did:\n{all}");
        println!("It does it again with: UNFAZED_CHAOS_SEED={seed} cargo test --lib stepped::chaos -- --nocapture");
    })
}

#[test]
fn whatever_happens_in_whatever_order_every_record_is_written_or_told() {
    play_all(1000, |scenario| scenario);
}

#[test]
fn a_crash_that_waits_keeps_what_it_was_promised() {
    play_all(200, Scenario::wait_in_crashes);
}

#[test]
fn whoever_acts_between_two_operations_every_record_is_written_or_told() {
    play_all(300, Scenario::among_hands);
}

/// After this many seeds that fail no other one is begun.
const TOLD: usize = 20;

/// Plays the seeds that the environment asks for, or `count`.
fn play_all(count: u64, variant: fn(Scenario) -> Scenario) {
    let seeds = match number("UNFAZED_CHAOS_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("UNFAZED_CHAOS_FROM").unwrap_or(0);
            first..first + number("UNFAZED_CHAOS_SEEDS").unwrap_or(count)
        }
    };
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let threads = number("UNFAZED_CHAOS_THREADS").map_or_else(cores, |threads| threads as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().unwrap().len() < TOLD {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if play_and_tell(seed, variant).is_err() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "of the seeds {seeds:?}, these failed: {failed:?}");
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// Seeds that failed once, for reasons that are gone. Each plays what it played then for as long as
/// chaos draws no more than it did.
#[test]
fn seeds_that_failed_once_pass() {
    let seeds = [
        // Somebody had appended a line since the length was seen. When our next write was short,
        // the end of our own bytes, dashes, was taken for more of the dashes that were still to
        // come: the cut began in the line before, or the record counted as written.
        12_005_651, 7_001_410, 10_008_914, 11_007_618,
        // A stream had finished a line of which a part was in, but nothing of the line of the
        // crate's own before it in the next batch: the record was written again after a break.
        9_105_802,
        // A crash had left the active file under an archive's name, too, and somebody deleted its
        // active name: the file grew for another 100 ms. (The judge did not know that.)
        13_003_690,
        // Another process had written into the blocks that were preallocated: a budget that was
        // made before the look at the end of the file still counted them, and the reserve was not
        // left.
        20_002_934,
        // A crash had left an archive in both its forms, which are one. (The judge counted two.)
        30_004_311, // A write that was done, and reported as interrupted, was done again.
        30_006_707,
        // Hundreds of archives were too many, and are deleted bit by bit. (The judge waited for
        // three turns.)
        10_154, 29_349,
        // Where a rename gives an archive its name, one that was done and reported as failed left
        // the name out of account, and it was given again.
        49_712,
        // The last attempt of a suspended output found a slow reader. A line of which a part was in
        // counted as dropped, and then its rest went in.
        88_138,
        // Where two processes write, each archive kept the blocks of a whole step, until the disk
        // was full.
        11_968,
        // A process cut a fragment of its own that stood before a cut of nothing. (The judge took
        // the place of that cut for the beginning of what is left.)
        22_896, 51_189,
        // A crash of the machine had emptied an archive, which was deleted, and a process that
        // started later gave its name again. (The judge took the two for one.)
        121_380,
        // Somebody cut a file at its own length, which gave back the blocks that were preallocated:
        // they still counted as the file's, and the reserve was not left.
        146_143,
        // The last attempts of an output that ended followed each other at once, and two gap lines
        // named the same beginning. (The judge took the first for a fragment of the second.)
        153_786, 157_031, 159_003,
        // The first line of the next file was written twice, where its write was done and called
        // interrupted: that file has no lock yet.
        954,
        // A process that could not look at its file wrote a line a hundred times, because each
        // write was done and called interrupted. The reserve was not left.
        970,
        // The same where another process had just written: the known length was out of date, so the
        // bytes of the write were not seen.
        9337,
        // A process was over the limit on a file's size, and another one moved the file: the first
        // cut off its own fragment before it wrote there again. (The judge took that for damage.)
        167_565,
        // The known length had no bytes of a write that was done and reported as failed: more
        // blocks were preallocated than the reserve allows.
        5647,
        // A suspended output finished a line of which a part was in, and went on to count it as in
        // its hands.
        636_999, 865_286,
        // The line that says why nothing is written any more came after somebody's fragment, and
        // was itself cut short: with it its newline was cut off, and the next line was glued.
        693_920,
        // Archives were deleted by the gap line's write, which failed, or by the last write of all:
        // the program was not told.
        867_765,
        // Somebody deleted the compressed one of an archive's two forms, and it was compressed
        // again. (The judge took that for another archive of the same name.)
        849_147,
        // Somebody cut a file inside a line. Where one process alone wrote it and there was plenty
        // of space, its end was looked at every 100 ms only, and the next line was glued to the
        // fragment. (Here nothing was ever written so soon after a cut.)
        1065, 1301,
        // Somebody cut off a process's fragment, and another process wrote up to the same length,
        // where files might not grow further. The first took that for its fragment, and cut it off.
        962_718,
        // A sink had taken the rest of a line of which a part was in, and its reader left no room
        // for more: the record was written again.
        3_047_063,
        // Where files have made-up numbers, a link was denied and done, and the file got 20,000
        // names.
        3_187_592,
        // Three files were suspended in one turn, and each said so in a line below the reserve.
        // (The judge allowed for less than three such lines.)
        3_534_347,
    ];
    seeds
        .into_iter()
        .for_each(|seed| play_and_tell(seed, |scenario| scenario).unwrap_or_else(|payload| resume_unwind(payload)));
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [1, 2, 3, 5, 8, 13, 21] {
        let (one, other) = (Steps::default(), Steps::default());
        let files = play(seed, &one);
        assert_eq!(files, play(seed, &other), "seed {seed}");
        assert_eq!(*one.lock().unwrap(), *other.lock().unwrap(), "seed {seed}");
    }
}
