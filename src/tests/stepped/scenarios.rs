//! The scenarios that every fault and every crash is tried in: what is on the disk, how the file is
//! set up, what happens. Each is as short as it can be: a run costs a millisecond, and there are
//! tens of thousands of them.

use std::time::Duration;

use log::Level;

use super::bench::{Bench, PATH, Setup};
use super::invariants::Ledger;
use crate::error::FlushError;
use crate::handle::Handle;
use crate::queue::Overflow;
use crate::sink::log_file::{FileOptions, Fsync, WhenLow};
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::FakeDisk;
use crate::{KIB, LogFile};

const HOUR: Duration = Duration::from_secs(3600);
const EPERM: i32 = 1;

/// One of them.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    disk: fn() -> FakeDisk,
    file: fn(LogFile) -> LogFile,
    /// How many records the queue holds.
    capacity: usize,
    pub(super) drive: fn(&mut Life),
    /// Its options have archives deleted.
    pub(super) deletes: bool,
    /// There are few enough operations for all pairs of faults.
    pub(super) is_short: bool,
}

/// A logger on the fake disk, in one process's life.
pub(super) struct Life {
    pub(super) disk: FakeDisk,
    pub(super) bench: Bench,
    /// What a shutdown has answered.
    pub(super) ended: Option<Result<(), FlushError>>,
    /// Somebody deletes what is written.
    pub(super) others_delete: bool,
}

impl Scenario {
    pub(super) fn disk(&self) -> FakeDisk {
        (self.disk)()
    }

    /// A logger on this disk; with the records of earlier lives on it, if there were any.
    pub(super) fn begin(&self, disk: FakeDisk, ledger: Ledger) -> Life {
        let setup = Setup { capacity: self.capacity, overflow: Overflow::DropNewest, ..Setup::new() };
        let mut bench = setup.file_with(&disk, self.options()).bench();
        bench.tells_records_the_time = true;
        bench.next = ledger.next();
        bench.ledger = ledger.handed_on(&disk);
        Life { disk, bench, ended: None, others_delete: false }
    }

    pub(super) fn has_history(&self) -> bool {
        self.options().rotation != Rotation::never()
    }

    pub(super) fn compresses(&self) -> bool {
        self.options().compress
    }

    pub(super) fn syncs_each_batch(&self) -> bool {
        self.options().fsync == Fsync::Every(Duration::ZERO)
    }

    fn options(&self) -> FileOptions {
        (self.file)(LogFile::new(PATH).min_free_space(0)).options
    }
}

impl Life {
    /// A few records of all levels, a turn, and some time, a part of it before the turn.
    fn turn(&mut self, records: u64, time: Duration) {
        let before = time / 10;
        self.bench.log_some(records);
        self.bench.pass(before);
        self.step();
        self.bench.pass(time - before);
        self.step();
    }

    fn step(&mut self) {
        self.disk.world().wall = Some(self.bench.now.wall);
        self.bench.step();
        let written = self.bench.handle.stats().written;
        self.disk.world().promised = if self.others_delete { 0 } else { written };
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn(4, Duration::from_millis(150));
        }
    }

    /// Asks from another thread, and lets the writer answer.
    fn ask(&mut self, what: fn(&Handle) -> Result<(), FlushError>) -> Result<(), FlushError> {
        std::thread::scope(|scope| {
            let handle = self.bench.handle.clone();
            let asked = scope.spawn(move || what(&handle));
            while !self.bench.pipeline.has_requests() {
                std::thread::yield_now();
            }
            // What is in the queue, and then the answer; a fixed number of turns, so that each run
            // is like the other.
            self.bench.step();
            self.bench.step();
            asked.join().unwrap()
        })
    }

    fn flush(&mut self) {
        let lost = self.bench.handle.stats().dropped.total();
        if self.ask(|handle| handle.flush(Duration::MAX)).is_ok() {
            let stats = self.bench.handle.stats();
            assert_eq!((stats.pending, stats.dropped.total()), (0, lost), "a flush that says Ok");
        }
    }

    /// Waits as the handler of a crash does, until the writer has answered.
    fn crash(&mut self) {
        let lost = self.bench.handle.stats().dropped.total();
        let answered = self.bench.writer.begin_flush();
        for turn in 0.. {
            assert!(turn < 3, "a crash that waits for {turn} turns");
            self.step();
            let Ok(answer) = answered.try_recv() else { continue };
            let stats = self.bench.handle.stats();
            assert!(answer.is_err() || (stats.pending, stats.dropped.total()) == (0, lost), "{answer:?} in a crash");
            return;
        }
    }

    fn shutdown(&mut self) {
        self.ended = Some(self.ask(|handle| handle.shutdown(Duration::MAX)));
    }

    /// Somebody takes all but so many bytes of the disk.
    fn fill_up_to(&mut self, left: u64) {
        let mut world = self.disk.world();
        let free = world.free();
        world.filler += free.saturating_sub(left);
    }
}

