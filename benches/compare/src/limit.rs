//! The limit: what no logger of this kind can undercut. A call formats its message, reads the clock
//! and puts 128 bytes on a bounded channel; nobody is ever woken, and nothing is written.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use arrayvec::ArrayString;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// The capacity that unfazed and spdlog-rs have by default.
const CAPACITY: usize = 8192;
const TEXT: usize = 100;

struct Slot {
    _time: SystemTime,
    /// What does not fit is cut off.
    _text: ArrayString<TEXT>,
    _level: log::Level,
}

const _: () = assert!(size_of::<Slot>() == 128);

struct Limit {
    sender: Sender<Slot>,
    waits: bool,
}

static SENDER: OnceLock<Sender<Slot>> = OnceLock::new();
static ARRIVED: AtomicU64 = AtomicU64::new(0);
static ENDS: AtomicBool = AtomicBool::new(false);

pub fn start(waits: bool) -> Result<(), log::SetLoggerError> {
    let (sender, receiver) = bounded(CAPACITY);
    // Its length is what `finish` waits for.
    SENDER.get_or_init(|| sender.clone());
    thread::spawn(move || receive(&receiver));
    log::set_max_level(log::LevelFilter::Info);
    log::set_boxed_logger(Box::new(Limit { sender, waits }))
}

fn receive(receiver: &Receiver<Slot>) {
    while !ENDS.load(Ordering::Relaxed) {
        let taken = receiver.try_iter().count() as u64;
        ARRIVED.fetch_add(taken, Ordering::Release);
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn finish() {
    while SENDER.get().is_some_and(|sender| !sender.is_empty()) {
        thread::sleep(Duration::from_micros(100));
    }
    // The last records may be in the receiver's hands.
    thread::sleep(Duration::from_millis(1));
    ENDS.store(true, Ordering::Relaxed);
}

pub fn arrived() -> u64 {
    ARRIVED.load(Ordering::Acquire)
}

impl log::Log for Limit {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    #[inline]
    fn log(&self, record: &log::Record<'_>) {
        let mut text = ArrayString::new();
        // An error means that the slot is full.
        let _ = write!(text, "{}", record.args());
        let mut slot = Slot { _time: SystemTime::now(), _text: text, _level: record.level() };
        while let Err(TrySendError::Full(back)) = self.sender.try_send(slot)
            && self.waits
        {
            slot = back;
            thread::yield_now();
        }
    }

    fn flush(&self) {}
}
