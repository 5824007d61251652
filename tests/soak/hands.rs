//! The hands: start and kill the loggers, fill the disk, rename and cut the file, and collect what
//! was logged.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, is_archive, names, read};
use crate::judge::Judge;
use crate::logger::{Account, THREADS};
use crate::support::child::{self, wait_until};
use crate::support::place::{Filler, Place};

pub(crate) const ROLE: &str = "hands";
/// How many loggers there are at the same time; the first is never killed.
const LOGGERS: u32 = 3;
/// More archives than that are not waited for.
const MANY: usize = 8;
/// After that nobody writes into a file that was renamed, and what is compressed is whole.
const SETTLED: Duration = Duration::from_secs(3);

struct Options {
    time: Duration,
    seed: u64,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { time: Duration::from_secs(60), seed: 1 };
        let args: Vec<String> = std::env::args().skip(1).collect();
        for pair in args.chunks(2) {
            let value = pair.get(1).and_then(|value| value.parse().ok()).expect("--seconds N --seed N");
            match pair[0].as_str() {
                "--seconds" => options.time = Duration::from_secs(value),
                "--seed" => options.seed = value,
                other => panic!("{other}: --seconds N --seed N"),
            }
        }
        options
    }
}

/// What a process takes.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Taken {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB"));
        let count = |what| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
        Self { kib: kib.unwrap().trim().parse().unwrap(), descriptors: count("fd"), threads: count("task") }
    }

    fn most(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |most, one| Self {
            kib: most.kib.max(one.kib),
            descriptors: most.descriptors.max(one.descriptors),
            threads: most.threads.max(one.threads),
        })
    }
}

struct Hands {
    dir: PathBuf,
    disk: PathBuf,
    next: u32,
    loggers: Vec<(u32, Child)>,
    judge: Judge,
    /// Archives that were taken, in whatever form.
    taken: BTreeSet<String>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    fillings: u64,
    renames: u64,
    cuts: u64,
    archives: u64,
}

pub(crate) fn run(dir: &Path) {
    let options = Options::read();
    let disk = dir.join("disk");
    fs::create_dir(&disk).unwrap();
    Place::new(dir.to_owned()).tmpfs_at(&disk, "size=16m");
    let mut hands = Hands {
        dir: dir.to_owned(),
        disk,
        next: 0,
        loggers: Vec::new(),
        judge: Judge::default(),
        taken: BTreeSet::new(),
        counts: Counts::default(),
    };
    for _ in 0..LOGGERS {
        hands.start_logger();
    }
    let survivor = hands.loggers[0].1.id();
    let (mut taken, begun) = (Vec::new(), Instant::now());
    let mut random = fastrand::Rng::with_seed(options.seed);
    while begun.elapsed() < options.time {
        match random.u32(..12) {
            0 | 1 => hands.kill(random.usize(1..LOGGERS as usize)),
            2 | 3 => hands.fill(Duration::from_millis(random.u64(100..4000))),
            4 => hands.rename(),
            5 => hands.cut(),
            _ => thread::sleep(Duration::from_millis(random.u64(100..1500))),
        }
        hands.collect_archives(SETTLED);
        taken.push(Taken::of(survivor));
    }
    hands.end();
    let (early, late) = taken.split_at(taken.len() / 2);
    let (early, late) = (Taken::most(early), Taken::most(late));
    println!("seed {}, {:?}: {:?}", options.seed, begun.elapsed(), hands.counts);
    println!("the survivor took at most {early:?} in the first half, {late:?} in the second");
    println!("{}", hands.judge.verdict(hands.counts.kills, hands.counts.cuts));
    assert!(late.kib <= early.kib + 4096, "the memory grows: {taken:?}");
    assert!(late.descriptors <= early.descriptors + 8, "the descriptors grow: {taken:?}");
    assert!(late.threads <= early.threads + 2, "the threads grow: {taken:?}");
}

