//! The local time zone: read once, before the first record, and by nobody afterwards.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use unfazed::{Format, LogFile, Rotation};

use crate::harness::{Case, Place};
use crate::load::{PATIENCE, say_all, to_file};
use crate::unix::{End, fork};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::inside("children_log_in_local_time_while_threads_of_their_parent_set_variables", set_variables),
        Case::inside("the_offset_stays_that_of_init_in_a_child_too", changed_zone),
    ];
    let odd = ["<+01>-23:59:59EST,202,J92", "XXX-24", "XXX24:59:59", "nowhere", ":nowhere", ""];
    cases.extend(odd.map(|zone| {
        Case::inside(format!("with_the_zone_`{zone}`_each_line_has_its_time_in_UTC"), move |place| {
            set("TZ", zone);
            let by_day = Rotation::daily().local_time();
            let file = LogFile::new(place.log()).format(Format::text().local_time()).rotation(by_day);
            let handle = to_file(file).init().unwrap();
            say_all(0, 5);
            handle.flush(PATIENCE).unwrap();
            assert_eq!(offsets(place), ["+00:00"; 5]);
        })
    }));
    cases
}

fn set(variable: &str, value: &str) {
    // SAFETY: it is not safe next to code that reads the environment without std's lock. Nothing in
    // this process does.
    unsafe { env::set_var(variable, value) };
}

/// The offsets of the lines.
fn offsets(place: &Place) -> Vec<String> {
    let text = std::fs::read_to_string(place.log()).unwrap();
    let time = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    text.lines().map(|line| time(line).split_off(26)).collect()
}

/// A child would wait for ever for the lock of the environment that a thread of its parent held.
fn set_variables(place: &Place) {
    set("TZ", "XXX-05:45");
    let file = LogFile::new(place.log()).format(Format::text().local_time());
    let _handle = to_file(file).init().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let threads = [0, 1].map(|_| {
        let stop = stop.clone();
        thread::spawn(move || {
            while !stop.load(Relaxed) {
                set("UNFAZED_TEST_VARIABLE", "a value");
            }
        })
    });
    for author in 1..=20 {
        fork(|| {
            say_all(author, 10);
            End::Exit
        })
        .wait();
    }
    stop.store(true, Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(offsets(place), ["+05:45"; 200]);
}

fn changed_zone(place: &Place) {
    set("TZ", "XXX-05:45");
    let handle = to_file(LogFile::new(place.log()).format(Format::text().local_time())).init().unwrap();
    set("TZ", "XXX+03:30");
    say_all(0, 3);
    handle.flush(PATIENCE).unwrap();
    fork(|| {
        say_all(1, 3);
        End::Exit
    })
    .wait();
    assert_eq!(offsets(place), ["+05:45"; 6]);
}
