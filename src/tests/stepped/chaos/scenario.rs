//! Machines with their disks, the processes that log there, and what happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use log::{Level, LevelFilter, Record};

use super::judge::{Held, Logged, Torn, cannot_be_laid_out, missing};
use super::plan::{
    self, FilterModel, FlakySink, Kind, LEVELS, PathState, Plan, RateLimitModel, TARGETS, one_of, percent, whole_lines,
};
use super::{Steps, panicked};
use crate::KIB;
use crate::error::FlushError;
use crate::event::{Cause, Event, State};
use crate::queue::Overflow;
use crate::queue::rate_limit::{Limit, RateLimit};
use crate::sink::file::{FileSink, Target};
use crate::sink::log_file::WhenLow;
use crate::sink::{Backlog, Now};
use crate::stats::Stats;
use crate::sync::channel::Receiver;
use crate::tests::fake_disk::{Crash, FakeDisk, Fault, Hand, Keep, Op};
use crate::tests::stepped::bench::{Bench, Setup};
use crate::wanted::{Levels, Wanting};

const ERRNOS: [i32; 12] = [28, 28, 28, 5, 122, 27, 30, 4, 11, 2, 116, 13];
const OPS: [Op; 22] = [
    Op::Open,
    Op::MakeDir,
    Op::Write,
    Op::Write,
    Op::Write,
    Op::End,
    Op::Len,
    Op::LastByte,
    Op::Cut,
    Op::FreeSpace,
    Op::Lock,
    Op::Sync,
    Op::CheckPath,
    Op::Create,
    Op::Link,
    Op::Rename,
    Op::RenameNew,
    Op::Remove,
    Op::List,
    Op::SyncDir,
    Op::Modified,
    Op::Preallocate,
];
/// What a disk denies to a process that is alone with its log, most often a write.
const DENIED: [Op; 14] = [
    Op::Write,
    Op::Write,
    Op::Write,
    Op::Write,
    Op::Open,
    Op::Cut,
    Op::Sync,
    Op::Create,
    Op::Link,
    Op::Rename,
    Op::RenameNew,
    Op::Remove,
    Op::SyncDir,
    Op::Preallocate,
];
/// With one of these a torn tail cannot be cut, or is not seen.
const REPAIR: [Op; 5] = [Op::Cut, Op::End, Op::Len, Op::LastByte, Op::Lock];
/// After this many resumes an output may wait longer for the next one, up to this time.
const RESUMES_AT_ONCE: usize = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(31);
/// Free space that shows only after a commit shows after this time.
const LONGEST_WAIT_FOR_A_COMMIT: Duration = Duration::from_secs(8);
const TURN: Duration = Duration::from_millis(50);
/// More than what waits in a process makes.
const MOST_BATCHES: usize = 100;

type Answer = Receiver<Result<(), FlushError>>;

pub(super) struct Scenario {
    pub(super) rng: Rng,
    steps: Steps,
    pub(super) machines: Vec<Machine>,
    /// How many processes there ever were: their names.
    processes: usize,
}

/// What a disk may do besides failing: those of file systems in user space, in the network, and of
/// those that account late.
#[derive(Clone, Copy, Debug, Default)]
struct Oddities {
    /// What is reported as failed may be done, except a write: what one has left is seen only by a
    /// process that is alone with the log, and can look. `faults.rs` has those.
    denies: bool,
    /// A fault may come together with another one.
    pairs: bool,
    /// What was not synced may be gone later.
    writes_back: bool,
    /// A write may be done and denied as well: nobody else writes to the log or has its lock, so
    /// the process can look.
    denies_writes: bool,
    /// The same where two processes and other programs write, and nobody can look.
    denies_shared_writes: bool,
}

/// A disk that is soon full, and may know how to preallocate.
fn small_disk(rng: &mut Rng) -> FakeDisk {
    let disk = FakeDisk::default();
    disk.world().capacity = Some(rng.u64(64..1024) * KIB);
    disk.world().reserves = percent(rng, 50);
    disk
}

impl Scenario {
    pub(super) fn new(seed: u64, steps: Steps) -> Self {
        let mut rng = Rng::with_seed(seed);
        let places = plan::places(&mut rng);
        let disk = FakeDisk::default();
        if percent(&mut rng, 85) {
            disk.world().capacity = Some(rng.u64(64..1024) * KIB);
        }
        disk.world().reserves = percent(&mut rng, 50);
        Self::on(disk, places, Oddities::default(), rng, steps)
    }

    fn on(disk: FakeDisk, places: Vec<PathState>, odd: Oddities, mut rng: Rng, steps: Steps) -> Self {
        let wall = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let now = Now { wall, monotonic: Instant::now() };
        let mut machine = Machine::new(disk, places, odd, now, steps.clone());
        machine.note(format!("{:?}", machine.places));
        machine.start(&mut rng, 0);
        Self { rng, steps, machines: vec![machine], processes: 1 }
    }

    /// From now on whoever is killed waits first, as the handler of a crash does.
    pub(super) fn wait_in_crashes(mut self) -> Self {
        self.machines.iter_mut().for_each(|machine| machine.waits_in_crashes = true);
        self
    }

    /// Sometimes, a second scenario, on a disk that does more than fail.
    pub(super) fn on_an_odd_disk(mut self) -> Option<Self> {
        if percent(&mut self.rng, 60) {
            return None;
        }
        let mut rng = self.rng;
        let places = plan::places(&mut rng);
        let disk = FakeDisk::default();
        let denies = percent(&mut rng, 60);
        let (pairs, writes_back) = (percent(&mut rng, 50), percent(&mut rng, 30));
        let odd = Oddities { denies, pairs, writes_back, ..Oddities::default() };
        {
            let mut world = disk.world();
            world.capacity = Some(rng.u64(64..1024) * KIB);
            world.reserves = percent(&mut rng, 50);
            world.writes_are_honest = true;
            world.unstable_ids = percent(&mut rng, 30);
            world.accounts_late = percent(&mut rng, 30);
            let ids = if world.unstable_ids { "made up" } else { "kept" };
            let accounts = if world.accounts_late { "late" } else { "at once" };
            let step = format!("a disk that accounts {accounts}, with numbers that are {ids}; {odd:?}");
            self.steps.lock().unwrap().push(step);
        }
        let mut scenario = Self::on(disk, places, odd, rng, self.steps);
        if percent(&mut scenario.rng, 50) {
            scenario.machines[0].start(&mut scenario.rng, 1);
            scenario.processes = 2;
        }
        Some(scenario)
    }

    /// Sometimes, one more scenario, on a disk that denies what it has done, a write included.
    pub(super) fn on_a_disk_that_denies_writes(seed: u64, steps: Steps) -> Option<Self> {
        let mut rng = Rng::with_seed(!seed);
        if percent(&mut rng, 70) {
            return None;
        }
        let places = plan::places(&mut rng);
        let disk = small_disk(&mut rng);
        let odd = Oddities { denies_writes: true, ..Oddities::default() };
        steps.lock().unwrap().push(format!("{odd:?}"));
        Some(Self::on(disk, places, odd, rng, steps))
    }

