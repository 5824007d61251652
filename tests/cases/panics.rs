//! What a panic leaves in the log.

use std::alloc::{Layout, handle_alloc_error};
use std::hint::black_box;
use std::panic::catch_unwind;
use std::time::Duration;
use std::{fs, thread};

use unfazed::{Builder, Format, LogFile};

use crate::{argument, fresh};

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a drop");
    }
}

thread_local!(static BOMB: Bomb = const { Bomb });

extern "C" fn callback() {
    panic!("in a callback from C");
}

fn cannot_unwind() -> ! {
    extern "C" fn inner() {
        fn innermost() -> ! {
            panic!("cannot unwind")
        }
        innermost()
    }
    inner();
    unreachable!()
}

#[inline(never)]
fn deep(level: u64) -> u64 {
    let frame = [level; 512];
    if level == 0 { 0 } else { black_box(deep(level - 1) + frame[(level % 512) as usize]) }
}

/// `lastpanic LOG FORM [crash]`: 100 lines, and then an end that begins with a panic, or a worse
/// one; maybe with `flush_on_crash`.
pub(crate) fn last_panic() {
    let builder = Builder::new().file(argument(2)).log_panics(true);
    builder.flush_on_crash(argument(4) == "crash").init().unwrap();
    thread::sleep(Duration::from_millis(200));
    for line in 0..100 {
        log::info!("line {line}");
    }
    match &*argument(3) {
        "tls" => {
            let _ = thread::spawn(|| BOMB.with(|_| ())).join();
            thread::sleep(Duration::from_secs(1));
        }
        "drop" => {
            let _bomb = Bomb;
            panic!("first");
        }
        "extern" => callback(),
        "nounwind" => cannot_unwind(),
        "overflow" => println!("{}", deep(100_000_000)),
        "alloc" => handle_alloc_error(Layout::new::<[u8; 1 << 30]>()),
        other => panic!("there is no form `{other}`"),
    }
}

/// `panicrec`: two panics, in each format.
pub(crate) fn record_of_a_panic() {
    let dir = fresh("panicrec");
    let formats = [
        ("json", Format::json().location()),
        ("text", Format::text().location()),
        ("logfmt", Format::logfmt().location()),
        ("otel", Format::otel()),
        ("ecs", Format::ecs()),
        ("gelf", Format::gelf()),
        ("google_cloud", Format::google_cloud()),
    ];
    let names = formats.each_ref().map(|(name, _)| *name);
    let builder = formats
        .into_iter()
        .fold(Builder::new(), |builder, (name, format)| builder.file(LogFile::new(dir.join(name)).format(format)));
    std::panic::set_hook(Box::new(|_| {}));
    builder.log_panics(true).init().unwrap();
    let _ = catch_unwind(|| black_box(Vec::<i32>::new())[0]);
    let _ = catch_unwind(|| assert_eq!(1 + 1, 3, "two lines\nof text"));
    log::logger().flush();
    for name in names {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        let has = |word: &str, said: &'static str| if text.contains(word) { said } else { "" };
        println!("{name}{}{}", has("panics.rs", " file"), has("record_of_a_panic", " backtrace"));
    }
}