fn small_disk() -> FakeDisk {
    FakeDisk::with_capacity(256 * KIB)
}

fn disk_with_blocks_ahead() -> FakeDisk {
    let disk = small_disk();
    disk.world().reserves = true;
    disk
}

/// What an earlier process has left, one that was killed in the middle of a rotation, of a
/// compression and of a write.
fn used_disk() -> FakeDisk {
    let disk = small_disk();
    disk.append("/logs/app.2001-01-01T00-00-00-0000.log", &[b'x'; 300]);
    disk.append("/logs/.app.log.0000beef.new", b"begun\n");
    disk.append("/logs/.app.2001-01-01T00-00-00-0000.log.gz.0000beef.new", b"half");
    disk.append(PATH, b"2001-01-01T00:00:00.000000Z INFO  old: torn");
    disk
}

/// Three archives of 40 KiB.
fn disk_with_archives() -> FakeDisk {
    let disk = FakeDisk::with_capacity(512 * KIB);
    for day in 1..=3 {
        disk.append(&format!("/logs/app.2001-01-0{day}T00-00-00-0000.log"), &[b'x'; 40 << 10]);
    }
    disk
}

fn disk_without_links() -> FakeDisk {
    let disk = disk_with_blocks_ahead();
    disk.world().no_links = Some(EPERM);
    disk
}

/// As file systems in user space are.
fn disk_with_unstable_ids() -> FakeDisk {
    let disk = small_disk();
    disk.world().unstable_ids = true;
    disk
}

const PLAIN: Scenario = Scenario {
    name: "",
    disk: small_disk,
    file: |file| file,
    capacity: 64,
    drive: |life| life.turns(4),
    deletes: false,
    is_short: false,
};

