//! The limits: what no logger of this kind can undercut. A call reads a clock and puts its record
//! on a bounded channel; nobody is ever woken, and nothing is written.
//!
//! The first one formats its message into 128 bytes, as a logger of the facade has to. The second
//! one reads the processor's counter and stores the arguments by their bytes in a slot as large as
//! one of unfazed's, as macros can that format later.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use arrayvec::{ArrayString, ArrayVec};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::measure::ticks;

/// The capacity that unfazed and spdlog-rs have by default.
const CAPACITY: usize = 8192;
const TEXT: usize = 100;
const ARGUMENTS: usize = 220;

struct Slot {
    _time: SystemTime,
    /// What does not fit is cut off.
    _text: ArrayString<TEXT>,
    _level: log::Level,
}

const _: () = assert!(size_of::<Slot>() == 128);

struct StoredSlot {
    _ticks: u64,
    _call: &'static str,
    /// What does not fit is cut off.
    _arguments: ArrayVec<u8, ARGUMENTS>,
    _level: log::Level,
}

const _: () = assert!(size_of::<StoredSlot>() == 256);

struct Limit {
    sender: Sender<Slot>,
    waits: bool,
}

static FORMATTED: OnceLock<Sender<Slot>> = OnceLock::new();
static STORED: OnceLock<(Sender<StoredSlot>, bool)> = OnceLock::new();
static ARRIVED: AtomicU64 = AtomicU64::new(0);
static ENDS: AtomicBool = AtomicBool::new(false);

pub fn start(waits: bool) -> Result<(), log::SetLoggerError> {
    let (sender, receiver) = bounded(CAPACITY);
    // Its length is what `finish` waits for.
    FORMATTED.get_or_init(|| sender.clone());
    thread::spawn(move || receive(&receiver));
    log::set_max_level(log::LevelFilter::Info);
    log::set_boxed_logger(Box::new(Limit { sender, waits }))
}

pub fn start_stored(waits: bool) {
    let (sender, receiver) = bounded(CAPACITY);
    STORED.get_or_init(|| (sender, waits));
    thread::spawn(move || receive(&receiver));
    log::set_max_level(log::LevelFilter::Info);
}

fn receive<T>(receiver: &Receiver<T>) {
    while !ENDS.load(Ordering::Relaxed) {
        let taken = receiver.try_iter().count() as u64;
        ARRIVED.fetch_add(taken, Ordering::Release);
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn finish() {
    while FORMATTED.get().is_some_and(|sender| !sender.is_empty())
        || STORED.get().is_some_and(|(sender, _)| !sender.is_empty())
    {
        thread::sleep(Duration::from_micros(100));
    }
    // The last records may be in the receiver's hands.
    thread::sleep(Duration::from_millis(1));
    ENDS.store(true, Ordering::Relaxed);
}

pub fn arrived() -> u64 {
    ARRIVED.load(Ordering::Acquire)
}

/// An argument that is stored by its bytes.
pub enum Argument {
    Integer(u64),
    Float(f64),
    Text(&'static str),
}

/// A call of the second limit.
#[inline(always)]
pub fn store<const N: usize>(call: &'static str, arguments: [Argument; N]) {
    if log::Level::Info > log::max_level() {
        return;
    }
    let ticks = ticks();
    let mut bytes = ArrayVec::new();
    for argument in arguments {
        // An error means that the slot is full; the length of a text stands before it.
        let _ = match argument {
            Argument::Integer(number) => bytes.try_extend_from_slice(&number.to_le_bytes()),
            Argument::Float(number) => bytes.try_extend_from_slice(&number.to_le_bytes()),
            Argument::Text(text) => {
                let _ = bytes.try_extend_from_slice(&(text.len() as u32).to_le_bytes());
                let fits = text.len().min(bytes.remaining_capacity());
                bytes.try_extend_from_slice(&text.as_bytes()[..fits])
            }
        };
    }
    let Some((sender, waits)) = STORED.get() else { return };
    let mut slot = StoredSlot { _ticks: ticks, _call: call, _arguments: bytes, _level: log::Level::Info };
    while let Err(TrySendError::Full(back)) = sender.try_send(slot)
        && *waits
    {
        slot = back;
        thread::yield_now();
    }
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
