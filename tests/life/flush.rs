//! Flush and shutdown: from everywhere, at any time, with the right answer by the deadline.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use unfazed::{Batch, Builder, FlushError, Format, Handle, LogFile, Overflow, Sink, State, WriteError};

use crate::harness::{Case, Place};
use crate::load::{Load, PATIENCE, assert_identity, assert_settled, say, say_all, say_by, to_log, wait_until};
use crate::readback::Log;
use crate::sinks::{CallSink, FailSink, GateSink};
use crate::support::moment::Moment;
use crate::unix::PROMPTLY;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::inside("64_threads_flush_at_once_while_four_log_and_each_finds_its_record_in_the_file", many_flushes),
        Case::inside("the_flush_of_the_facade_waits_for_what_was_accepted_before_it", flush_of_the_facade),
        Case::inside("flush_and_shutdown_in_a_callback_answer_on_writer_at_once", on_writer_in_callback),
        Case::inside("flush_and_shutdown_in_a_sink_answer_on_writer_at_once", on_writer_in_sink),
        Case::inside("flush_and_shutdown_in_a_format_answer_on_writer_at_once", on_writer_in_format),
        Case::inside(
            "a_callback_that_answers_each_failure_with_an_order_leaves_the_writer_its_naps",
            order_in_callback,
        ),
        Case::inside("a_flush_with_a_full_queue_and_a_slow_sink_waits_for_all_that_was_pending", flush_of_a_full_queue),
        Case::inside("a_flush_of_a_sink_that_hangs_times_out_at_its_deadline", flush_of_a_hung_sink),
        Case::inside("a_shutdown_with_a_sink_that_hangs_times_out_at_its_deadline", shutdown_of_a_hung_sink),
        Case::inside("after_a_shutdown_flush_and_shutdown_are_closed_and_calls_are_counted", after_shutdown),
        Case::inside("many_shutdowns_at_once_while_four_log_all_return_and_each_record_is_counted", many_shutdowns),
        Case::inside("a_call_that_waits_for_a_slot_is_released_by_the_shutdown", blocked_calls_are_released),
        Case::inside("a_logger_dropped_on_its_own_writer_does_not_wait_for_itself", dropped_on_writer),
    ]
}

fn many_flushes(place: &Place) {
    const FLUSHERS: u32 = 64;
    let handle = to_log(place).overflow(Overflow::Block).capacity(1024).init().unwrap();
    let load = Load::start(4);
    let together = Arc::new(Barrier::new(FLUSHERS as usize));
    let flushers = (100..100 + FLUSHERS).map(|author| {
        let (handle, together, path) = (handle.clone(), together.clone(), place.log());
        thread::spawn(move || {
            together.wait();
            say(author, 0);
            assert_eq!(handle.flush(PATIENCE), Ok(()));
            assert_eq!(Log::read_under_way(&path).of(author), [0], "not in the file after the flush");
        })
    });
    for flusher in flushers.collect::<Vec<_>>() {
        flusher.join().unwrap();
    }
    let logged = load.stop();
    log::logger().flush();
    let log = Log::read(&place.log());
    for (author, count) in (0..).zip(logged) {
        log.assert_all(author, count);
    }
    assert_settled(&handle.stats());
}

fn flush_of_the_facade(place: &Place) {
    to_log(place).init().unwrap();
    let mut n = 0;
    for turn in 0..100 {
        for _ in 0..=(turn * 7 % 50) {
            say(0, n);
            n += 1;
        }
        log::logger().flush();
        Log::read(&place.log()).assert_all(0, n);
    }
}

// --- on the writer's own thread ---

static HANDLE: OnceLock<Handle> = OnceLock::new();

/// Asks for everything that could wait, on the thread that would have to do it.
fn ask_on_writer(answers: &Sender<(FlushAnswer, FlushAnswer, Duration)>) {
    // The outputs are at work before `init` returns.
    let Some(handle) = HANDLE.get() else { return };
    let begun = Instant::now();
    let flush = handle.flush(PATIENCE);
    let shutdown = handle.shutdown(PATIENCE);
    log::logger().flush();
    // Nobody listens after the first answer.
    let _ = answers.send((flush, shutdown, begun.elapsed()));
}

type FlushAnswer = Result<(), FlushError>;

fn assert_on_writer(builder: Builder, answers: &mpsc::Receiver<(FlushAnswer, FlushAnswer, Duration)>) {
    HANDLE.set(builder.shutdown_timeout(PATIENCE).init().unwrap()).unwrap();
    say(0, 0);
    let (flush, shutdown, took) = answers.recv_timeout(PATIENCE).unwrap();
    assert_eq!((flush, shutdown), (Err(FlushError::OnWriter), Err(FlushError::OnWriter)));
    assert!(took < PROMPTLY, "{took:?}");
    // It is still at work.
    say(0, 1);
    let handle = HANDLE.get().unwrap();
    assert_ne!(handle.flush(PATIENCE), Err(FlushError::Timeout));
    assert_ne!(handle.state(), State::Closed);
    assert_settled(&handle.stats());
}