impl Hands {
    fn start_logger(&mut self) {
        let number = self.next;
        self.next += 1;
        self.loggers.push((number, child::command(&number.to_string(), &self.dir).spawn().unwrap()));
    }

    /// Kills one, and starts the next.
    fn kill(&mut self, which: usize) {
        let (_, mut logger) = self.loggers.remove(which);
        logger.kill().unwrap();
        logger.wait().unwrap();
        self.counts.kills += 1;
        self.start_logger();
    }

    /// Takes all the space for a while.
    fn fill(&mut self, time: Duration) {
        let mut filler = Filler::new(self.disk.join("filler"));
        filler.fill();
        thread::sleep(time);
        filler.remove();
        self.counts.fillings += 1;
    }

    /// Renames the file under those who write it, as an old logrotate does.
    fn rename(&mut self) {
        let to = self.disk.join(format!("moved-{}", self.counts.renames));
        if fs::rename(self.disk.join("app.log"), &to).is_ok() {
            self.counts.renames += 1;
            thread::sleep(SETTLED);
            self.take(&to);
        }
    }

    /// Copies the file and cuts it, as `copytruncate` does. What is written in between is lost.
    fn cut(&mut self) {
        let Ok(file) = File::options().write(true).open(self.disk.join("app.log")) else { return };
        let bytes = fs::read(self.disk.join("app.log")).unwrap_or_default();
        if file.set_len(0).is_ok() {
            self.judge.hear("a file that was cut", &bytes, true);
            self.counts.cuts += 1;
        }
    }

    /// Takes what nobody writes any more, the oldest first. What may be compressed at this moment
    /// is left, unless the disk would be full of it.
    fn collect_archives(&mut self, settled: Duration) {
        let names: Vec<_> = names(&self.disk).into_iter().filter(|name| is_archive(name)).collect();
        for (place, name) in names.iter().enumerate() {
            let path = self.disk.join(name);
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let age = metadata.modified().unwrap().elapsed().unwrap_or_default();
            let is_compressed = name.ends_with(".gz");
            let many = names.len() - place > MANY;
            if age < settled || cfg!(feature = "gzip") && !is_compressed && !many && settled > Duration::ZERO {
                break;
            }
            let archive = name.trim_end_matches(".gz").to_owned();
            if self.taken.contains(&archive) {
                // The compressed form of one that was taken, or what a kill left next to it.
                let _ = fs::remove_file(&path);
            } else if self.take(&path) {
                self.taken.insert(archive);
                self.counts.archives += 1;
            }
        }
    }

    /// Returns false if the file is gone: who compresses it has removed it meanwhile.
    fn take(&mut self, path: &Path) -> bool {
        let is_compressed = path.extension().is_some_and(|extension| extension == "gz");
        let Ok(bytes) = (if is_compressed { Ok(read(path)) } else { fs::read(path) }) else { return false };
        self.judge.hear(&path.display().to_string(), &bytes, false);
        let _ = fs::remove_file(path);
        true
    }

    /// Ends the loggers, and takes the rest.
    fn end(&mut self) {
        File::create(self.dir.join("stop")).unwrap();
        for (number, logger) in &mut self.loggers {
            let mut status = None;
            wait_until(
                || format!("logger {number} ends"),
                PATIENCE,
                || {
                    status = logger.try_wait().unwrap();
                    status.is_some()
                },
            );
            assert!(status.is_some_and(|status| status.success()), "logger {number}: {status:?}");
        }
        self.collect_archives(Duration::ZERO);
        let rest: Vec<_> = names(&self.disk).into_iter().filter(|name| !name.starts_with('.')).collect();
        for name in rest {
            self.take(&self.disk.join(name));
        }
        for (number, _) in &self.loggers {
            let account = Account::read(&self.dir.join(format!("account-{number}"))).expect("an account");
            self.judge.expect(number * THREADS..(number + 1) * THREADS, account);
        }
    }
}