    /// Sometimes, the same with two processes or more.
    pub(super) fn on_a_shared_disk_that_denies_writes(seed: u64, steps: Steps) -> Option<Self> {
        let mut rng = Rng::with_seed(seed.rotate_left(32));
        if percent(&mut rng, 80) {
            return None;
        }
        let places = plan::places(&mut rng);
        let disk = small_disk(&mut rng);
        let odd = Oddities { denies_shared_writes: true, ..Oddities::default() };
        steps.lock().unwrap().push(format!("{odd:?}"));
        let mut scenario = Self::on(disk, places, odd, rng, steps);
        scenario.machines[0].start(&mut scenario.rng, 1);
        scenario.processes = 2;
        Some(scenario)
    }

    pub(super) fn play(&mut self) {
        for _ in 0..self.rng.u32(20..70) {
            let number = self.rng.usize(..self.machines.len());
            self.steps.lock().unwrap().push(format!("machine {number}:"));
            match self.rng.u32(..100) {
                0 if self.machines.len() < 3 => self.fork(number),
                1..=3 => {
                    self.machines[number].lose_or_gain_a_process(&mut self.rng, self.processes);
                    self.processes += 1;
                }
                _ => self.machines[number].act(&mut self.rng),
            }
        }
    }

    /// Ends it on every machine, and says what stands on the disks.
    pub(super) fn end(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for (number, machine) in self.machines.iter_mut().enumerate() {
            self.steps.lock().unwrap().push(format!("machine {number} in the end:"));
            machine.lift(&mut self.rng);
            machine.recover();
            machine.finish(&mut self.rng);
            machine.judge();
            files.extend(machine.disk.read_named());
        }
        files
    }

    /// The machine, or all that runs there, crashes at one of its next operations; what then stands
    /// on its disk goes on with a new process.
    fn fork(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        let at = machine.disk.world().asked_in_all() + self.rng.u64(1..20);
        let crash = one_of(&mut self.rng, &Crash::ALL);
        machine.note(format!("fork by a crash of {crash:?} at operation {at}"));
        machine.disk.world().keep = Keep::Before(at);
        for _ in 0..3 {
            machine.act(&mut self.rng);
        }
        let moment = {
            let mut world = machine.disk.world();
            world.keep = Keep::Nothing;
            world.kept.pop().unwrap_or_else(|| world.moment(None))
        };
        let disk = machine.disk.after(&moment, crash);
        let mut copy = Machine::new(disk, machine.places.clone(), machine.odd, machine.now, self.steps.clone());
        copy.waits_in_crashes = machine.waits_in_crashes;
        copy.hands.clone_from(&machine.hands);
        copy.stand_on_what_is_there();
        copy.start(&mut self.rng, self.processes);
        self.processes += 1;
        self.machines.push(copy);
    }
}

/// What waits for a sink of the program's own that lags.
const OWN_BACKLOG: Backlog = Backlog { bytes: 4096, patience: Duration::from_secs(1) };
/// A line of which a part is in waits in any case.
const LONGEST_LINE: usize = 16 << 10;
/// Where callers wait, so does each line of a turn.
const TURN_LINES: usize = 300 << 10;

pub(super) struct Machine {
    pub(super) disk: FakeDisk,
    odd: Oddities,
    places: Vec<PathState>,
    processes: Vec<Process>,
    now: Now,
    steps: Steps,
    /// Where in each file the part begins that is not judged by `cut_off` or of another machine's
    /// past.
    judged_from: BTreeMap<usize, usize>,
    /// What somebody cut off: all that stood in a file before that, and where it began.
    cut_off: Vec<(usize, Vec<u8>, bool)>,
    /// Archives, by name: the file, and what it held when it was seen first.
    archives: BTreeMap<String, (usize, Vec<u8>)>,
    /// How often the disk had been changed when the archives were looked at last; at first they are
    /// looked at whatever it is.
    seen: Option<u64>,
    /// Names that archives had since a process started last: who starts knows only what is there.
    used: BTreeSet<String>,
    /// The files whose active names other hands took.
    robbed: BTreeSet<usize>,
    /// Archives that went away, by name and file, and those that other hands took.
    gone: BTreeSet<(String, usize)>,
    taken_away: BTreeSet<String>,
    /// Deleted by us, as the events tell.
    deleted: BTreeSet<String>,
    /// A process was killed: it may not have told all.
    killed: bool,
    /// Whoever is killed waits first, as the handler of a crash does.
    waits_in_crashes: bool,
    /// Fragments may stand in the files, for reasons that are not in the disk's account.
    pub(super) torn: bool,
    /// Somebody else had the lock for a while: what was torn then could not be cut.
    pub(super) locked: bool,
    /// More than one process has logged here at the same time.
    shared: bool,
    others: u64,
    /// What hostile hands do is drawn from here; `None`: there are none.
    pub(super) hands: Option<Rng>,
}

enum End {
    Running,
    Killed,
    Closed(Result<(), FlushError>),
}

/// What a sink of the program's own has kept, and how often it fails.
type Own = (Arc<Mutex<Vec<u8>>>, Arc<Mutex<u32>>);

struct Process {
    number: usize,
    plan: Plan,
    bench: Option<Bench>,
    filter: FilterModel,
    logged: Vec<Logged>,
    rate_limit: RateLimitModel,
    /// Of each level, how many lines of the rate limit went into the queue.
    limit_lines: [u64; 5],
    /// Those that went into the queue; none is one of the rate limit's.
    queued: Vec<Option<usize>>,
    /// For each producer, the number of its next record.
    producers: Vec<u64>,
    /// What was asked, and what was pending then.
    flushes: Vec<(Answer, Vec<usize>)>,
    /// What was pending at a flush that said that all is well.
    promised: BTreeSet<usize>,
    own: Vec<Option<Own>>,
    heard: usize,
    end: End,
    stats: Stats,
}

impl Process {
    fn runs(&self) -> bool {
        matches!(self.end, End::Running)
    }
}

impl Machine {
    fn new(disk: FakeDisk, places: Vec<PathState>, odd: Oddities, now: Now, steps: Steps) -> Self {
        disk.world().wall = Some(now.wall);
        Self {
            disk,
            odd,
            places,
            processes: Vec::new(),
            now,
            steps,
            judged_from: BTreeMap::new(),
            cut_off: Vec::new(),
            archives: BTreeMap::new(),
            seen: None,
            used: BTreeSet::new(),
            robbed: BTreeSet::new(),
            gone: BTreeSet::new(),
            taken_away: BTreeSet::new(),
            deleted: BTreeSet::new(),
            killed: false,
            waits_in_crashes: false,
            torn: false,
            locked: false,
            shared: false,
            others: 0,
            hands: None,
        }
    }

    pub(super) fn note(&self, step: String) {
        self.steps.lock().unwrap().push(format!("  {step}"));
    }

    /// What another machine left: whole lines, and at most one fragment, where it was in the middle
    /// of a write.
    fn stand_on_what_is_there(&mut self) {
        for path in self.paths() {
            for (inode, bytes) in self.disk.once_called(path) {
                self.torn |= bytes.last().is_some_and(|last| *last != b'\n');
                self.judged_from.insert(inode, bytes.len());
            }
        }
        self.see_archives();
    }