fn on_writer_in_callback(_: &Place) {
    let (answer, answers) = mpsc::channel();
    let builder = Builder::new().sink("fails", FailSink).on_event(move |_| ask_on_writer(&answer));
    assert_on_writer(builder, &answers);
}

fn on_writer_in_sink(_: &Place) {
    let (answer, answers) = mpsc::channel();
    assert_on_writer(Builder::new().sink("asks", CallSink(move || ask_on_writer(&answer))), &answers);
}

fn on_writer_in_format(place: &Place) {
    let (answer, answers) = mpsc::channel();
    let answer = Mutex::new(answer);
    let format = Format::custom(move |_, _| {
        ask_on_writer(&answer.lock().unwrap());
        Ok(())
    });
    assert_on_writer(Builder::new().file(LogFile::new(place.log()).min_free_space(0).format(format)), &answers);
}

/// Each rotation of a file whose lock another logger holds fails. A callback that ordered the next
/// one had the writer turn without a pause: 64 000 times a second.
fn order_in_callback(place: &Place) {
    const ORDERS: u32 = 100;
    let file = || LogFile::new(place.log()).min_free_space(0);
    let (_holds_lock, _) = Builder::new().file(file()).build().unwrap();
    let (told, failures) = mpsc::channel();
    let orders: Arc<OnceLock<Handle>> = Arc::new(OnceLock::new());
    let from_callback = orders.clone();
    let builder = Builder::new().file(file()).on_event(move |_| {
        from_callback.get().into_iter().for_each(Handle::rotate);
        told.send(Instant::now()).unwrap_or_default();
    });
    let handle = builder.init().unwrap();
    orders.set(handle.clone()).unwrap();
    say(0, 0);
    handle.rotate();
    let times: Vec<_> = (0..=ORDERS).map(|_| failures.recv_timeout(PATIENCE).unwrap()).collect();
    // The shortest nap is 1 ms; a park may end early now and then.
    let took = times[ORDERS as usize].duration_since(times[0]);
    assert!(took >= Duration::from_millis(1) * ORDERS / 2, "{ORDERS} orders in {took:?}");
}

fn dropped_on_writer(_: &Place) {
    let (logger, handle) = {
        let slot: Arc<Mutex<Option<unfazed::Logger>>> = Arc::default();
        let to_drop = slot.clone();
        let (dropped, has_dropped) = mpsc::channel();
        let sink = CallSink(move || {
            drop(to_drop.lock().unwrap().take());
            let _ = dropped.send(());
        });
        let (logger, handle) = Builder::new().sink("drops", sink).shutdown_timeout(PATIENCE).build().unwrap();
        log::set_max_level(logger.max_level());
        // Held while the record goes in: the sink waits for it.
        let mut held = slot.lock().unwrap();
        say_by(&logger, 0, 0);
        *held = Some(logger);
        drop(held);
        has_dropped.recv_timeout(PROMPTLY).unwrap();
        (slot, handle)
    };
    assert!(logger.lock().unwrap().is_none());
    wait_until("the writer ends", || handle.state() == State::Closed);
    assert_settled(&handle.stats());
    assert_eq!(handle.stats().written, 1);
}

// --- sinks that take their time ---

/// Is slow: that is what it is for, and nothing is ordered by it.
struct SlowSink(Arc<AtomicU32>);

impl Sink for SlowSink {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        thread::sleep(Duration::from_millis(20));
        // The logger's own lines are told at most every 5 s; they are no records.
        let records = batch.lines().filter(|line| line.level() == log::Level::Info).count();
        self.0.fetch_add(records as u32, SeqCst);
        Ok(())
    }
}

fn flush_of_a_full_queue(_: &Place) {
    let taken = Arc::new(AtomicU32::new(0));
    let handle =
        Builder::new().sink("slow", SlowSink(taken.clone())).capacity(64).shutdown_timeout(PATIENCE).init().unwrap();
    for turn in 0..10 {
        let lost = handle.stats().dropped.queue_full;
        let mut n = 0;
        while handle.stats().dropped.queue_full == lost {
            say(turn, n);
            n += 1;
        }
        let stats = handle.stats();
        let pending_then = stats.accepted - stats.dropped.total();
        assert_eq!(handle.flush(PATIENCE), Ok(()));
        assert!(u64::from(taken.load(SeqCst)) >= pending_then, "{} of {pending_then}", taken.load(SeqCst));
        assert_settled(&handle.stats());
    }
}

const SHORT: Duration = Duration::from_millis(400);

/// Asserts that it timed out at its deadline: not before, and not long after.
fn assert_timeout(ask: impl FnOnce() -> FlushAnswer) {
    let (begun, own) = (Instant::now(), Moment::of_this_thread());
    let answer = ask();
    let (took, own) = (begun.elapsed(), own.elapsed());
    assert_eq!(answer, Err(FlushError::Timeout));
    assert!(took >= SHORT, "it gave up after {took:?}");
    assert!(own < SHORT + Duration::from_secs(3), "it returned after {took:?}");
}

