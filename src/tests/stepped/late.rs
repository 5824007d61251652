//! File systems that show freed space only after their next commit, as btrfs and ZFS do.

use std::time::Duration;

use log::Level;

use super::bench::{Bench, Setup};
use super::invariants::assert_invariants;
use crate::LogFile;
use crate::event::{Cause, State};
use crate::sink::log_file::WhenLow;
use crate::tests::fake_disk::{FakeDisk, Op};
use crate::{KIB, MIB};

const TURN: Duration = Duration::from_millis(50);

fn bench(disk: &FakeDisk, when_low: WhenLow) -> Bench {
    let file = LogFile::new("/logs/app.log").min_free_space(256 * KIB).when_low(when_low);
    Setup::new().file_with(disk, file.options).bench()
}

/// Until the file system's own commit, half a minute later, nobody saw that there was space again.
#[test]
fn freed_space_shows_within_five_seconds() {
    for late in [false, true] {
        let disk = FakeDisk::with_capacity(4 * MIB);
        disk.world().accounts_late = late;
        let mut bench = bench(&disk, WhenLow::Stop);
        bench.step();
        let free = disk.world().free();
        disk.world().filler = free - 200 * KIB;
        bench.log(Level::Info);
        bench.step();
        assert_eq!(bench.handle.state(), State::Suspended(Cause::LowSpace));
        bench.live(Duration::from_millis(900));
        assert_eq!(disk.world().asked(Op::Commit), 0, "low space has to last");
        bench.live(Duration::from_secs(30));
        let commits = disk.world().asked(Op::Commit);
        assert!(if late { (5..=7).contains(&commits) } else { commits == 0 }, "{commits} commits in 30 s");
        disk.world().filler = 0;
        let mut waited = Duration::ZERO;
        while bench.suspended() {
            bench.live(TURN);
            waited += TURN;
            assert!(waited < Duration::from_millis(if late { 5500 } else { 300 }), "{waited:?}");
        }
        bench.live(Duration::from_secs(6));
        assert_invariants(&bench, &disk, "late");
    }
}

/// The answer does not move, and one archive after the other went.
#[test]
fn no_more_is_deleted_than_where_the_free_space_shows_at_once() {
    let deleted = [false, true].map(|late| {
        let disk = FakeDisk::with_capacity(4 * MIB);
        disk.world().accounts_late = late;
        for day in 10..=30 {
            disk.append(&format!("/logs/app.2001-01-{day}T00-00-00-0000.log"), &[b'x'; 40 << 10]);
        }
        let mut bench = bench(&disk, WhenLow::DeleteOldest);
        bench.log(Level::Info);
        bench.step();
        let free = disk.world().free();
        disk.world().filler = free - 256 * KIB;
        for _ in 0..20 {
            bench.log(Level::Info);
            bench.live(TURN);
        }
        let archives = disk.names().iter().filter(|name| name.contains(".2001-")).count();
        assert!(!bench.suspended(), "late: {late}");
        21 - archives
    });
    assert_eq!(deleted, [4, 4], "128 KiB are missing, and each has 40 KiB");
}
