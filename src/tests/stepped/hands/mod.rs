//! Hostile hands on real files: between any two steps of the disk that go by a name, another user
//! does what the system lets him do: he plants files and links, exchanges what stands at a name,
//! swaps directories, changes modes. After each turn P11 holds, by a listing of everything that is
//! not the log's, and every record is written or counted.
//!
//! `FakeDisk` has hands as well (`hostile.rs`, `chaos/`); here the rules are the system's own. Root
//! has to run this, because the hands become `nobody`.
//!
//! ```sh
//! UNFAZED_LONG=1 cargo test --lib stepped::hands                 # before each step
//! UNFAZED_HANDS_SEED=17 cargo test --lib stepped::hands          # one of the seeds
//! ```

#![cfg(target_os = "linux")]

mod deeds;
mod stage;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use super::bench::{Bench, Setup};
use super::faults::{in_all, is_long};
use super::invariants::parse;
use crate::LogFile;
use crate::disk::between;
use crate::disk::{Disk as _, DiskFile as _, Opened, RealDisk, Rights};
use crate::event::Event;
use crate::sink::file::Target;
use crate::sink::file::archive_name::is_archive;
use crate::sink::opened::OpenedSink;
use crate::sink::rotation::Rotation;

use deeds::Deed;
use stage::{Kind, Stage};

/// Most deeds are done before this many steps, by seed; before each one with `UNFAZED_LONG`.
const SAMPLED: u64 = 1;
const SEEDS: u64 = 100;
/// From the look at the log's name to those at the names of archives, and to the questions that
/// follow.
const GAPS: [u64; 7] = [1, 2, 3, 4, 5, 8, 13];
/// More than there are until there is a log.
const FIRST_STEPS: u64 = 30;
/// A rotation that has been due for a minute without the lock is reported.
const REPORTED: Duration = Duration::from_secs(75);

/// When the hands act.
enum When {
    Never,
    /// Before the step with this number.
    Before(u64, Deed),
    /// One thing before a step, and another one some steps later.
    Twice((u64, Deed), (u64, Deed)),
    /// Again and again, by seed.
    Randomly(Rng),
}

/// What the hands share with the test.
struct Hands {
    stage: Stage,
    when: When,
    steps: u64,
    /// What was done, for whoever wants to know why a run failed.
    done: Vec<String>,
    /// What a hand has found to be wrong; the disk must not unwind.
    wrong: Option<String>,
}

impl Hands {
    /// One step of the disk comes next.
    fn act(&mut self) {
        self.steps += 1;
        let deed = match &mut self.when {
            When::Never => None,
            When::Before(at, deed) => (*at == self.steps).then_some(*deed),
            When::Twice(first, later) => {
                [*first, *later].into_iter().find(|(at, _)| *at == self.steps).map(|(_, deed)| deed)
            }
            When::Randomly(rng) => {
                let all = Deed::all();
                (rng.u32(..40) == 0).then(|| all[rng.usize(..all.len())])
            }
        };
        let Some(deed) = deed else { return self.stage.keep() };
        let before = self.stage.wrong();
        let done = self.stage.by_hand(deed);
        self.done.push(format!("step {}: {deed:?} {done}", self.steps));
        self.wrong = self.wrong.take().or(before);
    }

    /// P11, after a turn.
    fn assert_nothing_is_wrong(&mut self) {
        self.stage.keep();
        let wrong = self.wrong.take().or_else(|| self.stage.wrong());
        assert!(wrong.is_none(), "{}: {:?}", wrong.unwrap_or_default(), self.done);
    }
}

/// A logger in a directory that is another user's or everybody's.
struct Play {
    bench: Bench,
    hands: Arc<Mutex<Hands>>,
}