fn flush_of_a_hung_sink(_: &Place) {
    let (sink, gate) = GateSink::new();
    let handle = Builder::new().sink("gate", sink).shutdown_timeout(SHORT).init().unwrap();
    say(0, 0);
    gate.wait_for_writer();
    say_all(1, 100);
    assert_timeout(|| handle.flush(SHORT));
    let begun = Moment::of_this_thread();
    assert_eq!(handle.flush(Duration::ZERO), Err(FlushError::Timeout));
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_timeout(|| {
        log::logger().flush();
        // It has no answer: only the time can be seen.
        Err(FlushError::Timeout)
    });
    // More flushes than the writer has places for; none of them may wait for a place beyond its
    // deadline.
    let flushes: Vec<_> = (0..300)
        .map(|_| {
            let handle = handle.clone();
            thread::Builder::new().stack_size(64 * 1024).spawn(move || assert_timeout(|| handle.flush(SHORT))).unwrap()
        })
        .collect();
    flushes.into_iter().for_each(|flush| flush.join().unwrap());
    drop(gate);
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    assert_eq!(handle.stats().written, 101);
}

fn shutdown_of_a_hung_sink(_: &Place) {
    let (sink, gate) = GateSink::new();
    let handle = Builder::new().sink("gate", sink).init().unwrap();
    say(0, 0);
    gate.wait_for_writer();
    say_all(1, 100);
    assert_timeout(|| handle.shutdown(SHORT));
    assert_eq!(handle.state(), State::Closed);
    let stats = handle.stats();
    assert_identity(&stats);
    assert_eq!((stats.accepted, stats.pending, stats.dropped.shutdown), (101, 1, 100), "{stats:?}");
    assert_eq!(handle.flush(PATIENCE), Err(FlushError::Closed));
    assert_eq!(handle.shutdown(PATIENCE), Err(FlushError::Closed));
    say(2, 0);
    assert_eq!(handle.stats().dropped.shutdown, 101);
    drop(gate);
    wait_until("what the sink held is written", || handle.stats().pending == 0);
    assert_settled(&handle.stats());
    assert_eq!(handle.stats().written, 1);
}

// --- shutdown ---

fn after_shutdown(place: &Place) {
    const LATE: u64 = 100_000;
    let handle = to_log(place).overflow(Overflow::Block).capacity(16).init().unwrap();
    say_all(0, 100);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    Log::read(&place.log()).assert_all(0, 100);
    assert_eq!(handle.state(), State::Closed);
    let begun = Instant::now();
    assert_eq!(handle.shutdown(PATIENCE), Err(FlushError::Closed));
    assert_eq!(handle.flush(PATIENCE), Err(FlushError::Closed));
    log::logger().flush();
    // Far more than there are slots: nothing waits for one.
    say_all(1, LATE);
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
    let stats = handle.stats();
    assert_settled(&stats);
    assert_eq!((stats.accepted, stats.written, stats.dropped.shutdown), (100 + LATE, 100, LATE), "{stats:?}");
    Log::read(&place.log()).assert_all(1, 0);
}

fn many_shutdowns(place: &Place) {
    let handle = to_log(place).init().unwrap();
    let load = Load::start(4);
    let together = Arc::new(Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|number| {
            let (handle, together) = (handle.clone(), together.clone());
            thread::spawn(move || {
                together.wait();
                let begun = Instant::now();
                let answer = if number % 2 == 0 { handle.shutdown(PATIENCE) } else { handle.flush(PATIENCE) };
                assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());
                (number % 2 == 0, answer)
            })
        })
        .collect();
    let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Ok(()) | Err(FlushError::Closed))), "{answers:?}");
    assert!(answers.contains(&(true, Ok(()))), "no shutdown came first: {answers:?}");
    let logged = load.stop();
    let stats = handle.stats();
    assert_settled(&stats);
    assert_eq!(stats.accepted, logged.iter().sum::<u64>());
    let log = Log::read(&place.log());
    log.assert_order();
    assert_eq!(log.len(), stats.written);
}

fn blocked_calls_are_released(_: &Place) {
    let (sink, gate) = GateSink::new();
    let handle = Builder::new().sink("gate", sink).capacity(8).overflow(Overflow::Block).init().unwrap();
    say(0, 0);
    gate.wait_for_writer();
    let waits = Arc::new(AtomicBool::new(false));
    let caller = thread::spawn({
        let waits = waits.clone();
        move || {
            say_all(1, 8);
            waits.store(true, SeqCst);
            say(1, 8);
        }
    });
    // Its ninth record is accepted and has no slot.
    wait_until("the caller waits", || waits.load(SeqCst) && handle.stats().accepted == 10);
    assert_timeout(|| handle.shutdown(SHORT));
    caller.join().unwrap();
    drop(gate);
    wait_until("what the sink held is written", || handle.stats().pending == 0);
    assert_settled(&handle.stats());
    assert_eq!(handle.stats().dropped.shutdown, 9);
}