    fn paths(&self) -> Vec<&'static str> {
        let paths = self.places.iter().filter_map(|place| match place.kind {
            Kind::File { path } => Some(path),
            Kind::Own => None,
        });
        paths.collect()
    }

    // --- processes ---

    fn start(&mut self, rng: &mut Rng, number: usize) {
        let mut plan = Plan::any(rng, &self.places);
        if self.running().any(|process| process.plan.files.iter().any(|file| file.compress)) {
            plan.files.iter_mut().for_each(|file| file.compress = false);
        }
        self.note(format!("process {number} starts: {plan:?}"));
        let rate_limit = plan.rate_limit.map(|(most, per)| RateLimit::new(Limit::new(most, per)));
        let mut setup = Setup { capacity: plan.capacity, overflow: plan.overflow, rate_limit, ..Setup::new() };
        let mut own = Vec::new();
        for (place, options) in self.places.iter().zip(&plan.files) {
            let format = place.layout.format(number);
            match place.kind {
                Kind::File { path } => {
                    let sink = FileSink::new(self.disk.clone(), Target::Path(path.into()), options.clone());
                    setup = setup.output(place.level, format, sink).retain(options.retain);
                    own.push(None);
                }
                Kind::Own => {
                    let (kept, fails) = (Arc::default(), Arc::default());
                    own.push(Some((Arc::clone(&kept), Arc::clone(&fails))));
                    // A caller that waits would wait for the same thread.
                    let lags = plan.overflow != Overflow::Block;
                    let sink = FlakySink { kept, fails, lags, rest: Vec::new(), rng: rng.fork() };
                    setup = setup.output(place.level, format, sink).backlog(OWN_BACKLOG);
                }
            }
        }
        let mut bench = setup.bench();
        bench.tells_records_the_time = true;
        self.processes.push(Process {
            number,
            plan,
            bench: Some(bench),
            filter: FilterModel::default(),
            rate_limit: RateLimitModel::default(),
            limit_lines: [0; 5],
            logged: Vec::new(),
            queued: Vec::new(),
            producers: vec![0; rng.usize(1..=16)],
            flushes: Vec::new(),
            promised: BTreeSet::new(),
            own,
            heard: 0,
            end: End::Running,
            stats: Stats::default(),
        });
        self.shared |= self.running().count() > 1;
        self.used.clear();
    }

    fn running(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.runs())
    }

    fn any_running(&self, rng: &mut Rng) -> Option<usize> {
        let running: Vec<_> = (0..self.processes.len()).filter(|index| self.processes[*index].runs()).collect();
        (!running.is_empty()).then(|| one_of(rng, &running))
    }

    fn lose_or_gain_a_process(&mut self, rng: &mut Rng, number: usize) {
        if let Some(index) = self.any_running(rng).filter(|_| percent(rng, 70)) {
            if percent(rng, 50) {
                self.kill(index);
            } else {
                self.close(index);
            }
            if percent(rng, 10) {
                return; // The next one comes later.
            }
        }
        let most = if self.odd.denies_writes { 1 } else { 3 };
        if self.running().count() < most {
            self.start(rng, number);
        }
    }

    /// Waits as the handler of a crash does: until the writer has answered, or the time is over.
    fn crash(&mut self, index: usize) {
        let pending = self.pending(index);
        let process = &mut self.processes[index];
        self.steps.lock().unwrap().push(format!("  a crash with {} pending", pending.len()));
        process.flushes.push((process.bench.as_mut().unwrap().writer.begin_flush(), pending));
        for _ in 0..20 {
            self.step(index);
            self.advance(Duration::from_millis(1));
        }
    }

    fn kill(&mut self, index: usize) {
        if self.waits_in_crashes {
            self.crash(index);
        }
        self.note(format!("process {} is killed", self.processes[index].number));
        self.killed = true;
        self.hear(index);
        let process = &mut self.processes[index];
        process.stats = process.bench.as_ref().unwrap().handle.stats();
        process.end = End::Killed;
        process.bench = None;
        if process.plan.files.iter().any(|file| file.compress) {
            self.disk.world().compressing = None;
        }
    }

    fn close(&mut self, index: usize) {
        self.note(format!("process {} is shut down", self.processes[index].number));
        let bench = self.processes[index].bench.as_ref().unwrap();
        let answer = bench.pipeline.ask_without_waiting(true);
        // One more than its end would need.
        for turn in 0.. {
            assert!(turn < 1000, "the shutdown has no end");
            if self.step(index) {
                break;
            }
            if turn > 100 {
                self.advance(Duration::from_millis(10)); // For what lags.
            }
        }
        self.hear(index);
        let process = &mut self.processes[index];
        let bench = process.bench.take().unwrap();
        process.end = End::Closed(answer.try_recv().expect("a shutdown is answered"));
        process.stats = bench.handle.stats();
        assert_eq!(process.stats.pending, 0, "{:?}", process.stats);
        assert_eq!(bench.handle.state(), State::Closed);
        if process.plan.files.iter().any(|file| file.compress) {
            self.disk.world().compressing = None;
        }
    }

    // --- what happens ---

    fn act(&mut self, rng: &mut Rng) {
        self.let_hands_act();
        let what = rng.u32(..100);
        if let 0..=61 = what {
            let Some(index) = self.any_running(rng) else { return };
            return match what {
                0..=24 => self.log_some(rng, index),
                25..=49 => {
                    let turns = rng.u32(1..4);
                    self.note(format!("process {} has {turns} turns", self.processes[index].number));
                    for _ in 0..turns {
                        self.step(index);
                    }
                }
                50..=52 => self.change_filter(rng, index),
                53..=55 => {
                    self.note("rotate".into());
                    self.bench(index).handle.rotate();
                }
                56..=57 => {
                    self.note("reopen".into());
                    self.bench(index).handle.reopen();
                }
                _ => self.flush(index),
            };
        }
        match what {
            62..=71 => self.pass(rng),
            72..=74 => self.set_clock(rng),
            75..=84 => self.fail(rng),
            85..=92 => self.fill(rng),
            _ => self.meddle(rng),
        }
    }

    fn bench(&mut self, index: usize) -> &mut Bench {
        self.processes[index].bench.as_mut().unwrap()
    }

    fn log_some(&mut self, rng: &mut Rng, index: usize) {
        let process = &self.processes[index];
        let most = if percent(rng, 10) { process.plan.capacity * 3 / 2 + 10 } else { 30 };
        let (number, count) = (process.number, rng.usize(1..=most.min(500)));
        let loud = one_of(rng, &[5, 5, 5, 3, 1]);
        let long = percent(rng, 5);
        let producers = process.producers.len();
        self.note(format!(
            "process {number} logs {count}, levels up to {loud}, {}",
            if long { "long ones" } else { "short ones" }
        ));
        for _ in 0..count {
            let dashes = if long { rng.usize(..3000) } else { rng.usize(..40) };
            let (level, target) = (LEVELS[rng.usize(..loud)], one_of(rng, &TARGETS));
            let has_place = percent(rng, 80);
            self.log(index, rng.usize(..producers), level, target, dashes, has_place);
        }
    }

    fn log(
        &mut self,
        index: usize,
        producer: usize,
        level: Level,
        target: &'static str,
        dashes: usize,
        has_place: bool,
    ) {
        let wanted = self.places.iter().any(|place| level <= place.level);
        if self.processes[index].plan.overflow == Overflow::Block {
            // The producer waits, and the writer goes on meanwhile.
            while self.bench(index).pipeline.len() >= self.processes[index].plan.capacity {
                self.step(index);
            }
        }
        let now = self.now;
        let process = &mut self.processes[index];
        let bench = process.bench.as_mut().unwrap();
        let logged = Logged { level, target, producer, number: process.producers[producer], dashes };
        let message = logged.message(process.number, process.logged.len());
        let mut passes = wanted && process.filter.lets_through(level, target, &message);
        let accepted = bench.pipeline.counters.callers.accepted.total();
        let (before, closed) = (bench.pipeline.len(), bench.pipeline.closed_to(level, Wanting::NOBODY));
        // What nobody can take is refused first; but it has to be known to pass for that.
        if let (Some(limit), true) = (process.plan.rate_limit, passes && has_place)
            && (closed.is_none() || process.filter.looks_at_messages())
        {
            passes = process.rate_limit.admits(limit, (level, target), now.wall);
        }
        let mut record = Record::builder();
        if has_place {
            // Each level of each target is logged at a place of its own. A static name would stand
            // for itself by its place in memory, which is another one each time.
            record.file(Some(target)).line(Some(level as u32));
        }
        bench.now = now;
        bench.hand_in(&record.args(format_args!("{message}")).level(level).target(target).build());
        let accepted = bench.pipeline.counters.callers.accepted.total() - accepted;
        assert_eq!(accepted, u64::from(passes), "{message} by {:?}", process.filter);
        let len = bench.pipeline.len();
        assert!(len <= process.plan.capacity);
        let (spilled, most_spilled) = bench.pipeline.spilled();
        assert!(spilled <= most_spilled && (len > 0 || spilled == 0), "{spilled} bytes next to {len} records");
        if passes {
            let evicting = process.plan.overflow == Overflow::DropOldest;
            if len > before || evicting && closed.is_none() {
                process.queued.push(Some(process.logged.len()));
            }
            process.producers[producer] += 1;
            process.logged.push(logged);
        }
    }

    /// One turn of a writer; says whether it was the last.
    fn step(&mut self, index: usize) -> bool {
        let before = self.look(index);
        let (now, process) = (self.now, &mut self.processes[index]);
        let bench = process.bench.as_mut().unwrap();
        bench.now = now;
        let accepted_up_to = |bench: &Bench| {
            LevelFilter::iter()
                .map(|level| bench.pipeline.counters.callers.accepted.of(Levels::up_to(level)))
                .collect::<Vec<_>>()
        };
        let accepted = accepted_up_to(bench);
        let turn = bench.step();
        // The writer itself puts in what the rate limit has to tell, before it takes anything.
        let more: Vec<_> = accepted_up_to(bench).iter().zip(&accepted).map(|(now, before)| now - before).collect();
        for (lines, more) in process.limit_lines.iter_mut().zip(more.windows(2)) {
            *lines += more[1] - more[0];
        }
        process.queued.extend((0..more[5]).map(|_| None));
        self.check(index);
        let after = self.look(index);
        self.compare(index, &before, &after);
        self.hear_answers(index);
        turn.ended
    }

    fn pass(&mut self, rng: &mut Rng) {
        let millis = match rng.u32(..10) {
            0..=3 => rng.u64(1..120),
            4..=6 => rng.u64(50..1500),
            7 | 8 => rng.u64(1000..12_000),
            _ => rng.u64(10_000..100_000),
        };
        let turns = if percent(rng, 50) { 1 } else { rng.u64(1..20) };
        self.note(format!("{millis} ms pass in {turns} turns"));
        for _ in 0..turns {
            self.advance(Duration::from_micros(millis * 1000 / turns));
            self.all_step();
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.monotonic += time;
        self.disk.world().wall = Some(self.now.wall);
    }

    fn all_step(&mut self) {
        for index in 0..self.processes.len() {
            if self.processes[index].runs() {
                self.step(index);
            }
        }
    }

    fn set_clock(&mut self, rng: &mut Rng) {
        let by = Duration::from_secs(one_of(rng, &[1, 60, 3600, 40_000, 86_400, 40_000_000, 900_000_000]));
        let earlier = percent(rng, 50);
        let wall = if earlier { self.now.wall.checked_sub(by) } else { self.now.wall.checked_add(by) };
        // Until the year 2500: what stands in a text is a time of four digits for the year.
        let last = UNIX_EPOCH + Duration::from_secs(16_700_000_000);
        self.now.wall = wall.filter(|wall| (UNIX_EPOCH..last).contains(wall)).unwrap_or(self.now.wall);
        self.disk.world().wall = Some(self.now.wall);
        let seconds = self.now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        self.note(format!("the clock is set to {seconds}"));
    }

    fn change_filter(&mut self, rng: &mut Rng, index: usize) {
        let directives = FilterModel::any_directives(rng);
        let how = rng.u32(..3);
        self.note(format!("filter: {}", ["set", "push", "pop"][how as usize].to_owned() + " " + &directives));
        let process = &mut self.processes[index];
        let handle = &process.bench.as_ref().unwrap().handle;
        match how {
            0 => {
                handle.set_filter(&directives).unwrap();
                process.filter.set(&directives);
            }
            1 => {
                handle.push_filter(&directives).unwrap().keep();
                process.filter.push(&directives);
            }
            _ => {
                handle.pop_filter();
                process.filter.pop();
            }
        }
    }

    fn flush(&mut self, index: usize) {
        let pending = self.pending(index);
        let process = &mut self.processes[index];
        self.steps.lock().unwrap().push(format!("  flush of {}", pending.len()));
        let pipeline = &process.bench.as_ref().unwrap().pipeline;
        process.flushes.push((pipeline.ask_without_waiting(false), pending));
    }

    /// Returns the records in the queue.
    fn pending(&self, index: usize) -> Vec<usize> {
        let process = &self.processes[index];
        let queued = process.bench.as_ref().unwrap().pipeline.len();
        process.queued[process.queued.len() - queued..].iter().copied().flatten().collect()
    }

    fn fail(&mut self, rng: &mut Rng) {
        if percent(rng, 30) {
            self.note("what failed works again".into());
            let mut world = self.disk.world();
            (world.fault, world.short, world.longest, world.no_links) = (None, None, None, None);
            (world.other_fault, world.locked_by_other) = (None, false);
            drop(world);
            self.set_own(0);
            return;
        }
        if self.odd.denies_writes || self.odd.denies_shared_writes {
            return self.deny(rng);
        }
        let mut world = self.disk.world();
        let what = match rng.u32(..20) {
            0..=11 => {
                let only = percent(rng, 75).then(|| one_of(rng, &OPS));
                let asked = only.map_or(world.asked_in_all(), |op| world.asked(op));
                let at = asked + rng.u64(1..8);
                let fault = Fault { at, only, forever: percent(rng, 50), errno: one_of(rng, &ERRNOS) };
                world.fault = Some(fault);
                if self.odd.denies {
                    world.fault_is_done = percent(rng, 60);
                }
                if self.odd.pairs {
                    let only = percent(rng, 75).then(|| one_of(rng, &OPS));
                    let at = only.map_or(world.asked_in_all(), |op| world.asked(op)) + rng.u64(1..12);
                    world.other_fault =
                        Some(Fault { at, only, forever: percent(rng, 30), errno: one_of(rng, &ERRNOS) });
                }
                format!("{fault:?}, done: {}, and {:?}", world.fault_is_done, world.other_fault)
            }
            12 | 13 => {
                world.short = Some(rng.usize(1..200));
                format!("writes take {:?} bytes", world.short)
            }
            14 | 15 => {
                let at = world.asked(Op::Write) + rng.u64(1..4);
                world.short_once = Some((at, rng.usize(..300)));
                if percent(rng, 70) {
                    let errno = one_of(rng, &ERRNOS);
                    world.fault = Some(Fault { at: at + 1, only: Some(Op::Write), forever: percent(rng, 30), errno });
                }
                format!("a short write {:?}, then {:?}", world.short_once, world.fault)
            }
            16 => {
                world.longest = Some(rng.u64(1..5000));
                format!("no file longer than {:?}", world.longest)
            }
            17 => {
                world.no_links = Some(one_of(rng, &[1, 31, 95]));
                "no hard links".into()
            }
            18 => {
                world.locked_by_other = true;
                (self.torn, self.locked) = (true, true);
                "somebody else has the lock".into()
            }
            _ => {
                drop(world);
                let fails = rng.u32(1..100);
                self.set_own(fails);
                return self.note(format!("own sinks fail {fails} times in a hundred"));
            }
        };
        drop(world);
        self.note(what);
    }

    /// Has the disk do something, a part of it or nothing, and report that it has failed.
    fn deny(&self, rng: &mut Rng) {
        let mut world = self.disk.world();
        let only = one_of(rng, &DENIED);
        let at = world.asked(only) + rng.u64(1..8);
        let fault = Fault { at, only: Some(only), forever: percent(rng, 50), errno: one_of(rng, &[1, 28, 5, 4, 122]) };
        world.fault = Some(fault);
        world.fault_is_done = percent(rng, 80);
        if percent(rng, 30) {
            world.short_once = Some((world.asked(Op::Write) + rng.u64(1..8), rng.usize(..300)));
        }
        let what = format!("{fault:?}, done: {}, short {:?}", world.fault_is_done, world.short_once);
        drop(world);
        self.note(what);
    }

    fn set_own(&self, fails: u32) {
        let own = self.processes.iter().flat_map(|process| process.own.iter().flatten());
        own.for_each(|(_, share)| *share.lock().unwrap() = fails);
    }

    fn fill(&mut self, rng: &mut Rng) {
        let mut world = self.disk.world();
        let free = world.free();
        if world.capacity.is_none() {
            return;
        }
        let leave = match rng.u32(..10) {
            0..=2 => rng.u64(..3000),
            3 | 4 => rng.u64(..80 * KIB),
            5 => 0,
            _ => u64::MAX,
        };
        world.filler = if leave == u64::MAX { 0 } else { (world.filler + free).saturating_sub(leave) };
        let free = world.free();
        drop(world);
        self.note(format!("{free} bytes are free"));
    }

    /// Other hands.
    fn meddle(&mut self, rng: &mut Rng) {
        let paths = self.paths();
        let Some(path) = (!paths.is_empty()).then(|| one_of(rng, &paths)) else { return };
        self.others += 1;
        let inode = self.disk.inodes().into_iter().find_map(|(name, inode)| (name == path).then_some(inode));
        let is_there = inode.is_some();
        let what = rng.u32(..15);
        if self.odd.denies_writes && matches!(what, 4..=8 | 13) {
            return; // It would not be alone any more.
        }
        match what {
            0 | 1 => {
                self.robbed.extend(inode);
                let to = format!("{path}.{}", self.others);
                self.note(format!("{path} is renamed"));
                self.disk.rename(path, &to);
            }
            2 | 3 => {
                self.robbed.extend(inode);
                self.note(format!("{path} is deleted"));
                self.disk.delete(path);
            }
            4 | 5 if is_there && self.odd.writes_back => {
                self.note(format!("{path} loses what was not synced"));
                self.cut_to(path, self.disk.synced(path));
            }
            4..=6 if is_there => self.cut_short(rng, path),
            7 | 8 if is_there => {
                self.note(format!("somebody else writes to {path}"));
                self.torn = true;
                self.disk.append(path, format!("foreign {} line\n", self.others).as_bytes());
            }
            9 => {
                let archives: Vec<_> = self.archives.keys().cloned().collect();
                if !archives.is_empty() {
                    let name = &archives[rng.usize(..archives.len())];
                    self.note(format!("{name} is deleted by somebody"));
                    self.disk.delete(name);
                    // What is there uncompressed as well is compressed again.
                    if name.strip_suffix(".gz").is_some_and(|plain| self.archives.contains_key(plain)) {
                        self.used.remove(name);
                    }
                    self.taken_away.insert(name.clone());
                    self.archives.remove(name);
                }
            }
            10 => {
                let dir = Path::new(path).parent().unwrap().to_str().unwrap();
                let barred = percent(rng, 50);
                let active = self.disk.inodes().into_iter().filter(|(name, _)| paths.iter().any(|path| path == name));
                self.robbed.extend(active.filter(|(name, _)| name.starts_with(dir)).map(|(_, inode)| inode));
                self.note(format!("{dir} goes away{}", if barred { " and cannot be made" } else { "" }));
                self.disk.remove_dir(dir, barred);
                let inside: Vec<_> = self.archives.keys().filter(|name| name.starts_with(dir)).cloned().collect();
                for name in inside {
                    self.archives.remove(&name);
                    self.taken_away.insert(name);
                }
            }
            11 => {
                self.note("directories can be made again".into());
                self.disk.unbar();
            }
            12 => {
                let hand = one_of(rng, &[Hand::PlantsArchives, Hand::TakesNextNames, Hand::GuessesNames]);
                self.note(format!("somebody {hand:?} next to {path}"));
                self.disk.world().act(hand, Path::new(path));
            }
            13 => {
                self.note(format!("the lock of {path} is taken away"));
                self.disk.world().act(Hand::TakesLock, Path::new(path));
                (self.torn, self.locked) = (true, true);
            }
            14 => {
                self.note("locks are given back".into());
                self.disk.give_back_locks();
            }
            _ => {}
        }
    }

    fn cut_short(&mut self, rng: &mut Rng, path: &str) {
        let bytes = self.disk.read(path);
        let at_a_newline = percent(rng, 80);
        let mut len = if percent(rng, 50) { 0 } else { rng.usize(..=bytes.len()) };
        if at_a_newline {
            len = whole_lines(&bytes[..len]);
        }
        self.cut_to(path, len);
    }

    fn cut_to(&mut self, path: &str, len: usize) {
        let bytes = self.disk.read(path);
        let (_, inode) = self.disk.inodes().into_iter().find(|(name, _)| name == path).unwrap();
        let from = self.judged_from.get(&inode).copied().unwrap_or(0);
        if len < from && from < bytes.len() && len > 0 {
            return; // What two cuts leave is nobody's to judge.
        }
        self.note(format!("{path} is cut from {} to {len}", bytes.len()));
        self.disk.cut_short(path, len);
        // Nobody has lost anything, and a fragment at the end is still the process's own to cut.
        if len < bytes.len() {
            self.cut_off.push((inode, bytes[from..].to_vec(), is_torn(&bytes[..from])));
            self.judged_from.insert(inode, len);
            self.torn |= is_torn(&bytes[..len]) || !bytes.ends_with(b"\n");
        }
    }

    // --- what must hold all the time ---

    fn check(&mut self, index: usize) {
        let process = &self.processes[index];
        let bench = process.bench.as_ref().unwrap();
        assert!(!panicked(), "something panicked inside the writer");
        bench.assert_identity("at every moment");
        let stats = bench.handle.stats();
        let limit_lines: u64 = process.limit_lines.iter().sum();
        assert_eq!(stats.accepted, process.logged.len() as u64 + limit_lines, "{stats:?}");
        assert_eq!(stats.suppressed, process.rate_limit.suppressed(), "{stats:?}");
        for (output, (place, options)) in self.places.iter().zip(&process.plan.files).enumerate() {
            let most = match (&place.kind, process.plan.overflow) {
                (Kind::Own, Overflow::BlockAtMost(_)) => OWN_BACKLOG.bytes as usize + TURN_LINES,
                (Kind::Own, _) => OWN_BACKLOG.bytes as usize + LONGEST_LINE,
                _ => options.retain as usize,
            };
            let retained = bench.writer.bytes_retained(output);
            assert!(retained <= most, "{retained} bytes are retained, at most {most}");
        }
        if process.plan.overflow == Overflow::Block {
            assert_eq!(stats.dropped.queue_full, 0, "{stats:?}");
        }
        self.see_archives();
        self.disk.assert_planted_is_untouched("at every moment");
    }

    /// No archive changes, and none goes away but by what the options say.
    fn see_archives(&mut self) {
        let changes =
            [Op::Write, Op::Cut, Op::Link, Op::Rename, Op::RenameNew, Op::Remove, Op::Create, Op::Open, Op::Compress];
        let changes = changes.iter().map(|op| self.disk.world().asked(*op)).sum();
        if self.seen == Some(changes) {
            return;
        }
        self.seen = Some(changes);
        let names = self.disk.inodes();
        let all: BTreeMap<_, _> = self.disk.read_every_name().into_iter().collect();
        let mut gone = Vec::new();
        for (name, (inode, before)) in &self.archives {
            let now = names.iter().find(|(other, _)| other == name);
            if now.is_none_or(|(_, now)| now != inode) {
                gone.push(name.clone());
                continue;
            }
            let bytes = &all[name];
            // A process that is not the one with the lock learns a moment later that the file is an
            // archive; so does one whose rotation could not be undone. And so does one whose file
            // has an archive's name that a crash has left, or that could not be taken back, when
            // somebody else takes its active name away. If a write of its own was cut short there,
            // it cuts off the fragment before it goes on.
            let may_grow = self.shared || self.disk.world().asked(Op::RenameNew) > 0 || self.robbed.contains(inode);
            let same = if may_grow { bytes.starts_with(&before[..whole_lines(before)]) } else { bytes == before };
            assert!(same, "archive {name} has changed from {} to {} bytes", before.len(), bytes.len());
        }
        for name in gone {
            let (inode, _) = self.archives.remove(&name).unwrap();
            self.gone.insert((name, inode));
        }
        for path in self.paths() {
            let active = names.iter().find(|(name, _)| name == path).map(|(_, inode)| *inode);
            for (name, inode) in &names {
                if is_archive(path, name) && Some(*inode) != active && !self.archives.contains_key(name) {
                    // Of several processes each knows only its own and what is there.
                    assert!(self.shared || !self.used.contains(name), "{name} is used twice");
                    self.used.insert(name.clone());
                    self.archives.insert(name.clone(), (*inode, all[name].clone()));
                }
            }
        }
    }

    fn look(&self, index: usize) -> Look {
        let process = &self.processes[index];
        let bench = process.bench.as_ref().unwrap();
        let stats = bench.handle.stats();
        let world = self.disk.world();
        let moves = [Op::Create, Op::Link, Op::Rename, Op::RenameNew];
        // Under `DeleteOldest` a deletion may wait until a second has passed since the last one.
        let gives_way = process.plan.files.iter().any(|file| file.when_low == WhenLow::DeleteOldest);
        let deletes = if gives_way { 0 } else { world.asked(Op::Remove) };
        Look {
            free: world.free(),
            planted: world.taken_by_planted(),
            moves: moves.iter().map(|op| world.asked(*op)).sum::<u64>() + deletes,
            states: stats.outputs.iter().map(|output| (output.state, output.suspensions)).collect(),
        }
    }

    fn compare(&self, index: usize, before: &Look, after: &Look) {
        let process = &self.processes[index];
        let files =
            || self.places.iter().zip(&process.plan.files).filter(|(place, _)| !matches!(place.kind, Kind::Own));
        let has_size = files().any(|(_, file)| file.rotation.size.is_some());
        let suspended = |look: &Look| {
            let mut files = look.states.iter().zip(&self.places).filter(|(_, place)| !matches!(place.kind, Kind::Own));
            files.all(|((state, _), _)| matches!(state, State::Suspended(cause) if *cause != Cause::FileTooLarge))
        };
        if suspended(before) && suspended(after) && before.states == after.states && !has_size {
            assert_eq!(before.moves, after.moves, "while it is suspended nothing is renamed, deleted or created");
        }
        let reserve = files().map(|(_, file)| file.min_free_space.unwrap_or(0)).min().unwrap_or(0);
        let known = !self.disk.world().faulted_ops.contains(&Op::FreeSpace) && self.disk.world().capacity.is_some();
        // Space that somebody else has taken meanwhile does not count.
        let free_after = after.free.saturating_add(after.planted.saturating_sub(before.planted));
        if known && reserve > 0 && free_after < before.free {
            // Of each file, the line that says why nothing is written any more.
            let last_words = 300 * files().count() as u64;
            let at_least = match before.free >= reserve + 3 * 4096 {
                true => reserve,
                false => reserve.min(before.free.saturating_sub(last_words)),
            };
            assert!(
                free_after >= at_least,
                "{free_after} bytes are free after {}, the reserve is {reserve}",
                before.free
            );
        }
    }

    fn hear(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let events = process.bench.as_ref().unwrap().events.clone();
        let events = events.lock().unwrap();
        for event in &events[process.heard..] {
            if let Event::Deleted { path, .. } = event {
                self.deleted.insert(path.display().to_string());
            }
        }
        process.heard = events.len();
    }

    fn hear_answers(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let Process { flushes, promised, .. } = process;
        flushes.retain(|(answer, pending)| match answer.try_recv() {
            Ok(Ok(())) => {
                promised.extend(pending);
                false
            }
            Ok(Err(_)) => false,
            Err(_) => true,
        });
    }

    // --- the end ---

    /// Nothing is wrong any more.
    fn lift(&mut self, rng: &mut Rng) {
        let mut world = self.disk.world();
        (world.fault, world.short, world.short_once, world.longest) = (None, None, None, None);
        world.other_fault = None;
        (world.filler, world.locked_by_other) = (0, false);
        let used = world.capacity.unwrap_or(0).saturating_sub(world.free());
        // Where somebody else writes, too, an archive keeps the blocks of its reserve; and a file
        // that is very small may have as many of them as there are records.
        let files = if self.shared { 4096 } else { 1024 };
        world.capacity = percent(rng, 80).then_some(used + files * 64 * KIB);
        drop(world);
        self.disk.unbar();
        if self.hands.take().is_some() {
            self.take_hands_away();
        }
        self.disk.give_back_locks();
        self.set_own(0);
        self.note("all is well again".into());
    }

    fn recover(&mut self) {
        let mut waited = Duration::ZERO;
        let suspended = |machine: &Self| {
            let state = |process: &Process| process.bench.as_ref().map(|bench| bench.handle.state());
            machine.running().any(|process| matches!(state(process), Some(State::Suspended(_))))
        };
        // An output that was suspended again soon after each of several resumes waits longer.
        let waits_longer = self.running().any(|process| {
            let resumes = process.bench.as_ref().map_or(0, |bench| bench.suspensions().1);
            resumes > RESUMES_AT_ONCE
        });
        let at_most = match waits_longer {
            true => LONGEST_WAIT,
            false if self.disk.world().accounts_late => LONGEST_WAIT_FOR_A_COMMIT,
            false => Duration::from_secs(2),
        };
        self.all_step();
        while suspended(self) {
            assert!(waited < at_most, "still suspended after {at_most:?}");
            waited += TURN;
            self.advance(TURN);
            self.all_step();
        }
        // Drops that are no gap are told every 5 s.
        for _ in 0..14 {
            self.advance(Duration::from_millis(510));
            self.all_step();
        }
        for index in 0..self.processes.len() {
            if self.processes[index].runs() {
                self.sees_the_next_record_on_the_disk(index);
            }
        }
    }

    fn sees_the_next_record_on_the_disk(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let handle = &process.bench.as_ref().unwrap().handle;
        for _ in 0..process.filter.pushed() {
            handle.pop_filter();
        }
        handle.set_filter("trace").unwrap();
        process.filter = FilterModel::default();
        let (number, place) = (process.number, process.logged.len());
        self.log(index, 0, Level::Error, "other", 3, false);
        // A turn takes one batch, and other records may come before this one.
        for _ in 0..MOST_BATCHES {
            self.step(index);
            if self.processes[index].bench.as_ref().is_none_or(|bench| bench.handle.stats().pending == 0) {
                break;
            }
        }
        let next = format!("record {number}.{place} of ");
        for (place, own) in self.places.iter().zip(&self.processes[index].own) {
            let bytes = match (&place.kind, own) {
                // Who has not the lock may learn a moment later that the file is an archive.
                (Kind::File { path }, _) if self.shared => {
                    self.disk.once_called(path).into_iter().flat_map(|(_, bytes)| bytes).collect()
                }
                (Kind::File { path }, _) => self.disk.read(path),
                (Kind::Own, Some((kept, _))) => kept.lock().unwrap().clone(),
                _ => unreachable!(),
            };
            let there = String::from_utf8_lossy(&bytes).contains(&next);
            let end = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(300)..]).into_owned();
            let state = self.processes[index].bench.as_ref().map(|bench| bench.handle.stats());
            assert!(there, "{place:?}: {next}is not on the disk, which ends with {end:?}; {state:?}");
        }
    }

    /// What old files may be there holds again, and whoever is asked to end does.
    fn finish(&mut self, rng: &mut Rng) {
        self.advance(Duration::from_secs(61));
        // Archives are listed and deleted bit by bit, and there may be hundreds of them.
        for turn in 0.. {
            let before = self.seen_of_names();
            self.all_step();
            self.advance(Duration::from_millis(510));
            if turn >= 2 && before == self.seen_of_names() {
                break;
            }
            assert!(turn < 1000, "the archives are not listed and deleted");
        }
        self.see_limits();
        for index in 0..self.processes.len() {
            if self.processes[index].runs() && percent(rng, 50) {
                self.close(index);
                let End::Closed(answer) = &self.processes[index].end else { unreachable!() };
                assert_eq!(*answer, Ok(()), "nothing is wrong");
            }
        }
    }

    /// Returns how many names were looked at, and how many were removed.
    fn seen_of_names(&self) -> (u64, u64) {
        let world = self.disk.world();
        (world.looked_at, world.asked(Op::Remove))
    }

    fn see_limits(&self) {
        let mut running = self.running();
        let (Some(process), None) = (running.next(), running.next()) else { return };
        for (place, options) in self.places.iter().zip(&process.plan.files) {
            let Kind::File { path } = place.kind else { continue };
            // Both forms of an archive, as a crash leaves them, are one.
            let is_twice = |name: &str| self.archives.contains_key(&format!("{name}.gz"));
            let archives = self.archives.iter().filter(|(name, _)| is_archive(path, name) && !is_twice(name));
            // The fake disk keeps what was compressed as it was, and counts a tenth of it.
            let size = |name: &str, len: u64| if name.ends_with(".gz") { len.div_ceil(10) } else { len };
            let sizes: Vec<_> = archives.map(|(name, (_, bytes))| size(name, bytes.len() as u64)).collect();
            if let Some(most) = options.limits.files {
                assert!(sizes.len() < most, "{} archives next to {path}, at most {most} files", sizes.len());
            }
            if let Some(most) = options.limits.total {
                let total = sizes.iter().sum::<u64>() + self.disk.read(path).len() as u64;
                assert!(total <= most || sizes.is_empty(), "{total} bytes of {path}, at most {most}");
            }
        }
    }

    fn judge(&mut self) {
        for index in 0..self.processes.len() {
            if self.processes[index].runs() {
                self.hear(index);
                let process = &mut self.processes[index];
                process.stats = process.bench.as_ref().unwrap().handle.stats();
                assert_eq!(process.stats.pending, 0, "{:?}", process.stats);
            }
        }
        let torn = self.torn || self.shared || self.repair_failed();
        let mut anywhere: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.processes.len()];
        // Of these, what may stand there by a write that was denied.
        let mut unsure = anywhere.clone();
        // The same record of the rate limit in two outputs cannot be told from two: at least the
        // most in one, at most the sum of all.
        let mut limit_lines = vec![(0, 0); self.processes.len()];
        for (place_index, place) in self.places.iter().enumerate() {
            let shared_held = self.held(place);
            assert!(torn || shared_held.broken().is_empty(), "{place:?}: {:#?}", shared_held.broken());
            let glued = shared_held.glued();
            assert!(glued.is_empty(), "{place:?}: glued to what somebody else has torn: {glued:#?}");
            for (number, process) in self.processes.iter().enumerate() {
                let story = format!("{place:?}, process {}", process.number);
                let held = match &process.own[place_index] {
                    None => &shared_held,
                    Some((kept, _)) => &{
                        let mut held = Held::default();
                        let kept = kept.lock().unwrap();
                        // Who is killed may leave a part of a line.
                        let end = match process.end {
                            End::Killed => whole_lines(&kept),
                            _ => kept.len(),
                        };
                        held.take(place.layout, &kept[..end], false, Torn::Cut);
                        assert!(held.broken().is_empty(), "{story}: {:?}", held.broken());
                        held
                    },
                };
                let there = held.records_of(process.number, &process.logged, &story);
                let lines = self.judge_output(process, place_index, &there, held, &story);
                unsure[number].extend(there.iter().filter(|index| held.denied.has(process.number, **index)));
                anywhere[number].extend(there);
                let denied: u64 = held.denied.limit_lines_of(process.number).iter().sum();
                let (least, most) = &mut limit_lines[number];
                (*least, *most) = (lines.saturating_sub(denied).max(*least), *most + lines);
            }
        }
        for (number, (process, (least, most))) in self.processes.iter().zip(limit_lines).enumerate() {
            let (stats, anywhere) = (&process.stats, anywhere[number].len() as u64);
            let surely = anywhere - unsure[number].len() as u64;
            assert!(
                (surely + least..=anywhere + most).contains(&stats.written),
                "process {}: {stats:?}",
                process.number
            );
        }
        self.judge_history();
    }

    /// Says how many lines of the rate limit are there.
    fn judge_output(&self, process: &Process, place: usize, there: &BTreeSet<usize>, held: &Held, story: &str) -> u64 {
        let (output, level) = (&process.stats.outputs[place], self.places[place].level);
        let limit_lines = self.judge_limits(process, level, held, story);
        let lines: u64 = limit_lines.iter().sum();
        // What a denied write has left may stand there without counting as written.
        let unsure: BTreeSet<_> =
            there.iter().copied().filter(|index| held.denied.has(process.number, *index)).collect();
        let denied_lines = held.denied.limit_lines_of(process.number);
        let most = there.len() as u64 + lines;
        let least = most.saturating_sub(unsure.len() as u64 + denied_lines.iter().sum::<u64>());
        assert!(
            (least..=most).contains(&output.written),
            "{story}: what is counted as written is there, {least} to {most}: {output:?}"
        );
        let surely: BTreeSet<_> = there.difference(&unsure).copied().collect();
        let (mut missing, mut most_missing) =
            (missing(&process.logged, level, there), missing(&process.logged, level, &surely));
        for of in Level::iter().filter(|of| *of <= level).map(|of| of as usize - 1) {
            missing[of] += process.limit_lines[of] - limit_lines[of];
            most_missing[of] += process.limit_lines[of] - limit_lines[of].saturating_sub(denied_lines[of]);
        }
        let between = |numbers: &[u64]| {
            let of_level = numbers.iter().zip(missing.iter().zip(&most_missing));
            of_level.into_iter().all(|(number, (least, most))| (least..=most).contains(&number))
        };
        let lost: Vec<_> = Level::iter().map(|level| output.dropped.by_level(level)).collect();
        let is_killed = matches!(process.end, End::Killed);
        if !is_killed {
            assert!(between(&lost), "{story}: {lost:?} is counted as lost, {missing:?} to {most_missing:?} is missing");
        }
        // A line of the crate's own that was denied is written again.
        let ((told, most_told), denied) = (held.told_by(process.number), held.denied.told_by(process.number));
        let told_once = told.iter().zip(&denied).map(|(told, denied)| told.saturating_sub(*denied));
        let lost = if is_killed { most_missing.to_vec() } else { lost };
        let not_more = told_once.zip(&lost).all(|(told, lost)| told <= *lost);
        assert!(not_more, "{story}: the log tells {told:?}, {denied:?} of it denied, and {lost:?} is lost");
        if matches!(process.end, End::Running | End::Closed(Ok(()))) {
            let all_told = most_told.iter().zip(&lost).all(|(told, lost)| told >= lost);
            assert!(all_told, "{story}: the log tells {told:?} to {most_told:?}, and {lost:?} is lost");
        }
        let layout = self.places[place].layout;
        for (index, record) in process.logged.iter().enumerate() {
            if cannot_be_laid_out(layout, record) {
                assert!(!there.contains(&index), "{story}: {record:?}");
            }
        }
        let wanted = process.promised.iter().filter(|index| process.logged[**index].level <= level);
        let broken: Vec<_> = wanted.filter(|index| !there.contains(index)).collect();
        assert!(broken.is_empty(), "{story}: a flush said that {broken:?} are written");
        lines
    }

    /// What the rate limit has held back is told for its place, once. Says how many lines do that,
    /// of each level.
    fn judge_limits(&self, process: &Process, level: LevelFilter, held: &Held, story: &str) -> [u64; 5] {
        let (mut lines, told) = held.suppressed_by(process.number);
        if held.denied.limit_lines_of(process.number) != [0; 5] {
            // They may stand there twice.
            lines.iter_mut().zip(&process.limit_lines).for_each(|(there, all)| *there = (*there).min(*all));
            return lines;
        }
        for (there, all) in lines.iter().zip(&process.limit_lines) {
            assert!(there <= all, "{story}: {lines:?} lines of the rate limit, of {:?}", process.limit_lines);
        }
        for ((of, target), told) in &told {
            let suppressed = process.rate_limit.suppressed_at(*of, target);
            assert!(*told <= suppressed, "{story}: {told} records of {suppressed} of {target} at {of}");
        }
        let all_there = level == LevelFilter::Trace && lines == process.limit_lines;
        if all_there && matches!(process.end, End::Closed(Ok(()))) {
            let (told, suppressed) = (told.values().sum::<u64>(), process.rate_limit.suppressed());
            assert_eq!(told, suppressed, "{story}: the log tells what the rate limit has held back");
        }
        lines
    }

    fn repair_failed(&self) -> bool {
        let faulted = &self.disk.world().faulted_ops;
        REPAIR.iter().any(|op| faulted.contains(op))
    }

    /// All that was ever written to one file.
    fn held(&self, place: &PathState) -> Held {
        let mut held = Held::default();
        let Kind::File { path } = place.kind else { return held };
        let torn = match self.shared {
            true => Torn::WrittenOn,
            false if self.locked || self.repair_failed() => Torn::Left,
            false => Torn::Cut,
        };
        for (inode, bytes) in self.disk.once_called(path) {
            if self.odd.denies_shared_writes {
                let world = self.disk.world();
                let writes = world.denied.iter().filter(|(of, _)| *of == inode);
                writes.for_each(|(_, write)| held.denied.take(place.layout, write));
            }
            for (_, before, after_torn) in self.cut_off.iter().filter(|(of, ..)| *of == inode) {
                held.take(place.layout, before, *after_torn, torn);
            }
            let from = self.judged_from.get(&inode).copied().unwrap_or(0);
            held.take(place.layout, &bytes[from..], is_torn(&bytes[..from]), torn);
        }
        held
    }

    fn judge_history(&self) {
        let may_delete = self
            .processes
            .iter()
            .flat_map(|process| &process.plan.files)
            .any(|file| file.limits != Default::default() || file.when_low == WhenLow::DeleteOldest);
        for (name, inode) in &self.gone {
            let compressed = !self.disk.once_called(&format!("{name}.gz")).is_empty();
            let empty = self.disk.once_called(name).iter().all(|(of, bytes)| of != inode || bytes.is_empty());
            assert!(compressed || empty || may_delete, "{name} went away");
            // Both forms of an archive are deleted as one.
            let plain = name.strip_suffix(".gz").unwrap_or(name);
            let is_told = self.deleted.contains(name) || self.deleted.contains(plain);
            assert!(
                compressed || self.killed || is_told || self.taken_away.contains(name),
                "{name} went away, and nobody said so"
            );
        }
    }
}

/// What is compared before and after a turn.
struct Look {
    free: u64,
    planted: u64,
    moves: u64,
    states: Vec<(State, u64)>,
}

fn is_torn(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|last| *last != b'\n')
}

/// Whether this is a name that an archive of the file at `path` gets.
fn is_archive(path: &str, name: &str) -> bool {
    let path = Path::new(path);
    let stem = path.with_extension("");
    let Some(rest) = name.strip_prefix(stem.to_str().unwrap()).and_then(|rest| rest.strip_prefix('.')) else {
        return false;
    };
    let rest = rest.strip_suffix(".gz").unwrap_or(rest);
    let suffix = path.extension().map(|extension| format!(".{}", extension.to_str().unwrap())).unwrap_or_default();
    rest.strip_suffix(&suffix).is_some_and(|stamp| stamp.len() == "2026-11-21T09-30-00-0000".len())
}