fn lock(hands: &Mutex<Hands>) -> MutexGuard<'_, Hands> {
    hands.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Play {
    fn begin(kind: Kind, when: When) -> Self {
        // The thread that compresses has a low priority, and whoever plays waits for it.
        let compresses = match &when {
            When::Never => true,
            When::Before(_, deed) => deed.is_about_archives(),
            When::Twice(..) => false,
            When::Randomly(rng) => rng.get_seed() % 2 == 0,
        };
        let stage = Stage::new(kind);
        let hands = Arc::new(Mutex::new(Hands { stage, when, steps: 0, done: Vec::new(), wrong: None }));
        let acting = hands.clone();
        between::set(Some(Arc::new(Mutex::new(move || lock(&acting).act()))));
        let bench = Self::bench(&hands, compresses);
        Self { bench, hands }
    }

    fn bench(hands: &Arc<Mutex<Hands>>, compresses: bool) -> Bench {
        let path = lock(hands).stage.log();
        let file = LogFile::new(&path).min_free_space(0).rotation(Rotation::size(400)).retain(4096);
        let mut options = file.symlink(path.with_file_name(stage::LINK)).options;
        options.compress = cfg!(feature = "gzip") && compresses;
        let disk = RealDisk::new(Rights::default(), is_archive);
        let retain = options.retain;
        let mut bench = Setup::new().sink(OpenedSink::new(disk, Target::Path(path), options)).retain(retain).bench();
        let watched = hands.clone();
        bench.after_step = Some(Box::new(move || lock(&watched).assert_nothing_is_wrong()));
        bench
    }

    fn turn(&mut self, records: u64, time: Duration) {
        self.bench.log_some(records);
        self.bench.step();
        self.bench.pass(time);
        self.bench.step();
    }

    /// A start, rotations by size and by order, a reopening.
    fn drive(&mut self) {
        let short = Duration::from_millis(150);
        self.turn(3, short);
        self.turn(8, short);
        self.bench.handle.rotate();
        self.turn(2, short);
        self.bench.handle.reopen();
        self.turn(2, short);
        self.turn(2, Duration::from_secs(11));
    }

    /// The hands rest; what they have left is written around, or reported.
    fn settle(mut self, story: &str) -> u64 {
        let steps = {
            let mut hands = lock(&self.hands);
            hands.when = When::Never;
            hands.steps
        };
        let heard = self.bench.events.lock().unwrap().len();
        let end = self.bench.now.monotonic + REPORTED;
        while self.bench.now.monotonic < end {
            self.bench.handle.rotate();
            self.turn(1, Duration::from_secs(25));
            self.bench.step();
        }
        self.bench.step();
        self.bench.assert_identity(story);
        let events = self.bench.events.lock().unwrap();
        let goes_on = events[heard..].iter().any(|event| matches!(event, Event::Rotated { .. } | Event::Failed { .. }));
        let is_told = events.iter().any(|event| matches!(event, Event::Suspended { .. }));
        // A pipe from the start may be what was meant: that is reported once.
        let has_none = |event: &Event| match event {
            Event::Failed { doing: "rotate", error, .. } => error.kind() == ErrorKind::Unsupported,
            _ => false,
        };
        let is_pipe = lock(&self.hands).stage.is_log_a_pipe() && events.iter().any(has_none);
        assert!(goes_on || is_pipe || self.bench.suspended() && is_told, "{story}: in silence: {events:?}");
        drop(events);
        self.assert_records(story);
        between::set(None);
        steps
    }

    /// What counts as written is in a file that is or was the log's, once; the rest is counted.
    fn assert_records(&self, story: &str) {
        let (read, unread) = lock(&self.hands).stage.kept();
        let mut records = parse(&read).records;
        records.sort_unstable();
        let found = records.len();
        records.dedup();
        assert_eq!(found, records.len(), "{story}: a record is there twice");
        records.extend(parse(&unread).records);
        records.sort_unstable();
        records.dedup();
        let stats = self.bench.handle.stats();
        assert_eq!(stats.written, records.len() as u64, "{story}: {stats:?}");
        assert_eq!(stats.accepted, stats.written + stats.dropped.total() + stats.pending, "{story}: {stats:?}");
    }
}

