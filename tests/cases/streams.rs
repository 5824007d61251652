//! Standard output is a pipe whose reader is slow.

use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use unfazed::{Builder, Console, Format, Overflow};

use crate::number;

/// `stdwrap RECORDS`: logs them as fast as it can, and ends.
pub(crate) fn burst() {
    let handle = Builder::new().console(Console::stdout()).init().unwrap();
    for record in 0..number(2) {
        log::info!("line {record}");
    }
    let _ = handle.shutdown(Duration::from_secs(5));
    let stats = handle.stats();
    eprintln!("accepted {} written {} queue_full {}", stats.accepted, stats.written, stats.dropped.queue_full);
}

/// `steady RATE`: logs so many records a second, for 5 s.
pub(crate) fn steady() {
    let rate = number(2);
    let console = Console::stdout().format(Format::json());
    let handle = Builder::new().console(console).shutdown_timeout(Duration::from_secs(10)).init().unwrap();
    let (start, mut record) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(5) {
        while record < start.elapsed().as_millis() as u64 * rate / 1000 {
            log::info!(record; "{record:200}");
            record += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = handle.flush(Duration::from_secs(10));
    let stats = handle.stats();
    eprintln!("accepted {} written {} dropped {}", stats.accepted, stats.written, stats.dropped.total());
}

/// `block RECORDS`: logs them as fast as it can, and waits instead of dropping.
pub(crate) fn block() {
    let builder = Builder::new().console(Console::stdout().format(Format::json())).overflow(Overflow::Block);
    let handle = builder.shutdown_timeout(Duration::from_secs(60)).init().unwrap();
    for record in 0..number(2) {
        log::info!(record; "{record:200}");
    }
    let end = handle.shutdown(Duration::from_secs(60));
    eprintln!("shutdown {end:?} dropped {}", handle.stats().dropped.total());
}

/// `reader MILLISECONDS`: reads its input, pauses once after 2 s, and counts the lines.
pub(crate) fn reader() {
    let mut pause = Some(Duration::from_millis(number(2)));
    let (start, mut input, mut part, mut lines) = (Instant::now(), std::io::stdin(), [0; 65_536], 0);
    loop {
        let len = input.read(&mut part).unwrap();
        if len == 0 {
            break;
        }
        lines += part[..len].iter().filter(|byte| **byte == b'\n').count();
        if let Some(pause) = pause.take_if(|_| start.elapsed() > Duration::from_secs(2)) {
            thread::sleep(pause);
        }
    }
    println!("read {lines}");
}
