//! Many archives, long names, and somebody else's lock.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, Log as _, Record};
use unfazed::{Builder, Event, LogFile, Rotation};

use crate::{argument, fresh, number};

/// `archives start|keep COUNT`: so many archives, of which all but 10 are deleted, or none while
/// the log is rotated again and again.
pub(crate) fn archives() {
    let (dir, count) = (fresh("archives"), number(3));
    for archive in 0..count {
        let (day, hour) = (1 + archive / 86_400 % 28, archive / 3600 % 24);
        let (minute, second) = (archive / 60 % 60, archive % 60);
        let name = format!("app.2025-01-{day:02}T{hour:02}-{minute:02}-{second:02}-0000.log");
        fs::write(dir.join(name), "x\n").unwrap();
    }
    let file = LogFile::new(dir.join("app.log"));
    let file = match &*argument(2) {
        "start" => file.max_files(10),
        _ => file.rotation(Rotation::size(64 << 10)).max_files(count as usize + 5),
    };
    let handle = Builder::new().file(file).init().unwrap();
    let (start, end) = (Instant::now(), Duration::from_secs(8));
    let longest = thread::scope(|scope| {
        // The longest flush shows how long the writer was busy with something else.
        let flushes = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while start.elapsed() < end {
                let before = Instant::now();
                let _ = handle.flush(Duration::from_secs(30));
                longest = longest.max(before.elapsed());
            }
            longest
        });
        let mut record = 0;
        while start.elapsed() < end {
            for _ in 0..20 {
                log::info!("a record of the usual length, with some words in it and a number {record}");
                record += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        flushes.join().unwrap()
    });
    let flush = handle.flush(Duration::from_secs(30));
    let (dropped, left) = (handle.stats().dropped.total(), fs::read_dir(&dir).unwrap().count());
    println!("{dropped} dropped, flush {flush:?}, the longest took {} ms, {left} files", longest.as_millis());
}

/// `longname`: names that leave little room for the names of their archives.
pub(crate) fn long_names() {
    for (len, compress) in [(200, true), (225, false), (231, false), (240, false), (252, false), (256, false)] {
        let dir = fresh("longname");
        let file = LogFile::new(dir.join(format!("{}.log", "n".repeat(len - 4)))).compress(compress);
        let file = file.rotation(Rotation::size(2000)).max_files(3).max_total_size(6000);
        let (logger, handle) = match Builder::new().file(file).build() {
            Ok(made) => made,
            Err(_) => {
                println!("{len}: refused");
                continue;
            }
        };
        for line in 0..200 {
            logger.log(&Record::builder().level(Level::Info).args(format_args!("line {line:0200}")).build());
            if line % 20 == 0 {
                let _ = handle.flush(Duration::from_secs(1));
            }
        }
        let _ = handle.flush(Duration::from_secs(2));
        let files = fs::read_dir(&dir).unwrap().flatten();
        let bytes: u64 = files.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum();
        println!("{len}: {} bytes, limit 6000, dropped {}", bytes, handle.stats().dropped.total());
    }
}

/// `flocked exclusive|shared`: flock(1) holds a lock on the log, as around a script or a backup.
pub(crate) fn locked_by_others() {
    let dir = fresh("flocked");
    let log = dir.join("app.log");
    fs::write(&log, "").unwrap();
    let kind = if argument(2) == "shared" { "-s" } else { "-x" };
    let mut other = Command::new("flock").args(["-F", kind, log.to_str().unwrap(), "sleep", "60"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    let file = LogFile::new(&log).rotation(Rotation::size(2000)).max_files(3);
    let failed = |event: &Event| println!("event: {event}");
    let handle = Builder::new().file(file).on_event(failed).init().unwrap();
    for line in 0..500 {
        log::info!("line {line}");
        if line % 100 == 0 {
            thread::sleep(Duration::from_millis(300));
        }
    }
    let _ = handle.flush(Duration::from_secs(1));
    let files = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    println!("largest file {} bytes, limit 2000", files.max().unwrap_or(0));
    let _ = other.kill();
    let _ = other.wait();
}