/// Plays once. Returns how many steps there were.
fn run(kind: Kind, when: When, story: &str) -> u64 {
    let mut play = Play::begin(kind, when);
    let hands = play.hands.clone();
    catch_unwind(AssertUnwindSafe(|| {
        play.drive();
        play.settle(story)
    }))
    .unwrap_or_else(|panic| {
        between::set(None);
        let hands = hands.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{story} failed after {:?}; what is there: {:#?}", hands.done, hands.stage.listing());
        resume_unwind(panic)
    })
}

/// Returns true if this thread can be another user.
fn can_be_nobody() -> bool {
    Stage::why_none().map(|reason| println!("skipped: {reason}")).is_none()
}

#[test]
fn whatever_hands_do_between_two_steps_of_the_real_disk_they_get_nothing() {
    if !can_be_nobody() {
        return;
    }
    let steps = Kind::ALL.map(|kind| (kind, run(kind, When::Never, "nobody does anything")));
    let jobs: Vec<_> = steps.into_iter().flat_map(|job| Deed::all().into_iter().map(move |deed| (job, deed))).collect();
    let count = in_all(&jobs, |((kind, steps), deed), runs| {
        let mut rng = Rng::with_seed(*steps);
        let sampled = (0..SAMPLED).map(|_| rng.u64(1..=*steps));
        let each = is_long() || *kind == Kind::His && Deed::AT_EACH_STEP.contains(deed);
        let all: Vec<_> = if each { (1..=*steps).collect() } else { sampled.collect() };
        for at in all {
            let story = format!("{kind:?}, {deed:?} before step {at} of {steps}");
            runs.begin("hands", story.clone());
            run(*kind, When::Before(at, *deed), &story);
        }
    });
    println!("{count} runs");
}

/// The names of an open file are counted one after the other, and meanwhile there may be more.
#[test]
fn a_second_name_is_not_taken_for_what_a_rotation_leaves_whatever_is_put_next_to_it() {
    use deeds::{At, What::SecondName};

    if !can_be_nobody() {
        return;
    }
    let steps = run(Kind::His, When::Never, "nobody does anything");
    // In everybody's directory the log's name is his only until there is a log.
    let all = (1..=steps).map(|at| (Kind::His, at)).chain((1..=FIRST_STEPS).map(|at| (Kind::Sticky, at)));
    let count = in_all(&all.collect::<Vec<_>>(), |&(kind, at), runs| {
        let (first, later) = (Deed::Puts(SecondName, At::Log), Deed::Plants(SecondName));
        for gap in GAPS {
            let story = format!("{kind:?}, {first:?} before step {at} of {steps}, {later:?} {gap} steps later");
            runs.begin("hands", story.clone());
            run(kind, When::Twice((at, first), (at + gap, later)), &story);
        }
    });
    println!("{count} runs");
}

/// While the names of a file are looked up, one that moves could be seen twice, and one that comes
/// and goes could be all there are.
#[test]
fn a_name_that_moves_does_not_stand_for_one_that_is_elsewhere() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    if !can_be_nobody() {
        return;
    }
    let names = ["app.log", "app.2001-09-09T01-46-40-0000.log", "app.2001-09-09T01-46-40-0001.log"];
    // Which names lead to the victim's file, and which two change places; one alone comes and goes.
    let plays: [(&[usize], &[usize]); 6] =
        [(&[0, 1], &[1, 2]), (&[0, 2], &[1, 2]), (&[0], &[0, 1]), (&[1], &[0, 1]), (&[0], &[0]), (&[0, 1], &[0])];
    let mut seeds = Rng::with_seed(7);
    for (linked, moving) in plays {
        let stage = Stage::new(Kind::His);
        let paths = names.map(|name| stage.logs().join(name));
        let shared = stage.victim().join("shared");
        deeds::as_nobody(|| {
            linked.iter().for_each(|&name| fs::hard_link(&shared, &paths[name]).unwrap());
            moving
                .iter()
                .filter(|name| !linked.contains(name))
                .for_each(|&name| fs::write(&paths[name], "his\n").unwrap());
        });
        let victims = fs::metadata(&shared).map(|found| (found.dev(), u128::from(found.ino()))).ok();
        let (log, mut disk) = (paths[0].clone(), RealDisk::new(Rights::default(), is_archive));
        for is_regular in [true, false] {
            let (paths, shared, mut rng) = (paths.clone(), shared.clone(), seeds.fork());
            let moves = move || {
                if !is_regular && rng.bool() {
                    return;
                }
                let [one, other] = [moving[0], moving[moving.len() - 1]].map(|name| &paths[name]);
                deeds::as_nobody(|| match moving.len() {
                    1 if one.exists() => fs::remove_file(one).unwrap(),
                    1 => fs::hard_link(&shared, one).unwrap(),
                    _ => renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap(),
                });
            };
            between::set(Some(Arc::new(Mutex::new(moves))));
            for _ in 0..10 {
                // Where the log's name is free, or that of his own file, that may be opened.
                if let Ok(Opened::File(mut file)) = disk.open(&log) {
                    assert_ne!(file.id(), victims, "{linked:?}, {moving:?}: the file has a name elsewhere");
                }
            }
            between::set(None);
        }
    }
}

#[test]
fn whatever_hands_do_again_and_again_they_get_nothing() {
    if !can_be_nobody() {
        return;
    }
    let one = std::env::var("UNFAZED_HANDS_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let count = std::env::var("UNFAZED_HANDS_SEEDS").ok().map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let seeds: Vec<_> = one.map_or(0..count, |seed| seed..seed + 1).collect();
    in_all(&seeds, |seed, runs| {
        let kind = Kind::ALL[*seed as usize % Kind::ALL.len()];
        let story = format!("{kind:?}, UNFAZED_HANDS_SEED={seed}");
        runs.begin("hands", story.clone());
        run(kind, When::Randomly(Rng::with_seed(*seed)), &story);
    });
}