pub(super) static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a start",
        disk: used_disk,
        file: |file| file.rotation(Rotation::size(10_000)).symlink("/var/current"),
        drive: |life| life.turns(1),
        is_short: true,
        ..PLAIN
    },
    Scenario { name: "steady logging", is_short: true, ..PLAIN },
    Scenario { name: "steady logging with a reserve and syncs", file: reserve_and_syncs, ..PLAIN },
    Scenario {
        name: "steady logging without the lock",
        disk: || {
            let disk = small_disk();
            disk.world().locked_by_other = true;
            disk
        },
        drive: |life| {
            life.turns(2);
            // Now it is ours.
            life.disk.world().locked_by_other = false;
            life.turn(3, Duration::from_secs(11));
            life.turns(1);
        },
        ..PLAIN
    },
    Scenario {
        name: "overflow",
        capacity: 8,
        drive: |life| {
            life.bench.log_some(12);
            life.turns(1);
            life.bench.log_some(12);
            life.turn(0, Duration::from_secs(6));
            life.turns(1);
        },
        is_short: true,
        ..PLAIN
    },
    Scenario {
        name: "rotation by size",
        file: |file| file.rotation(Rotation::size(700)),
        drive: |life| life.turns(5),
        ..PLAIN
    },
    Scenario {
        name: "one rotation",
        file: |file| file.rotation(Rotation::size(300)),
        drive: |life| life.turn(4, Duration::ZERO),
        is_short: true,
        ..PLAIN
    },
    Scenario {
        name: "one rotation without hard links",
        disk: disk_without_links,
        file: |file| file.rotation(Rotation::size(300)),
        drive: |life| life.turn(4, Duration::ZERO),
        is_short: true,
        ..PLAIN
    },
    Scenario {
        name: "rotation where a second name is not recognised",
        disk: disk_with_unstable_ids,
        file: |file| file.rotation(Rotation::size(300)),
        drive: |life| life.turns(2),
        is_short: true,
        ..PLAIN
    },
    Scenario {
        name: "rotation by time, with syncs",
        file: |file| file.rotation(Rotation::hourly()).fsync(Fsync::Every(Duration::ZERO)),
        drive: |life| (0..4).for_each(|_| life.turn(3, HOUR)),
        ..PLAIN
    },
    Scenario {
        name: "rotation without hard links, on request and by size",
        disk: disk_without_links,
        file: |file| file.rotation(Rotation::size(700)).error_reserve(2000).fsync(Fsync::AfterErrors),
        drive: |life| {
            life.turns(2);
            life.bench.handle.rotate();
            life.turns(2);
        },
        ..PLAIN
    },
    Scenario {
        name: "compression",
        file: |file| {
            let mut file = file.rotation(Rotation::size(450));
            file.options.compress = true;
            file
        },
        drive: |life| (0..5).for_each(|_| life.turn(3, Duration::from_millis(600))),
        ..PLAIN
    },
    Scenario {
        name: "retention",
        disk: used_disk,
        file: |file| file.rotation(Rotation::size(450)).max_files(3).max_total_size(1300).max_age(24 * HOUR),
        drive: |life| (0..4).for_each(|_| life.turn(4, Duration::from_millis(600))),
        deletes: true,
        ..PLAIN
    },
    Scenario {
        name: "reclaim",
        disk: disk_with_archives,
        file: |file| file.min_free_space(64 * KIB).when_low(WhenLow::DeleteOldest),
        drive: |life| {
            life.turns(1);
            life.fill_up_to(64 * KIB);
            life.turns(2);
            life.fill_up_to(1000);
            life.turns(2);
            life.disk.world().filler = 0;
        },
        deletes: true,
        ..PLAIN
    },
    Scenario {
        name: "reopen",
        drive: |life| {
            life.turns(1);
            life.others_delete = true;
            life.disk.rename(PATH, "/logs/app.log.1");
            life.bench.handle.reopen();
            life.turns(1);
            life.disk.delete(PATH);
            life.turns(1);
            life.disk.remove_dir("/logs", false);
            life.turns(2);
        },
        is_short: true,
        ..PLAIN
    },
    Scenario {
        name: "a full disk and its end",
        disk: disk_with_blocks_ahead,
        file: |file| file.error_reserve(600),
        drive: full_and_free_again,
        ..PLAIN
    },
    Scenario {
        name: "low space and its end, with rotation",
        file: |file| file.min_free_space(32 * KIB).rotation(Rotation::size(700)),
        drive: full_and_free_again,
        ..PLAIN
    },
    Scenario {
        name: "a limit of the system for the size of a file",
        disk: || {
            let disk = small_disk();
            disk.world().longest = Some(600);
            disk
        },
        file: |file| file.rotation(Rotation::size(2000)),
        drive: |life| life.turns(3),
        ..PLAIN
    },
    Scenario {
        name: "flush",
        file: |file| file.fsync(Fsync::Every(HOUR)),
        drive: |life| {
            for _ in 0..3 {
                life.bench.log_some(3);
                life.flush();
                life.bench.pass(Duration::from_millis(150));
            }
        },
        is_short: true,
        ..PLAIN
    },
    Scenario {
        name: "a crash that the program survives",
        disk: disk_with_blocks_ahead,
        file: |file| file.error_reserve(600).retain(400),
        drive: |life| {
            for _ in 0..3 {
                life.bench.log_some(3);
                life.crash();
                life.bench.pass(Duration::from_millis(150));
            }
        },
        ..PLAIN
    },
    Scenario {
        name: "shutdown",
        disk: disk_with_blocks_ahead,
        file: |file| file.error_reserve(600).fsync(Fsync::Every(HOUR)),
        drive: |life| {
            life.turns(1);
            life.bench.log_some(3);
            life.shutdown();
        },
        is_short: true,
        ..PLAIN
    },
];

fn reserve_and_syncs(file: LogFile) -> LogFile {
    file.min_free_space(32 * KIB).fsync(Fsync::AfterErrors)
}

fn full_and_free_again(life: &mut Life) {
    life.turns(1);
    life.fill_up_to(200);
    life.turn(7, Duration::from_millis(100));
    life.bench.log(Level::Error);
    life.bench.log(Level::Warn);
    life.turn(1, Duration::from_millis(100));
    life.disk.world().filler = 0;
    for _ in 0..16 {
        life.bench.pass(Duration::from_millis(100));
        life.bench.step();
    }
    life.turns(1);
}
